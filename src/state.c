// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The reader's table. Must not know how a record is written, nor where rows come from. */
#include "state.h"

#include <errno.h>
#include <stdlib.h>

#include "rows.h"

/* CPUs' clocks may differ by this much. */
#define CLOCK_MARGIN_NS 10000

struct state {
	const struct options *options;
	state_tell_fn tell;
	state_owner_fn owner;
	void *context;
	struct nsmon_ns_set host;
	struct rows rows;
	size_t threads_told; /* by the last picture, without -T */
	bool tracks; /* forks and exits are told: rows come and go */
	bool fits; /* every change of a namespace is told */
	bool complete; /* the first picture was seen */
	bool silent; /* ... and not told: what it shows of events is no reason not to tell them */
	bool repairing;
	bool quiet;
	bool doubt;
	uint64_t picture_begin_ns;
	uint64_t picture_end_ns;
	uint64_t pass_begin_ns;
	generation_t generation;
	size_t unsure;
};

/* Does a reader have a row for it? Without -T only for main threads. */
static bool has_row(const struct state *state, const struct nsmon_task *task)
{
	return state->options->threads || task->tid == task->pid;
}

static bool wants(const struct state *state, enum nsmon_kind kind)
{
	return state->options->events & (1U << kind);
}

/* Can a picture tell what of its namespaces was not told? */
static bool can_compare(const struct state *state)
{
	return state->fits && wants(state, NSMON_NS);
}

/* ---- records ---- */

static bool differ(const struct nsmon_ns_set *a, const struct nsmon_ns_set *b, int type)
{
	return a->inum[type] != b->inum[type] || a->id[type] != b->id[type];
}

static void copy_type(struct nsmon_ns_set *to, const struct nsmon_ns_set *from, int type)
{
	to->inum[type] = from->inum[type];
	to->id[type] = from->id[type];
}

/* Types that nobody is told of. */
static void copy_types(struct state *state, struct row *row, const struct nsmon_ns_set *from,
		       uint32_t types)
{
	struct nsmon_ns_set ns = row->data.set->ns;

	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (types & (1U << type))
			copy_type(&ns, from, type);
	rows_set_namespaces(&state->rows, row, &ns);
}

/* The record of this number has said it of one type; the next one may not get through. */
static void set_told(struct state *state, struct row *row, int64_t seq,
		     const struct nsmon_ns_set *to, int type)
{
	if (seq == 0 || !row || !row->data.set)
		return;
	rows_remember(&state->rows, seq, row->data.task.tid, row);
	copy_types(state, row, to, 1U << type);
}

/*
 * A container's namespaces are those in which a program runs that was started in
 * its cgroup: before that, what sets the container up may be in the host's.
 */
static void claim(struct state *state, const struct row *row)
{
	uint64_t owner =
		row && row->data.set ? state->owner(state->context, row->data.task.cgroup_id) : 0;

	if (owner && (!row->data.set->owner || owner < row->data.set->owner))
		row->data.set->owner = owner;
}

/* Whose namespace was entered: the host's, or of the containers that share it the first one's. */
static uint64_t find_target(const struct state *state, const struct event *event, int type)
{
	const struct nsmon_ns_set *now = &event->change->now;
	const struct set *set, *next;
	uint64_t owner = 0;

	if (state->host.inum[type] && !differ(&state->host, now, type))
		return TARGET_HOST;
	HASH_ITER(hh, state->rows.sets, set, next)
	{
		if (set->owner && (!owner || set->owner < owner) && !differ(&set->ns, now, type))
			owner = set->owner;
	}
	return owner == state->owner(state->context, event->task->cgroup_id) ? 0 : owner;
}

static int64_t tell_type(struct state *state, const struct event *event, int type)
{
	struct event aimed;

	if (event->recovered || event->change->reason[type] != NSMON_REASON_SETNS)
		return state->tell(state->context, event, type);
	aimed = *event;
	aimed.target.owner = find_target(state, event, type);
	return state->tell(state->context, &aimed, type);
}

/* A type that is not what it was told to be, from one set to the other. */
static int64_t tell_recovered_type(struct state *state, const struct event *event, int type,
				   const struct nsmon_ns_set *from, const struct nsmon_ns_set *to)
{
	struct nsmon_ns_change change = { .old = *from, .now = *to, .changed = 1U << type };
	struct event found = {
		.kind = NSMON_NS,
		.time = event->time,
		.task = event->task,
		.change = &change,
		.recovered = true,
	};

	return state->tell(state->context, &found, type);
}

/* A row as a whole, where there is none that it could differ from. */
/* Does the event tell of the task all that a picture does? */
static bool is_whole(const struct event *event)
{
	return event->kind == NSMON_PROC || event->kind == NSMON_CGROUP;
}

static int64_t tell_picture(struct state *state, const struct event *event,
			    const struct nsmon_ns_set *ns)
{
	struct event found = {
		.kind = NSMON_PROC,
		.time = event->time,
		.task = event->task,
		.recovered = true,
		.proc = { .ns = ns },
	};

	if (is_whole(event))
		found.proc = event->proc;
	found.proc.ns = ns;
	return state->tell(state->context, &found, STATE_EVENT);
}

static int tell_whole(struct state *state, struct row *row, const struct event *event,
		      const struct nsmon_ns_set *ns)
{
	int64_t seq = tell_picture(state, event, ns);

	if (seq <= 0)
		return (int)seq;
	rows_remember(&state->rows, seq, row->data.task.tid, row);
	rows_set_namespaces(&state->rows, row, ns);
	row->data.told_cgroup_id = event->task->cgroup_id;
	return 0;
}

/* A task that ended without being told to. */
static int tell_end(struct state *state, struct row *row, uint64_t time)
{
	const struct nsmon_task task = row->data.task;
	const struct event found = {
		.kind = NSMON_EXIT,
		.time = time,
		.task = &task,
		.recovered = true,
		.exit.process_ends =
			task.tid == task.pid && row->data.lived_on != state->generation,
	};
	int64_t seq;

	if (row->data.kind != ROW_TOLD || !state->tracks) {
		rows_drop(&state->rows, row);
		return 0;
	}
	seq = state->tell(state->context, &found, STATE_EVENT);
	if (seq <= 0)
		return (int)seq;
	rows_remember(&state->rows, seq, task.tid, row);
	rows_drop(&state->rows, row);
	return 0;
}

/* Does a reader have a whole row that another one can begin as? */
static bool is_base(const struct row *row)
{
	return row && row->data.kind == ROW_TOLD && row->data.set;
}

/* It has not been missed: the filter by cgroup did not let it through before. */
static bool is_moved_in(const struct state *state, const struct event *event)
{
	return event->kind == NSMON_CGROUP && (state->options->cgroup || state->options->container);
}

/*
 * A row for a task that was not told of: *row. It begins as its parent's, or,
 * where a reader has none of that, as ns; where that is NULL, a picture will tell.
 */
static int introduce(struct state *state, const struct event *event, const struct nsmon_ns_set *ns,
		     struct row **row)
{
	const struct nsmon_task *task = event->task;
	uint32_t creator = task->tid == task->pid ? task->ppid : task->pid;
	const struct row *parent = rows_find(&state->rows, creator);
	struct event forked = {
		.kind = NSMON_FORK,
		.time = event->time,
		.task = task,
		.recovered = true,
		.fork = { .told = true, .creator_pid = creator, .creator_tid = creator },
	};
	struct row_data data = {
		.task = *task,
		.told_cgroup_id = task->cgroup_id,
		.read_ns = event->time,
		.generation = state->generation,
	};
	int64_t seq;

	*row = NULL;
	state->doubt |= !is_moved_in(state, event);
	if ((is_base(parent) && !is_moved_in(state, event)) || !ns) {
		seq = state->tell(state->context, &forked, STATE_EVENT);
		data.set = is_base(parent) ? rows_share(parent->data.set) : NULL;
	} else {
		seq = tell_picture(state, event, ns);
		data.set = seq > 0 ? rows_intern(&state->rows, ns) : NULL;
		data.exec_id = is_whole(event) ? event->proc.exec_id : 0;
	}
	if (seq > 0) {
		rows_remember(&state->rows, seq, task->tid, NULL);
		*row = rows_add(&state->rows, &data);
	}
	rows_release(&state->rows, data.set);
	return seq < 0 ? (int)seq : 0;
}

/* Of a task that is not in the first picture, from before it was complete: it has ended by then. */
static bool is_before_picture(const struct state *state, const struct event *event)
{
	return state->complete && state->tracks && event->time <= state->picture_end_ns;
}

/* From before the first picture was complete, where nobody was told of that: of the event everybody is. */
static bool is_owed(const struct state *state, const struct event *event)
{
	return state->silent && state->complete && event->time <= state->picture_end_ns;
}

/*
 * Does the row stand for nothing that a reader was told? A task can be read in the
 * midst of its fork or exit, whose record is later than the end of the picture.
 */
static bool is_untold(const struct state *state, const struct row *row)
{
	return state->silent && row->data.seeded;
}

/* Has the newest picture of this task shown it already? */
static bool is_in_picture(const struct row *row, const struct event *event)
{
	return event->time + CLOCK_MARGIN_NS < row->data.read_ns;
}

static void touch(struct row *row, const struct event *event)
{
	row->data.task = *event->task;
	if (event->time > row->data.event_ns)
		row->data.event_ns = event->time;
}

/*
 * fs/exec.c:de_thread() gives the number and the start of a main thread that has
 * ended to the thread that execs: what is seen of it from then on is that thread.
 */
static bool is_taken_over(const struct row *row, uint64_t time)
{
	return row->data.kind != ROW_TOLD && time > row->data.read_ns &&
	       time > row->data.event_ns + CLOCK_MARGIN_NS;
}

/* The namespaces that a task was in before an event of it, where that tells them. */
static const struct nsmon_ns_set *namespaces_before(const struct event *event)
{
	if (event->kind == NSMON_CGROUP && !(event->proc.flags & NSMON_PROC_PARTIAL))
		return event->proc.ns;
	return event->change ? &event->change->old : NULL;
}

/*
 * The row of an event's task, with which the event is to be told: *row, which is
 * NULL where none is kept. Returns 1 to tell it, 0 not to, or a negative errno.
 */
static int find_told(struct state *state, const struct event *event, struct row **row)
{
	struct row *found = rows_find(&state->rows, event->task->tid);
	int err;

	*row = NULL;
	if (found && !row_is_of(found, event->task)) {
		err = tell_end(state, found, event->time); /* its number is another task's now */
		if (err)
			return err;
		found = NULL;
	}
	if (found && event->kind == NSMON_EXEC && is_taken_over(found, event->time)) {
		if (found->data.kind == ROW_ENDING) {
			found->data.passed_over = true;
			state->doubt = true;
			return 0;
		}
		rows_drop(&state->rows, found);
		found = NULL;
	}
	if (found && found->data.kind == ROW_ENDING && is_untold(state, found)) {
		if (event->kind == NSMON_EXIT)
			rows_drop(&state->rows, found);
		return 1;
	}
	if (found && found->data.kind != ROW_TOLD)
		return 0;
	if (!found && state->complete) {
		if (is_before_picture(state, event))
			return state->silent;
		if (state->tracks) {
			err = introduce(state, event, namespaces_before(event), &found);
			if (err)
				return err;
		}
	}
	*row = found;
	return 1;
}

/* ---- events ---- */

/* All types that changed, as the kernel has it. */
static int tell_changes(struct state *state, const struct event *event, uint32_t types,
			struct row *row)
{
	int64_t seq;

	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!(types & (1U << type)))
			continue;
		seq = tell_type(state, event, type);
		if (seq < 0)
			return (int)seq;
		set_told(state, row, seq, &event->change->now, type);
	}
	return 0;
}

/* Where nobody is told of the first picture, events are told from the first one on. */
static int tell_as_it_is(struct state *state, const struct event *event)
{
	int64_t seq = event->fork.told ? state->tell(state->context, event, STATE_EVENT) : 0;

	if (seq < 0 || !event->change)
		return seq < 0 ? (int)seq : 0;
	return tell_changes(state, event, event->change->changed, NULL);
}

static uint32_t differences(const struct nsmon_ns_set *a, const struct nsmon_ns_set *b)
{
	uint32_t bits = 0;

	for (int type = 0; type < NSMON_NS_TYPES; type++)
		bits |= (uint32_t)differ(a, b, type) << type;
	return bits;
}

/* A row that was read when its main thread had left its namespaces lacks some. */
static bool lacks(const struct row *row, const struct nsmon_ns_set *found)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (found->inum[type] && !(row->data.set && row->data.set->ns.inum[type]))
			return true;
	return false;
}

/* Whoever has the number of a child's creator. */
static struct row *find_creator(const struct state *state, const struct event *event)
{
	return rows_find(&state->rows, state->options->threads ? event->fork.creator_tid
							       : event->fork.creator_pid);
}

/* Is that a row that a child's can begin as? */
static bool is_creator(const struct row *row, const struct event *event)
{
	return row && row->data.kind == ROW_TOLD &&
	       row->data.task.start_ns == event->fork.creator_start_ns;
}

/*
 * Was its creator passed over by the first picture? Then the child is left to the
 * next one as well: a reader cannot know by whom it is.
 */
static bool is_passed_over(const struct state *state, const struct row *creator)
{
	return creator && creator->data.passed_over && !state->silent;
}

/*
 * A picture goes through the numbers upwards. A creator that ended before it came there has no
 * row, nor has a child whose number was below: new numbers begin anew at the end.
 */
static bool is_behind_picture(const struct state *state, const struct event *event)
{
	uint32_t pid = event->fork.creator_pid, tid = event->fork.creator_tid;

	return is_before_picture(state, event) && event->task->tid < (pid > tid ? pid : tid);
}

static int handle_fork(struct state *state, const struct event *event)
{
	const bool with_row = state->tracks && event->fork.told && has_row(state, event->task);
	struct row *row =
		has_row(state, event->task) ? rows_find(&state->rows, event->task->tid) : NULL;
	struct row_data data = {
		.task = *event->task,
		.told_cgroup_id = event->task->cgroup_id,
		.event_ns = event->time,
		/* A picture that is being taken may have met it before it was born, or not at all. */
		.generation = state->repairing ? state->generation : 0,
	};
	struct nsmon_ns_change fitted;
	struct event as_told;
	struct row *found, *creator;
	uint32_t types;
	int64_t seq;
	int err;

	if (row && row_is_of(row, event->task) && row->data.read_ns) /* a picture has it */
		return is_untold(state, row) ? tell_as_it_is(state, event) : 0;
	if (row && row_is_of(row, event->task)) {
		rows_drop(&state->rows, row);
	} else if (row) {
		err = tell_end(state, row, event->time);
		if (err)
			return err;
	}
	found = find_creator(state, event);
	creator = is_creator(found, event) ? found : NULL;
	if (!creator && is_before_picture(state, event) && state->silent)
		return tell_as_it_is(state, event);
	row = NULL;
	if (with_row &&
	    (is_passed_over(state, found) || (!creator && is_behind_picture(state, event)))) {
		data.kind = ROW_ENDING;
		data.passed_over = true;
		rows_add(&state->rows, &data);
		state->doubt = true;
		return 0;
	}
	if (!creator && is_before_picture(state, event)) /* both ended before it was complete */
		return 0;
	if (event->fork.told) {
		seq = state->tell(state->context, event, STATE_EVENT);
		if (seq <= 0)
			return (int)seq;
		data.set = creator ? creator->data.set : NULL;
		if (with_row) {
			state->doubt |= state->complete && !data.set && can_compare(state);
			rows_remember(&state->rows, seq, event->task->tid, NULL);
			row = rows_add(&state->rows, &data);
		}
	}
	if (!event->change)
		return 0;
	types = event->change->changed;
	if (row && state->fits) {
		if (state->complete && lacks(row, &event->change->old)) {
			err = tell_whole(state, row, event, &event->change->old);
			if (err)
				return err;
		}
		if (row->data.set)
			types = differences(&row->data.set->ns, &event->change->now) &
				event->change->wanted;
	}
	if (!row || !row->data.set)
		return tell_changes(state, event, types, row);
	/* From what was told of its creator, which may be another set than the kernel saw. */
	fitted = *event->change;
	fitted.old = row->data.set->ns;
	fitted.changed = types;
	as_told = *event;
	as_told.change = &fitted;
	return tell_changes(state, &as_told, types, row);
}

/*
 * The change of a task whose row is known. What the row has and the kernel does
 * not is told first, as found out: a record before this one was lost.
 */
static int tell_fitting(struct state *state, const struct event *event, struct row *row)
{
	const struct nsmon_ns_change *change = event->change;
	const struct nsmon_ns_set before = row->data.set->ns;
	int64_t seq;

	copy_types(state, row, &change->now, ~(uint32_t)change->wanted);
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		const struct nsmon_ns_set *is =
			change->changed & (1U << type) ? &change->old : &change->now;

		if (!(change->wanted & (1U << type)) || !differ(&before, &change->now, type))
			continue;
		if (differ(&before, is, type)) {
			seq = tell_recovered_type(state, event, type, &before, is);
			if (seq < 0)
				return (int)seq;
			set_told(state, row, seq, is, type);
		}
		if (is != &change->old)
			continue;
		seq = tell_type(state, event, type);
		if (seq < 0)
			return (int)seq;
		set_told(state, row, seq, &change->now, type);
	}
	return 0;
}

static bool is_of_exec(const struct event *event)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (event->change->changed & (1U << type) &&
		    event->change->reason[type] == NSMON_REASON_EXEC)
			return true;
	return false;
}

static int handle_ns(struct state *state, const struct event *event)
{
	struct row *row;
	int told, err;

	if (event->failed) {
		int64_t seq = state->tell(state->context, event, STATE_EVENT);

		return seq < 0 ? (int)seq : 0;
	}
	if (!has_row(state, event->task)) {
		if (state->complete && event->time < state->picture_begin_ns)
			return 0;
		return tell_changes(state, event, event->change->changed, NULL);
	}
	told = find_told(state, event, &row);
	if (told <= 0)
		return told;
	if (is_owed(state, event))
		return tell_changes(state, event, event->change->changed,
				    row && is_in_picture(row, event) ? NULL : row);
	if (row && is_in_picture(row, event))
		return 0;
	if (row && state->fits && state->complete && lacks(row, &event->change->old)) {
		err = tell_whole(state, row, event, &event->change->old);
		if (err)
			return err;
	}
	/* With -T, exec: from the main thread's row to that of the thread, which took its place. */
	if (!row || !state->fits || !row->data.set ||
	    (state->options->threads && row->data.taken && is_of_exec(event)))
		err = tell_changes(state, event, event->change->changed, row);
	else
		err = tell_fitting(state, event, row);
	if (row)
		touch(row, event);
	return err;
}

/*
 * With -T the thread that execs takes its row along to the process's number. What
 * the main thread's row was has ended before.
 */
static struct row *rename_row(struct state *state, int64_t seq, struct row *thread,
			      const struct event *exec)
{
	const uint32_t tid = exec->task->tid;
	struct row *leader = rows_find(&state->rows, tid);
	struct row_data data = thread->data;

	data.task.tid = tid;
	rows_share(data.set);
	rows_remember(&state->rows, seq, thread->data.task.tid, thread);
	if (state->repairing) {
		thread->data.event_ns = exec->time;
		rows_set_kind(&state->rows, thread, ROW_ENDED);
	} else {
		rows_drop(&state->rows, thread);
	}
	rows_remember(&state->rows, seq, tid, leader);
	if (leader)
		rows_drop(&state->rows, leader);
	thread = rows_add(&state->rows, &data);
	rows_release(&state->rows, data.set);
	return thread;
}

/* With -T: the row of the thread that execed, under its own number until now. */
static struct row *find_execed(const struct state *state, const struct event *event)
{
	struct row *row = state->options->threads && event->exec.old_tid
				  ? rows_find(&state->rows, event->exec.old_tid)
				  : NULL;

	return row && row->data.task.pid == event->task->pid && row->data.kind == ROW_TOLD ? row
											   : NULL;
}

static bool is_partial(const struct row *row)
{
	return !row->data.set || !row->data.set->ns.inum[NSMON_NS_MNT];
}

/* With -T: whoever else had the thread's number has ended, or its row would be taken along. */
static int end_namesake(struct state *state, const struct event *event)
{
	struct row *row = state->options->threads && event->exec.old_tid
				  ? rows_find(&state->rows, event->exec.old_tid)
				  : NULL;

	return row && row->data.task.pid != event->task->pid ? tell_end(state, row, event->time)
							     : 0;
}

static int handle_exec(struct state *state, const struct event *event)
{
	struct row *thread = find_execed(state, event);
	struct row *row = thread;
	int told = thread ? 1 : find_told(state, event, &row);
	int64_t seq;
	int err;

	if (told <= 0)
		return told;
	if (row && row->data.seeded && !state->silent &&
	    (is_in_picture(row, event) || row->data.exec_id == event->exec.exec_id))
		return 0;
	err = end_namesake(state, event);
	if (err)
		return err;
	seq = state->tell(state->context, event, STATE_EVENT);
	if (seq <= 0 || !row)
		return seq < 0 ? (int)seq : 0;
	if (thread)
		row = rename_row(state, seq, thread, event);
	else
		rows_remember(&state->rows, seq, row->data.task.tid, row);
	if (!row)
		return 0;
	row->data.exec_id = event->exec.exec_id;
	row->data.taken = event->exec.old_tid != 0;
	touch(row, event);
	claim(state, row);
	/* It may have been moved without its main thread. */
	if (event->exec.old_tid && wants(state, NSMON_CGROUP) &&
	    row->data.told_cgroup_id != event->task->cgroup_id)
		state->doubt = true;
	/* Its main thread had ended before it was seen. */
	if (is_partial(row) && can_compare(state))
		state->doubt = true;
	/* Its own switch of the time namespace: the record that may follow is about the main thread's row. */
	if (thread && can_compare(state) && row->data.set &&
	    row->data.set->ns.inum[NSMON_NS_TIME] !=
		    row->data.set->ns.inum[NSMON_NS_TIME_FOR_CHILDREN])
		state->doubt = true;
	return 0;
}

/* A move to where the task is told to be already is none. */
static int64_t tell_move(struct state *state, const struct event *event, struct row *row)
{
	struct event moved = *event;
	int64_t seq;

	if (row && row->data.told_cgroup_id == event->task->cgroup_id)
		return 0;
	moved.kind = NSMON_CGROUP;
	moved.old_cgroup_id = row ? row->data.told_cgroup_id : 0;
	seq = state->tell(state->context, &moved, STATE_EVENT);
	if (seq > 0 && row) {
		rows_remember(&state->rows, seq, row->data.task.tid, row);
		row->data.told_cgroup_id = event->task->cgroup_id;
	}
	return seq;
}

static bool is_moved_too(const struct row *row, const struct event *event)
{
	return row->data.task.pid == event->task->pid && row->data.task.tid != event->task->tid &&
	       row->data.task.start_ns == event->task->start_ns && row->data.kind == ROW_TOLD;
}

static int64_t move_threads(struct state *state, const struct event *event)
{
	struct row *row, *next;
	int64_t seq = 0;

	if (!state->options->threads || !(event->proc.flags & NSMON_PROC_THREADS))
		return 0;
	HASH_ITER(hh, state->rows.by_tid, row, next)
	{
		struct nsmon_task task = row->data.task;
		struct event moved = *event;

		if (seq < 0 || !is_moved_too(row, event))
			continue;
		task.cgroup_id = event->task->cgroup_id;
		moved.task = &task;
		seq = tell_move(state, &moved, row);
		row->data.task.cgroup_id = task.cgroup_id;
	}
	return seq;
}

static int handle_cgroup(struct state *state, const struct event *event)
{
	struct row *row;
	int64_t seq;
	int told;

	if (!has_row(state, event->task))
		return 0;
	told = find_told(state, event, &row);
	if (told <= 0 || (row && is_in_picture(row, event)))
		return told < 0 ? told : 0;
	seq = tell_move(state, event, row);
	if (row)
		touch(row, event);
	if (seq >= 0)
		seq = move_threads(state, event);
	return seq < 0 ? (int)seq : 0;
}

int state_move_out(struct state *state, const struct event *event)
{
	struct row *row = rows_find(&state->rows, event->task->tid), *next;
	int64_t seq = 0;

	if (row)
		seq = handle_cgroup(state, event);
	else
		seq = move_threads(state, event);
	row = rows_find(&state->rows, event->task->tid);
	if (row)
		rows_drop(&state->rows, row);
	if (!(event->proc.flags & NSMON_PROC_THREADS))
		return seq < 0 ? (int)seq : 0;
	HASH_ITER(hh, state->rows.by_tid, row, next)
	{
		if (is_moved_too(row, event))
			rows_drop(&state->rows, row);
	}
	return seq < 0 ? (int)seq : 0;
}

static int handle_exit(struct state *state, const struct event *event)
{
	struct row *row;
	int64_t seq;
	int told = find_told(state, event, &row);

	if (told <= 0) {
		row = told == 0 ? rows_find(&state->rows, event->task->tid) : NULL;
		if (row && row->data.kind == ROW_ENDING)
			rows_drop(&state->rows, row);
		return told;
	}
	seq = state->tell(state->context, event, STATE_EVENT);
	if (seq <= 0 || !row)
		return seq < 0 ? (int)seq : 0;
	rows_remember(&state->rows, seq, row->data.task.tid, row);
	touch(row, event);
	if (state->repairing)
		rows_set_kind(&state->rows, row, ROW_ENDED);
	else
		rows_drop(&state->rows, row);
	return 0;
}

/* Without forks and exits rows would grow old: they serve only what the picture has told. */
static void forget_picture(struct state *state)
{
	struct row *row, *next;

	HASH_ITER(hh, state->rows.by_tid, row, next)
	rows_drop(&state->rows, row);
	state_settle(state); /* nothing comes back */
	state->complete = false;
}

int state_event(struct state *state, const struct event *event)
{
	if (state->complete && !state->tracks && event->time > state->picture_end_ns)
		forget_picture(state);
	switch (event->kind) {
	case NSMON_FORK:
		return handle_fork(state, event);
	case NSMON_EXEC:
		return handle_exec(state, event);
	case NSMON_EXIT:
		return handle_exit(state, event);
	case NSMON_NS:
		return handle_ns(state, event);
	case NSMON_CGROUP:
		return handle_cgroup(state, event);
	case NSMON_LOST:
	case NSMON_PROC:
	case NSMON_CGROUP_TREE:
		break;
	}
	return 0;
}

void state_set_host(struct state *state, const struct nsmon_ns_set *host)
{
	state->host = *host;
}

/*
 * Its end will not be heard of: a number that is used again must not be taken for
 * its namespace, so only those count that have an id.
 */
void state_claim(struct state *state, const struct event *proc)
{
	uint64_t owner = state->owner(state->context, proc->task->cgroup_id);
	struct nsmon_ns_set ns = *proc->proc.ns;
	struct set *set;

	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (!ns.id[type])
			ns.inum[type] = 0;
	set = owner ? rows_intern(&state->rows, &ns) : NULL;
	if (set && (!set->owner || owner < set->owner))
		set->owner = owner;
}

/* ---- the first picture ---- */

int state_seed(struct state *state, const struct event *proc, bool tell)
{
	struct row_data data = {
		.task = *proc->task,
		.told_cgroup_id = proc->task->cgroup_id,
		.exec_id = proc->proc.exec_id,
		.read_ns = proc->time,
		.seeded = true,
	};
	struct row *row;
	int64_t seq = 0;

	state->silent = !tell;
	if (proc->proc.flags & (NSMON_PROC_ENDING | NSMON_PROC_ENDED)) {
		data.kind = ROW_ENDING;
	} else if (tell) {
		seq = state->tell(state->context, proc, STATE_EVENT);
		if (seq <= 0)
			return (int)seq;
	}
	if (!has_row(state, proc->task)) {
		state->threads_told += data.kind == ROW_TOLD;
		return 0;
	}
	if (data.kind == ROW_TOLD)
		data.set = rows_intern(&state->rows, proc->proc.ns);
	row = rows_find(&state->rows, proc->task->tid);
	if (row)
		rows_drop(&state->rows, row);
	if (seq)
		rows_remember(&state->rows, seq, proc->task->tid, NULL);
	claim(state, rows_add(&state->rows, &data));
	rows_release(&state->rows, data.set);
	return 0;
}

void state_seeded(struct state *state, uint64_t begin_ns, uint64_t end_ns)
{
	state->picture_begin_ns = begin_ns;
	state->picture_end_ns = end_ns;
	state->complete = true;
}

/* ---- later pictures ---- */

void state_begin_pass(struct state *state, uint64_t now_ns, bool quiet)
{
	if (!quiet)
		state->threads_told = 0;
	state->generation++;
	state->pass_begin_ns = now_ns;
	state->repairing = true;
	state->quiet = quiet;
	state->unsure = 0;
}

static int compare_namespaces(struct state *state, struct row *row, const struct event *proc)
{
	const struct nsmon_ns_set *found = proc->proc.ns;
	uint32_t types;
	int64_t seq;

	if (!can_compare(state))
		return 0;
	if (lacks(row, found))
		return tell_whole(state, row, proc, found);
	if (!row->data.set)
		return 0;
	types = differences(&row->data.set->ns, found);
	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (!found->inum[type]) /* left at its end */
			types &= ~(1U << type);
	if (!types)
		return 0;
	copy_types(state, row, found, types & ~state->options->types);
	for (int type = 0; type < NSMON_NS_TYPES && row->data.set; type++) {
		if (!(types & state->options->types & (1U << type)))
			continue;
		seq = tell_recovered_type(state, proc, type, &row->data.set->ns, found);
		if (seq < 0)
			return (int)seq;
		set_told(state, row, seq, found, type);
	}
	return 0;
}

/* Only what two pictures have seen: a program shows its new id before its record is out. */
static int compare_program(struct state *state, struct row *row, const struct event *proc)
{
	struct event found = {
		.kind = NSMON_EXEC,
		.time = proc->time,
		.task = proc->task,
		.recovered = true,
		.exec = { .exec_id = proc->proc.exec_id },
	};
	int64_t seq;

	if (!wants(state, NSMON_EXEC) || !proc->proc.exec_id ||
	    proc->proc.exec_id == row->data.exec_id)
		return 0;
	if (row->data.exec_seen != proc->proc.exec_id) {
		row->data.exec_seen = proc->proc.exec_id;
		state->unsure++;
		return 0;
	}
	seq = state->tell(state->context, &found, STATE_EVENT);
	if (seq <= 0)
		return (int)seq;
	rows_remember(&state->rows, seq, row->data.task.tid, row);
	row->data.exec_id = proc->proc.exec_id;
	row->data.seeded = false; /* what the kernel delivers after all is told as well */
	return 0;
}

static int compare_cgroup(struct state *state, struct row *row, const struct event *proc)
{
	struct event found = *proc;
	int64_t seq;

	if (!wants(state, NSMON_CGROUP))
		return 0;
	found.recovered = true;
	seq = tell_move(state, &found, row);
	return seq < 0 ? (int)seq : 0;
}

/*
 * A thread that execs is seen under its main thread's number as soon as all others
 * have ended, and told to be so only when the new program is in place. Until then its
 * row is still under its own number.
 */
static void keep_execing(struct state *state, const struct event *proc)
{
	struct row *row, *next;

	if (!state->options->threads || proc->task->tid != proc->task->pid)
		return;
	HASH_ITER(hh, state->rows.by_tid, row, next)
	{
		if (row->data.task.pid == proc->task->pid &&
		    row->data.task.start_ns == proc->task->start_ns && row->data.kind == ROW_TOLD)
			row->data.generation = state->generation;
	}
}

int state_pass_task(struct state *state, const struct event *proc)
{
	const uint32_t flags = proc->proc.flags;
	struct row *row;
	int err;

	if (!state_can_repair(state))
		return 0;
	if (!has_row(state, proc->task)) {
		int64_t seq = 0;

		if (!state->quiet && can_compare(state) &&
		    !(flags & (NSMON_PROC_PARTIAL | NSMON_PROC_ENDING))) {
			struct event found = *proc;

			found.recovered = true;
			seq = state->tell(state->context, &found, STATE_EVENT);
			state->threads_told += seq > 0;
		}
		return seq < 0 ? (int)seq : 0;
	}
	row = rows_find(&state->rows, proc->task->tid);
	if (row && !row_is_of(row, proc->task)) {
		err = tell_end(state, row, proc->time);
		if (err)
			return err;
		row = NULL;
	}
	if (row && !(flags & NSMON_PROC_ENDING) && is_taken_over(row, proc->time)) {
		rows_drop(&state->rows, row);
		row = NULL;
	}
	if (row && row->data.kind == ROW_ENDING)
		row->data.generation = state->generation; /* its exit may still come */
	if (row && flags & NSMON_PROC_ENDED && flags & NSMON_PROC_LIVES)
		row->data.lived_on = state->generation;
	if (flags & NSMON_PROC_ENDED || (row && row->data.kind != ROW_TOLD))
		return 0; /* without its generation: state_end_pass() tells what is to be told */
	if (row) {
		row->data.generation = state->generation;
		row->data.absent = false;
	}
	if (flags & NSMON_PROC_ENDING) {
		state->unsure += row != NULL;
		return 0;
	}
	if (flags & NSMON_PROC_BUSY || (row && row->data.event_ns >= proc->time)) {
		if (flags & NSMON_PROC_BUSY)
			keep_execing(state, proc);
		state->unsure++;
		return 0;
	}
	if (!row) {
		err = introduce(state, proc, proc->proc.ns, &row);
		if (err || !row)
			return err;
	}
	err = compare_namespaces(state, row, proc);
	if (!err)
		err = compare_program(state, row, proc);
	if (!err)
		err = compare_cgroup(state, row, proc);
	row->data.task = *proc->task;
	row->data.read_ns = proc->time;
	claim(state, row);
	return err;
}

/*
 * It may be about to exec, as in keep_execing(), and have changed its number between
 * two looks: a thread has ended when two pictures in a row do not show it.
 */
static bool may_exec(struct state *state, struct row *row)
{
	const struct nsmon_task *task = &row->data.task;

	if (task->tid == task->pid || row->data.absent)
		return false;
	row->data.absent = true;
	state->unsure++;
	return true;
}

int state_end_pass(struct state *state)
{
	struct row *row, *next;
	int err = 0;

	if (!state_can_repair(state))
		return 0;
	HASH_ITER(hh, state->rows.by_tid, row, next)
	{
		if (row->data.generation == state->generation ||
		    row->data.event_ns >= state->pass_begin_ns ||
		    row->data.read_ns >= state->pass_begin_ns || may_exec(state, row))
			continue;
		err = tell_end(state, row, state->pass_begin_ns);
		if (err)
			break;
	}
	return err;
}

size_t state_unsure(const struct state *state)
{
	return state->unsure;
}

void state_end_repair(struct state *state)
{
	struct row *row, *next;

	HASH_ITER(hh, state->rows.by_tid, row, next)
	{
		if (row->data.kind == ROW_ENDED)
			rows_drop(&state->rows, row);
	}
	state->repairing = false;
}

bool state_knows(const struct state *state, const struct event *event)
{
	const struct row *row;

	if (!state_can_repair(state))
		return true;
	if (event->kind == NSMON_FORK)
		return is_creator(find_creator(state, event), event);
	row = rows_find(&state->rows, event->task->tid);
	return !has_row(state, event->task) || (row && row_is_of(row, event->task));
}

bool state_take_doubt(struct state *state)
{
	bool doubt = state->doubt;

	state->doubt = false;
	return doubt && state_can_repair(state);
}

bool state_can_repair(const struct state *state)
{
	return state->complete && state->tracks;
}

bool state_can_find_all(const struct state *state)
{
	return state_can_repair(state) && (state->fits || !wants(state, NSMON_NS));
}

bool state_has(const struct state *state, uint32_t tid)
{
	return rows_find(&state->rows, tid) != NULL;
}

void state_undo(struct state *state, uint64_t last)
{
	rows_undo(&state->rows, last);
}

void state_settle(struct state *state)
{
	rows_settle(&state->rows);
}

size_t state_tasks(const struct state *state)
{
	return HASH_COUNT(state->rows.by_tid) - state->rows.untold + state->threads_told;
}

/* ---- */

struct state *state_new(const struct options *options, state_tell_fn tell, state_owner_fn owner,
			void *context)
{
	struct state *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	state->options = options;
	state->tell = tell;
	state->owner = owner;
	state->context = context;
	state->tracks = wants(state, NSMON_FORK) && wants(state, NSMON_EXIT);
	state->fits = state->tracks && options->reasons == REASONS_ALL;
	return state;
}

void state_free(struct state *state)
{
	if (!state)
		return;
	rows_free(&state->rows);
	free(state);
}
