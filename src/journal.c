// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Entries of the journal. What is in one is what text.c and json.c make of the record:
 * a member that they have is in the journal as well. Alone knows libsystemd.
 */
#include "journal.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#endif

#include "version.h"

/* More than a proc record of a container's task has. */
#define FIELDS_MAX 128

/* A name that is longer than 64 bytes is refused by journald; ours are not. */
#define NAME_MAX_BYTES 64

/* ---- the fields of a line ---- */

/* Reserves room for the length and writes "NAME="; NULL where bytes more would not fit. */
static char *begin_field(struct line *line, const char *name, size_t bytes)
{
	char *at = line->at;

	if ((size_t)(line->end - at) < sizeof(uint32_t) + strlen(name) + 1 + bytes)
		return NULL;
	line->at += sizeof(uint32_t);
	line_string(line, name);
	line_text(line, "=");
	return at;
}

static void end_field(const struct line *line, char *begin)
{
	uint32_t len = (uint32_t)(line->at - begin - (ptrdiff_t)sizeof(len));

	memcpy(begin, &len, sizeof(len));
}

static void field(struct line *line, const char *name, const char *value, size_t len)
{
	char *begin = begin_field(line, name, len);

	if (!begin)
		return;
	line_bytes(line, value, len);
	end_field(line, begin);
}

/* ---- JSON, as json.c writes it -> fields ---- */

static uint32_t hex4(const char *digits)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++) {
		char c = digits[i];

		value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return value;
}

static void utf8(struct line *line, uint32_t c)
{
	char bytes[4];
	size_t len = 0;

	if (c < 0x80) {
		bytes[len++] = (char)c;
	} else if (c < 0x800) {
		bytes[len++] = (char)(0xc0 | c >> 6);
		bytes[len++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		bytes[len++] = (char)(0xe0 | c >> 12);
		bytes[len++] = (char)(0x80 | (c >> 6 & 0x3f));
		bytes[len++] = (char)(0x80 | (c & 0x3f));
	} else {
		bytes[len++] = (char)(0xf0 | c >> 18);
		bytes[len++] = (char)(0x80 | (c >> 12 & 0x3f));
		bytes[len++] = (char)(0x80 | (c >> 6 & 0x3f));
		bytes[len++] = (char)(0x80 | (c & 0x3f));
	}
	line_bytes(line, bytes, len);
}

/* One escape, at its backslash; returns what is behind it. */
static const char *unescape(struct line *line, const char *at)
{
	uint32_t c;

	switch (at[1]) {
	case 'n':
		line_text(line, "\n");
		return at + 2;
	case 't':
		line_text(line, "\t");
		return at + 2;
	case 'u':
		break;
	default: /* a quote, a backslash */
		line_bytes(line, at + 1, 1);
		return at + 2;
	}
	c = hex4(at + 2);
	if (c < 0xd800 || c > 0xdbff) {
		utf8(line, c);
		return at + 6;
	}
	utf8(line, 0x10000 + ((c - 0xd800) << 10) + (hex4(at + 8) - 0xdc00));
	return at + 12;
}

/* Behind the string whose first quote is at. */
static const char *string_end(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

static const char *string_field(struct line *line, const char *name, const char *at,
				const char *end)
{
	const char *behind = string_end(at, end);
	char *begin = begin_field(line, name, (size_t)(behind - at));

	if (!begin)
		return behind;
	for (at++; at < behind - 1;) {
		size_t plain = strcspn(at, "\"\\");

		line_bytes(line, at, plain);
		at += plain;
		if (at < behind - 1)
			at = unescape(line, at);
	}
	end_field(line, begin);
	return behind;
}

/* An array stays JSON: the journal keeps neither order nor number of fields of one name. */
static const char *array_end(const char *at, const char *end)
{
	while (at < end && *at != ']')
		at = *at == '"' ? string_end(at, end) : at + 1;
	return at + 1;
}

static const char *object_fields(struct line *line, const char *name, const char *at,
				 const char *end)
{
	const size_t prefix = strlen(name);

	for (at++; at < end && *at != '}'; at += *at == ',') {
		char member[NAME_MAX_BYTES + 1];
		const char *key = at + 1;
		size_t len;

		at = string_end(at, end);
		len = (size_t)(at - key) - 1;
		if (prefix + 1 + len >= sizeof(member))
			len = sizeof(member) - prefix - 2;
		memcpy(member, name, prefix);
		member[prefix] = '_';
		for (size_t i = 0; i < len; i++)
			member[prefix + 1 + i] =
				(char)(key[i] >= 'a' && key[i] <= 'z' ? key[i] - 32 : key[i]);
		member[prefix + 1 + len] = 0;
		at = journal_fields(line, member, at + 1, end);
	}
	return at + 1;
}

const char *journal_fields(struct line *line, const char *name, const char *at, const char *end)
{
	const char *behind = at;

	if (*at == '{')
		return object_fields(line, name, at, end);
	if (*at == '"')
		return string_field(line, name, at, end);
	if (*at == '[')
		behind = array_end(at, end);
	else
		while (behind < end && *behind != ',' && *behind != '}')
			behind++;
	field(line, name, at, (size_t)(behind - at));
	return behind;
}

/* ---- the formatter ---- */

static char text_bytes[LINE_MAX_BYTES], json_bytes[LINE_MAX_BYTES + 1];

static struct line on(char *bytes)
{
	return (struct line){ .at = bytes, .end = bytes + LINE_MAX_BYTES };
}

/* Syslog's: 6 informational, 4 warning. */
static void put(struct line *line, const struct line *text, struct line *json, char priority)
{
	const char *end = json->at - 1;
	size_t len = (size_t)(text->at - text_bytes);

	*json->at = 0;
	if (len && text_bytes[len - 1] == '\n')
		len--;
	field(line, "MESSAGE", text_bytes, len);
	field(line, "PRIORITY", &priority, 1);
	field(line, "SYSLOG_IDENTIFIER", "nsmon", 5);
	journal_fields(line, "NSMON", json_bytes, end);
}

static void journal_event(struct line *line, const struct run *run, const struct stamp *stamp,
			  const struct event *event)
{
	struct line text = on(text_bytes), json = on(json_bytes);

	text_formatter.event(&text, run, stamp, event);
	json_formatter.event(&json, run, stamp, event);
	put(line, &text, &json, '6');
}

static void journal_ns(struct line *line, const struct run *run, const struct stamp *stamp,
		       const struct event *event, enum nsmon_ns_type type)
{
	struct line text = on(text_bytes), json = on(json_bytes);

	text_formatter.ns(&text, run, stamp, event, type);
	json_formatter.ns(&json, run, stamp, event, type);
	put(line, &text, &json, '6');
}

static void journal_failed(struct line *line, const struct run *run, const struct stamp *stamp,
			   const struct event *event)
{
	struct line text = on(text_bytes), json = on(json_bytes);

	text_formatter.failed(&text, run, stamp, event);
	json_formatter.failed(&json, run, stamp, event);
	put(line, &text, &json, '6');
}

static void journal_lost(struct line *line, const struct run *run, const struct stamp *stamp,
			 const uint64_t lost[NSMON_KINDS])
{
	struct line text = on(text_bytes), json = on(json_bytes);

	text_formatter.lost(&text, run, stamp, lost);
	json_formatter.lost(&json, run, stamp, lost);
	put(line, &text, &json, '4');
}

/* start, ready and stop are no lines of text: here they are. */
static void journal_start(struct line *line, const struct run *run, const struct stamp *stamp)
{
	struct line text = on(text_bytes), json = on(json_bytes);

	line_text(&text, "start: version=" NSMON_VERSION " backend=");
	line_string(&text, run->backend);
	line_text(&text, " kernel=");
	line_escaped(&text, run->kernel->uname.release, strlen(run->kernel->uname.release));
	json_formatter.start(&json, run, stamp);
	put(line, &text, &json, '6');
}

static void journal_ready(struct line *line, const struct run *run, const struct stamp *stamp,
			  uint64_t tasks)
{
	struct line text = on(text_bytes), json = on(json_bytes);

	line_text(&text, "ready: tasks=");
	line_u64(&text, tasks);
	json_formatter.ready(&json, run, stamp, tasks);
	put(line, &text, &json, '6');
}

static void journal_stop(struct line *line, const struct run *run, const struct stamp *stamp,
			 const struct totals *totals)
{
	struct line text = on(text_bytes), json = on(json_bytes);

	line_text(&text, "stop: fork=");
	line_u64(&text, totals->written[NSMON_FORK]);
	line_text(&text, " exec=");
	line_u64(&text, totals->written[NSMON_EXEC]);
	line_text(&text, " exit=");
	line_u64(&text, totals->written[NSMON_EXIT]);
	line_text(&text, " ns=");
	line_u64(&text, totals->written[NSMON_NS]);
	line_text(&text, " cgroup=");
	line_u64(&text, totals->written[NSMON_CGROUP]);
	line_text(&text, " lost=");
	line_u64(&text, totals->lost);
	json_formatter.stop(&json, run, stamp, totals);
	put(line, &text, &json, '6');
}

const struct formatter journal_formatter = {
	.start = journal_start,
	.event = journal_event,
	.ns = journal_ns,
	.failed = journal_failed,
	.ready = journal_ready,
	.lost = journal_lost,
	.stop = journal_stop,
};

/* ---- the journal ---- */

#ifdef HAVE_SYSTEMD

int journal_check(void)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		err = -errno;
	close(fd);
	return err;
}

int journal_send(const char *fields, size_t len)
{
	struct iovec iov[FIELDS_MAX];
	const char *end = fields + len;
	uint32_t size;
	int count = 0;

	for (const char *at = fields; at < end && count < FIELDS_MAX; at += size) {
		memcpy(&size, at, sizeof(size));
		at += sizeof(size);
		iov[count++] = (struct iovec){ .iov_base = (char *)at, .iov_len = size };
	}
	return sd_journal_sendv(iov, count);
}

#else

int journal_check(void)
{
	return -ENOSYS;
}

int journal_send(const char *fields, size_t len)
{
	(void)fields;
	(void)len;
	return -ENOSYS;
}

#endif
