/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The path of a cgroup -> the container that it belongs to. Pure: no allocation, no file. */
#ifndef CONTAINER_H
#define CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

/* In bytes; what is longer is no id. */
#define CONTAINER_ID_MAX 128

/* A UUID; static pods have 32 digits without dashes. */
#define CONTAINER_POD_UID_MAX 36

/* Pointers are into the path. */
struct container_match {
	const char *runtime; /* static; NULL: the path does not tell it */
	const char *id; /* as it stands in the path: see container_id() */
	size_t id_len; /* 0: no container */
	bool id_escaped; /* systemd wrote it: \x2d stands for a dash */
	bool nested; /* inside another container, whose root may have chosen any of it */
	const char *pod_uid; /* Kubernetes, as it stands: see container_pod_uid() */
	size_t pod_uid_len; /* 0: not directly in a pod */
	const char *unit; /* innermost .service or .scope, where there is no container */
	size_t unit_len;
};

/*
 * Finds the innermost container of a path of len bytes, from the root of its
 * hierarchy: what the kernel shows in /proc/PID/cgroup, and BPF finds by walking
 * up. All of *match is set. Returns whether there is a container. A path tells
 * what it is named, not who named it: whoever may make cgroups may choose any.
 */
bool container_match(const char *path, size_t len, struct container_match *match);

/* The innermost .service or .scope of a path, also where there is a container; 0: there is none. */
size_t container_unit(const char *path, size_t len, const char **unit);

/* Writes the id as its runtime itself tells it, ended by a NUL; returns its length. */
size_t container_id(const struct container_match *match, char id[CONTAINER_ID_MAX + 1]);

/* Writes the uid of the pod with dashes, as Kubernetes does, ended by a NUL; returns its length. */
size_t container_pod_uid(const struct container_match *match, char uid[CONTAINER_POD_UID_MAX + 1]);

/* Is it 64 hexadecimal digits, as most runtimes choose their ids? */
bool container_is_hex_id(const char *id, size_t len);

#endif
