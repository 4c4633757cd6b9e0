/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events -> numbered records with the time of day; counts what is written and what is lost. */
#ifndef STREAM_H
#define STREAM_H

#include <signal.h>

#include "cgroup.h"
#include "format.h"
#include "output.h"
#include "procfs.h"
#include "state.h"

enum stream_write {
	STREAM_WRITE_BEGINS,
	STREAM_WRITE_WAITS, /* for its reader, when a signal came; it goes on after this */
	STREAM_WRITE_ENDED,
};

struct stream {
	const struct formatter *formatter;
	const struct run *run;
	struct output *output;
	const volatile sig_atomic_t *stop; /* a signal asked to end */
	struct state *state;
	struct cgroups *cgroups;
	struct procfs procfs;
	struct totals totals;
	uint64_t seq;
	int64_t boot_offset_ns; /* of our CLOCK_BOOTTIME; 0 but in a time namespace */
	uint64_t boot_to_real_ns; /* from the kernel's CLOCK_BOOTTIME */
	uint64_t kernel_lost[NSMON_KINDS]; /* as last told by the kernel */
	uint64_t kernel_missed[NSMON_KINDS]; /* the same of what it skipped */
	uint64_t untold[NSMON_KINDS]; /* lost, and not in the stream yet */
	uint64_t delivered[NSMON_KINDS]; /* records of output that the kernel delivered */
	uint64_t invalid; /* records that could not be decoded */
	uint64_t told[NSMON_KINDS]; /* by the last lost record */
	uint64_t undo_to; /* the last record of those that the table knows to be written */
	bool telling; /* the table tells */
	bool cgroups_changed; /* one was made */
	bool cgroups_doubt; /* a record of the tree of cgroups was lost */
	bool repair_due; /* a reader's table is not known to be right */
	bool start_due; /* the start record is still to be written */
	bool gave_up; /* the reader of the output does not read */
	bool retry; /* one more attempt to write, where writing fails */
	/* NULL, or what is done around each write, which may wait for its reader. */
	void (*on_write)(void *context, enum stream_write what);
	/*
	 * NULL, or what is done before an event whose task, or creator, was not told of: for
	 * stream_kernel_missed(). Returns as that does.
	 */
	int (*look_for_misses)(void *context);
	void *context; /* of both */
};

/*
 * The stream borrows all of them. boot_offset_ns: what CLOCK_BOOTTIME shows here
 * beyond the kernel's own. Returns 0, then to be freed with stream_free(), or -ENOMEM.
 */
int stream_init(struct stream *stream, const struct formatter *formatter, const struct run *run,
		struct output *output, struct cgroups *cgroups, const volatile sig_atomic_t *stop,
		int64_t boot_offset_ns);

/* Does nothing where it is freed already, or all zero. */
void stream_free(struct stream *stream);

/* Nanoseconds since boot, as the kernel's records tell them. */
uint64_t stream_now_ns(const struct stream *stream);

/*
 * The functions below return 0, or -EPIPE when the reader of the output is
 * gone. What cannot be written for another reason is counted as lost.
 */

/* Before a number of events: the clocks are compared once for all of them. */
void stream_begin_batch(struct stream *stream);

int stream_start(struct stream *stream);

/* One record of the ring buffer, size bytes. */
int stream_record(struct stream *stream, const void *data, size_t size);

/* Totals of what the kernel lost; what is new becomes a lost record. */
int stream_kernel_lost(struct stream *stream, const uint64_t lost[NSMON_KINDS]);

/* The same for events whose programs the kernel skipped, at most. */
int stream_kernel_missed(struct stream *stream, const uint64_t missed[NSMON_KINDS]);

/*
 * The first picture: a task of it, and its end, which began at begin_ns; the
 * ready record follows where the tasks were told.
 */
int stream_seed(struct stream *stream, struct event *proc);
int stream_seeded(struct stream *stream, uint64_t begin_ns);

/* A task of a later picture, and its end. */
int stream_pass_task(struct stream *stream, struct event *proc);
int stream_end_pass(struct stream *stream);

/* The ready record: all that was found out is told. */
int stream_ready(struct stream *stream);

/* Was something lost of which no picture has been taken yet? */
bool stream_is_in_doubt(const struct stream *stream);

/* Is a picture needed, since something was lost? Asking answers it. */
bool stream_take_repair(struct stream *stream);

int stream_flush(struct stream *stream);

/* What is counted now, without the records that still wait to be written. */
struct totals stream_totals(const struct stream *stream);

/* The last record, and everything written that can be. */
int stream_stop(struct stream *stream);

#endif
