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

static ssize_t read_file(int dir, const char *name, char *text, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	while (len < size && (n = read(fd, text + len, size - len)) > 0)
		len += (size_t)n;
	close(fd);
	return n < 0 ? -1 : (ssize_t)len;
}

/* proc(5) counts in clock ticks. */
static bool started_at(int dir, int64_t start_ns)
{
	const long tick_ns = (long)(NS_PER_S / sysconf(_SC_CLK_TCK));
	char text[1024];
	ssize_t len = read_file(dir, "stat", text, sizeof(text) - 1);
	const char *at;

	if (len < 0)
		return false;
	text[len] = 0;
	at = strrchr(text, ')'); /* the name may have brackets and blanks */
	for (int i = 0; at && i < STAT_START_FIELD; i++)
		at = strchr(at + 1, ' ');
	return at && strtoll(at, NULL, 10) == start_ns / tick_ns;
}

void procfs_read(struct procfs *procfs, uint32_t pid, uint32_t tid, uint64_t start_ns)
{
	char name[40];
	ssize_t n;
	int dir;

	procfs->exe_len = 0;
	procfs->args_len = 0;
	procfs->has_args = false;
	procfs->truncated = false;
	if (procfs->fd < 0)
		return;
	if (tid == pid)
		snprintf(name, sizeof(name), "%u", pid);
	else
		snprintf(name, sizeof(name), "%u/task/%u", pid, tid);
	dir = openat(procfs->fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	if (!started_at(dir, (int64_t)start_ns + procfs->boot_offset_ns))
		goto out;
	n = readlinkat(dir, "exe", procfs->exe, sizeof(procfs->exe));
	if (n > 0)
		procfs->exe_len = (size_t)n;
	n = read_file(dir, "cmdline", procfs->args, sizeof(procfs->args));
	if (n >= 0) {
		procfs->has_args = true;
		procfs->truncated = n > NSMON_TEXT_MAX;
		procfs->args_len = n > NSMON_TEXT_MAX ? NSMON_TEXT_MAX : (size_t)n;
	}
out:
	close(dir);
}
