/* SPDX-License-Identifier: MIT
 * target/x86/model-host.c - the identity and the features of the host's CPU, for -cpu host.
 * Models:  Intel SDM volume 2 CPUID and AMD APM volume 3 appendix E, leaves 0, 1, 6, 7, 0xD and 0x80000000 to
 *          0x80000008, read with the instruction itself.
 * Does not model: the host's caches and topology (those are the machine's, -smp); IA32_ARCH_CAPABILITIES,
 * which programs cannot read: a host that has the register is given this accelerator's value.
 * Threads: main loop, before the machine runs.
 */
#include "cpuid.h"
#include "rhea/util/errorcode.h"
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* The last leaves that cpuid.c answers. */
enum { HOST_LEVEL_MAX = 0x16 };
#define HOST_XLEVEL_MAX 0x8000001eu

static void host_leaf(uint32_t leaf, uint32_t sub, uint32_t max, uint32_t r[4])
{
    memset(r, 0, 4 * sizeof(r[0]));
    if (leaf <= max) {
        __cpuid_count(leaf, sub, r[0], r[1], r[2], r[3]);
    }
}

static void host_identity(X86CpuModel *m)
{
    uint32_t r[4];
    host_leaf(0, 0, UINT32_MAX, r);
    m->level = r[0];
    memcpy(m->vendor, &r[1], 4);
    memcpy(m->vendor + 4, &r[3], 4);
    memcpy(m->vendor + 8, &r[2], 4);
    m->vendor[12] = 0;
    host_leaf(1, 0, m->level, r);
    m->stepping = r[0] & 15;
    m->model = r[0] >> 4 & 15;
    m->family = r[0] >> 8 & 15;
    /* The extended fields count for families 6 and 15 (SDM) or 15 (APM); elsewhere they are zero. */
    if (m->family == 6 || m->family == 15) {
        m->model |= r[0] >> 12 & 0xf0;
    }
    if (m->family == 15) {
        m->family += r[0] >> 20 & 0xff;
    }
    host_leaf(0x80000000, 0, UINT32_MAX, r);
    m->xlevel = r[0] >> 31 ? r[0] : 0;
    memset(m->model_id, 0, sizeof(m->model_id));
    for (uint32_t i = 0; i < 3; i++) {
        host_leaf(0x80000002 + i, 0, m->xlevel, r);
        memcpy(m->model_id + 16 * i, r, 16);
    }
}

bool x86_model_read_host(X86CpuModel *m, Error **errp)
{
    (void)errp;
    static const struct { uint32_t leaf, sub; unsigned reg, word; } from[] = {
        { 1, 0, 3, FW_1_EDX },           { 1, 0, 2, FW_1_ECX },           { 6, 0, 0, FW_6_EAX },
        { 7, 0, 1, FW_7_EBX },           { 7, 0, 2, FW_7_ECX },           { 7, 0, 3, FW_7_EDX },
        { 0xd, 1, 0, FW_D1_EAX },        { 0x80000001, 0, 3, FW_81_EDX }, { 0x80000001, 0, 2, FW_81_ECX },
        { 0x80000007, 0, 3, FW_87_EDX }, { 0x80000008, 0, 1, FW_88_EBX },
    };
    uint32_t r[4];
    host_identity(m);
    for (unsigned i = 0; i < G_N_ELEMENTS(from); i++) {
        host_leaf(from[i].leaf, from[i].sub, from[i].leaf >> 31 ? m->xlevel : m->level, r);
        m->words[from[i].word] = r[from[i].reg];
    }
    m->words[FW_CAPS] = m->words[FW_7_EDX] >> 29 & 1 ? UINT32_MAX : 0; /* the caller masks */
    host_leaf(0x80000008, 0, m->xlevel, r);
    if ((r[0] & 0xff) >= 32) {
        m->phys_bits = MIN(r[0] & 0xff, 52u);
    }
    m->level = MIN(m->level, (uint32_t)HOST_LEVEL_MAX);
    m->xlevel = MIN(m->xlevel, HOST_XLEVEL_MAX);
    return true;
}

#else

bool x86_model_read_host(X86CpuModel *m, Error **errp)
{
    error_fail(errp, "not-supported", NULL, NULL,
               "CPU model '%s' is the host's CPU, and this host's is not an x86", m->name);
    error_hint(errp, "use -cpu max: everything this accelerator can do");
    return false;
}

#endif
