#include "base/hash.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_CAP 8

/* MurmurHash3's finalizer: one to one, and every bit in reaches every bit out. */
static uint64_t
avalanche(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xFF51AFD7ED558CCD);
	x ^= x >> 33;
	x *= UINT64_C(0xC4CEB9FE1A85EC53);
	x ^= x >> 33;
	return x;
}

/* FNV-1a (RFC 9923), whose high bits are weak for short texts, hence the finalizer. */
uint64_t
hash_stable(struct str s)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325);

	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001B3);
	return avalanche(hash);
}

uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	return avalanche(avalanche(a + UINT64_C(0x9E3779B97F4A7C15)) ^ b);
}

static uint64_t seed[4];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void
seed_read(void)
{
	ssize_t n = getrandom(seed, sizeof(seed), 0);

	assert(n == (ssize_t)sizeof(seed)); /* up to 256 bytes come whole: getrandom(2) */
}

/* Both halves of the product: a change of one bit on either side spreads over all 64. */
static uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t
load64(const char *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint64_t
load32(const char *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/* At most 16 bytes as two words; which bytes are read twice depends on len alone. */
static void
load_tail(const char *p, size_t len, uint64_t out[2])
{
	if (len >= 8) {
		out[0] = load64(p);
		out[1] = load64(p + len - 8);
	} else if (len >= 4) {
		out[0] = load32(p);
		out[1] = load32(p + len - 4);
	} else if (len > 0) {
		out[0] = (uint64_t)(unsigned char)p[0] << 16 |
		         (uint64_t)(unsigned char)p[len / 2] << 8 | (unsigned char)p[len - 1];
		out[1] = 0;
	} else {
		out[0] = out[1] = 0;
	}
}

/*
 * Multiply and fold, 16 bytes at a time. Each factor is masked with a secret: a factor that a
 * sender could make zero would wipe out all that came before it.
 */
uint64_t
hash_bytes(struct str s)
{
	const char *p = s.p;
	size_t len = s.len;
	uint64_t hash, tail[2];

	pthread_once(&seed_once, seed_read);
	hash = seed[0];
	for (; len > 16; p += 16, len -= 16)
		hash = fold(load64(p) ^ seed[1], load64(p + 8) ^ hash);
	load_tail(p, len, tail);
	hash = fold(tail[0] ^ seed[2], tail[1] ^ hash);
	return fold(hash ^ seed[3], s.len ^ seed[1]);
}

void
map_init(struct map *m)
{
	*m = (struct map){ .slots = NULL };
}

void
map_fini(struct map *m)
{
	free(m->slots);
	map_init(m);
}

/* The key's slot, or the free one where it would go. cap is a power of two, never full. */
static struct map_entry *
find(const struct map *m, struct str key, uint64_t hash)
{
	size_t mask = m->cap - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct map_entry *e = &m->slots[i];

		if (e->value == NULL || (e->hash == hash && str_eq(e->key, key)))
			return e;
	}
}

void *
map_get(const struct map *m, struct str key)
{
	return m->len == 0 ? NULL : find(m, key, hash_bytes(key))->value;
}

static int
grow(struct map *m)
{
	struct map bigger = { .cap = m->cap == 0 ? FIRST_CAP : m->cap * 2, .len = m->len };

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return -1;
	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].value != NULL)
			*find(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
	}
	free(m->slots);
	*m = bigger;
	return 0;
}

int
map_put(struct map *m, struct str key, void *value)
{
	uint64_t hash = hash_bytes(key);
	struct map_entry *e;

	assert(value != NULL);
	e = m->len == 0 ? NULL : find(m, key, hash);
	if (e == NULL || e->value == NULL) {
		/* At most 7 of 10 slots are taken, to keep the runs short. */
		if ((m->len + 1) * 10 > m->cap * 7 && grow(m) != 0)
			return -1;
		e = find(m, key, hash);
		m->len++;
	}
	*e = (struct map_entry){ .key = key, .value = value, .hash = hash };
	return 0;
}

/* Frees slot i, moving up those behind it that would no longer be found across the gap. */
static void
close_gap(struct map *m, size_t i)
{
	size_t mask = m->cap - 1;

	for (size_t j = (i + 1) & mask; m->slots[j].value != NULL; j = (j + 1) & mask) {
		size_t from_home = (j - m->slots[j].hash) & mask;

		if (from_home >= ((j - i) & mask)) {
			m->slots[i] = m->slots[j];
			i = j;
		}
	}
	m->slots[i] = (struct map_entry){ .value = NULL };
}

void *
map_del(struct map *m, struct str key)
{
	struct map_entry *e;
	void *value;

	if (m->len == 0)
		return NULL;
	e = find(m, key, hash_bytes(key));
	value = e->value;
	if (value != NULL) {
		close_gap(m, (size_t)(e - m->slots));
		m->len--;
	}
	return value;
}

const struct map_entry *
map_next(const struct map *m, size_t *pos)
{
	while (*pos < m->cap) {
		const struct map_entry *e = &m->slots[(*pos)++];

		if (e->value != NULL)
			return e;
	}
	return NULL;
}
