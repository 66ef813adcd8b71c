/*
 * base/re.h - regular expressions in the syntax of RE2 (Go's regexp), in time linear in the text.
 *
 * The expression is made a small automaton that is followed in all its states at once, so no text
 * and no expression makes it slow: steps are at most length of the text times size of the
 * automaton. Only whether there is a match is told, so lazy and greedy repetitions are the same.
 *
 * Understood: literals, . [class] [^class] [[:alpha:]] \d \D \w \W \s \S \b \B \A \z ^ $ ( ) | * +
 * ? {n} {n,} {n,m} and their lazy forms, (?:...) (?P<name>...) (?i) (?s) (?m) (?U), \n \t and
 * their like, \x41 \x{1F4A9} \101, \Q...\E. Not understood, and refused by name: Unicode classes
 * (\pL), back-references and look-around (neither of which RE2 has). Case is folded for ASCII only.
 *
 * Threads: a re belongs to one thread at a time, as it holds its scratch memory.
 */
#ifndef SCOTTY_BASE_RE_H
#define SCOTTY_BASE_RE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

#define RE_BYTES_MAX 4096 /* longest expression */
#define RE_STEPS_MAX 8192 /* largest automaton */

struct re;

/* NULL with ERR_CONFIG (what is wrong with the expression, and where), ERR_NOMEM. */
struct re *re_new(struct str expression, struct err *);
/* The same, to match whole texts only. */
struct re *re_new_whole(struct str expression, struct err *);
void re_free(struct re *); /* NULL is fine */
/* True if the whole text, or else some part of it, matches. Bytes that are no UTF-8 count as
 * U+FFFD. */
bool re_match(struct re *, struct str text);

#endif
