/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The names of kinds, namespace types, reasons and backends, as users write and read them. */
#ifndef NAMES_H
#define NAMES_H

#include <stddef.h>

#include "nsmon.h"

enum backend {
	BACKEND_AUTO = 0,
	BACKEND_FENTRY = 1,
	BACKEND_KPROBE = 2,
	BACKEND_TRACEPOINT = 3,
};

#define BACKENDS 4

/* Indexed by the enum; NULL where a number is not used. */
extern const char *const kind_names[NSMON_KINDS];
extern const char *const event_names[NSMON_KINDS]; /* of those that --events takes */
extern const char *const ns_type_names[NSMON_NS_TYPES];
extern const char *const reason_names[NSMON_REASONS];
extern const char *const backend_names[BACKENDS];

/* Index of a name of len bytes in names[count]; -1 when it is not there. */
int name_index(const char *const *names, size_t count, const char *name, size_t len);

#endif
