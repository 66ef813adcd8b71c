/*
 * The source "prometheus": what Prometheus' exporters serve at /metrics, over HTTP. The batch
 * points into the answer, which it keeps (batch.text).
 */
#include <assert.h>
#include <stdlib.h>

#include "sources/http.h"
#include "sources/prometheus_conf_priv.h"
#include "sources/prometheus_layout_priv.h"
#include "sources/source.h"

/* What answer and batch together may take beyond max_response: the batch's share at least. */
#define EXTRA_BYTES (1024 * 1024)

#define ACCEPT "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

struct prometheus {
	struct source source;
	struct source_env *env;
	struct http_target *target;
	struct http_request request;
	struct layout_memory memory;
	char *kin; /* the memory's */
	bool series;
	char media_type[HTTP_MEDIA_TYPE_BYTES];
	struct poll_job *job; /* the poll under way, else NULL */
};

extern const struct source_ops source_prometheus;

/*
 * The batch gets what the answer left of the poll's memory. The arena may have kept more than that
 * from an earlier poll: that much it may go on using.
 */
static void
bound_batch(const struct prometheus *p, struct arena *arena)
{
	size_t taken = p->request.body->cap, most = p->request.max_bytes + EXTRA_BYTES;
	size_t left = taken < most ? most - taken : 0;

	arena->limit_bytes = left > arena->used_bytes ? left : arena->used_bytes;
}

static void
on_connected(struct http_request *request)
{
	struct prometheus *p = CONTAINER_OF(request, struct prometheus, request);

	p->job->report(p->job, POLL_CONNECTED, NULL);
}

/* Whatever does not say that it is OpenMetrics is read as text format, as Prometheus does. */
static int
take_answer(struct prometheus *p, struct batch *batch, struct err *err)
{
	const struct buf *body = p->request.body;
	const struct prometheus_form form = {
		.openmetrics = strcmp(p->media_type, "application/openmetrics-text") == 0,
		.series = p->series,
	};

	bound_batch(p, &batch->arena);
	return prometheus_read(&p->memory, body->p, body->len, &form, batch, err);
}

static void
on_done(struct http_request *request, const struct err *failure)
{
	struct prometheus *p = CONTAINER_OF(request, struct prometheus, request);
	struct poll_job *job = p->job;
	struct err err;

	p->job = NULL;
	if (failure == NULL && take_answer(p, job->batch, &err) == 0) {
		job->report(job, POLL_DONE, NULL);
		return;
	}
	if (failure != NULL)
		err = *failure;
	err_wrap(&err, "%s", http_target_url(p->target));
	job->report(job, POLL_FAILED, &err);
}

static void
prometheus_free(struct prometheus *p)
{
	if (p == NULL)
		return;
	layout_memory_fini(&p->memory);
	http_target_free(p->target);
	free(p->kin);
	free(p);
}

static struct http_target *
make_target(struct source_env *env, const struct source_target *target,
    const struct prometheus_conf *conf, struct err *err)
{
	const struct conf *options = target->options;
	const struct http_target_conf where = {
		.name = target->address,
		.port = target->port,
		.path = buf_view(&conf->path),
		.accept = STR(ACCEPT),
		.headers = buf_view(&conf->headers),
		.tls = conf_bool(options, prometheus_opts, "tls"),
		.verify = conf_bool(options, prometheus_opts, "verify"),
		.ca_file = conf_text(options, prometheus_opts, "caFile"),
		.cert_file = conf_text(options, prometheus_opts, "certFile"),
		.key_file = conf_text(options, prometheus_opts, "keyFile"),
		.server_name = conf_text(options, prometheus_opts, "serverName"),
		.deny_loopback = target->deny_loopback,
		.deny_link_local = target->deny_link_local,
	};

	return http_target_new(env->http, &where, err);
}

/* Whose answers look alike: a word for the source, a NUL, the application. NULL without memory. */
static char *
make_kin(struct str app, bool series, struct err *err)
{
	struct str source = series ? STR("prometheus series") : STR("prometheus");
	char *kin = malloc(source.len + 1 + app.len);
	char *p = kin;

	if (kin == NULL) {
		err_nomem(err);
		return NULL;
	}
	p = str_put(p, source);
	*p++ = '\0';
	str_put(p, app);
	return kin;
}

static struct source *
prometheus_open(struct source_env *env, const struct source_target *target, struct err *err)
{
	struct prometheus *p = calloc(1, sizeof(*p));
	struct prometheus_conf conf = { .series = false };

	if (p == NULL) {
		err_nomem(err);
		goto failed;
	}
	if (prometheus_conf_init(&conf, target->options, target->deny_loopback, err) != 0)
		goto failed;
	p->target = make_target(env, target, &conf, err);
	if (p->target == NULL)
		goto failed;
	p->kin = make_kin(target->app, conf.series, err);
	if (p->kin == NULL)
		goto failed;
	layout_memory_init(
	    &p->memory, env->layouts, (struct str){ p->kin, strlen(p->kin) + 1 + target->app.len });
	p->source.ops = &source_prometheus;
	p->env = env;
	p->series = conf.series;
	p->request.on_connected = on_connected;
	p->request.on_done = on_done;
	p->request.media_type = p->media_type;
	prometheus_conf_fini(&conf);
	return &p->source;
failed:
	prometheus_conf_fini(&conf);
	prometheus_free(p);
	return NULL;
}

static void
prometheus_start(struct source *source, struct poll_job *job)
{
	struct prometheus *p = CONTAINER_OF(source, struct prometheus, source);

	assert(p->job == NULL);
	p->job = job;
	p->request.max_bytes = p->env->max_response;
	p->request.hold = true;
	p->request.body = &job->batch->text;
	http_get(&p->request, p->target);
}

static void
prometheus_cancel(struct source *source)
{
	struct prometheus *p = CONTAINER_OF(source, struct prometheus, source);

	http_cancel(&p->request);
	p->job = NULL;
}

static void
prometheus_close(struct source *source)
{
	prometheus_free(CONTAINER_OF(source, struct prometheus, source));
}

static void
prometheus_proceed(struct source *source)
{
	http_proceed(&CONTAINER_OF(source, struct prometheus, source)->request);
}

const struct source_ops source_prometheus = {
	.name = "prometheus",
	.help = "an exporter for Prometheus: text format or OpenMetrics over HTTP",
	.opts = prometheus_opts,
	.open = prometheus_open,
	.start = prometheus_start,
	.cancel = prometheus_cancel,
	.close = prometheus_close,
	.proceed = prometheus_proceed,
};
