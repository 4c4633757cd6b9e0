// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cheap ways to a kernel's no. What is not refused here is loaded and attached
 * all the same before anybody counts on it: a no saves that, a yes claims nothing.
 */
#include "trial.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KPROBE_TYPE_PATH "/sys/bus/event_source/devices/kprobe/type"

static int try_trampoline(const struct btf *kernel, const char *function, bool attach)
{
	const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int id = btf__find_by_name_kind(kernel, function, BTF_KIND_FUNC);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_FENTRY,
		    .attach_btf_id = (__u32)id);
	int fd, link, err = 0;

	if (id < 0)
		return 0;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "trial", "GPL", nothing,
			   sizeof(nothing) / sizeof(*nothing), &opts);
	if (fd < 0)
		return -errno;
	if (attach) {
		link = bpf_raw_tracepoint_open(NULL, fd);
		if (link < 0)
			err = -errno;
		else
			close(link);
	}
	close(fd);
	return err;
}

int trial_trampoline(const struct btf *kernel, const char *function)
{
	return try_trampoline(kernel, function, false);
}

int trial_trampoline_at(const struct btf *kernel, const char *function)
{
	return try_trampoline(kernel, function, true);
}

/* By perf_event_open(2), or by the files of tracefs; each comes with CONFIG_KPROBE_EVENTS. */
int trial_kprobe(void)
{
	static const char *const ways[] = {
		KPROBE_TYPE_PATH,
		"/sys/kernel/tracing/kprobe_events",
		"/sys/kernel/debug/tracing/kprobe_events",
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (access(ways[i], F_OK) == 0 || errno != ENOENT)
			return 0;
	return -ENOENT;
}

int trial_kprobe_at(const char *function)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .kprobe_func = (uintptr_t)function };
	FILE *file = fopen(KPROBE_TYPE_PATH, "re");
	int fd, found;

	if (!file)
		return 0;
	found = fscanf(file, "%u", &attr.type);
	fclose(file);
	if (found != 1)
		return 0;
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}
