#define ROW_PLAIN
#include "store/row_read.c"
