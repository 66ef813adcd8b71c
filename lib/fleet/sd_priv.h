/*
 * fleet/sd_priv.h - target groups, as Prometheus' file_sd and http_sd have them, to targets.
 *
 * The text is JSON or YAML: a list of {targets: [HOST:PORT, ...], labels: {NAME: VALUE, ...}}.
 *
 *   __address__             takes the place of the target's own text
 *   __scheme__              http or https: option tls (or scheme) of the source; port 80 or 443
 *   __metrics_path__        option path
 *   __param_NAME            option params, NAME
 *   __scrape_interval__     interval
 *   __scrape_timeout__      option timeout; a source without it has the limit that all polls have
 *   other __...             dropped, __meta_... among them
 *   instance                its host part is the endpoint's host, if it can be a name
 *   job                     the application, unless the entry names one
 *   region                  the region
 *
 * All others, instance and job too, are tags of the endpoint; an empty value is no label. A target
 * with something wrong, a label among it that its source has no option for, is left out and told; a
 * text of another form is refused as a whole.
 */
#ifndef SCOTTY_FLEET_SD_PRIV_H
#define SCOTTY_FLEET_SD_PRIV_H

#include "fleet/target_list_priv.h"

#define SD_BYTES_MAX   (16 * 1024 * 1024)
#define SD_TARGETS_MAX 100000 /* of one text: a server that floods is told from a fleet */

/*
 * Adds the text's targets to out; name is what complaints call it. -1 with ERR_CONFIG, ERR_LIMIT,
 * ERR_NOMEM.
 */
int sd_read(struct str text, const char *name, const struct target_defaults *,
    struct target_list *out, struct err *);

/*
 * HOST, HOST:PORT, [IPV6]:PORT, IPv6; without a port *port is left as it is. NULL, or what is wrong
 * with it.
 */
const char *sd_split_address(struct str text, struct str *host, uint16_t *port);

#endif
