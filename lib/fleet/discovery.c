#include "fleet/discovery_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "fleet/conf_text_priv.h"
#include "fleet/fleet_priv.h"
#include "fleet/target_conf_priv.h"

#define ENTRIES_MAX 1000
#define SERVERS_MAX 100 /* each has a thread */
#define ROW_COUNT   5
#define PATH_BYTES  64

/* Who can discover: one line each. */
static const struct discoverer_ops *const kinds[] = {
	&discoverer_mdb,
	&discoverer_file_sd,
	&discoverer_http_sd,
};

/* --- own metrics ------------------------------------------------------------------------------ */

static struct value
read_targets(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct discovery *)ctx)->target_count };
}

static struct value
read_bad(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct discovery *)ctx)->bad_count };
}

static struct value
read_errors(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct discovery *)ctx)->error_count };
}

static struct value
read_changes(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct discovery *)ctx)->change_count };
}

static struct value
read_last_good(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .i = ((struct discovery *)ctx)->good_ts_ns };
}

static const struct {
	const char *leaf;
	struct own_metric row;
} row_table[ROW_COUNT] = {
	{ "badTargets", { NULL, "Targets left out as something is wrong with them", UNIT_NONE,
	                    KIND_UINT64, 0, read_bad } },
	{ "changedTargets", { NULL, "Targets that came, went or changed", UNIT_NONE, KIND_UINT64, 0,
	                        read_changes } },
	{ "errors", { NULL, "Times that a list could not be had", UNIT_NONE, KIND_UINT64, 0,
	                read_errors } },
	{ "lastGood",
	    { NULL, "When a list was last found good", UNIT_NONE, KIND_TIME, 0, read_last_good } },
	{ "targets", { NULL, "Targets on its lists", UNIT_NONE, KIND_UINT64, 0, read_targets } },
};

/* -1 with err: then there are none. */
static int
add_rows(struct discovery *d, struct err *err)
{
	d->rows = calloc(ROW_COUNT, sizeof(*d->rows));
	d->row_texts = malloc((size_t)ROW_COUNT * PATH_BYTES);
	if (d->rows == NULL || d->row_texts == NULL) {
		err_nomem(err);
		goto failed;
	}
	for (size_t i = 0; i < ROW_COUNT; i++) {
		char *path = d->row_texts + i * PATH_BYTES;

		snprintf(path, PATH_BYTES, "/discovery/%s/%u/%s", d->ops->key, d->number,
		    row_table[i].leaf);
		d->rows[i] = row_table[i].row;
		d->rows[i].path = path;
	}
	if (own_add(d->fleet->own, d->rows, ROW_COUNT, d, err) == 0)
		return 0;
failed:
	free(d->rows);
	free(d->row_texts);
	d->rows = NULL;
	d->row_texts = NULL;
	return -1;
}

/* --- what discoverers say -------------------------------------------------------------------- */

static struct part **
find_part(struct discovery *d, const char *name)
{
	struct part **at = &d->parts;

	while (*at != NULL && strcmp((*at)->name, name) < 0)
		at = &(*at)->next;
	return at;
}

static bool
is_part(const struct part *part, const char *name)
{
	return part != NULL && strcmp(part->name, name) == 0;
}

/* The part, made if need be; NULL when out of memory. */
static struct part *
part_get(struct discovery *d, const char *name)
{
	struct part **at = find_part(d, name), *part;
	size_t bytes = strlen(name) + 1;

	if (is_part(*at, name))
		return *at;
	part = calloc(1, sizeof(*part) + bytes);
	if (part == NULL)
		return NULL;
	memcpy(part->name, name, bytes);
	part->next = *at;
	*at = part;
	return part;
}

void
discovery_confirm(struct discovery *d)
{
	d->good_ts_ns = loop_real_ns(d->fleet->loop);
}

void
discovery_failed(struct discovery *d)
{
	d->error_count++;
}

static void
tell_changes(struct discovery *d, const struct part *part, const struct target_list *list,
    const struct claims_changes *changes)
{
	bool is_news = list->bad > 0 && list->bad != part->bad;

	if (is_news && !d->told_bad)
		log_error("fleet", "targets: %s=%s: %zu of %zu left out: %s", d->ops->key,
		    part->name, list->bad, list->bad + list->len, list->bad_reason.text);
	/* At a start there may be thousands of parts. */
	if (d->is_quiet)
		d->told_bad |= is_news;
	else if (changes->added + changes->removed + changes->changed > 0)
		log_info("fleet",
		    "targets: %s=%s now=%zu added=%zu removed=%zu changed=%zu leftOut=%zu",
		    d->ops->key, part->name, list->len, changes->added, changes->removed,
		    changes->changed, list->bad);
}

int
discovery_yield(struct discovery *d, const char *name, struct target_list *list, struct err *err)
{
	struct claims_changes changes = { 0 };
	struct part *part = part_get(d, name);
	size_t before;

	if (part == NULL) {
		err_nomem(err);
		return -1;
	}
	before = part->items.len;
	target_list_sort(list);
	if (claims_replace(d->fleet, &part->items, d->ops->origin, list, &changes, err) != 0)
		return -1;
	d->target_count += list->len - before;
	d->bad_count += list->bad - part->bad;
	d->change_count += changes.added + changes.removed + changes.changed;
	tell_changes(d, part, list, &changes);
	part->bad = list->bad;
	discovery_confirm(d);
	return 0;
}

/* Takes the part at *at out. */
static void
part_remove(struct discovery *d, struct part **at)
{
	struct part *part = *at;
	size_t n = part->items.len;

	claims_clear(d->fleet, &part->items);
	d->target_count -= n;
	d->bad_count -= part->bad;
	d->change_count += n;
	*at = part->next;
	free(part);
}

void
discovery_drop(struct discovery *d, const char *name)
{
	struct part **at = find_part(d, name);

	if (!is_part(*at, name))
		return;
	log_info("fleet", "targets: %s=%s now=0 removed=%zu", d->ops->key, name, (*at)->items.len);
	part_remove(d, at);
}

/* --- entries --------------------------------------------------------------------------------- */

/* The kind that an entry is of; NULL and the number of keys that name one if that is not 1. */
static const struct discoverer_ops *
kind_of(const struct conf *entry, size_t *count)
{
	const struct discoverer_ops *found = NULL;

	*count = 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (conf_child(entry, kinds[i]->key) != NULL) {
			found = kinds[i];
			++*count;
		}
	}
	return *count == 1 ? found : NULL;
}

static bool
has_targets_of_any_source(const struct discoverer_ops *kind)
{
	for (const struct conf_opt *opt = kind->opts; opt->name != NULL; opt++) {
		if (strcmp(opt->name, "source") == 0)
			return true;
	}
	return false;
}

/* What makes two entries the same one over a change of all the rest. On the heap. */
static char *
identity_of(const struct discoverer_ops *kind, const struct conf *entry)
{
	static const char *const others[] = { "app", "source" };
	struct buf text;

	buf_init(&text, 0);
	buf_printf(&text, "%s=", kind->key);
	conf_text_tree(&text, conf_child(entry, kind->key));
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (conf_child(entry, others[i]) == NULL)
			continue;
		buf_printf(&text, " %s=", others[i]);
		conf_text_tree(&text, conf_child(entry, others[i]));
	}
	buf_putc(&text, '\0');
	if (text.failed)
		buf_fini(&text);
	return text.p;
}

static struct target_defaults
defaults_of(const struct discoverer_ops *kind, struct conf_doc *doc, const struct conf *entry,
    int64_t frequency_ns)
{
	struct target_defaults defaults = { .interval_ns = frequency_ns, .doc = doc };

	if (!has_targets_of_any_source(kind))
		return defaults;
	defaults.app = conf_text(entry, kind->opts, "app");
	defaults.source = source_find(conf_text(entry, kind->opts, "source"));
	defaults.region = conf_text(entry, kind->opts, "region");
	defaults.options = conf_child(entry, "options");
	if (conf_child(entry, "interval") != NULL)
		defaults.interval_ns = conf_duration_ns(entry, kind->opts, "interval");
	return defaults;
}

static void
discovery_free(struct discovery *d)
{
	if (d->discoverer != NULL)
		d->ops->close(d->discoverer);
	if (d->rows != NULL)
		own_remove(d->fleet->own, d->rows, d);
	free(d->rows);
	free(d->row_texts);
	free(d->identity);
	conf_doc_unref(d->doc);
	free(d);
}

/* Ends an entry and withdraws its targets. */
static void
discovery_end(struct discovery *d)
{
	while (d->parts != NULL)
		part_remove(d, &d->parts);
	discovery_free(d);
}

/* The first number that no other of its kind has. */
static unsigned
free_number(const struct fleet *fleet, const struct discoverer_ops *kind)
{
	for (unsigned number = 1;; number++) {
		const struct discovery *d = fleet->discoveries;

		while (d != NULL && (d->ops != kind || d->number != number))
			d = d->next;
		if (d == NULL)
			return number;
	}
}

/* Takes over identity. NULL when out of memory. */
static struct discovery *
discovery_new(struct fleet *fleet, const struct discoverer_ops *kind, char *identity)
{
	struct discovery *d = calloc(1, sizeof(*d)), **end = &fleet->discoveries;
	struct err err;

	if (d == NULL) {
		free(identity);
		return NULL;
	}
	d->fleet = fleet;
	d->ops = kind;
	d->identity = identity;
	d->number = free_number(fleet, kind);
	if (add_rows(d, &err) != 0)
		log_error("fleet", "no own metrics for an entry of discovery: %s", err.text);
	while (*end != NULL)
		end = &(*end)->next;
	*end = d;
	return d;
}

/* Has the entry look for targets: at first, or anew. */
static void
discovery_run(struct discovery *d)
{
	struct err err;

	d->is_quiet = true;
	d->told_bad = false;
	if (d->discoverer != NULL)
		d->ops->refresh(d->discoverer);
	else if ((d->discoverer = d->ops->open(d, &err)) == NULL)
		log_error("fleet", "discovery by %s does not work: %s; SIGHUP tries again",
		    d->identity, err.text);
	d->is_quiet = d->told_bad = false;
	log_info("fleet", "discovery: %s targets=%" PRIu64 " leftOut=%" PRIu64, d->identity,
	    (uint64_t)d->target_count, (uint64_t)d->bad_count);
}

/* One entry of the table is in force. -1 with ERR_NOMEM. */
static int
set_entry(struct fleet *fleet, struct conf_doc *doc, const struct conf *entry, struct err *err)
{
	size_t count;
	const struct discoverer_ops *kind = kind_of(entry, &count);
	char *identity = kind == NULL ? NULL : identity_of(kind, entry);
	struct discovery *d = fleet->discoveries;

	if (identity == NULL)
		goto nomem;
	while (d != NULL && (d->wanted || strcmp(d->identity, identity) != 0))
		d = d->next;
	if (d != NULL)
		free(identity);
	else if ((d = discovery_new(fleet, kind, identity)) == NULL)
		goto nomem;
	conf_doc_ref(doc);
	conf_doc_unref(d->doc);
	d->doc = doc;
	d->conf = entry;
	d->defaults = defaults_of(kind, doc, entry, fleet->frequency_ns);
	d->wanted = true;
	discovery_run(d);
	return 0;
nomem:
	err_nomem(err);
	return -1;
}

/* The machine list of mdbFile or -mdbFile. */
static int
set_mdb_file(struct fleet *fleet, const char *path, struct err *err)
{
	struct conf_doc *doc;
	struct buf text;
	int rc = -1;

	if (path == NULL || path[0] == '\0')
		return 0;
	buf_init(&text, 0);
	buf_puts(&text, "{\"mdb\": ");
	conf_text_string(&text, str_of(path));
	buf_putc(&text, '}');
	doc = text.failed ? NULL : conf_parse(buf_view(&text), "mdbFile", err);
	if (text.failed)
		err_nomem(err);
	if (doc != NULL)
		rc = set_entry(fleet, doc, doc->root, err);
	conf_doc_unref(doc);
	buf_fini(&text);
	return rc;
}

/* Ends the entries that are not in the table any more. */
static void
end_unwanted(struct fleet *fleet)
{
	struct discovery **at = &fleet->discoveries;

	while (*at != NULL) {
		struct discovery *d = *at;

		if (d->wanted) {
			at = &d->next;
			continue;
		}
		*at = d->next;
		discovery_end(d);
	}
}

int
discoveries_set(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	int rc;

	for (struct discovery *d = fleet->discoveries; d != NULL; d = d->next)
		d->wanted = false;
	rc = set_mdb_file(fleet, conf->mdb_file, err);
	for (const struct conf *entry = conf->discovery == NULL ? NULL : conf->discovery->first;
	     entry != NULL && rc == 0; entry = entry->next)
		rc = set_entry(fleet, conf->doc, entry, err);
	/* Only now, so that what others discover as well is polled without a gap. */
	if (rc == 0)
		end_unwanted(fleet);
	return rc;
}

bool
discoveries_are_known(const struct fleet *fleet)
{
	/* The others have read what there is by the time they are opened. */
	for (const struct discovery *d = fleet->discoveries; d != NULL; d = d->next) {
		if (d->ops == &discoverer_http_sd && d->discoverer != NULL && d->good_ts_ns == 0 &&
		    d->error_count == 0)
			return false;
	}
	return true;
}

void
discoveries_stop(struct fleet *fleet)
{
	struct discovery *d;

	while ((d = fleet->discoveries) != NULL) {
		struct part *part;

		fleet->discoveries = d->next;
		while ((part = d->parts) != NULL) {
			d->parts = part->next;
			claims_abandon(d->fleet, &part->items);
			free(part);
		}
		discovery_free(d);
	}
}

/* --- checking -------------------------------------------------------------------------------- */

static void
check_name(const struct conf *entry, const char *key, enum name_use use, struct conf_report *report)
{
	const struct conf *node = conf_child(entry, key);
	const char *fault =
	    node == NULL || node->shape != CONF_SCALAR ? NULL : name_fault(node->text, use);

	if (fault != NULL)
		conf_complain(report, node, "'%s' %s", key, fault);
}

static void
check_targets(
    const struct discoverer_ops *kind, const struct conf *entry, struct conf_report *report)
{
	const struct source_ops *source = source_from_conf(entry, kind->opts, report);
	const struct conf *options = conf_child(entry, "options");

	if (source != NULL && options != NULL)
		source_options_check(source, options, report);
	check_name(entry, "app", NAME_IDENTITY, report);
	check_name(entry, "region", NAME_OTHER, report);
}

/* NULL after a complaint. */
static const struct discoverer_ops *
check_entry(const struct conf *entry, struct conf_report *report)
{
	const struct discoverer_ops *kind;
	size_t before = report->count, count;

	if (entry->shape != CONF_MAP) {
		conf_complain(report, entry, "an entry of 'discovery' must be a map");
		return NULL;
	}
	kind = kind_of(entry, &count);
	if (kind == NULL) {
		conf_complain(report, entry,
		    count == 0
		        ? "an entry of 'discovery' must have one of fileSd, httpSd, mdb"
		        : "an entry of 'discovery' can have only one of fileSd, httpSd, mdb");
		return NULL;
	}
	if (!conf_check(entry, kind->opts, report))
		return NULL;
	kind->check(entry, report);
	if (has_targets_of_any_source(kind))
		check_targets(kind, entry, report);
	return report->count == before ? kind : NULL;
}

/* -1 when out of memory. */
static int
check_unique(const struct discoverer_ops *kind, const struct conf *entry, struct map *seen,
    struct arena *keys, struct conf_report *report)
{
	char *identity = identity_of(kind, entry);
	struct str key = identity == NULL ? STR_EMPTY : arena_copy(keys, str_of(identity));
	const struct conf *first = key.p == NULL ? NULL : map_get(seen, key);

	free(identity);
	if (first != NULL)
		conf_complain(
		    report, entry, "this entry is given twice, first in line %d", first->line);
	else if (key.p == NULL || map_put(seen, key, (void *)(uintptr_t)entry) != 0)
		return -1;
	return 0;
}

static void
check_count(const struct conf *list, size_t entries, size_t servers, struct conf_report *report)
{
	if (entries > ENTRIES_MAX)
		conf_complain(report, list, "'discovery' has more than %d entries", ENTRIES_MAX);
	if (servers > SERVERS_MAX)
		conf_complain(
		    report, list, "'discovery' has more than %d entries of httpSd", SERVERS_MAX);
}

bool
discoveries_check(const struct conf *list, struct conf_report *report)
{
	size_t before = report->count, entries = 0, servers = 0;
	struct arena keys;
	struct map seen;

	if (list == NULL)
		return true;
	if (list->shape != CONF_LIST) {
		conf_complain(report, list, "'discovery' must be a list");
		return false;
	}
	arena_init(&keys, 0);
	map_init(&seen);
	for (const struct conf *entry = list->first; entry != NULL; entry = entry->next) {
		const struct discoverer_ops *kind = check_entry(entry, report);

		entries++;
		servers += kind == &discoverer_http_sd;
		if (kind != NULL && check_unique(kind, entry, &seen, &keys, report) != 0) {
			conf_complain(report, entry, "out of memory");
			break;
		}
	}
	check_count(list, entries, servers, report);
	map_fini(&seen);
	arena_fini(&keys);
	return report->count == before;
}

void
fleet_generate_discovery(FILE *out)
{
	fputs("\ndiscovery: []\n"
	      "# - fileSd: [/etc/scotty/targets/*.json, /etc/scotty/targets/*.yml]\n"
	      "#   app: node                # and so on: see below\n"
	      "# - httpSd: http://127.0.0.1:8000/targets\n"
	      "#   refresh: 60s\n"
	      "# - mdb: /var/lib/other/mdb  # one more machine list\n",
	    out);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		fprintf(out, "#\n# an entry of discovery with %s (%s):\n", kinds[i]->key,
		    kinds[i]->help);
		for (const struct conf_opt *opt = kinds[i]->opts; opt->name != NULL; opt++)
			fprintf(out, "#   %s: %s   # %s\n", opt->name,
			    opt->dflt == NULL ? "" : opt->dflt, opt->help);
	}
}
