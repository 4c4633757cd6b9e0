/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What can be known to be wrong before anything is opened or loaded. */
#ifndef PREFLIGHT_H
#define PREFLIGHT_H

#include "kernel.h"
#include "options.h"

/* Exit statuses: it cannot run here; an option's value is wrong. */
#define PREFLIGHT_CANNOT_RUN 1
#define PREFLIGHT_WRONG_USAGE 2

/*
 * Are kernel and privilege enough, and is there what the options' values name?
 * Returns 0, or the exit status when one line on standard error has said why not.
 */
int preflight(const struct options *options, const struct kernel *kernel);

/* Is pid a process (and not a thread) that has not ended? A zombie has. */
bool preflight_process_lives(pid_t pid);

#endif
