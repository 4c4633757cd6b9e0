// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Diagnostics on standard error. Must not know what they are about. */
#include "log.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum log_level shown = LOG_LEVEL_NOTE;

void log_set_level(enum log_level level)
{
	shown = level;
}

enum log_level log_get_level(void)
{
	return shown;
}

/*
 * Is standard error the journal? systemd says which stream it gave (systemd.exec(5):
 * JOURNAL_STREAM); a program that was started with another one inherits the variable.
 */
bool log_is_to_journal(void)
{
	const char *given = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!given || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(given, own) == 0;
}

/* In front of a line, journald takes it for the priority (sd-daemon(3)). */
static const char *priority(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "<3>";
	case LOG_LEVEL_NOTE:
		return "<5>";
	case LOG_LEVEL_DEBUG:
		break;
	}
	return "<7>";
}

/* Names and paths that a message quotes may be anybody's: one line, no escapes. */
static void write_message(enum log_level level, const char *format, va_list args)
{
	char message[2048];
	char line[sizeof(message) * 4 + 16];
	size_t len;
	int saved = errno;

	if (vsnprintf(message, sizeof(message), format, args) < 0)
		return;
	len = (size_t)snprintf(line, sizeof(line),
			       "%snsmon: ", log_is_to_journal() ? priority(level) : "");
	for (const char *p = message; *p; p++) {
		if (isprint((unsigned char)*p))
			line[len++] = *p;
		else
			len += (size_t)snprintf(line + len, sizeof(line) - len, "\\x%02x",
						(unsigned char)*p);
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* There is nobody left to tell. */
	}
	errno = saved;
}

#define DEFINE_LOG(name, level)                                                                    \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		if (shown < (level))                                                               \
			return;                                                                    \
		va_start(args, format);                                                            \
		write_message(level, format, args);                                                \
		va_end(args);                                                                      \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_note, LOG_LEVEL_NOTE)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
