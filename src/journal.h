/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records -> entries of the systemd journal, with a field for each member of the JSON record. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stddef.h>

#include "format.h"

/* Where journald listens (systemd-journald(8)). */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/*
 * What one formatter makes of a record, as fields: of each the length (a uint32_t, not
 * aligned), then "NAME=value", whose value may have any bytes.
 */
extern const struct formatter journal_formatter;

/* Is there a journal that takes entries? Returns 0, -ENOSYS where nsmon was built without, or a negative errno. */
int journal_check(void);

/* One entry, of the fields of one record. Waits while the journal is full. Returns 0 or a negative errno. */
int journal_send(const char *fields, size_t len);

/* A value of the JSON text [at, end) -> fields, NAME the prefix of their names. For tests. */
const char *journal_fields(struct line *line, const char *name, const char *at, const char *end);

#endif
