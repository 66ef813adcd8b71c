/*
 * sources/http_answer_priv.h - one HTTP answer, taken in as its bytes come (RFC 9112).
 *
 * HTTP/1.1 and 1.0; Content-Length, chunked, or until the close; 1xx answers are skipped. Content
 * is handed on in place; a line is copied only when it comes in pieces. Lengths that contradict
 * each other, folded headers that matter and codings not asked for are refused. Heads and trailers
 * together hold at most HTTP_HEADER_BYTES_MAX.
 *
 * Threads: an answer belongs to its owner. No input or output here.
 */
#ifndef SCOTTY_SOURCES_HTTP_ANSWER_PRIV_H
#define SCOTTY_SOURCES_HTTP_ANSWER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "sources/http_priv.h"

enum http_answer_step {
	HTTP_ANSWER_MORE, /* the input is used up */
	HTTP_ANSWER_HEAD, /* the head is known; comes once */
	HTTP_ANSWER_DATA, /* the next piece of the content */
	HTTP_ANSWER_END,  /* the answer is whole */
	HTTP_ANSWER_BAD,  /* see `fault` and `why` */
};

enum http_answer_state {
	ANSWER_STATUS,
	ANSWER_HEADER,
	ANSWER_LENGTH,
	ANSWER_UNTIL_CLOSE,
	ANSWER_CHUNK_SIZE,
	ANSWER_CHUNK_DATA,
	ANSWER_CHUNK_END,
	ANSWER_TRAILER,
	ANSWER_DONE,
	ANSWER_FAILED,
};

enum http_coding { HTTP_CODING_NONE, HTTP_CODING_GZIP, HTTP_CODING_OTHER };

struct http_answer {
	/* From HTTP_ANSWER_HEAD on; the status and its reason as soon as they have come. */
	unsigned status; /* 0: not known yet */
	enum http_coding coding;
	bool keep_alive; /* the connection may serve another request after this */
	bool chunked, has_length;
	uint64_t length;                /* Content-Length, when has_length */
	char reason[HTTP_REASON_BYTES]; /* printable */
	char media_type[HTTP_MEDIA_TYPE_BYTES];
	char *location; /* of a 3xx answer; NULL: none, or no memory */

	/* From HTTP_ANSWER_BAD on. */
	enum err_code fault; /* ERR_PROTO; ERR_LIMIT: the head is too large; ERR_NOMEM */
	const char *why;     /* of ERR_PROTO */

	/* its own */
	enum http_answer_state state;
	bool head_done; /* HTTP_ANSWER_HEAD was given */
	bool old;       /* HTTP/1.0 */
	bool says_close, says_keep_alive;
	bool other_transfer; /* a transfer coding that is not ours to decode */
	bool last_mattered;  /* the header before, so it must not be folded */
	uint64_t left;       /* of Content-Length or of the chunk */
	size_t head_bytes;   /* of heads and trailers so far */
	struct buf line;     /* the beginning of a line whose end has not come */
	bool line_used;      /* it was handed out: cleared with the next line */
};

void http_answer_init(struct http_answer *);
void http_answer_fini(struct http_answer *);
/*
 * Goes one step on; *in moves past what was read. With HTTP_ANSWER_DATA *data is a piece of what
 * *in was, never empty.
 */
enum http_answer_step http_answer_next(struct http_answer *, struct str *in, struct str *data);
/* The peer has closed: HTTP_ANSWER_END if that ends the answer, else HTTP_ANSWER_BAD. */
enum http_answer_step http_answer_close(struct http_answer *);

#endif
