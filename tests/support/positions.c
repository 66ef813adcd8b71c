#include "positions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

int
positions_keep(void *ctx, struct cursor_position *pos, struct err *err)
{
	struct positions *p = ctx;
	size_t i = 0;

	(void)err;
	while (i < p->len && (!str_eq(pos->host, str_of(p->kept[i].host)) ||
	                         pos->stream != p->kept[i].pos.stream))
		i++;
	assert_true(i < POSITIONS_MAX);
	p->kept[i].pos = *pos;
	snprintf(p->kept[i].host, sizeof(p->kept[i].host), "%.*s", STR_ARG(pos->host));
	p->kept[i].pos.host = str_of(p->kept[i].host);
	p->kept[i].pos.app = STR("app");
	p->len += i == p->len;
	return 0;
}

void
positions_restore(const struct positions *p, struct cursor *cursor)
{
	struct err err;

	for (size_t i = 0; i < p->len; i++) {
		if (cursor_restore(cursor, &p->kept[i].pos, &err) != 0)
			fail_msg("%s", err.text);
	}
}
