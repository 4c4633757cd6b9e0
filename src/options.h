/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The command line -> struct options. Knows no BPF. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "names.h"

enum mode {
	MODE_TRACE,
	MODE_CHECK,
	MODE_LIST,
	MODE_SCHEMA,
};

enum output_format {
	OUTPUT_TEXT = 0,
	OUTPUT_JSON = 1,
	OUTPUT_ECS = 2,
};

#define OUTPUT_FORMATS 3

extern const char *const output_format_names[OUTPUT_FORMATS];

/* More roots than this are a case for no filter at all. */
#define PIDS_MAX 256

/* Bit per enum nsmon_reason, from 1. */
#define REASONS_ALL ((1U << NSMON_REASONS) - 2)

/* Bit per enum nsmon_kind. */
#define EVENTS_ALL                                                                                 \
	(1U << NSMON_FORK | 1U << NSMON_EXEC | 1U << NSMON_EXIT | 1U << NSMON_NS |                 \
	 1U << NSMON_CGROUP)

struct options {
	enum mode mode;
	enum output_format output;
	enum backend backend;
	uint32_t events; /* bit per enum nsmon_kind */
	uint32_t types; /* bit per enum nsmon_ns_type */
	uint32_t reasons; /* bit per enum nsmon_reason */
	pid_t pids[PIDS_MAX];
	size_t pid_count;
	bool threads;
	bool timestamps;
	bool failed;
	bool snapshot; /* default: with json and ecs */
	bool snapshot_given;
	bool schema;
	bool tree;
	const char *only_trace; /* the first option that only a trace takes; NULL: none was given */
	const char *cgroup; /* NULL: all */
	const char *container; /* the beginning of its id, or its name; NULL: all */
	bool containers;
	const char *write_path; /* NULL: standard output */
	const char *metrics; /* NULL: none */
	bool journal; /* instead of a file or standard output */
	bool output_given;
	size_t buffer; /* bytes; 0: by the number of CPUs */
	const char *btf; /* NULL: the running kernel's */
	const char *user; /* NULL: as nsmon itself */
	int verbose; /* -1 quiet, 1 and 2 more and more */
	char **command; /* NULL, or argv of COMMAND, ended by NULL */
};

/*
 * Fills *options from argv, whose strings it refers to. On wrong usage prints
 * what is wrong and exits with 2, as argp does; --help and --version exit with 0.
 */
void options_parse(struct options *options, int argc, char **argv);

/*
 * Bytes of a size as users write it (65536, 64K, 8M, 1G). Returns 0 or -EINVAL;
 * -ERANGE where it is no power of two pages or more than 1 GiB.
 */
int options_parse_size(const char *text, size_t page, size_t *size);

/*
 * Bits of a comma-separated list of names. Returns 0, or -EINVAL with the name
 * that is not in names[] at *wrong and its length in *wrong_len.
 */
int options_parse_list(const char *text, const char *const *names, size_t count, uint32_t *bits,
		       const char **wrong, size_t *wrong_len);

/*
 * The path of a cgroup, from which superfluous slashes are taken, in place. Returns 0,
 * or -EINVAL where there can be no such path.
 */
int options_parse_cgroup(char *path);

/* A process id, 1 to PID_MAX_LIMIT. Returns 0 or -EINVAL. */
int options_parse_pid(const char *text, pid_t *pid);

#endif
