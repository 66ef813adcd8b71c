#include "sim_body.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

/* What stands for a kind in the mix below. */
enum mix { COUNTER = 'c', FLOAT = 'f', STRING = 's', INT = 'i', TIME = 't', DIST = 'd' };
static const char mix[] = "ccfcccfcsccfcctcfcid";
#define MIX_LEN (sizeof(mix) - 1)

/* How many metrics lie in one directory. */
#define PART_LEN 50

/* A value moves once in so many polls. */
#define POLLS_PER_CHANGE 3

/* A part of the text that is written over. Widths are those of the texts in the table below. */
enum slot_kind { SLOT_STAMP, SLOT_COUNTER, SLOT_FLOAT, SLOT_DURATION, SLOT_BUCKET };
struct slot {
	size_t at; /* from the start of the text */
	enum slot_kind kind;
	unsigned metric;
};

/* Leading digits are never 0, which JSON forbids. */
static const char *const slot_text[] = {
	[SLOT_STAMP] = "1000000000.000000000",
	[SLOT_COUNTER] = "1000000000",
	[SLOT_FLOAT] = "100.000000",
	[SLOT_DURATION] = "1000000.000000000",
	[SLOT_BUCKET] = "1000000",
};

struct sim_body {
	struct buf text; /* head and JSON */
	struct slot *slots;
	size_t slot_count, slot_room;
	bool failed;
};

static void
add_slot(struct sim_body *body, enum slot_kind kind, unsigned metric)
{
	if (body->slot_count == body->slot_room) {
		size_t room = body->slot_room == 0 ? 256 : 2 * body->slot_room;
		struct slot *slots = realloc(body->slots, room * sizeof(*slots));

		if (slots == NULL) {
			body->failed = true;
			return;
		}
		body->slots = slots;
		body->slot_room = room;
	}
	body->slots[body->slot_count++] = (struct slot){ body->text.len, kind, metric };
	buf_puts(&body->text, slot_text[kind]);
}

/* Five buckets. All is in the last one, so that its count is the whole count. */
static void
add_dist(struct sim_body *body, unsigned metric)
{
	static const char *const limits[] = { "0", "1", "5", "10", "50" };

	buf_puts(&body->text,
	    "{\n\t\t\t\"min\": 50.25,\n\t\t\t\"max\": 93.5,\n\t\t\t\"average\": 64.125,\n"
	    "\t\t\t\"median\": 63.5,\n\t\t\t\"sum\": ");
	add_slot(body, SLOT_FLOAT, metric);
	buf_puts(&body->text, ",\n\t\t\t\"count\": ");
	add_slot(body, SLOT_BUCKET, metric);
	buf_puts(&body->text, ",\n\t\t\t\"generation\": ");
	add_slot(body, SLOT_BUCKET, metric);
	buf_puts(&body->text, ",\n\t\t\t\"ranges\": [\n");
	for (size_t i = 0; i + 1 < ARRAY_LEN(limits); i++)
		buf_printf(&body->text,
		    "\t\t\t\t{\n\t\t\t\t\t\"lower\": %s,\n\t\t\t\t\t\"upper\": %s,\n"
		    "\t\t\t\t\t\"count\": 0\n\t\t\t\t},\n",
		    limits[i], limits[i + 1]);
	buf_puts(&body->text,
	    "\t\t\t\t{\n\t\t\t\t\t\"lower\": 50,\n\t\t\t\t\t\"upper\": 0,\n\t\t\t\t\t\"count\": ");
	add_slot(body, SLOT_BUCKET, metric);
	buf_puts(&body->text, "\n\t\t\t\t}\n\t\t\t]\n\t\t}");
}

static void
add_value(struct sim_body *body, unsigned metric)
{
	static const char bits64[] = "\t\t\"bits\": 64,\n";
	struct buf *text = &body->text;

#define KIND(name, bits) buf_printf(text, "\t\t\"kind\": \"%s\",\n%s\t\t\"value\": ", name, bits)
	switch ((enum mix)mix[metric % MIX_LEN]) {
	case COUNTER:
		KIND("uint64", bits64);
		add_slot(body, SLOT_COUNTER, metric);
		break;
	case FLOAT:
		KIND("float64", bits64);
		add_slot(body, SLOT_FLOAT, metric);
		break;
	case STRING:
		KIND("string", "");
		buf_printf(text, "\"release-%u\"", metric);
		break;
	case INT:
		KIND("int32", "\t\t\"bits\": 32,\n");
		buf_printf(text, "-%u", metric);
		break;
	case TIME:
		if (metric / MIX_LEN % 2 == 0) {
			KIND("time", "");
			buf_puts(text, "\"1500000000.250000000\"");
			break;
		}
		KIND("duration", "");
		buf_putc(text, '"');
		add_slot(body, SLOT_DURATION, metric);
		buf_putc(text, '"');
		break;
	case DIST:
		KIND("distribution", "");
		add_dist(body, metric);
		break;
	}
#undef KIND
}

/* Metrics come in the order of their path components, as names are numbered at a fixed width. */
static void
add_metric(struct sim_body *body, unsigned metric)
{
	buf_printf(&body->text,
	    "%s\t{\n\t\t\"path\": \"/sim/part%04u/%06u-metric\",\n"
	    "\t\t\"description\": \"Number %u of a simulated endpoint\",\n\t\t\"unit\": "
	    "\"None\",\n",
	    metric == 0 ? "\n" : ",\n", metric / PART_LEN, metric, metric);
	add_value(body, metric);
	buf_puts(&body->text, ",\n\t\t\"timestamp\": \"");
	add_slot(body, SLOT_STAMP, metric);
	/* A distribution has a group of its own; all others were collected together. */
	buf_printf(&body->text, "\",\n\t\t\"groupId\": %u\n\t}",
	    mix[metric % MIX_LEN] == DIST ? 10 + metric : 0);
}

/* Puts the head before the text, now that its length is known. */
static void
add_head(struct sim_body *body)
{
	struct buf whole;

	buf_init(&whole, 0);
	buf_printf(&whole,
	    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	    "X-Tricorder-Media-Type: tricorder.v1\r\nContent-Length: %zu\r\n\r\n",
	    body->text.len);
	for (size_t i = 0; i < body->slot_count; i++)
		body->slots[i].at += whole.len;
	buf_str(&whole, buf_view(&body->text));
	buf_fini(&body->text);
	body->text = whole;
}

struct sim_body *
sim_body_new(unsigned metric_count)
{
	struct sim_body *body = calloc(1, sizeof(*body));

	if (body == NULL)
		return NULL;
	buf_init(&body->text, 0);
	buf_puts(&body->text, "[");
	for (unsigned i = 0; i < metric_count; i++)
		add_metric(body, i);
	buf_puts(&body->text, "\n]");
	add_head(body);
	if (body->failed || body->text.failed) {
		sim_body_free(body);
		return NULL;
	}
	return body;
}

void
sim_body_free(struct sim_body *body)
{
	if (body == NULL)
		return;
	buf_fini(&body->text);
	free(body->slots);
	free(body);
}

/* The last width digits of n. */
static void
put_digits(char *at, unsigned width, uint64_t n)
{
	while (width > 0) {
		at[--width] = (char)('0' + n % 10);
		n /= 10;
	}
}

/* A number that differs between endpoints and between metrics: the finalizer of MurmurHash3. */
static uint64_t
scatter(uint64_t n)
{
	n ^= n >> 33;
	n *= UINT64_C(0xff51afd7ed558ccd);
	n ^= n >> 33;
	n *= UINT64_C(0xc4ceb9fe1a85ec53);
	return n ^ n >> 33;
}

struct str
sim_body_answer(struct sim_body *body, uint64_t endpoint, uint64_t poll, int64_t ts_ns)
{
	char stamp[20];

	put_digits(stamp, 10, (uint64_t)(ts_ns / NS_PER_S));
	stamp[10] = '.';
	put_digits(stamp + 11, 9, (uint64_t)(ts_ns % NS_PER_S));
	for (size_t i = 0; i < body->slot_count; i++) {
		const struct slot *slot = &body->slots[i];
		uint64_t seed = scatter(endpoint << 32 | slot->metric);
		uint64_t changes = (poll + slot->metric) / POLLS_PER_CHANGE;
		char *at = body->text.p + slot->at;

		switch (slot->kind) {
		case SLOT_STAMP:
			memcpy(at, stamp, sizeof(stamp));
			break;
		case SLOT_COUNTER:
			put_digits(at + 1, 9, seed % 100000000 + changes * (1 + seed % 1000));
			break;
		case SLOT_FLOAT:
			put_digits(at + 1, 2, scatter(seed + changes));
			put_digits(at + 4, 6, scatter(seed - changes));
			break;
		case SLOT_DURATION:
			put_digits(at + 1, 6, changes);
			put_digits(at + 8, 9, seed);
			break;
		case SLOT_BUCKET:
			put_digits(at + 1, 6, changes);
			break;
		}
	}
	return buf_view(&body->text);
}
