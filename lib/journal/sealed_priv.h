/*
 * journal/sealed_priv.h - a segment that is over, sorted out by endpoint, so that the past of one
 * is read without that of the others: history/NUMBER.sh.
 *
 * It begins as a segment does: a head, whose version is 2, and chunks (segment_priv.h), which are a
 * stretch of their own (store/redo.h). A chunk has records of one kind: META, SCHEMA, what was told
 * of sets (STATE, POLL), or FORGET, which come last. One with META or SCHEMA comes before all that
 * needs it. A chunk has 64 KiB without compression, or a record more: what was told of a small set
 * is a *part* of one that others share, a large one has several. A segment is taken apart in
 * *bands* of some MiB, so that memory is bounded: each has parts of its own.
 *
 *	offset	bytes	entry of the index, one for each part of a set, or chunk of the others
 *	0	8	hash of host and app; 0 if it is not of a set
 *	8	8	birth; -2^63: META, -2^63 + 1: FORGET, -2^63 + 2: SCHEMA
 *	16	8	time from which on all of the set is known, ns since 1970, the same for all
 *			parts of a set; META and SCHEMA: the lowest number there
 *	24	8	where the chunk is
 *	32	4	where the part begins in the content of the chunk; META and SCHEMA: the
 *			highest number there less the lowest, 2^32 - 1 if it is more than that
 *	36	4	bytes of the part without compression
 *
 * The entries are sorted by hash, birth and place. Behind them:
 *
 *	offset	bytes	foot
 *	0	8	"scottySI"
 *	8	8	where the index is
 *	16	8	entries
 *	24	8	when the segment was begun, ns since 1970
 *	32	8	when it was last written
 *	40	4	CRC-32C of the index
 *	44	4	CRC-32C of the foot's first 44 bytes
 *
 * Files of version 1 are read as well: no part shares a chunk, the entry has the chunk's number at
 * 32, and META and SCHEMA are in the same chunks.
 *
 * Threads: one at a time.
 */
#ifndef SCOTTY_JOURNAL_SEALED_PRIV_H
#define SCOTTY_JOURNAL_SEALED_PRIV_H

#include <stdatomic.h>

#include "base/str.h"
#include "journal/segment_priv.h"

#define SEALED_ENTRY_BYTES 40
#define SEALED_FOOT_BYTES  48

#define SEALED_METAS   INT64_MIN
#define SEALED_FORGETS (INT64_MIN + 1)
#define SEALED_SCHEMAS (INT64_MIN + 2)

struct sealed_entry {
	uint64_t hash;
	int64_t birth_ns;
	union {
		int64_t whole_ns;
		uint64_t least_number; /* of metas or schemas */
	};
	uint64_t offset;
	union {
		uint32_t at;
		uint32_t more_numbers;
	};
	uint32_t content_bytes; /* of the part */
};

struct sealed_foot {
	char magic[8];
	uint64_t index_at, entry_count;
	int64_t begun_ns, written_ns;
	uint32_t index_crc, crc;
};

uint64_t sealed_hash(struct str host, struct str app);

struct seal_conf {
	int journal_fd, history_fd; /* directories */
	size_t band_bytes;
	const _Atomic bool *stopping; /* set: it is to end early */
};
struct seal_result {
	uint64_t bytes;      /* of the new file; 0 if nothing was in the segment: there is none */
	uint64_t good_bytes; /* of the segment, before the damage */
	bool is_damaged;
	bool is_unreadable; /* ERR_IO: it is the segment that fails, not what is written */
};
/*
 * Makes history/NUMBER.sh of journal/NUMBER.sj, durably, up to the first damage if there is some;
 * the segment stays. -1 with ERR_IO, ERR_NOMEM, ERR_LIMIT (stopping): there is no such file.
 */
int seal_segment(const struct seal_conf *, uint64_t number, int64_t written_ns,
    struct seal_result *, struct err *);

struct sealed_file {
	struct segment_reader reader; /* segment_next gives the chunks, and the end behind them */
	struct sealed_foot foot;
};

/* As segment_open. Close it in all cases. */
enum segment_found sealed_open(struct sealed_file *, int history_fd, uint64_t number, struct err *);
/* Reads the whole index: CHUNK, DAMAGED or FAILED. */
enum segment_found sealed_check_index(const struct sealed_file *, struct err *);
/*
 * The entries of that set, or of one kind (hash 0), in the order of the file, to *out (to be
 * freed). CHUNK, DAMAGED, FAILED.
 */
enum segment_found sealed_find(const struct sealed_file *, uint64_t hash, int64_t birth_ns,
    struct sealed_entry **out, size_t *n, struct err *);
/* Of metas or schemas: no number there is higher. */
uint64_t sealed_most_number(const struct sealed_entry *);
/*
 * Reads the chunk of a part, to reader.content, and gives the part, which is in there: CHUNK,
 * DAMAGED, FAILED.
 */
enum segment_found sealed_read(
    struct sealed_file *, const struct sealed_entry *, struct str *part, struct err *);
void sealed_close(struct sealed_file *);

#endif
