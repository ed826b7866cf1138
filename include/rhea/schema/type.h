/* SPDX-License-Identifier: MIT
 * rhea/schema/type.h - the runtime form of schema types, and their one decoder.
 *
 * schemagen turns schema/(name).idl into C structs plus constant TypeDesc tables. Command-line text,
 * JSON options and QMP arguments all become a Json tree, then type_decode() fills the typed struct.
 */
#ifndef RHEA_SCHEMA_TYPE_H
#define RHEA_SCHEMA_TYPE_H

#include "rhea/util/json.h"

typedef enum TypeKind {
    TYPE_BOOL,   /* bool */
    TYPE_INT,    /* int64_t, range-checked */
    TYPE_UINT,   /* uint64_t, range-checked */
    TYPE_SIZE,   /* uint64_t; text may carry a suffix */
    TYPE_NUMBER, /* double */
    TYPE_STRING, /* char *, owned */
    TYPE_ENUM,   /* int; names in `names` */
    TYPE_STRUCT, /* embedded struct */
    TYPE_UNION,  /* struct whose first fields are common and whose `tag` field picks a branch */
    TYPE_LIST,   /* struct { T *items; size_t n; } */
    TYPE_ANY,    /* Json *, owned reference */
} TypeKind;

typedef struct TypeDesc TypeDesc;
typedef struct FieldDesc {
    const char *name, *doc;
    const TypeDesc *type;
    size_t offset;
    ptrdiff_t has_offset; /* offset of `bool has_NAME`; -1: mandatory or defaulted */
    bool optional;
    const char *def;      /* default in option text; NULL: none */
    uint64_t min, max;    /* both 0: the type's own range. For TYPE_INT they are int64_t in disguise */
    const char *refused;  /* why the member is not supported (it has no place in the struct); NULL: it is */
    char unit;            /* TYPE_SIZE: what a number without suffix counts in text; 0: bytes */
    bool rest;            /* TYPE_ANY: collects all members that the type does not know, as an object */
} FieldDesc;

struct TypeDesc {
    const char *name, *doc;
    TypeKind kind;
    size_t size;
    const FieldDesc *fields;       /* struct, union: the common fields */
    unsigned n;
    const char *const *names;      /* enum: NULL-terminated */
    const char *tag;               /* union: name of the common enum field */
    const TypeDesc *const *branch; /* union: by tag value; NULL entry: no further members */
    size_t branch_offset;          /* union: where the branch structs live (a C union) */
    const TypeDesc *element;       /* list */
};

extern const TypeDesc type_bool, type_int, type_uint, type_size, type_number, type_string, type_any;

/* Decodes and validates completely: unknown member (with the nearest name), missing member, wrong kind,
 * out of range; the message starts with the path ("'drive.cache.direct'"). Text values (from key=value)
 * convert to the field's kind when `from_text`. On failure *out is left zeroed. Any thread.
 * The old content of *out is not freed. */
bool type_decode(const TypeDesc *t, const Json *in, bool from_text, void *out, Error **errp);
Json *type_encode(const TypeDesc *t, const void *value);
void type_clear(const TypeDesc *t, void *value); /* frees what decode allocated, zeroes */

/* The value of a name in an enum's NULL-terminated list, -1 when it is not there. */
int type_enum_value(const char *const *names, const char *name);

/* "a=b,c.d=e" with ",," for a comma, "x.0=..,x.1=.." for lists, or JSON when the text starts with '{'.
 * implied_key names a first item without "="; a further bare "flag" is "flag=on", "noflag" is
 * "flag=off" (deprecated QEMU forms, still widely used). A key given twice: the last one counts. Callers
 * look for "help" themselves: it arrives as the implied key's value or as a member "help". An object, or
 * NULL on failure. Sets *from_text for type_decode. */
Json *keyval_parse(const char *text, const char *implied_key, bool *from_text, Error **errp);

#endif
