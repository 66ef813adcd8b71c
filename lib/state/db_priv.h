/*
 * state/db_priv.h - an SQLite database as the rest of the module uses it: WAL, one connection, used
 * by one thread at a time.
 *
 * Errors: ERR_PROTO the file is damaged or no database, ERR_TIMEOUT it is in use by another for too
 * long, ERR_IO, ERR_NOMEM.
 */
#ifndef SCOTTY_STATE_DB_PRIV_H
#define SCOTTY_STATE_DB_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct db;
struct db_query;

/* Opens or makes the file, mode 0600. Looks at all of it: ERR_PROTO if something is wrong. */
struct db *db_open(const char *path, struct err *);
/* For reading only, nothing of it is changed; not checked. */
struct db *db_open_read_only(const char *path, struct err *);
void db_close(struct db *); /* its queries are freed; NULL is fine */

/* Runs statements that have no result. */
int db_exec(struct db *, const char *sql, struct err *);
int db_user_version(struct db *, int *out, struct err *);
/* Begins to write. durable: on the disk when db_commit returns, else at the next checkpoint. */
int db_begin(struct db *, bool durable, struct err *);
int db_commit(struct db *, struct err *); /* as nothing had been done if it fails */
void db_rollback(struct db *);

/* Kept by the caller and used again and again. */
struct db_query *db_prepare(struct db *, const char *sql, struct err *);
void db_query_free(struct db_query *); /* NULL is fine */
/* Parameters count from 1. Text stays lent until the query was run; a failure shows there. */
void db_bind_text(struct db_query *, int i, struct str);
void db_bind_i64(struct db_query *, int i, int64_t);
/* 1: a row is there; 0: the end; -1. */
int db_next(struct db_query *, struct err *);
/* Of the row; columns count from 0. Text is valid until the next db_next. */
struct str db_text(struct db_query *, int i);
int64_t db_i64(struct db_query *, int i);
/* The rowid of the last row inserted. */
int64_t db_last_id(const struct db *);
/* To be run anew; whoever does not go on to the end calls it. */
void db_reset(struct db_query *);
/* Runs a query that has no rows, or whose rows are of no interest. */
int db_run(struct db_query *, struct err *);

/* Every page, row and index: what is wrong with them is appended to out, a line each. */
int db_check_all(struct db *, struct buf *out, struct err *);
/* Appends the file as it would be after a clean stop, of this moment. */
int db_copy(struct db *, struct buf *out, struct err *);

#endif
