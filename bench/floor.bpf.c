// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the kernel asks for where there are neither trampolines nor kprobes: programs on the hooks of nsmon's backend
 * tracepoint, which do nothing, or no more than hand over a record of nsmon's size that nobody has filled in, or that
 * is filled with whatever bytes there are.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#include "nsmon.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

const volatile bool with_records, filled;
const volatile int unshare_nr, setns_nr;
__u64 lost;

static __always_inline void hand_over(const __u64 size)
{
	void *record = with_records ? bpf_ringbuf_reserve(&ring, size, 0) : NULL;

	if (record && filled)
		bpf_probe_read_kernel(record, size, (void *)bpf_get_current_task());
	if (record)
		bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	else if (with_records)
		lost++;
}

/* nsmon tells those of threads only with -T. */
static __always_inline bool is_process(void)
{
	const __u64 id = bpf_get_current_pid_tgid();

	return (__u32)id == id >> 32;
}

SEC("raw_tp/task_newtask")
int on_fork(unsigned long long *ctx)
{
	if (!(ctx[1] & 0x00010000)) /* CLONE_THREAD */
		hand_over(sizeof(struct nsmon_fork));
	return 0;
}

SEC("raw_tp/sched_process_exec")
int on_exec(unsigned long long *ctx)
{
	hand_over(sizeof(struct nsmon_exec) + 64);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	if (is_process())
		hand_over(sizeof(struct nsmon_exit));
	return 0;
}

SEC("raw_tp/sys_enter")
int on_sys_enter(unsigned long long *ctx)
{
	if ((int)ctx[1] == unshare_nr || (int)ctx[1] == setns_nr)
		hand_over(sizeof(struct nsmon_ns));
	return 0;
}

SEC("raw_tp/sys_exit")
int on_sys_exit(unsigned long long *ctx)
{
	return 0;
}
