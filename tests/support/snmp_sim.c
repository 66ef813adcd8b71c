/*
 * snmp_sim - many SNMP agents (v1, v2c) in one process, for scottyd to poll: good ones and bad
 * ones.
 *
 * One socket serves all of them: agent i is at 127.1.0.0 + i, port -base. All have the system group
 * and an ifTable of -rows rows and ten columns, whose counters rise with time. The good agents come
 * first; the bad ones of each flag follow in the order of the help text. It prints "ready", runs
 * until SIGTERM, and then says how well each kind was polled.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/loop.h"
#include "lateness.h"
#include "sources/snmp_message_priv.h"

#define FIRST_ADDRESS  0x7f010000u /* 127.1.0.0 */
#define AT_ONCE        64          /* datagrams a system call */
#define DATAGRAM_BYTES 2048
#define ANSWER_BYTES   65000
#define VARBIND_BYTES  160
#define VALUE_BYTES    100

enum behaviour {
	GOOD,
	DEAD,
	LOSSY,
	TOO_BIG,
	SILENT,
	LOOPING,
	ENDLESS,
	GARBAGE,
	GENERR,
	REBOOT,
	BEHAVIOUR_COUNT
};

static const struct {
	const char *name, *help;
} behaviours[] = {
	[GOOD] = { "good", NULL },
	[DEAD] = { "dead", "never answer" },
	[LOSSY] = { "lossy", "leave every fifth request without an answer" },
	[TOO_BIG] = { "toobig", "answer tooBig to more than three repetitions" },
	[SILENT] = { "silent", "do not answer more than three repetitions" },
	[LOOPING] = { "looping", "go back to the first object after ten" },
	[ENDLESS] = { "endless", "have a table without end" },
	[GARBAGE] = { "garbage", "answer what is no SNMP" },
	[GENERR] = { "generr", "answer genErr to what is beyond the system group" },
	[REBOOT] = { "reboot", "start sysUpTime anew every other second" },
};

struct options {
	int64_t n, rows, base, interval_ns;
	const char *config; /* NULL = write none */
	int64_t bad[BEHAVIOUR_COUNT];
};

/* One object: its name and its varbind, ready to be sent. */
struct object {
	struct snmp_oid_room name;
	uint8_t bytes[VARBIND_BYTES];
	size_t len;
	size_t counter_at; /* of four bytes that rise; 0 = none */
};

struct agent {
	enum behaviour behaviour;
	uint64_t requests, polls;
	int64_t polled_ns; /* start of the last poll */
	struct lateness lateness;
};

struct sim {
	struct options options;
	struct loop *loop;
	struct loop_fd socket, signals;
	struct agent *agents;
	struct object *objects;
	size_t object_count, uptime;
	uint64_t requests, varbinds;
	int64_t began_ns;

	struct mmsghdr in[AT_ONCE];
	struct iovec in_vec[AT_ONCE];
	struct sockaddr_in from[AT_ONCE];
	uint8_t in_bytes[AT_ONCE][DATAGRAM_BYTES];
	char in_control[AT_ONCE][CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void
die(const char *what)
{
	fprintf(stderr, "snmp_sim: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* BER, written forwards with lengths of two bytes where they are not known to be short. */

static size_t
put_tlv(uint8_t *out, unsigned tag, const void *content, size_t len)
{
	size_t at = 0;

	out[at++] = (uint8_t)tag;
	if (len >= 0x80)
		out[at++] = 0x81;
	out[at++] = (uint8_t)len;
	memcpy(out + at, content, len);
	return at + len;
}

static size_t
put_oid(uint8_t *out, struct snmp_oid oid)
{
	uint8_t content[VARBIND_BYTES];
	size_t len = 0;

	content[len++] = (uint8_t)(oid.ids[0] * 40 + oid.ids[1]);
	for (size_t i = 2; i < oid.len; i++) {
		for (int shift = 28; shift > 0; shift -= 7) {
			if (oid.ids[i] >> shift != 0)
				content[len++] = (uint8_t)(0x80 | (oid.ids[i] >> shift & 0x7f));
		}
		content[len++] = oid.ids[i] & 0x7f;
	}
	return put_tlv(out, SNMP_OID, content, len);
}

static size_t
put_varbind(uint8_t *out, struct snmp_oid name, unsigned tag, const void *value, size_t len)
{
	uint8_t content[VARBIND_BYTES];
	size_t used = put_oid(content, name);

	used += put_tlv(content + used, tag, value, len);
	return put_tlv(out, 0x30, content, used);
}

static void
add_object(
    struct sim *sim, const char *oid, unsigned row, unsigned tag, const void *value, size_t len)
{
	struct object *object = &sim->objects[sim->object_count++];

	if (!snmp_oid_parse(str_of(oid), &object->name))
		abort();
	object->name.ids[object->name.len++] = row;
	object->len = put_varbind(object->bytes, snmp_oid_of(&object->name), tag, value, len);
	if (tag == SNMP_COUNTER32 || tag == SNMP_TIMETICKS)
		object->counter_at = object->len - 4;
}

static void
add_text(struct sim *sim, const char *oid, unsigned row, const char *text)
{
	add_object(sim, oid, row, SNMP_OCTETS, text, strlen(text));
}

static void
add_number(struct sim *sim, const char *oid, unsigned row, unsigned tag, uint32_t number)
{
	uint32_t bytes = htonl(number);

	add_object(sim, oid, row, tag, &bytes, sizeof(bytes));
}

static void
add_interfaces(struct sim *sim)
{
	static const struct {
		const char *oid;
		unsigned tag;
		uint32_t value;
	} columns[] = {
		{ "1.3.6.1.2.1.2.2.1.4", SNMP_INTEGER, 1500 },
		{ "1.3.6.1.2.1.2.2.1.5", SNMP_GAUGE32, 1000000000 },
		{ "1.3.6.1.2.1.2.2.1.8", SNMP_INTEGER, 1 },
		{ "1.3.6.1.2.1.2.2.1.10", SNMP_COUNTER32, 0 },
		{ "1.3.6.1.2.1.2.2.1.11", SNMP_COUNTER32, 0 },
		{ "1.3.6.1.2.1.2.2.1.14", SNMP_COUNTER32, 0 },
		{ "1.3.6.1.2.1.2.2.1.16", SNMP_COUNTER32, 0 },
		{ "1.3.6.1.2.1.2.2.1.17", SNMP_COUNTER32, 0 },
		{ "1.3.6.1.2.1.2.2.1.20", SNMP_COUNTER32, 0 },
	};
	unsigned rows = (unsigned)sim->options.rows;
	char name[32];

	for (unsigned row = 1; row <= rows; row++) {
		snprintf(name, sizeof(name), "GigabitEthernet0/%u", row);
		add_text(sim, "1.3.6.1.2.1.2.2.1.2", row, name);
	}
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		for (unsigned row = 1; row <= rows; row++)
			add_number(sim, columns[i].oid, row, columns[i].tag, columns[i].value);
	}
}

static void
make_objects(struct sim *sim)
{
	uint8_t object_id[] = { 0x2b, 6, 1, 4, 1, 0xbf, 0x08, 3, 2, 10 };

	sim->objects = calloc(16 + 10 * (size_t)sim->options.rows, sizeof(*sim->objects));
	if (sim->objects == NULL)
		die("objects");
	add_text(sim, "1.3.6.1.2.1.1.1", 0, "A simulated switch");
	add_object(sim, "1.3.6.1.2.1.1.2", 0, SNMP_OID, object_id, sizeof(object_id));
	sim->uptime = sim->object_count;
	add_number(sim, "1.3.6.1.2.1.1.3", 0, SNMP_TIMETICKS, 0);
	add_text(sim, "1.3.6.1.2.1.1.4", 0, "nobody");
	add_text(sim, "1.3.6.1.2.1.1.5", 0, "switch");
	add_text(sim, "1.3.6.1.2.1.1.6", 0, "nowhere");
	add_interfaces(sim);
}

/* The first object after name, or, at = true, name itself. object_count if there is none. */
static size_t
find(const struct sim *sim, struct snmp_oid name, bool at)
{
	size_t low = 0, high = sim->object_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (snmp_oid_cmp(snmp_oid_of(&sim->objects[middle].name), name) <= (at ? -1 : 0))
			low = middle + 1;
		else
			high = middle;
	}
	if (at && (low == sim->object_count ||
	              snmp_oid_cmp(snmp_oid_of(&sim->objects[low].name), name) != 0))
		return sim->object_count;
	return low;
}

struct answer {
	uint8_t bytes[ANSWER_BYTES];
	size_t len;
	int32_t status, index;
};

static void
answer_object(struct sim *sim, const struct agent *agent, struct answer *a, size_t i)
{
	const struct object *object = &sim->objects[i];
	int64_t elapsed_ns = loop_now_ns(sim->loop) - sim->began_ns;
	uint32_t number = htonl(0x40000000u + (uint32_t)(elapsed_ns / (10 * NS_PER_MS)));

	if (agent->behaviour == REBOOT && i == sim->uptime)
		number = htonl((uint32_t)(elapsed_ns % (2 * NS_PER_S) / (10 * NS_PER_MS)));
	memcpy(a->bytes + a->len, object->bytes, object->len);
	if (object->counter_at != 0)
		memcpy(a->bytes + a->len + object->counter_at, &number, 4);
	a->len += object->len;
	sim->varbinds++;
}

static void
answer_none(struct answer *a, struct snmp_oid name, enum snmp_type type)
{
	a->len += put_varbind(a->bytes + a->len, name, type, "", 0);
}

/* The successor of the name, which it becomes. False at the end of the MIB. */
static bool
answer_next(
    struct sim *sim, const struct agent *agent, struct answer *a, struct snmp_oid_room *name)
{
	size_t i;

	if (a->len + VARBIND_BYTES > ANSWER_BYTES)
		return false;
	i = find(sim, snmp_oid_of(name), false);
	if (agent->behaviour == LOOPING && i == 10)
		i = 5;
	if (agent->behaviour == GENERR && i > 5) {
		a->status = 5;
		a->index = 1;
	}
	if (agent->behaviour == ENDLESS && i >= 10) {
		struct snmp_oid_room *last = &sim->objects[10].name;

		if (!snmp_oid_is_under(snmp_oid_of(name), snmp_oid_of(last)))
			snmp_oid_keep(name, snmp_oid_of(last));
		if (name->len == last->len)
			name->ids[name->len++] = 0;
		name->ids[name->len - 1]++;
		a->len += put_varbind(a->bytes + a->len, snmp_oid_of(name), SNMP_INTEGER, "\1", 1);
		return true;
	}
	if (i == sim->object_count) {
		answer_none(a, snmp_oid_of(name), SNMP_END_OF_MIB_VIEW);
		return false;
	}
	answer_object(sim, agent, a, i);
	snmp_oid_keep(name, snmp_oid_of(&sim->objects[i].name));
	return true;
}

static void
answer_varbinds(struct sim *sim, const struct agent *agent, const struct snmp_message *request,
    struct answer *a)
{
	static struct snmp_oid_room names[128];
	static struct snmp_varbind_room room;
	struct str rest = request->varbinds;
	struct snmp_varbind varbind;
	const char *why;
	size_t count = 0;

	while (count < ARRAY_LEN(names) &&
	       snmp_read_varbind(&rest, &varbind, &room, &why) == SNMP_READ_ONE)
		snmp_oid_keep(&names[count++], varbind.name);
	if (request->pdu == SNMP_PDU_GETBULK) {
		bool more = true;

		for (size_t i = 0; i < count && (int64_t)i < request->status; i++)
			answer_next(sim, agent, a, &names[i]);
		for (int64_t n = 0; n < request->index && more; n++) {
			more = false;
			for (size_t i = (size_t)request->status; i < count; i++)
				more |= answer_next(sim, agent, a, &names[i]);
		}
		return;
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = find(sim, snmp_oid_of(&names[i]), true);

		if (request->pdu == SNMP_PDU_GETNEXT) {
			size_t before = a->len;

			if (answer_next(sim, agent, a, &names[i]) || request->version != SNMP_V1)
				continue;
			a->len = before;
		} else if (at < sim->object_count) {
			answer_object(sim, agent, a, at);
			continue;
		} else if (request->version != SNMP_V1) {
			answer_none(a, snmp_oid_of(&names[i]), SNMP_NO_SUCH_INSTANCE);
			continue;
		}
		a->status = SNMP_ERR_NO_SUCH_NAME;
		a->index = (int32_t)i + 1;
		a->len = 0;
		return;
	}
}

static size_t
put_long(uint8_t *out, unsigned tag, size_t len)
{
	out[0] = (uint8_t)tag;
	out[1] = 0x82;
	out[2] = (uint8_t)(len >> 8);
	out[3] = (uint8_t)len;
	return 4;
}

static size_t
put_int32(uint8_t *out, int32_t value)
{
	uint32_t bytes = htonl((uint32_t)value);

	return put_tlv(out, SNMP_INTEGER, &bytes, sizeof(bytes));
}

/* Sends what a holds as the answer to the request, from the address it was sent to. */
static void
send_answer(struct sim *sim, const struct msghdr *to, const struct snmp_message *request,
    const struct answer *a)
{
	uint8_t head[300], numbers[64];
	size_t numbers_len = 0, len = 4;
	struct iovec vec[2];
	struct msghdr message = *to;

	numbers_len += put_int32(numbers, request->id);
	numbers_len += put_int32(numbers + numbers_len, a->status);
	numbers_len += put_int32(numbers + numbers_len, a->index);
	numbers_len += put_long(numbers + numbers_len, 0x30, a->len);
	len += put_int32(head + len, (int32_t)request->version);
	len += put_tlv(head + len, SNMP_OCTETS, request->community.p, request->community.len);
	len += put_long(head + len, SNMP_PDU_RESPONSE, numbers_len + a->len);
	memcpy(head + len, numbers, numbers_len);
	len += numbers_len;
	put_long(head, 0x30, len - 4 + a->len);
	vec[0] = (struct iovec){ head, len };
	vec[1] = (struct iovec){ (void *)(uintptr_t)a->bytes, a->len };
	message.msg_iov = vec;
	message.msg_iovlen = 2;
	sendmsg(sim->socket.fd, &message, MSG_DONTWAIT);
}

static void
count_poll(struct sim *sim, struct agent *agent)
{
	int64_t now = loop_now_ns(sim->loop), interval = sim->options.interval_ns;

	agent->requests++;
	sim->requests++;
	if (agent->polled_ns != 0 && now - agent->polled_ns < interval / 2)
		return;
	if (agent->polled_ns != 0)
		lateness_add(&agent->lateness, now - agent->polled_ns - interval);
	agent->polled_ns = now;
	agent->polls++;
}

static struct agent *
agent_at(struct sim *sim, struct msghdr *message)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	struct in_pktinfo info;
	uint32_t number;

	if (control == NULL)
		return NULL;
	memcpy(&info, CMSG_DATA(control), sizeof(info));
	number = ntohl(info.ipi_addr.s_addr) - FIRST_ADDRESS;
	/* The answer leaves from there, whatever interface that is. */
	info.ipi_spec_dst = info.ipi_addr;
	info.ipi_ifindex = 0;
	memcpy(CMSG_DATA(control), &info, sizeof(info));
	return number < (uint32_t)sim->options.n ? &sim->agents[number] : NULL;
}

static void
serve(struct sim *sim, struct msghdr *message, size_t len)
{
	static struct answer answer;
	struct agent *agent = agent_at(sim, message);
	struct snmp_message request;
	bool many;

	if (agent == NULL ||
	    !snmp_decode((struct str){ message->msg_iov->iov_base, len }, &request))
		return;
	count_poll(sim, agent);
	many = request.pdu == SNMP_PDU_GETBULK && request.index > 3;
	answer.len = 0;
	answer.status = answer.index = 0;
	if (agent->behaviour == DEAD || (agent->behaviour == SILENT && many) ||
	    (agent->behaviour == LOSSY && agent->requests % 5 == 4))
		return;
	if (agent->behaviour == GARBAGE) {
		sendto(sim->socket.fd, "\x30\x03\x02\x01\x07", 5, MSG_DONTWAIT, message->msg_name,
		    message->msg_namelen);
		return;
	}
	if (agent->behaviour == TOO_BIG && many)
		answer.status = SNMP_ERR_TOO_BIG;
	else
		answer_varbinds(sim, agent, &request, &answer);
	if (answer.status != 0)
		answer.len = 0;
	send_answer(sim, message, &request, &answer);
}

static void
on_readable(struct loop_fd *h, unsigned events)
{
	struct sim *sim = CONTAINER_OF(h, struct sim, socket);
	int n;

	(void)events;
	for (size_t i = 0; i < AT_ONCE; i++) {
		sim->in_vec[i] = (struct iovec){ sim->in_bytes[i], DATAGRAM_BYTES };
		sim->in[i].msg_hdr = (struct msghdr){
			.msg_name = &sim->from[i],
			.msg_namelen = sizeof(sim->from[i]),
			.msg_iov = &sim->in_vec[i],
			.msg_iovlen = 1,
			.msg_control = sim->in_control[i],
			.msg_controllen = sizeof(sim->in_control[i]),
		};
	}
	n = recvmmsg(h->fd, sim->in, AT_ONCE, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		serve(sim, &sim->in[i].msg_hdr, sim->in[i].msg_len);
}

static void
on_signal(struct loop_fd *h, unsigned events)
{
	(void)events;
	loop_stop(CONTAINER_OF(h, struct sim, signals)->loop);
}

static void
open_socket(struct sim *sim)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)sim->options.base),
		.sin_addr.s_addr = htonl(INADDR_ANY),
	};
	int on = 1, room = 8 * 1024 * 1024;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) != 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("socket");
	sim->socket.fd = fd;
}

static void
listen_to_signals(struct sim *sim)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sim->signals.fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (sim->signals.fd < 0)
		die("signalfd");
}

static void
make_agents(struct sim *sim)
{
	size_t next = (size_t)sim->options.n;

	sim->agents = calloc((size_t)sim->options.n, sizeof(*sim->agents));
	if (sim->agents == NULL)
		die("agents");
	for (enum behaviour b = BEHAVIOUR_COUNT; b-- > GOOD + 1;) {
		for (int64_t i = 0; i < sim->options.bad[b] && next > 0; i++)
			sim->agents[--next].behaviour = b;
	}
}

static void
write_config(const struct sim *sim)
{
	FILE *f = fopen(sim->options.config, "w");

	if (f == NULL)
		die(sim->options.config);
	fprintf(f, "collection:\n  frequency: %gs\nendpoints:\n",
	    (double)sim->options.interval_ns / (double)NS_PER_S);
	for (int64_t i = 0; i < sim->options.n; i++) {
		uint32_t a = FIRST_ADDRESS + (uint32_t)i;

		fprintf(f,
		    "  - {host: agent%ld, app: snmp, address: 127.%u.%u.%u, port: %ld, source: "
		    "snmp,\n"
		    "     options: {community: public, walk: 1.3.6.1.2.1.2.2}}\n",
		    (long)i, a >> 16 & 0xff, a >> 8 & 0xff, a & 0xff, (long)sim->options.base);
	}
	if (fclose(f) != 0)
		die(sim->options.config);
}

static void
print_kind(const struct sim *sim, enum behaviour b)
{
	struct lateness all = { .count = 0 };
	uint64_t least = UINT64_MAX, polls = 0;

	for (int64_t i = 0; i < sim->options.n; i++) {
		const struct agent *agent = &sim->agents[i];

		if (agent->behaviour != b)
			continue;
		lateness_merge(&all, &agent->lateness);
		polls += agent->polls;
		least = agent->polls < least ? agent->polls : least;
	}
	if (least != UINT64_MAX)
		printf("all behaviour=%s polls=%llu least=%llu p99_ms=%.3f max_ms=%.3f\n",
		    behaviours[b].name, (unsigned long long)polls, (unsigned long long)least,
		    (double)lateness_quantile_us(&all, 99) / 1000, (double)all.max_us / 1000);
}

static void
print_statistics(const struct sim *sim)
{
	struct rusage usage;

	for (enum behaviour b = GOOD; b < BEHAVIOUR_COUNT; b++)
		print_kind(sim, b);
	getrusage(RUSAGE_SELF, &usage);
	printf("requests=%llu varbinds=%llu cpu_s=%.3f\n", (unsigned long long)sim->requests,
	    (unsigned long long)sim->varbinds,
	    (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	        (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

static void
usage(void)
{
	fprintf(stderr, "usage: snmp_sim -n AGENTS -base PORT [-rows ROWS] [-interval DURATION]\n"
	                "       [-write-config FILE] and of these bad agents so many:\n");
	for (enum behaviour b = GOOD + 1; b < BEHAVIOUR_COUNT; b++)
		fprintf(stderr, "  -%s N: %s\n", behaviours[b].name, behaviours[b].help);
	exit(2);
}

static int64_t *
number_flag(struct options *options, const char *flag)
{
	if (strcmp(flag, "-n") == 0)
		return &options->n;
	if (strcmp(flag, "-base") == 0)
		return &options->base;
	if (strcmp(flag, "-rows") == 0)
		return &options->rows;
	for (enum behaviour b = GOOD + 1; b < BEHAVIOUR_COUNT; b++) {
		if (flag[0] == '-' && strcmp(flag + 1, behaviours[b].name) == 0)
			return &options->bad[b];
	}
	return NULL;
}

static void
read_flags(struct options *options, char **argv)
{
	for (; argv[0] != NULL; argv += 2) {
		int64_t *number = number_flag(options, argv[0]);

		if (argv[1] == NULL)
			usage();
		if (number != NULL) {
			if (!str_to_i64(str_of(argv[1]), number))
				usage();
		} else if (strcmp(argv[0], "-write-config") == 0) {
			options->config = argv[1];
		} else if (strcmp(argv[0], "-interval") != 0 ||
		           !conf_parse_duration(str_of(argv[1]), &options->interval_ns)) {
			usage();
		}
	}
	if (options->n < 1 || options->n > 65000 || options->rows < 1 || options->rows > 10000 ||
	    options->base < 1 || options->base > 65535)
		usage();
}

int
main(int argc, char **argv)
{
	static struct sim sim = {
		.options = { .n = 1, .rows = 10, .interval_ns = 10 * NS_PER_S },
		.socket.fn = on_readable,
		.signals.fn = on_signal,
	};
	struct err err;

	(void)argc;
	read_flags(&sim.options, argv + 1);
	make_objects(&sim);
	make_agents(&sim);
	open_socket(&sim);
	listen_to_signals(&sim);
	if (sim.options.config != NULL)
		write_config(&sim);
	sim.loop = loop_new(&err);
	if (sim.loop == NULL || loop_fd_add(sim.loop, &sim.socket, LOOP_READ, &err) != 0 ||
	    loop_fd_add(sim.loop, &sim.signals, LOOP_READ, &err) != 0) {
		fprintf(stderr, "snmp_sim: %s\n", err.text);
		return 1;
	}
	sim.began_ns = loop_now_ns(sim.loop);
	printf("ready\n");
	fflush(stdout);
	loop_run(sim.loop);
	print_statistics(&sim);
	return 0;
}
