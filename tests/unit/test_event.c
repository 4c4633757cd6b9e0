// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* event.c: every valid record is read, everything else is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event.h"
#include "records.h"

static union record record;

/* From an allocation of exactly this size, so that ASan sees any byte too many. */
static int decode(struct event *event, const void *data, size_t size)
{
	static void *copy;

	free(copy);
	copy = malloc(size ? size : 1);
	assert_non_null(copy);
	memcpy(copy, data, size);
	return event_decode(event, copy, size);
}

#define SAMPLES 11

static size_t sample(int n)
{
	size_t size = 0;

	switch (n) {
	case 0:
		return record_fork(&record, 696, 858, "sh");
	case 1:
		size = record_fork_ns(&record, 696, 858, "sh");
		record_changed(&record.fork_ns.change, NSMON_NS_NET, 4026532142U,
			       NSMON_REASON_CLONE);
		return size;
	case 2:
		return record_exec(&record, 858, "ls", "/bin/ls", "ls\0-l\0", 6);
	case 3:
		return record_exec(&record, 858, "x", "", "", 0);
	case 4:
		return record_exit(&record, 858, "ls", 0x100);
	case 5:
		size = record_ns(&record, 858, "unshare");
		record_changed(&record.ns.change, NSMON_NS_MNT, 4026532142U, NSMON_REASON_UNSHARE);
		record_changed(&record.ns.change, NSMON_NS_TIME_FOR_CHILDREN, 4026532143U,
			       NSMON_REASON_KERNEL);
		return size;
	case 6:
		return record_failed(&record, 858, "unshare", NSMON_REASON_SETNS, EPERM,
				     0x40000000);
	case 7:
		return record_lost(&record, 1, 2, 3, 4);
	case 8:
		return record_proc(&record, 1, 858, "sh");
	case 9:
		return record_move(&record, 858, "sh", 77);
	case 10:
		return record_tree(&record, NSMON_CGROUP_MADE, 77, 1, "a.slice");
	}
	return size;
}

static void test_layout_is_what_the_kernel_side_writes(void **state)
{
	(void)state;
	/* The reader and the writer may be built by different compilers. */
	assert_int_equal(sizeof(struct nsmon_header), 32);
	assert_int_equal(sizeof(struct nsmon_task), 64);
	assert_int_equal(sizeof(struct nsmon_fork), 32 + 64 + 16);
	assert_int_equal(sizeof(struct nsmon_exec), 32 + 64 + 16);
	assert_int_equal(sizeof(struct nsmon_exit), 32 + 64 + 16);
	assert_int_equal(sizeof(struct nsmon_failed), 32 + 64 + 16);
	assert_int_equal(sizeof(struct nsmon_ns_set), 10 * 8 + 10 * 4);
	assert_int_equal(sizeof(struct nsmon_ns_change), 2 * 120 + 16);
	assert_int_equal(sizeof(struct nsmon_ns), 32 + 64 + 256);
	assert_int_equal(sizeof(struct nsmon_fork_ns), 112 + 256);
	assert_int_equal(sizeof(struct nsmon_lost), 32 + 9 * 8);
	assert_int_equal(sizeof(struct nsmon_proc), 32 + 64 + 120 + 16);
	assert_int_equal(sizeof(struct nsmon_cgroup), 32 + 8 + 8 + 4 + 4 + 256 + 16 + 256);
}

static void test_fork(void **state)
{
	size_t size = sample(0);
	struct event e;

	(void)state;
	record.fork.creator_pid = 699;
	record.fork.creator_tid = 700;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_FORK);
	assert_int_equal(e.time, 1000000000);
	assert_int_equal(e.cpu, 3);
	assert_int_equal(e.task->pid, 858);
	assert_int_equal(e.task->ppid, 696);
	assert_true(e.fork.told);
	assert_int_equal(e.fork.creator_pid, 699);
	assert_int_equal(e.fork.creator_tid, 700);
	assert_null(e.change);
	assert_null(e.failed);
}

static void test_fork_with_namespaces(void **state)
{
	size_t size = sample(1);
	struct event e;

	(void)state;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_true(e.fork.told);
	assert_non_null(e.change);
	assert_int_equal(e.change->changed, 1U << NSMON_NS_NET);
	assert_int_equal(e.change->now.inum[NSMON_NS_NET], 4026532142U);
	assert_false(e.fork.into);
	record.header.flags |= NSMON_FLAG_INTO;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_true(e.fork.into);
	record.header.flags |= NSMON_FLAG_NO_FORK;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_false(e.fork.told);
	assert_non_null(e.change);
}

static void test_exec(void **state)
{
	size_t size = sample(2);
	struct event e;

	(void)state;
	record.exec.old_tid = 860;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_EXEC);
	assert_int_equal(e.exec.old_tid, 860);
	assert_int_equal(e.exec.filename_len, 7);
	assert_memory_equal(e.exec.filename, "/bin/ls", 7);
	assert_int_equal(e.exec.args_len, 6);
	assert_memory_equal(e.exec.args, "ls\0-l\0", 6);
	assert_false(e.exec.truncated);
	record.header.flags = NSMON_FLAG_TRUNCATED;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_true(e.exec.truncated);
}

static void test_exec_without_name_and_arguments(void **state)
{
	size_t size = sample(3);
	struct event e;

	(void)state;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.exec.filename_len, 0);
	assert_int_equal(e.exec.args_len, 0);
}

static void test_exit(void **state)
{
	size_t size = sample(4);
	struct event e;

	(void)state;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_EXIT);
	assert_int_equal(e.exit.status, 0x100);
	assert_int_equal(e.exit.duration_ns, 1500000);
}

static void test_ns(void **state)
{
	size_t size = sample(5);
	struct event e;

	(void)state;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_NS);
	assert_null(e.failed);
	assert_non_null(e.change);
	assert_int_equal(e.task->pid, 858);
}

static void test_failed(void **state)
{
	size_t size = sample(6);
	struct event e;

	(void)state;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_NS);
	assert_null(e.change);
	assert_non_null(e.failed);
	assert_int_equal(e.failed->error, EPERM);
	assert_int_equal(e.failed->reason, NSMON_REASON_SETNS);
	assert_int_equal(e.failed->flags, 0x40000000);
	assert_int_equal(e.task->pid, 858);
}

static void test_lost(void **state)
{
	size_t size = sample(7);
	struct event e;

	(void)state;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_LOST);
	assert_null(e.task);
	assert_int_equal(e.lost->lost[NSMON_FORK], 1);
	assert_int_equal(e.lost->lost[NSMON_NS], 4);
}

static void test_proc(void **state)
{
	size_t size = sample(8);
	struct event e;

	(void)state;
	record.proc.exec_id = 7;
	record.proc.flags = NSMON_PROC_BUSY | NSMON_PROC_KERNEL;
	record.proc.ns.id[NSMON_NS_TIME] = UINT64_MAX;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_PROC);
	assert_int_equal(e.time, 1000000000);
	assert_int_equal(e.task->pid, 858);
	assert_int_equal(e.proc.ns->inum[NSMON_NS_MNT], initial_inums[NSMON_NS_MNT]);
	assert_true(e.proc.ns->id[NSMON_NS_TIME] == UINT64_MAX);
	assert_int_equal(e.proc.exec_id, 7);
	assert_int_equal(e.proc.flags, NSMON_PROC_BUSY | NSMON_PROC_KERNEL);
	/* What only /proc knows is not known yet. */
	assert_null(e.proc.args);
	assert_null(e.proc.exe);
	assert_false(e.recovered);
	assert_null(e.change);
	assert_null(e.failed);
	/* Nothing in it has a meaning that could be wrong: any bytes are a row. */
	memset(&record.proc.task, 0xff, size - sizeof(record.header));
	assert_int_equal(decode(&e, &record, size), 0);
	/* The chunk that it is read from goes on behind it. */
	assert_int_equal(decode(&e, &record, size + 1000), 0);
}

/* Of a task that was moved: the row that a picture would have of it. */
static void test_move(void **state)
{
	size_t size = sample(9);
	struct event e;

	(void)state;
	record.proc.exec_id = 7;
	record.proc.flags = NSMON_PROC_PARTIAL;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_CGROUP);
	assert_int_equal(e.task->pid, 858);
	assert_int_equal(e.task->cgroup_id, 77);
	assert_int_equal(e.proc.ns->inum[NSMON_NS_MNT], initial_inums[NSMON_NS_MNT]);
	assert_int_equal(e.proc.exec_id, 7);
	assert_int_equal(e.proc.flags, NSMON_PROC_PARTIAL);
	assert_false(e.recovered);
	assert_null(e.change);
	assert_null(e.failed);
	/* What only user space knows is not known yet. */
	assert_null(e.cgroup);
	assert_null(e.old_cgroup);
	assert_int_equal(e.old_cgroup_id, 0);
	assert_int_equal(e.target.owner, 0);
	assert_null(e.target.container);
}

static void test_tree(void **state)
{
	static const char args[] = "crun\0run\0web";
	size_t size = sample(10);
	struct event e;

	(void)state;
	record_maker(&record, "crun", args, sizeof(args));
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(e.kind, NSMON_CGROUP_TREE);
	assert_null(e.task);
	assert_int_equal(e.tree->id, 77);
	assert_int_equal(e.tree->parent_id, 1);
	assert_int_equal(e.tree->op, NSMON_CGROUP_MADE);
	assert_string_equal(e.tree->name, "a.slice");
	assert_string_equal(e.tree->maker, "crun");
	assert_int_equal(e.tree->maker_args_len, sizeof(args));
	assert_memory_equal(e.tree->maker_args, args, sizeof(args));
	/* What it may be, and what it may not. */
	for (uint32_t op = 0; op < 300; op++) {
		bool valid = op >= NSMON_CGROUP_MADE && op <= NSMON_CGROUP_REMOVED;

		record.tree.op = op;
		assert_int_equal(decode(&e, &record, size), valid ? 0 : -EINVAL);
	}
	record.tree.op = 0x10000 | NSMON_CGROUP_MADE;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
}

/* Its name ends in it, and so do the arguments; the name of a task need not. */
static void test_tree_lengths(void **state)
{
	size_t size = sample(10);
	struct event e;

	(void)state;
	memset(record.tree.name, 'n', sizeof(record.tree.name));
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	record.tree.name[NSMON_CGROUP_NAME_LEN - 1] = 0;
	assert_int_equal(decode(&e, &record, size), 0);
	assert_int_equal(strlen(e.tree->name), 255);
	record.tree.name[0] = 0;
	assert_int_equal(decode(&e, &record, size), 0);
	memset(record.tree.maker, 'm', sizeof(record.tree.maker));
	memset(record.tree.maker_args, 'a', sizeof(record.tree.maker_args));
	record.tree.maker_args_len = NSMON_MAKER_ARGS_LEN;
	assert_int_equal(decode(&e, &record, size), 0);
	record.tree.maker_args_len = NSMON_MAKER_ARGS_LEN + 1;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	record.tree.maker_args_len = UINT32_MAX;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
}

static void test_every_truncation(void **state)
{
	struct event e;

	(void)state;
	for (int n = 0; n < SAMPLES; n++) {
		size_t size = sample(n);

		for (size_t cut = 0; cut < size; cut++) {
			/* The buffer ends early. */
			sample(n);
			assert_int_equal(decode(&e, &record, cut), -EINVAL);
			/* The record says so itself. */
			record.header.size = (uint32_t)cut;
			assert_int_equal(decode(&e, &record, cut), -EINVAL);
			assert_int_equal(decode(&e, &record, size), -EINVAL);
		}
	}
}

static void test_too_long(void **state)
{
	struct event e;

	(void)state;
	for (int n = 0; n < SAMPLES; n++) {
		size_t size = sample(n);

		/* The kernel rounds up what it hands over: that is no error. */
		assert_int_equal(decode(&e, &record, (size + 7) / 8 * 8), 0);
		for (size_t more = 1; more <= 300; more++) {
			record.header.size = (uint32_t)(size + more);
			assert_int_equal(decode(&e, &record, size + more), -EINVAL);
		}
		record.header.size = UINT32_MAX;
		assert_int_equal(decode(&e, &record, size), -EINVAL);
	}
}

static void test_sizes_of_one_kind_under_another(void **state)
{
	struct event e;
	size_t size;

	(void)state;
	size = sample(0);
	record.header.flags = NSMON_FLAG_NS; /* without the change */
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	size = sample(1);
	record.header.flags = 0; /* a change that nobody announced */
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	size = sample(5);
	record.header.flags = NSMON_FLAG_FAILED;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	size = sample(6);
	record.header.flags = 0;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	size = sample(8);
	record.header.kind = NSMON_CGROUP_TREE;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	size = sample(10);
	record.header.kind = NSMON_CGROUP;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
}

static void test_kinds_and_layouts(void **state)
{
	static const uint16_t kinds[] = { 0, NSMON_KINDS, NSMON_KINDS + 1, 255, 256, 257, 65535 };
	static const uint32_t layouts[] = { 0, NSMON_LAYOUT + 1, UINT32_MAX };
	struct event e;

	(void)state;
	for (int n = 0; n < SAMPLES; n++) {
		size_t size;

		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
			size = sample(n);
			record.header.kind = kinds[i];
			assert_int_equal(decode(&e, &record, size), -EINVAL);
		}
		for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++) {
			size = sample(n);
			record.header.layout = layouts[i];
			assert_int_equal(decode(&e, &record, size), -EINVAL);
		}
	}
}

static void test_reasons_and_types(void **state)
{
	struct event e;
	size_t size;

	(void)state;
	for (int reason = 0; reason < 256; reason++) {
		int valid = reason >= NSMON_REASON_CLONE && reason <= NSMON_REASON_KERNEL;

		size = sample(5);
		record.ns.change.reason[NSMON_NS_MNT] = (uint8_t)reason;
		assert_int_equal(decode(&e, &record, size), valid ? 0 : -EINVAL);
		/* Of a type that did not change it is nobody's business. */
		size = sample(5);
		record.ns.change.reason[NSMON_NS_USER] = (uint8_t)reason;
		assert_int_equal(decode(&e, &record, size), 0);
		size = sample(1);
		record.fork_ns.change.reason[NSMON_NS_NET] = (uint8_t)reason;
		assert_int_equal(decode(&e, &record, size), valid ? 0 : -EINVAL);
	}
	for (int bit = 0; bit < 32; bit++) {
		size = sample(5);
		record.ns.change.changed = 1U << bit;
		memset(record.ns.change.reason, NSMON_REASON_SETNS,
		       sizeof(record.ns.change.reason));
		assert_int_equal(decode(&e, &record, size), bit < NSMON_NS_TYPES ? 0 : -EINVAL);
	}
	for (uint32_t reason = 0; reason < 20; reason++) {
		int valid = reason >= NSMON_REASON_CLONE && reason <= NSMON_REASON_SETNS;

		size = sample(6);
		record.failed.reason = reason;
		assert_int_equal(decode(&e, &record, size), valid ? 0 : -EINVAL);
	}
	size = sample(6);
	record.failed.reason = 0x10000 | NSMON_REASON_SETNS;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
}

static void test_exec_lengths(void **state)
{
	struct event e;
	size_t size = sample(2); /* name: 8 bytes with its NUL; arguments: 6 */

	(void)state;
	for (int name = 0; name <= 16; name++) {
		for (int args = 0; args <= 16; args++) {
			int valid = name >= 1 && name + args == 14;

			record.exec.filename_len = (uint16_t)name;
			record.exec.args_len = (uint16_t)args;
			assert_int_equal(decode(&e, &record, size), valid ? 0 : -EINVAL);
		}
	}
	/* In 16 bits these sums are 14. */
	record.exec.filename_len = 65535;
	record.exec.args_len = 15;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	record.exec.filename_len = 15;
	record.exec.args_len = 65535;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	record.exec.filename_len = 32775;
	record.exec.args_len = 32775;
	assert_int_equal(decode(&e, &record, size), -EINVAL);
}

/* A line has room for NSMON_TEXT_MAX bytes, every one escaped: more must not get that far. */
static void test_exec_text_has_an_end(void **state)
{
	static char args[65535];
	struct event e;
	size_t size;

	(void)state;
	memset(args, 1, sizeof(args));
	size = record_exec(&record, 858, "ls", "/bin/ls", args, NSMON_TEXT_MAX - 8);
	assert_int_equal(decode(&e, &record, size), 0);
	size = record_exec(&record, 858, "ls", "/bin/ls", args, NSMON_TEXT_MAX - 7);
	assert_int_equal(decode(&e, &record, size), -EINVAL);
	size = record_exec(&record, 858, "ls", "/bin/ls", args, sizeof(args));
	assert_int_equal(decode(&e, &record, size), -EINVAL);
}

/* The arguments in text (len bytes), written with '|' behind each. */
static void check_args(const char *text, size_t len, const char *expected)
{
	char *copy = malloc(len ? len : 1);
	const char *at = copy;
	const char *arg;
	char got[64] = "";
	size_t n, used = 0;

	assert_non_null(copy);
	memcpy(copy, text, len);
	while ((arg = event_next_arg(&at, copy + len, &n))) {
		assert_true(used + n + 1 < sizeof(got));
		memcpy(got + used, arg, n);
		used += n;
		got[used++] = '|';
	}
	got[used] = 0;
	assert_string_equal(got, expected);
	assert_null(event_next_arg(&at, copy + len, &n)); /* and stays at the end */
	free(copy);
}

static void test_arguments(void **state)
{
	(void)state;
	check_args("", 0, "");
	check_args("ls\0", 3, "ls|");
	check_args("ls\0-l\0", 6, "ls|-l|");
	check_args("\0", 1, "|");
	check_args("\0\0\0", 3, "|||");
	check_args("a\0\0b\0", 5, "a||b|");
	check_args("ls\0-l", 5, "ls|-l|"); /* the last NUL was cut off */
	check_args("x", 1, "x|");
	check_args("\0x", 2, "|x|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_is_what_the_kernel_side_writes),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_fork_with_namespaces),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_without_name_and_arguments),
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_ns),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_proc),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_tree_lengths),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_sizes_of_one_kind_under_another),
		cmocka_unit_test(test_kinds_and_layouts),
		cmocka_unit_test(test_reasons_and_types),
		cmocka_unit_test(test_exec_lengths),
		cmocka_unit_test(test_exec_text_has_an_end),
		cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
