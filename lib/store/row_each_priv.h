/*
 * store/row_each_priv.h - all changes of a row, for who takes many rows apart.
 *
 * What is done with each change is a call that the compiler puts in line, and all that is counted
 * on the way stays in registers.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_STORE_ROW_EACH_PRIV_H
#define SCOTTY_STORE_ROW_EACH_PRIV_H

#include "store/row_bits_priv.h"

/* Codes read at once: as many as a word holds whose codes are counted in bits. */
#define EACH_CODES 15

static_assert(EACH_CODES * DIFFERENCE_MAX / 2 + 1 + sizeof(uint64_t) < ROW_SLACK,
    "payloads of codes read at once may lie beyond the end");

static inline uint64_t
row_load_15_codes(const struct row *row, uint32_t index)
{
	return row_nibbles(row->p, row->codes + index) << 2 & UINT64_MAX >> 2;
}

/* The positions of the next changes, which *from is set to count from: those of a word. */
ALWAYS_INLINE uint64_t
row_next_bits(struct row *row, uint32_t *from)
{
	uint32_t left = row->len_before - row->from_next;
	uint64_t bits;

	if (row->sparse) {
		row->bits = 0;
		row_load_bits(row);
		*from = row->from;
		return row->bits;
	}
	*from = row->from_next;
	bits = row_nibbles(row->p, row->bitmap_next);
	row->bitmap_next += WORD_NIBBLES;
	row->from_next += 64;
	/* Bits behind the last one are of something else. */
	return left < 64 ? bits & ((UINT64_C(1) << left) - 1) : bits;
}

/* The same as row_undo_at does, quickly for what most special changes are. */
ALWAYS_INLINE bool
row_read_other(const uint8_t *p, unsigned code, size_t *place, struct row_undo *undo)
{
	uint64_t word = row_nibbles(p, *place);
	unsigned next = word >> 4 & 15;

	if (code != CODE_SPECIAL || (word & 15) != SPECIAL_DIST || next > ROW_DIST_NIBBLES)
		return row_undo_at(p, code, place, undo);
	word = word >> 8 & ((UINT64_C(1) << 4 * next) - 1);
	*place += 2 + next;
	*undo = (struct row_undo){ .how = ROW_SET,
		.form = ROW_BUCKETS,
		.nibbles = (uint32_t)word,
		.payload = *place,
		.p = p };
	*place += word;
	return true;
}

/*
 * Calls for each change of a row that has some, and of which row_next was not called, in order of
 * position: difference for those with a code from 1 to 13 (how is ROW_SET, form ROW_DIFFERENCE),
 * other for the rest. Finds the end of a row that was only begun. False: it is cut short or
 * corrupt, which may be found after some calls.
 *
 * After the last code that was loaded come zeros: so that nothing has to be counted, the next ones
 * are loaded when something special seems to come. That the payloads do not go beyond the end is
 * looked at then too: those of the codes loaded at once fit in the slack.
 */
ALWAYS_INLINE bool
row_each(struct row *row, void (*difference)(void *arg, uint32_t at, uint64_t payload),
    void (*other)(void *arg, const struct row_undo *), void *arg)
{
	const uint8_t *p = row->p;
	size_t place = 4 * row->payloads, limit = 4 * row->end; /* in bits */
	uint32_t from, end = 0, loaded = 0; /* changes: of those words, of codes */
	uint64_t bits, codes = 0;

	for (; end < row->change_count; row->index = end) {
		bits = row_next_bits(row, &from);
		end += (uint32_t)__builtin_popcountll(bits);
		while (bits != 0) {
			uint32_t at = from + (uint32_t)__builtin_ctzll(bits);
			unsigned size = codes & 60;

			if (__builtin_expect(size - 4 < 4 * DIFFERENCE_MAX, true)) {
				uint64_t word;

				memcpy(&word, p + place / 8, sizeof(word));
				word = word >> place % 8 & ((UINT64_C(1) << size) - 1);
				place += size;
				codes >>= 4;
				bits &= bits - 1;
				difference(arg, at, word);
			} else if (place > limit) {
				return false;
			} else if (end - (uint32_t)__builtin_popcountll(bits) == loaded) {
				codes = row_load_15_codes(row, loaded);
				loaded += EACH_CODES;
			} else {
				size_t there = place / 4;
				struct row_undo undo;

				if (!row_read_other(p, size / 4, &there, &undo) ||
				    there > row->end || (size >= 4 * CODE_VERBATIM && !row->wide))
					return false;
				undo.at = at;
				other(arg, &undo);
				place = there * 4;
				codes >>= 4;
				bits &= bits - 1;
			}
		}
	}
	row->bytes = (place + 7) / 8;
	return place <= limit;
}

#endif
