#include "pstore/texts_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/desc.h"

#define FIRST_BUCKETS 1024
/* Regions and addresses may change, and nobody tells: they are asked for again after that time. */
#define ORIGINS_FRESH_NS (60 * NS_PER_S)
/* A description that was in no record between two tidyings is let go of. */
#define TIDY_NS (600 * NS_PER_S)

int
texts_init(struct texts *texts, struct store *store, const struct consumer *consumer,
    const struct writer *writer, origin_lookup *lookup, void *ctx, struct err *err)
{
	*texts = (struct texts){ .store = store,
		.consumer = consumer,
		.writer = writer,
		.lookup = lookup,
		.lookup_ctx = ctx,
		.bucket_count = FIRST_BUCKETS,
		.tidied_ns = INT64_MIN,
		.origins_ns = INT64_MIN };
	map_init(&texts->origins);
	buf_init(&texts->scratch, 0);
	buf_init(&texts->tail, 0);
	texts->buckets = calloc(FIRST_BUCKETS, sizeof(struct known_series *));
	if (texts->buckets != NULL)
		return 0;
	err_nomem(err);
	return -1;
}

static void
drop_origins(struct texts *texts)
{
	const struct map_entry *entry;
	size_t pos = 0;

	while ((entry = map_next(&texts->origins, &pos)) != NULL)
		free(entry->value);
	map_fini(&texts->origins);
	map_init(&texts->origins);
}

/* Those that were not used since the tidying of that number. */
static void
drop_series(struct texts *texts, uint64_t since)
{
	for (size_t i = 0; i < texts->bucket_count; i++) {
		struct known_series **at = &texts->buckets[i];

		while (*at != NULL) {
			struct known_series *s = *at;

			if (s->used >= since) {
				at = &s->next;
				continue;
			}
			*at = s->next;
			desc_release(texts->store, s->series.desc);
			free(s);
			texts->series_count--;
		}
	}
}

void
texts_fini(struct texts *texts)
{
	if (texts->buckets != NULL)
		drop_series(texts, UINT64_MAX);
	free(texts->buckets);
	drop_origins(texts);
	buf_fini(&texts->scratch);
	buf_fini(&texts->tail);
}

void
texts_tidy(struct texts *texts, int64_t now_ns)
{
	if (texts->origins_ns == INT64_MIN)
		texts->origins_ns = texts->tidied_ns = now_ns;
	if (now_ns - texts->origins_ns >= ORIGINS_FRESH_NS) {
		drop_origins(texts);
		texts->origins_ns = now_ns;
	}
	if (now_ns - texts->tidied_ns >= TIDY_NS) {
		drop_series(texts, texts->tidied);
		texts->tidied++;
		texts->tidied_ns = now_ns;
	}
}

/* Series. */

static size_t
bucket_of(const struct texts *texts, const struct metric_desc *desc)
{
	/* Blocks of the heap lie on multiples of 16. */
	uint64_t hash = ((uintptr_t)desc >> 4) * UINT64_C(0x9E3779B97F4A7C15);

	return (size_t)(hash >> 32) & (texts->bucket_count - 1);
}

/* Twice the buckets; where there is no memory, chains get longer. */
static void
grow_buckets(struct texts *texts)
{
	struct known_series **old = texts->buckets;
	size_t old_count = texts->bucket_count;
	struct known_series **buckets = calloc(old_count * 2, sizeof(struct known_series *));

	if (buckets == NULL)
		return;
	texts->buckets = buckets;
	texts->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i] != NULL) {
			struct known_series *s = old[i];
			size_t to = bucket_of(texts, s->series.desc);

			old[i] = s->next;
			s->next = buckets[to];
			buckets[to] = s;
		}
	}
	free(old);
}

static enum series_use
use_of(const struct texts *texts, const struct metric_desc *desc)
{
	const struct consumer *c = texts->consumer;

	if (regexes_match(&c->exclude, desc->path) ||
	    (c->include.len > 0 && !regexes_match(&c->include, desc->path)))
		return SERIES_EXCLUDED;
	return (texts->writer->kinds & KIND_BIT(desc->kind)) == 0 ? SERIES_UNSUPPORTED
	                                                          : SERIES_WRITTEN;
}

static const struct known_series *
learn_series(struct texts *texts, const struct metric_desc *desc)
{
	const struct writer_ops *ops = texts->writer->ops;
	enum series_use use = use_of(texts, desc);
	struct buf *head = &texts->scratch, *tail = &texts->tail;
	struct known_series *s;
	char *end;

	buf_clear(head);
	buf_clear(tail);
	if (use == SERIES_WRITTEN && ops->prepare_series != NULL)
		ops->prepare_series(texts->writer, desc, head, tail);
	if (head->failed || tail->failed)
		return NULL;
	s = malloc(sizeof(*s) + head->len + tail->len);
	if (s == NULL)
		return NULL;
	s->use = use;
	s->used = texts->tidied;
	s->echo = texts->consumer->debug_metric == NULL ||
	          re_match(texts->consumer->debug_metric, desc->path);
	end = str_put(s->text, buf_view(head));
	str_put(end, buf_view(tail));
	s->series = (struct write_series){ desc, { s->text, head->len }, { end, tail->len } };
	desc_hold(texts->store, desc);
	if (texts->series_count >= texts->bucket_count)
		grow_buckets(texts);
	s->next = texts->buckets[bucket_of(texts, desc)];
	texts->buckets[bucket_of(texts, desc)] = s;
	texts->series_count++;
	return s;
}

const struct known_series *
texts_series(struct texts *texts, const struct metric_desc *desc)
{
	struct known_series *s = texts->buckets[bucket_of(texts, desc)];

	while (s != NULL && s->series.desc != desc)
		s = s->next;
	if (s == NULL)
		return learn_series(texts, desc);
	s->used = texts->tidied;
	return s;
}

/* Endpoints. */

static struct str
copy_text(char **at, struct str s)
{
	struct str copy = { *at, s.len };

	*at = str_put(*at, s);
	return copy;
}

/* On the heap; text is what prepare_origin made. NULL when out of memory. */
static struct known_origin *
copy_origin(const struct write_origin *from, struct str key, struct str text)
{
	size_t len = key.len + from->region.len + from->address.len + text.len;
	struct known_origin *o;
	char *at;

	for (size_t i = 0; i < from->tag_count; i++)
		len += from->tags[i].key.len + from->tags[i].value.len;
	o = malloc(sizeof(*o) + from->tag_count * sizeof(*o->tags) + len);
	if (o == NULL)
		return NULL;
	at = (char *)&o->tags[from->tag_count];
	o->key = copy_text(&at, key);
	o->origin = (struct write_origin){
		.host = str_sub(o->key, 0, from->host.len),
		.app = str_sub(o->key, from->host.len + 1, key.len),
		.tags = o->tags,
		.tag_count = from->tag_count,
	};
	o->origin.region = copy_text(&at, from->region);
	o->origin.address = copy_text(&at, from->address);
	o->origin.text = copy_text(&at, text);
	for (size_t i = 0; i < from->tag_count; i++) {
		o->tags[i].key = copy_text(&at, from->tags[i].key);
		o->tags[i].value = copy_text(&at, from->tags[i].value);
	}
	return o;
}

static const struct known_origin *
learn_origin(struct texts *texts, struct str key, size_t host_len)
{
	const struct writer_ops *ops = texts->writer->ops;
	struct origin_tags tags;
	struct write_origin origin = { .tags = tags.tags };
	struct known_origin *o;

	tags.region = tags.address = STR_EMPTY;
	tags.tag_count = 0;
	origin.host = str_sub(key, 0, host_len);
	origin.app = str_sub(key, host_len + 1, key.len);
	if (texts->lookup != NULL)
		texts->lookup(texts->lookup_ctx, origin.host, origin.app, &tags);
	origin.region = tags.region;
	origin.address = tags.address;
	origin.tag_count = tags.tag_count;
	buf_clear(&texts->tail);
	if (ops->prepare_origin != NULL)
		ops->prepare_origin(texts->writer, &origin, &texts->tail);
	if (texts->tail.failed)
		return NULL;
	o = copy_origin(&origin, key, buf_view(&texts->tail));
	if (o == NULL)
		return NULL;
	o->echo = texts->consumer->debug_host == NULL ||
	          re_match(texts->consumer->debug_host, o->origin.host);
	if (map_put(&texts->origins, o->key, o) == 0)
		return o;
	free(o);
	return NULL;
}

const struct known_origin *
texts_origin(struct texts *texts, struct str host, struct str app)
{
	const struct known_origin *o;

	buf_clear(&texts->scratch);
	buf_str(&texts->scratch, host);
	buf_putc(&texts->scratch, '\0');
	buf_str(&texts->scratch, app);
	if (texts->scratch.failed)
		return NULL;
	o = map_get(&texts->origins, buf_view(&texts->scratch));
	return o != NULL ? o : learn_origin(texts, buf_view(&texts->scratch), host.len);
}

bool
write_has_tag(const struct metric_desc *desc, struct str key)
{
	for (size_t i = 0; i < desc->tag_count; i++) {
		if (str_eq(desc->tags[i].key, key))
			return true;
	}
	return false;
}

bool
write_tags_clash(const struct write_record *record)
{
	const struct write_origin *origin = record->origin;
	const struct metric_desc *desc = record->series->desc;

	for (size_t i = 0; desc->tag_count > 0 && i < origin->tag_count; i++) {
		if (write_has_tag(desc, origin->tags[i].key))
			return true;
	}
	return false;
}
