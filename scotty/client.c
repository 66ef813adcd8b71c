#include "scotty/client.h"

#include <curl/curl.h>
#include <stdlib.h>

#include "base/conf.h"

#define DEFAULT_PORT     "6980"
#define CONNECT_SECONDS  5L
#define SILENCE_SECONDS  60L
#define ERROR_TEXT_BYTES 300
#define AUTHORIZATION    "Authorization: Bearer "

struct client {
	const struct options *options;
	CURL *curl;
	struct buf url;              /* http://HOST:PORT, and while asking the path */
	size_t base_len;             /* of the url without the path */
	struct curl_slist *token;    /* the header with the token; NULL = none */
	char error[CURL_ERROR_SIZE]; /* libcurl's words about the last transfer */
};

/* One request under way. */
struct transfer {
	struct client *client;
	const struct client_sink *sink;
	struct buf refusal; /* the beginning of an answer that is no success */
	struct err *err;
	bool stopped; /* by the sink */
};

/* "", "web1", "web1:80", ":80", "::1" and "[::1]:80", all made HOST:PORT. */
static int
set_server(struct client *client, struct str server, struct err *err)
{
	const char *colon = memrchr(server.p, ':', server.len);
	/* One colon is the port's. */
	bool bare_ipv6 = str_is_bare_ipv6(server) && colon != memchr(server.p, ':', server.len);
	bool has_port = !bare_ipv6 && colon != NULL && !str_ends(server, STR("]"));

	for (size_t i = 0; i < server.len; i++) {
		if (server.p[i] <= ' ' || strchr("/?#@\\%\x7f", server.p[i]) != NULL) {
			err_set(err, ERR_CONFIG, "-server wants HOST:PORT, not '%.*s'",
			    STR_ARG(server));
			return -1;
		}
	}
	buf_puts(&client->url, "http://");
	if (server.len == 0 || colon == server.p)
		buf_puts(&client->url, "127.0.0.1");
	buf_printf(&client->url, bare_ipv6 ? "[%.*s]" : "%.*s", STR_ARG(server));
	if (!has_port)
		buf_puts(&client->url, ":" DEFAULT_PORT);
	client->base_len = client->url.len;
	return 0;
}

/* The file must be one that others can't read, as the daemon's. */
static int
read_token(struct client *client, const char *path, struct err *err)
{
	char *token = NULL;
	struct buf header;
	int rc;

	if (path == NULL)
		return 0;
	buf_init(&header, 0);
	rc = conf_secret_file(path, &token, err);
	if (rc == 0) {
		buf_printf(&header, AUTHORIZATION "%s", token);
		buf_putc(&header, '\0');
		client->token = header.failed ? NULL : curl_slist_append(NULL, header.p);
		if (client->token == NULL) {
			err_nomem(err);
			rc = -1;
		}
	}
	conf_secret_free(token);
	buf_fini(&header);
	return rc;
}

struct client *
client_new(const struct options *options, struct err *err)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		err_nomem(err);
		return NULL;
	}
	client->options = options;
	buf_init(&client->url, 0);
	if (set_server(client, str_of(options->server), err) != 0 ||
	    read_token(client, options->token_file, err) != 0)
		goto fail;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
	    (client->curl = curl_easy_init()) == NULL) {
		err_nomem(err);
		goto fail;
	}
	return client;
fail:
	client_free(client);
	return NULL;
}

void
client_free(struct client *client)
{
	if (client == NULL)
		return;
	curl_easy_cleanup(client->curl);
	curl_slist_free_all(client->token);
	buf_fini(&client->url);
	free(client);
}

const struct options *
client_options(const struct client *client)
{
	return client->options;
}

void
client_path_add(struct buf *path, struct str component)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < component.len; i++) {
		unsigned char c = (unsigned char)component.p[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		             (c >= 'a' && c <= 'z') || (c != '\0' && strchr("-._~", c) != NULL);

		if (plain) {
			buf_putc(path, (char)c);
		} else {
			buf_putc(path, '%');
			buf_putc(path, digits[c >> 4]);
			buf_putc(path, digits[c & 15]);
		}
	}
}

static long
status_of(const struct client *client)
{
	long status = 0;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool
is_success(long status)
{
	return status >= 200 && status < 300;
}

/* libcurl's callback. */
static size_t
take_bytes(char *p, size_t size, size_t n, void *ctx)
{
	struct transfer *transfer = ctx;
	struct str bytes = { p, size * n };

	if (!is_success(status_of(transfer->client))) {
		buf_str(&transfer->refusal, str_sub(bytes, 0, ERROR_TEXT_BYTES));
		return bytes.len;
	}
	if (transfer->sink->take(transfer->sink->ctx, bytes, transfer->err) == 0)
		return bytes.len;
	transfer->stopped = true;
	return 0;
}

static enum err_code
code_of(long status)
{
	switch (status) {
	case 403:
		return ERR_DENIED;
	case 404:
		return ERR_NOTFOUND;
	default:
		return ERR_PROTO;
	}
}

/* What became of a transfer. */
static int
result(struct transfer *transfer, CURLcode code, const char *method, struct err *err)
{
	struct client *client = transfer->client;
	long status = status_of(client);
	struct str text = str_trim(buf_view(&transfer->refusal));

	if (transfer->stopped)
		return -1;
	if (code != CURLE_OK) {
		err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO, "%s",
		    client->error[0] != '\0' ? client->error : curl_easy_strerror(code));
	} else if (!is_success(status)) {
		err_set(err, code_of(status), "%ld %.*s", status,
		    STR_ARG(str_sub(text, 0, ERROR_TEXT_BYTES)));
	} else {
		return 0;
	}
	err_wrap(err, "%s %s", method, client->url.p);
	return -1;
}

static void
set_up(struct transfer *transfer, bool is_post)
{
	struct client *client = transfer->client;
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	client->error[0] = '\0';
	curl_easy_setopt(curl, CURLOPT_URL, client->url.p);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENCE_SECONDS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
	if (is_post) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->token);
	}
}

static int
ask(struct client *client, bool is_post, const char *path, const struct client_sink *sink,
    struct err *err)
{
	struct transfer transfer = { .client = client, .sink = sink, .err = err };
	int rc = -1;

	buf_init(&transfer.refusal, CLIENT_ANSWER_BYTES);
	client->url.len = client->base_len;
	buf_puts(&client->url, path);
	buf_putc(&client->url, '\0');
	if (client->url.failed) {
		err_nomem(err);
		goto out;
	}
	set_up(&transfer, is_post);
	rc = result(&transfer, curl_easy_perform(client->curl), is_post ? "POST" : "GET", err);
out:
	buf_fini(&transfer.refusal);
	return rc;
}

int
client_get(struct client *client, const char *path, const struct client_sink *sink, struct err *err)
{
	return ask(client, false, path, sink, err);
}

static int
keep_bytes(void *ctx, struct str bytes, struct err *err)
{
	struct buf *out = ctx;

	buf_str(out, bytes);
	if (!out->failed && out->len <= CLIENT_ANSWER_BYTES)
		return 0;
	err_set(err, ERR_LIMIT,
	    "the answer is too large to be kept as a whole; ask for less, or with -json");
	return -1;
}

static int
ask_all(struct client *client, bool is_post, const char *path, struct buf *out, struct err *err)
{
	struct client_sink sink = { keep_bytes, out };

	if (ask(client, is_post, path, &sink, err) != 0)
		return -1;
	buf_putc(out, '\0');
	if (!out->failed)
		return 0;
	err_nomem(err);
	return -1;
}

int
client_get_all(struct client *client, const char *path, struct buf *out, struct err *err)
{
	return ask_all(client, false, path, out, err);
}

int
client_post(struct client *client, const char *path, struct buf *out, struct err *err)
{
	return ask_all(client, true, path, out, err);
}
