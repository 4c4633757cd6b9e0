// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * golden text|json|ecs < FILE.in: reads records written for people, packs them as
 * the BPF programs do, and runs them through the stream to standard output.
 *
 * A line is a kind and its fields, as name=value; '#' begins a comment. Values
 * are numbers or, for strings, bytes with \n, \t, \", \\ and \xHH, in quotes
 * where they hold a space or a '#'. Kinds, and the fields that have no other name in
 * src/nsmon.h:
 *
 *   task   fields of every task from here on: pid tid ppid vpid start_ns
 *          cgroup_id uid gid comm. pid=N also sets tid and vpid.
 *   fork   ptid, creator (default: ppid), creator_start_ns, and for each changed namespace
 *          ns.TYPE=OLD:NEW:REASON and, for its ids, id.TYPE=OLD:NEW; no_fork
 *   exec   exec_id, filename, arg (again for each; bytes=... in place of them), old_tid, truncated
 *   exit   status, duration_ns; process_ends=0 of a task that is not the last one of its process
 *   ns     ns.TYPE and id.TYPE, as for a fork; with ns=initial the others are told, too, which are
 *          those of a fresh system, or is.TYPE=INUM
 *   failed reason flags error
 *   lost   fork exec exit ns cgroup, the totals
 *   kernel_lost   the same, told when the ring buffer is empty
 *   proc   a row of a picture: ns.TYPE=INUM, id.TYPE=N (ns=initial: those of a fresh
 *          system first), exec_id, busy, ending, ended, partial, kernel. Behind `pass`
 *          of a later picture, else of the first one.
 *   seeded, pass (quiet), end_pass, ready   the end of the first picture; a later one; the ready record
 *   made, renamed, removed   a cgroup: id parent name, and who did it: maker, arg (again for each)
 *   move   a task is in another cgroup, with the fields of a proc
 *   file   path text: one that a runtime keeps of a container, in a directory of ours
 *   resolve   what the files say is looked up
 *   host   ns.TYPE=INUM, id.TYPE=N: the namespaces of process 1
 *   option threads|failed|timestamps|snapshot|types|pid|command|cgroup|container, before start
 *   start, stop (switches, switches_known)
 *
 * Every kind takes at=, nanoseconds since boot. The machine booted at
 * 2026-11-23T16:00:00Z; records without at= follow each other by 1 us.
 */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "nsmon.h"
#include "stream.h"

/* 2026-11-23T16:00:00Z */
#define BOOT_NS 1795449600000000000ULL

static union {
	struct nsmon_header header;
	struct nsmon_fork fork;
	struct nsmon_fork_ns fork_ns;
	struct nsmon_exec exec;
	struct nsmon_exit exit;
	struct nsmon_ns ns;
	struct nsmon_failed failed;
	struct nsmon_lost lost;
	struct nsmon_proc proc;
	struct nsmon_cgroup tree;
	unsigned char bytes[sizeof(struct nsmon_exec) + NSMON_TEXT_MAX];
} record;

static struct nsmon_task task;
static struct stream stream;
static struct cgroups *cgroups;
static struct cgroup_filter cgroup_filter;
static char root[] = "/tmp/nsmon-golden-XXXXXX"; /* stands before the files of runtimes */
static struct options options = {
	.events = EVENTS_ALL,
	.types = NSMON_NS_ALL,
	.reasons = (1 << NSMON_REASONS) - 2,
};
static struct kernel kernel = {
	.uname = { .release = "6.12.48-golden", .machine = "x86_64", .nodename = "golden" },
	.boot_id = "6f1d1f3a-0000-4000-8000-0123456789ab",
};
static struct run run = { .options = &options, .kernel = &kernel, .backend = "fentry" };
static volatile sig_atomic_t stop;
static uint64_t now = 1000000000;
static unsigned int line_number;
static char *words[256];
static size_t word_count;

__attribute__((noreturn)) static void fail(const char *what, const char *where)
{
	fprintf(stderr, "golden: line %u: %s: %s\n", line_number, what, where);
	exit(2);
}

/* Splits at spaces that are not in quotes, and undoes the escapes. */
static void split(char *p)
{
	word_count = 0;
	for (;;) {
		bool quoted = false;
		char *to;

		p += strspn(p, " \t\n");
		if (!*p || *p == '#')
			return;
		if (word_count == sizeof(words) / sizeof(*words))
			fail("too many words", p);
		words[word_count++] = to = p;
		for (; *p && (quoted || !strchr(" \t\n", *p)); p++) {
			unsigned int byte;

			if (*p == '"') {
				quoted = !quoted;
				continue;
			}
			if (*p != '\\') {
				*to++ = *p;
				continue;
			}
			p++;
			if (*p == 'n') {
				*to++ = '\n';
			} else if (*p == 't') {
				*to++ = '\t';
			} else if (*p == 'x' && sscanf(p + 1, "%2x", &byte) == 1) {
				*to++ = (char)byte;
				p += 2;
			} else {
				*to++ = *p;
			}
		}
		if (*p)
			p++;
		*to = 0;
	}
}

/* The value of word i where it is name=value; NULL else. */
static const char *value_of(size_t i, const char *name)
{
	size_t len = strlen(name);

	return strncmp(words[i], name, len) == 0 && words[i][len] == '=' ? words[i] + len + 1 :
									  NULL;
}

static const char *field(const char *name)
{
	for (size_t i = 1; i < word_count; i++)
		if (value_of(i, name))
			return value_of(i, name);
	return NULL;
}

static bool has_flag(const char *name)
{
	for (size_t i = 1; i < word_count; i++)
		if (strcmp(words[i], name) == 0)
			return true;
	return false;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text || *end)
		fail("this is no number", text);
	return n;
}

static uint64_t number_field(const char *name, uint64_t otherwise)
{
	const char *text = field(name);

	return text ? number(text) : otherwise;
}

static void read_task(struct nsmon_task *t)
{
	const char *comm = field("comm");

	if (field("pid"))
		t->pid = t->tid = t->vpid = (uint32_t)number_field("pid", 0);
	t->tid = (uint32_t)number_field("tid", t->tid);
	t->ppid = (uint32_t)number_field("ppid", t->ppid);
	t->vpid = (uint32_t)number_field("vpid", t->vpid);
	t->uid = (uint32_t)number_field("uid", t->uid);
	t->gid = (uint32_t)number_field("gid", t->gid);
	t->start_ns = number_field("start_ns", t->start_ns);
	t->cgroup_id = number_field("cgroup_id", t->cgroup_id);
	if (comm) {
		memset(t->comm, 0, sizeof(t->comm));
		memcpy(t->comm, comm, strnlen(comm, sizeof(t->comm)));
	}
}

static void begin(enum nsmon_kind kind, unsigned int flags)
{
	static uint64_t seq;

	memset(&record, 0, sizeof(record));
	record.header = (struct nsmon_header){
		.kind = (uint16_t)kind,
		.flags = (uint16_t)flags,
		.time = now,
		.seq = ++seq,
		.layout = NSMON_LAYOUT,
	};
}

static int give(size_t size)
{
	record.header.size = (uint32_t)size;
	return stream_record(&stream, &record, size);
}

/* "OLD:NEW:REASON" or, for ids, "OLD:NEW". */
static void read_changed(struct nsmon_ns_change *change, int type, const char *text)
{
	unsigned long long old, new;
	char reason[16];
	int i;

	if (sscanf(text, "%llu:%llu:%15s", &old, &new, reason) != 3)
		fail("this is not OLD:NEW:REASON", text);
	i = name_index(reason_names, NSMON_REASONS, reason, strlen(reason));
	if (i < 0)
		fail("there is no such reason", reason);
	change->old.inum[type] = (uint32_t)old;
	change->now.inum[type] = (uint32_t)new;
	change->changed |= 1U << type;
	change->reason[type] = (uint8_t)i;
}

static const uint32_t initial_inums[NSMON_NS_TYPES] = {
	4026531841U, 4026531838U, 4026531839U, 4026531840U, 4026531836U,
	4026531836U, 4026531837U, 4026531835U, 4026531834U, 4026531834U,
};

/* All that the kernel knows of a task that has a row, changed or not. */
static void read_whole(struct nsmon_ns_change *change)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		char name[32];
		uint32_t inum;

		if (change->changed & (1U << type))
			continue;
		snprintf(name, sizeof(name), "is.%s", ns_type_names[type]);
		inum = (uint32_t)number_field(name, initial_inums[type]);
		change->old.inum[type] = change->now.inum[type] = inum;
		change->reason[type] = NSMON_REASON_SETNS;
	}
	change->wanted = (uint16_t)options.types;
}

static bool read_change(struct nsmon_ns_change *change)
{
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		unsigned long long old, new;
		const char *text;
		char name[32];

		snprintf(name, sizeof(name), "ns.%s", ns_type_names[type]);
		text = field(name);
		if (text)
			read_changed(change, type, text);
		snprintf(name, sizeof(name), "id.%s", ns_type_names[type]);
		text = field(name);
		if (!text)
			continue;
		if (sscanf(text, "%llu:%llu", &old, &new) != 2)
			fail("this is not OLD:NEW", text);
		change->old.id[type] = old;
		change->now.id[type] = new;
	}
	if (field("ns"))
		read_whole(change);
	return change->changed;
}

static int give_fork(void)
{
	bool change;

	begin(NSMON_FORK, 0);
	record.fork.task = task;
	read_task(&record.fork.task);
	record.fork.creator_pid = (uint32_t)number_field("creator", record.fork.task.ppid);
	record.fork.creator_tid = (uint32_t)number_field("ptid", record.fork.creator_pid);
	record.fork.creator_start_ns = number_field("creator_start_ns", 0);
	change = read_change(&record.fork_ns.change);
	record.header.flags = (uint16_t)((change ? NSMON_FLAG_NS : 0) |
					 (has_flag("no_fork") ? NSMON_FLAG_NO_FORK : 0));
	return give(change ? sizeof(record.fork_ns) : sizeof(record.fork));
}

static size_t append(size_t at, const char *text, size_t len)
{
	if (at + len > NSMON_TEXT_MAX)
		fail("this is too long", text);
	memcpy(record.exec.text + at, text, len);
	return at + len;
}

static int give_exec(void)
{
	const char *filename = field("filename");
	size_t len;

	begin(NSMON_EXEC, has_flag("truncated") ? NSMON_FLAG_TRUNCATED : 0);
	record.exec.task = task;
	read_task(&record.exec.task);
	record.exec.old_tid = (uint32_t)number_field("old_tid", 0);
	record.exec.exec_id = number_field("exec_id", 0);
	len = append(0, filename ? filename : "", strlen(filename ? filename : "") + 1);
	record.exec.filename_len = (uint16_t)len;
	for (size_t i = 1; i < word_count; i++) {
		const char *arg = value_of(i, "arg");

		if (arg)
			len = append(len, arg, strlen(arg) + 1);
		arg = value_of(i, "bytes"); /* without the NUL behind them */
		if (arg)
			len = append(len, arg, strlen(arg));
	}
	record.exec.args_len = (uint16_t)(len - record.exec.filename_len);
	return give(sizeof(record.exec) + len);
}

static int give_exit(void)
{
	begin(NSMON_EXIT, 0);
	record.exit.task = task;
	read_task(&record.exit.task);
	record.exit.status = (uint32_t)number_field("status", 0);
	record.exit.duration_ns = number_field("duration_ns", 0);
	record.exit.process_ends = (uint32_t)number_field("process_ends", 1);
	return give(sizeof(record.exit));
}

static int give_ns(void)
{
	begin(NSMON_NS, 0);
	record.ns.task = task;
	read_task(&record.ns.task);
	read_change(&record.ns.change);
	return give(sizeof(record.ns));
}

static void read_set(struct nsmon_ns_set *set)
{
	if (field("ns"))
		memcpy(set->inum, initial_inums, sizeof(initial_inums));
	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		char name[32];

		snprintf(name, sizeof(name), "ns.%s", ns_type_names[type]);
		set->inum[type] = (uint32_t)number_field(name, set->inum[type]);
		snprintf(name, sizeof(name), "id.%s", ns_type_names[type]);
		set->id[type] = number_field(name, 0);
	}
}

/* In a later picture? */
static bool passing;

/* A row of a task, as a picture and a move have it. */
static size_t read_proc(enum nsmon_kind kind)
{
	static const char *const flags[] = { "busy", "ending", "ended", "partial", "kernel" };

	begin(kind, 0);
	record.header.size = sizeof(record.proc);
	record.proc.task = task;
	read_task(&record.proc.task);
	read_set(&record.proc.ns);
	record.proc.exec_id = number_field("exec_id", 0);
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		record.proc.flags |= (uint32_t)has_flag(flags[i]) << i;
	return sizeof(record.proc);
}

static int give_proc(void)
{
	struct event event;

	if (event_decode(&event, &record, read_proc(NSMON_PROC)))
		fail("this is no row", words[0]);
	return passing ? stream_pass_task(&stream, &event) : stream_seed(&stream, &event);
}

static int give_move(void)
{
	return give(read_proc(NSMON_CGROUP));
}

static void copy_text(char *to, size_t size, const char *text)
{
	if (text)
		memcpy(to, text, strnlen(text, size - 1));
}

static int give_tree(enum nsmon_cgroup_op op)
{
	size_t len = 0;

	begin(NSMON_CGROUP_TREE, 0);
	record.tree.op = op;
	record.tree.id = number_field("id", 0);
	record.tree.parent_id = number_field("parent", 0);
	copy_text(record.tree.name, sizeof(record.tree.name), field("name"));
	copy_text(record.tree.maker, sizeof(record.tree.maker), field("maker"));
	for (size_t i = 1; i < word_count; i++) {
		const char *arg = value_of(i, "arg");

		if (!arg)
			continue;
		if (len + strlen(arg) + 1 > sizeof(record.tree.maker_args))
			fail("this is too long", arg);
		memcpy(record.tree.maker_args + len, arg, strlen(arg) + 1);
		len += strlen(arg) + 1;
	}
	record.tree.maker_args_len = (uint32_t)len;
	return give(sizeof(record.tree));
}

static int give_made(void)
{
	return give_tree(NSMON_CGROUP_MADE);
}

static int give_renamed(void)
{
	return give_tree(NSMON_CGROUP_RENAMED);
}

static int give_removed(void)
{
	return give_tree(NSMON_CGROUP_REMOVED);
}

static int put_file(void)
{
	const char *text = field("text");
	char path[PATH_MAX];
	FILE *file;

	if (!field("path") || !text)
		fail("a file has a path and a text", words[0]);
	snprintf(path, sizeof(path), "%s%s", root, field("path"));
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	file = fopen(path, "we");
	if (!file || fputs(text, file) < 0 || fclose(file))
		fail(strerror(errno), path);
	return 0;
}

static int resolve(void)
{
	cgroups_resolve(cgroups, now);
	return 0;
}

static int set_host(void)
{
	struct nsmon_ns_set host = { 0 };

	read_set(&host);
	state_set_host(stream.state, &host);
	return 0;
}

static int give_seeded(void)
{
	return stream_seeded(&stream, now);
}

static int begin_pass(void)
{
	passing = true;
	state_begin_pass(stream.state, now, has_flag("quiet"));
	return 0;
}

static int end_pass(void)
{
	return stream_end_pass(&stream);
}

static int give_ready(void)
{
	return stream_ready(&stream);
}

static int give_failed(void)
{
	const char *reason = field("reason");
	int i = name_index(reason_names, NSMON_REASONS, reason ? reason : "",
			   reason ? strlen(reason) : 0);

	if (i < 0)
		fail("there is no such reason", reason ? reason : "none");
	begin(NSMON_NS, NSMON_FLAG_FAILED);
	record.failed.task = task;
	read_task(&record.failed.task);
	record.failed.reason = (uint32_t)i;
	record.failed.flags = number_field("flags", 0);
	record.failed.error = (uint32_t)number_field("error", 0);
	return give(sizeof(record.failed));
}

static void read_lost(uint64_t lost[NSMON_KINDS])
{
	for (int kind = NSMON_FORK; kind <= NSMON_NS; kind++)
		lost[kind] = number_field(kind_names[kind], 0);
	lost[NSMON_CGROUP] = number_field("cgroup", 0);
}

static int give_lost(void)
{
	uint64_t lost[NSMON_KINDS] = { 0 };

	begin(NSMON_LOST, 0);
	read_lost(lost);
	memcpy(record.lost.lost, lost, sizeof(lost));
	return give(sizeof(record.lost));
}

/* In place of libc's: the machine's clocks stand at `now`, so that output can be compared. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t ns = clock == CLOCK_REALTIME ? BOOT_NS + now : now;

	ts->tv_sec = (time_t)(ns / 1000000000);
	ts->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

static void set_option(void)
{
	static char *command[256];
	size_t args = 0;

	options.threads |= has_flag("threads");
	options.failed |= has_flag("failed");
	options.timestamps |= has_flag("timestamps");
	options.snapshot |= has_flag("snapshot");
	options.types = (uint32_t)number_field("types", options.types);
	for (size_t i = 1; i < word_count; i++) {
		if (value_of(i, "pid"))
			options.pids[options.pid_count++] = (pid_t)number(value_of(i, "pid"));
		if (value_of(i, "command"))
			command[args++] = strdup(value_of(i, "command"));
		if (value_of(i, "cgroup"))
			cgroup_filter.path = options.cgroup = strdup(value_of(i, "cgroup"));
		if (value_of(i, "container"))
			cgroup_filter.container = options.container =
				strdup(value_of(i, "container"));
	}
	if (args)
		options.command = command;
}

static int give_stop(void)
{
	stream.totals.has_switches = field("switches") != NULL;
	stream.totals.switches = number_field("switches", 0);
	stream.totals.switches_known = number_field("switches_known", 0);
	return stream_stop(&stream);
}

static int obey(void)
{
	static const struct {
		const char *name;
		int (*give)(void);
	} kinds[] = { { "fork", give_fork },	 { "exec", give_exec }, { "exit", give_exit },
		      { "ns", give_ns },	 { "failed", give_failed }, { "lost", give_lost },
		      { "proc", give_proc },	 { "seeded", give_seeded }, { "pass", begin_pass },
		      { "end_pass", end_pass }, { "ready", give_ready },
		      { "made", give_made },	 { "renamed", give_renamed },
		      { "removed", give_removed }, { "move", give_move },
		      { "file", put_file },	 { "resolve", resolve }, { "host", set_host } };
	uint64_t lost[NSMON_KINDS] = { 0 };

	now = number_field("at", now + 1000);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(words[0], kinds[i].name) == 0)
			return kinds[i].give();
	if (strcmp(words[0], "task") == 0) {
		read_task(&task);
	} else if (strcmp(words[0], "option") == 0) {
		set_option();
	} else if (strcmp(words[0], "start") == 0) {
		return stream_start(&stream);
	} else if (strcmp(words[0], "stop") == 0) {
		return give_stop();
	} else if (strcmp(words[0], "kernel_lost") == 0) {
		read_lost(lost);
		return stream_kernel_lost(&stream, lost);
	} else {
		fail("there is no such kind", words[0]);
	}
	return 0;
}

/* The kernel's map of wanted cgroups, of which there is none. */
static void ignore_verdict(void *context, uint64_t id, bool wanted)
{
	(void)context;
	(void)id;
	(void)wanted;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_root(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
	static const struct formatter *const formatters[OUTPUT_FORMATS] = {
		[OUTPUT_TEXT] = &text_formatter,
		[OUTPUT_JSON] = &json_formatter,
		[OUTPUT_ECS] = &ecs_formatter,
	};
	static char line[65536];
	struct output *output;
	int format = argc == 2 ? name_index(output_format_names, OUTPUT_FORMATS, argv[1],
					    strlen(argv[1])) : -1;
	int err = 0;

	if (format < 0) {
		fprintf(stderr, "usage: golden text|json|ecs < FILE.in\n");
		return 2;
	}
	if (!mkdtemp(root) || output_open(&output, NULL))
		return 1;
	atexit(remove_root);
	cgroups = cgroups_new(&cgroup_filter, root, ignore_verdict, NULL);
	if (!cgroups ||
	    stream_init(&stream, formatters[format], &run, output, cgroups, &stop, 0))
		return 1;
	while (!err && fgets(line, sizeof(line), stdin)) {
		line_number++;
		split(line);
		if (word_count)
			err = obey();
	}
	if (!err)
		err = stream_flush(&stream);
	stream_free(&stream);
	cgroups_free(cgroups);
	output_close(output);
	return err ? 1 : 0;
}
