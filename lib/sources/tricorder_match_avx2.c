/*
 * tricorder_match.c once more, compiled for AVX2 and BMI, in two thirds of the instructions: see
 * CMakeLists.txt, and tricorder_read.c, which takes the one for the processor it runs on.
 */
#define layout_match layout_match_avx2
#include "sources/tricorder_match.c"
