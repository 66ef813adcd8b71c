#include "scottyd/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet.h"
#include "journal/journal.h"
#include "messages/own.h"
#include "poller/poller.h"
#include "sources/http.h"
#include "sources/resolver.h"
#include "store/store.h"

struct daemon {
	struct own *own;
	struct store *store;
	struct journal *journal; /* NULL: nothing is kept on disk */
	struct resolver *resolver;
	struct pollers *pollers;
	struct fleet *fleet;
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
fleet_conf_of(const struct config *config)
{
	struct str host;
	uint16_t port = 0;
	struct err err;

	if (api_parse_listen(str_of(config->listen), &host, &port, &err) != 0)
		port = 0;
	return (struct fleet_conf){
		.doc = config->doc,
		.endpoints = config->endpoints,
		.frequency_ns = config->frequency_ns,
		.state_dir = config->state_dir,
		.mdb_file = config->mdb_file,
		.own_port = port,
		.own_app = config->own_app,
	};
}

/* Makes the state directory if its parent is there. */
static int
make_state_dir(const char *path, struct err *err)
{
	if (path[0] == '\0' || mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	err_errno(err, errno, "stateDir %s (choose another with -stateDir, '' = none)", path);
	return -1;
}

/* Makes the journal, if there is a place for one. */
static int
make_journal(struct daemon *daemon, const struct config *config, struct err *err)
{
	struct journal_conf conf = {
		.state_dir = config->state_dir,
		.sync_ns = config->journal_sync_ns,
		.restore_ns = config->journal_restore_ns,
		.segment_ns = config->journal_segment_ns,
		.segment_bytes = config->journal_segment_bytes,
		.retention_ns = config->disk_retention_ns,
		.disk_bytes = config->disk_bytes,
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
	struct fleet_conf fleet_conf = fleet_conf_of(config);
	struct api_env api_env;

	if (daemon == NULL) {
		err_nomem(err);
		return NULL;
	}
	pollers_conf = pollers_conf_of(daemon, config);
	if (make_state_dir(config->state_dir, err) != 0 || http_global_init(err) != 0)
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
	if (daemon->fleet == NULL)
		goto fail;
	api_env = (struct api_env){ daemon->store, daemon->fleet, daemon->own };
	/* The port is taken before the first poll: who can't answer shall not poll. */
	daemon->api = api_new(&api_conf, &api_env, err);
	if (daemon->api == NULL || restore(daemon, config, err) != 0 ||
	    fleet_start(daemon->fleet, &fleet_conf, err) != 0)
		goto fail;
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
	struct fleet_conf fleet_conf = fleet_conf_of(config);

	if (api_set_admin_token(daemon->api, config->admin_token, err) != 0 ||
	    fleet_reload(daemon->fleet, &fleet_conf, err) != 0)
		return -1;
	pollers_set(daemon->pollers, &pollers_conf);
	return 0;
}

void
daemon_stop(struct daemon *daemon)
{
	api_free(daemon->api);
	fleet_stop(daemon->fleet);
	pollers_free(daemon->pollers);
	fleet_free(daemon->fleet);
	/* Nobody appends any more. */
	journal_free(daemon->journal);
	resolver_free(daemon->resolver);
	daemon->api = NULL;
	daemon->journal = NULL;
	daemon->fleet = NULL;
	daemon->pollers = NULL;
	daemon->resolver = NULL;
}
