#include "pstore/writers.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "pstore/writer_own_priv.h"

/* How long the queue of a writer that was removed is kept. */
#define GRACE_NS (3600 * NS_PER_S)

/* Pumps take up to a second to end, so that is not waited for with the lock held. */
struct entry {
	char *name;
	struct pump *pump;  /* NULL: removed; to change it the lock */
	struct entry *next; /* the same */
	/* Who changes the configuration. */
	struct queue *queue;   /* of one without pump */
	struct writer_own own; /* of one with */
	int64_t removed_ns;
	struct consumer *wanted; /* while the list changes */
	bool keep;               /* the same: as it is */
};

struct writers {
	struct pump_env env;
	struct own *own;
	struct writer_dists *dists;
	struct lock lock;
	struct entry *entries; /* in the order configured; to change it the lock */
};

struct writers *
writers_new(const struct pump_env *env, struct own *own, struct err *err)
{
	struct writers *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	w->env = *env;
	w->own = own;
	lock_init(&w->lock, LOCK_writers);
	return w;
}

static struct entry *
find(const struct writers *w, struct str name)
{
	struct entry *e = w->entries;

	while (e != NULL && !str_eq(str_of(e->name), name))
		e = e->next;
	return e;
}

static void
set_pump(struct writers *w, struct entry *e, struct pump *pump)
{
	lock_take(&w->lock);
	e->pump = pump;
	lock_drop(&w->lock);
}

/* The pump ends; its queue stays. */
static void
halt(struct writers *w, struct entry *e)
{
	struct pump *pump = e->pump;

	if (pump == NULL)
		return;
	set_pump(w, e, NULL);
	writer_own_remove(&e->own, w->own);
	pump_stop(pump);
	e->queue = pump_take_queue(pump);
	pump_free(pump);
}

static void
entry_free(struct writers *w, struct entry *e)
{
	halt(w, e);
	queue_close(e->queue);
	consumer_free(e->wanted);
	free(e->name);
	free(e);
}

void
writers_free(struct writers *w)
{
	if (w == NULL)
		return;
	for (struct entry *e = w->entries; e != NULL; e = e->next) {
		if (e->pump != NULL)
			pump_stop(e->pump);
	}
	while (w->entries != NULL) {
		struct entry *e = w->entries;

		w->entries = e->next;
		entry_free(w, e);
	}
	writer_dists_free(w->dists);
	lock_fini(&w->lock);
	free(w);
}

/* The entry of that name, made if need be, without a place in the list. */
static struct entry *
take_entry(struct writers *w, const char *name, struct err *err)
{
	struct entry **at = &w->entries, *e;

	while (*at != NULL && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	e = *at;
	if (e != NULL) {
		*at = e->next;
		return e;
	}
	e = calloc(1, sizeof(*e));
	if (e != NULL)
		e->name = strdup(name);
	if (e != NULL && e->name != NULL)
		return e;
	free(e);
	err_nomem(err);
	return NULL;
}

/* What each entry is to be, in the order configured; those no longer named follow. */
static int
note_wanted(
    struct writers *w, const struct writers_list *list, struct entry ***end, struct err *err)
{
	const struct conf *first = list->list == NULL ? NULL : list->list->first;

	for (const struct conf *element = first; element != NULL; element = element->next) {
		struct consumer *c = consumer_new(list->doc, element, err);
		struct entry *e = c == NULL ? NULL : take_entry(w, c->name, err);

		if (e == NULL) {
			consumer_free(c);
			return -1;
		}
		consumer_free(e->wanted);
		e->wanted = c;
		e->keep = e->pump != NULL && conf_eq(pump_consumer(e->pump)->element, element);
		e->next = NULL;
		**end = e;
		*end = &e->next;
	}
	return 0;
}

/* Starts the pump that is wanted, with the queue there is if that will do. */
static int
start(struct writers *w, struct entry *e, struct err *err)
{
	struct consumer *c = e->wanted;
	struct pump *pump;

	e->removed_ns = clock_mono_ns(); /* if it fails */
	if (e->queue != NULL && !queue_fits(e->queue, c)) {
		log_info("writer", "%s: other roll-up, begins with whole frames", e->name);
		queue_close(e->queue);
		e->queue = NULL;
	}
	if (e->queue == NULL)
		e->queue = queue_open(&w->env, c, err);
	if (e->queue == NULL)
		return -1;
	pump = pump_new(&w->env, c, e->queue, err);
	if (pump == NULL)
		return -1;
	e->queue = NULL;
	e->wanted = NULL;
	set_pump(w, e, pump);
	writer_own_add(&e->own, w->own, &w->dists, pump);
	if (pump_start(pump, err) == 0)
		return 0;
	halt(w, e);
	return -1;
}

void
writers_tend(struct writers *w)
{
	struct entry **at = &w->entries;
	int64_t now_ns = clock_mono_ns();

	while (*at != NULL) {
		struct entry *e = *at;

		if (e->pump != NULL || (e->queue != NULL && now_ns - e->removed_ns < GRACE_NS)) {
			at = &e->next;
			continue;
		}
		lock_take(&w->lock);
		*at = e->next;
		lock_drop(&w->lock);
		if (e->queue != NULL)
			log_info(
			    "writer", "%s: queue dropped, as it was removed an hour ago", e->name);
		entry_free(w, e);
	}
}

/* Pumps that are to end, or to be others; all are told before the first is waited for. */
static void
halt_changed(struct writers *w)
{
	for (struct entry *e = w->entries; e != NULL; e = e->next) {
		if (e->pump != NULL && !e->keep)
			pump_stop(e->pump);
	}
	for (struct entry *e = w->entries; e != NULL; e = e->next) {
		if (e->keep || e->pump == NULL)
			continue;
		halt(w, e);
		e->removed_ns = clock_mono_ns();
		if (e->wanted == NULL)
			log_info("writer", "%s: removed; its queue is kept for an hour", e->name);
	}
}

/* Puts the list in order, with what each is to be. -1: they are to be as they are. */
static int
note_all(struct writers *w, const struct writers_list *lists, size_t n, struct err *err)
{
	struct entry *in_order = NULL, **end = &in_order;
	int rc = 0;

	lock_take(&w->lock);
	for (struct entry *e = w->entries; e != NULL; e = e->next)
		e->keep = false;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = note_wanted(w, &lists[i], &end, err);
	*end = w->entries;
	w->entries = in_order;
	for (struct entry *e = w->entries; e != NULL && rc != 0; e = e->next)
		e->keep = true;
	lock_drop(&w->lock);
	return rc;
}

int
writers_set(struct writers *w, const struct writers_list *lists, size_t n, struct err *err)
{
	int rc = note_all(w, lists, n, err);

	halt_changed(w);
	for (struct entry *e = w->entries; e != NULL; e = e->next) {
		struct err ignored;

		if (e->wanted != NULL && !e->keep && start(w, e, rc == 0 ? err : &ignored) != 0)
			rc = -1;
		consumer_free(e->wanted);
		e->wanted = NULL;
	}
	writers_tend(w);
	return rc;
}

int
writers_pause(struct writers *w, struct str name, bool paused, struct err *err)
{
	struct entry *e;
	int rc = -1;

	lock_take(&w->lock);
	e = find(w, name);
	if (e != NULL && e->pump != NULL) {
		pump_pause(e->pump, paused);
		log_info("writer", "%s: %s", e->name, paused ? "paused" : "resumed");
		rc = 0;
	}
	lock_drop(&w->lock);
	if (rc != 0)
		err_set(err, ERR_NOTFOUND, "no writer '%.*s'", STR_ARG(name));
	return rc;
}

static void
view(const struct entry *e, struct writer_view *out, char *name)
{
	const struct consumer *c = pump_consumer(e->pump);

	strcpy(name, e->name); /* there is room: see writers_snapshot */
	*out = (struct writer_view){ .name = name,
		.writer = c->ops->name,
		.concurrency = c->concurrency,
		.batch_size = c->batch_size,
		.rollup_span_ns = c->rollup_span_ns };
	pump_get_stats(e->pump, &out->stats);
}

int
writers_snapshot(struct writers *w, struct writer_view **out, size_t *n, struct err *err)
{
	size_t count = 0, bytes = 1, i = 0;
	struct writer_view *views;
	char *names;

	lock_take(&w->lock);
	for (struct entry *e = w->entries; e != NULL; e = e->next) {
		count += e->pump != NULL;
		bytes += sizeof(*views) + strlen(e->name) + 1;
	}
	views = malloc(bytes);
	names = (char *)(views + count);
	for (struct entry *e = w->entries; e != NULL && views != NULL; e = e->next) {
		if (e->pump == NULL)
			continue;
		view(e, &views[i++], names);
		names += strlen(e->name) + 1;
	}
	lock_drop(&w->lock);
	if (views == NULL) {
		err_nomem(err);
		return -1;
	}
	*out = views;
	*n = count;
	return 0;
}
