/*
 * sources/prometheus_conf_priv.h - the options of the source "prometheus": what is asked for, and
 * how.
 */
#ifndef SCOTTY_SOURCES_PROMETHEUS_CONF_PRIV_H
#define SCOTTY_SOURCES_PROMETHEUS_CONF_PRIV_H

#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"

extern const struct conf_opt prometheus_opts[];

struct prometheus_conf {
	struct buf path;    /* with its query */
	struct buf headers; /* as http_target_conf has them; holds secrets */
	bool series;        /* histograms as their samples */
};

/*
 * Reads the options (checked; NULL = defaults). deny_files: files and variables of this machine
 * must not go to who asks. -1 with ERR_CONFIG, ERR_DENIED, ERR_NOMEM. fini in any case.
 */
int prometheus_conf_init(
    struct prometheus_conf *, const struct conf *options, bool deny_files, struct err *);
void prometheus_conf_fini(struct prometheus_conf *);

#endif
