/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs that user space attaches: per backend the few lines that call the
 * handlers of src/nsmon.bpf.c, which includes this at its end. Decide nothing.
 */
#ifndef PROGRAMS_BPF_H
#define PROGRAMS_BPF_H

/*
 * The programs of every backend. The first is run by nsmon itself, not
 * attached. Raw tracepoints need no BTF in the kernel, unlike tp_btf, which
 * gains nothing where every read is a probe read.
 */

SEC("?raw_tp")
int read_view(void *ctx)
{
	read_own_view(current_task());
	read_host(current_task());
	return 0;
}

/* What is run for an event: the key of it in `runs`. No arithmetic with a pointer that the verifier knows. */
static __always_inline struct run_key run_key(struct task_struct *task, enum nsmon_kind kind,
					      __u64 nth)
{
	return (struct run_key){ .of = (__u64)task | kind,
				 .born = BPF_CORE_READ(task, start_boottime),
				 .nth = nth };
}

static __always_inline struct run_key fork_key(struct task_struct *child)
{
	return run_key(child, NSMON_FORK, 0);
}

/* Brothers have the same number after their first exec. */
static __always_inline struct run_key exec_key(struct task_struct *task)
{
	return run_key(task, NSMON_EXEC, BPF_CORE_READ(task, self_exec_id));
}

static __always_inline struct run_key exit_key(struct task_struct *task)
{
	return run_key(task, NSMON_EXIT, 0);
}

/* Has no copy been run before for this event? The last one forgets it. */
static __always_inline bool is_first_run(__u32 copy, const struct run_key *key)
{
	if (copy == COPIES - 1)
		return bpf_map_delete_elem(&runs, key) != 0;
	return bpf_map_update_elem(&runs, key, &copy, BPF_NOEXIST) == 0;
}

/* Which of the copies runs for this event: its scratch space is nobody else's. */
static __always_inline __u32 copy_of(const struct run_key *key)
{
	const __u32 *copy;

	if (!kernel_has.preempts_programs)
		return 0;
	copy = bpf_map_lookup_elem(&runs, key);
	return copy ? *copy : COPIES - 1;
}

/* By enum body: set by src/probe.c. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, NSMON_BODIES);
	__type(key, __u32);
	__type(value, __u32);
} bodies SEC(".maps");

/*
 * Ends a program that gates call. From 6.13 on the kernel may give a program a
 * stack for each processor in place of the task's (a "private stack"). That is
 * safe for one that it runs itself, which it skips where it is preempted by
 * itself; but two gates can be in the same body on one processor, and its stack
 * would be written by both. A program with a tail call gets no private stack.
 * This one leads nowhere: there is no such index. Before 5.10, and on arm64 before 6.0,
 * the verifier takes none in a program with functions.
 */
static __always_inline int end_of_body(void *ctx)
{
	if (kernel_has.preempts_programs)
		bpf_tail_call(ctx, &bodies, NSMON_BODIES);
	return 0;
}

/*
 * The programs of the events: attached themselves, or where the kernel may skip
 * them called by gates, which are. The verifier looks at each of them once.
 */

SEC("?raw_tp/task_newtask")
int on_fork(unsigned long long *ctx)
{
	struct task_struct *child = (struct task_struct *)ctx[0];
	const struct run_key key = fork_key(child);

	handle_fork(child, ctx[1], copy_of(&key), false);
	return end_of_body(ctx);
}

/* The same where the verifier is to know what the child is. No gate can call it: their calls lead to one type alone. */
SEC("?tp_btf/task_newtask")
int on_fork_typed(unsigned long long *ctx)
{
	return handle_fork((struct task_struct *)ctx[0], ctx[1], 0, true);
}

SEC("?raw_tp/sched_process_exec")
int on_exec(unsigned long long *ctx)
{
	const struct run_key key = exec_key((struct task_struct *)ctx[0]);

	handle_exec(current_task(), ctx[1], (struct linux_binprm *)ctx[2], copy_of(&key));
	return end_of_body(ctx);
}

SEC("?raw_tp/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = current_task();
	struct signal_struct *signal = READ(true, task, signal);
	bool group_dead =
		kernel_has.group_dead_arg ? (bool)ctx[1] : READ(true, signal, live.counter) == 0;

	handle_exit(task, group_dead);
	return end_of_body(ctx);
}

#define TASK_GATES(suffix, copy)                                                                   \
	SEC("?raw_tp/task_newtask")                                                                \
	int gate_fork##suffix(unsigned long long *ctx)                                             \
	{                                                                                          \
		const struct run_key key = fork_key((struct task_struct *)ctx[0]);                 \
                                                                                                   \
		if (is_first_run(copy, &key))                                                      \
			bpf_tail_call(ctx, &bodies, NSMON_BODY_FORK);                              \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?raw_tp/sched_process_exec")                                                          \
	int gate_exec##suffix(unsigned long long *ctx)                                             \
	{                                                                                          \
		const struct run_key key = exec_key((struct task_struct *)ctx[0]);                 \
                                                                                                   \
		if (is_first_run(copy, &key))                                                      \
			bpf_tail_call(ctx, &bodies, NSMON_BODY_EXEC);                              \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?raw_tp/sched_process_exit")                                                          \
	int gate_exit##suffix(unsigned long long *ctx)                                             \
	{                                                                                          \
		const struct run_key key = exit_key((struct task_struct *)ctx[0]);                 \
                                                                                                   \
		if (is_first_run(copy, &key))                                                      \
			bpf_tail_call(ctx, &bodies, NSMON_BODY_EXIT);                              \
		return 0;                                                                          \
	}

TASK_GATES(, 0)
TASK_GATES(_2, 1)
TASK_GATES(_3, 2)

/*
 * Backend fentry. ksys_unshare() serves the 64-bit and the 32-bit call; the
 * wrappers of the others are named by src/probe.c, which knows the architecture.
 */

static __always_inline __u64 setns_flags(struct pt_regs *regs)
{
	return (__u32)compat_syscall_arg2(regs, current_task());
}

/* The low byte of clone()'s flags is a signal; clone3() has it elsewhere. */
static __always_inline __u64 clone_flags(struct pt_regs *regs)
{
	return compat_syscall_arg1(regs, current_task()) & ~CSIGNAL;
}

static __always_inline void enter_setns(struct pt_regs *regs)
{
	handle_enter(NSMON_REASON_SETNS, setns_flags(regs), 0);
}

static __always_inline void enter_clone(struct pt_regs *regs)
{
	handle_enter(NSMON_REASON_CLONE, clone_flags(regs), 0);
}

static __always_inline void enter_clone3(struct pt_regs *regs)
{
	__u64 args = compat_syscall_arg1(regs, current_task());

	handle_enter(NSMON_REASON_CLONE, read_clone_flags(args), args);
}

#define enter_setns32 enter_setns
#define enter_clone32 enter_clone
#define enter_clone332 enter_clone3

#define FENTRY_SYSCALL(name, copy)                                                                 \
	SEC("?fentry")                                                                             \
	int BPF_PROG(fentry_##name##copy, struct pt_regs *regs)                                    \
	{                                                                                          \
		enter_##name(regs);                                                                \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?fexit")                                                                              \
	int BPF_PROG(fexit_##name##copy, struct pt_regs *regs, long ret)                           \
	{                                                                                          \
		handle_leave(ret);                                                                 \
		return 0;                                                                          \
	}

#define FENTRY_EVENTS(copy)                                                                        \
	SEC("?fentry/ksys_unshare")                                                                \
	int BPF_PROG(fentry_unshare##copy, unsigned long flags)                                    \
	{                                                                                          \
		handle_enter(NSMON_REASON_UNSHARE, flags, 0);                                      \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?fexit/ksys_unshare")                                                                 \
	int BPF_PROG(fexit_unshare##copy, unsigned long flags, int ret)                            \
	{                                                                                          \
		handle_leave(ret);                                                                 \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?fentry/exec_task_namespaces")                                                        \
	int BPF_PROG(fentry_exec##copy)                                                            \
	{                                                                                          \
		handle_exec_enter();                                                               \
		return 0;                                                                          \
	}                                                                                          \
	FENTRY_SYSCALL(setns, copy)                                                                \
	FENTRY_SYSCALL(setns32, copy)                                                              \
	FENTRY_SYSCALL(clone, copy)                                                                \
	FENTRY_SYSCALL(clone32, copy)                                                              \
	FENTRY_SYSCALL(clone3, copy)                                                               \
	FENTRY_SYSCALL(clone332, copy)

FENTRY_EVENTS()
FENTRY_EVENTS(_2)
FENTRY_EVENTS(_3)

SEC("?fentry/switch_task_namespaces")
int BPF_PROG(fentry_switch, struct task_struct *p, struct nsproxy *new)
{
	handle_switch(p, new);
	return 0;
}

/* Called by unshare() and setns() at the end of a success, and for each fork. */
SEC("?fentry/perf_event_namespaces")
int BPF_PROG(fentry_done, struct task_struct *task)
{
	handle_done(task);
	return 0;
}

/* On 5.10, where that cannot be traced. */
SEC("?fentry/commit_creds")
int BPF_PROG(fentry_creds, struct cred *new)
{
	handle_creds(new);
	return 0;
}

/* Backend kprobe: the same functions. */

SEC("?kprobe/ksys_unshare")
int kprobe_unshare(struct pt_regs *ctx)
{
	handle_enter(NSMON_REASON_UNSHARE, compat_func_arg1(ctx), 0);
	return 0;
}

SEC("?kretprobe")
int kretprobe_leave(struct pt_regs *ctx)
{
	handle_leave((int)compat_func_ret(ctx));
	return 0;
}

/* Cannot be probed on 5.10. */
SEC("?kprobe/perf_event_namespaces")
int kprobe_done(struct pt_regs *ctx)
{
	handle_done((struct task_struct *)compat_func_arg1(ctx));
	return 0;
}

/* There, with kprobe_switch. */
SEC("?kprobe/commit_creds")
int kprobe_creds(struct pt_regs *ctx)
{
	handle_creds((struct cred *)compat_func_arg1(ctx));
	return 0;
}

SEC("?kprobe")
int kprobe_setns(struct pt_regs *ctx)
{
	enter_setns((struct pt_regs *)compat_func_arg1(ctx));
	return 0;
}

SEC("?kprobe")
int kprobe_clone(struct pt_regs *ctx)
{
	enter_clone((struct pt_regs *)compat_func_arg1(ctx));
	return 0;
}

SEC("?kprobe")
int kprobe_clone3(struct pt_regs *ctx)
{
	enter_clone3((struct pt_regs *)compat_func_arg1(ctx));
	return 0;
}

SEC("?kprobe/exec_task_namespaces")
int kprobe_exec(struct pt_regs *ctx)
{
	handle_exec_enter();
	return 0;
}

SEC("?kprobe/switch_task_namespaces")
int kprobe_switch(struct pt_regs *ctx)
{
	handle_switch((struct task_struct *)compat_func_arg1(ctx),
		      (struct nsproxy *)compat_func_arg2(ctx));
	return 0;
}

/* Backend tracepoint: every system call passes here, so look at its number first. */

static __always_inline int enter_syscall(struct pt_regs *regs, long nr)
{
	__u32 reason = 0; /* enum nsmon_reason */
	__u64 flags = 0, args = 0;

	switch (compat_syscall(nr)) {
	case SYSCALL_UNSHARE:
		reason = NSMON_REASON_UNSHARE;
		flags = compat_syscall_arg1(regs, current_task());
		break;
	case SYSCALL_SETNS:
		reason = NSMON_REASON_SETNS;
		flags = setns_flags(regs);
		break;
	case SYSCALL_CLONE:
		if (!filter.failed)
			break;
		reason = NSMON_REASON_CLONE;
		flags = clone_flags(regs);
		break;
	case SYSCALL_CLONE3:
		if (!filter.failed)
			break;
		reason = NSMON_REASON_CLONE;
		args = compat_syscall_arg1(regs, current_task());
		flags = read_clone_flags(args);
		break;
	case SYSCALL_EXEC:
		if (exec_will_switch())
			reason = NSMON_REASON_EXEC;
		break;
	case SYSCALL_OTHER:
		break;
	}
	if (reason)
		handle_enter(reason, flags, args);
	return 0;
}

/* Which call of ours ends; without a probe read where nobody is in one. */
static __always_inline enum syscall syscall_that_ends(struct pt_regs *regs)
{
	return calls ? compat_syscall(compat_syscall_nr(regs)) : SYSCALL_OTHER;
}

static __always_inline int leave_syscall(struct pt_regs *regs, long ret)
{
	switch (syscall_that_ends(regs)) {
	case SYSCALL_UNSHARE:
	case SYSCALL_SETNS:
		handle_leave(ret);
		break;
	case SYSCALL_CLONE:
	case SYSCALL_CLONE3:
		if (filter.failed)
			handle_leave(ret);
		break;
	case SYSCALL_EXEC:
	case SYSCALL_OTHER:
		break;
	}
	return 0;
}

SEC("?raw_tp/sys_enter")
int on_sys_enter(unsigned long long *ctx)
{
	enter_syscall((struct pt_regs *)ctx[0], ctx[1]);
	return end_of_body(ctx);
}

SEC("?raw_tp/sys_exit")
int on_sys_exit(unsigned long long *ctx)
{
	leave_syscall((struct pt_regs *)ctx[0], ctx[1]);
	return end_of_body(ctx);
}

/* Those of system calls may run twice: see may_be_this_call(). */
#define SYSCALL_GATES(suffix)                                                                      \
	SEC("?raw_tp/sys_enter")                                                                   \
	int gate_sys_enter##suffix(unsigned long long *ctx)                                        \
	{                                                                                          \
		if (compat_syscall(ctx[1]) != SYSCALL_OTHER)                                       \
			bpf_tail_call(ctx, &bodies, NSMON_BODY_SYS_ENTER);                         \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?raw_tp/sys_exit")                                                                    \
	int gate_sys_exit##suffix(unsigned long long *ctx)                                         \
	{                                                                                          \
		long nr = compat_syscall_nr((struct pt_regs *)ctx[0]);                             \
                                                                                                   \
		if (compat_syscall(nr) != SYSCALL_OTHER)                                           \
			bpf_tail_call(ctx, &bodies, NSMON_BODY_SYS_EXIT);                          \
		return 0;                                                                          \
	}

SYSCALL_GATES()
SYSCALL_GATES(_2)
SYSCALL_GATES(_3)

#endif
