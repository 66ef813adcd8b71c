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

static const struct known_origin *
learn_origin(struct texts *texts, struct str key, size_t host_len)
{
	const struct writer_ops *ops = texts->writer->ops;
	struct origin_tags tags = { STR_EMPTY, STR_EMPTY, { 0 } };
	struct write_origin origin;
	struct known_origin *o;
	size_t len;
	char *p;

	origin.host = str_sub(key, 0, host_len);
	origin.app = str_sub(key, host_len + 1, key.len);
	if (texts->lookup != NULL)
		texts->lookup(texts->lookup_ctx, origin.host, origin.app, &tags);
	origin.region = tags.region;
	origin.address = tags.address;
	origin.text = STR_EMPTY;
	buf_clear(&texts->tail);
	if (ops->prepare_origin != NULL)
		ops->prepare_origin(texts->writer, &origin, &texts->tail);
	if (texts->tail.failed)
		return NULL;
	len = key.len + tags.region.len + tags.address.len + texts->tail.len;
	o = malloc(sizeof(*o) + len);
	if (o == NULL)
		return NULL;
	p = str_put(o->text, key);
	o->key = (struct str){ o->text, key.len };
	o->origin.host = str_sub(o->key, 0, host_len);
	o->origin.app = str_sub(o->key, host_len + 1, key.len);
	o->origin.region = (struct str){ p, tags.region.len };
	p = str_put(p, tags.region);
	o->origin.address = (struct str){ p, tags.address.len };
	p = str_put(p, tags.address);
	o->origin.text = (struct str){ p, texts->tail.len };
	str_put(p, buf_view(&texts->tail));
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
