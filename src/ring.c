// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The reader's side of a BPF ring buffer, laid out as in kernel/bpf/ringbuf.c:
 * a page with the reader's position, a page with the writers', and the data
 * twice in a row, so that a record that wraps around lies in one piece.
 *
 * libbpf's reader maps all of it, and since the kernel fills such a mapping at
 * once, the reader counts as resident with twice the buffer. Only a window of
 * the data is mapped here, which moves on with the reader; all of it once, where
 * that is not too much, while so much comes that moving would cost more.
 */
#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Moving it costs about as much for each page as handing over one record. */
#define WINDOW_BYTES ((size_t)512 * 1024)

/* A buffer of up to this is mapped as a whole, with room for a record that wraps around. */
#define WHOLE_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define WRAP_BYTES ((size_t)64 * 1024)

/*
 * The writers look at the reader's position for each record, and each time that it
 * has changed, it has to come from the reader's processor: so not for each record.
 */
#define GIVE_BACK_BYTES ((unsigned long)16 * 1024)

/* How long a record that is being written is waited for, and how often it is looked at. */
#define DRAIN_WAIT_NS 100000000LL
#define DRAIN_STEP_NS 200000L

struct ring {
	int fd;
	size_t page;
	size_t size;
	unsigned long *consumer;
	const unsigned long *producer;
	char *window;
	size_t window_bytes;
	size_t window_at; /* its offset in the data */
	size_t moved; /* bytes of windows since ring_rest() */
};

/* Takes the place of the one before. */
static int map_window(struct ring *ring, size_t at, size_t bytes)
{
	bool same = ring->window && bytes == ring->window_bytes;
	char *window =
		mmap(same ? ring->window : NULL, bytes, PROT_READ,
		     MAP_SHARED | (same ? MAP_FIXED : 0), ring->fd, (off_t)(2 * ring->page + at));

	if (window == MAP_FAILED)
		return -errno;
	if (ring->window && !same)
		munmap(ring->window, ring->window_bytes);
	ring->window = window;
	ring->window_bytes = bytes;
	ring->window_at = at;
	ring->moved += bytes;
	return 0;
}

/* A page more than the largest record that fits. */
static size_t little(const struct ring *ring)
{
	return (ring->size < WINDOW_BYTES ? ring->size : WINDOW_BYTES) + ring->page;
}

static size_t whole(const struct ring *ring)
{
	return ring->size + (ring->size < WRAP_BYTES ? ring->size : WRAP_BYTES);
}

static int move_window(struct ring *ring, size_t offset, size_t size)
{
	if (size > little(ring) - ring->page)
		return -EMSGSIZE;
	if (ring->moved >= ring->size && ring->size <= WHOLE_MAX_BYTES &&
	    offset + size <= whole(ring) && map_window(ring, 0, whole(ring)) == 0)
		return 0;
	return map_window(ring, offset & ~(ring->page - 1), little(ring));
}

/* size bytes at an offset in the data; NULL where they cannot be mapped. */
static char *look_at(struct ring *ring, size_t offset, size_t size)
{
	if (offset < ring->window_at || offset + size > ring->window_at + ring->window_bytes) {
		int err = move_window(ring, offset, size);

		if (err) {
			errno = -err;
			return NULL;
		}
	}
	return ring->window + (offset - ring->window_at);
}

static int map_all(struct ring *ring)
{
	void *mapped = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);

	if (mapped == MAP_FAILED)
		return -errno;
	ring->consumer = mapped;
	mapped = mmap(NULL, ring->page, PROT_READ, MAP_SHARED, ring->fd, (off_t)ring->page);
	if (mapped == MAP_FAILED)
		return -errno;
	ring->producer = mapped;
	return map_window(ring, 0, little(ring));
}

int ring_new(struct ring **result, int fd, size_t max_entries)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	int err;

	if (!ring)
		return -ENOMEM;
	ring->fd = fd;
	ring->page = (size_t)sysconf(_SC_PAGESIZE);
	ring->size = max_entries;
	err = map_all(ring);
	if (err)
		ring_free(ring);
	else
		*result = ring;
	return err;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	if (ring->consumer)
		munmap(ring->consumer, ring->page);
	if (ring->producer)
		munmap((void *)ring->producer, ring->page);
	if (ring->window)
		munmap(ring->window, ring->window_bytes);
	free(ring);
}

/* With its header, and as the kernel rounds it up. */
static size_t whole_size(uint32_t header)
{
	size_t size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

	return (size + BPF_RINGBUF_HDR_SZ + 7) & ~(size_t)7;
}

/* Returns 1 with the record at a position, 0 where it is not written yet, or a negative errno. */
static int record_at(struct ring *ring, unsigned long at, char **record, uint32_t *header)
{
	size_t offset = at & (ring->size - 1);

	*record = look_at(ring, offset, BPF_RINGBUF_HDR_SZ);
	if (!*record)
		return -errno;
	/* What it says is read after its busy bit is seen to be gone. */
	*header = __atomic_load_n((uint32_t *)(void *)*record, __ATOMIC_ACQUIRE);
	if (*header & BPF_RINGBUF_BUSY_BIT)
		return 0;
	*record = look_at(ring, offset, whole_size(*header));
	return *record ? 1 : -errno;
}

static void give_back(struct ring *ring, unsigned long at)
{
	__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
}

/*
 * The writers' position is read sequentially consistent, since a reader that
 * goes to sleep says so before it looks; and once, since one that keeps up with
 * the writers record by record takes their memory from them all the time.
 * Records behind one that is not written yet have to wait for it, too.
 */
int ring_read(struct ring *ring, ring_record_fn function, void *context, int max)
{
	unsigned long given_back = *ring->consumer;
	unsigned long at = given_back;
	unsigned long end = __atomic_load_n(ring->producer, __ATOMIC_SEQ_CST);
	int n = 0, err = 0;

	while (n < max && at != end && err >= 0) {
		char *record;
		uint32_t header = 0;

		err = record_at(ring, at, &record, &header);
		if (err <= 0)
			break;
		err = 0;
		if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
			err = function(context, record + BPF_RINGBUF_HDR_SZ, header);
			n++;
		}
		at += whole_size(header);
		if (at - given_back >= GIVE_BACK_BYTES) {
			give_back(ring, at);
			given_back = at;
		}
	}
	if (at != given_back)
		give_back(ring, at);
	return err ? err : n;
}

static long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int ring_drain(struct ring *ring, ring_record_fn function, void *context, int max)
{
	const struct timespec step = { .tv_nsec = DRAIN_STEP_NS };
	unsigned long end = __atomic_load_n(ring->producer, __ATOMIC_SEQ_CST);
	long long give_up = now_ns() + DRAIN_WAIT_NS;

	while ((long)(end - *ring->consumer) > 0) {
		bool late = now_ns() > give_up;
		int n = ring_read(ring, function, context, max);

		if (n < 0)
			return n;
		max -= n;
		if (max <= 0)
			return (long)(end - *ring->consumer) <= 0;
		if (n)
			continue;
		if (late)
			return 0;
		nanosleep(&step, NULL);
	}
	return 1;
}

void ring_rest(struct ring *ring)
{
	size_t offset = *ring->consumer & (ring->size - 1);

	if (ring->window_bytes > little(ring))
		map_window(ring, offset & ~(ring->page - 1), little(ring));
	ring->moved = 0;
}

uint64_t ring_waiting(const struct ring *ring)
{
	return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - *ring->consumer;
}
