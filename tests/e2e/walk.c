// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * walk.c - wanders through namespaces at random, from a seed, and keeps a book of what the kernel showed in /proc
 * before and after each step. Like driver.c it must not know nsmon.
 *
 * The book is a file of JSON lines; every line is one write(2) to a descriptor opened with O_APPEND. Each has "op" and
 * the "pid" and "tid" of the task that did it; lines of one task stand in the order in which it did things.
 *
 *   begin   the walk begins: its arguments
 *   clone   a process was (or was not: "ret" < 0) created: "call" (fork, clone, clone3, vfork, spawn), the creator's
 *           own namespaces ("own") and those of its main thread ("row") before, the child's pid ("child") and what it
 *           saw first ("child_ns"), the exit code that it shall have ("code"). A spawned child saw nothing before its
 *           program began: it is known by its report, which has the same "token".
 *   end     a child ended: its "token" and wait status
 *   thread  a thread began: the task that created it ("ptid"), that one's namespaces ("creator") and its own
 *   unshare, setns   the call, its result, "own" before and "after"
 *   exec    an execve() that is about to happen; exec-failed when it came back; report when the program has begun
 *
 * A transition that was counted has "step": 1. Everything else is as in the driver's book.
 *
 * A walk is a row of short ones: a process that has gone as far as it may is followed by a fresh one that begins in
 * the initial namespaces. So few namespaces live at any moment, and none is nested deeply.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define NSIO_GET_MNTNS_ID _IOR(0xb7, 5, uint64_t) /* NS_GET_MNTNS_ID, Linux 6.11 */
#define NSIO_GET_ID _IOR(0xb7, 13, uint64_t) /* NS_GET_ID, Linux 6.18 */

/* include/uapi/linux/mount.h, sched.h; the C library's headers may not have them */
#define WALK_OPEN_TREE_NAMESPACE 0x00000002 /* Linux 7.0 */
#define WALK_FSMOUNT_NAMESPACE 0x00000002 /* Linux 7.1 */
#define WALK_UNSHARE_EMPTY_MNTNS 0x00100000 /* Linux 7.1 */
#define WALK_CLONE_EMPTY_MNTNS (1ULL << 37) /* Linux 7.1 */
#define WALK_FSCONFIG_CMD_CREATE 6

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size;
};

extern char **environ;

/* ---- the namespaces ---- */

enum { MNT, UTS, IPC, NET, PID, PID_FOR_CHILDREN, USER, CGROUP, TIME, TIME_FOR_CHILDREN, NS_LINKS };

static const struct ns_link {
	const char *name;
	uint64_t flag;
} ns_links[NS_LINKS] = {
	{ "mnt", CLONE_NEWNS },	   { "uts", CLONE_NEWUTS },
	{ "ipc", CLONE_NEWIPC },   { "net", CLONE_NEWNET },
	{ "pid", CLONE_NEWPID },   { "pid_for_children", CLONE_NEWPID },
	{ "user", CLONE_NEWUSER }, { "cgroup", CLONE_NEWCGROUP },
	{ "time", CLONE_NEWTIME }, { "time_for_children", CLONE_NEWTIME },
};

struct ns_set {
	uint64_t inum[NS_LINKS]; /* 0: not readable */
	uint64_t id[NS_LINKS]; /* 0: the kernel does not tell */
};

struct sight {
	int pid, tid; /* as /proc numbers them */
	struct ns_set own;
};

/*
 * Descriptors that every task of a walk has, over exec as well: so they are where they are for all. /proc is reached
 * through one of them, since a task may go where none is mounted.
 */
enum {
	PROC_FD = 98,
	BOOK_FD = 99,
	INITIAL_FD = 100, /* one for each link, of the task that began the walk */
	HOLDER_FD = 100 + NS_LINKS, /* and of a task with a new namespace of every type */
	INITIAL_PIDFD = 100 + 2 * NS_LINKS,
	HOLDER_PIDFD,
};

static bool have[NS_LINKS]; /* links that this kernel has */
static int kernel_ids; /* 0: the kernel tells no ids; 1: of mount namespaces; 2: of all */
static unsigned int patience = 120;

static void __attribute__((noreturn)) fatal(const char *what)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "walk: %s: %s\n", what, strerror(errno));

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(98);
	_exit(99);
}

/* ---- the book ---- */

struct line {
	size_t len;
	char text[8192];
};

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

static void add_ns(struct line *l, const char *name, const struct ns_set *set)
{
	const char *comma = "";

	add(l, ",\"%s\":{", name);
	for (int i = 0; i < NS_LINKS; i++) {
		if (!set->inum[i])
			continue;
		add(l, "%s\"%s\":[%llu,%llu]", comma, ns_links[i].name,
		    (unsigned long long)set->inum[i], (unsigned long long)set->id[i]);
		comma = ",";
	}
	add(l, "}");
}

static void line_begin(struct line *l, const char *op, const struct sight *who)
{
	l->len = 0;
	add(l, "{\"op\":\"%s\",\"pid\":%d,\"tid\":%d", op, who->pid, who->tid);
}

static void add_result(struct line *l, long ret, int error)
{
	add(l, ",\"ret\":%d", ret < 0 ? -1 : 0);
	if (ret < 0)
		add(l, ",\"errno\":%d", error);
}

static void line_end(struct line *l)
{
	add(l, "}\n");
	if (write(BOOK_FD, l->text, l->len) != (ssize_t)l->len)
		fatal("book");
}

/* ---- looking ---- */

/*
 * seen: what the task saw when it looked last. A link that is the same is the same namespace, for
 * that one was in use all the time: its id need not be asked for.
 */
static void read_link(const char *task, int link, struct ns_set *set, const struct ns_set *seen)
{
	char path[64], target[64];
	const char *bracket;
	ssize_t n;
	int fd;

	set->inum[link] = set->id[link] = 0;
	snprintf(path, sizeof(path), "%s/ns/%s", task, ns_links[link].name);
	n = readlinkat(PROC_FD, path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	bracket = strchr(target, '[');
	if (!bracket)
		return;
	set->inum[link] = strtoull(bracket + 1, NULL, 10);
	if (seen && seen->inum[link] == set->inum[link]) {
		set->id[link] = seen->id[link];
		return;
	}
	if (kernel_ids < (link == MNT ? 1 : 2))
		return;
	fd = openat(PROC_FD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fatal(path);
	if (ioctl(fd, kernel_ids == 2 ? NSIO_GET_ID : NSIO_GET_MNTNS_ID, &set->id[link]))
		fatal("the id of a namespace");
	close(fd);
}

static void read_ns(const char *task, struct ns_set *set, const struct ns_set *seen)
{
	for (int i = 0; i < NS_LINKS; i++)
		read_link(task, i, set, seen);
}

static void look(struct sight *s, struct ns_set *seen)
{
	char target[64];
	ssize_t n;

	memset(s, 0, sizeof(*s));
	n = readlinkat(PROC_FD, "thread-self", target, sizeof(target) - 1);
	if (n <= 0)
		fatal("/proc/thread-self");
	target[n] = '\0';
	if (sscanf(target, "%d/task/%d", &s->pid, &s->tid) != 2)
		fatal(target);
	read_ns("thread-self", &s->own, seen);
	if (seen)
		*seen = s->own;
}

static int open_own(int link)
{
	char path[64];

	snprintf(path, sizeof(path), "thread-self/ns/%s", ns_links[link].name);
	return openat(PROC_FD, path, O_RDONLY | O_CLOEXEC);
}

static void learn_kernel(void)
{
	uint64_t id;
	int fd = open_own(MNT);

	if (fd < 0)
		fatal("/proc/thread-self/ns/mnt");
	if (!ioctl(fd, NSIO_GET_ID, &id))
		kernel_ids = 2;
	else if (!ioctl(fd, NSIO_GET_MNTNS_ID, &id))
		kernel_ids = 1;
	close(fd);
	for (int i = 0; i < NS_LINKS; i++) {
		char path[64];

		snprintf(path, sizeof(path), "self/ns/%s", ns_links[i].name);
		have[i] = faccessat(PROC_FD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	}
	have[PID_FOR_CHILDREN] = true; /* may be empty at the moment */
}

/* ---- the wanderer ---- */

enum { POOL = 6, KEPT = 3, DEPTH = 3, USER_DEPTH = 6 };

struct walker {
	uint64_t random;
	unsigned int quota; /* transitions left */
	unsigned int depth; /* of processes */
	unsigned int user_depth; /* of user namespaces */
	unsigned int born; /* children so far */
	int code; /* exit code */
	struct ns_set seen; /* when it looked last */
	bool is_main; /* the main thread, while there are others */
	unsigned int pooled;
	struct {
		int fd, link;
	} pool[POOL]; /* namespaces where it was before */
	unsigned int kept;
	struct {
		int number, go;
		char token[40];
	} keep[KEPT]; /* first processes of its pid namespaces, which wait */
};

static bool threaded; /* there are other threads */

/*
 * What a new process differs from is the row of its creator's main thread. While that one moves, nobody creates a
 * process, so the book knows it.
 */
static pthread_rwlock_t row_lock;

static uint64_t next(struct walker *w)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15ULL; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static unsigned int pick(struct walker *w, unsigned int n)
{
	return (unsigned int)((next(w) >> 32) % n);
}

/* User namespaces are picked less often: in one of its own a task can no longer go back to the others. */
static int pick_link(struct walker *w)
{
	int link;

	do {
		link = (int)pick(w, NS_LINKS);
	} while (!have[link] || (link == USER && pick(w, 2)));
	return link;
}

static uint64_t pick_flags(struct walker *w)
{
	unsigned int n = pick(w, 12) ? 1 + pick(w, 3) : 12;
	uint64_t flags = 0;

	while (n--)
		flags |= ns_links[pick_link(w)].flag;
	if (w->user_depth >= USER_DEPTH)
		flags &= ~(uint64_t)CLONE_NEWUSER;
	return flags;
}

static void pool_put(struct walker *w, int link)
{
	int fd = open_own(link);
	unsigned int i = w->pooled;

	if (fd < 0)
		return;
	if (i == POOL) {
		i = pick(w, POOL);
		close(w->pool[i].fd);
	} else {
		w->pooled++;
	}
	w->pool[i].fd = fd;
	w->pool[i].link = link;
}

/* Root of the new namespace is root of the old one: else an exec would take the capabilities away. */
static void enter_user_ns(struct walker *w)
{
	int fd = openat(PROC_FD, "thread-self/uid_map", O_WRONLY | O_CLOEXEC);

	w->user_depth++;
	if (fd < 0)
		fatal("uid_map");
	if (write(fd, "0 0 1\n", 6) != 6 && errno != EPERM) /* EPERM: joined, and it has its map */
		fatal("uid_map");
	close(fd);
}

/* ---- programs ---- */

/* What a program that goes on with a walk must be told. */
static void save(const struct walker *w, const char *token, char *text, size_t size)
{
	int n = snprintf(text, size, "%s %llu %u %u %u %u %d %u", token,
			 (unsigned long long)w->random, w->quota, w->depth, w->user_depth, w->born,
			 w->code, w->kept);

	for (unsigned int i = 0; i < w->kept; i++)
		n += snprintf(text + n, size - (size_t)n, " %d %d %s", w->keep[i].number,
			      w->keep[i].go, w->keep[i].token);
	if ((size_t)n >= size)
		fatal("state");
}

static void restore(struct walker *w, char *token, const char *text)
{
	unsigned long long state;
	int n;

	memset(w, 0, sizeof(*w));
	if (sscanf(text, "%39s %llu %u %u %u %u %d %u%n", token, &state, &w->quota, &w->depth,
		   &w->user_depth, &w->born, &w->code, &w->kept, &n) != 8 ||
	    w->kept > KEPT)
		fatal("state");
	w->random = state;
	for (unsigned int i = 0; i < w->kept; i++) {
		text += n;
		if (sscanf(text, "%d %d %39s%n", &w->keep[i].number, &w->keep[i].go,
			   w->keep[i].token, &n) != 3)
			fatal("state");
		if (fcntl(w->keep[i].go, F_SETFD, FD_CLOEXEC))
			fatal("keep");
	}
}

static void book_exec(const char *path, const struct sight *s, bool step)
{
	struct line l;

	line_begin(&l, "exec", s);
	add(&l, ",\"step\":%d,\"path\":\"%s\"", step, path);
	add_ns(&l, "own", &s->own);
	line_end(&l);
}

/* An exec of `path`, by execveat() where fd is not negative; comes back only when it fails. */
static void do_exec(struct walker *w, int fd, const char *path, char *const argv[], bool step)
{
	struct sight s;
	struct line l;
	int error;

	look(&s, &w->seen);
	book_exec(path, &s, step);
	if (fd < 0)
		execve(path, argv, environ);
	else
		syscall(SYS_execveat, fd, path, argv, environ, 0);
	error = errno;
	line_begin(&l, "exec-failed", &s);
	add(&l, ",\"errno\":%d", error);
	line_end(&l);
}

/*
 * Does the path lead to this program? After setns() into the initial mount namespace of a VM on 6.18, / is a mount
 * below the one that the walk began on, and its /proc another machine's.
 */
static bool path_is_ours(void)
{
	struct stat ours, there;

	return fstatat(PROC_FD, "self/exe", &ours, 0) == 0 && stat("/proc/self/exe", &there) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* Goes on in a new program. */
static void exec_step(struct walker *w)
{
	char text[256];
	char *argv[] = { "walk", "--resume", text, NULL };
	bool by_fd = pick(w, 3) == 0 || !path_is_ours();

	for (unsigned int i = 0; i < w->kept; i++)
		if (fcntl(w->keep[i].go, F_SETFD, 0))
			fatal("keep");
	save(w, "-", text, sizeof(text));
	do_exec(w, by_fd ? PROC_FD : -1, by_fd ? "self/exe" : "/proc/self/exe", argv, true);
	fatal("exec");
}

/* ---- children ---- */

enum call { FORK, CLONE, CLONE3, VFORK, SPAWN };

static const char *const call_names[] = { "fork", "clone", "clone3", "vfork", "spawn" };

struct birth {
	enum call call;
	uint64_t flags;
	const pid_t *set_tid;
	void (*work)(struct walker *kid); /* without it the child waits until it may end */
	unsigned int quota;
	bool step;

	long ret;
	int error;
	int code;
	char token[40];
	struct sight creator, child;
	struct ns_set row;
	int go;
};

static void walk(struct walker *w);
static void walk_threads(struct walker *w);

static void read_all(int fd, void *data, size_t size)
{
	for (size_t n = 0; n < size;) {
		ssize_t r = read(fd, (char *)data + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			fatal("pipe");
		n += (size_t)r;
	}
}

static void make_kid(struct walker *kid, struct walker *w, const struct birth *b, uint64_t state)
{
	*kid = *w;
	kid->random = state;
	kid->quota = b->quota;
	kid->depth = w->depth + 1;
	kid->born = 0;
	kid->code = b->code;
	kid->is_main = false;
	kid->kept = 0;
}

static long raw_create(const struct birth *b)
{
	struct clone3_args args = { .flags = b->flags, .exit_signal = SIGCHLD };

	switch (b->call) {
	case CLONE3:
		if (b->set_tid) {
			args.set_tid = (uintptr_t)b->set_tid;
			args.set_tid_size = 1;
		}
		return syscall(SYS_clone3, &args, b->set_tid ? sizeof(args) : 64);
	case FORK:
#ifdef SYS_fork
		return syscall(SYS_fork);
#endif
	default:
		return syscall(SYS_clone, (unsigned long)(b->flags | SIGCHLD), 0UL, 0UL, 0UL, 0UL);
	}
}

static void create_copy(struct walker *w, struct birth *b, uint64_t state)
{
	int up[2], go[2];
	char byte;

	if (pipe2(up, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		fatal("pipe2");
	b->ret = raw_create(b);
	b->error = errno;
	if (b->ret == 0) {
		struct walker kid;

		threaded = false;
		alarm(patience);
		close(up[0]);
		close(go[1]);
		make_kid(&kid, w, b, state);
		if (b->flags & CLONE_NEWUSER)
			enter_user_ns(&kid);
		look(&b->child, &kid.seen);
		if (write(up[1], &b->child, sizeof(b->child)) != sizeof(b->child))
			_exit(97);
		close(up[1]);
		if (b->work)
			b->work(&kid);
		else
			read_all(go[0], &byte, 1);
		_exit(kid.code);
	}
	if (b->ret > 0)
		read_all(up[0], &b->child, sizeof(b->child));
	close(up[0]);
	close(up[1]);
	close(go[0]);
	b->go = go[1];
}

struct vfork_child {
	struct sight sight;
	char **argv;
};

static int vfork_main(void *argument)
{
	struct vfork_child *v = argument;
	const char *path = "/proc/self/exe";

	look(&v->sight, NULL);
	book_exec(path, &v->sight, false);
	execve(path, v->argv, environ);
	_exit(96);
}

/* The child is a program that goes on with the walk. */
static void create_program(struct walker *w, struct birth *b, uint64_t state)
{
	struct walker kid;
	char text[256];
	char *argv[] = { "walk", "--resume", text, NULL };

	make_kid(&kid, w, b, state);
	save(&kid, b->token, text, sizeof(text));
	if (b->call == SPAWN) {
		pid_t pid = 0;

		b->error = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
		b->ret = b->error ? -1 : pid;
	} else {
		const size_t size = 65536;
		struct vfork_child v = { .argv = argv };
		char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);

		if (stack == MAP_FAILED)
			fatal("mmap");
		b->ret = clone(vfork_main, stack + size,
			       (int)b->flags | CLONE_VM | CLONE_VFORK | SIGCHLD, &v);
		b->error = errno;
		b->child = v.sight;
		munmap(stack, size);
	}
}

static void book_birth(const struct birth *b)
{
	struct line l;

	line_begin(&l, "clone", &b->creator);
	add(&l, ",\"step\":%d,\"call\":\"%s\",\"flags\":%llu,\"token\":\"%s\"", b->step,
	    call_names[b->call], (unsigned long long)b->flags, b->token);
	add_result(&l, b->ret, b->error);
	add_ns(&l, "own", &b->creator.own);
	add_ns(&l, "row", &b->row);
	if (b->ret > 0) {
		add(&l, ",\"code\":%d", b->code);
		if (b->call != SPAWN) {
			add(&l, ",\"child\":%d", b->child.pid);
			add_ns(&l, "child_ns", &b->child.own);
		}
	}
	line_end(&l);
}

/* Creates a process. The caller books it, and ends it. */
static void create(struct walker *w, struct birth *b)
{
	uint64_t state = next(w);
	bool locked = threaded && !w->is_main;

	b->code =
		b->work == walk_threads ? 0 : (int)pick(w, 90); /* which thread ends last is open */
	if (locked)
		pthread_rwlock_rdlock(&row_lock);
	look(&b->creator, &w->seen);
	if (b->creator.pid == b->creator.tid)
		b->row = b->creator.own;
	else
		read_ns("self", &b->row, NULL);
	snprintf(b->token, sizeof(b->token), "%d.%d.%u", b->creator.pid, b->creator.tid, w->born++);
	if (b->call == VFORK || b->call == SPAWN)
		create_program(w, b, state);
	else
		create_copy(w, b, state);
	if (locked)
		pthread_rwlock_unlock(&row_lock);
}

static void await(const struct sight *who, pid_t pid, const char *token)
{
	struct line l;
	int status;

	while (waitpid(pid, &status, __WALL) != pid)
		if (errno != EINTR)
			fatal("waitpid");
	line_begin(&l, "end", who);
	add(&l, ",\"token\":\"%s\",\"status\":%d", token, status);
	line_end(&l);
}

static void let_go(int go)
{
	if (write(go, "g", 1) != 1)
		fatal("go");
	close(go);
}

static void end_kept(struct walker *w, unsigned int i)
{
	struct sight s;

	look(&s, &w->seen);
	let_go(w->keep[i].go);
	await(&s, w->keep[i].number, w->keep[i].token);
	w->keep[i] = w->keep[--w->kept];
}

/* A child, and waits for its end. */
static void create_and_wait(struct walker *w, struct birth *b)
{
	create(w, b);
	book_birth(b);
	if (b->call != VFORK && b->call != SPAWN)
		close(b->go);
	if (b->ret > 0)
		await(&b->creator, (pid_t)b->ret, b->token);
}

/*
 * The first process of a new pid namespace. Only while there is (or was) one can the namespace be read: so what the
 * link is after an unshare() is known only now.
 */
static void create_first(struct walker *w, struct birth *b)
{
	if (w->kept == KEPT)
		end_kept(w, pick(w, KEPT));
	create(w, b);
	if (b->ret < 0) {
		errno = b->error;
		fatal("the first process of a pid namespace");
	}
	read_link("thread-self", PID_FOR_CHILDREN, &b->creator.own, NULL);
	if (b->creator.pid == b->creator.tid)
		b->row = b->creator.own;
	w->keep[w->kept].number = (int)b->ret;
	w->keep[w->kept].go = b->go;
	memcpy(w->keep[w->kept].token, b->token, sizeof(b->token));
	w->kept++;
}

static void create_step(struct walker *w)
{
	static const enum call calls[] = { FORK,   FORK,   CLONE,  CLONE, CLONE,
					   CLONE3, CLONE3, CLONE3, VFORK, SPAWN };
	struct birth b = { .call = calls[pick(w, ARRAY_SIZE(calls))], .work = walk, .step = true };

	if ((b.call == VFORK || b.call == SPAWN) && !path_is_ours())
		b.call = FORK; /* these exec by the path alone */
	if (b.call == CLONE || b.call == CLONE3)
		b.flags = pick_flags(w);
	if (b.call == CLONE)
		b.flags &= ~(uint64_t)CLONE_NEWTIME; /* that bit belongs to the signal there */
	if ((b.call == CLONE || b.call == CLONE3) && pick(w, 4) == 0)
		b.flags |= pick(w, 2) ? CLONE_FS
				      : CLONE_SYSVSEM; /* not with mnt and user, and not with ipc */
	if (b.call == VFORK && pick(w, 2))
		b.flags = CLONE_NEWUTS | (pick(w, 2) ? CLONE_NEWNET : 0);
	if (w->depth < DEPTH && pick(w, 2)) {
		b.quota = pick(w, 6);
		if (b.quota > w->quota)
			b.quota = w->quota;
	}
	create_and_wait(w, &b);
	if (b.ret > 0)
		w->quota -= b.quota;
}

/* ---- changing one's own namespaces ---- */

static void changed(struct walker *w, const struct sight *before, const struct sight *after)
{
	for (int i = 0; i < NS_LINKS; i++) {
		if (before->own.inum[i] == after->own.inum[i] || !after->own.inum[i])
			continue;
		if (i == USER)
			enter_user_ns(w);
		if (pick(w, 3) == 0)
			pool_put(w, i);
	}
}

static void do_unshare(struct walker *w, uint64_t flags)
{
	struct sight before, after;
	struct birth first = { .call = FORK };
	struct line l;
	long ret;
	int error;

	look(&before, &w->seen);
	ret = syscall(SYS_unshare, (unsigned long)flags);
	error = errno;
	if (ret == 0 && flags & CLONE_NEWPID)
		create_first(w, &first);
	look(&after, &w->seen);
	line_begin(&l, "unshare", &before);
	add(&l, ",\"step\":1,\"flags\":%llu", (unsigned long long)flags);
	add_result(&l, ret, error);
	add_ns(&l, "own", &before.own);
	add_ns(&l, "after", &after.own);
	line_end(&l);
	if (ret == 0 && flags & CLONE_NEWPID)
		book_birth(&first);
	changed(w, &before, &after);
}

static void do_setns(struct walker *w, int fd, uint64_t flags, const char *of)
{
	struct sight before, after;
	struct line l;
	long ret;
	int error;

	look(&before, &w->seen);
	ret = syscall(SYS_setns, fd, (int)flags);
	error = errno;
	look(&after, &w->seen);
	line_begin(&l, "setns", &before);
	add(&l, ",\"step\":1,\"flags\":%llu,\"of\":\"%s\"", (unsigned long long)flags, of);
	add_result(&l, ret, error);
	add_ns(&l, "own", &before.own);
	add_ns(&l, "after", &after.own);
	line_end(&l);
	changed(w, &before, &after);
}

static void unshare_step(struct walker *w)
{
	uint64_t flags = pick_flags(w);

	if (pick(w, 8) == 0)
		flags |= pick(w, 2) ? CLONE_FS : CLONE_FILES;
	do_unshare(w, flags);
}

static void setns_step(struct walker *w)
{
	unsigned int where = pick(w, 100);
	int link = pick_link(w);
	const char *of;
	int fd;

	if (where < 40) {
		fd = HOLDER_FD + link;
		of = "holder";
	} else if (where < 65) {
		fd = INITIAL_FD + link;
		of = "initial";
	} else if (where < 85 && w->pooled) {
		unsigned int i = pick(w, w->pooled);

		fd = w->pool[i].fd;
		link = w->pool[i].link;
		of = "pool";
	} else {
		fd = open_own(link);
		of = "own";
	}
	do_setns(w, fd, pick(w, 2) ? ns_links[link].flag : 0, of);
	if (*of == 'o' && fd >= 0)
		close(fd);
}

static void pidfd_step(struct walker *w)
{
	unsigned int who = pick(w, 10);
	uint64_t flags = pick_flags(w);
	const char *of = "pidfd-self";
	int fd;

	/*
	 * With mnt among others setns() moves root and working directory of every task that shares them, although it is
	 * refused with mnt alone. Theirs would be in a tree of mounts that may go away, and no program be found there.
	 */
	if (flags & CLONE_NEWNS && syscall(SYS_unshare, CLONE_FS))
		fatal("unshare");
	if (who < 5) {
		do_setns(w, HOLDER_PIDFD, flags, "pidfd-holder");
		return;
	}
	if (who < 7) {
		do_setns(w, INITIAL_PIDFD, flags, "pidfd-initial");
		return;
	}
	if (who < 8 && w->kept) {
		fd = (int)syscall(SYS_pidfd_open, w->keep[pick(w, w->kept)].number, 0);
		of = "pidfd-child";
	} else {
		fd = (int)syscall(SYS_pidfd_open, syscall(SYS_getpid), 0);
	}
	do_setns(w, fd, flags, of);
	close(fd);
}

/* What cannot succeed. */
static void failing_step(struct walker *w)
{
	static const pid_t taken[] = { 1 };
	struct birth b = { .call = CLONE, .work = walk, .step = true };
	char *argv[] = { "nothing", NULL };

	switch (pick(w, 12)) {
	case 0:
		do_unshare(w, CLONE_NEWUTS | CLONE_PARENT);
		break;
	case 1:
		do_unshare(w, CLONE_NEWUTS | CLONE_NEWNET | 1);
		break;
	case 2:
		do_setns(w, -1, 0, "nothing");
		break;
	case 3:
		do_setns(w, BOOK_FD, CLONE_NEWUTS, "a file");
		break;
	case 4:
		do_setns(w, HOLDER_FD + UTS, CLONE_NEWNET, "holder");
		break;
	case 5:
		do_setns(w, HOLDER_PIDFD, 0, "pidfd-holder");
		break;
	case 6:
		do_setns(w, HOLDER_PIDFD, CLONE_NEWUTS | CLONE_FS, "pidfd-holder");
		break;
	case 7:
		b.flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_FS;
		create_and_wait(w, &b);
		break;
	case 8:
		b.flags = CLONE_NEWUTS | CLONE_THREAD;
		create_and_wait(w, &b);
		break;
	case 9:
		/* The namespaces are made, and then there is no pid for the child. */
		b.call = CLONE3;
		b.flags = (pick_flags(w) & ~(uint64_t)CLONE_NEWPID) | CLONE_NEWUTS;
		b.set_tid = taken;
		create_and_wait(w, &b);
		break;
	case 10:
		do_exec(w, -1, "/nonexistent/program", argv, true);
		break;
	default:
		do_exec(w, -1, "/", argv, true);
		break;
	}
}

static void step(struct walker *w)
{
	unsigned int what = pick(w, 100);

	w->quota--;
	if (w->kept && pick(w, 16) == 0)
		end_kept(w, pick(w, w->kept));
	if (what < 32)
		unshare_step(w);
	else if (what < 57)
		setns_step(w);
	else if (what < 67)
		pidfd_step(w);
	else if (what < 75 && !threaded)
		exec_step(w);
	else if (what < 92)
		create_step(w);
	else
		failing_step(w);
}

static void walk(struct walker *w)
{
	while (w->quota) {
		if (threaded && w->is_main)
			pthread_rwlock_wrlock(&row_lock);
		step(w);
		if (threaded && w->is_main)
			pthread_rwlock_unlock(&row_lock);
	}
	while (w->kept)
		end_kept(w, 0);
}

/* ---- threads ---- */

enum { MAX_THREADS = 64 };

static unsigned int threads;

struct thread {
	struct walker walker;
	struct sight creator;
	pthread_t handle;
};

static void *thread_main(void *argument)
{
	struct thread *t = argument;
	struct sight s;
	struct line l;

	look(&s, &t->walker.seen);
	line_begin(&l, "thread", &s);
	add(&l, ",\"ptid\":%d", t->creator.tid);
	add_ns(&l, "creator", &t->creator.own);
	add_ns(&l, "own", &s.own);
	line_end(&l);
	walk(&t->walker);
	return NULL;
}

/* EAGAIN passes: seen on 5.10, rarely, in the midst of many births and ends. */
static void create_thread(struct thread *t)
{
	const struct timespec while_it_passes = { .tv_nsec = 1000000 };

	for (int tries = 0; tries < 1000; tries++) {
		errno = pthread_create(&t->handle, NULL, thread_main, t);
		if (!errno)
			return;
		if (errno != EAGAIN)
			break;
		nanosleep(&while_it_passes, NULL);
	}
	fatal("pthread_create");
}

/* A process whose threads walk each on its own. */
static void walk_threads(struct walker *w)
{
	static struct thread t[MAX_THREADS];
	pthread_rwlockattr_t attr;
	unsigned int share = w->quota / (threads + 1);

	/* They begin where the main thread has gone. Not with pid: such a task cannot create threads. */
	w->quota -= share * threads;
	for (unsigned int n = pick(w, 3); n && w->quota; n--) {
		w->quota--;
		do_unshare(w, pick_flags(w) & ~(uint64_t)(CLONE_NEWPID | CLONE_NEWTIME));
	}
	if (pthread_rwlockattr_init(&attr) ||
	    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) ||
	    pthread_rwlock_init(&row_lock, &attr))
		fatal("rwlock");
	threaded = true;
	for (unsigned int i = 0; i < threads; i++) {
		t[i].walker = *w;
		t[i].walker.random = next(w);
		t[i].walker.quota = share;
		t[i].walker.pooled = 0;
		look(&t[i].creator, &w->seen);
		create_thread(&t[i]);
	}
	w->is_main = true;
	walk(w);
	for (unsigned int i = 0; i < threads; i++) {
		errno = pthread_join(t[i].handle, NULL);
		if (errno)
			fatal("pthread_join");
	}
	threaded = false;
}

/* ---- the newest kernels' own ways into a mount namespace ---- */

static void newest_unshare(struct walker *w)
{
	do_unshare(w, WALK_UNSHARE_EMPTY_MNTNS);
	do_unshare(w, WALK_UNSHARE_EMPTY_MNTNS | CLONE_NEWUTS);
	do_unshare(w, WALK_UNSHARE_EMPTY_MNTNS | CLONE_NEWNS | CLONE_NEWIPC);
}

static void newest_clone(struct walker *w)
{
	static const uint64_t more[] = { 0, CLONE_NEWUTS,
					 CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID };

	for (unsigned int i = 0; i < ARRAY_SIZE(more); i++) {
		struct birth b = { .call = CLONE3,
				   .flags = WALK_CLONE_EMPTY_MNTNS | more[i],
				   .work = walk,
				   .step = true };

		create_and_wait(w, &b);
	}
}

static void join_and_leave(struct walker *w, int fd)
{
	do_setns(w, fd, CLONE_NEWNS, "new");
	do_setns(w, fd, 0, "own");
	do_setns(w, INITIAL_FD + MNT, 0, "initial");
}

/* Nobody is in the new namespace until setns(); the call that made it failed where setns() says EBADF. */
static void newest_open_tree(struct walker *w)
{
	join_and_leave(w, (int)syscall(SYS_open_tree, AT_FDCWD, "/",
				       WALK_OPEN_TREE_NAMESPACE | O_CLOEXEC));
	join_and_leave(w, (int)syscall(SYS_open_tree, AT_FDCWD, "/",
				       WALK_OPEN_TREE_NAMESPACE | O_CLOEXEC | AT_RECURSIVE));
}

static void newest_fsmount(struct walker *w)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", 1);

	if (fs < 0 || syscall(SYS_fsconfig, fs, WALK_FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		fatal("fsopen");
	join_and_leave(w, (int)syscall(SYS_fsmount, fs, WALK_FSMOUNT_NAMESPACE | 1, 0));
}

static const struct {
	const char *name;
	void (*work)(struct walker *w);
} newest[] = {
	{ "unshare", newest_unshare },
	{ "clone", newest_clone },
	{ "open_tree", newest_open_tree },
	{ "fsmount", newest_fsmount },
};

/* ---- the whole ---- */

static void place(int fd, int number)
{
	if (fd < 0 || dup3(fd, number, 0) < 0)
		fatal("a descriptor");
	close(fd);
}

static void place_namespaces(const char *task, int first)
{
	for (int i = 0; i < NS_LINKS; i++) {
		char path[64];

		if (!have[i])
			continue;
		snprintf(path, sizeof(path), "%s/ns/%s", task, ns_links[i].name);
		place(openat(PROC_FD, path, O_RDONLY | O_CLOEXEC), first + i);
	}
}

static void start(const char *book)
{
	if (book)
		place(open(book, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), BOOK_FD);
	if (book)
		place(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), PROC_FD);
	learn_kernel();
	alarm(patience);
}

static int resume(const char *text)
{
	struct walker w;
	struct sight s;
	struct line l;
	char token[40];

	start(NULL);
	restore(&w, token, text);
	look(&s, &w.seen);
	line_begin(&l, "report", &s);
	add(&l, ",\"token\":\"%s\"", token);
	add_ns(&l, "own", &s.own);
	line_end(&l);
	walk(&w);
	return w.code;
}

static int usage(void)
{
	fputs("Usage: walk --book FILE [--seed N] [--steps N] [--threads N]\n"
	      "       walk --book FILE --newest unshare|clone|open_tree|fsmount\n",
	      stderr);
	return 2;
}

int main(int argc, char *argv[])
{
	const char *book = NULL, *slow = getenv("NSMON_TEST_SLOW"), *only = NULL;
	unsigned long long seed = 1;
	unsigned int steps = 1000;
	struct walker w = { 0 };
	struct birth holder = { .call = CLONE3 };
	struct sight s;
	struct line l;

	if (slow && atoi(slow) > 0)
		patience *= (unsigned int)atoi(slow);
	if (argc == 3 && !strcmp(argv[1], "--resume"))
		return resume(argv[2]);
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return usage();
		if (!strcmp(argv[i], "--book"))
			book = argv[i + 1];
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--steps"))
			steps = (unsigned int)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--threads"))
			threads = (unsigned int)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--newest"))
			only = argv[i + 1];
		else
			return usage();
	}
	if (!book || threads > MAX_THREADS)
		return usage();
	start(book);
	w.random = seed;
	look(&s, &w.seen);
	line_begin(&l, "begin", &s);
	add(&l, ",\"seed\":%llu,\"steps\":%u,\"threads\":%u", seed, steps, threads);
	add_ns(&l, "own", &s.own);
	line_end(&l);
	place_namespaces("self", INITIAL_FD);
	if (only) {
		for (unsigned int i = 0; i < ARRAY_SIZE(newest); i++) {
			struct birth b = { .call = FORK, .work = newest[i].work };

			if (!strcmp(newest[i].name, only)) {
				create_and_wait(&w, &b);
				return 0;
			}
		}
		return usage();
	}
	place((int)syscall(SYS_pidfd_open, getpid(), 0), INITIAL_PIDFD);
	for (int i = 0; i < NS_LINKS; i++)
		if (have[i])
			holder.flags |= ns_links[i].flag;
	create(&w, &holder);
	if (holder.ret < 0) {
		errno = holder.error;
		fatal("holder");
	}
	book_birth(&holder);
	place((int)syscall(SYS_pidfd_open, (pid_t)holder.ret, 0), HOLDER_PIDFD);
	{
		char path[16];

		snprintf(path, sizeof(path), "%d", holder.child.pid);
		place_namespaces(path, HOLDER_FD);
	}
	while (steps) {
		struct birth b = { .call = FORK, .work = threads ? walk_threads : walk };

		b.quota = threads ? (threads + 1) * (6 + pick(&w, 12)) : 8 + pick(&w, 32);
		if (b.quota > steps)
			b.quota = steps;
		steps -= b.quota;
		create_and_wait(&w, &b);
		alarm(patience);
	}
	let_go(holder.go);
	await(&s, (pid_t)holder.ret, holder.token);
	return 0;
}
