// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * poller MILLISECONDS: what is seen of forks, exits and namespace changes by looking at /proc/PID/ns of
 * every process again and again. The peer that needs nothing of the kernel. Lines are
 * "fork PID COMM", "exit PID COMM" and "ns PID COMM TYPE"; on SIGINT and SIGTERM it ends with 0.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

static const char *const types[] = { "mnt",
				     "uts",
				     "ipc",
				     "net",
				     "pid",
				     "user",
				     "time",
				     "cgroup",
				     "pid_for_children",
				     "time_for_children" };

struct process {
	int pid;
	unsigned int sweep; /* in which it was seen last */
	char comm[17];
	char links[ARRAY_SIZE(types)][32];
};

static struct process *processes;
static size_t count, room;
static volatile sig_atomic_t stop;

static void ask_to_stop(int signal)
{
	(void)signal;
	stop = 1;
}

static struct process *find(int pid)
{
	for (size_t i = 0; i < count; i++)
		if (processes[i].pid == pid)
			return &processes[i];
	return NULL;
}

static struct process *add(int pid)
{
	if (count == room) {
		struct process *more = realloc(processes, (room + 256) * sizeof(*processes));

		if (!more)
			exit(1);
		processes = more;
		room += 256;
	}
	processes[count] = (struct process){ .pid = pid };
	return &processes[count++];
}

static void read_comm(int proc, const char *name, char comm[17])
{
	char path[300];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/comm", name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, comm, 16);
		close(fd);
	}
	comm[n > 0 ? n : 0] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
}

static void look(int proc, const char *name, unsigned int sweep)
{
	struct process *p = find(atoi(name));
	bool fresh = !p;

	if (fresh)
		p = add(atoi(name));
	p->sweep = sweep;
	read_comm(proc, name, p->comm);
	if (fresh && sweep)
		printf("fork %d %s\n", p->pid, p->comm);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		char path[300], link[32] = "";

		snprintf(path, sizeof(path), "%s/ns/%s", name, types[i]);
		if (readlinkat(proc, path, link, sizeof(link) - 1) < 0 ||
		    !strcmp(link, p->links[i]))
			continue;
		if (!fresh)
			printf("ns %d %s %s\n", p->pid, p->comm, types[i]);
		memcpy(p->links[i], link, sizeof(link));
	}
}

static void forget(unsigned int sweep)
{
	for (size_t i = 0; i < count;) {
		if (processes[i].sweep == sweep) {
			i++;
			continue;
		}
		printf("exit %d %s\n", processes[i].pid, processes[i].comm);
		processes[i] = processes[--count];
	}
}

int main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask_to_stop };
	long ms = argc == 2 ? atol(argv[1]) : 0;
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	if (ms <= 0) {
		fputs("usage: poller MILLISECONDS\n", stderr);
		return 2;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	for (unsigned int sweep = 0; !stop; sweep++) {
		DIR *dir = opendir("/proc");
		struct dirent *entry;

		if (!dir)
			return 1;
		while ((entry = readdir(dir)))
			if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
				look(dirfd(dir), entry->d_name, sweep);
		closedir(dir);
		forget(sweep);
		fflush(stdout);
		nanosleep(&pause, NULL);
	}
	free(processes);
	return 0;
}
