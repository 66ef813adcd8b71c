#include "fleet/mdb_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "fleet/target_conf_priv.h"

#define MDB_DEPTH  32
#define READ_BYTES (64 * 1024)

static struct json_object *
member_nocase(struct json_object *object, const char *name)
{
	struct json_object_iterator it, end;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	it = json_object_iter_begin(object);
	end = json_object_iter_end(object);
	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		if (str_eq_nocase(str_of(json_object_iter_peek_name(&it)), str_of(name)))
			return json_object_iter_peek_value(&it);
	}
	return NULL;
}

/* The text of a string member, empty if there is none or it can't be a name. */
static struct str
text_of(struct json_object *object, const char *key, enum name_use use)
{
	struct json_object *node = member_nocase(object, key);
	struct str text;

	if (!json_object_is_type(node, json_type_string))
		return STR_EMPTY;
	text =
	    (struct str){ json_object_get_string(node), (size_t)json_object_get_string_len(node) };
	return name_fault(text, use) == NULL ? text : STR_EMPTY;
}

static int
by_host(const void *a, const void *b)
{
	const struct machine *x = a, *y = b;
	int order = str_cmp(x->host, y->host);

	/* Of several, the first in the file counts. */
	return order != 0 ? order : x->place < y->place ? -1 : 1;
}

/* False if the element names no host to connect to; then *out stays as it was. */
static bool
read_machine(struct json_object *element, struct machine *out)
{
	struct machine machine = {
		.host = text_of(element, "Hostname", NAME_IDENTITY),
		.ip = text_of(element, "IpAddress", NAME_OTHER),
		.region = text_of(member_nocase(element, "AwsMetadata"), "Region", NAME_OTHER),
	};

	/* See machine_address: the name counts up to its first '*'. */
	if (machine.host.len == 0 || (machine.ip.len == 0 && machine.host.p[0] == '*'))
		return false;
	*out = machine;
	return true;
}

/* Has the machine's text in the arena, so that it outlives the JSON. -1 when out of memory. */
static int
keep_text(struct arena *arena, struct machine *machine)
{
	machine->host = arena_copy(arena, machine->host);
	machine->ip = arena_copy(arena, machine->ip);
	machine->region = arena_copy(arena, machine->region);
	return machine->host.p == NULL || machine->ip.p == NULL || machine->region.p == NULL ? -1
	                                                                                     : 0;
}

static int
read_machines(struct machine_list *list, struct json_object *array, struct err *err)
{
	size_t n = json_object_array_length(array), found = 0;

	list->machines = calloc(n + 1, sizeof(*list->machines));
	if (list->machines == NULL)
		goto nomem;
	for (size_t i = 0; i < n; i++) {
		if (read_machine(json_object_array_get_idx(array, i), &list->machines[found]))
			list->machines[found++].place = i;
	}
	qsort(list->machines, found, sizeof(*list->machines), by_host);
	for (size_t i = 0; i < found; i++) {
		struct machine *machine = &list->machines[list->len];

		if (i > 0 && str_eq(list->machines[i].host, machine[-1].host))
			continue;
		*machine = list->machines[i];
		if (keep_text(&list->arena, machine) != 0)
			goto nomem;
		list->len++;
	}
	list->skipped = n - list->len;
	return 0;
nomem:
	err_nomem(err);
	return -1;
}

/* The whole of text as a JSON array, to be put; NULL with err. */
static struct json_object *
parse_array(struct json_tokener *tokener, struct str text, struct err *err)
{
	struct json_object *root = json_tokener_parse_ex(tokener, text.p, (int)text.len);
	enum json_tokener_error error = json_tokener_get_error(tokener);
	size_t end = json_tokener_get_parse_end(tokener);

	if (error == json_tokener_continue)
		err_set(err, ERR_PROTO, "not JSON: ends in the middle, at byte %zu", text.len);
	else if (error != json_tokener_success)
		err_set(err, ERR_PROTO, "not JSON at byte %zu: %s", end,
		    json_tokener_error_desc(error));
	else if (str_trim(str_sub(text, end, text.len)).len > 0)
		err_set(err, ERR_PROTO, "not JSON at byte %zu: text after the end", end);
	else if (!json_object_is_type(root, json_type_array))
		err_set(err, ERR_PROTO, "not a list of machines");
	else
		return root;
	json_object_put(root);
	return NULL;
}

struct machine_list *
mdb_parse(struct str text, struct err *err)
{
	struct json_tokener *tokener = NULL;
	struct machine_list *list = NULL;
	struct json_object *root;
	int rc = -1;

	if (text.len > MDB_BYTES_MAX) {
		err_set(err, ERR_LIMIT, "larger than %u MiB", MDB_BYTES_MAX >> 20);
		return NULL;
	}
	list = calloc(1, sizeof(*list));
	tokener = json_tokener_new_ex(MDB_DEPTH);
	if (list == NULL || tokener == NULL) {
		err_nomem(err);
		goto out;
	}
	arena_init(&list->arena, 0);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = parse_array(tokener, text, err);
	if (root != NULL)
		rc = read_machines(list, root, err);
	json_object_put(root);
out:
	if (tokener != NULL)
		json_tokener_free(tokener);
	if (rc == 0)
		return list;
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

static int
read_all(int fd, struct buf *text, struct err *err)
{
	for (;;) {
		ssize_t got;

		if (text->len > MDB_BYTES_MAX)
			return 0; /* mdb_parse says so */
		if (!buf_reserve(text, READ_BYTES)) {
			err_nomem(err);
			return -1;
		}
		got = read(fd, text->p + text->len, text->cap - text->len);
		if (got == 0)
			return 0;
		if (got > 0) {
			text->len += (size_t)got;
		} else if (errno != EINTR) {
			err_errno(err, errno, "read");
			return -1;
		}
	}
}

struct machine_list *
mdb_load(const char *path, struct err *err)
{
	struct machine_list *list = NULL;
	struct buf text;
	struct stat st;
	/* Not blocking, so that a named pipe does not stop us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	buf_init(&text, 0);
	if (fd < 0 && errno == ENOENT)
		err_set(err, ERR_NOTFOUND, "no such file");
	else if (fd < 0 || fstat(fd, &st) != 0)
		err_errno(err, errno, "open");
	else if (!S_ISREG(st.st_mode))
		err_set(err, ERR_IO, "not a file");
	else if (read_all(fd, &text, err) == 0)
		list = mdb_parse(buf_view(&text), err);
	if (list == NULL)
		err_wrap(err, "machine list %s", path);
	buf_fini(&text);
	if (fd >= 0)
		close(fd);
	return list;
}
