/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A reader of the stream that keeps a table, by the contract alone: a fork copies
 * its creator's row, an ns record sets a type, a proc record sets all, an exit
 * removes; with -T an exec takes its thread's row along. Knows nothing of src/state.c.
 */
#ifndef TESTS_READER_H
#define TESTS_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "event.h"
#include "state.h"

/* Task ids are below this. */
#define READER_TASKS 1024

/* One record, as far as a reader's table depends on it. */
struct told {
	uint64_t seq;
	enum nsmon_kind kind;
	int type; /* of an ns record */
	bool recovered;
	enum nsmon_reason reason;
	struct nsmon_task task;
	uint32_t creator; /* of a fork: the row that it copies */
	uint64_t exec_id; /* of an exec or a proc record; JSON does not have it */
	uint32_t old_tid;
	uint64_t old_cgroup_id; /* of a move; 0: not known */
	uint32_t old_inum;
	uint64_t old_id;
	struct nsmon_ns_set now; /* of a proc record all of them, of an ns record one */
};

struct reader_row {
	bool exists;
	bool known; /* false: no record said which namespaces it has */
	uint64_t start_ns;
	uint64_t exec_id; /* of the program that it runs; 0: its creator's */
	uint64_t cgroup_id;
	struct nsmon_ns_set ns;
};

struct reader {
	bool threads;
	bool misses_records; /* a fork may copy the row of who had the creator's number before */
	uint32_t types; /* bit per enum nsmon_ns_type; of the others it hears nothing */
	struct reader_row rows[READER_TASKS];
};

static inline struct told told_make(const struct event *event, int type, uint64_t seq, bool threads)
{
	struct told told = {
		.seq = seq,
		.kind = type == STATE_EVENT ? event->kind : NSMON_NS,
		.type = type,
		.recovered = event->recovered,
		.task = *event->task,
		.old_cgroup_id = event->old_cgroup_id,
	};

	if (type != STATE_EVENT) {
		told.reason = event->recovered ? 0 : event->change->reason[type];
		told.old_inum = event->change->old.inum[type];
		told.old_id = event->change->old.id[type];
		told.now.inum[type] = event->change->now.inum[type];
		told.now.id[type] = event->change->now.id[type];
	} else if (event->kind == NSMON_FORK) {
		told.creator = threads ? event->fork.creator_tid : event->fork.creator_pid;
	} else if (event->kind == NSMON_EXEC) {
		told.exec_id = event->exec.exec_id;
		told.old_tid = event->exec.old_tid;
	} else if (event->kind == NSMON_PROC) {
		told.exec_id = event->proc.exec_id;
		told.now = *event->proc.ns;
	}
	return told;
}

/* Is it a record of a task that a reader has a row for? */
static inline bool reader_has_row(const struct reader *reader, const struct nsmon_task *task)
{
	return reader->threads || task->tid == task->pid;
}

static inline const char *reader_fork(struct reader *reader, const struct told *told)
{
	struct reader_row *row = &reader->rows[told->task.tid];

	if (row->exists)
		return "a fork of a task that is there";
	*row = reader->rows[told->creator];
	row->known &= row->exists;
	row->exists = true;
	row->exec_id = 0;
	row->start_ns = told->task.thread_start_ns;
	row->cgroup_id = told->task.cgroup_id;
	return NULL;
}

static inline const char *reader_exec(struct reader *reader, const struct told *told)
{
	struct reader_row *row = &reader->rows[told->task.tid];

	if (reader->threads && told->old_tid && reader->rows[told->old_tid].exists) {
		*row = reader->rows[told->old_tid];
		row->start_ns = told->task.thread_start_ns;
		reader->rows[told->old_tid].exists = false;
	}
	row->exec_id = told->exec_id;
	return row->exists ? NULL : "an exec of an unknown task";
}

static inline const char *reader_ns(struct reader *reader, const struct told *told)
{
	struct reader_row *row = &reader->rows[told->task.tid];
	const bool moved = reader->threads && told->reason == NSMON_REASON_EXEC;
	bool fits;

	if (!row->exists)
		return "an ns record of an unknown task";
	if (!(reader->types & (1U << told->type)))
		return "an ns record of a type that is not wanted";
	/* With -T an exec's differences are those to the main thread, whose row has gone. */
	fits = !row->known || moved || reader->misses_records || !row->ns.inum[told->type] ||
	       (row->ns.inum[told->type] == told->old_inum &&
		row->ns.id[told->type] == told->old_id);
	row->ns.inum[told->type] = told->now.inum[told->type];
	row->ns.id[told->type] = told->now.id[told->type];
	return fits ? NULL : "an ns record does not begin with what the row has";
}

static inline const char *reader_move(struct reader *reader, const struct told *told)
{
	struct reader_row *row = &reader->rows[told->task.tid];
	bool fits = !told->old_cgroup_id || reader->misses_records ||
		    row->cgroup_id == told->old_cgroup_id;

	if (row->exists && row->cgroup_id == told->task.cgroup_id && !reader->misses_records)
		return "a move to where the task is";
	row->cgroup_id = told->task.cgroup_id;
	if (!row->exists)
		return "a move of an unknown task";
	return fits ? NULL : "a move does not begin where the task is";
}

/* Takes one record. Returns NULL, or what about it no reader could understand. */
static inline const char *reader_apply(struct reader *reader, const struct told *told)
{
	struct reader_row *row = &reader->rows[told->task.tid];
	const bool existed = row->exists;

	if (!reader_has_row(reader, &told->task))
		return NULL;
	switch (told->kind) {
	case NSMON_FORK:
		return reader_fork(reader, told);
	case NSMON_EXEC:
		return reader_exec(reader, told);
	case NSMON_NS:
		return told->type == STATE_EVENT ? NULL : reader_ns(reader, told);
	case NSMON_EXIT:
		row->exists = false;
		return existed ? NULL : "an exit of an unknown task";
	case NSMON_PROC:
		/* One that an event completes has no number of a program, but /proc's name of it. */
		if (!existed || row->start_ns != told->task.thread_start_ns || told->exec_id)
			row->exec_id = told->exec_id;
		row->exists = row->known = true;
		row->start_ns = told->task.thread_start_ns;
		row->cgroup_id = told->task.cgroup_id;
		row->ns = told->now;
		return told->recovered || !existed ? NULL : "a proc record out of place";
	case NSMON_CGROUP:
		return reader_move(reader, told);
	case NSMON_LOST:
	case NSMON_CGROUP_TREE:
		break;
	}
	return "a record of no kind";
}

static inline size_t reader_count(const struct reader *reader)
{
	size_t count = 0;

	for (size_t i = 0; i < READER_TASKS; i++)
		count += reader->rows[i].exists;
	return count;
}

#endif
