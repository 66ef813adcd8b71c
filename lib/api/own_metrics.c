/*
 * scottyd's own metrics: /metricsapi/ as tricorder serves them, /metrics as Prometheus reads them.
 */
#include "api/route_priv.h"
#include "messages/prometheus.h"
#include "messages/tricorder.h"

/* Two hundred metrics take some 100 kB; a fleet of writers and pollers may have ten times that. */
#define BATCH_BYTES (4 * 1024 * 1024)

static void
put_tricorder(struct request *req, struct response *resp, const struct batch *batch)
{
	struct str path;
	struct err err;

	response_header(resp, "X-Tricorder-Media-Type", "tricorder.v1");
	if (request_metric_path(req, req->rest, &path, &err) != 0)
		response_err(req, resp, &err);
	else if (request_param(req, "singleton").len == 0)
		tricorder_encode(batch, path, &resp->body);
	else if (!tricorder_encode_one(batch, path, &resp->body))
		response_status(req, resp, 404);
}

static void
put_prometheus(struct request *req, struct response *resp, const struct batch *batch)
{
	(void)req;
	resp->content_type = PROMETHEUS_CONTENT_TYPE;
	prometheus_encode(batch, &resp->body);
}

static void
answer(struct request *req, struct response *resp,
    void (*put)(struct request *, struct response *, const struct batch *))
{
	struct batch batch;
	struct err err;

	batch_init(&batch, BATCH_BYTES);
	if (own_collect(req->service->env.own, &batch, req->now_ns, &err) == 0)
		put(req, resp, &batch);
	else
		response_err(req, resp, &err);
	batch_fini(&batch);
}

void
metricsapi_get(struct request *req, struct response *resp)
{
	answer(req, resp, put_tricorder);
}

void
metrics_get(struct request *req, struct response *resp)
{
	answer(req, resp, put_prometheus);
}

void
has_metrics_get(struct request *req, struct response *resp)
{
	(void)req;
	response_text(resp, 200, "true");
}
