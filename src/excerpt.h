/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the relocations of BPF programs need of the kernel's BTF. Loads nothing. */
#ifndef EXCERPT_H
#define EXCERPT_H

struct btf;

/*
 * The types of the kernel that bear the name of one in the programs, with what
 * they hold. The caller frees *excerpt with btf__free(). Returns 0 or a negative
 * errno.
 */
int excerpt_make(struct btf **excerpt, const struct btf *kernel, const struct btf *programs);

/* Writes it as libbpf reads it. Returns 0 or a negative errno. */
int excerpt_write(const struct btf *excerpt, int fd);

#endif
