#include <assert.h>
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
	bool active;
	unsigned misses;	/* observations in a row without it */
	bool seen;		/* in the observation at hand */
	struct str name;	/* stored behind the struct */
};

struct machine_state {
	struct machine machine;	/* text points behind the struct */
	bool is_own;		/* this very host */
	struct app_state *apps;
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

/* The address if the list gives one, else the name up to a '*': names like web1*9001 make several machines of one host. */
static struct str
address_of(const struct machine *machine)
{
	const char *star = memchr(machine->host.p, '*', machine->host.len);

	if (machine->ip.len > 0)
		return machine->ip;
	return star == NULL ? machine->host :
			      str_sub(machine->host, 0, (size_t)(star - machine->host.p));
}

/* Has the application polled, or no more (port 0). */
static void
want(struct fleet *fleet, const struct machine *machine, struct str app, enum origin origin,
    uint16_t port, bool tls)
{
	struct target proto = {
		.host = machine->host,
		.app = app,
		.address = address_of(machine),
		.port = port,
		.source = source_find(STR("tricorder")),
		.interval_ns = fleet->frequency_ns,
		.region = machine->region,
		.doc = tls ? fleet->tls_doc : NULL,
		.options = tls ? fleet->tls_doc->root : NULL,
	};
	struct target *target = NULL;
	struct err err;

	if (port != 0 && (target = target_new(&proto)) == NULL) {
		log_error("fleet", "out of memory: host=%.*s", STR_ARG(machine->host));
		return;
	}
	if (member_want(fleet, machine->host, app, origin, target, &err) != 0)
		log_error("fleet", "not polled: %s", err.text);
	target_unref(target);
}

static bool
announces_port(const struct machine_state *state, uint16_t port)
{
	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		if (app->active && app->port == port)
			return true;
	return false;
}

/* Has all of the machine's applications polled as things are now. */
static void
apply(struct fleet *fleet, const struct machine_state *state)
{
	const struct machine *machine = &state->machine;
	bool self = state->is_own && fleet->own_port != 0 && !announces_port(state, fleet->own_port);

	want(fleet, machine, STR(HEALTH_AGENT), ORIGIN_MDB, HEALTH_AGENT_PORT, false);
	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		want(fleet, machine, app->name, ORIGIN_HEALTH_CHECKS, app->active ? app->port : 0, app->tls);
	if (state->is_own)
		want(fleet, machine, str_of(fleet->own_app), ORIGIN_SELF, self ? fleet->own_port : 0, false);
}

static void
withdraw(struct fleet *fleet, const struct machine_state *state)
{
	const struct machine *machine = &state->machine;

	want(fleet, machine, STR(HEALTH_AGENT), ORIGIN_MDB, 0, false);
	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		want(fleet, machine, app->name, ORIGIN_HEALTH_CHECKS, 0, false);
	if (state->is_own)
		want(fleet, machine, str_of(fleet->own_app), ORIGIN_SELF, 0, false);
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
		own = addr.family == AF_INET ?
		    (const void *)&((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr :
		    (const void *)&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
		if (memcmp(own, addr.bytes, addr.family == AF_INET ? 4 : 16) == 0)
			return true;
	}
	return false;
}

static void
machine_gone(struct fleet *fleet, const struct machine *machine)
{
	struct machine_state *state = map_del(&fleet->machines, machine->host);

	if (state == NULL)
		return;
	withdraw(fleet, state);
	state_free(state);
	fleet->machine_count--;
}

/* A machine that is new, or has another address or region. */
static void
machine_set(struct fleet *fleet, const struct machine *machine, const struct ifaddrs *interfaces)
{
	struct machine_state *old = map_get(&fleet->machines, machine->host);
	struct machine_state *state = state_new(machine);

	if (state == NULL || map_put(&fleet->machines, state->machine.host, state) != 0) {
		log_error("fleet", "out of memory: machine left out: host=%.*s", STR_ARG(machine->host));
		state_free(state);
		return;
	}
	state->is_own = is_own_address(machine->ip, interfaces);
	if (old == NULL) {
		fleet->machine_count++;
	} else {
		state->apps = old->apps;
		old->apps = NULL;
		state_free(old);
	}
	apply(fleet, state);
}

/* The difference between the list applied and the new one; both are sorted. */
static void
apply_list(struct fleet *fleet, const struct machine_list *list, const struct ifaddrs *interfaces)
{
	const struct machine_list none = { .len = 0 };
	const struct machine_list *old = fleet->mdb == NULL ? &none : fleet->mdb;
	size_t i = 0, k = 0;

	while (i < old->len || k < list->len) {
		int order = i == old->len ? 1 :
		    k == list->len	  ? -1 :
					    str_cmp(old->machines[i].host, list->machines[k].host);

		if (order < 0) {
			machine_gone(fleet, &old->machines[i++]);
		} else if (order > 0) {
			machine_set(fleet, &list->machines[k++], interfaces);
		} else {
			if (!str_eq(old->machines[i].ip, list->machines[k].ip) ||
			    !str_eq(old->machines[i].region, list->machines[k].region))
				machine_set(fleet, &list->machines[k], interfaces);
			i++;
			k++;
		}
	}
}

static double
ms_since(int64_t start_ns)
{
	return (double)(clock_mono_ns() - start_ns) / (double)NS_PER_MS;
}

int
machines_read(struct fleet *fleet, struct err *err)
{
	int64_t start_ns = clock_mono_ns();
	struct machine_list *list = mdb_load(fleet->mdb_file, err);
	struct ifaddrs *interfaces = NULL;

	if (list == NULL)
		return -1;
	own_dist_add(fleet->decode_ms, ms_since(start_ns));
	start_ns = clock_mono_ns();
	if (getifaddrs(&interfaces) != 0)
		interfaces = NULL; /* then none of them is this host */
	apply_list(fleet, list, interfaces);
	if (interfaces != NULL)
		freeifaddrs(interfaces);
	own_dist_add(fleet->compare_ms, ms_since(start_ns));
	if (fleet->mdb == NULL || fleet->mdb->len != list->len)
		log_info("fleet", "machine list read: file=%s machines=%zu skipped=%zu", fleet->mdb_file,
		    list->len, list->skipped);
	machine_list_free(fleet->mdb);
	fleet->mdb = list;
	return 0;
}

void
machines_refresh(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	while ((entry = map_next(&fleet->machines, &pos)) != NULL)
		apply(fleet, entry->value);
}

static struct app_state *
find_app(struct machine_state *state, struct str name)
{
	for (struct app_state *app = state->apps; app != NULL; app = app->next)
		if (str_eq(app->name, name))
			return app;
	return NULL;
}

static struct app_state *
add_app(struct machine_state *state, struct str name)
{
	struct app_state *app = calloc(1, sizeof(*app) + name.len + 1);

	if (app == NULL)
		return NULL;
	memcpy(app + 1, name.p, name.len);
	app->name = (struct str){ (const char *)(app + 1), name.len };
	app->next = state->apps;
	state->apps = app;
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
	changed = !app->active || app->port != announced->port || app->tls != announced->tls;
	app->active = true;
	app->port = announced->port;
	app->tls = announced->tls;
	app->misses = 0;
	app->seen = true;
	return changed;
}

void
machines_observe(struct fleet *fleet, const struct observation *seen)
{
	struct machine_state *state = map_get(&fleet->machines, seen->host);
	bool changed = false;

	if (state == NULL)
		return;
	for (struct app_state *app = state->apps; app != NULL; app = app->next)
		app->seen = false;
	for (size_t i = 0; i < seen->len; i++)
		if (!str_eq(seen->apps[i].name, STR(HEALTH_AGENT)))
			changed |= announce(state, &seen->apps[i]);
	for (struct app_state *app = state->apps; app != NULL; app = app->next) {
		if (app->seen || !app->active || ++app->misses < STRIKES)
			continue;
		app->active = false;
		changed = true;
	}
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
