/*
 * api/health_priv.h - what keeps scottyd from doing all its work.
 */
#ifndef SCOTTY_API_HEALTH_PRIV_H
#define SCOTTY_API_HEALTH_PRIV_H

#include "api/route_priv.h"

/* Why nothing is kept on disk, in text; NULL if all is well. */
const char *health_trouble(const struct api_env *, char text[ERR_TEXT_BYTES]);

#endif
