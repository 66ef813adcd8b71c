#include "fleet/target_list_priv.h"

#include <stdlib.h>

void
target_list_init(struct target_list *list)
{
	*list = (struct target_list){ 0 };
}

void
target_list_fini(struct target_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		target_unref(list->p[i].target);
	free(list->p);
	target_list_init(list);
}

static bool
make_room(struct target_list *list)
{
	size_t cap = list->cap == 0 ? 64 : list->cap * 2;
	struct listed *p;

	if (list->len < list->cap)
		return true;
	p = realloc(list->p, cap * sizeof(*p));
	if (p == NULL)
		return false;
	list->p = p;
	list->cap = cap;
	return true;
}

int
target_list_add(struct target_list *list, struct target *target, uint64_t place, struct err *err)
{
	if (target == NULL || !make_room(list)) {
		target_unref(target);
		err_nomem(err);
		return -1;
	}
	list->p[list->len] = (struct listed){ target, place, list->len };
	list->len++;
	return 0;
}

void
target_list_refuse(struct target_list *list, const struct err *why)
{
	if (list->bad++ == 0)
		list->bad_reason = *why;
}

int
target_place_cmp(
    const struct target *a, uint64_t place, const struct target *b, uint64_t other_place)
{
	int order = str_cmp(a->host, b->host);

	if (order == 0)
		order = str_cmp(a->app, b->app);
	return order != 0 ? order : (place > other_place) - (place < other_place);
}

static int
compare(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	int order = target_place_cmp(x->target, x->place, y->target, y->place);

	return order != 0 ? order : (x->seq > y->seq) - (x->seq < y->seq);
}

void
target_list_sort(struct target_list *list)
{
	if (list->len > 0)
		qsort(list->p, list->len, sizeof(*list->p), compare);
}
