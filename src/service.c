// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Alone knows the protocol of sd_notify(3): datagrams of lines "NAME=value" to the socket
 * that the environment names. libsystemd's own function waits where the manager does not
 * read, and nsmon must not. Must not know how a trace is made.
 */
#include "service.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define SOCKET_VARIABLE "NOTIFY_SOCKET"

#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_US ((uint64_t)1000)

/* A status is for people, and each costs the manager a wake-up. */
#define STATUS_NS (5000 * NS_PER_MS)

/* Between two attempts to tell what did not get through: longer and longer, for a manager may be gone. */
#define RETRY_NS (250 * NS_PER_MS)
#define RETRY_NS_MAX (8000 * NS_PER_MS)

/* Whoever wants more signs of life than that would keep nsmon busy with them. */
#define BEAT_NS_MIN (10 * NS_PER_MS)

/* What must not be left out, in the order in which it is told. */
enum { RELOADING = 1, READY = 2 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && !*end && *value <= max;
}

/* sd_watchdog_enabled(3). Nanoseconds; 0 where none is set, or it is meant for another process. */
static uint64_t take_watchdog(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t us, of = 0;

	if (!parse_number(getenv("WATCHDOG_USEC"), INT64_MAX / NS_PER_US, &us))
		us = 0;
	if (pid && !(parse_number(pid, INT_MAX, &of) && of == (uint64_t)getpid()))
		us = 0;
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return us * NS_PER_US;
}

/* A path, or after '@' an abstract name. */
static bool set_manager(struct service *service, const char *name)
{
	struct sockaddr_un *manager = &service->manager;
	size_t len = strlen(name);

	if (len < 2 || len >= sizeof(manager->sun_path) || (*name != '/' && *name != '@'))
		return false;
	manager->sun_family = AF_UNIX;
	memcpy(manager->sun_path, name, len);
	service->manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (*name == '@')
		manager->sun_path[0] = 0;
	else
		service->manager_len++;
	return true;
}

void service_open(struct service *service)
{
	const char *name = getenv(SOCKET_VARIABLE);

	*service = (struct service){ .fd = -1, .beat_ns = take_watchdog() / 2 };
	if (service->beat_ns && service->beat_ns < BEAT_NS_MIN)
		service->beat_ns = BEAT_NS_MIN;
	if (name && !set_manager(service, name))
		log_note("%s '%s': it takes the path of a socket or, after '@', an abstract name; "
			 "no service manager is told anything",
			 SOCKET_VARIABLE, name);
	else if (name)
		service->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsetenv(SOCKET_VARIABLE);
	if (service->fd < 0)
		service->beat_ns = 0;
}

bool service_is_managed(const struct service *service)
{
	return service->fd >= 0;
}

/* false: it has no room now, or is not there, as while it starts anew. */
static bool tell(const struct service *service, const char *message)
{
	return sendto(service->fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL,
		      (const struct sockaddr *)&service->manager, service->manager_len) >= 0;
}

/* Managers from 253 on tell an answer to this reload from one to another by the time. */
static bool tell_reloading(const struct service *service)
{
	char message[80];

	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 service->reloading_us);
	return tell(service, message);
}

static void tell_owed(struct service *service)
{
	service->next_try_ns = now_ns() + service->pause_ns;
	if (service->pause_ns < RETRY_NS_MAX)
		service->pause_ns *= 2;
	if (service->owed & RELOADING && tell_reloading(service))
		service->owed &= ~(unsigned int)RELOADING;
	if (service->owed == READY &&
	    tell(service, service->reloading_us ? "READY=1" : "READY=1\nSTATUS=Tracing"))
		service->owed = 0;
}

static void owe(struct service *service, unsigned int what)
{
	if (service->fd < 0)
		return;
	service->owed |= what;
	service->pause_ns = RETRY_NS;
	tell_owed(service);
}

void service_ready(struct service *service)
{
	service->next_beat_ns = now_ns() + service->beat_ns;
	service->was_ready = true;
	owe(service, READY);
}

void service_reloading(struct service *service)
{
	if (!service->was_ready) /* a reload has nothing to say before that */
		return;
	service->reloading_us = now_ns() / NS_PER_US;
	owe(service, RELOADING);
}

void service_reloaded(struct service *service)
{
	if (service->was_ready)
		owe(service, READY);
}

void service_stopping(struct service *service)
{
	if (service->fd >= 0)
		tell(service, "STOPPING=1");
}

static bool tell_status(const struct service *service, const struct totals *totals, bool failing)
{
	const uint64_t *written = totals->written;
	char message[256];

	snprintf(message, sizeof(message),
		 "STATUS=%s: %" PRIu64 " fork, %" PRIu64 " exec, %" PRIu64 " exit, %" PRIu64
		 " ns, %" PRIu64 " cgroup; %" PRIu64 " lost",
		 failing ? "Cannot write" : "Tracing", written[NSMON_FORK], written[NSMON_EXEC],
		 written[NSMON_EXIT], written[NSMON_NS], written[NSMON_CGROUP], totals->lost);
	return tell(service, message);
}

void service_turn(struct service *service, const struct totals *totals, bool failing)
{
	uint64_t seen, now;

	if (service->fd < 0)
		return;
	now = now_ns();
	if (service->owed && now >= service->next_try_ns)
		tell_owed(service);
	if (service->beat_ns && now >= service->next_beat_ns) {
		service->next_beat_ns = now + service->beat_ns;
		if (!tell(service, "WATCHDOG=1") && service->beat_ns > RETRY_NS)
			service->next_beat_ns = now + RETRY_NS;
	}
	seen = lost_count(totals->written) + totals->lost;
	service->has_news = seen != service->told || failing != service->told_failing;
	if (!service->has_news || now < service->next_status_ns)
		return;
	service->next_status_ns = now + STATUS_NS;
	if (!tell_status(service, totals, failing))
		return;
	service->told = seen;
	service->told_failing = failing;
	service->has_news = false;
}

int service_period_ms(const struct service *service)
{
	uint64_t ms = service->beat_ns / NS_PER_MS / 2;

	if (!ms)
		return -1;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

int service_due_ms(const struct service *service)
{
	uint64_t due = UINT64_MAX, now;

	if (service->fd < 0)
		return -1;
	if (service->beat_ns)
		due = service->next_beat_ns;
	if (service->owed && service->next_try_ns < due)
		due = service->next_try_ns;
	if (service->has_news && service->next_status_ns < due)
		due = service->next_status_ns;
	if (due == UINT64_MAX)
		return -1;
	now = now_ns();
	if (now >= due)
		return 0;
	due = (due - now) / NS_PER_MS + 1;
	return due < INT_MAX ? (int)due : INT_MAX;
}

void service_close(struct service *service)
{
	if (service->fd >= 0)
		close(service->fd);
	service->fd = -1;
}
