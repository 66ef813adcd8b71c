/*
 * Rows of the store. The first byte says how to read the rest: as a row, which must be refused or
 * be consistent, or as what happened to positions, which must come back from the row made of it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/row_each_priv.h"

#define POSITIONS 600
#define BUCKETS   8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

/* The next n <= 8 bytes as a number; zeros beyond the end. */
static uint64_t
take(struct input *in, size_t n)
{
	uint64_t v = 0;

	if (n > in->left)
		n = in->left;
	if (n > 0)
		memcpy(&v, in->p, n);
	in->p += n;
	in->left -= n;
	return v;
}

/* A block that ends with the slack, so that a sanitizer sees a read beyond. */
static uint8_t *
with_slack(const void *bytes, size_t len)
{
	uint8_t *p = malloc(len + ROW_SLACK);

	assert(p != NULL);
	if (len > 0)
		memcpy(p, bytes, len);
	memset(p + len, 0xa7, ROW_SLACK);
	return p;
}

/* Undoes the change for values of each class: it must not matter that they fit no such row. */
static void
undo_all_classes(const struct row_undo *undo, const struct row_undo *found)
{
	static const uint64_t afters[] = { 0, 1000, UINT64_C(0x3fd3333333333333), UINT64_MAX };

	assert(found->at == undo->at && found->how == undo->how);
	for (size_t i = 0; i < sizeof(afters) / sizeof(afters[0]); i++)
		for (enum row_class class = ROW_INT; class <= ROW_F32; class ++)
			assert(row_before(undo, class, afters[i]) ==
			       row_before(found, class, afters[i]));
	for (size_t len = 0; len <= BUCKETS; len++) {
		uint64_t counts[2][BUCKETS] = { 0 };
		struct row_dist dist[2] = { { 1, 2, len, counts[0] }, { 1, 2, len, counts[1] } };

		assert(row_dist_before(undo, &dist[0], &dist[0], NULL) ==
		       row_dist_before(found, &dist[1], &dist[1], NULL));
		assert(memcmp(counts[0], counts[1], sizeof(counts[0])) == 0);
	}
}

static void
check_other(void *arg, const struct row_undo *same)
{
	struct row_undo undo;

	assert(row_next(arg, &undo));
	assert(same->at == undo.at && same->how == undo.how && same->form == undo.form);
	assert(same->form == ROW_NOTHING || same->payload == undo.payload);
}

static void
check_difference(void *arg, uint32_t at, uint64_t payload)
{
	check_other(
	    arg, &(struct row_undo){
	             .at = at, .how = ROW_SET, .form = ROW_DIFFERENCE, .payload = payload });
}

/* All changes again, at one go. */
static void
check_each(struct row row)
{
	struct row begun = row;
	struct row_undo undo;

	if (row.change_count == 0)
		return;
	begun.bytes = 0;
	assert(row_each(&begun, check_difference, check_other, &row));
	assert(!row_next(&row, &undo));
	assert(begun.bytes == row.bytes);
}

static void
ignore_difference(void *arg, uint32_t at, uint64_t payload)
{
	(void)arg;
	(void)at;
	(void)payload;
}

/* It leads to nothing outside the row. */
static void
look_at_other(void *arg, const struct row_undo *undo)
{
	const struct row *row = arg;

	assert(undo->at < row->len_before);
	assert(undo->form != ROW_BUCKETS || undo->payload + undo->nibbles <= row->end);
}

/* A row that row_open refuses is refused on the way too. */
static void
check_refused(const uint8_t *p, size_t bytes, uint32_t len_after)
{
	struct row row;

	if (row_begin(&row, p, bytes, len_after) == 0)
		assert(!row_each(&row, ignore_difference, look_at_other, &row));
}

static void
check_any_row(struct input in)
{
	uint32_t len_after = (uint32_t)take(&in, 3);
	uint8_t *p = with_slack(in.p, in.left);
	struct row_undo undo, found;
	struct row row;
	uint32_t count = 0, last = 0;

	if (row_open(&row, p, in.left, len_after) == 0) {
		assert(row.bytes > 0 && row.bytes <= in.left);
		assert(row.len_before <= len_after);
		check_each(row);
		for (; row_next(&row, &undo); count++) {
			assert(undo.at < row.len_before && (count == 0 || undo.at > last));
			assert(row_find(&row, undo.at, &found));
			undo_all_classes(&undo, &found);
			for (uint32_t at = count == 0 ? 0 : last + 1;
			     at < undo.at && at < last + 99; at++)
				assert(!row_find(&row, at, &found));
			last = undo.at;
		}
		assert(count == row.change_count);
		assert(!row_find(&row, row.len_before, &found));
	} else {
		check_refused(p, in.left, len_after);
	}
	free(p);
}

struct happened {
	uint8_t classes[POSITIONS];
	struct row_change changes[POSITIONS];
	size_t n;
	struct row_dist dists[POSITIONS][2];
	uint64_t counts[POSITIONS][2][BUCKETS];
};

/* A number of up to 8 bytes, the first byte says how many. */
static uint64_t
take_value(struct input *in)
{
	return take(in, take(in, 1) % 9);
}

static uint64_t
take_bits(struct input *in, enum row_class class)
{
	uint64_t bits = take_value(in);
	volatile float rounded;
	double value;

	if (class == ROW_F32) {
		memcpy(&value, &bits, sizeof(value));
		rounded = (float)value;
		value = (double)rounded;
		memcpy(&bits, &value, sizeof(bits));
	}
	return bits;
}

static uint64_t
take_dist(struct input *in, struct happened *what, uint32_t at, int side, size_t len)
{
	struct row_dist *dist = &what->dists[at][side];

	*dist = (struct row_dist){ .len = len, .counts = what->counts[at][side] };
	dist->rollovers = take_value(in);
	dist->sum = (double)take_value(in) / 8;
	for (size_t i = 0; i < len; i++)
		dist->counts[i] = take_value(in);
	return (uintptr_t)dist;
}

static void
take_changes(struct input *in, struct happened *what, uint32_t len)
{
	uint32_t at = (uint32_t)take(in, 1);

	for (; at < len && in->left > 0; at += 1 + (uint32_t)take(in, 1)) {
		struct row_change *change = &what->changes[what->n++];
		unsigned kind = (unsigned)take(in, 1);
		enum row_class class = (enum row_class)(kind % 5);

		what->classes[at] = (uint8_t) class;
		*change = (struct row_change){ .at = at, .how = kind / 5 % 4 };
		if (class == ROW_DIST) {
			change->before = take_dist(in, what, at, 0, kind / 20 % BUCKETS);
			change->after = take_dist(in, what, at, 1, kind / 20 % BUCKETS);
		} else {
			change->before = take_bits(in, class);
			change->after = take_bits(in, class);
		}
	}
}

static void
check_change(const struct row_undo *undo, const struct row_change *change, enum row_class class)
{
	const struct row_dist *before;
	struct row_dist *after;

	assert(undo->at == change->at && undo->how == change->how);
	if (class == ROW_REF || change->how == ROW_FLIP || change->how == ROW_BORN)
		return;
	if (class != ROW_DIST) {
		assert(row_before(undo, class, change->after) == change->before);
		return;
	}
	before = (struct row_dist *)(uintptr_t)change->before;
	after = (struct row_dist *)(uintptr_t)change->after;
	assert(row_dist_before(undo, after, after, NULL));
	assert(after->rollovers == before->rollovers);
	assert(memcmp(&after->sum, &before->sum, sizeof(after->sum)) == 0);
	assert(memcmp(after->counts, before->counts, after->len * sizeof(*after->counts)) == 0);
}

static void
exchange(struct happened *what)
{
	for (size_t i = 0; i < what->n; i++) {
		uint64_t before = what->changes[i].before;

		what->changes[i].before = what->changes[i].after;
		what->changes[i].after = before;
	}
}

/* Both rows are those that are encoded one by one; undo: the first of them. */
static void
check_both(struct happened *what, const struct buf *undo, struct row_late late, uint32_t len,
    uint32_t births)
{
	struct buf there, back, redo;

	buf_init(&there, 0);
	buf_init(&back, 0);
	buf_init(&redo, 0);
	assert(row_encode_both(&there, &back, late, len, len + births, what->classes, what->changes,
	           what->n) == 0);
	assert(there.len == undo->len && memcmp(there.p, undo->p, undo->len) == 0);
	exchange(what);
	assert(row_encode(&redo, (struct row_late){ 0, ROW_SAME }, len, len, what->classes,
	           what->changes, what->n) == 0);
	exchange(what);
	assert(back.len == redo.len && memcmp(back.p, redo.p, redo.len) == 0);
	buf_fini(&there);
	buf_fini(&back);
	buf_fini(&redo);
}

static void
check_round_trip(struct input in)
{
	static struct happened what;
	uint32_t len = (uint32_t)take(&in, 2) % POSITIONS;
	uint32_t births = (uint32_t)take_value(&in);
	struct row_late late = { (int64_t)take_value(&in), (enum row_unit)(take(&in, 1) % 6) };
	struct row_undo undo;
	struct row row;
	struct buf out;
	uint8_t *p;
	size_t n = 0;

	what.n = 0;
	take_changes(&in, &what, len);
	births = births > UINT32_MAX - len ? 0 : births;
	buf_init(&out, 0);
	if (late.unit == ROW_PATCH)
		late.units = 0;
	assert(row_encode(&out, late, len, len + births, what.classes, what.changes, what.n) == 0);
	check_both(&what, &out, late, len, births);
	p = with_slack(out.p, out.len);
	assert(row_open(&row, p, out.len, len + births) == 0);
	assert(row.bytes == out.len && row.len_before == len);
	assert(row.late.units == late.units && row.late.unit == late.unit);
	assert(row.change_count == what.n);
	for (; row_next(&row, &undo); n++) {
		const struct row_change *change = &what.changes[n];

		assert(row_find(&row, change->at, &undo));
		check_change(&undo, change, (enum row_class)what.classes[change->at]);
	}
	assert(n == what.n);
	/* Nothing that can be left off. */
	assert(row_open(&row, p, out.len - 1, len + births) == -1);
	free(p);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (take(&in, 1) % 2 == 0)
		check_any_row(in);
	else
		check_round_trip(in);
	return 0;
}
