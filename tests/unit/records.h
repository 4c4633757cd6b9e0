/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Makes records as the BPF programs do. For tests: knows the layout, none of the code that reads it. */
#ifndef TESTS_RECORDS_H
#define TESTS_RECORDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "nsmon.h"

/* Room for the largest record that the two lengths of an exec can describe. */
union record {
	struct nsmon_header header;
	struct nsmon_fork fork;
	struct nsmon_fork_ns fork_ns;
	struct nsmon_exec exec;
	struct nsmon_exit exit;
	struct nsmon_ns ns;
	struct nsmon_failed failed;
	struct nsmon_lost lost;
	struct nsmon_proc proc;
	struct nsmon_cgroup tree;
	unsigned char bytes[sizeof(struct nsmon_exec) + 2 * 65536];
};

/* The initial namespaces of a Linux system, mnt to time_for_children. */
static const uint32_t initial_inums[NSMON_NS_TYPES] = {
	4026531841U, 4026531838U, 4026531839U, 4026531840U, 4026531836U,
	4026531836U, 4026531837U, 4026531835U, 4026531834U, 4026531834U,
};

static inline void record_begin(union record *r, enum nsmon_kind kind, size_t size, unsigned int flags)
{
	memset(r, 0, size);
	r->header = (struct nsmon_header){
		.size = (uint32_t)size,
		.kind = (uint16_t)kind,
		.flags = (uint16_t)flags,
		.time = 1000000000,
		.seq = 1,
		.cpu = 3,
		.layout = NSMON_LAYOUT,
	};
}

static inline void record_comm(struct nsmon_task *task, const char *comm)
{
	size_t len = strlen(comm);

	memset(task->comm, 0, sizeof(task->comm));
	memcpy(task->comm, comm, len < sizeof(task->comm) ? len : sizeof(task->comm));
}

static inline void record_task(struct nsmon_task *task, uint32_t ppid, uint32_t pid,
			       const char *comm)
{
	*task = (struct nsmon_task){
		.start_ns = 91003000000,
		.cgroup_id = 1,
		.pid = pid,
		.tid = pid,
		.ppid = ppid,
		.vpid = pid,
		.uid = 1000,
		.gid = 100,
	};
	record_comm(task, comm);
}

static inline void record_change(struct nsmon_ns_change *change)
{
	memset(change, 0, sizeof(*change));
	memcpy(change->old.inum, initial_inums, sizeof(initial_inums));
	memcpy(change->now.inum, initial_inums, sizeof(initial_inums));
}

/* One type has become another namespace. */
static inline void record_changed(struct nsmon_ns_change *change, enum nsmon_ns_type type,
				  uint32_t inum, enum nsmon_reason reason)
{
	change->changed |= 1U << type;
	change->now.inum[type] = inum;
	change->reason[type] = (uint8_t)reason;
}

static inline size_t record_fork(union record *r, uint32_t ppid, uint32_t pid, const char *comm)
{
	record_begin(r, NSMON_FORK, sizeof(r->fork), 0);
	record_task(&r->fork.task, ppid, pid, comm);
	r->fork.creator_pid = ppid;
	r->fork.creator_tid = ppid;
	return sizeof(r->fork);
}

static inline size_t record_fork_ns(union record *r, uint32_t ppid, uint32_t pid, const char *comm)
{
	record_begin(r, NSMON_FORK, sizeof(r->fork_ns), NSMON_FLAG_NS);
	record_task(&r->fork.task, ppid, pid, comm);
	r->fork.creator_pid = ppid;
	r->fork.creator_tid = ppid;
	record_change(&r->fork_ns.change);
	return sizeof(r->fork_ns);
}

/* args: args_len bytes, each argument ended by a NUL. */
static inline size_t record_exec(union record *r, uint32_t pid, const char *comm,
				 const char *filename, const char *args, size_t args_len)
{
	size_t filename_len = strlen(filename) + 1;
	size_t size = sizeof(r->exec) + filename_len + args_len;

	record_begin(r, NSMON_EXEC, size, 0);
	record_task(&r->exec.task, 1, pid, comm);
	r->exec.filename_len = (uint16_t)filename_len;
	r->exec.args_len = (uint16_t)args_len;
	memcpy(r->exec.text, filename, filename_len);
	if (args_len)
		memcpy(r->exec.text + filename_len, args, args_len);
	return size;
}

static inline size_t record_exit(union record *r, uint32_t pid, const char *comm, uint32_t status)
{
	record_begin(r, NSMON_EXIT, sizeof(r->exit), 0);
	record_task(&r->exit.task, 1, pid, comm);
	r->exit.status = status;
	r->exit.duration_ns = 1500000;
	r->exit.process_ends = 1;
	return sizeof(r->exit);
}

static inline size_t record_ns(union record *r, uint32_t pid, const char *comm)
{
	record_begin(r, NSMON_NS, sizeof(r->ns), 0);
	record_task(&r->ns.task, 1, pid, comm);
	record_change(&r->ns.change);
	return sizeof(r->ns);
}

static inline size_t record_failed(union record *r, uint32_t pid, const char *comm,
				   enum nsmon_reason reason, uint32_t error, uint64_t flags)
{
	record_begin(r, NSMON_NS, sizeof(r->failed), NSMON_FLAG_FAILED);
	record_task(&r->failed.task, 1, pid, comm);
	r->failed.reason = reason;
	r->failed.error = error;
	r->failed.flags = flags;
	return sizeof(r->failed);
}

/* A row of the task iterator. */
static inline size_t record_proc(union record *r, uint32_t ppid, uint32_t pid, const char *comm)
{
	record_begin(r, NSMON_PROC, sizeof(r->proc), 0);
	r->header.seq = r->header.cpu = 0;
	record_task(&r->proc.task, ppid, pid, comm);
	memcpy(r->proc.ns.inum, initial_inums, sizeof(initial_inums));
	return sizeof(r->proc);
}

/* The same of a task that was moved to this cgroup. */
static inline size_t record_move(union record *r, uint32_t pid, const char *comm,
				 uint64_t cgroup_id)
{
	record_proc(r, 1, pid, comm);
	r->header.kind = NSMON_CGROUP;
	r->header.seq = 1;
	r->proc.task.cgroup_id = cgroup_id;
	return sizeof(r->proc);
}

/* A cgroup that was made, renamed or removed by `mkdir`. */
static inline size_t record_tree(union record *r, enum nsmon_cgroup_op op, uint64_t id,
				 uint64_t parent_id, const char *name)
{
	size_t len = strlen(name);

	record_begin(r, NSMON_CGROUP_TREE, sizeof(r->tree), 0);
	r->tree.id = id;
	r->tree.parent_id = parent_id;
	r->tree.op = op;
	memcpy(r->tree.name, name, len < sizeof(r->tree.name) ? len : sizeof(r->tree.name) - 1);
	memcpy(r->tree.maker, "mkdir", sizeof("mkdir"));
	return sizeof(r->tree);
}

/* args: as the kernel copies the end of the maker's arguments. */
static inline void record_maker(union record *r, const char *comm, const char *args, size_t len)
{
	size_t comm_len = strlen(comm);

	memset(r->tree.maker, 0, sizeof(r->tree.maker));
	memcpy(r->tree.maker, comm,
	       comm_len < sizeof(r->tree.maker) ? comm_len : sizeof(r->tree.maker));
	memset(r->tree.maker_args, 0, sizeof(r->tree.maker_args));
	if (len > sizeof(r->tree.maker_args)) {
		args += len - sizeof(r->tree.maker_args);
		len = sizeof(r->tree.maker_args);
	}
	memcpy(r->tree.maker_args, args, len);
	r->tree.maker_args_len = (uint32_t)len;
}

static inline size_t record_lost(union record *r, uint64_t forks, uint64_t execs, uint64_t exits,
				 uint64_t namespaces)
{
	record_begin(r, NSMON_LOST, sizeof(r->lost), 0);
	r->lost.lost[NSMON_FORK] = forks;
	r->lost.lost[NSMON_EXEC] = execs;
	r->lost.lost[NSMON_EXIT] = exits;
	r->lost.lost[NSMON_NS] = namespaces;
	return sizeof(r->lost);
}

#endif
