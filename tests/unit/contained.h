/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Cgroups and containers as src/cgroup.c hands them to a formatter. For tests: knows none of its code. */
#ifndef TESTS_CONTAINED_H
#define TESTS_CONTAINED_H

#include <stdlib.h>
#include <string.h>

#include "cgroup.h"

/* What a formatter has made of it lasts until the next contained_begin(). */
struct contained {
	struct cgroup cgroup;
	struct cgroup_text text;
	struct container container;
};

static inline void contained_forget_text(struct contained *c)
{
	free(c->text.bytes);
	memset(&c->text, 0, sizeof(c->text));
}

/* A cgroup of this path, in no container and no unit. */
static inline void contained_begin(struct contained *c, const char *path)
{
	contained_forget_text(c);
	memset(c, 0, sizeof(*c));
	c->cgroup.id = 1;
	c->cgroup.path = path;
	c->cgroup.path_len = path ? strlen(path) : 0;
	c->cgroup.text = &c->text;
}

/* ... that is in this container, which a runtime's state tells. */
static inline struct container *contained_in(struct contained *c, const char *path, const char *id,
					     const char *runtime)
{
	size_t len = strlen(id);

	contained_begin(c, path);
	memcpy(c->container.id, id, len < CONTAINER_ID_MAX ? len : CONTAINER_ID_MAX);
	c->container.number = 1;
	c->container.runtime = runtime;
	c->container.details.backed = true;
	c->cgroup.container = &c->container;
	return &c->container;
}

/* All that can be known of one, each as long as it can be: bytes of text, again and again. */
static inline void contained_fill(struct contained *c, const char *text)
{
	static char id[CONTAINER_ID_MAX + 1], string[RUNSTATE_STRING_MAX + 1], path[4096];
	struct runtime_details *details;
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof(path) - 1; i++)
		path[i] = text[i % len];
	memcpy(id, path, sizeof(id) - 1);
	memcpy(string, path, sizeof(string) - 1);
	details = &contained_in(c, path, id, string)->details;
	details->name = details->image = details->pod = details->namespace = string;
	details->pod_uid = details->container_name = string;
	details->backed = false; /* which makes the line longer */
}

#endif
