/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The JSON Schema of the records: dist/nsmon.schema.json, as it is. */
#ifndef SCHEMA_H
#define SCHEMA_H

#include <stddef.h>

extern const char schema_text[];
extern const size_t schema_size;

#endif
