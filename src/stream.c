// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The stream of records. Must not know a format, nor where the lines go. */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "log.h"

/* How long a reader that does not read may hold up the end of nsmon. */
#define GIVE_UP_MS 2000

#define NS_PER_S 1000000000ULL

#define UNDO_NOTHING UINT64_MAX

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t stream_now_ns(const struct stream *stream)
{
	return clock_ns(CLOCK_BOOTTIME) - (uint64_t)stream->boot_offset_ns;
}

static int64_t tell(void *context, const struct event *event, int type);

/* The container whose processes are in this cgroup, for the table. */
static uint64_t owner_of(void *context, uint64_t cgroup_id)
{
	const struct stream *stream = context;
	const struct cgroup *cgroup = cgroups_find(stream->cgroups, cgroup_id);

	return cgroup && cgroup->container ? cgroup->container->number : 0;
}

int stream_init(struct stream *stream, const struct formatter *formatter, const struct run *run,
		struct output *output, struct cgroups *cgroups, const volatile sig_atomic_t *stop,
		int64_t boot_offset_ns)
{
	memset(stream, 0, sizeof(*stream));
	stream->formatter = formatter;
	stream->run = run;
	stream->output = output;
	stream->stop = stop;
	stream->boot_offset_ns = boot_offset_ns;
	stream->retry = true;
	stream->undo_to = UNDO_NOTHING;
	stream->cgroups = cgroups;
	stream->state = state_new(run->options, tell, owner_of, stream);
	if (!stream->state)
		return -ENOMEM;
	procfs_open(&stream->procfs, boot_offset_ns);
	stream_begin_batch(stream);
	return 0;
}

void stream_free(struct stream *stream)
{
	if (!stream->state)
		return;
	procfs_close(&stream->procfs);
	state_free(stream->state);
	stream->state = NULL;
}

void stream_begin_batch(struct stream *stream)
{
	stream->boot_to_real_ns = clock_ns(CLOCK_REALTIME) - stream_now_ns(stream);
	stream->retry = true;
}

/*
 * Lines that the output dropped were never records: their numbers are used again.
 * While the table tells, it holds rows that may go: see end_telling().
 */
static void take_dropped(struct stream *stream)
{
	uint64_t dropped[NSMON_KINDS];
	uint64_t lines = output_take_dropped(stream->output, dropped);

	if (!lines)
		return;
	stream->seq -= lines;
	if (!stream->telling)
		state_undo(stream->state, stream->seq);
	else if (stream->seq < stream->undo_to)
		stream->undo_to = stream->seq;
	stream->repair_due = true;
	stream->totals.written[NSMON_PROC] -= dropped[NSMON_PROC];
	stream->totals.unwritten += lines;
	for (int i = 0; i < NSMON_KINDS; i++) {
		if (!is_counted(i))
			continue;
		stream->totals.written[i] -= dropped[i];
		stream->totals.lost += dropped[i];
		stream->totals.lost_of[i] += dropped[i];
		stream->untold[i] += dropped[i];
	}
	if (!dropped[NSMON_LOST])
		return;
	/* There is one at a time: it is written at once. */
	stream->totals.written[NSMON_LOST]--;
	for (int i = 0; i < NSMON_KINDS; i++)
		stream->untold[i] += stream->told[i];
}

static void on_write(const struct stream *stream, enum stream_write what)
{
	if (stream->on_write)
		stream->on_write(stream->context, what);
}

int stream_flush(struct stream *stream)
{
	int err;

	if (stream->gave_up || output_is_empty(stream->output))
		return 0;
	on_write(stream, STREAM_WRITE_BEGINS);
	/* Once asked to end, wait no longer than that; -EINTR may be what asks. */
	for (;;) {
		err = *stream->stop ? output_flush_within(stream->output, GIVE_UP_MS)
				    : output_flush(stream->output);
		if (err != -EINTR)
			break;
		if (!*stream->stop)
			on_write(stream, STREAM_WRITE_WAITS);
	}
	on_write(stream, STREAM_WRITE_ENDED);
	if (err == -ETIMEDOUT) {
		stream->gave_up = true;
		output_discard(stream->output);
		err = 0;
	}
	if (output_is_failing(stream->output))
		stream->retry = false;
	take_dropped(stream);
	if (!err && output_is_empty(stream->output) && stream->undo_to == UNDO_NOTHING)
		state_settle(stream->state);
	return err;
}

struct totals stream_totals(const struct stream *stream)
{
	struct totals totals = stream->totals;
	uint64_t waiting[NSMON_KINDS] = { 0 };

	output_count_waiting(stream->output, waiting);
	for (int i = 0; i < NSMON_KINDS; i++)
		if (is_counted(i) || i == NSMON_PROC)
			totals.written[i] -= waiting[i];
	return totals;
}

static bool can_write(const struct stream *stream)
{
	return !stream->gave_up && (stream->retry || !output_is_failing(stream->output));
}

static void count_unwritten(struct stream *stream, enum nsmon_kind kind)
{
	stream->repair_due = true;
	stream->totals.unwritten++;
	if (!is_counted((int)kind))
		return;
	stream->totals.lost++;
	stream->totals.lost_of[kind]++;
	stream->untold[kind]++;
}

static int begin_line(struct stream *stream, struct line *line)
{
	int err = output_has_room(stream->output) ? 0 : stream_flush(stream);

	if (err || stream->gave_up)
		return err;
	return output_begin(stream->output, line);
}

static struct stamp next_stamp(struct stream *stream, uint64_t boot_ns)
{
	return (struct stamp){ .seq = ++stream->seq, .time = boot_ns + stream->boot_to_real_ns };
}

/* The first record; where it could not be written, it is written as soon as it can. */
static int put_start(struct stream *stream)
{
	struct stamp stamp;
	struct line line;
	int err;

	if (!stream->start_due || !stream->formatter->start || !can_write(stream))
		return 0;
	err = begin_line(stream, &line);
	if (err || stream->gave_up)
		return err;
	stamp = next_stamp(stream, stream_now_ns(stream));
	stream->formatter->start(&line, stream->run, &stamp);
	output_commit(stream->output, &line, 0);
	err = stream_flush(stream);
	stream->start_due = stream->seq == 0;
	return err;
}

/* Losses that are not told yet become a record, written at once. */
static int tell_lost(struct stream *stream)
{
	struct stamp stamp;
	struct line line;
	int err = put_start(stream);

	if (err || lost_count(stream->untold) == 0 || !can_write(stream))
		return err;
	err = stream_flush(stream);
	if (err || !can_write(stream))
		return err;
	err = begin_line(stream, &line);
	if (err || stream->gave_up)
		return err;
	stamp = next_stamp(stream, stream_now_ns(stream));
	memcpy(stream->told, stream->untold, sizeof(stream->told));
	memset(stream->untold, 0, sizeof(stream->untold));
	stream->formatter->lost(&line, stream->run, &stamp, stream->told);
	output_commit(stream->output, &line, NSMON_LOST);
	stream->totals.written[NSMON_LOST]++;
	stream->repair_due = true;
	return stream_flush(stream);
}

/* Room for a record of this kind; *ready is false where it is counted as lost instead. */
static int begin_record(struct stream *stream, enum nsmon_kind kind, struct line *line, bool *ready)
{
	int err = tell_lost(stream);

	*ready = false;
	if (!err && can_write(stream))
		err = begin_line(stream, line);
	if (err)
		return err;
	*ready = can_write(stream);
	if (!*ready)
		count_unwritten(stream, kind);
	return 0;
}

/* A program that runs already: what a reader is told of it is in /proc alone. */
static void describe(struct stream *stream, struct event *event)
{
	struct procfs *procfs = &stream->procfs;
	const uint32_t without = NSMON_PROC_KERNEL | NSMON_PROC_PARTIAL;
	bool runs = event->kind == NSMON_EXEC || !(event->proc.flags & without);

	if (runs)
		procfs_read(procfs, event->task->pid, event->task->tid,
			    event->task->thread_start_ns);
	if (event->kind == NSMON_EXEC) {
		event->exec.filename = procfs->exe_len ? procfs->exe : NULL;
		event->exec.filename_len = procfs->exe_len;
		event->exec.args = procfs->args;
		event->exec.args_len = procfs->args_len;
		event->exec.truncated = procfs->truncated;
	} else if (runs) {
		event->proc.exe = procfs->exe_len ? procfs->exe : NULL;
		event->proc.exe_len = procfs->exe_len;
		event->proc.args = procfs->has_args ? procfs->args : NULL;
		event->proc.args_len = procfs->args_len;
		event->proc.truncated = procfs->truncated;
	}
}

/* Does it refer to what only the table of cgroups knows? */
static bool is_to_be_resolved(const struct event *event)
{
	return !event->cgroup || event->target.owner || event->old_cgroup_id;
}

static void resolve(struct stream *stream, struct event *event)
{
	event->cgroup = cgroups_find(stream->cgroups, event->task->cgroup_id);
	if (event->target.owner && event->target.owner != TARGET_HOST)
		event->target.container = cgroups_container(stream->cgroups, event->target.owner);
	if (event->old_cgroup_id)
		event->old_cgroup = cgroups_find(stream->cgroups, event->old_cgroup_id);
}

static void format(struct stream *stream, struct line *line, const struct event *event, int type)
{
	const struct formatter *formatter = stream->formatter;
	const struct stamp stamp = next_stamp(stream, event->time);
	struct event described, resolved;

	if (is_to_be_resolved(event)) {
		resolved = *event;
		resolve(stream, &resolved);
		event = &resolved;
	}
	if (type != STATE_EVENT) {
		formatter->ns(line, stream->run, &stamp, event, (enum nsmon_ns_type)type);
	} else if (event->failed) {
		formatter->failed(line, stream->run, &stamp, event);
	} else if (event->kind == NSMON_PROC || (event->kind == NSMON_EXEC && event->recovered)) {
		described = *event;
		describe(stream, &described);
		formatter->event(line, stream->run, &stamp, &described);
	} else {
		formatter->event(line, stream->run, &stamp, event);
	}
}

/* What the table tells: one record. */
static int64_t tell(void *context, const struct event *event, int type)
{
	struct stream *stream = context;
	enum nsmon_kind of_type = type == STATE_EVENT ? event->kind : NSMON_NS;
	/* No kernel has delivered what is found in a picture: it is counted apart. */
	enum nsmon_kind kind = event->recovered ? NSMON_PROC : of_type;
	struct line line;
	bool ready;
	int err = begin_record(stream, kind, &line, &ready);

	if (err || !ready)
		return err;
	if (stream->undo_to != UNDO_NOTHING) { /* it may be of a row that is not a reader's */
		count_unwritten(stream, kind);
		return 0;
	}
	format(stream, &line, event, type);
	stream->totals.written[kind]++;
	output_commit(stream->output, &line, kind);
	return (int64_t)stream->seq;
}

/* Around each call of the table. */
static void begin_telling(struct stream *stream)
{
	take_dropped(stream);
	stream->telling = true;
}

static int end_telling(struct stream *stream, int err)
{
	stream->telling = false;
	if (stream->undo_to != UNDO_NOTHING)
		state_undo(stream->state, stream->undo_to);
	stream->undo_to = UNDO_NOTHING;
	return err;
}

/* Totals: what they were when they were last read is *before. */
static int tell_new_losses(struct stream *stream, uint64_t before[NSMON_KINDS],
			   const uint64_t lost[NSMON_KINDS])
{
	for (int i = 0; i < NSMON_KINDS; i++) {
		if (!is_counted(i) || lost[i] <= before[i])
			continue;
		stream->untold[i] += lost[i] - before[i];
		stream->totals.lost += lost[i] - before[i];
		stream->totals.lost_of[i] += lost[i] - before[i];
		before[i] = lost[i];
	}
	return tell_lost(stream);
}

int stream_kernel_lost(struct stream *stream, const uint64_t lost[NSMON_KINDS])
{
	if (lost[NSMON_CGROUP_TREE] > stream->kernel_lost[NSMON_CGROUP_TREE]) {
		stream->kernel_lost[NSMON_CGROUP_TREE] = lost[NSMON_CGROUP_TREE];
		stream->cgroups_doubt = true;
	}
	return tell_new_losses(stream, stream->kernel_lost, lost);
}

int stream_kernel_missed(struct stream *stream, const uint64_t missed[NSMON_KINDS])
{
	return tell_new_losses(stream, stream->kernel_missed, missed);
}

static bool is_line_of_its_own(const struct event *event)
{
	switch (event->kind) {
	case NSMON_FORK:
		return event->fork.told;
	case NSMON_EXEC:
	case NSMON_EXIT:
	case NSMON_CGROUP:
		return true;
	case NSMON_NS:
		return event->failed;
	case NSMON_LOST:
	case NSMON_PROC:
	case NSMON_CGROUP_TREE:
		break;
	}
	return false;
}

/* The filter by cgroup: the kernel lets pass what it does not know yet. */
static bool is_wanted(const struct stream *stream, const struct event *event)
{
	const struct options *options = stream->run->options;

	if (!options->cgroup && !options->container)
		return true;
	return event->cgroup && event->cgroup->wanted;
}

/* What the kernel skipped is told before what shows that it did. */
static int look_for_misses(const struct stream *stream, const struct event *event)
{
	if (!stream->look_for_misses || state_knows(stream->state, event))
		return 0;
	return stream->look_for_misses(stream->context);
}

/* A task that leaves the cgroups of the filter is told to, and forgotten. */
static int move_task(struct stream *stream, const struct event *event)
{
	begin_telling(stream);
	return end_telling(stream, is_wanted(stream, event) ? state_event(stream->state, event)
							    : state_move_out(stream->state, event));
}

int stream_record(struct stream *stream, const void *data, size_t size)
{
	struct event event;
	int err;

	if (event_decode(&event, data, size)) {
		if (!stream->invalid++)
			log_error("a record of %zu bytes from the kernel could not be read", size);
		return 0;
	}
	if (event.kind == NSMON_LOST) {
		uint64_t lost[NSMON_KINDS];

		memcpy(lost, event.lost->lost, sizeof(lost));
		return stream_kernel_lost(stream, lost);
	}
	if (event.kind == NSMON_CGROUP_TREE) {
		cgroups_event(stream->cgroups, event.tree, stream_now_ns(stream));
		stream->cgroups_changed = true;
		return 0;
	}
	err = look_for_misses(stream, &event);
	if (err)
		return err;
	event.cgroup = cgroups_find(stream->cgroups, event.task->cgroup_id);
	/* What the kernel counted; what the table makes of it may be more or less. */
	if (is_line_of_its_own(&event))
		stream->delivered[event.kind]++;
	if (event.change)
		stream->delivered[NSMON_NS] += (uint64_t)__builtin_popcount(event.change->changed);
	if (event.kind == NSMON_CGROUP) {
		cgroups_entered(stream->cgroups, event.task->cgroup_id, stream_now_ns(stream));
		stream->cgroups_changed = true;
		return move_task(stream, &event);
	}
	if (event.kind == NSMON_FORK && event.fork.into) {
		cgroups_entered(stream->cgroups, event.task->cgroup_id, stream_now_ns(stream));
		stream->cgroups_changed = true;
	}
	if (!is_wanted(stream, &event))
		return 0;
	begin_telling(stream);
	return end_telling(stream, state_event(stream->state, &event));
}

int stream_ready(struct stream *stream)
{
	uint64_t tasks = state_tasks(stream->state);
	struct stamp stamp;
	struct line line;
	int err = 0;

	log_debug("ready: tasks=%llu", (unsigned long long)tasks);
	if (!stream->formatter->ready)
		return stream_flush(stream);
	err = tell_lost(stream);
	if (err || !can_write(stream))
		return err;
	err = begin_line(stream, &line);
	if (err || stream->gave_up)
		return err;
	stamp = next_stamp(stream, stream_now_ns(stream));
	stream->formatter->ready(&line, stream->run, &stamp, tasks);
	output_commit(stream->output, &line, 0);
	return stream_flush(stream);
}

/* A row of a picture is not wanted where its task's cgroup is known not to be. */
static bool is_row_wanted(struct stream *stream, struct event *proc)
{
	proc->cgroup = cgroups_find(stream->cgroups, proc->task->cgroup_id);
	return is_wanted(stream, proc);
}

int stream_seed(struct stream *stream, struct event *proc)
{
	if (proc->proc.flags & NSMON_PROC_OTHER) {
		state_claim(stream->state, proc);
		return 0;
	}
	if (!is_row_wanted(stream, proc))
		return 0;
	begin_telling(stream);
	return end_telling(stream, state_seed(stream->state, proc, stream->run->options->snapshot));
}

int stream_seeded(struct stream *stream, uint64_t begin_ns)
{
	state_seeded(stream->state, begin_ns, stream_now_ns(stream));
	if (!stream->run->options->snapshot)
		return 0;
	procfs_note(&stream->procfs);
	return stream_ready(stream);
}

int stream_pass_task(struct stream *stream, struct event *proc)
{
	if (!is_row_wanted(stream, proc))
		return 0;
	begin_telling(stream);
	return end_telling(stream, state_pass_task(stream->state, proc));
}

int stream_end_pass(struct stream *stream)
{
	begin_telling(stream);
	return end_telling(stream, state_end_pass(stream->state));
}

bool stream_is_in_doubt(const struct stream *stream)
{
	return stream->repair_due || lost_count(stream->untold);
}

bool stream_take_repair(struct stream *stream)
{
	bool due = stream->repair_due && can_write(stream) && lost_count(stream->untold) == 0;

	if (due)
		stream->repair_due = false;
	due |= state_take_doubt(stream->state);
	return due && state_can_repair(stream->state);
}

int stream_start(struct stream *stream)
{
	stream->start_due = true;
	return put_start(stream);
}

int stream_stop(struct stream *stream)
{
	struct stamp stamp;
	struct line line;
	int err = tell_lost(stream);

	if (!err && stream->formatter->stop && can_write(stream)) {
		err = begin_line(stream, &line);
		if (err || stream->gave_up)
			return err;
		stamp = next_stamp(stream, stream_now_ns(stream));
		stream->formatter->stop(&line, stream->run, &stamp, &stream->totals);
		output_commit(stream->output, &line, 0);
	}
	if (!err)
		err = stream_flush(stream);
	if (!err && output_is_failing(stream->output)) {
		output_discard(stream->output);
		take_dropped(stream);
	}
	return err;
}
