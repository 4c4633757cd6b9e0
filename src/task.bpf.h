/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads what a task is and which namespaces it is in. Writes no record and
 * keeps no state.
 */
#ifndef TASK_BPF_H
#define TASK_BPF_H

#include "compat.bpf.h"
#include "nsmon.h"

/*
 * The pid namespace that nsmon runs in: its level and inode number. Tasks are
 * numbered as they are seen from there. Level 0 is the initial one. The level is
 * known before loading (src/view.c), the rest is set by read_view, which user
 * space runs once before anything is attached.
 */
const volatile __u32 view_level;
volatile __u32 view_inum;

/* CLOCK_BOOTTIME of the kernel at that moment; a time namespace shows another one. */
volatile __u64 view_boot_ns;

static __always_inline struct upid upid_at(struct pid *pid, __u32 level)
{
	struct upid upid = {};
	const void *numbers = &pid->numbers[0];

	/* Below: numbers[level]; its bound is the pid's own level. */
	bpf_probe_read_kernel(&upid, sizeof(upid), numbers + level * sizeof(upid));
	return upid;
}

/* Number of a pid as nsmon sees it; 0 when it is outside of its namespace. */
static __always_inline __u32 pid_in_view(struct pid *pid)
{
	__u32 level = view_level;
	struct upid upid;

	if (BPF_CORE_READ(pid, level) < level)
		return 0;
	upid = upid_at(pid, level);
	if (BPF_CORE_READ(upid.ns, ns.inum) != view_inum)
		return 0;
	return upid.nr;
}

/* typed: see READ(). */
static __always_inline __u32 tgid_of(struct task_struct *task, bool typed)
{
	if (view_level == 0)
		return READ(typed, task, tgid);
	return pid_in_view(BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]));
}

static __always_inline __u32 task_tgid(struct task_struct *task)
{
	return tgid_of(task, false);
}

static __always_inline __u32 tid_of(struct task_struct *task, bool typed)
{
	if (view_level == 0)
		return READ(typed, task, pid);
	return pid_in_view(BPF_CORE_READ(task, thread_pid));
}

static __always_inline __u32 task_tid(struct task_struct *task)
{
	return tid_of(task, false);
}

/* Of the current task, which a helper tells without reading. */
static __always_inline __u32 current_tgid(void)
{
	if (view_level == 0)
		return bpf_get_current_pid_tgid() >> 32;
	return task_tgid(current_task());
}

static __always_inline __u32 current_tid(void)
{
	if (view_level == 0)
		return bpf_get_current_pid_tgid();
	return task_tid(current_task());
}

/* Is it the main thread of its process? */
static __always_inline bool current_is_leader(void)
{
	__u64 id = bpf_get_current_pid_tgid();

	return (__u32)id == id >> 32;
}

/* tgid: its process as nsmon sees it, which at level 0 is all that there is to see. */
static __always_inline __u32 task_vpid(struct task_struct *task, __u32 tgid, bool typed)
{
	struct pid *pid = READ(typed, task, thread_pid);
	__u32 level = READ(typed, pid, level); /* the same for all of the process */

	return level == 0 ? tgid
			  : upid_at(BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]), level).nr;
}

/* Its cgroup in the hierarchy that container managers use: src/hierarchy.c chooses. */
static __always_inline struct cgroup *task_cgroup(struct task_struct *task, bool typed)
{
	struct css_set *set = READ(typed, task, cgroups);
	struct cgroup_subsys_state *css = NULL;

	if (kernel_has.cgroup_controller == NSMON_CONTROLLER_NONE)
		return READ(typed, set, dfl_cgrp);
	if (typed && kernel_has.typed_task)
		return set->subsys[compat_controller_index()]->cgroup;
	bpf_probe_read_kernel(&css, sizeof(css), &set->subsys[0] + compat_controller_index());
	return BPF_CORE_READ(css, cgroup);
}

/* Are both in the same? Most tasks share what says so. */
static __always_inline bool same_cgroup(struct task_struct *a, struct task_struct *b,
					const bool typed)
{
	return READ(typed, a, cgroups) == READ(typed, b, cgroups) ||
	       task_cgroup(a, false) == task_cgroup(b, false);
}

static __always_inline __u64 cgroup_id(struct cgroup *cgroup, bool typed)
{
	struct kernfs_node *kn = READ(typed, cgroup, kn);

	return READ(typed, kn, id);
}

/* Real user and group id: they lie side by side. */
static __always_inline void read_ids(struct nsmon_task *out, struct cred *cred, bool typed)
{
	__u32 uid_at = bpf_core_field_offset(cred->uid);
	__u32 gid_at = bpf_core_field_offset(cred->gid);
	__u32 ids[2];

	if (typed && kernel_has.typed_task) {
		if (!cred) /* see load_ns_addresses() */
			return;
		out->uid = cred->uid.val;
		out->gid = cred->gid.val;
	} else if (gid_at == uid_at + sizeof(__u32)) {
		bpf_probe_read_kernel(ids, sizeof(ids), (void *)cred + uid_at);
		out->uid = ids[0];
		out->gid = ids[1];
	} else {
		out->uid = BPF_CORE_READ(cred, uid.val);
		out->gid = BPF_CORE_READ(cred, gid.val);
	}
}

/* In two words: it is a char array, of which a load by the verifier's leave takes eight bytes, too. */
static __always_inline void read_comm(struct nsmon_task *out, struct task_struct *task, bool typed)
{
	if (typed && kernel_has.typed_task) {
		__u64 *to = (__u64 *)out->comm;
		const __u64 *from = (const __u64 *)task->comm;

		to[0] = from[0];
		to[1] = from[1];
	} else {
		BPF_CORE_READ_INTO(&out->comm, task, comm);
	}
}

/* All but its numbers, which are there. */
static __always_inline void read_rest_of_task(struct nsmon_task *out, struct task_struct *task,
					      struct task_struct *leader, bool typed)
{
	out->thread_start_ns = READ(typed, task, start_boottime);
	out->start_ns = leader == task ? out->thread_start_ns : READ(typed, leader, start_boottime);
	out->ppid = tgid_of(READ(typed, task, real_parent), typed);
	out->vpid = task_vpid(task, out->pid, typed);
	read_ids(out, (struct cred *)READ(typed, task, real_cred), typed);
	read_comm(out, task, typed);
}

static __always_inline void read_task(struct nsmon_task *out, struct task_struct *task, bool typed)
{
	out->pid = tgid_of(task, typed);
	out->tid = tid_of(task, typed);
	out->cgroup_id = cgroup_id(task_cgroup(task, typed), typed);
	read_rest_of_task(out, task, READ(typed, task, group_leader), typed);
}

/*
 * The same, where a helper tells what would have to be read of another. typed: see
 * READ(); false where it happens rarely, since the verifier takes a millisecond for
 * each pointer that is loaded of a task, on each way there.
 */
static __always_inline void read_current_task(struct nsmon_task *out, const bool typed)
{
	struct task_struct *task = current_task();
	struct task_struct *leader = current_is_leader() ? task : READ(typed, task, group_leader);

	out->pid = current_tgid();
	out->tid = current_tid();
	out->cgroup_id = kernel_has.cgroup_controller == NSMON_CONTROLLER_NONE
				 ? bpf_get_current_cgroup_id()
				 : cgroup_id(task_cgroup(task, typed), typed);
	read_rest_of_task(out, task, leader, typed);
}

/* The pid namespace that the task itself is in: fixed for its life. */
static __always_inline struct pid_namespace *task_pid_ns(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);

	return upid_at(pid, BPF_CORE_READ(pid, level)).ns;
}

/* Are both in the same? At level 0 there is one only. */
static __always_inline bool same_pid_ns(struct task_struct *a, struct task_struct *b)
{
	struct pid *pid_a = BPF_CORE_READ(a, thread_pid), *pid_b = BPF_CORE_READ(b, thread_pid);
	__u32 level_a = BPF_CORE_READ(pid_a, level), level_b = BPF_CORE_READ(pid_b, level);

	return (level_a == 0 && level_b == 0) ||
	       upid_at(pid_a, level_a).ns == upid_at(pid_b, level_b).ns;
}

static __always_inline bool same_user_ns(struct task_struct *a, struct task_struct *b)
{
	struct cred *cred_a = BPF_CORE_READ(a, real_cred), *cred_b = BPF_CORE_READ(b, real_cred);

	return cred_a == cred_b || BPF_CORE_READ(cred_a, user_ns) == BPF_CORE_READ(cred_b, user_ns);
}

/* Of the current task: the view from which all others are numbered. */
static __always_inline void read_own_view(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid upid = upid_at(pid, level);

	view_boot_ns = bpf_ktime_get_boot_ns();
	view_inum = BPF_CORE_READ(upid.ns, ns.inum);
}

static __always_inline bool ns_present(enum nsmon_ns_type type)
{
	return kernel_has.ns_present & (1U << type);
}

/* do(type, struct) for each. */
#define EACH_NS(do)                                                                                \
	do                                                                                         \
		(NSMON_NS_MNT, mnt_namespace);                                                     \
	do                                                                                         \
		(NSMON_NS_UTS, uts_namespace);                                                     \
	do                                                                                         \
		(NSMON_NS_IPC, ipc_namespace);                                                     \
	do                                                                                         \
		(NSMON_NS_NET, net);                                                               \
	do                                                                                         \
		(NSMON_NS_PID, pid_namespace);                                                     \
	do                                                                                         \
		(NSMON_NS_PID_FOR_CHILDREN, pid_namespace);                                        \
	do                                                                                         \
		(NSMON_NS_USER, user_namespace);                                                   \
	do                                                                                         \
		(NSMON_NS_CGROUP, cgroup_namespace);                                               \
	do                                                                                         \
		(NSMON_NS_TIME, time_namespace);                                                   \
	do                                                                                         \
	(NSMON_NS_TIME_FOR_CHILDREN, time_namespace)

/* Numbers of the namespace at an address. */
#define READ_NS(set, type, kind, address, typed)                                                   \
	do {                                                                                       \
		struct kind *namespace = (struct kind *)(address);                                 \
                                                                                                   \
		(set)->inum[type] = 0;                                                             \
		(set)->id[type] = 0;                                                               \
		if (ns_present(type))                                                              \
			compat_ns_numbers(&namespace->ns, &(set)->inum[type], &(set)->id[type],    \
					  typed);                                                  \
		if (ns_present(type) && (type) == NSMON_NS_MNT)                                    \
			compat_mnt_ns_id((struct mnt_namespace *)namespace, &(set)->id[type],      \
					 typed);                                                   \
	} while (0)

/* Of what was read of a struct nsproxy in one piece. */
#define OF_PROXY(piece, member)                                                                    \
	(*(__u64 *)((char *)(piece) + bpf_core_field_offset(struct nsproxy, member)))

/*
 * Addresses of the namespaces of task, by type, with nsproxy as given: its own, or
 * the one that it is about to get. The task is the current one or one that has not
 * run yet, so nobody changes its namespaces meanwhile. Not its own pid namespace,
 * which never changes. Each probe read is a call, hence as few as can be: the
 * nsproxy comes in one.
 */
static __always_inline void read_ns_addresses(__u64 *of, struct task_struct *task,
					      struct nsproxy *nsproxy)
{
	__u64 mnt, uts, ipc, net, pid_for_children, cgroup, time, time_for_children;

	if (bpf_core_type_size(struct nsproxy) <= NSMON_NS_TYPES * sizeof(__u64)) {
		bpf_probe_read_kernel(of, bpf_core_type_size(struct nsproxy), nsproxy);
		mnt = OF_PROXY(of, mnt_ns);
		uts = OF_PROXY(of, uts_ns);
		ipc = OF_PROXY(of, ipc_ns);
		net = OF_PROXY(of, net_ns);
		pid_for_children = OF_PROXY(of, pid_ns_for_children);
		cgroup = OF_PROXY(of, cgroup_ns);
		time = OF_PROXY(of, time_ns);
		time_for_children = OF_PROXY(of, time_ns_for_children);
	} else {
		mnt = (__u64)BPF_CORE_READ(nsproxy, mnt_ns);
		uts = (__u64)BPF_CORE_READ(nsproxy, uts_ns);
		ipc = (__u64)BPF_CORE_READ(nsproxy, ipc_ns);
		net = (__u64)BPF_CORE_READ(nsproxy, net_ns);
		pid_for_children = (__u64)BPF_CORE_READ(nsproxy, pid_ns_for_children);
		cgroup = (__u64)BPF_CORE_READ(nsproxy, cgroup_ns);
		time = (__u64)BPF_CORE_READ(nsproxy, time_ns);
		time_for_children = (__u64)BPF_CORE_READ(nsproxy, time_ns_for_children);
	}
	of[NSMON_NS_MNT] = mnt;
	of[NSMON_NS_UTS] = uts;
	of[NSMON_NS_IPC] = ipc;
	of[NSMON_NS_NET] = net;
	of[NSMON_NS_PID_FOR_CHILDREN] = pid_for_children;
	of[NSMON_NS_USER] = (__u64)BPF_CORE_READ(task, real_cred, user_ns);
	of[NSMON_NS_CGROUP] = cgroup;
	of[NSMON_NS_TIME] = time;
	of[NSMON_NS_TIME_FOR_CHILDREN] = time_for_children;
}

#define READ_IN_PLACE(type, kind) READ_NS(set, type, kind, set->id[type], false)

/* The namespaces of task. The addresses are read into the room of the ids, which are not known yet. */
static __always_inline void read_ns_set(struct nsmon_ns_set *set, struct task_struct *task,
					struct nsproxy *nsproxy)
{
	read_ns_addresses(set->id, task, nsproxy);
	set->id[NSMON_NS_PID] = (__u64)task_pid_ns(task);
	EACH_NS(READ_IN_PLACE);
}

/*
 * The same by loads, of the current task and its own nsproxy: the verifier still
 * knows what each points to. It wants to be told that there are credentials, too,
 * where their type has a tag; there always are. Returns whether there are.
 */
static __always_inline bool load_ns_addresses(__u64 *of, struct task_struct *task,
					      struct nsproxy *nsproxy)
{
	const struct cred *cred = task->real_cred;

	if (!cred)
		return false;
	of[NSMON_NS_MNT] = (__u64)nsproxy->mnt_ns;
	of[NSMON_NS_UTS] = (__u64)nsproxy->uts_ns;
	of[NSMON_NS_IPC] = (__u64)nsproxy->ipc_ns;
	of[NSMON_NS_NET] = (__u64)nsproxy->net_ns;
	of[NSMON_NS_PID_FOR_CHILDREN] = (__u64)nsproxy->pid_ns_for_children;
	of[NSMON_NS_USER] = (__u64)cred->user_ns;
	of[NSMON_NS_CGROUP] = (__u64)nsproxy->cgroup_ns;
	of[NSMON_NS_TIME] = (__u64)nsproxy->time_ns;
	of[NSMON_NS_TIME_FOR_CHILDREN] = (__u64)nsproxy->time_ns_for_children;
	return true;
}

#define RENEW(type, kind)                                                                          \
	do {                                                                                       \
		if (of[type] == found[type]) {                                                     \
			if (known) {                                                               \
				now->inum[type] = known->inum[type];                               \
				now->id[type] = known->id[type];                                   \
			}                                                                          \
		} else {                                                                           \
			of[type] = found[type];                                                    \
			READ_NS(now, type, kind, found[type], typed && (type) != NSMON_NS_PID);    \
		}                                                                                  \
	} while (0)

/*
 * The same for a task whose namespaces were `known` when they were at the addresses
 * `of`, 0 where nothing is known: reads the numbers only of those that are others
 * now. An address is not taken again while the task is in what is there. NULL: they
 * are known in `now` itself. typed: of the current task and its own nsproxy, as READ()
 * has it.
 */
static __always_inline void renew_ns_set(struct nsmon_ns_set *now, const struct nsmon_ns_set *known,
					 __u64 *of, struct task_struct *task,
					 struct nsproxy *nsproxy, const bool typed)
{
	__u64 found[NSMON_NS_TYPES];

	if (!(typed && kernel_has.typed_task)) {
		read_ns_addresses(found, task, nsproxy);
	} else if (!load_ns_addresses(found, task, nsproxy)) {
		if (known)
			*now = *known;
		return;
	}
	found[NSMON_NS_PID] = of[NSMON_NS_PID] ? of[NSMON_NS_PID] : (__u64)task_pid_ns(task);
	EACH_NS(RENEW);
}

/* The namespaces of process 1 as nsmon numbers it. */
struct nsmon_ns_set view_host;

static __always_inline void read_host(struct task_struct *task)
{
	struct task_struct *init = BPF_CORE_READ(task_pid_ns(task), child_reaper, group_leader);
	struct nsmon_ns_set host = {};

	read_ns_set(&host, init, BPF_CORE_READ(init, nsproxy));
	view_host = host;
}

/* 1 or 0 without a branch, since the verifier would walk both sides of each. */
static __always_inline __u32 differ(__u64 a, __u64 b)
{
	__u64 x = a ^ b;
	__u64 negative = -x;

	barrier_var(negative); /* else the compiler makes the branch again */
	return (x | negative) >> 63;
}

/*
 * Bits of the types in which two sets differ. Both sets' namespaces lived at
 * one moment, so equal inode numbers mean the same namespace; where one set is
 * of a thread that has ended, the ids tell recycled numbers apart.
 */
static __always_inline __u32 diff_ns_sets(const struct nsmon_ns_set *a,
					  const struct nsmon_ns_set *b)
{
	__u32 changed = 0;

#pragma unroll
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		changed |= (differ(a->inum[i], b->inum[i]) | differ(a->id[i], b->id[i])) << i;
	return changed;
}

#define DIFFER(type, a, b) (differ((__u64)(a), (__u64)(b)) << (type))

/*
 * Types of a child's namespaces that its clone() made: those that the creator
 * would not have handed on by a plain fork. By pointer: all of them are alive. By
 * probe reads, since the verifier lets nobody compute with pointers that it knows.
 */
static __always_inline __u32 made_by_clone(struct task_struct *child, struct task_struct *creator)
{
	struct nsproxy *c = BPF_CORE_READ(child, nsproxy);
	struct nsproxy *p = BPF_CORE_READ(creator, nsproxy);
	void *pid_for_children = BPF_CORE_READ(p, pid_ns_for_children);
	void *time_for_children = BPF_CORE_READ(p, time_ns_for_children);
	void *time = BPF_CORE_READ(c, time_ns);

	return DIFFER(NSMON_NS_MNT, BPF_CORE_READ(c, mnt_ns), BPF_CORE_READ(p, mnt_ns)) |
	       DIFFER(NSMON_NS_UTS, BPF_CORE_READ(c, uts_ns), BPF_CORE_READ(p, uts_ns)) |
	       DIFFER(NSMON_NS_IPC, BPF_CORE_READ(c, ipc_ns), BPF_CORE_READ(p, ipc_ns)) |
	       DIFFER(NSMON_NS_NET, BPF_CORE_READ(c, net_ns), BPF_CORE_READ(p, net_ns)) |
	       DIFFER(NSMON_NS_PID, task_pid_ns(child), pid_for_children) |
	       DIFFER(NSMON_NS_PID_FOR_CHILDREN, BPF_CORE_READ(c, pid_ns_for_children),
		      pid_for_children) |
	       DIFFER(NSMON_NS_USER, BPF_CORE_READ(child, real_cred, user_ns),
		      BPF_CORE_READ(creator, real_cred, user_ns)) |
	       DIFFER(NSMON_NS_CGROUP, BPF_CORE_READ(c, cgroup_ns), BPF_CORE_READ(p, cgroup_ns)) |
	       /* CLONE_VM leaves the child in its creator's until it execs. */
	       (DIFFER(NSMON_NS_TIME, time, time_for_children) &
		DIFFER(NSMON_NS_TIME, time, BPF_CORE_READ(p, time_ns))) |
	       DIFFER(NSMON_NS_TIME_FOR_CHILDREN, BPF_CORE_READ(c, time_ns_for_children),
		      time_for_children);
}

#endif
