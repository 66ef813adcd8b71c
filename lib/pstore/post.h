/*
 * pstore/post.h - what writers that speak HTTP share: POST over a connection that is kept, with
 * deadlines, and what an answer's status means.
 *
 * Redirects are not followed, proxies of the environment not used. Of an answer's content the first
 * 4 KiB, or what the writer asks for, are kept; one of more than a MiB is cut off.
 *
 * Threads: a post belongs to one thread.
 */
#ifndef SCOTTY_PSTORE_POST_H
#define SCOTTY_PSTORE_POST_H

#include "pstore/writer.h"

struct post;

/* Rows for a writer's table of options; the first for those whose requests gzip may not touch. */
#define POST_OPTS_PLAIN                                                                            \
	{ "timeout", CONF_DURATION, "30s", "for a request, from its begin to the answer's end",    \
		INT64_C(100000000), INT64_C(3600000000000) },                                      \
	{                                                                                          \
		"caFile", CONF_TEXT, NULL, "https: certificates to trust; absent = the system's",  \
		    0, 0                                                                           \
	}
#define POST_OPTS                                                                                  \
	POST_OPTS_PLAIN,                                                                           \
	{                                                                                          \
		"gzip", CONF_BOOL, "false", "true: requests are compressed", 0, 0                  \
	}

#define POST_HEADERS 6
struct post_conf {
	const char *url;                   /* http or https; copied, as all here */
	const char *headers[POST_HEADERS]; /* "Name: value"; "Name;" for an empty one; NULL ends */
	const char *user, *password;       /* basic authentication; user NULL = none */
	size_t keep_bytes;                 /* of an answer's content; 0 = 4 KiB */
	/* The map with the rows of POST_OPTS or POST_OPTS_PLAIN, checked against opts. */
	const struct conf *conf;
	const struct conf_opt *opts;
	const atomic_bool *stop; /* may be NULL */
};

/*
 * Checks that url begins with http:// or https://; the text is upstream's. -1 with ERR_CONFIG.
 */
int post_check_url(struct str url, struct err *);
/* Nothing is connected yet. NULL with ERR_NOMEM. */
struct post *post_new(const struct post_conf *, struct err *);
void post_free(struct post *); /* NULL is fine */

struct post_answer {
	long status;     /* 0: there was none */
	struct str text; /* its content, cut; valid until the next call */
	int64_t retry_after_ns;
};
/* Sends and waits. Where there was no whole answer, status is 0 and err tells why. */
void post_send(struct post *, struct str body, struct post_answer *, struct err *);

/*
 * What an answer means to most servers; err is post_send's.
 *
 *   2xx DONE; 400, 422 REFUSED; 413 TOO_LARGE; none, 408, 425, 429, 5xx LATER; others MISCONFIGURED
 */
void post_judge(
    const struct post *, const struct post_answer *, const struct err *, struct write_answer *);

#endif
