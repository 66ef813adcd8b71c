/*
 * scottyd: reads flags and configuration, starts the daemon, waits for signals.
 *
 * Exit codes: 0 stopped on request, 1 runtime failure, 2 wrong usage or configuration.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "scottyd/config.h"
#include "scottyd/daemon.h"

enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2 };

/* Complaints go to standard error, a line each. */
static int
load(struct config *config, const struct flags *flags)
{
	struct conf_report report;
	int rc;

	conf_report_init(&report, "");
	rc = config_load(config, flags, &report);
	if (rc != 0)
		fprintf(stderr, "%.*s", STR_ARG(buf_view(&report.text)));
	conf_report_fini(&report);
	return rc;
}

static int
write_pid(const char *path)
{
	FILE *f;

	if (path == NULL)
		return 0;
	f = fopen(path, "w");
	if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
		log_error("scottyd", "pid file %s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

/* What is kept for a while is looked after so often. */
#define TEND_S 3600

/* Waits for the signal to stop; reloads on SIGHUP. */
static void
serve(struct daemon *daemon, const struct flags *flags, const sigset_t *signals)
{
	const struct timespec tend = { .tv_sec = TEND_S };

	for (;;) {
		struct config config;
		struct err err;
		int sig = sigtimedwait(signals, NULL, &tend);

		if (sig < 0) {
			if (errno == EAGAIN)
				daemon_tend(daemon);
			continue;
		}
		if (sig != SIGHUP) {
			log_info("scottyd", "stopping: signal=%s", strsignal(sig));
			return;
		}
		if (load(&config, flags) != 0) {
			log_error("scottyd", "configuration is no good, the old one stays");
			continue;
		}
		if (daemon_reload(daemon, &config, &err) != 0)
			log_error("scottyd", "configuration not taken over: %s", err.text);
		else
			log_info("scottyd", "configuration read again");
		config_fini(&config);
	}
}

static int
run(const struct flags *flags, int argc, char **argv)
{
	static struct daemon *daemon; /* still reachable at the exit */
	struct config config;
	struct err err;
	sigset_t signals;

	if (load(&config, flags) != 0)
		return EXIT_USAGE;
	/* Threads inherit the mask, so only main sees these. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
	if (config.admin_token != NULL)
		prctl(PR_SET_DUMPABLE, 0); /* a secret must not end in a core file */
	if (flags->debug_log)
		log_set_level(LOG_DEBUG);

	daemon = daemon_new(&config, argc, argv, &err);
	if (daemon == NULL) {
		log_error("scottyd", "%s", err.text);
		config_fini(&config);
		return err.code == ERR_CONFIG ? EXIT_USAGE : EXIT_RUNTIME;
	}
	if (write_pid(flags->pid_file) != 0) {
		daemon_stop(daemon);
		config_fini(&config);
		return EXIT_RUNTIME;
	}
	if (config.open)
		log_warn("scottyd", "other machines can reach the port, in the clear: listen=%s",
		    config.listen);
	/* Scripts wait for this very line. */
	fprintf(stderr, "scottyd: ready\n");
	log_info("scottyd", "answering: url=http://%s/ version=%s", config.listen, SCOTTY_VERSION);
	config_fini(&config);
	serve(daemon, flags, &signals);
	daemon_stop(daemon);
	if (flags->pid_file != NULL)
		unlink(flags->pid_file);
	return EXIT_OK;
}

static int
validate(const struct flags *flags)
{
	struct config config;

	if (load(&config, flags) != 0)
		return 1;
	config_fini(&config);
	return EXIT_OK;
}

int
main(int argc, char **argv)
{
	struct flags flags;
	struct err err;

	if (flags_parse(&flags, argc, argv, &err) != 0) {
		fprintf(stderr, "scottyd: %s\n", err.text);
		return EXIT_USAGE;
	}
	switch (flags.what) {
	case HELP:
		flags_help(stdout);
		return EXIT_OK;
	case VERSION:
		printf("scottyd %s\n", SCOTTY_VERSION);
		return EXIT_OK;
	case GENERATE:
		config_generate(stdout);
		return EXIT_OK;
	case VALIDATE:
		return validate(&flags);
	case RUN:
		break;
	}
	return run(&flags, argc, argv);
}
