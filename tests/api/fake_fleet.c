/*
 * Stands in for lib/fleet where a test wants to say what the fleet is. The functions are those of
 * fleet.h that handlers call.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api_fixture.h"

struct fake_fleet fake_fleet;

const char *
origin_name(enum origin origin)
{
	return origin == ORIGIN_CONFIG ? "config" : "mdb";
}

static int
answer(struct str host, struct str app, struct err *err)
{
	snprintf(fake_fleet.host, sizeof(fake_fleet.host), "%.*s", STR_ARG(host));
	snprintf(fake_fleet.app, sizeof(fake_fleet.app), "%.*s", STR_ARG(app));
	if (fake_fleet.fails == ERR_NONE)
		return 0;
	err_set(err, fake_fleet.fails, "the \"fake\" fails");
	return -1;
}

int
fleet_put(struct fleet *fleet, struct str host, struct str app, struct str body, bool from_loopback,
    bool *created, struct err *err)
{
	(void)fleet;
	fake_fleet.puts++;
	fake_fleet.from_loopback = from_loopback;
	snprintf(fake_fleet.body, sizeof(fake_fleet.body), "%.*s", STR_ARG(body));
	*created = fake_fleet.creates;
	return answer(host, app, err);
}

int
fleet_delete(struct fleet *fleet, struct str host, struct str app, struct err *err)
{
	(void)fleet;
	fake_fleet.deletes++;
	return answer(host, app, err);
}

int
fleet_poll_now(struct fleet *fleet, struct str host, struct str app, size_t *count, struct err *err)
{
	(void)fleet;
	*count = host.len == 0 ? fake_fleet.len : 1;
	return answer(host, app, err);
}

int
fleet_snapshot(struct fleet *fleet, struct member ***out, size_t *n, struct err *err)
{
	(void)fleet;
	*out = malloc((fake_fleet.len + 1) * sizeof(**out));
	if (*out == NULL) {
		err_nomem(err);
		return -1;
	}
	for (size_t i = 0; i < fake_fleet.len; i++)
		(*out)[i] = (struct member *)(void *)&fake_fleet.members[i];
	*n = fake_fleet.len;
	fake_fleet.refs++;
	return 0;
}

void
fleet_snapshot_free(struct member **members, size_t n)
{
	(void)n;
	free(members);
	fake_fleet.refs--;
}

void
member_view(struct member *member, struct member_view *out)
{
	*out = *(const struct member_view *)(const void *)member;
}

void
fleet_count(struct fleet *fleet, struct fleet_counts *out)
{
	(void)fleet;
	*out = (struct fleet_counts){ .total = fake_fleet.len };
	for (size_t i = 0; i < fake_fleet.len; i++) {
		out->active += fake_fleet.members[i].active;
		out->failed += fake_fleet.members[i].active && fake_fleet.members[i].status.down;
	}
}
