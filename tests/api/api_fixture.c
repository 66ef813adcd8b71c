#include "api_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
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

int
api_fixture_setup(void **state)
{
	static struct api_fixture f;

	api_fixture_init(&f);
	*state = &f;
	return 0;
}

int
api_fixture_teardown(void **state)
{
	api_fixture_fini(*state);
	return 0;
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

/* What scalars of a kind are like: the last is the largest, the one before it the smallest. */
static struct value
sample(enum kind kind, int round)
{
	static const double floats[] = { 0.1, 1.0 / 3, -123.456, 1e300 };
	static const double floats32[] = { 0.5, (double)0.1f, (double)-1e-7f, (double)3e38f };
	static const char *const texts[] = { "", "plain", "<&>\"\\\x01\u2028",
		"\u00e9\xF0\x9F\x98\x80" };

	switch (kind) {
	case KIND_BOOL:
		return (struct value){ .b = round % 2 == 0 };
	case KIND_STRING:
		return (struct value){ .s = str_of(texts[round]) };
	case KIND_FLOAT32:
		return (struct value){ .f = floats32[round] };
	case KIND_FLOAT64:
		return (struct value){ .f = floats[round] };
	case KIND_INT8:
	case KIND_INT16:
	case KIND_INT32:
	case KIND_INT64:
	case KIND_TIME:
	case KIND_DURATION: {
		int bits = kind_bits(kind) == 0 ? 64 : kind_bits(kind);
		int64_t most = (int64_t)(UINT64_MAX >> (65 - bits));

		return (struct value){ .i = round < 2 ? round * 7 : round == 2 ? -most - 1 : most };
	}
	case KIND_UINT8:
	case KIND_UINT16:
	case KIND_UINT32:
	case KIND_UINT64:
		return (struct value){ .u = round < 3 ? (uint64_t)round * 9
			                              : UINT64_MAX >> (64 - kind_bits(kind)) };
	case KIND_NONE:
	case KIND_LIST:
	case KIND_DIST:
	case KIND_COUNT:
		break;
	}
	return (struct value){ .u = 0 };
}

/* A description of its own: path, escapes, unit and tags depend on which it is. */
static void
add_one(struct batch *batch, struct metric_desc *desc, struct value value, int round, int group)
{
	static const struct tag tags[] = { { STR("k<"), STR("v\"") }, { STR("l"), STR("") } };
	static const char *const units[] = { "None", "", "Milliseconds", "\u00b5s & <more>" };
	struct buf path;
	struct err err;

	buf_init(&path, 0);
	buf_printf(&path, "/every/%s/%s&", kind_name(desc->kind), kind_name(desc->sub_kind));
	desc->path = arena_copy(&batch->arena, buf_view(&path));
	buf_fini(&path);
	desc->description = group % 2 == 0 ? STR("Says <\"what\"> it is") : STR("");
	desc->unit = str_of(units[group % 4]);
	desc->tags = tags;
	desc->tag_count = (size_t)group % 3;
	assert_int_equal(batch_add(batch, desc, &value, group,
	                     FIXTURE_NOW_NS - (3 - round) * INT64_C(1000000000) + group % 5, &err),
	    0);
	assert_string_equal(batch->bad_text, "");
}

static struct value
sample_list(struct batch *batch, enum kind kind, int round)
{
	struct value *values = arena_array(&batch->arena, 4, sizeof(*values));
	struct list *list = arena_alloc(&batch->arena, sizeof(*list));

	assert_true(values != NULL && list != NULL);
	for (int i = 0; i < 4; i++)
		values[i] = sample(kind, (round + i) % 4);
	*list = (struct list){ values, (size_t)round };
	return (struct value){ .list = list };
}

static void
add_dist(struct batch *batch, int round)
{
	static const double limits[] = { 0.5, 10, 1e21 };
	struct metric_desc desc = {
		.kind = KIND_DIST, .limits = limits, .limit_count = 3, .not_cumulative = true
	};
	uint64_t *counts = arena_array(&batch->arena, 4, sizeof(*counts));
	struct dist *dist = arena_alloc(&batch->arena, sizeof(*dist));

	assert_true(counts != NULL && dist != NULL);
	*dist = (struct dist){ .counts = counts, .len = desc.limit_count + 1, .sum = round * 0.7 };
	for (size_t i = 0; i < dist->len; i++) {
		counts[i] = (uint64_t)round * (i + 1) * 1000003;
		dist->count += counts[i];
	}
	add_one(batch, &desc, (struct value){ .dist = dist }, round, 40);
}

void
add_every_kind(struct batch *batch, int round)
{
	for (enum kind kind = KIND_BOOL; kind < KIND_LIST; kind++) {
		struct metric_desc desc = { .kind = kind };
		struct metric_desc list = { .kind = KIND_LIST, .sub_kind = kind };

		add_one(batch, &desc, sample(kind, round), round, (int)kind);
		add_one(batch, &list, sample_list(batch, kind, round), round, 20 + (int)kind);
	}
	add_dist(batch, round);
}

/* Without the white space between the parts of a JSON text. */
static char *
without_layout(const char *text)
{
	char *out = str_dup(str_of(text)), *to = out;
	bool in_string = false;

	assert_non_null(out);
	for (; *text != '\0'; text++) {
		if (*text == '"')
			in_string = !in_string;
		else if (*text == '\\')
			*to++ = *text++;
		if (in_string || strchr(" \t\n", *text) == NULL)
			*to++ = *text;
	}
	*to = '\0';
	return out;
}

void
expect_both_layouts_agree(struct api_fixture *f, const char *target)
{
	char *compact = without_layout(get(f, target)), *indented;
	char indented_target[256];

	assert_int_equal(f->answer.len, strlen(compact) + 1); /* the newline */
	snprintf(indented_target, sizeof(indented_target), "%s?format=text", target);
	indented = without_layout(get(f, indented_target));
	assert_string_equal(compact, indented);
	free(compact);
	free(indented);
}
