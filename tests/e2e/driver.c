// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * driver.c - the workload of the end-to-end tests: makes exact system calls and keeps a book of what the kernel
 * showed it in /proc before and after each one. It must not know nsmon.
 *
 * The book is a file of JSON lines; every line is one write(2) to a descriptor opened with O_APPEND, so lines of
 * several processes never mix. Each line has the members "case" and "op":
 *
 *   clone   a process was (or was not: "ret" < 0) created: the creator's "pid" and "tid", its own namespaces
 *           ("own") and those of its main thread ("row") before; of the child its pids as /proc numbers them
 *           ("child", "child_tid"), its pid as getpid() gives it ("child_vpid"), its namespaces as it saw them itself
 *           ("child_ns"), its wait status ("status") and what the clocks said
 *   thread  a thread began; "joined" follows when it was joined, thread-exit when it is about to end by itself
 *   unshare, setns   the call, its arguments, its result, "own" before and "after"
 *   exec    an execve that is about to happen; exec-failed when it came back
 *   report  the program that was started: its own command line, comm and namespaces
 *   look    what a bystander saw in /proc
 *   forks   a storm: the pids and wait statuses of all children
 *
 * Pids in the book are those that the mounted /proc gives, whatever pid namespace the task is in. "errno" stands
 * only in lines whose "ret" is negative. A namespace that cannot be read is absent. Byte strings are hexadecimal.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define NSIO_GET_MNTNS_ID _IOR(0xb7, 5, uint64_t)	/* NS_GET_MNTNS_ID, Linux 6.10 */
#define NSIO_GET_ID _IOR(0xb7, 13, uint64_t)		/* NS_GET_ID, Linux 6.18 */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* struct clone_args of Linux 5.7; older headers have a shorter one. */
struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* ---- the namespaces ---- */

enum { MNT, UTS, IPC, NET, PID, PID_FOR_CHILDREN, USER, CGROUP, TIME, TIME_FOR_CHILDREN, NS_LINKS };

static const char *const ns_links[NS_LINKS] = { "mnt", "uts", "ipc", "net", "pid", "pid_for_children",
						"user", "cgroup", "time", "time_for_children" };

static const struct ns_type {
	const char *name;
	uint64_t flag;
} ns_types[] = {
	{ "mnt", CLONE_NEWNS },	  { "uts", CLONE_NEWUTS },   { "ipc", CLONE_NEWIPC },	    { "net", CLONE_NEWNET },
	{ "pid", CLONE_NEWPID },  { "user", CLONE_NEWUSER }, { "cgroup", CLONE_NEWCGROUP }, { "time", CLONE_NEWTIME },
};

#define NS_TYPES ARRAY_SIZE(ns_types)

struct ns_set {
	uint64_t inum[NS_LINKS]; /* 0: not readable */
	uint64_t id[NS_LINKS];	 /* 0: the kernel has none, or does not tell */
};

/* What a task sees of itself in /proc. */
struct sight {
	int pid, tid;
	int vpid;
	uint64_t boot_ns;
	struct ns_set row; /* the main thread's */
	struct ns_set own; /* this thread's */
};

/* ---- state: one process-wide set, inherited by every child ---- */

static int book_fd = STDOUT_FILENO;
static char case_name[64];
static char self_path[PATH_MAX];
static const char *scratch_dir = "/tmp";
static const char *pids_cgroup; /* a cgroup whose pids.max is 1 */
static const char *new_cgroup;	/* an empty cgroup */
static const char *into_cgroup;	/* an empty one of cgroup v2, for CLONE_INTO_CGROUP */
static int holder_pid;		/* a task with a new namespace of every type */
static unsigned int patience = 120;

static void fatal(const char *what)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "driver: %s: %s: %s\n", case_name, what, strerror(errno));

	if (write(STDERR_FILENO, line, n) < 0)
		_exit(98);
	_exit(99);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	if (syscall(SYS_clock_gettime, clock, &ts))
		fatal("clock_gettime");
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t boot_ns(void)
{
	return now_ns(CLOCK_BOOTTIME);
}

/* ---- lines of the book ---- */

struct line {
	size_t len;
	char text[98304];
};

static struct line *line_new(void)
{
	/* A mapping, not malloc: also used by the children of threads, where the allocator's lock may be held. */
	struct line *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (l == MAP_FAILED)
		fatal("mmap");
	return l;
}

static void __attribute__((format(printf, 2, 3))) add(struct line *l, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(l->text + l->len, sizeof(l->text) - l->len, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(l->text) - l->len) {
		errno = E2BIG;
		fatal("line");
	}
	l->len += (size_t)n;
}

static void add_hex(struct line *l, const char *name, const void *bytes, size_t size)
{
	const unsigned char *b = bytes;

	add(l, ",\"%s\":\"", name);
	for (size_t i = 0; i < size; i++)
		add(l, "%02x", b[i]);
	add(l, "\"");
}

static void add_ns(struct line *l, const char *name, const struct ns_set *set)
{
	const char *comma = "";

	add(l, ",\"%s\":{", name);
	for (int i = 0; i < NS_LINKS; i++) {
		if (!set->inum[i])
			continue;
		add(l, "%s\"%s\":[%llu,%llu]", comma, ns_links[i], (unsigned long long)set->inum[i],
		    (unsigned long long)set->id[i]);
		comma = ",";
	}
	add(l, "}");
}

static struct line *line_begin(const char *op, const struct sight *who)
{
	struct line *l = line_new();

	add(l, "{\"case\":\"%s\",\"op\":\"%s\",\"pid\":%d,\"tid\":%d", case_name, op, who->pid, who->tid);
	return l;
}

static void line_end(struct line *l)
{
	add(l, "}\n");
	if (write(book_fd, l->text, l->len) != (ssize_t)l->len)
		fatal("book");
	munmap(l, sizeof(*l));
}

/* The case cannot be had on this machine; the tests skip it with this reason. */
static void cannot(const char *reason)
{
	struct line *l = line_new();

	add(l, "{\"case\":\"%s\",\"op\":\"cannot\",\"reason\":\"%s\"", case_name, reason);
	line_end(l);
}

/* ---- looking ---- */

static void read_ns_dir(const char *dir, struct ns_set *set)
{
	for (int i = 0; i < NS_LINKS; i++) {
		char path[128], target[64];
		const char *bracket;
		ssize_t n;
		int fd;

		set->inum[i] = set->id[i] = 0;
		snprintf(path, sizeof(path), "%s/%s", dir, ns_links[i]);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		bracket = strchr(target, '[');
		if (!bracket)
			continue;
		set->inum[i] = strtoull(bracket + 1, NULL, 10);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (ioctl(fd, NSIO_GET_ID, &set->id[i]) && (i != MNT || ioctl(fd, NSIO_GET_MNTNS_ID, &set->id[i])))
			set->id[i] = 0;
		close(fd);
	}
}

static void look(struct sight *s)
{
	char target[64];
	ssize_t n;

	memset(s, 0, sizeof(*s));
	n = readlink("/proc/thread-self", target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = '\0';
		if (sscanf(target, "%d/task/%d", &s->pid, &s->tid) != 2)
			fatal("/proc/thread-self");
	}
	s->vpid = (int)syscall(SYS_getpid);
	s->boot_ns = boot_ns();
	read_ns_dir("/proc/thread-self/ns", &s->own);
	if (s->pid == s->tid)
		s->row = s->own;
	else
		read_ns_dir("/proc/self/ns", &s->row);
}

static void book_look(void)
{
	struct sight s;
	struct line *l;

	look(&s);
	l = line_begin("look", &s);
	add_ns(l, "own", &s.own);
	add_ns(l, "row", &s.row);
	line_end(l);
}

/* ---- making children ---- */

enum how { BY_FORK, BY_CLONE, BY_CLONE3, BY_VFORK, BY_SPAWN };

static const char *const how_names[] = { "fork", "clone", "clone3", "vfork", "spawn" };

struct kid {
	enum how how;
	uint64_t flags;
	const pid_t *set_tid;	/* clone3 */
	bool untouched;		/* clone3: its arguments are in a page that nobody has looked at yet */
	int cgroup;		/* clone3 with CLONE_INTO_CGROUP */
	void (*work)(void);	/* what the child does; without it the child waits for kid_finish() */
	int code;		/* the child's exit code */
	const char *label;	/* the case that the child's lines belong to, if another than the creator's */

	long ret;
	int error;
	int up, go;
	struct sight creator, sight;
	uint64_t t_before, t_go, t_after, wall_before, wall_after;
	int status;
};

/* The same bytes at an address whose page is not there before somebody reads it. */
static struct clone3_args *untouched_copy(const struct clone3_args *args)
{
	int fd = (int)syscall(SYS_memfd_create, "args", 0);
	void *page;

	if (fd < 0 || write(fd, args, sizeof(*args)) != sizeof(*args))
		fatal("memfd_create");
	page = mmap(NULL, sizeof(*args), PROT_READ, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED)
		fatal("mmap");
	madvise(page, sizeof(*args), MADV_RANDOM); /* no fault-around */
	close(fd);
	return page;
}

static long raw_create(const struct kid *k)
{
	struct clone3_args args = { .flags = k->flags, .exit_signal = SIGCHLD };
	size_t size;

	switch (k->how) {
	case BY_CLONE3:
		if (k->set_tid) {
			args.set_tid = (uintptr_t)k->set_tid;
			args.set_tid_size = 1;
		}
		args.cgroup = (uint64_t)k->cgroup;
		size = k->flags & CLONE_INTO_CGROUP || k->set_tid ? sizeof(args) : 64;
		return syscall(SYS_clone3, k->untouched ? untouched_copy(&args) : &args, size);
	case BY_FORK:
#ifdef SYS_fork
		return syscall(SYS_fork);
#endif
	default:
		return syscall(SYS_clone, (unsigned long)(k->flags | SIGCHLD), 0UL, 0UL, 0UL, 0UL);
	}
}

static void read_all(int fd, void *data, size_t size)
{
	for (size_t n = 0; n < size;) {
		ssize_t r = read(fd, (char *)data + n, size - n);

		if (r <= 0)
			fatal("pipe");
		n += (size_t)r;
	}
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) != pid)
		if (errno != EINTR)
			fatal("waitpid");
	return status;
}

static bool kid_start(struct kid *k)
{
	int up[2], go[2];

	if (pipe2(up, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		fatal("pipe2");
	look(&k->creator);
	k->wall_before = now_ns(CLOCK_REALTIME);
	k->t_before = boot_ns();
	k->ret = raw_create(k);
	k->error = errno;
	if (k->ret == 0) {
		char byte;

		close(up[0]);
		close(go[1]);
		look(&k->sight);
		if (write(up[1], &k->sight, sizeof(k->sight)) != sizeof(k->sight))
			_exit(97);
		close(up[1]);
		if (k->label)
			snprintf(case_name, sizeof(case_name), "%s", k->label);
		if (k->work)
			k->work();
		else
			while (read(go[0], &byte, 1) < 0 && errno == EINTR)
				;
		_exit(k->code);
	}
	close(up[1]);
	close(go[0]);
	k->up = up[0];
	k->go = go[1];
	if (k->ret > 0)
		read_all(k->up, &k->sight, sizeof(k->sight));
	return k->ret > 0;
}

static void kid_book(struct kid *k)
{
	char save[sizeof(case_name)];
	struct line *l;

	memcpy(save, case_name, sizeof(save));
	if (k->label)
		snprintf(case_name, sizeof(case_name), "%s", k->label);
	l = line_begin("clone", &k->creator);
	add(l, ",\"call\":\"%s\",\"flags\":%llu,\"ret\":%ld", how_names[k->how], (unsigned long long)k->flags, k->ret);
	add_ns(l, "row", &k->creator.row);
	add_ns(l, "own", &k->creator.own);
	add(l, ",\"wall_before\":%llu,\"wall_after\":%llu", (unsigned long long)k->wall_before,
	    (unsigned long long)k->wall_after);
	if (k->ret < 0) {
		add(l, ",\"errno\":%d", k->error);
	} else {
		add(l, ",\"child\":%d,\"child_tid\":%d,\"child_vpid\":%d", k->sight.pid, k->sight.tid, k->sight.vpid);
		if (k->how != BY_SPAWN)
			add_ns(l, "child_ns", &k->sight.own);
		add(l, ",\"status\":%d,\"born_min\":%llu,\"born_max\":%llu,\"life_min\":%llu,\"life_max\":%llu", k->status,
		    (unsigned long long)k->t_before, (unsigned long long)k->sight.boot_ns,
		    (unsigned long long)(k->work ? 0 : k->t_go - k->sight.boot_ns),
		    (unsigned long long)(k->t_after - k->t_before));
	}
	line_end(l);
	memcpy(case_name, save, sizeof(save));
}

static void kid_finish(struct kid *k)
{
	k->t_go = boot_ns();
	close(k->go);
	close(k->up);
	if (k->ret > 0)
		k->status = wait_for((pid_t)k->ret);
	k->t_after = boot_ns();
	k->wall_after = now_ns(CLOCK_REALTIME);
	kid_book(k);
}

/* For a child that this process cannot wait for: its status is what it says itself, when it ends is not known. */
static void kid_abandon(struct kid *k)
{
	const uint64_t long_time = 1000000000000ULL;

	k->t_go = k->sight.boot_ns;
	close(k->go);
	close(k->up);
	k->status = k->code << 8;
	k->t_after = k->t_go + long_time;
	k->wall_after = now_ns(CLOCK_REALTIME) + long_time;
	kid_book(k);
}

static void do_clone(enum how how, uint64_t flags)
{
	struct kid k = { .how = how, .flags = flags, .code = 3 };

	kid_start(&k);
	kid_finish(&k);
}

/* ---- changing one's own namespaces ---- */

static void book_change(const char *op, const struct sight *before, const char *arguments, long ret, int error)
{
	struct sight after;
	struct line *l;

	look(&after);
	l = line_begin(op, before);
	add(l, ",%s,\"ret\":%ld", arguments, ret);
	if (ret < 0)
		add(l, ",\"errno\":%d", error);
	add_ns(l, "own", &before->own);
	add_ns(l, "after", &after.own);
	line_end(l);
}

/* The link pid_for_children can be read only while that namespace has a first process: see pid_namespaces(7). */
static long book_change_with_child(const char *op, const struct sight *before, const char *arguments, long ret,
				   int error, bool new_pid)
{
	struct kid k = { .how = BY_FORK, .code = 3 };

	if (ret == 0 && new_pid) {
		kid_start(&k);
		look(&k.creator); /* the link was empty before */
	}
	book_change(op, before, arguments, ret, error);
	if (ret == 0 && new_pid)
		kid_finish(&k);
	return ret;
}

static long do_unshare(uint64_t flags)
{
	struct sight before;
	char arguments[64];
	long ret;
	int error;

	look(&before);
	ret = syscall(SYS_unshare, (unsigned long)flags);
	error = errno;
	snprintf(arguments, sizeof(arguments), "\"flags\":%llu", (unsigned long long)flags);
	return book_change_with_child("unshare", &before, arguments, ret, error, flags & CLONE_NEWPID);
}

/* Without that child: for every type but pid, and where the call fails. */
static long do_unshare_quiet(uint64_t flags)
{
	struct sight before;
	char arguments[64];
	long ret;
	int error;

	look(&before);
	ret = syscall(SYS_unshare, (unsigned long)flags);
	error = errno;
	snprintf(arguments, sizeof(arguments), "\"flags\":%llu", (unsigned long long)flags);
	book_change("unshare", &before, arguments, ret, error);
	return ret;
}

static long do_setns(int fd, uint64_t nstype, const char *of)
{
	struct sight before;
	char arguments[96];
	long ret;
	int error;

	look(&before);
	ret = syscall(SYS_setns, fd, (int)nstype);
	error = errno;
	snprintf(arguments, sizeof(arguments), "\"flags\":%llu,\"of\":\"%s\"", (unsigned long long)nstype, of);
	book_change("setns", &before, arguments, ret, error);
	return ret;
}

static int open_ns(int pid, const char *link)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, link);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fatal(path);
	return fd;
}

static bool have_link(const char *link)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", link);
	return access(path, F_OK) == 0;
}

/* Every CLONE_NEW flag that this kernel has; clone() has no room for CLONE_NEWTIME. */
static uint64_t all_flags(bool with_time)
{
	uint64_t flags = 0;

	for (size_t i = 0; i < NS_TYPES; i++)
		if (have_link(ns_types[i].name) && (with_time || ns_types[i].flag != CLONE_NEWTIME))
			flags |= ns_types[i].flag;
	return flags;
}

/* ---- programs ---- */

extern char **environ;

static void book_exec(const char *filename, const struct sight *s)
{
	struct line *l = line_begin("exec", s);

	add_hex(l, "filename", filename, strlen(filename));
	add_ns(l, "row", &s->row);
	add_ns(l, "own", &s->own);
	line_end(l);
}

static void report_environment(int code)
{
	char text[32];

	snprintf(text, sizeof(text), "%d", book_fd);
	setenv("NSMON_BOOK_FD", text, 1);
	setenv("NSMON_CASE", case_name, 1);
	snprintf(text, sizeof(text), "%d", code);
	setenv("NSMON_REPORT", text, 1);
}

/* Replaces this process by a program that reports itself and exits with code. */
static void do_exec(const char *filename, char *const argv[], int code)
{
	struct sight s;
	struct line *l;
	int error;

	report_environment(code);
	look(&s);
	book_exec(filename, &s);
	execve(filename, argv, environ);
	error = errno;
	l = line_begin("exec-failed", &s);
	add(l, ",\"errno\":%d", error);
	line_end(l);
}

static void exec_self(int code)
{
	char *argv[] = { "reporter", NULL };

	do_exec(self_path, argv, code);
}

static size_t slurp(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r;

	if (fd < 0)
		return 0;
	while (n < size && (r = read(fd, data + n, size - n)) > 0)
		n += (size_t)r;
	close(fd);
	return n;
}

static int report(const char *code)
{
	static char data[40000];
	struct sight s;
	struct line *l;
	const char *fd = getenv("NSMON_BOOK_FD");
	const char *name = getenv("NSMON_CASE");

	if (fd)
		book_fd = atoi(fd);
	snprintf(case_name, sizeof(case_name), "%s", name ? name : "");
	look(&s);
	l = line_begin("report", &s);
	add_hex(l, "cmdline", data, slurp("/proc/self/cmdline", data, sizeof(data)));
	add_hex(l, "comm", data, slurp("/proc/self/comm", data, sizeof(data)));
	add(l, ",\"vpid\":%d", s.vpid);
	add_ns(l, "own", &s.own);
	line_end(l);
	return atoi(code);
}

/* ---- threads ---- */

struct thread {
	void (*fn)(struct thread *);
	struct sight creator, sight;
	pthread_t handle;
	int ready[2], go[2]; /* pipes: the thread says that it is done with its part; the creator lets it end */
};

static void thread_say_ready(struct thread *t)
{
	if (write(t->ready[1], "r", 1) != 1)
		fatal("ready");
}

static void thread_wait_go(struct thread *t)
{
	char byte;

	read_all(t->go[0], &byte, 1);
}

static void *thread_main(void *argument)
{
	struct thread *t = argument;
	struct line *l;

	look(&t->sight);
	l = line_begin("thread", &t->sight);
	add(l, ",\"ptid\":%d", t->creator.tid);
	add_ns(l, "row", &t->creator.row);
	add_ns(l, "creator", &t->creator.own);
	add_ns(l, "own", &t->sight.own);
	line_end(l);
	t->fn(t);
	return NULL;
}

static void thread_start(struct thread *t, void (*fn)(struct thread *))
{
	t->fn = fn;
	if (pipe2(t->ready, O_CLOEXEC) || pipe2(t->go, O_CLOEXEC))
		fatal("pipe2");
	look(&t->creator);
	errno = pthread_create(&t->handle, NULL, thread_main, t);
	if (errno)
		fatal("pthread_create");
}

static void thread_wait_ready(struct thread *t)
{
	char byte;

	read_all(t->ready[0], &byte, 1);
}

static void thread_join(struct thread *t)
{
	struct line *l;

	if (write(t->go[1], "g", 1) != 1)
		fatal("go");
	errno = pthread_join(t->handle, NULL);
	if (errno)
		fatal("pthread_join");
	l = line_begin("joined", &t->sight);
	line_end(l);
}

static void __attribute__((noreturn)) wait_for_the_end(void)
{
	for (;;)
		pause();
}

/* ---- the cases: each runs in a process of its own, forked from the driver ---- */

static const struct ns_type *case_type; /* the type that a case of a family is about */

static void case_clone(void)
{
	do_clone(BY_CLONE, case_type->flag);
}

static void case_clone3(void)
{
	do_clone(BY_CLONE3, case_type->flag);
}

static void case_unshare(void)
{
	if (case_type->flag == CLONE_NEWPID)
		do_unshare(CLONE_NEWPID);
	else
		do_unshare_quiet(case_type->flag);
}

static void case_setns(void)
{
	int fd = open_ns(holder_pid, case_type->name);

	/* 0 instead of the type is allowed, too: half of the types are joined in this way. */
	do_setns(fd, (case_type - ns_types) % 2 ? case_type->flag : 0, case_type->name);
	if (case_type->flag == CLONE_NEWPID || case_type->flag == CLONE_NEWTIME)
		do_clone(BY_FORK, 0);
}

static void case_setns_same(void)
{
	do_setns(open_ns(getpid(), case_type->name), case_type->flag, case_type->name);
}

static void case_clone_all(void)
{
	do_clone(BY_CLONE, all_flags(false));
}

static void case_clone3_all(void)
{
	do_clone(BY_CLONE3, all_flags(true));
}

static void case_unshare_all(void)
{
	do_unshare(all_flags(true));
}

static void case_fork(void)
{
	do_clone(BY_FORK, 0);
}

static void case_clone_nothing(void)
{
	do_clone(BY_CLONE, CLONE_FS | CLONE_SYSVSEM | CLONE_IO);
}

static int holder_pidfd(void)
{
	int fd = (int)syscall(SYS_pidfd_open, holder_pid, 0);

	if (fd < 0)
		fatal("pidfd_open");
	return fd;
}

static void case_pidfd_three(void)
{
	do_setns(holder_pidfd(), CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET, "pidfd");
}

static void case_pidfd_all(void)
{
	/* With CLONE_NEWTIME pidfds work from 5.8 on as well. */
	do_setns(holder_pidfd(), all_flags(true), "pidfd");
	do_clone(BY_FORK, 0);
}

static void case_pidfd_partly_same(void)
{
	do_setns(open_ns(holder_pid, "uts"), CLONE_NEWUTS, "uts");
	do_setns(holder_pidfd(), CLONE_NEWUTS | CLONE_NEWIPC, "pidfd");
}

static void case_pidfd_same(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	do_setns(fd, CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS, "pidfd");
}

static void case_setns_and_back(void)
{
	int own = open_ns(getpid(), "net");

	do_setns(open_ns(holder_pid, "net"), CLONE_NEWNET, "net");
	do_setns(own, CLONE_NEWNET, "net");
}

static void case_unshare_twice(void)
{
	do_unshare_quiet(CLONE_NEWUTS);
	do_unshare_quiet(CLONE_NEWUTS | CLONE_NEWIPC);
}

static void case_unshare_pid_fork_twice(void)
{
	if (do_unshare(CLONE_NEWPID) == 0) {
		/* The namespace's first process has ended: no fork can succeed any more. */
		do_clone(BY_FORK, 0);
		do_clone(BY_CLONE, CLONE_NEWUTS);
	}
}

static void work_clone_newuts(void)
{
	do_clone(BY_CLONE, CLONE_NEWUTS);
}

static void case_nested_pid(void)
{
	struct kid k = { .how = BY_CLONE, .flags = CLONE_NEWPID, .work = work_clone_newuts, .code = 3 };

	kid_start(&k);
	kid_finish(&k);
}

static void case_unshare_time_fork(void)
{
	if (do_unshare_quiet(CLONE_NEWTIME))
		cannot("this kernel has no time namespaces");
	else
		do_clone(BY_FORK, 0);
}

static void case_unshare_time_exec(void)
{
	if (do_unshare_quiet(CLONE_NEWTIME))
		cannot("this kernel has no time namespaces");
	else
		exec_self(4);
}

static void case_time_fork_flag(void)
{
	/* One change by flag and one without, in one clone. */
	if (do_unshare_quiet(CLONE_NEWTIME))
		cannot("this kernel has no time namespaces");
	else
		do_clone(BY_CLONE, CLONE_NEWUTS);
}

struct vfork_child {
	struct sight sight;
	char **argv;
};

static int vfork_main(void *argument)
{
	struct vfork_child *v = argument;

	look(&v->sight);
	book_exec(self_path, &v->sight);
	execve(self_path, v->argv, environ);
	_exit(96);
}

/* vfork(), from a function that may return: the child has a stack of its own. */
static void do_vfork_exec(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	char *argv[] = { "vforked", NULL };
	struct vfork_child v = { .argv = argv };
	struct kid k = { .how = BY_VFORK, .flags = CLONE_VM | CLONE_VFORK };

	report_environment(4);
	look(&k.creator);
	k.wall_before = now_ns(CLOCK_REALTIME);
	k.t_before = boot_ns();
	k.ret = clone(vfork_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &v);
	k.error = errno;
	k.sight = v.sight;
	k.t_go = k.sight.boot_ns;
	if (k.ret > 0)
		k.status = wait_for((pid_t)k.ret);
	k.t_after = boot_ns();
	k.wall_after = now_ns(CLOCK_REALTIME);
	kid_book(&k);
}

static void case_vfork_exec(void)
{
	do_vfork_exec();
}

static void case_unshare_time_vfork_exec(void)
{
	if (do_unshare_quiet(CLONE_NEWTIME))
		cannot("this kernel has no time namespaces");
	else
		do_vfork_exec();
}

/* Nobody sees the child between posix_spawn's clone and its exec: the book has no "child_ns". */
static void do_spawn(void)
{
	char *argv[] = { "spawned", NULL };
	struct kid k = { .how = BY_SPAWN };
	struct line *l;
	pid_t pid = 0;

	report_environment(4);
	look(&k.creator);
	k.wall_before = now_ns(CLOCK_REALTIME);
	k.t_before = boot_ns();
	k.error = posix_spawn(&pid, self_path, NULL, NULL, argv, environ);
	k.ret = k.error ? -1 : pid;
	k.sight.pid = k.sight.tid = k.sight.vpid = pid;
	k.sight.boot_ns = k.t_go = boot_ns();
	if (!k.error) {
		l = line_begin("exec", &k.sight);
		add_hex(l, "filename", self_path, strlen(self_path));
		line_end(l);
		k.status = wait_for(pid);
	}
	k.t_after = boot_ns();
	k.wall_after = now_ns(CLOCK_REALTIME);
	kid_book(&k);
}

static void case_spawn(void)
{
	do_spawn();
}

static void case_unshare_time_spawn(void)
{
	if (do_unshare_quiet(CLONE_NEWTIME))
		cannot("this kernel has no time namespaces");
	else
		do_spawn();
}

/* ---- threads that go elsewhere ---- */

static void thread_bystander(struct thread *t)
{
	thread_say_ready(t);
	thread_wait_go(t);
	book_look();
}

static void thread_enter_net(struct thread *t)
{
	do_unshare_quiet(CLONE_NEWNET);
	do_clone(BY_FORK, 0);
	thread_say_ready(t);
	thread_wait_go(t);
}

static void case_thread_net(void)
{
	struct thread bystander, mover;

	thread_start(&bystander, thread_bystander);
	thread_wait_ready(&bystander);
	thread_start(&mover, thread_enter_net);
	thread_wait_ready(&mover);
	book_look();
	do_clone(BY_FORK, 0);
	thread_join(&bystander);
	thread_join(&mover);
}

static void thread_join_net(struct thread *t)
{
	do_setns(open_ns(holder_pid, "net"), CLONE_NEWNET, "net");
	thread_say_ready(t);
	thread_wait_go(t);
}

static void case_thread_setns(void)
{
	struct thread mover;

	thread_start(&mover, thread_join_net);
	thread_wait_ready(&mover);
	book_look();
	thread_join(&mover);
}

static void thread_mixed_clone(struct thread *t)
{
	do_unshare_quiet(CLONE_NEWNET);
	do_clone(BY_CLONE, CLONE_NEWUTS);
	thread_say_ready(t);
	thread_wait_go(t);
}

static void case_thread_mixed_clone(void)
{
	struct thread mover;

	thread_start(&mover, thread_mixed_clone);
	thread_wait_ready(&mover);
	thread_join(&mover);
}

static void thread_unshare_uts(struct thread *t)
{
	do_unshare_quiet(CLONE_NEWUTS);
	thread_say_ready(t);
	thread_wait_go(t);
}

static void thread_of_thread(struct thread *t)
{
	struct thread second;

	do_unshare_quiet(CLONE_NEWNET);
	thread_start(&second, thread_unshare_uts);
	thread_wait_ready(&second);
	thread_join(&second);
	thread_say_ready(t);
	thread_wait_go(t);
}

static void case_thread_of_thread(void)
{
	struct thread first;

	thread_start(&first, thread_of_thread);
	thread_wait_ready(&first);
	thread_join(&first);
}

static void case_main_moves(void)
{
	struct thread bystander;

	thread_start(&bystander, thread_bystander);
	thread_wait_ready(&bystander);
	do_unshare_quiet(CLONE_NEWUTS);
	thread_join(&bystander);
}

static void thread_exec(struct thread *t)
{
	(void)t;
	exec_self(4);
}

static void case_thread_exec(void)
{
	struct thread t;

	thread_start(&t, thread_exec);
	wait_for_the_end();
}

static void thread_moved_exec(struct thread *t)
{
	(void)t;
	do_unshare_quiet(CLONE_NEWUTS | CLONE_NEWNET);
	exec_self(4);
}

static void case_thread_moved_exec(void)
{
	struct thread t;

	thread_start(&t, thread_moved_exec);
	wait_for_the_end();
}

static void thread_late_exec(struct thread *t)
{
	thread_say_ready(t);
	thread_wait_go(t);
	exec_self(4);
}

static void case_main_moved_thread_exec(void)
{
	struct thread t;

	thread_start(&t, thread_late_exec);
	thread_wait_ready(&t);
	do_unshare_quiet(CLONE_NEWUTS);
	if (write(t.go[1], "g", 1) != 1)
		fatal("go");
	wait_for_the_end();
}

static void __attribute__((noreturn)) leave_thread(int code)
{
	struct sight s;
	struct line *l;

	look(&s);
	l = line_begin("thread-exit", &s);
	add(l, ",\"code\":%d", code);
	line_end(l);
	for (;;)
		syscall(SYS_exit, code);
}

static void wait_until_leader_is_gone(void)
{
	char data[512];
	const char *end;

	for (;;) {
		data[slurp("/proc/self/stat", data, sizeof(data) - 1)] = '\0';
		end = strrchr(data, ')');
		if (end && end[1] == ' ' && end[2] == 'Z')
			return;
		sched_yield();
	}
}

static void thread_fork_leaderless(struct thread *t)
{
	(void)t;
	wait_until_leader_is_gone();
	do_clone(BY_FORK, 0);
	syscall(SYS_exit_group, 5);
}

static void case_leader_gone_fork(void)
{
	static struct thread t;

	thread_start(&t, thread_fork_leaderless);
	leave_thread(4);
}

static void thread_unshare_leaderless(struct thread *t)
{
	(void)t;
	wait_until_leader_is_gone();
	do_unshare_quiet(CLONE_NEWUTS);
	do_clone(BY_FORK, 0);
	syscall(SYS_exit_group, 5);
}

static void case_leader_gone_unshare(void)
{
	static struct thread t;

	thread_start(&t, thread_unshare_leaderless);
	leave_thread(4);
}

/* ---- calls that fail, and calls that change nothing ---- */

static void case_clone3_eexist(void)
{
	pid_t taken = getpid();
	struct kid k = { .how = BY_CLONE3, .flags = CLONE_NEWUTS | CLONE_NEWNET, .set_tid = &taken };

	kid_start(&k);
	kid_finish(&k);
}

static void case_clone3_untouched(void)
{
	struct kid k = { .how = BY_CLONE3, .flags = CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWNS | CLONE_FS };

	k.untouched = true;
	kid_start(&k);
	kid_finish(&k);
}

static void enter_cgroup(const char *dir)
{
	char path[PATH_MAX];
	struct sight s;
	struct line *l;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	look(&s);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1 || stat(dir, &st))
		fatal(path);
	close(fd);
	l = line_begin("cgroup", &s);
	add_hex(l, "dir", dir, strlen(dir));
	add(l, ",\"inode\":%llu", (unsigned long long)st.st_ino);
	line_end(l);
}

static void case_clone_eagain(void)
{
	if (!pids_cgroup) {
		cannot("no cgroup with the pids controller can be made here");
		return;
	}
	enter_cgroup(pids_cgroup);
	do_clone(BY_CLONE, CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET);
}

static void case_clone_einval(void)
{
	do_clone(BY_CLONE, CLONE_NEWNS | CLONE_FS);
}

static void case_unshare_einval(void)
{
	do_unshare_quiet(CLONE_NEWUTS | 1);
}

static void lose_privileges(void)
{
	if (syscall(SYS_setresgid, 65534, 65534, 65534) || syscall(SYS_setresuid, 65534, 65534, 65534))
		fatal("setresuid");
}

static void case_unshare_eperm(void)
{
	lose_privileges();
	do_unshare_quiet(CLONE_NEWUTS | CLONE_NEWNET);
}

static void work_unshare_enospc(void)
{
	int fd = open("/proc/sys/user/max_net_namespaces", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		fatal("max_net_namespaces");
	do_unshare_quiet(CLONE_NEWUTS | CLONE_NEWNET);
}

static void case_unshare_enospc(void)
{
	struct kid k = { .how = BY_CLONE3, .flags = CLONE_NEWUSER, .work = work_unshare_enospc, .code = 3 };

	kid_start(&k);
	kid_finish(&k);
}

static void case_unshare_nothing(void)
{
	do_unshare_quiet(CLONE_FS | CLONE_FILES);
	do_unshare_quiet(0);
}

static void case_setns_ebadf(void)
{
	do_setns(9999, CLONE_NEWNET, "ebadf");
}

static void case_setns_einval(void)
{
	do_setns(open_ns(holder_pid, "net"), CLONE_NEWUTS, "net");
	do_setns(open("/dev/null", O_RDONLY | O_CLOEXEC), 0, "file");
}

static void case_setns_eperm(void)
{
	int net = open_ns(holder_pid, "net"), pidfd = holder_pidfd();

	lose_privileges();
	do_setns(net, CLONE_NEWNET, "net");
	do_setns(pidfd, CLONE_NEWUTS | CLONE_NEWNET, "pidfd");
}

/* ---- identity ---- */

static void case_uid(void)
{
	if (syscall(SYS_setresgid, 2001, 0, 0) || syscall(SYS_setresuid, 1001, 0, 0))
		fatal("setresuid");
	do_clone(BY_FORK, 0);
	do_unshare_quiet(CLONE_NEWUTS);
}

static void case_cgroup(void)
{
	if (!new_cgroup) {
		cannot("no cgroup can be made here");
		return;
	}
	enter_cgroup(new_cgroup);
	do_clone(BY_FORK, 0);
	do_unshare_quiet(CLONE_NEWUTS);
}

static void case_clone3_into_cgroup(void)
{
	struct kid k = { .how = BY_CLONE3, .flags = CLONE_INTO_CGROUP | CLONE_NEWUTS };

	if (!into_cgroup) {
		cannot("no cgroup v2 hierarchy");
		return;
	}
	k.cgroup = open(into_cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k.cgroup < 0)
		fatal(into_cgroup);
	kid_start(&k);
	kid_finish(&k);
}

/* The new process's parent is the driver, its creator is this one. The driver reaps it; see run_case(). */
static void case_clone_parent(void)
{
	struct kid k = { .how = BY_CLONE, .flags = CLONE_PARENT | CLONE_NEWUTS, .code = 3 };

	kid_start(&k);
	kid_abandon(&k);
}

static const char *const hostile_comms[] = {
	"a\nfork: pid=1", "\x1b[31mred", "q\"uo\\te", "a code=9", "\xff\xfe\x80", "\xc2\x9b" "31m", "tab\there\r",
	"aaaaaaaaaaaaaa\xc3\xa9", "", " lead", "\x7f", "a=b", "\"", "\\n", "\xe2\x80\xae" "rtl", "100%s%n", "''`$(x)",
};

static void case_comm(unsigned int index)
{
	char comm[64];
	struct sight s;
	struct line *l;

	if (prctl(PR_SET_NAME, hostile_comms[index]))
		fatal("PR_SET_NAME");
	look(&s);
	l = line_begin("comm", &s);
	memset(comm, 0, sizeof(comm));
	if (prctl(PR_GET_NAME, comm))
		fatal("PR_GET_NAME");
	add_hex(l, "comm", comm, strlen(comm));
	line_end(l);
	do_clone(BY_FORK, 0);
	do_unshare_quiet(CLONE_NEWUTS);
}

/* ---- programs and their arguments ---- */

enum { ARGUMENT_MAX = 700 };

static char *repeated(const char *unit, size_t size)
{
	size_t n = strlen(unit);
	char *text = malloc(size + 1);

	if (!text)
		fatal("malloc");
	for (size_t i = 0; i < size; i++)
		text[i] = unit[i % n];
	text[size] = '\0';
	return text;
}

static void exec_arguments(const char *first, const char *second)
{
	char *argv[] = { "reporter", (char *)first, (char *)second, NULL };

	do_exec(self_path, argv, 0);
}

static void case_exec_plain(void)
{
	exec_arguments("one", "two");
}

static void case_exec_spaces(void)
{
	exec_arguments("with two  spaces ", " and\ttab");
}

static void case_exec_newline(void)
{
	exec_arguments("a\nfork: ppid=1 pid=1 comm=forged", "b\r\n");
}

static void case_exec_quotes(void)
{
	exec_arguments("say \"hi\" \\ 'x'", "\\\"");
}

static void case_exec_escape(void)
{
	exec_arguments("\x1b[2J\x1b]0;title\x07", "\x01\x7f\xc2\x9b");
}

static void case_exec_not_utf8(void)
{
	exec_arguments("latin\xe9", "\xff\xfe\xc0\xaf\xed\xa0\x80");
}

static void case_exec_utf8(void)
{
	exec_arguments("gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac\xf0\x9f\x90\xa7");
}

static void case_exec_empty(void)
{
	exec_arguments("", "last");
}

static void case_exec_empty_last(void)
{
	exec_arguments("x", "");
}

static void case_exec_3000(void)
{
	exec_arguments(repeated("abcdefghi ", 2900), "end");
}

static void case_exec_5000(void)
{
	exec_arguments(repeated("abcdefghi ", 5000), "end");
}

static void case_exec_5000_utf8(void)
{
	/* Wherever the cut is, for one of the two it is inside a character. */
	exec_arguments(repeated("\xe2\x82\xac", 4998), "end");
}

static void case_exec_5000_utf8_shifted(void)
{
	exec_arguments("x", repeated("\xe2\x82\xac", 4998));
}

static void case_exec_many(void)
{
	char *argv[ARGUMENT_MAX + 1];

	for (int i = 0; i < ARGUMENT_MAX; i++) {
		argv[i] = malloc(16);
		if (!argv[i])
			fatal("malloc");
		snprintf(argv[i], 16, "arg-%d", i);
	}
	argv[ARGUMENT_MAX] = NULL;
	do_exec(self_path, argv, 0);
}

static void case_exec_no_arguments(void)
{
	char *argv[] = { NULL };

	do_exec(self_path, argv, 0);
}

static void case_exec_other_argv0(void)
{
	char *argv[] = { "-not the file's name", NULL };

	do_exec(self_path, argv, 0);
}

static void case_exec_long_path(void)
{
	char path[PATH_MAX];
	size_t n = strlen(self_path), slashes = 3000;
	char *argv[] = { "reporter", "x", NULL };

	memset(path, '/', slashes);
	memcpy(path + slashes, self_path, n + 1);
	do_exec(path, argv, 0);
}

static void case_exec_relative(void)
{
	char directory[PATH_MAX], file[PATH_MAX];
	char *argv[] = { "reporter", NULL };
	const char *name = strrchr(self_path, '/') + 1;

	snprintf(directory, sizeof(directory), "%.*s", (int)(name - self_path), self_path);
	if (chdir(directory))
		fatal(directory);
	snprintf(file, sizeof(file), "./%.255s", name);
	do_exec(file, argv, 0);
}

static void case_exec_script(void)
{
	char path[PATH_MAX], text[PATH_MAX + 32];
	char *argv[] = { "lost", "kept", NULL };
	int fd, n;

	snprintf(path, sizeof(path), "%s/script %d", scratch_dir, getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	n = snprintf(text, sizeof(text), "#!%s option\n", self_path);
	if (fd < 0 || write(fd, text, n) != n)
		fatal(path);
	close(fd);
	do_exec(path, argv, 0);
}

static void case_exec_descriptor(void)
{
	char *argv[] = { "by-descriptor", NULL };
	int fd = open(self_path, O_RDONLY | O_CLOEXEC);
	char path[32];
	struct sight s;

	report_environment(0);
	look(&s);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	book_exec(path, &s);
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	fatal("execveat");
}

static void case_exec_fails(void)
{
	char *argv[] = { "nothing", NULL };

	do_exec("/nonexistent/program", argv, 0);
	do_exec("/dev/null", argv, 0);
}

/* ---- ends ---- */

static void exit_code(int code)
{
	syscall(SYS_exit_group, code);
}

static void case_exit_0(void)
{
	exit_code(0);
}

static void case_exit_1(void)
{
	exit_code(1);
}

static void case_exit_255(void)
{
	exit_code(255);
}

static void case_exit_300(void)
{
	exit_code(300); /* the kernel keeps 8 bits */
}

static void die(int sig, bool core)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = 0 };

	if (core)
		limit.rlim_cur = limit.rlim_max = 64 << 20;
	if (setrlimit(RLIMIT_CORE, &limit) || chdir(scratch_dir))
		fatal("setrlimit");
	signal(sig, SIG_DFL);
	kill(getpid(), sig);
	wait_for_the_end();
}

static void case_exit_kill(void)
{
	die(SIGKILL, false);
}

static void case_exit_term(void)
{
	die(SIGTERM, false);
}

static void case_exit_realtime_signal(void)
{
	die(SIGRTMAX, false);
}

static void case_exit_segv_no_core(void)
{
	die(SIGSEGV, false);
}

static void case_exit_abort_core(void)
{
	die(SIGABRT, true);
}

static void thread_exit_group(struct thread *t)
{
	(void)t;
	syscall(SYS_exit_group, 9);
}

static void case_exit_group_by_thread(void)
{
	static struct thread t;

	thread_start(&t, thread_exit_group);
	wait_for_the_end();
}

static void thread_exit_group_leaderless(struct thread *t)
{
	(void)t;
	wait_until_leader_is_gone();
	syscall(SYS_exit_group, 5);
}

static void case_exit_leader_first_group(void)
{
	static struct thread t;

	thread_start(&t, thread_exit_group_leaderless);
	leave_thread(4);
}

static void thread_exit_last(struct thread *t)
{
	(void)t;
	wait_until_leader_is_gone();
	leave_thread(6);
}

static void case_exit_leader_first_each(void)
{
	static struct thread t;

	thread_start(&t, thread_exit_last);
	leave_thread(4);
}

static void thread_killed_leaderless(struct thread *t)
{
	(void)t;
	wait_until_leader_is_gone();
	syscall(SYS_kill, syscall(SYS_getpid), SIGTERM);
	wait_for_the_end();
}

static void case_exit_leader_first_signal(void)
{
	static struct thread t;

	thread_start(&t, thread_killed_leaderless);
	leave_thread(4);
}

static void thread_own_code(struct thread *t)
{
	(void)t;
	leave_thread(7);
}

/* The two tasks of a process end at one moment: which is the last is not to be seen from outside. */
static int racing;
static bool racing_group;

static void race(void)
{
	__atomic_add_fetch(&racing, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&racing, __ATOMIC_SEQ_CST) < 2)
		sched_yield();
	if (racing_group)
		syscall(SYS_exit_group, 4);
	leave_thread(4);
}

static void thread_race(struct thread *t)
{
	(void)t;
	race();
}

static void work_exit_race(void)
{
	static struct thread t;

	thread_start(&t, thread_race);
	race();
}

static void case_exit_race(void)
{
	for (int i = 0; i < 100; i++) {
		struct kid k = { .how = BY_FORK, .work = work_exit_race, .code = 4 };

		racing_group = i % 2;
		kid_start(&k);
		kid_finish(&k);
	}
}

static void case_exit_thread_code(void)
{
	static struct thread t;
	char path[64];

	thread_start(&t, thread_own_code);
	while (!__atomic_load_n(&t.sight.tid, __ATOMIC_ACQUIRE))
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d", t.sight.tid);
	while (access(path, F_OK) == 0)
		sched_yield();
}

static pid_t orphan_parent;

static void work_orphan(void)
{
	while (syscall(SYS_getppid) == orphan_parent)
		sched_yield();
}

/* The child outlives its creator. */
static void case_exit_orphan(void)
{
	struct kid k = { .how = BY_FORK, .work = work_orphan, .code = 6 };

	orphan_parent = getpid();
	kid_start(&k);
	kid_abandon(&k);
}

static void case_lifetime(void)
{
	struct kid k = { .how = BY_FORK, .code = 3 };
	uint64_t begin;

	kid_start(&k);
	begin = boot_ns();
	while (boot_ns() - begin < 60000000)
		sched_yield();
	kid_finish(&k);
}

/* ---- the list ---- */

static const struct test_case {
	const char *name;
	void (*run)(void);
	bool per_type; /* once for each namespace type, which is appended to the name */
	bool holder;   /* needs the task that holds a namespace of each type */
} cases[] = {
	{ "fork", case_fork, false, false },
	{ "clone", case_clone, true, false },
	{ "clone3", case_clone3, true, false },
	{ "unshare", case_unshare, true, false },
	{ "clone-all", case_clone_all, false, false },
	{ "clone3-all", case_clone3_all, false, false },
	{ "unshare-all", case_unshare_all, false, false },
	{ "clone-nothing", case_clone_nothing, false, false },
	{ "unshare-nothing", case_unshare_nothing, false, false },
	{ "unshare-twice", case_unshare_twice, false, false },
	{ "setns", case_setns, true, true },
	{ "setns-same", case_setns_same, true, false },
	{ "setns-and-back", case_setns_and_back, false, true },
	{ "pidfd-three", case_pidfd_three, false, true },
	{ "pidfd-all", case_pidfd_all, false, true },
	{ "pidfd-partly-same", case_pidfd_partly_same, false, true },
	{ "pidfd-same", case_pidfd_same, false, false },
	{ "unshare-pid-fork-twice", case_unshare_pid_fork_twice, false, false },
	{ "nested-pid", case_nested_pid, false, false },
	{ "unshare-time-fork", case_unshare_time_fork, false, false },
	{ "unshare-time-clone-uts", case_time_fork_flag, false, false },
	{ "unshare-time-exec", case_unshare_time_exec, false, false },
	{ "unshare-time-vfork-exec", case_unshare_time_vfork_exec, false, false },
	{ "unshare-time-spawn", case_unshare_time_spawn, false, false },
	{ "vfork-exec", case_vfork_exec, false, false },
	{ "spawn", case_spawn, false, false },
	{ "thread-net", case_thread_net, false, false },
	{ "thread-setns", case_thread_setns, false, true },
	{ "thread-mixed-clone", case_thread_mixed_clone, false, false },
	{ "thread-of-thread", case_thread_of_thread, false, false },
	{ "main-moves", case_main_moves, false, false },
	{ "thread-exec", case_thread_exec, false, false },
	{ "thread-moved-exec", case_thread_moved_exec, false, false },
	{ "main-moved-thread-exec", case_main_moved_thread_exec, false, false },
	{ "leader-gone-fork", case_leader_gone_fork, false, false },
	{ "leader-gone-unshare", case_leader_gone_unshare, false, false },
	{ "clone3-eexist", case_clone3_eexist, false, false },
	{ "clone-eagain", case_clone_eagain, false, false },
	{ "clone3-untouched", case_clone3_untouched, false, false },
	{ "clone-einval", case_clone_einval, false, false },
	{ "unshare-einval", case_unshare_einval, false, false },
	{ "unshare-eperm", case_unshare_eperm, false, false },
	{ "unshare-enospc", case_unshare_enospc, false, false },
	{ "setns-ebadf", case_setns_ebadf, false, false },
	{ "setns-einval", case_setns_einval, false, true },
	{ "setns-eperm", case_setns_eperm, false, true },
	{ "uid", case_uid, false, false },
	{ "cgroup", case_cgroup, false, false },
	{ "clone3-into-cgroup", case_clone3_into_cgroup, false, false },
	{ "clone-parent", case_clone_parent, false, false },
	{ "exec-plain", case_exec_plain, false, false },
	{ "exec-spaces", case_exec_spaces, false, false },
	{ "exec-newline", case_exec_newline, false, false },
	{ "exec-quotes", case_exec_quotes, false, false },
	{ "exec-escape", case_exec_escape, false, false },
	{ "exec-not-utf8", case_exec_not_utf8, false, false },
	{ "exec-utf8", case_exec_utf8, false, false },
	{ "exec-empty", case_exec_empty, false, false },
	{ "exec-empty-last", case_exec_empty_last, false, false },
	{ "exec-3000", case_exec_3000, false, false },
	{ "exec-5000", case_exec_5000, false, false },
	{ "exec-5000-utf8", case_exec_5000_utf8, false, false },
	{ "exec-5000-utf8-shifted", case_exec_5000_utf8_shifted, false, false },
	{ "exec-many", case_exec_many, false, false },
	{ "exec-no-arguments", case_exec_no_arguments, false, false },
	{ "exec-other-argv0", case_exec_other_argv0, false, false },
	{ "exec-long-path", case_exec_long_path, false, false },
	{ "exec-relative", case_exec_relative, false, false },
	{ "exec-script", case_exec_script, false, false },
	{ "exec-descriptor", case_exec_descriptor, false, false },
	{ "exec-fails", case_exec_fails, false, false },
	{ "exit-0", case_exit_0, false, false },
	{ "exit-1", case_exit_1, false, false },
	{ "exit-255", case_exit_255, false, false },
	{ "exit-300", case_exit_300, false, false },
	{ "exit-kill", case_exit_kill, false, false },
	{ "exit-term", case_exit_term, false, false },
	{ "exit-realtime-signal", case_exit_realtime_signal, false, false },
	{ "exit-segv-no-core", case_exit_segv_no_core, false, false },
	{ "exit-abort-core", case_exit_abort_core, false, false },
	{ "exit-group-by-thread", case_exit_group_by_thread, false, false },
	{ "exit-leader-first-group", case_exit_leader_first_group, false, false },
	{ "exit-leader-first-each", case_exit_leader_first_each, false, false },
	{ "exit-leader-first-signal", case_exit_leader_first_signal, false, false },
	{ "exit-race", case_exit_race, false, false },
	{ "exit-thread-code", case_exit_thread_code, false, false },
	{ "exit-orphan", case_exit_orphan, false, false },
	{ "lifetime", case_lifetime, false, false },
};

static void (*current_run)(void);
static int current_comm = -1;

static void work_case(void)
{
	alarm(patience);
	if (current_comm >= 0)
		case_comm((unsigned int)current_comm);
	else if (case_type && !have_link(case_type->name))
		cannot("this kernel does not have this namespace type");
	else
		current_run();
}

/* A name is chosen when one of the comma-separated patterns is equal to it, or ends in '*' and begins it. */
static bool chosen(const char *only, const char *name)
{
	while (only && *only) {
		size_t n = strcspn(only, ",");

		if (n && only[n - 1] == '*' ? !strncmp(only, name, n - 1) : n == strlen(name) && !strncmp(only, name, n))
			return true;
		only += n + (only[n] == ',');
	}
	return !only;
}

static void run_case(const char *only, const char *name)
{
	struct kid k = { .how = BY_FORK, .work = work_case, .label = name };

	if (!chosen(only, name))
		return;
	kid_start(&k);
	kid_finish(&k);
	while (waitpid(-1, NULL, WNOHANG) > 0) /* clone-parent leaves one */
		;
}

static void each_case(const char *only, void (*visit)(const char *only, const char *name))
{
	static char name[64];

	current_comm = -1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		current_run = cases[i].run;
		case_type = NULL;
		if (!cases[i].per_type) {
			visit(only, cases[i].name);
			continue;
		}
		for (size_t t = 0; t < NS_TYPES; t++) {
			case_type = &ns_types[t];
			if (cases[i].run == case_clone && case_type->flag == CLONE_NEWTIME)
				continue;
			snprintf(name, sizeof(name), "%s-%s", cases[i].name, case_type->name);
			visit(only, name);
		}
	}
	case_type = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(hostile_comms); i++) {
		current_comm = (int)i;
		snprintf(name, sizeof(name), "comm-%zu", i);
		visit(only, name);
	}
}

static void print_case(const char *only, const char *name)
{
	(void)only;
	printf("%s\n", name);
}

static bool holder_wanted;

static void want_holder(const char *only, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].holder && !strncmp(name, cases[i].name, strlen(cases[i].name)) && chosen(only, name))
			holder_wanted = true;
}

static int run_cases(const char *only)
{
	struct kid holder = { .how = BY_CLONE3, .flags = all_flags(true), .code = 3, .label = "holder" };

	each_case(only, want_holder);
	if (holder_wanted) {
		if (!kid_start(&holder))
			fatal("holder");
		holder_pid = holder.sight.pid;
	}
	each_case(only, run_case);
	if (holder_wanted)
		kid_finish(&holder);
	return 0;
}

/* ---- a storm of processes ---- */

/* Each child execs; every eighth takes a new uts namespace first. */
static void storm(long n, int base)
{
	enum { CHUNK = 1000 };
	static int pids[CHUNK], statuses[CHUNK];
	char code[16];
	char *argv[] = { "storm-child", code, NULL };
	char *no_environment[] = { NULL };
	struct sight s;
	long done = 0, in_chunk = 0;

	look(&s);
	while (done < n) {
		struct line *l;
		pid_t pid;

		snprintf(code, sizeof(code), "%ld", (base + done) % 200);
		pid = fork();
		if (pid < 0)
			fatal("fork");
		if (pid == 0) {
			if (done % 8 == 0 && syscall(SYS_unshare, CLONE_NEWUTS))
				_exit(95);
			execve(self_path, argv, no_environment);
			_exit(94);
		}
		pids[in_chunk] = pid;
		statuses[in_chunk] = wait_for(pid);
		in_chunk++;
		done++;
		if (in_chunk < CHUNK && done < n)
			continue;
		l = line_begin("forks", &s);
		add(l, ",\"first\":%ld,\"children\":[", done - in_chunk);
		for (long i = 0; i < in_chunk; i++)
			add(l, "%s[%d,%d]", i ? "," : "", pids[i], statuses[i]);
		add(l, "]");
		line_end(l);
		in_chunk = 0;
	}
}

static long storm_size;

static void work_storm(void)
{
	storm(storm_size, 0);
}

static int forks(long n, int workers)
{
	struct kid k[16];

	snprintf(case_name, sizeof(case_name), "forks");
	if (workers < 1 || workers > (int)ARRAY_SIZE(k))
		workers = 1;
	storm_size = n / workers;
	memset(k, 0, sizeof(k));
	for (int i = 0; i < workers; i++) {
		k[i].how = BY_FORK;
		k[i].work = work_storm;
		kid_start(&k[i]);
	}
	for (int i = 0; i < workers; i++)
		kid_finish(&k[i]);
	return 0;
}

/* ---- a process that does what it is told, line by line ---- */

static int serve(void)
{
	char order[256];
	struct sight s;
	struct line *l;
	unsigned long n = 0;

	snprintf(case_name, sizeof(case_name), "serve");
	look(&s);
	l = line_begin("serving", &s);
	add_ns(l, "own", &s.own);
	line_end(l);
	setvbuf(stdin, NULL, _IONBF, 0);
	while (fgets(order, sizeof(order), stdin)) {
		order[strcspn(order, "\n")] = '\0';
		if (!strcmp(order, "fork"))
			do_clone(BY_FORK, 0);
		else if (!strcmp(order, "clone-uts"))
			do_clone(BY_CLONE, CLONE_NEWUTS);
		else if (!strcmp(order, "unshare-uts"))
			do_unshare_quiet(CLONE_NEWUTS);
		else if (!strncmp(order, "storm ", 6))
			storm(atol(order + 6), 0);
		else if (!strncmp(order, "exit ", 5))
			return atoi(order + 5);
		else
			fatal(order);
		l = line_begin("done", &s);
		add(l, ",\"order\":%lu", ++n);
		line_end(l);
	}
	return 0;
}

static int usage(void)
{
	fputs("Usage: driver [--book FILE] [--only NAME,NAME*] [--dir DIR] [--pids-cgroup DIR] [--cgroup DIR]\n"
	      "              list | cases | forks COUNT [WORKERS] | serve | report CODE\n",
	      stderr);
	return 2;
}

int main(int argc, char *argv[])
{
	const char *code = getenv("NSMON_REPORT"), *only = NULL, *slow = getenv("NSMON_TEST_SLOW");
	ssize_t n;
	int i;

	if (code)
		return report(code);
	if (argc == 2 && !strcmp(argv[0], "storm-child"))
		return atoi(argv[1]);
	n = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
	if (n <= 0)
		fatal("/proc/self/exe");
	self_path[n] = '\0';
	if (slow && atoi(slow) > 0)
		patience *= (unsigned int)atoi(slow);
	for (i = 1; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (!strcmp(argv[i], "--book"))
			book_fd = open(argv[i + 1], O_WRONLY | O_CREAT | O_APPEND, 0600);
		else if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
		else if (!strcmp(argv[i], "--dir"))
			scratch_dir = argv[i + 1];
		else if (!strcmp(argv[i], "--pids-cgroup"))
			pids_cgroup = argv[i + 1];
		else if (!strcmp(argv[i], "--cgroup"))
			new_cgroup = argv[i + 1];
		else if (!strcmp(argv[i], "--into-cgroup"))
			into_cgroup = argv[i + 1];
		else
			return usage();
		if (book_fd < 0)
			fatal(argv[i + 1]);
	}
	if (i < argc && !strcmp(argv[i], "list")) {
		each_case(NULL, print_case);
		return 0;
	}
	if (i < argc && !strcmp(argv[i], "cases"))
		return run_cases(only);
	if (i + 1 < argc && !strcmp(argv[i], "forks"))
		return forks(atol(argv[i + 1]), i + 2 < argc ? atoi(argv[i + 2]) : 1);
	if (i < argc && !strcmp(argv[i], "serve"))
		return serve();
	if (i + 1 < argc && !strcmp(argv[i], "report"))
		return report(argv[i + 1]);
	return usage();
}
