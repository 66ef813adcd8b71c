#include "sink_text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef HAVE_SNAPPY
#include <snappy-c.h>
#endif

#include "base/clock.h"
#include "write_request.h"

const char *const sink_kind_names[SINK_KIND_COUNT] = {
	[SINK_INFLUX] = "influx",
	[SINK_OPENTSDB] = "openTSDB",
	[SINK_LMM] = "lmm",
	[SINK_GRAPHITE] = "graphite",
	[SINK_FILE] = "file",
	[SINK_PROMETHEUS] = "prometheus",
};

enum role { PATH, HOST, NUMBER, DATE, NS, MS, SECONDS, SECONDS_DOT_NS, NOTHING };

#define FIELDS_MAX 5
/* What is looked for is not further away: sanitizers check all that memmem may read. */
#define AWAY_MAX 2048

/* The fields of a record in their order: what comes before each, and the byte that ends it. */
struct form {
	struct {
		const char *before;
		char end;
		enum role role;
	} fields[FIELDS_MAX];
};

static const struct form forms[SINK_KIND_COUNT] = {
	[SINK_INFLUX] = { { { "", ',', PATH }, { "host=", ',', HOST }, { "value=", ' ', NUMBER },
	    { "", '\n', NS } } },
	[SINK_OPENTSDB] = { { { "\"metric\":\"", '"', PATH }, { "\"timestamp\":", ',', MS },
	    { "\"value\":", ',', NUMBER }, { "\"HostName\":\"", '"', HOST },
	    { "}", '}', NOTHING } } },
	[SINK_LMM] = { { { "\"@timestamp\":\"", '"', DATE }, { "\"host\":\"", '"', HOST },
	    { "\"name\":\"", '"', PATH }, { "\"value\":", '}', NUMBER } } },
	[SINK_GRAPHITE] = { { { "", '.', HOST }, { "", ' ', PATH }, { "", ' ', NUMBER },
	    { "", '\n', SECONDS } } },
	[SINK_FILE] = { { { "\"hostName\":\"", '"', HOST }, { "\"path\":\"", '"', PATH },
	    { "\"value\":", ',', NUMBER }, { "\"timestamp\":\"", '"', SECONDS_DOT_NS },
	    { "", '\n', NOTHING } } },
	[SINK_PROMETHEUS] = { { { "__name__=", ',', PATH }, { "instance=", ',', HOST },
	    { " ", ' ', NUMBER }, { "", '\n', MS } } },
};

/* "2006-01-02T15:04:05.000Z"; -1 if it is none. Most are of the second of the one before. */
static int64_t
date_ns(struct str text)
{
	static _Thread_local char known[20]; /* to the second */
	static _Thread_local int64_t known_ns;
	struct tm tm = { 0 };
	int64_t ms;

	if (text.len != 24 || !str_to_i64(str_sub(text, 20, 3), &ms))
		return -1;
	if (memcmp(known, text.p, 19) != 0) {
		memcpy(known, text.p, 19);
		if (strptime(known, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
			return -1;
		known_ns = timegm(&tm) * NS_PER_S;
	}
	return known_ns + ms * NS_PER_MS;
}

/* The end of a series, as remote write has it: no number, which are from 1 on. */
static bool
is_nan(struct str text)
{
	return str_ends(text, STR("nan"));
}

/* False if there is no such number. */
static bool
take_field(struct tally_sample *sample, enum role role, struct str text)
{
	int64_t n = 0;

	switch (role) {
	case PATH:
		sample->path = text;
		return text.len > 0;
	case HOST:
		sample->host = text;
		return text.len > 0;
	case NUMBER:
		return str_to_u64(text, &sample->number) || is_nan(text);
	case DATE:
		sample->ts_ns = date_ns(text);
		return sample->ts_ns >= 0;
	case SECONDS_DOT_NS:
		if (text.len < 10 || text.p[text.len - 10] != '.' ||
		    !str_to_i64(str_sub(text, text.len - 9, 9), &sample->ts_ns) ||
		    !str_to_i64(str_sub(text, 0, text.len - 10), &n))
			return false;
		sample->ts_ns += n * NS_PER_S;
		return true;
	case NS:
	case MS:
	case SECONDS:
		if (!str_to_i64(text, &n))
			return false;
		sample->ts_ns = n * (role == NS ? 1 : role == MS ? NS_PER_MS : NS_PER_S);
		return true;
	case NOTHING:
		break;
	}
	return true;
}

/* Bytes of the record at the begin of text, 0 if it is not whole. */
static size_t
read_record(const struct form *form, struct str text, struct tally *tally)
{
	struct tally_sample sample = { 0 };
	const char *p = text.p, *end = text.p + text.len;
	bool good = true;

	for (size_t i = 0; i < FIELDS_MAX && form->fields[i].end != '\0'; i++) {
		const char *before = form->fields[i].before, *stop;
		size_t before_len = strlen(before);

		if (before_len > 0)
			p = memmem(p, end - p < AWAY_MAX ? (size_t)(end - p) : AWAY_MAX, before,
			    before_len);
		if (p == NULL)
			return 0;
		p += before_len;
		stop = memchr(p, form->fields[i].end, (size_t)(end - p));
		if (stop == NULL)
			return 0;
		good = take_field(
		           &sample, form->fields[i].role, (struct str){ p, (size_t)(stop - p) }) &&
		       good;
		p = stop + 1;
	}
	if (good && sample.number > 0)
		tally_add(tally, &sample);
	else if (!good)
		tally_stray(tally, str_sub(text, 0, (size_t)(p - text.p)));
	return (size_t)(p - text.p);
}

static size_t
read_records(const struct form *form, struct str text, struct tally *tally)
{
	size_t done = 0, n;

	while (done < text.len && (n = read_record(form, str_sub(text, done, SIZE_MAX), tally)) > 0)
		done += n;
	return done;
}

#ifdef HAVE_SNAPPY
static bool
unpack(struct str body, struct buf *out)
{
	size_t len = 0;

	return snappy_uncompressed_length(body.p, body.len, &len) == SNAPPY_OK &&
	       buf_reserve(out, len) &&
	       snappy_uncompress(body.p, body.len, out->p, &len) == SNAPPY_OK &&
	       (out->len = len) == len;
}

static size_t
read_write_request(struct str body, struct tally *tally)
{
	struct buf plain, text;

	buf_init(&plain, 0);
	buf_init(&text, 0);
	if (unpack(body, &plain) && write_request_read(buf_view(&plain), &text))
		read_records(&forms[SINK_PROMETHEUS], buf_view(&text), tally);
	else
		tally_stray(tally, STR("no request to write"));
	buf_fini(&plain);
	buf_fini(&text);
	return body.len;
}
#endif

size_t
sink_text_read(enum sink_kind kind, struct str body, struct tally *tally)
{
#ifdef HAVE_SNAPPY
	if (kind == SINK_PROMETHEUS)
		return read_write_request(body, tally);
#endif
	return read_records(&forms[kind], body, tally);
}
