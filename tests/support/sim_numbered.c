#include "sim_numbered.h"

#include <inttypes.h>

#include "base/clock.h"

/* Of one metric, about. */
#define METRIC_BYTES 170

static void
put_metric(struct buf *out, unsigned i, uint64_t number, int64_t ts_ns)
{
	buf_printf(out,
	    "%s{\"path\":\"/n/%03u\",\"description\":\"Number of the answer\",\"unit\":\"None\","
	    "\"kind\":\"int64\",\"bits\":64,\"value\":%" PRIu64 ",\"timestamp\":\"%" PRId64
	    ".%09" PRId64 "\",\"groupId\":0}",
	    i == 0 ? "[" : ",", i, number, ts_ns / NS_PER_S, ts_ns % NS_PER_S);
}

struct sim_text *
sim_numbered_answer(unsigned metric_count, uint64_t number, int64_t ts_ns)
{
	struct sim_text *text;
	struct buf content;

	buf_init(&content, 0);
	buf_reserve(&content, (size_t)metric_count * METRIC_BYTES);
	for (unsigned i = 0; i < metric_count; i++)
		put_metric(&content, i, number, ts_ns);
	buf_puts(&content, metric_count == 0 ? "[]" : "]");
	text = sim_text_new("Content-Type: application/json", &content);
	buf_fini(&content);
	return text;
}
