/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The BPF programs: chosen, loaded, attached, read. Alone knows the skeleton. */
#ifndef PROBE_H
#define PROBE_H

#include "kernel.h"
#include "options.h"
#include "ring.h"

struct probe;

/* Why a backend cannot be used, in words for people. */
struct probe_refusal {
	int error; /* positive errno; 0: it was not tried */
	bool no_btf; /* the kernel's BTF could not be read: no backend will do */
	char reason[200];
};

/*
 * Loads and attaches one backend (not auto). Events are in the ring buffer from
 * then on. With options->command only what probe_expect_child() names is
 * followed; with options->pids those processes. The caller frees *probe with
 * probe_close(). Returns 0, or a negative errno with *refusal filled in.
 */
int probe_open(struct probe **probe, const struct options *options, const struct kernel *kernel,
	       enum backend backend, struct probe_refusal *refusal);

/*
 * The same for the first backend that this kernel takes, in the order fentry,
 * kprobe, tracepoint; refusals[BACKENDS] says why not, by backend.
 */
int probe_open_any(struct probe **probe, const struct options *options, const struct kernel *kernel,
		   struct probe_refusal *refusals);

/* The same with nothing but the task iterator, which is much less to load. */
int probe_open_iterating(struct probe **probe, const struct kernel *kernel,
			 struct probe_refusal *refusal);

/* Detaches and unloads everything. */
void probe_close(struct probe *probe);

enum backend probe_backend(const struct probe *probe);

/*
 * What CLOCK_BOOTTIME shows here beyond the kernel's own, in nanoseconds: the
 * offset of nsmon's time namespace.
 */
int64_t probe_boot_offset_ns(const struct probe *probe);

/* The namespaces of process 1 as it is numbered here; 0 where they are not known. */
const struct nsmon_ns_set *probe_host(const struct probe *probe);

/* Does a filter by cgroup let the tasks of this one pass? */
void probe_admit_cgroup(struct probe *probe, uint64_t id, bool admit);

/* Does the kernel let nsmon use its maps and its iterator, with the capabilities of this moment? */
bool probe_is_usable(const struct probe *probe);

/* Becomes readable when the kernel wakes the reader; the probe's own. */
int probe_event_fd(const struct probe *probe);

/* As ring_read(). */
int probe_read(struct probe *probe, ring_record_fn function, void *context, int max);

/* As ring_drain(). */
int probe_drain(struct probe *probe, ring_record_fn function, void *context, int max);

/* As ring_rest(). */
void probe_rest(struct probe *probe);

/* Size of the ring buffer, and how much waits in it, in bytes. */
uint64_t probe_ring_size(const struct probe *probe);
uint64_t probe_ring_waiting(const struct probe *probe);

/* When the kernel is to wake the reader. */
void probe_arm(struct probe *probe, enum nsmon_armed armed);

/* Does a picture show the tasks that the filter does not let through? Yes, to begin with. */
void probe_want_everyone(struct probe *probe, bool everyone);

/* The next child of this process is followed; 0 ends that. */
void probe_expect_child(struct probe *probe, pid_t parent);

/* Follows this process, unless it is followed already. */
void probe_follow(struct probe *probe, pid_t pid);

/*
 * Stops following the processes that do not live any more: those that ended
 * before anything was attached, and those whose end the kernel skipped.
 */
void probe_unfollow_ended(struct probe *probe, bool (*lives)(pid_t pid));

/*
 * What is to be said of its backend on this kernel, a text that lives for ever; NULL: nothing.
 * Changes may hang on return probes alone: the kernel has only so many of them (one for each
 * processor before 6.1), and neither perf_event_namespaces() nor commit_creds() can be
 * probed. Or what a kernel that preempts itself skips is not counted.
 */
const char *probe_limit(const struct probe *probe);

/* Does this kernel have task iterators, and are they attached? */
bool probe_has_iterator(const struct probe *probe);

/*
 * A descriptor from which one struct nsmon_proc for each task can be read, to be
 * closed by the caller; or a negative errno.
 */
int probe_open_iterator(const struct probe *probe);

/* Is each fork record to carry the child's namespaces? Yes, to begin with. */
void probe_want_whole(struct probe *probe, bool whole);

/* How many of the followed processes live. */
uint64_t probe_followed(const struct probe *probe);

/* Totals since the start of what found no room, by enum nsmon_kind. */
void probe_lost(const struct probe *probe, uint64_t lost[NSMON_KINDS]);

/* May the kernel skip programs, since it preempts them? */
bool probe_may_miss(const struct probe *probe);

/* Totals since the start of events of which it may have skipped every program, at most, by enum nsmon_kind. */
void probe_missed(const struct probe *probe, uint64_t missed[NSMON_KINDS]);

/* Does a picture follow children of followed processes that are not? Where births were missed; no, to begin with. */
void probe_adopt(struct probe *probe, bool missed);

/* Detaches; what was under way is in the ring buffer when it returns. */
void probe_detach(struct probe *probe);

struct probe_statistics {
	uint64_t seen[NSMON_KINDS]; /* records of output, delivered or lost, all CPUs */
	uint64_t lost[NSMON_KINDS];
	/*
	 * Runs of a program that the kernel skipped, by the kind that they may
	 * have been of; 5.12 and later tell. It skips one on a CPU where the
	 * same program was preempted, as preemptible kernels do.
	 */
	uint64_t missed[NSMON_KINDS];
	bool has_switches;
	uint64_t switches;
	uint64_t switches_known;
};

/* Returns 0 or a negative errno. */
int probe_statistics(const struct probe *probe, struct probe_statistics *statistics);

#endif
