/*
 * messages/metric.h - what a metric is (kind, unit, description, tags) and what a value is.
 *
 * The kinds and units are tricorder's; a source with other types maps to them. Nothing here owns
 * memory: pointers lead into the batch's arena, the store or a static table.
 *
 * Threads: pure functions on the caller's data.
 */
#ifndef SCOTTY_MESSAGES_METRIC_H
#define SCOTTY_MESSAGES_METRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum kind {
	KIND_NONE, /* unknown: never in a batch */
	KIND_BOOL,
	KIND_INT8,
	KIND_INT16,
	KIND_INT32,
	KIND_INT64,
	KIND_UINT8,
	KIND_UINT16,
	KIND_UINT32,
	KIND_UINT64,
	KIND_FLOAT32,
	KIND_FLOAT64,
	KIND_STRING,
	KIND_TIME,
	KIND_DURATION,
	KIND_LIST,
	KIND_DIST,
	KIND_COUNT
};

/* "int8", "time", "distribution", ...; KIND_NONE gives "". */
const char *kind_name(enum kind);
/* KIND_NONE for an unknown name. The old servers' "int", "uint", "float" give the 64-bit kinds. */
enum kind kind_parse(struct str name);
/* 8..64 for ints, uints and floats, else 0. */
int kind_bits(enum kind);
/* True for what reads as a float: ints, uints, floats, time, duration. */
bool kind_is_numeric(enum kind);
bool kind_is_int(enum kind);  /* INT8..INT64 */
bool kind_is_uint(enum kind); /* UINT8..UINT64 */
/* The range of an int or uint kind. */
bool kind_int_fits(enum kind, int64_t);
bool kind_uint_fits(enum kind, uint64_t);

/* Units are free text on the wire; these are the usual ones. */
#define UNIT_NONE             "None"
#define UNIT_MILLISECONDS     "Milliseconds"
#define UNIT_SECONDS          "Seconds"
#define UNIT_CELSIUS          "Celsius"
#define UNIT_BYTES            "Bytes"
#define UNIT_BYTES_PER_SECOND "BytesPerSecond"
/* Units of time per second: 1000 for Milliseconds, 1 for every other unit. */
int64_t unit_per_second(struct str unit);

struct tag {
	struct str key, value;
};

/* A description's JSON, made ahead by who keeps it for long: see json_desc_text. */
struct desc_text {
	struct str desc, tail;
};

/*
 * What one metric is, apart from its value and its group. Two metrics are the same series if all
 * of this is equal.
 */
struct metric_desc {
	struct str path; /* starts with '/', no empty component, not only "/" */
	struct str description;
	struct str unit;
	enum kind kind;
	enum kind sub_kind;     /* KIND_LIST: of its elements, never LIST or DIST; else NONE */
	const struct tag *tags; /* sorted by key, keys unique and not empty */
	size_t tag_count;
	const double *limits; /* KIND_DIST: upper limits of all buckets but the last, rising */
	size_t limit_count;
	bool not_cumulative;          /* KIND_DIST */
	const struct desc_text *text; /* not compared: says the same; NULL if it was not made */
};

/* The same keys and values in the same order. */
bool tags_eq(const struct tag *a, size_t a_count, const struct tag *b, size_t b_count);
bool desc_eq(const struct metric_desc *, const struct metric_desc *);
/* Equal descs have equal hashes; seeded per process. */
uint64_t desc_hash(const struct metric_desc *);
/* Byte order of the path, then of the tags (key, value, key, ...). */
int desc_cmp(const struct metric_desc *, const struct metric_desc *);

struct value;

struct list {
	const struct value *values;
	size_t len;
};

struct dist {
	const uint64_t *counts; /* limit_count + 1 of them */
	size_t len;
	double sum;
	uint64_t count;                   /* sum of the counts */
	uint64_t generation;              /* as the source sent it; the store keeps none */
	uint64_t rollovers;               /* 1 at first, one more at each reset: set by the store */
	double min, max, average, median; /* as the source sent them; the store keeps none */
};

/* The kind says which member counts. */
struct value {
	union {
		bool b;
		int64_t i; /* ints; TIME: ns since 1970 UTC; DURATION: ns */
		uint64_t u;
		double f;     /* FLOAT32 too: exactly that float */
		struct str s; /* STRING: valid UTF-8, may hold NUL */
		const struct list *list;
		const struct dist *dist;
	};
};

#define TS_NONE INT64_MIN /* no time stamp */

/*
 * Bit for bit: NaN equals the same NaN, 0.0 and -0.0 differ. Lists and distributions by content, of
 * the latter only what the store keeps (counts, sum, rollovers).
 */
bool value_eq(const struct metric_desc *, const struct value *, const struct value *);
/*
 * The zero value of the kind: false, 0, "", empty list, dist NULL. What an inactive marker reads
 * as.
 */
struct value value_zero(enum kind);
/*
 * A numeric value as a double: TIME in seconds since 1970, DURATION in seconds whatever the unit.
 * The kind must be numeric.
 */
double value_to_double(enum kind, const struct value *);

/*
 * Paths are compared component by component, as tricorder sorts them ("/a/z" before "/a-b"):
 * negative, 0, positive.
 */
int path_cmp_components(struct str, struct str);
/* True if path is prefix or lies under it ("/a/b" under "/a", not "/ab"). "" and "/" hold all. */
bool path_is_under(struct str path, struct str prefix);

#endif
