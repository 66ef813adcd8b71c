/*
 * A fleet whose loop is turned by hand, over pollers that have no threads; the last tests let all
 * threads run.
 */
#include "fleet/fleet.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "fleet/fleet_priv.h"
#include "fleet/target_conf_priv.h"
#include "poller/endpoint_priv.h"
#include "temp_dir.h"

#define FREQUENCY_NS (30 * NS_PER_S)
#define SETTLED_NS   (100 * NS_PER_MS) /* for a change of the machine list */
#define OWN_PORT     6980

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define IS_SLOW_BUILD true
#else
#define IS_SLOW_BUILD false
#endif

/* The fixture. */

struct fixture {
	struct temp_dir dir;
	bool keeps; /* in the state directory */
	struct own *own;
	struct store *store;
	struct resolver *resolver;
	struct pollers *pollers;
	struct fleet *fleet;
	struct fleet_conf conf;
	struct conf_doc *doc;
	char mdb_file[128];
	int64_t mono_ns, real_ns;
	struct batch batch; /* what a health agent says next */
};

static const struct pollers_conf pollers_conf = {
	.threads = 1,
	.connections = 100,
	.connect_timeout_ns = NS_PER_S,
	.poll_timeout_ns = NS_PER_S,
	.max_response = 1 << 20,
};

static void
make_base(struct fixture *f, uint64_t store_bytes)
{
	struct store_conf store_conf = { .memory_bytes = store_bytes };
	struct resolver_conf resolver_conf = { .threads = 1 };
	struct err err;

	*f = (struct fixture){ .mono_ns = clock_mono_ns(), .real_ns = clock_real_ns() };
	temp_dir_init(&f->dir);
	f->keeps = true;
	snprintf(f->mdb_file, sizeof(f->mdb_file), "%s", temp_path(&f->dir, "mdb"));
	f->conf = (struct fleet_conf){
		.frequency_ns = FREQUENCY_NS,
		.mdb_file = f->mdb_file,
		.own_app = "scotty",
	};
	batch_init(&f->batch, 0);
	batch_set_unordered(&f->batch);
	f->own = own_new(&err);
	assert_non_null(f->own);
	f->store = store_new(&store_conf, NULL, &err);
	assert_non_null(f->store);
	f->resolver = resolver_new(&resolver_conf, &err);
	assert_non_null(f->resolver);
}

static void
free_base(struct fixture *f)
{
	batch_fini(&f->batch);
	conf_doc_unref(f->doc);
	resolver_free(f->resolver);
	store_free(f->store);
	own_free(f->own);
	temp_dir_fini(&f->dir);
}

static void
set_clock(struct fixture *f)
{
	loop_set_clock(f->fleet->loop, f->mono_ns, f->real_ns);
}

/* With conf as it is. */
static void
start(struct fixture *f)
{
	struct err err;

	if (f->keeps)
		f->conf.state = state_open(f->dir.path, &err);
	f->pollers = pollers_make(&pollers_conf, f->store, f->resolver, f->own, &err);
	if (f->pollers == NULL)
		fail_msg("%s", err.text);
	f->fleet = fleet_new(f->pollers, f->store, f->own, &err);
	if (f->fleet == NULL)
		fail_msg("%s", err.text);
	set_clock(f);
	if (fleet_begin(f->fleet, &f->conf, &err) != 0)
		fail_msg("%s", err.text);
}

/* Turns both loops until nothing that was posted is left. */
static void
turn(struct fixture *f)
{
	for (int i = 0; i < 3; i++) {
		loop_turn(f->fleet->loop, 0);
		loop_turn(f->pollers->pollers[0].loop, 0);
	}
}

static void
pass(struct fixture *f, int64_t ns)
{
	turn(f);
	f->mono_ns += ns;
	f->real_ns += ns;
	set_clock(f);
	turn(f);
}

static void
stop(struct fixture *f)
{
	fleet_stop(f->fleet);
	turn(f);
	pollers_unmake(f->pollers);
	fleet_free(f->fleet);
	f->fleet = NULL;
	state_close(f->conf.state);
	f->conf.state = NULL;
	own_free(f->own); /* distributions stay registered for good */
	f->own = NULL;
}

static void
restart(struct fixture *f)
{
	struct err err;

	stop(f);
	store_free(f->store);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 16 << 20 }, NULL, &err);
	f->own = own_new(&err);
	assert_non_null(f->store);
	assert_non_null(f->own);
	start(f);
}

static int
setup(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	make_base(f, 16 << 20);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->fleet != NULL)
		stop(f);
	free_base(f);
	free(f);
	return 0;
}

/* Sets the configuration's endpoints for the next start or reload. */
static void
configure(struct fixture *f, const char *endpoints)
{
	struct err err;

	conf_doc_unref(f->doc);
	f->doc = conf_parse(str_of(endpoints), "f", &err);
	if (f->doc == NULL)
		fail_msg("%s", err.text);
	f->conf.doc = f->doc;
	f->conf.endpoints = f->doc->root;
}

static void
reload(struct fixture *f)
{
	struct err err;

	if (fleet_reload(f->fleet, &f->conf, &err) != 0)
		fail_msg("%s", err.text);
	turn(f);
}

/* All discoverers read what they know anew. */
static void
look_again(struct fixture *f)
{
	lock_take(&f->fleet->registry_lock);
	for (struct discovery *d = f->fleet->discoveries; d != NULL; d = d->next)
		d->ops->refresh(d->discoverer);
	lock_drop(&f->fleet->registry_lock);
}

/* Writes the machine list and waits until it is read. */
static void
list_machines(struct fixture *f, const char *text)
{
	temp_write(&f->dir, "mdb", text);
	pass(f, SETTLED_NS);
}

static bool
put(struct fixture *f, const char *host, const char *app, const char *body)
{
	bool created;
	struct err err;

	if (fleet_put(f->fleet, str_of(host), str_of(app), str_of(body), false, &created, &err) !=
	    0)
		fail_msg("%s", err.text);
	return created;
}

/* ERR_NONE if it worked. */
static enum err_code
put_code(struct fixture *f, const char *host, const char *app, const char *body)
{
	bool created;
	struct err err = { ERR_NONE, "" };

	fleet_put(f->fleet, str_of(host), str_of(app), str_of(body), false, &created, &err);
	return err.code;
}

static enum err_code
delete_code(struct fixture *f, const char *host, const char *app)
{
	struct err err = { ERR_NONE, "" };

	fleet_delete(f->fleet, str_of(host), str_of(app), &err);
	return err.code;
}

static struct member *
member(struct fixture *f, const char *host, const char *app)
{
	struct member *found = member_find(f->fleet, str_of(host), str_of(app));

	if (found == NULL)
		fail_msg("no member %s/%s", host, app);
	return found;
}

static const struct target *
target(struct fixture *f, const char *host, const char *app)
{
	return member(f, host, app)->target;
}

static void
add_member(struct buf *out, struct member *m)
{
	struct member_view view;

	member_view(m, &view);
	buf_printf(out, "%.*s/%.*s %.*s:%u %s %s%s\n", STR_ARG(view.host), STR_ARG(view.app),
	    STR_ARG(view.address), (unsigned)view.port, view.source, origin_name(view.origin),
	    view.active ? "" : " inactive");
}

/* "HOST/APP ADDRESS:PORT SOURCE ORIGIN[ inactive]\n..." */
static void
assert_members(struct fixture *f, const char *expected)
{
	struct member **members;
	struct buf got;
	struct err err;
	size_t n;

	assert_int_equal(fleet_snapshot(f->fleet, &members, &n, &err), 0);
	buf_init(&got, 0);
	for (size_t i = 0; i < n; i++)
		add_member(&got, members[i]);
	buf_putc(&got, '\0');
	assert_false(got.failed);
	if (strcmp(got.p, expected) != 0)
		print_error("members are:\n%s", got.p);
	assert_string_equal(got.p, expected);
	buf_fini(&got);
	fleet_snapshot_free(members, n);
}

static void
add_metric(struct fixture *f, const char *app, const char *leaf, enum kind kind, struct value value)
{
	char path[128];
	struct metric_desc desc = { .kind = kind };
	struct err err;

	snprintf(path, sizeof(path), "/health-checks/%s/%s", app, leaf);
	desc.path = arena_copy(&f->batch.arena, str_of(path));
	assert_int_equal(batch_add(&f->batch, &desc, &value, 0, TS_NONE, &err), 0);
}

static void
announce(struct fixture *f, const char *app, int64_t port, bool tls)
{
	add_metric(f, app, "has-tricorder-metrics", KIND_BOOL, (struct value){ .b = true });
	add_metric(f, app, "port-number", KIND_INT64, (struct value){ .i = port });
	if (tls)
		add_metric(f, app, "use-tls", KIND_BOOL, (struct value){ .b = true });
}

/* The endpoint was polled and gave what was announced before. */
static void
polled(struct fixture *f, const char *host, const char *app)
{
	fleet_polled(&f->fleet, member(f, host, app)->endpoint, &f->batch);
	batch_reset(&f->batch);
	batch_set_unordered(&f->batch);
	turn(f);
}

/* Configuration and registration. */

static void
configured_endpoints_are_polled(void **state)
{
	struct fixture *f = *state;

	configure(f, "- {host: b, app: a, port: 1}\n"
	             "- {host: a, app: z, source: self, region: r}\n"
	             "- {host: a, app: b, port: 2, address: 10.0.0.1}\n");
	start(f);
	assert_members(f, "a/b 10.0.0.1:2 tricorder config\n"
	                  "a/z a:0 self config\n"
	                  "b/a b:1 tricorder config\n");
	assert_false(target(f, "b", "a")->deny_loopback);
	assert_false(target(f, "b", "a")->deny_link_local);
	turn(f);
	assert_int_equal(f->pollers->endpoint_count, 3);
}

static void
a_reload_disturbs_only_what_changed(void **state)
{
	struct fixture *f = *state;
	const struct endpoint *same, *changed;

	configure(f, "- {host: a, app: same, port: 1, options: {path: /x, tls: true}}\n"
	             "- {host: a, app: changed, port: 1}\n"
	             "- {host: a, app: gone, port: 1}\n");
	start(f);
	same = member(f, "a", "same")->endpoint;
	changed = member(f, "a", "changed")->endpoint;
	configure(f, "- {host: a, app: changed, port: 2}\n"
	             "- {host: a, app: new, port: 1}\n"
	             "- {app: same, host: a, port: 1, options: {tls: true, path: /x}}\n");
	reload(f);
	assert_ptr_equal(member(f, "a", "same")->endpoint, same);
	assert_ptr_not_equal(member(f, "a", "changed")->endpoint, changed);
	assert_members(f, "a/changed a:2 tricorder config\n"
	                  "a/gone a:1 tricorder config inactive\n"
	                  "a/new a:1 tricorder config\n"
	                  "a/same a:1 tricorder config\n");
	assert_int_equal(f->pollers->endpoint_count, 3);
	f->conf.endpoints = NULL;
	f->conf.doc = NULL;
	reload(f);
	assert_int_equal(f->fleet->active_count, 0);
}

static void
a_new_frequency_reaches_those_that_name_no_interval(void **state)
{
	struct fixture *f = *state;

	configure(f, "- {host: c, app: a, port: 1}\n- {host: c, app: b, port: 1, interval: 7s}\n");
	start(f);
	put(f, "p", "a", "{port: 1}");
	put(f, "p", "b", "{port: 1, interval: 7s}");
	list_machines(f, "[{\"Hostname\": \"m\"}]");
	f->conf.frequency_ns = NS_PER_S;
	reload(f);
	assert_int_equal(target(f, "c", "a")->interval_ns, NS_PER_S);
	assert_int_equal(target(f, "c", "b")->interval_ns, 7 * NS_PER_S);
	assert_int_equal(target(f, "p", "a")->interval_ns, NS_PER_S);
	assert_int_equal(target(f, "p", "b")->interval_ns, 7 * NS_PER_S);
	assert_int_equal(target(f, "m", "health agent")->interval_ns, NS_PER_S);
}

static void
registrations_can_be_replaced_and_deleted(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_true(put(f, "h", "a", "{\"port\": 1}"));
	assert_false(put(f, "h", "a", "{\"port\": 2, \"host\": \"h\"}"));
	assert_members(f, "h/a h:2 tricorder api\n");
	assert_int_equal(delete_code(f, "h", "a"), ERR_NONE);
	assert_members(f, "");
	assert_int_equal(delete_code(f, "h", "a"), ERR_NOTFOUND);
	/* Its history is still there. */
	assert_non_null(member(f, "h", "a"));
	assert_true(put(f, "h", "a", "{\"port\": 3}"));
	assert_members(f, "h/a h:3 tricorder api\n");
}

static void
registrations_survive_a_restart(void **state)
{
	struct fixture *f = *state;
	bool created;
	struct err err;

	start(f);
	put(f, "h", "a", "{port: 1, options: {path: /x}}");
	put(f, "h", "gone", "{port: 1}");
	assert_int_equal(delete_code(f, "h", "gone"), ERR_NONE);
	assert_int_equal(
	    fleet_put(f->fleet, STR("h"), STR("near"), STR("{port: 3}"), true, &created, &err), 0);
	restart(f);
	assert_members(f, "h/a h:1 tricorder api\nh/near h:3 tricorder api\n");
	assert_true(target(f, "h", "a")->deny_loopback);
	assert_false(target(f, "h", "near")->deny_loopback);
	assert_non_null(target(f, "h", "a")->options);
	assert_false(put(f, "h", "a", "{port: 1}"));
}

static void
registrations_are_guarded(void **state)
{
	struct fixture *f = *state;
	bool created;
	struct err err;

	start(f);
	put(f, "h", "far", "{port: 1}");
	assert_true(target(f, "h", "far")->deny_loopback);
	assert_true(target(f, "h", "far")->deny_link_local);
	assert_int_equal(
	    fleet_put(f->fleet, STR("h"), STR("near"), STR("{port: 1}"), true, &created, &err), 0);
	assert_false(target(f, "h", "near")->deny_loopback);
	assert_true(target(f, "h", "near")->deny_link_local);
}

static void
bad_registrations_change_nothing(void **state)
{
	struct fixture *f = *state;
	static char big[FLEET_BODY_BYTES_MAX + 2];

	start(f);
	put(f, "h", "a", "{port: 1}");
	assert_int_equal(put_code(f, "h", "a", "{port: 0}"), ERR_CONFIG);
	assert_int_equal(put_code(f, "h", "a", "{port: 1"), ERR_CONFIG);
	assert_int_equal(put_code(f, "h", "a", ""), ERR_CONFIG);
	assert_int_equal(put_code(f, "h", "a", "{port: 1, host: g}"), ERR_CONFIG);
	assert_int_equal(put_code(f, "", "a", "{port: 1, host: g}"), ERR_CONFIG);
	assert_int_equal(put_code(f, "g", "", "{port: 1, app: a}"), ERR_CONFIG);
	assert_int_equal(put_code(f, "h/g", "a", "{port: 1}"), ERR_CONFIG);
	memset(big, ' ', sizeof(big) - 1);
	assert_int_equal(put_code(f, "h", "a", big), ERR_CONFIG);
	memset(big, 'x', 300);
	big[300] = '\0';
	assert_int_equal(put_code(f, big, "a", "{port: 1}"), ERR_CONFIG);
	assert_int_equal(delete_code(f, big, "a"), ERR_NOTFOUND);
	assert_int_equal(delete_code(f, "", ""), ERR_NOTFOUND);
	assert_members(f, "h/a h:1 tricorder api\n");
	restart(f);
	assert_members(f, "h/a h:1 tricorder api\n");
}

static void
a_largest_body_is_taken(void **state)
{
	struct fixture *f = *state;
	static char body[FLEET_BODY_BYTES_MAX + 1];

	start(f);
	memset(body, ' ', sizeof(body) - 1);
	memcpy(body, "{port: 1}", 9);
	assert_true(put(f, "h", "a", body));
	restart(f);
	assert_members(f, "h/a h:1 tricorder api\n");
}

static void
only_registrations_can_be_deleted(void **state)
{
	struct fixture *f = *state;

	configure(f, "- {host: h, app: a, port: 1}\n");
	start(f);
	assert_int_equal(delete_code(f, "h", "a"), ERR_DENIED);
	assert_int_equal(delete_code(f, "h", "b"), ERR_NOTFOUND);
	/* The configuration comes first; what was registered beside it goes unseen. */
	assert_true(put(f, "h", "a", "{port: 2}"));
	assert_members(f, "h/a h:1 tricorder config\n");
	assert_int_equal(delete_code(f, "h", "a"), ERR_NONE);
	assert_members(f, "h/a h:1 tricorder config\n");
	assert_int_equal(delete_code(f, "h", "a"), ERR_DENIED);
}

static void
without_a_registry_nothing_can_be_registered(void **state)
{
	struct fixture *f = *state;

	configure(f, "- {host: h, app: a, port: 1}\n");
	assert_int_equal(mkdir(temp_path(&f->dir, "state.db"), 0700), 0);
	start(f);
	assert_int_equal(put_code(f, "h", "b", "{port: 1}"), ERR_IO);
	assert_int_equal(delete_code(f, "h", "a"), ERR_DENIED);
	assert_members(f, "h/a h:1 tricorder config\n");
}

static void
without_a_state_directory_registrations_are_not_kept(void **state)
{
	struct fixture *f = *state;

	f->keeps = false;
	start(f);
	assert_true(put(f, "h", "b", "{port: 1}"));
	assert_int_equal(delete_code(f, "h", "b"), ERR_NONE);
	assert_true(put(f, "h", "b", "{port: 1}"));
	restart(f);
	assert_members(f, "");
}

static void
a_row_that_makes_no_sense_is_left_out_and_kept(void **state)
{
	struct fixture *f = *state;
	struct state *kept;
	struct err err;

	kept = state_open(f->dir.path, &err);
	assert_non_null(kept);
	assert_int_equal(state_registry_put(
	                     kept, STR("h"), STR("a"), STR("{source: gone, port: 1}"), false, &err),
	    0);
	assert_int_equal(
	    state_registry_put(kept, STR("h"), STR("b"), STR("{port: 1}"), false, &err), 0);
	state_close(kept);
	start(f);
	assert_members(f, "h/b h:1 tricorder api\n");
	stop(f);
	kept = state_open(f->dir.path, &err);
	assert_non_null(kept);
	assert_int_equal(state_registry_delete(kept, STR("h"), STR("b"), &err), 0);
	state_close(kept);
	f->own = own_new(&err);
	start(f);
	assert_members(f, "");
	assert_int_equal(put_code(f, "h", "a", "{port: 2}"), ERR_NONE);
}

/* The machine list. */

static void
machines_get_their_health_agent(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "mdb",
	    "[{\"Hostname\": \"m1\", \"IpAddress\": \"10.0.0.1\", \"AwsMetadata\": {\"Region\": "
	    "\"r\"}},"
	    " {\"Hostname\": \"m2*9001\"}, {\"Hostname\": \"m3\"}]");
	start(f);
	assert_members(f, "m1/health agent 10.0.0.1:6910 tricorder mdb\n"
	                  "m2*9001/health agent m2:6910 tricorder mdb\n"
	                  "m3/health agent m3:6910 tricorder mdb\n");
	assert_true(str_eq(target(f, "m1", "health agent")->region, STR("r")));
	assert_false(target(f, "m1", "health agent")->deny_loopback);
	assert_int_equal(f->fleet->machine_count, 3);
}

static void
a_list_that_comes_later_is_read(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_members(f, "");
	list_machines(f, "[{\"Hostname\": \"m1\"}]");
	assert_members(f, "m1/health agent m1:6910 tricorder mdb\n");
	temp_replace(&f->dir, "mdb", "[{\"Hostname\": \"m2\"}]");
	pass(f, SETTLED_NS);
	assert_members(f, "m1/health agent m1:6910 tricorder mdb inactive\n"
	                  "m2/health agent m2:6910 tricorder mdb\n");
}

static void
a_list_that_vanishes_or_breaks_leaves_the_machines(void **state)
{
	struct fixture *f = *state;
	static const char expected[] = "m1/health agent m1:6910 tricorder mdb\n";

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m1\"}]");
	start(f);
	remove(f->mdb_file);
	pass(f, SETTLED_NS);
	assert_members(f, expected);
	list_machines(f, "[{\"Hostname\": \"m2\"");
	assert_members(f, expected);
	pass(f, 10 * NS_PER_S);
	assert_members(f, expected);
	list_machines(f, "[]");
	assert_members(f, "m1/health agent m1:6910 tricorder mdb inactive\n");
}

static void
a_half_written_list_is_read_again_soon(void **state)
{
	struct fixture *f = *state;

	/* Written by another name, in a directory that nobody watches: no event tells of it. */
	assert_int_equal(mkdir(temp_path(&f->dir, "d"), 0700), 0);
	temp_write(&f->dir, "mdb", "[{\"Hostname\"");
	assert_int_equal(link(f->mdb_file, temp_path(&f->dir, "d/alias")), 0);
	start(f);
	assert_members(f, "");
	temp_write(&f->dir, "d/alias", "[{\"Hostname\": \"m1\"}]");
	pass(f, 400 * NS_PER_MS);
	assert_members(f, "m1/health agent m1:6910 tricorder mdb\n");
	remove(temp_path(&f->dir, "d/alias"));
}

static void
only_machines_that_changed_are_disturbed(void **state)
{
	struct fixture *f = *state;
	const struct endpoint *same, *moved;

	temp_write(&f->dir, "mdb",
	    "[{\"Hostname\": \"a\", \"IpAddress\": \"10.0.0.1\"}, {\"Hostname\": \"b\"}]");
	start(f);
	same = member(f, "b", "health agent")->endpoint;
	moved = member(f, "a", "health agent")->endpoint;
	list_machines(
	    f, "[{\"Hostname\": \"b\"}, {\"Hostname\": \"a\", \"IpAddress\": \"10.0.0.2\"}]");
	assert_ptr_equal(member(f, "b", "health agent")->endpoint, same);
	assert_ptr_not_equal(member(f, "a", "health agent")->endpoint, moved);
	assert_members(f, "a/health agent 10.0.0.2:6910 tricorder mdb\n"
	                  "b/health agent b:6910 tricorder mdb\n");
	assert_int_equal(f->pollers->endpoint_count, 2);
}

static void
without_a_list_in_the_configuration_there_are_no_machines(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	f->conf.mdb_file = NULL;
	reload(f);
	assert_members(f, "m/health agent m:6910 tricorder mdb inactive\n");
	assert_int_equal(f->fleet->machine_count, 0);
	f->conf.mdb_file = f->mdb_file;
	reload(f);
	assert_members(f, "m/health agent m:6910 tricorder mdb\n");
}

/* The table `discovery`. */

/* Sets the table for the next start or reload; $D in it is the test's directory. */
static void
discover(struct fixture *f, const char *table)
{
	struct conf_report report;
	struct buf text;
	struct err err;

	buf_init(&text, 0);
	for (const char *p = table; *p != '\0'; p++) {
		if (p[0] == '$' && p[1] == 'D')
			buf_puts(&text, f->dir.path), p++;
		else
			buf_putc(&text, *p);
	}
	conf_doc_unref(f->doc);
	f->doc = conf_parse(buf_view(&text), "f", &err);
	if (f->doc == NULL)
		fail_msg("%s", err.text);
	conf_report_init(&report, "f");
	if (!fleet_check_discovery(f->doc->root, &report))
		fail_msg("%.*s", STR_ARG(buf_view(&report.text)));
	conf_report_fini(&report);
	buf_fini(&text);
	f->conf.doc = f->doc;
	f->conf.discovery = f->doc->root;
}

static void
targets_come_from_files(void **state)
{
	struct fixture *f = *state;
	const struct target *t;

	temp_write(&f->dir, "a.json",
	    "[{\"targets\": [\"web1:9100\", \"[::1]:9101\"], \"labels\": {\"job\": \"j\","
	    " \"dc\": \"x\", \"__meta_a\": \"b\", \"__metrics_path__\": \"/m\"}}]");
	temp_write(&f->dir, "b.yml",
	    "- targets: [web2]\n  labels: {region: r, __scheme__: https,\n"
	    "    __scrape_interval__: 7s}\n");
	discover(f, "[{fileSd: [$D/*.json, $D/*.yml], interval: 15s}]");
	start(f);
	assert_members(f, "::1/j ::1:9101 tricorder fileSd\n"
	                  "web1/j web1:9100 tricorder fileSd\n"
	                  "web2/tricorder web2:443 tricorder fileSd\n");
	t = target(f, "web1", "j");
	assert_int_equal(t->interval_ns, 15 * NS_PER_S);
	assert_int_equal(t->tag_count, 2);
	assert_true(str_eq(t->tags[0].key, STR("dc")) && str_eq(t->tags[0].value, STR("x")));
	assert_true(str_eq(t->tags[1].key, STR("job")));
	assert_true(str_eq(conf_child(t->options, "path")->text, STR("/m")));
	assert_false(t->deny_loopback);
	t = target(f, "web2", "tricorder");
	assert_int_equal(t->interval_ns, 7 * NS_PER_S);
	assert_true(str_eq(conf_child(t->options, "tls")->text, STR("true")));
	assert_true(str_eq(t->region, STR("r")));
	assert_int_equal(t->tag_count, 0);
}

static void
files_come_change_break_and_vanish(void **state)
{
	static const char list[] = "[{\"targets\": [\"a:1\", \"b:2\"]}]";
	struct fixture *f = *state;
	const struct endpoint *same;

	discover(f, "[{fileSd: $D/later/*.json, app: x}]");
	start(f);
	assert_members(f, "");
	assert_int_equal(mkdir(temp_path(&f->dir, "later"), 0700), 0);
	pass(f, 4 * NS_PER_S); /* no event tells of a directory that is new */
	temp_write(&f->dir, "later/1.json", list);
	pass(f, SETTLED_NS);
	assert_members(f, "a/x a:1 tricorder fileSd\nb/x b:2 tricorder fileSd\n");
	same = member(f, "b", "x")->endpoint;
	temp_write(&f->dir, "later/1.json", "[{\"targets\": [\"b:2\", \"c:3\"");
	log_set_level(LOG_ERROR + 1);
	pass(f, SETTLED_NS);
	pass(f, 10 * NS_PER_S);
	log_set_level(LOG_ERROR);
	assert_members(f, "a/x a:1 tricorder fileSd\nb/x b:2 tricorder fileSd\n");
	temp_write(&f->dir, "later/1.json", "[{\"targets\": [\"b:2\", \"c:3\"]}]");
	pass(f, SETTLED_NS);
	assert_members(f, "a/x a:1 tricorder fileSd inactive\nb/x b:2 tricorder fileSd\n"
	                  "c/x c:3 tricorder fileSd\n");
	assert_ptr_equal(member(f, "b", "x")->endpoint, same);
	remove(temp_path(&f->dir, "later/1.json"));
	log_set_level(LOG_ERROR + 1);
	pass(f, 10 * NS_PER_S);
	log_set_level(LOG_ERROR);
	assert_int_equal(f->fleet->active_count, 2);
	temp_write(&f->dir, "later/1.json", "[]"); /* nothing is believed when it is said */
	pass(f, SETTLED_NS);
	assert_int_equal(f->fleet->active_count, 0);
	remove(temp_path(&f->dir, "later/1.json"));
	assert_int_equal(rmdir(temp_path(&f->dir, "later")), 0);
}

static void
one_changed_file_touches_only_its_targets(void **state)
{
	enum { FILES = 100 };
	struct fixture *f = *state;
	const struct endpoint *before[FILES];
	char name[32], text[64];
	size_t changed = 0;

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%03d.json", i);
		snprintf(text, sizeof(text), "[{\"targets\": [\"h%d:1\"]}]", i);
		temp_write(&f->dir, name, text);
	}
	discover(f, "[{fileSd: $D/*.json, app: x}]");
	f->conf.mdb_file = NULL;
	start(f);
	assert_int_equal(f->fleet->discoveries->target_count, FILES);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "h%d", i);
		before[i] = member(f, name, "x")->endpoint;
	}
	temp_write(&f->dir, "007.json", "[{\"targets\": [\"h7:2\"]}]");
	pass(f, SETTLED_NS);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "h%d", i);
		changed += member(f, name, "x")->endpoint != before[i];
	}
	assert_int_equal(changed, 1);
	assert_int_equal(target(f, "h7", "x")->port, 2);
	assert_int_equal(f->fleet->discoveries->change_count, FILES + 1);
}

static void
targets_of_one_name_get_names_of_their_own(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "a.json", "[{\"targets\": [\"h:1\", \"h:2\", \"h:2\", \"g:1\"]}]");
	temp_write(&f->dir, "b.json",
	    "[{\"targets\": [\"h:1\", \"g:1\"]},"
	    " {\"targets\": [\"h:2\"], \"labels\": {\"__metrics_path__\": \"/other\"}}]");
	discover(f, "[{fileSd: [$D/a.json, $D/b.json], app: x}]");
	start(f);
	assert_members(f, "g/x g:1 tricorder fileSd\n"
	                  "h/x h:1 tricorder fileSd\n"
	                  "h/x:2 h:2 tricorder fileSd\n"
	                  "h/x:2:5e954b18 h:2 tricorder fileSd\n");
	/* What two name is polled for the other when one goes. */
	temp_write(&f->dir, "a.json", "[{\"targets\": [\"h:2\"]}]");
	pass(f, SETTLED_NS);
	assert_int_equal(f->fleet->active_count, 4);
	temp_write(&f->dir, "b.json", "[]");
	pass(f, SETTLED_NS);
	assert_int_equal(f->fleet->active_count, 1);
	assert_non_null(member(f, "h", "x:2")->endpoint);
}

static void
entries_of_one_target_take_turns(void **state)
{
	struct fixture *f = *state;
	const struct endpoint *same;

	temp_write(&f->dir, "a.json", "[{\"targets\": [\"h:1\"]}]");
	temp_write(&f->dir, "m", "[{\"Hostname\": \"h\"}]");
	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"h\", \"IpAddress\": \"10.0.0.1\"}]");
	discover(f, "[{fileSd: $D/a.json, app: x, interval: 5s}, {mdb: $D/m},"
	            " {fileSd: $D/?.json, app: x}]");
	start(f);
	/* The first machine list counts. */
	assert_members(f, "h/health agent 10.0.0.1:6910 tricorder mdb\nh/x h:1 tricorder fileSd\n");
	same = member(f, "h", "x")->endpoint;
	assert_int_equal(target(f, "h", "x")->interval_ns, 5 * NS_PER_S);
	discover(f, "[{mdb: $D/m}, {fileSd: $D/?.json, app: x, interval: 5s}]");
	f->conf.mdb_file = "";
	reload(f);
	assert_members(f, "h/health agent h:6910 tricorder mdb\nh/x h:1 tricorder fileSd\n");
	assert_ptr_equal(member(f, "h", "x")->endpoint, same);
	f->conf.discovery = NULL;
	reload(f);
	assert_int_equal(f->fleet->active_count, 0);
	assert_null(f->fleet->discoveries);
	assert_int_equal(f->fleet->claims.len, 0);
}

static void
a_reload_changes_what_the_entry_says_and_drops_files_that_are_gone(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "a.json", "[{\"targets\": [\"a:1\"]}]");
	temp_write(&f->dir, "b.json", "[{\"targets\": [\"b:1\"]}]");
	discover(f, "[{fileSd: $D/*.json, app: x}]");
	start(f);
	remove(temp_path(&f->dir, "b.json"));
	discover(f, "[{fileSd: $D/*.json, app: x, interval: 3s, options: {path: /p}}]");
	log_set_level(LOG_ERROR + 1);
	reload(f);
	log_set_level(LOG_ERROR);
	assert_members(f, "a/x a:1 tricorder fileSd\nb/x b:1 tricorder fileSd inactive\n");
	assert_int_equal(target(f, "a", "x")->interval_ns, 3 * NS_PER_S);
	assert_true(str_eq(conf_child(target(f, "a", "x")->options, "path")->text, STR("/p")));
}

static void
five_thousand_targets_load_within_a_second(void **state)
{
	struct fixture *f = *state;
	FILE *file = fopen(temp_path(&f->dir, "a.json"), "w");
	struct err err;
	clock_t began;
	double seconds;

	store_free(f->store);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 64 << 20 }, NULL, &err);
	assert_non_null(file);
	fputs("[", file);
	for (int i = 0; i < 5000; i++)
		fprintf(file,
		    "%s{\"targets\": [\"h%d.example.com:9100\"], \"labels\": {\"rack\": \"r%d\","
		    " \"__metrics_path__\": \"/m%d\"}}\n",
		    i > 0 ? "," : "", i, i / 40, i % 10);
	fputs("]", file);
	fclose(file);
	discover(f, "[{fileSd: $D/a.json, app: x}]");
	began = clock(); /* of the processor, so that other tests may run beside it */
	start(f);
	seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	assert_int_equal(f->fleet->active_count, 5000);
	print_message("5,000 targets of a file started in %.3f s\n", seconds);
	if (!IS_SLOW_BUILD)
		assert_true(seconds < 1);
}

static void
a_list_of_targets_survives_any_want_of_memory(void **state)
{
	struct fixture *f = *state;
	bool failed = true;

	discover(f, "[{fileSd: $D/*.json, app: x}]");
	start(f);
	temp_write(&f->dir, "a.json",
	    "[{\"targets\": [\"a:1\", \"a:2\", \"b:1\"], \"labels\":"
	    " {\"__metrics_path__\": \"/m\", \"t\": \"v\"}}]");
	log_set_level(LOG_ERROR + 1);
	for (unsigned nth = 1; failed; nth++) {
		fault_malloc(nth);
		look_again(f);
		failed = fault_happened();
		fault_malloc(0);
	}
	log_set_level(LOG_ERROR);
	pass(f, 11 * NS_PER_S);
	assert_members(f, "a/x a:1 tricorder fileSd\na/x:2 a:2 tricorder fileSd\n"
	                  "b/x b:1 tricorder fileSd\n");
}

/* Discovery. */

static void
announced_applications_are_polled(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\", \"IpAddress\": \"10.0.0.1\"}]");
	start(f);
	announce(f, "health agent", 1, true);
	announce(f, "app", 8080, false);
	announce(f, "secure", 8443, true);
	polled(f, "m", "health agent");
	assert_members(f, "m/app 10.0.0.1:8080 tricorder health-checks\n"
	                  "m/health agent 10.0.0.1:6910 tricorder mdb\n"
	                  "m/secure 10.0.0.1:8443 tricorder health-checks\n");
	assert_null(target(f, "m", "app")->options);
	assert_true(
	    str_eq(conf_child(target(f, "m", "secure")->options, "tls")->text, STR("true")));
	assert_true(
	    str_eq(conf_child(target(f, "m", "secure")->options, "verify")->text, STR("false")));
	/* Another port, TLS no more; and another address of the machine. */
	announce(f, "app", 8081, false);
	announce(f, "secure", 8443, false);
	polled(f, "m", "health agent");
	list_machines(f, "[{\"Hostname\": \"m\", \"IpAddress\": \"10.0.0.2\"}]");
	assert_members(f, "m/app 10.0.0.2:8081 tricorder health-checks\n"
	                  "m/health agent 10.0.0.2:6910 tricorder mdb\n"
	                  "m/secure 10.0.0.2:8443 tricorder health-checks\n");
	assert_null(target(f, "m", "secure")->options);
}

static void
the_same_announcement_again_changes_nothing(void **state)
{
	struct fixture *f = *state;
	const struct endpoint *endpoint;
	const struct target *before;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	announce(f, "app", 8080, true);
	polled(f, "m", "health agent");
	endpoint = member(f, "m", "app")->endpoint;
	before = target(f, "m", "app");
	announce(f, "app", 8080, true);
	polled(f, "m", "health agent");
	assert_ptr_equal(member(f, "m", "app")->endpoint, endpoint);
	assert_ptr_equal(target(f, "m", "app"), before);
}

static void
three_misses_in_a_row_end_an_application(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	announce(f, "app", 1, false);
	polled(f, "m", "health agent");
	polled(f, "m", "health agent");
	polled(f, "m", "health agent");
	announce(f, "app", 1, false); /* just in time */
	polled(f, "m", "health agent");
	polled(f, "m", "health agent");
	polled(f, "m", "health agent");
	assert_members(f, "m/app m:1 tricorder health-checks\n"
	                  "m/health agent m:6910 tricorder mdb\n");
	polled(f, "m", "health agent");
	assert_members(f, "m/app m:1 tricorder health-checks inactive\n"
	                  "m/health agent m:6910 tricorder mdb\n");
	announce(f, "app", 2, false);
	polled(f, "m", "health agent");
	assert_members(f, "m/app m:2 tricorder health-checks\n"
	                  "m/health agent m:6910 tricorder mdb\n");
}

static void
observations_count_in_the_order_they_were_made(void **state)
{
	struct fixture *f = *state;
	struct endpoint *agent;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	agent = member(f, "m", "health agent")->endpoint;
	for (int64_t port = 1; port <= 3; port++) {
		announce(f, "app", port, false);
		fleet_polled(&f->fleet, agent, &f->batch);
		batch_reset(&f->batch);
		batch_set_unordered(&f->batch);
	}
	turn(f);
	assert_int_equal(target(f, "m", "app")->port, 3);
}

static void
only_the_lists_health_agents_announce(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	put(f, "m", "other", "{port: 1}");
	put(f, "x", "health agent", "{port: 1}");
	announce(f, "app", 1, false);
	polled(f, "m", "other");
	announce(f, "app", 1, false);
	polled(f, "x", "health agent");
	put(f, "m", "health agent", "{port: 1}");
	announce(f, "app", 1, false);
	polled(f, "m", "health agent");
	assert_members(f, "m/health agent m:1 tricorder api\n"
	                  "m/other m:1 tricorder api\n"
	                  "x/health agent x:1 tricorder api\n");
	assert_int_equal(delete_code(f, "m", "health agent"), ERR_NONE);
	announce(f, "app", 1, false);
	polled(f, "m", "health agent");
	assert_non_null(member(f, "m", "app")->endpoint);
}

static void
a_machine_that_returns_has_its_applications_at_once(void **state)
{
	struct fixture *f = *state;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	announce(f, "app", 1, false);
	polled(f, "m", "health agent");
	list_machines(f, "[]");
	assert_members(f, "m/app m:1 tricorder health-checks inactive\n"
	                  "m/health agent m:6910 tricorder mdb inactive\n");
	list_machines(f, "[{\"Hostname\": \"m\", \"IpAddress\": \"10.0.0.9\"}]");
	assert_members(f, "m/app 10.0.0.9:1 tricorder health-checks\n"
	                  "m/health agent 10.0.0.9:6910 tricorder mdb\n");
}

static void
an_agent_can_not_announce_without_bounds(void **state)
{
	struct fixture *f = *state;
	struct fleet_counts counts;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 800; i++) {
			char name[32];

			snprintf(name, sizeof(name), "app%d-%d", round, i);
			announce(f, name, 1, false);
		}
		polled(f, "m", "health agent");
	}
	fleet_count(f->fleet, &counts);
	assert_int_equal(counts.active, 1 + ANNOUNCED_COUNT_MAX);
}

static void
our_own_host_is_collected_from_inside(void **state)
{
	struct fixture *f = *state;
	static const char here[] = "[{\"Hostname\": \"m\", \"IpAddress\": \"127.0.0.1\"}]";

	f->conf.own_port = OWN_PORT;
	temp_write(&f->dir, "mdb", here);
	start(f);
	assert_members(f, "m/health agent 127.0.0.1:6910 tricorder mdb\n"
	                  "m/scotty 127.0.0.1:6980 self self\n");
	/* Unless it is announced. */
	announce(f, "collector", OWN_PORT, false);
	polled(f, "m", "health agent");
	assert_members(f, "m/collector 127.0.0.1:6980 tricorder health-checks\n"
	                  "m/health agent 127.0.0.1:6910 tricorder mdb\n"
	                  "m/scotty 127.0.0.1:6980 self self inactive\n");
	for (int i = 0; i < 3; i++)
		polled(f, "m", "health agent");
	assert_non_null(member(f, "m", "scotty")->endpoint);
	list_machines(f, "[{\"Hostname\": \"m\", \"IpAddress\": \"192.0.2.1\"}]");
	assert_null(member(f, "m", "scotty")->endpoint);
	list_machines(f, here);
	assert_non_null(member(f, "m", "scotty")->endpoint);
	f->conf.own_port = 0;
	reload(f);
	assert_null(member(f, "m", "scotty")->endpoint);
}

/* Origins, and those that go. */

static void
the_first_origin_counts_and_the_next_takes_over(void **state)
{
	struct fixture *f = *state;

	configure(f, "- {host: m, app: health agent, port: 1}\n");
	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	start(f);
	put(f, "m", "health agent", "{port: 2}");
	assert_members(f, "m/health agent m:1 tricorder config\n");
	configure(f, "[]");
	reload(f);
	assert_members(f, "m/health agent m:2 tricorder api\n");
	assert_int_equal(delete_code(f, "m", "health agent"), ERR_NONE);
	assert_members(f, "m/health agent m:6910 tricorder mdb\n");
	list_machines(f, "[]");
	assert_members(f, "m/health agent m:6910 tricorder mdb inactive\n");
	put(f, "m", "health agent", "{port: 2}");
	assert_members(f, "m/health agent m:2 tricorder api\n");
	assert_int_equal(f->pollers->endpoint_count, 0); /* not turned yet */
	turn(f);
	assert_int_equal(f->pollers->endpoint_count, 1);
}

static void
inactive_members_are_forgotten_after_an_hour(void **state)
{
	struct fixture *f = *state;
	struct member **members;
	struct series_set *set;
	struct err err;
	size_t n;

	configure(f, "- {host: a, app: a, port: 1}\n- {host: b, app: b, port: 1}\n");
	start(f);
	configure(f, "- {host: b, app: b, port: 1}\n");
	reload(f);
	assert_int_equal(fleet_snapshot(f->fleet, &members, &n, &err), 0);
	assert_int_equal(n, 2);
	pass(f, 3500 * NS_PER_S);
	assert_members(f, "a/a a:1 tricorder config inactive\nb/b b:1 tricorder config\n");
	set = store_find(f->store, STR("a"), STR("a"));
	assert_non_null(set);
	series_set_unref(set);
	pass(f, 120 * NS_PER_S);
	assert_members(f, "b/b b:1 tricorder config\n");
	assert_null(store_find(f->store, STR("a"), STR("a")));
	/* Whoever holds it still reads it. */
	assert_true(str_eq(members[0]->host, STR("a")));
	fleet_snapshot_free(members, n);
}

static void
one_that_comes_back_in_time_is_not_forgotten(void **state)
{
	struct fixture *f = *state;

	start(f);
	put(f, "a", "a", "{port: 1}");
	delete_code(f, "a", "a");
	put(f, "a", "a", "{port: 1}");
	pass(f, 3700 * NS_PER_S);
	assert_members(f, "a/a a:1 tricorder api\n");
	assert_int_equal(f->fleet->gone_count, 0);
}

/* As the journal brings it back: one active series. */
static void
make_set(struct fixture *f, const char *host)
{
	struct metric_desc desc = { .path = STR("/x"), .kind = KIND_INT64 };
	struct value value = { .i = 1 };
	struct append_stats stats;
	struct err err;
	struct series_set *set = store_set(f->store, str_of(host), STR("a"), &err);

	assert_non_null(set);
	batch_reset(&f->batch);
	assert_int_equal(batch_add(&f->batch, &desc, &value, 0, NS_PER_S, &err), 0);
	batch_end(&f->batch, NS_PER_S);
	assert_int_equal(store_append(set, &f->batch, &stats, &err), 0);
	series_set_unref(set);
}

static size_t
active_of(struct fixture *f, const char *host)
{
	struct series_set *set = store_find(f->store, str_of(host), STR("a"));
	size_t active;

	assert_non_null(set);
	active = series_set_active_count(set);
	series_set_unref(set);
	return active;
}

static void
sets_without_an_endpoint_end(void **state)
{
	struct fixture *f = *state;

	make_set(f, "known");
	make_set(f, "late");
	make_set(f, "stranger");
	configure(f, "- {host: known, app: a, port: 1}\n");
	start(f);
	pass(f, 200 * NS_PER_S);
	assert_int_equal(active_of(f, "stranger"), 1);
	put(f, "late", "a", "{port: 1}");
	pass(f, 200 * NS_PER_S);
	assert_int_equal(active_of(f, "known"), 1);
	assert_int_equal(active_of(f, "late"), 1);
	assert_int_equal(active_of(f, "stranger"), 0);
	pass(f, 3600 * NS_PER_S);
	assert_null(store_find(f->store, STR("stranger"), STR("a")));
	(void)active_of(f, "known");
	(void)active_of(f, "late");
}

/* A list of n machines named host00000 and so on; host00007 has that address. */
static void
write_machines_with(struct fixture *f, size_t n, const char *seventh)
{
	FILE *file = fopen(f->mdb_file, "w");

	assert_non_null(file);
	fputs("[", file);
	for (size_t i = 0; i < n; i++) {
		fprintf(file, "%s{\"Hostname\":\"host%05zu\",", i == 0 ? "" : ",", i);
		if (i == 7)
			fprintf(file, "\"IpAddress\":\"%s\"}", seventh);
		else
			fprintf(file, "\"IpAddress\":\"10.1.%zu.%zu\"}", i / 256, i % 256);
	}
	fputs("]", file);
	fclose(file);
}

static void
write_machines(struct fixture *f, size_t n)
{
	write_machines_with(f, n, "10.1.0.7");
}

static void
too_many_inactive_ones_go_sooner(void **state)
{
	struct fixture *f = *state;
	struct fleet_counts counts;

	write_machines(f, 10005);
	start(f);
	list_machines(f, "[{\"Hostname\": \"host00003\"}]");
	fleet_count(f->fleet, &counts);
	assert_int_equal(counts.total, 10005);
	assert_int_equal(counts.active, 1);
	pass(f, 20 * NS_PER_S);
	fleet_count(f->fleet, &counts);
	assert_int_equal(counts.total, 10001);
	assert_null(member_find(f->fleet, STR("host00000"), STR(HEALTH_AGENT)));
	assert_non_null(member_find(f->fleet, STR("host00006"), STR(HEALTH_AGENT)));
	assert_int_equal(f->fleet->machines.len, 10001);
	pass(f, 3700 * NS_PER_S);
	assert_int_equal(f->fleet->machines.len, 1);
	assert_int_equal(f->fleet->members.len, 1);
}

static void
members_may_be_forgotten_before_their_poller_knows(void **state)
{
	struct fixture *f = *state;

	write_machines(f, 10005);
	start(f);
	turn(f);
	temp_write(&f->dir, "mdb", "[]");
	/* The fleet's loop only. */
	for (int i = 0; i < 3; i++) {
		loop_turn(f->fleet->loop, 0);
		f->mono_ns += 10 * NS_PER_S;
		set_clock(f);
	}
	assert_int_equal(f->fleet->members.len, 10000);
	assert_int_equal(f->pollers->endpoint_count, 10005);
	turn(f);
	assert_int_equal(f->pollers->endpoint_count, 0);
}

static void
twenty_thousand_machines_start_within_a_second(void **state)
{
	struct fixture *f = *state;
	struct member **members;
	struct err err;
	clock_t began;
	double seconds;
	size_t n;

	store_free(f->store);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 64 << 20 }, NULL, &err);
	write_machines(f, 20000);
	began = clock(); /* of the processor, so that other tests may run beside it */
	start(f);
	seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	assert_int_equal(fleet_snapshot(f->fleet, &members, &n, &err), 0);
	assert_int_equal(n, 20000);
	fleet_snapshot_free(members, n);
	print_message("20,000 machines started in %.3f s\n", seconds);
	if (!IS_SLOW_BUILD)
		assert_true(seconds < 1);
}

/* All that was spent on finding and applying changes of the list so far. */
static double
compare_ms(struct fixture *f)
{
	struct batch batch;
	struct err err;
	double ms = -1;

	batch_init(&batch, 0);
	assert_int_equal(own_collect(f->own, &batch, NS_PER_S, &err), 0);
	for (size_t i = 0; i < batch.len; i++)
		if (str_eq(batch.desc[i].path, STR("/mdbd/compare-time")))
			ms = batch.value[i].dist->sum;
	batch_fini(&batch);
	assert_true(ms >= 0);
	return ms;
}

/* Reads a list of n machines in which host00007 has moved; returns what applying that took. */
static double
move_seventh(struct fixture *f, size_t n, const char *address)
{
	double before_ms = compare_ms(f);

	write_machines_with(f, n, address);
	look_again(f);
	return compare_ms(f) - before_ms;
}

/* One machine of 20,000 moves: nobody else is touched, and it costs next to nothing. */
static void
a_changed_list_costs_what_changed(void **state)
{
	enum { MACHINES = 20000 };
	static struct endpoint *before[MACHINES];
	static const char *const places[] = { "10.2.0.1", "10.2.0.2", "10.2.0.3", "10.2.0.4" };
	struct fixture *f = *state;
	double all_ms, one_ms = 1e9;
	struct member **members;
	size_t n, changed = 0;
	struct err err;

	store_free(f->store);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 64 << 20 }, NULL, &err);
	write_machines(f, MACHINES);
	start(f);
	all_ms = compare_ms(f);
	assert_int_equal(fleet_snapshot(f->fleet, &members, &n, &err), 0);
	assert_int_equal(n, MACHINES);
	for (size_t i = 0; i < n; i++)
		before[i] = members[i]->endpoint;
	/* The best of several, as the clock is the wall's. */
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		double ms = move_seventh(f, MACHINES, places[i]);

		one_ms = ms < one_ms ? ms : one_ms;
	}
	for (size_t i = 0; i < n; i++)
		changed += members[i]->endpoint != before[i];
	assert_int_equal(changed, 1);
	assert_ptr_not_equal(members[7]->endpoint, before[7]);
	fleet_snapshot_free(members, n);
	print_message(
	    "20,000 machines applied in %.1f ms, one change of them in %.1f ms\n", all_ms, one_ms);
	assert_true(one_ms < all_ms / 5);
}

/* Views. */

static void
own_metrics_tell_of_the_fleet(void **state)
{
	struct fixture *f = *state;
	struct batch batch;
	struct err err;
	unsigned found = 0;

	temp_write(&f->dir, "mdb", "[{\"Hostname\": \"m\"}]");
	configure(f, "- {host: a, app: a, port: 1}\n- {host: b, app: b, port: 1}\n");
	start(f);
	configure(f, "- {host: a, app: a, port: 1}\n");
	reload(f);
	batch_init(&batch, 0);
	assert_int_equal(own_collect(f->own, &batch, NS_PER_S, &err), 0);
	for (size_t i = 0; i < batch.len; i++) {
		struct str path = batch.desc[i].path;
		uint64_t expected = str_eq(path, STR("/fleet/totalEndpoints"))    ? 3
		                    : str_eq(path, STR("/fleet/activeEndpoints")) ? 2
		                    : str_eq(path, STR("/fleet/failedEndpoints")) ? 0
		                    : str_eq(path, STR("/fleet/machines"))        ? 1
		                                                                  : UINT64_MAX;

		if (expected != UINT64_MAX) {
			assert_int_equal(batch.value[i].u, expected);
			found++;
		} else if (str_eq(path, STR("/mdbd/decode-time")) ||
		           str_eq(path, STR("/mdbd/compare-time"))) {
			assert_int_equal(batch.value[i].dist->count, 2); /* start, reload */
			found++;
		}
	}
	assert_int_equal(found, 6);
	batch_fini(&batch);
}

static void
long_names_fit_into_a_view(void **state)
{
	struct fixture *f = *state;
	struct member_view view;
	char name[NAME_BYTES_MAX + 1], body[600];

	start(f);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(body, sizeof(body), "{port: 1, address: %s, region: %s}", name, name);
	put(f, name, name, body);
	member_view(member(f, name, name), &view);
	assert_int_equal(view.host.len, NAME_BYTES_MAX);
	assert_int_equal(view.app.len, NAME_BYTES_MAX);
	assert_true(str_eq(view.address, str_of(name)));
	assert_true(str_eq(view.region, str_of(name)));
}

#define LISTED 100

static void
a_full_store_refuses_registrations(void **state)
{
	struct fixture *f = *state;
	struct err err;
	char host[16];
	unsigned n = 0;
	enum err_code code = ERR_NONE;

	store_free(f->store);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 64 << 10 }, NULL, &err);
	start(f);
	while (code == ERR_NONE && n < 10000) {
		snprintf(host, sizeof(host), "h%u", n++);
		code = put_code(f, host, "a", "{port: 1}");
	}
	assert_int_equal(code, ERR_LIMIT);
	assert_null(member_find(f->fleet, str_of(host), STR("a")));
	/* Nor is it there after a restart, which has more room. */
	restart(f);
	assert_int_equal(f->fleet->active_count, n - 1);
}

static void
what_is_listed_is_there_though_the_store_is_full(void **state)
{
	struct fixture *f = *state;
	char host[16], list[LISTED * 40];
	struct member_view view;
	struct err err = { .code = ERR_NONE };
	size_t len = 0;

	start(f);
	put(f, "registered", "a", "{port: 1}");
	stop(f);
	store_free(f->store);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 16 << 10 }, NULL, &err);
	f->own = own_new(&err);
	assert_non_null(f->store);
	assert_non_null(f->own);
	/* As those that a journal brings back. */
	for (unsigned n = 0; err.code != ERR_LIMIT; n++) {
		struct series_set *set;

		snprintf(host, sizeof(host), "old%u", n);
		err.code = ERR_NONE;
		set = store_set(f->store, str_of(host), STR("a"), &err);
		series_set_unref(set);
	}
	for (unsigned n = 0; n < LISTED; n++)
		len += (size_t)snprintf(
		    list + len, sizeof(list) - len, "- {host: h%u, app: a, port: 1}\n", n);
	configure(f, list);
	start(f);
	assert_int_equal(f->fleet->active_count, LISTED + 1);
	member_view(member(f, "registered", "a"), &view);
	assert_int_equal(put_code(f, "new", "a", "{port: 1}"), ERR_LIMIT);
}

/* Memory. */

static void
starting_without_memory_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	struct err err;
	bool done = false;

	configure(f, "- {host: a, app: a, port: 1}\n- {host: a, app: b, source: self}\n");
	f->conf.mdb_file = NULL;
	for (unsigned nth = 1; !done; nth++) {
		f->pollers = pollers_make(&pollers_conf, f->store, f->resolver, f->own, &err);
		assert_non_null(f->pollers);
		f->fleet = fleet_new(f->pollers, f->store, f->own, &err);
		assert_non_null(f->fleet);
		fault_malloc(nth);
		done = fleet_begin(f->fleet, &f->conf, &err) == 0;
		assert_int_equal(done, !fault_happened());
		fault_malloc(0);
		if (done)
			assert_members(f, "a/a a:1 tricorder config\na/b a:0 self config\n");
		stop(f);
		f->own = own_new(&err);
		assert_non_null(f->own);
	}
}

static void
making_a_fleet_without_memory_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	struct fleet *fleet = NULL;
	struct err err;

	f->pollers = pollers_make(&pollers_conf, f->store, f->resolver, f->own, &err);
	assert_non_null(f->pollers);
	for (unsigned nth = 1; fleet == NULL; nth++) {
		struct own *own = own_new(&err);

		assert_non_null(own);
		fault_malloc(nth);
		fleet = fleet_new(f->pollers, f->store, own, &err);
		assert_int_equal(fleet == NULL, fault_happened());
		fault_malloc(0);
		fleet_free(fleet);
		own_free(own);
	}
	pollers_unmake(f->pollers);
}

static void
registering_without_memory_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	bool created = false, done = false;
	struct err err;

	start(f);
	for (unsigned nth = 1; !done; nth++) {
		fault_malloc(nth);
		done = fleet_put(f->fleet, STR("h"), STR("a"),
		           STR("{port: 1, options: {tls: true}}"), false, &created, &err) == 0;
		assert_int_equal(done, !fault_happened());
		fault_malloc(0);
		if (!done)
			assert_members(f, "");
	}
	assert_true(created);
	assert_members(f, "h/a h:1 tricorder api\n");
	done = false;
	for (unsigned nth = 1; !done; nth++) {
		fault_malloc(nth);
		done = fleet_put(f->fleet, STR("h"), STR("a"), STR("{port: 2}"), false, &created,
		           &err) == 0;
		assert_int_equal(done, !fault_happened());
		fault_malloc(0);
		assert_members(f, done ? "h/a h:2 tricorder api\n" : "h/a h:1 tricorder api\n");
	}
}

static void
a_list_read_without_memory_is_read_again(void **state)
{
	struct fixture *f = *state;
	bool failed = true;

	start(f);
	write_machines(f, 20);
	for (unsigned nth = 1; failed; nth++) {
		fault_malloc(nth);
		look_again(f);
		failed = fault_happened();
		fault_malloc(0);
		assert_true(f->fleet->machine_count <= 20);
	}
	/* Machines and endpoints that there was no memory for get another chance. */
	pass(f, 11 * NS_PER_S);
	assert_int_equal(f->fleet->machine_count, 20);
	assert_int_equal(f->fleet->active_count, 20);
}

static void
an_observation_without_memory_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct observation *seen = NULL;

	announce(f, "app", 1, false);
	for (unsigned nth = 1; seen == NULL; nth++) {
		fault_malloc(nth);
		seen = observation_new(STR("h"), &f->batch);
		assert_int_equal(seen == NULL, fault_happened());
		fault_malloc(0);
	}
	assert_int_equal(seen->len, 1);
	observation_free(seen);
}

static void
a_snapshot_without_memory_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	struct member **members;
	struct err err;
	size_t n;

	start(f);
	put(f, "h", "a", "{port: 1}");
	for (unsigned nth = 1; nth <= 2; nth++) {
		fault_malloc(nth);
		assert_int_equal(fleet_snapshot(f->fleet, &members, &n, &err), -1);
		assert_int_equal(err.code, ERR_NOMEM);
		fault_malloc(0);
		assert_int_equal(put_code(f, "h", "b", "{port: 1}"), ERR_NONE); /* unsorts */
		assert_int_equal(delete_code(f, "h", "b"), ERR_NONE);
	}
	assert_members(f, "h/a h:1 tricorder api\n");
}

/* With all threads. */

struct churn {
	struct fixture *f;
	unsigned number;
};

static void *
churn(void *arg)
{
	const struct churn *c = arg;
	char host[16];

	for (unsigned i = 0; i < 500; i++) {
		bool created;
		struct err err;

		/* The same few names again and again. */
		snprintf(host, sizeof(host), "h%u-%u", c->number, i % 7);
		if (fleet_put(c->f->fleet, str_of(host), STR("a"),
		        STR("{source: self, interval: 100ms}"), true, &created, &err) != 0)
			return "put failed";
		if (i % 3 != 0 && fleet_delete(c->f->fleet, str_of(host), STR("a"), &err) != 0)
			return "delete failed";
	}
	for (unsigned i = 0; i < 7; i++) {
		struct err err;

		snprintf(host, sizeof(host), "h%u-%u", c->number, i);
		fleet_delete(c->f->fleet, str_of(host), STR("a"), &err);
	}
	return NULL;
}

/* Looks at everything, as the API does. */
static void
look(struct fixture *f)
{
	struct member **members;
	struct member_view view;
	struct fleet_counts counts;
	struct err err;
	size_t n;

	assert_int_equal(fleet_snapshot(f->fleet, &members, &n, &err), 0);
	for (size_t i = 0; i < n; i++)
		member_view(members[i], &view);
	fleet_snapshot_free(members, n);
	fleet_count(f->fleet, &counts);
}

/* The fleet's thread reads the list in its own time, but within 30 s. */
static void
wait_for_machines(struct fixture *f, size_t n)
{
	int64_t deadline_ns = clock_mono_ns() + 30 * NS_PER_S;

	while (f->fleet->machine_count != n && clock_mono_ns() < deadline_ns)
		sched_yield();
	assert_int_equal(f->fleet->machine_count, n);
}

static void
churn_leaves_nothing_active(void **state)
{
	struct fixture *f = *state;
	struct churn churns[2] = { { f, 0 }, { f, 1 } };
	pthread_t threads[2];
	struct pollers_conf conf = pollers_conf;
	struct store_stats stats;
	struct err err;
	void *fault;

	conf.threads = 2;
	conf.polled = fleet_polled;
	conf.ctx = &f->fleet;
	/* Without a state directory, as syncs to disk would make it a test of the disk. */
	f->pollers = pollers_new(&conf, f->store, f->resolver, f->own, &err);
	assert_non_null(f->pollers);
	f->fleet = fleet_new(f->pollers, f->store, f->own, &err);
	assert_non_null(f->fleet);
	configure(f, "- {host: h, app: health agent, source: self, interval: 100ms}\n");
	assert_int_equal(fleet_start(f->fleet, &f->conf, &err), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
	for (int i = 0; i < 50; i++) {
		look(f);
		assert_int_equal(fleet_reload(f->fleet, &f->conf, &err), 0);
		temp_replace(&f->dir, "mdb", i % 2 == 0 ? "[{\"Hostname\": \"m\"}]" : "[]");
	}
	for (size_t i = 0; i < 2; i++) {
		pthread_join(threads[i], &fault);
		if (fault != NULL)
			fail_msg("%s", (const char *)fault);
	}
	temp_replace(&f->dir, "mdb", "[{\"Hostname\": \"m\"}, {\"Hostname\": \"n\"}]");
	wait_for_machines(f, 2);
	look(f);
	configure(f, "[]\n");
	assert_int_equal(fleet_reload(f->fleet, &f->conf, &err), 0);
	temp_replace(&f->dir, "mdb", "[]");
	wait_for_machines(f, 0);
	assert_int_equal(f->fleet->active_count, 0);
	fleet_stop(f->fleet);
	pollers_free(f->pollers);
	store_get_stats(f->store, &stats);
	assert_int_equal(stats.active_series, 0);
	look(f); /* members can still be read */
	fleet_free(f->fleet);
	f->fleet = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(configured_endpoints_are_polled),
		TEST(a_reload_disturbs_only_what_changed),
		TEST(a_new_frequency_reaches_those_that_name_no_interval),
		TEST(registrations_can_be_replaced_and_deleted),
		TEST(registrations_survive_a_restart),
		TEST(registrations_are_guarded),
		TEST(bad_registrations_change_nothing),
		TEST(a_largest_body_is_taken),
		TEST(only_registrations_can_be_deleted),
		TEST(without_a_registry_nothing_can_be_registered),
		TEST(without_a_state_directory_registrations_are_not_kept),
		TEST(a_row_that_makes_no_sense_is_left_out_and_kept),
		TEST(machines_get_their_health_agent),
		TEST(a_list_that_comes_later_is_read),
		TEST(a_list_that_vanishes_or_breaks_leaves_the_machines),
		TEST(a_half_written_list_is_read_again_soon),
		TEST(only_machines_that_changed_are_disturbed),
		TEST(without_a_list_in_the_configuration_there_are_no_machines),
		TEST(targets_come_from_files),
		TEST(files_come_change_break_and_vanish),
		TEST(one_changed_file_touches_only_its_targets),
		TEST(targets_of_one_name_get_names_of_their_own),
		TEST(entries_of_one_target_take_turns),
		TEST(a_reload_changes_what_the_entry_says_and_drops_files_that_are_gone),
		TEST(five_thousand_targets_load_within_a_second),
		TEST(a_list_of_targets_survives_any_want_of_memory),
		TEST(announced_applications_are_polled),
		TEST(the_same_announcement_again_changes_nothing),
		TEST(three_misses_in_a_row_end_an_application),
		TEST(observations_count_in_the_order_they_were_made),
		TEST(only_the_lists_health_agents_announce),
		TEST(a_machine_that_returns_has_its_applications_at_once),
		TEST(an_agent_can_not_announce_without_bounds),
		TEST(our_own_host_is_collected_from_inside),
		TEST(the_first_origin_counts_and_the_next_takes_over),
		TEST(inactive_members_are_forgotten_after_an_hour),
		TEST(one_that_comes_back_in_time_is_not_forgotten),
		TEST(sets_without_an_endpoint_end),
		TEST(too_many_inactive_ones_go_sooner),
		TEST(members_may_be_forgotten_before_their_poller_knows),
		TEST(twenty_thousand_machines_start_within_a_second),
		TEST(a_changed_list_costs_what_changed),
		TEST(own_metrics_tell_of_the_fleet),
		TEST(long_names_fit_into_a_view),
		TEST(a_full_store_refuses_registrations),
		TEST(what_is_listed_is_there_though_the_store_is_full),
		TEST(making_a_fleet_without_memory_fails_cleanly),
		TEST(starting_without_memory_fails_cleanly),
		TEST(registering_without_memory_fails_cleanly),
		TEST(a_list_read_without_memory_is_read_again),
		TEST(an_observation_without_memory_is_dropped),
		TEST(a_snapshot_without_memory_fails_cleanly),
		TEST(churn_leaves_nothing_active),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
