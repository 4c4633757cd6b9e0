/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Namespaces that live without a task in them: listns(2), and mounts of nsfs. */
#ifndef PERSISTENT_H
#define PERSISTENT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "nsmon.h"

struct persistent {
	enum nsmon_ns_type type; /* never one of those for children */
	uint32_t inum;
	uint64_t id; /* 0: not known */
	const char *path; /* where it is mounted; NULL: only the kernel told of it */
};

typedef void (*persistent_fn)(void *context, const struct persistent *found);

/*
 * Reads one line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), without its
 * newline. Returns whether it is a namespace's; then found->path is `path`, with
 * the escapes undone.
 */
int persistent_parse_mount(const char *line, struct persistent *found, char path[PATH_MAX]);

/* Those that are mounted in the mount namespace of this process; 0 is our own. */
void persistent_mounted(uint32_t pid, persistent_fn function, void *context);

/*
 * Those that are in use at all, where the kernel has listns(2), from 6.19 on.
 * Returns 0, or a negative errno: -ENOSYS where it has not.
 */
int persistent_listed(persistent_fn function, void *context);

#endif
