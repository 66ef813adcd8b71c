/*
 * sources/json_scan_priv.h - JSON (RFC 8259) token by token over bytes in memory, without a tree.
 *
 * An array or object is walked level by level with a struct scan each:
 *
 *	scan_enter(&inner, &outer);
 *	while ((step = scan_next(&inner)) > 0) {
 *		(objects only) scan_key(&inner, &key);
 *		scan_value(&inner, &value);
 *	}
 *	outer.p = inner.p;
 *
 * A value that is an array or an object itself is checked whole and passed over; to walk it
 * afterwards, set a copy of the scan to its bracket. Nothing is changed but by scan_unescape.
 *
 * Bounds: nesting 64, no recursion; time linear in the bytes. No memory is allocated.
 */
#ifndef SCOTTY_SOURCES_JSON_SCAN_PRIV_H
#define SCOTTY_SOURCES_JSON_SCAN_PRIV_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SCAN_DEPTH 64

/* One document, and what is wrong with it once a function has returned -1. */
struct scan_doc {
	const char *start;
	const char *end; /* *end is a NUL, which JSON allows nowhere */
	const char *bad_at;
	const char *why; /* static text */
};

struct scan {
	struct scan_doc *doc;
	char *p;        /* what comes next */
	unsigned depth; /* arrays and objects open here */
	char close;     /* ']' or '}': what ends this level */
	bool first;     /* no element was seen yet */
};

enum scan_type {
	SCAN_NOTHING, /* a token never filled in: an absent key */
	SCAN_NULL,
	SCAN_FALSE,
	SCAN_TRUE,
	SCAN_NUMBER,
	SCAN_STRING,
	SCAN_ARRAY,
	SCAN_OBJECT,
};

struct scan_token {
	enum scan_type type;
	bool escaped;      /* string: holds backslashes */
	bool beyond_ascii; /* string: holds bytes from 0x80 up, well-formed UTF-8 or not */
	bool negative;     /* number: begins with '-' */
	bool whole;        /* number: no fraction, no exponent, and magnitude holds it */
	char *p;           /* a string's text without the quotes, the text of all else */
	size_t len;
	union {
		uint64_t magnitude; /* number, if whole */
		size_t count;       /* array, object: its elements */
	};
};

/* doc[len] must be a NUL. The scan stands before the one value of the document. */
void scan_init(struct scan *, struct scan_doc *, char *doc, size_t len);
/* Begins the array or object whose bracket outer stands at. Both may be the same. */
void scan_enter(struct scan *inner, const struct scan *outer);
/* Reads a key and its colon. -1: not JSON. */
int scan_key(struct scan *, struct scan_token *);
/* Checks that nothing but white space is left of the document. -1: not JSON. */
int scan_finish(struct scan *);

/*
 * Replaces the escapes of a string token in its place. The token is then plain. Half of a surrogate
 * pair becomes U+FFFD, as with Go's decoder.
 */
void scan_unescape(struct scan_token *);

static inline struct str
scan_text(const struct scan_token *t)
{
	return (struct str){ t->p, t->len };
}

/*
 * What follows is inline as polls spend their time here: the common case of each step. Parts of
 * it that are rare or long are out of line; they are not for callers.
 */
int scan_bad(struct scan *, const char *at, const char *why);
int scan_string_rest(struct scan *, char *stop, struct scan_token *);
int scan_unquoted(struct scan *, struct scan_token *);

/* The first byte from p on that is not white space. */
static inline char *
scan_space(char *p)
{
	const uint64_t spaces = UINT64_C(1) << ' ' | 1u << '\t' | 1u << '\n' | 1u << '\r';

	while ((unsigned char)*p <= ' ' && (spaces >> *p & 1) != 0)
		p++;
	return p;
}

/* 1: stands at an element (in objects its key), 0: behind the closing bracket, -1: not JSON. */
static inline int
scan_next(struct scan *s)
{
	char *p = scan_space(s->p);

	if (*p == s->close) {
		s->p = p + 1;
		return 0;
	}
	if (!s->first) {
		if (*p != ',')
			return scan_bad(s, p, "a comma or closing bracket is missing");
		p = scan_space(p + 1);
	}
	s->first = false;
	s->p = p;
	return 1;
}

/* If the scan stands at exactly that key, plain text, moves past it and its colon. */
static inline bool
scan_known_key(struct scan *s, struct str key)
{
	char *p = s->p;

	if ((size_t)(s->doc->end - p) < key.len + 3 || p[0] != '"' || p[key.len + 1] != '"' ||
	    p[key.len + 2] != ':' || memcmp(p + 1, key.p, key.len) != 0)
		return false;
	s->p = scan_space(p + key.len + 3);
	return true;
}

/*
 * Which of eight bytes can't be passed over in a string: quote, backslash, controls and all beyond
 * ASCII have their top bit set. The lowest is exact; above it, borrows may add false ones.
 */
static inline uint64_t
scan_special_bytes(uint64_t eight)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	/* Flipping one bit puts the quote, 0x22, just above the controls: all are below 0x21. */
	uint64_t low = (eight ^ ones * 0x02) - ones * 0x21;
	uint64_t backslash = (eight ^ ones * '\\') - ones;

	return (eight | low | backslash) & ones << 7;
}

/* The first special byte from p on; the NUL at the end is one. */
static inline char *
scan_plain(char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t eight, special;

		memcpy(&eight, p, sizeof(eight));
		special = scan_special_bytes(le64toh(eight));
		if (special != 0)
			return p + (__builtin_ctzll(special) >> 3);
		p += 8;
	}
	while ((unsigned char)*p >= ' ' && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* Reads the string whose quote the scan stands at. -1: not JSON. */
static inline int
scan_string(struct scan *s, struct scan_token *t)
{
	char *stop = scan_plain(s->p + 1, s->doc->end);

	t->type = SCAN_STRING;
	t->escaped = t->beyond_ascii = false;
	t->p = s->p + 1;
	if (*stop != '"')
		return scan_string_rest(s, stop, t);
	t->len = (size_t)(stop - t->p);
	s->p = stop + 1;
	return 0;
}

/* Reads one value. -1: not JSON. */
static inline int
scan_value(struct scan *s, struct scan_token *t)
{
	return *s->p == '"' ? scan_string(s, t) : scan_unquoted(s, t);
}

#endif
