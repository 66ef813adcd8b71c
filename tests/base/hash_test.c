#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "fault.h"

/* hash_bytes of one text as a process of its own computes it. */
static uint64_t
hash_in_a_child(struct str s)
{
	uint64_t hash = 0;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		hash = hash_bytes(s);
		_exit(write(fds[1], &hash, sizeof(hash)) != (ssize_t)sizeof(hash));
	}
	assert_int_equal(read(fds[0], &hash, sizeof(hash)), sizeof(hash));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fds[0]);
	close(fds[1]);
	return hash;
}

/* Has to run first: the seed is read at the first use. */
static void
bytes_hash_differs_between_processes(void **state)
{
	(void)state;
	assert_true(hash_in_a_child(STR("/proc/cpu")) != hash_in_a_child(STR("/proc/cpu")));
}

static void *
hash_once(void *hash)
{
	*(uint64_t *)hash = hash_bytes(STR("/proc/cpu"));
	return NULL;
}

/* Has to run second. */
static void
threads_share_one_seed(void **state)
{
	pthread_t threads[4];
	uint64_t hashes[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hash_once, &hashes[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_true(hashes[i] == hash_bytes(STR("/proc/cpu")));
}

static void
bytes_hash_sees_every_bit_and_the_length(void **state)
{
	enum { LONGEST = 70 };

	(void)state;
	for (size_t len = 0; len <= LONGEST; len++) {
		char *text = calloc(len + 1, 1); /* exact, for the address sanitizer */
		struct str s = { text, len };
		uint64_t plain;

		assert_non_null(text);
		plain = hash_bytes(s);
		assert_true(hash_bytes(s) == plain);
		s.len++;
		assert_true(hash_bytes(s) != plain);
		s.len--;
		for (size_t bit = 0; bit < len * 8; bit++) {
			text[bit / 8] = (char)(1u << bit % 8);
			assert_true(hash_bytes(s) != plain);
			text[bit / 8] = 0;
		}
		free(text);
	}
}

/* Chi-square of numbered keys over 256 buckets, taken from both ends of the hash. */
static void
numbered_keys_spread_evenly(void **state)
{
	enum { KEYS = 256 * 256 };
	static unsigned low[256], high[256], stable[256];
	double sums[3] = { 0, 0, 0 };
	char key[32];

	(void)state;
	for (int i = 0; i < KEYS; i++) {
		struct str s = { key, (size_t)snprintf(key, sizeof(key), "/sys/cpu/%d/busy", i) };
		uint64_t hash = hash_bytes(s);

		low[hash & 255]++;
		high[hash >> 56]++;
		stable[hash_stable(s) & 255]++;
	}
	for (int i = 0; i < 256; i++) {
		sums[0] += (low[i] - 256.0) * (low[i] - 256.0) / 256;
		sums[1] += (high[i] - 256.0) * (high[i] - 256.0) / 256;
		sums[2] += (stable[i] - 256.0) * (stable[i] - 256.0) / 256;
	}
	/* 255 expected, deviation 22.6; beyond 450 it is not chance. */
	for (size_t i = 0; i < ARRAY_LEN(sums); i++)
		assert_true(sums[i] < 450);
}

static void
stable_hash_never_changes(void **state)
{
	static const struct {
		struct str text;
		uint64_t want;
	} rows[] = {
		{ STR(""), UINT64_C(0xEFD01F60BA992926) },
		{ STR("a"), UINT64_C(0x82A2A958A9BECE5B) },
		{ STR("foobar"), UINT64_C(0x2C22194922D1672B) },
		{ STR("web1/health agent"), UINT64_C(0x66F52608E25E585D) },
		{ STR("\xff\x00\x80"), UINT64_C(0x07B5CBEBC9388E00) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (hash_stable(rows[i].text) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

static void
mix_never_changes_and_knows_its_sides_apart(void **state)
{
	(void)state;
	assert_true(hash_mix(0, 0) == UINT64_C(0x6393D51C06C618DC));
	assert_true(hash_mix(1, 2) == UINT64_C(0xC7EAFBA733477D2C));
	assert_true(hash_mix(2, 1) == UINT64_C(0x25ABCB5C468F3099));
	assert_true(hash_mix(UINT64_MAX, UINT64_MAX) == UINT64_C(0x4369E3027C126AAA));
}

static void
an_empty_map_has_nothing(void **state)
{
	size_t pos = 0;
	struct map m;

	(void)state;
	map_init(&m);
	assert_null(map_get(&m, STR("a")));
	assert_null(map_del(&m, STR("a")));
	assert_null(map_next(&m, &pos));
	map_fini(&m);
}

static void
the_empty_key_is_a_key(void **state)
{
	struct map m;
	int value;

	(void)state;
	map_init(&m);
	assert_int_equal(map_put(&m, STR_EMPTY, &value), 0);
	assert_ptr_equal(map_get(&m, STR("")), &value);
	assert_ptr_equal(map_del(&m, STR("")), &value);
	map_fini(&m);
}

static void
put_replaces_value_and_key(void **state)
{
	char old_key[] = "key", new_key[] = "key";
	int old_value, new_value;
	struct map m;

	(void)state;
	map_init(&m);
	assert_int_equal(map_put(&m, str_of(old_key), &old_value), 0);
	assert_int_equal(map_put(&m, str_of(new_key), &new_value), 0);
	old_key[0] = '?'; /* as if freed with its value */
	assert_int_equal(m.len, 1);
	assert_ptr_equal(map_get(&m, STR("key")), &new_value);
	map_fini(&m);
}

enum { KEYS = 500 };

struct model {
	char names[KEYS][8];
	int *values[KEYS];
	size_t len;
};

static void
model_init(struct model *model)
{
	memset(model, 0, sizeof(*model));
	for (int i = 0; i < KEYS; i++)
		snprintf(model->names[i], sizeof(model->names[i]), "k%d", i);
}

static void
assert_same(const struct map *m, const struct model *model)
{
	const struct map_entry *e;
	size_t pos = 0, n = 0;

	assert_int_equal(m->len, model->len);
	for (int i = 0; i < KEYS; i++)
		assert_ptr_equal(map_get(m, str_of(model->names[i])), model->values[i]);
	while ((e = map_next(m, &pos)) != NULL) {
		assert_ptr_equal(map_get(m, e->key), e->value);
		n++;
	}
	assert_int_equal(n, model->len);
	assert_true(m->len * 10 <= m->cap * 7);
}

/* The number of live keys swings between few and all, over thousands of puts and dels. */
static void
a_map_agrees_with_a_plain_array(void **state)
{
	static struct model model;
	static int values[3];
	uint64_t random = 1;
	struct map m;

	(void)state;
	model_init(&model);
	map_init(&m);
	for (int step = 0; step < 40000; step++) {
		struct str key;
		size_t i;

		random = hash_mix(random, (uint64_t)step);
		i = random % KEYS;
		key = str_of(model.names[i]);
		if ((random >> 32) % 100 < (step / 5000 % 2 == 0 ? 80u : 20u)) {
			int *value = &values[(random >> 48) % ARRAY_LEN(values)];

			assert_int_equal(map_put(&m, key, value), 0);
			model.len += model.values[i] == NULL;
			model.values[i] = value;
		} else {
			assert_ptr_equal(map_del(&m, key), model.values[i]);
			model.len -= model.values[i] != NULL;
			model.values[i] = NULL;
		}
		if (step % 100 == 0)
			assert_same(&m, &model);
	}
	assert_same(&m, &model);
	map_fini(&m);
}

static void
without_memory_a_map_stays_as_it_was(void **state)
{
	static struct model model;
	static int value;
	unsigned failures = 0;
	struct map m;

	(void)state;
	model_init(&model);
	map_init(&m);
	for (int i = 0; i < KEYS; i++) {
		fault_malloc(1);
		if (map_put(&m, str_of(model.names[i]), &value) != 0) {
			failures++;
			assert_same(&m, &model);
			fault_malloc(0);
			assert_int_equal(map_put(&m, str_of(model.names[i]), &value), 0);
		}
		model.values[i] = &value;
		model.len++;
		fault_malloc(1);
		assert_int_equal(map_put(&m, str_of(model.names[i]), &value), 0);
		assert_false(fault_happened());
		assert_same(&m, &model);
	}
	fault_malloc(0);
	assert_int_equal(failures, 8); /* 8, 16, ... 1024 slots */
	map_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_hash_differs_between_processes),
		cmocka_unit_test(threads_share_one_seed),
		cmocka_unit_test(bytes_hash_sees_every_bit_and_the_length),
		cmocka_unit_test(numbered_keys_spread_evenly),
		cmocka_unit_test(stable_hash_never_changes),
		cmocka_unit_test(mix_never_changes_and_knows_its_sides_apart),
		cmocka_unit_test(an_empty_map_has_nothing),
		cmocka_unit_test(the_empty_key_is_a_key),
		cmocka_unit_test(put_replaces_value_and_key),
		cmocka_unit_test(a_map_agrees_with_a_plain_array),
		cmocka_unit_test(without_memory_a_map_stays_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
