/*
 * api/members_priv.h - answers that are a JSON array with an element per member of the fleet.
 */
#ifndef SCOTTY_API_MEMBERS_PRIV_H
#define SCOTTY_API_MEMBERS_PRIV_H

#include "api/json_array_priv.h"

/*
 * Answers with what put writes for each member, by host and application: an element or nothing.
 */
void members_answer(
    struct request *, struct response *, void (*put)(struct json *, const struct member_view *));

#endif
