// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* text.c: the lines of the RFC, and nothing that a traced process can make of them. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "contained.h"
#include "format.h"
#include "records.h"
#include "strict.h"

static union record record;
static struct options options;
static const struct kernel kernel;
static struct run run = { .options = &options, .kernel = &kernel, .backend = "fentry" };
/* 2026-11-23T16:24:00.123456789Z */
static const struct stamp stamp = { .seq = 7, .time = 1795451040123456789 };
static char room[LINE_MAX_BYTES + 1];

static int set_up(void **state)
{
	(void)state;
	options = (struct options){ 0 };
	run.colour = false;
	return 0;
}

/* The line of the record, of size bytes; for a namespace record that of one type. */
static const char *format(size_t size, int type)
{
	struct line line = { .at = room, .end = room + LINE_MAX_BYTES };
	struct event event;

	assert_int_equal(event_decode(&event, &record, size), 0);
	if (type >= 0)
		text_formatter.ns(&line, &run, &stamp, &event, (enum nsmon_ns_type)type);
	else if (event.failed)
		text_formatter.failed(&line, &run, &stamp, &event);
	else
		text_formatter.event(&line, &run, &stamp, &event);
	*line.at = 0;
	assert_true(line.at > room && line.at[-1] == '\n');
	if (!run.colour)
		assert_true(strict_is_printable(room, (size_t)(line.at - room) - 1));
	return room;
}

#define is(size, expected) assert_string_equal(format(size, -1), expected)

/* The lines of the contract's example. */
static void test_example_of_the_contract(void **state)
{
	static const char args[] = "unshare\0-n\0-f\0ls\0-l\0/proc/self/ns/net";
	size_t size;

	(void)state;
	is(record_fork(&record, 696, 858, "nsmon"), "fork: ppid=696 pid=858 comm=nsmon\n");
	is(record_exec(&record, 858, "unshare", "/usr/bin/unshare", args, sizeof(args)),
	   "exec: pid=858 comm=unshare args=\"unshare -n -f ls -l /proc/self/ns/net\"\n");
	size = record_ns(&record, 858, "unshare");
	record.ns.change.old.inum[NSMON_NS_NET] = 4026531957U;
	record_changed(&record.ns.change, NSMON_NS_NET, 4026532142U, NSMON_REASON_UNSHARE);
	assert_string_equal(format(size, NSMON_NS_NET),
			    "ns: pid=858 type=net reason=unshare old_inum=4026531957 "
			    "inum=4026532142 comm=unshare\n");
	is(record_exit(&record, 859, "ls", 0), "exit: pid=859 comm=ls code=0\n");
}

static void test_exit(void **state)
{
	(void)state;
	/* The status of wait(2): code << 8, or signal, with 0x80 for a core. */
	is(record_exit(&record, 1, "x", 1 << 8), "exit: pid=1 comm=x code=1\n");
	is(record_exit(&record, 1, "x", 255 << 8), "exit: pid=1 comm=x code=255\n");
	is(record_exit(&record, 1, "x", SIGKILL), "exit: pid=1 comm=x signal=9\n");
	is(record_exit(&record, 1, "x", SIGSEGV | 0x80), "exit: pid=1 comm=x signal=11 core\n");
	is(record_exit(&record, 1, "x", 64), "exit: pid=1 comm=x signal=64\n");
}

static void test_tid_where_it_differs(void **state)
{
	size_t size = record_exit(&record, 858, "ls", 0);

	(void)state;
	record.exit.task.tid = 861;
	is(size, "exit: pid=858 tid=861 comm=ls code=0\n");
	size = record_fork(&record, 696, 858, "sh");
	record.fork.task.tid = 861;
	record.fork.creator_tid = 700;
	is(size, "fork: ppid=696 pid=858 tid=861 comm=sh ptid=700\n");
	/* The creator, although CLONE_PARENT made another one the parent. */
	size = record_fork(&record, 696, 858, "sh");
	record.fork.task.ppid = 1;
	is(size, "fork: ppid=696 pid=858 comm=sh\n");
}

static void test_exec(void **state)
{
	size_t size = record_exec(&record, 858, "ls", "/bin/ls", "ls\0-l\0", 6);

	(void)state;
	record.exec.old_tid = 860;
	record.header.flags = NSMON_FLAG_TRUNCATED;
	is(size, "exec: pid=858 comm=ls args=\"ls -l\" args_truncated old_tid=860\n");
	is(record_exec(&record, 858, "ls", "/bin/ls", "", 0), "exec: pid=858 comm=ls args=\"\"\n");
	is(record_exec(&record, 858, "ls", "/bin/ls", "\0", 1), "exec: pid=858 comm=ls args=\"\"\n");
	is(record_exec(&record, 858, "ls", "/bin/ls", "ls\0\0x\0", 6),
	   "exec: pid=858 comm=ls args=\"ls  x\"\n");
}

static void test_failed(void **state)
{
	const char *line;

	(void)state;
	line = format(record_failed(&record, 858, "unshare", NSMON_REASON_UNSHARE, EPERM,
				    0x40000000),
		      -1);
	assert_memory_equal(line, "ns: pid=858 ", 12);
	assert_non_null(strstr(line, " reason=unshare "));
	assert_non_null(strstr(line, " errno=1 "));
	assert_non_null(strstr(line, " error=EPERM "));
	assert_non_null(strstr(line, " comm=unshare\n"));
	assert_null(strstr(line, "inum="));
	/* An errno without a name. */
	line = format(record_failed(&record, 858, "x", NSMON_REASON_CLONE, 4000, 0), -1);
	assert_non_null(strstr(line, " errno=4000 "));
	assert_null(strstr(line, "error="));
}

static const char *format_event(const struct event *event)
{
	struct line line = { .at = room, .end = room + LINE_MAX_BYTES };

	text_formatter.event(&line, &run, &stamp, event);
	*line.at = 0;
	assert_true(line.at > room && line.at[-1] == '\n');
	assert_true(strict_is_printable(room, (size_t)(line.at - room) - 1));
	return room;
}

static struct event decode(size_t size)
{
	struct event event;

	assert_int_equal(event_decode(&event, &record, size), 0);
	return event;
}

static void test_proc(void **state)
{
	static char large[NSMON_TEXT_MAX];
	struct event event = decode(record_proc(&record, 1, 858, "sh"));

	(void)state;
	assert_string_equal(format_event(&event),
			    "proc: pid=858 ppid=1 comm=sh mnt=4026531841 uts=4026531838 "
			    "ipc=4026531839 net=4026531840 pid_ns=4026531836 "
			    "pid_for_children=4026531836 user=4026531837 cgroup=4026531835 "
			    "time=4026531834 time_for_children=4026531834\n");
	memset(record.proc.ns.inum, 0, sizeof(record.proc.ns.inum));
	event.proc.args = "sh\0-c\0a \"b\"\n\xff\033[m";
	event.proc.args_len = 17;
	event.proc.exe = "/bin/sh"; /* no field of the text */
	event.proc.exe_len = 7;
	assert_string_equal(format_event(&event),
			    "proc: pid=858 ppid=1 comm=sh args=\"sh -c a \\\"b\\\"\\n\\xff\\x1b[m\"\n");
	record.proc.task.tid = 859;
	record_comm(&record.proc.task, "a b=\n");
	record.proc.ns.inum[NSMON_NS_PID] = 7;
	event.proc.args_len = 0;
	event.proc.truncated = event.recovered = true;
	assert_string_equal(format_event(&event),
			    "proc: pid=858 tid=859 ppid=1 comm=\"a b=\\n\" pid_ns=7 args=\"\" "
			    "args_truncated recovered\n");
	memset(large, 1, sizeof(large));
	memset(record.proc.ns.inum, 0xff, sizeof(record.proc.ns.inum));
	event.proc.args = large;
	event.proc.args_len = sizeof(large);
	options.timestamps = true;
	assert_non_null(strstr(format_event(&event), "\" args_truncated recovered\n"));
}

static void test_recovered(void **state)
{
	struct line line = { .at = room, .end = room + LINE_MAX_BYTES };
	struct event event = decode(record_fork(&record, 696, 858, "sh"));
	size_t size;

	(void)state;
	event.recovered = true;
	assert_string_equal(format_event(&event), "fork: ppid=696 pid=858 comm=sh recovered\n");
	event = decode(record_exit(&record, 858, "sh", 9));
	event.recovered = true;
	assert_string_equal(format_event(&event), "exit: pid=858 comm=sh recovered\n");
	event = decode(record_exec(&record, 858, "sh", "/bin/sh", "sh", 3));
	event.recovered = true;
	event.exec.filename = NULL;
	assert_string_equal(format_event(&event),
			    "exec: pid=858 comm=sh args=\"sh\" recovered\n");
	size = record_ns(&record, 858, "sh");
	record_changed(&record.ns.change, NSMON_NS_NET, 5, NSMON_REASON_UNSHARE);
	event = decode(size);
	event.recovered = true;
	text_formatter.ns(&line, &run, &stamp, &event, NSMON_NS_NET);
	*line.at = 0;
	assert_string_equal(room, "ns: pid=858 type=net old_inum=4026531840 inum=5 comm=sh "
				  "recovered\n");
}

static void test_lost(void **state)
{
	static const uint64_t lost[NSMON_KINDS] = {
		[NSMON_FORK] = 1,	   [NSMON_EXEC] = 20,	   [NSMON_EXIT] = 300,
		[NSMON_NS] = 4000,	   [NSMON_CGROUP] = 50000, [NSMON_PROC] = 7,
		[NSMON_CGROUP_TREE] = 600,
	};
	struct line line = { .at = room, .end = room + LINE_MAX_BYTES };

	(void)state;
	text_formatter.lost(&line, &run, &stamp, lost);
	*line.at = 0;
	assert_string_equal(room, "lost: count=54321 fork=1 exec=20 exit=300 ns=4000 cgroup=50000\n");
	assert_null(text_formatter.start);
	assert_null(text_formatter.stop);
	assert_null(text_formatter.ready);
}

static void test_timestamps(void **state)
{
	(void)state;
	options.timestamps = true;
	is(record_exit(&record, 859, "ls", 0),
	   "2026-11-23T16:24:00.123456789Z exit: pid=859 comm=ls code=0\n");
}

/* Only the kind is coloured. */
static void test_colour(void **state)
{
	const char *line, *end;

	(void)state;
	run.colour = true;
	line = format(record_exit(&record, 859, "ls", 0), -1);
	assert_int_equal(line[0], '\033');
	assert_int_equal(line[1], '[');
	end = strchr(line, 'm');
	assert_non_null(end);
	assert_string_equal(end, "mexit\033[0m: pid=859 comm=ls code=0\n");
}

/* comm= is one word, or in quotes. */
static void test_hostile_names(void **state)
{
	(void)state;
	is(record_exit(&record, 1, "a b=c", 0), "exit: pid=1 comm=\"a b=c\" code=0\n");
	is(record_exit(&record, 1, "", 0), "exit: pid=1 comm=\"\" code=0\n");
	is(record_exit(&record, 1, "x code=9", 0), "exit: pid=1 comm=\"x code=9\" code=0\n");
	is(record_exit(&record, 1, "x\" code=9", 0), "exit: pid=1 comm=\"x\\\" code=9\" code=0\n");
	is(record_exit(&record, 1, "a\nexit: pid=2", 0),
	   "exit: pid=1 comm=\"a\\nexit: pid=2\" code=0\n");
	is(record_exit(&record, 1, "\033[2J", 0), "exit: pid=1 comm=\\x1b[2J code=0\n");
	is(record_exit(&record, 1, "\xc2\x9b" "2J", 0), "exit: pid=1 comm=\\xc2\\x9b2J code=0\n");
	is(record_exit(&record, 1, "\xff\xfe", 0), "exit: pid=1 comm=\\xff\\xfe code=0\n");
	is(record_exit(&record, 1, "caf\xc3\xa9", 0), "exit: pid=1 comm=caf\xc3\xa9 code=0\n");
	is(record_exit(&record, 1, "back\\slash", 0), "exit: pid=1 comm=back\\\\slash code=0\n");
	/* Sixteen bytes without a NUL are not the kernel's, but must not be read past. */
	is(record_exit(&record, 1, "0123456789abcdef", 0),
	   "exit: pid=1 comm=0123456789abcdef code=0\n");
}

static void test_hostile_arguments(void **state)
{
	static const char args[] = "sh\0-c\0echo \"hi\"\nexit: pid=1\033[0m\0\xff";

	(void)state;
	is(record_exec(&record, 858, "sh", "/bin/sh", args, sizeof(args)),
	   "exec: pid=858 comm=sh "
	   "args=\"sh -c echo \\\"hi\\\"\\nexit: pid=1\\x1b[0m \\xff\"\n");
}

/* ---- cgroups and containers */

static struct contained in, other;

static int tear_down(void **state)
{
	(void)state;
	contained_begin(&in, NULL);
	contained_begin(&other, NULL);
	return 0;
}

static const char *exit_in(const struct contained *where)
{
	struct event event = decode(record_exit(&record, 858, "ls", 0));

	event.cgroup = where ? &where->cgroup : NULL;
	return format_event(&event);
}

/* container=, the first 12 characters of its id, only where there is one. */
static void test_container(void **state)
{
	struct event event;

	(void)state;
	contained_begin(&in, "/system.slice/a.service");
	in.cgroup.unit = in.cgroup.path + 14;
	in.cgroup.unit_len = 9;
	assert_string_equal(exit_in(&in), "exit: pid=858 comm=ls code=0\n");
	contained_in(&in, "/docker/x", "3726184226f5d3147c25fdeab5b60097", "docker");
	assert_string_equal(exit_in(&in), "exit: pid=858 comm=ls code=0 container=3726184226f5\n");
	contained_in(&in, "/web", "web", "crun");
	assert_string_equal(exit_in(&in), "exit: pid=858 comm=ls code=0 container=web\n");
	/* On every line of a task, in front of what ends it. */
	event = decode(record_fork(&record, 696, 858, "sh"));
	event.cgroup = &in.cgroup;
	assert_string_equal(format_event(&event),
			    "fork: ppid=696 pid=858 comm=sh container=web\n");
	event.recovered = true;
	assert_string_equal(format_event(&event),
			    "fork: ppid=696 pid=858 comm=sh container=web recovered\n");
	event = decode(record_exec(&record, 858, "ls", "/bin/ls", "ls", 3));
	event.cgroup = &in.cgroup;
	assert_string_equal(format_event(&event),
			    "exec: pid=858 comm=ls args=\"ls\" container=web\n");
	event = decode(record_proc(&record, 1, 858, "sh"));
	memset(record.proc.ns.inum, 0, sizeof(record.proc.ns.inum));
	event.cgroup = &in.cgroup;
	assert_string_equal(format_event(&event), "proc: pid=858 ppid=1 comm=sh container=web\n");
	event = decode(record_failed(&record, 858, "x", NSMON_REASON_SETNS, EPERM, 0));
	event.cgroup = &in.cgroup;
	{
		struct line line = { .at = room, .end = room + LINE_MAX_BYTES };

		text_formatter.failed(&line, &run, &stamp, &event);
		*line.at = 0;
		assert_non_null(strstr(room, " comm=x container=web\n"));
	}
}

/* An id that could be taken for more than one word gets quotes, as a name does. */
static void test_hostile_containers(void **state)
{
	static const struct {
		const char *id, *expected;
	} ids[] = {
		{ "a b", "\"a b\"" },
		{ "a=b", "\"a=b\"" },
		{ "x recovered", "\"x recovered\"" },
		{ "\n", "\\n" },
		{ "\033[2J", "\\x1b[2J" },
		{ "\"", "\\\"" },
		{ "\xff", "\\xff" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		/* Cut at twelve bytes, in the middle of a character. */
		{ "0123456789a\xc3\xa9", "0123456789a\\xc3" },
		/* What is cut off makes no quotes. */
		{ "0123456789ab c", "0123456789ab" },
	};
	char expected[128];

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		contained_in(&in, "/x", ids[i].id, NULL);
		snprintf(expected, sizeof(expected), "exit: pid=858 comm=ls code=0 container=%s\n",
			 ids[i].expected);
		assert_string_equal(exit_in(&in), expected);
	}
}

static const char *move(const struct contained *from, const struct contained *to)
{
	struct event event = decode(record_move(&record, 858, "sh", 1));

	event.cgroup = to ? &to->cgroup : NULL;
	event.old_cgroup = from ? &from->cgroup : NULL;
	event.old_cgroup_id = from ? 77 : 0;
	return format_event(&event);
}

static void test_move(void **state)
{
	(void)state;
	contained_begin(&in, "/a");
	contained_begin(&other, "/b c");
	assert_string_equal(move(&other, &in),
			    "cgroup: pid=858 comm=sh old_cgroup=\"/b c\" cgroup=\"/a\"\n");
	assert_string_equal(move(NULL, &in), "cgroup: pid=858 comm=sh cgroup=\"/a\"\n");
	assert_string_equal(move(&in, NULL), "cgroup: pid=858 comm=sh old_cgroup=\"/a\"\n");
	contained_begin(&in, NULL);
	assert_string_equal(move(&in, &in), "cgroup: pid=858 comm=sh\n");
	assert_string_equal(move(NULL, NULL), "cgroup: pid=858 comm=sh\n");
	contained_in(&in, "/lxc.payload.x", "x", "lxc");
	assert_string_equal(move(&other, &in),
			    "cgroup: pid=858 comm=sh old_cgroup=\"/b c\" "
			    "cgroup=\"/lxc.payload.x\" container=x\n");
	assert_string_equal(move(&in, &other), "cgroup: pid=858 comm=sh "
					       "old_cgroup=\"/lxc.payload.x\" cgroup=\"/b c\"\n");
	contained_begin(&other, "/\"\n\033\xff");
	assert_string_equal(move(NULL, &other),
			    "cgroup: pid=858 comm=sh cgroup=\"/\\\"\\n\\x1b\\xff\"\n");
}

static const char *entry(const struct target *target, const struct contained *where)
{
	size_t size = record_ns(&record, 858, "nsenter");
	struct line line = { .at = room, .end = room + LINE_MAX_BYTES };
	struct event event;

	record_changed(&record.ns.change, NSMON_NS_NET, 5, NSMON_REASON_SETNS);
	event = decode(size);
	event.target = *target;
	event.cgroup = where ? &where->cgroup : NULL;
	text_formatter.ns(&line, &run, &stamp, &event, NSMON_NS_NET);
	*line.at = 0;
	assert_true(strict_is_printable(room, (size_t)(line.at - room) - 1));
	return strstr(room, " comm=");
}

static void test_target(void **state)
{
	(void)state;
	contained_in(&in, "/a", "3726184226f5d3147c25fdeab5b60097", "docker");
	contained_in(&other, "/b", "d b", "lxc");
	assert_string_equal(entry(&(struct target){ 0 }, NULL), " comm=nsenter\n");
	assert_string_equal(entry(&(struct target){ .owner = TARGET_HOST }, NULL),
			    " comm=nsenter target=host\n");
	assert_string_equal(entry(&(struct target){ .owner = 7 }, NULL), " comm=nsenter\n");
	assert_string_equal(entry(&(struct target){ .owner = 7, .container = &in.container }, NULL),
			    " comm=nsenter target=3726184226f5\n");
	assert_string_equal(entry(&(struct target){ .owner = 7, .container = &other.container }, &in),
			    " comm=nsenter target=\"d b\" container=3726184226f5\n");
}

static void test_longest_line_of_containers(void **state)
{
	static const char *const fill[] = { "\x01", "\xff", "\"", "\xc2\x9b", "\xe2\x80\xae" };

	(void)state;
	options.timestamps = true;
	for (size_t n = 0; n < sizeof(fill) / sizeof(*fill); n++) {
		contained_fill(&in, fill[n]);
		contained_fill(&other, fill[n]);
		assert_non_null(strstr(move(&other, &in), "\" container="));
		assert_non_null(strstr(entry(&(struct target){ .owner = 1, .container = &in.container },
					     &other),
				       " container="));
	}
}

/* The longest text there is, of what becomes longest. */
static void test_longest_line(void **state)
{
	static char args[NSMON_TEXT_MAX];
	static const char *const fill[] = { "\x01", "\xff", "\"", "\xc2\x9b", "\xe2\x80\xae" };

	(void)state;
	options.timestamps = true;
	for (size_t n = 0; n < sizeof(fill) / sizeof(*fill); n++) {
		const char *line;
		size_t size;

		for (size_t i = 0; i < sizeof(args); i++)
			args[i] = fill[n][i % strlen(fill[n])];
		size = record_exec(&record, 4194304, "\x01\x01\x01\x01\x01\x01\x01\x01", "", args,
				   sizeof(args) - 1);
		record.exec.task.tid = 4194303;
		record.exec.old_tid = 4194302;
		record.header.flags = NSMON_FLAG_TRUNCATED;
		line = format(size, -1);
		assert_non_null(strstr(line, "\" args_truncated old_tid=4194302\n"));
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_example_of_the_contract),
		TEST(test_exit),
		TEST(test_tid_where_it_differs),
		TEST(test_exec),
		TEST(test_failed),
		TEST(test_proc),
		TEST(test_recovered),
		TEST(test_lost),
		TEST(test_timestamps),
		TEST(test_colour),
		TEST(test_hostile_names),
		TEST(test_hostile_arguments),
		TEST(test_longest_line),
		TEST(test_container),
		TEST(test_hostile_containers),
		TEST(test_move),
		TEST(test_target),
		TEST(test_longest_line_of_containers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
