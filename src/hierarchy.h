/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which hierarchy of cgroups is looked at, and what is in it. Knows no container
 * and no BPF.
 */
#ifndef HIERARCHY_H
#define HIERARCHY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "nsmon.h"

struct hierarchy {
	enum nsmon_controller controller;
	int id; /* struct cgroup_root's hierarchy_id: 0 for cgroup v2 */
	char path[4096]; /* where it is mounted; empty: nowhere that nsmon can see */
};

/* "v2", or the name of the controller of cgroup v1. */
const char *hierarchy_name(const struct hierarchy *hierarchy);

/*
 * As container managers choose: cgroup v2 where it is what /sys/fs/cgroup is, else
 * ("legacy", "hybrid") the first controller of cgroup v1 that is mounted, in the
 * order of enum nsmon_controller. mounts and cgroup are as /proc/self/mounts and
 * /proc/self/cgroup.
 */
void hierarchy_choose(struct hierarchy *hierarchy, FILE *mounts, FILE *cgroup);

/* The same of this system. */
void hierarchy_find(struct hierarchy *hierarchy);

/*
 * The path of a cgroup in its hierarchy, of one as users write it, who may have put the
 * mount point in front. NULL stays NULL. The path itself is not copied.
 */
const char *hierarchy_strip(const struct hierarchy *hierarchy, const char *path);

/* A cgroup; parent_id is 0 and name empty for the topmost that is mounted. */
typedef void (*hierarchy_fn)(void *context, uint64_t id, uint64_t parent_id, const char *name);

/*
 * Calls function for each cgroup that exists, parents before their children. Returns
 * 0, or the negative errno with which the topmost directory cannot be read.
 */
int hierarchy_walk(const struct hierarchy *hierarchy, hierarchy_fn function, void *context);

#endif
