#include "api/admin_priv.h"

#include "base/conf.h"

bool
token_eq(struct str given, struct str secret)
{
	unsigned diff = given.len != secret.len;

	if (secret.len == 0)
		return false;
	for (size_t i = 0; i < given.len; i++)
		diff |= (unsigned char)given.p[i] ^ (unsigned char)secret.p[i % secret.len];
	return diff == 0;
}

int
service_init(struct service *service, const struct api_env *env, const char *token, struct err *err)
{
	*service = (struct service){ .env = *env };
	lock_init(&service->token_lock, LOCK_connections);
	if (service_set_token(service, token, err) == 0)
		return 0;
	lock_fini(&service->token_lock);
	return -1;
}

void
service_fini(struct service *service)
{
	conf_secret_free(service->token);
	lock_fini(&service->token_lock);
}

int
service_set_token(struct service *service, const char *token, struct err *err)
{
	char *copy = token == NULL ? NULL : str_dup(str_of(token)), *old;

	if (token != NULL && copy == NULL) {
		err_nomem(err);
		return -1;
	}
	lock_take(&service->token_lock);
	old = service->token;
	service->token = copy;
	lock_drop(&service->token_lock);
	conf_secret_free(old);
	return 0;
}

static bool
has_token(struct request *req)
{
	struct service *service = req->service;
	struct str given = req->header(req, "Authorization"), scheme;
	bool same;

	if (!str_split(&given, ' ', &scheme) || !str_eq_nocase(scheme, STR("Bearer")))
		return false;
	lock_take(&service->token_lock);
	same = token_eq(str_trim(given), str_of(service->token));
	lock_drop(&service->token_lock);
	return same;
}

/* Without the port: "localhost" of "localhost:6980", "[::1]" of "[::1]:6980". */
static struct str
host_of(struct str authority)
{
	const char *colon;

	if (str_starts(authority, STR("[")))
		colon = memrchr(authority.p, ']', authority.len);
	else
		colon = memrchr(authority.p, ':', authority.len);
	if (colon == NULL)
		return authority;
	return str_sub(authority, 0, (size_t)(colon - authority.p) + (*colon == ']'));
}

/* A name that can mean this machine only, whatever a DNS server says. */
static bool
is_loopback_name(struct str host)
{
	return str_eq_nocase(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) ||
	       str_eq(host, STR("[::1]"));
}

/*
 * Browsers send Origin with every PUT and DELETE. It has to be the site asked; and as the name of
 * a hostile site may be made to resolve to 127.0.0.1, that is not enough for who is trusted
 * for being on loopback alone.
 */
static bool
is_own_page(struct request *req, struct str origin, bool with_token)
{
	struct str host = req->header(req, "Host");
	const char *slashes = memmem(origin.p, origin.len, "://", 3);

	if (slashes == NULL || host.len == 0)
		return false;
	origin = str_sub(origin, (size_t)(slashes - origin.p) + 3, SIZE_MAX);
	return str_eq_nocase(origin, host) && (with_token || is_loopback_name(host_of(host)));
}

bool
admin_allowed(struct request *req)
{
	bool with_token = has_token(req);
	struct str origin = req->header(req, "Origin");

	if (!with_token && !req->from_loopback)
		return false;
	return origin.len == 0 || is_own_page(req, origin, with_token);
}
