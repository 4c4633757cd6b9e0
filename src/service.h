/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a service manager is told (sd_notify(3)): that nsmon is ready, lives, and what it has seen. */
#ifndef SERVICE_H
#define SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"

struct service {
	const char *socket; /* NULL: nobody asks */
	uint64_t beat_ns; /* between two signs of life; 0: none are wanted */
	uint64_t next_beat_ns; /* of CLOCK_MONOTONIC, as the others */
	uint64_t next_status_ns;
	uint64_t told; /* records, when the status was last told */
	bool told_failing;
};

/*
 * Takes what the environment says out of it: it is not for a COMMAND, which inherits the
 * rest. Built without libsystemd nsmon tells nothing. service is not to be freed.
 */
void service_open(struct service *service);

/* Did a service manager start nsmon, and does it listen? */
bool service_is_managed(const struct service *service);

/* Everything is attached, and the picture, where one is wanted, is told. */
void service_ready(struct service *service);

/* Around what SIGHUP asks for. */
void service_reloading(const struct service *service);
void service_reloaded(const struct service *service);

/* The trace ends. */
void service_stopping(const struct service *service);

/*
 * For each turn of the loop: a sign of life, where one is due, and what has been seen, where
 * that is another than before and was not told in the last seconds. failing: what should be
 * written cannot be.
 */
void service_turn(struct service *service, const struct totals *totals, bool failing);

/* Milliseconds to the next sign of life; -1: none is wanted. A status waits for the next turn. */
int service_due_ms(const struct service *service);

#endif
