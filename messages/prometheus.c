#include "messages/prometheus.h"

#include <stdlib.h>

#include "base/clock.h"
#include "messages/number.h"

/* A metric that is shown, and under which name. */
struct row {
	struct str name; /* lent from the buf of names */
	size_t place;    /* in the batch */
};

static bool
is_shown(const struct metric_desc *desc)
{
	return desc->kind != KIND_LIST && !(desc->kind == KIND_DIST && desc->not_cumulative);
}

/* A metric as it is written. */
struct sample {
	struct str name;
	const struct metric_desc *desc;
	const struct prometheus_labels *more; /* before the tags; NULL = none */
	int64_t ts_ns;                        /* TS_NONE = none */
};

static bool
in_milliseconds(const struct metric_desc *desc)
{
	return desc->kind != KIND_TIME && desc->kind != KIND_DURATION &&
	       str_eq(desc->unit, STR(UNIT_MILLISECONDS));
}

static const char *
name_suffix(const struct metric_desc *desc)
{
	static const struct {
		const char *unit, *suffix;
	} suffixes[] = {
		{ UNIT_SECONDS, "_seconds" },
		{ UNIT_MILLISECONDS, "_seconds" },
		{ UNIT_BYTES, "_bytes" },
		{ UNIT_BYTES_PER_SECOND, "_bytes_per_second" },
		{ UNIT_CELSIUS, "_celsius" },
	};

	if (desc->kind == KIND_STRING)
		return "_info";
	if (desc->kind == KIND_TIME)
		return "_timestamp_seconds";
	if (desc->kind == KIND_DURATION)
		return "_seconds";
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (str_eq(desc->unit, str_of(suffixes[i].unit)))
			return suffixes[i].suffix;
	}
	return "";
}

static bool
is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* s with '_' for whatever a label's name must not hold. */
static void
add_name(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_putc(out, is_letter_or_digit(s.p[i]) ? s.p[i] : '_');
}

static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool
is_lower_or_digit(char c)
{
	return is_letter_or_digit(c) && !is_upper(c);
}

/* Whether a word begins with the capital letter at i: "aB", "ABc". */
static bool
is_hump(struct str s, size_t i)
{
	if (i == 0 || !is_upper(s.p[i]))
		return false;
	return is_lower_or_digit(s.p[i - 1]) ||
	       (is_upper(s.p[i - 1]) && i + 1 < s.len && is_lower_or_digit(s.p[i + 1]));
}

/* A path in small letters, words parted by '_', as is usual with Prometheus. */
static void
add_words(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (is_hump(s, i))
			buf_putc(out, '_');
		if (is_upper(c))
			c = (char)(c - 'A' + 'a');
		buf_putc(out, is_letter_or_digit(c) ? c : '_');
	}
}

/* What was put to the buf from start on is the prefix. */
static void
add_metric_name(struct buf *out, size_t start, const struct metric_desc *desc, struct str path)
{
	struct str suffix = str_of(name_suffix(desc));

	add_words(out, path);
	if (!str_ends(str_sub(buf_view(out), start, SIZE_MAX), suffix))
		buf_str(out, suffix);
}

static int
row_cmp(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = str_cmp(x->name, y->name);

	return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

/*
 * The metrics that are shown, sorted by name; *out has room for all of the batch. Names go to
 * *names, which must outlive the rows.
 */
static size_t
make_rows(const struct batch *b, struct buf *names, struct row *out)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < b->len; i++) {
		size_t start = names->len;

		if (!is_shown(&b->desc[i]))
			continue;
		buf_puts(names, "scotty");
		add_metric_name(names, start, &b->desc[i], b->desc[i].path);
		out[n++] = (struct row){ .name.len = names->len - start, .place = i };
	}
	if (names->failed)
		return 0;
	/* Only now: the buf may have moved while it grew. */
	for (size_t i = 0; i < n; i++) {
		out[i].name = str_sub(buf_view(names), at, out[i].name.len);
		at += out[i].name.len;
	}
	if (n > 0)
		qsort(out, n, sizeof(*out), row_cmp);
	return n;
}

/* Escapes the backslash, the line feed and, in a label's value, the double quote. */
static void
add_escaped(struct buf *out, struct str s, bool quoted)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\n')
			buf_puts(out, "\\n");
		else if (s.p[i] == '\\' || (quoted && s.p[i] == '"'))
			buf_printf(out, "\\%c", s.p[i]);
		else
			buf_putc(out, s.p[i]);
	}
}

static void
add_head(struct buf *out, struct str name, struct str help, const char *type)
{
	buf_puts(out, "# HELP ");
	buf_str(out, name);
	buf_putc(out, ' ');
	add_escaped(out, help, false);
	buf_puts(out, "\n# TYPE ");
	buf_str(out, name);
	buf_printf(out, " %s\n", type);
}

void
prometheus_put_label_name(struct buf *out, struct str key)
{
	if (key.len > 0 && key.p[0] >= '0' && key.p[0] <= '9')
		buf_putc(out, '_');
	add_name(out, key);
}

/* True if both keys give the same label. */
static bool
same_label(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (a.p[i] != b.p[i] && (is_letter_or_digit(a.p[i]) || is_letter_or_digit(b.p[i])))
			return false;
	}
	return true;
}

static bool
label_is_free(const struct metric_desc *desc, size_t tag, struct str extra)
{
	if (same_label(desc->tags[tag].key, extra))
		return false;
	for (size_t i = 0; i < tag; i++) {
		if (same_label(desc->tags[i].key, desc->tags[tag].key))
			return false;
	}
	return true;
}

static void
add_label_value(struct buf *out, struct str value)
{
	buf_puts(out, "=\"");
	add_escaped(out, value, true);
	buf_putc(out, '"');
}

#define EXPORTED "exported_"

/*
 * What comes before the name of the tag's label: "exported_" if the name is taken, as Prometheus
 * does. NULL if that is taken as well.
 */
static const char *
label_prefix(const struct sample *s, struct str key)
{
	size_t prefix_len = STR(EXPORTED).len;
	bool taken = false;

	for (size_t i = 0; s->more != NULL && i < s->more->len; i++)
		taken |= same_label(s->more->labels[i].key, key);
	for (size_t i = 0; taken && i < s->desc->tag_count; i++) {
		struct str other = s->desc->tags[i].key;

		if (str_starts(other, STR(EXPORTED)) &&
		    same_label(str_sub(other, prefix_len, SIZE_MAX), key))
			return NULL;
	}
	return taken ? EXPORTED : "";
}

/* All labels of a sample: its own one, if extra is not empty, those of all samples, the tags. */
static void
add_labels(struct buf *out, const struct sample *s, struct str extra, struct str value)
{
	const struct metric_desc *desc = s->desc;
	char before = '{';

	if (extra.len > 0) {
		buf_printf(out, "{%.*s", STR_ARG(extra));
		add_label_value(out, value);
		before = ',';
	}
	for (size_t i = 0; s->more != NULL && i < s->more->len; i++) {
		buf_putc(out, before);
		buf_str(out, s->more->labels[i].key);
		add_label_value(out, s->more->labels[i].value);
		before = ',';
	}
	for (size_t i = 0; i < desc->tag_count; i++) {
		const char *prefix = label_prefix(s, desc->tags[i].key);

		if (prefix == NULL || !label_is_free(desc, i, extra))
			continue;
		buf_putc(out, before);
		buf_puts(out, prefix);
		prometheus_put_label_name(out, desc->tags[i].key);
		add_label_value(out, desc->tags[i].value);
		before = ',';
	}
	if (before == ',')
		buf_putc(out, '}');
}

/* The time stamp in milliseconds, if there is one, and the end of the line. */
static void
add_end(struct buf *out, const struct sample *s)
{
	if (s->ts_ns != TS_NONE) {
		buf_putc(out, ' ');
		buf_i64(out, s->ts_ns / NS_PER_MS);
	}
	buf_putc(out, '\n');
}

static void
add_f64(struct buf *out, double value)
{
	char text[NUMBER_BYTES];

	buf_add(out, text, number_f64(text, value));
}

double
prometheus_scaled(const struct metric_desc *desc, double value)
{
	return in_milliseconds(desc) ? value / 1000 : value;
}

static void
add_value(struct buf *out, const struct metric_desc *desc, const struct value *value)
{
	char text[NUMBER_BYTES];

	if (desc->kind == KIND_STRING)
		buf_putc(out, '1');
	else if (desc->kind == KIND_BOOL)
		buf_putc(out, value->b ? '1' : '0');
	else if (in_milliseconds(desc))
		add_f64(out, prometheus_scaled(desc, value_to_double(desc->kind, value)));
	else if (kind_is_int(desc->kind))
		buf_i64(out, value->i);
	else if (kind_is_uint(desc->kind))
		buf_u64(out, value->u);
	else if (desc->kind == KIND_FLOAT32)
		buf_add(out, text, number_f32(text, (float)value->f));
	else
		add_f64(out, value_to_double(desc->kind, value));
}

static void
add_bucket(struct buf *out, const struct sample *s, struct str limit, uint64_t count)
{
	buf_str(out, s->name);
	buf_puts(out, "_bucket");
	add_labels(out, s, STR("le"), limit);
	buf_putc(out, ' ');
	buf_u64(out, count);
	add_end(out, s);
}

static void
add_histogram(struct buf *out, const struct sample *s, const struct dist *dist)
{
	const struct metric_desc *desc = s->desc;
	uint64_t count = 0;

	for (size_t i = 0; i < desc->limit_count; i++) {
		char limit[NUMBER_BYTES];
		size_t len = number_f64(limit, prometheus_scaled(desc, desc->limits[i]));

		count += dist->counts[i];
		add_bucket(out, s, (struct str){ limit, len }, count);
	}
	count += dist->counts[desc->limit_count];
	add_bucket(out, s, STR("+Inf"), count);

	buf_str(out, s->name);
	buf_puts(out, "_sum");
	add_labels(out, s, STR_EMPTY, STR_EMPTY);
	buf_putc(out, ' ');
	add_f64(out, prometheus_scaled(desc, dist->sum));
	add_end(out, s);

	buf_str(out, s->name);
	buf_puts(out, "_count");
	add_labels(out, s, STR_EMPTY, STR_EMPTY);
	buf_putc(out, ' ');
	buf_u64(out, count); /* not the source's: it has to be that of +Inf */
	add_end(out, s);
}

static void
add_sample(struct buf *out, const struct sample *s, const struct value *value)
{
	if (s->desc->kind == KIND_DIST) {
		add_histogram(out, s, value->dist);
		return;
	}
	buf_str(out, s->name);
	if (s->desc->kind == KIND_STRING)
		add_labels(out, s, STR("value"), value->s);
	else
		add_labels(out, s, STR_EMPTY, STR_EMPTY);
	buf_putc(out, ' ');
	add_value(out, s->desc, value);
	add_end(out, s);
}

/* A gauge must not be called like a counter or the samples of a histogram. */
static const char *
type_of(struct str name, bool histogram)
{
	static const struct str reserved[] = { { "_bucket", 7 }, { "_count", 6 }, { "_sum", 4 },
		{ "_total", 6 } };

	if (histogram)
		return "histogram";
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		if (str_ends(name, reserved[i]))
			return "untyped";
	}
	return "gauge";
}

/* All of one name, and returns how many rows that were. */
static size_t
add_family(struct buf *out, const struct batch *b, const struct row *rows, size_t n)
{
	const struct metric_desc *first = &b->desc[rows[0].place];
	bool histogram = first->kind == KIND_DIST;
	size_t i;

	add_head(out, rows[0].name, first->description.len > 0 ? first->description : first->path,
	    type_of(rows[0].name, histogram));
	for (i = 0; i < n && str_eq(rows[i].name, rows[0].name); i++) {
		const struct sample s = {
			.name = rows[i].name,
			.desc = &b->desc[rows[i].place],
			.ts_ns = TS_NONE,
		};

		if (str_eq(s.desc->path, first->path) && (s.desc->kind == KIND_DIST) == histogram)
			add_sample(out, &s, &b->value[rows[i].place]);
	}
	return i;
}

/* What Prometheus expects of every process, and the sum of which metrics it is. */
static const struct {
	const char *name, *help, *type;
	const char *paths[2];
} process[] = {
	{ "process_cpu_seconds_total", "User and system CPU time spent in seconds", "counter",
	    { "/proc/cpu/user", "/proc/cpu/sys" } },
	{ "process_open_fds", "Number of open file descriptors", "gauge",
	    { "/proc/io/num-open-file-descriptors", NULL } },
	{ "process_resident_memory_bytes", "Resident memory size in bytes", "gauge",
	    { "/proc/memory/total", NULL } },
	{ "process_start_time_seconds", "Start time of the process since 1970 in seconds", "gauge",
	    { "/proc/start-time", NULL } },
};

/* Adds the metric's value to *sum; false if there is none. */
static bool
sum_up(const struct batch *b, const char *path, double *sum)
{
	for (size_t i = 0; i < b->len; i++) {
		if (str_eq(b->desc[i].path, str_of(path)) && kind_is_numeric(b->desc[i].kind)) {
			*sum += value_to_double(b->desc[i].kind, &b->value[i]);
			return true;
		}
	}
	return false;
}

static void
add_process(struct buf *out, const struct batch *b)
{
	for (size_t i = 0; i < ARRAY_LEN(process); i++) {
		struct str name = str_of(process[i].name);
		double sum = 0;
		bool found = true;

		for (size_t k = 0; k < 2 && process[i].paths[k] != NULL; k++)
			found = found && sum_up(b, process[i].paths[k], &sum);
		if (!found)
			continue;
		add_head(out, name, str_of(process[i].help), process[i].type);
		buf_str(out, name);
		buf_putc(out, ' ');
		add_f64(out, sum);
		buf_putc(out, '\n');
	}
}

void
prometheus_encode(const struct batch *b, struct buf *out)
{
	struct row *rows = calloc(b->len + 1, sizeof(*rows));
	struct buf names;
	size_t n;

	buf_init(&names, 0);
	if (rows == NULL)
		goto failed;
	n = make_rows(b, &names, rows);
	if (names.failed)
		goto failed;
	for (size_t i = 0; i < n;)
		i += add_family(out, b, rows + i, n - i);
	add_process(out, b);
	goto out;
failed:
	out->failed = true;
out:
	buf_fini(&names);
	free(rows);
}

/* True if s may stand as the name of a metric. */
static bool
is_name(struct str s)
{
	if (s.len == 0 || (s.p[0] >= '0' && s.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_letter_or_digit(s.p[i]) && s.p[i] != '_' && s.p[i] != ':')
			return false;
	}
	return true;
}

bool
prometheus_name(const struct metric_desc *desc, struct buf *out)
{
	struct str path = str_sub(desc->path, 1, SIZE_MAX);
	size_t start = out->len;

	if (!is_shown(desc))
		return false;
	if ((desc->kind == KIND_FLOAT64 || desc->kind == KIND_DIST) && !in_milliseconds(desc) &&
	    is_name(path)) {
		buf_str(out, path);
		return true;
	}
	if (path.p[0] >= '0' && path.p[0] <= '9')
		buf_putc(out, '_');
	add_metric_name(out, start, desc, path);
	return true;
}

void
prometheus_put_head(
    struct buf *out, struct str name, const struct metric_desc *desc, const char *type)
{
	add_head(out, name, desc->description.len > 0 ? desc->description : desc->path, type);
}

void
prometheus_put_sample(struct buf *out, struct str name, const struct metric_desc *desc,
    const struct value *value, const struct prometheus_labels *more, int64_t ts_ns)
{
	const struct sample s = { .name = name, .desc = desc, .more = more, .ts_ns = ts_ns };

	add_sample(out, &s, value);
}
