/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Much memory for a moment. Knows not what for. */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>

/*
 * From here on malloc(3) takes what it needs, up to so many bytes, from one stretch in
 * huge pages, where the kernel has such to give: thousands of page faults fewer. Nothing
 * is taken before it is used. Without effect where the C library is not glibc.
 */
void heap_expect(size_t bytes);

/*
 * Takes read-only data of the program's own file out of memory, as far as it has pages to
 * itself: where it is read again, it comes from the file again. size in bytes.
 */
void heap_drop_file(const void *data, size_t size);

/* What is free goes back to the kernel, and the rest is as if heap_expect() had not been. */
void heap_give_back(void);

#endif
