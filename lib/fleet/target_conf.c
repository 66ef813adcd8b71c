#include "fleet/target_conf_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fleet/fleet.h"

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
	{ "options", CONF_TREE, NULL, "what the source takes", 0, 0 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

/* Names appear in URLs, log lines and paths of other systems. */
static const char *
name_fault(struct str name, bool is_identity)
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
		if (is_identity && name.p[i] == '/')
			return "holds a '/'";
	}
	return NULL;
}

/* The identity part called key: what the URL says, else the element's. Empty after a complaint. */
static struct str
identity(const struct conf *element, const char *key, struct str given, struct conf_report *report)
{
	const struct conf *node = conf_child(element, key);
	struct str name = given;
	const char *fault;

	if (node != NULL) {
		name = conf_text(element, endpoint_opts, key);
		if (given.len > 0 && !str_eq(name, given)) {
			conf_complain(report, node, "'%s' is '%.*s' here and '%.*s' in the URL", key,
			    STR_ARG(name), STR_ARG(given));
			return STR_EMPTY;
		}
	}
	if (name.p == NULL) {
		conf_complain(report, element, "'%s' is missing", key);
		return STR_EMPTY;
	}
	fault = name_fault(name, true);
	if (fault != NULL) {
		conf_complain(report, node != NULL ? node : element, "'%s' %s", key, fault);
		return STR_EMPTY;
	}
	return name;
}

static const struct source_ops *
find_source(const struct conf *element, struct conf_report *report)
{
	struct str name = conf_text(element, endpoint_opts, "source");
	const struct source_ops *source = source_find(name);
	char known[256] = "";

	if (source != NULL)
		return source;
	for (size_t i = 0; source_at(i) != NULL; i++) {
		size_t len = strlen(known);

		snprintf(known + len, sizeof(known) - len, "%s%s", i > 0 ? ", " : "", source_at(i)->name);
	}
	conf_complain(report, conf_child(element, "source"), "no source '%.*s' in this build; there are: %s",
	    STR_ARG(name), known);
	return NULL;
}

static void
check_text(const struct conf *element, const char *key, struct conf_report *report)
{
	const struct conf *node = conf_child(element, key);
	const char *fault;

	if (node == NULL)
		return;
	fault = name_fault(conf_text(element, endpoint_opts, key), false);
	if (fault != NULL)
		conf_complain(report, node, "'%s' %s", key, fault);
}

/* Fills proto from element; false after a complaint. */
static bool
read_target(const struct conf *element, struct str host, struct str app, int64_t frequency_ns,
    struct target *proto, struct conf_report *report)
{
	size_t before = report->count;

	*proto = (struct target){ 0 };
	if (!conf_check(element, endpoint_opts, report))
		return false;
	proto->host = identity(element, "host", host, report);
	proto->app = identity(element, "app", app, report);
	proto->source = find_source(element, report);
	check_text(element, "address", report);
	check_text(element, "region", report);
	if (proto->source == NULL || report->count > before)
		return false;
	proto->options = conf_child(element, "options");
	if (proto->options != NULL && proto->source->opts != NULL)
		conf_check(proto->options, proto->source->opts, report);
	if (conf_child(element, "port") == NULL && !proto->source->local)
		conf_complain(report, element, "'port' is missing");
	proto->port = (uint16_t)conf_int(element, endpoint_opts, "port");
	proto->address = conf_text(element, endpoint_opts, "address");
	if (proto->address.p == NULL)
		proto->address = proto->host;
	proto->region = conf_text(element, endpoint_opts, "region");
	proto->interval_ns = conf_child(element, "interval") == NULL ?
	    frequency_ns :
	    conf_duration_ns(element, endpoint_opts, "interval");
	return report->count == before;
}

bool
target_check(const struct conf *element, struct str host, struct str app,
    struct conf_report *report)
{
	struct target proto;

	return read_target(element, host, app, NS_PER_S, &proto, report);
}

struct target *
target_from_conf(struct conf_doc *doc, const struct conf *element, struct str host, struct str app,
    int64_t frequency_ns, struct conf_report *report)
{
	struct target proto, *target;

	if (!read_target(element, host, app, frequency_ns, &proto, report))
		return NULL;
	proto.doc = doc;
	target = target_new(&proto);
	if (target == NULL)
		conf_complain(report, element, "out of memory");
	return target;
}

bool
fleet_check_endpoints(const struct conf *list, struct conf_report *report)
{
	size_t before = report->count;
	struct map seen; /* "host/app" to its element; '/' is in neither */
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
		struct str host, app, key;
		const struct conf *first;
		char text[2 * NAME_BYTES_MAX + 2];

		if (!target_check(element, STR_EMPTY, STR_EMPTY, report))
			continue;
		host = conf_text(element, endpoint_opts, "host");
		app = conf_text(element, endpoint_opts, "app");
		snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(host), STR_ARG(app));
		first = map_get(&seen, str_of(text));
		if (first != NULL) {
			conf_complain(report, element, "endpoint %s is given twice, first in line %d", text,
			    first->line);
			continue;
		}
		key = arena_copy(&keys, str_of(text));
		if (key.p == NULL || map_put(&seen, key, (void *)(uintptr_t)element) != 0) {
			conf_complain(report, element, "out of memory");
			break;
		}
	}
	map_fini(&seen);
	arena_fini(&keys);
	return report->count == before;
}
