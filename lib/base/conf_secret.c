#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf_priv.h"

#define SECRET_BYTES_MAX (64 * 1024)

bool
conf_is_secret(const struct conf *node)
{
	const struct conf *only = node->first;

	if (node->shape != CONF_MAP)
		return node->shape == CONF_SCALAR;
	return only != NULL && only->next == NULL &&
	       (str_eq(only->key, STR("file")) || str_eq(only->key, STR("env"))) &&
	       only->shape == CONF_SCALAR && !conf_is_null(only) && only->text.len > 0;
}

static int
copy_secret(struct str secret, char **out, struct err *err)
{
	char *copy = str_dup(secret);

	if (copy == NULL) {
		err_nomem(err);
		return -1;
	}
	*out = copy;
	return 0;
}

/* Whatever the reason, the operator has to mend it. */
static int
file_failed(const char *path, struct err *err)
{
	err_errno(err, errno, "%s", path);
	err->code = ERR_CONFIG;
	return -1;
}

static int
check_file(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return file_failed(path, err);
	if (!S_ISREG(st.st_mode)) {
		err_set(err, ERR_CONFIG, "%s: not a regular file", path);
		return -1;
	}
	if ((st.st_mode & (S_IRGRP | S_IROTH)) != 0) {
		err_set(err, ERR_CONFIG,
		    "%s: group or others can read it (mode %04o); run: chmod 600 %s", path,
		    (unsigned)(st.st_mode & 07777), path);
		return -1;
	}
	return 0;
}

/* Reads until the end or until p is full; -1 with errno set. */
static ssize_t
read_all(int fd, char *p, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, p + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* What a file holds, one byte more than allowed at most. */
static int
take_contents(const char *path, struct str text, char **out, struct err *err)
{
	if (text.len > SECRET_BYTES_MAX) {
		err_set(err, ERR_CONFIG, "%s: longer than %d bytes", path, SECRET_BYTES_MAX);
		return -1;
	}
	if (memchr(text.p, '\0', text.len) != NULL) {
		err_set(err, ERR_CONFIG, "%s: holds a NUL byte", path);
		return -1;
	}
	if (str_ends(text, STR("\n")))
		text.len--;
	if (text.len == 0) {
		err_set(err, ERR_CONFIG, "%s: empty", path);
		return -1;
	}
	return copy_secret(text, out, err);
}

int
conf_secret_file(const char *path, char **out, struct err *err)
{
	char *p = malloc(SECRET_BYTES_MAX + 1);
	int fd = -1, rc = -1;
	ssize_t len;

	if (p == NULL) {
		err_nomem(err);
		return -1;
	}
	/* Not to wait for the other end, should it be a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		file_failed(path, err);
		goto out;
	}
	if (check_file(fd, path, err) != 0)
		goto out;
	len = read_all(fd, p, SECRET_BYTES_MAX + 1);
	if (len < 0)
		file_failed(path, err);
	else
		rc = take_contents(path, (struct str){ p, (size_t)len }, out, err);
out:
	if (fd >= 0)
		close(fd);
	explicit_bzero(p, SECRET_BYTES_MAX + 1);
	free(p);
	return rc;
}

static int
read_env(const char *name, char **out, struct err *err)
{
	const char *value = getenv(name);

	if (value == NULL || value[0] == '\0') {
		err_set(err, ERR_CONFIG, "environment variable %s is %s", name,
		    value == NULL ? "not set" : "empty");
		return -1;
	}
	return copy_secret(str_of(value), out, err);
}

int
conf_secret(const struct conf *map, const char *name, char **out, struct err *err)
{
	const struct conf *node = conf_child(map, name);
	char *secret = NULL;
	int rc;

	if (node == NULL) {
		*out = NULL;
		return 0;
	}
	if (!conf_is_secret(node)) {
		err_set(err, ERR_CONFIG, "wants a text, {file: PATH} or {env: NAME}");
		rc = -1;
	} else if (node->shape == CONF_SCALAR) {
		rc = copy_secret(node->text, &secret, err);
	} else if (str_eq(node->first->key, STR("file"))) {
		rc = conf_secret_file(node->first->text.p, &secret, err);
	} else {
		rc = read_env(node->first->text.p, &secret, err);
	}
	if (rc != 0)
		err_wrap(err, "%s", name);
	else
		*out = secret;
	return rc;
}

int
conf_secret_for(
    const struct conf *map, const char *name, bool deny_files, char **out, struct err *err)
{
	const struct conf *node = conf_child(map, name);

	if (deny_files && node != NULL && node->shape == CONF_MAP) {
		err_set(err, ERR_DENIED,
		    "%s: who registers from another host must write the secret itself", name);
		return -1;
	}
	return conf_secret(map, name, out, err);
}

void
conf_secret_free(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}
