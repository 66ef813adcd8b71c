#include "store/feed_priv.h"

/* Times of the group later than after_ns; the value is the one as of then. */
static void
start_times(struct feed *feed, const struct group *group, int64_t after_ns)
{
	/* A marker whose time was given up is not to come at a later one. */
	if (after_ns < group->lost_ns)
		after_ns = group->lost_ns;
	if (group == feed->series->group && after_ns < feed->series->joined_ns)
		after_ns = feed->series->joined_ns;
	feed->group = group;
	walk_to(&feed->times, &group->times, after_ns);
	walk_to(&feed->values, &feed->series->values, after_ns);
}

void
feed_start(struct feed *feed, const struct series *series, enum cursor_mode mode, int64_t after_ns)
{
	int64_t first_ns = chain_first_ns(&series->values);

	*feed = (struct feed){ .series = series };
	if (after_ns < first_ns)
		after_ns = first_ns - 1;
	if (mode == CURSOR_CHANGES)
		walk_to(&feed->values, &series->values, after_ns);
	else if (after_ns < series->left_ns)
		start_times(feed, series->old_group, after_ns);
	else
		start_times(feed, series->group, after_ns);
}

/* The next time of the groups the series was in. */
static bool
next_time(struct feed *feed, int64_t *ts_ns)
{
	const struct series *series = feed->series;

	if (feed->group != series->group) {
		if (walk_next(&feed->times)) {
			*ts_ns = walk_point(&feed->times).ts_ns;
			if (*ts_ns <= series->left_ns)
				return true;
		}
		start_times(feed, series->group, series->left_ns);
	}
	if (!walk_next(&feed->times))
		return false;
	*ts_ns = walk_point(&feed->times).ts_ns;
	return true;
}

/* Moves on to the value as of ts_ns. True if that is another point. */
static bool
catch_up(struct feed *feed, int64_t ts_ns)
{
	struct walk next = feed->values;
	bool moved = false;

	while (walk_next(&next) && walk_point(&next).ts_ns <= ts_ns) {
		feed->values = next;
		moved = true;
	}
	return moved;
}

static void
set_record(const struct feed *feed, int64_t ts_ns, struct feed_record *out)
{
	*out = (struct feed_record){
		.ts_ns = ts_ns,
		.bits = walk_point(&feed->values).bits,
		.active = walk_active(&feed->values),
		.group = feed->group,
	};
}

bool
feed_next(struct feed *feed, struct feed_record *out)
{
	int64_t ts_ns;

	if (feed->group == NULL) {
		if (!walk_next(&feed->values))
			return false;
		set_record(feed, walk_point(&feed->values).ts_ns, out);
		return true;
	}
	while (next_time(feed, &ts_ns)) {
		bool moved = catch_up(feed, ts_ns);

		if (feed->values.where == WALK_BEFORE || (!moved && !walk_active(&feed->values)))
			continue;
		set_record(feed, ts_ns, out);
		return true;
	}
	return false;
}
