// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * state.c against a kernel that is made up: tasks that fork, exec, change their
 * namespaces, are moved between cgroups and end, step by step and at random; records as src/nsmon.bpf.c makes
 * them, some of them lost; pictures that are taken meanwhile. At every quiet moment
 * a reader of what is told has what the kernel has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reader.h"
#include "state.h"

/* Numbers of tasks; few, so that they are used again. */
#define TIDS 120
#define TASKS_MAX 50

#define PASSES_MAX 8

/* Cgroups are numbered from 1. */
#define CGROUPS 5

enum operation { NONE, CHANGE, MOVE, FORK, EXEC, EXIT };

struct task {
	bool used; /* an iterator meets it */
	struct nsmon_task task;
	struct nsmon_ns_set ns;
	bool has_nsproxy;
	uint64_t exec_id;
	bool has_execed;
	bool newborn;
	bool killed;
	bool exiting; /* PF_EXITING */
	bool dead; /* exit_state */
	bool ends_process;
	bool pending; /* in a call that may change namespaces, known to the BPF programs */
	struct nsmon_ns_set before; /* that call */
	enum operation operation;
	int phase;
	uint32_t child;
	uint32_t made; /* by clone(), for that child */
};

struct process {
	int live; /* signal->live */
	int threads; /* signal->nr_threads */
	bool knows_leader; /* map ended_leaders */
	struct nsmon_ns_set leader;
};

struct record {
	struct event event;
	struct nsmon_task task;
	struct nsmon_ns_change change;
	struct nsmon_ns_set ns; /* of a move */
};

struct setting {
	bool threads;
	uint32_t types;
	bool lossy; /* the kernel drops records */
	bool faulty; /* the output does */
};

static struct setting setting;
static struct options options;
static struct task tasks[TIDS];
static struct process processes[TIDS];
static uint32_t last_tid;
static size_t task_count;
static uint64_t now;
static uint64_t last_ns_id;
static bool traced; /* the programs are attached */
static bool starting; /* tasks begin something new */
static bool wrapping; /* numbers are used again */
static bool whole;
static bool losing;
static uint32_t read_pid; /* of the task that the iterator is at */
static struct record ring[1 << 14];
static size_t ring_len;
static bool repair_due;
static bool refusing;

static struct state *table;
static struct reader reader;
static struct told waiting[4096]; /* in the output */
static size_t waiting_len;
static uint64_t seq;
static uint64_t recovered;
static uint64_t repairs;

static uint64_t random_state;
static uint64_t seed;

#define wrong(format, ...) fail_msg("seed %llu: " format, (unsigned long long)seed, __VA_ARGS__)

static uint32_t rnd(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 20) % below);
}

static bool chance(uint32_t percent)
{
	return rnd(100) < percent;
}

/* Where nothing is lost, moments are further apart than two CPUs' clocks. */
static void tick(void)
{
	now += setting.lossy ? 20 + rnd(8000) : 11000 + rnd(20000);
}

/* ---- the output and its reader ---- */

static const char *name_of(const struct told *told)
{
	static char text[128];

	snprintf(text, sizeof(text), "record %llu: %s of %u%s, type %d, %u>%u",
		 (unsigned long long)told->seq, kind_names[told->kind], told->task.tid,
		 told->recovered ? ", recovered" : "", told->type, told->old_inum,
		 told->type >= 0 ? told->now.inum[told->type] : 0);
	return text;
}

static int64_t tell(void *context, const struct event *event, int type)
{
	(void)context;
	/* What cannot be written now cannot be written a moment later. */
	refusing |= setting.faulty && losing && chance(3);
	if (refusing) {
		repair_due = true;
		return 0;
	}
	assert_true(waiting_len < sizeof(waiting) / sizeof(*waiting));
	waiting[waiting_len] = told_make(event, type, ++seq, setting.threads);
	/* But for the row of a main thread that had ended when it was first read. */
	if (event->recovered && event->kind != NSMON_PROC && !setting.lossy && !setting.faulty)
		wrong("nothing was lost: %s", name_of(&waiting[waiting_len]));
	recovered += event->recovered;
	waiting_len++;
	return (int64_t)seq;
}

static void write_out(void)
{
	for (size_t i = 0; i < waiting_len; i++) {
		const char *what = reader_apply(&reader, &waiting[i]);

		if (what)
			wrong("%s: %s", what, name_of(&waiting[i]));
	}
	waiting_len = 0;
	state_settle(table);
	if (setting.threads)
		assert_int_equal(state_tasks(table), reader_count(&reader));
}

/* Now and then what waits is written, or some of it is dropped. */
static void after_call(void)
{
	refusing = false;
	if (chance(10)) {
		write_out();
	} else if (setting.faulty && losing && chance(4)) {
		size_t keep = rnd((uint32_t)waiting_len + 1);

		seq -= waiting_len - keep;
		waiting_len = keep;
		repair_due = true;
		state_undo(table, seq);
	}
	if (waiting_len > sizeof(waiting) / sizeof(*waiting) / 2)
		write_out();
}

/* ---- the kernel: records ---- */

static struct record *emit(enum nsmon_kind kind, const struct nsmon_task *task)
{
	static struct record nowhere;
	struct record *record = &nowhere;

	tick();
	if (traced && losing && setting.lossy && chance(15)) {
		repair_due = true;
	} else if (traced) {
		assert_true(ring_len < sizeof(ring) / sizeof(*ring));
		record = &ring[ring_len++];
	}
	*record = (struct record){ .event = { .kind = kind, .time = now }, .task = *task };
	return record;
}

static uint32_t diff(const struct nsmon_ns_set *x, const struct nsmon_ns_set *y)
{
	uint32_t bits = 0;

	for (int i = 0; i < NSMON_NS_TYPES; i++)
		bits |= (uint32_t)(x->inum[i] != y->inum[i] || x->id[i] != y->id[i]) << i;
	return bits;
}

static void emit_change(const struct task *t, const struct nsmon_ns_set *old,
			enum nsmon_reason reason)
{
	const uint32_t changed = diff(old, &t->ns) & setting.types;
	struct record *record;

	if (!changed)
		return;
	record = emit(NSMON_NS, &t->task);
	record->change = (struct nsmon_ns_change){
		.old = *old, .now = t->ns, .changed = changed, .wanted = (uint16_t)setting.types
	};
	memset(record->change.reason, (int)reason, sizeof(record->change.reason));
	record->event.change = &record->change;
}

static void emit_fork(const struct task *creator, const struct task *child)
{
	const bool is_process = child->task.tid == child->task.pid;
	const uint32_t pid = creator->task.pid;
	const struct task *row = is_process && !setting.threads ? &tasks[pid] : creator;
	const struct nsmon_ns_set *old = &row->ns;
	struct nsmon_ns_change change;
	struct record *record;

	if (row != creator) {
		if (row->pending)
			old = &row->before;
		else if (!row->has_nsproxy)
			old = processes[pid].knows_leader ? &processes[pid].leader : &creator->ns;
	}
	change = (struct nsmon_ns_change){
		.old = *old,
		.now = child->ns,
		.changed = diff(old, &child->ns) & setting.types,
		.wanted = (uint16_t)setting.types,
	};
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		change.reason[i] =
			creator->made & (1U << i) ? NSMON_REASON_CLONE : NSMON_REASON_FORK;
	if (!change.changed && row == creator && !whole && !is_process && !setting.threads)
		return;
	record = emit(NSMON_FORK, &child->task);
	record->event.fork.told = is_process || setting.threads;
	record->event.fork.creator_pid = pid;
	record->event.fork.creator_tid = creator->task.tid;
	record->event.fork.creator_start_ns = creator->task.start_ns;
	if (!change.changed && row == creator && !whole)
		return;
	record->change = change;
	record->event.change = &record->change;
}

/* ---- the kernel: what tasks do ---- */

static uint32_t new_tid(void)
{
	for (int i = 0; i < TIDS; i++) {
		if (last_tid == TIDS - 1 && !wrapping)
			break;
		if (++last_tid == TIDS)
			last_tid = 2;
		if (!tasks[last_tid].used)
			return last_tid;
	}
	return 0;
}

static void new_ns(struct nsmon_ns_set *ns, int type)
{
	ns->id[type] = ++last_ns_id;
	ns->inum[type] = 1000 + (uint32_t)(last_ns_id % 7); /* used again and again */
}

static void copy_ns(struct nsmon_ns_set *to, int to_type, const struct nsmon_ns_set *from, int type)
{
	to->id[to_type] = from->id[type];
	to->inum[to_type] = from->inum[type];
}

static void clone_namespaces(struct task *creator, struct task *child, bool is_process)
{
	static const int types[] = { NSMON_NS_MNT, NSMON_NS_UTS, NSMON_NS_NET, NSMON_NS_CGROUP };

	creator->made = 0;
	if (is_process) {
		copy_ns(&child->ns, NSMON_NS_PID, &creator->ns, NSMON_NS_PID_FOR_CHILDREN);
		copy_ns(&child->ns, NSMON_NS_TIME, &creator->ns, NSMON_NS_TIME_FOR_CHILDREN);
	}
	if (chance(75))
		return;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (chance(60))
			continue;
		new_ns(&child->ns, types[i]);
		creator->made |= 1U << types[i];
	}
	if (is_process && chance(30)) {
		new_ns(&child->ns, NSMON_NS_PID);
		copy_ns(&child->ns, NSMON_NS_PID_FOR_CHILDREN, &child->ns, NSMON_NS_PID);
		creator->made |= 1U << NSMON_NS_PID | 1U << NSMON_NS_PID_FOR_CHILDREN;
	}
}

/* copy_process(): the child is there, but has not run. */
static bool fork_task(struct task *t)
{
	const uint32_t pid = t->task.pid;
	/* A thread cannot be in another pid namespace than its process. */
	const bool is_process = t->task.tid == 1 || chance(60) ||
				diff(&t->ns, &t->ns) & (1U << NSMON_NS_PID) ||
				t->ns.id[NSMON_NS_PID] != t->ns.id[NSMON_NS_PID_FOR_CHILDREN];
	const uint32_t tid = task_count < TASKS_MAX && !t->killed ? new_tid() : 0;
	struct task *child = &tasks[tid];

	if (!tid)
		return false;
	task_count++;
	*child = *t;
	child->operation = NONE;
	child->newborn = true;
	child->has_execed = false;
	child->pending = false;
	child->task.tid = tid;
	child->task.thread_start_ns = now;
	if (is_process) {
		child->task.pid = child->task.vpid = tid;
		child->task.ppid = pid;
		child->task.start_ns = now;
		processes[tid] = (struct process){ .live = 1, .threads = 1 };
	} else {
		processes[pid].live++;
		processes[pid].threads++;
	}
	clone_namespaces(t, child, is_process);
	t->child = tid;
	return true;
}

static void step_fork(struct task *t)
{
	if (t->phase == 0) {
		t->operation = fork_task(t) ? FORK : NONE;
	} else if (t->phase == 1) {
		emit_fork(t, &tasks[t->child]);
	} else {
		tasks[t->child].newborn = false;
		t->operation = NONE;
	}
	t->phase++;
}

static void step_change(struct task *t)
{
	if (t->phase == 0) {
		t->pending = traced;
		t->before = t->ns;
	} else if (t->phase == 1) {
		for (int n = 1 + (int)rnd(2); n > 0; n--) {
			const struct task *other = &tasks[1 + rnd(TIDS - 1)];
			int type = (int)rnd(NSMON_NS_TYPES);

			if (type == NSMON_NS_PID)
				continue;
			if (chance(50) || !other->used)
				new_ns(&t->ns, type);
			else
				copy_ns(&t->ns, type, &other->ns, type);
		}
	} else if (t->phase == 2) {
		if (t->pending)
			emit_change(t, &t->before, NSMON_REASON_UNSHARE);
	} else {
		t->pending = false;
		t->operation = NONE;
	}
	t->phase++;
}

static void set_cgroup(const struct task *t, uint64_t cgroup_id)
{
	for (uint32_t tid = 1; tid < TIDS; tid++) {
		struct task *other = &tasks[tid];

		if (other == t || (other->used && !setting.threads && !other->exiting &&
				   other->task.pid == t->task.pid))
			other->task.cgroup_id = cgroup_id;
	}
}

static void emit_move(const struct task *t)
{
	struct record *record = emit(NSMON_CGROUP, &t->task);

	record->ns = t->ns;
	record->event.proc.exec_id = t->has_execed ? t->exec_id : 0;
	record->event.proc.ns = &record->ns;
}

/* cgroup_attach_task(): of a process, or of a thread. Nobody who ends is moved. */
static void step_move(struct task *t)
{
	struct task *moved = setting.threads ? t : &tasks[t->task.pid];

	if (t->phase++ == 0) {
		if (moved->exiting || moved->newborn || !moved->used) {
			t->operation = NONE;
			return;
		}
		set_cgroup(moved, 1 + rnd(CGROUPS));
		/* A picture that comes between shows it, and nothing is lost. */
		if (setting.lossy)
			return;
	}
	if (!moved->exiting)
		emit_move(moved);
	t->operation = NONE;
}

static void release(struct task *t)
{
	processes[t->task.pid].threads--;
	t->used = false;
	task_count--;
}

static void kill_others(const struct task *t)
{
	for (uint32_t tid = 2; tid < TIDS; tid++)
		if (tasks[tid].used && tasks[tid].task.pid == t->task.pid && &tasks[tid] != t)
			tasks[tid].killed = true;
}

/* de_thread(): the thread takes the number of the main one, which is dead. */
static struct task *take_leaders_place(struct task *t)
{
	struct task *leader = &tasks[t->task.pid];
	const struct nsmon_task was = leader->task;

	release(leader);
	*leader = *t;
	leader->task.tid = was.tid;
	leader->task.thread_start_ns = was.thread_start_ns;
	t->used = false;
	return leader;
}

static void emit_exec(struct task *t)
{
	struct process *process = &processes[t->task.pid];
	struct record *record = emit(NSMON_EXEC, &t->task);

	record->event.exec.exec_id = t->exec_id;
	record->event.exec.old_tid = t->child;
	if (t->child && process->knows_leader)
		emit_change(t, &process->leader, NSMON_REASON_EXEC);
	else if (!t->child && t->pending)
		emit_change(t, &t->before, NSMON_REASON_EXEC);
	process->knows_leader = false;
	t->pending = false;
	t->operation = NONE;
}

static void step_exec(struct task *t)
{
	const bool leads = t->task.tid == t->task.pid;
	const struct process *process = &processes[t->task.pid];

	if (t->killed && t->phase < 3) {
		t->pending = false;
		t->operation = EXIT;
		t->phase = 0;
		return;
	}
	switch (t->phase) {
	case 0:
		kill_others(t);
		break;
	case 1:
		if (process->threads > (leads ? 1 : 2) || (!leads && !tasks[t->task.pid].dead))
			return;
		break;
	case 2:
		t->child = 0;
		t->before = t->ns;
		t->pending = leads && traced;
		break;
	case 3:
		if (leads)
			break;
		if (t->task.pid == read_pid)
			return; /* the iterator's own race is not of interest here */
		t->child = t->task.tid;
		t = take_leaders_place(t);
		if (setting.lossy)
			break;
		t->phase++;
		__attribute__((fallthrough));
	case 4:
		t->exec_id++;
		t->has_execed = true;
		/* With -T the programs do not tell of a thread's own change of time. */
		if (!t->child || !setting.threads)
			copy_ns(&t->ns, NSMON_NS_TIME, &t->ns, NSMON_NS_TIME_FOR_CHILDREN);
		if (!t->child || setting.lossy)
			break;
		__attribute__((fallthrough));
	default:
		emit_exec(t);
	}
	t->phase++;
}

static void end_task(struct task *t)
{
	struct process *process = &processes[t->task.pid];
	const struct nsmon_task *of = setting.threads ? &t->task : &tasks[t->task.pid].task;

	if (!t->ends_process && t->task.tid == t->task.pid && traced) {
		process->knows_leader = true;
		process->leader = t->ns;
	}
	if (setting.threads || t->ends_process)
		emit(NSMON_EXIT, of);
	for (uint32_t tid = 1; t->ends_process && tid < TIDS; tid++)
		if (tasks[tid].used && tasks[tid].task.ppid == t->task.pid)
			tasks[tid].task.ppid = 1;
}

static void step_exit(struct task *t)
{
	struct process *process = &processes[t->task.pid];

	if (t->phase == 0) {
		t->exiting = true;
		t->ends_process = --process->live == 0;
	} else if (t->phase == 1) {
		end_task(t);
	} else if (t->phase == 2) {
		t->has_nsproxy = false;
	} else if (t->phase == 3) {
		t->dead = true;
		if (t->task.tid != t->task.pid)
			release(t);
	} else {
		if (process->threads == 1 && chance(40)) /* its parent waits for it */
			release(t);
		return;
	}
	t->phase++;
}

static void begin_operation(struct task *t)
{
	const bool may_end = t->task.tid != 1;
	const bool leads = t->task.tid == t->task.pid;
	const uint32_t what = rnd(100);

	t->phase = 0;
	if (t->killed)
		t->operation = EXIT;
	else if (!starting)
		return;
	else if (what < 30)
		t->operation = CHANGE;
	else if (what < 38)
		t->operation = MOVE;
	else if (what < 65)
		t->operation = FORK;
	else if (what < 80)
		t->operation = EXEC;
	else if (!may_end)
		return;
	else if (what < 90 && (!leads || traced || setting.lossy))
		t->operation = EXIT; /* one thread */
	else {
		kill_others(t);
		t->operation = EXIT;
	}
}

/* Returns whether there was anything to do for it. */
static bool step_task(struct task *t)
{
	if (!t->used || t->newborn)
		return false;
	if (t->operation == NONE)
		begin_operation(t);
	if (t->operation == NONE)
		return false;
	tick();
	if (t->operation == CHANGE)
		step_change(t);
	else if (t->operation == MOVE)
		step_move(t);
	else if (t->operation == FORK)
		step_fork(t);
	else if (t->operation == EXEC)
		step_exec(t);
	else
		step_exit(t);
	return t->operation != EXIT || t->phase < 4;
}

static void run(uint32_t steps)
{
	while (steps--)
		step_task(&tasks[1 + rnd(TIDS - 1)]);
}

/* Whatever is under way comes to its end. */
static void calm_down(void)
{
	bool busy = true;

	starting = false;
	for (int i = 0; busy && i < 1000; i++) {
		busy = false;
		for (uint32_t tid = 1; tid < TIDS; tid++)
			busy |= step_task(&tasks[tid]);
	}
	assert_false(busy);
	starting = true;
}

/* ---- nsmon: the ring buffer and the pictures ---- */

static void drain(void)
{
	for (size_t i = 0; i < ring_len; i++) {
		struct record record = ring[i];

		record.event.task = &record.task;
		record.event.change = record.event.change ? &record.change : NULL;
		if (record.event.kind == NSMON_CGROUP)
			record.event.proc.ns = &record.ns;
		assert_int_equal(state_event(table, &record.event), 0);
		after_call();
	}
	ring_len = 0;
}

struct row {
	struct event event;
	struct nsmon_task task;
	struct nsmon_ns_set ns;
};

static bool is_in_picture(const struct task *t)
{
	const struct task *leader = &tasks[t->task.pid];

	return t->used && (setting.threads || t == leader || diff(&t->ns, &leader->ns) ||
			   t->has_nsproxy != leader->has_nsproxy);
}

static uint32_t row_flags(const struct task *t, uint64_t start_ns)
{
	const struct process *process = &processes[t->task.pid];
	const bool is_process = t->task.tid == t->task.pid && !setting.threads;
	uint32_t flags = 0;

	if (!t->used || t->task.thread_start_ns != start_ns)
		return NSMON_PROC_ENDING;
	if (t->pending || t->newborn)
		flags |= NSMON_PROC_BUSY;
	if (is_process ? process->live == 0 : t->exiting)
		flags |= NSMON_PROC_ENDING;
	if (flags & NSMON_PROC_ENDING && t->dead && (!is_process || process->threads == 1))
		flags |= NSMON_PROC_ENDED;
	return flags;
}

/* The programs of the kernel read one task while others go on. */
static void read_row(struct row *row, const struct task *t, bool moving)
{
	read_pid = t->task.pid;
	tick();
	*row = (struct row){ .event = { .kind = NSMON_PROC, .time = now } };
	if (moving)
		run(rnd(4));
	row->event.proc.exec_id = t->has_execed ? t->exec_id : 0;
	row->ns = t->ns;
	row->task = t->task;
	if (!t->has_nsproxy) {
		row->event.proc.flags = NSMON_PROC_PARTIAL;
		memset(&row->ns, 0, sizeof(row->ns));
		copy_ns(&row->ns, NSMON_NS_PID, &t->ns, NSMON_NS_PID);
		copy_ns(&row->ns, NSMON_NS_USER, &t->ns, NSMON_NS_USER);
	}
	if (moving)
		run(rnd(4));
	row->event.proc.flags |= row_flags(t, row->task.thread_start_ns);
	read_pid = 0;
}

static void hand_over(struct row *rows, size_t count, bool first, bool told)
{
	for (size_t i = 0; i < count; i++) {
		struct row row = rows[i];

		row.event.task = &row.task;
		row.event.proc.ns = &row.ns;
		assert_int_equal(first ? state_seed(table, &row.event, told)
				       : state_pass_task(table, &row.event),
				 0);
		after_call();
	}
}

static void take_picture(bool first, bool told, bool moving)
{
	struct row rows[16];
	size_t count = 0;

	for (uint32_t tid = 1; tid < TIDS; tid++) {
		if (is_in_picture(&tasks[tid]))
			read_row(&rows[count++], &tasks[tid], moving);
		if (count < 16 && tid < TIDS - 1 && !chance(10))
			continue;
		if (moving)
			run(rnd(8));
		if (!first)
			drain();
		hand_over(rows, count, first, told);
		count = 0;
	}
}

/* An exec that takes longer than two pictures would be told as found. */
static void let_execs_end(void)
{
	for (uint32_t tid = 1; tid < TIDS; tid++)
		while (tasks[tid].used && tasks[tid].operation == EXEC && tasks[tid].phase > 4)
			step_task(&tasks[tid]);
}

static void repair(bool moving, bool quiet)
{
	int passes = 0;

	repairs++;
	whole = true;
	repair_due = false;
	do {
		if (!setting.lossy)
			let_execs_end();
		tick();
		state_begin_pass(table, now, quiet || passes);
		take_picture(false, false, moving);
		if (moving)
			run(rnd(20));
		drain();
		assert_int_equal(state_end_pass(table), 0);
		after_call();
	} while (state_unsure(table) && ++passes < PASSES_MAX);
	if (!moving)
		assert_int_equal(state_unsure(table), 0);
	whole = false;
	state_end_repair(table);
}

/* ---- what the reader has and the kernel has ---- */

static void compare(void)
{
	for (uint32_t tid = 1; tid < TIDS; tid++) {
		const struct task *t = &tasks[tid];
		const struct reader_row *row = &reader.rows[tid];
		const bool is_process = tid == t->task.pid && !setting.threads;
		const bool lives = t->used && (is_process || setting.threads) &&
				   !(is_process ? processes[tid].live == 0 : t->exiting);

		if (row->exists != lives)
			wrong("task %u %s", tid, lives ? "is missing" : "has ended");
		if (!lives)
			continue;
		assert_int_equal(row->start_ns, t->task.thread_start_ns);
		if (row->cgroup_id != t->task.cgroup_id)
			wrong("task %u is in cgroup %llu", tid,
			      (unsigned long long)t->task.cgroup_id);
		/* Nobody can tell it any more where records were lost, or it was met like that. */
		if (!t->has_nsproxy &&
		    (setting.lossy || setting.faulty || !row->ns.inum[NSMON_NS_MNT]))
			continue;
		assert_true(row->known);
		if (diff(&row->ns, &t->ns) & setting.types)
			wrong("task %u differs: %x", tid, diff(&row->ns, &t->ns) & setting.types);
		if (row->exec_id != (t->has_execed ? t->exec_id : 0))
			wrong("task %u runs program %llu, not %llu", tid,
			      (unsigned long long)(t->has_execed ? t->exec_id : 0),
			      (unsigned long long)row->exec_id);
	}
}

static void check_quiet_moment(void)
{
	const bool due = repair_due || setting.lossy || setting.faulty;

	calm_down();
	losing = false;
	drain();
	if (due || state_take_doubt(table))
		repair(false, false);
	write_out();
	if (state_take_doubt(table)) {
		repair(false, true);
		write_out();
	}
	compare();
	losing = true;
}

static uint64_t no_owner(void *context, uint64_t cgroup_id)
{
	(void)context;
	(void)cgroup_id;
	return 0;
}

static void boot(void)
{
	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	memset(tasks, 0, sizeof(tasks));
	memset(processes, 0, sizeof(processes));
	memset(&reader, 0, sizeof(reader));
	reader.threads = setting.threads;
	reader.misses_records = setting.lossy;
	reader.types = setting.types;
	options = (struct options){
		.events = EVENTS_ALL,
		.types = setting.types,
		.reasons = REASONS_ALL,
		.threads = setting.threads,
	};
	ring_len = waiting_len = 0;
	seq = last_ns_id = 0;
	now = 1000000000;
	repair_due = traced = losing = false;
	starting = wrapping = whole = true;
	last_tid = 1;
	task_count = 1;
	tasks[1] = (struct task){ .used = true, .has_nsproxy = true };
	tasks[1].task = (struct nsmon_task){
		.start_ns = 1, .thread_start_ns = 1, .pid = 1, .tid = 1, .vpid = 1, .cgroup_id = 1
	};
	for (int type = 0; type < NSMON_NS_TYPES; type++)
		new_ns(&tasks[1].ns, type);
	copy_ns(&tasks[1].ns, NSMON_NS_PID_FOR_CHILDREN, &tasks[1].ns, NSMON_NS_PID);
	copy_ns(&tasks[1].ns, NSMON_NS_TIME_FOR_CHILDREN, &tasks[1].ns, NSMON_NS_TIME);
	processes[1] = (struct process){ .live = 1, .threads = 1 };
	table = state_new(&options, tell, no_owner, NULL);
	assert_non_null(table);
}

static void attach(void)
{
	uint64_t begin;

	run(rnd(1500));
	if (!setting.lossy)
		calm_down(); /* what is in a call now would be found later */
	last_tid = 1;
	for (uint32_t tid = 1; tid < TIDS; tid++)
		if (tasks[tid].used)
			last_tid = tid;
	wrapping = false; /* no number is given away behind the iterator */
	traced = true;
	run(rnd(100));
	tick();
	begin = now;
	losing = true;
	take_picture(true, true, true);
	tick();
	state_seeded(table, begin, now);
	run(rnd(100));
	wrapping = true;
	drain();
	whole = false;
}

static void storm(void)
{
	boot();
	attach();
	check_quiet_moment();
	for (int phase = 0; phase < 6; phase++) {
		for (int burst = 1 + (int)rnd(8); burst; burst--) {
			run(rnd(200));
			if (chance(80))
				drain();
			if (repair_due ? chance(60) : chance(20))
				repair(true, !repair_due);
		}
		check_quiet_moment();
	}
	state_free(table);
	table = NULL;
}

static uint64_t seeds(void)
{
	const char *given = getenv("STORM_SEEDS");

	return given ? strtoull(given, NULL, 10) : 250;
}

static void storms(struct setting with)
{
	setting = with;
	recovered = repairs = 0;
	for (seed = 1; seed <= seeds(); seed++)
		storm();
	if (setting.lossy || setting.faulty)
		assert_true(recovered > 10 * seeds()); /* there was something to find */
	assert_true(repairs > seeds());
}

static int tear_down(void **state)
{
	(void)state;
	state_free(table);
	table = NULL;
	return 0;
}

static void test_nothing_lost(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL });
}

static void test_nothing_lost_with_threads(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL, .threads = true });
}

static void test_lost(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL, .lossy = true });
}

static void test_lost_with_threads(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL, .lossy = true, .threads = true });
}

static void test_dropped(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL, .faulty = true });
}

static void test_dropped_with_threads(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL, .faulty = true, .threads = true });
}

static void test_lost_and_dropped(void **state)
{
	(void)state;
	storms((struct setting){ .types = NSMON_NS_ALL, .lossy = true, .faulty = true });
	storms((struct setting){
		.types = NSMON_NS_ALL, .lossy = true, .faulty = true, .threads = true });
}

static void test_some_types(void **state)
{
	const uint32_t types = 1 << NSMON_NS_NET | 1 << NSMON_NS_PID | 1 << NSMON_NS_TIME;

	(void)state;
	storms((struct setting){ .types = types });
	storms((struct setting){ .types = types, .lossy = true, .faulty = true });
}

#define TEST(function) cmocka_unit_test_teardown(function, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_lost),
		TEST(test_nothing_lost_with_threads),
		TEST(test_lost),
		TEST(test_lost_with_threads),
		TEST(test_dropped),
		TEST(test_dropped_with_threads),
		TEST(test_lost_and_dropped),
		TEST(test_some_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
