// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Events -> the lines of the RFC: its fields first, in its order and with its
 * names; what nsmon adds comes after them.
 */
#include "cgroup.h"
#include "format.h"

#include <string.h>
#include <sys/wait.h>

/* The name is a literal. */
#define number(line, name, value)                                                                  \
	do {                                                                                       \
		line_text(line, name);                                                             \
		line_u64(line, value);                                                             \
	} while (0)

/* A name that could be taken for more than one word gets quotes. */
static void quoted_name(struct line *line, const char *name, size_t len)
{
	bool quote = !len || memchr(name, ' ', len) || memchr(name, '=', len);

	if (quote)
		line_text(line, "\"");
	line_escaped(line, name, len);
	if (quote)
		line_text(line, "\"");
}

static void comm(struct line *line, const struct nsmon_task *task)
{
	line_text(line, " comm=");
	if (!line_word(line, task->comm))
		quoted_name(line, task->comm, strnlen(task->comm, sizeof(task->comm)));
}

/* SGR colours: fork green, exec cyan, exit red, ns yellow, lost bold red, proc blue, cgroup magenta. */
static const char *const colours[NSMON_KINDS] = {
	[NSMON_FORK] = "\033[32m",   [NSMON_EXEC] = "\033[36m",	  [NSMON_EXIT] = "\033[31m",
	[NSMON_NS] = "\033[33m",     [NSMON_LOST] = "\033[1;31m", [NSMON_PROC] = "\033[34m",
	[NSMON_CGROUP] = "\033[35m",
};

static void begin(struct line *line, const struct run *run, const struct stamp *stamp,
		  enum nsmon_kind kind)
{
	if (run->options->timestamps) {
		line_time(line, stamp->time);
		line_text(line, " ");
	}
	if (run->colour)
		line_string(line, colours[kind]);
	line_string(line, kind_names[kind]);
	if (run->colour)
		line_text(line, "\033[0m");
	line_text(line, ":");
}

static void ids(struct line *line, const struct nsmon_task *task)
{
	number(line, " pid=", task->pid);
	if (task->tid != task->pid)
		number(line, " tid=", task->tid);
}

static void text_fork(struct line *line, const struct event *event)
{
	const struct nsmon_task *task = event->task;

	number(line, " ppid=", event->fork.creator_pid);
	ids(line, task);
	comm(line, task);
	if (event->fork.creator_tid != event->fork.creator_pid)
		number(line, " ptid=", event->fork.creator_tid);
}

static void args_field(struct line *line, const char *args, size_t args_len, bool truncated)
{
	const char *end = args + args_len;
	const char *arg;
	size_t len;

	line_text(line, " args=\"");
	for (bool first = true; (arg = event_next_arg(&args, end, &len)); first = false) {
		if (!first)
			line_text(line, " ");
		line_escaped(line, arg, len);
	}
	line_text(line, "\"");
	if (truncated)
		line_text(line, " args_truncated");
}

static void text_exec(struct line *line, const struct event *event)
{
	ids(line, event->task);
	comm(line, event->task);
	args_field(line, event->exec.args, event->exec.args_len, event->exec.truncated);
	if (event->exec.old_tid)
		number(line, " old_tid=", event->exec.old_tid);
}

static void text_exit(struct line *line, const struct event *event)
{
	int status = (int)event->exit.status;

	ids(line, event->task);
	comm(line, event->task);
	if (event->recovered) /* nobody knows how */
		return;
	if (WIFSIGNALED(status)) {
		number(line, " signal=", (uint64_t)WTERMSIG(status));
		if (WCOREDUMP(status))
			line_text(line, " core");
	} else {
		number(line, " code=", (uint64_t)WEXITSTATUS(status));
	}
}

static void text_proc(struct line *line, const struct event *event)
{
	const struct nsmon_ns_set *ns = event->proc.ns;

	ids(line, event->task);
	number(line, " ppid=", event->task->ppid);
	comm(line, event->task);
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!ns->inum[type])
			continue;
		line_text(line, " ");
		line_string(line, ns_type_names[type]);
		if (type == NSMON_NS_PID) /* `pid` is its number */
			line_text(line, "_ns");
		number(line, "=", ns->inum[type]);
	}
	if (event->proc.args)
		args_field(line, event->proc.args, event->proc.args_len, event->proc.truncated);
}

/* As docker ps(1) shows ids. */
#define SHORT_ID 12

static void text_move(struct line *line, const struct event *event)
{
	const struct cgroup *cgroup = event->cgroup, *old = event->old_cgroup;

	ids(line, event->task);
	comm(line, event->task);
	if (old && old->path) {
		line_text(line, " old_cgroup=\"");
		line_escaped(line, old->path, old->path_len);
		line_text(line, "\"");
	}
	if (cgroup && cgroup->path) {
		line_text(line, " cgroup=\"");
		line_escaped(line, cgroup->path, cgroup->path_len);
		line_text(line, "\"");
	}
}

static void end(struct line *line, const struct event *event)
{
	if (event->target.owner == TARGET_HOST) {
		line_text(line, " target=host");
	} else if (event->target.container) {
		const char *id = event->target.container->id;

		line_text(line, " target=");
		quoted_name(line, id, strnlen(id, SHORT_ID));
	}
	if (event->cgroup && event->cgroup->container) {
		const char *id = event->cgroup->container->id;

		line_text(line, " container=");
		quoted_name(line, id, strnlen(id, SHORT_ID));
	}

	if (event->recovered)
		line_text(line, " recovered");
	line_text(line, "\n");
}

static void text_event(struct line *line, const struct run *run, const struct stamp *stamp,
		       const struct event *event)
{
	begin(line, run, stamp, event->kind);
	if (event->kind == NSMON_FORK)
		text_fork(line, event);
	else if (event->kind == NSMON_EXEC)
		text_exec(line, event);
	else if (event->kind == NSMON_PROC)
		text_proc(line, event);
	else if (event->kind == NSMON_CGROUP)
		text_move(line, event);
	else
		text_exit(line, event);
	end(line, event);
}

static void text_ns(struct line *line, const struct run *run, const struct stamp *stamp,
		    const struct event *event, enum nsmon_ns_type type)
{
	const struct nsmon_ns_change *change = event->change;

	begin(line, run, stamp, NSMON_NS);
	ids(line, event->task);
	line_text(line, " type=");
	line_string(line, ns_type_names[type]);
	if (!event->recovered) {
		line_text(line, " reason=");
		line_string(line, reason_names[change->reason[type]]);
	}
	number(line, " old_inum=", change->old.inum[type]);
	number(line, " inum=", change->now.inum[type]);
	comm(line, event->task);
	end(line, event);
}

static void text_failed(struct line *line, const struct run *run, const struct stamp *stamp,
			const struct event *event)
{
	const char *error = strerrorname_np((int)event->failed->error);

	begin(line, run, stamp, NSMON_NS);
	ids(line, event->task);
	line_text(line, " reason=");
	line_string(line, reason_names[event->failed->reason]);
	number(line, " errno=", event->failed->error);
	if (error) {
		line_text(line, " error=");
		line_string(line, error);
	}
	number(line, " flags=", event->failed->flags);
	comm(line, event->task);
	end(line, event);
}

static void text_lost(struct line *line, const struct run *run, const struct stamp *stamp,
		      const uint64_t lost[NSMON_KINDS])
{
	begin(line, run, stamp, NSMON_LOST);
	number(line, " count=", lost_count(lost));
	number(line, " fork=", lost[NSMON_FORK]);
	number(line, " exec=", lost[NSMON_EXEC]);
	number(line, " exit=", lost[NSMON_EXIT]);
	number(line, " ns=", lost[NSMON_NS]);
	number(line, " cgroup=", lost[NSMON_CGROUP]);
	line_text(line, "\n");
}

/* start, ready and stop are no lines of text: with --verbose they are diagnostics. */
const struct formatter text_formatter = {
	.event = text_event,
	.ns = text_ns,
	.failed = text_failed,
	.lost = text_lost,
};
