/*
 * The body of a POST to /RPC2, against a store with one metric. Whatever it is, the answer is text
 * that XML can hold.
 */
#include <assert.h>
#include <stdlib.h>

#include "api/rpc_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct service service;

static void
fill_store(struct store *store)
{
	const struct metric_desc desc = { .path = STR("/a/b"), .kind = KIND_INT64 };
	const struct value value = { .i = 1 };
	struct series_set *set;
	struct append_stats stats;
	struct batch batch;
	struct err err;

	batch_init(&batch, 0);
	set = store_set(store, STR("host"), STR("app"), &err);
	assert(set != NULL);
	assert(batch_add(&batch, &desc, &value, 0, 1, &err) == 0);
	batch_end(&batch, 1);
	assert(store_append(set, &batch, &stats, &err) == 0);
	batch_fini(&batch);
	series_set_unref(set);
}

/* The store and the methods live as long as the program. */
static void
prepare(void)
{
	static const struct store_conf conf = { .memory_bytes = 16 * 1024 * 1024 };
	struct err err;

	if (service.rpc != NULL)
		return;
	service.rpc = rpc_new(&err);
	service.env.store = store_new(&conf, NULL, &err);
	assert(service.rpc != NULL && service.env.store != NULL);
	fill_store(service.env.store);
}

static void
check_text(const struct buf *text)
{
	assert(utf8_valid_prefix(text->p, text->len) == text->len);
	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->p[i];

		assert(c >= ' ' || c == '\n' || c == '\r' || c == '\t');
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request req;
	struct response resp;

	prepare();
	if (size > REQUEST_BODY_BYTES)
		return 0;
	request_init(&req, &service);
	response_init(&resp);
	req.method = METHOD_POST;
	req.body = (struct str){ (const char *)data, size };
	rpc_post(&req, &resp);
	while (resp.stream != NULL && resp.stream->fill(resp.stream, &resp.body) == STREAM_MORE)
		continue;
	assert(resp.status == 200 && resp.body.len > 0);
	check_text(&resp.body);
	response_fini(&resp);
	request_fini(&req);
	return 0;
}
