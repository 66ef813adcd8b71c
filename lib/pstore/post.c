#include "pstore/post.h"

#include <curl/curl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/gzipper.h"

#define CONNECT_MS      5000L
#define KEPT_BYTES      ((size_t)4096)
#define ANSWER_BYTES    ((size_t)1024 * 1024)
#define UPLOAD_BYTES    (256L * 1024) /* given to the kernel at a time */
#define ERROR_TEXT_MOST 300
/* In texts, without its query. */
#define SHOWN_URL(post) (int)strcspn((post)->url, "?"), (post)->url

struct post {
	CURL *easy;
	struct curl_slist *headers;
	char *url;
	bool gzip;
	const atomic_bool *stop;
	struct buf packed;
	char *text; /* keep_bytes */
	size_t keep_bytes, text_len, answer_bytes;
	char curl_text[CURL_ERROR_SIZE];
};

int
post_check_url(struct str url, struct err *err)
{
	const char *colon = url.len == 0 ? NULL : memchr(url.p, ':', url.len);
	struct str scheme = str_sub(url, 0, colon == NULL ? 0 : (size_t)(colon - url.p));

	if (str_starts(url, STR("http://")) || str_starts(url, STR("https://")))
		return 0;
	err_set(err, ERR_CONFIG,
	    "Unsupported protocol scheme: %.*s, your address must start with http:// or https://",
	    STR_ARG(scheme));
	return -1;
}

static size_t
take_content(char *bytes, size_t size, size_t n, void *ctx)
{
	struct post *post = ctx;
	size_t len = size * n, room = post->keep_bytes - post->text_len;

	memcpy(post->text + post->text_len, bytes, len < room ? len : room);
	post->text_len += len < room ? len : room;
	post->answer_bytes += len;
	return post->answer_bytes > ANSWER_BYTES ? 0 : len;
}

/* Called about once a second at least. */
static int
look_for_stop(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct post *post = ctx;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return post->stop != NULL && *post->stop;
}

static int
add_header(struct post *post, const char *header)
{
	struct curl_slist *headers = curl_slist_append(post->headers, header);

	if (headers == NULL)
		return -1;
	post->headers = headers;
	return 0;
}

static int
set_options(struct post *post, const struct post_conf *conf)
{
	CURL *easy = post->easy;
	struct str ca = conf_text(conf->conf, conf->opts, "caFile");
	long timeout_ms = (long)(conf_duration_ns(conf->conf, conf->opts, "timeout") / NS_PER_MS);
	bool ok = true;

#define SET(option, value) ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK
	SET(CURLOPT_URL, conf->url);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_HTTPHEADER, post->headers);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	SET(CURLOPT_TIMEOUT_MS, timeout_ms);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
	SET(CURLOPT_WRITEFUNCTION, take_content);
	SET(CURLOPT_WRITEDATA, post);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, look_for_stop);
	SET(CURLOPT_XFERINFODATA, post);
	SET(CURLOPT_ERRORBUFFER, post->curl_text);
	/* A resolver that hangs must not hold up the end of the process. */
	SET(CURLOPT_QUICK_EXIT, 1L);
	if (ca.len > 0)
		SET(CURLOPT_CAINFO, ca.p); /* ended by a NUL */
	if (conf->user != NULL) {
		SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		SET(CURLOPT_USERNAME, conf->user);
		SET(CURLOPT_PASSWORD, conf->password != NULL ? conf->password : "");
	}
#undef SET
	return ok ? 0 : -1;
}

/* Whether the writer lets its requests be compressed, and is told to. */
static bool
wants_gzip(const struct post_conf *conf)
{
	for (const struct conf_opt *opt = conf->opts; opt->name != NULL; opt++) {
		if (strcmp(opt->name, "gzip") == 0)
			return conf_bool(conf->conf, conf->opts, "gzip");
	}
	return false;
}

struct post *
post_new(const struct post_conf *conf, struct err *err)
{
	struct post *post = calloc(1, sizeof(*post));
	int rc = 0;

	if (post == NULL) {
		err_nomem(err);
		return NULL;
	}
	post->stop = conf->stop;
	post->gzip = wants_gzip(conf);
	post->keep_bytes = conf->keep_bytes > 0 ? conf->keep_bytes : KEPT_BYTES;
	post->text = malloc(post->keep_bytes);
	buf_init(&post->packed, 0);
	post->url = strdup(conf->url);
	post->easy = curl_easy_init();
	for (size_t i = 0; i < POST_HEADERS && conf->headers[i] != NULL && rc == 0; i++)
		rc = add_header(post, conf->headers[i]);
	/* Without asking first whether a large content may come: it costs a round trip. */
	if (rc == 0)
		rc = add_header(post, "Expect:");
	if (rc == 0 && post->gzip)
		rc = add_header(post, "Content-Encoding: gzip");
	if (rc == 0 && post->text != NULL && post->url != NULL && post->easy != NULL &&
	    set_options(post, conf) == 0)
		return post;
	err_nomem(err);
	post_free(post);
	return NULL;
}

void
post_free(struct post *post)
{
	if (post == NULL)
		return;
	if (post->easy != NULL)
		curl_easy_cleanup(post->easy);
	curl_slist_free_all(post->headers);
	buf_fini(&post->packed);
	free(post->text);
	free(post->url);
	free(post);
}

/* The body as it is sent. False when out of memory. */
static bool
pack(struct post *post, struct str *body)
{
	struct gzipper *gzipper;
	bool ok;

	if (!post->gzip)
		return true;
	buf_clear(&post->packed);
	gzipper = gzipper_new();
	ok = gzipper != NULL && gzipper_add(gzipper, *body, true, &post->packed);
	gzipper_free(gzipper);
	*body = buf_view(&post->packed);
	return ok;
}

void
post_send(struct post *post, struct str body, struct post_answer *answer, struct err *err)
{
	curl_off_t retry_after_s = 0;
	CURLcode rc;

	*answer = (struct post_answer){ .status = 0 };
	post->text_len = post->answer_bytes = 0;
	post->curl_text[0] = '\0';
	if (!pack(post, &body)) {
		err_nomem(err);
		return;
	}
	curl_easy_setopt(post->easy, CURLOPT_POSTFIELDS, body.p);
	curl_easy_setopt(post->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	rc = curl_easy_perform(post->easy);
	if (rc != CURLE_OK) {
		err_set(err, rc == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO, "%.*s: %s",
		    SHOWN_URL(post),
		    post->curl_text[0] != '\0' ? post->curl_text : curl_easy_strerror(rc));
		return;
	}
	curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(post->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	answer->text = (struct str){ post->text, post->text_len };
	/* Beyond a year it means nothing, and would overflow. */
	if (retry_after_s > 0 && retry_after_s < 366 * 24 * 3600)
		answer->retry_after_ns = retry_after_s * NS_PER_S;
}

static enum write_status
status_meaning(long status)
{
	if (status >= 200 && status <= 299)
		return WRITE_DONE;
	if (status == 400 || status == 422)
		return WRITE_REFUSED;
	if (status == 413)
		return WRITE_TOO_LARGE;
	if (status == 408 || status == 425 || status == 429 || status >= 500)
		return WRITE_LATER;
	return WRITE_MISCONFIGURED;
}

void
post_judge(const struct post *post, const struct post_answer *answer, const struct err *err,
    struct write_answer *out)
{
	struct str text = str_trim(str_sub(answer->text, 0, ERROR_TEXT_MOST));

	if (answer->status == 0) {
		out->status = WRITE_LATER;
		out->err = *err;
		return;
	}
	out->status = status_meaning(answer->status);
	out->retry_after_ns = answer->retry_after_ns;
	if (out->status != WRITE_DONE)
		err_set(&out->err, ERR_PROTO, "%.*s: %ld%s%.*s", SHOWN_URL(post), answer->status,
		    text.len > 0 ? ": " : "", STR_ARG(text));
}
