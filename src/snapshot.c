// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Runs the task iterator and hands what it finds to the stream. */
#include "snapshot.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL

/* What the kernel collects for one read(2): PAGE_SIZE << 3 (kernel/bpf/bpf_iter.c). */
#define CHUNK ((size_t)65536)

/* A task that changes all the time is left for the next repair. */
#define PASSES_MAX 8

/* ... but so many repairs wait for such tasks; an exec can take as long as it likes. */
#define PUT_OFF_MAX 3

/* Repairs take at most a tenth of the time, and come five times a second at most. */
#define PAUSE_NS (200 * NS_PER_MS)
#define PAUSE_FACTOR 10

/* What was inside a system call when nsmon attached shows afterwards. */
#define LOOKS 2
static const uint64_t look_ns[LOOKS] = { 10 * NS_PER_S, NS_PER_S };

/* Records between two chunks: a storm may fill the ring buffer as fast as it is read. */
#define DRAIN_MAX 262144

/* What is about to be told on another CPU is being written after this time. */
#define SETTLE_US 200

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int on_record(void *context, void *data, size_t size)
{
	return stream_record(context, data, size);
}

/* What was told before this moment. Returns 1 where all of it was read, 0 where not, or a negative errno. */
static int drain(struct snapshot *snapshot)
{
	return probe_drain(snapshot->probe, on_record, snapshot->stream, DRAIN_MAX);
}

typedef int (*row_fn)(struct stream *stream, struct event *proc);

static int hand_over(struct snapshot *snapshot, const char *data, size_t len, row_fn row)
{
	int err = 0;

	for (size_t at = 0; !err && at < len; at += sizeof(struct nsmon_proc)) {
		struct event event;

		if (event_decode(&event, data + at, len - at) == 0)
			err = row(snapshot->stream, &event);
	}
	return err;
}

/*
 * One run of the iterator. between is called for each chunk before its rows are
 * handed over; where it returns 0 they are not. Returns 1; 0 where that ended it; a
 * negative errno of the output; or -ENODATA where the iterator could not be read to its end.
 */
static int run(struct snapshot *snapshot, row_fn row, int (*between)(struct snapshot *))
{
	static char buffer[CHUNK] __attribute__((aligned(8)));
	int fd = probe_open_iterator(snapshot->probe);
	size_t len = 0;
	int go_on = 1;

	if (fd < 0)
		return -ENODATA;
	while (go_on > 0) {
		ssize_t n = read(fd, buffer + len, sizeof(buffer) - len);
		size_t whole;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue; /* many tasks that were of no interest; a signal */
		if (n < 0) {
			log_debug("the task iterator cannot be read: %s", strerror(errno));
			go_on = -ENODATA;
		}
		if (n <= 0)
			break;
		len += (size_t)n;
		whole = len - len % sizeof(struct nsmon_proc);
		if (between)
			go_on = between(snapshot);
		if (go_on > 0) {
			int err = hand_over(snapshot, buffer, whole, row);

			go_on = err ? err : 1;
		}
		len -= whole;
		memmove(buffer, buffer + whole, len);
	}
	close(fd);
	return go_on;
}

static void want(struct snapshot *snapshot, uint64_t at_ns)
{
	if (!snapshot->due_ns || at_ns < snapshot->due_ns)
		snapshot->due_ns = at_ns;
}

int snapshot_first(struct snapshot *snapshot, struct probe *probe, struct stream *stream,
		   const volatile sig_atomic_t *stop, bool whole_machine)
{
	uint64_t begin = stream_now_ns(stream);
	int err;

	*snapshot = (struct snapshot){ .probe = probe, .stream = stream, .stop = stop };
	err = probe_has_iterator(probe) ? run(snapshot, stream_seed, NULL) : -ENODATA;
	err = err > 0 ? 0 : err;
	probe_want_everyone(probe, false);
	snapshot->works = err != -ENODATA;
	if (!snapshot->works) {
		probe_want_whole(probe, false);
		log_error("this kernel gives no picture of the tasks that exist (BPF task "
			  "iterators need its own BTF): the stream begins without one, and what is "
			  "lost is counted, but not found again");
		return 0;
	}
	if (err)
		return err;
	if (whole_machine && !state_has(stream->state, 1))
		log_note("this kernel keeps process 1 from BPF task iterators: it is not in the "
			 "picture");
	err = stream_seeded(stream, begin);
	probe_want_whole(probe, false);
	if (!state_can_repair(stream->state)) /* no look could tell anything */
		return err;
	snapshot->looks = LOOKS;
	want(snapshot, now_ns() + look_ns[snapshot->looks - 1]);
	return err;
}

/* Once: a reader cannot see it in the stream. */
static void say_what_stays_lost(struct snapshot *snapshot)
{
	const struct state *state = snapshot->stream->state;

	if (snapshot->said || !snapshot->stream->repair_due || state_can_find_all(state))
		return;
	snapshot->said = true;
	if (state_can_repair(state))
		log_note("records were lost; without all --reasons, changes of namespaces among "
			 "them are not found again");
	else
		log_note("records were lost; without fork and exit among --events they are not "
			 "found again");
}

int snapshot_due_ms(struct snapshot *snapshot)
{
	uint64_t now = now_ns();

	if (!snapshot->works)
		return -1;
	say_what_stays_lost(snapshot);
	if (!state_can_repair(snapshot->stream->state))
		return -1;
	if (stream_take_repair(snapshot->stream)) {
		snapshot->loud = true;
		want(snapshot, now);
	}
	if (!snapshot->due_ns)
		return -1;
	if (snapshot->due_ns < snapshot->earliest_ns)
		snapshot->due_ns = snapshot->earliest_ns;
	return snapshot->due_ns <= now ? 0 : (int)((snapshot->due_ns - now) / NS_PER_MS) + 1;
}

/* Whatever signal comes. */
static void settle(void)
{
	struct timespec left = { .tv_nsec = SETTLE_US * 1000L };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* Of a pass that did not see all tasks. */
#define NOT_WHOLE 2

/* Returns 1 where another pass is wanted, NOT_WHOLE, 0, or a negative errno. */
static int run_pass(struct snapshot *snapshot, bool quiet)
{
	struct stream *stream = snapshot->stream;
	int drained, err;

	stream_begin_batch(stream);
	state_begin_pass(stream->state, stream_now_ns(stream), quiet);
	err = run(snapshot, stream_pass_task, drain);
	if (err <= 0)
		return err < 0 ? err : NOT_WHOLE;
	drained = drain(snapshot);
	if (drained > 0) {
		settle();
		drained = drain(snapshot);
	}
	if (drained < 0)
		return drained;
	if (!drained) /* what ended may be among what was not read */
		return 1;
	err = stream_end_pass(stream);
	return err ? err : state_unsure(stream->state) != 0;
}

/* Those since the last record as well, which no record after them tells of. */
static int tell_losses(struct snapshot *snapshot)
{
	struct stream *stream = snapshot->stream;
	uint64_t lost[NSMON_KINDS];
	int err;

	probe_lost(snapshot->probe, lost);
	err = stream_kernel_lost(stream, lost);
	if (!err && stream->look_for_misses)
		err = stream->look_for_misses(stream->context);
	return err;
}

int snapshot_repair(struct snapshot *snapshot)
{
	struct stream *stream = snapshot->stream;
	uint64_t begin = now_ns();
	bool loud = snapshot->loud;
	uint64_t before = stream->totals.written[NSMON_PROC];
	unsigned int passes = 0, whole = 0;
	int more = 1, err;

	if (!loud && snapshot->looks)
		snapshot->looks--;
	snapshot->loud = false;
	snapshot->due_ns = 0;
	probe_want_whole(snapshot->probe, true);
	for (; more > 0 && passes < PASSES_MAX && (!*snapshot->stop || !passes); passes++) {
		more = run_pass(snapshot, !loud || whole > 0);
		whole += more != NOT_WHOLE;
	}
	probe_want_whole(snapshot->probe, false);
	state_end_repair(stream->state);
	snapshot->earliest_ns = now_ns() + PAUSE_NS;
	if ((now_ns() - begin) * PAUSE_FACTOR > PAUSE_NS)
		snapshot->earliest_ns = now_ns() + (now_ns() - begin) * PAUSE_FACTOR;
	if (more == -ENODATA || (more > 0 && !whole)) { /* it is for the next one to do */
		snapshot->loud = loud;
		snapshot->owes_end |= stream->totals.written[NSMON_PROC] != before;
		want(snapshot, now_ns() + NS_PER_S);
		return stream_flush(stream);
	}
	if (more < 0)
		return more;
	snapshot->repairs += loud;
	log_debug("a picture of %zu tasks in %u passes, %llu us", state_tasks(stream->state),
		  passes, (unsigned long long)(now_ns() - begin) / 1000);
	if (more)
		want(snapshot, now_ns() + NS_PER_S);
	else if (snapshot->looks)
		want(snapshot, now_ns() + look_ns[snapshot->looks - 1]);
	if (!loud && !snapshot->owes_end && stream->totals.written[NSMON_PROC] == before)
		return stream_flush(stream);
	err = tell_losses(snapshot);
	if (err)
		return err;
	if (stream_is_in_doubt(stream)) /* what was lost meanwhile is for the next picture */
		return stream_flush(stream);
	if (more && snapshot->put_off < PUT_OFF_MAX) {
		snapshot->put_off++;
		snapshot->owes_end = true;
		return stream_flush(stream);
	}
	snapshot->put_off = 0;
	snapshot->owes_end = false;
	return stream_ready(stream);
}
