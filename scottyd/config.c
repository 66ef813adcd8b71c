#include "scottyd/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "fleet/fleet.h"
#include "pstore/consumer.h"
#include "sources/resolver.h"
#include "sources/source.h"

#define CONFIG_DIR  "/etc/scotty"
#define CONFIG_NAME "scottyd.yaml"
#define PSTORE_NAME "pstore.yaml" /* upstream's list of writers */

/* Descriptors kept from polling for the API, the registry, the log; upstream's number. */
#define RESERVED_FDS 50

static const struct conf_opt top_opts[] = {
	{ "listen", CONF_TEXT, "127.0.0.1:6980", "main port, HOST:PORT; :6980 = all addresses", 0,
	    0 },
	{ "insecure", CONF_BOOL, "false",
	    "true lets listen name an address that other machines reach: there is no TLS yet", 0,
	    0 },
	{ "tsdbListen", CONF_TEXT, NULL, NULL, 0, 0 },
	{ "influxListen", CONF_TEXT, NULL, NULL, 0, 0 },
	{ "stateDir", CONF_TEXT, "/var/lib/scotty",
	    "what is kept over restarts; \"\" = nothing on disk", 0, 0 },
	{ "collection", CONF_TREE, NULL, "how endpoints are polled", 0, 0 },
	{ "store", CONF_TREE, NULL, "how much history is kept", 0, 0 },
	{ "mdbFile", CONF_TEXT, "/var/lib/scotty/mdb",
	    "machine list (JSON); applications are found in each machine's /health-checks", 0, 0 },
	{ "endpoints", CONF_TREE, NULL, "endpoints registered by hand", 0, 0 },
	{ "discovery", CONF_TREE, NULL, "lists of endpoints that others keep", 0, 0 },
	{ "adminToken", CONF_SECRET, NULL,
	    "bearer token for PUT and DELETE; absent = from loopback only", 0, 0 },
	{ "writers", CONF_TREE, NULL, "stores that all values are written to", 0, 0 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

static const struct conf_opt collection_opts[] = {
	{ "frequency", CONF_DURATION, "30s", "interval of endpoints that name none",
	    100 * NS_PER_MS, 24 * 3600 * NS_PER_S },
	{ "threads", CONF_INT, "0", "pollers; 0 = one per processor", 0, 256 },
	{ "connections", CONF_INT, "0", "endpoints polled at once; 0 = open-file limit less 50", 0,
	    1000000 },
	{ "polls", CONF_INT, "0", "of those, how many may transfer; 0 = no limit", 0, 1000000 },
	{ "connectTimeout", CONF_DURATION, "5s", "until connected", NS_PER_MS, 3600 * NS_PER_S },
	{ "pollTimeout", CONF_DURATION, "10s", "from connected to the last byte", NS_PER_MS,
	    3600 * NS_PER_S },
	{ "maxResponse", CONF_SIZE, "64MiB", "memory that one poll may take", 1 << 10,
	    INT64_C(1) << 32 },
	{ "staleAfter", CONF_DURATION, "5m",
	    "without a good poll, metrics become inactive; 0 = never, as upstream", 0, INT64_MAX },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

static const struct conf_opt store_opts[] = {
	{ "memory", CONF_SIZE, "50%", "history in memory: 4GiB, or % of RAM", 1 << 20, INT64_MAX },
	{ "diskRetention", CONF_DURATION, "7d", "history on disk goes when it is so old", 0,
	    INT64_MAX },
	{ "diskSize", CONF_DISK, "16GiB",
	    "or when there is more of it: 16GiB, or % of the file system", 1 << 20, INT64_MAX },
	{ "journalSync", CONF_DURATION, "1s", "what was polled outlives a power cut after that", 0,
	    3600 * NS_PER_S },
	{ "journalRestore", CONF_DURATION, "6h",
	    "so much of the journal is brought back into memory at a start", 0, INT64_MAX },
	{ "journalSegment", CONF_DURATION, "1h", "a file of the journal ends when it is so old",
	    NS_PER_S, 24 * 3600 * NS_PER_S },
	{ "journalRestoreSize", CONF_SIZE, "48MiB",
	    "or so much of it, which takes 1 to 2 s on two processors; the rest stays on disk "
	    "until it is asked for",
	    1 << 10, INT64_MAX },
	{ "journalSegmentSize", CONF_SIZE, "16MiB", "or so large", 1 << 10, INT64_C(1) << 40 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

/* The address part of listen reaches this machine only. */
static bool
is_loopback_only(struct str host)
{
	static const struct net_addr any_ipv4 = { .family = AF_INET },
	                             any_ipv6 = { .family = AF_INET6 };
	struct net_addr addr;

	if (!resolver_numeric(host, &addr))
		return str_eq(host, STR("localhost"));
	return net_addr_is_loopback(&addr) && memcmp(&addr, &any_ipv4, sizeof(addr)) != 0 &&
	       memcmp(&addr, &any_ipv6, sizeof(addr)) != 0;
}

static void
check_listen(struct config *config, const struct conf *root, struct conf_report *report)
{
	const struct conf *at = config->listen_from_flag ? NULL : conf_child(root, "listen");
	struct str host;
	uint16_t port;
	struct err err;

	if (api_parse_listen(str_of(config->listen), &host, &port, &err) != 0) {
		conf_complain(report, at, "%s", err.text);
		return;
	}
	config->open = !is_loopback_only(host);
	if (config->open && !config->listen_from_flag && !config->insecure)
		conf_complain(report, at,
		    "'listen' names an address that other machines reach, and there is no TLS: say "
		    "'insecure: true' if that is meant");
}

static void
check_file(const struct conf *root, struct map *writer_names, struct conf_report *report)
{
	conf_check(root, top_opts, report);
	conf_check(conf_child(root, "collection"), collection_opts, report);
	conf_check(conf_child(root, "store"), store_opts, report);
	consumers_check(conf_child(root, "writers"), writer_names, report);
	fleet_check_endpoints(conf_child(root, "endpoints"), report);
	fleet_check_discovery(conf_child(root, "discovery"), report);
}

/* Keys that are fixed already but whose feature is still to come: nobody shall wait for it in vain.
 */
static void
warn_of_absent(const struct conf *root)
{
	if (conf_text(root, top_opts, "tsdbListen").len > 0)
		log_warn("scottyd", "tsdbListen: this version has no OpenTSDB port");
	if (conf_text(root, top_opts, "influxListen").len > 0)
		log_warn("scottyd", "influxListen: this version has no Influx port");
}

/* Raises the open-file limit as far as it goes and returns it. */
static uint64_t
open_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { limit.rlim_max, limit.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur;
}

/* HOST:PORT with another port. */
static char *
with_port(const char *listen, int64_t port)
{
	const char *colon = strrchr(listen, ':');
	char *out;

	if (asprintf(&out, "%.*s:%lld", (int)(colon == NULL ? 0 : colon - listen), listen,
	        (long long)port) < 0)
		return NULL;
	return out;
}

static char *
text_or(const char *flag, const struct conf *root, const char *name)
{
	return flag != NULL ? strdup(flag) : str_dup(conf_text(root, top_opts, name));
}

/*
 * Fills config from a file that was checked, and the flags. -1 when out of memory or a secret is
 * not to be had.
 */
static int
fill(struct config *config, const struct flags *flags, const struct conf *root, struct err *err)
{
	const struct conf *collection = conf_child(root, "collection");
	const struct conf *store = conf_child(root, "store");
	uint64_t files = open_file_limit();

	config->listen = text_or(flags->listen, root, "listen");
	config->listen_from_flag = flags->listen != NULL;
	if (config->listen != NULL && flags->port >= 0) {
		char *listen = with_port(config->listen, flags->port);

		free(config->listen);
		config->listen = listen;
	}
	config->insecure = conf_bool(root, top_opts, "insecure");
	config->state_dir = text_or(flags->state_dir, root, "stateDir");
	config->mdb_file = text_or(flags->mdb_file, root, "mdbFile");
	config->own_app = strdup(flags->name != NULL ? flags->name : "scotty");
	if (config->listen == NULL || config->state_dir == NULL || config->mdb_file == NULL ||
	    config->own_app == NULL) {
		err_nomem(err);
		return -1;
	}
	config->frequency_ns = flags->frequency_ns >= 0
	                           ? flags->frequency_ns
	                           : conf_duration_ns(collection, collection_opts, "frequency");
	config->pstore_ns = flags->pstore_ns > 0 ? flags->pstore_ns : 0;
	config->threads = (unsigned)conf_int(collection, collection_opts, "threads");
	config->connections =
	    (uint64_t)(flags->connections >= 0
	                   ? flags->connections
	                   : conf_int(collection, collection_opts, "connections"));
	if (config->connections == 0)
		config->connections = files > RESERVED_FDS ? files - RESERVED_FDS : 1;
	config->polls =
	    (uint64_t)(flags->polls >= 0 ? flags->polls
	                                 : conf_int(collection, collection_opts, "polls"));
	config->connect_timeout_ns =
	    conf_duration_ns(collection, collection_opts, "connectTimeout");
	config->poll_timeout_ns = conf_duration_ns(collection, collection_opts, "pollTimeout");
	config->max_response = conf_size(collection, collection_opts, "maxResponse");
	config->stale_after_ns = conf_duration_ns(collection, collection_opts, "staleAfter");
	config->store_bytes = flags->memory_percent >= 0
	                          ? conf_memory_bytes() / 100 * (uint64_t)flags->memory_percent
	                          : conf_size(store, store_opts, "memory");
	config->disk_retention_ns = conf_duration_ns(store, store_opts, "diskRetention");
	config->disk_size = conf_disk(store, store_opts, "diskSize");
	config->journal_sync_ns = conf_duration_ns(store, store_opts, "journalSync");
	config->journal_restore_bytes = conf_size(store, store_opts, "journalRestoreSize");
	config->journal_restore_ns = conf_duration_ns(store, store_opts, "journalRestore");
	config->journal_segment_ns = conf_duration_ns(store, store_opts, "journalSegment");
	config->journal_segment_bytes = conf_size(store, store_opts, "journalSegmentSize");
	config->endpoints = conf_child(root, "endpoints");
	config->discovery = conf_child(root, "discovery");
	config->writers[0] = (struct writers_list){ config->doc, conf_child(root, "writers") };
	if (config->pstore_doc != NULL)
		config->writers[1] =
		    (struct writers_list){ config->pstore_doc, config->pstore_doc->root };
	warn_of_absent(root);
	return conf_secret(root, "adminToken", &config->admin_token, err);
}

/* A file of the configuration directory, on the heap; NULL when it is not there. */
static char *
find_in_dir(const struct flags *flags, const char *name)
{
	const char *dir = flags->config_dir != NULL ? flags->config_dir : CONFIG_DIR;
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return NULL;
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* Takes the path. The document, or NULL: there is none, or it was complained about. */
static struct conf_doc *
load_file(char *path, struct conf_report *report)
{
	struct conf_doc *doc = NULL;
	struct err err;

	if (path != NULL) {
		doc = conf_load(path, &err);
		if (doc == NULL)
			conf_complain(report, NULL, "%s", err.text);
		else
			report->name = doc->name;
	}
	free(path);
	return doc;
}

/* Both files, checked. */
static void
load_files(struct config *config, const struct flags *flags, struct conf_report *report)
{
	struct map writer_names;

	map_init(&writer_names);
	config->pstore_doc = load_file(find_in_dir(flags, PSTORE_NAME), report);
	if (config->pstore_doc != NULL)
		consumers_check(config->pstore_doc->root, &writer_names, report);
	config->doc = load_file(
	    flags->config != NULL ? strdup(flags->config) : find_in_dir(flags, CONFIG_NAME),
	    report);
	if (config->doc != NULL)
		check_file(config->doc->root, &writer_names, report);
	map_fini(&writer_names);
}

int
config_load(struct config *config, const struct flags *flags, struct conf_report *report)
{
	const struct conf *root;
	struct err err;

	*config = (struct config){ 0 };
	load_files(config, flags, report);
	root = config->doc != NULL ? config->doc->root : NULL;
	if (report->count == 0 && fill(config, flags, root, &err) != 0)
		conf_complain(report, conf_child(root, "adminToken"), "%s", err.text);
	if (report->count == 0)
		check_listen(config, root, report);
	if (report->count == 0)
		return 0;
	config_fini(config);
	return -1;
}

void
config_fini(struct config *config)
{
	free(config->listen);
	free(config->state_dir);
	free(config->mdb_file);
	free(config->own_app);
	conf_secret_free(config->admin_token);
	conf_doc_unref(config->doc);
	conf_doc_unref(config->pstore_doc);
	*config = (struct config){ 0 };
}

static void
generate_rows(FILE *out, const struct conf_opt *opts, const char *indent)
{
	for (; opts->name != NULL; opts++)
		if (opts->dflt != NULL)
			fprintf(out, "%s%s: %s%*s# %s\n", indent, opts->name,
			    opts->dflt[0] == '\0' ? "\"\"" : opts->dflt,
			    (int)(strlen(opts->name) + strlen(opts->dflt) < 30
			              ? 30 - strlen(opts->name) - strlen(opts->dflt)
			              : 1),
			    "", opts->help);
}

/* Commented, as the lists they belong to are empty. */
static void
generate_options(FILE *out, const struct conf_opt *opts)
{
	for (; opts != NULL && opts->name != NULL; opts++)
		fprintf(out, "#   %s: %s   # %s\n", opts->name,
		    opts->dflt == NULL ? "" : opts->dflt, opts->help);
}

static void
generate_writers(FILE *out)
{
	fputs(
	    "\nwriters: []               # also CONFIGDIR/pstore.yaml, a list of the same "
	    "elements\n"
	    "# - influx:                 # a writer's name: see below\n"
	    "#     hostAndPort: http://127.0.0.1:8086\n"
	    "#     database: scotty\n"
	    "#   consumer:\n"
	    "#     name: main influx\n"
	    "# - file:\n"
	    "#     path: /var/log/scotty/values.jsonl\n"
	    "#   consumer:\n"
	    "#     name: hourly means\n"
	    "#     rollUpSpan: 1h\n"
	    "#     regexesOfMetricsToInclude: [^/proc/, ^/sys/]\n"
	    "#\n"
	    "# Values wait in the store until their writer's server has them, also over restarts;\n"
	    "# those that it refuses for what is in them go to stateDir/dead/NAME.jsonl.\n"
	    "# \"scotty writers\" shows how they fare.\n"
	    "#\n# keys under consumer:\n",
	    out);
	generate_options(out, consumer_opts);
	for (size_t i = 0; writer_at(i) != NULL; i++) {
		fprintf(out, "#\n# writer %s: %s\n", writer_at(i)->name, writer_at(i)->help);
		generate_options(out, writer_at(i)->opts);
	}
}

void
config_generate(FILE *out)
{
	fputs("# scottyd.yaml: every key with its default. JSON will do as well.\n"
	      "# Sizes: 64MiB, 4GiB, 50% (of RAM). Times: 30s, 1h30m.\n\n",
	    out);
	generate_rows(out, top_opts, "");
	fputs(
	    "# adminToken: {file: /etc/scotty/admin-token}   # lets PUT and DELETE in from afar\n\n"
	    "collection:\n",
	    out);
	generate_rows(out, collection_opts, "  ");
	fputs("\nstore:\n", out);
	generate_rows(out, store_opts, "  ");
	fputs("\nendpoints: []\n"
	      "# - host: web1              # host and app are the identity\n"
	      "#   app: health agent\n"
	      "#   address: 10.0.0.1       # default: host\n"
	      "#   port: 6910\n"
	      "#   source: tricorder       # see below\n"
	      "#   interval: 30s           # default: collection.frequency\n"
	      "#   region: us-east-1       # optional\n"
	      "#   tags: {rack: r7}        # optional: what else is known of it\n"
	      "#   options: {}             # what the source takes:\n",
	    out);
	for (size_t i = 0; source_at(i) != NULL; i++) {
		fprintf(out, "#\n# source %s: %s\n", source_at(i)->name, source_at(i)->help);
		generate_options(out, source_at(i)->opts);
	}
	generate_writers(out);
	fleet_generate_discovery(out);
}
