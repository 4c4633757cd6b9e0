/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs a function in a child, or with standard error put aside, and keeps what it prints. */
#ifndef TESTS_CAPTURE_H
#define TESTS_CAPTURE_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPTURE_MAX 65536

struct capture {
	int status; /* as wait(2) returns it */
	char out[CAPTURE_MAX];
	char err[CAPTURE_MAX];
};

static inline int capture_file(void)
{
	FILE *file = tmpfile();
	int fd = file ? dup(fileno(file)) : -1;

	if (!file || fd < 0) {
		perror("tmpfile");
		exit(99);
	}
	fclose(file);
	return fd;
}

static inline size_t capture_read(int fd, char *text)
{
	ssize_t n = pread(fd, text, CAPTURE_MAX - 1, 0);

	text[n > 0 ? n : 0] = 0;
	close(fd);
	return n > 0 ? (size_t)n : 0;
}

/* A child that hangs is ended after 20 s: its status tells. */
static inline void capture_child(struct capture *c, int (*run)(void *), void *argument)
{
	int out = capture_file();
	int err = capture_file();
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(20);
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		exit(run(argument));
	}
	if (pid < 0 || waitpid(pid, &c->status, 0) != pid) {
		perror("fork");
		exit(99);
	}
	capture_read(out, c->out);
	capture_read(err, c->err);
}

static inline int capture_exit_code(const struct capture *c)
{
	return WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -WTERMSIG(c->status);
}

static int capture_saved = -1;
static int capture_aside = -1;

/* Standard error goes to a file until capture_end(). */
static inline void capture_begin(void)
{
	fflush(stderr);
	capture_saved = dup(STDERR_FILENO);
	capture_aside = capture_file();
	dup2(capture_aside, STDERR_FILENO);
}

/* Returns how many lines there were; text (of CAPTURE_MAX bytes) may be NULL. */
static inline int capture_end(char *text)
{
	static char all[CAPTURE_MAX];
	int lines = 0;

	if (capture_saved < 0)
		return 0;
	fflush(stderr);
	dup2(capture_saved, STDERR_FILENO);
	close(capture_saved);
	capture_saved = -1;
	capture_read(capture_aside, all);
	for (const char *p = all; *p; p++)
		lines += *p == '\n';
	if (text)
		memcpy(text, all, sizeof(all));
	return lines;
}

#endif
