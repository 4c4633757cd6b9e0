// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Events -> JSON lines (RFC 8259). Every member that is written here is in
 * dist/nsmon.schema.json; absent means absent.
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "format.h"
#include "version.h"

static void begin(struct line *line, const struct stamp *stamp, const char *event)
{
	line_text(line, "{\"time\":\"");
	line_time(line, stamp->time);
	line_text(line, "\"");
	member_u64(line, "seq", stamp->seq);
	line_text(line, ",\"event\":\"");
	line_string(line, event);
	line_text(line, "\"");
}

static void end(struct line *line)
{
	if (line->raw)
		member_true(line, "raw");
	line_text(line, "}\n");
}

void json_args(struct line *line, const char *args, size_t args_len, bool truncated)
{
	const char *end = args + args_len;
	const char *arg;
	size_t len;

	line_text(line, ",\"args\":[");
	for (bool first = true; (arg = event_next_arg(&args, end, &len)); first = false) {
		if (!first)
			line_text(line, ",");
		line_json(line, arg, len);
	}
	line_text(line, "]");
	if (truncated)
		member_true(line, "args_truncated");
}

void json_optional(struct line *line, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	line_text(line, ",\"");
	line_string(line, name);
	line_text(line, "\":");
	line_json(line, value, strlen(value));
}

/* ,"k8s":{...} of what is known of a pod. */
static void pod_members(struct line *line, const struct container *container)
{
	const struct runtime_details *details = &container->details;
	const struct {
		const char *name, *value;
	} members[] = {
		{ "pod_uid", details->pod_uid ? details->pod_uid : container->pod_uid },
		{ "pod", details->pod },
		{ "namespace", details->namespace },
		{ "container_name", details->container_name },
	};
	bool any = false;

	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		if (!members[i].value || !*members[i].value)
			continue;
		line_string(line, any ? ",\"" : ",\"k8s\":{\"");
		line_string(line, members[i].name);
		line_text(line, "\":");
		line_json(line, members[i].value, strlen(members[i].value));
		any = true;
	}
	if (any)
		line_text(line, "}");
}

void json_container_members(struct line *line, const struct container *container)
{
	const struct runtime_details *details = &container->details;

	line_text(line, "\"id\":");
	line_json(line, container->id, strlen(container->id));
	json_optional(line, "runtime", container->runtime);
	json_optional(line, "name", details->name);
	json_optional(line, "image", details->image);
	pod_members(line, container);
	if (!details->backed)
		member_true(line, "unverified");
}

void json_container(struct line *line, const struct container *container)
{
	line_text(line, "{");
	json_container_members(line, container);
	line_text(line, "}");
}

static void write_cgroup(struct line *line, const struct cgroup *cgroup)
{
	if (cgroup->path) {
		line_text(line, ",\"cgroup\":");
		line_json(line, cgroup->path, cgroup->path_len);
	}
	if (cgroup->container) {
		line_text(line, ",\"container\":");
		json_container(line, cgroup->container);
	} else if (cgroup->unit) {
		line_text(line, ",\"unit\":");
		line_json(line, cgroup->unit, cgroup->unit_len);
	}
}

void json_once(struct line *line, const struct cgroup *cgroup, json_cgroup_fn write)
{
	struct cgroup_text *text = cgroup->text;
	bool raw = line->raw;
	char *begin = line->at;

	if (text->bytes) {
		line_bytes(line, text->bytes, text->len);
		line->raw |= text->raw;
		return;
	}
	line->raw = false;
	write(line, cgroup);
	text->len = (size_t)(line->at - begin);
	text->raw = line->raw;
	text->bytes = malloc(text->len + 1);
	if (text->bytes)
		memcpy(text->bytes, begin, text->len);
	line->raw |= raw;
}

void json_cgroup(struct line *line, const struct cgroup *cgroup)
{
	if (cgroup && cgroup->text)
		json_once(line, cgroup, write_cgroup);
}

static void task_members(struct line *line, const struct event *event, uint32_t ppid)
{
	const struct nsmon_task *task = event->task;

	member_u64(line, "pid", task->pid);
	member_u64(line, "tid", task->tid);
	member_u64(line, "ppid", ppid);
	member_u64(line, "vpid", task->vpid);
	member_u64(line, "start_ns", task->start_ns);
	line_text(line, ",\"comm\":");
	line_json_name(line, task->comm, sizeof(task->comm));
	member_u64(line, "uid", task->uid);
	member_u64(line, "gid", task->gid);
	member_u64(line, "cgroup_id", task->cgroup_id);
	json_cgroup(line, event->cgroup);
}

void json_move(struct line *line, const struct event *event)
{
	const struct cgroup *old = event->old_cgroup;

	if (event->old_cgroup_id)
		member_u64(line, "old_cgroup_id", event->old_cgroup_id);
	if (!old)
		return;
	if (old->path) {
		line_text(line, ",\"old_cgroup\":");
		line_json(line, old->path, old->path_len);
	}
	if (old->container) {
		line_text(line, ",\"old_container\":");
		json_container(line, old->container);
	}
}

void json_target(struct line *line, const struct target *target)
{
	if (target->owner == TARGET_HOST) {
		line_text(line, ",\"target\":\"host\"");
	} else if (target->container) {
		json_optional(line, "target", target->container->id);
		line_text(line, ",\"target_container\":");
		json_container(line, target->container);
	}
}

static void exec_members(struct line *line, const struct event *event)
{
	if (event->exec.filename) {
		line_text(line, ",\"filename\":");
		line_json(line, event->exec.filename, event->exec.filename_len);
	}
	json_args(line, event->exec.args, event->exec.args_len, event->exec.truncated);
	if (event->exec.old_tid)
		member_u64(line, "old_tid", event->exec.old_tid);
}

static void exit_members(struct line *line, const struct event *event)
{
	int status = (int)event->exit.status;

	if (event->recovered) /* nobody knows how */
		return;
	if (WIFSIGNALED(status)) {
		member_u64(line, "signal", (uint64_t)WTERMSIG(status));
		if (WCOREDUMP(status))
			member_true(line, "core");
	} else {
		member_u64(line, "code", (uint64_t)WEXITSTATUS(status));
	}
	member_u64(line, "duration_ns", event->exit.duration_ns);
}

void json_namespaces(struct line *line, const struct nsmon_ns_set *ns, uint32_t types)
{
	bool first = true;

	line_text(line, ",\"ns\":{");
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!ns->inum[type] || !(types & (1U << type)))
			continue;
		if (!first)
			line_text(line, ",");
		first = false;
		line_json(line, ns_type_names[type], strlen(ns_type_names[type]));
		line_text(line, ":{\"inum\":");
		line_u64(line, ns->inum[type]);
		if (ns->id[type])
			member_u64(line, "ns_id", ns->id[type]);
		line_text(line, "}");
	}
	line_text(line, "}");
}

static void proc_members(struct line *line, const struct event *event)
{
	json_namespaces(line, event->proc.ns, NSMON_NS_ALL);
	if (event->proc.args)
		json_args(line, event->proc.args, event->proc.args_len, event->proc.truncated);
	if (event->proc.exe) {
		line_text(line, ",\"exe\":");
		line_json(line, event->proc.exe, event->proc.exe_len);
	}
}

static void json_event(struct line *line, const struct run *run, const struct stamp *stamp,
		       const struct event *event)
{
	(void)run;
	begin(line, stamp, kind_names[event->kind]);
	task_members(line, event,
		     event->kind == NSMON_FORK ? event->fork.creator_pid : event->task->ppid);
	if (event->kind == NSMON_FORK)
		member_u64(line, "ptid", event->fork.creator_tid);
	else if (event->kind == NSMON_EXEC)
		exec_members(line, event);
	else if (event->kind == NSMON_PROC)
		proc_members(line, event);
	else if (event->kind == NSMON_CGROUP)
		json_move(line, event);
	else
		exit_members(line, event);
	if (event->recovered)
		member_true(line, "recovered");
	end(line);
}

static void json_ns(struct line *line, const struct run *run, const struct stamp *stamp,
		    const struct event *event, enum nsmon_ns_type type)
{
	const struct nsmon_ns_change *change = event->change;

	(void)run;
	begin(line, stamp, "ns");
	task_members(line, event, event->task->ppid);
	member_string(line, "type", ns_type_names[type]);
	if (!event->recovered)
		member_string(line, "reason", reason_names[change->reason[type]]);
	member_u64(line, "old_inum", change->old.inum[type]);
	member_u64(line, "inum", change->now.inum[type]);
	if (change->old.id[type])
		member_u64(line, "old_ns_id", change->old.id[type]);
	if (change->now.id[type])
		member_u64(line, "ns_id", change->now.id[type]);
	json_target(line, &event->target);
	if (event->recovered)
		member_true(line, "recovered");
	end(line);
}

static void json_failed(struct line *line, const struct run *run, const struct stamp *stamp,
			const struct event *event)
{
	const char *error = strerrorname_np((int)event->failed->error);

	(void)run;
	begin(line, stamp, "ns");
	task_members(line, event, event->task->ppid);
	member_string(line, "reason", reason_names[event->failed->reason]);
	member_u64(line, "errno", event->failed->error);
	if (error)
		member_string(line, "error", error);
	member_u64(line, "flags", event->failed->flags);
	end(line);
}

static void json_ready(struct line *line, const struct run *run, const struct stamp *stamp,
		       uint64_t tasks)
{
	(void)run;
	begin(line, stamp, "ready");
	member_u64(line, "tasks", tasks);
	end(line);
}

static void json_lost(struct line *line, const struct run *run, const struct stamp *stamp,
		      const uint64_t lost[NSMON_KINDS])
{
	(void)run;
	begin(line, stamp, "lost");
	member_u64(line, "count", lost_count(lost));
	member_u64(line, "fork", lost[NSMON_FORK]);
	member_u64(line, "exec", lost[NSMON_EXEC]);
	member_u64(line, "exit", lost[NSMON_EXIT]);
	member_u64(line, "ns", lost[NSMON_NS]);
	member_u64(line, "cgroup", lost[NSMON_CGROUP]);
	end(line);
}

/* "name":["a","b"] for the bits that are set. */
static void names_array(struct line *line, const char *name, const char *const *names, size_t count,
			uint32_t bits)
{
	bool first = true;

	line_json(line, name, strlen(name));
	line_text(line, ":[");
	for (size_t i = 0; i < count; i++) {
		if (!names[i] || !(bits & (1U << i)))
			continue;
		if (!first)
			line_text(line, ",");
		line_json(line, names[i], strlen(names[i]));
		first = false;
	}
	line_text(line, "]");
}

void json_types(struct line *line, const char *name, uint32_t types)
{
	line_text(line, ",");
	names_array(line, name, ns_type_names, NSMON_NS_TYPES, types);
}

/* A reader can tell what it does not see. */
void json_filters(struct line *line, const struct options *options)
{
	line_text(line, ",\"filters\":{");
	names_array(line, "events", event_names, NSMON_KINDS, options->events);
	line_text(line, ",");
	names_array(line, "types", ns_type_names, NSMON_NS_TYPES, options->types);
	line_text(line, ",");
	names_array(line, "reasons", reason_names, NSMON_REASONS, options->reasons);
	if (options->pid_count) {
		line_text(line, ",\"pids\":[");
		for (size_t i = 0; i < options->pid_count; i++) {
			if (i)
				line_text(line, ",");
			line_u64(line, (uint64_t)options->pids[i]);
		}
		line_text(line, "]");
	}
	if (options->command) {
		size_t room = 4096; /* as for the arguments of an exec */

		char **arg = options->command;
		bool cut = false;

		line_text(line, ",\"command\":[");
		for (; *arg && room; arg++) {
			size_t len = strnlen(*arg, room);

			if (arg != options->command)
				line_text(line, ",");
			line_json(line, *arg, len);
			cut = cut || (*arg)[len];
			room -= len < room ? len + 1 : room;
		}
		line_text(line, "]");
		if (cut || *arg)
			member_true(line, "command_truncated");
	}
	json_optional(line, "cgroup", options->cgroup);
	json_optional(line, "container", options->container);
	if (options->threads)
		member_true(line, "threads");
	if (options->failed)
		member_true(line, "failed");
	if (options->snapshot)
		member_true(line, "snapshot");
	line_text(line, "}");
}

static void json_start(struct line *line, const struct run *run, const struct stamp *stamp)
{
	const struct utsname *uname = &run->kernel->uname;

	begin(line, stamp, "start");
	member_string(line, "version", NSMON_VERSION);
	member_u64(line, "schema", NSMON_SCHEMA);
	member_string(line, "backend", run->backend);
	member_string(line, "kernel", uname->release);
	member_string(line, "arch", uname->machine);
	member_string(line, "host", uname->nodename);
	member_string(line, "cgroup_hierarchy", hierarchy_name(&run->kernel->hierarchy));
	if (run->kernel->boot_id[0])
		member_string(line, "boot_id", run->kernel->boot_id);
	json_filters(line, run->options);
	end(line);
}

static void json_stop(struct line *line, const struct run *run, const struct stamp *stamp,
		      const struct totals *totals)
{
	(void)run;
	begin(line, stamp, "stop");
	member_u64(line, "fork", totals->written[NSMON_FORK]);
	member_u64(line, "exec", totals->written[NSMON_EXEC]);
	member_u64(line, "exit", totals->written[NSMON_EXIT]);
	member_u64(line, "ns", totals->written[NSMON_NS]);
	member_u64(line, "cgroup", totals->written[NSMON_CGROUP]);
	member_u64(line, "proc", totals->written[NSMON_PROC]);
	member_u64(line, "lost", totals->lost);
	if (totals->has_switches) {
		member_u64(line, "switches", totals->switches);
		member_u64(line, "switches_known", totals->switches_known);
	}
	end(line);
}

const struct formatter json_formatter = {
	.start = json_start,
	.event = json_event,
	.ns = json_ns,
	.failed = json_failed,
	.ready = json_ready,
	.lost = json_lost,
	.stop = json_stop,
};
