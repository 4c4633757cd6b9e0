/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Takes pictures of all tasks: the first one, and those that repair the stream. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "probe.h"
#include "stream.h"

struct snapshot {
	struct probe *probe;
	struct stream *stream;
	const volatile sig_atomic_t *stop; /* a signal asked to end: no further picture */
	bool works; /* this kernel lets us have pictures */
	uint64_t due_ns; /* CLOCK_MONOTONIC; when the next may begin, 0: none is wanted */
	uint64_t earliest_ns; /* not before */
	uint64_t repairs; /* pictures that were taken after a loss */
	unsigned int put_off; /* so often the end of a repair was, for tasks that were changing */
	bool owes_end;
	bool said; /* that something stays lost */
	bool loud; /* the next one follows a loss */
	unsigned int
		looks; /* at what was in a system call when the first was taken, still to come */
};

/*
 * The first picture, once everything is attached; whole_machine: it is told, and
 * not only of processes that are followed. What is wrong with it is told on
 * standard error. Returns 0, or a negative errno of the output.
 */
int snapshot_first(struct snapshot *snapshot, struct probe *probe, struct stream *stream,
		   const volatile sig_atomic_t *stop, bool whole_machine);

/*
 * After a batch of records: milliseconds until the next picture is to be taken,
 * 0 for now, -1 for never.
 */
int snapshot_due_ms(struct snapshot *snapshot);

/*
 * Holds a picture against what was told, and tells the difference. Reads the
 * ring buffer meanwhile. Returns 0 or a negative errno.
 */
int snapshot_repair(struct snapshot *snapshot);

#endif
