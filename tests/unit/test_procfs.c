// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* procfs.c on processes of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "procfs.h"

#define NS_PER_S 1000000000ULL

static struct procfs procfs;
static pid_t child;

static int set_up(void **state)
{
	(void)state;
	procfs_open(&procfs, 0);
	child = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	procfs_close(&procfs);
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	return 0;
}

/* As the kernel has it, to a clock tick: from /proc, read in another way than procfs.c does. */
static uint64_t start_of(pid_t pid)
{
	unsigned long long ticks = 0;
	char path[64], text[1024] = "";
	FILE *file;
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	at = strrchr(text, ')');
	assert_non_null(at);
	assert_int_equal(sscanf(at,
				") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
				"%*d %*d %*d %llu",
				&ticks),
			 1);
	return ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* Runs argv as a child that waits on a pipe; returns once it has execed. */
static void start(const char *path, char *const *argv)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(path, argv);
		_exit(127);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0); /* closed by the exec */
	close(ready[0]);
}

static void knows_nothing(void)
{
	assert_int_equal(procfs.exe_len, 0);
	assert_int_equal(procfs.args_len, 0);
	assert_false(procfs.has_args);
	assert_false(procfs.truncated);
}

static void has_args(const char *args, size_t len)
{
	assert_true(procfs.has_args);
	assert_int_equal(procfs.args_len, len);
	assert_memory_equal(procfs.args, args, len);
}

static void test_itself(void **state)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe));

	(void)state;
	assert_true(procfs.fd >= 0);
	assert_true(fcntl(procfs.fd, F_GETFD) & FD_CLOEXEC);
	procfs_read(&procfs, (uint32_t)getpid(), (uint32_t)getpid(), start_of(getpid()));
	assert_int_equal(procfs.exe_len, len);
	assert_memory_equal(procfs.exe, exe, (size_t)len);
	assert_true(procfs.has_args && procfs.args_len > 0);
	assert_false(procfs.truncated);
}

static void test_child(void **state)
{
	char *argv[] = { "sleep", "100", NULL };
	char exe[PATH_MAX];

	(void)state;
	start("/bin/sleep", argv);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	assert_non_null(realpath("/bin/sleep", exe));
	assert_int_equal(procfs.exe_len, strlen(exe));
	assert_memory_equal(procfs.exe, exe, strlen(exe));
	has_args("sleep\000100", 10);
	assert_false(procfs.truncated);
	/* Within the clock tick, which is what /proc tells. */
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child) + 1);
	assert_true(procfs.has_args);
}

static void test_hostile_arguments(void **state)
{
	static const char expected[] =
		"\n) R 1 \"\0-c\0while :; do sleep 1; done\0\0\xff\xfe\033[2J";
	char *argv[] = { "\n) R 1 \"",	    "-c", "while :; do sleep 1; done", "",
			 "\xff\xfe\033[2J", NULL };

	(void)state;
	start("/bin/sh", argv);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	has_args(expected, sizeof(expected));
}

/* The name in /proc/PID/stat is the process's own to choose. */
static void test_hostile_name(void **state)
{
	int ready[2];
	char byte;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_NAME, ") R 1 1 1 (x) ");
		close(ready[1]);
		close(ready[0]);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	assert_true(procfs.has_args);
	assert_true(procfs.exe_len > 0);
}

static void test_long_arguments(void **state)
{
	static char large[NSMON_TEXT_MAX + 100];
	char *argv[] = { "sh", "-c", "while :; do sleep 1; done", large, NULL };
	const size_t before = strlen(argv[0]) + strlen(argv[1]) + strlen(argv[2]) + 3;

	(void)state;
	memset(large, 'x', NSMON_TEXT_MAX - before - 1); /* just what fits, with its NUL */
	start("/bin/sh", argv);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	assert_int_equal(procfs.args_len, NSMON_TEXT_MAX);
	assert_int_equal(procfs.args[NSMON_TEXT_MAX - 1], 0);
	assert_false(procfs.truncated);
	tear_down(NULL);
	procfs_open(&procfs, 0);
	memset(large, 'x', NSMON_TEXT_MAX - before);
	start("/bin/sh", argv);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	assert_int_equal(procfs.args_len, NSMON_TEXT_MAX);
	assert_int_equal(procfs.args[NSMON_TEXT_MAX - 1], 'x');
	assert_true(procfs.truncated);
}

static void test_deleted_program(void **state)
{
	char folder[] = "/tmp/nsmon-test-XXXXXX";
	char *argv[] = { "gone", "100", NULL };
	char path[64], command[160], expected[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/go\nne", folder);
	snprintf(command, sizeof(command), "cp -L /bin/sleep '%s'", path);
	assert_int_equal(system(command), 0);
	start(path, argv);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	snprintf(expected, sizeof(expected), "%s (deleted)", path);
	assert_int_equal(procfs.exe_len, strlen(expected));
	assert_memory_equal(procfs.exe, expected, strlen(expected));
	has_args("gone\000100", 9);
}

/* A number that is another process's by now, or nobody's. */
static void test_another_process(void **state)
{
	char *argv[] = { "sleep", "100", NULL };
	const uint64_t tick = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t began;
	pid_t pid;

	(void)state;
	start("/bin/sleep", argv);
	began = start_of(child);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, began);
	assert_true(procfs.has_args);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, began + tick);
	knows_nothing();
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, began - tick);
	knows_nothing();
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, 0);
	knows_nothing();
	pid = child;
	tear_down(NULL);
	procfs_open(&procfs, 0);
	child = 0;
	procfs_read(&procfs, (uint32_t)pid, (uint32_t)pid, began);
	knows_nothing();
	procfs_read(&procfs, 0, 0, 0);
	knows_nothing();
	procfs_read(&procfs, UINT32_MAX, UINT32_MAX, UINT64_MAX);
	knows_nothing();
}

/* A zombie has no program and no arguments any more. */
static void test_zombie(void **state)
{
	siginfo_t info;

	(void)state;
	child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	procfs_read(&procfs, (uint32_t)child, (uint32_t)child, start_of(child));
	assert_int_equal(procfs.exe_len, 0);
	assert_int_equal(procfs.args_len, 0);
}

/* proc(5) tells times by our own clock, records by the kernel's. */
static void test_time_namespace(void **state)
{
	const int64_t offset = 86400 * (int64_t)NS_PER_S;
	const uint64_t began = start_of(getpid());

	(void)state;
	procfs_close(&procfs);
	procfs_open(&procfs, -offset);
	procfs_read(&procfs, (uint32_t)getpid(), (uint32_t)getpid(), began);
	knows_nothing();
	procfs_read(&procfs, (uint32_t)getpid(), (uint32_t)getpid(), began + (uint64_t)offset);
	assert_true(procfs.has_args);
}

static void test_closed(void **state)
{
	(void)state;
	procfs_close(&procfs);
	procfs_read(&procfs, (uint32_t)getpid(), (uint32_t)getpid(), start_of(getpid()));
	knows_nothing();
	procfs_close(&procfs);
}

/* In a pid namespace of its own, with the /proc of another one: it must not be believed. */
static int with_other_proc(void)
{
	pid_t pid;
	int status;

	if (unshare(CLONE_NEWPID))
		return 77;
	pid = fork();
	if (pid == 0) {
		struct procfs other;

		procfs_open(&other, 0);
		if (other.fd >= 0)
			_exit(1);
		procfs_read(&other, 1, 1, 0);
		_exit(other.has_args || other.exe_len ? 2 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 3;
	return WEXITSTATUS(status);
}

/* ... and without any. */
static int without_proc(void)
{
	struct procfs other;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    umount2("/proc", MNT_DETACH))
		return 77;
	procfs_open(&other, 0);
	return other.fd >= 0;
}

static void run_apart(int (*function)(void))
{
	int status;

	child = fork();
	if (child == 0)
		_exit(function());
	assert_int_equal(waitpid(child, &status, 0), child);
	child = 0;
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_other_pid_namespace(void **state)
{
	(void)state;
	run_apart(with_other_proc);
}

static void test_no_proc(void **state)
{
	(void)state;
	run_apart(without_proc);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_itself),
		TEST(test_child),
		TEST(test_hostile_arguments),
		TEST(test_hostile_name),
		TEST(test_long_arguments),
		TEST(test_deleted_program),
		TEST(test_another_process),
		TEST(test_zombie),
		TEST(test_time_namespace),
		TEST(test_closed),
		TEST(test_other_pid_namespace),
		TEST(test_no_proc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
