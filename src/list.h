/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nsmon list: the namespaces that exist at this moment, and who is in them. */
#ifndef LIST_H
#define LIST_H

#include "kernel.h"
#include "options.h"

/* Prints it to standard output. Returns the exit status. */
int list_run(const struct options *options, const struct kernel *kernel);

#endif
