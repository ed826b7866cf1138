/* SPDX-License-Identifier: MIT
 * tests/cpu/test-models.c - the text of -cpu, and what CPUID makes of it.
 * Tests: target/x86/models.c, model-list.c, model-table.c, model-props.c, model-text.c, feature-names.c, features.c, model-help.c,
 * model-host.c, model-query.c, cpuid.c. The same through the program: tests/func/cli_life.py, cpu_models.py.
 */
#include "tests/cpu/sysguest.h"
#include "rhea/target/x86/models.h"
#include "target/x86/cpuid.h"
#include "target/x86/sysint.h"
#include <cpuid.h>

static void check_fails(Machine *m, const char *text, const char *error, const char *hint)
{
    Error *err = NULL;
    g_assert_false(x86_model_parse(m, text, &err));
    g_assert_nonnull(strstr(error_text(err), error));
    if (hint) {
        g_assert_nonnull(error_hint_text(err));
        g_assert_nonnull(strstr(error_hint_text(err), hint));
    }
    error_free(err);
}

static void test_errors(void)
{
    role_become_main();
    Loop *loop = loop_new("main");
    Machine *m = machine_new(loop);
    check_fails(m, "Nehalm", "unknown CPU model 'Nehalm'", "Nehalem");
    check_fails(m, "qemu64,+sse4.3", "'sse4.3'", "sse4.");
    check_fails(m, "qemu64,family=xx", "family", NULL);
    check_fails(m, "qemu64,vendor=short", "12 characters", NULL);
    check_fails(m, "qemu64,pae=maybe", "pae", NULL);
    check_fails(m, "host,enforce,+avx512f", "avx512f", "enforce");
    check_fails(m, "Haswell,enforce", "rtm", "enforce");
    check_fails(m, "qemu64,tsc-frequency=5", "tsc-frequency", "1M");
    check_fails(m, "qemu64,pmu=on", "'pmu=on'", "leave it out");
    check_fails(m, "qemu64,+kvm-pv-unhalt", "'kvm-pv-unhalt'", "leave it out");
    check_fails(m, "qemu64,migratable=on", "'migratable'", NULL);
    check_fails(m, "qemu64,phys-bits=31", "phys-bits", "32");
    check_fails(m, "qemu64,min-level=99", "min-level", "0x20");
    check_fails(m, "Haswell-v5", "'Haswell-v5'", "Haswell-v");
    check_fails(m, "base-v1", "'base-v1'", NULL);
    g_autoptr(GString) help = g_string_new(NULL);
    x86_model_help(help);
    g_assert_nonnull(strstr(help->str, "x86 qemu64"));
    g_assert_nonnull(strstr(help->str, "tsc-deadline"));
    machine_free(m);
    loop_free(loop);
}

static void test_options(void)
{
    Guest *g = guest_new("Westmere,-aes,sse4_2=off,+x2apic,vendor=AuthenticAMD,family=21,model=18,stepping=3,"
                         "model-id=Some CPU,"
                         "phys-bits=36,tsc-frequency=2.5G,level=5,-hypervisor,check=off");
    uint32_t r[4];
    x86_cpuid(g->cpu, 0, 0, r);
    g_assert_cmphex(r[0], ==, 5);
    g_assert_cmpmem(&r[1], 4, "Auth", 4);
    g_assert_cmpmem(&r[3], 4, "enti", 4);
    g_assert_cmpmem(&r[2], 4, "cAMD", 4);
    x86_cpuid(g->cpu, 1, 0, r);
    g_assert_cmphex(r[0], ==, 0x610f23); /* family 21 = 15 + 6, model 12h, stepping 3 */
    g_assert_cmphex(r[2] & (1u << 25 | 1u << 20 | 1u << 31), ==, 0);
    g_assert_false(x86_has_feature(g->cpu, "aes"));
    g_assert_true(x86_has_feature(g->cpu, "x2apic"));
    g_assert_true(x86_has_feature(g->cpu, "sse3")); /* an alias of pni */
    x86_cpuid(g->cpu, 0x80000002, 0, r);
    g_assert_cmpmem(r, 8, "Some CPU", 8);
    x86_cpuid(g->cpu, 0x80000008, 0, r);
    g_assert_cmphex(r[0] & 0xff, ==, 36);
    x86_cpuid(g->cpu, 0x40000000, 0, r);
    g_assert_cmphex(r[1], ==, 0);
    g_assert_cmpuint(g->cpu->tsc_hz, ==, 2500000000u);
    guest_free(g);

    g = guest_new("qemu64,fsgsbase"); /* the level follows the feature; the hypervisor leaf is there */
    x86_cpuid(g->cpu, 7, 0, r);
    g_assert_cmphex(r[1], ==, 1);
    x86_cpuid(g->cpu, 0x40000000, 0, r);
    g_assert_cmpmem(&r[1], 12, "RheaRheaRhea", 12);
    x86_cpuid(g->cpu, 0x12345678, 0, r);
    g_assert_cmphex(r[0] | r[1] | r[2] | r[3], ==, 0);
    guest_free(g);

    g = guest_new("486");
    x86_cpuid(g->cpu, 1, 0, r);
    g_assert_cmphex(r[0], ==, 0x480);
    g_assert_cmphex(r[3], ==, 0xb);
    g_assert_false(x86_has_feature(g->cpu, "cmov"));
    guest_free(g);
}

static void leaf_of(const char *text, uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    Guest *g = guest_new(text);
    x86_cpuid(g->cpu, leaf, sub, r);
    guest_free(g);
}

/* Leaves that can be left out, levels, widths, and a comma in a value. */
static void test_properties(void)
{
    uint32_t r[4], own[4];
    leaf_of("max,kvm=off", 0x40000100, 0, r);
    g_assert_cmphex(r[0] | r[1], ==, 0);
    leaf_of("max,kvm=off", 0x40000000, 0, r);
    g_assert_cmpmem(&r[1], 4, "Rhea", 4);
    leaf_of("max,tcg-cpuid=off", 0x40000000, 0, r);
    g_assert_cmphex(r[0] | r[1], ==, 0);
    leaf_of("max,tcg-cpuid=off", 0x40000100, 0, r);
    g_assert_cmphex(r[0], ==, 0x40000101);
    leaf_of("max,vmware-cpuid-freq=off", 0x40000000, 0, r);
    g_assert_cmphex(r[0], ==, 0x40000001);
    leaf_of("max,vmware-cpuid-freq=off", 0x40000010, 0, r);
    g_assert_cmphex(r[0], ==, 0);
    leaf_of("max,cpuid-0xb=off", 0xb, 0, r);
    g_assert_cmphex(r[0] | r[1] | r[2] | r[3], ==, 0);
    leaf_of("Nehalem", 4, 3, r);
    g_assert_cmphex(r[0] & 0xff, ==, 3 | 3 << 5);
    leaf_of("Nehalem,l3-cache=off", 4, 3, r);
    g_assert_cmphex(r[0], ==, 0);
    leaf_of("EPYC,l3-cache=off,check=off", 0x80000006, 0, r);
    g_assert_cmphex(r[3], ==, 0);
    leaf_of("486,min-level=7", 0, 0, r);
    g_assert_cmphex(r[0], ==, 7);
    leaf_of("486,min-level=2,+fsgsbase", 0, 0, r);
    g_assert_cmphex(r[0], ==, 7);
    leaf_of("486,level=2,+fsgsbase", 0, 0, r);
    g_assert_cmphex(r[0], ==, 2);
    leaf_of("486,min-xlevel=0x80000004", 0x80000000, 0, r);
    g_assert_cmphex(r[0], ==, 0x80000004);
    __cpuid(0x80000008, own[0], own[1], own[2], own[3]);
    leaf_of("qemu64,host-phys-bits=on", 0x80000008, 0, r);
    g_assert_cmphex(r[0] & 0xff, ==, own[0] & 0xff);
    leaf_of("qemu64,host-phys-bits=on,host-phys-bits-limit=33", 0x80000008, 0, r);
    g_assert_cmphex(r[0] & 0xff, ==, 33);
    leaf_of("qemu64,model-id=One,, two", 0x80000002, 0, r);
    g_assert_cmpmem(r, 8, "One, two", 8);
    leaf_of("max,migratable=off,pmu=off,lmce=off,kvm-pv-eoi=off,hv-evmcs=off,xlevel2=0,full-cpuid-auto-level=on", 0, 0, r);
    g_assert_cmphex(r[0], ==, 0x16);
}

/* Models that AVX2 and FMA complete are there in full; fma and f16c are the host's. */
static void test_avx_models(void)
{
    static const char *const whole[] = { "SandyBridge", "IvyBridge", "Haswell-noTSX", "Haswell-v4", "Broadwell-noTSX-IBRS",
                                         "Skylake-Client-noTSX-IBRS", "Skylake-Client-v3" };
    unsigned a, b, c = 0, d;
    __get_cpuid(1, &a, &b, &c, &d);
    bool f16c = __builtin_cpu_supports("avx") && c & bit_F16C;
    if (__builtin_cpu_supports("fma") && f16c) {
        for (unsigned i = 0; i < G_N_ELEMENTS(whole); i++) {
            g_autofree char *text = g_strconcat(whole[i], ",enforce", NULL);
            Guest *g = guest_new(text);
            g_assert_true(x86_has_feature(g->cpu, "avx"));
            guest_free(g);
        }
    }
    Guest *g = guest_new("max");
    g_assert_cmpint(x86_has_feature(g->cpu, "fma"), ==, !!__builtin_cpu_supports("fma"));
    g_assert_cmpint(x86_has_feature(g->cpu, "f16c"), ==, f16c);
    uint32_t r[4];
    x86_cpuid(g->cpu, 0xd, 0, r);
    g_assert_cmphex(r[0] & 7, ==, 7);
    g_assert_cmphex(r[1], ==, 0x240); /* XCR0 is 1 after reset */
    x86_cpuid(g->cpu, 0xd, 2, r);
    g_assert_cmphex(r[0], ==, 256);
    g_assert_cmphex(r[1], ==, 576);
    g_assert_cmphex(r[2] | r[3], ==, 0);
    g->cpu->xcr0 = 7;
    x86_cpuid(g->cpu, 0xd, 0, r);
    g_assert_cmphex(r[1], ==, 832);
    x86_cpuid(g->cpu, 0xd, 1, r);
    g_assert_cmphex(r[1], ==, 832);
    guest_free(g);
    g = guest_new("max,-avx,check=off"); /* what needs it goes with it */
    static const char *const gone[] = { "avx", "avx2", "fma", "f16c", "vaes", "vpclmulqdq" };
    for (unsigned i = 0; i < G_N_ELEMENTS(gone); i++) {
        g_assert_false(x86_has_feature(g->cpu, gone[i]));
    }
    x86_cpuid(g->cpu, 0xd, 0, r);
    g_assert_cmphex(r[0] & 4, ==, 0);
    x86_cpuid(g->cpu, 0xd, 2, r);
    g_assert_cmphex(r[0], ==, 0);
    guest_free(g);
}

/* max must be self-consistent with what guests may then use. */
static void test_max(void)
{
    Guest *g = guest_new("max");
    static const char *const wanted[] = { "fpu",
                                          "sse2",
                                          "sse4.2",
                                          "cx16",
                                          "lm",
                                          "nx",
                                          "syscall",
                                          "x2apic",
                                          "pcid",
                                          "smep",
                                          "smap",
                                          "fsgsbase",
                                          "xsave",
                                          "movbe",
                                          "popcnt",
                                          "rdrand",
                                          "invpcid",
                                          "umip",
                                          "xgetbv1",
                                          "avx",
                                          "avx2",
                                          "vaes",
                                          "vpclmulqdq",
                                          "bmi1",
                                          "bmi2",
                                          "abm",
                                          "arch-capabilities" };
    static const char *const absent[] = { "vmx", "svm", "la57", "avx512f", "monitor" };
    for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++) {
        g_test_message("%s", wanted[i]);
        g_assert_true(x86_has_feature(g->cpu, wanted[i]));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(absent); i++) {
        g_assert_false(x86_has_feature(g->cpu, absent[i]));
    }
    guest_free(g);
}

/* What spares guests the calibration of clocks: one frequency, told in three ways, and what RDTSC counts. */
static void test_frequencies(void)
{
    static const struct { const char *model; uint64_t hz; } cases[] = {
        { "max", 1000000000 }, { "max,tsc-frequency=2.4G", 2400000000u }, { "max,tsc-frequency=3333333333", 3333333333u },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Guest *g = guest_new(cases[i].model);
        uint32_t r[4];
        x86_cpuid(g->cpu, 0x15, 0, r);
        g_assert_cmpuint(r[2], ==, X86_APIC_TIMER_HZ);
        g_assert_true((unsigned __int128)r[2] * r[1] == (unsigned __int128)cases[i].hz * r[0]);
        x86_cpuid(g->cpu, 0x16, 0, r);
        g_assert_cmpuint(r[0], ==, cases[i].hz / 1000000);
        x86_cpuid(g->cpu, 0x40000010, 0, r);
        g_assert_cmpuint(r[0], ==, cases[i].hz / 1000);
        g_assert_cmpuint(r[1], ==, 1000000);
        x86_cpuid(g->cpu, 0x80000007, 0, r);
        g_assert_true(r[3] >> 8 & 1); /* invariant */
        guest_free(g);
    }
}

static void test_hypervisor_leaves(void)
{
    static const struct { const char *model; bool name, kvm; uint32_t features; } cases[] = {
        { "max", true, true, 1u << 24 | 1 << 3 | 1 << 1 },
        { "max,-kvmclock", true, true, 1 << 1 }, /* the stable bit goes with it */
        { "max,-kvmclock,-kvm-nopiodelay", true, false, 0 },
        { "max,-hypervisor", false, false, 0 },
        { "qemu64", true, false, 0 },
        { "qemu64,+kvmclock", true, true, 1 << 3 },
        { "Haswell-noTSX,check=off", true, false, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].model);
        Guest *g = guest_new(cases[i].model);
        uint32_t r[4];
        x86_cpuid(g->cpu, 0x40000000, 0, r);
        g_assert_cmphex(r[0], ==, cases[i].name ? 0x40000010 : 0);
        x86_cpuid(g->cpu, 0x40000100, 0, r);
        g_assert_cmphex(r[0], ==, cases[i].kvm ? 0x40000101 : 0);
        g_assert_cmpint(memcmp(&r[1], "KVMKVMKVM\0\0", 12) == 0, ==, cases[i].kvm);
        x86_cpuid(g->cpu, 0x40000101, 0, r);
        g_assert_cmphex(r[0], ==, cases[i].features);
        uint64_t v;
        g_assert_cmpint(x86_msr_read(g->cpu, X86_MSR_KVM_SYSTEM_TIME, &v), ==, cases[i].features >> 3 & 1);
        guest_free(g);
    }
}

static void test_describe(void)
{
    g_autoptr(GString) s = g_string_new(NULL);
    g_assert_true(x86_model_describe("Skylake-Server,-aes,help", s, &error_abort_slot));
    const char *features = strstr(s->str, "Features:\n"), *lacks = strstr(s->str, "lacks"), *more = strstr(s->str, "+NAME adds");
    g_assert_true(features && lacks && more && features < lacks && lacks < more);
    g_assert_nonnull(strstr(lacks, "avx512f"));
    g_assert_nonnull(strstr(more, " aes ") ? strstr(more, " aes ") : strstr(more, "  aes"));
    g_autoptr(Error) err = NULL;
    g_assert_false(x86_model_describe("Skylake-Serve,help", s, &err));
    g_assert_nonnull(strstr(error_hint_text(err), "Skylake-Server"));
}

/* The names listed under a title, each followed by one space. */
static char *listed(const char *text, const char *title)
{
    const char *at = strstr(text, title);
    if (!at) {
        return g_strdup(" ");
    }
    at = strchr(at, '\n');
    const char *end = strstr(at, "\n\n");
    g_autofree char *part = g_strndup(at, (size_t)((end ? end : at + strlen(at)) - at));
    GString *out = g_string_new(" ");
    g_auto(GStrv) words = g_strsplit_set(part, " \n", -1);
    for (char **w = words; *w; w++) {
        if (**w) {
            g_string_append_printf(out, "%s ", *w);
        }
    }
    return g_string_free(out, false);
}

static bool names(const char *list, const char *name)
{
    g_autofree char *key = g_strconcat(" ", name, " ", NULL);
    return strstr(list, key);
}

/* What -cpu help and -cpu MODEL,help say of every feature is what happens: listed are those the model has; +NAME adds those that it
 * promises to add, enforce refuses those that it says are lacking. */
static void test_help_is_true(void)
{
    static const char *const models[] = { "max", "host", "base", "486", "qemu64", "Nehalem", "EPYC", "Skylake-Server" };
    g_autoptr(GString) all = g_string_new(NULL);
    uint32_t available[FW_COUNT];
    x86_features_available(available);
    x86_model_help(all);
    g_autofree char *can = listed(all->str, "Recognized CPUID flags ("), *cannot = listed(all->str, "that this accelerator cannot offer:");
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        g_autoptr(GString) s = g_string_new(NULL);
        g_autofree char *ask = g_strconcat(models[i], ",help", NULL), *enforce = g_strconcat(models[i], ",enforce", NULL);
        g_assert_true(x86_model_describe(ask, s, &error_abort_slot));
        g_autofree char *has = listed(s->str, "\nFeatures:"), *lacks = listed(s->str, "accelerator lacks"),
                        *more = listed(s->str, "+NAME adds");
        g_autofree X86CpuModel *m = x86_model_make(models[i], true, NULL, &error_abort_slot);
        Error *err = NULL;
        g_autofree X86CpuModel *whole = x86_model_make(enforce, true, NULL, &err);
        g_assert_cmpint(whole != NULL, ==, !strcmp(lacks, " "));
        for (unsigned f = 0; f < FW_COUNT * 32; f++) {
            const char *name = x86_feature_name(f / 32, f % 32);
            if (!name) {
                continue;
            }
            bool on = m->words[f / 32] >> (f % 32) & 1, offered = available[f / 32] >> (f % 32) & 1;
            g_assert_true(names(can, name) == offered && names(cannot, name) == !offered);
            g_assert_true(names(has, name) == on && names(more, name) == (offered && !on));
            g_assert_true(!names(lacks, name) || (!offered && strstr(error_text(err), name)));
            if (names(more, name)) {
                g_autofree char *plus = g_strconcat(models[i], ",enforce=off,hypervisor,kvmclock,avx,xsave,sse4.2,+", name, NULL);
                g_autofree X86CpuModel *with = x86_model_make(plus, true, NULL, &error_abort_slot);
                g_assert_true(with->words[f / 32] >> (f % 32) & 1);
            }
        }
        error_free(err);
    }
    g_auto(GStrv) lines = g_strsplit(all->str, "\n", -1);
    for (char **l = lines; *l; l++) {
        g_assert_true(g_str_has_prefix(*l, "x86 ") || strlen(*l) <= 78);
    }
}

/* host is this machine's CPU, without what max has not. (These tests are built on x86-64 hosts only.) */
static void test_host(void)
{
    Guest *g = guest_new("host,enforce"), *max = guest_new("max");
    uint32_t own[4], r[4];
    __cpuid(0, own[0], own[1], own[2], own[3]);
    x86_cpuid(g->cpu, 0, 0, r);
    g_assert_cmpmem(&r[1], 12, &own[1], 12);
    g_assert_cmpuint(r[0], <=, MAX(own[0], 0xdu));
    __cpuid(1, own[0], own[1], own[2], own[3]);
    x86_cpuid(g->cpu, 1, 0, r);
    g_assert_cmphex(r[0], ==, own[0] & 0x0fff0fff);
    g_assert_cmphex(g->cpu->model->words[FW_1_ECX] & ~own[2] & ~(1u << 31), ==, 0);
    g_assert_true(x86_has_feature(g->cpu, "hypervisor"));
    g_assert_true(x86_has_feature(g->cpu, "sse2"));
    for (unsigned w = 0; w < FW_COUNT; w++) {
        g_assert_cmphex(g->cpu->model->words[w] & ~max->cpu->model->words[w], ==, 0);
    }
    g_assert_cmphex(g->cpu->model->words[FW_81_EDX] >> 29 & 1, ==, 1);
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        __cpuid(leaf, own[0], own[1], own[2], own[3]);
        x86_cpuid(g->cpu, leaf, 0, r);
        g_assert_cmpmem(r, 16, own, 16);
    }
    __cpuid(0x80000008, own[0], own[1], own[2], own[3]);
    x86_cpuid(g->cpu, 0x80000008, 0, r);
    g_assert_cmphex(r[0] & 0xff, ==, own[0] & 0xff);
    guest_free(g);
    guest_free(max);

    g = guest_new("host,-sse4.2,model-id=Mine"); /* options apply on top */
    g_assert_false(x86_has_feature(g->cpu, "sse4.2"));
    g_assert_cmpstr(g->cpu->model->model_id, ==, "Mine");
    guest_free(g);
}

/* Every model can be made, with all warnings off. */
static void test_all_models(void)
{
    g_autoptr(GString) help = g_string_new(NULL);
    x86_model_help(help);
    g_auto(GStrv) lines = g_strsplit(help->str, "\n", -1);
    unsigned n = 0;
    for (unsigned i = 1; lines[i] && g_str_has_prefix(lines[i], "x86 "); i++, n++) {
        g_autofree char *name = g_strndup(lines[i] + 4, strcspn(lines[i] + 4, " "));
        g_autofree char *text = g_strconcat(name, ",check=off", NULL);
        Guest *g = guest_new(text);
        uint32_t r[4];
        x86_cpuid(g->cpu, 0, 0, r);
        g_assert_cmphex(r[0], <=, 0x20);
        guest_free(g);
    }
    g_assert_cmpuint(n, >, 40);
}

/* ---- questions of programs ---- */

static void note_property(void *opaque, const char *name, const char *type)
{
    g_assert_true(g_hash_table_insert(opaque, (gpointer)name, (gpointer)type)); /* each name once */
}

static bool is_of_type(const Json *v, const char *type)
{
    JsonKind k = json_kind(v);
    return g_str_equal(type, "bool")                                      ? k == JSON_BOOL
           : g_str_equal(type, "int") || g_str_has_prefix(type, "uint") ? k == JSON_INT
                                                                     : k == JSON_STRING;
}

/* An expansion has every property that is promised, and says what a CPU made from the same text says. */
static void test_query(void)
{
    static const char text[] = "Westmere,-aes,sse4_2=off,+x2apic,vendor=AuthenticAMD,family=21,model-id=Some CPU,phys-bits=36,tsc-frequency=2G,check=off";
    Guest *g = guest_new(text);
    g_autoptr(GHashTable) types = g_hash_table_new(g_str_hash, g_str_equal);
    x86_cpu_each_live_property(&g->cpu->vcpu, note_property, types);
    g_autoptr(Json) all = x86_cpu_expand(g->m, text, true, &error_abort_slot);
    g_autoptr(GHashTable) every = g_hash_table_new(g_str_hash, g_str_equal);
    x86_cpu_each_property("Westmere", note_property, every);
    g_assert_cmpuint(json_length(all), ==, g_hash_table_size(every));
    g_assert_cmpuint(json_length(all), >, g_hash_table_size(types));
    GHashTableIter it;
    gpointer name, type;
    g_hash_table_iter_init(&it, types);
    while (g_hash_table_iter_next(&it, &name, &type)) {
        g_autoptr(Json) own = NULL;
        const Json *v = json_member(all, name, NULL);
        g_assert_true(v && is_of_type(v, type));
        g_assert_true(x86_cpu_property(&g->cpu->vcpu, name, &own));
        g_assert_true(json_equal(v, own));
        if (x86_feature_number(name)) {
            bool on;
            g_assert_true(json_get_bool(v, &on) && on == x86_has_feature(g->cpu, name));
        }
    }
    static const char *const some[][2] = { { "aes", "false" }, { "sse4.2", "false" }, { "x2apic", "true" }, { "family", "21" },
                                           { "phys-bits", "36" }, { "vendor", "\"AuthenticAMD\"" }, { "model-id", "\"Some CPU\"" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(some); i++) {
        g_autofree char *value = json_format(json_member(all, some[i][0], NULL), false);
        g_assert_cmpstr(value, ==, some[i][1]);
    }
    Json *none = NULL;
    g_assert_false(x86_cpu_property(&g->cpu->vcpu, "colour", &none));
    g_autoptr(Error) err = NULL, err2 = NULL;
    g_assert_null(x86_cpu_expand(g->m, "Nehalm", true, &err));
    g_assert_nonnull(strstr(error_text(err), "unknown CPU model 'Nehalm'"));
    g_assert_null(x86_cpu_missing(g->m, "qemu64,+sse4.3", &err2));
    g_assert_nonnull(strstr(error_text(err2), "'sse4.3'"));
    guest_free(g);
}

/* What a model wants and the machine's accelerator lacks; the list of models is that of -cpu help. */
static void test_missing(void)
{
    Guest *g = guest_new(NULL);
    g_autoptr(GString) help = g_string_new(NULL);
    x86_model_help(help);
    const char *model, *alias_of;
    for (unsigned i = 0; (model = x86_cpu_model(i, &alias_of)); i++) {
        g_autofree char *line = g_strdup_printf("\nx86 %s ", model);
        g_assert_true(strstr(help->str, line) || g_str_has_prefix(help->str, line + 1));
    }
    g_autoptr(Json) max = x86_cpu_missing(g->m, "max", &error_abort_slot);
    g_autoptr(Json) haswell = x86_cpu_missing(g->m, "Haswell", &error_abort_slot);
    g_autoptr(Json) without = x86_cpu_missing(g->m, "Haswell,-rtm", &error_abort_slot);
    g_assert_cmpuint(json_length(max), ==, 0);
    bool rtm = false;
    for (size_t i = 0; i < json_length(haswell); i++) {
        const char *name = json_get_string(json_at(haswell, i));
        g_assert_false(x86_has_feature(g->cpu, name)); /* of "max" */
        rtm = rtm || g_str_equal(name, "rtm");
    }
    g_assert_true(rtm);
    g_assert_cmpuint(json_length(without), ==, json_length(haswell) - 1);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/models/errors", test_errors);
    g_test_add_func("/cpu/models/options", test_options);
    g_test_add_func("/cpu/models/properties", test_properties);
    g_test_add_func("/cpu/models/max", test_max);
    g_test_add_func("/cpu/models/avx", test_avx_models);
    g_test_add_func("/cpu/models/frequencies", test_frequencies);
    g_test_add_func("/cpu/models/hypervisor-leaves", test_hypervisor_leaves);
    g_test_add_func("/cpu/models/describe", test_describe);
    g_test_add_func("/cpu/models/help-is-true", test_help_is_true);
    g_test_add_func("/cpu/models/host", test_host);
    g_test_add_func("/cpu/models/all", test_all_models);
    g_test_add_func("/cpu/models/query", test_query);
    g_test_add_func("/cpu/models/missing", test_missing);
    return g_test_run();
}
