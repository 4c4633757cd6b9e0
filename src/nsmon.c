// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* main: the order of the steps, signals, the poll loop, exit codes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "command.h"
#include "format.h"
#include "journal.h"
#include "kernel.h"
#include "list.h"
#include "log.h"
#include "metrics.h"
#include "options.h"
#include "output.h"
#include "preflight.h"
#include "privileges.h"
#include "probe.h"
#include "schema.h"
#include "service.h"
#include "snapshot.h"
#include "stream.h"
#include "version.h"

/* A record is never older than this when it is written to a pipe or file. */
#define BATCH_MS 80

/* The same for a terminal, where somebody looks on. */
#define TERMINAL_BATCH_MS 5

/* The first sleep without a record, and the last one that ends by itself. */
#define QUIET_MS 50
#define QUIET_MS_MAX 5000

/* Given processes that are watched by a descriptor each. */
#define WATCHED_MAX 64

/* Records that are read before signals and the output get their turn. */
#define READ_MAX 16384

/* How late a program may run after it was detached, in microseconds. */
#define LATE_US 10000

/* How long to wait for the exit status of a command that got our signal. */
#define COMMAND_END_MS 500

struct nsmon {
	struct options options;
	struct kernel kernel;
	struct probe *probe;
	struct output *output;
	struct stream stream;
	struct cgroup_filter cgroup_filter;
	struct cgroups *cgroups;
	uint64_t cgroups_due_ns; /* of the next look at the files of runtimes; 0: none */
	uint64_t cgroups_walked_ns;
	struct snapshot snapshot;
	struct run run;
	struct command command;
	struct service service;
	struct metrics *metrics; /* NULL: none are wanted */
	uint64_t ring_waiting; /* the most since metrics were written */
	uint64_t misses_ns; /* when it was last asked what the kernel skipped */
	uint64_t births_missed; /* of processes and threads, by then */
	int epoll_fd;
	size_t watched; /* of the given processes, whose end wakes the loop */
};

/* What the signal handlers tell the loop. */
static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t stop_from_terminal;
static volatile sig_atomic_t reopen_wanted;
static int wake_fd = -1;

/* Of the alarms that come during a write; -1: none does. */
static volatile sig_atomic_t alarm_period_ms = -1;

static void wake_loop(void)
{
	uint64_t one = 1;
	int saved = errno;

	if (write(wake_fd, &one, sizeof(one)) < 0) {
		/* It is awake: the counter is full. */
	}
	errno = saved;
}

static void on_stop(int signal, siginfo_t *info, void *context)
{
	(void)context;
	stop_signal = signal;
	stop_from_terminal = info->si_code == SI_KERNEL;
	alarm(1); /* a write that began just now is interrupted, too */
	wake_loop();
}

/* At the end again and again: the first may come between the look at stop_signal and a write. */
static void on_alarm(int signal)
{
	(void)signal;
	if (stop_signal)
		alarm(1);
}

static void on_hangup(int signal)
{
	(void)signal;
	reopen_wanted = 1;
	if (alarm_period_ms < 0)
		alarm(1); /* as above */
	wake_loop();
}

static void on_child(int signal)
{
	(void)signal;
	wake_loop();
}

/*
 * Without SA_RESTART: a signal ends a write that waits for a slow reader. SIGHUP
 * without a file to reopen means that the terminal is gone.
 */
static int install_signals(bool reopens)
{
	struct sigaction stop = { .sa_sigaction = on_stop, .sa_flags = SA_SIGINFO };
	struct sigaction hangup = { .sa_handler = on_hangup };
	struct sigaction child = { .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP };
	struct sigaction alarm_action = { .sa_handler = on_alarm };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction before;
	sigset_t ours;

	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return -errno;
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, NULL, &before);
	if (reopens)
		sigaction(SIGHUP, &hangup, NULL);
	else if (before.sa_handler != SIG_IGN) /* as nohup(1) leaves it */
		sigaction(SIGHUP, &stop, NULL);
	sigaction(SIGCHLD, &child, NULL);
	sigaction(SIGALRM, &alarm_action, NULL);
	sigaction(SIGPIPE, &ignore, NULL); /* both are errors of write() then */
	sigaction(SIGXFSZ, &ignore, NULL);
	sigemptyset(&ours); /* whoever started us may have blocked them */
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &ours, NULL);
	return 0;
}

/*
 * Descriptors 0 to 2 that are closed would be given to maps and programs.
 * COMMAND finds them closed as they were.
 */
static bool standard_descriptors_are_open(const struct options *options)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", (fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_CLOEXEC) != fd)
			return false;
		if (fd == STDOUT_FILENO && !options->write_path && !options->journal) {
			log_error("standard output is closed: redirect it, or use --write=FILE");
			return false;
		}
	}
	return true;
}

static void say_why_not(const struct options *options, const struct probe_refusal *refusals)
{
	char text[1024];
	size_t len = 0;

	if (refusals[options->backend].no_btf) {
		log_error("%s; the kernel needs CONFIG_DEBUG_INFO_BTF, and --btf=FILE takes a file "
			  "with this kernel's BTF",
			  refusals[options->backend].reason);
		return;
	}
	for (enum backend b = BACKEND_AUTO; b <= BACKEND_TRACEPOINT && len < sizeof(text); b++) {
		if (!refusals[b].error)
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s%s", len ? "; " : "",
					b == BACKEND_AUTO ? "" : backend_names[b],
					b == BACKEND_AUTO ? "" : ": ", refusals[b].reason);
	}
	log_error("%s; `nsmon check` shows what this kernel offers%s", text,
		  options->backend == BACKEND_AUTO ? "" : ", --backend=auto takes what works");
}

/* One line names the backend where it is not the best one, why, and what it costs. */
static void say_backend(const struct probe *probe, const struct probe_refusal *refusals)
{
	enum backend backend = probe_backend(probe);

	if (backend == BACKEND_KPROBE)
		log_note("using backend kprobe, since fentry is not to be had: %s",
			 refusals[BACKEND_FENTRY].reason);
	else if (backend == BACKEND_TRACEPOINT)
		log_note("using backend tracepoint, which slows every system call of this machine "
			 "a little; fentry: %s; kprobe: %s",
			 refusals[BACKEND_FENTRY].reason, refusals[BACKEND_KPROBE].reason);
}

static int open_probe(struct nsmon *nsmon)
{
	struct probe_refusal refusals[BACKENDS] = { 0 };
	const struct options *options = &nsmon->options;
	int err;

	if (options->backend == BACKEND_AUTO)
		err = probe_open_any(&nsmon->probe, options, &nsmon->kernel, refusals);
	else
		err = probe_open(&nsmon->probe, options, &nsmon->kernel, options->backend,
				 &refusals[options->backend]);
	if (err) {
		say_why_not(options, refusals);
		return err;
	}
	if (options->backend == BACKEND_AUTO)
		say_backend(nsmon->probe, refusals);
	if (probe_limit(nsmon->probe))
		log_note("backend %s: %s", backend_names[probe_backend(nsmon->probe)],
			 probe_limit(nsmon->probe));
	return 0;
}

static int on_record(void *context, void *data, size_t size)
{
	return stream_record(context, data, size);
}

static int wait_on(struct nsmon *nsmon, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(nsmon->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_epoll(struct nsmon *nsmon)
{
	int err;

	nsmon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (nsmon->epoll_fd < 0)
		return -errno;
	/* Edge-triggered: data that is there already is not to be woken for. */
	err = wait_on(nsmon, probe_event_fd(nsmon->probe), EPOLLIN | EPOLLET);
	if (!err)
		err = wait_on(nsmon, wake_fd, EPOLLIN);
	/* The end of a pipe's reader or of a terminal; a file has none (EPERM). */
	if (!err)
		wait_on(nsmon, output_fd(nsmon->output), 0);
	return err;
}

/* What cannot be watched is looked at again and again instead: may_end_unseen(). */
static void watch_given(struct nsmon *nsmon)
{
	for (size_t i = 0; i < nsmon->options.pid_count && i < WATCHED_MAX; i++) {
		int fd = (int)syscall(SYS_pidfd_open, nsmon->options.pids[i], 0);

		if (fd < 0)
			continue;
		if (wait_on(nsmon, fd, EPOLLIN) == 0)
			nsmon->watched++;
		else
			close(fd);
	}
}

/* Returns 0, or -EPIPE when the reader of the output is gone. */
static int sleep_until_woken(struct nsmon *nsmon, int timeout_ms)
{
	struct epoll_event events[4];
	uint64_t count;
	int n = epoll_wait(nsmon->epoll_fd, events, 4, timeout_ms);

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd;

		if (fd == wake_fd) {
			if (read(wake_fd, &count, sizeof(count)) < 0)
				continue;
		} else if (fd == output_fd(nsmon->output)) {
			if (events[i].events & (EPOLLERR | EPOLLHUP))
				return -EPIPE;
		} else if (fd != probe_event_fd(nsmon->probe)) { /* a process has ended */
			close(fd);
			nsmon->watched--;
		}
	}
	return 0;
}

static void note_waiting(struct nsmon *nsmon)
{
	uint64_t waiting = nsmon->metrics ? probe_ring_waiting(nsmon->probe) : 0;

	if (waiting > nsmon->ring_waiting)
		nsmon->ring_waiting = waiting;
}

static void write_metrics(struct nsmon *nsmon)
{
	const struct totals totals = stream_totals(&nsmon->stream);
	const struct metrics_values values = {
		.backend = nsmon->run.backend,
		.totals = &totals,
		.output_failing = output_is_failing(nsmon->output),
		.repairs = nsmon->snapshot.repairs,
		.ring_size = probe_ring_size(nsmon->probe),
		.ring_waiting = nsmon->ring_waiting,
		.tasks = state_tasks(nsmon->stream.state),
		.containers = cgroups_count_containers(nsmon->cgroups),
	};

	metrics_write(nsmon->metrics, &values);
	nsmon->ring_waiting = 0;
}

/* Of processes that are followed children are, too, although their birth was missed. */
static void take_missed_births(struct nsmon *nsmon, uint64_t births)
{
	if (births == nsmon->births_missed)
		return;
	nsmon->births_missed = births;
	probe_adopt(nsmon->probe, true);
}

/* A picture for which it was so: the next missed birth is another one's. */
static int repair(struct nsmon *nsmon)
{
	uint64_t births = nsmon->births_missed;
	int err = snapshot_repair(&nsmon->snapshot);

	if (births == nsmon->births_missed)
		probe_adopt(nsmon->probe, false);
	return err;
}

/* What nobody asked for was run to see changes of namespaces. */
static void count_as_asked(const struct nsmon *nsmon, uint64_t missed[NSMON_KINDS])
{
	for (int i = 0; i < NSMON_KINDS; i++) {
		if (!is_counted(i) || nsmon->options.events & 1U << i)
			continue;
		missed[NSMON_NS] += missed[i];
		missed[i] = 0;
	}
}

/* How often to ask what the kernel skipped; and how often where a record is of what nobody knows of. */
#define MISSES_NS ((uint64_t)1000000000)
#define MISSES_NS_MIN ((uint64_t)10000000)

/* What the kernel skipped is lost as well, without a record that says so. */
static int tell_misses(struct nsmon *nsmon, uint64_t pause_ns)
{
	uint64_t now = stream_now_ns(&nsmon->stream);
	uint64_t missed[NSMON_KINDS];

	if (!probe_may_miss(nsmon->probe) || now - nsmon->misses_ns < pause_ns)
		return 0;
	nsmon->misses_ns = now;
	probe_missed(nsmon->probe, missed);
	take_missed_births(nsmon, missed[NSMON_FORK]);
	count_as_asked(nsmon, missed);
	return stream_kernel_missed(&nsmon->stream, missed);
}

static int look_for_misses(void *context)
{
	return tell_misses(context, MISSES_NS_MIN);
}

/* Reads what waits and writes it. Returns how many records, or a negative errno. */
static int read_batch(struct nsmon *nsmon)
{
	uint64_t lost[NSMON_KINDS];
	int n, err;

	note_waiting(nsmon);
	stream_begin_batch(&nsmon->stream);
	n = probe_read(nsmon->probe, on_record, &nsmon->stream, READ_MAX);
	if (n < 0)
		return n;
	if (n < READ_MAX) { /* nobody after the gap will tell of it */
		probe_lost(nsmon->probe, lost);
		err = stream_kernel_lost(&nsmon->stream, lost);
		if (!err)
			err = tell_misses(nsmon, MISSES_NS);
		if (err)
			return err;
	}
	err = stream_flush(&nsmon->stream);
	return err ? err : n;
}

/* The least time between two walks of the file system of cgroups. */
#define WALK_PAUSE_NS 1000000000ULL

/* What is not known of cgroups is found out between batches. Returns milliseconds to the next time; -1: never. */
static int look_at_cgroups(struct nsmon *nsmon)
{
	uint64_t now = stream_now_ns(&nsmon->stream);
	uint64_t due = nsmon->cgroups_due_ns;
	bool walked = false;

	cgroups_settle(nsmon->cgroups, now);
	nsmon->stream.cgroups_doubt |= cgroups_take_doubt(nsmon->cgroups);
	if (nsmon->stream.cgroups_doubt && now - nsmon->cgroups_walked_ns >= WALK_PAUSE_NS) {
		nsmon->stream.cgroups_doubt = false;
		nsmon->cgroups_walked_ns = now;
		cgroups_look(nsmon->cgroups, &nsmon->kernel.hierarchy, now);
		due = now;
		walked = true;
	}
	if ((due && due <= now) || nsmon->stream.cgroups_changed)
		due = cgroups_resolve(nsmon->cgroups, now);
	nsmon->stream.cgroups_changed = false;
	nsmon->cgroups_due_ns = due;
	if (nsmon->stream.cgroups_doubt && (!due || nsmon->cgroups_walked_ns + WALK_PAUSE_NS < due))
		due = nsmon->cgroups_walked_ns + WALK_PAUSE_NS;
	if (walked) /* to settle what it found, when what came before it is read */
		return 0;
	if (!due)
		return -1;
	return due <= now ? 0 : (int)((due - now) / 1000000) + 1;
}

static void reopen(struct nsmon *nsmon)
{
	reopen_wanted = 0;
	service_reloading(&nsmon->service);
	output_reopen(nsmon->output);
	service_reloaded(&nsmon->service);
}

static int sooner(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* The output's reader does not read: what others want to hear of nsmon, and to do about it, goes on. */
static void while_writing_waits(struct nsmon *nsmon)
{
	note_waiting(nsmon);
	if (metrics_due_ms(nsmon->metrics) == 0)
		write_metrics(nsmon);
	service_turn(&nsmon->service, &nsmon->stream.totals, output_is_failing(nsmon->output));
	if (reopen_wanted)
		reopen(nsmon);
}

/* Alarms again and again; 0: no more, but at the end. */
static void set_timer(int period_ms)
{
	const struct timeval tv = { period_ms / 1000, period_ms % 1000 * 1000L };
	const struct itimerval timer = { .it_interval = tv, .it_value = tv };

	setitimer(ITIMER_REAL, &timer, NULL);
	if (!period_ms && stop_signal)
		alarm(1);
}

/* Where somebody wants to hear of nsmon a signal now and then ends a write that waits. */
static void on_write(void *context, enum stream_write what)
{
	struct nsmon *nsmon = context;

	if (what == STREAM_WRITE_WAITS)
		while_writing_waits(nsmon);
	else if (alarm_period_ms > 0)
		set_timer(what == STREAM_WRITE_BEGINS && !stop_signal ? alarm_period_ms : 0);
}

/* The command and its descendants, or the given processes and theirs. */
static bool is_following(const struct nsmon *nsmon)
{
	return nsmon->options.command || nsmon->options.pid_count;
}

static bool nobody_is_left(const struct nsmon *nsmon)
{
	return is_following(nsmon) && probe_followed(nsmon->probe) == 0;
}

/*
 * The kernel may have skipped our program at the end of a process. That of a given
 * one wakes the loop, and so does that of the command; those of their descendants do not.
 */
static bool may_end_unseen(const struct nsmon *nsmon)
{
	size_t watched = nsmon->watched;

	if (nsmon->command.pid && !nsmon->command.ended)
		watched++;
	return is_following(nsmon) && probe_followed(nsmon->probe) > watched;
}

/*
 * While records come, they are collected for a batch; only a filling ring
 * buffer wakes the loop before. After a batch without any, the next record
 * does. The longer nothing comes, the longer the sleep, and without an end at
 * last. Processes that are followed are looked at after each sleep.
 */
static int run_loop(struct nsmon *nsmon)
{
	const int batch_ms = output_is_terminal(nsmon->output) ? TERMINAL_BATCH_MS : BATCH_MS;
	int quiet_ms = 0; /* 0: records came */

	for (;;) {
		bool last = stop_signal || nobody_is_left(nsmon);
		int timeout_ms = batch_ms;
		int due_ms;
		int n;

		if (reopen_wanted)
			reopen(nsmon);
		command_reap(&nsmon->command, 0);
		/* Armed before looking: what comes after the look wakes us. */
		if (quiet_ms)
			probe_arm(nsmon->probe, NSMON_ARMED_ANY);
		n = read_batch(nsmon);
		if (n < 0)
			return n;
		due_ms = snapshot_due_ms(&nsmon->snapshot);
		if (due_ms == 0 || (last && nsmon->snapshot.loud)) {
			int err = repair(nsmon);

			if (err || last)
				return err;
			due_ms = snapshot_due_ms(&nsmon->snapshot);
		}
		if (last)
			return 0;
		if (metrics_due_ms(nsmon->metrics) == 0)
			write_metrics(nsmon);
		if (n > 0) {
			quiet_ms = 0;
			probe_arm(nsmon->probe, NSMON_ARMED_FULL);
		} else if (!quiet_ms) {
			quiet_ms = QUIET_MS;
			continue;
		} else {
			if (is_following(nsmon))
				probe_unfollow_ended(nsmon->probe, preflight_process_lives);
			probe_rest(nsmon->probe);
			timeout_ms = quiet_ms;
			if (quiet_ms < QUIET_MS_MAX) {
				quiet_ms *= 10;
			} else if (!may_end_unseen(nsmon)) {
				timeout_ms = -1;
				n = tell_misses(nsmon, 0);
				if (n)
					return n;
				due_ms = snapshot_due_ms(&nsmon->snapshot);
			}
		}
		service_turn(&nsmon->service, &nsmon->stream.totals,
			     output_is_failing(nsmon->output));
		timeout_ms = sooner(timeout_ms, due_ms);
		timeout_ms = sooner(timeout_ms, service_due_ms(&nsmon->service));
		timeout_ms = sooner(timeout_ms, metrics_due_ms(nsmon->metrics));
		if (n < READ_MAX)
			timeout_ms = sooner(timeout_ms, look_at_cgroups(nsmon));
		if (n < READ_MAX && !stop_signal && !reopen_wanted && !nobody_is_left(nsmon))
			n = sleep_until_woken(nsmon, timeout_ms);
		probe_arm(nsmon->probe, NSMON_ARMED_NO);
		if (n < 0)
			return n;
	}
}

/*
 * What the kernel saw is what it delivered plus what it lost, or we say so.
 * Runs that it skipped saw nothing: they are lost beside that.
 */
static int prove(struct nsmon *nsmon)
{
	struct stream *stream = &nsmon->stream;
	struct probe_statistics s;

	if (probe_statistics(nsmon->probe, &s))
		return 0;
	stream->totals.has_switches = s.has_switches && (nsmon->options.events & 1U << NSMON_NS);
	stream->totals.switches = s.switches;
	stream->totals.switches_known = s.switches_known;
	for (int i = 0; i < NSMON_KINDS; i++) {
		if (!is_counted(i))
			continue;
		log_debug("%s: %llu seen, %llu delivered, %llu lost in the kernel", kind_names[i],
			  (unsigned long long)s.seen[i], (unsigned long long)stream->delivered[i],
			  (unsigned long long)s.lost[i]);
		if (s.seen[i] != stream->delivered[i] + s.lost[i])
			log_error("%s: the kernel saw %llu events, but delivered %llu and counted "
				  "%llu as lost: please report this",
				  kind_names[i], (unsigned long long)s.seen[i],
				  (unsigned long long)stream->delivered[i],
				  (unsigned long long)s.lost[i]);
	}
	if (stream->totals.has_switches)
		log_debug("nsproxy: %llu switches, %llu of them accounted for",
			  (unsigned long long)s.switches, (unsigned long long)s.switches_known);
	if (lost_count(s.missed))
		log_error("the kernel skipped %llu runs of nsmon's programs: as many records may "
			  "be missing",
			  (unsigned long long)lost_count(s.missed));
	count_as_asked(nsmon, s.missed);
	return stream_kernel_missed(stream, s.missed);
}

static void log_totals(const struct stream *stream)
{
	const uint64_t *written = stream->totals.written;

	log_debug("stop: fork=%llu exec=%llu exit=%llu ns=%llu lost=%llu",
		  (unsigned long long)written[NSMON_FORK], (unsigned long long)written[NSMON_EXEC],
		  (unsigned long long)written[NSMON_EXIT], (unsigned long long)written[NSMON_NS],
		  (unsigned long long)stream->totals.lost);
}

/* Drained, flushed, last record written. */
static int finish(struct nsmon *nsmon)
{
	uint64_t lost[NSMON_KINDS], waiting;
	int n;

	probe_detach(nsmon->probe);
	/* A task that was preempted in front of a program runs that now. */
	if (probe_may_miss(nsmon->probe))
		usleep(LATE_US);
	do {
		waiting = probe_ring_waiting(nsmon->probe);
		stream_begin_batch(&nsmon->stream);
		n = probe_drain(nsmon->probe, on_record, &nsmon->stream, READ_MAX);
	} while (n == 0 && probe_ring_waiting(nsmon->probe) < waiting);
	if (n < 0)
		return n;
	probe_lost(nsmon->probe, lost);
	n = stream_kernel_lost(&nsmon->stream, lost);
	if (!n)
		n = prove(nsmon);
	log_totals(&nsmon->stream);
	if (!n)
		n = stream_stop(&nsmon->stream);
	if (nsmon->metrics)
		write_metrics(nsmon);
	return n;
}

/* In the command's process, before its program: the kernel may have skipped its birth. */
static void follow_command(void *context)
{
	const struct nsmon *nsmon = context;

	probe_follow(nsmon->probe, getpid());
}

static int start_command(struct nsmon *nsmon)
{
	char **argv = nsmon->options.command;
	int err;

	if (!argv)
		return 0;
	probe_expect_child(nsmon->probe, getpid());
	if (probe_may_miss(nsmon->probe)) {
		nsmon->command.before_exec = follow_command;
		nsmon->command.context = nsmon;
	}
	err = command_start(&nsmon->command, argv, nsmon->options.user);
	probe_expect_child(nsmon->probe, 0);
	if (err)
		log_error("cannot start a process for %s: %s", argv[0], strerror(-err));
	else if (nsmon->command.exec_error)
		log_error("cannot run %s: %s", argv[0], strerror(nsmon->command.exec_error));
	return err;
}

/*
 * What is attached needs no capability to go on. What is kept, where it was there: to read what
 * runtimes say of containers, and /proc/PID/exe of a program that a repair tells of; to pass a
 * signal on to a command that runs as somebody else; and what this kernel, or the file that is
 * to be opened again, turns out to need.
 */
static void give_up_privileges(struct nsmon *nsmon)
{
	uint64_t kept = PRIVILEGE(CAP_DAC_READ_SEARCH) | PRIVILEGE(CAP_SYS_PTRACE);
	int err;

	if (nsmon->options.command)
		kept |= PRIVILEGE(CAP_KILL);
	err = privileges_try(kept);
	if (nsmon->kernel.may_close_bpf || !probe_is_usable(nsmon->probe))
		kept |= PRIVILEGE(privileges_have(CAP_BPF) ? CAP_BPF : CAP_SYS_ADMIN);
	if (!output_may_reopen(nsmon->output) || !metrics_may_write(nsmon->metrics))
		kept |= PRIVILEGE(CAP_DAC_OVERRIDE);
	if (!err)
		err = privileges_give_up(kept);
	if (err)
		log_error("cannot give up capabilities that are not needed any more: %s",
			  strerror(-err));
}

/* A signal from the keyboard has reached the command already. */
static void stop_command(struct nsmon *nsmon)
{
	if (nsmon->command.pid && !nsmon->command.ended && !stop_from_terminal)
		kill(nsmon->command.pid, stop_signal);
	command_reap(&nsmon->command, COMMAND_END_MS);
}

static int exit_status(const struct nsmon *nsmon, int err)
{
	const struct stream *stream = &nsmon->stream;

	if (err == -EPIPE)
		return 0;
	if (err) {
		log_error("had to stop: %s", strerror(-err));
		return 1;
	}
	if (stream->gave_up || output_is_failing(nsmon->output)) {
		const char *what = stream->gave_up ? "the output's reader does not read"
						   : "the output cannot be written";
		uint64_t lost = lost_count(stream->untold);

		if (lost)
			log_error("%s: %llu records could not be written", what,
				  (unsigned long long)lost);
		else
			log_error("%s: the last lines are missing", what);
		return 1;
	}
	if (!nsmon->command.pid)
		return 0;
	if (nsmon->command.ended)
		return command_exit_status(&nsmon->command);
	/* As a shell says it of what a signal ended before its time. */
	log_note("%s (process %d) still runs, without being traced", nsmon->options.command[0],
		 (int)nsmon->command.pid);
	return 128 + stop_signal;
}

static void read_cgroups(struct nsmon *nsmon)
{
	const struct hierarchy *hierarchy = &nsmon->kernel.hierarchy;
	int err = cgroups_look(nsmon->cgroups, hierarchy, stream_now_ns(&nsmon->stream));

	nsmon->cgroups_walked_ns = stream_now_ns(&nsmon->stream);
	nsmon->cgroups_due_ns = cgroups_resolve(nsmon->cgroups, nsmon->cgroups_walked_ns);
	if (err == -ENOENT && !hierarchy->path[0])
		log_note("no hierarchy of cgroups is mounted here: of those that exist, path and "
			 "container are not known");
	else if (err)
		log_note("cannot read %s: %s: of cgroups that exist, path and container are not "
			 "known",
			 hierarchy->path, strerror(-err));
}

/* A prefix that means two containers that run is a mistake; one that means none may be of a later one. */
static bool is_one_container(const struct nsmon *nsmon)
{
	const struct container *meant[2];
	size_t n = cgroups_meant(nsmon->cgroups, meant);

	if (n < 2)
		return true;
	log_error("--container '%s': it means %zu containers, %.64s and %.64s among them; it takes "
		  "as much of an id as only one has",
		  nsmon->options.container, n, meant[0]->id, meant[1]->id);
	return false;
}

static void on_verdict(void *context, uint64_t id, bool wanted)
{
	const struct nsmon *nsmon = context;

	probe_admit_cgroup(nsmon->probe, id, wanted);
}

static int open_stream(struct nsmon *nsmon, const struct formatter *formatter)
{
	int err;

	nsmon->cgroup_filter = (struct cgroup_filter){
		.path = hierarchy_strip(&nsmon->kernel.hierarchy, nsmon->options.cgroup),
		.container = nsmon->options.container,
	};
	nsmon->cgroups = cgroups_new(&nsmon->cgroup_filter, "", on_verdict, nsmon);
	if (!nsmon->cgroups)
		return -ENOMEM;
	err = stream_init(&nsmon->stream, formatter, &nsmon->run, nsmon->output, nsmon->cgroups,
			  &stop_signal, probe_boot_offset_ns(nsmon->probe));
	if (!err)
		state_set_host(nsmon->stream.state, probe_host(nsmon->probe));
	return err;
}

static int trace_events(struct nsmon *nsmon)
{
	int err;

	if (!nsmon->options.command) /* which has its own from nsmon */
		give_up_privileges(nsmon);
	/* Before the picture, whose rows have cgroups; after attaching, so that none falls between. */
	read_cgroups(nsmon);
	if (nsmon->options.container && !is_one_container(nsmon))
		return PREFLIGHT_WRONG_USAGE;
	err = stream_start(&nsmon->stream);
	if (!err)
		err = snapshot_first(&nsmon->snapshot, nsmon->probe, &nsmon->stream, &stop_signal,
				     nsmon->options.snapshot && !is_following(nsmon));
	if (nsmon->options.pid_count) /* one may have ended before anything was attached */
		probe_unfollow_ended(nsmon->probe, preflight_process_lives);
	if (!err)
		err = start_command(nsmon);
	if (nsmon->options.command)
		give_up_privileges(nsmon);
	if (!err) {
		service_ready(&nsmon->service);
		err = run_loop(nsmon);
	}
	service_stopping(&nsmon->service);
	if (stop_signal)
		stop_command(nsmon);
	if (!err)
		err = finish(nsmon);
	/* The kernel has told of its end, but it may take long to free its memory. */
	if (!err && !stop_signal) {
		command_wait(&nsmon->command, &stop_signal);
		if (stop_signal)
			stop_command(nsmon);
	}
	return exit_status(nsmon, err);
}

static bool want_colour(const struct nsmon *nsmon)
{
	const char *no_color = getenv("NO_COLOR");

	return nsmon->options.output == OUTPUT_TEXT && !nsmon->options.journal &&
	       output_is_terminal(nsmon->output) && !(no_color && *no_color);
}

/* Returns 0 or an exit status. */
static int open_output(struct nsmon *nsmon)
{
	const struct options *options = &nsmon->options;
	int err;

	if (!options->journal) {
		if (options->write_path && output_lacks_reader(options->write_path))
			log_note("--write '%s': it is a named pipe that nobody reads; waiting for "
				 "its reader",
				 options->write_path);
		err = output_open(&nsmon->output, options->write_path);
		if (!err)
			return 0;
		log_error("--write '%s': %s; it takes a file that can be appended to",
			  options->write_path, output_open_error(options->write_path, err));
		return PREFLIGHT_WRONG_USAGE;
	}
	if (options->output_given)
		log_note("--output selects nothing with --journal: the records are fields there");
	err = journal_check();
	if (err == -ENOSYS)
		log_error("--journal: this nsmon was built without libsystemd; "
			  "`nsmon | systemd-cat` sends the lines of text");
	else if (err)
		log_error("--journal: no journal listens at %s: %s; is systemd-journald running?",
			  JOURNAL_SOCKET, strerror(-err));
	else if (output_open_journal(&nsmon->output) == 0)
		return 0;
	/* A journal that does not run now may run when a service manager tries again. */
	return err == -ENOSYS ? PREFLIGHT_WRONG_USAGE : 1;
}

/* Is there no reader whose terminal may go away? Then SIGHUP asks to open the file again. */
static bool is_for_nobody(const struct nsmon *nsmon)
{
	const struct options *options = &nsmon->options;

	return options->write_path || options->journal || service_is_managed(&nsmon->service);
}

static int run_trace(struct nsmon *nsmon)
{
	static const struct formatter *const formatters[OUTPUT_FORMATS] = {
		[OUTPUT_TEXT] = &text_formatter,
		[OUTPUT_JSON] = &json_formatter,
		[OUTPUT_ECS] = &ecs_formatter,
	};
	int status = 1;
	int err;

	command_prepare(&nsmon->command);
	service_open(&nsmon->service);
	err = preflight(&nsmon->options, &nsmon->kernel);
	if (err)
		return err;
	if (nsmon->options.metrics &&
	    metrics_open(&nsmon->metrics, nsmon->options.metrics, nsmon->options.write_path))
		return PREFLIGHT_WRONG_USAGE;
	status = open_output(nsmon);
	if (status)
		goto out;
	status = 1;
	if (install_signals(is_for_nobody(nsmon)) || open_probe(nsmon))
		goto out;
	err = open_epoll(nsmon);
	if (err) {
		log_error("cannot wait for events: %s", strerror(-err));
		goto out;
	}
	watch_given(nsmon);
	nsmon->run = (struct run){
		.options = &nsmon->options,
		.kernel = &nsmon->kernel,
		.backend = backend_names[probe_backend(nsmon->probe)],
		.colour = want_colour(nsmon),
	};
	log_debug("start: version=%s backend=%s kernel=%s arch=%s host=%s", NSMON_VERSION,
		  nsmon->run.backend, nsmon->kernel.uname.release, nsmon->kernel.uname.machine,
		  nsmon->kernel.uname.nodename);
	err = open_stream(nsmon, nsmon->options.journal ? &journal_formatter
							: formatters[nsmon->options.output]);
	if (err) {
		log_error("cannot begin: %s", strerror(-err));
		goto out;
	}
	nsmon->stream.context = nsmon;
	nsmon->stream.on_write = on_write;
	/* Births, execs and exits are seen by tracepoints: elsewhere no record is looked up for it. */
	if (nsmon->kernel.preempts_tracepoints)
		nsmon->stream.look_for_misses = look_for_misses;
	alarm_period_ms =
		sooner(service_period_ms(&nsmon->service), metrics_period_ms(nsmon->metrics));
	status = trace_events(nsmon);
	stream_free(&nsmon->stream);
	cgroups_free(nsmon->cgroups);
	close(nsmon->epoll_fd);
out:
	probe_close(nsmon->probe);
	metrics_close(nsmon->metrics);
	output_close(nsmon->output);
	service_close(&nsmon->service);
	return status;
}

/* At exit, also argp's after --help: what was printed with stdio has to be out. */
static void flush_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return;
	log_error("cannot write to standard output: %s", strerror(errno));
	_exit(1);
}

/* What reads our output has seen enough. */
static void on_pipe(int signal)
{
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv)
{
	const struct sigaction quiet_end = { .sa_handler = on_pipe };
	static struct nsmon nsmon;
	struct sigaction before;
	int err;

	atexit(flush_stdout);
	sigaction(SIGPIPE, &quiet_end, &before);
	options_parse(&nsmon.options, argc, argv);
	if (nsmon.options.mode == MODE_TRACE)
		sigaction(SIGPIPE, &before, NULL);
	log_set_level((enum log_level)(LOG_LEVEL_NOTE + nsmon.options.verbose));
	if (!standard_descriptors_are_open(&nsmon.options))
		return 1;
	if (nsmon.options.mode == MODE_SCHEMA) {
		if (nsmon.options.output == OUTPUT_ECS)
			fwrite(ecs_schema_text, 1, ecs_schema_size, stdout);
		else
			fwrite(schema_text, 1, schema_size, stdout);
		return 0;
	}
	kernel_log_libbpf();
	err = kernel_read(&nsmon.kernel);
	if (err) {
		log_error("cannot read /proc/self/ns: %s; is /proc mounted?", strerror(-err));
		return 1;
	}
	if (nsmon.options.mode == MODE_CHECK)
		return check_run(&nsmon.options, &nsmon.kernel);
	if (nsmon.options.mode == MODE_LIST) {
		err = preflight(&nsmon.options, &nsmon.kernel);
		return err ? err : list_run(&nsmon.options, &nsmon.kernel);
	}
	return run_trace(&nsmon);
}
