/*
 * What can be told of a fetch without a network; the rest is integration/discovery_test.py's.
 */
#include "fleet/http_fetch_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	const char *url, *fault;
} urls[] = {
	{ "http://h/", NULL },
	{ "https://h:8443/a/b?c=d", NULL },
	{ "http://[::1]:80/", NULL },
	{ "HTTP://h", NULL },
	{ "", "is no URL" },
	{ "h", "is no URL" },
	{ "http://", "is no URL" },
	{ "http://h:x/", "is no URL" },
	{ "ftp://h/", "must begin with http:// or https://" },
	{ "file:///etc/passwd", "is no URL" },
	{ "http://u@h/", "must not hold a user or password" },
	{ "http://u:p@h/", "must not hold a user or password" },
	{ "http://h/#f", "must not hold a fragment (#)" },
};

static void
urls_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		const char *fault = http_fetch_url_fault(str_of(urls[i].url));

		if ((fault == NULL) != (urls[i].fault == NULL) ||
		    !str_eq(str_of(fault), str_of(urls[i].fault)))
			fail_msg("%s: %s", urls[i].url, fault == NULL ? "fine" : fault);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
