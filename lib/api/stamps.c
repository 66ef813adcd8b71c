#include "api/stamps_priv.h"

#include "base/str.h"
#include "messages/metric.h"
#include "messages/number.h"

void
stamps_init(struct stamps *s)
{
	struct stamp none = { 0 };

	stamp_set(&none, TS_NONE);
	for (size_t i = 0; i < ARRAY_LEN(s->slots); i++)
		s->slots[i] = none;
}

void
stamp_set(struct stamp *stamp, int64_t ts_ns)
{
	char time[NUMBER_BYTES], *p = stamp->text;
	size_t len = ts_ns == TS_NONE ? 0 : number_time(time, ts_ns, 1);

	p = str_put(p, STR("\"timestamp\":\""));
	p = str_put(p, (struct str){ time, len });
	p = str_put(p, STR("\",\"value\":"));
	stamp->ts_ns = ts_ns;
	stamp->len = (size_t)(p - stamp->text);
}
