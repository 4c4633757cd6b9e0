// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads /proc. Must not know why. */
#include "procfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define NS_PER_S 1000000000LL

/* proc(5), /proc/PID/stat: behind the name come state and 18 numbers, then the start. */
#define STAT_START_FIELD 20

bool procfs_is_ours(void)
{
	char target[32] = "";

	return readlink("/proc/self", target, sizeof(target) - 1) > 0 && atoi(target) == getpid();
}

void procfs_open(struct procfs *procfs, int64_t boot_offset_ns)
{
	memset(procfs, 0, sizeof(*procfs));
	procfs->boot_offset_ns = boot_offset_ns;
	procfs->fd = procfs_is_ours() ? open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

void procfs_note(const struct procfs *procfs)
{
	if (procfs->fd < 0)
		log_note("/proc is not there, or of another pid namespace: arguments and programs "
			 "of what runs already are not known (mount -t proc proc /proc)");
}

void procfs_close(struct procfs *procfs)
{
	if (procfs->fd >= 0)
		close(procfs->fd);
	procfs->fd = -1;
}

/* What one read() gives: these files come whole, or as far as there is room. */
static ssize_t read_file(int proc, const char *name, char *text, size_t size)
{
	int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, size);
	close(fd);
	return n;
}

/* proc(5) counts in clock ticks. */
static bool started_at(int proc, const char *name, int64_t start_ns)
{
	const long tick_ns = (long)(NS_PER_S / sysconf(_SC_CLK_TCK));
	char text[1024];
	ssize_t len = read_file(proc, name, text, sizeof(text) - 1);
	const char *at;

	if (len < 0)
		return false;
	text[len] = 0;
	at = strrchr(text, ')'); /* the name may have brackets and blanks */
	for (int i = 0; at && i < STAT_START_FIELD; i++)
		at = strchr(at + 1, ' ');
	return at && strtoll(at, NULL, 10) == start_ns / tick_ns;
}

/* Below /proc; name has room for NAME_MAX. */
static const char *name_file(char *name, uint32_t pid, uint32_t tid, const char *file)
{
	if (tid == pid)
		snprintf(name, NAME_MAX, "%u/%s", pid, file);
	else
		snprintf(name, NAME_MAX, "%u/task/%u/%s", pid, tid, file);
	return name;
}

/*
 * When it started is looked at last: a task that is still there was the one that was
 * read of. So its directory need not be held open, which takes as long as a file.
 */
void procfs_read(struct procfs *procfs, uint32_t pid, uint32_t tid, uint64_t start_ns)
{
	char name[NAME_MAX];
	ssize_t exe, args;

	procfs->exe_len = 0;
	procfs->args_len = 0;
	procfs->has_args = false;
	procfs->truncated = false;
	if (procfs->fd < 0)
		return;
	exe = readlinkat(procfs->fd, name_file(name, pid, tid, "exe"), procfs->exe,
			 sizeof(procfs->exe));
	args = read_file(procfs->fd, name_file(name, pid, tid, "cmdline"), procfs->args,
			 sizeof(procfs->args));
	if (!started_at(procfs->fd, name_file(name, pid, tid, "stat"),
			(int64_t)start_ns + procfs->boot_offset_ns))
		return;
	if (exe > 0)
		procfs->exe_len = (size_t)exe;
	if (args >= 0) {
		procfs->has_args = true;
		procfs->truncated = args > NSMON_TEXT_MAX;
		procfs->args_len = args > NSMON_TEXT_MAX ? NSMON_TEXT_MAX : (size_t)args;
	}
}
