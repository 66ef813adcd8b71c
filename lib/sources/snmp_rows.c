#include "sources/snmp_rows_priv.h"

#include <assert.h>

#include "base/clock.h"
#include "base/hash.h"
#include "sources/snmp_text.h"

#define FIRST_ROOM 64
/* The tags of a metric: of its row, the row's index, and its own OID. */
#define TAGS_MOST (SNMP_LABELS_MOST + 2)

void
snmp_rows_init(struct snmp_rows *rows, struct arena *arena)
{
	*rows = (struct snmp_rows){ .arena = arena };
}

static bool
make_room(struct snmp_rows *rows)
{
	size_t cap = rows->cap == 0 ? FIRST_ROOM : rows->cap * 2;
	struct snmp_varbind *all;
	uint32_t *runs;

	if (rows->len < rows->cap)
		return true;
	all = arena_array(rows->arena, cap, sizeof(*all));
	runs = arena_array(rows->arena, cap, sizeof(*runs));
	if (all == NULL || runs == NULL)
		return false;
	if (rows->len > 0) {
		memcpy(all, rows->all, rows->len * sizeof(*all));
		memcpy(runs, rows->runs, rows->len * sizeof(*runs));
	}
	rows->all = all;
	rows->runs = runs;
	rows->cap = cap;
	return true;
}

bool
snmp_rows_sort(struct snmp_rows *rows, uint32_t run_count)
{
	size_t *begins = arena_array(rows->arena, (size_t)run_count + 1, sizeof(*begins));
	struct snmp_varbind *all = arena_array(rows->arena, rows->len, sizeof(*all));

	if (begins == NULL || all == NULL)
		return false;
	memset(begins, 0, ((size_t)run_count + 1) * sizeof(*begins));
	for (size_t i = 0; i < rows->len; i++) {
		assert(rows->runs[i] < run_count);
		begins[rows->runs[i] + 1]++;
	}
	for (uint32_t run = 0; run < run_count; run++)
		begins[run + 1] += begins[run];
	for (size_t i = 0; i < rows->len; i++)
		all[begins[rows->runs[i]]++] = rows->all[i];
	rows->all = all;
	return true;
}

static bool
keep_oid(struct arena *arena, struct snmp_oid *oid)
{
	uint32_t *ids = arena_array(arena, oid->len, sizeof(*ids));

	if (ids == NULL)
		return false;
	if (oid->len > 0)
		memcpy(ids, oid->ids, oid->len * sizeof(*ids));
	oid->ids = ids;
	return true;
}

bool
snmp_rows_keep(struct snmp_rows *rows, const struct snmp_varbind *varbind, uint32_t run)
{
	struct snmp_varbind copy = *varbind;

	if (!make_room(rows) || !keep_oid(rows->arena, &copy.name))
		return false;
	if (copy.type == SNMP_OID && !keep_oid(rows->arena, &copy.oid))
		return false;
	if (copy.type == SNMP_OCTETS || copy.type == SNMP_IPADDRESS || copy.type == SNMP_OPAQUE) {
		copy.octets = arena_copy(rows->arena, copy.octets);
		if (copy.octets.p == NULL)
			return false;
	}
	rows->all[rows->len] = copy;
	rows->runs[rows->len++] = run;
	return true;
}

/* A row of a table, or of several that name their rows alike. */
struct row {
	const struct snmp_table *group;
	struct snmp_oid index; /* lent from a varbind */
	struct str index_text;
	struct str labels[SNMP_LABELS_MOST]; /* as sent; .p NULL = not seen */
	struct str tags[SNMP_LABELS_MOST];
	struct str name;   /* a path's component: the best label, else the index */
	bool shared;       /* another row of the group has that name */
	struct row *next;  /* as they came */
	struct row *alike; /* of the same index in another group */
	struct row *namesake;
};

/* What one conversion works with. */
struct naming {
	const struct snmp_names *names;
	struct batch *batch;
	struct map rows;  /* by index */
	struct map named; /* by name */
	struct row *first, *last, *guess;
	bool no_memory; /* of the maps; the arena's failure is seen by its size */
	/* Where the varbind before belongs: most follow one of the same column. */
	const struct snmp_object *object;
	const struct snmp_column *columns;
	size_t column_count;
	struct snmp_oid column;
};

static struct str
index_key(struct snmp_oid index)
{
	return (struct str){ (const char *)index.ids, index.len * sizeof(*index.ids) };
}

static struct snmp_oid
instance(struct snmp_oid name, size_t object_len)
{
	return (struct snmp_oid){ name.ids + object_len, name.len - object_len };
}

static bool
is_row(const struct row *row, const struct snmp_table *group, struct snmp_oid index)
{
	return row != NULL && row->group == group &&
	       str_eq(index_key(row->index), index_key(index));
}

static struct row *
add_row(struct naming *n, const struct snmp_table *group, struct snmp_oid index, struct row *alike)
{
	struct row *row = arena_alloc(&n->batch->arena, sizeof(*row));

	if (row == NULL)
		return NULL;
	*row = (struct row){ .group = group, .index = index, .alike = alike };
	if (!snmp_text_oid(&n->batch->arena, index, &row->index_text))
		return NULL;
	if (map_put(&n->rows, index_key(index), row) != 0) {
		n->no_memory = true;
		return NULL;
	}
	if (n->last == NULL)
		n->first = row;
	else
		n->last->next = row;
	n->last = row;
	return row;
}

/* The row, made if it is new; NULL without memory. Rows come in the same order column by column. */
static struct row *
get_row(struct naming *n, const struct snmp_table *group, struct snmp_oid index)
{
	struct row *row = n->guess, *first;

	if (!is_row(row, group, index)) {
		first = map_get(&n->rows, index_key(index));
		for (row = first; row != NULL && row->group != group; row = row->alike)
			;
		if (row == NULL)
			row = add_row(n, group, index, first);
	}
	if (row != NULL)
		n->guess = row->next;
	return row;
}

/* Finds where the varbind belongs. */
static void
place(struct naming *n, struct snmp_oid name)
{
	if (n->column.len > 0 && snmp_oid_is_under(name, n->column))
		return;
	n->object = snmp_names_find(n->names, name);
	n->column_count = snmp_names_columns(n->names, name, &n->columns);
	n->column = n->object != NULL ? n->object->oid : (struct snmp_oid){ NULL, 0 };
	/* An object's own columns all lie where it does; what is unknown is looked up each time. */
}

/* Notes what the varbind says about its row. */
static bool
note_label(struct naming *n, const struct snmp_varbind *varbind)
{
	for (size_t i = 0; i < n->column_count; i++) {
		const struct snmp_column *column = &n->columns[i];
		struct row *row =
		    get_row(n, column->group, instance(varbind->name, column->oid.len));

		if (row == NULL)
			return false;
		if (varbind->type != SNMP_OCTETS)
			continue;
		if (column->label >= 0)
			row->labels[column->label] = varbind->octets;
		if (column->tag >= 0 && !snmp_text_show(&n->batch->arena, varbind->octets,
		                            SNMP_SHOW_AUTO, &row->tags[column->tag]))
			return false;
	}
	return true;
}

static bool
note_rows(struct naming *n, const struct snmp_rows *rows)
{
	for (size_t i = 0; i < rows->len; i++) {
		const struct snmp_varbind *varbind = &rows->all[i];

		place(n, varbind->name);
		if (n->column_count > 0 && !note_label(n, varbind))
			return false;
	}
	return true;
}

/* Marks rows that can't be told apart by their names. */
static bool
note_name(struct naming *n, struct row *row)
{
	struct row *first = map_get(&n->named, row->name), *other;

	for (other = first; other != NULL && other->group != row->group; other = other->namesake)
		;
	if (other != NULL) {
		other->shared = row->shared = true;
		return true;
	}
	row->namesake = first;
	if (map_put(&n->named, row->name, row) != 0)
		n->no_memory = true;
	return !n->no_memory;
}

static bool
name_row(struct naming *n, struct row *row)
{
	for (size_t i = 0; i < row->group->label_count && row->name.len == 0; i++) {
		if (row->labels[i].p != NULL &&
		    !snmp_text_component(&n->batch->arena, row->labels[i], &row->name))
			return false;
	}
	return row->name.len == 0 || note_name(n, row);
}

static bool
name_rows(struct naming *n)
{
	for (struct row *row = n->first; row != NULL; row = row->next) {
		if (!name_row(n, row))
			return false;
	}
	return true;
}

/* Text put together in the arena. */
struct pen {
	char *p;
	size_t len;
};

static void
put(struct pen *pen, struct str text)
{
	if (text.len > 0)
		memcpy(pen->p + pen->len, text.p, text.len);
	pen->len += text.len;
}

static struct str
row_name(const struct row *row, struct str index)
{
	return row != NULL && row->name.len > 0 ? row->name : index;
}

/* "/snmp/if/eth0/in-octets", "/snmp/if/eth0@3/in-octets", "/snmp/system/name". */
static bool
write_path(struct naming *n, const struct row *row, struct str index, struct str *out)
{
	const struct snmp_object *object = n->object;
	struct str name = row_name(row, index);
	struct pen pen = { .len = 0 };
	size_t most = object->table->dir.len + name.len + index.len + object->name.len + 4;

	pen.p = arena_alloc(&n->batch->arena, most);
	if (pen.p == NULL)
		return false;
	put(&pen, object->table->dir);
	if (name.len > 0) {
		put(&pen, STR("/"));
		put(&pen, name);
	}
	if (row != NULL && row->shared) {
		put(&pen, STR("@"));
		put(&pen, index);
	}
	put(&pen, STR("/"));
	put(&pen, object->name);
	*out = (struct str){ pen.p, pen.len };
	return true;
}

static bool
write_oid(struct naming *n, struct str index, struct str *out)
{
	struct pen pen = { .len = 0 };

	pen.p = arena_alloc(&n->batch->arena, n->object->oid_text.len + index.len + 1);
	if (pen.p == NULL)
		return false;
	put(&pen, n->object->oid_text);
	if (index.len > 0) {
		put(&pen, STR("."));
		put(&pen, index);
	}
	*out = (struct str){ pen.p, pen.len };
	return true;
}

/* Keeps tags sorted by key; a key that is there already wins. */
static void
add_tag(struct tag *tags, size_t *count, struct str key, struct str value)
{
	size_t at = *count;

	while (at > 0 && str_cmp(tags[at - 1].key, key) >= 0) {
		if (str_eq(tags[at - 1].key, key))
			return;
		at--;
	}
	memmove(tags + at + 1, tags + at, (*count - at) * sizeof(*tags));
	tags[at] = (struct tag){ key, value };
	++*count;
}

static bool
write_tags(struct naming *n, const struct row *row, struct str index, struct str oid,
    struct metric_desc *desc)
{
	struct tag *tags = arena_array(&n->batch->arena, TAGS_MOST, sizeof(*tags));
	const struct snmp_table *table = n->object == NULL ? NULL : n->object->table;
	size_t count = 0;

	if (tags == NULL)
		return false;
	for (size_t i = 0; row != NULL && i < row->group->tag_count; i++) {
		if (row->tags[i].len > 0)
			add_tag(tags, &count, row->group->tag_keys[i], row->tags[i]);
	}
	if (table != NULL && table->index_tag.len > 0 && index.len > 0)
		add_tag(tags, &count, table->index_tag, index);
	add_tag(tags, &count, STR("oid"), oid);
	desc->tags = tags;
	desc->tag_count = count;
	return true;
}

/* Path and tags of an object that is known. */
static bool
describe_known(struct naming *n, const struct snmp_varbind *varbind, struct metric_desc *desc)
{
	const struct snmp_object *object = n->object;
	struct snmp_oid at = instance(varbind->name, object->oid.len);
	struct row *row = NULL;
	struct str index, oid, in_path;

	if (object->table->group != NULL) {
		row = get_row(n, object->table->group, at);
		if (row == NULL)
			return false;
		index = row->index_text;
	} else if (!snmp_text_oid(&n->batch->arena, at, &index)) {
		return false;
	}
	/* The only instance of what has no rows. */
	in_path = at.len == 1 && at.ids[0] == 0 ? STR_EMPTY : index;
	desc->description = object->description;
	desc->unit = object->unit;
	return write_path(n, row, in_path, &desc->path) && write_oid(n, index, &oid) &&
	       write_tags(n, row, in_path, oid, desc);
}

static bool
describe_unknown(struct naming *n, const struct snmp_varbind *varbind, struct metric_desc *desc)
{
	static const struct str dir = { "/snmp/oid/", 10 };
	char text[SNMP_OID_TEXT_BYTES];
	struct str oid = { text, snmp_oid_text(varbind->name, text) };
	struct pen pen = { arena_alloc(&n->batch->arena, dir.len + oid.len), 0 };

	if (pen.p == NULL)
		return false;
	put(&pen, dir);
	put(&pen, oid);
	desc->path = (struct str){ pen.p, pen.len };
	oid = str_sub(desc->path, dir.len, oid.len);
	desc->description = oid;
	desc->unit = STR(UNIT_NONE);
	return write_tags(n, NULL, STR_EMPTY, oid, desc);
}

static enum kind
kind_of(enum snmp_type type)
{
	switch (type) {
	case SNMP_INTEGER:
		return KIND_INT32;
	case SNMP_INTEGER64:
		return KIND_INT64;
	case SNMP_COUNTER32:
	case SNMP_GAUGE32:
	case SNMP_UINTEGER32:
		return KIND_UINT32;
	case SNMP_COUNTER64:
		return KIND_UINT64;
	case SNMP_TIMETICKS:
		return KIND_DURATION;
	case SNMP_FLOAT:
		return KIND_FLOAT32;
	case SNMP_DOUBLE:
		return KIND_FLOAT64;
	case SNMP_OCTETS:
	case SNMP_IPADDRESS:
	case SNMP_OPAQUE:
	case SNMP_OID:
		return KIND_STRING;
	case SNMP_NULL:
	case SNMP_NO_SUCH_OBJECT:
	case SNMP_NO_SUCH_INSTANCE:
	case SNMP_END_OF_MIB_VIEW:
		break;
	}
	return KIND_NONE;
}

bool
snmp_varbind_is_sound(const struct snmp_varbind *varbind)
{
	return varbind->type != SNMP_INTEGER || kind_int_fits(KIND_INT32, varbind->i);
}

bool
snmp_varbind_value(struct arena *arena, const struct snmp_varbind *varbind, enum snmp_show show,
    struct value *value)
{
	switch (varbind->type) {
	case SNMP_INTEGER:
	case SNMP_INTEGER64:
		value->i = varbind->i;
		return true;
	case SNMP_COUNTER32:
	case SNMP_GAUGE32:
	case SNMP_UINTEGER32:
	case SNMP_COUNTER64:
		value->u = varbind->u;
		return true;
	case SNMP_TIMETICKS:
		value->i = (int64_t)varbind->u * 10 * NS_PER_MS;
		return true;
	case SNMP_FLOAT:
	case SNMP_DOUBLE:
		value->f = varbind->f;
		return true;
	case SNMP_OCTETS:
		return snmp_text_show(arena, varbind->octets, show, &value->s);
	case SNMP_IPADDRESS:
		return snmp_text_show(arena, varbind->octets, SNMP_SHOW_IP, &value->s);
	case SNMP_OPAQUE:
		return snmp_text_show(arena, varbind->octets, SNMP_SHOW_HEX, &value->s);
	case SNMP_OID:
		return snmp_text_oid(arena, varbind->oid, &value->s);
	case SNMP_NULL:
	case SNMP_NO_SUCH_OBJECT:
	case SNMP_NO_SUCH_INSTANCE:
	case SNMP_END_OF_MIB_VIEW:
		break;
	}
	value->i = 0;
	return true;
}

/* As batch_add, but out of memory of the naming counts too. */
static int
add(struct naming *n, const struct snmp_varbind *varbind, struct err *err)
{
	struct metric_desc desc = { .kind = kind_of(varbind->type) };
	struct value value;

	place(n, varbind->name);
	if (!(n->object != NULL ? describe_known(n, varbind, &desc)
	                        : describe_unknown(n, varbind, &desc)) ||
	    !snmp_varbind_value(&n->batch->arena, varbind,
	        n->object == NULL ? SNMP_SHOW_AUTO : n->object->show, &value)) {
		batch_alloc_err(n->batch, SNMP_LARGEST_BLOCK, err);
		return -1;
	}
	if (desc.kind == KIND_DURATION)
		desc.unit = STR(UNIT_SECONDS);
	if (!snmp_varbind_is_sound(varbind)) {
		batch_bad(
		    n->batch, desc.path, "%lld does not fit an Integer32", (long long)value.i);
		return 0;
	}
	return batch_add(n->batch, &desc, &value, 0, TS_NONE, err);
}

static size_t
count_nameless(const struct naming *n)
{
	size_t count = 0;

	for (const struct row *row = n->first; row != NULL; row = row->next)
		count += row->name.len == 0;
	return count;
}

int
snmp_rows_to_batch(const struct snmp_rows *rows, const struct snmp_rows *lookups,
    const struct snmp_names *names, struct batch *batch, size_t *nameless, struct err *err)
{
	struct naming n = { .names = names, .batch = batch };
	int rc = -1;

	map_init(&n.rows);
	map_init(&n.named);
	batch_set_unordered(batch);
	/* What came in this poll is newer than what was looked up, so it overwrites that. */
	if (!note_rows(&n, lookups) || !note_rows(&n, rows) || !name_rows(&n)) {
		batch_alloc_err(batch, SNMP_LARGEST_BLOCK, err);
		goto out;
	}
	n.guess = n.first;
	for (size_t i = 0; i < rows->len; i++) {
		if (add(&n, &rows->all[i], err) != 0)
			goto out;
	}
	*nameless = count_nameless(&n);
	rc = 0;
out:
	if (n.no_memory)
		err_nomem(err);
	map_fini(&n.rows);
	map_fini(&n.named);
	return rc;
}
