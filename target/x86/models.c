/* SPDX-License-Identifier: MIT
 * target/x86/models.c - CPU models as machines get them: the named model (model-table.c), what the text of -cpu changes
 * (model-text.c), masked by what the accelerator can offer (features.c).
 * Models:  dependencies between features (SDM volume 1, 13.2, 14.3, 14.4.1, 14.5.3, 14.7.1); a model's missing features
 * are reported (check) or refused (enforce).
 * Threads: main loop, before the machine runs or while it is stopped.
 */
#include "model-parts.h"
#include "model-query.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <string.h>

/* Store-triggered wake-up does not exist here, so MWAIT would only burn time; real topology decides on HT. A guest that
 * sees LA57 walks five levels instead of four for address space it has no use for: +la57 asks for it. */
static const char never_by_default[] = "monitor ht cmp-legacy la57";

/* Features that mean nothing without another one (SDM volume 1, 13.2, 14.3, 14.4.1, 14.5.3, 14.7.1). */
static const struct { const char *base, *need;
} feature_needs[] = {
    { "xsave", "avx xsaveopt xsavec xgetbv1 xsaves" },
    { "hypervisor", "kvmclock kvm-nopiodelay kvmclock-stable-bit kvm-steal-time" },
    { "kvmclock", "kvmclock-stable-bit" },
    { "avx", "fma f16c avx2 vaes vpclmulqdq xop fma4" },
};

/* Takes away what its base feature left alone; says so when it was asked for by name. */
static void model_dependencies(X86ModelParse *p)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(feature_needs); i++) {
        unsigned base = x86_feature_number(feature_needs[i].base) - 1;
        if (p->m->words[base / 32] >> (base % 32) & 1) {
            continue;
        }
        uint32_t lost[FW_COUNT] = { 0 };
        x86_features_set(lost, feature_needs[i].need, true);
        for (unsigned f = 0; f < FW_COUNT * 32; f++) {
            if ((lost[f / 32] & p->m->words[f / 32] & p->asked[f / 32]) >> (f % 32) & 1) {
                log_warn("CPU feature '%s' is left out: it needs '%s', which is off", x86_feature_name(f / 32, f % 32),
                         feature_needs[i].base);
            }
        }
        x86_features_set(p->m->words, feature_needs[i].need, false);
    }
}

/* Masks what cannot be offered; says so (check) or fails (enforce). */
static bool model_mask(X86ModelParse *p, Error **errp)
{
    X86CpuModel *m = p->m;
    g_autoptr(GString) missing = g_string_new(NULL);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        uint32_t lack = m->words[w] & ~p->avail[w];
        for (unsigned b = 0; b < 32; b++) {
            if (lack >> b & 1) {
                const char *n = x86_feature_name(w, b);
                g_string_append_printf(missing, "%s%s [%s bit %u%s]", missing->len ? ", " : "", n ? n : "?",
                                       x86_feature_word(w), b, x86_feature_host_lacks(n) ? "; the host's CPU lacks it" : "");
            }
        }
        m->words[w] &= p->avail[w];
    }
    if (!missing->len) {
        return true;
    }
    if (m->enforce) {
        error_fail(errp, "missing-features", "enforce", NULL,
                   "CPU model '%s' cannot be offered in full: missing %s", m->name, missing->str);
        error_hint(errp, "leave out 'enforce', switch these features off, or use -cpu max");
        return false;
    }
    if (m->check && !p->quiet) {
        log_warn("CPU model '%s' without features this accelerator lacks: %s", m->name, missing->str);
    }
    return true;
}

/* Levels grow as far as the features need, unless level= or xlevel= say otherwise. */
static void model_levels(X86ModelParse *p)
{
    X86CpuModel *m = p->m;
    static const struct { unsigned word; uint32_t level;
    } need[] = {
        { FW_1_EDX, 1 },           { FW_1_ECX, 1 },           { FW_6_EAX, 6 },
        { FW_7_EBX, 7 },           { FW_7_ECX, 7 },           { FW_7_EDX, 7 },
        { FW_D1_EAX, 0xd },        { FW_81_EDX, 0x80000001 }, { FW_81_ECX, 0x80000001 },
        { FW_87_EDX, 0x80000007 }, { FW_88_EBX, 0x80000008 },
        { FW_821_EAX, 0x80000021 },
    };
    m->level = p->level_set ? m->level : m->min_level;
    m->xlevel = p->xlevel_set ? m->xlevel : m->min_xlevel;
    for (unsigned i = 0; i < G_N_ELEMENTS(need); i++) {
        bool x = need[i].level >> 31;
        uint32_t *l = x ? &m->xlevel : &m->level;
        if (m->words[need[i].word] && *l < need[i].level && !(x ? p->xlevel_set : p->level_set)) {
            *l = need[i].level;
        }
    }
    if ((m->words[FW_1_ECX] >> 26 & 1) && m->level < 0xd && !p->level_set) {
        m->level = 0xd;
    }
}

static void model_defaults(X86CpuModel *m)
{
    if (!m->phys_bits) {
        bool lm = m->words[FW_81_EDX] >> 29 & 1, pse36 = m->words[FW_1_EDX] >> 17 & 1,
             pae = m->words[FW_1_EDX] >> 6 & 1;
        m->phys_bits = lm ? 40 : pse36 || pae ? 36 : 32;
    }
    if (!m->tsc_hz) {
        m->tsc_hz = 1000000000;
    }
    m->amd = !strcmp(m->vendor, "AuthenticAMD") || !strcmp(m->vendor, "HygonGenuine");
}

static void model_max(X86ModelParse *p)
{
    X86CpuModel *m = p->m;
    memcpy(m->words, p->avail, sizeof(m->words));
    x86_features_set(m->words, never_by_default, false);
}

/* The host's features as far as they can be offered: like max, it has all it can have and warns of nothing. */
static bool model_host(X86ModelParse *p, Error **errp)
{
    X86CpuModel *m = p->m;
    if (!x86_model_read_host(m, errp)) {
        return false;
    }
    m->words[FW_821_EAX] = m->words[FW_KVM] = UINT32_MAX; /* what the engine does, whatever the host */
    if (p->kvm) { /* its list is of the host's features, and of some it emulates */
        memset(m->words, 0xff, sizeof(m->words));
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        m->words[w] &= p->avail[w];
    }
    x86_features_set(m->words, never_by_default, false);
    m->min_level = m->level;
    m->min_xlevel = m->xlevel;
    return true;
}

static bool item_is_help(const char *item)
{
    return !strcmp(item, "help") || !strcmp(item, "?");
}

/* Under KVM the vendor is the host's: SYSCALL, SYSENTER and much of what software does about errata follow it. */
static bool model_for_kvm(X86ModelParse *p, Error **errp)
{
    X86CpuModel host = { .name = "host" };
    if (!p->kvm || !x86_model_read_host(&host, p->kvm ? errp : NULL)) {
        return !p->kvm;
    }
    if (!p->vendor_set) {
        g_strlcpy(p->m->vendor, host.vendor, sizeof(p->m->vendor));
    }
    if (!p->m->phys_bits) {
        p->m->phys_bits = host.phys_bits;
    }
    return true;
}

static bool model_host_bits(X86CpuModel *m, Error **errp)
{
    X86CpuModel host = { .name = "host-phys-bits" };
    if (!m->host_phys_bits) {
        return true;
    }
    if (!x86_model_read_host(&host, errp)) {
        return false;
    }
    m->phys_bits = m->phys_bits_limit ? MIN(host.phys_bits, m->phys_bits_limit) : host.phys_bits;
    return true;
}

/* As QEMU has it with KVM: no model asks for nested guests by itself where there are none. */
static void model_nesting(X86ModelParse *p)
{
    unsigned svm = x86_feature_number("svm") - 1;
    if (!(p->avail[svm / 32] >> (svm % 32) & 1)) {
        x86_features_set(p->m->words, "svm", false);
        p->m->words[FW_8A_EDX] = 0;
    }
}

static X86CpuModel *model_unknown(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *one, *brand, *alias_of;
    for (unsigned i = 0; (one = x86_model_name(i, &brand, &alias_of)); i++) {
        g_ptr_array_add(names, (void *)one);
    }
    g_ptr_array_add(names, NULL);
    error_fail(errp, "not-found", NULL, NULL, "unknown CPU model '%s'", name);
    error_hint_nearest(errp, name, (const char *const *)names->pdata);
    error_hint_else(errp, "'-cpu help' lists the models");
    return NULL;
}

/* At commas; two of them are one in an item, as in other options. g_strfreev. */
static char **split_items(const char *text)
{
    g_autoptr(GPtrArray) items = g_ptr_array_new();
    GString *item = g_string_new(NULL);
    for (const char *c = text;; c++) {
        if (*c == ',' && c[1] == ',') {
            c++;
        } else if (*c == ',' || !*c) {
            g_ptr_array_add(items, g_string_free(item, FALSE));
            if (!*c) {
                break;
            }
            item = g_string_new(NULL);
            continue;
        }
        g_string_append_c(item, *c);
    }
    g_ptr_array_add(items, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&items), FALSE);
}

static X86CpuModel *model_make(const Machine *machine, const char *text, bool quiet, uint32_t *wanted, Error **errp)
{
    g_auto(GStrv) items = split_items(text);
    const char *name = items[0] ? items[0] : "";
    g_autofree X86CpuModel *m = g_new0(X86CpuModel, 1);
    if (!x86_model_look_up(name, m)) {
        return model_unknown(name, errp);
    }
    x86_hyperv_defaults(&m->hv);
    x86_model_property_defaults(m);
    X86ModelParse p = { .m = m, .quiet = quiet, .kvm = x86_model_on_kvm(machine) };
    x86_model_features(machine, p.avail);
    if (!strcmp(m->name, "max")) {
        model_max(&p);
    } else if (!strcmp(m->name, "host") && !model_host(&p, errp)) {
        return NULL;
    }
    model_nesting(&p);
    x86_features_set(m->words, strcmp(m->name, "base") ? "hypervisor" : NULL, true);
    const char *board = machine && machine->board ? machine->board->cpu_features : NULL;
    if ((p.kvm || board) && strcmp(m->name, "base")) { /* as users of KVM, or guests of the board, expect of every model */
        uint32_t usual[FW_COUNT] = { 0 };
        x86_features_set(usual, board, true);
        x86_features_set(usual, p.kvm ? "kvmclock kvm-nopiodelay kvmclock-stable-bit kvm-steal-time x2apic" : NULL, true);
        for (unsigned w = 0; w < FW_COUNT; w++) {
            m->words[w] |= usual[w] & p.avail[w];
        }
    }
    for (unsigned i = 1; items[i]; i++) {
        Error *err = NULL;
        if (*items[i] && !(wanted && item_is_help(items[i])) && !x86_model_option(&p, items[i], &err)) {
            error_propagate(errp, err);
            return NULL;
        }
    }
    m->words[FW_KVM] &= m->kvm_name ? UINT32_MAX : 0;
    if (wanted) {
        memcpy(wanted, m->words, sizeof(m->words));
    }
    if (!model_mask(&p, errp)) {
        return NULL;
    }
    model_dependencies(&p);
    if (!x86_hyperv_settle(&p, machine, errp) || !model_for_kvm(&p, errp) || !model_host_bits(m, errp)) {
        return NULL;
    }
    model_levels(&p);
    model_defaults(m);
    return g_steal_pointer(&m);
}

X86CpuModel *x86_model_make(const char *text, bool quiet, uint32_t *wanted, Error **errp)
{
    return model_make(NULL, text, quiet, wanted, errp);
}

X86CpuModel *x86_model_make_on(Machine *machine, const char *text, uint32_t *wanted, Error **errp)
{
    return model_make(machine, text, true, wanted, errp);
}

bool x86_model_parse(Machine *machine, const char *text, Error **errp)
{
    X86CpuModel *m = model_make(machine, text, false, NULL, errp);
    if (!m) {
        return false;
    }
    x86_model_free(machine);
    machine->cpu_model = m;
    return true;
}

/* Machine.accel is the accelerator that shall go on. */
bool x86_model_fits(Machine *machine, Error **errp)
{
    const X86CpuModel *m = machine->cpu_model;
    uint32_t avail[FW_COUNT], shown[FW_COUNT] = { 0 };
    g_autoptr(GString) missing = g_string_new(NULL);
    x86_model_features(machine, avail);
    x86_features_set(avail, "kvm-steal-time", true); /* where nobody counts, it stands still */
#ifdef HAVE_KVM
    if (x86_model_on_kvm(machine)) {
        x86_kvm_shown(machine, shown);
    }
#endif
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *name = (m->words[w] & ~avail[w] & ~shown[w]) >> b & 1 ? x86_feature_name(w, b) : NULL;
            if (name) {
                g_string_append_printf(missing, "%s%s", missing->len ? ", " : "", name);
            }
        }
    }
    if (!x86_model_on_kvm(machine)) {
        x86_hyperv_list(&m->hv, missing);
    }
    if (missing->len) {
        error_fail(errp, "missing-features", "accel", NULL,
                   "the guest's CPU has features that accelerator '%s' lacks here: %s",
                   machine->accel->name, missing->str);
        error_hint(errp, "start the machine with these switched off (-cpu MODEL,-FEATURE,...), then it can move");
        return false;
    }
    return true;
}

void x86_model_free(Machine *m)
{
    g_free(m->cpu_model);
    m->cpu_model = NULL;
}
