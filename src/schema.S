/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Puts the file into the program; the Makefile says where it is. */
	.section .rodata
	.global schema_text
	.type schema_text, %object
	.global schema_size
	.type schema_size, %object
schema_text:
	.incbin SCHEMA_FILE
schema_end:
	.size schema_text, schema_end - schema_text
	.balign 8
schema_size:
	.quad schema_end - schema_text
	.size schema_size, 8
	.section .note.GNU-stack, "", %progbits
