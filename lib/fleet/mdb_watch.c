#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/mdb_priv.h"

#define SETTLE_NS (50 * NS_PER_MS) /* a writer's several events make one reading */
#define LOOK_NS   (3 * NS_PER_S)
#define FRESH_NS  (1 * NS_PER_S)

struct mdb_watch {
	struct loop *loop;
	char *path, *dir, *name;
	void (*changed)(void *);
	void *ctx;
	struct loop_fd inotify;
	int watch; /* of the directory; -1 = none */
	struct loop_timer settle, look;
	struct stat seen; /* as of the last look; all zero if the file was not there */
};

static void
look_at(const struct mdb_watch *watch, struct stat *st)
{
	if (stat(watch->path, st) != 0)
		memset(st, 0, sizeof(*st));
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The directory's name may lead to another one by now. */
static void
watch_dir(struct mdb_watch *watch)
{
	int found = inotify_add_watch(watch->inotify.fd, watch->dir,
	    IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM);

	if (watch->watch >= 0 && found != watch->watch)
		inotify_rm_watch(watch->inotify.fd, watch->watch);
	watch->watch = found;
}

static void
on_settled(struct loop_timer *timer)
{
	struct mdb_watch *watch = CONTAINER_OF(timer, struct mdb_watch, settle);

	look_at(watch, &watch->seen);
	watch->changed(watch->ctx);
}

static void
on_look(struct loop_timer *timer)
{
	struct mdb_watch *watch = CONTAINER_OF(timer, struct mdb_watch, look);
	struct stat now;

	watch_dir(watch);
	look_at(watch, &now);
	if (!same_file(&now, &watch->seen))
		mdb_watch_again(watch, SETTLE_NS);
	loop_timer_set(watch->loop, &watch->look, loop_now_ns(watch->loop) + LOOK_NS);
}

/* True if the event may be about the file. */
static bool
concerns_file(const struct mdb_watch *watch, const struct inotify_event *event)
{
	if ((event->mask & IN_Q_OVERFLOW) != 0)
		return true;
	return event->wd == watch->watch && event->len > 0 && strcmp(event->name, watch->name) == 0;
}

static void
on_inotify(struct loop_fd *fd, unsigned events)
{
	struct mdb_watch *watch = CONTAINER_OF(fd, struct mdb_watch, inotify);
	_Alignas(struct inotify_event) char text[4096];
	bool hit = false;
	ssize_t len;

	(void)events;
	while ((len = read(fd->fd, text, sizeof(text))) > 0) {
		for (const char *p = text; p < text + len;) {
			const struct inotify_event *event = (const void *)p;

			hit |= concerns_file(watch, event);
			p += sizeof(*event) + event->len;
		}
	}
	if (hit)
		mdb_watch_again(watch, SETTLE_NS);
}

/* -1 with err: then looking has to do. */
static int
open_inotify(struct mdb_watch *watch, struct err *err)
{
	watch->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->inotify.fd < 0) {
		err_errno(err, errno, "inotify");
		return -1;
	}
	return loop_fd_add(watch->loop, &watch->inotify, LOOP_READ, err);
}

struct mdb_watch *
mdb_watch_new(
    struct loop *loop, const char *path, void (*changed)(void *), void *ctx, struct err *err)
{
	struct mdb_watch *watch = calloc(1, sizeof(*watch));
	const char *slash = strrchr(path, '/');

	if (watch == NULL)
		goto nomem;
	watch->loop = loop;
	watch->changed = changed;
	watch->ctx = ctx;
	watch->watch = -1;
	watch->settle.fn = on_settled;
	watch->look.fn = on_look;
	watch->inotify = (struct loop_fd){ .fd = -1, .fn = on_inotify };
	watch->path = strdup(path);
	watch->dir = slash == NULL   ? strdup(".")
	             : slash == path ? strdup("/")
	                             : strndup(path, (size_t)(slash - path));
	watch->name = strdup(slash == NULL ? path : slash + 1);
	if (watch->path == NULL || watch->dir == NULL || watch->name == NULL)
		goto nomem;
	look_at(watch, &watch->seen);
	loop_timer_set(loop, &watch->look, loop_now_ns(loop) + LOOK_NS);
	if (open_inotify(watch, err) != 0)
		log_warn("fleet", "machine list is looked at every %d s: file=%s error=\"%s\"",
		    (int)(LOOK_NS / NS_PER_S), path, err->text);
	watch_dir(watch);
	return watch;
nomem:
	err_nomem(err);
	mdb_watch_free(watch);
	return NULL;
}

void
mdb_watch_again(struct mdb_watch *watch, int64_t delay_ns)
{
	int64_t at_ns = loop_now_ns(watch->loop) + delay_ns;

	/*
	 * Not put off by each further event, or a busy writer could keep it from ever being read.
	 */
	if (!watch->settle.set || at_ns < watch->settle.at_ns)
		loop_timer_set(watch->loop, &watch->settle, at_ns);
}

bool
mdb_watch_is_fresh(const struct mdb_watch *watch)
{
	const struct timespec *written = &watch->seen.st_mtim;
	int64_t age_ns =
	    loop_real_ns(watch->loop) - (written->tv_sec * NS_PER_S + written->tv_nsec);

	/* A file server's clock may be ahead of ours, but not for ever. */
	return age_ns < FRESH_NS && age_ns > -FRESH_NS;
}

void
mdb_watch_free(struct mdb_watch *watch)
{
	if (watch == NULL)
		return;
	loop_timer_clear(watch->loop, &watch->settle);
	loop_timer_clear(watch->loop, &watch->look);
	loop_fd_del(watch->loop, &watch->inotify);
	if (watch->inotify.fd >= 0)
		close(watch->inotify.fd);
	free(watch->path);
	free(watch->dir);
	free(watch->name);
	free(watch);
}
