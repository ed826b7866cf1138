/* SPDX-License-Identifier: MIT
 * target/x86/model-help.c - the texts of `-cpu help` and `-cpu MODEL,help`.
 * Models:  nothing.
 * Does not model: -
 * Threads: main loop.
 */
#include "cpuid.h"
#include <string.h>

enum { TEXT_WIDTH = 78 };

static void list_item(GString *out, unsigned *col, const char *name)
{
    unsigned n = (unsigned)strlen(name);
    if (*col && *col + 1 + n > TEXT_WIDTH) {
        g_string_append_c(out, '\n');
        *col = 0;
    }
    g_string_append_printf(out, "%s%s", *col ? " " : "  ", name);
    *col += n + (*col ? 1 : 2);
}

/* The names of the bits in words, under a title; nothing when there is none. */
static void list_features(GString *out, const char *title, const uint32_t *words)
{
    unsigned col = 0;
    bool any = false;
    for (unsigned i = 0; i < FW_COUNT * 32; i++) {
        const char *name = words[i / 32] >> (i % 32) & 1 ? x86_feature_name(i / 32, i % 32) : NULL;
        if (name && !any) {
            g_string_append_printf(out, "\n%s:\n", title);
            any = true;
        }
        if (name) {
            list_item(out, &col, name);
        }
    }
    if (any) {
        g_string_append_c(out, '\n');
    }
}

static const char properties[] =
    "\nProperties (NAME=VALUE):\n"
    "  check[=off]        warn of features that cannot be offered (on)\n"
    "  enforce            refuse to start without them\n"
    "  vendor=TEXT        twelve characters, such as GenuineIntel\n"
    "  family= model= stepping=   the numbers of CPUID leaf 1\n"
    "  model-id=TEXT      the brand string, up to 48 characters\n"
    "  level= xlevel=     the highest basic and extended leaf\n"
    "  min-level= min-xlevel=     the same, but more when features need it\n"
    "  phys-bits=N        width of physical addresses, 32 to 52\n"
    "  host-phys-bits     the host's width, host-phys-bits-limit=N at most\n"
    "  kvm=off            guests do not see KVM, or its clock\n"
    "  tcg-cpuid=off      no leaves at 0x40000000 without KVM\n"
    "  vmware-cpuid-freq=off  no leaf 0x40000010 (frequencies)\n"
    "  cpuid-0xb=off l3-cache=off  no topology leaf, no third cache\n"
    "  migratable         max and host: only what can be saved (all can)\n"
    "  tsc-frequency=HZ   with k, M, G: what RDTSC counts (1G)\n"
    "  hv-...             Hyper-V enlightenments, with -accel kvm:\n";

static void list_hyperv(GString *out)
{
    const char *name, *type;
    unsigned col = 0;
    for (unsigned i = 0; (name = x86_hyperv_property(i, &type)); i++) {
        list_item(out, &col, name);
    }
    g_string_append_c(out, '\n');
}

void x86_model_help(GString *out)
{
    uint32_t words[FW_COUNT], rest[FW_COUNT];
    const char *brand, *name, *alias_of;
    g_string_append(out, "Available CPUs:\n");
    for (unsigned i = 0; (name = x86_model_name(i, &brand, &alias_of)); i++) {
        if (alias_of) {
            g_string_append_printf(out, "x86 %-26s (alias of %s)\n", name, alias_of);
            continue;
        }
        g_string_append_printf(
            out, "x86 %-26s %s\n", name,
            !strcmp(name, "max")    ? "Enables all features supported by the accelerator"
            : !strcmp(name, "host") ? "The host's CPU, as far as the accelerator supports its features"
            : !strcmp(name, "base") ? "base CPU model type with no features enabled"
            : *brand                ? brand
                                    : "(without a brand string)");
    }
    x86_features_available(words);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        rest[w] = ~words[w];
    }
    list_features(out, "Recognized CPUID flags (+NAME, -NAME, NAME=on, NAME=off)", words);
    list_features(out, "Recognized CPUID flags that this accelerator cannot offer", rest);
    g_string_append(out, properties);
    list_hyperv(out);
    g_string_append(out, "\n-cpu MODEL,help tells what a model has.\n");
}

bool x86_model_describe(const char *text, GString *out, Error **errp)
{
    uint32_t wanted[FW_COUNT], more[FW_COUNT];
    g_autofree X86CpuModel *m = x86_model_make(text, true, wanted, errp);
    if (!m) {
        return false;
    }
    g_string_append_printf(out, "CPU model %s: %s\n  vendor %s, family %u, model %u, stepping %u\n", m->name,
                           m->model_id[0] ? m->model_id : "no brand string", m->vendor, m->family, m->model, m->stepping);
    g_string_append_printf(out, "  level 0x%x, xlevel 0x%x, phys-bits %u, tsc-frequency %" PRIu64 "\n", m->level,
                           m->xlevel, m->phys_bits, m->tsc_hz);
    x86_features_available(more);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        wanted[w] &= ~m->words[w];
        more[w] &= ~m->words[w];
    }
    list_features(out, "Features", m->words);
    list_features(out, "Features the model has and this accelerator lacks (enforce refuses to go without them)", wanted);
    list_features(out, "Features that +NAME adds", more);
    g_string_append(out, properties);
    list_hyperv(out);
    return true;
}
