#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "fleet/mdb_priv.h"

#define SETTLE_NS    (50 * NS_PER_MS)	/* a writer's several events make one reading */
#define LOOK_NS	     (3 * NS_PER_S)
#define FRESH_NS     (1 * NS_PER_S)

struct mdb_watch {
	struct loop *loop;
	char *path, *dir, *name;
	void (*changed)(void *);
	void *ctx;
	struct loop_fd inotify;
	int watch;			/* of the directory; -1 = not there yet */
	struct loop_timer settle, look;
	struct stat seen;		/* as of the last look; all zero if the file was not there */
};

struct machine_list *
mdb_load(const char *path, struct err *err)
{
	struct machine_list *list = NULL;
	struct buf text;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	buf_init(&text, MDB_BYTES_MAX);
	if (fd < 0 || fstat(fd, &st) != 0) {
		err_errno(err, errno, "machine list %s", path);
		if (errno == ENOENT)
			err->code = ERR_NOTFOUND;
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(err, ERR_IO, "machine list %s: not a file", path);
		goto out;
	}
	for (;;) {
		ssize_t got;

		if (!buf_reserve(&text, 64 * 1024)) {
			err_set(err, ERR_LIMIT, "machine list %s: larger than 256 MiB", path);
			goto out;
		}
		got = read(fd, text.p + text.len, text.cap - text.len);
		if (got == 0)
			break;
		if (got < 0) {
			if (errno == EINTR)
				continue;
			err_errno(err, errno, "machine list %s", path);
			goto out;
		}
		text.len += (size_t)got;
	}
	list = mdb_parse(buf_view(&text), err);
	if (list == NULL)
		err_wrap(err, "machine list %s", path);
out:
	buf_fini(&text);
	if (fd >= 0)
		close(fd);
	return list;
}

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

static void
watch_dir(struct mdb_watch *watch)
{
	if (watch->watch < 0)
		watch->watch = inotify_add_watch(watch->inotify.fd, watch->dir,
		    IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF |
			IN_MOVE_SELF);
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
	if (!same_file(&now, &watch->seen) && !watch->settle.set)
		mdb_watch_again(watch, SETTLE_NS);
	loop_timer_set(watch->loop, &watch->look, loop_now_ns(watch->loop) + LOOK_NS);
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
		for (char *p = text; p < text + len;) {
			const struct inotify_event *event = (const void *)p;

			if (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF))
				watch->watch = -1; /* on_look finds the directory again */
			else if (event->mask & IN_Q_OVERFLOW || event->len == 0 ||
			    strcmp(event->name, watch->name) == 0)
				hit = true;
			p += sizeof(*event) + event->len;
		}
	}
	if (hit)
		mdb_watch_again(watch, SETTLE_NS);
}

struct mdb_watch *
mdb_watch_new(struct loop *loop, const char *path, void (*changed)(void *), void *ctx,
    struct err *err)
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
	watch->dir = slash == NULL ? strdup(".") :
	    slash == path	   ? strdup("/") :
				     strndup(path, (size_t)(slash - path));
	watch->name = strdup(slash == NULL ? path : slash + 1);
	if (watch->path == NULL || watch->dir == NULL || watch->name == NULL)
		goto nomem;
	look_at(watch, &watch->seen);
	loop_timer_set(loop, &watch->look, loop_now_ns(loop) + LOOK_NS);
	watch->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->inotify.fd < 0 || loop_fd_add(loop, &watch->inotify, LOOP_READ, err) != 0) {
		log_warn("fleet", "no inotify, looking at %s every 3 s instead: error=%s", path,
		    strerror(errno));
		return watch;
	}
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
	loop_timer_set(watch->loop, &watch->settle, loop_now_ns(watch->loop) + delay_ns);
}

bool
mdb_watch_is_fresh(const struct mdb_watch *watch)
{
	int64_t written = (int64_t)watch->seen.st_mtim.tv_sec * NS_PER_S + watch->seen.st_mtim.tv_nsec;

	return loop_real_ns(watch->loop) - written < FRESH_NS;
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
