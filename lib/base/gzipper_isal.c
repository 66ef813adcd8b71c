#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdlib.h>

#include "base/gzipper.h"

/* 730 to 1,300 MB/s of JSON, which shrinks a little more than at zlib's level 1. */
#define LEVEL 1
/* More tokens to a block gain nothing. */
#define LEVEL_BYTES ISAL_DEF_LVL1_SMALL
/* Room that is made for output at a time. */
#define OUT_BYTES (32 * 1024)

struct gzipper {
	struct isal_zstream z;
	uint8_t level[LEVEL_BYTES];
};

struct gzipper *
gzipper_new(void)
{
	struct gzipper *g = malloc(sizeof(*g));

	if (g == NULL)
		return NULL;
	isal_deflate_init(&g->z);
	g->z.gzip_flag = IGZIP_GZIP;
	g->z.level = LEVEL;
	g->z.level_buf = g->level;
	g->z.level_buf_size = LEVEL_BYTES;
	return g;
}

/*
 * The library leaves the upper halves of vector registers in use (2.30 knows no vzeroupper), with
 * which all SSE code of the thread is a tenth slower from then on.
 */
#ifdef __x86_64__
__attribute__((target("avx"))) static void
zero_upper_halves(void)
{
	__builtin_ia32_vzeroupper();
}

static void
leave_vectors(void)
{
	if (__builtin_cpu_supports("avx"))
		zero_upper_halves();
}
#else
static void
leave_vectors(void)
{
}
#endif

void
gzipper_free(struct gzipper *g)
{
	free(g);
}

bool
gzipper_add(struct gzipper *g, struct str in, bool last, struct buf *out)
{
	struct isal_zstream *z = &g->z;
	int rc = COMP_OK;

	/* The library counts in 32 bits; it never writes to its input. */
	do {
		size_t part = in.len < UINT32_MAX ? in.len : UINT32_MAX;

		z->next_in = (uint8_t *)(uintptr_t)in.p;
		z->avail_in = (uint32_t)part;
		in = str_sub(in, part, SIZE_MAX);
		z->end_of_stream = last && in.len == 0;
		do {
			if (!buf_reserve(out, OUT_BYTES))
				return false;
			z->next_out = (uint8_t *)(out->p + out->len);
			z->avail_out = OUT_BYTES;
			rc = isal_deflate(z);
			out->len += OUT_BYTES - z->avail_out;
		} while (rc == COMP_OK && z->avail_out == 0);
	} while (rc == COMP_OK && in.len > 0);
	leave_vectors();
	return rc == COMP_OK && (!last || z->internal_state.state == ZSTATE_END);
}

int
inflate_raw(struct str in, void *out, size_t bytes, struct err *err)
{
	struct inflate_state *state = malloc(sizeof(*state));
	bool done = false;

	if (state == NULL) {
		err_nomem(err);
		return -1;
	}
	if (in.len <= UINT32_MAX && bytes <= UINT32_MAX) {
		isal_inflate_init(state);
		state->next_in = (uint8_t *)(uintptr_t)in.p;
		state->avail_in = (uint32_t)in.len;
		state->next_out = out;
		state->avail_out = (uint32_t)bytes;
		done = isal_inflate_stateless(state) == ISAL_DECOMP_OK && state->avail_in == 0 &&
		       state->avail_out == 0;
		leave_vectors();
	}
	free(state);
	if (done)
		return 0;
	err_set(err, ERR_PROTO, "what is compressed can't be unpacked");
	return -1;
}
