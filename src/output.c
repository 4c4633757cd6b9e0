// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Buffered writing. Must not know what a line says, only of which kind it is. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "log.h"

#define BLOCK_BYTES ((size_t)65536)
#define LINES_MAX 2048

struct output {
	char *path; /* NULL: standard output, or the journal */
	int fd; /* -1: the journal */
	bool terminal;
	bool failing;
	bool glued; /* the file's last line has no end: begin a new one */
	size_t cut; /* bytes of the first line that are written already; it stays whole in data */
	size_t len; /* bytes in data */
	size_t lines;
	size_t ends[LINES_MAX]; /* offset in data behind each line */
	uint8_t kinds[LINES_MAX];
	uint64_t dropped[NSMON_KINDS];
	uint64_t dropped_lines;
	char data[BLOCK_BYTES + LINE_MAX_BYTES];
};

/* No link in the last component: whoever may write in the directory could send the lines anywhere with one. */
#define OPEN_FLAGS (O_CLOEXEC | O_NOCTTY | O_NOFOLLOW)

/* Does the file at path, open as fd, end within a line, as a crash may leave it? */
static bool ends_in_line(const char *path, int fd)
{
	char last = '\n';
	struct stat st, again;
	int reading;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0)
		return false;
	reading = open(path, O_RDONLY | O_NONBLOCK | OPEN_FLAGS);
	if (reading < 0)
		return false;
	/* Another file may have come in its place. */
	if (fstat(reading, &again) || again.st_dev != st.st_dev || again.st_ino != st.st_ino ||
	    pread(reading, &last, 1, st.st_size - 1) != 1)
		last = '\n';
	close(reading);
	return last != '\n';
}

/* Returns a descriptor, or a negative errno. */
static int open_path(const char *path, int flags)
{
	mode_t mask = umask(0);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | OPEN_FLAGS | flags, 0640);
	int err = fd < 0 ? -errno : 0;

	umask(mask);
	return err ? err : fd;
}

/* Without waiting for the reader of a named pipe that has come in the file's place. */
static int open_path_again(const char *path)
{
	int fd = open_path(path, O_NONBLOCK);

	if (fd >= 0)
		fcntl(fd, F_SETFL, O_APPEND);
	return fd;
}

const char *output_open_error(const char *path, int err)
{
	struct stat st;

	if (err == -ELOOP && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		return "it is a symbolic link, which is not followed";
	if (err == -ENXIO && lstat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		return "it is a named pipe that nobody reads; its reader has to be there first";
	if (err == -ENXIO && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return "it is a socket, which is not connected to";
	return strerror(-err);
}

bool output_lacks_reader(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) || !S_ISFIFO(st.st_mode))
		return false;
	fd = open(path, O_WRONLY | O_NONBLOCK | OPEN_FLAGS);
	if (fd < 0)
		return errno == ENXIO;
	close(fd);
	return false;
}

int output_open(struct output **result, const char *path)
{
	struct output *out = calloc(1, sizeof(*out));
	int err = -ENOMEM;

	if (!out)
		return err;
	out->fd = STDOUT_FILENO;
	if (path) {
		out->path = strdup(path);
		if (!out->path)
			goto fail;
		err = open_path(path, 0);
		if (err < 0)
			goto fail;
		out->fd = err;
		out->glued = ends_in_line(path, out->fd);
	}
	out->terminal = isatty(out->fd);
	*result = out;
	return 0;
fail:
	free(out->path);
	free(out);
	return err;
}

int output_open_journal(struct output **result)
{
	struct output *out = calloc(1, sizeof(*out));

	if (!out)
		return -ENOMEM;
	out->fd = -1;
	*result = out;
	return 0;
}

void output_close(struct output *out)
{
	if (!out)
		return;
	if (out->path)
		close(out->fd);
	free(out->path);
	free(out);
}

bool output_is_terminal(const struct output *out)
{
	return out->terminal;
}

int output_fd(const struct output *out)
{
	return out->fd;
}

bool output_is_empty(const struct output *out)
{
	return out->len == 0;
}

void output_count_waiting(const struct output *out, uint64_t waiting[NSMON_KINDS])
{
	for (size_t i = 0; i < out->lines; i++)
		waiting[out->kinds[i]]++;
}

bool output_has_room(const struct output *out)
{
	return out->len <= BLOCK_BYTES && out->lines < LINES_MAX;
}

int output_begin(struct output *out, struct line *line)
{
	int err = 0;

	if (!output_has_room(out))
		err = output_flush(out);
	if (err)
		return err;
	*line = (struct line){
		.at = out->data + out->len,
		.end = out->data + out->len + LINE_MAX_BYTES,
	};
	return 0;
}

void output_commit(struct output *out, const struct line *line, enum nsmon_kind kind)
{
	out->len = (size_t)(line->at - out->data);
	out->ends[out->lines] = out->len;
	out->kinds[out->lines++] = (uint8_t)kind;
}

/* The first `written` bytes are out: forget the lines of which nothing is left. */
static void forget_written(struct output *out, size_t written)
{
	size_t lines = 0, whole;

	while (lines < out->lines && out->ends[lines] <= written)
		lines++;
	whole = lines ? out->ends[lines - 1] : 0;
	out->cut = written - whole;
	if (!lines)
		return;
	memmove(out->data, out->data + whole, out->len - whole);
	memmove(out->kinds, out->kinds + lines, out->lines - lines);
	for (size_t i = lines; i < out->lines; i++)
		out->ends[i - lines] = out->ends[i] - whole;
	out->lines -= lines;
	out->len -= whole;
}

/* Takes the part of a line back that is in a regular file, if nobody wrote behind it. */
static void take_back_cut_line(struct output *out)
{
	off_t end = lseek(out->fd, 0, SEEK_CUR);
	off_t start = end - (off_t)out->cut;
	struct stat st;

	if (!out->cut || fstat(out->fd, &st) || !S_ISREG(st.st_mode) || st.st_size != end)
		return;
	if (ftruncate(out->fd, start) == 0 && lseek(out->fd, start, SEEK_SET) == start)
		out->cut = 0;
}

/*
 * What cannot be written is dropped, but for the rest of a line of which a part
 * is out already: lines stay whole.
 */
static void drop(struct output *out)
{
	size_t keep = out->cut && out->lines ? 1 : 0;

	for (size_t i = keep; i < out->lines; i++)
		out->dropped[out->kinds[i]]++;
	out->dropped_lines += out->lines - keep;
	out->lines = keep;
	out->len = keep ? out->ends[0] : 0;
}

void output_discard(struct output *out)
{
	take_back_cut_line(out);
	out->cut = 0;
	drop(out);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Waits until a write of PIPE_BUF bytes does not block. */
static int wait_writable(int fd, int64_t deadline_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
	int64_t left = deadline_ms - now_ms();
	int n;

	if (left < 0)
		left = 0;
	n = poll(&poll_fd, 1, (int)left);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* One entry of the journal is one line; libsystemd says that it has sent it where there is no journal. */
static ssize_t send_entry(const struct output *out, size_t written)
{
	size_t line = 0;
	int err = access(JOURNAL_SOCKET, F_OK) ? -errno : 0;

	while (out->ends[line] <= written)
		line++;
	if (!err)
		err = journal_send(out->data + written, out->ends[line] - written);
	errno = -err;
	return err ? -1 : (ssize_t)(out->ends[line] - written);
}

/* A write that may wait for the journal has no poll(2) before it: alarms end it. */
static int wait_or_give_up(const struct output *out, int64_t deadline_ms)
{
	if (out->fd >= 0)
		return wait_writable(out->fd, deadline_ms);
	return now_ms() > deadline_ms ? -ETIMEDOUT : 0;
}

static const char *name_of(const struct output *out)
{
	if (out->path)
		return out->path;
	return out->fd < 0 ? "the journal" : "standard output";
}

/* timeout_ms < 0: until a signal comes. */
static int write_block(struct output *out, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? 0 : now_ms() + timeout_ms;
	const char *name = name_of(out);
	size_t written = out->cut;
	bool any;
	int err = 0;

	if (out->glued && out->len) {
		err = write(out->fd, "\n", 1) == 1 ? 0 : -errno;
		out->glued = err != 0;
	}
	any = written < out->len;
	while (!out->glued && written < out->len) {
		size_t len = out->len - written;
		ssize_t n;

		if (timeout_ms >= 0) {
			err = wait_or_give_up(out, deadline);
			if (err == -EINTR)
				continue;
			if (err)
				break;
			len = len < PIPE_BUF ? len : PIPE_BUF;
		}
		n = out->fd < 0 ? send_entry(out, written)
				: write(out->fd, out->data + written, len);
		err = n < 0 ? -errno : 0;
		if (n > 0)
			written += (size_t)n;
		/* Somebody made our standard output non-blocking. */
		if (err == -EAGAIN && timeout_ms < 0)
			err = wait_writable(out->fd, now_ms() + 1000);
		if (err == -ETIMEDOUT && timeout_ms < 0)
			err = -EINTR;
		if (err == -EAGAIN || (err == -EINTR && timeout_ms >= 0))
			continue;
		if (err)
			break;
	}
	forget_written(out, written);
	if (!err) {
		if (!any) /* nothing to write: that it works is not shown */
			return 0;
		if (out->failing)
			log_note("writing to %s works again", name);
		out->failing = false;
		return 0;
	}
	if (err == -EIO && out->terminal) /* hung up: nobody looks on any more */
		err = -EPIPE;
	if (err == -EPIPE || err == -EINTR || err == -ETIMEDOUT)
		return err;
	if (!out->failing)
		log_error(
			"cannot write to %s: %s; records are counted as lost until it works again",
			name, strerror(-err));
	drop(out);
	out->failing = true;
	return 0;
}

int output_flush(struct output *out)
{
	return write_block(out, -1);
}

int output_flush_within(struct output *out, int timeout_ms)
{
	return write_block(out, timeout_ms);
}

/* A new file is made in the directory, unless somebody has made it. */
bool output_may_reopen(const struct output *out)
{
	char *copy;
	bool may;

	if (!out->path)
		return true;
	copy = strdup(out->path);
	if (!copy)
		return false;
	may = faccessat(AT_FDCWD, out->path, W_OK, AT_EACCESS) == 0 &&
	      faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) == 0;
	free(copy);
	return may;
}

void output_reopen(struct output *out)
{
	int fd;

	if (!out->path)
		return;
	fd = open_path_again(out->path);
	if (fd < 0) {
		log_error("cannot open %s again: %s; going on with the file that is open",
			  out->path, output_open_error(out->path, fd));
		return;
	}
	take_back_cut_line(out);
	out->cut = 0; /* where its beginning stays in a pipe, all of it is in the file */
	close(out->fd);
	out->fd = fd;
	out->glued = ends_in_line(out->path, fd);
}

uint64_t output_take_dropped(struct output *out, uint64_t dropped[NSMON_KINDS])
{
	uint64_t lines = out->dropped_lines;

	if (!lines)
		return 0;
	for (int i = 0; i < NSMON_KINDS; i++) {
		dropped[i] = out->dropped[i];
		out->dropped[i] = 0;
	}
	out->dropped_lines = 0;
	return lines;
}

bool output_is_failing(const struct output *out)
{
	return out->failing;
}
