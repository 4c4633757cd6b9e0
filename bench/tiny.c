// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The smallest program: what exec costs without a C library. Ends at once, with 0. */
#include <sys/syscall.h>

void _start(void);

__attribute__((noreturn)) void _start(void)
{
#ifdef __x86_64__
	__asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
#else
	register long number __asm__("x8") = SYS_exit_group;
	register long status __asm__("x0") = 0;

	__asm__ volatile("svc #0" : : "r"(number), "r"(status) : "memory");
#endif
	__builtin_unreachable();
}
