// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * workload KIND OPERATIONS [NAME [PROGRAM [RATE]]]: prints a line when it is ready, waits for a line
 * on standard input, does OPERATIONS of one kind as fast as it can, and prints one line of JSON:
 *
 *   {"workload":"fork","operations":1000,"ns":52000000,"fork":1000,"exec":0,"exit":1000,"ns_records":0,...}
 *
 * ns is the loop by CLOCK_MONOTONIC. fork, exec, exit and ns_records are the records that an exact
 * tracer has to deliver of the tasks called NAME, which is this one's name in the loop alone, and the
 * name of PROGRAM, the tiny program for exec. RATE is operations a second, in place of as fast as it can.
 * Knows no tracer.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))
/* Those that setns() enters together. */
#define SET (CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)
#define SEVERAL (CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP)

static const char *program; /* what exec starts */
static int namespaces[2];
static uint64_t *stamps; /* of "paced" */
static pid_t *children; /* of "sleepers" */

__attribute__((noreturn)) static void fatal(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void await(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) != pid)
		if (errno != EINTR)
			fatal("waitpid");
	if (status)
		fatal("a child failed");
}

static void do_fork(uint64_t i)
{
	pid_t pid = fork();

	(void)i;
	if (pid < 0)
		fatal("fork");
	if (pid == 0)
		_exit(0);
	await(pid);
}

static void do_exec(uint64_t i)
{
	char *argv[] = { "tiny", NULL }, *environment[] = { NULL };
	pid_t pid = fork();

	(void)i;
	if (pid < 0)
		fatal("fork");
	if (pid == 0) {
		execve(program, argv, environment);
		_exit(127);
	}
	await(pid);
}

static void *end_at_once(void *argument)
{
	return argument;
}

static void do_thread(uint64_t i)
{
	pthread_t thread;

	(void)i;
	errno = pthread_create(&thread, NULL, end_at_once, NULL);
	if (errno)
		fatal("pthread_create");
	pthread_join(thread, NULL);
}

static int end_child(void *argument)
{
	(void)argument;
	syscall(SYS_exit_group, 0);
	return 0;
}

/* Sharing memory, a child is made several times as fast. */
static void spawn(unsigned long flags)
{
	static char stack[16384] __attribute__((aligned(16)));
	pid_t pid = clone(end_child, stack + sizeof(stack),
			  (int)(flags | CLONE_VM | CLONE_VFORK | SIGCHLD), NULL);

	if (pid < 0)
		fatal("clone");
	await(pid);
}

static void do_spawn(uint64_t i)
{
	(void)i;
	spawn(0);
}

static void do_clone(uint64_t i)
{
	(void)i;
	spawn(SEVERAL);
}

static void do_unshare(uint64_t i)
{
	(void)i;
	if (unshare(CLONE_NEWUTS))
		fatal("unshare");
}

/* Two that differ, and this task in the second. */
static void prepare_setns(uint64_t operations)
{
	(void)operations;
	for (unsigned int i = 0; i < ARRAY_SIZE(namespaces); i++) {
		do_unshare(i);
		namespaces[i] = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
		if (namespaces[i] < 0)
			fatal("/proc/self/ns/uts");
	}
}

/* Two processes with several namespaces of their own; they end with this one. */
static void prepare_sets(uint64_t operations)
{
	(void)operations;
	for (unsigned int i = 0; i < ARRAY_SIZE(namespaces); i++) {
		int made[2];
		pid_t pid;
		char byte;

		if (pipe(made))
			fatal("pipe");
		pid = fork();
		if (pid < 0)
			fatal("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (unshare(SET))
				fatal("unshare");
			if (write(made[1], "", 1) != 1)
				fatal("write");
			for (;;)
				pause();
		}
		close(made[1]);
		if (read(made[0], &byte, 1) != 1)
			fatal("a namespace of each type");
		close(made[0]);
		namespaces[i] = (int)syscall(SYS_pidfd_open, pid, 0);
		if (namespaces[i] < 0)
			fatal("pidfd_open");
	}
	if (setns(namespaces[1], SET))
		fatal("setns");
}

static void do_sets(uint64_t i)
{
	if (setns(namespaces[i % ARRAY_SIZE(namespaces)], SET))
		fatal("setns");
}

static void do_setns(uint64_t i)
{
	if (setns(namespaces[i % ARRAY_SIZE(namespaces)], CLONE_NEWUTS))
		fatal("setns");
}

/* What the loop itself costs, and how much more a known number of instructions does. */
static void do_nothing(uint64_t i)
{
	(void)i;
}

static void do_nops(uint64_t i)
{
	(void)i;
	__asm__ volatile(".rept 1000\n\tnop\n\t.endr");
}

static void do_getppid(uint64_t i)
{
	(void)i;
	syscall(SYS_getppid);
}

static void prepare_paced(uint64_t operations)
{
	stamps = calloc(operations, sizeof(*stamps));
	if (!stamps)
		fatal("memory");
}

/* At times that no timer of a tracer keeps step with: 5 to 21 ms apart. */
static void do_paced(uint64_t i)
{
	struct timespec pause = { .tv_nsec = (long)(5000000 + i * 7919 * 1009 % 16000000) };

	nanosleep(&pause, NULL);
	stamps[i] = now_ns();
	do_unshare(i);
}

static void prepare_sleepers(uint64_t operations)
{
	children = calloc(operations, sizeof(*children));
	if (!children)
		fatal("memory");
	for (uint64_t i = 0; i < operations; i++) {
		children[i] = fork();
		if (children[i] < 0) {
			for (; i > 0; i--)
				kill(children[i - 1], SIGKILL);
			fatal("fork");
		}
		if (children[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(STDIN_FILENO);
			close(STDOUT_FILENO);
			for (;;)
				pause();
		}
	}
}

static void do_sleepers(uint64_t i)
{
	kill(children[i], SIGKILL);
	while (waitpid(children[i], NULL, 0) < 0 && errno == EINTR)
		;
}

/* The numbers are records of each operation. */
static const struct kind {
	const char *name;
	void (*prepare)(uint64_t operations);
	void (*work)(uint64_t i);
	unsigned int fork, exec, exit, ns;
	bool threads; /* fork and exit are of threads */
} kinds[] = {
	{ "fork", NULL, do_fork, 1, 0, 1, 0, false },
	{ "exec", NULL, do_exec, 1, 1, 1, 0, false },
	{ "threads", NULL, do_thread, 1, 0, 1, 0, true },
	{ "spawn", NULL, do_spawn, 1, 0, 1, 0, false },
	{ "clone", NULL, do_clone, 1, 0, 1, 5, false }, /* a pid namespace is two types */
	{ "unshare", NULL, do_unshare, 0, 0, 0, 1, false },
	{ "setns", prepare_setns, do_setns, 0, 0, 0, 1, false },
	{ "sets", prepare_sets, do_sets, 0, 0, 0, 4, false },
	{ "getppid", NULL, do_getppid, 0, 0, 0, 0, false },
	{ "nothing", NULL, do_nothing, 0, 0, 0, 0, false },
	{ "nops", NULL, do_nops, 0, 0, 0, 0, false },
	{ "paced", prepare_paced, do_paced, 0, 0, 0, 1, false },
	{ "sleepers", prepare_sleepers, do_sleepers, 0, 0, 0, 0, false },
};

static uint64_t cpu_us(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Nanoseconds for which this task could have run and did not; 0 where the kernel does not tell. */
static uint64_t waited_ns(void)
{
	FILE *file = fopen("/proc/self/schedstat", "re");
	uint64_t waited = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%*u %" SCNu64, &waited) != 1)
		waited = 0;
	fclose(file);
	return waited;
}

static void loop(const struct kind *kind, uint64_t operations, uint64_t rate)
{
	uint64_t begin = now_ns();

	for (uint64_t i = 0; i < operations; i++) {
		if (rate && i % 16 == 0)
			while ((now_ns() - begin) < i * 1000000000 / rate)
				;
		kind->work(i);
	}
}

static void report(const struct kind *kind, uint64_t operations, uint64_t ns, uint64_t cpu,
		   uint64_t waited)
{
	printf("{\"workload\":\"%s\",\"operations\":%" PRIu64 ",\"ns\":%" PRIu64
	       ",\"fork\":%" PRIu64 ",\"exec\":%" PRIu64 ",\"exit\":%" PRIu64
	       ",\"ns_records\":%" PRIu64 ",\"threads\":%s,\"cpu_us\":%" PRIu64
	       ",\"waited_ns\":%" PRIu64,
	       kind->name, operations, ns, kind->fork * operations, kind->exec * operations,
	       kind->exit * operations, kind->ns * operations, kind->threads ? "true" : "false",
	       cpu, waited);
	for (uint64_t i = 0; stamps && i < operations; i++)
		printf("%s%" PRIu64, i ? "," : ",\"stamps\":[", stamps[i]);
	puts(stamps ? "]}" : "}");
	fflush(stdout);
}

static const struct kind *find_kind(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end || end == text) {
		errno = EINVAL;
		fatal(text);
	}
	return value;
}

int main(int argc, char *argv[])
{
	const struct kind *kind = argc >= 3 ? find_kind(argv[1]) : NULL;
	uint64_t operations, begin, ns, cpu, waited, rate;
	char line[16];

	if (!kind || argc > 6) {
		fputs("usage: workload KIND OPERATIONS [NAME [PROGRAM [RATE]]]\n", stderr);
		return 2;
	}
	operations = number(argv[2]);
	program = argc > 4 ? argv[4] : "";
	rate = argc > 5 ? number(argv[5]) : 0;
	if (kind->prepare)
		kind->prepare(operations);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin) && kind->work != do_sleepers)
		return 1;
	if (argc > 3)
		prctl(PR_SET_NAME, argv[3]);
	cpu = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN);
	waited = waited_ns();
	begin = now_ns();
	loop(kind, operations, rate);
	ns = now_ns() - begin;
	cpu = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN) - cpu;
	waited = waited_ns() - waited;
	prctl(PR_SET_NAME, "workload");
	report(kind, operations, ns, cpu, waited);
	while (fgets(line, sizeof(line), stdin))
		; /* until the runner has looked at who traces this */
	return 0;
}
