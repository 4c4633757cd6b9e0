/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the running kernel is and has, found out from user space. Knows no BPF program. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/utsname.h>

#include "hierarchy.h"
#include "nsmon.h"

struct btf;

/* The first kernel with the ring buffer, BTF tracepoints and task iterators. */
#define KERNEL_OLDEST_MAJOR 5
#define KERNEL_OLDEST_MINOR 8

#define KERNEL_BTF_PATH "/sys/kernel/btf/vmlinux"

enum kernel_ids {
	KERNEL_IDS_NONE,
	KERNEL_IDS_MNT, /* ioctl NS_GET_MNTNS_ID: mount namespaces alone */
	KERNEL_IDS_ALL, /* ioctl NS_GET_ID */
};

struct kernel {
	struct utsname uname;
	char boot_id[40]; /* empty where it cannot be read */
	uint32_t ns_present; /* bit per enum nsmon_ns_type */
	enum kernel_ids ids;
	bool counts_memlock; /* BPF memory counts against RLIMIT_MEMLOCK: before 5.11 */
	/*
	 * May each call of bpf(2) come to need CAP_BPF, by kernel.unprivileged_bpf_disabled?
	 * Before 5.19: "bpf: refine kernel.unprivileged_bpf_disabled behaviour".
	 */
	bool may_close_bpf;
	/*
	 * May a BPF program be preempted there, so that the kernel skips it for
	 * the next task? Counted as possible where it was seen to be.
	 */
	bool built_preemptible; /* the mode may be changed while nsmon runs */
	bool preempts_tracepoints;
	bool preempts_trampolines;
	bool skips_kprobes_unseen;
	bool may_hide_call_end; /* kernel/events/core.c cannot be traced: 5.10, not 6.1 */
	struct hierarchy hierarchy; /* of cgroups */
	bool cap_bpf; /* or CAP_SYS_ADMIN */
	bool cap_perfmon; /* or CAP_SYS_ADMIN */
};

/*
 * Does the kernel preempt itself, by what /sys/kernel/debug/sched/preempt says?
 * What cannot be read is taken for yes.
 */
bool kernel_mode_preempts(const char *modes);

/* Returns 0, or a negative errno where /proc/self/ns cannot be read. */
int kernel_read(struct kernel *kernel);

/*
 * The id of the namespace that fd is of, 0 where this kernel tells none; returns
 * which of the ioctls it was (ioctl_nsfs(2)): those of mount namespaces came first.
 */
enum kernel_ids kernel_ns_id(int fd, uint64_t *id);

/* Is a release as of uname(2) new enough? One that cannot be read is taken to be. */
bool kernel_release_supported(const char *release);

/*
 * The kernel's BTF, from path or, where that is NULL, from where libbpf looks.
 * The caller frees it with btf__free(). NULL on failure, with errno set to one
 * of errno's or of libbpf's own numbers: ENODATA where it is BTF, but no kernel's.
 */
struct btf *kernel_load_btf(const char *path);

/* From now on libbpf's messages are debugging messages of the log. */
void kernel_log_libbpf(void);

/* Why kernel_load_btf() failed, in words. */
void kernel_btf_error(const char *path, int error, char *message, size_t size);

/* Does the BTF have a function of this name? */
bool kernel_has_function(const struct btf *btf, const char *name);

/* Number of arguments of a tracepoint; -1 when it is not in the BTF. */
int kernel_tracepoint_args(const struct btf *btf, const char *tracepoint);

/*
 * Where in a structure a member is, in bytes, or a member of an unnamed member;
 * -ENOENT where the BTF has no such structure or member.
 */
int kernel_member_offset(const struct btf *btf, const char *structure, const char *name);

#endif
