// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Takes a picture of all tasks. Must not know what of it is shown. */
#include "picture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event.h"
#include "json.h"
#include "log.h"
#include "probe.h"

#define NS_PER_S 1000000000LL

void *picture_allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory) {
		log_error("not enough memory for a picture of all tasks");
		exit(1);
	}
	return memory;
}

static int read_rows(struct picture *picture, int fd)
{
	size_t room = 0, len = 0;
	ssize_t n;

	for (;;) {
		if (room - len < 65536) {
			char *bytes = realloc(picture->rows, room = room * 2 + 262144);

			if (!bytes)
				return -ENOMEM;
			picture->rows = (struct nsmon_proc *)(void *)bytes;
		}
		n = read(fd, (char *)picture->rows + len, room - len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	picture->row_count = len / sizeof(*picture->rows);
	return n < 0 ? -errno : 0;
}

static int read_tasks(struct picture *picture)
{
	struct probe_refusal refusal = { 0 };
	struct probe *probe = NULL;
	int fd, err;

	if (probe_open_iterating(&probe, picture->kernel, &refusal)) {
		log_error("%s", refusal.reason);
		return -refusal.error;
	}
	picture->boot_offset_ns = probe_boot_offset_ns(probe);
	picture->host = *probe_host(probe);
	fd = probe_open_iterator(probe);
	err = fd < 0 ? fd : read_rows(picture, fd);
	if (fd >= 0)
		close(fd);
	probe_close(probe);
	if (err)
		log_error("cannot read the tasks: %s", strerror(-err));
	return err;
}

static int compare_rows(const void *a, const void *b)
{
	const struct nsmon_task *x = &((const struct nsmon_proc *)a)->task;
	const struct nsmon_task *y = &((const struct nsmon_proc *)b)->task;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	/* The main thread first: its number may be higher than another's. */
	if ((x->tid == x->pid) != (y->tid == y->pid))
		return x->tid == x->pid ? -1 : 1;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

/* By process, without those that have ended and without records that are none. */
static void tidy_rows(struct picture *picture)
{
	size_t kept = 0;

	for (size_t i = 0; i < picture->row_count; i++) {
		struct event event;

		if (event_decode(&event, &picture->rows[i], sizeof(picture->rows[i])) == 0 &&
		    !(event.proc.flags & (NSMON_PROC_ENDING | NSMON_PROC_ENDED)))
			picture->rows[kept++] = picture->rows[i];
	}
	picture->row_count = kept;
	if (kept)
		qsort(picture->rows, picture->row_count, sizeof(*picture->rows), compare_rows);
}

/* The tree of cgroups, with what the files of runtimes say. After the tasks: theirs exist, or are gone. */
static int read_cgroups(struct picture *picture)
{
	static const struct cgroup_filter everything;

	picture->cgroups = cgroups_new(&everything, "", NULL, NULL);
	if (!picture->cgroups)
		return -ENOMEM;
	/* One moment, whatever the time: all that is due then is looked at. */
	cgroups_look(picture->cgroups, &picture->kernel->hierarchy, 1);
	cgroups_resolve(picture->cgroups, 1);
	return 0;
}

int picture_take(struct picture *picture, const struct options *options,
		 const struct kernel *kernel)
{
	int err;

	*picture = (struct picture){ .options = options, .kernel = kernel };
	err = read_tasks(picture);
	if (!err)
		err = read_cgroups(picture);
	if (err) {
		free(picture->rows);
		return err;
	}
	tidy_rows(picture);
	procfs_open(&picture->procfs, picture->boot_offset_ns);
	procfs_note(&picture->procfs);
	return 0;
}

void picture_free(struct picture *picture)
{
	procfs_close(&picture->procfs);
	cgroups_free(picture->cgroups);
	free(picture->rows);
}

size_t picture_find(const struct picture *picture, uint32_t pid)
{
	size_t low = 0, high = picture->row_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (picture->rows[middle].task.pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < picture->row_count && picture->rows[low].task.pid == pid ? low : SIZE_MAX;
}

uint64_t picture_realtime_ns(const struct picture *picture, uint64_t boot_ns)
{
	struct timespec real, boot;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (uint64_t)((real.tv_sec - boot.tv_sec) * NS_PER_S + real.tv_nsec - boot.tv_nsec +
			  picture->boot_offset_ns) +
	       boot_ns;
}

void picture_print(struct line *line, char *bytes)
{
	line_text(line, "\n");
	fwrite(bytes, 1, (size_t)(line->at - bytes), stdout);
}

void picture_command(struct picture *picture, struct line *line, const struct nsmon_proc *row)
{
	struct procfs *procfs = &picture->procfs;
	const char *at = procfs->args;
	size_t len;
	const char *arg;

	procfs->args_len = 0;
	if (!(row->flags & (NSMON_PROC_KERNEL | NSMON_PROC_PARTIAL)))
		procfs_read(procfs, row->task.pid, row->task.tid, row->task.thread_start_ns);
	if (!procfs->args_len || !procfs->args[0]) {
		line_text(line, "[");
		line_escaped_name(line, row->task.comm, sizeof(row->task.comm));
		line_text(line, "]");
		return;
	}
	for (bool first = true; (arg = event_next_arg(&at, procfs->args + procfs->args_len, &len));
	     first = false) {
		if (!first)
			line_text(line, " ");
		line_escaped(line, arg, len);
	}
}

void picture_json_program(struct picture *picture, struct line *line, const struct nsmon_proc *row)
{
	struct procfs *procfs = &picture->procfs;

	line_text(line, ",\"comm\":");
	line_json_name(line, row->task.comm, sizeof(row->task.comm));
	if (row->flags & (NSMON_PROC_KERNEL | NSMON_PROC_PARTIAL))
		return;
	procfs_read(procfs, row->task.pid, row->task.tid, row->task.thread_start_ns);
	if (procfs->has_args)
		json_args(line, procfs->args, procfs->args_len, procfs->truncated);
	if (procfs->exe_len) {
		line_text(line, ",\"exe\":");
		line_json(line, procfs->exe, procfs->exe_len);
	}
}

void picture_json_print(struct line *line, char *bytes)
{
	if (line->raw)
		line_text(line, ",\"raw\":true");
	line_text(line, "}");
	picture_print(line, bytes);
}
