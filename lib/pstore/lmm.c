/*
 * The lmm writer: arrays of JSON objects (lmm_record.h) by HTTP, as upstream.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pstore/lmm_record.h"
#include "pstore/post.h"

extern const struct writer_ops writer_lmm;

/* Of a string, as upstream cuts it. */
#define STRING_BYTES 100

struct lmm {
	struct writer base;
	struct lmm_record record;
	char *key, *tenant; /* what it leads to */
	struct post *post;  /* NULL when opened to check only */
};

static const struct conf_opt opts[] = {
	{ "endpoint", CONF_TEXT, NULL, "http://HOST/PATH or https://...", 0, 0 },
	{ "tenantId", CONF_TEXT, NULL, "required", 0, 0 },
	{ "apiKey", CONF_SECRET, NULL, "required", 0, 0 },
	{ "name", CONF_TEXT, NULL, "accepted for upstream's files, without effect", 0, 0 },
	{ "region", CONF_TEXT, NULL, "accepted for upstream's files, without effect", 0, 0 },
	{ "schema", CONF_TEXT, "upstream", "upstream, or tagged: with the endpoint's tags", 0, 0 },
	POST_OPTS,
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

static void
lmm_close(struct writer *writer)
{
	struct lmm *w = CONTAINER_OF(writer, struct lmm, base);

	post_free(w->post);
	conf_secret_free(w->key);
	free(w->tenant);
	free(w);
}

static int
open_post(struct lmm *w, const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct post_conf post = { .conf = conf, .opts = opts, .stop = env->stop };
	char *tenant_header = NULL, *key_header = NULL;

	if (asprintf(&tenant_header, "tenantid: %s", w->tenant) < 0)
		tenant_header = NULL;
	if (asprintf(&key_header, "apikey: %s", w->key) < 0)
		key_header = NULL;
	post.url = conf_text(conf, opts, "endpoint").p; /* ended by a NUL */
	post.headers[0] = "Content-Type: application/json";
	post.headers[1] = tenant_header;
	post.headers[2] = key_header;
	if (tenant_header == NULL || key_header == NULL)
		err_nomem(err);
	else
		w->post = post_new(&post, err);
	free(tenant_header);
	conf_secret_free(key_header);
	return w->post == NULL ? -1 : 0;
}

/* Those that are absent, or not fit to be sent as a header. */
static int
check(const struct conf *conf, const char *key, struct err *err)
{
	struct str endpoint = conf_text(conf, opts, "endpoint");
	struct str tenant = conf_text(conf, opts, "tenantId");
	struct str schema = conf_text(conf, opts, "schema");

	if (endpoint.len == 0 || tenant.len == 0 || key == NULL || key[0] == '\0')
		err_set(err, ERR_CONFIG, "endpoint, tenantId, and apiKey keys required");
	else if (strpbrk(tenant.p, "\r\n") != NULL || strpbrk(key, "\r\n") != NULL)
		err_set(err, ERR_CONFIG, "tenantId and apiKey must not have line ends");
	else if (!str_eq(schema, STR("upstream")) && !str_eq(schema, STR("tagged")))
		err_set(err, ERR_CONFIG, "'schema' must be upstream or tagged");
	else
		return post_check_url(endpoint, err);
	return -1;
}

static struct writer *
lmm_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct lmm *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	w->base = (struct writer){ &writer_lmm, KINDS_ALL };
	if (conf_secret(conf, "apiKey", &w->key, err) != 0 || check(conf, w->key, err) != 0)
		goto failed;
	w->tenant = str_dup(conf_text(conf, opts, "tenantId"));
	if (w->tenant == NULL) {
		err_nomem(err);
		goto failed;
	}
	w->record = (struct lmm_record){ .api_key = str_of(w->key),
		.tenant = str_of(w->tenant),
		.tagged = str_eq(conf_text(conf, opts, "schema"), STR("tagged")),
		.string_bytes = STRING_BYTES };
	if (env == NULL || open_post(w, conf, env, err) == 0)
		return &w->base;
failed:
	lmm_close(&w->base);
	return NULL;
}

static const struct lmm_record *
form(const struct writer *writer)
{
	return &CONTAINER_OF(writer, struct lmm, base)->record;
}

static void
prepare_origin(const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	lmm_prepare_origin(form(writer), origin, out);
}

static void
prepare_series(
    const struct writer *writer, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	lmm_prepare_series(form(writer), desc, head, tail);
}

static bool
format(const struct writer *writer, const struct write_record *record, struct buf *out)
{
	return lmm_format(form(writer), record, out);
}

static void
lmm_send(struct writer *writer, const struct write_request *request, struct write_answer *out)
{
	struct lmm *w = CONTAINER_OF(writer, struct lmm, base);
	struct post_answer answer;
	struct err err;

	post_send(w->post, request->body, &answer, &err);
	post_judge(w->post, &answer, &err, out);
}

const struct writer_ops writer_lmm = {
	.name = "lmm",
	.help = "LMM: JSON over HTTP",
	.opts = opts,
	.begin = { "[", 1 },
	.between = { ",", 1 },
	.end = { "]", 1 },
	.open = lmm_open,
	.prepare_origin = prepare_origin,
	.prepare_series = prepare_series,
	.format = format,
	.send = lmm_send,
	.close = lmm_close,
};
