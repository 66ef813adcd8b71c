#include "api/gzip_priv.h"
#include "api/markup_priv.h"
#include "api/query_priv.h"
#include "api/route_priv.h"

/* Methods of a row. Upstream looks at none, and forms are posted to what reads. */
enum {
	GET = METHOD_GET | METHOD_HEAD,
	READ = GET | METHOD_POST,
	POST = METHOD_POST,
	PUT = METHOD_PUT,
	DELETE = METHOD_DELETE,
};

/* Flags of a row. */
enum {
	GZIP = 1,
	JSON_ERRORS = 2,
};

static const struct route {
	const char *path;
	unsigned methods;
	void (*handle)(struct request *, struct response *);
	unsigned flags;
} routes[] = {
#define ROUTE(path, methods, handler, flags) { path, methods, handler, flags },
#include "api/routes.def"
#undef ROUTE
};

static const struct {
	enum method method;
	const char *name;
} method_names[] = {
	{ METHOD_GET, "GET" },
	{ METHOD_HEAD, "HEAD" },
	{ METHOD_POST, "POST" },
	{ METHOD_PUT, "PUT" },
	{ METHOD_DELETE, "DELETE" },
};

/* Bodies shorter than this fit a packet as they are. */
#define GZIP_WORTHWHILE_BYTES 1024

/* Paths, decoded parameters: all of it comes from a request head of at most 32 KiB. */
#define REQUEST_ARENA_BYTES (1024 * 1024)

enum method
method_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(method_names); i++) {
		if (strcmp(method_names[i].name, name) == 0)
			return method_names[i].method;
	}
	return METHOD_OTHER;
}

void
request_init(struct request *req, struct service *service)
{
	*req = (struct request){ .service = service };
	arena_init(&req->arena, REQUEST_ARENA_BYTES);
}

void
request_fini(struct request *req)
{
	arena_fini(&req->arena);
}

static bool
body_is_form(const struct request *req)
{
	return req->method == METHOD_POST && str_starts(req->header(req, "Content-Type"),
	                                         STR("application/x-www-form-urlencoded"));
}

struct str
request_param(struct request *req, const char *name)
{
	struct str value;

	if (body_is_form(req) && query_get(req->body, name, &req->arena, &value))
		return value;
	if (query_get(req->query, name, &req->arena, &value))
		return value;
	return STR_EMPTY;
}

bool
request_wants_text(struct request *req)
{
	return str_eq(request_param(req, "format"), STR("text"));
}

int
request_metric_path(struct request *req, struct str raw, struct str *path, struct err *err)
{
	struct str typed = url_decode(&req->arena, raw);

	*path = metric_path(&req->arena, typed);
	if (typed.p != NULL && path->p != NULL)
		return 0;
	err_nomem(err);
	return -1;
}

int
request_endpoint(
    struct request *req, struct str *rest, struct str *host, struct str *app, struct err *err)
{
	struct str raw_host, raw_app;

	if (!str_split(rest, '/', &raw_host) || !str_split(rest, '/', &raw_app) ||
	    raw_host.len == 0 || raw_app.len == 0) {
		err_set(err, ERR_NOTFOUND, "the path needs a host and an application");
		return -1;
	}
	*host = url_decode(&req->arena, raw_host);
	*app = url_decode(&req->arena, raw_app);
	if (host->p != NULL && app->p != NULL)
		return 0;
	err_nomem(err);
	return -1;
}

int
request_named_endpoint(struct request *req, struct str *host, struct str *app, struct err *err)
{
	struct str rest = req->rest;

	if (request_endpoint(req, &rest, host, app, err) != 0)
		return -1;
	if (rest.len > 0) {
		err_set(err, ERR_NOTFOUND, "nothing is below an endpoint");
		return -1;
	}
	return 0;
}

/* What of the path comes after the route's; false if it is another path. */
static bool
route_holds(const struct route *route, struct str path, struct str *rest)
{
	struct str own = str_of(route->path);

	*rest = str_sub(path, own.len, SIZE_MAX);
	if (rest->len == 0)
		return str_eq(path, own);
	return own.len > 1 && str_ends(own, STR("/")) && str_starts(path, own);
}

static bool
slash_is_missing(struct str path)
{
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		struct str own = str_of(routes[i].path);

		if (own.len == path.len + 1 && str_ends(own, STR("/")) && str_starts(own, path))
			return true;
	}
	return false;
}

/* A NUL-ended copy for a header; NULL when out of memory. */
static const char *
header_text(struct request *req, const struct buf *text)
{
	return text->failed ? NULL : arena_copy(&req->arena, buf_view(text)).p;
}

/* 301 to the clean path and more, the query kept, with the body Go's http.Redirect gives. */
static void
redirect(struct request *req, struct response *resp, const char *more)
{
	struct buf location;
	const char *value;

	buf_init(&location, 0);
	buf_str(&location, req->path);
	buf_puts(&location, more);
	if (req->query.len > 0) {
		buf_putc(&location, '?');
		query_escape(req->query, &location);
	}
	value = header_text(req, &location);
	if (value == NULL) {
		response_status(req, resp, 503);
		goto out;
	}
	response_text(resp, 301, "");
	resp->content_type = "text/html; charset=utf-8";
	response_header(resp, "Location", value);
	if (req->method == METHOD_GET) {
		buf_puts(&resp->body, "<a href=\"");
		markup_text(&resp->body, buf_view(&location));
		buf_puts(&resp->body, "\">Moved Permanently</a>.\n\n");
	}
out:
	buf_fini(&location);
}

static void
refuse_method(struct request *req, struct response *resp, unsigned allowed)
{
	struct buf names;
	const char *value;

	buf_init(&names, 0);
	for (size_t i = 0; i < ARRAY_LEN(method_names); i++) {
		if ((allowed & method_names[i].method) == 0)
			continue;
		if (names.len > 0)
			buf_puts(&names, ", ");
		buf_puts(&names, method_names[i].name);
	}
	value = header_text(req, &names);
	response_status(req, resp, value == NULL ? 503 : 405);
	if (value != NULL)
		response_header(resp, "Allow", value);
	buf_fini(&names);
}

/* Compresses an answer worth it. Without memory for that it goes out as it is. */
static void
compress(struct request *req, struct response *resp)
{
	response_header(resp, "Vary", "Accept-Encoding");
	if (resp->body.failed || !gzip_accepted(req->header(req, "Accept-Encoding")))
		return;
	if (resp->stream != NULL) {
		struct stream *stream = gzip_stream_new(resp->stream);

		resp->stream = stream;
		if (stream == NULL) {
			response_status(req, resp, 503);
			return;
		}
	} else if (resp->body.len < GZIP_WORTHWHILE_BYTES || !gzip_buf(&resp->body)) {
		return;
	}
	response_header(resp, "Content-Encoding", "gzip");
}

/* Finds the row for the clean path and lets it answer. */
static void
route(struct request *req, struct response *resp)
{
	unsigned allowed = 0;
	struct str rest;

	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (!route_holds(&routes[i], req->path, &rest))
			continue;
		req->json_errors = (routes[i].flags & JSON_ERRORS) != 0;
		if (req->refuse != 0)
			break;
		if ((routes[i].methods & req->method) == 0) {
			allowed |= routes[i].methods;
			continue;
		}
		req->rest = rest;
		routes[i].handle(req, resp);
		if ((routes[i].flags & GZIP) != 0)
			compress(req, resp);
		return;
	}
	if (req->refuse != 0)
		response_status(req, resp, req->refuse);
	else if (allowed != 0)
		refuse_method(req, resp, allowed);
	else if (slash_is_missing(req->path))
		redirect(req, resp, "/");
	else
		response_status(req, resp, 404);
}

void
routes_dispatch(struct request *req, struct response *resp)
{
	struct buf normal, clean;
	struct str path;
	bool dirty;

	buf_init(&normal, 0);
	buf_init(&clean, 0);
	if (!target_split(req->target, &path, &req->query) || !path_normalize(path, &normal)) {
		response_status(req, resp, 400);
		goto out;
	}
	dirty = path_clean(buf_view(&normal), &clean);
	req->path = arena_copy(&req->arena, buf_view(&clean));
	if (normal.failed || clean.failed || req->path.p == NULL)
		response_status(req, resp, 503);
	else if (dirty)
		redirect(req, resp, "");
	else
		route(req, resp);
	/* What ran out of memory on the way must not go out half. */
	if (resp->body.failed)
		response_status(req, resp, 503);
out:
	buf_fini(&normal);
	buf_fini(&clean);
}
