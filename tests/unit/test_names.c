// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* names.c: the words of the contract, each found by its own length only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "names.h"

static void test_kinds(void **state)
{
	(void)state;
	assert_null(kind_names[0]);
	assert_string_equal(kind_names[NSMON_FORK], "fork");
	assert_string_equal(kind_names[NSMON_EXEC], "exec");
	assert_string_equal(kind_names[NSMON_EXIT], "exit");
	assert_string_equal(kind_names[NSMON_NS], "ns");
	assert_string_equal(kind_names[NSMON_LOST], "lost");
}

/* The contract's order is the order of the records of one change. */
static void test_types(void **state)
{
	static const char *const order[] = { "mnt",    "uts",  "ipc",
					     "net",    "pid",  "pid_for_children",
					     "user",   "cgroup", "time",
					     "time_for_children" };

	(void)state;
	assert_int_equal(sizeof(order) / sizeof(*order), NSMON_NS_TYPES);
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		assert_string_equal(ns_type_names[i], order[i]);
}

/* They are what /proc calls them, on a kernel that has them. */
static void test_types_are_those_of_proc(void **state)
{
	char path[64] = "/proc/self/ns/";
	int found = 0;

	(void)state;
	for (int i = 0; i < NSMON_NS_TYPES; i++) {
		strcpy(path + strlen("/proc/self/ns/"), ns_type_names[i]);
		found += access(path, F_OK) == 0;
	}
	assert_true(found >= 1); /* mnt is always there */
}

static void test_reasons(void **state)
{
	static const char *const reasons[] = { NULL,   "clone", "unshare", "setns",
					       "exec", "fork",  "kernel" };

	(void)state;
	assert_null(reason_names[0]);
	for (int i = 1; i < NSMON_REASONS; i++)
		assert_string_equal(reason_names[i], reasons[i]);
}

static void test_backends(void **state)
{
	(void)state;
	assert_string_equal(backend_names[BACKEND_AUTO], "auto");
	assert_string_equal(backend_names[BACKEND_FENTRY], "fentry");
	assert_string_equal(backend_names[BACKEND_KPROBE], "kprobe");
	assert_string_equal(backend_names[BACKEND_TRACEPOINT], "tracepoint");
}

static void test_index(void **state)
{
	(void)state;
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, ns_type_names[i],
					    strlen(ns_type_names[i])),
				 i);
	/* pid is the beginning of pid_for_children, and only that. */
	assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, "pid_for_children", 3),
			 NSMON_NS_PID);
	assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, "pid_for_children", 4), -1);
	assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, "pi", 2), -1);
	assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, "", 0), -1);
	assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, "MNT", 3), -1);
	assert_int_equal(name_index(ns_type_names, NSMON_NS_TYPES, "mnt\0", 4), -1);
	/* Numbers that are not used have no name, and those behind count no name. */
	assert_int_equal(name_index(kind_names, NSMON_KINDS, "fork", 4), NSMON_FORK);
	assert_int_equal(name_index(kind_names, NSMON_LOST, "lost", 4), -1);
	assert_int_equal(name_index(kind_names, 0, "fork", 4), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_types_are_those_of_proc),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_backends),
		cmocka_unit_test(test_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
