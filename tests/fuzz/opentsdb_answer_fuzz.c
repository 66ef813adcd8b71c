/*
 * OpenTSDB's answers: whatever they say, what is made of it is one of the results that the pump
 * knows, and never more records are refused than there are.
 */
#include <assert.h>
#include <stdlib.h>

#include "pstore/opentsdb_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POINT(name) "{\"metric\":\"" name "\",\"timestamp\":5,\"value\":1,\"tags\":{\"a\":\"b\"}}"
#define FIRST       "[" POINT("/a")
#define SECOND      "," POINT("/b") "," POINT("/b.sum")
#define THIRD       "," POINT("/a")

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t ends[] = { sizeof(FIRST) - 1, sizeof(FIRST SECOND) - 1,
		sizeof(FIRST SECOND THIRD) - 1 };
	struct write_request request = {
		.body = STR(FIRST SECOND THIRD "]"), .ends = ends, .n = ARRAY_LEN(ends)
	};
	bool refused[ARRAY_LEN(ends)] = { false };
	struct write_answer out = { .status = WRITE_DONE, .refused = refused };
	uint64_t marked = 0;

	opentsdb_judge((struct str){ (const char *)data, size }, &request, &out);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		marked += refused[i];
	assert(out.status == WRITE_SOME || (marked == 0 && out.refused_count == 0));
	assert(out.status == WRITE_DONE || out.status == WRITE_SOME || out.status == WRITE_LATER ||
	       out.status == WRITE_REFUSED);
	assert(marked <= out.refused_count && out.refused_count <= request.n);
	return 0;
}
