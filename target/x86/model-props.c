/* SPDX-License-Identifier: MIT
 * target/x86/model-props.c - properties of CPU models that are no features: identity, levels, leaves that can be left out;
 *   and names that other programs know, with the reason why they are none here.
 * Models:  names, types and defaults as QEMU 7.2's.
 * Does not model: properties of a CPU's place (socket-id and so on: query-hotpluggable-cpus tells it), and those beginning
 *   with x-, which are QEMU's own affair.
 * Threads: main loop, before the machine runs.
 */
#include "model-parts.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <stddef.h>
#include <string.h>

typedef enum PropertyKind { P_BOOL, P_INT, P_U32, P_TEXT, P_HZ, P_ONLY } PropertyKind;

typedef struct Property {
    const char *name;
    PropertyKind kind;
    size_t at;                 /* in X86CpuModel */
    uint32_t min, max;         /* P_ONLY: max is the value */
    const char *why, *cure;    /* P_ONLY: of other values */
} Property;

#define AT(f) offsetof(X86CpuModel, f)
static const Property properties[] = {
    { "check", P_BOOL, AT(check), 0, 0, NULL, NULL },
    { "enforce", P_BOOL, AT(enforce), 0, 0, NULL, NULL },
    { "migratable", P_BOOL, AT(migratable), 0, 0, NULL, NULL },
    { "kvm", P_BOOL, AT(kvm_name), 0, 0, NULL, NULL },
    { "tcg-cpuid", P_BOOL, AT(own_name), 0, 0, NULL, NULL },
    { "vmware-cpuid-freq", P_BOOL, AT(timing_leaf), 0, 0, NULL, NULL },
    { "cpuid-0xb", P_BOOL, AT(topology_leaf), 0, 0, NULL, NULL },
    { "l3-cache", P_BOOL, AT(l3_cache), 0, 0, NULL, NULL },
    { "host-phys-bits", P_BOOL, AT(host_phys_bits), 0, 0, NULL, NULL },
    { "full-cpuid-auto-level", P_ONLY, 0, 1, 1, "levels grow as far as the features need", "level= and xlevel= settle them" },
    { "pmu", P_ONLY, 0, 1, 0, "there are no performance counters", "leave it out" },
    { "lmce", P_ONLY, 0, 1, 0, "no machine check is told to one CPU alone", "leave it out" },
    { "kvm-pv-enforce-cpuid", P_ONLY, 0, 1, 0, "hypercalls of guests are not answered", "leave it out" },
    { "kvm-no-smi-migration", P_ONLY, 0, 1, 0, "the state of SMIs is always saved", "leave it out" },
    { "start-powered-off", P_ONLY, 0, 1, 0, "all CPUs but the first wait for it anyway", "leave it out" },
    { "family", P_INT, AT(family), 0, 0xff + 0xf, NULL, NULL },
    { "model", P_INT, AT(model), 0, 0xff, NULL, NULL },
    { "stepping", P_INT, AT(stepping), 0, 0xf, NULL, NULL },
    { "vendor", P_TEXT, AT(vendor), 12, 12, NULL, NULL },
    { "model-id", P_TEXT, AT(model_id), 0, 48, NULL, NULL },
    { "tsc-frequency", P_HZ, AT(tsc_hz), 0, 0, NULL, NULL },
    { "level", P_U32, AT(level), 0, 0x20, NULL, NULL },
    { "xlevel", P_U32, AT(xlevel), 0x80000000, 0x80000021, NULL, NULL },
    { "min-level", P_U32, AT(min_level), 0, 0x20, NULL, NULL },
    { "min-xlevel", P_U32, AT(min_xlevel), 0x80000000, 0x80000021, NULL, NULL },
    { "phys-bits", P_U32, AT(phys_bits), 32, 52, NULL, NULL },
    { "host-phys-bits-limit", P_U32, AT(phys_bits_limit), 0, 52, NULL, NULL },
    { "xlevel2", P_ONLY, 0, 0, 0, "there are no leaves at C0000000H", "leave it out" },
    { "min-xlevel2", P_ONLY, 0, 0, 0, "there are no leaves at C0000000H", "leave it out" },
    { "level-func7", P_ONLY, 0, 0, 0, "leaf 7 has one sub-leaf", "leave it out" },
};
#undef AT

/* Features and others that are always off. A name that ends in '-' stands for all that begin so, on or off. */
static const struct { const char *name, *why, *hint;
} refused_names[] = {
    { "hv-evmcs", "guests have no VMX, whose control structure it is", "leave it out" },
    { "hv-emsr-bitmap", "guests have no VMX, whose bitmap it is", "leave it out" },
    { "hv-tlbflush-direct", "guests have no VMX, whose nested guests it is for", "leave it out" },
    { "hv-syndbg", "there is no synthetic debugger", "use -gdb, or a serial port for the guest's own debugger" },
    { "x-", "what these settle follows from the machine", "leave it out" },
    { "kvm-pv-eoi", "it saves an exit that processors with APIC virtualization do not have", "leave it out" },
    { "kvm-asyncpf", "page faults of the host are not told to guests", "leave it out" },
    { "kvm-asyncpf-int", "page faults of the host are not told to guests", "leave it out" },
    { "kvm-pv-unhalt", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-tlb-flush", "CPUs flush their own TLBs", "leave it out" },
    { "kvm-pv-ipi", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-sched-yield", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-poll-control", "halts are polled as the host's kernel decides", "leave it out" },
    { "kvm-msi-ext-dest-id", "messages reach 255 CPUs without it", "leave it out" },
    { "kvm-hint-dedicated", "it needs kvm-poll-control and exits that are switched off", "use -overcommit cpu-pm=on" },
    { "kvm-mmu", "it has been obsolete since Linux 3.3", "leave it out" },
};

const char *x86_model_refused(const char *name, const char **hint)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(refused_names); i++) {
        size_t n = strlen(refused_names[i].name);
        bool prefix = refused_names[i].name[n - 1] == '-';
        if (x86_name_equal(name, prefix ? MIN(n, strlen(name)) : strlen(name), refused_names[i].name)) {
            *hint = refused_names[i].hint;
            return refused_names[i].why;
        }
    }
    return NULL;
}

const char *x86_model_refused_name(unsigned i)
{
    while (i < G_N_ELEMENTS(refused_names) && g_str_has_suffix(refused_names[i].name, "-")) {
        return x86_model_refused_name(i + 1);
    }
    return i < G_N_ELEMENTS(refused_names) ? refused_names[i].name : NULL;
}

/* ---- values ---- */

void x86_model_property_defaults(X86CpuModel *m)
{
    m->check = m->kvm_name = m->own_name = m->timing_leaf = m->topology_leaf = m->l3_cache = true;
    m->migratable = true;
    m->min_level = m->level;
    m->min_xlevel = m->xlevel;
}

/* Only what follows the host or the engine can have something that is not fit to be moved. */
static bool has_property(const X86CpuModel *m, const Property *p)
{
    return strcmp(p->name, "migratable") || !strcmp(m->name, "max") || !strcmp(m->name, "host");
}

static const Property *find(const X86CpuModel *m, const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (x86_name_equal(name, strlen(name), properties[i].name)) {
            return has_property(m, &properties[i]) ? &properties[i] : NULL;
        }
    }
    return NULL;
}

static bool is_switch(const Property *p)
{
    return p->kind == P_BOOL || (p->kind == P_ONLY && p->min);
}

const char *x86_model_property(const X86CpuModel *m, unsigned i, const char **type)
{
    for (unsigned k = 0; k < G_N_ELEMENTS(properties); k++) {
        const Property *p = &properties[k];
        if (has_property(m, p) && i-- == 0) {
            bool byte = p->at == offsetof(X86CpuModel, phys_bits_limit);
            *type = is_switch(p)                            ? "bool"
                    : byte                                  ? "uint8"
                    : p->kind == P_U32 || p->kind == P_ONLY ? "uint32"
                    : p->kind == P_TEXT                     ? "string"
                                                            : "int";
            return p->name;
        }
    }
    return NULL;
}

Json *x86_model_property_value(const X86CpuModel *m, const char *name)
{
    const Property *p = find(m, name);
    const char *at = p ? (const char *)m + p->at : NULL;
    if (!p) {
        return NULL;
    }
    switch (p->kind) {
    case P_BOOL: return json_new_bool(*(const bool *)at);
    case P_INT:
    case P_U32: return json_new_uint(*(const uint32_t *)at);
    case P_TEXT: return json_new_string(at);
    case P_HZ: return json_new_uint(*(const uint64_t *)at);
    case P_ONLY: return p->min ? json_new_bool(p->max) : json_new_uint(p->max);
    }
    return NULL;
}

/* ---- the text of -cpu ---- */

static bool bad_value(const Property *p, const char *val, Error **errp, const char *cure)
{
    error_fail(errp, "out-of-range", p->name, NULL, "-cpu property '%s' does not take '%s'", p->name, val);
    error_hint(errp, "%s", cure);
    return false;
}

static bool set_number(const Property *p, const char *val, uint32_t *out, Error **errp)
{
    uint64_t n;
    if (!text_to_u64(val, &n, errp)) {
        error_prefix(errp, "-cpu property '%s'", p->name);
        error_member_default(errp, p->name);
        return false;
    }
    /* A model without extended leaves has level 0 of them. */
    bool none = n == 0 && (p->min == 0x80000000 || p->at == offsetof(X86CpuModel, phys_bits));
    if ((n < p->min && !none) || n > p->max) {
        g_autofree char *cure = g_strdup_printf("give 0x%x to 0x%x, that is %u to %u", p->min, p->max, p->min, p->max);
        return bad_value(p, val, errp, cure);
    }
    *out = (uint32_t)n;
    return true;
}

/* Hz, with the decimal suffixes k, M, G; 0: the machine's own. */
static bool set_hz(const Property *p, const char *val, X86CpuModel *m, Error **errp)
{
    char *end;
    double v = g_ascii_strtod(val, &end);
    double scale = *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 1;
    bool none = end != val && !*end && v == 0;
    if (!none && (end == val || (*end && (scale == 1 || end[1])) || !(v * scale >= 1e6 && v * scale <= 1e11))) {
        return bad_value(p, val, errp, "give 1M to 100G, in Hz");
    }
    m->tsc_hz = (uint64_t)(v * scale + 0.5);
    m->tsc_hz_set = !none;
    return true;
}

static bool set_text(const Property *p, const char *val, char *out, Error **errp)
{
    if (strlen(val) < p->min || (p->min && strlen(val) > p->max)) {
        return error_fail(errp, "invalid-value", p->name, "such as GenuineIntel or AuthenticAMD",
                          "-cpu property '%s': '%s' is not %u characters long", p->name, val, p->min);
    }
    g_strlcpy(out, val, p->max + 1);
    return true;
}

static bool set_only(const Property *p, const char *val, Error **errp)
{
    uint64_t n = 0;
    bool on = false, ok = p->min ? text_to_bool(val, &on, errp) : text_to_u64(val, &n, errp);
    if (!ok) {
        error_prefix(errp, "-cpu property '%s'", p->name);
        error_member_default(errp, p->name);
        return false;
    }
    if ((p->min ? (uint64_t)on : n) != p->max) {
        return error_fail(errp, "not-supported", p->name, p->cure, "-cpu: '%s=%s' is not there: %s", p->name, val, p->why);
    }
    return true;
}

bool x86_model_property_set(X86ModelParse *parse, const char *name, const char *val, bool *known, Error **errp)
{
    X86CpuModel *m = parse->m;
    const Property *p = find(m, name);
    char *at = p ? (char *)m + p->at : NULL;
    *known = p != NULL;
    if (!p) {
        return true;
    }
    switch (p->kind) {
    case P_BOOL:
        if (!text_to_bool(val, (bool *)at, errp)) {
            error_prefix(errp, "-cpu property '%s'", p->name);
            error_member_default(errp, p->name);
            return false;
        }
        return true;
    case P_INT:
    case P_U32:
        parse->level_set = parse->level_set || at == (char *)&m->level;
        parse->xlevel_set = parse->xlevel_set || at == (char *)&m->xlevel;
        m->phys_bits_set = m->phys_bits_set || at == (char *)&m->phys_bits;
        return set_number(p, val, (uint32_t *)at, errp);
    case P_TEXT:
        parse->vendor_set = parse->vendor_set || at == m->vendor;
        return set_text(p, val, at, errp);
    case P_HZ: return set_hz(p, val, m, errp);
    case P_ONLY: return set_only(p, val, errp);
    }
    return false;
}
