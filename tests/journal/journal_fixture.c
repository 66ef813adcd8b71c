#include "journal_fixture.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define BASE_NS (1700000000 * NS_PER_S)

struct gen_conf
fixture_gen_conf(void)
{
	return (struct gen_conf){ .endpoint_count = ENDPOINTS,
		.metric_count = METRICS,
		.changed_permille = 300,
		.interval_ns = 10 * NS_PER_S,
		.jitter_ns = NS_PER_S,
		.jitter_unit_ns = NS_PER_MS };
}

void
fixture_init(struct fixture *f)
{
	struct gen_conf conf = fixture_gen_conf();

	*f = (struct fixture){ .mono_ns = 1000 * NS_PER_S, .real_ns = BASE_NS };
	strcpy(f->dir, "/tmp/scotty-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->conf = (struct journal_conf){ .state_dir = f->dir,
		.sync_ns = NS_PER_S,
		.segment_ns = 3600 * NS_PER_S,
		.segment_bytes = 1 << 30,
		.restore_ns = 86400 * NS_PER_S,
		.retention_ns = 7 * 86400 * NS_PER_S,
		.disk_bytes = 1 << 30,
		.restore_threads = 1,
		.manual = true };
	f->gen = gen_new(&conf);
	assert_non_null(f->gen);
}

void
fixture_fini(struct fixture *f)
{
	char path[256];

	fixture_close(f);
	fixture_delete(f, "");
	snprintf(path, sizeof(path), "rm -rf %s/journal %s/history", f->dir, f->dir);
	assert_int_equal(system(path), 0);
	assert_int_equal(rmdir(f->dir), 0);
	gen_free(f->gen);
}

int
fixture_open(struct fixture *f, struct err *err)
{
	struct store_conf conf = { .memory_bytes = 64 << 20 };

	f->store = store_new(&conf, NULL, err);
	if (f->store == NULL)
		return -1;
	f->journal = journal_new(&f->conf, NULL, err);
	if (f->journal == NULL)
		return -1;
	return journal_restore(f->journal, f->store, UINT64_MAX, NULL, NULL, err);
}

void
fixture_start(struct fixture *f)
{
	struct err err;

	if (fixture_open(f, &err) != 0 || journal_start(f->journal, f->store, &err) != 0)
		fail_msg("%s", err.text);
	f->mono_ns = clock_mono_ns();
}

void
fixture_close(struct fixture *f)
{
	journal_free(f->journal);
	store_free(f->store);
	f->journal = NULL;
	f->store = NULL;
}

void
fixture_poll(struct fixture *f)
{
	for (size_t i = 0; i < ENDPOINTS; i++) {
		const struct batch *batch = gen_poll(f->gen, i, f->poll_count);
		struct append_stats stats;
		struct err err;
		struct series_set *set = store_set(f->store, gen_host(f->gen, i), STR("app"), &err);

		assert_non_null(set);
		assert_int_equal(store_append(set, batch, &stats, &err), 0);
		series_set_unref(set);
	}
	f->poll_count++;
}

void
fixture_turn(struct fixture *f, int64_t ns)
{
	f->mono_ns += ns;
	f->real_ns += ns;
	journal_turn(f->journal, f->mono_ns, f->real_ns);
}

/* Values as text. */

static void
add_record(struct buf *out, const struct record *record)
{
	const struct value *value = &record->value;

	buf_printf(out, "%s:", record->active ? "" : "i");
	switch ((int)record->desc->kind) {
	case KIND_STRING:
		buf_str(out, value->s);
		break;
	case KIND_BOOL:
		buf_putc(out, value->b ? 'T' : 'F');
		break;
	case KIND_DIST:
		for (size_t i = 0; value->dist != NULL && i < value->dist->len; i++)
			buf_printf(out, "%" PRIu64 ",", value->dist->counts[i]);
		if (value->dist != NULL)
			buf_printf(out, "%a,%" PRIu64, value->dist->sum, value->dist->rollovers);
		break;
	default:
		buf_printf(out, "%" PRIx64, value->u);
	}
}

static void
add_to_sum(struct sum *sum, const void *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum->hash = (sum->hash ^ ((const uint8_t *)p)[i]) * UINT64_C(1099511628211);
}

static void
sum_set(struct sum *sum, struct series_set *set)
{
	const struct metric_desc *desc;
	struct err err;
	struct iter *iter = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	int64_t birth_ns = series_set_birth_ns(set);
	struct buf text;

	assert_non_null(iter);
	buf_init(&text, 0);
	add_to_sum(sum, &birth_ns, sizeof(birth_ns));
	while (iter_next_series(iter, &desc)) {
		struct record record;
		int64_t ts_ns;

		add_to_sum(sum, desc->path.p, desc->path.len);
		iter_range(iter, 0, INT64_MAX);
		for (; iter_read(iter, &record, 1) == 1; sum->records++) {
			buf_clear(&text);
			buf_i64(&text, record.ts_ns);
			add_record(&text, &record);
			add_to_sum(sum, text.p, text.len);
		}
		while (iter_read_times(iter, &ts_ns, 1) == 1)
			add_to_sum(sum, &ts_ns, sizeof(ts_ns));
	}
	buf_fini(&text);
	iter_free(iter);
}

struct sum
fixture_sum(struct store *store)
{
	struct sum sum = { UINT64_C(14695981039346656037), 0 };
	struct series_set *const *sets;
	struct err err;
	size_t n;

	assert_int_equal(sets_snapshot(store, &sets, &n, &err), 0);
	for (size_t i = 0; i < n; i++)
		sum_set(&sum, sets[i]);
	sets_free(sets, n);
	return sum;
}

void
assert_same_sum(struct sum a, struct sum b)
{
	assert_int_equal(a.records, b.records);
	assert_int_equal(a.hash, b.hash);
}

/* The value that the series has at that time, as text; false if nothing is known of it. */
static bool
value_at(struct series_set *set, struct str path, int64_t ts_ns, struct buf *text)
{
	const struct metric_desc *desc;
	struct record record;
	struct err err;
	struct iter *iter = iter_new(set, path, ITER_EXACT, &err);
	bool found = false;

	assert_non_null(iter);
	buf_clear(text);
	if (iter_next_series(iter, &desc)) {
		/* The first that comes is the newest before the end. */
		iter_range(iter, ts_ns, ts_ns + 1);
		found = iter_read(iter, &record, 1) == 1;
		if (found)
			add_record(text, &record);
	}
	iter_free(iter);
	return found;
}

static void
check_set(struct series_set *part, struct series_set *whole)
{
	const struct metric_desc *desc;
	struct err err;
	struct iter *iter = iter_new(part, STR_EMPTY, ITER_UNDER, &err);
	struct buf is, was;

	assert_non_null(iter);
	buf_init(&is, 0);
	buf_init(&was, 0);
	while (iter_next_series(iter, &desc)) {
		struct record record;

		iter_range(iter, 0, INT64_MAX);
		while (iter_read(iter, &record, 1) == 1) {
			bool same;

			buf_clear(&is);
			add_record(&is, &record);
			same = value_at(whole, desc->path, record.ts_ns, &was) &&
			       str_eq(buf_view(&is), buf_view(&was));
			if (!same)
				fail_msg("%.*s at %" PRId64 ": is %.*s, was %.*s",
				    STR_ARG(desc->path), record.ts_ns, (int)is.len, is.p,
				    (int)was.len, was.p);
		}
	}
	buf_fini(&is);
	buf_fini(&was);
	iter_free(iter);
}

void
assert_part_of(struct store *part, struct store *whole)
{
	struct series_set *const *sets;
	struct err err;
	size_t n;

	assert_int_equal(sets_snapshot(part, &sets, &n, &err), 0);
	for (size_t i = 0; i < n; i++) {
		struct series_set *other =
		    store_find(whole, series_set_host(sets[i]), series_set_app(sets[i]));

		assert_non_null(other);
		assert_int_equal(series_set_birth_ns(other), series_set_birth_ns(sets[i]));
		check_set(sets[i], other);
		series_set_unref(other);
	}
	sets_free(sets, n);
}

uint64_t
fixture_rows(struct store *store)
{
	struct series_set *const *sets;
	struct err err;
	uint64_t rows = 0;
	size_t n;

	/* The times of one series: all of a set's are in one group. */
	assert_int_equal(sets_snapshot(store, &sets, &n, &err), 0);
	for (size_t i = 0; i < n; i++) {
		struct iter *iter = iter_new(sets[i], STR_EMPTY, ITER_UNDER, &err);
		const struct metric_desc *desc;
		int64_t ts_ns;

		assert_non_null(iter);
		if (iter_next_series(iter, &desc)) {
			iter_range(iter, 0, INT64_MAX);
			while (iter_read_times(iter, &ts_ns, 1) == 1)
				rows++;
		}
		iter_free(iter);
	}
	sets_free(sets, n);
	return rows;
}

/* Files. */

static void
path_of(struct fixture *f, const char *name, char path[512])
{
	snprintf(path, 512, "%s/journal/%s", f->dir, name);
}

size_t
fixture_files(struct fixture *f, const char *text, char name[256])
{
	return fixture_files_in(f, "journal", text, name);
}

size_t
fixture_files_in(struct fixture *f, const char *dir_name, const char *text, char name[256])
{
	char path[512], last[256] = "";
	const struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", f->dir, dir_name);
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || strstr(entry->d_name, text) == NULL)
			continue;
		n++;
		if (strcmp(entry->d_name, last) > 0)
			snprintf(last, sizeof(last), "%s", entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
	if (name != NULL)
		memcpy(name, last, sizeof(last));
	return n;
}

char *
fixture_read(struct fixture *f, const char *name, size_t *len)
{
	char path[512], *p;
	struct stat st;
	FILE *file;

	path_of(f, name, path);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	*len = (size_t)st.st_size;
	p = malloc(*len + 1);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, *len, file), *len);
	fclose(file);
	return p;
}

void
fixture_write(struct fixture *f, const char *name, const void *p, size_t len)
{
	char path[512];
	FILE *file;

	path_of(f, name, path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(p, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

void
fixture_delete(struct fixture *f, const char *text)
{
	char name[256], path[512];

	while (fixture_files(f, text, name) > 0) {
		path_of(f, name, path);
		assert_int_equal(remove(path), 0);
	}
}
