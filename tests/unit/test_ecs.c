// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* ecs.c: whole records, byte for byte, where the golden files do not reach; and the longest ones. */
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
#include "version.h"

#define BOOT_ID "01234567-89ab-cdef-0123-456789abcdef"

static union record record;
static struct options options;
static struct kernel kernel;
static const struct run run = { .options = &options, .kernel = &kernel, .backend = "kprobe" };
/* 2026-11-23T16:24:00.123456789Z; the record's own time is 1 s after the boot. */
static const struct stamp stamp = { .seq = 7, .time = 1795451040123456789 };
static char room[LINE_MAX_BYTES + 1];
static struct contained in, other;

static int set_up(void **state)
{
	(void)state;
	kernel = (struct kernel){ 0 };
	strcpy(kernel.uname.nodename, "box");
	strcpy(kernel.boot_id, BOOT_ID);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	contained_begin(&in, NULL);
	contained_begin(&other, NULL);
	return 0;
}

static struct event decode(size_t size)
{
	struct event event;

	assert_int_equal(event_decode(&event, &record, size), 0);
	return event;
}

/* type < 0: the event's own record. */
static void format(const struct event *event, int type)
{
	struct line line = { .at = room, .end = room + LINE_MAX_BYTES };
	size_t len;

	if (type >= 0)
		ecs_formatter.ns(&line, &run, &stamp, event, (enum nsmon_ns_type)type);
	else if (event->failed)
		ecs_formatter.failed(&line, &run, &stamp, event);
	else
		ecs_formatter.event(&line, &run, &stamp, event);
	assert_true(line.at > room && line.at[-1] == '\n');
	len = (size_t)(line.at - room) - 1;
	room[len] = 0;
	assert_true(strict_is_printable(room, len));
	if (!json_is_object(room, len))
		fail_msg("this is no JSON object: %s", room);
}

static void has(const char *part)
{
	if (!strstr(room, part))
		fail_msg("%s is not in %s", part, room);
}

static void lacks(const char *part)
{
	if (strstr(room, part))
		fail_msg("%s is in %s", part, room);
}

static void test_whole(void **state)
{
	struct event event = decode(record_fork(&record, 696, 858, "sh"));

	(void)state;
	record.fork.creator_tid = 700;
	event = decode(record.header.size);
	event.fork.creator_start_ns = 5;
	format(&event, -1);
	assert_string_equal(
		room,
		"{\"@timestamp\":\"2026-11-23T16:24:00.123456789Z\",\"ecs\":{\"version\":\"8.11.0\"},"
		"\"agent\":{\"type\":\"nsmon\",\"version\":\"" NSMON_VERSION "\"},"
		"\"host\":{\"hostname\":\"box\",\"boot\":{\"id\":\"" BOOT_ID "\"}},"
		"\"event\":{\"module\":\"nsmon\",\"dataset\":\"nsmon.events\",\"kind\":\"event\","
		"\"category\":[\"process\"],\"type\":[\"start\"],\"action\":\"fork\",\"sequence\":7},"
		"\"process\":{\"pid\":858,\"entity_id\":\"" BOOT_ID ":858:91003000000\","
		"\"name\":\"sh\",\"thread\":{\"id\":858},\"vpid\":858,"
		/* 91.003 s after the boot, which was 1 s before the record */
		"\"start\":\"2026-11-23T16:25:30.126456789Z\","
		"\"parent\":{\"pid\":696,\"entity_id\":\"" BOOT_ID ":696:5\",\"thread\":{\"id\":700}}},"
		"\"user\":{\"id\":\"1000\"},\"group\":{\"id\":\"100\"},"
		"\"nsmon\":{\"cgroup_id\":1,\"start_ns\":91003000000}}");
}

/* Without the id of the boot there is no id of the process. */
static void test_no_boot_id(void **state)
{
	struct event event = decode(record_fork(&record, 696, 858, "sh"));

	(void)state;
	kernel.boot_id[0] = 0;
	event.fork.creator_start_ns = 5;
	format(&event, -1);
	lacks("entity_id");
	lacks("boot");
}

static void test_thread(void **state)
{
	struct event event;

	(void)state;
	record_exit(&record, 858, "worker", 0);
	record.exit.task.tid = 860;
	record.exit.process_ends = 0;
	event = decode(record.header.size);
	format(&event, -1);
	has("\"type\":[\"change\"],\"action\":\"exit\",\"sequence\":7}");
	has("\"thread\":{\"id\":860,\"name\":\"worker\"}");
	lacks("\"name\":\"worker\",\"thread\"");
	lacks("exit_code");
	lacks("\"end\"");
	has("\"code\":0,\"duration_ns\":1500000}}");
	/* Found again: the same, and nothing of how. */
	event.recovered = true;
	format(&event, -1);
	has("\"type\":[\"change\"]");
	lacks("code");
	lacks("duration");
	/* Created by its own process, which is not its own parent. */
	record_fork(&record, 858, 858, "worker");
	record.fork.task.tid = 860;
	record.fork.creator_tid = 859;
	event = decode(record.header.size);
	format(&event, -1);
	has("\"type\":[\"change\"],\"action\":\"fork\"");
	lacks("parent");
	has("\"ppid\":858,\"ptid\":859}}");
}

/* The process ends with its last thread, though its main thread ended before. */
static void test_main_thread_ends_first(void **state)
{
	struct event event;

	(void)state;
	record_exit(&record, 858, "main", SIGABRT | 0x80);
	record.exit.process_ends = 0;
	event = decode(record.header.size);
	format(&event, -1);
	has("\"type\":[\"change\"]");
	has("\"name\":\"main\",\"thread\":{\"id\":858}");
	lacks("exit_code");
	lacks("\"end\"");
	has("\"signal\":6,\"core\":true,\"duration_ns\":1500000}}");
	record_exit(&record, 858, "worker", 5 << 8);
	record.exit.task.tid = 860;
	event = decode(record.header.size);
	format(&event, -1);
	has("\"type\":[\"end\"],\"action\":\"exit\",\"sequence\":7}");
	has("\"exit_code\":5,\"end\":");
	has("\"start_ns\":91003000000,\"duration_ns\":1500000}}");
}

static void test_program(void **state)
{
	struct event event = decode(record_exec(&record, 858, "ls", "/bin/ls", "ls\0-l\0", 6));

	(void)state;
	format(&event, -1);
	has("\"executable\":\"/bin/ls\",\"args\":[\"ls\",\"-l\"],\"args_count\":2}");
	lacks("filename");
	lacks("args_truncated");
	/* What is no absolute path is no executable. */
	event = decode(record_exec(&record, 858, "ls", "./ls", "", 0));
	event.exec.truncated = true;
	format(&event, -1);
	lacks("executable");
	has("\"args\":[],\"args_count\":0}");
	has("\"filename\":\"./ls\",\"args_truncated\":true}}");
	event = decode(record_exec(&record, 858, "ls", "", "\xff\0", 2));
	format(&event, -1);
	has("\"args\":[\"\xef\xbf\xbd\"],\"args_count\":1}");
	has("\"filename\":\"\",\"raw\":true}}");
	/* Recovered, of a process that has ended. */
	event.exec.filename = NULL;
	event.recovered = true;
	format(&event, -1);
	lacks("executable");
	lacks("filename");
}

static void test_exit(void **state)
{
	struct event event = decode(record_exit(&record, 858, "ls", 3 << 8));

	(void)state;
	format(&event, -1);
	has("\"sequence\":7,\"duration\":1500000}");
	has("\"exit_code\":3,\"end\":\"2026-11-23T16:24:00.123456789Z\"}");
	lacks("signal");
	event = decode(record_exit(&record, 858, "ls", SIGABRT | 0x80));
	format(&event, -1);
	has("\"exit_code\":134,");
	has("\"signal\":6,\"core\":true}}");
	event.recovered = true;
	format(&event, -1);
	lacks("exit_code");
	lacks("\"end\":");
	lacks("duration");
	lacks("signal");
	has("\"recovered\":true}}");
}

/* A change that an exec or a fork brings is a record of its own, with nothing of theirs. */
static void test_changes_of_other_events(void **state)
{
	struct event event;

	(void)state;
	record_fork_ns(&record, 696, 858, "sh");
	record_changed(&record.fork_ns.change, NSMON_NS_NET, 5, NSMON_REASON_CLONE);
	record.fork.task.ppid = 1; /* CLONE_PARENT */
	event = decode(record.header.size);
	format(&event, NSMON_NS_NET);
	has("\"parent\":{\"pid\":1}}");
	has("\"type\":[\"change\"],\"action\":\"ns\",\"sequence\":7,\"reason\":\"clone\","
	    "\"outcome\":\"success\"}");
	format(&event, -1);
	has("\"parent\":{\"pid\":696,\"thread\":{\"id\":696}}}");
	event = decode(record_exec(&record, 858, "ls", "/bin/ls", "ls\0", 3));
	event.change = &(struct nsmon_ns_change){
		.changed = 1 << NSMON_NS_TIME,
		.reason[NSMON_NS_TIME] = NSMON_REASON_EXEC,
	};
	format(&event, NSMON_NS_TIME);
	lacks("args");
	lacks("executable");
}

static void test_failed(void **state)
{
	struct event event =
		decode(record_failed(&record, 858, "x", NSMON_REASON_UNSHARE, EPERM, 1ULL << 40));

	(void)state;
	format(&event, -1);
	has("\"reason\":\"unshare\",\"outcome\":\"failure\"},\"error\":{\"code\":\"EPERM\"},\"process\"");
	has("\"errno\":1,\"flags\":1099511627776}}");
	event = decode(record_failed(&record, 858, "x", NSMON_REASON_UNSHARE, 4000, 0));
	format(&event, -1);
	lacks("\"error\"");
	has("\"errno\":4000");
}

/* In a pod; of a unit; and what was made of a cgroup is used again. */
static void test_cgroup(void **state)
{
	struct event event = decode(record_exit(&record, 858, "x", 0));
	struct container *container = contained_in(&in, "/k\"", "abc", "containerd");

	(void)state;
	container->details.image = (char[]){ "nginx\n:1" };
	container->details.pod = (char[]){ "web-0" };
	container->details.namespace = (char[]){ "shop" };
	container->details.container_name = (char[]){ "web" };
	strcpy(container->pod_uid, "u-1");
	container->details.backed = false;
	event.cgroup = &in.cgroup;
	for (int i = 0; i < 2; i++) {
		format(&event, -1);
		has("\"container\":{\"id\":\"abc\",\"runtime\":\"containerd\",\"image\":{\"name\":"
		    "\"nginx\\n:1\"}},\"orchestrator\":{\"type\":\"kubernetes\",\"namespace\":\"shop\","
		    "\"resource\":{\"type\":\"pod\",\"id\":\"u-1\",\"name\":\"web-0\"}},"
		    "\"nsmon\":{\"cgroup\":\"/k\\\"\",\"container_name\":\"web\",\"unverified\":true,"
		    "\"cgroup_id\":1,");
	}
	contained_begin(&in, "/system.slice/ssh.service");
	in.cgroup.unit = "ssh.service";
	in.cgroup.unit_len = 11;
	format(&event, -1);
	lacks("container");
	lacks("orchestrator");
	has("\"nsmon\":{\"cgroup\":\"/system.slice/ssh.service\",\"unit\":\"ssh.service\",\"cgroup_id\"");
}

/* Two containers, two paths, arguments: each as long as it can be, and each byte as bad. */
static void test_longest_line(void **state)
{
	static const char *const fill[] = { "\x01", "\xff", "\"", "\xc2\x9b", "\xe2\x80\xae" };
	static char args[NSMON_TEXT_MAX];

	(void)state;
	memset(kernel.uname.nodename, 1, sizeof(kernel.uname.nodename) - 1);
	for (size_t n = 0; n < sizeof(fill) / sizeof(*fill); n++) {
		struct event event;
		size_t size;

		contained_fill(&in, fill[n]);
		contained_fill(&other, fill[n]);
		size = record_move(&record, 858, "x", 3);
		event = decode(size);
		event.cgroup = &in.cgroup;
		event.old_cgroup = &other.cgroup;
		event.old_cgroup_id = UINT64_MAX;
		event.recovered = true;
		format(&event, -1);
		has("\"recovered\":true");
		for (size_t k = 0; k < sizeof(args); k++)
			args[k] = fill[n][k % strlen(fill[n])];
		size = record_proc(&record, 1, 4194304, "\x01\x01\x01\x01\x01\x01\x01\x01");
		event = decode(size);
		event.cgroup = &in.cgroup;
		event.proc.exe = in.cgroup.path;
		event.proc.exe_len = 4095;
		event.proc.args = args;
		event.proc.args_len = sizeof(args);
		event.proc.truncated = event.recovered = true;
		format(&event, -1);
		has("\"args_truncated\":true,\"recovered\":true");
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole),	  TEST(test_no_boot_id),
		TEST(test_thread),	  TEST(test_program),
		TEST(test_exit),	  TEST(test_changes_of_other_events),
		TEST(test_failed),	  TEST(test_cgroup),
		TEST(test_longest_line),  TEST(test_main_thread_ends_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
