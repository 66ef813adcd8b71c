/* Answers of HTTP servers, whole, cut in two at every byte, and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault.h"
#include "sources/http_answer_priv.h"

#define OK "HTTP/1.1 200 OK\r\n"

/* What became of an answer. */
struct result {
	enum http_answer_step end; /* HTTP_ANSWER_MORE: it needs more than there was */
	unsigned heads;
	size_t left; /* bytes behind the end */
	struct buf content;
	struct http_answer answer;
};

static void
result_init(struct result *r)
{
	*r = (struct result){ .end = HTTP_ANSWER_MORE };
	buf_init(&r->content, 0);
	http_answer_init(&r->answer);
}

static void
result_fini(struct result *r)
{
	buf_fini(&r->content);
	http_answer_fini(&r->answer);
}

/* The pieces are copied to the heap, so that a sanitizer sees every byte read too many. */
static void
feed(struct result *r, struct str text)
{
	char *copy = malloc(text.len + 1);
	struct str in = { copy, text.len }, data;

	assert_non_null(copy);
	if (text.len > 0)
		memcpy(copy, text.p, text.len);
	while (r->end == HTTP_ANSWER_MORE) {
		enum http_answer_step step = http_answer_next(&r->answer, &in, &data);

		if (step == HTTP_ANSWER_MORE)
			break;
		if (step == HTTP_ANSWER_HEAD) {
			r->heads++;
		} else if (step == HTTP_ANSWER_DATA) {
			assert_true(
			    data.len > 0 && data.p >= copy && data.p + data.len <= copy + text.len);
			assert_int_equal(r->heads, 1);
			buf_str(&r->content, data);
		} else {
			r->end = step;
		}
	}
	r->left += in.len;
	free(copy);
}

static void
close_if_open(struct result *r, bool closes)
{
	if (closes && r->end == HTTP_ANSWER_MORE)
		r->end = http_answer_close(&r->answer);
}

static const struct {
	const char *text;
	bool closes; /* the connection ends with the text */
	unsigned status;
	const char *content;
	bool keep_alive;
	size_t left;
} good[] = {
	{ OK "Content-Length: 5\r\n\r\nhello", false, 200, "hello", true, 0 },
	{ OK "Content-Length: 0\r\n\r\n", false, 200, "", true, 0 },
	{ OK "Content-Length: 5\r\n\r\nhellomore", false, 200, "hello", true, 4 },
	{ OK "content-length:5\r\n\r\nhello", false, 200, "hello", true, 0 },
	{ OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false, 200, "hello", true, 0 },
	{ OK "Content-Length: 5, 5\r\n\r\nhello", false, 200, "hello", true, 0 },
	{ OK "Content-Length: \t5 \t\r\n\r\nhello", false, 200, "hello", true, 0 },
	/* Lines may end in a bare LF. */
	{ "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false, 200, "hi", true, 0 },
	/* The reason may be empty, or missing. */
	{ "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", true, 0 },
	{ "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", true, 0 },
	{ "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", true, 0 },
	/* Until the close. */
	{ OK "\r\nhello", true, 200, "hello", false, 0 },
	{ OK "\r\n", true, 200, "", false, 0 },
	{ "HTTP/1.0 200 OK\r\n\r\nhello", true, 200, "hello", false, 0 },
	/* What becomes of the connection. */
	{ "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", false, 0 },
	{ "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi", false, 200,
	    "hi", true, 0 },
	{ OK "Connection: close\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", false, 0 },
	{ OK "Connection: upgrade, CLOSE\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", false,
	    0 },
	{ OK "Connection: upgrade\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", true, 0 },
	/* Chunks. */
	{ OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false, 200, "hello", true,
	    0 },
	{ OK "transfer-encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nmore", false, 200,
	    "hello", true, 4 },
	{ OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 200, "", true, 0 },
	{ OK "Transfer-Encoding: chunked\r\n\r\n000A;name=\"a b\"\r\n0123456789\r\n0;x\r\n\r\n",
	    false, 200, "0123456789", true, 0 },
	{ OK "Transfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\nA: b\r\nC: d\r\n\r\n", false, 200,
	    "hi", true, 0 },
	{ OK "Transfer-Encoding: chunked\n\n2\nhi\n0\n\n", false, 200, "hi", true, 0 },
	/* A length besides the chunks counts for nothing, and nothing more is asked there. */
	{ OK "Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false,
	    200, "hi", false, 0 },
	{ "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
	  "2\r\nhi\r\n0\r\n\r\n",
	    false, 200, "hi", false, 0 },
	/* Interim answers. */
	{ "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 2\r\n\r\nhi", false, 200, "hi", true,
	    0 },
	{ "HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\nConnection: close\r\nContent-Encoding: "
	  "gzip\r\n\r\n" OK "Content-Length: 2\r\n\r\nhi",
	    false, 200, "hi", true, 0 },
	/* No content, whatever the head says. */
	{ "HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", true, 0 },
	{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, 304, "", true, 0 },
	{ "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", false, 500, "no", true, 0 },
	/* A header that does not matter may be folded. */
	{ OK "X-A: b\r\n  c\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", true, 0 },
	{ OK "X-A:\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", true, 0 },
};

static void
check_good(size_t i, const struct result *r, size_t at)
{
	if (r->end != HTTP_ANSWER_END || r->heads != 1 || r->answer.status != good[i].status ||
	    !str_eq(buf_view(&r->content), str_of(good[i].content)) ||
	    r->answer.keep_alive != good[i].keep_alive || r->left != good[i].left)
		fail_msg("row %zu cut at %zu: end %d, status %u, content \"%.*s\", keep %d, %zu "
		         "left, %s",
		    i, at, (int)r->end, r->answer.status, STR_ARG(buf_view(&r->content)),
		    r->answer.keep_alive, r->left, r->answer.why == NULL ? "" : r->answer.why);
}

static void
good_answers_follow_the_table_wherever_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct str text = str_of(good[i].text);

		for (size_t at = 0; at <= text.len; at++) {
			struct result r;

			result_init(&r);
			feed(&r, str_sub(text, 0, at));
			feed(&r, str_sub(text, at, text.len));
			close_if_open(&r, good[i].closes);
			check_good(i, &r, at);
			result_fini(&r);
		}
	}
}

static void
good_answers_may_come_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct str text = str_of(good[i].text);
		struct result r;

		result_init(&r);
		for (size_t at = 0; at < text.len; at++)
			feed(&r, str_sub(text, at, 1));
		close_if_open(&r, good[i].closes);
		check_good(i, &r, SIZE_MAX);
		result_fini(&r);
	}
}

static void
good_answers_cut_off_are_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct str text = str_of(good[i].text);

		for (size_t len = 0; !good[i].closes && len < text.len - good[i].left; len++) {
			struct result r;

			result_init(&r);
			feed(&r, str_sub(text, 0, len));
			close_if_open(&r, true);
			if (r.end != HTTP_ANSWER_BAD || r.answer.fault != ERR_PROTO)
				fail_msg("row %zu is whole after %zu bytes", i, len);
			result_fini(&r);
		}
	}
}

static const struct {
	const char *text, *why;
} bad[] = {
	{ "\r\n", "Received HTTP/0.9 when not allowed" },
	{ "SSH-2.0-OpenSSH_9.2p1\r\n", "Received HTTP/0.9 when not allowed" },
	{ "HTTX", "Received HTTP/0.9 when not allowed" },
	{ "http/1.1 200 OK\r\n", "Received HTTP/0.9 when not allowed" },
	{ "HTTP\r\n", "Received HTTP/0.9 when not allowed" },
	{ "HTTP/2 200\r\n", "Unsupported HTTP version in response" },
	{ "HTTP/2.0 200\r\n", "Unsupported HTTP version in response" },
	{ "HTTP/1.\r\n", "Unsupported HTTP version in response" },
	{ "HTTP/11.1 200\r\n", "Unsupported HTTP version in response" },
	{ "HTTP/1.1\r\n", "Malformed status line" },
	{ "HTTP/1.1 20\r\n", "Malformed status line" },
	{ "HTTP/1.1 2000 OK\r\n", "Malformed status line" },
	{ "HTTP/1.1  200 OK\r\n", "Malformed status line" },
	{ "HTTP/1.1 020 OK\r\n", "Malformed status line" },
	{ "HTTP/1.1 -20 OK\r\n", "Malformed status line" },
	{ "HTTP/1.1 101 Switching Protocols\r\n\r\nhi", "Another protocol was not asked for" },
	{ OK "no header\r\n", "Header without colon" },
	{ OK ": x\r\n", "Malformed header name" },
	{ OK "Content-Length : 5\r\n", "Malformed header name" },
	{ OK "Content-Length:\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: -5\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: +5\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: 5 5\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: 0x5\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: 5,\r\n\r\n12345", NULL },
	{ OK "Content-Length: ,5\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: 18446744073709551616\r\n", "Invalid Content-Length: value" },
	{ OK "Content-Length: 5\r\nContent-Length: 6\r\n",
	    "Content-Length: values contradict each other" },
	{ OK "Content-Length: 5, 6\r\n", "Content-Length: values contradict each other" },
	{ OK "Content-Length: 5\r\n 6\r\n", "Folded header" },
	{ OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding: more than chunked" },
	{ OK "Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding: more than chunked" },
	{ OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "Transfer-Encoding: more than chunked" },
	{ OK "Transfer-Encoding: chunked\r\n\r\nno length\r\n",
	    "Illegal or missing hexadecimal sequence in chunked-encoding" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n\r\n",
	    "Illegal or missing hexadecimal sequence in chunked-encoding" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n-1\r\n",
	    "Illegal or missing hexadecimal sequence in chunked-encoding" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n",
	    "Malformed encoding found in chunked-encoding" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n",
	    "Malformed encoding found in chunked-encoding" },
	{ OK "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
	    "Chunk larger than can be" },
};

static void
bad_answers_follow_the_table_wherever_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct str text = str_of(bad[i].text);

		for (size_t at = 0; at <= text.len; at++) {
			struct result r;
			bool as_told;

			result_init(&r);
			feed(&r, str_sub(text, 0, at));
			feed(&r, str_sub(text, at, text.len));
			as_told = bad[i].why == NULL
			              ? r.end == HTTP_ANSWER_END
			              : r.end == HTTP_ANSWER_BAD && r.answer.fault == ERR_PROTO &&
			                    strcmp(r.answer.why, bad[i].why) == 0;
			if (!as_told)
				fail_msg("row %zu cut at %zu: end %d, %s", i, at, (int)r.end,
				    r.answer.why == NULL ? "" : r.answer.why);
			result_fini(&r);
		}
	}
}

static void
nul_in_a_header_is_bad(void **state)
{
	struct result r;

	(void)state;
	result_init(&r);
	feed(&r, STR(OK "X: a\0b\r\n"));
	assert_int_equal(r.end, HTTP_ANSWER_BAD);
	assert_string_equal(r.answer.why, "Nul byte in header");
	result_fini(&r);
}

static void
head_tells_codings_reason_and_location(void **state)
{
	static const struct {
		const char *header;
		enum http_coding coding;
	} rows[] = { { "X: y", HTTP_CODING_NONE }, { "Content-Encoding: gzip", HTTP_CODING_GZIP },
		{ "content-encoding: X-GZip", HTTP_CODING_GZIP },
		{ "Content-Encoding: identity", HTTP_CODING_NONE },
		{ "Content-Encoding: identity, gzip", HTTP_CODING_GZIP },
		{ "Content-Encoding: gzip, gzip", HTTP_CODING_OTHER },
		{ "Content-Encoding: br", HTTP_CODING_OTHER },
		{ "Content-Encoding: br\r\nContent-Encoding: gzip", HTTP_CODING_OTHER } };
	struct result r;
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		result_init(&r);
		snprintf(text, sizeof(text), OK "%s\r\n\r\n", rows[i].header);
		feed(&r, str_of(text));
		assert_int_equal(r.heads, 1);
		if (r.answer.coding != rows[i].coding)
			fail_msg("row %zu: coding %d", i, (int)r.answer.coding);
		result_fini(&r);
	}
	result_init(&r);
	feed(&r, STR("HTTP/1.1 302  Fo\x01und \r\nLocation: /x\r\nLocation: /y\r\n\r\n"));
	assert_string_equal(r.answer.reason, "Fo?und");
	assert_string_equal(r.answer.location, "/x");
	result_fini(&r);
	result_init(&r);
	feed(&r, STR("HTTP/1.1 201 Made\r\nLocation: /x\r\n\r\n"));
	assert_null(r.answer.location);
	result_fini(&r);
}

/* Feeds the same over and over until it is refused; the number of bytes taken. */
static size_t
feed_until_bad(struct result *r, const char *start, const char *again)
{
	size_t fed = 0;

	feed(r, str_of(start));
	while (r->end == HTTP_ANSWER_MORE && fed < 1024 * 1024) {
		feed(r, str_of(again));
		fed += strlen(again);
	}
	assert_int_equal(r->end, HTTP_ANSWER_BAD);
	return fed;
}

static void
heads_and_trailers_are_bounded(void **state)
{
	static const struct {
		const char *start, *again;
	} rows[] = { { OK, "X-Filler: 0123456789\r\n" }, { OK "X-Filler: ", "0123456789" },
		{ "HTTP/1.1 200 ", "reason " }, { "", "HTTP/1.1 100 Continue\r\n\r\n" },
		{ OK "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-Filler: 0123456789\r\n" } };
	struct result r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		result_init(&r);
		assert_true(
		    feed_until_bad(&r, rows[i].start, rows[i].again) <= HTTP_HEADER_BYTES_MAX + 32);
		assert_int_equal(r.answer.fault, ERR_LIMIT);
		assert_true(r.answer.line.cap <= 2 * HTTP_HEADER_BYTES_MAX);
		result_fini(&r);
	}
	/* A chunk's line has a bound of its own. */
	result_init(&r);
	assert_true(feed_until_bad(&r, OK "Transfer-Encoding: chunked\r\n\r\n1;", "0123456789") <=
	            4096 + 10);
	assert_int_equal(r.answer.fault, ERR_PROTO);
	result_fini(&r);
}

static void
line_in_pieces_without_memory_is_an_error(void **state)
{
	struct result r;

	(void)state;
	result_init(&r);
	fault_malloc(2); /* after the copy of the piece */
	feed(&r, STR("HTTP/1.1 2"));
	assert_true(fault_happened());
	fault_malloc(0);
	assert_int_equal(r.end, HTTP_ANSWER_BAD);
	assert_int_equal(r.answer.fault, ERR_NOMEM);
	result_fini(&r);
}

static void
answer_in_one_piece_needs_no_memory(void **state)
{
	struct result r;

	(void)state;
	result_init(&r);
	fault_malloc(2); /* after the copy of the piece */
	feed(&r, STR(OK "Content-Type: a/b\r\nContent-Length: 0\r\n\r\n"));
	assert_false(fault_happened());
	fault_malloc(0);
	assert_int_equal(r.end, HTTP_ANSWER_END);
	result_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_answers_follow_the_table_wherever_they_are_cut),
		cmocka_unit_test(good_answers_may_come_byte_by_byte),
		cmocka_unit_test(good_answers_cut_off_are_bad),
		cmocka_unit_test(bad_answers_follow_the_table_wherever_they_are_cut),
		cmocka_unit_test(nul_in_a_header_is_bad),
		cmocka_unit_test(head_tells_codings_reason_and_location),
		cmocka_unit_test(heads_and_trailers_are_bounded),
		cmocka_unit_test(line_in_pieces_without_memory_is_an_error),
		cmocka_unit_test(answer_in_one_piece_needs_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
