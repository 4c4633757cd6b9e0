/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a service manager is told (sd_notify(3)): that nsmon is ready, lives, and what it has seen. */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "format.h"

/* All times are nanoseconds of CLOCK_MONOTONIC. */
struct service {
	int fd; /* -1: nobody asks */
	struct sockaddr_un manager;
	socklen_t manager_len;
	uint64_t beat_ns; /* between two signs of life; 0: none are wanted */
	uint64_t next_beat_ns;
	uint64_t next_status_ns;
	uint64_t next_try_ns; /* of what is owed */
	uint64_t pause_ns; /* until the one after that */
	uint64_t reloading_us;
	unsigned int owed; /* what did not get through yet */
	uint64_t told; /* records, when the status was last told */
	bool told_failing;
	bool has_news; /* than the status that was last told */
	bool was_ready;
};

/*
 * Takes what the environment says out of it: it is not for a COMMAND, which inherits the
 * rest. The caller closes it.
 */
void service_open(struct service *service);

/* Did a service manager start nsmon, and does it listen? */
bool service_is_managed(const struct service *service);

/*
 * None of these waits: a manager may be busy or gone, and the trace goes on. What did not get
 * through service_turn() tells later.
 */

/* Everything is attached, and the picture, where one is wanted, is told. */
void service_ready(struct service *service);

/* Around what SIGHUP asks for. */
void service_reloading(struct service *service);
void service_reloaded(struct service *service);

/* The trace ends. */
void service_stopping(struct service *service);

/*
 * For each turn of the loop: a sign of life, where one is due, and what has been seen, where
 * that is another than before and was not told in the last seconds. failing: what should be
 * written cannot be.
 */
void service_turn(struct service *service, const struct totals *totals, bool failing);

/* Milliseconds after which to look again whether a sign of life is due; -1: none are wanted. */
int service_period_ms(const struct service *service);

/* Milliseconds until service_turn() has something to tell; -1: not before something happens. */
int service_due_ms(const struct service *service);

void service_close(struct service *service);

#endif
