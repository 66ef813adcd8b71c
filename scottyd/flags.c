#include <string.h>

#include "base/str.h"
#include "scottyd/config.h"

/*
 * Flags are written as Go's: -x v, -x=v, --x v, --x=v; a switch is -x or -x=true. Names and
 * meanings are upstream Scotty's where it has them.
 */
enum flag_type { FLAG_TEXT, FLAG_INT, FLAG_DURATION, FLAG_SWITCH, FLAG_WHAT, FLAG_ABSENT };

struct flag {
	const char *name;
	enum flag_type type;
	size_t offset;     /* of the field in struct flags */
	const char *value; /* how help shows it; NULL = a switch */
	const char *help;  /* FLAG_ABSENT: why it is refused */
	int what;
};

#define FIELD(name) offsetof(struct flags, name)

static const struct flag table[] = {
	{ "config", FLAG_TEXT, FIELD(config), "FILE",
	    "configuration (CONFIGDIR/scottyd.yaml if present)", 0 },
	{ "configDir", FLAG_TEXT, FIELD(config_dir), "DIR", "where it is looked for (/etc/scotty)",
	    0 },
	{ "listen", FLAG_TEXT, FIELD(listen), "HOST:PORT",
	    "main port (127.0.0.1:6980); :6980 = all addresses", 0 },
	{ "portNum", FLAG_INT, FIELD(port), "N", "changes only the port of that", 0 },
	{ "stateDir", FLAG_TEXT, FIELD(state_dir), "DIR",
	    "what is kept over restarts (/var/lib/scotty); '' = nothing", 0 },
	{ "mdbFile", FLAG_TEXT, FIELD(mdb_file), "FILE", "machine list (/var/lib/scotty/mdb)", 0 },
	{ "name", FLAG_TEXT, FIELD(name), "APP", "under which scottyd polls itself (scotty)", 0 },
	{ "collectionFrequency", FLAG_DURATION, FIELD(frequency_ns), "TIME",
	    "how often endpoints are polled (30s)", 0 },
	{ "connectionCount", FLAG_INT, FIELD(connections), "N",
	    "endpoints connected or polled at once (open-file limit less 50)", 0 },
	{ "concurrentPolls", FLAG_INT, FIELD(polls), "N",
	    "of those, how many may transfer; 0 = all (0)", 0 },
	{ "pstoreUpdateFrequency", FLAG_DURATION, FIELD(pstore_ns), "TIME",
	    "how long values are collected for a request to a writer (1s)", 0 },
	{ "memoryPercentage", FLAG_INT, FIELD(memory_percent), "N",
	    "memory for history, % of RAM (50)", 0 },
	{ "pidfile", FLAG_TEXT, FIELD(pid_file), "FILE", "write the process id there", 0 },
	{ "alsoLogToStderr", FLAG_SWITCH, 0, NULL, "nothing: the log always goes there", 0 },
	{ "debug", FLAG_SWITCH, FIELD(debug_log), NULL, "log more", 0 },
	{ "generate", FLAG_WHAT, 0, NULL, "print an example configuration", GENERATE },
	{ "validate", FLAG_WHAT, 0, NULL, "check the configuration", VALIDATE },
	{ "version", FLAG_WHAT, 0, NULL, "print the version", VERSION },
	{ "help", FLAG_WHAT, 0, NULL, "print this", HELP },
	{ "h", FLAG_WHAT, 0, NULL, NULL, HELP },

	{ "tsdbPortNum", FLAG_ABSENT, 0, NULL, "there is no OpenTSDB port yet", 0 },
	{ "influxPortNum", FLAG_ABSENT, 0, NULL, "there is no Influx port yet", 0 },
	{ "mdbServerHostname", FLAG_ABSENT, 0, NULL, "use -mdbFile", 0 },
	{ "mdbServerPortNum", FLAG_ABSENT, 0, NULL, "use -mdbFile", 0 },
	{ "mdbLoadTesting", FLAG_ABSENT, 0, NULL, "list the machines in -mdbFile", 0 },
	{ "bytesPerPage", FLAG_ABSENT, 0, NULL, "the store sizes its pages itself", 0 },
	{ "pageCount", FLAG_ABSENT, 0, NULL, "use store.memory", 0 },
	{ "inactiveThreshhold", FLAG_ABSENT, 0, NULL, "pages of inactive series always go first",
	    0 },
	{ "degree", FLAG_ABSENT, 0, NULL, "the store has no B-tree", 0 },
	{ "coordinator", FLAG_ABSENT, 0, NULL, "there is no coordination yet", 0 },
	{ "cloudWatchFreq", FLAG_ABSENT, 0, NULL, "there is no CloudWatch writer", 0 },
	{ "cloudWatchTest", FLAG_ABSENT, 0, NULL, "there is no CloudWatch writer", 0 },
	{ "cloudHealthTest", FLAG_ABSENT, 0, NULL, "there is no CloudHealth writer", 0 },
	{ "cloudhHealthStoragePath", FLAG_ABSENT, 0, NULL, "there is no CloudHealth writer", 0 },
	{ "cisEndpoint", FLAG_ABSENT, 0, NULL, "there is no CIS writer", 0 },
	{ "cisRegex", FLAG_ABSENT, 0, NULL, "there is no CIS writer", 0 },
	{ "dataCenter", FLAG_ABSENT, 0, NULL, "there is no CIS writer", 0 },
	{ "cisBufferSize", FLAG_ABSENT, 0, NULL, "there is no CIS writer", 0 },
	{ "logDir", FLAG_ABSENT, 0, NULL, "the log goes to standard error", 0 },
	{ "logbufLines", FLAG_ABSENT, 0, NULL, "the log goes to standard error", 0 },
	{ "logFileMaxSize", FLAG_ABSENT, 0, NULL, "the log goes to standard error", 0 },
	{ "logQuota", FLAG_ABSENT, 0, NULL, "the log goes to standard error", 0 },
	{ "idleMarkTimeout", FLAG_ABSENT, 0, NULL, "the log goes to standard error", 0 },
	{ "initialLogDebugLevel", FLAG_ABSENT, 0, NULL, "use -debug", 0 },
};

void
flags_help(FILE *out)
{
	fputs("usage: scottyd [FLAGS]    (-x VALUE, -x=VALUE; one or two dashes)\n\n", out);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char left[64];

		if (table[i].type == FLAG_ABSENT || table[i].help == NULL)
			continue;
		snprintf(left, sizeof(left), "-%s %s", table[i].name,
		    table[i].value == NULL ? "" : table[i].value);
		fprintf(out, "  %-28s %s\n", left, table[i].help);
	}
	fputs("\nStops on SIGTERM or SIGINT, reads its configuration again on SIGHUP.\n", out);
}

static const struct flag *
find(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (str_eq(name, str_of(table[i].name)))
			return &table[i];
	return NULL;
}

/* Stores one value; false if the text is not of the flag's type. */
static bool
set(struct flags *flags, const struct flag *flag, const char *value)
{
	void *field = (char *)flags + flag->offset;
	bool on = false;

	switch (flag->type) {
	case FLAG_TEXT:
		*(const char **)field = value;
		return true;
	case FLAG_INT:
		return str_to_i64(str_of(value), field) && *(int64_t *)field >= 0;
	case FLAG_DURATION:
		return conf_parse_duration(str_of(value), field) && *(int64_t *)field > 0;
	case FLAG_SWITCH:
		if (!conf_parse_bool(str_of(value), &on))
			return false;
		if (flag->offset != 0)
			*(bool *)field = on;
		return true;
	case FLAG_WHAT:
		if (!conf_parse_bool(str_of(value), &on))
			return false;
		if (on)
			flags->what = (__typeof__(flags->what))flag->what;
		return true;
	case FLAG_ABSENT:
		break;
	}
	return false;
}

int
flags_parse(struct flags *flags, int argc, char **argv, struct err *err)
{
	*flags = (struct flags){ .port = -1,
		.frequency_ns = -1,
		.pstore_ns = -1,
		.connections = -1,
		.polls = -1,
		.memory_percent = -1 };
	for (int i = 1; i < argc; i++) {
		struct str rest = str_of(argv[i]), name;
		const struct flag *flag;
		const char *value;

		if (rest.len < 2 || rest.p[0] != '-') {
			err_set(err, ERR_CONFIG, "'%s' is not a flag; -help lists them", argv[i]);
			return -1;
		}
		rest = str_sub(rest, rest.p[1] == '-' ? 2 : 1, rest.len);
		value = strchr(rest.p, '=');
		name = value == NULL ? rest : str_sub(rest, 0, (size_t)(value - rest.p));
		flag = find(name);
		if (flag == NULL) {
			err_set(err, ERR_CONFIG, "flag -%.*s: not known; -help lists them",
			    STR_ARG(name));
			return -1;
		}
		if (flag->type == FLAG_ABSENT) {
			err_set(
			    err, ERR_CONFIG, "flag -%s: not supported: %s", flag->name, flag->help);
			return -1;
		}
		if (value != NULL) {
			value++;
		} else if (flag->value == NULL) {
			value = "true";
		} else if (++i < argc) {
			value = argv[i];
		} else {
			err_set(err, ERR_CONFIG, "flag -%s: wants %s", flag->name, flag->value);
			return -1;
		}
		if (!set(flags, flag, value)) {
			err_set(err, ERR_CONFIG, "flag -%s: '%s' is no good%s%s", flag->name, value,
			    flag->value == NULL ? "" : ": wants ",
			    flag->value == NULL ? "" : flag->value);
			return -1;
		}
	}
	return 0;
}
