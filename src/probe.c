// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Everything between user space and the BPF programs. Must not know what
 * becomes of a record.
 */
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "excerpt.h"
#include "heap.h"
#include "log.h"
#include "nsmon.skel.h"
#include "trial.h"
#include "view.h"

/* include/linux/errno.h: what arm64 before 6.4 says to a trampoline. */
#define KERNEL_ENOTSUPP 524

#define LINKS_MAX 80

/* Of a program, where the kernel may skip one that it has preempted. */
#define COPIES 3

/* Runs that are under way at one moment; a leftover gives way to a newer one. */
#define RUNS_MAX 8192

/* Cgroups that pass a filter at one moment; each costs 64 bytes of kernel memory. */
#define CGROUPS_MAX 65536

#define MIB ((size_t)1 << 20)

#define NS_PER_S 1000000000LL

/* include/linux/bpf_verifier.h: BPF_LOG_STATS, what the verification cost. */
#define VERIFIER_STATISTICS 4

/* The part of the ring buffer that only namespace changes may fill. */
#define CHANGES_SHARE 8

/* More than this waiting gains nothing: a wake-up costs little by then. */
#define WAKEUP_BYTES_MAX (MIB / 4)

struct probe {
	struct nsmon_bpf *skel;
	int excerpt_fd; /* of the kernel's BTF, until everything is loaded; -1: none */
	struct ring *ring;
	enum backend backend;
	bool preempts; /* programs may be skipped */
	bool tells_early; /* for want of a probe at the end of a call: see tell_early() */
	bool may_be_late; /* changes hang on return probes alone: see probe_limit() */
	bool blind; /* what of it the kernel skips is not counted */
	bool sees_done; /* fentry_done is attached */
	bool typed; /* programs load what the verifier knows the type of */
	bool refused; /* the verifier did not take the programs */
	struct bpf_link *iterator; /* NULL: this kernel has none */
	struct bpf_link *links[LINKS_MAX];
	size_t link_count;
	int64_t boot_offset_ns;
};

/* One attachment: a program of the skeleton and the kernel function it goes to. */
struct hook {
	size_t program; /* offset in struct nsmon_bpf */
	size_t copies[COPIES - 1]; /* of the same; 0: it has none */
	const char *function; /* NULL: the program's section names it */
	bool kretprobe;
	bool optional; /* this kernel may lack the function */
	bool wanted;
};

#define PROGRAM(name)                                                                              \
	offsetof(struct nsmon_bpf, progs.name),                                                    \
	{                                                                                          \
		0                                                                                  \
	}
#define PROGRAMS(name)                                                                             \
	offsetof(struct nsmon_bpf, progs.name),                                                    \
	{                                                                                          \
		offsetof(struct nsmon_bpf, progs.name##_2),                                        \
			offsetof(struct nsmon_bpf, progs.name##_3)                                 \
	}

#if defined(__x86_64__)
#define SYSCALL_WRAPPER(name) "__x64_sys_" name
#define SYSCALL32_WRAPPER(name) "__ia32_sys_" name
#define CLONE32_WRAPPER "__ia32_compat_sys_ia32_clone"
#elif defined(__aarch64__)
/* AArch32 calls come through the same wrappers. */
#define SYSCALL_WRAPPER(name) "__arm64_sys_" name
#define SYSCALL32_WRAPPER(name) "none_" name
#define CLONE32_WRAPPER "none_clone"
#else
#error "nsmon knows x86-64 and arm64"
#endif

/* What unshare() and setns() call when they have done their work. */
#define CALL_END "perf_event_namespaces"

/* 1 MiB for each CPU: a storm of 300 000 events a second waits for tens of milliseconds. */
static size_t default_buffer(void)
{
	size_t size = 8 * MIB;
	size_t wanted = (size_t)get_nprocs() * MIB;

	while (size < wanted && size < 64 * MIB)
		size *= 2;
	return size;
}

/* Descendants at one moment; each costs 64 bytes of kernel memory, but only with a filter. */
static unsigned int followed_max(void)
{
	FILE *file = fopen("/proc/sys/kernel/pid_max", "re");
	unsigned int max = 32768;

	if (file) {
		if (fscanf(file, "%u", &max) != 1)
			max = 32768;
		fclose(file);
	}
	return max < 131072 ? max : 131072;
}

/* What only the handlers of events ask. */
static void configure_events(struct nsmon_bpf *skel, const struct kernel *kernel,
			     const struct btf *btf)
{
	struct nsmon_bpf__rodata *rodata = skel->rodata;

	rodata->kernel_has.group_dead_arg = kernel_tracepoint_args(btf, "sched_process_exit") >= 2;
	rodata->kernel_has.exec_switches_time = kernel_has_function(btf, "exec_task_namespaces");
	rodata->kernel_has.preempts_programs = kernel->preempts_tracepoints;
	if (kernel->preempts_tracepoints)
		bpf_map__set_max_entries(skel->maps.runs, RUNS_MAX);
}

static void configure(struct nsmon_bpf *skel, const struct options *options,
		      const struct kernel *kernel)
{
	struct nsmon_bpf__rodata *rodata = skel->rodata;
	bool follow = options->command || options->pid_count;
	size_t buffer = options->buffer ? options->buffer : default_buffer();

	rodata->kernel_has.ns_present = kernel->ns_present;
	rodata->kernel_has.mnt_ns_id = kernel->ids != KERNEL_IDS_NONE;
	rodata->kernel_has.cgroup_controller = kernel->hierarchy.controller;
	rodata->kernel_has.cgroup_hierarchy = kernel->hierarchy.id;
	rodata->filter.events = options->events;
	rodata->filter.types = options->types;
	rodata->filter.reasons = options->reasons;
	rodata->filter.threads = options->threads;
	rodata->filter.failed = options->failed;
	rodata->filter.follow = follow;
	rodata->filter.cgroups = options->cgroup || options->container;
	rodata->filter.self = options->command ? (__u32)getpid() : 0;
	rodata->wakeup_bytes = buffer / 4 < WAKEUP_BYTES_MAX ? buffer / 4 : WAKEUP_BYTES_MAX;
	rodata->shared_bytes = buffer - buffer / CHANGES_SHARE;
	bpf_map__set_max_entries(skel->maps.events, (__u32)buffer);
	if (follow)
		bpf_map__set_max_entries(skel->maps.followed, followed_max());
	if (rodata->filter.cgroups)
		bpf_map__set_max_entries(skel->maps.wanted_cgroups, CGROUPS_MAX);
}

/* In the order of the copies, since the kernel calls them in the order of attaching. */
static size_t add_hook(struct hook *hooks, size_t n, const struct hook *hook, bool copies)
{
	if (!hook->wanted)
		return n;
	hooks[n++] = *hook;
	for (size_t i = 0; copies && i < COPIES - 1 && hook->copies[i]; i++) {
		hooks[n] = *hook;
		hooks[n++].program = hook->copies[i];
	}
	return n;
}

static bool wants(const struct options *options, enum nsmon_kind kind)
{
	return options->events & (1U << kind);
}

/*
 * Ends come before beginnings: a call that is under way while nsmon attaches
 * has no beginning, rather than a beginning without an end.
 */
static size_t list_hooks(struct hook hooks[LINKS_MAX], const struct probe *probe,
			 const struct options *options, const struct kernel *kernel)
{
	const enum backend backend = probe->backend;
	bool early = probe->tells_early;
	bool ns = wants(options, NSMON_NS);
	bool follow = options->command || options->pid_count;
	bool failed = ns && options->failed;
	bool exits = wants(options, NSMON_EXIT) || ns || follow;
	bool execs = wants(options, NSMON_EXEC) || ns;
	bool forks = wants(options, NSMON_FORK) || ns || follow;
	bool gates = kernel->preempts_tracepoints;
	bool typed = probe->typed;
	const struct hook common[] = {
		/* Before any task is told to be in a cgroup, user space knows its name. */
		{ PROGRAM(on_cgroup_made), NULL, false, false, true },
		{ PROGRAM(on_cgroup_renamed), NULL, false, false, true },
		{ PROGRAM(on_cgroup_removed), NULL, false, false, true },
		{ PROGRAM(on_cgroup_attach), NULL, false, false, wants(options, NSMON_CGROUP) },
		{ PROGRAM(on_exit), NULL, false, false, exits && !gates },
		{ PROGRAM(on_exec), NULL, false, false, execs && !gates },
		{ PROGRAM(on_fork), NULL, false, false, forks && !gates && !typed },
		{ PROGRAM(on_fork_typed), NULL, false, false, forks && !gates && typed },
		{ PROGRAMS(gate_exit), NULL, false, false, exits && gates },
		{ PROGRAMS(gate_exec), NULL, false, false, execs && gates },
		{ PROGRAMS(gate_fork), NULL, false, false, forks && gates },
	};
	const struct hook fentry[] = {
		{ PROGRAMS(fexit_unshare), "ksys_unshare", false, false, ns },
		{ PROGRAMS(fexit_setns), SYSCALL_WRAPPER("setns"), false, false, ns },
		{ PROGRAMS(fexit_setns32), SYSCALL32_WRAPPER("setns"), false, true, ns },
		{ PROGRAMS(fexit_clone), SYSCALL_WRAPPER("clone"), false, false, failed },
		{ PROGRAMS(fexit_clone32), CLONE32_WRAPPER, false, true, failed },
		{ PROGRAMS(fexit_clone3), SYSCALL_WRAPPER("clone3"), false, false, failed },
		{ PROGRAMS(fexit_clone332), SYSCALL32_WRAPPER("clone3"), false, true, failed },
		{ PROGRAM(fentry_done), CALL_END, false, true, ns && !early },
		{ PROGRAM(fentry_creds), "commit_creds", false, true, ns && early },
		{ PROGRAMS(fentry_unshare), "ksys_unshare", false, false, ns },
		{ PROGRAMS(fentry_setns), SYSCALL_WRAPPER("setns"), false, false, ns },
		{ PROGRAMS(fentry_setns32), SYSCALL32_WRAPPER("setns"), false, true, ns },
		{ PROGRAMS(fentry_clone), SYSCALL_WRAPPER("clone"), false, false, failed },
		{ PROGRAMS(fentry_clone32), CLONE32_WRAPPER, false, true, failed },
		{ PROGRAMS(fentry_clone3), SYSCALL_WRAPPER("clone3"), false, false, failed },
		{ PROGRAMS(fentry_clone332), SYSCALL32_WRAPPER("clone3"), false, true, failed },
		{ PROGRAMS(fentry_exec), "exec_task_namespaces", false, true, ns },
		{ PROGRAM(fentry_switch), "switch_task_namespaces", false, false, ns },
	};
	const struct hook kprobe[] = {
		{ PROGRAM(kretprobe_leave), "ksys_unshare", true, false, ns },
		{ PROGRAM(kretprobe_leave), SYSCALL_WRAPPER("setns"), true, false, ns },
		{ PROGRAM(kretprobe_leave), SYSCALL32_WRAPPER("setns"), true, true, ns },
		{ PROGRAM(kretprobe_leave), SYSCALL_WRAPPER("clone"), true, false, failed },
		{ PROGRAM(kretprobe_leave), CLONE32_WRAPPER, true, true, failed },
		{ PROGRAM(kretprobe_leave), SYSCALL_WRAPPER("clone3"), true, false, failed },
		{ PROGRAM(kretprobe_leave), SYSCALL32_WRAPPER("clone3"), true, true, failed },
		{ PROGRAM(kprobe_done), CALL_END, false, true, ns && !early },
		{ PROGRAM(kprobe_creds), "commit_creds", false, true, ns && early },
		{ PROGRAM(kprobe_unshare), "ksys_unshare", false, false, ns },
		{ PROGRAM(kprobe_setns), SYSCALL_WRAPPER("setns"), false, false, ns },
		{ PROGRAM(kprobe_setns), SYSCALL32_WRAPPER("setns"), false, true, ns },
		{ PROGRAM(kprobe_clone), SYSCALL_WRAPPER("clone"), false, false, failed },
		{ PROGRAM(kprobe_clone), CLONE32_WRAPPER, false, true, failed },
		{ PROGRAM(kprobe_clone3), SYSCALL_WRAPPER("clone3"), false, false, failed },
		{ PROGRAM(kprobe_clone3), SYSCALL32_WRAPPER("clone3"), false, true, failed },
		{ PROGRAM(kprobe_exec), "exec_task_namespaces", false, true, ns },
		{ PROGRAM(kprobe_switch), "switch_task_namespaces", false, false, ns },
	};
	const struct hook tracepoint[] = {
		{ PROGRAM(on_sys_exit), NULL, false, false, ns && !gates },
		{ PROGRAM(on_sys_enter), NULL, false, false, ns && !gates },
		{ PROGRAMS(gate_sys_exit), NULL, false, false, ns && gates },
		{ PROGRAMS(gate_sys_enter), NULL, false, false, ns && gates },
	};
	const struct {
		const struct hook *hooks;
		size_t count;
	} of_backend[BACKENDS] = {
		[BACKEND_FENTRY] = { fentry, sizeof(fentry) / sizeof(*fentry) },
		[BACKEND_KPROBE] = { kprobe, sizeof(kprobe) / sizeof(*kprobe) },
		[BACKEND_TRACEPOINT] = { tracepoint, sizeof(tracepoint) / sizeof(*tracepoint) },
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(common) / sizeof(*common); i++)
		n = add_hook(hooks, n, &common[i], gates);
	for (size_t i = 0; i < of_backend[backend].count; i++)
		n = add_hook(hooks, n, &of_backend[backend].hooks[i],
			     backend == BACKEND_FENTRY ? kernel->preempts_trampolines
						       : kernel->preempts_tracepoints);
	return n;
}

static struct bpf_program *program_at(const struct nsmon_bpf *skel, size_t offset)
{
	return *(struct bpf_program *const *)((const char *)skel + offset);
}

static struct bpf_program *program_of(const struct nsmon_bpf *skel, const struct hook *hook)
{
	return program_at(skel, hook->program);
}

/* Programs that gates call. */
static const struct {
	size_t gate;
	size_t program;
} bodies[NSMON_BODIES] = {
#define BODY(name)                                                                                 \
	{                                                                                          \
		offsetof(struct nsmon_bpf, progs.gate_##name),                                     \
			offsetof(struct nsmon_bpf, progs.on_##name)                                \
	}
	[NSMON_BODY_FORK] = BODY(fork),		[NSMON_BODY_EXEC] = BODY(exec),
	[NSMON_BODY_EXIT] = BODY(exit),		[NSMON_BODY_SYS_ENTER] = BODY(sys_enter),
	[NSMON_BODY_SYS_EXIT] = BODY(sys_exit),
#undef BODY
};

static void select_bodies(struct nsmon_bpf *skel)
{
	for (size_t i = 0; i < NSMON_BODIES; i++)
		if (bpf_program__autoload(program_at(skel, bodies[i].gate)))
			bpf_program__set_autoload(program_at(skel, bodies[i].program), true);
}

static int connect_bodies(const struct nsmon_bpf *skel)
{
	for (__u32 i = 0; i < NSMON_BODIES; i++) {
		int fd = bpf_program__fd(program_at(skel, bodies[i].program));

		if (bpf_program__autoload(program_at(skel, bodies[i].gate)) &&
		    bpf_map_update_elem(bpf_map__fd(skel->maps.bodies), &i, &fd, BPF_ANY))
			return -errno;
	}
	return 0;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct probe_refusal *refusal, int err,
							const char *format, ...)
{
	va_list args;

	refusal->error = -err;
	va_start(args, format);
	vsnprintf(refusal->reason, sizeof(refusal->reason), format, args);
	va_end(args);
	return err;
}

/* What the kernel's BTF tells of where things are, for all programs. */
static int find_places(struct nsmon_bpf *skel, const struct kernel *kernel, const struct btf *btf,
		       struct probe_refusal *refusal)
{
	uint32_t level = 0;
	int err = view_find_level(btf, &level), at;

	if (!err)
		skel->rodata->view_level = level;
	else /* 5.8 and 5.9 */
		log_debug("cannot find the own pid namespace (%s): numbering tasks as the initial "
			  "one does",
			  strerror(-err));
	if (kernel->ids != KERNEL_IDS_ALL)
		return 0;
	at = kernel_member_offset(btf, "ns_common", "ns_id");
	if (at <= 0)
		return refuse(refusal, -ENOENT,
			      "struct ns_common has no member ns_id in the kernel's BTF, though "
			      "its ioctl NS_GET_ID works");
	skel->rodata->kernel_has.ns_id_at = (uint32_t)at;
	return 0;
}

/* KERNEL.md, Attaching: what each kernel was seen to say. */
static const char *load_error(int err, enum backend backend)
{
	switch (-err) {
	case EPERM:
	case EACCES:
		return backend == BACKEND_FENTRY
			       ? "the kernel does not permit BPF trampolines (lockdown or a "
				 "security module)"
			       : "the kernel does not permit it (lockdown or a security module)";
	case ESRCH:
		return "a function is not in the kernel's BTF, or there is no memory to read it";
	case EMFILE:
	case ENFILE:
		return "too many open files; raise the limit (ulimit -n)";
	case EINVAL:
		return "the kernel lacks something that the programs need";
	case ENOMEM:
		return "not enough memory, or RLIMIT_MEMLOCK is too low";
	case E2BIG:
		return "the verifier gave up";
	}
	return strerror(-err);
}

static const char *attach_error(int err, enum backend backend)
{
	switch (-err) {
	case KERNEL_ENOTSUPP:
		return "this kernel cannot attach BPF trampolines (ENOTSUPP; arm64 before 6.4)";
	case EBUSY:
		return "the function cannot be traced (EBUSY)";
	case ENOENT:
	case ENODEV:
	case EINVAL:
		if (backend == BACKEND_KPROBE)
			return "the kernel has no kprobes (CONFIG_KPROBE_EVENTS) or not this "
			       "function";
		break;
	}
	return strerror(-err);
}

/* Which programs are loaded, and for fentry where they will go. */
static int select_programs(struct nsmon_bpf *skel, struct hook *hooks, size_t *count,
			   enum backend backend, const struct btf *btf,
			   struct probe_refusal *refusal)
{
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++) {
		struct hook *hook = &hooks[i];
		struct bpf_program *program = program_of(skel, hook);

		if (hook->function && !kernel_has_function(btf, hook->function)) {
			if (!hook->optional)
				return refuse(refusal, -ESRCH,
					      "the kernel's BTF has no function %s",
					      hook->function);
			continue;
		}
		bpf_program__set_autoload(program, true);
		if (backend == BACKEND_FENTRY && hook->function) {
			int err = bpf_program__set_attach_target(program, 0, hook->function);

			if (err)
				return refuse(refusal, err, "%s: %s", hook->function,
					      load_error(err, backend));
		}
		hooks[kept++] = *hook;
	}
	*count = kept;
	select_bodies(skel);
	bpf_program__set_autoload(skel->progs.read_view, true);
	/* It belongs to a type of the running kernel's own BTF. */
	bpf_program__set_autoload(skel->progs.snapshot, access(KERNEL_BTF_PATH, R_OK) == 0);
	return 0;
}

static struct bpf_link *attach_hook(struct bpf_program *program, const struct hook *hook,
				    enum backend backend)
{
	if (backend == BACKEND_KPROBE && hook->function)
		return bpf_program__attach_kprobe(program, hook->kretprobe, hook->function);
	return bpf_program__attach(program);
}

static int attach(struct probe *probe, const struct hook *hooks, size_t count,
		  struct probe_refusal *refusal)
{
	for (size_t i = 0; i < count; i++) {
		struct bpf_program *program = program_of(probe->skel, &hooks[i]);
		struct bpf_link *link = attach_hook(program, &hooks[i], probe->backend);

		if (!link) {
			int err = -errno;

			if (hooks[i].optional) {
				log_debug("%s: not attached: %s", hooks[i].function,
					  attach_error(err, probe->backend));
				continue;
			}
			return refuse(refusal, err, "%s: %s",
				      hooks[i].function ? hooks[i].function
							: bpf_program__name(program),
				      attach_error(err, probe->backend));
		}
		probe->links[probe->link_count++] = link;
		/* What a return probe has no room for, these see, which are attached after them. */
		if (hooks[i].kretprobe)
			probe->may_be_late = true;
		else if (program == probe->skel->progs.kprobe_done ||
			 program == probe->skel->progs.kprobe_creds)
			probe->may_be_late = false;
		else if (program == probe->skel->progs.fentry_done)
			probe->sees_done = true;
	}
	return 0;
}

static int64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Lets the kernel say in which pid namespace nsmon itself is. Without that no task in another one is nsmon's to see. */
static int read_view(struct probe *probe, struct probe_refusal *refusal)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int err = bpf_prog_test_run_opts(bpf_program__fd(probe->skel->progs.read_view), &opts);

	probe->boot_offset_ns = err ? 0 : boot_ns() - (int64_t)probe->skel->bss->view_boot_ns;
	if (llabs(probe->boot_offset_ns) < NS_PER_S) /* the time that the call took */
		probe->boot_offset_ns = 0;
	if (!probe->skel->rodata->view_level)
		return 0;
	if (err)
		return refuse(refusal, err, "cannot find the own pid namespace: %s",
			      strerror(-err));
	log_note("this is not the initial pid namespace: only tasks that can be seen from it are "
		 "traced, numbered as it does");
	return 0;
}

static int seed_followed(struct probe *probe, const struct options *options)
{
	int fd = bpf_map__fd(probe->skel->maps.followed);
	const __u32 before = NSMON_FOLLOWED_BEFORE;

	for (size_t i = 0; i < options->pid_count; i++) {
		__u32 pid = (__u32)options->pids[i];

		if (bpf_map_update_elem(fd, &pid, &before, BPF_NOEXIST))
			return -errno;
		probe->skel->bss->followed_count++;
	}
	return 0;
}

static bool memlock_is_limited(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

static int attach_iterator(struct probe *probe, struct probe_refusal *refusal)
{
	probe->iterator = bpf_program__attach_iter(probe->skel->progs.snapshot, NULL);
	return probe->iterator ? 0
			       : refuse(refusal, -errno, "cannot attach a task iterator: %s",
					strerror(errno));
}

static int refuse_load(struct probe_refusal *refusal, int err, enum backend backend,
		       const struct kernel *kernel)
{
	if (err == -EPERM && kernel->counts_memlock && memlock_is_limited())
		return refuse(refusal, err,
			      "RLIMIT_MEMLOCK is too low, which kernels before 5.11 count BPF "
			      "memory against (ulimit -l unlimited)");
	return refuse(refusal, err, "%s", load_error(err, backend));
}

/* What the kernel does not take at all is refused without loading everything for it. */
static int try_backend(enum backend backend, const struct options *options,
		       const struct kernel *kernel, const struct btf *btf,
		       struct probe_refusal *refusal)
{
	static const char function[] = "ksys_unshare";
	int err = 0;

	if (!wants(options, NSMON_NS)) /* then nothing is attached to functions */
		return 0;
	if (backend == BACKEND_FENTRY) {
		err = trial_trampoline(btf, function);
		if (err)
			return refuse_load(refusal, err, backend, kernel);
	} else if (backend == BACKEND_KPROBE) {
		err = trial_kprobe();
		if (err)
			return refuse(refusal, err, "%s: %s", function, attach_error(err, backend));
	}
	return 0;
}

static int write_excerpt(const struct probe *probe, const struct nsmon_bpf *skel,
			 const struct btf *btf)
{
	struct btf *excerpt;
	int err = excerpt_make(&excerpt, btf, bpf_object__btf(skel->obj));

	if (err)
		return err;
	err = excerpt_write(excerpt, probe->excerpt_fd);
	btf__free(excerpt);
	return err;
}

/*
 * The skeleton, which will take the types of the kernel from an excerpt of its
 * BTF: the path is wanted for opening, and what is to be in it shows only then.
 * NULL on failure, with errno set.
 */
static struct nsmon_bpf *open_skeleton(struct probe *probe, const struct btf *btf)
{
	char path[32];
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = path,
		    .kernel_log_level =
			    log_get_level() > LOG_LEVEL_DEBUG ? VERIFIER_STATISTICS : 0);
	struct nsmon_bpf *skel;
	int err;

	probe->excerpt_fd = memfd_create("nsmon-btf", MFD_CLOEXEC);
	if (probe->excerpt_fd < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", probe->excerpt_fd);
	skel = nsmon_bpf__open_opts(&opts);
	if (!skel)
		return NULL;
	err = write_excerpt(probe, skel, btf);
	if (!err)
		return skel;
	nsmon_bpf__destroy(skel);
	errno = -err;
	return NULL;
}

static int load_skeleton(struct probe *probe)
{
	int err = nsmon_bpf__load(probe->skel);

	close(probe->excerpt_fd);
	probe->excerpt_fd = -1;
	return err;
}

/* Can what unshare() and setns() call when they have done their work not be traced? */
static bool hides_call_end(const struct probe *probe, const struct kernel *kernel,
			   const struct btf *btf)
{
	if (probe->backend == BACKEND_KPROBE)
		return trial_kprobe_at(CALL_END) != 0;
	return probe->backend == BACKEND_FENTRY && kernel->may_hide_call_end &&
	       trial_trampoline_at(btf, CALL_END) != 0;
}

static int open_backend(struct probe *probe, const struct options *options,
			const struct kernel *kernel, const struct btf *btf,
			struct probe_refusal *refusal)
{
	struct hook hooks[LINKS_MAX];
	size_t count;
	int err;

	if (probe->backend == BACKEND_FENTRY && options->btf && access(KERNEL_BTF_PATH, R_OK))
		return refuse(refusal, -ENOENT,
			      "trampolines need the kernel's own BTF in %s, which is not there",
			      KERNEL_BTF_PATH);
	err = try_backend(probe->backend, options, kernel, btf, refusal);
	if (err)
		return err;
	probe->skel = open_skeleton(probe, btf);
	if (!probe->skel)
		return refuse(refusal, -errno, "%s", strerror(errno));
	err = find_places(probe->skel, kernel, btf, refusal);
	if (err)
		return err;
	configure(probe->skel, options, kernel);
	configure_events(probe->skel, kernel, btf);
	probe->skel->rodata->kernel_has.typed_task = probe->typed;
	probe->tells_early = wants(options, NSMON_NS) && hides_call_end(probe, kernel, btf);
	probe->skel->rodata->kernel_has.told_early = probe->tells_early;
	probe->skel->rodata->kernel_has.enters_again =
		(probe->backend == BACKEND_FENTRY && kernel->preempts_trampolines) ||
		(probe->backend == BACKEND_TRACEPOINT && kernel->preempts_tracepoints);
	count = list_hooks(hooks, probe, options, kernel);
	err = select_programs(probe->skel, hooks, &count, probe->backend, btf, refusal);
	if (err)
		return err;
	err = load_skeleton(probe);
	if (err) {
		probe->refused = err == -EACCES || err == -EINVAL;
		return refuse_load(refusal, err, probe->backend, kernel);
	}
	probe->preempts = kernel->built_preemptible;
	probe->blind = probe->backend == BACKEND_KPROBE && kernel->skips_kprobes_unseen;
	err = connect_bodies(probe->skel);
	if (err)
		return refuse(refusal, err, "cannot connect the programs: %s", strerror(-err));
	err = read_view(probe, refusal);
	if (err)
		return err;
	err = seed_followed(probe, options);
	if (err)
		return refuse(refusal, err, "cannot follow the given processes: %s",
			      strerror(-err));
	err = ring_new(&probe->ring, bpf_map__fd(probe->skel->maps.events),
		       bpf_map__max_entries(probe->skel->maps.events));
	if (err)
		return refuse(refusal, err, "cannot map the ring buffer: %s", strerror(-err));
	err = bpf_program__autoload(probe->skel->progs.snapshot) ? attach_iterator(probe, refusal)
								 : 0;
	if (err)
		return err;
	return attach(probe, hooks, count, refusal);
}

static struct probe *new_probe(enum backend backend, bool typed)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->backend = backend;
	probe->excerpt_fd = -1;
	probe->typed = typed;
	return probe;
}

/*
 * What the verifier lets programs load of typed pointers has grown stricter over time:
 * where it refuses, they read by helpers, as on kernels that know no such types. It
 * takes the types from the kernel itself, not from a file.
 */
static int open_with_btf(struct probe **result, const struct options *options,
			 const struct kernel *kernel, const struct btf *btf, enum backend backend,
			 struct probe_refusal *refusal)
{
	bool typed = access(KERNEL_BTF_PATH, F_OK) == 0 &&
		     kernel_has_function(btf, "bpf_get_current_task_btf");
	bool again;
	int err;

	do {
		struct probe *probe = new_probe(backend, typed);

		if (!probe)
			return refuse(refusal, -ENOMEM, "%s", strerror(ENOMEM));
		err = open_backend(probe, options, kernel, btf, refusal);
		if (!err) {
			*result = probe;
			return 0;
		}
		again = typed && probe->refused;
		if (again)
			log_debug("%s: loading again, without typed pointers",
				  backend_names[backend]);
		probe_close(probe);
		typed = false;
	} while (again);
	return err;
}

static void refuse_btf(struct probe_refusal *refusal, const char *path)
{
	char message[80];
	int err = errno;

	kernel_btf_error(path, err, message, sizeof(message));
	refusal->no_btf = true;
	refuse(refusal, -err, "cannot read the kernel's BTF from %s: %s",
	       path ? path : KERNEL_BTF_PATH, message);
}

/* The kernel's BTF, 5 MiB, is held twice by each who reads it, and libbpf does so itself. */
#define LOADING_BYTES (32 * MIB)

static struct btf *load_btf(const char *path, struct probe_refusal *refusal)
{
	struct btf *btf;

	heap_expect(LOADING_BYTES);
	btf = kernel_load_btf(path);

	if (!btf)
		refuse_btf(refusal, path);
	return btf;
}

/* Nor does anybody need the programs' object any more, 1 MiB of this program's file. */
static void free_btf(struct btf *btf)
{
	size_t size;
	const void *object = nsmon_bpf__elf_bytes(&size);

	btf__free(btf);
	heap_give_back();
	heap_drop_file(object, size);
}

int probe_open(struct probe **probe, const struct options *options, const struct kernel *kernel,
	       enum backend backend, struct probe_refusal *refusal)
{
	struct btf *btf = load_btf(options->btf, refusal);
	int err;

	if (!btf)
		return -refusal->error;
	err = open_with_btf(probe, options, kernel, btf, backend, refusal);
	free_btf(btf);
	return err;
}

int probe_open_any(struct probe **probe, const struct options *options, const struct kernel *kernel,
		   struct probe_refusal *refusals)
{
	static const enum backend order[] = { BACKEND_FENTRY, BACKEND_KPROBE, BACKEND_TRACEPOINT };
	struct btf *btf = load_btf(options->btf, &refusals[BACKEND_AUTO]);
	int err = 0;

	if (!btf)
		return -refusals[BACKEND_AUTO].error;
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		err = open_with_btf(probe, options, kernel, btf, order[i], &refusals[order[i]]);
		if (!err)
			break;
		log_debug("%s: %s", backend_names[order[i]], refusals[order[i]].reason);
	}
	free_btf(btf);
	return err;
}

static int open_iterating(struct probe *probe, const struct kernel *kernel, const struct btf *btf,
			  struct probe_refusal *refusal)
{
	const struct options everything = { .events = 0, .buffer = (size_t)getpagesize() };
	int err;

	probe->skel = open_skeleton(probe, btf);
	if (!probe->skel)
		return refuse(refusal, -errno, "%s", strerror(errno));
	err = find_places(probe->skel, kernel, btf, refusal);
	if (err)
		return err;
	configure(probe->skel, &everything, kernel);
	bpf_program__set_autoload(probe->skel->progs.read_view, true);
	bpf_program__set_autoload(probe->skel->progs.snapshot, true);
	err = load_skeleton(probe);
	if (err)
		return refuse(refusal, err, "%s", load_error(err, probe->backend));
	err = read_view(probe, refusal);
	return err ? err : attach_iterator(probe, refusal);
}

int probe_open_iterating(struct probe **result, const struct kernel *kernel,
			 struct probe_refusal *refusal)
{
	struct probe *probe;
	struct btf *btf;
	int err;

	if (access(KERNEL_BTF_PATH, R_OK))
		return refuse(refusal, -ENOENT,
			      "task iterators need the kernel's own BTF in %s, which is not there",
			      KERNEL_BTF_PATH);
	btf = load_btf(NULL, refusal);
	if (!btf)
		return -refusal->error;
	probe = new_probe(BACKEND_AUTO, false);
	err = probe ? open_iterating(probe, kernel, btf, refusal)
		    : refuse(refusal, -ENOMEM, "%s", strerror(ENOMEM));
	free_btf(btf);
	if (err)
		probe_close(probe);
	else
		*result = probe;
	return err;
}

void probe_detach(struct probe *probe)
{
	size_t attached = probe->link_count;

	for (size_t i = 0; i < attached; i++)
		bpf_link__destroy(probe->links[i]);
	probe->link_count = 0;
	bpf_link__destroy(probe->iterator);
	probe->iterator = NULL;
	/* A program may still be running: this waits for an RCU grace period. */
	if (attached)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

void probe_close(struct probe *probe)
{
	if (!probe)
		return;
	probe_detach(probe);
	ring_free(probe->ring);
	if (probe->excerpt_fd >= 0)
		close(probe->excerpt_fd);
	nsmon_bpf__destroy(probe->skel);
	free(probe);
}

enum backend probe_backend(const struct probe *probe)
{
	return probe->backend;
}

int64_t probe_boot_offset_ns(const struct probe *probe)
{
	return probe->boot_offset_ns;
}

const struct nsmon_ns_set *probe_host(const struct probe *probe)
{
	return &probe->skel->bss->view_host;
}

void probe_admit_cgroup(struct probe *probe, uint64_t id, bool admit)
{
	int fd = bpf_map__fd(probe->skel->maps.wanted_cgroups);
	const __u8 wanted = NSMON_CGROUP_WANTED;

	if (!admit)
		bpf_map_delete_elem(fd, &id);
	else if (bpf_map_update_elem(fd, &id, &wanted, BPF_ANY))
		log_error("too many cgroups to follow them all: %s", strerror(errno));
}

int probe_event_fd(const struct probe *probe)
{
	return bpf_map__fd(probe->skel->maps.events);
}

int probe_read(struct probe *probe, ring_record_fn function, void *context, int max)
{
	return ring_read(probe->ring, function, context, max);
}

int probe_drain(struct probe *probe, ring_record_fn function, void *context, int max)
{
	return ring_drain(probe->ring, function, context, max);
}

uint64_t probe_ring_size(const struct probe *probe)
{
	return bpf_map__max_entries(probe->skel->maps.events);
}

void probe_rest(struct probe *probe)
{
	ring_rest(probe->ring);
}

uint64_t probe_ring_waiting(const struct probe *probe)
{
	return ring_waiting(probe->ring);
}

void probe_arm(struct probe *probe, enum nsmon_armed armed)
{
	__atomic_store_n(&probe->skel->bss->armed, armed, __ATOMIC_SEQ_CST);
}

const char *probe_limit(const struct probe *probe)
{
	if (probe->blind)
		return "a kernel before 6.7 that preempts itself may skip a probe, while another "
		       "task is inside bpf(2) on that processor, and does not count it: what is "
		       "missing then is not told as lost";
	if (probe->may_be_late)
		return "this kernel serves at once no more calls of unshare and setns than it has "
		       "processors; a change that it misses is told before whatever the task "
		       "does next";
	return NULL;
}

bool probe_has_iterator(const struct probe *probe)
{
	return probe->iterator;
}

int probe_open_iterator(const struct probe *probe)
{
	int fd = bpf_iter_create(bpf_link__fd(probe->iterator));

	return fd < 0 ? -errno : fd;
}

bool probe_is_usable(const struct probe *probe)
{
	const __u64 nobody = 0;
	__u8 wanted;
	int fd;

	if (bpf_map_lookup_elem(bpf_map__fd(probe->skel->maps.wanted_cgroups), &nobody, &wanted) &&
	    errno == EPERM)
		return false;
	fd = probe->iterator ? bpf_iter_create(bpf_link__fd(probe->iterator)) : -1;
	if (fd < 0)
		return !probe->iterator;
	close(fd);
	return true;
}

void probe_want_whole(struct probe *probe, bool whole)
{
	__atomic_store_n(&probe->skel->data->whole, whole, __ATOMIC_SEQ_CST);
}

void probe_want_everyone(struct probe *probe, bool everyone)
{
	__atomic_store_n(&probe->skel->data->everyone, everyone, __ATOMIC_SEQ_CST);
}

void probe_expect_child(struct probe *probe, pid_t parent)
{
	__atomic_store_n(&probe->skel->bss->spawner, (__u32)parent, __ATOMIC_SEQ_CST);
}

void probe_follow(struct probe *probe, pid_t pid)
{
	const __u32 number = (__u32)pid, before = NSMON_FOLLOWED_BEFORE;

	if (bpf_map_update_elem(bpf_map__fd(probe->skel->maps.followed), &number, &before,
				BPF_NOEXIST) == 0)
		__atomic_fetch_add(&probe->skel->bss->followed_count, 1, __ATOMIC_SEQ_CST);
}

void probe_unfollow_ended(struct probe *probe, bool (*lives)(pid_t pid))
{
	int fd = bpf_map__fd(probe->skel->maps.followed);
	__u32 pid, next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (more) {
		pid = next;
		more = bpf_map_get_next_key(fd, &pid, &next) == 0;
		if (!lives((pid_t)pid) && bpf_map_delete_elem(fd, &pid) == 0)
			__atomic_fetch_sub(&probe->skel->bss->followed_count, 1, __ATOMIC_SEQ_CST);
	}
}

uint64_t probe_followed(const struct probe *probe)
{
	return __atomic_load_n(&probe->skel->bss->followed_count, __ATOMIC_SEQ_CST);
}

void probe_lost(const struct probe *probe, uint64_t lost[NSMON_KINDS])
{
	for (int i = 0; i < NSMON_KINDS; i++)
		lost[i] = __atomic_load_n(&probe->skel->bss->lost[i], __ATOMIC_RELAXED);
}

static enum nsmon_kind kind_of(const struct nsmon_bpf *skel, const struct bpf_program *program)
{
	if (program == skel->progs.on_fork || program == skel->progs.gate_fork)
		return NSMON_FORK;
	if (program == skel->progs.on_exec || program == skel->progs.gate_exec)
		return NSMON_EXEC;
	if (program == skel->progs.on_cgroup_attach)
		return NSMON_CGROUP;
	if (program == skel->progs.on_exit || program == skel->progs.gate_exit)
		return NSMON_EXIT;
	return NSMON_NS;
}

/* Runs that the kernel skipped; UINT64_MAX for a program that is not loaded. */
static uint64_t misses_of(const struct bpf_program *program)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = program ? bpf_program__fd(program) : -1;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return UINT64_MAX;
	return info.recursion_misses;
}

/*
 * The net under the others runs at the end of every task, too, and has no copies: what it
 * missed says nothing. Nor does what is missed of a call's work that its end tells.
 */
static bool is_net(const struct nsmon_bpf *skel, const struct bpf_program *program)
{
	return program == skel->progs.fentry_switch || program == skel->progs.fentry_done ||
	       program == skel->progs.kprobe_switch || program == skel->progs.kprobe_done;
}

/* What the one that sees the work of a call done missed, if the program is one at such a call's end. */
static uint64_t misses_of_done(const struct probe *probe, const struct bpf_program *program)
{
	const struct nsmon_bpf *skel = probe->skel;

	return probe->sees_done && (program == skel->progs.fexit_unshare ||
				    program == skel->progs.fexit_setns ||
				    program == skel->progs.fexit_setns32)
		       ? misses_of(skel->progs.fentry_done)
		       : UINT64_MAX;
}

/* Runs for every system call: what all copies missed is hardly ever one of ours. */
static bool is_seldom_ours(const struct nsmon_bpf *skel, const struct bpf_program *program)
{
	return program == skel->progs.gate_sys_enter || program == skel->progs.gate_sys_exit;
}

/* An event is missed where every copy was skipped: at most as often as the one with the fewest. */
static void read_missed(const struct probe *probe, uint64_t missed[NSMON_KINDS])
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, probe->skel->obj) {
		uint64_t fewest = misses_of(program);
		const char *base = bpf_program__name(program);

		if (fewest == UINT64_MAX || strstr(base, "_2") || strstr(base, "_3") ||
		    is_net(probe->skel, program))
			continue;
		for (int copy = 2; copy <= COPIES; copy++) {
			char name[64];
			uint64_t misses;

			snprintf(name, sizeof(name), "%s_%d", base, copy);
			misses =
				misses_of(bpf_object__find_program_by_name(probe->skel->obj, name));
			if (misses < fewest)
				fewest = misses;
			if (misses != UINT64_MAX && is_seldom_ours(probe->skel, program))
				fewest = 0;
		}
		if (misses_of_done(probe, program) < fewest)
			fewest = misses_of_done(probe, program);
		missed[kind_of(probe->skel, program)] += fewest;
	}
}

bool probe_may_miss(const struct probe *probe)
{
	return probe->preempts;
}

void probe_missed(const struct probe *probe, uint64_t missed[NSMON_KINDS])
{
	memset(missed, 0, NSMON_KINDS * sizeof(*missed));
	read_missed(probe, missed);
}

void probe_adopt(struct probe *probe, bool missed)
{
	__atomic_store_n(&probe->skel->bss->adopting, missed, __ATOMIC_SEQ_CST);
}

int probe_statistics(const struct probe *probe, struct probe_statistics *statistics)
{
	int cpus = libbpf_num_possible_cpus();
	struct nsmon_counters *counters;
	__u32 zero = 0;
	int err = 0;

	*statistics = (struct probe_statistics){ 0 };
	if (cpus < 0)
		return cpus;
	counters = calloc((size_t)cpus, sizeof(*counters));
	if (!counters)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(probe->skel->maps.counters), &zero, counters))
		err = -errno;
	for (int cpu = 0; !err && cpu < cpus; cpu++) {
		for (int i = 0; i < NSMON_KINDS; i++) {
			statistics->seen[i] += counters[cpu].seen[i];
			statistics->lost[i] += counters[cpu].lost[i];
		}
	}
	free(counters);
	read_missed(probe, statistics->missed);
	statistics->has_switches = probe->backend != BACKEND_TRACEPOINT;
	statistics->switches = probe->skel->bss->switches;
	statistics->switches_known = probe->skel->bss->switches_known;
	return err;
}
