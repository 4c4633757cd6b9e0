/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From which pid namespace nsmon looks, before its programs are loaded. Knows none of them. */
#ifndef VIEW_H
#define VIEW_H

#include <stdint.h>

struct btf;

/*
 * *level is that of the caller's pid namespace; 0 is the initial one. Returns 0, or a
 * negative errno where the kernel cannot be asked: its BTF lacks what is wanted
 * (-ENOENT), or it does not run a program on demand (5.8 and 5.9).
 */
int view_find_level(const struct btf *kernel, uint32_t *level);

#endif
