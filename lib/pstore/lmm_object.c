#include "pstore/lmm_object.h"

#include <math.h>

#include "base/clock.h"
#include "messages/json.h"
#include "messages/number.h"
#include "pstore/name_escape.h"
#include "pstore/value_text.h"

#define STRING_MOST 100
/* Key and stamp: {"@timestamp":"2026-11-20T21:21:50.000. int64_t ns has years of 4 digits. */
#define STAMP_BYTES 64
#define DAY_S       INT64_C(86400)

static const char *const own_keys[] = { "@timestamp", "@version", "apikey", "appname", "count",
	"host", "ipaddress", "name", "region", "stringValue", "sum", "tenant_id", "value", NULL };

static void
put_string(struct buf *out, struct str s)
{
	struct json json;

	json_init(&json, out, false);
	json_string(&json, s);
}

void
lmm_account_init(struct lmm_account *account, struct str api_key, struct str tenant_id)
{
	buf_init(&account->key, 0);
	buf_init(&account->tenant, 0);
	buf_puts(&account->key, "Z\",\"@version\":\"1\",\"apikey\":");
	put_string(&account->key, api_key);
	buf_puts(&account->tenant, ",\"tenant_id\":");
	put_string(&account->tenant, tenant_id);
	buf_puts(&account->tenant, ",\"value\":");
}

void
lmm_account_fini(struct lmm_account *account)
{
	buf_fini(&account->key);
	buf_fini(&account->tenant);
}

/* Every key has a comma before it. */
static void
put_member(struct buf *out, const char *prefix, struct str key, struct str value)
{
	if (value.len == 0)
		return;
	buf_putc(out, ',');
	if (prefix[0] == '\0') {
		put_string(out, key);
	} else {
		struct buf name;

		buf_init(&name, 0);
		buf_puts(&name, prefix);
		buf_str(&name, key);
		put_string(out, buf_view(&name));
		out->failed = out->failed || name.failed;
		buf_fini(&name);
	}
	buf_putc(out, ':');
	put_string(out, value);
}

/* What comes before "name", a NUL, which no JSON holds, and what comes after it. */
void
lmm_prepare_origin(const struct write_origin *origin, struct buf *out)
{
	put_member(out, "", STR("appname"), origin->app);
	put_member(out, "", STR("host"), origin->host);
	put_member(out, "", STR("ipaddress"), origin->address);
	buf_putc(out, '\0');
	put_member(out, "", STR("region"), origin->region);
}

void
lmm_prepare_series(const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	put_member(head, "", STR("name"), desc->path);
	for (size_t i = 0; i < desc->tag_count; i++) {
		const char *prefix = name_prefix(desc->tags[i].key, own_keys);

		if (str_starts(desc->tags[i].key, STR("le_")))
			prefix = "metric_";
		put_member(tail, prefix, desc->tags[i].key, desc->tags[i].value);
	}
	buf_putc(tail, '}');
}

/* n with at least so many digits. */
static char *
put_digits(char *p, int64_t n, size_t digits)
{
	char text[NUMBER_BYTES];
	size_t len = number_i64(text, n);

	for (size_t i = len; i < digits; i++)
		*p++ = '0';
	return str_put(p, (struct str){ text, len });
}

static char *
put_date(char *p, int64_t days)
{
	/* Howard Hinnant's civil_from_days: years begin with March, eras of 400 of them. */
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t day_of_era = z - era * 146097;
	int64_t year_of_era =
	    (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * day + 2) / 153;

	day -= (153 * month + 2) / 5 - 1;
	month += month < 10 ? 3 : -9;
	p = put_digits(p, year_of_era + era * 400 + (month <= 2), 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	return put_digits(p, day, 2);
}

/* Without the Z. */
static char *
put_stamp(char *p, int64_t ts_ns)
{
	int64_t ns = ts_ns % NS_PER_S, s = ts_ns / NS_PER_S - (ns < 0);
	int64_t of_day = (s % DAY_S + DAY_S) % DAY_S;

	ns += ns < 0 ? NS_PER_S : 0;
	p = put_date(p, (s - of_day) / DAY_S);
	*p++ = 'T';
	p = put_digits(p, of_day / 3600, 2);
	*p++ = ':';
	p = put_digits(p, of_day / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, of_day % 60, 2);
	*p++ = '.';
	return put_digits(p, ns / NS_PER_MS, 3);
}

static void
put_string_value(struct buf *out, struct str s)
{
	size_t len = s.len < STRING_MOST ? s.len : STRING_MOST;

	if (s.len > STRING_MOST) {
		/* The bytes 10xxxxxx go on with a character. */
		while (len > 0 && ((unsigned char)s.p[len] & 0xC0) == 0x80)
			len--;
	}
	buf_puts(out, ",\"stringValue\":");
	put_string(out, str_sub(s, 0, len));
}

static void
put_list(struct buf *out, const struct write_record *record)
{
	struct buf text;
	struct json json;

	buf_init(&text, 0);
	json_init(&json, &text, false);
	json_value(&json, record->series->desc, &record->value);
	put_string_value(out, buf_view(&text));
	out->failed = out->failed || text.failed;
	buf_fini(&text);
}

static void
put_f64(struct buf *out, double value)
{
	char text[NUMBER_BYTES];

	buf_add(out, text, number_f64(text, value));
}

static void
put_count(struct buf *out, const char *key, struct str limit, uint64_t count)
{
	buf_puts(out, key);
	buf_str(out, limit);
	buf_puts(out, "\":");
	buf_u64(out, count);
}

/* What a distribution has besides its value. */
static void
put_dist(struct buf *out, const struct metric_desc *desc, const struct dist *dist)
{
	uint64_t sum = 0;

	put_count(out, ",\"count", STR_EMPTY, dist->count);
	for (size_t i = 0; i < dist->len; i++) {
		char limit[NUMBER_BYTES];
		struct str text = STR("inf");

		sum += dist->counts[i];
		if (i < desc->limit_count)
			text = (struct str){ limit, number_f64(limit, desc->limits[i]) };
		put_count(out, ",\"le_", text, sum);
	}
	if (isfinite(dist->sum)) {
		buf_puts(out, ",\"sum\":");
		put_f64(out, dist->sum);
	}
}

static void
put_value(struct buf *out, const struct metric_desc *desc, const struct value *value)
{
	enum kind kind = desc->kind;

	if (kind == KIND_STRING || kind == KIND_LIST)
		buf_putc(out, '0');
	else if (kind == KIND_DIST)
		buf_u64(out, value->dist->count);
	else if (kind == KIND_FLOAT32 || kind == KIND_FLOAT64)
		put_f64(out, value->f);
	else if (buf_reserve(out, VALUE_TEXT_BYTES))
		out->len += value_text(out->p + out->len, desc, value);
}

bool
lmm_format(const struct lmm_account *account, const struct write_record *record, struct buf *out)
{
	const struct write_series *series = record->series;
	const struct metric_desc *desc = series->desc;
	struct str origin = record->origin->text;
	const char *cut = memchr(origin.p, '\0', origin.len);
	size_t before = (size_t)(cut - origin.p);
	char *p;

	if ((desc->kind == KIND_FLOAT32 || desc->kind == KIND_FLOAT64) &&
	    !isfinite(record->value.f))
		return false;
	/* Mostly all of it: so the appends that follow need no more memory. */
	if (!buf_reserve(out, STAMP_BYTES + account->key.len + origin.len + series->head.len +
	                          account->tenant.len + VALUE_TEXT_BYTES + series->tail.len))
		return true; /* the buffer tells */
	p = str_put(out->p + out->len, STR("{\"@timestamp\":\""));
	p = put_stamp(p, record->ts_ns);
	p = str_put(p, buf_view(&account->key));
	p = str_put(p, str_sub(origin, 0, before));
	p = str_put(p, series->head);
	p = str_put(p, str_sub(origin, before + 1, SIZE_MAX));
	out->len = (size_t)(p - out->p);
	if (desc->kind == KIND_STRING)
		put_string_value(out, record->value.s);
	else if (desc->kind == KIND_LIST)
		put_list(out, record);
	buf_str(out, buf_view(&account->tenant));
	put_value(out, desc, &record->value);
	if (desc->kind == KIND_DIST)
		put_dist(out, desc, record->value.dist);
	buf_str(out, series->tail);
	return true;
}
