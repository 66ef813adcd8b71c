#include "api/gzip_priv.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* The fastest: some 200 MB/s of JSON, which shrinks twentyfold. */
#define LEVEL            1
#define WINDOW_BITS_GZIP (15 + 16) /* zlib.h, deflateInit2: 16 more asks for the gzip format */
#define MEM_LEVEL        8

struct gzip_stream {
	struct stream stream; /* first */
	struct stream *inner;
	struct buf plain; /* one piece of inner's */
	z_stream z;
};

/* The weight after a coding's name is 0, or 0.0, ...: the coding is refused. */
static bool
weight_is_zero(struct str params)
{
	struct str name, value = str_trim(params);

	if (!str_split(&value, '=', &name) || !str_eq_nocase(str_trim(name), STR("q")))
		return false;
	value = str_trim(value);
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] != '0' && value.p[i] != '.')
			return false;
	}
	return value.len > 0;
}

bool
gzip_accepted(struct str accept_encoding)
{
	struct str element;

	while (str_split(&accept_encoding, ',', &element)) {
		struct str coding;

		if (str_split(&element, ';', &coding) &&
		    str_eq_nocase(str_trim(coding), STR("gzip")))
			return !weight_is_zero(element);
	}
	return false;
}

static bool
deflate_start(z_stream *z)
{
	*z = (z_stream){ .zalloc = Z_NULL };
	return deflateInit2(
	           z, LEVEL, Z_DEFLATED, WINDOW_BITS_GZIP, MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
}

/* Compresses in to the end of out; flush is Z_FINISH with the last. False when out of memory. */
static bool
deflate_all(z_stream *z, struct str in, int flush, struct buf *out)
{
	int rc = Z_OK;

	/* zlib counts in unsigned int; it never writes to its input. */
	do {
		size_t part = in.len < UINT_MAX ? in.len : UINT_MAX;

		z->next_in = (z_const Bytef *)in.p;
		z->avail_in = (uInt)part;
		in = str_sub(in, part, SIZE_MAX);
		do {
			if (!buf_reserve(out, STREAM_PIECE_BYTES))
				return false;
			z->next_out = (Bytef *)(out->p + out->len);
			z->avail_out = STREAM_PIECE_BYTES;
			rc = deflate(z, in.len == 0 ? flush : Z_NO_FLUSH);
			out->len += STREAM_PIECE_BYTES - z->avail_out;
		} while (z->avail_out == 0);
	} while (in.len > 0);
	return flush != Z_FINISH || rc == Z_STREAM_END;
}

static enum stream_result
gzip_fill(struct stream *stream, struct buf *out)
{
	struct gzip_stream *g = CONTAINER_OF(stream, struct gzip_stream, stream);
	enum stream_result result;

	stream_piece_clear(&g->plain);
	result = g->inner->fill(g->inner, &g->plain);
	if (result == STREAM_FAILED || g->plain.failed)
		return STREAM_FAILED;
	if (!deflate_all(
	        &g->z, buf_view(&g->plain), result == STREAM_END ? Z_FINISH : Z_NO_FLUSH, out))
		return STREAM_FAILED;
	return result;
}

static void
gzip_close(struct stream *stream)
{
	struct gzip_stream *g = CONTAINER_OF(stream, struct gzip_stream, stream);

	g->inner->close(g->inner);
	deflateEnd(&g->z);
	buf_fini(&g->plain);
	free(g);
}

struct stream *
gzip_stream_new(struct stream *inner)
{
	struct gzip_stream *g = malloc(sizeof(*g));

	if (g == NULL || !deflate_start(&g->z)) {
		inner->close(inner);
		free(g);
		return NULL;
	}
	g->stream = (struct stream){ gzip_fill, gzip_close };
	g->inner = inner;
	buf_init(&g->plain, 0);
	return &g->stream;
}

bool
gzip_buf(struct buf *b)
{
	struct buf out;
	z_stream z;
	bool ok;

	if (!deflate_start(&z))
		return false;
	buf_init(&out, 0);
	ok = deflate_all(&z, buf_view(b), Z_FINISH, &out);
	deflateEnd(&z);
	if (!ok) {
		buf_fini(&out);
		return false;
	}
	buf_fini(b);
	*b = out;
	return true;
}
