#include <stdlib.h>

#include "api/latest_priv.h"

int
latest_init(struct latest *w, struct store *store, struct str prefix, struct err *err)
{
	char *copy;

	*w = (struct latest){ 0 };
	copy = str_dup(prefix);
	if (copy == NULL) {
		err_nomem(err);
		return -1;
	}
	if (sets_snapshot(store, &w->sets, &w->set_count, err) != 0) {
		free(copy);
		return -1;
	}
	w->prefix = (struct str){ copy, prefix.len };
	return 0;
}

void
latest_fini(struct latest *w)
{
	iter_free(w->iter);
	sets_free(w->sets, w->set_count);
	free((char *)w->prefix.p);
	*w = (struct latest){ 0 };
}

/* Fills records from the current set, else from those after it. 0 or -1. */
static int
refill(struct latest *w, struct err *err)
{
	w->next = 0;
	w->len = 0;
	while (w->set_index < w->set_count) {
		if (w->iter == NULL)
			w->iter = iter_new(w->sets[w->set_index], w->prefix, ITER_UNDER, err);
		if (w->iter == NULL)
			return -1;
		w->len = iter_latest_many(w->iter, w->records, LATEST_RECORDS);
		if (w->len > 0)
			return 0;
		iter_free(w->iter);
		w->iter = NULL;
		w->set_index++;
	}
	return 0;
}

int
latest_next(
    struct latest *w, const struct series_set **set, const struct record **record, struct err *err)
{
	if (w->next == w->len && refill(w, err) != 0)
		return -1;
	if (w->len == 0)
		return 0;
	*set = w->sets[w->set_index];
	*record = &w->records[w->next++];
	return 1;
}
