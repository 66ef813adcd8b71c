/*
 * journal/segment_priv.h - one file of the journal: a head and chunks behind each other.
 *
 *	offset	bytes	head
 *	0	8	"scottySJ"; "scottySH" of a sealed one (sealed_priv.h)
 *	8	4	version: 1; 2 of a sealed one
 *	12	4	CRC-32C of the other 28 bytes
 *	16	8	number of the segment, as in its name
 *	24	8	when it was begun, ns since 1970
 *
 *	offset	bytes	chunk
 *	0	4	"SJch"; "SJcz": the content is a word of 4 bytes, how many there are without
 *			compression, and a raw deflate stream (RFC 1951)
 *	4	4	bytes of content
 *	8	4	number of the chunk in the segment, from 0
 *	12	4	CRC-32C of the segment's number (8 bytes), these 12 bytes and content
 *	16		content: whole tellings (store/redo.h)
 *
 * Numbers have their lowest byte first. A chunk is what one write appends. The first chunk that is
 * no good ends the segment; what comes after it is set aside by recovery.
 *
 * A name is twelve digits and ".sj", or ".sh" of a sealed one.
 *
 * Threads: one at a time.
 */
#ifndef SCOTTY_JOURNAL_SEGMENT_PRIV_H
#define SCOTTY_JOURNAL_SEGMENT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct z_stream_s;

#define SEGMENT_VERSION    1
#define SEALED_VERSION     2
#define SEGMENT_HEAD_BYTES 32
#define CHUNK_HEAD_BYTES   16
#define CHUNK_NUMBER_AT    8
#define SEGMENT_NAME_BYTES 16 /* with its NUL */
#define SEGMENT_PATH_BYTES 32 /* with its directory */

enum segment_kind { SEGMENT_JOURNAL, SEGMENT_SEALED };

void segment_name(char name[SEGMENT_NAME_BYTES], enum segment_kind, uint64_t number);
/* True for the name of a segment; its number then. */
bool segment_parse_name(const char *name, enum segment_kind, uint64_t *number);

/* Writing. */
struct segment_writer {
	int fd; /* -1: closed */
	enum segment_kind kind;
	uint64_t number, bytes;
	uint32_t chunk_count;
	struct z_stream_s
	    *deflate; /* made with the first chunk; NULL: no memory, nothing is lost */
	struct buf packed;
};

/* A new file in the directory, its head durable. -1 with ERR_IO: there is no such file. */
int segment_create(struct segment_writer *, int dir_fd, enum segment_kind, const char *name,
    uint64_t number, int64_t real_ns, struct err *);
/* -1 with ERR_IO: as far as can be, the file is as before; nothing may be added to it any more. */
int segment_append(struct segment_writer *, const void *content, size_t bytes, struct err *);
/* Bytes that are no chunk. -1 with ERR_IO: the file is of no use. */
int segment_add_raw(struct segment_writer *, const void *, size_t, struct err *);
/* Once: what is used again for every segment. */
void segment_writer_init(struct segment_writer *);
void segment_writer_fini(struct segment_writer *);
/* -1 with ERR_IO: what was not durable before may never be. */
int segment_sync(struct segment_writer *, struct err *);
void segment_close(struct segment_writer *);

/* Reading. */
struct segment_reader {
	int fd;
	enum segment_kind kind;
	uint64_t number, bytes; /* bytes: of the file */
	uint64_t good_bytes;    /* up to the end of the last good chunk */
	int64_t begun_ns;
	uint32_t version, chunk_count;
	struct buf content; /* of the last chunk, RESTORE_SLACK bytes behind it */
	struct buf packed;
};

enum segment_found {
	SEGMENT_CHUNK,
	SEGMENT_END,     /* all of the file is good */
	SEGMENT_DAMAGED, /* from good_bytes on; err says how */
	SEGMENT_NEWER,   /* its version is later than ours */
	SEGMENT_FAILED,  /* ERR_IO, ERR_NOMEM: it could not be read */
};

/* Whatever is there; CHUNK, DAMAGED (it ends before) or FAILED. */
enum segment_found segment_read_at(
    const struct segment_reader *, uint64_t at, void *to, size_t bytes, struct err *);
/* DAMAGED: at good_bytes, and how. */
enum segment_found segment_damaged(const struct segment_reader *, const char *how, struct err *);
/* CHUNK: opened; DAMAGED: the head is no good (good_bytes is 0). Close it in all cases. */
enum segment_found segment_open(
    struct segment_reader *, int dir_fd, const char *name, struct err *);
enum segment_found segment_next(struct segment_reader *, struct err *);
/*
 * In two steps, the second of which may be another thread's: the chunk as it is in the file, to
 * packed if *is_packed, else to content; and the one from the other, -1 with ERR_PROTO, ERR_NOMEM.
 */
enum segment_found segment_next_raw(struct segment_reader *, bool *is_packed, struct err *);
int segment_unpack(const struct buf *packed, struct buf *content, struct err *);
/* How large the content of a packed chunk says it is. */
size_t segment_unpacked_bytes(const struct buf *packed);
void segment_reader_close(struct segment_reader *);

#endif
