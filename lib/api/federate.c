/*
 * GET /federate?match[]=SELECTOR...: the newest values of the series selected, as Prometheus text.
 *
 * The format wants the samples of one name together, so the names come first: they are collected
 * when the request begins, then each is looked for in all sets while the answer is sent.
 */
#include <stdlib.h>

#include "api/query_priv.h"
#include "api/route_priv.h"
#include "api/selector_priv.h"
#include "base/hash.h"
#include "messages/prometheus.h"
#include "store/iter.h"

#define SELECTORS_MAX 16
#define RECORDS       64
/* Names, and which port an endpoint has: 10,000 of each take about 2 MiB. */
#define NAMES_BYTES (64 * 1024 * 1024)

/* All series of a path, which become samples of one name. */
struct family {
	struct str name;
	struct metric_desc desc; /* of the first one: path, kind, description, in the arena */
	bool selected;           /* by its name */
};

/* What is known of an endpoint beyond its set. */
struct place {
	struct str host, app;
	uint16_t port;
	const struct tag *tags;
	size_t tag_count;
};

/* instance and job, and those of the endpoint's own that are called otherwise. */
#define LABELS_MAX (2 + TARGET_TAGS_MAX)

struct federation {
	struct stream stream;
	struct store *store;
	struct arena arena;
	struct selector selectors[SELECTORS_MAX];
	size_t selector_count;
	struct member **members; /* with references: hosts and applications are theirs */
	struct place *places;    /* sorted */
	size_t place_count;
	struct map known;         /* families by path */
	struct family **families; /* those selected, sorted */
	size_t family_count, next;

	struct fleet_iter *iter; /* of the family at hand; NULL between two */
	const struct family *family;
	bool has_head;
	const struct series_set *set; /* whose labels these are */
	struct tag labels[LABELS_MAX];
	size_t label_count;
	struct buf instance;
};

/* A sample, for selectors. */
struct series {
	const struct federation *f;
	const struct metric_desc *desc;
	struct str name;
};

static const char *const histogram_suffixes[] = { "", "_bucket", "_sum", "_count" };

/* A path has 4,096 bytes at most, and a name a suffix for its unit and one of those above. */
#define NAME_BYTES (4096 + 64)

static struct str
series_label(const void *ctx, struct str label)
{
	const struct series *s = ctx;

	if (str_eq(label, STR("__name__")))
		return s->name;
	for (size_t i = 0; i < s->f->label_count; i++) {
		if (str_eq(label, s->f->labels[i].key))
			return s->f->labels[i].value;
	}
	for (size_t i = 0; i < s->desc->tag_count; i++) {
		if (str_eq(label, s->desc->tags[i].key))
			return s->desc->tags[i].value;
	}
	return STR_EMPTY;
}

/* The names that samples of the family have, one by one; false behind the last. */
static bool
sample_name(const struct family *family, size_t i, char *room, struct str *out)
{
	if (i >= (family->desc.kind == KIND_DIST ? ARRAY_LEN(histogram_suffixes) : 1))
		return false;
	out->p = room;
	out->len =
	    (size_t)(str_put(str_put(room, family->name), str_of(histogram_suffixes[i])) - room);
	return true;
}

/* A histogram is selected as a whole, by any of its names. */
static bool
is_selected(const struct federation *f, const struct metric_desc *desc)
{
	struct series series = { .f = f, .desc = desc };
	char room[NAME_BYTES];

	for (size_t k = 0; sample_name(f->family, k, room, &series.name); k++) {
		for (size_t i = 0; i < f->selector_count; i++) {
			if (selector_matches(&f->selectors[i], series_label, &series))
				return true;
		}
	}
	return false;
}

static bool
name_is_selected(const struct federation *f, const struct family *family)
{
	char room[NAME_BYTES];
	struct str name;

	for (size_t k = 0; sample_name(family, k, room, &name); k++) {
		for (size_t i = 0; i < f->selector_count; i++) {
			if (selector_may_match_name(&f->selectors[i], name))
				return true;
		}
	}
	return false;
}

/* Endpoints. */

static int
place_cmp(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = str_cmp(x->host, y->host);

	return order != 0 ? order : str_cmp(x->app, y->app);
}

/* A label that no sample has for another reason. */
static bool
is_free_label(struct str key)
{
	return !str_starts(key, STR("__")) && !str_eq(key, STR("instance")) &&
	       !str_eq(key, STR("job")) && !str_eq(key, STR("le"));
}

/* What of the view is needed, in the arena. -1 with ERR_NOMEM. */
static int
add_place(
    struct federation *f, struct place *place, const struct member_view *view, struct err *err)
{
	struct tag *tags = arena_array(&f->arena, view->tag_count, sizeof(*tags));
	bool failed = tags == NULL;

	*place = (struct place){
		.host = view->host, .app = view->app, .port = view->port, .tags = tags
	};
	for (size_t i = 0; !failed && i < view->tag_count; i++) {
		struct tag *tag = &tags[place->tag_count];

		if (!is_free_label(view->tags[i].key))
			continue;
		tag->key = arena_copy(&f->arena, view->tags[i].key);
		tag->value = arena_copy(&f->arena, view->tags[i].value);
		failed = tag->key.p == NULL || tag->value.p == NULL;
		place->tag_count++;
	}
	if (!failed)
		return 0;
	err_nomem(err);
	return -1;
}

static int
find_places(struct federation *f, struct fleet *fleet, struct err *err)
{
	if (fleet_snapshot(fleet, &f->members, &f->place_count, err) != 0) {
		f->place_count = 0;
		return -1;
	}
	f->places = arena_array(&f->arena, f->place_count, sizeof(*f->places));
	if (f->places == NULL) {
		err_nomem(err);
		return -1;
	}
	for (size_t i = 0; i < f->place_count; i++) {
		struct member_view view;

		member_view(f->members[i], &view);
		if (add_place(f, &f->places[i], &view, err) != 0)
			return -1;
	}
	return 0;
}

/* The labels of all samples of the set; a removed endpoint has no port and no tags. */
static void
use_set(struct federation *f, const struct series_set *set)
{
	const struct place key = { .host = series_set_host(set), .app = series_set_app(set) };
	const struct place *found;

	if (f->set == set)
		return;
	found = f->place_count == 0
	            ? NULL
	            : bsearch(&key, f->places, f->place_count, sizeof(key), place_cmp);
	buf_clear(&f->instance);
	if (str_is_bare_ipv6(key.host))
		buf_printf(&f->instance, "[%.*s]", STR_ARG(key.host));
	else
		buf_str(&f->instance, key.host);
	if (found != NULL && found->port != 0)
		buf_printf(&f->instance, ":%u", (unsigned)found->port);
	f->labels[0] = (struct tag){ STR("instance"), buf_view(&f->instance) };
	f->labels[1] = (struct tag){ STR("job"), key.app };
	f->label_count = 2;
	for (size_t i = 0; found != NULL && i < found->tag_count; i++)
		f->labels[f->label_count++] = found->tags[i];
	f->set = set;
}

/* Names. */

static int
add_family(struct federation *f, const struct metric_desc *desc, struct err *err)
{
	struct family *family = arena_alloc(&f->arena, sizeof(*family));
	struct buf name;

	buf_init(&name, 0);
	if (family == NULL)
		goto failed;
	*family = (struct family){ .desc = *desc };
	family->desc.path = arena_copy(&f->arena, desc->path);
	family->desc.description = arena_copy(&f->arena, desc->description);
	if (prometheus_name(desc, &name)) {
		family->name = arena_copy(&f->arena, buf_view(&name));
		family->selected = family->name.p != NULL && name_is_selected(f, family);
	}
	if (name.failed || family->desc.path.p == NULL || family->desc.description.p == NULL ||
	    map_put(&f->known, family->desc.path, family) != 0)
		goto failed;
	f->family_count += family->selected;
	buf_fini(&name);
	return 0;
failed:
	buf_fini(&name);
	err_nomem(err);
	return -1;
}

static int
family_cmp(const void *a, const void *b)
{
	const struct family *x = *(struct family *const *)a, *y = *(struct family *const *)b;
	int order = str_cmp(x->name, y->name);

	return order != 0 ? order : str_cmp(x->desc.path, y->desc.path);
}

/* Of paths that give one name the first counts. */
static int
sort_families(struct federation *f, struct err *err)
{
	const struct map_entry *entry;
	size_t n = 0, kept = 0;

	f->families = arena_array(&f->arena, f->family_count, sizeof(struct family *));
	if (f->families == NULL) {
		err_nomem(err);
		return -1;
	}
	for (size_t pos = 0; (entry = map_next(&f->known, &pos)) != NULL;) {
		struct family *family = entry->value;

		if (family->selected)
			f->families[n++] = family;
	}
	if (n > 0)
		qsort(f->families, n, sizeof(struct family *), family_cmp);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || !str_eq(f->families[i]->name, f->families[i - 1]->name))
			f->families[kept++] = f->families[i];
	}
	f->family_count = kept;
	return 0;
}

static int
find_families(struct federation *f, struct err *err)
{
	struct fleet_iter *all = fleet_iter_new(f->store, STR_EMPTY, ITER_UNDER, err);
	struct record records[RECORDS];
	const struct series_set *set;
	size_t n;

	if (all == NULL)
		return -1;
	while ((n = fleet_iter_next(all, &set, records, RECORDS)) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (map_get(&f->known, records[i].desc->path) == NULL &&
			    add_family(f, records[i].desc, err) != 0) {
				fleet_iter_free(all);
				return -1;
			}
		}
	}
	fleet_iter_free(all);
	return sort_families(f, err);
}

/* The answer. */

static void
put_record(struct federation *f, const struct record *record, struct buf *out)
{
	const struct family *family = f->family;
	const struct metric_desc *desc = record->desc;
	const struct prometheus_labels more = { f->labels, f->label_count };
	bool histogram = family->desc.kind == KIND_DIST;

	if ((desc->kind == KIND_DIST) != histogram || desc->not_cumulative ||
	    desc->kind == KIND_LIST || !is_selected(f, desc))
		return;
	if (!f->has_head)
		prometheus_put_head(
		    out, family->name, &family->desc, histogram ? "histogram" : "untyped");
	f->has_head = true;
	prometheus_put_sample(out, family->name, desc, &record->value, &more, record->ts_ns);
}

/* Goes on to the next family. False at the end, or with *failed without memory. */
static bool
next_family(struct federation *f, bool *failed)
{
	struct err err;

	if (f->next == f->family_count)
		return false;
	f->family = f->families[f->next++];
	f->has_head = false;
	f->iter = fleet_iter_new(f->store, f->family->desc.path, ITER_EXACT, &err);
	*failed = f->iter == NULL;
	return !*failed;
}

static enum stream_result
federation_fill(struct stream *stream, struct buf *out)
{
	struct federation *f = CONTAINER_OF(stream, struct federation, stream);
	struct record records[RECORDS];
	size_t end = out->len + STREAM_PIECE_BYTES;
	const struct series_set *set;
	bool failed = false;

	while (out->len < end) {
		size_t n;

		if (f->iter == NULL && !next_family(f, &failed))
			return failed ? STREAM_FAILED : STREAM_END;
		n = fleet_iter_next(f->iter, &set, records, RECORDS);
		if (n == 0) {
			fleet_iter_free(f->iter);
			f->iter = NULL;
			continue;
		}
		use_set(f, set);
		for (size_t i = 0; i < n; i++)
			put_record(f, &records[i], out);
		if (f->instance.failed)
			return STREAM_FAILED;
	}
	return STREAM_MORE;
}

static void
federation_free(struct federation *f)
{
	if (f == NULL)
		return;
	fleet_iter_free(f->iter);
	for (size_t i = 0; i < f->selector_count; i++)
		selector_fini(&f->selectors[i]);
	if (f->members != NULL)
		fleet_snapshot_free(f->members, f->place_count);
	map_fini(&f->known);
	buf_fini(&f->instance);
	arena_fini(&f->arena);
	free(f);
}

static void
federation_close(struct stream *stream)
{
	federation_free(CONTAINER_OF(stream, struct federation, stream));
}

static int
parse_selectors(struct federation *f, struct request *req, struct err *err)
{
	struct str query = req->query, text;

	while (query_next(&query, "match[]", &req->arena, &text)) {
		struct selector *s = &f->selectors[f->selector_count];

		if (f->selector_count == SELECTORS_MAX) {
			err_set(err, ERR_CONFIG, "more than %d selectors", SELECTORS_MAX);
			return -1;
		}
		/* The arena of the answer, which lives longer than that of the request. */
		text = arena_copy(&f->arena, text);
		if (text.p == NULL) {
			err_nomem(err);
			return -1;
		}
		f->selector_count++;
		if (selector_parse(s, text, &f->arena, err) != 0)
			return -1;
	}
	return 0;
}

void
federate_get(struct request *req, struct response *resp)
{
	struct federation *f = calloc(1, sizeof(*f));
	struct err err;

	if (f == NULL) {
		err_nomem(&err);
		goto failed;
	}
	f->stream = (struct stream){ federation_fill, federation_close };
	f->store = req->service->env.store;
	arena_init(&f->arena, NAMES_BYTES);
	map_init(&f->known);
	buf_init(&f->instance, 0);
	if (parse_selectors(f, req, &err) != 0 ||
	    find_places(f, req->service->env.fleet, &err) != 0 || find_families(f, &err) != 0)
		goto failed;
	resp->content_type = PROMETHEUS_CONTENT_TYPE;
	resp->stream = &f->stream;
	return;
failed:
	federation_free(f);
	response_err(req, resp, &err);
}
