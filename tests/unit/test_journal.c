// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* journal.c: each member of the JSON record is one field, and no byte of a value makes another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "contained.h"
#include "journal.h"
#include "records.h"

static union record record;
static struct options options = { .types = NSMON_NS_ALL };
static struct kernel kernel;
static const struct run run = { .options = &options, .kernel = &kernel, .backend = "kprobe" };
static const struct stamp stamp = { .seq = 7, .time = 1795451040123456789 };
static char room[LINE_MAX_BYTES + 64];
static size_t room_len;
static struct contained in;

static struct line begin(void)
{
	memset(room, 'Z', sizeof(room));
	return (struct line){ .at = room, .end = room + LINE_MAX_BYTES };
}

static void end(const struct line *line)
{
	room_len = (size_t)(line->at - room);
	for (size_t i = LINE_MAX_BYTES; i < sizeof(room); i++)
		assert_int_equal(room[i], 'Z');
}

static void format(struct event *event)
{
	struct line line = begin();

	journal_formatter.event(&line, &run, &stamp, event);
	end(&line);
}

/* The value of the n-th field; NULL: there are not so many. */
static const char *nth(size_t n, size_t *len, char name[65])
{
	for (size_t at = 0; at < room_len; n--) {
		const char *equals;
		uint32_t size;

		assert_true(room_len - at >= sizeof(size));
		memcpy(&size, room + at, sizeof(size));
		at += sizeof(size);
		assert_true(size <= room_len - at);
		equals = memchr(room + at, '=', size);
		assert_non_null(equals);
		assert_in_range(equals - (room + at), 1, 64);
		if (!n) {
			memcpy(name, room + at, (size_t)(equals - (room + at)));
			name[equals - (room + at)] = 0;
			*len = (size_t)(room + at + size - equals) - 1;
			return equals + 1;
		}
		at += size;
	}
	return NULL;
}

static int count(void)
{
	char name[65];
	size_t len;
	int n = 0;

	while (nth((size_t)n, &len, name)) {
		/* As journald wants names to be. */
		assert_true(name[0] >= 'A' && name[0] <= 'Z');
		assert_int_equal(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), strlen(name));
		n++;
	}
	return n;
}

static void has_bytes(const char *name, const char *value, size_t value_len)
{
	char found[65];
	const char *at;
	size_t len;
	int times = 0;

	for (size_t n = 0; (at = nth(n, &len, found)); n++) {
		if (strcmp(found, name) != 0)
			continue;
		times++;
		if (len != value_len || memcmp(at, value, len) != 0)
			fail_msg("%s is %.*s, not %s", name, (int)len, at, value);
	}
	if (times != 1)
		fail_msg("%s is there %d times", name, times);
}

static void has(const char *name, const char *value)
{
	has_bytes(name, value, strlen(value));
}

static void fields_of(const char *json)
{
	struct line line = begin();

	assert_ptr_equal(journal_fields(&line, "N", json, json + strlen(json)),
			 json + strlen(json));
	end(&line);
}

static void test_values(void **state)
{
	(void)state;
	fields_of("{\"a\":1,\"b\":true,\"c_d\":\"x\",\"e\":{\"f\":{\"g\":18446744073709551615},\"h\":\"\"},"
		  "\"i\":[],\"j\":[\"]\",\"\\\"}\",{\"k\":1}],\"l\":0}");
	assert_int_equal(count(), 8);
	has("N_A", "1");
	has("N_B", "true");
	has("N_C_D", "x");
	has("N_E_F_G", "18446744073709551615");
	has("N_E_H", "");
	has("N_I", "[]");
	has("N_J", "[\"]\",\"\\\"}\",{\"k\":1}]");
	has("N_L", "0");
}

/* What line_json() escapes, undone. */
static void test_strings(void **state)
{
	static const char *const strings[] = {
		"plain", "", "\"", "\\", "\\\\\"", "a\nNSMON_TYPE=net\n", "\t\r\x01\x1f\x7f",
		"\xc2\x9b", "\xe2\x80\xae", "\xf3\xa0\x80\x81", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		"{},[]:", "\\u0041", "\\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
		static char json[LINE_MAX_BYTES];
		struct line line = { .at = json, .end = json + sizeof(json) - 1 };

		line_text(&line, "{\"x\":");
		line_json(&line, strings[i], strlen(strings[i]));
		line_text(&line, ",\"y\":1}");
		*line.at = 0;
		fields_of(json);
		assert_int_equal(count(), 2);
		has("N_X", strings[i]);
		has("N_Y", "1");
	}
	/* Of every byte that may come: a name of it. */
	for (int c = 1; c < 256; c++) {
		static char json[64];
		struct line line = { .at = json, .end = json + sizeof(json) - 1 };
		const char name[] = { 'a', (char)c, 'b' };

		line_text(&line, "{\"x\":");
		line_json(&line, name, 3);
		line_text(&line, "}");
		*line.at = 0;
		fields_of(json);
		assert_int_equal(count(), 1);
		if (c < 0x80)
			has_bytes("N_X", name, 3);
		else
			has("N_X", "a\xef\xbf\xbd" "b");
	}
}

static void test_record(void **state)
{
	struct event event;

	(void)state;
	record_exec(&record, 858, "l\ns", "/bin/ls", "ls\0-l\nNSMON_PID=1\0", 18);
	assert_int_equal(event_decode(&event, &record, record.header.size), 0);
	contained_in(&in, "/c", "abc", "docker")->details.pod = (char[]){ "web" };
	event.cgroup = &in.cgroup;
	format(&event);
	has("MESSAGE", "exec: pid=858 comm=l\\ns args=\"ls -l\\nNSMON_PID=1\" container=abc");
	has("PRIORITY", "6");
	has("SYSLOG_IDENTIFIER", "nsmon");
	has("NSMON_TIME", "2026-11-23T16:24:00.123456789Z");
	has("NSMON_SEQ", "7");
	has("NSMON_EVENT", "exec");
	has("NSMON_PID", "858");
	has("NSMON_COMM", "l\ns");
	has("NSMON_ARGS", "[\"ls\",\"-l\\nNSMON_PID=1\"]");
	has("NSMON_CONTAINER_ID", "abc");
	has("NSMON_CONTAINER_RUNTIME", "docker");
	has("NSMON_CONTAINER_K8S_POD", "web");
	assert_int_equal(count(), 21); /* 3, and the 18 members of the JSON record */
}

static void test_lost_is_a_warning(void **state)
{
	const uint64_t lost[NSMON_KINDS] = { [NSMON_FORK] = 3 };
	struct line line = begin();

	(void)state;
	journal_formatter.lost(&line, &run, &stamp, lost);
	end(&line);
	has("PRIORITY", "4");
	has("NSMON_COUNT", "3");
	has("MESSAGE", "lost: count=3 fork=3 exec=0 exit=0 ns=0 cgroup=0");
}

/* start, ready and stop have a message as well. */
static void test_of_the_run(void **state)
{
	const struct totals totals = { .lost = 2 };
	struct line line = begin();

	(void)state;
	journal_formatter.start(&line, &run, &stamp);
	end(&line);
	has("NSMON_BACKEND", "kprobe");
	line = begin();
	journal_formatter.ready(&line, &run, &stamp, 5);
	end(&line);
	has("MESSAGE", "ready: tasks=5");
	has("NSMON_TASKS", "5");
	line = begin();
	journal_formatter.stop(&line, &run, &stamp, &totals);
	end(&line);
	has("NSMON_LOST", "2");
}

/* All of it fits: two containers, arguments, paths. */
static void test_longest(void **state)
{
	static const char *const fill[] = { "\x01", "\xff", "\"", "\xc2\x9b", "\xe2\x80\xae" };
	static char args[NSMON_TEXT_MAX];

	(void)state;
	for (size_t n = 0; n < sizeof(fill) / sizeof(*fill); n++) {
		struct event event;

		contained_fill(&in, fill[n]);
		for (size_t k = 0; k < sizeof(args); k++)
			args[k] = fill[n][k % strlen(fill[n])];
		record_proc(&record, 1, 4194304, "\x01\x01\x01\x01\x01\x01\x01\x01");
		for (int i = 0; i < NSMON_NS_TYPES; i++)
			record.proc.ns.id[i] = UINT64_MAX;
		assert_int_equal(event_decode(&event, &record, record.header.size), 0);
		event.cgroup = &in.cgroup;
		event.proc.exe = in.cgroup.path;
		event.proc.exe_len = 4095;
		event.proc.args = args;
		event.proc.args_len = sizeof(args);
		event.proc.truncated = event.recovered = true;
		format(&event);
		has("NSMON_RECOVERED", "true");
		has("NSMON_ARGS_TRUNCATED", "true");
		has("NSMON_NS_TIME_FOR_CHILDREN_NS_ID", "18446744073709551615");
		assert_in_range(count(), 40, 100);
		record.header.kind = NSMON_CGROUP;
		assert_int_equal(event_decode(&event, &record, record.header.size), 0);
		event.cgroup = event.old_cgroup = &in.cgroup;
		event.recovered = true;
		format(&event);
		has("NSMON_RECOVERED", "true");
	}
}

static int tear_down(void **state)
{
	(void)state;
	contained_begin(&in, NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_strings),
		cmocka_unit_test_teardown(test_record, tear_down),
		cmocka_unit_test(test_lost_is_a_warning),
		cmocka_unit_test(test_of_the_run),
		cmocka_unit_test_teardown(test_longest, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
