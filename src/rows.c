// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Rows that a reader has. Must not know how a record is written. */
#include "rows.h"

void rows_told(struct rows *rows, const struct event *event)
{
	const struct nsmon_task *task = event->task;
	size_t slot = task->pid % ROWS_MAX;

	if (event->kind != NSMON_NS || !event->change || task->tid != task->pid)
		return;
	rows->row[slot].pid = task->pid;
	rows->row[slot].start_ns = task->start_ns;
	rows->row[slot].now = event->change->now;
}

void rows_fit(struct rows *rows, struct event *event)
{
	size_t slot = event->fork.creator_pid % ROWS_MAX;
	struct nsmon_ns_change *fitted = &rows->fitted;

	if (event->kind != NSMON_FORK || !event->change || !event->fork.by_thread)
		return;
	if (rows->row[slot].pid != event->fork.creator_pid ||
	    rows->row[slot].start_ns != event->fork.creator_start_ns)
		return;
	*fitted = *event->change;
	fitted->old = rows->row[slot].now;
	fitted->changed = 0;
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		if (fitted->old.inum[i] != fitted->now.inum[i] ||
		    fitted->old.id[i] != fitted->now.id[i])
			fitted->changed |= 1U << i & fitted->wanted;
	event->change = fitted;
}
