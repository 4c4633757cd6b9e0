// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Text -> the parsers of sizes, lists and process ids; what they take is what it says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The number at the start of text, with no limit that a machine word has. */
static double value_of(const char *text, const char **end)
{
	double value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (*text - '0');
	*end = text;
	return value;
}

static void check_size(const char *text)
{
	static const size_t pages[] = { 4096, 16384, 65536 };

	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
		const char *unit;
		double value = value_of(text, &unit);
		size_t got = 77;
		int err = options_parse_size(text, pages[i], &got);

		CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
		if (err) {
			CHECK(got == 77);
			continue;
		}
		CHECK(unit > text);
		if (*unit == 'k' || *unit == 'K')
			value *= 1024;
		else if (*unit == 'm' || *unit == 'M')
			value *= 1024 * 1024;
		else if (*unit == 'g' || *unit == 'G')
			value *= 1024 * 1024 * 1024;
		CHECK(strlen(unit) <= 1);
		CHECK((double)got == value);
		CHECK(got >= pages[i] && got <= 1 << 30 && !(got & (got - 1)));
	}
}

static void check_pid(const char *text)
{
	const char *end;
	double value = value_of(text, &end);
	pid_t got = 77;
	int err = options_parse_pid(text, &got);
	int valid = end > text && !*end && value >= 1 && value <= 4194304;

	CHECK(err == (valid ? 0 : -EINVAL));
	CHECK(got == (valid ? (pid_t)value : 77));
}

/* Word by word, and every word must be a name. */
static void check_list(const char *text, const char *const *names, size_t count)
{
	const char *wrong = NULL;
	size_t wrong_len = 0;
	uint32_t got = 77, expected = 0;
	char *copy = strdup(text);
	char *rest = copy, *word;
	int valid = 1;
	int err;

	CHECK(copy);
	while (valid && (word = strsep(&rest, ","))) {
		valid = 0;
		for (size_t i = 0; i < count; i++) {
			if (!names[i] || strcmp(names[i], word))
				continue;
			valid = 1;
			expected |= 1U << i;
		}
	}
	free(copy);
	err = options_parse_list(text, names, count, &got, &wrong, &wrong_len);
	CHECK(err == (valid ? 0 : -EINVAL));
	CHECK(got == (valid ? expected : 77));
	if (err)
		CHECK(wrong >= text && wrong + wrong_len <= text + strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	CHECK(text);
	memcpy(text, data, size);
	text[size] = 0;
	check_size(text);
	check_pid(text);
	check_list(text, kind_names, NSMON_LOST);
	check_list(text, ns_type_names, NSMON_NS_TYPES);
	check_list(text, reason_names, NSMON_REASONS);
	free(text);
	return 0;
}
