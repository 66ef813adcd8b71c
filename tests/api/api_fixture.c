#include "api_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <strings.h>

#include "api/rpc_priv.h"

void
api_fixture_init(struct api_fixture *f)
{
	struct store_conf conf = { .memory_bytes = 64 * 1024 * 1024 };
	struct api_env env = { 0 };
	struct err err;

	*f = (struct api_fixture){ 0 };
	fake_fleet = (struct fake_fleet){ 0 };
	f->own = own_new(&err);
	assert_non_null(f->own);
	f->store = store_new(&conf, NULL, &err);
	assert_non_null(f->store);
	env.store = f->store;
	env.own = f->own;
	assert_int_equal(service_init(&f->service, &env, NULL, &err), 0);
	f->service.rpc = rpc_new(&err);
	assert_non_null(f->service.rpc);
	f->service.start_ts_ns = FIXTURE_NOW_NS;
	buf_init(&f->answer, 0);
	request_init(&f->request, &f->service);
	response_init(&f->response);
}

void
api_fixture_fini(struct api_fixture *f)
{
	request_fini(&f->request);
	response_fini(&f->response);
	buf_fini(&f->answer);
	rpc_free(f->service.rpc);
	service_fini(&f->service);
	store_free(f->store);
	own_free(f->own);
	assert_int_equal(fake_fleet.refs, 0);
}

static struct str
request_header(const struct request *req, const char *name)
{
	const struct api_fixture *f =
	    CONTAINER_OF((struct request *)req, struct api_fixture, request);

	for (size_t i = 0; f->headers[i].name != NULL; i++) {
		if (strcasecmp(f->headers[i].name, name) == 0)
			return str_of(f->headers[i].value);
	}
	return STR_EMPTY;
}

void
set_header(struct api_fixture *f, const char *name, const char *value)
{
	size_t i = 0;

	while (f->headers[i].name != NULL && strcasecmp(f->headers[i].name, name) != 0)
		i++;
	assert_true(i + 1 < ARRAY_LEN(f->headers));
	f->headers[i] = (struct header){ name, value };
}

const char *
answer_header(const struct api_fixture *f, const char *name)
{
	for (size_t i = 0; i < f->response.header_count; i++) {
		if (strcasecmp(f->response.headers[i].name, name) == 0)
			return f->response.headers[i].value;
	}
	return NULL;
}

/* Reads the stream as the server does: each piece into an empty buffer. */
static void
drain(struct api_fixture *f)
{
	struct stream *stream = f->response.stream;
	enum stream_result result = STREAM_MORE;
	struct buf piece;

	buf_init(&piece, 0);
	while (result == STREAM_MORE) {
		stream_piece_clear(&piece);
		result = stream->fill(stream, &piece);
		if (piece.failed)
			result = STREAM_FAILED;
		buf_add(&f->answer, piece.p, piece.len);
		if (piece.len > f->largest_piece)
			f->largest_piece = piece.len;
	}
	f->broken = result == STREAM_FAILED;
	buf_fini(&piece);
}

const char *
ask(struct api_fixture *f, enum method method, const char *target)
{
	request_fini(&f->request);
	response_fini(&f->response);
	buf_clear(&f->answer);
	request_init(&f->request, &f->service);
	response_init(&f->response);
	f->request.method = method;
	f->request.target = str_of(target);
	f->request.body = str_of(f->body);
	f->request.from_loopback = !f->from_afar;
	f->request.now_ns = FIXTURE_NOW_NS;
	f->request.refuse = f->refuse;
	f->request.header = request_header;
	f->broken = false;
	f->largest_piece = 0;
	routes_dispatch(&f->request, &f->response);
	f->status = f->response.status;
	if (f->response.stream != NULL)
		drain(f);
	else
		buf_str(&f->answer, buf_view(&f->response.body));
	buf_putc(&f->answer, '\0');
	if (f->answer.failed)
		return NULL;
	f->answer.len--;
	return f->answer.p;
}

const char *
get(struct api_fixture *f, const char *target)
{
	return ask(f, METHOD_GET, target);
}

void
batch_begin(struct batch *batch)
{
	batch_init(batch, 64 * 1024 * 1024);
	batch_set_unordered(batch);
}

void
add_int(struct batch *batch, const char *path, int64_t value, int64_t group, int64_t ts_ns)
{
	const struct metric_desc desc = {
		.path = str_of(path),
		.description = STR("An int"),
		.unit = STR("None"),
		.kind = KIND_INT64,
	};
	const struct value v = { .i = value };
	struct err err;

	assert_int_equal(batch_add(batch, &desc, &v, group, ts_ns, &err), 0);
	assert_string_equal(batch->bad_text, "");
}

void
store_batch(struct api_fixture *f, const char *host, const char *app, struct batch *batch)
{
	struct append_stats stats;
	struct series_set *set;
	struct err err;

	batch_end(batch, FIXTURE_NOW_NS);
	set = store_set(f->store, str_of(host), str_of(app), &err);
	assert_non_null(set);
	assert_int_equal(store_append(set, batch, &stats, &err), 0);
	series_set_unref(set);
	batch_fini(batch);
}
