#include "base/conf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/conf_priv.h"

#define READ_BYTES (64 * 1024)

struct doc {
	struct conf_doc pub;
	atomic_uint refs;
	struct arena arena; /* nodes and texts */
	char name[];
};

void
conf_place_pass(struct conf_place *at, const char *p, const char *end)
{
	bool ends_line = *p == '\n' || (*p == '\r' && (p + 1 == end || p[1] != '\n'));

	if (ends_line) {
		at->line++;
		at->column = 1;
	} else if (((unsigned char)*p & 0xC0) != 0x80) {
		at->column++;
	}
}

struct conf_place
conf_place_of(struct str text, size_t offset)
{
	struct conf_place at = { 1, 1 };

	for (size_t i = 0; i < offset; i++)
		conf_place_pass(&at, text.p + i, text.p + text.len);
	return at;
}

void
conf_mask_controls(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)p[i] < 0x20 || p[i] == 0x7F)
			p[i] = '?';
	}
}

struct conf_shown
conf_show(struct str s)
{
	struct conf_shown shown;
	size_t max = sizeof(shown.text) - sizeof("...");
	size_t len = s.len <= max ? s.len : utf8_valid_prefix(s.p, max);

	snprintf(shown.text, sizeof(shown.text), "%.*s%s", (int)len, len == 0 ? "" : s.p,
	    len < s.len ? "..." : "");
	conf_mask_controls(shown.text, strlen(shown.text));
	return shown;
}

void
conf_build_init(struct conf_build *b, struct arena *arena, const char *name)
{
	*b = (struct conf_build){ .arena = arena, .name = name };
}

void
conf_build_fini(struct conf_build *b)
{
	while (b->depth > 0)
		conf_build_close(b);
}

int
conf_build_fail(
    struct conf_build *b, enum err_code code, struct conf_place at, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	err_set(&b->err, code, "%s:%d:%d: %s", b->name, at.line, at.column, text);
	b->err_at = at;
	return -1;
}

int
conf_build_nomem(struct conf_build *b)
{
	err_nomem(&b->err);
	return -1;
}

static struct conf_frame *
innermost(struct conf_build *b)
{
	return b->depth == 0 ? NULL : &b->open[b->depth - 1];
}

static bool
awaits_key(struct conf_build *b)
{
	struct conf_frame *in = innermost(b);

	return in != NULL && in->node->shape == CONF_MAP && !in->has_key;
}

static int
take_key(struct conf_build *b, struct str key, struct conf_place at)
{
	struct conf_frame *in = innermost(b);
	const struct conf *earlier = map_get(&in->keys, key);

	if (earlier != NULL)
		return conf_build_fail(b, ERR_CONFIG, at, "key '%s' is given twice, first at %d:%d",
		    conf_show(key).text, earlier->key_line, earlier->key_column);
	in->has_key = true;
	in->key = key;
	in->key_at = at;
	return 0;
}

static int
link_child(struct conf_frame *in, struct conf *node)
{
	node->parent = in->node;
	if (in->node->shape == CONF_MAP) {
		node->key = in->key;
		node->key_line = in->key_at.line;
		node->key_column = in->key_at.column;
		if (map_put(&in->keys, node->key, node) != 0)
			return -1;
		in->has_key = false;
	}
	if (in->last == NULL)
		in->node->first = node;
	else
		in->last->next = node;
	in->last = node;
	return 0;
}

static struct conf *
node_new(struct conf_build *b, enum conf_shape shape, struct conf_place at)
{
	struct conf *node;

	if (b->node_count == CONF_NODES_MAX) {
		conf_build_fail(b, ERR_LIMIT, at, "more than %d values", CONF_NODES_MAX);
		return NULL;
	}
	node = arena_alloc(b->arena, sizeof(*node));
	if (node == NULL) {
		conf_build_nomem(b);
		return NULL;
	}
	*node = (struct conf){ .shape = shape, .line = at.line, .column = at.column };
	if (b->depth == 0) {
		assert(b->root == NULL);
		b->root = node;
	} else if (link_child(innermost(b), node) != 0) {
		conf_build_nomem(b);
		return NULL;
	}
	b->node_count++;
	return node;
}

int
conf_build_scalar(struct conf_build *b, struct str text, bool quoted, struct conf_place at)
{
	struct conf *node;
	struct str copy;

	if (text.len > 0 && memchr(text.p, '\0', text.len) != NULL)
		return conf_build_fail(b, ERR_CONFIG, at, "a text can't hold a NUL character");
	copy = arena_copy(b->arena, text);
	if (copy.p == NULL)
		return conf_build_nomem(b);
	if (awaits_key(b))
		return take_key(b, copy, at);
	node = node_new(b, CONF_SCALAR, at);
	if (node == NULL)
		return -1;
	node->text = copy;
	node->quoted = quoted;
	return 0;
}

int
conf_build_open(struct conf_build *b, enum conf_shape shape, struct conf_place at)
{
	struct conf *node;

	if (awaits_key(b))
		return conf_build_fail(b, ERR_CONFIG, at, "a key must be a text, not a %s",
		    shape == CONF_MAP ? "map" : "list");
	if (b->depth == CONF_DEPTH_MAX)
		return conf_build_fail(
		    b, ERR_LIMIT, at, "nested more than %d deep", CONF_DEPTH_MAX);
	node = node_new(b, shape, at);
	if (node == NULL)
		return -1;
	b->open[b->depth] = (struct conf_frame){ .node = node };
	map_init(&b->open[b->depth].keys);
	b->depth++;
	return 0;
}

void
conf_build_close(struct conf_build *b)
{
	assert(b->depth > 0);
	map_fini(&b->open[--b->depth].keys);
}

/* What neither reader takes, for which this can name the place better. */
static int
check_text(struct conf_build *b, struct str text)
{
	size_t utf8_len = utf8_valid_prefix(text.p, text.len);
	const char *nul;

	if (utf8_len < text.len)
		return conf_build_fail(b, ERR_CONFIG, conf_place_of(text, utf8_len), "not UTF-8");
	nul = memchr(text.p, '\0', text.len);
	if (nul != NULL)
		return conf_build_fail(
		    b, ERR_CONFIG, conf_place_of(text, (size_t)(nul - text.p)), "NUL byte");
	return 0;
}

static bool
starts_like_json(struct str text)
{
	struct str trimmed = str_trim(text);

	return trimmed.len > 0 && (trimmed.p[0] == '{' || trimmed.p[0] == '[');
}

static bool
is_after(struct conf_place a, struct conf_place b)
{
	return a.line > b.line || (a.line == b.line && a.column > b.column);
}

/*
 * libyaml does not take all of JSON: it refuses surrogate pairs and some tabs, and misreads a ':'
 * on the next line. So what looks like JSON is read as such, and as YAML if that fails; should that
 * fail too, the complaint that got further is the one about the form the author had in mind.
 */
static int
read_text(struct conf_build *b, struct str text)
{
	struct err json_err;
	struct conf_place json_at;

	if (!starts_like_json(text))
		return conf_yaml_read(b, text);
	if (conf_json_read(b, text) == 0)
		return 0;
	if (b->err.code != ERR_CONFIG)
		return -1;
	json_err = b->err;
	json_at = b->err_at;
	conf_build_fini(b);
	arena_reset(b->arena);
	conf_build_init(b, b->arena, b->name);
	if (conf_yaml_read(b, text) == 0)
		return 0;
	if (b->err.code == ERR_CONFIG && is_after(json_at, b->err_at))
		b->err = json_err;
	return -1;
}

static struct doc *
doc_new(const char *name)
{
	size_t name_bytes = strlen(name) + 1;
	struct doc *doc = malloc(sizeof(*doc) + name_bytes);

	if (doc == NULL)
		return NULL;
	*doc = (struct doc){ .pub = { .name = doc->name } };
	atomic_init(&doc->refs, 1);
	arena_init(&doc->arena, 0);
	memcpy(doc->name, name, name_bytes);
	return doc;
}

struct conf_doc *
conf_parse(struct str text, const char *name, struct err *err)
{
	struct conf_build b;
	struct doc *doc;

	assert(name != NULL && err != NULL);
	if (text.len > CONF_TEXT_BYTES_MAX) {
		err_set(err, ERR_LIMIT, "%s: longer than %d bytes", name, CONF_TEXT_BYTES_MAX);
		return NULL;
	}
	doc = doc_new(name);
	if (doc == NULL) {
		err_nomem(err);
		return NULL;
	}
	if (str_starts(text, STR("\xEF\xBB\xBF"))) /* byte order mark */
		text = str_sub(text, 3, SIZE_MAX);
	conf_build_init(&b, &doc->arena, doc->name);
	if (text.len > 0 && (check_text(&b, text) != 0 || read_text(&b, text) != 0)) {
		*err = b.err;
		conf_doc_unref(&doc->pub);
		doc = NULL;
	} else if (b.root != NULL && !conf_is_null(b.root)) {
		doc->pub.root = b.root;
	}
	conf_build_fini(&b);
	return doc == NULL ? NULL : &doc->pub;
}

static int
read_file(int fd, struct buf *out)
{
	ssize_t n;

	do {
		if (!buf_reserve(out, READ_BYTES))
			return ENOMEM;
		n = read(fd, out->p + out->len, READ_BYTES);
		if (n > 0)
			out->len += (size_t)n;
		else if (n < 0 && errno != EINTR)
			return errno;
	} while (n != 0 && out->len <= CONF_TEXT_BYTES_MAX);
	return 0;
}

struct conf_doc *
conf_load(const char *path, struct err *err)
{
	struct conf_doc *doc = NULL;
	struct buf text;
	int fd, errnum;

	assert(path != NULL && err != NULL);
	buf_init(&text, 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err_errno(err, errno, "%s", path);
		goto out;
	}
	errnum = read_file(fd, &text);
	if (errnum != 0) {
		err_errno(err, errnum, "%s", path);
		goto out;
	}
	doc = conf_parse(buf_view(&text), path, err);
out:
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	return doc;
}

struct conf_doc *
conf_doc_ref(struct conf_doc *pub)
{
	struct doc *doc = CONTAINER_OF(pub, struct doc, pub);

	atomic_fetch_add_explicit(&doc->refs, 1, memory_order_relaxed);
	return pub;
}

void
conf_doc_unref(struct conf_doc *pub)
{
	struct doc *doc;

	if (pub == NULL)
		return;
	doc = CONTAINER_OF(pub, struct doc, pub);
	/* What other threads read of the tree comes before its end. */
	if (atomic_fetch_sub_explicit(&doc->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_fini(&doc->arena);
	free(doc);
}

bool
conf_is_null(const struct conf *node)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

	if (node->shape != CONF_SCALAR || node->quoted)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(nulls); i++) {
		if (str_eq(node->text, str_of(nulls[i])))
			return true;
	}
	return false;
}

const struct conf *
conf_child(const struct conf *map, const char *key)
{
	struct str wanted = str_of(key);

	if (map == NULL || map->shape != CONF_MAP)
		return NULL;
	for (const struct conf *c = map->first; c != NULL; c = c->next) {
		if (str_eq(c->key, wanted))
			return conf_is_null(c) ? NULL : c;
	}
	return NULL;
}
