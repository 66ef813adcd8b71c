#include "pstore/consumer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"

#define NAME_BYTES_MAX 256
#define MOST_REGEXES   1000

const struct conf_opt consumer_opts[] = {
	{ "name", CONF_TEXT, NULL, "unique; its position in the store goes by it", 0, 0 },
	{ "concurrency", CONF_INT, "1", "threads, each with its own connection", 1, 64 },
	{ "batchSize", CONF_INT, "1000", "records per request", 1, 100000 },
	{ "recordsPerSecond", CONF_INT, "0", "of each thread; 0 = no limit", 0, INT64_MAX },
	{ "rollUpSpan", CONF_TEXT, "0s", "one record per series and that time; 0 = every value", 0,
	    0 },
	{ "rollUp", CONF_TEXT, "mean", "of each span: mean, min, max, last, count, sum", 0, 0 },
	{ "paused", CONF_BOOL, "false", "true: starts without writing", 0, 0 },
	{ "regexesOfMetricsToExclude", CONF_TEXTS, NULL, "by path, RE2 syntax, unanchored", 0, 0 },
	{ "regexesOfMetricsToInclude", CONF_TEXTS, NULL, "absent = all", 0, 0 },
	{ "debugMetricRegex", CONF_TEXT, NULL, "echoes what was written of these paths", 0, 0 },
	{ "debugHostRegex", CONF_TEXT, NULL, "and of these hosts", 0, 0 },
	{ "debugFilePath", CONF_TEXT, NULL, "echo goes there; absent = standard output", 0, 0 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

bool
regexes_match(const struct regexes *regexes, struct str text)
{
	for (size_t i = 0; i < regexes->len; i++) {
		if (re_match(regexes->list[i], text))
			return true;
	}
	return false;
}

static void
regexes_fini(struct regexes *regexes)
{
	for (size_t i = 0; i < regexes->len; i++)
		re_free(regexes->list[i]);
	free(regexes->list);
	*regexes = (struct regexes){ NULL, 0 };
}

/* A list of them, or a single one. -1 with err: *at is where. */
static int
regexes_init(
    struct regexes *regexes, const struct conf *node, const struct conf **at, struct err *err)
{
	const struct conf *first;
	size_t n = 0;

	*regexes = (struct regexes){ NULL, 0 };
	*at = node;
	if (node == NULL)
		return 0;
	first = node->shape == CONF_LIST ? node->first : node;
	for (const struct conf *c = first; c != NULL; c = node->shape == CONF_LIST ? c->next : NULL)
		n++;
	if (n > MOST_REGEXES) {
		err_set(err, ERR_CONFIG, "more than %d expressions", MOST_REGEXES);
		return -1;
	}
	regexes->list = calloc(n + 1, sizeof(struct re *));
	if (regexes->list == NULL) {
		err_nomem(err);
		return -1;
	}
	for (const struct conf *c = first; regexes->len < n; c = c->next) {
		*at = c;
		regexes->list[regexes->len] = re_new(c->text, err);
		if (regexes->list[regexes->len] == NULL) {
			regexes_fini(regexes);
			return -1;
		}
		regexes->len++;
	}
	return 0;
}

/* Go's durations, or whole nanoseconds, as upstream's file has them; negative = 0. */
static bool
parse_span(struct str text, int64_t *out_ns)
{
	bool negative = str_starts(text, STR("-"));

	if (negative)
		text = str_sub(text, 1, text.len);
	if (!str_to_i64(text, out_ns) && !conf_parse_duration(text, out_ns))
		return false;
	if (negative)
		*out_ns = 0;
	return true;
}

static const struct {
	const char *name;
	enum rollup_fn fn;
} rollups[] = {
	{ "mean", ROLLUP_MEAN },
	{ "min", ROLLUP_MIN },
	{ "max", ROLLUP_MAX },
	{ "last", ROLLUP_LAST },
	{ "count", ROLLUP_COUNT },
	{ "sum", ROLLUP_SUM },
};

static bool
parse_rollup(struct str text, enum rollup_fn *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rollups); i++) {
		if (str_eq(text, str_of(rollups[i].name))) {
			*out = rollups[i].fn;
			return true;
		}
	}
	return false;
}

/* Upstream's writers, in the order in which it looks for them. */
static const char *const upstream[] = { "kafka", "influx", "openTSDB", "lmm", "mock" };

/* What upstream says of a key that it does not know. */
#define UNKNOWN "Unrecognized fields: "

/* The writer's key: the first of upstream's in upstream's order, else the first there is. */
static const struct conf *
writer_key(const struct conf *element)
{
	for (size_t i = 0; i < ARRAY_LEN(upstream); i++) {
		const struct conf *key = conf_child(element, upstream[i]);

		if (key != NULL)
			return key;
	}
	for (const struct conf *key = element->first; key != NULL; key = key->next) {
		if (!str_eq(key->key, STR("consumer")) && conf_child(element, key->key.p) != NULL)
			return key;
	}
	return NULL;
}

static int
read_regexes(struct consumer *c, const struct conf *map, const struct conf **at, struct err *err)
{
	struct regexes debug = { NULL, 0 };
	static const char *const names[] = { "debugMetricRegex", "debugHostRegex" };
	struct re **outs[] = { &c->debug_metric, &c->debug_host };

	if (regexes_init(&c->exclude, conf_child(map, "regexesOfMetricsToExclude"), at, err) != 0 ||
	    regexes_init(&c->include, conf_child(map, "regexesOfMetricsToInclude"), at, err) != 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (conf_text(map, consumer_opts, names[i]).len == 0)
			continue;
		if (regexes_init(&debug, conf_child(map, names[i]), at, err) != 0)
			return -1;
		*outs[i] = debug.list[0];
		free(debug.list);
	}
	return 0;
}

/* Fills c from an element of the right shape. -1: *at is where the error is. */
static int
read_consumer(
    struct consumer *c, const struct conf *element, const struct conf **at, struct err *err)
{
	const struct conf *map = conf_child(element, "consumer");
	struct str name = conf_text(map, consumer_opts, "name"), path;
	const struct conf *key;

	*at = map == NULL ? element : map;
	if (name.len == 0 || name.len > NAME_BYTES_MAX) {
		err_set(err, ERR_CONFIG,
		    name.len == 0 ? "Name field is required." : "Name is longer than 256 bytes.");
		return -1;
	}
	*at = element;
	key = writer_key(element);
	if (key == NULL) {
		err_set(err, ERR_CONFIG, "One writer field must be defined.");
		return -1;
	}
	*at = key;
	c->ops = writer_find(key->key);
	if (c->ops == NULL) {
		err_set(err, ERR_CONFIG, "no writer '%.*s' in this build", STR_ARG(key->key));
		return -1;
	}
	c->options = key;
	c->concurrency = (unsigned)conf_int(map, consumer_opts, "concurrency");
	if (c->ops->single)
		c->concurrency = 1;
	c->batch_size = (size_t)conf_int(map, consumer_opts, "batchSize");
	c->records_per_second = (uint64_t)conf_int(map, consumer_opts, "recordsPerSecond");
	c->paused = conf_bool(map, consumer_opts, "paused");
	*at = conf_child(map, "rollUpSpan");
	if (!parse_span(conf_text(map, consumer_opts, "rollUpSpan"), &c->rollup_span_ns)) {
		err_set(err, ERR_CONFIG, "'rollUpSpan' must be a duration, as 30s or 1h30m");
		return -1;
	}
	*at = conf_child(map, "rollUp");
	if (!parse_rollup(conf_text(map, consumer_opts, "rollUp"), &c->rollup_fn)) {
		err_set(
		    err, ERR_CONFIG, "'rollUp' must be one of mean, min, max, last, count, sum");
		return -1;
	}
	if (read_regexes(c, map, at, err) != 0)
		return -1;
	path = conf_text(map, consumer_opts, "debugFilePath");
	c->name = str_dup(name);
	c->debug_path = path.len == 0 ? NULL : str_dup(path);
	if (c->name != NULL && (path.len == 0 || c->debug_path != NULL))
		return 0;
	err_nomem(err);
	return -1;
}

/* What read_consumer made, half of it too. */
static void
consumer_fini(struct consumer *c)
{
	regexes_fini(&c->exclude);
	regexes_fini(&c->include);
	re_free(c->debug_metric);
	re_free(c->debug_host);
	free(c->name);
	free(c->debug_path);
}

/* Options of the writer, by its table and by opening it for a moment. */
static void
check_options(const struct consumer *c, struct conf_report *report)
{
	struct writer *writer;
	struct err err;

	if (c->options->shape == CONF_SCALAR && c->options->text.len == 0)
		return;
	if (!conf_check(c->options, c->ops->opts, report))
		return;
	writer = c->ops->open(c->options, NULL, &err);
	if (writer == NULL)
		conf_complain(report, c->options, "%s", err.text);
	else
		c->ops->close(writer);
}

static void
check_name(const struct consumer *c, const struct conf *element, struct map *names,
    struct conf_report *report)
{
	const struct conf *name = conf_child(conf_child(element, "consumer"), "name");

	if (map_get(names, name->text) != NULL)
		conf_complain(report, name, "config: Duplicate consumer name found: %s", c->name);
	else if (map_put(names, name->text, (void *)(uintptr_t)name) != 0)
		conf_complain(report, name, "out of memory");
}

/* A key of an element for which there is no writer. */
static void
complain_of_writer(const struct conf *key, struct conf_report *report)
{
	for (size_t i = 0; i < ARRAY_LEN(upstream); i++) {
		if (str_eq(key->key, str_of(upstream[i]))) {
			conf_complain(report, key, "no writer '%s' in this build", upstream[i]);
			return;
		}
	}
	conf_complain(report, key, UNKNOWN "%.*s", STR_ARG(key->key));
}

static void
check_element(const struct conf *element, struct map *names, struct conf_report *report)
{
	struct consumer c = { .name = NULL };
	const struct conf *at;
	size_t writers = 0, count = report->count;
	struct err err;

	if (element->shape != CONF_MAP) {
		conf_complain(report, element, "a writer must be a map");
		return;
	}
	for (const struct conf *key = element->first; key != NULL; key = key->next) {
		bool is_consumer = str_eq(key->key, STR("consumer"));

		if (!is_consumer && writer_find(key->key) == NULL)
			complain_of_writer(key, report);
		writers += !is_consumer && conf_child(element, key->key.p) != NULL;
	}
	if (writers > 1)
		conf_complain(report, element, "only one writer field may be defined");
	conf_check(conf_child(element, "consumer"), consumer_opts, report);
	if (report->count > count)
		return;
	if (read_consumer(&c, element, &at, &err) != 0) {
		conf_complain(report, at != NULL ? at : element, "%s", err.text);
	} else {
		check_name(&c, element, names, report);
		check_options(&c, report);
	}
	consumer_fini(&c);
}

bool
consumers_check(const struct conf *list, struct map *names, struct conf_report *report)
{
	size_t count = report->count;
	struct map own_names;

	if (list == NULL)
		return true;
	if (list->shape != CONF_LIST) {
		conf_complain(report, list, "writers must be a list");
		return false;
	}
	map_init(&own_names);
	report->unknown = UNKNOWN;
	for (const struct conf *e = list->first; e != NULL; e = e->next)
		check_element(e, names != NULL ? names : &own_names, report);
	report->unknown = NULL;
	map_fini(&own_names);
	return report->count == count;
}

struct consumer *
consumer_new(struct conf_doc *doc, const struct conf *element, struct err *err)
{
	struct consumer *c = calloc(1, sizeof(*c));
	const struct conf *at;

	if (c == NULL) {
		err_nomem(err);
		return NULL;
	}
	c->doc = conf_doc_ref(doc);
	c->element = element;
	if (read_consumer(c, element, &at, err) != 0) {
		consumer_free(c);
		return NULL;
	}
	return c;
}

void
consumer_free(struct consumer *c)
{
	if (c == NULL)
		return;
	consumer_fini(c);
	conf_doc_unref(c->doc);
	free(c);
}
