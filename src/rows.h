/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A row for each task that a reader of the stream has one of, the sets of namespaces
 * that they share, and what rows were before records that the output may drop.
 * Knows no event and no reader.
 */
#ifndef ROWS_H
#define ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

#include "nsmon.h"

/* Lines that the output may hold back: 64 KiB of the shortest ones. */
#define UNDO_MAX 4096

/* What tells pictures from each other; 0: never seen in one. */
typedef uint32_t generation_t;

/* A set of namespaces; tasks of one container share it. */
struct set {
	struct nsmon_ns_set ns;
	uint64_t owner; /* number of the container whose programs run in it; 0: nobody's */
	size_t users;
	struct set *next_free;
	bool lacks_memory;
	UT_hash_handle hh;
};

enum row_kind {
	ROW_TOLD = 0,
	ROW_ENDING = 1, /* met by the first picture, never told: its exit is not told either */
	ROW_ENDED = 2, /* told to have ended; kept until the picture that may show it is over */
};

struct row_data {
	struct nsmon_task task; /* as last told or read; its tid is the key */
	uint64_t told_cgroup_id; /* where a reader was told that it is */
	struct set *set; /* NULL: nobody was told */
	uint64_t exec_id; /* of the last exec that was told */
	uint64_t exec_seen; /* by the last picture, and not told */
	uint64_t event_ns; /* time of the newest event */
	uint64_t read_ns; /* time of the newest picture */
	generation_t generation;
	generation_t lived_on; /* of the picture that showed its process without it */
	uint8_t kind; /* enum row_kind */
	bool seeded; /* by the first picture, which events from before it follow */
	bool taken; /* by a thread that execed, which took the main thread's place */
	bool absent; /* from the last picture, although a thread */
	bool passed_over; /* by the first picture, between two numbers: the next one tells of it */
};

struct row {
	struct row_data data;
	struct row *next_free;
	bool lacks_memory;
	UT_hash_handle hh;
};

/* What a row was before a record was told of it. */
struct undo {
	uint64_t seq;
	uint32_t tid;
	bool existed;
	struct row_data data;
};

struct block;

/* All zero: empty. */
struct rows {
	struct row *by_tid;
	struct set *sets;
	struct row *free_rows;
	struct set *free_sets;
	struct block *blocks;
	size_t untold; /* rows that are not ROW_TOLD */
	struct undo undo[UNDO_MAX];
	size_t undo_first;
	size_t undo_count;
};

/* Frees what it has. */
void rows_free(struct rows *rows);

/* The row of this task; NULL: there is none. */
struct row *rows_find(const struct rows *rows, uint32_t tid);

/* Is it this task's, and not that of another one who had its number? */
bool row_is_of(const struct row *row, const struct nsmon_task *task);

/* NULL where there is no memory. The row shares its set. */
struct row *rows_add(struct rows *rows, const struct row_data *data);
void rows_drop(struct rows *rows, struct row *row);
void rows_set_kind(struct rows *rows, struct row *row, enum row_kind kind);
void rows_set_namespaces(struct rows *rows, struct row *row, const struct nsmon_ns_set *ns);

/* The one set that is equal; NULL where there is no memory. Each user of a set releases it. */
struct set *rows_intern(struct rows *rows, const struct nsmon_ns_set *ns);
struct set *rows_share(struct set *set);
void rows_release(struct rows *rows, struct set *set);

/* Before a row is changed by the record of this number; row is NULL before it is added. */
void rows_remember(struct rows *rows, int64_t seq, uint32_t tid, const struct row *row);

/* Rows are again what they were before the records with numbers above this one. */
void rows_undo(struct rows *rows, uint64_t last);

/* Nothing of it will be undone. */
void rows_settle(struct rows *rows);

#endif
