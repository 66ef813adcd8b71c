/*
 * How fast the answer of a tricorder process turns into a batch: a document of 200 metrics, laid
 * out as tricorder does it, parsed over and over.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sources/tricorder_parse_priv.h"

#define METRICS 200
#define ROUNDS  500
#define TRIES   40

static const struct {
	const char *name, *kind, *more, *value;
} rows[] = {
	{ "bytes-received", "uint64", "\t\t\"bits\": 64,\n", "18446744073709551615" },
	{ "cpu-user", "duration", "", "\"960357.000001000\"" },
	{ "load-average", "float64", "\t\t\"bits\": 64,\n", "0.3333333333333333" },
	{ "name", "string", "", "\"a process of the middle tier\"" },
	{ "queue-length", "int64", "\t\t\"bits\": 64,\n", "-1234567" },
	{ "ready", "bool", "", "true" },
	{ "recent", "list", "\t\t\"subType\": \"int32\",\n\t\t\"bits\": 32,\n",
	    "[\n\t\t\t1,\n\t\t\t-22,\n\t\t\t333\n\t\t]" },
	{ "start-time", "time", "", "\"1468442100.453000000\"" },
};

static void
write_document(struct buf *doc)
{
	buf_puts(doc, "[\n");
	for (unsigned i = 0; i < METRICS; i++) {
		size_t row = i % ARRAY_LEN(rows);

		buf_printf(doc,
		    "\t{\n\t\t\"path\": \"/service/part-%03zu/%s\",\n"
		    "\t\t\"description\": \"What this number tells of the part\",\n"
		    "\t\t\"unit\": \"None\",\n\t\t\"kind\": \"%s\",\n%s\t\t\"value\": %s,\n"
		    "\t\t\"timestamp\": \"1500000000.123456789\",\n\t\t\"groupId\": 0\n\t}%s\n",
		    i / ARRAY_LEN(rows), rows[row].name, rows[row].kind, rows[row].more,
		    rows[row].value, i + 1 < METRICS ? "," : "");
	}
	buf_puts(doc, "]");
}

/* Nanoseconds that the rounds took, the copying of the document left out. */
static int64_t
parse_rounds(const struct buf *doc, char *copy, struct batch *batch)
{
	int64_t sum_ns = 0;
	struct err err;

	for (int i = 0; i < ROUNDS; i++) {
		int64_t start_ns;

		memcpy(copy, doc->p, doc->len);
		copy[doc->len] = '\0';
		start_ns = clock_mono_ns();
		batch_reset(batch);
		if (tricorder_parse(copy, doc->len, batch, &err) != 0) {
			fprintf(stderr, "%s\n", err.text);
			exit(1);
		}
		sum_ns += clock_mono_ns() - start_ns;
	}
	if (batch->len != METRICS) {
		fprintf(stderr, "%zu metrics, %s\n", batch->len, batch->bad_text);
		exit(1);
	}
	return sum_ns;
}

int
main(void)
{
	struct batch batch;
	struct buf doc;
	int64_t best_ns = INT64_MAX;
	double bytes;
	char *copy;

	buf_init(&doc, 0);
	batch_init(&batch, 0);
	write_document(&doc);
	copy = malloc(doc.len + 1);
	if (doc.failed || copy == NULL)
		return 1;
	/* The best try: what the code takes when nothing else runs on the machine. */
	for (int i = 0; i < TRIES; i++) {
		int64_t took_ns = parse_rounds(&doc, copy, &batch);

		if (took_ns < best_ns)
			best_ns = took_ns;
	}
	bytes = (double)doc.len * ROUNDS;
	printf("parse_document %zu bytes\n", doc.len);
	printf("parse_speed %.0f MB/s\n", bytes * 1e3 / (double)best_ns);
	printf("parse_time %.0f ns/metric\n", (double)best_ns / ROUNDS / METRICS);
	free(copy);
	batch_fini(&batch);
	buf_fini(&doc);
	return 0;
}
