// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Bytes -> cgroups that are made, renamed and removed, in any order. Each has the path that
 * its names make, the container that the path tells, and passes the filter by it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cgroup.h"
#include "log.h"
#include "records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define IDS 16
#define HEX_ID "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"

static const char *const names[] = {
	"",	   "docker",   HEX_ID,		    "docker-" HEX_ID ".scope",
	"a.slice", "b.scope",  "lxc.payload.x",	    "machine.slice",
	"x",	   "x.service", "machine-y\\x2dz.scope", "supervisor",
	"kubepods", "web",     "a b=\n\"\xff",	    "system.slice",
};

#define NAMES (sizeof(names) / sizeof(*names))

/* One step; all of it is the fuzzer's. */
struct step {
	uint8_t what;
	uint8_t id;
	uint8_t parent;
	uint8_t name;
};

/* What the records have said of a cgroup. */
static struct {
	bool known;
	bool removed;
	uint64_t parent;
	const char *name;
} model[IDS];
static int verdicts[IDS]; /* 0: none */
static struct cgroup_filter filter;

static void on_verdict(void *context, uint64_t id, bool wanted)
{
	(void)context;
	CHECK(id < IDS);
	verdicts[id] = wanted ? 1 : -1;
}

/* Its path, built from the root; NULL where it has none. */
static const char *path_of(uint64_t id)
{
	static char path[IDS * 100];
	uint64_t up[IDS];
	size_t depth = 0, len = 0;

	for (; model[id].parent; id = model[id].parent) {
		if (depth == IDS || !model[id].known)
			return NULL;
		up[depth++] = id;
	}
	if (!model[id].known)
		return NULL;
	strcpy(path, "/");
	while (depth--)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "/%s", model[up[depth]].name);
	return path;
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (!path[len] || path[len] == '/');
}

static void check(struct cgroups *cgroups, uint64_t id)
{
	const struct cgroup *cgroup = cgroups_find(cgroups, id);
	const char *path = path_of(id);
	struct container_match match;
	char name[CONTAINER_ID_MAX + 1];

	CHECK(!!cgroup == model[id].known);
	if (!cgroup)
		return;
	CHECK(cgroup->id == id && cgroup->text);
	CHECK(!cgroup->container || !cgroup->unit);
	CHECK(!cgroup->container ||
	      cgroups_container(cgroups, cgroup->container->number) == cgroup->container);
	if (!path) {
		CHECK(!cgroup->path && !cgroup->unit);
		return;
	}
	CHECK(cgroup->path && strcmp(cgroup->path, path) == 0);
	CHECK(cgroup->path_len == strlen(path));
	if (container_match(path, strlen(path), &match)) {
		container_id(&match, name);
		CHECK(cgroup->container && strcmp(cgroup->container->id, name) == 0);
	} else {
		CHECK(!cgroup->container || !cgroup->container->by_path);
		CHECK(cgroup->container || cgroup->unit_len == match.unit_len);
	}
	if (filter.path)
		CHECK(cgroup->wanted == is_below(path, filter.path));
	if (filter.path || filter.container)
		CHECK(verdicts[id] == (cgroup->wanted && !model[id].removed ? 1 : -1));
}

static void tell(struct cgroups *cgroups, enum nsmon_cgroup_op op, const struct step *step)
{
	static union record record;
	uint64_t id = 1 + step->id % (IDS - 1), parent = step->parent % IDS;
	const char *name = names[step->name % NAMES];
	struct nsmon_cgroup *copy;

	/* The kernel tells nothing of those that are gone, has one root, and no circle. */
	if (model[id].removed || (op != NSMON_CGROUP_REMOVED && parent >= id))
		return;
	if (!parent != (id == 1) || !*name != (id == 1))
		return;
	record_tree(&record, op, id, parent, name);
	if (step->what & 0x80)
		record_maker(&record, "crun", name, strlen(name) + 1);
	copy = malloc(sizeof(*copy)); /* which goes away behind it */
	CHECK(copy);
	*copy = record.tree;
	cgroups_event(cgroups, copy, step->what);
	free(copy);
	if (op == NSMON_CGROUP_REMOVED) {
		model[id].removed = model[id].known;
		return;
	}
	model[id].known = true;
	model[id].parent = parent;
	model[id].name = name;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cgroups *cgroups;
	struct step step;

	if (!size)
		return 0;
	filter = (struct cgroup_filter){
		.path = *data & 1 ? "/docker" : NULL,
		.container = *data & 2 ? "3726" : NULL,
	};
	if (filter.container)
		filter.path = NULL;
	memset(model, 0, sizeof(model));
	memset(verdicts, 0, sizeof(verdicts));
	log_set_level(LOG_LEVEL_ERROR);
	cgroups = cgroups_new(&filter, "/nowhere", on_verdict, NULL);
	CHECK(cgroups);
	for (data++, size--; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		if (step.what % 8 < 5)
			tell(cgroups, NSMON_CGROUP_MADE, &step);
		else if (step.what % 8 == 5)
			tell(cgroups, NSMON_CGROUP_RENAMED, &step);
		else if (step.what % 8 == 6)
			tell(cgroups, NSMON_CGROUP_REMOVED, &step);
		else
			cgroups_resolve(cgroups, (uint64_t)step.id << 26);
		for (uint64_t id = 1; id < IDS; id++)
			check(cgroups, id);
		cgroups_take_doubt(cgroups);
	}
	cgroups_free(cgroups);
	return 0;
}
