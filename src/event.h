/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bytes of the ring buffer -> a checked event. */
#ifndef EVENT_H
#define EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nsmon.h"

struct cgroup;
struct container;

struct target {
	uint64_t owner; /* 0: nobody; TARGET_HOST; else the number of a container */
	const struct container *container; /* of that number */
};

#define TARGET_HOST UINT64_MAX

/*
 * One record, checked. Pointers are into the record itself, which stays the
 * ring buffer's: they hold until the next one is read.
 */
struct event {
	enum nsmon_kind kind;
	uint64_t time; /* nanoseconds since boot */
	uint32_t cpu;
	const struct nsmon_task *task; /* NULL for NSMON_LOST and NSMON_CGROUP_TREE */
	const struct nsmon_ns_change *change; /* NULL where no namespace changed */
	const struct nsmon_failed *failed; /* NULL unless an attempt failed */
	bool recovered; /* found out after a loss, not delivered */
	/* What user space knows of the numbers in it; NULL, or no target: nothing. */
	const struct cgroup *cgroup;
	struct target target; /* whose namespace was entered */
	uint64_t old_cgroup_id; /* NSMON_CGROUP; 0: not known */
	const struct cgroup *old_cgroup;
	union {
		struct {
			bool told; /* false: only its change is wanted */
			bool by_thread; /* the change is from what was told of the main thread */
			uint32_t creator_pid;
			uint32_t creator_tid;
			uint64_t creator_start_ns;
			bool into; /* another cgroup than its creator's */
		} fork;
		struct {
			uint64_t exec_id;
			uint32_t old_tid; /* 0: the main thread execed */
			const char *filename; /* not ended by a NUL */
			size_t filename_len;
			const char *args; /* each ended by a NUL; the last one may lack it */
			size_t args_len;
			bool truncated;
		} exec; /* recovered: filename may be NULL */
		struct {
			uint32_t status; /* as wait(2) returns it */
			uint64_t duration_ns;
			bool process_ends; /* it was the last task of its process */
		} exit; /* recovered: process_ends alone is known */
		struct {
			const struct nsmon_ns_set *ns;
			uint64_t exec_id; /* 0: it has not execed since its fork */
			uint32_t flags; /* enum nsmon_proc_flag */
			const char *exe; /* NULL: not known */
			size_t exe_len;
			const char *args; /* as exec.args; NULL: not known */
			size_t args_len;
			bool truncated;
		} proc;
		const struct nsmon_lost *lost;
		const struct nsmon_cgroup *tree;
	};
};

/*
 * Decodes size bytes at data, which is aligned to 8. Trusts no number in it.
 * Returns 0, or -EINVAL where it is not a record of NSMON_LAYOUT.
 */
int event_decode(struct event *event, const void *data, size_t size);

/* The next of the arguments [*at, end): its start; *len without the NUL; NULL at the end. */
const char *event_next_arg(const char **at, const char *end, size_t *len);

#endif
