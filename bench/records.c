// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * records state|text|json|ecs > FILE: 20 000 records of mixed kinds, the same in every run, through the
 * way from the ring buffer's bytes to those of lines, for a tool that counts instructions. Only
 * push_records() is to be counted. "state" is all but the formatting.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "names.h"
#include "nsmon.h"
#include "stream.h"

/* 2026-11-23T16:00:00Z */
#define BOOT_NS 1795449600000000000ULL

#define CYCLES 5000 /* of four records: fork, exec, ns, exit */
#define RECORDS (4 * CYCLES)
#define ALIVE 1000 /* tasks at once */
#define BATCH 256

struct ring {
	void *data[RECORDS];
	size_t count;
};

void push_records(struct stream *stream, const struct ring *ring);

static struct options options = {
	.events = EVENTS_ALL,
	.types = NSMON_NS_ALL,
	.reasons = (1 << NSMON_REASONS) - 2,
};
static struct kernel kernel = {
	.uname = { .release = "6.12.48", .machine = "x86_64", .nodename = "bench" },
	.boot_id = "6f1d1f3a-0000-4000-8000-0123456789ab",
};
static struct run run = { .options = &options, .kernel = &kernel, .backend = "fentry" };
static const uint32_t initial_inums[NSMON_NS_TYPES] = {
	4026531841U, 4026531838U, 4026531839U, 4026531840U, 4026531836U,
	4026531836U, 4026531837U, 4026531835U, 4026531834U, 4026531834U,
};
static uint64_t now = 1000000000;

/* In place of libc's: no run differs from another by the time of day. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t ns = clock == CLOCK_REALTIME ? BOOT_NS + now : now;

	ts->tv_sec = (time_t)(ns / 1000000000);
	ts->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "records: %s\n", what);
	exit(2);
}

static void *new_record(enum nsmon_kind kind, size_t size)
{
	static uint64_t seq;
	struct nsmon_header *header = calloc(1, size);

	if (!header)
		fail("no memory");
	now += 1000;
	seq++;
	*header = (struct nsmon_header){
		.size = (uint32_t)size,
		.kind = (uint16_t)kind,
		.time = now,
		.seq = seq,
		.layout = NSMON_LAYOUT,
	};
	return header;
}

/* The task of cycle n: each third in a container, as different as tasks of a machine are. */
static struct nsmon_task task_of(unsigned int n)
{
	static const char *const names[] = { "bash", "nginx: worker", "kworker/u8:2", "java" };
	struct nsmon_task task = {
		.start_ns = 77700000000ULL + n,
		.thread_start_ns = 77700000000ULL + n,
		.cgroup_id = n % 3 ? 3 : 5,
		.pid = 1000 + n,
		.tid = 1000 + n,
		.ppid = 1,
		.vpid = n % 3 ? 1000 + n : 2,
		.uid = n % 2 ? 0 : 1000,
		.gid = n % 2 ? 0 : 1000,
	};

	memcpy(task.comm, names[n % 4], strlen(names[n % 4]));
	return task;
}

#define CLONED (1U << NSMON_NS_MNT | 1U << NSMON_NS_NET | 1U << NSMON_NS_UTS)

/* From the set of task n before: every eighth was made with namespaces of its own. */
static void change_types(struct nsmon_ns_change *change, unsigned int n, unsigned int own,
			 unsigned int types, enum nsmon_reason reason)
{
	for (unsigned int type = 0; type < NSMON_NS_TYPES; type++) {
		bool is_own = own & (1U << type);

		change->old.inum[type] = is_own ? 4026532000U + n : initial_inums[type];
		change->old.id[type] = is_own ? 100 + n : type + 1;
		change->now.inum[type] = change->old.inum[type];
		change->now.id[type] = change->old.id[type];
		change->reason[type] = (uint8_t)reason;
		if (!(types & (1U << type)))
			continue;
		change->now.inum[type] = 4026532000U + n + (own ? 20000 : 0);
		change->now.id[type] = 100 + n + (own ? 20000 : 0);
	}
	change->changed = types;
	change->wanted = NSMON_NS_ALL;
}

static void *make_fork(unsigned int n)
{
	struct nsmon_fork_ns *r = new_record(NSMON_FORK, n % 8 ? sizeof(r->fork) : sizeof(*r));

	r->fork.task = task_of(n);
	r->fork.creator_pid = r->fork.creator_tid = 1;
	r->fork.creator_start_ns = 77700000001ULL;
	if (n % 8 == 0) {
		r->fork.header.flags = NSMON_FLAG_NS;
		change_types(&r->change, n, 0, CLONED, NSMON_REASON_CLONE);
	}
	return r;
}

static void *make_exec(unsigned int n)
{
	static const char text[] =
		"/usr/lib/nsmon bench/program\0program\0--option=value\0"
		"an argument \"in quotes\"\0/a/longer/path/to/some/file.txt\0gr\xc3\xbc\xc3\x9f";
	struct nsmon_exec *r = new_record(NSMON_EXEC, sizeof(*r) + sizeof(text));

	r->task = task_of(n);
	r->exec_id = n + 1;
	r->filename_len = (uint16_t)(strlen(text) + 1);
	r->args_len = (uint16_t)(sizeof(text) - r->filename_len);
	memcpy(r->text, text, sizeof(text));
	return r;
}

static void *make_ns(unsigned int n)
{
	struct nsmon_ns *r = new_record(NSMON_NS, sizeof(*r));

	r->task = task_of(n);
	change_types(&r->change, n, n % 8 ? 0 : CLONED,
		     n % 2 ? 1U << NSMON_NS_NET : 1U << NSMON_NS_UTS | 1U << NSMON_NS_IPC,
		     NSMON_REASON_UNSHARE);
	return r;
}

static void *make_exit(unsigned int n)
{
	struct nsmon_exit *r = new_record(NSMON_EXIT, sizeof(*r));

	r->task = task_of(n);
	r->duration_ns = 1000000 + n;
	r->status = n % 5 ? 0 : 9;
	return r;
}

static void make_records(struct ring *ring)
{
	for (unsigned int n = 0; n < CYCLES; n++) {
		ring->data[ring->count++] = make_fork(n);
		ring->data[ring->count++] = make_exec(n);
		ring->data[ring->count++] = make_ns(n);
		if (n >= ALIVE)
			ring->data[ring->count++] = make_exit(n - ALIVE);
	}
	for (unsigned int n = CYCLES - ALIVE; n < CYCLES; n++)
		ring->data[ring->count++] = make_exit(n);
}

static void make_cgroup(struct stream *stream, uint64_t id, uint64_t parent, const char *name)
{
	struct nsmon_cgroup *r = new_record(NSMON_CGROUP_TREE, sizeof(*r));

	r->op = NSMON_CGROUP_MADE;
	r->id = id;
	r->parent_id = parent;
	memcpy(r->name, name, strlen(name));
	if (stream_record(stream, r, sizeof(*r)))
		fail("a cgroup was not taken");
	free(r);
}

/* The machine as it was before: its cgroups and process 1. */
static void seed(struct stream *stream)
{
	struct nsmon_proc *r;
	struct event event;

	make_cgroup(stream, 1, 0, "");
	make_cgroup(stream, 2, 1, "system.slice");
	make_cgroup(stream, 3, 2, "ssh.service");
	make_cgroup(stream, 4, 1, "docker");
	make_cgroup(stream, 5, 4,
		    "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860");
	if (stream_start(stream))
		fail("the stream did not start");
	r = new_record(NSMON_PROC, sizeof(*r));
	r->task = (struct nsmon_task){
		.pid = 1, .tid = 1, .vpid = 1, .cgroup_id = 1, .comm = "init"
	};
	r->task.start_ns = r->task.thread_start_ns = 77700000001ULL;
	for (unsigned int type = 0; type < NSMON_NS_TYPES; type++) {
		r->ns.inum[type] = initial_inums[type];
		r->ns.id[type] = type + 1;
	}
	state_set_host(stream->state, &r->ns);
	if (event_decode(&event, r, sizeof(*r)) || stream_seed(stream, &event) ||
	    stream_seeded(stream, now))
		fail("the first picture was not taken");
	free(r);
}

__attribute__((noinline)) void push_records(struct stream *stream, const struct ring *ring)
{
	for (size_t i = 0; i < ring->count; i++) {
		const struct nsmon_header *header = ring->data[i];

		if (i % BATCH == 0)
			stream_begin_batch(stream);
		if (stream_record(stream, header, header->size))
			fail("a record was not taken");
	}
	if (stream_flush(stream))
		fail("the output was not written");
}

/* A line has to hold something, or it is none. */
static void no_event(struct line *line, const struct run *r, const struct stamp *stamp,
		     const struct event *event)
{
	line_bytes(line, "\n", 1);
	(void)r;
	(void)stamp;
	(void)event;
}

static void no_ns(struct line *line, const struct run *r, const struct stamp *stamp,
		  const struct event *event, enum nsmon_ns_type type)
{
	(void)type;
	no_event(line, r, stamp, event);
}

/* The kernel's map of wanted cgroups, of which there is none. */
static void ignore_verdict(void *context, uint64_t id, bool wanted)
{
	(void)context;
	(void)id;
	(void)wanted;
}

static const struct formatter *find_formatter(const char *name)
{
	static const struct formatter none = { .event = no_event, .ns = no_ns };
	static const struct {
		const char *name;
		const struct formatter *formatter;
	} formatters[] = { { "state", &none },
			   { "text", &text_formatter },
			   { "json", &json_formatter },
			   { "ecs", &ecs_formatter } };

	for (size_t i = 0; i < sizeof(formatters) / sizeof(*formatters); i++)
		if (strcmp(formatters[i].name, name) == 0)
			return formatters[i].formatter;
	return NULL;
}

int main(int argc, char *argv[])
{
	const struct formatter *formatter = argc == 2 ? find_formatter(argv[1]) : NULL;
	static volatile sig_atomic_t stop;
	static struct cgroup_filter filter;
	static struct stream stream;
	static struct ring ring;
	struct cgroups *cgroups;
	struct output *output;

	if (!formatter) {
		fputs("usage: records state|text|json|ecs > FILE\n", stderr);
		return 2;
	}
	/* No files of container runtimes: what this machine has of them is not to count. */
	cgroups = cgroups_new(&filter, "/nonexistent", ignore_verdict, NULL);
	if (!cgroups || output_open(&output, NULL) ||
	    stream_init(&stream, formatter, &run, output, cgroups, &stop, 0))
		fail("no memory");
	seed(&stream);
	make_records(&ring);
	push_records(&stream, &ring);
	for (size_t i = 0; i < ring.count; i++)
		free(ring.data[i]);
	stream_free(&stream);
	cgroups_free(cgroups);
	output_close(output);
	return 0;
}
