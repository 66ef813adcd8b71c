/*
 * The answer of an HTTP server: any bytes, cut anywhere, mean the same as the bytes in one piece,
 * and gzip content stays within its limit. The first byte tells where to cut.
 */
#include <assert.h>
#include <stdlib.h>

#include "sources/http_answer_priv.h"
#include "sources/http_gzip_priv.h"

#define CONTENT_BYTES_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	enum http_answer_step end; /* HTTP_ANSWER_MORE: not reached */
	size_t content_bytes, left;
	uint64_t content_hash;
	struct http_answer answer;
};

static void
take(struct outcome *o, struct str data)
{
	assert(data.len > 0);
	o->content_bytes += data.len;
	for (size_t i = 0; i < data.len; i++)
		o->content_hash = (o->content_hash ^ (unsigned char)data.p[i]) * 0x100000001B3u;
}

/* A copy of its own for each piece, so that reading beyond it is seen. */
static void
feed(struct outcome *o, const uint8_t *bytes, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);
	struct str in = { copy, len }, data;

	assert(copy != NULL);
	memcpy(copy, bytes, len);
	while (o->end == HTTP_ANSWER_MORE) {
		enum http_answer_step step = http_answer_next(&o->answer, &in, &data);

		if (step == HTTP_ANSWER_MORE) {
			assert(in.len == 0);
			break;
		}
		if (step == HTTP_ANSWER_DATA)
			take(o, data);
		else if (step != HTTP_ANSWER_HEAD)
			o->end = step;
		else
			assert(o->answer.status >= 200);
	}
	o->left += in.len;
	free(copy);
}

static void
run(struct outcome *o, const uint8_t *bytes, size_t len, size_t piece)
{
	*o = (struct outcome){ .end = HTTP_ANSWER_MORE };
	http_answer_init(&o->answer);
	for (size_t at = 0; at < len; at += piece)
		feed(o, bytes + at, len - at < piece ? len - at : piece);
	if (o->end == HTTP_ANSWER_MORE)
		o->end = http_answer_close(&o->answer);
	assert(o->end == HTTP_ANSWER_END || o->end == HTTP_ANSWER_BAD);
	assert(o->end == HTTP_ANSWER_END || o->answer.fault != ERR_NONE);
	assert(o->answer.head_bytes <= HTTP_HEADER_BYTES_MAX || o->answer.fault == ERR_LIMIT);
}

static void
inflate_pieces(const uint8_t *bytes, size_t len, size_t piece)
{
	struct http_gzip *gzip = http_gzip_new();
	enum http_gzip_result result = HTTP_GZIP_OK;
	struct buf out;

	assert(gzip != NULL);
	buf_init(&out, CONTENT_BYTES_MAX);
	for (size_t at = 0; at < len && result == HTTP_GZIP_OK; at += piece) {
		struct str in = { (const char *)bytes + at, len - at < piece ? len - at : piece };

		result = http_gzip_inflate(gzip, in, &out, CONTENT_BYTES_MAX);
	}
	assert(result != HTTP_GZIP_NOMEM && out.len <= CONTENT_BYTES_MAX && !out.failed);
	http_gzip_free(gzip);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, cut;
	size_t piece;

	if (size < 1)
		return 0;
	piece = (size_t)data[0] + 1;
	run(&whole, data + 1, size - 1, size);
	run(&cut, data + 1, size - 1, piece);
	assert(whole.end == cut.end && whole.answer.status == cut.answer.status);
	assert(whole.content_bytes == cut.content_bytes);
	assert(whole.content_hash == cut.content_hash);
	if (whole.end == HTTP_ANSWER_END)
		assert(whole.left == cut.left && whole.answer.keep_alive == cut.answer.keep_alive);
	else
		assert(whole.answer.fault == cut.answer.fault);
	http_answer_fini(&whole.answer);
	http_answer_fini(&cut.answer);
	inflate_pieces(data + 1, size - 1, piece);
	return 0;
}
