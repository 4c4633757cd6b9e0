// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A byte that says what, then the path of a cgroup, or a file of a runtime. What is found
 * is in the path, and no string is longer than it may be.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "runstate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static bool is_in(const char *at, size_t at_len, const char *path, size_t len)
{
	return at > path && at_len <= len && (size_t)(at - path) <= len - at_len;
}

/* What is found is within what was given, and is one thing or the other. */
static void check_match(const char *path, size_t len)
{
	char id[CONTAINER_ID_MAX + 1], uid[CONTAINER_POD_UID_MAX + 1];
	struct container_match match;
	bool found = container_match(path, len, &match);

	CHECK(found == (match.id_len > 0));
	CHECK(found || (!match.runtime && !match.nested && !match.pod_uid_len));
	CHECK(!found || !match.unit_len);
	CHECK(!found || is_in(match.id, match.id_len, path, len));
	CHECK(!match.pod_uid_len || is_in(match.pod_uid, match.pod_uid_len, path, len));
	CHECK(!match.unit_len || is_in(match.unit, match.unit_len, path, len));
	CHECK(match.id_len <= CONTAINER_ID_MAX);
	CHECK(found ? !memchr(match.id, '/', match.id_len) : 1);
	CHECK(container_id(&match, id) <= match.id_len);
	CHECK(strlen(id) == container_id(&match, id));
	CHECK(container_pod_uid(&match, uid) == match.pod_uid_len);
	CHECK(strlen(uid) == match.pod_uid_len);
	CHECK(!strchr(uid, '_'));
}

static void check_string(const char *string)
{
	CHECK(!string || (*string && strlen(string) <= RUNSTATE_STRING_MAX));
}

/* The cgroup is what is in front of the first newline, and the file's text behind it. */
static void check_file(enum runstate_file file, const char *text, size_t len)
{
	static const char id[] = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";
	const char *newline = memchr(text, '\n', len);
	char *cgroup = newline ? strndup(text, (size_t)(newline - text)) : NULL;
	const char *rest = newline ? newline + 1 : text;
	struct runtime_details details = { 0 };
	int err = runstate_parse(file, rest, len - (size_t)(rest - text), id, cgroup, &details);

	CHECK(err == 0 || err == -EINVAL || err == -ENOENT || err == -EXDEV);
	check_string(details.id);
	check_string(details.name);
	check_string(details.image);
	check_string(details.pod_uid);
	check_string(details.pod);
	check_string(details.namespace);
	check_string(details.container_name);
	check_string(details.runtime);
	CHECK(!details.cgroup_len || (cgroup && details.cgroup_len <= strlen(cgroup)));
	CHECK(!details.cgroup_len || !cgroup[details.cgroup_len] ||
	      cgroup[details.cgroup_len] == '/');
	CHECK(!details.backed);
	runtime_details_free(&details);
	free(cgroup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size > 1 ? size - 1 : 1); /* of its own size: ASan guards the end */
	CHECK(text);
	memcpy(text, data + 1, size - 1);
	if (data[0] % (RUNSTATE_FILES + 1) < RUNSTATE_FILES)
		check_file((enum runstate_file)(data[0] % (RUNSTATE_FILES + 1)), text, size - 1);
	else
		check_match(text, size - 1);
	free(text);
	return 0;
}
