#include "pump_fixture.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct sink sink;

static struct writer *
fake_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct writer *w = malloc(sizeof(*w));

	(void)conf;
	(void)env;
	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	*w = (struct writer){ &fake_ops, KINDS_ALL & ~KIND_BIT(KIND_BOOL) };
	return w;
}

static void
fake_prepare_series(
    const struct writer *w, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	(void)w;
	buf_str(head, desc->path);
	buf_putc(tail, ' ');
}

static void
fake_prepare_origin(const struct writer *w, const struct write_origin *origin, struct buf *out)
{
	(void)w;
	if (origin->region.len > 0) {
		buf_putc(out, '@');
		buf_str(out, origin->region);
	}
}

static bool
fake_format(const struct writer *w, const struct write_record *record, struct buf *out)
{
	enum kind kind = record->series->desc->kind;

	(void)w;
	if (kind == KIND_FLOAT64 && isnan(record->value.f))
		return false;
	buf_str(out, record->series->head);
	buf_str(out, record->origin->text);
	buf_str(out, record->series->tail);
	if (record->is_end)
		buf_puts(out, "end");
	else if (kind == KIND_STRING)
		buf_str(out, record->value.s);
	else if (kind == KIND_FLOAT64)
		buf_printf(out, "%g", record->value.f);
	else if (kind == KIND_DIST)
		buf_u64(out, record->value.dist->count);
	else
		buf_i64(out, record->value.i);
	buf_putc(out, ' ');
	buf_i64(out, (record->ts_ns - BASE_NS) / NS_PER_MS);
	buf_putc(out, '\n');
	return true;
}

static bool
is_bad(struct str line)
{
	return sink.bad != NULL && str_starts(line, str_of(sink.bad));
}

static struct str
line_of(const struct write_request *request, size_t i)
{
	size_t begin = i == 0 ? 0 : request->ends[i - 1];

	return str_sub(request->body, begin, request->ends[i] - begin);
}

/* Lines and how many of them are bad. */
static size_t
count_lines(const struct write_request *request, size_t *bad)
{
	size_t n = 0;

	*bad = 0;
	for (size_t i = 0; i < request->n; i++) {
		n += line_of(request, i).len > 0;
		*bad += is_bad(line_of(request, i));
	}
	return n;
}

static void
take_lines(const struct write_request *request, bool *refused)
{
	for (size_t i = 0; i < request->n; i++) {
		struct str line = line_of(request, i);

		if (refused != NULL && is_bad(line)) {
			refused[i] = true;
			continue;
		}
		buf_str(&sink.taken, line);
		sink.taken_count += line.len > 0;
	}
}

static void
fake_send(struct writer *w, const struct write_request *request, struct write_answer *answer)
{
	size_t bad, lines = count_lines(request, &bad);
	bool ignored[10000] = { false };

	(void)w;
	assert_true(request->n <= ARRAY_LEN(ignored));
	assert_true(lines > 0);
	sink.requests++;
	sink.same = str_eq(buf_view(&sink.last), request->body);
	buf_clear(&sink.last);
	buf_str(&sink.last, request->body);
	err_set(&answer->err, ERR_PROTO, "told so");
	switch (sink.mode) {
	case SINK_OK:
		break;
	case SINK_LATER:
		answer->status = WRITE_LATER;
		answer->retry_after_ns = sink.retry_after_ns;
		break;
	case SINK_MISCONFIGURED:
		answer->status = WRITE_MISCONFIGURED;
		break;
	case SINK_PICKY:
		answer->status = bad > 0 ? WRITE_REFUSED : WRITE_DONE;
		break;
	case SINK_SMALL:
		if (lines > sink.most || (lines == 1 && bad == 1))
			answer->status = WRITE_TOO_LARGE;
		break;
	case SINK_SOME:
	case SINK_COUNTS:
		answer->status = bad > 0 ? WRITE_SOME : WRITE_DONE;
		answer->refused_count = bad;
		take_lines(request, sink.mode == SINK_SOME ? answer->refused : ignored);
		return;
	}
	sink.refused_requests += answer->status != WRITE_DONE;
	if (answer->status == WRITE_DONE)
		take_lines(request, NULL);
	if (sink.left > 0 && --sink.left == 0)
		sink.mode = SINK_OK;
}

static void
fake_close(struct writer *w)
{
	free(w);
}

const struct writer_ops fake_ops = {
	.name = "fake",
	.end_kinds = KIND_BIT(KIND_FLOAT64),
	.open = fake_open,
	.prepare_origin = fake_prepare_origin,
	.prepare_series = fake_prepare_series,
	.format = fake_format,
	.send = fake_send,
	.close = fake_close,
};

static int64_t
fixture_mono(void *ctx)
{
	return ((struct pump_fixture *)ctx)->mono_ns;
}

static int64_t
fixture_real(void *ctx)
{
	return ((struct pump_fixture *)ctx)->real_ns;
}

int
pump_fixture_setup(void **state)
{
	struct pump_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->store = fixture_new(BIG_BYTES);
	f->mono_ns = 1000 * NS_PER_S;
	f->real_ns = AT(0);
	strcpy(f->state_dir, "/tmp/pump_test-XXXXXX");
	assert_non_null(mkdtemp(f->state_dir));
	f->env = (struct pump_env){ .store = f->store->store,
		.state_dir = f->state_dir,
		.mono_ns = fixture_mono,
		.real_ns = fixture_real,
		.clock_ctx = f };
	sink = (struct sink){ .mode = SINK_OK };
	*state = f;
	return 0;
}

static void
remove_files(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	char path[512];

	while (d != NULL && (entry = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(dir);
}

int
pump_fixture_teardown(void **state)
{
	struct pump_fixture *f = *state;
	char dead[80];

	pump_free(f->pump);
	snprintf(dead, sizeof(dead), "%s/dead", f->state_dir);
	remove_files(dead);
	remove_files(f->state_dir);
	fixture_free(f->store);
	buf_fini(&sink.taken);
	buf_fini(&sink.last);
	free(f);
	return 0;
}

struct consumer *
fake_consumer(size_t batch_size, unsigned concurrency)
{
	struct consumer *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->name = strdup("fake one");
	c->ops = &fake_ops;
	c->batch_size = batch_size;
	c->concurrency = concurrency;
	return c;
}

void
open_pump(struct pump_fixture *f, struct consumer *c)
{
	struct err err;
	struct queue *queue = queue_open(&f->env, c, &err);

	assert_non_null(queue);
	f->pump = pump_new(&f->env, c, queue, &err);
	assert_non_null(f->pump);
}

void
run_pump(struct pump_fixture *f, int64_t at_most_ns)
{
	int64_t end_ns = f->mono_ns + at_most_ns;

	for (;;) {
		int64_t at_ns = pump_turn(f->pump);

		if (at_ns > f->mono_ns) {
			struct pump_stats stats = stats_of(f);

			if (stats.waiting == 0 && stats.state == PUMP_IDLE && stats.lag_s <= 0)
				return;
			if (at_ns > end_ns)
				return;
			f->real_ns += at_ns - f->mono_ns;
			f->mono_ns = at_ns;
		}
	}
}

struct pump_stats
stats_of(struct pump_fixture *f)
{
	struct pump_stats stats;

	pump_get_stats(f->pump, &stats);
	return stats;
}

void
fill_store(struct pump_fixture *f, unsigned series, unsigned polls)
{
	static char paths[1000][16]; /* the batch refers to them */

	assert_true(series <= ARRAY_LEN(paths));
	for (unsigned s = 0; s < series; s++)
		snprintf(paths[s], sizeof(paths[s]), "/s%03u", s);
	for (unsigned poll = 0; poll < polls; poll++) {
		for (unsigned s = 0; s < series; s++)
			put_i64(f->store, paths[s], poll, 0, poll + 1);
		append(f->store);
	}
	f->real_ns = AT(polls + 1000);
}

void
check_taken(unsigned series, unsigned polls, const char *missing)
{
	unsigned *next = calloc(series, sizeof(*next));
	struct str rest = buf_view(&sink.taken), line;
	size_t count = 0;

	assert_non_null(next);
	while (str_split(&rest, '\n', &line)) {
		char text[64];
		unsigned s, value, ms;

		snprintf(text, sizeof(text), "%.*s", STR_ARG(line));
		assert_int_equal(sscanf(text, "/s%u %u %u", &s, &value, &ms), 3);
		assert_true(s < series);
		assert_int_equal(ms, value + 1);
		if (missing != NULL && next[s] != value) {
			char gap[64];

			snprintf(gap, sizeof(gap), "/s%03u %u ", s, next[s]);
			if (strncmp(gap, missing, strlen(missing)) == 0)
				next[s]++;
		}
		assert_int_equal(value, next[s]);
		next[s]++;
		count++;
	}
	assert_int_equal(count, (size_t)series * polls - (missing != NULL));
	free(next);
}
