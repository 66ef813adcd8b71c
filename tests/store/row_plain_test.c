/* Rows as processors without BMI2 read them: row_plain.c. */
#include "row_test.c"
