#include "api/latest_priv.h"

int
latest_init(struct latest *w, struct store *store, struct str prefix, struct err *err)
{
	*w = (struct latest){ 0 };
	w->iter = fleet_iter_new(store, prefix, ITER_UNDER, err);
	return w->iter == NULL ? -1 : 0;
}

void
latest_fini(struct latest *w)
{
	fleet_iter_free(w->iter);
	*w = (struct latest){ 0 };
}

bool
latest_next(struct latest *w, const struct series_set **set, const struct record **record)
{
	if (w->next == w->len) {
		w->next = 0;
		w->len = fleet_iter_next(w->iter, &w->set, w->records, LATEST_RECORDS);
		if (w->len == 0)
			return false;
	}
	*set = w->set;
	*record = &w->records[w->next++];
	return true;
}
