/*
 * fleet/target_conf_priv.h - an `endpoints` element of the configuration, or the body of a PUT, to
 * a target.
 */
#ifndef SCOTTY_FLEET_TARGET_CONF_PRIV_H
#define SCOTTY_FLEET_TARGET_CONF_PRIV_H

#include "base/conf.h"
#include "poller/target.h"

#define NAME_BYTES_MAX 255 /* host, app, address, region */

enum name_use { NAME_IDENTITY, NAME_OTHER };

/*
 * What is wrong with a name from outside, as "must not be empty"; NULL if nothing is. Names appear
 * in URLs, log lines and paths of other systems; '/' separates host and app.
 */
const char *name_fault(struct str name, enum name_use);

/* What the element's key `source` names (a row of opts); NULL after a complaint. */
const struct source_ops *source_from_conf(
    const struct conf *element, const struct conf_opt *opts, struct conf_report *);

/* Checks what the source takes. True if nothing was complained about. */
bool source_options_check(
    const struct source_ops *, const struct conf *options, struct conf_report *);

/*
 * Checks element, which doc holds, and makes its target, with one reference. host and app, when not
 * empty, are given already (by the URL): the element may leave them out but not contradict them,
 * and its secrets must be text, no {file: ...} and no {env: ...}.
 * NULL with at least one complaint (running out of memory is one too). The guard is left open.
 */
struct target *target_from_conf(struct conf_doc *doc, const struct conf *element, struct str host,
    struct str app, int64_t frequency_ns, struct conf_report *);

#endif
