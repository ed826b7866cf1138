/* SPDX-License-Identifier: MIT
 * target/x86/hyperv.c - Hyper-V enlightenments in a CPU model: properties of -cpu, dependencies, CPUID leaves, and the
 *   synthetic registers that hold state.
 * Models: Hyper-V TLFS 6.0b, 2.4 (leaves 40000000H to 40000005H), appendix C (register numbers).
 * Does not model: what they do (KVM does that); nested virtualization (leaves 40000009H, 4000000AH), VMBus, the
 *   synthetic debugger.
 * Threads: main loop; leaves and registers on the vCPU's thread.
 */
#include "hyperv.h"
#include "model-parts.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <string.h>

#define BIT(n) (1u << (n))
#define SYNIC BIT(HV_SYNIC)
enum { EAX, EBX, ECX, EDX };
enum { PRIV_HYPERCALL = 5 };     /* leaf 3 EAX: always, guests find the others through it */
enum { USE_EX_MASKS = 11, NO_NONARCH_CORES = 18 }; /* leaf 4 EAX */

static const struct {
    const char *name, *alias;
    uint32_t features_eax, features_edx; /* leaf 3 */
    uint32_t advice;                     /* leaf 4 EAX */
    uint32_t needs;                      /* other enlightenments */
    bool lapic;                          /* KVM's own local APICs carry it */
} features[HV_FEATURES] = {
    [HV_RELAXED] = { "hv-relaxed", NULL, 0, 0, BIT(5), 0, false },
    [HV_VAPIC] = { "hv-vapic", NULL, BIT(4), 0, BIT(3), 0, true },
    [HV_TIME] = { "hv-time", NULL, BIT(1) | BIT(9), 0, 0, 0, false },
    [HV_CRASH] = { "hv-crash", NULL, 0, BIT(10), 0, 0, false },
    [HV_RESET] = { "hv-reset", NULL, BIT(7), 0, 0, 0, false },
    [HV_VPINDEX] = { "hv-vpindex", NULL, BIT(6), 0, 0, 0, false },
    [HV_RUNTIME] = { "hv-runtime", NULL, BIT(0), 0, 0, 0, false },
    [HV_SYNIC] = { "hv-synic", NULL, BIT(2), 0, 0, BIT(HV_VPINDEX), true },
    [HV_STIMER] = { "hv-stimer", NULL, BIT(3), 0, 0, SYNIC | BIT(HV_TIME), true },
    [HV_FREQUENCIES] = { "hv-frequencies", NULL, BIT(11), BIT(8), 0, 0, false },
    [HV_REENLIGHTENMENT] = { "hv-reenlightenment", NULL, BIT(13), 0, 0, 0, false },
    [HV_TLBFLUSH] = { "hv-tlbflush", NULL, 0, 0, BIT(2) | BIT(USE_EX_MASKS), BIT(HV_VPINDEX), false },
    [HV_IPI] = { "hv-ipi", NULL, 0, 0, BIT(10) | BIT(USE_EX_MASKS), BIT(HV_VPINDEX), true },
    [HV_STIMER_DIRECT] = { "hv-stimer-direct", NULL, 0, BIT(19), 0, BIT(HV_STIMER), true },
    [HV_AVIC] = { "hv-avic", "hv-apicv", 0, 0, BIT(9), 0, false },
    [HV_XMM_INPUT] = { "hv-xmm-input", NULL, 0, BIT(4), 0, 0, false },
    [HV_TLBFLUSH_EXT] = { "hv-tlbflush-ext", NULL, 0, BIT(14), 0, BIT(HV_TLBFLUSH), false },
};
static const char *const version_names[] = { "hv-version-id-build",   "hv-version-id-major",
                                             "hv-version-id-minor",   "hv-version-id-spack",
                                             "hv-version-id-sbranch", "hv-version-id-snumber" };
static const uint32_t version_most[] = { UINT32_MAX, 0xffff, 0xffff, UINT32_MAX, 0xff, 0xffffff };
static const char *const cores_names[] = { "off", "on", "auto" };

/* Windows Server 2016: guests compare with what they know. */
void x86_hyperv_defaults(X86Hyperv *hv)
{
    *hv = (X86Hyperv){ .spinlocks = UINT32_MAX, .vendor = "Microsoft Hv", .version = { 14393, 10 } };
}

const char *x86_hyperv_name(X86HvFeature f)
{
    return features[f].name;
}

static bool is(const char *name, const char *text)
{
    return text && strlen(name) == strlen(text) && x86_name_equal(name, strlen(name), text);
}

static int feature_of(const char *name)
{
    for (int f = 0; f < HV_FEATURES; f++) {
        if (is(name, features[f].name) || is(name, features[f].alias)) {
            return f;
        }
    }
    return -1;
}

/* ---- -cpu ---- */

static bool take_number(const char *name, const char *val, uint32_t least, uint32_t most, uint32_t *out, Error **errp)
{
    uint64_t n;
    if (!text_to_u64(val, &n, errp)) {
        error_prefix(errp, "-cpu property '%s'", name);
        return false;
    }
    if (n < least || n > most) {
        return error_fail(errp, "out-of-range", name, "give a number in that range",
                          "-cpu property '%s': %s is not from %u to %u", name, val, least, most);
    }
    *out = (uint32_t)n;
    return true;
}

static bool take_cores(const char *name, const char *val, X86Hyperv *hv, Error **errp)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cores_names); i++) {
        if (g_str_equal(val, cores_names[i])) {
            hv->cores = (int)i;
            return true;
        }
    }
    return error_fail(errp, "invalid-value", name, "give one of them",
                      "-cpu property '%s': '%s' is none of on, off, auto", name, val);
}

static bool take_vendor(const char *name, const char *val, X86Hyperv *hv, Error **errp)
{
    if (strlen(val) > 12) {
        return error_fail(errp, "too-large", name, "shorten it",
                          "-cpu property '%s': '%s' is longer than 12 characters", name, val);
    }
    memset(hv->vendor, 0, sizeof(hv->vendor));
    memcpy(hv->vendor, val, strlen(val));
    return true;
}

/* What means nothing unless an enlightenment is on. */
static bool take_tuning(X86Hyperv *hv, const char *name, const char *val, bool *known, Error **errp)
{
    *known = true;
    for (unsigned i = 0; i < G_N_ELEMENTS(version_names); i++) {
        if (is(name, version_names[i])) {
            return take_number(name, val, 0, version_most[i], &hv->version[i], errp);
        }
    }
    if (is(name, "hv-vendor-id")) {
        return take_vendor(name, val, hv, errp);
    }
    if (is(name, "hv-no-nonarch-coresharing")) {
        return take_cores(name, val, hv, errp);
    }
    if (is(name, "hv-enforce-cpuid")) {
        return text_to_bool(val, &hv->enforce_cpuid, errp) || (error_prefix(errp, "-cpu property '%s'", name), false);
    }
    *known = false;
    return true;
}

/* One that differs from what it is without; NULL: none. Queries list all of them, and take them back. */
static const char *tuned_by(const X86Hyperv *hv)
{
    X86Hyperv plain;
    x86_hyperv_defaults(&plain);
    for (unsigned i = 0; i < G_N_ELEMENTS(version_names); i++) {
        if (hv->version[i] != plain.version[i]) {
            return version_names[i];
        }
    }
    return strcmp(hv->vendor, plain.vendor) ? "hv-vendor-id"
           : hv->cores != plain.cores       ? "hv-no-nonarch-coresharing"
           : hv->enforce_cpuid              ? "hv-enforce-cpuid"
                                            : NULL;
}

static bool take(X86Hyperv *hv, const char *name, const char *val, bool *known, Error **errp)
{
    int f = feature_of(name);
    bool on;
    if (is(name, "hv-spinlocks")) {
        *known = true;
        return take_number(name, val, HV_SPIN_LEAST, UINT32_MAX, &hv->spinlocks, errp);
    }
    if (f < 0 && !is(name, "hv-passthrough")) {
        return take_tuning(hv, name, val, known, errp);
    }
    *known = true;
    if (!text_to_bool(val, &on, errp)) {
        error_prefix(errp, "-cpu feature '%s'", name);
        return false;
    }
    if (f < 0) {
        hv->passthrough = on;
    } else {
        hv->on = on ? hv->on | BIT(f) : hv->on & ~BIT(f);
        hv->off = on ? hv->off & ~BIT(f) : hv->off | BIT(f);
    }
    return true;
}

bool x86_hyperv_option(struct X86ModelParse *p, const char *name, const char *val, bool *known, Error **errp)
{
    X86Hyperv *hv = &p->m->hv;
    if (!take(hv, name, val ? val : "on", known, errp)) {
        return false;
    }
    if (!p->kvm && *known && (x86_hyperv_on(hv) || hv->passthrough || tuned_by(hv))) {
        error_fail(errp, "not-supported", name, NULL,
                   "-cpu: '%s' is not there: Hyper-V enlightenments are KVM's, the software engine has none",
                   name);
        error_hint(errp, "leave them out: Windows runs without, with its plain timers and APIC; or use -accel kvm");
        return false;
    }
    return true;
}

/* ---- what this host has ---- */

static bool host_has(const X86HvHost *host, X86HvFeature f)
{
    return !(features[f].features_eax & ~host->leaf[3][EAX]) && !(features[f].features_edx & ~host->leaf[3][EDX]) &&
           !(features[f].advice & ~host->leaf[4][EAX]);
}

static void take_over(X86Hyperv *hv, const X86HvHost *host)
{
    uint32_t was;
    do { /* what others need first */
        was = hv->on;
        for (int f = 0; f < HV_FEATURES; f++) {
            bool usable = host_has(host, f) && (host->lapic || !features[f].lapic) && !(features[f].needs & ~hv->on);
            hv->on |= usable ? BIT(f) & ~hv->off : 0;
        }
    } while (hv->on != was);
    if (hv->spinlocks == UINT32_MAX && host->leaf[4][EBX] >= HV_SPIN_LEAST) {
        hv->spinlocks = host->leaf[4][EBX];
    }
    if (hv->cores == HV_CORES_OFF) {
        hv->cores = HV_CORES_AUTO;
    }
}

static bool check_needs(const X86Hyperv *hv, Error **errp)
{
    for (int f = 0; f < HV_FEATURES; f++) {
        uint32_t lack = x86_hyperv_has(hv, f) ? features[f].needs & ~hv->on : 0;
        if (lack) {
            g_autoptr(GString) names = g_string_new(NULL);
            x86_hyperv_list(&(X86Hyperv){ .on = lack, .spinlocks = UINT32_MAX }, names);
            error_set(errp, "-cpu: '%s' needs%s", features[f].name, names->str);
            error_hint(errp, "add it, or leave out '%s'", features[f].name);
            return false;
        }
    }
    return true;
}

static bool check_host(const X86Hyperv *hv, const X86HvHost *host, Error **errp)
{
    for (int f = 0; f < HV_FEATURES; f++) {
        if (!x86_hyperv_has(hv, f)) {
            continue;
        }
        if (features[f].lapic && !host->lapic) {
            error_fail(errp, "conflict", features[f].name, NULL,
                       "-cpu: '%s' needs local APICs in the kernel: KVM has no way to those of kernel-irqchip=off",
                       features[f].name);
            error_hint(errp, "use -accel kvm,kernel-irqchip=split, or leave it out");
            return false;
        }
        if (!host_has(host, f)) {
            error_fail(errp, "missing-features", features[f].name, NULL,
                       "-cpu: '%s' is not there: this host's KVM does not have it (CPUID 40000003H EAX 0x%08x EDX " "0x%08x, 40000004H EAX 0x%08x)",
                       features[f].name, host->leaf[3][EAX], host->leaf[3][EDX], host->leaf[4][EAX]);
            error_hint(errp, "leave it out, or use a later Linux kernel");
            return false;
        }
    }
    return true;
}

bool x86_hyperv_settle(struct X86ModelParse *p, const Machine *m, Error **errp)
{
    X86Hyperv *hv = &p->m->hv;
    X86HvHost host = { 0 };
    if (!x86_hyperv_on(hv) && !hv->passthrough) {
        const char *alone = tuned_by(hv);
        if (alone) {
            error_fail(errp, "missing-member", alone, NULL,
                       "-cpu: '%s' means nothing: no Hyper-V enlightenment is on", alone);
            error_hint(errp, "add hv-relaxed, or leave it out");
            return false;
        }
        return true;
    }
    if (!(p->m->words[FW_1_ECX] >> 31)) {
        error_fail(errp, "conflict", "hypervisor", NULL,
                   "-cpu: Hyper-V enlightenments need the feature 'hypervisor', which is off");
        error_hint(errp, "switch it on, or leave them out");
        return false;
    }
#ifdef HAVE_KVM
    if (!x86_kvm_hyperv(m, &host, errp)) {
        return false;
    }
#endif
    if (hv->passthrough) {
        take_over(hv, &host);
    }
    if (hv->cores == HV_CORES_AUTO) {
        hv->cores = host.leaf[4][EAX] >> NO_NONARCH_CORES & 1 ? HV_CORES_ON : HV_CORES_OFF;
    }
    return check_needs(hv, errp) && check_host(hv, &host, errp);
}

/* ---- CPUID ---- */

void x86_hyperv_leaf(const X86Cpu *cpu, uint32_t leaf, uint32_t r[4])
{
    const X86Hyperv *hv = &cpu->model->hv;
    const uint32_t *v = hv->version;
    switch (leaf) {
    case 0x40000000: /* the last leaf, and whose they are */
        r[EAX] = 0x40000005;
        memcpy(&r[EBX], hv->vendor, 12);
        break;
    case 0x40000001: memcpy(&r[EAX], "Hv#1", 4); break;
    case 0x40000002:
        r[EAX] = v[0];
        r[EBX] = v[1] << 16 | v[2];
        r[ECX] = v[3];
        r[EDX] = v[4] << 24 | v[5];
        break;
    case 0x40000003:
        r[EAX] = BIT(PRIV_HYPERCALL);
        for (int f = 0; f < HV_FEATURES; f++) {
            r[EAX] |= x86_hyperv_has(hv, f) ? features[f].features_eax : 0;
            r[EDX] |= x86_hyperv_has(hv, f) ? features[f].features_edx : 0;
        }
        break;
    case 0x40000004:
        r[EAX] = hv->cores == HV_CORES_ON ? BIT(NO_NONARCH_CORES) : 0;
        for (int f = 0; f < HV_FEATURES; f++) {
            r[EAX] |= x86_hyperv_has(hv, f) ? features[f].advice : 0;
        }
        r[EBX] = hv->spinlocks;
        break;
    case 0x40000005: r[EAX] = r[EBX] = cpu->vcpu.machine->max_cpus; break;
    }
}

/* ---- for programs ---- */

void x86_hyperv_list(const X86Hyperv *hv, GString *out)
{
    for (int f = 0; f < HV_FEATURES; f++) {
        if (x86_hyperv_has(hv, f)) {
            g_string_append_printf(out, " %s", features[f].name);
        }
    }
    if (hv->spinlocks != UINT32_MAX) {
        g_string_append(out, " hv-spinlocks");
    }
}

static const struct { const char *name, *type; } tunings[] = {
    { "hv-spinlocks", "uint32" },
    { "hv-vendor-id", "str" },
    { "hv-passthrough", "bool" },
    { "hv-enforce-cpuid", "bool" },
    { "hv-no-nonarch-coresharing", "OnOffAuto" },
};

const char *x86_hyperv_property(unsigned i, const char **type)
{
    *type = "bool";
    if (i < HV_FEATURES) {
        return features[i].name;
    }
    i -= HV_FEATURES;
    if (i < G_N_ELEMENTS(tunings)) {
        *type = tunings[i].type;
        return tunings[i].name;
    }
    i -= (unsigned)G_N_ELEMENTS(tunings);
    if (i >= G_N_ELEMENTS(version_names)) {
        return NULL;
    }
    *type = version_most[i] <= UINT8_MAX ? "uint8" : version_most[i] <= UINT16_MAX ? "uint16" : "uint32";
    return version_names[i];
}

Json *x86_hyperv_value(const X86Hyperv *hv, const char *name)
{
    int f = feature_of(name);
    if (f >= 0) {
        return json_new_bool(x86_hyperv_has(hv, f));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(version_names); i++) {
        if (is(name, version_names[i])) {
            return json_new_uint(hv->version[i]);
        }
    }
    return is(name, "hv-spinlocks")      ? json_new_uint(hv->spinlocks)
           : is(name, "hv-vendor-id")    ? json_new_string(hv->vendor)
           : is(name, "hv-passthrough")  ? json_new_bool(hv->passthrough)
           : is(name, "hv-enforce-cpuid") ? json_new_bool(hv->enforce_cpuid)
           : is(name, "hv-no-nonarch-coresharing") ? json_new_string(cores_names[hv->cores])
                                                   : NULL;
}

/* ---- registers ---- */

#define SINT(n) { 0x40000090 + (n), SYNIC, false }
#define STIMER(n) { 0x400000b0 + 2 * (n), BIT(HV_STIMER), false }, { 0x400000b1 + 2 * (n), BIT(HV_STIMER), false }
#define REENLIGHTENMENT(n) { (n), BIT(HV_REENLIGHTENMENT), true }
#define CRASH(n) { 0x40000100 + (n), BIT(HV_CRASH), true }

/* The guest's identity before the hypercall page, which is off without; interrupt controller before timers. */
static const X86HvMsr msrs[] = {
    { 0x40000000, 0, true }, /* guest OS */
    { 0x40000001, 0, true }, /* hypercall page */
    { 0x40000021, BIT(HV_TIME), true }, /* reference TSC page */
    REENLIGHTENMENT(0x40000106), REENLIGHTENMENT(0x40000107), REENLIGHTENMENT(0x40000108),
    CRASH(0), CRASH(1), CRASH(2), CRASH(3), CRASH(4),
    { 0x40000010, BIT(HV_RUNTIME), false },
    { 0x40000073, BIT(HV_VAPIC), false }, /* assist page */
    { 0x40000080, SYNIC, false }, /* control, event flags page, message page */
    { 0x40000082, SYNIC, false },
    { 0x40000083, SYNIC, false },
    SINT(0), SINT(1), SINT(2), SINT(3), SINT(4), SINT(5), SINT(6), SINT(7),
    SINT(8), SINT(9), SINT(10), SINT(11), SINT(12), SINT(13), SINT(14), SINT(15),
    STIMER(0), STIMER(1), STIMER(2), STIMER(3),
};
_Static_assert(G_N_ELEMENTS(msrs) == G_N_ELEMENTS(((X86Cpu *)NULL)->hv), "each has its place");

const X86HvMsr *x86_hyperv_msr(unsigned i)
{
    return i < G_N_ELEMENTS(msrs) ? &msrs[i] : NULL;
}

bool x86_hyperv_msr_there(const X86Hyperv *hv, const X86HvMsr *msr)
{
    return x86_hyperv_on(hv) && (!msr->needs || (msr->needs & hv->on));
}

uint64_t *x86_hyperv_slot(X86Cpu *cpu, uint32_t msr)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(msrs); i++) {
        if (msrs[i].index == msr) {
            return x86_hyperv_msr_there(&cpu->model->hv, &msrs[i]) ? &cpu->hv[i] : NULL;
        }
    }
    return NULL;
}
