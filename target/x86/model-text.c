/* SPDX-License-Identifier: MIT
 * target/x86/model-text.c - the text of -cpu behind the model's name: properties, features, and names that are none here.
 * Threads: main loop, before the machine runs.
 */
#include "model-parts.h"
#include "rhea/util/text.h"
#include <string.h>

static bool option_number(const char *name, const char *val, uint64_t max, uint64_t *out, Error **errp)
{
    if (!text_to_u64(val, out, errp)) {
        error_prefix(errp, "-cpu property '%s'", name);
        return false;
    }
    if (*out > max) {
        return error_set(errp, "-cpu property '%s': %s is more than %" PRIu64, name, val, max);
    }
    return true;
}

/* Hz, with the decimal suffixes k, M, G. */
static bool option_hz(const char *val, uint64_t *out, Error **errp)
{
    char *end;
    double v = g_ascii_strtod(val, &end);
    double scale = *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 1;
    if (end == val || (*end && (scale == 1 || end[1])) || !(v * scale >= 1e6 && v * scale <= 1e11)) {
        return error_set(
            errp, "-cpu property 'tsc-frequency': '%s' is not a frequency from 1M to 100G (in Hz)", val);
    }
    *out = (uint64_t)(v * scale + 0.5);
    return true;
}

static const char *const option_names[] = { "check",  "enforce",   "vendor",        "family",
                                            "model",  "stepping",  "model-id",      "level",
                                            "xlevel", "phys-bits", "tsc-frequency", NULL };

/* Unknown names: *known = false. */
static bool option_value(X86ModelParse *p, const char *name, const char *val, bool *known, Error **errp)
{
    X86CpuModel *m = p->m;
    uint64_t n = 0;
    *known = true;
#define IS(text) x86_name_equal(name, strlen(name), (text))
    if (IS("check") || IS("enforce")) {
        return text_to_bool(val, IS("check") ? &p->check : &p->enforce, errp);
    } else if (IS("vendor")) {
        if (strlen(val) != 12) {
            return error_set(errp, "-cpu property 'vendor': '%s' is not 12 characters long", val);
        }
        g_strlcpy(m->vendor, val, sizeof(m->vendor));
        p->vendor_set = true;
    } else if (IS("model-id")) {
        g_strlcpy(m->model_id, val, sizeof(m->model_id));
    } else if (IS("family")) {
        if (!option_number(name, val, 0xff + 0xf, &n, errp)) {
            return false;
        }
        m->family = (uint32_t)n;
    } else if (IS("model")) {
        if (!option_number(name, val, 0xff, &n, errp)) {
            return false;
        }
        m->model = (uint32_t)n;
    } else if (IS("stepping")) {
        if (!option_number(name, val, 0xf, &n, errp)) {
            return false;
        }
        m->stepping = (uint32_t)n;
    } else if (IS("level") || IS("xlevel")) {
        bool x = IS("xlevel");
        if (!option_number(name, val, UINT32_MAX, &n, errp)) {
            return false;
        }
        *(x ? &m->xlevel : &m->level) = (uint32_t)n;
        *(x ? &p->xlevel_set : &p->level_set) = true;
    } else if (IS("phys-bits")) {
        if (!option_number(name, val, 52, &n, errp)) {
            return false;
        }
        if (n < 32) {
            return error_set(errp, "-cpu property 'phys-bits': %s is less than 32", val);
        }
        m->phys_bits = (uint32_t)n;
    } else if (IS("tsc-frequency")) {
        m->tsc_hz_set = true;
        return option_hz(val, &m->tsc_hz, errp);
    } else {
        *known = false;
    }
#undef IS
    return true;
}

/* Names that other programs know, and why they are none here. A name that ends in '-' stands for all that begin so. */
static const struct { const char *name, *why, *hint;
} refused_names[] = {
    { "hv-evmcs", "guests have no VMX, whose control structure it is", "leave it out" },
    { "hv-emsr-bitmap", "guests have no VMX, whose bitmap it is", "leave it out" },
    { "hv-msr-bitmap", "guests have no VMX, whose bitmap it is", "leave it out" },
    { "hv-tlbflush-direct", "guests have no VMX, whose nested guests it is for", "leave it out" },
    { "hv-syndbg", "there is no synthetic debugger", "use -gdb, or a serial port for the guest's own debugger" },
    { "x-hv-", "what these settle follows from the machine", "leave it out" },
    { "kvm-pv-eoi", "it saves an exit that processors with APIC virtualization do not have", "leave it out" },
    { "kvm-asyncpf", "page faults of the host are not told to guests", "leave it out" },
    { "kvm-asyncpf-int", "page faults of the host are not told to guests", "leave it out" },
    { "kvm-pv-unhalt", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-tlb-flush", "CPUs flush their own TLBs", "leave it out" },
    { "kvm-pv-ipi", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-sched-yield", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-pv-enforce-cpuid", "hypercalls of guests are not answered", "leave it out" },
    { "kvm-poll-control", "halts are polled as the host's kernel decides", "leave it out" },
    { "kvm-msi-ext-dest-id", "messages reach 255 CPUs without it", "leave it out" },
    { "kvm-hint-dedicated", "it needs kvm-poll-control and exits that are switched off", "use -overcommit cpu-pm=on" },
    { "kvm-mmu", "it has been obsolete since Linux 3.3", "leave it out" },
    { "kvm", "the KVM leaves go with the bit 'hypervisor'", "use -hypervisor" },
    { "migratable", "what saved state cannot carry is never offered", "leave it out" },
    { "pmu", "there are no performance counters", "leave it out" },
};

static bool option_refused(const char *name, Error **errp)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(refused_names); i++) {
        size_t n = strlen(refused_names[i].name);
        bool prefix = refused_names[i].name[n - 1] == '-';
        if (x86_name_equal(name, prefix ? MIN(n, strlen(name)) : strlen(name), refused_names[i].name)) {
            error_set(errp, "-cpu: '%s' is not there: %s", name, refused_names[i].why);
            error_hint(errp, "%s", refused_names[i].hint);
            return true;
        }
    }
    return false;
}

static bool option_unknown(const char *name, Error **errp)
{
    if (option_refused(name, errp)) {
        return false;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *n = x86_feature_name(w, b);
            if (n) {
                g_ptr_array_add(names, (void *)n);
            }
        }
    }
    for (unsigned i = 0; option_names[i]; i++) {
        g_ptr_array_add(names, (void *)option_names[i]);
    }
    const char *hv, *type;
    for (unsigned i = 0; (hv = x86_hyperv_property(i, &type)); i++) {
        g_ptr_array_add(names, (void *)hv);
    }
    g_ptr_array_add(names, NULL);
    error_set(errp, "-cpu: unknown feature or property '%s'", name);
    error_hint_nearest(errp, name, (const char *const *)names->pdata);
    if (errp && *errp && !error_hint_text(*errp)) {
        error_hint(errp, "'-cpu help' lists the feature names");
    }
    return false;
}

bool x86_model_option(X86ModelParse *p, char *item, Error **errp)
{
    bool on = true, known = false;
    char *eq = strchr(item, '=');
    const char *item_was = item;
    if (*item == '+' || *item == '-') {
        on = *item++ == '+';
        eq = NULL;
    } else if (eq) {
        *eq++ = 0;
        if (!option_value(p, item, eq, &known, errp) || known) {
            return known && !(errp && *errp);
        }
    } else if (!option_value(p, item, "on", &known, errp) || known) {
        return known && !(errp && *errp);
    }
    bool plus = *item_was == '+' || *item_was == '-';
    if (!x86_hyperv_option(p, item, plus ? (on ? "on" : "off") : eq, &known, errp)) {
        return false;
    }
    if (known) {
        return true;
    }
    unsigned f = x86_feature_number(item);
    if (!f) {
        return option_unknown(item, errp);
    }
    if (eq && !text_to_bool(eq, &on, errp)) {
        error_prefix(errp, "-cpu feature '%s'", item);
        return false;
    }
    x86_feature_set(p->m->words, f, on);
    x86_feature_set(p->asked, f, on);
    return true;
}
