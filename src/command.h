/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs COMMAND. Knows nothing of tracing. */
#ifndef COMMAND_H
#define COMMAND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Signals that nsmon handles and COMMAND is to find as they were. */
#define COMMAND_SIGNALS 7

struct command {
	pid_t pid; /* 0: none */
	bool ended;
	int status; /* as wait(2) returns it */
	int exec_error; /* errno where it could not be started */
	struct rlimit memlock; /* as it was before libbpf raised it */
	sigset_t blocked; /* the signals that were blocked */
	struct sigaction signals[COMMAND_SIGNALS]; /* as they were before we caught them */
	void (*before_exec)(void *context); /* NULL, or what its process does first */
	void *context;
};

/* Before anything changes what COMMAND is to find as it was. */
void command_prepare(struct command *command);

/*
 * Forks and executes argv (ended by NULL), as user where it is not NULL. Returns
 * 0 when the program runs or could not be executed (exec_error; the child ends
 * with 127 or 126, as of a shell); a negative errno where nothing was started.
 */
int command_start(struct command *command, char *const *argv, const char *user);

/* Takes note of its end, waiting at most timeout_ms (0: not at all). */
void command_reap(struct command *command, int timeout_ms);

/* Waits for its end, or until a signal has set *stop. */
void command_wait(struct command *command, const volatile sig_atomic_t *stop);

/* Of a command that has ended, the exit status of a shell: its own, or 128 and the signal. */
int command_exit_status(const struct command *command);

#endif
