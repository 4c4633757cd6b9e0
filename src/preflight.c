// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What can be known to be wrong at the start. Must not change anything. */
#include "preflight.h"

#include <bpf/btf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "procfs.h"

static bool is_privileged(const struct kernel *kernel)
{
	if (kernel->cap_bpf && kernel->cap_perfmon)
		return true;
	log_error("not enough privilege: %s%s%s missing; run it with sudo",
		  kernel->cap_bpf ? "" : "CAP_BPF",
		  kernel->cap_bpf || kernel->cap_perfmon ? "" : " and ",
		  kernel->cap_perfmon ? "" : "CAP_PERFMON");
	return false;
}

static bool kernel_will_do(const struct kernel *kernel)
{
	if (kernel_release_supported(kernel->uname.release))
		return is_privileged(kernel);
	log_error("kernel %s is too old: nsmon needs %d.%d or later", kernel->uname.release,
		  KERNEL_OLDEST_MAJOR, KERNEL_OLDEST_MINOR);
	return false;
}

static bool btf_will_do(const char *path)
{
	char message[80];
	struct btf *btf;

	if (!path) /* probe_open() says where libbpf looked */
		return true;
	btf = kernel_load_btf(path);
	if (!btf) {
		kernel_btf_error(path, errno, message, sizeof(message));
		log_error("--btf '%s': %s; it takes a file with the running kernel's BTF", path,
			  message);
		return false;
	}
	btf__free(btf);
	return true;
}

/*
 * Process of a task by its line "Tgid:", and its state; 0 where there is none.
 * A main thread that has ended before others does not make the process a zombie.
 */
static pid_t process_of(pid_t pid, char *state)
{
	char path[64], text[256];
	FILE *file;
	int tgid = 0, threads = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "State: %c", state) == 1)
			continue;
		if (sscanf(text, "Tgid: %d", &tgid) == 1)
			continue;
		if (sscanf(text, "Threads: %d", &threads) == 1)
			break;
	}
	fclose(file);
	if (threads > 1 && *state == 'Z')
		*state = 'S';
	return *state == 'Z' || *state == 'X' ? 0 : (pid_t)tgid;
}

bool preflight_process_lives(pid_t pid)
{
	char state = 0;

	if (!procfs_is_ours())
		return kill(pid, 0) == 0 || errno != ESRCH;
	return process_of(pid, &state) == pid;
}

static bool pid_will_do(pid_t pid)
{
	char state = 0;
	pid_t process = procfs_is_ours() ? process_of(pid, &state) : 0;

	if (preflight_process_lives(pid))
		return true;
	if (process)
		log_error("--pid '%d': this is a thread; it takes a process id, here %d", (int)pid,
			  (int)process);
	else
		log_error("--pid '%d': there is no such process; it takes the id of one that "
			  "runs",
			  (int)pid);
	return false;
}

int preflight(const struct options *options, const struct kernel *kernel)
{
	if (!kernel_will_do(kernel))
		return PREFLIGHT_CANNOT_RUN;
	if (!btf_will_do(options->btf))
		return PREFLIGHT_WRONG_USAGE;
	for (size_t i = 0; i < options->pid_count; i++)
		if (!pid_will_do(options->pids[i]))
			return PREFLIGHT_WRONG_USAGE;
	return 0;
}
