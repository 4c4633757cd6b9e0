// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * refuse.c - preloaded, a kernel whose verifier does not let a program load what a typed pointer of the current task
 * points to: the first program that asks for one (bpf_get_current_task_btf()) is refused, until maps are made for another
 * attempt. Its name goes to the file that REFUSED names.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static enum { WAITING, REFUSING, DONE } state;
static char name[BPF_OBJ_NAME_LEN + 1];

static bool asks_for_typed(const union bpf_attr *attr)
{
	const struct bpf_insn *insns = (const void *)(uintptr_t)attr->insns;

	for (uint32_t i = 0; i < attr->insn_cnt; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && insns[i].src_reg == 0 &&
		    insns[i].imm == BPF_FUNC_get_current_task_btf)
			return true;
	return false;
}

static void note(const union bpf_attr *attr)
{
	const char *path = getenv("REFUSED");
	FILE *file = path ? fopen(path, "we") : NULL;

	memcpy(name, attr->prog_name, BPF_OBJ_NAME_LEN);
	if (!file)
		return;
	fprintf(file, "%s\n", name);
	fclose(file);
}

static bool is_refused(int command, const union bpf_attr *attr)
{
	if (state == REFUSING && command == BPF_MAP_CREATE)
		state = DONE;
	if (command != BPF_PROG_LOAD || state == DONE)
		return false;
	if (state == REFUSING) /* libbpf asks once more, for the verifier's words */
		return strncmp(name, attr->prog_name, BPF_OBJ_NAME_LEN) == 0;
	if (!asks_for_typed(attr))
		return false;
	state = REFUSING;
	note(attr);
	return true;
}

/* libbpf's way into the kernel. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	va_list args;
	long a[6];

	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_bpf && is_refused((int)a[0], (const union bpf_attr *)a[1])) {
		errno = EACCES;
		return -1;
	}
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
