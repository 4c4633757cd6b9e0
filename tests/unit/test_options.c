// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* options.c: values and their limits; what is wrong usage, and what a user then reads. */
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture.h"
#include "options.h"
#include "version.h"

#define PAGE 4096

static struct capture captured;

static void check_size(const char *text, int result, size_t expected)
{
	size_t size = 12345;

	if (options_parse_size(text, PAGE, &size) != result)
		fail_msg("'%s' is not %d", text, result);
	assert_int_equal(size, result ? 12345 : expected);
}

static void test_cgroup_paths(void **state)
{
	static const struct {
		const char *path;
		const char *is; /* NULL: none */
	} paths[] = {
		{ "/", "/" },
		{ "//", "/" },
		{ "/a", "/a" },
		{ "/a/", "/a" },
		{ "//a///b//", "/a/b" },
		{ "/...", "/..." },
		{ "/.a/b..", "/.a/b.." },
		{ "/a/./b", NULL },
		{ "/a/..", NULL },
		{ "a", NULL },
		{ "", NULL },
	};
	char path[300];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		strcpy(path, paths[i].path);
		assert_int_equal(options_parse_cgroup(path), paths[i].is ? 0 : -EINVAL);
		assert_string_equal(path, paths[i].is ? paths[i].is : paths[i].path);
	}
	memset(path, 'x', 257);
	path[0] = '/';
	path[256] = 0;
	assert_int_equal(options_parse_cgroup(path), 0);
	path[256] = 'x';
	path[257] = 0;
	assert_int_equal(options_parse_cgroup(path), -EINVAL);
}

static void test_sizes(void **state)
{
	(void)state;
	check_size("4096", 0, 4096);
	check_size("65536", 0, 65536);
	check_size("4K", 0, 4096);
	check_size("4k", 0, 4096);
	check_size("64K", 0, 65536);
	check_size("8M", 0, 8388608);
	check_size("8m", 0, 8388608);
	check_size("1G", 0, 1073741824);
	check_size("1g", 0, 1073741824);
	check_size("1024M", 0, 1073741824);
	check_size("1073741824", 0, 1073741824);
	check_size("0004096", 0, 4096);
	/* Numbers, but no power of two pages up to 1 GiB. */
	check_size("0", -ERANGE, 0);
	check_size("0K", -ERANGE, 0);
	check_size("1", -ERANGE, 0);
	check_size("2048", -ERANGE, 0);
	check_size("4095", -ERANGE, 0);
	check_size("4097", -ERANGE, 0);
	check_size("12K", -ERANGE, 0);
	check_size("3M", -ERANGE, 0);
	check_size("2G", -ERANGE, 0);
	check_size("1025M", -ERANGE, 0);
	check_size("2147483648", -ERANGE, 0);
	/* These are 4096 and 0 where a shift or a sum loses its upper bits. */
	check_size("18446744073709555712", -ERANGE, 0);
	check_size("18014398509481985K", -ERANGE, 0);
	check_size("17179869184G", -ERANGE, 0);
	check_size("18446744073709551616", -ERANGE, 0);
	check_size("99999999999999999999999999", -ERANGE, 0);
	/* No numbers at all. */
	check_size("", -EINVAL, 0);
	check_size("K", -EINVAL, 0);
	check_size("-4096", -EINVAL, 0);
	check_size("+4096", -EINVAL, 0);
	check_size(" 4096", -EINVAL, 0);
	check_size("4096 ", -EINVAL, 0);
	check_size("0x1000", -EINVAL, 0);
	check_size("8MB", -EINVAL, 0);
	check_size("8MiB", -EINVAL, 0);
	check_size("8T", -EINVAL, 0);
	check_size("8 M", -EINVAL, 0);
	check_size("8KK", -EINVAL, 0);
	check_size("1.5M", -EINVAL, 0);
	check_size("eight", -EINVAL, 0);
}

static void test_sizes_by_page(void **state)
{
	size_t size;

	(void)state;
	/* arm64 also has pages of 16 and of 64 KiB. */
	assert_int_equal(options_parse_size("64K", 65536, &size), 0);
	assert_int_equal(options_parse_size("32K", 65536, &size), -ERANGE);
	assert_int_equal(options_parse_size("16K", 16384, &size), 0);
	assert_int_equal(options_parse_size("8K", 16384, &size), -ERANGE);
}

static void check_list(const char *text, uint32_t expected)
{
	const char *wrong = NULL;
	uint32_t bits = 0;
	size_t len;

	if (options_parse_list(text, ns_type_names, NSMON_NS_TYPES, &bits, &wrong, &len))
		fail_msg("'%s' is refused", text);
	assert_int_equal(bits, expected);
}

static void check_list_wrong(const char *text, const char *expected)
{
	const char *wrong = NULL;
	uint32_t bits = 77;
	size_t len = 0;

	assert_int_equal(options_parse_list(text, ns_type_names, NSMON_NS_TYPES, &bits, &wrong,
					    &len),
			 -EINVAL);
	assert_int_equal(bits, 77);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(wrong, expected, len);
	assert_in_range((uintptr_t)wrong, (uintptr_t)text, (uintptr_t)text + strlen(text));
}

static void test_lists(void **state)
{
	(void)state;
	check_list("mnt", 1 << 0);
	check_list("net,user", 1 << 3 | 1 << 6);
	check_list("user,net", 1 << 3 | 1 << 6);
	check_list("net,net,net", 1 << 3);
	check_list("pid_for_children", 1 << 5);
	check_list("pid,pid_for_children", 1 << 4 | 1 << 5);
	check_list("mnt,uts,ipc,net,pid,pid_for_children,user,cgroup,time,time_for_children",
		   NSMON_NS_ALL);
	check_list_wrong("", "");
	check_list_wrong(",", "");
	check_list_wrong("net,", "");
	check_list_wrong(",net", "");
	check_list_wrong("net,,user", "");
	check_list_wrong("nets", "nets");
	check_list_wrong("ne", "ne");
	check_list_wrong("net,mount,uts", "mount");
	check_list_wrong("net, user", " user");
	check_list_wrong("NET", "NET");
	check_list_wrong("all", "all");
}

static void check_pid(const char *text, int result, pid_t expected)
{
	pid_t pid = 77;

	if (options_parse_pid(text, &pid) != result)
		fail_msg("'%s' is not %d", text, result);
	assert_int_equal(pid, result ? 77 : expected);
}

static void test_pids(void **state)
{
	(void)state;
	check_pid("1", 0, 1);
	check_pid("858", 0, 858);
	check_pid("4194304", 0, 4194304); /* PID_MAX_LIMIT */
	check_pid("0", -EINVAL, 0);
	check_pid("4194305", -EINVAL, 0);
	check_pid("-1", -EINVAL, 0);
	check_pid("+1", -EINVAL, 0);
	check_pid("", -EINVAL, 0);
	check_pid(" 1", -EINVAL, 0);
	check_pid("1 ", -EINVAL, 0);
	check_pid("1,2", -EINVAL, 0);
	check_pid("0x1", -EINVAL, 0);
	check_pid("self", -EINVAL, 0);
	check_pid("4294967297", -EINVAL, 0); /* 1 in 32 bits */
	check_pid("18446744073709551617", -EINVAL, 0);
	check_pid("99999999999999999999999999", -EINVAL, 0);
}

/* The command lines below are arrays ended by NULL. */
static int count(char **argv)
{
	int n = 0;

	while (argv[n])
		n++;
	return n;
}

static void parse(struct options *options, char **argv)
{
	memset(options, 0xff, sizeof(*options));
	options_parse(options, count(argv), argv);
}

#define PARSE(options, ...) parse(options, (char *[]){ "nsmon", __VA_ARGS__, NULL })

static void test_defaults(void **state)
{
	char *argv[] = { "nsmon", NULL };
	static struct options o;

	(void)state;
	parse(&o, argv);
	assert_int_equal(o.mode, MODE_TRACE);
	assert_int_equal(o.output, OUTPUT_TEXT);
	assert_int_equal(o.backend, BACKEND_AUTO);
	assert_int_equal(o.events, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7);
	assert_int_equal(o.types, 0x3ff);
	assert_int_equal(o.reasons, 0x7e);
	assert_int_equal(o.pid_count, 0);
	assert_false(o.threads || o.timestamps || o.failed);
	assert_null(o.write_path);
	assert_null(o.btf);
	assert_null(o.user);
	assert_null(o.command);
	assert_int_equal(o.buffer, 0);
	assert_int_equal(o.verbose, 0);
}

static void test_short_and_long(void **state)
{
	static struct options o;

	(void)state;
	PARSE(&o, "-o", "json", "-e", "fork,ns", "-n", "net,user", "-r", "setns,kernel", "-p", "858",
	      "-p", "1", "-T", "-w", "/tmp/x", "-v", "-v");
	assert_int_equal(o.output, OUTPUT_JSON);
	assert_int_equal(o.events, 1 << NSMON_FORK | 1 << NSMON_NS);
	assert_int_equal(o.types, 1 << 3 | 1 << 6);
	assert_int_equal(o.reasons, 1 << NSMON_REASON_SETNS | 1 << NSMON_REASON_KERNEL);
	assert_int_equal(o.pid_count, 2);
	assert_int_equal(o.pids[0], 858);
	assert_int_equal(o.pids[1], 1);
	assert_true(o.threads && !o.timestamps);
	assert_string_equal(o.write_path, "/tmp/x");
	assert_int_equal(o.verbose, 2);
	PARSE(&o, "-t");
	assert_true(o.timestamps);
	PARSE(&o, "-tojson", "--journal"); /* whose messages are lines of text */
	assert_true(o.timestamps);

	PARSE(&o, "--output=text", "--events=exit", "--types=cgroup", "--reasons=clone", "--pid=9",
	      "--threads", "--timestamps", "--failed", "--write=y", "--buffer=8M",
	      "--backend=kprobe", "--btf=/b", "--quiet");
	assert_int_equal(o.output, OUTPUT_TEXT);
	assert_int_equal(o.events, 1 << NSMON_EXIT);
	assert_int_equal(o.types, 1 << 7);
	assert_int_equal(o.reasons, 1 << NSMON_REASON_CLONE);
	assert_int_equal(o.pids[0], 9);
	assert_true(o.threads && o.timestamps && o.failed);
	assert_string_equal(o.write_path, "y");
	assert_int_equal(o.buffer, 8388608);
	assert_int_equal(o.backend, BACKEND_KPROBE);
	assert_string_equal(o.btf, "/b");
	assert_int_equal(o.verbose, -1);
}

/* What a machine reads begins with the picture, what a human reads does not. */
static void test_snapshot(void **state)
{
	static struct options o;

	(void)state;
	PARSE(&o, "-T");
	assert_false(o.snapshot);
	PARSE(&o, "-o", "text");
	assert_false(o.snapshot);
	PARSE(&o, "-o", "json");
	assert_true(o.snapshot);
	PARSE(&o, "-o", "json", "--journal"); /* where the format selects nothing */
	assert_true(o.journal && !o.snapshot);
	PARSE(&o, "--journal", "-s");
	assert_true(o.snapshot);
	PARSE(&o, "-o", "ecs");
	assert_int_equal(o.output, OUTPUT_ECS);
	assert_true(o.snapshot);
	PARSE(&o, "-s");
	assert_true(o.snapshot);
	PARSE(&o, "--snapshot", "--output=text");
	assert_true(o.snapshot);
	PARSE(&o, "--no-snapshot", "-o", "json");
	assert_false(o.snapshot);
	PARSE(&o, "-o", "json", "--no-snapshot");
	assert_false(o.snapshot);
	/* The last one wins, also of the formats. */
	PARSE(&o, "-s", "--no-snapshot");
	assert_false(o.snapshot);
	PARSE(&o, "--no-snapshot", "-s");
	assert_true(o.snapshot);
	PARSE(&o, "-o", "json", "-s", "--no-snapshot");
	assert_false(o.snapshot);
	PARSE(&o, "-o", "json", "--no-snapshot", "--snapshot");
	assert_true(o.snapshot);
	PARSE(&o, "-o", "json", "-o", "text");
	assert_false(o.snapshot);
	PARSE(&o, "-o", "text", "-o", "json");
	assert_true(o.snapshot);
	PARSE(&o, "-s", "--", "ls", "--no-snapshot");
	assert_true(o.snapshot);
}

static void test_pids_are_kept_once(void **state)
{
	static struct options o;

	(void)state;
	PARSE(&o, "-p", "5", "-p", "6", "-p", "5");
	assert_int_equal(o.pid_count, 2);
}

static void test_modes(void **state)
{
	static struct options o;

	(void)state;
	PARSE(&o, "check");
	assert_int_equal(o.mode, MODE_CHECK);
	PARSE(&o, "-v", "check", "--btf=file");
	assert_int_equal(o.mode, MODE_CHECK);
	assert_string_equal(o.btf, "file");
	assert_int_equal(o.verbose, 1);
	PARSE(&o, "--schema");
	assert_int_equal(o.mode, MODE_SCHEMA);
}

/* What is behind "--" belongs to the command, whatever it looks like. */
static void test_commands(void **state)
{
	struct passwd *self = getpwuid(getuid());
	static struct options o;

	(void)state;
	PARSE(&o, "-T", "--", "ls", "-l", "--threads", "--", "-t", "check");
	assert_int_equal(o.mode, MODE_TRACE);
	assert_true(o.threads);
	assert_false(o.timestamps);
	assert_non_null(o.command);
	assert_string_equal(o.command[0], "ls");
	assert_string_equal(o.command[1], "-l");
	assert_string_equal(o.command[2], "--threads");
	assert_string_equal(o.command[3], "--");
	assert_string_equal(o.command[4], "-t");
	assert_string_equal(o.command[5], "check");
	assert_null(o.command[6]);
	PARSE(&o, "--", "check");
	assert_int_equal(o.mode, MODE_TRACE);
	assert_string_equal(o.command[0], "check");
	assert_null(o.command[1]);
	if (self) {
		PARSE(&o, "--user", self->pw_name, "--", "id");
		assert_string_equal(o.user, self->pw_name);
		assert_string_equal(o.command[0], "id");
	}
}

static int run_parse(void *argv)
{
	static struct options o;

	options_parse(&o, count(argv), argv);
	return 77; /* it was taken */
}

static void check_usage(const char *mentioned, char **argv)
{
	capture_child(&captured, run_parse, argv);
	if (capture_exit_code(&captured) != 2)
		fail_msg("'%s ...' ends with %d, not with 2", argv[1],
			 capture_exit_code(&captured));
	if (!strstr(captured.err, mentioned))
		fail_msg("'%s ...' does not mention '%s' but says: %s", argv[1], mentioned,
			 captured.err);
	assert_string_equal(captured.out, ""); /* standard output carries records and nothing else */
}

#define USAGE(mentioned, ...) check_usage(mentioned, (char *[]){ "nsmon", __VA_ARGS__, NULL })

/* An option's value is wrong: the option, the value, and what it takes. */
static void test_wrong_values(void **state)
{
	static char too_long_id[130], too_long_path[4097];

	(void)state;
	memset(too_long_id, 'x', 129);
	memset(too_long_path, 'x', 4096);
	too_long_path[0] = '/';
	USAGE("--output 'xml'", "-o", "xml");
	USAGE("--journal: the records", "--journal", "-w", "x");
	USAGE("--write 'x'", "-w", "x", "--journal");
	USAGE("--journal: check", "check", "--journal");
	USAGE("--journal: list", "list", "--journal");
	USAGE("--metrics ''", "--metrics=");
	USAGE("--metrics: check does not take it", "check", "--metrics=x");
	USAGE("--write: check does not take it", "check", "--write=x");
	USAGE("--schema: check does not take it", "check", "--schema");
	USAGE("--schema: list does not take it", "--schema", "list");
	USAGE("--schema: list does not take it", "list", "--schema");
	USAGE("COMMAND: --schema does not take it", "--schema", "--", "ls");
	USAGE("COMMAND: list does not take it", "list", "--", "ls");
	USAGE("'list': check does not take it", "check", "list");
	USAGE("--tree: a trace does not take it", "--tree");
	USAGE("--containers: check does not take it", "check", "--containers");
	USAGE("--timestamps: --output 'ecs' does not take it", "-t", "-o", "ecs");
	USAGE("--timestamps: --output 'json' does not take it", "-ojson", "-t");
	USAGE("--metrics: list", "list", "--metrics=x");
	USAGE("--output 'ecs': list takes", "list", "-o", "ecs");
	USAGE("--output 'ecs': check takes", "-o", "ecs", "check");
	USAGE("text, json or ecs", "-o", "xml");
	USAGE("--events 'fork,start'", "-e", "fork,start");
	USAGE("'start'", "-e", "fork,start");
	USAGE("fork,exec,exit,ns", "-e", "fork,start");
	USAGE("'lost'", "-e", "lost");
	USAGE("--types 'mount'", "-n", "mount");
	USAGE("time_for_children", "-n", "mount");
	USAGE("--reasons 'why'", "-r", "why");
	USAGE("clone,unshare,setns,exec,fork,kernel", "-r", "why");
	USAGE("--write '--'", "-T", "-w", "--", "true"); /* an option's value was forgotten */
	USAGE("--pid '0'", "-p", "0");
	USAGE("4194304", "-p", "4194305");
	USAGE("--pid '1,2'", "-p", "1,2");
	USAGE("--buffer '3M'", "--buffer=3M");
	USAGE("8M", "--buffer=x");
	USAGE("--buffer ''", "--buffer=");
	USAGE("--backend 'xdp'", "--backend=xdp");
	USAGE("auto, fentry, kprobe or tracepoint", "--backend=xdp");
	USAGE("fork,exec,exit,ns,cgroup", "-e", "cgroups");
	USAGE("'proc'", "-e", "cgroup,proc");
	USAGE("--cgroup 'user.slice'", "--cgroup=user.slice");
	USAGE("/proc/PID/cgroup", "--cgroup", "a/b");
	USAGE("--cgroup ''", "--cgroup=");
	USAGE("--cgroup '/a/../b'", "--cgroup=/a/../b");
	USAGE("neither '.' nor '..'", "--cgroup=/.");
	USAGE("--container ''", "--container=");
	USAGE("--container 'xxx", "--container", too_long_id);
	USAGE("--cgroup '/xxx", "--cgroup", too_long_path);
	USAGE("4095", "--cgroup", too_long_path);
	USAGE("--write ''", "-w", "");
	USAGE("no-such-user-here", "--user", "no-such-user-here", "--", "true");
}

static void test_cgroups_and_containers(void **state)
{
	static char id[129], path[4096];
	static struct options o;

	(void)state;
	PARSE(&o, "-T");
	assert_null(o.cgroup);
	assert_null(o.container);
	assert_false(o.containers);
	PARSE(&o, "-e", "cgroup");
	assert_int_equal(o.events, 1 << NSMON_CGROUP);
	PARSE(&o, "-e", "cgroup,fork");
	assert_int_equal(o.events, 1 << NSMON_CGROUP | 1 << NSMON_FORK);
	PARSE(&o, "-e", "fork,exec,exit,ns,cgroup");
	assert_int_equal(o.events, EVENTS_ALL);
	PARSE(&o, "--cgroup=/user.slice", "--container", "web");
	assert_string_equal(o.cgroup, "/user.slice");
	assert_string_equal(o.container, "web");
	PARSE(&o, "--cgroup=/", "--cgroup", "/a b\n");
	assert_string_equal(o.cgroup, "/a b\n"); /* the last one wins */
	memset(id, 'x', 128);
	memset(path, 'x', 4095);
	for (size_t i = 0; i < 4095; i += 256)
		path[i] = '/';
	PARSE(&o, "--container", id, "--cgroup", path);
	assert_string_equal(o.container, id);
	assert_string_equal(o.cgroup, path);
	PARSE(&o, "list", "--containers");
	assert_int_equal(o.mode, MODE_LIST);
	assert_true(o.containers);
	assert_false(o.tree);
	PARSE(&o, "--containers", "list", "-o", "json");
	assert_true(o.containers);
	USAGE("--containers", "--containers");
	USAGE("--containers", "check", "--containers");
	USAGE("--containers", "list", "--containers", "--tree");
	USAGE("--containers", "--containers", "--", "true");
	/* A trace's own. */
	USAGE("--cgroup", "list", "--cgroup=/a");
	USAGE("--container", "list", "--container=a");
}

static void test_wrong_usage(void **state)
{
	(void)state;
	USAGE("--nonsense", "--nonsense");
	USAGE("'Z'", "-Z");
	USAGE("'p'", "-p");
	USAGE("--events", "--events");
	USAGE("--threads", "--threads=yes");
	USAGE("'ls'", "ls");
	USAGE("-- COMMAND", "ls", "-l");
	USAGE("COMMAND", "--");
	USAGE("COMMAND", "check", "--", "ls");
	USAGE("--user 'root'", "--user", "root");
	USAGE("Try", "-o", "xml"); /* argp's pointer to --help */
}

static void test_too_many_pids(void **state)
{
	static char numbers[PIDS_MAX + 1][16];
	static char *argv[2 * PIDS_MAX + 8];
	static struct options o;
	int n = 0;

	(void)state;
	argv[n++] = "nsmon";
	for (int i = 0; i < PIDS_MAX; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%d", i + 1);
		argv[n++] = "-p";
		argv[n++] = numbers[i];
	}
	parse(&o, argv);
	assert_int_equal(o.pid_count, PIDS_MAX);
	assert_int_equal(o.pids[PIDS_MAX - 1], PIDS_MAX);
	argv[n++] = "-p";
	argv[n++] = "4000000";
	argv[n] = NULL;
	check_usage("4000000", argv);
}

static void check_prints(const char *expected, char **argv)
{
	capture_child(&captured, run_parse, argv);
	assert_int_equal(capture_exit_code(&captured), 0);
	if (!strstr(captured.out, expected))
		fail_msg("'%s' does not print '%s' but: %s", argv[1], expected, captured.out);
	assert_string_equal(captured.err, "");
}

static void test_help(void **state)
{
	static const char *const names[] = { "--output",  "--events",	"--types",   "--reasons",
					     "--pid",	  "--threads",	"--timestamps", "--failed",
					     "--write",	  "--user",	"--schema",  "--buffer",
					     "--backend", "--btf",	"--quiet",   "--verbose",
					     "--help",	  "--usage",	"--version", "check",
					     "--cgroup=", "--journal",   "--metrics=", "--container=", "--containers", "--tree" };

	(void)state;
	check_prints("Usage: nsmon", (char *[]){ "nsmon", "--help", NULL });
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strstr(captured.out, names[i]))
			fail_msg("--help does not tell of %s", names[i]);
	check_prints("Usage: nsmon", (char *[]){ "nsmon", "-?", NULL });
	check_prints("Usage: nsmon", (char *[]){ "nsmon", "--usage", NULL });
	check_prints("nsmon " NSMON_VERSION "\n", (char *[]){ "nsmon", "--version", NULL });
	check_prints("nsmon " NSMON_VERSION "\n", (char *[]){ "nsmon", "-V", NULL });
	/* Of the command, they are the command's. */
	capture_child(&captured, run_parse, (char *[]){ "nsmon", "--", "ls", "--help", NULL });
	assert_int_equal(capture_exit_code(&captured), 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_cgroup_paths),
		cmocka_unit_test(test_sizes_by_page),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_pids),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_short_and_long),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_pids_are_kept_once),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_wrong_values),
		cmocka_unit_test(test_cgroups_and_containers),
		cmocka_unit_test(test_wrong_usage),
		cmocka_unit_test(test_too_many_pids),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
