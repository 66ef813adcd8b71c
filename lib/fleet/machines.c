#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet_priv.h"
#include "sources/resolver.h"

/* An application missing from so many observations in a row is gone; upstream's number. */
#define STRIKES 3

/* An application that a health agent has announced. */
struct app_state {
	struct app_state *next;
	uint16_t port;
	bool tls;
	unsigned misses; /* observations in a row without it */
	bool seen;       /* in the observation at hand */
	struct str name; /* stored behind the struct */
};

struct machine_state {
	struct machine machine; /* text points behind the struct */
	bool listed;            /* still on the list; otherwise kept for when it comes back */
	bool is_own;            /* this very host */
	struct app_state *apps; /* those it has had announced of late */
	size_t app_count;
	struct machine_state *next_forgotten;
};

static struct machine_state *
state_new(const struct machine *machine)
{
	size_t bytes = machine->host.len + machine->ip.len + machine->region.len;
	struct machine_state *state = calloc(1, sizeof(*state) + bytes + 1);
	char *room;

	if (state == NULL)
		return NULL;
	room = (char *)(state + 1);
	memcpy(room, machine->host.p, machine->host.len);
	memcpy(room + machine->host.len, machine->ip.p, machine->ip.len);
	memcpy(room + machine->host.len + machine->ip.len, machine->region.p, machine->region.len);
	state->machine.host = (struct str){ room, machine->host.len };
	state->machine.ip = (struct str){ room + machine->host.len, machine->ip.len };
	state->machine.region =
	    (struct str){ room + machine->host.len + machine->ip.len, machine->region.len };
	return state;
}

static void
state_free(struct machine_state *state)
{
	struct app_state *app;

	if (state == NULL)
		return;
	while ((app = state->apps) != NULL) {
		state->apps = app->next;
		free(app);
	}
	free(state);
}

void
machines_init(struct fleet *fleet)
{
	map_init(&fleet->machines);
}

void
machines_fini(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	while ((entry = map_next(&fleet->machines, &pos)) != NULL)
		state_free(entry->value);
	map_fini(&fleet->machines);
	machine_list_free(fleet->mdb);
}

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

/* The application is polled no more for this origin. */
static void
unwant(struct fleet *fleet, const struct machine *machine, struct str app, enum origin origin)
{
	struct err err;

	if (member_want(fleet, machine->host, app, origin, NULL, &err) != 0)
		log_error("fleet", "endpoint stays as it was: %s", err.text);
}

static void
want(struct fleet *fleet, const struct machine *machine, struct str app, enum origin origin,
    uint16_t port, bool tls)
{
	struct target proto = {
		.host = machine->host,
		.app = app,
		.address = address_of(machine),
		.port = port,
		/*
		 * Our own port may be open to this host alone; our metrics are at hand without it.
		 */
		.source = source_find(origin == ORIGIN_SELF ? STR("self") : STR("tricorder")),
		.interval_ns = fleet->frequency_ns,
		.region = machine->region,
		.doc = tls ? fleet->tls_doc : NULL,
		.options = tls ? fleet->tls_doc->root : NULL,
	};
	struct target *target = target_new(&proto);
	struct err err;

	if (target == NULL)
		err_nomem(&err);
	/* One line stands for all, as the same is wrong with the next ones. */
	if ((target == NULL || member_want(fleet, machine->host, app, origin, target, &err) != 0) &&
	    fleet->refused_count++ == 0)
		log_error("fleet", "not polled, maybe others as well: %s; trying again", err.text);
	target_unref(target);
}

static bool
announces_port(const struct machine_state *state, uint16_t port)
{
	for (const struct app_state *app = state->apps; app != NULL; app = app->next) {
		if (app->port == port)
			return true;
	}
	return false;
}

/* Has all of the machine's applications polled as things are now. */
static void
apply(struct fleet *fleet, const struct machine_state *state)
{
	const struct machine *machine = &state->machine;
	struct str own_app = str_of(fleet->own_app);

	want(fleet, machine, STR(HEALTH_AGENT), ORIGIN_MDB, HEALTH_AGENT_PORT, false);
	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		want(fleet, machine, app->name, ORIGIN_HEALTH_CHECKS, app->port, app->tls);
	if (state->is_own && fleet->own_port != 0 && !announces_port(state, fleet->own_port))
		want(fleet, machine, own_app, ORIGIN_SELF, fleet->own_port, false);
	else
		unwant(fleet, machine, own_app, ORIGIN_SELF);
}

static void
withdraw(struct fleet *fleet, const struct machine_state *state)
{
	const struct machine *machine = &state->machine;

	unwant(fleet, machine, STR(HEALTH_AGENT), ORIGIN_MDB);
	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		unwant(fleet, machine, app->name, ORIGIN_HEALTH_CHECKS);
	unwant(fleet, machine, str_of(fleet->own_app), ORIGIN_SELF);
}

static bool
is_own_address(struct str ip, const struct ifaddrs *interfaces)
{
	struct net_addr addr;

	if (!resolver_numeric(ip, &addr))
		return false;
	for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
		const void *own;

		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != addr.family)
			continue;
		own = addr.family == AF_INET
		          ? (const void *)&((const struct sockaddr_in *)(const void *)i->ifa_addr)
		                ->sin_addr
		          : (const void *)&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)
		                ->sin6_addr;
		if (memcmp(own, addr.bytes, addr.family == AF_INET ? 4 : 16) == 0)
			return true;
	}
	return false;
}

static void
machine_gone(struct fleet *fleet, const struct machine *machine)
{
	struct machine_state *state = map_get(&fleet->machines, machine->host);

	if (state == NULL || !state->listed)
		return;
	state->listed = false;
	withdraw(fleet, state);
	fleet->machine_count--;
}

/* A machine that is new or back, or has another address or region. -1 with err. */
static int
machine_set(struct fleet *fleet, const struct machine *machine, const struct ifaddrs *interfaces,
    struct err *err)
{
	struct machine_state *old = map_get(&fleet->machines, machine->host);
	struct machine_state *state = state_new(machine);

	if (state == NULL || map_put(&fleet->machines, state->machine.host, state) != 0) {
		state_free(state);
		err_nomem(err);
		return -1;
	}
	state->listed = true;
	state->is_own = is_own_address(machine->ip, interfaces);
	if (old == NULL || !old->listed)
		fleet->machine_count++;
	if (old != NULL) {
		state->apps = old->apps;
		state->app_count = old->app_count;
		old->apps = NULL;
		state_free(old);
	}
	apply(fleet, state);
	return 0;
}

static bool
same_machine(const struct machine *a, const struct machine *b)
{
	return str_eq(a->ip, b->ip) && str_eq(a->region, b->region);
}

/*
 * Applies the difference between the list applied last and the new one; both are sorted. *changes
 * counts machines that came, went or changed. -1 with err: some may be applied.
 */
static int
apply_list(struct fleet *fleet, const struct machine_list *list, const struct ifaddrs *interfaces,
    size_t *changes, struct err *err)
{
	const struct machine *old = fleet->mdb == NULL ? NULL : fleet->mdb->machines;
	const struct machine *old_end = fleet->mdb == NULL ? NULL : old + fleet->mdb->len;
	const struct machine *new = list->machines, *new_end = new + list->len;

	while (old != old_end || new != new_end) {
		int order = old == old_end   ? 1
		            : new == new_end ? -1
		                             : str_cmp(old->host, new->host);

		if (order < 0) {
			machine_gone(fleet, old);
			++*changes;
		} else if (order > 0 || !same_machine(old, new)) {
			if (machine_set(fleet, new, interfaces, err) != 0)
				return -1;
			++*changes;
		}
		if (order <= 0)
			old++;
		if (order >= 0)
			new ++;
	}
	return 0;
}

static double
ms_since(int64_t start_ns)
{
	return (double)(clock_mono_ns() - start_ns) / (double)NS_PER_MS;
}

/* Makes list, which it takes, the one in force. -1 with err. */
static int
use_list(struct fleet *fleet, struct machine_list *list, struct err *err)
{
	struct ifaddrs *interfaces = NULL;
	size_t changes = 0;
	int rc;

	if (getifaddrs(&interfaces) != 0)
		interfaces = NULL; /* then none of them is this host */
	rc = apply_list(fleet, list, interfaces, &changes, err);
	if (interfaces != NULL)
		freeifaddrs(interfaces);
	if (rc != 0) {
		machine_list_free(list);
		return -1;
	}
	if (changes > 0 || (fleet->mdb != NULL && fleet->mdb->skipped != list->skipped))
		log_info("fleet",
		    "machine list applied: file=%s machines=%zu changes=%zu skipped=%zu",
		    fleet->mdb_file, list->len, changes, list->skipped);
	machine_list_free(fleet->mdb);
	fleet->mdb = list;
	return 0;
}

int
machines_read(struct fleet *fleet, struct err *err)
{
	int64_t start_ns = clock_mono_ns();
	struct machine_list *list = mdb_load(fleet->mdb_file, err);
	int rc;

	if (list == NULL)
		return -1;
	own_dist_add(fleet->decode_ms, ms_since(start_ns));
	start_ns = clock_mono_ns();
	rc = use_list(fleet, list, err);
	own_dist_add(fleet->compare_ms, ms_since(start_ns));
	return rc;
}

void
machines_clear(struct fleet *fleet)
{
	const struct machine_list *list = fleet->mdb;

	if (list == NULL)
		return;
	for (size_t i = 0; i < list->len; i++)
		machine_gone(fleet, &list->machines[i]);
	machine_list_free(fleet->mdb);
	fleet->mdb = NULL;
}

void
machines_refresh(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	while ((entry = map_next(&fleet->machines, &pos)) != NULL) {
		const struct machine_state *state = entry->value;

		if (state->listed)
			apply(fleet, state);
	}
}

void
machines_forget(struct fleet *fleet)
{
	struct machine_state *forgotten = NULL, *state;
	const struct map_entry *entry;
	size_t pos = 0;

	if (fleet->machines.len == fleet->machine_count)
		return;
	while ((entry = map_next(&fleet->machines, &pos)) != NULL) {
		state = entry->value;
		if (state->listed ||
		    member_find(fleet, state->machine.host, STR(HEALTH_AGENT)) != NULL)
			continue;
		state->next_forgotten = forgotten;
		forgotten = state;
	}
	while ((state = forgotten) != NULL) {
		forgotten = state->next_forgotten;
		map_del(&fleet->machines, state->machine.host);
		state_free(state);
	}
}

static struct app_state *
find_app(struct machine_state *state, struct str name)
{
	for (struct app_state *app = state->apps; app != NULL; app = app->next) {
		if (str_eq(app->name, name))
			return app;
	}
	return NULL;
}

/* NULL when out of memory, or the machine has too many. */
static struct app_state *
add_app(struct machine_state *state, struct str name)
{
	struct app_state *app;

	if (state->app_count == ANNOUNCED_COUNT_MAX)
		return NULL;
	app = calloc(1, sizeof(*app) + name.len + 1);
	if (app == NULL)
		return NULL;
	memcpy(app + 1, name.p, name.len);
	app->name = (struct str){ (const char *)(app + 1), name.len };
	app->next = state->apps;
	state->apps = app;
	state->app_count++;
	return app;
}

/* Notes one announcement; true if it changes anything. */
static bool
announce(struct machine_state *state, const struct announced *announced)
{
	struct app_state *app = find_app(state, announced->name);
	bool changed;

	if (app == NULL && (app = add_app(state, announced->name)) == NULL)
		return false; /* the next observation tries again */
	changed = app->port != announced->port || app->tls != announced->tls;
	app->port = announced->port;
	app->tls = announced->tls;
	app->misses = 0;
	app->seen = true;
	return changed;
}

/* Ends those that have been missing for too long; true if there are any. */
static bool
strike(struct fleet *fleet, struct machine_state *state)
{
	struct app_state **at = &state->apps;
	bool changed = false;

	while (*at != NULL) {
		struct app_state *app = *at;

		if (app->seen || ++app->misses < STRIKES) {
			app->seen = false;
			at = &app->next;
			continue;
		}
		unwant(fleet, &state->machine, app->name, ORIGIN_HEALTH_CHECKS);
		*at = app->next;
		state->app_count--;
		free(app);
		changed = true;
	}
	return changed;
}

void
machines_observe(struct fleet *fleet, const struct observation *seen)
{
	struct machine_state *state = map_get(&fleet->machines, seen->host);
	const struct member *agent = member_find(fleet, seen->host, STR(HEALTH_AGENT));
	bool changed = false;

	/* An agent that somebody registered in place of the list's may announce nothing. */
	if (state == NULL || !state->listed || agent == NULL || agent->origin != ORIGIN_MDB)
		return;
	for (size_t i = 0; i < seen->len; i++) {
		if (!str_eq(seen->apps[i].name, STR(HEALTH_AGENT)))
			changed |= announce(state, &seen->apps[i]);
	}
	changed |= strike(fleet, state);
	if (changed)
		apply(fleet, state);
}

struct observation *
observation_new(struct str host, const struct batch *batch)
{
	struct observation *seen = calloc(1, sizeof(*seen));

	if (seen == NULL)
		return NULL;
	arena_init(&seen->arena, 0);
	seen->host = arena_copy(&seen->arena, host);
	if (seen->host.p != NULL &&
	    discovery_read(batch, &seen->arena, &seen->apps, &seen->len) == 0)
		return seen;
	observation_free(seen);
	return NULL;
}

void
observation_free(struct observation *seen)
{
	if (seen == NULL)
		return;
	arena_fini(&seen->arena);
	free(seen);
}
