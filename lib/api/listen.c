#include "api/listen_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"

#define BACKLOG 1024
/*
 * Of each connection, and the kernel doubles it; it would take up to 4 MiB for one whose client
 * reads slowly. Enough for 5 MB/s to a client 100 ms away, and for an endpoint's hour (540 kB): an
 * answer that does not fit waits for the client to read, which takes twice as long on loopback.
 */
#define SEND_BUFFER_BYTES (512 * 1024)

/* Cuts ":PORT" off text. False if there is none, or it is none. */
static bool
cut_port(struct str *text, uint16_t *port)
{
	const char *colon = text->len == 0 ? NULL : memrchr(text->p, ':', text->len);
	struct str digits;
	uint64_t n;

	if (colon == NULL)
		return false;
	digits = str_sub(*text, (size_t)(colon - text->p) + 1, text->len);
	if (str_starts(digits, STR("+")) || !str_to_u64(digits, &n) || n > UINT16_MAX)
		return false;
	*port = (uint16_t)n;
	text->len = (size_t)(colon - text->p);
	return true;
}

int
api_parse_listen(struct str text, struct str *host, uint16_t *port, struct err *err)
{
	struct str rest = text;
	uint16_t n;

	if (!cut_port(&rest, &n))
		goto bad;
	if (str_starts(rest, STR("[")) && str_ends(rest, STR("]")) && rest.len > 2)
		rest = str_sub(rest, 1, rest.len - 2);
	else if (rest.len > 0 &&
	         (memchr(rest.p, ':', rest.len) != NULL || memchr(rest.p, '[', rest.len) != NULL))
		goto bad;
	if (rest.len > 0 && memchr(rest.p, '\0', rest.len) != NULL)
		goto bad;
	*host = rest;
	*port = n;
	return 0;
bad:
	err_set(err, ERR_CONFIG, "\"%.*s\" is not HOST:PORT", STR_ARG(text));
	return -1;
}

/* A socket that listens at address, or -1 with errno. */
static int
listen_at(const struct addrinfo *address, bool both_families)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, only_v6 = !both_families, send_bytes = SEND_BUFFER_BYTES, saved;

	if (fd < 0)
		return -1;
	/* A restart must not wait for connections of the process before to time out. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)) == 0 &&
	    (address->ai_family != AF_INET6 ||
	        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6)) == 0) &&
	    bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static uint16_t
port_of(int fd)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &len) != 0)
		return 0;
	/* The port is at the same place in both kinds of address. */
	return ntohs(((const struct sockaddr_in *)(const void *)&own)->sin_port);
}

/*
 * host "" = all addresses of both families; .ai_next leads to IPv4 alone, for systems without IPv6.
 */
static struct addrinfo *
look_up(const char *host, uint16_t port, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found;
	char service[8];
	int rc;

	snprintf(service, sizeof(service), "%u", port);
	if (host[0] == '\0')
		hints.ai_flags |= AI_PASSIVE;
	rc = getaddrinfo(host[0] == '\0' ? NULL : host, service, &hints, &found);
	if (rc == 0)
		return found;
	err_set(err, rc == EAI_MEMORY ? ERR_NOMEM : ERR_IO, "%s", gai_strerror(rc));
	return NULL;
}

/* Tries the addresses found: first those of `family`. -1 with errno. */
static int
listen_first(const struct addrinfo *found, int family, bool both_families)
{
	int fd = -1;

	errno = EADDRNOTAVAIL;
	for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
		if (family == AF_UNSPEC || at->ai_family == family)
			fd = listen_at(at, both_families);
	}
	return fd;
}

int
listen_open(const char *text, uint16_t *port, struct err *err)
{
	struct addrinfo *found = NULL;
	struct str host;
	uint16_t wanted;
	char *name = NULL;
	int fd = -1;

	if (api_parse_listen(str_of(text), &host, &wanted, err) != 0)
		goto out;
	name = str_dup(host);
	if (name == NULL) {
		err_nomem(err);
		goto out;
	}
	found = look_up(name, wanted, err);
	if (found == NULL)
		goto out;
	if (host.len == 0)
		fd = listen_first(found, AF_INET6, true);
	if (fd < 0 && (host.len > 0 || errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		fd = listen_first(found, AF_UNSPEC, false);
	if (fd < 0)
		err_errno(err, errno, "listen on %s", text);
	else
		*port = port_of(fd);
out:
	if (found != NULL)
		freeaddrinfo(found);
	free(name);
	return fd;
}
