/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Members of JSON objects that the records of a trace and the lines of nsmon list share. */
#ifndef JSON_H
#define JSON_H

#include <string.h>

#include "event.h"
#include "line.h"
#include "nsmon.h"
#include "options.h"

/* ,"name":value: every member but the first. The name is a literal. */
#define member_u64(line, name, value)                                                              \
	do {                                                                                       \
		line_text(line, ",\"" name "\":");                                                 \
		line_u64(line, value);                                                             \
	} while (0)

#define member_string(line, name, value)                                                           \
	do {                                                                                       \
		const char *string_ = (value);                                                     \
		line_text(line, ",\"" name "\":");                                                 \
		line_json(line, string_, strlen(string_));                                         \
	} while (0)

#define member_true(line, name) line_text(line, ",\"" name "\":true")

/* The same, where there is a value that is not empty. */
void json_optional(struct line *line, const char *name, const char *value);

/* ,"args":[...] of arguments that each end with a NUL; ,"args_truncated":true where some were cut. */
void json_args(struct line *line, const char *args, size_t args_len, bool truncated);

/* ,"cgroup":"/path" and ,"container":{...} or ,"unit":"..."; nothing for NULL. */
void json_cgroup(struct line *line, const struct cgroup *cgroup);

/*
 * What write makes of the cgroup, made once for all records of it; without memory it is
 * made again. One formatter has one such text: that of the cgroup.
 */
typedef void (*json_cgroup_fn)(struct line *line, const struct cgroup *cgroup);
void json_once(struct line *line, const struct cgroup *cgroup, json_cgroup_fn write);

/* {"id":...}: what is known of it; and the same members without the braces. */
void json_container(struct line *line, const struct container *container);
void json_container_members(struct line *line, const struct container *container);

/* ,"name":["mnt",...] of the types (bit per enum nsmon_ns_type). */
void json_types(struct line *line, const char *name, uint32_t types);

/* ,"filters":{...}: what restricts or widens the stream. */
void json_filters(struct line *line, const struct options *options);

/* ,"ns":{...}: of these types (bit per enum nsmon_ns_type) those that the kernel has and the task is in. */
void json_namespaces(struct line *line, const struct nsmon_ns_set *ns, uint32_t types);

/* ,"old_cgroup_id":... of a move: where the task was, as far as it is known. */
void json_move(struct line *line, const struct event *event);

/* ,"target":... of a namespace that was entered: whose it is. */
void json_target(struct line *line, const struct target *target);

#endif
