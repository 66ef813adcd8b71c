/*
 * fleet/conf_text_priv.h - a tree of the configuration as text again.
 */
#ifndef SCOTTY_FLEET_CONF_TEXT_PRIV_H
#define SCOTTY_FLEET_CONF_TEXT_PRIV_H

#include "base/buf.h"
#include "base/conf.h"

/* A string in quotes, which conf_parse reads back as it is. It holds no NUL. */
void conf_text_string(struct buf *, struct str);
/* The tree in one line, which conf_parse reads as an equal one. NULL is null. */
void conf_text_tree(struct buf *, const struct conf *);

#endif
