/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One table of functions for each output format: adding one is one file. */
#ifndef FORMAT_H
#define FORMAT_H

#include "event.h"
#include "kernel.h"
#include "line.h"
#include "options.h"

/* What the start record tells, and what formatting depends on. */
struct run {
	const struct options *options;
	const struct kernel *kernel;
	const char *backend;
	bool colour;
};

/* What user space gives to a record. */
struct stamp {
	uint64_t seq;
	uint64_t time; /* nanoseconds since 1970 */
};

struct totals {
	uint64_t written
		[NSMON_KINDS]; /* NSMON_PROC: what pictures have shown, recovered records too */
	uint64_t lost;
	uint64_t lost_of[NSMON_KINDS]; /* their sum is lost */
	uint64_t unwritten; /* records that the output did not take, counted as lost or not */
	bool has_switches;
	uint64_t switches; /* of nsproxy, seen by the net under the handlers */
	uint64_t switches_known; /* of these, those that a handler accounted for */
};

/*
 * Each writes one line with its newline. A NULL member: the format has no such
 * line. Nothing here allocates or makes a system call.
 */
struct formatter {
	void (*start)(struct line *line, const struct run *run, const struct stamp *stamp);
	/* NSMON_FORK, NSMON_EXEC, NSMON_EXIT, NSMON_PROC, NSMON_CGROUP */
	void (*event)(struct line *line, const struct run *run, const struct stamp *stamp,
		      const struct event *event);
	void (*ns)(struct line *line, const struct run *run, const struct stamp *stamp,
		   const struct event *event, enum nsmon_ns_type type);
	void (*failed)(struct line *line, const struct run *run, const struct stamp *stamp,
		       const struct event *event);
	/* The picture is complete: so many tasks. */
	void (*ready)(struct line *line, const struct run *run, const struct stamp *stamp,
		      uint64_t tasks);
	void (*lost)(struct line *line, const struct run *run, const struct stamp *stamp,
		     const uint64_t lost[NSMON_KINDS]);
	void (*stop)(struct line *line, const struct run *run, const struct stamp *stamp,
		     const struct totals *totals);
};

extern const struct formatter text_formatter;
extern const struct formatter json_formatter;
extern const struct formatter ecs_formatter;

/* Does a lost record count records of this kind? */
static inline bool is_counted(int kind)
{
	return (kind >= NSMON_FORK && kind <= NSMON_NS) || kind == NSMON_CGROUP;
}

static inline uint64_t lost_count(const uint64_t lost[NSMON_KINDS])
{
	return lost[NSMON_FORK] + lost[NSMON_EXEC] + lost[NSMON_EXIT] + lost[NSMON_NS] +
	       lost[NSMON_CGROUP];
}

#endif
