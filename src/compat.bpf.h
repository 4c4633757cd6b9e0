/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where kernels and architectures differ: one flavour and one accessor for
 * each difference, with what made it. No other file knows a kernel version.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "nsmon.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* 6.18 gave every namespace a 64-bit id; the member sits in an anonymous struct. */
struct ns_common___id {
	u64 ns_id;
};

/* Before that only mount namespaces had one. */
struct mnt_namespace___seq {
	u64 seq;
};

/* Renamed by 5.14. */
struct task_struct___v5_8 {
	long state;
};

struct task_struct___v5_14 {
	unsigned int __state;
};

/* In all that were looked at, 5.10 to 7.3, but nothing in the kernel needs it there. */
struct task_struct___exec {
	unsigned int in_execve : 1;
};

/* Renamed by 6.18, when it came under RCU. */
struct kernfs_node___v5_8 {
	struct kernfs_node *parent;
};

struct kernfs_node___v6_18 {
	struct kernfs_node *__parent;
};

/* arch/x86/include/asm/ptrace.h */
struct pt_regs___x86 {
	unsigned long bx, cx, di, si, ax, orig_ax;
};

/* arch/arm64/include/asm/ptrace.h; libbpf has a flavour ___arm64 of its own. */
struct pt_regs___aarch64 {
	u64 regs[31];
	u64 orig_x0;
	int syscallno;
};

/* arch/x86/include/asm/thread_info.h: TS_COMPAT while an ia32 system call runs. */
struct thread_info___x86 {
	u32 status;
};

struct task_struct___x86 {
	struct thread_info___x86 thread_info;
};

/* arch/arm64/include/asm/thread_info.h: TIF_32BIT for an AArch32 task. */
struct thread_info___arm64 {
	unsigned long flags;
};

struct task_struct___arm64 {
	struct thread_info___arm64 thread_info;
};

#pragma clang attribute pop

/* What the running kernel has; set by src/probe.c before loading. */
const volatile struct {
	__u32 ns_present; /* bit per enum nsmon_ns_type */
	__u32 ns_id_at; /* in struct ns_common, in bytes; 0: without. 6.18, as ioctl NS_GET_ID */
	bool mnt_ns_id; /* ioctl NS_GET_MNTNS_ID: 6.11 */
	bool group_dead_arg; /* sched_process_exit(task, group_dead): 6.16 */
	bool exec_switches_time; /* exec_task_namespaces(): after 6.1, by 6.12 */
	__u32 cgroup_controller; /* enum nsmon_controller, of the hierarchy that is looked at */
	__s32 cgroup_hierarchy; /* ... and its hierarchy_id in struct cgroup_root */
	bool told_early; /* perf_event_namespaces() cannot be probed (5.10): see tell_early() */
	bool enters_again; /* copies see the beginning of the same call */
	bool preempts_programs; /* raw tracepoints with preemption on: by 7.3, not on 6.18 */
	bool typed_task; /* bpf_get_current_task_btf(): 5.11, with its own BTF */
} kernel_has;

/*
 * A member of what p points to. Where the verifier knows what that is, a load is
 * enough; a helper takes ten times as long. It knows it of the current task and of
 * what is reached from there; typed: p is such a pointer. One that comes out of
 * memory is not. For where it counts: for each pointer that is loaded of a task, on
 * each way there, the verifier takes a millisecond, since it looks for a list of what
 * can be trusted by name (kernel/bpf/btf.c:btf_nested_type_is_trusted(), from 6.2 on).
 */
#define READ(typed, p, member)                                                                     \
	((typed) && kernel_has.typed_task ? (p)->member : BPF_CORE_READ(p, member))

/*
 * Adds without asking for an order or for what was there, which __sync_fetch_and_add()
 * does: of that newer compilers (clang 22) make an instruction that 5.10 does not know.
 */
#define atomic_add(p, n) ((void)__atomic_fetch_add(p, n, __ATOMIC_RELAXED))

static __always_inline struct task_struct *current_task(void)
{
	if (kernel_has.typed_task)
		return bpf_get_current_task_btf();
	return (struct task_struct *)bpf_get_current_task();
}

/*
 * Inode number and 64-bit id of a namespace; the id 0 where the kernel has none to
 * offer. Where both are close together, as on 6.18, with one read.
 */
static __always_inline void compat_ns_numbers(struct ns_common *ns, __u32 *inum, __u64 *id,
					      bool typed)
{
	struct ns_common___id *with_id = (void *)ns;
	__u32 inum_at = bpf_core_field_offset(ns->inum);
	__u64 part[2];

	if (!kernel_has.ns_id_at) {
		*inum = READ(typed, ns, inum);
		return;
	}
	if (typed && kernel_has.typed_task) {
		*inum = ns->inum;
		*id = with_id->ns_id;
		return;
	}
	/*
	 * Its offset is not asked of libbpf, as others are: the compiler may ask before it
	 * looks whether there is one (clang 22 does), and the verifier refuses what asks in
	 * vain. With a load the question cannot come first.
	 */
	if (kernel_has.ns_id_at == inum_at + sizeof(__u64)) {
		bpf_probe_read_kernel(part, sizeof(part), (void *)ns + inum_at);
		*inum = *(__u32 *)&part[0];
		*id = part[1];
	} else {
		*inum = BPF_CORE_READ(ns, inum);
		bpf_probe_read_kernel(id, sizeof(*id), (void *)ns + kernel_has.ns_id_at);
	}
}

/* Of a mount namespace, where it is the only type that has one. */
static __always_inline void compat_mnt_ns_id(struct mnt_namespace *mnt, __u64 *id, bool typed)
{
	if (!kernel_has.ns_id_at && kernel_has.mnt_ns_id)
		*id = READ(typed, (struct mnt_namespace___seq *)mnt, seq);
}

static __always_inline struct kernfs_node *compat_kernfs_parent(struct kernfs_node *kn)
{
	struct kernfs_node___v6_18 *now = (void *)kn;

	if (bpf_core_field_exists(now->__parent))
		return BPF_CORE_READ(now, __parent);
	return BPF_CORE_READ((struct kernfs_node___v5_8 *)kn, parent);
}

#define CONTROLLER_INDEX(name)                                                                     \
	(bpf_core_enum_value_exists(enum cgroup_subsys_id, name)                                   \
		 ? bpf_core_enum_value(enum cgroup_subsys_id, name)                                \
		 : 0)

/* include/linux/cgroup_subsys.h: the numbers depend on the kernel's configuration. */
static __always_inline __u32 compat_controller_index(void)
{
	switch (kernel_has.cgroup_controller) {
	case NSMON_CONTROLLER_MEMORY:
		return CONTROLLER_INDEX(memory_cgrp_id);
	case NSMON_CONTROLLER_PIDS:
		return CONTROLLER_INDEX(pids_cgrp_id);
	case NSMON_CONTROLLER_CPU:
		return CONTROLLER_INDEX(cpu_cgrp_id);
	case NSMON_CONTROLLER_DEVICES:
		return CONTROLLER_INDEX(devices_cgrp_id);
	case NSMON_CONTROLLER_FREEZER:
		return CONTROLLER_INDEX(freezer_cgrp_id);
	default:
		return CONTROLLER_INDEX(io_cgrp_id);
	}
}

static __always_inline __u32 compat_task_state(struct task_struct *task)
{
	struct task_struct___v5_14 *now = (void *)task;

	if (bpf_core_field_exists(now->__state))
		return BPF_CORE_READ(now, __state);
	return BPF_CORE_READ((struct task_struct___v5_8 *)task, state);
}

/* Is the task between the beginning of an exec and the end of its tracepoint? */
static __always_inline bool compat_is_in_exec(struct task_struct *task)
{
	struct task_struct___exec *t = (void *)task;

	return bpf_core_field_exists(t->in_execve) && BPF_CORE_READ_BITFIELD_PROBED(t, in_execve);
}

/* The system calls that nsmon follows. */
enum syscall {
	SYSCALL_OTHER,
	SYSCALL_UNSHARE,
	SYSCALL_SETNS,
	SYSCALL_CLONE,
	SYSCALL_CLONE3,
	SYSCALL_EXEC,
};

/* By number: what a native caller means by it and what a 32-bit one does. */
#define CALLED(native, compat) ((native) | (compat) << 8)

static __always_inline __u32 compat_called(long nr);
static __always_inline bool compat_is_32bit(struct task_struct *task);

/* Of the current task. Every system call of the machine passes here: most need no more than the number. */
static __always_inline enum syscall compat_syscall(long nr)
{
	__u32 called = compat_called(nr);

	if (!called)
		return SYSCALL_OTHER;
	if (compat_is_32bit(current_task()))
		return called >> 8;
	return called & 0xff;
}

#if defined(__TARGET_ARCH_x86)

#define TS_COMPAT 2
#define X32_SYSCALL_BIT 0x40000000

/* The current task. */
static __always_inline bool compat_is_32bit(struct task_struct *task)
{
	return READ(true, (struct task_struct___x86 *)task, thread_info.status) & TS_COMPAT;
}

/* arch/x86/entry/syscalls/syscall_32.tbl, syscall_64.tbl */
static __always_inline __u32 compat_called(long nr)
{
	/* The upper half of the register is the caller's: the kernel looks at an int. */
	switch ((int)nr & ~X32_SYSCALL_BIT) {
	case 272:
		return CALLED(SYSCALL_UNSHARE, SYSCALL_OTHER);
	case 310:
		return CALLED(SYSCALL_OTHER, SYSCALL_UNSHARE);
	case 308:
		return CALLED(SYSCALL_SETNS, SYSCALL_OTHER);
	case 346:
		return CALLED(SYSCALL_OTHER, SYSCALL_SETNS);
	case 56:
		return CALLED(SYSCALL_CLONE, SYSCALL_OTHER);
	case 120:
		return CALLED(SYSCALL_OTHER, SYSCALL_CLONE);
	case 435:
		return CALLED(SYSCALL_CLONE3, SYSCALL_CLONE3);
	case 59:
	case 322:
	case 520: /* x32 */
	case 545:
		return CALLED(SYSCALL_EXEC, SYSCALL_OTHER);
	case 11:
	case 358:
		return CALLED(SYSCALL_OTHER, SYSCALL_EXEC);
	}
	return 0;
}

static __always_inline long compat_syscall_nr(struct pt_regs *regs)
{
	return BPF_CORE_READ((struct pt_regs___x86 *)regs, orig_ax);
}

/* First and second argument of the system call whose registers these are. */
static __always_inline __u64 compat_syscall_arg1(struct pt_regs *regs, struct task_struct *task)
{
	struct pt_regs___x86 *r = (struct pt_regs___x86 *)regs;

	if (compat_is_32bit(task))
		return (__u32)BPF_CORE_READ(r, bx);
	return BPF_CORE_READ(r, di);
}

static __always_inline __u64 compat_syscall_arg2(struct pt_regs *regs, struct task_struct *task)
{
	struct pt_regs___x86 *r = (struct pt_regs___x86 *)regs;

	if (compat_is_32bit(task))
		return (__u32)BPF_CORE_READ(r, cx);
	return BPF_CORE_READ(r, si);
}

/* The arguments and the return value of a function under a kprobe. */
static __always_inline __u64 compat_func_arg1(struct pt_regs *ctx)
{
	return ((struct pt_regs___x86 *)ctx)->di;
}

static __always_inline __u64 compat_func_arg2(struct pt_regs *ctx)
{
	return ((struct pt_regs___x86 *)ctx)->si;
}

static __always_inline long compat_func_ret(struct pt_regs *ctx)
{
	return ((struct pt_regs___x86 *)ctx)->ax;
}

#elif defined(__TARGET_ARCH_arm64)

#define TIF_32BIT_MASK (1UL << 22)

/* The current task. */
static __always_inline bool compat_is_32bit(struct task_struct *task)
{
	return READ(true, (struct task_struct___arm64 *)task, thread_info.flags) & TIF_32BIT_MASK;
}

/* include/uapi/asm-generic/unistd.h, arch/arm64/include/asm/unistd32.h */
static __always_inline __u32 compat_called(long nr)
{
	switch (nr) {
	case 97:
		return CALLED(SYSCALL_UNSHARE, SYSCALL_OTHER);
	case 337:
		return CALLED(SYSCALL_OTHER, SYSCALL_UNSHARE);
	case 268:
		return CALLED(SYSCALL_SETNS, SYSCALL_OTHER);
	case 375:
		return CALLED(SYSCALL_OTHER, SYSCALL_SETNS);
	case 220:
		return CALLED(SYSCALL_CLONE, SYSCALL_OTHER);
	case 120:
		return CALLED(SYSCALL_OTHER, SYSCALL_CLONE);
	case 435:
		return CALLED(SYSCALL_CLONE3, SYSCALL_CLONE3);
	case 221:
	case 281:
		return CALLED(SYSCALL_EXEC, SYSCALL_OTHER);
	case 11:
	case 387:
		return CALLED(SYSCALL_OTHER, SYSCALL_EXEC);
	}
	return 0;
}

static __always_inline long compat_syscall_nr(struct pt_regs *regs)
{
	return BPF_CORE_READ((struct pt_regs___aarch64 *)regs, syscallno);
}

/* The first argument's register carries the return value at the end of a call. */
static __always_inline __u64 compat_syscall_arg1(struct pt_regs *regs, struct task_struct *task)
{
	(void)task;
	return BPF_CORE_READ((struct pt_regs___aarch64 *)regs, orig_x0);
}

static __always_inline __u64 compat_syscall_arg2(struct pt_regs *regs, struct task_struct *task)
{
	(void)task;
	return BPF_CORE_READ((struct pt_regs___aarch64 *)regs, regs[1]);
}

static __always_inline __u64 compat_func_arg1(struct pt_regs *ctx)
{
	return ((struct pt_regs___aarch64 *)ctx)->regs[0];
}

static __always_inline __u64 compat_func_arg2(struct pt_regs *ctx)
{
	return ((struct pt_regs___aarch64 *)ctx)->regs[1];
}

static __always_inline long compat_func_ret(struct pt_regs *ctx)
{
	return ((struct pt_regs___aarch64 *)ctx)->regs[0];
}

#else
#error "nsmon knows x86 and arm64"
#endif

#endif
