// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* json.c: each record is one JSON object, with the members of the contract and no others. */
#include <errno.h>
#include <inttypes.h>
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
#include "json.h"
#include "records.h"
#include "schema.h"
#include "strict.h"
#include "version.h"

static union record record;
static struct options options;
static struct kernel kernel;
static const struct run run = { .options = &options, .kernel = &kernel, .backend = "kprobe" };
/* 2026-11-23T16:24:00.123456789Z */
static const struct stamp stamp = { .seq = 7, .time = 1795451040123456789 };
static char room[LINE_MAX_BYTES + 1];
static size_t len; /* of the object in room, without its newline */

static int set_up(void **state)
{
	(void)state;
	options = (struct options){
		.events = EVENTS_ALL,
		.types = NSMON_NS_ALL,
		.reasons = 0x7e,
	};
	kernel = (struct kernel){ 0 };
	strcpy(kernel.uname.release, "6.12.1-test");
	strcpy(kernel.uname.machine, "x86_64");
	strcpy(kernel.uname.nodename, "box");
	strcpy(kernel.boot_id, "01234567-89ab-cdef-0123-456789abcdef");
	return 0;
}

static struct line begin(void)
{
	return (struct line){ .at = room, .end = room + LINE_MAX_BYTES };
}

static void end(struct line *line)
{
	assert_true(line->at > room && line->at[-1] == '\n');
	len = (size_t)(line->at - room) - 1;
	room[len] = 0;
	assert_true(strict_is_printable(room, len));
	if (!json_is_object(room, len))
		fail_msg("this is no JSON object: %s", room);
}

static void format(size_t size, int type)
{
	struct line line = begin();
	struct event event;

	assert_int_equal(event_decode(&event, &record, size), 0);
	if (type >= 0)
		json_formatter.ns(&line, &run, &stamp, &event, (enum nsmon_ns_type)type);
	else if (event.failed)
		json_formatter.failed(&line, &run, &stamp, &event);
	else
		json_formatter.event(&line, &run, &stamp, &event);
	end(&line);
}

/* The object has this member once, with this value (its JSON text). */
static void has(const char *name, const char *expected)
{
	const char *value;
	size_t value_len;

	if (json_member(room, len, name, &value, &value_len) != 1)
		fail_msg("%s is not there once: %s", name, room);
	if (value_len != strlen(expected) || memcmp(value, expected, value_len))
		fail_msg("%s is %.*s, not %s", name, (int)value_len, value, expected);
}

static void has_number(const char *name, uint64_t expected)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, expected);
	has(name, text);
}

static void lacks(const char *name)
{
	const char *value;
	size_t value_len;

	if (json_member(room, len, name, &value, &value_len))
		fail_msg("%s is there: %s", name, room);
}

static int member_count(void)
{
	const char *p = room + 1;
	int n = 0;

	while (p && *p == '"') {
		p = json_string(p, room + len, NULL, NULL);
		p = json_value(p + 1, room + len, 0);
		n++;
		if (*p == ',')
			p++;
	}
	return n;
}

/* The members that every task record has, and `more` of its own. */
static void has_task(const char *event, uint32_t ppid, uint32_t pid, const char *comm, int more)
{
	char text[64];

	snprintf(text, sizeof(text), "\"%s\"", event);
	has("time", "\"2026-11-23T16:24:00.123456789Z\"");
	has_number("seq", 7);
	has("event", text);
	has_number("pid", pid);
	has_number("ppid", ppid);
	snprintf(text, sizeof(text), "\"%s\"", comm);
	has("comm", text);
	has_number("vpid", pid);
	has_number("start_ns", 91003000000);
	has_number("uid", 1000);
	has_number("gid", 100);
	has_number("cgroup_id", 1);
	has_number("tid", pid);
	assert_int_equal(member_count(), 12 + more);
	assert_memory_equal(room, "{\"time\":", 8);
}

static void test_fork(void **state)
{
	size_t size = record_fork(&record, 696, 858, "sh");

	(void)state;
	record.fork.creator_tid = 700;
	record.fork.task.ppid = 1; /* CLONE_PARENT */
	format(size, -1);
	has_task("fork", 696, 858, "sh", 1);
	has_number("ptid", 700);
}

static void test_exec(void **state)
{
	size_t size = record_exec(&record, 858, "ls", "/bin/ls", "ls\0-l\0", 6);

	(void)state;
	format(size, -1);
	has_task("exec", 1, 858, "ls", 2);
	has("filename", "\"/bin/ls\"");
	has("args", "[\"ls\",\"-l\"]");
	record.exec.old_tid = 860;
	record.header.flags = NSMON_FLAG_TRUNCATED;
	format(size, -1);
	has_task("exec", 1, 858, "ls", 4);
	has("args_truncated", "true");
	has_number("old_tid", 860);
	format(record_exec(&record, 858, "ls", "", "", 0), -1);
	has("filename", "\"\"");
	has("args", "[]");
	format(record_exec(&record, 858, "ls", "x", "\0\0", 2), -1);
	has("args", "[\"\",\"\"]");
	format(record_exec(&record, 858, "ls", "x", "a\0b", 3), -1);
	has("args", "[\"a\",\"b\"]");
}

static void test_exit(void **state)
{
	(void)state;
	format(record_exit(&record, 858, "ls", 3 << 8), -1);
	has_task("exit", 1, 858, "ls", 2);
	has_number("code", 3);
	has_number("duration_ns", 1500000);
	format(record_exit(&record, 858, "ls", 0), -1);
	has_number("code", 0); /* a number, not an absent one */
	format(record_exit(&record, 858, "ls", SIGTERM), -1);
	has_task("exit", 1, 858, "ls", 2);
	has_number("signal", SIGTERM);
	lacks("code");
	lacks("core");
	format(record_exit(&record, 858, "ls", SIGABRT | 0x80), -1);
	has_task("exit", 1, 858, "ls", 3);
	has_number("signal", SIGABRT);
	has("core", "true");
}

static void test_ns(void **state)
{
	size_t size = record_ns(&record, 858, "unshare");

	(void)state;
	record_changed(&record.ns.change, NSMON_NS_NET, 4026532142U, NSMON_REASON_UNSHARE);
	format(size, NSMON_NS_NET);
	has_task("ns", 1, 858, "unshare", 4);
	has("type", "\"net\"");
	has("reason", "\"unshare\"");
	has_number("old_inum", 4026531840U);
	has_number("inum", 4026532142U);
	/* Ids where the kernel has them: both, or the one that it knows. */
	record.ns.change.old.id[NSMON_NS_NET] = 3;
	record.ns.change.now.id[NSMON_NS_NET] = UINT64_MAX;
	format(size, NSMON_NS_NET);
	has_task("ns", 1, 858, "unshare", 6);
	has_number("old_ns_id", 3);
	has_number("ns_id", UINT64_MAX);
}

static void test_every_type_and_reason(void **state)
{
	(void)state;
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		for (int reason = 1; reason < NSMON_REASONS; reason++) {
			size_t size = record_ns(&record, 858, "x");
			char text[32];

			record_changed(&record.ns.change, (enum nsmon_ns_type)type, 4026532142U,
				       (enum nsmon_reason)reason);
			format(size, type);
			snprintf(text, sizeof(text), "\"%s\"", ns_type_names[type]);
			has("type", text);
			snprintf(text, sizeof(text), "\"%s\"", reason_names[reason]);
			has("reason", text);
		}
	}
}

/* Numbers are numbers, up to the last one. */
static void test_large_numbers(void **state)
{
	size_t size = record_exit(&record, 4194304, "x", 0);

	(void)state;
	record.exit.task.start_ns = UINT64_MAX;
	record.exit.task.cgroup_id = UINT64_MAX - 1;
	record.exit.task.uid = UINT32_MAX;
	record.exit.task.gid = UINT32_MAX - 1;
	record.exit.task.ppid = 0;
	record.exit.duration_ns = INT64_MAX;
	format(size, -1);
	has_number("start_ns", UINT64_MAX);
	has_number("cgroup_id", UINT64_MAX - 1);
	has_number("uid", UINT32_MAX);
	has_number("gid", UINT32_MAX - 1);
	has_number("ppid", 0);
	has_number("duration_ns", INT64_MAX);
}

static void test_failed(void **state)
{
	(void)state;
	format(record_failed(&record, 858, "unshare", NSMON_REASON_SETNS, EINVAL, 0x40000000), -1);
	has_task("ns", 1, 858, "unshare", 4);
	has("reason", "\"setns\"");
	has_number("errno", EINVAL);
	has("error", "\"EINVAL\"");
	has_number("flags", 0x40000000);
	lacks("type");
	lacks("inum");
	format(record_failed(&record, 858, "x", NSMON_REASON_CLONE, 4000, UINT64_MAX), -1);
	has_task("ns", 1, 858, "x", 3); /* 4000 has no name: absent */
	has_number("flags", UINT64_MAX);
}

/* As the stream gives it: with what it found in /proc. */
static struct event proc_event(size_t size, const char *exe, const char *args, size_t args_len)
{
	struct event event;

	assert_int_equal(event_decode(&event, &record, size), 0);
	event.proc.exe = exe;
	event.proc.exe_len = exe ? strlen(exe) : 0;
	event.proc.args = args;
	event.proc.args_len = args_len;
	return event;
}

static void format_event(const struct event *event)
{
	struct line line = begin();

	json_formatter.event(&line, &run, &stamp, event);
	end(&line);
}

static void test_proc(void **state)
{
	size_t size = record_proc(&record, 1, 858, "sh");
	struct event event = proc_event(size, "/bin/sh", "sh\0-c\0", 6);
	const char *value;
	size_t value_len;

	(void)state;
	format_event(&event);
	has_task("proc", 1, 858, "sh", 3);
	has("ns", "{\"mnt\":{\"inum\":4026531841},\"uts\":{\"inum\":4026531838},"
		  "\"ipc\":{\"inum\":4026531839},\"net\":{\"inum\":4026531840},"
		  "\"pid\":{\"inum\":4026531836},\"pid_for_children\":{\"inum\":4026531836},"
		  "\"user\":{\"inum\":4026531837},\"cgroup\":{\"inum\":4026531835},"
		  "\"time\":{\"inum\":4026531834},\"time_for_children\":{\"inum\":4026531834}}");
	has("args", "[\"sh\",\"-c\"]");
	has("exe", "\"/bin/sh\"");
	lacks("recovered");
	lacks("args_truncated");
	/* Each type alone is there, and each is absent where the kernel or the task lacks it. */
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		size = record_proc(&record, 1, 858, "sh");
		record.proc.ns.inum[type] = 0;
		event = proc_event(size, NULL, NULL, 0);
		format_event(&event);
		assert_int_equal(json_member(room, len, "ns", &value, &value_len), 1);
		assert_true(json_is_object(value, value_len));
		for (int other = 0; other < NSMON_NS_TYPES; other++) {
			const char *inner;
			size_t inner_len;

			assert_int_equal(json_member(value, value_len, ns_type_names[other], &inner,
						     &inner_len),
					 other != type);
		}
		memset(&record.proc.ns, 0, sizeof(record.proc.ns));
		record.proc.ns.inum[type] = UINT32_MAX;
		record.proc.ns.id[type] = UINT64_MAX;
		format_event(&event);
		{
			char text[128];

			snprintf(text, sizeof(text),
				 "{\"%s\":{\"inum\":4294967295,\"ns_id\":18446744073709551615}}",
				 ns_type_names[type]);
			has("ns", text);
		}
	}
	/* None at all. */
	memset(&record.proc.ns, 0, sizeof(record.proc.ns));
	format_event(&event);
	has("ns", "{}");
	has_task("proc", 1, 858, "sh", 1);
	lacks("args");
	lacks("exe");
}

static void test_proc_of_every_kind(void **state)
{
	static char large[NSMON_TEXT_MAX + 4096];
	size_t size = record_proc(&record, 1, 858, "a\n\"");
	struct event event = proc_event(size, "/tmp/\xff\n (deleted)", "\0x\"\0\x1b[m", 7);

	(void)state;
	format_event(&event);
	has("comm", "\"a\\n\\\"\"");
	has("exe", "\"/tmp/\xef\xbf\xbd\\n (deleted)\"");
	has("args", "[\"\",\"x\\\"\",\"\\u001b[m\"]");
	has("raw", "true");
	/* No arguments are not the same as none that are known. */
	event = proc_event(size, NULL, "", 0);
	event.proc.truncated = true;
	event.recovered = true;
	format_event(&event);
	has("args", "[]");
	has("args_truncated", "true");
	has("recovered", "true");
	lacks("exe");
	/* Everything at its longest. */
	memset(large, 1, sizeof(large));
	event = proc_event(size, NULL, large, NSMON_TEXT_MAX);
	event.proc.exe = large;
	event.proc.exe_len = 4095;
	event.proc.truncated = event.recovered = true;
	memset(record.proc.ns.inum, 0xff, sizeof(record.proc.ns.inum));
	memset(record.proc.ns.id, 0xff, sizeof(record.proc.ns.id));
	memset(record.proc.task.comm, 1, sizeof(record.proc.task.comm));
	format_event(&event);
	has("recovered", "true");
}

static void test_ready(void **state)
{
	struct line line = begin();

	(void)state;
	json_formatter.ready(&line, &run, &stamp, UINT64_MAX);
	end(&line);
	assert_string_equal(room, "{\"time\":\"2026-11-23T16:24:00.123456789Z\",\"seq\":7,"
				  "\"event\":\"ready\",\"tasks\":18446744073709551615}");
}

/* What nobody saw happen: how it did is not known. */
static void test_recovered(void **state)
{
	struct event event;
	struct line line;
	size_t size;

	(void)state;
	assert_int_equal(event_decode(&event, &record, record_fork(&record, 696, 858, "sh")), 0);
	event.recovered = true;
	format_event(&event);
	has_task("fork", 696, 858, "sh", 2);
	has_number("ptid", 696);
	has("recovered", "true");
	assert_int_equal(event_decode(&event, &record, record_exit(&record, 858, "sh", 9)), 0);
	event.recovered = true;
	format_event(&event);
	has_task("exit", 1, 858, "sh", 1);
	has("recovered", "true");
	size = record_exec(&record, 858, "sh", "/bin/sh", "sh", 3);
	assert_int_equal(event_decode(&event, &record, size), 0);
	event.recovered = true;
	format_event(&event);
	has_task("exec", 1, 858, "sh", 3);
	has("filename", "\"/bin/sh\"");
	has("recovered", "true");
	event.exec.filename = NULL; /* it has ended meanwhile */
	event.exec.args_len = 0;
	format_event(&event);
	has_task("exec", 1, 858, "sh", 2);
	has("args", "[]");
	size = record_ns(&record, 858, "sh");
	record_changed(&record.ns.change, NSMON_NS_NET, 5, NSMON_REASON_UNSHARE);
	assert_int_equal(event_decode(&event, &record, size), 0);
	event.recovered = true;
	line = begin();
	json_formatter.ns(&line, &run, &stamp, &event, NSMON_NS_NET);
	end(&line);
	has_task("ns", 1, 858, "sh", 4);
	has("type", "\"net\"");
	has_number("old_inum", 4026531840U);
	has_number("inum", 5);
	has("recovered", "true");
	lacks("reason");
}

static void test_lost(void **state)
{
	static const uint64_t lost[NSMON_KINDS] = {
		[NSMON_FORK] = 1,	   [NSMON_EXEC] = 20,	   [NSMON_EXIT] = 300,
		[NSMON_NS] = 4000,	   [NSMON_CGROUP] = 50000, [NSMON_PROC] = 7,
		[NSMON_CGROUP_TREE] = 600,
	};
	struct line line = begin();

	(void)state;
	json_formatter.lost(&line, &run, &stamp, lost);
	end(&line);
	assert_string_equal(room, "{\"time\":\"2026-11-23T16:24:00.123456789Z\",\"seq\":7,"
				  "\"event\":\"lost\",\"count\":54321,\"fork\":1,\"exec\":20,"
				  "\"exit\":300,\"ns\":4000,\"cgroup\":50000}");
}

static void start(void)
{
	struct line line = begin();

	json_formatter.start(&line, &run, &stamp);
	end(&line);
}

static void test_start(void **state)
{
	(void)state;
	start();
	has("event", "\"start\"");
	has("version", "\"" NSMON_VERSION "\"");
	has_number("schema", NSMON_SCHEMA);
	has("backend", "\"kprobe\"");
	has("kernel", "\"6.12.1-test\"");
	has("arch", "\"x86_64\"");
	has("host", "\"box\"");
	has("boot_id", "\"01234567-89ab-cdef-0123-456789abcdef\"");
	has("cgroup_hierarchy", "\"v2\"");
	has("filters", "{\"events\":[\"fork\",\"exec\",\"exit\",\"ns\",\"cgroup\"],"
		       "\"types\":[\"mnt\",\"uts\",\"ipc\",\"net\",\"pid\",\"pid_for_children\","
		       "\"user\",\"cgroup\",\"time\",\"time_for_children\"],"
		       "\"reasons\":[\"clone\",\"unshare\",\"setns\",\"exec\",\"fork\",\"kernel\"]}");
	assert_int_equal(member_count(), 12);
	kernel.hierarchy.controller = NSMON_CONTROLLER_IO;
	start();
	has("cgroup_hierarchy", "\"blkio\"");
	kernel.boot_id[0] = 0;
	start();
	lacks("boot_id");
}

static void test_filters(void **state)
{
	char *command[] = { "sh", "-c", "echo \"\xff\"\n", "", NULL };

	(void)state;
	options.events = 1 << NSMON_NS;
	options.types = 1 << NSMON_NS_NET;
	options.reasons = 1 << NSMON_REASON_SETNS;
	options.pids[0] = 1;
	options.pids[1] = 4194304;
	options.pid_count = 2;
	options.threads = true;
	options.failed = true;
	options.snapshot = true;
	start();
	has("filters", "{\"events\":[\"ns\"],\"types\":[\"net\"],\"reasons\":[\"setns\"],"
		       "\"pids\":[1,4194304],\"threads\":true,\"failed\":true,\"snapshot\":true}");
	lacks("raw");
	options.pid_count = 0;
	options.command = command;
	options.threads = options.failed = options.snapshot = false;
	start();
	has("filters", "{\"events\":[\"ns\"],\"types\":[\"net\"],\"reasons\":[\"setns\"],"
		       "\"command\":[\"sh\",\"-c\",\"echo \\\"\xef\xbf\xbd\\\"\\n\",\"\"]}");
	has("raw", "true");
}

/* Everything at its longest: still one whole line. */
static void test_longest_start(void **state)
{
	static char argument[131072], cgroup[4096], container[129];
	char *command[] = { argument, argument, NULL };
	static char *empty[20000];

	(void)state;
	memset(argument, 1, sizeof(argument) - 1);
	for (size_t i = 0; i < PIDS_MAX; i++)
		options.pids[i] = 4194304 - (int)i;
	options.pid_count = PIDS_MAX;
	options.threads = options.failed = true;
	memset(cgroup, 1, sizeof(cgroup) - 1);
	memset(container, 1, sizeof(container) - 1);
	options.cgroup = cgroup; /* as long as options.c takes them */
	options.container = container;
	memset(kernel.uname.release, 1, sizeof(kernel.uname.release) - 1);
	memset(kernel.uname.machine, 1, sizeof(kernel.uname.machine) - 1);
	memset(kernel.uname.nodename, 1, sizeof(kernel.uname.nodename) - 1);
	options.command = command;
	start();
	has("boot_id", "\"01234567-89ab-cdef-0123-456789abcdef\"");
	for (size_t i = 0; i + 1 < sizeof(empty) / sizeof(*empty); i++)
		empty[i] = "";
	assert_non_null(strstr(room, "\"command_truncated\":true"));
	options.command = empty;
	start();
	has("boot_id", "\"01234567-89ab-cdef-0123-456789abcdef\"");
	assert_non_null(strstr(room, "\"command_truncated\":true"));
}

/* What fits is not marked: 4096 bytes with a NUL behind each argument. */
static void test_command_truncated(void **state)
{
	static char argument[4097];
	char *command[] = { "sh", argument, NULL };

	(void)state;
	options.command = command;
	memset(argument, 'a', 4096 - 3);
	start();
	assert_null(strstr(room, "command_truncated"));
	argument[4096 - 3] = 'a';
	start();
	assert_non_null(strstr(room, "\"command_truncated\":true"));
}

static void test_stop(void **state)
{
	struct totals totals = { .written = { [NSMON_FORK] = 1, [NSMON_EXEC] = 2, [NSMON_EXIT] = 3,
					      [NSMON_NS] = 4, [NSMON_CGROUP] = 7, [NSMON_LOST] = 99,
					      [NSMON_PROC] = 6 },
				 .lost = 5 };
	struct line line = begin();

	(void)state;
	json_formatter.stop(&line, &run, &stamp, &totals);
	end(&line);
	assert_string_equal(room, "{\"time\":\"2026-11-23T16:24:00.123456789Z\",\"seq\":7,"
				  "\"event\":\"stop\",\"fork\":1,\"exec\":2,\"exit\":3,\"ns\":4,\"cgroup\":7,"
				  "\"proc\":6,\"lost\":5}");
	totals.has_switches = true;
	totals.switches = 6;
	totals.switches_known = 0;
	line = begin();
	json_formatter.stop(&line, &run, &stamp, &totals);
	end(&line);
	has_number("switches", 6);
	has_number("switches_known", 0);
}

static void hostile(const char *bytes, const char *expected, bool raw)
{
	char text[128];

	format(record_exit(&record, 858, bytes, 0), -1);
	has("comm", expected);
	if (raw)
		has("raw", "true");
	else
		lacks("raw");
	/* The same as a file name and as an argument. */
	format(record_exec(&record, 858, "x", bytes, bytes, strlen(bytes) + 1), -1);
	has("filename", expected);
	snprintf(text, sizeof(text), "[%s]", expected);
	has("args", text);
	if (raw)
		has("raw", "true");
	else
		lacks("raw");
}

static void test_hostile_strings(void **state)
{
	(void)state;
	hostile("a b=c", "\"a b=c\"", false);
	hostile("x\",\"pid\":1,\"", "\"x\\\",\\\"pid\\\":1,\\\"\"", false);
	hostile("a\n{}", "\"a\\n{}\"", false);
	hostile("\033[2J", "\"\\u001b[2J\"", false);
	hostile("back\\", "\"back\\\\\"", false);
	hostile("\xc3\xa9", "\"\xc3\xa9\"", false);
	hostile("\xc2\x9b" "0m", "\"\\u009b0m\"", false);
	hostile("\xff", "\"\xef\xbf\xbd\"", true);
	hostile("caf\xc3", "\"caf\xef\xbf\xbd\"", true);
	hostile("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", true);
	/* Cut in the middle of a character, as prctl() does. */
	hostile("abcdefghijklmn\xc3", "\"abcdefghijklmn\xef\xbf\xbd\"", true);
}

static void test_longest_line(void **state)
{
	static char args[NSMON_TEXT_MAX];
	/* The last: as many arguments as there can be, and the same with one byte each. */
	static const struct {
		const char *bytes;
		size_t len;
	} fill[] = { { "\x01", 1 },	{ "\xff", 1 },	   { "\"", 1 }, { "\xc2\x9b", 2 },
		     { "\xe2\x80\xae", 3 }, { "\0", 1 },	   { "\x01\0", 2 } };

	(void)state;
	for (size_t n = 0; n < sizeof(fill) / sizeof(*fill); n++) {
		size_t size;

		for (size_t i = 0; i < sizeof(args); i++)
			args[i] = fill[n].bytes[i % fill[n].len];
		size = record_exec(&record, 4194304, "\x01\x01\x01\x01\x01\x01\x01\x01", "", args,
				   sizeof(args) - 1);
		record.exec.old_tid = 4194302;
		record.header.flags = NSMON_FLAG_TRUNCATED;
		record.exec.task.start_ns = record.exec.task.cgroup_id = UINT64_MAX;
		format(size, -1);
		has_number("old_tid", 4194302);
		has("args_truncated", "true");
	}
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

/* The exit of a task in this cgroup. */
static void format_in(const struct contained *where)
{
	struct event event;

	assert_int_equal(event_decode(&event, &record, record_exit(&record, 858, "ls", 0)), 0);
	event.cgroup = where ? &where->cgroup : NULL;
	format_event(&event);
}

/* The same line again, of the text that is kept. */
static void again(const struct contained *where)
{
	static char first[LINE_MAX_BYTES + 1];

	assert_non_null(where->text.bytes);
	memcpy(first, room, len + 1);
	format_in(where);
	assert_string_equal(room, first);
}

static void test_cgroup(void **state)
{
	(void)state;
	format_in(NULL);
	has_task("exit", 1, 858, "ls", 2);
	contained_begin(&in, NULL); /* its number is known, its path is not */
	format_in(&in);
	has_task("exit", 1, 858, "ls", 2);
	again(&in);
	contained_begin(&in, "/");
	format_in(&in);
	has_task("exit", 1, 858, "ls", 3);
	has("cgroup", "\"/\"");
	lacks("container");
	lacks("unit");
	again(&in);
	contained_begin(&in, "/system.slice/a b.service/child");
	in.cgroup.unit = in.cgroup.path + strlen("/system.slice/");
	in.cgroup.unit_len = strlen("a b.service");
	format_in(&in);
	has_task("exit", 1, 858, "ls", 4);
	has("cgroup", "\"/system.slice/a b.service/child\"");
	has("unit", "\"a b.service\"");
	again(&in);
	contained_begin(&in, "/lxc.payload.a");
	format_in(&in);
	lacks("unit");
}

static void test_container(void **state)
{
	struct container *container = contained_in(&in, "/web", "web", "crun");

	(void)state;
	format_in(&in);
	has_task("exit", 1, 858, "ls", 4);
	has("cgroup", "\"/web\"");
	has("container", "{\"id\":\"web\",\"runtime\":\"crun\"}");
	lacks("unit");
	lacks("raw");
	again(&in);
	/* Each member alone. */
	container->details.backed = false;
	contained_forget_text(&in);
	format_in(&in);
	has("container", "{\"id\":\"web\",\"runtime\":\"crun\",\"unverified\":true}");
	container = contained_in(&in, "/web", "web", NULL);
	format_in(&in);
	has("container", "{\"id\":\"web\"}");
	container->details.name = (char[]){ "a" };
	contained_forget_text(&in);
	format_in(&in);
	has("container", "{\"id\":\"web\",\"name\":\"a\"}");
	container->details.name = NULL;
	container->details.image = (char[]){ "docker.io/library/nginx:1.27" };
	contained_forget_text(&in);
	format_in(&in);
	has("container", "{\"id\":\"web\",\"image\":\"docker.io/library/nginx:1.27\"}");
	again(&in);
}

#define POD_UID "3d274242-8ee0-11e9-a8a6-1e68d864ef1a"

/* Of a pod it is known what its path tells, or what files do, and no more. */
static void test_pod(void **state)
{
	struct container *container = contained_in(&in, "/x", "c", "containerd");

	(void)state;
	strcpy(container->pod_uid, POD_UID);
	format_in(&in);
	has("container", "{\"id\":\"c\",\"runtime\":\"containerd\","
			 "\"k8s\":{\"pod_uid\":\"" POD_UID "\"}}");
	container->details.pod_uid = (char[]){ "another" }; /* the API server's, of a static pod */
	container->details.pod = (char[]){ "web-0" };
	container->details.namespace = (char[]){ "default" };
	container->details.container_name = (char[]){ "nginx" };
	contained_forget_text(&in);
	format_in(&in);
	has("container", "{\"id\":\"c\",\"runtime\":\"containerd\",\"k8s\":{"
			 "\"pod_uid\":\"another\",\"pod\":\"web-0\",\"namespace\":\"default\","
			 "\"container_name\":\"nginx\"}}");
	/* Files of old ones lack the uid, and the path need not tell it. */
	container->pod_uid[0] = 0;
	container->details.pod_uid = NULL;
	contained_forget_text(&in);
	format_in(&in);
	has("container", "{\"id\":\"c\",\"runtime\":\"containerd\",\"k8s\":{\"pod\":\"web-0\","
			 "\"namespace\":\"default\",\"container_name\":\"nginx\"}}");
	container->details.pod = container->details.namespace = NULL;
	contained_forget_text(&in);
	format_in(&in);
	has("container", "{\"id\":\"c\",\"runtime\":\"containerd\",\"k8s\":{"
			 "\"container_name\":\"nginx\"}}");
}

/* A user chooses the names of cgroups, and of most that is in files. */
static void test_hostile_containers(void **state)
{
	struct container *container;

	(void)state;
	contained_begin(&in, "/a\n\",\"pid\":1\033[2J");
	format_in(&in);
	has("cgroup", "\"/a\\n\\\",\\\"pid\\\":1\\u001b[2J\"");
	lacks("raw");
	again(&in);
	/* The flag is also of the text that is kept. */
	contained_begin(&in, "/\xff");
	for (int i = 0; i < 3; i++) {
		format_in(&in);
		has("cgroup", "\"/\xef\xbf\xbd\"");
		has("raw", "true");
	}
	/* ... and of no other record. */
	contained_begin(&other, "/b");
	format_in(&other);
	lacks("raw");
	format_in(&other);
	lacks("raw");
	/* A text that is kept is not raw because of what was in front of it. */
	contained_forget_text(&other);
	{
		struct event event;

		assert_int_equal(event_decode(&event, &record, record_exit(&record, 858, "\xff", 0)),
				 0);
		event.cgroup = &other.cgroup;
		format_event(&event);
		has("raw", "true");
	}
	format_in(&other);
	lacks("raw");
	container = contained_in(&in, "/c", "a b=\"\n\xfe", "crun");
	container->details.name = (char[]){ "\xe2\x80\xae" "fdp" };
	container->details.image = (char[]){ "\\" };
	for (int i = 0; i < 2; i++) {
		format_in(&in);
		has("container",
		    "{\"id\":\"a b=\\\"\\n\xef\xbf\xbd\",\"runtime\":\"crun\","
		    "\"name\":\"\\u202efdp\",\"image\":\"\\\\\"}");
		has("raw", "true");
	}
}

static void format_move(const struct contained *from, const struct contained *to, uint64_t old_id)
{
	size_t size = record_move(&record, 858, "sh", 1);
	struct event event;

	assert_int_equal(event_decode(&event, &record, size), 0);
	event.cgroup = to ? &to->cgroup : NULL;
	event.old_cgroup = from ? &from->cgroup : NULL;
	event.old_cgroup_id = old_id;
	format_event(&event);
}

static void test_move(void **state)
{
	(void)state;
	/* Nothing is known but the number. */
	format_move(NULL, NULL, 0);
	has_task("cgroup", 1, 858, "sh", 0);
	format_move(NULL, NULL, 77);
	has_task("cgroup", 1, 858, "sh", 1);
	has_number("old_cgroup_id", 77);
	contained_begin(&in, "/a");
	contained_begin(&other, NULL);
	format_move(&other, &in, 77);
	has_task("cgroup", 1, 858, "sh", 2);
	has("cgroup", "\"/a\"");
	contained_begin(&other, "/b");
	format_move(&other, &in, 77);
	has_task("cgroup", 1, 858, "sh", 3);
	has("old_cgroup", "\"/b\"");
	contained_in(&other, "/lxc.payload.x", "x", "lxc");
	format_move(&other, &in, 77);
	has_task("cgroup", 1, 858, "sh", 4);
	has("old_cgroup", "\"/lxc.payload.x\"");
	has("old_container", "{\"id\":\"x\",\"runtime\":\"lxc\"}");
	lacks("container");
	format_move(&in, &other, 77);
	has_task("cgroup", 1, 858, "sh", 4);
	has("container", "{\"id\":\"x\",\"runtime\":\"lxc\"}");
	lacks("old_container");
	lacks("ns"); /* it is no picture */
}

static void format_entry(const struct target *target, const struct contained *where)
{
	size_t size = record_ns(&record, 858, "nsenter");
	struct line line = begin();
	struct event event;

	record_changed(&record.ns.change, NSMON_NS_NET, 5, NSMON_REASON_SETNS);
	assert_int_equal(event_decode(&event, &record, size), 0);
	event.target = *target;
	event.cgroup = where ? &where->cgroup : NULL;
	json_formatter.ns(&line, &run, &stamp, &event, NSMON_NS_NET);
	end(&line);
}

static void test_target(void **state)
{
	(void)state;
	format_entry(&(struct target){ 0 }, NULL);
	has_task("ns", 1, 858, "nsenter", 4);
	format_entry(&(struct target){ .owner = TARGET_HOST }, NULL);
	has_task("ns", 1, 858, "nsenter", 5);
	has("target", "\"host\"");
	lacks("target_container");
	/* One that is forgotten meanwhile. */
	format_entry(&(struct target){ .owner = 7 }, NULL);
	has_task("ns", 1, 858, "nsenter", 4);
	contained_in(&in, "/a", "web", "crun")->details.name = (char[]){ "n" };
	contained_in(&other, "/b", "db", "lxc");
	format_entry(&(struct target){ .owner = 7, .container = &in.container }, &other);
	has_task("ns", 1, 858, "nsenter", 8);
	has("target", "\"web\"");
	has("target_container", "{\"id\":\"web\",\"runtime\":\"crun\",\"name\":\"n\"}");
	has("container", "{\"id\":\"db\",\"runtime\":\"lxc\"}");
}

/* Everything at its longest, of what becomes longest. */
static void test_longest_line_of_containers(void **state)
{
	static const char *const fill[] = { "\x01", "\xff", "\"", "\xc2\x9b", "\xe2\x80\xae" };
	static char args[NSMON_TEXT_MAX];
	/* Two paths, two containers, one id, and arguments: all of it in one would fit, too. */
	const size_t most = 6 * (2 * (4095 + 7 * RUNSTATE_STRING_MAX + CONTAINER_ID_MAX) +
				 CONTAINER_ID_MAX + NSMON_TEXT_MAX);

	(void)state;
	assert_true(most + 2048 < LINE_MAX_BYTES);
	for (size_t n = 0; n < sizeof(fill) / sizeof(*fill); n++) {
		struct event event;
		size_t size;

		contained_fill(&in, fill[n]);
		contained_fill(&other, fill[n]);
		for (int i = 0; i < 2; i++) {
			format_move(&other, &in, UINT64_MAX);
			has_number("old_cgroup_id", UINT64_MAX);
			format_entry(&(struct target){ .owner = 1, .container = &in.container },
				     &other);
			has_number("inum", 5);
			/* A row, which has the most. */
			for (size_t k = 0; k < sizeof(args); k++)
				args[k] = fill[n][k % strlen(fill[n])];
			size = record_proc(&record, 1, 4194304, "\x01\x01\x01\x01\x01\x01\x01\x01");
			event = proc_event(size, NULL, args, sizeof(args));
			event.proc.exe = in.cgroup.path;
			event.proc.exe_len = 4095;
			event.proc.truncated = event.recovered = true;
			event.cgroup = &in.cgroup;
			format_event(&event);
			has("recovered", "true");
		}
	}
}

static void test_filters_of_cgroups(void **state)
{
	(void)state;
	options.cgroup = "/a \"b\"";
	options.container = "we\xff";
	options.events = 1 << NSMON_CGROUP;
	start();
	has("filters", "{\"events\":[\"cgroup\"],\"types\":[\"mnt\",\"uts\",\"ipc\",\"net\","
		       "\"pid\",\"pid_for_children\",\"user\",\"cgroup\",\"time\","
		       "\"time_for_children\"],\"reasons\":[\"clone\",\"unshare\",\"setns\","
		       "\"exec\",\"fork\",\"kernel\"],\"cgroup\":\"/a \\\"b\\\"\","
		       "\"container\":\"we\xef\xbf\xbd\"}");
	has("raw", "true");
}

static void test_container_alone(void **state)
{
	struct line line = begin();

	(void)state;
	contained_in(&in, "/a", "web", "crun");
	json_container(&line, &in.container);
	line_text(&line, "\n");
	end(&line);
	assert_string_equal(room, "{\"id\":\"web\",\"runtime\":\"crun\"}");
}

/* Every member that is written is in the schema that `nsmon --schema` prints. */
static void test_schema_names_the_members(void **state)
{
	static const char *const names[] = {
		"time", "seq", "event", "pid", "tid", "ppid", "vpid", "start_ns", "comm", "uid",
		"gid", "cgroup_id", "ptid", "filename", "args", "args_truncated", "old_tid", "code",
		"signal", "core", "duration_ns", "type", "reason", "old_inum", "inum", "old_ns_id",
		"ns_id", "errno", "error", "flags", "count", "fork", "exec", "exit", "ns", "lost",
		"version", "schema", "backend", "kernel", "arch", "host", "boot_id", "filters",
		"events", "types", "reasons", "pids", "command", "command_truncated", "threads", "failed", "switches",
		"switches_known", "raw", "recovered", "exe", "proc", "tasks", "snapshot",
		"cgroup", "container", "unit", "id", "runtime", "name", "image", "k8s", "pod_uid",
		"pod", "namespace", "container_name", "unverified", "old_cgroup_id", "old_cgroup",
		"old_container", "target", "target_container", "cgroup_hierarchy",
	};
	char quoted[64];

	(void)state;
	assert_true(schema_size > 1000);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(quoted, sizeof(quoted), "\"%s\":", names[i]);
		if (!memmem(schema_text, schema_size, quoted, strlen(quoted)))
			fail_msg("%s is not in the schema", names[i]);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fork),
		TEST(test_exec),
		TEST(test_exit),
		TEST(test_ns),
		TEST(test_every_type_and_reason),
		TEST(test_large_numbers),
		TEST(test_failed),
		TEST(test_proc),
		TEST(test_proc_of_every_kind),
		TEST(test_ready),
		TEST(test_recovered),
		TEST(test_lost),
		TEST(test_start),
		TEST(test_filters),
		TEST(test_longest_start),
		TEST(test_command_truncated),
		TEST(test_stop),
		TEST(test_hostile_strings),
		TEST(test_longest_line),
		TEST(test_cgroup),
		TEST(test_container),
		TEST(test_pod),
		TEST(test_hostile_containers),
		TEST(test_move),
		TEST(test_target),
		TEST(test_longest_line_of_containers),
		TEST(test_filters_of_cgroups),
		TEST(test_container_alone),
		TEST(test_schema_names_the_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
