/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of container runtimes say of a container: its name, its image,
 * whether there is such a container at all. Asks no daemon. Reads files, so not
 * for the way of an event; each call is bounded in time and in memory.
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "container.h"
#include "runstate.h"

/*
 * Both functions take the path of the cgroup that a process is in, ended by a
 * NUL, from the root of its hierarchy; and a directory that stands before every
 * path of a file ("" but in tests). *details is set, to nothing known where they
 * fail; the caller frees it with runtime_details_free(). They return 0, or
 * -ENOENT where no runtime's state has this container.
 *
 * Whoever may make cgroups may call them what he likes. So state that names another
 * cgroup does not count.
 */

/*
 * Of what container_match() found in the same path. Under a user's slice only that user's
 * own state counts, elsewhere only root's, and for a container in another one nobody's.
 */
int runtime_read(const char *root, const char *cgroup, const struct container_match *match,
		 struct runtime_details *details);

/*
 * Of a path in which it found nothing: containers of crun, runc and containerd that are
 * in a cgroup of any name, and those that a 64-digit directory in it names. The state must
 * name this cgroup or one above it; the nearest counts.
 */
int runtime_find_by_cgroup(const char *root, const char *cgroup, struct runtime_details *details);

#endif
