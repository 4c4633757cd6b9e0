// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Asks the kernel for namespaces. Must not know what becomes of them. */
#include "persistent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel.h"
#include "names.h"

/* include/uapi/asm-generic/unistd.h, include/uapi/linux/nsfs.h */
#define SYS_LISTNS 470

struct ns_id_req {
	uint32_t size;
	uint32_t spare;
	uint64_t ns_id; /* those after this one */
	uint32_t ns_type; /* CLONE_NEW* */
	uint32_t spare2;
	uint64_t user_ns_id; /* 0: of all owners */
};

/* include/uapi/linux/fcntl.h, include/uapi/linux/nsfs.h, include/linux/exportfs.h */
#define NSFS_ROOT (-10003)
#define NSFS_HANDLE_TYPE 0xf1

struct nsfs_handle {
	uint32_t handle_bytes; /* of what follows the type */
	int32_t handle_type;
	uint64_t ns_id;
	uint32_t ns_type; /* 0: any */
	uint32_t ns_inum; /* 0: any */
};

/* CLONE_NEW* of include/uapi/linux/sched.h. */
static const struct {
	enum nsmon_ns_type type;
	uint32_t flag;
} types[] = {
	{ NSMON_NS_MNT, 0x00020000 },	 { NSMON_NS_UTS, 0x04000000 },
	{ NSMON_NS_IPC, 0x08000000 },	 { NSMON_NS_NET, 0x40000000 },
	{ NSMON_NS_PID, 0x20000000 },	 { NSMON_NS_USER, 0x10000000 },
	{ NSMON_NS_CGROUP, 0x02000000 }, { NSMON_NS_TIME, 0x00000080 },
};

/* The field that begins at line, which moves on to the next one; NULL at the end. */
static const char *next_field(const char **line, size_t *len)
{
	const char *field = *line;

	if (!*field)
		return NULL;
	*len = strcspn(field, " ");
	*line = field + *len + (field[*len] != 0);
	return field;
}

/* Blanks, newlines and backslashes are three octal digits there. */
static void unescape(char path[PATH_MAX], const char *field, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < PATH_MAX - 1; i++) {
		unsigned int code;

		if (field[i] == '\\' && len - i >= 4 && sscanf(field + i + 1, "%3o", &code) == 1) {
			path[n++] = (char)code;
			i += 3;
		} else {
			path[n++] = field[i];
		}
	}
	path[n] = 0;
}

/* As in "net:[4026532142]". */
static int parse_root(const char *field, size_t len, struct persistent *found)
{
	const char *colon = memchr(field, ':', len);
	unsigned long inum;
	char *end;
	int type;

	if (!colon || colon[1] != '[')
		return 0;
	type = name_index(ns_type_names, NSMON_NS_TYPES, field, (size_t)(colon - field));
	inum = strtoul(colon + 2, &end, 10);
	if (type < 0 || *end != ']' || end + 1 != field + len || inum == 0 || inum > UINT32_MAX)
		return 0;
	found->type = (enum nsmon_ns_type)type;
	found->inum = (uint32_t)inum;
	found->id = 0;
	return 1;
}

int persistent_parse_mount(const char *line, struct persistent *found, char path[PATH_MAX])
{
	/* id, parent, device, root, mount point, options, ... - type */
	const char *root = NULL, *point = NULL, *field;
	size_t root_len = 0, point_len = 0, len = 0;

	for (int i = 0; (field = next_field(&line, &len)); i++) {
		if (i == 3) {
			root = field;
			root_len = len;
		} else if (i == 4) {
			point = field;
			point_len = len;
		} else if (i > 5 && len == 1 && *field == '-') {
			break;
		}
	}
	field = field ? next_field(&line, &len) : NULL;
	if (!field || len != 4 || memcmp(field, "nsfs", 4) != 0 || !root || !point)
		return 0;
	unescape(path, point, point_len);
	found->path = path;
	return parse_root(root, root_len, found);
}

/*
 * Its id, where the kernel tells: all of them, or those of mount namespaces. Something
 * else may be mounted over it, a device perhaps, which must not be opened.
 */
static uint64_t id_of(uint32_t pid, const char *path, uint32_t inum)
{
	char name[PATH_MAX + 32];
	struct statfs fs;
	struct stat st;
	uint64_t id = 0;
	int at, fd;

	if (pid)
		snprintf(name, sizeof(name), "/proc/%u/root%s", pid, path);
	else
		snprintf(name, sizeof(name), "%s", path);
	at = open(name, O_PATH | O_CLOEXEC);
	if (at < 0)
		return 0;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", at);
	if (fstatfs(at, &fs) == 0 && fs.f_type == NSFS_MAGIC && fstat(at, &st) == 0 &&
	    st.st_ino == inum) {
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			kernel_ns_id(fd, &id);
			close(fd);
		}
	}
	close(at);
	return id;
}

void persistent_mounted(uint32_t pid, persistent_fn function, void *context)
{
	char name[40] = "/proc/self/mountinfo", path[PATH_MAX];
	struct persistent found;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	FILE *file;

	if (pid)
		snprintf(name, sizeof(name), "/proc/%u/mountinfo", pid);
	file = fopen(name, "re");
	if (!file)
		return;
	while ((len = getline(&line, &size, file)) > 0) {
		line[len - 1] = 0;
		if (!persistent_parse_mount(line, &found, path))
			continue;
		found.id = id_of(pid, path, found.inum);
		function(context, &found);
	}
	free(line);
	fclose(file);
}

/* Its inode number; 0 where it is gone. */
static uint32_t inum_of(uint64_t id)
{
	struct nsfs_handle handle = {
		.handle_bytes = sizeof(handle) - offsetof(struct nsfs_handle, ns_id),
		.handle_type = NSFS_HANDLE_TYPE,
		.ns_id = id,
	};
	int fd = (int)syscall(SYS_open_by_handle_at, NSFS_ROOT, &handle, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int err;

	if (fd < 0)
		return 0;
	err = fstat(fd, &st);
	close(fd);
	return err ? 0 : (uint32_t)st.st_ino;
}

int persistent_listed(persistent_fn function, void *context)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct ns_id_req request = { .size = sizeof(request), .ns_type = types[i].flag };
		uint64_t ids[256];
		long n;

		do {
			n = syscall(SYS_LISTNS, &request, ids, sizeof(ids) / sizeof(*ids), 0);
			if (n < 0)
				return -errno;
			for (long j = 0; j < n; j++) {
				struct persistent found = { .type = types[i].type,
							    .id = ids[j],
							    .inum = inum_of(ids[j]) };

				if (found.inum)
					function(context, &found);
				request.ns_id = ids[j];
			}
		} while (n == (long)(sizeof(ids) / sizeof(*ids)));
	}
	return 0;
}
