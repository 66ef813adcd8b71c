#include "tally.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define GAPS_MAX  65536
#define HOST_MAX  64
#define STRAY_MAX 300

struct series {
	uint64_t hash;          /* of host and path, which it stands for; 0 = free */
	uint64_t highest, last; /* numbers; last is lower while something comes again */
	int64_t highest_ns;
	uint32_t host;
};

struct host {
	char name[HOST_MAX];
};

/* Numbers of a host that were left out: those between. */
struct gap {
	uint32_t host;
	uint64_t before, after;
	int64_t before_ns, after_ns;
};

struct tally {
	struct series *series;
	size_t series_len, series_cap; /* a power of 2 */
	struct host *hosts;
	size_t host_len, host_cap;
	struct gap *gaps;
	size_t gap_len, gap_cap;
	uint64_t values, doubled, missing, strays;
	char stray[STRAY_MAX];
};

static void *
need(void *memory)
{
	if (memory == NULL) {
		fputs("tally: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

struct tally *
tally_new(void)
{
	struct tally *tally = need(calloc(1, sizeof(*tally)));

	tally->series_cap = 1024;
	tally->series = need(calloc(tally->series_cap, sizeof(*tally->series)));
	return tally;
}

void
tally_free(struct tally *tally)
{
	free(tally->series);
	free(tally->hosts);
	free(tally->gaps);
	free(tally);
}

/* Where that one is, or would be. */
static struct series *
find(struct series *series, size_t cap, uint64_t hash)
{
	size_t i = hash & (cap - 1);

	while (series[i].hash != 0 && series[i].hash != hash)
		i = (i + 1) & (cap - 1);
	return &series[i];
}

static void
grow(struct tally *tally)
{
	size_t cap = tally->series_cap * 2;
	struct series *series = need(calloc(cap, sizeof(*series)));

	for (size_t i = 0; i < tally->series_cap; i++) {
		if (tally->series[i].hash != 0)
			*find(series, cap, tally->series[i].hash) = tally->series[i];
	}
	free(tally->series);
	tally->series = series;
	tally->series_cap = cap;
}

static uint32_t
host_of(struct tally *tally, struct str name)
{
	size_t i;

	for (i = 0; i < tally->host_len; i++) {
		if (str_eq(name, str_of(tally->hosts[i].name)))
			return (uint32_t)i;
	}
	if (tally->host_len == tally->host_cap) {
		tally->host_cap = 2 * tally->host_cap + 16;
		tally->hosts = need(realloc(tally->hosts, tally->host_cap * sizeof(*tally->hosts)));
	}
	snprintf(tally->hosts[i].name, HOST_MAX, "%.*s", (int)name.len, name.p);
	tally->host_len++;
	return (uint32_t)i;
}

static struct series *
series_of(struct tally *tally, const struct tally_sample *sample)
{
	uint64_t hash = hash_mix(hash_bytes(sample->host), hash_bytes(sample->path));
	struct series *series;

	hash += hash == 0;
	series = find(tally->series, tally->series_cap, hash);
	if (series->hash != 0)
		return series;
	if (2 * tally->series_len >= tally->series_cap) {
		grow(tally);
		series = find(tally->series, tally->series_cap, hash);
	}
	tally->series_len++;
	series->hash = hash;
	series->host = host_of(tally, sample->host);
	return series;
}

void
tally_stray(struct tally *tally, struct str what)
{
	if (tally->strays++ == 0)
		snprintf(tally->stray, STRAY_MAX, "%.*s", (int)what.len, what.p);
}

static void
sample_is_stray(struct tally *tally, const struct tally_sample *sample, const struct series *series)
{
	char text[STRAY_MAX];

	snprintf(text, sizeof(text),
	    "%.*s%.*s:%" PRIu64 "@%" PRId64 ",last:%" PRIu64 ",highest:%" PRIu64 "@%" PRId64,
	    (int)sample->host.len, sample->host.p, (int)sample->path.len, sample->path.p,
	    sample->number, sample->ts_ns, series->last, series->highest, series->highest_ns);
	tally_stray(tally, str_of(text));
}

static bool
is_gap(const struct tally *tally, uint32_t host, uint64_t before, uint64_t after)
{
	for (size_t i = 0; i < tally->gap_len; i++) {
		const struct gap *gap = &tally->gaps[i];

		if (gap->host == host && gap->before == before && gap->after == after)
			return true;
	}
	return false;
}

/* The series of an endpoint have the same gaps, each once. */
static void
note_gap(struct tally *tally, const struct series *series, const struct tally_sample *sample)
{
	if (is_gap(tally, series->host, series->last, sample->number))
		return;
	if (tally->gap_len == GAPS_MAX) {
		tally_stray(tally, STR("more gaps than can be noted"));
		return;
	}
	if (tally->gap_len == tally->gap_cap) {
		tally->gap_cap = 2 * tally->gap_cap + 16;
		tally->gaps = need(realloc(tally->gaps, tally->gap_cap * sizeof(*tally->gaps)));
	}
	tally->gaps[tally->gap_len++] = (struct gap){ series->host, series->last, sample->number,
		series->highest_ns, sample->ts_ns };
}

void
tally_add(struct tally *tally, const struct tally_sample *sample)
{
	struct series *series = series_of(tally, sample);
	uint64_t number = sample->number;

	if (number <= series->highest) {
		/* Either it begins to come again, or that goes on, over the same gaps. */
		if (number > series->last + 1 && !is_gap(tally, series->host, series->last, number))
			sample_is_stray(tally, sample, series);
		series->last = number;
		tally->doubled++;
		return;
	}
	if (sample->ts_ns < series->highest_ns) {
		sample_is_stray(tally, sample, series);
	} else if (series->highest > 0 && number > series->last + 1) {
		tally->missing += number - series->highest - 1;
		note_gap(tally, series, sample);
	}
	series->highest = series->last = number;
	series->highest_ns = sample->ts_ns;
	tally->values++;
}

void
tally_print(const struct tally *tally, FILE *out)
{
	fprintf(out,
	    "values=%" PRIu64 " series=%zu doubled=%" PRIu64 " missing=%" PRIu64 " strays=%" PRIu64,
	    tally->values, tally->series_len, tally->doubled, tally->missing, tally->strays);
	fprintf(out, tally->strays > 0 ? " stray=%s\n" : "\n", tally->stray);
}

void
tally_print_gaps(const struct tally *tally, FILE *out)
{
	for (size_t i = 0; i < tally->gap_len; i++)
		fprintf(out, "%" PRId64 " %" PRId64 "\n", tally->gaps[i].before_ns,
		    tally->gaps[i].after_ns);
}

void
tally_print_last(const struct tally *tally, FILE *out)
{
	for (size_t h = 0; h < tally->host_len; h++) {
		uint64_t least = UINT64_MAX, most = 0;

		for (size_t i = 0; i < tally->series_cap; i++) {
			const struct series *series = &tally->series[i];

			if (series->hash == 0 || series->host != h)
				continue;
			least = series->highest < least ? series->highest : least;
			most = series->highest > most ? series->highest : most;
		}
		fprintf(out, "%s %" PRIu64 " %" PRIu64 "\n", tally->hosts[h].name, least, most);
	}
}
