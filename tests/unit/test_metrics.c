// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* metrics.c: the file is whole or the old one, in the text format of Prometheus. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "metrics.h"
#include "version.h"

static char directory[64], path[128], beside[160], text[65536];
static struct metrics *metrics;
static struct totals totals;
static struct metrics_values values;

static int set_up(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/nsmon-metrics-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/nsmon.prom", directory);
	snprintf(beside, sizeof(beside), "%s.tmp", path);
	totals = (struct totals){
		.written = { [NSMON_FORK] = 1,
			     [NSMON_EXEC] = 2,
			     [NSMON_EXIT] = 3,
			     [NSMON_NS] = 4,
			     [NSMON_PROC] = 5,
			     [NSMON_CGROUP] = 6 },
		.lost = 27,
		.lost_of = { [NSMON_FORK] = 7, [NSMON_NS] = 8, [NSMON_CGROUP] = 12 },
		.unwritten = 9,
	};
	values = (struct metrics_values){
		.backend = "kprobe",
		.totals = &totals,
		.output_failing = true,
		.repairs = 10,
		.ring_size = 8388608,
		.ring_waiting = 4096,
		.tasks = 11,
		.containers = UINT64_MAX,
	};
	metrics = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	capture_end(NULL);
	metrics_close(metrics);
	unlink(path);
	unlink(beside);
	rmdir(directory);
	return 0;
}

static void read_file(void)
{
	FILE *file = fopen(path, "re");
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = 0;
	fclose(file);
}

/* A line that is this. */
static void has_line(const char *line)
{
	const char *found = text;
	size_t len = strlen(line);

	while ((found = strstr(found, line))) {
		if ((found == text || found[-1] == '\n') && found[len] == '\n')
			return;
		found += len;
	}
	fail_msg("there is no line %s in:\n%s", line, text);
}

static void test_values(void **state)
{
	mode_t mask = umask(0077);
	struct stat st;
	double started;

	(void)state;
	assert_int_equal(metrics_open(&metrics, path, "/dev/null"), 0);
	assert_int_equal(access(path, F_OK), -1); /* nothing is known yet */
	assert_int_equal(access(beside, F_OK), -1);
	assert_int_equal(metrics_due_ms(metrics), 0);
	metrics_write(metrics, &values);
	umask(mask);
	assert_true(metrics_due_ms(metrics) > 14000 && metrics_due_ms(metrics) <= 15000);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(access(beside, F_OK), -1);
	read_file();
	has_line("nsmon_build_info{version=\"" NSMON_VERSION "\",backend=\"kprobe\"} 1");
	has_line("nsmon_records_total{event=\"fork\"} 1");
	has_line("nsmon_records_total{event=\"exec\"} 2");
	has_line("nsmon_records_total{event=\"exit\"} 3");
	has_line("nsmon_records_total{event=\"ns\"} 4");
	has_line("nsmon_records_total{event=\"cgroup\"} 6");
	has_line("nsmon_picture_records_total 5");
	has_line("nsmon_lost_total{event=\"fork\"} 7");
	has_line("nsmon_lost_total{event=\"exec\"} 0");
	has_line("nsmon_lost_total{event=\"exit\"} 0");
	has_line("nsmon_lost_total{event=\"ns\"} 8");
	has_line("nsmon_lost_total{event=\"cgroup\"} 12");
	has_line("nsmon_unwritten_total 9");
	has_line("nsmon_output_failing 1");
	has_line("nsmon_repairs_total 10");
	has_line("nsmon_ring_buffer_size_bytes 8388608");
	has_line("nsmon_ring_buffer_waiting_bytes 4096");
	has_line("nsmon_tasks 11");
	has_line("nsmon_containers 18446744073709551615");
	has_line("# TYPE nsmon_records_total counter");
	assert_int_equal(sscanf(strstr(text, "\nnsmon_start_time_seconds") + 26, "%lf", &started),
			 1);
	assert_true(started <= (double)time(NULL) + 1 && started > (double)time(NULL) - 60);
}

/* Each write is a new file: who has the old one open reads on in it. */
static void test_takes_its_place(void **state)
{
	char old[32] = { 0 };
	int fd;

	(void)state;
	assert_int_equal(metrics_open(&metrics, path, "/dev/null"), 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "# HELP nsmon_x\n", 15), 15);
	metrics_write(metrics, &values);
	assert_int_equal(pread(fd, old, sizeof(old), 0), 15);
	close(fd);
	read_file();
	has_line("nsmon_tasks 11");
}

/* A link that somebody else has put there is not followed, nor taken away. */
static void test_somebody_elses(void **state)
{
	char other[128], said[CAPTURE_MAX];
	struct stat st;

	(void)state;
	snprintf(other, sizeof(other), "%s/other", directory);
	assert_int_equal(metrics_open(&metrics, path, "/dev/null"), 0);
	assert_int_equal(symlink(other, beside), 0);
	capture_begin();
	metrics_write(metrics, &values);
	assert_int_equal(capture_end(said), 1);
	assert_non_null(strstr(said, beside));
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(lstat(beside, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink(beside);
	metrics_write(metrics, &values);
	read_file();
}

static void refused(const char *where, const char *output, int err, const char *why)
{
	struct metrics *none = NULL;
	char said[CAPTURE_MAX];

	capture_begin();
	assert_int_equal(metrics_open(&none, where, output), err);
	assert_int_equal(capture_end(said), 1);
	assert_non_null(strstr(said, where));
	assert_non_null(strstr(said, why));
	assert_null(none);
}

static void put(const char *where, const char *contents)
{
	FILE *file = fopen(where, "w");

	assert_non_null(file);
	fputs(contents, file);
	assert_int_equal(fclose(file), 0);
}

static void test_refused(void **state)
{
	char under[160];

	(void)state;
	refused(directory, NULL, -EINVAL, "no regular file");
	refused("/dev/null", NULL, -EINVAL, "no regular file"); /* a rename would take its place */
	snprintf(under, sizeof(under), "%s/none/file", directory);
	refused(under, NULL, -ENOENT, "No such file");
	assert_int_equal(mkdir(beside, 0700), 0);
	refused(path, NULL, -EINVAL, beside);
	assert_int_equal(rmdir(beside), 0);
	assert_int_equal(mkfifo(beside, 0700), 0);
	refused(path, NULL, -EINVAL, beside);
	assert_int_equal(unlink(beside), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	refused(path, NULL, -EINVAL, "no regular file");
	snprintf(under, sizeof(under), "%s/file", path);
	refused(under, NULL, -ENOTDIR, "Not a directory");
}

/* Where the records go, whatever it is called, and whether it is there yet or not. */
static void test_output(void **state)
{
	char other[160];

	(void)state;
	snprintf(other, sizeof(other), "%s/.//%s", directory, strrchr(path, '/') + 1);
	refused(path, other, -EBUSY, "the records are written there");
	assert_int_equal(access(path, F_OK), -1);
	strcat(other, ".tmp");
	refused(path, other, -EBUSY, beside);
	put(path, "");
	refused(path, path, -EBUSY, "the records are written there");
	snprintf(other, sizeof(other), "%s/link", directory);
	assert_int_equal(link(path, other), 0);
	refused(path, other, -EBUSY, "the records are written there");
	unlink(other);
	snprintf(other, sizeof(other), "/%s", strrchr(path, '/') + 1);
	assert_int_equal(metrics_open(&metrics, path, other), 0);
}

static void test_standard_output(void **state)
{
	int before = dup(STDOUT_FILENO);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	refused(path, NULL, -EBUSY, "the records are written there");
	dup2(before, STDOUT_FILENO);
	close(before);
	close(fd);
	assert_int_equal(metrics_open(&metrics, path, NULL), 0);
}

static void assert_is(const char *where, const char *contents)
{
	char is[32] = { 0 };
	FILE *file = fopen(where, "r");

	assert_non_null(file);
	assert_true(fread(is, 1, sizeof(is) - 1, file) < sizeof(is) - 1);
	fclose(file);
	assert_string_equal(is, contents);
}

/* Nobody's file is lost, neither at the start nor one that comes there later. */
static void test_other_contents(void **state)
{
	char said[CAPTURE_MAX];

	(void)state;
	put(path, "# HELP other_metrics\n");
	refused(path, NULL, -EEXIST, "something else than metrics");
	assert_is(path, "# HELP other_metrics\n");
	unlink(path);
	put(beside, "mine");
	refused(path, NULL, -EEXIST, beside);
	assert_is(beside, "mine");
	put(beside, "# HELP ns"); /* of one that was killed */
	assert_int_equal(metrics_open(&metrics, path, NULL), 0);
	for (int i = 0; i < 2; i++) {
		put(i ? beside : path, "mine");
		capture_begin();
		metrics_write(metrics, &values);
		assert_true((capture_end(said) == 1) == !i);
		assert_is(i ? beside : path, "mine");
		unlink(i ? beside : path);
	}
	metrics_write(metrics, &values);
	read_file();
	has_line("nsmon_tasks 11");
}

/* It is said once, also that it works again; what was there stays. */
static void test_failing(void **state)
{
	char moved[128], said[CAPTURE_MAX];

	(void)state;
	snprintf(moved, sizeof(moved), "%s-moved", directory);
	assert_int_equal(metrics_open(&metrics, path, "/dev/null"), 0);
	metrics_write(metrics, &values);
	assert_int_equal(rename(directory, moved), 0);
	capture_begin();
	metrics_write(metrics, &values);
	metrics_write(metrics, &values);
	assert_int_equal(capture_end(said), 1);
	assert_non_null(strstr(said, beside));
	assert_non_null(strstr(said, strerror(ENOENT)));
	assert_true(metrics_due_ms(metrics) > 14000);
	assert_int_equal(rename(moved, directory), 0);
	read_file();
	has_line("nsmon_tasks 11");
	values.tasks = 12;
	capture_begin();
	metrics_write(metrics, &values);
	metrics_write(metrics, &values);
	assert_int_equal(capture_end(said), 1);
	assert_non_null(strstr(said, "works again"));
	read_file();
	has_line("nsmon_tasks 12");
}

/* The message names the file that something is wrong with. */
static void test_directory_in_its_place(void **state)
{
	char said[CAPTURE_MAX];

	(void)state;
	assert_int_equal(metrics_open(&metrics, path, "/dev/null"), 0);
	metrics_write(metrics, &values);
	assert_int_equal(mkdir(beside, 0700), 0);
	capture_begin();
	metrics_write(metrics, &values);
	assert_int_equal(capture_end(said), 1);
	assert_non_null(strstr(said, beside));
	metrics_close(metrics);
	metrics = NULL;
	refused(path, NULL, -EINVAL, "no regular file");
	assert_int_equal(rmdir(beside), 0);
}

/* As where the disk is full: the file that was half written is gone, the old one is there. */
static void test_full(void **state)
{
	char said[CAPTURE_MAX];
	struct rlimit limit, full;

	(void)state;
	assert_int_equal(metrics_open(&metrics, path, "/dev/null"), 0);
	metrics_write(metrics, &values);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	full = limit;
	full.rlim_cur = 100;
	capture_begin(); /* which has a file, too */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	values.tasks = 12;
	metrics_write(metrics, &values);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_true(capture_end(said) <= 1);
	assert_int_equal(access(beside, F_OK), -1);
	read_file();
	has_line("nsmon_tasks 11");
	metrics_write(metrics, &values);
	read_file();
	has_line("nsmon_tasks 12");
}

static void test_none(void **state)
{
	(void)state;
	assert_int_equal(metrics_due_ms(NULL), -1);
	metrics_close(NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values),	   TEST(test_takes_its_place),
		TEST(test_somebody_elses), TEST(test_refused),
		TEST(test_output),	   TEST(test_standard_output),
		TEST(test_other_contents), TEST(test_directory_in_its_place),
		TEST(test_failing),	   TEST(test_full),
		TEST(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
