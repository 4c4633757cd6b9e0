// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nsmon list: one picture of all tasks, shown by namespace or as a tree. */
#include "list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uthash.h>

#include "event.h"
#include "json.h"
#include "line.h"
#include "log.h"
#include "names.h"
#include "persistent.h"
#include "probe.h"
#include "procfs.h"

/* Deeper processes are not moved further to the right. */
#define DEPTH_MAX 100

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

/* A set of namespaces that processes share, by what is shown of it. */
struct shared {
	uint32_t inum[NSMON_NS_TYPES];
	size_t number; /* from 1, in the order of the tree */
	UT_hash_handle hh;
};

struct list {
	const struct options *options;
	const struct kernel *kernel;
	struct nsmon_proc *rows;
	size_t row_count;
	struct entry *entries;
	struct shared *sets;
	struct procfs procfs;
	int64_t boot_offset_ns;
};

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory) {
		log_error("not enough memory for a picture of all tasks");
		exit(1);
	}
	return memory;
}

/* ---- the picture ---- */

static int read_rows(struct list *list, int fd)
{
	size_t room = 0, len = 0;
	ssize_t n;

	for (;;) {
		if (room - len < 65536) {
			char *bytes = realloc(list->rows, room = room * 2 + 262144);

			if (!bytes)
				return -ENOMEM;
			list->rows = (struct nsmon_proc *)(void *)bytes;
		}
		n = read(fd, (char *)list->rows + len, room - len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	list->row_count = len / sizeof(*list->rows);
	return n < 0 ? -errno : 0;
}

static int take_picture(struct list *list)
{
	struct probe_refusal refusal = { 0 };
	struct probe *probe;
	int fd, err;

	if (probe_open_iterating(&probe, list->kernel, &refusal)) {
		log_error("%s", refusal.reason);
		return -refusal.error;
	}
	list->boot_offset_ns = probe_boot_offset_ns(probe);
	fd = probe_open_iterator(probe);
	err = fd < 0 ? fd : read_rows(list, fd);
	if (fd >= 0)
		close(fd);
	probe_close(probe);
	if (err)
		log_error("cannot read the tasks: %s", strerror(-err));
	return err;
}

static int compare_rows(const void *a, const void *b)
{
	const struct nsmon_task *x = &((const struct nsmon_proc *)a)->task;
	const struct nsmon_task *y = &((const struct nsmon_proc *)b)->task;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	/* The main thread first: its number may be higher than another's. */
	if ((x->tid == x->pid) != (y->tid == y->pid))
		return x->tid == x->pid ? -1 : 1;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

/* By process, without those that have ended and without records that are none. */
static void tidy_rows(struct list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->row_count; i++) {
		struct event event;

		if (event_decode(&event, &list->rows[i], sizeof(list->rows[i])) == 0 &&
		    !(event.proc.flags & (NSMON_PROC_ENDING | NSMON_PROC_ENDED)))
			list->rows[kept++] = list->rows[i];
	}
	list->row_count = kept;
	if (kept)
		qsort(list->rows, list->row_count, sizeof(*list->rows), compare_rows);
}

static bool is_main(const struct nsmon_proc *row)
{
	return row->task.tid == row->task.pid;
}

/* ---- namespaces ---- */

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
		entry = allocate(sizeof(*entry));
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
	if (list->procfs.fd < 0)
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

/* Types that are to be shown; those for children are the same namespaces. */
static bool is_shown(const struct list *list, enum nsmon_ns_type type)
{
	return list->options->types & (1U << type);
}

/* ---- text ---- */

static void print_line(struct line *line, char *bytes)
{
	line_text(line, "\n");
	fwrite(bytes, 1, (size_t)(line->at - bytes), stdout);
}

/* Arguments where they can be had, else the name in brackets, as ps(1) does. */
static void command(struct list *list, struct line *line, const struct nsmon_proc *row)
{
	struct procfs *procfs = &list->procfs;
	const char *at = procfs->args;
	size_t len;
	const char *arg;

	procfs->args_len = 0;
	if (!(row->flags & (NSMON_PROC_KERNEL | NSMON_PROC_PARTIAL)))
		procfs_read(procfs, row->task.pid, row->task.tid, row->task.thread_start_ns);
	if (!procfs->args_len || !procfs->args[0]) {
		line_text(line, "[");
		line_escaped_name(line, row->task.comm, sizeof(row->task.comm));
		line_text(line, "]");
		return;
	}
	for (bool first = true; (arg = event_next_arg(&at, procfs->args + procfs->args_len, &len));
	     first = false) {
		if (!first)
			line_text(line, " ");
		line_escaped(line, arg, len);
	}
}

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
	bool ids = list->kernel->ids != KERNEL_IDS_NONE;

	printf("%10s %-6s %s%6s %7s %s\n", "NS", "TYPE", ids ? "        ID " : "", "NPROCS", "PID",
	       "COMMAND");
	for (const struct entry *entry = list->entries; entry; entry = entry->hh.next) {
		char bytes[LINE_MAX_BYTES], id[24] = "-", pid[24] = "-";
		struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

		if (!is_shown(list, entry->type))
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
			command(list, &line, entry->first);
		else
			keeper(&line, entry);
		print_line(&line, bytes);
	}
}

/* ---- JSON ---- */

static void json_program(struct list *list, struct line *line, const struct nsmon_proc *row)
{
	struct procfs *procfs = &list->procfs;

	line_text(line, ",\"comm\":");
	line_json_name(line, row->task.comm, sizeof(row->task.comm));
	if (row->flags & (NSMON_PROC_KERNEL | NSMON_PROC_PARTIAL))
		return;
	procfs_read(procfs, row->task.pid, row->task.tid, row->task.thread_start_ns);
	if (procfs->has_args)
		json_args(line, procfs->args, procfs->args_len, procfs->truncated);
	if (procfs->exe_len) {
		line_text(line, ",\"exe\":");
		line_json(line, procfs->exe, procfs->exe_len);
	}
}

static void json_end(struct line *line, char *bytes)
{
	if (line->raw)
		line_text(line, ",\"raw\":true");
	line_text(line, "}");
	print_line(line, bytes);
}

static void json_entries(struct list *list)
{
	for (const struct entry *entry = list->entries; entry; entry = entry->hh.next) {
		char bytes[LINE_MAX_BYTES];
		struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

		if (!is_shown(list, entry->type))
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
			json_program(list, &line, entry->first);
		}
		json_end(&line, bytes);
	}
}

/* ---- the tree ---- */

/* Where a process stands in the tree, and the number of its set of namespaces. */
struct node {
	size_t parent; /* index; itself: a root */
	size_t first_child; /* index + 1; 0: none */
	size_t next; /* its parent's next child, index + 1 */
	size_t set;
};

static size_t find_process(const struct list *list, uint32_t pid)
{
	size_t low = 0, high = list->row_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (list->rows[middle].task.pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->row_count && list->rows[low].task.pid == pid ? low : SIZE_MAX;
}

/* The number of its set; a set that was not seen before gets the next one. */
static size_t number_set(struct list *list, const struct nsmon_proc *row)
{
	uint32_t inum[NSMON_NS_TYPES] = { 0 };
	struct shared *set;

	for (int type = 0; type < NSMON_NS_TYPES; type++)
		if (is_shown(list, (enum nsmon_ns_type)type))
			inum[type] = row->ns.inum[type];
	HASH_FIND(hh, list->sets, inum, sizeof(inum), set);
	if (!set) {
		set = allocate(sizeof(*set));
		memcpy(set->inum, inum, sizeof(inum));
		HASH_ADD(hh, list->sets, inum, sizeof(set->inum), set);
		set->number = HASH_COUNT(list->sets);
	}
	return set->number;
}

/* Parents before children, children in the order of their numbers. */
static struct node *make_tree(const struct list *list, size_t *first_root)
{
	struct node *nodes = allocate((list->row_count + 1) * sizeof(*nodes));

	*first_root = 0;
	for (size_t i = list->row_count; i-- > 0;) {
		size_t parent = find_process(list, list->rows[i].task.ppid);
		size_t *head = first_root;

		if (!is_main(&list->rows[i]))
			parent = find_process(list, list->rows[i].task.pid);
		/* A process that is its own ancestor would never be shown. */
		if (parent != SIZE_MAX && parent != i && is_main(&list->rows[parent]))
			head = &nodes[parent].first_child;
		nodes[i].parent = head == first_root ? i : parent;
		nodes[i].next = *head;
		*head = i + 1;
	}
	return nodes;
}

/* The types in which it is elsewhere than its parent; of a root all. */
static void tree_namespaces(const struct list *list, struct line *line,
			    const struct nsmon_proc *row, const struct nsmon_proc *parent)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		if (!is_shown(list, (enum nsmon_ns_type)type) || !row->ns.inum[type] ||
		    (parent != row && parent->ns.inum[type] == row->ns.inum[type]))
			continue;
		line_text(line, " ");
		line_string(line, ns_type_names[type]);
		line_text(line, "=");
		line_u64(line, row->ns.inum[type]);
	}
}

static void tree_text(struct list *list, const struct node *node, size_t depth,
		      const struct nsmon_proc *row, const struct nsmon_proc *parent)
{
	char bytes[LINE_MAX_BYTES];
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

	printf("%7u %4zu ", row->task.tid, node->set);
	for (size_t i = 0; i < depth && i < DEPTH_MAX; i++)
		line_text(&line, "  ");
	if (is_main(row)) {
		command(list, &line, row);
	} else {
		line_text(&line, "thread ");
		line_escaped_name(&line, row->task.comm, sizeof(row->task.comm));
	}
	tree_namespaces(list, &line, row, parent);
	print_line(&line, bytes);
}

static void tree_json(struct list *list, const struct node *node, const struct nsmon_proc *row)
{
	char bytes[LINE_MAX_BYTES];
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

	line_text(&line, "{\"pid\":");
	line_u64(&line, row->task.pid);
	member_u64(&line, "tid", row->task.tid);
	member_u64(&line, "ppid", row->task.ppid);
	member_u64(&line, "vpid", row->task.vpid);
	member_u64(&line, "start_ns", row->task.start_ns);
	member_u64(&line, "uid", row->task.uid);
	member_u64(&line, "gid", row->task.gid);
	member_u64(&line, "cgroup_id", row->task.cgroup_id);
	member_u64(&line, "set", node->set);
	json_namespaces(&line, &row->ns, list->options->types);
	json_program(list, &line, row);
	json_end(&line, bytes);
}

static void print_tree(struct list *list)
{
	size_t at, depth = 0;
	struct node *nodes = make_tree(list, &at);

	if (list->options->output == OUTPUT_TEXT)
		printf("%7s %4s %s\n", "PID", "SET",
		       "COMMAND, and namespaces other than the parent's");
	while (at) {
		size_t i = at - 1;
		struct node *node = &nodes[i];

		node->set = number_set(list, &list->rows[i]);
		if (list->options->output == OUTPUT_TEXT)
			tree_text(list, node, depth, &list->rows[i], &list->rows[node->parent]);
		else
			tree_json(list, node, &list->rows[i]);
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
}

/* ---- */

static void free_list(struct list *list)
{
	struct entry *entry = list->entries;
	struct shared *set = list->sets;

	/* Frees the table; its elements, which are ours, still lead to one another. */
	HASH_CLEAR(hh, list->entries);
	HASH_CLEAR(hh, list->sets);
	while (entry) {
		struct entry *next = entry->hh.next;

		free(entry->path);
		free(entry);
		entry = next;
	}
	while (set) {
		struct shared *next = set->hh.next;

		free(set);
		set = next;
	}
	procfs_close(&list->procfs);
	free(list->rows);
}

int list_run(const struct options *options, const struct kernel *kernel)
{
	struct list list = { .options = options, .kernel = kernel };

	if (take_picture(&list)) {
		free(list.rows);
		return 1;
	}
	tidy_rows(&list);
	procfs_open(&list.procfs, list.boot_offset_ns);
	procfs_note(&list.procfs);
	if (options->tree) {
		print_tree(&list);
	} else {
		for (size_t i = 0; i < list.row_count; i++)
			count_row(&list, &list.rows[i]);
		add_mounted(&list);
		persistent_listed(add_persistent, &list); /* before 6.19 there is none */
		HASH_SORT(list.entries, compare_entries);
		if (options->output == OUTPUT_TEXT)
			print_entries(&list);
		else
			json_entries(&list);
	}
	free_list(&list);
	return 0;
}
