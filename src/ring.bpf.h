/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way out of the kernel: numbers, counts and hands over records, and wakes
 * the reader only when it sleeps. Knows nothing of what is in a record.
 */
#ifndef RING_BPF_H
#define RING_BPF_H

#include "compat.bpf.h"
#include "nsmon.h"

/* Sizes marked "at load" are set by src/probe.c. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* at load */
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nsmon_counters);
} counters SEC(".maps");

/* Data waiting in the ring buffer, in bytes, from which a sleeping reader is woken. */
const volatile __u64 wakeup_bytes;

/*
 * ... and from which only namespace changes find room: they are few, and what
 * nsmon exists for. A storm of forks does not drown them.
 */
const volatile __u64 shared_bytes;

/* enum nsmon_armed; the reader's. */
volatile __u32 armed;

/* All CPUs together; lost_sum is the sum of lost[]. */
volatile __u64 lost[NSMON_KINDS];
volatile __u64 lost_sum;
volatile __u64 lost_told;

static __always_inline struct nsmon_counters *this_cpu_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

/*
 * Counts n records of output of one kind as lost. The sum comes first: what is told
 * meanwhile lacks them, and shows it (tell_losses()).
 */
static __always_inline void count_lost(struct nsmon_counters *cpu, enum nsmon_kind kind, __u32 n)
{
	atomic_add(&cpu->lost[kind], n);
	atomic_add(&lost_sum, n);
	atomic_add(&lost[kind], n);
}

/*
 * Where the kernel may preempt a program, two can read the same number, and none the
 * one before it: what is counted stays right. An atomic that returns the value
 * would be refused before 5.12, even where it is never reached.
 */
static __always_inline void fill_header(struct nsmon_header *h, struct nsmon_counters *cpu,
					__u32 size, enum nsmon_kind kind, __u16 flags)
{
	atomic_add(&cpu->records, 1);
	h->size = size;
	h->kind = kind;
	h->flags = flags;
	h->time = bpf_ktime_get_boot_ns();
	h->seq = cpu->records;
	h->cpu = bpf_get_smp_processor_id();
	h->layout = NSMON_LAYOUT;
}

/* Wake-ups cost the traced process far more than a record does. */
static __always_inline __u64 wakeup_flags(void)
{
	__u32 a = armed;

	if (a == NSMON_ARMED_NO)
		return BPF_RB_NO_WAKEUP;
	if (a == NSMON_ARMED_FULL && bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < wakeup_bytes)
		return BPF_RB_NO_WAKEUP;
	armed = NSMON_ARMED_NO;
	return BPF_RB_FORCE_WAKEUP;
}

/* Wakes it without a record. With no room for one, it has work and is awake. */
static __always_inline void wake_reader(void)
{
	void *nothing = bpf_ringbuf_reserve(&events, sizeof(__u64), 0);

	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

/*
 * The reader arms, looks for data, and sleeps. Here a record is published, and
 * then this looks whether it armed meanwhile: one of the two sees the other.
 */
static __always_inline void wake_if_armed(void)
{
	if (armed != NSMON_ARMED_ANY)
		return;
	armed = NSMON_ARMED_NO;
	wake_reader();
}

static __always_inline void submit(void *record)
{
	bpf_ringbuf_submit(record, wakeup_flags());
	wake_if_armed();
}

/* Is what is left for namespace changes alone? */
static __always_inline bool is_reserved(bool change)
{
	return !change && bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= shared_bytes;
}

/*
 * The first record that finds room after a loss says so before itself. Returns false
 * where that found none: then there is none for what would be told after it either,
 * although the reader may have made some by now.
 */
static __always_inline bool tell_losses(struct nsmon_counters *cpu, bool change)
{
	__u64 sum = lost_sum;
	struct nsmon_lost *r;

	if (sum == lost_told)
		return true;
	if (is_reserved(change))
		return false;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r)
		return false;
	fill_header(&r->header, cpu, sizeof(*r), NSMON_LOST, 0);
	sum = 0; /* of what is told, which another CPU may be about to add to */
#pragma unroll
	for (int i = 0; i < NSMON_KINDS; i++) {
		r->lost[i] = lost[i];
		sum += r->lost[i];
	}
	lost_told = sum;
	submit(r);
	return true;
}

/*
 * Room for a record, its header filled in; NULL when there is none. change: it
 * tells that a namespace changed. Counting what it stands for is the caller's,
 * since one may stand for several.
 */
static __always_inline void *reserve(struct nsmon_counters *cpu, const __u64 size,
				     enum nsmon_kind kind, __u16 flags, bool change)
{
	struct nsmon_header *h = NULL;

	if (tell_losses(cpu, change) && !is_reserved(change))
		h = bpf_ringbuf_reserve(&events, size, 0);
	if (!h) {
		atomic_add(&cpu->records, 1);
		return NULL;
	}
	fill_header(h, cpu, size, kind, flags);
	return h;
}

#endif
