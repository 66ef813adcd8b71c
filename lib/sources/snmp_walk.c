#include "sources/snmp_walk_priv.h"

#include <assert.h>

#define STRIKES_OUT     4  /* of packets lost at random, one in five, 1 request in 600 does that */
#define NEEDED_AT_FIRST 64 /* answers */
#define NEEDED_AT_MOST  4096

static const uint32_t uptime_ids[] = { 1, 3, 6, 1, 2, 1, 1, 3, 0 };
const struct snmp_oid snmp_uptime = { uptime_ids, ARRAY_LEN(uptime_ids) };
/* What it comes after: the object of which it is the only instance. */
static const struct snmp_oid before_uptime = { uptime_ids, ARRAY_LEN(uptime_ids) - 1 };

void
snmp_reps_init(struct snmp_reps *reps, unsigned most)
{
	*reps = (struct snmp_reps){ .now = most, .most = most, .needed = NEEDED_AT_FIRST };
}

/* retries halvings of n, but 1 at least. */
static unsigned
halved(unsigned n, unsigned retries)
{
	n = retries < 31 ? n >> retries : 0;
	return n == 0 ? 1 : n;
}

static void
lower(struct snmp_reps *reps, unsigned now)
{
	/* It was raised in vain: not so soon again. */
	if (reps->needed < NEEDED_AT_MOST)
		reps->needed *= 2;
	reps->now = now;
	reps->good = reps->strikes = 0;
}

void
snmp_reps_answered(struct snmp_reps *reps, unsigned retries)
{
	if (retries > 0) {
		if (++reps->strikes == STRIKES_OUT)
			lower(reps, halved(reps->now, retries));
		return;
	}
	reps->strikes = 0;
	if (reps->now == reps->most || ++reps->good < reps->needed)
		return;
	reps->now = reps->now * 2 < reps->most ? reps->now * 2 : reps->most;
	reps->good = 0;
}

bool
snmp_reps_too_big(struct snmp_reps *reps)
{
	if (reps->now == 1)
		return false;
	lower(reps, reps->now / 2);
	return true;
}

/* The mark that ends lane i of the subtree under way, empty for the last one. */
static struct snmp_oid
lane_mark(const struct snmp_walk *w, size_t i)
{
	const struct snmp_guide *guide = w->guide;

	if (guide->lanes == 0 || w->root_at >= w->plan->root_count ||
	    guide->first[w->root_at] + i >= guide->first[w->root_at + 1])
		return (struct snmp_oid){ NULL, 0 };
	return guide->marks[guide->first[w->root_at] + i];
}

/* Begins as many lanes as go at once. False if the subtree has no more. */
static bool
begin_lanes(struct snmp_walk *w)
{
	size_t most = w->guide->lanes > 1 ? w->guide->lanes : 1;

	w->lane_count = 0;
	while (w->lane_count < most) {
		struct snmp_lane *lane = &w->lanes[w->lane_count];
		struct snmp_oid start = w->plan->roots[w->root_at];

		if (w->next_lane > 0)
			start = lane_mark(w, w->next_lane - 1);
		if (start.len == 0)
			break;
		snmp_oid_keep(&lane->last, start);
		lane->mark = lane_mark(w, w->next_lane);
		lane->ended = false;
		lane->run = w->run_count++;
		w->lane_count++;
		w->next_lane++;
	}
	return w->lane_count > 0;
}

static void
enter_root(struct snmp_walk *w)
{
	w->next_lane = 0;
	if (w->root_at < w->root_count)
		begin_lanes(w);
}

void
snmp_walk_begin(struct snmp_walk *w, const struct snmp_plan *plan, const struct snmp_guide *guide,
    struct snmp_reps *reps, bool lookups)
{
	w->plan = plan;
	w->guide = guide;
	w->reps = reps;
	w->root_count = plan->root_count + (lookups ? plan->lookup_count : 0);
	w->uptime_wanted = true;
	w->uptime_asked = w->narrow = w->strayed = false;
	w->get_at = w->root_at = 0;
	w->get_until = plan->get_count;
	w->gets_most = SNMP_GETS_MOST;
	w->asked_lane_count = 0;
	w->run = 0;
	w->run_count = 1; /* what is got comes first */
	enter_root(w);
}

static bool
is_getting(const struct snmp_walk *w)
{
	return w->get_at < w->plan->get_count;
}

/* The next gets, sysUpTime before them. */
static void
ask_gets(struct snmp_walk *w, struct snmp_ask *ask)
{
	size_t count = w->get_until - w->get_at;

	if (count > w->gets_most)
		count = w->gets_most;
	if (w->uptime_asked)
		w->oids[ask->count++] = snmp_uptime;
	for (size_t i = 0; i < count; i++)
		w->oids[ask->count++] = w->plan->gets[w->get_at + i];
	ask->pdu = SNMP_PDU_GET;
}

static void
ask_next(struct snmp_walk *w, unsigned retries, struct snmp_ask *ask)
{
	if (w->uptime_asked)
		w->oids[ask->count++] = before_uptime;
	w->narrow |= retries > 0 && w->lane_count > 1;
	w->asked_lane_count = 0;
	for (size_t i = 0; i < w->lane_count; i++) {
		struct snmp_lane *lane = &w->lanes[i];

		if (lane->ended || (w->narrow && w->asked_lane_count == 1))
			continue;
		w->asked_lanes[w->asked_lane_count++] = lane;
		w->oids[ask->count++] = snmp_oid_of(&lane->last);
	}
	ask->pdu = w->plan->v1 ? SNMP_PDU_GETNEXT : SNMP_PDU_GETBULK;
	ask->non_repeaters = w->uptime_asked ? 1 : 0;
	ask->repetitions = halved(w->reps->now, retries);
}

bool
snmp_walk_ask(struct snmp_walk *w, unsigned retries, struct snmp_ask *ask)
{
	*ask = (struct snmp_ask){ .oids = w->oids };
	w->uptime_asked = w->uptime_wanted;
	w->taken = 0;
	if (is_getting(w))
		ask_gets(w, ask);
	else if (w->root_at < w->root_count)
		ask_next(w, retries, ask);
	else
		return false;
	w->asked = ask->count;
	return true;
}

void
snmp_walk_where(const struct snmp_walk *w, char *out)
{
	struct snmp_oid oid = { NULL, 0 };

	if (is_getting(w))
		oid = w->plan->gets[w->get_at];
	else if (w->root_at < w->root_count)
		oid = w->plan->roots[w->root_at];
	out[snmp_oid_text(oid, out)] = '\0';
}

static bool
is_nothing(const struct snmp_varbind *varbind)
{
	return varbind->type == SNMP_NO_SUCH_OBJECT || varbind->type == SNMP_NO_SUCH_INSTANCE ||
	       varbind->type == SNMP_END_OF_MIB_VIEW || varbind->type == SNMP_NULL;
}

static void
wrong_order(struct snmp_oid got, struct snmp_oid after, const char *what, struct err *err)
{
	char texts[2][SNMP_OID_TEXT_BYTES];
	size_t len[2] = { snmp_oid_text(got, texts[0]), snmp_oid_text(after, texts[1]) };

	/* Both must be seen whole, as far as an error text reaches. */
	err_set(err, ERR_PROTO, "%.*s %s %.*s", (int)(len[0] < 200 ? len[0] : 200), texts[0], what,
	    (int)(len[1] < 200 ? len[1] : 200), texts[1]);
}

static enum snmp_take
take_got(struct snmp_walk *w, size_t place, const struct snmp_varbind *varbind, struct err *err)
{
	if (place >= w->asked) {
		err_set(err, ERR_PROTO, "answered more than was asked for");
		return SNMP_WRONG;
	}
	if (snmp_oid_cmp(varbind->name, w->oids[place]) != 0) {
		wrong_order(varbind->name, w->oids[place], "was answered when asked for", err);
		return SNMP_WRONG;
	}
	return is_nothing(varbind) ? SNMP_DROP : SNMP_KEEP;
}

/* Beyond the lane: the subtree ends, or the next lane will bring it. */
static bool
ends_lane(
    const struct snmp_walk *w, const struct snmp_lane *lane, const struct snmp_varbind *varbind)
{
	if (is_nothing(varbind))
		return true;
	if (lane->mark.len > 0)
		return snmp_oid_cmp(varbind->name, lane->mark) > 0;
	return !snmp_oid_is_under(varbind->name, w->plan->roots[w->root_at]);
}

static enum snmp_take
take_walked(struct snmp_walk *w, size_t place, const struct snmp_varbind *varbind, struct err *err)
{
	struct snmp_lane *lane = w->asked_lanes[place % w->asked_lane_count];
	struct snmp_oid last = snmp_oid_of(&lane->last);

	w->run = lane->run;
	if (lane->ended)
		return SNMP_DROP;
	if (!is_nothing(varbind) && snmp_oid_cmp(varbind->name, last) <= 0) {
		wrong_order(varbind->name, last, "does not increase: it came after", err);
		return SNMP_WRONG;
	}
	if (ends_lane(w, lane, varbind)) {
		/* The mark should have come, and was the last thing to come. */
		w->strayed |= lane->mark.len > 0;
		lane->ended = true;
		return SNMP_DROP;
	}
	snmp_oid_keep(&lane->last, varbind->name);
	lane->ended = lane->mark.len > 0 && snmp_oid_cmp(varbind->name, lane->mark) == 0;
	return w->root_at < w->plan->root_count ? SNMP_KEEP : SNMP_LOOKUP;
}

enum snmp_take
snmp_walk_take(struct snmp_walk *w, const struct snmp_varbind *varbind, struct err *err)
{
	size_t place = w->taken++;

	w->run = 0;
	if (place == 0 && w->uptime_asked) {
		w->uptime_wanted = false;
		return snmp_oid_cmp(varbind->name, snmp_uptime) == 0 && !is_nothing(varbind)
		           ? SNMP_UPTIME
		           : SNMP_DROP;
	}
	if (is_getting(w))
		return take_got(w, place, varbind, err);
	return take_walked(w, place - (w->uptime_asked ? 1 : 0), varbind, err);
}

static int
refused(const struct snmp_walk *w, int64_t status, int64_t index, struct err *err)
{
	char text[SNMP_OID_TEXT_BYTES];

	text[0] = '\0';
	/* In a walk the index is that of the one object asked for; the subtree says more. */
	if (is_getting(w) && index >= 1 && index <= (int64_t)w->asked)
		text[snmp_oid_text(w->oids[index - 1], text)] = '\0';
	else
		snmp_walk_where(w, text);
	err_set(err, ERR_PROTO, "%.300s: agent answered %s%s", text, snmp_status_text(status),
	    status == SNMP_ERR_AUTHORIZATION ? " (no view of this user or community allows it)"
	                                     : "");
	return -1;
}

/* Version 1's only way to say that there is no such object, or no further one. */
static void
leave_out(struct snmp_walk *w, int64_t index)
{
	size_t before = w->uptime_asked ? 1 : 0;

	if (before == 1 && index == 1) {
		w->uptime_wanted = false;
	} else if (!is_getting(w)) {
		w->root_at++;
		enter_root(w);
	} else if ((size_t)index == before + 1) {
		w->get_at++;
		w->get_until = w->plan->get_count;
	} else {
		/* Those before it are asked for again, then it is the first. */
		w->get_until = w->get_at + (size_t)index - 1 - before;
	}
}

static bool
too_big(struct snmp_walk *w)
{
	if (!is_getting(w) && w->asked_lane_count > 1) {
		w->narrow = true;
		return true;
	}
	if (!is_getting(w))
		return !w->plan->v1 && snmp_reps_too_big(w->reps);
	if (w->asked == 1)
		return false;
	if (w->uptime_asked)
		w->uptime_wanted = false;
	w->gets_most = w->gets_most / 2 == 0 ? 1 : w->gets_most / 2;
	return true;
}

static int
took_gets(struct snmp_walk *w, struct err *err)
{
	size_t before = w->uptime_asked ? 1 : 0;

	/* Less than was asked for is fine, as long as it gets on. */
	if (w->taken <= before) {
		char text[SNMP_OID_TEXT_BYTES];

		snmp_walk_where(w, text);
		err_set(err, ERR_PROTO, "%.300s: agent answered nothing", text);
		return -1;
	}
	w->get_at += w->taken - before;
	if (w->get_at >= w->get_until)
		w->get_until = w->plan->get_count;
	return 0;
}

static void
took_lanes(struct snmp_walk *w)
{
	bool all = true;

	for (size_t i = 0; i < w->asked_lane_count; i++) {
		/* Nothing at all: taken for the end, as it would not get on. */
		if (w->taken == 0)
			w->asked_lanes[i]->ended = true;
		/* More came than there was before. */
		w->strayed |= w->asked_lane_count > 1 && !w->asked_lanes[i]->ended;
	}
	for (size_t i = 0; i < w->lane_count; i++)
		all = all && w->lanes[i].ended;
	if (!all || begin_lanes(w))
		return;
	w->root_at++;
	enter_root(w);
}

int
snmp_walk_answered(struct snmp_walk *w, int64_t status, int64_t index, struct err *err)
{
	if (status == SNMP_ERR_TOO_BIG && too_big(w))
		return 0;
	if (status == SNMP_ERR_NO_SUCH_NAME && index >= 1 && index <= (int64_t)w->asked) {
		leave_out(w, index);
		return 0;
	}
	if (status != SNMP_ERR_NONE)
		return refused(w, status, index, err);
	if (is_getting(w))
		return took_gets(w, err);
	took_lanes(w);
	return 0;
}
