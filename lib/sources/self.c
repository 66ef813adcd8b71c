/*
 * The source "self": scottyd's own metrics, so that they are stored and written as those of any
 * other target. Nothing goes over a network: a poll is over when start returns.
 */
#include <assert.h>
#include <stdlib.h>

#include "messages/own.h"
#include "sources/source.h"

struct self {
	struct source source;
	struct source_env *env;
};

static const struct conf_opt self_opts[] = { { .name = NULL } };

extern const struct source_ops source_self;

static struct source *
self_open(struct source_env *env, const struct source_target *target, struct err *err)
{
	struct self *self;

	(void)target;
	assert(env->own != NULL);
	self = malloc(sizeof(*self));
	if (self == NULL) {
		err_nomem(err);
		return NULL;
	}
	self->source.ops = &source_self;
	self->env = env;
	return &self->source;
}

static void
self_start(struct source *source, struct poll_job *job)
{
	struct self *self = CONTAINER_OF(source, struct self, source);
	struct err err;

	source_begin_batch(job);
	if (own_collect(self->env->own, job->batch, loop_stamp_ns(self->env->loop), &err) == 0)
		job->report(job, POLL_DONE, NULL);
	else
		job->report(job, POLL_FAILED, &err);
}

static void
self_close(struct source *source)
{
	free(CONTAINER_OF(source, struct self, source));
}

const struct source_ops source_self = {
	.name = "self",
	.help = "scottyd's own metrics",
	.opts = self_opts,
	.open = self_open,
	.start = self_start,
	.close = self_close,
	.local = true,
};
