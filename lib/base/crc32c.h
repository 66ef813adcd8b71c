/*
 * base/crc32c.h - CRC-32C (Castagnoli; RFC 3720, appendix B.4), with the processor's instruction
 * where it has one.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_BASE_CRC32C_H
#define SCOTTY_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of bytes that go on from those whose sum is crc (0 to begin with). */
uint32_t crc32c(uint32_t crc, const void *, size_t len);
/* The same by table, on any processor: for tests. */
uint32_t crc32c_by_table(uint32_t crc, const void *, size_t len);

#endif
