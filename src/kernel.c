// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The running kernel as user space sees it. Must not load anything into it. */
#include "kernel.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "names.h"

/* include/uapi/linux/nsfs.h, 6.11 and 6.18; older headers lack them. */
#define NSMON_NS_GET_MNTNS_ID _IOR(0xb7, 0x5, uint64_t)
#define NSMON_NS_GET_ID _IOR(0xb7, 13, uint64_t)

/* One that cannot be read is taken to be new. */
static bool release_is_before(const char *release, int major, int minor)
{
	int its_major, its_minor;

	if (sscanf(release, "%d.%d", &its_major, &its_minor) != 2)
		return false;
	return its_major < major || (its_major == major && its_minor < minor);
}

bool kernel_release_supported(const char *release)
{
	return !release_is_before(release, KERNEL_OLDEST_MAJOR, KERNEL_OLDEST_MINOR);
}

static void read_boot_id(char *boot_id, size_t size)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	boot_id[0] = 0;
	if (!file)
		return;
	if (fgets(boot_id, (int)size, file))
		boot_id[strcspn(boot_id, "\n")] = 0;
	fclose(file);
}

enum kernel_ids kernel_ns_id(int fd, uint64_t *id)
{
	if (ioctl(fd, NSMON_NS_GET_ID, id) == 0)
		return KERNEL_IDS_ALL;
	if (ioctl(fd, NSMON_NS_GET_MNTNS_ID, id) == 0)
		return KERNEL_IDS_MNT;
	*id = 0;
	return KERNEL_IDS_NONE;
}

static enum kernel_ids find_ids(void)
{
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	enum kernel_ids ids = KERNEL_IDS_NONE;
	uint64_t id;

	if (fd < 0)
		return ids;
	ids = kernel_ns_id(fd, &id);
	close(fd);
	return ids;
}

/* Capabilities in a user namespace are none to the kernel. All ids are mapped in the initial one. */
static bool in_user_namespace(void)
{
	FILE *file = fopen("/proc/self/uid_map", "re");
	unsigned int inside = 0, outside = 0, count = UINT32_MAX;

	if (!file)
		return false;
	if (fscanf(file, "%u %u %u", &inside, &outside, &count) != 3)
		inside = 1; /* nothing is mapped yet */
	fclose(file);
	return inside || outside || count != UINT32_MAX;
}

bool kernel_mode_preempts(const char *modes)
{
	const char *mode = strchr(modes, '(');

	return !mode || (strncmp(mode, "(none)", 6) != 0 && strncmp(mode, "(voluntary)", 11) != 0);
}

/*
 * Preemption can be chosen when the kernel boots (kernel/sched/debug.c: "none
 * (voluntary) full", who is root may see it); where nobody tells, it may be on.
 */
static bool mode_preempts(void)
{
	FILE *file = fopen("/sys/kernel/debug/sched/preempt", "re");
	char modes[64] = "";

	if (!file)
		return true;
	if (!fgets(modes, sizeof(modes), file))
		modes[0] = 0;
	fclose(file);
	return kernel_mode_preempts(modes);
}

/*
 * uname(2) says how the kernel was built: "#1 SMP PREEMPT_DYNAMIC ...".
 * Trampolines only keep a program on its CPU; tracepoints kept it from being
 * preempted on 6.18, and do not on 7.3. A kprobe is not run while a task on its CPU is
 * inside bpf(2), which since 5.11 may be preempted; 6.7 began to count that
 * (kernel/trace/bpf_trace.c:trace_call_bpf()).
 */
static void find_preemption(struct kernel *kernel)
{
	kernel->built_preemptible = strstr(kernel->uname.version, "PREEMPT");
	kernel->preempts_trampolines = kernel->built_preemptible && mode_preempts();
	kernel->preempts_tracepoints =
		kernel->preempts_trampolines && !release_is_before(kernel->uname.release, 7, 0);
	kernel->skips_kprobes_unseen = kernel->preempts_trampolines &&
				       release_is_before(kernel->uname.release, 6, 7) &&
				       !release_is_before(kernel->uname.release, 5, 11);
}

static bool have_capability(unsigned int capability)
{
	return capng_have_capability(CAPNG_EFFECTIVE, capability) ||
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}

int kernel_read(struct kernel *kernel)
{
	char path[64];

	*kernel = (struct kernel){ 0 };
	uname(&kernel->uname);
	read_boot_id(kernel->boot_id, sizeof(kernel->boot_id));
	for (int i = 0; i < NSMON_NS_TYPES; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_type_names[i]);
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			kernel->ns_present |= 1U << i;
	}
	kernel->ids = find_ids();
	kernel->counts_memlock = release_is_before(kernel->uname.release, 5, 11);
	kernel->may_hide_call_end = release_is_before(kernel->uname.release, 6, 1);
	kernel->may_close_bpf = release_is_before(kernel->uname.release, 5, 19);
	find_preemption(kernel);
	hierarchy_find(&kernel->hierarchy);
	capng_get_caps_process();
	kernel->cap_bpf = have_capability(CAP_BPF) && !in_user_namespace();
	kernel->cap_perfmon = have_capability(CAP_PERFMON) && !in_user_namespace();
	return kernel->ns_present ? 0 : -ENOENT;
}

static int libbpf_message(enum libbpf_print_level level, const char *format, va_list args)
{
	char message[4096], *at = message, *line;

	if (log_get_level() < LOG_LEVEL_DEBUG + (level == LIBBPF_DEBUG ? 1 : 0))
		return 0;
	vsnprintf(message, sizeof(message), format, args);
	while ((line = strsep(&at, "\n")))
		if (*line)
			log_debug("%s", line);
	return 0;
}

void kernel_log_libbpf(void)
{
	libbpf_set_print(libbpf_message);
}

struct btf *kernel_load_btf(const char *path)
{
	struct btf *btf = path ? btf__parse(path, NULL) : btf__load_vmlinux_btf();

	if (btf && btf__find_by_name_kind(btf, "task_struct", BTF_KIND_STRUCT) < 0) {
		btf__free(btf);
		errno = ENODATA;
		return NULL;
	}
	return btf;
}

void kernel_btf_error(const char *path, int error, char *message, size_t size)
{
	if (path && access(path, R_OK))
		snprintf(message, size, "%s", strerror(errno));
	else if (!path && error == ESRCH)
		snprintf(message, size, "it is not there, nor a vmlinux of this kernel in /boot");
	else if (error == ENODATA)
		snprintf(message, size, "it has BTF, but not of a kernel");
	else if (error == ENOENT || error == EPROTO || error == LIBBPF_ERRNO__FORMAT)
		snprintf(message, size, "it has no BTF");
	else
		libbpf_strerror(error, message, size);
}

bool kernel_has_function(const struct btf *btf, const char *name)
{
	return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
}

int kernel_tracepoint_args(const struct btf *btf, const char *tracepoint)
{
	char name[80];
	const struct btf_type *type;
	int id;

	/* include/trace/bpf_probe.h: a typedef of a pointer to the probe's prototype. */
	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return -1;
	type = btf__type_by_id(btf, btf__type_by_id(btf, (__u32)id)->type);
	if (!type || !btf_is_ptr(type))
		return -1;
	type = btf__type_by_id(btf, type->type);
	if (!type || !btf_is_func_proto(type))
		return -1;
	return btf_vlen(type) - 1; /* without the probe's own data */
}

static int offset_in(const struct btf *btf, const struct btf_type *type, const char *name)
{
	const struct btf_member *members = btf_members(type);

	for (int i = 0; i < btf_vlen(type); i++) {
		const char *its = btf__name_by_offset(btf, members[i].name_off);
		const struct btf_type *inner = btf__type_by_id(btf, members[i].type);
		int bytes = (int)(btf_member_bit_offset(type, (__u32)i) / 8), within;

		if (its && strcmp(its, name) == 0)
			return bytes;
		if (!its || *its || !inner || !btf_is_composite(inner))
			continue;
		within = offset_in(btf, inner, name);
		if (within >= 0)
			return bytes + within;
	}
	return -ENOENT;
}

int kernel_member_offset(const struct btf *btf, const char *structure, const char *name)
{
	int id = btf__find_by_name_kind(btf, structure, BTF_KIND_STRUCT);

	return id < 0 ? -ENOENT : offset_in(btf, btf__type_by_id(btf, (__u32)id), name);
}
