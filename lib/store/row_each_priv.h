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

/*
 * Calls for each change of a row of which row_next was not called, in order of position: difference
 * for those with a code from 1 to 13 (how is ROW_SET, form ROW_DIFFERENCE), other for the rest.
 */
ALWAYS_INLINE void
row_each(const struct row *opened, void (*difference)(void *arg, uint32_t at, uint64_t payload),
    void (*other)(void *arg, const struct row_undo *), void *arg)
{
	const uint8_t *p = opened->p;
	uint32_t count = opened->change_count;
	size_t place = opened->payloads;
	struct row row = *opened;
	uint64_t codes = 0;

	for (uint32_t i = 0, end; i < count;) {
		uint32_t here;
		uint64_t bits;

		row.index = i;
		row.bits = 0;
		row_load_bits(&row);
		bits = row.bits;
		/* Bits behind the last one of a bitmap are of something else. */
		here = (uint32_t)__builtin_popcountll(bits);
		for (end = here < count - i ? i + here : count; i < end; i++, codes >>= 4) {
			uint32_t at = row.from + (uint32_t)__builtin_ctzll(bits);
			unsigned code;

			bits &= bits - 1;
			if (i % WORD_NIBBLES == 0)
				codes = row_nibbles(p, opened->codes + i);
			code = codes & 15;
			if (__builtin_expect(code - (CODE_FLIP + 1U) < DIFFERENCE_MAX, true)) {
				difference(arg, at, difference_at(p, place, code));
				place += code;
			} else {
				size_t next = place;
				struct row_undo undo = row_undo_at(p, code, &next);

				undo.at = at;
				other(arg, &undo);
				place = next;
			}
		}
	}
}

#endif
