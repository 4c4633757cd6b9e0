/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The JSON Schemas of the records, as they are: dist/nsmon.schema.json, dist/nsmon.ecs.schema.json. */
#ifndef SCHEMA_H
#define SCHEMA_H

#include <stddef.h>

extern const char schema_text[];
extern const size_t schema_size;
extern const char ecs_schema_text[];
extern const size_t ecs_schema_size;

#endif
