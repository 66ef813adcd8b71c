/*
 * A file of sealed history: its bytes are the input, but checksums are put right, as else nothing
 * would be looked at. Whatever it is, there is a past or none.
 */
#include <assert.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "journal/journal.h"
#include "journal/sealed_priv.h"
#include "store/redo_skim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
no_meta(void *ctx, uint64_t number)
{
	(void)ctx;
	(void)number;
	return true;
}

/* All that is looked at in a chunk without restoring it. */
static void
skim(struct str content)
{
	struct redo_skimmed record;
	int64_t whole_ns;

	for (size_t at = 0; at < content.len; at += record.bytes) {
		if (!redo_skim(content.p + at, content.len - at, &record))
			return;
		assert(record.bytes > 0 && record.bytes <= content.len - at);
		if (record.about == REDO_ABOUT_STATE)
			(void)redo_skim_whole(&record, 3, &whole_ns);
		if (record.about == REDO_ABOUT_SCHEMA)
			(void)redo_skim_metas(&record, no_meta, NULL);
	}
}

static void
put_right(uint8_t *p, size_t size)
{
	struct sealed_foot foot;
	uint32_t crc;

	if (size < SEGMENT_HEAD_BYTES + SEALED_FOOT_BYTES)
		return;
	memcpy(p, "scottySH", 8);
	memset(p + 16, 0, 8);
	p[16] = 1; /* its number */
	crc = crc32c(crc32c(0, p, 12), p + 16, 16);
	memcpy(p + 12, &crc, sizeof(crc));
	memcpy(&foot, p + size - sizeof(foot), sizeof(foot));
	memcpy(foot.magic, "scottySI", 8);
	if (foot.index_at <= size - sizeof(foot))
		foot.index_crc = crc32c(0, p + foot.index_at, size - sizeof(foot) - foot.index_at);
	foot.crc = crc32c(0, &foot, offsetof(struct sealed_foot, crc));
	memcpy(p + size - sizeof(foot), &foot, sizeof(foot));
	/* Chunks as they lie behind each other. */
	for (size_t at = SEGMENT_HEAD_BYTES; at + CHUNK_HEAD_BYTES <= size;) {
		uint64_t number = 1;
		uint32_t bytes;

		memcpy(&bytes, p + at + 4, sizeof(bytes));
		if (bytes > size - at - CHUNK_HEAD_BYTES)
			return;
		crc = crc32c(crc32c(0, &number, 8), p + at, 12);
		crc = crc32c(crc, p + at + CHUNK_HEAD_BYTES, bytes);
		memcpy(p + at + 12, &crc, sizeof(crc));
		at += CHUNK_HEAD_BYTES + bytes;
	}
}

static void
read_all(int dir_fd)
{
	struct sealed_entry *entries;
	struct sealed_file file;
	struct err err;
	size_t n;

	if (sealed_open(&file, dir_fd, 1, &err) == SEGMENT_CHUNK &&
	    sealed_check_index(&file, &err) == SEGMENT_CHUNK) {
		struct sealed_entry first;

		while (segment_next(&file.reader, &err) == SEGMENT_CHUNK)
			skim(buf_view(&file.reader.content));
		if (segment_read_at(&file.reader, file.foot.index_at, &first, sizeof(first),
		        &err) == SEGMENT_CHUNK &&
		    sealed_find(&file, first.hash, first.birth_ns, &entries, &n, &err) ==
		        SEGMENT_CHUNK) {
			for (size_t i = 0; i < n && i < 16; i++) {
				struct str part;

				assert(sealed_most_number(&entries[i]) >= entries[i].least_number);
				if (sealed_read(&file, &entries[i], &part, &err) == SEGMENT_CHUNK)
					skim(part);
			}
			free(entries);
		}
	}
	sealed_close(&file);
}

static char dir[] = "/tmp/scotty-fuzz-XXXXXX";

static void
remove_dir(void)
{
	(void)rmdir(dir);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int dir_fd = -1;
	uint8_t *copy = malloc(size + 1);
	int fd;

	log_set_level(LOG_ERROR + 1);
	if (dir_fd < 0) {
		if (mkdtemp(dir) == NULL || atexit(remove_dir) != 0)
			abort();
		dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	}
	if (copy == NULL || dir_fd < 0)
		abort();
	memcpy(copy, data, size);
	put_right(copy, size);
	fd = openat(dir_fd, "000000000001.sh", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, copy, size) != (ssize_t)size)
		abort();
	close(fd);
	read_all(dir_fd);
	unlinkat(dir_fd, "000000000001.sh", 0);
	free(copy);
	return 0;
}
