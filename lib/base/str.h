/*
 * base/str.h - text with a length, by value. It owns nothing and need not end in NUL.
 */
#ifndef SCOTTY_BASE_STR_H
#define SCOTTY_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p; /* may be NULL when len is 0 */
	size_t len;
};

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STR(literal) ((struct str){ "" literal, sizeof(literal) - 1 })
#define STR_EMPTY    ((struct str){ NULL, 0 })
/* For printf: printf("%.*s", STR_ARG(s)) */
#define STR_ARG(s) (int)(s).len, (s).p

/* The struct of this type whose member field is at ptr. */
#define CONTAINER_OF(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

static inline struct str
str_of(const char *c)
{
	return (struct str){ c, c == NULL ? 0 : strlen(c) };
}

static inline bool
str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Copies s to p, where there is room, and returns the copy's end. */
static inline char *
str_put(char *p, struct str s)
{
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	return p + s.len;
}

/* Byte order; a prefix comes before what it begins. */
int str_cmp(struct str, struct str);
bool str_starts(struct str, struct str prefix);
bool str_ends(struct str, struct str suffix);
/* Equal but for the case of ASCII letters. */
bool str_eq_nocase(struct str, struct str);
/* s from byte `from` on, at most len bytes; out of range gives an empty str. */
struct str str_sub(struct str, size_t from, size_t len);
/*
 * The part of *rest before the next sep; *rest moves past it. False when *rest was used up, so a
 * sep at the very end adds no empty part.
 */
bool str_split(struct str *rest, char sep, struct str *part);
/* Without ASCII white space at both ends. */
struct str str_trim(struct str);
/* A NUL-ended copy on the heap, NULL when out of memory. Caller frees. */
char *str_dup(struct str);

/*
 * Whole-text numbers: decimal, optional sign ('-' only where it can be negative), no white
 * space, nothing after. False if not a number or out of range; *out stays untouched.
 */
bool str_to_i64(struct str, int64_t *out);
bool str_to_u64(struct str, uint64_t *out);

/* What a hexadecimal digit of either case stands for; -1 if it is none. */
int str_hex_digit(char);
/* True for an IPv6 address as it stands alone, which needs brackets where a port follows. */
bool str_is_bare_ipv6(struct str host);

/* How many of the len bytes at p are well-formed UTF-8 (RFC 3629) from the start. */
size_t utf8_valid_prefix(const char *p, size_t len);
/*
 * Length of the first of the len > 0 bytes' characters if a terminal may be shown it; 0 if it is a
 * control character (U+0080 to U+009F are) or no UTF-8.
 */
size_t utf8_printable(const char *p, size_t len);

/*
 * Four digits of base64 (RFC 4648, section 4) for n bytes, 1 to 3, which are in the lower 24 bits,
 * the first one highest.
 */
void base64_group(char out[4], uint32_t bits, size_t n);

#endif
