/*
 * What an endpoint does: carries out what endpoint_step decides. All but the functions of poller.h
 * runs on the poller's thread.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "poller/endpoint_priv.h"
#include "poller/schedule.h"

/* The states from the tick to the end, whose lengths are kept. */
enum phase { PHASE_WAIT_CONNECT, PHASE_CONNECT, PHASE_WAIT_POLL, PHASE_POLL, PHASE_COUNT };

struct endpoint {
	/* Constant. */
	struct poller *poller;
	struct target *target;
	struct series_set *series;
	uint64_t hash;
	bool is_tricorder;
	_Atomic unsigned refs; /* one the caller's, one the poller's until the endpoint ended */

	/* The caller's until posted, then the poller's. */
	struct loop_task add_task, remove_task;
	struct endpoint *replaces;
	/* Any thread's: poll_now_task is posted, and holds a reference. */
	struct loop_task poll_now_task;
	_Atomic bool poll_now_asked;

	/* The poller's. */
	enum ep_state state;
	struct source *source; /* opened by the first poll */
	struct poll *poll;     /* under way, else NULL */
	bool in_line;          /* the poller's */
	struct endpoint *line_next, *line_prev;
	struct gate_waiter waiter;
	struct gate *waiting_at; /* NULL = no gate */
	bool timed_out;          /* the last poll, so the next one needs a slow connection */
	bool has_slow_connection, has_connection, has_poll;
	int64_t tick_ns;      /* when the poll under way should have started; mono */
	int64_t lateness_ns;  /* of its start */
	int64_t next_tick_ns; /* what tick_timer is set to */
	int64_t since_ns;     /* when the current state was entered; mono */
	int64_t phase_ns[PHASE_COUNT];
	struct loop_timer tick_timer;
	int64_t fresh_until_ns;        /* stale_after past the last good poll */
	struct loop_timer stale_timer; /* then or before: it need not be moved with each poll */
	struct endpoint *next, *prev;  /* of the poller's */
	bool linked;                   /* is one of them: was added, has not ended */

	/* What readers see: only the poller writes. */
	_Atomic enum ep_state shown_state;
	struct lock lock;
	struct endpoint_status status; /* under lock; its state is shown_state */
};

static void step(struct endpoint *, enum ep_event, const struct err *why);

static int64_t
now_ns(const struct endpoint *ep)
{
	return loop_now_ns(ep->poller->loop);
}

static double
seconds(int64_t ns)
{
	return (double)ns / (double)NS_PER_S;
}

/* Status. */

/* REQUIRES(ep->lock) */
static void
publish_end(struct endpoint *ep)
{
	struct endpoint_status *status = &ep->status;

	ep->shown_state = ep->state;
	status->polls++;
	status->wait_connect_ns = ep->phase_ns[PHASE_WAIT_CONNECT];
	status->connect_ns = ep->phase_ns[PHASE_CONNECT];
	status->wait_poll_ns = ep->phase_ns[PHASE_WAIT_POLL];
	status->lateness_ns = ep->lateness_ns;
	status->poll_ns = ep->phase_ns[PHASE_POLL];
}

/* REQUIRES(ep->lock) */
static void
publish_content(struct endpoint *ep, const struct batch *batch, size_t added)
{
	struct endpoint_status *status = &ep->status;

	/* publish_end has counted this poll already. */
	if (status->polls - status->failures == 1) {
		status->first_values = added;
	} else {
		status->later_values += added;
		status->later_polls++;
	}
	status->metric_count = batch->len;
	status->body_bytes = batch->text.len;
	status->changed = added;
	status->bad_count = batch->bad_count;
	if (batch->bad_count > 0)
		memcpy(status->bad_text, batch->bad_text, sizeof(status->bad_text));
	else
		status->bad_text[0] = '\0';
}

static void
count_skipped(struct endpoint *ep, uint64_t ticks)
{
	lock_take(&ep->lock);
	ep->status.skipped += ticks;
	lock_drop(&ep->lock);
	ep->poller->pool->skipped_count += ticks;
}

void
endpoint_status(struct endpoint *ep, struct endpoint_status *out)
{
	lock_take(&ep->lock);
	*out = ep->status;
	out->state = ep->shown_state;
	lock_drop(&ep->lock);
}

/* Takes over what the endpoint that is replaced had to tell, save for the poll it is at. */
static void
inherit_status(struct endpoint *ep, struct endpoint *from)
{
	struct endpoint_status status;

	endpoint_status(from, &status);
	lock_take(&ep->lock);
	ep->status = status;
	ep->shown_state = ep_state_is_busy(status.state) ? EP_EMPTY : status.state;
	lock_drop(&ep->lock);
}

/* The end of a poll. */

static void
cancel_source(struct endpoint *ep)
{
	if (ep->poll == NULL || !ep->poll->running)
		return;
	/* A source without cancel reports inside start, so it is not running. */
	assert(ep->source->ops->cancel != NULL);
	ep->source->ops->cancel(ep->source);
	ep->poll->running = false;
}

/* In the next turn. */
static void
serve_line_soon(struct poller *poller)
{
	if (!poller->line_timer.set)
		loop_timer_set(poller->loop, &poller->line_timer, loop_now_ns(poller->loop));
}

static void
join_line(struct endpoint *ep)
{
	struct poller *poller = ep->poller;

	ep->in_line = true;
	ep->line_prev = poller->line_last;
	if (poller->line_last == NULL)
		poller->line_first = ep;
	else
		poller->line_last->line_next = ep;
	poller->line_last = ep;
	serve_line_soon(poller);
}

static void
leave_line(struct endpoint *ep)
{
	struct poller *poller = ep->poller;

	if (!ep->in_line)
		return;
	if (ep->line_prev == NULL)
		poller->line_first = ep->line_next;
	else
		ep->line_prev->line_next = ep->line_next;
	if (ep->line_next == NULL)
		poller->line_last = ep->line_prev;
	else
		ep->line_next->line_prev = ep->line_prev;
	ep->line_next = ep->line_prev = NULL;
	ep->in_line = false;
}

static void
leave_gate(struct endpoint *ep)
{
	if (ep->waiting_at != NULL)
		gate_leave(ep->waiting_at, &ep->waiter);
	ep->waiting_at = NULL;
}

/* Gives back all that the poll holds or waits for. */
static void
release(struct endpoint *ep)
{
	struct pollers *pool = ep->poller->pool;

	leave_line(ep);
	leave_gate(ep);
	if (ep->poll != NULL)
		poller_give_poll(ep->poller, ep->poll);
	ep->poll = NULL;
	if (ep->has_poll)
		gate_give(&pool->polls);
	if (ep->has_connection)
		gate_give(&pool->connections);
	if (ep->has_slow_connection)
		gate_give(&pool->slow_connections);
	ep->has_poll = ep->has_connection = ep->has_slow_connection = false;
}

/* ACT_FAIL, ACT_CANCEL. why may be lent from the poll, which is given back last. */
static void
fail(struct endpoint *ep, const struct err *why)
{
	struct pollers *pool = ep->poller->pool;
	const struct target *target = ep->target;
	bool was_down;

	lock_take(&ep->lock);
	was_down = ep->status.down;
	publish_end(ep);
	ep->status.failures++;
	ep->status.down = true;
	memcpy(ep->status.error, why->text, sizeof(ep->status.error));
	ep->status.error_ts_ns = loop_real_ns(ep->poller->loop);
	lock_drop(&ep->lock);
	ep->timed_out = why->code == ERR_TIMEOUT;
	pool->poll_count++;
	pool->failed_count++;
	if (!was_down)
		log_warn("poller",
		    "endpoint failed: host=%.*s app=\"%.*s\" error=\"%s\", retry in %.1f s",
		    STR_ARG(target->host), STR_ARG(target->app), why->text,
		    seconds(ep->next_tick_ns - now_ns(ep)));
	release(ep);
}

/* Counts for scottyd's own metrics. */
static void
count_good(struct endpoint *ep, const struct append_stats *stats)
{
	struct pollers *pool = ep->poller->pool;
	int64_t total_ns = 0;

	for (int i = 0; i < PHASE_COUNT; i++)
		total_ns += ep->phase_ns[i];
	pool->poll_count++;
	pool->bad_count += ep->poll->batch.bad_count;
	pool->metric_count += ep->poll->batch.len;
	pool->body_bytes += ep->poll->batch.text.len;
	own_dist_add(pool->collection_times, seconds(total_ns));
	if (ep->is_tricorder)
		own_dist_add(pool->tricorder_times, seconds(total_ns));
	own_dist_add(pool->changed, (double)stats->added);
}

static void
be_fresh(struct endpoint *ep)
{
	struct poller *poller = ep->poller;
	int64_t stale_after_ns = poller->pool->stale_after_ns;

	if (stale_after_ns <= 0) {
		loop_timer_clear(poller->loop, &ep->stale_timer);
		return;
	}
	ep->fresh_until_ns = now_ns(ep) + stale_after_ns;
	if (!ep->stale_timer.set || ep->stale_timer.at_ns > ep->fresh_until_ns)
		loop_timer_set(poller->loop, &ep->stale_timer, ep->fresh_until_ns);
}

static void
succeed(struct endpoint *ep, const struct append_stats *stats)
{
	struct pollers *pool = ep->poller->pool;
	const struct target *target = ep->target;
	bool was_down;

	lock_take(&ep->lock);
	was_down = ep->status.down;
	publish_end(ep);
	publish_content(ep, &ep->poll->batch, stats->added);
	ep->status.down = false;
	ep->status.error[0] = '\0';
	ep->status.error_ts_ns = TS_NONE;
	ep->status.last_poll_ts_ns = loop_real_ns(ep->poller->loop);
	ep->status.stale = false;
	lock_drop(&ep->lock);
	ep->timed_out = false;
	count_good(ep, stats);
	be_fresh(ep);
	if (was_down)
		log_info("poller", "endpoint recovered: host=%.*s app=\"%.*s\"",
		    STR_ARG(target->host), STR_ARG(target->app));
	if (pool->polled != NULL)
		pool->polled(pool->ctx, ep, &ep->poll->batch);
	release(ep);
}

/* ACT_STORE. Slots are kept until all is stored, so that they bound the work there too. */
static void
store(struct endpoint *ep)
{
	struct batch *batch = &ep->poll->batch;
	struct append_stats stats;
	struct err err;

	batch_end(batch, loop_stamp_ns(ep->poller->loop));
	if (store_append(ep->series, batch, &stats, &err) == 0)
		succeed(ep, &stats);
	else
		step(ep, EV_FAILED, &err);
}

/* A poll under way. */

/* "10.0.0.1:6910", "[::1]:6910"; the host's name for a source without addresses. */
static void
write_place(const struct target *target, struct buf *out)
{
	bool bare_ipv6 = str_is_bare_ipv6(target->address);

	if (bare_ipv6)
		buf_putc(out, '[');
	buf_str(out, target->address.len > 0 ? target->address : target->host);
	if (bare_ipv6)
		buf_putc(out, ']');
	if (target->port != 0)
		buf_printf(out, ":%u", (unsigned)target->port);
}

static void
on_deadline(struct loop_timer *timer)
{
	struct poll *poll = CONTAINER_OF(timer, struct poll, deadline);
	struct endpoint *ep = poll->owner;
	bool connecting = ep->state == EP_CONNECTING;
	struct pollers *pool = ep->poller->pool;
	struct buf place;
	struct err err;

	/* What was reported came in time, and is about to be acted on. */
	if (!poll->running || poll->connected)
		return;
	buf_init(&place, 0);
	write_place(ep->target, &place);
	err_set(&err, ERR_TIMEOUT, "%s %.*s: timed out after %g s",
	    connecting ? "connect to" : "poll of", STR_ARG(buf_view(&place)),
	    seconds(connecting ? pool->connect_timeout_ns : pool->poll_timeout_ns));
	buf_fini(&place);
	step(ep, EV_TIMEOUT, &err);
}

/* What was reported, once the source has returned. */
static void
react(struct loop_task *task)
{
	struct poll *poll = CONTAINER_OF(task, struct poll, react_task);
	struct endpoint *ep = poll->owner;

	if (poll->connected) {
		poll->connected = false;
		step(ep, EV_CONNECTED, NULL);
	}
	/*
	 * May have been reported since. A poll that has ended is given back, so this is its last
	 * turn.
	 */
	if (poll->end != EV_TICK)
		step(ep, poll->end, &poll->err);
}

static void
on_report(struct poll_job *job, enum poll_event event, const struct err *why)
{
	struct poll *poll = CONTAINER_OF(job, struct poll, job);

	assert(poll->running && (event == POLL_FAILED) == (why != NULL));
	switch (event) {
	case POLL_CONNECTED:
		poll->connected = true;
		break;
	case POLL_DONE:
		poll->running = false;
		poll->end = EV_DONE;
		break;
	case POLL_FAILED:
		poll->running = false;
		poll->end = EV_FAILED;
		poll->err = *why;
		break;
	}
	loop_defer(poll->owner->poller->loop, &poll->react_task);
}

static void
on_begin_batch(struct poll_job *job)
{
	struct poll *poll = CONTAINER_OF(job, struct poll, job);

	poller_begin_batch(poll->owner->poller, poll);
	store_fetch(poll->owner->series);
}

static void
set_deadline(struct endpoint *ep, int64_t timeout_ns)
{
	loop_timer_set(ep->poller->loop, &ep->poll->deadline, now_ns(ep) + timeout_ns);
}

static int
open_source(struct endpoint *ep, struct err *err)
{
	const struct target *target = ep->target;
	const struct source_target where = {
		.host = target->host,
		.app = target->app,
		.address = target->address,
		.port = target->port,
		.deny_loopback = target->deny_loopback,
		.deny_link_local = target->deny_link_local,
		.options = target->options,
	};

	ep->source = target->source->open(&ep->poller->env, &where, err);
	return ep->source == NULL ? -1 : 0;
}

static int
take_poll(struct endpoint *ep, struct err *err)
{
	struct poll *poll = poller_take_poll(ep->poller);

	if (poll == NULL) {
		err_nomem(err);
		return -1;
	}
	poll->job = (struct poll_job){
		.batch = &poll->batch,
		.begin_batch = on_begin_batch,
		.report = on_report,
	};
	poll->owner = ep;
	poll->react_task.fn = react;
	poll->deadline.fn = on_deadline;
	ep->poll = poll;
	return 0;
}

static void
note_lateness(struct endpoint *ep)
{
	ep->lateness_ns = now_ns(ep) - ep->tick_ns;
	own_dist_add(ep->poller->pool->lateness, seconds(ep->lateness_ns));
}

/* ACT_CONNECT. A source that cannot be opened is tried again with each tick. */
static void
connect_source(struct endpoint *ep)
{
	struct poller *poller = ep->poller;
	struct err err;

	ep->has_connection = true;
	note_lateness(ep);
	poller->env.max_response = poller->pool->max_response;
	if ((ep->source == NULL && open_source(ep, &err) != 0) || take_poll(ep, &err) != 0) {
		step(ep, EV_FAILED, &err);
		return;
	}
	/* Holds until CONNECTED, or until the end for a source that never says so. */
	set_deadline(ep, poller->pool->connect_timeout_ns);
	ep->poll->running = true;
	ep->source->ops->start(ep->source, &ep->poll->job);
}

/* True if the slot is there; else the waiter is told once it is. */
static bool
take_slot(struct endpoint *ep, struct gate *gate)
{
	if (gate_take(gate, &ep->waiter))
		return true;
	ep->waiting_at = gate;
	return false;
}

/* Whose last poll took too long needs a place among those, too. */
static void
ask_for_connection(struct endpoint *ep)
{
	struct pollers *pool = ep->poller->pool;

	if (ep->timed_out && !ep->has_slow_connection) {
		if (!take_slot(ep, &pool->slow_connections))
			return;
		ep->has_slow_connection = true;
	}
	if (take_slot(ep, &pool->connections))
		step(ep, EV_SLOT, NULL);
}

static void
on_granted(struct gate_waiter *waiter)
{
	struct endpoint *ep = CONTAINER_OF(waiter, struct endpoint, waiter);
	bool slow = ep->waiting_at == &ep->poller->pool->slow_connections;

	ep->waiting_at = NULL;
	if (slow) {
		ep->has_slow_connection = true;
		ask_for_connection(ep);
	} else {
		step(ep, EV_SLOT, NULL);
	}
}

/* ACT_QUEUE. */
static void
queue(struct endpoint *ep)
{
	/* Nobody is overtaken. */
	if (ep->poller->line_first == NULL && poller_may_start(ep->poller))
		ask_for_connection(ep);
	else
		join_line(ep);
}

void
endpoints_serve_line(struct poller *poller)
{
	while (poller->line_first != NULL && poller_may_start(poller)) {
		struct endpoint *ep = poller->line_first;

		leave_line(ep);
		ask_for_connection(ep);
	}
	if (poller->line_first != NULL)
		serve_line_soon(poller);
}

/* ACT_QUEUE_POLL. */
static void
queue_poll(struct endpoint *ep)
{
	/* Time in line is not the target's fault. */
	loop_timer_clear(ep->poller->loop, &ep->poll->deadline);
	if (take_slot(ep, &ep->poller->pool->polls))
		step(ep, EV_SLOT, NULL);
}

/* ACT_POLL. */
static void
let_source_proceed(struct endpoint *ep)
{
	const struct source_ops *ops = ep->source->ops;

	ep->has_poll = true;
	set_deadline(ep, ep->poller->pool->poll_timeout_ns);
	if (ep->poll->running && ops->proceed != NULL)
		ops->proceed(ep->source);
}

/* Notes how long the state lasted that is left now. */
static void
note_phase(struct endpoint *ep, enum ep_state next)
{
	if (ep_state_is_busy(ep->state))
		ep->phase_ns[ep->state - EP_WAITING_TO_CONNECT] = now_ns(ep) - ep->since_ns;
	else if (ep_state_is_busy(next))
		memset(ep->phase_ns, 0, sizeof(ep->phase_ns));
	ep->since_ns = now_ns(ep);
}

static void
act(struct endpoint *ep, enum ep_action action, const struct err *why)
{
	switch (action) {
	case ACT_NONE:
		break;
	case ACT_SKIP:
		count_skipped(ep, 1);
		break;
	case ACT_QUEUE:
		queue(ep);
		break;
	case ACT_CONNECT:
		connect_source(ep);
		break;
	case ACT_QUEUE_POLL:
		queue_poll(ep);
		break;
	case ACT_POLL:
		let_source_proceed(ep);
		break;
	case ACT_STORE:
		store(ep);
		break;
	case ACT_FAIL:
		fail(ep, why);
		break;
	case ACT_CANCEL:
		cancel_source(ep);
		fail(ep, why);
		break;
	case ACT_ABANDON:
		cancel_source(ep);
		release(ep);
		break;
	}
}

/* why: with EV_FAILED and EV_TIMEOUT. */
static void
step(struct endpoint *ep, enum ep_event event, const struct err *why)
{
	struct ep_step to = endpoint_step(ep->state, event);

	if (to.next != ep->state) {
		note_phase(ep, to.next);
		ep->state = to.next;
		/* The end of a poll is told with what came of it. */
		if (ep_state_is_busy(to.next) || to.act == ACT_ABANDON)
			ep->shown_state = to.next;
	}
	act(ep, to.act, why);
}

/* Timers. */

static void
on_tick(struct loop_timer *timer)
{
	struct endpoint *ep = CONTAINER_OF(timer, struct endpoint, tick_timer);
	int64_t tick_ns = ep->next_tick_ns;
	uint64_t missed;

	ep->next_tick_ns = schedule_next(tick_ns, ep->target->interval_ns, now_ns(ep), &missed);
	loop_timer_set(ep->poller->loop, timer, ep->next_tick_ns);
	if (missed > 0)
		count_skipped(ep, missed);
	if (!ep_state_is_busy(ep->state))
		ep->tick_ns = tick_ns;
	step(ep, EV_TICK, NULL);
}

/* Unless a poll is under way, which is as good. */
static void
poll_now(struct endpoint *ep)
{
	if (ep_state_is_busy(ep->state))
		return;
	ep->tick_ns = now_ns(ep);
	step(ep, EV_TICK, NULL);
}

static void
on_poll_now(struct loop_task *task)
{
	struct endpoint *ep = CONTAINER_OF(task, struct endpoint, poll_now_task);

	ep->poll_now_asked = false;
	if (ep->linked)
		poll_now(ep);
	endpoint_unref(ep);
}

void
endpoint_poll_now(struct endpoint *ep)
{
	if (atomic_exchange(&ep->poll_now_asked, true))
		return;
	endpoint_ref(ep);
	loop_post(ep->poller->loop, &ep->poll_now_task);
}

void
endpoints_poll_now(struct poller *poller)
{
	for (struct endpoint *ep = poller->endpoints; ep != NULL; ep = ep->next)
		poll_now(ep);
}

static void
on_stale(struct loop_timer *timer)
{
	struct endpoint *ep = CONTAINER_OF(timer, struct endpoint, stale_timer);

	if (ep->fresh_until_ns > now_ns(ep)) {
		loop_timer_set(ep->poller->loop, timer, ep->fresh_until_ns);
		return;
	}
	store_deactivate(ep->series, loop_stamp_ns(ep->poller->loop));
	lock_take(&ep->lock);
	ep->status.stale = true;
	lock_drop(&ep->lock);
}

/* Coming and going. */

static void
link_to_poller(struct endpoint *ep)
{
	struct poller *poller = ep->poller;

	ep->next = poller->endpoints;
	if (ep->next != NULL)
		ep->next->prev = ep;
	poller->endpoints = ep;
	ep->linked = true;
	poller->pool->endpoint_count++;
}

static void
unlink_from_poller(struct endpoint *ep)
{
	struct poller *poller = ep->poller;

	if (ep->prev == NULL)
		poller->endpoints = ep->next;
	else
		ep->prev->next = ep->next;
	if (ep->next != NULL)
		ep->next->prev = ep->prev;
	ep->next = ep->prev = NULL;
	ep->linked = false;
	poller->pool->endpoint_count--;
}

/* After it nothing of the poller's calls the endpoint, and the poller's reference is gone. */
static void
end(struct endpoint *ep)
{
	struct loop *loop = ep->poller->loop;

	step(ep, EV_STOP, NULL);
	loop_timer_clear(loop, &ep->tick_timer);
	loop_timer_clear(loop, &ep->stale_timer);
	if (ep->source != NULL)
		ep->source->ops->close(ep->source);
	ep->source = NULL;
	unlink_from_poller(ep);
	endpoint_unref(ep);
}

void
endpoints_end(struct poller *poller)
{
	while (poller->endpoints != NULL)
		end(poller->endpoints);
}

static void
take_over(struct endpoint *ep, struct endpoint *from)
{
	inherit_status(ep, from);
	ep->fresh_until_ns = from->fresh_until_ns;
	if (from->stale_timer.set)
		loop_timer_set(ep->poller->loop, &ep->stale_timer, from->stale_timer.at_ns);
	end(from);
	endpoint_unref(from);
}

static void
on_added(struct loop_task *task)
{
	struct endpoint *ep = CONTAINER_OF(task, struct endpoint, add_task);
	struct loop *loop = ep->poller->loop;

	if (ep->replaces != NULL)
		take_over(ep, ep->replaces);
	ep->replaces = NULL;
	link_to_poller(ep);
	ep->next_tick_ns =
	    schedule_first(ep->hash, ep->target->interval_ns, now_ns(ep), loop_real_ns(loop));
	loop_timer_set(loop, &ep->tick_timer, ep->next_tick_ns);
}

static void
on_removed(struct loop_task *task)
{
	struct endpoint *ep = CONTAINER_OF(task, struct endpoint, remove_task);

	end(ep);
	store_deactivate(
	    ep->series, TS_NONE); /* its values ended with the last poll, as upstream */
	endpoint_unref(ep);
}

struct endpoint *
endpoint_add(
    struct pollers *pool, struct target *target, struct endpoint *replaces, struct err *err)
{
	uint64_t hash = schedule_hash(target->host, target->app);
	struct poller *poller = &pool->pollers[hash % pool->count];
	struct endpoint *ep;
	struct series_set *series;

	assert(target->interval_ns > 0 && target->source != NULL);
	/* The same name, so the same poller: it sees both in the order in which they were added. */
	assert(replaces == NULL || (replaces->hash == hash && replaces->poller == poller));
	series = store_set(pool->store, target->host, target->app, err);
	if (series == NULL)
		return NULL;
	ep = calloc(1, sizeof(*ep));
	if (ep == NULL) {
		series_set_unref(series);
		err_nomem(err);
		return NULL;
	}
	*ep = (struct endpoint){
		.poller = poller,
		.target = target_ref(target),
		.series = series,
		.hash = hash,
		.is_tricorder = strcmp(target->source->name, "tricorder") == 0,
		.refs = 2,
		.add_task.fn = on_added,
		.remove_task.fn = on_removed,
		.poll_now_task.fn = on_poll_now,
		.replaces = replaces,
		.waiter = { .granted = on_granted, .loop = poller->loop },
		.tick_timer.fn = on_tick,
		.stale_timer.fn = on_stale,
		.status = { .error_ts_ns = TS_NONE, .last_poll_ts_ns = TS_NONE },
	};
	lock_init(&ep->lock, LOCK_status);
	/* For who asks before the poller takes over from it. */
	if (replaces != NULL)
		inherit_status(ep, replaces);
	loop_post(poller->loop, &ep->add_task);
	return ep;
}

void
endpoint_remove(struct endpoint *ep)
{
	loop_post(ep->poller->loop, &ep->remove_task);
}

struct endpoint *
endpoint_ref(struct endpoint *ep)
{
	ep->refs++;
	return ep;
}

void
endpoint_unref(struct endpoint *ep)
{
	if (ep == NULL || --ep->refs != 0)
		return;
	lock_fini(&ep->lock);
	series_set_unref(ep->series);
	target_unref(ep->target);
	free(ep);
}

struct target *
endpoint_target(const struct endpoint *ep)
{
	return ep->target;
}

struct series_set *
endpoint_series(const struct endpoint *ep)
{
	return ep->series;
}
