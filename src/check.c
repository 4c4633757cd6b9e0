// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nsmon check. Claims only what it tried. */
#include "check.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "line.h"
#include "probe.h"

struct check {
	const struct options *options;
	const struct kernel *kernel;
	bool btf;
	char btf_error[80];
	bool works[BACKENDS];
	const char *limits[BACKENDS]; /* probe_limit() */
	bool snapshot; /* of some backend that works */
	struct probe_refusal refusals[BACKENDS];
	enum backend first; /* what auto takes; BACKEND_AUTO: none */
};

static const char *const ids_names[] = {
	[KERNEL_IDS_NONE] = "none",
	[KERNEL_IDS_MNT] = "mnt",
	[KERNEL_IDS_ALL] = "all",
};

static const char *btf_path(const struct check *check)
{
	return check->options->btf ? check->options->btf : KERNEL_BTF_PATH;
}

static void try_backends(struct check *check)
{
	for (enum backend b = BACKEND_FENTRY; b <= BACKEND_TRACEPOINT; b++) {
		struct probe *probe;

		if (!kernel_release_supported(check->kernel->uname.release)) {
			snprintf(check->refusals[b].reason, sizeof(check->refusals[b].reason),
				 "the kernel is older than %d.%d", KERNEL_OLDEST_MAJOR,
				 KERNEL_OLDEST_MINOR);
			continue;
		}
		if (!check->kernel->cap_bpf || !check->kernel->cap_perfmon) {
			snprintf(check->refusals[b].reason, sizeof(check->refusals[b].reason),
				 "not enough privilege to try");
			continue;
		}
		if (probe_open(&probe, check->options, check->kernel, b, &check->refusals[b]))
			continue;
		check->snapshot = check->snapshot || probe_has_iterator(probe);
		check->limits[b] = probe_limit(probe);
		probe_close(probe);
		check->works[b] = true;
		if (check->first == BACKEND_AUTO)
			check->first = b;
	}
}

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static void print_table(const struct check *check)
{
	const struct kernel *kernel = check->kernel;

	printf("kernel        %s\n", kernel->uname.release);
	printf("architecture  %s\n", kernel->uname.machine);
	printf("BTF           %s %s%s%s\n", yes_no(check->btf), btf_path(check),
	       check->btf ? "" : ": ", check->btf_error);
	printf("capabilities  CAP_BPF %s, CAP_PERFMON %s\n", yes_no(kernel->cap_bpf),
	       yes_no(kernel->cap_perfmon));
	printf("namespaces   ");
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		if (kernel->ns_present & (1U << i))
			printf(" %s", ns_type_names[i]);
	printf("\n");
	if (kernel->ns_present != NSMON_NS_ALL) {
		printf("  missing    ");
		for (int i = 0; i < NSMON_NS_TYPES; i++)
			if (!(kernel->ns_present & (1U << i)))
				printf(" %s", ns_type_names[i]);
		printf(" (this kernel has none: there are no events of it)\n");
	}
	printf("namespace ids %s\n", ids_names[kernel->ids]);
	printf("cgroups       %s%s%s\n", hierarchy_name(&kernel->hierarchy),
	       kernel->hierarchy.path[0] ? " in "
					 : ", not mounted here: of those that exist, paths "
					   "and containers are not known",
	       kernel->hierarchy.path);
	for (enum backend b = BACKEND_FENTRY; b <= BACKEND_TRACEPOINT; b++) {
		printf("backend       %-10s ", backend_names[b]);
		if (check->works[b])
			printf("works%s%s%s\n", b == check->first ? ", and auto takes it" : "",
			       check->limits[b] ? "; " : "",
			       check->limits[b] ? check->limits[b] : "");
		else
			printf("no: %s\n", check->refusals[b].reason);
	}
	printf("snapshot      %s\n",
	       check->snapshot ? "works: all tasks at the start, and repairs after a loss"
			       : "no: it takes a backend that works, and the kernel's own BTF");
	if (check->first == BACKEND_TRACEPOINT)
		printf("note          tracepoint makes every system call of this machine a little "
		       "slower while nsmon runs\n");
	if (check->first == BACKEND_AUTO)
		printf("result        no events can be had here\n");
}

static void json_string(const char *string)
{
	char bytes[LINE_MAX_BYTES] = "";
	struct line line = { .at = bytes, .end = bytes + sizeof(bytes) };

	line_json(&line, string, strnlen(string, 4096));
	fwrite(bytes, 1, (size_t)(line.at - bytes), stdout);
}

static const char *true_false(bool value)
{
	return value ? "true" : "false";
}

static void print_json(const struct check *check)
{
	const struct kernel *kernel = check->kernel;

	printf("{\"kernel\":");
	json_string(kernel->uname.release);
	printf(",\"arch\":");
	json_string(kernel->uname.machine);
	printf(",\"btf\":{\"path\":");
	json_string(btf_path(check));
	printf(",\"found\":%s", true_false(check->btf));
	if (!check->btf) {
		printf(",\"reason\":");
		json_string(check->btf_error);
	}
	printf("},\"capabilities\":{\"cap_bpf\":%s,\"cap_perfmon\":%s},\"types\":{",
	       true_false(kernel->cap_bpf), true_false(kernel->cap_perfmon));
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		printf("%s\"%s\":%s", i ? "," : "", ns_type_names[i],
		       true_false(kernel->ns_present & (1U << i)));
	printf("},\"ns_id\":\"%s\",\"cgroup_hierarchy\":\"%s\"", ids_names[kernel->ids],
	       hierarchy_name(&kernel->hierarchy));
	if (kernel->hierarchy.path[0]) {
		printf(",\"cgroup_mount\":");
		json_string(kernel->hierarchy.path);
	}
	printf(",\"backends\":{");
	for (enum backend b = BACKEND_FENTRY; b <= BACKEND_TRACEPOINT; b++) {
		printf("%s\"%s\":{\"works\":%s", b == BACKEND_FENTRY ? "" : ",", backend_names[b],
		       true_false(check->works[b]));
		if (!check->works[b]) {
			printf(",\"reason\":");
			json_string(check->refusals[b].reason);
		} else if (check->limits[b]) {
			printf(",\"limit\":");
			json_string(check->limits[b]);
		}
		printf("}");
	}
	printf("},\"snapshot\":%s", true_false(check->snapshot));
	if (check->first != BACKEND_AUTO)
		printf(",\"auto\":\"%s\"", backend_names[check->first]);
	printf("}\n");
}

int check_run(const struct options *options, const struct kernel *kernel)
{
	struct check check = { .options = options, .kernel = kernel };
	struct btf *btf;

	btf = kernel_load_btf(options->btf);
	check.btf = btf != NULL;
	if (!btf)
		kernel_btf_error(options->btf, errno, check.btf_error, sizeof(check.btf_error));
	btf__free(btf);
	try_backends(&check);
	if (options->output == OUTPUT_JSON)
		print_json(&check);
	else
		print_table(&check);
	return check.first == BACKEND_AUTO ? 1 : 0;
}
