/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Members of JSON objects that the records of a trace and the lines of nsmon list share. */
#ifndef JSON_H
#define JSON_H

#include "line.h"
#include "nsmon.h"

struct cgroup;
struct container;

/* ,"name":value: every member but the first. The name is a literal. */
#define member_u64(line, name, value)                                                              \
	do {                                                                                       \
		line_text(line, ",\"" name "\":");                                                 \
		line_u64(line, value);                                                             \
	} while (0)

/* ,"args":[...] of arguments that each end with a NUL; ,"args_truncated":true where some were cut. */
void json_args(struct line *line, const char *args, size_t args_len, bool truncated);

/* ,"cgroup":"/path" and ,"container":{...} or ,"unit":"..."; nothing for NULL. */
void json_cgroup(struct line *line, const struct cgroup *cgroup);

/* {"id":...}: what is known of it; and the same members without the braces. */
void json_container(struct line *line, const struct container *container);
void json_container_members(struct line *line, const struct container *container);

/* ,"name":["mnt",...] of the types (bit per enum nsmon_ns_type). */
void json_types(struct line *line, const char *name, uint32_t types);

/* ,"ns":{...}: of these types (bit per enum nsmon_ns_type) those that the kernel has and the task is in. */
void json_namespaces(struct line *line, const struct nsmon_ns_set *ns, uint32_t types);

#endif
