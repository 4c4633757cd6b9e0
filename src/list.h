/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nsmon list: the namespaces, processes or containers that exist at this moment. */
#ifndef LIST_H
#define LIST_H

#include "kernel.h"
#include "options.h"

struct picture;

/* Prints what the options ask for to standard output. Returns the exit status. */
int list_run(const struct options *options, const struct kernel *kernel);

/* Print one list to standard output, in the format of the options. */
void list_namespaces(struct picture *picture);
void list_tree(struct picture *picture);
void list_containers(struct picture *picture);

#endif
