#include "base/flag.h"
#include "scottyd/config.h"

/* Names and meanings are upstream Scotty's where it has them. */

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
	    "kept over restarts (/var/lib/scotty); '' = nothing", 0 },
	{ "mdbFile", FLAG_TEXT, FIELD(mdb_file), "FILE", "machine list (/var/lib/scotty/mdb)", 0 },
	{ "name", FLAG_TEXT, FIELD(name), "APP", "under which scottyd polls itself (scotty)", 0 },
	{ "collectionFrequency", FLAG_DURATION, FIELD(frequency_ns), "TIME",
	    "how often endpoints are polled (30s)", 0 },
	{ "connectionCount", FLAG_INT, FIELD(connections), "N",
	    "endpoints polled at once (open-file limit less 50)", 0 },
	{ "concurrentPolls", FLAG_INT, FIELD(polls), "N",
	    "of those, how many may transfer; 0 = all (0)", 0 },
	{ "pstoreUpdateFrequency", FLAG_DURATION, FIELD(pstore_ns), "TIME",
	    "how long values wait to be written together (1s)", 0 },
	{ "memoryPercentage", FLAG_INT, FIELD(memory_percent), "N",
	    "memory for history, % of RAM (50)", 0 },
	{ "pidfile", FLAG_TEXT, FIELD(pid_file), "FILE", "write the process id there", 0 },
	{ "alsoLogToStderr", FLAG_IGNORED, 0, NULL, "nothing: the log always goes there", 0 },
	{ "debug", FLAG_SWITCH, FIELD(debug_log), NULL, "log more", 0 },
	{ "generate", FLAG_CHOICE, FIELD(what), NULL, "print an example configuration", GENERATE },
	{ "validate", FLAG_CHOICE, FIELD(what), NULL, "check the configuration", VALIDATE },
	{ "version", FLAG_CHOICE, FIELD(what), NULL, "print the version", VERSION },
	{ "help", FLAG_CHOICE, FIELD(what), NULL, "print this", HELP },
	{ "h", FLAG_CHOICE, FIELD(what), NULL, NULL, HELP },

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
	flag_help(table, ARRAY_LEN(table), out);
	fputs("\nStops on SIGTERM or SIGINT, reads its configuration again on SIGHUP.\n", out);
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
	return flag_parse(table, ARRAY_LEN(table), flags, argc, argv, NULL, err);
}
