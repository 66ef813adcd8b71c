/*
 * Two plain-text views into the store: /api/earliest/[PATH], from when on the history of a path is
 * whole, and /api/tsdb/HOST/APP/PATH, a numeric metric at each time of its group, as numbers.
 */
#include <stdlib.h>

#include "api/hosts_priv.h"
#include "base/clock.h"
#include "messages/number.h"
#include "store/iter.h"

#define TSDB_MINUTES 360
#define RECORDS      64
#define MOST_POINTS  16384 /* 256 KiB; the newest are shown */

struct point {
	int64_t ts_ns;
	double value;
};

struct points {
	struct point *p;
	size_t len;
	bool found; /* a numeric series has the path */
	int64_t earliest_ns;
	int64_t cut_ns; /* see iter_cut_ns */
};

static void
put_number(struct buf *out, double value)
{
	char text[NUMBER_BYTES];

	buf_add(out, text, number_f64_g(text, value));
}

/* Seconds as upstream counts them, in a double. */
static double
seconds(int64_t ts_ns)
{
	return (double)(ts_ns / NS_PER_S) + (double)(ts_ns % NS_PER_S) * 1e-9;
}

static void
note_earliest(int64_t *earliest_ns, int64_t ns)
{
	if (ns > *earliest_ns)
		*earliest_ns = ns;
}

/* The latest time from which every numeric series of that path is whole. 0 or -1. */
static int
find_earliest(struct store *store, struct str path, int64_t *earliest_ns, struct err *err)
{
	struct series_set *const *sets;
	size_t n;
	int rc = -1;

	*earliest_ns = 0;
	if (sets_snapshot(store, &sets, &n, err) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct iter *iter = iter_new(sets[i], path, ITER_EXACT, err);
		const struct metric_desc *desc;

		if (iter == NULL)
			goto out;
		while (iter_next_series(iter, &desc)) {
			if (kind_is_numeric(desc->kind))
				note_earliest(earliest_ns, iter_earliest_kept(iter));
		}
		iter_free(iter);
	}
	rc = 0;
out:
	sets_free(sets, n);
	return rc;
}

void
earliest_get(struct request *req, struct response *resp)
{
	struct str path;
	int64_t earliest_ns;
	struct err err;

	if (request_metric_path(req, req->rest, &path, &err) != 0 ||
	    find_earliest(req->service->env.store, path, &earliest_ns, &err) != 0) {
		response_err(req, resp, &err);
		return;
	}
	response_text(resp, 200, "PATH:  ");
	buf_str(&resp->body, path);
	buf_puts(&resp->body, "\nEarliest:  ");
	put_number(&resp->body, seconds(earliest_ns));
	buf_putc(&resp->body, '\n');
}

/* A series' values, newest first, one at a time. */
struct changes {
	struct iter *iter;
	struct record records[RECORDS];
	size_t len, at;
};

/* The newest that is not gone by; NULL at the end. */
static const struct record *
changes_peek(struct changes *changes)
{
	if (changes->at == changes->len) {
		changes->len = iter_read(changes->iter, changes->records, RECORDS);
		changes->at = 0;
	}
	return changes->len == 0 ? NULL : &changes->records[changes->at];
}

static void
add_point(struct points *points, int64_t ts_ns, const struct record *record)
{
	if (record->active && points->len < MOST_POINTS)
		points->p[points->len++] =
		    (struct point){ ts_ns, value_to_double(record->desc->kind, &record->value) };
}

/*
 * Adds what the current series was at each time of its group since start, newest first, as upstream
 * does; what is older than these times are, at the times it changed.
 */
static void
add_points(struct points *points, struct iter *iter, int64_t start_ns)
{
	struct changes changes = { .iter = iter };
	const struct record *record;
	int64_t times[RECORDS];
	size_t n;

	/* The start is part of it, which for the iterator it is not. */
	iter_range(iter, start_ns > INT64_MIN ? start_ns - 1 : start_ns, INT64_MAX);
	while (points->len < MOST_POINTS && (n = iter_read_times(iter, times, RECORDS)) > 0) {
		for (size_t i = 0; i < n; i++) {
			while (
			    (record = changes_peek(&changes)) != NULL && record->ts_ns > times[i])
				changes.at++;
			if (record != NULL)
				add_point(points, times[i], record);
			if (record != NULL && record->ts_ns == times[i])
				changes.at++;
		}
	}
	for (; (record = changes_peek(&changes)) != NULL && points->len < MOST_POINTS;
	     changes.at++) {
		if (record->ts_ns >= start_ns)
			add_point(points, record->ts_ns, record);
	}
}

static int
point_cmp(const void *a, const void *b)
{
	const struct point *x = a, *y = b;

	return (x->ts_ns > y->ts_ns) - (x->ts_ns < y->ts_ns);
}

static int
find_points(struct points *points, struct series_set *set, struct str path, int64_t start_ns,
    struct err *err)
{
	struct iter *iter = iter_new(set, path, ITER_EXACT, err);
	const struct metric_desc *desc;
	bool failed;

	if (iter == NULL || iter_reach(iter, start_ns, err) != 0) {
		iter_free(iter);
		return -1;
	}
	while (iter_next_series(iter, &desc)) {
		if (!kind_is_numeric(desc->kind))
			continue;
		points->found = true;
		note_earliest(&points->earliest_ns, iter_earliest(iter));
		add_points(points, iter, start_ns);
	}
	failed = iter_failed(iter);
	points->cut_ns = iter_cut_ns(iter);
	iter_free(iter);
	if (failed) {
		err_nomem(err);
		return -1;
	}
	if (points->len > 0)
		qsort(points->p, points->len, sizeof(*points->p), point_cmp);
	return 0;
}

static void
put_points(struct buf *out, const struct points *points)
{
	buf_puts(out, "EARLIEST= ");
	put_number(out, seconds(points->earliest_ns));
	buf_puts(out, points->found ? "\nOK= true\n" : "\nOK= false\n");
	for (size_t i = 0; i < points->len; i++) {
		put_number(out, seconds(points->p[i].ts_ns));
		buf_putc(out, ' ');
		put_number(out, points->p[i].value);
		buf_putc(out, '\n');
	}
}

void
tsdb_get(struct request *req, struct response *resp)
{
	struct points points = { .p = malloc(MOST_POINTS * sizeof(*points.p)) };
	struct series_set *set = NULL;
	struct str rest = req->rest, path;
	int64_t start_ns;
	struct err err;
	int rc = -1;

	if (points.p == NULL) {
		err_nomem(&err);
		goto out;
	}
	set = request_series(req, &rest, &err);
	if (set == NULL || request_metric_path(req, rest, &path, &err) != 0)
		goto out;
	if (path.len == 0) {
		err_set(&err, ERR_NOTFOUND, "the path needs a metric");
		goto out;
	}
	start_ns = request_history_start(req, TSDB_MINUTES);
	rc = find_points(&points, set, path, start_ns, &err);
	if (rc != 0)
		goto out;
	response_text(resp, 200, "");
	response_history_cut(req, resp, start_ns, points.cut_ns);
	put_points(&resp->body, &points);
out:
	if (rc != 0)
		response_err(req, resp, &err);
	series_set_unref(set);
	free(points.p);
}
