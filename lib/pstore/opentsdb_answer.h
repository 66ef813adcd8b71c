/*
 * pstore/opentsdb_answer.h - what OpenTSDB says to /api/put?details: how many points failed, and
 * which.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_OPENTSDB_ANSWER_H
#define SCOTTY_PSTORE_OPENTSDB_ANSWER_H

#include "pstore/writer.h"

/*
 * text is an answer of status 200 or 400, and out what its status alone means.
 *
 *   some failed, and it says which     SOME; the records of those points are refused
 *   some failed for lack of storage    LATER: what was stored is written over by the same
 *   some failed, no more is said       REFUSED: the pump finds which
 *   none failed, or not of that form   out stays
 */
void opentsdb_judge(struct str text, const struct write_request *, struct write_answer *out);

#endif
