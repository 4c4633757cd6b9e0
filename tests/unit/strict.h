/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The readers that the tests hold the output against: UTF-8 by decoding it, JSON
 * by the grammar of RFC 8259. Shares no code with nsmon.
 */
#ifndef TESTS_STRICT_H
#define TESTS_STRICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Decodes one code point; its length, or 0 where RFC 3629 allows none. */
static inline size_t strict_utf8(const char *text, size_t room, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)text;
	size_t len;

	if (!room)
		return 0;
	*code = p[0];
	if (p[0] < 0x80)
		return 1;
	for (len = 0; len < 8 && (p[0] & (0x80 >> len)); len++)
		;
	if (len < 2 || len > 4 || room < len)
		return 0;
	*code = p[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return len;
}

static inline bool strict_is_utf8(const char *text, size_t len)
{
	uint32_t code;

	while (len) {
		size_t n = strict_utf8(text, len, &code);

		if (!n)
			return false;
		text += n;
		len -= n;
	}
	return true;
}

/* Can a terminal be made to do something by it, or a reader to see another line? */
static inline bool strict_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x2028 || code == 0x2029 ||
	       code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0x061c;
}

/* UTF-8 without any control character. */
static inline bool strict_is_printable(const char *text, size_t len)
{
	uint32_t code;

	while (len) {
		size_t n = strict_utf8(text, len, &code);

		if (!n || strict_is_control(code))
			return false;
		text += n;
		len -= n;
	}
	return true;
}

static inline const char *json_literal(const char *p, const char *end, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

static inline const char *json_digits(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static inline const char *json_number(const char *p, const char *end)
{
	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = json_digits(p, end);
	if (p && p < end && *p == '.')
		p = json_digits(p + 1, end);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = json_digits(p, end);
	}
	return p;
}

static inline const char *json_hex4(const char *p, const char *end, uint32_t *code)
{
	*code = 0;
	if (end - p < 4)
		return NULL;
	for (int i = 0; i < 4; i++, p++) {
		uint32_t digit;

		if (*p >= '0' && *p <= '9')
			digit = (uint32_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (uint32_t)(*p - 'a' + 10);
		else if (*p >= 'A' && *p <= 'F')
			digit = (uint32_t)(*p - 'A' + 10);
		else
			return NULL;
		*code = *code << 4 | digit;
	}
	return p;
}

static inline size_t strict_put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* One escape behind its backslash -> a code point. */
static inline const char *json_escape(const char *p, const char *end, uint32_t *code)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	uint32_t low;

	if (p == end || !*p)
		return NULL;
	found = strchr(from, *p);
	if (found) {
		*code = (unsigned char)to[found - from];
		return p + 1;
	}
	if (*p != 'u')
		return NULL;
	p = json_hex4(p + 1, end, code);
	if (!p || (*code >= 0xdc00 && *code <= 0xdfff))
		return NULL;
	if (*code < 0xd800 || *code > 0xdbff)
		return p;
	if (end - p < 2 || p[0] != '\\' || p[1] != 'u')
		return NULL;
	p = json_hex4(p + 2, end, &low);
	if (!p || low < 0xdc00 || low > 0xdfff)
		return NULL;
	*code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
	return p;
}

/*
 * Behind the string at p, NULL where there is none. Its text goes to out, which
 * is as large as the string is long, where that is not NULL.
 */
static inline const char *json_string(const char *p, const char *end, char *out, size_t *out_len)
{
	char none[4];
	size_t len = 0;

	if (p == end || *p++ != '"')
		return NULL;
	while (p && p < end && *p != '"') {
		uint32_t code;
		size_t n;

		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p == '\\') {
			p = json_escape(p + 1, end, &code);
		} else {
			n = strict_utf8(p, (size_t)(end - p), &code);
			p = n ? p + n : NULL;
		}
		if (p)
			len += strict_put_utf8(out ? out + len : none, code);
	}
	if (!p || p == end)
		return NULL;
	if (out_len)
		*out_len = len;
	return p + 1;
}

/* Behind the value at p, without the white space that nsmon does not write; NULL where there is none. */
static inline const char *json_value(const char *p, const char *end, int depth)
{
	char close;

	if (p == end || depth > 16)
		return NULL;
	switch (*p) {
	case '"':
		return json_string(p, end, NULL, NULL);
	case 't':
		return json_literal(p, end, "true");
	case 'f':
		return json_literal(p, end, "false");
	case 'n':
		return json_literal(p, end, "null");
	case '{':
	case '[':
		break;
	default:
		return json_number(p, end);
	}
	close = *p == '{' ? '}' : ']';
	p++;
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		if (close == '}') {
			p = json_string(p, end, NULL, NULL);
			if (!p || p == end || *p++ != ':')
				return NULL;
		}
		p = json_value(p, end, depth + 1);
		if (!p || p == end)
			return NULL;
		if (*p == close)
			return p + 1;
		if (*p++ != ',')
			return NULL;
	}
}

/* One object, nothing before it and nothing behind it. */
static inline bool json_is_object(const char *text, size_t len)
{
	return len && text[0] == '{' && json_value(text, text + len, 0) == text + len;
}

/*
 * How often the object, which is valid, has a member of this name (its name is
 * plain); the last one's value is at *value.
 */
static inline int json_member(const char *object, size_t len, const char *name, const char **value,
			      size_t *value_len)
{
	const char *end = object + len;
	const char *p = object + 1;
	int found = 0;

	*value = NULL;
	*value_len = 0;
	while (p < end && *p == '"') {
		const char *member = p + 1;
		size_t member_len;
		const char *start;

		start = json_string(p, end, NULL, NULL) + 1;
		member_len = (size_t)(start - 2 - member);
		p = json_value(start, end, 0);
		if (member_len == strlen(name) && memcmp(member, name, member_len) == 0) {
			*value = start;
			*value_len = (size_t)(p - start);
			found++;
		}
		if (*p == ',')
			p++;
	}
	return found;
}

#endif
