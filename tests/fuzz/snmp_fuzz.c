/*
 * What an agent may answer: the first byte says how it is read (version 1, 2c or 3; what was
 * asked), the rest are answers one after the other, each preceded by its length in two bytes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../sources/batch_same.h"
#include "sources/snmp_gather_priv.h"
#include "sources/snmp_usm_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS_MOST 64
#define BATCH_BYTES  (4 * 1024 * 1024)

static struct snmp_conf *confs[4];
static struct snmp_keyring *ring;

static void
prepare(void)
{
	static const char *const texts[] = {
		"{version: 1, walk: ifTable, get: [sysName.0, ifInOctets.3]}",
		"{walk: [ifTable, system, host], get: [sysName.0]}",
		"{walk: [ifInOctets, 1.3.6.1.4.1], maxRepetitions: 3}",
		"{version: 3, user: u, authPassword: authpass123, privPassword: privpass123}",
	};
	struct err err;

	ring = snmp_keyring_new(&err);
	assert(ring != NULL);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct conf_doc *doc = conf_parse(str_of(texts[i]), "fuzz", &err);

		assert(doc != NULL);
		confs[i] = snmp_conf_new(doc->root, false, &err);
		assert(confs[i] != NULL);
		conf_doc_unref(doc);
	}
}

/* As the source takes it in, but for the ids. */
static bool
take_answer(struct snmp_gather *g, struct snmp_engine *engine, uint8_t *bytes, size_t len)
{
	struct str whole = { (const char *)bytes, len }, rest;
	enum snmp_read read = SNMP_READ_END;
	struct snmp_varbind_room room;
	struct snmp_message message;
	struct snmp_varbind varbind;
	const char *why;
	struct err err;
	int64_t id;

	snmp_peek_id(whole, &id);
	if (g->conf->version == SNMP_V3) {
		enum snmp_usm_result result =
		    snmp_usm_decode(engine, bytes, len, 0, &message, &err);

		if (result != SNMP_USM_ANSWER)
			return result != SNMP_USM_FAILED;
	} else if (!snmp_decode(whole, &message)) {
		return true;
	}
	rest = message.varbinds;
	while (message.status == SNMP_ERR_NONE &&
	       (read = snmp_read_varbind(&rest, &varbind, &room, &why)) == SNMP_READ_ONE) {
		if (snmp_gather_take(g, &varbind, 0, &err) != 0)
			return false;
	}
	return read != SNMP_READ_BAD && snmp_gather_answered(g, message.status, message.index,
	                                    message.varbinds.len, 0, &err) == 0;
}

/* False if the poll failed. */
static bool
poll(struct snmp_gather *g, struct snmp_engine *engine, const uint8_t *data, size_t size,
    struct batch *batch)
{
	struct snmp_ask ask;
	struct err err;
	bool restarted;

	if (!snmp_gather_begin(g, &batch->arena, 0))
		return false;
	for (int i = 0; i < ANSWERS_MOST && snmp_gather_ask(g, 0, &ask) && size >= 2; i++) {
		size_t len = (size_t)data[0] << 8 | data[1];
		uint8_t *copy;
		bool goes_on;

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		copy = malloc(len + 1);
		if (copy == NULL)
			break;
		memcpy(copy, data, len);
		goes_on = take_answer(g, engine, copy, len);
		free(copy);
		data += len;
		size -= len;
		if (!goes_on)
			break;
	}
	if (snmp_gather_metrics(g, batch, 0, &restarted, &err) != 0)
		return false;
	batch_end(batch, 0);
	return true;
}

/* Polls twice: the second time with what the first taught, its guide, lookups and layout. */
static bool
poll_twice(struct snmp_layouts *layouts, const uint8_t *data, size_t size, struct batch *batch)
{
	struct snmp_engine engine;
	struct snmp_gather g;
	struct err err;
	bool good;

	snmp_gather_init(&g, confs[data[0] % ARRAY_LEN(confs)], layouts);
	memset(&engine, 0, sizeof(engine));
	if (g.conf->version == SNMP_V3 && snmp_engine_init(&engine, g.conf, ring, &err) != 0)
		abort();
	poll(&g, &engine, data + 1, size - 1, batch);
	batch_reset(batch);
	good = poll(&g, &engine, data + 1, size - 1, batch);
	snmp_engine_fini(&engine);
	snmp_gather_fini(&g);
	return good;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct batch with, without;
	struct snmp_layouts *layouts;
	struct err err;
	bool good;

	if (size == 0)
		return 0;
	if (ring == NULL)
		prepare();
	layouts = snmp_layouts_new(BATCH_BYTES, &err);
	assert(layouts != NULL);
	batch_init(&with, BATCH_BYTES);
	batch_init(&without, BATCH_BYTES);
	/* What is remembered saves time and changes nothing. */
	good = poll_twice(layouts, data, size, &with);
	if (poll_twice(NULL, data, size, &without) && good)
		assert(batch_difference(&with, &without) == NULL);
	snmp_layouts_free(layouts);
	batch_fini(&with);
	batch_fini(&without);
	return 0;
}
