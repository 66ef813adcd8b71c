/*
 * The source "snmp": objects of network gear, by SNMP version 1, 2c and 3.
 *
 * Versions 1 and 2c are spoken here, on the poller's own loop: encoding, sending and decoding a
 * request takes less time than handing it to another thread would (docs/design.md). Version 3 is
 * net-snmp's (snmp_v3.c).
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "sources/snmp_gather_priv.h"
#include "sources/snmp_udp_priv.h"
#include "sources/snmp_v3_priv.h"
#include "sources/source.h"

/* What fits a packet of any network, headers aside. */
#define REQUEST_BYTES 1400

/* What the SNMP sources of one poller share. */
struct snmp_client {
	struct snmp_udp *udp;
	struct snmp_names *names; /* the standard ones */
	size_t users;
};

struct snmp {
	struct source source;
	struct source_env *env;
	struct snmp_client *client;
	struct snmp_conf *conf;
	struct str address; /* lent by the target */
	uint16_t port;
	bool deny_loopback, deny_link_local;

	struct poll_job *job; /* the poll under way, else NULL */
	bool connected;       /* reported */
	struct resolver_ask resolve;

	/* Versions 1 and 2c. */
	struct snmp_gather gather;
	struct snmp_peer peer;
	struct loop_timer timer; /* until the request under way is sent again, or given up */
	unsigned retries;        /* of it */
	struct snmp_v3 *v3;      /* version 3, else NULL */
};

extern const struct source_ops source_snmp;

static void ask(struct snmp *);

static int64_t
now_ns(const struct snmp *snmp)
{
	return loop_now_ns(snmp->env->loop);
}

/* What sources share. */

static void
client_leave(struct source_env *env)
{
	struct snmp_client *client = env->snmp;

	if (--client->users > 0)
		return;
	snmp_udp_free(client->udp);
	snmp_names_free(client->names);
	free(client);
	env->snmp = NULL;
}

static struct snmp_client *
client_join(struct source_env *env, struct err *err)
{
	if (env->snmp == NULL) {
		env->snmp = calloc(1, sizeof(*env->snmp));
		if (env->snmp == NULL) {
			err_nomem(err);
			return NULL;
		}
	}
	env->snmp->users++;
	if ((env->snmp->udp == NULL && (env->snmp->udp = snmp_udp_new(env->loop, err)) == NULL) ||
	    (env->snmp->names == NULL && (env->snmp->names = snmp_names_new(err)) == NULL)) {
		client_leave(env);
		return NULL;
	}
	return env->snmp;
}

/* The end of a poll. */

static void
be_idle(struct snmp *snmp)
{
	loop_timer_clear(snmp->env->loop, &snmp->timer);
	if (snmp->peer.udp != NULL)
		snmp_udp_end(&snmp->peer);
	snmp->job = NULL;
}

static void
fail(struct snmp *snmp, const struct err *why)
{
	struct poll_job *job = snmp->job;
	bool ipv6 =
	    memchr(snmp->address.p, ':', snmp->address.len) != NULL && snmp->address.p[0] != '[';
	struct err err = *why;

	err_wrap(&err, "snmp %s%.*s%s:%u", ipv6 ? "[" : "", STR_ARG(snmp->address), ipv6 ? "]" : "",
	    (unsigned)snmp->port);
	be_idle(snmp);
	job->report(job, POLL_FAILED, &err);
}

static void
succeed(struct snmp *snmp, struct snmp_gather *gather)
{
	struct poll_job *job = snmp->job;
	struct err err;
	bool restarted;

	if (snmp_gather_metrics(gather, job->batch, now_ns(snmp), &restarted, &err) != 0) {
		fail(snmp, &err);
		return;
	}
	if (restarted)
		log_info("snmp", "agent restarted: address=%.*s:%u, counters begin anew",
		    STR_ARG(snmp->address), (unsigned)snmp->port);
	be_idle(snmp);
	job->report(job, POLL_DONE, NULL);
}

static void
be_connected(struct snmp *snmp)
{
	if (!snmp->connected)
		snmp->job->report(snmp->job, POLL_CONNECTED, NULL);
	snmp->connected = true;
}

/* Versions 1 and 2c. */

/* Sends what is to be asked next, or again; the time it has begins now. */
static void
send_request(struct snmp *snmp)
{
	const struct snmp_conf *conf = snmp->conf;
	uint8_t bytes[REQUEST_BYTES];
	struct snmp_ask next;
	struct err err;
	size_t len;

	if (!snmp_gather_ask(&snmp->gather, snmp->retries, &next)) {
		succeed(snmp, &snmp->gather);
		return;
	}
	len = snmp_encode(
	    &(struct snmp_request){
	        .version = conf->version,
	        .community = str_of(conf->community),
	        .pdu = next.pdu,
	        .id = snmp->peer.id,
	        .non_repeaters = next.non_repeaters,
	        .max_repetitions = next.repetitions,
	        .oids = next.oids,
	        .count = next.count,
	    },
	    bytes, sizeof(bytes));
	if (len == 0) {
		/* As if the agent had said so: fewer objects, until the request fits. */
		if (snmp_gather_answered(&snmp->gather, SNMP_ERR_TOO_BIG, 0, 0, &err) != 0)
			fail(snmp, &err);
		else
			send_request(snmp);
		return;
	}
	if (snmp_udp_send(&snmp->peer, bytes + sizeof(bytes) - len, len, &err) != 0) {
		fail(snmp, &err);
		return;
	}
	loop_timer_set(snmp->env->loop, &snmp->timer, now_ns(snmp) + conf->timeout_ns);
}

/* Asks what comes next. */
static void
ask(struct snmp *snmp)
{
	snmp->retries = 0;
	snmp_udp_begin(&snmp->peer);
	send_request(snmp);
}

static void
on_timeout(struct loop_timer *timer)
{
	struct snmp *snmp = CONTAINER_OF(timer, struct snmp, timer);
	char where[SNMP_OID_TEXT_BYTES];
	struct err err;

	if (snmp->retries < snmp->conf->retries) {
		snmp->retries++;
		send_request(snmp);
		return;
	}
	snmp_walk_where(&snmp->gather.walk, where);
	err_set(&err, ERR_TIMEOUT, "%.300s: no answer to %u %s of %g s%s", where, snmp->retries + 1,
	    snmp->retries == 0 ? "try" : "tries", (double)snmp->conf->timeout_ns / (double)NS_PER_S,
	    snmp->connected ? "" : " (host down, port closed or wrong community)");
	fail(snmp, &err);
}

/* Takes the answer in. -1: the poll has failed. */
static int
take_answer(struct snmp *snmp, const struct snmp_message *message, struct err *err)
{
	struct str rest = message->varbinds;
	struct snmp_varbind_room room;
	struct snmp_varbind varbind;
	enum snmp_read read = SNMP_READ_END;
	const char *why;

	while (message->status == SNMP_ERR_NONE &&
	       (read = snmp_read_varbind(&rest, &varbind, &room, &why)) == SNMP_READ_ONE) {
		if (snmp_gather_take(&snmp->gather, &varbind, now_ns(snmp), err) != 0)
			return -1;
	}
	if (read == SNMP_READ_BAD) {
		err_set(err, ERR_PROTO, "%s", why);
		return -1;
	}
	return snmp_gather_answered(
	    &snmp->gather, message->status, message->index, snmp->retries, err);
}

static void
on_answer(struct snmp_peer *peer, const struct snmp_message *message)
{
	struct snmp *snmp = CONTAINER_OF(peer, struct snmp, peer);
	struct err err;

	be_connected(snmp);
	if (take_answer(snmp, message, &err) != 0)
		fail(snmp, &err);
	else
		ask(snmp);
}

/* Version 3. */

static void
on_v3_connected(void *ctx)
{
	be_connected(ctx);
}

static void
on_v3_done(void *ctx, struct snmp_gather *gather, const struct err *failure)
{
	struct snmp *snmp = ctx;

	if (failure != NULL)
		fail(snmp, failure);
	else
		succeed(snmp, gather);
}

/* Where the agent is. */

static bool
is_denied(const struct snmp *snmp, const struct net_addr *addr)
{
	return (snmp->deny_loopback && net_addr_is_loopback(addr)) ||
	       (snmp->deny_link_local && net_addr_is_link_local(addr));
}

static void
start_at(struct snmp *snmp, const struct net_addr *addr)
{
	struct err err;

	if (is_denied(snmp, addr)) {
		err_set(&err, ERR_DENIED, "who registered it may not reach that address");
		fail(snmp, &err);
	} else if (snmp->v3 != NULL) {
		snmp_v3_start(snmp->v3, addr, snmp->port, snmp->env->max_response);
	} else if (snmp_udp_set_address(&snmp->peer, addr, snmp->port, &err) != 0) {
		fail(snmp, &err);
	} else {
		snmp_gather_begin(&snmp->gather, &snmp->job->batch->arena, now_ns(snmp));
		ask(snmp);
	}
}

static void
on_resolved(struct resolver_ask *resolve, const struct net_addr *addr, const struct err *failure)
{
	struct snmp *snmp = CONTAINER_OF(resolve, struct snmp, resolve);

	if (failure != NULL)
		fail(snmp, failure);
	else
		start_at(snmp, addr);
}

/* The four functions. */

static void
snmp_free(struct snmp *snmp)
{
	snmp_udp_leave(&snmp->peer);
	snmp_v3_close(snmp->v3);
	if (snmp->conf != NULL)
		snmp_gather_fini(&snmp->gather);
	snmp_conf_unref(snmp->conf);
	if (snmp->client != NULL)
		client_leave(snmp->env);
	free(snmp);
}

static int
open_version(struct snmp *snmp, struct err *err)
{
	const struct snmp_v3_events events = {
		.ctx = snmp,
		.on_connected = on_v3_connected,
		.on_done = on_v3_done,
	};

	if (snmp->conf->version != SNMP_V3)
		return snmp_udp_join(snmp->client->udp, &snmp->peer, err);
	snmp->v3 = snmp_v3_open(snmp->env->loop, snmp->conf, &events, err);
	return snmp->v3 == NULL ? -1 : 0;
}

static struct source *
snmp_open(struct source_env *env, const struct source_target *target, struct err *err)
{
	struct snmp *snmp = calloc(1, sizeof(*snmp));

	if (snmp == NULL) {
		err_nomem(err);
		return NULL;
	}
	*snmp = (struct snmp){
		.source.ops = &source_snmp,
		.env = env,
		.address = target->address,
		.port = target->port,
		.deny_loopback = target->deny_loopback,
		.deny_link_local = target->deny_link_local,
		.resolve = { .fn = on_resolved, .loop = env->loop },
		.peer.on_answer = on_answer,
		.timer.fn = on_timeout,
	};
	snmp->client = client_join(env, err);
	if (snmp->client == NULL)
		goto failed;
	snmp->conf =
	    snmp_conf_new(target->options, snmp->client->names, target->deny_loopback, err);
	if (snmp->conf == NULL)
		goto failed;
	snmp_gather_init(&snmp->gather, snmp->conf);
	if (open_version(snmp, err) != 0)
		goto failed;
	return &snmp->source;
failed:
	snmp_free(snmp);
	err_wrap(err, "snmp");
	return NULL;
}

static void
snmp_start(struct source *source, struct poll_job *job)
{
	struct snmp *snmp = CONTAINER_OF(source, struct snmp, source);
	struct net_addr addr;

	assert(snmp->job == NULL);
	snmp->job = job;
	snmp->connected = false;
	if (resolver_numeric(snmp->address, &addr) ||
	    resolver_get(snmp->env->resolver, snmp->address, &snmp->resolve, &addr))
		start_at(snmp, &addr);
}

static void
snmp_cancel(struct source *source)
{
	struct snmp *snmp = CONTAINER_OF(source, struct snmp, source);

	resolver_cancel(snmp->env->resolver, &snmp->resolve);
	if (snmp->v3 != NULL)
		snmp_v3_cancel(snmp->v3);
	be_idle(snmp);
}

static void
snmp_close(struct source *source)
{
	snmp_free(CONTAINER_OF(source, struct snmp, source));
}

const struct source_ops source_snmp = {
	.name = "snmp",
	.help = "network gear, by SNMP version 1, 2c or 3",
	.opts = snmp_opts,
	.open = snmp_open,
	.start = snmp_start,
	.cancel = snmp_cancel,
	.close = snmp_close,
};
