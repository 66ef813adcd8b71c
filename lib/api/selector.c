#include "api/selector_priv.h"

#define NAME_LABEL STR("__name__")

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void
skip_blanks(struct str *in)
{
	while (in->len > 0 && is_blank(*in->p))
		*in = str_sub(*in, 1, SIZE_MAX);
}

static bool
take(struct str *in, struct str token)
{
	skip_blanks(in);
	if (!str_starts(*in, token))
		return false;
	*in = str_sub(*in, token.len, SIZE_MAX);
	return true;
}

/* A name of a metric or, without colons, of a label; empty if there is none. */
static struct str
take_name(struct str *in, bool colons)
{
	struct str name;
	size_t n = 0;

	skip_blanks(in);
	for (; n < in->len; n++) {
		char c = in->p[n];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && !(n > 0 && c >= '0' && c <= '9') && !(colons && c == ':'))
			break;
	}
	name = str_sub(*in, 0, n);
	*in = str_sub(*in, n, SIZE_MAX);
	return name;
}

static int
refuse(struct err *err, const char *why)
{
	err_set(err, ERR_CONFIG, "selector: %s", why);
	return -1;
}

/* What a backslash and the letter stand for; '\0': nothing. */
static char
escape(char letter)
{
	static const char letters[] = "abfnrtv\\\"'", bytes[] = "\a\b\f\n\r\t\v\\\"'";
	const char *found = letter == '\0' ? NULL : strchr(letters, letter);

	return found == NULL ? '\0' : bytes[found - letters];
}

static int
unescape(struct str raw, struct arena *arena, struct str *out, struct err *err)
{
	char *copy = arena_alloc(arena, raw.len);
	size_t n = 0;

	if (copy == NULL) {
		err_nomem(err);
		return -1;
	}
	for (size_t i = 0; i < raw.len; i++) {
		copy[n] = raw.p[i];
		if (raw.p[i] == '\\') {
			copy[n] = escape(raw.p[++i]);
			if (copy[n] == '\0')
				return refuse(err, "an escape that is not known");
		}
		n++;
	}
	*out = (struct str){ copy, n };
	return 0;
}

/* In double or single quotes, or in backquotes, between which nothing is escaped. */
static int
take_value(struct str *in, struct arena *arena, struct str *out, struct err *err)
{
	bool escaped = false;
	char quote;
	size_t n;

	skip_blanks(in);
	if (in->len == 0 || strchr("\"'`", *in->p) == NULL || *in->p == '\0')
		return refuse(err, "a label's value is not in quotes");
	quote = *in->p;
	*in = str_sub(*in, 1, SIZE_MAX);
	for (n = 0; n < in->len && in->p[n] != quote; n++) {
		if (in->p[n] == '\\' && quote != '`') {
			escaped = true;
			n++;
		}
	}
	if (n >= in->len)
		return refuse(err, "a label's value has no end");
	*out = str_sub(*in, 0, n);
	*in = str_sub(*in, n + 1, SIZE_MAX);
	return escaped ? unescape(*out, arena, out, err) : 0;
}

static struct selector_matcher *
add_matcher(struct selector *s, struct err *err)
{
	if (s->len == SELECTOR_MATCHERS_MAX) {
		refuse(err, "too many labels");
		return NULL;
	}
	s->matchers[s->len] = (struct selector_matcher){ .re = NULL };
	return &s->matchers[s->len++];
}

static int
take_matcher(struct selector *s, struct str *in, struct arena *arena, struct err *err)
{
	struct selector_matcher *m = add_matcher(s, err);
	bool regular;

	if (m == NULL)
		return -1;
	m->label = take_name(in, false);
	if (m->label.len == 0)
		return refuse(err, "a label without a name");
	regular = take(in, STR("=~"));
	if (!regular && take(in, STR("!~")))
		regular = m->negated = true;
	else if (!regular && take(in, STR("!=")))
		m->negated = true;
	else if (!regular && !take(in, STR("=")))
		return refuse(err, "a label without =, !=, =~ or !~");
	if (take_value(in, arena, &m->value, err) != 0)
		return -1;
	if (!regular)
		return 0;
	m->re = re_new_whole(m->value, err);
	return m->re == NULL ? -1 : 0;
}

static int
take_matchers(struct selector *s, struct str *in, struct arena *arena, struct err *err)
{
	while (!take(in, STR("}"))) {
		if (take_matcher(s, in, arena, err) != 0)
			return -1;
		skip_blanks(in);
		if (!take(in, STR(",")) && !str_starts(*in, STR("}")))
			return refuse(err, "labels without ',' between them, or without '}'");
	}
	return 0;
}

int
selector_parse(struct selector *s, struct str text, struct arena *arena, struct err *err)
{
	struct str name = take_name(&text, true);

	s->len = 0;
	if (name.len > 0) {
		struct selector_matcher *m = add_matcher(s, err);

		m->label = NAME_LABEL;
		m->value = name;
	}
	if (take(&text, STR("{")) && take_matchers(s, &text, arena, err) != 0)
		return -1;
	skip_blanks(&text);
	if (text.len > 0)
		return refuse(err, "more behind its end");
	if (s->len == 0)
		return refuse(err, "it selects nothing in particular");
	return 0;
}

void
selector_fini(struct selector *s)
{
	for (size_t i = 0; i < s->len; i++)
		re_free(s->matchers[i].re);
	s->len = 0;
}

static bool
matcher_takes(const struct selector_matcher *m, struct str value)
{
	bool equal = m->re != NULL ? re_match(m->re, value) : str_eq(m->value, value);

	return equal != m->negated;
}

bool
selector_matches(const struct selector *s, selector_label *label, const void *series)
{
	for (size_t i = 0; i < s->len; i++) {
		if (!matcher_takes(&s->matchers[i], label(series, s->matchers[i].label)))
			return false;
	}
	return true;
}

bool
selector_may_match_name(const struct selector *s, struct str name)
{
	for (size_t i = 0; i < s->len; i++) {
		if (str_eq(s->matchers[i].label, NAME_LABEL) &&
		    !matcher_takes(&s->matchers[i], name))
			return false;
	}
	return true;
}
