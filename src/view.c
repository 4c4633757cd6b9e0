// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A program of a few instructions, run once. What it finds is a constant to the
 * others: most of what they would do in another pid namespace is not even verified.
 */
#include "view.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "kernel.h"

#define INSN(op, dst, src, at, value)                                                              \
	{                                                                                          \
		.code = (op), .dst_reg = (dst), .src_reg = (src), .off = (at), .imm = (value)      \
	}
#define MOVE(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define SET(dst, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define ADD(dst, value) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value)
#define LOAD(size, dst, src, at) INSN(BPF_LDX | (size) | BPF_MEM, dst, src, at, 0)
#define CALL(helper) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* r3 points to it: size bytes at -8 of the stack. */
#define PROBE_READ(size)                                                                           \
	MOVE(BPF_REG_1, BPF_REG_10), ADD(BPF_REG_1, -8), SET(BPF_REG_2, size),                     \
		CALL(BPF_FUNC_probe_read_kernel)

int view_find_level(const struct btf *kernel, uint32_t *level)
{
	int thread_pid = kernel_member_offset(kernel, "task_struct", "thread_pid");
	int its_level = kernel_member_offset(kernel, "pid", "level");
	/* current->thread_pid->level */
	const struct bpf_insn insns[] = {
		CALL(BPF_FUNC_get_current_task),
		MOVE(BPF_REG_3, BPF_REG_0),
		ADD(BPF_REG_3, thread_pid),
		PROBE_READ(8),
		LOAD(BPF_DW, BPF_REG_3, BPF_REG_10, -8),
		ADD(BPF_REG_3, its_level),
		PROBE_READ(4),
		LOAD(BPF_W, BPF_REG_0, BPF_REG_10, -8),
		EXIT,
	};
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int fd, err;

	if (thread_pid < 0 || its_level < 0)
		return -ENOENT;
	fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "view", "Dual BSD/GPL", insns,
			   sizeof(insns) / sizeof(*insns), NULL);
	if (fd < 0)
		return -errno;
	err = bpf_prog_test_run_opts(fd, &run);
	close(fd);
	*level = run.retval;
	return err;
}
