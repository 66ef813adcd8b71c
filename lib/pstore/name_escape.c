#include "pstore/name_escape.h"

static bool
stands(char c, const char *also)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || (c != '\0' && strchr(also, c) != NULL);
}

/* A '_' before name would be taken for the begin of an escape. */
static bool
reads_as_byte(struct str name)
{
	return name.len >= 2 && str_hex_digit(name.p[0]) >= 0 && str_hex_digit(name.p[1]) >= 0;
}

void
name_escape(struct buf *out, struct str name, const char *also)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (stands(c, also) || (c == '_' && !reads_as_byte(str_sub(name, i + 1, SIZE_MAX))))
			buf_putc(out, c);
		else
			buf_printf(out, "_%02X", (unsigned char)c);
	}
}

const char *
name_prefix(struct str key, const char *prefix, const char *const *ours)
{
	for (; *ours != NULL; ours++) {
		if (str_eq(key, str_of(*ours)))
			return prefix;
	}
	return "";
}
