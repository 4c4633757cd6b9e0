// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Alone knows libsystemd, without which it tells nothing. Must not know how a trace is made. */
#include "service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define SOCKET_VARIABLE "NOTIFY_SOCKET"

#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_US ((uint64_t)1000)

/* A status is for people, and each costs the manager a wake-up. */
#define STATUS_NS (5000 * NS_PER_MS)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * NS_PER_MS + (uint64_t)ts.tv_nsec;
}

/* Microseconds; 0 where none is set, or it is meant for another process. */
static uint64_t take_watchdog(void)
{
	uint64_t usec = 0;

#ifdef HAVE_SYSTEMD
	if (sd_watchdog_enabled(1, &usec) <= 0)
		usec = 0;
#else
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
#endif
	return usec;
}

/* The library looks for the socket in the environment, where it stays no longer than that. */
static void tell(const struct service *service, const char *message)
{
	if (!service->socket)
		return;
#ifdef HAVE_SYSTEMD
	if (setenv(SOCKET_VARIABLE, service->socket, 1) == 0)
		sd_notify(1, message);
#else
	(void)message;
#endif
}

void service_open(struct service *service)
{
	const char *socket = getenv(SOCKET_VARIABLE);

	*service = (struct service){ .beat_ns = take_watchdog() * NS_PER_US / 2 };
#ifdef HAVE_SYSTEMD
	if (socket)
		service->socket = strdup(socket);
#else
	(void)socket;
#endif
	unsetenv(SOCKET_VARIABLE);
	if (!service->socket)
		service->beat_ns = 0;
}

bool service_is_managed(const struct service *service)
{
	return service->socket;
}

void service_ready(struct service *service)
{
	tell(service, "READY=1\nSTATUS=Tracing");
	service->next_beat_ns = now_ns() + service->beat_ns;
}

/* Managers from 253 on tell an answer to this reload from one to another by the time. */
void service_reloading(const struct service *service)
{
	char message[80];

	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 now_ns() / NS_PER_US);
	tell(service, message);
}

void service_reloaded(const struct service *service)
{
	tell(service, "READY=1");
}

void service_stopping(const struct service *service)
{
	tell(service, "STOPPING=1");
}

static void tell_status(struct service *service, const struct totals *totals, bool failing)
{
	const uint64_t *written = totals->written;
	char message[256];

	snprintf(message, sizeof(message),
		 "STATUS=%s: %" PRIu64 " fork, %" PRIu64 " exec, %" PRIu64 " exit, %" PRIu64
		 " ns, %" PRIu64 " cgroup; %" PRIu64 " lost",
		 failing ? "Cannot write" : "Tracing", written[NSMON_FORK], written[NSMON_EXEC],
		 written[NSMON_EXIT], written[NSMON_NS], written[NSMON_CGROUP], totals->lost);
	tell(service, message);
}

void service_turn(struct service *service, const struct totals *totals, bool failing)
{
	uint64_t seen, now;

	if (!service->socket)
		return;
	now = now_ns();
	if (service->beat_ns && now >= service->next_beat_ns) {
		service->next_beat_ns = now + service->beat_ns;
		tell(service, "WATCHDOG=1");
	}
	seen = lost_count(totals->written) + totals->lost;
	if (now < service->next_status_ns ||
	    (seen == service->told && failing == service->told_failing))
		return;
	service->next_status_ns = now + STATUS_NS;
	service->told = seen;
	service->told_failing = failing;
	tell_status(service, totals, failing);
}

int service_due_ms(const struct service *service)
{
	uint64_t now;

	if (!service->beat_ns)
		return -1;
	now = now_ns();
	if (now >= service->next_beat_ns)
		return 0;
	return (int)((service->next_beat_ns - now) / NS_PER_MS) + 1;
}
