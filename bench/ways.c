// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * ways [ROUNDS]: what it costs getppid(), which none of them is about, that a program looks at
 * unshare() and setns() in each of the ways that do without trampolines and kprobes. The programs
 * are empty: this is what the kernel asks for calling them. One line of JSON for each way:
 *
 *   {"way":"raw_tp sys_enter and sys_exit","ns":312.5,"more_ns":110.2,"low_ns":108.0,"high_ns":113.9}
 *
 * ns is the median of a call; more_ns that of the difference to the call without any program in the
 * same round, with its quartiles; "error" in place of the numbers where the kernel refuses. tracefs
 * is expected to be mounted. Knows nothing of nsmon.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))
#define CALLS 50000
#define ROUNDS_MAX 1000
#define HOOKS 6

enum kind { NOTHING, RAW, TYPED, CALL };

struct hook {
	enum kind kind;
	const char *name; /* of the tracepoint */
};

static const struct {
	const char *name;
	struct hook hooks[HOOKS];
} ways[] = {
	{ "nothing", { { NOTHING, NULL } } },
	{ "raw_tp sys_exit", { { RAW, "sys_exit" } } },
	{ "raw_tp sys_enter and sys_exit", { { RAW, "sys_enter" }, { RAW, "sys_exit" } } },
	{ "tp_btf sys_exit", { { TYPED, "sys_exit" } } },
	{ "tp_btf sys_enter and sys_exit", { { TYPED, "sys_enter" }, { TYPED, "sys_exit" } } },
	{ "tracepoints of the calls, native callers only",
	  { { CALL, "sys_enter_unshare" },
	    { CALL, "sys_exit_unshare" },
	    { CALL, "sys_enter_setns" },
	    { CALL, "sys_exit_setns" } } },
	{ "the same, and raw_tp for ia32 callers",
	  { { CALL, "sys_enter_unshare" },
	    { CALL, "sys_exit_unshare" },
	    { CALL, "sys_enter_setns" },
	    { CALL, "sys_exit_setns" },
	    { RAW, "sys_enter" },
	    { RAW, "sys_exit" } } },
};

#define WAYS ARRAY_SIZE(ways)

static int load(enum bpf_prog_type type, __u32 btf_id)
{
	const struct bpf_insn empty[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .attach_btf_id = btf_id,
		    .expected_attach_type = btf_id ? BPF_TRACE_RAW_TP : 0);

	return bpf_prog_load(type, "empty", "GPL", empty, ARRAY_SIZE(empty), &opts);
}

static int attach_typed(const struct btf *btf, const char *tracepoint)
{
	char name[64];
	int id, fd;

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return id;
	fd = load(BPF_PROG_TYPE_TRACING, (__u32)id);
	return fd < 0 ? fd : bpf_raw_tracepoint_open(NULL, fd);
}

/* include/uapi/linux/perf_event.h: a program runs on every CPU, whichever the event is opened on. */
static int attach_call(const char *call)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT,
					.size = sizeof(attr),
					.sample_period = 1 };
	char path[128];
	FILE *file;
	int fd, program;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/syscalls/%s/id", call);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	if (fscanf(file, "%llu", &attr.config) != 1) {
		fclose(file);
		return -EINVAL;
	}
	fclose(file);
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	program = load(BPF_PROG_TYPE_TRACEPOINT, 0);
	if (program < 0)
		return program;
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, program) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		return -errno;
	close(program);
	return fd;
}

static int attach(const struct btf *btf, const struct hook *hook)
{
	if (hook->kind == RAW)
		return bpf_raw_tracepoint_open(hook->name, load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0));
	if (hook->kind == TYPED)
		return attach_typed(btf, hook->name);
	return attach_call(hook->name);
}

/* The programs stay in the kernel until the process ends, unattached: they are a page each. */
static void detach(const int *fds, size_t count)
{
	while (count)
		close(fds[--count]);
}

static double call_ns(void)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
	       CALLS;
}

/* Returns 0 or a negative errno. */
static int measure(const struct btf *btf, size_t way, double *ns)
{
	int fds[HOOKS];
	size_t count = 0;

	for (; count < HOOKS && ways[way].hooks[count].kind != NOTHING; count++) {
		fds[count] = attach(btf, &ways[way].hooks[count]);
		if (fds[count] < 0) {
			int err = errno ? -errno : fds[count];

			detach(fds, count);
			return err;
		}
	}
	*ns = call_ns();
	detach(fds, count);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
	static double ns[WAYS][ROUNDS_MAX], more[WAYS][ROUNDS_MAX];
	int rounds = argc > 1 ? atoi(argv[1]) : 15, errors[WAYS] = { 0 };
	struct btf *btf = btf__load_vmlinux_btf();

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "ways: '%s': it is 1 to %d rounds\n", argv[1], ROUNDS_MAX);
		return 2;
	}
	if (!btf) {
		fprintf(stderr, "ways: cannot read the kernel's BTF: %s\n", strerror(errno));
		return 1;
	}
	for (int round = 0; round < rounds; round++) {
		for (size_t way = 0; way < WAYS; way++) {
			errors[way] =
				errors[way] ? errors[way] : measure(btf, way, &ns[way][round]);
			more[way][round] = ns[way][round] - ns[0][round];
		}
	}
	for (size_t way = 0; way < WAYS; way++) {
		const size_t n = (size_t)rounds;

		if (errors[way]) {
			printf("{\"way\":\"%s\",\"error\":\"%s\"}\n", ways[way].name,
			       strerror(-errors[way]));
			continue;
		}
		qsort(ns[way], n, sizeof(double), compare);
		qsort(more[way], n, sizeof(double), compare);
		printf("{\"way\":\"%s\",\"ns\":%.1f,\"more_ns\":%.1f,\"low_ns\":%.1f,\"high_ns\":%."
		       "1f}\n",
		       ways[way].name, ns[way][n / 2], more[way][n / 2], more[way][n / 4],
		       more[way][n * 3 / 4]);
	}
	btf__free(btf);
	return 0;
}
