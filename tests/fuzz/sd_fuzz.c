/*
 * Target groups: whatever the bytes, targets have names that can be names, ports, sorted tags, and
 * options that their source takes; and sorting them twice changes nothing.
 */
#include <assert.h>
#include <stdint.h>

#include "base/clock.h"
#include "fleet/sd_priv.h"
#include "fleet/target_conf_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_opt opts[] = {
	{ "path", CONF_TEXT, "/", "", 0, 0 },
	{ "tls", CONF_BOOL, "false", "", 0, 0 },
	{ "params", CONF_TREE, NULL, "", 0, 0 },
	{ .name = NULL },
};
static const struct source_ops source = { .name = "fuzzed", .opts = opts };

static void
check_target(const struct target *t)
{
	struct conf_report report;

	assert(name_fault(t->host, NAME_IDENTITY) == NULL);
	assert(name_fault(t->app, NAME_IDENTITY) == NULL);
	assert(name_fault(t->address, NAME_OTHER) == NULL);
	assert(t->port > 0 && t->interval_ns >= 100 * NS_PER_MS);
	assert(t->tag_count <= TARGET_TAGS_MAX);
	for (size_t i = 1; i < t->tag_count; i++)
		assert(str_cmp(t->tags[i - 1].key, t->tags[i].key) < 0);
	conf_report_init(&report, "options");
	assert(conf_check(t->options, opts, &report));
	conf_report_fini(&report);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct target_defaults defaults = { .source = &source, .interval_ns = NS_PER_S };
	struct target_list list;
	struct err err;

	target_list_init(&list);
	if (sd_read((struct str){ (const char *)data, size }, "f", &defaults, &list, &err) != 0)
		assert(err.code != ERR_NONE && err.text[0] != '\0');
	target_list_sort(&list);
	for (size_t i = 0; i < list.len; i++) {
		assert(list.p[i].place != 0);
		check_target(list.p[i].target);
		if (i > 0)
			assert(target_place_cmp(list.p[i - 1].target, list.p[i - 1].place,
			           list.p[i].target, list.p[i].place) <= 0);
	}
	target_list_fini(&list);
	return 0;
}
