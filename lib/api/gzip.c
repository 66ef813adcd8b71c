#include "api/gzip_priv.h"

#include <stdlib.h>

#include "base/gzipper.h"

struct gzip_stream {
	struct stream stream; /* first */
	struct stream *inner;
	struct buf plain; /* one piece of inner's */
	struct gzipper *gzipper;
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

static enum stream_result
gzip_fill(struct stream *stream, struct buf *out)
{
	struct gzip_stream *g = CONTAINER_OF(stream, struct gzip_stream, stream);
	enum stream_result result;

	stream_piece_clear(&g->plain);
	result = g->inner->fill(g->inner, &g->plain);
	if (result == STREAM_FAILED || g->plain.failed)
		return STREAM_FAILED;
	if (!gzipper_add(g->gzipper, buf_view(&g->plain), result == STREAM_END, out))
		return STREAM_FAILED;
	return result;
}

static void
gzip_close(struct stream *stream)
{
	struct gzip_stream *g = CONTAINER_OF(stream, struct gzip_stream, stream);

	g->inner->close(g->inner);
	gzipper_free(g->gzipper);
	buf_fini(&g->plain);
	free(g);
}

struct stream *
gzip_stream_new(struct stream *inner)
{
	struct gzip_stream *g = malloc(sizeof(*g));
	struct gzipper *gzipper = gzipper_new();

	if (g == NULL || gzipper == NULL) {
		inner->close(inner);
		gzipper_free(gzipper);
		free(g);
		return NULL;
	}
	*g = (struct gzip_stream){ { gzip_fill, gzip_close }, inner, .gzipper = gzipper };
	buf_init(&g->plain, 0);
	return &g->stream;
}

bool
gzip_buf(struct buf *b)
{
	struct gzipper *gzipper = gzipper_new();
	struct buf out;
	bool ok;

	buf_init(&out, 0);
	ok = gzipper != NULL && gzipper_add(gzipper, buf_view(b), true, &out);
	gzipper_free(gzipper);
	if (!ok) {
		buf_fini(&out);
		return false;
	}
	buf_fini(b);
	*b = out;
	return true;
}
