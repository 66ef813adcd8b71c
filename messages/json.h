/*
 * messages/json.h - JSON text out, in the two layouts the product speaks: compact, and indented
 * with one tab a level (as Go's json.Indent does it).
 *
 * A writer appends to a buf that the caller drains as it likes: what was written is never looked
 * at again, so a document can be streamed in pieces of any size. No newline follows its end. Room
 * is taken ahead: a buf's limit is reached up to 100 bytes early, before a distribution up to 40
 * bytes a bucket.
 *
 * Escaping is Go's: < > & and U+2028/9 as \uXXXX; each byte that is not UTF-8, and U+FFFD itself,
 * as \ufffd.
 *
 * Threads: a writer belongs to its owner.
 */
#ifndef SCOTTY_MESSAGES_JSON_H
#define SCOTTY_MESSAGES_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "messages/metric.h"

#define JSON_DEPTH 64

struct json {
	struct buf *out;
	bool indent;
	unsigned depth; /* open arrays and objects, at most JSON_DEPTH */
	bool after_key;
	bool used[JSON_DEPTH + 1]; /* the level has an element already */
};

void json_init(struct json *, struct buf *out, bool indent);
/* For a text of members alone, compact, without the brackets of the object they belong to. */
void json_init_members(struct json *, struct buf *out);

void json_begin_object(struct json *);
void json_end_object(struct json *); /* an empty one is "{}" */
void json_begin_array(struct json *);
void json_end_array(struct json *);            /* an empty one is "[]" */
void json_key_str(struct json *, struct str);  /* plain ASCII, nothing to escape */
void json_key_text(struct json *, struct str); /* any text */
void json_string(struct json *, struct str);
void json_bool(struct json *, bool);
void json_null(struct json *);
void json_u64(struct json *, uint64_t);
void json_i64(struct json *, int64_t);
void json_f64(struct json *, double); /* NaN and infinities: null */
void json_f32(struct json *, float);  /* the float's shortest digits */

/* Inline, so that the length of a literal is known when compiling. */
static inline void
json_key(struct json *j, const char *key)
{
	json_key_str(j, str_of(key));
}

/* Key and string, left out when the string is empty. */
void json_string_unless_empty(struct json *, const char *key, struct str);
/* A time stamp, "secs.nanos" in quotes; TS_NONE gives "". */
void json_ts(struct json *, int64_t ts_ns);
/*
 * A value as scotty's REST calls show it: distribution {"sum","count","counts","rollOverCount"} or
 * null, list of uint8 as base64, time and duration in the unit as strings.
 */
void json_value(struct json *, const struct metric_desc *, const struct value *);
/*
 * The keys that describe a metric, in scotty's order: path, description, unit, kind, subType, bits
 * (empty ones left out but description and kind).
 */
void json_desc(struct json *, const struct metric_desc *);
/* The key tags with an object of them; left out when there are none. */
void json_tags(struct json *, const struct metric_desc *);
/* The keys that come last: isNotCumulative, upperLimits, tags; each left out when empty. */
void json_desc_tail(struct json *, const struct metric_desc *);
/*
 * Appends what json_desc writes, compact, then what json_desc_tail does, each without a comma
 * before or after it, and returns the length of the former. With both in desc->text, json_desc and
 * json_desc_tail of compact documents take them from there.
 */
size_t json_desc_text(struct buf *out, const struct metric_desc *);

/*
 * For who writes the text of many elements of an array by hand, in the compact layout. Begins a
 * value where at least n bytes may be written, NULL when out of memory; and ends it there.
 */
char *json_begin_raw(struct json *, size_t n);
void json_end_raw(struct json *, const char *end);
/*
 * Between the two: writes at p what json_value does. Most values need no more than JSON_VALUE_BYTES
 * of the room that is left; for the others more is made, so that at least n bytes may follow what
 * is returned. NULL when out of memory.
 */
#define JSON_VALUE_BYTES 48
char *json_value_raw(
    struct json *, char *p, size_t n, const struct metric_desc *, const struct value *);
/*
 * For who writes many values of one kind: what writes to out[JSON_VALUE_BYTES] as json_value does
 * and returns the length. NULL for strings, lists and distributions.
 */
typedef size_t json_scalar(char *out, const struct value *, struct str unit);
json_scalar *json_scalar_of(enum kind);

#endif
