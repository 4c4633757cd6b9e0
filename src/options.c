// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The command line. Must not know how anything that is asked for is done. */
#include "options.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container.h"
#include "log.h"
#include "version.h"

/* include/linux/threads.h: PID_MAX_LIMIT of a 64-bit kernel. */
#define PID_MAX_LIMIT 4194304
#define BUFFER_MAX ((size_t)1 << 30)

/* How a message begins. */
#define NAME_PREFIX "nsmon: "

const char *const output_format_names[OUTPUT_FORMATS] = { "text", "json", "ecs" };

const char *argp_program_version = "nsmon " NSMON_VERSION;

static const char doc[] =
	"Trace fork, exec, exit and namespace changes of every process, or only of COMMAND and "
	"its descendants."
	"\vCommands:\n"
	"  (none)       trace\n"
	"  check        what this kernel offers, and what nsmon will use\n"
	"  list         every namespace with its processes, at one instant\n"
	"\n"
	"Exit status: 0 done; 1 it could not run; 2 wrong usage; with COMMAND, the command's own.\n"
	"\n"
	"Examples:\n"
	"  sudo nsmon                                   every event, as text\n"
	"  sudo nsmon -- unshare -n -f ls -l /proc/self/ns/net\n"
	"  sudo nsmon -e ns -n net -o json | jq .\n"
	"  sudo nsmon -o json -w /var/log/nsmon.json";

static const char args_doc[] = "[-- COMMAND [ARG...]]\ncheck\nlist";

enum {
	OPT_BUFFER = 0x100,
	OPT_BACKEND,
	OPT_BTF,
	OPT_CGROUP,
	OPT_CONTAINER,
	OPT_CONTAINERS,
	OPT_FAILED,
	OPT_JOURNAL,
	OPT_METRICS,
	OPT_NO_SNAPSHOT,
	OPT_SCHEMA,
	OPT_TREE,
	OPT_USER,
};

static const struct argp_option argp_options[] = {
	{ "output", 'o', "FORMAT", 0,
	  "Format of the records: text (default), json, or ecs (Elastic Common Schema)", 0 },
	{ "events", 'e', "LIST", 0, "Only these events, of fork,exec,exit,ns,cgroup", 0 },
	{ "types", 'n', "LIST", 0,
	  "Only these namespace types, of mnt,uts,ipc,net,pid,pid_for_children,user,cgroup,time,"
	  "time_for_children",
	  0 },
	{ "reasons", 'r', "LIST", 0,
	  "Only these reasons of namespace changes, of clone,unshare,setns,exec,fork,kernel", 0 },
	{ "pid", 'p', "PID", 0, "Only PID and its descendants from now on; may be given again", 0 },
	{ "cgroup", OPT_CGROUP, "PATH", 0, "Only tasks in this cgroup or below it", 0 },
	{ "container", OPT_CONTAINER, "ID", 0,
	  "Only this container; the beginning of its id or its name will do", 0 },
	{ "threads", 'T', NULL, 0, "Also fork and exit of threads", 0 },
	{ "snapshot", 's', NULL, 0,
	  "Begin with one proc record for each existing task; default with json and ecs", 0 },
	{ "no-snapshot", OPT_NO_SNAPSHOT, NULL, 0, "Begin with the live stream", 0 },
	{ "timestamps", 't', NULL, 0, "Put the time in front of each line of text", 0 },
	{ "failed", OPT_FAILED, NULL, 0,
	  "Also failed clone, unshare and setns attempts, with their errno", 0 },
	{ "write", 'w', "FILE", 0, "Append to FILE; reopened on SIGHUP", 0 },
	{ "journal", OPT_JOURNAL, NULL, 0,
	  "Send the records to the systemd journal, as fields, instead of standard output", 0 },
	{ "metrics", OPT_METRICS, "FILE", 0,
	  "Write counts to FILE every 15 s, in the text format of Prometheus", 0 },
	{ "user", OPT_USER, "NAME", 0, "Run COMMAND as this user", 0 },
	{ "tree", OPT_TREE, NULL, 0, "list: the processes, by parents and children", 0 },
	{ "containers", OPT_CONTAINERS, NULL, 0, "list: the containers", 0 },
	{ "schema", OPT_SCHEMA, NULL, 0,
	  "Print the JSON Schema of the records; with -o ecs, of those", 0 },
	{ "buffer", OPT_BUFFER, "SIZE", 0,
	  "Size of the kernel ring buffer (64K, 8M, ...: a power of two pages)", 0 },
	{ "backend", OPT_BACKEND, "NAME", 0, "One of auto (default), fentry, kprobe, tracepoint",
	  0 },
	{ "btf", OPT_BTF, "FILE", 0, "Kernel BTF, where /sys/kernel/btf/vmlinux is missing", 0 },
	{ "quiet", 'q', NULL, 0, "Fewer diagnostics on standard error", 0 },
	{ "verbose", 'v', NULL, 0, "More diagnostics; twice: all of libbpf's as well", 0 },
	{ 0 },
};

int options_parse_size(const char *text, size_t page, size_t *size)
{
	unsigned long long n;
	unsigned int shift = 0;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	}
	if (end[shift != 0])
		return -EINVAL;
	if (n > (BUFFER_MAX >> shift))
		return -ERANGE;
	n <<= shift;
	if (n < page || n % page || (n & (n - 1)))
		return -ERANGE;
	*size = (size_t)n;
	return 0;
}

int options_parse_list(const char *text, const char *const *names, size_t count, uint32_t *bits,
		       const char **wrong, size_t *wrong_len)
{
	uint32_t found = 0;

	for (;;) {
		size_t len = strcspn(text, ",");
		int i = name_index(names, count, text, len);

		if (i < 0) {
			*wrong = text;
			*wrong_len = len;
			return -EINVAL;
		}
		found |= 1U << i;
		if (!text[len])
			break;
		text += len + 1;
	}
	*bits = found;
	return 0;
}

static bool is_cgroup_name(const char *name, size_t len)
{
	return len <= NAME_MAX && !(len == 1 && name[0] == '.') &&
	       !(len == 2 && name[0] == '.' && name[1] == '.');
}

int options_parse_cgroup(char *path)
{
	const char *at = path;
	char *to = path;

	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return -EINVAL;
	while (*(at += strspn(at, "/"))) {
		size_t len = strcspn(at, "/");

		if (!is_cgroup_name(at, len))
			return -EINVAL;
		at += len;
	}
	if (strcmp(path, "/") == 0)
		return 0;
	for (at = path; *at; at++) {
		if (*at == '/' && (!at[1] || at[1] == '/'))
			continue;
		if (to != at)
			*to = *at;
		to++;
	}
	if (to == path) /* "//" */
		to++;
	if (*to)
		*to = 0;
	return 0;
}

int options_parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long n;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || n < 1 || n > PID_MAX_LIMIT)
		return -EINVAL;
	*pid = (pid_t)n;
	return 0;
}

static void parse_list(struct argp_state *state, const char *option, const char *text,
		       const char *const *names, size_t count, const char *takes, uint32_t *bits)
{
	const char *wrong;
	size_t len;

	if (options_parse_list(text, names, count, bits, &wrong, &len))
		argp_error(state, "%s '%s': '%.*s' is not one of %s", option, text, (int)len, wrong,
			   takes);
}

static int parse_name(struct argp_state *state, const char *option, const char *text,
		      const char *const *names, size_t count, const char *takes)
{
	int i = name_index(names, count, text, strlen(text));

	if (i < 0)
		argp_error(state, "%s '%s': it takes %s", option, text, takes);
	return i;
}

static void add_pid(struct argp_state *state, struct options *o, const char *text)
{
	pid_t pid = 0;

	if (options_parse_pid(text, &pid)) {
		argp_error(state, "--pid '%s': it takes a process id, 1 to %d", text,
			   PID_MAX_LIMIT);
		return;
	}
	for (size_t i = 0; i < o->pid_count; i++)
		if (o->pids[i] == pid)
			return;
	if (o->pid_count == PIDS_MAX) {
		argp_error(state, "--pid '%s': at most %d of them can be given", text, PIDS_MAX);
		return;
	}
	o->pids[o->pid_count++] = pid;
}

static const char *mode_name(enum mode mode)
{
	switch (mode) {
	case MODE_CHECK:
		return "check";
	case MODE_LIST:
		return "list";
	case MODE_SCHEMA:
		return "--schema";
	case MODE_TRACE:
		break;
	}
	return "a trace";
}

static void parse_argument(struct argp_state *state, struct options *o, const char *arg)
{
	/* state->quoted: where the arguments after "--" begin. */
	if (state->quoted && state->next > state->quoted) {
		o->command = &state->argv[state->next - 1];
		state->next = state->argc;
		return;
	}
	if (o->mode == MODE_TRACE && strcmp(arg, "check") == 0) {
		o->mode = MODE_CHECK;
		return;
	}
	if (o->mode == MODE_TRACE && strcmp(arg, "list") == 0) {
		o->mode = MODE_LIST;
		return;
	}
	if (o->mode != MODE_TRACE) {
		argp_error(state, "'%s': %s does not take it", arg, mode_name(o->mode));
		return;
	}
	argp_error(state, "unknown command '%s': it is list, check, or -- COMMAND to trace one",
		   arg);
}

/* Is it one that a trace alone takes? */
static bool is_only_for_trace(int key)
{
	static const int others[] = { 'o',	  'n',	  'q', 'v', OPT_TREE, OPT_CONTAINERS,
				      OPT_SCHEMA, OPT_BTF };

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (key == others[i])
			return false;
	return true;
}

static void note_option(struct options *o, int key)
{
	for (const struct argp_option *option = argp_options; option->name; option++)
		if (option->key == key && !o->only_trace && is_only_for_trace(key))
			o->only_trace = option->name;
}

static void refuse(struct argp_state *state, const struct options *o, const char *what)
{
	argp_error(state, "%s: %s does not take it", what, mode_name(o->mode));
}

/* What the command, or the want of one, does not take. */
static void refuse_of_mode(struct argp_state *state, struct options *o)
{
	if (o->schema && o->mode != MODE_TRACE)
		refuse(state, o, "--schema");
	if (o->schema)
		o->mode = MODE_SCHEMA;
	if (o->command && o->mode != MODE_TRACE)
		refuse(state, o, "COMMAND");
	if (o->mode != MODE_TRACE && o->only_trace)
		argp_error(state, "--%s: %s does not take it", o->only_trace, mode_name(o->mode));
	if (o->tree && o->mode != MODE_LIST)
		refuse(state, o, "--tree");
	if (o->containers && o->mode != MODE_LIST)
		refuse(state, o, "--containers");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	note_option(o, key);
	switch (key) {
	case 'o':
		o->output_given = true;
		o->output =
			(enum output_format)parse_name(state, "--output", arg, output_format_names,
						       OUTPUT_FORMATS, "text, json or ecs");
		break;
	case 'e':
		parse_list(state, "--events", arg, event_names, NSMON_KINDS,
			   "fork,exec,exit,ns,cgroup", &o->events);
		break;
	case 'n':
		parse_list(state, "--types", arg, ns_type_names, NSMON_NS_TYPES,
			   "mnt,uts,ipc,net,pid,pid_for_children,user,cgroup,time,"
			   "time_for_children",
			   &o->types);
		break;
	case 'r':
		parse_list(state, "--reasons", arg, reason_names, NSMON_REASONS,
			   "clone,unshare,setns,exec,fork,kernel", &o->reasons);
		break;
	case 'p':
		add_pid(state, o, arg);
		break;
	case 'T':
		o->threads = true;
		break;
	case 's':
		o->snapshot = true;
		o->snapshot_given = true;
		break;
	case OPT_NO_SNAPSHOT:
		o->snapshot = false;
		o->snapshot_given = true;
		break;
	case 't':
		o->timestamps = true;
		break;
	case OPT_FAILED:
		o->failed = true;
		break;
	case 'w':
		if (!*arg || strcmp(arg, "--") == 0)
			argp_error(state, "--write '%s': it takes the name of a file", arg);
		o->write_path = arg;
		break;
	case OPT_JOURNAL:
		o->journal = true;
		break;
	case OPT_METRICS:
		if (!*arg)
			argp_error(state, "--metrics '': it takes the name of a file");
		o->metrics = arg;
		break;
	case OPT_USER:
		if (!getpwnam(arg))
			argp_error(state, "--user '%s': there is no such user", arg);
		o->user = arg;
		break;
	case OPT_TREE:
		o->tree = true;
		break;
	case OPT_CONTAINERS:
		o->containers = true;
		break;
	case OPT_CGROUP:
		if (options_parse_cgroup(arg))
			argp_error(state,
				   "--cgroup '%.256s': it takes the path of a cgroup, as in "
				   "/proc/PID/cgroup: it begins with '/', has up to %d bytes, no "
				   "name longer than %d, and neither '.' nor '..'",
				   arg, PATH_MAX - 1, NAME_MAX);
		o->cgroup = arg;
		break;
	case OPT_CONTAINER:
		if (!*arg || strlen(arg) > CONTAINER_ID_MAX)
			argp_error(state,
				   "--container '%.256s': it takes the id of a container, its "
				   "beginning, or its name, up to %d bytes",
				   arg, CONTAINER_ID_MAX);
		o->container = arg;
		break;
	case OPT_SCHEMA:
		o->schema = true;
		break;
	case OPT_BUFFER:
		if (options_parse_size(arg, (size_t)sysconf(_SC_PAGESIZE), &o->buffer))
			argp_error(state,
				   "--buffer '%s': it takes a power of two pages, %ldK to 1G, "
				   "as in 8M",
				   arg, sysconf(_SC_PAGESIZE) / 1024);
		break;
	case OPT_BACKEND:
		o->backend =
			(enum backend)parse_name(state, "--backend", arg, backend_names, BACKENDS,
						 "auto, fentry, kprobe or tracepoint");
		break;
	case OPT_BTF:
		if (!*arg)
			argp_error(state, "--btf '': it takes a file with the kernel's BTF");
		o->btf = arg;
		break;
	case 'q':
		o->verbose = -1;
		break;
	case 'v':
		o->verbose = o->verbose < 0 ? 1 : o->verbose + 1;
		break;
	case ARGP_KEY_ARG:
		parse_argument(state, o, arg);
		break;
	case ARGP_KEY_END:
		if (!o->snapshot_given)
			o->snapshot = o->output != OUTPUT_TEXT && !o->journal;
		if (o->journal && o->write_path)
			argp_error(state,
				   "--journal: the records go to the journal or to a file, not to "
				   "both: --write '%s'",
				   o->write_path);
		if (state->quoted && !o->command)
			argp_error(state, "'--' must be followed by a COMMAND");
		if ((o->mode == MODE_LIST || o->mode == MODE_CHECK) && o->output == OUTPUT_ECS)
			argp_error(state, "--output 'ecs': %s takes text or json",
				   o->mode == MODE_LIST ? "list" : "check");
		refuse_of_mode(state, o);
		if (o->timestamps && o->output != OUTPUT_TEXT && !o->journal)
			argp_error(state,
				   "--timestamps: --output '%s' does not take it; its records have "
				   "their time",
				   output_format_names[o->output]);
		if (o->containers && o->tree)
			argp_error(state, "--containers: list takes it without --tree");
		if (o->user && !o->command)
			argp_error(state, "--user '%s': it needs a COMMAND to run, after '--'",
				   o->user);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* What argp and getopt say, which know nothing of priorities. */
static ssize_t say_errors(void *context, const char *text, size_t size)
{
	const char *end = text + size;

	(void)context;
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((line_end ? line_end : end) - text);

		if (len > sizeof(NAME_PREFIX) - 1 &&
		    memcmp(text, NAME_PREFIX, sizeof(NAME_PREFIX) - 1) == 0) {
			text += sizeof(NAME_PREFIX) - 1;
			len -= sizeof(NAME_PREFIX) - 1;
		}
		if (len)
			log_error("%.*s", (int)len, text);
		text += len + 1;
	}
	return (ssize_t)size;
}

static void parse_with_errors_in_journal(const struct argp *argp, int argc, char **argv,
					 struct options *options)
{
	const cookie_io_functions_t functions = { .write = say_errors };
	FILE *before = stderr, *errors = fopencookie(NULL, "w", functions);

	if (errors)
		stderr = errors;
	argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL,
		   options); /* wrong usage ends it: exit(3) flushes */
	stderr = before;
	if (errors)
		fclose(errors);
}

void options_parse(struct options *options, int argc, char **argv)
{
	const struct argp argp = { argp_options, parse_option, args_doc, doc, NULL, NULL, NULL };

	*options = (struct options){
		.events = EVENTS_ALL,
		.types = NSMON_NS_ALL,
		.reasons = REASONS_ALL,
	};
	argp_err_exit_status = 2;
	/* The child's own options come after "--" and are not ours to sort. */
	if (argc > 0 && strrchr(argv[0], '/')) /* as all other messages begin */
		argv[0] = strrchr(argv[0], '/') + 1;
	if (log_is_to_journal())
		parse_with_errors_in_journal(&argp, argc, argv, options);
	else
		argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, options);
}
