// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * state.c, rule by rule. What it tells is written as a short text, and kept in
 * the table that a reader would have.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "names.h"
#include "reader.h"
#include "state.h"

#define MS 1000000ULL

/* When the first picture begins and ends. */
#define BEGIN (100 * MS)
#define END (200 * MS)

/* The first of a type's namespaces; others are larger. */
#define FIRST(type) (100U + (uint32_t)(type))

/* A task of the kernel. */
struct who {
	struct nsmon_task task;
	struct nsmon_ns_set ns;
	uint64_t exec_id;
};

static struct options options;
static struct state *table;
static struct reader reader;
static char said[4096];
static bool last_exit_ends_process;
static size_t said_len;
static uint64_t seq;
static int refuse; /* so many records are written, the next is not; 0: all are */
static int error; /* what the writing function returns in place of a number */

static struct who init, a, b;

static int64_t tell(void *context, const struct event *event, int type)
{
	struct told told;
	const char *wrong;
	char target[32] = "";

	assert_ptr_equal(context, &reader);
	assert_non_null(event->task);
	if (error)
		return error;
	if (refuse && --refuse == 0)
		return 0;
	told = told_make(event, type, ++seq, options.threads);
	wrong = reader_apply(&reader, &told);
	if (wrong)
		fail_msg("%s: after '%s'", wrong, said);
	said_len += (size_t)snprintf(said + said_len, sizeof(said) - said_len, "%s%s %u",
				     said_len ? "; " : "", kind_names[told.kind], told.task.tid);
	if (told.kind == NSMON_FORK)
		said_len += (size_t)snprintf(said + said_len, sizeof(said) - said_len, " of %u",
					     told.creator);
	if (told.kind == NSMON_CGROUP)
		said_len += (size_t)snprintf(said + said_len, sizeof(said) - said_len,
					     " from %llu to %llu",
					     (unsigned long long)event->old_cgroup_id,
					     (unsigned long long)event->task->cgroup_id);
	if (event->target.owner == TARGET_HOST)
		strcat(target, " host");
	else if (event->target.owner)
		snprintf(target, sizeof(target), " target %u", (unsigned int)event->target.owner);
	if (told.old_tid)
		said_len += (size_t)snprintf(said + said_len, sizeof(said) - said_len, " was %u",
					     told.old_tid);
	if (type != STATE_EVENT)
		said_len +=
			(size_t)snprintf(said + said_len, sizeof(said) - said_len, " %s %u>%u",
					 ns_type_names[type], told.old_inum, told.now.inum[type]);
	said_len += (size_t)snprintf(said + said_len, sizeof(said) - said_len, "%s", target);
	if (told.recovered)
		said_len += (size_t)snprintf(said + said_len, sizeof(said) - said_len, " found");
	if (event->kind == NSMON_EXIT)
		last_exit_ends_process = event->exit.process_ends;
	assert_true(said_len < sizeof(said));
	return (int64_t)seq;
}

/* What was told since the last time. */
#define says(expected)                                                                             \
	do {                                                                                       \
		assert_string_equal(said, expected);                                               \
		said[said_len = 0] = 0;                                                            \
	} while (0)

static struct who who(uint32_t tid, uint32_t pid, uint32_t ppid)
{
	struct who w = { .task = {
				 .start_ns = pid * MS,
				 .thread_start_ns = tid * MS,
				 .pid = pid,
				 .tid = tid,
				 .ppid = ppid,
				 .vpid = pid,
				 .comm = "x",
			 } };

	for (int type = 0; type < NSMON_NS_TYPES; type++)
		w.ns.inum[type] = FIRST(type);
	return w;
}

/* Container n has the cgroups 100 n to 100 n + 99. */
static uint64_t owner_of(void *context, uint64_t cgroup_id)
{
	(void)context;
	return cgroup_id / 100;
}

static void begin(void)
{
	state_free(table);
	table = state_new(&options, tell, owner_of, &reader);
	assert_non_null(table);
	memset(&reader, 0, sizeof(reader));
	reader.threads = options.threads;
	reader.types = options.types;
	said[said_len = 0] = 0;
	seq = 0;
	refuse = error = 0;
	init = who(1, 1, 0);
	a = who(10, 10, 1);
	b = who(20, 20, 10);
}

static int set_up(void **state)
{
	(void)state;
	options = (struct options){
		.events = EVENTS_ALL,
		.types = NSMON_NS_ALL,
		.reasons = REASONS_ALL,
	};
	begin();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	state_free(table);
	table = NULL;
	return 0;
}

/* Everything that the event refers to goes away with it. */
static int give(struct event event, int (*to)(struct state *, const struct event *))
{
	struct nsmon_task *task = malloc(sizeof(*task));
	struct nsmon_ns_change *change = event.change ? malloc(sizeof(*change)) : NULL;
	const bool with_set = event.kind == NSMON_PROC || event.kind == NSMON_CGROUP;
	struct nsmon_ns_set *ns = with_set ? malloc(sizeof(*ns)) : NULL;
	int err;

	assert_non_null(task);
	*task = *event.task;
	event.task = task;
	if (change)
		*change = *event.change;
	event.change = change;
	if (ns) {
		*ns = *event.proc.ns;
		event.proc.ns = ns;
	}
	err = to(table, &event);
	free(ns);
	free(change);
	free(task);
	return err;
}

static struct event picture(const struct who *w, uint64_t time, uint32_t flags)
{
	return (struct event){
		.kind = NSMON_PROC,
		.time = time,
		.task = &w->task,
		.proc = { .ns = &w->ns, .exec_id = w->exec_id, .flags = flags },
	};
}

static int seed_told(struct state *state, const struct event *event)
{
	return state_seed(state, event, true);
}

static int seed_untold(struct state *state, const struct event *event)
{
	return state_seed(state, event, false);
}

static void seed(const struct who *w, uint32_t flags)
{
	assert_int_equal(give(picture(w, 150 * MS, flags), seed_told), 0);
}

/* The first picture: init and a. */
static void seed_both(void)
{
	seed(&init, 0);
	seed(&a, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10");
}

static int give_fork_with(const struct who *creator, const struct who *child, uint64_t time,
			  const struct nsmon_ns_change *change, bool told)
{
	return give((struct event){ .kind = NSMON_FORK,
				    .time = time,
				    .task = &child->task,
				    .change = change,
				    .fork = { .told = told,
					      .creator_pid = creator->task.pid,
					      .creator_tid = creator->task.tid,
					      .creator_start_ns = creator->task.start_ns } },
		    state_event);
}

static void forks(const struct who *creator, const struct who *child, uint64_t time)
{
	assert_int_equal(give_fork_with(creator, child, time, NULL, true), 0);
}

/* With everything that the kernel knows of both: what was told of `row`, and the child. */
static struct nsmon_ns_change whole_change(const struct nsmon_ns_set *row, const struct who *child)
{
	struct nsmon_ns_change change = { .old = *row,
					  .now = child->ns,
					  .wanted = (uint16_t)options.types };

	for (int type = 0; type < NSMON_NS_TYPES; type++) {
		change.changed |= (uint32_t)(row->inum[type] != child->ns.inum[type] ||
					     row->id[type] != child->ns.id[type])
				  << type;
		change.reason[type] = NSMON_REASON_FORK;
	}
	change.changed &= options.types;
	return change;
}

static void forks_whole(const struct who *creator, const struct nsmon_ns_set *row,
			const struct who *child, uint64_t time)
{
	const struct nsmon_ns_change change = whole_change(row, child);

	assert_int_equal(give_fork_with(creator, child, time, &change, true), 0);
}

/* The task's record of what it has become; it has these namespaces from then on. */
static int give_change(struct who *w, const struct nsmon_ns_set *now, uint64_t time,
		       enum nsmon_reason reason)
{
	struct who after = *w;
	struct nsmon_ns_change change;

	after.ns = *now;
	change = whole_change(&w->ns, &after);
	memset(change.reason, (int)reason, sizeof(change.reason));
	w->ns = *now;
	return give(
		(struct event){
			.kind = NSMON_NS, .time = time, .task = &w->task, .change = &change },
		state_event);
}

static int give_ns(struct who *w, enum nsmon_ns_type type, uint32_t inum, uint64_t time)
{
	struct nsmon_ns_set now = w->ns;

	now.inum[type] = inum;
	return give_change(w, &now, time, NSMON_REASON_UNSHARE);
}

static void unshares(struct who *w, enum nsmon_ns_type type, uint32_t inum, uint64_t time)
{
	assert_int_equal(give_ns(w, type, inum, time), 0);
}

static void execs(struct who *w, uint32_t old_tid, uint64_t time)
{
	w->exec_id++;
	assert_int_equal(
		give((struct event){ .kind = NSMON_EXEC,
				     .time = time,
				     .task = &w->task,
				     .exec = { .exec_id = w->exec_id, .old_tid = old_tid } },
		     state_event),
		0);
}

static void exits(const struct who *w, uint64_t time)
{
	assert_int_equal(give((struct event){ .kind = NSMON_EXIT, .time = time, .task = &w->task },
			      state_event),
			 0);
}

static void pass_task(const struct who *w, uint64_t time, uint32_t flags)
{
	assert_int_equal(give(picture(w, time, flags), state_pass_task), 0);
}

static void end_pass(void)
{
	assert_int_equal(state_end_pass(table), 0);
}

/* A pass that is not disturbed: these tasks and no others, up to NULL. */
static void pass(uint64_t time, const struct who *first, ...)
{
	va_list more;

	state_begin_pass(table, time, true);
	va_start(more, first);
	for (const struct who *w = first; w; w = va_arg(more, const struct who *))
		pass_task(w, time + MS, 0);
	va_end(more);
	end_pass();
}

static void has_ns(uint32_t tid, enum nsmon_ns_type type, uint32_t inum)
{
	assert_true(reader.rows[tid].exists && reader.rows[tid].known);
	assert_int_equal(reader.rows[tid].ns.inum[type], inum);
}

/* ---- the first picture and what was waiting when it was taken ---- */

static void test_seed(void **state)
{
	(void)state;
	seed(&init, 0);
	seed(&a, 0);
	says("proc 1; proc 10");
	assert_false(state_can_repair(table));
	state_seeded(table, BEGIN, END);
	assert_true(state_can_repair(table));
	assert_false(state_take_doubt(table));
	assert_int_equal(state_tasks(table), 2);
	says("");
}

/* Without -s nothing is told of them, but they are known all the same. */
static void test_seed_untold(void **state)
{
	(void)state;
	assert_int_equal(give(picture(&init, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&a, 150 * MS, 0), seed_untold), 0);
	state_seeded(table, BEGIN, END);
	says("");
	assert_int_equal(state_tasks(table), 2);
	reader.rows[10].exists = true;
	pass(300 * MS, &init, &a, NULL);
	says("");
	exits(&a, 400 * MS);
	says("exit 10");
}

static void test_seed_that_is_not_written(void **state)
{
	(void)state;
	seed(&init, 0);
	refuse = 1;
	seed(&a, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1");
	assert_int_equal(state_tasks(table), 1);
	pass(300 * MS, &init, &a, NULL);
	says("fork 10 of 1 found");
	error = -EPIPE;
	assert_int_equal(give(picture(&b, 150 * MS, 0), seed_told), -EPIPE);
}

/* Without -T, a thread that has gone elsewhere is told, but has no row. */
static void test_seed_thread(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	thread.ns.inum[NSMON_NS_NET] = 7;
	seed(&init, 0);
	seed(&a, 0);
	seed(&thread, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10; proc 11");
	assert_int_equal(state_tasks(table), 3);
	pass(300 * MS, &init, &a, &thread, NULL); /* quiet: it does not appear again */
	says("");
	state_begin_pass(table, 400 * MS, false);
	pass_task(&init, 401 * MS, 0);
	pass_task(&a, 401 * MS, 0);
	pass_task(&thread, 401 * MS, 0);
	says("proc 11 found");
	end_pass();
	assert_int_equal(state_tasks(table), 3);
	state_begin_pass(table, 500 * MS, false); /* it has ended meanwhile */
	pass_task(&init, 501 * MS, 0);
	pass_task(&a, 501 * MS, 0);
	end_pass();
	says("");
	assert_int_equal(state_tasks(table), 2);
}

static void test_events_that_the_picture_shows(void **state)
{
	struct nsmon_ns_set before = a.ns;

	(void)state;
	a.ns.inum[NSMON_NS_NET] = 7;
	a.exec_id = 5;
	seed_both();
	/* All of them from before the row was read. */
	forks(&init, &a, 120 * MS);
	a.exec_id = 4;
	execs(&a, 0, 121 * MS);
	a.ns = before;
	unshares(&a, NSMON_NS_NET, 7, 122 * MS);
	unshares(&a, NSMON_NS_UTS, 3, 123 * MS);
	says("");
	assert_int_equal(state_tasks(table), 2);
}

static void test_events_after_the_row_was_read(void **state)
{
	(void)state;
	seed_both();
	unshares(&a, NSMON_NS_NET, 7, 160 * MS);
	execs(&a, 0, 161 * MS);
	forks(&a, &b, 162 * MS);
	exits(&a, 163 * MS);
	says("ns 10 net 103>7; exec 10; fork 20 of 10; exit 10");
	has_ns(20, NSMON_NS_NET, 7);
	assert_int_equal(state_tasks(table), 2);
}

/* The same moment, by two CPUs' clocks: what the row shows counts. */
static void test_events_when_the_row_was_read(void **state)
{
	struct nsmon_ns_set before = a.ns, after = a.ns;

	(void)state;
	a.exec_id = 5;
	a.ns.inum[NSMON_NS_NET] = 7;
	seed_both();
	a.exec_id = 4;
	execs(&a, 0, 150 * MS + 20); /* a program shows before its record is out */
	says("");
	after.inum[NSMON_NS_NET] = 7;
	after.inum[NSMON_NS_UTS] = 8;
	a.ns = before;
	assert_int_equal(give_change(&a, &after, 150 * MS + 10, NSMON_REASON_SETNS), 0);
	says("ns 10 uts 101>8"); /* and the net namespace is there already */
	has_ns(10, NSMON_NS_NET, 7);
	execs(&a, 0, 160 * MS);
	says("exec 10");
}

static void test_tasks_that_ended_before_the_picture_was_complete(void **state)
{
	struct who c = who(30, 30, 20), thread = who(31, 30, 20);

	(void)state;
	seed_both();
	/* b is not in the picture: everything of it and its child is past. */
	forks(&b, &c, 110 * MS);
	execs(&c, 0, 111 * MS);
	unshares(&c, NSMON_NS_NET, 7, 112 * MS);
	exits(&c, 113 * MS);
	exits(&b, 114 * MS);
	says("");
	/* A thread's changes are told or not, but nobody's row changes. */
	assert_int_equal(give_ns(&thread, NSMON_NS_NET, 8, 90 * MS), 0);
	says("");
	assert_int_equal(state_tasks(table), 2);
	assert_false(state_take_doubt(table));
}

/* Its creator is in the picture, and it has come and gone behind it. */
static void test_child_of_the_backlog(void **state)
{
	struct who c = who(30, 30, 20);

	(void)state;
	seed_both();
	forks_whole(&a, &a.ns, &b, 155 * MS);
	forks_whole(&b, &b.ns, &c, 156 * MS);
	unshares(&b, NSMON_NS_NET, 7, 157 * MS);
	exits(&b, 158 * MS);
	says("fork 20 of 10; fork 30 of 20; ns 20 net 103>7; exit 20");
	has_ns(30, NSMON_NS_NET, 103);
	assert_false(state_take_doubt(table));
}

/*
 * The child was made before its creator's row was read, and had ended when it
 * came to its own: what it began with is not what the row shows.
 */
static void test_child_from_before_its_creators_row(void **state)
{
	(void)state;
	a.ns.inum[NSMON_NS_NET] = 7;
	seed_both();
	a.ns.inum[NSMON_NS_NET] = 103;
	forks_whole(&a, &a.ns, &b, 120 * MS);
	says("fork 20 of 10; ns 20 net 7>103");
	unshares(&a, NSMON_NS_NET, 7, 121 * MS);
	exits(&b, 122 * MS);
	says("exit 20");
}

static void test_ending_tasks(void **state)
{
	struct who c = who(30, 30, 1);

	(void)state;
	seed(&init, 0);
	seed(&a, NSMON_PROC_ENDING);
	seed(&b, NSMON_PROC_ENDING | NSMON_PROC_ENDED);
	state_seeded(table, BEGIN, END);
	says("proc 1");
	assert_int_equal(state_tasks(table), 1);
	exits(&b, 120 * MS); /* before its row was read */
	exits(&a, 160 * MS); /* behind it */
	says("");
	/* Their children are nobody's that a reader knows. */
	begin();
	seed(&init, 0);
	seed(&a, NSMON_PROC_ENDING);
	state_seeded(table, BEGIN, END);
	c.task.ppid = 10;
	forks(&a, &c, 145 * MS);
	says("proc 1");
}

/* It takes its time to end, past another picture. */
static void test_ending_task_and_a_later_picture(void **state)
{
	(void)state;
	seed(&init, 0);
	seed(&a, NSMON_PROC_ENDING);
	state_seeded(table, BEGIN, END);
	says("proc 1");
	for (uint64_t time = 300; time < 600; time += 100) {
		state_begin_pass(table, time * MS, true);
		pass_task(&init, time * MS + 1, 0);
		pass_task(&a, time * MS + 1, NSMON_PROC_ENDING);
		end_pass();
		assert_int_equal(state_unsure(table), 0);
		state_end_repair(table);
	}
	exits(&a, 600 * MS);
	says("");
	assert_int_equal(state_tasks(table), 1);
}

/* Its number is another's by now. */
static void test_ending_task_and_reuse(void **state)
{
	struct who again = who(10, 10, 1);

	(void)state;
	seed(&init, 0);
	seed(&a, NSMON_PROC_ENDING);
	state_seeded(table, BEGIN, END);
	again.task.start_ns = again.task.thread_start_ns = 250 * MS;
	forks(&init, &again, 250 * MS);
	says("proc 1; fork 10 of 1");
	exits(&again, 260 * MS);
	says("exit 10");
	assert_int_equal(state_tasks(table), 1);
}

/* ---- live ---- */

static void test_fork_of_a_live_unknown_creator(void **state)
{
	struct who c = who(30, 30, 20);

	(void)state;
	seed_both();
	forks(&b, &c, 300 * MS);
	says("fork 30 of 20");
	assert_true(state_take_doubt(table)); /* whose row nobody knows */
	assert_false(state_take_doubt(table));
	c.task.ppid = 1;
	pass(400 * MS, &init, &a, &c, NULL);
	says("proc 30 found");
	has_ns(30, NSMON_NS_NET, 103);
	/* With everything in the record nothing is in doubt. */
	begin();
	seed_both();
	forks_whole(&b, &b.ns, &c, 300 * MS);
	says("fork 30 of 20; proc 30 found");
	has_ns(30, NSMON_NS_NET, 103);
}

/* Without -T a child of a thread begins as its process's main thread. */
static void test_child_of_a_thread(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	seed_both();
	thread.ns.inum[NSMON_NS_NET] = 7;
	b.ns.inum[NSMON_NS_NET] = 7;
	forks_whole(&thread, &a.ns, &b, 300 * MS);
	says("fork 20 of 10; ns 20 net 103>7");
	has_ns(20, NSMON_NS_NET, 7);
	/* The main thread has gone to 8, which the kernel read too late or too early. */
	unshares(&a, NSMON_NS_UTS, 8, 310 * MS);
	says("ns 10 uts 101>8");
	b = who(30, 30, 10);
	b.ns.inum[NSMON_NS_NET] = 7;
	thread.ns = init.ns;
	forks_whole(&thread, &thread.ns, &b, 311 * MS);
	says("fork 30 of 10; ns 30 uts 8>101; ns 30 net 103>7");
	has_ns(30, NSMON_NS_UTS, 101);
	/* And where only the change was asked for, there is no row. */
	thread = who(12, 10, 1);
	thread.ns.inum[NSMON_NS_IPC] = 9;
	{
		const struct nsmon_ns_change change = whole_change(&a.ns, &thread);

		assert_int_equal(give_fork_with(&a, &thread, 320 * MS, &change, false), 0);
	}
	says("ns 12 uts 8>101; ns 12 ipc 102>9");
	assert_int_equal(state_tasks(table), 4);
}

/* A change begins with something else than what was told: that was lost. */
static void test_healing(void **state)
{
	struct nsmon_ns_set now;

	(void)state;
	seed_both();
	a.ns.inum[NSMON_NS_NET] = 7; /* lost */
	unshares(&a, NSMON_NS_NET, 8, 300 * MS);
	says("ns 10 net 103>7 found; ns 10 net 7>8");
	/* A type that did not change now, but has before. */
	a.ns.inum[NSMON_NS_UTS] = 9;
	unshares(&a, NSMON_NS_NET, 10, 301 * MS);
	says("ns 10 uts 101>9 found; ns 10 net 8>10");
	/* Back to what it was told to be: nothing to say. */
	a.ns.inum[NSMON_NS_IPC] = 11;
	unshares(&a, NSMON_NS_IPC, 102, 302 * MS);
	says("");
	/* Type by type, in their order. */
	now = a.ns;
	a.ns.inum[NSMON_NS_MNT] = 12;
	now.inum[NSMON_NS_MNT] = 13;
	now.inum[NSMON_NS_TIME] = 14;
	a.ns.id[NSMON_NS_USER] = now.id[NSMON_NS_USER] =
		15; /* the same number, another namespace */
	assert_int_equal(give_change(&a, &now, 303 * MS, NSMON_REASON_SETNS), 0);
	says("ns 10 mnt 100>12 found; ns 10 mnt 12>13; ns 10 user 106>106 found; ns 10 time "
	     "108>14");
	pass(400 * MS, &init, &a, NULL);
	says("");
}

/*
 * The stream without a snapshot begins when nsmon attaches: the picture, which
 * nobody is told of, is no reason to keep silent about what came before it.
 */
static void test_silent_picture(void **state)
{
	struct who c = who(30, 30, 10);

	(void)state;
	b.exec_id = 7;
	assert_int_equal(give(picture(&init, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&a, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&b, 151 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&c, 151 * MS, NSMON_PROC_ENDING), seed_untold), 0);
	state_seeded(table, BEGIN, END);
	says("");
	b.exec_id = 6;
	b.ns.inum[NSMON_NS_NET] = 5;
	forks(&a, &b, 120 * MS);
	unshares(&b, NSMON_NS_NET, 103, 125 * MS);
	execs(&b, 0, 130 * MS);
	forks(&a, &c, 131 * MS);
	exits(&c, 152 * MS);
	says("fork 20 of 10; ns 20 net 5>103; exec 20; fork 30 of 10; exit 30");
	unshares(&b, NSMON_NS_NET, 9, 400 * MS);
	exits(&b, 500 * MS);
	says("ns 20 net 103>9; exit 20");
	/* Nor is it forgotten for that: a later picture finds nothing new. */
	pass(600 * MS, &init, &a, NULL);
	says("");
}

/*
 * The picture shows a child before its fork, and an end before its exit, are recorded:
 * both may be later than the picture's end, and are told all the same.
 */
static void test_silent_picture_in_the_midst(void **state)
{
	struct who c = who(30, 30, 10);

	(void)state;
	assert_int_equal(give(picture(&init, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&a, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&b, END - 1, 0), seed_untold), 0);
	assert_int_equal(give(picture(&c, END - 1, NSMON_PROC_ENDING), seed_untold), 0);
	state_seeded(table, BEGIN, END);
	reader.rows[30].exists = true;
	forks(&a, &b, END + 1);
	exits(&c, END + 1);
	says("fork 20 of 10; exit 30");
	unshares(&b, NSMON_NS_NET, 9, 400 * MS);
	exits(&b, 500 * MS);
	says("ns 20 net 103>9; exit 20");
	pass(600 * MS, &init, &a, NULL);
	says("");
}

/* Nor does it keep silent about changes where no forks and exits are asked for. */
static void test_silent_picture_of_changes(void **state)
{
	(void)state;
	options.events = 1U << NSMON_NS;
	begin();
	assert_int_equal(give(picture(&init, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&a, 150 * MS, 0), seed_untold), 0);
	assert_int_equal(give(picture(&b, 151 * MS, NSMON_PROC_ENDING), seed_untold), 0);
	state_seeded(table, BEGIN, END);
	reader.rows[10].exists = reader.rows[20].exists = true;
	unshares(&a, NSMON_NS_NET, 9, 120 * MS);
	unshares(&b, NSMON_NS_NET, 8, 121 * MS);
	says("ns 10 net 103>9; ns 20 net 103>8");
}

static void test_unknown_task(void **state)
{
	struct who c = who(30, 30, 99);

	(void)state;
	seed_both();
	/* Its fork was lost; it begins as its parent, and is told what it differs in. */
	b.ns.inum[NSMON_NS_UTS] = 7;
	unshares(&b, NSMON_NS_NET, 8, 300 * MS);
	says("fork 20 of 10 found; ns 20 uts 101>7 found; ns 20 net 103>8");
	assert_true(state_take_doubt(table));
	/* Nor is its parent known. */
	unshares(&c, NSMON_NS_NET, 9, 301 * MS);
	says("proc 30 found; ns 30 net 103>9");
	has_ns(30, NSMON_NS_NET, 9);
	has_ns(30, NSMON_NS_MNT, 100);
	/* An exec alone says nothing of namespaces: a picture does. */
	c = who(40, 40, 99);
	execs(&c, 0, 302 * MS);
	says("fork 40 of 99 found; exec 40");
	assert_true(state_take_doubt(table));
	pass(400 * MS, &init, &a, &b, NULL);
	says("exit 30 found; exit 40 found");
	exits(&c, 500 * MS);
	says("fork 40 of 99 found; exit 40");
}

static void test_exec_is_told_once(void **state)
{
	(void)state;
	seed_both();
	a.exec_id = 6;
	pass(300 * MS, &init, &a, NULL);
	says("");
	assert_int_equal(state_unsure(table), 1); /* its record may be on its way */
	pass(310 * MS, &init, &a, NULL);
	says("exec 10 found");
	assert_int_equal(state_unsure(table), 0);
	a.exec_id = 5;
	execs(&a, 0, 320 * MS); /* here it is: counted as delivered, so told */
	says("exec 10");
	execs(&a, 0, 330 * MS);
	says("exec 10");
	/* Two programs between two pictures: each has been seen once. */
	a.exec_id = 9;
	pass(340 * MS, &init, &a, NULL);
	a.exec_id = 10;
	pass(350 * MS, &init, &a, NULL);
	says("");
	pass(360 * MS, &init, &a, NULL);
	says("exec 10 found");
}

static void test_reuse_of_a_number(void **state)
{
	struct who again = who(10, 10, 1);

	(void)state;
	again.task.start_ns = again.task.thread_start_ns = 250 * MS;
	seed_both();
	forks(&init, &again, 250 * MS); /* the exit was lost */
	says("exit 10 found; fork 10 of 1");
	again.task.start_ns = again.task.thread_start_ns = 260 * MS;
	execs(&again, 0, 261 * MS); /* and here the fork, too */
	says("exit 10 found; fork 10 of 1 found; exec 10");
	again.task.start_ns = again.task.thread_start_ns = 270 * MS;
	pass(280 * MS, &init, &again, NULL);
	says("exit 10 found; fork 10 of 1 found");
	again.task.start_ns = again.task.thread_start_ns = 290 * MS;
	exits(&again, 291 * MS);
	says("exit 10 found; fork 10 of 1 found; exit 10");
	/* A creator with the number of another one is no creator. */
	again = a;
	again.task.start_ns = 300 * MS;
	begin();
	seed_both();
	forks(&again, &b, 310 * MS);
	says("fork 20 of 10");
	assert_true(state_take_doubt(table));
}

/* ---- threads ---- */

static void test_threads_without_rows(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	seed_both();
	unshares(&thread, NSMON_NS_NET, 7, 300 * MS);
	says("ns 11 net 103>7");
	has_ns(10, NSMON_NS_NET, 103);
	unshares(&thread, NSMON_NS_NET, 103, 301 * MS);
	says("ns 11 net 7>103");
	assert_int_equal(state_tasks(table), 2);
	/* It execs, and is the process: the main thread had been at 8. */
	unshares(&a, NSMON_NS_NET, 8, 302 * MS);
	execs(&a, 11, 303 * MS);
	a.ns = init.ns;
	{
		struct who was = a;

		was.ns.inum[NSMON_NS_NET] = 8;
		assert_int_equal(give_change(&was, &a.ns, 304 * MS, NSMON_REASON_EXEC), 0);
	}
	says("ns 10 net 103>8; exec 10 was 11; ns 10 net 8>103");
	pass(400 * MS, &init, &a, NULL);
	says("");
}

static void test_threads_with_rows(void **state)
{
	struct who thread = who(11, 10, 1), other = who(12, 10, 1);
	struct who was;

	(void)state;
	options.threads = true;
	begin();
	seed_both();
	forks(&a, &thread, 300 * MS);
	forks(&thread, &other, 301 * MS);
	unshares(&thread, NSMON_NS_NET, 7, 302 * MS);
	unshares(&a, NSMON_NS_UTS, 8, 303 * MS);
	says("fork 11 of 10; fork 12 of 11; ns 11 net 103>7; ns 10 uts 101>8");
	/* A child of the thread begins as the thread. */
	b.ns = thread.ns;
	forks(&thread, &b, 304 * MS);
	says("fork 20 of 11");
	has_ns(20, NSMON_NS_NET, 7);
	assert_int_equal(state_tasks(table), 5);
	/* The thread execs: the others end, and it takes the process's number. */
	exits(&other, 310 * MS);
	exits(&a, 311 * MS);
	was = a;
	a.ns = thread.ns;
	execs(&a, 11, 312 * MS);
	assert_int_equal(give_change(&was, &a.ns, 313 * MS, NSMON_REASON_EXEC), 0);
	says("exit 12; exit 10; exec 10 was 11; ns 10 uts 8>101; ns 10 net 103>7");
	assert_int_equal(state_tasks(table), 3);
	pass(400 * MS, &init, &a, &b, NULL);
	says("");
	has_ns(10, NSMON_NS_NET, 7);
}

/* A picture may show a task inside its exec: its time namespace is the new one before that is told. */
static void test_picture_of_a_task_inside_its_exec(void **state)
{
	struct who was;

	(void)state;
	options.threads = true;
	begin();
	was = a;
	a.ns.inum[NSMON_NS_TIME] = 7;
	a.exec_id++;
	seed(&init, 0);
	seed(&a, NSMON_PROC_BUSY);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10");
	a.exec_id--;
	execs(&a, 0, 300 * MS);
	assert_int_equal(give_change(&was, &a.ns, 301 * MS, NSMON_REASON_EXEC), 0);
	says("");
	has_ns(10, NSMON_NS_TIME, 7);
}

/* The exec of the thread, or an exit before it, was lost. */
static void test_threads_with_rows_and_a_loss(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	begin();
	seed_both();
	thread.ns.inum[NSMON_NS_NET] = 7;
	forks_whole(&a, &a.ns, &thread, 300 * MS);
	says("fork 11 of 10; ns 11 net 103>7");
	execs(&a, 11, 301 * MS); /* a's own exit is missing */
	says("exec 10 was 11");
	a.ns = thread.ns;
	pass(400 * MS, &init, &a, NULL);
	says("");
	has_ns(10, NSMON_NS_NET, 7);
	assert_int_equal(state_tasks(table), 2);
	/* Now the exec itself, and the exits. */
	thread = who(12, 10, 1);
	thread.ns.inum[NSMON_NS_UTS] = 8;
	forks_whole(&a, &a.ns, &thread, 410 * MS);
	says("fork 12 of 10; ns 12 uts 101>8; ns 12 net 7>103");
	a.ns = thread.ns;
	a.exec_id = 3;
	pass(500 * MS, &init, &a, NULL);
	says("ns 10 uts 101>8 found; ns 10 net 7>103 found");
	pass(510 * MS, &init, &a, NULL);
	says("exec 10 found; exit 12 found");
}

/* Whose number the thread had was never told to have ended: it must not be moved. */
static void test_exec_of_a_thread_with_the_number_of_another(void **state)
{
	struct who stale = who(11, 11, 1);

	(void)state;
	options.threads = true;
	begin();
	stale.ns.inum[NSMON_NS_NET] = 7;
	seed(&init, 0);
	seed(&a, 0);
	seed(&stale, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10; proc 11");
	execs(&a, 11, 300 * MS);
	pass(400 * MS, &init, &a, NULL);
	has_ns(10, NSMON_NS_NET, 103);
	assert_false(reader.rows[11].exists);
	assert_int_equal(state_tasks(table), reader_count(&reader));
	says("exit 11 found; exec 10 was 11");
}

/* ---- later pictures ---- */

static void test_pass_finds_what_was_lost(void **state)
{
	(void)state;
	seed_both();
	pass(300 * MS, &init, &a, NULL);
	says("");
	b.ns.inum[NSMON_NS_NET] = 7;
	pass(310 * MS, &init, &a, &b, NULL); /* a fork */
	says("fork 20 of 10 found; ns 20 net 103>7 found");
	a.ns.inum[NSMON_NS_MNT] = 8; /* changes */
	a.ns.inum[NSMON_NS_USER] = 9;
	pass(320 * MS, &init, &a, &b, NULL);
	says("ns 10 mnt 100>8 found; ns 10 user 106>9 found");
	pass(330 * MS, &init, &b, NULL); /* an exit */
	says("exit 10 found");
	b.exec_id = 4; /* an exec */
	pass(340 * MS, &init, &b, NULL);
	pass(350 * MS, &init, &b, NULL);
	says("exec 20 found");
	pass(360 * MS, &init, &b, NULL);
	says("");
	assert_int_equal(state_unsure(table), 0);
	assert_int_equal(state_tasks(table), 2);
}

/* Of a parent that nobody knows, it begins with a row of its own. */
static void test_pass_finds_a_stranger(void **state)
{
	struct who c = who(30, 30, 99);

	(void)state;
	seed_both();
	c.ns.inum[NSMON_NS_NET] = 7;
	pass(300 * MS, &init, &a, &c, NULL);
	says("proc 30 found");
	has_ns(30, NSMON_NS_NET, 7);
	pass(310 * MS, &init, &a, &c, NULL);
	says("");
}

static void test_pass_is_not_sure(void **state)
{
	(void)state;
	seed_both();
	a.ns.inum[NSMON_NS_NET] = 7;
	/* In a call: what it has become may not be told yet. */
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, 0);
	pass_task(&a, 301 * MS, NSMON_PROC_BUSY);
	pass_task(&b, 301 * MS, NSMON_PROC_BUSY); /* newborn */
	end_pass();
	says("");
	assert_int_equal(state_unsure(table), 2);
	/* An event came after the row was read. */
	a.ns.inum[NSMON_NS_NET] = 103;
	state_begin_pass(table, 310 * MS, true);
	pass_task(&init, 311 * MS, 0);
	unshares(&a, NSMON_NS_NET, 7, 312 * MS);
	says("ns 10 net 103>7");
	a.ns.inum[NSMON_NS_NET] = 103;
	pass_task(&a, 311 * MS, 0); /* the old row */
	end_pass();
	says("");
	assert_int_equal(state_unsure(table), 1);
	a.ns.inum[NSMON_NS_NET] = 7;
	/* It is about to end. */
	state_begin_pass(table, 320 * MS, true);
	pass_task(&init, 321 * MS, 0);
	pass_task(&a, 321 * MS, NSMON_PROC_ENDING);
	pass_task(&b, 321 * MS, NSMON_PROC_ENDING); /* never told: need not be */
	end_pass();
	says("");
	assert_int_equal(state_unsure(table), 1);
	/* Its exit record is out, but did not come. */
	state_begin_pass(table, 330 * MS, true);
	pass_task(&init, 331 * MS, 0);
	pass_task(&a, 331 * MS, NSMON_PROC_ENDING | NSMON_PROC_ENDED);
	pass_task(&b, 331 * MS, NSMON_PROC_ENDING | NSMON_PROC_ENDED);
	end_pass();
	says("exit 10 found");
	assert_int_equal(state_unsure(table), 0);
}

static void test_pass_and_a_fork_meanwhile(void **state)
{
	(void)state;
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, 0);
	pass_task(&a, 301 * MS, 0);
	forks(&a, &b, 302 * MS); /* the iterator was past its number */
	end_pass();
	says("fork 20 of 10");
	/* Read before its record came. */
	exits(&b, 303 * MS);
	state_begin_pass(table, 310 * MS, true);
	b.task.start_ns = b.task.thread_start_ns = 311 * MS;
	forks(&a, &b, 311 * MS);
	pass_task(&init, 312 * MS, 0);
	pass_task(&a, 312 * MS, 0);
	pass_task(&b, 312 * MS, 0);
	end_pass();
	says("exit 20; fork 20 of 10");
}

/* Without its namespaces there is nothing to compare, but it lives. */
static void test_partial_rows(void **state)
{
	struct who partial = who(10, 10, 1);
	struct who thread = who(11, 10, 1);
	struct nsmon_ns_set all = a.ns;

	(void)state;
	memset(&partial.ns, 0, sizeof(partial.ns));
	partial.ns.inum[NSMON_NS_PID] = FIRST(NSMON_NS_PID);
	partial.ns.inum[NSMON_NS_USER] = FIRST(NSMON_NS_USER);
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, 0);
	pass_task(&partial, 301 * MS, NSMON_PROC_PARTIAL);
	end_pass();
	says("");
	assert_int_equal(state_unsure(table), 0);
	/* Met like that by the first picture: its thread execs, and it has all again. */
	begin();
	seed(&init, 0);
	seed(&partial, NSMON_PROC_PARTIAL);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10");
	b.ns = all;
	forks_whole(&thread, &all, &b, 300 * MS);
	says("fork 20 of 10; proc 20 found");
	has_ns(20, NSMON_NS_NET, 103);
	execs(&a, 11, 301 * MS);
	says("exec 10 was 11");
	assert_true(state_take_doubt(table));
	pass(400 * MS, &init, &a, &b, NULL);
	says("proc 10 found");
	has_ns(10, NSMON_NS_NET, 103);
}

/* Read, then its exit came, then the row was handed over. */
static void test_nobody_rises_from_the_dead(void **state)
{
	(void)state;
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	exits(&a, 302 * MS);
	says("exit 10");
	assert_int_equal(state_tasks(table), 1);
	pass_task(&init, 301 * MS, 0);
	pass_task(&a, 301 * MS, 0);
	end_pass();
	says("");
	/* In the next pass of the same repair it is past. */
	pass(310 * MS, &init, NULL);
	says("");
	state_end_repair(table);
	assert_int_equal(state_tasks(table), 1);
	/* One whose whole life was in a pass, and whose number lives on. */
	state_begin_pass(table, 320 * MS, true);
	b.task.start_ns = b.task.thread_start_ns = 321 * MS;
	forks(&init, &b, 321 * MS);
	exits(&b, 323 * MS);
	b.task.start_ns = b.task.thread_start_ns = 324 * MS;
	forks(&init, &b, 324 * MS);
	says("fork 20 of 1; exit 20; fork 20 of 1");
	b.task.start_ns = b.task.thread_start_ns = 321 * MS;
	state_end_repair(table);
	b.task.start_ns = b.task.thread_start_ns = 324 * MS;
	pass(330 * MS, &init, &b, NULL);
	says("");
	assert_int_equal(state_tasks(table), 2);
}

/* Its parent has ended in this pass: a reader has no row of it any more. */
static void test_stranger_whose_parent_has_ended(void **state)
{
	(void)state;
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	exits(&a, 302 * MS);
	pass_task(&init, 301 * MS, 0);
	pass_task(&b, 301 * MS, 0); /* read before that */
	end_pass();
	says("exit 10; proc 20 found");
	has_ns(20, NSMON_NS_NET, 103);
}

/* A thread execs between the reading of its row and the handing over. */
static void test_thread_that_moves_in_a_pass(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	begin();
	seed_both();
	forks(&a, &thread, 250 * MS);
	says("fork 11 of 10");
	state_begin_pass(table, 300 * MS, true);
	exits(&a, 302 * MS);
	execs(&a, 11, 303 * MS);
	says("exit 10; exec 10 was 11");
	pass_task(&init, 301 * MS, 0);
	pass_task(&thread, 301 * MS, 0);
	end_pass();
	says("");
	state_end_repair(table);
	assert_int_equal(state_tasks(table), 2);
}

/* Whose exits were lost: of a main thread while its process lives, of a thread, and of a whole process. */
static void test_what_ended_is_told(void **state)
{
	const uint32_t ended = NSMON_PROC_ENDING | NSMON_PROC_ENDED;
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	begin();
	seed_both();
	forks(&a, &thread, 250 * MS);
	says("fork 11 of 10");
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, NSMON_PROC_LIVES);
	pass_task(&a, 301 * MS, ended | NSMON_PROC_LIVES);
	pass_task(&thread, 301 * MS, NSMON_PROC_LIVES);
	end_pass();
	says("exit 10 found");
	assert_false(last_exit_ends_process);
	pass(310 * MS, &init, NULL);
	says(""); /* it may be another number's by now */
	pass(320 * MS, &init, NULL);
	says("exit 11 found");
	assert_false(last_exit_ends_process);
	/* It lived when the picture before showed it, and is gone. */
	begin();
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, NSMON_PROC_LIVES);
	pass_task(&a, 301 * MS, NSMON_PROC_LIVES);
	end_pass();
	pass(310 * MS, &init, NULL);
	says("exit 10 found");
	assert_true(last_exit_ends_process);
	/* Nobody has waited for it yet. */
	begin();
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, NSMON_PROC_LIVES);
	pass_task(&a, 301 * MS, ended);
	end_pass();
	says("exit 10 found");
	assert_true(last_exit_ends_process);
}

/* Its number is the main thread's already, and its record is not out: it has not ended. */
static void test_thread_about_to_exec(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	for (int seen = 0; seen < 2; seen++) {
		begin();
		seed_both();
		forks(&a, &thread, 250 * MS);
		exits(&a, 260 * MS);
		says("fork 11 of 10; exit 10");
		for (uint64_t time = 300; time < (seen ? 340 : 310); time += 10) {
			state_begin_pass(table, time * MS, true);
			pass_task(&init, (time + 1) * MS, NSMON_PROC_LIVES);
			if (seen) /* else the pass came between the two numbers */
				pass_task(&a, (time + 1) * MS, NSMON_PROC_BUSY | NSMON_PROC_LIVES);
			end_pass();
			assert_true(state_unsure(table) > 0);
			says("");
		}
		execs(&a, 11, 350 * MS);
		says("exec 10 was 11");
		pass(400 * MS, &init, &a, NULL);
		says("");
		assert_int_equal(state_tasks(table), 2);
	}
}

/* A main thread that has ended, and the thread that execed in its place: one number, one start. */
static void test_thread_takes_over(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	for (int exec_is_lost = 0; exec_is_lost < 2; exec_is_lost++) {
		begin();
		seed(&init, 0);
		seed(&a, NSMON_PROC_ENDING | NSMON_PROC_ENDED);
		seed(&thread, 0);
		state_seeded(table, BEGIN, END);
		says("proc 1; proc 11");
		if (!exec_is_lost) {
			execs(&a, 11, 300 * MS);
			says("exec 10 was 11");
		}
		a.exec_id = 1;
		pass(310 * MS, &init, &a, NULL);
		if (exec_is_lost)
			says("fork 10 of 1 found");
		pass(320 * MS, &init, &a, NULL);
		says(exec_is_lost ? "exec 10 found; exit 11 found" : "");
		assert_int_equal(state_tasks(table), 2);
		/* Again; nothing was told of the thread, and all of it in one pass. */
		state_begin_pass(table, 400 * MS, true);
		exits(&a, 402 * MS);
		says("exit 10");
		if (!exec_is_lost)
			execs(&a, 12, 403 * MS);
		a.exec_id = 2;
		pass_task(&init, 404 * MS, 0);
		pass_task(&a, 404 * MS, 0);
		end_pass();
		says(exec_is_lost ? "fork 10 of 1 found" : "fork 10 of 1 found; exec 10 was 12");
		pass(410 * MS, &init, &a, NULL);
		says(exec_is_lost ? "exec 10 found" : "");
		assert_int_equal(state_tasks(table), 2);
	}
}

/* The first picture met the main thread that had ended, and no more the thread that took its place. */
static void test_passed_over(void **state)
{
	struct who child = who(30, 30, 10), grandchild = who(40, 40, 30), brief = who(50, 50, 30);

	(void)state;
	seed(&init, 0);
	seed(&a, NSMON_PROC_ENDING);
	state_seeded(table, BEGIN, END);
	says("proc 1");
	execs(&a, 11, 300 * MS);
	assert_true(state_take_doubt(table));
	unshares(&a, NSMON_NS_NET, 7, 305 * MS);
	/* By whom they are nobody knows yet. */
	forks(&a, &child, 310 * MS);
	execs(&child, 0, 320 * MS);
	forks(&child, &grandchild, 330 * MS);
	forks(&child, &brief, 331 * MS);
	exits(&brief, 340 * MS);
	says("");
	assert_true(state_take_doubt(table));
	assert_int_equal(state_tasks(table), 1);
	pass(400 * MS, &init, &a, &child, &grandchild, NULL);
	says("fork 10 of 1 found; ns 10 net 103>7 found; fork 30 of 10 found; "
	     "ns 30 net 7>103 found; fork 40 of 30 found");
	state_end_repair(table);
	assert_int_equal(state_tasks(table), 4);
	exits(&grandchild, 500 * MS);
	exits(&child, 501 * MS);
	exits(&a, 502 * MS);
	says("exit 40; exit 30; exit 10");
}

/* Does the table have who makes that child? */
static bool knows_creator(const struct who *creator, const struct who *child)
{
	const struct event event = { .kind = NSMON_FORK,
				     .task = &child->task,
				     .fork = { .creator_pid = creator->task.pid,
					       .creator_tid = creator->task.tid,
					       .creator_start_ns = creator->task.start_ns } };

	return state_knows(table, &event);
}

/*
 * Numbers began anew while the first picture was taken: the creator ended before the picture came to
 * its number, and the child lives behind it.
 */
static void test_child_behind_the_picture(void **state)
{
	struct who creator = who(90, 90, 1), child = who(5, 5, 90), ended = who(95, 95, 90);
	struct who grandchild = who(96, 96, 5);

	(void)state;
	child.task.ppid = 1;
	seed(&init, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1");
	assert_true(knows_creator(&init, &child));
	assert_false(knows_creator(&creator, &child));
	forks(&creator, &ended, END - 3 * MS); /* its number would have been met */
	assert_false(state_take_doubt(table));
	forks(&creator, &child, END - 2 * MS);
	assert_true(state_take_doubt(table));
	exits(&creator, END - 1 * MS);
	forks(&child, &grandchild, END + 10 * MS);
	says(""); /* by whom it is nobody could know */
	pass(END + 100 * MS, &init, &child, &grandchild, NULL);
	says("fork 5 of 1 found; fork 96 of 5 found");
	exits(&grandchild, END + 200 * MS);
	exits(&child, END + 201 * MS);
	says("exit 96; exit 5");
}

/* Its creator was preempted while it told of the birth: the record is older than the picture, and comes later. */
static void test_birth_during_a_pass(void **state)
{
	(void)state;
	seed_both();
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, 0);
	pass_task(&a, 301 * MS, 0);
	pass_task(&b, 301 * MS, NSMON_PROC_BUSY);
	assert_int_equal(state_unsure(table), 1);
	forks(&a, &b, 299 * MS);
	end_pass();
	says("fork 20 of 10");
	pass(310 * MS, &init, &a, NULL); /* and its end was lost */
	says("exit 20 found");
}

/* What it had left before it was met is not where its change begins. */
static void test_change_of_a_partial_row(void **state)
{
	struct nsmon_ns_set all = a.ns;

	(void)state;
	memset(&a.ns, 0, sizeof(a.ns));
	seed(&init, 0);
	seed(&a, NSMON_PROC_PARTIAL);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10");
	execs(&a, 11, 300 * MS);
	a.ns = all;
	all.inum[NSMON_NS_TIME] = 7;
	assert_int_equal(give_change(&a, &all, 301 * MS, NSMON_REASON_EXEC), 0);
	says("exec 10 was 11; proc 10 found; ns 10 time 108>7");
	has_ns(10, NSMON_NS_NET, 103);
}

/* ---- what was asked for ---- */

static void test_types(void **state)
{
	struct nsmon_ns_set now;

	(void)state;
	options.types = 1 << NSMON_NS_NET;
	begin();
	seed_both();
	a.ns.inum[NSMON_NS_UTS] = 7; /* nobody hears of it */
	unshares(&a, NSMON_NS_NET, 8, 300 * MS);
	says("ns 10 net 103>8");
	a.ns.inum[NSMON_NS_UTS] = 9;
	now = a.ns;
	a.ns.inum[NSMON_NS_NET] = 10;
	now.inum[NSMON_NS_NET] = 11;
	assert_int_equal(give_change(&a, &now, 301 * MS, NSMON_REASON_SETNS), 0);
	says("ns 10 net 8>10 found; ns 10 net 10>11");
	b.ns = a.ns;
	b.ns.inum[NSMON_NS_UTS] = 12;
	b.ns.inum[NSMON_NS_NET] = 13;
	forks_whole(&a, &a.ns, &b, 302 * MS);
	says("fork 20 of 10; ns 20 net 11>13");
	b.ns.inum[NSMON_NS_UTS] = 14;
	b.ns.inum[NSMON_NS_NET] = 15;
	pass(400 * MS, &init, &a, &b, NULL);
	says("ns 20 net 13>15 found");
	pass(410 * MS, &init, &a, &b, NULL);
	says("");
}

/* Where only some reasons are told, rows are not what the kernel has: nothing is fitted. */
static void test_reasons(void **state)
{
	(void)state;
	options.reasons = 1 << NSMON_REASON_UNSHARE;
	begin();
	seed_both();
	memset(&reader.rows[10].ns, 0, sizeof(reader.rows[10].ns));
	a.ns.inum[NSMON_NS_NET] = 7; /* by setns() */
	unshares(&a, NSMON_NS_NET, 8, 300 * MS);
	says("ns 10 net 7>8");
	a.ns.inum[NSMON_NS_NET] = 9;
	b.ns = a.ns;
	forks(&a, &b, 301 * MS);
	says("fork 20 of 10");
	b.exec_id = 3;
	pass(400 * MS, &init, &a, &b, NULL);
	pass(410 * MS, &init, &a, &b, NULL);
	says("exec 20 found"); /* tasks and programs are found again, namespaces are not */
	pass(420 * MS, &init, &a, NULL);
	says("exit 20 found");
	/* A stranger's row stays unknown, and no picture could tell: nobody asks for one. */
	b.task.ppid = 99;
	pass(430 * MS, &init, &a, &b, NULL);
	says("proc 20 found");
	state_take_doubt(table);
	execs(&b, 0, 440 * MS);
	says("exec 20");
	assert_false(state_take_doubt(table));
}

/* Without forks or exits rows would grow old: there are none. */
static void test_no_table(void **state)
{
	static const uint32_t events[] = { 1 << NSMON_NS,
					   1 << NSMON_FORK | 1 << NSMON_EXEC | 1 << NSMON_NS,
					   1 << NSMON_EXIT | 1 << NSMON_NS };
	struct who again = who(10, 10, 1);

	(void)state;
	again.task.start_ns = again.task.thread_start_ns = 180 * MS;
	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		options.events = events[i];
		begin();
		seed_both();
		assert_false(state_can_repair(table));
		/* What the picture shows is not told twice. */
		unshares(&a, NSMON_NS_NET, 7, 120 * MS);
		says("");
		a.ns = init.ns;
		unshares(&a, NSMON_NS_UTS, 8, 160 * MS);
		says("ns 10 uts 101>8");
		/* Its number is another's already: no exit is made up. */
		reader.rows[10].known = false;
		again.ns = init.ns;
		unshares(&again, NSMON_NS_UTS, 9, 190 * MS);
		says("ns 10 uts 101>9");
		/* After it everything is told as it comes, and nothing is kept. */
		unshares(&again, NSMON_NS_UTS, 10, 300 * MS);
		says("ns 10 uts 9>10");
		assert_int_equal(state_tasks(table), 0);
		reader.rows[20].exists = true;
		unshares(&b, NSMON_NS_NET, 11, 301 * MS);
		says("ns 20 net 103>11");
		assert_false(state_take_doubt(table));
		/* A picture has nothing to be held against. */
		pass(400 * MS, &init, &a, &b, NULL);
		pass(410 * MS, &init, NULL);
		says("");
		assert_int_equal(state_tasks(table), 0);
		/* And nothing of it comes back. */
		state_undo(table, 0);
		assert_int_equal(state_tasks(table), 0);
	}
}

static void test_failed_attempt(void **state)
{
	struct nsmon_failed failed = { .error = EPERM, .reason = NSMON_REASON_SETNS };
	struct event event = {
		.kind = NSMON_NS, .time = 300 * MS, .task = &b.task, .failed = &failed
	};

	(void)state;
	seed_both();
	assert_int_equal(give(event, state_event), 0);
	says("ns 20");
	assert_int_equal(state_tasks(table), 2);
	error = -EPIPE;
	assert_int_equal(give(event, state_event), -EPIPE);
}

/* There is no picture where the kernel has no iterator. */
static void test_without_a_picture(void **state)
{
	(void)state;
	forks(&a, &b, 100 * MS);
	b.exec_id = 1;
	execs(&b, 0, 101 * MS);
	unshares(&b, NSMON_NS_NET, 7, 102 * MS);
	exits(&b, 103 * MS);
	says("fork 20 of 10; exec 20; ns 20 net 103>7; exit 20");
	reader.rows[10].exists = true;
	unshares(&a, NSMON_NS_NET, 7, 104 * MS);
	exits(&a, 105 * MS);
	says("ns 10 net 103>7; exit 10");
	assert_false(state_can_repair(table));
	assert_false(state_take_doubt(table));
}

static void test_other_kinds(void **state)
{
	struct event lost = { .kind = NSMON_LOST };

	(void)state;
	seed_both();
	assert_int_equal(state_event(table, &lost), 0);
	assert_int_equal(give(picture(&b, 300 * MS, 0), state_event), 0);
	says("");
	assert_int_equal(state_tasks(table), 2);
}

/* ---- what was not written ---- */

static void test_unwritten(void **state)
{
	struct nsmon_ns_set now;

	(void)state;
	seed_both();
	/* A fork: no row. */
	refuse = 1;
	forks(&a, &b, 300 * MS);
	says("");
	assert_int_equal(state_tasks(table), 2);
	pass(310 * MS, &init, &a, &b, NULL);
	says("fork 20 of 10 found");
	/* One type of three. */
	now = a.ns;
	now.inum[NSMON_NS_MNT] = 7;
	now.inum[NSMON_NS_UTS] = 8;
	now.inum[NSMON_NS_IPC] = 9;
	refuse = 2;
	assert_int_equal(give_change(&a, &now, 320 * MS, NSMON_REASON_UNSHARE), 0);
	says("ns 10 mnt 100>7; ns 10 ipc 102>9");
	pass(330 * MS, &init, &a, &b, NULL);
	says("ns 10 uts 101>8 found");
	/* An exec. */
	refuse = 1;
	execs(&a, 0, 340 * MS);
	pass(350 * MS, &init, &a, &b, NULL);
	pass(351 * MS, &init, &a, &b, NULL);
	says("exec 10 found");
	/* What a pass found out. */
	a.ns.inum[NSMON_NS_NET] = 10;
	a.ns.inum[NSMON_NS_USER] = 11;
	refuse = 1;
	pass(360 * MS, &init, &a, &b, NULL);
	says("ns 10 user 106>11 found");
	pass(361 * MS, &init, &a, &b, NULL);
	says("ns 10 net 103>10 found");
	/* An exit. */
	refuse = 1;
	exits(&b, 370 * MS);
	says("");
	assert_int_equal(state_tasks(table), 3);
	refuse = 1;
	pass(380 * MS, &init, &a, NULL);
	says("");
	assert_int_equal(state_tasks(table), 3);
	pass(390 * MS, &init, &a, NULL);
	says("exit 20 found");
}

/* The first half of a healing is written, the second is not; and then it goes back. */
static void test_unwritten_in_the_middle_of_healing(void **state)
{
	(void)state;
	seed_both();
	a.ns.inum[NSMON_NS_NET] = 7;
	refuse = 2;
	unshares(&a, NSMON_NS_NET, 8, 300 * MS);
	says("ns 10 net 103>7 found");
	a.ns.inum[NSMON_NS_NET] = 103;
	pass(310 * MS, &init, &a, NULL);
	says("ns 10 net 7>103 found");
	has_ns(10, NSMON_NS_NET, 103);
}

static void test_errors_are_passed_on(void **state)
{
	struct nsmon_ns_change change;

	(void)state;
	seed_both();
	error = -EPIPE;
	b.ns.inum[NSMON_NS_NET] = 7;
	change = whole_change(&a.ns, &b);
	assert_int_equal(give_fork_with(&a, &b, 300 * MS, &change, true), -EPIPE);
	assert_int_equal(give_fork_with(&a, &b, 300 * MS, &change, false), -EPIPE);
	assert_int_equal(give_ns(&a, NSMON_NS_NET, 8, 301 * MS), -EPIPE);
	a.ns = init.ns;
	assert_int_equal(give_ns(&b, NSMON_NS_NET, 9, 302 * MS), -EPIPE);
	assert_int_equal(give((struct event){ .kind = NSMON_EXEC,
					      .time = 303 * MS,
					      .task = &a.task,
					      .exec.exec_id = 3 },
			      state_event),
			 -EPIPE);
	assert_int_equal(
		give((struct event){ .kind = NSMON_EXIT, .time = 304 * MS, .task = &a.task },
		     state_event),
		-EPIPE);
	state_begin_pass(table, 310 * MS, false);
	a.ns.inum[NSMON_NS_UTS] = 10;
	assert_int_equal(give(picture(&a, 311 * MS, 0), state_pass_task), -EPIPE);
	assert_int_equal(give(picture(&b, 311 * MS, 0), state_pass_task), -EPIPE);
	assert_int_equal(state_end_pass(table), -EPIPE);
	says("");
	assert_int_equal(state_tasks(table), 2);
}

/* ---- what was written, but did not get through ---- */

static struct reader saved;
static uint64_t saved_seq;

static void save(void)
{
	saved = reader;
	saved_seq = seq;
}

/* The lines since save() are dropped, and their numbers are used again. */
static void undo(void)
{
	reader = saved;
	seq = saved_seq;
	state_undo(table, seq);
	says("");
	assert_int_equal(state_tasks(table), reader_count(&reader));
}

#define after(what)                                                                                \
	do {                                                                                       \
		says(what);                                                                        \
		undo();                                                                            \
	} while (0)

static void test_undo(void **state)
{
	struct nsmon_ns_set now = a.ns;

	(void)state;
	seed_both();
	save();
	/* Each kind, alone. */
	forks(&a, &b, 300 * MS);
	after("fork 20 of 10");
	pass(301 * MS, &init, &a, &b, NULL);
	after("fork 20 of 10 found");
	exits(&a, 302 * MS);
	after("exit 10");
	pass(303 * MS, &init, &a, NULL);
	says("");
	unshares(&a, NSMON_NS_NET, 7, 304 * MS);
	after("ns 10 net 103>7");
	pass(305 * MS, &init, &a, NULL);
	after("ns 10 net 103>7 found");
	execs(&a, 0, 306 * MS);
	after("exec 10");
	pass(307 * MS, &init, &a, NULL);
	after("ns 10 net 103>7 found");
	pass(308 * MS, &init, NULL);
	after("exit 10 found");
	/* All of it, one after another. */
	forks(&a, &b, 310 * MS);
	unshares(&b, NSMON_NS_NET, 9, 311 * MS);
	exits(&a, 312 * MS);
	exits(&b, 313 * MS);
	forks(&init, &b, 314 * MS);
	after("fork 20 of 10; ns 20 net 103>9; exit 10; exit 20; fork 20 of 1");
	/* And it is told again in the end. */
	a.exec_id = 1;
	a.ns = now;
	a.ns.inum[NSMON_NS_NET] = 7;
	pass(400 * MS, &init, &a, &b, NULL);
	pass(401 * MS, &init, &a, &b, NULL);
	says("ns 10 net 103>7 found; fork 20 of 10 found; ns 20 net 7>9 found; exec 10 found");
}

/* Only the last of them did not get through. */
static void test_undo_in_part(void **state)
{
	struct nsmon_ns_set now = a.ns;

	(void)state;
	seed_both();
	forks(&a, &b, 300 * MS);
	unshares(&b, NSMON_NS_NET, 7, 301 * MS);
	said[said_len = 0] = 0;
	save();
	unshares(&b, NSMON_NS_NET, 8, 302 * MS);
	exits(&b, 303 * MS);
	after("ns 20 net 7>8; exit 20");
	has_ns(20, NSMON_NS_NET, 7);
	pass(310 * MS, &init, &a, &b, NULL);
	says("ns 20 net 7>8 found");
	/* Two types of one change: the second goes. Then the first goes back. */
	save();
	now.inum[NSMON_NS_MNT] = 9;
	refuse = 2;
	now.inum[NSMON_NS_UTS] = 10;
	assert_int_equal(give_change(&a, &now, 320 * MS, NSMON_REASON_UNSHARE), 0);
	says("ns 10 mnt 100>9");
	undo();
	now.inum[NSMON_NS_MNT] = 11;
	a.ns.inum[NSMON_NS_MNT] = 100;
	a.ns.inum[NSMON_NS_UTS] = 101;
	assert_int_equal(give_change(&a, &now, 330 * MS, NSMON_REASON_UNSHARE), 0);
	says("ns 10 mnt 100>11; ns 10 uts 101>10");
	saved = reader;
	saved.rows[10].ns.inum[NSMON_NS_UTS] = 101;
	saved_seq = seq - 1;
	undo();
	a.ns.inum[NSMON_NS_MNT] = 100; /* as it was before: but a reader has 11 */
	pass(340 * MS, &init, &a, &b, NULL);
	says("ns 10 mnt 11>100 found; ns 10 uts 101>10 found");
}

static void test_undo_of_a_move(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	begin();
	seed_both();
	forks(&a, &thread, 300 * MS);
	unshares(&thread, NSMON_NS_NET, 7, 301 * MS);
	said[said_len = 0] = 0;
	save();
	exits(&a, 302 * MS);
	execs(&a, 11, 303 * MS);
	after("exit 10; exec 10 was 11");
	assert_int_equal(state_tasks(table), 3);
	a.ns = thread.ns;
	pass(400 * MS, &init, &a, NULL);
	pass(401 * MS, &init, &a, NULL);
	says("ns 10 net 103>7 found; exec 10 found; exit 11 found");
}

/* What was restored in a pass has been seen by it all the same. */
static void test_undo_in_a_pass(void **state)
{
	(void)state;
	seed_both();
	a.ns.inum[NSMON_NS_NET] = 7;
	state_begin_pass(table, 300 * MS, true);
	pass_task(&init, 301 * MS, 0);
	save();
	a.ns.inum[NSMON_NS_NET] = 103;
	unshares(&a, NSMON_NS_NET, 7, 300 * MS - 1);
	pass_task(&a, 301 * MS, 0);
	after("ns 10 net 103>7");
	end_pass();
	says(""); /* it lives */
	pass(310 * MS, &init, &a, NULL);
	says("ns 10 net 103>7 found");
}

static void test_settle(void **state)
{
	(void)state;
	seed_both();
	forks(&a, &b, 300 * MS);
	says("fork 20 of 10");
	state_settle(table);
	state_undo(table, 0); /* it is written: nothing can take it back */
	assert_int_equal(state_tasks(table), 3);
	save();
	exits(&b, 301 * MS);
	after("exit 20");
	assert_int_equal(state_tasks(table), 3);
}

/* More than the output can hold back: the oldest are written for certain. */
static void test_undo_has_an_end(void **state)
{
	(void)state;
	seed_both();
	for (uint32_t i = 0; i < 20000; i++) {
		unshares(&a, NSMON_NS_NET, 1000 + i, 300 * MS + i);
		said[said_len = 0] = 0;
	}
	state_undo(table, seq - 1000);
	reader.rows[10].ns.inum[NSMON_NS_NET] = 1000 + 18999;
	seq -= 1000;
	pass(400 * MS, &init, &a, NULL);
	says("ns 10 net 19999>20999 found");
}

/* The same sets again and again, in more rows than one block has. */
static void test_many_tasks(void **state)
{
	(void)state;
	seed_both();
	for (int round = 0; round < 3; round++) {
		for (uint32_t tid = 100; tid < READER_TASKS; tid++) {
			struct who child = who(tid, tid, 10);

			child.ns.inum[NSMON_NS_NET] = tid % 7 + 1;
			forks_whole(&a, &a.ns, &child, 300 * MS);
			said[said_len = 0] = 0;
		}
		assert_int_equal(state_tasks(table), READER_TASKS - 100 + 2);
		state_settle(table);
		for (uint32_t tid = 100; tid < READER_TASKS; tid++) {
			struct who child = who(tid, tid, 10);

			exits(&child, 301 * MS);
			said[said_len = 0] = 0;
		}
		assert_int_equal(state_tasks(table), 2);
	}
}

/* ---- cgroups ---- */

static struct event moved(struct who *w, uint64_t cgroup_id, uint64_t time, uint32_t flags)
{
	w->task.cgroup_id = cgroup_id;
	return (struct event){ .kind = NSMON_CGROUP,
			       .time = time,
			       .task = &w->task,
			       .proc = { .ns = &w->ns, .exec_id = w->exec_id, .flags = flags } };
}

static int give_move(struct who *w, uint64_t cgroup_id, uint64_t time)
{
	return give(moved(w, cgroup_id, time, 0), state_event);
}

static void moves(struct who *w, uint64_t cgroup_id, uint64_t time)
{
	assert_int_equal(give_move(w, cgroup_id, time), 0);
}

/* Each is told once, with where the task was said to be. */
static void test_moves(void **state)
{
	(void)state;
	a.task.cgroup_id = 7;
	seed_both();
	moves(&a, 8, 300 * MS);
	says("cgroup 10 from 7 to 8");
	moves(&a, 9, 301 * MS);
	says("cgroup 10 from 8 to 9");
	/* A thread group's threads one by one, or the same again: nothing changes. */
	moves(&a, 9, 302 * MS);
	says("");
	moves(&a, 7, 303 * MS);
	says("cgroup 10 from 9 to 7");
	/* What it does there is no move. */
	execs(&a, 0, 304 * MS);
	unshares(&a, NSMON_NS_NET, 7, 305 * MS);
	says("exec 10; ns 10 net 103>7");
	moves(&a, 7, 306 * MS);
	says("");
	/* A child begins where its own record says that it is, as clone3() may have it. */
	b.task.cgroup_id = 5;
	forks(&a, &b, 310 * MS);
	moves(&b, 5, 311 * MS);
	says("fork 20 of 10");
	moves(&b, 6, 312 * MS);
	says("cgroup 20 from 5 to 6");
	exits(&b, 313 * MS);
	exits(&a, 314 * MS);
	says("exit 20; exit 10");
}

/* Records of the move itself may come when others have shown where it is. */
static void test_moves_and_other_records(void **state)
{
	(void)state;
	a.task.cgroup_id = 7;
	seed_both();
	a.task.cgroup_id = 8;
	execs(&a, 0, 300 * MS); /* its record was read after it was moved */
	says("exec 10");
	moves(&a, 8, 299 * MS);
	says("cgroup 10 from 7 to 8"); /* nobody was told where it had come from */
	moves(&a, 8, 301 * MS);
	says("");
}

/* From before the picture's row was read, or when nothing is known. */
static void test_moves_and_the_picture(void **state)
{
	(void)state;
	a.task.cgroup_id = 8;
	seed(&init, 0);
	seed(&a, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10");
	a.task.cgroup_id = 7;
	moves(&a, 7, 120 * MS); /* the row has where it went from there */
	says("");
	moves(&a, 9, 160 * MS);
	says("cgroup 10 from 8 to 9");
	/* One that the picture missed has ended by then. */
	moves(&b, 5, 150 * MS);
	says("");
	assert_false(state_has(table, 20));
}

static void test_move_of_a_stranger(void **state)
{
	(void)state;
	seed_both();
	/* Its fork was lost: its row is as the move has it, which then moves nothing. */
	b.ns.inum[NSMON_NS_NET] = 7;
	moves(&b, 5, 300 * MS);
	says("fork 20 of 10 found");
	assert_true(state_take_doubt(table));
	assert_true(state_has(table, 20));
	moves(&b, 6, 301 * MS);
	says("cgroup 20 from 5 to 6");
	pass(310 * MS, &init, &a, &b, NULL);
	says("ns 20 net 103>7 found");
	/* Without a parent that is known, all of it is told. */
	b = who(30, 30, 29);
	b.ns.inum[NSMON_NS_NET] = 8;
	moves(&b, 5, 320 * MS);
	says("proc 30 found");
	has_ns(30, NSMON_NS_NET, 8);
	/* The number of one that has ended: so it has. */
	b = who(30, 30, 29);
	b.task.start_ns = b.task.thread_start_ns = 321 * MS;
	moves(&b, 5, 322 * MS);
	says("exit 30 found; proc 30 found");
	/* Whose namespaces are gone: a picture will tell. */
	b = who(40, 40, 29);
	b.task.cgroup_id = 5;
	assert_int_equal(
		give((struct event){ .kind = NSMON_CGROUP,
				     .time = 330 * MS,
				     .task = &b.task,
				     .proc = { .ns = &b.ns, .flags = NSMON_PROC_PARTIAL } },
		     state_event),
		0);
	says("fork 40 of 29 found");
}

/* Without -T the row is the main thread's; with it each has its own. */
/* A row that is told as a whole says where the task is. */
static void test_move_that_a_whole_row_tells(void **state)
{
	(void)state;
	a.task.cgroup_id = 7;
	seed(&init, 0);
	b = a;
	memset(&b.ns, 0, sizeof(b.ns));
	seed(&b, NSMON_PROC_PARTIAL);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10");
	a.task.cgroup_id = 8;
	unshares(&a, NSMON_NS_NET, 7, 300 * MS);
	says("proc 10 found; ns 10 net 103>7");
	moves(&a, 8, 301 * MS);
	says("");
	moves(&a, 9, 302 * MS);
	says("cgroup 10 from 8 to 9");
}

static void test_moves_of_threads(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	seed_both();
	moves(&thread, 5, 300 * MS);
	says("");
	/* When it becomes the process, a picture tells where that is now. */
	thread.task.tid = 10;
	thread.task.thread_start_ns = thread.task.start_ns;
	execs(&thread, 11, 301 * MS);
	says("exec 10 was 11");
	assert_true(state_take_doubt(table));
	a.task.cgroup_id = 5;
	a.exec_id = thread.exec_id;
	pass(310 * MS, &init, &a, NULL);
	says("cgroup 10 from 0 to 5 found");
	execs(&a, 11, 320 * MS);
	says("exec 10 was 11");
	assert_false(state_take_doubt(table));
	options.threads = true;
	begin();
	seed_both();
	thread = who(11, 10, 1);
	forks(&a, &thread, 300 * MS);
	says("fork 11 of 10");
	moves(&thread, 5, 301 * MS);
	says("cgroup 11 from 0 to 5");
	moves(&a, 6, 302 * MS);
	says("cgroup 10 from 0 to 6");
	/* The thread becomes the process: it is where it was. */
	exits(&a, 303 * MS);
	says("exit 10");
	thread.task.tid = 10;
	execs(&thread, 11, 304 * MS);
	says("exec 10 was 11");
	moves(&thread, 5, 305 * MS);
	says("");
	moves(&thread, 7, 306 * MS);
	says("cgroup 10 from 5 to 7");
}

static void test_lost_moves(void **state)
{
	(void)state;
	a.task.cgroup_id = 7;
	seed_both();
	a.task.cgroup_id = 8;
	pass(300 * MS, &init, &a, NULL);
	says("cgroup 10 from 7 to 8 found");
	pass(310 * MS, &init, &a, NULL);
	says("");
	moves(&a, 8, 300 * MS); /* late, after all */
	says("");
	moves(&a, 9, 320 * MS);
	says("cgroup 10 from 8 to 9");
	/* Not while it may be out: the picture was read when it was. */
	state_begin_pass(table, 330 * MS, true);
	a.task.cgroup_id = 10;
	pass_task(&a, 331 * MS, NSMON_PROC_BUSY);
	pass_task(&init, 331 * MS, 0);
	end_pass();
	says("");
	assert_int_equal(state_unsure(table), 1);
	/* One that nobody knew is where it is found. */
	b.task.cgroup_id = 5;
	pass(340 * MS, &init, &a, &b, NULL);
	says("cgroup 10 from 9 to 10 found; fork 20 of 10 found");
}

/* Those who do not want moves are not told of any that was found. */
static void test_moves_that_are_not_wanted(void **state)
{
	(void)state;
	options.events = EVENTS_ALL & ~(1U << NSMON_CGROUP);
	begin();
	seed_both();
	a.task.cgroup_id = 8;
	pass(300 * MS, &init, &a, NULL);
	says("");
	/* Moves alone, without a table: as they come. */
	options.events = 1U << NSMON_CGROUP;
	begin();
	seed_both();
	moves(&a, 8, 300 * MS);
	moves(&a, 9, 301 * MS);
	says("cgroup 10 from 0 to 8; cgroup 10 from 0 to 9"); /* where from is not known */
}

static void test_unwritten_moves(void **state)
{
	uint64_t before;

	(void)state;
	a.task.cgroup_id = 7;
	seed_both();
	refuse = 1;
	moves(&a, 8, 300 * MS);
	says("");
	moves(&a, 8, 301 * MS);
	says("cgroup 10 from 7 to 8");
	error = -EPIPE;
	assert_int_equal(give_move(&a, 9, 302 * MS), -EPIPE);
	error = 0;
	moves(&a, 9, 303 * MS);
	says("cgroup 10 from 8 to 9");
	state_settle(table);
	/* It was told, and taken back. */
	before = seq;
	moves(&a, 10, 304 * MS);
	moves(&a, 11, 305 * MS);
	says("cgroup 10 from 9 to 10; cgroup 10 from 10 to 11");
	state_undo(table, before + 1);
	seq = before + 1;
	reader.rows[10].cgroup_id = 10;
	moves(&a, 11, 306 * MS);
	says("cgroup 10 from 10 to 11");
	state_undo(table, before);
	seq = before;
	reader.rows[10].cgroup_id = 9;
	pass(310 * MS, &init, &a, NULL);
	says("cgroup 10 from 9 to 11 found");
}

/* Out of what a filter lets through: told, and then forgotten. */
static void test_move_out(void **state)
{
	(void)state;
	options.cgroup = "/x";
	seed_both();
	assert_int_equal(give(moved(&a, 5, 290 * MS, NSMON_PROC_THREADS), state_move_out), 0);
	says("cgroup 10 from 0 to 5");
	reader.rows[10].exists = false; /* who knows that nothing more is told of it */
	assert_false(state_has(table, 10));
	assert_true(state_has(table, 1));
	assert_int_equal(state_tasks(table), 1);
	/* Of one that was not let through nothing is told. */
	assert_int_equal(give(moved(&a, 6, 291 * MS, NSMON_PROC_THREADS), state_move_out), 0);
	says("");
	/* Nor is its end found. */
	pass(300 * MS, &init, NULL);
	says("");
	/* It comes again, as a whole: also its program is told. */
	a.exec_id = 7;
	moves(&a, 5, 310 * MS);
	says("proc 10 found");
	assert_false(state_take_doubt(table));
	pass(320 * MS, &init, &a, NULL);
	pass(330 * MS, &init, &a, NULL);
	says("");
}

/* With -T: a thread of a process that is not let through itself. */
static void test_threads_move_out(void **state)
{
	struct who thread = who(11, 10, 1), other = who(12, 10, 1);

	(void)state;
	options.cgroup = "/x";
	options.threads = true;
	begin();
	seed(&init, 0);
	seed(&thread, 0);
	seed(&other, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 11; proc 12");
	assert_int_equal(give(moved(&other, 5, 290 * MS, 0), state_move_out), 0);
	says("cgroup 12 from 0 to 5");
	reader.rows[12].exists = false;
	assert_int_equal(give(moved(&a, 6, 291 * MS, NSMON_PROC_THREADS), state_move_out), 0);
	says("cgroup 11 from 0 to 6");
	reader.rows[11].exists = false;
	assert_int_equal(state_tasks(table), 1);
	pass(300 * MS, &init, NULL);
	says("");
}

/* With -T a process is moved with the threads that were told of. */
static void test_threads_move(void **state)
{
	struct who thread = who(11, 10, 1);

	(void)state;
	options.threads = true;
	begin();
	seed(&init, 0);
	seed(&a, 0);
	seed(&thread, 0);
	state_seeded(table, BEGIN, END);
	says("proc 1; proc 10; proc 11");
	assert_int_equal(give(moved(&a, 5, 290 * MS, NSMON_PROC_THREADS), state_event), 0);
	says("cgroup 10 from 0 to 5; cgroup 11 from 0 to 5");
	assert_int_equal(give(moved(&a, 6, 291 * MS, 0), state_event), 0);
	says("cgroup 10 from 5 to 6");
}

/* ---- whose namespace was entered ---- */

static void enters(struct who *w, enum nsmon_ns_type type, uint32_t inum, uint64_t time)
{
	struct nsmon_ns_set now = w->ns;

	now.inum[type] = inum;
	assert_int_equal(give_change(w, &now, time, NSMON_REASON_SETNS), 0);
}

/* A process of this cgroup, in a network of its own, whose program has begun there. */
static struct who contain(uint32_t pid, uint64_t cgroup_id, uint32_t net, uint64_t time)
{
	struct who w = who(pid, pid, 1);

	w.ns.inum[NSMON_NS_NET] = net;
	w.task.cgroup_id = cgroup_id;
	forks_whole(&init, &init.ns, &w, time);
	execs(&w, 0, time + 1);
	said[said_len = 0] = 0;
	return w;
}

static void test_target_host(void **state)
{
	struct who w;

	(void)state;
	state_set_host(table, &init.ns);
	seed_both();
	w = contain(30, 100, 7, 300 * MS);
	enters(&w, NSMON_NS_NET, 103, 301 * MS);
	says("ns 30 net 7>103 host");
	/* Of each type by itself, and by its id, too. */
	enters(&w, NSMON_NS_UTS, 103, 302 * MS);
	says("ns 30 uts 101>103");
	w.ns.id[NSMON_NS_NET] = 5;
	enters(&w, NSMON_NS_NET, 104, 303 * MS);
	said[said_len = 0] = 0;
	enters(&w, NSMON_NS_NET, 103, 304 * MS);
	says("ns 30 net 104>103"); /* another namespace, which has the number now */
	/* By setns alone. */
	w = contain(31, 100, 7, 310 * MS);
	unshares(&w, NSMON_NS_NET, 103, 311 * MS);
	says("ns 31 net 7>103");
}

static void test_target_host_that_is_not_known(void **state)
{
	struct nsmon_ns_set nothing = { 0 };

	(void)state;
	state_set_host(table, &nothing);
	seed_both();
	unshares(&a, NSMON_NS_NET, 7, 300 * MS);
	enters(&a, NSMON_NS_NET, 103, 301 * MS);
	enters(&a, NSMON_NS_TIME, 0, 302 * MS); /* a type that there is none of */
	says("ns 10 net 103>7; ns 10 net 7>103; ns 10 time 108>0");
}

static void test_target_container(void **state)
{
	struct who w, v;

	(void)state;
	state_set_host(table, &init.ns);
	seed_both();
	w = contain(30, 100, 7, 300 * MS);
	v = contain(31, 250, 8, 301 * MS);
	/* From the host: as nsenter and docker exec do. */
	enters(&a, NSMON_NS_NET, 7, 310 * MS);
	says("ns 10 net 103>7 target 1");
	enters(&a, NSMON_NS_NET, 8, 311 * MS);
	says("ns 10 net 7>8 target 2");
	/* Nobody's. */
	enters(&a, NSMON_NS_NET, 9, 312 * MS);
	says("ns 10 net 8>9");
	/* From one into another, and back into its own. */
	enters(&w, NSMON_NS_NET, 8, 313 * MS);
	says("ns 30 net 7>8 target 2");
	enters(&w, NSMON_NS_NET, 7, 314 * MS);
	says("ns 30 net 8>7");
	/* By the cgroup that it is in now. */
	moves(&a, 110, 315 * MS);
	said[said_len = 0] = 0;
	enters(&a, NSMON_NS_NET, 7, 316 * MS);
	says("ns 10 net 9>7");
	/* It has ended with all that was in it. */
	exits(&v, 320 * MS);
	exits(&w, 321 * MS);
	said[said_len = 0] = 0;
	state_settle(table);
	enters(&a, NSMON_NS_NET, 8, 322 * MS);
	says("ns 10 net 7>8");
}

/* Containers of a pod share some: they are the first one's. */
static void test_target_that_is_shared(void **state)
{
	struct who first, second;

	(void)state;
	state_set_host(table, &init.ns);
	seed_both();
	second = contain(30, 200, 7, 300 * MS);
	enters(&a, NSMON_NS_NET, 7, 301 * MS);
	says("ns 10 net 103>7 target 2");
	first = contain(31, 100, 7, 302 * MS);
	enters(&a, NSMON_NS_NET, 103, 303 * MS);
	enters(&a, NSMON_NS_NET, 7, 304 * MS);
	says("ns 10 net 7>103 host; ns 10 net 103>7 target 1");
	/* With another set around it. */
	second.ns.inum[NSMON_NS_UTS] = 9;
	enters(&second, NSMON_NS_UTS, 9, 305 * MS);
	said[said_len = 0] = 0;
	enters(&a, NSMON_NS_NET, 103, 306 * MS);
	enters(&a, NSMON_NS_NET, 7, 307 * MS);
	says("ns 10 net 7>103 host; ns 10 net 103>7 target 1");
	(void)first;
}

/* Of a clone and an unshare it is a new one; a child of another set has entered nothing itself. */
static void test_target_of_setns_alone(void **state)
{
	static const enum nsmon_reason others[] = { NSMON_REASON_CLONE, NSMON_REASON_UNSHARE,
						    NSMON_REASON_EXEC, NSMON_REASON_FORK,
						    NSMON_REASON_KERNEL };

	(void)state;
	state_set_host(table, &init.ns);
	seed_both();
	contain(30, 100, 7, 300 * MS);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct nsmon_ns_set now = a.ns;

		now.inum[NSMON_NS_NET] = i % 2 ? 103 : 7;
		assert_int_equal(give_change(&a, &now, 310 * MS + i, others[i]), 0);
	}
	says("ns 10 net 103>7; ns 10 net 7>103; ns 10 net 103>7; ns 10 net 7>103; "
	     "ns 10 net 103>7");
	/* What is found later was entered nobody knows how. */
	a.ns.inum[NSMON_NS_NET] = 103;
	pass(400 * MS, &init, &a, NULL);
	assert_non_null(strstr(said, "ns 10 net 7>103 found"));
	assert_null(strstr(said, "host"));
	said[said_len = 0] = 0;
}

/* What sets a container up is in its cgroup already, and in the host's namespaces still. */
static void test_claims(void **state)
{
	struct who runtime = who(30, 30, 1), found = who(40, 40, 1);

	(void)state;
	seed_both();
	runtime.task.cgroup_id = 100;
	forks(&init, &runtime, 300 * MS);
	moves(&runtime, 101, 301 * MS);
	unshares(&runtime, NSMON_NS_NET, 7, 302 * MS);
	said[said_len = 0] = 0;
	enters(&a, NSMON_NS_NET, 7, 303 * MS);
	says("ns 10 net 103>7"); /* nobody's, until a program begins in it */
	enters(&a, NSMON_NS_NET, 103, 304 * MS);
	says("ns 10 net 7>103");
	execs(&runtime, 0, 305 * MS);
	said[said_len = 0] = 0;
	enters(&a, NSMON_NS_NET, 7, 306 * MS);
	says("ns 10 net 103>7 target 1");
	/* A picture shows programs that run: theirs they are. */
	found.task.cgroup_id = 200;
	found.ns.inum[NSMON_NS_NET] = 8;
	pass(310 * MS, &init, &a, &runtime, &found, NULL);
	said[said_len = 0] = 0;
	enters(&a, NSMON_NS_NET, 8, 320 * MS);
	says("ns 10 net 7>8 target 2");
}

static void test_claims_of_the_first_picture(void **state)
{
	(void)state;
	b.task.cgroup_id = 300;
	b.ns.inum[NSMON_NS_NET] = 7;
	seed(&b, 0);
	said[said_len = 0] = 0;
	seed_both();
	enters(&a, NSMON_NS_NET, 7, 300 * MS);
	says("ns 10 net 103>7 target 3");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_seed),
		TEST(test_seed_untold),
		TEST(test_seed_that_is_not_written),
		TEST(test_seed_thread),
		TEST(test_events_that_the_picture_shows),
		TEST(test_events_after_the_row_was_read),
		TEST(test_events_when_the_row_was_read),
		TEST(test_tasks_that_ended_before_the_picture_was_complete),
		TEST(test_child_of_the_backlog),
		TEST(test_child_from_before_its_creators_row),
		TEST(test_ending_tasks),
		TEST(test_ending_task_and_a_later_picture),
		TEST(test_ending_task_and_reuse),
		TEST(test_fork_of_a_live_unknown_creator),
		TEST(test_child_of_a_thread),
		TEST(test_healing),
		TEST(test_silent_picture),
		TEST(test_silent_picture_in_the_midst),
		TEST(test_silent_picture_of_changes),
		TEST(test_unknown_task),
		TEST(test_exec_is_told_once),
		TEST(test_reuse_of_a_number),
		TEST(test_threads_without_rows),
		TEST(test_threads_with_rows),
		TEST(test_picture_of_a_task_inside_its_exec),
		TEST(test_threads_with_rows_and_a_loss),
		TEST(test_exec_of_a_thread_with_the_number_of_another),
		TEST(test_pass_finds_what_was_lost),
		TEST(test_pass_finds_a_stranger),
		TEST(test_pass_is_not_sure),
		TEST(test_pass_and_a_fork_meanwhile),
		TEST(test_partial_rows),
		TEST(test_nobody_rises_from_the_dead),
		TEST(test_stranger_whose_parent_has_ended),
		TEST(test_thread_that_moves_in_a_pass),
		TEST(test_what_ended_is_told),
		TEST(test_thread_about_to_exec),
		TEST(test_thread_takes_over),
		TEST(test_passed_over),
		TEST(test_child_behind_the_picture),
		TEST(test_birth_during_a_pass),
		TEST(test_change_of_a_partial_row),
		TEST(test_types),
		TEST(test_reasons),
		TEST(test_no_table),
		TEST(test_failed_attempt),
		TEST(test_without_a_picture),
		TEST(test_other_kinds),
		TEST(test_unwritten),
		TEST(test_unwritten_in_the_middle_of_healing),
		TEST(test_errors_are_passed_on),
		TEST(test_undo),
		TEST(test_undo_in_part),
		TEST(test_undo_of_a_move),
		TEST(test_undo_in_a_pass),
		TEST(test_settle),
		TEST(test_undo_has_an_end),
		TEST(test_many_tasks),
		TEST(test_moves),
		TEST(test_moves_and_other_records),
		TEST(test_moves_and_the_picture),
		TEST(test_move_of_a_stranger),
		TEST(test_move_that_a_whole_row_tells),
		TEST(test_moves_of_threads),
		TEST(test_lost_moves),
		TEST(test_moves_that_are_not_wanted),
		TEST(test_unwritten_moves),
		TEST(test_move_out),
		TEST(test_threads_move_out),
		TEST(test_threads_move),
		TEST(test_target_host),
		TEST(test_target_host_that_is_not_known),
		TEST(test_target_container),
		TEST(test_target_that_is_shared),
		TEST(test_target_of_setns_alone),
		TEST(test_claims),
		TEST(test_claims_of_the_first_picture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
