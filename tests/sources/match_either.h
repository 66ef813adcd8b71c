/*
 * Whether answers are read by a layout as on a processor without AVX2. For programs linked with
 * match_either.c and -Wl,--wrap=layout_match_avx2.
 */
#ifndef SCOTTY_TESTS_MATCH_EITHER_H
#define SCOTTY_TESTS_MATCH_EITHER_H

#include <stdbool.h>

extern bool match_without_avx2;

#endif
