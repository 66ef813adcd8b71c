#include "api/json_array_priv.h"

static enum stream_result
array_fill(struct stream *stream, struct buf *out)
{
	struct json_array *array = CONTAINER_OF(stream, struct json_array, stream);
	size_t end = out->len + STREAM_PIECE_BYTES;
	enum stream_result result = STREAM_MORE;

	array->json.out = out;
	if (!array->begun)
		json_begin_array(&array->json);
	array->begun = true;
	while (result == STREAM_MORE && out->len < end)
		result = array->next(array);
	if (result == STREAM_END) {
		json_end_array(&array->json);
		if (!array->json.indent)
			buf_putc(out, '\n');
	}
	return result;
}

static void
array_close(struct stream *stream)
{
	struct json_array *array = CONTAINER_OF(stream, struct json_array, stream);

	array->free(array);
}

void
json_array_init(struct json_array *array, bool indent,
    enum stream_result (*next)(struct json_array *), void (*free)(struct json_array *))
{
	*array = (struct json_array){
		.stream = { array_fill, array_close },
		.next = next,
		.free = free,
	};
	json_init(&array->json, NULL, indent);
}
