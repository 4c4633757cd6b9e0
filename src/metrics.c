// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The text format of Prometheus (version 0.0.4). A reader sees the old file or the new
 * one, never half of one: it is written beside it and renamed.
 */
#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "version.h"

/* As often as Prometheus commonly asks. An idle nsmon writes as well: the file's time shows that it lives. */
#define INTERVAL_MS 15000

#define NS_PER_MS 1000000

struct metrics {
	const char *path;
	char *beside; /* where it is written before it takes its place */
	double started; /* seconds since 1970 */
	uint64_t started_ms; /* CLOCK_MONOTONIC */
	uint64_t due_ms;
	bool failing;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NS_PER_MS;
}

/* A new file, also where one was left by somebody who was killed; it may be anybody's. */
static int open_beside(const struct metrics *metrics)
{
	int fd, err;

	if (unlink(metrics->beside) && errno != ENOENT)
		return -errno;
	fd = open(metrics->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0644) == 0)
		return fd;
	err = -errno;
	close(fd);
	unlink(metrics->beside);
	return err;
}

/*
 * Is there nothing in its place that a rename would take away? A device, a link, or what is
 * not ours. Returns 0; -EINVAL for no regular file; -EEXIST for other contents; or a negative
 * errno.
 */
static int check_contents(const char *path)
{
	static const char ours[] = "# HELP nsmon_";
	char begin[sizeof(ours) - 1];
	struct stat st;
	ssize_t n;
	int fd;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, begin, sizeof(begin));
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	return memcmp(begin, ours, (size_t)n) == 0 ? 0 : -EEXIST;
}

/* By directory and name: what is written may not be there yet. */
static bool is_same_place(const char *a, const char *b)
{
	char *paths[] = { strdup(a), strdup(b), strdup(a), strdup(b) };
	struct stat in[2];
	bool same = paths[0] && paths[1] && paths[2] && paths[3] &&
		    strcmp(basename(paths[0]), basename(paths[1])) == 0 &&
		    stat(dirname(paths[2]), &in[0]) == 0 && stat(dirname(paths[3]), &in[1]) == 0 &&
		    in[0].st_dev == in[1].st_dev && in[0].st_ino == in[1].st_ino;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		free(paths[i]);
	return same;
}

static bool is_output(const char *path, const char *output)
{
	struct stat file, out;

	if (output && is_same_place(path, output))
		return true;
	return lstat(path, &file) == 0 && S_ISREG(file.st_mode) &&
	       (output ? stat(output, &out) : fstat(STDOUT_FILENO, &out)) == 0 &&
	       file.st_dev == out.st_dev && file.st_ino == out.st_ino;
}

static const char *describe_fault(int err)
{
	switch (err) {
	case -EINVAL:
		return "it is no regular file";
	case -EEXIST:
		return "it holds something else than metrics of nsmon, which would be lost";
	case -EBUSY:
		return "the records are written there";
	}
	return strerror(-err);
}

/* Can the file be written where it is to be? *at: the one of the two that is in the way. */
static int try_files(const struct metrics *metrics, const char *output, const char **at)
{
	const char *const files[] = { metrics->path, metrics->beside };
	int fd, err;

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		*at = files[i];
		if (is_output(files[i], output))
			return -EBUSY;
		err = check_contents(files[i]);
		if (err)
			return err;
	}
	fd = open_beside(metrics);
	if (fd < 0)
		return fd;
	close(fd);
	unlink(metrics->beside);
	return 0;
}

int metrics_open(struct metrics **result, const char *path, const char *output)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));
	const char *at = path;
	struct timespec ts;
	int err = -ENOMEM;

	if (metrics) {
		clock_gettime(CLOCK_REALTIME, &ts);
		metrics->path = path;
		metrics->started = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
		metrics->started_ms = now_ms();
		if (asprintf(&metrics->beside, "%s.tmp", path) < 0)
			metrics->beside = NULL;
		else
			err = try_files(metrics, output, &at);
	}
	if (!err) {
		*result = metrics;
		return 0;
	}
	log_error("--metrics '%s': %s%s%s; it takes a file, new or with metrics of nsmon, whose "
		  "directory can be written to",
		  path, at == path ? "" : at,
		  at == path ? "" : ", where it is written first: ", describe_fault(err));
	metrics_close(metrics);
	return err;
}

void metrics_close(struct metrics *metrics)
{
	if (!metrics)
		return;
	free(metrics->beside);
	free(metrics);
}

bool metrics_may_write(const struct metrics *metrics)
{
	char *copy;
	bool may;

	if (!metrics)
		return true;
	copy = strdup(metrics->path);
	may = copy && faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) == 0;
	free(copy);
	return may;
}

int metrics_period_ms(const struct metrics *metrics)
{
	return metrics ? INTERVAL_MS / 2 : -1;
}

int metrics_due_ms(const struct metrics *metrics)
{
	uint64_t now;

	if (!metrics)
		return -1;
	now = now_ms();
	return metrics->due_ms <= now ? 0 : (int)(metrics->due_ms - now);
}

static void describe(FILE *file, const char *name, const char *type, const char *help)
{
	fprintf(file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *file, const char *name, const char *type, const char *help, uint64_t value)
{
	describe(file, name, type, help);
	fprintf(file, "%s %" PRIu64 "\n", name, value);
}

static void by_event(FILE *file, const char *name, const uint64_t values[NSMON_KINDS])
{
	for (int kind = 0; kind < NSMON_KINDS; kind++)
		if (is_counted(kind))
			fprintf(file, "%s{event=\"%s\"} %" PRIu64 "\n", name, kind_names[kind],
				values[kind]);
}

static void write_counts(FILE *file, const struct totals *totals)
{
	describe(file, "nsmon_records_total", "counter",
		 "Records that were written, of events that the kernel delivered.");
	by_event(file, "nsmon_records_total", totals->written);
	one(file, "nsmon_picture_records_total", "counter",
	    "Records that were written of pictures of all tasks: proc records, and recovered ones "
	    "of "
	    "each event.",
	    totals->written[NSMON_PROC]);
	describe(file, "nsmon_lost_total", "counter",
		 "Records that were lost, in the kernel or since the output did not take them.");
	by_event(file, "nsmon_lost_total", totals->lost_of);
	one(file, "nsmon_unwritten_total", "counter",
	    "Records that the output did not take, as on a full disk.", totals->unwritten);
}

static void write_all(FILE *file, const struct metrics *metrics,
		      const struct metrics_values *values)
{
	describe(file, "nsmon_build_info", "gauge", "Always 1; what runs is in the labels.");
	fprintf(file, "nsmon_build_info{version=\"%s\",backend=\"%s\"} 1\n", NSMON_VERSION,
		values->backend);
	describe(file, "nsmon_start_time_seconds", "gauge", "When nsmon started, since 1970.");
	fprintf(file, "nsmon_start_time_seconds %.3f\n", metrics->started);
	describe(file, "nsmon_uptime_seconds", "gauge", "How long nsmon runs.");
	fprintf(file, "nsmon_uptime_seconds %.3f\n",
		(double)(now_ms() - metrics->started_ms) / 1000);
	write_counts(file, values->totals);
	one(file, "nsmon_output_failing", "gauge",
	    "1 where the last write to the output failed, else 0.", values->output_failing);
	one(file, "nsmon_repairs_total", "counter",
	    "Pictures of all tasks that were taken after a loss.", values->repairs);
	one(file, "nsmon_ring_buffer_size_bytes", "gauge", "Size of the ring buffer in the kernel.",
	    values->ring_size);
	one(file, "nsmon_ring_buffer_waiting_bytes", "gauge",
	    "The most that waited in the ring buffer when it was read, since the last write of "
	    "this "
	    "file.",
	    values->ring_waiting);
	one(file, "nsmon_tasks", "gauge", "Tasks in the table that the stream adds up to.",
	    values->tasks);
	one(file, "nsmon_containers", "gauge", "Containers that have a cgroup.",
	    values->containers);
}

/* On error *failed is the file that it is of. */
static int write_file(const struct metrics *metrics, const struct metrics_values *values,
		      const char **failed)
{
	FILE *file;
	int fd, err;

	*failed = metrics->path;
	err = check_contents(metrics->path);
	if (err)
		return err;
	*failed = metrics->beside;
	err = check_contents(metrics->beside);
	if (err)
		return err;
	fd = open_beside(metrics);
	if (fd < 0)
		return fd;
	file = fdopen(fd, "w");
	if (!file) {
		err = -errno;
		close(fd);
	} else {
		errno = 0;
		write_all(file, metrics, values);
		if (fflush(file) || ferror(file))
			err = errno ? -errno : -EIO;
		if (fclose(file) && !err)
			err = -errno;
	}
	if (!err && rename(metrics->beside, metrics->path)) {
		err = -errno;
		*failed = metrics->path;
	}
	if (err)
		unlink(metrics->beside);
	return err;
}

void metrics_write(struct metrics *metrics, const struct metrics_values *values)
{
	const char *failed;
	int err = write_file(metrics, values, &failed);

	metrics->due_ms = now_ms() + INTERVAL_MS;
	if (err && !metrics->failing)
		log_error("--metrics: cannot write %s: %s; tracing goes on, and so do the attempts",
			  failed, describe_fault(err));
	else if (!err && metrics->failing)
		log_note("--metrics: writing %s works again", metrics->path);
	metrics->failing = err != 0;
}
