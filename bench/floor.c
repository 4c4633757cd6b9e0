// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * floor empty|records: attaches the programs of bench/floor.bpf.c and says "ready"; what they hand over is thrown away every
 * 50 ms. On SIGINT and SIGTERM it says how many records there were, and ends with 0; with 1 if one found no room.
 */
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "floor.skel.h"

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static int count(void *context, void *record, size_t size)
{
	uint64_t *records = context;

	(void)record;
	(void)size;
	++*records;
	return 0;
}

/* Reads until a signal comes; returns an exit status. */
static int discard(struct ring_buffer *ring, const uint64_t *records, const volatile __u64 *lost)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	puts("ready");
	fflush(stdout);
	while (!stop) {
		nanosleep(&pause, NULL);
		if (ring_buffer__consume(ring) < 0)
			return 1;
	}
	printf("%" PRIu64 " records, %" PRIu64 " without room\n", *records, (uint64_t)*lost);
	return *lost ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t records = 0;
	int status = 1;

	if (argc != 2 || (strcmp(argv[1], "empty") != 0 && strcmp(argv[1], "records") != 0)) {
		fputs("usage: floor empty|records\n", stderr);
		return 2;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	struct floor_bpf *floor = floor_bpf__open();
	if (!floor) {
		perror("floor: its programs");
		return 1;
	}
	floor->rodata->with_records = argv[1][0] == 'r';
	floor->rodata->unshare_nr = SYS_unshare;
	floor->rodata->setns_nr = SYS_setns;
	if (floor_bpf__load(floor) || floor_bpf__attach(floor)) {
		perror("floor: its programs");
	} else {
		struct ring_buffer *ring =
			ring_buffer__new(bpf_map__fd(floor->maps.ring), count, &records, NULL);

		if (ring)
			status = discard(ring, &records, &floor->bss->lost);
		else
			perror("floor: the ring buffer");
		ring_buffer__free(ring);
	}
	floor_bpf__destroy(floor);
	return status;
}
