/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Does this kernel take a kind of program at all? Knows none of nsmon's programs. */
#ifndef TRIAL_H
#define TRIAL_H

struct btf;

/*
 * Loads a program that does nothing for the entry of a kernel function, and
 * drops it. Returns 0 where the kernel takes it, or may, else what it said, a
 * negative errno.
 */
int trial_trampoline(const struct btf *kernel, const char *function);

/* The same, and attaches it for a moment. Returns 0, also where there is no such function, or a negative errno. */
int trial_trampoline_at(const struct btf *kernel, const char *function);

/* Returns 0 where there are kprobes, or may be, else a negative errno. */
int trial_kprobe(void);

/* Probes a kernel function, and stops it at once. Returns as trial_trampoline(). */
int trial_kprobe_at(const char *function);

#endif
