// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The excerpt, read back as libbpf reads it from a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/btf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "excerpt.h"

/* Types that nobody asks for, so that numbers differ. */
static void add_strangers(struct btf *btf)
{
	char name[32];

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "stranger_%d", i);
		assert_true(btf__add_struct(btf, name, 4) > 0);
	}
}

/*
 * struct cred { int uid; };
 * struct task { struct cred *cred; const inner_t inner[3]; unsigned int bit:1; };
 * struct inner { enum state state; void (*call)(struct stranger_1 *); };
 */
static struct btf *make_kernel(void)
{
	struct btf *btf = btf__new_empty();
	int integer, cred, state, proto, pointer, call, inner, inner_t, fixed, array;

	assert_non_null(btf);
	add_strangers(btf);
	integer = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	cred = btf__add_struct(btf, "cred", 4);
	btf__add_field(btf, "uid", integer, 0, 0);
	pointer = btf__add_ptr(btf, cred);
	state = btf__add_enum(btf, "state", 4);
	btf__add_enum_value(btf, "RUNNING", 7);
	proto = btf__add_func_proto(btf, 0);
	btf__add_func_param(btf, "stranger", pointer);
	call = btf__add_ptr(btf, proto);
	inner = btf__add_struct(btf, "inner", 16);
	btf__add_field(btf, "state", state, 0, 0);
	btf__add_field(btf, "call", call, 64, 0);
	inner_t = btf__add_typedef(btf, "inner_t", inner);
	fixed = btf__add_const(btf, inner_t);
	array = btf__add_array(btf, integer, fixed, 3);
	assert_true(btf__add_struct(btf, "task", 64) > 0);
	btf__add_field(btf, "cred", pointer, 0, 0);
	btf__add_field(btf, "inner", array, 64, 0);
	btf__add_field(btf, "bit", integer, 448, 1);
	assert_true(btf__add_typedef(btf, "function_t", proto) > 0);
	assert_true(btf__add_struct(btf, "other___kernel_flavour", 8) > 0);
	assert_true(btf__add_union(btf, "twice", 8) > 0);
	assert_true(btf__add_struct(btf, "twice", 16) > 0);
	add_strangers(btf);
	return btf;
}

static struct btf *excerpt_of(struct btf *kernel, struct btf *programs)
{
	struct btf *made, *read;
	char path[64];
	int fd = memfd_create("excerpt", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(excerpt_make(&made, kernel, programs), 0);
	assert_int_equal(excerpt_write(made, fd), 0);
	btf__free(made);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read = btf__parse(path, NULL);
	assert_non_null(read);
	close(fd);
	btf__free(kernel);
	btf__free(programs);
	return read;
}

static const struct btf_type *type_of(const struct btf *btf, uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(btf, id);

	assert_non_null(type);
	return type;
}

static void is_called(const struct btf *btf, uint32_t name, const char *expected)
{
	assert_string_equal(btf__name_by_offset(btf, name), expected);
}

static void test_closure(void **unused)
{
	struct btf *programs = btf__new_empty(), *btf;
	const struct btf_type *task, *type, *inner;
	int id;

	(void)unused;
	btf__add_struct(programs, "task___old", 0);
	btf = excerpt_of(make_kernel(), programs);
	id = btf__find_by_name_kind(btf, "task", BTF_KIND_STRUCT);
	assert_true(id > 0);
	task = type_of(btf, (uint32_t)id);
	assert_int_equal(task->size, 64);
	assert_int_equal(btf_vlen(task), 3);

	is_called(btf, btf_members(task)[0].name_off, "cred");
	type = type_of(btf, btf_members(task)[0].type);
	assert_true(btf_is_ptr(type));
	assert_int_equal(type->type, 0);
	assert_true(btf__find_by_name(btf, "cred") < 0);

	is_called(btf, btf_members(task)[1].name_off, "inner");
	assert_int_equal(btf_member_bit_offset(task, 1), 64);
	type = type_of(btf, btf_members(task)[1].type);
	assert_true(btf_is_array(type));
	assert_int_equal(btf_array(type)->nelems, 3);
	type = type_of(btf, btf_array(type)->type);
	assert_true(btf_is_const(type));
	type = type_of(btf, type->type);
	assert_true(btf_is_typedef(type));
	is_called(btf, type->name_off, "inner_t");
	inner = type_of(btf, type->type);
	is_called(btf, inner->name_off, "inner");
	type = type_of(btf, btf_members(inner)[0].type);
	is_called(btf, type->name_off, "state");
	is_called(btf, btf_enum(type)[0].name_off, "RUNNING");
	assert_int_equal(btf_enum(type)[0].val, 7);
	assert_true(btf_is_ptr(type_of(btf, btf_members(inner)[1].type)));

	is_called(btf, btf_members(task)[2].name_off, "bit");
	assert_int_equal(btf_member_bitfield_size(task, 2), 1);
	assert_int_equal(btf_member_bit_offset(task, 2), 448);
	is_called(btf, type_of(btf, btf_members(task)[2].type)->name_off, "int");
	assert_true(btf__type_cnt(btf) < 20); /* no strangers */
	btf__free(btf);
}

/* As libbpf compares them: flavours on either side, and the kind is its own business. */
static void test_names(void **unused)
{
	struct btf *programs = btf__new_empty(), *btf;

	(void)unused;
	btf__add_struct(programs, "other", 0);
	btf__add_struct(programs, "twice___x", 0);
	btf__add_typedef(programs, "function_t", 0);
	btf__add_struct(programs, "absent", 0);
	btf__add_struct(programs, "tas", 0); /* no prefix of a name */
	btf__add_struct(programs, "ta___sk", 0);
	btf__add_struct(programs, "___task", 0);
	btf__add_struct(programs, "task___", 0);
	btf = excerpt_of(make_kernel(), programs);
	assert_true(btf__find_by_name(btf, "other___kernel_flavour") > 0);
	assert_true(btf__find_by_name_kind(btf, "twice", BTF_KIND_UNION) > 0);
	assert_true(btf__find_by_name_kind(btf, "twice", BTF_KIND_STRUCT) > 0);
	assert_true(btf__find_by_name_kind(btf, "function_t", BTF_KIND_TYPEDEF) > 0);
	assert_true(btf__find_by_name(btf, "task") < 0);
	assert_int_equal(btf__type_cnt(btf), 5);
	btf__free(btf);
}

static void test_nothing(void **unused)
{
	struct btf *btf;

	(void)unused;
	btf = excerpt_of(make_kernel(), btf__new_empty());
	assert_int_equal(btf__type_cnt(btf), 1);
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closure),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
