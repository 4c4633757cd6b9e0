/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts of a trace -> a file that node_exporter's textfile collector reads. Knows no probe and no stream. */
#ifndef METRICS_H
#define METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"

struct metrics;

/* What is told; the counts are since the start. */
struct metrics_values {
	const char *backend;
	const struct totals *totals;
	bool output_failing;
	uint64_t repairs; /* pictures that were taken after a loss */
	uint64_t ring_size; /* bytes */
	uint64_t ring_waiting; /* bytes, the most since the last write of the file */
	uint64_t tasks; /* that a reader of the stream has a row of */
	uint64_t containers; /* that have a cgroup */
};

/*
 * Writes nothing yet, but finds out whether path can be written. output: the file that the
 * records go to, which may not be there yet; NULL: standard output. Borrows path; the caller
 * closes it. Returns 0 or a negative errno, which is told on standard error.
 */
int metrics_open(struct metrics **metrics, const char *path, const char *output);

/* Does nothing for NULL. The file stays. */
void metrics_close(struct metrics *metrics);

/* May the file be written again, as far as permissions go? Yes, for NULL. */
bool metrics_may_write(const struct metrics *metrics);

/* Milliseconds after which to look again whether a write is due; -1: there are none, for NULL. */
int metrics_period_ms(const struct metrics *metrics);

/* Milliseconds until the next write; 0: now; -1: never, for NULL. */
int metrics_due_ms(const struct metrics *metrics);

/*
 * Puts a whole new file (mode 0644) in the old one's place, in the text format of
 * Prometheus, unless that has become something else than metrics. What goes wrong is told on
 * standard error once; the next write tries again.
 */
void metrics_write(struct metrics *metrics, const struct metrics_values *values);

#endif
