#include "base/flag.h"

#include <stdbool.h>
#include <string.h>

#include "base/conf.h"
#include "base/str.h"

static const struct flag *
find(const struct flag *table, size_t len, struct str name)
{
	for (size_t i = 0; i < len; i++) {
		if (str_eq(name, str_of(table[i].name)))
			return &table[i];
	}
	return NULL;
}

/* Stores one value; false if the text is not of the flag's type. */
static bool
set(const struct flag *flag, void *fields, const char *value)
{
	void *field = (char *)fields + flag->offset;
	bool on = false;

	switch (flag->type) {
	case FLAG_TEXT:
		*(const char **)field = value;
		return true;
	case FLAG_INT:
		return str_to_i64(str_of(value), field) && *(int64_t *)field >= 0;
	case FLAG_DURATION:
		return conf_parse_duration(str_of(value), field) && *(int64_t *)field > 0;
	case FLAG_SWITCH:
		return conf_parse_bool(str_of(value), field);
	case FLAG_CHOICE:
		if (!conf_parse_bool(str_of(value), &on))
			return false;
		if (on)
			*(int *)field = flag->choice;
		return true;
	case FLAG_IGNORED:
		return conf_parse_bool(str_of(value), &on);
	case FLAG_ABSENT:
		break;
	}
	return false;
}

/* What the flag at argv[*i] is set to; *i moves on to its last word. NULL: it lacks one. */
static const char *
value_of(const struct flag *flag, int argc, char **argv, int *i)
{
	const char *equals = strchr(argv[*i], '=');

	if (equals != NULL)
		return equals + 1;
	if (flag->value == NULL)
		return "true";
	return ++*i < argc ? argv[*i] : NULL;
}

/* The flag at argv[*i], and its value. */
static int
parse_one(const struct flag *table, size_t len, void *fields, int argc, char **argv, int *i,
    struct err *err)
{
	struct str rest = str_of(argv[*i]), name;
	const struct flag *flag;
	const char *value;

	rest = str_sub(rest, rest.p[1] == '-' ? 2 : 1, rest.len);
	if (!str_split(&rest, '=', &name))
		name = STR_EMPTY;
	flag = find(table, len, name);
	if (flag == NULL) {
		err_set(err, ERR_CONFIG, "flag -%.*s: not known; -help lists them", STR_ARG(name));
		return -1;
	}
	if (flag->type == FLAG_ABSENT) {
		err_set(err, ERR_CONFIG, "flag -%s: not supported: %s", flag->name, flag->help);
		return -1;
	}
	value = value_of(flag, argc, argv, i);
	if (value == NULL) {
		err_set(err, ERR_CONFIG, "flag -%s: wants %s", flag->name, flag->value);
		return -1;
	}
	if (set(flag, fields, value))
		return 0;
	err_set(err, ERR_CONFIG, "flag -%s: '%s' is no good%s%s", flag->name, value,
	    flag->value == NULL ? "" : ": wants ", flag->value == NULL ? "" : flag->value);
	return -1;
}

int
flag_parse(const struct flag *table, size_t len, void *fields, int argc, char **argv,
    struct flag_words *words, struct err *err)
{
	bool only_words = false;

	if (words != NULL)
		*words = (struct flag_words){ .words = argv + 1 };
	for (int i = 1; i < argc; i++) {
		bool is_flag = !only_words && argv[i][0] == '-' && argv[i][1] != '\0';

		if (words != NULL && is_flag && strcmp(argv[i], "--") == 0) {
			only_words = true;
		} else if (is_flag) {
			if (parse_one(table, len, fields, argc, argv, &i, err) != 0)
				return -1;
		} else if (words != NULL) {
			words->words[words->len++] = argv[i];
		} else {
			err_set(err, ERR_CONFIG, "'%s' is not a flag; -help lists them", argv[i]);
			return -1;
		}
	}
	return 0;
}

void
flag_help(const struct flag *table, size_t len, FILE *out)
{
	for (size_t i = 0; i < len; i++) {
		char left[64];

		if (table[i].type == FLAG_ABSENT || table[i].help == NULL)
			continue;
		snprintf(left, sizeof(left), "-%s %s", table[i].name,
		    table[i].value == NULL ? "" : table[i].value);
		fprintf(out, "  %-28s %s\n", left, table[i].help);
	}
}
