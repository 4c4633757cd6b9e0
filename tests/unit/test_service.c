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

static char folder[64];
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int manager = -1;
static struct service service = { .fd = -1 };
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
	service_close(&service);
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
	assert_true(service_is_managed(&service));
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
	assert_in_range(service_due_ms(&service), 4000, 5001); /* what comes last is told as well */
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

/* Fills the manager's socket, which it does not read. Returns how many messages that took. */
static int fill(void)
{
	int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int n = 0;

	while (sendto(other, "x", 1, 0, (const struct sockaddr *)&address, sizeof(address)) == 1)
		n++;
	assert_int_equal(errno, EAGAIN);
	assert_true(n > 0);
	close(other);
	return n;
}

static void drain(int n)
{
	while (n--)
		assert_string_equal(heard(), "x");
}

/* Nothing waits for it; READY and RELOADING get through in the end, the others when there is news. */
static void test_manager_that_does_not_read(void **state)
{
	unsigned long long usec;
	int n;

	(void)state;
	setenv("WATCHDOG_USEC", "60000000", 1);
	service_open(&service);
	n = fill();
	service_ready(&service);
	service_turn(&service, &totals, false);
	assert_in_range(service_due_ms(&service), 1, 251);
	drain(n);
	assert_string_equal(heard(), "");
	service.next_try_ns = 0;
	assert_int_equal(service_due_ms(&service), 0);
	service_turn(&service, &totals, false);
	assert_string_equal(heard(), "READY=1\nSTATUS=Tracing");
	assert_in_range(service_due_ms(&service), 20000, 30001);

	n = fill();
	service_reloading(&service);
	service_reloaded(&service);
	service.next_beat_ns = 0;
	totals.lost = 1;
	service_turn(&service, &totals, false);
	assert_in_range(service_due_ms(&service), 1, 251);
	service_stopping(&service);
	drain(n);
	assert_string_equal(heard(), "");
	service.next_try_ns = service.next_beat_ns = service.next_status_ns = 0;
	service_turn(&service, &totals, false);
	assert_int_equal(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
	assert_string_equal(heard(), "READY=1");
	assert_string_equal(heard(), "WATCHDOG=1");
	assert_string_equal(heard(),
			    "STATUS=Tracing: 0 fork, 0 exec, 0 exit, 0 ns, 0 cgroup; 1 lost");
	assert_in_range(service_due_ms(&service), 20000, 30001);
}

/* Nor is it forgotten for one that is not there: it may be about to start anew. */
static void test_manager_that_is_gone(void **state)
{
	uint64_t before = 0;

	(void)state;
	close(manager);
	service_open(&service);
	service_ready(&service);
	for (int i = 0; i < 10; i++) {
		assert_true(service.pause_ns >= before);
		before = service.pause_ns;
		service.next_try_ns = 0;
		service_turn(&service, &totals, false);
	}
	assert_in_range(service_due_ms(&service), 4000, 8001); /* seldom, in the end */
	unlink(address.sun_path);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(manager, (const struct sockaddr *)&address, sizeof(address)), 0);
	service.next_try_ns = 0;
	service_turn(&service, &totals, false);
	assert_string_equal(heard(), "READY=1\nSTATUS=Tracing");
	assert_int_equal(service_due_ms(&service), -1);
}

static void test_abstract_socket(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char text[64];

	(void)state;
	close(manager);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	snprintf(text, sizeof(text), "@nsmon-test-%d", getpid());
	strcpy(name.sun_path + 1, text + 1);
	assert_int_equal(bind(manager, (const struct sockaddr *)&name,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text))),
			 0);
	setenv("NOTIFY_SOCKET", text, 1);
	service_open(&service);
	service_ready(&service);
	assert_string_equal(heard(), "READY=1\nSTATUS=Tracing");
}

static void test_watchdog(void **state)
{
	int due;

	(void)state;
	setenv("WATCHDOG_USEC", "400000", 1);
	service_open(&service);
	service_ready(&service);
	assert_string_equal(heard(), "READY=1\nSTATUS=Tracing");
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
	service_close(&service);
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
		TEST(test_messages),
		TEST(test_status),
		TEST(test_watchdog),
		TEST(test_no_watchdog),
		TEST(test_nobody),
		TEST(test_manager_that_does_not_read),
		TEST(test_manager_that_is_gone),
		TEST(test_abstract_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
