/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lines -> a terminal, a pipe or a file: in large blocks, never half a line. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "line.h"
#include "nsmon.h"

struct output;

/*
 * Opens path for appending (created with mode 0640; no symbolic link), or standard
 * output where it is NULL. The caller closes it. Returns 0 or a negative errno.
 */
int output_open(struct output **out, const char *path);

/* Would output_open() wait for a reader of the named pipe at path? */
bool output_lacks_reader(const char *path);

/* What a negative errno of opening path means, in words for people; until the next call of strerror(). */
const char *output_open_error(const char *path, int err);

/* Writes entries of the journal: what is committed is what journal_formatter makes. Returns 0 or -ENOMEM. */
int output_open_journal(struct output **out);

/* Frees it; what was not flushed is gone. */
void output_close(struct output *out);

bool output_is_terminal(const struct output *out);

/* The descriptor, to wait for its reader's end; the output's own. -1: it has none. */
int output_fd(const struct output *out);

/* Is nothing waiting to be written? */
bool output_is_empty(const struct output *out);

/* Adds the records that wait to be written, a part of one as a whole, by kind. */
void output_count_waiting(const struct output *out, uint64_t waiting[NSMON_KINDS]);

/* Does output_begin() not need to write first? */
bool output_has_room(const struct output *out);

/*
 * Room for one line. May write what is waiting: negative errno as of
 * output_flush(). The line is the output's until output_commit().
 */
int output_begin(struct output *out, struct line *line);

/* Takes the line as one record of this kind; 0 for one that is not counted (start, stop). */
void output_commit(struct output *out, const struct line *line, enum nsmon_kind kind);

/*
 * Writes what is waiting. Returns 0; -EPIPE when the reader is gone; -EINTR
 * when a signal came and it could not go on. Any other failure (a full disk) is
 * told once on standard error, the lines that were not written are dropped and
 * counted, and the stream goes on: 0.
 */
int output_flush(struct output *out);

/* As output_flush(), but gives up after this many milliseconds: -ETIMEDOUT. */
int output_flush_within(struct output *out, int timeout_ms);

/*
 * Drops and counts what is waiting, for the end. The part of a line that is in a
 * regular file already is taken back out of it; in a pipe it stays.
 */
void output_discard(struct output *out);

/* May the path be opened again, as far as permissions go? Yes, where there is none. */
bool output_may_reopen(const struct output *out);

/* Opens the path again, for log rotation. On failure goes on with the old file. */
void output_reopen(struct output *out);

/*
 * Records that were dropped since the last call, by kind, to be told in the
 * stream when there is room; returns how many lines that were, for their
 * numbers to be used again. Where that is 0, dropped is left as it is.
 */
uint64_t output_take_dropped(struct output *out, uint64_t dropped[NSMON_KINDS]);

/* Is the last write known to have failed? */
bool output_is_failing(const struct output *out);

#endif
