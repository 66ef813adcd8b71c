#include "fleet/fleet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet_priv.h"
#include "fleet/target_conf_priv.h"

#define TIDY_EVERY_NS (10 * NS_PER_S)

const char *
origin_name(enum origin origin)
{
	static const char *const names[] = {
		[ORIGIN_CONFIG] = "config",
		[ORIGIN_API] = "api",
		[ORIGIN_HEALTH_CHECKS] = "health-checks",
		[ORIGIN_MDB] = "mdb",
		[ORIGIN_FILE_SD] = "fileSd",
		[ORIGIN_HTTP_SD] = "httpSd",
		[ORIGIN_SELF] = "self",
	};

	return origin < ORIGIN_COUNT ? names[origin] : "";
}

static struct value
read_members(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct fleet *)ctx)->member_count };
}

static struct value
read_active(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct fleet *)ctx)->active_count };
}

static struct value
read_machines(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct fleet *)ctx)->machine_count };
}

static struct value
read_failed(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = ((struct fleet *)ctx)->failed_count };
}

static const struct own_metric own_rows[] = {
	{ "/fleet/totalEndpoints", "Endpoints known, inactive ones included", UNIT_NONE,
	    KIND_UINT64, 0, read_members },
	{ "/fleet/activeEndpoints", "Endpoints being polled", UNIT_NONE, KIND_UINT64, 0,
	    read_active },
	{ "/fleet/failedEndpoints", "Of those, endpoints whose last poll failed", UNIT_NONE,
	    KIND_UINT64, 0, read_failed },
	{ "/fleet/machines", "Machines on the machine list", UNIT_NONE, KIND_UINT64, 0,
	    read_machines },
};

static const double ms_limits[] = { .1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3,
	1e4, 2e4, 5e4, 1e5 };

static int
add_own_metrics(struct fleet *fleet, struct err *err)
{
	fleet->decode_ms =
	    own_dist_new(fleet->own, "/mdbd/decode-time", "Time to read the machine list",
	        UNIT_MILLISECONDS, ms_limits, ARRAY_LEN(ms_limits), err);
	if (fleet->decode_ms == NULL)
		return -1;
	fleet->compare_ms = own_dist_new(fleet->own, "/mdbd/compare-time",
	    "Time to find and apply what changed in it", UNIT_MILLISECONDS, ms_limits,
	    ARRAY_LEN(ms_limits), err);
	if (fleet->compare_ms == NULL)
		return -1;
	return own_add(fleet->own, own_rows, ARRAY_LEN(own_rows), fleet, err);
}

/* --- its thread ----------------------------------------------------------------------------- */

void
fleet_refused(struct fleet *fleet, const struct err *err)
{
	/* One line stands for all, as the same is wrong with the next ones. */
	if (fleet->refused_count++ == 0)
		log_error("fleet", "not polled, maybe others as well: %s; trying again", err->text);
}

static void
on_tidy(struct loop_timer *timer)
{
	struct fleet *fleet = CONTAINER_OF(timer, struct fleet, tidy_timer);
	struct fleet_counts counts;

	lock_take(&fleet->registry_lock);
	members_forget(fleet, loop_now_ns(fleet->loop));
	strangers_end(fleet, loop_now_ns(fleet->loop));
	machines_forget(fleet);
	if (fleet->refused_count > 0) {
		fleet->refused_count = 0;
		claims_retry(fleet);
		machines_refresh(fleet);
	}
	lock_drop(&fleet->registry_lock);
	fleet_count(fleet, &counts);
	fleet->failed_count = counts.failed;
	loop_timer_set(fleet->loop, timer, loop_now_ns(fleet->loop) + TIDY_EVERY_NS);
}

static void
on_inbox(struct loop_task *task)
{
	struct fleet *fleet = CONTAINER_OF(task, struct fleet, inbox_task);
	struct observation *seen, *next;

	lock_take(&fleet->inbox_lock);
	seen = fleet->inbox;
	fleet->inbox = NULL;
	fleet->inbox_end = &fleet->inbox;
	lock_drop(&fleet->inbox_lock);
	lock_take(&fleet->registry_lock);
	for (; seen != NULL; seen = next) {
		next = seen->next;
		machines_observe(fleet, seen);
		observation_free(seen);
	}
	lock_drop(&fleet->registry_lock);
}

/* REQUIRES(registry_lock) */
static void
drop_reload(struct fleet *fleet)
{
	conf_doc_unref(fleet->reload.doc);
	free(fleet->reload.mdb_file);
	memset(&fleet->reload, 0, sizeof(fleet->reload));
}

/* Leaves the table to the fleet's thread, whose discoverers are. REQUIRES(registry_lock) */
static int
keep_reload(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	char *mdb_file = strdup(conf->mdb_file == NULL ? "" : conf->mdb_file);

	if (mdb_file == NULL) {
		err_nomem(err);
		return -1;
	}
	drop_reload(fleet);
	fleet->reload.mdb_file = mdb_file;
	fleet->reload.discovery = conf->discovery;
	fleet->reload.doc = conf->doc == NULL ? NULL : conf_doc_ref(conf->doc);
	return 0;
}

static void
on_reload(struct loop_task *task)
{
	struct fleet *fleet = CONTAINER_OF(task, struct fleet, reload_task);
	struct fleet_conf conf;
	struct err err;

	lock_take(&fleet->registry_lock);
	conf = (struct fleet_conf){
		.doc = fleet->reload.doc,
		.discovery = fleet->reload.discovery,
		.mdb_file = fleet->reload.mdb_file,
	};
	if (discoveries_set(fleet, &conf, &err) != 0)
		log_error("fleet", "discovery: %s; the next SIGHUP tries again", err.text);
	drop_reload(fleet);
	lock_drop(&fleet->registry_lock);
}

static void *
thread_main(void *arg)
{
	struct fleet *fleet = arg;

	pthread_setname_np(pthread_self(), "fleet");
	loop_run(fleet->loop);
	return NULL;
}

void
fleet_polled(void *ctx, struct endpoint *endpoint, const struct batch *batch)
{
	struct fleet *fleet = *(struct fleet **)ctx;
	const struct target *target = endpoint_target(endpoint);
	struct observation *seen;

	if (!str_eq(target->app, STR(HEALTH_AGENT)))
		return;
	seen = observation_new(target->host, batch);
	if (seen == NULL)
		return; /* out of memory: the next poll brings the same */
	lock_take(&fleet->inbox_lock);
	*fleet->inbox_end = seen;
	fleet->inbox_end = &seen->next;
	lock_drop(&fleet->inbox_lock);
	loop_post(fleet->loop, &fleet->inbox_task);
}

/* --- start and stop -------------------------------------------------------------------------- */

struct fleet *
fleet_new(struct pollers *pollers, struct store *store, struct own *own, struct err *err)
{
	static const char tls_options[] = "{tls: true, verify: false}";
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	if (fleet == NULL) {
		err_nomem(err);
		return NULL;
	}
	fleet->pollers = pollers;
	fleet->store = store;
	fleet->own = own;
	lock_init(&fleet->registry_lock, LOCK_registry);
	lock_init(&fleet->fleet_lock, LOCK_fleet);
	lock_init(&fleet->inbox_lock, LOCK_inbox);
	fleet->inbox_end = &fleet->inbox;
	fleet->tidy_timer.fn = on_tidy;
	fleet->inbox_task.fn = on_inbox;
	fleet->reload_task.fn = on_reload;
	members_init(fleet);
	machines_init(fleet);
	claims_init(fleet);
	fleet->loop = loop_new(err);
	fleet->tls_doc = conf_parse(str_of(tls_options), "health-checks", err);
	if (fleet->loop == NULL || fleet->tls_doc == NULL || add_own_metrics(fleet, err) != 0) {
		fleet_free(fleet);
		return NULL;
	}
	return fleet;
}

/* REQUIRES(registry_lock) */
static int
want_config(
    struct fleet *fleet, const struct fleet_conf *conf, struct conf_report *report, struct err *err)
{
	const struct conf *element = conf->endpoints == NULL ? NULL : conf->endpoints->first;
	int rc = 0;

	for (; element != NULL && rc == 0; element = element->next) {
		struct target *target = target_from_conf(
		    conf->doc, element, STR_EMPTY, STR_EMPTY, fleet->frequency_ns, report);

		if (target == NULL) {
			conf_report_err(report, err);
			return -1;
		}
		rc = member_list(fleet, target->host, target->app, err);
		if (rc == 0)
			rc = member_want(
			    fleet, target->host, target->app, ORIGIN_CONFIG, target, err);
		target_unref(target);
	}
	return rc;
}

/* Polls what the configuration lists, and no more what it listed before. REQUIRES(registry_lock) */
static int
apply_config(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	struct conf_report report;
	int rc;

	fleet->generation++;
	conf_report_init(&report, conf->doc == NULL ? "" : conf->doc->name);
	rc = want_config(fleet, conf, &report, err);
	conf_report_fini(&report);
	if (rc == 0)
		members_drop_old_config(fleet);
	return rc;
}

/* Makes the target of a registration. NULL with err. REQUIRES(registry_lock) */
static struct target *
registered_target(struct fleet *fleet, struct str host, struct str app, struct str body,
    bool from_loopback, struct err *err)
{
	struct conf_doc *doc = conf_parse(body, "body", err);
	struct conf_report report;
	struct target *target;

	if (doc == NULL)
		return NULL;
	conf_report_init(&report, doc->name);
	target = target_from_conf(doc, doc->root, host, app, fleet->frequency_ns, &report);
	if (target == NULL) {
		conf_report_err(&report, err);
	} else {
		/* Nobody else has it yet. */
		target->deny_link_local = true;
		target->deny_loopback = !from_loopback;
	}
	conf_report_fini(&report);
	conf_doc_unref(doc);
	return target;
}

/* One row of the registry. REQUIRES(registry_lock) */
static void
restore(void *ctx, struct str host, struct str app, struct str body, bool from_loopback)
{
	struct fleet *fleet = ctx;
	struct err err;
	struct target *target = registered_target(fleet, host, app, body, from_loopback, &err);

	if (target == NULL || member_list(fleet, host, app, &err) != 0 ||
	    member_want(fleet, host, app, ORIGIN_API, target, &err) != 0)
		log_error("fleet",
		    "registered endpoint is not polled: host=%.*s app=\"%.*s\" error=\"%s\"",
		    STR_ARG(host), STR_ARG(app), err.text);
	target_unref(target);
}

/* What was registered becomes members. REQUIRES(registry_lock) */
static int
read_registry(struct fleet *fleet, struct err *err)
{
	if (fleet->state == NULL)
		return 0;
	if (state_registry_each(fleet->state, restore, fleet, err) != 0)
		return -1;
	fleet->registry_read = true;
	return 0;
}

/* REQUIRES(registry_lock) */
static int
begin(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	struct err registry_err;

	fleet->own_app = strdup(conf->own_app == NULL ? "" : conf->own_app);
	if (fleet->own_app == NULL) {
		err_nomem(err);
		return -1;
	}
	fleet->frequency_ns = conf->frequency_ns;
	fleet->own_port = conf->own_port;
	if (apply_config(fleet, conf, err) != 0)
		return -1;
	fleet->state = conf->state;
	if (read_registry(fleet, &registry_err) != 0 && state_can_read(fleet->state))
		log_error("fleet", "registered endpoints are not polled for now: error=\"%s\"",
		    registry_err.text);
	if (discoveries_set(fleet, conf, err) != 0)
		return -1;
	loop_timer_set(fleet->loop, &fleet->tidy_timer, loop_now_ns(fleet->loop) + TIDY_EVERY_NS);
	return 0;
}

bool
fleet_check_discovery(const struct conf *list, struct conf_report *report)
{
	return discoveries_check(list, report);
}

int
fleet_begin(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	int rc;

	lock_take(&fleet->registry_lock);
	rc = begin(fleet, conf, err);
	if (rc == 0)
		rc = strangers_find(fleet, loop_now_ns(fleet->loop), err);
	lock_drop(&fleet->registry_lock);
	return rc;
}

int
fleet_start(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	int rc;

	if (fleet_begin(fleet, conf, err) != 0)
		return -1;
	rc = pthread_create(&fleet->thread, NULL, thread_main, fleet);
	if (rc != 0) {
		err_errno(err, rc, "start of the fleet's thread");
		return -1;
	}
	fleet->running = true;
	return 0;
}

bool
fleet_is_known(struct fleet *fleet)
{
	bool known;

	lock_take(&fleet->registry_lock);
	known = discoveries_are_known(fleet);
	lock_drop(&fleet->registry_lock);
	return known;
}

void
fleet_stop(struct fleet *fleet)
{
	if (fleet == NULL)
		return;
	if (fleet->running) {
		loop_stop(fleet->loop);
		pthread_join(fleet->thread, NULL);
		fleet->running = false;
	}
	lock_take(&fleet->registry_lock);
	discoveries_stop(fleet);
	members_stop(fleet);
	lock_drop(&fleet->registry_lock);
}

void
fleet_free(struct fleet *fleet)
{
	struct observation *seen;

	if (fleet == NULL)
		return;
	assert(!fleet->running);
	own_remove(fleet->own, own_rows, fleet);
	lock_take(&fleet->registry_lock);
	discoveries_stop(fleet); /* of a fleet that never started */
	drop_reload(fleet);
	lock_drop(&fleet->registry_lock);
	loop_free(fleet->loop);
	while ((seen = fleet->inbox) != NULL) {
		fleet->inbox = seen->next;
		observation_free(seen);
	}
	strangers_fini(fleet);
	members_fini(fleet);
	machines_fini(fleet);
	claims_fini(fleet);
	conf_doc_unref(fleet->tls_doc);
	free(fleet->own_app);
	lock_fini(&fleet->registry_lock);
	lock_fini(&fleet->fleet_lock);
	lock_fini(&fleet->inbox_lock);
	free(fleet);
}

/* Targets that name no interval get the new one. REQUIRES(registry_lock) */
static void
refresh_registered(struct fleet *fleet)
{
	struct err err;

	if (read_registry(fleet, &err) != 0)
		log_error("fleet", "registered endpoints keep their interval: %s", err.text);
}

int
fleet_reload(struct fleet *fleet, const struct fleet_conf *conf, struct err *err)
{
	int rc;

	lock_take(&fleet->registry_lock);
	fleet->frequency_ns = conf->frequency_ns;
	fleet->own_port = conf->own_port;
	rc = apply_config(fleet, conf, err);
	if (rc == 0) {
		refresh_registered(fleet);
		machines_refresh(fleet);
		rc = keep_reload(fleet, conf, err);
	}
	lock_drop(&fleet->registry_lock);
	if (rc == 0)
		loop_post(fleet->loop, &fleet->reload_task);
	return rc;
}

/* --- registration over the API --------------------------------------------------------------- */

/* What could not be read at the start may be there by now. REQUIRES(registry_lock) */
static int
check_registry(struct fleet *fleet, struct err *err)
{
	if (fleet->state == NULL || fleet->registry_read)
		return 0;
	return read_registry(fleet, err);
}

/* Keeps the registration, then has it polled. REQUIRES(registry_lock) */
static int
put(struct fleet *fleet, struct target *target, struct str body, bool from_loopback, bool *created,
    struct err *err)
{
	struct member *member = member_find(fleet, target->host, target->app);
	bool is_new = member == NULL || member->wanted[ORIGIN_API] == NULL;
	struct err undo_err;

	if (check_registry(fleet, err) != 0)
		return -1;
	/* On disk first: what was answered with 201 is there after a crash. */
	if (fleet->state != NULL && state_registry_put(fleet->state, target->host, target->app,
	                                body, from_loopback, err) != 0)
		return -1;
	if (member_want(fleet, target->host, target->app, ORIGIN_API, target, err) == 0) {
		*created = is_new;
		return 0;
	}
	if (fleet->state != NULL && is_new &&
	    state_registry_delete(fleet->state, target->host, target->app, &undo_err) != 0)
		log_error("fleet", "a refused registration is kept: %s", undo_err.text);
	return -1;
}

int
fleet_put(struct fleet *fleet, struct str host, struct str app, struct str body, bool from_loopback,
    bool *created, struct err *err)
{
	struct target *target;
	int rc = -1;

	if (body.len > FLEET_BODY_BYTES_MAX) {
		err_set(err, ERR_CONFIG, "body is larger than %d bytes", FLEET_BODY_BYTES_MAX);
		return -1;
	}
	if (host.len == 0 || app.len == 0) {
		err_set(err, ERR_CONFIG, "host and app must not be empty");
		return -1;
	}
	lock_take(&fleet->registry_lock);
	target = registered_target(fleet, host, app, body, from_loopback, err);
	if (target != NULL)
		rc = put(fleet, target, body, from_loopback, created, err);
	lock_drop(&fleet->registry_lock);
	target_unref(target);
	return rc;
}

int
fleet_delete(struct fleet *fleet, struct str host, struct str app, struct err *err)
{
	struct member *member;
	int rc = -1;

	lock_take(&fleet->registry_lock);
	member = member_find(fleet, host, app);
	if (member == NULL || member->hidden) {
		err_set(err, ERR_NOTFOUND, "no endpoint %.*s/%.*s", STR_ARG(host), STR_ARG(app));
	} else if (member->wanted[ORIGIN_API] == NULL) {
		err_set(err, ERR_DENIED,
		    "endpoint %.*s/%.*s was not registered over the API but by: %s", STR_ARG(host),
		    STR_ARG(app), origin_name(member->origin));
	} else if (check_registry(fleet, err) == 0 &&
	           (fleet->state == NULL ||
	               state_registry_delete(fleet->state, host, app, err) == 0)) {
		rc = member_want(fleet, host, app, ORIGIN_API, NULL, err);
		if (rc == 0)
			member_hide(fleet, member);
	}
	lock_drop(&fleet->registry_lock);
	return rc;
}
