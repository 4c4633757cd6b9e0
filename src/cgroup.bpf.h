/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tree of cgroups, and who is moved in it. A cgroup's path is put together in
 * user space, from the names that are told here. Uses the filter of
 * src/nsmon.bpf.c, which includes this.
 */
#ifndef CGROUP_BPF_H
#define CGROUP_BPF_H

static __always_inline bool is_in_hierarchy(struct cgroup *cgroup)
{
	return BPF_CORE_READ(cgroup, root, hierarchy_id) == kernel_has.cgroup_hierarchy;
}

/* What user space has not decided yet passes: it decides of each record. */
static __always_inline void admit_cgroup(__u64 id, enum nsmon_cgroup_op op)
{
	__u8 undecided = NSMON_CGROUP_UNDECIDED;

	if (!filter.cgroups)
		return;
	if (op == NSMON_CGROUP_REMOVED)
		bpf_map_delete_elem(&wanted_cgroups, &id);
	else
		bpf_map_update_elem(&wanted_cgroups, &id, &undecided, BPF_ANY);
}

/*
 * kernel/cgroup/cgroup.c: nobody is in a new one yet, and nobody is left in one
 * that was removed. The maker tells more of a container than its cgroup's name.
 */
static __always_inline void handle_cgroup_tree(struct cgroup *cgroup, enum nsmon_cgroup_op op)
{
	struct nsmon_counters *cpu = this_cpu_counters();
	struct kernfs_node *kn = BPF_CORE_READ(cgroup, kn);
	struct task_struct *task = current_task();
	unsigned long end = BPF_CORE_READ(task, mm, arg_end);
	unsigned long len = end - BPF_CORE_READ(task, mm, arg_start);
	struct nsmon_cgroup *r;

	if (!cpu || !is_in_hierarchy(cgroup))
		return;
	admit_cgroup(BPF_CORE_READ(kn, id), op);
	r = reserve(cpu, sizeof(*r), NSMON_CGROUP_TREE, 0, true);
	if (!r) {
		count_lost(cpu, NSMON_CGROUP_TREE, 1);
		return;
	}
	r->id = BPF_CORE_READ(kn, id);
	r->parent_id = BPF_CORE_READ(compat_kernfs_parent(kn), id);
	r->op = op;
	if (bpf_probe_read_kernel_str(r->name, sizeof(r->name), BPF_CORE_READ(kn, name)) < 0)
		r->name[0] = 0;
	BPF_CORE_READ_INTO(&r->maker, task, comm);
	if (len > sizeof(r->maker_args))
		len = sizeof(r->maker_args);
	if (bpf_probe_read_user(r->maker_args, len, (const void *)(end - len)))
		len = 0;
	r->maker_args_len = len;
	submit(r);
}

/* cgroup_attach_task(), at its end: with threadgroup the whole process was moved. */
static __always_inline void handle_cgroup_attach(struct cgroup *to, struct task_struct *task,
						 bool threadgroup)
{
	struct nsmon_counters *cpu = this_cpu_counters();
	struct nsmon_proc *r;

	if (!cpu || !is_in_hierarchy(to) || !is_followed(task_tgid(task)) || !task_tgid(task) ||
	    !has_row(task))
		return;
	atomic_add(&cpu->seen[NSMON_CGROUP], 1);
	r = reserve(cpu, sizeof(*r), NSMON_CGROUP, 0, true);
	if (!r) {
		count_lost(cpu, NSMON_CGROUP, 1);
		return;
	}
	r->flags = threadgroup ? NSMON_PROC_THREADS : 0;
	r->zero = 0;
	r->exec_id =
		BPF_CORE_READ(task, flags) & PF_FORKNOEXEC ? 0 : BPF_CORE_READ(task, self_exec_id);
	if (!read_ns_set_of_other(&r->ns, task))
		r->flags |= NSMON_PROC_PARTIAL;
	read_task(&r->task, task, false);
	submit(r);
}

/*
 * No copies of these: kernel/cgroup/cgroup-internal.h, TRACE_CGROUP_PATH() calls each with
 * interrupts off and under one lock, so that none is preempted, nor skipped for it.
 */

SEC("?raw_tp/cgroup_mkdir")
int on_cgroup_made(unsigned long long *ctx)
{
	handle_cgroup_tree((struct cgroup *)ctx[0], NSMON_CGROUP_MADE);
	return 0;
}

SEC("?raw_tp/cgroup_attach_task")
int on_cgroup_attach(unsigned long long *ctx)
{
	handle_cgroup_attach((struct cgroup *)ctx[0], (struct task_struct *)ctx[2], (bool)ctx[3]);
	return 0;
}

SEC("?raw_tp/cgroup_rename")
int on_cgroup_renamed(unsigned long long *ctx)
{
	handle_cgroup_tree((struct cgroup *)ctx[0], NSMON_CGROUP_RENAMED);
	return 0;
}

SEC("?raw_tp/cgroup_rmdir")
int on_cgroup_removed(unsigned long long *ctx)
{
	handle_cgroup_tree((struct cgroup *)ctx[0], NSMON_CGROUP_REMOVED);
	return 0;
}

#endif
