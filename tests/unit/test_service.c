// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* service.c: what a manager's socket hears, and when. Needs no manager. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "service.h"

#ifdef HAVE_SYSTEMD
#define SPEAKS true
#else
#define SPEAKS false
#endif

static char folder[64];
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int manager = -1;
static struct service service;
static struct totals totals;

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nsmon-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	memset(&totals, 0, sizeof(totals));
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return bind(manager, (const struct sockaddr *)&address, sizeof(address));
}

static int tear_down(void **state)
{
	(void)state;
	close(manager);
	unlink(address.sun_path);
	free((char *)service.socket);
	service.socket = NULL;
	return rmdir(folder);
}

static void assert_environment_is_empty(void)
{
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
}

/* The next message; empty where there is none. */
static const char *heard(void)
{
	static char text[512];
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	assert_environment_is_empty();
	return text;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void test_messages(void **state)
{
	unsigned long long usec;
	uint64_t before;

	(void)state;
	service_open(&service);
	assert_environment_is_empty();
	assert_int_equal(service_is_managed(&service), SPEAKS);
	if (!SPEAKS) {
		service_ready(&service);
		assert_string_equal(heard(), "");
		skip();
	}
	service_ready(&service);
	assert_string_equal(heard(), "READY=1\nSTATUS=Tracing");
	before = now_us();
	service_reloading(&service);
	assert_int_equal(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
	assert_in_range(usec, before, now_us());
	service_reloaded(&service);
	assert_string_equal(heard(), "READY=1");
	service_stopping(&service);
	assert_string_equal(heard(), "STOPPING=1");
	assert_string_equal(heard(), "");
}

/* Only what is new, and not again within seconds; then all of it. */
static void test_status(void **state)
{
	(void)state;
	if (!SPEAKS)
		skip();
	service_open(&service);
	service_turn(&service, &totals, false);
	assert_string_equal(heard(), "");
	assert_int_equal(service_due_ms(&service), -1);
	totals.written[NSMON_FORK] = 1;
	totals.written[NSMON_PROC] = 100;
	totals.lost = 7;
	service_turn(&service, &totals, false);
	assert_string_equal(heard(),
			    "STATUS=Tracing: 1 fork, 0 exec, 0 exit, 0 ns, 0 cgroup; 7 lost");
	totals.written[NSMON_EXEC] = 2;
	service_turn(&service, &totals, true);
	assert_string_equal(heard(), "");
	assert_int_equal(service_due_ms(&service), -1); /* nobody is woken for it */
	service.next_status_ns = 0;
	service_turn(&service, &totals, true);
	assert_string_equal(heard(),
			    "STATUS=Cannot write: 1 fork, 2 exec, 0 exit, 0 ns, 0 cgroup; 7 lost");
	service.next_status_ns = 0;
	service_turn(&service, &totals, true);
	assert_string_equal(heard(), "");
	for (int i = 0; i < NSMON_KINDS; i++)
		totals.written[i] = UINT64_MAX / 8;
	service_turn(&service, &totals, false);
	assert_non_null(strstr(heard(), " 2305843009213693951 cgroup; 7 lost"));
}

static void test_watchdog(void **state)
{
	int due;

	(void)state;
	if (!SPEAKS)
		skip();
	setenv("WATCHDOG_USEC", "400000", 1);
	service_open(&service);
	service_ready(&service);
	heard();
	due = service_due_ms(&service);
	assert_in_range(due, 1, 201);
	service_turn(&service, &totals, false);
	assert_string_equal(heard(), "");
	usleep(210000);
	assert_int_equal(service_due_ms(&service), 0);
	service_turn(&service, &totals, false);
	assert_string_equal(heard(), "WATCHDOG=1");
	due = service_due_ms(&service);
	assert_in_range(due, 1, 201);
}

static void no_watchdog(const char *usec, const char *pid)
{
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	free((char *)service.socket);
	service_open(&service);
	assert_environment_is_empty();
	service_ready(&service);
	assert_int_equal(service_due_ms(&service), -1);
}

static void test_no_watchdog(void **state)
{
	(void)state;
	no_watchdog("400000", "1"); /* another process's */
	no_watchdog("0", NULL);
	no_watchdog("soon", NULL);
	no_watchdog("-1", NULL);
}

/* Nothing is sent, nothing is due, and nobody is asked for the time. */
static void test_nobody(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	setenv("WATCHDOG_USEC", "400000", 1);
	service_open(&service);
	assert_environment_is_empty();
	assert_false(service_is_managed(&service));
	totals.lost = 1;
	service_ready(&service);
	service_turn(&service, &totals, false);
	service_reloading(&service);
	service_reloaded(&service);
	service_stopping(&service);
	assert_string_equal(heard(), "");
	assert_int_equal(service_due_ms(&service), -1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_messages),	TEST(test_status), TEST(test_watchdog),
		TEST(test_no_watchdog), TEST(test_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
