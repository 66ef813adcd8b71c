#include "sources/http_gzip_priv.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* A gzip header and the largest window. */
#define WINDOW_BITS (16 + 15)

/* Room made for output at least, and input given to zlib at most, at a time. */
#define OUT_BYTES_MIN 4096
#define PIECE_BYTES   ((size_t)1 << 30)

struct http_gzip {
	z_stream z;
	bool whole; /* the last member has ended; nothing has come after it */
};

struct http_gzip *
http_gzip_new(void)
{
	struct http_gzip *g = calloc(1, sizeof(*g));

	if (g != NULL && inflateInit2(&g->z, WINDOW_BITS) != Z_OK) {
		free(g);
		g = NULL;
	}
	return g;
}

void
http_gzip_free(struct http_gzip *g)
{
	if (g == NULL)
		return;
	inflateEnd(&g->z);
	free(g);
}

void
http_gzip_reset(struct http_gzip *g)
{
	inflateReset(&g->z);
	g->whole = false;
}

bool
http_gzip_is_whole(const struct http_gzip *g)
{
	return g->whole;
}

const char *
http_gzip_why(const struct http_gzip *g)
{
	return g->z.msg != NULL ? g->z.msg : "invalid data";
}

/* Aims zlib at out's free bytes, or at *spare when max leaves none. */
static bool
make_room(z_stream *z, struct buf *out, size_t max, Bytef *spare)
{
	size_t left = max - out->len;
	size_t room = out->cap - out->len;

	if (left == 0) {
		z->next_out = spare;
		z->avail_out = 1;
		return true;
	}
	if (room < OUT_BYTES_MIN && room < left) {
		if (!buf_reserve(out, left < OUT_BYTES_MIN ? left : OUT_BYTES_MIN))
			return false;
		room = out->cap - out->len;
	}
	room = room < left ? room : left;
	z->next_out = (Bytef *)out->p + out->len;
	z->avail_out = room < PIECE_BYTES ? (uInt)room : (uInt)PIECE_BYTES;
	return true;
}

/* One call of zlib. */
static enum http_gzip_result
inflate_some(struct http_gzip *g, struct buf *out, size_t max)
{
	z_stream *z = &g->z;
	Bytef spare;
	uInt room;
	int rc;

	if (g->whole) {
		inflateReset(z);
		g->whole = false;
	}
	if (!make_room(z, out, max, &spare))
		return HTTP_GZIP_NOMEM;
	room = z->avail_out;
	rc = inflate(z, Z_NO_FLUSH);
	if (z->avail_out != room && out->len == max)
		return HTTP_GZIP_TOO_LARGE;
	out->len += room - z->avail_out;
	switch (rc) {
	case Z_STREAM_END:
		g->whole = true;
		return HTTP_GZIP_OK;
	case Z_OK:
	case Z_BUF_ERROR: /* no progress: it wants more input */
		return HTTP_GZIP_OK;
	case Z_MEM_ERROR:
		return HTTP_GZIP_NOMEM;
	default:
		return HTTP_GZIP_BAD;
	}
}

enum http_gzip_result
http_gzip_inflate(struct http_gzip *g, struct str in, struct buf *out, size_t max)
{
	enum http_gzip_result result = HTTP_GZIP_OK;
	union {
		const void *given;
		Bytef *wanted; /* zlib takes it without const, and only reads it */
	} from = { .given = in.p };
	z_stream *z = &g->z;

	assert(out->len <= max && in.len <= PIECE_BYTES);
	z->next_in = from.wanted;
	z->avail_in = (uInt)in.len;
	/* What fills its room may have more to give when all input is used up. */
	do {
		result = inflate_some(g, out, max);
	} while (result == HTTP_GZIP_OK && (z->avail_in > 0 || (z->avail_out == 0 && !g->whole)));
	z->next_in = NULL;
	return result;
}
