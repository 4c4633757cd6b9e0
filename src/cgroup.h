/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tree of cgroups as the kernel tells it: the number of a cgroup -> its path,
 * its container, whether its tasks are wanted. Knows no format and no BPF.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

#include "container.h"
#include "event.h"
#include "hierarchy.h"
#include "runtime.h"

struct container {
	uint64_t number; /* from 1, in the order in which they were met */
	char id[CONTAINER_ID_MAX + 1];
	const char *runtime; /* NULL: not known */
	char pod_uid[CONTAINER_POD_UID_MAX + 1]; /* empty: in no pod */
	struct runtime_details details; /* what its runtime's own files say */
	/* The table's own. */
	char *path; /* of its topmost cgroup */
	bool by_path; /* the path alone tells that there is a container */
	unsigned int tries;
	uint64_t due_ns; /* of the next look at its runtime's files; 0: none */
	size_t users;
	struct container *next_unused;
	bool refused; /* a note has said that it is not the one that is traced */
	UT_hash_handle hh;
};

/* Bytes that a formatter has made of a cgroup. */
struct cgroup_text {
	char *bytes; /* NULL: none yet */
	size_t len;
	bool raw; /* as of struct line */
};

struct cgroup {
	uint64_t id;
	const char
		*path; /* NULL: not known; ended by a NUL, as all bytes of it are a user's choice */
	size_t path_len;
	const struct container *container; /* NULL: none */
	const char *unit; /* of systemd, in the path; NULL: none, or in a container */
	size_t unit_len;
	bool wanted; /* by --cgroup and --container */
	struct cgroup_text *text; /* for a formatter; renewed when anything above changes */
};

struct cgroups;

/* What is to pass the filter. */
struct cgroup_filter {
	const char *path; /* this cgroup and those below; NULL: all */
	const char *container; /* the beginning of an id, or a name; NULL: all */
};

/* Is told for each cgroup whether its tasks are wanted, where there is a filter. */
typedef void (*cgroup_decide_fn)(void *context, uint64_t id, bool wanted);

/*
 * root stands before the paths of runtimes' files ("" but in tests). Borrows
 * everything. The caller frees it with cgroups_free(). NULL: no memory.
 */
struct cgroups *cgroups_new(const struct cgroup_filter *filter, const char *root,
			    cgroup_decide_fn decide, void *context);
void cgroups_free(struct cgroups *cgroups);

/* Reads what exists: at the start, and where a record was lost. Returns as hierarchy_walk(). */
int cgroups_look(struct cgroups *cgroups, const struct hierarchy *hierarchy, uint64_t now_ns);

/*
 * Another name that a look has found becomes the cgroup's, unless the record of the renaming
 * came meanwhile: to be called when all is read that came before the look, whose records are
 * of the time before the renaming.
 */
void cgroups_settle(struct cgroups *cgroups, uint64_t now_ns);

/* A cgroup was made, renamed or removed. */
void cgroups_event(struct cgroups *cgroups, const struct nsmon_cgroup *tree, uint64_t now_ns);

/*
 * The cgroup of this number; NULL where it is not known. Holds until the next call
 * of another function; a cgroup that was removed is remembered for a while.
 */
const struct cgroup *cgroups_find(struct cgroups *cgroups, uint64_t id);

/*
 * A task was moved into this cgroup. Where nothing told that it is a container's, a
 * runtime's files may by now.
 */
void cgroups_entered(struct cgroups *cgroups, uint64_t id, uint64_t now_ns);

/* Was one asked for that is not known, or is a path not known? Asking answers it. */
bool cgroups_take_doubt(struct cgroups *cgroups);

/* The container of this number; NULL: it is forgotten. */
const struct container *cgroups_container(const struct cgroups *cgroups, uint64_t number);

/* How many containers have a cgroup now. */
size_t cgroups_count_containers(const struct cgroups *cgroups);

/* How many containers the filter's prefix means; the first two of them in ids[]. */
size_t cgroups_meant(const struct cgroups *cgroups, const struct container *meant[2]);

/*
 * Looks at the files of runtimes where it is due: not on the way of an event.
 * Returns when it is due again, or 0: never.
 */
uint64_t cgroups_resolve(struct cgroups *cgroups, uint64_t now_ns);

/* Calls function for each cgroup that was not removed. */
void cgroups_each(struct cgroups *cgroups, void (*function)(void *context, const struct cgroup *),
		  void *context);

#endif
