// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * For each type that a relocation names, libbpf compares the names of all types
 * of the kernel, more than a hundred thousand: two thirds of the instructions of
 * a start. With some hundred types to look through it is done at once. The same
 * is done for kernels without BTF by `bpftool gen min_core_btf`.
 *
 * The numbers of types differ from the kernel's, so bpf_core_type_id_kernel() is
 * not to be had. What a pointer points to is left out: no relocation follows one.
 */
#include "excerpt.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* The name of a type of the programs; the rest of it is in their BTF. */
struct name {
	const char *text; /* not ended by a NUL */
	UT_hash_handle hh;
};

struct excerpt {
	const struct btf *kernel;
	struct btf *btf;
	struct name *names;
	struct name *name_room;
	uint32_t *ids; /* in the excerpt, by id in the kernel; 0: it is not in it */
	uint32_t *origin; /* the reverse */
	uint32_t count;
};

/* Without the flavour: "ns_common" of "ns_common___id" (bpf_core_essential_name_len() of libbpf). */
static size_t essential_length(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = length + 1; i-- > 5;) {
		const char *at = name + i - 5;

		if (at[0] != '_' && !memcmp(at + 1, "___", 3) && at[4] != '_')
			return (size_t)(at + 1 - name);
	}
	return length;
}

/* Of which relocations may be. */
static bool is_named_type(const struct btf_type *type)
{
	return type->name_off && (btf_is_composite(type) || btf_is_any_enum(type) ||
				  btf_is_typedef(type) || btf_is_int(type));
}

static int collect_names(struct excerpt *excerpt, const struct btf *programs)
{
	uint32_t count = btf__type_cnt(programs);

	excerpt->name_room = calloc(count, sizeof(*excerpt->name_room));
	if (!excerpt->name_room)
		return -ENOMEM;
	for (uint32_t id = 1; id < count; id++) {
		const struct btf_type *type = btf__type_by_id(programs, id);
		struct name *name = &excerpt->name_room[id], *known;
		size_t length;

		if (!is_named_type(type))
			continue;
		name->text = btf__name_by_offset(programs, type->name_off);
		length = essential_length(name->text);
		HASH_FIND(hh, excerpt->names, name->text, length, known);
		if (known)
			continue;
		HASH_ADD_KEYPTR(hh, excerpt->names, name->text, length, name);
		if (!name->hh.tbl)
			return -ENOMEM;
	}
	return 0;
}

/* The excerpt's id of a type of the kernel, which is added to it; 0 is void. */
static uint32_t include(struct excerpt *excerpt, uint32_t id)
{
	if (id && !excerpt->ids[id]) {
		excerpt->ids[id] = ++excerpt->count;
		excerpt->origin[excerpt->count] = id;
	}
	return excerpt->ids[id];
}

static void include_named(struct excerpt *excerpt)
{
	uint32_t count = btf__type_cnt(excerpt->kernel);

	for (uint32_t id = 1; id < count; id++) {
		const struct btf_type *type = btf__type_by_id(excerpt->kernel, id);
		const char *text;
		struct name *known;

		if (!is_named_type(type))
			continue;
		text = btf__name_by_offset(excerpt->kernel, type->name_off);
		HASH_FIND(hh, excerpt->names, text, essential_length(text), known);
		if (known)
			include(excerpt, id);
	}
}

/* What it refers to by number becomes part of the excerpt as well. */
static void include_referred(struct excerpt *excerpt, struct btf_type *type)
{
	if (btf_is_composite(type)) {
		for (uint32_t i = 0; i < btf_vlen(type); i++)
			btf_members(type)[i].type = include(excerpt, btf_members(type)[i].type);
	} else if (btf_is_array(type)) {
		btf_array(type)->type = include(excerpt, btf_array(type)->type);
		btf_array(type)->index_type = include(excerpt, btf_array(type)->index_type);
	} else if (btf_is_ptr(type)) {
		type->type = 0;
	} else if (btf_is_mod(type) || btf_is_typedef(type)) {
		const struct btf_type *next = btf__type_by_id(excerpt->kernel, type->type);

		type->type = next && btf_is_func_proto(next) ? 0 : include(excerpt, type->type);
	}
}

/* In the order of their numbers, which are given out while they are written. */
static int write_types(struct excerpt *excerpt)
{
	for (uint32_t id = 1; id <= excerpt->count; id++) {
		const struct btf_type *type = btf__type_by_id(excerpt->kernel, excerpt->origin[id]);
		int added = btf__add_type(excerpt->btf, excerpt->kernel, type);

		if (added < 0)
			return added;
		/* libbpf's own tools change a type where it lies, too */
		include_referred(excerpt, (struct btf_type *)btf__type_by_id(excerpt->btf, id));
	}
	return 0;
}

static int make(struct excerpt *excerpt, const struct btf *programs)
{
	uint32_t count = btf__type_cnt(excerpt->kernel);
	int err;

	excerpt->ids = calloc(count, sizeof(*excerpt->ids));
	excerpt->origin = calloc(count, sizeof(*excerpt->origin));
	excerpt->btf = btf__new_empty();
	if (!excerpt->ids || !excerpt->origin || !excerpt->btf)
		return -ENOMEM;
	err = collect_names(excerpt, programs);
	if (err)
		return err;
	include_named(excerpt);
	return write_types(excerpt);
}

int excerpt_make(struct btf **result, const struct btf *kernel, const struct btf *programs)
{
	struct excerpt excerpt = { .kernel = kernel };
	int err = make(&excerpt, programs);

	HASH_CLEAR(hh, excerpt.names);
	free(excerpt.name_room);
	free(excerpt.ids);
	free(excerpt.origin);
	if (err)
		btf__free(excerpt.btf);
	else
		*result = excerpt.btf;
	return err;
}

int excerpt_write(const struct btf *excerpt, int fd)
{
	uint32_t size;
	const char *data = btf__raw_data(excerpt, &size);

	if (!data)
		return -ENOMEM;
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0)
			return -errno;
		data += n;
		size -= (uint32_t)n;
	}
	return 0;
}
