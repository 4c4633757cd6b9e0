// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The stream of records. Must not know a format, nor where the lines go. */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "log.h"

/* How long a reader that does not read may hold up the end of nsmon. */
#define GIVE_UP_MS 2000

#define NS_PER_S 1000000000ULL

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* As the records of the kernel tell it. */
static uint64_t kernel_boot_ns(const struct stream *stream)
{
	return clock_ns(CLOCK_BOOTTIME) - (uint64_t)stream->boot_offset_ns;
}

void stream_init(struct stream *stream, const struct formatter *formatter, const struct run *run,
		 struct output *output, const volatile sig_atomic_t *stop)
{
	*stream = (struct stream){
		.formatter = formatter,
		.run = run,
		.output = output,
		.stop = stop,
		.retry = true,
	};
	stream_begin_batch(stream);
}

void stream_begin_batch(struct stream *stream)
{
	stream->boot_to_real_ns = clock_ns(CLOCK_REALTIME) - kernel_boot_ns(stream);
	stream->retry = true;
}

/* Lines that the output dropped were never records: their numbers are used again. */
static void take_dropped(struct stream *stream)
{
	uint64_t dropped[NSMON_KINDS] = { 0 };

	stream->seq -= output_take_dropped(stream->output, dropped);
	for (int i = NSMON_FORK; i <= NSMON_NS; i++) {
		stream->totals.written[i] -= dropped[i];
		stream->totals.lost += dropped[i];
		stream->untold[i] += dropped[i];
	}
	if (!dropped[NSMON_LOST])
		return;
	/* There is one at a time: it is written at once. */
	stream->totals.written[NSMON_LOST]--;
	for (int i = 0; i < NSMON_KINDS; i++)
		stream->untold[i] += stream->told[i];
}

int stream_flush(struct stream *stream)
{
	int err;

	take_dropped(stream); /* of a file that was reopened */
	if (stream->gave_up || output_is_empty(stream->output))
		return 0;
	/* Once asked to end, wait no longer than that; -EINTR may be what asks. */
	do {
		err = *stream->stop ? output_flush_within(stream->output, GIVE_UP_MS)
				    : output_flush(stream->output);
	} while (err == -EINTR);
	if (err == -ETIMEDOUT) {
		stream->gave_up = true;
		output_discard(stream->output);
		err = 0;
	}
	if (output_is_failing(stream->output))
		stream->retry = false;
	take_dropped(stream);
	return err;
}

static bool can_write(const struct stream *stream)
{
	return !stream->gave_up && (stream->retry || !output_is_failing(stream->output));
}

static void count_unwritten(struct stream *stream, enum nsmon_kind kind)
{
	if (kind < NSMON_FORK || kind > NSMON_NS)
		return;
	stream->totals.lost++;
	stream->untold[kind]++;
}

static int begin_line(struct stream *stream, struct line *line)
{
	int err = output_has_room(stream->output) ? 0 : stream_flush(stream);

	if (err || stream->gave_up)
		return err;
	return output_begin(stream->output, line);
}

static struct stamp next_stamp(struct stream *stream, uint64_t boot_ns)
{
	return (struct stamp){ .seq = ++stream->seq, .time = boot_ns + stream->boot_to_real_ns };
}

/* The first record; where it could not be written, it is written as soon as it can. */
static int put_start(struct stream *stream)
{
	struct stamp stamp;
	struct line line;
	int err;

	if (!stream->start_due || !stream->formatter->start || !can_write(stream))
		return 0;
	err = begin_line(stream, &line);
	if (err || stream->gave_up)
		return err;
	stamp = next_stamp(stream, kernel_boot_ns(stream));
	stream->formatter->start(&line, stream->run, &stamp);
	output_commit(stream->output, &line, 0);
	err = stream_flush(stream);
	stream->start_due = stream->seq == 0;
	return err;
}

/* Losses that are not told yet become a record, written at once. */
static int tell_lost(struct stream *stream)
{
	struct stamp stamp;
	struct line line;
	int err = put_start(stream);

	if (err || lost_count(stream->untold) == 0 || !can_write(stream))
		return err;
	err = stream_flush(stream);
	if (err || !can_write(stream))
		return err;
	err = begin_line(stream, &line);
	if (err || stream->gave_up)
		return err;
	stamp = next_stamp(stream, kernel_boot_ns(stream));
	memcpy(stream->told, stream->untold, sizeof(stream->told));
	memset(stream->untold, 0, sizeof(stream->untold));
	stream->formatter->lost(&line, stream->run, &stamp, stream->told);
	output_commit(stream->output, &line, NSMON_LOST);
	stream->totals.written[NSMON_LOST]++;
	return stream_flush(stream);
}

/* Room for a record of this kind; *ready is false where it is counted as lost instead. */
static int begin_record(struct stream *stream, enum nsmon_kind kind, struct line *line, bool *ready)
{
	int err = tell_lost(stream);

	*ready = false;
	if (!err && can_write(stream))
		err = begin_line(stream, line);
	if (err)
		return err;
	*ready = can_write(stream);
	if (!*ready)
		count_unwritten(stream, kind);
	return 0;
}

static void end_record(struct stream *stream, const struct line *line, enum nsmon_kind kind)
{
	stream->totals.written[kind]++;
	output_commit(stream->output, line, kind);
}

static int put_event(struct stream *stream, const struct event *event)
{
	struct stamp stamp;
	struct line line;
	bool ready;
	int err = begin_record(stream, event->kind, &line, &ready);

	if (err || !ready)
		return err;
	stamp = next_stamp(stream, event->time);
	if (event->failed)
		stream->formatter->failed(&line, stream->run, &stamp, event);
	else
		stream->formatter->event(&line, stream->run, &stamp, event);
	end_record(stream, &line, event->kind);
	return 0;
}

static int put_ns(struct stream *stream, const struct event *event, enum nsmon_ns_type type)
{
	struct stamp stamp;
	struct line line;
	bool ready;
	int err = begin_record(stream, NSMON_NS, &line, &ready);

	if (err || !ready)
		return err;
	stamp = next_stamp(stream, event->time);
	stream->formatter->ns(&line, stream->run, &stamp, event, type);
	end_record(stream, &line, NSMON_NS);
	return 0;
}

int stream_kernel_lost(struct stream *stream, const uint64_t lost[NSMON_KINDS])
{
	for (int i = NSMON_FORK; i <= NSMON_NS; i++) {
		if (lost[i] <= stream->kernel_lost[i])
			continue;
		stream->untold[i] += lost[i] - stream->kernel_lost[i];
		stream->totals.lost += lost[i] - stream->kernel_lost[i];
		stream->kernel_lost[i] = lost[i];
	}
	return tell_lost(stream);
}

static bool is_line_of_its_own(const struct event *event)
{
	switch (event->kind) {
	case NSMON_FORK:
		return event->fork.told;
	case NSMON_EXEC:
	case NSMON_EXIT:
		return true;
	case NSMON_NS:
		return event->failed;
	case NSMON_LOST:
		break;
	}
	return false;
}

int stream_record(struct stream *stream, const void *data, size_t size)
{
	struct event event;
	int err = 0;

	if (event_decode(&event, data, size)) {
		if (!stream->invalid++)
			log_error("a record of %zu bytes from the kernel could not be read", size);
		return 0;
	}
	if (event.kind == NSMON_LOST) {
		uint64_t lost[NSMON_KINDS];

		memcpy(lost, event.lost->lost, sizeof(lost));
		return stream_kernel_lost(stream, lost);
	}
	if (is_line_of_its_own(&event)) {
		stream->delivered[event.kind]++;
		err = put_event(stream, &event);
	}
	if (!event.change)
		return err;
	/* What the kernel counted; what the row makes of it may be more or less. */
	stream->delivered[NSMON_NS] += (uint64_t)__builtin_popcount(event.change->changed);
	if (stream->run->options->reasons ==
	    REASONS_ALL) /* else a row is not known from what is told */
		rows_fit(&stream->rows, &event);
	for (int type = 0; !err && type < NSMON_NS_TYPES; type++)
		if (event.change->changed & (1U << type))
			err = put_ns(stream, &event, (enum nsmon_ns_type)type);
	rows_told(&stream->rows, &event);
	return err;
}

int stream_start(struct stream *stream)
{
	stream->start_due = true;
	return put_start(stream);
}

int stream_stop(struct stream *stream)
{
	struct stamp stamp;
	struct line line;
	int err = tell_lost(stream);

	if (!err && stream->formatter->stop && can_write(stream)) {
		err = begin_line(stream, &line);
		if (err || stream->gave_up)
			return err;
		stamp = next_stamp(stream, kernel_boot_ns(stream));
		stream->formatter->stop(&line, stream->run, &stamp, &stream->totals);
		output_commit(stream->output, &line, 0);
	}
	if (!err)
		err = stream_flush(stream);
	if (!err && output_is_failing(stream->output)) {
		output_discard(stream->output);
		take_dropped(stream);
	}
	return err;
}
