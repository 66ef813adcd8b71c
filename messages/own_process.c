#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "messages/own_priv.h"

#define GROUP_MEMORY 1
#define GROUP_USAGE  2

/* What the readers below share. They run with the registry locked, so one at a time. */
struct process {
	struct own_block block;
	int64_t start_ns;
	int64_t fd_count;      /* when last counted */
	uint64_t memory_bytes; /* when last read */
	struct str name, args; /* in text */
	char text[];
};

static struct value
read_name(void *ctx, struct arena *arena)
{
	const struct process *p = ctx;

	(void)arena;
	return (struct value){ .s = p->name };
}

static struct value
read_args(void *ctx, struct arena *arena)
{
	const struct process *p = ctx;

	(void)arena;
	return (struct value){ .s = p->args };
}

static struct value
read_start_time(void *ctx, struct arena *arena)
{
	const struct process *p = ctx;

	(void)arena;
	return (struct value){ .i = p->start_ns };
}

/* -1 if they can't be counted. */
static int64_t
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int64_t n = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}

/* When descriptors have run out there is none to count them with: the last count stands. */
static struct value
read_fd_count(void *ctx, struct arena *arena)
{
	struct process *p = ctx;
	int64_t n = count_fds();

	(void)arena;
	if (n >= 0)
		p->fd_count = n;
	return (struct value){ .i = p->fd_count };
}

/* The resident set, as statm tells it in pages. What was read last stands in when it can't be. */
static struct value
read_memory(void *ctx, struct arena *arena)
{
	struct process *p = ctx;
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages;

	(void)arena;
	if (f != NULL) {
		if (fscanf(f, "%*s %llu", &pages) == 1)
			p->memory_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
		fclose(f);
	}
	return (struct value){ .u = p->memory_bytes };
}

static struct rusage
usage(void)
{
	struct rusage u = { .ru_minflt = 0 };

	getrusage(RUSAGE_SELF, &u); /* fails only for a bad address */
	return u;
}

static int64_t
nanoseconds(struct timeval t)
{
	return t.tv_sec * NS_PER_S + t.tv_usec * NS_PER_US;
}

/* A reader of one number that getrusage tells, in terms of u. */
#define USAGE_READER(name, number)                                                                 \
	static struct value read_##name(void *ctx, struct arena *arena)                            \
	{                                                                                          \
		struct rusage u = usage();                                                         \
                                                                                                   \
		(void)ctx;                                                                         \
		(void)arena;                                                                       \
		return (struct value){ .i = (number) };                                            \
	}

USAGE_READER(cpu_user, nanoseconds(u.ru_utime))
USAGE_READER(cpu_system, nanoseconds(u.ru_stime))
USAGE_READER(max_resident, u.ru_maxrss * 1024)
USAGE_READER(shared, u.ru_ixrss * 1024)
USAGE_READER(unshared_data, u.ru_idrss * 1024)
USAGE_READER(unshared_stack, u.ru_isrss * 1024)
USAGE_READER(soft_faults, u.ru_minflt)
USAGE_READER(hard_faults, u.ru_majflt)
USAGE_READER(swaps, u.ru_nswap)
USAGE_READER(input, u.ru_inblock)
USAGE_READER(output, u.ru_oublock)
USAGE_READER(ipc_sent, u.ru_msgsnd)
USAGE_READER(ipc_received, u.ru_msgrcv)
USAGE_READER(signals, u.ru_nsignals)
USAGE_READER(voluntary, u.ru_nvcsw)
USAGE_READER(involuntary, u.ru_nivcsw)

/* Paths, texts and groups are tricorder's. */
static const struct own_metric rows[] = {
	{ "/proc/args", "Program args", UNIT_NONE, KIND_STRING, 0, read_args },
	{ "/proc/name", "Program name", UNIT_NONE, KIND_STRING, 0, read_name },
	{ "/proc/start-time", "Program start time", UNIT_NONE, KIND_TIME, 0, read_start_time },
	{ "/proc/cpu/user", "User CPU time used", UNIT_SECONDS, KIND_DURATION, GROUP_USAGE,
	    read_cpu_user },
	{ "/proc/cpu/sys", "User CPU time used", UNIT_SECONDS, KIND_DURATION, GROUP_USAGE,
	    read_cpu_system },
	{ "/proc/memory/total", "System memory currently allocated to process", UNIT_BYTES,
	    KIND_UINT64, GROUP_MEMORY, read_memory },
	{ "/proc/memory/max-resident-set-size", "Maximum resident set size", UNIT_BYTES, KIND_INT64,
	    GROUP_USAGE, read_max_resident },
	{ "/proc/memory/shared", "Integral shared memory size", UNIT_BYTES, KIND_INT64, GROUP_USAGE,
	    read_shared },
	{ "/proc/memory/unshared-data", "Integral unshared data size", UNIT_BYTES, KIND_INT64,
	    GROUP_USAGE, read_unshared_data },
	{ "/proc/memory/unshared-stack", "Integral unshared stack size", UNIT_BYTES, KIND_INT64,
	    GROUP_USAGE, read_unshared_stack },
	{ "/proc/memory/soft-page-fault", "Soft page faults", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_soft_faults },
	{ "/proc/memory/hard-page-fault", "Hard page faults", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_hard_faults },
	{ "/proc/memory/swaps", "Swaps", UNIT_NONE, KIND_INT64, GROUP_USAGE, read_swaps },
	{ "/proc/io/input", "Block input operations", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_input },
	{ "/proc/io/output", "Block output operations", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_output },
	{ "/proc/ipc/sent", "IPC messages sent", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_ipc_sent },
	{ "/proc/ipc/received", "IPC messages received", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_ipc_received },
	{ "/proc/signals/received", "Signals received", UNIT_NONE, KIND_INT64, GROUP_USAGE,
	    read_signals },
	{ "/proc/scheduler/voluntary-switches", "Voluntary context switches", UNIT_NONE, KIND_INT64,
	    GROUP_USAGE, read_voluntary },
	{ "/proc/scheduler/involuntary-switches", "Involuntary context switches", UNIT_NONE,
	    KIND_INT64, GROUP_USAGE, read_involuntary },
	/* Last, as it is left out where it can't be read. */
	{ "/proc/io/num-open-file-descriptors", "Number of open file descriptors", UNIT_NONE,
	    KIND_INT64, 0, read_fd_count },
};

/* Arguments are any bytes, strings of metrics are UTF-8: what is not becomes U+FFFD. */
static void
add_utf8(struct buf *out, struct str s)
{
	while (s.len > 0) {
		size_t n = utf8_valid_prefix(s.p, s.len);

		buf_add(out, s.p, n);
		if (n < s.len) {
			buf_puts(out, "\uFFFD");
			n++;
		}
		s = str_sub(s, n, SIZE_MAX);
	}
}

static struct process *
process_new(int argc, char **argv)
{
	struct process *p = NULL;
	struct buf text;
	size_t name_len;

	buf_init(&text, 0);
	if (argc > 0)
		add_utf8(&text, str_of(argv[0]));
	name_len = text.len;
	for (int i = 1; i < argc; i++) {
		if (i > 1)
			buf_putc(&text, '|');
		add_utf8(&text, str_of(argv[i]));
	}
	if (!text.failed)
		p = malloc(sizeof(*p) + text.len);
	if (p != NULL) {
		*p = (struct process){ .start_ns = clock_real_ns() };
		if (text.len > 0)
			memcpy(p->text, text.p, text.len);
		p->name = (struct str){ p->text, name_len };
		p->args = (struct str){ p->text + name_len, text.len - name_len };
	}
	buf_fini(&text);
	return p;
}

int
own_add_process(struct own *own, int argc, char **argv, struct err *err)
{
	size_t n = count_fds() >= 0 ? ARRAY_LEN(rows) : ARRAY_LEN(rows) - 1;
	struct process *p = process_new(argc, argv);

	if (p == NULL) {
		err_nomem(err);
		return -1;
	}
	if (own_add(own, rows, n, p, err) != 0) {
		free(p);
		return -1;
	}
	own_keep(own, &p->block);
	return 0;
}
