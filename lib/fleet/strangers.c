/*
 * Sets that the store brought back from disk and nobody asks for any more: their endpoints went
 * while we did not run. Discovery gets a while to name them; then their series end, and later they
 * are forgotten as those of other endpoints that went.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "fleet/fleet_priv.h"
#include "store/iter.h"

/* So long a machine list and health checks may take to name an endpoint. */
#define GRACE_NS (300 * NS_PER_S)
/* As far back as /api/hosts looks by default. */
#define KEEP_NS (3600 * NS_PER_S)

struct stranger {
	struct stranger *next;
	struct series_set *set; /* a reference */
	bool ended;
};

static void
stranger_free(struct stranger *stranger)
{
	series_set_unref(stranger->set);
	free(stranger);
}

int
strangers_find(struct fleet *fleet, int64_t now_ns, struct err *err)
{
	struct series_set *const *sets;
	int rc = 0;
	size_t n;

	fleet->strangers_since_ns = now_ns;
	if (sets_snapshot(fleet->store, &sets, &n, err) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct stranger *stranger;

		if (member_find(fleet, series_set_host(sets[i]), series_set_app(sets[i])) != NULL)
			continue;
		stranger = calloc(1, sizeof(*stranger));
		if (stranger == NULL) {
			err_nomem(err);
			rc = -1;
			break;
		}
		stranger->set = series_set_ref(sets[i]);
		stranger->next = fleet->strangers;
		fleet->strangers = stranger;
	}
	sets_free(sets, n);
	return rc;
}

void
strangers_end(struct fleet *fleet, int64_t now_ns)
{
	int64_t age_ns = now_ns - fleet->strangers_since_ns;
	struct stranger **at = &fleet->strangers;

	if (age_ns < GRACE_NS)
		return;
	while (*at != NULL) {
		struct stranger *stranger = *at;
		struct series_set *set = stranger->set;
		bool known = member_find(fleet, series_set_host(set), series_set_app(set)) != NULL;

		/* Who becomes a member needs registry_lock too, so nobody appends meanwhile. */
		if (!known && !stranger->ended)
			store_deactivate(set, TS_NONE);
		stranger->ended = true;
		if (!known && age_ns >= KEEP_NS)
			store_forget(fleet->store, set);
		if (known || age_ns >= KEEP_NS) {
			*at = stranger->next;
			stranger_free(stranger);
		} else {
			at = &stranger->next;
		}
	}
}

void
strangers_fini(struct fleet *fleet)
{
	while (fleet->strangers != NULL) {
		struct stranger *stranger = fleet->strangers;

		fleet->strangers = stranger->next;
		stranger_free(stranger);
	}
}
