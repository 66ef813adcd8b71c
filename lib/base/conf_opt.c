#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/conf_priv.h"

#define REPORT_BYTES_MAX   (1024 * 1024)
#define KEY_COMPARED_BYTES 64

/* What a value of each type is called. */
static const char *const type_texts[] = {
	[CONF_BOOL] = "true or false",
	[CONF_INT] = "a whole number",
	[CONF_FLOAT] = "a number",
	[CONF_TEXT] = "a text",
	[CONF_SECRET] = "a text, {file: PATH} or {env: NAME}",
	[CONF_SIZE] = "a size such as 64MiB or 50%",
	[CONF_DISK] = "a size such as 16GiB, or 50% of the file system",
	[CONF_DURATION] = "a duration such as 30s or 1h30m",
	[CONF_TEXTS] = "a text or a list of texts",
	[CONF_TREE] = "anything",
};

void
conf_report_init(struct conf_report *report, const char *name)
{
	*report = (struct conf_report){ .name = name };
	buf_init(&report->text, REPORT_BYTES_MAX);
}

void
conf_report_fini(struct conf_report *report)
{
	buf_fini(&report->text);
}

__attribute__((format(printf, 3, 0))) static void
add_line(struct conf_report *report, struct conf_place at, const char *fmt, va_list args)
{
	struct buf *text = &report->text;
	size_t begin = text->len;

	report->count++;
	buf_puts(text, report->name);
	if (at.line != 0)
		buf_printf(text, ":%d:%d", at.line, at.column);
	if (text->len > begin)
		buf_puts(text, ": ");
	buf_vprintf(text, fmt, args);
	if (text->len > begin)
		conf_mask_controls(text->p + begin, text->len - begin);
	buf_putc(text, '\n');
	if (text->failed)
		text->len = begin; /* no half lines; all later ones are dropped too */
}

void
conf_complain(struct conf_report *report, const struct conf *at, const char *fmt, ...)
{
	struct conf_place place = { 0, 0 };
	va_list args;

	if (at != NULL)
		place = (struct conf_place){ at->line, at->column };
	va_start(args, fmt);
	add_line(report, place, fmt, args);
	va_end(args);
}

/* As conf_complain, at the key of a map's child. */
__attribute__((format(printf, 3, 4))) static void
complain_of_key(struct conf_report *report, const struct conf *child, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_line(report, (struct conf_place){ child->key_line, child->key_column }, fmt, args);
	va_end(args);
}

void
conf_report_err(const struct conf_report *report, struct err *err)
{
	struct str rest = buf_view(&report->text), line;

	assert(report->count > 0);
	if (str_split(&rest, '\n', &line))
		err_set(err, ERR_CONFIG, "%.*s", STR_ARG(line));
	else
		err_nomem(err);
}

struct path {
	char text[256];
};

/* The keys that lead from the root to the node, as in 'endpoints[].interval'. */
static struct path
path_of(const struct conf *node)
{
	const struct conf *nodes[CONF_DEPTH_MAX + 1];
	struct path path = { "the top level" };
	size_t n = 0, len = 0;

	for (; node->parent != NULL; node = node->parent)
		nodes[n++] = node;
	while (n-- > 0) {
		bool in_list = nodes[n]->parent->shape == CONF_LIST;
		struct conf_shown key = conf_show(in_list ? STR("[]") : nodes[n]->key);
		const char *before = len == 0 ? "'" : in_list ? "" : ".";

		if (len + strlen(before) + strlen(key.text) + sizeof("...'") > sizeof(path.text)) {
			key = (struct conf_shown){ "..." };
			before = "";
			n = 0;
		}
		len += (size_t)snprintf(path.text + len, sizeof(path.text) - len, "%s%s%s", before,
		    key.text, n == 0 ? "'" : "");
	}
	return path;
}

static void
complain_of_value(struct conf_report *report, const struct conf *node, const char *wanted)
{
	struct path path = path_of(node);

	if (node->shape == CONF_LIST)
		conf_complain(report, node, "%s wants %s, not a list", path.text, wanted);
	else if (node->shape == CONF_MAP)
		conf_complain(report, node, "%s wants %s, not a map", path.text, wanted);
	else if (conf_is_null(node))
		conf_complain(report, node, "%s wants %s, but is empty", path.text, wanted);
	else if (node->quoted)
		conf_complain(report, node, "%s wants %s, not the text \"%s\" in quotes", path.text,
		    wanted, conf_show(node->text).text);
	else
		conf_complain(report, node, "%s wants %s, not '%s'", path.text, wanted,
		    conf_show(node->text).text);
}

static const struct conf_opt *
opt_called(const struct conf_opt *opts, struct str name)
{
	for (; opts->name != NULL; opts++) {
		if (str_eq(name, str_of(opts->name)))
			return opts;
	}
	return NULL;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many letters to add, drop or change to get from a to b (Levenshtein), whatever their case. */
static size_t
edits_between(struct str a, struct str b)
{
	size_t row[KEY_COMPARED_BYTES + 1];

	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 0; i < a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < b.len; j++) {
			bool same = str_eq_nocase(str_sub(a, i, 1), str_sub(b, j, 1));
			size_t changed = diagonal + !same;

			diagonal = row[j + 1];
			row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
		}
	}
	return row[b.len];
}

/* The option that key may be a misspelling of: a third of its letters may differ. */
static const struct conf_opt *
opt_like(const struct conf_opt *opts, struct str key)
{
	const struct conf_opt *nearest = NULL;
	size_t most;

	if (key.len == 0 || key.len > KEY_COMPARED_BYTES)
		return NULL;
	most = least((key.len + 2) / 3, key.len - 1);
	for (; opts->name != NULL; opts++) {
		size_t edits;

		if (strlen(opts->name) > KEY_COMPARED_BYTES)
			continue;
		edits = edits_between(key, str_of(opts->name));
		if (edits < most || (edits == most && nearest == NULL)) {
			nearest = opts;
			most = edits;
		}
	}
	return nearest;
}

static void
complain_of_unknown(
    struct conf_report *report, const struct conf *child, const struct conf_opt *opts)
{
	/* Not for a report that is full: a million keys would take seconds. */
	const struct conf_opt *meant = report->text.failed ? NULL : opt_like(opts, child->key);

	const char *before = report->unknown != NULL ? report->unknown : "unknown key '";
	const char *after = report->unknown != NULL ? "" : "'";
	struct conf_shown key = conf_show(child->key);

	if (meant == NULL)
		complain_of_key(report, child, "%s%s%s", before, key.text, after);
	else
		complain_of_key(report, child, "%s%s%s; did you mean '%s'?", before, key.text,
		    after, meant->name);
}

/* Without a '+' or leading zeros, which other readers of YAML take for octal. */
static bool
parse_int(struct str s, int64_t *out)
{
	struct str digits = str_starts(s, STR("-")) ? str_sub(s, 1, SIZE_MAX) : s;

	if (str_starts(digits, STR("+")) || (digits.len > 1 && digits.p[0] == '0'))
		return false;
	return str_to_i64(s, out);
}

static bool
parse_amount(enum conf_type type, struct str s, int64_t *out)
{
	uint64_t bytes;

	if (type == CONF_INT)
		return parse_int(s, out);
	if (type == CONF_DURATION)
		return conf_parse_duration(s, out);
	if (!conf_parse_size(s, &bytes) || bytes > INT64_MAX)
		return false;
	*out = (int64_t)bytes;
	return true;
}

static struct conf_shown
show_amount(enum conf_type type, int64_t value)
{
	struct conf_shown shown;

	if (type == CONF_DURATION)
		return conf_show_duration(value);
	if ((type == CONF_SIZE || type == CONF_DISK) && value >= 0)
		return conf_show_size((uint64_t)value);
	snprintf(shown.text, sizeof(shown.text), "%" PRId64, value);
	return shown;
}

/* INT, SIZE, DISK and DURATION: an amount within a range. */
static void
check_amount(const struct conf *node, const struct conf_opt *opt, struct conf_report *report)
{
	int64_t max = opt->min == 0 && opt->max == 0 ? INT64_MAX : opt->max;
	int64_t value;

	assert(opt->min <= max);
	if (node->shape != CONF_SCALAR || (node->quoted && opt->type == CONF_INT) ||
	    !parse_amount(opt->type, node->text, &value)) {
		complain_of_value(report, node, type_texts[opt->type]);
		return;
	}
	if (value >= opt->min && value <= max)
		return;
	if (max == INT64_MAX)
		conf_complain(report, node, "%s must be at least %s, not %s", path_of(node).text,
		    show_amount(opt->type, opt->min).text, conf_show(node->text).text);
	else
		conf_complain(report, node, "%s must be from %s to %s, not %s", path_of(node).text,
		    show_amount(opt->type, opt->min).text, show_amount(opt->type, max).text,
		    conf_show(node->text).text);
}

/* A percentage needs no range: its file system may be another one tomorrow. */
static void
check_disk(const struct conf *node, const struct conf_opt *opt, struct conf_report *report)
{
	struct conf_disk disk;

	if (node->shape == CONF_SCALAR && conf_parse_disk(node->text, &disk) && disk.percent > 0)
		return;
	if (node->shape == CONF_SCALAR && str_ends(node->text, STR("%")))
		complain_of_value(report, node, type_texts[opt->type]);
	else
		check_amount(node, opt, report);
}

static void
check_texts(const struct conf *node, struct conf_report *report)
{
	if (node->shape == CONF_MAP)
		complain_of_value(report, node, type_texts[CONF_TEXTS]);
	for (const struct conf *c = node->first; node->shape == CONF_LIST && c != NULL;
	     c = c->next) {
		if (c->shape != CONF_SCALAR || conf_is_null(c))
			complain_of_value(report, c, type_texts[CONF_TEXT]);
	}
}

static void
check_value(const struct conf *node, const struct conf_opt *opt, struct conf_report *report)
{
	bool is_plain = node->shape == CONF_SCALAR && !node->quoted, ok = true;
	double number;
	bool flag;

	switch (opt->type) {
	case CONF_BOOL:
		ok = is_plain && conf_parse_bool(node->text, &flag);
		break;
	case CONF_FLOAT:
		ok = is_plain && conf_parse_float(node->text, &number);
		break;
	case CONF_TEXT:
		ok = node->shape == CONF_SCALAR;
		break;
	case CONF_INT:
	case CONF_SIZE:
	case CONF_DURATION:
		check_amount(node, opt, report);
		break;
	case CONF_DISK:
		check_disk(node, opt, report);
		break;
	case CONF_TEXTS:
		check_texts(node, report);
		break;
	case CONF_SECRET:
		/* What was found is not shown: it may hold the secret all the same. */
		if (!conf_is_secret(node))
			conf_complain(report, node, "%s wants %s", path_of(node).text,
			    type_texts[CONF_SECRET]);
		break;
	case CONF_TREE:
		break;
	}
	if (!ok)
		complain_of_value(report, node, type_texts[opt->type]);
}

bool
conf_check(const struct conf *map, const struct conf_opt *opts, struct conf_report *report)
{
	size_t count = report->count;

	if (map == NULL)
		return true;
	if (map->shape != CONF_MAP) {
		complain_of_value(report, map, "a map");
		return false;
	}
	for (const struct conf *c = map->first; c != NULL; c = c->next) {
		const struct conf_opt *opt = opt_called(opts, c->key);

		if (opt == NULL)
			complain_of_unknown(report, c, opts);
		else if (!conf_is_null(c))
			check_value(c, opt, report);
	}
	return report->count == count;
}

static const struct conf_opt *
row(const struct conf_opt *opts, const char *name, enum conf_type type)
{
	const struct conf_opt *opt = opt_called(opts, str_of(name));

	assert(opt != NULL && opt->type == type);
	return opt;
}

/* What the file says, p == NULL if nothing. */
static struct str
given(const struct conf *map, const struct conf_opt *opt)
{
	const struct conf *node = conf_child(map, opt->name);

	return node == NULL || node->shape != CONF_SCALAR ? STR_EMPTY : node->text;
}

bool
conf_bool(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	const struct conf_opt *opt = row(opts, name, CONF_BOOL);
	bool value = false;
	bool valid = conf_parse_bool(given(map, opt), &value) || opt->dflt == NULL ||
	             conf_parse_bool(str_of(opt->dflt), &value);

	assert(valid);
	return value;
}

static int64_t
amount(const struct conf *map, const struct conf_opt *opt)
{
	int64_t value = 0;
	bool valid = parse_amount(opt->type, given(map, opt), &value) || opt->dflt == NULL ||
	             parse_amount(opt->type, str_of(opt->dflt), &value);

	assert(valid);
	return value;
}

int64_t
conf_int(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	return amount(map, row(opts, name, CONF_INT));
}

double
conf_float(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	const struct conf_opt *opt = row(opts, name, CONF_FLOAT);
	double value = 0;
	bool valid = conf_parse_float(given(map, opt), &value) || opt->dflt == NULL ||
	             conf_parse_float(str_of(opt->dflt), &value);

	assert(valid);
	return value;
}

struct str
conf_text(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	const struct conf_opt *opt = row(opts, name, CONF_TEXT);
	struct str text = given(map, opt);

	return text.p == NULL ? str_of(opt->dflt) : text;
}

uint64_t
conf_size(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	return (uint64_t)amount(map, row(opts, name, CONF_SIZE));
}

struct conf_disk
conf_disk(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	const struct conf_opt *opt = row(opts, name, CONF_DISK);
	struct conf_disk disk = { 0, 0 };
	bool valid = conf_parse_disk(given(map, opt), &disk) || opt->dflt == NULL ||
	             conf_parse_disk(str_of(opt->dflt), &disk);

	assert(valid);
	return disk;
}

int64_t
conf_duration_ns(const struct conf *map, const struct conf_opt *opts, const char *name)
{
	return amount(map, row(opts, name, CONF_DURATION));
}
