// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* kernel.c: which releases will do, and what can be found out about this one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <cmocka.h>

#include "kernel.h"
#include "names.h"

/* kernel/sched/debug.c:sched_dynamic_show(): the mode that is on stands in parentheses. */
static void test_preemption_mode(void **state)
{
	static const struct {
		const char *modes;
		bool preempts;
	} modes[] = {
		{ "none (voluntary) full \n", false },
		{ "(none) voluntary full lazy\n", false },
		{ "none voluntary (full)\n", true },
		{ "full (lazy)\n", true },
		{ "(unknown)\n", true },
		{ "", true },
		{ "none voluntary full\n", true },
		{ "(", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (kernel_mode_preempts(modes[i].modes) != modes[i].preempts)
			fail_msg("%s", modes[i].modes);
}

static void test_releases(void **state)
{
	static const struct {
		const char *release;
		bool supported;
	} releases[] = {
		{ "2.6.32-754.el6.x86_64", false },
		{ "3.10.0-1160.el7.x86_64", false },
		{ "4.18.0-553.el8_10.x86_64", false },
		{ "4.19.0-27-amd64", false },
		{ "4.19", false },
		{ "5.0.0", false },
		{ "5.4.0-200-generic", false },
		{ "5.7.19", false },
		{ "5.7.0-rc8", false },
		{ "5.8", true },
		{ "5.8-rc1", true },
		{ "5.8.0", true },
		{ "5.10.0-32-amd64", true }, /* a comparison of text or of a fraction fails here */
		{ "5.14.0-427.el9.x86_64", true },
		{ "5.80", true },
		{ "6.0.0", true },
		{ "6.1.0-26-cloud-arm64", true },
		{ "6.1", true },
		{ "7.3", true },
		{ "10.2.1", true },
		{ "6.12.5-zen1+", true },
		/* One that cannot be read is taken to be new enough. */
		{ "", true },
		{ "garbage", true },
		{ "v5.4", true },
		{ "5", true },
		{ "5.", true },
		{ "5.x", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(releases) / sizeof(*releases); i++)
		if (kernel_release_supported(releases[i].release) != releases[i].supported)
			fail_msg("%s", releases[i].release);
}

static void test_read(void **state)
{
	static struct kernel kernel;
	struct utsname uname_;
	char path[64], target[64];

	(void)state;
	memset(&kernel, 0xff, sizeof(kernel));
	assert_int_equal(kernel_read(&kernel), 0);
	assert_int_equal(uname(&uname_), 0);
	assert_string_equal(kernel.uname.release, uname_.release);
	assert_string_equal(kernel.uname.machine, uname_.machine);
	assert_string_equal(kernel.uname.nodename, uname_.nodename);
	if (kernel.boot_id[0]) {
		assert_int_equal(strlen(kernel.boot_id), 36);
		assert_int_equal(strspn(kernel.boot_id, "0123456789abcdef-"), 36);
	} else {
		assert_int_not_equal(access("/proc/sys/kernel/random/boot_id", R_OK), 0);
	}
	for (int i = 0; i < NSMON_NS_TYPES; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_type_names[i]);
		assert_int_equal(!!(kernel.ns_present & (1U << i)),
				 readlink(path, target, sizeof(target)) > 0);
	}
	assert_int_equal(kernel.ns_present & ~NSMON_NS_ALL, 0);
}

static void test_btf_that_is_none(void **state)
{
	(void)state;
	errno = 0;
	assert_null(kernel_load_btf("/nonexistent/btf"));
	assert_int_equal(errno, ENOENT);
	assert_null(kernel_load_btf("/dev/null"));
}

/* As struct ns_common is on 6.18: what is looked for sits in an unnamed member of an unnamed member. */
static void test_member_offset(void **state)
{
	struct btf *btf = btf__new_empty();
	int u32, u64, inner, outer, named;

	(void)state;
	assert_non_null(btf);
	u32 = btf__add_int(btf, "u32", 4, 0);
	u64 = btf__add_int(btf, "u64", 8, 0);
	inner = btf__add_struct(btf, "", 16);
	assert_int_equal(btf__add_field(btf, "ns_id", u64, 64, 0), 0);
	named = btf__add_struct(btf, "named", 8);
	assert_int_equal(btf__add_field(btf, "hidden", u64, 0, 0), 0);
	outer = btf__add_union(btf, "", 16);
	assert_int_equal(btf__add_field(btf, "", inner, 0, 0), 0);
	assert_true(btf__add_struct(btf, "ns_common", 48) > 0);
	assert_int_equal(btf__add_field(btf, "inum", u32, 32, 0), 0);
	assert_int_equal(btf__add_field(btf, "part", named, 64, 0), 0);
	assert_int_equal(btf__add_field(btf, "", outer, 128, 0), 0);

	assert_int_equal(kernel_member_offset(btf, "ns_common", "inum"), 4);
	assert_int_equal(kernel_member_offset(btf, "ns_common", "ns_id"), 24);
	assert_int_equal(kernel_member_offset(btf, "ns_common", "hidden"), -ENOENT);
	assert_int_equal(kernel_member_offset(btf, "ns_common", "other"), -ENOENT);
	assert_int_equal(kernel_member_offset(btf, "other", "inum"), -ENOENT);
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preemption_mode),
		cmocka_unit_test(test_releases),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_btf_that_is_none),
		cmocka_unit_test(test_member_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
