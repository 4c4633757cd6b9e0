// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* privileges.c: what /proc/self/status says of a process that gave something up. Not as root: nothing was there. */
#include <errno.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "privileges.h"

/* A number of /proc/self/status. */
static uint64_t status(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long value = UINT64_MAX;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			sscanf(line + strlen(name), ": %llx", &value);
	if (file)
		fclose(file);
	return value;
}

/* In a process of its own: what is given up does not come back. The number of the check that failed, or 0. */
static void in_child(int (*function)(void))
{
	pid_t pid = fork();
	int ended;

	if (pid == 0)
		_exit(function());
	assert_int_equal(waitpid(pid, &ended, 0), pid);
	assert_true(WIFEXITED(ended));
	if (WEXITSTATUS(ended))
		fail_msg("check %d failed", WEXITSTATUS(ended));
}

#define KEPT (PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_KILL))

static int give_up(void)
{
	uint64_t permitted = status("CapPrm"), bounding = status("CapBnd");

	if (privileges_have(CAP_KILL) != !!(permitted & PRIVILEGE(CAP_KILL)))
		return 1;
	if (privileges_give_up(KEPT))
		return 2;
	if (status("CapPrm") != (permitted & KEPT) || status("CapEff") != (permitted & KEPT))
		return 3;
	if (status("CapInh") || status("CapAmb"))
		return 4;
	if (status("CapBnd") != (permitted & PRIVILEGE(CAP_SETPCAP) ? 0 : bounding))
		return 5;
	if (status("NoNewPrivs") != 1)
		return 6;
	if (privileges_have(CAP_SETPCAP) || privileges_have(CAP_KILL) != !!(permitted & PRIVILEGE(CAP_KILL)))
		return 7;
	return privileges_give_up(0) || status("CapPrm") ? 8 : 0;
}

static void test_give_up(void **state)
{
	(void)state;
	in_child(give_up);
}

/* What was only put aside comes back, also for what takes one that is not kept. */
static int try_and_give_up(void)
{
	uint64_t permitted = status("CapPrm");

	if (privileges_try(0) || status("CapEff") || status("CapPrm") != permitted)
		return 1;
	if (privileges_have(CAP_KILL) != !!(permitted & PRIVILEGE(CAP_KILL)))
		return 2;
	if (privileges_give_up(KEPT) || status("CapEff") != (permitted & KEPT))
		return 3;
	return permitted & PRIVILEGE(CAP_SETPCAP) && status("CapBnd") ? 4 : 0;
}

static void test_try(void **state)
{
	(void)state;
	in_child(try_and_give_up);
}

/* An ambient capability would be handed on to any program. */
static int give_up_ambient(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (!(status("CapPrm") & PRIVILEGE(CAP_KILL)))
		return 77;
	data[0].permitted = data[0].effective = data[0].inheritable = 1U << CAP_KILL;
	if (syscall(SYS_capset, &header, data) ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) ||
	    status("CapAmb") != PRIVILEGE(CAP_KILL))
		return 1;
	if (privileges_give_up(KEPT))
		return 2;
	return status("CapAmb") || status("CapInh") || status("CapPrm") != PRIVILEGE(CAP_KILL) ? 3
											       : 0;
}

static void test_ambient(void **state)
{
	(void)state;
	if (!privileges_have(CAP_KILL))
		skip();
	in_child(give_up_ambient);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_give_up),
		cmocka_unit_test(test_try),
		cmocka_unit_test(test_ambient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
