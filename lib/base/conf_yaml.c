#include <stdio.h>
#include <yaml.h>

#include "base/conf_priv.h"

static struct conf_place
place_of_mark(yaml_mark_t mark)
{
	return (struct conf_place){ (int)mark.line + 1, (int)mark.column + 1 };
}

/* The byte that a mark, whose index counts characters, is at; text.len for the end. */
static size_t
offset_of(struct str text, yaml_mark_t mark)
{
	size_t index = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (((unsigned char)text.p[i] & 0xC0) != 0x80 && index++ == mark.index)
			return i;
	}
	return text.len;
}

/* Says what libyaml found wrong at offset. None of its texts quotes the input. */
static int
complain(struct conf_build *b, const yaml_parser_t *parser, struct str text, size_t offset)
{
	/* Not the mark's: at the end that is on a line of its own. */
	struct conf_place at = conf_place_of(text, offset);
	struct conf_place begin = place_of_mark(parser->context_mark);
	const char *problem = parser->problem == NULL ? "not YAML" : parser->problem;
	char c = offset < text.len ? text.p[offset] : '\0';

	if (c == '\t')
		return conf_build_fail(b, ERR_CONFIG, at, "a tab can't indent; use spaces");
	if (c == '@' || c == '`' || c == '%')
		return conf_build_fail(
		    b, ERR_CONFIG, at, "a text can't begin with '%c'; put it in quotes", c);
	if (parser->context == NULL || begin.line == at.line)
		return conf_build_fail(b, ERR_CONFIG, at, "%s", problem);
	return conf_build_fail(
	    b, ERR_CONFIG, at, "%s %s begun at line %d", problem, parser->context, begin.line);
}

/* The parser's error becomes the builder's. */
static int
parser_failed(struct conf_build *b, const yaml_parser_t *parser, struct str text)
{
	if (parser->error == YAML_MEMORY_ERROR)
		return conf_build_nomem(b);
	if (parser->error == YAML_READER_ERROR) /* has an offset, in bytes, and no mark */
		return complain(b, parser, text, parser->problem_offset);
	return complain(b, parser, text, offset_of(text, parser->problem_mark));
}

/* Names are not shown: a secret that begins with '*', '&' or '!' would be seen. */
static int
refuse_extras(struct conf_build *b, const yaml_event_t *event, const yaml_char_t *anchor,
    const yaml_char_t *tag)
{
	const char *what = anchor != NULL ? "an anchor ('&')" : "a tag ('!')";

	if (anchor == NULL && tag == NULL)
		return 0;
	return conf_build_fail(b, ERR_CONFIG, place_of_mark(event->start_mark),
	    "%s is not taken; put the text in quotes if it is one", what);
}

static int
take_scalar(struct conf_build *b, const yaml_event_t *event)
{
	struct str text = { (const char *)event->data.scalar.value, event->data.scalar.length };

	if (refuse_extras(b, event, event->data.scalar.anchor, event->data.scalar.tag) != 0)
		return -1;
	return conf_build_scalar(b, text, event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE,
	    place_of_mark(event->start_mark));
}

static int
take_event(struct conf_build *b, const yaml_event_t *event)
{
	struct conf_place at = place_of_mark(event->start_mark);

	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->root != NULL)
			return conf_build_fail(b, ERR_CONFIG, at, "more than one document");
		return 0;
	case YAML_ALIAS_EVENT:
		return conf_build_fail(b, ERR_CONFIG, at,
		    "an alias ('*') is not taken; put the text in quotes if it is one");
	case YAML_SCALAR_EVENT:
		return take_scalar(b, event);
	case YAML_SEQUENCE_START_EVENT:
		if (refuse_extras(b, event, event->data.sequence_start.anchor,
		        event->data.sequence_start.tag) != 0)
			return -1;
		return conf_build_open(b, CONF_LIST, at);
	case YAML_MAPPING_START_EVENT:
		if (refuse_extras(b, event, event->data.mapping_start.anchor,
		        event->data.mapping_start.tag) != 0)
			return -1;
		return conf_build_open(b, CONF_MAP, at);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		conf_build_close(b);
		return 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return 0;
	}
	return 0;
}

/*
 * Directives are refused before libyaml sees them: it compares each %TAG with all before it, which
 * takes hours for 16 MiB of them.
 */
static int
refuse_directives(struct conf_build *b, struct str text)
{
	struct conf_place at = { 1, 1 };

	for (size_t i = 0; i < text.len; i++) {
		if (at.column == 1 && text.p[i] == '%')
			return conf_build_fail(b, ERR_CONFIG, at,
			    "a line can't begin with '%%': directives are not taken");
		conf_place_pass(&at, text.p + i, text.p + text.len);
	}
	return 0;
}

int
conf_yaml_read(struct conf_build *b, struct str text)
{
	yaml_parser_t parser;
	yaml_event_type_t type;
	int rc;

	if (refuse_directives(b, text) != 0)
		return -1;
	if (yaml_parser_initialize(&parser) == 0)
		return conf_build_nomem(b);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.len);
	do {
		yaml_event_t event;

		if (yaml_parser_parse(&parser, &event) == 0) {
			rc = parser_failed(b, &parser, text);
			break;
		}
		type = event.type;
		rc = take_event(b, &event);
		yaml_event_delete(&event);
	} while (rc == 0 && type != YAML_STREAM_END_EVENT);
	yaml_parser_delete(&parser);
	return rc;
}
