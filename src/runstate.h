/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One file that a container runtime keeps -> what it says of one container. Pure: opens nothing. */
#ifndef RUNSTATE_H
#define RUNSTATE_H

#include <stdbool.h>
#include <stddef.h>

/* In bytes; a longer string counts as absent, since a cut name is another one's. */
#define RUNSTATE_STRING_MAX 512

/*
 * What is known of a container. The strings are its own, and may have any bytes
 * but NUL: whoever starts a container chooses most of them. NULL: not known.
 */
struct runtime_details {
	char *id; /* in full */
	char *name;
	char *image;
	char *pod_uid; /* Kubernetes, as the three after it */
	char *pod;
	char *namespace;
	char *container_name;
	char *runtime; /* as of container_match() */
	size_t cgroup_len; /* of the cgroup's path, what is the container's; 0: not said */
	bool backed; /* the state of a runtime says that there is this container */
	bool virtual_machine; /* ... that it is none, for all its name */
};

void runtime_details_free(struct runtime_details *details);

enum runstate_file {
	RUNSTATE_DOCKER, /* config.v2.json */
	RUNSTATE_OCI, /* config.json of a bundle */
	RUNSTATE_STORAGE, /* containers.json of containers/storage */
	RUNSTATE_CRUN, /* status */
	RUNSTATE_RUNC, /* state.json */
	RUNSTATE_MACHINE, /* /run/systemd/machines/NAME */
};

#define RUNSTATE_FILES 6

/*
 * Adds what len bytes of text say of the container `id`, whose processes are in
 * `cgroup` (its path, or that of a cgroup in it; NULL: not known). What is known
 * already stays. Returns 0; -EINVAL where it is no such file; -ENOENT where it
 * tells of other containers; -EXDEV where this container's cgroup is another one.
 */
int runstate_parse(enum runstate_file file, const char *text, size_t len, const char *id,
		   const char *cgroup, struct runtime_details *details);

/* Sets a field that is not known yet, where value is a string that counts. */
void runstate_set(char **field, const char *value, size_t len);

#endif
