#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/conf_priv.h"

/* Reads the number a file of a control group holds; *least becomes it if that is less. */
static void
apply_limit(const char *path, uint64_t *least)
{
	char text[32];
	uint64_t limit;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text));
	close(fd);
	/* "max" in version 2, a number beyond all memory in version 1: no limit. */
	if (n > 0 && str_to_u64(str_trim((struct str){ text, (size_t)n }), &limit) &&
	    limit < *least)
		*least = limit;
}

/*
 * The limits of a group and of all above it, up to the mount's root. In a container the listed path
 * may be the host's, of which only the root exists here.
 */
static void
apply_group(const char *mount, struct str group, const char *file, uint64_t *least)
{
	char path[PATH_MAX];

	for (;;) {
		int n = snprintf(path, sizeof(path), "%s%.*s/%s", mount, STR_ARG(group), file);

		if (n > 0 && (size_t)n < sizeof(path))
			apply_limit(path, least);
		if (group.len == 0)
			return;
		while (group.len > 0 && group.p[--group.len] != '/')
			;
	}
}

static bool
lists_memory(struct str controllers)
{
	struct str part;

	while (str_split(&controllers, ',', &part)) {
		if (str_eq(part, STR("memory")))
			return true;
	}
	return false;
}

/* A line reads ID:CONTROLLERS:PATH; version 2 has no controllers there (cgroups(7)). */
static void
apply_line(struct str line, const char *sys_cgroup, uint64_t *least)
{
	struct str id, controllers, group;
	char mount[PATH_MAX];

	if (!str_split(&line, ':', &id) || !str_split(&line, ':', &controllers))
		return;
	group = str_eq(line, STR("/")) ? STR_EMPTY : line;
	if (controllers.len == 0) {
		apply_group(sys_cgroup, group, "memory.max", least);
	} else if (lists_memory(controllers)) {
		snprintf(mount, sizeof(mount), "%s/memory", sys_cgroup);
		apply_group(mount, group, "memory.limit_in_bytes", least);
	}
}

uint64_t
conf_cgroup_limit_bytes(const char *proc_cgroup, const char *sys_cgroup)
{
	uint64_t least = UINT64_MAX;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	FILE *f = fopen(proc_cgroup, "re");

	if (f == NULL)
		return least;
	while ((n = getline(&line, &cap, f)) > 0)
		apply_line(str_trim((struct str){ line, (size_t)n }), sys_cgroup, &least);
	free(line);
	fclose(f);
	return least;
}

uint64_t
conf_memory_bytes(void)
{
	uint64_t limit = conf_cgroup_limit_bytes("/proc/self/cgroup", "/sys/fs/cgroup");
	struct sysinfo info;
	uint64_t ram;

	/* Works where the sandbox hides /proc/meminfo. */
	if (sysinfo(&info) != 0)
		return limit;
	ram = (uint64_t)info.totalram * info.mem_unit;
	return ram < limit ? ram : limit;
}
