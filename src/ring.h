/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads a BPF ring buffer. Knows nothing of what is in a record. */
#ifndef RING_H
#define RING_H

#include <stddef.h>
#include <stdint.h>

struct ring;

/* One record. Returns 0 to go on, a negative errno to stop. */
typedef int (*ring_record_fn)(void *context, void *data, size_t size);

/*
 * Of the map fd, which stays the caller's, with max_entries as the kernel has
 * it. The caller frees *ring with ring_free(). Returns 0 or a negative errno.
 */
int ring_new(struct ring **ring, int fd, size_t max_entries);
void ring_free(struct ring *ring);

/*
 * Hands over the records that wait, at most max of them. Returns how many, or
 * what the function returned, or a negative errno where memory cannot be mapped.
 */
int ring_read(struct ring *ring, ring_record_fn function, void *context, int max);

/*
 * Hands over all records that are written or being written now, but not many more than max:
 * waits for their writers, who may have been stopped in the midst of it, 100 ms at most.
 * Returns 1 where it was all of them, 0 where it was not, or as ring_read() a negative errno.
 */
int ring_drain(struct ring *ring, ring_record_fn function, void *context, int max);

/* Nothing comes: gives memory back that only much reading is worth. */
void ring_rest(struct ring *ring);

/* How much waits, in bytes. */
uint64_t ring_waiting(const struct ring *ring);

#endif
