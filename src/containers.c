// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nsmon list --containers: who they are, how many processes they have, since when. */
#include "list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "json.h"
#include "names.h"
#include "picture.h"

/* Of an id, as docker ps(1) shows it. */
#define SHORT_ID 12

struct entry {
	uint64_t number; /* of the container */
	const struct container *container;
	const char *cgroup; /* path of its topmost cgroup */
	size_t processes;
	const struct nsmon_proc *first; /* the process that started first; NULL: none */
	UT_hash_handle hh;
};

struct containers {
	struct picture *picture;
	struct entry *entries;
};

/* Every cgroup of every container; those of its parts come after it. */
static void add_cgroup(void *context, const struct cgroup *cgroup)
{
	struct containers *containers = context;
	const struct container *container = cgroup->container;
	struct entry *entry;

	if (!container)
		return;
	HASH_FIND(hh, containers->entries, &container->number, sizeof(container->number), entry);
	if (entry)
		return;
	entry = picture_allocate(sizeof(*entry));
	entry->number = container->number;
	entry->container = container;
	entry->cgroup = container->path;
	HASH_ADD(hh, containers->entries, number, sizeof(entry->number), entry);
}

static void count_rows(struct containers *containers)
{
	struct picture *picture = containers->picture;

	for (size_t i = 0; i < picture->row_count; i++) {
		const struct nsmon_proc *row = &picture->rows[i];
		const struct cgroup *cgroup = cgroups_find(picture->cgroups, row->task.cgroup_id);
		struct entry *entry;

		if (!picture_is_main(row) || !cgroup || !cgroup->container)
			continue;
		add_cgroup(containers, cgroup); /* one that was removed since */
		HASH_FIND(hh, containers->entries, &cgroup->container->number, sizeof(uint64_t),
			  entry);
		entry->processes++;
		if (!entry->first || row->task.start_ns < entry->first->task.start_ns)
			entry->first = row;
	}
}

static int compare_entries(const struct entry *x, const struct entry *y)
{
	uint64_t a = x->first ? x->first->task.start_ns : UINT64_MAX;
	uint64_t b = y->first ? y->first->task.start_ns : UINT64_MAX;

	if (a != b)
		return a < b ? -1 : 1;
	return strcmp(x->container->id, y->container->id);
}

/* The types in which it is not in process 1's namespaces, which are the host's. */
static uint32_t own_types(const struct picture *picture, const struct entry *entry)
{
	uint32_t types = 0;

	for (int type = 0; entry->first && type < NSMON_NS_TYPES; type++)
		if (picture->host.inum[type] && entry->first->ns.inum[type] &&
		    type != NSMON_NS_PID_FOR_CHILDREN && type != NSMON_NS_TIME_FOR_CHILDREN &&
		    entry->first->ns.inum[type] != picture->host.inum[type])
			types |= 1U << type;
	return types;
}

static void text_types(struct line *line, uint32_t types)
{
	bool first = true;

	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!(types & (1U << type)))
			continue;
		if (!first)
			line_text(line, ",");
		first = false;
		line_string(line, ns_type_names[type]);
	}
	if (first)
		line_text(line, "-");
}

static void pad(struct line *line, const char *begin, size_t width)
{
	do
		line_text(line, " ");
	while ((size_t)(line->at - begin) <= width);
}

static void print_text(const struct picture *picture, const struct entry *entry)
{
	const struct container *container = entry->container;
	const struct runtime_details *details = &container->details;
	char bytes[LINE_MAX_BYTES];
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

	line_escaped(&line, container->id, strnlen(container->id, SHORT_ID));
	pad(&line, bytes, 12);
	line_string(&line, container->runtime ? container->runtime : "-");
	pad(&line, bytes, 27);
	line_u64(&line, entry->processes);
	pad(&line, bytes, 34);
	if (entry->first) {
		line_time(&line, picture_realtime_ns(picture, entry->first->task.start_ns));
		line.at -= strlen(".123456789Z");
		line_text(&line, "Z");
	} else {
		line_text(&line, "-");
	}
	pad(&line, bytes, 55);
	text_types(&line, own_types(picture, entry));
	pad(&line, bytes, 88);
	if (details->name)
		line_escaped(&line, details->name, strlen(details->name));
	else
		line_text(&line, "-");
	if (!details->backed)
		line_text(&line, " (unverified)");
	picture_print(&line, bytes);
}

static void print_json(const struct picture *picture, const struct entry *entry)
{
	char bytes[LINE_MAX_BYTES];
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

	line_text(&line, "{");
	json_container_members(&line, entry->container);
	line_text(&line, ",\"cgroup\":");
	line_json(&line, entry->cgroup, strlen(entry->cgroup));
	member_u64(&line, "processes", entry->processes);
	if (entry->first) {
		line_text(&line, ",\"since\":\"");
		line_time(&line, picture_realtime_ns(picture, entry->first->task.start_ns));
		line_text(&line, "\"");
		member_u64(&line, "pid", entry->first->task.pid);
		json_namespaces(&line, &entry->first->ns, picture->options->types);
		json_types(&line, "own", own_types(picture, entry));
	}
	picture_json_print(&line, bytes);
}

void list_containers(struct picture *picture)
{
	struct containers containers = { .picture = picture };
	struct entry *entry, *next;

	cgroups_each(picture->cgroups, add_cgroup, &containers);
	count_rows(&containers);
	HASH_SORT(containers.entries, compare_entries);
	if (picture->options->output == OUTPUT_TEXT)
		printf("%-12s %-14s %-6s %-20s %-32s %s\n", "CONTAINER", "RUNTIME", "NPROCS",
		       "SINCE", "NAMESPACES", "NAME");
	HASH_ITER(hh, containers.entries, entry, next)
	{
		if (picture->options->output == OUTPUT_TEXT)
			print_text(picture, entry);
		else
			print_json(picture, entry);
		HASH_DEL(containers.entries, entry);
		free(entry);
	}
}
