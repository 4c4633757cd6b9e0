/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* All tasks at one instant, with their cgroups, for nsmon list. Knows no way of showing them. */
#ifndef PICTURE_H
#define PICTURE_H

#include "cgroup.h"
#include "kernel.h"
#include "line.h"
#include "nsmon.h"
#include "options.h"
#include "procfs.h"

struct picture {
	const struct options *options;
	const struct kernel *kernel;
	struct nsmon_proc *rows; /* by process, its main thread first; none that has ended */
	size_t row_count;
	struct nsmon_ns_set host; /* the namespaces of process 1; 0: not known */
	struct cgroups *cgroups;
	struct procfs procfs;
	int64_t boot_offset_ns; /* as of probe_boot_offset_ns() */
};

/* Memory that is zero, or the end of nsmon: a list is shown whole or not at all. */
void *picture_allocate(size_t size);

/*
 * Takes a picture; what is wrong is said on standard error. Returns 0, and then
 * the caller frees it with picture_free(), or a negative errno.
 */
int picture_take(struct picture *picture, const struct options *options,
		 const struct kernel *kernel);
void picture_free(struct picture *picture);

/* Is it the row of a process, not of another of its threads? */
static inline bool picture_is_main(const struct nsmon_proc *row)
{
	return row->task.tid == row->task.pid;
}

/* The index of the process's first row; SIZE_MAX: there is none. */
size_t picture_find(const struct picture *picture, uint32_t pid);

/* Nanoseconds since 1970 of a time since boot as the kernel tells it. */
uint64_t picture_realtime_ns(const struct picture *picture, uint64_t boot_ns);

/* Is this type of namespaces asked for? Those for children are no types of their own. */
static inline bool picture_shows(const struct picture *picture, enum nsmon_ns_type type)
{
	return picture->options->types & (1U << type);
}

/* ---- what all lists write alike ---- */

/* Its arguments where they can be had, else its name in brackets, as ps(1) does. */
void picture_command(struct picture *picture, struct line *line, const struct nsmon_proc *row);

/* ,"comm":... and ,"args":[...],"exe":... where they can be had. */
void picture_json_program(struct picture *picture, struct line *line, const struct nsmon_proc *row);

/* Ends a line that began at bytes, and prints it; of an object also its brace. */
void picture_print(struct line *line, char *bytes);
void picture_json_print(struct line *line, char *bytes);

#endif
