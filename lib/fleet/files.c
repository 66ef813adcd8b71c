#include "fleet/files_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#define SETTLE_NS (50 * NS_PER_MS) /* a writer's several events make one reading */
#define LOOK_NS   (3 * NS_PER_S)
/*
 * A file this young may be in the middle of being written, or be written once more without a later
 * time stamp, as those of file systems are coarse.
 */
#define FRESH_NS       (1 * NS_PER_S)
#define FRESH_RETRY_NS (300 * NS_PER_MS)
#define NOMEM_RETRY_NS (10 * NS_PER_S)
#define READ_BYTES     (64 * 1024)

struct file {
	struct file *next; /* sorted by path */
	struct stat seen;  /* as it was when read; all zero: not there */
	uint64_t hash;     /* of the bytes told last */
	bool told;         /* there were such */
	bool again;        /* to be read whatever seen says */
	bool in_trouble;   /* of which the log knows */
	bool found;        /* in the scan at hand */
	char path[];
};

struct files {
	struct loop *loop;
	struct lock *lock;
	struct files_user user;
	char **patterns, **dirs;
	size_t pattern_count;
	bool literal;
	struct file *list;
	size_t file_count;
	bool too_many; /* of which the log knows */
	struct loop_fd inotify;
	struct loop_timer settle, look;
};

static void
scan_in(struct files *files, int64_t delay_ns)
{
	int64_t at_ns = loop_now_ns(files->loop) + delay_ns;

	/*
	 * Not put off by each further event, or a busy writer could keep it from ever being read.
	 */
	if (!files->settle.set || at_ns < files->settle.at_ns)
		loop_timer_set(files->loop, &files->settle, at_ns);
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A file server's clock may be ahead of ours, but not for ever. */
static bool
is_fresh(const struct files *files, const struct file *file)
{
	const struct timespec *written = &file->seen.st_mtim;
	int64_t age_ns =
	    loop_real_ns(files->loop) - (written->tv_sec * NS_PER_S + written->tv_nsec);

	return age_ns < FRESH_NS && age_ns > -FRESH_NS;
}

static int
read_all(int fd, size_t max, struct buf *text, struct err *err)
{
	for (;;) {
		ssize_t got;

		if (text->len > max) {
			err_set(err, ERR_LIMIT, "larger than %zu MiB", max >> 20);
			return -1;
		}
		if (!buf_reserve(text, READ_BYTES)) {
			err_nomem(err);
			return -1;
		}
		got = read(fd, text->p + text->len, text->cap - text->len);
		if (got == 0)
			return 0;
		if (got > 0) {
			text->len += (size_t)got;
		} else if (errno != EINTR) {
			err_errno(err, errno, "read");
			return -1;
		}
	}
}

int
file_read(const char *path, size_t max, struct buf *text, struct err *err)
{
	/* Not blocking, so that a named pipe does not stop us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc = -1;

	if (fd < 0 && errno == ENOENT)
		err_set(err, ERR_NOTFOUND, "no such file");
	else if (fd < 0 || fstat(fd, &st) != 0)
		err_errno(err, errno, "open");
	else if (!S_ISREG(st.st_mode))
		err_set(err, ERR_IO, "not a file");
	else
		rc = read_all(fd, max, text, err);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* One file's good and bad times. */

static void
complain(struct files *files, struct file *file, const struct err *err)
{
	bool names_file = str_starts(str_of(err->text), str_of(file->path));

	files->user.failed(files->user.ctx);
	if (file->in_trouble)
		return;
	file->in_trouble = true;
	if (err->code == ERR_NOTFOUND && !file->told)
		log_info("fleet", "%s not there yet: file=%s", files->user.what, file->path);
	else
		log_error("fleet", "%s %s%s%s; %s", files->user.what, names_file ? "" : file->path,
		    names_file ? "" : ": ", err->text,
		    file->told ? "its last good list stays" : "it has given no list yet");
}

static void
note_good(struct files *files, struct file *file)
{
	if (file->in_trouble)
		log_info("fleet", "%s is good again: file=%s", files->user.what, file->path);
	file->in_trouble = false;
}

/* Reads and tells the file if its bytes are others, or anew. */
static int
tell(struct files *files, struct file *file, bool anew, struct err *err)
{
	struct buf text;
	uint64_t hash;
	int rc;

	buf_init(&text, 0);
	rc = file_read(file->path, files->user.bytes_max, &text, err);
	if (rc == 0) {
		hash = hash_bytes(buf_view(&text));
		if (anew || !file->told || hash != file->hash)
			rc = files->user.take(files->user.ctx, file->path, buf_view(&text), err);
		else if (files->user.confirm != NULL)
			files->user.confirm(files->user.ctx);
		if (rc == 0) {
			file->hash = hash;
			file->told = true;
		}
	}
	buf_fini(&text);
	return rc;
}

static void
read_file(struct files *files, struct file *file, bool anew)
{
	struct err err;

	file->again = false;
	if (tell(files, file, anew, &err) == 0) {
		note_good(files, file);
		if (is_fresh(files, file)) {
			file->again = true;
			scan_in(files, FRESH_NS);
		}
		return;
	}
	if (err.code == ERR_NOMEM) {
		file->again = true;
		scan_in(files, NOMEM_RETRY_NS);
	} else if (is_fresh(files, file)) {
		file->again = true;
		scan_in(files, FRESH_RETRY_NS);
		if (!file->in_trouble)
			return; /* it may be good in a moment */
	}
	complain(files, file, &err);
}

/* Which files there are. */

/* The file's place in the list, or where it belongs. */
static struct file **
find(struct file **from, const char *path)
{
	while (*from != NULL && strcmp((*from)->path, path) < 0)
		from = &(*from)->next;
	return from;
}

static struct file *
file_new(struct files *files, struct file **at, const char *path)
{
	size_t bytes = strlen(path) + 1;
	struct file *file = calloc(1, sizeof(*file) + bytes);

	if (file == NULL) {
		scan_in(files, NOMEM_RETRY_NS);
		return NULL;
	}
	memcpy(file->path, path, bytes);
	file->next = *at;
	*at = file;
	files->file_count++;
	return file;
}

static void
look_at_file(struct files *files, struct file *file, bool anew)
{
	struct stat now;

	if (stat(file->path, &now) != 0)
		memset(&now, 0, sizeof(now));
	if (!anew && !file->again && same_file(&now, &file->seen))
		return;
	file->seen = now;
	read_file(files, file, anew);
}

static void
note_too_many(struct files *files, const char *pattern)
{
	if (!files->too_many)
		log_error("fleet", "more than %d files, the rest is left out: pattern=%s",
		    FILES_COUNT_MAX, pattern);
	files->too_many = true;
}

/* Notes which files a pattern finds; they come sorted. */
static void
find_files(struct files *files, const char *pattern)
{
	struct file **at = &files->list;
	glob_t found;
	int rc = glob(pattern, 0, NULL, &found);

	for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
		/* glob sorts by the locale's order. */
		if (i > 0 && strcmp(found.gl_pathv[i - 1], found.gl_pathv[i]) > 0)
			at = &files->list;
		at = find(at, found.gl_pathv[i]);
		if (*at == NULL || strcmp((*at)->path, found.gl_pathv[i]) != 0) {
			if (files->file_count >= FILES_COUNT_MAX) {
				note_too_many(files, pattern);
				break;
			}
			if (file_new(files, at, found.gl_pathv[i]) == NULL)
				break;
		}
		(*at)->found = true;
	}
	if (rc == GLOB_NOSPACE)
		scan_in(files, NOMEM_RETRY_NS);
	globfree(&found);
}

static void
find_literal(struct files *files, const char *path)
{
	struct file **at = find(&files->list, path);

	if (*at == NULL || strcmp((*at)->path, path) != 0)
		file_new(files, at, path);
	if (*at != NULL && strcmp((*at)->path, path) == 0)
		(*at)->found = true;
}

/* One that was there and is not found any more. */
static void
note_gone(struct files *files, struct file *file)
{
	struct err err;

	if (file->seen.st_ino == 0)
		return;
	memset(&file->seen, 0, sizeof(file->seen));
	err_set(&err, ERR_NOTFOUND, "no such file");
	complain(files, file, &err);
}

/* What a directory's name stands for may be another one by now. */
static void
watch_dirs(struct files *files, const char *dir)
{
	const uint32_t mask =
	    IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM;
	glob_t found;

	if (files->inotify.fd < 0)
		return;
	if (files->literal) {
		(void)inotify_add_watch(files->inotify.fd, dir, mask);
		return;
	}
	if (glob(dir, GLOB_ONLYDIR, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			(void)inotify_add_watch(files->inotify.fd, found.gl_pathv[i], mask);
	}
	globfree(&found);
}

void
files_scan(struct files *files, bool anew)
{
	/* Watched first, so that no change between the two is missed. */
	for (size_t i = 0; i < files->pattern_count; i++)
		watch_dirs(files, files->dirs[i]);
	for (struct file *file = files->list; file != NULL; file = file->next)
		file->found = false;
	for (size_t i = 0; i < files->pattern_count; i++) {
		if (files->literal)
			find_literal(files, files->patterns[i]);
		else
			find_files(files, files->patterns[i]);
	}
	for (struct file *file = files->list; file != NULL; file = file->next) {
		if (file->found)
			look_at_file(files, file, anew);
		else
			note_gone(files, file);
	}
}

void
files_forget_gone(struct files *files)
{
	struct file **at = &files->list;

	while (*at != NULL) {
		struct file *file = *at;

		if (file->seen.st_ino != 0 || files->literal) {
			at = &file->next;
			continue;
		}
		*at = file->next;
		if (file->told && files->user.dropped != NULL)
			files->user.dropped(files->user.ctx, file->path);
		files->file_count--;
		free(file);
	}
}

/* Events. */

static void
scan_locked(struct files *files)
{
	lock_take(files->lock);
	files_scan(files, false);
	lock_drop(files->lock);
}

static void
on_settled(struct loop_timer *timer)
{
	scan_locked(CONTAINER_OF(timer, struct files, settle));
}

static void
on_look(struct loop_timer *timer)
{
	struct files *files = CONTAINER_OF(timer, struct files, look);

	scan_locked(files);
	loop_timer_set(files->loop, &files->look, loop_now_ns(files->loop) + LOOK_NS);
}

static void
on_inotify(struct loop_fd *fd, unsigned events)
{
	struct files *files = CONTAINER_OF(fd, struct files, inotify);
	_Alignas(struct inotify_event) char text[4096];

	(void)events;
	/* Which file it is does not matter: a scan costs a stat each. */
	while (read(fd->fd, text, sizeof(text)) > 0)
		;
	scan_in(files, SETTLE_NS);
}

/* -1 with err: then looking has to do. */
static int
open_inotify(struct files *files, struct err *err)
{
	files->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (files->inotify.fd < 0) {
		err_errno(err, errno, "inotify");
		return -1;
	}
	return loop_fd_add(files->loop, &files->inotify, LOOP_READ, err);
}

/* The directory part of a path, on the heap. */
static char *
dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL   ? strdup(".")
	       : slash == path ? strdup("/")
	                       : strndup(path, (size_t)(slash - path));
}

static int
copy_patterns(struct files *files, const struct str *patterns, size_t n)
{
	files->patterns = calloc(n + 1, sizeof(char *));
	files->dirs = calloc(n + 1, sizeof(char *));
	if (files->patterns == NULL || files->dirs == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		files->pattern_count++;
		files->patterns[i] = str_dup(patterns[i]);
		if (files->patterns[i] == NULL)
			return -1;
		files->dirs[i] = dir_of(files->patterns[i]);
		if (files->dirs[i] == NULL)
			return -1;
	}
	return 0;
}

struct files *
files_new(struct loop *loop, struct lock *lock, const struct str *patterns, size_t n, bool literal,
    const struct files_user *user, struct err *err)
{
	struct files *files = calloc(1, sizeof(*files));

	if (files == NULL) {
		err_nomem(err);
		return NULL;
	}
	files->loop = loop;
	files->lock = lock;
	files->user = *user;
	files->literal = literal;
	files->settle.fn = on_settled;
	files->look.fn = on_look;
	files->inotify = (struct loop_fd){ .fd = -1, .fn = on_inotify };
	if (copy_patterns(files, patterns, n) != 0) {
		err_nomem(err);
		files_free(files);
		return NULL;
	}
	if (open_inotify(files, err) != 0)
		log_warn("fleet", "%s is looked at every %d s: error=\"%s\"", user->what,
		    (int)(LOOK_NS / NS_PER_S), err->text);
	loop_timer_set(loop, &files->look, loop_now_ns(loop) + LOOK_NS);
	return files;
}

void
files_free(struct files *files)
{
	struct file *file;

	if (files == NULL)
		return;
	loop_timer_clear(files->loop, &files->settle);
	loop_timer_clear(files->loop, &files->look);
	loop_fd_del(files->loop, &files->inotify);
	if (files->inotify.fd >= 0)
		close(files->inotify.fd);
	while ((file = files->list) != NULL) {
		files->list = file->next;
		free(file);
	}
	for (size_t i = 0; i < files->pattern_count; i++) {
		free(files->patterns[i]);
		free(files->dirs[i]);
	}
	free(files->patterns);
	free(files->dirs);
	free(files);
}
