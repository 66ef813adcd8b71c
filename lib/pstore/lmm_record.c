#include "pstore/lmm_record.h"

#include <math.h>

#include "base/clock.h"
#include "messages/json.h"
#include "messages/number.h"
#include "pstore/name_escape.h"
#include "pstore/two_texts.h"
#include "pstore/value_text.h"

#define BEGIN      STR("{\"@timestamp\":\"")
#define TIME_BYTES 40 /* 24 until the year 9999, beyond what 64 bits of nanoseconds reach */

/* A string with its quotes, wherever. */
static void
put_string(struct buf *out, struct str s)
{
	struct json json;

	json_init(&json, out, false);
	json_string(&json, s);
}

/* ,"KEY":"VALUE" */
static void
put_member(struct buf *out, struct str key, struct str value)
{
	buf_putc(out, ',');
	put_string(out, key);
	buf_putc(out, ':');
	put_string(out, value);
}

static void
put_unless_empty(struct buf *out, struct str key, struct str value)
{
	if (value.len > 0)
		put_member(out, key, value);
}

/* ,"KEY":"VALUE"; with what it is of and an underscore before a key of ours. */
static void
put_tag(struct buf *out, const char *of, const struct tag *tag)
{
	static const char *const ours[] = { "@timestamp", "@version", "apikey", "appname", "count",
		"host", "ipaddress", "name", "region", "stringValue", "sum", "tenant_id", "value",
		NULL };
	bool is_limit = str_starts(tag->key, STR("le_"));
	struct buf key;

	buf_init(&key, 0);
	buf_puts(&key, is_limit ? of : name_prefix(tag->key, of, ours));
	buf_str(&key, tag->key);
	put_member(out, buf_view(&key), tag->value);
	out->failed = out->failed || key.failed;
	buf_fini(&key);
}

/* What follows the metric's tags, but for those that the metric (NULL: none) has too. */
static void
put_rest(const struct lmm_record *lmm, const struct write_origin *origin,
    const struct metric_desc *desc, struct buf *out)
{
	put_unless_empty(out, STR("region"), origin->region);
	for (size_t i = 0; lmm->tagged && i < origin->tag_count; i++) {
		if (desc == NULL || !write_has_tag(desc, origin->tags[i].key))
			put_tag(out, "endpoint_", &origin->tags[i]);
	}
}

void
lmm_prepare_origin(const struct lmm_record *lmm, const struct write_origin *origin, struct buf *out)
{
	two_texts_begin(out);
	buf_puts(out, "\",\"@version\":\"1\"");
	put_member(out, STR("apikey"), lmm->api_key);
	put_member(out, STR("appname"), origin->app);
	put_member(out, STR("host"), origin->host);
	put_unless_empty(out, STR("ipaddress"), origin->address);
	two_texts_second(out);
	put_rest(lmm, origin, NULL, out);
}

static void
put_name(struct buf *out, struct str path, bool underscores)
{
	size_t begin = out->len;

	buf_puts(out, ",\"name\":");
	put_string(out, path);
	for (size_t i = begin; underscores && i < out->len; i++) {
		if (out->p[i] == '/')
			out->p[i] = '_';
	}
}

void
lmm_prepare_series(const struct lmm_record *lmm, const struct metric_desc *desc, struct buf *head,
    struct buf *tail)
{
	put_name(head, desc->path, lmm->underscores);
	for (size_t i = 0; i < desc->tag_count; i++)
		put_tag(head, "metric_", &desc->tags[i]);
	put_member(tail, STR("tenant_id"), lmm->tenant);
	buf_puts(tail, ",\"value\":");
}

/* Two or more digits, zeros before. */
static char *
put_digits(char *p, unsigned n, int width)
{
	for (int i = width - 1; i >= 0; i--, n /= 10)
		p[i] = (char)('0' + n % 10);
	return p + width;
}

/* The civil date of a day since 1970, as Hinnant's "chrono-compatible low-level date algorithms".
 */
static char *
put_date(char *p, int64_t day)
{
	uint64_t days = (uint64_t)(day + 719468), era = days / 146097, of_era = days % 146097;
	uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint64_t month = (5 * of_year + 2) / 153; /* from March */
	uint64_t of_month = of_year - (153 * month + 2) / 5 + 1;

	month = month < 10 ? month + 3 : month - 9;
	p = put_digits(p, (unsigned)(year_of_era + era * 400 + (month <= 2)), 4);
	*p++ = '-';
	p = put_digits(p, (unsigned)month, 2);
	*p++ = '-';
	return put_digits(p, (unsigned)of_month, 2);
}

/* "2006-01-02T15:04:05.000Z", without the quotes; 64 bits of nanoseconds reach from 1677 to 2262.
 */
static char *
put_time(char *p, int64_t ts_ns)
{
	int64_t ms = ts_ns / NS_PER_MS - (ts_ns % NS_PER_MS < 0);
	int64_t day = ms / 86400000 - (ms % 86400000 < 0);
	unsigned rest = (unsigned)(ms - day * 86400000);

	p = put_date(p, day);
	*p++ = 'T';
	p = put_digits(p, rest / 3600000, 2);
	*p++ = ':';
	p = put_digits(p, rest / 60000 % 60, 2);
	*p++ = ':';
	p = put_digits(p, rest / 1000 % 60, 2);
	*p++ = '.';
	p = put_digits(p, rest % 1000, 3);
	*p++ = 'Z';
	return p;
}

/* At most so many bytes, and no character cut in two. */
static struct str
cut(struct str s, size_t max)
{
	if (max == 0 || s.len <= max)
		return s;
	while (max > 0 && ((unsigned char)s.p[max] & 0xC0) == 0x80)
		max--;
	return str_sub(s, 0, max);
}

static void
put_string_value(const struct lmm_record *lmm, const struct write_record *record, struct buf *out)
{
	const struct metric_desc *desc = record->series->desc;
	struct json json;
	struct buf text;

	if (desc->kind == KIND_STRING) {
		put_member(out, STR("stringValue"), cut(record->value.s, lmm->string_bytes));
		return;
	}
	buf_init(&text, 0);
	json_init(&json, &text, false);
	json_value(&json, desc, &record->value);
	put_member(out, STR("stringValue"), buf_view(&text));
	out->failed = out->failed || text.failed;
	buf_fini(&text);
}

static void
put_dist(const struct metric_desc *desc, const struct dist *dist, struct buf *out)
{
	char text[NUMBER_BYTES];
	uint64_t sum = 0;

	buf_puts(out, ",\"count\":");
	buf_u64(out, dist->count);
	for (size_t i = 0; i < dist->len; i++) {
		sum += dist->counts[i];
		buf_puts(out, ",\"le_");
		buf_str(out, value_text_limit(text, desc, i));
		buf_puts(out, "\":");
		buf_u64(out, sum);
	}
	if (isfinite(dist->sum)) {
		buf_puts(out, ",\"sum\":");
		buf_add(out, text, number_f64(text, dist->sum));
	}
}

/* The number after "value": its length, 0 if there is none. */
static size_t
value_number(char *out, const struct metric_desc *desc, const struct value *value)
{
	double mean;

	if (desc->kind == KIND_STRING || desc->kind == KIND_LIST) {
		out[0] = '0';
		return 1;
	}
	if (desc->kind == KIND_DIST) {
		mean = value->dist->count == 0 ? 0 : value->dist->sum / (double)value->dist->count;
		return number_f64(out, isfinite(mean) ? mean : 0);
	}
	if (desc->kind == KIND_FLOAT32 || desc->kind == KIND_FLOAT64)
		return isfinite(value->f) ? number_f64(out, value->f) : 0;
	return value_text(out, desc, value);
}

bool
lmm_format(const struct lmm_record *lmm, const struct write_record *record, struct buf *out)
{
	const struct write_series *series = record->series;
	const struct metric_desc *desc = series->desc;
	char number[VALUE_TEXT_BYTES];
	size_t number_len = value_number(number, desc, &record->value);
	struct str first, second;
	char *p;

	if (number_len == 0)
		return false;
	two_texts_split(record->origin->text, &first, &second);
	if (!buf_reserve(out, BEGIN.len + TIME_BYTES + record->origin->text.len + series->head.len +
	                          series->tail.len + number_len + 1))
		return true; /* the buffer tells */
	p = str_put(out->p + out->len, BEGIN);
	p = put_time(p, record->ts_ns);
	p = str_put(p, first);
	p = str_put(p, series->head);
	out->len = (size_t)(p - out->p);
	if (lmm->tagged && write_tags_clash(record))
		put_rest(lmm, record->origin, desc, out);
	else
		buf_str(out, second);
	if (desc->kind == KIND_STRING || desc->kind == KIND_LIST)
		put_string_value(lmm, record, out);
	else if (desc->kind == KIND_DIST)
		put_dist(desc, record->value.dist, out);
	if (!buf_reserve(out, series->tail.len + number_len + 1))
		return true;
	p = str_put(out->p + out->len, series->tail);
	p = str_put(p, (struct str){ number, number_len });
	*p++ = '}';
	out->len = (size_t)(p - out->p);
	return true;
}
