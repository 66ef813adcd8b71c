/*
 * sources/source.h - what every source implements: four functions, and a table of options.
 *
 * A source knows how to get one batch of metrics from one target. When to poll, how many at once
 * and when to give up belong to the endpoint (poller/endpoint.h), never to a source.
 *
 * Threads: all calls for one source come on its poller's thread, and none may block.
 */
#ifndef SCOTTY_SOURCES_SOURCE_H
#define SCOTTY_SOURCES_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/loop.h"
#include "messages/batch.h"

struct http_client;
struct own;
struct resolver;
struct snmp_client;
struct snmp_totals;
struct tricorder_layouts;

/* What sources share: one per poller thread. */
struct source_env {
	struct loop *loop;
	struct http_client *http;
	struct resolver *resolver;
	struct snmp_client
	    *snmp; /* made by the first SNMP source, ended by the last; NULL at first */
	struct snmp_totals *snmp_totals;   /* shared by all pollers */
	struct own *own;                   /* scottyd's own metrics */
	uint64_t max_response;             /* bytes one poll may take: its answer and its batch */
	struct tricorder_layouts *layouts; /* shared by all pollers; NULL = remember none */
};

/* Whom to poll. Text is lent for the life of the source. */
struct source_target {
	struct str host, app;
	struct str address; /* name or numeric address */
	uint16_t port;
	bool deny_loopback; /* registered from afar: see http.h, "guard" */
	bool deny_link_local;
	const struct conf *options; /* checked against opts; NULL = all defaults */
};

enum poll_event { POLL_CONNECTED, POLL_DONE, POLL_FAILED };

/*
 * One poll. The source fills the batch (empty at the start; it need not call batch_end), reports
 * CONNECTED when the target answers the phone (at most once, may be left out), then DONE or FAILED
 * exactly once; err is set with FAILED only. report may be called inside start: the endpoint acts
 * on it once the callback under way has returned, so no source thinks about re-entry.
 */
struct poll_job {
	struct batch *batch;
	/* Use source_begin_batch. NULL: the batch is as it should be. */
	void (*begin_batch)(struct poll_job *);
	void (*report)(struct poll_job *, enum poll_event, const struct err *);
};

/*
 * Right before the source puts the first thing into the empty batch, it says so, and the batch gets
 * memory: that of the poll before, which caches still hold. Who waits for an answer first calls
 * this when it is there, so that memory goes with the answers being read, not with those awaited.
 */
static inline void
source_begin_batch(struct poll_job *job)
{
	if (job->begin_batch != NULL)
		job->begin_batch(job);
}

struct source {
	const struct source_ops *ops; /* first member of every source */
};

struct source_ops {
	const char *name;            /* the configuration's word: "tricorder" */
	const char *help;            /* one line for -generate */
	const struct conf_opt *opts; /* of the endpoint's `options`, ended by a NULL name */
	/*
	 * Complains about what the table can't say of options (a map that it found nothing wrong
	 * with). Secrets that are references are not followed. Any thread. NULL: the table says
	 * all.
	 */
	void (*check)(const struct conf *options, struct conf_report *);
	/*
	 * NULL with ERR_CONFIG, ERR_NOMEM, ... env and the target's text outlive the source.
	 */
	struct source *(*open)(struct source_env *, const struct source_target *, struct err *);
	/* Never while a poll is under way. */
	void (*start)(struct source *, struct poll_job *);
	/* Ends the poll under way: no report once it has returned. NULL if start always reports. */
	void (*cancel)(struct source *);
	/* No poll is under way. NULL is not passed. */
	void (*close)(struct source *);
	/*
	 * For sources that can hold an answer back: after CONNECTED they take it in only once this
	 * was called (collection.polls bounds how many do so at once). NULL: the source does not
	 * wait.
	 */
	void (*proceed)(struct source *);
	bool local; /* polls nothing over a network: address and port mean nothing */
};

/* By name; NULL if there is none. */
const struct source_ops *source_find(struct str name);
/* All of them, i = 0, 1, ...; NULL at the end. */
const struct source_ops *source_at(size_t i);

#endif
