/*
 * json_echo - reads lines "KIND HEX JSON", writes KIND HEX and our JSON of the value that HEX
 * holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/json.h"

/* Bytes of the hex digits, in place; returns how many. */
static size_t
unhex(char *hex)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		char digits[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		hex[i] = (char)strtoul(digits, NULL, 16);
	}
	return n;
}

int
main(void)
{
	char *line = NULL;
	size_t cap = 0;
	struct buf out;

	buf_init(&out, 0);
	while (getline(&line, &cap, stdin) > 0) {
		char *kind = strtok(line, " "), *hex = strtok(NULL, " ");
		struct json json;

		/*
		 * The empty string: two blanks in a row, so the JSON stands where the hex should.
		 */
		if (hex == NULL || hex[0] == '"')
			hex = line + strlen(line);
		buf_clear(&out);
		buf_printf(&out, "%s %s ", kind, hex);
		json_init(&json, &out, false);
		if (strcmp(kind, "f64") == 0) {
			uint64_t bits = strtoull(hex, NULL, 16);
			double f;

			memcpy(&f, &bits, sizeof(f));
			json_f64(&json, f);
		} else if (strcmp(kind, "f32") == 0) {
			uint32_t bits = (uint32_t)strtoul(hex, NULL, 16);
			float f;

			memcpy(&f, &bits, sizeof(f));
			json_f32(&json, f);
		} else {
			json_string(&json, (struct str){ hex, unhex(hex) });
		}
		buf_putc(&out, '\n');
		fwrite(out.p, 1, out.len, stdout);
	}
	free(line);
	buf_fini(&out);
	return 0;
}
