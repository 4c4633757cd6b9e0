/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Puts numbers and hostile strings into a line: no printf, no allocation. */
#ifndef LINE_H
#define LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The longest line: two paths, NSMON_TEXT_MAX bytes and what a runtime says of two
 * containers, of which each byte may become six, and all other fields.
 */
#define LINE_MAX_BYTES ((size_t)131072)

/* Of the names of tasks, as NSMON_COMM_LEN. */
#define NAME_BYTES 16

/*
 * A line under construction. The caller owns the memory and gives at least
 * LINE_MAX_BYTES; what would not fit is left out rather than written past it.
 */
struct line {
	char *at;
	char *end;
	bool raw; /* some string was not valid UTF-8 */
};

static inline void line_bytes(struct line *line, const char *bytes, size_t len)
{
	if ((size_t)(line->end - line->at) < len)
		return;
	memcpy(line->at, bytes, len);
	line->at += len;
}

/* A string literal. */
#define line_text(line, literal) line_bytes(line, "" literal, sizeof(literal) - 1)

void line_string(struct line *line, const char *string);
void line_u64(struct line *line, uint64_t number);

/*
 * C-style escapes for control characters, quotes, backslashes and what is not
 * valid UTF-8 (\xHH); the C1 controls, too, since a terminal obeys them.
 */
void line_escaped(struct line *line, const char *bytes, size_t len);

/* As line_escaped(), of a name in a fixed array that a NUL may end early. */
void line_escaped_name(struct line *line, const char *name, size_t size);

/*
 * A name that a NUL may end early, as it is: false, and nothing is written, where it is
 * not one word of printable ASCII without a quote, a backslash and '='.
 */
bool line_word(struct line *line, const char bytes[NAME_BYTES]);

/* A JSON string with its quotes (RFC 8259). Invalid UTF-8 becomes U+FFFD and sets raw. */
void line_json(struct line *line, const char *bytes, size_t len);
void line_json_name(struct line *line, const char *name, size_t size);

/*
 * RFC 3339 in UTC with nanoseconds, of nanoseconds since 1970. The text of a few
 * seconds is kept between calls.
 */
void line_time(struct line *line, uint64_t realtime_ns);

#endif
