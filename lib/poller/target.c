#include "poller/target.h"

#include <stdlib.h>
#include <string.h>

/* Copies s to *room, moves it on, and returns the copy, which ends in a NUL beyond its length. */
static struct str
place(char **room, struct str s)
{
	char *copy = *room;

	if (s.len > 0)
		memcpy(copy, s.p, s.len);
	copy[s.len] = '\0';
	*room += s.len + 1;
	return (struct str){ copy, s.len };
}

struct target *
target_new(const struct target *proto)
{
	size_t text_bytes =
	    proto->host.len + proto->app.len + proto->address.len + proto->region.len + 4;
	struct target *target = malloc(sizeof(*target) + text_bytes);
	char *room;

	if (target == NULL)
		return NULL;
	room = (char *)(target + 1);
	*target = (struct target){
		.host = place(&room, proto->host),
		.app = place(&room, proto->app),
		.address = place(&room, proto->address),
		.port = proto->port,
		.source = proto->source,
		.interval_ns = proto->interval_ns,
		.region = place(&room, proto->region),
		.deny_loopback = proto->deny_loopback,
		.deny_link_local = proto->deny_link_local,
		.doc = proto->doc == NULL ? NULL : conf_doc_ref(proto->doc),
		.options = proto->options,
		.refs = 1,
	};
	return target;
}

struct target *
target_ref(struct target *target)
{
	target->refs++;
	return target;
}

void
target_unref(struct target *target)
{
	if (target == NULL || --target->refs != 0)
		return;
	conf_doc_unref(target->doc);
	free(target);
}

static bool conf_eq(const struct conf *, const struct conf *);

static size_t
child_count(const struct conf *conf)
{
	size_t n = 0;

	for (const struct conf *child = conf == NULL ? NULL : conf->first; child != NULL;
	     child = child->next)
		n++;
	return n;
}

/* The order in which keys are written means nothing; a map that is absent is an empty one. */
static bool
map_eq(const struct conf *a, const struct conf *b)
{
	if (child_count(a) != child_count(b))
		return false;
	for (const struct conf *child = a == NULL ? NULL : a->first; child != NULL;
	     child = child->next) {
		const struct conf *other = b->first;

		while (other != NULL && !str_eq(other->key, child->key))
			other = other->next;
		if (other == NULL || !conf_eq(child, other))
			return false;
	}
	return true;
}

static bool
list_eq(const struct conf *a, const struct conf *b)
{
	const struct conf *x = a->first, *y = b->first;

	while (x != NULL && y != NULL && conf_eq(x, y)) {
		x = x->next;
		y = y->next;
	}
	return x == NULL && y == NULL;
}

/* Recursion is bounded by the nesting that conf_parse lets through. */
static bool
conf_eq(const struct conf *a, const struct conf *b)
{
	if (a->shape != b->shape)
		return false;
	switch (a->shape) {
	case CONF_SCALAR:
		return a->quoted == b->quoted && str_eq(a->text, b->text);
	case CONF_LIST:
		return list_eq(a, b);
	case CONF_MAP:
		return map_eq(a, b);
	}
	return false;
}

bool
target_eq(const struct target *a, const struct target *b)
{
	return str_eq(a->host, b->host) && str_eq(a->app, b->app) &&
	       str_eq(a->address, b->address) && a->port == b->port && a->source == b->source &&
	       a->interval_ns == b->interval_ns && str_eq(a->region, b->region) &&
	       a->deny_loopback == b->deny_loopback && a->deny_link_local == b->deny_link_local &&
	       map_eq(a->options, b->options);
}
