#include "store/pace_priv.h"

/*
 * From there on a row is not late: the interval is another one, or a poll was left out. Then the
 * step is the distance from the row before.
 */
#define OTHER_PACE_NS (INT64_C(1) << 28)
/*
 * The parts of a row's lateness by which grid and step are corrected, as shifts. They damp
 * critically; times that scatter round a grid are then expected with 1.2 times their own variance,
 * and a clock that drifts is followed in ten rows.
 */
#define GRID_SHIFT 2
#define STEP_SHIFT 5

/* As late as takes no more than the shortest row. */
#define SMALL_UNITS 32

static const int64_t unit_ns[] = { 1, 1000, 1000000, 1000000000 };

static int64_t
add(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t
sub(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t
correction(int64_t late_ns, unsigned shift)
{
	if (late_ns >= OTHER_PACE_NS || late_ns <= -OTHER_PACE_NS)
		return late_ns;
	return late_ns >> shift;
}

/* Divided by what the compiler knows: half of what going back over a row costs. */
static int64_t
rounded(int64_t ns, enum row_unit unit)
{
	switch ((int)unit) {
	case ROW_US:
		return ns - ns % 1000;
	case ROW_MS:
		return ns - ns % 1000000;
	case ROW_S:
		return ns - ns % 1000000000;
	default:
		return ns;
	}
}

static enum row_unit
coarsest_unit(int64_t ts_ns, enum row_unit at_most)
{
	enum row_unit unit = at_most;

	while (unit > ROW_NS && ts_ns % unit_ns[unit] != 0)
		unit--;
	return unit;
}

void
pace_begin(struct pace *pace, int64_t ts_ns)
{
	*pace = (struct pace){ .expected_ns = ts_ns, .unit = coarsest_unit(ts_ns, ROW_S) };
}

int64_t
pace_ts(const struct pace *pace)
{
	return add(rounded(pace->expected_ns, pace->unit), pace->late_ns);
}

/* How late a time is, which is a multiple of the unit. */
static void
set_late(struct pace *pace, int64_t ts_ns, enum row_unit unit)
{
	/* What wraps round is no multiple of a coarser unit. */
	if (__builtin_sub_overflow(ts_ns, rounded(pace->expected_ns, unit), &pace->late_ns)) {
		unit = ROW_NS;
		pace->late_ns = sub(ts_ns, pace->expected_ns);
	}
	pace->unit = unit;
}

struct row_late
pace_advance(struct pace *pace, int64_t ts_ns)
{
	struct pace before = *pace;
	int64_t small_ns;

	pace->expected_ns =
	    add(before.expected_ns, add(correction(before.late_ns, GRID_SHIFT), before.step_ns));
	set_late(pace, ts_ns, coarsest_unit(ts_ns, before.unit));
	small_ns = SMALL_UNITS * unit_ns[pace->unit];
	/* A coarser unit, if that makes it less; not when only one time is a multiple by chance. */
	if (pace->late_ns > small_ns || pace->late_ns < -small_ns)
		set_late(pace, ts_ns, coarsest_unit(pace_ts(&before), coarsest_unit(ts_ns, ROW_S)));
	pace->step_ns = add(before.step_ns, correction(pace->late_ns, STEP_SHIFT));
	return (struct row_late){
		.units = before.late_ns / unit_ns[before.unit],
		.unit = before.unit == pace->unit ? ROW_SAME : before.unit,
	};
}

void
pace_undo(struct pace *pace, struct row_late before)
{
	if (before.unit == ROW_PATCH)
		return;
	pace->step_ns = sub(pace->step_ns, correction(pace->late_ns, STEP_SHIFT));
	if (before.unit != ROW_SAME)
		pace->unit = before.unit;
	pace->late_ns = (int64_t)((uint64_t)before.units * (uint64_t)unit_ns[pace->unit]);
	pace->expected_ns =
	    sub(pace->expected_ns, add(correction(pace->late_ns, GRID_SHIFT), pace->step_ns));
}
