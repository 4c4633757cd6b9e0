// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
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

#include "log.h"

static int stream[2], saved;

/* Standard error is a pipe from here on. */
static int set_up(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_DEBUG);
	saved = dup(STDERR_FILENO);
	return pipe(stream) || dup2(stream[1], STDERR_FILENO) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(stream[0]);
	close(stream[1]);
	return 0;
}

static void wrote(const char *wanted)
{
	char found[256];
	ssize_t len = read(stream[0], found, sizeof(found) - 1);

	assert_true(len > 0);
	found[len] = 0;
	assert_string_equal(found, wanted);
}

static void name_stream(ino_t more)
{
	char name[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)(st.st_ino + more));
	setenv("JOURNAL_STREAM", name, 1);
}

static void test_terminal(void **state)
{
	(void)state;
	log_error("no such file: %s", "a\nb\x1b[1m");
	wrote("nsmon: no such file: a\\x0ab\\x1b[1m\n");
	log_set_level(LOG_LEVEL_ERROR);
	log_note("not shown");
	log_error("shown");
	wrote("nsmon: shown\n");
}

static void test_journal(void **state)
{
	(void)state;
	name_stream(0);
	log_error("an error");
	wrote("<3>nsmon: an error\n");
	log_note("a note");
	wrote("<5>nsmon: a note\n");
	log_debug("a detail");
	wrote("<7>nsmon: a detail\n");
}

/* The variable came with the environment, and somebody redirected the output. */
static void test_another_stream(void **state)
{
	(void)state;
	name_stream(1);
	log_error("an error");
	wrote("nsmon: an error\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_terminal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_journal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_stream, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
