// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* hierarchy.c on mounts as systems have them, and on a tree of directories of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hierarchy.h"

#define NOBODY 65534

static struct hierarchy found;

/* ---- the choice; both texts are as the kernel shows them in /proc/self */

static void choose(const char *mounts, const char *cgroup)
{
	FILE *mounts_file = fmemopen((void *)mounts, strlen(mounts), "r");
	FILE *cgroup_file = fmemopen((void *)cgroup, strlen(cgroup), "r");

	assert_non_null(mounts_file);
	assert_non_null(cgroup_file);
	memset(&found, 0xff, sizeof(found));
	hierarchy_choose(&found, mounts_file, cgroup_file);
	fclose(mounts_file);
	fclose(cgroup_file);
}

static void chosen(const char *name, int id, const char *path)
{
	assert_string_equal(hierarchy_name(&found), name);
	assert_int_equal(found.id, id);
	assert_string_equal(found.path, path);
}

#define OTHERS                                                                                     \
	"sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n"                                   \
	"proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"                                    \
	"/dev/vda1 / ext4 rw,relatime,errors=remount-ro 0 0\n"
#define TMPFS "tmpfs /sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,mode=755 0 0\n"
#define V1(path, options) "cgroup " path " cgroup rw,nosuid,nodev,noexec,relatime," options " 0 0\n"
#define V2(path) "cgroup2 " path " cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
#define AT(name) "/sys/fs/cgroup/" name

#define LEGACY_MOUNTS                                                                              \
	OTHERS TMPFS V1(AT("systemd"), "xattr,name=systemd") V1(AT("cpu,cpuacct"), "cpu,cpuacct")  \
		V1(AT("blkio"), "blkio") V1(AT("memory"), "memory") V1(AT("pids"), "pids")         \
			V1(AT("devices"), "devices") V1(AT("freezer"), "freezer")

#define LEGACY_CGROUP                                                                              \
	"8:freezer:/\n7:devices:/user.slice\n6:pids:/user.slice\n5:memory:/user.slice\n"           \
	"4:blkio:/\n3:cpu,cpuacct:/\n1:name=systemd:/user.slice/user-0.slice/session-1.scope\n"

static void test_v2(void **state)
{
	(void)state;
	choose(OTHERS V2("/sys/fs/cgroup"), "0::/user.slice/user-1000.slice/session-2.scope\n");
	chosen("v2", 0, "/sys/fs/cgroup");
	/* Also where something of v1 is mounted elsewhere. */
	choose(V1("/mnt/net", "net_cls") V1("/mnt/memory", "memory") V2("/sys/fs/cgroup"),
	       "2:net_cls:/\n1:memory:/\n0::/\n");
	chosen("v2", 0, "/sys/fs/cgroup");
}

static void test_legacy(void **state)
{
	(void)state;
	choose(LEGACY_MOUNTS, LEGACY_CGROUP);
	chosen("memory", 5, "/sys/fs/cgroup/memory");
}

/* systemd's: v2 is mounted, for systemd alone. */
static void test_hybrid(void **state)
{
	(void)state;
	choose(OTHERS TMPFS V2(AT("unified")) V1(AT("systemd"), "xattr,name=systemd")
		       V1(AT("pids"), "pids") V1(AT("memory"), "memory"),
	       "12:pids:/a\n9:memory:/a\n1:name=systemd:/a\n0::/a\n");
	chosen("memory", 9, "/sys/fs/cgroup/memory");
	/* Where the memory controller is v2's already, or off (cgroup_disable=memory). */
	choose(TMPFS V2(AT("unified")) V1(AT("cpu,cpuacct"), "cpu,cpuacct") V1(AT("pids"), "pids"),
	       "3:pids:/\n2:cpu,cpuacct:/\n0::/\n");
	chosen("pids", 3, "/sys/fs/cgroup/pids");
}

/* Each controller alone, then each after those before it. */
static void test_order(void **state)
{
	static const char *const names[] = { "memory",	"pids",	   "cpu",
					     "devices", "freezer", "blkio" };
	char mounts[4096] = "", cgroup[4096] = "", path[64];

	(void)state;
	for (int i = 5; i >= 0; i--) {
		size_t len = strlen(mounts);

		snprintf(mounts + len, sizeof(mounts) - len,
			 "cgroup /sys/fs/cgroup/%s cgroup rw,relatime,%s 0 0\n", names[i],
			 names[i]);
		len = strlen(cgroup);
		snprintf(cgroup + len, sizeof(cgroup) - len, "%d:%s:/\n", 10 + i, names[i]);
		choose(mounts, cgroup);
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", names[i]);
		chosen(names[i], 10 + i, path);
	}
}

static void test_mounted_together(void **state)
{
	(void)state;
	choose(TMPFS V1(AT("cpuset"), "cpuset") V1(AT("cpu,cpuacct"), "cpu,cpuacct"),
	       "5:cpuset:/\n4:cpu,cpuacct:/\n");
	chosen("cpu", 4, "/sys/fs/cgroup/cpu,cpuacct");
	/* In the other order, and with everything in one. */
	choose(TMPFS V1(AT("cpuacct,cpu"), "cpuacct,cpu"), "4:cpuacct,cpu:/\n");
	chosen("cpu", 4, "/sys/fs/cgroup/cpuacct,cpu");
	choose(V1("/cgroup", "cpuset,cpu,cpuacct,blkio,memory,devices,freezer,pids"),
	       "1:cpuset,cpu,cpuacct,blkio,memory,devices,freezer,pids:/x\n");
	chosen("memory", 1, "/cgroup");
	/* Others that begin or end alike. */
	choose(TMPFS V1(AT("cpuset"), "cpuset") V1(AT("cpuacct"), "cpuacct"),
	       "5:cpuset:/\n4:cpuacct:/\n");
	chosen("v2", 0, "");
}

/* A hierarchy with a name alone has no controller that is looked at. */
static void test_named(void **state)
{
	(void)state;
	choose(TMPFS V1(AT("systemd"), "xattr,name=systemd"), "1:name=systemd:/\n");
	chosen("v2", 0, "");
	choose(TMPFS V1(AT("memory"), "none,name=memory"), "1:name=memory:/\n");
	chosen("v2", 0, "");
	/* ... and v2 is better than it, wherever it is. */
	choose(TMPFS V1(AT("systemd"), "xattr,name=systemd") V2(AT("unified")),
	       "1:name=systemd:/\n0::/\n");
	chosen("v2", 0, "/sys/fs/cgroup/unified");
}

/* One that the kernel has, but nobody mounted here, and one that is mounted and gone. */
static void test_not_mounted(void **state)
{
	(void)state;
	choose(TMPFS V1(AT("pids"), "pids"), "7:memory:/\n6:pids:/\n");
	chosen("pids", 6, "/sys/fs/cgroup/pids");
	choose(TMPFS V1(AT("memory"), "memory") V1(AT("pids"), "pids"), "6:pids:/\n");
	chosen("pids", 6, "/sys/fs/cgroup/pids");
	choose(OTHERS, "0::/\n");
	chosen("v2", 0, "");
	choose("\n", "\n");
	chosen("v2", 0, "");
}

/* getmntent(3): spaces, tabs, newlines and backslashes are octal. */
static void test_escaped_path(void **state)
{
	(void)state;
	choose(V1("/my\\040cgroups/\\011\\012\\134x", "memory"), "3:memory:/\n");
	chosen("memory", 3, "/my cgroups/\t\n\\x");
	choose(V2("/sys/fs\\040/cgroup"), "0::/\n");
	chosen("v2", 0, "/sys/fs /cgroup");
}

static void test_garbage(void **state)
{
	static char long_path[8000];
	static char mounts[9000];

	(void)state;
	choose("cgroup\ncgroup /x\n# cgroup /y cgroup memory 0 0\ncgroup /x cgroup memory\n",
	       "memory\n:\n::\n:memory:\nx:memory:/\n-3:memory:/\n0:memory:/\n");
	chosen("v2", 0, "");
	choose(V1("/x", "memory"), "99999999999999999999:memory:/\n");
	chosen("v2", 0, "");
	choose(V1("/x", "memory"), ":::\n\n\n12:cpu\n5:,,memory,:/\n");
	chosen("memory", 5, "/x");
	choose(V1("/x", "memory"), "5:memory"); /* cut short */
	chosen("memory", 5, "/x");
	/* A path that does not fit counts as none. */
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[0] = '/';
	snprintf(mounts, sizeof(mounts), "cgroup %.4096s cgroup rw,memory 0 0\n" V1("/y", "pids"),
		 long_path);
	choose(mounts, "2:memory:/\n1:pids:/\n");
	chosen("pids", 1, "/y");
	snprintf(mounts, sizeof(mounts), "cgroup %.4095s cgroup rw,memory 0 0\n" V1("/y", "pids"),
		 long_path);
	choose(mounts, "2:memory:/\n1:pids:/\n");
	assert_string_equal(hierarchy_name(&found), "memory");
	assert_int_equal(strlen(found.path), 4095);
	snprintf(mounts, sizeof(mounts), "cgroup %s cgroup rw,memory 0 0\n", long_path);
	choose(mounts, "2:memory:/\n");
	assert_true(strlen(found.path) < sizeof(found.path));
}

/* Of this machine: whatever it has, it is one of them. */
static void test_find(void **state)
{
	(void)state;
	memset(&found, 0xff, sizeof(found));
	hierarchy_find(&found);
	assert_non_null(hierarchy_name(&found));
	assert_true((found.controller == NSMON_CONTROLLER_NONE) == (found.id == 0));
	assert_true(!found.path[0] || found.path[0] == '/');
}

/* ---- what users write */

static void strip(const char *mount, const char *path, const char *expected)
{
	snprintf(found.path, sizeof(found.path), "%s", mount);
	assert_string_equal(hierarchy_strip(&found, path), expected);
}

static void test_strip(void **state)
{
	(void)state;
	strip("/sys/fs/cgroup", "/a", "/a");
	strip("/sys/fs/cgroup", "/", "/");
	strip("/sys/fs/cgroup", "/sys/fs/cgroup/a/b", "/a/b");
	strip("/sys/fs/cgroup", "/sys/fs/cgroup/", "/");
	strip("/sys/fs/cgroup", "/sys/fs/cgroup", "/");
	strip("/sys/fs/cgroup", "/sys/fs/cgroups/a", "/sys/fs/cgroups/a");
	strip("/sys/fs/cgroup", "/sys/fs", "/sys/fs");
	strip("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/docker/", "/docker/");
	strip("/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids/docker", "/sys/fs/cgroup/pids/docker");
	strip("", "/a", "/a");
	found.path[0] = 0;
	assert_null(hierarchy_strip(&found, NULL));
	strcpy(found.path, "/sys/fs/cgroup");
	assert_null(hierarchy_strip(&found, NULL));
}

/* ---- the walk */

#define SEEN_MAX 512

static struct {
	uint64_t id, parent_id;
	char name[256];
} seen[SEEN_MAX];
static size_t seen_count;
static char top[64];

static int set_up(void **state)
{
	(void)state;
	strcpy(top, "/tmp/nsmon-test-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	memset(&found, 0, sizeof(found));
	snprintf(found.path, sizeof(found.path), "%s", top);
	seen_count = 0;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	chmod(top, 0755);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void see(void *context, uint64_t id, uint64_t parent_id, const char *name)
{
	assert_ptr_equal(context, seen);
	assert_true(seen_count < SEEN_MAX);
	seen[seen_count].id = id;
	seen[seen_count].parent_id = parent_id;
	snprintf(seen[seen_count++].name, sizeof(seen->name), "%s", name);
}

static const char *below(const char *name)
{
	static char path[4096];

	assert_true(snprintf(path, sizeof(path), "%s%s", top, name) < (int)sizeof(path));
	return path;
}

static void make(const char *name)
{
	assert_int_equal(mkdir(below(name), 0755), 0);
}

static uint64_t id_of(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(below(name), &st), 0);
	return st.st_ino;
}

/* Where it was seen; it was seen once, as this. */
static size_t saw(const char *path, const char *parent, const char *name)
{
	uint64_t id = id_of(path);
	size_t at = SEEN_MAX;

	for (size_t i = 0; i < seen_count; i++) {
		if (seen[i].id != id)
			continue;
		assert_int_equal(at, SEEN_MAX);
		at = i;
	}
	assert_true(at < seen_count);
	assert_int_equal(seen[at].parent_id, parent ? id_of(parent) : 0);
	assert_string_equal(seen[at].name, name);
	return at;
}

static void test_walk(void **state)
{
	size_t a, b;
	int fd;

	(void)state;
	make("/a");
	make("/a/b");
	make("/a/b/b");
	make("/c d\n\"\xff");
	/* The files of a cgroup, and links, are none. */
	fd = open(below("/a/cgroup.procs"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(symlink("a", below("/link")), 0);
	assert_int_equal(hierarchy_walk(&found, see, seen), 0);
	assert_int_equal(seen_count, 5);
	assert_int_equal(saw("", NULL, ""), 0);
	a = saw("/a", "", "a");
	b = saw("/a/b", "/a", "b");
	assert_true(a < b && b < saw("/a/b/b", "/a/b", "b"));
	saw("/c d\n\"\xff", "", "c d\n\"\xff");
	/* Again: it begins anew. */
	seen_count = 0;
	assert_int_equal(hierarchy_walk(&found, see, seen), 0);
	assert_int_equal(seen_count, 5);
}

static void test_walk_of_none(void **state)
{
	(void)state;
	assert_int_equal(hierarchy_walk(&found, see, seen), 0);
	assert_int_equal(seen_count, 1);
	saw("", NULL, "");
}

/* As long and as deep as names and paths can be. */
static void test_walk_of_long_names(void **state)
{
	char path[4096] = "", name[256];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	for (int i = 0; i < 14; i++) {
		strcat(path, "/");
		strcat(path, name);
		make(path);
	}
	assert_int_equal(hierarchy_walk(&found, see, seen), 0);
	assert_int_equal(seen_count, 15);
	for (size_t i = 1; i < seen_count; i++) {
		assert_string_equal(seen[i].name, name);
		assert_int_equal(seen[i].parent_id, seen[i - 1].id);
	}
}

static void test_walk_of_nothing(void **state)
{
	(void)state;
	strcat(found.path, "/missing");
	assert_int_equal(hierarchy_walk(&found, see, seen), -ENOENT);
	found.path[0] = 0;
	assert_int_equal(hierarchy_walk(&found, see, seen), -ENOENT);
	assert_int_equal(seen_count, 0);
}

/* As somebody to whom permissions apply. */
static int walk_as_nobody(void)
{
	bool root = geteuid() == 0;
	int err;

	if (root)
		assert_int_equal(seteuid(NOBODY), 0);
	err = hierarchy_walk(&found, see, seen);
	if (root)
		assert_int_equal(seteuid(0), 0);
	return err;
}

static void test_walk_of_the_unreadable(void **state)
{
	(void)state;
	make("/a");
	make("/b");
	make("/b/c");
	assert_int_equal(chmod(below(""), 0), 0);
	assert_int_equal(walk_as_nobody(), -EACCES);
	assert_int_equal(chmod(below(""), 0755), 0);
	/* One below the topmost: the others are told. */
	seen_count = 0;
	assert_int_equal(chmod(below("/a"), 0), 0);
	assert_int_equal(walk_as_nobody(), 0);
	assert_int_equal(chmod(below("/a"), 0755), 0);
	saw("", NULL, "");
	saw("/b", "", "b");
	saw("/b/c", "/b", "c");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_legacy),
		cmocka_unit_test(test_hybrid),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_mounted_together),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_not_mounted),
		cmocka_unit_test(test_escaped_path),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_strip),
		TEST(test_walk),
		TEST(test_walk_of_none),
		TEST(test_walk_of_long_names),
		TEST(test_walk_of_nothing),
		TEST(test_walk_of_the_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
