/*
 * /healthz: the process answers. /readiness: it has started up and takes part.
 */
#include "api/route_priv.h"

void
healthz_get(struct request *req, struct response *resp)
{
	(void)req;
	response_text(resp, 200, "OK");
}

void
readiness_get(struct request *req, struct response *resp)
{
	const char *status = atomic_load(&req->service->status);

	if (atomic_load(&req->service->ready))
		response_text(resp, 200, "OK");
	else if (status == NULL)
		response_text(resp, 503, "not ready\n");
	else
		response_text(resp, 503, status);
}
