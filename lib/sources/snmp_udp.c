#include "sources/snmp_udp_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"

#define AT_ONCE        16    /* datagrams a system call */
#define DATAGRAM_BYTES 65536 /* the most UDP can carry, so none is cut */
#define FIRST_SLOTS    64
/* Some thousand answers; the system gives what it allows (net.core.rmem_max). */
#define RECEIVE_BYTES (4 * 1024 * 1024)

#define SLOT_BITS 16 /* of a request id, the low ones; the 15 above are a secret */

struct udp_socket {
	struct loop_fd h; /* fd -1 = not opened yet */
	struct snmp_udp *udp;
};

struct snmp_udp {
	struct loop *loop;
	struct udp_socket v4, v6;
	struct snmp_peer **peers; /* by slot; NULL = free */
	size_t cap;
	size_t count;
	uint64_t requests; /* begun, in all: what ids are made from */

	struct mmsghdr in[AT_ONCE];
	struct iovec vec[AT_ONCE];
	struct sockaddr_storage from[AT_ONCE];
	char *bytes; /* AT_ONCE times DATAGRAM_BYTES */
};

struct snmp_udp *
snmp_udp_new(struct loop *loop, struct err *err)
{
	struct snmp_udp *udp = calloc(1, sizeof(*udp));

	if (udp == NULL) {
		err_nomem(err);
		return NULL;
	}
	udp->loop = loop;
	udp->v4 = udp->v6 = (struct udp_socket){ .h.fd = -1, .udp = udp };
	udp->bytes = malloc((size_t)AT_ONCE * DATAGRAM_BYTES);
	if (udp->bytes == NULL) {
		err_nomem(err);
		snmp_udp_free(udp);
		return NULL;
	}
	return udp;
}

static void
close_socket(struct udp_socket *s)
{
	if (s->h.fd < 0)
		return;
	loop_fd_del(s->udp->loop, &s->h);
	close(s->h.fd);
	s->h.fd = -1;
}

void
snmp_udp_free(struct snmp_udp *udp)
{
	if (udp == NULL)
		return;
	assert(udp->count == 0);
	close_socket(&udp->v4);
	close_socket(&udp->v6);
	free(udp->peers);
	free(udp->bytes);
	free(udp);
}

static int
grow(struct snmp_udp *udp, struct err *err)
{
	size_t cap = udp->cap == 0 ? FIRST_SLOTS : udp->cap * 2;
	struct snmp_peer **peers;

	if (udp->count < udp->cap)
		return 0;
	if (udp->cap == SNMP_PEERS_MOST) {
		err_set(err, ERR_LIMIT, "more than %d agents of one thread", SNMP_PEERS_MOST);
		return -1;
	}
	peers = realloc(udp->peers, cap * sizeof(*peers));
	if (peers == NULL) {
		err_nomem(err);
		return -1;
	}
	memset(peers + udp->cap, 0, (cap - udp->cap) * sizeof(*peers));
	udp->peers = peers;
	udp->cap = cap;
	return 0;
}

int
snmp_udp_join(struct snmp_udp *udp, struct snmp_peer *peer, struct err *err)
{
	size_t slot;

	assert(peer->udp == NULL);
	if (grow(udp, err) != 0)
		return -1;
	/* Peers seldom come and go; slots given up are found from the front. */
	for (slot = udp->count; udp->peers[slot] != NULL; slot = (slot + 1) % udp->cap)
		;
	udp->peers[slot] = peer;
	udp->count++;
	peer->udp = udp;
	peer->slot = (uint32_t)slot;
	peer->id = 0;
	return 0;
}

void
snmp_udp_leave(struct snmp_peer *peer)
{
	if (peer->udp == NULL)
		return;
	peer->udp->peers[peer->slot] = NULL;
	peer->udp->count--;
	peer->udp = NULL;
}

int32_t
snmp_udp_begin(struct snmp_peer *peer)
{
	uint64_t number = ++peer->udp->requests, hash;

	hash = hash_bytes((struct str){ (const char *)&number, sizeof(number) });
	/* Never 0, which means none. */
	peer->id = (int32_t)((hash >> 40 & 0x7fff) << SLOT_BITS | peer->slot);
	if (peer->id == 0)
		peer->id = 1 << SLOT_BITS;
	return peer->id;
}

void
snmp_udp_end(struct snmp_peer *peer)
{
	peer->id = 0;
}

static bool
is_from(const struct snmp_peer *peer, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *v4 = (const void *)from;
	const struct sockaddr_in6 *v6 = (const void *)from;

	if (from->ss_family != peer->address.any.sa_family)
		return false;
	if (from->ss_family == AF_INET)
		return v4->sin_port == peer->address.v4.sin_port &&
		       v4->sin_addr.s_addr == peer->address.v4.sin_addr.s_addr;
	return v6->sin6_port == peer->address.v6.sin6_port &&
	       memcmp(&v6->sin6_addr, &peer->address.v6.sin6_addr, sizeof(v6->sin6_addr)) == 0;
}

static void
receive(struct snmp_udp *udp, struct str bytes, const struct sockaddr_storage *from)
{
	struct snmp_peer *peer;
	int64_t id;
	size_t slot;

	if (!snmp_peek_id(bytes, &id) || id <= 0 || id > INT32_MAX)
		return;
	slot = (size_t)id & ((1u << SLOT_BITS) - 1);
	peer = slot < udp->cap ? udp->peers[slot] : NULL;
	if (peer != NULL && peer->id == id && is_from(peer, from))
		peer->on_answer(peer, bytes);
}

static void
on_readable(struct loop_fd *h, unsigned events)
{
	struct snmp_udp *udp = CONTAINER_OF(h, struct udp_socket, h)->udp;
	int n;

	(void)events;
	for (size_t i = 0; i < AT_ONCE; i++) {
		udp->vec[i] = (struct iovec){ udp->bytes + i * DATAGRAM_BYTES, DATAGRAM_BYTES };
		udp->in[i].msg_hdr = (struct msghdr){
			.msg_name = &udp->from[i],
			.msg_namelen = sizeof(udp->from[i]),
			.msg_iov = &udp->vec[i],
			.msg_iovlen = 1,
		};
	}
	/* More than these come with the loop's next turn. */
	n = recvmmsg(h->fd, udp->in, AT_ONCE, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		receive(
		    udp, (struct str){ udp->vec[i].iov_base, udp->in[i].msg_len }, &udp->from[i]);
}

static int
open_socket(struct snmp_udp *udp, sa_family_t family, struct err *err)
{
	struct udp_socket *s = family == AF_INET ? &udp->v4 : &udp->v6;
	int room = RECEIVE_BYTES;

	if (s->h.fd >= 0)
		return 0;
	s->h.fn = on_readable;
	s->h.fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->h.fd < 0) {
		err_errno(err, errno, "UDP socket");
		return -1;
	}
	/* Less room is no failure. */
	(void)setsockopt(s->h.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (loop_fd_add(udp->loop, &s->h, LOOP_READ, err) != 0) {
		close(s->h.fd);
		s->h.fd = -1;
		return -1;
	}
	return 0;
}

int
snmp_udp_set_address(
    struct snmp_peer *peer, const struct net_addr *addr, uint16_t port, struct err *err)
{
	if (open_socket(peer->udp, addr->family, err) != 0)
		return -1;
	memset(&peer->address, 0, sizeof(peer->address));
	peer->address.any.sa_family = addr->family;
	if (addr->family == AF_INET) {
		peer->address.v4.sin_port = htons(port);
		memcpy(&peer->address.v4.sin_addr, addr->bytes, 4);
		peer->address_len = sizeof(peer->address.v4);
	} else {
		peer->address.v6.sin6_port = htons(port);
		memcpy(&peer->address.v6.sin6_addr, addr->bytes, 16);
		peer->address_len = sizeof(peer->address.v6);
	}
	return 0;
}

int
snmp_udp_send(struct snmp_peer *peer, const void *bytes, size_t len, struct err *err)
{
	struct snmp_udp *udp = peer->udp;
	int fd = peer->address.any.sa_family == AF_INET ? udp->v4.h.fd : udp->v6.h.fd;

	if (sendto(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL, &peer->address.any,
	        peer->address_len) >= 0 ||
	    errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
		return 0;
	err_errno(err, errno, "send");
	return -1;
}
