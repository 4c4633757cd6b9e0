/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events -> numbered records with the time of day; counts what is written and what is lost. */
#ifndef STREAM_H
#define STREAM_H

#include <signal.h>

#include "format.h"
#include "output.h"
#include "rows.h"

struct stream {
	const struct formatter *formatter;
	const struct run *run;
	struct output *output;
	const volatile sig_atomic_t *stop; /* a signal asked to end */
	struct rows rows;
	struct totals totals;
	uint64_t seq;
	int64_t boot_offset_ns; /* of our CLOCK_BOOTTIME; 0 but in a time namespace */
	uint64_t boot_to_real_ns; /* from the kernel's CLOCK_BOOTTIME */
	uint64_t kernel_lost[NSMON_KINDS]; /* as last told by the kernel */
	uint64_t untold[NSMON_KINDS]; /* lost, and not in the stream yet */
	uint64_t delivered[NSMON_KINDS]; /* records of output that the kernel delivered */
	uint64_t invalid; /* records that could not be decoded */
	uint64_t told[NSMON_KINDS]; /* by the last lost record */
	bool start_due; /* the start record is still to be written */
	bool gave_up; /* the reader of the output does not read */
	bool retry; /* one more attempt to write, where writing fails */
};

/* The stream borrows all of them. */
void stream_init(struct stream *stream, const struct formatter *formatter, const struct run *run,
		 struct output *output, const volatile sig_atomic_t *stop);

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

int stream_flush(struct stream *stream);

/* The last record, and everything written that can be. */
int stream_stop(struct stream *stream);

#endif
