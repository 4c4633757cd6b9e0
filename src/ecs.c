// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Events -> JSON lines with the names of the Elastic Common Schema. What it has no
 * name for is under nsmon, as json.c names it; nothing of that is left out here.
 */
#include "json.h"

#include <sys/wait.h>

#include "cgroup.h"
#include "format.h"
#include "version.h"

#define ECS_VERSION "8.11.0"

/* Values that ECS allows: of event.kind, and of event.type what event.category expects. */
#define CLASS(kind, category, type) "\"kind\":\"" kind "\"," category "\"type\":[\"" type "\"]"
#define PROCESS "\"category\":[\"process\"],"

static const char *const classes[NSMON_KINDS] = {
	[NSMON_FORK] = CLASS("event", PROCESS, "start"),
	[NSMON_EXEC] = CLASS("event", PROCESS, "start"),
	[NSMON_EXIT] = CLASS("event", PROCESS, "end"),
	[NSMON_NS] = CLASS("event", PROCESS, "change"),
	[NSMON_CGROUP] = CLASS("event", PROCESS, "change"),
	[NSMON_PROC] = CLASS("state", PROCESS, "info"),
	[NSMON_LOST] = CLASS("event", "", "error"),
};

/* Of a thread that comes or goes while its process lives: to ECS a change of the process. */
static const char class_of_thread[] = CLASS("event", PROCESS, "change");

/* nsmon itself is no process event: ECS has no category for it. */
#define CLASS_OF_RUN CLASS("event", "", "info")

static void host_members(struct line *line, const struct run *run)
{
	const struct kernel *kernel = run->kernel;

	line_text(line, ",\"host\":{\"hostname\":");
	line_json(line, kernel->uname.nodename, strlen(kernel->uname.nodename));
	if (kernel->boot_id[0]) {
		line_text(line, ",\"boot\":{\"id\":");
		line_json(line, kernel->boot_id, strlen(kernel->boot_id));
		line_text(line, "}");
	}
}

/* Leaves the object of the event open. */
static void begin_with(struct line *line, const struct run *run, const struct stamp *stamp,
		       const char *action, const char *class, bool whole_host)
{
	const struct utsname *uname = &run->kernel->uname;

	line_text(line, "{\"@timestamp\":\"");
	line_time(line, stamp->time);
	line_text(line, "\",\"ecs\":{\"version\":\"" ECS_VERSION "\"}"
			",\"agent\":{\"type\":\"nsmon\",\"version\":\"" NSMON_VERSION "\"}");
	host_members(line, run);
	if (whole_host) {
		member_string(line, "architecture", uname->machine);
		line_text(line, ",\"os\":{\"type\":\"linux\"");
		member_string(line, "kernel", uname->release);
		line_text(line, "}");
	}
	line_text(line, "},\"event\":{\"module\":\"nsmon\",\"dataset\":\"nsmon.events\",");
	line_string(line, class);
	line_text(line, ",\"action\":\"");
	line_string(line, action);
	line_text(line, "\"");
	member_u64(line, "sequence", stamp->seq);
}

static void begin(struct line *line, const struct run *run, const struct stamp *stamp,
		  enum nsmon_kind kind)
{
	begin_with(line, run, stamp, kind_names[kind], classes[kind], false);
}

static bool is_main_thread(const struct nsmon_task *task)
{
	return task->tid == task->pid;
}

/* A new thread of a process that is there already. */
static bool is_new_thread(const struct event *event, enum nsmon_kind kind)
{
	return kind == NSMON_FORK && !is_main_thread(event->task);
}

/* Of a process that ends its last task's, whichever that is: the main thread may have ended before. */
static bool is_thread_alone(const struct event *event, enum nsmon_kind kind)
{
	return is_new_thread(event, kind) || (kind == NSMON_EXIT && !event->exit.process_ends);
}

/* Closes nsmon's own members, and the record. */
static void end(struct line *line)
{
	if (line->raw)
		member_true(line, "raw");
	line_text(line, "}}\n");
}

/*
 * The process of this number that began then, of all boots and machines: the id of the
 * boot, the number, and the start in nanoseconds since boot.
 */
static void entity_id(struct line *line, const struct run *run, uint32_t pid, uint64_t start_ns)
{
	char bytes[sizeof(run->kernel->boot_id) + 40];
	struct line id = { .at = bytes, .end = bytes + sizeof(bytes) };

	if (!run->kernel->boot_id[0])
		return;
	line_string(&id, run->kernel->boot_id);
	line_text(&id, ":");
	line_u64(&id, pid);
	line_text(&id, ":");
	line_u64(&id, start_ns);
	line_text(line, ",\"entity_id\":");
	line_json(line, bytes, (size_t)(id.at - bytes));
}

/* The name is that of a task: of the process only where it is its main thread. */
static void names(struct line *line, const struct nsmon_task *task)
{
	bool main = is_main_thread(task);

	if (main) {
		line_text(line, ",\"name\":");
		line_json_name(line, task->comm, sizeof(task->comm));
	}
	line_text(line, ",\"thread\":{\"id\":");
	line_u64(line, task->tid);
	if (!main) {
		line_text(line, ",\"name\":");
		line_json_name(line, task->comm, sizeof(task->comm));
	}
	line_text(line, "}");
}

/* In what follows kind is that of the record: a change of an event's is a record of its own. */
static void parent(struct line *line, const struct run *run, const struct event *event,
		   enum nsmon_kind kind)
{
	const bool fork = kind == NSMON_FORK;

	if (is_new_thread(event, kind)) /* made by its own process, which is not its own parent */
		return;
	line_text(line, ",\"parent\":{\"pid\":");
	line_u64(line, fork ? event->fork.creator_pid : event->task->ppid);
	if (fork && event->fork.creator_start_ns)
		entity_id(line, run, event->fork.creator_pid, event->fork.creator_start_ns);
	if (fork) {
		line_text(line, ",\"thread\":{\"id\":");
		line_u64(line, event->fork.creator_tid);
		line_text(line, "}");
	}
	line_text(line, "}");
}

/* The program: of an exec the file that was asked for, of a row what /proc shows; NULL: not known. */
static const char *program(const struct event *event, enum nsmon_kind kind, size_t *len)
{
	const bool proc = kind == NSMON_PROC;

	if (kind != NSMON_EXEC && !proc)
		return NULL;
	*len = proc ? event->proc.exe_len : event->exec.filename_len;
	return proc ? event->proc.exe : event->exec.filename;
}

/* process.executable is an absolute path; any other one is nsmon.filename. */
static bool is_absolute(const char *path, size_t len)
{
	return path && len && path[0] == '/';
}

static void args(struct line *line, const char *args, size_t args_len)
{
	const char *at = args;
	uint64_t count = 0;
	size_t len;

	while (event_next_arg(&at, args + args_len, &len))
		count++;
	json_args(line, args, args_len, false);
	member_u64(line, "args_count", count);
}

static void program_members(struct line *line, const struct event *event, enum nsmon_kind kind)
{
	size_t len = 0;
	const char *path = program(event, kind, &len);

	if (is_absolute(path, len)) {
		line_text(line, ",\"executable\":");
		line_json(line, path, len);
	}
	if (kind == NSMON_EXEC)
		args(line, event->exec.args, event->exec.args_len);
	else if (kind == NSMON_PROC && event->proc.args)
		args(line, event->proc.args, event->proc.args_len);
}

/* As a shell tells it: 128 and the number of the signal. */
static void exit_members(struct line *line, const struct stamp *stamp, int status)
{
	member_u64(line, "exit_code",
		   (uint64_t)(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)));
	line_text(line, ",\"end\":\"");
	line_time(line, stamp->time);
	line_text(line, "\"");
}

/* Is it known how it ended? */
static bool has_status(const struct event *event, enum nsmon_kind kind)
{
	return kind == NSMON_EXIT && !event->recovered;
}

/* Did it end with its main thread, whose life was as long as its own? */
static bool is_end_of_process(const struct event *event)
{
	return has_status(event, event->kind) && event->exit.process_ends &&
	       is_main_thread(event->task);
}

static void process_members(struct line *line, const struct run *run, const struct stamp *stamp,
			    const struct event *event, enum nsmon_kind kind)
{
	const struct nsmon_task *task = event->task;

	line_text(line, ",\"process\":{\"pid\":");
	line_u64(line, task->pid);
	entity_id(line, run, task->pid, task->start_ns);
	names(line, task);
	member_u64(line, "vpid", task->vpid);
	line_text(line, ",\"start\":\"");
	line_time(line, stamp->time - event->time + task->start_ns);
	line_text(line, "\"");
	parent(line, run, event, kind);
	program_members(line, event, kind);
	if (has_status(event, kind) && event->exit.process_ends)
		exit_members(line, stamp, (int)event->exit.status);
	line_text(line, "},\"user\":{\"id\":\"");
	line_u64(line, task->uid);
	line_text(line, "\"},\"group\":{\"id\":\"");
	line_u64(line, task->gid);
	line_text(line, "\"}");
}

static void container_members(struct line *line, const struct container *container)
{
	const struct runtime_details *details = &container->details;

	line_text(line, ",\"container\":{\"id\":");
	line_json(line, container->id, strlen(container->id));
	json_optional(line, "runtime", container->runtime);
	json_optional(line, "name", details->name);
	if (details->image && *details->image) {
		line_text(line, ",\"image\":{\"name\":");
		line_json(line, details->image, strlen(details->image));
		line_text(line, "}");
	}
	line_text(line, "}");
}

static void pod_members(struct line *line, const struct container *container)
{
	const struct runtime_details *details = &container->details;
	const char *uid = details->pod_uid ? details->pod_uid : container->pod_uid;
	const bool has_uid = uid && *uid, has_pod = details->pod && *details->pod;
	const bool has_namespace = details->namespace && *details->namespace;

	if (!has_uid && !has_pod && !has_namespace)
		return;
	line_text(line, ",\"orchestrator\":{\"type\":\"kubernetes\"");
	json_optional(line, "namespace", details->namespace);
	if (has_uid || has_pod) {
		line_text(line, ",\"resource\":{\"type\":\"pod\"");
		json_optional(line, "id", uid);
		json_optional(line, "name", details->pod);
		line_text(line, "}");
	}
	line_text(line, "}");
}

/* "name":"value", */
static void leading(struct line *line, const char *name, const char *value, size_t len)
{
	line_text(line, "\"");
	line_string(line, name);
	line_text(line, "\":");
	line_json(line, value, len);
	line_text(line, ",");
}

/* What is the same for all records of a cgroup; the object nsmon is left open, behind a comma. */
static void write_cgroup(struct line *line, const struct cgroup *cgroup)
{
	const struct container *container = cgroup->container;
	const char *name;

	if (container) {
		container_members(line, container);
		pod_members(line, container);
	}
	line_text(line, ",\"nsmon\":{");
	if (cgroup->path)
		leading(line, "cgroup", cgroup->path, cgroup->path_len);
	if (!container) {
		if (cgroup->unit)
			leading(line, "unit", cgroup->unit, cgroup->unit_len);
		return;
	}
	name = container->details.container_name;
	if (name && *name)
		leading(line, "container_name", name, strlen(name));
	if (!container->details.backed)
		line_text(line, "\"unverified\":true,");
}

/* All of a task, from the end of the event's own object on; nsmon's own members may follow. */
static void task_members(struct line *line, const struct run *run, const struct stamp *stamp,
			 const struct event *event, enum nsmon_kind kind)
{
	line_text(line, "}");
	process_members(line, run, stamp, event, kind);
	if (event->cgroup && event->cgroup->text)
		json_once(line, event->cgroup, write_cgroup);
	else
		line_text(line, ",\"nsmon\":{");
	line_text(line, "\"cgroup_id\":");
	line_u64(line, event->task->cgroup_id);
	member_u64(line, "start_ns", event->task->start_ns);
}

static void own_exec_members(struct line *line, const struct event *event)
{
	if (event->exec.truncated)
		member_true(line, "args_truncated");
	if (event->exec.old_tid)
		member_u64(line, "old_tid", event->exec.old_tid);
}

static void own_proc_members(struct line *line, const struct event *event)
{
	json_namespaces(line, event->proc.ns, NSMON_NS_ALL);
	if (event->proc.args && event->proc.truncated)
		member_true(line, "args_truncated");
}

static void own_fork_members(struct line *line, const struct event *event)
{
	member_u64(line, "ppid", event->fork.creator_pid);
	member_u64(line, "ptid", event->fork.creator_tid);
}

static void own_exit_members(struct line *line, const struct event *event)
{
	int status = (int)event->exit.status;

	if (!has_status(event, event->kind))
		return;
	if (WIFSIGNALED(status)) {
		member_u64(line, "signal", (uint64_t)WTERMSIG(status));
		if (WCOREDUMP(status))
			member_true(line, "core");
	} else if (!event->exit.process_ends) {
		member_u64(line, "code", (uint64_t)WEXITSTATUS(status));
	}
	if (!is_end_of_process(event))
		member_u64(line, "duration_ns", event->exit.duration_ns);
}

static void ecs_event(struct line *line, const struct run *run, const struct stamp *stamp,
		      const struct event *event)
{
	size_t len = 0;
	const char *path = program(event, event->kind, &len);

	if (is_thread_alone(event, event->kind))
		begin_with(line, run, stamp, kind_names[event->kind], class_of_thread, false);
	else
		begin(line, run, stamp, event->kind);
	if (is_end_of_process(event))
		member_u64(line, "duration", event->exit.duration_ns);
	task_members(line, run, stamp, event, event->kind);
	if (path && !is_absolute(path, len)) {
		line_text(line, ",\"filename\":");
		line_json(line, path, len);
	}
	if (event->kind == NSMON_EXEC)
		own_exec_members(line, event);
	else if (event->kind == NSMON_PROC)
		own_proc_members(line, event);
	else if (event->kind == NSMON_CGROUP)
		json_move(line, event);
	else if (event->kind == NSMON_EXIT)
		own_exit_members(line, event);
	else if (is_new_thread(event, event->kind))
		own_fork_members(line, event);
	if (event->recovered)
		member_true(line, "recovered");
	end(line);
}

static void ecs_ns(struct line *line, const struct run *run, const struct stamp *stamp,
		   const struct event *event, enum nsmon_ns_type type)
{
	const struct nsmon_ns_change *change = event->change;

	begin(line, run, stamp, NSMON_NS);
	if (!event->recovered)
		member_string(line, "reason", reason_names[change->reason[type]]);
	line_text(line, ",\"outcome\":\"success\"");
	task_members(line, run, stamp, event, NSMON_NS);
	member_string(line, "type", ns_type_names[type]);
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

static void ecs_failed(struct line *line, const struct run *run, const struct stamp *stamp,
		       const struct event *event)
{
	const char *error = strerrorname_np((int)event->failed->error);

	begin(line, run, stamp, NSMON_NS);
	member_string(line, "reason", reason_names[event->failed->reason]);
	line_text(line, ",\"outcome\":\"failure\"");
	if (error) {
		line_text(line, "},\"error\":{\"code\":");
		line_json(line, error, strlen(error));
	}
	task_members(line, run, stamp, event, NSMON_NS);
	member_u64(line, "errno", event->failed->error);
	member_u64(line, "flags", event->failed->flags);
	end(line);
}

static void ecs_ready(struct line *line, const struct run *run, const struct stamp *stamp,
		      uint64_t tasks)
{
	begin_with(line, run, stamp, "ready", CLASS_OF_RUN, false);
	line_text(line, "},\"nsmon\":{\"tasks\":");
	line_u64(line, tasks);
	end(line);
}

static void counts(struct line *line, const uint64_t count[NSMON_KINDS])
{
	member_u64(line, "fork", count[NSMON_FORK]);
	member_u64(line, "exec", count[NSMON_EXEC]);
	member_u64(line, "exit", count[NSMON_EXIT]);
	member_u64(line, "ns", count[NSMON_NS]);
	member_u64(line, "cgroup", count[NSMON_CGROUP]);
}

static void ecs_lost(struct line *line, const struct run *run, const struct stamp *stamp,
		     const uint64_t lost[NSMON_KINDS])
{
	begin(line, run, stamp, NSMON_LOST);
	line_text(line, "},\"nsmon\":{\"lost\":{\"count\":");
	line_u64(line, lost_count(lost));
	counts(line, lost);
	line_text(line, "}");
	end(line);
}

static void ecs_start(struct line *line, const struct run *run, const struct stamp *stamp)
{
	begin_with(line, run, stamp, "start", CLASS_OF_RUN, true);
	line_text(line, "},\"nsmon\":{\"schema\":");
	line_u64(line, NSMON_SCHEMA);
	member_string(line, "backend", run->backend);
	member_string(line, "cgroup_hierarchy", hierarchy_name(&run->kernel->hierarchy));
	json_filters(line, run->options);
	end(line);
}

static void ecs_stop(struct line *line, const struct run *run, const struct stamp *stamp,
		     const struct totals *totals)
{
	begin_with(line, run, stamp, "stop", CLASS_OF_RUN, false);
	line_text(line, "},\"nsmon\":{\"totals\":{\"lost\":");
	line_u64(line, totals->lost);
	counts(line, totals->written);
	member_u64(line, "proc", totals->written[NSMON_PROC]);
	if (totals->has_switches) {
		member_u64(line, "switches", totals->switches);
		member_u64(line, "switches_known", totals->switches_known);
	}
	line_text(line, "}");
	end(line);
}

const struct formatter ecs_formatter = {
	.start = ecs_start,
	.event = ecs_event,
	.ns = ecs_ns,
	.failed = ecs_failed,
	.ready = ecs_ready,
	.lost = ecs_lost,
	.stop = ecs_stop,
};
