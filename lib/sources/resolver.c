#include "sources/resolver.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/log.h"

#define DEFAULT_THREADS     8
#define DEFAULT_LIFETIME_NS (60 * NS_PER_S)
#define DEFAULT_RETRY_NS    (5 * NS_PER_S)
#define DEFAULT_MAX_NAMES   100000

/* RFC 1035 allows 255 bytes on the wire, which is 253 characters and at most one dot at the end. */
#define NAME_MAX_BYTES 254

/* getaddrinfo keeps answers of up to 64 KiB on the stack, and NSS plugins come on top. */
#define STACK_BYTES (256 * 1024)

enum name_state {
	NAME_IDLE,    /* in the list `idle` */
	NAME_QUEUED,  /* in the list `first_lookups` or `refreshes` */
	NAME_RUNNING, /* in no list: a thread looks it up */
};

/* All fields: the resolver's lock. */
struct name {
	enum name_state state;
	bool known;
	struct net_addr addr;      /* when known: the last good address */
	struct err *failure;       /* why the last lookup failed; NULL: it did not, or no memory */
	int64_t asked_ns;          /* when the lookup queued or running was asked for */
	int64_t due_ns;            /* an ask from here on starts a lookup */
	struct resolver_ask *asks; /* waiting; empty when known */
	struct name *prev, *next;  /* in the list of its state */
	size_t len;
	char text[]; /* ended by NUL */
};

struct name_list {
	struct name *first, *last;
};

/*
 * Shared by its owner and its threads: the last to leave frees it, so that a lookup that hangs
 * keeps nobody waiting.
 */
struct resolver {
	struct resolver_conf conf; /* does not change */

	struct lock lock; /* for all below */
	struct lock_cond work;
	unsigned holders;
	bool stopped;
	struct map names;
	struct name_list idle; /* least recently asked first */
	/* Nobody waits for a refresh, and a dead name server can make thousands of them. */
	struct name_list first_lookups, refreshes;
};

/* What became of a lookup, as far as it is worth a line in the log. */
enum change { CHANGE_NONE, CHANGE_STALE, CHANGE_FRESH };

static void
list_append(struct name_list *list, struct name *n)
{
	n->next = NULL;
	n->prev = list->last;
	if (list->last == NULL)
		list->first = n;
	else
		list->last->next = n;
	list->last = n;
}

static void
list_remove(struct name_list *list, struct name *n)
{
	if (n->prev == NULL)
		list->first = n->next;
	else
		n->prev->next = n->next;
	if (n->next == NULL)
		list->last = n->prev;
	else
		n->next->prev = n->prev;
}

static struct name *
list_take_first(struct name_list *list)
{
	struct name *n = list->first;

	if (n != NULL)
		list_remove(list, n);
	return n;
}

static void
name_free(struct name *n)
{
	free(n->failure);
	free(n);
}

/* Addresses. */

static void
addr_set_ipv4(struct net_addr *addr, const void *bytes)
{
	*addr = (struct net_addr){ .family = AF_INET };
	memcpy(addr->bytes, bytes, 4);
}

static void
addr_set_ipv6(struct net_addr *addr, const void *bytes)
{
	*addr = (struct net_addr){ .family = AF_INET6 };
	memcpy(addr->bytes, bytes, 16);
}

bool
resolver_numeric(struct str text, struct net_addr *addr)
{
	char copy[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	bool brackets = text.len >= 2 && text.p[0] == '[' && text.p[text.len - 1] == ']';

	if (brackets)
		text = str_sub(text, 1, text.len - 2);
	if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.p, '\0', text.len) != NULL)
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	if (!brackets && inet_pton(AF_INET, copy, bytes) == 1)
		addr_set_ipv4(addr, bytes);
	else if (inet_pton(AF_INET6, copy, bytes) == 1)
		addr_set_ipv6(addr, bytes);
	else
		return false;
	return true;
}

void
net_addr_text(const struct net_addr *addr, char *out)
{
	const char *text = inet_ntop(addr->family, addr->bytes, out, INET6_ADDRSTRLEN);

	assert(text != NULL);
}

bool
net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family &&
	       memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}

/* The four bytes of an IPv4 address, plain or mapped into IPv6 (RFC 4291, 2.5.5.2); else NULL. */
static const uint8_t *
ipv4_bytes(const struct net_addr *addr)
{
	static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };

	if (addr->family == AF_INET)
		return addr->bytes;
	return memcmp(addr->bytes, mapped, sizeof(mapped)) == 0 ? addr->bytes + 12 : NULL;
}

bool
net_addr_is_loopback(const struct net_addr *addr)
{
	static const uint8_t any_ipv4[4];
	static const uint8_t any[16], loopback[16] = { [15] = 1 };
	const uint8_t *ipv4 = ipv4_bytes(addr);

	if (ipv4 != NULL)
		return ipv4[0] == 127 || memcmp(ipv4, any_ipv4, sizeof(any_ipv4)) == 0;
	return memcmp(addr->bytes, loopback, sizeof(loopback)) == 0 ||
	       memcmp(addr->bytes, any, sizeof(any)) == 0;
}

bool
net_addr_is_link_local(const struct net_addr *addr)
{
	const uint8_t *ipv4 = ipv4_bytes(addr);

	if (ipv4 != NULL)
		return ipv4[0] == 169 && ipv4[1] == 254;
	return addr->bytes[0] == 0xFE && (addr->bytes[1] & 0xC0) == 0x80;
}

/* The lookup by getaddrinfo. */

static void
lookup_failed(const char *name, int rc, struct err *err)
{
	int errnum = errno;

	switch (rc) {
	case EAI_MEMORY:
		err_nomem(err);
		break;
	case EAI_SYSTEM:
		if (errnum == EMFILE || errnum == ENFILE)
			err_set(err, ERR_LIMIT, "resolve %s: out of file descriptors", name);
		else
			err_errno(err, errnum, "resolve %s", name);
		break;
	case EAI_NONAME:
	case EAI_NODATA:
		err_set(err, ERR_NOTFOUND, "resolve %s: %s", name, gai_strerror(rc));
		break;
	default:
		err_set(err, ERR_IO, "resolve %s: %s", name, gai_strerror(rc));
		break;
	}
}

static bool
addr_of_info(const struct addrinfo *info, struct net_addr *addr)
{
	const void *sockaddr = info->ai_addr;

	if (info->ai_family == AF_INET)
		addr_set_ipv4(addr, &((const struct sockaddr_in *)sockaddr)->sin_addr);
	else if (info->ai_family == AF_INET6)
		addr_set_ipv6(addr, &((const struct sockaddr_in6 *)sockaddr)->sin6_addr);
	else
		return false;
	return true;
}

static int
lookup_by_system(void *ctx, const char *name, struct net_addr *out, struct err *err)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG,
	};
	struct addrinfo *infos = NULL;
	struct net_addr addr, first = { .family = AF_UNSPEC };
	int rc = getaddrinfo(name, NULL, &hints, &infos);

	(void)ctx;
	if (rc != 0) {
		lookup_failed(name, rc, err);
		return -1;
	}
	for (const struct addrinfo *info = infos; info != NULL; info = info->ai_next) {
		if (!addr_of_info(info, &addr))
			continue;
		if (net_addr_equal(&addr, out)) {
			/* Name servers rotate their answers; a kept connection should stay. */
			first = addr;
			break;
		}
		if (first.family == AF_UNSPEC)
			first = addr; /* the best by RFC 6724 */
	}
	freeaddrinfo(infos);
	if (first.family == AF_UNSPEC) {
		err_set(err, ERR_NOTFOUND, "resolve %s: no IP address", name);
		return -1;
	}
	*out = first;
	return 0;
}

/* Asks. */

/* In the asker's loop. */
static void
ask_run(struct loop_task *task)
{
	struct resolver_ask *ask = CONTAINER_OF(task, struct resolver_ask, task);
	bool failed = ask->err.code != ERR_NONE;

	ask->answered = false;
	ask->fn(ask, failed ? NULL : &ask->addr, failed ? &ask->err : NULL);
}

/* REQUIRES(resolver->lock), so that resolver_cancel finds an ask either waiting or posted. */
static void
ask_post(struct resolver_ask *ask)
{
	ask->waiting = false;
	ask->answered = true;
	ask->task.fn = ask_run;
	loop_post(ask->loop, &ask->task);
}

/* REQUIRES(resolver->lock). failure NULL: the failure itself could not be kept. */
static void
ask_fail(struct resolver_ask *ask, const struct err *failure)
{
	if (failure != NULL)
		ask->err = *failure;
	else
		err_nomem(&ask->err);
	ask_post(ask);
}

/* Settling a lookup. REQUIRES(resolver->lock). */

static enum change
settle_success(struct resolver *r, struct name *n, const struct net_addr *addr)
{
	bool was_stale = n->known && n->failure != NULL;

	free(n->failure);
	n->failure = NULL;
	n->known = true;
	n->addr = *addr;
	n->due_ns = n->asked_ns + r->conf.lifetime_ns;
	return was_stale ? CHANGE_FRESH : CHANGE_NONE;
}

static enum change
settle_failure(struct resolver *r, struct name *n, const struct err *err)
{
	bool was_good = n->known && n->failure == NULL;

	if (n->failure == NULL)
		n->failure = malloc(sizeof(*n->failure));
	if (n->failure != NULL)
		*n->failure = *err;
	n->due_ns = n->asked_ns + r->conf.retry_ns;
	return was_good && n->failure != NULL ? CHANGE_STALE : CHANGE_NONE;
}

static void
answer_all(struct name *n)
{
	while (n->asks != NULL) {
		struct resolver_ask *ask = n->asks;

		n->asks = ask->next;
		if (n->known) {
			ask->addr = n->addr;
			ask->err.code = ERR_NONE;
			ask_post(ask);
		} else {
			ask_fail(ask, n->failure);
		}
	}
}

static enum change
settle(struct resolver *r, struct name *n, const struct net_addr *addr, const struct err *err)
{
	enum change change;

	change = err == NULL ? settle_success(r, n, addr) : settle_failure(r, n, err);
	n->state = NAME_IDLE;
	list_append(&r->idle, n);
	answer_all(n);
	return change;
}

/* The threads. */

static void
resolver_destroy(struct resolver *r)
{
	const struct map_entry *entry;
	size_t pos = 0;

	while ((entry = map_next(&r->names, &pos)) != NULL)
		name_free(entry->value);
	map_fini(&r->names);
	lock_cond_fini(&r->work);
	lock_fini(&r->lock);
	free(r);
}

static void
resolver_leave(struct resolver *r)
{
	bool last;

	lock_take(&r->lock);
	last = --r->holders == 0;
	lock_drop(&r->lock);
	if (last)
		resolver_destroy(r);
}

/* The next name to look up, or NULL to end. REQUIRES(r->lock). */
static struct name *
wait_for_name(struct resolver *r)
{
	while (!r->stopped) {
		struct name *n = list_take_first(&r->first_lookups);

		if (n == NULL)
			n = list_take_first(&r->refreshes);
		if (n == NULL) {
			(void)lock_cond_wait(&r->work, &r->lock, INT64_MAX);
		} else if (!n->known && n->asks == NULL) {
			/* All who asked have given up: with a dead name server others are next. */
			n->state = NAME_IDLE;
			list_append(&r->idle, n);
		} else {
			n->state = NAME_RUNNING;
			return n;
		}
	}
	return NULL;
}

static void
log_change(enum change change, const char *name, const struct net_addr *addr, const struct err *err)
{
	char text[INET6_ADDRSTRLEN];

	if (change == CHANGE_NONE)
		return;
	net_addr_text(addr, text);
	if (change == CHANGE_STALE)
		log_warn("resolver",
		    "lookup fails, the last address stays: name=%s address=%s error=%s", name, text,
		    err->text);
	else
		log_info("resolver", "lookup works again: name=%s address=%s", name, text);
}

/* Looks up n without the lock held and settles it. REQUIRES(r->lock). */
static void
look_up(struct resolver *r, struct name *n)
{
	struct net_addr addr = n->known ? n->addr : (struct net_addr){ .family = AF_UNSPEC };
	const struct net_addr before = addr;
	char text[NAME_MAX_BYTES + 1];
	enum change change;
	struct err err;
	int rc;

	memcpy(text, n->text, n->len + 1);
	lock_drop(&r->lock);
	rc = r->conf.lookup(r->conf.ctx, text, &addr, &err);
	lock_take(&r->lock);
	if (r->stopped)
		return;
	change = settle(r, n, &addr, rc == 0 ? NULL : &err);
	lock_drop(&r->lock);
	log_change(change, text, rc == 0 ? &addr : &before, &err);
	lock_take(&r->lock);
}

static void *
resolver_thread(void *arg)
{
	struct resolver *r = arg;
	struct name *n;

	lock_take(&r->lock);
	while ((n = wait_for_name(r)) != NULL)
		look_up(r, n);
	lock_drop(&r->lock);
	resolver_leave(r);
	return NULL;
}

/* Signals are main's: a thread inherits what its maker blocks. */
static int
start_threads(struct resolver *r, pthread_attr_t *attr)
{
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < r->conf.threads && rc == 0; i++) {
		pthread_t thread;

		lock_take(&r->lock);
		r->holders++;
		lock_drop(&r->lock);
		rc = pthread_create(&thread, attr, resolver_thread, r);
		if (rc != 0)
			resolver_leave(r);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static int
start(struct resolver *r, struct err *err)
{
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);

	if (rc == 0) {
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, STACK_BYTES);
		rc = start_threads(r, &attr);
		pthread_attr_destroy(&attr);
	}
	if (rc != 0)
		err_errno(err, rc, "start of a resolver thread");
	return rc == 0 ? 0 : -1;
}

struct resolver *
resolver_new(const struct resolver_conf *conf, struct err *err)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		err_nomem(err);
		return NULL;
	}
	r->conf = *conf;
	if (r->conf.threads == 0)
		r->conf.threads = DEFAULT_THREADS;
	if (r->conf.lifetime_ns == 0)
		r->conf.lifetime_ns = DEFAULT_LIFETIME_NS;
	if (r->conf.retry_ns == 0)
		r->conf.retry_ns = DEFAULT_RETRY_NS;
	if (r->conf.max_names == 0)
		r->conf.max_names = DEFAULT_MAX_NAMES;
	if (r->conf.lookup == NULL)
		r->conf.lookup = lookup_by_system;
	lock_init(&r->lock, LOCK_resolver);
	lock_cond_init(&r->work);
	map_init(&r->names);
	r->holders = 1;
	if (start(r, err) != 0) {
		resolver_free(r);
		return NULL;
	}
	return r;
}

void
resolver_free(struct resolver *r)
{
	const struct map_entry *entry;
	size_t pos = 0;

	if (r == NULL)
		return;
	lock_take(&r->lock);
	while ((entry = map_next(&r->names, &pos)) != NULL)
		assert(((const struct name *)entry->value)->asks == NULL);
	r->stopped = true;
	lock_cond_broadcast(&r->work);
	lock_drop(&r->lock);
	resolver_leave(r);
}

/* Names. REQUIRES(r->lock) for all of them. */

static bool
make_room(struct resolver *r)
{
	struct name *oldest;

	if (r->names.len < r->conf.max_names)
		return true;
	oldest = list_take_first(&r->idle);
	if (oldest == NULL)
		return false;
	map_del(&r->names, (struct str){ oldest->text, oldest->len });
	name_free(oldest);
	return true;
}

static struct name *
name_add(struct resolver *r, struct str text, struct err *err)
{
	struct name *n;

	if (!make_room(r)) {
		err_set(err, ERR_LIMIT, "resolve %.*s: %zu names are being looked up already",
		    STR_ARG(text), r->conf.max_names);
		return NULL;
	}
	n = calloc(1, sizeof(*n) + text.len + 1);
	if (n == NULL) {
		err_nomem(err);
		return NULL;
	}
	memcpy(n->text, text.p, text.len);
	n->len = text.len;
	n->due_ns = INT64_MIN;
	if (map_put(&r->names, (struct str){ n->text, n->len }, n) != 0) {
		name_free(n);
		err_nomem(err);
		return NULL;
	}
	list_append(&r->idle, n);
	return n;
}

/* The name, made if it is new. */
static struct name *
name_get(struct resolver *r, struct str text, struct err *err)
{
	struct name *n;

	if (text.len == 0 || text.len > NAME_MAX_BYTES || memchr(text.p, '\0', text.len) != NULL) {
		err_set(err, ERR_NOTFOUND, "resolve %.*s: not a host name",
		    (int)(text.len < 64 ? text.len : 64), text.p);
		return NULL;
	}
	n = map_get(&r->names, text);
	return n != NULL ? n : name_add(r, text, err);
}

/* Marks it as just asked for, and queues a lookup if one is due. */
static void
name_touch(struct resolver *r, struct name *n, int64_t now_ns)
{
	if (n->state != NAME_IDLE)
		return;
	list_remove(&r->idle, n);
	if (now_ns < n->due_ns) {
		list_append(&r->idle, n);
		return;
	}
	n->state = NAME_QUEUED;
	n->asked_ns = now_ns;
	list_append(n->known ? &r->refreshes : &r->first_lookups, n);
	lock_cond_signal(&r->work);
}

bool
resolver_get(struct resolver *r, struct str text, struct resolver_ask *ask, struct net_addr *addr)
{
	bool known = false;
	struct name *n;
	struct err err;

	assert(!ask->waiting && !ask->answered && ask->fn != NULL && ask->loop != NULL);
	lock_take(&r->lock);
	n = name_get(r, text, &err);
	if (n == NULL) {
		ask_fail(ask, &err);
		goto out;
	}
	name_touch(r, n, loop_now_ns(ask->loop));
	known = n->known;
	if (known) {
		*addr = n->addr;
	} else if (n->state == NAME_IDLE) {
		ask_fail(ask, n->failure);
	} else {
		ask->waiting = true;
		ask->name = n;
		ask->next = n->asks;
		n->asks = ask;
	}
out:
	lock_drop(&r->lock);
	return known;
}

void
resolver_cancel(struct resolver *r, struct resolver_ask *ask)
{
	lock_take(&r->lock);
	if (ask->waiting) {
		struct resolver_ask **link = &((struct name *)ask->name)->asks;

		while (*link != ask)
			link = &(*link)->next;
		*link = ask->next;
		ask->waiting = false;
	} else if (ask->answered) {
		loop_defer_cancel(ask->loop, &ask->task);
		ask->answered = false;
	}
	lock_drop(&r->lock);
}
