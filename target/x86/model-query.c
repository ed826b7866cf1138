/* SPDX-License-Identifier: MIT
 * target/x86/model-query.c - CPU models for programs: lists, expansion, the properties of a CPU.
 *
 * Models: names as -cpu takes them, so that what is reported can be given back; QEMU 7.2's forms: a static expansion has the
 *         identity, the levels to begin with and every feature; a full one every property, and other names of features.
 * Does not model: see model-props.c.
 * Threads: main loop; a CPU's model is constant.
 */
#include "cpuid.h"
#include "model-parts.h"
#include "model-query.h"
#include "rhea/target/x86/models.h"
#include <string.h>

/* What "base" with these and the features makes the same CPU of. */
static const char *const identity[] = { "vendor", "family", "model", "stepping", "model-id", "min-level", "min-xlevel" };

const char *x86_cpu_model(unsigned i, const char **alias_of)
{
    const char *brand;
    return x86_model_name(i, &brand, alias_of);
}

static Json *feature_of(const uint32_t *words, unsigned f)
{
    return json_new_bool(words[f / 32] >> (f % 32) & 1);
}

/* What the guest decides is no property of the CPU. */
static bool is_state(const char *name)
{
    return !strcmp(name, "osxsave") || !strcmp(name, "ospke");
}

/* Each name once: bits that repeat others have their names as well. */
static void each_feature(void (*fn)(void *opaque, const char *name, unsigned f), void *opaque)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (unsigned f = 0; f < FW_COUNT * 32; f++) {
        const char *name = x86_feature_name(f / 32, f % 32);
        if (name && !is_state(name) && g_hash_table_add(seen, (gpointer)name)) {
            fn(opaque, name, f);
        }
    }
}

/* ---- names and types ---- */

typedef struct Names {
    void (*fn)(void *opaque, const char *name, const char *type);
    void *opaque;
    unsigned words; /* of features: how many have their names told */
} Names;

static void tell_feature(void *opaque, const char *name, unsigned f)
{
    Names *n = opaque;
    if (f / 32 < n->words) {
        n->fn(n->opaque, name, "bool");
    }
}

static void tell_properties(Names *n, const X86CpuModel *m)
{
    const char *name, *type;
    each_feature(tell_feature, n);
    for (unsigned i = 0; (name = x86_hyperv_property(i, &type)); i++) {
        n->fn(n->opaque, name, type);
    }
    for (unsigned i = 0; (name = x86_model_property(m, i, &type)); i++) {
        n->fn(n->opaque, name, type);
    }
}

static bool is_hyperv_name(const char *name)
{
    return g_str_has_prefix(name, "hv-");
}

void x86_cpu_each_property(const char *model, void (*fn)(void *opaque, const char *name, const char *type), void *opaque)
{
    X86CpuModel m = { .name = model };
    Names n = { .fn = fn, .opaque = opaque, .words = FW_COUNT };
    const char *name;
    tell_properties(&n, &m);
    for (unsigned i = 0; (name = x86_model_refused_name(i)); i++) {
        if (is_hyperv_name(name)) { /* the others are features */
            fn(opaque, name, "bool");
        }
    }
    for (unsigned i = 0; (name = x86_feature_alias(i)); i++) {
        fn(opaque, name, "bool");
    }
}

/* Management programs ask for each of them when a machine starts: without what no CPU here can have. */
void x86_cpu_each_live_property(const Vcpu *cpu, void (*fn)(void *opaque, const char *name, const char *type), void *opaque)
{
    Names n = { .fn = fn, .opaque = opaque, .words = FW_PERF_CAPS };
    tell_properties(&n, ((const X86Cpu *)cpu)->model);
}

/* ---- values ---- */

typedef struct Expansion {
    const uint32_t *words;
    Json *out;
} Expansion;

static void expand_feature(void *opaque, const char *name, unsigned f)
{
    Expansion *e = opaque;
    json_put(e->out, name, feature_of(e->words, f));
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

static void expand_rest(const X86CpuModel *m, const uint32_t *words, Json *out)
{
    const char *name, *type;
    for (unsigned i = 0; (name = x86_model_property(m, i, &type)); i++) {
        json_put(out, name, x86_model_property_value(m, name));
    }
    for (unsigned i = 0; (name = x86_hyperv_property(i, &type)); i++) {
        json_put(out, name, x86_hyperv_value(&m->hv, name));
    }
    for (unsigned i = 0; (name = x86_model_refused_name(i)); i++) {
        if (is_hyperv_name(name)) {
            json_put(out, name, json_new_bool(false));
        }
    }
    for (unsigned i = 0; (name = x86_feature_alias(i)); i++) {
        json_put(out, name, feature_of(words, x86_feature_number(name) - 1));
    }
}

Json *x86_cpu_expand(Machine *machine, const char *text, bool full, Error **errp)
{
    uint32_t wanted[FW_COUNT];
    g_autofree X86CpuModel *m = x86_model_make_on(machine, text, wanted, errp);
    if (!m) {
        return NULL;
    }
    Expansion e = { .words = wanted, .out = json_new_object() };
    each_feature(expand_feature, &e);
    for (size_t i = 0; i < G_N_ELEMENTS(identity); i++) {
        json_put(e.out, identity[i], x86_model_property_value(m, identity[i]));
    }
    json_put(e.out, "lmce", json_new_bool(false)); /* counts as a feature, though no leaf tells it */
    if (full) {
        expand_rest(m, wanted, e.out);
        if (!m->phys_bits_set && !m->host_phys_bits) { /* the machine's affair: given back, it is so again */
            json_put(e.out, "phys-bits", json_new_uint(0));
        }
        if (!m->tsc_hz_set) {
            json_put(e.out, "tsc-frequency", json_new_uint(0));
        }
    }
    return e.out;
}

bool x86_cpu_property(Vcpu *cpu, const char *name, Json **out)
{
    const X86CpuModel *m = ((X86Cpu *)cpu)->model;
    unsigned f = x86_feature_number(name);
    *out = f ? feature_of(m->words, f - 1) : x86_model_property_value(m, name);
    if (!*out) {
        *out = x86_hyperv_value(&m->hv, name);
    }
    return *out != NULL;
}
