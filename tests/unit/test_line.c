// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* line.c: numbers, times and hostile strings, against witnesses of libc and strict.h. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "line.h"
#include "strict.h"

static char room[LINE_MAX_BYTES + 1];
static struct line line;

static void start(void)
{
	line = (struct line){ .at = room, .end = room + LINE_MAX_BYTES };
}

static size_t written(void)
{
	return (size_t)(line.at - room);
}

/* What was written since start(), ended by a NUL. */
static const char *text(void)
{
	*line.at = 0;
	return room;
}

static void check_u64(uint64_t number)
{
	char expected[32];

	snprintf(expected, sizeof(expected), "%" PRIu64, number);
	start();
	line_u64(&line, number);
	assert_string_equal(text(), expected);
}

static void test_numbers(void **state)
{
	uint64_t power = 1;

	(void)state;
	check_u64(0);
	for (int i = 0; i < 20; i++, power *= 10) {
		check_u64(power - 1);
		check_u64(power);
		check_u64(power + 1);
	}
	for (int i = 0; i < 64; i++)
		check_u64(1ULL << i);
	check_u64(UINT32_MAX);
	check_u64(INT64_MAX);
	check_u64(UINT64_MAX);
	for (uint64_t i = 0, number = 1; i < 200000; i++) {
		number = number * 6364136223846793005ULL + 1442695040888963407ULL; /* Knuth's MMIX */
		check_u64(number >> i % 64);
	}
}

/* As many digits as room is left for are not always enough: nothing is written then, or all of it. */
static void test_number_without_room(void **state)
{
	(void)state;
	for (size_t left = 0; left < 32; left++) {
		memset(room, '#', 64);
		line = (struct line){ .at = room, .end = room + left };
		line_u64(&line, UINT64_MAX);
		assert_true(line.at == room || line.at == room + 20);
		for (size_t i = left; i < 64; i++)
			assert_int_equal(room[i], '#');
	}
}

static bool is_word(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~' || strchr("\"\\=", name[i]))
			return false;
	return len > 0;
}

/* Each byte at each place, before and behind the end: only what is before it counts. */
static void test_word(void **state)
{
	(void)state;
	for (unsigned int len = 0; len <= NAME_BYTES; len++) {
		for (unsigned int at = 0; at < NAME_BYTES; at++) {
			for (unsigned int byte = 0; byte < 256; byte++) {
				char name[NAME_BYTES] = "abcdefghijklmno", copy[NAME_BYTES + 1] = "";
				size_t true_len;
				bool word;

				name[NAME_BYTES - 1] = 'p';
				if (len < NAME_BYTES)
					memset(name + len, 0, NAME_BYTES - len);
				name[at] = (char)byte;
				true_len = strnlen(name, NAME_BYTES);
				memcpy(copy, name, true_len);
				start();
				word = line_word(&line, name);
				assert_int_equal(word, is_word(copy, true_len));
				assert_string_equal(text(), word ? copy : "");
			}
		}
	}
}

/* As line_json(), which is held against a witness below. */
static void test_json_name(void **state)
{
	char name[NAME_BYTES], expected[128];

	(void)state;
	for (unsigned int i = 0, random = 1; i < 100000; i++) {
		for (unsigned int at = 0; at < NAME_BYTES; at++) {
			random = random * 1664525 + 1013904223; /* Numerical Recipes */
			name[at] = (char)(i % 2 ? 0x20 + (random >> 24) % 0x60 : random >> 24);
		}
		name[random >> 20 & 15] = i % 3 ? 0 : name[0];
		start();
		line_json(&line, name, strnlen(name, NAME_BYTES));
		strcpy(expected, text());
		start();
		line_json_name(&line, name, NAME_BYTES);
		assert_string_equal(text(), expected);
	}
}

static void check_escaped(const char *bytes, size_t len, const char *expected)
{
	char *copy = malloc(len ? len : 1); /* for ASan */

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	start();
	line_escaped(&line, copy, len);
	assert_string_equal(text(), expected);
	free(copy);
}

#define escaped(literal, expected) check_escaped(literal, sizeof(literal) - 1, expected)

static void test_escapes(void **state)
{
	(void)state;
	escaped("", "");
	escaped("plain text ~!@#$%^&*()'/", "plain text ~!@#$%^&*()'/");
	escaped("a\nb", "a\\nb");
	escaped("\a\b\t\n\v\f\r", "\\a\\b\\t\\n\\v\\f\\r");
	escaped("\"quoted\"", "\\\"quoted\\\"");
	escaped("back\\slash", "back\\\\slash");
	escaped("\033[2J", "\\x1b[2J");
	escaped("\0", "\\x00");
	escaped("a\0b", "a\\x00b");
	escaped("\x01\x1f\x7f", "\\x01\\x1f\\x7f");
	escaped("\x80\xff\xc3", "\\x80\\xff\\xc3");
	escaped("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	escaped("\xc2\x9b"
		"31m",
		"\\xc2\\x9b31m"); /* CSI of 8-bit terminals */
	escaped("\xc2\x80\xc2\x85\xc2\x9f", "\\xc2\\x80\\xc2\\x85\\xc2\\x9f");
	escaped("\xc2\xa1", "\xc2\xa1");
	escaped("\xe2\x80\xae"
		"cba",
		"\\xe2\\x80\\xae"
		"cba"); /* right-to-left override */
}

/* C's own reading of the escapes, as `printf %b` does it, gives the bytes back. */
static size_t unescape(const char *p, char *out)
{
	static const char from[] = "abtnvfr\"\\";
	static const char to[] = "\a\b\t\n\v\f\r\"\\";
	size_t len = 0;

	while (*p) {
		unsigned int byte;
		const char *found;

		if (*p != '\\') {
			out[len++] = *p++;
			continue;
		}
		if (p[1] == 'x') {
			assert_int_equal(sscanf(p + 2, "%2x", &byte), 1);
			out[len++] = (char)byte;
			p += 4;
			continue;
		}
		found = strchr(from, p[1]);
		assert_non_null(found);
		out[len++] = to[found - from];
		p += 2;
	}
	return len;
}

static void check_one(const char *bytes, size_t len)
{
	char decoded[64], json_text[64];
	bool valid = strict_is_utf8(bytes, len);
	const char *end;
	size_t n;

	/* Text: nothing is lost, and nothing can act on a terminal. */
	start();
	line_escaped(&line, bytes, len);
	if (!strict_is_printable(room, written()))
		fail_msg("%s is not printable", text());
	n = unescape(text(), decoded);
	if (n != len || memcmp(decoded, bytes, len))
		fail_msg("%02x %02x %02x %02x is written as %s", (unsigned char)bytes[0],
			 (unsigned char)bytes[1], (unsigned char)bytes[2], (unsigned char)bytes[3],
			 text());

	/* JSON: the same text where it is one, else U+FFFD and the flag. */
	start();
	line_json(&line, bytes, len);
	assert_true(strict_is_printable(room, written()));
	end = json_string(room, line.at, json_text, &n);
	assert_ptr_equal(end, line.at);
	assert_int_equal(line.raw, !valid);
	if (valid) {
		assert_int_equal(n, len);
		assert_memory_equal(json_text, bytes, len);
	} else {
		assert_non_null(memmem(json_text, n, "\xef\xbf\xbd", 3));
	}
}

/* Every pair of first bytes, with the third and fourth at the edges of what they may be. */
static void test_all_of_utf8(void **state)
{
	static const unsigned char edges[] = { 0x22, 0x7f, 0x80, 0xa8, 0xbf, 0xc0 };
	const size_t count = sizeof(edges);
	char bytes[4];

	(void)state;
	for (int first = 0; first < 256; first++) {
		for (int second = 0; second < 256; second++) {
			bytes[0] = (char)first;
			bytes[1] = (char)second;
			bytes[2] = bytes[3] = 'x';
			check_one(bytes, 1);
			check_one(bytes, 2);
			if (first < 0xc0 && second < 0xc0)
				continue;
			for (size_t i = 0; i < count * count; i++) {
				bytes[2] = (char)edges[i / count];
				bytes[3] = (char)edges[i % count];
				if (i % count == 0)
					check_one(bytes, 3);
				if (first >= 0xf0)
					check_one(bytes, 4);
			}
		}
	}
}

/* Every code point that exists, whole, and without its last byte. */
static void test_all_of_unicode(void **state)
{
	char bytes[4];

	(void)state;
	for (uint32_t code = 0; code <= 0x10ffff; code++) {
		size_t len;

		if (code >= 0xd800 && code <= 0xdfff)
			continue;
		if (code > 0x3000 && code % 7 && (code & 0xfff) > 1 && (code & 0xfff) < 0xffe)
			continue;
		memset(bytes, 0, sizeof(bytes));
		len = strict_put_utf8(bytes, code);
		check_one(bytes, len);
		if (len > 1)
			check_one(bytes, len - 1);
	}
}

/* Strings are looked at in words: a byte is escaped wherever it is, and whatever is beside it. */
static void test_every_byte_at_every_place(void **state)
{
	static const char beside[] = { 'a', '!', '#', '[', ']', '~', ' ' };

	(void)state;
	for (size_t b = 0; b < sizeof(beside); b++) {
		for (int c = 0; c < 256; c++) {
			for (size_t place = 0; place < 19; place++) {
				char bytes[19], alone[8];

				memset(bytes, beside[b], sizeof(bytes));
				bytes[place] = (char)c;
				start();
				line_escaped(&line, bytes + place, 1);
				strcpy(alone, text());
				start();
				line_escaped(&line, bytes, sizeof(bytes));
				text();
				assert_int_equal(written(), sizeof(bytes) - 1 + strlen(alone));
				assert_memory_equal(room, bytes, place);
				assert_memory_equal(room + place, alone, strlen(alone));
				assert_memory_equal(room + place + strlen(alone), bytes + place + 1,
						    sizeof(bytes) - 1 - place);
			}
		}
	}
}

/*
 * Each has the Unicode property Bidi_Control, White_Space or
 * Default_Ignorable_Code_Point, or separates lines.
 */
static void test_controls_are_escaped(void **state)
{
	static const uint32_t codes[] = { 0x061c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a,
					  0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067,
					  0x2068, 0x2069, 0x00a0, 0x00ad, 0x200b, 0x200d,
					  0x2003, 0x2060, 0x3000, 0x3164, 0xfeff, 0xffa0,
					  0x180e, 0x115f, 0x180b, 0x2800, 0xffff };

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		char bytes[4], expected[16];
		size_t len = strict_put_utf8(bytes, codes[i]);

		start();
		line_json(&line, bytes, len);
		snprintf(expected, sizeof(expected), "\"\\u%04x\"", codes[i]);
		assert_string_equal(text(), expected);
		assert_false(line.raw);
		start();
		line_escaped(&line, bytes, len);
		if (len == 2)
			snprintf(expected, sizeof(expected), "\\x%02x\\x%02x",
				 (unsigned char)bytes[0], (unsigned char)bytes[1]);
		else
			snprintf(expected, sizeof(expected), "\\x%02x\\x%02x\\x%02x",
				 (unsigned char)bytes[0], (unsigned char)bytes[1],
				 (unsigned char)bytes[2]);
		assert_string_equal(text(), expected);
	}
	start();
	line_json(&line, "\xf3\xa0\x81\xa1", 4); /* U+E0061, tag latin small letter a */
	assert_string_equal(text(), "\"\\udb40\\udc61\"");
	start();
	line_escaped(&line, "\xf3\xa0\x81\xa1", 4);
	assert_string_equal(text(), "\\xf3\\xa0\\x81\\xa1");
}

static void check_json(const char *bytes, size_t len, const char *expected, bool raw)
{
	start();
	line_json(&line, bytes, len);
	assert_string_equal(text(), expected);
	assert_int_equal(line.raw, raw);
}

#define json(literal, expected, raw) check_json(literal, sizeof(literal) - 1, expected, raw)

static void test_json_strings(void **state)
{
	(void)state;
	json("", "\"\"", false);
	json("a b=c", "\"a b=c\"", false);
	json("\"\\/", "\"\\\"\\\\/\"", false);
	json("\n\t", "\"\\n\\t\"", false);
	json("\0\x1b\x7f", "\"\\u0000\\u001b\\u007f\"", false);
	json("\xc3\xa9", "\"\xc3\xa9\"", false);
	json("\xc2\x9b", "\"\\u009b\"", false);
	json("\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"", false);
	json("a\xff"
	     "b",
	     "\"a\xef\xbf\xbd"
	     "b\"",
	     true);
	json("\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\"", true);
	json("\xef\xbf\xbd", "\"\xef\xbf\xbd\"", false); /* a U+FFFD that was there */
	json("\xe2\x28\xa1", "\"\xef\xbf\xbd(\xef\xbf\xbd\"", true);
	/* The table 3-7 of Unicode, at its edges. */
	json("\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"", true); /* NUL, overlong */
	json("\xc1\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\"", true);
	json("\xe0\x9f\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", true);
	json("\xe0\xa0\x80", "\"\xe0\xa0\x80\"", false);
	json("\xed\x9f\xbf", "\"\xed\x9f\xbf\"", false);
	json("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", true); /* surrogate */
	json("\xee\x80\x80", "\"\xee\x80\x80\"", false);
	json("\xf0\x90\x80\x80", "\"\xf0\x90\x80\x80\"", false);
	json("\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"", false);
}

/* Once raw, the line stays it. */
static void test_raw_is_of_the_line(void **state)
{
	(void)state;
	start();
	line_json(&line, "\xff", 1);
	line_json(&line, "fine", 4);
	assert_true(line.raw);
}

static void test_names(void **state)
{
	static const char full[16] = { 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h',
				       'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p' };
	/* What is behind the NUL is from a name that was there before. */
	static const char early[16] = "ls\0\033]0;evil\a";
	static const char empty[16];

	(void)state;
	start();
	line_escaped_name(&line, full, sizeof(full));
	assert_string_equal(text(), "abcdefghijklmnop");
	start();
	line_json_name(&line, full, sizeof(full));
	assert_string_equal(text(), "\"abcdefghijklmnop\"");
	start();
	line_escaped_name(&line, early, sizeof(early));
	assert_string_equal(text(), "ls");
	start();
	line_json_name(&line, early, sizeof(early));
	assert_string_equal(text(), "\"ls\"");
	start();
	line_json_name(&line, empty, sizeof(empty));
	assert_string_equal(text(), "\"\"");
}

static void check_time(uint64_t ns)
{
	time_t second = (time_t)(ns / 1000000000);
	char day[40], expected[80];
	struct tm tm;

	assert_non_null(gmtime_r(&second, &tm));
	assert_int_not_equal(strftime(day, sizeof(day), "%FT%T", &tm), 0);
	snprintf(expected, sizeof(expected), "%s.%09" PRIu64 "Z", day, ns % 1000000000);
	start();
	line_time(&line, ns);
	assert_string_equal(text(), expected);
}

static void check_time_is(uint64_t ns, const char *expected)
{
	start();
	line_time(&line, ns);
	assert_string_equal(text(), expected);
}

static void test_time(void **state)
{
	(void)state;
	/* From the contract; `date -u -d 2026-11-23T16:24:00 +%s` is 1795451040. */
	check_time_is(1795451040123456789, "2026-11-23T16:24:00.123456789Z");
	check_time_is(0, "1970-01-01T00:00:00.000000000Z");
	/* Within the second whose text is kept, and back. */
	check_time_is(1795451040999999999, "2026-11-23T16:24:00.999999999Z");
	check_time_is(1795451041000000000, "2026-11-23T16:24:01.000000000Z");
	check_time_is(1795451040000000001, "2026-11-23T16:24:00.000000001Z");
	check_time_is(1795451040000000000, "2026-11-23T16:24:00.000000000Z");
	/* The year changes. */
	check_time_is(1798761599999999999, "2026-12-31T23:59:59.999999999Z");
	check_time_is(1798761600000000000, "2027-01-01T00:00:00.000000000Z");
	/* 29 February. */
	check_time_is(1709164800000000000, "2024-02-29T00:00:00.000000000Z");
	check_time(UINT64_MAX);
	check_time(999999999);
	check_time(1000000000);
	for (uint64_t ns = 1; ns < UINT64_MAX / 7; ns *= 7)
		check_time(ns);
	for (uint64_t i = 0; i < 20000; i++)
		check_time(1700000000000000000 + i * 98765432100123);
}

/* Whatever does not fit is left out; not a byte is written behind the end. */
static void test_never_past_the_end(void **state)
{
	static char bytes[4096];
	static char memory[64];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 37 + i / 256);
	for (size_t size = 0; size < sizeof(memory); size++) {
		for (int what = 0; what < 8; what++) {
			memset(memory, 'Z', sizeof(memory));
			line = (struct line){ .at = memory, .end = memory + size };
			for (int again = 0; again < 3; again++) {
				switch (what) {
				case 0:
					line_bytes(&line, bytes, (size_t)again * 17);
					break;
				case 1:
					line_string(&line, "a string");
					break;
				case 2:
					line_u64(&line, UINT64_MAX);
					break;
				case 3:
					line_escaped(&line, bytes, 256);
					break;
				case 4:
					line_escaped_name(&line, bytes + 1, 16);
					break;
				case 5:
					line_json(&line, bytes, sizeof(bytes));
					break;
				case 6:
					line_json_name(&line, bytes + 1, 16);
					break;
				case 7:
					line_time(&line, 1795451040123456789);
					break;
				}
			}
			assert_in_range((uintptr_t)line.at, (uintptr_t)memory,
					(uintptr_t)memory + size);
			for (size_t i = size; i < sizeof(memory); i++)
				assert_int_equal(memory[i], 'Z');
		}
	}
}

/* The promise of LINE_MAX_BYTES: all text of one record, six bytes for each byte. */
static void test_room_for_the_longest_text(void **state)
{
	static char bytes[4096];

	(void)state;
	memset(bytes, 1, sizeof(bytes));
	start();
	line_json(&line, bytes, sizeof(bytes));
	assert_int_equal(written(), 6 * 4096 + 2);
	assert_true(written() + 4096 < LINE_MAX_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_number_without_room),
		cmocka_unit_test(test_word),
		cmocka_unit_test(test_json_name),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_all_of_utf8),
		cmocka_unit_test(test_all_of_unicode),
		cmocka_unit_test(test_every_byte_at_every_place),
		cmocka_unit_test(test_controls_are_escaped),
		cmocka_unit_test(test_json_strings),
		cmocka_unit_test(test_raw_is_of_the_line),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_never_past_the_end),
		cmocka_unit_test(test_room_for_the_longest_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
