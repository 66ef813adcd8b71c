/*
 * The source "snmp": objects of network gear, by SNMP version 1, 2c and 3.
 *
 * It is spoken here, on the poller's own loop, rather than by a library: that takes less time than
 * handing a request to another thread would, no descriptor per agent, and no lists that all agents
 * of a process share (docs/design.md, "Decisions").
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "sources/snmp_gather_priv.h"
#include "sources/snmp_totals.h"
#include "sources/snmp_udp_priv.h"
#include "sources/snmp_usm_priv.h"
#include "sources/source.h"

/* What fits a packet of any network, headers aside. */
#define REQUEST_BYTES 1400

/* Of one poller: some 150,000 objects that differ from agent to agent. */
#define LAYOUTS_BYTES ((size_t)64 * 1024 * 1024)

/* An agent whose engine or clock is never the same is not asked for ever. */
#define AGAINS_MOST 3

/* What the SNMP sources of one poller share. */
struct snmp_client {
	struct snmp_keyring *keyring;
	struct snmp_layouts *layouts;
	struct snmp_udp *udp;
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
	bool connected;       /* reported: something came */
	bool answered;        /* a request, not only with a report */
	struct resolver_ask resolve;
	struct snmp_gather gather;
	struct snmp_engine engine; /* version 3 */
	struct snmp_peer peer;
	struct loop_timer timer; /* until the request under way is sent again, or given up */
	unsigned retries;        /* of it */
	uint64_t counts[SNMP_TOTAL_COUNT]; /* of the poll under way */
	unsigned agains;                   /* times it was asked again, as the engine was another */
};

extern const struct source_ops source_snmp;

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
	snmp_keyring_free(client->keyring);
	snmp_layouts_free(client->layouts);
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
	if (env->snmp->users == 1 &&
	    ((env->snmp->udp = snmp_udp_new(env->loop, err)) == NULL ||
	        (env->snmp->keyring = snmp_keyring_new(err)) == NULL ||
	        (env->snmp->layouts = snmp_layouts_new(LAYOUTS_BYTES, err)) == NULL)) {
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
	snmp_udp_end(&snmp->peer);
	snmp_totals_add(snmp->env->snmp_totals, snmp->counts);
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
	snmp_gather_failed(&snmp->gather);
	be_idle(snmp);
	job->report(job, POLL_FAILED, &err);
}

static void
succeed(struct snmp *snmp)
{
	struct poll_job *job = snmp->job;
	struct err err;
	bool restarted;

	if (snmp_gather_metrics(&snmp->gather, job->batch, now_ns(snmp), &restarted, &err) != 0) {
		fail(snmp, &err);
		return;
	}
	if (restarted)
		log_info("snmp", "agent restarted: address=%.*s port=%u, its counters began anew",
		    STR_ARG(snmp->address), (unsigned)snmp->port);
	be_idle(snmp);
	job->report(job, POLL_DONE, NULL);
}

/* Requests. */

/* Writes the message to the end of out; its length, or 0 if it does not fit. */
static size_t
encode(struct snmp *snmp, const struct snmp_ask *next, uint8_t *out, size_t size)
{
	const struct snmp_request request = {
		.version = snmp->conf->version,
		.community = str_of(snmp->conf->community),
		.pdu = next->pdu,
		.id = snmp->peer.id,
		.non_repeaters = next->non_repeaters,
		.max_repetitions = next->repetitions,
		.oids = next->oids,
		.count = next->count,
	};

	if (request.version == SNMP_V3)
		return snmp_usm_encode(&snmp->engine, &request, now_ns(snmp), out, size);
	return snmp_encode(&request, out, size);
}

/* Sends what is to be asked next, or again; the time it has begins now. */
static void
send_request(struct snmp *snmp)
{
	uint8_t bytes[REQUEST_BYTES];
	struct snmp_ask next;
	struct err err;
	size_t len = 0;

	while (len == 0) {
		if (!snmp_gather_ask(&snmp->gather, snmp->retries, &next)) {
			succeed(snmp);
			return;
		}
		len = encode(snmp, &next, bytes, sizeof(bytes));
		/* As if the agent had said so: fewer objects, until the request fits. */
		if (len == 0 &&
		    snmp_gather_answered(&snmp->gather, SNMP_ERR_TOO_BIG, 0, 0, 0, &err) != 0) {
			fail(snmp, &err);
			return;
		}
	}
	if (snmp_udp_send(&snmp->peer, bytes + sizeof(bytes) - len, len, &err) != 0) {
		fail(snmp, &err);
		return;
	}
	snmp->counts[snmp->retries == 0 ? SNMP_REQUESTS : SNMP_RETRIES]++;
	snmp->counts[SNMP_SENT_BYTES] += len;
	loop_timer_set(snmp->env->loop, &snmp->timer, now_ns(snmp) + snmp->conf->timeout_ns);
}

/* Asks what comes next. */
static void
ask(struct snmp *snmp)
{
	snmp->retries = snmp->agains = 0;
	snmp_udp_begin(&snmp->peer);
	send_request(snmp);
}

/* What silence may mean. */
static const char *
hint(const struct snmp *snmp)
{
	bool v3 = snmp->conf->version == SNMP_V3;

	if (!snmp->connected)
		return v3 ? " (host down or port closed)"
		          : " (host down, port closed or wrong community)";
	/* Agents say nothing to what they can't decrypt, or don't know the context of. */
	if (v3 && !snmp->answered)
		return " (agent is there; privPassword, privProtocol or context may be wrong)";
	return "";
}

static void
give_up(struct snmp *snmp)
{
	char where[SNMP_OID_TEXT_BYTES];
	struct err err;

	snmp->counts[SNMP_TIMEOUTS]++;
	/* Should its clock have gone back: the next poll learns it anew. */
	if (snmp->conf->version == SNMP_V3)
		snmp_engine_forget(&snmp->engine);
	snmp_walk_where(snmp->gather.walk, where);
	err_set(&err, ERR_TIMEOUT, "%.300s: timed out after %u %s of %g s%s", where,
	    snmp->retries + 1, snmp->retries == 0 ? "try" : "tries",
	    (double)snmp->conf->timeout_ns / (double)NS_PER_S, hint(snmp));
	fail(snmp, &err);
}

static void
on_timeout(struct loop_timer *timer)
{
	struct snmp *snmp = CONTAINER_OF(timer, struct snmp, timer);

	if (snmp->retries == snmp->conf->retries) {
		give_up(snmp);
		return;
	}
	snmp->retries++;
	send_request(snmp);
}

/* Answers. */

/* Asks the same again, of the engine that the agent turned out to have. */
static void
ask_again(struct snmp *snmp)
{
	struct err err;

	if (snmp->agains++ == AGAINS_MOST) {
		snmp_engine_forget(&snmp->engine);
		err_set(&err, ERR_PROTO, "agent's engine id or clock changes all the time");
		fail(snmp, &err);
		return;
	}
	snmp_udp_begin(&snmp->peer);
	send_request(snmp);
}

/* Takes the varbinds in, and what the answer says of itself. -1: the poll has failed. */
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
	return snmp_gather_answered(&snmp->gather, message->status, message->index,
	    message->varbinds.len, snmp->retries, err);
}

static enum snmp_usm_result
decode(struct snmp *snmp, struct str bytes, struct snmp_message *message, struct err *err)
{
	if (snmp->conf->version == SNMP_V3)
		return snmp_usm_decode(&snmp->engine, (uint8_t *)(uintptr_t)bytes.p, bytes.len,
		    now_ns(snmp), message, err);
	if (snmp_decode(bytes, message) && message->version == (int64_t)snmp->conf->version &&
	    message->pdu == SNMP_PDU_RESPONSE)
		return SNMP_USM_ANSWER;
	return SNMP_USM_DROP;
}

static void
on_answer(struct snmp_peer *peer, struct str bytes)
{
	struct snmp *snmp = CONTAINER_OF(peer, struct snmp, peer);
	enum snmp_usm_result result;
	struct snmp_message message;
	struct err err;

	snmp->counts[SNMP_RECEIVED_BYTES] += bytes.len;
	result = decode(snmp, bytes, &message, &err);
	if (result == SNMP_USM_DROP || (result == SNMP_USM_ANSWER && message.id != peer->id))
		return;
	if (!snmp->connected)
		snmp->job->report(snmp->job, POLL_CONNECTED, NULL);
	snmp->connected = true;
	snmp->answered |= result == SNMP_USM_ANSWER;
	if (result == SNMP_USM_AGAIN)
		ask_again(snmp);
	else if (result == SNMP_USM_FAILED || take_answer(snmp, &message, &err) != 0)
		fail(snmp, &err);
	else
		ask(snmp);
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

	source_begin_batch(snmp->job);
	if (is_denied(snmp, addr)) {
		err_set(&err, ERR_DENIED, "who registered it may not reach that address");
		fail(snmp, &err);
	} else if (snmp_udp_set_address(&snmp->peer, addr, snmp->port, &err) != 0) {
		fail(snmp, &err);
	} else if (!snmp_gather_begin(&snmp->gather, &snmp->job->batch->arena, now_ns(snmp))) {
		batch_alloc_err(snmp->job->batch, sizeof(struct snmp_walk), &err);
		fail(snmp, &err);
	} else {
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
	snmp_engine_fini(&snmp->engine);
	if (snmp->conf != NULL)
		snmp_gather_fini(&snmp->gather);
	snmp_conf_free(snmp->conf);
	if (snmp->client != NULL)
		client_leave(snmp->env);
	free(snmp);
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
	snmp->conf = snmp_conf_new(target->options, target->deny_loopback, err);
	if (snmp->conf == NULL)
		goto failed;
	snmp_gather_init(&snmp->gather, snmp->conf, snmp->client->layouts);
	if (snmp->conf->version == SNMP_V3 &&
	    snmp_engine_init(&snmp->engine, snmp->conf, snmp->client->keyring, err) != 0)
		goto failed;
	if (snmp_udp_join(snmp->client->udp, &snmp->peer, err) != 0)
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
	snmp->connected = snmp->answered = false;
	if (resolver_numeric(snmp->address, &addr) ||
	    resolver_get(snmp->env->resolver, snmp->address, &snmp->resolve, &addr))
		start_at(snmp, &addr);
}

static void
snmp_cancel(struct source *source)
{
	struct snmp *snmp = CONTAINER_OF(source, struct snmp, source);

	resolver_cancel(snmp->env->resolver, &snmp->resolve);
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
	.check = snmp_conf_check,
	.open = snmp_open,
	.start = snmp_start,
	.cancel = snmp_cancel,
	.close = snmp_close,
};
