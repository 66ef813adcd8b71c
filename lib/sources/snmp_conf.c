#include "sources/snmp_conf_priv.h"

#include <stdlib.h>

#include "base/clock.h"

#define PASSWORD_LEAST_BYTES 8 /* RFC 3414 section 11.2 */
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

/* The word that the option called name holds. -1 with ERR_CONFIG. */
static int
read_word(const struct conf *options, const char *name, const struct word *words, int *out,
    struct err *err)
{
	struct str text = conf_text(options, snmp_opts, name);

	for (; words->text != NULL; words++) {
		if (str_eq_nocase(text, str_of(words->text))) {
			*out = words->value;
			return 0;
		}
	}
	err_set(err, ERR_CONFIG, "%s: no such one: '%.*s'", name,
	    (int)(text.len < 50 ? text.len : 50), text.p == NULL ? "" : text.p);
	return -1;
}

static int
read_secret(
    const struct conf *options, const char *name, bool deny_files, char **out, struct err *err)
{
	const struct conf *node = conf_child(options, name);

	if (deny_files && node != NULL && node->shape == CONF_MAP) {
		err_set(err, ERR_DENIED,
		    "%s: who registers from another host must write the secret itself", name);
		return -1;
	}
	return conf_secret(options, name, out, err);
}

static int
read_password(
    const struct conf *options, const char *name, bool deny_files, char **out, struct err *err)
{
	if (read_secret(options, name, deny_files, out, err) != 0)
		return -1;
	if (*out == NULL)
		err_set(err, ERR_CONFIG, "%s is missing", name);
	else if (strlen(*out) < PASSWORD_LEAST_BYTES)
		err_set(err, ERR_CONFIG, "%s is shorter than %d bytes", name, PASSWORD_LEAST_BYTES);
	else
		return 0;
	return -1;
}

static int
read_level(struct snmp_conf *conf, const struct conf *options, struct err *err)
{
	int level = SNMP_NO_AUTH;

	if (conf_child(options, "level") != NULL) {
		if (read_word(options, "level", levels, &level, err) != 0)
			return -1;
	} else if (conf_child(options, "privPassword") != NULL) {
		level = SNMP_AUTH_PRIV;
	} else if (conf_child(options, "authPassword") != NULL) {
		level = SNMP_AUTH;
	}
	conf->level = (enum snmp_level)level;
	return 0;
}

static int
read_v3(struct snmp_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	int auth, priv;

	conf->user = arena_copy(&conf->arena, conf_text(options, snmp_opts, "user"));
	conf->context = arena_copy(&conf->arena, conf_text(options, snmp_opts, "context"));
	if (conf->user.p == NULL || conf->context.p == NULL) {
		err_nomem(err);
		return -1;
	}
	if (conf->user.len == 0 || conf->user.len > 32 || conf->context.len > 32) {
		err_set(err, ERR_CONFIG,
		    "version 3 needs a user; it and context have 32 bytes at most");
		return -1;
	}
	if (read_level(conf, options, err) != 0 ||
	    read_word(options, "authProtocol", auths, &auth, err) != 0 ||
	    read_word(options, "privProtocol", privs, &priv, err) != 0)
		return -1;
	conf->auth = (enum snmp_auth)auth;
	conf->priv = (enum snmp_priv)priv;
	if (conf->level >= SNMP_AUTH &&
	    read_password(options, "authPassword", deny_files, &conf->auth_password, err) != 0)
		return -1;
	if (conf->level == SNMP_AUTH_PRIV &&
	    read_password(options, "privPassword", deny_files, &conf->priv_password, err) != 0)
		return -1;
	return 0;
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

/* Adds what node (a text or a list of them; NULL is fine) names: single objects to gets. */
static int
read_objects(const char *what, const struct conf *node, struct list *gets, struct list *roots,
    struct err *err)
{
	const struct conf *only = node != NULL && node->shape == CONF_SCALAR ? node : NULL;
	const struct conf *c = only != NULL || node == NULL ? only : node->first;

	for (; c != NULL; c = c == only ? NULL : c->next) {
		struct snmp_oid_room room;

		if (!snmp_names_parse(gets->conf->names, c->text, &room)) {
			err_set(err, ERR_CONFIG, "%s: neither a number nor a known name: '%.*s'",
			    what, (int)(c->text.len < 100 ? c->text.len : 100), c->text.p);
			return -1;
		}
		/* "sysUpTime.0" has nothing below it to walk. */
		if (roots == NULL || room.ids[room.len - 1] == 0)
			list_add(gets, snmp_oid_of(&room));
		else if (!list_covers(roots, snmp_oid_of(&room)))
			add_root(roots, snmp_oid_of(&room));
	}
	return 0;
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

static int
make_plan(struct snmp_conf *conf, struct list *gets, struct list *roots, struct err *err)
{
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
	if (gets->failed || roots->failed || plan->gets == NULL || plan->roots == NULL) {
		err_set(err, ERR_LIMIT, "out of memory, or more than %d objects", OBJECTS_MOST);
		return -1;
	}
	return 0;
}

static int
read_plan(struct snmp_conf *conf, const struct conf *options, struct err *err)
{
	static const char *const usual[] = { "system", "ifTable", "ifXTable" };
	const struct conf *walk = conf_child(options, "walk"), *get = conf_child(options, "get");
	struct list *gets = calloc(1, sizeof(*gets)), *roots = calloc(1, sizeof(*roots));
	int rc = -1;

	if (gets == NULL || roots == NULL) {
		err_nomem(err);
		goto out;
	}
	gets->conf = roots->conf = conf;
	if (read_objects("get", get, gets, NULL, err) != 0 ||
	    read_objects("walk", walk, gets, roots, err) != 0)
		goto out;
	for (size_t i = 0; walk == NULL && get == NULL && i < ARRAY_LEN(usual); i++) {
		struct snmp_oid_room room;

		if (snmp_names_parse(conf->names, str_of(usual[i]), &room))
			list_add(roots, snmp_oid_of(&room));
	}
	rc = make_plan(conf, gets, roots, err);
out:
	free(gets);
	free(roots);
	return rc;
}

static int
read_names(struct snmp_conf *conf, const struct conf *options, const struct snmp_names *standard,
    struct err *err)
{
	const struct conf *list = conf_child(options, "names");

	conf->names = standard;
	if (list == NULL)
		return 0;
	conf->own_names = snmp_names_extend(standard, list, err);
	conf->names = conf->own_names;
	return conf->own_names == NULL ? -1 : 0;
}

static int
read_community(struct snmp_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	if (read_secret(options, "community", deny_files, &conf->community, err) != 0)
		return -1;
	if (conf->community == NULL)
		conf->community = str_dup(STR("public"));
	if (conf->community == NULL) {
		err_nomem(err);
		return -1;
	}
	if (strlen(conf->community) > 255) {
		err_set(err, ERR_CONFIG, "community is longer than 255 bytes");
		return -1;
	}
	return 0;
}

struct snmp_conf *
snmp_conf_new(
    const struct conf *options, const struct snmp_names *standard, bool deny_files, struct err *err)
{
	struct snmp_conf *conf = calloc(1, sizeof(*conf));
	int version;

	if (conf == NULL) {
		err_nomem(err);
		return NULL;
	}
	arena_init(&conf->arena, 0);
	conf->max_repetitions = (unsigned)conf_int(options, snmp_opts, "maxRepetitions");
	conf->retries = (unsigned)conf_int(options, snmp_opts, "retries");
	conf->timeout_ns = conf_duration_ns(options, snmp_opts, "timeout");
	if (read_word(options, "version", versions, &version, err) != 0)
		goto failed;
	conf->version = (enum snmp_version)version;
	if (read_names(conf, options, standard, err) != 0 || read_plan(conf, options, err) != 0)
		goto failed;
	if ((version == SNMP_V3 ? read_v3(conf, options, deny_files, err)
	                        : read_community(conf, options, deny_files, err)) != 0)
		goto failed;
	return conf;
failed:
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
