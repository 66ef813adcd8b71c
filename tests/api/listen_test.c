#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "api/api.h"

static const struct {
	const char *text, *host; /* host NULL: refused */
	uint16_t port;
} rows[] = {
	{ "127.0.0.1:6980", "127.0.0.1", 6980 },
	{ ":6980", "", 6980 },
	{ "localhost:0", "localhost", 0 },
	{ "[::1]:80", "::1", 80 },
	{ "[::]:65535", "::", 65535 },
	{ "", NULL, 0 },
	{ ":", NULL, 0 },
	{ "6980", NULL, 0 },
	{ "host", NULL, 0 },
	{ "host:", NULL, 0 },
	{ "host:65536", NULL, 0 },
	{ "host:-1", NULL, 0 },
	{ "host:+1", NULL, 0 },
	{ "host: 1", NULL, 0 },
	{ "host:http", NULL, 0 },
	{ "::1:80", NULL, 0 },
	{ "[::1]", NULL, 0 },
	{ "[]:80", NULL, 0 },
	{ "[::1:80", NULL, 0 },
	{ "::1]:80", NULL, 0 },
};

static void
host_and_port_are_parted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str host = STR("untouched");
		uint16_t port = 7;
		struct err err;
		int rc = api_parse_listen(str_of(rows[i].text), &host, &port, &err);

		if ((rc == 0) != (rows[i].host != NULL))
			fail_msg("row %zu: returned %d", i, rc);
		if (rc == 0 && (!str_eq(host, str_of(rows[i].host)) || port != rows[i].port))
			fail_msg("row %zu: \"%.*s\", %u", i, STR_ARG(host), port);
		if (rc != 0 && (err.code != ERR_CONFIG || port != 7))
			fail_msg("row %zu: \"%s\", port %u", i, err.text, port);
	}
}

static void
a_nul_is_no_part_of_a_name(void **state)
{
	struct str host;
	uint16_t port;
	struct err err;

	(void)state;
	assert_int_equal(api_parse_listen((struct str){ "a\0b:80", 6 }, &host, &port, &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_and_port_are_parted),
		cmocka_unit_test(a_nul_is_no_part_of_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
