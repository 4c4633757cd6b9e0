// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The handlers, one for each kind of event. Each filters, compares namespaces
 * and puts one record into the ring buffer. What attaches them is in
 * src/programs.bpf.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "compat.bpf.h"
#include "nsmon.h"
#include "ring.bpf.h"
#include "task.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004

/* include/uapi/linux/sched.h */
#define CSIGNAL 0x000000ffULL
#define CLONE_NEWTIME 0x00000080ULL
#define CLONE_THREAD 0x00010000ULL
#define CLONE_NEWNS 0x00020000ULL
#define CLONE_NEWCGROUP 0x02000000ULL
#define CLONE_NEWUTS 0x04000000ULL
#define CLONE_NEWIPC 0x08000000ULL
#define CLONE_NEWUSER 0x10000000ULL
#define CLONE_NEWPID 0x20000000ULL
#define CLONE_NEWNET 0x40000000ULL
#define UNSHARE_EMPTY_MNTNS 0x00100000ULL /* 7.1 */
#define CLONE_EMPTY_MNTNS (1ULL << 37) /* 7.1 */

/* include/uapi/asm-generic/errno-base.h */
#define EEXIST 17

/* include/linux/errno.h: what restarts a system call is not an error of it. */
#define ERESTARTSYS 512

/* The filter; read-only, so that the verifier removes what is not asked for. */
const volatile struct {
	__u32 events; /* bit per enum nsmon_kind */
	__u32 types; /* bit per enum nsmon_ns_type */
	__u32 reasons; /* bit per enum nsmon_reason */
	bool threads;
	bool failed;
	bool follow; /* only processes in the map `followed` */
	bool cgroups; /* only tasks in the map `wanted_cgroups` */
	__u32 self; /* nsmon's own process: COMMAND's creator */
} filter;

/*
 * While a picture of the tasks is taken: each fork carries the child's
 * namespaces, since its creator may be read before it or after it.
 */
volatile bool whole = true;

/* While the first picture is taken: also of tasks that the filter does not let through. */
volatile bool everyone = true;

/*
 * Processes that are followed: how many of their tasks live, or
 * NSMON_FOLLOWED_BEFORE where that is not known. And how many processes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* at load */
	__type(key, __u32);
	__type(value, __u32);
} followed SEC(".maps");

volatile __u64 followed_count;

/* Ids of the cgroups whose tasks are wanted, with enum nsmon_cgroup_verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* at load */
	__type(key, __u64);
	__type(value, __u8);
} wanted_cgroups SEC(".maps");

/* While nsmon starts COMMAND: its own process id, whose next child is followed. */
volatile __u32 spawner;

/*
 * A task's system call that is under way: its namespaces when it began. After it,
 * those that it left, so that the task's next call need not read them all.
 */
struct pending {
	struct nsmon_ns_set set[2]; /* the one, and the next, since others read it meanwhile */
	__u64 of[NSMON_NS_TYPES]; /* where the namespaces of the one are: renew_ns_set() */
	__u64 flags;
	__u64 clone_args; /* clone3(): where the caller has its flags */
	__u64 start_ns; /* of the task: its tid may be another one's by now */
	__u64 since; /* when the call began, in jiffies: the clock takes ten times as long */
	__u32 reason; /* enum nsmon_reason; 0: no call is under way */
	__u32 which; /* 0 or 1, of set */
	__u64 done; /* 1: it has succeeded, and what it changed is told, or about to be: tell_early() */
};

static const struct pending no_pending;

#define PENDING_MAX 8192 /* tasks inside unshare() or setns() at one moment */
#define PENDING_KEPT (PENDING_MAX / 2) /* from so many entries on they go with their call */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PENDING_MAX);
	__type(key, __u32);
	__type(value, struct pending);
} pending SEC(".maps");

/*
 * So many entries; and so many calls: a task that ends a system call while there is
 * none was in none of those.
 */
volatile __u64 entries;
volatile __u64 calls;

/* Namespaces of main threads that ended before their process: its row's. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct nsmon_ns_set);
} ended_leaders SEC(".maps");

/* Has it ever had an entry? */
volatile bool leader_ended;

/*
 * Processes whose end was seen, where the kernel does not say which of two
 * threads that end at once was the last. Those that matter are a moment old.
 */
struct process_key {
	__u64 start_ns;
	__u64 pid;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct process_key);
	__type(value, __u32);
} ended SEC(".maps");

/*
 * Ways into the programs below, since a kernel may skip one that it has preempted.
 * Each has scratch space of its own: each is taken once at a time on a CPU, but
 * several may be.
 */
#define COPIES 3

/*
 * A struct nsmon_exec is put together here: its length is not known before.
 * Twice the text, so that the verifier sees the bound.
 */
struct exec_scratch {
	__u64 room[(sizeof(struct nsmon_exec) + 2 * NSMON_TEXT_MAX) / sizeof(__u64)];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COPIES);
	__type(key, __u32);
	__type(value, struct exec_scratch);
} exec_scratch SEC(".maps");

/* A fork's change is put together here: two sets are too much for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COPIES);
	__type(key, __u32);
	__type(value, struct nsmon_ns_change);
} change_scratch SEC(".maps");

/*
 * A kernel that may preempt a program skips it for the next task on that CPU
 * (kernel/bpf/syscall.c, bpf_prog_get_recursion_context). There each program is
 * attached several times, as copies or by gates that call it, and the first that is
 * run for an event does the work: which one it was is remembered here, until the
 * last one. Those of unshare() and setns() may run twice: see may_be_this_call().
 */
struct run_key {
	__u64 of; /* the task's address and enum nsmon_kind */
	__u64 born; /* when; the address is another task's later, and a key whose last copy was skipped is still there */
	__u64 nth; /* what no other event of that task and kind has */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* at load */
	__type(key, struct run_key);
	__type(value, __u32);
} runs SEC(".maps");

/* Switches of nsproxy that the net under the handlers saw, and those that a
 * handler was accounting for. */
volatile __u64 switches;
volatile __u64 switches_known;

static __always_inline bool wants(enum nsmon_kind kind)
{
	return filter.events & (1U << kind);
}

static __always_inline bool is_followed(__u32 pid)
{
	return !filter.follow || bpf_map_lookup_elem(&followed, &pid);
}

/* Is it in a cgroup that is wanted, or may be? */
static __always_inline bool is_in_cgroup(struct task_struct *task)
{
	__u64 id;

	if (!filter.cgroups)
		return true;
	id = cgroup_id(task_cgroup(task, false), false);
	return bpf_map_lookup_elem(&wanted_cgroups, &id);
}

static __always_inline __u32 count_bits(__u32 bits)
{
	__u32 n = 0;

#pragma unroll
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		n += (bits >> i) & 1;
	return n;
}

/* One record for a change with one reason. `now` may be the stack's. typed: see read_current_task(). */
static __always_inline void report_change(struct task_struct *task, const struct nsmon_ns_set *old,
					  const struct nsmon_ns_set *now, enum nsmon_reason reason,
					  const bool typed)
{
	__u32 changed = diff_ns_sets(old, now) & filter.types;
	struct nsmon_counters *cpu;
	struct nsmon_ns *r;
	__u32 n;

	if (!changed || !(filter.reasons & (1U << reason)) || !is_in_cgroup(task))
		return;
	cpu = this_cpu_counters();
	if (!cpu)
		return;
	n = count_bits(changed);
	atomic_add(&cpu->seen[NSMON_NS], n);
	r = reserve(cpu, sizeof(*r), NSMON_NS, 0, true);
	if (!r) {
		count_lost(cpu, NSMON_NS, n);
		return;
	}
	read_current_task(&r->task, typed);
	r->change.old = *old;
	r->change.now = *now;
	r->change.changed = changed;
	r->change.wanted = filter.types;
#pragma unroll
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		r->change.reason[i] = reason;
	submit(r);
}

static __always_inline void report_failed(struct task_struct *task, const struct pending *p,
					  long ret)
{
	struct nsmon_counters *cpu = this_cpu_counters();
	struct nsmon_failed *r;

	if (!cpu || !is_in_cgroup(task))
		return;
	atomic_add(&cpu->seen[NSMON_NS], 1);
	r = reserve(cpu, sizeof(*r), NSMON_NS, NSMON_FLAG_FAILED, false);
	if (!r) {
		count_lost(cpu, NSMON_NS, 1);
		return;
	}
	read_current_task(&r->task, false);
	r->flags = p->flags;
	r->error = -ret;
	r->reason = p->reason;
	submit(r);
}

#define ASKS(flags, flag, types) ((flags) & (flag) ? (types) : 0)

/*
 * Types of namespaces that a call with these flags asks for, a bit for each;
 * all of them for a setns() whose descriptor alone knows.
 */
static __always_inline __u32 types_asked(enum nsmon_reason reason, __u64 flags)
{
	const bool clone = reason == NSMON_REASON_CLONE;
	const bool unshare = reason == NSMON_REASON_UNSHARE;
	const __u32 pid = 1U << NSMON_NS_PID_FOR_CHILDREN | (clone ? 1U << NSMON_NS_PID : 0);
	const __u32 time = 1U << NSMON_NS_TIME_FOR_CHILDREN | (unshare ? 0 : 1U << NSMON_NS_TIME);

	if (reason == NSMON_REASON_SETNS && !flags)
		return NSMON_NS_ALL;
	return ASKS(flags, CLONE_NEWNS, 1U << NSMON_NS_MNT) |
	       ASKS(flags, unshare ? UNSHARE_EMPTY_MNTNS : 0, 1U << NSMON_NS_MNT) |
	       ASKS(flags, clone ? CLONE_EMPTY_MNTNS : 0, 1U << NSMON_NS_MNT) |
	       ASKS(flags, CLONE_NEWUTS, 1U << NSMON_NS_UTS) |
	       ASKS(flags, CLONE_NEWIPC, 1U << NSMON_NS_IPC) |
	       ASKS(flags, CLONE_NEWNET, 1U << NSMON_NS_NET) | ASKS(flags, CLONE_NEWPID, pid) |
	       ASKS(flags, CLONE_NEWUSER, 1U << NSMON_NS_USER) |
	       ASKS(flags, CLONE_NEWCGROUP, 1U << NSMON_NS_CGROUP) |
	       ASKS(flags, CLONE_NEWTIME, time);
}

static __always_inline __u64 read_clone_flags(__u64 clone_args)
{
	__u64 flags = 0;

	bpf_probe_read_user(&flags, sizeof(flags), (const void *)clone_args);
	return flags;
}

/* What the current task's namespaces have become since `old`. */
static __always_inline void report_since(struct task_struct *task, const struct nsmon_ns_set *old,
					 enum nsmon_reason reason)
{
	struct nsmon_ns_set now = {};

	read_ns_set(&now, task, BPF_CORE_READ(task, nsproxy));
	report_change(task, old, &now, reason, false);
}

static __always_inline struct nsmon_ns_set *set_of(struct pending *p)
{
	return &p->set[p->which & 1];
}

static __always_inline struct nsmon_ns_set *next_set_of(struct pending *p)
{
	return &p->set[(p->which + 1) & 1];
}

/* Of a call that is under way, by a task with this tid. */
static __always_inline struct pending *pending_of(__u32 tid, __u64 start_ns)
{
	struct pending *p = bpf_map_lookup_elem(&pending, &tid);

	return p && p->reason && p->start_ns == start_ns ? p : NULL;
}

static __always_inline struct pending *find_pending(struct task_struct *task)
{
	return pending_of(task_tid(task), BPF_CORE_READ(task, start_boottime));
}

static __always_inline struct pending *current_pending(void)
{
	return pending_of(current_tid(), READ(true, current_task(), start_boottime));
}

static __always_inline void end_call(struct pending *p)
{
	if (!p->reason)
		return;
	p->reason = 0;
	atomic_add(&calls, -1);
}

/* A call that may be under way, and what was kept of those before. */
static __always_inline void forget_call(__u32 tid)
{
	struct pending *p = entries ? bpf_map_lookup_elem(&pending, &tid) : NULL;

	if (!p)
		return;
	end_call(p);
	if (bpf_map_delete_elem(&pending, &tid) == 0)
		atomic_add(&entries, -1);
}

/*
 * Tells what a call of the current task has changed. That it is under way is said until
 * after that, so that it is said as long as the change is not told: see read_row().
 */
static __always_inline void settle(struct task_struct *task, struct pending *p, const bool typed)
{
	struct nsmon_ns_set *now = next_set_of(p);

	if (p->reason == NSMON_REASON_CLONE)
		return;
	renew_ns_set(now, set_of(p), p->of, task, READ(typed, task, nsproxy), typed);
	report_change(task, set_of(p), now, p->reason, typed);
	p->which++;
}

/* The task's entry, with what is known of its namespaces; NULL: there is no room. */
static __always_inline struct pending *keep_pending(__u32 tid, __u64 start_ns)
{
	struct pending *p = bpf_map_lookup_elem(&pending, &tid);

	if (p && p->start_ns == start_ns)
		return p;
	if (p) /* of a task that has ended unseen */
		forget_call(tid);
	if (bpf_map_update_elem(&pending, &tid, &no_pending, BPF_ANY))
		return NULL;
	atomic_add(&entries, 1);
	return bpf_map_lookup_elem(&pending, &tid);
}

/* Is one told of a call's failure who asks for these reasons and types? */
static __always_inline bool wants_failure(const struct pending *p)
{
	return filter.failed && wants(NSMON_NS) && filter.reasons & (1U << p->reason) &&
	       filter.types & types_asked(p->reason, p->flags);
}

/*
 * The same of a call whose end was missed: it may be long ago. Where failures are told it
 * may have been one, which nobody can tell from a success that changed nothing.
 */
static __always_inline void settle_missed(struct task_struct *task, struct pending *p)
{
	struct nsmon_counters *cpu;

	settle(task, p, false);
	if (p->done || p->reason == NSMON_REASON_EXEC || !wants_failure(p) || !is_in_cgroup(task) ||
	    (p->reason != NSMON_REASON_CLONE && diff_ns_sets(&p->set[0], &p->set[1])))
		return;
	cpu = this_cpu_counters();
	if (!cpu)
		return;
	atomic_add(&cpu->seen[NSMON_NS], 1);
	count_lost(cpu, NSMON_NS, 1);
}

/*
 * Where copies see the beginning of a call again, a moment later. A guess: the same call,
 * again at once, is not told from that, and one whose copies ran long after each other is
 * counted as lost.
 */
static __always_inline bool may_be_this_call(const struct pending *p, enum nsmon_reason reason,
					     __u64 flags)
{
	return kernel_has.enters_again && p->reason == reason && p->flags == flags &&
	       bpf_jiffies64() - p->since <= 1;
}

/* unshare(), setns(), and with --failed clone() begin. */
static __noinline void handle_enter(enum nsmon_reason reason, __u64 flags, __u64 clone_args)
{
	struct task_struct *task = current_task();
	__u64 start_ns = READ(true, task, start_boottime);
	__u32 tid = current_tid();
	struct pending *p;

	if (!tid || !is_followed(current_tgid()))
		return;
	p = keep_pending(tid, start_ns);
	if (!p) {
		struct nsmon_counters *cpu = this_cpu_counters();

		if (cpu) {
			atomic_add(&cpu->seen[NSMON_NS], 1);
			count_lost(cpu, NSMON_NS, 1);
		}
		return;
	}
	if (!p->reason)
		atomic_add(&calls, 1);
	else if (may_be_this_call(p, reason, flags))
		settle(task, p, false);
	else
		settle_missed(task, p);
	if (reason != NSMON_REASON_CLONE)
		renew_ns_set(set_of(p), NULL, p->of, task, READ(true, task, nsproxy), true);
	p->flags = flags;
	p->clone_args = clone_args;
	p->start_ns = start_ns;
	p->done = 0;
	p->since = bpf_jiffies64();
	barrier();
	p->reason = reason;
}

/* What a call has changed is told, or its failure: the next one begins. */
static __always_inline void leave(struct pending *p)
{
	barrier();
	end_call(p);
	if (entries > PENDING_KEPT)
		forget_call(current_tid());
}

/* ... and end. */
static __noinline void handle_leave(long ret)
{
	struct task_struct *task = current_task();
	struct pending *p = current_pending();

	if (!p)
		return;
	/* At the beginning the page may not have been there yet. */
	if (filter.failed && ret < 0 && p->clone_args)
		p->flags = read_clone_flags(p->clone_args);
	if (ret >= 0)
		settle(task, p, true);
	else if (ret > -ERESTARTSYS && wants_failure(p))
		report_failed(task, p, ret);
	leave(p);
}

/* The call has done its work, although it has not returned yet: that may be missed. */
static __always_inline void handle_done(struct task_struct *of)
{
	struct task_struct *task = current_task();
	struct pending *p;

	/* It is called for the child of a fork, too. Not with `task`: see handle_switch(). */
	if (!calls || (__u64)of != bpf_get_current_task())
		return;
	p = current_pending();
	if (!p)
		return;
	settle(task, p, true);
	leave(p);
}

/*
 * Before anything else is told of the current task: of which call the end was missed. A
 * kernel skips the programs at a function's end where it is in the midst of that function
 * while another tracer attaches to it (kernel/bpf/trampoline.c:bpf_tramp_image_put()), runs
 * only so many kretprobes at once, and may skip programs that it has preempted. in: the call
 * that it is in now, or 0.
 */
static __noinline void end_missed_call(enum nsmon_reason in)
{
	struct pending *p = current_pending();

	/* The kernel may make a thread for a task in the midst of its exec. */
	if (!p || (p->reason == NSMON_REASON_EXEC && in))
		return;
	if (p->reason != in) /* else its child says that it has succeeded */
		settle_missed(current_task(), p);
	leave(p);
}

/*
 * What a call changes is told where nothing can be probed between its work and its return as
 * the last function begins that changes something, which gets what is to be.
 * Neither call fails from there on. unshare() calls switch_task_namespaces(), and
 * then commit_creds() if it makes a user namespace; setns() calls them the other
 * way round, and the first always (kernel/fork.c:ksys_unshare(),
 * kernel/nsproxy.c:commit_nsset()). user: NULL where the task is in it already.
 */
static __always_inline void tell_early(struct task_struct *task, struct pending *p,
				       struct nsproxy *nsproxy, struct user_namespace *user)
{
	struct nsmon_ns_set *now = next_set_of(p);

	renew_ns_set(now, set_of(p), p->of, task, nsproxy, false);
	if (user) {
		p->of[NSMON_NS_USER] = (__u64)user;
		READ_NS(now, NSMON_NS_USER, user_namespace, user, false);
	}
	report_change(task, set_of(p), now, p->reason, false);
	p->which++;
	p->done = 1;
}

static __always_inline bool makes_user_ns(const struct pending *p)
{
	return p->reason == NSMON_REASON_UNSHARE && (p->flags & CLONE_NEWUSER);
}

/* kernel/cred.c:commit_creds(new): setuid(), exec and many others call it. */
static __always_inline void handle_creds(struct cred *new)
{
	struct task_struct *task = current_task();
	struct pending *p = calls ? current_pending() : NULL;

	if (p && makes_user_ns(p))
		tell_early(task, p, BPF_CORE_READ(task, nsproxy), BPF_CORE_READ(new, user_ns));
}

/* execve() begins, or is about to switch the time namespace: will it? */
static __always_inline bool exec_will_switch(void)
{
	struct task_struct *task = current_task();
	struct nsproxy *nsproxy = READ(true, task, nsproxy);

	if (!kernel_has.exec_switches_time)
		return false;
	if (READ(true, nsproxy, time_ns) != READ(true, nsproxy, time_ns_for_children))
		return true;
	if (calls)
		end_missed_call(NSMON_REASON_EXEC);
	forget_call(current_tid()); /* of an exec that failed */
	return false;
}

static __always_inline void handle_exec_enter(void)
{
	if (exec_will_switch())
		handle_enter(NSMON_REASON_EXEC, 0, 0);
}

/* kernel/nsproxy.c:switch_task_namespaces(p, new): the net under the others. */
static __always_inline void handle_switch(struct task_struct *p, struct nsproxy *new)
{
	struct task_struct *task = current_task();
	struct pending *call;
	struct nsmon_ns_set old = {};
	struct nsmon_ns_set now = {};

	/* Not with `task`: the compiler would take p in its place, of which nothing is known. */
	if (!new || (__u64)p != bpf_get_current_task() || !current_tid() ||
	    !is_followed(current_tgid()))
		return;
	atomic_add(&switches, 1);
	call = current_pending();
	if (call) {
		atomic_add(&switches_known, 1);
		if (kernel_has.told_early && call->reason != NSMON_REASON_CLONE &&
		    !makes_user_ns(call))
			tell_early(task, call, new, NULL);
		return;
	}
	/* A namespace that was known by its address may be gone, and another one be there. */
	forget_call(current_tid());
	read_ns_set(&old, task, BPF_CORE_READ(task, nsproxy));
	read_ns_set(&now, task, new);
	report_change(task, &old, &now, NSMON_REASON_KERNEL, false);
}

/*
 * A new task differs from the row that a reader has for its creator: the
 * creating task with -T, or where the new one is a thread; else the main
 * thread of the creating process. Returns whether it may differ at all.
 */
static __always_inline bool may_differ(struct task_struct *child, struct task_struct *row,
				       const bool typed)
{
	return READ(typed, child, nsproxy) != READ(typed, row, nsproxy) ||
	       !same_user_ns(child, row) || !same_pid_ns(child, row);
}

/*
 * A thread is born into its creator's user and pid namespace: kernel/fork.c:copy_process()
 * refuses all else.
 */
static __always_inline bool may_differ_at_birth(struct task_struct *child, bool process,
						struct task_struct *creator, const bool typed)
{
	if (!process)
		return READ(typed, child, nsproxy) != READ(typed, creator, nsproxy);
	return may_differ(child, creator, typed);
}

/*
 * The row of a process whose main thread did not create the child itself, as it
 * was told: while the main thread is in a call, its namespaces from before; when
 * it has ended, its last ones. The order matters: where a change was told since
 * the namespaces were read, its pending entry is still there, or its record is
 * in front of the child's, and user space knows it (src/rows.c). Where nothing is
 * known, since the main thread ended before it was traced, the creator stands in.
 */
static __always_inline void read_row(struct nsmon_ns_set *set, struct task_struct *row,
				     struct task_struct *creator)
{
	struct nsproxy *nsproxy = BPF_CORE_READ(row, nsproxy);
	const struct nsmon_ns_set *known;
	struct pending *p;
	__u32 pid = task_tgid(row);

	read_ns_set(set, row, nsproxy);
	p = find_pending(row);
	if (p && p->reason != NSMON_REASON_CLONE) {
		*set = *set_of(p);
		return;
	}
	if (nsproxy && nsproxy == BPF_CORE_READ(row, nsproxy))
		return;
	known = bpf_map_lookup_elem(&ended_leaders, &pid);
	if (known)
		*set = *known;
	else
		read_ns_set(set, creator, BPF_CORE_READ(creator, nsproxy));
}

/* What is to be told of a child's namespaces, with the reason of each; or NULL. */
static __always_inline struct nsmon_ns_change *fork_change(struct task_struct *child,
							   struct task_struct *creator,
							   struct task_struct *row, __u32 copy,
							   bool full)
{
	struct nsmon_ns_change *change;
	__u32 made, wanted = 0;

	change = bpf_map_lookup_elem(&change_scratch, &copy);
	if (!change)
		return NULL;
	__builtin_memset(change, 0, sizeof(*change));
	if (row == creator)
		read_ns_set(&change->old, creator, BPF_CORE_READ(creator, nsproxy));
	else
		read_row(&change->old, row, creator);
	read_ns_set(&change->now, child, BPF_CORE_READ(child, nsproxy));
	made = made_by_clone(child, creator);
#pragma unroll
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		change->reason[i] = NSMON_REASON_FORK -
				    (NSMON_REASON_FORK - NSMON_REASON_CLONE) * ((made >> i) & 1);
	if (filter.reasons & (1U << NSMON_REASON_CLONE))
		wanted |= made;
	if (filter.reasons & (1U << NSMON_REASON_FORK))
		wanted |= ~made;
	change->wanted = wanted & filter.types;
	change->changed = change->wanted & diff_ns_sets(&change->old, &change->now);
	return change->changed || row != creator || full ? change : NULL;
}

static __always_inline void fill_fork(struct nsmon_fork *f, struct task_struct *child,
				      struct task_struct *creator, bool typed)
{
	read_task(&f->task, child, typed);
	f->creator_pid = current_tgid();
	f->creator_tid = current_tid();
	f->creator_start_ns = BPF_CORE_READ(creator, group_leader, start_boottime);
}

/* Where it is in the map. Returns whether it was. */
static __always_inline bool forget_followed(__u32 pid)
{
	if (bpf_map_delete_elem(&followed, &pid))
		return false;
	atomic_add(&followed_count, -1);
	return true;
}

/*
 * A kernel that may skip the birth of a thread says itself which is the last, from 6.16
 * on: nobody counts the tasks there.
 */
static __always_inline bool follow_child(__u32 creator, __u32 pid, bool process)
{
	__u32 first = kernel_has.preempts_programs ? NSMON_FOLLOWED_BEFORE : 1;
	__u32 *tasks;

	if (!filter.follow)
		return true;
	/* Of a process whose end was skipped: the number was another's. */
	if (process && kernel_has.preempts_programs)
		forget_followed(pid);
	tasks = bpf_map_lookup_elem(&followed, &creator);
	if (!tasks && !(spawner && creator == spawner))
		return false;
	if (!process) {
		if (tasks && *tasks < NSMON_FOLLOWED_BEFORE)
			atomic_add(tasks, 1);
		return true;
	}
	atomic_add(&followed_count, 1);
	if (bpf_map_update_elem(&followed, &pid, &first, BPF_ANY)) {
		struct nsmon_counters *cpu = this_cpu_counters();

		/* A child that cannot be followed: its events are missing from here on. */
		atomic_add(&followed_count, -1);
		if (cpu) {
			atomic_add(&cpu->seen[NSMON_FORK], 1);
			count_lost(cpu, NSMON_FORK, 1);
		}
		return false;
	}
	return true;
}

/* kernel/fork.c:copy_process(), at its end: the child is complete and has not run. typed: see READ(). */
static __always_inline int handle_fork(struct task_struct *child, __u64 clone_flags, __u32 copy,
				       const bool typed)
{
	struct task_struct *creator = current_task();
	struct task_struct *row = creator;
	bool process = !(clone_flags & CLONE_THREAD);
	__u32 creator_pid = current_tgid();
	__u32 pid = process ? tgid_of(child, typed) : creator_pid;
	struct nsmon_ns_change *change = NULL;
	struct nsmon_counters *cpu;
	struct nsmon_fork_ns *r;
	struct nsmon_fork *f;
	bool want_fork, full;
	__u16 flags, into;
	__u32 n;

	if (wants(NSMON_NS) && calls)
		end_missed_call(NSMON_REASON_CLONE);
	if (!pid || !follow_child(creator_pid, pid, process) || !is_in_cgroup(child))
		return 0;
	want_fork = wants(NSMON_FORK) && (process || filter.threads);
	if (process && !filter.threads)
		row = BPF_CORE_READ(creator, group_leader);
	/* From outside the view nobody has a row that it could differ from. */
	full = whole || !creator_pid;
	if (wants(NSMON_NS) &&
	    (row != creator || full || may_differ_at_birth(child, process, creator, typed)))
		change = fork_change(child, creator, row, copy, full);
	if (!change && !want_fork)
		return 0;
	cpu = this_cpu_counters();
	if (!cpu)
		return 0;
	if (want_fork)
		atomic_add(&cpu->seen[NSMON_FORK], 1);
	into = same_cgroup(child, creator, typed) ? 0 : NSMON_FLAG_INTO;
	if (!change) {
		f = reserve(cpu, sizeof(*f), NSMON_FORK, into, false);
		if (!f) {
			count_lost(cpu, NSMON_FORK, 1);
			return 0;
		}
		fill_fork(f, child, creator, typed);
		submit(f);
		return 0;
	}
	n = count_bits(change->changed);
	atomic_add(&cpu->seen[NSMON_NS], n);
	flags = into | NSMON_FLAG_NS | (want_fork ? 0 : NSMON_FLAG_NO_FORK) |
		(row == creator ? 0 : NSMON_FLAG_ROW);
	r = reserve(cpu, sizeof(*r), NSMON_FORK, flags, n);
	if (!r) {
		count_lost(cpu, NSMON_NS, n);
		if (want_fork)
			count_lost(cpu, NSMON_FORK, 1);
		return 0;
	}
	r->change = *change;
	fill_fork(&r->fork, child, creator, false);
	submit(r);
	return 0;
}

/* fs/exec.c:exec_binprm(), of the current task: the new program is in place. */
static __always_inline void report_exec(struct task_struct *task, __u32 old_tid,
					struct linux_binprm *bprm, __u32 copy)
{
	struct nsmon_counters *cpu = this_cpu_counters();
	struct nsmon_exec *r;
	unsigned long arg_start, args_len;
	__u32 room;
	__u16 flags = 0;
	bool told;
	long len;

	r = bpf_map_lookup_elem(&exec_scratch, &copy);
	if (!cpu || !r)
		return;
	atomic_add(&cpu->seen[NSMON_EXEC], 1);
	read_current_task(&r->task, false);
	r->exec_id = BPF_CORE_READ(task, self_exec_id);
	r->old_tid = old_tid;

	len = bpf_probe_read_kernel_str(r->text, NSMON_TEXT_MAX, BPF_CORE_READ(bprm, filename));
	if (len < 1 || len > NSMON_TEXT_MAX) {
		r->text[0] = 0;
		len = 1;
	}
	if (len == NSMON_TEXT_MAX)
		flags |= NSMON_FLAG_TRUNCATED;
	r->filename_len = len;

	arg_start = BPF_CORE_READ(task, mm, arg_start);
	args_len = BPF_CORE_READ(task, mm, arg_end) - arg_start;
	room = NSMON_TEXT_MAX - len;
	if (args_len > room) {
		args_len = room;
		flags |= NSMON_FLAG_TRUNCATED;
	}
	if (args_len > NSMON_TEXT_MAX)
		args_len = NSMON_TEXT_MAX;
	if (bpf_probe_read_user(&r->text[len], args_len, (const void *)arg_start)) {
		args_len = 0;
		flags |= NSMON_FLAG_TRUNCATED;
	}
	r->args_len = args_len;

	len += sizeof(*r) + args_len;
	if (len > (long)sizeof(struct exec_scratch)) /* never; the verifier cannot know */
		return;
	told = tell_losses(cpu, false);
	fill_header(&r->header, cpu, len, NSMON_EXEC, flags);
	if (!told || is_reserved(false) || bpf_ringbuf_output(&events, r, len, wakeup_flags()))
		count_lost(cpu, NSMON_EXEC, 1);
	else
		wake_if_armed();
}

static __always_inline int handle_exec(struct task_struct *task, int old_pid,
				       struct linux_binprm *bprm, __u32 copy)
{
	struct nsmon_ns_set *row = NULL;
	struct pending *p;
	__u32 pid = current_tgid();
	__u32 tid = pid;
	__u32 old_tid = 0;

	if (!pid || !is_followed(pid))
		return 0;
	if (wants(NSMON_NS) && calls)
		end_missed_call(NSMON_REASON_EXEC);
	if (READ(true, task, pid) != old_pid) {
		/* de_thread() gave a thread the leader's pid; this is its old one. */
		old_tid = view_level == 0 ? old_pid : 0; /* told in the initial namespace only */
		row = bpf_map_lookup_elem(&ended_leaders, &pid);
	} else if (kernel_has.exec_switches_time) {
		p = current_pending();
		row = p ? set_of(p) : NULL;
	}
	if (wants(NSMON_EXEC) && is_in_cgroup(task))
		report_exec(task, old_tid, bprm, copy);
	if (row && wants(NSMON_NS))
		report_since(task, row, NSMON_REASON_EXEC);
	if (row) {
		bpf_map_delete_elem(&ended_leaders, &pid);
		forget_call(tid);
	}
	if (old_tid)
		forget_call(old_tid);
	return 0;
}

/* A thread that ended after its process was told to have ended is still followed. */
static __always_inline bool ended_followed(const struct process_key *key)
{
	return filter.follow && bpf_map_lookup_elem(&ended, key);
}

/*
 * One task less of a process. It is followed to its last task, which need not
 * be the one that ended it. The trace of a command ends with its last
 * descendant: tell the reader at once.
 */
static __always_inline void unfollow(const struct process_key *key, bool process_ends)
{
	__u32 pid = key->pid, one = 1;
	__u32 *tasks;

	if (!filter.follow)
		return;
	tasks = bpf_map_lookup_elem(&followed, &pid);
	if (!tasks)
		return;
	if (*tasks >= NSMON_FOLLOWED_BEFORE) {
		if (!process_ends)
			return;
		bpf_map_update_elem(&ended, key, &one, BPF_ANY);
	} else {
		atomic_add(tasks, -1);
		if (*tasks)
			return;
	}
	if (forget_followed(pid) && followed_count == 0)
		wake_reader();
}

/*
 * Where the kernel does not say which thread is the last, two that end at once
 * may both see that nobody is left. The first leaves a mark; when the second
 * comes, the first may not be among the threads any more.
 */
static __always_inline bool end_was_told(struct task_struct *task, const struct process_key *key)
{
	struct signal_struct *signal = READ(true, task, signal);
	__u32 one = 1;

	if (kernel_has.group_dead_arg)
		return false;
	/* An int where the verifier calls the map's own function, before 6.4; bpf_helpers.h says long. */
	if (READ(true, signal, nr_threads) > 1)
		return (int)bpf_map_update_elem(&ended, key, &one, BPF_NOEXIST) == -EEXIST;
	return bpf_map_lookup_elem(&ended, key) != NULL;
}

/* What wait(2) will say of the current process: kernel/exit.c:wait_task_zombie(). */
static __always_inline __u32 process_status(struct task_struct *task)
{
	struct signal_struct *signal = READ(true, task, signal);
	struct task_struct *leader = READ(true, task, group_leader);

	if (READ(true, signal, flags) & SIGNAL_GROUP_EXIT)
		return READ(true, signal, group_exit_code);
	return READ(true, leader, exit_code);
}

static __always_inline void report_exit(struct task_struct *task, bool group_dead, bool told)
{
	struct nsmon_counters *cpu = this_cpu_counters();
	struct nsmon_exit *r;
	__u64 start;

	if (!cpu)
		return;
	atomic_add(&cpu->seen[NSMON_EXIT], 1);
	r = reserve(cpu, sizeof(*r), NSMON_EXIT, 0, false);
	if (!r) {
		count_lost(cpu, NSMON_EXIT, 1);
		return;
	}
	if (filter.threads) {
		read_current_task(&r->task, true);
		start = r->task.thread_start_ns;
	} else {
		/* The process's own: its main thread, although it may have ended before. */
		if (current_is_leader())
			read_current_task(&r->task, true);
		else
			read_task(&r->task, BPF_CORE_READ(task, group_leader), false);
		start = r->task.start_ns;
	}
	r->duration_ns = r->header.time - start;
	r->status = group_dead ? process_status(task) : READ(true, task, exit_code);
	r->process_ends = group_dead && !told;
	submit(r);
}

/* kernel/exit.c:do_exit(), of the current task: namespaces and exit code are still there. */
static __always_inline int handle_exit(struct task_struct *task, bool group_dead)
{
	struct task_struct *leader = READ(true, task, group_leader);
	__u32 pid = current_tgid();
	__u32 tid = current_tid();
	struct process_key key = { .pid = pid };
	bool told;

	if (filter.follow || !kernel_has.group_dead_arg) /* else nobody asks */
		key.start_ns = READ(true, leader, start_boottime);

	if (!pid || !(is_followed(pid) || ended_followed(&key)))
		return 0;
	told = group_dead && end_was_told(task, &key);

	if (wants(NSMON_NS)) {
		if (calls)
			end_missed_call(0);
		forget_call(tid);
		if (group_dead) {
			if (leader_ended)
				bpf_map_delete_elem(&ended_leaders, &pid);
		} else if (pid == tid) { /* the main thread */
			struct nsmon_ns_set set = {};

			leader_ended = true;
			read_ns_set(&set, task, BPF_CORE_READ(task, nsproxy));
			bpf_map_update_elem(&ended_leaders, &pid, &set, BPF_ANY);
		}
	}
	if (wants(NSMON_EXIT) && (filter.threads || (group_dead && !told)) && is_in_cgroup(task))
		report_exit(task, group_dead, told);
	unfollow(&key, group_dead && !told);
	return 0;
}

#include "snapshot.bpf.h"

#include "cgroup.bpf.h"

#include "programs.bpf.h"
