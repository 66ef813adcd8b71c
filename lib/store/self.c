/*
 * The own metrics below /store: upstream's where they have a meaning here, and a few more.
 */
#include "base/clock.h"
#include "store/store_priv.h"

static struct store_stats
stats_of(void *ctx)
{
	struct store_stats stats;

	store_get_stats(ctx, &stats);
	return stats;
}

static struct value
read_value_count(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .i = (int64_t)stats_of(ctx).values };
}

static struct value
read_time_span(void *ctx, struct arena *arena)
{
	struct store *store = ctx;
	int64_t from_ns = store->oldest_ts_ns;

	(void)arena;
	if (from_ns == TS_NONE)
		from_ns = store->opened_ns;
	return (struct value){ .i = clock_real_ns() - from_ns };
}

static struct value
read_value_page_count(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .f = (double)stats_of(ctx).pages };
}

static struct value
read_timestamp_page_count(void *ctx, struct arena *arena)
{
	(void)ctx;
	(void)arena;
	return (struct value){ .i = 0 };
}

static struct value
read_pages_in_use(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .i = (int64_t)stats_of(ctx).pages };
}

static struct value
read_pages_total(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).pages_total };
}

static struct value
read_page_utilization(void *ctx, struct arena *arena)
{
	struct store_stats stats = stats_of(ctx);
	double bytes = (double)stats.pages * PAGE_CAP;

	(void)arena;
	return (struct value){ .f = bytes > 0 ? (double)stats.log_bytes / bytes : 0 };
}

/* A change takes half a byte at least. */
static struct value
read_max_values_per_page(void *ctx, struct arena *arena)
{
	(void)ctx;
	(void)arena;
	return (struct value){ .u = 2 * PAGE_CAP };
}

static struct value
read_bytes_per_value(void *ctx, struct arena *arena)
{
	struct store_stats stats = stats_of(ctx);
	double changes = (double)stats.values - (double)stats.series;

	(void)arena;
	return (struct value){ .f = changes > 0 ? (double)stats.log_bytes / changes : 0 };
}

static struct value
read_bytes_per_series(void *ctx, struct arena *arena)
{
	struct store_stats stats = stats_of(ctx);

	(void)arena;
	return (struct value){
		.f = stats.series > 0 ? (double)stats.bytes_used / (double)stats.series : 0
	};
}

static struct value
read_high_priority_count(void *ctx, struct arena *arena)
{
	struct store *store = ctx;

	(void)arena;
	return (struct value){ .u = store->pool.idle_pages };
}

static struct value
read_low_priority_count(void *ctx, struct arena *arena)
{
	struct store *store = ctx;
	/* One after the other, so they need not fit together. */
	uint64_t idle = store->pool.idle_pages, all = store->pool.page_count;

	(void)arena;
	return (struct value){ .u = all > idle ? all - idle : 0 };
}

static struct value
read_high_priority_ratio(void *ctx, struct arena *arena)
{
	struct store *store = ctx;
	double idle = (double)store->pool.idle_pages, all = (double)store->pool.page_count;

	(void)arena;
	return (struct value){ .f = all == 0 ? 0 : idle < all ? idle / all : 1 };
}

static struct value
time_or_never(int64_t ts_ns)
{
	return (struct value){ .i = ts_ns == TS_NONE ? 0 : ts_ns };
}

static struct value
read_first_high_priority(void *ctx, struct arena *arena)
{
	(void)arena;
	return time_or_never(((struct store *)ctx)->pool.idle_first_ns);
}

static struct value
read_first_low_priority(void *ctx, struct arena *arena)
{
	(void)arena;
	return time_or_never(((struct store *)ctx)->pool.oldest_ns);
}

static struct value
read_expanding(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .b = stats_of(ctx).pages_reclaimed == 0 };
}

static struct value
read_inactive_threshold(void *ctx, struct arena *arena)
{
	(void)ctx;
	(void)arena;
	return (struct value){ .f = 0 };
}

static struct value
read_absolute_inactive_threshold(void *ctx, struct arena *arena)
{
	(void)ctx;
	(void)arena;
	return (struct value){ .u = 1 };
}

/* The smallest and largest are known as far as the limits tell. */
static void
count_pages_per_group(void *ctx, struct dist *dist, uint64_t *counts)
{
	struct store *store = ctx;

	for (size_t i = 0; i <= PAGES_LIMITS; i++) {
		counts[i] = store->pool.stream_counts[i];
		if (counts[i] == 0 || i == 0)
			continue;
		dist->min = dist->min == 0 ? pages_limits[i - 1] : dist->min;
		dist->max = i == PAGES_LIMITS ? pages_limits[i - 1] : pages_limits[i] - 1;
	}
	dist->sum = (double)store->pool.page_count;
}

static struct value
read_bytes_used(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).bytes_used };
}

static struct value
read_bytes_limit(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).bytes_limit };
}

static struct value
read_reclaimed_pages(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).pages_reclaimed };
}

static struct value
read_series_count(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).series };
}

static struct value
read_active_series_count(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).active_series };
}

static struct value
read_endpoint_count(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = stats_of(ctx).sets };
}

static const struct own_metric rows[] = {
	{ "/store/metricValueCount", "Number of unique metrics values", UNIT_NONE, KIND_INT64, 0,
	    read_value_count },
	{ "/store/timeSpan", "Length of time for which values are kept", UNIT_SECONDS,
	    KIND_DURATION, 0, read_time_span },
	{ "/store/valuePageCount", "Number of pages used for values", UNIT_NONE, KIND_FLOAT64, 0,
	    read_value_page_count },
	{ "/store/timestampPageCount",
	    "Number of pages used for time stamps alone: they are with the values", UNIT_NONE,
	    KIND_INT64, 0, read_timestamp_page_count },
	{ "/store/totalPagesInUseCount", "Number of pages used", UNIT_NONE, KIND_INT64, 0,
	    read_pages_in_use },
	{ "/store/totalPages", "Number of pages used and still to be had", UNIT_NONE, KIND_UINT64,
	    0, read_pages_total },
	{ "/store/pageUtilization", "Part of the pages of values that is filled", UNIT_NONE,
	    KIND_FLOAT64, 0, read_page_utilization },
	{ "/store/maxValuesPerPage", "Most changes of values a page holds", UNIT_NONE, KIND_UINT64,
	    0, read_max_values_per_page },
	{ "/store/highPriorityCount",
	    "Number of pages that are reclaimed first, as the series of their group are inactive",
	    UNIT_NONE, KIND_UINT64, 0, read_high_priority_count },
	{ "/store/highPriorityRatio", "Part of the pages used that is reclaimed first", UNIT_NONE,
	    KIND_FLOAT64, 0, read_high_priority_ratio },
	{ "/store/firstHighPriorityTS",
	    "Where history begins in the page that is reclaimed next, if it is of a group of "
	    "inactive series",
	    UNIT_NONE, KIND_TIME, 0, read_first_high_priority },
	{ "/store/lowPriorityCount", "Number of pages that are reclaimed when there are no others",
	    UNIT_NONE, KIND_UINT64, 0, read_low_priority_count },
	{ "/store/firstLowPriorityTS",
	    "Where history begins in the page that is reclaimed next when there is none of "
	    "inactive series",
	    UNIT_NONE, KIND_TIME, 0, read_first_low_priority },
	{ "/store/inactiveThreshhold",
	    "Part of all pages that those of inactive series must be to go first: they always do",
	    UNIT_NONE, KIND_FLOAT64, 0, read_inactive_threshold },
	{ "/store/absoluteInactiveThreshhold",
	    "Number of pages of inactive series from which on they go first", UNIT_NONE,
	    KIND_UINT64, 0, read_absolute_inactive_threshold },
	{ "/store/expanding", "No page with values had to be reclaimed so far", UNIT_NONE,
	    KIND_BOOL, 0, read_expanding },
	{ "/store/bytesUsed", "Memory used for values and series", UNIT_BYTES, KIND_UINT64, 0,
	    read_bytes_used },
	{ "/store/bytesLimit", "Most memory used for values and series", UNIT_BYTES, KIND_UINT64, 0,
	    read_bytes_limit },
	{ "/store/bytesPerValue", "History in pages, per value that changed", UNIT_BYTES,
	    KIND_FLOAT64, 0, read_bytes_per_value },
	{ "/store/bytesPerSeries", "Memory used, per series", UNIT_BYTES, KIND_FLOAT64, 0,
	    read_bytes_per_series },
	{ "/store/reclaimedPages", "Number of pages taken from their series while they held values",
	    UNIT_NONE, KIND_UINT64, 0, read_reclaimed_pages },
	{ "/store/seriesCount", "Number of series", UNIT_NONE, KIND_UINT64, 0, read_series_count },
	{ "/store/activeSeriesCount", "Number of active series", UNIT_NONE, KIND_UINT64, 0,
	    read_active_series_count },
	{ "/store/endpointCount", "Number of endpoints with series", UNIT_NONE, KIND_UINT64, 0,
	    read_endpoint_count },
};

static const struct own_counted pages_per_group = {
	.metric = { .path = "/store/pagesPerMetric",
	    .description = "Number of pages used per group of metrics, which share them",
	    .unit = UNIT_NONE,
	    .kind = KIND_DIST,
	    .group = OWN_GROUP_COUNTED },
	.limits = pages_limits,
	.limit_count = PAGES_LIMITS,
	.count = count_pages_per_group,
};

int
store_self_add(struct store *store, struct own *own, struct err *err)
{
	if (own_add(own, rows, ARRAY_LEN(rows), store, err) != 0)
		return -1;
	if (own_add_counted(own, &pages_per_group, store, err) != 0) {
		own_remove(own, rows, store);
		return -1;
	}
	store->own = own;
	return 0;
}

void
store_self_remove(struct store *store)
{
	if (store->own == NULL)
		return;
	own_remove(store->own, rows, store);
	own_remove(store->own, &pages_per_group.metric, store);
}
