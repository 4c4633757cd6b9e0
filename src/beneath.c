// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* openat2(2), and the same without it. Must not know what the files are. */
#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* include/uapi/linux/stat.h, 5.8 */
#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

/* Without asking the file system; 0 where it cannot be told. */
static uint64_t mount_of(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st))
		return 0;
	return st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
}

/* One component further; closes dir. Returns a descriptor of O_PATH, or a negative errno. */
static int step(int dir, const char *name, size_t len, uint64_t mount)
{
	char part[NAME_MAX + 1];
	int fd = -EXDEV;

	if (len > NAME_MAX) {
		fd = -ENAMETOOLONG;
	} else if (len != 2 || memcmp(name, "..", 2) != 0) {
		memcpy(part, name, len);
		part[len] = 0;
		fd = openat(dir, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	close(dir);
	if (fd >= 0 && mount && mount_of(fd) != mount) {
		close(fd);
		return -EXDEV;
	}
	return fd;
}

/* A link that is the last component is opened by O_PATH alone; others are ENOTDIR to what follows. */
static int walk(int dir, const char *name, int flags, bool one_mount)
{
	uint64_t mount = one_mount ? mount_of(dir) : 0;
	int at = fcntl(dir, F_DUPFD_CLOEXEC, 0), fd;
	char path[40];

	if (at < 0)
		return -errno;
	if (*name == '/' || !*name || (one_mount && !mount)) {
		close(at);
		return -EXDEV;
	}
	for (size_t len; at >= 0 && *name; name += len + strspn(name + len, "/")) {
		len = strcspn(name, "/");
		at = step(at, name, len, mount);
	}
	if (at < 0 || flags & O_PATH)
		return at;
	/* What was looked at, and nothing that has come in its place. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
	fd = open(path, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(at);
	return fd;
}

int beneath_open(int dir, const char *name, int flags, bool one_mount)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   (one_mount ? RESOLVE_NO_XDEV : 0),
	};
	int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));

	if (fd >= 0)
		return fd;
	/* A filter of system calls cannot see what is asked: systemd's RestrictSUIDSGID= refuses all of it. */
	return errno == ENOSYS || errno == EPERM ? walk(dir, name, flags, one_mount) : -errno;
}
