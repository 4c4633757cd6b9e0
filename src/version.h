/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The one place that says which version this is. */
#ifndef VERSION_H
#define VERSION_H

#define NSMON_VERSION "0.1.0"

/* Grows when a member of the JSON records changes its meaning; adding one does not. */
#define NSMON_SCHEMA 1

#endif
