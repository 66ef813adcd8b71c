#include <assert.h>

#include "api/route_priv.h"
#include "messages/json.h"

static const struct {
	unsigned status;
	const char *text;
} texts[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 204, "No Content" },
	{ 301, "Moved Permanently" },
	{ 400, "Bad Request" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 409, "Conflict" },
	{ 413, "Content Too Large" },
	{ 500, "Internal Server Error" },
	{ 503, "Service Unavailable" },
};

const char *
status_text(unsigned status)
{
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (texts[i].status == status)
			return texts[i].text;
	}
	return "Unknown";
}

void
stream_piece_clear(struct buf *piece)
{
	if (piece->cap > 4 * STREAM_PIECE_BYTES)
		buf_fini(piece);
	else
		buf_clear(piece);
}

void
response_init(struct response *resp)
{
	*resp = (struct response){ .status = 200, .content_type = "application/json" };
}

void
response_fini(struct response *resp)
{
	if (resp->stream != NULL)
		resp->stream->close(resp->stream);
	resp->stream = NULL;
	buf_fini(&resp->body);
}

void
response_header(struct response *resp, const char *name, const char *value)
{
	assert(resp->header_count < RESPONSE_HEADERS);
	resp->headers[resp->header_count++] = (struct header){ name, value };
}

/* Empties the answer; headers stay. */
static void
start_over(struct response *resp, unsigned status, const char *content_type)
{
	if (resp->stream != NULL)
		resp->stream->close(resp->stream);
	resp->stream = NULL;
	buf_clear(&resp->body);
	resp->status = status;
	resp->content_type = content_type;
}

void
response_text(struct response *resp, unsigned status, const char *text)
{
	start_over(resp, status, "text/plain; charset=utf-8");
	buf_puts(&resp->body, text);
}

static void
response_json_error(struct response *resp, unsigned status, const char *why)
{
	struct json json;

	start_over(resp, status, "application/json");
	json_init(&json, &resp->body, false);
	json_begin_object(&json);
	json_key(&json, "error");
	json_string(&json, str_of(why));
	json_end_object(&json);
	buf_putc(&resp->body, '\n');
}

void
response_refuse(const struct request *req, struct response *resp, unsigned status, const char *why)
{
	if (req->json_errors) {
		response_json_error(resp, status, why);
		return;
	}
	response_text(resp, status, "");
	buf_printf(&resp->body, "%u %s\n", status, status_text(status));
}

void
response_status(const struct request *req, struct response *resp, unsigned status)
{
	response_refuse(req, resp, status, status_text(status));
}

void
response_err(const struct request *req, struct response *resp, const struct err *err)
{
	unsigned status = 500;

	switch (err->code) {
	case ERR_CONFIG:
	case ERR_PROTO:
		status = 400;
		break;
	case ERR_DENIED:
	case ERR_EXISTS:
		status = 409;
		break;
	case ERR_NOTFOUND:
		status = 404;
		break;
	case ERR_NOMEM:
	case ERR_LIMIT:
		status = 503;
		break;
	case ERR_NONE:
	case ERR_IO:
	case ERR_TIMEOUT:
		break;
	}
	response_refuse(req, resp, status, err->text);
}
