/*
 * The discoverer `httpSd`: a server's target groups (sd_priv.h), asked for every so often. What it
 * answered last is kept as text, to be read again when the entry changes; a server that is gone
 * leaves its targets.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet_priv.h"
#include "fleet/http_fetch_priv.h"
#include "fleet/sd_priv.h"

struct http_sd {
	struct discoverer discoverer;
	struct discovery *discovery;
	struct http_fetch *fetch;
	char *url;
	struct buf body; /* of the last list that was believed */
	bool has_body;
	bool is_bad;     /* the document that came last */
	bool in_trouble; /* of which the log knows */
};

static const struct conf_opt http_sd_opts[] = {
	{ "httpSd", CONF_TEXT, NULL, "URL of target groups (JSON)", 0, 0 },
	{ "refresh", CONF_DURATION, "60s", "time between two requests", NS_PER_S,
	    24 * 3600 * NS_PER_S },
	{ "timeout", CONF_DURATION, "10s", "of a request", 100 * NS_PER_MS, 3600 * NS_PER_S },
	{ "caFile", CONF_TEXT, NULL, "https: CA certificates (PEM); default: the system's", 0, 0 },
	{ "bearerToken", CONF_SECRET, NULL, "for the server", 0, 0 },
	DISCOVERY_TARGET_OPTS,
	{ .name = NULL },
};

static int
yield(struct http_sd *sd, struct str text, struct err *err)
{
	struct target_list list;
	int rc;

	target_list_init(&list);
	rc = sd_read(text, "answer", &sd->discovery->defaults, &list, err);
	if (rc == 0)
		rc = discovery_yield(sd->discovery, sd->url, &list, err);
	target_list_fini(&list);
	return rc;
}

/* Keeps the text for a change of the entry. -1 with ERR_NOMEM. */
static int
keep(struct http_sd *sd, struct str text, struct err *err)
{
	struct buf copy;

	buf_init(&copy, 0);
	buf_str(&copy, text);
	if (copy.failed) {
		buf_fini(&copy);
		err_nomem(err);
		return -1;
	}
	buf_fini(&sd->body);
	sd->body = copy;
	sd->has_body = true;
	return 0;
}

static int
take(struct http_sd *sd, struct str text, struct err *err)
{
	if (sd->has_body && str_eq(text, buf_view(&sd->body))) {
		discovery_confirm(sd->discovery);
		return 0;
	}
	if (str_trim(text).len == 0 || str_trim(text).p[0] != '[') {
		err_set(err, ERR_PROTO, "answer is not a JSON list");
		return -1;
	}
	return yield(sd, text, err) == 0 ? keep(sd, text, err) : -1;
}

static void
complain(struct http_sd *sd, const struct err *why)
{
	discovery_failed(sd->discovery);
	if (sd->in_trouble)
		return;
	sd->in_trouble = true;
	log_error("fleet", "target server %s: %s; %s", sd->url, why->text,
	    sd->has_body ? "its last good list stays" : "it has given no list yet");
}

static void
on_done(void *ctx, const struct str *body, const struct err *why)
{
	struct http_sd *sd = ctx;
	struct err err;

	lock_take(&sd->discovery->fleet->registry_lock);
	if (why == NULL && body != NULL) {
		sd->is_bad = take(sd, *body, &err) != 0;
		if (sd->is_bad)
			http_fetch_forget(sd->fetch);
	} else if (why == NULL && sd->is_bad) {
		err_set(&err, ERR_PROTO, "answered that its last list, which is no good, stands");
	} else if (why == NULL) {
		discovery_confirm(sd->discovery);
	}
	if (why == NULL && sd->is_bad)
		why = &err;
	if (why != NULL)
		complain(sd, why);
	else if (sd->in_trouble)
		log_info("fleet", "target server is good again: url=%s", sd->url);
	if (why == NULL)
		sd->in_trouble = false;
	lock_drop(&sd->discovery->fleet->registry_lock);
}

/* Has the server asked as the entry says now. -1 with err. */
static int
start(struct http_sd *sd, struct err *err)
{
	const struct conf *conf = sd->discovery->conf;
	struct http_fetch_conf fetch = {
		.url = sd->url,
		.refresh_ns = conf_duration_ns(conf, http_sd_opts, "refresh"),
		.timeout_ns = conf_duration_ns(conf, http_sd_opts, "timeout"),
		.bytes_max = SD_BYTES_MAX,
		.done = on_done,
		.ctx = sd,
	};
	struct str ca_file = conf_text(conf, http_sd_opts, "caFile");
	char *bearer = NULL;

	/* Text of a tree ends in a NUL. */
	fetch.ca_file = ca_file.len == 0 ? NULL : ca_file.p;
	if (conf_secret(conf, "bearerToken", &bearer, err) != 0)
		return -1;
	fetch.bearer = bearer;
	http_fetch_free(sd->fetch);
	sd->fetch = http_fetch_new(sd->discovery->fleet->loop, &fetch, err);
	conf_secret_free(bearer);
	return sd->fetch == NULL ? -1 : 0;
}

static void
http_sd_close(struct discoverer *discoverer)
{
	struct http_sd *sd = CONTAINER_OF(discoverer, struct http_sd, discoverer);

	http_fetch_free(sd->fetch);
	buf_fini(&sd->body);
	free(sd->url);
	free(sd);
}

static struct discoverer *
http_sd_open(struct discovery *discovery, struct err *err)
{
	struct http_sd *sd = calloc(1, sizeof(*sd));

	if (sd == NULL) {
		err_nomem(err);
		return NULL;
	}
	sd->discoverer.ops = &discoverer_http_sd;
	sd->discovery = discovery;
	buf_init(&sd->body, 0);
	sd->url = str_dup(conf_text(discovery->conf, http_sd_opts, "httpSd"));
	if (sd->url == NULL)
		err_nomem(err);
	if (sd->url == NULL || start(sd, err) != 0) {
		http_sd_close(&sd->discoverer);
		return NULL;
	}
	return &sd->discoverer;
}

static void
http_sd_refresh(struct discoverer *discoverer)
{
	struct http_sd *sd = CONTAINER_OF(discoverer, struct http_sd, discoverer);
	struct err err;

	if (sd->has_body && yield(sd, buf_view(&sd->body), &err) != 0)
		complain(sd, &err);
	/* Asks at once. */
	if (start(sd, &err) != 0)
		complain(sd, &err);
}

static void
http_sd_check(const struct conf *entry, struct conf_report *report)
{
	const struct conf *node = conf_child(entry, "httpSd");
	const char *fault = http_fetch_url_fault(node->text);

	if (fault != NULL)
		conf_complain(report, node, "'httpSd' %s", fault);
}

const struct discoverer_ops discoverer_http_sd = {
	.key = "httpSd",
	.help = "Prometheus' http_sd",
	.origin = ORIGIN_HTTP_SD,
	.opts = http_sd_opts,
	.check = http_sd_check,
	.open = http_sd_open,
	.refresh = http_sd_refresh,
	.close = http_sd_close,
};
