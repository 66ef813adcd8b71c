#include "api/stamps_priv.h"

#include "messages/metric.h"
#include "messages/number.h"

void
stamps_init(struct stamps *s)
{
	/* An empty text is that of TS_NONE. */
	for (size_t i = 0; i < sizeof(s->slots) / sizeof(s->slots[0]); i++)
		s->slots[i] = (struct stamp){ .ts_ns = TS_NONE };
}

void
stamp_set(struct stamp *stamp, int64_t ts_ns)
{
	char text[NUMBER_BYTES];

	stamp->ts_ns = ts_ns;
	stamp->len = ts_ns == TS_NONE ? 0 : number_time(text, ts_ns, 1);
	memcpy(stamp->text, text, stamp->len);
}
