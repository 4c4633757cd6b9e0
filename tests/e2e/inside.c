// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * inside.c - the program that containers run in the tests. It says who it is, with a datagram to a socket of the test:
 * the kernel adds the pid of the sender as the receiver sees it, which no program in a pid namespace can know, and
 * which stays right for a sender that has ended meanwhile. Like driver.c it must not know nsmon.
 *
 *   inside SOCKET TAG once               a process that has a child that lives just long enough to say so
 *   inside SOCKET TAG init               the same, then waits: on SIGUSR1 it has another such child, on SIGTERM it ends
 *   inside SOCKET TAG then PROGRAM ...   says so and becomes PROGRAM
 *
 * A datagram is "TAG WORD PID": WORD is once, init, then or child, and PID is the sender's own view.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path, *tag;

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(99);
}

/* Whole or not at all; waits while the reader is behind. */
static void tell(const char *word)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[256];
	int len = snprintf(text, sizeof(text), "%s %s %d", tag, word, (int)getpid());

	if (fd < 0)
		die("socket");
	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "inside: too long for a socket: %s\n", path);
		exit(99);
	}
	strcpy(address.sun_path, path);
	if (sendto(fd, text, (size_t)len, 0, (struct sockaddr *)&address, sizeof(address)) != len)
		die(path);
	close(fd);
}

static void have_child(void)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		tell("child");
		_exit(0);
	}
	while (waitpid(child, NULL, 0) < 0)
		;
}

/* Process 1 of a pid namespace gets no signal that it does not ask for; and is given orphans. */
static void wait_for_orders(void)
{
	sigset_t set;
	int signal_number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	have_child();
	tell("init");
	while (sigwait(&set, &signal_number) == 0 && signal_number != SIGTERM) {
		if (signal_number == SIGUSR1)
			have_child();
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[3] : "";

	if (argc < 4 || (strcmp(what, "then") == 0 && argc < 5)) {
		fprintf(stderr, "usage: inside SOCKET TAG once | init | then PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	path = argv[1];
	tag = argv[2];
	if (strcmp(what, "once") == 0) {
		have_child();
		tell("once");
	} else if (strcmp(what, "init") == 0) {
		wait_for_orders();
	} else if (strcmp(what, "then") == 0) {
		tell("then");
		execvp(argv[4], argv + 4);
		die(argv[4]);
	} else {
		fprintf(stderr, "inside: no such thing: %s\n", what);
		return 2;
	}
	return 0;
}
