/*
 * scottyd/config.h - the configuration file and the flags, as structs.
 *
 * Threads: main.
 */
#ifndef SCOTTY_SCOTTYD_CONFIG_H
#define SCOTTY_SCOTTYD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/err.h"
#include "pstore/writers.h"

/* What was given on the command line. Text is lent from argv; NULL or -1 = not given. */
struct flags {
	const char *config, *config_dir;
	const char *listen;
	int64_t port; /* -portNum */
	const char *state_dir;
	const char *mdb_file;
	const char *name; /* application name of scottyd itself */
	int64_t frequency_ns, connections, polls, memory_percent;
	int64_t pstore_ns; /* -pstoreUpdateFrequency */
	const char *pid_file;
	bool debug_log;
	enum { RUN, GENERATE, VALIDATE, VERSION, HELP } what;
};

/* 0, or -1 with ERR_CONFIG: "flag -foo: not known; -help lists them". */
int flags_parse(struct flags *, int argc, char **argv, struct err *);
void flags_help(FILE *);

/* Everything checked, defaults filled in. Text is owned by the struct or lent from doc. */
struct config {
	struct conf_doc *doc; /* NULL when there is no file */
	char *listen;
	bool listen_from_flag; /* typed by the operator, so any address will do */
	bool insecure;
	bool open; /* listen reaches beyond this machine */
	char *state_dir, *mdb_file, *own_app;
	char *admin_token; /* NULL = none */
	int64_t frequency_ns;
	int64_t pstore_ns; /* 0 = the default */
	unsigned threads;
	uint64_t connections, polls;
	int64_t connect_timeout_ns, poll_timeout_ns, stale_after_ns;
	uint64_t max_response;
	uint64_t store_bytes;
	int64_t disk_retention_ns;
	struct conf_disk disk_size;
	int64_t journal_sync_ns, journal_restore_ns, journal_segment_ns;
	uint64_t journal_segment_bytes, journal_restore_bytes;
	const struct conf *endpoints; /* in doc; NULL = none */
	const struct conf *discovery; /* likewise */
	struct conf_doc *pstore_doc;  /* CONFIGDIR/pstore.yaml; NULL when there is no file */
	/* Writers of doc, those of pstore_doc. */
	struct writers_list writers[2];
};

/*
 * Reads the file that the flags name (or CONFIGDIR/scottyd.yaml if it is there), checks all of it,
 * puts the flags over it. -1 with the complaints in the report, a line each: the struct is then
 * empty.
 */
int config_load(struct config *, const struct flags *, struct conf_report *);
void config_fini(struct config *);

/* A complete, commented example. */
void config_generate(FILE *);

#endif
