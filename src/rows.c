// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The table's memory. Must not know why a row changes, nor what is told of it. */

/* Without memory for its table a task is told, but not known. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->lacks_memory = true)
#include "rows.h"

#include <stdlib.h>
#include <string.h>

/* Rows and sets are taken from blocks of this many, and go back to a list. */
#define BLOCK 256

struct block {
	struct block *next;
	union {
		struct row rows[BLOCK];
		struct set sets[BLOCK];
	};
};

/* ---- memory ---- */

static struct block *add_block(struct rows *rows)
{
	struct block *block = calloc(1, sizeof(*block));

	if (block) {
		block->next = rows->blocks;
		rows->blocks = block;
	}
	return block;
}

static struct row *new_row(struct rows *rows)
{
	struct block *block = rows->free_rows ? NULL : add_block(rows);
	struct row *row;

	for (size_t i = 0; block && i < BLOCK; i++) {
		block->rows[i].next_free = rows->free_rows;
		rows->free_rows = &block->rows[i];
	}
	row = rows->free_rows;
	if (row)
		rows->free_rows = row->next_free;
	return row;
}

static void free_row(struct rows *rows, struct row *row)
{
	row->next_free = rows->free_rows;
	rows->free_rows = row;
}

static struct set *new_set(struct rows *rows)
{
	struct block *block = rows->free_sets ? NULL : add_block(rows);
	struct set *set;

	for (size_t i = 0; block && i < BLOCK; i++) {
		block->sets[i].next_free = rows->free_sets;
		rows->free_sets = &block->sets[i];
	}
	set = rows->free_sets;
	if (set) {
		rows->free_sets = set->next_free;
		memset(set, 0, sizeof(*set));
	}
	return set;
}

/*
 * Of whole words, where uthash's own looks at bytes: a set is looked for with each
 * change, a row with each record. The multiplier is that of Knuth's multiplicative
 * hashing for 64 bits, 2^64 divided by the golden ratio.
 */
static unsigned int hash_words(const uint64_t *words, size_t count)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < count; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return (unsigned int)hash;
}

static unsigned int hash_of_set(const struct nsmon_ns_set *ns)
{
	uint64_t words[sizeof(*ns) / sizeof(uint64_t)];

	_Static_assert(sizeof(words) == sizeof(*ns), "a set is made of whole words");
	memcpy(words, ns, sizeof(words));
	return hash_words(words, sizeof(words) / sizeof(*words));
}

static unsigned int hash_of_tid(uint32_t tid)
{
	const uint64_t word = tid;

	return hash_words(&word, 1);
}

struct set *rows_share(struct set *set)
{
	if (set)
		set->users++;
	return set;
}

void rows_release(struct rows *rows, struct set *set)
{
	if (!set || --set->users)
		return;
	HASH_DEL(rows->sets, set);
	set->next_free = rows->free_sets;
	rows->free_sets = set;
}

struct set *rows_intern(struct rows *rows, const struct nsmon_ns_set *ns)
{
	const unsigned int hash = hash_of_set(ns);
	struct set *set;

	HASH_FIND_BYHASHVALUE(hh, rows->sets, ns, sizeof(*ns), hash, set);
	if (set)
		return rows_share(set);
	set = new_set(rows);
	if (!set)
		return NULL;
	set->ns = *ns;
	set->users = 1;
	HASH_ADD_BYHASHVALUE(hh, rows->sets, ns, sizeof(set->ns), hash, set);
	if (set->lacks_memory) {
		set->next_free = rows->free_sets;
		rows->free_sets = set;
		return NULL;
	}
	return set;
}

/* ---- rows ---- */

struct row *rows_find(const struct rows *rows, uint32_t tid)
{
	struct row *row;

	HASH_FIND_BYHASHVALUE(hh, rows->by_tid, &tid, sizeof(tid), hash_of_tid(tid), row);
	return row;
}

bool row_is_of(const struct row *row, const struct nsmon_task *task)
{
	return row->data.task.thread_start_ns == task->thread_start_ns;
}

struct row *rows_add(struct rows *rows, const struct row_data *data)
{
	struct row *row = new_row(rows);

	if (!row)
		return NULL;
	row->data = *data;
	row->lacks_memory = false;
	HASH_ADD_BYHASHVALUE(hh, rows->by_tid, data.task.tid, sizeof(row->data.task.tid),
			     hash_of_tid(data->task.tid), row);
	if (row->lacks_memory) {
		free_row(rows, row);
		return NULL;
	}
	rows_share(row->data.set);
	rows->untold += row->data.kind != ROW_TOLD;
	return row;
}

void rows_set_kind(struct rows *rows, struct row *row, enum row_kind kind)
{
	rows->untold -= row->data.kind != ROW_TOLD;
	rows->untold += kind != ROW_TOLD;
	row->data.kind = (uint8_t)kind;
}

void rows_drop(struct rows *rows, struct row *row)
{
	rows->untold -= row->data.kind != ROW_TOLD;
	HASH_DEL(rows->by_tid, row);
	rows_release(rows, row->data.set);
	free_row(rows, row);
}

void rows_set_namespaces(struct rows *rows, struct row *row, const struct nsmon_ns_set *ns)
{
	struct set *before = row->data.set;

	if (before && memcmp(&before->ns, ns, sizeof(*ns)) == 0)
		return;
	row->data.set = rows_intern(rows, ns);
	rows_release(rows, before);
}

/* ---- what to take back when the output drops it ---- */

static struct undo *undo_at(struct rows *rows, size_t i)
{
	return &rows->undo[(rows->undo_first + i) % UNDO_MAX];
}

void rows_remember(struct rows *rows, int64_t seq, uint32_t tid, const struct row *row)
{
	struct undo *undo;

	if (rows->undo_count == UNDO_MAX) {
		undo = undo_at(rows, 0);
		if (undo->existed)
			rows_release(rows, undo->data.set);
		rows->undo_first = (rows->undo_first + 1) % UNDO_MAX;
		rows->undo_count--;
	}
	undo = undo_at(rows, rows->undo_count++);
	undo->seq = (uint64_t)seq;
	undo->tid = tid;
	undo->existed = row != NULL;
	if (!row)
		return;
	undo->data = row->data;
	rows_share(undo->data.set);
}

void rows_settle(struct rows *rows)
{
	for (size_t i = 0; i < rows->undo_count; i++)
		if (undo_at(rows, i)->existed)
			rows_release(rows, undo_at(rows, i)->data.set);
	rows->undo_first = 0; /* the same memory again */
	rows->undo_count = 0;
}

void rows_undo(struct rows *rows, uint64_t last)
{
	while (rows->undo_count) {
		struct undo *undo = undo_at(rows, rows->undo_count - 1);
		struct row *row;

		if (undo->seq <= last)
			return;
		rows->undo_count--;
		row = rows_find(rows, undo->tid);
		if (row && undo->existed && row_is_of(row, &undo->data.task))
			undo->data.generation = row->data.generation; /* a picture saw it */
		if (row)
			rows_drop(rows, row);
		if (!undo->existed)
			continue;
		rows_add(rows, &undo->data);
		rows_release(rows, undo->data.set);
	}
}

/* ---- */

void rows_free(struct rows *rows)
{
	HASH_CLEAR(hh, rows->by_tid);
	HASH_CLEAR(hh, rows->sets);
	while (rows->blocks) {
		struct block *next = rows->blocks->next;

		free(rows->blocks);
		rows->blocks = next;
	}
}
