#include "fleet/mdb_priv.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/files_priv.h"
#include "fleet/fleet_priv.h"
#include "fleet/target_conf_priv.h"

#define MDB_DEPTH 32

static struct json_object *
member_nocase(struct json_object *object, const char *name)
{
	struct json_object_iterator it, end;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	it = json_object_iter_begin(object);
	end = json_object_iter_end(object);
	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		if (str_eq_nocase(str_of(json_object_iter_peek_name(&it)), str_of(name)))
			return json_object_iter_peek_value(&it);
	}
	return NULL;
}

/* The text of a string member, empty if there is none or it can't be a name. */
static struct str
text_of(struct json_object *object, const char *key, enum name_use use)
{
	struct json_object *node = member_nocase(object, key);
	struct str text;

	if (!json_object_is_type(node, json_type_string))
		return STR_EMPTY;
	text =
	    (struct str){ json_object_get_string(node), (size_t)json_object_get_string_len(node) };
	return name_fault(text, use) == NULL ? text : STR_EMPTY;
}

static int
by_host(const void *a, const void *b)
{
	const struct machine *x = a, *y = b;
	int order = str_cmp(x->host, y->host);

	/* Of several, the first in the file counts. */
	return order != 0 ? order : x->place < y->place ? -1 : 1;
}

/* False if the element names no host to connect to; then *out stays as it was. */
static bool
read_machine(struct json_object *element, struct machine *out)
{
	struct machine machine = {
		.host = text_of(element, "Hostname", NAME_IDENTITY),
		.ip = text_of(element, "IpAddress", NAME_OTHER),
		.region = text_of(member_nocase(element, "AwsMetadata"), "Region", NAME_OTHER),
	};

	/* See address_of: the name counts up to its first '*'. */
	if (machine.host.len == 0 || (machine.ip.len == 0 && machine.host.p[0] == '*'))
		return false;
	*out = machine;
	return true;
}

/* Has the machine's text in the arena, so that it outlives the JSON. -1 when out of memory. */
static int
keep_text(struct arena *arena, struct machine *machine)
{
	machine->host = arena_copy(arena, machine->host);
	machine->ip = arena_copy(arena, machine->ip);
	machine->region = arena_copy(arena, machine->region);
	return machine->host.p == NULL || machine->ip.p == NULL || machine->region.p == NULL ? -1
	                                                                                     : 0;
}

static int
read_machines(struct machine_list *list, struct json_object *array, struct err *err)
{
	size_t n = json_object_array_length(array), found = 0;

	list->machines = calloc(n + 1, sizeof(*list->machines));
	if (list->machines == NULL)
		goto nomem;
	for (size_t i = 0; i < n; i++) {
		if (read_machine(json_object_array_get_idx(array, i), &list->machines[found]))
			list->machines[found++].place = i;
	}
	qsort(list->machines, found, sizeof(*list->machines), by_host);
	for (size_t i = 0; i < found; i++) {
		struct machine *machine = &list->machines[list->len];

		if (i > 0 && str_eq(list->machines[i].host, machine[-1].host))
			continue;
		*machine = list->machines[i];
		if (keep_text(&list->arena, machine) != 0)
			goto nomem;
		list->len++;
	}
	list->skipped = n - list->len;
	return 0;
nomem:
	err_nomem(err);
	return -1;
}

/* The whole of text as a JSON array, to be put; NULL with err. */
static struct json_object *
parse_array(struct json_tokener *tokener, struct str text, struct err *err)
{
	struct json_object *root = json_tokener_parse_ex(tokener, text.p, (int)text.len);
	enum json_tokener_error error = json_tokener_get_error(tokener);
	size_t end = json_tokener_get_parse_end(tokener);

	if (error == json_tokener_continue)
		err_set(err, ERR_PROTO, "not JSON: ends in the middle, at byte %zu", text.len);
	else if (error != json_tokener_success)
		err_set(err, ERR_PROTO, "not JSON at byte %zu: %s", end,
		    json_tokener_error_desc(error));
	else if (str_trim(str_sub(text, end, text.len)).len > 0)
		err_set(err, ERR_PROTO, "not JSON at byte %zu: text after the end", end);
	else if (!json_object_is_type(root, json_type_array))
		err_set(err, ERR_PROTO, "not a list of machines");
	else
		return root;
	json_object_put(root);
	return NULL;
}

struct machine_list *
mdb_parse(struct str text, struct err *err)
{
	struct json_tokener *tokener = NULL;
	struct machine_list *list = NULL;
	struct json_object *root;
	int rc = -1;

	if (text.len > MDB_BYTES_MAX) {
		err_set(err, ERR_LIMIT, "larger than %u MiB", MDB_BYTES_MAX >> 20);
		return NULL;
	}
	list = calloc(1, sizeof(*list));
	tokener = json_tokener_new_ex(MDB_DEPTH);
	if (list == NULL || tokener == NULL) {
		err_nomem(err);
		goto out;
	}
	arena_init(&list->arena, 0);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = parse_array(tokener, text, err);
	if (root != NULL)
		rc = read_machines(list, root, err);
	json_object_put(root);
out:
	if (tokener != NULL)
		json_tokener_free(tokener);
	if (rc == 0)
		return list;
	machine_list_free(list);
	return NULL;
}

void
machine_list_free(struct machine_list *list)
{
	if (list == NULL)
		return;
	arena_fini(&list->arena);
	free(list->machines);
	free(list);
}

/* --- as a discoverer ------------------------------------------------------------------------- */

struct mdb {
	struct discoverer discoverer;
	struct discovery *discovery;
	struct files *files;
	size_t skipped; /* in the list before */
};

static const struct conf_opt mdb_opts[] = {
	{ "mdb", CONF_TEXT, NULL, "machine list (JSON)", 0, 0 },
	{ .name = NULL },
};

/*
 * The address if the list gives one, else the name up to a '*': names like web1*9001 make several
 * machines of one host.
 */
static struct str
address_of(const struct machine *machine)
{
	const char *star = memchr(machine->host.p, '*', machine->host.len);

	if (machine->ip.len > 0)
		return machine->ip;
	return star == NULL ? machine->host
	                    : str_sub(machine->host, 0, (size_t)(star - machine->host.p));
}

/* The health agents of all machines, in out. */
static int
list_agents(
    const struct machine_list *list, int64_t interval_ns, struct target_list *out, struct err *err)
{
	for (size_t i = 0; i < list->len; i++) {
		const struct machine *machine = &list->machines[i];
		struct target proto = {
			.host = machine->host,
			.app = STR(HEALTH_AGENT),
			.address = address_of(machine),
			.port = HEALTH_AGENT_PORT,
			.source = source_find(STR("tricorder")),
			.interval_ns = interval_ns,
			.region = machine->region,
		};

		/* A machine of several lists is the first one's, wherever they say that it is. */
		if (target_list_add(out, target_new(&proto), 0, err) != 0)
			return -1;
	}
	return 0;
}

static double
ms_since(int64_t start_ns)
{
	return (double)(clock_mono_ns() - start_ns) / (double)NS_PER_MS;
}

static int
yield(struct mdb *mdb, const char *path, const struct machine_list *list, struct err *err)
{
	struct fleet *fleet = mdb->discovery->fleet;
	struct target_list agents;
	int rc;

	target_list_init(&agents);
	rc = list_agents(list, mdb->discovery->defaults.interval_ns, &agents, err);
	if (rc == 0) {
		machines_look_at_interfaces(fleet);
		rc = discovery_yield(mdb->discovery, path, &agents, err);
	}
	target_list_fini(&agents);
	if (rc == 0 && list->skipped != mdb->skipped) {
		log_warn("fleet", "machine list: file=%s machines=%zu skipped=%zu", path, list->len,
		    list->skipped);
		mdb->skipped = list->skipped;
	}
	return rc;
}

static int
take(void *ctx, const char *path, struct str text, struct err *err)
{
	struct mdb *mdb = ctx;
	struct fleet *fleet = mdb->discovery->fleet;
	int64_t start_ns = clock_mono_ns();
	struct machine_list *list = mdb_parse(text, err);
	int rc;

	if (list == NULL)
		return -1;
	own_dist_add(fleet->decode_ms, ms_since(start_ns));
	start_ns = clock_mono_ns();
	rc = yield(mdb, path, list, err);
	own_dist_add(fleet->compare_ms, ms_since(start_ns));
	machine_list_free(list);
	return rc;
}

static void
confirm(void *ctx)
{
	discovery_confirm(((struct mdb *)ctx)->discovery);
}

static void
failed(void *ctx)
{
	discovery_failed(((struct mdb *)ctx)->discovery);
}

static void
mdb_close(struct discoverer *discoverer)
{
	struct mdb *mdb = CONTAINER_OF(discoverer, struct mdb, discoverer);

	files_free(mdb->files);
	free(mdb);
}

static struct discoverer *
mdb_open(struct discovery *discovery, struct err *err)
{
	struct str path = conf_text(discovery->conf, mdb_opts, "mdb");
	struct mdb *mdb = calloc(1, sizeof(*mdb));
	struct files_user user = { take, confirm, failed, NULL, mdb, "machine list",
		MDB_BYTES_MAX };

	if (mdb == NULL) {
		err_nomem(err);
		return NULL;
	}
	mdb->discoverer.ops = &discoverer_mdb;
	mdb->discovery = discovery;
	mdb->files = files_new(
	    discovery->fleet->loop, &discovery->fleet->registry_lock, &path, 1, true, &user, err);
	if (mdb->files == NULL) {
		mdb_close(&mdb->discoverer);
		return NULL;
	}
	files_scan(mdb->files, true);
	return &mdb->discoverer;
}

static void
mdb_refresh(struct discoverer *discoverer)
{
	files_scan(CONTAINER_OF(discoverer, struct mdb, discoverer)->files, true);
}

static void
mdb_check(const struct conf *entry, struct conf_report *report)
{
	if (conf_text(entry, mdb_opts, "mdb").len == 0)
		conf_complain(report, entry, "'mdb' must name a file");
}

const struct discoverer_ops discoverer_mdb = {
	.key = "mdb",
	.help = "machine list, as mdbFile",
	.origin = ORIGIN_MDB,
	.opts = mdb_opts,
	.check = mdb_check,
	.open = mdb_open,
	.refresh = mdb_refresh,
	.close = mdb_close,
};
