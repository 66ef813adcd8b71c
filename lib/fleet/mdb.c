#include "fleet/mdb_priv.h"

#include <json-c/json.h>
#include <stdlib.h>

#include "fleet/target_conf_priv.h"

#define MDB_DEPTH 32

static struct json_object *
member_nocase(struct json_object *object, const char *name)
{
	struct json_object_iterator it, end;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	it = json_object_iter_begin(object);
	end = json_object_iter_end(object);
	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
		if (str_eq_nocase(str_of(json_object_iter_peek_name(&it)), str_of(name)))
			return json_object_iter_peek_value(&it);
	return NULL;
}

/* The text of a string member, empty if there is none or it can't be a name. */
static struct str
text_of(struct json_object *object, const char *name)
{
	struct json_object *node = member_nocase(object, name);
	struct str text;

	if (!json_object_is_type(node, json_type_string))
		return STR_EMPTY;
	text = (struct str){ json_object_get_string(node), (size_t)json_object_get_string_len(node) };
	if (text.len > NAME_BYTES_MAX)
		return STR_EMPTY;
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f || text.p[i] == '/')
			return STR_EMPTY;
	return text;
}

static int
by_host(const void *a, const void *b)
{
	const struct machine *x = a, *y = b;
	int order = str_cmp(x->host, y->host);

	if (order == 0)
		order = x->place < y->place ? -1 : 1; /* of several, the first in the file counts */
	return order;
}

/* One array element into *out. False if it names no machine; *nomem when memory ran out. */
static bool
read_machine(struct arena *arena, struct json_object *element, struct machine *out, bool *nomem)
{
	struct str host = text_of(element, "Hostname");
	struct str ip = text_of(element, "IpAddress");
	struct str region = text_of(member_nocase(element, "AwsMetadata"), "Region");

	if (host.len == 0)
		return false;
	out->host = arena_copy(arena, host);
	out->ip = arena_copy(arena, ip);
	out->region = arena_copy(arena, region);
	*nomem = out->host.p == NULL || out->ip.p == NULL || out->region.p == NULL;
	return !*nomem;
}

static int
read_machines(struct machine_list *list, struct json_object *array, struct err *err)
{
	size_t n = json_object_array_length(array), unique = 0;

	list->machines = calloc(n + 1, sizeof(*list->machines));
	if (list->machines == NULL)
		goto nomem;
	for (size_t i = 0; i < n; i++) {
		bool nomem = false;

		if (read_machine(&list->arena, json_object_array_get_idx(array, i),
			&list->machines[list->len], &nomem))
			list->machines[list->len++].place = i;
		else if (nomem)
			goto nomem;
	}
	qsort(list->machines, list->len, sizeof(*list->machines), by_host);
	for (size_t i = 0; i < list->len; i++)
		if (unique == 0 || !str_eq(list->machines[i].host, list->machines[unique - 1].host))
			list->machines[unique++] = list->machines[i];
	list->len = unique;
	list->skipped = n - unique;
	return 0;
nomem:
	err_nomem(err);
	return -1;
}

struct machine_list *
mdb_parse(struct str text, struct err *err)
{
	struct json_tokener *tokener = json_tokener_new_ex(MDB_DEPTH);
	struct machine_list *list = calloc(1, sizeof(*list));
	struct json_object *root = NULL;
	size_t end;

	if (tokener == NULL || list == NULL || text.len > INT32_MAX) {
		err_nomem(err);
		goto fail;
	}
	arena_init(&list->arena, 0);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tokener, text.p, (int)text.len);
	end = json_tokener_get_parse_end(tokener);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		err_set(err, ERR_PROTO, "not JSON at byte %zu: %s", end,
		    json_tokener_error_desc(json_tokener_get_error(tokener)));
		goto fail;
	}
	if (str_trim(str_sub(text, end, text.len)).len > 0) {
		err_set(err, ERR_PROTO, "not JSON at byte %zu: text after the end", end);
		goto fail;
	}
	if (!json_object_is_type(root, json_type_array)) {
		err_set(err, ERR_PROTO, "not a list of machines");
		goto fail;
	}
	if (read_machines(list, root, err) != 0)
		goto fail;
	json_object_put(root);
	json_tokener_free(tokener);
	return list;
fail:
	json_object_put(root);
	if (tokener != NULL)
		json_tokener_free(tokener);
	machine_list_free(list);
	return NULL;
}

void
machine_list_free(struct machine_list *list)
{
	if (list == NULL)
		return;
	arena_fini(&list->arena);
	free(list->machines);
	free(list);
}
