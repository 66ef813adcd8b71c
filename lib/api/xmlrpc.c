/*
 * POST /RPC2: XML-RPC by xmlrpc-c, which parses the calls and answers the introspection. What
 * Scotty.Latest yields is streamed by us, as the library would build all of it in memory.
 */
#include <stdlib.h>
#include <xmlrpc-c/base.h>
#include <xmlrpc-c/server.h>

#include "api/latest_priv.h"
#include "api/query_priv.h"
#include "api/rpc_priv.h"

#define LATEST "Scotty.Latest"
#define LATEST_HELP                                                                                \
	"The newest value of every active metric at or under a path, as an array of structs. No "  \
	"path, an empty one and \"/\" mean all."

#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<methodResponse>"
#define XML_TAIL "</methodResponse>\n"

struct rpc {
	xmlrpc_registry *registry;
};

struct rpc_stream {
	struct stream stream;
	struct latest walk;
	bool begun;
};

/*
 * Called by the library for a Scotty.Latest inside system.multicall only: a body of 64 KiB has room
 * for hundreds of them, and the library would hold all their answers at once.
 */
static xmlrpc_value *
latest_in_multicall(xmlrpc_env *env, xmlrpc_value *params, void *server, void *call)
{
	(void)params;
	(void)server;
	(void)call;
	xmlrpc_env_set_fault(
	    env, XMLRPC_REQUEST_REFUSED_ERROR, LATEST " can't be called by system.multicall");
	return NULL;
}

struct rpc *
rpc_new(struct err *err)
{
	struct rpc *rpc = calloc(1, sizeof(*rpc));
	xmlrpc_env env;

	if (rpc == NULL) {
		err_nomem(err);
		return NULL;
	}
	xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, REQUEST_BODY_BYTES);
	xmlrpc_env_init(&env);
	rpc->registry = xmlrpc_registry_new(&env);
	if (!env.fault_occurred)
		xmlrpc_registry_add_method2(
		    &env, rpc->registry, LATEST, latest_in_multicall, "A:,A:s", LATEST_HELP, NULL);
	if (env.fault_occurred) {
		err_set(err, ERR_NOMEM, "XML-RPC methods: %s", env.fault_string);
		rpc_free(rpc);
		rpc = NULL;
	}
	xmlrpc_env_clean(&env);
	return rpc;
}

void
rpc_free(struct rpc *rpc)
{
	if (rpc == NULL)
		return;
	if (rpc->registry != NULL)
		xmlrpc_registry_free(rpc->registry);
	free(rpc);
}

static void
put_fault(struct buf *out, const xmlrpc_env *fault)
{
	buf_puts(out, XML_HEAD "<fault><value><struct><member><name>faultCode</name>");
	rpc_int(out, fault->fault_code);
	buf_puts(out, "</member><member><name>faultString</name>");
	rpc_string(out, str_of(fault->fault_string));
	buf_puts(out, "</member></struct></value></fault>" XML_TAIL);
}

/*
 * The elements of calls of our methods: all their parameters are text. The library's code for other
 * types is not fit for strangers: an i8 out of range makes it follow a wild pointer (1.33.14).
 */
static const char *const elements[] = { "methodCall", "methodName", "params", "param", "value",
	"string", "array", "data", "struct", "member", "name" };

/* tag: what follows a '<', to the end of the body. */
static bool
tag_is_known(struct str tag)
{
	if (str_starts(tag, STR("/")))
		tag = str_sub(tag, 1, tag.len);
	for (size_t i = 0; i < ARRAY_LEN(elements); i++) {
		struct str name = str_of(elements[i]);

		if (str_starts(tag, name) && tag.len > name.len &&
		    strchr(" \t\r\n/>", tag.p[name.len]) != NULL)
			return true;
	}
	return false;
}

/*
 * Lets nothing reach the library but the elements above and an XML declaration: no document type
 * above all, as entities are expanded without bound. NUL and bytes that are not UTF-8 are refused,
 * as tags look otherwise in UTF-16.
 */
static bool
is_harmless(struct str body)
{
	struct str rest = body, text;

	if (body.len == 0 || memchr(body.p, '\0', body.len) != NULL ||
	    utf8_valid_prefix(body.p, body.len) != body.len)
		return false;
	if (str_starts(rest, STR("<?xml ")))
		rest = str_sub(rest, 1, rest.len);
	while (str_split(&rest, '<', &text)) {
		if (rest.len > 0 && !tag_is_known(rest))
			return false;
	}
	return true;
}

static enum stream_result
rpc_fill(struct stream *stream, struct buf *out)
{
	struct rpc_stream *s = CONTAINER_OF(stream, struct rpc_stream, stream);
	const struct series_set *set;
	const struct record *record;
	size_t end = out->len + STREAM_PIECE_BYTES;
	bool more = true;

	if (!s->begun)
		buf_puts(out, XML_HEAD "<params><param><value><array><data>");
	s->begun = true;
	while (more && out->len < end) {
		more = latest_next(&s->walk, &set, &record);
		if (more)
			rpc_metric(out, series_set_host(set), series_set_app(set), record);
	}
	if (more)
		return STREAM_MORE;
	buf_puts(out, "</data></array></value></param></params>" XML_TAIL);
	return STREAM_END;
}

static void
rpc_close(struct stream *stream)
{
	struct rpc_stream *s = CONTAINER_OF(stream, struct rpc_stream, stream);

	latest_fini(&s->walk);
	free(s);
}

/* The text of a string parameter. Caller frees; NULL after a fault. */
static char *
read_string(xmlrpc_env *env, xmlrpc_value *params, unsigned index)
{
	xmlrpc_value *value;
	const char *text = NULL;
	size_t len;

	xmlrpc_array_read_item(env, params, index, &value);
	if (env->fault_occurred)
		return NULL;
	if (xmlrpc_value_type(value) == XMLRPC_TYPE_STRING)
		xmlrpc_read_string_lp(env, value, &len, &text);
	else
		xmlrpc_env_set_fault(env, XMLRPC_TYPE_ERROR, "the path must be a string");
	xmlrpc_DECREF(value);
	return env->fault_occurred ? NULL : (char *)text;
}

/* The path asked for: the only parameter, or none for all. .p is NULL after a fault. */
static struct str
path_asked(xmlrpc_env *env, struct request *req, xmlrpc_value *params)
{
	int n = xmlrpc_array_size(env, params);
	struct str path = STR("");
	char *text;

	if (n > 1)
		xmlrpc_env_set_fault(env, XMLRPC_TYPE_ERROR, LATEST " takes one path at most");
	if (env->fault_occurred)
		return STR_EMPTY;
	if (n == 0)
		return path;
	text = read_string(env, params, 0);
	if (text == NULL)
		return STR_EMPTY;
	path = metric_path(&req->arena, str_of(text));
	free(text);
	if (path.p == NULL)
		xmlrpc_env_set_fault(env, XMLRPC_INTERNAL_ERROR, "out of memory");
	return path;
}

static void
answer_latest(xmlrpc_env *env, struct request *req, struct response *resp, xmlrpc_value *params)
{
	struct str path = path_asked(env, req, params);
	struct rpc_stream *s;
	struct err err;

	if (path.p == NULL)
		return;
	s = malloc(sizeof(*s));
	if (s == NULL) {
		xmlrpc_env_set_fault(env, XMLRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	if (latest_init(&s->walk, req->service->env.store, path, &err) != 0) {
		xmlrpc_env_set_fault(env, XMLRPC_INTERNAL_ERROR, err.text);
		free(s);
		return;
	}
	s->stream = (struct stream){ rpc_fill, rpc_close };
	s->begun = false;
	resp->stream = &s->stream;
}

/* The library's own methods, and its complaint about methods that there are not. */
static void
answer_other(xmlrpc_env *env, struct request *req, struct response *resp)
{
	xmlrpc_mem_block *out = NULL;

	xmlrpc_registry_process_call2(
	    env, req->service->rpc->registry, req->body.p, req->body.len, NULL, &out);
	if (env->fault_occurred)
		return;
	buf_add(&resp->body, xmlrpc_mem_block_contents(out), xmlrpc_mem_block_size(out));
	xmlrpc_mem_block_free(out);
}

static void
answer_call(xmlrpc_env *env, struct request *req, struct response *resp)
{
	const char *method = NULL;
	xmlrpc_value *params = NULL;

	if (!is_harmless(req->body)) {
		xmlrpc_env_set_fault(env, XMLRPC_PARSE_ERROR,
		    "refused: a call holds text, arrays and structs of it in UTF-8, and nothing "
		    "else");
		return;
	}
	xmlrpc_parse_call(env, req->body.p, req->body.len, &method, &params);
	if (env->fault_occurred)
		return;
	if (strcmp(method, LATEST) == 0)
		answer_latest(env, req, resp, params);
	else
		answer_other(env, req, resp);
	xmlrpc_DECREF(params);
	free((char *)method);
}

void
rpc_post(struct request *req, struct response *resp)
{
	xmlrpc_env env;

	resp->content_type = "text/xml; charset=utf-8";
	xmlrpc_env_init(&env);
	answer_call(&env, req, resp);
	if (env.fault_occurred)
		put_fault(&resp->body, &env);
	xmlrpc_env_clean(&env);
}
