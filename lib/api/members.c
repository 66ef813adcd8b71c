#include "api/members_priv.h"

#include <stdlib.h>

struct member_array {
	struct json_array array;
	struct member **members; /* with references */
	size_t len, next;
	void (*put)(struct json *, const struct member_view *);
};

static enum stream_result
member_element(struct json_array *array)
{
	struct member_array *a = CONTAINER_OF(array, struct member_array, array);
	struct member_view view;

	if (a->next == a->len)
		return STREAM_END;
	member_view(a->members[a->next++], &view);
	a->put(&array->json, &view);
	return STREAM_MORE;
}

static void
member_array_free(struct json_array *array)
{
	struct member_array *a = CONTAINER_OF(array, struct member_array, array);

	fleet_snapshot_free(a->members, a->len);
	free(a);
}

void
members_answer(struct request *req, struct response *resp,
    void (*put)(struct json *, const struct member_view *))
{
	struct member_array *a = malloc(sizeof(*a));
	struct err err;

	if (a == NULL) {
		response_status(req, resp, 503);
		return;
	}
	if (fleet_snapshot(req->service->env.fleet, &a->members, &a->len, &err) != 0) {
		response_err(req, resp, &err);
		free(a);
		return;
	}
	json_array_init(&a->array, request_wants_text(req), member_element, member_array_free);
	a->next = 0;
	a->put = put;
	resp->stream = &a->array.stream;
}
