#include "fleet/claims_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "fleet/fleet_priv.h"
#include "fleet/target_conf_priv.h"

#define APP_BYTES  (NAME_BYTES_MAX + sizeof(":65535:0123456789abcdef"))
#define NAME_FORMS 3

/* A discovered target. */
struct item {
	enum origin origin;
	struct target *found;  /* as it was yielded */
	struct target *target; /* the same under the name it got; NULL = it has none */
	uint64_t place;
	struct claim *claim;
	struct item *next; /* waits behind this one for the same name */
	bool told;         /* of its having no name */
};

/* A name that is taken. */
struct claim {
	struct str key;     /* HOST/APP */
	struct item *first; /* has it; the others wait in order */
	enum origin origin; /* the member is wanted for; ORIGIN_COUNT = not yet */
	bool unsettled;     /* the member could not be had as it should be */
	char name[];
};

void
claims_init(struct fleet *fleet)
{
	map_init(&fleet->claims);
}

void
claims_fini(struct fleet *fleet)
{
	map_fini(&fleet->claims);
}

static void
unwant(struct fleet *fleet, const struct target *target, enum origin origin)
{
	struct err err;

	if (member_want(fleet, target->host, target->app, origin, NULL, &err) != 0)
		log_error("fleet", "endpoint stays as it was: %s", err.text);
	if (origin == ORIGIN_MDB)
		machine_gone(fleet, target->host);
}

/* Has the member wanted for who is first now. was: the one who was in force, if another. */
static void
settle(struct fleet *fleet, struct claim *claim, const struct target *was)
{
	struct item *first = claim->first;
	struct err err;

	claim->unsettled = false;
	if (first != NULL &&
	    (member_want(fleet, first->target->host, first->target->app, first->origin,
	         first->target, &err) != 0 ||
	        (first->origin == ORIGIN_MDB && machine_set(fleet, first->target, &err) != 0))) {
		claim->unsettled = true;
		fleet_refused(fleet, &err);
	}
	if (claim->origin != ORIGIN_COUNT && (first == NULL || first->origin != claim->origin))
		unwant(fleet, first == NULL ? was : first->target, claim->origin);
	claim->origin = first == NULL ? ORIGIN_COUNT : first->origin;
	if (first != NULL)
		return;
	map_del(&fleet->claims, claim->key);
	free(claim);
}

static struct claim *
claim_new(struct fleet *fleet, struct str key)
{
	struct claim *claim = calloc(1, sizeof(*claim) + key.len + 1);

	if (claim == NULL)
		return NULL;
	(void)str_put(claim->name, key);
	claim->key = (struct str){ claim->name, key.len };
	claim->origin = ORIGIN_COUNT;
	if (map_put(&fleet->claims, claim->key, claim) == 0)
		return claim;
	free(claim);
	return NULL;
}

/* The form-th name that a target asks for; false if it is too long. */
static bool
write_app(const struct item *item, unsigned form, char out[APP_BYTES], struct str *app)
{
	const struct target *t = item->found;
	int len = (int)t->app.len;

	if (form == 0)
		len = snprintf(out, APP_BYTES, "%.*s", STR_ARG(t->app));
	else if (form == 1)
		len = snprintf(out, APP_BYTES, "%.*s:%u", STR_ARG(t->app), (unsigned)t->port);
	else
		len = snprintf(out, APP_BYTES, "%.*s:%u:%08" PRIx32, STR_ARG(t->app),
		    (unsigned)t->port, (uint32_t)(item->place >> 32));
	*app = (struct str){ out, (size_t)len };
	return len <= NAME_BYTES_MAX;
}

static struct target *
under_name(struct target *found, struct str app)
{
	struct target proto = *found;

	if (str_eq(found->app, app))
		return target_ref(found);
	proto.app = app;
	return target_new(&proto);
}

/*
 * The claim on the name, made if need be; NULL with ERR_EXISTS if another target has it, or
 * ERR_NOMEM.
 */
static struct claim *
claim_get(struct fleet *fleet, const struct item *item, struct str app, struct err *err)
{
	char text[2 * NAME_BYTES_MAX + 2];
	int len =
	    snprintf(text, sizeof(text), "%.*s/%.*s", STR_ARG(item->found->host), STR_ARG(app));
	struct str key = { text, (size_t)len };
	struct claim *claim = map_get(&fleet->claims, key);

	if (claim == NULL && (claim = claim_new(fleet, key)) == NULL) {
		err_nomem(err);
		return NULL;
	}
	if (claim->first == NULL || item->place == 0 || claim->first->place == item->place)
		return claim;
	err_set(err, ERR_EXISTS, "endpoint %s", text);
	return NULL;
}

static void
line_up(struct claim *claim, struct item *item)
{
	struct item **end = &claim->first;

	while (*end != NULL)
		end = &(*end)->next;
	*end = item;
	item->next = NULL;
	item->claim = claim;
}

/* Gives the item the first name that is to be had; -1 with err. */
static int
take_name(struct fleet *fleet, struct item *item, struct err *err)
{
	char text[APP_BYTES];
	struct claim *claim = NULL;
	struct str app;

	err_set(err, ERR_LIMIT, "longer than %d bytes", NAME_BYTES_MAX);
	for (unsigned form = 0; form < NAME_FORMS && claim == NULL; form++) {
		if (!write_app(item, form, text, &app))
			break;
		claim = claim_get(fleet, item, app, err);
		if (claim == NULL && err->code != ERR_EXISTS)
			return -1;
	}
	if (claim == NULL) {
		err_wrap(err, "no name is left for %.*s:%u", STR_ARG(item->found->address),
		    (unsigned)item->found->port);
		return -1;
	}
	item->target = under_name(item->found, app);
	if (item->target == NULL) {
		if (claim->first == NULL) {
			map_del(&fleet->claims, claim->key);
			free(claim);
		}
		err_nomem(err);
		return -1;
	}
	line_up(claim, item);
	return 0;
}

static void
item_add(struct fleet *fleet, struct item *item)
{
	struct err err;

	if (take_name(fleet, item, &err) != 0) {
		if (err.code == ERR_NOMEM)
			fleet_refused(fleet, &err);
		else if (!item->told)
			log_error("fleet", "not polled: %s", err.text);
		item->told = true;
	} else if (item->claim->first == item) {
		settle(fleet, item->claim, NULL);
	}
}

static void
item_free(struct item *item)
{
	if (item == NULL)
		return;
	target_unref(item->found);
	target_unref(item->target);
	free(item);
}

static void
item_remove(struct fleet *fleet, struct item *item)
{
	struct claim *claim = item->claim;
	struct item **at;

	if (claim != NULL) {
		bool was_first = claim->first == item;

		for (at = &claim->first; *at != item; at = &(*at)->next)
			;
		*at = item->next;
		if (was_first)
			settle(fleet, claim, item->target);
	}
	item_free(item);
}

/* The item's target is another from here on, under the same name. Gets references. */
static void
item_change(struct fleet *fleet, struct item *item, struct target *found, struct target *target,
    uint64_t place)
{
	target_unref(item->found);
	item->found = target_ref(found);
	item->place = place;
	if (item->claim == NULL)
		return;
	target_unref(item->target);
	item->target = target_ref(target);
	if (item->claim->first == item)
		settle(fleet, item->claim, NULL);
}

/* True if the item may move to another place and keep its name. */
static bool
may_move(const struct item *item)
{
	return item->claim != NULL && item->claim->first == item && item->next == NULL &&
	       str_eq(item->target->app, item->found->app);
}

/* What becomes of one target of the new list. */
struct step {
	struct item *item;    /* the old one that it is, or a new one */
	struct target *named; /* not NULL: the item changes to this */
	bool is_new;
};

/* All that a change takes, so that it can be had before anything is touched. */
struct plan {
	struct step *steps; /* one for each of the new list */
	struct item **next; /* the new items */
	struct item **gone; /* the old ones that have no place in it */
	size_t gone_count;
};

static bool
same_name(const struct target *a, const struct target *b)
{
	return str_eq(a->host, b->host) && str_eq(a->app, b->app);
}

static int
plan_change(struct step *step, struct item *item, const struct listed *listed)
{
	step->item = item;
	if (target_eq(item->found, listed->target))
		return 0;
	step->named = item->claim == NULL ? target_ref(listed->target)
	                                  : under_name(listed->target, item->target->app);
	return step->named == NULL ? -1 : 0;
}

static int
plan_new(struct step *step, enum origin origin, const struct listed *listed)
{
	struct item *item = calloc(1, sizeof(*item));

	if (item == NULL)
		return -1;
	item->origin = origin;
	item->found = target_ref(listed->target);
	item->place = listed->place;
	*step = (struct step){ .item = item, .is_new = true };
	return 0;
}

/* Finds the steps: both lists are sorted. -1 when out of memory. */
static int
plan_fill(struct plan *plan, const struct items *items, enum origin origin,
    const struct target_list *list)
{
	size_t old = 0, n = 0;

	while (n < list->len || old < items->len) {
		struct item *item = old < items->len ? items->p[old] : NULL;
		const struct listed *listed = n < list->len ? &list->p[n] : NULL;
		int order = item == NULL     ? 1
		            : listed == NULL ? -1
		                             : target_place_cmp(item->found, item->place,
		                                   listed->target, listed->place);

		/* One that has moved: the same endpoint. */
		if (item != NULL && listed != NULL && order != 0 &&
		    same_name(item->found, listed->target) && may_move(item) &&
		    (old + 1 == items->len || !same_name(items->p[old + 1]->found, item->found)) &&
		    (n + 1 == list->len || !same_name(list->p[n + 1].target, item->found)))
			order = 0;
		if (order < 0)
			plan->gone[plan->gone_count++] = item;
		else if (order == 0 && plan_change(&plan->steps[n], item, listed) != 0)
			return -1;
		else if (order > 0 && plan_new(&plan->steps[n], origin, listed) != 0)
			return -1;
		old += order <= 0;
		n += order >= 0;
	}
	return 0;
}

static int
plan_init(struct plan *plan, const struct items *items, enum origin origin,
    const struct target_list *list)
{
	*plan = (struct plan){
		.steps = calloc(list->len + 1, sizeof(*plan->steps)),
		.next = calloc(list->len + 1, sizeof(struct item *)),
		.gone = calloc(items->len + 1, sizeof(struct item *)),
	};
	if (plan->steps == NULL || plan->next == NULL || plan->gone == NULL)
		return -1;
	return plan_fill(plan, items, origin, list);
}

static void
plan_fini(struct plan *plan, size_t step_count)
{
	for (size_t i = 0; plan->steps != NULL && i < step_count; i++)
		target_unref(plan->steps[i].named);
	free(plan->steps);
	free(plan->next);
	free(plan->gone);
}

/* Frees what was made for a plan that is not carried out. */
static void
plan_undo(struct plan *plan, size_t step_count)
{
	for (size_t i = 0; plan->steps != NULL && i < step_count; i++) {
		if (plan->steps[i].is_new)
			item_free(plan->steps[i].item);
	}
	plan_fini(plan, step_count);
}

static void
step_apply(struct fleet *fleet, const struct step *step, const struct listed *listed,
    struct claims_changes *changes)
{
	if (step->is_new) {
		item_add(fleet, step->item);
		changes->added++;
	} else if (step->named != NULL) {
		item_change(fleet, step->item, listed->target, step->named, listed->place);
		changes->changed++;
	}
}

int
claims_replace(struct fleet *fleet, struct items *items, enum origin origin,
    const struct target_list *list, struct claims_changes *changes, struct err *err)
{
	struct plan plan;

	if (plan_init(&plan, items, origin, list) != 0) {
		plan_undo(&plan, list->len);
		err_nomem(err);
		return -1;
	}
	/* Names that become free may be asked for at once. */
	for (size_t i = 0; i < plan.gone_count; i++)
		item_remove(fleet, plan.gone[i]);
	for (size_t i = 0; i < list->len; i++) {
		step_apply(fleet, &plan.steps[i], &list->p[i], changes);
		plan.next[i] = plan.steps[i].item;
	}
	changes->removed += plan.gone_count;
	free(items->p);
	*items = (struct items){ plan.next, list->len };
	plan.next = NULL;
	plan_fini(&plan, list->len);
	return 0;
}

void
claims_clear(struct fleet *fleet, struct items *items)
{
	for (size_t i = 0; i < items->len; i++)
		item_remove(fleet, items->p[i]);
	free(items->p);
	*items = (struct items){ 0 };
}

void
claims_abandon(struct fleet *fleet, struct items *items)
{
	for (size_t i = 0; i < items->len; i++) {
		struct item *item = items->p[i];
		struct item **at;

		if (item->claim != NULL) {
			for (at = &item->claim->first; *at != item; at = &(*at)->next)
				;
			*at = item->next;
			if (item->claim->first == NULL) {
				map_del(&fleet->claims, item->claim->key);
				free(item->claim);
			}
		}
		item_free(item);
	}
	free(items->p);
	*items = (struct items){ 0 };
}

/* Items without a name try for one again. */
static void
retry_names(struct fleet *fleet, struct items *items)
{
	for (size_t i = 0; i < items->len; i++) {
		if (items->p[i]->claim == NULL)
			item_add(fleet, items->p[i]);
	}
}

void
claims_retry(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	/* Somebody is first in each of them, so none is freed meanwhile. */
	while ((entry = map_next(&fleet->claims, &pos)) != NULL) {
		struct claim *claim = entry->value;

		if (claim->unsettled)
			settle(fleet, claim, NULL);
	}
	for (struct discovery *d = fleet->discoveries; d != NULL; d = d->next) {
		for (struct part *part = d->parts; part != NULL; part = part->next)
			retry_names(fleet, &part->items);
	}
}
