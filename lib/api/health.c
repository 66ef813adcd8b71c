/*
 * /healthz: the process answers, and whether something does not do its part. /readiness: it has
 * started up and takes part.
 */
#include "api/health_priv.h"

const char *
health_trouble(const struct api_env *env, char text[ERR_TEXT_BYTES])
{
	struct journal_stats stats;

	if (env->journal == NULL)
		return NULL;
	journal_get_stats(env->journal, &stats);
	if (!stats.degraded)
		return NULL;
	journal_last_error(env->journal, text, ERR_TEXT_BYTES);
	return text;
}

/* 200 in both cases: it polls and answers, so nobody should restart it. */
void
healthz_get(struct request *req, struct response *resp)
{
	char text[ERR_TEXT_BYTES];
	const char *trouble = health_trouble(&req->service->env, text);

	if (trouble == NULL) {
		response_text(resp, 200, "OK");
		return;
	}
	response_text(resp, 200, "degraded: what is polled is not kept on disk: ");
	buf_puts(&resp->body, trouble);
	buf_putc(&resp->body, '\n');
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
