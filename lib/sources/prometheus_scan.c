#include "sources/prometheus_scan_priv.h"

#include "base/clock.h"
#include "messages/number.h"

/* What a byte may be part of. */
enum {
	LABEL_START = 1,
	LABEL_PART = 2,
	NAME_START = 4,
	NAME_PART = 8,
};

#define LETTER (LABEL_START | LABEL_PART | NAME_START | NAME_PART)

static const unsigned char classes[256] = {
	['a' ... 'z'] = LETTER,
	['A' ... 'Z'] = LETTER,
	['_'] = LETTER,
	[':'] = NAME_START | NAME_PART,
	['0' ... '9'] = LABEL_PART | NAME_PART,
};

bool
prometheus_line(const char **p, const char *end, struct str *line)
{
	const char *newline;

	if (*p == end)
		return false;
	newline = memchr(*p, '\n', (size_t)(end - *p));
	line->p = *p;
	line->len = (size_t)((newline == NULL ? end : newline) - *p);
	*p = newline == NULL ? end : newline + 1;
	return true;
}

static void
skip_blanks(struct str *in)
{
	while (in->len > 0 && (*in->p == ' ' || *in->p == '\t'))
		*in = (struct str){ in->p + 1, in->len - 1 };
}

static struct str
take(struct str *in, size_t n)
{
	struct str taken = { in->p, n };

	*in = (struct str){ in->p + n, in->len - n };
	return taken;
}

/* Takes the character if it is there. */
static bool
take_char(struct str *in, char c)
{
	if (in->len == 0 || *in->p != c)
		return false;
	take(in, 1);
	return true;
}

/* A name of a metric or a label; empty if there is none. */
static struct str
take_name(struct str *in, unsigned start, unsigned part)
{
	size_t n = 0;

	if (in->len > 0 && (classes[(unsigned char)in->p[0]] & start) != 0)
		n = 1;
	while (n > 0 && n < in->len && (classes[(unsigned char)in->p[n]] & part) != 0)
		n++;
	return take(in, n);
}

/* What stands before the next blank. */
static struct str
take_word(struct str *in)
{
	size_t n = 0;

	while (n < in->len && in->p[n] != ' ' && in->p[n] != '\t')
		n++;
	return take(in, n);
}

/*
 * A copy without escapes: "\\", "\n" and, where they are quoted, "\"". Another backslash stands for
 * itself.
 */
static bool
unescape(struct str raw, bool quotes, struct arena *arena, struct str *out)
{
	char *copy = arena_alloc(arena, raw.len);
	size_t n = 0;

	if (copy == NULL)
		return false;
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.p[i], next = i + 1 < raw.len ? raw.p[i + 1] : '\0';

		if (c == '\\' && (next == '\\' || next == 'n' || (quotes && next == '"'))) {
			c = next == 'n' ? '\n' : next;
			i++;
		}
		copy[n++] = c;
	}
	*out = (struct str){ copy, n };
	return true;
}

static bool
is_clean_text(struct str s)
{
	return utf8_valid_prefix(s.p, s.len) == s.len && memchr(s.p, '\0', s.len) == NULL;
}

/* Behind the opening quote; takes the closing one too. */
static const char *
take_label_value(struct str *in, struct arena *arena, struct str *out, bool *no_memory)
{
	bool escaped = false;
	size_t n = 0;

	for (; n < in->len && in->p[n] != '"'; n++) {
		if (in->p[n] == '\\') {
			escaped = true;
			n++;
		}
	}
	if (n >= in->len)
		return "a label without closing quote";
	if (n > PROMETHEUS_LABEL_BYTES_MAX)
		return "a label is too long";
	*out = take(in, n);
	take(in, 1);
	if (!is_clean_text(*out))
		return "a label is not UTF-8";
	if (!escaped || unescape(*out, true, arena, out))
		return NULL;
	*no_memory = true;
	return "no memory";
}

/* Puts the label to its place. */
static const char *
add_label(struct prometheus_sample *out, struct tag label)
{
	size_t at = out->label_count;

	if (at == PROMETHEUS_LABELS_MAX)
		return "too many labels";
	for (; at > 0; at--) {
		int order = str_cmp(out->labels[at - 1].key, label.key);

		if (order == 0)
			return "a label is given twice";
		if (order < 0)
			break;
		out->labels[at] = out->labels[at - 1];
	}
	out->labels[at] = label;
	out->label_count++;
	return NULL;
}

/* An empty label is as good as none. */
static void
drop_empty(struct prometheus_sample *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->label_count; i++) {
		if (s->labels[i].value.len > 0)
			s->labels[n++] = s->labels[i];
	}
	s->label_count = n;
}

/* Behind the opening brace; takes the closing one too. */
static const char *
take_labels(struct str *in, struct arena *arena, struct prometheus_sample *out, bool *no_memory)
{
	bool some_empty = false;
	const char *why;

	for (skip_blanks(in); !take_char(in, '}'); skip_blanks(in)) {
		struct tag label = { .key = take_name(in, LABEL_START, LABEL_PART) };

		if (label.key.len == 0)
			return "a label without a name";
		if (label.key.len > PROMETHEUS_LABEL_BYTES_MAX)
			return "a label is too long";
		skip_blanks(in);
		if (!take_char(in, '='))
			return "a label without '='";
		skip_blanks(in);
		if (!take_char(in, '"'))
			return "a label without opening quote";
		if ((why = take_label_value(in, arena, &label.value, no_memory)) != NULL ||
		    (why = add_label(out, label)) != NULL)
			return why;
		some_empty |= label.value.len == 0;
		skip_blanks(in);
		if (!take_char(in, ',') && (in->len == 0 || *in->p != '}'))
			return "labels without ',' between them";
	}
	if (some_empty)
		drop_empty(out);
	return NULL;
}

const char *
prometheus_scan_sample(struct str line, const struct prometheus_form *form, struct arena *arena,
    struct prometheus_sample *out, bool *no_memory)
{
	const char *why;

	out->label_count = 0;
	out->stamp = STR_EMPTY;
	skip_blanks(&line);
	out->name = take_name(&line, NAME_START, NAME_PART);
	if (out->name.len == 0)
		return "a line without a name";
	skip_blanks(&line);
	if (take_char(&line, '{')) {
		why = take_labels(&line, arena, out, no_memory);
		if (why != NULL)
			return why;
		skip_blanks(&line);
	} else if (line.len > 0 && line.p == out->name.p + out->name.len) {
		return "not a name";
	}
	out->value = take_word(&line);
	if (out->value.len == 0)
		return "no value";
	skip_blanks(&line);
	if (line.len > 0 && !(form->openmetrics && *line.p == '#')) {
		out->stamp = take_word(&line);
		skip_blanks(&line);
	}
	if (line.len > 0 && !(form->openmetrics && str_starts(line, STR("# "))))
		return "more than a value and a time stamp";
	return NULL;
}

static enum prometheus_type
parse_type(struct str word)
{
	static const struct {
		struct str name;
		enum prometheus_type type;
	} types[] = {
		{ { "counter", 7 }, PROMETHEUS_COUNTER },
		{ { "gauge", 5 }, PROMETHEUS_GAUGE },
		{ { "histogram", 9 }, PROMETHEUS_HISTOGRAM },
		{ { "gaugehistogram", 14 }, PROMETHEUS_GAUGE_HISTOGRAM },
		{ { "summary", 7 }, PROMETHEUS_SUMMARY },
		{ { "info", 4 }, PROMETHEUS_INFO },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (str_eq(types[i].name, word))
			return types[i].type;
	}
	return PROMETHEUS_UNTYPED;
}

/* Behind "# ". */
static void
scan_words(struct str in, struct prometheus_comment *out)
{
	struct str word = take_word(&in);
	enum prometheus_comment_word what;

	if (str_eq(word, STR("HELP")))
		what = PROMETHEUS_HELP;
	else if (str_eq(word, STR("TYPE")))
		what = PROMETHEUS_TYPE;
	else if (str_eq(word, STR("UNIT")))
		what = PROMETHEUS_UNIT;
	else
		return;
	skip_blanks(&in);
	out->name = take_name(&in, NAME_START, NAME_PART);
	if (out->name.len == 0 || (in.len > 0 && *in.p != ' ' && *in.p != '\t'))
		return;
	skip_blanks(&in);
	out->word = what;
	out->text = in;
	if (what != PROMETHEUS_HELP)
		out->text = take_word(&in);
	if (what == PROMETHEUS_TYPE)
		out->type = parse_type(out->text);
}

bool
prometheus_scan_comment(
    struct str line, const struct prometheus_form *form, struct prometheus_comment *out)
{
	*out = (struct prometheus_comment){ .word = PROMETHEUS_REMARK };
	if (form->openmetrics && str_eq(line, STR("# EOF"))) {
		out->word = PROMETHEUS_EOF;
		return true;
	}
	skip_blanks(&line);
	if (line.len == 0)
		return true;
	if (!take_char(&line, '#'))
		return false;
	skip_blanks(&line);
	scan_words(line, out);
	return true;
}

bool
prometheus_help_text(
    struct str raw, const struct prometheus_form *form, struct arena *arena, struct str *out)
{
	bool escaped;

	if (raw.len > PROMETHEUS_HELP_BYTES_MAX)
		raw.len = utf8_valid_prefix(raw.p, PROMETHEUS_HELP_BYTES_MAX);
	escaped = memchr(raw.p, '\\', raw.len) != NULL;
	if (!is_clean_text(raw))
		*out = STR_EMPTY;
	else if (!escaped)
		*out = raw;
	else
		return unescape(raw, form->openmetrics, arena, out);
	return true;
}

bool
prometheus_tail_is_quiet(const char *p, const char *end, const struct prometheus_form *form)
{
	struct prometheus_comment comment;
	struct str line;

	while (prometheus_line(&p, end, &line)) {
		if (!prometheus_scan_comment(line, form, &comment))
			return false;
		if (comment.word == PROMETHEUS_EOF)
			return p == end;
	}
	return !form->openmetrics;
}

bool
prometheus_count(struct str text, uint64_t *out)
{
	const double beyond = 18446744073709551616.0;
	double value;

	if (str_to_u64(text, out))
		return true;
	if (!number_parse_sample(text, &value) || !(value >= 0 && value < beyond) ||
	    (double)(uint64_t)value != value)
		return false;
	*out = (uint64_t)value;
	return true;
}

bool
prometheus_stamp_ms(struct str text, int64_t *out_ns)
{
	int64_t ms, ns;

	if (!str_to_i64(text, &ms) || __builtin_mul_overflow(ms, NS_PER_MS, &ns))
		return false;
	*out_ns = ns;
	return true;
}

bool
prometheus_stamp_s(struct str text, int64_t *out_ns)
{
	const double most = 9.2e9; /* of 64 bits of nanoseconds */
	double s;

	if (number_parse_time(text, 1, out_ns))
		return *out_ns != TS_NONE;
	if (!number_parse_sample(text, &s) || !(s > -most && s < most))
		return false;
	*out_ns = (int64_t)(s * (double)NS_PER_S);
	return true;
}
