// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Bytes of a line. Must not know which fields a record has. */
#include "line.h"

#include <endian.h>
#include <string.h>
#include <time.h>

static const char hex[] = "0123456789abcdef";

void line_string(struct line *line, const char *string)
{
	line_bytes(line, string, strlen(string));
}

#define EACH_BYTE(c) (0x0101010101010101ULL * (c))

/* The eight digits of a number below 10^8, 0 to 9 in each byte, the first one lowest. */
static inline uint64_t eight_digits(uint32_t number)
{
	/* Two numbers below 10^4, four below 100, eight below 10: in each step the quotients of all at once. */
	uint64_t halves = number / 10000 | (uint64_t)(number % 10000) << 32;
	uint64_t hundreds = (halves * 10486 >> 20) & 0x0000007f0000007fULL;
	uint64_t pairs = hundreds + ((halves - 100 * hundreds) << 16);
	uint64_t tens = (pairs * 103 >> 10) & 0x000f000f000f000fULL;

	return tens + ((pairs - 10 * tens) << 8);
}

static char *put_word(char *at, uint64_t bytes)
{
	bytes = htole64(bytes);
	memcpy(at, &bytes, sizeof(bytes));
	return at + sizeof(bytes);
}

static char *put_eight(char *at, uint32_t number)
{
	return put_word(at, eight_digits(number) + EACH_BYTE('0'));
}

/* Without zeros in front; eight bytes are written in any case. Returns where the digits end. */
static char *put_up_to_eight(char *at, uint32_t number)
{
	uint64_t digits = eight_digits(number);
	unsigned int zeros = digits ? (unsigned int)__builtin_ctzll(digits) / 8 : 7;

	put_word(at, (digits + EACH_BYTE('0')) >> 8 * zeros);
	return at + 8 - zeros;
}

void line_u64(struct line *line, uint64_t number)
{
	const uint64_t eight = 100000000; /* 10^8 */
	char *at = line->at;

	if (line->end - at < 24)
		return;
	if (number < 10)
		*at++ = (char)('0' + number);
	else if (number < eight)
		at = put_up_to_eight(at, (uint32_t)number);
	else if (number < eight * eight)
		at = put_eight(put_up_to_eight(at, (uint32_t)(number / eight)),
			       (uint32_t)(number % eight));
	else
		at = put_eight(put_eight(put_up_to_eight(at, (uint32_t)(number / eight / eight)),
					 (uint32_t)(number / eight % eight)),
			       (uint32_t)(number % eight));
	line->at = at;
}

/*
 * Length of the UTF-8 sequence at p, 0 where there is none: no overlong forms,
 * no surrogates, nothing above U+10FFFF (Unicode, table 3-7).
 */
static size_t utf8_length(const unsigned char *p, size_t room)
{
	unsigned char second_min = 0x80, second_max = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		second_min = 0xa0;
	else if (p[0] == 0xed)
		second_max = 0x9f;
	else if (p[0] == 0xf0)
		second_min = 0x90;
	else if (p[0] == 0xf4)
		second_max = 0x8f;
	if (room < len || p[1] < second_min || p[1] > second_max)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

/* Plain in both formats: printable ASCII but the quote and the backslash. */
static const bool plain[256] = {
	[0x20 ... '"' - 1] = true,
	['"' + 1 ... '\\' - 1] = true,
	['\\' + 1 ... 0x7e] = true,
};

/* The high bit of each byte that is 0 is set; above the first one, of others perhaps, too. */
static uint64_t zero_bytes(uint64_t bytes)
{
	return (bytes - EACH_BYTE(0x01)) & ~bytes & EACH_BYTE(0x80);
}

/* Are all of eight bytes plain? */
static inline bool are_plain(uint64_t bytes)
{
	uint64_t control = (bytes - EACH_BYTE(0x20)) & ~bytes; /* below 0x20 */

	return !((control & EACH_BYTE(0x80)) | zero_bytes(bytes ^ EACH_BYTE('"')) |
		 zero_bytes(bytes ^ EACH_BYTE('\\')) | zero_bytes(bytes ^ EACH_BYTE(0x7f)) |
		 (bytes & EACH_BYTE(0x80)));
}

static size_t plain_run(const unsigned char *p, size_t len)
{
	uint64_t bytes;
	size_t n = 0;

	for (; n + sizeof(bytes) <= len; n += sizeof(bytes)) {
		memcpy(&bytes, p + n, sizeof(bytes));
		if (!are_plain(bytes))
			break;
	}
	while (n < len && plain[p[n]])
		n++;
	return n;
}

/* A name of NAME_BYTES, and what is asked of all its bytes at once: 0xff is yes. */
typedef uint8_t name_bytes __attribute__((vector_size(NAME_BYTES)));

/* In two words, the first byte lowest. */
static void split(uint64_t words[2], name_bytes bytes)
{
	memcpy(words, &bytes, NAME_BYTES);
	words[0] = le64toh(words[0]);
	words[1] = le64toh(words[1]);
}

/* How many bytes come before a NUL. */
static unsigned int length_of(name_bytes name)
{
	uint64_t nul[2];

	split(nul, (name_bytes)(name == 0));
	if (nul[0])
		return (unsigned int)__builtin_ctzll(nul[0]) / 8;
	return nul[1] ? 8 + (unsigned int)__builtin_ctzll(nul[1]) / 8 : NAME_BYTES;
}

static bool is_any(name_bytes answers, unsigned int len)
{
	static const name_bytes place = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint64_t words[2];

	split(words, answers & (name_bytes)(place < (uint8_t)len));
	return words[0] | words[1];
}

static name_bytes are_not_plain(name_bytes name)
{
	return (name_bytes)((name < 0x20) | (name > 0x7e) | (name == '"') | (name == '\\'));
}

/* All of it, of which the first len bytes count. */
static bool put_name(struct line *line, name_bytes name, unsigned int len)
{
	if (line->end - line->at < NAME_BYTES)
		return false;
	memcpy(line->at, &name, NAME_BYTES);
	line->at += len;
	return true;
}

bool line_word(struct line *line, const char bytes[NAME_BYTES])
{
	name_bytes name;
	unsigned int len;

	memcpy(&name, bytes, NAME_BYTES);
	len = length_of(name);
	if (!len || is_any(are_not_plain(name) | (name_bytes)((name == ' ') | (name == '=')), len))
		return false;
	return put_name(line, name, len);
}

static void escape_byte(struct line *line, unsigned char c)
{
	static const char from[] = "\a\b\t\n\v\f\r\"\\";
	static const char to[] = "abtnvfr\"\\";
	const char *found = c ? strchr(from, c) : NULL;
	char escape[4] = { '\\', 'x', hex[c >> 4], hex[c & 15] };

	if (found) {
		escape[1] = to[found - from];
		line_bytes(line, escape, 2);
		return;
	}
	line_bytes(line, escape, 4);
}

static uint32_t code_point(const unsigned char *p, size_t len)
{
	uint32_t c = p[0] & (0x7fU >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3fU);
	return c;
}

/*
 * Characters that a terminal obeys, that break lines, that turn the direction
 * of what follows, or that show as nothing or as a space: with them a name can
 * look like another one (Unicode TR 36 and DerivedCoreProperties,
 * Default_Ignorable_Code_Point, without the variation selectors of emoji).
 */
static bool is_dangerous(const unsigned char *p, size_t len)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x0080, 0x00a0 }, /* C1 controls, no-break space */
		{ 0x00ad, 0x00ad }, /* soft hyphen */
		{ 0x034f, 0x034f }, /* combining grapheme joiner */
		{ 0x061c, 0x061c }, /* Arabic letter mark */
		{ 0x115f, 0x1160 }, /* Hangul fillers */
		{ 0x1680, 0x1680 }, /* Ogham space */
		{ 0x17b4, 0x17b5 }, /* Khmer inherent vowels */
		{ 0x180b, 0x180f }, /* Mongolian selectors and vowel separator */
		{ 0x2000, 0x200f }, /* spaces, zero width, directional marks */
		{ 0x2028, 0x202f }, /* separators, embeddings and overrides */
		{ 0x205f, 0x206f }, /* spaces, invisible operators, isolates */
		{ 0x2800, 0x2800 }, /* braille blank */
		{ 0x3000, 0x3000 }, /* ideographic space */
		{ 0x3164, 0x3164 }, /* Hangul filler */
		{ 0xfeff, 0xfeff }, /* zero width no-break space */
		{ 0xffa0, 0xffa0 }, /* halfwidth Hangul filler */
		{ 0xfff0, 0xfffb }, /* unassigned, interlinear annotation */
		{ 0xfffe, 0xffff }, /* noncharacters */
		{ 0x1bca0, 0x1bca3 }, /* shorthand format controls */
		{ 0x1d173, 0x1d17a }, /* musical format controls */
		{ 0xe0000, 0xe0fff }, /* tags */
	};
	uint32_t c = code_point(p, len);

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges) && c >= ranges[i].first; i++)
		if (c <= ranges[i].last)
			return true;
	return false;
}

void line_escaped(struct line *line, const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	const unsigned char *end = p + len;

	while (p < end) {
		size_t n = plain_run(p, (size_t)(end - p));

		line_bytes(line, (const char *)p, n);
		p += n;
		if (p == end)
			break;
		n = utf8_length(p, (size_t)(end - p));
		if (n > 1 && !is_dangerous(p, n)) {
			line_bytes(line, (const char *)p, n);
			p += n;
			continue;
		}
		for (n = n ? n : 1; n; n--)
			escape_byte(line, *p++);
	}
}

void line_escaped_name(struct line *line, const char *name, size_t size)
{
	line_escaped(line, name, strnlen(name, size));
}

static void json_byte(struct line *line, unsigned char c)
{
	char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (c == '"' || c == '\\') {
		escape[1] = (char)c;
		line_bytes(line, escape, 2);
	} else if (c == '\n') {
		line_text(line, "\\n");
	} else if (c == '\t') {
		line_text(line, "\\t");
	} else {
		line_bytes(line, escape, 6);
	}
}

static void json_unit(struct line *line, uint32_t unit)
{
	char escape[6] = {
		'\\', 'u', hex[unit >> 12], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]
	};

	line_bytes(line, escape, sizeof(escape));
}

/* RFC 8259, section 7: above U+FFFF as a surrogate pair. */
static void json_dangerous(struct line *line, const unsigned char *p, size_t len)
{
	uint32_t c = code_point(p, len);

	if (c < 0x10000) {
		json_unit(line, c);
		return;
	}
	json_unit(line, 0xd800 | (c - 0x10000) >> 10);
	json_unit(line, 0xdc00 | ((c - 0x10000) & 0x3ff));
}

void line_json(struct line *line, const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes;
	const unsigned char *end = p + len;

	line_text(line, "\"");
	while (p < end) {
		size_t n = plain_run(p, (size_t)(end - p));

		line_bytes(line, (const char *)p, n);
		p += n;
		if (p == end)
			break;
		n = utf8_length(p, (size_t)(end - p));
		if (n == 1) {
			json_byte(line, *p);
		} else if (n && is_dangerous(p, n)) {
			json_dangerous(line, p, n);
		} else if (n) {
			line_bytes(line, (const char *)p, n);
		} else {
			line_text(line, "\xef\xbf\xbd");
			line->raw = true;
			n = 1;
		}
		p += n;
	}
	line_text(line, "\"");
}

void line_json_name(struct line *line, const char *bytes, size_t size)
{
	name_bytes name;
	unsigned int len;

	if (size == NAME_BYTES) {
		memcpy(&name, bytes, NAME_BYTES);
		len = length_of(name);
		if (!is_any(are_not_plain(name), len)) {
			line_text(line, "\"");
			if (put_name(line, name, len))
				line_text(line, "\"");
			return;
		}
	}
	line_json(line, bytes, strnlen(bytes, size));
}

void line_time(struct line *line, uint64_t realtime_ns)
{
	static struct {
		time_t next; /* the second after that of the text; 0: there is none */
		char text[sizeof("2026-11-23T16:24:00.123456789Z")];
	} kept[8];
	time_t second = (time_t)(realtime_ns / 1000000000U);
	uint32_t ns = (uint32_t)(realtime_ns % 1000000000U);
	char *text = kept[second % 8].text;

	if (second + 1 != kept[second % 8].next) {
		struct tm tm;

		gmtime_r(&second, &tm);
		strftime(text, sizeof(kept[0].text), "%Y-%m-%dT%H:%M:%S.000000000Z", &tm);
		kept[second % 8].next = second + 1;
	}
	put_eight(text + 20, ns / 10);
	text[28] = (char)('0' + ns % 10);
	line_bytes(line, text, sizeof(kept[0].text) - 1);
}
