// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Bytes -> event_decode() -> every line that all formats make of it. Whatever
 * the bytes, a line is one line, of valid text, and fits.
 */
#include <stdio.h>
#include <stdlib.h>

#include "contained.h"
#include "format.h"
#include "journal.h"
#include "records.h"
#include "strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct options options = { .timestamps = true };
static const struct kernel kernel;
static const struct run run = { .options = &options, .kernel = &kernel, .backend = "fentry" };
static const struct stamp stamp = { .seq = UINT64_MAX, .time = UINT64_MAX };
static char room[LINE_MAX_BYTES + 64];
static struct contained now_in, was_in;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static struct line begin(void)
{
	memset(room + LINE_MAX_BYTES, 'Z', sizeof(room) - LINE_MAX_BYTES);
	return (struct line){ .at = room, .end = room + LINE_MAX_BYTES };
}

static void check(const struct line *line, bool json)
{
	size_t len = (size_t)(line->at - room);

	CHECK(line->at > room && line->at <= line->end);
	for (size_t i = LINE_MAX_BYTES; i < sizeof(room); i++)
		CHECK(room[i] == 'Z');
	CHECK(room[--len] == '\n');
	for (size_t i = 0; i < len; i++)
		CHECK((unsigned char)room[i] >= 0x20 && room[i] != 0x7f);
	CHECK(strict_is_printable(room, len));
	if (json)
		CHECK(json_is_object(room, len));
}

/* What user space may know of its numbers, in which any bytes but NUL may be, twice: the second is kept text. */
static void format_contained(const struct formatter *formatter, struct event event, bool json)
{
	int type = event.kind == NSMON_NS && !event.failed ? __builtin_ffs((int)event.change->changed) - 1 : 0;
	struct line line;

	if (type < 0)
		return;
	event.cgroup = &now_in.cgroup;
	event.old_cgroup = &was_in.cgroup;
	event.old_cgroup_id = event.time;
	event.target = (struct target){ event.time % 3 ? event.time : TARGET_HOST,
					event.time % 3 == 1 ? &was_in.container : NULL };
	contained_forget_text(&now_in);
	for (int i = 0; i < 2; i++) {
		line = begin();
		if (event.failed)
			formatter->failed(&line, &run, &stamp, &event);
		else if (event.kind == NSMON_NS)
			formatter->ns(&line, &run, &stamp, &event, (enum nsmon_ns_type)type);
		else
			formatter->event(&line, &run, &stamp, &event);
		check(&line, json);
	}
}

/* A cgroup's path and a container, of the bytes of a record. */
static void contain(const void *data, size_t size)
{
	static char path[4096], id[CONTAINER_ID_MAX + 1], name[RUNSTATE_STRING_MAX + 1];
	const char *bytes = data;
	struct container *container;
	size_t len = 0;

	for (size_t i = sizeof(struct nsmon_header); i < size && len < sizeof(path) - 1; i++)
		if (bytes[i])
			path[len++] = bytes[i];
	path[len] = 0;
	snprintf(id, sizeof(id), "%s", path);
	snprintf(name, sizeof(name), "%s", path);
	container = contained_in(&now_in, path, id, size % 2 ? name : NULL);
	container->details.backed = size % 3;
	container->details.name = container->details.image = size % 5 ? name : NULL;
	container->details.pod = container->details.pod_uid = size % 7 ? name : NULL;
	container->details.namespace = container->details.container_name = size % 11 ? name : NULL;
	contained_in(&was_in, path, id, name)->details = container->details;
	if (size % 4)
		return;
	now_in.cgroup.container = NULL;
	now_in.cgroup.unit = path;
	now_in.cgroup.unit_len = len / 2;
}

/* The fields of an entry of the journal: whole ones, with names that journald takes. */
static void check_fields(const struct line *line)
{
	size_t len = (size_t)(line->at - room);
	uint32_t size;

	CHECK(len <= LINE_MAX_BYTES && len > 0);
	for (size_t i = LINE_MAX_BYTES; i < sizeof(room); i++)
		CHECK(room[i] == 'Z');
	for (size_t at = 0; at < len; at += size) {
		const char *equals;

		CHECK(len - at > sizeof(size));
		memcpy(&size, room + at, sizeof(size));
		at += sizeof(size);
		CHECK(size && size <= len - at);
		equals = memchr(room + at, '=', size);
		CHECK(equals && equals > room + at && equals <= room + at + 64);
		for (const char *p = room + at; p < equals; p++)
			CHECK((*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_');
	}
}

static void format_fields(struct event event)
{
	struct line line = begin();

	if (event.kind == NSMON_LOST || (event.kind == NSMON_NS && !event.failed))
		return;
	event.cgroup = &now_in.cgroup;
	event.old_cgroup = &was_in.cgroup;
	event.old_cgroup_id = event.time;
	contained_forget_text(&now_in);
	if (event.failed)
		journal_formatter.failed(&line, &run, &stamp, &event);
	else
		journal_formatter.event(&line, &run, &stamp, &event);
	check_fields(&line);
}

/* The same, found after a loss; of a row, with what /proc may tell: any bytes. */
static void format_recovered(const struct formatter *formatter, struct event event, size_t size,
			     bool json)
{
	struct line line;

	event.recovered = true;
	if (event.kind == NSMON_PROC) {
		event.proc.exe = event.proc.args = (const char *)event.task;
		size -= sizeof(struct nsmon_header);
		event.proc.args_len = size < NSMON_TEXT_MAX ? size : NSMON_TEXT_MAX;
		event.proc.exe_len = event.proc.args_len;
		event.proc.truncated = event.proc.flags & 1;
	} else if (event.kind == NSMON_EXEC && event.exec.args_len % 2) {
		event.exec.filename = NULL;
	}
	line = begin();
	if (event.kind != NSMON_NS)
		formatter->event(&line, &run, &stamp, &event);
	else
		formatter->ns(&line, &run, &stamp, &event, NSMON_NS_MNT);
	check(&line, json);
}

static void format(const struct formatter *formatter, const struct event *event, bool json)
{
	struct line line = begin();

	if (event->kind == NSMON_LOST) {
		uint64_t lost[NSMON_KINDS];

		memcpy(lost, event->lost->lost, sizeof(lost));
		formatter->lost(&line, &run, &stamp, lost);
		check(&line, json);
		return;
	}
	if (event->failed)
		formatter->failed(&line, &run, &stamp, event);
	else if (event->kind != NSMON_NS)
		formatter->event(&line, &run, &stamp, event);
	if (event->failed || event->kind != NSMON_NS)
		check(&line, json);
	for (int type = 0; event->change && type < NSMON_NS_TYPES; type++) {
		if (!(event->change->changed & (1U << type)))
			continue;
		line = begin();
		formatter->ns(&line, &run, &stamp, event, (enum nsmon_ns_type)type);
		check(&line, json);
	}
}

/* From memory of its own size, aligned as the ring buffer's records are: ASan guards the end. */
static void decode(const void *data, size_t size)
{
	void *copy = malloc(size ? size : 1);
	struct event event;

	CHECK(copy);
	memcpy(copy, data, size);
	if (event_decode(&event, copy, size)) {
		free(copy);
		return;
	}
	if (event.kind == NSMON_CGROUP_TREE) {
		CHECK(strnlen(event.tree->name, size) < sizeof(event.tree->name));
		CHECK(event.tree->maker_args_len <= sizeof(event.tree->maker_args));
	} else {
		format(&text_formatter, &event, false);
		format(&json_formatter, &event, true);
		format(&ecs_formatter, &event, true);
		if (event.kind != NSMON_LOST) {
			contain(data, size);
			format_contained(&text_formatter, event, false);
			format_contained(&json_formatter, event, true);
			format_contained(&ecs_formatter, event, true);
			format_fields(event);
		}
		if (event.kind != NSMON_LOST && !event.failed) {
			format_recovered(&text_formatter, event, size, false);
			format_recovered(&json_formatter, event, size, true);
			format_recovered(&ecs_formatter, event, size, true);
		}
	}
	free(copy);
}

/* The lengths and limits that a mutation rarely hits, put right. */
static void repair(union record *r, size_t size)
{
	static const size_t sizes[NSMON_KINDS][2] = {
		[NSMON_FORK] = { sizeof(r->fork), sizeof(r->fork_ns) },
		[NSMON_EXIT] = { sizeof(r->exit), sizeof(r->exit) },
		[NSMON_NS] = { sizeof(r->ns), sizeof(r->failed) },
		[NSMON_LOST] = { sizeof(r->lost), sizeof(r->lost) },
		[NSMON_PROC] = { sizeof(r->proc), sizeof(r->proc) },
		[NSMON_CGROUP] = { sizeof(r->proc), sizeof(r->proc) },
		[NSMON_CGROUP_TREE] = { sizeof(r->tree), sizeof(r->tree) },
	};
	struct nsmon_ns_change *change = NULL;
	int kind = r->header.kind % NSMON_KINDS;

	r->header.kind = (uint16_t)kind;
	r->header.layout = NSMON_LAYOUT;
	r->header.size = (uint32_t)size;
	if (kind == NSMON_EXEC && size > sizeof(r->exec)) {
		size_t text = size - sizeof(r->exec);

		r->exec.filename_len = (uint16_t)(1 + r->exec.filename_len % text);
		r->exec.args_len = (uint16_t)(text - r->exec.filename_len);
	} else if (kind == NSMON_FORK) {
		r->header.size = (uint32_t)sizes[kind][!!(r->header.flags & NSMON_FLAG_NS)];
		change = &r->fork_ns.change;
	} else {
		r->header.size = (uint32_t)sizes[kind][!!(r->header.flags & NSMON_FLAG_FAILED)];
		change = &r->ns.change;
		if (r->header.flags & NSMON_FLAG_FAILED)
			r->failed.reason = 1 + r->failed.reason % (NSMON_REASONS - 1);
	}
	if (kind == NSMON_CGROUP_TREE) {
		r->tree.name[sizeof(r->tree.name) - 1] = 0;
		r->tree.op = 1 + r->tree.op % NSMON_CGROUP_REMOVED;
		r->tree.maker_args_len %= sizeof(r->tree.maker_args) + 1;
		return;
	}
	if (!change || kind == NSMON_EXIT || kind == NSMON_LOST || kind == NSMON_PROC || kind == NSMON_CGROUP ||
	    (kind == NSMON_NS && (r->header.flags & NSMON_FLAG_FAILED)))
		return;
	change->changed &= NSMON_NS_ALL;
	for (int i = 0; i < NSMON_NS_TYPES; i++)
		change->reason[i] = (uint8_t)(1 + change->reason[i] % (NSMON_REASONS - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static union record record;

	decode(data, size);
	if (size < sizeof(record.header) || size > sizeof(record))
		return 0;
	memset(&record, 0, sizeof(struct nsmon_cgroup)); /* the largest of a fixed size */
	memcpy(&record, data, size);
	repair(&record, size);
	decode(&record, size > record.header.size ? size : record.header.size);
	return 0;
}
