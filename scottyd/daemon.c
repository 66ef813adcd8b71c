#include "scottyd/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet.h"
#include "journal/journal.h"
#include "messages/own.h"
#include "poller/poller.h"
#include "pstore/writers.h"
#include "sources/http.h"
#include "sources/resolver.h"
#include "state/state.h"
#include "store/store.h"

struct daemon {
	struct own *own;
	struct store *store;
	struct state *state;     /* NULL: nothing is kept */
	struct journal *journal; /* NULL: nothing is kept on disk */
	struct resolver *resolver;
	struct pollers *pollers;
	struct fleet *fleet;
	struct writers *writers;
	char *state_dir; /* as at the start */
	/* Writers wait for endpoints to be known; monotonic clock. */
	_Atomic int64_t known_by_ns; /* 0: they are; NOT_STARTED: nobody looks for them yet */
	struct api *api;
};

static struct pollers_conf
pollers_conf_of(struct daemon *daemon, const struct config *config)
{
	return (struct pollers_conf){
		.threads = config->threads,
		.connections = config->connections,
		.polls = config->polls,
		.connect_timeout_ns = config->connect_timeout_ns,
		.poll_timeout_ns = config->poll_timeout_ns,
		.stale_after_ns = config->stale_after_ns,
		.max_response = config->max_response,
		.polled = fleet_polled,
		.ctx = &daemon->fleet,
	};
}

static struct fleet_conf
fleet_conf_of(const struct daemon *daemon, const struct config *config)
{
	struct str host;
	uint16_t port = 0;
	struct err err;

	if (api_parse_listen(str_of(config->listen), &host, &port, &err) != 0)
		port = 0;
	return (struct fleet_conf){
		.doc = config->doc,
		.endpoints = config->endpoints,
		.discovery = config->discovery,
		.frequency_ns = config->frequency_ns,
		.state = daemon->state,
		.mdb_file = config->mdb_file,
		.own_port = port,
		.own_app = config->own_app,
	};
}

/* What a writer is told of an endpoint besides its name. */
static void
find_origin(void *ctx, struct str host, struct str app, struct origin_tags *out)
{
	struct daemon *daemon = ctx;

	_Static_assert(ORIGIN_TAGS_MAX >= TARGET_TAGS_MAX, "all of a target's tags fit");
	out->tag_count = fleet_tags(daemon->fleet, host, app, &out->region, &out->address,
	    out->tags, out->text, sizeof(out->text));
}

/* A server that lists endpoints is not waited for longer than this after the start. */
#define KNOWN_BY_NS (10 * NS_PER_S)

#define NOT_STARTED INT64_MAX

static bool
origins_known(void *ctx)
{
	struct daemon *daemon = ctx;
	int64_t known_by_ns = daemon->known_by_ns;

	if (known_by_ns == NOT_STARTED)
		return false;
	if (known_by_ns > 0 && (clock_mono_ns() > known_by_ns || fleet_is_known(daemon->fleet)))
		daemon->known_by_ns = 0;
	return daemon->known_by_ns == 0;
}

/* The journal and the state, as writers see them. */

static uint64_t
mark_journal(void *ctx)
{
	struct daemon *daemon = ctx;

	return daemon->journal == NULL ? 0 : journal_mark(daemon->journal);
}

static bool
wait_for_journal(void *ctx, uint64_t mark, int64_t deadline_ns)
{
	struct daemon *daemon = ctx;

	return daemon->journal == NULL || journal_wait(daemon->journal, mark, deadline_ns);
}

static int
load_position(void *ctx, const char *name, struct cursor *cursor, struct err *err)
{
	struct daemon *daemon = ctx;

	return daemon->state == NULL ? 0 : state_positions_load(daemon->state, name, cursor, err);
}

static int
save_position(void *ctx, const char *name, struct cursor *cursor, struct err *err)
{
	struct daemon *daemon = ctx;

	return daemon->state == NULL
	           ? 0
	           : state_positions_save(daemon->state, name, cursor, clock_real_ns(), err);
}

/* None of them runs yet. */
static int
make_writers(struct daemon *daemon, const struct config *config, struct err *err)
{
	struct pump_env env = {
		.store = daemon->store,
		.idle_ns = config->pstore_ns,
		.origin = find_origin,
		.origins_known = origins_known,
		.origin_ctx = daemon,
		.mark = mark_journal,
		.accepted = wait_for_journal,
		.journal_ctx = daemon,
		.load = load_position,
		.save = save_position,
		.positions_ctx = daemon,
	};

	daemon->state_dir = strdup(config->state_dir);
	if (daemon->state_dir == NULL) {
		err_nomem(err);
		return -1;
	}
	env.state_dir = daemon->state_dir;
	daemon->writers = writers_new(&env, daemon->own, err);
	return daemon->writers == NULL ? -1 : 0;
}

/* Positions of writers that are configured no more are kept so long. */
#define POSITION_GRACE_NS (24 * 3600 * NS_PER_S)

void
daemon_tend(struct daemon *daemon)
{
	struct writer_view *views;
	const char **names;
	struct err err;
	size_t n;

	writers_tend(daemon->writers);
	if (daemon->state == NULL || writers_snapshot(daemon->writers, &views, &n, &err) != 0)
		return;
	names = calloc(n + 1, sizeof(*names));
	for (size_t i = 0; names != NULL && i < n; i++)
		names[i] = views[i].name;
	/* What the state can't keep it says itself; the next time tells it anew. */
	if (names != NULL)
		(void)state_writers_set(
		    daemon->state, names, n, clock_real_ns(), POSITION_GRACE_NS, &err);
	free(names);
	free(views);
}

static int
set_writers(struct daemon *daemon, const struct config *config, struct err *err)
{
	int rc = writers_set(daemon->writers, config->writers, ARRAY_LEN(config->writers), err);

	daemon_tend(daemon);
	return rc;
}

/* Nothing is to be kept without a state directory. */
static int
open_state(struct daemon *daemon, const char *dir, struct err *err)
{
	if (dir[0] == '\0')
		return 0;
	daemon->state = state_open(dir, err);
	return daemon->state == NULL ? -1 : 0;
}

/* Makes the journal, if there is a place for one. */
static int
make_journal(struct daemon *daemon, const struct config *config, struct err *err)
{
	struct journal_conf conf = {
		.state_dir = config->state_dir,
		.sync_ns = config->journal_sync_ns,
		.restore_ns = config->journal_restore_ns,
		.restore_bytes = config->journal_restore_bytes,
		.segment_ns = config->journal_segment_ns,
		.segment_bytes = config->journal_segment_bytes,
		.retention_ns = config->disk_retention_ns,
		.disk_bytes = config->disk_size.bytes,
		.disk_percent = config->disk_size.percent,
	};

	if (config->state_dir[0] == '\0')
		return 0;
	daemon->journal = journal_new(&conf, daemon->own, err);
	return daemon->journal == NULL ? -1 : 0;
}

/* A signal to stop is waiting to be taken. */
static bool
is_stopping(void *ctx)
{
	sigset_t pending;

	(void)ctx;
	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

/* Brings back what was before; from here on what is polled is kept. */
static int
restore(struct daemon *daemon, const struct config *config, struct err *err)
{
	if (daemon->journal == NULL)
		return 0;
	api_set_status(daemon->api, "restoring\n");
	if (journal_restore(
	        daemon->journal, daemon->store, config->store_bytes, is_stopping, NULL, err) != 0)
		return -1;
	api_set_status(daemon->api, "not ready\n");
	return journal_start(daemon->journal, daemon->store, err);
}

struct daemon *
daemon_new(const struct config *config, int argc, char **argv, struct err *err)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	struct store_conf store_conf = { .memory_bytes = config->store_bytes };
	struct resolver_conf resolver_conf = { 0 };
	struct api_conf api_conf = { .listen = config->listen, .admin_token = config->admin_token };
	struct pollers_conf pollers_conf;
	struct fleet_conf fleet_conf;
	struct api_env api_env;

	if (daemon == NULL) {
		err_nomem(err);
		return NULL;
	}
	pollers_conf = pollers_conf_of(daemon, config);
	if (open_state(daemon, config->state_dir, err) != 0 || http_global_init(err) != 0)
		goto fail;
	if ((daemon->own = own_new(err)) == NULL ||
	    own_add_process(daemon->own, argc, argv, err) != 0 ||
	    (daemon->store = store_new(&store_conf, daemon->own, err)) == NULL ||
	    make_journal(daemon, config, err) != 0 ||
	    (daemon->resolver = resolver_new(&resolver_conf, err)) == NULL ||
	    (daemon->pollers = pollers_new(
	         &pollers_conf, daemon->store, daemon->resolver, daemon->own, err)) == NULL)
		goto fail;
	daemon->fleet = fleet_new(daemon->pollers, daemon->store, daemon->own, err);
	if (daemon->fleet == NULL || make_writers(daemon, config, err) != 0)
		goto fail;
	fleet_conf = fleet_conf_of(daemon, config);
	api_env = (struct api_env){ daemon->store, daemon->fleet, daemon->own, daemon->writers,
		daemon->journal };
	/* The port is taken before the first poll: who can't answer shall not poll. */
	daemon->api = api_new(&api_conf, &api_env, err);
	/*
	 * Positions of writers may be ahead of what the journal brought back: what is polled from
	 * here on would be taken for what they had.
	 */
	daemon->known_by_ns = NOT_STARTED;
	if (daemon->api == NULL || restore(daemon, config, err) != 0 ||
	    set_writers(daemon, config, err) != 0 ||
	    fleet_start(daemon->fleet, &fleet_conf, err) != 0)
		goto fail;
	daemon->known_by_ns = clock_mono_ns() + KNOWN_BY_NS;
	api_set_ready(daemon->api);
	return daemon;
fail:
	daemon_stop(daemon);
	store_free(daemon->store);
	own_free(daemon->own);
	free(daemon);
	return NULL;
}

int
daemon_reload(struct daemon *daemon, const struct config *config, struct err *err)
{
	struct pollers_conf pollers_conf = pollers_conf_of(daemon, config);
	struct fleet_conf fleet_conf = fleet_conf_of(daemon, config);

	if (api_set_admin_token(daemon->api, config->admin_token, err) != 0 ||
	    fleet_reload(daemon->fleet, &fleet_conf, err) != 0)
		return -1;
	pollers_set(daemon->pollers, &pollers_conf);
	return set_writers(daemon, config, err);
}

void
daemon_stop(struct daemon *daemon)
{
	api_free(daemon->api);
	fleet_stop(daemon->fleet);
	pollers_free(daemon->pollers);
	writers_free(daemon->writers); /* which ask the fleet */
	fleet_free(daemon->fleet);
	/* Nobody appends any more. */
	journal_free(daemon->journal);
	resolver_free(daemon->resolver);
	state_close(daemon->state);
	daemon->state = NULL;
	daemon->api = NULL;
	daemon->journal = NULL;
	daemon->fleet = NULL;
	daemon->pollers = NULL;
	daemon->resolver = NULL;
	daemon->writers = NULL;
	free(daemon->state_dir);
	daemon->state_dir = NULL;
}
