/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Diagnostics: on standard error, one line each, never among the records. */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_NOTE = 1, /* silenced by --quiet */
	LOG_LEVEL_DEBUG = 2, /* shown by --verbose */
};

/* Shows messages up to this level. Errors are always shown. */
void log_set_level(enum log_level level);

enum log_level log_get_level(void);

/*
 * Writes "nsmon: " and the message, its control characters escaped, as one line; where
 * standard error is the systemd journal, with its priority in front.
 */
__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_note(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_debug(const char *format, ...);

/* Does standard error go to the journal, where each line has a priority in front? */
bool log_is_to_journal(void);

#endif
