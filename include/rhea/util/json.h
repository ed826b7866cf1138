/* SPDX-License-Identifier: MIT
 * rhea/util/json.h - JSON values. A thin layer over json-c: reference-counted trees, treated as
 * immutable once built and shared. Parsing is bounded in depth and size.
 */
#ifndef RHEA_UTIL_JSON_H
#define RHEA_UTIL_JSON_H

#include "rhea/util/error.h"
#include <json-c/json.h>
#include <stdint.h>

typedef struct json_object Json;

typedef enum JsonKind {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_DOUBLE,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} JsonKind;

/* QEMU's dialect: strict JSON, plus strings in single quotes. Depth <= 64. The error names line and
 * column. len < 0: NUL-terminated. NULL on failure. */
Json *json_parse(const char *text, ssize_t len, Error **errp);
/* Compact ("{"a": 1, ...}" with one blank after ':' and ',', as QEMU prints it) or indented; g_free. */
char *json_format(const Json *j, bool pretty);

static inline Json *json_ref(Json *j) { return json_object_get(j); }
static inline void json_unref(Json *j) { json_object_put(j); }
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_unref)

JsonKind json_kind(const Json *j); /* a NULL pointer is JSON null */
const char *json_kind_name(JsonKind k);

/* Builders. Containers take ownership of what is put in and return the container. */
Json *json_new_bool(bool v);
Json *json_new_int(int64_t v);
Json *json_new_uint(uint64_t v);
Json *json_new_double(double v);
Json *json_new_string(const char *s);
Json *json_new_array(void);
Json *json_new_object(void);
Json *json_append(Json *array, Json *value);
Json *json_put(Json *object, const char *key, Json *value);

/* Readers: false (and *out untouched) when the value is of another kind or out of range. */
bool json_get_bool(const Json *j, bool *out);
bool json_get_int(const Json *j, int64_t *out);
bool json_get_uint(const Json *j, uint64_t *out);
bool json_get_double(const Json *j, double *out); /* integers convert */
const char *json_get_string(const Json *j);       /* NULL when not a string; borrowed */
size_t json_length(const Json *array_or_object);
Json *json_at(const Json *array, size_t i);       /* borrowed */
Json *json_member(const Json *object, const char *key, bool *found); /* borrowed; found may be NULL */
bool json_equal(const Json *a, const Json *b);

#endif
