#include "sources/snmp_names.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "messages/metric.h"
#include "sources/snmp_text.h"

#define DIR_MOST_BYTES 200 /* of a configured name */

enum table_id {
#define TABLE(id, dir, prefix, module, oid, index_tag) TABLE_##id,
#include "sources/snmp_mibs.def"
	TABLE_COUNT
};

static const struct table_def {
	const char *dir, *prefix, *module, *oid, *index_tag;
} table_defs[] = {
#define TABLE(id, dir, prefix, module, oid, index_tag) { dir, prefix, module, oid, index_tag },
#include "sources/snmp_mibs.def"
};

static const struct column_def {
	enum table_id table;
	const char *key; /* NULL: it names rows */
	const char *oid;
} column_defs[] = {
#define LABEL(id, oid)    { TABLE_##id, NULL, oid },
#define TAG(id, key, oid) { TABLE_##id, key, oid },
#include "sources/snmp_mibs.def"
};

static const struct object_def {
	enum table_id table;
	const char *number, *symbol, *unit;
	enum snmp_show show;
	const char *what;
} object_defs[] = {
#define OBJECT(id, number, symbol, unit, show, what)                                               \
	{ TABLE_##id, number, symbol, unit, SNMP_SHOW_##show, what },
#include "sources/snmp_mibs.def"
};

static const struct subtree_def {
	const char *name, *oid;
} subtree_defs[] = {
#define SUBTREE(name, oid) { name, oid },
#include "sources/snmp_mibs.def"
};

struct snmp_names {
	const struct snmp_names *base; /* NULL for the standard ones */
	struct arena arena;            /* for all of it */
	struct snmp_table *tables;
	size_t table_count;
	struct snmp_object *objects; /* by OID once built */
	size_t object_count;
	struct snmp_column *columns; /* by OID; those of base are among them */
	size_t column_count;
};

/* Building: everything is of the arena; false means that there is no more memory. */

static bool
keep_oid(struct snmp_names *names, struct snmp_oid oid, struct snmp_oid *out)
{
	uint32_t *ids = arena_array(&names->arena, oid.len, sizeof(*ids));

	if (ids == NULL)
		return false;
	memcpy(ids, oid.ids, oid.len * sizeof(*ids));
	*out = (struct snmp_oid){ ids, oid.len };
	return true;
}

static bool
keep_oid_text(struct snmp_names *names, const char *text, struct snmp_oid *out)
{
	struct snmp_oid_room room;
	bool valid = snmp_oid_parse(str_of(text), &room);

	assert(valid);
	return keep_oid(names, snmp_oid_of(&room), out);
}

static bool
keep_str(struct snmp_names *names, struct str text, struct str *out)
{
	*out = arena_copy(&names->arena, text);
	return out->p != NULL;
}

/* "a" and "b" with what is between them. */
static bool
join(struct snmp_names *names, struct str a, const char *between, struct str b, struct str *out)
{
	struct buf buf;
	bool done;

	buf_init(&buf, 0);
	buf_str(&buf, a);
	buf_puts(&buf, between);
	buf_str(&buf, b);
	done = !buf.failed && keep_str(names, buf_view(&buf), out);
	buf_fini(&buf);
	return done;
}

static bool
keep_kebab(struct snmp_names *names, struct str symbol, struct str *out)
{
	struct buf buf;
	bool done;

	buf_init(&buf, 0);
	snmp_text_kebab(&buf, symbol);
	done = !buf.failed && keep_str(names, buf_view(&buf), out);
	buf_fini(&buf);
	return done;
}

static bool
build_tables(struct snmp_names *names)
{
	for (size_t i = 0; i < ARRAY_LEN(table_defs); i++) {
		struct snmp_table *table = &names->tables[i];

		if (!join(names, STR("/snmp/"), "", str_of(table_defs[i].dir), &table->dir))
			return false;
		table->index_tag = str_of(table_defs[i].index_tag);
	}
	for (size_t i = 0; i < ARRAY_LEN(column_defs); i++) {
		const struct column_def *def = &column_defs[i];
		struct snmp_table *table = &names->tables[def->table];
		struct snmp_oid oid;

		assert(
		    table->label_count < SNMP_LABELS_MOST && table->tag_count < SNMP_LABELS_MOST);
		if (!keep_oid_text(names, def->oid, &oid))
			return false;
		if (def->key == NULL) {
			table->labels[table->label_count++] = oid;
			continue;
		}
		table->tag_keys[table->tag_count] = str_of(def->key);
		table->tags[table->tag_count++] = oid;
	}
	return true;
}

static bool
build_object(struct snmp_names *names, const struct object_def *def)
{
	const struct table_def *table = &table_defs[def->table];
	struct snmp_object *object = &names->objects[names->object_count++];
	struct str symbol = str_of(def->symbol), short_name = symbol;

	*object = (struct snmp_object){
		.symbol = symbol,
		.unit = str_of(def->unit),
		.description = str_of(def->what),
		.show = def->show,
		.table = &names->tables[def->table],
	};
	if (str_starts(symbol, str_of(table->prefix)))
		short_name = str_sub(symbol, strlen(table->prefix), symbol.len);
	if (!join(names, str_of(table->oid), ".", str_of(def->number), &object->oid_text) ||
	    !keep_oid_text(names, object->oid_text.p, &object->oid) ||
	    !keep_kebab(names, short_name, &object->name))
		return false;
	return object->description.len > 0 ||
	       join(names, str_of(table->module), "::", symbol, &object->description);
}

static int
compare_objects(const void *a, const void *b)
{
	const struct snmp_object *one = a, *other = b;

	return snmp_oid_cmp(one->oid, other->oid);
}

static void
sort_objects(struct snmp_names *names)
{
	if (names->object_count > 0)
		qsort(
		    names->objects, names->object_count, sizeof(*names->objects), compare_objects);
}

static int
compare_columns(const void *a, const void *b)
{
	const struct snmp_column *one = a, *other = b;

	return snmp_oid_cmp(one->oid, other->oid);
}

/* Adds oid to what the group's rows have, unless it is there; the caller made room. */
static struct snmp_column *
column_of(struct snmp_names *names, struct snmp_oid oid, const struct snmp_table *group)
{
	struct snmp_column *column = names->columns;

	for (; column < names->columns + names->column_count; column++) {
		if (column->group == group && snmp_oid_cmp(column->oid, oid) == 0)
			return column;
	}
	*column = (struct snmp_column){ .oid = oid, .group = group, .label = -1, .tag = -1 };
	names->column_count++;
	return column;
}

static void
add_columns(struct snmp_names *names, const struct snmp_table *group)
{
	for (size_t i = 0; i < group->label_count; i++)
		column_of(names, group->labels[i], group)->label = (int)i;
	for (size_t i = 0; i < group->tag_count; i++)
		column_of(names, group->tags[i], group)->tag = (int)i;
}

/* The first table whose rows are named by the same column. */
static const struct snmp_table *
find_group(const struct snmp_names *names, const struct snmp_table *table)
{
	const struct snmp_table *group = NULL;

	if (names->base != NULL)
		group = find_group(names->base, table);
	for (size_t i = 0; i < names->table_count && group == NULL; i++) {
		const struct snmp_table *other = &names->tables[i];

		if (other->label_count > 0 && snmp_oid_cmp(other->labels[0], table->labels[0]) == 0)
			group = other;
	}
	return group;
}

static bool
build_columns(struct snmp_names *names)
{
	const struct snmp_names *base = names->base;
	size_t most =
	    2 * SNMP_LABELS_MOST * names->table_count + (base == NULL ? 0 : base->column_count);

	names->columns = arena_array(&names->arena, most, sizeof(*names->columns));
	if (names->columns == NULL)
		return false;
	if (base != NULL) {
		memcpy(names->columns, base->columns, base->column_count * sizeof(*base->columns));
		names->column_count = base->column_count;
	}
	for (size_t i = 0; i < names->table_count; i++) {
		struct snmp_table *table = &names->tables[i];

		if (table->label_count == 0)
			continue;
		table->group = find_group(names, table);
		if (table->group == table)
			add_columns(names, table);
	}
	if (names->column_count > 0)
		qsort(
		    names->columns, names->column_count, sizeof(*names->columns), compare_columns);
	return true;
}

/* NULL without memory. */
static struct snmp_names *
make(size_t tables, size_t objects)
{
	struct snmp_names *names = calloc(1, sizeof(*names));

	if (names == NULL)
		return NULL;
	arena_init(&names->arena, 0);
	names->tables = arena_array(&names->arena, tables, sizeof(*names->tables));
	names->objects = arena_array(&names->arena, objects, sizeof(*names->objects));
	if (names->tables == NULL || names->objects == NULL) {
		snmp_names_free(names);
		return NULL;
	}
	memset(names->tables, 0, tables * sizeof(*names->tables));
	names->table_count = tables;
	return names;
}

static bool
build(struct snmp_names *names)
{
	if (!build_tables(names))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(object_defs); i++) {
		if (!build_object(names, &object_defs[i]))
			return false;
	}
	sort_objects(names);
	return build_columns(names);
}

const struct snmp_names *
snmp_names_standard(void)
{
	static _Atomic(struct snmp_names *) standard;
	struct snmp_names *names = atomic_load(&standard), *first = NULL;

	if (names != NULL)
		return names;
	names = make(TABLE_COUNT, ARRAY_LEN(object_defs));
	if (names == NULL || !build(names)) {
		snmp_names_free(names);
		return NULL;
	}
	if (atomic_compare_exchange_strong(&standard, &first, names))
		return names;
	snmp_names_free(names);
	return first;
}

void
snmp_names_free(struct snmp_names *names)
{
	if (names == NULL)
		return;
	arena_fini(&names->arena);
	free(names);
}

/* What the configuration adds. */

static const struct conf_opt name_opts[] = {
	{ "oid", CONF_TEXT, NULL, "the object, without instance", 0, 0 },
	{ "name", CONF_TEXT, NULL, "its path below /snmp; rows come before the last part", 0, 0 },
	{ "unit", CONF_TEXT, UNIT_NONE, "", 0, 0 },
	{ "description", CONF_TEXT, NULL, "", 0, 0 },
	{ "kind", CONF_TEXT, "auto", "how octets are shown", 0, 0 },
	{ "index", CONF_TEXT, NULL, "the column whose values name the rows", 0, 0 },
	{ .name = NULL },
};

static const char *const kinds[] = {
	[SNMP_SHOW_AUTO] = "auto",
	[SNMP_SHOW_TEXT] = "text",
	[SNMP_SHOW_HEX] = "hex",
	[SNMP_SHOW_MAC] = "mac",
	[SNMP_SHOW_DATE] = "date",
	[SNMP_SHOW_IP] = "ip",
};

static bool
parse_kind(struct str text, enum snmp_show *out)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (str_eq(text, str_of(kinds[i]))) {
			*out = (enum snmp_show)i;
			return true;
		}
	}
	return false;
}

/* Parts that are not empty, of characters that need no care in a URL. */
static bool
is_sound_name(struct str name)
{
	bool after_slash = true;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (c == '/' ? after_slash : (c <= ' ' || c == 0x7f || c == '?' || c == '#'))
			return false;
		after_slash = c == '/';
	}
	return !after_slash && name.len <= DIR_MOST_BYTES &&
	       utf8_valid_prefix(name.p, name.len) == name.len;
}

/* Complains about the child called key, or its absence. Returns false. */
static bool
fault(struct conf_report *report, const struct conf *map, const char *key, const char *what)
{
	const struct conf *node = conf_child(map, key);

	if (node == NULL)
		conf_complain(report, map, "'%s' is missing: %s", key, what);
	else
		conf_complain(report, node, "'%s' %s: '%.*s'", key, what,
		    (int)(node->text.len < 100 ? node->text.len : 100), node->text.p);
	return false;
}

/* Splits "cisco/cpu/load" into the table's directory and the object's name. */
static bool
keep_path(
    struct snmp_names *names, struct str path, struct snmp_object *object, struct snmp_table *table)
{
	size_t cut = path.len;

	while (cut > 0 && path.p[cut - 1] != '/')
		cut--;
	return keep_str(names, str_sub(path, cut, path.len), &object->name) &&
	       join(names, STR("/snmp"), cut > 0 ? "/" : "",
	           str_sub(path, 0, cut > 0 ? cut - 1 : 0), &table->dir);
}

static bool
no_memory(struct conf_report *report)
{
	conf_complain(report, NULL, "out of memory");
	return false;
}

/* The object that the child called key names. */
static bool
read_oid(const struct snmp_names *names, const struct conf *map, const char *key,
    struct snmp_oid_room *out, struct conf_report *report)
{
	return snmp_names_parse(names->base, conf_text(map, name_opts, key), out) ||
	       fault(report, map, key, "is neither a number nor a known name");
}

static bool
keep_index(struct snmp_names *names, const struct conf *map, struct snmp_table *table,
    struct conf_report *report)
{
	struct snmp_oid_room room;

	table->index_tag = STR("index");
	if (conf_child(map, "index") == NULL)
		return true;
	if (!read_oid(names, map, "index", &room, report))
		return false;
	if (!keep_oid(names, snmp_oid_of(&room), &table->labels[0]))
		return no_memory(report);
	table->label_count = 1;
	return true;
}

static bool
keep_texts(struct snmp_names *names, const struct conf *map, struct snmp_object *object)
{
	char text[SNMP_OID_TEXT_BYTES];
	struct str oid = { text, snmp_oid_text(object->oid, text) };

	if (!keep_str(names, oid, &object->oid_text) ||
	    !keep_str(names, conf_text(map, name_opts, "unit"), &object->unit) ||
	    !keep_str(names, conf_text(map, name_opts, "description"), &object->description))
		return false;
	if (object->description.len == 0)
		object->description = object->oid_text;
	return true;
}

static bool
add_configured(struct snmp_names *names, const struct conf *map, struct conf_report *report)
{
	struct str path = conf_text(map, name_opts, "name");
	struct snmp_table *table = &names->tables[names->object_count];
	struct snmp_object *object = &names->objects[names->object_count];
	struct snmp_oid_room room;

	if (!is_sound_name(path))
		return fault(report, map, "name", "is no path such as vendor/cpu/load");
	if (!parse_kind(conf_text(map, name_opts, "kind"), &object->show))
		return fault(report, map, "kind", "is none of auto, text, hex, mac, date, ip");
	object->table = table;
	object->symbol = STR_EMPTY;
	if (!keep_index(names, map, table, report) || !read_oid(names, map, "oid", &room, report))
		return false;
	if (!keep_oid(names, snmp_oid_of(&room), &object->oid) ||
	    !keep_path(names, path, object, table) || !keep_texts(names, map, object))
		return no_memory(report);
	names->object_count++;
	return true;
}

/* Makes all complaints about the list's elements; true if there are none. */
static bool
add_list(struct snmp_names *names, const struct conf *list, struct conf_report *report)
{
	size_t before = report->count;

	for (const struct conf *c = list->first; c != NULL; c = c->next) {
		if (conf_check(c, name_opts, report))
			add_configured(names, c, report);
	}
	return report->count == before;
}

struct snmp_names *
snmp_names_extend(
    const struct snmp_names *base, const struct conf *list, struct conf_report *report)
{
	struct snmp_names *names;
	size_t count = 0;

	if (list->shape != CONF_LIST) {
		conf_complain(report, list, "'names' must be a list of maps with oid and name");
		return NULL;
	}
	for (const struct conf *c = list->first; c != NULL; c = c->next)
		count++;
	names = make(count, count);
	if (names == NULL) {
		no_memory(report);
		return NULL;
	}
	names->base = base;
	if (!add_list(names, list, report)) {
		snmp_names_free(names);
		return NULL;
	}
	sort_objects(names);
	if (!build_columns(names)) {
		no_memory(report);
		snmp_names_free(names);
		return NULL;
	}
	return names;
}

/* Looking up. */

/* The last object that does not come after oid. */
static const struct snmp_object *
find_own(const struct snmp_names *names, struct snmp_oid oid)
{
	size_t low = 0, high = names->object_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (snmp_oid_cmp(names->objects[middle].oid, oid) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	/* Objects that lie under others are none of the standard's; the nearest wins. */
	if (low > 0 && snmp_oid_is_under(oid, names->objects[low - 1].oid))
		return &names->objects[low - 1];
	return NULL;
}

const struct snmp_object *
snmp_names_find(const struct snmp_names *names, struct snmp_oid oid)
{
	const struct snmp_object *object = NULL;

	for (; object == NULL && names != NULL; names = names->base)
		object = find_own(names, oid);
	return object;
}

size_t
snmp_names_columns(
    const struct snmp_names *names, struct snmp_oid oid, const struct snmp_column **first)
{
	size_t low = 0, high = names->column_count, count = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (snmp_oid_cmp(names->columns[middle].oid, oid) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	/* No column lies under another. */
	while (low > count && snmp_oid_is_under(oid, names->columns[low - count - 1].oid))
		count++;
	*first = &names->columns[low - count];
	return count;
}

static bool
parse_symbol(const struct snmp_names *names, struct str symbol, struct snmp_oid_room *out)
{
	for (size_t i = 0; i < ARRAY_LEN(subtree_defs); i++) {
		if (str_eq(str_of(subtree_defs[i].name), symbol))
			return snmp_oid_parse(str_of(subtree_defs[i].oid), out);
	}
	for (; names != NULL; names = names->base) {
		for (size_t i = 0; i < names->object_count; i++) {
			const struct snmp_object *object = &names->objects[i];

			if (object->symbol.len > 0 && str_eq(object->symbol, symbol)) {
				snmp_oid_keep(out, object->oid);
				return true;
			}
		}
	}
	return false;
}

/* Appends ".1.2", an instance, to *out. */
static bool
append_instance(struct str instance, struct snmp_oid_room *out)
{
	struct str part;

	if (instance.len > 0 && instance.p[instance.len - 1] == '.')
		return false;
	while (str_split(&instance, '.', &part)) {
		uint64_t number;

		if (out->len == SNMP_OID_MOST || !str_to_u64(part, &number) || number > UINT32_MAX)
			return false;
		out->ids[out->len++] = (uint32_t)number;
	}
	return true;
}

bool
snmp_names_parse(const struct snmp_names *names, struct str text, struct snmp_oid_room *out)
{
	struct snmp_oid_room room;
	struct str rest, symbol;

	if (snmp_oid_parse(text, out))
		return true;
	for (size_t i = 0; i + 1 < text.len; i++) {
		if (text.p[i] == ':' && text.p[i + 1] == ':') {
			text = str_sub(text, i + 2, text.len);
			break;
		}
	}
	rest = text;
	if (!str_split(&rest, '.', &symbol) || !parse_symbol(names, symbol, &room) ||
	    (symbol.len < text.len && rest.len == 0) || !append_instance(rest, &room))
		return false;
	*out = room;
	return true;
}

static void
table_lookups(const struct snmp_table *table, void (*fn)(void *, struct snmp_oid), void *ctx)
{
	for (size_t i = 0; i < table->label_count; i++)
		fn(ctx, table->labels[i]);
	for (size_t i = 0; i < table->tag_count; i++)
		fn(ctx, table->tags[i]);
}

void
snmp_names_lookups(const struct snmp_names *names, struct snmp_oid oid,
    void (*fn)(void *ctx, struct snmp_oid column), void *ctx)
{
	const struct snmp_table *before = NULL;

	for (; names != NULL; names = names->base) {
		for (size_t i = 0; i < names->object_count; i++) {
			const struct snmp_object *object = &names->objects[i];

			if (object->table == before || (!snmp_oid_is_under(object->oid, oid) &&
			                                   !snmp_oid_is_under(oid, object->oid)))
				continue;
			before = object->table;
			table_lookups(before, fn, ctx);
		}
	}
}
