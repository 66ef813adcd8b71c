/*
 * scotty mib2conf FILE...: writes what MIB files say of their objects as `names` of the SNMP
 * source's options. What they import is looked for beside them and where net-snmp keeps its MIB
 * files (its variable MIBDIRS).
 *
 * It uses net-snmp's parser, which is too slow and too fragile for a daemon; scottyd itself reads
 * no MIB files. Objects of the standard MIBs that scottyd knows by itself are left out.
 */
#include <net-snmp/net-snmp-config.h>

#include <errno.h>
#include <libgen.h>
#include <net-snmp/net-snmp-includes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "scotty/client.h"
#include "sources/snmp_names.h"
#include "sources/snmp_text.h"

int command_mib2conf(struct client *, char **, size_t, struct err *);

static void
find_oid(const struct tree *node, struct snmp_oid_room *out)
{
	size_t len = 0;

	for (const struct tree *t = node; t != NULL; t = t->parent)
		len++;
	if (len > SNMP_OID_MOST)
		len = SNMP_OID_MOST;
	out->len = len;
	for (const struct tree *t = node; t != NULL && len > 0; t = t->parent)
		out->ids[--len] = (uint32_t)t->subid;
}

static bool
ends_with(const char *text, const char *end)
{
	return str_ends(str_of(text), str_of(end));
}

static bool
is_column(const struct tree *node)
{
	return node->parent != NULL &&
	       (node->parent->indexes != NULL || node->parent->augments != NULL);
}

/* A column that looks as if it named the rows: fooName, else fooDescr. */
static const struct tree *
find_label(const struct tree *entry)
{
	static const char *const ends[] = { "Name", "Descr", "Description", "Label" };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		for (const struct tree *t = entry->child_list; t != NULL; t = t->next_peer) {
			if (t->type == TYPE_OCTETSTR && ends_with(t->label, ends[i]))
				return t;
		}
	}
	return NULL;
}

/* How octets are shown, by the display hint of their type. */
static const char *
kind_of(const struct tree *node)
{
	const char *hint = node->hint == NULL ? "" : node->hint;

	if (node->type != TYPE_OCTETSTR && node->type != TYPE_BITSTRING)
		return NULL;
	if (strcmp(hint, "1x:") == 0)
		return "mac";
	if (strncmp(hint, "2d-1d-1d", 8) == 0)
		return "date";
	return ends_with(hint, "a") || ends_with(hint, "t") ? "text" : NULL;
}

/* The first sentence of a description, as a double-quoted scalar. */
static void
put_sentence(struct buf *out, const char *text)
{
	size_t len = 0;
	bool space = false;

	buf_putc(out, '"');
	while (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r')
		text++;
	for (; *text != '\0' && len < 150; text++) {
		if (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r') {
			space = true;
			continue;
		}
		if (space)
			buf_putc(out, ' ');
		space = false;
		if (*text == '"' || *text == '\\')
			buf_putc(out, '\'');
		else if ((unsigned char)*text >= ' ' && (unsigned char)*text < 0x7f)
			buf_putc(out, *text);
		len++;
		if (*text == '.' && (text[1] == ' ' || text[1] == '\n' || text[1] == '\0'))
			break;
	}
	buf_putc(out, '"');
}

static void
put_oid(struct buf *out, const struct tree *node)
{
	char text[SNMP_OID_TEXT_BYTES];
	struct snmp_oid_room room;

	find_oid(node, &room);
	buf_str(out, (struct str){ text, snmp_oid_text(snmp_oid_of(&room), text) });
}

/* "cisco-process/cpm-cpu-total/cpm-cpu-total-5sec": module, table, object. */
static void
put_name(struct buf *out, const struct tree *node)
{
	char name[256];
	struct str module;

	module_name(node->modid, name);
	for (char *p = name; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	module = str_of(name);
	if (str_ends(module, STR("-mib")))
		module.len -= 4;
	buf_str(out, module);
	if (is_column(node) && node->parent->parent != NULL) {
		struct str table = str_of(node->parent->parent->label);

		if (str_ends(table, STR("Table")))
			table.len -= 5;
		buf_putc(out, '/');
		snmp_text_kebab(out, table);
	}
	buf_putc(out, '/');
	snmp_text_kebab(out, str_of(node->label));
}

static void
put_object(struct buf *out, const struct tree *node)
{
	const struct tree *label = is_column(node) ? find_label(node->parent) : NULL;
	const char *kind = kind_of(node);

	buf_puts(out, "  - oid: ");
	put_oid(out, node);
	buf_puts(out, "\n    name: ");
	put_name(out, node);
	buf_puts(out, "\n");
	if (node->units != NULL && node->units[0] != '\0') {
		buf_puts(out, "    unit: ");
		put_sentence(out, node->units);
		buf_puts(out, "\n");
	}
	if (node->description != NULL) {
		buf_puts(out, "    description: ");
		put_sentence(out, node->description);
		buf_puts(out, "\n");
	}
	if (kind != NULL)
		buf_printf(out, "    kind: %s\n", kind);
	if (label != NULL) {
		buf_puts(out, "    index: ");
		put_oid(out, label);
		buf_puts(out, "\n");
	}
}

static bool
can_be_read(const struct tree *node)
{
	return node->child_list == NULL && node->type != TYPE_OTHER &&
	       (node->access == MIB_ACCESS_READONLY || node->access == MIB_ACCESS_READWRITE ||
	           node->access == MIB_ACCESS_CREATE);
}

/* The one of nodes that comes first after subid; -1 = from the start. The parser keeps no order. */
static const struct tree *
next_by_subid(const struct tree *nodes, long long subid)
{
	const struct tree *next = NULL;

	for (; nodes != NULL; nodes = nodes->next_peer) {
		if ((long long)nodes->subid > subid && (next == NULL || nodes->subid < next->subid))
			next = nodes;
	}
	return next;
}

/* All objects below that scottyd does not know by itself. */
static void
put_tree(struct buf *out, const struct tree *nodes, const struct snmp_names *names, bool *found)
{
	const struct tree *node = next_by_subid(nodes, -1);

	for (; node != NULL; node = next_by_subid(nodes, (long long)node->subid)) {
		struct snmp_oid_room room;

		find_oid(node, &room);
		if (can_be_read(node) && snmp_names_find(names, snmp_oid_of(&room)) == NULL) {
			*found = true;
			put_object(out, node);
		}
		put_tree(out, node->child_list, names, found);
	}
}

/* No configuration of net-snmp's is read, and nothing is written. */
static void
begin_parser(void)
{
	static const int on[] = { NETSNMP_DS_LIB_DONT_READ_CONFIGS, NETSNMP_DS_LIB_SAVE_MIB_DESCRS,
		NETSNMP_DS_LIB_DISABLE_PERSISTENT_LOAD, NETSNMP_DS_LIB_DISABLE_PERSISTENT_SAVE };

	for (size_t i = 0; i < ARRAY_LEN(on); i++)
		netsnmp_ds_set_boolean(NETSNMP_DS_LIBRARY_ID, on[i], 1);
	setenv("MIBS", "", 1);
	init_snmp("scotty");
}

/* Writes the names of all that was parsed. */
static int
write_names(const struct snmp_names *names, struct err *err)
{
	bool found = false;
	struct buf out;
	int rc = -1;

	buf_init(&out, 0);
	buf_puts(&out, "names:\n");
	put_tree(&out, get_tree_head(), names, &found);
	if (out.failed)
		err_nomem(err);
	else if (!found)
		err_set(err, ERR_NOTFOUND, "no objects that scottyd does not know already");
	else if (fwrite(out.p, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		err_errno(err, errno, "standard output");
	else
		rc = 0;
	buf_fini(&out);
	return rc;
}

static int
read_file(const char *path, struct err *err)
{
	char *dir = strdup(path);

	if (dir == NULL) {
		err_nomem(err);
		return -1;
	}
	add_mibdir(dirname(dir));
	free(dir);
	if (read_mib(path) != NULL)
		return 0;
	err_set(err, ERR_IO, "%s: can't be read as a MIB file", path);
	return -1;
}

int
command_mib2conf(struct client *client, char **words, size_t n, struct err *err)
{
	const struct snmp_names *names = snmp_names_standard();

	(void)client;
	if (names == NULL) {
		err_nomem(err);
		return -1;
	}
	begin_parser();
	for (size_t i = 0; i < n; i++) {
		if (read_file(words[i], err) != 0)
			return -1;
	}
	return write_names(names, err);
}
