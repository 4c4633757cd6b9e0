// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* rows.c: a thread's child differs from what was told of the main thread, whatever the kernel saw at that moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "records.h"
#include "rows.h"

enum { BEFORE = 100, AFTER = 200 };

static struct rows rows;
static union record record;
static struct event event;

static int set_up(void **state)
{
	(void)state;
	memset(&rows, 0, sizeof(rows));
	return 0;
}

static void tell(uint32_t pid, uint32_t tid, uint64_t start_ns, uint32_t inum)
{
	size_t size = record_ns(&record, pid, "main");

	record.ns.task.tid = tid;
	record.ns.task.start_ns = start_ns;
	record_changed(&record.ns.change, NSMON_NS_NET, inum, NSMON_REASON_UNSHARE);
	assert_int_equal(event_decode(&event, &record, size), 0);
	rows_told(&rows, &event);
}

/* A child of pid in the namespace now; the kernel takes old for the row's. */
static uint32_t fit(uint32_t pid, uint64_t start_ns, uint32_t old, uint32_t now, uint16_t flags)
{
	size_t size = record_fork_ns(&record, pid, 900, "child");

	record.fork.header.flags |= flags;
	record.fork.creator_start_ns = start_ns;
	record.fork_ns.change.old.inum[NSMON_NS_NET] = old;
	record_changed(&record.fork_ns.change, NSMON_NS_NET, now, NSMON_REASON_FORK);
	record.fork_ns.change.changed = old == now ? 0 : 1U << NSMON_NS_NET;
	record.fork_ns.change.wanted = 1U << NSMON_NS_NET;
	assert_int_equal(event_decode(&event, &record, size), 0);
	rows_fit(&rows, &event);
	return event.change->changed;
}

static void test_kernel_saw_the_older_set(void **state)
{
	(void)state;
	tell(50, 50, 7, AFTER);
	assert_int_equal(fit(50, 7, BEFORE, BEFORE, NSMON_FLAG_ROW), 1U << NSMON_NS_NET);
	assert_int_equal(event.change->old.inum[NSMON_NS_NET], AFTER);
	assert_int_equal(event.change->now.inum[NSMON_NS_NET], BEFORE);
	assert_int_equal(event.change->reason[NSMON_NS_NET], NSMON_REASON_FORK);
	assert_int_equal(fit(50, 7, BEFORE, AFTER, NSMON_FLAG_ROW), 0);
}

static void test_ids_tell_recycled_numbers_apart(void **state)
{
	(void)state;
	tell(50, 50, 7, AFTER);
	rows.row[50].now.id[NSMON_NS_NET] = 5;
	assert_int_equal(fit(50, 7, AFTER, AFTER, NSMON_FLAG_ROW), 1U << NSMON_NS_NET);
}

/* Of others nothing is known: the kernel's word stands. */
static void test_others_are_left_alone(void **state)
{
	(void)state;
	assert_int_equal(fit(50, 7, BEFORE, AFTER, NSMON_FLAG_ROW), 1U << NSMON_NS_NET);
	tell(50, 51, 7, AFTER); /* a thread's own change is not the row's */
	assert_int_equal(fit(50, 7, BEFORE, BEFORE, NSMON_FLAG_ROW), 0);
	tell(50, 50, 7, AFTER);
	assert_int_equal(fit(50, 8, BEFORE, BEFORE, NSMON_FLAG_ROW), 0); /* the pid was used again */
	assert_int_equal(fit(50 + ROWS_MAX, 7, BEFORE, BEFORE, NSMON_FLAG_ROW), 0);
	assert_int_equal(fit(50, 7, BEFORE, BEFORE, 0), 0); /* the main thread's own child */
}

/* The newest of those that share a place is remembered. */
static void test_newest_stays(void **state)
{
	(void)state;
	tell(50, 50, 7, AFTER);
	tell(50 + ROWS_MAX, 50 + ROWS_MAX, 9, AFTER);
	assert_int_equal(fit(50, 7, BEFORE, BEFORE, NSMON_FLAG_ROW), 0);
	assert_int_equal(fit(50 + ROWS_MAX, 9, BEFORE, BEFORE, NSMON_FLAG_ROW), 1U << NSMON_NS_NET);
}

/* Types that the filter hides stay hidden. */
static void test_only_what_is_wanted(void **state)
{
	size_t size;

	(void)state;
	tell(50, 50, 7, AFTER);
	size = record_fork_ns(&record, 50, 900, "child");
	record.fork.header.flags |= NSMON_FLAG_ROW;
	record.fork.creator_start_ns = 7;
	assert_int_equal(event_decode(&event, &record, size), 0);
	rows_fit(&rows, &event);
	assert_int_equal(event.change->changed, 0);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kernel_saw_the_older_set),	TEST(test_ids_tell_recycled_numbers_apart),
		TEST(test_others_are_left_alone),	TEST(test_newest_stays),
		TEST(test_only_what_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
