// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A file stands for the map: the reader's page, the writers' page, and the data twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "ring.h"

#define DATA_BYTES ((size_t)2 << 20)

struct fake {
	int fd;
	size_t page;
	size_t size;
	unsigned long *consumer;
	unsigned long *producer;
	char *data;
	struct ring *ring;
	uint32_t next; /* number of the next record to be written */
	uint32_t expected; /* and to be read */
};

static void set_up(struct fake *fake, size_t size)
{
	char *mapped;

	*fake = (struct fake){ .page = (size_t)sysconf(_SC_PAGESIZE), .size = size };
	fake->fd = memfd_create("ring", MFD_CLOEXEC);
	assert_true(fake->fd >= 0);
	assert_int_equal(ftruncate(fake->fd, (off_t)(2 * (fake->page + size))), 0);
	mapped = mmap(NULL, 2 * (fake->page + size), PROT_READ | PROT_WRITE, MAP_SHARED, fake->fd,
		      0);
	assert_ptr_not_equal(mapped, MAP_FAILED);
	fake->consumer = (void *)mapped;
	fake->producer = (void *)(mapped + fake->page);
	fake->data = mapped + 2 * fake->page;
	assert_int_equal(ring_new(&fake->ring, fake->fd, size), 0);
}

static void tear_down(struct fake *fake)
{
	ring_free(fake->ring);
	munmap(fake->consumer, 2 * (fake->page + fake->size));
	close(fake->fd);
}

/* The kernel sees both copies as one. */
static void put(struct fake *fake, size_t offset, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		size_t at = (offset + i) % fake->size;

		fake->data[at] = ((const char *)bytes)[i];
		fake->data[at + fake->size] = ((const char *)bytes)[i];
	}
}

/* A record of so many bytes that begins and ends with its number. Returns where it is. */
static unsigned long write_record(struct fake *fake, uint32_t size, uint32_t bits)
{
	unsigned long at = *fake->producer;
	uint32_t header[2] = { size | bits, 0 };

	put(fake, at, header, sizeof(header));
	if (!(bits & BPF_RINGBUF_DISCARD_BIT)) {
		put(fake, at + 8, &fake->next, sizeof(fake->next));
		put(fake, at + 8 + size - 4, &fake->next, sizeof(fake->next));
		fake->next++;
	}
	*fake->producer = at + ((size + 8 + 7) & ~7UL);
	return at;
}

static int on_record(void *context, void *data, size_t size)
{
	struct fake *fake = context;

	assert_memory_equal(data, &fake->expected, 4);
	assert_memory_equal((char *)data + size - 4, &fake->expected, 4);
	fake->expected++;
	return 0;
}

static int on_record_stop(void *context, void *data, size_t size)
{
	on_record(context, data, size);
	return -EPIPE;
}

/* Meanwhile a writer goes on; it finds room that was read long ago. */
static int on_record_and_another(void *context, void *data, size_t size)
{
	struct fake *fake = context;

	on_record(context, data, size);
	write_record(fake, 1000, 0);
	assert_true(*fake->producer - *fake->consumer < DATA_BYTES);
	return 0;
}

static void test_empty(void **state)
{
	struct fake fake;

	(void)state;
	set_up(&fake, DATA_BYTES);
	assert_int_equal(ring_read(fake.ring, on_record, &fake, 10), 0);
	assert_int_equal(ring_waiting(fake.ring), 0);
	tear_down(&fake);
}

static void test_max_and_stop(void **state)
{
	struct fake fake;

	(void)state;
	set_up(&fake, DATA_BYTES);
	for (int i = 0; i < 5; i++)
		write_record(&fake, 100, 0);
	assert_int_equal(ring_waiting(fake.ring), 5 * 112);
	assert_int_equal(ring_read(fake.ring, on_record, &fake, 2), 2);
	assert_int_equal(ring_waiting(fake.ring), 3 * 112);
	assert_int_equal(ring_read(fake.ring, on_record_stop, &fake, 10), -EPIPE);
	assert_int_equal(ring_waiting(fake.ring), 2 * 112); /* what was handed over is done with */
	assert_int_equal(ring_read(fake.ring, on_record, &fake, 10), 2);
	assert_int_equal(*fake.consumer, *fake.producer);
	tear_down(&fake);
}

/* What comes meanwhile is left to the next call, and what is read is given back before the end. */
static void test_written_meanwhile(void **state)
{
	struct fake fake;
	int n = 0;

	(void)state;
	set_up(&fake, DATA_BYTES);
	while (*fake.producer < DATA_BYTES / 2) {
		write_record(&fake, 1000, 0);
		n++;
	}
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ring_read(fake.ring, on_record_and_another, &fake, 1000000), n);
		assert_int_equal(*fake.producer - *fake.consumer, (unsigned long)n * 1008);
	}
	tear_down(&fake);
}

static void test_busy_and_discarded(void **state)
{
	const uint32_t done[2] = { 64, 0 };
	struct fake fake;
	unsigned long busy;

	(void)state;
	set_up(&fake, DATA_BYTES);
	write_record(&fake, 32, 0);
	write_record(&fake, 48, BPF_RINGBUF_DISCARD_BIT);
	busy = write_record(&fake, 64, BPF_RINGBUF_BUSY_BIT);
	write_record(&fake, 32, 0);
	assert_int_equal(ring_read(fake.ring, on_record, &fake, 10), 1);
	assert_int_equal(*fake.consumer, busy);
	assert_int_equal(ring_read(fake.ring, on_record, &fake, 10), 0);
	put(&fake, busy, done, sizeof(done));
	assert_int_equal(ring_read(fake.ring, on_record, &fake, 10), 2);
	assert_int_equal(fake.expected, fake.next);
	tear_down(&fake);
}

/* Sizes that fall on every edge: of a page, of what is mapped at a time, and of the buffer. */
static void fill_and_read(size_t size, uint32_t largest)
{
	struct fake fake;
	uint32_t record = 8;

	set_up(&fake, size);
	while (*fake.producer < 5 * size) {
		while (*fake.producer - *fake.consumer + record + 8 < size) {
			write_record(&fake, record, 0);
			record = record * 5 % largest + 9;
		}
		assert_true(ring_read(fake.ring, on_record, &fake, 1000000) > 0);
		assert_int_equal(fake.expected, fake.next);
		assert_int_equal(*fake.consumer, *fake.producer);
	}
	tear_down(&fake);
}

static void test_laps(void **state)
{
	(void)state;
	fill_and_read(DATA_BYTES, 977);
	fill_and_read(DATA_BYTES, 65521);
	fill_and_read((size_t)sysconf(_SC_PAGESIZE), 251);
	fill_and_read((size_t)sysconf(_SC_PAGESIZE), 3001);
}

/* How much of the file is mapped, when the test's own mapping is gone. */
static unsigned long mapped_bytes(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long mapped = 0, begin, end;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "memfd:ring") && sscanf(line, "%lx-%lx", &begin, &end) == 2)
			mapped += end - begin;
	fclose(maps);
	return mapped;
}

/* What is mapped is a part of a large buffer: that is what it is for. */
static void test_mapped_little(void **state)
{
	struct fake fake;

	(void)state;
	set_up(&fake, (size_t)64 << 20);
	munmap(fake.consumer, 2 * (fake.page + fake.size)); /* the test's own */
	assert_in_range(mapped_bytes(), 3 * fake.page, 1 << 20);
	ring_free(fake.ring);
	close(fake.fd);
}

static void fill_once(struct fake *fake)
{
	while (*fake->producer - *fake->consumer + 1008 < fake->size)
		write_record(fake, 1000, 0);
	assert_true(ring_read(fake->ring, on_record, fake, 1000000) > 0);
	assert_int_equal(fake->expected, fake->next);
}

/* Where so much comes that all of it has been mapped, it is given back afterwards. */
static void test_rest(void **state)
{
	const size_t size = (size_t)8 << 20;
	struct fake fake;
	unsigned long own;

	(void)state;
	set_up(&fake, size);
	own = 2 * (fake.page + size);
	for (int turn = 0; turn < 3; turn++) {
		fill_once(&fake);
		fill_once(&fake);
		assert_in_range(mapped_bytes() - own, size, size + (1 << 20));
		ring_rest(fake.ring);
		assert_in_range(mapped_bytes() - own, 3 * fake.page, 1 << 20);
		ring_rest(fake.ring);
	}
	tear_down(&fake);
}

/* A large one never is. */
static void test_large(void **state)
{
	const size_t size = (size_t)32 << 20;
	struct fake fake;

	(void)state;
	set_up(&fake, size);
	fill_once(&fake);
	fill_once(&fake);
	assert_in_range(mapped_bytes() - 2 * (fake.page + size), 3 * fake.page, 1 << 20);
	tear_down(&fake);
}

static void test_no_map(void **state)
{
	struct ring *ring;

	(void)state;
	assert_int_equal(ring_new(&ring, -1, DATA_BYTES), -EBADF);
	ring_free(NULL);
}

static struct fake *stopped;
static unsigned long unfinished;

static void finish_it(int signal)
{
	const uint32_t header[2] = { 100, 0 };

	(void)signal;
	put(stopped, unfinished, header, sizeof(header));
}

/* The writer of the one in the middle was stopped; it goes on. */
static void test_drain_waits(void **state)
{
	const struct itimerval soon = { .it_value.tv_usec = 5000 };
	const struct sigaction action = { .sa_handler = finish_it };
	struct fake fake;

	(void)state;
	set_up(&fake, DATA_BYTES);
	assert_int_equal(ring_drain(fake.ring, on_record, &fake, 10), 1);
	write_record(&fake, 100, 0);
	unfinished = write_record(&fake, 100, BPF_RINGBUF_BUSY_BIT);
	write_record(&fake, 100, 0);
	stopped = &fake;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(ring_drain(fake.ring, on_record, &fake, 10), 1);
	assert_int_equal(fake.expected, 3);
	tear_down(&fake);
}

/* What comes after it began is not its business, and what never comes is not waited for for ever. */
static void test_drain_ends(void **state)
{
	struct fake fake;

	(void)state;
	set_up(&fake, DATA_BYTES);
	write_record(&fake, 100, 0);
	assert_int_equal(ring_drain(fake.ring, on_record_and_another, &fake, 10), 1);
	assert_in_range(fake.expected, 1, 2);
	assert_int_equal(ring_drain(fake.ring, on_record, &fake, 10), 1);
	for (int i = 0; i < 5; i++)
		write_record(&fake, 100, 0);
	assert_int_equal(ring_drain(fake.ring, on_record, &fake, 4), 0);
	assert_int_equal(ring_drain(fake.ring, on_record, &fake, 1), 1);
	write_record(&fake, 100, 0);
	write_record(&fake, 100, BPF_RINGBUF_BUSY_BIT);
	assert_int_equal(ring_drain(fake.ring, on_record, &fake, 10), 0);
	assert_int_equal(fake.expected + 1, fake.next);
	write_record(&fake, 100, 0);
	assert_int_equal(ring_drain(fake.ring, on_record_stop, &fake, 10), 0);
	tear_down(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_max_and_stop),
		cmocka_unit_test(test_written_meanwhile),
		cmocka_unit_test(test_busy_and_discarded),
		cmocka_unit_test(test_laps),
		cmocka_unit_test(test_drain_waits),
		cmocka_unit_test(test_drain_ends),
		cmocka_unit_test(test_mapped_little),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_no_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
