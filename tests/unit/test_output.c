// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * output.c: whole lines only, whatever happens to the file or to its reader, and
 * what could not be written is counted to the last line.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include <cmocka.h>

#include "capture.h"
#include "output.h"

static char folder[64];
static char path[128], other_path[128];
static struct output *out;

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nsmon-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/out", folder);
	snprintf(other_path, sizeof(other_path), "%s/other", folder);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	alarm(60); /* a test that hangs ends here */
	return 0;
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int tear_down(void **state)
{
	(void)state;
	capture_end(NULL);
	limit_file_size(RLIM_INFINITY);
	output_close(out);
	out = NULL;
	unlink(path);
	unlink(other_path);
	signal(SIGALRM, SIG_DFL);
	return rmdir(folder);
}

static void open_out(const char *name)
{
	assert_int_equal(output_open(&out, name), 0);
}

/* One line of len bytes with its newline, which begins with its number. */
static int put(unsigned int number, size_t len, enum nsmon_kind kind)
{
	static char bytes[LINE_MAX_BYTES];
	struct line line;
	int err = output_begin(out, &line);

	if (err)
		return err;
	assert_true((size_t)(line.end - line.at) >= LINE_MAX_BYTES);
	assert_false(line.raw);
	memset(bytes, 'a' + (int)(number % 26), len);
	snprintf(bytes, len, "%07u", number);
	bytes[7] = ' ';
	bytes[len - 1] = '\n';
	line_bytes(&line, bytes, len);
	output_commit(out, &line, kind);
	return 0;
}

struct content {
	unsigned int lines; /* whole ones, numbered first, first + 1, ... */
	unsigned int first;
	size_t rest; /* bytes of one more */
};

/* Holds what put() wrote, and nothing else? */
static void check_lines(const char *bytes, size_t len, struct content *c)
{
	const char *end = bytes + len;

	*c = (struct content){ 0 };
	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		unsigned int number;

		if (!newline) {
			c->rest = (size_t)(end - bytes);
			return;
		}
		assert_int_equal(sscanf(bytes, "%7u ", &number), 1);
		for (const char *p = bytes + 8; p < newline; p++)
			if (*p != 'a' + (int)(number % 26))
				fail_msg("line %u is not whole", number);
		if (!c->lines)
			c->first = number;
		assert_int_equal(number, c->first + c->lines);
		c->lines++;
		bytes = newline + 1;
	}
}

static size_t read_file(const char *name, char **bytes)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*bytes = malloc((size_t)st.st_size + 1);
	assert_non_null(*bytes);
	assert_int_equal(read(fd, *bytes, (size_t)st.st_size), st.st_size);
	(*bytes)[st.st_size] = 0;
	close(fd);
	return (size_t)st.st_size;
}

static void check_file(const char *name, struct content *c)
{
	char *bytes;
	size_t len = read_file(name, &bytes);

	check_lines(bytes, len, c);
	free(bytes);
}

static void check_dropped(uint64_t lines, uint64_t forks, uint64_t execs, uint64_t exits,
			  uint64_t namespaces)
{
	uint64_t dropped[NSMON_KINDS] = { 0 };

	assert_int_equal(output_take_dropped(out, dropped), lines);
	assert_int_equal(dropped[NSMON_FORK], forks);
	assert_int_equal(dropped[NSMON_EXEC], execs);
	assert_int_equal(dropped[NSMON_EXIT], exits);
	assert_int_equal(dropped[NSMON_NS], namespaces);
	/* Each is told once. */
	memset(dropped, 0, sizeof(dropped));
	assert_int_equal(output_take_dropped(out, dropped), 0);
	for (int i = 0; i < NSMON_KINDS; i++)
		assert_int_equal(dropped[i], 0);
}

static void test_lines_arrive(void **state)
{
	struct content c;

	(void)state;
	open_out(path);
	assert_false(output_is_terminal(out));
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(put(i, 50 + i, NSMON_FORK), 0);
	check_file(path, &c);
	assert_int_equal(c.lines, 0); /* they wait for a block or for the flush */
	assert_int_equal(output_flush(out), 0);
	check_file(path, &c);
	assert_int_equal(c.lines, 10);
	assert_int_equal(c.rest, 0);
	assert_int_equal(output_flush(out), 0); /* nothing twice */
	check_file(path, &c);
	assert_int_equal(c.lines, 10);
	check_dropped(0, 0, 0, 0, 0);
}

/* More lines than the buffer has numbers for, and more bytes than it has room for. */
static void test_many_lines(void **state)
{
	struct content c;
	unsigned int n = 0;

	(void)state;
	open_out(path);
	for (; n < 20000; n++)
		assert_int_equal(put(n, 9, NSMON_FORK), 0);
	for (; n < 20050; n++)
		assert_int_equal(put(n, LINE_MAX_BYTES, NSMON_EXEC), 0);
	for (; n < 25000; n++)
		assert_int_equal(put(n, 9 + n % 1000, NSMON_EXEC), 0);
	assert_int_equal(output_flush(out), 0);
	check_file(path, &c);
	assert_int_equal(c.lines, n);
	assert_int_equal(c.rest, 0);
}

static void test_mode_and_appending(void **state)
{
	mode_t mask = umask(077);
	struct content c;
	struct stat st;

	(void)state;
	open_out(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	put(0, 20, NSMON_FORK);
	output_flush(out);
	output_close(out);
	open_out(path);
	put(1, 20, NSMON_FORK);
	output_flush(out);
	check_file(path, &c);
	assert_int_equal(c.lines, 2);
	assert_int_equal(umask(mask), 077); /* as it was */

	/* The mode of a file that was there is its owner's business. */
	output_close(out);
	assert_int_equal(chmod(path, 0604), 0);
	open_out(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
}

static void test_open_errors(void **state)
{
	char missing[160];

	(void)state;
	snprintf(missing, sizeof(missing), "%s/missing/file", folder);
	assert_int_equal(output_open(&out, missing), -ENOENT);
	assert_null(out);
	assert_int_equal(output_open(&out, folder), -EISDIR);
	assert_null(out);
	output_close(NULL);
}

static void test_descriptor_is_not_inherited(void **state)
{
	(void)state;
	open_out(path);
	assert_true(fcntl(output_fd(out), F_GETFD) & FD_CLOEXEC);
}

static void test_standard_output(void **state)
{
	int saved = dup(STDOUT_FILENO);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct content c;

	(void)state;
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	open_out(NULL);
	put(0, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	output_reopen(out); /* it has no name: nothing to do */
	put(1, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	output_close(out);
	out = NULL;
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0); /* not ours to close */
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(fd);
	check_file(path, &c);
	assert_int_equal(c.lines, 2);
}

static void test_full_device(void **state)
{
	char text[CAPTURE_MAX];

	(void)state;
	open_out("/dev/full");
	put(0, 20, NSMON_FORK);
	put(1, 20, NSMON_FORK);
	put(2, 20, NSMON_EXEC);
	put(3, 20, NSMON_EXIT);
	put(4, 20, NSMON_NS);
	put(5, 20, NSMON_NS);
	put(6, 20, 0); /* as start and stop: a line that no kind counts */
	capture_begin();
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(capture_end(text), 1);
	assert_non_null(strstr(text, "/dev/full"));
	assert_non_null(strstr(text, strerror(ENOSPC)));
	assert_true(output_is_failing(out));
	check_dropped(7, 2, 1, 1, 2);

	/* Again: counted, and not said again. */
	put(7, 20, NSMON_NS);
	capture_begin();
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(capture_end(NULL), 0);
	check_dropped(1, 0, 0, 0, 1);
}

/* To write nothing proves nothing: the disk is as full as before. */
static void test_empty_flush_repairs_nothing(void **state)
{
	(void)state;
	open_out("/dev/full");
	capture_begin();
	put(0, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_true(output_is_failing(out));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(output_flush(out), 0);
		assert_true(output_is_failing(out));
		assert_int_equal(output_flush_within(out, 0), 0);
		assert_true(output_is_failing(out));
	}
	assert_int_equal(capture_end(NULL), 1);
}

/* One that ends in the middle of a line: the rest of it follows when there is room. */
static void test_full_disk_then_room(void **state)
{
	struct content c;
	char text[CAPTURE_MAX];

	(void)state;
	open_out(path);
	limit_file_size(20050);
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(put(i, 100, i % 2 ? NSMON_EXEC : NSMON_FORK), 0);
	capture_begin();
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(capture_end(text), 1);
	assert_true(output_is_failing(out));
	check_file(path, &c);
	assert_int_equal(c.lines, 200);
	assert_int_equal(c.rest, 50);
	check_dropped(99, 49, 50, 0, 0); /* 201 to 299; 200 is on its way */

	/* Still full: no more is written, and the line on its way is no loss. */
	put(201, 100, NSMON_NS);
	capture_begin();
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(capture_end(NULL), 0);
	check_file(path, &c);
	assert_int_equal(c.lines, 200);
	assert_int_equal(c.rest, 50);
	check_dropped(1, 0, 0, 0, 1);

	limit_file_size(RLIM_INFINITY);
	put(201, 100, NSMON_NS);
	capture_begin();
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(capture_end(text), 1); /* "works again" */
	assert_false(output_is_failing(out));
	check_file(path, &c);
	assert_int_equal(c.lines, 202);
	assert_int_equal(c.rest, 0);
	check_dropped(0, 0, 0, 0, 0);
}

/* Whatever the disk has left, no line is torn and each is either written or counted. */
static void test_every_limit(void **state)
{
	(void)state;
	for (unsigned int limit = 0; limit <= 120; limit++) {
		uint64_t dropped[NSMON_KINDS] = { 0 };
		struct content c;
		uint64_t lost;

		open_out(path);
		limit_file_size(limit);
		for (unsigned int i = 0; i < 10; i++)
			assert_int_equal(put(i, 12, NSMON_FORK), 0);
		{ /* the limit is for standard error as well, where that is a file */
			int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
			int saved = dup(STDERR_FILENO);

			dup2(null, STDERR_FILENO);
			assert_int_equal(output_flush(out), 0);
			lost = output_take_dropped(out, dropped);
			assert_int_equal(lost, dropped[NSMON_FORK]);
			limit_file_size(RLIM_INFINITY);
			for (unsigned int i = 0; i < 3; i++)
				assert_int_equal(put((unsigned int)(10 - lost) + i, 12, NSMON_FORK),
						 0);
			assert_int_equal(output_flush(out), 0);
			dup2(saved, STDERR_FILENO);
			close(saved);
			close(null);
		}
		check_file(path, &c);
		assert_int_equal(c.first, 0);
		assert_int_equal(c.lines, 13 - lost); /* the numbers are used again: no gap */
		assert_int_equal(c.rest, 0);
		assert_int_equal(lost, 10 - (limit + 11) / 12);
		assert_int_equal(output_take_dropped(out, dropped), 0);
		output_close(out);
		out = NULL;
		unlink(path);
	}
}

/* At the end a torn line is taken back out of a file, and counted. */
static void test_discard_takes_a_torn_line_back(void **state)
{
	struct content c;

	(void)state;
	open_out(path);
	limit_file_size(1050);
	capture_begin();
	for (unsigned int i = 0; i < 12; i++)
		put(i, 100, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	capture_end(NULL);
	check_file(path, &c);
	assert_int_equal(c.rest, 50);
	output_discard(out);
	check_file(path, &c);
	assert_int_equal(c.lines, 10);
	assert_int_equal(c.rest, 0);
	check_dropped(2, 2, 0, 0, 0);
}

/* Unless somebody else wrote behind it: their bytes are not ours to cut. */
static void test_discard_leaves_others_alone(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	open_out(path);
	limit_file_size(150);
	capture_begin();
	for (unsigned int i = 0; i < 2; i++)
		put(i, 100, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	capture_end(NULL);
	limit_file_size(RLIM_INFINITY);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "other\n", 6), 6);
	close(fd);
	output_discard(out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 156);
}

/* What a crash left without an end is not continued by our first line. */
static void test_file_that_ends_in_a_line(void **state)
{
	char *bytes;
	size_t len;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(write(fd, "half", 4), 4);
	close(fd);
	open_out(path);
	assert_int_equal(put(0, 20, NSMON_FORK), 0);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(put(1, 20, NSMON_FORK), 0);
	assert_int_equal(output_flush(out), 0);
	len = read_file(path, &bytes);
	assert_int_equal(len, 4 + 1 + 20 + 20);
	assert_memory_equal(bytes, "half\n0000000 ", 13);
	free(bytes);
}

static void test_reopen(void **state)
{
	struct content c;
	struct stat st;

	(void)state;
	open_out(path);
	put(0, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(rename(path, other_path), 0);
	put(1, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0); /* nobody has told us yet */
	output_reopen(out);
	put(2, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	check_file(other_path, &c);
	assert_int_equal(c.lines, 2);
	check_file(path, &c);
	assert_int_equal(c.lines, 1);
	assert_int_equal(c.first, 2);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_reopen_fails(void **state)
{
	struct content c;

	(void)state;
	open_out(path);
	put(0, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(rename(path, other_path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	capture_begin();
	output_reopen(out);
	assert_int_equal(capture_end(NULL), 1);
	put(1, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	check_file(other_path, &c);
	assert_int_equal(c.lines, 2);
	assert_int_equal(rmdir(path), 0);
}

static void check_link_error(const char *name)
{
	assert_int_equal(output_open(&out, name), -ELOOP);
	assert_null(out);
	assert_non_null(strstr(output_open_error(name, -ELOOP), "symbolic link"));
}

/* A link in the last component is not followed, wherever it leads; one before it is. */
static void test_link_is_refused(void **state)
{
	char inside[sizeof(other_path) + 8];
	struct stat st;
	int fd = open(other_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	close(fd);
	assert_int_equal(symlink(other_path, path), 0);
	check_link_error(path); /* to a file */
	assert_int_equal(stat(other_path, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(unlink(other_path), 0);
	check_link_error(path); /* to nothing */
	assert_int_equal(stat(other_path, &st), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(folder, path), 0);
	snprintf(inside, sizeof(inside), "%s/other", path);
	open_out(inside);
	assert_int_equal(stat(other_path, &st), 0);
	/* Another error is told as what it is, and so is a circle of links that are directories. */
	assert_int_equal(unlink(path), 0);
	assert_string_equal(output_open_error(path, -ELOOP), strerror(ELOOP));
	assert_string_equal(output_open_error(path, -EACCES), strerror(EACCES));
}

/* Swapped in before SIGHUP: what it leads to stays as it is, and the stream goes on in the old file. */
static void check_refused_again(const char *why)
{
	static char text[CAPTURE_MAX];
	struct content c;

	capture_begin();
	output_reopen(out);
	assert_int_equal(capture_end(text), 1);
	assert_non_null(strstr(text, path));
	assert_non_null(strstr(text, why));
	put(1, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	check_file(other_path, &c);
	assert_int_equal(c.lines, 2);
}

static void test_reopen_refuses_a_link(void **state)
{
	char target[sizeof(folder) + 8];
	struct stat st;
	int fd;

	(void)state;
	snprintf(target, sizeof(target), "%s/target", folder);
	fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "kept", 4), 4);
	close(fd);
	open_out(path);
	put(0, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(rename(path, other_path), 0);
	assert_int_equal(symlink(target, path), 0);
	check_refused_again("symbolic link");
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(unlink(target), 0);
}

/* Its open would wait for a reader, and nsmon with it. */
static void test_reopen_does_not_wait_for_a_pipe(void **state)
{
	(void)state;
	open_out(path);
	put(0, 20, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(rename(path, other_path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	check_refused_again("a named pipe that nobody reads");
}

/* One that has a reader is written to as one that was there from the start: it is waited for. */
static void test_reopened_pipe_blocks(void **state)
{
	int fd;

	(void)state;
	open_out(path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(output_lacks_reader(path));
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_false(output_lacks_reader(path));
	output_reopen(out);
	assert_int_equal(fcntl(output_fd(out), F_GETFL) & (O_NONBLOCK | O_APPEND), O_APPEND);
	close(fd);
}

/* As logrotate's copytruncate does it: no hole is left in front of what follows. */
static void test_file_that_is_cut_to_nothing(void **state)
{
	struct content c;
	struct stat st;

	(void)state;
	open_out(path);
	for (unsigned int i = 0; i < 3; i++)
		put(i, 50, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(truncate(path, 0), 0);
	put(3, 50, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 50);
	check_file(path, &c);
	assert_int_equal(c.first, 3);
}

/*
 * A line whose beginning is on the old, full disk: it is taken back there, and the
 * new file begins with all of it.
 */
static void test_reopen_in_the_middle_of_a_line(void **state)
{
	struct content c;

	(void)state;
	open_out(path);
	limit_file_size(1050);
	capture_begin();
	for (unsigned int i = 0; i < 20; i++)
		put(i, 100, NSMON_FORK);
	assert_int_equal(output_flush(out), 0);
	check_dropped(9, 9, 0, 0, 0); /* 11 to 19 */
	assert_int_equal(rename(path, other_path), 0);
	output_reopen(out);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(output_flush(out), 0);
	check_dropped(0, 0, 0, 0, 0);
	capture_end(NULL);
	check_file(other_path, &c);
	assert_int_equal(c.lines, 10);
	assert_int_equal(c.rest, 0);
	check_file(path, &c);
	assert_int_equal(c.lines, 1);
	assert_int_equal(c.first, 10);
	assert_int_equal(c.rest, 0);
}

/* A pipe with its reading end, and as much room as a page. */
static int open_pipe(void)
{
	int fd;

	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	open_out(path);
	fcntl(fd, F_SETPIPE_SZ, 4096);
	return fd;
}

static char piped[1 << 22];
static size_t piped_len;

/* Everything that is in the pipe now. */
static void drain(int fd)
{
	ssize_t n;

	while ((n = read(fd, piped + piped_len, sizeof(piped) - piped_len)) > 0)
		piped_len += (size_t)n;
}

static void test_reader_is_gone(void **state)
{
	int fd = open_pipe();

	(void)state;
	close(fd);
	put(0, 20, NSMON_FORK);
	capture_begin();
	assert_int_equal(output_flush(out), -EPIPE);
	assert_int_equal(output_flush_within(out, 100), -EPIPE);
	assert_int_equal(capture_end(NULL), 0); /* quietly */
	assert_false(output_is_failing(out));
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_reader_does_not_read(void **state)
{
	int fd = open_pipe();
	int64_t start;
	struct content c;

	(void)state;
	piped_len = 0;
	for (unsigned int i = 0; i < 100; i++)
		put(i, 300, NSMON_FORK);
	start = now_ms();
	assert_int_equal(output_flush_within(out, 200), -ETIMEDOUT);
	assert_in_range(now_ms() - start, 190, 5000);
	start = now_ms();
	assert_int_equal(output_flush_within(out, 0), -ETIMEDOUT);
	assert_in_range(now_ms() - start, 0, 1000);
	assert_false(output_is_failing(out));
	/* A slow reader after all: nothing is missing, nothing is there twice. */
	for (int i = 0; i < 1000; i++) {
		drain(fd);
		if (output_flush_within(out, 0) == 0)
			break;
	}
	drain(fd);
	check_lines(piped, piped_len, &c);
	assert_int_equal(c.lines, 100);
	assert_int_equal(c.rest, 0);
	check_dropped(0, 0, 0, 0, 0);
	close(fd);
}

/* Somebody, as a shell may, has made the pipe non-blocking: short writes and EAGAIN. */
static void test_pipe_that_does_not_block(void **state)
{
	int fd = open_pipe();
	struct content c;
	int err = 0;

	(void)state;
	piped_len = 0;
	assert_int_equal(fcntl(output_fd(out), F_SETFL, O_NONBLOCK), 0);
	for (unsigned int i = 0; i < 100; i++)
		put(i, 300, NSMON_FORK);
	for (int i = 0; i < 1000; i++) {
		err = output_flush_within(out, 10);
		drain(fd);
		if (!err)
			break;
		assert_int_equal(err, -ETIMEDOUT);
	}
	assert_int_equal(err, 0);
	assert_false(output_is_failing(out));
	check_lines(piped, piped_len, &c);
	assert_int_equal(c.lines, 100);
	assert_int_equal(c.rest, 0);

	/* The same without a time limit: it comes back every now and then. */
	piped_len = 0;
	for (unsigned int i = 0; i < 20; i++)
		put(i, 300, NSMON_FORK);
	for (int i = 0; i < 10; i++) {
		err = output_flush(out);
		drain(fd);
		if (!err)
			break;
		assert_int_equal(err, -EINTR);
	}
	assert_int_equal(err, 0);
	check_lines(piped, piped_len, &c);
	assert_int_equal(c.lines, 20);
	close(fd);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* A signal while it waits for a reader that does not read: the time limit holds. */
static void test_interrupted_within(void **state)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };
	struct itimerval once = { { 0, 0 }, { 0, 50000 } };
	struct sigaction action = { .sa_handler = on_alarm };
	int fd = open_pipe();
	int status = -1;
	pid_t pid;

	(void)state;
	for (unsigned int i = 0; i < 100; i++)
		put(i, 300, NSMON_FORK);
	pid = fork(); /* one that hangs is seen */
	if (pid == 0) {
		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &once, NULL);
		_exit(output_flush_within(out, 300) == -ETIMEDOUT ? 0 : 1);
	}
	for (int i = 0; i < 300 && waitpid(pid, &status, WNOHANG) == 0; i++)
		nanosleep(&pause, NULL);
	if (status == -1) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		fail_msg("300 ms are not over after 3 s");
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(fd);
}

static void *read_slowly(void *argument)
{
	static const struct timespec pause = { .tv_nsec = 200000 };
	static const struct timespec stall = { .tv_nsec = 5000000 };
	int fd = *(int *)argument;

	for (;;) {
		ssize_t n = read(fd, piped + piped_len, 1 + piped_len % 4000);

		if (n == 0)
			return NULL;
		if (n < 0) {
			nanosleep(&pause, NULL);
			continue;
		}
		piped_len += (size_t)n;
		if (piped_len % 16 == 0) /* a signal finds the writer with nothing written yet */
			nanosleep(&stall, NULL);
	}
}

/* Signals interrupt the writes, at any place in a line. */
static void test_interrupted_writes(void **state)
{
	struct itimerval often = { { 0, 700 }, { 0, 700 } };
	struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = on_alarm };
	unsigned int interrupted = 0;
	struct content c;
	pthread_t thread;
	sigset_t set;
	int fd = open_pipe();

	(void)state;
	piped_len = 0;
	/* The signals are for this thread alone. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	assert_int_equal(pthread_create(&thread, NULL, read_slowly, &fd), 0);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned int i = 0; i < 1500; i++) {
		int err = put(i, 9 + i % 500, NSMON_FORK);

		while (err == -EINTR) {
			interrupted++;
			err = put(i, 9 + i % 500, NSMON_FORK);
		}
		assert_int_equal(err, 0);
	}
	while (output_flush(out) == -EINTR)
		interrupted++;
	setitimer(ITIMER_REAL, &never, NULL);
	alarm(60);
	output_close(out);
	out = NULL;
	pthread_join(thread, NULL);
	close(fd);
	assert_true(interrupted > 0);
	check_lines(piped, piped_len, &c);
	assert_int_equal(c.lines, 1500);
	assert_int_equal(c.rest, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lines_arrive),
		TEST(test_many_lines),
		TEST(test_mode_and_appending),
		TEST(test_open_errors),
		TEST(test_descriptor_is_not_inherited),
		TEST(test_standard_output),
		TEST(test_full_device),
		TEST(test_empty_flush_repairs_nothing),
		TEST(test_full_disk_then_room),
		TEST(test_every_limit),
		TEST(test_discard_takes_a_torn_line_back),
		TEST(test_discard_leaves_others_alone),
		TEST(test_file_that_ends_in_a_line),
		TEST(test_reopen),
		TEST(test_reopen_fails),
		TEST(test_link_is_refused),
		TEST(test_reopen_refuses_a_link),
		TEST(test_reopen_does_not_wait_for_a_pipe),
		TEST(test_reopened_pipe_blocks),
		TEST(test_file_that_is_cut_to_nothing),
		TEST(test_reopen_in_the_middle_of_a_line),
		TEST(test_reader_is_gone),
		TEST(test_reader_does_not_read),
		TEST(test_pipe_that_does_not_block),
		TEST(test_interrupted_within),
		TEST(test_interrupted_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
