/* SPDX-License-Identifier: MIT
 * rhea/system/vmstate.h - saved state as tables: one interpreter saves, loads, compares and prints.
 */
#ifndef RHEA_SYSTEM_VMSTATE_H
#define RHEA_SYSTEM_VMSTATE_H

#include "rhea/system/prop.h"
#include "rhea/util/fifo8.h"
#include "rhea/util/loop.h"

typedef enum VmKind {
    VM_U8_, VM_U16_, VM_U32_, VM_U64_, VM_BOOL_,
    VM_BYTES_,  /* count bytes in place */
    VM_FIFO8_,
    VM_TIMER_,  /* remaining time: expires as stored, TIMER_OFF when idle */
    VM_STRUCT_, /* sub-table, embedded */
} VmKind;
typedef struct VmState VmState;
typedef struct VmField {
    const char *name;
    VmKind kind;
    size_t offset;
    size_t count;  /* array elements; 0 counts as 1 */
    size_t stride; /* of VM_STRUCT_ arrays */
    uint64_t max;  /* largest value a load accepts */
    const VmState *sub;
    uint16_t since; /* fields added later: absent in older streams, keep their reset value */
} VmField;

struct VmState {
    const char *name;
    uint16_t version, oldest;       /* oldest version this build still loads */
    const VmField *fields;          /* ends with a NULL name; matched by name on load */
    const VmState *const *optional; /* sections sent only when needed() says so; NULL-terminated */
    bool (*needed)(const void *opaque);
    void (*pre_save)(void *opaque); /* brings lazily kept state up to date */
    bool (*post_load)(void *opaque, Error **errp); /* the stream is hostile: validate what ranges cannot say */
};

#define VM_U8(T, f)   { .name = #f, .kind = VM_U8_, .offset = TYPED_OFFSET(T, f, uint8_t), .max = UINT8_MAX }
#define VM_U16(T, f)  { .name = #f, .kind = VM_U16_, .offset = TYPED_OFFSET(T, f, uint16_t), .max = UINT16_MAX }
#define VM_U32(T, f)  { .name = #f, .kind = VM_U32_, .offset = TYPED_OFFSET(T, f, uint32_t), .max = UINT32_MAX }
#define VM_U64(T, f)  { .name = #f, .kind = VM_U64_, .offset = TYPED_OFFSET(T, f, uint64_t), .max = UINT64_MAX }
#define VM_I64(T, f)  { .name = #f, .kind = VM_U64_, .offset = TYPED_OFFSET(T, f, int64_t), .max = UINT64_MAX }
#define VM_BOOL(T, f) { .name = #f, .kind = VM_BOOL_, .offset = TYPED_OFFSET(T, f, bool), .max = 1 }
#define VM_U8_MAX(T, f, m)  { .name = #f, .kind = VM_U8_, .offset = TYPED_OFFSET(T, f, uint8_t), .max = (m) }
#define VM_U16_MAX(T, f, m) { .name = #f, .kind = VM_U16_, .offset = TYPED_OFFSET(T, f, uint16_t), .max = (m) }
#define VM_U32_MAX(T, f, m) { .name = #f, .kind = VM_U32_, .offset = TYPED_OFFSET(T, f, uint32_t), .max = (m) }
#define VM_ARRAY_LEN(T, f)   (sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]))
#define VM_U8_ARRAY(T, f)    { .name = #f, .kind = VM_BYTES_, .offset = TYPED_OFFSET(T, f[0], uint8_t) - 0, .count = VM_ARRAY_LEN(T, f) }
#define VM_U16_ARRAY(T, f)   { .name = #f, .kind = VM_U16_, .offset = TYPED_OFFSET(T, f[0], uint16_t), .count = VM_ARRAY_LEN(T, f), .max = UINT16_MAX }
#define VM_U32_ARRAY(T, f)   { .name = #f, .kind = VM_U32_, .offset = TYPED_OFFSET(T, f[0], uint32_t), .count = VM_ARRAY_LEN(T, f), .max = UINT32_MAX }
#define VM_U64_ARRAY(T, f)   { .name = #f, .kind = VM_U64_, .offset = TYPED_OFFSET(T, f[0], uint64_t), .count = VM_ARRAY_LEN(T, f), .max = UINT64_MAX }
#define VM_FIFO8(T, f)       { .name = #f, .kind = VM_FIFO8_, .offset = TYPED_OFFSET(T, f, Fifo8) }
#define VM_TIMER(T, f)       { .name = #f, .kind = VM_TIMER_, .offset = TYPED_OFFSET(T, f, Timer) }
#define VM_STRUCT(T, f, table) { .name = #f, .kind = VM_STRUCT_, .offset = offsetof(T, f), .sub = &(table) }
#define VM_STRUCT_ARRAY(T, f, table) { .name = #f, .kind = VM_STRUCT_, .offset = offsetof(T, f), .count = VM_ARRAY_LEN(T, f), .stride = sizeof(((T *)0)->f[0]), .sub = &(table) }

/* Appends one self-describing section (field dictionary, then values, little-endian). */
void vmstate_save(const VmState *s, void *opaque, GByteArray *out);
/* Reads one section from [*p, end), advances *p. Bounded by what is there; never trusts a length. */
bool vmstate_load(const VmState *s, void *opaque, const uint8_t **p, const uint8_t *end, Error **errp);

#endif
