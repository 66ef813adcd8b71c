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

static size_t
tag_text_bytes(const struct target *proto)
{
	size_t bytes = 0;

	for (size_t i = 0; i < proto->tag_count; i++)
		bytes += proto->tags[i].key.len + proto->tags[i].value.len + 2;
	return bytes;
}

struct target *
target_new(const struct target *proto)
{
	size_t text_bytes =
	    proto->host.len + proto->app.len + proto->address.len + proto->region.len + 4;
	size_t tags_bytes = proto->tag_count * sizeof(*proto->tags);
	struct target *target =
	    malloc(sizeof(*target) + tags_bytes + text_bytes + tag_text_bytes(proto));
	struct tag *tags;
	char *room;

	if (target == NULL)
		return NULL;
	tags = (struct tag *)(target + 1);
	room = (char *)(tags + proto->tag_count);
	*target = (struct target){
		.host = place(&room, proto->host),
		.app = place(&room, proto->app),
		.address = place(&room, proto->address),
		.port = proto->port,
		.source = proto->source,
		.interval_ns = proto->interval_ns,
		.region = place(&room, proto->region),
		.tags = proto->tag_count == 0 ? NULL : tags,
		.tag_count = proto->tag_count,
		.deny_loopback = proto->deny_loopback,
		.deny_link_local = proto->deny_link_local,
		.doc = proto->doc == NULL ? NULL : conf_doc_ref(proto->doc),
		.options = proto->options,
		.refs = 1,
	};
	for (size_t i = 0; i < proto->tag_count; i++)
		tags[i] = (struct tag){ place(&room, proto->tags[i].key),
			place(&room, proto->tags[i].value) };
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

bool
target_eq(const struct target *a, const struct target *b)
{
	return str_eq(a->host, b->host) && str_eq(a->app, b->app) &&
	       str_eq(a->address, b->address) && a->port == b->port && a->source == b->source &&
	       a->interval_ns == b->interval_ns && str_eq(a->region, b->region) &&
	       tags_eq(a->tags, a->tag_count, b->tags, b->tag_count) &&
	       a->deny_loopback == b->deny_loopback && a->deny_link_local == b->deny_link_local &&
	       conf_eq(a->options, b->options);
}
