#include "sources/http_answer_priv.h"

#include <stdlib.h>

/* A chunk's size and its extensions, of which we know none. */
#define CHUNK_LINE_BYTES_MAX 4096

#define NOT_HTTP "Received HTTP/0.9 when not allowed"

enum line_step { LINE_WHOLE, LINE_MORE, LINE_BAD };

void
http_answer_init(struct http_answer *a)
{
	*a = (struct http_answer){ .state = ANSWER_STATUS };
}

void
http_answer_fini(struct http_answer *a)
{
	buf_fini(&a->line);
	free(a->location);
	a->location = NULL;
}

static enum http_answer_step
bad(struct http_answer *a, enum err_code fault, const char *why)
{
	a->state = ANSWER_FAILED;
	a->fault = fault;
	a->why = why;
	return HTTP_ANSWER_BAD;
}

static enum http_answer_step
refuse(struct http_answer *a, const char *why)
{
	return bad(a, ERR_PROTO, why);
}

/* Takes the first n bytes of *in. */
static struct str
take_bytes(struct str *in, size_t n)
{
	struct str taken = { in->p, n };

	*in = (struct str){ in->p + n, in->len - n };
	return taken;
}

/* Lines. */

/* Counts n bytes of a line that go by; false when they are too many. */
static bool
count_line(struct http_answer *a, size_t n)
{
	if (a->state == ANSWER_CHUNK_SIZE || a->state == ANSWER_CHUNK_END) {
		if (a->line.len + n <= CHUNK_LINE_BYTES_MAX)
			return true;
		refuse(a, "Malformed encoding found in chunked-encoding");
		return false;
	}
	a->head_bytes += n;
	if (a->head_bytes <= HTTP_HEADER_BYTES_MAX)
		return true;
	bad(a, ERR_LIMIT, NULL);
	return false;
}

/* Adds to the line that is not whole. */
static bool
keep_piece(struct http_answer *a, struct str piece)
{
	buf_str(&a->line, piece);
	if (!a->line.failed)
		return true;
	bad(a, ERR_NOMEM, NULL);
	return false;
}

/* The next line without its end, LF or CR LF (RFC 9112, section 2.2). */
static enum line_step
take_line(struct http_answer *a, struct str *in, struct str *line)
{
	const char *end = memchr(in->p, '\n', in->len);
	size_t n = end == NULL ? in->len : (size_t)(end - in->p) + 1;

	if (a->line_used) {
		a->line_used = false;
		buf_clear(&a->line);
	}
	*line = take_bytes(in, n);
	if (!count_line(a, n))
		return LINE_BAD;
	if (end == NULL || a->line.len > 0) {
		if (!keep_piece(a, *line))
			return LINE_BAD;
		*line = buf_view(&a->line);
		a->line_used = end != NULL;
	}
	if (end == NULL)
		return LINE_MORE;
	line->len--;
	if (line->len > 0 && line->p[line->len - 1] == '\r')
		line->len--;
	return LINE_WHOLE;
}

/* The status line (RFC 9112, section 4). */

static bool
starts_like_http(struct str line)
{
	struct str begin = STR("HTTP/");

	return str_starts(str_sub(line, 0, begin.len), str_sub(begin, 0, line.len));
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK"; the reason may be missing, with its space too. */
static enum http_answer_step
take_status(struct http_answer *a, struct str line)
{
	const char *p = line.p;
	unsigned status;

	if (!starts_like_http(line) || line.len < 5)
		return refuse(a, NOT_HTTP);
	if (line.len < 8 || !is_digit(p[5]) || p[6] != '.' || !is_digit(p[7]) || p[5] != '1')
		return refuse(a, "Unsupported HTTP version in response");
	if (line.len < 12 || p[8] != ' ' || !is_digit(p[9]) || !is_digit(p[10]) ||
	    !is_digit(p[11]) || (line.len > 12 && p[12] != ' '))
		return refuse(a, "Malformed status line");
	status =
	    (unsigned)(p[9] - '0') * 100 + (unsigned)(p[10] - '0') * 10 + (unsigned)(p[11] - '0');
	if (status < 100)
		return refuse(a, "Malformed status line");
	a->old = p[7] == '0';
	a->status = status;
	http_printable_copy(a->reason, sizeof(a->reason), str_trim(str_sub(line, 12, line.len)));
	a->state = ANSWER_HEADER;
	return HTTP_ANSWER_MORE;
}

/* Headers. Each taker returns NULL, or why the answer is refused. */

/* The same length twice is harmless (RFC 9112, section 6.3). */
static const char *
take_length(struct http_answer *a, struct str value)
{
	struct str part;
	uint64_t length;

	if (value.len == 0)
		return "Invalid Content-Length: value";
	while (str_split(&value, ',', &part)) {
		part = str_trim(part);
		if (part.len == 0 || !is_digit(part.p[0]) || !str_to_u64(part, &length))
			return "Invalid Content-Length: value";
		if (a->has_length && a->length != length)
			return "Content-Length: values contradict each other";
		a->has_length = true;
		a->length = length;
	}
	return NULL;
}

/* Chunked has to be the last coding, and we know no other. */
static const char *
take_transfer_coding(struct http_answer *a, struct str value)
{
	struct str part;

	while (str_split(&value, ',', &part)) {
		part = str_trim(part);
		if (part.len == 0)
			continue;
		if (a->chunked || !str_eq_nocase(part, STR("chunked")))
			a->other_transfer = true;
		a->chunked = true;
	}
	return NULL;
}

static const char *
take_connection(struct http_answer *a, struct str value)
{
	struct str part;

	while (str_split(&value, ',', &part)) {
		part = str_trim(part);
		if (str_eq_nocase(part, STR("close")))
			a->says_close = true;
		else if (str_eq_nocase(part, STR("keep-alive")))
			a->says_keep_alive = true;
	}
	return NULL;
}

static const char *
take_coding(struct http_answer *a, struct str value)
{
	struct str part;

	while (str_split(&value, ',', &part)) {
		bool gzip;

		part = str_trim(part);
		if (part.len == 0 || str_eq_nocase(part, STR("identity")))
			continue;
		gzip = str_eq_nocase(part, STR("gzip")) || str_eq_nocase(part, STR("x-gzip"));
		a->coding =
		    gzip && a->coding == HTTP_CODING_NONE ? HTTP_CODING_GZIP : HTTP_CODING_OTHER;
	}
	return NULL;
}

static const char *
take_location(struct http_answer *a, struct str value)
{
	if (a->status >= 300 && a->status < 400 && a->location == NULL)
		a->location = str_dup(value);
	return NULL;
}

static const char *
take_type(struct http_answer *a, struct str value)
{
	http_media_type_copy(a->media_type, value);
	return NULL;
}

static const struct {
	struct str name;
	const char *(*take)(struct http_answer *, struct str value);
} headers[] = {
	{ { "Connection", 10 }, take_connection },
	{ { "Content-Encoding", 16 }, take_coding },
	{ { "Content-Length", 14 }, take_length },
	{ { "Content-Type", 12 }, take_type },
	{ { "Location", 8 }, take_location },
	{ { "Transfer-Encoding", 17 }, take_transfer_coding },
};

/* A header line that is not empty (RFC 9112, section 5). */
static const char *
take_header(struct http_answer *a, struct str line)
{
	const char *colon;
	struct str name;

	if (memchr(line.p, '\0', line.len) != NULL)
		return "Nul byte in header";
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return a->last_mattered ? "Folded header" : NULL;
	colon = memchr(line.p, ':', line.len);
	if (colon == NULL)
		return "Header without colon";
	name = str_sub(line, 0, (size_t)(colon - line.p));
	if (name.len == 0 || name.p[name.len - 1] == ' ' || name.p[name.len - 1] == '\t')
		return "Malformed header name";
	a->last_mattered = false;
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		if (name.len != headers[i].name.len || !str_eq_nocase(name, headers[i].name))
			continue;
		a->last_mattered = true;
		return headers[i].take(a, str_trim(str_sub(line, name.len + 1, line.len)));
	}
	return NULL;
}

/* What a head of 1xx said counts for nothing. */
static void
forget_head(struct http_answer *a)
{
	size_t head_bytes = a->head_bytes;
	bool line_used = a->line_used;
	struct buf line = a->line;

	free(a->location);
	http_answer_init(a);
	a->head_bytes = head_bytes;
	a->line_used = line_used;
	a->line = line;
}

/* The head is whole: how long is what follows (RFC 9112, section 6.3)? */
static enum http_answer_step
end_head(struct http_answer *a)
{
	if (a->status == 101)
		return refuse(a, "Another protocol was not asked for");
	if (a->status < 200) {
		forget_head(a);
		return HTTP_ANSWER_MORE;
	}
	a->keep_alive = a->old ? a->says_keep_alive && !a->says_close : !a->says_close;
	if (a->status == 204 || a->status == 304) {
		a->state = ANSWER_DONE;
	} else if (a->chunked) {
		if (a->other_transfer)
			return refuse(a, "Transfer-Encoding: more than chunked");
		/* Who sends both lengths, or chunks in HTTP/1.0, may mean anything by it. */
		if (a->has_length || a->old)
			a->keep_alive = false;
		a->has_length = false;
		a->state = ANSWER_CHUNK_SIZE;
	} else if (a->has_length) {
		a->left = a->length;
		a->state = a->left > 0 ? ANSWER_LENGTH : ANSWER_DONE;
	} else {
		a->keep_alive = false;
		a->state = ANSWER_UNTIL_CLOSE;
	}
	a->head_done = true;
	return HTTP_ANSWER_HEAD;
}

/* Chunks (RFC 9112, section 7.1). */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* "1f4" or "1f4;name=value" */
static enum http_answer_step
take_chunk_size(struct http_answer *a, struct str line)
{
	uint64_t size = 0;
	size_t n = 0;

	for (; n < line.len && hex_value(line.p[n]) >= 0; n++) {
		if (size > UINT64_MAX >> 4)
			return refuse(a, "Chunk larger than can be");
		size = size << 4 | (uint64_t)hex_value(line.p[n]);
	}
	if (n == 0)
		return refuse(a, "Illegal or missing hexadecimal sequence in chunked-encoding");
	if (n < line.len && line.p[n] != ';' && line.p[n] != ' ' && line.p[n] != '\t')
		return refuse(a, "Malformed encoding found in chunked-encoding");
	a->left = size;
	a->state = size > 0 ? ANSWER_CHUNK_DATA : ANSWER_TRAILER;
	a->last_mattered = false;
	return HTTP_ANSWER_MORE;
}

/* Takes content, as much as there is. */
static enum http_answer_step
take_content(struct http_answer *a, struct str *in, struct str *data, enum http_answer_state next)
{
	size_t n = a->left < in->len ? (size_t)a->left : in->len;

	if (n == 0)
		return HTTP_ANSWER_MORE;
	*data = take_bytes(in, n);
	a->left -= n;
	if (a->left == 0)
		a->state = next;
	return HTTP_ANSWER_DATA;
}

/* A whole line of the head or between chunks. HTTP_ANSWER_MORE: go on. */
static enum http_answer_step
take(struct http_answer *a, struct str line)
{
	const char *why;

	switch (a->state) {
	case ANSWER_STATUS:
		return take_status(a, line);
	case ANSWER_HEADER:
		if (line.len == 0)
			return end_head(a);
		why = take_header(a, line);
		return why != NULL ? refuse(a, why) : HTTP_ANSWER_MORE;
	case ANSWER_CHUNK_SIZE:
		return take_chunk_size(a, line);
	case ANSWER_CHUNK_END:
		if (line.len > 0)
			return refuse(a, "Malformed encoding found in chunked-encoding");
		a->state = ANSWER_CHUNK_SIZE;
		return HTTP_ANSWER_MORE;
	case ANSWER_TRAILER: /* what it says does not matter to us */
		if (line.len == 0)
			a->state = ANSWER_DONE;
		return HTTP_ANSWER_MORE;
	case ANSWER_LENGTH:
	case ANSWER_UNTIL_CLOSE:
	case ANSWER_CHUNK_DATA:
	case ANSWER_DONE:
	case ANSWER_FAILED:
		break;
	}
	return HTTP_ANSWER_BAD;
}

/* The next line, if it is there. HTTP_ANSWER_MORE: go on. */
static enum http_answer_step
take_next_line(struct http_answer *a, struct str *in)
{
	struct str line;

	switch (take_line(a, in, &line)) {
	case LINE_BAD:
		return HTTP_ANSWER_BAD;
	case LINE_MORE:
		if (a->state == ANSWER_STATUS && !starts_like_http(line))
			return refuse(a, NOT_HTTP);
		return HTTP_ANSWER_MORE;
	case LINE_WHOLE:
		break;
	}
	return take(a, line);
}

enum http_answer_step
http_answer_next(struct http_answer *a, struct str *in, struct str *data)
{
	enum http_answer_step step = HTTP_ANSWER_MORE;

	while (step == HTTP_ANSWER_MORE) {
		switch (a->state) {
		case ANSWER_LENGTH:
			return take_content(a, in, data, ANSWER_DONE);
		case ANSWER_CHUNK_DATA:
			return take_content(a, in, data, ANSWER_CHUNK_END);
		case ANSWER_UNTIL_CLOSE:
			if (in->len == 0)
				return HTTP_ANSWER_MORE;
			*data = take_bytes(in, in->len);
			return HTTP_ANSWER_DATA;
		case ANSWER_DONE:
			return HTTP_ANSWER_END;
		case ANSWER_FAILED:
			return HTTP_ANSWER_BAD;
		case ANSWER_STATUS:
		case ANSWER_HEADER:
		case ANSWER_CHUNK_SIZE:
		case ANSWER_CHUNK_END:
		case ANSWER_TRAILER:
			if (in->len == 0)
				return HTTP_ANSWER_MORE;
			step = take_next_line(a, in);
			break;
		}
	}
	return step;
}

enum http_answer_step
http_answer_close(struct http_answer *a)
{
	if (a->state == ANSWER_UNTIL_CLOSE || a->state == ANSWER_DONE) {
		a->state = ANSWER_DONE;
		return HTTP_ANSWER_END;
	}
	return a->state == ANSWER_FAILED ? HTTP_ANSWER_BAD : refuse(a, "cut off");
}
