/*
 * Pages for people: the status page at /, and /showAllApps with a row per endpoint. No scripts, no
 * styles, and nothing that came from an endpoint stands in them unescaped.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "api/health_priv.h"
#include "api/markup_priv.h"
#include "api/query_priv.h"
#include "api/route_priv.h"
#include "base/clock.h"

#define HTML "text/html; charset=utf-8"

struct applications {
	struct stream stream;
	struct member **members; /* with references */
	size_t len, next;
	struct fleet_counts counts;
	bool up_only;
	bool begun;
	int64_t now_ns;
};

static void
put_time(struct buf *out, int64_t ts_ns)
{
	time_t at = (time_t)(ts_ns / NS_PER_S);
	char text[64];
	struct tm tm;

	if (gmtime_r(&at, &tm) != NULL &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) > 0)
		buf_puts(out, text);
}

static void
put_seconds(struct buf *out, int64_t ns)
{
	buf_printf(out, "%.3f s", (double)ns / (double)NS_PER_S);
}

static void
put_counts(struct buf *out, const struct fleet_counts *counts)
{
	buf_printf(out,
	    "Total Endpoints: %zu<br>\n"
	    "Total Active Endpoints: %zu<br>\n"
	    "Total Failed Endpoints: %zu<br>\n",
	    counts->total, counts->active, counts->failed);
}

static int64_t
cpu_ns(const struct timeval *used)
{
	return used->tv_sec * NS_PER_S + used->tv_usec * NS_PER_US;
}

/* A row of two cells: what, and how long. */
static void
put_span_row(struct buf *out, const char *what, int64_t ns)
{
	buf_printf(out, "<tr><td>%s</td><td>", what);
	put_seconds(out, ns);
	buf_puts(out, "</td></tr>\n");
}

static void
put_count_row(struct buf *out, const char *what, uint64_t n)
{
	buf_printf(out, "<tr><td>%s</td><td>", what);
	buf_u64(out, n);
	buf_puts(out, "</td></tr>\n");
}

static void
put_process(struct buf *out, const struct request *req)
{
	struct rusage usage;

	buf_puts(out, "<tr><td>Start time</td><td>");
	put_time(out, req->service->start_ts_ns);
	buf_puts(out, "</td></tr>\n");
	put_span_row(out, "Uptime", req->now_ns - req->service->start_ts_ns);
	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	put_span_row(out, "CPU time, user", cpu_ns(&usage.ru_utime));
	put_span_row(out, "CPU time, system", cpu_ns(&usage.ru_stime));
	put_count_row(out, "Largest resident memory, KiB", (uint64_t)usage.ru_maxrss);
}

static void
put_store(struct buf *out, struct store *store)
{
	struct store_stats stats;

	store_get_stats(store, &stats);
	put_count_row(out, "Series", stats.series);
	put_count_row(out, "Active series", stats.active_series);
	put_count_row(out, "Values in memory", stats.values);
	put_count_row(out, "Store, bytes used", stats.bytes_used);
	put_count_row(out, "Store, bytes at most", stats.bytes_limit);
}

static void
put_health(struct buf *out, const struct api_env *env)
{
	char text[ERR_TEXT_BYTES];
	const char *trouble = health_trouble(env, text);

	if (trouble == NULL)
		return;
	buf_puts(out, "<tr><td>Degraded</td><td>what is polled is not kept on disk: ");
	markup_text(out, str_of(trouble));
	buf_puts(out, "</td></tr>\n");
}

void
status_get(struct request *req, struct response *resp)
{
	const struct api_env *env = &req->service->env;
	struct fleet_counts counts;
	struct buf *out = &resp->body;

	fleet_count(env->fleet, &counts);
	resp->content_type = HTML;
	buf_puts(out, "<!DOCTYPE html>\n<html>\n<head><title>Scotty status page</title></head>\n"
	              "<body>\n<h1>Scotty status page</h1>\n<table border=\"1\">\n");
	put_process(out, req);
	put_store(out, env->store);
	put_health(out, env);
	buf_puts(out, "</table>\n<p>Raw <a href=\"/metrics\">metrics</a><br>\n"
	              "<a href=\"/showAllApps\">Applications</a><br>\n"
	              "<a href=\"/api/errors/?format=text\">Errors</a></p>\n<p>");
	put_counts(out, &counts);
	buf_puts(out, "</p>\n</body>\n</html>\n");
}

static void
put_name_cell(struct buf *out, const struct member_view *view)
{
	buf_puts(out, "<td><a href=\"/api/hosts/");
	url_escape(view->host, out);
	buf_putc(out, '/');
	url_escape(view->app, out);
	buf_puts(out, "?format=text&amp;history=0\">");
	markup_text(out, view->app);
	buf_puts(out, "</a></td>\n");
}

static void
put_status_cell(struct buf *out, const struct member_view *view)
{
	const struct endpoint_status *status = &view->status;

	buf_printf(out, "<td>%s ", ep_state_text(status->state));
	if (status->down) {
		put_time(out, status->error_ts_ns);
		buf_puts(out, ": ");
		markup_text(out, str_of(status->error));
	} else {
		markup_text(out, str_of(view->source));
	}
	buf_puts(out, "</td>\n");
}

static void
put_number_cells(struct buf *out, const struct endpoint_status *status, int64_t now_ns)
{
	buf_puts(out, "<td>");
	if (status->last_poll_ts_ns != TS_NONE)
		put_seconds(out, now_ns - status->last_poll_ts_ns);
	buf_puts(out, "</td>\n<td>");
	if (status->last_poll_ts_ns != TS_NONE)
		buf_u64(out, status->first_values);
	buf_puts(out, "</td>\n<td>");
	if (status->later_polls > 0)
		buf_printf(out, "%.1f", (double)status->later_values / (double)status->later_polls);
	buf_puts(out, "</td>\n<td>");
	if (status->last_poll_ts_ns != TS_NONE)
		put_seconds(out, status->poll_ns);
	buf_puts(out, "</td>\n");
}

static void
put_application(struct buf *out, const struct member_view *view, int64_t now_ns)
{
	buf_puts(out, "<tr>\n<td>");
	markup_text(out, view->host);
	buf_printf(out, "</td>\n<td>%u</td>\n", view->port);
	put_name_cell(out, view);
	buf_printf(out, "<td>%s</td>\n<td>%s</td>\n", view->active ? "Yes" : "No",
	    view->status.down ? "Yes" : "No");
	put_status_cell(out, view);
	put_number_cells(out, &view->status, now_ns);
	buf_puts(out, "</tr>\n");
}

static void
put_head(struct buf *out, const struct fleet_counts *counts)
{
	static const char *const columns[] = { "Machine", "Port", "Name", "Active?", "Down?",
		"Status", "Staleness", "Init Metric Count", "Avg. changing metrics", "Poll" };

	buf_puts(out, "<!DOCTYPE html>\n<html>\n<head><title>Scotty applications</title></head>\n"
	              "<body>\n<p>");
	put_counts(out, counts);
	buf_puts(out, "<a href=\"/showAllApps?up=true\">Up only</a> "
	              "<a href=\"/showAllApps\">All</a></p>\n<table border=\"1\">\n<tr>\n");
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		buf_printf(out, "<th>%s</th>\n", columns[i]);
	buf_puts(out, "</tr>\n");
}

static enum stream_result
applications_fill(struct stream *stream, struct buf *out)
{
	struct applications *a = CONTAINER_OF(stream, struct applications, stream);
	size_t end = out->len + STREAM_PIECE_BYTES;

	if (!a->begun)
		put_head(out, &a->counts);
	a->begun = true;
	while (a->next < a->len && out->len < end) {
		struct member_view view;

		member_view(a->members[a->next++], &view);
		if (!a->up_only || (view.active && !view.status.down))
			put_application(out, &view, a->now_ns);
	}
	if (a->next < a->len)
		return STREAM_MORE;
	buf_puts(out, "</table>\n</body>\n</html>\n");
	return STREAM_END;
}

static void
applications_close(struct stream *stream)
{
	struct applications *a = CONTAINER_OF(stream, struct applications, stream);

	fleet_snapshot_free(a->members, a->len);
	free(a);
}

void
applications_get(struct request *req, struct response *resp)
{
	struct fleet *fleet = req->service->env.fleet;
	struct applications *a = malloc(sizeof(*a));
	struct err err;

	if (a == NULL) {
		response_status(req, resp, 503);
		return;
	}
	*a = (struct applications){
		.stream = { applications_fill, applications_close },
		.up_only = str_eq(request_param(req, "up"), STR("true")),
		.now_ns = req->now_ns,
	};
	if (fleet_snapshot(fleet, &a->members, &a->len, &err) != 0) {
		response_err(req, resp, &err);
		free(a);
		return;
	}
	fleet_count(fleet, &a->counts);
	resp->content_type = HTML;
	resp->stream = &a->stream;
}
