// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Names for the numbers of nsmon.h. Must not know where they are printed. */
#include "names.h"

#include <string.h>

const char *const kind_names[NSMON_KINDS] = {
	[NSMON_FORK] = "fork", [NSMON_EXEC] = "exec", [NSMON_EXIT] = "exit",	 [NSMON_NS] = "ns",
	[NSMON_LOST] = "lost", [NSMON_PROC] = "proc", [NSMON_CGROUP] = "cgroup",
};

const char *const event_names[NSMON_KINDS] = {
	[NSMON_FORK] = "fork", [NSMON_EXEC] = "exec",	  [NSMON_EXIT] = "exit",
	[NSMON_NS] = "ns",     [NSMON_CGROUP] = "cgroup",
};

const char *const ns_type_names[NSMON_NS_TYPES] = {
	[NSMON_NS_MNT] = "mnt",	  [NSMON_NS_UTS] = "uts",
	[NSMON_NS_IPC] = "ipc",	  [NSMON_NS_NET] = "net",
	[NSMON_NS_PID] = "pid",	  [NSMON_NS_PID_FOR_CHILDREN] = "pid_for_children",
	[NSMON_NS_USER] = "user", [NSMON_NS_CGROUP] = "cgroup",
	[NSMON_NS_TIME] = "time", [NSMON_NS_TIME_FOR_CHILDREN] = "time_for_children",
};

const char *const reason_names[NSMON_REASONS] = {
	[NSMON_REASON_CLONE] = "clone", [NSMON_REASON_UNSHARE] = "unshare",
	[NSMON_REASON_SETNS] = "setns", [NSMON_REASON_EXEC] = "exec",
	[NSMON_REASON_FORK] = "fork",	[NSMON_REASON_KERNEL] = "kernel",
};

const char *const backend_names[BACKENDS] = {
	[BACKEND_AUTO] = "auto",
	[BACKEND_FENTRY] = "fentry",
	[BACKEND_KPROBE] = "kprobe",
	[BACKEND_TRACEPOINT] = "tracepoint",
};

int name_index(const char *const *names, size_t count, const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (names[i] && strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return (int)i;
	return -1;
}
