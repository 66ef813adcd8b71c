#include "fleet/target_conf_priv.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fleet/fleet.h"
#include "fleet/tags_priv.h"

#define DEFAULT_SOURCE "tricorder"

static const struct conf_opt endpoint_opts[] = {
	{ "host", CONF_TEXT, NULL, "with app, the identity", 0, 0 },
	{ "app", CONF_TEXT, NULL, "with host, the identity", 0, 0 },
	{ "address", CONF_TEXT, NULL, "name or number to connect to; default: host", 0, 0 },
	{ "port", CONF_INT, NULL, "", 1, 65535 },
	{ "source", CONF_TEXT, DEFAULT_SOURCE, "how it is polled", 0, 0 },
	{ "interval", CONF_DURATION, NULL, "default: collection.frequency", 100 * NS_PER_MS,
	    24 * 3600 * NS_PER_S },
	{ "region", CONF_TEXT, NULL, "becomes a tag", 0, 0 },
	{ "tags", CONF_TREE, NULL, "map of texts: what else is known of it", 0, 0 },
	{ "options", CONF_TREE, NULL, "what the source takes", 0, 0 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

const char *
name_fault(struct str name, enum name_use use)
{
	if (name.len == 0)
		return "must not be empty";
	if (name.len > NAME_BYTES_MAX)
		return "is longer than 255 bytes";
	if (utf8_valid_prefix(name.p, name.len) != name.len)
		return "is not UTF-8";
	for (size_t i = 0; i < name.len; i++) {
		if ((unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f)
			return "holds a control character";
		if (use == NAME_IDENTITY && name.p[i] == '/')
			return "holds a '/'";
	}
	return NULL;
}

/*
 * The identity's part called key: what the URL says, else the element's. Empty after a complaint,
 * be it one of conf_check.
 */
static struct str
identity(const struct conf *element, const char *key, struct str given, struct conf_report *report)
{
	const struct conf *node = conf_child(element, key);
	struct str written = conf_text(element, endpoint_opts, key);
	struct str name = given.len > 0 ? given : written;
	const char *fault;

	if (name.p == NULL && node == NULL)
		conf_complain(report, element, "'%s' is missing", key);
	if (name.p == NULL)
		return STR_EMPTY;
	if (written.p != NULL && !str_eq(written, name)) {
		conf_complain(report, node, "'%s' is '%.*s' here and '%.*s' in the URL", key,
		    STR_ARG(written), STR_ARG(name));
		return STR_EMPTY;
	}
	fault = name_fault(name, NAME_IDENTITY);
	if (fault != NULL) {
		conf_complain(report, node != NULL ? node : element, "'%s' %s", key, fault);
		return STR_EMPTY;
	}
	return name;
}

const struct source_ops *
source_from_conf(
    const struct conf *element, const struct conf_opt *opts, struct conf_report *report)
{
	struct str name = conf_text(element, opts, "source");
	const struct source_ops *source = source_find(name);
	char known[256] = "";

	if (source != NULL)
		return source;
	for (size_t i = 0; source_at(i) != NULL; i++) {
		size_t len = strlen(known);

		snprintf(known + len, sizeof(known) - len, "%s%s", i > 0 ? ", " : "",
		    source_at(i)->name);
	}
	conf_complain(report, conf_child(element, "source"),
	    "no source '%.*s' in this build; there are: %s", STR_ARG(name), known);
	return NULL;
}

static void
check_text(const struct conf *element, const char *key, struct conf_report *report)
{
	struct str text = conf_text(element, endpoint_opts, key);
	const char *fault = text.p == NULL ? NULL : name_fault(text, NAME_OTHER);

	if (fault != NULL)
		conf_complain(report, conf_child(element, key), "'%s' %s", key, fault);
}

bool
source_options_check(
    const struct source_ops *source, const struct conf *options, struct conf_report *report)
{
	size_t before = report->count;

	if (conf_check(options, source->opts, report) && source->check != NULL)
		source->check(options, report);
	return report->count == before;
}

/*
 * Who registers an endpoint could have any file this process can read sent to a machine of his own
 * as a password, so over the API a secret is text.
 */
static void
refuse_references(
    const struct conf *options, const struct conf_opt *opts, struct conf_report *report)
{
	for (const struct conf_opt *opt = opts; opt->name != NULL; opt++) {
		const struct conf *node = conf_child(options, opt->name);

		if (opt->type == CONF_SECRET && node != NULL && node->shape == CONF_MAP)
			conf_complain(report, node,
			    "'%s' names a file or a variable of this machine, which only the "
			    "configuration file may",
			    opt->name);
	}
}

/* Options mean something only to a source that exists. */
static void
check_for_source(const struct conf *element, const struct source_ops *source, bool from_file,
    struct conf_report *report)
{
	const struct conf *options = conf_child(element, "options");

	if (source == NULL)
		return;
	if (options != NULL)
		source_options_check(source, options, report);
	if (options != NULL && options->shape == CONF_MAP && !from_file)
		refuse_references(options, source->opts, report);
	if (conf_child(element, "port") == NULL && !source->local)
		conf_complain(report, element, "'port' is missing");
}

static void
read_tags(const struct conf *map, struct tags *tags, struct conf_report *report)
{
	struct err err;

	*tags = (struct tags){ 0 };
	if (map != NULL && map->shape != CONF_MAP) {
		conf_complain(report, map, "'tags' must be a map");
		return;
	}
	for (const struct conf *tag = map == NULL ? NULL : map->first; tag != NULL;
	     tag = tag->next) {
		const char *fault =
		    tag->shape != CONF_SCALAR ? "must be a text" : tag_fault(tag->key, tag->text);

		if (fault != NULL)
			conf_complain(report, tag, "tag '%.*s' %s", STR_ARG(tag->key), fault);
		else if (tags_add(tags, tag->key, tag->text, &err) != 0)
			conf_complain(report, tag, "%s", err.text);
	}
}

/*
 * Makes all complaints; true if there are none, then proto is filled with what element and tags
 * lend.
 */
static bool
read_target(const struct conf *element, struct str host, struct str app, int64_t frequency_ns,
    struct target *proto, struct tags *tags, struct conf_report *report)
{
	size_t before = report->count;

	conf_check(element, endpoint_opts, report);
	if (element != NULL && element->shape != CONF_MAP)
		return false;
	*proto = (struct target){
		.host = identity(element, "host", host, report),
		.app = identity(element, "app", app, report),
		.address = conf_text(element, endpoint_opts, "address"),
		.port = (uint16_t)conf_int(element, endpoint_opts, "port"),
		.source = source_from_conf(element, endpoint_opts, report),
		.interval_ns = conf_child(element, "interval") == NULL
		                   ? frequency_ns
		                   : conf_duration_ns(element, endpoint_opts, "interval"),
		.region = conf_text(element, endpoint_opts, "region"),
		.options = conf_child(element, "options"),
	};
	check_text(element, "address", report);
	check_text(element, "region", report);
	read_tags(conf_child(element, "tags"), tags, report);
	proto->tags = tags->p;
	proto->tag_count = tags->len;
	check_for_source(element, proto->source, host.len == 0, report);
	if (proto->address.p == NULL)
		proto->address = proto->host;
	return report->count == before;
}

struct target *
target_from_conf(struct conf_doc *doc, const struct conf *element, struct str host, struct str app,
    int64_t frequency_ns, struct conf_report *report)
{
	struct target proto, *target;
	struct tags tags;

	if (!read_target(element, host, app, frequency_ns, &proto, &tags, report))
		return NULL;
	if (proto.options != NULL)
		proto.doc = doc;
	target = target_new(&proto);
	if (target == NULL)
		conf_complain(report, element, "out of memory");
	return target;
}

/*
 * Complains if an element before has the same identity, else notes it in seen, from "HOST/APP" ('/'
 * is in neither) to the element. -1 when out of memory.
 */
static int
check_unique(const struct conf *element, const struct target *proto, struct map *seen,
    struct arena *keys, struct conf_report *report)
{
	const struct conf *first;
	struct str key;
	struct buf text;
	int rc = 0;

	buf_init(&text, 0);
	buf_printf(&text, "%.*s/%.*s", STR_ARG(proto->host), STR_ARG(proto->app));
	key = arena_copy(keys, buf_view(&text));
	first = text.failed || key.p == NULL ? NULL : map_get(seen, key);
	if (first != NULL)
		conf_complain(report, element, "endpoint %.*s is given twice, first in line %d",
		    STR_ARG(key), first->line);
	else if (text.failed || key.p == NULL ||
	         map_put(seen, key, (void *)(uintptr_t)element) != 0)
		rc = -1;
	buf_fini(&text);
	return rc;
}

bool
fleet_check_endpoints(const struct conf *list, struct conf_report *report)
{
	size_t before = report->count;
	struct map seen;
	struct arena keys;

	if (list == NULL)
		return true;
	if (list->shape != CONF_LIST) {
		conf_complain(report, list, "'endpoints' must be a list");
		return false;
	}
	map_init(&seen);
	arena_init(&keys, 0);
	for (const struct conf *element = list->first; element != NULL; element = element->next) {
		struct target proto;
		struct tags tags;

		/* The frequency is of no account here. */
		if (read_target(element, STR_EMPTY, STR_EMPTY, NS_PER_S, &proto, &tags, report) &&
		    check_unique(element, &proto, &seen, &keys, report) != 0) {
			conf_complain(report, element, "out of memory");
			break;
		}
	}
	map_fini(&seen);
	arena_fini(&keys);
	return report->count == before;
}
