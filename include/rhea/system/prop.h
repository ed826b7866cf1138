/* SPDX-License-Identifier: MIT
 * rhea/system/prop.h - typed properties of devices and boards, as constant tables beside the code.
 */
#ifndef RHEA_SYSTEM_PROP_H
#define RHEA_SYSTEM_PROP_H

#include "rhea/util/json.h"
#include <stddef.h>

/* offsetof() that fails to compile when the member is not of the given type. */
#define TYPED_OFFSET(T, f, type) \
    (offsetof(T, f) + 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((T *)0)->f), type) ? 1 : -1]))

typedef enum PropKind {
    PROP_BOOL_,    /* bool */
    PROP_U8_, PROP_U16_, PROP_U32_, PROP_U64_,
    PROP_I32_,
    PROP_SIZE_,    /* uint64_t, suffixes */
    PROP_STR_,     /* char *, owned */
    PROP_ENUM_,    /* int, names in `names` */
    PROP_ONOFFAUTO_, /* int: OnOffAuto */
    PROP_PCI_ADDR_,  /* int32_t devfn, "DEV[.FN]" in hex as QEMU; -1 = any */
    PROP_IOTHREAD_, /* IoThread *, rhea/system/iothread.h */
    PROP_CHARDEV_, /* CharPort: resolved by the backends' binder */
    PROP_BLOCK_, PROP_NETDEV_, PROP_MAC_, PROP_AUDIO_, /* their binders come with those layers */
} PropKind;

typedef enum OnOffAuto { AUTO, ON, OFF } OnOffAuto;

typedef struct Prop {
    const char *name, *doc;
    PropKind kind;
    size_t offset;
    uint64_t def, min, max;
    const char *sdef;         /* string default */
    const char *const *names; /* enum, NULL-terminated */
    const char *why, *cure;   /* PROP_ONLY_...: see there; else NULL */
} Prop;

#define PROP_BOOL(T, f, n, d, text) \
    { .name = (n), .doc = (text), .kind = PROP_BOOL_, .offset = TYPED_OFFSET(T, f, bool), .def = (d), .max = 1 }
#define PROP_U8(T, f, n, d, lo, hi, text) \
    { .name = (n), .doc = (text), .kind = PROP_U8_, .offset = TYPED_OFFSET(T, f, uint8_t), .def = (d), .min = (lo), .max = (hi) }
#define PROP_U16(T, f, n, d, lo, hi, text) \
    { .name = (n), .doc = (text), .kind = PROP_U16_, .offset = TYPED_OFFSET(T, f, uint16_t), .def = (d), .min = (lo), .max = (hi) }
#define PROP_U32(T, f, n, d, lo, hi, text) \
    { .name = (n), .doc = (text), .kind = PROP_U32_, .offset = TYPED_OFFSET(T, f, uint32_t), .def = (d), .min = (lo), .max = (hi) }
#define PROP_U64(T, f, n, d, lo, hi, text) \
    { .name = (n), .doc = (text), .kind = PROP_U64_, .offset = TYPED_OFFSET(T, f, uint64_t), .def = (d), .min = (lo), .max = (hi) }
#define PROP_I32(T, f, n, d, lo, hi, text) /* lo, hi, d: int32_t */ \
    { .name = (n), .doc = (text), .kind = PROP_I32_, .offset = TYPED_OFFSET(T, f, int32_t), .def = (uint64_t)(int64_t)(d), .min = (uint64_t)(int64_t)(lo), .max = (uint64_t)(int64_t)(hi) }
#define PROP_SIZE(T, f, n, d, lo, hi, text) \
    { .name = (n), .doc = (text), .kind = PROP_SIZE_, .offset = TYPED_OFFSET(T, f, uint64_t), .def = (d), .min = (lo), .max = (hi) }
#define PROP_STR(T, f, n, d, text) \
    { .name = (n), .doc = (text), .kind = PROP_STR_, .offset = TYPED_OFFSET(T, f, char *), .sdef = (d) }
#define PROP_ENUM(T, f, n, d, list, text) \
    { .name = (n), .doc = (text), .kind = PROP_ENUM_, .offset = TYPED_OFFSET(T, f, int), .def = (d), .names = (list) }
#define PROP_ONOFFAUTO(T, f, n, d, text) \
    { .name = (n), .doc = (text), .kind = PROP_ONOFFAUTO_, .offset = TYPED_OFFSET(T, f, int), .def = (d), .max = 2 }
#define PROP_PCI_ADDR(T, f, n, text) \
    { .name = (n), .doc = (text), .kind = PROP_PCI_ADDR_, .offset = TYPED_OFFSET(T, f, int32_t), .def = (uint64_t)-1 }
#define PROP_CHARDEV(T, f, n, text) \
    { .name = (n), .doc = (text), .kind = PROP_CHARDEV_, .offset = TYPED_OFFSET(T, f, CharPort) }

/* What QEMU's device has and this one does not: no storage, and not listed. The one value that says what is
 * so anyway is taken, any other is refused with the reason and the cure. PROP_NEVER: any value is refused. */
#define PROP_ONLY_(n, k, d, hi, reason, instead)                                                             \
    {                                                                                                        \
        .name = (n), .kind = (k), .def = (uint64_t)(d), .max = (hi), .why = (reason), .cure = (instead)      \
    }
#define PROP_ONLY_BOOL(n, d, ...) PROP_ONLY_(n, PROP_BOOL_, d, 1, __VA_ARGS__) /* ...: reason, cure */
#define PROP_ONLY_UINT(n, d, ...) PROP_ONLY_(n, PROP_U64_, d, UINT64_MAX, __VA_ARGS__)
#define PROP_ONLY_SIZE(n, d, ...) PROP_ONLY_(n, PROP_SIZE_, d, UINT64_MAX, __VA_ARGS__)
#define PROP_ONLY_AUTO(n, ...)    PROP_ONLY_(n, PROP_ONOFFAUTO_, AUTO, 2, __VA_ARGS__)
#define PROP_NEVER(n, ...)        PROP_ONLY_(n, PROP_STR_, 0, 0, __VA_ARGS__)
#define PROP_OLD_MACHINES         "a switch for QEMU's older machine types", "leave it out" /* reason, cure */
static inline bool prop_is_listed(const Prop *p)
{
    return !p->why;
}

/* Table walkers; base is the struct that offsets count from. Tables end with a NULL name. */
void props_init(const Prop *table, void *base); /* fills in the defaults */
void props_fini(const Prop *table, void *base); /* frees strings */
const Prop *prop_find(const Prop *table, const char *name); /* '_' and '-' are the same */
/* value: a JSON value of the right kind, or a string that is converted. `m` resolves back-end ids. */
typedef struct Machine Machine;
bool prop_set_json(Machine *m, const Prop *p, void *base, const Json *value, Error **errp);
bool prop_set_text(Machine *m, const Prop *p, void *base, const char *text, Error **errp);
Json *prop_get(const Prop *p, const void *base);
char *prop_type_name(const Prop *p); /* "bool", "uint32", "str", ...; g_free */

/* Other layers teach kinds such as PROP_CHARDEV_ (system includes none of them). Once per process,
 * before any machine exists. release undoes bind when the owner goes away. */
typedef struct PropBinder {
    bool (*bind)(Machine *m, const Prop *p, void *slot, const char *id, Error **errp);
    char *(*name)(const void *slot); /* id of what is bound, NULL if nothing; g_free */
    void (*release)(void *slot);
} PropBinder;
void prop_register_binder(PropKind kind, const PropBinder *binder);

#endif
