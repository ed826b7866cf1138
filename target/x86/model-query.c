/* SPDX-License-Identifier: MIT
 * target/x86/model-query.c - CPU models for programs: lists, expansion, the properties of a CPU.
 *
 * Models: names as -cpu takes them, so that what is reported can be given back.
 * Does not model: the many properties of QEMU's CPUs that are no features, but for identity and levels.
 * Threads: main loop; a CPU's model is constant.
 */
#include "cpuid.h"
#include "model-query.h"
#include "rhea/target/x86/models.h"
#include <string.h>

static const char *const numbers[] = { "family", "model", "stepping", "level", "xlevel", "phys-bits" };
static const char *const texts[] = { "vendor", "model-id" };

const char *x86_cpu_model(unsigned i)
{
    const char *brand;
    return x86_model_name(i, &brand);
}

static uint32_t number_of(const X86CpuModel *m, unsigned i)
{
    const uint32_t values[] = { m->family, m->model, m->stepping, m->level, m->xlevel, m->phys_bits };
    return values[i];
}

static const char *text_of(const X86CpuModel *m, unsigned i)
{
    return i == 0 ? m->vendor : m->model_id;
}

static Json *feature_of(const X86CpuModel *m, unsigned f)
{
    return json_new_bool(m->words[f / 32] >> (f % 32) & 1);
}

/* Each name once: bits that repeat others have their names as well. */
static void each_feature(void (*fn)(void *opaque, const char *name, unsigned f), void *opaque)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (unsigned f = 0; f < FW_COUNT * 32; f++) {
        const char *name = x86_feature_name(f / 32, f % 32);
        if (name && g_hash_table_add(seen, (gpointer)name)) {
            fn(opaque, name, f);
        }
    }
}

typedef struct Names {
    void (*fn)(void *opaque, const char *name, const char *type);
    void *opaque;
} Names;

static void tell_feature(void *opaque, const char *name, unsigned f)
{
    Names *n = opaque;
    n->fn(n->opaque, name, "bool");
}

void x86_cpu_each_property(void (*fn)(void *opaque, const char *name, const char *type), void *opaque)
{
    Names n = { .fn = fn, .opaque = opaque };
    each_feature(tell_feature, &n);
    const char *name, *type;
    for (unsigned i = 0; (name = x86_hyperv_property(i, &type)); i++) {
        fn(opaque, name, type);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        fn(opaque, numbers[i], "int");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        fn(opaque, texts[i], "string");
    }
}

typedef struct Expansion {
    const X86CpuModel *m;
    Json *out;
} Expansion;

static void expand_feature(void *opaque, const char *name, unsigned f)
{
    Expansion *e = opaque;
    json_put(e->out, name, feature_of(e->m, f));
}

static Json *names_of(const uint32_t *words)
{
    Json *list = json_new_array();
    for (unsigned f = 0; f < FW_COUNT * 32; f++) {
        const char *name = words[f / 32] >> (f % 32) & 1 ? x86_feature_name(f / 32, f % 32) : NULL;
        if (name) {
            json_append(list, json_new_string(name));
        }
    }
    return list;
}

Json *x86_cpu_missing(Machine *machine, const char *text, Error **errp)
{
    uint32_t wanted[FW_COUNT];
    g_autofree X86CpuModel *m = x86_model_make_on(machine, text, wanted, errp);
    for (unsigned w = 0; m && w < FW_COUNT; w++) {
        wanted[w] &= ~m->words[w];
    }
    return m ? names_of(wanted) : NULL;
}

Json *x86_cpu_expand(Machine *machine, const char *text, Error **errp)
{
    g_autofree X86CpuModel *m = x86_model_make_on(machine, text, NULL, errp);
    if (!m) {
        return NULL;
    }
    Expansion e = { .m = m, .out = json_new_object() };
    each_feature(expand_feature, &e);
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        json_put(e.out, numbers[i], json_new_uint(number_of(m, i)));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        json_put(e.out, texts[i], json_new_string(text_of(m, i)));
    }
    const char *name, *type;
    for (unsigned i = 0; (name = x86_hyperv_property(i, &type)); i++) {
        json_put(e.out, name, x86_hyperv_value(&m->hv, name));
    }
    return e.out;
}

bool x86_cpu_property(Vcpu *cpu, const char *name, Json **out)
{
    const X86CpuModel *m = ((X86Cpu *)cpu)->model;
    unsigned f = x86_feature_number(name);
    if (f) {
        *out = feature_of(m, f - 1);
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (g_str_equal(name, numbers[i])) {
            *out = json_new_uint(number_of(m, i));
            return true;
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (g_str_equal(name, texts[i])) {
            *out = json_new_string(text_of(m, i));
            return true;
        }
    }
    *out = x86_hyperv_value(&m->hv, name);
    return *out != NULL;
}
