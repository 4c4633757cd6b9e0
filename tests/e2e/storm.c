// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * storm.c - a crowd of processes and threads that fork, exec, move between namespaces and end at random, from a seed;
 * which stands still when it is told to, so that what a tracer believes can be held against /proc. Like driver.c it
 * must not know nsmon.
 *
 * The first process, the master, takes orders on its standard input, one a line, and answers each with one line of JSON
 * on its standard output:
 *
 *   go            the crowd begins, or goes on
 *   quiet         every task of the crowd stops between two things; answered once all stand still
 *   mark          a child named mark-N is forked and reaped: its "comm"
 *   forks N [W]   N children are forked as fast as possible by W processes; every 8th takes a uts namespace, every
 *                 16th execs; answered at their end
 *   sleepers N    N children that only sleep, some in namespaces of their own; each has called unshare()
 *   witness DIR   one process of each odd kind (see witness()), all asleep: their names and pids
 *   book          the counters (see struct counted), and how many tasks are alive
 *   end           everything that was started is ended; then the master ends
 *
 * The master is a subreaper and makes no record between two orders but for the new members of the crowd. When it dies,
 * however it dies, the others see its pipe end and die as well.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_memfd_create
#error "no memfd_create"
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

extern char **environ;

/*
 * Descriptors that every task has, over exec as well. /proc is reached through one of them, since a task may go where
 * none is mounted, and shows the master's numbers everywhere.
 */
enum { SELF_FD = 97, PROC_FD, SHARED_FD, LEASH_FD, MASTER_FD };

static const struct {
	const char *name;
	uint64_t flag;
} links[] = {
	{ "mnt", CLONE_NEWNS },	   { "uts", CLONE_NEWUTS },
	{ "ipc", CLONE_NEWIPC },   { "net", CLONE_NEWNET },
	{ "pid", CLONE_NEWPID },   { "pid_for_children", CLONE_NEWPID },
	{ "user", CLONE_NEWUSER }, { "cgroup", CLONE_NEWCGROUP },
	{ "time", CLONE_NEWTIME }, { "time_for_children", CLONE_NEWTIME },
};

/* ---- what all share ---- */

enum phase { HOLD, RUN, PARK, END };

/* FREE; BORN: its creator is in clone(); the others: its task has begun, or is about to become a program, or to end. */
enum state { FREE, BORN, RUNNING, PARKED, EXECING, ENDING };

struct slot {
	uint32_t state;
	uint32_t stamp; /* when it was taken, or its task began to exec, in ms */
	int pid, tid; /* in the master's /proc */
	uint64_t start;
};

/*
 * A task may be killed at any moment, so a thing that was tried and did not fail may still not have happened, and one
 * that has begun may not have been counted: tried - failed >= what happened >= begun.
 */
struct counted {
	uint32_t tried, failed, begun;
};

enum { FORKS, THREADS, EXECS, UNSHARES, SETNSES, COUNTED };

static const char *const counted_names[] = { "forks", "threads", "execs", "unshares", "setnses" };

enum { SLOTS = 4096 };

struct shared {
	uint32_t phase;
	uint32_t alive; /* slots that are not FREE */
	uint32_t target;
	uint32_t pace_us;
	uint32_t settled;
	int master;
	int32_t net, mnt,
		user; /* namespaces of these kinds that may be made until the next sweep */
	struct counted counted[COUNTED];
	uint32_t burst_forks, burst_execs, burst_ns; /* of "forks" alone: exact */
	struct slot slots[SLOTS];
};

static struct shared *shared;

static void __attribute__((noreturn)) fatal(const char *what)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "storm: %s: %s\n", what, strerror(errno));

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(98);
	_exit(99);
}

static uint32_t get(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void put(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_SEQ_CST);
}

static void more(uint32_t *p)
{
	__atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST);
}

static void less(uint32_t *p)
{
	__atomic_sub_fetch(p, 1, __ATOMIC_SEQ_CST);
}

static bool swap(uint32_t *p, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(p, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint32_t now_ms(void)
{
	return (uint32_t)(now_us() / 1000);
}

static void slot_free(struct slot *s)
{
	uint32_t was = __atomic_exchange_n(&s->state, FREE, __ATOMIC_SEQ_CST);

	if (was != FREE)
		less(&shared->alive);
}

static struct slot *slot_take(uint64_t where)
{
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct slot *s = &shared->slots[(where + i) % SLOTS];

		if (get(&s->state) == FREE && swap(&s->state, FREE, BORN)) {
			more(&shared->alive);
			s->pid = s->tid = 0;
			s->stamp = now_ms();
			return s;
		}
	}
	return NULL;
}

/* Start time and state of a task by its number in the master's /proc; false where it is no more. */
static bool task_stat(const char *task, char *state, uint64_t *start)
{
	char path[64], text[1024], *p;
	unsigned long long ticks;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/stat", task);
	fd = openat(PROC_FD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	p = strrchr(text, ')');
	if (!p || sscanf(p + 2,
			 "%c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %llu",
			 state, &ticks) != 2)
		return false;
	*start = ticks;
	return true;
}

/* Only the master has the other end of this pipe. */
static bool orphaned(void)
{
	char c;

	return read(LEASH_FD, &c, 1) == 0;
}

static void sleep_us(unsigned int us)
{
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };

	nanosleep(&t, NULL);
}

/* ---- a task ---- */

struct task {
	struct slot *slot;
	uint64_t random;
	int pid, tid;
	uint64_t start;
	int stack; /* of stacks[], or -1 */
	unsigned int user_depth;
};

/*
 * Threads are made with clone() alone, so that a process may be forked at any moment of another thread without leaving
 * a lock of the C library behind; they share what belongs to a thread (errno) and must not rely on it. The kernel
 * clears `busy` when the stack is no longer used.
 */
enum { STACKS = 10, STACK_SIZE = 64 * 1024 };

static struct {
	uint32_t busy;
} stacks[STACKS];
static char stack_memory[STACKS][STACK_SIZE] __attribute__((aligned(64)));

static uint64_t next(struct task *t)
{
	uint64_t z = t->random += 0x9e3779b97f4a7c15ULL; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static unsigned int pick(struct task *t, unsigned int n)
{
	return (unsigned int)((next(t) >> 32) % n);
}

static void live(struct task *t) __attribute__((noreturn));

static void __attribute__((noreturn)) end_thread(struct task *t, int code)
{
	put(&t->slot->state, ENDING);
	for (;;)
		syscall(SYS_exit, code);
}

static void __attribute__((noreturn)) end_process(struct task *t, int code)
{
	put(&t->slot->state, ENDING);
	for (;;)
		syscall(SYS_exit_group, code);
}

/* A task has begun: as a child, a thread, or a program. */
static void settle_in(struct task *t)
{
	char target[64];
	char state;
	ssize_t n = readlinkat(PROC_FD, "thread-self", target, sizeof(target) - 1);

	if (n <= 0)
		syscall(SYS_exit_group, 97); /* it was killed */
	if (get(&t->slot->state) == FREE) /* it came too late */
		t->slot = slot_take(next(t));
	if (!t->slot)
		syscall(SYS_exit_group, 95);
	target[n] = '\0';
	if (sscanf(target, "%d/task/%d", &t->pid, &t->tid) != 2 ||
	    !task_stat("thread-self", &state, &t->start))
		fatal("thread-self");
	t->slot->pid = t->pid;
	t->slot->start = t->start;
	__atomic_store_n(&t->slot->tid, t->tid, __ATOMIC_SEQ_CST);
	put(&t->slot->state, RUNNING);
}

static void park(struct task *t)
{
	uint32_t phase = get(&shared->phase);

	if (phase == RUN)
		return;
	put(&t->slot->state, PARKED);
	while ((phase = get(&shared->phase)) != RUN) {
		if (phase == END || orphaned())
			end_process(t, 0);
		/* The first process of a pid namespace cannot end before all others there are reaped. */
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		sleep_us(50000);
	}
	put(&t->slot->state, RUNNING);
}

/* ---- which namespaces ---- */

static bool allowed(int32_t *tokens)
{
	return __atomic_sub_fetch(tokens, 1, __ATOMIC_SEQ_CST) >= 0;
}

static uint64_t pick_flags(struct task *t)
{
	unsigned int n = pick(t, 12) ? 1 + pick(t, 3) : 8;
	uint64_t flags = 0;

	while (n--)
		flags |= links[pick(t, ARRAY_SIZE(links))].flag;
	if (flags & CLONE_NEWUSER && (t->user_depth > 6 || pick(t, 2)))
		flags &= ~(uint64_t)CLONE_NEWUSER;
	if (flags & CLONE_NEWNET && !allowed(&shared->net))
		flags &= ~(uint64_t)CLONE_NEWNET;
	if (flags & CLONE_NEWNS && !allowed(&shared->mnt))
		flags &= ~(uint64_t)CLONE_NEWNS;
	if (flags & CLONE_NEWUSER && !allowed(&shared->user))
		flags &= ~(uint64_t)CLONE_NEWUSER;
	return flags ? flags : CLONE_NEWUTS;
}

/* Root of the new namespace is root of the old one: else an exec would take the capabilities away. */
static void map_root(const char *task)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/uid_map", task);
	fd = openat(PROC_FD, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0 0 1\n", 6) != 6) {
		/* EPERM: it was joined, and has a map. */
	}
	close(fd);
}

static void unshare_step(struct task *t)
{
	struct counted *c = &shared->counted[UNSHARES];
	uint64_t flags = pick_flags(t);

	if (t->pid != t->tid)
		flags &= ~(uint64_t)CLONE_NEWUSER; /* not allowed with several threads */
	more(&c->tried);
	if (syscall(SYS_unshare, (unsigned long)flags)) {
		more(&c->failed);
		return;
	}
	if (flags & CLONE_NEWUSER) {
		t->user_depth++;
		map_root("thread-self");
	}
}

/* Any other task of the crowd, or 0. */
static int pick_other(struct task *t)
{
	for (int i = 0; i < 64; i++) {
		struct slot *s = &shared->slots[pick(t, SLOTS)];
		int tid = __atomic_load_n(&s->tid, __ATOMIC_SEQ_CST);

		if (get(&s->state) >= RUNNING && tid)
			return tid;
	}
	return 0;
}

static void setns_step(struct task *t)
{
	struct counted *c = &shared->counted[SETNSES];
	int who = pick(t, 3) ? pick_other(t) : shared->master;
	int flags = 0;
	int fd;

	if (pick(t, 3) == 0) {
		flags = (int)pick_flags(t);
		fd = (int)syscall(SYS_pidfd_open, who, 0);
		if (fd < 0) /* it is in another pid namespace */
			fd = (int)syscall(SYS_pidfd_open, pick(t, 2) ? getppid() : getpid(), 0);
	} else {
		char path[64];

		snprintf(path, sizeof(path), "%d/ns/%s", who,
			 links[pick(t, ARRAY_SIZE(links))].name);
		fd = openat(PROC_FD, path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return;
	syscall(SYS_unshare, CLONE_FS); /* else no setns() to a mount namespace */
	more(&c->tried);
	if (syscall(SYS_setns, fd, flags))
		more(&c->failed);
	close(fd);
}

/* ---- new tasks ---- */

/* What a new task knows; it stands on the creator's stack or, for a thread, on its own. */
static void make_child(struct task *child, struct task *t, struct slot *slot)
{
	*child = *t;
	child->slot = slot;
	child->random = next(t);
	child->stack = -1;
}

static void __attribute__((noreturn)) begin_child(struct task *t, uint64_t flags, int stack)
{
	more(&shared->counted[FORKS].begun);
	for (int i = 0; i < STACKS; i++)
		put(&stacks[i].busy, i == stack); /* this is a copy of one thread alone */
	t->stack = stack;
	signal(SIGCHLD, pick(t, 3) ? SIG_DFL : SIG_IGN);
	if (flags & CLONE_NEWUSER) {
		t->user_depth++;
		map_root("thread-self");
	}
	settle_in(t);
	live(t);
}

static void fork_step(struct task *t, struct slot *slot)
{
	struct counted *c = &shared->counted[FORKS];
	struct clone3_args args = { .exit_signal = SIGCHLD };
	unsigned int how = pick(t, 100);
	uint64_t flags = 0;
	struct task child;
	long ret;

	make_child(&child, t, slot);
	if (how >= 40 && how < 85)
		flags = pick_flags(t);
	if (how >= 85)
		flags = CLONE_PARENT | (how >= 95 ? CLONE_NEWUTS : 0);
	if (how >= 62 && how < 85) {
		if (t->pid == t->tid && pick(t, 4) == 0)
			flags |= CLONE_FS;
		args.flags = flags;
		more(&c->tried);
		ret = syscall(SYS_clone3, &args, sizeof(args));
	} else {
		flags &= ~(uint64_t)CLONE_NEWTIME; /* that bit belongs to the signal there */
		more(&c->tried);
		ret = syscall(SYS_clone, (unsigned long)(flags | SIGCHLD), 0UL, 0UL, 0UL, 0UL);
	}
	if (ret == 0)
		begin_child(&child, flags, t->stack);
	if (ret < 0) {
		more(&c->failed);
		slot_free(slot);
	}
}

static int take_stack(struct task *t)
{
	int first = (int)pick(t, STACKS);

	for (int i = 0; i < STACKS; i++)
		if (swap(&stacks[(first + i) % STACKS].busy, 0, 1))
			return (first + i) % STACKS;
	return -1;
}

static void *stack_top(int stack)
{
	return stack_memory[stack] + STACK_SIZE - 1024;
}

static int thread_main(void *argument)
{
	struct task t = *(struct task *)argument;

	more(&shared->counted[THREADS].begun);
	settle_in(&t);
	live(&t);
}

static void thread_step(struct task *t, struct slot *slot)
{
	struct counted *c = &shared->counted[THREADS];
	int flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
		    CLONE_CHILD_CLEARTID;
	int stack = take_stack(t);
	struct task *child;

	if (stack < 0) {
		slot_free(slot);
		return;
	}
	child = stack_top(stack);
	make_child(child, t, slot);
	child->stack = stack;
	if (pick(t, 2))
		flags |= CLONE_FS;
	more(&c->tried);
	if (clone(thread_main, child, flags, child, NULL, NULL, &stacks[stack].busy) < 0) {
		more(&c->failed);
		put(&stacks[stack].busy, 0);
		slot_free(slot);
	}
}

/* ---- programs ---- */

struct program {
	char text[96];
	char *argv[4];
	char *env[1];
};

static void make_program(struct program *p, const struct task *t)
{
	snprintf(p->text, sizeof(p->text), "%d %llu %u", (int)(t->slot - shared->slots),
		 (unsigned long long)t->random, t->user_depth);
	p->argv[0] = "storm";
	p->argv[1] = "--task";
	p->argv[2] = p->text;
	p->argv[3] = p->env[0] = NULL;
}

static long exec_program(struct program *p)
{
	return syscall(SYS_execveat, SELF_FD, "", p->argv, p->env, AT_EMPTY_PATH);
}

/* Also by a thread that is not the leader: it takes the leader's number and start, and the others end. */
static void exec_step(struct task *t)
{
	struct counted *c = &shared->counted[EXECS];
	struct program p;
	char leader[24], state;
	uint64_t start;

	next(t);
	make_program(&p, t);
	snprintf(leader, sizeof(leader), "%d", t->pid);
	if (!task_stat(leader, &state, &start))
		return;
	t->slot->stamp = now_ms();
	put(&t->slot->state, EXECING);
	t->slot->start = start;
	t->slot->tid = t->pid;
	more(&c->tried);
	exec_program(&p);
	more(&c->failed);
	t->slot->tid = t->tid;
	t->slot->start = t->start;
	put(&t->slot->state, RUNNING);
}

static int vfork_main(void *argument)
{
	more(&shared->counted[FORKS].begun);
	exec_program(argument);
	more(&shared->counted[EXECS].failed);
	syscall(SYS_exit_group, 96);
	return 0;
}

static void vfork_step(struct task *t, struct slot *slot)
{
	struct counted *forks = &shared->counted[FORKS], *execs = &shared->counted[EXECS];
	int flags = CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | SIGCHLD;
	int stack = take_stack(t);
	struct program *p;
	struct task child;

	if (stack < 0) {
		slot_free(slot);
		return;
	}
	make_child(&child, t, slot);
	p = stack_top(stack);
	make_program(p, &child);
	if (pick(t, 3) == 0)
		flags |= CLONE_NEWUTS;
	more(&forks->tried);
	more(&execs->tried);
	if (clone(vfork_main, p, flags, p, NULL, NULL, &stacks[stack].busy) < 0) {
		more(&forks->failed);
		more(&execs->failed);
		put(&stacks[stack].busy, 0);
		slot_free(slot);
	}
}

static int task_program(const char *text)
{
	struct task t = { .stack = -1 };
	unsigned long long random;
	int slot;

	if (sscanf(text, "%d %llu %u", &slot, &random, &t.user_depth) != 3 || slot < 0 ||
	    slot >= SLOTS)
		return 2;
	t.random = random;
	t.slot = &shared->slots[slot];
	more(&shared->counted[EXECS].begun);
	settle_in(&t);
	for (int i = 0; i < SLOTS; i++) { /* the threads that were there before */
		struct slot *s = &shared->slots[i];

		if (s != t.slot && s->pid == t.pid && s->tid && get(&s->state) >= RUNNING)
			slot_free(s);
	}
	live(&t);
}

/* ---- the life of a task ---- */

static void end_step(struct task *t)
{
	unsigned int how = pick(t, 100);
	int code = (int)pick(t, 90);

	if (how < 55) /* the main thread as well: then the process is what its other threads are */
		end_thread(t, code);
	if (how < 92)
		end_process(t, code);
	put(&t->slot->state, ENDING);
	syscall(SYS_kill, syscall(SYS_getpid), pick(t, 2) ? SIGKILL : SIGTERM);
	end_process(t, code); /* the first process of a pid namespace is still there */
}

static void step(struct task *t)
{
	uint32_t alive = get(&shared->alive), target = get(&shared->target);
	bool full = alive >= target;
	unsigned int what = pick(t, full ? 70 : 100);
	struct slot *slot;

	if (what < (full ? 18 : 8)) {
		end_step(t);
	} else if (what < 38) {
		unshare_step(t);
	} else if (what < 60) {
		setns_step(t);
	} else if (what < 70) {
		exec_step(t);
	} else {
		slot = slot_take(next(t));
		if (!slot)
			return;
		if (what < 84)
			fork_step(t, slot);
		else if (what < 90)
			vfork_step(t, slot);
		else
			thread_step(t, slot);
	}
}

static void live(struct task *t)
{
	for (;;) {
		park(t);
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		if (orphaned())
			end_process(t, 0);
		step(t);
		sleep_us(pick(t, 2 * get(&shared->pace_us) + 1));
	}
}

/* ---- sleepers ---- */

static void __attribute__((noreturn)) sleep_on(void)
{
	struct pollfd leash = { .fd = LEASH_FD }; /* no event but its hanging up */

	/* Without a timeout: ten thousand that wake up now and then keep a slow machine busy. */
	while (!orphaned())
		poll(&leash, 1, -1);
	_exit(0);
}

static void __attribute__((noreturn)) settled(void)
{
	more(&shared->settled);
	sleep_on();
}

/* A child of the master alone, which dies with it. */
static pid_t fork_sleeper(uint64_t flags)
{
	struct clone3_args args = { .flags = flags, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		close(MASTER_FD);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return pid;
}

static unsigned int sleepers(unsigned int n)
{
	uint32_t before = get(&shared->settled);

	for (unsigned int i = 0; i < n; i++) {
		uint64_t flags = i % 10 == 1	? CLONE_NEWUTS
				 : i % 10 == 2	? CLONE_NEWUSER
				 : i % 50 == 3	? CLONE_NEWNS
				 : i % 500 == 4 ? CLONE_NEWNET
						: 0;
		pid_t pid = fork_sleeper(flags);

		if (pid == 0) {
			prctl(PR_SET_NAME, "sleeper");
			if (syscall(SYS_unshare, i % 10 == 5 ? CLONE_NEWUTS : 0))
				fatal("unshare");
			settled();
		}
		if (pid < 0)
			return i;
	}
	while (get(&shared->settled) - before != n)
		sleep_us(5000);
	return n;
}

/* ---- the witness: one of each odd kind ---- */

static char odd_stacks[2][16384] __attribute__((aligned(64)));

static int odd_thread_net(void *argument)
{
	(void)argument;
	if (syscall(SYS_unshare, CLONE_NEWNET))
		fatal("net");
	prctl(PR_SET_NAME, "a thread");
	settled();
}

static int odd_thread(void *argument)
{
	(void)argument;
	settled();
}

static void odd_start_thread(int (*work)(void *), int stack)
{
	if (clone(work, odd_stacks[stack] + sizeof(odd_stacks[0]) - 64,
		  CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
		  NULL) < 0)
		fatal("thread");
}

static bool have_time(void)
{
	return faccessat(PROC_FD, "self/ns/time", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static uint64_t every_flag(void)
{
	uint64_t flags = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(links); i++)
		flags |= links[i].flag;
	return have_time() ? flags : flags & ~(uint64_t)CLONE_NEWTIME;
}

static void must(long ret, const char *what)
{
	if (ret < 0)
		fatal(what);
}

static void odd_plain(void)
{
}

static void odd_user(void)
{
	must(syscall(SYS_unshare, CLONE_NEWUSER), "user");
}

static void odd_uid(void)
{
	must(syscall(SYS_setgid, 1235), "gid");
	must(syscall(SYS_setuid, 1234), "uid");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void odd_pid_unborn(void)
{
	must(syscall(SYS_unshare, CLONE_NEWPID), "pid");
}

/* A child in a pid namespace of its own, and one of that one in another again. */
static void odd_pid_for_children(void)
{
	for (int depth = 0; depth < 2; depth++) {
		pid_t pid;

		must(syscall(SYS_unshare, CLONE_NEWPID), "pid");
		pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0UL, 0UL, 0UL, 0UL);
		must(pid, "fork");
		if (pid)
			return;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, depth ? "pid-depth-2" : "pid-depth-1");
	}
}

static void odd_time_for_children(void)
{
	if (have_time())
		must(syscall(SYS_unshare, CLONE_NEWTIME), "time");
}

static void odd_thread_elsewhere(void)
{
	odd_start_thread(odd_thread_net, 0);
}

static void odd_dead_leader(void)
{
	must(syscall(SYS_unshare, CLONE_NEWUTS), "uts");
	odd_start_thread(odd_thread, 0);
	more(&shared->settled);
	syscall(SYS_exit, 0);
}

static void odd_zombie(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0UL, 0UL, 0UL, 0UL);
	siginfo_t info;

	must(pid, "fork");
	if (pid == 0) {
		prctl(PR_SET_NAME, "zombie");
		_exit(3);
	}
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) && errno == EINTR)
		;
}

static void odd_comm(void)
{
	prctl(PR_SET_NAME, "a\nb\"c\\d\xff\033[1m");
}

static void __attribute__((noreturn)) odd_exec(int fd, const char *path, char *const argv[])
{
	char *env[] = { "STORM_SLEEP=1", NULL };

	syscall(SYS_execveat, fd, path, argv, env, fd == SELF_FD ? AT_EMPTY_PATH : 0);
	fatal("exec");
}

static void odd_args(void)
{
	char *argv[] = { "x\ny",
			 "\"quotes\" and \\",
			 "\xff\xfe\x80",
			 "",
			 "\033[31mred\033[0m",
			 "a=b pid=1",
			 "\xe2\x82\xac",
			 "",
			 NULL };

	odd_exec(SELF_FD, "", argv);
}

static void odd_long_args(void)
{
	static char text[3][6000];
	char *argv[] = { text[0], text[1], "between", text[2], NULL };

	for (unsigned int i = 0; i < ARRAY_SIZE(text); i++)
		memset(text[i], 'a' + (int)i, sizeof(text[i]) - 1);
	odd_exec(SELF_FD, "", argv);
}

static void odd_many_args(void)
{
	static char *argv[3001];

	for (unsigned int i = 0; i + 1 < ARRAY_SIZE(argv); i++)
		argv[i] = "many";
	odd_exec(SELF_FD, "", argv);
}

static void odd_no_args(void)
{
	char *argv[] = { NULL };

	odd_exec(SELF_FD, "", argv);
}

static const char *witness_dir;

static void odd_exec_copy(bool deleted, const char *name)
{
	char *argv[] = { "copy", NULL };
	char path[PATH_MAX], data[65536];
	int from = openat(PROC_FD, "self/exe", O_RDONLY | O_CLOEXEC), to;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", witness_dir, name);
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (from < 0 || to < 0)
		fatal(path);
	while ((n = read(from, data, sizeof(data))) > 0)
		if (write(to, data, (size_t)n) != n)
			fatal(path);
	close(to);
	if (deleted) {
		to = open(path, O_PATH);
		if (to < 0 || dup2(to, SELF_FD) < 0 || unlink(path))
			fatal(path);
		close(to);
		odd_exec(SELF_FD, "", argv);
	}
	odd_exec(AT_FDCWD, path, argv);
}

static void odd_deleted(void)
{
	odd_exec_copy(true, "deleted");
}

static void odd_exe_name(void)
{
	odd_exec_copy(false, "x\n\"\\ \xff (deleted)");
}

static const struct odd {
	const char *name;
	void (*work)(void);
	uint64_t flags;
	unsigned int
		more; /* tasks that settle besides the one that does the work, or instead of it */
} odds[] = {
	{ "plain", odd_plain, 0, 0 },
	{ "every", odd_plain, UINT64_MAX, 0 },
	{ "user", odd_user, 0, 0 },
	{ "uid", odd_uid, 0, 0 },
	{ "pid-unborn", odd_pid_unborn, 0, 0 },
	{ "pid-for-children", odd_pid_for_children, 0, 2 },
	{ "time-for-children", odd_time_for_children, 0, 0 },
	{ "thread-elsewhere", odd_thread_elsewhere, 0, 1 },
	{ "dead-leader", odd_dead_leader, 0, 1 },
	{ "zombie", odd_zombie, 0, 0 },
	{ "comm", odd_comm, 0, 0 },
	{ "args", odd_args, 0, 0 },
	{ "long-args", odd_long_args, 0, 0 },
	{ "many-args", odd_many_args, 0, 0 },
	{ "no-args", odd_no_args, 0, 0 },
	{ "deleted", odd_deleted, 0, 0 },
	{ "exe-name", odd_exe_name, 0, 0 },
};

/* ---- the master ---- */

static void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void answer(const char *format, ...)
{
	char line[8192];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line) - 1, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line) - 1) {
		errno = E2BIG;
		fatal("answer");
	}
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		fatal("answer");
}

static void witness(const char *dir)
{
	uint32_t want = get(&shared->settled);
	char text[4096];
	int n = 0;

	witness_dir = dir;
	for (unsigned int i = 0; i < ARRAY_SIZE(odds); i++) {
		const struct odd *odd = &odds[i];
		pid_t pid = fork_sleeper(odd->flags == UINT64_MAX ? every_flag() : odd->flags);

		if (pid == 0) {
			odd->work();
			settled();
		}
		must(pid, odd->name);
		want += 1 + odd->more;
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s\"%s\":%d", n ? "," : "",
			      odd->name, (int)pid);
	}
	while (get(&shared->settled) != want)
		sleep_us(5000);
	answer("{\"witness\":{%s}}", text);
}

static int leaf(void *argument)
{
	unsigned int i = *(unsigned int *)argument;
	char *argv[] = { "storm", "--leaf", NULL };
	char *env[] = { NULL };

	if (i % 8 == 1)
		syscall(SYS_unshare, CLONE_NEWUTS);
	if (i % 16 == 2)
		syscall(SYS_execveat, SELF_FD, "", argv, env, AT_EMPTY_PATH);
	syscall(SYS_exit_group, (int)(i % 90));
	return 0;
}

static void __attribute__((noreturn)) burst_worker(unsigned int n)
{
	unsigned int forks = 0, execs = 0, ns = 0;

	for (unsigned int i = 0; i < n && !orphaned(); i++) {
		/* Sharing memory: the child is made ten times as fast. */
		pid_t pid = clone(leaf, stack_top(0), CLONE_VM | CLONE_VFORK | SIGCHLD, &i);
		int status;

		if (pid < 0)
			fatal("fork");
		while (waitpid(pid, &status, __WALL) != pid)
			;
		forks++;
		ns += i % 8 == 1;
		execs += i % 16 == 2;
	}
	__atomic_add_fetch(&shared->burst_forks, forks, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&shared->burst_execs, execs, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&shared->burst_ns, ns, __ATOMIC_SEQ_CST);
	_exit(0);
}

static uint32_t patience_ms = 1000;
static unsigned int workers; /* of "forks", still at it */
static pid_t worker_pids[64];

static void burst(unsigned int n, unsigned int of)
{
	if (of < 1 || of > ARRAY_SIZE(worker_pids))
		of = 2;
	for (unsigned int i = 0; i < of; i++) {
		pid_t pid = fork_sleeper(0);

		if (pid == 0)
			burst_worker(n / of + (i < n % of));
		must(pid, "worker");
		worker_pids[workers++] = pid;
		more(&shared->burst_forks);
	}
}

static void reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0) {
		for (unsigned int i = 0; i < workers; i++) {
			if (worker_pids[i] != pid)
				continue;
			worker_pids[i] = worker_pids[--workers];
			if (!workers)
				answer("{\"forks\":%u}", get(&shared->burst_forks));
			break;
		}
	}
}

/* Frees the slots of tasks that are no more; returns how many are neither free nor parked. */
static unsigned int sweep(void)
{
	unsigned int busy = 0;

	for (int i = 0; i < SLOTS; i++) {
		struct slot *s = &shared->slots[i];
		uint32_t state = get(&s->state), age = now_ms() - s->stamp;
		int tid = s->tid;
		char name[24], c;
		uint64_t start;

		if (state == FREE)
			continue;
		snprintf(name, sizeof(name), "%d", tid);
		if (state == BORN || state == EXECING) {
			/* Its creator may have been killed at it, and itself in exec. */
			if (age > patience_ms && (state == BORN || !task_stat(name, &c, &start) ||
						  start != s->start || c == 'Z'))
				slot_free(s);
			else
				busy++;
		} else if ((!task_stat(name, &c, &start) || start != s->start || c == 'Z' ||
			    c == 'X') &&
			   get(&s->state) == state && s->tid == tid) {
			slot_free(s);
		} else if (state != PARKED) {
			busy++;
		}
	}
	return busy;
}

static void new_member(struct task *t)
{
	struct counted *c = &shared->counted[FORKS];
	struct slot *slot = slot_take(next(t));
	struct task child;
	pid_t pid;

	if (!slot)
		return;
	make_child(&child, t, slot);
	more(&c->tried);
	pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0UL, 0UL, 0UL, 0UL);
	if (pid == 0) {
		close(MASTER_FD);
		begin_child(&child, 0, -1);
	}
	must(pid, "a new member");
}

static void mark(void)
{
	static unsigned int marks;
	char name[16];
	pid_t pid;

	snprintf(name, sizeof(name), "mark-%u", ++marks);
	more(&shared->burst_forks);
	pid = fork_sleeper(0);
	must(pid, "mark");
	if (pid == 0) {
		prctl(PR_SET_NAME, name);
		_exit(0);
	}
	while (waitpid(pid, NULL, __WALL) != pid)
		;
	answer("{\"mark\":\"%s\",\"pid\":%d}", name, (int)pid);
}

static void book(void)
{
	char text[1024];
	int n = 0;

	for (int i = 0; i < COUNTED; i++) {
		const struct counted *c = &shared->counted[i];

		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "\"%s\":{\"tried\":%u,\"failed\":%u,\"begun\":%u},", counted_names[i],
			      c->tried, c->failed, c->begun);
	}
	answer("{%s\"burst\":{\"fork\":%u,\"exec\":%u,\"ns\":%u},\"alive\":%u}", text,
	       shared->burst_forks, shared->burst_execs, shared->burst_ns, shared->alive);
}

/* Every descendant is a child of the master once those between are gone. */
static void end_children(void)
{
	int mine = (int)getpid();

	put(&shared->phase, END);
	for (;;) {
		DIR *dir = fdopendir(openat(PROC_FD, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		struct dirent *entry;

		if (!dir)
			fatal("/proc");
		while ((entry = readdir(dir))) {
			char path[300], text[1024], *p;
			int fd, parent = 0;
			ssize_t n;

			if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
				continue;
			snprintf(path, sizeof(path), "%s/stat", entry->d_name);
			fd = openat(PROC_FD, path, O_RDONLY | O_CLOEXEC);
			n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
			if (fd >= 0)
				close(fd);
			if (n <= 0)
				continue;
			text[n] = '\0';
			p = strrchr(text, ')');
			if (p && sscanf(p + 2, "%*c %d", &parent) == 1 && parent == mine)
				kill(atoi(entry->d_name), SIGKILL);
		}
		closedir(dir);
		for (;;) {
			pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);

			if (pid == 0)
				break;
			if (pid < 0 && errno == ECHILD)
				return;
		}
		sleep_us(10000);
	}
}

static void place(int fd, int number)
{
	if (fd < 0 || dup3(fd, number, 0) < 0)
		fatal("a descriptor");
	close(fd);
}

static void map_shared(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	if (shared == MAP_FAILED)
		fatal("shared memory");
}

static void prepare(void)
{
	int leash[2];

	place(open("/proc/self/exe", O_PATH), SELF_FD);
	place(open("/proc", O_RDONLY | O_DIRECTORY), PROC_FD);
	place((int)syscall(SYS_memfd_create, "storm", 0), SHARED_FD);
	if (ftruncate(SHARED_FD, sizeof(*shared)) || pipe2(leash, O_NONBLOCK))
		fatal("shared memory");
	place(leash[0], LEASH_FD);
	place(leash[1], MASTER_FD);
	if (fcntl(MASTER_FD, F_SETFD, FD_CLOEXEC))
		fatal("a descriptor");
	map_shared();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		fatal("subreaper");
	signal(SIGPIPE, SIG_IGN);
}

static bool quiet_wanted;

/* Returns false at the end. */
static bool obey(const char *order)
{
	unsigned int n, of = 2;

	if (!strcmp(order, "go")) {
		put(&shared->phase, RUN);
		answer("{\"going\":true}");
	} else if (!strcmp(order, "quiet")) {
		put(&shared->phase, PARK);
		quiet_wanted = true;
	} else if (!strcmp(order, "mark")) {
		mark();
	} else if (!strcmp(order, "book")) {
		sweep();
		book();
	} else if (sscanf(order, "forks %u %u", &n, &of) >= 1) {
		burst(n, of);
	} else if (sscanf(order, "sleepers %u", &n) == 1) {
		uint32_t before = get(&shared->settled);

		n = sleepers(n);
		while (get(&shared->settled) - before < n)
			sleep_us(5000);
		answer("{\"sleepers\":%u}", n);
	} else if (!strncmp(order, "witness ", 8)) {
		witness(order + 8);
	} else if (!strcmp(order, "end")) {
		return false;
	} else {
		errno = EINVAL;
		fatal(order);
	}
	return true;
}

/* Reads what has come; returns false at the end. */
static bool orders(bool *open)
{
	static char text[4096];
	static size_t have;
	ssize_t n = read(STDIN_FILENO, text + have, sizeof(text) - 1 - have);
	char *line = text, *end;

	if (n <= 0) {
		*open = false;
		return true;
	}
	have += (size_t)n;
	text[have] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		if (!obey(line))
			return false;
		line = end + 1;
	}
	have -= (size_t)(line - text);
	memmove(text, line, have);
	return true;
}

static void master(struct task *t, unsigned int seconds)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	uint64_t begin = now_us(), swept = 0;
	unsigned int still = 0;
	bool open = true;

	for (;;) {
		uint64_t now;
		bool parking = get(&shared->phase) == PARK;

		/* Without orders it ends by the clock alone. */
		if (poll(&in, open ? 1 : 0, parking ? 5 : 20) > 0 && !orders(&open))
			return;
		now = now_us();
		if (seconds ? now - begin > (uint64_t)seconds * 1000000 : !open)
			return;
		reap();
		if (now - swept < (parking ? 5000 : 50000))
			continue;
		swept = now;
		__atomic_store_n(&shared->net, 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&shared->mnt, 4, __ATOMIC_SEQ_CST);
		__atomic_store_n(&shared->user, 4, __ATOMIC_SEQ_CST);
		still = sweep() == 0 ? still + 1 : 0;
		if (quiet_wanted && still > 2) {
			quiet_wanted = false;
			answer("{\"quiet\":%u}", get(&shared->alive));
		}
		for (int i = 0; i < 8 && get(&shared->phase) == RUN &&
				get(&shared->alive) < get(&shared->target);
		     i++)
			new_member(t);
	}
}

static int usage(void)
{
	fputs("Usage: storm [--seed N] [--tasks N] [--pace MS] [--seconds S] [--hold yes]\n"
	      "       (orders come on standard input; with --seconds it goes on without them)\n",
	      stderr);
	return 2;
}

int main(int argc, char *argv[])
{
	const char *slow = getenv("NSMON_TEST_SLOW");
	unsigned int seconds = 0;
	struct task t = { .stack = -1, .random = 1 };

	if (argc == 2 && !strcmp(argv[1], "--leaf"))
		return 7;
	if (getenv("STORM_SLEEP") || (argc == 3 && !strcmp(argv[1], "--task"))) {
		map_shared();
		if (getenv("STORM_SLEEP"))
			settled();
		return task_program(argv[2]);
	}
	if (slow && atoi(slow) > 0)
		patience_ms *= (uint32_t)atoi(slow);
	prepare();
	shared->target = 200;
	shared->pace_us = 100000;
	shared->phase = RUN;
	shared->master = (int)getpid();
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return usage();
		if (!strcmp(argv[i], "--seed"))
			t.random = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--tasks"))
			shared->target = (uint32_t)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--pace"))
			shared->pace_us = (uint32_t)(atof(argv[i + 1]) * 1000);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = (unsigned int)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--hold"))
			shared->phase = HOLD;
		else
			return usage();
	}
	if (shared->target > SLOTS / 2)
		return usage();
	master(&t, seconds);
	end_children();
	book();
	return 0;
}
