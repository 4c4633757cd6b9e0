// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Knows where runtimes keep their state. Must not know who asks, nor what is in the files. */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"

#define FILE_MAX_BYTES ((off_t)4 << 20) /* a config.json has some ten thousand */
#define ENTRIES_MAX 1024 /* of a directory that is searched */
#define NAMESPACES_MAX 64 /* of one containerd */
#define CALL_MAX_BYTES ((off_t)32 << 20) /* all that one call reads */
#define PASSWD_MAX 65536 /* lines */

/* Where to look, and whose files count there. */
struct search {
	const char *root;
	const char *cgroup;
	const char *id; /* ended by a NUL; of a file's name, too */
	uid_t user; /* 0: the system's */
	char home[PATH_MAX]; /* the user's; empty: not known */
	off_t *left; /* bytes that may still be read */
	struct runtime_details *details;
};

/* ---- files */

__attribute__((format(printf, 2, 3))) static bool print_path(char path[PATH_MAX],
							     const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(path, PATH_MAX, format, args);
	va_end(args);
	return len > 0 && len < PATH_MAX;
}

static bool is_system(const struct search *search)
{
	return search->user == 0;
}

/*
 * The base is a path of root's, where links are root's own. What is below it is others'
 * to make: no links, nothing outside, and, of a user's, no file system of his own that
 * may never answer.
 */
static int open_below(const struct search *search, const char *base, const char *name, int flags)
{
	char path[PATH_MAX];
	int dir, fd;

	if (!*base || !print_path(path, "%s%s", search->root, base))
		return -1;
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	fd = beneath_open(dir, name, flags, !is_system(search));
	close(dir);
	return fd;
}

/* root's files are as good as our own; a user's own storage has only his. */
static bool is_owner(const struct search *search, uid_t owner)
{
	if (search->user)
		return owner == search->user;
	return owner == 0 || owner == geteuid();
}

static size_t read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, text + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

/*
 * What a file says: as of runstate_parse(); -ENOENT where there is none that counts.
 * -EFBIG, -EINVAL: it is there, and says nothing.
 */
static int read_state(const struct search *search, enum runstate_file file, const char *base,
		      const char *name)
{
	int fd = open_below(search, base, name, O_RDONLY | O_NONBLOCK | O_NOCTTY), err = -ENOENT;
	struct stat st;
	char *text;

	if (fd < 0)
		return -ENOENT;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !is_owner(search, st.st_uid))
		goto out;
	err = -EFBIG;
	if (st.st_size > FILE_MAX_BYTES || st.st_size > *search->left)
		goto out;
	*search->left -= st.st_size;
	text = malloc((size_t)st.st_size + 1);
	if (text) {
		/* One that grew meanwhile is cut, and then no JSON. */
		size_t len = read_all(fd, text, (size_t)st.st_size);

		err = runstate_parse(file, text, len, search->id, search->cgroup, search->details);
		free(text);
	}
out:
	close(fd);
	return err;
}

/* A file of this container's own: that it is there says that the container is. */
static int read_own(const struct search *search, enum runstate_file file, const char *runtime,
		    const char *base, const char *name)
{
	int err = read_state(search, file, base, name);

	if (err == -ENOENT || err == -EXDEV)
		return err;
	search->details->backed = true;
	if (runtime)
		runstate_set(&search->details->runtime, runtime, strlen(runtime));
	return 0;
}

/* Is there anything of this name, if only a link? */
static bool exists(const struct search *search, const char *base, const char *name)
{
	int fd = open_below(search, base, name, O_PATH);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

typedef int (*entry_fn)(const struct search *search, const char *base, const char *name);

/* Calls the function with each entry until it returns 0. */
static int for_each(const struct search *search, const char *base, const char *name, int max,
		    entry_fn function)
{
	int fd = open_below(search, base, name, O_RDONLY | O_DIRECTORY), err = -ENOENT;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return -ENOENT;
	}
	while (err && max > 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		max--;
		err = function(search, base, entry->d_name);
	}
	closedir(dir);
	return err;
}

/* ---- users */

/* user-UID.slice is systemd-logind's, and only root moves anything out of it. */
static uid_t user_of(const char *cgroup)
{
	unsigned int user;
	int end = 0;

	if (sscanf(cgroup, "/user.slice/user-%10u.slice%n", &user, &end) != 1 || !end ||
	    (cgroup[end] && cgroup[end] != '/'))
		return 0;
	return user;
}

/* From the file alone: name services may ask the network, and wait. */
static void find_home(struct search *search)
{
	char path[PATH_MAX];
	struct passwd *entry;
	FILE *file;
	int max = PASSWD_MAX;

	if (!search->user || !print_path(path, "%s/etc/passwd", search->root))
		return;
	file = fopen(path, "re");
	if (!file)
		return;
	while (max-- > 0 && (entry = fgetpwent(file))) {
		if (entry->pw_uid != search->user)
			continue;
		if (entry->pw_dir && entry->pw_dir[0] == '/')
			print_path(search->home, "%s", entry->pw_dir);
		break;
	}
	fclose(file);
}

/* No id leaves its directory. */
static bool is_name(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* ---- runtimes */

static int read_docker_file(const struct search *search, const char *base, const char *folder)
{
	char name[PATH_MAX];

	if (!print_path(name, "%s%s/config.v2.json", folder, search->id))
		return -ENOENT;
	return read_own(search, RUNSTATE_DOCKER, "docker", base, name);
}

/* containerd's, of a bundle in one of its namespaces. */
static int read_bundle(const struct search *search, const char *base, const char *namespace)
{
	static const char *const folders[] = {
		"io.containerd.runtime.v2.task",
		"io.containerd.runtime.v1.linux",
	};
	char name[PATH_MAX];
	int err = -ENOENT;

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders) && err == -ENOENT; i++)
		if (print_path(name, "%s/%s/%s/config.json", folders[i], namespace, search->id))
			err = read_own(search, RUNSTATE_OCI, NULL, base, name);
	return err;
}

/* Docker's containers in containerd: the system's, or one that Docker starts, also as a snap. */
static int read_moby(const struct search *search)
{
	static const char *const bases[] = {
		"/run/containerd",
		"/run/docker/containerd/daemon",
		"/run/snap.docker/containerd/daemon",
	};
	int err = -ENOENT;

	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases) && err == -ENOENT; i++)
		err = read_bundle(search, bases[i], "moby");
	return err;
}

/* moby: container/container.go. Docker's own file does not tell the cgroup, containerd's does. */
static int read_docker(const struct search *search)
{
	static const char *const bases[] = {
		"/var/lib/docker/containers",
		"/var/snap/docker/common/var-lib-docker/containers",
	};
	int bundle, err = -ENOENT;

	if (!is_system(search))
		return read_docker_file(search, search->home, ".local/share/docker/containers/");
	bundle = read_moby(search);
	if (bundle == -EXDEV)
		return bundle;
	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases) && err == -ENOENT; i++)
		err = read_docker_file(search, bases[i], "");
	if (bundle || !err)
		return err;
	runstate_set(&search->details->runtime, "docker", strlen("docker"));
	return 0;
}

/* Its own; k3s's and RKE2's; MicroK8s's. */
static const char *const containerds[] = {
	"/run/containerd",
	"/run/k3s/containerd",
	"/var/snap/microk8s/common/run/containerd",
};

static int read_namespaces(const struct search *search, const char *base)
{
	int err = read_bundle(search, base, "k8s.io");

	if (err == -ENOENT)
		err = for_each(search, base, "io.containerd.runtime.v2.task", NAMESPACES_MAX,
			       read_bundle);
	return err;
}

static int read_containerd(const struct search *search)
{
	int err = -ENOENT;

	if (!is_system(search))
		return err;
	for (size_t i = 0; i < sizeof(containerds) / sizeof(*containerds) && err == -ENOENT; i++)
		err = read_namespaces(search, containerds[i]);
	if (!err)
		runstate_set(&search->details->runtime, "containerd", strlen("containerd"));
	return err;
}

/* Where containers/storage has what it keeps, and what is gone after a reboot. */
struct storage {
	const char *base;
	const char *folder;
};

static int read_stored(const struct search *search, const struct storage *storage,
		       const char *driver)
{
	static const char *const lists[] = { "containers.json", "volatile-containers.json" };
	char name[PATH_MAX];
	int err = -ENOENT;

	if (print_path(name, "%s%s-containers/%s/userdata/config.json", storage->folder, driver,
		       search->id))
		err = read_own(search, RUNSTATE_OCI, NULL, storage->base, name);
	if (err == -EXDEV)
		return err;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		if (!print_path(name, "%s%s-containers/%s", storage->folder, driver, lists[i]) ||
		    read_state(search, RUNSTATE_STORAGE, storage->base, name))
			continue;
		search->details->backed = true;
		err = 0;
	}
	return err;
}

/*
 * containers/storage: docs/containers-storage.conf.5.md, and store.go. Podman has its
 * config.json in what it keeps, CRI-O in both; lists are in either.
 */
static int read_storage(const struct search *search, const char *runtime)
{
	static const char *const drivers[] = { "overlay", "vfs", "btrfs", "zfs" };
	char run[PATH_MAX];
	struct storage storages[] = {
		{ "/run/containers/storage", "" },
		{ "/var/lib/containers/storage", "" },
	};
	int err, found = -ENOENT;

	if (!is_system(search)) {
		if (!print_path(run, "/run/user/%u", search->user))
			return -ENOENT;
		storages[0] = (struct storage){ run, "containers/" };
		storages[1] = (struct storage){ search->home, ".local/share/containers/storage/" };
	}
	for (size_t i = 0; i < sizeof(drivers) / sizeof(*drivers) && found == -ENOENT; i++) {
		for (size_t j = 0; j < sizeof(storages) / sizeof(*storages); j++) {
			err = read_stored(search, &storages[j], drivers[i]);
			if (err == -EXDEV)
				return err;
			if (!err)
				found = 0;
		}
	}
	if (!found && runtime)
		runstate_set(&search->details->runtime, runtime, strlen(runtime));
	return found;
}

/*
 * LXD and Incus name their containers' cgroups as LXC does; each has a folder, or a link to
 * one, for each. A name that two of them have is one's, and nothing says whose.
 */
static int read_lxc(const struct search *search)
{
	static const struct {
		const char *runtime, *base, *file;
	} places[] = {
		{ "lxc", "/var/lib/lxc", "/config" },
		{ "lxd", "/var/snap/lxd/common/lxd/containers", "" },
		{ "lxd", "/var/lib/lxd/containers", "" },
		{ "incus", "/var/lib/incus/containers", "" },
	};
	const char *runtime = NULL;
	bool several = false;
	char name[PATH_MAX];

	if (!is_system(search)) {
		if (print_path(name, ".local/share/lxc/%s/config", search->id) &&
		    exists(search, search->home, name))
			runtime = "lxc";
	}
	for (size_t i = 0; is_system(search) && i < sizeof(places) / sizeof(*places); i++) {
		if (!print_path(name, "%s%s", search->id, places[i].file) ||
		    !exists(search, places[i].base, name))
			continue;
		several |= runtime && strcmp(runtime, places[i].runtime) != 0;
		runtime = places[i].runtime;
	}
	if (!runtime)
		return -ENOENT;
	search->details->backed = true;
	runstate_set(&search->details->name, search->id, strlen(search->id));
	if (!several)
		runstate_set(&search->details->runtime, runtime, strlen(runtime));
	return 0;
}

/* systemd: src/machine/machine.c. libvirt names a machine after its driver, too. */
static int read_machine(const struct search *search, const char *runtime)
{
	bool is_libvirt = strcmp(runtime, "libvirt-lxc") == 0;
	char name[PATH_MAX];
	int err;

	if (!is_system(search) || !print_path(name, "%s%s", is_libvirt ? "lxc-" : "", search->id))
		return -ENOENT;
	err = read_own(search, RUNSTATE_MACHINE, runtime, "/run/systemd/machines", name);
	if (!err)
		runstate_set(&search->details->name, search->id, strlen(search->id));
	if (search->details->virtual_machine)
		search->details->backed = false;
	return err;
}

/* Where runtimes keep what is gone after a reboot. */
static bool print_run(const struct search *search, char path[PATH_MAX])
{
	if (is_system(search))
		return print_path(path, "/run");
	return print_path(path, "/run/user/%u", search->user);
}

/* crun(1) and runc(8), --root. */
static int read_oci(const struct search *search, const char *runtime)
{
	bool is_crun = strcmp(runtime, "crun") == 0;
	char run[PATH_MAX], name[PATH_MAX];
	int err;

	if (!print_run(search, run) ||
	    !print_path(name, "%s/%s/%s", runtime, search->id, is_crun ? "status" : "state.json"))
		return -ENOENT;
	err = read_own(search, is_crun ? RUNSTATE_CRUN : RUNSTATE_RUNC, runtime, run, name);
	if (!err)
		runstate_set(&search->details->id, search->id, strlen(search->id));
	return err;
}

/* The path does not tell which: all that have ids of 64 digits. Docker's are containerd's, too. */
static int read_any(const struct search *search)
{
	int err = read_docker(search);

	if (err == -ENOENT)
		err = read_containerd(search);
	if (err == -ENOENT)
		err = read_storage(search, NULL);
	return err;
}

static int read_runtime(const struct search *search, const char *runtime)
{
	if (!runtime)
		return read_any(search);
	if (strcmp(runtime, "docker") == 0)
		return read_docker(search);
	if (strcmp(runtime, "containerd") == 0)
		return read_containerd(search);
	if (strcmp(runtime, "podman") == 0 || strcmp(runtime, "cri-o") == 0)
		return read_storage(search, runtime);
	if (strcmp(runtime, "lxc") == 0)
		return read_lxc(search);
	if (strcmp(runtime, "systemd-nspawn") == 0 || strcmp(runtime, "libvirt-lxc") == 0)
		return read_machine(search, runtime);
	if (strcmp(runtime, "crun") == 0 || strcmp(runtime, "runc") == 0)
		return read_oci(search, runtime);
	return -ENOENT; /* keeps nothing in files that are known here */
}

/* ---- the two questions */

static void begin(struct search *search, const char *root, const char *cgroup, off_t *left,
		  struct runtime_details *details)
{
	*details = (struct runtime_details){ 0 };
	*left = CALL_MAX_BYTES;
	*search = (struct search){
		.root = root,
		.cgroup = cgroup,
		.user = user_of(cgroup),
		.left = left,
		.details = details,
	};
	find_home(search);
}

int runtime_read(const char *root, const char *cgroup, const struct container_match *match,
		 struct runtime_details *details)
{
	char id[CONTAINER_ID_MAX + 1];
	struct search search;
	off_t left;

	begin(&search, root, cgroup, &left, details);
	container_id(match, id);
	search.id = id;
	if (match->nested || !is_name(id) || read_runtime(&search, match->runtime)) {
		runtime_details_free(details);
		return -ENOENT;
	}
	return 0;
}

/* Of those whose cgroup this one is in, the one that is nearest. */
static void keep_nearest(const struct search *search, struct runtime_details *found)
{
	if (found->cgroup_len <= search->details->cgroup_len) {
		runtime_details_free(found);
		return;
	}
	runtime_details_free(search->details);
	*search->details = *found;
}

/* ctr and others name a cgroup after a namespace and an id: containerd, oci/spec.go. */
static void find_in_containerd(const struct search *search)
{
	char namespace[CONTAINER_ID_MAX + 1], id[CONTAINER_ID_MAX + 1];
	struct search its = *search;
	struct runtime_details found = { 0 };

	if (sscanf(search->cgroup, "/%128[^/]/%128[^/]", namespace, id) != 2 ||
	    !is_name(namespace) || !is_name(id))
		return;
	its.id = id;
	its.details = &found;
	for (size_t i = 0; i < sizeof(containerds) / sizeof(*containerds); i++)
		if (!read_bundle(&its, containerds[i], namespace))
			break;
	runstate_set(&found.runtime, "containerd", strlen("containerd"));
	runstate_set(&found.id, id, strlen(id));
	keep_nearest(search, &found);
}

/* Wherever --cgroup-parent and its like have put it. */
static void find_hex_ids(const struct search *search)
{
	char id[CONTAINER_ID_MAX + 1];
	struct search its = *search;
	size_t len;

	its.id = id;
	for (const char *at = search->cgroup; *at == '/'; at += len) {
		struct runtime_details found = { 0 };

		len = strcspn(++at, "/");
		if (!container_is_hex_id(at, len))
			continue;
		memcpy(id, at, len);
		id[len] = 0;
		its.details = &found;
		read_any(&its);
		runstate_set(&found.id, id, len);
		keep_nearest(search, &found);
	}
}

static int find_oci(const struct search *search, const char *runtime, const char *id)
{
	struct runtime_details found = { 0 };
	struct search its = *search;

	its.id = id;
	its.details = &found;
	read_oci(&its, runtime);
	keep_nearest(search, &found);
	return -ENOENT; /* go on: another one may be nearer */
}

static int find_crun(const struct search *search, const char *base, const char *name)
{
	(void)base;
	return find_oci(search, "crun", name);
}

static int find_runc(const struct search *search, const char *base, const char *name)
{
	(void)base;
	return find_oci(search, "runc", name);
}

static void find_all(const struct search *search)
{
	char run[PATH_MAX];

	find_hex_ids(search);
	if (!print_run(search, run))
		return;
	for_each(search, run, "crun", ENTRIES_MAX, find_crun);
	for_each(search, run, "runc", ENTRIES_MAX, find_runc);
}

int runtime_find_by_cgroup(const char *root, const char *cgroup, struct runtime_details *details)
{
	struct search search;
	off_t left;
	uid_t user;

	begin(&search, root, cgroup, &left, details);
	user = search.user;
	/* root's state counts everywhere, since it must name this cgroup. */
	search.user = 0;
	find_in_containerd(&search);
	find_all(&search);
	if (user) {
		search.user = user;
		find_all(&search);
	}
	if (details->backed)
		return 0;
	runtime_details_free(details);
	return -ENOENT;
}
