#include "journal/segment_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/crc32c.h"
#include "store/redo.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they are");

struct head {
	char magic[8];
	uint32_t version, crc;
	uint64_t number;
	int64_t begun_ns;
};

struct chunk_head {
	char magic[4];
	uint32_t bytes, number, crc;
};

static_assert(sizeof(struct head) == SEGMENT_HEAD_BYTES, "as described");
static_assert(sizeof(struct chunk_head) == CHUNK_HEAD_BYTES, "as described");

static const char segment_magic[8] = { 's', 'c', 'o', 't', 't', 'y', 'S', 'J' };
static const char chunk_magic[4] = { 'S', 'J', 'c', 'h' };

void
segment_name(char name[SEGMENT_NAME_BYTES], uint64_t number)
{
	snprintf(name, SEGMENT_NAME_BYTES, "%012" PRIu64 ".sj", number % UINT64_C(1000000000000));
}

bool
segment_parse_name(const char *name, uint64_t *number)
{
	struct str s = str_of(name);

	return s.len == SEGMENT_NAME_BYTES - 1 && str_ends(s, STR(".sj")) && s.p[0] != '+' &&
	       str_to_u64(str_sub(s, 0, 12), number);
}

static uint32_t
head_crc(const struct head *head)
{
	struct head copy = *head;

	copy.crc = 0;
	return crc32c(crc32c(0, &copy, offsetof(struct head, crc)), &copy.number,
	    sizeof(copy.number) + sizeof(copy.begun_ns));
}

static uint32_t
chunk_crc(uint64_t segment, const struct chunk_head *head, const void *content)
{
	uint32_t crc = crc32c(0, &segment, sizeof(segment));

	crc = crc32c(crc, &head->bytes, sizeof(head->bytes) + sizeof(head->number));
	return crc32c(crc, content, head->bytes);
}

/* Writes all of it, however often that takes. */
static int
write_all(int fd, struct iovec *parts, int n)
{
	while (n > 0) {
		ssize_t written = writev(fd, parts, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		if (written == 0) {
			errno = EIO;
			return -1;
		}
		for (; n > 0 && (size_t)written >= parts->iov_len; n--, parts++)
			written -= (ssize_t)parts->iov_len;
		if (n > 0) {
			parts->iov_base = (char *)parts->iov_base + written;
			parts->iov_len -= (size_t)written;
		}
	}
	return 0;
}

int
segment_create(
    struct segment_writer *w, int dir_fd, uint64_t number, int64_t real_ns, struct err *err)
{
	struct head head = { .version = SEGMENT_VERSION, .number = number, .begun_ns = real_ns };
	struct iovec part = { &head, sizeof(head) };
	char name[SEGMENT_NAME_BYTES];

	memcpy(head.magic, segment_magic, sizeof(head.magic));
	head.crc = head_crc(&head);
	segment_name(name, number);
	*w = (struct segment_writer){ .number = number };
	w->fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		err_errno(err, errno, "make journal/%s", name);
		return -1;
	}
	CRASH_POINT("segment made");
	if (write_all(w->fd, &part, 1) != 0 || fsync(w->fd) != 0 || fsync(dir_fd) != 0) {
		err_errno(err, errno, "begin journal/%s", name);
		segment_close(w);
		unlinkat(dir_fd, name, 0);
		return -1;
	}
	CRASH_POINT("segment begun");
	w->bytes = sizeof(head);
	return 0;
}

int
segment_append(struct segment_writer *w, const void *content, size_t bytes, struct err *err)
{
	struct chunk_head head = { .bytes = (uint32_t)bytes, .number = w->chunk_count };
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)(uintptr_t)content, bytes } };

	if (bytes > UINT32_MAX) {
		err_set(err, ERR_LIMIT, "chunk of %zu bytes", bytes);
		return -1;
	}
	memcpy(head.magic, chunk_magic, sizeof(head.magic));
	head.crc = chunk_crc(w->number, &head, content);
	CRASH_POINT("before chunk");
	if (write_all(w->fd, parts, 2) != 0) {
		char name[SEGMENT_NAME_BYTES];

		segment_name(name, w->number);
		err_errno(err, errno, "write to journal/%s", name);
		/* If even that fails, recovery sees it. */
		if (ftruncate(w->fd, (off_t)w->bytes) != 0)
			(void)0;
		return -1;
	}
	CRASH_POINT("after chunk");
	w->bytes += sizeof(head) + bytes;
	w->chunk_count++;
	return 0;
}

int
segment_sync(struct segment_writer *w, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];

	if (fdatasync(w->fd) == 0)
		return 0;
	segment_name(name, w->number);
	err_errno(err, errno, "sync journal/%s", name);
	return -1;
}

void
segment_close(struct segment_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

/* Reads so many bytes, or fewer at the end of the file. */
static ssize_t
read_all(int fd, void *to, size_t bytes, uint64_t at)
{
	size_t got = 0;

	while (got < bytes) {
		ssize_t n = pread(fd, (char *)to + got, bytes - got, (off_t)(at + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static enum segment_found
failed(const struct segment_reader *r, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, r->number);
	err_errno(err, errno, "read journal/%s", name);
	return SEGMENT_FAILED;
}

static enum segment_found
damaged(const struct segment_reader *r, const char *how, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, r->number);
	err_set(err, ERR_PROTO, "journal/%s, byte %" PRIu64 " of %" PRIu64 ": %s", name,
	    r->good_bytes, r->bytes, how);
	return SEGMENT_DAMAGED;
}

enum segment_found
segment_open(struct segment_reader *r, int dir_fd, const char *name, struct err *err)
{
	struct stat st;
	struct head head;
	ssize_t n;

	*r = (struct segment_reader){ .fd = -1 };
	buf_init(&r->content, 0);
	(void)segment_parse_name(name, &r->number);
	r->fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st) != 0)
		return failed(r, err);
	r->bytes = (uint64_t)st.st_size;
	n = read_all(r->fd, &head, sizeof(head), 0);
	if (n < 0)
		return failed(r, err);
	if (n < (ssize_t)sizeof(head))
		return damaged(r, "the head is cut off", err);
	if (memcmp(head.magic, segment_magic, sizeof(head.magic)) != 0 ||
	    head.crc != head_crc(&head) || head.number != r->number)
		return damaged(r, "this is no head of a segment", err);
	if (head.version > SEGMENT_VERSION) {
		err_set(err, ERR_CONFIG,
		    "journal/%s was written by a newer scottyd (format %" PRIu32
		    ", this one knows %d): run that one, or choose another -stateDir",
		    name, head.version, SEGMENT_VERSION);
		return SEGMENT_NEWER;
	}
	r->begun_ns = head.begun_ns;
	r->good_bytes = sizeof(head);
	return SEGMENT_CHUNK;
}

enum segment_found
segment_next(struct segment_reader *r, struct err *err)
{
	uint64_t left = r->bytes - r->good_bytes;
	struct chunk_head head;
	ssize_t n;

	if (left == 0)
		return SEGMENT_END;
	n = read_all(r->fd, &head, sizeof(head), r->good_bytes);
	if (n < 0)
		return failed(r, err);
	if (n < (ssize_t)sizeof(head))
		return damaged(r, "a chunk is cut off", err);
	if (memcmp(head.magic, chunk_magic, sizeof(head.magic)) != 0 ||
	    head.number != r->chunk_count)
		return damaged(r, "here is no chunk", err);
	if (head.bytes > left - sizeof(head))
		return damaged(r, "a chunk is cut off", err);
	buf_clear(&r->content);
	if (!buf_reserve(&r->content, (size_t)head.bytes + RESTORE_SLACK)) {
		err_nomem(err);
		return SEGMENT_FAILED;
	}
	n = read_all(r->fd, r->content.p, head.bytes, r->good_bytes + sizeof(head));
	if (n < 0)
		return failed(r, err);
	if ((size_t)n < head.bytes)
		return damaged(r, "a chunk is cut off", err);
	if (chunk_crc(r->number, &head, r->content.p) != head.crc)
		return damaged(r, "a chunk's checksum is wrong", err);
	r->content.len = head.bytes;
	memset(r->content.p + head.bytes, 0, RESTORE_SLACK);
	r->good_bytes += sizeof(head) + head.bytes;
	r->chunk_count++;
	return SEGMENT_CHUNK;
}

void
segment_reader_close(struct segment_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	buf_fini(&r->content);
}
