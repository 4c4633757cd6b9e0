// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Bytes -> a sequence of records, pictures and dropped lines -> the reader's table.
 * Whatever comes, the table has as many tasks as a reader of what it told.
 */
#include <stdio.h>
#include <stdlib.h>

#include "reader.h"
#include "records.h"
#include "state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define TIDS 16
#define CGROUPS 8
#define WAITING_MAX 1024

/* One step; all of it is the fuzzer's. */
struct step {
	uint8_t what;
	uint8_t tid; /* 4 bits, and 4 for the process */
	uint8_t creator;
	uint8_t start; /* of the task, and of the creator */
	uint8_t types;
	uint8_t inum;
	uint8_t flags;
	uint8_t time;
};

static struct options options;
static struct state *table;
static struct reader reader;
static struct told waiting[WAITING_MAX];
static size_t waiting_len;
static uint64_t seq;
static uint64_t now;
static bool refusing;
static bool forked[TIDS][4]; /* by number and start */
static bool seeded[TIDS];
static bool impossible; /* a task was made twice, a number was met twice: no kernel does that */

static int64_t tell(void *context, const struct event *event, int type)
{
	(void)context;
	CHECK(event->task && event->task->tid < TIDS && event->task->pid < TIDS);
	CHECK(type == STATE_EVENT || (type >= 0 && type < NSMON_NS_TYPES));
	CHECK(type == STATE_EVENT || (event->change && event->change->changed & 1U << type));
	CHECK(!event->recovered || options.events & 1U << NSMON_EXIT);
	CHECK(event->kind != NSMON_CGROUP || event->old_cgroup_id != event->task->cgroup_id);
	CHECK(!event->target.owner ||
	      (type != STATE_EVENT && event->change->reason[type] == NSMON_REASON_SETNS));
	CHECK(event->target.owner <= 1 + CGROUPS / 2 || event->target.owner == TARGET_HOST);
	if (refusing || waiting_len == WAITING_MAX)
		return 0;
	waiting[waiting_len++] = told_make(event, type, ++seq, options.threads);
	return (int64_t)seq;
}

static void settle(void)
{
	for (size_t i = 0; i < waiting_len; i++)
		reader_apply(&reader, &waiting[i]);
	waiting_len = 0;
	state_settle(table);
	if (options.threads && !impossible && state_can_repair(table))
		CHECK(state_tasks(table) == reader_count(&reader));
}

static void read_task(struct nsmon_task *task, const struct step *step)
{
	task->tid = step->tid % TIDS;
	task->pid = step->tid / 16 % TIDS;
	task->ppid = step->creator / 16;
	task->cgroup_id = 1 + step->flags / 16 % CGROUPS;
	task->thread_start_ns = 1 + step->start % 4;
	task->start_ns = 1 + step->start / 4 % 4;
}

static void read_change(struct nsmon_ns_change *change, const struct step *step)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		change->old.inum[type] = 1 + step->inum % 4;
		change->now.inum[type] = change->old.inum[type];
		change->reason[type] = 1 + step->flags % (NSMON_REASONS - 1);
		if (!(step->types & (1U << type % 8)))
			continue;
		change->now.inum[type] = step->inum / 4 % 4; /* 0: none */
		change->changed |= 1U << type;
	}
	change->wanted = (uint16_t)options.types;
	change->changed &= options.types;
}

static size_t make_record(union record *r, const struct step *step)
{
	size_t size;

	switch (step->what % 6) {
	case 0:
		size = record_fork_ns(r, 0, 0, "x");
		read_task(&r->fork.task, step);
		impossible |= forked[step->tid % TIDS][step->start % 4];
		forked[step->tid % TIDS][step->start % 4] = true;
		r->fork.creator_tid = step->creator % TIDS;
		r->fork.creator_pid = step->creator / 16;
		r->fork.creator_start_ns = 1 + step->start / 16 % 4;
		read_change(&r->fork_ns.change, step);
		if (step->flags & 0x80)
			r->header.flags |= NSMON_FLAG_NO_FORK;
		break;
	case 1:
		size = record_exec(r, 0, "x", "/x", "x", 2);
		read_task(&r->exec.task, step);
		r->exec.task.tid = r->exec.task.pid;
		if (step->creator % TIDS != r->exec.task.pid) /* 0 where it is the main thread */
			r->exec.old_tid = step->creator % TIDS;
		r->exec.exec_id = step->inum;
		break;
	case 2:
		size = record_exit(r, 0, "x", 0);
		read_task(&r->exit.task, step);
		break;
	case 3:
		size = record_ns(r, 0, "x");
		read_task(&r->ns.task, step);
		read_change(&r->ns.change, step);
		break;
	default: /* 4: a row of a picture; 5: a move */
		size = record_proc(r, 0, 0, "x");
		if (step->what % 6 == 5)
			r->header.kind = NSMON_CGROUP;
		read_task(&r->proc.task, step);
		for (int type = 0; type < NSMON_NS_TYPES; type++)
			r->proc.ns.inum[type] = step->inum >> (type % 4) & 3;
		r->proc.exec_id = step->types % 4;
		r->proc.flags = step->flags % 32;
	}
	return size;
}

/* From memory of its own size, which goes away behind it. */
static void give(const struct step *step, bool seeding, bool passing)
{
	static union record record;
	size_t size = make_record(&record, step);
	void *copy = malloc(size);
	struct event event;

	CHECK(copy);
	record.header.time = now - step->time % 16 * 4000;
	memcpy(copy, &record, size);
	if (event_decode(&event, copy, size) == 0) {
		if (event.kind != NSMON_PROC)
			CHECK(state_event(table, &event) == 0);
		else if (seeding) {
			impossible |= seeded[step->tid % TIDS];
			seeded[step->tid % TIDS] = true;
			CHECK(state_seed(table, &event, true) == 0);
		} else if (passing)
			CHECK(state_pass_task(table, &event) == 0);
	}
	free(copy);
}

/* Every other cgroup is a container's. */
static uint64_t owner_of(void *context, uint64_t cgroup_id)
{
	(void)context;
	CHECK(cgroup_id >= 1 && cgroup_id <= CGROUPS);
	return cgroup_id % 2 ? cgroup_id / 2 + 1 : 0;
}

static void begin(uint8_t how)
{
	options = (struct options){
		.events = how & 1 ? EVENTS_ALL : (uint32_t)how & EVENTS_ALL,
		.types = how & 2 ? NSMON_NS_ALL : 0x155,
		.reasons = how & 4 ? REASONS_ALL : 2,
		.threads = how & 8,
	};
	memset(&reader, 0, sizeof(reader));
	reader.threads = options.threads;
	reader.types = NSMON_NS_ALL;
	waiting_len = 0;
	seq = 0;
	now = 1000000;
	refusing = impossible = false;
	memset(forked, 0, sizeof(forked));
	memset(seeded, 0, sizeof(seeded));
	table = state_new(&options, tell, owner_of, NULL);
	CHECK(table);
	state_set_host(table, &(struct nsmon_ns_set){ .inum = { 1, 1, 1, 1, 1, 1 } });
}

/* A task that is not in the table leaves what a filter lets through: nobody is told, nothing comes of it. */
static void move_out(uint8_t tid)
{
	static const struct nsmon_ns_set nowhere;
	const struct nsmon_task task = { .pid = tid % TIDS, .tid = tid % TIDS, .cgroup_id = 1 };
	const struct event event = { .kind = NSMON_CGROUP,
				     .time = now,
				     .task = &task,
				     .proc = { .ns = &nowhere, .flags = NSMON_PROC_PARTIAL } };

	if (state_has(table, task.tid))
		return;
	CHECK(state_move_out(table, &event) == 0);
	CHECK(!state_has(table, task.tid));
}

static void end_pass(void)
{
	CHECK(state_end_pass(table) == 0);
	state_unsure(table);
	state_take_doubt(table);
}

static void drop_lines(uint8_t keep)
{
	size_t kept = waiting_len ? keep % (waiting_len + 1) : 0;

	seq -= waiting_len - kept;
	waiting_len = kept;
	state_undo(table, seq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool seeding = true, passing = false;
	struct step step;

	if (!size)
		return 0;
	begin(*data++);
	for (size--; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		now += (uint64_t)(step.time / 16) * 4000;
		refusing = step.what >= 0xf8;
		if (step.what < 0xc0 || refusing) {
			/* Before the first picture is complete there are no events. */
			if (seeding && step.what % 6 != 4)
				continue;
			give(&step, seeding, passing);
		} else if (seeding) {
			state_seeded(table, 1000000, now);
			seeding = false;
		} else if (step.what < 0xd0) {
			state_begin_pass(table, now, step.flags & 1);
			passing = true;
		} else if (step.what < 0xe0 && passing) {
			end_pass();
		} else if (step.what == 0xe7) {
			move_out(step.tid);
		} else if (step.what < 0xe8) {
			state_end_repair(table);
			passing = false;
		} else if (step.what < 0xf0) {
			settle();
		} else {
			drop_lines(step.flags);
		}
	}
	settle();
	state_free(table);
	return 0;
}
