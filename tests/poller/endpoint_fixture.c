#include "endpoint_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault.h"
#include "poller/schedule.h"

/* The scripted source. */

struct script scripts[SCRIPTS];

struct scripted {
	struct source source;
	struct script *script;
};

static struct script *
script_of(struct source *source)
{
	return CONTAINER_OF(source, struct scripted, source)->script;
}

static void
add_metric(struct batch *batch, const char *path, int64_t number)
{
	const struct metric_desc desc = {
		.path = arena_copy(&batch->arena, str_of(path)),
		.unit = STR(UNIT_NONE),
		.kind = KIND_INT64,
	};
	const struct value value = { .i = number };
	struct err err;

	/* Out of memory: a batch without it is good enough here. */
	if (desc.path.p != NULL)
		(void)batch_add(batch, &desc, &value, 0, TS_NONE, &err);
}

void
report_connected(struct script *script)
{
	script->job->report(script->job, POLL_CONNECTED, NULL);
}

void
report_done(struct script *script)
{
	struct poll_job *job = script->job;
	char path[32];

	source_begin_batch(job);
	for (size_t i = 0; i < script->metrics || i < 1; i++) {
		snprintf(path, sizeof(path), "/metric%06zu", i);
		add_metric(job->batch, path, (int64_t)script->started);
	}
	if (script->has_bad_metric)
		add_metric(job->batch, "no slash", 1);
	script->job = NULL;
	job->report(job, POLL_DONE, NULL);
}

void
report_failed(struct script *script, const char *text)
{
	struct poll_job *job = script->job;
	struct err err;

	err_set(&err, ERR_PROTO, "%s", text);
	script->job = NULL;
	job->report(job, POLL_FAILED, &err);
}

static struct source *open_waiting(struct source_env *, const struct source_target *, struct err *);
static struct source *open_plain(struct source_env *, const struct source_target *, struct err *);

static void
scripted_start(struct source *source, struct poll_job *job)
{
	struct script *script = script_of(source);

	assert_null(script->job);
	assert_int_equal(job->batch->len, 0);
	script->job = job;
	script->started++;
	if (!script->reports_inside_start)
		return;
	if (!script->skips_connected)
		report_connected(script);
	report_done(script);
}

static void
scripted_cancel(struct source *source)
{
	struct script *script = script_of(source);

	assert_non_null(script->job);
	script->job = NULL;
	script->cancelled++;
}

static void
scripted_close(struct source *source)
{
	struct script *script = script_of(source);

	assert_null(script->job);
	script->closed++;
	free(CONTAINER_OF(source, struct scripted, source));
}

static void
scripted_proceed(struct source *source)
{
	script_of(source)->proceeded++;
}

/* Holds its answer back until it may proceed. */
const struct source_ops waiting_ops = {
	.name = "tricorder",
	.open = open_waiting,
	.start = scripted_start,
	.cancel = scripted_cancel,
	.close = scripted_close,
	.proceed = scripted_proceed,
};

const struct source_ops plain_ops = {
	.name = "plain",
	.open = open_plain,
	.start = scripted_start,
	.cancel = scripted_cancel,
	.close = scripted_close,
};

static struct source *
open_scripted(const struct source_target *target, const struct source_ops *ops, struct err *err)
{
	struct script *script = &scripts[target->port];
	struct scripted *scripted;

	if (script->refuses_to_open) {
		err_set(err, ERR_CONFIG, "option x: makes no sense");
		return NULL;
	}
	scripted = malloc(sizeof(*scripted));
	if (scripted == NULL) {
		err_nomem(err);
		return NULL;
	}
	script->opened++;
	*scripted = (struct scripted){ .source.ops = ops, .script = script };
	return &scripted->source;
}

static struct source *
open_waiting(struct source_env *env, const struct source_target *target, struct err *err)
{
	(void)env;
	return open_scripted(target, &waiting_ops, err);
}

static struct source *
open_plain(struct source_env *env, const struct source_target *target, struct err *err)
{
	(void)env;
	return open_scripted(target, &plain_ops, err);
}

/* The fixture. */

static void
on_polled(void *ctx, struct endpoint *ep, const struct batch *batch)
{
	struct fixture *f = ctx;

	assert_non_null(endpoint_target(ep));
	f->polled++;
	f->polled_metrics = batch->len;
}

static void
set_clock(struct fixture *f)
{
	loop_set_clock(
	    f->loop, START_MONO_NS + f->passed_ns, START_REAL_NS + f->passed_ns + f->jump_ns);
}

/* Turns until nothing that was deferred is left: no chain of reactions is longer. */
void
settle(struct fixture *f)
{
	for (int i = 0; i < 6; i++)
		loop_turn(f->loop, 0);
}

void
advance_one_turn(struct fixture *f, int64_t ns)
{
	f->passed_ns += ns;
	set_clock(f);
	loop_turn(f->loop, 0);
}

void
advance(struct fixture *f, int64_t ns)
{
	advance_one_turn(f, ns);
	settle(f);
}

static void
make_pool(struct fixture *f)
{
	struct err err;

	f->pool = pollers_make(&f->conf, f->store, f->resolver, f->own, &err);
	if (f->pool == NULL)
		fail_msg("%s", err.text);
	f->loop = f->pool->pollers[0].loop;
	set_clock(f);
}

void
begin_with(struct fixture *f, uint64_t store_bytes, size_t connections, size_t polls)
{
	struct err err;

	memset(scripts, 0, sizeof(scripts));
	*f = (struct fixture){
		.fds = fault_open_fds(),
		.conf = {
			.threads = 1,
			.connections = connections,
			.polls = polls,
			.connect_timeout_ns = CONNECT_TIMEOUT_NS,
			.poll_timeout_ns = POLL_TIMEOUT_NS,
			.stale_after_ns = STALE_AFTER_NS,
			.max_response = 16 * 1024 * 1024,
			.polled = on_polled,
			.ctx = f,
		},
	};
	f->own = own_new(&err);
	assert_non_null(f->own);
	f->store = store_new(&(struct store_conf){ .memory_bytes = store_bytes }, NULL, &err);
	assert_non_null(f->store);
	f->resolver = resolver_new(&(struct resolver_conf){ .threads = 1 }, &err);
	assert_non_null(f->resolver);
	make_pool(f);
}

void
begin(struct fixture *f)
{
	begin_with(f, 64 * 1024 * 1024, 100, 0);
}

/* All endpoints have been handed back. */
void
finish(struct fixture *f)
{
	settle(f);
	assert_int_equal(f->pool->endpoint_count, 0);
	assert_int_equal(gate_taken(&f->pool->connections), 0);
	assert_int_equal(gate_taken(&f->pool->polls), 0);
	pollers_unmake(f->pool);
	resolver_free(f->resolver);
	store_free(f->store);
	own_free(f->own);
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
		assert_int_equal(scripts[i].opened, scripts[i].closed);
	assert_int_equal(fault_open_fds(), f->fds);
}

void
set_timeouts(struct fixture *f, int64_t connect_ns, int64_t poll_ns)
{
	f->conf.connect_timeout_ns = connect_ns;
	f->conf.poll_timeout_ns = poll_ns;
	pollers_set(f->pool, &f->conf);
}

struct target *
target_of(const char *host, unsigned port, const struct source_ops *ops)
{
	struct target *target = target_new(&(struct target){
	    .host = str_of(host),
	    .app = STR("app"),
	    .address = STR("10.0.0.1"),
	    .port = (uint16_t)port,
	    .source = ops,
	    .interval_ns = INTERVAL_NS,
	});

	assert_non_null(target);
	return target;
}

struct endpoint *
add_target(struct fixture *f, const char *host, unsigned port, const struct source_ops *ops,
    struct endpoint *replaces)
{
	struct target *target = target_of(host, port, ops);
	struct endpoint *ep;
	struct err err;

	ep = endpoint_add(f->pool, target, replaces, &err);
	target_unref(target);
	assert_non_null(ep);
	return ep;
}

struct endpoint *
add_replacing(
    struct fixture *f, unsigned port, const struct source_ops *ops, struct endpoint *replaces)
{
	char host[16];

	snprintf(host, sizeof(host), "host%u", port);
	return add_target(f, host, port, ops, replaces);
}

struct endpoint *
add(struct fixture *f, unsigned port, const struct source_ops *ops)
{
	struct endpoint *ep = add_replacing(f, port, ops, NULL);

	settle(f);
	return ep;
}

/* How long until the endpoint's next tick. */
int64_t
until_tick(const struct fixture *f, struct endpoint *ep)
{
	const struct target *target = endpoint_target(ep);

	return schedule_first(
	    schedule_hash(target->host, target->app), INTERVAL_NS, 0, START_REAL_NS + f->passed_ns);
}

void
go_to_tick(struct fixture *f, struct endpoint *ep)
{
	advance(f, until_tick(f, ep));
}

void
remove_and_finish(struct fixture *f, struct endpoint *ep)
{
	endpoint_remove(ep);
	finish(f);
}

struct endpoint_status
status_of(struct endpoint *ep)
{
	struct endpoint_status status;

	endpoint_status(ep, &status);
	return status;
}

void
assert_state(struct endpoint *ep, enum ep_state wanted)
{
	struct endpoint_status status = status_of(ep);

	if (status.state != wanted)
		fail_msg("\"%s\" instead of \"%s\" (%s)", ep_state_text(status.state),
		    ep_state_text(wanted), status.error);
}

size_t
active_series(struct endpoint *ep)
{
	return series_set_active_count(endpoint_series(ep));
}

/* A whole good poll at the next tick. */
void
poll_well(struct fixture *f, struct endpoint *ep, struct script *script)
{
	go_to_tick(f, ep);
	if (!script->reports_inside_start) {
		report_connected(script);
		settle(f);
		report_done(script);
		settle(f);
	}
	assert_state(ep, EP_SYNCED);
}
