#include "journal/segment_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "base/crash.h"
#include "base/crc32c.h"
#include "base/gzipper.h"
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

static const char segment_magics[][8] = {
	[SEGMENT_JOURNAL] = { 's', 'c', 'o', 't', 't', 'y', 'S', 'J' },
	[SEGMENT_SEALED] = { 's', 'c', 'o', 't', 't', 'y', 'S', 'H' },
};
static const uint32_t segment_versions[] = {
	[SEGMENT_JOURNAL] = SEGMENT_VERSION, [SEGMENT_SEALED] = SEALED_VERSION
};
static const char *const segment_suffixes[] = { ".sj", ".sh" };
static const char *const segment_dirs[] = { "journal", "history" };
static const char chunk_magic[4] = { 'S', 'J', 'c', 'h' };
static const char packed_magic[4] = { 'S', 'J', 'c', 'z' };

/*
 * The journal's is the fastest, as it is at work all the time. A sealed file's costs twice the
 * processor and saves 4% of the bytes, once; 9 would cost thrice that for another half.
 */
static const int deflate_levels[] = { [SEGMENT_JOURNAL] = 1, [SEGMENT_SEALED] = 6 };
/* No chunk that is smaller is compressed. */
#define PACKED_LEAST 512
/* No chunk is larger, whatever it says. */
#define CONTENT_MOST ((uint32_t)1 << 30)
/* Of so many bytes deflate can make one (zlib.net/zlib_tech.html), so that no more is reserved. */
#define DEFLATE_MOST 1032

void
segment_name(char name[SEGMENT_NAME_BYTES], enum segment_kind kind, uint64_t number)
{
	snprintf(name, SEGMENT_NAME_BYTES, "%012" PRIu64 "%s", number % UINT64_C(1000000000000),
	    segment_suffixes[kind]);
}

bool
segment_parse_name(const char *name, enum segment_kind kind, uint64_t *number)
{
	struct str s = str_of(name);

	return s.len == SEGMENT_NAME_BYTES - 1 && str_ends(s, str_of(segment_suffixes[kind])) &&
	       s.p[0] != '+' && str_to_u64(str_sub(s, 0, 12), number);
}

static void
path_of(char path[SEGMENT_PATH_BYTES], enum segment_kind kind, uint64_t number)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, kind, number);
	snprintf(path, SEGMENT_PATH_BYTES, "%s/%s", segment_dirs[kind], name);
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

	crc = crc32c(crc, head->magic, sizeof(head->magic));
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
segment_create(struct segment_writer *w, int dir_fd, enum segment_kind kind, const char *name,
    uint64_t number, int64_t real_ns, struct err *err)
{
	struct head head = {
		.version = segment_versions[kind], .number = number, .begun_ns = real_ns
	};
	struct iovec part = { &head, sizeof(head) };

	memcpy(head.magic, segment_magics[kind], sizeof(head.magic));
	head.crc = head_crc(&head);
	w->kind = kind;
	w->number = number;
	w->bytes = w->chunk_count = 0;
	w->fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		err_errno(err, errno, "make %s/%s", segment_dirs[kind], name);
		return -1;
	}
	CRASH_POINT("segment made");
	if (write_all(w->fd, &part, 1) != 0 || fsync(w->fd) != 0 || fsync(dir_fd) != 0) {
		err_errno(err, errno, "begin %s/%s", segment_dirs[kind], name);
		segment_close(w);
		unlinkat(dir_fd, name, 0);
		return -1;
	}
	CRASH_POINT("segment begun");
	w->bytes = sizeof(head);
	return 0;
}

void
segment_writer_init(struct segment_writer *w)
{
	*w = (struct segment_writer){ .fd = -1 };
	buf_init(&w->packed, 0);
}

void
segment_writer_fini(struct segment_writer *w)
{
	segment_close(w);
	if (w->deflate != NULL)
		deflateEnd(w->deflate);
	free(w->deflate);
	buf_fini(&w->packed);
}

/* NULL: there is no memory. */
static z_stream *
open_deflate(struct segment_writer *w)
{
	if (w->deflate != NULL)
		return deflateReset(w->deflate) == Z_OK ? w->deflate : NULL;
	w->deflate = calloc(1, sizeof(*w->deflate));
	if (w->deflate != NULL && deflateInit2(w->deflate, deflate_levels[w->kind], Z_DEFLATED,
	                              -MAX_WBITS, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(w->deflate);
		w->deflate = NULL;
	}
	return w->deflate;
}

/* Fills w->packed; false if that is no use, or there is no memory for it. */
static bool
pack(struct segment_writer *w, const void *content, uint32_t bytes)
{
	z_stream *z = bytes < PACKED_LEAST ? NULL : open_deflate(w);
	bool done;

	buf_clear(&w->packed);
	if (z == NULL || !buf_reserve(&w->packed, bytes))
		return false;
	buf_add(&w->packed, &bytes, sizeof(bytes));
	z->next_in = (Bytef *)(uintptr_t)content;
	z->avail_in = bytes;
	z->next_out = (Bytef *)w->packed.p + sizeof(bytes);
	z->avail_out = bytes - (uint32_t)sizeof(bytes); /* else it is no use */
	done = deflate(z, Z_FINISH) == Z_STREAM_END;
	w->packed.len = bytes - z->avail_out;
	return done;
}

size_t
segment_unpacked_bytes(const struct buf *packed)
{
	uint32_t bytes;

	memcpy(&bytes, packed->p, sizeof(bytes));
	return bytes;
}

int
segment_unpack(const struct buf *packed, struct buf *content, struct err *err)
{
	struct str in = { packed->p + sizeof(uint32_t), packed->len - sizeof(uint32_t) };
	size_t bytes = segment_unpacked_bytes(packed);

	buf_clear(content);
	if (bytes > CONTENT_MOST || bytes / DEFLATE_MOST > packed->len) {
		err_set(err, ERR_PROTO, "a chunk of %zu bytes", bytes);
		return -1;
	}
	if (!buf_reserve(content, bytes + RESTORE_SLACK)) {
		err_nomem(err);
		return -1;
	}
	if (inflate_raw(in, content->p, bytes, err) != 0)
		return -1;
	content->len = bytes;
	memset(content->p + content->len, 0, RESTORE_SLACK);
	return 0;
}

int
segment_append(struct segment_writer *w, const void *content, size_t bytes, struct err *err)
{
	struct chunk_head head = { .number = w->chunk_count };
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)(uintptr_t)content, bytes } };

	if (bytes > CONTENT_MOST) {
		err_set(err, ERR_LIMIT, "chunk of %zu bytes", bytes);
		return -1;
	}
	memcpy(head.magic, chunk_magic, sizeof(head.magic));
	if (pack(w, content, (uint32_t)bytes)) {
		memcpy(head.magic, packed_magic, sizeof(head.magic));
		content = w->packed.p;
		bytes = w->packed.len;
		parts[1] = (struct iovec){ w->packed.p, bytes };
	}
	head.bytes = (uint32_t)bytes;
	head.crc = chunk_crc(w->number, &head, content);
	CRASH_POINT("before chunk");
	if (write_all(w->fd, parts, 2) != 0) {
		char path[SEGMENT_PATH_BYTES];

		path_of(path, w->kind, w->number);
		err_errno(err, errno, "write to %s", path);
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
segment_add_raw(struct segment_writer *w, const void *bytes, size_t len, struct err *err)
{
	struct iovec part = { (void *)(uintptr_t)bytes, len };
	char path[SEGMENT_PATH_BYTES];

	if (write_all(w->fd, &part, 1) == 0) {
		w->bytes += len;
		return 0;
	}
	path_of(path, w->kind, w->number);
	err_errno(err, errno, "write to %s", path);
	return -1;
}

int
segment_sync(struct segment_writer *w, struct err *err)
{
	char path[SEGMENT_PATH_BYTES];

	if (fdatasync(w->fd) == 0)
		return 0;
	path_of(path, w->kind, w->number);
	err_errno(err, errno, "sync %s", path);
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
	char path[SEGMENT_PATH_BYTES];

	path_of(path, r->kind, r->number);
	err_errno(err, errno, "read %s", path);
	return SEGMENT_FAILED;
}

enum segment_found
segment_damaged(const struct segment_reader *r, const char *how, struct err *err)
{
	char path[SEGMENT_PATH_BYTES];

	path_of(path, r->kind, r->number);
	err_set(err, ERR_PROTO, "%s, byte %" PRIu64 " of %" PRIu64 ": %s", path, r->good_bytes,
	    r->bytes, how);
	return SEGMENT_DAMAGED;
}

enum segment_found
segment_read_at(
    const struct segment_reader *r, uint64_t at, void *to, size_t bytes, struct err *err)
{
	ssize_t n = read_all(r->fd, to, bytes, at);

	if (n < 0)
		return failed(r, err);
	return (size_t)n < bytes ? segment_damaged(r, "it is cut off", err) : SEGMENT_CHUNK;
}

enum segment_found
segment_open(struct segment_reader *r, int dir_fd, const char *name, struct err *err)
{
	struct stat st;
	struct head head;
	ssize_t n;

	*r = (struct segment_reader){ .fd = -1 };
	buf_init(&r->content, 0);
	buf_init(&r->packed, 0);
	if (segment_parse_name(name, SEGMENT_SEALED, &r->number))
		r->kind = SEGMENT_SEALED;
	else
		(void)segment_parse_name(name, SEGMENT_JOURNAL, &r->number);
	r->fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st) != 0)
		return failed(r, err);
	r->bytes = (uint64_t)st.st_size;
	n = read_all(r->fd, &head, sizeof(head), 0);
	if (n < 0)
		return failed(r, err);
	if (n < (ssize_t)sizeof(head))
		return segment_damaged(r, "the head is cut off", err);
	if (memcmp(head.magic, segment_magics[r->kind], sizeof(head.magic)) != 0 ||
	    head.crc != head_crc(&head) || head.number != r->number)
		return segment_damaged(r, "this is no head of a segment", err);
	if (head.version > segment_versions[r->kind]) {
		err_set(err, ERR_CONFIG,
		    "%s/%s was written by a newer scottyd (format %" PRIu32
		    ", this one knows %" PRIu32 "): run that one, or choose another -stateDir",
		    segment_dirs[r->kind], name, head.version, segment_versions[r->kind]);
		return SEGMENT_NEWER;
	}
	r->version = head.version;
	r->begun_ns = head.begun_ns;
	r->good_bytes = sizeof(head);
	return SEGMENT_CHUNK;
}

enum segment_found
segment_next_raw(struct segment_reader *r, bool *is_packed, struct err *err)
{
	uint64_t left = r->bytes - r->good_bytes;
	struct chunk_head head;
	struct buf *into;
	ssize_t n;

	if (left == 0)
		return SEGMENT_END;
	n = read_all(r->fd, &head, sizeof(head), r->good_bytes);
	if (n < 0)
		return failed(r, err);
	if (n < (ssize_t)sizeof(head))
		return segment_damaged(r, "a chunk is cut off", err);
	*is_packed = memcmp(head.magic, packed_magic, sizeof(head.magic)) == 0;
	if ((!*is_packed && memcmp(head.magic, chunk_magic, sizeof(head.magic)) != 0) ||
	    head.number != r->chunk_count)
		return segment_damaged(r, "here is no chunk", err);
	if (head.bytes > left - sizeof(head) || (*is_packed && head.bytes < sizeof(uint32_t)))
		return segment_damaged(r, "a chunk is cut off", err);
	into = *is_packed ? &r->packed : &r->content;
	buf_clear(into);
	if (!buf_reserve(into, (size_t)head.bytes + RESTORE_SLACK)) {
		err_nomem(err);
		return SEGMENT_FAILED;
	}
	n = read_all(r->fd, into->p, head.bytes, r->good_bytes + sizeof(head));
	if (n < 0)
		return failed(r, err);
	if ((size_t)n < head.bytes)
		return segment_damaged(r, "a chunk is cut off", err);
	if (chunk_crc(r->number, &head, into->p) != head.crc)
		return segment_damaged(r, "a chunk's checksum is wrong", err);
	into->len = head.bytes;
	memset(into->p + into->len, 0, RESTORE_SLACK);
	r->good_bytes += sizeof(head) + head.bytes;
	r->chunk_count++;
	return SEGMENT_CHUNK;
}

enum segment_found
segment_next(struct segment_reader *r, struct err *err)
{
	uint64_t at = r->good_bytes;
	bool is_packed = false;
	enum segment_found found = segment_next_raw(r, &is_packed, err);
	struct err why;

	if (found != SEGMENT_CHUNK || !is_packed ||
	    segment_unpack(&r->packed, &r->content, &why) == 0)
		return found;
	r->good_bytes = at;
	r->chunk_count--;
	if (why.code == ERR_PROTO)
		return segment_damaged(r, why.text, err);
	*err = why;
	return SEGMENT_FAILED;
}

void
segment_reader_close(struct segment_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	buf_fini(&r->content);
	buf_fini(&r->packed);
}
