/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nsmon check: what this kernel offers, and what nsmon will use. */
#ifndef CHECK_H
#define CHECK_H

#include "kernel.h"
#include "options.h"

/*
 * Tries every backend and prints what was found on standard output, as a table
 * or with -o json. Returns the exit status: 0 when events can be had, else 1.
 */
int check_run(const struct options *options, const struct kernel *kernel);

#endif
