/*
 * The expression becomes a small program, and all its threads run through the text together (Ken
 * Thompson, "Regular expression search algorithm", 1968): nothing is ever tried a second time.
 */
#include "base/pattern.h"

#include <stdint.h>
#include <stdlib.h>

#define EXPRESSION_BYTES_MAX 4096
#define PROGRAM_MAX          1000
#define DEPTH_MAX            32
#define REPEAT_MAX           1000
#define ATOMS_MAX            20000 /* repeated ones each time; what is empty makes no code */

enum op {
	OP_SET,   /* takes a byte of the set */
	OP_SPLIT, /* goes to both places */
	OP_JUMP,
	OP_START, /* nothing was taken yet */
	OP_END,   /* nothing is left */
	OP_MATCH,
};

/* Places are relative, so that code can be moved. */
struct inst {
	enum op op;
	int x, y;
	uint64_t set[4]; /* bytes */
};

struct pattern {
	struct inst code[PROGRAM_MAX];
	int len;
	int now[PROGRAM_MAX], next[PROGRAM_MAX]; /* threads */
	int stack[2 * PROGRAM_MAX];
	unsigned seen[PROGRAM_MAX]; /* the round in which it was last added */
	unsigned round;
};

struct compiler {
	struct pattern *p;
	const char *at, *end;
	int depth, atoms;
	struct err *err;
};

static int
refuse(struct compiler *c, const char *why)
{
	err_set(c->err, ERR_CONFIG, "regular expression: %s", why);
	return -1;
}

/* Code. */

/* Room for one instruction at `at`; what stands there moves on. */
static struct inst *
insert(struct compiler *c, int at, enum op op)
{
	struct pattern *p = c->p;

	if (p->len >= PROGRAM_MAX - 1) {
		err_set(c->err, ERR_LIMIT, "regular expression: too large");
		return NULL;
	}
	memmove(&p->code[at + 1], &p->code[at], (size_t)(p->len - at) * sizeof(p->code[0]));
	p->len++;
	p->code[at] = (struct inst){ .op = op };
	return &p->code[at];
}

static struct inst *
emit(struct compiler *c, enum op op)
{
	return insert(c, c->p->len, op);
}

static int
insert_split(struct compiler *c, int at, int x, int y)
{
	struct inst *inst = insert(c, at, OP_SPLIT);

	if (inst == NULL)
		return -1;
	inst->x = x;
	inst->y = y;
	return 0;
}

static int
emit_jump(struct compiler *c, int x)
{
	struct inst *inst = emit(c, OP_JUMP);

	if (inst == NULL)
		return -1;
	inst->x = x;
	return 0;
}

/* What stands from start on, any number of times. */
static int
make_star(struct compiler *c, int start)
{
	int n = c->p->len - start;

	return insert_split(c, start, 1, n + 2) != 0 || emit_jump(c, -(n + 1)) != 0 ? -1 : 0;
}

static int
make_plus(struct compiler *c, int start)
{
	return insert_split(c, c->p->len, start - c->p->len, 1);
}

static int
make_optional(struct compiler *c, int start)
{
	return insert_split(c, start, 1, c->p->len - start + 1);
}

/* Sets. */

static void
set_add(uint64_t set[4], unsigned char byte)
{
	set[byte / 64] |= UINT64_C(1) << byte % 64;
}

static bool
set_has(const uint64_t set[4], unsigned char byte)
{
	return (set[byte / 64] >> byte % 64 & 1) != 0;
}

static void
set_add_range(uint64_t set[4], unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		set_add(set, (unsigned char)c);
}

/* \d, \w, \s; false if the letter is none of these. */
static bool
set_add_class(uint64_t set[4], char letter)
{
	switch (letter) {
	case 'w':
		set_add_range(set, 'a', 'z');
		set_add_range(set, 'A', 'Z');
		set_add(set, '_');
		set_add_range(set, '0', '9');
		return true;
	case 'd':
		set_add_range(set, '0', '9');
		return true;
	case 's':
		set_add_range(set, '\t', '\n');
		set_add_range(set, '\f', '\r');
		set_add(set, ' ');
		return true;
	default:
		return false;
	}
}

/* A set of characters; in the opposite of one are all beyond ASCII. */
static int
emit_set(struct compiler *c, const uint64_t set[4], bool opposite)
{
	int start = c->p->len;
	struct inst *inst = emit(c, OP_SET);

	if (inst == NULL)
		return -1;
	memcpy(inst->set, set, sizeof(inst->set));
	if (!opposite)
		return 0;
	for (int i = 0; i < 2; i++)
		inst->set[i] = ~set[i];
	/* The first byte of a longer character, and then the rest of it (RFC 3629). */
	inst->set[2] = 0;
	inst->set[3] = ~UINT64_C(0);
	start = c->p->len;
	inst = emit(c, OP_SET);
	if (inst == NULL)
		return -1;
	inst->set[2] = ~UINT64_C(0);
	return make_star(c, start);
}

/* The expression. */

static bool
take(struct compiler *c, char what)
{
	if (c->at == c->end || *c->at != what)
		return false;
	c->at++;
	return true;
}

static bool
is_word_byte(char c)
{
	uint64_t set[4] = { 0 };

	set_add_class(set, 'w');
	return set_has(set, (unsigned char)c);
}

/* Behind the backslash: a class goes to set (*is_class), else the byte is *out. */
static int
take_escape(struct compiler *c, uint64_t set[4], bool *is_class, char *out)
{
	static const char letters[] = "tnrfv", bytes[] = "\t\n\r\f\v";
	const char *found;

	if (c->at == c->end)
		return refuse(c, "ends in a backslash");
	*out = *c->at++;
	*is_class = set_add_class(set, *out);
	if (*is_class || !is_word_byte(*out))
		return 0;
	found = strchr(letters, *out);
	if (found == NULL)
		return refuse(c, "an escape that is not known");
	*out = bytes[found - letters];
	return 0;
}

static int
take_set_member(struct compiler *c, uint64_t set[4], bool *is_class, char *out)
{
	*is_class = false;
	if (c->at == c->end)
		return refuse(c, "'[' without ']'");
	*out = *c->at++;
	if (*out == '\\')
		return take_escape(c, set, is_class, out);
	if ((unsigned char)*out >= 0x80 || (*out == '[' && c->at < c->end && *c->at == ':'))
		return refuse(c, "brackets may hold single ASCII characters only");
	return 0;
}

/* Behind the bracket. */
static int
compile_brackets(struct compiler *c)
{
	bool opposite = take(c, '^'), first = true;
	uint64_t set[4] = { 0 };

	for (; first || !take(c, ']'); first = false) {
		bool is_class;
		char from, to;

		if (take_set_member(c, set, &is_class, &from) != 0)
			return -1;
		if (is_class)
			continue;
		to = from;
		if (c->end - c->at >= 2 && c->at[0] == '-' && c->at[1] != ']') {
			c->at++;
			if (take_set_member(c, set, &is_class, &to) != 0)
				return -1;
			if (is_class || to < from)
				return refuse(c, "a range that is none");
		}
		set_add_range(set, (unsigned char)from, (unsigned char)to);
	}
	return emit_set(c, set, opposite);
}

static int compile_choice(struct compiler *);

/* Behind the parenthesis. */
static int
compile_group(struct compiler *c)
{
	if (take(c, '?') && !take(c, ':'))
		return refuse(c, "\"(?\" is only known as \"(?:\"");
	if (++c->depth > DEPTH_MAX)
		return refuse(c, "nested too deeply");
	if (compile_choice(c) != 0)
		return -1;
	c->depth--;
	return take(c, ')') ? 0 : refuse(c, "'(' without ')'");
}

static int
compile_escape(struct compiler *c)
{
	uint64_t set[4] = { 0 };
	bool is_class, opposite = c->at < c->end && strchr("DWS", *c->at) != NULL;
	char byte;

	if (opposite) {
		set_add_class(set, (char)(*c->at++ | 0x20));
		return emit_set(c, set, true);
	}
	if (take_escape(c, set, &is_class, &byte) != 0)
		return -1;
	if (!is_class)
		set_add(set, (unsigned char)byte);
	return emit_set(c, set, false);
}

/* One of what can be repeated. A longer character is one too. */
static int
compile_atom(struct compiler *c)
{
	uint64_t set[4] = { 0 };
	char byte = *c->at++;

	if (++c->atoms > ATOMS_MAX) {
		err_set(c->err, ERR_LIMIT, "regular expression: too large");
		return -1;
	}
	switch (byte) {
	case '(':
		return compile_group(c);
	case '[':
		return compile_brackets(c);
	case '\\':
		return compile_escape(c);
	case '.':
		set_add(set, '\n');
		return emit_set(c, set, true);
	case '^':
		return emit(c, OP_START) == NULL ? -1 : 0;
	case '$':
		return emit(c, OP_END) == NULL ? -1 : 0;
	case '*':
	case '+':
	case '?':
		return refuse(c, "nothing to repeat");
	default:
		break;
	}
	set_add(set, (unsigned char)byte);
	if (emit_set(c, set, false) != 0)
		return -1;
	while (c->at < c->end && ((unsigned char)*c->at & 0xC0) == 0x80) {
		memset(set, 0, sizeof(set));
		set_add(set, (unsigned char)*c->at++);
		if (emit_set(c, set, false) != 0)
			return -1;
	}
	return 0;
}

/* The number of an interval; false: too large, or none. */
static bool
take_number(struct compiler *c, int *out)
{
	const char *start = c->at;

	for (*out = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9' && *out <= REPEAT_MAX;)
		*out = *out * 10 + (*c->at++ - '0');
	return c->at > start && *out <= REPEAT_MAX;
}

/*
 * "{n}", "{n,}", "{n,m}" behind the atom that starts at `atom` in the expression and at `start` in
 * the code: it is compiled as often as it is needed.
 */
static int
compile_interval(struct compiler *c, const char *atom, int start)
{
	bool endless = false;
	const char *behind;
	int least, most, last;

	if (!take_number(c, &least))
		return refuse(c, "a '{' that is not followed by a number up to 1000");
	most = least;
	if (take(c, ',')) {
		endless = c->at < c->end && *c->at == '}';
		if (!endless && !take_number(c, &most))
			return refuse(c, "an interval without end");
	}
	if (!take(c, '}') || most < least)
		return refuse(c, "an interval that is none");
	behind = c->at;
	c->p->len = last = start;
	for (int i = 0; i < most || (endless && i == 0); i++) {
		c->at = atom;
		last = c->p->len;
		if (compile_atom(c) != 0)
			return -1;
		if (i >= least && !endless && make_optional(c, last) != 0)
			return -1;
	}
	c->at = behind;
	if (!endless)
		return 0;
	return least == 0 ? make_star(c, last) : make_plus(c, last);
}

static int
compile_repeated(struct compiler *c)
{
	const char *atom = c->at;
	int start = c->p->len, rc;

	if (compile_atom(c) != 0)
		return -1;
	if (take(c, '*'))
		rc = make_star(c, start);
	else if (take(c, '+'))
		rc = make_plus(c, start);
	else if (take(c, '?'))
		rc = make_optional(c, start);
	else if (take(c, '{'))
		rc = compile_interval(c, atom, start);
	else
		return 0;
	(void)take(c, '?'); /* as few as possible: the same for a whole text */
	return rc;
}

static int
compile_choice(struct compiler *c)
{
	int start = c->p->len, jump;

	while (c->at < c->end && *c->at != '|' && *c->at != ')') {
		if (compile_repeated(c) != 0)
			return -1;
	}
	if (!take(c, '|'))
		return 0;
	if (insert_split(c, start, 1, c->p->len - start + 2) != 0)
		return -1;
	jump = c->p->len;
	if (emit_jump(c, 0) != 0)
		return -1;
	/* As deep as there are instructions, at most. */
	if (compile_choice(c) != 0)
		return -1;
	c->p->code[jump].x = c->p->len - jump;
	return 0;
}

struct pattern *
pattern_new(struct str expression, struct err *err)
{
	struct compiler c = {
		.at = expression.p, .end = expression.p + expression.len, .err = err
	};

	if (expression.len > EXPRESSION_BYTES_MAX) {
		err_set(err, ERR_LIMIT, "regular expression: longer than %d bytes",
		    EXPRESSION_BYTES_MAX);
		return NULL;
	}
	c.p = calloc(1, sizeof(*c.p));
	if (c.p == NULL) {
		err_nomem(err);
		return NULL;
	}
	if (compile_choice(&c) != 0)
		goto failed;
	if (c.at != c.end) {
		refuse(&c, "')' without '('");
		goto failed;
	}
	if (emit(&c, OP_MATCH) == NULL)
		goto failed;
	return c.p;
failed:
	pattern_free(c.p);
	return NULL;
}

void
pattern_free(struct pattern *p)
{
	free(p);
}

/* Adds the threads that start at pc without taking a byte. True if one of them has matched. */
static bool
add_threads(struct pattern *p, int *threads, int *count, int pc, bool first, bool last)
{
	int depth = 0;
	bool matched = false;

	p->stack[depth++] = pc;
	while (depth > 0) {
		const struct inst *inst;

		pc = p->stack[--depth];
		if (p->seen[pc] == p->round)
			continue;
		p->seen[pc] = p->round;
		inst = &p->code[pc];
		switch (inst->op) {
		case OP_SPLIT:
			p->stack[depth++] = pc + inst->y;
			p->stack[depth++] = pc + inst->x;
			break;
		case OP_JUMP:
			p->stack[depth++] = pc + inst->x;
			break;
		case OP_START:
			if (first)
				p->stack[depth++] = pc + 1;
			break;
		case OP_END:
			if (last)
				p->stack[depth++] = pc + 1;
			break;
		case OP_SET:
			threads[(*count)++] = pc;
			break;
		case OP_MATCH:
			matched = true;
			break;
		}
	}
	return matched;
}

static void
next_round(struct pattern *p)
{
	if (++p->round == 0) {
		memset(p->seen, 0, sizeof(p->seen));
		p->round = 1;
	}
}

bool
pattern_matches(struct pattern *p, struct str text)
{
	int *now = p->now, *next = p->next, *swap, count = 0;
	bool matched;

	next_round(p);
	matched = add_threads(p, now, &count, 0, true, text.len == 0);
	for (size_t i = 0; i < text.len; i++) {
		int next_count = 0;

		next_round(p);
		matched = false; /* that was before the end */
		for (int k = 0; k < count; k++) {
			if (set_has(p->code[now[k]].set, (unsigned char)text.p[i]))
				matched |= add_threads(
				    p, next, &next_count, now[k] + 1, false, i + 1 == text.len);
		}
		swap = now;
		now = next;
		next = swap;
		count = next_count;
		if (count == 0 && i + 1 < text.len)
			return false;
	}
	return matched;
}
