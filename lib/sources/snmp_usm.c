#include "sources/snmp_usm_priv.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/clock.h"

#define KEYS_REMEMBERED 64
#define PASSWORD_SPREAD (1024 * 1024) /* bytes that are hashed, RFC 3414 section A.2 */
#define WINDOW_S        150           /* RFC 3414 section 2.2.3 */
#define BOOTS_MOST      INT32_MAX
#define MESSAGE_MOST    65507 /* what UDP carries */
#define SECURITY_MODEL  3
#define SALT_BYTES      8

enum { FLAG_AUTH = 1, FLAG_PRIV = 2, FLAG_REPORTABLE = 4 };

/* The hash, and how much of its HMAC a message bears. */
static const struct {
	const EVP_MD *(*md)(void);
	size_t mac_len;
} auths[] = {
	[SNMP_MD5] = { EVP_md5, 12 },
	[SNMP_SHA] = { EVP_sha1, 12 },
	[SNMP_SHA224] = { EVP_sha224, 16 },
	[SNMP_SHA256] = { EVP_sha256, 24 },
	[SNMP_SHA384] = { EVP_sha384, 32 },
	[SNMP_SHA512] = { EVP_sha512, 48 },
};
#define MAC_MOST 48

/*
 * Single DES is Triple DES with three times the same key, which any libcrypto has. `localized` is
 * what the cipher wants of the key bound to the engine: DES takes the second half for its IV.
 */
static const struct {
	const EVP_CIPHER *(*cipher)(void);
	size_t localized;
	bool reeder;
} privs[] = {
	[SNMP_DES] = { EVP_des_ede3_cbc, 16, false },
	[SNMP_AES128] = { EVP_aes_128_cfb128, 16, false },
	[SNMP_AES192] = { EVP_aes_192_cfb128, 24, false },
	[SNMP_AES256] = { EVP_aes_256_cfb128, 32, false },
	[SNMP_AES192C] = { EVP_aes_192_cfb128, 24, true },
	[SNMP_AES256C] = { EVP_aes_256_cfb128, 32, true },
};

/* Keys. */

struct remembered {
	enum snmp_auth auth;
	char *password;
	struct snmp_key key;
};

struct snmp_keyring {
	struct remembered all[KEYS_REMEMBERED];
	size_t next; /* the oldest, or a free one */
};

struct snmp_keyring *
snmp_keyring_new(struct err *err)
{
	struct snmp_keyring *ring = calloc(1, sizeof(*ring));

	if (ring == NULL)
		err_nomem(err);
	return ring;
}

void
snmp_keyring_free(struct snmp_keyring *ring)
{
	if (ring == NULL)
		return;
	for (size_t i = 0; i < KEYS_REMEMBERED; i++)
		conf_secret_free(ring->all[i].password);
	explicit_bzero(ring, sizeof(*ring));
	free(ring);
}

/* RFC 3414 section A.2: hashes the bytes, repeated until a mebibyte is full. */
static bool
spread(enum snmp_auth auth, const uint8_t *bytes, size_t len, struct snmp_key *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t block[64];
	size_t at = 0;
	unsigned out_len = 0;
	bool done = ctx != NULL && EVP_DigestInit_ex(ctx, auths[auth].md(), NULL) == 1;

	for (size_t n = 0; n < PASSWORD_SPREAD && done; n += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++) {
			block[i] = bytes[at];
			at = at + 1 == len ? 0 : at + 1;
		}
		done = EVP_DigestUpdate(ctx, block, sizeof(block)) == 1;
	}
	done = done && EVP_DigestFinal_ex(ctx, out->bytes, &out_len) == 1;
	out->len = out_len;
	EVP_MD_CTX_free(ctx);
	OPENSSL_cleanse(block, sizeof(block));
	return done;
}

static bool
master_key(
    struct snmp_keyring *ring, enum snmp_auth auth, const char *password, struct snmp_key *out)
{
	struct remembered *slot;
	char *copy;

	for (size_t i = 0; i < KEYS_REMEMBERED; i++) {
		slot = &ring->all[i];
		if (slot->password != NULL && slot->auth == auth &&
		    strcmp(slot->password, password) == 0) {
			*out = slot->key;
			return true;
		}
	}
	copy = str_dup(str_of(password));
	if (copy == NULL || !spread(auth, (const uint8_t *)password, strlen(password), out)) {
		conf_secret_free(copy);
		return false;
	}
	slot = &ring->all[ring->next];
	ring->next = (ring->next + 1) % KEYS_REMEMBERED;
	conf_secret_free(slot->password);
	*slot = (struct remembered){ auth, copy, *out };
	return true;
}

/* Binds a master key to an engine: H(key, engine id, key), RFC 3414 section 2.6. */
static bool
localize(enum snmp_auth auth, const struct snmp_key *master, const struct snmp_engine *engine,
    struct snmp_key *out)
{
	uint8_t bytes[2 * SNMP_KEY_MOST + SNMP_ENGINE_ID_MOST];
	size_t len = 0;
	unsigned out_len = 0;
	int done;

	memcpy(bytes, master->bytes, master->len);
	len += master->len;
	memcpy(bytes + len, engine->id, engine->id_len);
	len += engine->id_len;
	memcpy(bytes + len, master->bytes, master->len);
	len += master->len;
	done = EVP_Digest(bytes, len, out->bytes, &out_len, auths[auth].md(), NULL);
	out->len = out_len;
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return done == 1;
}

/*
 * Makes a key that is too short for its cipher longer. Blumenthal: its hash is appended. Reeder
 * (which Cisco took up): it is taken for a password, and the key of that appended.
 */
static bool
extend(const struct snmp_engine *engine, size_t wanted, bool reeder, struct snmp_key *key)
{
	enum snmp_auth auth = engine->conf->auth;
	struct snmp_key last = *key;
	bool done = true;

	while (key->len < wanted && done) {
		struct snmp_key more, master;
		unsigned len = 0;

		if (reeder) {
			done = spread(auth, last.bytes, last.len, &master) &&
			       localize(auth, &master, engine, &more);
		} else {
			done = EVP_Digest(key->bytes, key->len, more.bytes, &len, auths[auth].md(),
			           NULL) == 1;
			more.len = len;
		}
		for (size_t i = 0; done && i < more.len && key->len < SNMP_KEY_MOST; i++)
			key->bytes[key->len++] = more.bytes[i];
		last = more;
		OPENSSL_cleanse(&more, sizeof(more));
		OPENSSL_cleanse(&master, sizeof(master));
	}
	OPENSSL_cleanse(&last, sizeof(last));
	return done;
}

static bool
bind_keys(struct snmp_engine *engine)
{
	const struct snmp_conf *conf = engine->conf;

	if (conf->level >= SNMP_AUTH &&
	    !localize(conf->auth, &engine->auth_master, engine, &engine->auth))
		return false;
	return conf->level < SNMP_AUTH_PRIV ||
	       (localize(conf->auth, &engine->priv_master, engine, &engine->priv) &&
	           extend(engine, privs[conf->priv].localized, privs[conf->priv].reeder,
	               &engine->priv));
}

int
snmp_engine_init(struct snmp_engine *engine, const struct snmp_conf *conf,
    struct snmp_keyring *ring, struct err *err)
{
	*engine = (struct snmp_engine){ .conf = conf };
	if ((conf->level >= SNMP_AUTH &&
	        !master_key(ring, conf->auth, conf->auth_password, &engine->auth_master)) ||
	    (conf->level == SNMP_AUTH_PRIV &&
	        !master_key(ring, conf->auth, conf->priv_password, &engine->priv_master)) ||
	    RAND_bytes((unsigned char *)&engine->salt, sizeof(engine->salt)) != 1) {
		err_set(err, ERR_CONFIG,
		    "out of memory, or this libcrypto does not offer that authProtocol");
		return -1;
	}
	return 0;
}

void
snmp_engine_forget(struct snmp_engine *engine)
{
	engine->id_len = 0;
	engine->trusted = false;
}

void
snmp_engine_fini(struct snmp_engine *engine)
{
	OPENSSL_cleanse(engine, sizeof(*engine));
}

/* Messages out. */

static void
put_big_endian(uint8_t *out, uint64_t value, size_t len)
{
	for (size_t i = len; i > 0; i--, value >>= 8)
		out[i - 1] = (uint8_t)value;
}

/* What the cipher begins with, from the salt that the message bears. */
static void
make_iv(const struct snmp_engine *engine, uint32_t boots, uint32_t time, const uint8_t *salt,
    uint8_t *iv)
{
	if (engine->conf->priv == SNMP_DES) {
		for (size_t i = 0; i < SALT_BYTES; i++)
			iv[i] = engine->priv.bytes[8 + i] ^ salt[i];
		return;
	}
	put_big_endian(iv, boots, 4);
	put_big_endian(iv + 4, time, 4);
	memcpy(iv + 8, salt, SALT_BYTES);
}

/* Encrypts or decrypts in place; with DES len is a multiple of 8. */
static bool
apply_cipher(
    const struct snmp_engine *engine, bool encrypt, const uint8_t *iv, uint8_t *bytes, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[32];
	int written = 0, rest = 0;
	bool done;

	memcpy(key, engine->priv.bytes, sizeof(key));
	if (engine->conf->priv == SNMP_DES) {
		memcpy(key + 8, engine->priv.bytes, 8);
		memcpy(key + 16, engine->priv.bytes, 8);
	}
	done = ctx != NULL &&
	       EVP_CipherInit_ex(ctx, privs[engine->conf->priv].cipher(), NULL, key, iv, encrypt) ==
	           1 &&
	       EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
	       EVP_CipherUpdate(ctx, bytes, &written, bytes, (int)len) == 1 &&
	       EVP_CipherFinal_ex(ctx, bytes + written, &rest) == 1;
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, sizeof(key));
	return done;
}

/* The scoped PDU, plain; for DES filled up to a multiple of 8. */
static void
put_scoped_pdu(struct ber_writer *w, const struct snmp_engine *engine,
    const struct snmp_request *request, bool pad)
{
	struct str id = { (const char *)engine->id, engine->id_len };
	const uint8_t *end;
	size_t over;

	/* The filling comes last, so how much there is must be known first. */
	struct ber_writer trial = *w;

	for (int round = 0; round < 2; round++) {
		end = trial.at;
		snmp_put_pdu(&trial, request);
		ber_put_octets(&trial, engine->id_len > 0 ? engine->conf->context : STR_EMPTY);
		ber_put_octets(&trial, id);
		ber_put_header(&trial, BER_SEQUENCE, end);
		over = (size_t)(end - trial.at) % 8;
		if (round == 1 || !pad || over == 0 || trial.failed)
			break;
		trial = *w;
		for (size_t i = over; i < 8; i++)
			ber_put_byte(&trial, 0);
	}
	*w = trial;
}

/* Returns where the authentication code goes (zeros for now), NULL if there is none. */
static uint8_t *
put_security(struct ber_writer *w, const struct snmp_engine *engine, unsigned flags, uint32_t boots,
    uint32_t time, struct str salt)
{
	static const char zeros[MAC_MOST];
	const uint8_t *end = w->at;
	size_t mac_len = flags & FLAG_AUTH ? auths[engine->conf->auth].mac_len : 0;
	struct str user = engine->id_len > 0 ? engine->conf->user : STR_EMPTY;
	uint8_t *mac;

	ber_put_octets(w, salt);
	ber_put_octets(w, (struct str){ zeros, mac_len });
	/* Past tag and length, which is below 128. */
	mac = mac_len > 0 && !w->failed ? w->at + 2 : NULL;
	ber_put_octets(w, user);
	ber_put_integer(w, (int32_t)time);
	ber_put_integer(w, (int32_t)boots);
	ber_put_octets(w, (struct str){ (const char *)engine->id, engine->id_len });
	ber_put_header(w, BER_SEQUENCE, end);
	ber_put_header(w, BER_OCTETS, end);
	return mac;
}

static void
put_global(struct ber_writer *w, int32_t id, unsigned flags)
{
	const uint8_t *end = w->at;
	char flag = (char)flags;

	ber_put_integer(w, SECURITY_MODEL);
	ber_put_octets(w, (struct str){ &flag, 1 });
	ber_put_integer(w, MESSAGE_MOST);
	ber_put_integer(w, id);
	ber_put_header(w, BER_SEQUENCE, end);
}

static uint32_t
time_now(const struct snmp_engine *engine, int64_t now_ns)
{
	int64_t time = engine->time + (now_ns - engine->time_ns) / NS_PER_S;

	return time > INT32_MAX ? INT32_MAX : (uint32_t)time;
}

static void
make_salt(struct snmp_engine *engine, uint32_t boots, uint8_t *salt)
{
	engine->salt++;
	put_big_endian(salt, engine->salt, SALT_BYTES);
	if (engine->conf->priv == SNMP_DES)
		put_big_endian(salt, boots, 4); /* RFC 3414 section 8.1.1.1 */
}

/* Puts the authentication code of the message at mac, where zeros are now. */
static bool
sign(const struct snmp_engine *engine, const uint8_t *message, size_t len, uint8_t *mac)
{
	uint8_t whole[EVP_MAX_MD_SIZE];
	unsigned whole_len = 0;

	if (HMAC(auths[engine->conf->auth].md(), engine->auth.bytes, (int)engine->auth.len, message,
	        len, whole, &whole_len) == NULL)
		return false;
	memcpy(mac, whole, auths[engine->conf->auth].mac_len);
	return true;
}

size_t
snmp_usm_encode(struct snmp_engine *engine, const struct snmp_request *request, int64_t now_ns,
    uint8_t *out, size_t size)
{
	uint8_t *end = out + size, *mac, salt[SALT_BYTES], iv[16];
	struct ber_writer w = { .begin = out, .at = end };
	struct snmp_request probe = { .pdu = SNMP_PDU_GET, .id = request->id };
	bool known = engine->id_len > 0;
	enum snmp_level level = known ? engine->conf->level : SNMP_NO_AUTH;
	bool hidden = level == SNMP_AUTH_PRIV;
	uint32_t boots = known ? engine->boots : 0;
	uint32_t time = known ? time_now(engine, now_ns) : 0;
	unsigned flags =
	    FLAG_REPORTABLE | (level >= SNMP_AUTH ? FLAG_AUTH : 0u) | (hidden ? FLAG_PRIV : 0u);

	put_scoped_pdu(
	    &w, engine, known ? request : &probe, hidden && engine->conf->priv == SNMP_DES);
	if (hidden && !w.failed) {
		make_salt(engine, boots, salt);
		make_iv(engine, boots, time, salt, iv);
		if (!apply_cipher(engine, true, iv, w.at, (size_t)(end - w.at)))
			return 0;
		ber_put_header(&w, BER_OCTETS, end);
	}
	mac = put_security(&w, engine, flags, boots, time,
	    hidden ? (struct str){ (const char *)salt, sizeof(salt) } : STR_EMPTY);
	put_global(&w, request->id, flags);
	ber_put_integer(&w, SNMP_V3);
	ber_put_header(&w, BER_SEQUENCE, end);
	if (w.failed || (mac != NULL && !sign(engine, w.at, (size_t)(end - w.at), mac)))
		return 0;
	return (size_t)(end - w.at);
}

/* Messages in. */

struct secured {
	unsigned flags;
	struct str engine_id, user, mac, salt;
	int64_t boots, time;
	struct ber_reader data; /* the scoped PDU, encrypted or not */
};

static bool
take_security(struct str bytes, struct secured *s)
{
	struct ber_reader r = ber_reader_of(bytes), all;

	return ber_take_as(&r, BER_SEQUENCE, &all) && ber_take_octets(&all, &s->engine_id) &&
	       ber_take_integer(&all, &s->boots) && ber_take_integer(&all, &s->time) &&
	       ber_take_octets(&all, &s->user) && ber_take_octets(&all, &s->mac) &&
	       ber_take_octets(&all, &s->salt) && s->boots >= 0 && s->boots <= INT32_MAX &&
	       s->time >= 0 && s->time <= INT32_MAX && s->engine_id.len <= SNMP_ENGINE_ID_MOST;
}

static bool
take_message(struct str bytes, struct secured *s)
{
	struct ber_reader r = ber_reader_of(bytes), whole, global;
	struct str flags, security;
	int64_t number;

	if (!ber_take_as(&r, BER_SEQUENCE, &whole) || !ber_take_integer(&whole, &number) ||
	    number != SNMP_V3 || !ber_take_as(&whole, BER_SEQUENCE, &global) ||
	    !ber_take_integer(&global, &number) || !ber_take_integer(&global, &number) ||
	    !ber_take_octets(&global, &flags) || flags.len != 1 ||
	    !ber_take_integer(&global, &number) || number != SECURITY_MODEL ||
	    !ber_take_octets(&whole, &security) || !take_security(security, s))
		return false;
	s->flags = (unsigned char)flags.p[0];
	s->data = whole;
	return true;
}

static bool
is_authentic(const struct snmp_engine *engine, uint8_t *bytes, const struct secured *s)
{
	size_t mac_len = auths[engine->conf->auth].mac_len;
	uint8_t theirs[MAC_MOST], ours[MAC_MOST];
	uint8_t *at = (uint8_t *)(uintptr_t)s->mac.p; /* in bytes */

	if (s->mac.len != mac_len || s->engine_id.len != engine->id_len ||
	    memcmp(s->engine_id.p, engine->id, engine->id_len) != 0 ||
	    !str_eq(s->user, engine->conf->user))
		return false;
	memcpy(theirs, at, mac_len);
	memset(at, 0, mac_len);
	return sign(engine, bytes, (size_t)(s->data.end - bytes), ours) &&
	       CRYPTO_memcmp(theirs, ours, mac_len) == 0;
}

static void
set_clock(struct snmp_engine *engine, const struct secured *s, int64_t now_ns)
{
	engine->boots = (uint32_t)s->boots;
	engine->time = (uint32_t)s->time;
	engine->time_ns = now_ns;
}

/* RFC 3414 section 3.2, 7 b: follows the engine's clock; false for what is too old. */
static bool
is_fresh(struct snmp_engine *engine, const struct secured *s, int64_t now_ns)
{
	uint32_t expected = time_now(engine, now_ns);

	if (!engine->trusted || s->boots > engine->boots ||
	    (s->boots == engine->boots && s->time > expected))
		set_clock(engine, s, now_ns);
	engine->trusted = true;
	return s->boots == engine->boots && s->boots != BOOTS_MOST &&
	       s->time + WINDOW_S >= time_now(engine, now_ns);
}

/* Takes the scoped PDU apart, decrypted if it has to be. */
static bool
take_scoped_pdu(struct snmp_engine *engine, struct secured *s, struct snmp_message *out)
{
	struct ber_reader scoped = s->data, content;
	struct str hidden, id, context;
	uint8_t iv[16];

	if (s->flags & FLAG_PRIV) {
		if (!ber_take_octets(&s->data, &hidden) || s->salt.len != SALT_BYTES ||
		    (engine->conf->priv == SNMP_DES && hidden.len % 8 != 0))
			return false;
		make_iv(
		    engine, (uint32_t)s->boots, (uint32_t)s->time, (const uint8_t *)s->salt.p, iv);
		if (!apply_cipher(engine, false, iv, (uint8_t *)(uintptr_t)hidden.p, hidden.len))
			return false;
		scoped = ber_reader_of(hidden);
	}
	return ber_take_as(&scoped, BER_SEQUENCE, &content) && ber_take_octets(&content, &id) &&
	       ber_take_octets(&content, &context) && snmp_take_pdu(&content, out);
}

/* Reports: RFC 3414 section 5, RFC 3412 section 5. */
enum report {
	REPORT_OTHER,
	REPORT_LEVEL,
	REPORT_WINDOW,
	REPORT_USER,
	REPORT_ENGINE,
	REPORT_DIGEST,
	REPORT_DECRYPTION,
	REPORT_CONTEXT
};

static enum report
report_of(struct str varbinds, struct snmp_varbind *varbind, struct snmp_varbind_room *room)
{
	static const uint32_t usm[] = { 1, 3, 6, 1, 6, 3, 15, 1, 1 };
	static const uint32_t target[] = { 1, 3, 6, 1, 6, 3, 12, 1 };
	const struct snmp_oid usm_stats = { usm, ARRAY_LEN(usm) };
	const struct snmp_oid contexts = { target, ARRAY_LEN(target) };
	const char *why;
	uint32_t number;

	varbind->name.len = 0;
	if (snmp_read_varbind(&varbinds, varbind, room, &why) != SNMP_READ_ONE)
		return REPORT_OTHER;
	if (snmp_oid_is_under(varbind->name, contexts))
		return REPORT_CONTEXT;
	if (!snmp_oid_is_under(varbind->name, usm_stats) || varbind->name.len == usm_stats.len)
		return REPORT_OTHER;
	number = varbind->name.ids[usm_stats.len];
	return number >= 1 && number <= 6 ? (enum report)(REPORT_LEVEL + number - 1) : REPORT_OTHER;
}

/* The engine is not the one it was, or was not known yet. */
static enum snmp_usm_result
learn_engine(struct snmp_engine *engine, const struct secured *s, int64_t now_ns, struct err *err)
{
	if (s->engine_id.len == 0)
		return SNMP_USM_DROP;
	memcpy(engine->id, s->engine_id.p, s->engine_id.len);
	engine->id_len = s->engine_id.len;
	engine->trusted = false;
	/* Not authentic, but good enough to ask with: the answer will tell. */
	set_clock(engine, s, now_ns);
	if (bind_keys(engine))
		return SNMP_USM_AGAIN;
	engine->id_len = 0;
	err_set(err, ERR_CONFIG, "this libcrypto does not offer that authProtocol");
	return SNMP_USM_FAILED;
}

static enum snmp_usm_result
handle_report(struct snmp_engine *engine, const struct secured *s,
    const struct snmp_message *report, int64_t now_ns, struct err *err)
{
	const struct snmp_conf *conf = engine->conf;
	static const char *const levels[] = { "noAuthNoPriv", "authNoPriv", "authPriv" };
	struct snmp_varbind_room room;
	struct snmp_varbind varbind;
	char oid[SNMP_OID_TEXT_BYTES];

	switch (report_of(report->varbinds, &varbind, &room)) {
	case REPORT_ENGINE:
		return learn_engine(engine, s, now_ns, err);
	case REPORT_WINDOW:
		/* That it is authentic was seen to, and so the clock was set. */
		if (conf->level == SNMP_NO_AUTH || (s->flags & FLAG_AUTH) != 0)
			return SNMP_USM_AGAIN;
		return SNMP_USM_DROP;
	case REPORT_LEVEL:
		err_set(err, ERR_DENIED, "user %s may not use level %s", conf->user.p,
		    levels[conf->level]);
		break;
	case REPORT_USER:
		err_set(err, ERR_DENIED, "agent knows no user %s", conf->user.p);
		break;
	case REPORT_DIGEST:
		err_set(err, ERR_DENIED,
		    "authentication of user %s failed: wrong digest (authPassword or authProtocol)",
		    conf->user.p);
		break;
	case REPORT_DECRYPTION:
		err_set(err, ERR_DENIED,
		    "agent could not decrypt the request of user %s (privPassword or privProtocol)",
		    conf->user.p);
		break;
	case REPORT_CONTEXT:
		err_set(err, ERR_DENIED, "agent knows no context '%s'", conf->context.p);
		break;
	case REPORT_OTHER:
		oid[snmp_oid_text(varbind.name, oid)] = '\0';
		err_set(err, ERR_PROTO, "agent reported %.200s", oid);
		break;
	}
	return SNMP_USM_FAILED;
}

enum snmp_usm_result
snmp_usm_decode(struct snmp_engine *engine, uint8_t *bytes, size_t len, int64_t now_ns,
    struct snmp_message *out, struct err *err)
{
	enum snmp_level level = engine->conf->level;
	bool known = engine->id_len > 0, authentic = false;
	struct secured s;

	if (!take_message((struct str){ (const char *)bytes, len }, &s))
		return SNMP_USM_DROP;
	if (s.flags & FLAG_AUTH) {
		if (!known || level < SNMP_AUTH || !is_authentic(engine, bytes, &s) ||
		    !is_fresh(engine, &s, now_ns))
			return SNMP_USM_DROP;
		authentic = true;
	}
	if ((s.flags & FLAG_PRIV) && (!authentic || level < SNMP_AUTH_PRIV))
		return SNMP_USM_DROP;
	if (!take_scoped_pdu(engine, &s, out))
		return SNMP_USM_DROP;
	if (out->pdu == SNMP_PDU_REPORT)
		return handle_report(engine, &s, out, now_ns, err);
	/* Values count only at the level that was asked for. */
	if (out->pdu != SNMP_PDU_RESPONSE || !known || (level >= SNMP_AUTH && !authentic) ||
	    (level == SNMP_AUTH_PRIV && !(s.flags & FLAG_PRIV)))
		return SNMP_USM_DROP;
	return SNMP_USM_ANSWER;
}
