#include "sim_body.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "messages/number.h"
#include "messages/tricorder.h"

/* What stands for a kind in the mix below. */
enum mix { COUNTER = 'c', FLOAT = 'f', STRING = 's', INT = 'i', TIME = 't', DIST = 'd' };
static const char mix[] = "ccfcccfcsccfcctcfcid";
#define MIX_LEN (sizeof(mix) - 1)
static const char prometheus_mix[MIX_LEN + 1] = "ccfcccfccccfcccfccci";

/* How many metrics lie in one directory, and how many groups directories are dealt to. */
#define PART_LEN    50
#define GROUP_COUNT 3
/* A distribution has a group of its own, from here on. */
#define FIRST_DIST_GROUP 100

/* Steps whose texts are kept: for endpoints that are polled a little out of turn. */
#define STEPS_KEPT 2

static const double limits[] = { .1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4,
	2e4, 5e4, 1e5 };
#define BUCKETS (ARRAY_LEN(limits) + 1)

/* How one metric moves. */
struct motion {
	enum mix mix;
	bool always;     /* at every step, not only by chance */
	uint64_t stride; /* of a counter: the most it grows by */
	int64_t cents;   /* of a float */
	struct dist *dist;
	uint64_t *counts; /* of dist */
};

struct sim_body {
	enum sim_format format;
	unsigned len;
	uint64_t random; /* state of the generator */
	struct arena arena;
	struct metric_desc *desc;
	struct value *value;
	int64_t *group, *ts;
	struct motion *motion;
	uint64_t step;
	struct sim_text *texts[STEPS_KEPT]; /* of step i in i % STEPS_KEPT */
	size_t last_bytes;
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t n = *state += UINT64_C(0x9e3779b97f4a7c15);

	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return n ^ n >> 31;
}

/* From 0 to limit - 1. */
static uint64_t
random_below(struct sim_body *body, uint64_t limit)
{
	return next_random(&body->random) % limit;
}

static uint64_t
power_of_ten(uint64_t exponent)
{
	uint64_t n = 1;

	while (exponent-- > 0)
		n *= 10;
	return n;
}

/* NULL when out of memory. */
static void *
zeroed(struct sim_body *body, size_t n, size_t size)
{
	void *p = arena_array(&body->arena, n, size);

	return p == NULL ? NULL : memset(p, 0, n * size);
}

static struct str format(struct sim_body *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* .p is NULL when out of memory. */
static struct str
format(struct sim_body *body, const char *fmt, ...)
{
	char text[128];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < sizeof(text));
	return arena_copy(&body->arena, (struct str){ text, (size_t)n });
}

/* False when out of memory. */
static bool
make_dist(struct sim_body *body, struct motion *motion)
{
	motion->dist = zeroed(body, 1, sizeof(*motion->dist));
	motion->counts = zeroed(body, BUCKETS, sizeof(*motion->counts));
	if (motion->dist == NULL || motion->counts == NULL)
		return false;
	motion->dist->counts = motion->counts;
	motion->dist->len = BUCKETS;
	return true;
}

/* What a metric of each kind is and begins with. False when out of memory. */
static bool
make_value(struct sim_body *body, unsigned i, uint64_t *shape)
{
	struct metric_desc *desc = &body->desc[i];
	struct motion *motion = &body->motion[i];
	struct value *value = &body->value[i];
	uint64_t digits = next_random(shape) % 12;

	switch (motion->mix) {
	case COUNTER:
		desc->kind = i % 3 == 0 ? KIND_INT64 : KIND_UINT64;
		if (i % 4 == 0)
			desc->unit = STR(UNIT_BYTES);
		motion->stride = power_of_ten(digits / 2);
		value->u = random_below(body, power_of_ten(digits + 3));
		break;
	case FLOAT:
		desc->kind = KIND_FLOAT64;
		if (i % 4 == 0)
			desc->unit = STR(UNIT_BYTES_PER_SECOND);
		motion->cents = (int64_t)random_below(body, power_of_ten(3 + digits / 3));
		value->f = (double)motion->cents / 100;
		break;
	case STRING:
		desc->kind = KIND_STRING;
		value->s = format(body, "release-%u.%u-amd64", i, i % 7);
		return value->s.p != NULL;
	case INT:
		desc->kind = KIND_INT32;
		value->i = -(int64_t)i;
		break;
	case TIME:
		desc->kind = i / MIX_LEN % 2 == 0 ? KIND_TIME : KIND_DURATION;
		desc->unit = STR(UNIT_SECONDS);
		value->i = INT64_C(1500000000) * NS_PER_S;
		break;
	case DIST:
		desc->kind = KIND_DIST;
		desc->unit = STR(UNIT_MILLISECONDS);
		desc->limits = limits;
		desc->limit_count = ARRAY_LEN(limits);
		if (!make_dist(body, motion))
			return false;
		value->dist = motion->dist;
		break;
	}
	return true;
}

/*
 * Metrics come in the order of their path components, as names are numbered at a fixed width. Shape
 * is the state of a generator that is the same for all documents. False when out of memory.
 */
static bool
make_metric(struct sim_body *body, unsigned i, uint64_t *shape)
{
	static const char *const words[] = { "requests", "errors", "bytes-read", "queue-length",
		"cache-hits-per-second", "latency", "free", "connections-in-use" };
	struct metric_desc *desc = &body->desc[i];
	struct motion *motion = &body->motion[i];
	uint64_t random = next_random(shape);
	const char *word = words[random % ARRAY_LEN(words)];
	unsigned part = i / PART_LEN;

	motion->mix =
	    (enum mix)(body->format == SIM_PROMETHEUS ? prometheus_mix : mix)[i % MIX_LEN];
	motion->always = (random >> 32) % 5 == 0;
	desc->unit = STR(UNIT_NONE);
	desc->path = format(body, "/sim/part%03u/%05u-%s", part, i, word);
	desc->description =
	    format(body, "Number %u of part %u of a simulated endpoint: %s", i, part, word);
	body->group[i] = motion->mix == DIST ? FIRST_DIST_GROUP + (int64_t)i : part % GROUP_COUNT;
	return make_value(body, i, shape) && desc->path.p != NULL && desc->description.p != NULL;
}

struct sim_body *
sim_body_new(uint64_t number, unsigned metric_count, enum sim_format sim_format)
{
	struct sim_body *body = calloc(1, sizeof(*body));
	uint64_t shape = 1;

	if (body == NULL)
		return NULL;
	body->format = sim_format;
	body->len = metric_count;
	body->random = number;
	arena_init(&body->arena, 0);
	body->desc = zeroed(body, metric_count, sizeof(*body->desc));
	body->value = zeroed(body, metric_count, sizeof(*body->value));
	body->group = zeroed(body, metric_count, sizeof(*body->group));
	body->ts = zeroed(body, metric_count, sizeof(*body->ts));
	body->motion = zeroed(body, metric_count, sizeof(*body->motion));
	if (metric_count > 0 && (body->desc == NULL || body->value == NULL || body->group == NULL ||
	                            body->ts == NULL || body->motion == NULL))
		goto failed;
	for (unsigned i = 0; i < metric_count; i++)
		if (!make_metric(body, i, &shape))
			goto failed;
	return body;
failed:
	sim_body_free(body);
	return NULL;
}

void
sim_body_free(struct sim_body *body)
{
	if (body == NULL)
		return;
	for (size_t i = 0; i < STEPS_KEPT; i++)
		sim_text_unref(body->texts[i]);
	arena_fini(&body->arena);
	free(body);
}

void
sim_text_unref(struct sim_text *text)
{
	if (text != NULL && --text->refs == 0)
		free(text);
}

/* Some more samples; limits and samples are in milliseconds. */
static void
add_samples(struct sim_body *body, struct dist *dist, uint64_t *counts)
{
	for (uint64_t n = 1 + random_below(body, 20); n > 0; n--) {
		double sample =
		    (double)random_below(body, power_of_ten(1 + random_below(body, 7))) / 100;
		size_t bucket = 0;

		while (bucket < ARRAY_LEN(limits) && sample >= limits[bucket])
			bucket++;
		counts[bucket]++;
		dist->min = dist->count == 0 || sample < dist->min ? sample : dist->min;
		dist->max = sample > dist->max ? sample : dist->max;
		dist->sum += sample;
		dist->count++;
		dist->generation++;
	}
	dist->average = dist->median = dist->sum / (double)dist->count;
}

static void
move(struct sim_body *body, unsigned i, int64_t ts_ns)
{
	struct motion *motion = &body->motion[i];
	struct value *value = &body->value[i];

	switch (motion->mix) {
	case COUNTER:
		value->u += 1 + random_below(body, motion->stride);
		break;
	case FLOAT:
		motion->cents += (int64_t)random_below(body, 201) - 100;
		value->f = (double)motion->cents / 100;
		break;
	case TIME:
		if (body->desc[i].kind == KIND_TIME)
			value->i = ts_ns - (int64_t)random_below(body, (uint64_t)NS_PER_S);
		else
			value->i = (int64_t)random_below(body, 1000 * (uint64_t)NS_PER_S);
		break;
	case DIST:
		add_samples(body, motion->dist, motion->counts);
		body->ts[i] = ts_ns;
		break;
	case STRING:
	case INT:
		break;
	}
}

/* Groups are gathered one after the other. */
static void
advance(struct sim_body *body, int64_t ts_ns)
{
	for (unsigned i = 0; i < body->len; i++) {
		struct motion *motion = &body->motion[i];

		if (motion->mix != DIST || body->step == 0)
			body->ts[i] = ts_ns + body->group[i];
		if (motion->always || random_below(body, 6) == 0)
			move(body, i, ts_ns);
	}
	body->step++;
}

/* Series to a name. */
#define FAMILY_LEN 8

static double
prometheus_value(const struct sim_body *body, unsigned i)
{
	const struct value *value = &body->value[i];

	switch (body->motion[i].mix) {
	case COUNTER: /* half of them count seconds */
		return i / FAMILY_LEN % 2 == 0 ? (double)value->u : (double)value->u / 100;
	case INT:
		return (double)value->i;
	case FLOAT:
	case STRING:
	case TIME:
	case DIST:
		break;
	}
	return value->f;
}

static void
put_prometheus(const struct sim_body *body, struct buf *out)
{
	for (unsigned i = 0; i < body->len; i++) {
		unsigned family = i / FAMILY_LEN, place = i % FAMILY_LEN;
		const char *suffix = family % 2 == 0 ? "_total" : "_seconds_total";
		char text[NUMBER_BYTES];

		if (place == 0)
			buf_printf(out,
			    "# HELP node_sim_%u%s What number %u of a simulated node counts.\n"
			    "# TYPE node_sim_%u%s counter\n",
			    family, suffix, family, family, suffix);
		buf_printf(out, "node_sim_%u%s{device=\"%u\",mode=\"mode%u\"} ", family, suffix,
		    place / 2, place % 2);
		buf_add(out, text, number_f64_g(text, prometheus_value(body, i)));
		buf_putc(out, '\n');
	}
}

/* The content, and what the head says of it. */
static const char *
put_content(const struct sim_body *body, struct buf *out)
{
	const struct batch batch = { .len = body->len,
		.desc = body->desc,
		.value = body->value,
		.group = body->group,
		.ts = body->ts };

	if (body->format == SIM_PROMETHEUS) {
		put_prometheus(body, out);
		return "Content-Type: text/plain; version=0.0.4; charset=utf-8";
	}
	tricorder_encode(&batch, STR(""), out);
	return "Content-Type: application/json\r\nX-Tricorder-Media-Type: tricorder.v1";
}

struct sim_text *
sim_text_new(const char *headers, const struct buf *content)
{
	struct sim_text *text = NULL;
	struct buf head;

	buf_init(&head, 0);
	buf_printf(
	    &head, "HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %zu\r\n\r\n", headers, content->len);
	if (!head.failed && !content->failed)
		text = malloc(sizeof(*text) + head.len + content->len);
	if (text != NULL) {
		char *bytes = (char *)(text + 1);

		memcpy(bytes, head.p, head.len);
		memcpy(bytes + head.len, content->p, content->len);
		*text = (struct sim_text){ 1, { bytes, head.len + content->len } };
	}
	buf_fini(&head);
	return text;
}

/* The answer as of now; NULL when out of memory. */
static struct sim_text *
make_text(struct sim_body *body)
{
	struct sim_text *text;
	struct buf content;
	const char *headers;

	buf_init(&content, 0);
	buf_reserve(&content, body->last_bytes);
	headers = put_content(body, &content);
	text = sim_text_new(headers, &content);
	if (text != NULL)
		body->last_bytes = content.len;
	buf_fini(&content);
	return text;
}

struct sim_text *
sim_body_answer(struct sim_body *body, uint64_t *seen, int64_t ts_ns)
{
	struct sim_text **text;

	if (*seen == body->step) {
		advance(body, ts_ns);
		text = &body->texts[body->step % STEPS_KEPT];
		sim_text_unref(*text);
		*text = make_text(body);
	}
	if (*seen + STEPS_KEPT < body->step)
		*seen = body->step;
	else
		++*seen;
	text = &body->texts[*seen % STEPS_KEPT];
	if (*text != NULL)
		(*text)->refs++;
	return *text;
}
