// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* beneath.c: the same answers from openat2(2) and, where a filter refuses that, without it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "beneath.h"
#include "no_openat2.h"

static char folder[64];
static int dir = -1;

static void make(const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int run(const char *format)
{
	char command[256];

	snprintf(command, sizeof(command), format, folder);
	return system(command);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nsmon-test-XXXXXX");
	if (!mkdtemp(folder) || run("mkdir -p %s/in/a/b"))
		return -1;
	dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	make("outside", "outside");
	make("in/file", "file");
	make("in/a/b/deep", "deep");
	close(dir);
	snprintf(folder + strlen(folder), 8, "/in");
	dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(dir);
	return run("rm -rf \"$(dirname %s)\"");
}

/* What is in the file; a negative errno. */
static int open_text(const char *name, bool one_mount, char text[16])
{
	int fd = beneath_open(dir, name, O_RDONLY, one_mount);
	ssize_t n;

	if (fd < 0)
		return fd;
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(fd, F_GETFL) & O_PATH);
	n = read(fd, text, 15);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return n < 0 ? -errno : 0;
}

static void opens(const char *name, const char *wanted)
{
	char text[16];

	for (int one_mount = 0; one_mount < 2; one_mount++) {
		assert_int_equal(open_text(name, one_mount, text), 0);
		assert_string_equal(text, wanted);
	}
}

static void refuses(const char *name)
{
	char text[16];

	for (int one_mount = 0; one_mount < 2; one_mount++)
		assert_true(open_text(name, one_mount, text) < 0);
	assert_true(beneath_open(dir, name, O_RDONLY | O_DIRECTORY, false) < 0);
}

static void test_files(void **state)
{
	char name[NAME_MAX + 16], text[16];
	int fd;

	(void)state;
	opens("file", "file");
	opens("a/b/deep", "deep");
	opens("a//b/./deep", "deep");
	assert_int_equal(open_text("none", false, text), -ENOENT);
	assert_int_equal(open_text("a/none/deep", false, text), -ENOENT);
	assert_int_equal(open_text("file/deep", false, text), -ENOTDIR);
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = 0;
	assert_int_equal(open_text(name, false, text), -ENAMETOOLONG);
	fd = beneath_open(dir, "a", O_RDONLY | O_DIRECTORY, true);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(beneath_open(dir, "file", O_RDONLY | O_DIRECTORY, true), -ENOTDIR);
}

static void test_outside(void **state)
{
	char absolute[96];

	(void)state;
	snprintf(absolute, sizeof(absolute), "%s/file", folder);
	refuses("../outside");
	refuses("a/../../outside");
	refuses("..");
	refuses(absolute);
	refuses("/");
	refuses("");
}

static void test_links(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(symlinkat("file", dir, "link"), 0);
	assert_int_equal(symlinkat("a", dir, "directory"), 0);
	assert_int_equal(symlinkat("/", dir, "root"), 0);
	refuses("link");
	refuses("directory");
	refuses("directory/b/deep");
	refuses("root/etc/passwd");
	/* The link itself can be looked at. */
	fd = beneath_open(dir, "link", O_PATH, true);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	close(fd);
}

/* A pipe without a writer, as a user may leave one in the place of a file. */
static void test_no_waiting(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(mkfifoat(dir, "pipe", 0600), 0);
	alarm(20);
	fd = beneath_open(dir, "pipe", O_RDONLY | O_NONBLOCK | O_NOCTTY, false);
	alarm(0);
	assert_true(fd >= 0);
	close(fd);
}

/* Returns what is wrong; 0: nothing; 77: no mount can be made here. */
static int look_at_mounts(void)
{
	char path[96], text[16];

	if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 77;
	snprintf(path, sizeof(path), "%s/a", folder);
	if (mount(path, path, NULL, MS_BIND, NULL)) /* of the same file system */
		return 77;
	close(dir);
	dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (open_text("a/b/deep", false, text) || strcmp(text, "deep") != 0)
		return 1;
	if (open_text("a/b/deep", true, text) != -EXDEV)
		return 2;
	if (beneath_open(dir, "a", O_PATH, true) != -EXDEV)
		return 3;
	return open_text("file", true, text) ? 4 : 0;
}

static void test_mounts(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(look_at_mounts());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_files), TEST(test_outside), TEST(test_links),
		TEST(test_no_waiting), TEST(test_mounts),
	};
	int failed = cmocka_run_group_tests_name("with openat2", tests, NULL, NULL);

	refuse_openat2();
	return failed + cmocka_run_group_tests_name("without openat2", tests, NULL, NULL);
}
