// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* command.c: COMMAND ends with the status that a shell would give. Needs no root. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nsmon-test-XXXXXX");
	setenv("PATH", "/usr/bin:/bin", 1); /* without folders that not everybody may enter */
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char text[96];

	(void)state;
	snprintf(text, sizeof(text), "rm -rf '%s'", folder);
	return system(text);
}

static const char *in_folder(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int run_prepared(struct command *command, char *const *argv)
{
	assert_int_equal(command_start(command, argv, NULL), 0);
	assert_true(command->pid > 0);
	command_reap(command, 10000);
	assert_true(command->ended);
	return command_exit_status(command);
}

static int run(struct command *command, char *const *argv)
{
	command_prepare(command);
	return run_prepared(command, argv);
}

#define RUN(command, ...) run(command, (char *[]){ __VA_ARGS__, NULL })

static void test_exit_status(void **state)
{
	struct command c;

	(void)state;
	assert_int_equal(RUN(&c, "true"), 0);
	assert_int_equal(c.exec_error, 0);
	assert_int_equal(RUN(&c, "false"), 1);
	assert_int_equal(RUN(&c, "/bin/sh", "-c", "exit 42"), 42);
	assert_int_equal(RUN(&c, "/bin/sh", "-c", "exit 255"), 255);
}

static void test_signal(void **state)
{
	struct command c;

	(void)state;
	assert_int_equal(RUN(&c, "/bin/sh", "-c", "kill -TERM $$"), 128 + SIGTERM);
	assert_int_equal(RUN(&c, "/bin/sh", "-c", "kill -KILL $$"), 128 + SIGKILL);
	assert_int_equal(RUN(&c, "/bin/sh", "-c", "ulimit -c 0; kill -SEGV $$"), 128 + SIGSEGV);
}

static void test_not_found(void **state)
{
	struct command c;

	(void)state;
	assert_int_equal(RUN(&c, "no-such-program-here"), 127);
	assert_int_equal(c.exec_error, ENOENT);
	assert_int_equal(RUN(&c, "/nonexistent/program"), 127);
	assert_int_equal(c.exec_error, ENOENT);
	assert_int_equal(RUN(&c, ""), 127);
	/* A script whose interpreter is missing: ENOENT as well, as in a shell. */
	write_file("script", "#!/nonexistent/interpreter\n", 0755);
	assert_int_equal(run(&c, (char *[]){ (char *)in_folder("script"), NULL }), 127);
}

static void test_not_executable(void **state)
{
	struct command c;

	(void)state;
	write_file("plain", "echo no\n", 0644);
	assert_int_equal(run(&c, (char *[]){ (char *)in_folder("plain"), NULL }), 126);
	assert_int_equal(c.exec_error, EACCES);
	assert_int_equal(run(&c, (char *[]){ folder, NULL }), 126);
	assert_int_equal(c.exec_error, EACCES);
}

static void test_search_in_path(void **state)
{
	char *saved = getenv("PATH") ? strdup(getenv("PATH")) : NULL;
	struct command c;

	(void)state;
	write_file("nsmon-test-program", "#!/bin/sh\nexit 7\n", 0755);
	setenv("PATH", folder, 1);
	assert_int_equal(RUN(&c, "nsmon-test-program"), 7);
	if (saved)
		setenv("PATH", saved, 1);
	free(saved);
}

static void test_arguments_and_environment(void **state)
{
	struct command c;

	(void)state;
	setenv("NSMON_TEST", "as it was", 1);
	assert_int_equal(RUN(&c, "/bin/sh", "-c",
			     "[ \"$1\" = 'a  b' ] && [ $# = 2 ] && [ -z \"$2\" ] &&"
			     "[ \"$NSMON_TEST\" = 'as it was' ]",
			     "sh", "a  b", ""),
			 0);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

/* nsmon handles signals and ignores SIGPIPE; the command finds them as nsmon did. */
static void test_signals_are_as_before(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGALRM };
	char text[96];
	char *argv[] = { "/bin/sh", "-c", text, NULL };
	struct command before, c;

	(void)state;
	/* Whoever runs the tests may ignore some, as nohup(1) and a shell's & do. */
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], SIG_DFL);
	command_prepare(&before);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], i % 2 ? SIG_IGN : ignore_signal);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		snprintf(text, sizeof(text), "kill -%d $$; exit 9", signals[i]);
		c = before;
		assert_int_equal(run_prepared(&c, argv), 128 + signals[i]);
	}
	/* As nohup(1) starts it. */
	signal(SIGHUP, SIG_IGN);
	command_prepare(&before);
	signal(SIGHUP, ignore_signal);
	snprintf(text, sizeof(text), "kill -%d $$; exit 9", SIGHUP);
	c = before;
	assert_int_equal(run_prepared(&c, argv), 9);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], SIG_DFL);
}

static void test_no_descriptor_is_left(void **state)
{
	struct command c;
	int before, after;

	(void)state;
	/* Those that this test has inherited are not meant. */
	for (int fd = 3; fd < 1024; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	assert_int_equal(RUN(&c, "/bin/sh", "-c", "for f in /proc/self/fd/*; do "
						  "n=${f##*/}; [ \"$n\" -lt 3 ] || "
						  "[ ! -e \"$f\" ] || exit 1; done"),
			 0);
	RUN(&c, "no-such-program-here");
	after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(after);
	assert_int_equal(before, after);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_reap_waits_no_longer(void **state)
{
	char *argv[] = { "sleep", "60", NULL };
	struct command c;
	int64_t start;

	(void)state;
	command_prepare(&c);
	command_reap(&c, 10000); /* there is none: nothing to wait for */
	assert_false(c.ended);
	assert_int_equal(command_start(&c, argv, NULL), 0);
	start = now_ms();
	command_reap(&c, 0);
	assert_false(c.ended);
	assert_true(now_ms() - start < 1000);
	start = now_ms();
	command_reap(&c, 100);
	assert_false(c.ended);
	assert_in_range(now_ms() - start, 90, 5000);
	kill(c.pid, SIGTERM);
	command_reap(&c, 10000);
	assert_true(c.ended);
	assert_int_equal(command_exit_status(&c), 128 + SIGTERM);
	command_reap(&c, 10000); /* once is enough */
	assert_int_equal(command_exit_status(&c), 128 + SIGTERM);
}

/* It returns only when the program runs: a signal to it reaches the program. */
static volatile sig_atomic_t stop;

static void on_alarm(int signal)
{
	(void)signal;
	stop = 1;
}

/* As long as it takes, but not beyond a signal. */
static void test_wait(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm };
	char *slow[] = { "sh", "-c", "sleep 1; exit 3", NULL };
	char *endless[] = { "sleep", "60", NULL };
	struct command c;

	(void)state;
	stop = 0;
	command_prepare(&c);
	command_wait(&c, &stop); /* there is none */
	assert_int_equal(command_start(&c, slow, NULL), 0);
	command_wait(&c, &stop);
	assert_true(c.ended);
	assert_int_equal(command_exit_status(&c), 3);

	sigaction(SIGALRM, &action, NULL);
	command_prepare(&c);
	assert_int_equal(command_start(&c, endless, NULL), 0);
	alarm(1);
	command_wait(&c, &stop);
	assert_false(c.ended);
	command_wait(&c, &stop); /* asked before it began */
	kill(c.pid, SIGKILL);
	command_reap(&c, 10000);
	assert_int_equal(command_exit_status(&c), 128 + SIGKILL);
	signal(SIGALRM, SIG_DFL);
}

static void test_start_waits_for_the_exec(void **state)
{
	char *argv[] = { "sleep", "60", NULL };
	char path[64], exe[256];
	struct command c;
	ssize_t n;

	(void)state;
	command_prepare(&c);
	assert_int_equal(command_start(&c, argv, NULL), 0);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)c.pid);
	n = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(n >= 0);
	assert_int_equal(read((int)n, exe, sizeof(exe)), sizeof("sleep") + sizeof("60"));
	close((int)n);
	assert_string_equal(exe, "sleep");
	kill(c.pid, SIGKILL);
	command_reap(&c, 10000);
	assert_int_equal(command_exit_status(&c), 128 + SIGKILL);
}

static void test_memory_lock_limit(void **state)
{
	struct rlimit was, raised;
	char text[96];
	struct command c;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &was), 0);
	if (was.rlim_cur == 0)
		skip();
	/* What libbpf does, the other way round: lowering needs no privilege. */
	raised = was;
	raised.rlim_cur = 0;
	command_prepare(&c);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &raised), 0);
	if (was.rlim_cur == RLIM_INFINITY)
		strcpy(text, "[ $(ulimit -S -l) = unlimited ]");
	else
		snprintf(text, sizeof(text), "[ $(ulimit -S -l) = %llu ]",
			 (unsigned long long)was.rlim_cur / 1024);
	assert_int_equal(command_start(&c, (char *[]){ "/bin/sh", "-c", text, NULL }, NULL), 0);
	command_reap(&c, 10000);
	setrlimit(RLIMIT_MEMLOCK, &was);
	assert_int_equal(command_exit_status(&c), 0);
}

static void test_users(void **state)
{
	const struct passwd *nobody;
	char text[256];
	struct command c;

	(void)state;
	command_prepare(&c);
	assert_int_equal(command_start(&c, (char *[]){ "true", NULL }, "no-such-user-here"),
			 -ENOENT);
	assert_int_equal(c.pid, 0);
	nobody = getpwnam("nobody");
	if (!nobody)
		skip();
	snprintf(text, sizeof(text),
		 "[ $(id -u) = %u ] && [ $(id -g) = %u ] && [ \"$(id -G)\" = %u ] && "
		 "[ \"$USER\" = nobody ] && [ \"$LOGNAME\" = nobody ] && [ \"$HOME\" = '%s' ]",
		 nobody->pw_uid, nobody->pw_gid, nobody->pw_gid, nobody->pw_dir);
	assert_int_equal(command_start(&c, (char *[]){ "/bin/sh", "-c", text, NULL }, "nobody"), 0);
	command_reap(&c, 10000);
	if (geteuid() == 0) {
		assert_int_equal(c.exec_error, 0);
		assert_int_equal(command_exit_status(&c), 0);
	} else { /* it cannot, and then runs nothing at all */
		assert_int_equal(c.exec_error, EPERM);
		assert_int_equal(command_exit_status(&c), 126);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_status),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_not_executable),
		cmocka_unit_test(test_search_in_path),
		cmocka_unit_test(test_arguments_and_environment),
		cmocka_unit_test(test_signals_are_as_before),
		cmocka_unit_test(test_no_descriptor_is_left),
		cmocka_unit_test(test_reap_waits_no_longer),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_start_waits_for_the_exec),
		cmocka_unit_test(test_memory_lock_limit),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
