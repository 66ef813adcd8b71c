#include "sources/snmp_layout_priv.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"

/* Layouts without users are looked for when this much is in use, then at each doubling. */
#define SWEEP_FIRST_BYTES ((size_t)1024 * 1024)

/* A varbind, as far as it is the same in each poll. */
struct cell {
	struct snmp_oid name;
	enum snmp_type type;
	enum snmp_show show;
	struct str label; /* the text, if rows are named by it; else .p is NULL */
};

struct snmp_layout {
	struct batch_layout shared;
	atomic_size_t refs; /* the table's, agents', batches' */
	uint64_t hash;      /* of all that follows; the table's key */
	size_t bytes;
	struct snmp_layout *next_unused; /* of a sweep */
	size_t cell_count;
	struct cell *cells;       /* cell_count of them */
	struct metric_desc *desc; /* shared.len of them, the cells' first */
	int64_t *group;
};

struct snmp_layouts {
	struct map all; /* by hash; a reference each */
	size_t budget_bytes, used_bytes;
	size_t sweep_bytes; /* in use when the next sweep is due */
};

struct snmp_layouts *
snmp_layouts_new(size_t budget_bytes, struct err *err)
{
	struct snmp_layouts *table = calloc(1, sizeof(*table));

	if (table == NULL) {
		err_nomem(err);
		return NULL;
	}
	map_init(&table->all);
	table->budget_bytes = budget_bytes;
	table->sweep_bytes = SWEEP_FIRST_BYTES;
	return table;
}

void
snmp_layouts_free(struct snmp_layouts *table)
{
	const struct map_entry *entry;

	if (table == NULL)
		return;
	for (size_t pos = 0; (entry = map_next(&table->all, &pos)) != NULL;)
		snmp_layout_unref(entry->value);
	map_fini(&table->all);
	free(table);
}

size_t
snmp_layouts_bytes(const struct snmp_layouts *table)
{
	return table->used_bytes;
}

void
snmp_layout_unref(struct snmp_layout *l)
{
	if (l != NULL && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
		free(l);
}

static struct snmp_layout *
layout_ref(struct snmp_layout *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

static void
release(struct batch_layout *shared)
{
	snmp_layout_unref(CONTAINER_OF(shared, struct snmp_layout, shared));
}

/* The table. */

static struct str
key_of(const struct snmp_layout *l)
{
	return (struct str){ (const char *)&l->hash, sizeof(l->hash) };
}

/* Drops what only the table has a reference to: nobody else can come by one meanwhile. */
static void
sweep(struct snmp_layouts *table)
{
	struct snmp_layout *unused = NULL;
	const struct map_entry *entry;

	for (size_t pos = 0; (entry = map_next(&table->all, &pos)) != NULL;) {
		struct snmp_layout *l = entry->value;

		if (atomic_load_explicit(&l->refs, memory_order_acquire) == 1) {
			l->next_unused = unused;
			unused = l;
		}
	}
	while (unused != NULL) {
		struct snmp_layout *next = unused->next_unused;

		map_del(&table->all, key_of(unused));
		table->used_bytes -= unused->bytes;
		snmp_layout_unref(unused);
		unused = next;
	}
	table->sweep_bytes = table->used_bytes * 2;
	if (table->sweep_bytes < SWEEP_FIRST_BYTES)
		table->sweep_bytes = SWEEP_FIRST_BYTES;
}

static bool
has_budget(struct snmp_layouts *table, size_t bytes)
{
	if (table->used_bytes + bytes > table->sweep_bytes ||
	    table->used_bytes + bytes > table->budget_bytes)
		sweep(table);
	return table->used_bytes + bytes <= table->budget_bytes;
}

static bool
cell_eq(const struct cell *a, const struct cell *b)
{
	return snmp_oid_cmp(a->name, b->name) == 0 && a->type == b->type && a->show == b->show &&
	       (a->label.p == NULL) == (b->label.p == NULL) && str_eq(a->label, b->label);
}

static bool
layout_eq(const struct snmp_layout *a, const struct snmp_layout *b)
{
	bool same = a->cell_count == b->cell_count && a->shared.len == b->shared.len;

	for (size_t i = 0; same && i < a->cell_count; i++)
		same = cell_eq(&a->cells[i], &b->cells[i]);
	for (size_t i = 0; same && i < a->shared.len; i++)
		same = desc_eq(&a->desc[i], &b->desc[i]);
	return same;
}

/* Takes a reference to fresh; gives one to it, or to one that is equal and was there before. */
static struct snmp_layout *
intern(struct snmp_layouts *table, struct snmp_layout *fresh)
{
	struct snmp_layout *l = map_get(&table->all, key_of(fresh));

	if (l == NULL && has_budget(table, fresh->bytes) &&
	    map_put(&table->all, key_of(fresh), fresh) == 0) {
		table->used_bytes += fresh->bytes;
		return layout_ref(fresh);
	}
	/* Of two with one hash, which hardly happens, the second is not remembered. */
	l = l != NULL && layout_eq(l, fresh) ? layout_ref(l) : NULL;
	snmp_layout_unref(fresh);
	return l;
}

/* Learning. */

/* Memory is dealt out twice: with p NULL to see how much that is, then in earnest. */
struct packer {
	char *p;
	size_t at;
};

static void *
take(struct packer *pack, size_t n, size_t size)
{
	void *memory = pack->p == NULL ? NULL : pack->p + pack->at;

	pack->at += (n * size + 7) & ~(size_t)7;
	return memory;
}

static const void *
keep(struct packer *pack, const void *from, size_t n, size_t size)
{
	void *copy = take(pack, n, size);

	if (copy != NULL && n > 0)
		memcpy(copy, from, n * size);
	return copy;
}

static struct str
keep_str(struct packer *pack, struct str text)
{
	return (struct str){ keep(pack, text.p, text.len, 1), text.len };
}

/* Most texts are those of the metric before: then copy, a copy of before, is kept once more. */
static struct str
keep_again(struct packer *pack, struct str text, struct str before, struct str copy)
{
	return text.p == before.p && text.len == before.len ? copy : keep_str(pack, text);
}

static const struct tag *
keep_tags(struct packer *pack, const struct metric_desc *desc)
{
	struct tag *tags = take(pack, desc->tag_count, sizeof(*tags));

	for (size_t i = 0; i < desc->tag_count; i++) {
		struct tag tag = { keep_str(pack, desc->tags[i].key),
			keep_str(pack, desc->tags[i].value) };

		if (tags != NULL)
			tags[i] = tag;
	}
	return tags;
}

static void
pack_descs(struct packer *pack, struct snmp_layout *l, const struct batch *batch)
{
	static const struct metric_desc none = { .kind = KIND_NONE };
	const struct metric_desc *before = &none;
	struct metric_desc copy = none;

	for (size_t i = 0; i < batch->len; i++) {
		const struct metric_desc *desc = &batch->desc[i];

		assert(desc->limit_count == 0 && desc->text == NULL);
		copy = (struct metric_desc){
			.path = keep_str(pack, desc->path),
			.description = keep_again(
			    pack, desc->description, before->description, copy.description),
			.unit = keep_again(pack, desc->unit, before->unit, copy.unit),
			.kind = desc->kind,
			.tags = keep_tags(pack, desc),
			.tag_count = desc->tag_count,
		};
		if (pack->p != NULL) {
			l->desc[i] = copy;
			l->group[i] = batch->group[i];
			l->hash = hash_mix(l->hash, desc_hash(&copy));
		}
		before = desc;
	}
}

static struct cell
cell_of(const struct snmp_varbind *varbind, const struct snmp_names *names)
{
	const struct snmp_object *object = snmp_names_find(names, varbind->name);
	const struct snmp_column *columns;
	struct cell cell = {
		.name = varbind->name,
		.type = varbind->type,
		.show = object == NULL ? SNMP_SHOW_AUTO : object->show,
	};

	if (varbind->type == SNMP_OCTETS && snmp_names_columns(names, varbind->name, &columns) > 0)
		cell.label = varbind->octets;
	return cell;
}

static uint64_t
cell_hash(const struct cell *cell)
{
	struct str ids = { (const char *)cell->name.ids, cell->name.len * sizeof(*cell->name.ids) };
	uint64_t hash = hash_mix(hash_bytes(ids), (uint64_t)cell->type << 8 | cell->show);

	return cell->label.p == NULL ? hash : hash_mix(hash, hash_bytes(cell->label));
}

static void
pack_cells(struct packer *pack, struct snmp_layout *l, const struct snmp_rows *rows,
    const struct snmp_names *names)
{
	for (size_t i = 0; i < rows->len; i++) {
		struct cell cell = cell_of(&rows->all[i], names);

		cell.name.ids = keep(pack, cell.name.ids, cell.name.len, sizeof(*cell.name.ids));
		if (cell.label.p != NULL)
			cell.label = keep_str(pack, cell.label);
		if (pack->p != NULL) {
			l->cells[i] = cell;
			l->hash = hash_mix(l->hash, cell_hash(&cell));
		}
	}
}

/* All of it in one block, which begins with the layout itself. */
static size_t
pack_all(char *block, const struct snmp_rows *rows, const struct snmp_names *names,
    const struct batch *batch)
{
	struct packer pack = { block, 0 };
	struct snmp_layout *l = take(&pack, 1, sizeof(*l));
	struct cell *cells = take(&pack, rows->len, sizeof(*cells));
	struct metric_desc *desc = take(&pack, batch->len, sizeof(*desc));
	int64_t *group = take(&pack, batch->len, sizeof(*group));

	if (l != NULL) {
		*l = (struct snmp_layout){
			.shared = { .len = batch->len, .release = release },
			.cell_count = rows->len,
			.cells = cells,
			.desc = desc,
			.group = group,
		};
		atomic_init(&l->refs, 1);
	}
	pack_cells(&pack, l, rows, names);
	pack_descs(&pack, l, batch);
	return pack.at;
}

struct snmp_layout *
snmp_layout_learn(struct snmp_layouts *table, const struct snmp_rows *rows,
    const struct snmp_names *names, struct batch *batch)
{
	size_t bytes = pack_all(NULL, rows, names, batch);
	struct snmp_layout *l;

	assert(batch->bad_count == 0 && batch->len >= rows->len);
	if (bytes > table->budget_bytes)
		return NULL;
	l = malloc(bytes);
	if (l == NULL)
		return NULL;
	pack_all((char *)l, rows, names, batch);
	l->bytes = bytes;
	l->shared.id = batch_layout_next_id();
	l = intern(table, l);
	if (l != NULL)
		batch->layout_id = l->shared.id;
	return l;
}

/* Applying. */

static bool
fits(const struct cell *cell, const struct snmp_varbind *varbind)
{
	return varbind->type == cell->type && varbind->name.len == cell->name.len &&
	       memcmp(varbind->name.ids, cell->name.ids,
	           cell->name.len * sizeof(*cell->name.ids)) == 0 &&
	       (cell->label.p == NULL || str_eq(varbind->octets, cell->label)) &&
	       snmp_varbind_is_sound(varbind);
}

static bool
all_fit(const struct snmp_layout *l, const struct snmp_rows *rows)
{
	for (size_t i = 0; i < rows->len; i++) {
		if (!fits(&l->cells[i], &rows->all[i]))
			return false;
	}
	return true;
}

enum snmp_fit
snmp_layout_apply(struct snmp_layout *l, const struct snmp_rows *rows, const struct value *more,
    size_t more_count, struct batch *batch, struct err *err)
{
	size_t len = l->shared.len;
	struct value *values;
	int64_t *ts;

	if (rows->len != l->cell_count || rows->len + more_count != len || !all_fit(l, rows))
		return SNMP_OTHER;
	values = arena_array(&batch->arena, len, sizeof(*values));
	ts = arena_array(&batch->arena, len, sizeof(*ts));
	if (values == NULL || ts == NULL) {
		batch_alloc_err(batch, len * sizeof(*values), err);
		return SNMP_LOST;
	}
	for (size_t i = 0; i < rows->len; i++) {
		if (!snmp_varbind_value(
		        &batch->arena, &rows->all[i], l->cells[i].show, &values[i])) {
			batch_alloc_err(batch, SNMP_LARGEST_BLOCK, err);
			return SNMP_LOST;
		}
	}
	for (size_t i = 0; i < more_count; i++)
		values[rows->len + i] = more[i];
	for (size_t i = 0; i < len; i++)
		ts[i] = TS_NONE;
	batch_hold(batch, &layout_ref(l)->shared);
	return batch_adopt(batch, l->desc, l->group, values, ts, err) == 0 ? SNMP_FITS : SNMP_LOST;
}
