#include "scotty/tar.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BLOCK 512

/* Sizes that fit 11 octal digits. */
#define OCTAL_SIZE_MOST ((UINT64_C(1) << 33) - 1)

/* POSIX.1-1988, 10.1.1 */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
	char linkname[100], magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8];
	char prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is a block");

void
tar_init(struct tar *tar, FILE *out, int64_t time_s)
{
	*tar = (struct tar){ .out = out, .time_s = time_s };
}

static int
put(struct tar *tar, const void *p, size_t len, struct err *err)
{
	if (fwrite(p, 1, len, tar->out) == len)
		return 0;
	err_errno(err, errno, "write the archive");
	return -1;
}

/* n octal digits and a NUL. */
static void
put_octal(char *field, size_t n, uint64_t value)
{
	field[n] = '\0';
	while (n > 0) {
		field[--n] = (char)('0' + (value & 7));
		value >>= 3;
	}
}

static void
put_size(char field[12], uint64_t size)
{
	if (size <= OCTAL_SIZE_MOST) {
		put_octal(field, 11, size);
		return;
	}
	/* As a big-endian number with the highest bit set. */
	memset(field, 0, 12);
	field[0] = (char)0x80;
	for (int i = 11; i > 3; i--) {
		field[i] = (char)(size & 0xFF);
		size >>= 8;
	}
}

static int
put_header(struct tar *tar, const char *name, char type, uint64_t size, struct err *err)
{
	struct header header = { .type = type, .magic = "ustar", .version = { '0', '0' } };
	const unsigned char *bytes = (const unsigned char *)&header;
	size_t len = strlen(name);
	unsigned sum = 0;

	if (len > TAR_NAME_MOST) {
		err_set(err, ERR_LIMIT, "name is too long for an archive: %s", name);
		return -1;
	}
	memcpy(header.name, name, len);
	put_octal(header.mode, 7, type == '5' ? 0700 : 0600);
	put_octal(header.uid, 7, 0);
	put_octal(header.gid, 7, 0);
	put_size(header.size, size);
	put_octal(header.mtime, 11, tar->time_s < 0 ? 0 : (uint64_t)tar->time_s);
	/* The sum is taken with blanks where it will be. */
	memset(header.checksum, ' ', sizeof(header.checksum));
	for (size_t i = 0; i < sizeof(header); i++)
		sum += bytes[i];
	put_octal(header.checksum, 6, sum);
	return put(tar, &header, sizeof(header), err);
}

int
tar_dir(struct tar *tar, const char *name, struct err *err)
{
	assert(tar->left == 0);
	return put_header(tar, name, '5', 0, err);
}

int
tar_file(struct tar *tar, const char *name, uint64_t size, struct err *err)
{
	assert(tar->left == 0);
	if (put_header(tar, name, '0', size, err) != 0)
		return -1;
	tar->left = tar->size = size;
	return 0;
}

int
tar_add(struct tar *tar, const void *p, size_t len, struct err *err)
{
	static const char zeros[BLOCK];

	assert(len <= tar->left);
	if (put(tar, p, len, err) != 0)
		return -1;
	tar->left -= len;
	if (tar->left > 0 || len == 0 || tar->size % BLOCK == 0)
		return 0;
	return put(tar, zeros, BLOCK - tar->size % BLOCK, err);
}

int
tar_end(struct tar *tar, struct err *err)
{
	static const char zeros[2 * BLOCK];

	assert(tar->left == 0);
	return put(tar, zeros, sizeof(zeros), err);
}
