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
    TYPE_NULL,   /* JSON null; in alternates only */
    TYPE_ALTERNATE, /* Json *, owned reference, whose JSON kind is that of one of `branch` */
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
    const char *const *features; /* NULL-terminated, or NULL: what clients of QMP can look for */
    const TypeDesc *shape; /* TYPE_ANY: the type its content is told to be; NULL: any */
} FieldDesc;

struct TypeDesc {
    const char *name, *doc;
    TypeKind kind;
    size_t size;
    const FieldDesc *fields;       /* struct, union: the common fields */
    unsigned n;
    const char *const *names;      /* enum: NULL-terminated */
    const char *tag;               /* union: name of the common enum field */
    /* union: by tag value; NULL entry: no further members. Alternate: the types; ends with NULL. */
    const TypeDesc *const *branch;
    size_t branch_offset;          /* union: where the branch structs live (a C union) */
    const TypeDesc *element;       /* list */
};

extern const TypeDesc type_bool, type_int, type_uint, type_size, type_number, type_string, type_any,
    type_null;

/* A command of QMP: a row of a table that schemagen writes. `run` fills in *ret, zeroed before and cleared by
 * the caller; args and ret are structs of the types' layout. MAIN_LOOP. */
typedef struct QmpCall QmpCall; /* the monitor's: who calls */
enum {
    QMP_ALLOW_OOB = 1,       /* may overtake others */
    QMP_ALLOW_PRECONFIG = 2, /* may come before the machine is built */
    QMP_RAW = 4,             /* args is a const Json *, an object, not decoded */
    QMP_RAW_RESULT = 8,      /* ret is a Json ** */
};
typedef struct QmpCommand {
    const char *name, *doc;
    const TypeDesc *args, *ret;  /* NULL: none */
    unsigned flags;
    const char *const *features; /* NULL-terminated, or NULL */
    bool (*run)(QmpCall *call, const void *args, void *ret, Error **errp);
} QmpCommand;
typedef struct QmpEvent {
    const char *name, *doc;
    const TypeDesc *args;        /* its data; NULL: none */
    const char *const *features;
} QmpEvent;

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
