// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * stream.c over a real output: numbers without a gap, losses told where they
 * are, and delivered = written + lost whatever the disk or the reader do.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include <cmocka.h>

#include "capture.h"
#include "records.h"
#include "stream.h"
#include "strict.h"

static char folder[64];
static char path[128];
static union record record;
static struct output *output;
static struct stream stream;
static struct options options;
static struct kernel kernel;
static volatile sig_atomic_t stop;
static const struct run run = { .options = &options, .kernel = &kernel, .backend = "fentry" };

static struct cgroup_filter filter;
static struct cgroups *cgroups; /* knows those that a test tells of */

static void ignore_verdict(void *context, uint64_t id, bool wanted)
{
	(void)context;
	(void)id;
	(void)wanted;
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nsmon-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/out", folder);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	options = (struct options){
		.events = EVENTS_ALL, .types = NSMON_NS_ALL, .reasons = 0x7e, .snapshot = true
	};
	stop = 0;
	alarm(60);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	capture_end(NULL);
	stream_free(&stream);
	limit_file_size(RLIM_INFINITY);
	cgroups_free(cgroups);
	cgroups = NULL;
	output_close(output);
	output = NULL;
	unlink(path);
	return rmdir(folder);
}

static void make_cgroups(void)
{
	filter = (struct cgroup_filter){ .path = options.cgroup, .container = options.container };
	cgroups_free(cgroups);
	cgroups = cgroups_new(&filter, "/nowhere", ignore_verdict, NULL);
	assert_non_null(cgroups);
}

static void open_stream(const char *name)
{
	assert_int_equal(output_open(&output, name), 0);
	stream_free(&stream);
	make_cgroups();
	assert_int_equal(stream_init(&stream, &json_formatter, &run, output, cgroups, &stop, 0), 0);
}

/* Gives the record to the stream from memory of its own size. */
static int give(size_t size)
{
	void *copy = malloc(size);
	int err;

	assert_non_null(copy);
	memcpy(copy, &record, size);
	err = stream_record(&stream, copy, size);
	free(copy);
	return err;
}

/* The same, from after the picture. */
static int give_late(size_t size)
{
	record.header.time = stream_now_ns(&stream) + 1000000000;
	return give(size);
}

static void give_fork(uint32_t pid)
{
	assert_int_equal(give(record_fork(&record, 696, pid, "sh")), 0);
}

/* What the file says, one row for each line. */
struct row {
	char event[8];
	uint64_t seq, pid, count, fork, exec, exit, ns, lost, proc, tasks;
	char type[24];
	char cgroup[64]; /* of a record of a task: its path */
	char old_cgroup[64];
	char target[16];
	bool in_container;
	char time[40];
};

static struct row rows[20000];
static size_t row_count;

static uint64_t number(const char *line, size_t len, const char *name)
{
	const char *value;
	size_t value_len;

	if (json_member(line, len, name, &value, &value_len) != 1)
		return UINT64_MAX;
	return strtoull(value, NULL, 10);
}

static void text(const char *line, size_t len, const char *name, char *out, size_t size)
{
	const char *value;
	size_t value_len;

	out[0] = 0;
	if (json_member(line, len, name, &value, &value_len) == 1 && value_len > 1)
		snprintf(out, size, "%.*s", (int)value_len - 2, value + 1);
}

static void read_rows(void)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	assert_non_null(file);
	row_count = 0;
	while ((n = getline(&line, &room, file)) > 0) {
		struct row *r = &rows[row_count++];
		size_t len = (size_t)n - 1;

		assert_int_equal(line[len], '\n');
		assert_true(json_is_object(line, len));
		text(line, len, "event", r->event, sizeof(r->event));
		text(line, len, "type", r->type, sizeof(r->type));
		text(line, len, "time", r->time, sizeof(r->time));
		text(line, len, "cgroup", r->cgroup, sizeof(r->cgroup));
		text(line, len, "old_cgroup", r->old_cgroup, sizeof(r->old_cgroup));
		text(line, len, "target", r->target, sizeof(r->target));
		r->in_container = number(line, len, "container") != UINT64_MAX;
		r->seq = number(line, len, "seq");
		r->pid = number(line, len, "pid");
		r->count = number(line, len, "count");
		r->fork = number(line, len, "fork");
		r->exec = number(line, len, "exec");
		r->exit = number(line, len, "exit");
		r->ns = number(line, len, "ns");
		r->lost = number(line, len, "lost");
		r->proc = number(line, len, "proc");
		r->tasks = number(line, len, "tasks");
		assert_int_equal(r->seq, row_count); /* from 1, without a gap */
	}
	free(line);
	fclose(file);
}

static void check_row(size_t i, const char *event, uint64_t pid)
{
	assert_true(i < row_count);
	assert_string_equal(rows[i].event, event);
	assert_int_equal(rows[i].pid, pid);
}

static void check_lost_row(size_t i, uint64_t forks, uint64_t execs, uint64_t exits,
			   uint64_t namespaces)
{
	check_row(i, "lost", UINT64_MAX);
	assert_int_equal(rows[i].count, forks + execs + exits + namespaces);
	assert_int_equal(rows[i].fork, forks);
	assert_int_equal(rows[i].exec, execs);
	assert_int_equal(rows[i].exit, exits);
	assert_int_equal(rows[i].ns, namespaces);
}

static void check_stop_row(size_t i, uint64_t forks, uint64_t execs, uint64_t exits,
			   uint64_t namespaces, uint64_t lost)
{
	check_row(i, "stop", UINT64_MAX);
	assert_int_equal(rows[i].fork, forks);
	assert_int_equal(rows[i].exec, execs);
	assert_int_equal(rows[i].exit, exits);
	assert_int_equal(rows[i].ns, namespaces);
	assert_int_equal(rows[i].lost, lost);
	assert_int_equal(row_count, i + 1);
}

static void test_one_of_each(void **state)
{
	size_t size;

	(void)state;
	open_stream(path);
	assert_int_equal(stream_start(&stream), 0);
	read_rows();
	assert_int_equal(row_count, 1); /* the first record does not wait */
	stream_begin_batch(&stream);
	give_fork(858);
	assert_int_equal(give(record_exec(&record, 858, "ls", "/bin/ls", "ls", 3)), 0);
	size = record_ns(&record, 858, "ls");
	record_changed(&record.ns.change, NSMON_NS_UTS, 4026532142U, NSMON_REASON_UNSHARE);
	assert_int_equal(give(size), 0);
	assert_int_equal(give(record_exit(&record, 858, "ls", 0)), 0);
	assert_int_equal(stream_flush(&stream), 0);
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "start", UINT64_MAX);
	check_row(1, "fork", 858);
	check_row(2, "exec", 858);
	check_row(3, "ns", 858);
	check_row(4, "exit", 858);
	check_stop_row(5, 1, 1, 1, 1, 0);
	assert_int_equal(stream.delivered[NSMON_FORK], 1);
	assert_int_equal(stream.delivered[NSMON_EXEC], 1);
	assert_int_equal(stream.delivered[NSMON_EXIT], 1);
	assert_int_equal(stream.delivered[NSMON_NS], 1);
}

/* A row of the iterator, as src/snapshot.c hands it over. */
static int give_row(uint32_t pid, uint32_t flags, int (*to)(struct stream *, struct event *))
{
	struct event event;
	size_t size = record_proc(&record, 1, pid, "sh");

	record.header.time = stream_now_ns(&stream);
	record.proc.flags = flags;
	assert_int_equal(event_decode(&event, &record, size), 0);
	return to(&stream, &event);
}

static void give_picture(void)
{
	assert_int_equal(give_row(1, NSMON_PROC_KERNEL, stream_seed), 0);
	assert_int_equal(give_row((uint32_t)getpid(), 0, stream_seed), 0);
	assert_int_equal(stream_seeded(&stream, 1), 0);
}

/* Of a process that the picture has shown. */
static void give_late_fork(uint32_t pid)
{
	size_t size = record_fork(&record, 1, pid, "sh");

	record.fork.creator_start_ns = record.fork.task.start_ns;
	assert_int_equal(give_late(size), 0);
}

static void test_picture(void **state)
{
	(void)state;
	open_stream(path);
	assert_int_equal(stream_start(&stream), 0);
	assert_false(stream_take_repair(&stream));
	give_picture();
	read_rows(); /* ready does not wait */
	check_row(0, "start", UINT64_MAX);
	check_row(1, "proc", 1);
	check_row(2, "proc", (uint64_t)getpid());
	check_row(3, "ready", UINT64_MAX);
	assert_int_equal(rows[3].tasks, 2);
	assert_int_equal(stream.totals.written[NSMON_PROC], 2);
	assert_false(stream_take_repair(&stream));
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_stop_row(4, 0, 0, 0, 0, 0);
	assert_int_equal(rows[4].proc, 2);
}

/* With --no-snapshot it is taken all the same, but nothing is told of it. */
static void test_picture_untold(void **state)
{
	(void)state;
	options.snapshot = false;
	open_stream(path);
	give_picture();
	assert_int_equal(stream_flush(&stream), 0);
	read_rows();
	assert_int_equal(row_count, 0);
	assert_int_equal(state_tasks(stream.state), 2);
	assert_int_equal(stream_ready(&stream), 0); /* after a repair there is one */
	read_rows();
	check_row(0, "ready", UINT64_MAX);
	assert_int_equal(rows[0].tasks, 2);
}

/* Text has no ready line; what waits is written all the same. */
static void test_ready_of_text(void **state)
{
	struct stat st;

	(void)state;
	open_stream(path);
	stream.formatter = &text_formatter;
	give_fork(858);
	assert_int_equal(stream_ready(&stream), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, strlen("fork: ppid=696 pid=858 comm=sh\n"));
	assert_int_equal(stream.seq, 1);
}

/* A loss is told, then a picture is wanted once; what it finds is counted apart. */
static void test_repair_after_a_loss(void **state)
{
	(void)state;
	open_stream(path);
	give_picture();
	assert_int_equal(give(record_lost(&record, 1, 1, 0, 0)), 0);
	assert_true(stream_take_repair(&stream));
	assert_false(stream_take_repair(&stream));
	for (int i = 0; i < 2; i++) {
		state_begin_pass(stream.state, stream_now_ns(&stream), true);
		assert_int_equal(give_row(1, NSMON_PROC_KERNEL, stream_pass_task), 0);
		assert_int_equal(give_row(2, 0, stream_pass_task), 0);
		assert_int_equal(stream_end_pass(&stream), 0);
	}
	state_end_repair(stream.state);
	assert_int_equal(stream_ready(&stream), 0);
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "proc", 1);
	check_row(1, "proc", (uint64_t)getpid());
	check_row(2, "ready", UINT64_MAX);
	check_lost_row(3, 1, 1, 0, 0);
	check_row(4, "fork", 2);
	check_row(5, "exit", (uint64_t)getpid());
	check_row(6, "ready", UINT64_MAX);
	assert_int_equal(rows[6].tasks, 2);
	check_stop_row(7, 0, 0, 0, 0, 2);
	assert_int_equal(rows[7].proc, 4);
	assert_int_equal(stream.delivered[NSMON_FORK], 0);
}

/* Not before the loss is told, and not where nobody could say what is missing. */
static void test_repair_after_dropped_lines(void **state)
{
	(void)state;
	open_stream(path);
	give_picture();
	capture_begin();
	limit_file_size(10);
	stream_begin_batch(&stream);
	give_late_fork(858);
	assert_int_equal(stream_flush(&stream), 0);
	assert_int_equal(state_tasks(stream.state), 2);
	assert_false(stream_take_repair(&stream));
	stream_begin_batch(&stream);
	assert_false(stream_take_repair(&stream));
	limit_file_size(RLIM_INFINITY);
	give_late_fork(859);
	assert_int_equal(stream_flush(&stream), 0);
	capture_end(NULL);
	assert_true(stream_take_repair(&stream));
	assert_false(stream_take_repair(&stream));
	read_rows();
	check_lost_row(3, 1, 0, 0, 0);
	check_row(4, "fork", 859);
	/* Recovered lines and rows that were dropped count as what they are. */
	capture_begin();
	limit_file_size(10);
	stream_begin_batch(&stream);
	state_begin_pass(stream.state, stream_now_ns(&stream), true);
	assert_int_equal(give_row(2, 0, stream_pass_task), 0);
	assert_int_equal(stream.totals.written[NSMON_PROC], 3);
	assert_int_equal(stream_flush(&stream), 0);
	capture_end(NULL);
	assert_int_equal(stream.totals.written[NSMON_PROC], 2);
	assert_int_equal(stream.totals.lost, 1);
	limit_file_size(RLIM_INFINITY);
	stream_begin_batch(&stream);
	assert_true(stream_take_repair(&stream));
	/* Without a picture there is none to come. */
	output_close(output);
	output = NULL;
	open_stream(path);
	assert_int_equal(give(record_lost(&record, 1, 0, 0, 0)), 0);
	assert_false(stream_take_repair(&stream));
	options.events = 1 << NSMON_FORK;
	output_close(output);
	output = NULL;
	open_stream(path);
	give_picture();
	assert_int_equal(give(record_lost(&record, 1, 0, 0, 0)), 0);
	assert_false(stream_take_repair(&stream));
}

static void test_time_of_day(void **state)
{
	uint64_t now;
	struct timespec ts;
	time_t second;
	char day[32];

	(void)state;
	open_stream(path);
	stream_begin_batch(&stream);
	record_fork(&record, 1, 2, "sh");
	clock_gettime(CLOCK_BOOTTIME, &ts);
	record.header.time = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	assert_int_equal(give(sizeof(record.fork)), 0);
	assert_int_equal(stream_flush(&stream), 0);
	read_rows();
	/* An event of now has the time of now. */
	clock_gettime(CLOCK_REALTIME, &ts);
	for (now = 0; now < 2; now++) {
		second = ts.tv_sec - (time_t)now;
		strftime(day, sizeof(day), "%FT%T.", gmtime(&second));
		if (strncmp(rows[0].time, day, strlen(day)) == 0)
			return;
	}
	fail_msg("%s is not %s", rows[0].time, day);
}

static void test_fork_with_namespaces(void **state)
{
	/* Given against the order of the contract. */
	static const enum nsmon_ns_type types[] = { NSMON_NS_TIME_FOR_CHILDREN, NSMON_NS_USER,
						    NSMON_NS_PID, NSMON_NS_NET, NSMON_NS_MNT };
	static const char *const names[] = { "mnt", "net", "pid", "user", "time_for_children" };
	size_t size = record_fork_ns(&record, 696, 858, "sh");

	(void)state;
	for (int i = 0; i < 5; i++)
		record_changed(&record.fork_ns.change, types[i], 4026532142U + (uint32_t)i,
			       NSMON_REASON_CLONE);
	open_stream(path);
	assert_int_equal(give(size), 0);
	record.header.flags |= NSMON_FLAG_NO_FORK;
	assert_int_equal(give(size), 0);
	assert_int_equal(stream_flush(&stream), 0);
	read_rows();
	assert_int_equal(row_count, 11);
	check_row(0, "fork", 858);
	for (size_t i = 0; i < 10; i++) {
		check_row(i + 1, "ns", 858);
		assert_string_equal(rows[i + 1].type, names[i % 5]);
	}
	assert_int_equal(stream.delivered[NSMON_FORK], 1);
	assert_int_equal(stream.delivered[NSMON_NS], 10);
	assert_int_equal(stream.totals.written[NSMON_NS], 10);
}

static void test_all_types_in_order(void **state)
{
	size_t size = record_ns(&record, 858, "unshare");

	(void)state;
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		record_changed(&record.ns.change, (enum nsmon_ns_type)i, 4026532142U,
			       NSMON_REASON_SETNS);
	open_stream(path);
	assert_int_equal(give(size), 0);
	assert_int_equal(stream_flush(&stream), 0);
	read_rows();
	assert_int_equal(row_count, NSMON_NS_TYPES);
	for (size_t i = 0; i < NSMON_NS_TYPES; i++)
		assert_string_equal(rows[i].type, ns_type_names[i]);
}

static void test_failed(void **state)
{
	(void)state;
	open_stream(path);
	assert_int_equal(give(record_failed(&record, 858, "unshare", NSMON_REASON_UNSHARE, EPERM,
					    0x40000000)),
			 0);
	assert_int_equal(stream_flush(&stream), 0);
	read_rows();
	assert_int_equal(row_count, 1);
	check_row(0, "ns", 858);
	assert_string_equal(rows[0].type, "");
	assert_int_equal(stream.delivered[NSMON_NS], 1);
	assert_int_equal(stream.totals.written[NSMON_NS], 1);
}

static void test_unreadable_records(void **state)
{
	size_t size;

	(void)state;
	open_stream(path);
	capture_begin();
	for (int i = 0; i < 100; i++) {
		size = record_fork(&record, 696, 858, "sh");
		assert_int_equal(give(size - 1), 0);
		record.header.kind = 99;
		assert_int_equal(give(size), 0);
	}
	assert_int_equal(capture_end(NULL), 1); /* said once */
	assert_int_equal(stream.invalid, 200);
	give_fork(859);
	assert_int_equal(stream_flush(&stream), 0);
	read_rows();
	assert_int_equal(row_count, 1);
	check_row(0, "fork", 859);
}

static void test_losses_of_the_kernel(void **state)
{
	uint64_t lost[NSMON_KINDS] = { 0 };

	(void)state;
	open_stream(path);
	give_fork(1);
	/* Totals: the first is all new, the second says nothing new, the third adds. */
	assert_int_equal(give(record_lost(&record, 1, 2, 3, 4)), 0);
	give_fork(2);
	assert_int_equal(give(record_lost(&record, 1, 2, 3, 4)), 0);
	give_fork(3);
	assert_int_equal(give(record_lost(&record, 1, 2, 3, 9)), 0);
	give_fork(4);
	/* One that was delayed is older than what is known. */
	assert_int_equal(give(record_lost(&record, 1, 1, 1, 1)), 0);
	give_fork(5);
	/* The end of a burst: nobody after the gap tells of it. */
	lost[NSMON_FORK] = 7;
	lost[NSMON_EXEC] = 2;
	lost[NSMON_EXIT] = 3;
	lost[NSMON_NS] = 9;
	assert_int_equal(stream_kernel_lost(&stream, lost), 0);
	assert_int_equal(stream_kernel_lost(&stream, lost), 0);
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "fork", 1);
	check_lost_row(1, 1, 2, 3, 4);
	check_row(2, "fork", 2);
	check_row(3, "fork", 3);
	check_lost_row(4, 0, 0, 0, 5);
	check_row(5, "fork", 4);
	check_row(6, "fork", 5);
	check_lost_row(7, 6, 0, 0, 0);
	check_stop_row(8, 5, 0, 0, 0, 7 + 2 + 3 + 9);
}

static uint64_t skipped_forks;
static int looks;

static int look(void *context)
{
	const uint64_t missed[NSMON_KINDS] = { [NSMON_FORK] = skipped_forks };

	assert_ptr_equal(context, &skipped_forks);
	looks++;
	return stream_kernel_missed(&stream, missed);
}

/* What the kernel skipped is told in front of the first record that shows it, apart from what found no room. */
static void test_misses_of_the_kernel(void **state)
{
	uint64_t lost[NSMON_KINDS] = { [NSMON_FORK] = 2 };

	(void)state;
	open_stream(path);
	stream.look_for_misses = look;
	stream.context = &skipped_forks;
	skipped_forks = looks = 0;
	assert_int_equal(stream_start(&stream), 0);
	record_fork(&record, 0, 1, "x");
	assert_int_equal(
		stream_seed(&stream, &(struct event){ .kind = NSMON_PROC,
						      .time = 1,
						      .task = &record.fork.task,
						      .proc.ns = &record.fork_ns.change.old }),
		0);
	assert_int_equal(stream_seeded(&stream, 1), 0);
	record_fork(&record, 1, 5000, "x");
	record.fork.creator_start_ns = record.fork.task.start_ns;
	assert_int_equal(give_late(sizeof(record.fork)), 0);
	assert_int_equal(give_late(record_exec(&record, 5000, "x", "/x", "", 0)), 0);
	assert_int_equal(looks, 0); /* all of it is known */
	skipped_forks = 3;
	record_fork(&record, 6000, 6001, "x");
	assert_int_equal(give_late(sizeof(record.fork)), 0);
	assert_int_equal(looks, 1);
	record_fork(&record, 6000, 6002, "x");
	assert_int_equal(give_late(sizeof(record.fork)), 0);
	assert_int_equal(looks, 2); /* nothing new */
	assert_int_equal(stream_kernel_lost(&stream, lost), 0);
	assert_true(stream_is_in_doubt(&stream));
	assert_true(stream_take_repair(&stream));
	assert_false(stream_is_in_doubt(&stream));
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "start", UINT64_MAX);
	check_row(3, "fork", 5000);
	check_row(4, "exec", 5000);
	check_lost_row(5, 3, 0, 0, 0);
	check_row(6, "fork", 6001);
	check_row(7, "fork", 6002);
	check_lost_row(8, 2, 0, 0, 0);
	check_stop_row(9, 3, 1, 0, 0, 5);
}

/* What waits for the output's reader is not written yet, and what is dropped never was. */
static void test_totals_while_the_output_waits(void **state)
{
	struct totals totals;

	(void)state;
	open_stream(path);
	give_fork(1);
	assert_int_equal(stream_flush(&stream), 0);
	for (uint32_t pid = 2; pid <= 4; pid++)
		give_fork(pid);
	totals = stream_totals(&stream);
	assert_int_equal(totals.written[NSMON_FORK], 1);
	assert_int_equal(stream.totals.written[NSMON_FORK], 4);
	capture_begin();
	limit_file_size(1);
	assert_int_equal(stream_flush(&stream), 0);
	limit_file_size(RLIM_INFINITY);
	capture_end(NULL);
	totals = stream_totals(&stream);
	assert_int_equal(totals.written[NSMON_FORK], 1);
	assert_int_equal(totals.lost, 3);
}

static void give_tree(enum nsmon_cgroup_op op, uint64_t id, uint64_t parent_id, const char *name)
{
	assert_int_equal(give(record_tree(&record, op, id, parent_id, name)), 0);
}

/* What a record of the tree says holds for the records behind it, and is none itself. */
static void test_cgroups(void **state)
{
	uint64_t lost[NSMON_KINDS] = { 0 };

	(void)state;
	open_stream(path);
	give_tree(NSMON_CGROUP_MADE, 1, 0, "");
	give_fork(858);
	assert_true(stream.cgroups_changed);
	give_tree(NSMON_CGROUP_MADE, 2, 1, "lxc.payload.x");
	assert_int_equal(give(record_move(&record, 858, "sh", 2)), 0);
	assert_int_equal(give(record_move(&record, 858, "sh", 2)), 0);
	give_tree(NSMON_CGROUP_REMOVED, 2, 1, "lxc.payload.x");
	record_exit(&record, 858, "sh", 0);
	record.exit.task.cgroup_id = 2;
	assert_int_equal(give(sizeof(record.exit)), 0);
	/* A lost record of the tree is no lost record of output, but one to look for. */
	assert_false(stream.cgroups_doubt);
	lost[NSMON_CGROUP_TREE] = 3;
	assert_int_equal(stream_kernel_lost(&stream, lost), 0);
	assert_true(stream.cgroups_doubt);
	stream.cgroups_doubt = false;
	assert_int_equal(stream_kernel_lost(&stream, lost), 0);
	assert_false(stream.cgroups_doubt);
	lost[NSMON_CGROUP] = 2;
	assert_int_equal(stream_kernel_lost(&stream, lost), 0);
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "fork", 858);
	assert_string_equal(rows[0].cgroup, "/");
	assert_false(rows[0].in_container);
	check_row(1, "cgroup", 858);
	assert_string_equal(rows[1].cgroup, "/lxc.payload.x");
	assert_string_equal(rows[1].old_cgroup, "/");
	assert_true(rows[1].in_container);
	check_row(2, "exit", 858);
	assert_true(rows[2].in_container);
	check_row(3, "lost", UINT64_MAX);
	assert_int_equal(rows[3].count, 2);
	check_stop_row(4, 1, 0, 1, 0, 2);
	assert_int_equal(stream.delivered[NSMON_CGROUP], 2);
	assert_int_equal(stream.delivered[NSMON_CGROUP_TREE], 0);
	assert_int_equal(stream.totals.written[NSMON_CGROUP], 1);
}

/* The kernel lets pass what it does not know: who is not wanted is not told. */
static void test_filter(void **state)
{
	(void)state;
	options.cgroup = "/a";
	open_stream(path);
	give_tree(NSMON_CGROUP_MADE, 1, 0, "");
	give_tree(NSMON_CGROUP_MADE, 2, 1, "a");
	give_tree(NSMON_CGROUP_MADE, 3, 2, "b");
	give_fork(10); /* in 1 */
	record_fork(&record, 696, 11, "sh");
	record.fork.task.cgroup_id = 99; /* of which nothing is known */
	assert_int_equal(give(sizeof(record.fork)), 0);
	record_fork(&record, 696, 12, "sh");
	record.fork.task.cgroup_id = 3;
	assert_int_equal(give(sizeof(record.fork)), 0);
	/* It leaves: that is told, and nothing more. */
	assert_int_equal(give(record_move(&record, 12, "sh", 2)), 0);
	assert_int_equal(state_tasks(stream.state), 1);
	assert_int_equal(give(record_move(&record, 12, "sh", 1)), 0);
	assert_int_equal(state_tasks(stream.state), 0);
	assert_int_equal(give(record_move(&record, 12, "sh", 99)), 0);
	assert_int_equal(give(record_exit(&record, 12, "sh", 0)), 0);
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "fork", 12);
	assert_string_equal(rows[0].cgroup, "/a/b");
	check_row(1, "cgroup", 12);
	assert_string_equal(rows[1].old_cgroup, "/a/b");
	check_row(2, "cgroup", 12);
	assert_string_equal(rows[2].cgroup, "/");
	check_stop_row(3, 1, 0, 0, 0, 0);
	/* All of them were delivered: nsmon proves it. */
	assert_int_equal(stream.delivered[NSMON_FORK], 3);
	assert_int_equal(stream.delivered[NSMON_CGROUP], 3);
	assert_int_equal(stream.delivered[NSMON_EXIT], 1);
}

/* Rows of pictures pass the same filter; who comes into it later is a row from then on. */
static void test_filter_of_pictures(void **state)
{
	(void)state;
	options.container = "x";
	open_stream(path);
	give_tree(NSMON_CGROUP_MADE, 1, 0, "");
	give_tree(NSMON_CGROUP_MADE, 2, 1, "lxc.payload.x");
	give_picture(); /* in 1 */
	assert_int_equal(state_tasks(stream.state), 0);
	record_move(&record, 20, "sh", 2);
	assert_int_equal(give_late(sizeof(record.proc)), 0);
	assert_int_equal(state_tasks(stream.state), 1);
	state_begin_pass(stream.state, stream_now_ns(&stream), true);
	assert_int_equal(give_row(1, 0, stream_pass_task), 0);
	assert_int_equal(stream_end_pass(&stream), 0);
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "ready", UINT64_MAX);
	assert_int_equal(rows[0].tasks, 0);
	check_row(1, "proc", 20);
	assert_true(rows[1].in_container);
	check_row(2, "stop", UINT64_MAX);
}

/* Whose namespace is entered: looked up by what was told of its programs. */
static void test_targets(void **state)
{
	struct nsmon_ns_set host = { 0 };
	size_t size;

	(void)state;
	open_stream(path);
	memcpy(host.inum, initial_inums, sizeof(initial_inums));
	state_set_host(stream.state, &host);
	give_tree(NSMON_CGROUP_MADE, 1, 0, "");
	give_tree(NSMON_CGROUP_MADE, 2, 1, "lxc.payload.x");
	give_row(1, NSMON_PROC_KERNEL, stream_seed);
	record_proc(&record, 1, 20, "sh");
	record.header.time = stream_now_ns(&stream);
	record.proc.task.cgroup_id = 2;
	record.proc.ns.inum[NSMON_NS_NET] = 7;
	{
		struct event event;

		assert_int_equal(event_decode(&event, &record, sizeof(record.proc)), 0);
		assert_int_equal(stream_seed(&stream, &event), 0);
	}
	assert_int_equal(stream_seeded(&stream, 1), 0);
	for (uint32_t i = 0; i < 2; i++) {
		size = record_ns(&record, 1, "nsenter");
		record.ns.change.old.inum[NSMON_NS_NET] = i ? 7 : initial_inums[NSMON_NS_NET];
		record_changed(&record.ns.change, NSMON_NS_NET, i ? initial_inums[NSMON_NS_NET] : 7,
			       NSMON_REASON_SETNS);
		record.ns.change.wanted = NSMON_NS_ALL;
		memset(record.ns.change.reason, NSMON_REASON_SETNS,
		       sizeof(record.ns.change.reason));
		assert_int_equal(give_late(size), 0);
	}
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(3, "ns", 1);
	assert_string_equal(rows[3].target, "x");
	check_row(4, "ns", 1);
	assert_string_equal(rows[4].target, "host");
}

/* The text has no start and no stop; a lost line it has. */
static void test_text_has_no_start_and_stop(void **state)
{
	char content[4096];
	int fd;

	(void)state;
	open_stream(path);
	stream.formatter = &text_formatter;
	assert_int_equal(stream_start(&stream), 0);
	give_fork(858);
	assert_int_equal(give(record_lost(&record, 1, 0, 0, 0)), 0);
	assert_int_equal(stream_stop(&stream), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	memset(content, 0, sizeof(content));
	assert_true(read(fd, content, sizeof(content) - 1) > 0);
	close(fd);
	assert_string_equal(content, "fork: ppid=696 pid=858 comm=sh\n"
				     "lost: count=1 fork=1 exec=0 exit=0 ns=0 cgroup=0\n");
}

/* Every fork of pid 1 to n is in the file, or in a lost record that stands in its place. */
static void check_forks(uint64_t n)
{
	uint64_t next = 1;

	for (size_t i = 0; i < row_count; i++) {
		if (strcmp(rows[i].event, "lost") == 0) {
			assert_int_equal(rows[i].count, rows[i].fork);
			assert_true(rows[i].count > 0);
			next += rows[i].count;
			continue;
		}
		if (strcmp(rows[i].event, "fork"))
			continue;
		assert_int_equal(rows[i].pid, next);
		next++;
	}
	assert_int_equal(next, n + 1);
}

static void test_full_disk(void **state)
{
	uint32_t pid = 1;
	char said[CAPTURE_MAX];

	(void)state;
	open_stream(path);
	assert_int_equal(stream_start(&stream), 0);
	limit_file_size(20000);
	capture_begin();
	for (int batch = 0; batch < 50; batch++) {
		stream_begin_batch(&stream);
		for (int i = 0; i < 10; i++)
			give_fork(pid++);
		assert_int_equal(stream_flush(&stream), 0);
	}
	assert_int_equal(capture_end(said), 1);
	assert_true(output_is_failing(output));
	limit_file_size(RLIM_INFINITY);
	capture_begin();
	for (int batch = 0; batch < 5; batch++) {
		stream_begin_batch(&stream);
		for (int i = 0; i < 10; i++)
			give_fork(pid++);
		assert_int_equal(stream_flush(&stream), 0);
	}
	assert_int_equal(capture_end(said), 1); /* "works again" */
	assert_false(output_is_failing(output));
	assert_int_equal(stream_stop(&stream), 0);
	read_rows();
	check_row(0, "start", UINT64_MAX);
	check_forks(pid - 1);
	assert_int_equal(stream.delivered[NSMON_FORK], pid - 1);
	assert_int_equal(stream.totals.written[NSMON_FORK] + stream.totals.lost, pid - 1);
	check_stop_row(row_count - 1, stream.totals.written[NSMON_FORK], 0, 0, 0,
		       stream.totals.lost);
	assert_int_equal(stream.totals.written[NSMON_LOST], 1);
}

/* A device that takes nothing at all, and a trace that goes on and on. */
static void test_full_device(void **state)
{
	uint64_t lost[NSMON_KINDS] = { 0 };
	char said[CAPTURE_MAX];

	(void)state;
	open_stream("/dev/full");
	capture_begin();
	assert_int_equal(stream_start(&stream), 0);
	for (uint32_t batch = 0; batch < 20; batch++) {
		stream_begin_batch(&stream);
		for (uint32_t i = 0; i < batch; i++)
			give_fork(100 * batch + i);
		assert_int_equal(stream_kernel_lost(&stream, lost), 0);
		assert_int_equal(stream_flush(&stream), 0);
		assert_true(output_is_failing(output));
	}
	stream_begin_batch(&stream);
	assert_int_equal(stream_stop(&stream), 0);
	assert_int_equal(capture_end(said), 1); /* one line on standard error */
	assert_true(output_is_failing(output)); /* else nsmon would end with 0 */
	assert_int_equal(stream.totals.lost, 190);
	assert_int_equal(stream.untold[NSMON_FORK], 190);
	assert_int_equal(stream.totals.written[NSMON_FORK], 0);
	assert_int_equal(stream.totals.written[NSMON_LOST], 0);
}

/*
 * The disk is full when a block in the middle of a batch is written, and has
 * room again before the next one.
 */
static void test_full_disk_in_the_middle_of_a_batch(void **state)
{
	(void)state;
	for (uint32_t fill = 320; fill < 380; fill++) { /* a block holds some 350 */
		uint32_t pid = 1;

		open_stream(path);
		assert_int_equal(stream_start(&stream), 0);
		capture_begin();
		stream_begin_batch(&stream);
		limit_file_size(10);
		for (uint32_t i = 0; i < fill; i++)
			give_fork(pid++);
		limit_file_size(RLIM_INFINITY);
		for (uint32_t i = 0; i < 10; i++)
			give_fork(pid++);
		assert_int_equal(stream_flush(&stream), 0);
		stream_begin_batch(&stream);
		give_fork(pid++);
		assert_int_equal(stream_flush(&stream), 0);
		assert_int_equal(stream_stop(&stream), 0);
		capture_end(NULL);
		read_rows();
		check_forks(pid - 1);
		output_close(output);
		output = NULL;
		unlink(path);
	}
}

/* Disks of every size, full and free in turn. */
static void test_every_limit(void **state)
{
	(void)state;
	for (uint32_t limit = 300; limit < 3500; limit += 41) {
		struct stat st;
		uint32_t pid = 1;

		open_stream(path);
		assert_int_equal(stream_start(&stream), 0);
		capture_begin();
		for (uint32_t batch = 0; batch < 24; batch++) {
			stat(path, &st);
			limit_file_size(batch % 4 < 3 ? (rlim_t)st.st_size + limit / 4
						      : RLIM_INFINITY);
			stream_begin_batch(&stream);
			for (uint32_t i = 0; i < limit % 7; i++)
				give_fork(pid++);
			assert_int_equal(stream_flush(&stream), 0);
		}
		limit_file_size(RLIM_INFINITY);
		stream_begin_batch(&stream);
		assert_int_equal(stream_stop(&stream), 0);
		capture_end(NULL);
		read_rows();
		check_forks(pid - 1);
		assert_int_equal(stream.totals.written[NSMON_FORK] + stream.totals.lost, pid - 1);
		check_stop_row(row_count - 1, stream.totals.written[NSMON_FORK], 0, 0, 0,
			       stream.totals.lost);
		output_close(output);
		output = NULL;
		unlink(path);
	}
}

/* The whole lines of the old file, and behind them those of the new one, at path. */
static void join_files(const char *old)
{
	static char bytes[1 << 20];
	int from = open(path, O_RDONLY | O_CLOEXEC);
	int to = open(old, O_RDWR | O_CLOEXEC);
	ssize_t n;

	assert_true(from >= 0 && to >= 0);
	n = read(to, bytes, sizeof(bytes));
	assert_true(n > 0);
	while (n > 0 && bytes[n - 1] != '\n')
		n--;
	assert_int_equal(ftruncate(to, n), 0);
	assert_int_equal(lseek(to, n, SEEK_SET), n);
	n = read(from, bytes, sizeof(bytes));
	assert_true(n > 0);
	assert_int_equal(write(to, bytes, (size_t)n), n);
	close(from);
	close(to);
	assert_int_equal(rename(old, path), 0);
}

/* The full disk is given up for another one, in the middle of a line. */
static void test_full_disk_and_reopening(void **state)
{
	char old[160];

	(void)state;
	snprintf(old, sizeof(old), "%s.old", path);
	for (uint32_t more = 0; more < 3; more++) {
		uint32_t pid = 1;

		open_stream(path);
		assert_int_equal(stream_start(&stream), 0);
		limit_file_size(2222); /* not at the end of a line */
		capture_begin();
		stream_begin_batch(&stream);
		while (stream.totals.lost == 0 && pid < 30 + more) {
			give_fork(pid++);
			assert_int_equal(stream_flush(&stream), 0);
		}
		assert_true(output_is_failing(output));
		assert_int_equal(rename(path, old), 0);
		output_reopen(output);
		limit_file_size(RLIM_INFINITY);
		for (int batch = 0; batch < 3; batch++) {
			stream_begin_batch(&stream);
			for (uint32_t i = 0; i <= more; i++)
				give_fork(pid++);
			assert_int_equal(stream_flush(&stream), 0);
		}
		assert_int_equal(stream_stop(&stream), 0);
		capture_end(NULL);
		join_files(old);
		read_rows();
		check_forks(pid - 1);
		assert_int_equal(stream.totals.written[NSMON_FORK] + stream.totals.lost, pid - 1);
		output_close(output);
		output = NULL;
		unlink(path);
	}
}

/*
 * The fork of a task is dropped by what is written for a later record of the same
 * task, together with the end of another: what the table held of both is gone.
 */
static void test_full_disk_while_a_task_is_told(void **state)
{
	(void)state;
	for (uint32_t before = 0; before < 700; before += 7) {
		size_t size;

		open_stream(path);
		assert_int_equal(stream_start(&stream), 0);
		for (uint32_t pid = 1; pid <= 3; pid++)
			give_fork(pid);
		assert_int_equal(stream_flush(&stream), 0);
		capture_begin();
		stream_begin_batch(&stream);
		limit_file_size(10);
		for (uint32_t i = 0; i < before; i++)
			give_fork(1000 + i);
		assert_int_equal(give(record_exit(&record, 2, "x", 0)), 0);
		size = record_fork_ns(&record, 1, 5000, "x");
		record_changed(&record.fork_ns.change, NSMON_NS_NET, 5, NSMON_REASON_CLONE);
		assert_int_equal(give(size), 0);
		for (uint32_t i = 0; i < 700; i++) {
			size = record_ns(&record, 5000, "x");
			record.ns.change.wanted = NSMON_NS_ALL;
			memset(record.ns.change.reason, NSMON_REASON_SETNS,
			       sizeof(record.ns.change.reason));
			for (int type = 0; type < NSMON_NS_TYPES; type++)
				record_changed(&record.ns.change, (enum nsmon_ns_type)type,
					       2 * i + 6 + (uint32_t)type, NSMON_REASON_SETNS);
			assert_int_equal(give(size), 0);
		}
		limit_file_size(RLIM_INFINITY);
		stream_begin_batch(&stream);
		assert_int_equal(state_tasks(stream.state), 3); /* as a reader has them */
		assert_int_equal(give(record_exit(&record, 2, "x", 0)), 0);
		assert_int_equal(state_tasks(stream.state), 2);
		assert_int_equal(stream_stop(&stream), 0);
		capture_end(NULL);
		read_rows();
		check_row(0, "start", UINT64_MAX);
		check_row(4, "lost", UINT64_MAX);
		check_row(5, "exit", 2);
		output_close(output);
		output = NULL;
		unlink(path);
	}
}

/* Half of a fork was written when the disk was full; then the file is another one. */
static void test_reopening_while_a_task_is_told(void **state)
{
	const struct nsmon_ns_set *ns = &record.fork_ns.change.old;
	char old[160];

	(void)state;
	snprintf(old, sizeof(old), "%s.old", path);
	for (rlim_t more = 1; more < 150; more += 3) {
		struct stat st;
		size_t size;

		open_stream(path);
		assert_int_equal(stream_start(&stream), 0);
		size = record_fork_ns(&record, 0, 1, "x");
		assert_int_equal(stream_seed(&stream, &(struct event){ .kind = NSMON_PROC,
								       .time = 1,
								       .task = &record.fork.task,
								       .proc.ns = ns }),
				 0);
		assert_int_equal(stream_seeded(&stream, 1), 0);
		assert_int_equal(stream_flush(&stream), 0);
		assert_int_equal(stat(path, &st), 0);
		capture_begin();
		limit_file_size((rlim_t)st.st_size + more);
		stream_begin_batch(&stream);
		size = record_fork_ns(&record, 1, 5000, "x");
		record.fork.creator_start_ns = record.fork.task.start_ns;
		record_changed(&record.fork_ns.change, NSMON_NS_NET, 5, NSMON_REASON_CLONE);
		record.fork_ns.change.wanted = NSMON_NS_ALL;
		memset(record.fork_ns.change.reason, NSMON_REASON_CLONE,
		       sizeof(record.fork_ns.change.reason));
		assert_int_equal(give_late(size), 0);
		assert_int_equal(stream_flush(&stream), 0);
		assert_int_equal(rename(path, old), 0);
		output_reopen(output);
		limit_file_size(RLIM_INFINITY);
		stream_begin_batch(&stream);
		size = record_exec(&record, 5000, "x", "/x", "", 0);
		record.exec.exec_id = 1;
		assert_int_equal(give_late(size), 0);
		assert_int_equal(stream_flush(&stream), 0);
		assert_int_equal(state_tasks(stream.state), 2);
		assert_int_equal(give_late(record_exit(&record, 5000, "x", 0)), 0);
		assert_int_equal(stream_stop(&stream), 0);
		capture_end(NULL);
		assert_int_equal(state_tasks(stream.state), 1);
		join_files(old);
		read_rows();
		check_row(1, "proc", 1);
		check_row(2, "ready", UINT64_MAX);
		check_row(3, "fork", 5000); /* all of it in the new file */
		check_row(4, "lost", UINT64_MAX); /* its change */
		check_row(5, "exec", 5000);
		check_row(6, "exit", 5000);
		output_close(output);
		output = NULL;
		unlink(path);
	}
}

static void test_reader_is_gone(void **state)
{
	uint64_t lost[NSMON_KINDS] = { [NSMON_FORK] = 1 };
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	open_stream(path);
	close(fd);
	capture_begin();
	assert_int_equal(stream_start(&stream), -EPIPE);
	give_fork(1);
	assert_int_equal(stream_flush(&stream), -EPIPE);
	assert_int_equal(stream_kernel_lost(&stream, lost), -EPIPE);
	assert_int_equal(stream_stop(&stream), -EPIPE);
	assert_int_equal(capture_end(NULL), 0); /* quietly, as head(1) expects */
}

/*
 * The reader does not read, and the user has asked to stop: that takes two
 * seconds and no second signal. In a child, so that one that hangs is seen.
 */
static void on_alarm(int signal)
{
	(void)signal;
}

enum last_words { FLUSH, ANOTHER_RECORD, STOP };

static int end_with_a_stuck_reader(enum last_words how, size_t records, bool interrupted)
{
	struct itimerval once = { { 0, 0 }, { 0, 300000 } };
	struct sigaction action = { .sa_handler = on_alarm };
	uint32_t pid = 1;
	int fd, err = 0;

	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || output_open(&output, path))
		return 90;
	fcntl(fd, F_SETPIPE_SZ, 4096);
	stream_free(&stream);
	make_cgroups();
	stream_init(&stream, &json_formatter, &run, output, cgroups, &stop, 0);
	stop = 1;
	sigaction(SIGALRM, &action, NULL);
	if (interrupted) /* as by the alarm that nsmon sets, or the end of COMMAND */
		setitimer(ITIMER_REAL, &once, NULL);
	for (size_t i = 0; !err && i < records; i++)
		err = give(record_fork(&record, 696, pid++, "sh"));
	if (!err && how == FLUSH)
		err = stream_flush(&stream);
	if (!err)
		err = stream_stop(&stream);
	if (err)
		return 91;
	if (!stream.gave_up)
		return 92;
	/* No record is made where there is no room for it, and those that nobody took are lost. */
	err = stream.totals.written[NSMON_FORK] + stream.totals.lost != records ? 93 : 0;
	stream_free(&stream);
	return err;
}

static void check_end_once(enum last_words how, size_t records, bool interrupted)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };
	int status = -1;
	pid_t pid;

	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	pid = fork();
	if (pid == 0) {
		alarm(0);
		exit(end_with_a_stuck_reader(how, records, interrupted));
	}
	for (int i = 0; i < 800 && waitpid(pid, &status, WNOHANG) == 0; i++)
		nanosleep(&pause, NULL);
	if (status == -1) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		fail_msg("with %zu records it has not ended after 8 s%s", records,
			 interrupted ? ", once interrupted" : "");
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void check_end(enum last_words how, size_t records)
{
	check_end_once(how, records, true);
	check_end_once(how, records, false);
}

static void test_stuck_reader_at_the_end(void **state)
{
	(void)state;
	check_end(FLUSH, 100);
}

/* More than a block: the write that blocks first is in the middle of a batch. */
static void test_stuck_reader_in_a_batch(void **state)
{
	(void)state;
	check_end(ANOTHER_RECORD, 1000);
}

/* The stop record itself is what needs the room: the block is full before it. */
static void test_stuck_reader_and_the_stop_record(void **state)
{
	size_t n = 0, len = 0;
	struct stat st;

	(void)state;
	/* How many records fill a block of 64 KiB, so that the next one has to write it? */
	open_stream(path);
	do {
		give_fork((uint32_t)++n);
		assert_int_equal(stat(path, &st), 0);
	} while (st.st_size == 0 && n < 5000);
	len = n - 1;
	output_close(output);
	output = NULL;
	check_end(STOP, len);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_of_each),
		TEST(test_picture),
		TEST(test_picture_untold),
		TEST(test_ready_of_text),
		TEST(test_repair_after_a_loss),
		TEST(test_repair_after_dropped_lines),
		TEST(test_time_of_day),
		TEST(test_fork_with_namespaces),
		TEST(test_all_types_in_order),
		TEST(test_failed),
		TEST(test_unreadable_records),
		TEST(test_losses_of_the_kernel),
		TEST(test_misses_of_the_kernel),
		TEST(test_totals_while_the_output_waits),
		TEST(test_cgroups),
		TEST(test_filter),
		TEST(test_filter_of_pictures),
		TEST(test_targets),
		TEST(test_text_has_no_start_and_stop),
		TEST(test_full_disk),
		TEST(test_full_device),
		TEST(test_full_disk_in_the_middle_of_a_batch),
		TEST(test_every_limit),
		TEST(test_full_disk_and_reopening),
		TEST(test_full_disk_while_a_task_is_told),
		TEST(test_reopening_while_a_task_is_told),
		TEST(test_reader_is_gone),
		TEST(test_stuck_reader_at_the_end),
		TEST(test_stuck_reader_in_a_batch),
		TEST(test_stuck_reader_and_the_stop_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
