#include "fleet/sd_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fleet/conf_text_priv.h"
#include "fleet/tags_priv.h"
#include "fleet/target_conf_priv.h"
#include "sources/resolver.h"

#define INTERVAL_MIN_NS (100 * NS_PER_MS)
#define INTERVAL_MAX_NS (24 * 3600 * NS_PER_S)
#define PARAMS_MAX      32

/* The labels of a group by what they are for. Text is lent. */
struct labels {
	struct str address, scheme, path, interval, timeout, instance, job, region;
	struct tag params[PARAMS_MAX];
	size_t param_count;
	struct tags tags;
};

/* The options made last: those of neighbours are mostly the same. */
struct options {
	struct buf text;
	struct conf_doc *doc;
	const struct conf *root;
	uint64_t hash;
};

struct reader {
	const char *name;
	const struct target_defaults *defaults;
	struct target_list *out;
	struct options options;
};

/* Addresses. */

static const char *
read_port(struct str text, uint16_t *port)
{
	uint64_t number;

	if (!str_to_u64(text, &number) || number == 0 || number > UINT16_MAX)
		return "has no port from 1 to 65535 after its colon";
	*port = (uint16_t)number;
	return NULL;
}

static bool
is_ipv6(struct str text)
{
	struct net_addr addr;

	return text.len > 0 && text.p[0] != '[' && resolver_numeric(text, &addr) &&
	       addr.family == AF_INET6;
}

static const char *
split_brackets(struct str text, struct str *host, uint16_t *port)
{
	const char *end = memchr(text.p, ']', text.len);
	struct str inside, rest;

	if (end == NULL)
		return "has no closing bracket";
	inside = str_sub(text, 1, (size_t)(end - text.p) - 1);
	rest = str_sub(text, inside.len + 2, text.len);
	if (!is_ipv6(inside))
		return "has no IPv6 address in its brackets";
	*host = inside;
	if (rest.len == 0)
		return NULL;
	return rest.p[0] == ':' ? read_port(str_sub(rest, 1, rest.len), port)
	                        : "has text after its bracket";
}

const char *
sd_split_address(struct str text, struct str *host, uint16_t *port)
{
	const char *colon;

	if (text.len == 0)
		return "is empty";
	if (text.p[0] == '[')
		return split_brackets(text, host, port);
	colon = is_ipv6(text) ? NULL : memchr(text.p, ':', text.len);
	*host = colon == NULL ? text : str_sub(text, 0, (size_t)(colon - text.p));
	if (name_fault(*host, NAME_IDENTITY) != NULL)
		return "has no host that can be a name";
	return colon == NULL ? NULL : read_port(str_sub(text, host->len + 1, text.len), port);
}

/* Labels. */

/* The label that has a meaning of its own, else NULL. */
static struct str *
known_label(struct labels *labels, struct str name)
{
	const struct {
		const char *name;
		struct str *value;
	} known[] = {
		{ "__address__", &labels->address },
		{ "__scheme__", &labels->scheme },
		{ "__metrics_path__", &labels->path },
		{ "__scrape_interval__", &labels->interval },
		{ "__scrape_timeout__", &labels->timeout },
		{ "instance", &labels->instance },
		{ "job", &labels->job },
		{ "region", &labels->region },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_eq(name, str_of(known[i].name)))
			return known[i].value;
	}
	return NULL;
}

static int
add_param(struct labels *labels, struct str name, struct str value, struct err *err)
{
	if (name.len == 0 || labels->param_count == PARAMS_MAX) {
		err_set(err, ERR_LIMIT, "label '__param_%.*s': %s", STR_ARG(name),
		    name.len == 0 ? "names no parameter" : "there are more than 32 of them");
		return -1;
	}
	labels->params[labels->param_count++] = (struct tag){ name, value };
	return 0;
}

static int
read_label(struct labels *labels, struct str name, struct str value, struct err *err)
{
	const struct str param = STR("__param_"), hidden = STR("__");
	struct str *known = known_label(labels, name);
	const char *fault = tag_fault(name, value);

	if (fault != NULL) {
		err_set(err, ERR_CONFIG, "label '%.*s' %s", STR_ARG(name), fault);
		return -1;
	}
	if (value.len == 0)
		return 0;
	if (known != NULL)
		*known = value;
	if (str_starts(name, param))
		return add_param(labels, str_sub(name, param.len, name.len), value, err);
	if (str_starts(name, hidden) || str_eq(name, STR("region")))
		return 0;
	return tags_add(&labels->tags, name, value, err);
}

static bool
is_null(const struct conf *scalar)
{
	return !scalar->quoted && (scalar->text.len == 0 || str_eq(scalar->text, STR("~")) ||
	                              str_eq_nocase(scalar->text, STR("null")));
}

/* -1 with err: what makes all targets of the group unfit. */
static int
read_labels(const struct conf *map, struct labels *labels, struct err *err)
{
	*labels = (struct labels){ 0 };
	for (const struct conf *label = map == NULL ? NULL : map->first; label != NULL;
	     label = label->next) {
		if (is_null(label))
			continue;
		if (read_label(labels, label->key, label->text, err) != 0)
			return -1;
	}
	return 0;
}

/* Options. */

static const struct conf_opt *
option(const struct source_ops *source, const char *name)
{
	for (const struct conf_opt *opt = source->opts; opt != NULL && opt->name != NULL; opt++) {
		if (strcmp(opt->name, name) == 0)
			return opt;
	}
	return NULL;
}

static int
no_option(const struct source_ops *source, const char *label, const char *name, struct err *err)
{
	err_set(err, ERR_CONFIG, "label '%s': source '%s' has no option '%s'", label, source->name,
	    name);
	return -1;
}

static void
begin_option(struct buf *out, const char *name)
{
	buf_printf(out, "%s\"%s\": ", out->p[out->len - 1] == '{' ? "" : ", ", name);
}

static bool
is_https(const struct labels *labels)
{
	return str_eq_nocase(labels->scheme, STR("https"));
}

/* The parameters of the labels over those of the entry. */
static void
add_params(struct buf *out, const struct labels *labels, const struct conf *base)
{
	const char *comma = "";

	buf_putc(out, '{');
	for (const struct conf *child = base == NULL || base->shape != CONF_MAP ? NULL
	                                                                        : base->first;
	     child != NULL; child = child->next) {
		bool replaced = false;

		for (size_t i = 0; i < labels->param_count; i++)
			replaced |= str_eq(labels->params[i].key, child->key);
		if (replaced)
			continue;
		buf_puts(out, comma);
		conf_text_string(out, child->key);
		buf_puts(out, ": ");
		conf_text_tree(out, child);
		comma = ", ";
	}
	for (size_t i = 0; i < labels->param_count; i++) {
		buf_puts(out, comma);
		conf_text_string(out, labels->params[i].key);
		buf_puts(out, ": ");
		conf_text_string(out, labels->params[i].value);
		comma = ", ";
	}
	buf_putc(out, '}');
}

/* Which options the labels take the place of. */
struct overrides {
	const char *scheme; /* "tls" or "scheme"; NULL = none, as for the rest */
	const char *path, *params, *timeout;
};

static int
find_overrides(const struct source_ops *source, const struct labels *labels, struct overrides *out,
    struct err *err)
{
	*out = (struct overrides){ 0 };
	if (labels->scheme.len > 0 && !is_https(labels) &&
	    !str_eq_nocase(labels->scheme, STR("http"))) {
		err_set(err, ERR_CONFIG, "label '__scheme__' is neither http nor https");
		return -1;
	}
	if (labels->scheme.len > 0 && option(source, "tls") != NULL)
		out->scheme = "tls";
	else if (labels->scheme.len > 0 && option(source, "scheme") != NULL)
		out->scheme = "scheme";
	else if (is_https(labels))
		return no_option(source, "__scheme__", "tls", err);
	if (labels->path.len > 0 && option(source, "path") == NULL)
		return no_option(source, "__metrics_path__", "path", err);
	if (labels->param_count > 0 && option(source, "params") == NULL) {
		char label[128];

		snprintf(label, sizeof(label), "__param_%.100s", labels->params[0].key.p);
		return no_option(source, label, "params", err);
	}
	out->path = labels->path.len > 0 ? "path" : NULL;
	out->params = labels->param_count > 0 ? "params" : NULL;
	out->timeout =
	    labels->timeout.len > 0 && option(source, "timeout") != NULL ? "timeout" : NULL;
	return 0;
}

static bool
is_overridden(struct str key, const struct overrides *over)
{
	const char *const names[] = { over->scheme, over->path, over->params, over->timeout };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (names[i] != NULL && str_eq(key, str_of(names[i])))
			return true;
	}
	return false;
}

/* All options as text: the entry's, with those of the labels over them. */
static void
write_options(struct buf *out, const struct conf *base, const struct labels *labels,
    const struct overrides *over)
{
	buf_putc(out, '{');
	for (const struct conf *child = base == NULL ? NULL : base->first; child != NULL;
	     child = child->next) {
		if (is_overridden(child->key, over) || out->failed)
			continue;
		buf_puts(out, out->p[out->len - 1] == '{' ? "" : ", ");
		conf_text_string(out, child->key);
		buf_puts(out, ": ");
		conf_text_tree(out, child);
	}
	if (out->failed)
		return;
	if (over->scheme != NULL) {
		begin_option(out, over->scheme);
		if (strcmp(over->scheme, "tls") == 0)
			buf_puts(out, is_https(labels) ? "true" : "false");
		else
			buf_puts(out, is_https(labels) ? "\"https\"" : "\"http\"");
	}
	if (over->path != NULL) {
		begin_option(out, over->path);
		conf_text_string(out, labels->path);
	}
	if (over->params != NULL) {
		begin_option(out, over->params);
		add_params(out, labels, conf_child(base, over->params));
	}
	if (over->timeout != NULL) {
		begin_option(out, over->timeout);
		conf_text_string(out, labels->timeout);
	}
	buf_putc(out, '}');
}

/* Parses and checks options that are not the entry's own. */
static struct conf_doc *
parse_options(const struct reader *reader, struct str text, struct err *err)
{
	struct conf_doc *doc = conf_parse(text, reader->name, err);
	struct conf_report report;

	if (doc == NULL)
		return NULL;
	conf_report_init(&report, "labels");
	if (!source_options_check(reader->defaults->source, doc->root, &report)) {
		conf_report_err(&report, err);
		conf_doc_unref(doc);
		doc = NULL;
	}
	conf_report_fini(&report);
	return doc;
}

/* Makes reader->options those of a target with such labels. -1 with err. */
static int
make_options(struct reader *reader, const struct labels *labels, struct err *err)
{
	const struct target_defaults *defaults = reader->defaults;
	struct options *options = &reader->options;
	struct overrides over;
	struct conf_doc *doc;
	struct buf text;
	int rc = -1;

	if (find_overrides(defaults->source, labels, &over, err) != 0)
		return -1;
	buf_init(&text, 0);
	write_options(&text, defaults->options, labels, &over);
	if (text.failed) {
		err_nomem(err);
		goto out;
	}
	rc = 0;
	if (options->text.len > 0 && str_eq(buf_view(&text), buf_view(&options->text)))
		goto out;
	if (over.scheme == NULL && over.path == NULL && over.params == NULL && over.timeout == NULL)
		doc = defaults->options == NULL ? NULL : conf_doc_ref(defaults->doc);
	else if ((doc = parse_options(reader, buf_view(&text), err)) == NULL)
		rc = -1;
	if (rc != 0)
		goto out;
	conf_doc_unref(options->doc);
	buf_fini(&options->text);
	*options = (struct options){
		.text = text,
		.doc = doc,
		.root = doc == NULL || doc == defaults->doc ? defaults->options : doc->root,
		.hash = hash_stable(buf_view(&text)),
	};
	buf_init(&text, 0);
out:
	buf_fini(&text);
	return rc;
}

/* Targets. */

static int
read_interval(const struct labels *labels, int64_t *interval_ns, struct err *err)
{
	int64_t ns;

	if (labels->timeout.len > 0 && !conf_parse_duration(labels->timeout, &ns)) {
		err_set(err, ERR_CONFIG, "label '__scrape_timeout__' is no duration");
		return -1;
	}
	if (labels->interval.len == 0)
		return 0;
	if (!conf_parse_duration(labels->interval, &ns) || ns < INTERVAL_MIN_NS ||
	    ns > INTERVAL_MAX_NS) {
		err_set(err, ERR_CONFIG,
		    "label '__scrape_interval__' is no duration from 100ms to 24h");
		return -1;
	}
	*interval_ns = ns;
	return 0;
}

static uint64_t
place_of(const struct target *target, uint64_t options_hash)
{
	uint64_t place = hash_mix(hash_stable(target->address), target->port);

	place = hash_mix(place, hash_stable(str_of(target->source->name)));
	return hash_mix(place, options_hash) | 1; /* 0 means something else */
}

static struct str
host_of(const struct labels *labels, struct str address)
{
	struct str host;
	uint16_t port;

	if (labels->instance.len > 0 && sd_split_address(labels->instance, &host, &port) == NULL)
		return host;
	return address;
}

static int
check_names(const struct target *proto, struct err *err)
{
	const char *fault = name_fault(proto->app, NAME_IDENTITY);

	if (fault != NULL) {
		err_set(err, ERR_CONFIG, "its application ('app' or label 'job') %s", fault);
		return -1;
	}
	fault = proto->region.len == 0 ? NULL : name_fault(proto->region, NAME_OTHER);
	if (fault == NULL)
		return 0;
	err_set(err, ERR_CONFIG, "label 'region' %s", fault);
	return -1;
}

/* Makes one target of the group. -1 with err. */
static int
read_target(struct reader *reader, const struct labels *labels, struct str text, struct err *err)
{
	const struct target_defaults *defaults = reader->defaults;
	struct target proto = {
		.app = defaults->app.len > 0 ? defaults->app
		       : labels->job.len > 0 ? labels->job
		                             : str_of(defaults->source->name),
		.port = is_https(labels) ? 443 : 80,
		.source = defaults->source,
		.interval_ns = defaults->interval_ns,
		.region = labels->region.len > 0 ? labels->region : defaults->region,
		.tags = labels->tags.p,
		.tag_count = labels->tags.len,
	};
	struct str address = labels->address.len > 0 ? labels->address : text;
	const char *fault = sd_split_address(address, &proto.address, &proto.port);

	if (fault != NULL) {
		err_set(err, ERR_CONFIG, "address '%.*s' %s", STR_ARG(address), fault);
		return -1;
	}
	proto.host = host_of(labels, proto.address);
	if (read_interval(labels, &proto.interval_ns, err) != 0 || check_names(&proto, err) != 0 ||
	    make_options(reader, labels, err) != 0)
		return -1;
	proto.doc = reader->options.doc;
	proto.options = reader->options.root;
	return target_list_add(
	    reader->out, target_new(&proto), place_of(&proto, reader->options.hash), err);
}

/* -1 with ERR_NOMEM, ERR_LIMIT; what is wrong with single targets is noted. */
static int
read_group(struct reader *reader, const struct conf *group, struct err *err)
{
	const struct conf *targets = conf_child(group, "targets");
	struct labels labels;
	struct err label_err = { ERR_NONE, "" };

	(void)read_labels(conf_child(group, "labels"), &labels, &label_err);
	for (const struct conf *target = targets == NULL ? NULL : targets->first; target != NULL;
	     target = target->next) {
		if (reader->out->len + reader->out->bad == SD_TARGETS_MAX) {
			err_set(err, ERR_LIMIT, "%s: more than %d targets", reader->name,
			    SD_TARGETS_MAX);
			return -1;
		}
		if (label_err.code != ERR_NONE)
			*err = label_err;
		else if (read_target(reader, &labels, target->text, err) == 0)
			continue;
		if (err->code == ERR_NOMEM)
			return -1;
		err_wrap(err, "%s:%d:%d: target '%.*s'", reader->name, target->line, target->column,
		    target->text.len > 100 ? 100 : (int)target->text.len, target->text.p);
		target_list_refuse(reader->out, err);
	}
	return 0;
}

/* The form of the text. */

static const struct conf_opt group_opts[] = {
	{ "targets", CONF_TREE, NULL, NULL, 0, 0 },
	{ "labels", CONF_TREE, NULL, NULL, 0, 0 },
	{ .name = NULL },
};

static void
check_scalars(
    const struct conf *node, enum conf_shape shape, const char *what, struct conf_report *report)
{
	if (node == NULL)
		return;
	if (node->shape != shape) {
		conf_complain(
		    report, node, "%s must be a %s", what, shape == CONF_LIST ? "list" : "map");
		return;
	}
	for (const struct conf *child = node->first; child != NULL; child = child->next) {
		if (child->shape != CONF_SCALAR)
			conf_complain(report, child, "%s hold texts only", what);
	}
}

static void
check_form(const struct conf *root, struct conf_report *report)
{
	if (root == NULL || root->shape != CONF_LIST) {
		conf_complain(report, root, "%s",
		    root == NULL ? "empty; no targets at all is written []"
		                 : "not a list of target groups");
		return;
	}
	for (const struct conf *group = root->first; group != NULL; group = group->next) {
		if (!conf_check(group, group_opts, report))
			continue;
		check_scalars(conf_child(group, "targets"), CONF_LIST, "'targets'", report);
		check_scalars(conf_child(group, "labels"), CONF_MAP, "'labels'", report);
	}
}

int
sd_read(struct str text, const char *name, const struct target_defaults *defaults,
    struct target_list *out, struct err *err)
{
	struct conf_doc *doc = conf_parse(text, name, err);
	struct reader reader = { .name = name, .defaults = defaults, .out = out };
	struct conf_report report;
	int rc = 0;

	if (doc == NULL)
		return -1;
	conf_report_init(&report, name);
	check_form(doc->root, &report);
	if (report.count > 0) {
		conf_report_err(&report, err);
		rc = -1;
	}
	for (const struct conf *group = rc == 0 ? doc->root->first : NULL; group != NULL && rc == 0;
	     group = group->next)
		rc = read_group(&reader, group, err);
	conf_report_fini(&report);
	conf_doc_unref(reader.options.doc);
	buf_fini(&reader.options.text);
	conf_doc_unref(doc);
	return rc;
}
