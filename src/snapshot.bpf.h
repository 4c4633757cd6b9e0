/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The whole picture: a task iterator that writes one struct nsmon_proc for each
 * task. Unlike the handlers it reads tasks that run meanwhile. Uses the filter
 * and the map of pending calls of src/nsmon.bpf.c, which includes this.
 */
#ifndef SNAPSHOT_BPF_H
#define SNAPSHOT_BPF_H

/* include/linux/sched.h */
#define PF_EXITING 0x00000004
#define PF_FORKNOEXEC 0x00000040
#define PF_KTHREAD 0x00200000
#define TASK_NEW 0x00000800
#define EXIT_DEAD 0x00000010

/* A call that has taken longer, in jiffies, is taken for one whose end was missed: 10 s where there are 1000 in one. */
#define CALL_MAX 10000

/* How often a task is read again that changed meanwhile. */
#define READ_TRIES 4

/*
 * nsproxy is freed as soon as its last task has left it, and may be another
 * task's by now: what was read from it holds where the task still has it.
 * Credentials are replaced as a whole, too.
 */
static __always_inline bool read_ns_set_of_other(struct nsmon_ns_set *set, struct task_struct *task)
{
	for (int i = 0; i < READ_TRIES; i++) {
		struct nsproxy *nsproxy = BPF_CORE_READ(task, nsproxy);
		struct cred *cred = BPF_CORE_READ(task, real_cred);

		__builtin_memset(set, 0, sizeof(*set));
		read_ns_set(set, task, nsproxy);
		if (nsproxy == BPF_CORE_READ(task, nsproxy) &&
		    cred == BPF_CORE_READ(task, real_cred))
			return nsproxy;
	}
	return false;
}

/*
 * Without -T a process has a row of its own, its main thread's, and so has a
 * thread that has gone elsewhere.
 */
static __always_inline bool has_row(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	return filter.threads || task == leader || may_differ(task, leader, false);
}

/*
 * Is it inside a call that changes namespaces? A failed exec leaves its entry
 * behind, and so does a call whose end was missed.
 */
static __always_inline bool is_in_call(struct task_struct *task)
{
	const struct pending *p = find_pending(task);

	return p && p->reason != NSMON_REASON_EXEC && bpf_jiffies64() - p->since < CALL_MAX;
}

/*
 * Looked at after the rest: what the rest shows of a call, a birth or an end that
 * is not seen here any more has been told by then.
 */
static __always_inline __u32 proc_flags(struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	__u32 task_flags = BPF_CORE_READ(task, flags);
	__u32 flags = task_flags & PF_KTHREAD ? NSMON_PROC_KERNEL : 0;
	bool process = task == leader && !filter.threads;

	if (is_in_call(task) || compat_is_in_exec(task) || compat_task_state(task) & TASK_NEW)
		flags |= NSMON_PROC_BUSY;
	if (process ? BPF_CORE_READ(task, signal, live.counter) == 0 : task_flags & PF_EXITING)
		flags |= NSMON_PROC_ENDING;
	if ((flags & NSMON_PROC_ENDING) && BPF_CORE_READ(task, exit_state) &&
	    (!process || BPF_CORE_READ(task, signal, nr_threads) == 1))
		flags |= NSMON_PROC_ENDED;
	if (BPF_CORE_READ(task, signal, live.counter))
		flags |= NSMON_PROC_LIVES;
	return flags;
}

/* After a birth of a followed process's child was missed. */
volatile bool adopting;

/*
 * Follows a process that nobody knows of: by its parent, where it was born while nsmon
 * traced, and its birth is over, with what it has to tell. How many tasks it has is not known.
 */
static __always_inline bool adopt(struct task_struct *task, __u32 pid)
{
	__u32 tasks = NSMON_FOLLOWED_BEFORE;

	if (!adopting || !filter.follow || compat_task_state(task) & TASK_NEW ||
	    BPF_CORE_READ(task, group_leader, start_boottime) < view_boot_ns ||
	    !is_followed(task_tgid(BPF_CORE_READ(task, group_leader, real_parent))) ||
	    bpf_map_update_elem(&followed, &pid, &tasks, BPF_NOEXIST))
		return false;
	atomic_add(&followed_count, 1);
	if (BPF_CORE_READ(task, signal, live.counter))
		return true;
	forget_followed(pid); /* it ends, and may have told of it before it was followed */
	return false;
}

SEC("?iter/task")
int snapshot(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct nsmon_proc r = {
		.header = {
			.size = sizeof(r),
			.kind = NSMON_PROC,
			.layout = NSMON_LAYOUT,
		},
	};
	bool wanted;
	__u32 pid;

	if (!task || BPF_CORE_READ(task, exit_state) == EXIT_DEAD)
		return 0;
	pid = task_tgid(task);
	wanted = pid && (is_followed(pid) || adopt(task, pid) || pid == filter.self) &&
		 is_in_cgroup(task);
	if (!pid || !has_row(task) || !(wanted || everyone))
		return 0;
	r.header.time = bpf_ktime_get_boot_ns();
	if (!(BPF_CORE_READ(task, flags) & PF_FORKNOEXEC))
		r.exec_id = BPF_CORE_READ(task, self_exec_id);
	/* What is read now may be older than what was told. */
	if (kernel_has.told_early && is_in_call(task))
		r.flags |= NSMON_PROC_BUSY;
	if (!read_ns_set_of_other(&r.ns, task))
		r.flags |= NSMON_PROC_PARTIAL;
	read_task(&r.task, task, false);
	r.flags |= proc_flags(task) | (wanted ? 0 : NSMON_PROC_OTHER);
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}

#endif
