/*
 * sources/snmp_conf_priv.h - the options of an SNMP endpoint, read and checked.
 *
 * Threads: read-only once made.
 */
#ifndef SCOTTY_SOURCES_SNMP_CONF_PRIV_H
#define SCOTTY_SOURCES_SNMP_CONF_PRIV_H

#include "base/arena.h"
#include "base/conf.h"
#include "sources/snmp_names.h"
#include "sources/snmp_walk_priv.h"

enum snmp_level { SNMP_NO_AUTH, SNMP_AUTH, SNMP_AUTH_PRIV };

enum snmp_auth { SNMP_MD5, SNMP_SHA, SNMP_SHA224, SNMP_SHA256, SNMP_SHA384, SNMP_SHA512 };

enum snmp_priv { SNMP_DES, SNMP_AES128, SNMP_AES192, SNMP_AES256, SNMP_AES192C, SNMP_AES256C };

struct snmp_conf {
	enum snmp_version version;
	char *community; /* wiped when freed, as are the passwords */
	struct snmp_plan plan;
	bool uptime_walked; /* sysUpTime is in a subtree: the answer to the first request is not
	                       needed */
	unsigned max_repetitions, retries;
	int64_t timeout_ns;
	const struct snmp_names *names;
	/* Version 3. */
	struct str user, context; /* NUL-ended */
	enum snmp_level level;
	enum snmp_auth auth;
	enum snmp_priv priv;
	char *auth_password, *priv_password; /* NULL where the level needs none */
	/* private: */
	struct arena arena;
	struct snmp_names *own_names; /* NULL: names is the standard ones */
};

extern const struct conf_opt snmp_opts[];

/*
 * Reads options (NULL: all defaults), which snmp_opts says nothing against. deny_files: secrets
 * must be written out, as who registered the endpoint may have no access to this host's files. NULL
 * with ERR_CONFIG, ERR_DENIED, ERR_NOMEM.
 */
struct snmp_conf *snmp_conf_new(const struct conf *options, bool deny_files, struct err *);
/* Makes all complaints about options, secrets that are references left out. Any thread. */
void snmp_conf_check(const struct conf *options, struct conf_report *);
void snmp_conf_free(struct snmp_conf *); /* NULL is fine */

#endif
