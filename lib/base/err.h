/*
 * base/err.h - why a call failed: a code to branch on and a text to show.
 *
 * Texts run what, where, why: "poll of web1/app at 10.0.0.1:80: timed out after 10 s". The
 * function that fails writes the inmost part; callers put context before it with err_wrap.
 *
 * Threads: a struct err belongs to its owner. Nothing here allocates or locks.
 */
#ifndef SCOTTY_BASE_ERR_H
#define SCOTTY_BASE_ERR_H

enum err_code {
	ERR_NONE,
	ERR_NOMEM,
	ERR_CONFIG, /* configuration or usage: the operator has to change something */
	ERR_IO,     /* a system call failed */
	ERR_TIMEOUT,
	ERR_PROTO, /* the other side sent what it should not */
	ERR_LIMIT, /* a limit of ours was reached */
	ERR_EXISTS,
	ERR_NOTFOUND,
	ERR_DENIED,
};

#define ERR_TEXT_BYTES 512

struct err {
	enum err_code code;
	char text[ERR_TEXT_BYTES]; /* always ended by NUL, UTF-8 cut on a character */
};

/* Sets code and text; a text that is too long is cut. */
void err_set(struct err *, enum err_code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As err_set, then ": " and the text of errnum. ENOMEM gives ERR_NOMEM, all else ERR_IO. */
void err_errno(struct err *, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The standard "out of memory". */
void err_nomem(struct err *);
/* Puts "CONTEXT: " before the text; the code stays. */
void err_wrap(struct err *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
