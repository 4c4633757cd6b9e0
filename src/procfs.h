/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What of a process that runs already only /proc tells: its arguments and its program. */
#ifndef PROCFS_H
#define PROCFS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nsmon.h"

/* Does /proc number processes as we do? Not where it belongs to another pid namespace. */
bool procfs_is_ours(void);

struct procfs {
	int fd; /* of /proc; -1: it is not there, or numbers processes as another pid namespace does */
	int64_t boot_offset_ns; /* of our CLOCK_BOOTTIME: proc(5) tells times as our time namespace does */
	char exe[PATH_MAX];
	size_t exe_len; /* 0: not to be had */
	char args[NSMON_TEXT_MAX + 1]; /* each ended by a NUL; the last one may lack it */
	size_t args_len;
	bool has_args;
	bool truncated;
};

/* Looks for /proc. Never fails: without it there is nothing to be had. */
void procfs_open(struct procfs *procfs, int64_t boot_offset_ns);

/* Says so on standard error where there is nothing to be had. */
void procfs_note(const struct procfs *procfs);

void procfs_close(struct procfs *procfs);

/*
 * Fills in exe and args of the task `tid` of the process `pid`, which started at
 * start_ns (nanoseconds since boot, the kernel's). Where it has ended, or its number is
 * another one's by now, there is nothing to be had.
 */
void procfs_read(struct procfs *procfs, uint32_t pid, uint32_t tid, uint64_t start_ns);

#endif
