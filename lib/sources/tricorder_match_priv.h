/*
 * sources/tricorder_match_priv.h - reads an answer by a layout: the fixed bytes are compared, and
 * only what stands in the holes is read.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_MATCH_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_MATCH_PRIV_H

#include "sources/tricorder_layout_priv.h"
#include "sources/tricorder_parser_priv.h"

enum match {
	MATCH_ALL,  /* the whole document: the batch is filled, its layout_id set */
	MATCH_PART, /* the parser stands where parser_rest must go on */
	MATCH_LOST, /* the poll: err says why */
};

/*
 * The parser must stand before the first metric. The batch gets the metrics that match, *matched of
 * them, and a reference to the layout. No byte of the document behind those is changed.
 */
enum match layout_match(struct parser *, struct layout *, size_t *matched);
/* The same, for processors with AVX2 and BMI. */
enum match layout_match_avx2(struct parser *, struct layout *, size_t *matched);

#endif
