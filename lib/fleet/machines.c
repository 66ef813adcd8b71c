#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

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
	struct target *agent;   /* its health agent, as the list has it */
	bool listed;            /* still on the list; otherwise kept for when it comes back */
	bool is_own;            /* this very host */
	struct app_state *apps; /* those it has had announced of late */
	size_t app_count;
	struct machine_state *next_forgotten;
};

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
	target_unref(state->agent);
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
	if (fleet->interfaces != NULL)
		freeifaddrs(fleet->interfaces);
}

void
machines_look_at_interfaces(struct fleet *fleet)
{
	if (fleet->interfaces != NULL)
		freeifaddrs(fleet->interfaces);
	if (getifaddrs(&fleet->interfaces) != 0)
		fleet->interfaces = NULL; /* then no machine is this host */
}

/* The application is polled no more for this origin. */
static void
unwant(struct fleet *fleet, const struct target *agent, struct str app, enum origin origin)
{
	struct err err;

	if (member_want(fleet, agent->host, app, origin, NULL, &err) != 0)
		log_error("fleet", "endpoint stays as it was: %s", err.text);
}

static void
want(struct fleet *fleet, const struct target *agent, struct str app, enum origin origin,
    uint16_t port, bool tls)
{
	struct target proto = {
		.host = agent->host,
		.app = app,
		.address = agent->address,
		.port = port,
		/*
		 * Our own port may be open to this host alone; our metrics are at hand without it.
		 */
		.source = source_find(origin == ORIGIN_SELF ? STR("self") : STR("tricorder")),
		.interval_ns = fleet->frequency_ns,
		.region = agent->region,
		.doc = tls ? fleet->tls_doc : NULL,
		.options = tls ? fleet->tls_doc->root : NULL,
	};
	struct target *target = target_new(&proto);
	struct err err;

	if (target == NULL)
		err_nomem(&err);
	if (target == NULL || member_want(fleet, agent->host, app, origin, target, &err) != 0)
		fleet_refused(fleet, &err);
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

/* Has all of the machine's applications polled as things are now; its agent is already. */
static void
apply(struct fleet *fleet, const struct machine_state *state)
{
	const struct target *agent = state->agent;
	struct str own_app = str_of(fleet->own_app);

	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		want(fleet, agent, app->name, ORIGIN_HEALTH_CHECKS, app->port, app->tls);
	if (state->is_own && fleet->own_port != 0 && !announces_port(state, fleet->own_port))
		want(fleet, agent, own_app, ORIGIN_SELF, fleet->own_port, false);
	else
		unwant(fleet, agent, own_app, ORIGIN_SELF);
}

static void
withdraw(struct fleet *fleet, const struct machine_state *state)
{
	for (const struct app_state *app = state->apps; app != NULL; app = app->next)
		unwant(fleet, state->agent, app->name, ORIGIN_HEALTH_CHECKS);
	unwant(fleet, state->agent, str_of(fleet->own_app), ORIGIN_SELF);
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

void
machine_gone(struct fleet *fleet, struct str host)
{
	struct machine_state *state = map_get(&fleet->machines, host);

	if (state == NULL || !state->listed)
		return;
	state->listed = false;
	withdraw(fleet, state);
	fleet->machine_count--;
}

/* The machine's state, made if need be; NULL when out of memory. */
static struct machine_state *
state_get(struct fleet *fleet, const struct target *agent)
{
	struct machine_state *state = map_get(&fleet->machines, agent->host);

	if (state != NULL)
		return state;
	state = calloc(1, sizeof(*state));
	/* The key is the target's own text, and goes with it: see machine_set. */
	if (state == NULL || map_put(&fleet->machines, agent->host, state) != 0) {
		free(state);
		return NULL;
	}
	return state;
}

int
machine_set(struct fleet *fleet, struct target *agent, struct err *err)
{
	struct machine_state *state = state_get(fleet, agent);

	/* The key moves to the new target's text; replacing a value takes no memory. */
	if (state == NULL || map_put(&fleet->machines, agent->host, state) != 0) {
		err_nomem(err);
		return -1;
	}
	target_unref(state->agent);
	state->agent = target_ref(agent);
	if (!state->listed)
		fleet->machine_count++;
	state->listed = true;
	state->is_own = is_own_address(agent->address, fleet->interfaces);
	apply(fleet, state);
	return 0;
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
		    member_find(fleet, state->agent->host, STR(HEALTH_AGENT)) != NULL)
			continue;
		state->next_forgotten = forgotten;
		forgotten = state;
	}
	while ((state = forgotten) != NULL) {
		forgotten = state->next_forgotten;
		map_del(&fleet->machines, state->agent->host);
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
		unwant(fleet, state->agent, app->name, ORIGIN_HEALTH_CHECKS);
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
	    announced_read(batch, &seen->arena, &seen->apps, &seen->len) == 0)
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
