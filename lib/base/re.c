#include "base/re.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"

/* Groups within groups; the parser and the code maker are recursive. */
#define MOST_DEPTH 100
/* Largest count in {n,m}, as in Go. */
#define MOST_REPEAT 1000
#define MOST_RUNE   0x10FFFF

/* What an expression is made of; RE_EMPTY matches everywhere. */
enum node_type {
	NODE_EMPTY,
	NODE_SET,    /* one character: ranges from..to */
	NODE_ASSERT, /* a place */
	NODE_CAT,    /* left, then right */
	NODE_ALT,    /* left or right */
	NODE_REPEAT, /* left, from..to times; to < 0 = without end */
};

enum place {
	PLACE_TEXT_BEGIN,
	PLACE_TEXT_END,
	PLACE_LINE_BEGIN,
	PLACE_LINE_END,
	PLACE_WORD,
	PLACE_NOT_WORD
};

struct node {
	enum node_type type;
	int left, right; /* nodes; SET: first range and end of ranges */
	int from, to;    /* REPEAT; ASSERT: from is the place */
};

struct range {
	uint32_t low, high;
};

enum op { OP_SET, OP_ASSERT, OP_SPLIT, OP_JUMP, OP_MATCH };

struct step {
	enum op op;
	int x, y; /* SPLIT: both ways; JUMP: x; SET: ranges [x, y); ASSERT: x is the place */
};

/* States of the automaton, each at most once. */
struct states {
	int *list;
	int len;
};

struct re {
	struct range *ranges;
	struct step *steps;
	int step_count;
	/* Scratch of re_match. */
	struct states now, next;
	int *stack;
	uint64_t *seen, generation;
};

struct parser {
	struct str text;
	size_t at;
	int depth;
	bool fold, dot_all, multi_line, failed;
	unsigned emitted; /* nodes: an empty one repeated over and over makes no steps */
	struct node *nodes;
	int node_count, node_cap;
	struct range *ranges;
	int range_count, range_cap;
	struct err *err;
};

static int
fail(struct parser *p, const char *what)
{
	if (!p->failed)
		err_set(p->err, ERR_CONFIG, "regular expression '%.*s': %s at character %zu",
		    p->text.len > 200 ? 200 : (int)p->text.len, p->text.p, what, p->at + 1);
	p->failed = true;
	return 0;
}

static bool
grow(struct parser *p, void *array, int *cap, int len, size_t size)
{
	void **at = array, *grown;

	if (len < *cap)
		return true;
	if (p->failed)
		return false;
	grown = realloc(*at, ((size_t)*cap * 2 + 16) * size);
	if (grown == NULL) {
		err_nomem(p->err);
		p->failed = true;
		return false;
	}
	*at = grown;
	*cap = *cap * 2 + 16;
	return true;
}

/* A node, 0 when out of memory (and failed). */
static int
add_node(struct parser *p, struct node node)
{
	if (!grow(p, &p->nodes, &p->node_cap, p->node_count, sizeof(*p->nodes)))
		return 0;
	p->nodes[p->node_count] = node;
	return p->node_count++;
}

static void
add_range(struct parser *p, uint32_t low, uint32_t high)
{
	if (grow(p, &p->ranges, &p->range_cap, p->range_count, sizeof(*p->ranges)))
		p->ranges[p->range_count++] = (struct range){ low, high };
}

/* The range, and its letters in the other case. */
static void
add_folded(struct parser *p, uint32_t low, uint32_t high)
{
	add_range(p, low, high);
	if (!p->fold)
		return;
	for (uint32_t c = 'a'; c <= 'z'; c++) {
		if (low <= c && c <= high)
			add_range(p, c - 32, c - 32);
		if (low <= c - 32 && c - 32 <= high)
			add_range(p, c, c);
	}
}

static int
compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

/* The ranges from `first` on become all that is not in them. */
static void
negate(struct parser *p, int first)
{
	int end = p->range_count;
	uint32_t next = 0;

	if (p->failed)
		return;
	if (end > first)
		qsort(p->ranges + first, (size_t)(end - first), sizeof(*p->ranges), compare_ranges);
	for (int i = first; i < end; i++) {
		struct range range = p->ranges[i];

		if (range.low > next)
			add_range(p, next, range.low - 1);
		if (range.high >= next)
			next = range.high + 1;
	}
	if (next <= MOST_RUNE)
		add_range(p, next, MOST_RUNE);
	if (p->failed)
		return;
	memmove(p->ranges + first, p->ranges + end,
	    (size_t)(p->range_count - end) * sizeof(*p->ranges));
	p->range_count -= end - first;
}

static const struct named_class {
	const char *name;
	struct range ranges[4];
	int count;
} classes[] = {
	{ "d", { { '0', '9' } }, 1 },
	{ "w", { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } }, 4 },
	{ "s", { { '\t', '\n' }, { '\f', '\r' }, { ' ', ' ' } }, 3 },
	{ "alnum", { { '0', '9' }, { 'A', 'Z' }, { 'a', 'z' } }, 3 },
	{ "alpha", { { 'A', 'Z' }, { 'a', 'z' } }, 2 },
	{ "ascii", { { 0, 127 } }, 1 },
	{ "blank", { { '\t', '\t' }, { ' ', ' ' } }, 2 },
	{ "cntrl", { { 0, 31 }, { 127, 127 } }, 2 },
	{ "digit", { { '0', '9' } }, 1 },
	{ "graph", { { '!', '~' } }, 1 },
	{ "lower", { { 'a', 'z' } }, 1 },
	{ "print", { { ' ', '~' } }, 1 },
	{ "punct", { { '!', '/' }, { ':', '@' }, { '[', '`' }, { '{', '~' } }, 4 },
	{ "space", { { '\t', '\r' }, { ' ', ' ' } }, 2 },
	{ "upper", { { 'A', 'Z' } }, 1 },
	{ "word", { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } }, 4 },
	{ "xdigit", { { '0', '9' }, { 'A', 'F' }, { 'a', 'f' } }, 3 },
};

/* False if there is none of that name. */
static bool
add_class(struct parser *p, struct str name, bool negated)
{
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		int first = p->range_count;

		if (!str_eq(name, str_of(classes[i].name)))
			continue;
		for (int k = 0; k < classes[i].count; k++)
			add_folded(p, classes[i].ranges[k].low, classes[i].ranges[k].high);
		if (negated)
			negate(p, first);
		return true;
	}
	return false;
}

/* The character at *at, which moves on; U+FFFD for a byte that is no UTF-8. */
static uint32_t
next_rune(struct str text, size_t *at)
{
	const unsigned char *s = (const unsigned char *)text.p + *at;
	size_t left = text.len - *at, len;

	if (s[0] < 0x80) {
		++*at;
		return s[0];
	}
	len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (len > left || utf8_valid_prefix((const char *)s, len) != len) {
		++*at;
		return 0xFFFD;
	}
	*at += len;
	if (len == 2)
		return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
	if (len == 3)
		return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
	return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

static bool
more(const struct parser *p)
{
	return !p->failed && p->at < p->text.len;
}

static bool
looking_at(const struct parser *p, const char *what)
{
	return str_starts(str_sub(p->text, p->at, p->text.len), str_of(what));
}

static bool
take(struct parser *p, const char *what)
{
	if (p->failed || !looking_at(p, what))
		return false;
	p->at += strlen(what);
	return true;
}

/* After "\x": two digits, or any number of them in braces. */
static uint32_t
parse_hex(struct parser *p)
{
	bool braces = take(p, "{");
	uint32_t value = 0;
	int digits = 0;

	while (more(p) && (braces || digits < 2) && str_hex_digit(p->text.p[p->at]) >= 0) {
		value = value * 16 + (uint32_t)str_hex_digit(p->text.p[p->at++]);
		digits++;
		if (value > MOST_RUNE)
			fail(p, "character too large");
	}
	if (digits == 0 || (braces ? !take(p, "}") : digits < 2))
		fail(p, "invalid escape sequence");
	return value;
}

/* After a backslash: a character that stands for itself or by a name. */
static uint32_t
parse_escape(struct parser *p)
{
	static const char names[] = "afnrtv", values[] = "\a\f\n\r\t\v";
	const char *name;
	char c;

	if (!more(p)) {
		fail(p, "trailing backslash");
		return 0;
	}
	c = p->text.p[p->at];
	name = c == '\0' ? NULL : strchr(names, c);
	if (name != NULL) {
		p->at++;
		return (unsigned char)values[name - names];
	}
	if (take(p, "x"))
		return parse_hex(p);
	/* \0, \012, \123; \1 alone would be a back-reference. */
	if (c == '0' || (c >= '1' && c <= '7' && p->at + 1 < p->text.len &&
	                    p->text.p[p->at + 1] >= '0' && p->text.p[p->at + 1] <= '7')) {
		uint32_t value = 0;

		for (int i = 0;
		     i < 3 && more(p) && p->text.p[p->at] >= '0' && p->text.p[p->at] <= '7'; i++)
			value = value * 8 + (uint32_t)(p->text.p[p->at++] - '0');
		return value;
	}
	if (c == 'p' || c == 'P') {
		fail(p, "Unicode classes are not supported");
		return 0;
	}
	if ((unsigned char)c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z')) {
		fail(p, "invalid escape sequence");
		return 0;
	}
	p->at++;
	return (unsigned char)c;
}

/* \d and its like, after the backslash. */
static bool
take_class_escape(struct parser *p)
{
	char c = more(p) ? p->text.p[p->at] : '\0', lower = (char)(c | 32);

	if (c == '\0' || strchr("dDwWsS", c) == NULL)
		return false;
	p->at++;
	return add_class(p, (struct str){ &lower, 1 }, c != lower);
}

/* [:alpha:] within brackets. */
static bool
take_named_class(struct parser *p)
{
	struct str rest = str_sub(p->text, p->at, p->text.len), name;
	const char *end;
	bool negated;

	if (!take(p, "[:"))
		return false;
	negated = take(p, "^");
	rest = str_sub(p->text, p->at, p->text.len);
	end = rest.len == 0 ? NULL : memmem(rest.p, rest.len, ":]", 2);
	name = end == NULL ? STR_EMPTY : str_sub(rest, 0, (size_t)(end - rest.p));
	if (end == NULL || name.len == 1 || !add_class(p, name, negated)) {
		fail(p, "invalid character class range");
		return true;
	}
	p->at += name.len + 2;
	return true;
}

static uint32_t
parse_class_char(struct parser *p)
{
	if (take(p, "\\"))
		return parse_escape(p);
	return next_rune(p->text, &p->at);
}

static int
set_node(struct parser *p, int first)
{
	return add_node(p, (struct node){ NODE_SET, first, p->range_count, 0, 0 });
}

/* After "[". */
static int
parse_class(struct parser *p)
{
	bool negated = take(p, "^"), is_first = true;
	int first = p->range_count;

	while (more(p) && (is_first || !looking_at(p, "]"))) {
		uint32_t low, high;

		is_first = false;
		if (take_named_class(p))
			continue;
		if (take(p, "\\")) {
			if (take_class_escape(p))
				continue;
			p->at--;
		}
		low = high = parse_class_char(p);
		if (!p->failed && looking_at(p, "-") && p->at + 1 < p->text.len &&
		    p->text.p[p->at + 1] != ']') {
			p->at++;
			high = parse_class_char(p);
		}
		if (high < low)
			fail(p, "invalid character class range");
		add_folded(p, low, high);
	}
	if (!take(p, "]"))
		return fail(p, "missing closing ]");
	if (negated)
		negate(p, first);
	return set_node(p, first);
}

static int
char_node(struct parser *p, uint32_t rune)
{
	int first = p->range_count;

	add_folded(p, rune, rune);
	return set_node(p, first);
}

static int
place_node(struct parser *p, enum place place)
{
	return add_node(p, (struct node){ NODE_ASSERT, 0, 0, (int)place, 0 });
}

static int
dot_node(struct parser *p)
{
	int first = p->range_count;

	if (!p->dot_all) {
		add_range(p, 0, '\n' - 1);
		add_range(p, '\n' + 1, MOST_RUNE);
	} else {
		add_range(p, 0, MOST_RUNE);
	}
	return set_node(p, first);
}

static int
cat_nodes(struct parser *p, int left, int right)
{
	return add_node(p, (struct node){ NODE_CAT, left, right, 0, 0 });
}

/* After "\Q". */
static int
parse_quoted(struct parser *p)
{
	int node = add_node(p, (struct node){ NODE_EMPTY, 0, 0, 0, 0 });

	while (more(p) && !take(p, "\\E"))
		node = cat_nodes(p, node, char_node(p, next_rune(p->text, &p->at)));
	return node;
}

/* After a backslash. */
static int
parse_escaped(struct parser *p)
{
	static const char places[] = "AzbB";
	static const enum place which[] = { PLACE_TEXT_BEGIN, PLACE_TEXT_END, PLACE_WORD,
		PLACE_NOT_WORD };
	const char *place =
	    more(p) && p->text.p[p->at] != '\0' ? strchr(places, p->text.p[p->at]) : NULL;
	int first = p->range_count;

	if (place != NULL) {
		p->at++;
		return place_node(p, which[place - places]);
	}
	if (take(p, "Q"))
		return parse_quoted(p);
	if (take_class_escape(p))
		return set_node(p, first);
	return char_node(p, parse_escape(p));
}

static int parse_alternatives(struct parser *p);

/* Flags after "(?": i, s, m, U, with a minus before those to be switched off. */
static void
parse_flags(struct parser *p)
{
	bool on = true;

	while (more(p) && !looking_at(p, ")") && !looking_at(p, ":")) {
		switch (p->text.p[p->at]) {
		case 'i':
			p->fold = on;
			break;
		case 's':
			p->dot_all = on;
			break;
		case 'm':
			p->multi_line = on;
			break;
		case 'U': /* greedy or lazy is the same here */
			break;
		case '-':
			on = false;
			break;
		default:
			fail(p, "invalid or unsupported Perl syntax");
			return;
		}
		p->at++;
	}
}

static void
skip_name(struct parser *p)
{
	while (more(p) && !looking_at(p, ">"))
		p->at++;
	if (!take(p, ">"))
		fail(p, "invalid named capture");
}

/* After "(". */
static int
parse_group(struct parser *p)
{
	bool fold = p->fold, dot_all = p->dot_all, multi_line = p->multi_line;
	int node;

	if (++p->depth > MOST_DEPTH)
		return fail(p, "groups nested too deep");
	if (take(p, "?P<") || (!looking_at(p, "?<=") && !looking_at(p, "?<!") && take(p, "?<"))) {
		skip_name(p);
	} else if (take(p, "?")) {
		parse_flags(p);
		if (take(p, ")")) { /* for the rest of the group around it */
			p->depth--;
			return add_node(p, (struct node){ NODE_EMPTY, 0, 0, 0, 0 });
		}
		if (!take(p, ":"))
			return fail(p, "missing closing )");
	}
	node = parse_alternatives(p);
	if (!take(p, ")"))
		return fail(p, "missing closing )");
	p->depth--;
	p->fold = fold;
	p->dot_all = dot_all;
	p->multi_line = multi_line;
	return node;
}

static int
parse_atom(struct parser *p)
{
	if (take(p, "("))
		return parse_group(p);
	if (take(p, "["))
		return parse_class(p);
	if (take(p, "."))
		return dot_node(p);
	if (take(p, "\\"))
		return parse_escaped(p);
	if (take(p, "^"))
		return place_node(p, p->multi_line ? PLACE_LINE_BEGIN : PLACE_TEXT_BEGIN);
	if (take(p, "$"))
		return place_node(p, p->multi_line ? PLACE_LINE_END : PLACE_TEXT_END);
	if (looking_at(p, "*") || looking_at(p, "+") || looking_at(p, "?"))
		return fail(p, "missing argument to repetition operator");
	return char_node(p, next_rune(p->text, &p->at));
}

/* Digits; -1 if there are none. */
static int
parse_count(struct parser *p)
{
	int value = -1;

	while (more(p) && p->text.p[p->at] >= '0' && p->text.p[p->at] <= '9') {
		value = (value < 0 ? 0 : value * 10) + (p->text.p[p->at++] - '0');
		if (value > MOST_REPEAT) {
			fail(p, "invalid repeat count");
			return -1;
		}
	}
	return value;
}

/* {n}, {n,}, {n,m}. Else nothing is taken: the brace stands for itself. */
static bool
take_counts(struct parser *p, int *from, int *to)
{
	size_t at = p->at;

	if (!take(p, "{"))
		return false;
	*from = *to = parse_count(p);
	if (*from >= 0 && take(p, ","))
		*to = looking_at(p, "}") ? -1 : parse_count(p);
	if (p->failed)
		return true;
	if (*from < 0 || !take(p, "}")) {
		p->at = at;
		return false;
	}
	if (*to >= 0 && *to < *from)
		fail(p, "invalid repeat count");
	return true;
}

static bool
take_repetition(struct parser *p, int *from, int *to)
{
	*from = 0;
	*to = -1;
	if (take(p, "*"))
		return true;
	*from = 1;
	if (take(p, "+"))
		return true;
	*from = 0;
	*to = 1;
	return take(p, "?") || take_counts(p, from, to);
}

static int
parse_repeated(struct parser *p)
{
	int node = parse_atom(p), from, to;

	if (!more(p) || !take_repetition(p, &from, &to))
		return node;
	take(p, "?"); /* lazy */
	node = add_node(p, (struct node){ NODE_REPEAT, node, 0, from, to });
	if (more(p) && take_repetition(p, &from, &to))
		return fail(p, "invalid nested repetition operator");
	return node;
}

static int
parse_alternatives(struct parser *p)
{
	int left = -1, node = add_node(p, (struct node){ NODE_EMPTY, 0, 0, 0, 0 });

	while (more(p) && !looking_at(p, ")")) {
		if (!take(p, "|")) {
			node = cat_nodes(p, node, parse_repeated(p));
			continue;
		}
		left = left < 0 ? node : add_node(p, (struct node){ NODE_ALT, left, node, 0, 0 });
		node = add_node(p, (struct node){ NODE_EMPTY, 0, 0, 0, 0 });
	}
	return left < 0 ? node : add_node(p, (struct node){ NODE_ALT, left, node, 0, 0 });
}

/* The automaton. */

static int
add_step(struct re *re, struct parser *p, enum op op, int x, int y)
{
	if (p->failed)
		return 0;
	if (re->step_count == RE_STEPS_MAX)
		return fail(p, "expression too large");
	re->steps[re->step_count] = (struct step){ op, x, y };
	return re->step_count++;
}

static void emit(struct re *re, struct parser *p, int node);

static void
emit_optional(struct re *re, struct parser *p, int node)
{
	int split = add_step(re, p, OP_SPLIT, re->step_count + 1, 0);

	emit(re, p, node);
	re->steps[split].y = re->step_count;
}

static void
emit_repeat(struct re *re, struct parser *p, const struct node *node)
{
	int split;

	for (int i = 0; i < node->from && !p->failed; i++)
		emit(re, p, node->left);
	for (int i = node->from; i < node->to && !p->failed; i++)
		emit_optional(re, p, node->left);
	if (node->to >= 0)
		return;
	split = add_step(re, p, OP_SPLIT, re->step_count + 1, 0);
	emit(re, p, node->left);
	add_step(re, p, OP_JUMP, split, 0);
	re->steps[split].y = re->step_count;
}

/* Recursion goes as deep as the tree: left chains of CAT are followed by a loop. */
static void
emit_cat(struct re *re, struct parser *p, int at)
{
	int count = 0, *chain, node;

	for (node = at; p->nodes[node].type == NODE_CAT; node = p->nodes[node].left)
		count++;
	chain = malloc((size_t)count * sizeof(*chain));
	if (chain == NULL) {
		err_nomem(p->err);
		p->failed = true;
		return;
	}
	for (node = at; p->nodes[node].type == NODE_CAT; node = p->nodes[node].left)
		chain[--count] = p->nodes[node].right;
	emit(re, p, node);
	for (node = at; p->nodes[node].type == NODE_CAT; node = p->nodes[node].left)
		emit(re, p, chain[count++]);
	free(chain);
}

static void
emit_alt(struct re *re, struct parser *p, int at)
{
	int split;

	/* A chain of alternatives is as long as the expression: right ones first. */
	for (; p->nodes[at].type == NODE_ALT && !p->failed; at = p->nodes[at].left) {
		split = add_step(re, p, OP_SPLIT, re->step_count + 1, 0);
		emit(re, p, p->nodes[at].right);
		add_step(re, p, OP_JUMP, -1, 0); /* its end is yet to be known */
		if (p->failed)
			return;
		re->steps[split].y = re->step_count;
	}
	emit(re, p, at);
}

static void
emit(struct re *re, struct parser *p, int at)
{
	const struct node *node = &p->nodes[at];
	int first = re->step_count;

	if (++p->emitted > 16 * RE_STEPS_MAX)
		fail(p, "expression too large");
	if (p->failed)
		return;
	switch (node->type) {
	case NODE_EMPTY:
		break;
	case NODE_SET:
		add_step(re, p, OP_SET, node->left, node->right);
		break;
	case NODE_ASSERT:
		add_step(re, p, OP_ASSERT, node->from, 0);
		break;
	case NODE_CAT:
		emit_cat(re, p, at);
		break;
	case NODE_REPEAT:
		emit_repeat(re, p, node);
		break;
	case NODE_ALT:
		emit_alt(re, p, at);
		for (int i = first; i < re->step_count; i++) {
			if (re->steps[i].op == OP_JUMP && re->steps[i].x < 0)
				re->steps[i] = (struct step){ OP_JUMP, re->step_count, 0 };
		}
		break;
	}
}

static int
compile(struct re *re, struct parser *p)
{
	int root = parse_alternatives(p);

	if (!p->failed && p->at < p->text.len)
		fail(p, "unexpected )");
	re->steps = malloc(RE_STEPS_MAX * sizeof(*re->steps));
	if (re->steps == NULL && !p->failed) {
		err_nomem(p->err);
		p->failed = true;
	}
	if (p->failed)
		return -1;
	emit(re, p, root);
	add_step(re, p, OP_MATCH, 0, 0);
	return p->failed ? -1 : 0;
}

static int
make_scratch(struct re *re, struct err *err)
{
	size_t n = (size_t)re->step_count;

	re->now.list = malloc(n * sizeof(int));
	re->next.list = malloc(n * sizeof(int));
	re->stack = malloc((n + 1) * sizeof(int));
	re->seen = calloc(n, sizeof(*re->seen));
	if (re->now.list != NULL && re->next.list != NULL && re->stack != NULL && re->seen != NULL)
		return 0;
	err_nomem(err);
	return -1;
}

struct re *
re_new(struct str expression, struct err *err)
{
	struct parser p = { .text = expression, .err = err };
	struct re *re = calloc(1, sizeof(*re));
	struct step *fitting;
	int rc = -1;

	if (re == NULL) {
		err_nomem(err);
		return NULL;
	}
	if (expression.len > RE_BYTES_MAX)
		err_set(err, ERR_CONFIG, "regular expression longer than %d bytes", RE_BYTES_MAX);
	else
		rc = compile(re, &p);
	free(p.nodes);
	re->ranges = p.ranges;
	if (rc != 0 || make_scratch(re, err) != 0) {
		re_free(re);
		return NULL;
	}
	fitting = realloc(re->steps, (size_t)re->step_count * sizeof(*re->steps));
	re->steps = fitting != NULL ? fitting : re->steps;
	return re;
}

struct re *
re_new_whole(struct str expression, struct err *err)
{
	struct re *re = re_new(expression, err); /* on its own, as "a)(b" would fit the brackets */
	struct buf whole;

	if (re == NULL)
		return NULL;
	re_free(re);
	buf_init(&whole, 0);
	buf_puts(&whole, "\\A(?:");
	buf_str(&whole, expression);
	buf_puts(&whole, ")\\z");
	if (whole.failed) {
		err_nomem(err);
		re = NULL;
	} else {
		re = re_new(buf_view(&whole), err);
	}
	buf_fini(&whole);
	return re;
}

void
re_free(struct re *re)
{
	if (re == NULL)
		return;
	free(re->ranges);
	free(re->steps);
	free(re->now.list);
	free(re->next.list);
	free(re->stack);
	free(re->seen);
	free(re);
}

/* Matching. */

#define NO_RUNE UINT32_MAX /* before the text's begin, after its end */

static bool
is_word(uint32_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_';
}

static bool
is_at(enum place place, uint32_t before, uint32_t after)
{
	switch (place) {
	case PLACE_TEXT_BEGIN:
		return before == NO_RUNE;
	case PLACE_TEXT_END:
		return after == NO_RUNE;
	case PLACE_LINE_BEGIN:
		return before == NO_RUNE || before == '\n';
	case PLACE_LINE_END:
		return after == NO_RUNE || after == '\n';
	case PLACE_WORD:
		return is_word(before) != is_word(after);
	case PLACE_NOT_WORD:
		return is_word(before) == is_word(after);
	}
	return false;
}

static void
push(struct re *re, int *depth, int step)
{
	if (re->seen[step] == re->generation)
		return;
	re->seen[step] = re->generation;
	re->stack[(*depth)++] = step;
}

/* The state, and all that are reached from it without a character. True: a match. */
static bool
enter(struct re *re, struct states *states, int step, uint32_t before, uint32_t after)
{
	int depth = 0;

	push(re, &depth, step);
	while (depth > 0) {
		int at = re->stack[--depth];
		const struct step *s = &re->steps[at];

		switch (s->op) {
		case OP_MATCH:
			return true;
		case OP_SET:
			states->list[states->len++] = at;
			break;
		case OP_ASSERT:
			if (is_at((enum place)s->x, before, after))
				push(re, &depth, at + 1);
			break;
		case OP_JUMP:
			push(re, &depth, s->x);
			break;
		case OP_SPLIT:
			push(re, &depth, s->y);
			push(re, &depth, s->x);
			break;
		}
	}
	return false;
}

static bool
in_set(const struct re *re, const struct step *step, uint32_t rune)
{
	for (int i = step->x; i < step->y; i++) {
		if (re->ranges[i].low <= rune && rune <= re->ranges[i].high)
			return true;
	}
	return false;
}

bool
re_match(struct re *re, struct str text)
{
	uint32_t before = NO_RUNE, rune;
	size_t at = 0;

	rune = text.len > 0 ? next_rune(text, &at) : NO_RUNE;
	re->generation++;
	re->now.len = 0;
	for (;;) {
		uint32_t after;
		struct states states;

		/* A match may begin anywhere. */
		if (enter(re, &re->now, 0, before, rune))
			return true;
		if (rune == NO_RUNE)
			return false;
		after = at < text.len ? next_rune(text, &at) : NO_RUNE;
		re->generation++;
		re->next.len = 0;
		for (int i = 0; i < re->now.len; i++) {
			int step = re->now.list[i];

			if (in_set(re, &re->steps[step], rune) &&
			    enter(re, &re->next, step + 1, rune, after))
				return true;
		}
		states = re->now;
		re->now = re->next;
		re->next = states;
		before = rune;
		rune = after;
	}
}
