// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The tree of cgroups. Must not know how a cgroup is written, nor who is in it. */
#include "cgroup.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

/* Cgroups that are remembered after their end: their last records may come later. */
#define REMOVED_MAX 1024

/* No path of a cgroup is longer (fs/kernfs: PATH_MAX). */
#define PATH_MAX_BYTES 4096

#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL

/* A runtime writes its files before, while and after it makes the cgroup. */
static const uint64_t try_again_ns[] = { 30 * NS_PER_MS, 100 * NS_PER_MS, 300 * NS_PER_MS, NS_PER_S,
					 5 * NS_PER_S };
#define TRIES (sizeof(try_again_ns) / sizeof(*try_again_ns))

/* Looks in one second that do not wait for a quiet moment. */
#define LOOKS_AT_ONCE 50

struct node {
	struct cgroup cgroup; /* first: what others see */
	uint64_t parent_id; /* 0: the topmost */
	char *name;
	char *found_name; /* that a walk met, where it is another one; see cgroups_settle() */
	char *path; /* cgroup.path, ours */
	struct container *container; /* cgroup.container, ours */
	struct cgroup_text text;
	uint32_t generation; /* of the last walk that met it */
	unsigned int tries; /* of finding a container whose cgroup may have any name */
	uint64_t due_ns;
	bool removed;
	struct node *next_removed;
	UT_hash_handle hh;
};

struct cgroups {
	const struct cgroup_filter *filter;
	const char *root;
	cgroup_decide_fn decide;
	void *context;
	struct node *nodes;
	struct container *containers;
	uint64_t last_number;
	struct node *removed_first, *removed_last;
	size_t removed_count;
	struct node *last_found;
	uint32_t generation;
	uint64_t now_ns;
	uint64_t looks_since_ns;
	unsigned int looks;
	bool doubt;
	bool orphans; /* there may be nodes without a path */
	bool unsettled; /* there may be nodes with a found_name */
	struct container *unused; /* no node is in them any more */
	char *meant; /* the id of the container that the filter's prefix means */
};

static struct node *find(struct cgroups *cgroups, uint64_t id)
{
	struct node *node;

	HASH_FIND(hh, cgroups->nodes, &id, sizeof(id), node);
	return node;
}

static void forget_text(struct node *node)
{
	free(node->text.bytes);
	node->text = (struct cgroup_text){ 0 };
}

/* ---- containers ---- */

/* Both of one that is in no table. */
static void free_container(struct container *container)
{
	runtime_details_free(&container->details);
	free(container->path);
	free(container);
}

static void free_node(struct node *node)
{
	free(node->text.bytes);
	free(node->path);
	free(node->name);
	free(node->found_name);
	free(node);
}

/* After whatever has led to that. */
static void forget_unused(struct cgroups *cgroups)
{
	struct container *unused;

	while (cgroups->containers && (unused = cgroups->unused)) {
		cgroups->unused = unused->next_unused;
		HASH_DEL(cgroups->containers, unused);
		free_container(unused);
	}
}

static void release(struct cgroups *cgroups, struct container *container)
{
	if (!container || --container->users)
		return;
	container->next_unused = cgroups->unused;
	cgroups->unused = container;
}

static void set_container(struct cgroups *cgroups, struct node *node, struct container *container)
{
	if (container)
		container->users++;
	release(cgroups, node->container);
	node->container = container;
	node->cgroup.container = container;
	if (container) {
		node->cgroup.unit = NULL;
		node->due_ns = 0;
	}
	forget_text(node);
}

/* It has up to CONTAINER_ID_MAX bytes. */
static void set_id(struct container *container, const char *id)
{
	memcpy(container->id, id, strlen(id) + 1);
}

static struct container *new_container(struct cgroups *cgroups, const char *path)
{
	struct container *container = calloc(1, sizeof(*container));

	if (!container)
		return NULL;
	container->path = strdup(path);
	if (!container->path) {
		free(container);
		return NULL;
	}
	container->number = ++cgroups->last_number;
	container->due_ns = cgroups->now_ns;
	HASH_ADD(hh, cgroups->containers, number, sizeof(container->number), container);
	return container;
}

/*
 * Is this container, of the cgroup above or of the cgroup itself until now, the one that
 * the path tells? Not where the id stands in it once more: that is another one, inside.
 */
static bool is_same(const struct container *container, const struct node *node,
		    const struct container_match *match, const char *id)
{
	return container && container->by_path && strcmp(container->id, id) == 0 &&
	       (container == node->container ||
		(size_t)(match->id - node->path) < strlen(container->path)) &&
	       (!match->runtime || !container->runtime || container->details.runtime ||
		strcmp(container->runtime, match->runtime) == 0);
}

/* What it is in was renamed. */
static void move_container(struct container *container, const char *path)
{
	char *copy = strcmp(container->path, path) == 0 ? NULL : strdup(path);

	if (!copy)
		return;
	free(container->path);
	container->path = copy;
}

static struct container *container_of_path(struct cgroups *cgroups, const struct node *node,
					   const struct node *parent,
					   const struct container_match *match)
{
	char id[CONTAINER_ID_MAX + 1];
	struct container *container;

	container_id(match, id);
	if (parent && is_same(parent->container, node, match, id))
		return parent->container;
	if (is_same(node->container, node, match, id)) {
		move_container(node->container, node->path);
		return node->container;
	}
	container = new_container(cgroups, node->path);
	if (!container)
		return NULL;
	set_id(container, id);
	container->runtime = match->runtime;
	container->by_path = true;
	container_pod_uid(match, container->pod_uid);
	return container;
}

/* Runtimes that call a cgroup as the container, and have the container's name as last argument. */
static const char *const plain_runtimes[] = { "crun", "runc", "youki" };

/* Is it this runtime by its first argument, with or without a directory? Where all arguments were told. */
static bool is_first_arg(const struct nsmon_cgroup *tree, const char *runtime)
{
	size_t len = strnlen(tree->maker_args, tree->maker_args_len);
	const char *slash = memrchr(tree->maker_args, '/', len);
	const char *base = slash ? slash + 1 : tree->maker_args;

	len -= (size_t)(base - tree->maker_args);
	return tree->maker_args_len < sizeof(tree->maker_args) && len == strlen(runtime) &&
	       memcmp(base, runtime, len) == 0;
}

/* One that has executed itself from memory, as crun does, is named after its descriptor on 5.10. */
static bool is_named_after_descriptor(const struct nsmon_cgroup *tree)
{
	size_t len = strnlen(tree->maker, sizeof(tree->maker));
	size_t digits = 0;

	while (digits < len && tree->maker[digits] >= '0' && tree->maker[digits] <= '9')
		digits++;
	return len && digits == len;
}

static const char *maker_of(const struct nsmon_cgroup *tree)
{
	for (size_t i = 0; i < sizeof(plain_runtimes) / sizeof(*plain_runtimes); i++)
		if (strncmp(tree->maker, plain_runtimes[i], sizeof(tree->maker)) == 0 ||
		    (is_named_after_descriptor(tree) && is_first_arg(tree, plain_runtimes[i])))
			return plain_runtimes[i];
	return NULL;
}

static bool is_last_arg(const struct nsmon_cgroup *tree, const char *name)
{
	size_t len = tree->maker_args_len, name_len = strlen(name);

	while (len && !tree->maker_args[len - 1])
		len--;
	return name_len && len >= name_len &&
	       memcmp(tree->maker_args + len - name_len, name, name_len) == 0 &&
	       (len == name_len || !tree->maker_args[len - name_len - 1]);
}

/*
 * `crun run NAME` makes a cgroup NAME, where nobody asks for another one. Whoever
 * calls himself crun can do the same: it is told as unverified until crun's own
 * state says so.
 */
static struct container *container_of_maker(struct cgroups *cgroups, const struct node *node,
					    const struct nsmon_cgroup *tree)
{
	struct container *container;
	const char *runtime = maker_of(tree);

	if (!runtime || !is_last_arg(tree, node->name) || strlen(node->name) > CONTAINER_ID_MAX)
		return NULL;
	container = new_container(cgroups, node->path);
	if (!container)
		return NULL;
	set_id(container, node->name);
	container->runtime = runtime;
	return container;
}

/* ---- the filter ---- */

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	while (len && top[len - 1] == '/')
		len--;
	return strncmp(path, top, len) == 0 && (!path[len] || path[len] == '/');
}

static bool is_meant(const struct cgroup_filter *filter, const struct container *container)
{
	const char *name = container->details.name;

	return strncmp(container->id, filter->container, strlen(filter->container)) == 0 ||
	       (name && strcmp(name, filter->container) == 0);
}

size_t cgroups_count_containers(const struct cgroups *cgroups)
{
	const struct container *container;
	size_t count = 0;

	for (container = cgroups->containers; container; container = container->hh.next)
		count += container->users != 0;
	return count;
}

size_t cgroups_meant(const struct cgroups *cgroups, const struct container *meant[2])
{
	const struct container *container, *next;
	size_t n = 0;

	HASH_ITER(hh, cgroups->containers, container, next)
	{
		if (!is_meant(cgroups->filter, container) ||
		    (n && strcmp(meant[0]->id, container->id) == 0))
			continue;
		if (n < 2)
			meant[n] = container;
		n++;
	}
	return n;
}

/* The first container that a prefix means is the one that it goes on to mean. */
static bool is_the_meant(struct cgroups *cgroups, struct container *container)
{
	if (!is_meant(cgroups->filter, container))
		return false;
	if (!cgroups->meant)
		cgroups->meant = strdup(container->id);
	if (!cgroups->meant || strcmp(cgroups->meant, container->id) == 0)
		return true;
	if (!container->refused)
		log_note("--container '%s': another container that begins so was started (%.64s); "
			 "it is not traced",
			 cgroups->filter->container, container->id);
	container->refused = true;
	return false;
}

/* One without a path, since it would be too long, is below the same as its parent is. */
static bool parent_is_wanted(struct cgroups *cgroups, const struct node *node)
{
	const struct node *parent = find(cgroups, node->parent_id);

	return parent && parent->cgroup.wanted;
}

static void decide(struct cgroups *cgroups, struct node *node)
{
	const struct cgroup_filter *filter = cgroups->filter;
	bool wanted = true;

	if (filter->path)
		wanted = node->path ? is_below(node->path, filter->path)
				    : parent_is_wanted(cgroups, node);
	if (wanted && filter->container)
		wanted = node->container && is_the_meant(cgroups, node->container);
	node->cgroup.wanted = wanted;
	if ((filter->path || filter->container) && !node->removed)
		cgroups->decide(cgroups->context, node->cgroup.id, wanted);
}

/* ---- the files of runtimes ---- */

/* It is a virtual machine's, which is a unit of systemd. */
static void set_no_container(struct cgroups *cgroups, struct node *node)
{
	set_container(cgroups, node, NULL);
	node->cgroup.unit_len =
		container_unit(node->path, node->cgroup.path_len, &node->cgroup.unit);
}

/* What the files of its runtime say now; everybody who is in it learns of it. */
static void take_details(struct cgroups *cgroups, struct container *container,
			 struct runtime_details *details)
{
	struct node *node, *next;

	runtime_details_free(&container->details);
	container->details = *details;
	container->due_ns = 0;
	if (details->runtime)
		container->runtime = container->details.runtime;
	if (details->id && !container->by_path && strlen(details->id) <= CONTAINER_ID_MAX)
		set_id(container, details->id);
	HASH_ITER(hh, cgroups->nodes, node, next)
	{
		if (node->container != container)
			continue;
		if (details->virtual_machine)
			set_no_container(cgroups, node);
		else
			forget_text(node);
		decide(cgroups, node);
	}
}

static void look_at_files(struct cgroups *cgroups, struct container *container)
{
	struct runtime_details details = { 0 };
	struct container_match match;
	size_t len = strlen(container->path);
	int err;

	if (container->by_path && container_match(container->path, len, &match))
		err = runtime_read(cgroups->root, container->path, &match, &details);
	else
		err = runtime_find_by_cgroup(cgroups->root, container->path, &details);
	if (!err && (details.backed || details.virtual_machine)) {
		take_details(cgroups, container, &details);
		return;
	}
	runtime_details_free(&details);
	container->due_ns =
		container->tries < TRIES ? cgroups->now_ns + try_again_ns[container->tries] : 0;
	container->tries++;
}

/* May a look be taken now, on the way of an event? A user may make many cgroups. */
static bool may_look_at_once(struct cgroups *cgroups)
{
	if (cgroups->now_ns - cgroups->looks_since_ns >= NS_PER_S) {
		cgroups->looks_since_ns = cgroups->now_ns;
		cgroups->looks = 0;
	}
	return cgroups->looks++ < LOOKS_AT_ONCE;
}

/* ---- the tree ---- */

static void set_path(struct node *node, char *path)
{
	free(node->path);
	node->path = path;
	node->cgroup.path = path;
	node->cgroup.path_len = path ? strlen(path) : 0;
	node->cgroup.unit = NULL;
	node->cgroup.unit_len = 0;
	forget_text(node);
}

/* Of the topmost it is "/"; NULL where that of its parent is not known. */
static char *make_path(const struct node *node, const struct node *parent)
{
	size_t len, name_len = strlen(node->name);
	char *path;

	if (!node->parent_id)
		return strdup("/");
	if (!parent || !parent->path)
		return NULL;
	len = parent->cgroup.path_len;
	if (len == 1) /* "/" */
		len = 0;
	if (len + 1 + name_len >= PATH_MAX_BYTES)
		return NULL;
	path = malloc(len + 1 + name_len + 1);
	if (!path)
		return NULL;
	memcpy(path, parent->path, len);
	path[len] = '/';
	memcpy(path + len + 1, node->name, name_len + 1);
	return path;
}

/* tree: the record of its making; NULL where it was found to exist. */
static void identify(struct cgroups *cgroups, struct node *node, const struct node *parent,
		     const struct nsmon_cgroup *tree)
{
	struct container *container = NULL;
	struct container_match match;

	node->due_ns = 0;
	if (!node->path) { /* not known, or too long: then it is in what its parent is in */
		set_container(cgroups, node, parent ? parent->container : NULL);
		return;
	}
	if (container_match(node->path, node->cgroup.path_len, &match))
		container = container_of_path(cgroups, node, parent, &match);
	else if (parent && parent->container && !parent->container->by_path)
		container = parent->container;
	else if (tree)
		container = container_of_maker(cgroups, node, tree);
	set_container(cgroups, node, container);
	if (!container && match.unit_len) {
		node->cgroup.unit = match.unit;
		node->cgroup.unit_len = match.unit_len;
	} else if (!container && node->parent_id) {
		node->tries = tree ? 0 : TRIES; /* where it existed, so do the files */
		node->due_ns = cgroups->now_ns;
	}
	if (container && container->due_ns && !container->tries && may_look_at_once(cgroups))
		look_at_files(cgroups, container);
}

static void place(struct cgroups *cgroups, struct node *node, const struct nsmon_cgroup *tree)
{
	struct node *parent = node->parent_id ? find(cgroups, node->parent_id) : NULL;

	set_path(node, make_path(node, parent));
	if (node->parent_id && !parent) {
		cgroups->doubt = true;
		cgroups->orphans = true;
	}
	identify(cgroups, node, parent, tree);
	decide(cgroups, node);
}

/*
 * Those below a cgroup whose own path has changed. Rare, so each level costs a pass over
 * all. It ends where there is no path and nothing changes: also in a circle.
 */
static void place_below(struct cgroups *cgroups, uint64_t id)
{
	struct node *node, *next;

	HASH_ITER(hh, cgroups->nodes, node, next)
	{
		const struct cgroup before = node->cgroup;

		if (node->parent_id != id || node->cgroup.id == id)
			continue;
		place(cgroups, node, NULL);
		if (before.path || node->path || before.container != node->container ||
		    before.wanted != node->cgroup.wanted)
			place_below(cgroups, node->cgroup.id);
	}
}

static void set_removed(struct cgroups *cgroups, struct node *node)
{
	if (node->removed)
		return;
	node->removed = true;
	node->due_ns = 0;
	if (cgroups->removed_last)
		cgroups->removed_last->next_removed = node;
	else
		cgroups->removed_first = node;
	cgroups->removed_last = node;
	cgroups->removed_count++;
	/* The kernel may have heard of it when it had forgotten it. Its last records are told all the same. */
	if (cgroups->filter->path || cgroups->filter->container)
		cgroups->decide(cgroups->context, node->cgroup.id, false);
}

/* Those that were removed first. Not while the nodes are gone through: it may be any of them. */
static void forget_removed(struct cgroups *cgroups)
{
	while (cgroups->nodes && cgroups->removed_count > REMOVED_MAX) {
		struct node *oldest = cgroups->removed_first;

		cgroups->removed_first = oldest->next_removed;
		cgroups->removed_count--;
		if (cgroups->last_found == oldest)
			cgroups->last_found = NULL;
		HASH_DEL(cgroups->nodes, oldest);
		release(cgroups, oldest->container);
		free_node(oldest);
	}
}

static struct node *add(struct cgroups *cgroups, uint64_t id)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->cgroup.id = id;
	node->cgroup.text = &node->text;
	HASH_ADD(hh, cgroups->nodes, cgroup.id, sizeof(node->cgroup.id), node);
	return node;
}

static void put(struct cgroups *cgroups, uint64_t id, uint64_t parent_id, const char *name,
		const struct nsmon_cgroup *tree)
{
	struct node *node = find(cgroups, id);
	bool existed = node || cgroups->orphans; /* those below may have another path now */
	bool known = node && node->name && strcmp(node->name, name) == 0 &&
		     node->parent_id == parent_id && node->path;
	char *copy;

	if (node && tree) { /* what is told of it gets through */
		free(node->found_name);
		node->found_name = NULL;
	}
	/* A walk met it first, which does not know who made it, and took its files to be there. */
	if (known && tree && !node->container && !node->removed)
		known = false;

	if (node)
		node->generation = cgroups->generation;
	if (known)
		return;
	copy = strdup(name);
	if (!copy)
		return;
	if (!node)
		node = add(cgroups, id);
	if (!node) {
		free(copy);
		return;
	}
	free(node->name);
	node->name = copy;
	node->parent_id = parent_id;
	node->generation = cgroups->generation;
	place(cgroups, node, tree);
	if (existed)
		place_below(cgroups, id);
}

void cgroups_event(struct cgroups *cgroups, const struct nsmon_cgroup *tree, uint64_t now_ns)
{
	struct node *node;

	cgroups->now_ns = now_ns;
	if (tree->op != NSMON_CGROUP_REMOVED) {
		put(cgroups, tree->id, tree->parent_id, tree->name, tree);
	} else {
		node = find(cgroups, tree->id);
		if (node)
			set_removed(cgroups, node);
		forget_removed(cgroups);
	}
	forget_unused(cgroups);
}

static void on_directory(void *context, uint64_t id, uint64_t parent_id, const char *name)
{
	struct cgroups *cgroups = context;
	struct node *node = find(cgroups, id);

	if (!node || !node->name || strcmp(node->name, name) == 0) {
		put(cgroups, id, parent_id, name, NULL);
		return;
	}
	free(node->found_name);
	node->found_name = strdup(name);
	node->generation = cgroups->generation;
	cgroups->unsettled = true;
}

void cgroups_settle(struct cgroups *cgroups, uint64_t now_ns)
{
	struct node *node, *next;

	if (!cgroups->unsettled)
		return;
	cgroups->now_ns = now_ns;
	cgroups->unsettled = false;
	HASH_ITER(hh, cgroups->nodes, node, next)
	{
		char *name = node->found_name;

		if (!name)
			continue;
		node->found_name = NULL;
		put(cgroups, node->cgroup.id, node->parent_id, name, NULL);
		free(name);
	}
	forget_unused(cgroups);
}

/* Its path, or that with the mount's in front, is longer than any may be. */
static bool is_out_of_reach(struct cgroups *cgroups, const struct hierarchy *hierarchy,
			    const struct node *node)
{
	if (!node->path)
		return find(cgroups, node->parent_id);
	return strlen(hierarchy->path) + node->cgroup.path_len >= PATH_MAX_BYTES;
}

int cgroups_look(struct cgroups *cgroups, const struct hierarchy *hierarchy, uint64_t now_ns)
{
	struct node *node, *next;
	int err;

	cgroups->now_ns = now_ns;
	cgroups->generation++;
	err = hierarchy_walk(hierarchy, on_directory, cgroups);
	if (err)
		return err;
	/* Those whose removal was lost. One that was made meanwhile is met by the next walk. */
	HASH_ITER(hh, cgroups->nodes, node, next)
	{
		if (node->generation + 1 < cgroups->generation &&
		    !is_out_of_reach(cgroups, hierarchy, node))
			set_removed(cgroups, node);
	}
	forget_removed(cgroups);
	forget_unused(cgroups);
	cgroups->doubt = false;
	cgroups->orphans = false;
	return 0;
}

const struct cgroup *cgroups_find(struct cgroups *cgroups, uint64_t id)
{
	struct node *node = cgroups->last_found;

	if (!node || node->cgroup.id != id)
		node = find(cgroups, id);
	if (!node) {
		cgroups->doubt |= id != 0;
		return NULL;
	}
	cgroups->last_found = node;
	return &node->cgroup;
}

void cgroups_entered(struct cgroups *cgroups, uint64_t id, uint64_t now_ns)
{
	struct node *node = find(cgroups, id);

	if (!node || !node->path || node->removed || node->container || node->cgroup.unit ||
	    node->due_ns || !node->parent_id)
		return;
	node->tries = 0;
	node->due_ns = now_ns;
}

bool cgroups_take_doubt(struct cgroups *cgroups)
{
	bool doubt = cgroups->doubt;

	cgroups->doubt = false;
	return doubt;
}

const struct container *cgroups_container(const struct cgroups *cgroups, uint64_t number)
{
	struct container *container;

	HASH_FIND(hh, cgroups->containers, &number, sizeof(number), container);
	return container;
}

/* A container that its cgroup's name does not tell: those below are in it as well. */
static void look_for_container(struct cgroups *cgroups, struct node *node)
{
	struct runtime_details details = { 0 };
	struct container *container = NULL;

	if (runtime_find_by_cgroup(cgroups->root, node->path, &details) == 0 && details.id &&
	    strlen(details.id) <= CONTAINER_ID_MAX)
		container = new_container(cgroups, node->path);
	if (!container) {
		runtime_details_free(&details);
		node->due_ns =
			node->tries < TRIES ? cgroups->now_ns + try_again_ns[node->tries] : 0;
		node->tries++;
		return;
	}
	set_id(container, details.id);
	set_container(cgroups, node, container);
	take_details(cgroups, container, &details);
	place_below(cgroups, node->cgroup.id);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

uint64_t cgroups_resolve(struct cgroups *cgroups, uint64_t now_ns)
{
	struct container *container, *next;
	struct node *node, *next_node;
	uint64_t due_ns = 0;

	cgroups->now_ns = now_ns;
	HASH_ITER(hh, cgroups->containers, container, next)
	{
		if (container->due_ns && container->due_ns <= now_ns)
			look_at_files(cgroups, container);
	}
	HASH_ITER(hh, cgroups->nodes, node, next_node)
	{
		if (node->due_ns && node->due_ns <= now_ns)
			look_for_container(cgroups, node);
		due_ns = earlier(due_ns, node->due_ns);
	}
	forget_unused(cgroups);
	for (container = cgroups->containers; container; container = container->hh.next)
		due_ns = earlier(due_ns, container->due_ns);
	return due_ns;
}

void cgroups_each(struct cgroups *cgroups, void (*function)(void *context, const struct cgroup *),
		  void *context)
{
	struct node *node, *next;

	HASH_ITER(hh, cgroups->nodes, node, next)
	{
		if (!node->removed)
			function(context, &node->cgroup);
	}
}

/* ---- */

struct cgroups *cgroups_new(const struct cgroup_filter *filter, const char *root,
			    cgroup_decide_fn decide_, void *context)
{
	struct cgroups *cgroups = calloc(1, sizeof(*cgroups));

	if (!cgroups)
		return NULL;
	cgroups->filter = filter;
	cgroups->root = root;
	cgroups->decide = decide_;
	cgroups->context = context;
	return cgroups;
}

void cgroups_free(struct cgroups *cgroups)
{
	struct container *container, *next_container;
	struct node *node, *next_node;

	if (!cgroups)
		return;
	node = cgroups->nodes;
	HASH_CLEAR(hh, cgroups->nodes);
	for (; node; node = next_node) {
		next_node = node->hh.next;
		free_node(node);
	}
	container = cgroups->containers;
	HASH_CLEAR(hh, cgroups->containers);
	for (; container; container = next_container) {
		next_container = container->hh.next;
		free_container(container);
	}
	free(cgroups->meant);
	free(cgroups);
}
