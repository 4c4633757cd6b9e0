/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What has been told of every task: the table that a reader of the stream has.
 * Each event is held against it, so that nothing is told twice, what a child's
 * row begins with is right, and what a loss has left out is found again. Pure:
 * writes through a function, reads no clock and no kernel.
 */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event.h"
#include "options.h"

struct state;

/* Instead of a type: the record of the event itself. */
#define STATE_EVENT (-1)

/*
 * Writes one record: the event's own, or its change of one type of namespace.
 * Returns its number, from 1; 0 where it could not be written, so that no reader
 * has it; or a negative errno.
 */
typedef int64_t (*state_tell_fn)(void *context, const struct event *event, int type);

/* The number of the container whose processes are in this cgroup; 0: none. */
typedef uint64_t (*state_owner_fn)(void *context, uint64_t cgroup_id);

/* The caller frees it with state_free(). NULL: no memory. Borrows the options. */
struct state *state_new(const struct options *options, state_tell_fn tell, state_owner_fn owner,
			void *context);

void state_free(struct state *state);

/*
 * The functions below return 0, or the negative errno of the writing function.
 */

/* The namespaces of process 1, which are the host's. Those that are not known are 0. */
void state_set_host(struct state *state, const struct nsmon_ns_set *host);

/* One event of the kernel, in the order of the ring buffer. */
int state_event(struct state *state, const struct event *event);

/*
 * The first picture, before any event: each task, told where tell is set, then
 * the times between which it was taken. Only with it can be known what is missing.
 */
int state_seed(struct state *state, const struct event *proc, bool tell);
void state_seeded(struct state *state, uint64_t begin_ns, uint64_t end_ns);

/*
 * A later picture, to find what was lost: begin, each task, end. Events may come
 * between; when it ends, all that the kernel delivered before must have come.
 * quiet: only what is wrong is told, not threads that have gone elsewhere.
 */
void state_begin_pass(struct state *state, uint64_t now_ns, bool quiet);
int state_pass_task(struct state *state, const struct event *proc);
int state_end_pass(struct state *state);

/* Tasks of the last pass that were changing: another pass is needed for them. */
size_t state_unsure(const struct state *state);

/* No further pass now: what was kept for them is forgotten. */
void state_end_repair(struct state *state);

/*
 * Does the table have who an event is of, and for a fork who it is by? Where not, an event
 * before it was missed, unless a filter kept it back. Yes, where there is no table.
 */
bool state_knows(const struct state *state, const struct event *event);

/* Has something been met that only a picture explains? Asking answers it. */
bool state_take_doubt(struct state *state);

/* Can a picture be held against what was told? Not where forks or exits are not. */
bool state_can_repair(const struct state *state);

/* And does it show all that is asked for? Not namespaces of which only some changes are told. */
bool state_can_find_all(const struct state *state);

/* A task that nobody is told of: its container's namespaces may be entered by others. */
void state_claim(struct state *state, const struct event *proc);

/*
 * A task, or a process with all its threads, has left what the filter lets through:
 * that is told, and they are forgotten.
 */
int state_move_out(struct state *state, const struct event *event);

/* Is this task in the table? */
bool state_has(const struct state *state, uint32_t tid);

/* Tasks that a reader has now. */
size_t state_tasks(const struct state *state);

/* Records with numbers above this one were not written after all. Not while the table tells. */
void state_undo(struct state *state, uint64_t last);

/* All that was told has been written. */
void state_settle(struct state *state);

#endif
