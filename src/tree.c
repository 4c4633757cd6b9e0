// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nsmon list --tree: the processes by parents and children, and who is elsewhere. */
#include "list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "json.h"
#include "names.h"
#include "picture.h"

/* Of a container's id, as docker ps(1) shows it. */
#define SHORT_ID 12

/* Deeper processes are not moved further to the right. */
#define DEPTH_MAX 100

/* A set of namespaces that processes share, by what is shown of it. */
struct shared {
	uint32_t inum[NSMON_NS_TYPES];
	size_t number; /* from 1, in the order of the tree */
	UT_hash_handle hh;
};

struct tree {
	struct picture *picture;
	struct shared *sets;
};

/* Where a process stands in the tree, and the number of its set of namespaces. */
struct node {
	size_t parent; /* index; itself: a root */
	size_t first_child; /* index + 1; 0: none */
	size_t next; /* its parent's next child, index + 1 */
	size_t set;
};

/* The number of its set; a set that was not seen before gets the next one. */
static size_t number_set(struct tree *tree, const struct nsmon_proc *row)
{
	uint32_t inum[NSMON_NS_TYPES] = { 0 };
	struct shared *set;

	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (picture_shows(tree->picture, (enum nsmon_ns_type)type))
			inum[type] = row->ns.inum[type];
	HASH_FIND(hh, tree->sets, inum, sizeof(inum), set);
	if (!set) {
		set = picture_allocate(sizeof(*set));
		memcpy(set->inum, inum, sizeof(inum));
		HASH_ADD(hh, tree->sets, inum, sizeof(set->inum), set);
		set->number = HASH_COUNT(tree->sets);
	}
	return set->number;
}

/* Parents before children, children in the order of their numbers. */
static struct node *make_tree(const struct picture *picture, size_t *first_root)
{
	struct node *nodes = picture_allocate((picture->row_count + 1) * sizeof(*nodes));

	*first_root = 0;
	for (size_t i = picture->row_count; i-- > 0;) {
		size_t parent = picture_find(picture, picture->rows[i].task.ppid);
		size_t *head = first_root;

		if (!picture_is_main(&picture->rows[i]))
			parent = picture_find(picture, picture->rows[i].task.pid);
		/* A process that is its own ancestor would never be shown. */
		if (parent != SIZE_MAX && parent != i && picture_is_main(&picture->rows[parent]))
			head = &nodes[parent].first_child;
		nodes[i].parent = head == first_root ? i : parent;
		nodes[i].next = *head;
		*head = i + 1;
	}
	return nodes;
}

/*
 * The mount and pid namespaces that a process has not got from process 1, where no
 * container explains them: a bit for each.
 */
static uint32_t sandbox(struct picture *picture, const struct nsmon_proc *row)
{
	const struct cgroup *cgroup = cgroups_find(picture->cgroups, row->task.cgroup_id);
	uint32_t types = 0;

	if ((cgroup && cgroup->container) || row->flags & NSMON_PROC_KERNEL)
		return 0;
	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if ((type == NSMON_NS_MNT || type == NSMON_NS_PID) && picture->host.inum[type] &&
		    row->ns.inum[type] && row->ns.inum[type] != picture->host.inum[type])
			types |= 1U << type;
	return types;
}

static bool is_together(const struct nsmon_proc *a, const struct nsmon_proc *b)
{
	return a != b && a->ns.inum[NSMON_NS_MNT] == b->ns.inum[NSMON_NS_MNT] &&
	       a->ns.inum[NSMON_NS_PID] == b->ns.inum[NSMON_NS_PID];
}

/* Of the processes of a sandbox the first one says so. */
static void tree_sandbox(struct picture *picture, struct line *line, const struct nsmon_proc *row,
			 const struct nsmon_proc *parent)
{
	uint32_t types = is_together(row, parent) ? 0 : sandbox(picture, row);
	bool first = true;

	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!(types & (1U << type)))
			continue;
		if (first)
			line_text(line, " sandbox=");
		else
			line_text(line, ",");
		first = false;
		line_string(line, ns_type_names[type]);
	}
}

static void tree_container(struct picture *picture, struct line *line, const struct nsmon_proc *row,
			   const struct nsmon_proc *parent)
{
	const struct cgroup *cgroup = cgroups_find(picture->cgroups, row->task.cgroup_id);
	const struct container *container = cgroup ? cgroup->container : NULL;

	if (!container)
		return;
	cgroup = cgroups_find(picture->cgroups, parent->task.cgroup_id);
	if (parent != row && cgroup && cgroup->container == container)
		return;
	line_text(line, " container=");
	line_escaped(line, container->id, strnlen(container->id, SHORT_ID));
}

/* The types in which it is elsewhere than its parent; of a root all. */
static void tree_namespaces(const struct picture *picture, struct line *line,
			    const struct nsmon_proc *row, const struct nsmon_proc *parent)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!picture_shows(picture, (enum nsmon_ns_type)type) || !row->ns.inum[type] ||
		    (parent != row && parent->ns.inum[type] == row->ns.inum[type]))
			continue;
		line_text(line, " ");
		line_string(line, ns_type_names[type]);
		line_text(line, "=");
		line_u64(line, row->ns.inum[type]);
	}
}

static void tree_text(struct picture *picture, const struct node *node, size_t depth,
		      const struct nsmon_proc *row, const struct nsmon_proc *parent)
{
	char bytes[LINE_MAX_BYTES];
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

	printf("%7u %4zu ", row->task.tid, node->set);
	for (size_t i = 0; i < depth && i < DEPTH_MAX; i++)
		line_text(&line, "  ");
	if (picture_is_main(row)) {
		picture_command(picture, &line, row);
	} else {
		line_text(&line, "thread ");
		line_escaped_name(&line, row->task.comm, sizeof(row->task.comm));
	}
	tree_namespaces(picture, &line, row, parent);
	tree_container(picture, &line, row, parent);
	tree_sandbox(picture, &line, row, parent);
	picture_print(&line, bytes);
}

static void tree_json(struct picture *picture, const struct node *node,
		      const struct nsmon_proc *row)
{
	char bytes[LINE_MAX_BYTES];
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };
	uint32_t own = sandbox(picture, row);

	line_text(&line, "{\"pid\":");
	line_u64(&line, row->task.pid);
	member_u64(&line, "tid", row->task.tid);
	member_u64(&line, "ppid", row->task.ppid);
	member_u64(&line, "vpid", row->task.vpid);
	member_u64(&line, "start_ns", row->task.start_ns);
	member_u64(&line, "uid", row->task.uid);
	member_u64(&line, "gid", row->task.gid);
	member_u64(&line, "cgroup_id", row->task.cgroup_id);
	json_cgroup(&line, cgroups_find(picture->cgroups, row->task.cgroup_id));
	if (own)
		json_types(&line, "sandbox", own);
	member_u64(&line, "set", node->set);
	json_namespaces(&line, &row->ns, picture->options->types);
	picture_json_program(picture, &line, row);
	picture_json_print(&line, bytes);
}

void list_tree(struct picture *picture)
{
	struct tree tree = { .picture = picture };
	struct shared *set, *next;
	size_t at, depth = 0;
	struct node *nodes = make_tree(picture, &at);

	if (picture->options->output == OUTPUT_TEXT)
		printf("%7s %4s %s\n", "PID", "SET",
		       "COMMAND, and namespaces other than the parent's");
	while (at) {
		size_t i = at - 1;
		struct node *node = &nodes[i];

		node->set = number_set(&tree, &picture->rows[i]);
		if (picture->options->output == OUTPUT_TEXT)
			tree_text(picture, node, depth, &picture->rows[i],
				  &picture->rows[node->parent]);
		else
			tree_json(picture, node, &picture->rows[i]);
		if (node->first_child) {
			at = node->first_child;
			depth++;
			continue;
		}
		/* Up to the first ancestor that has another child to come. */
		while (!nodes[i].next && nodes[i].parent != i) {
			i = nodes[i].parent;
			depth--;
		}
		at = nodes[i].next;
	}
	free(nodes);
	HASH_ITER(hh, tree.sets, set, next)
	{
		HASH_DEL(tree.sets, set);
		free(set);
	}
}
