// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* glibc's malloc(3) and Linux's transparent huge pages (Documentation/admin-guide/mm/transhuge.rst). */
#include "heap.h"

#include <stdint.h>
#include <stdlib.h> /* says whether it is glibc */
#include <sys/mman.h>
#include <unistd.h>

void heap_drop_file(const void *data, size_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t before = -(uintptr_t)data & (page - 1);
	char *begin = (char *)data + before;

	if (before < size)
		madvise(begin, (size - before) & ~(page - 1), MADV_DONTNEED);
}

#ifdef __GLIBC__

#include <limits.h>
#include <malloc.h>

/* Of x86-64, and of arm64 with pages of 4 KiB. */
#define HUGE_PAGE ((uintptr_t)2 << 20)

/* glibc's own, mallopt(3). */
#define DEFAULT_TOP_PAD (128 * 1024)
#define DEFAULT_THRESHOLD (128 * 1024)
#define THRESHOLD_MAX (32 * 1024 * 1024)

static char *first; /* of the stretch; NULL: there is none */

void heap_expect(size_t bytes)
{
	char *probe, *begin, *end;

	if (bytes > INT_MAX)
		return;
	mallopt(M_MMAP_THRESHOLD, THRESHOLD_MAX);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_TOP_PAD, (int)bytes);
	probe = malloc(HUGE_PAGE); /* more than is left: the heap grows by all of it */
	if (!probe)
		return;
	begin = probe + (-(uintptr_t)probe & (HUGE_PAGE - 1));
	end = sbrk(0);
	end -= (uintptr_t)end & (HUGE_PAGE - 1);
	if (begin < end && madvise(begin, (size_t)(end - begin), MADV_HUGEPAGE) == 0)
		first = begin;
	free(probe);
}

void heap_give_back(void)
{
	char *end;

	mallopt(M_TOP_PAD, DEFAULT_TOP_PAD);
	mallopt(M_TRIM_THRESHOLD, DEFAULT_THRESHOLD);
	mallopt(M_MMAP_THRESHOLD, DEFAULT_THRESHOLD);
	malloc_trim(0);
	end = sbrk(0);
	if (first && first < end)
		madvise(first, (size_t)(end - first), MADV_NOHUGEPAGE);
	first = NULL;
}

#else

void heap_expect(size_t bytes)
{
	(void)bytes;
}

void heap_give_back(void)
{
}

#endif
