/*
 * api/json_array_priv.h - an answer that is a JSON array, made an element at a time.
 *
 * Compact ones end in a newline, indented ones do not, as upstream's.
 *
 * Threads: an array belongs to its request.
 */
#ifndef SCOTTY_API_JSON_ARRAY_PRIV_H
#define SCOTTY_API_JSON_ARRAY_PRIV_H

#include "api/route_priv.h"
#include "messages/json.h"

struct json_array {
	struct stream stream;
	struct json json;
	bool begun;
	/*
	 * Writes one element, a part of a long one, or none, and returns MORE; END without writing
	 * when there are no more.
	 */
	enum stream_result (*next)(struct json_array *);
	void (*free)(struct json_array *); /* the whole object */
};

/* Embedded in what next and free know. */
void json_array_init(struct json_array *, bool indent,
    enum stream_result (*next)(struct json_array *), void (*free)(struct json_array *));

#endif
