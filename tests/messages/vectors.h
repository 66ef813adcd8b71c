/*
 * vectors.h - captured answers of tricorder and scotty, taken apart with json-c, so that a test can
 * write them again and compare bytes. A file that is not as expected fails the test.
 */
#ifndef SCOTTY_TESTS_MESSAGES_VECTORS_H
#define SCOTTY_TESTS_MESSAGES_VECTORS_H

#include "base/arena.h"
#include "messages/metric.h"

/* json-c's own; its headers define a json_bool that is not ours. */
struct json_object;

/* The whole file, ended by a NUL beyond .len; the caller frees .p. */
struct str vector_load(const char *name);
/* Fails the test unless got is what the file holds. */
void vector_expect(const char *name, struct str got);
struct json_object *vector_parse(const char *name);
void vector_free(struct json_object *);

size_t vector_len(struct json_object *array);
struct json_object *vector_at(struct json_object *array, size_t i);
struct json_object *vector_get(struct json_object *obj, const char *key); /* or NULL */
bool vector_bool(struct json_object *obj, const char *key);
int64_t vector_i64(struct json_object *obj, const char *key);

/* obj[key] as text; empty if there is none. Lent from obj. */
struct str vector_text(struct json_object *obj, const char *key);
int64_t vector_ts(struct json_object *obj); /* of the key timestamp */

/* What the object of a metric says of it; text is lent, limits come from the arena. */
struct metric_desc vector_desc(struct arena *, struct json_object *metric);
/* A value in tricorder's form, or scotty's for a distribution without ranges. */
struct value vector_value(struct arena *, const struct metric_desc *, struct json_object *value);

#endif
