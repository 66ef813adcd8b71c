/* TLS against "openssl s_server"; skipped where there is no such program. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "sources/http.h"

#define PATIENCE_NS (30 * NS_PER_S)

extern char **environ;

struct fixture {
	char dir[64], cert[96], key[96];
	pid_t server; /* 0: not there */
	unsigned port;
	int fds_before;
	struct loop *loop;
	struct resolver *resolver;
	struct http_client *client;
};

struct poll {
	struct http_request request;
	struct buf body;
	bool done, failed;
	struct err err;
};

/* Every name is 127.0.0.1. */
static int
lookup(void *ctx, const char *name, struct net_addr *out, struct err *err)
{
	(void)ctx, (void)name, (void)err;
	*out = (struct net_addr){ .family = AF_INET, .bytes = { 127, 0, 0, 1 } };
	return 0;
}

/* Its standard output goes to out_fd, its errors nowhere. 0 if there is no such program. */
static pid_t
spawn(const char *const argv[], int out_fd)
{
	union {
		const char *const *given;
		char *const *wanted; /* posix_spawnp takes it without const, and only reads it */
	} args = { .given = argv };
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, argv[0], &actions, NULL, args.wanted, environ) != 0)
		pid = 0;
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* A certificate for web1 that is its own CA. */
static bool
make_certificate(struct fixture *f)
{
	const char *const argv[] = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
		"ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=web1", "-addext",
		"subjectAltName=DNS:web1", "-keyout", f->key, "-out", f->cert, NULL };
	pid_t pid = spawn(argv, 2);
	int status = 0;

	return pid != 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Starts the server and reads its port from what it prints: "ACCEPT 127.0.0.1:PORT". */
static bool
start_server(struct fixture *f)
{
	const char *const argv[] = { "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert",
		f->cert, "-key", f->key, "-www", NULL };
	char line[256];
	int pipe_fds[2];
	FILE *out;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	f->server = spawn(argv, pipe_fds[1]);
	close(pipe_fds[1]);
	out = fdopen(pipe_fds[0], "r");
	assert_non_null(out);
	while (f->port == 0 && fgets(line, sizeof(line), out) != NULL)
		sscanf(line, "ACCEPT 127.0.0.1:%u", &f->port);
	fclose(out);
	return f->port != 0;
}

static int
setup(void **state)
{
	const struct resolver_conf conf = { .threads = 1, .lookup = lookup };
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");
	struct err err;

	assert_non_null(f);
	*state = f;
	f->fds_before = fault_open_fds();
	snprintf(f->dir, sizeof(f->dir), "%s/http_tls_XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->cert, sizeof(f->cert), "%s/cert.pem", f->dir);
	snprintf(f->key, sizeof(f->key), "%s/key.pem", f->dir);
	if (!make_certificate(f) || !start_server(f))
		return 0;
	f->loop = loop_new(&err);
	assert_non_null(f->loop);
	f->resolver = resolver_new(&conf, &err);
	assert_non_null(f->resolver);
	f->client = http_client_new(f->loop, f->resolver, 600, &err);
	assert_non_null(f->client);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	http_client_free(f->client);
	resolver_free(f->resolver);
	loop_free(f->loop);
	if (f->server != 0) {
		kill(f->server, SIGKILL);
		waitpid(f->server, NULL, 0);
	}
	unlink(f->cert);
	unlink(f->key);
	rmdir(f->dir);
	assert_int_equal(fault_open_fds(), f->fds_before);
	free(f);
	return 0;
}

static void
note_done(struct http_request *request, const struct err *err)
{
	struct poll *p = CONTAINER_OF(request, struct poll, request);

	p->done = true;
	p->failed = err != NULL;
	if (err != NULL)
		p->err = *err;
}

static const struct {
	const char *name;
	const char *ca_file; /* NULL: the server's certificate */
	bool verify;
	enum err_code code;
	const char *text; /* part of the error */
} rows[] = {
	{ "web1", NULL, true, ERR_NONE, "" },
	{ "web2", NULL, true, ERR_PROTO, "no alternative certificate subject name matches" },
	{ "127.0.0.1", NULL, true, ERR_PROTO, "no alternative certificate subject name matches" },
	{ "web1", "", true, ERR_PROTO, "certificate problem" },
	{ "web2", "", false, ERR_NONE, "" },
	{ "web1", "/nowhere/ca.pem", true, ERR_CONFIG, "/nowhere/ca.pem" },
};

/* One get of row i, on its own. */
static void
get_row(struct fixture *f, struct poll *p, size_t i)
{
	const struct http_target_conf conf = {
		.name = str_of(rows[i].name),
		.port = (uint16_t)f->port,
		.path = STR("/"),
		.tls = true,
		.verify = rows[i].verify,
		.ca_file = str_of(rows[i].ca_file == NULL ? f->cert : rows[i].ca_file),
	};
	int64_t started_ns = clock_mono_ns();
	struct http_target *target;
	struct err err;

	target = http_target_new(f->client, &conf, &err);
	assert_non_null(target);
	*p = (struct poll){ .request = { .on_done = note_done, .max_bytes = 65536 } };
	p->request.body = &p->body;
	http_get(&p->request, target);
	while (!p->done && clock_mono_ns() - started_ns < PATIENCE_NS)
		loop_turn(f->loop, 10 * NS_PER_MS);
	http_cancel(&p->request);
	http_target_free(target);
}

static void
certificates_are_checked_as_told(void **state)
{
	struct fixture *f = *state;
	struct poll p;

	if (f->client == NULL) {
		print_message("skipped: \"openssl s_server\" does not start\n");
		skip();
	}
	/* Twice: what was checked for one target must not hold for the next. */
	for (size_t n = 0; n < 2 * ARRAY_LEN(rows); n++) {
		size_t i = n % ARRAY_LEN(rows);
		bool good;

		get_row(f, &p, i);
		if (rows[i].code == ERR_NONE)
			good = !p.failed && strstr(p.body.p, "s_server") != NULL;
		else
			good = p.failed && p.err.code == rows[i].code &&
			       strstr(p.err.text, "TLS with 127.0.0.1:") == p.err.text &&
			       strstr(p.err.text, rows[i].text) != NULL;
		buf_fini(&p.body);
		if (!p.done || !good)
			fail_msg("row %zu: \"%s\"", i, p.failed ? p.err.text : "");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(certificates_are_checked_as_told, setup, teardown),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
