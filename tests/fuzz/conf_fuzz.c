/*
 * Bytes as a configuration file: parsed, checked against a table with every type, and its values
 * read. The same bytes go through the parsers of flags.
 */
#include <assert.h>
#include <string.h>

#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_opt opts[] = {
	{ .name = "bool", .type = CONF_BOOL, .dflt = "true" },
	{ .name = "int", .type = CONF_INT, .dflt = "1", .min = 1, .max = 9 },
	{ .name = "float", .type = CONF_FLOAT, .dflt = "0.5" },
	{ .name = "text", .type = CONF_TEXT },
	{ .name = "secret", .type = CONF_SECRET },
	{ .name = "size", .type = CONF_SIZE, .dflt = "50%" },
	{ .name = "disk", .type = CONF_DISK, .dflt = "2GiB" },
	{ .name = "duration", .type = CONF_DURATION, .dflt = "30s", .max = INT64_MAX },
	{ .name = "texts", .type = CONF_TEXTS },
	{ .name = "tree", .type = CONF_TREE },
	{ .name = NULL },
};

static void
check_line(struct str line)
{
	assert(str_starts(line, STR("f:")));
	for (size_t i = 0; i < line.len; i++)
		assert((unsigned char)line.p[i] >= 0x20);
	assert(utf8_valid_prefix(line.p, line.len) == line.len);
}

static void
check_node(const struct conf *node)
{
	assert(node->line > 0 && node->column > 0);
	if (node->parent != NULL && node->parent->shape == CONF_MAP)
		assert(node->key_line > 0 && node->key_column > 0 &&
		       strlen(node->key.p) == node->key.len);
	if (node->shape == CONF_SCALAR)
		assert(node->first == NULL && strlen(node->text.p) == node->text.len);
	for (const struct conf *c = node->first; c != NULL; c = c->next) {
		assert(c->parent == node);
		check_node(c);
	}
}

/* Takes values within their bounds from a map that passed, and any from one that did not. */
static void
read_values(const struct conf *map, bool passed)
{
	int64_t number = conf_int(map, opts, "int");
	int64_t ns = conf_duration_ns(map, opts, "duration");
	struct str text = conf_text(map, opts, "text");

	assert(!passed || (number >= 1 && number <= 9 && ns >= 0));
	assert(text.p == NULL || strlen(text.p) == text.len);
	assert(conf_size(map, opts, "size") <= INT64_MAX);
	(void)conf_bool(map, opts, "bool");
	(void)conf_float(map, opts, "float");
}

static void
check_tree(const struct conf_doc *doc)
{
	struct conf_report report;
	struct str rest, line;
	size_t lines = 0;

	if (doc->root != NULL)
		check_node(doc->root);
	conf_report_init(&report, doc->name);
	read_values(doc->root, conf_check(doc->root, opts, &report));
	rest = buf_view(&report.text);
	while (str_split(&rest, '\n', &line)) {
		check_line(line);
		lines++;
	}
	assert(lines == report.count || report.text.failed);
	conf_report_fini(&report);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct err err = { .code = ERR_NONE };
	struct conf_doc *doc = conf_parse(text, "f", &err);
	uint64_t bytes;
	int64_t ns;
	bool flag;

	if (doc != NULL) {
		check_tree(doc);
		conf_doc_unref(doc);
	} else {
		assert(err.code == ERR_CONFIG || err.code == ERR_LIMIT);
		check_line(str_of(err.text));
	}
	(void)conf_parse_duration(text, &ns);
	(void)conf_parse_size(text, &bytes);
	(void)conf_parse_bool(text, &flag);
	return 0;
}
