/* What gzip_test checks, of the way without ISA-L. */
#include "gzip_test.c"
