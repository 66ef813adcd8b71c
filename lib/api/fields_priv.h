/*
 * api/fields_priv.h - members of JSON objects, as /api/endpoints and /api/writers have them.
 */
#ifndef SCOTTY_API_FIELDS_PRIV_H
#define SCOTTY_API_FIELDS_PRIV_H

#include "base/clock.h"
#include "messages/json.h"

static inline void
put_text(struct json *json, const char *key, struct str value)
{
	json_key(json, key);
	json_string(json, value);
}

static inline void
put_bool(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	json_bool(json, value);
}

static inline void
put_count(struct json *json, const char *key, uint64_t value)
{
	json_key(json, key);
	json_u64(json, value);
}

static inline void
put_seconds(struct json *json, const char *key, int64_t ns)
{
	json_key(json, key);
	json_f64(json, (double)ns / (double)NS_PER_S);
}

/* TS_NONE: an empty text. */
static inline void
put_time(struct json *json, const char *key, int64_t ts_ns)
{
	json_key(json, key);
	json_ts(json, ts_ns);
}

#endif
