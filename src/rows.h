/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What was last told of the namespaces of processes' main threads: enough to fit
 * a child that another thread made to the row that a reader has at that place.
 */
#ifndef ROWS_H
#define ROWS_H

#include "event.h"

/*
 * Processes that are remembered. One is needed only while a change of its main
 * thread and a fork by another thread cross; an older one gives way to a newer.
 */
#define ROWS_MAX 512

struct rows {
	struct {
		uint64_t start_ns; /* 0: none */
		uint32_t pid;
		uint32_t zero;
		struct nsmon_ns_set now;
	} row[ROWS_MAX];
	struct nsmon_ns_change fitted; /* what event->change of the last event points to */
};

/* Takes note of a change that is told now. */
void rows_told(struct rows *rows, const struct event *event);

/*
 * Makes event->change of a child that a thread made the difference to what was
 * told of the main thread, which may be a later set than the one that the kernel
 * saw. The changed event refers to rows until the next call.
 */
void rows_fit(struct rows *rows, struct event *event);

#endif
