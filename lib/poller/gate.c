#include "poller/gate.h"

#include <assert.h>

#include "base/str.h"

void
gate_init(struct gate *gate, size_t limit)
{
	*gate = (struct gate){ .limit = limit };
	lock_init(&gate->lock, LOCK_gate);
}

void
gate_fini(struct gate *gate)
{
	assert(gate->first == NULL);
	lock_fini(&gate->lock);
}

/* REQUIRES(gate->lock) */
static bool
take_free_slot(struct gate *gate)
{
	if (gate->limit != 0 && gate->taken >= gate->limit)
		return false;
	gate->taken++;
	return true;
}

/* REQUIRES(gate->lock) */
static void
line_append(struct gate *gate, struct gate_waiter *waiter)
{
	waiter->next = NULL;
	waiter->prev = gate->last;
	if (gate->last == NULL)
		gate->first = waiter;
	else
		gate->last->next = waiter;
	gate->last = waiter;
}

/* REQUIRES(gate->lock) */
static void
line_remove(struct gate *gate, struct gate_waiter *waiter)
{
	if (waiter->prev == NULL)
		gate->first = waiter->next;
	else
		waiter->prev->next = waiter->next;
	if (waiter->next == NULL)
		gate->last = waiter->prev;
	else
		waiter->next->prev = waiter->prev;
	waiter->next = waiter->prev = NULL;
}

/* REQUIRES(gate->lock) */
static void
serve_line(struct gate *gate)
{
	while (gate->first != NULL && take_free_slot(gate)) {
		struct gate_waiter *waiter = gate->first;

		line_remove(gate, waiter);
		waiter->state = GATE_GRANTED;
		/* With the lock held, so that the waiter can't leave and be freed before. */
		loop_post(waiter->loop, &waiter->task);
	}
}

static void
tell_waiter(struct loop_task *task)
{
	struct gate_waiter *waiter = CONTAINER_OF(task, struct gate_waiter, task);

	lock_take(&waiter->gate->lock);
	assert(waiter->state == GATE_GRANTED);
	waiter->state = GATE_IDLE;
	lock_drop(&waiter->gate->lock);
	waiter->granted(waiter);
}

bool
gate_take(struct gate *gate, struct gate_waiter *waiter)
{
	bool taken;

	lock_take(&gate->lock);
	assert(waiter->state == GATE_IDLE && waiter->granted != NULL && waiter->loop != NULL);
	/* Nobody is overtaken: while a slot is free, nobody is in line. */
	taken = take_free_slot(gate);
	if (!taken) {
		waiter->gate = gate;
		waiter->task.fn = tell_waiter;
		waiter->state = GATE_WAITING;
		line_append(gate, waiter);
	}
	lock_drop(&gate->lock);
	return taken;
}

void
gate_leave(struct gate *gate, struct gate_waiter *waiter)
{
	lock_take(&gate->lock);
	assert(waiter->state == GATE_IDLE || waiter->gate == gate);
	switch (waiter->state) {
	case GATE_IDLE:
		break;
	case GATE_WAITING:
		line_remove(gate, waiter);
		break;
	case GATE_GRANTED:
		loop_defer_cancel(waiter->loop, &waiter->task);
		gate->taken--;
		serve_line(gate);
		break;
	}
	waiter->state = GATE_IDLE;
	lock_drop(&gate->lock);
}

void
gate_give(struct gate *gate)
{
	lock_take(&gate->lock);
	assert(gate->taken > 0);
	gate->taken--;
	serve_line(gate);
	lock_drop(&gate->lock);
}

void
gate_set_limit(struct gate *gate, size_t limit)
{
	lock_take(&gate->lock);
	gate->limit = limit;
	serve_line(gate);
	lock_drop(&gate->lock);
}

size_t
gate_taken(struct gate *gate)
{
	return gate->taken;
}
