#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/conf_priv.h"

struct unit {
	const char *name;
	uint64_t size;
};

/* Largest first. Go's (time.ParseDuration), with both letters for micro, and the day. */
static const struct unit duration_units[] = {
	{ "d", UINT64_C(86400) * NS_PER_S },
	{ "h", UINT64_C(3600) * NS_PER_S },
	{ "m", UINT64_C(60) * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
	{ "\u00B5s", NS_PER_US },
	{ "\u03BCs", NS_PER_US },
};

/* Those that conf_show_size chooses from come first, largest first. */
static const struct unit size_units[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "", 1 },
	{ "B", 1 },
	{ "T", UINT64_C(1) << 40 },
	{ "G", UINT64_C(1) << 30 },
	{ "M", UINT64_C(1) << 20 },
	{ "K", UINT64_C(1) << 10 },
	{ "TB", UINT64_C(1000000000000) },
	{ "GB", UINT64_C(1000000000) },
	{ "MB", UINT64_C(1000000) },
	{ "KB", UINT64_C(1000) },
	{ "kB", UINT64_C(1000) },
};

static const struct unit *
unit_called(const struct unit *units, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(name, str_of(units[i].name)))
			return &units[i];
	}
	return NULL;
}

/* whole + part / scale */
struct decimal {
	uint64_t whole;
	double part, scale;
};

static bool
is_digit(struct str s)
{
	return s.len > 0 && s.p[0] >= '0' && s.p[0] <= '9';
}

static void
drop_first(struct str *s)
{
	*s = str_sub(*s, 1, SIZE_MAX);
}

/* Takes digits with at most one '.' off *rest. False without a digit or when out of range. */
static bool
take_decimal(struct str *rest, struct decimal *out)
{
	struct decimal d = { .scale = 1 };
	bool any = false;

	for (; is_digit(*rest); drop_first(rest), any = true) {
		if (__builtin_mul_overflow(d.whole, 10, &d.whole) ||
		    __builtin_add_overflow(d.whole, (uint64_t)(rest->p[0] - '0'), &d.whole))
			return false;
	}
	if (rest->len > 0 && rest->p[0] == '.') {
		drop_first(rest);
		for (; is_digit(*rest); drop_first(rest), any = true) {
			if (d.scale >= 1e15) /* more than a double holds */
				continue;
			d.part = d.part * 10 + (rest->p[0] - '0');
			d.scale *= 10;
		}
	}
	*out = d;
	return any;
}

/* d units, what is less than one cut off. */
static bool
multiply(const struct decimal *d, uint64_t unit, uint64_t *out)
{
	uint64_t part = (uint64_t)(d->part * ((double)unit / d->scale));

	return !__builtin_mul_overflow(d->whole, unit, out) &&
	       !__builtin_add_overflow(*out, part, out);
}

bool
conf_parse_duration(struct str s, int64_t *out_ns)
{
	bool negative = s.len > 0 && s.p[0] == '-';
	uint64_t total = 0;

	if (negative || (s.len > 0 && s.p[0] == '+'))
		drop_first(&s);
	if (s.len == 0)
		return false;
	if (str_eq(s, STR("0")))
		s = STR_EMPTY;
	while (s.len > 0) {
		const struct unit *unit;
		struct decimal number;
		uint64_t ns;
		size_t len = 0;

		if (!take_decimal(&s, &number))
			return false;
		while (len < s.len && s.p[len] != '.' && !is_digit(str_sub(s, len, 1)))
			len++;
		unit = unit_called(duration_units, ARRAY_LEN(duration_units), str_sub(s, 0, len));
		if (unit == NULL || !multiply(&number, unit->size, &ns) ||
		    __builtin_add_overflow(total, ns, &total) || total > INT64_MAX)
			return false;
		s = str_sub(s, len, SIZE_MAX);
	}
	*out_ns = negative ? -(int64_t)total : (int64_t)total;
	return true;
}

static bool
parse_percent(struct str s, double *out)
{
	struct decimal number;

	if (!take_decimal(&s, &number) || !str_eq(s, STR("%")))
		return false;
	*out = (double)number.whole + number.part / number.scale;
	return *out <= 100;
}

bool
conf_parse_disk(struct str s, struct conf_disk *out)
{
	struct conf_disk disk = { 0, 0 };

	if (str_ends(s, STR("%")) ? !parse_percent(s, &disk.percent) || disk.percent == 0
	                          : !conf_parse_size(s, &disk.bytes) || disk.bytes > INT64_MAX)
		return false;
	*out = disk;
	return true;
}

bool
conf_parse_size(struct str s, uint64_t *out_bytes)
{
	const struct unit *unit;
	struct decimal number;
	uint64_t bytes;
	double percent;

	if (parse_percent(s, &percent)) {
		*out_bytes = (uint64_t)((double)conf_memory_bytes() * percent / 100);
		return true;
	}
	if (!take_decimal(&s, &number))
		return false;
	unit = unit_called(size_units, ARRAY_LEN(size_units), s);
	if (unit == NULL || !multiply(&number, unit->size, &bytes))
		return false;
	*out_bytes = bytes;
	return true;
}

bool
conf_parse_bool(struct str s, bool *out)
{
	bool yes = str_eq(s, STR("true"));

	if (!yes && !str_eq(s, STR("false")))
		return false;
	*out = yes;
	return true;
}

bool
conf_parse_float(struct str s, double *out)
{
	char text[128];
	struct decimal ignored;
	struct str rest = s;
	double value;

	if (s.len == 0 || s.len >= sizeof(text))
		return false;
	if (s.p[0] == '+' || s.p[0] == '-')
		drop_first(&rest);
	if (!take_decimal(&rest, &ignored))
		return false;
	if (rest.len > 0 && (rest.p[0] == 'e' || rest.p[0] == 'E')) {
		drop_first(&rest);
		if (rest.len > 0 && (rest.p[0] == '+' || rest.p[0] == '-'))
			drop_first(&rest);
		if (!is_digit(rest))
			return false;
		while (is_digit(rest))
			drop_first(&rest);
	}
	if (rest.len > 0)
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	value = strtod(text, NULL); /* the locale stays "C", which has '.' */
	if (!isfinite(value))
		return false;
	*out = value;
	return true;
}

/* The first of the units, which end with one of size 1, that leaves no fraction. */
static struct conf_shown
show(const struct unit *unit, bool negative, uint64_t value)
{
	struct conf_shown shown;

	while (value % unit->size != 0)
		unit++;
	snprintf(shown.text, sizeof(shown.text), "%s%" PRIu64 "%s", negative ? "-" : "",
	    value / unit->size, unit->name);
	return shown;
}

struct conf_shown
conf_show_duration(int64_t ns)
{
	if (ns == 0)
		return (struct conf_shown){ "0" };
	return show(duration_units, ns < 0, ns < 0 ? -(uint64_t)ns : (uint64_t)ns);
}

struct conf_shown
conf_show_size(uint64_t bytes)
{
	if (bytes == 0)
		return (struct conf_shown){ "0" };
	return show(size_units, false, bytes);
}

/* Whether two trees say the same. */

static size_t
child_count(const struct conf *conf)
{
	size_t n = 0;

	for (const struct conf *child = conf == NULL ? NULL : conf->first; child != NULL;
	     child = child->next)
		n++;
	return n;
}

/* The order in which keys are written means nothing. */
static bool
map_eq(const struct conf *a, const struct conf *b)
{
	if (child_count(a) != child_count(b))
		return false;
	for (const struct conf *child = a->first; child != NULL; child = child->next) {
		const struct conf *other = b->first;

		while (other != NULL && !str_eq(other->key, child->key))
			other = other->next;
		if (other == NULL || !conf_eq(child, other))
			return false;
	}
	return true;
}

static bool
list_eq(const struct conf *a, const struct conf *b)
{
	const struct conf *x = a->first, *y = b->first;

	while (x != NULL && y != NULL && conf_eq(x, y)) {
		x = x->next;
		y = y->next;
	}
	return x == NULL && y == NULL;
}

/* Recursion is bounded by the nesting that conf_parse lets through. */
bool
conf_eq(const struct conf *a, const struct conf *b)
{
	if (a == NULL || b == NULL)
		return child_count(a) == child_count(b);
	if (a->shape != b->shape)
		return false;
	switch (a->shape) {
	case CONF_SCALAR:
		return a->quoted == b->quoted && str_eq(a->text, b->text);
	case CONF_LIST:
		return list_eq(a, b);
	case CONF_MAP:
		return map_eq(a, b);
	}
	return false;
}
