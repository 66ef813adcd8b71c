#include <stdlib.h>

#include "api/listen_priv.h"
#include "api/rpc_priv.h"
#include "api/server_priv.h"
#include "base/clock.h"

#define THREADS            2
#define CONNECTIONS        1000
#define HEAD_TIMEOUT_NS    (10 * NS_PER_S)
#define REQUEST_TIMEOUT_NS (60 * NS_PER_S)

struct api {
	struct service service;
	bool service_made;
	struct server *server;
	uint16_t port;
	bool shows_metrics;
};

static struct server_stats
stats_of(void *ctx)
{
	struct server_stats stats;

	server_get_stats(((struct api *)ctx)->server, &stats);
	return stats;
}

static struct value
read_connections(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).connections.count };
}

static struct value
read_refused(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).connections.refused };
}

static struct value
read_cut(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).connections.cut };
}

static struct value
read_requests(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).requests };
}

static struct value
read_failed(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).failed };
}

static const struct own_metric rows[] = {
	{ "/api/connections", "Connections now open", UNIT_NONE, KIND_UINT64, 0, read_connections },
	{ "/api/connectionsCut", "Connections cut as their client was too slow", UNIT_NONE,
	    KIND_UINT64, 0, read_cut },
	{ "/api/connectionsRefused", "Connections refused as there were too many", UNIT_NONE,
	    KIND_UINT64, 0, read_refused },
	{ "/api/requests", "Requests answered", UNIT_NONE, KIND_UINT64, 0, read_requests },
	{ "/api/requestsFailed", "Requests answered with a status of 400 or above", UNIT_NONE,
	    KIND_UINT64, 0, read_failed },
};

static int64_t
or_default(int64_t value, int64_t dflt)
{
	return value == 0 ? dflt : value;
}

static struct server *
start_server(struct api *api, const struct api_conf *conf, struct err *err)
{
	const struct server_conf server_conf = {
		.threads = (unsigned)or_default(conf->threads, THREADS),
		.connections_per_address = conf->connections_per_address,
		.connections = {
			.limit = (size_t)or_default(conf->connections, CONNECTIONS),
			.head_timeout_ns = or_default(conf->head_timeout_ns, HEAD_TIMEOUT_NS),
			.request_timeout_ns = or_default(conf->request_timeout_ns, REQUEST_TIMEOUT_NS),
		},
	};
	int fd = listen_open(conf->listen, &api->port, err);

	return fd < 0 ? NULL : server_new(&server_conf, fd, &api->service, err);
}

struct api *
api_new(const struct api_conf *conf, const struct api_env *env, struct err *err)
{
	struct api *api = calloc(1, sizeof(*api));

	if (api == NULL) {
		err_nomem(err);
		return NULL;
	}
	if (service_init(&api->service, env, conf->admin_token, err) != 0)
		goto failed;
	api->service_made = true;
	api->service.start_ts_ns = clock_real_ns();
	api->service.rpc = rpc_new(err);
	if (api->service.rpc == NULL)
		goto failed;
	api->server = start_server(api, conf, err);
	if (api->server == NULL)
		goto failed;
	api->shows_metrics = own_add(env->own, rows, ARRAY_LEN(rows), api, err) == 0;
	if (!api->shows_metrics)
		goto failed;
	return api;
failed:
	api_free(api);
	return NULL;
}

void
api_set_ready(struct api *api)
{
	atomic_store(&api->service.ready, true);
}

void
api_set_status(struct api *api, const char *status)
{
	atomic_store(&api->service.status, status);
}

uint16_t
api_port(const struct api *api)
{
	return api->port;
}

int
api_set_admin_token(struct api *api, const char *token, struct err *err)
{
	return service_set_token(&api->service, token, err);
}

void
api_free(struct api *api)
{
	if (api == NULL)
		return;
	if (api->shows_metrics)
		own_remove(api->service.env.own, rows, api);
	server_free(api->server);
	rpc_free(api->service.rpc);
	if (api->service_made)
		service_fini(&api->service);
	free(api);
}
