/*
 * pstore/lmm_object.h - a record as the JSON object that upstream's writers to LMM send:
 *
 *   {"@timestamp":"2026-11-20T21:21:50.000Z","@version":"1","apikey":"K","appname":"A","host":"H",
 *    "ipaddress":"I","name":"/PATH","region":"R","tenant_id":"T","value":5}
 *
 * Keys are sorted, but for a metric's own tags, which come last. Milliseconds are cut, not rounded.
 *
 *   numbers, bool    value, as a double; bools 1 and 0, times in seconds since 1970, durations in
 *                    the metric's unit
 *   string           value 0 and "stringValue", cut to 100 bytes at the end of a character
 *   list             the same with the list as a text of JSON
 *   distribution     value and "count": how many values; "sum" if finite; "le_LIMIT", "le_inf": how
 *                    many are up to it
 *   NaN, infinite    none: left out
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_LMM_OBJECT_H
#define SCOTTY_PSTORE_LMM_OBJECT_H

#include "pstore/writer.h"

/* What is the same in all objects of a writer. */
struct lmm_account {
	struct buf key, tenant; /* texts of JSON */
};

/* Either text may hold any bytes. */
void lmm_account_init(struct lmm_account *, struct str api_key, struct str tenant_id);
void lmm_account_fini(struct lmm_account *);

/* As the functions of writer.h that prepare and format. */
void lmm_prepare_origin(const struct write_origin *, struct buf *out);
void lmm_prepare_series(const struct metric_desc *, struct buf *head, struct buf *tail);
bool lmm_format(const struct lmm_account *, const struct write_record *, struct buf *out);

#endif
