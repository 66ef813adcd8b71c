#include "store_fixture.h"

#include <inttypes.h>
#include <stdlib.h>

int64_t
noise(int64_t n)
{
	return (int64_t)((uint64_t)n * UINT64_C(0x9e3779b97f4a7c15));
}

struct fixture *
fixture_new(uint64_t memory_bytes)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	assert_non_null(f);
	f->store = store_new(&(struct store_conf){ .memory_bytes = memory_bytes }, NULL, &err);
	assert_non_null(f->store);
	f->set = store_set(f->store, STR("web1"), STR("app"), &err);
	assert_non_null(f->set);
	batch_init(&f->batch, 0);
	batch_set_unordered(&f->batch);
	buf_init(&f->text, 0);
	return f;
}

void
fixture_free(struct fixture *f)
{
	batch_fini(&f->batch);
	buf_fini(&f->text);
	series_set_unref(f->set);
	store_free(f->store);
	free(f);
}

int
fixture_setup(void **state)
{
	*state = fixture_new(BIG_BYTES);
	return 0;
}

int
fixture_teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

void
put_desc(struct fixture *f, const struct metric_desc *desc, struct value value, int64_t group,
    int64_t ms)
{
	struct err err;

	assert_int_equal(batch_add(&f->batch, desc, &value, group, AT(ms), &err), 0);
	assert_string_equal(f->batch.bad_text, "");
}

void
put(struct fixture *f, const char *path, enum kind kind, struct value value, int64_t group,
    int64_t ms)
{
	struct metric_desc desc = { .path = str_of(path), .kind = kind };

	put_desc(f, &desc, value, group, ms);
}

void
put_i64(struct fixture *f, const char *path, int64_t value, int64_t group, int64_t ms)
{
	put(f, path, KIND_INT64, (struct value){ .i = value }, group, ms);
}

void
put_text(struct fixture *f, const char *path, const char *value, int64_t group, int64_t ms)
{
	put(f, path, KIND_STRING, (struct value){ .s = str_of(value) }, group, ms);
}

void
put_dist(
    struct fixture *f, const char *path, const uint64_t counts[3], uint64_t generation, int64_t ms)
{
	static const double limits[] = { 10, 20 };
	struct metric_desc desc = {
		.path = str_of(path), .kind = KIND_DIST, .limits = limits, .limit_count = 2
	};
	struct dist *dist = arena_alloc(&f->batch.arena, sizeof(*dist));

	assert_non_null(dist);
	*dist = (struct dist){ .counts = counts, .len = 3, .generation = generation, .min = 1 };
	for (size_t i = 0; i < 3; i++) {
		dist->count += counts[i];
		dist->sum += (double)counts[i] * 10;
	}
	put_desc(f, &desc, (struct value){ .dist = dist }, 0, ms);
}

int
append_to(struct fixture *f, struct series_set *set, struct err *err)
{
	int rc;

	batch_end(&f->batch, BASE_NS);
	rc = store_append(set, &f->batch, &f->stats, err);
	batch_reset(&f->batch);
	batch_set_unordered(&f->batch);
	return rc;
}

void
append(struct fixture *f)
{
	struct err err;

	if (append_to(f, f->set, &err) != 0)
		fail_msg("%s", err.text);
}

static void
add_scalar(struct buf *out, enum kind kind, const struct value *value)
{
	if (kind == KIND_STRING)
		buf_printf(out, "'%.*s'", STR_ARG(value->s));
	else if (kind == KIND_BOOL)
		buf_puts(out, value->b ? "true" : "false");
	else if (kind == KIND_FLOAT32 || kind == KIND_FLOAT64)
		buf_printf(out, "%g", value->f);
	else if (kind_is_uint(kind))
		buf_u64(out, value->u);
	else
		buf_i64(out, value->i);
}

static void
add_list(struct buf *out, enum kind kind, const struct list *list)
{
	buf_putc(out, '[');
	for (size_t i = 0; i < list->len; i++) {
		if (i > 0)
			buf_putc(out, ',');
		add_scalar(out, kind, &list->values[i]);
	}
	buf_putc(out, ']');
}

static void
add_dist(struct buf *out, const struct dist *dist)
{
	if (dist == NULL) {
		buf_puts(out, "null");
		return;
	}
	buf_printf(out, "%g/%" PRIu64 "/%" PRIu64 "(", dist->sum, dist->count, dist->rollovers);
	for (size_t i = 0; i < dist->len; i++)
		buf_printf(out, "%s%" PRIu64, i == 0 ? "" : ",", dist->counts[i]);
	buf_putc(out, ')');
	assert_true(dist->generation == 0);
	assert_true(dist->min == 0);
}

static void
add_record(struct buf *out, const struct record *record)
{
	const struct metric_desc *desc = record->desc;
	int64_t off_ns = record->ts_ns - BASE_NS;

	buf_i64(out, off_ns / NS_PER_MS);
	if (off_ns % NS_PER_MS != 0)
		buf_printf(out, "+%" PRId64 "ns", off_ns % NS_PER_MS);
	buf_putc(out, ':');
	if (desc->kind == KIND_LIST)
		add_list(out, desc->sub_kind, record->value.list);
	else if (desc->kind == KIND_DIST)
		add_dist(out, record->value.dist);
	else
		add_scalar(out, desc->kind, &record->value);
	if (!record->active)
		buf_putc(out, 'i');
}

static void
begin_record(struct buf *out, const struct metric_desc *path_of)
{
	if (out->len > 0)
		buf_putc(out, ' ');
	if (path_of != NULL) {
		buf_str(out, path_of->path);
		buf_putc(out, '=');
	}
}

static const char *
end_text(struct fixture *f)
{
	buf_putc(&f->text, '\0');
	assert_false(f->text.failed);
	return f->text.p;
}

const char *
range_text(struct fixture *f, const char *path, int64_t start_ns, int64_t end_ns)
{
	struct record records[7]; /* few, so that reads have to go on */
	const struct metric_desc *desc;
	struct err err;
	struct iter *it = iter_new(f->set, str_of(path), ITER_EXACT, &err);
	size_t n;

	assert_non_null(it);
	buf_clear(&f->text);
	while (iter_next_series(it, &desc)) {
		iter_range(it, start_ns, end_ns);
		while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0) {
			for (size_t i = 0; i < n; i++) {
				begin_record(&f->text, NULL);
				add_record(&f->text, &records[i]);
			}
		}
	}
	iter_free(it);
	return end_text(f);
}

const char *
history(struct fixture *f, const char *path)
{
	return range_text(f, path, TS_NONE, INT64_MAX);
}

const char *
latest_text(struct fixture *f, const char *prefix)
{
	struct record records[5];
	struct err err;
	struct iter *it = iter_new(f->set, str_of(prefix), ITER_UNDER, &err);
	size_t n;

	assert_non_null(it);
	buf_clear(&f->text);
	while ((n = iter_latest_many(it, records, ARRAY_LEN(records))) > 0) {
		for (size_t i = 0; i < n; i++) {
			begin_record(&f->text, records[i].desc);
			add_record(&f->text, &records[i]);
		}
	}
	iter_free(it);
	return end_text(f);
}

const char *
cursor_text(struct fixture *f, struct cursor *cursor, size_t max)
{
	struct cursor_record *records = calloc(max, sizeof(*records));
	size_t n;

	assert_non_null(records);
	buf_clear(&f->text);
	while ((n = cursor_read(cursor, records, max)) > 0) {
		for (size_t i = 0; i < n; i++) {
			begin_record(&f->text, records[i].record.desc);
			add_record(&f->text, &records[i].record);
		}
	}
	free(records);
	return end_text(f);
}
