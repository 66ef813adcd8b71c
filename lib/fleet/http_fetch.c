#include "fleet/http_fetch_priv.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define ETAG_BYTES 256
/* How long the thread sleeps at most: libcurl's waits are ints of milliseconds. */
#define SLEEP_MAX_NS (3600 * NS_PER_S)

/* What one request brought, on its way from the thread to the loop. */
struct outcome {
	struct buf body;
	bool same; /* as the document before */
	bool failed;
	struct err why;
};

struct http_fetch {
	struct loop *loop;
	char *url, *ca_file, *bearer;
	int64_t refresh_ns, timeout_ns;
	size_t bytes_max;
	void (*done)(void *ctx, const struct str *body, const struct err *why);
	void *ctx;

	pthread_t thread;
	bool running;
	CURLM *multi; /* its wakeup is the one call that others make */
	_Atomic bool stop, now, forget;
	_Atomic(struct outcome *) outcome; /* not told yet */
	struct loop_task tell_task;

	/* the thread's */
	CURL *curl;
	struct curl_slist *headers;
	struct outcome *current;
	bool too_large;
	char etag[ETAG_BYTES];     /* of the document that was told last; "" = none */
	char new_etag[ETAG_BYTES]; /* of the answer under way */
	char error[CURL_ERROR_SIZE];
};

const char *
http_fetch_url_fault(struct str text)
{
	char *copy = str_dup(text), *host = NULL, *user = NULL, *fragment = NULL, *scheme = NULL;
	CURLU *url = curl_url();
	const char *fault = NULL;

	if (copy == NULL || url == NULL)
		fault = "can't be looked at: out of memory";
	else if (curl_url_set(url, CURLUPART_URL, copy, 0) != CURLUE_OK ||
	         curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || host[0] == '\0')
		fault = "is no URL";
	else if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	         (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		fault = "must begin with http:// or https://";
	else if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK)
		fault = "must not hold a user or password";
	else if (curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
		fault = "must not hold a fragment (#)";
	curl_free(host);
	curl_free(user);
	curl_free(fragment);
	curl_free(scheme);
	curl_url_cleanup(url);
	free(copy);
	return fault;
}

static void
outcome_free(struct outcome *outcome)
{
	if (outcome == NULL)
		return;
	buf_fini(&outcome->body);
	free(outcome);
}

/* --- on the thread --------------------------------------------------------------------------- */

static size_t
on_body(char *p, size_t one, size_t n, void *ctx)
{
	struct http_fetch *f = ctx;

	(void)one;
	/* libcurl's own limit sees only the length that is announced; this one what was decoded. */
	if (n > f->bytes_max - f->current->body.len) {
		f->too_large = true;
		return CURL_WRITEFUNC_ERROR;
	}
	buf_add(&f->current->body, p, n);
	return f->current->body.failed ? CURL_WRITEFUNC_ERROR : n;
}

static size_t
on_header(char *p, size_t one, size_t n, void *ctx)
{
	struct http_fetch *f = ctx;
	struct str value = { p, n }, name;

	(void)one;
	if (!str_split(&value, ':', &name) || !str_eq_nocase(name, STR("ETag")))
		return n;
	value = str_trim(value);
	f->new_etag[0] = '\0';
	if (value.len < sizeof(f->new_etag))
		snprintf(f->new_etag, sizeof(f->new_etag), "%.*s", STR_ARG(value));
	return n;
}

static bool
add_header(struct http_fetch *f, const char *line)
{
	struct curl_slist *more = curl_slist_append(f->headers, line);

	if (more != NULL)
		f->headers = more;
	return more != NULL;
}

/* The headers of the next request. */
static bool
set_headers(struct http_fetch *f)
{
	char line[ETAG_BYTES + 32];

	if (atomic_exchange(&f->forget, false))
		f->etag[0] = '\0';
	curl_slist_free_all(f->headers);
	f->headers = NULL;
	/* In whole seconds, as Prometheus sends it. */
	snprintf(line, sizeof(line), "X-Prometheus-Refresh-Interval-Seconds: %lld",
	    (long long)(f->refresh_ns / NS_PER_S));
	if (!add_header(f, "Accept: application/json") || !add_header(f, line))
		return false;
	snprintf(line, sizeof(line), "If-None-Match: %s", f->etag);
	if (f->etag[0] != '\0' && !add_header(f, line))
		return false;
	return curl_easy_setopt(f->curl, CURLOPT_HTTPHEADER, f->headers) == CURLE_OK;
}

static bool
set_up(struct http_fetch *f)
{
	CURL *c = f->curl;

	if (f->bearer != NULL &&
	    (curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, f->bearer) != CURLE_OK ||
	        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER) != CURLE_OK))
		return false;
#if LIBCURL_VERSION_NUM >= 0x075700
	/* A name server that hangs keeps the end of a request from nothing. */
	if (curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK)
		return false;
#endif
	if (f->ca_file != NULL && curl_easy_setopt(c, CURLOPT_CAINFO, f->ca_file) != CURLE_OK)
		return false;
	return curl_easy_setopt(c, CURLOPT_URL, f->url) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_USERAGENT, "scottyd/" SCOTTY_VERSION) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(f->timeout_ns / NS_PER_MS)) ==
	           CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->error) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_WRITEDATA, f) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HEADERDATA, f) == CURLE_OK;
}

/* Runs the request to its end or to the stop. */
static CURLcode
transfer(struct http_fetch *f)
{
	CURLcode rc = CURLE_ABORTED_BY_CALLBACK;
	int running = 1, left;
	CURLMsg *msg;

	if (curl_multi_add_handle(f->multi, f->curl) != CURLM_OK)
		return CURLE_OUT_OF_MEMORY;
	while (running > 0 && !f->stop) {
		if (curl_multi_perform(f->multi, &running) != CURLM_OK)
			break;
		if (running > 0 && curl_multi_poll(f->multi, NULL, 0, 1000, NULL) != CURLM_OK)
			break;
	}
	while ((msg = curl_multi_info_read(f->multi, &left)) != NULL) {
		if (msg->msg == CURLMSG_DONE)
			rc = msg->data.result;
	}
	curl_multi_remove_handle(f->multi, f->curl);
	return rc;
}

static bool
is_json(const char *content_type)
{
	struct str rest = str_of(content_type), type;

	return str_split(&rest, ';', &type) &&
	       str_eq_nocase(str_trim(type), STR("application/json"));
}

/* What libcurl or a server said, as far as it can be shown. */
static void
mask(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

static void
judge(struct http_fetch *f, CURLcode rc, struct outcome *out)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(f->curl, CURLINFO_CONTENT_TYPE, &type);
	out->failed = true;
	if (f->too_large)
		err_set(&out->why, ERR_LIMIT, "answer larger than %zu MiB", f->bytes_max >> 20);
	else if (rc == CURLE_OUT_OF_MEMORY || out->body.failed)
		err_nomem(&out->why);
	else if (rc == CURLE_OPERATION_TIMEDOUT)
		err_set(&out->why, ERR_TIMEOUT, "timed out after %g s",
		    (double)f->timeout_ns / (double)NS_PER_S);
	else if (rc != CURLE_OK)
		err_set(&out->why, ERR_IO, "%s",
		    f->error[0] != '\0' ? f->error : curl_easy_strerror(rc));
	else if (status == 304 && f->etag[0] != '\0')
		out->failed = false, out->same = true;
	else if (status != 200)
		err_set(&out->why, ERR_PROTO, "answered %ld%s", status,
		    status >= 300 && status < 400 ? "; redirects are not followed" : "");
	else if (!is_json(type))
		err_set(&out->why, ERR_PROTO, "Content-Type is '%.60s', not application/json",
		    type == NULL ? "" : type);
	else
		out->failed = false;
	mask(out->why.text);
	if (out->failed || !out->same)
		memcpy(f->etag, out->failed ? "" : f->new_etag, out->failed ? 1 : sizeof(f->etag));
}

/* One request; NULL when out of memory. */
static struct outcome *
fetch(struct http_fetch *f)
{
	struct outcome *out = calloc(1, sizeof(*out));

	if (out == NULL)
		return NULL;
	buf_init(&out->body, 0);
	f->current = out;
	f->too_large = false;
	f->new_etag[0] = f->error[0] = '\0';
	judge(f, set_headers(f) ? transfer(f) : CURLE_OUT_OF_MEMORY, out);
	return out;
}

/* A document that waits to be told is not lost to an answer that says that it is the same. */
static void
hand_over(struct http_fetch *f, struct outcome *out)
{
	struct outcome *before = atomic_exchange(&f->outcome, NULL);

	if (before != NULL && !before->failed && !before->same && out->same) {
		outcome_free(out);
		out = before;
		before = NULL;
	}
	outcome_free(before);
	outcome_free(atomic_exchange(&f->outcome, out));
	loop_post(f->loop, &f->tell_task);
}

static void
sleep_until(struct http_fetch *f, int64_t at_ns)
{
	for (;;) {
		int64_t left_ns = at_ns - clock_mono_ns();

		if (left_ns <= 0 || f->stop || atomic_exchange(&f->now, false))
			return;
		if (left_ns > SLEEP_MAX_NS)
			left_ns = SLEEP_MAX_NS;
		(void)curl_multi_poll(f->multi, NULL, 0, (int)(left_ns / NS_PER_MS) + 1, NULL);
	}
}

static void *
thread_main(void *arg)
{
	struct http_fetch *f = arg;

	pthread_setname_np(pthread_self(), "discovery");
	while (!f->stop) {
		struct outcome *out = fetch(f);

		if (out != NULL && !f->stop)
			hand_over(f, out);
		else
			outcome_free(out);
		sleep_until(f, clock_mono_ns() + f->refresh_ns);
	}
	return NULL;
}

/* --- on the loop ----------------------------------------------------------------------------- */

static void
on_tell(struct loop_task *task)
{
	struct http_fetch *f = CONTAINER_OF(task, struct http_fetch, tell_task);
	struct outcome *out = atomic_exchange(&f->outcome, NULL);
	struct str body;

	if (out == NULL)
		return;
	body = buf_view(&out->body);
	f->done(f->ctx, out->same || out->failed ? NULL : &body, out->failed ? &out->why : NULL);
	outcome_free(out);
}

/* Signals are the main thread's. */
static int
start_thread(struct http_fetch *f, struct err *err)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&f->thread, NULL, thread_main, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		err_errno(err, rc, "start of a thread");
		return -1;
	}
	f->running = true;
	return 0;
}

static bool
copy_text(char **to, const char *from)
{
	*to = from == NULL ? NULL : strdup(from);
	return from == NULL || *to != NULL;
}

struct http_fetch *
http_fetch_new(struct loop *loop, const struct http_fetch_conf *conf, struct err *err)
{
	struct http_fetch *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		err_nomem(err);
		return NULL;
	}
	f->loop = loop;
	f->refresh_ns = conf->refresh_ns;
	f->timeout_ns = conf->timeout_ns;
	f->bytes_max = conf->bytes_max;
	f->done = conf->done;
	f->ctx = conf->ctx;
	f->tell_task.fn = on_tell;
	f->multi = curl_multi_init();
	f->curl = curl_easy_init();
	if (!copy_text(&f->url, conf->url) || !copy_text(&f->ca_file, conf->ca_file) ||
	    !copy_text(&f->bearer, conf->bearer) || f->multi == NULL || f->curl == NULL ||
	    !set_up(f)) {
		err_nomem(err);
		http_fetch_free(f);
		return NULL;
	}
	if (start_thread(f, err) != 0) {
		http_fetch_free(f);
		return NULL;
	}
	return f;
}

void
http_fetch_now(struct http_fetch *f)
{
	f->now = true;
	curl_multi_wakeup(f->multi);
}

void
http_fetch_forget(struct http_fetch *f)
{
	f->forget = true;
}

void
http_fetch_free(struct http_fetch *f)
{
	if (f == NULL)
		return;
	if (f->running) {
		f->stop = true;
		curl_multi_wakeup(f->multi);
		pthread_join(f->thread, NULL);
	}
	loop_defer_cancel(f->loop, &f->tell_task);
	outcome_free(f->outcome);
	curl_easy_cleanup(f->curl);
	curl_multi_cleanup(f->multi);
	curl_slist_free_all(f->headers);
	free(f->url);
	free(f->ca_file);
	if (f->bearer != NULL)
		explicit_bzero(f->bearer, strlen(f->bearer));
	free(f->bearer);
	free(f);
}
