#include "scotty/table.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "scotty/out.h"

/* Cells beyond it do not make their column wider. */
#define WIDTH_MOST 60

struct table {
	struct buf *out;
	const struct column *columns;
	size_t count;
	int64_t now_ns;
	struct buf cell; /* the one being made */
	size_t *widths;
};

/* "12s", "3m07s", "5h03m", "2d11h" */
static void
put_age(struct buf *out, int64_t seconds)
{
	static const struct {
		int64_t unit, next;
		const char *name, *next_name;
	} units[] = {
		{ 86400, 3600, "d", "h" },
		{ 3600, 60, "h", "m" },
		{ 60, 1, "m", "s" },
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (seconds < units[i].unit)
			continue;
		buf_printf(out, "%lld%s%02lld%s", (long long)(seconds / units[i].unit),
		    units[i].name, (long long)(seconds % units[i].unit / units[i].next),
		    units[i].next_name);
		return;
	}
	buf_printf(out, "%llds", (long long)seconds);
}

static void
put_string(struct buf *out, struct json_object *value)
{
	if (json_object_is_type(value, json_type_string))
		out_text(out, (struct str){ json_object_get_string(value),
		                  (size_t)json_object_get_string_len(value) });
	else
		out_text(
		    out, str_of(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN)));
}

/* A distribution has no single text: its count and mean tell most. */
static void
put_value(struct buf *out, struct json_object *value)
{
	struct json_object *count = NULL, *sum = NULL;

	if (!json_object_is_type(value, json_type_object) ||
	    !json_object_object_get_ex(value, "count", &count) ||
	    !json_object_object_get_ex(value, "sum", &sum)) {
		put_string(out, value);
		return;
	}
	buf_puts(out, "count=");
	put_string(out, count);
	buf_puts(out, " sum=");
	put_string(out, sum);
}

/* Makes the cell's text. */
static void
make_cell(struct table *table, struct json_object *row, const struct column *column)
{
	struct json_object *value = NULL;
	struct buf *cell = &table->cell;
	double seconds;

	buf_clear(cell);
	if (!json_object_object_get_ex(row, column->key, &value) || value == NULL)
		return;
	switch (column->cell) {
	case CELL_TEXT:
		put_string(cell, value);
		break;
	case CELL_AGE:
		/* A string of digits with nine after the point, or a number. */
		seconds = json_object_get_double(value);
		if (seconds <= 0)
			buf_puts(cell, "never");
		else
			put_age(cell, table->now_ns / NS_PER_S > (int64_t)seconds
			                  ? table->now_ns / NS_PER_S - (int64_t)seconds
			                  : 0);
		break;
	case CELL_SECONDS:
		buf_printf(cell, "%.3fs", json_object_get_double(value));
		break;
	case CELL_VALUE:
		put_value(cell, value);
		break;
	}
}

/* Characters, which is close enough to columns of a terminal. */
static size_t
width_of(struct str text)
{
	size_t width = 0;

	for (size_t i = 0; i < text.len; i++)
		width += ((unsigned char)text.p[i] & 0xC0) != 0x80;
	return width;
}

static void
widen(struct table *table, size_t i, struct str text)
{
	size_t width = width_of(text);

	if (width > table->widths[i])
		table->widths[i] = width < WIDTH_MOST ? width : WIDTH_MOST;
}

static void
put_cell(struct table *table, size_t i, struct str text)
{
	size_t width = width_of(text);

	buf_str(table->out, text);
	if (i + 1 == table->count) {
		buf_putc(table->out, '\n');
		return;
	}
	for (; width < table->widths[i] + 2; width++)
		buf_putc(table->out, ' ');
	if (width_of(text) > table->widths[i] + 1)
		buf_puts(table->out, "  ");
}

static void
put_row(struct table *table, struct json_object *row)
{
	for (size_t i = 0; i < table->count; i++) {
		make_cell(table, row, &table->columns[i]);
		put_cell(table, i, buf_view(&table->cell));
	}
}

static void
put_rows(struct table *table, struct json_object *rows)
{
	size_t len = json_object_array_length(rows);

	for (size_t row = 0; row < len; row++) {
		for (size_t i = 0; i < table->count; i++) {
			make_cell(table, json_object_array_get_idx(rows, row), &table->columns[i]);
			widen(table, i, buf_view(&table->cell));
		}
	}
	for (size_t i = 0; i < table->count && len > 0; i++) {
		widen(table, i, str_of(table->columns[i].title));
		put_cell(table, i, str_of(table->columns[i].title));
	}
	for (size_t row = 0; row < len; row++)
		put_row(table, json_object_array_get_idx(rows, row));
}

int
table_format(struct buf *out, const char *text, const struct column *columns, size_t count,
    int64_t now_ns, struct err *err)
{
	struct table table = { .out = out, .columns = columns, .count = count, .now_ns = now_ns };
	struct json_object *rows = json_tokener_parse(text);
	int rc = -1;

	buf_init(&table.cell, 0);
	table.widths = calloc(count, sizeof(*table.widths));
	if (!json_object_is_type(rows, json_type_array)) {
		err_set(err, ERR_PROTO, "the answer is no array; is that a scottyd?");
		goto out;
	}
	if (table.widths != NULL)
		put_rows(&table, rows);
	if (table.widths == NULL || table.cell.failed || out->failed)
		err_nomem(err);
	else
		rc = 0;
out:
	free(table.widths);
	buf_fini(&table.cell);
	json_object_put(rows);
	return rc;
}

static int
print(struct str text, struct err *err)
{
	if (text.len == 0 || fwrite(text.p, 1, text.len, stdout) == text.len)
		return 0;
	err_errno(err, errno, "write the answer");
	return -1;
}

/* JSON on its way to standard output: what is left of a character that was cut, and what came. */
struct printer {
	struct buf in, out;
};

static int
print_json(struct printer *printer, bool is_last, struct err *err)
{
	buf_drop(&printer->in, out_json(&printer->out, buf_view(&printer->in), is_last));
	if (printer->in.failed || printer->out.failed) {
		err_nomem(err);
		return -1;
	}
	if (print(buf_view(&printer->out), err) != 0)
		return -1;
	buf_clear(&printer->out);
	return 0;
}

static int
take_json(void *ctx, struct str bytes, struct err *err)
{
	struct printer *printer = ctx;

	buf_str(&printer->in, bytes);
	return print_json(printer, false, err);
}

static int
show_json(struct client *client, const char *path, struct err *err)
{
	struct printer printer;
	struct client_sink sink = { take_json, &printer };
	int rc;

	buf_init(&printer.in, 0);
	buf_init(&printer.out, 0);
	rc = client_get(client, path, &sink, err);
	if (rc == 0)
		rc = print_json(&printer, true, err);
	buf_fini(&printer.in);
	buf_fini(&printer.out);
	return rc;
}

int
table_show(struct client *client, const char *path, const struct column *columns, size_t count,
    struct err *err)
{
	struct buf answer, text;
	int rc;

	if (client_options(client)->json)
		return show_json(client, path, err);
	buf_init(&answer, 0);
	buf_init(&text, 0);
	rc = client_get_all(client, path, &answer, err);
	if (rc == 0)
		rc = table_format(&text, answer.p, columns, count, clock_real_ns(), err);
	if (rc == 0)
		rc = print(buf_view(&text), err);
	buf_fini(&text);
	buf_fini(&answer);
	return rc;
}
