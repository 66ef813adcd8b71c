#include "sources/prometheus_conf_priv.h"

#include <string.h>

const struct conf_opt prometheus_opts[] = {
	{ "path", CONF_TEXT, "/metrics", "where the metrics are served", 0, 0 },
	{ "params", CONF_TREE, NULL, "of the query: a map from name to value, or to a list of them",
	    0, 0 },
	{ "headers", CONF_TREE, NULL,
	    "sent with each request: a map from name to value, {file: PATH} or {env: NAME}", 0, 0 },
	{ "user", CONF_TEXT, NULL, "for basic authentication", 0, 0 },
	{ "password", CONF_SECRET, NULL, "its password", 0, 0 },
	{ "bearerToken", CONF_SECRET, NULL, "sent as Authorization: Bearer", 0, 0 },
	{ "histograms", CONF_TEXT, "distributions",
	    "distributions (one metric each) or series (as they come)", 0, 0 },
	{ "tls", CONF_BOOL, "false", "HTTPS instead of HTTP", 0, 0 },
	{ "verify", CONF_BOOL, "true", "with tls: check the certificate and its name", 0, 0 },
	{ "caFile", CONF_TEXT, NULL, "with tls: CA certificates (PEM); default: the system's", 0,
	    0 },
	{ "certFile", CONF_TEXT, NULL, "with tls: a certificate to show (PEM)", 0, 0 },
	{ "keyFile", CONF_TEXT, NULL, "with tls: its key (PEM)", 0, 0 },
	{ "serverName", CONF_TEXT, NULL, "with tls: the name on the server's certificate", 0, 0 },
	{ .name = NULL },
};

/* The query. */

/* Unreserved characters stay (RFC 3986, section 2.3). */
static void
put_escaped(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		             (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';

		if (plain)
			buf_putc(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

static void
put_param(struct buf *path, struct str name, struct str value)
{
	bool first = memchr(path->p, '?', path->len) == NULL;

	buf_putc(path, first ? '?' : '&');
	put_escaped(path, name);
	buf_putc(path, '=');
	put_escaped(path, value);
}

static int
read_path(struct prometheus_conf *conf, const struct conf *options, struct err *err)
{
	const struct conf *params = conf_child(options, "params");

	buf_str(&conf->path, conf_text(options, prometheus_opts, "path"));
	if (params != NULL && params->shape != CONF_MAP)
		goto bad;
	for (params = params == NULL ? NULL : params->first; params != NULL;
	     params = params->next) {
		const struct conf *value = params;

		if (params->shape == CONF_LIST)
			value = params->first;
		for (; value != NULL; value = params->shape == CONF_LIST ? value->next : NULL) {
			if (value->shape != CONF_SCALAR)
				goto bad;
			if (!conf->path.failed)
				put_param(&conf->path, params->key, value->text);
		}
	}
	return 0;
bad:
	err_set(err, ERR_CONFIG, "params: wants a map from name to value or to a list of values");
	return -1;
}

/* Headers. */

/* A value must not bring headers of its own. */
static int
put_header(struct buf *out, const char *name, const char *type, const char *value, struct err *err)
{
	for (const char *p = value; *p != '\0'; p++) {
		if ((*p > '\0' && *p < ' ' && *p != '\t') || *p == 0x7F) {
			err_set(err, ERR_CONFIG, "%s: holds a control character", name);
			return -1;
		}
	}
	buf_printf(out, "%s: %s", name, type);
	buf_puts(out, value);
	buf_putc(out, '\n');
	return 0;
}

static int
read_headers(
    struct prometheus_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	const struct conf *map = conf_child(options, "headers");

	if (map == NULL)
		return 0;
	if (map->shape != CONF_MAP) {
		err_set(err, ERR_CONFIG, "headers: wants a map from name to value");
		return -1;
	}
	for (const struct conf *node = map->first; node != NULL; node = node->next) {
		char *value = NULL;
		int rc;

		if (strpbrk(node->key.p, ":\r\n") != NULL) {
			err_set(err, ERR_CONFIG, "headers: a malformed name");
			return -1;
		}
		if (conf_secret_for(map, node->key.p, deny_files, &value, err) != 0)
			return -1;
		rc = value == NULL ? 0 : put_header(&conf->headers, node->key.p, "", value, err);
		conf_secret_free(value);
		if (rc != 0)
			return -1;
	}
	return 0;
}

static void
put_base64(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i += 3) {
		const unsigned char *p = (const unsigned char *)s.p + i;
		size_t left = s.len - i;
		unsigned bits = (unsigned)p[0] << 16 | (left > 1 ? (unsigned)p[1] << 8 : 0) |
		                (left > 2 ? p[2] : 0);
		char group[4];

		base64_group(group, bits, left);
		buf_add(out, group, sizeof(group));
	}
}

/* RFC 7617 */
static void
put_basic(struct buf *headers, struct str user, const char *password)
{
	struct buf pair;

	buf_init(&pair, 0);
	buf_str(&pair, user);
	buf_putc(&pair, ':');
	buf_puts(&pair, password);
	buf_puts(headers, "Authorization: Basic ");
	put_base64(headers, buf_view(&pair));
	buf_putc(headers, '\n');
	headers->failed |= pair.failed;
	buf_wipe(&pair);
}

static int
read_authorization(
    struct prometheus_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	struct str user = conf_text(options, prometheus_opts, "user");
	char *password = NULL, *token = NULL;
	int rc = -1;

	if (conf_secret_for(options, "password", deny_files, &password, err) != 0 ||
	    conf_secret_for(options, "bearerToken", deny_files, &token, err) != 0)
		goto out;
	if (user.len == 0 && password != NULL)
		err_set(err, ERR_CONFIG, "password: needs a user");
	else if (user.len > 0 && token != NULL)
		err_set(err, ERR_CONFIG, "bearerToken: not together with a user");
	else if (user.len > 0 && memchr(user.p, ':', user.len) != NULL)
		err_set(err, ERR_CONFIG, "user: holds a ':'");
	else
		rc = 0;
	if (rc != 0)
		goto out;
	if (user.len > 0)
		put_basic(&conf->headers, user, password == NULL ? "" : password);
	if (token != NULL)
		rc = put_header(&conf->headers, "Authorization", "Bearer ", token, err);
out:
	conf_secret_free(password);
	conf_secret_free(token);
	return rc;
}

/* Files of this machine that who is afar must not use. */
static int
check_files(const struct conf *options, bool deny_files, struct err *err)
{
	if (!deny_files || conf_child(options, "keyFile") == NULL)
		return 0;
	err_set(err, ERR_DENIED, "keyFile: not for who registers from another host");
	return -1;
}

int
prometheus_conf_init(
    struct prometheus_conf *conf, const struct conf *options, bool deny_files, struct err *err)
{
	struct str histograms = conf_text(options, prometheus_opts, "histograms");

	*conf = (struct prometheus_conf){ .series = str_eq(histograms, STR("series")) };
	if (!conf->series && !str_eq(histograms, STR("distributions"))) {
		err_set(err, ERR_CONFIG, "histograms: wants distributions or series");
		return -1;
	}
	if (read_path(conf, options, err) != 0 || check_files(options, deny_files, err) != 0 ||
	    read_headers(conf, options, deny_files, err) != 0 ||
	    read_authorization(conf, options, deny_files, err) != 0)
		return -1;
	if (conf->path.failed || conf->headers.failed) {
		err_nomem(err);
		return -1;
	}
	return 0;
}

void
prometheus_conf_fini(struct prometheus_conf *conf)
{
	buf_fini(&conf->path);
	buf_wipe(&conf->headers);
}
