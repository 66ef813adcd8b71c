/*
 * sources/snmp_names.h - what the objects of agents are called: the standard MIBs
 * (snmp_mibs.def) and what the configuration adds.
 *
 * Threads: read-only once built; building belongs to the owner.
 */
#ifndef SCOTTY_SOURCES_SNMP_NAMES_H
#define SCOTTY_SOURCES_SNMP_NAMES_H

#include "base/arena.h"
#include "base/conf.h"
#include "base/err.h"
#include "sources/snmp_oid.h"

/* How octets are shown; numbers and the rest need no telling. */
enum snmp_show {
	SNMP_SHOW_AUTO, /* text if it can be read, else hexadecimal */
	SNMP_SHOW_TEXT, /* text, what can't be read as '?' */
	SNMP_SHOW_HEX,
	SNMP_SHOW_MAC,
	SNMP_SHOW_DATE, /* DateAndTime, RFC 2579 */
	SNMP_SHOW_IP,   /* IPv4 or IPv6 address as octets */
};

#define SNMP_LABELS_MOST 3 /* columns that can name a row; tags of a row besides its index */

/* A table, or a group of objects that have no rows. */
struct snmp_table {
	struct str dir;                           /* "/snmp/if" */
	struct str index_tag;                     /* "ifIndex"; empty: no rows */
	struct snmp_oid labels[SNMP_LABELS_MOST]; /* columns that name a row, best first */
	size_t label_count;
	struct snmp_oid tags[SNMP_LABELS_MOST]; /* columns that become tags */
	struct str tag_keys[SNMP_LABELS_MOST];  /* sorted */
	size_t tag_count;
	/* Tables whose rows have the same names share one of them; NULL: rows have none. */
	const struct snmp_table *group;
};

/* A column whose values name the rows of a group of tables, or are a tag of them, or both. */
struct snmp_column {
	struct snmp_oid oid;
	const struct snmp_table *group;
	int label, tag; /* its place in the group's labels and tags; -1 = none */
};

struct snmp_object {
	struct snmp_oid oid;
	struct str oid_text;
	struct str symbol; /* "ifInOctets" */
	struct str name;   /* "in-octets" */
	struct str unit, description;
	enum snmp_show show;
	const struct snmp_table *table;
};

struct snmp_names;

/*
 * The standard ones: made by who asks first, they live as long as the process. NULL without memory.
 * Any thread.
 */
const struct snmp_names *snmp_names_standard(void);
/*
 * base and what list, checked or not, says besides (see docs): it goes before base, which must
 * outlive it. NULL with a complaint, be it about memory.
 */
struct snmp_names *snmp_names_extend(
    const struct snmp_names *base, const struct conf *list, struct conf_report *);
void snmp_names_free(struct snmp_names *); /* NULL is fine */

/* The object that oid is an instance of, NULL if it is unknown. */
const struct snmp_object *snmp_names_find(const struct snmp_names *, struct snmp_oid);
/* The columns that oid is a cell of: count of them from *first on, one for each group. */
size_t snmp_names_columns(
    const struct snmp_names *, struct snmp_oid oid, const struct snmp_column **first);
/*
 * "ifTable", "IF-MIB::ifInOctets", "sysUpTime.0", "1.3.6.1.2.1.1": false if unknown.
 */
bool snmp_names_parse(const struct snmp_names *, struct str, struct snmp_oid_room *out);
/*
 * Calls fn with each column that names rows (or becomes a tag) of a table that has something under
 * oid, or under which oid lies.
 */
void snmp_names_lookups(const struct snmp_names *, struct snmp_oid oid,
    void (*fn)(void *ctx, struct snmp_oid column), void *ctx);

#endif
