/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Puts the files into the program; the Makefile says where they are. */
	.macro file name, path
	.global \name\()_text
	.type \name\()_text, %object
	.global \name\()_size
	.type \name\()_size, %object
\name\()_text:
	.incbin "\path"
\name\()_end:
	.size \name\()_text, \name\()_end - \name\()_text
	.balign 8
\name\()_size:
	.quad \name\()_end - \name\()_text
	.size \name\()_size, 8
	.endm

	.section .rodata
	file schema, SCHEMA_FILE
	file ecs_schema, ECS_SCHEMA_FILE
	.section .note.GNU-stack, "", %progbits
