#define ROW_PLAIN
#include "store/row.c"
