#include "write_request.h"

#include <stdint.h>

static bool
read_varint(struct str *s, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char c;

		if (s->len == 0)
			return false;
		c = (unsigned char)s->p[0];
		*s = str_sub(*s, 1, SIZE_MAX);
		*out |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return true;
	}
	return false;
}

/* A field of that key whose value is bytes. */
static bool
read_bytes(struct str *s, char key, struct str *out)
{
	uint64_t len;

	if (s->len == 0 || s->p[0] != key)
		return false;
	*s = str_sub(*s, 1, SIZE_MAX);
	if (!read_varint(s, &len) || len > s->len)
		return false;
	*out = str_sub(*s, 0, (size_t)len);
	*s = str_sub(*s, (size_t)len, SIZE_MAX);
	return true;
}

static bool
read_sample(struct str s, struct buf *out)
{
	uint64_t bits = 0, ms;
	double value;

	if (s.len < 10 || s.p[0] != 0x09)
		return false;
	for (unsigned i = 0; i < 8; i++)
		bits |= (uint64_t)(unsigned char)s.p[1 + i] << (8 * i);
	memcpy(&value, &bits, sizeof(value));
	if (s.p[9] != 0x10)
		return false;
	s = str_sub(s, 10, SIZE_MAX);
	if (!read_varint(&s, &ms) || s.len > 0)
		return false;
	buf_printf(out, " %.17g %lld\n", value, (long long)ms);
	return true;
}

static bool
is_label_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		        (i > 0 && c >= '0' && c <= '9')))
			return false;
	}
	return s.len > 0;
}

static bool
read_series(struct str s, struct buf *out)
{
	struct str last = STR_EMPTY, label, name, value, sample;
	bool has_name = false;

	while (read_bytes(&s, 0x0A, &label)) {
		if (!read_bytes(&label, 0x0A, &name) || !read_bytes(&label, 0x12, &value) ||
		    label.len > 0 || !is_label_name(name) || value.len == 0 ||
		    (last.p != NULL && str_cmp(last, name) >= 0))
			return false;
		if (last.p != NULL)
			buf_putc(out, ',');
		buf_str(out, name);
		buf_putc(out, '=');
		buf_str(out, value);
		has_name = has_name || str_eq(name, STR("__name__"));
		last = name;
	}
	return has_name && read_bytes(&s, 0x12, &sample) && s.len == 0 && read_sample(sample, out);
}

bool
write_request_read(struct str bytes, struct buf *out)
{
	struct str series;

	while (bytes.len > 0) {
		if (!read_bytes(&bytes, 0x0A, &series) || !read_series(series, out))
			return false;
	}
	return true;
}
