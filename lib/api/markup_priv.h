/*
 * api/markup_priv.h - text for HTML and XML. All that comes from endpoints goes through it.
 */
#ifndef SCOTTY_API_MARKUP_PRIV_H
#define SCOTTY_API_MARKUP_PRIV_H

#include "base/buf.h"
#include "base/str.h"

/*
 * Appends text such that it is text between tags and in quoted attributes: < > & ' " and CR as
 * character references; what XML 1.0 has no place for (control characters but tab and line feed,
 * U+FFFE, U+FFFF, bytes that are not UTF-8) as U+FFFD.
 */
void markup_text(struct buf *, struct str);

#endif
