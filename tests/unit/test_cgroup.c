// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup.c: records of cgroups in any order, walks that cross them, and the state of
 * runtimes, in a directory of the test's own, that comes when it comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
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

#include "capture.h"
#include "cgroup.h"
#include "records.h"

/* 64 digits each. */
#define A "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"
#define B "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"

#define MS 1000000ULL
#define S (1000 * MS)

/* The topmost cgroup. */
#define TOP 1

/* src/cgroup.c */
#define REMOVED_MAX 1024

static char root[64];
static uint64_t now;
static struct cgroup_filter filter;
static struct cgroups *cgroups;
static char verdicts[8192]; /* "+7" where cgroup 7 is wanted, "-7" where it is not */

static void on_verdict(void *context, uint64_t id, bool wanted)
{
	size_t len = strlen(verdicts);

	assert_ptr_equal(context, verdicts);
	assert_true(filter.path || filter.container);
	snprintf(verdicts + len, sizeof(verdicts) - len, "%s%c%llu", len ? " " : "",
		 wanted ? '+' : '-', (unsigned long long)id);
}

/* What was decided since the last time, in this order. */
#define decided(expected)                                                                          \
	do {                                                                                       \
		assert_string_equal(verdicts, expected);                                           \
		verdicts[0] = 0;                                                                   \
	} while (0)

static void begin(void)
{
	cgroups_free(cgroups);
	cgroups = cgroups_new(&filter, root, on_verdict, verdicts);
	assert_non_null(cgroups);
	verdicts[0] = 0;
	now = 100 * S;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/nsmon-test-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	filter = (struct cgroup_filter){ 0 };
	begin();
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
	capture_end(NULL);
	cgroups_free(cgroups);
	cgroups = NULL;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- records; each goes away behind the call */

static void give(const union record *record)
{
	struct nsmon_cgroup *copy = malloc(sizeof(*copy));

	assert_non_null(copy);
	*copy = record->tree;
	cgroups_event(cgroups, copy, now);
	free(copy);
}

static void told(enum nsmon_cgroup_op op, uint64_t id, uint64_t parent_id, const char *name)
{
	static union record record;

	record_tree(&record, op, id, parent_id, name);
	give(&record);
}

static void made(uint64_t id, uint64_t parent_id, const char *name)
{
	told(NSMON_CGROUP_MADE, id, parent_id, name);
}

static void renamed(uint64_t id, uint64_t parent_id, const char *name)
{
	told(NSMON_CGROUP_RENAMED, id, parent_id, name);
}

static void removed(uint64_t id)
{
	told(NSMON_CGROUP_REMOVED, id, TOP, "x");
}

/* args: with the NULs that the kernel copies. */
static void made_by(uint64_t id, uint64_t parent_id, const char *name, const char *maker,
		    const char *args, size_t len)
{
	static union record record;

	record_tree(&record, NSMON_CGROUP_MADE, id, parent_id, name);
	record_maker(&record, maker, args, len);
	give(&record);
}

#define MADE_BY(id, parent_id, name, maker, args)                                                  \
	made_by(id, parent_id, name, maker, args, sizeof(args))

/* ---- what is known */

static const struct cgroup *known(uint64_t id)
{
	const struct cgroup *cgroup = cgroups_find(cgroups, id);

	assert_non_null(cgroup);
	assert_int_equal(cgroup->id, id);
	assert_non_null(cgroup->text);
	assert_int_equal(cgroup->path_len, cgroup->path ? strlen(cgroup->path) : 0);
	assert_false(cgroup->container && cgroup->unit);
	if (cgroup->unit) /* in the path */
		assert_in_range((uintptr_t)cgroup->unit, (uintptr_t)cgroup->path,
				(uintptr_t)cgroup->path + cgroup->path_len - cgroup->unit_len);
	return cgroup;
}

static void path_is(uint64_t id, const char *path)
{
	const struct cgroup *cgroup = known(id);

	if (!path)
		assert_null(cgroup->path);
	else if (!cgroup->path || strcmp(cgroup->path, path) != 0)
		fail_msg("%llu is %s, not %s", (unsigned long long)id, cgroup->path, path);
}

static void is_text(const char *value, const char *expected)
{
	if (!expected)
		assert_null(value);
	else
		assert_string_equal(value ? value : "(none)", expected);
}

static const struct container *contained(uint64_t id, const char *container, const char *runtime)
{
	const struct cgroup *cgroup = known(id);

	if (!cgroup->container)
		fail_msg("%s is in no container", cgroup->path);
	assert_string_equal(cgroup->container->id, container);
	is_text(cgroup->container->runtime, runtime);
	assert_ptr_equal(cgroups_container(cgroups, cgroup->container->number), cgroup->container);
	return cgroup->container;
}

static void free_of_containers(uint64_t id)
{
	const struct cgroup *cgroup = known(id);

	if (cgroup->container)
		fail_msg("%s is in %s", cgroup->path, cgroup->container->id);
}

static void in_unit(uint64_t id, const char *unit)
{
	const struct cgroup *cgroup = known(id);

	if (!unit) {
		assert_null(cgroup->unit);
		return;
	}
	assert_int_equal(cgroup->unit_len, strlen(unit));
	assert_memory_equal(cgroup->unit, unit, cgroup->unit_len);
}

static void count_one(void *context, const struct cgroup *cgroup)
{
	assert_non_null(cgroup);
	++*(size_t *)context;
}

static size_t count(void)
{
	size_t n = 0;

	cgroups_each(cgroups, count_one, &n);
	return n;
}

/* ---- files of runtimes */

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	int fd;

	assert_true(snprintf(path, sizeof(path), "%s%s", root, name) < (int)sizeof(path));
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void put_docker(const char *id, const char *name)
{
	char path[256], text[512];

	snprintf(path, sizeof(path), "/var/lib/docker/containers/%s/config.v2.json", id);
	snprintf(text, sizeof(text),
		 "{\"ID\":\"%s\",\"Name\":\"/%s\",\"Config\":{\"Image\":\"nginx:1.27\"}}", id,
		 name);
	put(path, text);
}

static void put_crun(const char *id, const char *cgroup)
{
	char path[256], text[512];

	snprintf(path, sizeof(path), "/run/crun/%s/status", id);
	snprintf(text, sizeof(text), "{\"pid\":7,\"cgroup-path\":\"%s\",\"bundle\":\"/b\"}",
		 cgroup);
	put(path, text);
}

static uint64_t resolve(void)
{
	return cgroups_resolve(cgroups, now);
}

/* ---- a file system of cgroups: directories, whose inode numbers are the ids */

static struct hierarchy hierarchy;

static const char *below(const char *name)
{
	static char path[PATH_MAX];

	assert_true(snprintf(path, sizeof(path), "%s%s", hierarchy.path, name) < (int)sizeof(path));
	return path;
}

static uint64_t make(const char *name)
{
	struct stat st;

	assert_int_equal(mkdir(below(name), 0755), 0);
	assert_int_equal(lstat(below(name), &st), 0);
	return st.st_ino;
}

static uint64_t make_top(void)
{
	memset(&hierarchy, 0, sizeof(hierarchy));
	snprintf(hierarchy.path, sizeof(hierarchy.path), "%s/cgroup", root);
	return make("");
}

static void move(const char *from, const char *to)
{
	char path[PATH_MAX];

	strcpy(path, below(from));
	assert_int_equal(rename(path, below(to)), 0);
}

static void unmake(const char *name)
{
	assert_int_equal(rmdir(below(name)), 0);
}

static void look(void)
{
	assert_int_equal(cgroups_look(cgroups, &hierarchy, now), 0);
}

/* ---- the tree */

static void test_tree(void **state)
{
	(void)state;
	assert_false(cgroups_take_doubt(cgroups));
	made(TOP, 0, "");
	made(2, TOP, "a");
	made(3, 2, "b");
	made(4, 3, "c");
	made(5, TOP, "a.slice");
	path_is(TOP, "/");
	path_is(2, "/a");
	path_is(3, "/a/b");
	path_is(4, "/a/b/c");
	path_is(5, "/a.slice");
	assert_int_equal(count(), 5);
	assert_true(known(4)->wanted); /* nothing is filtered */
	assert_false(cgroups_take_doubt(cgroups));
	/* Nobody asks for none. */
	assert_null(cgroups_find(cgroups, 0));
	assert_false(cgroups_take_doubt(cgroups));
	assert_null(cgroups_find(cgroups, 99));
	assert_true(cgroups_take_doubt(cgroups));
	assert_false(cgroups_take_doubt(cgroups));
	/* Told again. */
	made(4, 3, "c");
	path_is(4, "/a/b/c");
	assert_int_equal(count(), 5);
}

static void test_removal(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "a");
	made(3, 2, "b");
	removed(3);
	assert_int_equal(count(), 2);
	path_is(3, "/a/b"); /* its last records may come later */
	removed(3);
	removed(77);
	assert_int_equal(count(), 2);
	/* Another one of the same name. */
	made(4, 2, "b");
	path_is(4, "/a/b");
	path_is(3, "/a/b");
	assert_int_equal(count(), 3);
	assert_null(cgroups_container(cgroups, 0));
	assert_null(cgroups_container(cgroups, 1));
}

static void test_rename(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "a");
	made(3, 2, "x.service");
	made(4, 3, "c");
	made(5, TOP, "other");
	renamed(2, TOP, "longer name");
	path_is(2, "/longer name");
	path_is(3, "/longer name/x.service");
	path_is(4, "/longer name/x.service/c");
	in_unit(4, "x.service");
	path_is(5, "/other");
	renamed(3, 2, "y.scope");
	path_is(4, "/longer name/y.scope/c");
	in_unit(4, "y.scope");
	renamed(3, 2, "z");
	in_unit(3, NULL);
	in_unit(4, NULL);
	renamed(3, 2, "z");
	path_is(4, "/longer name/z/c");
	assert_false(cgroups_take_doubt(cgroups));
}

/* A record before it was lost: it has no path until its parent is known. */
static void test_before_its_parent(void **state)
{
	(void)state;
	made(5, 4, "e");
	made(4, 3, "d.service");
	assert_true(cgroups_take_doubt(cgroups));
	path_is(5, NULL);
	path_is(4, NULL);
	in_unit(5, NULL);
	free_of_containers(5);
	made(TOP, 0, "");
	path_is(4, NULL);
	made(3, TOP, "c");
	path_is(4, "/c/d.service");
	path_is(5, "/c/d.service/e");
	in_unit(5, "d.service");
	assert_int_equal(count(), 4);
}

static void test_renamed_before_it_is_known(void **state)
{
	(void)state;
	made(TOP, 0, "");
	renamed(2, TOP, "a");
	made(3, 2, "b");
	path_is(3, "/a/b");
	removed(4);
	made(5, 4, "x"); /* in one that is not known to have been */
	path_is(5, NULL);
	assert_true(cgroups_take_doubt(cgroups));
}

/* ---- walks */

static void test_look(void **state)
{
	uint64_t top = make_top(), a = make("/a"), b = make("/a/b.service"), c = make("/c");

	(void)state;
	look();
	path_is(top, "/");
	path_is(a, "/a");
	path_is(b, "/a/b.service");
	in_unit(b, "b.service");
	path_is(c, "/c");
	assert_int_equal(count(), 4);
	assert_false(cgroups_take_doubt(cgroups));
	look();
	assert_int_equal(count(), 4);
	/* Nothing is known where nothing can be read, and nothing is forgotten. */
	snprintf(hierarchy.path, sizeof(hierarchy.path), "%s/nowhere", root);
	cgroups_find(cgroups, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cgroups_look(cgroups, &hierarchy, now), -ENOENT);
	assert_true(cgroups_take_doubt(cgroups));
	hierarchy.path[0] = 0;
	assert_int_equal(cgroups_look(cgroups, &hierarchy, now), -ENOENT);
	assert_int_equal(count(), 4);
	path_is(c, "/c");
}

/* Those that are in the ring buffer still when the directories are read. */
static void test_look_before_the_records(void **state)
{
	uint64_t top = make_top(), a = make("/a"), b = make("/a/b");

	(void)state;
	look();
	made(a, top, "a");
	made(b, a, "b");
	path_is(b, "/a/b");
	assert_int_equal(count(), 3);
	/* Made and removed before the walk, told after it. */
	made(b + 1000, a, "gone");
	path_is(b + 1000, "/a/gone");
	removed(b + 1000);
	assert_int_equal(count(), 3);
}

/* One that was made, and told, while the walk was past its place. */
static void test_look_past_it(void **state)
{
	uint64_t top = make_top();

	(void)state;
	look();
	made(top + 1000, top, "new");
	look();
	path_is(top + 1000, "/new");
	assert_int_equal(count(), 2);
	/* It is still not there. */
	look();
	assert_int_equal(count(), 1);
	path_is(top + 1000, "/new"); /* but its records may come */
}

static void test_lost_removal(void **state)
{
	uint64_t a, b;

	(void)state;
	make_top();
	a = make("/a");
	b = make("/b");
	look();
	unmake("/a");
	look();
	look();
	assert_int_equal(count(), 2);
	path_is(a, "/a");
	removed(a); /* it was only late */
	assert_int_equal(count(), 2);
	path_is(b, "/b");
}

/* A walk finds what a lost record would have told: also the paths of those below. */
static void test_lost_making(void **state)
{
	uint64_t top = make_top(), a = make("/a"), b = make("/a/b");

	(void)state;
	made(b, a, "b");
	path_is(b, NULL);
	assert_true(cgroups_take_doubt(cgroups));
	look();
	path_is(b, "/a/b");
	path_is(top, "/");
	assert_false(cgroups_take_doubt(cgroups));
	made(b + 1000, b, "c");
	path_is(b + 1000, "/a/b/c");
}

/* The walk knows its name of now; the record tells it again. */
static void test_lost_rename(void **state)
{
	uint64_t top = make_top(), a = make("/a"), b = make("/a/b");

	(void)state;
	look();
	move("/a", "/z");
	look();
	path_is(b, "/a/b"); /* records from before may still come */
	cgroups_settle(cgroups, now);
	path_is(a, "/z");
	path_is(b, "/z/b");
	renamed(a, top, "z");
	path_is(b, "/z/b");
	assert_int_equal(count(), 3);
}

/* What is told after a look is of before it, or of after it: either way the name is right. */
static void test_look_between_renames(void **state)
{
	uint64_t top = make_top(), a = make("/a"), b = make("/a/b");

	(void)state;
	look();
	move("/a", "/z");
	look();
	path_is(b, "/a/b");
	renamed(a, top, "y");
	path_is(b, "/y/b");
	renamed(a, top, "z");
	cgroups_settle(cgroups, now);
	path_is(b, "/z/b");
	move("/z", "/a");
	look();
	look();
	renamed(a, top, "a");
	move("/a", "/x");
	renamed(a, top, "x");
	cgroups_settle(cgroups, now);
	path_is(b, "/x/b");
	assert_int_equal(count(), 3);
}

/* ---- units */

static void test_units(void **state)
{
	(void)state;
	made(TOP, 0, "");
	in_unit(TOP, NULL);
	made(2, TOP, "system.slice");
	in_unit(2, NULL);
	made(3, 2, "cron.service");
	in_unit(3, "cron.service");
	made(4, 3, "child");
	in_unit(4, "cron.service");
	made(5, 3, "inner.scope");
	in_unit(5, "inner.scope");
	made(6, TOP, "user@1000.service");
	made(7, 6, "app.slice");
	in_unit(7, "user@1000.service");
	/* In a container they are the container's. */
	made(8, 2, "docker-" A ".scope");
	made(9, 8, "nginx.service");
	in_unit(8, NULL);
	in_unit(9, NULL);
	contained(9, A, "docker");
}

/* ---- containers that the path tells */

static void test_container_of_path(void **state)
{
	const struct container *a;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "docker");
	free_of_containers(2);
	made(3, 2, A);
	a = contained(3, A, "docker");
	assert_int_equal(a->number, 1);
	assert_string_equal(a->pod_uid, "");
	assert_false(a->details.backed);
	/* Shared by all that is in it. */
	made(4, 3, "system.slice");
	made(5, 4, "x.service");
	assert_ptr_equal(contained(4, A, "docker"), a);
	assert_ptr_equal(contained(5, A, "docker"), a);
	/* Beside it is another one; in it, too. */
	made(6, 2, B);
	assert_int_equal(contained(6, B, "docker")->number, 2);
	made(7, 3, "docker");
	assert_ptr_equal(contained(7, A, "docker"), a);
	made(8, 7, B);
	assert_int_equal(contained(8, B, "docker")->number, 3);
	assert_ptr_not_equal(known(8)->container, known(6)->container);
	/* Others, as src/container.c has them. */
	made(9, TOP, "machine.slice");
	made(10, 9, "machine-my\\x2dbox.scope");
	contained(10, "my-box", "systemd-nspawn");
	made(11, 10, "payload");
	assert_ptr_equal(known(11)->container, known(10)->container);
	made(12, 10, "supervisor"); /* not in it */
	free_of_containers(12);
	made(13, TOP, "lxc.payload.x");
	contained(13, "x", "lxc");
}

static void test_pod(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "kubepods");
	made(3, 2, "pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a");
	free_of_containers(3);
	made(4, 3, A);
	assert_string_equal(contained(4, A, NULL)->pod_uid, "3d274242-8ee0-11e9-a8a6-1e68d864ef1a");
}

/* It lives on for late records, and is forgotten with the last of its cgroups. */
static void test_container_goes_with_its_cgroups(void **state)
{
	uint64_t number;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "lxc.payload.x");
	made(3, 2, "init.scope");
	number = contained(3, "x", "lxc")->number;
	removed(3);
	removed(2);
	contained(2, "x", "lxc");
	for (uint64_t id = 100; id < 100 + REMOVED_MAX; id++) {
		made(id, TOP, "other");
		removed(id);
	}
	assert_null(cgroups_find(cgroups, 3));
	assert_null(cgroups_find(cgroups, 2));
	assert_null(cgroups_container(cgroups, number));
	/* One of its name is another one. */
	made(5000, TOP, "lxc.payload.x");
	assert_int_equal(contained(5000, "x", "lxc")->number, number + 1);
}

/* Of cgroup v1: the container's cgroup is called otherwise. */
static void test_rename_of_a_container(void **state)
{
	uint64_t number;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, 3, "init");
	number = contained(4, A, "docker")->number;
	renamed(3, 2, B);
	assert_ptr_equal(contained(4, B, "docker"), contained(3, B, "docker"));
	assert_int_not_equal(known(3)->container->number, number);
	assert_null(cgroups_container(cgroups, number));
	renamed(3, 2, "none");
	free_of_containers(3);
	free_of_containers(4);
	renamed(2, TOP, "lxc");
	contained(3, "none", "lxc");
	contained(4, "none", "lxc");
}

/* ---- what the files say */

static void test_details_at_once(void **state)
{
	const struct container *a;

	(void)state;
	put_docker(A, "web");
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	a = contained(3, A, "docker");
	assert_true(a->details.backed);
	assert_string_equal(a->details.name, "web");
	assert_string_equal(a->details.image, "nginx:1.27");
}

static void put_text(uint64_t id)
{
	struct cgroup_text *text = known(id)->text;

	assert_null(text->bytes);
	text->bytes = strdup("x");
	text->len = 1;
	text->raw = true;
}

static void text_is_gone(uint64_t id)
{
	const struct cgroup_text *text = known(id)->text;

	assert_null(text->bytes);
	assert_int_equal(text->len, 0);
	assert_false(text->raw);
}

/* The files are written after the cgroup: what was written of it is written anew. */
static void test_details_that_come_later(void **state)
{
	uint64_t due;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, 3, "sub");
	put_text(2);
	put_text(3);
	put_text(4);
	assert_false(known(3)->container->details.backed);
	put_docker(A, "web");
	due = resolve();
	assert_true(due > now && due <= now + S); /* not yet */
	assert_false(known(3)->container->details.backed);
	assert_non_null(known(3)->text->bytes);
	for (int i = 0; due && i < 10 && !known(3)->container->details.backed; i++) {
		assert_true(due > now);
		now = due;
		due = resolve();
	}
	assert_string_equal(contained(4, A, "docker")->details.name, "web");
	text_is_gone(3);
	text_is_gone(4);
	assert_non_null(known(2)->text->bytes);
}

/* A cgroup that is renamed, or gets a path, is written anew, too. */
static void test_text_is_of_the_path(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "a");
	made(3, 2, "b");
	put_text(2);
	put_text(3);
	put_text(TOP);
	made(4, 3, "c");
	assert_non_null(known(3)->text->bytes);
	renamed(2, TOP, "z");
	text_is_gone(2);
	text_is_gone(3);
	assert_non_null(known(TOP)->text->bytes);
}

/* Where there are none: a look now and then, and an end. */
static void test_details_that_never_come(void **state)
{
	uint64_t due, begin_ns = now;
	int looks = 0;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, TOP, "mine");
	for (due = resolve(); due; due = resolve()) {
		assert_true(due > now);
		assert_true(++looks < 30);
		now = due;
	}
	assert_in_range(now, begin_ns + 5 * S, begin_ns + 60 * S);
	assert_int_equal(resolve(), 0);
	put_docker(A, "web"); /* too late */
	now += 100 * S;
	assert_int_equal(resolve(), 0);
	assert_false(contained(3, A, "docker")->details.backed);
}

/* Many are made at once: a few are looked up on the way of their events, the others soon. */
static void test_looks_at_once_are_few(void **state)
{
	size_t at_once = 0;
	char id[80], name[32];

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "docker");
	for (uint64_t i = 0; i < 200; i++) {
		snprintf(id, sizeof(id), "%064llx", (unsigned long long)i);
		snprintf(name, sizeof(name), "web%llu", (unsigned long long)i);
		put_docker(id, name);
		made(100 + i, 2, id);
		at_once += contained(100 + i, id, "docker")->details.backed;
	}
	assert_in_range(at_once, 10, 100);
	resolve();
	for (uint64_t i = 0; i < 200; i++)
		assert_true(known(100 + i)->container->details.backed);
	/* In the next second there are as many again. */
	now += 2 * S;
	put_docker(A, "late");
	made(500, 2, A);
	assert_string_equal(contained(500, A, "docker")->details.name, "late");
}

/* Whoever may make cgroups may name them so. */
static void test_details_of_another_cgroup(void **state)
{
	(void)state;
	put("/run/containerd/io.containerd.runtime.v2.task/moby/" A "/config.json",
	    "{\"linux\":{\"cgroupsPath\":\"/docker/" A "\"}}");
	put_docker(A, "web");
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, TOP, "docker-" A ".scope");
	assert_true(contained(3, A, "docker")->details.backed);
	assert_false(contained(4, A, "docker")->details.backed);
}

/* ---- containers that the path does not tell */

static void test_container_of_maker(void **state)
{
	const struct container *web;

	(void)state;
	made(TOP, 0, "");
	MADE_BY(2, TOP, "web", "crun", "crun\0run\0-d\0web");
	web = contained(2, "web", "crun");
	assert_false(web->details.backed); /* so the process calls itself */
	made(3, 2, "child");
	assert_ptr_equal(contained(3, "web", "crun"), web);
	made_by(4, TOP, "b", "runc", "runc\0create\0b\0\0\0", 16);
	contained(4, "b", "runc");
	made_by(5, TOP, "c", "youki", "c", 1); /* cut in front */
	contained(5, "c", "youki");
	MADE_BY(13, TOP, "d", "3", "/usr/bin/crun\0run\0d"); /* executed from a descriptor */
	contained(13, "d", "crun");
	MADE_BY(14, TOP, "e", "3", "xcrun\0run\0e");
	free_of_containers(14);
	MADE_BY(15, TOP, "f", "3x", "crun\0run\0f");
	free_of_containers(15);
	/* It is another one's name, or another program. */
	MADE_BY(6, TOP, "web", "crun", "crun\0run\0web2");
	free_of_containers(6);
	MADE_BY(7, TOP, "web", "crun", "crun\0run\0myweb");
	free_of_containers(7);
	MADE_BY(8, TOP, "web", "crunx", "crun\0run\0web");
	free_of_containers(8);
	MADE_BY(9, TOP, "web", "mkdir", "mkdir\0web");
	free_of_containers(9);
	MADE_BY(10, TOP, "web", "crun", "");
	free_of_containers(10);
	made_by(11, TOP, "web", "crun", "", 0);
	free_of_containers(11);
	/* What the path tells comes first. */
	MADE_BY(12, TOP, "lxc.payload.x", "crun", "crun\0run\0lxc.payload.x");
	contained(12, "x", "lxc");
}

static void test_container_of_maker_with_a_long_name(void **state)
{
	char name[256], args[NSMON_MAKER_ARGS_LEN];

	(void)state;
	made(TOP, 0, "");
	for (size_t len = 120; len < 256; len++) {
		memset(name, 'n', len);
		name[len] = 0;
		memset(args, 0, sizeof(args));
		memcpy(args + sizeof(args) - len, name, len);
		made_by(len, TOP, name, "crun", args, sizeof(args));
		if (len <= CONTAINER_ID_MAX)
			contained(len, name, "crun");
		else
			free_of_containers(len);
	}
}

/* The walk met it before its record was read: the record still tells who made it. */
static void test_container_of_maker_that_a_walk_met(void **state)
{
	uint64_t top = make_top(), a = make("/web"), b = make("/web/child");

	(void)state;
	look();
	assert_int_equal(resolve(), 0);
	free_of_containers(b);
	put_text(b);
	MADE_BY(a, top, "web", "crun", "crun\0run\0web");
	made(b, a, "child");
	contained(a, "web", "crun");
	assert_ptr_equal(contained(b, "web", "crun"), known(a)->container);
	text_is_gone(b);
	/* ... or its state does, which is not there yet when the walk meets it. */
	a = make("/other");
	look();
	resolve();
	made(a, top, "other");
	put_crun("7f3a", "/other");
	now += S;
	resolve();
	contained(a, "7f3a", "crun");
}

/* crun writes its state after it has made the cgroup: from then on it is verified. */
static void test_maker_is_verified(void **state)
{
	uint64_t number;

	(void)state;
	made(TOP, 0, "");
	MADE_BY(2, TOP, "web", "crun", "crun\0run\0web");
	made(3, 2, "child");
	number = contained(2, "web", "crun")->number;
	put_text(3);
	put_crun("web", "/web");
	now += S;
	resolve();
	assert_true(contained(3, "web", "crun")->details.backed);
	assert_int_equal(known(2)->container->number, number);
	text_is_gone(3);
}

/* Its name is not that of its cgroup; who made that has ended long ago. */
static void test_container_of_state(void **state)
{
	uint64_t a, b, c;

	(void)state;
	make_top();
	a = make("/pool");
	b = make("/pool/web");
	c = make("/pool/web/child");
	put_crun("7f3a", "/pool/web");
	look();
	put_text(c);
	free_of_containers(b);
	assert_int_equal(resolve(), 0); /* it existed, and so did the files */
	free_of_containers(a);
	assert_true(contained(b, "7f3a", "crun")->details.backed);
	assert_ptr_equal(contained(c, "7f3a", "crun"), contained(b, "7f3a", "crun"));
	text_is_gone(c);
	/* What comes later is in it. */
	made(c + 1000, c, "late");
	assert_ptr_equal(contained(c + 1000, "7f3a", "crun"), known(b)->container);
}

static void test_container_of_state_that_comes_later(void **state)
{
	uint64_t due;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "web");
	made(3, 2, "child");
	due = resolve();
	assert_true(due > now);
	now = due;
	put_crun("7f3a", "/web");
	resolve();
	contained(2, "7f3a", "crun");
	assert_ptr_equal(contained(3, "7f3a", "crun"), contained(2, "7f3a", "crun"));
}

/* It may be known before the cgroup that it is in. */
static void test_container_of_state_and_orders(void **state)
{
	(void)state;
	put_crun("7f3a", "/web");
	made(3, 2, "child");
	made(2, TOP, "web");
	resolve();
	free_of_containers(2);
	made(TOP, 0, "");
	resolve();
	contained(2, "7f3a", "crun");
	assert_ptr_equal(contained(3, "7f3a", "crun"), contained(2, "7f3a", "crun"));
	free_of_containers(TOP);
}

/* Docker's containers in a container that its state tells of, when they run already. */
static void test_nested_in_one_that_is_found_later(void **state)
{
	const struct container *inner;
	uint64_t number;

	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "outer");
	made(3, 2, "docker");
	made(4, 3, A);
	made(5, 4, "sub");
	inner = contained(4, A, "docker");
	number = inner->number;
	put_crun("7f3a", "/outer");
	now += S;
	resolve();
	contained(2, "7f3a", "crun");
	contained(3, "7f3a", "crun");
	/* They are the same as before. */
	assert_ptr_equal(contained(4, A, "docker"), inner);
	assert_ptr_equal(contained(5, A, "docker"), inner);
	assert_int_equal(inner->number, number);
	/* ... also where what they are in has another name. */
	renamed(2, TOP, "longer");
	path_is(5, "/longer/docker/" A "/sub");
	assert_ptr_equal(contained(5, A, "docker"), inner);
	assert_int_equal(inner->number, number);
}

/* LXC's names are chosen by users: one may be in another one of its name. */
static void test_nested_of_the_same_name(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "lxc.payload.a");
	made(3, 2, "x");
	made(4, 3, "lxc.payload.a");
	made(5, 4, "y");
	contained(3, "a", "lxc");
	contained(5, "a", "lxc");
	assert_ptr_equal(known(3)->container, known(2)->container);
	assert_ptr_equal(known(5)->container, known(4)->container);
	assert_ptr_not_equal(known(4)->container, known(3)->container);
}

/* ---- machines that are none */

static void test_virtual_machine(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "machine.slice");
	made(3, 2, "machine-qemu\\x2d1\\x2dvm.scope");
	free_of_containers(3);
	in_unit(3, "machine-qemu\\x2d1\\x2dvm.scope");
	/* Here only machined's state tells. */
	put("/run/systemd/machines/a", "NAME=a\nCLASS=vm\nSERVICE=x\n");
	made(4, 2, "machine-a.scope");
	free_of_containers(4);
	in_unit(4, "machine-a.scope");
	made(8, 4, "sub");
	in_unit(8, "machine-a.scope");
	/* ... and it may come later. */
	made(5, 2, "machine-b.scope");
	made(6, 5, "sub");
	contained(6, "b", "systemd-nspawn");
	put_text(6);
	put("/run/systemd/machines/b", "NAME=b\nCLASS=vm\nSERVICE=x\n");
	now += S;
	resolve();
	free_of_containers(5);
	free_of_containers(6);
	in_unit(6, "machine-b.scope");
	text_is_gone(6);
	put("/run/systemd/machines/c", "NAME=c\nCLASS=container\nSERVICE=x\n");
	made(7, 2, "machine-c.scope");
	assert_true(contained(7, "c", "systemd-nspawn")->details.backed);
}

/* ---- filters */

static void filter_path(const char *path)
{
	filter = (struct cgroup_filter){ .path = path };
	begin();
	made(TOP, 0, "");
	made(2, TOP, "a");
	made(3, 2, "b");
	made(4, TOP, "ab");
	made(5, 4, "b");
	made(6, 3, "c");
}

static void test_filter_by_path(void **state)
{
	(void)state;
	filter_path("/a");
	decided("-1 +2 +3 -4 -5 +6");
	assert_true(known(2)->wanted && known(3)->wanted && known(6)->wanted);
	assert_false(known(TOP)->wanted || known(4)->wanted || known(5)->wanted);
	filter_path("/a/");
	decided("-1 +2 +3 -4 -5 +6");
	filter_path("/a//");
	decided("-1 +2 +3 -4 -5 +6");
	filter_path("/a/b");
	decided("-1 -2 +3 -4 -5 +6");
	filter_path("/a/bc");
	decided("-1 -2 -3 -4 -5 -6");
	filter_path("/");
	decided("+1 +2 +3 +4 +5 +6");
	/* No others than those below. */
	filter_path("/a/b/c/d");
	decided("-1 -2 -3 -4 -5 -6");
	filter_path(NULL);
	decided("");
	assert_true(known(6)->wanted);
}

/* What was decided is decided anew where the path becomes another one. */
static void test_filter_and_paths_that_change(void **state)
{
	(void)state;
	filter_path("/a");
	verdicts[0] = 0;
	renamed(4, TOP, "z");
	decided("-4 -5");
	renamed(2, TOP, "y");
	decided("-2 -3 -6");
	renamed(4, TOP, "a");
	decided("+4 +5");
	assert_true(known(5)->wanted);
	/* Not known is not wanted, until it is known. */
	made(10, 9, "x");
	decided("-10");
	assert_false(known(10)->wanted);
	made(9, 4, "w");
	decided("+9 +10");
}

static void test_filter_by_container(void **state)
{
	const struct container *meant[2];

	(void)state;
	filter.container = "3726";
	made(TOP, 0, "");
	made(2, TOP, "docker");
	decided("-1 -2");
	assert_int_equal(cgroups_meant(cgroups, meant), 0);
	made(3, 2, A);
	made(4, 3, "sub");
	made(5, 2, B);
	decided("+3 +4 -5");
	assert_int_equal(cgroups_meant(cgroups, meant), 1);
	assert_ptr_equal(meant[0], known(3)->container);
	assert_true(known(4)->wanted);
	assert_false(known(5)->wanted || known(2)->wanted);
	/* An id in full; the beginning of another; no part from the middle. */
	filter.container = A;
	begin();
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	decided("-1 -2 +3");
	filter.container = "726184";
	begin();
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	decided("-1 -2 -3");
}

/* The same container may come again: its id is the same. */
static void test_filter_and_a_restart(void **state)
{
	(void)state;
	filter.container = "we";
	made(TOP, 0, "");
	made(2, TOP, "lxc.payload.web");
	removed(2);
	verdicts[0] = 0;
	made(3, TOP, "lxc.payload.web");
	decided("+3");
}

static void test_filter_by_name(void **state)
{
	const struct container *meant[2];

	(void)state;
	filter.container = "web";
	put_docker(A, "web");
	put_docker(B, "web2");
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, 2, B);
	verdicts[0] = 0;
	assert_true(known(3)->wanted);
	assert_false(known(4)->wanted); /* a name is not cut */
	assert_int_equal(cgroups_meant(cgroups, meant), 1);
	assert_ptr_equal(meant[0], known(3)->container);
}

static void test_filter_by_a_name_that_comes_later(void **state)
{
	(void)state;
	filter.container = "web";
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, 3, "sub");
	made(5, 2, B);
	decided("-1 -2 -3 -4 -5");
	put_docker(A, "web");
	now += S;
	resolve();
	decided("+3 +4");
	assert_true(known(4)->wanted);
	made(6, 4, "later");
	decided("+6");
}

/* A prefix that means several: nsmon asks before it begins, the first one wins later. */
static void test_filter_that_is_ambiguous(void **state)
{
	const struct container *meant[2] = { NULL, NULL };
	static char said[CAPTURE_MAX];

	(void)state;
	filter.container = "we";
	made(TOP, 0, "");
	made(2, TOP, "lxc.payload.web1");
	made(3, 2, "sub");
	assert_int_equal(cgroups_meant(cgroups, meant), 1);
	decided("-1 +2 +3");
	capture_begin();
	made(4, TOP, "lxc.payload.web2");
	assert_int_equal(capture_end(said), 1);
	assert_non_null(strstr(said, "web2"));
	assert_non_null(strstr(said, "--container 'we'"));
	decided("-4");
	assert_false(known(4)->wanted);
	/* Said once, whatever it does. */
	capture_begin();
	made(6, 4, "sub");
	made(7, 6, "sub");
	renamed(6, 4, "other");
	assert_int_equal(capture_end(NULL), 0);
	decided("-6 -7 -6 -7");
	assert_int_equal(cgroups_meant(cgroups, meant), 2);
	assert_string_equal(meant[0]->id, "web1");
	assert_string_equal(meant[1]->id, "web2");
	/* Two cgroups of one id are one. */
	made(5, 2, "lxc.payload.web1");
	assert_int_equal(cgroups_meant(cgroups, meant), 2);
}

/* The kernel forgets one that is removed, but its verdict may come after that. */
static void test_filter_and_removal(void **state)
{
	(void)state;
	filter.container = "web";
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, 2, B);
	made(5, TOP, "lxc.payload.web");
	decided("-1 -2 -3 -4 +5");
	removed(5);
	decided("-5");
	assert_true(known(5)->wanted); /* its last records are */
	removed(5);
	removed(3);
	decided("-3");
	put_docker(A, "web");
	put_docker(B, "web");
	now += S;
	capture_begin();
	resolve();
	capture_end(NULL);
	assert_null(strstr(verdicts, "3"));
	assert_string_equal(contained(3, A, "docker")->details.name, "web");
}

static void test_both_filters(void **state)
{
	(void)state;
	filter = (struct cgroup_filter){ .path = "/docker/" A "/sub", .container = A };
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	made(4, 3, "sub");
	made(5, 3, "other");
	made(6, 4, "x");
	decided("-1 -2 -3 +4 -5 +6");
}

/* ---- many, and hostile ones */

static void test_removed_are_bounded(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "docker");
	made(3, 2, A);
	for (uint64_t id = 10; id < 100010; id++) {
		/* Of a container, of units, of a runtime that runs it, and of nobody. */
		if (id % 4 == 0)
			made(id, 3, "sub");
		else if (id % 4 == 1)
			made(id, TOP, "x.service");
		else if (id % 4 == 2)
			made(id, 2, B);
		else
			MADE_BY(id, TOP, "web", "crun", "crun\0run\0web");
		path_is(id, known(id)->path);
		if (id % 100 == 0) {
			now += MS;
			resolve();
		}
		removed(id);
	}
	assert_int_equal(count(), 3);
	assert_int_equal(known(100009)->id, 100009);
	known(100010 - REMOVED_MAX);
	assert_null(cgroups_find(cgroups, 100009 - REMOVED_MAX));
	assert_null(cgroups_find(cgroups, 10));
	contained(3, A, "docker");
	contained(100008, A, "docker");
}

/* The last that was asked for is remembered, and goes as others do. */
static void test_found_and_forgotten(void **state)
{
	(void)state;
	made(TOP, 0, "");
	made(2, TOP, "a");
	removed(2);
	for (uint64_t id = 10; id < 10 + REMOVED_MAX - 1; id++) {
		made(id, TOP, "x");
		removed(id);
	}
	path_is(2, "/a");
	made(5000, TOP, "x");
	removed(5000);
	assert_null(cgroups_find(cgroups, 2));
}

/* More than are remembered have been removed when a walk finds one more. */
static void test_lost_removals_among_many(void **state)
{
	uint64_t top = make_top();

	(void)state;
	look();
	for (uint64_t id = top + 1000; id < top + 1000 + 2 * REMOVED_MAX; id++)
		made(id, top, "x");
	for (uint64_t id = top + 1001; id < top + 1001 + REMOVED_MAX; id++)
		removed(id);
	look();
	look();
	assert_int_equal(count(), 1);
	known(top);
	assert_null(cgroups_find(cgroups, top + 1001));
}

static void test_hostile_names(void **state)
{
	static const char *const names[] = {
		"a b=c",
		"a\nb",
		"\033[2J",
		"\"\\",
		"\xff\xfe",
		"caf\xc3\xa9",
		"%s%n",
		".",
		"-",
		"docker-" A ".scope\n",
		"docker-x.scope",
		".service",
		".scope",
		"docker-.scope",
	};
	char name[256], path[300];

	(void)state;
	made(TOP, 0, "");
	for (uint64_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		made(10 + i, TOP, names[i]);
		snprintf(path, sizeof(path), "/%s", names[i]);
		path_is(10 + i, path);
		free_of_containers(10 + i);
	}
	/* Whoever may choose it may choose any id: it is told as it stands. */
	made(50, TOP, "lxc.payload.a b=\n\033[m\xff");
	contained(50, "a b=\n\033[m\xff", "lxc");
	memset(name, 'n', 255);
	name[255] = 0;
	made(51, TOP, name);
	assert_int_equal(known(51)->path_len, 256);
	memcpy(name, "lxc.payload.", 12); /* of which too much is left for an id */
	made(52, TOP, name);
	free_of_containers(52);
}

/* No path is longer than PATH_MAX; what is below has none, but is where it is. */
static void test_longest_path(void **state)
{
	char name[256];
	uint64_t id = 2;

	(void)state;
	filter.path = "/lxc.payload.x";
	memset(name, 'n', 255);
	name[255] = 0;
	made(TOP, 0, "");
	made(2, TOP, "lxc.payload.x"); /* 14 bytes */
	for (int i = 0; i < 15; i++) {
		made(id + 1, id, name);
		id++;
	}
	assert_int_equal(known(id)->path_len, 14 + 15 * 256);
	name[4095 - 14 - 15 * 256 - 1] = 0;
	made(id + 1, id, name);
	assert_int_equal(known(id + 1)->path_len, 4095);
	name[strlen(name)] = 'n';
	made(id + 2, id, name);
	path_is(id + 2, NULL);
	made(id + 3, id + 1, "x");
	path_is(id + 3, NULL);
	made(id + 4, id + 3, "x");
	path_is(id + 4, NULL);
	contained(id + 2, "x", "lxc");
	contained(id + 4, "x", "lxc");
	assert_true(known(id + 4)->wanted);
	in_unit(id + 4, NULL);
	/* No walk would tell more. */
	assert_false(cgroups_take_doubt(cgroups));
	/* In no container. */
	renamed(2, TOP, "lxc.payloads.x");
	free_of_containers(id + 4);
	assert_false(known(id + 4)->wanted);
	/* There is room for it again. */
	renamed(2, TOP, "a");
	assert_int_equal(known(id + 4)->path_len, 4095 - 12 + 4);
	removed(id + 4);
	removed(id + 3);
	removed(id + 2);
	path_is(id + 2, known(id + 2)->path);
}

/* It was to be looked for in files when it still had a path. */
static void test_path_that_becomes_too_long(void **state)
{
	uint64_t id = 2;
	char name[256];

	(void)state;
	memset(name, 'n', 255);
	name[255] = 0;
	made(TOP, 0, "");
	made(2, TOP, "a");
	for (; id < 17; id++)
		made(id + 1, id, name);
	made(100, id, "b");
	assert_int_equal(known(100)->path_len, 2 + 15 * 256 + 2);
	renamed(2, TOP, name);
	path_is(100, NULL);
	resolve();
	now += S;
	resolve();
	free_of_containers(100);
}

/* Directories that no path reaches are met by no walk, which is no reason to forget them. */
static void test_walks_and_the_longest_path(void **state)
{
	uint64_t top = make_top(), a, id;
	char name[256];

	(void)state;
	memset(name, 'n', 255);
	name[255] = 0;
	a = make("/lxc.payload.x");
	look();
	made(a, top, "lxc.payload.x");
	id = top + 1000;
	made(id, a, name);
	for (int i = 0; i < 20; i++, id++)
		made(id + 1, id, name);
	for (int i = 0; i < 4; i++)
		look();
	for (uint64_t other = 10000; other < 10000 + REMOVED_MAX; other++) {
		made(top + other, top, "x");
		removed(top + other);
	}
	contained(id, "x", "lxc");
	contained(top + 1000 + 15, "x", "lxc"); /* too long with the mount's path */
	assert_null(cgroups_find(cgroups, top + 1000)); /* not there, as far as a walk can tell */
}

/* A cgroup that is in itself is not the kernel's, but is no reason to go round. */
static void test_circles(void **state)
{
	(void)state;
	made(2, 2, "self");
	path_is(2, NULL);
	made(3, 4, "a");
	made(4, 3, "b");
	path_is(4, NULL);
	made(TOP, 0, "");
	made(4, TOP, "b");
	path_is(3, "/b/a");
	made(4, 3, "b");
	known(4);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tree),
		TEST(test_removal),
		TEST(test_rename),
		TEST(test_before_its_parent),
		TEST(test_renamed_before_it_is_known),
		TEST(test_look),
		TEST(test_look_before_the_records),
		TEST(test_look_past_it),
		TEST(test_lost_removal),
		TEST(test_lost_making),
		TEST(test_lost_rename),
		TEST(test_look_between_renames),
		TEST(test_units),
		TEST(test_container_of_path),
		TEST(test_pod),
		TEST(test_container_goes_with_its_cgroups),
		TEST(test_rename_of_a_container),
		TEST(test_details_at_once),
		TEST(test_details_that_come_later),
		TEST(test_text_is_of_the_path),
		TEST(test_details_that_never_come),
		TEST(test_looks_at_once_are_few),
		TEST(test_details_of_another_cgroup),
		TEST(test_container_of_maker),
		TEST(test_container_of_maker_with_a_long_name),
		TEST(test_container_of_maker_that_a_walk_met),
		TEST(test_maker_is_verified),
		TEST(test_container_of_state),
		TEST(test_container_of_state_that_comes_later),
		TEST(test_container_of_state_and_orders),
		TEST(test_nested_in_one_that_is_found_later),
		TEST(test_nested_of_the_same_name),
		TEST(test_virtual_machine),
		TEST(test_filter_by_path),
		TEST(test_filter_and_paths_that_change),
		TEST(test_filter_by_container),
		TEST(test_filter_and_a_restart),
		TEST(test_filter_by_name),
		TEST(test_filter_by_a_name_that_comes_later),
		TEST(test_filter_that_is_ambiguous),
		TEST(test_filter_and_removal),
		TEST(test_both_filters),
		TEST(test_removed_are_bounded),
		TEST(test_found_and_forgotten),
		TEST(test_lost_removals_among_many),
		TEST(test_hostile_names),
		TEST(test_longest_path),
		TEST(test_path_that_becomes_too_long),
		TEST(test_walks_and_the_longest_path),
		TEST(test_circles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
