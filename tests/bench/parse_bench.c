/*
 * How fast the answer of a tricorder process turns into a batch: by the full parser, and by the
 * layout remembered from the poll before. The document is laid out as tricorder does it: 60%
 * counters, 20% floats, 10% constant strings and ints, 5% times and durations, 5% distributions
 * of 20 buckets; 30% of the values change from poll to poll.
 *
 * Linked with --wrap for malloc and the arena's two ways to allocate, which are counted.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sources/tricorder_parse_priv.h"
#include "sources/tricorder_read_priv.h"

#define METRICS      200
#define ROUNDS       500
#define TRIES        40
#define BUCKETS      20
#define BUDGET_BYTES (64 * 1024 * 1024)

/* Answers that follow each other; after the last comes the first. */
#define ANSWERS          16
#define POLLS_PER_CHANGE 3

static size_t malloc_count, arena_count;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_arena_alloc(struct arena *a, size_t size);
void *__wrap_arena_alloc(struct arena *a, size_t size);
void *__real_arena_array(struct arena *a, size_t n, size_t size);
void *__wrap_arena_array(struct arena *a, size_t n, size_t size);

void *
__wrap_malloc(size_t size)
{
	malloc_count++;
	return __real_malloc(size);
}

void *
__wrap_arena_alloc(struct arena *a, size_t size)
{
	arena_count++;
	return __real_arena_alloc(a, size);
}

void *
__wrap_arena_array(struct arena *a, size_t n, size_t size)
{
	arena_count++;
	return __real_arena_array(a, n, size);
}

/* What stands for a kind in the mix below. */
enum mix { COUNTER = 'c', FLOAT = 'f', STRING = 's', INT = 'i', TIME = 't', DISTRIBUTION = 'd' };
static const char all_kinds[] = "ccfcccfcsccfcctcfcid";
static const char plain_kinds[] = "ccfcccfcsccfcccffcic";

static void
write_dist(struct buf *doc, unsigned long change)
{
	buf_printf(doc,
	    "{\n\t\t\t\"min\": 0.25,\n\t\t\t\"max\": 93.5,\n\t\t\t\"average\": 64.125,\n"
	    "\t\t\t\"median\": 63.5,\n\t\t\t\"sum\": %lu.5,\n\t\t\t\"count\": %lu,\n"
	    "\t\t\t\"generation\": %lu,\n\t\t\t\"ranges\": [\n",
	    1000000 + change, 20000 + change, 20000 + change);
	for (unsigned i = 0; i < BUCKETS; i++)
		buf_printf(doc,
		    "\t\t\t\t{\n\t\t\t\t\t\"lower\": %lu,\n\t\t\t\t\t\"upper\": %lu,\n"
		    "\t\t\t\t\t\"count\": %lu\n\t\t\t\t}%s\n",
		    i == 0 ? 0 : 1ul << i, i + 1 == BUCKETS ? 0 : 2ul << i, 1000 + change,
		    i + 1 < BUCKETS ? "," : "");
	buf_puts(doc, "\t\t\t]\n\t\t}");
}

static void
write_value(struct buf *doc, enum mix mix, unsigned metric, unsigned poll)
{
	unsigned long change = (poll + metric) / POLLS_PER_CHANGE;
	const char *bits = "\t\t\"bits\": 64,\n";

	switch (mix) {
	case COUNTER:
		buf_printf(doc, "\t\t\"kind\": \"uint64\",\n%s\t\t\"value\": %lu", bits,
		    1234567890 + metric * 98765 + change * 997);
		break;
	case FLOAT:
		buf_printf(doc, "\t\t\"kind\": \"float64\",\n%s\t\t\"value\": %lu.%lu", bits,
		    100 + change, 123456 + change * 7919 % 800000);
		break;
	case STRING:
		buf_printf(doc, "\t\t\"kind\": \"string\",\n\t\t\"value\": \"release-%u\"", metric);
		break;
	case INT:
		buf_printf(
		    doc, "\t\t\"kind\": \"int32\",\n\t\t\"bits\": 32,\n\t\t\"value\": -%u", metric);
		break;
	case TIME:
		buf_printf(doc, "\t\t\"kind\": \"duration\",\n\t\t\"value\": \"%lu.%09lu\"",
		    960357 + change, 1000 + change);
		break;
	case DISTRIBUTION:
		buf_puts(doc, "\t\t\"kind\": \"distribution\",\n\t\t\"value\": ");
		write_dist(doc, change);
		break;
	}
}

static void
write_document(struct buf *doc, const char *kinds, unsigned poll)
{
	buf_puts(doc, "[\n");
	for (unsigned i = 0; i < METRICS; i++) {
		enum mix mix = (enum mix)kinds[i % (sizeof(all_kinds) - 1)];

		buf_printf(doc,
		    "\t{\n\t\t\"path\": \"/service/part%03u/%06u-metric\",\n"
		    "\t\t\"description\": \"What number %u tells of the part\",\n"
		    "\t\t\"unit\": \"None\",\n",
		    i / 50, i, i);
		write_value(doc, mix, i, poll);
		buf_printf(doc,
		    ",\n\t\t\"timestamp\": \"%u.123456789\",\n\t\t\"groupId\": %u\n\t}%s\n",
		    1500000000 + 10 * poll, mix == DISTRIBUTION ? 10 + i : 0,
		    i + 1 < METRICS ? "," : "");
	}
	buf_puts(doc, "]");
}

struct bench {
	const char *name;
	struct buf answers[ANSWERS];
	struct batch batch;
	struct layout_memory memory; /* without a table: the full parser */
	char *copy;
	uint64_t mallocs, arenas; /* of one poll */
};

static void
fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(1);
}

/* Nanoseconds that one poll took, the copying of the document left out. */
static int64_t
poll_once(struct bench *b, const struct buf *doc)
{
	int64_t start_ns;
	struct err err;

	memcpy(b->copy, doc->p, doc->len);
	b->copy[doc->len] = '\0';
	malloc_count = arena_count = 0;
	start_ns = clock_mono_ns();
	batch_reset(&b->batch);
	if (tricorder_read(&b->memory, b->copy, doc->len, &b->batch, &err) != 0)
		fail(err.text);
	start_ns = clock_mono_ns() - start_ns;
	b->mallocs = malloc_count;
	b->arenas = arena_count;
	if (b->batch.len != METRICS)
		fail(b->batch.bad_text);
	return start_ns;
}

/* The best try: what the code takes when nothing else runs on the machine. */
static void
measure(struct bench *b, const char *how, struct tricorder_layouts *table)
{
	double best_ns = 1e18, bytes = 0;

	layout_memory_init(&b->memory, table, STR("bench"));
	for (int i = 0; i < TRIES; i++) {
		double ns = 0;

		bytes = 0;
		for (int round = 0; round < ROUNDS; round++) {
			const struct buf *doc = &b->answers[round % ANSWERS];

			ns += (double)poll_once(b, doc);
			bytes += (double)doc->len;
		}
		best_ns = ns < best_ns ? ns : best_ns;
	}
	printf("%s_%s_speed %.0f MB/s\n", b->name, how, bytes * 1e3 / best_ns);
	printf("%s_%s_time %.1f ns/metric\n", b->name, how, best_ns / ROUNDS / METRICS);
	printf("%s_%s_arena_allocations %" PRIu64 " /poll\n", b->name, how, b->arenas);
	printf("%s_%s_heap_allocations %" PRIu64 " /poll\n", b->name, how, b->mallocs);
	batch_reset(&b->batch);
	layout_memory_fini(&b->memory);
}

static void
bench_kinds(const char *name, const char *kinds)
{
	struct tricorder_layouts *table;
	struct bench b = { .name = name };
	struct err err;

	batch_init(&b.batch, 0);
	for (unsigned i = 0; i < ANSWERS; i++) {
		buf_init(&b.answers[i], 0);
		write_document(&b.answers[i], kinds, i);
	}
	table = tricorder_layouts_new(BUDGET_BYTES, &err);
	b.copy = malloc(b.answers[ANSWERS - 1].len + METRICS);
	if (table == NULL || b.copy == NULL)
		fail("out of memory");
	printf("%s_document %zu bytes\n", name, b.answers[0].len);
	measure(&b, "full", NULL);
	measure(&b, "known", table);
	batch_fini(&b.batch);
	tricorder_layouts_free(table);
	for (unsigned i = 0; i < ANSWERS; i++)
		buf_fini(&b.answers[i]);
	free(b.copy);
}

int
main(void)
{
	bench_kinds("parse_mix", all_kinds);
	bench_kinds("parse_plain", plain_kinds);
	return 0;
}
