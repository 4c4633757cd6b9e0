// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* COMMAND: started as a shell would start it. Must not know that it is traced. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

static const int signals[COMMAND_SIGNALS] = { SIGINT,  SIGTERM, SIGHUP, SIGPIPE,
					      SIGALRM, SIGCHLD, SIGXFSZ };

void command_prepare(struct command *command)
{
	*command = (struct command){ 0 };
	getrlimit(RLIMIT_MEMLOCK, &command->memlock);
	sigprocmask(SIG_SETMASK, NULL, &command->blocked);
	for (size_t i = 0; i < COMMAND_SIGNALS; i++)
		sigaction(signals[i], NULL, &command->signals[i]);
}

static int become(const struct passwd *user)
{
	if (initgroups(user->pw_name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid))
		return -errno;
	setenv("HOME", user->pw_dir, 1);
	setenv("SHELL", user->pw_shell, 1);
	setenv("USER", user->pw_name, 1);
	setenv("LOGNAME", user->pw_name, 1);
	return 0;
}

__attribute__((noreturn)) static void run_child(const struct command *command, char *const *argv,
						const struct passwd *user, int report)
{
	int err = 0;

	if (command->before_exec)
		command->before_exec(command->context);
	for (size_t i = 0; i < COMMAND_SIGNALS; i++)
		sigaction(signals[i], &command->signals[i], NULL);
	/* These are passed on; a shell's background job finds SIGINT ignored. */
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &command->blocked, NULL);
	setrlimit(RLIMIT_MEMLOCK, &command->memlock);
	if (user)
		err = -become(user);
	if (!err) {
		execvp(argv[0], argv);
		err = errno;
	}
	if (write(report, &err, sizeof(err)) < 0)
		err = ENOENT;
	_exit(err == ENOENT ? 127 : 126);
}

int command_start(struct command *command, char *const *argv, const char *user)
{
	const struct passwd *passwd = NULL;
	int report[2];
	pid_t pid;

	if (user) {
		passwd = getpwnam(user);
		if (!passwd)
			return -ENOENT;
	}
	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(report[0]);
		close(report[1]);
		return err;
	}
	if (pid == 0)
		run_child(command, argv, passwd, report[1]);
	close(report[1]);
	command->pid = pid;
	while (read(report[0], &command->exec_error, sizeof(command->exec_error)) < 0 &&
	       errno == EINTR)
		;
	close(report[0]);
	return 0;
}

void command_reap(struct command *command, int timeout_ms)
{
	if (!command->pid || command->ended)
		return;
	for (;;) {
		if (waitpid(command->pid, &command->status, WNOHANG) == command->pid) {
			command->ended = true;
			return;
		}
		if (timeout_ms <= 0)
			return;
		poll(NULL, 0, 10);
		timeout_ms -= 10;
	}
}

void command_wait(struct command *command, const volatile sig_atomic_t *stop)
{
	if (!command->pid)
		return;
	while (!command->ended && !*stop) {
		pid_t pid = waitpid(command->pid, &command->status, 0);

		if (pid < 0 && errno != EINTR)
			return;
		command->ended = pid == command->pid;
	}
}

int command_exit_status(const struct command *command)
{
	if (WIFSIGNALED(command->status))
		return 128 + WTERMSIG(command->status);
	return WEXITSTATUS(command->status);
}
