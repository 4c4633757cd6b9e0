// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Checks records. Pure: no state, no output, no kernel. */
#include "event.h"

#include <errno.h>
#include <string.h>

/* MAX_ERRNO of include/linux/err.h. */
#define ERRNO_MAX 4095

static int decode_change(struct event *event, const struct nsmon_ns_change *change)
{
	if ((change->changed | change->wanted) & ~NSMON_NS_ALL)
		return -EINVAL;
	for (int i = 0; i < NSMON_NS_TYPES; i++) {
		if (!((change->changed | change->wanted) & (1U << i)))
			continue;
		if (change->reason[i] == 0 || change->reason[i] >= NSMON_REASONS)
			return -EINVAL;
	}
	event->change = change;
	return 0;
}

static int decode_fork(struct event *event, const struct nsmon_header *h)
{
	const struct nsmon_fork_ns *r = (const void *)h;
	bool with_change = h->flags & NSMON_FLAG_NS;

	if (h->size != (with_change ? sizeof(*r) : sizeof(r->fork)))
		return -EINVAL;
	event->task = &r->fork.task;
	event->fork.told = !(h->flags & NSMON_FLAG_NO_FORK);
	event->fork.creator_pid = r->fork.creator_pid;
	event->fork.creator_tid = r->fork.creator_tid;
	event->fork.creator_start_ns = r->fork.creator_start_ns;
	event->fork.into = h->flags & NSMON_FLAG_INTO;
	event->fork.by_thread = with_change && h->flags & NSMON_FLAG_ROW;
	return with_change ? decode_change(event, &r->change) : 0;
}

static int decode_exec(struct event *event, const struct nsmon_header *h)
{
	const struct nsmon_exec *r = (const void *)h;

	if (h->size < sizeof(*r))
		return -EINVAL;
	if (r->filename_len < 1 || r->filename_len + r->args_len > NSMON_TEXT_MAX ||
	    sizeof(*r) + r->filename_len + r->args_len != h->size)
		return -EINVAL;
	event->task = &r->task;
	event->exec.exec_id = r->exec_id;
	event->exec.old_tid = r->old_tid;
	event->exec.filename = r->text;
	event->exec.filename_len = r->filename_len - 1U;
	event->exec.args = r->text + r->filename_len;
	event->exec.args_len = r->args_len;
	event->exec.truncated = h->flags & NSMON_FLAG_TRUNCATED;
	return 0;
}

static int decode_exit(struct event *event, const struct nsmon_header *h)
{
	const struct nsmon_exit *r = (const void *)h;

	if (h->size != sizeof(*r))
		return -EINVAL;
	event->task = &r->task;
	event->exit.status = r->status;
	event->exit.duration_ns = r->duration_ns;
	event->exit.process_ends = r->process_ends;
	return 0;
}

static int decode_ns(struct event *event, const struct nsmon_header *h)
{
	const struct nsmon_ns *r = (const void *)h;
	const struct nsmon_failed *failed = (const void *)h;

	if (h->flags & NSMON_FLAG_FAILED) {
		if (h->size != sizeof(*failed) || failed->error < 1 || failed->error > ERRNO_MAX)
			return -EINVAL;
		if (failed->reason != NSMON_REASON_CLONE &&
		    failed->reason != NSMON_REASON_UNSHARE && failed->reason != NSMON_REASON_SETNS)
			return -EINVAL;
		event->task = &failed->task;
		event->failed = failed;
		return 0;
	}
	if (h->size != sizeof(*r))
		return -EINVAL;
	event->task = &r->task;
	return decode_change(event, &r->change);
}

static int decode_lost(struct event *event, const struct nsmon_header *h)
{
	if (h->size != sizeof(struct nsmon_lost))
		return -EINVAL;
	event->lost = (const void *)h;
	return 0;
}

static int decode_proc(struct event *event, const struct nsmon_header *h)
{
	const struct nsmon_proc *r = (const void *)h;

	if (h->size != sizeof(*r))
		return -EINVAL;
	event->task = &r->task;
	event->proc.ns = &r->ns;
	event->proc.exec_id = r->exec_id;
	event->proc.flags = r->flags;
	return 0;
}

static int decode_tree(struct event *event, const struct nsmon_header *h)
{
	const struct nsmon_cgroup *r = (const void *)h;

	if (h->size != sizeof(*r) || !memchr(r->name, 0, sizeof(r->name)) ||
	    r->maker_args_len > sizeof(r->maker_args) || r->op < NSMON_CGROUP_MADE ||
	    r->op > NSMON_CGROUP_REMOVED)
		return -EINVAL;
	event->tree = r;
	return 0;
}

static int (*const decoders[NSMON_KINDS])(struct event *, const struct nsmon_header *) = {
	[NSMON_FORK] = decode_fork,   [NSMON_EXEC] = decode_exec,	 [NSMON_EXIT] = decode_exit,
	[NSMON_NS] = decode_ns,	      [NSMON_LOST] = decode_lost,	 [NSMON_PROC] = decode_proc,
	[NSMON_CGROUP] = decode_proc, [NSMON_CGROUP_TREE] = decode_tree,
};

int event_decode(struct event *event, const void *data, size_t size)
{
	const struct nsmon_header *h = data;

	/* The ring buffer's own length may be larger: the kernel rounds it up. */
	if (size < sizeof(*h) || h->size < sizeof(*h) || h->size > size ||
	    h->layout != NSMON_LAYOUT)
		return -EINVAL;
	if (h->kind >= NSMON_KINDS || !decoders[h->kind])
		return -EINVAL;
	*event = (struct event){ .kind = h->kind, .time = h->time, .cpu = h->cpu };
	return decoders[h->kind](event, h);
}

const char *event_next_arg(const char **at, const char *end, size_t *len)
{
	const char *arg = *at;
	const char *nul;

	if (arg >= end)
		return NULL;
	nul = memchr(arg, 0, (size_t)(end - arg));
	*len = (size_t)((nul ? nul : end) - arg);
	*at = nul ? nul + 1 : end;
	return arg;
}
