/*
 * The source "tricorder": the JSON that every tricorder process serves at /metricsapi/, over HTTP.
 * The batch points into the answer, which it keeps (batch.text).
 */
#include <assert.h>
#include <stdlib.h>

#include "sources/http.h"
#include "sources/source.h"
#include "sources/tricorder_read_priv.h"

/* What answer and batch together may take beyond max_response: the batch's share at least. */
#define EXTRA_BYTES (1024 * 1024)

struct tricorder {
	struct source source;
	struct source_env *env;
	struct http_target *target;
	struct http_request request;
	struct layout_memory memory;
	struct poll_job *job; /* the poll under way, else NULL */
};

static const struct conf_opt tricorder_opts[] = {
	{ "path", CONF_TEXT, "/metricsapi/", "where the metrics are served; may hold a query", 0,
	    0 },
	{ "tls", CONF_BOOL, "false", "HTTPS instead of HTTP", 0, 0 },
	{ "verify", CONF_BOOL, "true", "with tls: check the certificate and its name", 0, 0 },
	{ "caFile", CONF_TEXT, NULL, "with tls: CA certificates (PEM); default: the system's", 0,
	    0 },
	{ .name = NULL },
};

extern const struct source_ops source_tricorder;

/*
 * The batch gets what the answer left of the poll's memory. The arena may have kept more than that
 * from an earlier poll: that much it may go on using.
 */
static void
bound_batch(const struct tricorder *t, struct arena *arena)
{
	size_t taken = t->request.body->cap, most = t->request.max_bytes + EXTRA_BYTES;
	size_t left = taken < most ? most - taken : 0;

	arena->limit_bytes = left > arena->used_bytes ? left : arena->used_bytes;
}

static void
on_connected(struct http_request *request)
{
	struct tricorder *t = CONTAINER_OF(request, struct tricorder, request);

	t->job->report(t->job, POLL_CONNECTED, NULL);
}

static void
on_body(struct http_request *request)
{
	source_begin_batch(CONTAINER_OF(request, struct tricorder, request)->job);
}

static void
on_done(struct http_request *request, const struct err *failure)
{
	struct tricorder *t = CONTAINER_OF(request, struct tricorder, request);
	struct poll_job *job = t->job;
	struct err err;

	t->job = NULL;
	if (failure != NULL) {
		err = *failure;
		goto failed;
	}
	bound_batch(t, &job->batch->arena);
	if (tricorder_read(&t->memory, request->body->p, request->body->len, job->batch, &err) != 0)
		goto failed;
	job->report(job, POLL_DONE, NULL);
	return;
failed:
	err_wrap(&err, "%s", http_target_url(t->target));
	job->report(job, POLL_FAILED, &err);
}

static void
tricorder_free(struct tricorder *t)
{
	if (t == NULL)
		return;
	layout_memory_fini(&t->memory);
	http_target_free(t->target);
	free(t);
}

static struct source *
tricorder_open(struct source_env *env, const struct source_target *target, struct err *err)
{
	const struct conf *options = target->options;
	const struct http_target_conf where = {
		.name = target->address,
		.port = target->port,
		.path = conf_text(options, tricorder_opts, "path"),
		.tls = conf_bool(options, tricorder_opts, "tls"),
		.verify = conf_bool(options, tricorder_opts, "verify"),
		.ca_file = conf_text(options, tricorder_opts, "caFile"),
		.accept = STR("application/json"),
		.deny_loopback = target->deny_loopback,
		.deny_link_local = target->deny_link_local,
	};
	struct tricorder *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		err_nomem(err);
		goto failed;
	}
	t->target = http_target_new(env->http, &where, err);
	if (t->target == NULL)
		goto failed;
	t->source.ops = &source_tricorder;
	t->env = env;
	layout_memory_init(&t->memory, env->layouts, target->app);
	t->request.on_connected = on_connected;
	t->request.on_body = on_body;
	t->request.on_done = on_done;
	return &t->source;
failed:
	tricorder_free(t);
	return NULL;
}

static void
tricorder_start(struct source *source, struct poll_job *job)
{
	struct tricorder *t = CONTAINER_OF(source, struct tricorder, source);

	assert(t->job == NULL);
	t->job = job;
	t->request.max_bytes = t->env->max_response;
	t->request.hold = true;
	t->request.body = &job->batch->text;
	http_get(&t->request, t->target);
}

static void
tricorder_cancel(struct source *source)
{
	struct tricorder *t = CONTAINER_OF(source, struct tricorder, source);

	http_cancel(&t->request);
	t->job = NULL;
}

static void
tricorder_close(struct source *source)
{
	tricorder_free(CONTAINER_OF(source, struct tricorder, source));
}

static void
tricorder_proceed(struct source *source)
{
	http_proceed(&CONTAINER_OF(source, struct tricorder, source)->request);
}

const struct source_ops source_tricorder = {
	.name = "tricorder",
	.help = "a tricorder process: JSON at /metricsapi/ over HTTP",
	.opts = tricorder_opts,
	.open = tricorder_open,
	.start = tricorder_start,
	.cancel = tricorder_cancel,
	.close = tricorder_close,
	.proceed = tricorder_proceed,
};
