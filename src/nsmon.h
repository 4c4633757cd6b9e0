/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The record: the only thing that the BPF programs and user space share.
 * Knows nothing of either side; enum values are never reused.
 */
#ifndef NSMON_H
#define NSMON_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

/* Grows when a struct below changes its meaning. */
#define NSMON_LAYOUT 4

/* TASK_COMM_LEN of the kernel. */
#define NSMON_COMM_LEN 16

/*
 * File name and arguments of one exec, in bytes: what the issue of a shell
 * command rarely exceeds, and small enough for per-CPU scratch space.
 */
#define NSMON_TEXT_MAX 4096

enum nsmon_kind {
	NSMON_FORK = 1,
	NSMON_EXEC = 2,
	NSMON_EXIT = 3,
	NSMON_NS = 4, /* namespaces changed, or an attempt failed */
	NSMON_LOST = 5,
	NSMON_PROC = 6, /* a task that the iterator met; never in the ring buffer */
	NSMON_CGROUP = 7, /* a task was moved to another cgroup */
	NSMON_CGROUP_TREE = 8, /* a cgroup was made, renamed or removed; no record of output */
};

/* Array size for "one counter of each kind"; index is enum nsmon_kind. */
#define NSMON_KINDS 9

/* The order of the records of one change; as in /proc/PID/ns. */
enum nsmon_ns_type {
	NSMON_NS_MNT = 0,
	NSMON_NS_UTS = 1,
	NSMON_NS_IPC = 2,
	NSMON_NS_NET = 3,
	NSMON_NS_PID = 4,
	NSMON_NS_PID_FOR_CHILDREN = 5,
	NSMON_NS_USER = 6,
	NSMON_NS_CGROUP = 7,
	NSMON_NS_TIME = 8,
	NSMON_NS_TIME_FOR_CHILDREN = 9,
};

#define NSMON_NS_TYPES 10
#define NSMON_NS_ALL ((1U << NSMON_NS_TYPES) - 1)

enum nsmon_reason {
	NSMON_REASON_CLONE = 1,
	NSMON_REASON_UNSHARE = 2,
	NSMON_REASON_SETNS = 3,
	NSMON_REASON_EXEC = 4,
	NSMON_REASON_FORK = 5,
	NSMON_REASON_KERNEL = 6,
};

#define NSMON_REASONS 7

/* nsmon_header.flags */
enum nsmon_flag {
	NSMON_FLAG_NS = 1, /* NSMON_FORK: a struct nsmon_ns_change follows */
	NSMON_FLAG_NO_FORK = 2, /* NSMON_FORK: only the change is wanted */
	NSMON_FLAG_TRUNCATED = 4, /* NSMON_EXEC: name or arguments were cut */
	NSMON_FLAG_FAILED = 8, /* NSMON_NS: struct nsmon_failed, nothing changed */
	/* NSMON_FORK: by a thread; what changed is the difference to what was told of the main one */
	NSMON_FLAG_ROW = 16,
	NSMON_FLAG_INTO = 32, /* NSMON_FORK: not into its creator's cgroup (CLONE_INTO_CGROUP) */
};

/* In front of every record. */
struct nsmon_header {
	__u32 size; /* of the whole record, bytes */
	__u16 kind;
	__u16 flags;
	__u64 time; /* nanoseconds since boot (CLOCK_BOOTTIME) */
	__u64 seq; /* of this CPU, from 1 */
	__u32 cpu;
	__u32 layout; /* NSMON_LAYOUT */
};

/* Numbers of tasks are those of nsmon's own pid namespace. */
struct nsmon_task {
	__u64 start_ns; /* start of the process, since boot */
	__u64 thread_start_ns; /* of the task itself */
	__u64 cgroup_id; /* in the hierarchy that container managers use */
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__u32 vpid; /* pid in the task's own pid namespace */
	__u32 uid; /* real ids, of the initial user namespace */
	__u32 gid;
	char comm[NSMON_COMM_LEN];
};

struct nsmon_ns_set {
	__u64 id[NSMON_NS_TYPES]; /* 0: this kernel has none */
	__u32 inum[NSMON_NS_TYPES]; /* 0: this kernel lacks the type */
};

struct nsmon_ns_change {
	struct nsmon_ns_set old;
	struct nsmon_ns_set now;
	__u32 changed; /* bit per enum nsmon_ns_type */
	__u16 wanted; /* those that the filter lets through, changed or not */
	__u8 reason[NSMON_NS_TYPES]; /* enum nsmon_reason, where changed */
};

struct nsmon_fork {
	struct nsmon_header header;
	struct nsmon_task task; /* the child; with CLONE_PARENT its parent is not its creator */
	__u32 creator_pid;
	__u32 creator_tid;
	__u64 creator_start_ns; /* as nsmon_task.start_ns */
};

/* NSMON_FLAG_NS: one record, so that nothing comes between. */
struct nsmon_fork_ns {
	struct nsmon_fork fork;
	struct nsmon_ns_change change;
};

/* text: file name, NUL, then the arguments, each ended by a NUL. */
struct nsmon_exec {
	struct nsmon_header header;
	struct nsmon_task task;
	__u64 exec_id; /* grows with each exec of the process and its ancestors */
	__u32 old_tid; /* 0, or the thread that execed and became the leader */
	__u16 filename_len; /* with its NUL */
	__u16 args_len;
	char text[];
};

struct nsmon_exit {
	struct nsmon_header header;
	struct nsmon_task task;
	__u64 duration_ns;
	__u32 status; /* as wait(2) returns it */
	__u32 process_ends; /* 1: the task was the last one of its process, whose status it is */
};

struct nsmon_ns {
	struct nsmon_header header;
	struct nsmon_task task;
	struct nsmon_ns_change change;
};

struct nsmon_failed {
	struct nsmon_header header;
	struct nsmon_task task;
	__u64 flags; /* as the caller passed them */
	__u32 error; /* errno, positive */
	__u32 reason; /* enum nsmon_reason */
};

/* nsmon_proc.flags */
enum nsmon_proc_flag {
	NSMON_PROC_BUSY = 1, /* a record of its beginning or of a change may not be out yet */
	NSMON_PROC_ENDING = 2, /* its exit record may be out or not */
	NSMON_PROC_ENDED = 4, /* its exit record is out */
	NSMON_PROC_PARTIAL = 8, /* its namespaces are gone, but for those that are not 0 */
	NSMON_PROC_KERNEL = 16, /* a kernel thread: it has no arguments */
	NSMON_PROC_OTHER = 32, /* not let through by the filter: told to nobody */
	NSMON_PROC_THREADS = 64, /* NSMON_CGROUP: the other threads of the process as well */
	NSMON_PROC_LIVES = 128, /* other threads of its process go on */
};

/*
 * NSMON_PROC: header.time is from before anything was read, header.seq and .cpu
 * are 0. NSMON_CGROUP: the same, of the task that was moved.
 */
struct nsmon_proc {
	struct nsmon_header header;
	struct nsmon_task task;
	struct nsmon_ns_set ns;
	__u64 exec_id; /* as nsmon_exec.exec_id; 0: it has not execed since its fork */
	__u32 flags; /* enum nsmon_proc_flag */
	__u32 zero;
};

/* Of the hierarchy of cgroups that is looked at, in the order in which one is taken. */
enum nsmon_controller {
	NSMON_CONTROLLER_NONE = 0, /* cgroup v2 */
	NSMON_CONTROLLER_MEMORY = 1,
	NSMON_CONTROLLER_PIDS = 2,
	NSMON_CONTROLLER_CPU = 3,
	NSMON_CONTROLLER_DEVICES = 4,
	NSMON_CONTROLLER_FREEZER = 5,
	NSMON_CONTROLLER_IO = 6,
};

enum nsmon_cgroup_op {
	NSMON_CGROUP_MADE = 1,
	NSMON_CGROUP_RENAMED = 2,
	NSMON_CGROUP_REMOVED = 3,
};

/* NAME_MAX and a NUL. */
#define NSMON_CGROUP_NAME_LEN 256

/* Of the end of the arguments of who made a cgroup: a container's name is the last one. */
#define NSMON_MAKER_ARGS_LEN 256

struct nsmon_cgroup {
	struct nsmon_header header;
	__u64 id;
	__u64 parent_id; /* 0: the root has none */
	__u32 op; /* enum nsmon_cgroup_op */
	__u32 maker_args_len;
	char name[NSMON_CGROUP_NAME_LEN]; /* ended by a NUL */
	char maker[NSMON_COMM_LEN]; /* the task that did it */
	char maker_args[NSMON_MAKER_ARGS_LEN]; /* each ended by a NUL, but for the last */
};

/* Totals since the start, so that a lost or doubled one does no harm. */
struct nsmon_lost {
	struct nsmon_header header;
	__u64 lost[NSMON_KINDS]; /* records of output, by enum nsmon_kind */
};

/* Per CPU; what was seen is what was delivered plus what was lost. */
struct nsmon_counters {
	__u64 records; /* numbered, delivered or not */
	__u64 seen[NSMON_KINDS]; /* records of output, by enum nsmon_kind */
	__u64 lost[NSMON_KINDS];
};

/* Programs that others call, where the kernel may skip one that is attached itself. */
enum nsmon_body {
	NSMON_BODY_FORK = 0,
	NSMON_BODY_EXEC = 1,
	NSMON_BODY_EXIT = 2,
	NSMON_BODY_SYS_ENTER = 3,
	NSMON_BODY_SYS_EXIT = 4,
};

#define NSMON_BODIES 5

/* Value of a cgroup whose tasks pass the filter. */
enum nsmon_cgroup_verdict {
	NSMON_CGROUP_WANTED = 1,
	NSMON_CGROUP_UNDECIDED = 2, /* new: user space decides of each record */
};

/* Value of a followed process that existed before: nobody knows how many tasks it has. */
#define NSMON_FOLLOWED_BEFORE (1U << 31)

/* Who may wake the reader; written by user space before it sleeps. */
enum nsmon_armed {
	NSMON_ARMED_NO = 0, /* it is awake */
	NSMON_ARMED_FULL = 1, /* when wakeup_bytes are waiting */
	NSMON_ARMED_ANY = 2, /* the next record */
};

#endif
