/* SPDX-License-Identifier: MIT
 * target/x86/hyperv.h - Hyper-V enlightenments of a CPU model: which there are, what they need, their CPUID bits and
 *   registers. KVM does what they promise; the software engine has none of them.
 * Models: Hyper-V Top Level Functional Specification (TLFS) 6.0b, 2 (CPUID), appendix C (synthetic MSRs).
 * Threads: a model is made on the main loop and constant afterwards; registers are the vCPU's.
 */
#ifndef TARGET_X86_HYPERV_H
#define TARGET_X86_HYPERV_H

#include "rhea/util/error.h"
#include "rhea/util/json.h"
#include <stdbool.h>
#include <stdint.h>

struct X86Cpu;
struct X86CpuModel;
struct X86ModelParse;
typedef struct Machine Machine;

typedef enum X86HvFeature {
    HV_RELAXED,
    HV_VAPIC,
    HV_TIME,
    HV_CRASH,
    HV_RESET,
    HV_VPINDEX,
    HV_RUNTIME,
    HV_SYNIC,
    HV_STIMER,
    HV_FREQUENCIES,
    HV_REENLIGHTENMENT,
    HV_TLBFLUSH,
    HV_IPI,
    HV_STIMER_DIRECT,
    HV_AVIC,
    HV_XMM_INPUT,
    HV_TLBFLUSH_EXT,
    HV_FEATURES
} X86HvFeature;

enum { HV_SPIN_LEAST = 0xfff };
typedef enum X86HvCores { HV_CORES_OFF, HV_CORES_ON, HV_CORES_AUTO } X86HvCores; /* hv-no-nonarch-coresharing */

/* X86CpuModel.hv */
typedef struct X86Hyperv {
    uint32_t on, off;   /* bits by X86HvFeature; off: said so */
    bool passthrough;   /* all that this host's KVM has */
    bool enforce_cpuid; /* KVM hides registers of what is not on */
    uint32_t spinlocks; /* tries before the hypervisor is told; UINT32_MAX: it is not */
    int cores;
    char vendor[13];
    uint32_t version[6]; /* build, major, minor, service pack, service branch, service number */
} X86Hyperv;

/* What KVM says it has: the registers of leaves 40000000H to 40000005H. */
enum { HV_LEAVES = 6 };
typedef struct X86HvHost {
    bool lapic; /* local APICs are in the kernel */
    uint32_t leaf[HV_LEAVES][4];
} X86HvHost;

static inline bool x86_hyperv_on(const X86Hyperv *hv)
{
    return hv->on || hv->spinlocks != UINT32_MAX;
}
static inline bool x86_hyperv_has(const X86Hyperv *hv, X86HvFeature f)
{
    return hv->on >> f & 1;
}

/* hyperv.c */
void x86_hyperv_defaults(X86Hyperv *hv);
/* A property of -cpu; val NULL: "on". *known: it is one. False with *known: *errp. */
bool x86_hyperv_option(struct X86ModelParse *p, const char *name, const char *val, bool *known, Error **errp);
/* When all are known: dependencies, and what this host's KVM has. */
bool x86_hyperv_settle(struct X86ModelParse *p, const Machine *m, Error **errp);
void x86_hyperv_leaf(const struct X86Cpu *cpu, uint32_t leaf, uint32_t r[4]);
const char *x86_hyperv_name(X86HvFeature f);
/* Names that are on, with spaces before each. */
void x86_hyperv_list(const X86Hyperv *hv, GString *out);
/* Names and types of all properties, and their values; x86_hyperv_value: NULL when it is none. */
const char *x86_hyperv_property(unsigned i, const char **type); /* NULL: no more */
Json *x86_hyperv_value(const X86Hyperv *hv, const char *name);

/* Synthetic registers that hold state, in the order in which they are written: X86Cpu.hv[i]. */
typedef struct X86HvMsr {
    uint32_t index;
    uint32_t needs; /* one of these features, as bits; 0: any */
    bool wide;      /* one for the whole machine */
} X86HvMsr;
const X86HvMsr *x86_hyperv_msr(unsigned i); /* NULL: no more */
uint64_t *x86_hyperv_slot(struct X86Cpu *cpu, uint32_t msr); /* NULL: the CPU has no such register */
bool x86_hyperv_msr_there(const X86Hyperv *hv, const X86HvMsr *msr);

/* kvm-hyperv.c: false with *errp: the kernel has no such interface. */
bool x86_kvm_hyperv(const Machine *m, X86HvHost *host, Error **errp);

#endif
