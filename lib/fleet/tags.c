#include "fleet/tags_priv.h"

static bool
is_key(struct str key)
{
	for (size_t i = 0; i < key.len; i++) {
		char c = key.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '_' &&
		    !(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return key.len > 0;
}

const char *
tag_fault(struct str key, struct str value)
{
	if (!is_key(key))
		return "has a name that is not of letters, digits and '_'";
	for (size_t i = 0; i < value.len; i++) {
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
			return "holds a control character";
	}
	return NULL;
}

int
tags_add(struct tags *tags, struct str key, struct str value, struct err *err)
{
	size_t at = tags->len, bytes = tags->bytes + key.len + value.len;

	if (bytes > TARGET_TAG_BYTES_MAX || tags->len == TARGET_TAGS_MAX) {
		err_set(err, ERR_LIMIT, "more than %d tags or %d bytes of them", TARGET_TAGS_MAX,
		    TARGET_TAG_BYTES_MAX);
		return -1;
	}
	for (; at > 0 && str_cmp(tags->p[at - 1].key, key) > 0; at--)
		tags->p[at] = tags->p[at - 1];
	tags->p[at] = (struct tag){ key, value };
	tags->len++;
	tags->bytes = bytes;
	return 0;
}
