// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nsmon list: one picture of all tasks, and here its namespaces. */
#include "list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uthash.h>

#include "json.h"
#include "names.h"
#include "persistent.h"
#include "picture.h"

/* One namespace. */
struct entry {
	uint64_t key; /* type and inode number: what lives at one moment differs in them */
	enum nsmon_ns_type type; /* none of those for children */
	uint32_t inum;
	uint64_t id;
	size_t processes;
	const struct nsmon_proc *first; /* the process with the lowest number in it; NULL: none */
	uint32_t last; /* the process that was counted last */
	uint32_t child_maker; /* a process whose next child will be in it */
	char *path; /* where it is mounted */
	UT_hash_handle hh;
};

struct list {
	struct picture *picture;
	struct entry *entries;
};

static enum nsmon_ns_type own_type(enum nsmon_ns_type type)
{
	if (type == NSMON_NS_PID_FOR_CHILDREN)
		return NSMON_NS_PID;
	return type == NSMON_NS_TIME_FOR_CHILDREN ? NSMON_NS_TIME : type;
}

/* Found or made. Without memory there is nothing left to do. */
static struct entry *find_entry(struct list *list, enum nsmon_ns_type type, uint32_t inum,
				uint64_t id)
{
	const uint64_t key = (uint64_t)type << 32 | inum;
	struct entry *entry;

	HASH_FIND(hh, list->entries, &key, sizeof(key), entry);
	if (!entry) {
		entry = picture_allocate(sizeof(*entry));
		entry->key = key;
		entry->type = type;
		entry->inum = inum;
		HASH_ADD(hh, list->entries, key, sizeof(entry->key), entry);
	}
	entry->id = entry->id ? entry->id : id;
	return entry;
}

static void count_row(struct list *list, const struct nsmon_proc *row)
{
	for (int i = 0; i < NSMON_NS_TYPES; i++) {
		enum nsmon_ns_type type = own_type((enum nsmon_ns_type)i);
		struct entry *entry;

		if (!row->ns.inum[i])
			continue;
		entry = find_entry(list, type, row->ns.inum[i], row->ns.id[i]);
		if (type != (enum nsmon_ns_type)i) {
			if (!entry->child_maker)
				entry->child_maker = row->task.pid;
			continue;
		}
		if (entry->last == row->task.pid)
			continue; /* another thread of the same process */
		entry->last = row->task.pid;
		entry->processes++;
		if (!entry->first)
			entry->first = row;
	}
}

static void add_persistent(void *context, const struct persistent *found)
{
	struct entry *entry = find_entry(context, found->type, found->inum, found->id);

	if (found->path && !entry->path)
		entry->path = strdup(found->path);
}

/* Each mount namespace has mounts of its own; a process that is in it shows them. */
static void add_mounted(struct list *list)
{
	struct entry *entry, *next;

	persistent_mounted(0, add_persistent, list);
	if (list->picture->procfs.fd < 0)
		return;
	HASH_ITER(hh, list->entries, entry, next)
	if (entry->type == NSMON_NS_MNT && entry->first)
		persistent_mounted(entry->first->task.pid, add_persistent, list);
}

static int compare_entries(const struct entry *x, const struct entry *y)
{
	if (x->inum != y->inum)
		return x->inum < y->inum ? -1 : 1;
	return (int)x->type - (int)y->type;
}

/* ---- text ---- */

/* What keeps a namespace without a process. */
static void keeper(struct line *line, const struct entry *entry)
{
	if (entry->path) {
		line_text(line, "mounted on ");
		line_escaped(line, entry->path, strlen(entry->path));
	} else if (entry->child_maker) {
		line_text(line, "for children of process ");
		line_u64(line, entry->child_maker);
	} else {
		line_text(line, "held by a descriptor, a mount or another namespace");
	}
}

static void print_entries(struct list *list)
{
	bool ids = list->picture->kernel->ids != KERNEL_IDS_NONE;

	printf("%10s %-6s %s%6s %7s %s\n", "NS", "TYPE", ids ? "        ID " : "", "NPROCS", "PID",
	       "COMMAND");
	for (const struct entry *entry = list->entries; entry; entry = entry->hh.next) {
		char bytes[LINE_MAX_BYTES], id[24] = "-", pid[24] = "-";
		struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

		if (!picture_shows(list->picture, entry->type))
			continue;
		if (entry->id)
			snprintf(id, sizeof(id), "%llu", (unsigned long long)entry->id);
		if (entry->first)
			snprintf(pid, sizeof(pid), "%u", entry->first->task.pid);
		printf("%10u %-6s ", entry->inum, ns_type_names[entry->type]);
		if (ids)
			printf("%10s ", id);
		printf("%6zu %7s ", entry->processes, pid);
		if (entry->first)
			picture_command(list->picture, &line, entry->first);
		else
			keeper(&line, entry);
		picture_print(&line, bytes);
	}
}

/* ---- JSON ---- */

static void json_entries(struct list *list)
{
	for (const struct entry *entry = list->entries; entry; entry = entry->hh.next) {
		char bytes[LINE_MAX_BYTES];
		struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

		if (!picture_shows(list->picture, entry->type))
			continue;
		line_text(&line, "{\"type\":\"");
		line_string(&line, ns_type_names[entry->type]);
		line_text(&line, "\"");
		member_u64(&line, "inum", entry->inum);
		if (entry->id)
			member_u64(&line, "ns_id", entry->id);
		member_u64(&line, "processes", entry->processes);
		if (entry->path) {
			line_text(&line, ",\"mounted_on\":");
			line_json(&line, entry->path, strlen(entry->path));
		}
		if (!entry->first && entry->child_maker)
			member_u64(&line, "for_children_of", entry->child_maker);
		if (entry->first) {
			member_u64(&line, "pid", entry->first->task.pid);
			json_cgroup(&line, cgroups_find(list->picture->cgroups,
							entry->first->task.cgroup_id));
			picture_json_program(list->picture, &line, entry->first);
		}
		picture_json_print(&line, bytes);
	}
}

/* ---- */

static void free_entries(struct list *list)
{
	struct entry *entry, *next;

	HASH_ITER(hh, list->entries, entry, next)
	{
		HASH_DEL(list->entries, entry);
		free(entry->path);
		free(entry);
	}
}

void list_namespaces(struct picture *picture)
{
	struct list list = { .picture = picture };

	for (size_t i = 0; i < picture->row_count; i++)
		count_row(&list, &picture->rows[i]);
	add_mounted(&list);
	persistent_listed(add_persistent, &list); /* before 6.19 there is none */
	HASH_SORT(list.entries, compare_entries);
	if (picture->options->output == OUTPUT_TEXT)
		print_entries(&list);
	else
		json_entries(&list);
	free_entries(&list);
}

int list_run(const struct options *options, const struct kernel *kernel)
{
	struct picture picture;

	if (picture_take(&picture, options, kernel))
		return 1;
	if (options->tree)
		list_tree(&picture);
	else if (options->containers)
		list_containers(&picture);
	else
		list_namespaces(&picture);
	picture_free(&picture);
	return 0;
}
