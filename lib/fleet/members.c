#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet_priv.h"
#include "fleet/target_conf_priv.h"
#include "sources/resolver.h"

#define KEEP_GONE_NS    (3600 * NS_PER_S) /* as far back as /api/hosts looks by default */
#define KEEP_GONE_COUNT 10000

#define KEY_BYTES (2 * NAME_BYTES_MAX + 1)

static void
member_ref(struct member *member)
{
	atomic_fetch_add_explicit(&member->refs, 1, memory_order_relaxed);
}

static void
member_unref(struct member *member)
{
	if (member == NULL ||
	    atomic_fetch_sub_explicit(&member->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < ORIGIN_COUNT; i++)
		target_unref(member->wanted[i]);
	target_unref(member->target);
	series_set_unref(member->set);
	free(member);
}

void
members_init(struct fleet *fleet)
{
	map_init(&fleet->members);
}

void
members_fini(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	while ((entry = map_next(&fleet->members, &pos)) != NULL)
		member_unref(entry->value);
	map_fini(&fleet->members);
	free(fleet->sorted);
}

/* HOST/APP to out; empty if that can't be the name of a member. */
static struct str
write_key(char out[KEY_BYTES], struct str host, struct str app)
{
	if (host.len == 0 || host.len > NAME_BYTES_MAX || app.len == 0 || app.len > NAME_BYTES_MAX)
		return STR_EMPTY;
	memcpy(out, host.p, host.len);
	out[host.len] = '/';
	memcpy(out + host.len + 1, app.p, app.len);
	return (struct str){ out, host.len + 1 + app.len };
}

struct member *
member_find(struct fleet *fleet, struct str host, struct str app)
{
	char bytes[KEY_BYTES];
	struct str key = write_key(bytes, host, app);
	struct member *member;

	if (key.len == 0)
		return NULL;
	lock_take(&fleet->fleet_lock);
	member = map_get(&fleet->members, key);
	lock_drop(&fleet->fleet_lock);
	return member;
}

/* The order shown changed, or who is shown. REQUIRES(fleet_lock) */
static void
unsort(struct fleet *fleet)
{
	free(fleet->sorted);
	fleet->sorted = NULL;
}

static struct member *
member_new(struct fleet *fleet, struct str host, struct str app, bool listed, struct err *err)
{
	char bytes[KEY_BYTES];
	struct str key = write_key(bytes, host, app);
	struct member *member;

	if (key.len == 0) {
		err_set(err, ERR_LIMIT, "host and app must have 1 to %d bytes", NAME_BYTES_MAX);
		return NULL;
	}
	member = calloc(1, sizeof(*member) + key.len);
	if (member == NULL) {
		err_nomem(err);
		return NULL;
	}
	member->refs = 1;
	member->fleet = fleet;
	memcpy(member->name, key.p, key.len);
	member->key = (struct str){ member->name, key.len };
	member->host = str_sub(member->key, 0, host.len);
	member->app = str_sub(member->key, host.len + 1, app.len);
	member->last.last_poll_ts_ns = member->last.error_ts_ns = TS_NONE;
	member->hidden = true; /* until polled */
	member->set = listed ? store_set_listed(fleet->store, host, app, err)
	                     : store_set(fleet->store, host, app, err);
	if (member->set == NULL) {
		member_unref(member);
		return NULL;
	}
	return member;
}

/* A new member, not polled yet and not shown. */
static struct member *
member_add(struct fleet *fleet, struct str host, struct str app, bool listed, struct err *err)
{
	struct member *member = member_new(fleet, host, app, listed, err);
	int rc;

	if (member == NULL)
		return NULL;
	lock_take(&fleet->fleet_lock);
	rc = map_put(&fleet->members, member->key, member);
	lock_drop(&fleet->fleet_lock);
	if (rc != 0) {
		store_forget(fleet->store, member->set);
		member_unref(member);
		err_nomem(err);
		return NULL;
	}
	fleet->member_count++;
	return member;
}

/* REQUIRES(fleet_lock) */
static void
gone_add(struct fleet *fleet, struct member *member)
{
	member->gone = true;
	member->gone_ns = clock_mono_ns();
	member->gone_prev = fleet->gone_last;
	member->gone_next = NULL;
	*(fleet->gone_last == NULL ? &fleet->gone_first : &fleet->gone_last->gone_next) = member;
	fleet->gone_last = member;
	fleet->gone_count++;
}

/* REQUIRES(fleet_lock) */
static void
gone_del(struct fleet *fleet, struct member *member)
{
	member->gone = false;
	*(member->gone_prev == NULL ? &fleet->gone_first : &member->gone_prev->gone_next) =
	    member->gone_next;
	*(member->gone_next == NULL ? &fleet->gone_last : &member->gone_next->gone_prev) =
	    member->gone_prev;
	fleet->gone_count--;
}

/* REQUIRES(fleet_lock) */
static void
end_polling(struct fleet *fleet, struct member *member)
{
	endpoint_status(member->endpoint, &member->last);
	/* As the endpoint's own, now that its poll is abandoned. */
	if (ep_state_is_busy(member->last.state))
		member->last.state = EP_EMPTY;
	endpoint_remove(member->endpoint);
	member->endpoint = NULL;
	gone_add(fleet, member);
	fleet->active_count--;
}

/* Polls the member as target says. REQUIRES(fleet_lock) */
static int
poll_as(struct fleet *fleet, struct member *member, struct target *target, struct err *err)
{
	struct endpoint *endpoint;

	if (member->endpoint == NULL || !target_eq(member->target, target)) {
		endpoint = endpoint_add(fleet->pollers, target, member->endpoint, err);
		if (endpoint == NULL)
			return -1;
		if (member->endpoint == NULL) {
			if (member->gone)
				gone_del(fleet, member);
			fleet->active_count++;
		}
		member->endpoint = endpoint;
	}
	target_unref(member->target);
	member->target = target_ref(target);
	return 0;
}

/* Lets the first origin that wants the member have its way. REQUIRES(fleet_lock) */
static int
settle(struct fleet *fleet, struct member *member, struct err *err)
{
	for (size_t i = 0; i < ORIGIN_COUNT; i++) {
		if (member->wanted[i] == NULL)
			continue;
		if (poll_as(fleet, member, member->wanted[i], err) != 0)
			return -1;
		member->origin = (enum origin)i;
		if (member->hidden) {
			member->hidden = false;
			unsort(fleet);
		}
		return 0;
	}
	if (member->endpoint != NULL)
		end_polling(fleet, member);
	return 0;
}

int
member_want(struct fleet *fleet, struct str host, struct str app, enum origin origin,
    struct target *target, struct err *err)
{
	struct member *member = member_find(fleet, host, app);
	struct target *before;
	int rc;

	if (member == NULL && target == NULL)
		return 0;
	if (member == NULL && (member = member_add(fleet, host, app, false, err)) == NULL)
		return -1;
	lock_take(&fleet->fleet_lock);
	before = member->wanted[origin];
	member->wanted[origin] = target == NULL ? NULL : target_ref(target);
	rc = settle(fleet, member, err);
	if (rc != 0) {
		target_unref(member->wanted[origin]);
		member->wanted[origin] = before;
		before = NULL;
		if (member->endpoint == NULL && !member->gone)
			gone_add(fleet, member); /* never polled: forgotten in time */
	} else if (origin == ORIGIN_CONFIG) {
		member->generation = fleet->generation;
	}
	lock_drop(&fleet->fleet_lock);
	target_unref(before);
	if (rc != 0)
		err_wrap(err, "endpoint %.*s/%.*s", STR_ARG(host), STR_ARG(app));
	return rc;
}

int
member_list(struct fleet *fleet, struct str host, struct str app, struct err *err)
{
	if (member_find(fleet, host, app) != NULL ||
	    member_add(fleet, host, app, true, err) != NULL)
		return 0;
	err_wrap(err, "endpoint %.*s/%.*s", STR_ARG(host), STR_ARG(app));
	return -1;
}

void
members_drop_old_config(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;
	struct err err;

	lock_take(&fleet->fleet_lock);
	while ((entry = map_next(&fleet->members, &pos)) != NULL) {
		struct member *member = entry->value;

		if (member->wanted[ORIGIN_CONFIG] == NULL ||
		    member->generation == fleet->generation)
			continue;
		target_unref(member->wanted[ORIGIN_CONFIG]);
		member->wanted[ORIGIN_CONFIG] = NULL;
		if (settle(fleet, member, &err) != 0)
			log_error("fleet",
			    "endpoint stays as it was: host=%.*s app=\"%.*s\" error=\"%s\"",
			    STR_ARG(member->host), STR_ARG(member->app), err.text);
	}
	lock_drop(&fleet->fleet_lock);
}

void
member_hide(struct fleet *fleet, struct member *member)
{
	lock_take(&fleet->fleet_lock);
	if (member->endpoint == NULL) {
		member->hidden = true;
		unsort(fleet);
	}
	lock_drop(&fleet->fleet_lock);
}

void
members_stop(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	lock_take(&fleet->fleet_lock);
	while ((entry = map_next(&fleet->members, &pos)) != NULL) {
		struct member *member = entry->value;

		if (member->endpoint == NULL)
			continue;
		endpoint_status(member->endpoint, &member->last);
		endpoint_unref(member->endpoint);
		member->endpoint = NULL;
		fleet->active_count--;
	}
	lock_drop(&fleet->fleet_lock);
}

void
members_forget(struct fleet *fleet, int64_t now_ns)
{
	for (;;) {
		struct member *member;

		lock_take(&fleet->fleet_lock);
		member = fleet->gone_first;
		if (member == NULL || (now_ns - member->gone_ns < KEEP_GONE_NS &&
		                          fleet->gone_count <= KEEP_GONE_COUNT)) {
			lock_drop(&fleet->fleet_lock);
			return;
		}
		gone_del(fleet, member);
		map_del(&fleet->members, member->key);
		unsort(fleet);
		lock_drop(&fleet->fleet_lock);
		fleet->member_count--;
		store_forget(fleet->store, member->set);
		member_unref(member);
	}
}

static int
by_name(const void *a, const void *b)
{
	const struct member *x = *(struct member *const *)a, *y = *(struct member *const *)b;
	int order = str_cmp(x->host, y->host);

	return order != 0 ? order : str_cmp(x->app, y->app);
}

/* REQUIRES(fleet_lock) */
static int
sort(struct fleet *fleet)
{
	const struct map_entry *entry;
	size_t pos = 0;

	fleet->sorted = malloc((fleet->members.len + 1) * sizeof(struct member *));
	fleet->sorted_len = 0;
	if (fleet->sorted == NULL)
		return -1;
	while ((entry = map_next(&fleet->members, &pos)) != NULL) {
		struct member *member = entry->value;

		if (!member->hidden)
			fleet->sorted[fleet->sorted_len++] = member;
	}
	qsort(fleet->sorted, fleet->sorted_len, sizeof(struct member *), by_name);
	return 0;
}

int
fleet_snapshot(struct fleet *fleet, struct member ***out, size_t *n, struct err *err)
{
	struct member **copy = NULL;

	lock_take(&fleet->fleet_lock);
	if (fleet->sorted != NULL || sort(fleet) == 0)
		copy = malloc((fleet->sorted_len + 1) * sizeof(struct member *));
	if (copy != NULL) {
		*n = fleet->sorted_len;
		for (size_t i = 0; i < *n; i++) {
			copy[i] = fleet->sorted[i];
			member_ref(copy[i]);
		}
		*out = copy;
	}
	lock_drop(&fleet->fleet_lock);
	if (copy == NULL) {
		err_nomem(err);
		return -1;
	}
	return 0;
}

void
fleet_snapshot_free(struct member **members, size_t n)
{
	if (members == NULL)
		return;
	for (size_t i = 0; i < n; i++)
		member_unref(members[i]);
	free(members);
}

int
fleet_poll_now(struct fleet *fleet, struct str host, struct str app, size_t *count, struct err *err)
{
	struct member *member;
	int rc = 0;

	if (host.len == 0 && app.len == 0) {
		*count = fleet->active_count;
		pollers_poll_now(fleet->pollers);
		return 0;
	}
	lock_take(&fleet->registry_lock);
	member = member_find(fleet, host, app);
	if (member != NULL && member->endpoint != NULL) {
		*count = 1;
		endpoint_poll_now(member->endpoint);
	} else {
		err_set(err, ERR_NOTFOUND, "no endpoint %.*s/%.*s is polled", STR_ARG(host),
		    STR_ARG(app));
		rc = -1;
	}
	lock_drop(&fleet->registry_lock);
	return rc;
}

/* A copy of s in the view's own text. */
static struct str
view_text(struct member_view *view, size_t *used, struct str s)
{
	size_t len = s.len < sizeof(view->text) - *used ? s.len : sizeof(view->text) - *used;
	struct str copy = { view->text + *used, len };

	if (len > 0)
		memcpy(view->text + *used, s.p, len);
	*used += len;
	return copy;
}

static void
view_tags(struct member_view *view, size_t *used, const struct target *target)
{
	for (size_t i = 0; i < target->tag_count; i++)
		view->tags[i] = (struct tag){ view_text(view, used, target->tags[i].key),
			view_text(view, used, target->tags[i].value) };
	view->tag_count = target->tag_count;
}

void
member_view(struct member *member, struct member_view *out)
{
	size_t used = 0;

	out->host = member->host;
	out->app = member->app;
	lock_take(&member->fleet->fleet_lock);
	out->address = out->region = STR_EMPTY;
	out->source = "";
	out->port = 0;
	out->tag_count = 0;
	if (member->target != NULL) {
		out->address = view_text(out, &used, member->target->address);
		out->region = view_text(out, &used, member->target->region);
		out->source = member->target->source->name;
		out->port = member->target->port;
		view_tags(out, &used, member->target);
	}
	out->active = member->endpoint != NULL;
	out->origin = member->origin;
	if (member->endpoint != NULL)
		endpoint_status(member->endpoint, &out->status);
	else
		out->status = member->last;
	lock_drop(&member->fleet->fleet_lock);
}

/* A copy of s at *text, which moves on, if it fits. */
static struct str
put_text(struct str s, char **text, size_t *size)
{
	struct str copy = { *text, s.len };

	if (s.len > *size)
		return STR_EMPTY;
	*text = str_put(*text, s);
	*size -= s.len;
	return copy;
}

size_t
fleet_tags(struct fleet *fleet, struct str host, struct str app, struct str *region,
    struct str *address, struct tag *tags, char *text, size_t size)
{
	char bytes[KEY_BYTES];
	struct str key = write_key(bytes, host, app);
	struct net_addr numeric;
	struct member *member;
	size_t count = 0;

	*region = *address = STR_EMPTY;
	if (key.len == 0)
		return 0;
	lock_take(&fleet->fleet_lock);
	member = map_get(&fleet->members, key);
	if (member != NULL && member->target != NULL) {
		*region = put_text(member->target->region, &text, &size);
		if (resolver_numeric(member->target->address, &numeric))
			*address = put_text(member->target->address, &text, &size);
		for (; count < member->target->tag_count; count++) {
			const struct tag *tag = &member->target->tags[count];

			tags[count].key = put_text(tag->key, &text, &size);
			tags[count].value = put_text(tag->value, &text, &size);
		}
	}
	lock_drop(&fleet->fleet_lock);
	return count;
}

void
fleet_count(struct fleet *fleet, struct fleet_counts *out)
{
	const struct map_entry *entry;
	struct endpoint_status status;
	size_t pos = 0;

	*out = (struct fleet_counts){ 0 };
	lock_take(&fleet->fleet_lock);
	while ((entry = map_next(&fleet->members, &pos)) != NULL) {
		struct member *member = entry->value;

		if (member->hidden)
			continue;
		out->total++;
		if (member->endpoint == NULL)
			continue;
		out->active++;
		endpoint_status(member->endpoint, &status);
		out->failed += status.down;
	}
	lock_drop(&fleet->fleet_lock);
}
