#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <zlib.h>

#include "api/gzip_priv.h"
#include "base/gzipper.h"
#include "fault.h"

static const struct {
	const char *header;
	bool accepted;
} headers[] = {
	{ "", false },
	{ "gzip", true },
	{ "GZip", true },
	{ "deflate, gzip, br", true },
	{ "gzip;q=0.5", true },
	{ "gzip ; q=1.0", true },
	{ "gzip;q=0", false },
	{ "gzip; q=0.000", false },
	{ "deflate,gzip;Q=0", false },
	{ "identity", false },
	{ "xgzip, gzipx", false },
	{ "br;q=0, gzip", true },
	{ ",,;", false },
	{ "gzip;", true },
	{ "gzip;q=", true },
};

static void
accept_encoding_is_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		if (gzip_accepted(str_of(headers[i].header)) != headers[i].accepted)
			fail_msg("row %zu: %s", i, headers[i].header);
	}
}

/* Yields `total` bytes of a text in pieces of `piece` bytes, every other one empty. */
struct script {
	struct stream stream;
	size_t total, piece, given;
	bool empty_next;
	bool fails; /* at the end */
	unsigned closed;
};

static char
byte_at(size_t i)
{
	return (char)(i * i / 7 % 95 + 32);
}

static enum stream_result
script_fill(struct stream *stream, struct buf *out)
{
	struct script *s = CONTAINER_OF(stream, struct script, stream);

	s->empty_next = !s->empty_next;
	if (!s->empty_next)
		return STREAM_MORE;
	for (size_t n = 0; n < s->piece && s->given < s->total; n++)
		buf_putc(out, byte_at(s->given++));
	if (s->given < s->total)
		return STREAM_MORE;
	return s->fails ? STREAM_FAILED : STREAM_END;
}

static void
script_close(struct stream *stream)
{
	CONTAINER_OF(stream, struct script, stream)->closed++;
}

static struct script
script(size_t total, size_t piece)
{
	return (struct script){
		.stream = { script_fill, script_close }, .total = total, .piece = piece
	};
}

/* Inflates a whole gzip document, checks it against byte_at, and returns its length. */
static size_t
check_document(const struct buf *gz)
{
	char *plain = malloc(2 * 1024 * 1024);
	z_stream z = { .zalloc = Z_NULL };

	assert_non_null(plain);
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (Bytef *)gz->p;
	z.avail_in = (uInt)gz->len;
	z.next_out = (Bytef *)plain;
	z.avail_out = 2 * 1024 * 1024;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	for (size_t i = 0; i < z.total_out; i++)
		assert_int_equal(plain[i], byte_at(i));
	inflateEnd(&z);
	free(plain);
	return z.total_out;
}

/* Drains the stream into out; returns the largest piece, or 0 if it failed. */
static size_t
drain(struct stream *stream, struct buf *out)
{
	enum stream_result result = STREAM_MORE;
	size_t largest = 1;

	while (result == STREAM_MORE) {
		size_t before = out->len;

		result = stream->fill(stream, out);
		if (out->len - before > largest)
			largest = out->len - before;
	}
	return result == STREAM_END ? largest : 0;
}

static void
pieces_of_any_size_give_one_document(void **state)
{
	static const size_t totals[] = { 0, 1, 1000, 300000 };
	static const size_t pieces[] = { 1, 7, 4096, 32768, 100000, 1000000 };

	(void)state;
	for (size_t t = 0; t < ARRAY_LEN(totals); t++) {
		for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
			struct script s = script(totals[t], pieces[p]);
			struct stream *gz = gzip_stream_new(&s.stream);
			struct buf out;

			buf_init(&out, 0);
			assert_non_null(gz);
			assert_int_not_equal(drain(gz, &out), 0);
			assert_int_equal(check_document(&out), totals[t]);
			gz->close(gz);
			assert_int_equal(s.closed, 1);
			buf_fini(&out);
		}
	}
}

static void
a_piece_in_is_at_most_about_a_piece_out(void **state)
{
	struct script s = script(1500000, STREAM_PIECE_BYTES);
	struct stream *gz = gzip_stream_new(&s.stream);
	struct buf out;
	size_t largest;

	(void)state;
	buf_init(&out, 0);
	largest = drain(gz, &out);
	assert_in_range(largest, 1, 4 * STREAM_PIECE_BYTES);
	gz->close(gz);
	buf_fini(&out);
}

static void
failure_of_the_inner_stream_passes_on(void **state)
{
	struct script s = script(100, 50);
	struct stream *gz;
	struct buf out;

	(void)state;
	s.fails = true;
	gz = gzip_stream_new(&s.stream);
	buf_init(&out, 0);
	assert_int_equal(drain(gz, &out), 0);
	gz->close(gz);
	buf_fini(&out);
}

static void
a_buffer_is_compressed_in_place(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	for (size_t i = 0; i < 200000; i++)
		buf_putc(&b, byte_at(i));
	assert_true(gzip_buf(&b));
	assert_int_equal(check_document(&b), 200000);
	buf_fini(&b);
}

static void
without_memory_nothing_is_lost_or_leaked(void **state)
{
	unsigned nth;

	(void)state;
	for (nth = 1;; nth++) {
		struct script s = script(1000, 1000);
		struct stream *gz;
		struct buf out;

		buf_init(&out, 0);
		fault_malloc(nth);
		gz = gzip_stream_new(&s.stream);
		if (gz != NULL) {
			drain(gz, &out);
			gz->close(gz);
		}
		assert_int_equal(s.closed, 1);
		buf_fini(&out);
		if (!fault_happened())
			break;
	}
	fault_malloc(0);
	assert_true(nth > 2);
}

static void
raw_deflate_is_unpacked(void **state)
{
	char text[20000], packed[sizeof(text)], out[sizeof(text) + 1];
	z_stream z = { .next_in = (Bytef *)text, .avail_in = sizeof(text) };
	struct str in = { packed, 0 };
	struct err err;
	int rc;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = byte_at(i / 3);
	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_out = (Bytef *)packed;
	z.avail_out = sizeof(packed);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	in.len = sizeof(packed) - z.avail_out;
	assert_int_equal(inflate_raw(in, out, sizeof(text), &err), 0);
	assert_memory_equal(out, text, sizeof(text));
	assert_int_equal(inflate_raw(in, out, sizeof(text) - 1, &err), -1);
	assert_int_equal(err.code, ERR_PROTO);
	assert_int_equal(inflate_raw(in, out, sizeof(text) + 1, &err), -1);
	for (size_t len = 0; len < in.len; len += 1 + in.len / 100)
		assert_int_equal(
		    inflate_raw((struct str){ packed, len }, out, sizeof(text), &err), -1);
	in.len++; /* there is room behind it */
	assert_int_equal(inflate_raw(in, out, sizeof(text), &err), -1);
	in.len--;
	fault_malloc(1);
	rc = inflate_raw(in, out, sizeof(text), &err);
	/* zlib's own calls are not seen. */
	assert_int_equal(rc, fault_happened() ? -1 : 0);
	assert_true(rc == 0 || err.code == ERR_NOMEM);
	fault_malloc(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accept_encoding_is_understood),
		cmocka_unit_test(pieces_of_any_size_give_one_document),
		cmocka_unit_test(a_piece_in_is_at_most_about_a_piece_out),
		cmocka_unit_test(failure_of_the_inner_stream_passes_on),
		cmocka_unit_test(a_buffer_is_compressed_in_place),
		cmocka_unit_test(raw_deflate_is_unpacked),
		cmocka_unit_test(without_memory_nothing_is_lost_or_leaked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
