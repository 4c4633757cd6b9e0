// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * floor empty|records|text|json: attaches the programs of bench/floor.bpf.c and says "ready" on standard error. What they
 * hand over is looked at every 50 ms, and thrown away; with text and json each record is read and becomes a line on
 * standard output, always the same one, of the length of nsmon's. On SIGINT and SIGTERM it says how many records there
 * were, and ends with 0; with 1 if one found no room.
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
#include <unistd.h>

#include "floor.skel.h"

#define BLOCK_BYTES 65536

#define JSON_LINE                                                                                  \
	"{\"time\":\"2026-11-27T17:34:06.730577496Z\",\"seq\":1234567,\"event\":\"exit\",\"pid\":" \
	"12345,"                                                                                   \
	"\"tid\":12345,\"ppid\":12344,\"vpid\":12345,\"start_ns\":4758584764123,\"comm\":"         \
	"\"workload\","                                                                            \
	"\"uid\":0,\"gid\":0,\"cgroup_id\":1234,\"cgroup\":\"/init.scope\",\"code\":0,"            \
	"\"duration_ns\":123456}\n"
#define TEXT_LINE "exit: pid=12345 comm=workload code=0\n"

static const struct mode {
	const char *name;
	const char *line; /* of each record; NULL: none */
	bool with_records;
} modes[] = {
	{ .name = "empty" },
	{ .name = "records", .with_records = true },
	{ .name = "text", .line = TEXT_LINE, .with_records = true },
	{ .name = "json", .line = JSON_LINE, .with_records = true },
};

struct reader {
	const struct mode *mode;
	uint64_t records;
	uint64_t sum; /* of all that was read, so that it is */
	size_t len;
	bool failed;
	char block[BLOCK_BYTES + sizeof(JSON_LINE)];
};

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static void flush(struct reader *reader)
{
	if (reader->len && write(STDOUT_FILENO, reader->block, reader->len) != (ssize_t)reader->len)
		reader->failed = true;
	reader->len = 0;
}

static int take(void *context, void *record, size_t size)
{
	struct reader *reader = context;
	const char *line = reader->mode->line;
	const uint64_t *words = record;
	size_t len;

	reader->records++;
	if (!line)
		return 0;
	for (size_t i = 0; i < size / sizeof(*words); i++)
		reader->sum += words[i];
	len = strlen(line);
	memcpy(reader->block + reader->len, line, len);
	reader->len += len;
	if (reader->len >= BLOCK_BYTES)
		flush(reader);
	return 0;
}

/* Reads until a signal comes; returns an exit status. */
static int read_all(struct ring_buffer *ring, struct reader *reader, const volatile __u64 *lost)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	fputs("ready\n", stderr);
	while (!stop && !reader->failed) {
		nanosleep(&pause, NULL);
		if (ring_buffer__consume(ring) < 0)
			return 1;
		flush(reader);
	}
	fprintf(stderr, "%" PRIu64 " records, %" PRIu64 " without room; sum %" PRIx64 "\n",
		reader->records, (uint64_t)*lost, reader->sum);
	return *lost || reader->failed ? 1 : 0;
}

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}

int main(int argc, char **argv)
{
	static struct reader reader;
	int status = 1;

	reader.mode = argc == 2 ? find_mode(argv[1]) : NULL;
	if (!reader.mode) {
		fputs("usage: floor empty|records|text|json\n", stderr);
		return 2;
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	struct floor_bpf *floor = floor_bpf__open();
	if (!floor) {
		perror("floor: its programs");
		return 1;
	}
	floor->rodata->with_records = reader.mode->with_records;
	floor->rodata->filled = reader.mode->line != NULL;
	floor->rodata->unshare_nr = SYS_unshare;
	floor->rodata->setns_nr = SYS_setns;
	if (floor_bpf__load(floor) || floor_bpf__attach(floor)) {
		perror("floor: its programs");
	} else {
		struct ring_buffer *ring =
			ring_buffer__new(bpf_map__fd(floor->maps.ring), take, &reader, NULL);

		if (ring)
			status = read_all(ring, &reader, &floor->bss->lost);
		else
			perror("floor: the ring buffer");
		ring_buffer__free(ring);
	}
	floor_bpf__destroy(floor);
	return status;
}
