#include "sources/snmp_conf_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define PASSWORD_LEAST_BYTES 8 /* RFC 3414 section 11.2 */
#define NAME_MOST_BYTES      32
#define COMMUNITY_MOST_BYTES 255
#define OBJECTS_MOST         10000

const struct conf_opt snmp_opts[] = {
	{ "version", CONF_TEXT, "2c", "1, 2c or 3", 0, 0 },
	{ "community", CONF_SECRET, NULL, "versions 1 and 2c; default: public", 0, 0 },
	{ "user", CONF_TEXT, NULL, "version 3", 0, 0 },
	{ "level", CONF_TEXT, NULL,
	    "version 3: noAuthNoPriv, authNoPriv or authPriv; default: what passwords there are "
	    "for",
	    0, 0 },
	{ "authProtocol", CONF_TEXT, "SHA", "MD5, SHA, SHA-224, SHA-256, SHA-384 or SHA-512", 0,
	    0 },
	{ "authPassword", CONF_SECRET, NULL, "8 bytes at least", 0, 0 },
	{ "privProtocol", CONF_TEXT, "AES",
	    "DES, AES (AES-128), AES-192, AES-256; Cisco's: AES-192C, AES-256C", 0, 0 },
	{ "privPassword", CONF_SECRET, NULL, "8 bytes at least", 0, 0 },
	{ "context", CONF_TEXT, "", "version 3: name of the context", 0, 0 },
	{ "walk", CONF_TEXTS, NULL,
	    "subtrees, by number or name; default without get: system, ifTable, ifXTable", 0, 0 },
	{ "get", CONF_TEXTS, NULL, "single objects, with instance: sysUpTime.0", 0, 0 },
	{ "maxRepetitions", CONF_INT, "10", "values a GETBULK asks for, at most", 1, 1000 },
	{ "timeout", CONF_DURATION, "1s", "of a request", 10 * NS_PER_MS, 60 * NS_PER_S },
	{ "retries", CONF_INT, "3", "of a request", 0, 20 },
	{ "names", CONF_TREE, NULL,
	    "what further objects are called: a list of maps with oid, name, unit, description, "
	    "kind, index",
	    0, 0 },
	{ .name = NULL },
};

static const struct word {
	const char *text;
	int value;
} versions[] = { { "1", SNMP_V1 }, { "2c", SNMP_V2C }, { "3", SNMP_V3 }, { NULL, 0 } },
  levels[] = { { "noAuthNoPriv", SNMP_NO_AUTH }, { "authNoPriv", SNMP_AUTH },
	  { "authPriv", SNMP_AUTH_PRIV }, { NULL, 0 } },
  auths[] = { { "MD5", SNMP_MD5 }, { "SHA", SNMP_SHA }, { "SHA-1", SNMP_SHA },
	  { "SHA-224", SNMP_SHA224 }, { "SHA-256", SNMP_SHA256 }, { "SHA-384", SNMP_SHA384 },
	  { "SHA-512", SNMP_SHA512 }, { NULL, 0 } },
  privs[] = { { "DES", SNMP_DES }, { "AES", SNMP_AES128 }, { "AES-128", SNMP_AES128 },
	  { "AES-192", SNMP_AES192 }, { "AES-256", SNMP_AES256 }, { "AES-192C", SNMP_AES192C },
	  { "AES-256C", SNMP_AES256C }, { NULL, 0 } };

/* Options being read. What is wrong with them is complained about, and reading goes on. */
struct reading {
	struct snmp_conf *conf;
	const struct conf *options;
	struct conf_report *report;
};

/* The word that the option called name holds, or dflt without such an option. */
static int
read_word(const struct reading *r, const char *name, const struct word *words, int dflt)
{
	const struct conf *node = conf_child(r->options, name);
	char known[128] = "";

	if (node == NULL)
		return dflt;
	for (const struct word *word = words; word->text != NULL; word++) {
		size_t len = strlen(known);

		if (str_eq_nocase(node->text, str_of(word->text)))
			return word->value;
		snprintf(known + len, sizeof(known) - len, "%s%s", len > 0 ? ", " : "", word->text);
	}
	conf_complain(r->report, node, "'%s' is none of %s: '%.*s'", name, known,
	    (int)(node->text.len < 50 ? node->text.len : 50), node->text.p);
	return dflt;
}

/* Complains about a password that is missing or, as far as it is written here, too short. */
static void
check_password(const struct reading *r, const char *name, const char *level)
{
	const struct conf *node = conf_child(r->options, name);

	if (node == NULL)
		conf_complain(
		    r->report, r->options, "'%s' is missing, which level %s needs", name, level);
	else if (node->shape == CONF_SCALAR && node->text.len < PASSWORD_LEAST_BYTES)
		conf_complain(
		    r->report, node, "'%s' is shorter than %d bytes", name, PASSWORD_LEAST_BYTES);
}

static void
read_level(const struct reading *r)
{
	int level = SNMP_NO_AUTH;

	if (conf_child(r->options, "privPassword") != NULL)
		level = SNMP_AUTH_PRIV;
	else if (conf_child(r->options, "authPassword") != NULL)
		level = SNMP_AUTH;
	r->conf->level = (enum snmp_level)read_word(r, "level", levels, level);
	if (r->conf->level >= SNMP_AUTH)
		check_password(r, "authPassword", levels[r->conf->level].text);
	if (r->conf->level == SNMP_AUTH_PRIV)
		check_password(r, "privPassword", levels[r->conf->level].text);
}

/* A name of at most 32 bytes (RFC 3411), copied; absent is empty. */
static struct str
read_name(const struct reading *r, const char *name)
{
	struct str text = conf_text(r->options, snmp_opts, name);

	if (text.len > NAME_MOST_BYTES)
		conf_complain(r->report, conf_child(r->options, name),
		    "'%s' is longer than %d bytes", name, NAME_MOST_BYTES);
	text = arena_copy(&r->conf->arena, text);
	if (text.p == NULL)
		conf_complain(r->report, NULL, "out of memory");
	return text;
}

static void
read_v3(const struct reading *r)
{
	struct snmp_conf *conf = r->conf;

	conf->user = read_name(r, "user");
	conf->context = read_name(r, "context");
	if (conf_text(r->options, snmp_opts, "user").len == 0)
		conf_complain(r->report, r->options, "'user' is missing, which version 3 needs");
	read_level(r);
}

static void
check_community(const struct reading *r)
{
	const struct conf *node = conf_child(r->options, "community");

	if (node != NULL && node->shape == CONF_SCALAR && node->text.len > COMMUNITY_MOST_BYTES)
		conf_complain(
		    r->report, node, "'community' is longer than %d bytes", COMMUNITY_MOST_BYTES);
}

/* Object identifiers being collected. */
struct list {
	struct snmp_conf *conf;
	struct snmp_oid oids[OBJECTS_MOST];
	size_t len;
	bool failed;
};

static void
list_add(struct list *list, struct snmp_oid oid)
{
	uint32_t *ids;

	if (list->len == OBJECTS_MOST) {
		list->failed = true;
		return;
	}
	ids = arena_array(&list->conf->arena, oid.len, sizeof(*ids));
	if (ids == NULL) {
		list->failed = true;
		return;
	}
	memcpy(ids, oid.ids, oid.len * sizeof(*ids));
	list->oids[list->len++] = (struct snmp_oid){ ids, oid.len };
}

/* True if oid lies in one of the list's subtrees. */
static bool
list_covers(const struct list *list, struct snmp_oid oid)
{
	for (size_t i = 0; i < list->len; i++) {
		if (snmp_oid_is_under(oid, list->oids[i]))
			return true;
	}
	return false;
}

/* Takes the place of subtrees that lie in it. */
static void
add_root(struct list *roots, struct snmp_oid root)
{
	size_t kept = 0;

	for (size_t i = 0; i < roots->len; i++) {
		if (!snmp_oid_is_under(roots->oids[i], root))
			roots->oids[kept++] = roots->oids[i];
	}
	roots->len = kept;
	list_add(roots, root);
}

static const struct snmp_oid *
list_keep(const struct list *list)
{
	struct snmp_oid *oids = arena_array(&list->conf->arena, list->len, sizeof(*oids));

	if (oids != NULL && list->len > 0)
		memcpy(oids, list->oids, list->len * sizeof(*oids));
	return oids;
}

/* Adds what node names: single objects to gets. */
static void
read_object(const struct reading *r, const struct conf *node, struct list *gets, struct list *roots)
{
	struct snmp_oid_room room;

	if (!snmp_names_parse(r->conf->names, node->text, &room)) {
		conf_complain(r->report, node, "neither a number nor a known name: '%.*s'",
		    (int)(node->text.len < 100 ? node->text.len : 100), node->text.p);
		return;
	}
	/* "sysUpTime.0" has nothing below it to walk. */
	if (roots == NULL || room.ids[room.len - 1] == 0)
		list_add(gets, snmp_oid_of(&room));
	else if (!list_covers(roots, snmp_oid_of(&room)))
		add_root(roots, snmp_oid_of(&room));
}

/* The same for a text or a list of them; NULL is fine. */
static void
read_objects(
    const struct reading *r, const struct conf *node, struct list *gets, struct list *roots)
{
	if (node != NULL && node->shape == CONF_SCALAR)
		read_object(r, node, gets, roots);
	else if (node != NULL)
		for (const struct conf *c = node->first; c != NULL; c = c->next)
			read_object(r, c, gets, roots);
}

static void
add_lookup(void *ctx, struct snmp_oid column)
{
	struct list *roots = ctx;

	if (!list_covers(roots, column))
		list_add(roots, column);
}

/* sysUpTime goes along anyhow, and what is in a subtree needs no asking for. */
static void
drop_needless_gets(struct list *gets, const struct list *roots)
{
	size_t kept = 0;

	for (size_t i = 0; i < gets->len; i++) {
		if (snmp_oid_cmp(gets->oids[i], snmp_uptime) != 0 &&
		    !list_covers(roots, gets->oids[i]))
			gets->oids[kept++] = gets->oids[i];
	}
	gets->len = kept;
}

static void
make_plan(const struct reading *r, struct list *gets, struct list *roots)
{
	struct snmp_conf *conf = r->conf;
	struct snmp_plan *plan = &conf->plan;

	drop_needless_gets(gets, roots);
	conf->uptime_walked = list_covers(roots, snmp_uptime);
	plan->v1 = conf->version == SNMP_V1;
	plan->root_count = roots->len;
	for (size_t i = 0; i < plan->root_count; i++)
		snmp_names_lookups(conf->names, roots->oids[i], add_lookup, roots);
	for (size_t i = 0; i < gets->len; i++)
		snmp_names_lookups(conf->names, gets->oids[i], add_lookup, roots);
	plan->lookup_count = roots->len - plan->root_count;
	plan->get_count = gets->len;
	plan->gets = list_keep(gets);
	plan->roots = list_keep(roots);
	if (gets->failed || roots->failed || plan->gets == NULL || plan->roots == NULL)
		conf_complain(
		    r->report, r->options, "out of memory, or more than %d objects", OBJECTS_MOST);
}

static void
read_plan(const struct reading *r)
{
	static const char *const usual[] = { "system", "ifTable", "ifXTable" };
	const struct conf *walk = conf_child(r->options, "walk");
	const struct conf *get = conf_child(r->options, "get");
	struct list *gets = calloc(1, sizeof(*gets)), *roots = calloc(1, sizeof(*roots));

	if (gets == NULL || roots == NULL) {
		conf_complain(r->report, NULL, "out of memory");
		goto out;
	}
	gets->conf = roots->conf = r->conf;
	read_objects(r, get, gets, NULL);
	read_objects(r, walk, gets, roots);
	for (size_t i = 0; walk == NULL && get == NULL && i < ARRAY_LEN(usual); i++) {
		struct snmp_oid_room room;

		if (snmp_names_parse(r->conf->names, str_of(usual[i]), &room))
			list_add(roots, snmp_oid_of(&room));
	}
	make_plan(r, gets, roots);
out:
	free(gets);
	free(roots);
}

/* False: there are none to go on with. */
static bool
read_names(const struct reading *r)
{
	const struct conf *list = conf_child(r->options, "names");
	struct snmp_conf *conf = r->conf;

	conf->names = snmp_names_standard();
	if (conf->names == NULL) {
		conf_complain(r->report, NULL, "out of memory");
		return false;
	}
	if (list == NULL)
		return true;
	conf->own_names = snmp_names_extend(conf->names, list, r->report);
	conf->names = conf->own_names;
	return conf->names != NULL;
}

/* All but the secrets. NULL with complaints. */
static struct snmp_conf *
read_options(const struct conf *options, struct conf_report *report)
{
	struct reading r = { calloc(1, sizeof(struct snmp_conf)), options, report };
	size_t before = report->count;

	if (r.conf == NULL) {
		conf_complain(report, NULL, "out of memory");
		return NULL;
	}
	arena_init(&r.conf->arena, 0);
	r.conf->max_repetitions = (unsigned)conf_int(options, snmp_opts, "maxRepetitions");
	r.conf->retries = (unsigned)conf_int(options, snmp_opts, "retries");
	r.conf->timeout_ns = conf_duration_ns(options, snmp_opts, "timeout");
	r.conf->version = (enum snmp_version)read_word(&r, "version", versions, SNMP_V2C);
	r.conf->auth = (enum snmp_auth)read_word(&r, "authProtocol", auths, SNMP_SHA);
	r.conf->priv = (enum snmp_priv)read_word(&r, "privProtocol", privs, SNMP_AES128);
	if (r.conf->version == SNMP_V3)
		read_v3(&r);
	else
		check_community(&r);
	if (read_names(&r))
		read_plan(&r);
	if (report->count == before)
		return r.conf;
	snmp_conf_free(r.conf);
	return NULL;
}

void
snmp_conf_check(const struct conf *options, struct conf_report *report)
{
	snmp_conf_free(read_options(options, report));
}

/* Secrets. */

/* It is there, as was checked, but what it refers to may be anything. */
static int
read_password(
    const struct conf *options, const char *name, bool deny_files, char **out, struct err *err)
{
	if (conf_secret_for(options, name, deny_files, out, err) != 0)
		return -1;
	if (strlen(*out) >= PASSWORD_LEAST_BYTES)
		return 0;
	err_set(err, ERR_CONFIG, "%s is shorter than %d bytes", name, PASSWORD_LEAST_BYTES);
	return -1;
}

static int
read_community(struct snmp_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	if (conf_secret_for(options, "community", deny_files, &conf->community, err) != 0)
		return -1;
	if (conf->community == NULL)
		conf->community = str_dup(STR("public"));
	if (conf->community == NULL) {
		err_nomem(err);
		return -1;
	}
	if (strlen(conf->community) > COMMUNITY_MOST_BYTES) {
		err_set(err, ERR_CONFIG, "community is longer than %d bytes", COMMUNITY_MOST_BYTES);
		return -1;
	}
	return 0;
}

static int
read_secrets(struct snmp_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	if (conf->version != SNMP_V3)
		return read_community(conf, options, deny_files, err);
	if (conf->level >= SNMP_AUTH &&
	    read_password(options, "authPassword", deny_files, &conf->auth_password, err) != 0)
		return -1;
	if (conf->level == SNMP_AUTH_PRIV &&
	    read_password(options, "privPassword", deny_files, &conf->priv_password, err) != 0)
		return -1;
	return 0;
}

struct snmp_conf *
snmp_conf_new(const struct conf *options, bool deny_files, struct err *err)
{
	struct conf_report report;
	struct snmp_conf *conf;

	conf_report_init(&report, "options");
	conf = read_options(options, &report);
	if (conf == NULL)
		conf_report_err(&report, err);
	conf_report_fini(&report);
	if (conf == NULL || read_secrets(conf, options, deny_files, err) == 0)
		return conf;
	snmp_conf_free(conf);
	return NULL;
}

void
snmp_conf_free(struct snmp_conf *conf)
{
	if (conf == NULL)
		return;
	conf_secret_free(conf->community);
	conf_secret_free(conf->auth_password);
	conf_secret_free(conf->priv_password);
	snmp_names_free(conf->own_names);
	arena_fini(&conf->arena);
	free(conf);
}
