// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Chooses a hierarchy of cgroups and walks it. Must not know what is done with a cgroup. */
#include "hierarchy.h"

#include <errno.h>
#include <fts.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONTROLLERS 7

/* By enum nsmon_controller; as mount options and in /proc/self/cgroup. */
static const char *const controller_names[CONTROLLERS] = {
	[NSMON_CONTROLLER_NONE] = "v2",		[NSMON_CONTROLLER_MEMORY] = "memory",
	[NSMON_CONTROLLER_PIDS] = "pids",	[NSMON_CONTROLLER_CPU] = "cpu",
	[NSMON_CONTROLLER_DEVICES] = "devices", [NSMON_CONTROLLER_FREEZER] = "freezer",
	[NSMON_CONTROLLER_IO] = "blkio",
};

const char *hierarchy_name(const struct hierarchy *hierarchy)
{
	return controller_names[hierarchy->controller];
}

/* The id of a controller's hierarchy, from lines like "4:memory:/user.slice"; 0: it has none. */
static int find_id(FILE *cgroup, const char *controller)
{
	char *line = NULL;
	size_t room = 0;
	int found = 0;

	rewind(cgroup);
	while (!found && getline(&line, &room, cgroup) > 0) {
		char *at = line, *id = strsep(&at, ":"), *names = strsep(&at, ":"), *name;

		while (names && (name = strsep(&names, ",")))
			if (strcmp(name, controller) == 0)
				found = (int)strtol(id, NULL, 10);
	}
	free(line);
	return found;
}

/* The mount of this type, with this option and in this place, where they are not NULL. */
static bool find_mount(struct hierarchy *hierarchy, FILE *mounts, const char *type,
		       const char *option, const char *path)
{
	struct mntent entry;
	char buffer[8192];

	rewind(mounts);
	while (getmntent_r(mounts, &entry, buffer, sizeof(buffer))) {
		if (strcmp(entry.mnt_type, type) != 0 || (option && !hasmntopt(&entry, option)) ||
		    (path && strcmp(entry.mnt_dir, path) != 0) ||
		    strlen(entry.mnt_dir) >= sizeof(hierarchy->path))
			continue;
		memcpy(hierarchy->path, entry.mnt_dir, strlen(entry.mnt_dir) + 1);
		return true;
	}
	return false;
}

void hierarchy_choose(struct hierarchy *hierarchy, FILE *mounts, FILE *cgroup)
{
	*hierarchy = (struct hierarchy){ .controller = NSMON_CONTROLLER_NONE };
	if (find_mount(hierarchy, mounts, "cgroup2", NULL, "/sys/fs/cgroup"))
		return;
	for (int i = NSMON_CONTROLLER_MEMORY; i < CONTROLLERS; i++) {
		int id = find_id(cgroup, controller_names[i]);

		if (id <= 0 || !find_mount(hierarchy, mounts, "cgroup", controller_names[i], NULL))
			continue;
		hierarchy->controller = (enum nsmon_controller)i;
		hierarchy->id = id;
		return;
	}
	find_mount(hierarchy, mounts, "cgroup2", NULL, NULL);
}

void hierarchy_find(struct hierarchy *hierarchy)
{
	FILE *mounts = fopen("/proc/self/mounts", "re");
	FILE *cgroup = fopen("/proc/self/cgroup", "re");

	*hierarchy = (struct hierarchy){ .controller = NSMON_CONTROLLER_NONE };
	if (mounts && cgroup)
		hierarchy_choose(hierarchy, mounts, cgroup);
	if (mounts)
		fclose(mounts);
	if (cgroup)
		fclose(cgroup);
}

const char *hierarchy_strip(const struct hierarchy *hierarchy, const char *path)
{
	size_t len = strlen(hierarchy->path);

	if (!path || !len || strncmp(path, hierarchy->path, len) != 0)
		return path;
	return path[len] == '/' ? path + len : path[len] ? path : "/";
}

int hierarchy_walk(const struct hierarchy *hierarchy, hierarchy_fn function, void *context)
{
	char *paths[] = { (char *)hierarchy->path, NULL };
	FTSENT *entry;
	int err = 0;
	FTS *fts;

	if (!hierarchy->path[0])
		return -ENOENT;
	fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (!fts)
		return -errno;
	while ((entry = fts_read(fts))) {
		bool top = entry->fts_level == FTS_ROOTLEVEL;

		/* What is removed meanwhile is told by the kernel. */
		if (top && (entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS))
			err = -entry->fts_errno;
		if (entry->fts_info == FTS_D)
			function(context, entry->fts_statp->st_ino,
				 top ? 0 : entry->fts_parent->fts_statp->st_ino,
				 top ? "" : entry->fts_name);
	}
	fts_close(fts);
	return err;
}
