/* SPDX-License-Identifier: MIT
 * target/x86/pvclock.c - the paravirtual clock of KVM: guests learn the TSC's frequency and the time from memory.
 * Models:  the interface documented with Linux (Documentation/virt/kvm/x86/msr.rst and cpuid.rst): MSR 4B564D00h (wall
 *          clock at boot) and 4B564D01h (system time), whose structures are written when the guest names their place. The
 *          TSC and this time come from the same clock, so the relation never changes and is written again only when
 *          the guest writes its TSC. "Stable" is said while all vCPUs' TSCs agree.
 * Does not model: the older numbers 11h and 12h, the flag that tells of a stopped guest.
 * Threads: the vCPU's thread.
 */
#include "cpuid.h"
#include "sysint.h"

enum { TIME_BYTES = 32, WALL_BYTES = 12, TIME_ENABLE = 1, FLAG_TSC_STABLE = 1 };
#define NS UINT64_C(1000000000)

/* ns = ((ticks << shift) * mul) >> 32, mul with its top bit set for precision. */
static void pvclock_scale(uint64_t hz, uint32_t *mul, int8_t *shift)
{
    int s = 0;
    unsigned __int128 m = ((unsigned __int128)NS << 32) / hz;
    while (m >> 32) {
        s++;
        m = (((unsigned __int128)NS << 32) >> s) / hz;
    }
    while (!(m >> 31) && s > -31) {
        s--;
        m = ((unsigned __int128)NS << (32 - s)) / hz;
    }
    *mul = (uint32_t)m;
    *shift = (int8_t)s;
}

static bool tscs_agree(const X86Cpu *cpu)
{
    const Machine *m = cpu->vcpu.machine;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        const X86Cpu *other = m->cpus[i] ? x86_cpu(m->cpus[i]) : cpu;
        if (__atomic_load_n(&other->tsc_offset, __ATOMIC_RELAXED) != cpu->tsc_offset) {
            return false;
        }
    }
    return true;
}

static void pvclock_store(X86Cpu *cpu, hwaddr at, void *buf, size_t n, uint32_t *version)
{
    MemAttrs attrs = { .requester = (uint16_t)cpu->vcpu.index, .cpu = true };
    AddressSpace *as = x86_memory(cpu);
    uint32_t was = 0;
    /* An odd version tells readers on other vCPUs to wait. */
    as_access(as, at, &was, 4, false, attrs);
    *version = was | 1;
    as_access(as, at, version, 4, true, attrs);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    as_access(as, at + 4, (uint8_t *)buf + 4, n - 4, true, attrs);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *version += 1;
    as_access(as, at, version, 4, true, attrs);
}

void x86_pvclock_update(X86Cpu *cpu)
{
    if (!(cpu->pv_time & TIME_ENABLE)) {
        return;
    }
    uint64_t ns = (uint64_t)clock_now(cpu->vcpu.machine->clock);
    uint64_t tsc = x86_tsc_at(cpu, (int64_t)ns);
    uint8_t b[TIME_BYTES] = { 0 };
    uint32_t mul, version;
    int8_t shift;
    pvclock_scale(cpu->tsc_hz, &mul, &shift);
    memcpy(b + 8, &tsc, 8);
    memcpy(b + 16, &ns, 8);
    memcpy(b + 24, &mul, 4);
    b[28] = (uint8_t)shift;
    b[29] = x86_has_bit(cpu, X86_FEAT_KVMCLOCK_STABLE) && tscs_agree(cpu) ? FLAG_TSC_STABLE : 0;
    pvclock_store(cpu, cpu->pv_time & ~UINT64_C(3), b, sizeof(b), &version);
}

/* What the wall clock said when system time was zero. -rtc base= counts, local time does not: this one is UTC. */
static int64_t pvclock_boot_ns(const Machine *m)
{
    int64_t now = clock_now(m->clock);
    return m->rtc.start_s != INT64_MIN ? m->rtc.start_s * (int64_t)NS : g_get_real_time() * 1000 - now;
}

static void pvclock_write_wall(X86Cpu *cpu)
{
    int64_t boot = MAX(pvclock_boot_ns(cpu->vcpu.machine), 0);
    uint32_t w[3] = { 0, (uint32_t)((uint64_t)boot / NS), (uint32_t)((uint64_t)boot % NS) }, version;
    pvclock_store(cpu, cpu->pv_wall, w, WALL_BYTES, &version);
}

bool x86_pvclock_write(X86Cpu *cpu, uint32_t msr, uint64_t val)
{
    if (!x86_has_bit(cpu, X86_FEAT_KVMCLOCK)) {
        return false;
    }
    if (msr == X86_MSR_KVM_WALL_CLOCK) {
        if (val & 3) {
            return false;
        }
        cpu->pv_wall = val;
        pvclock_write_wall(cpu);
        return true;
    }
    if (val & 2) {
        return false;
    }
    cpu->pv_time = val;
    x86_pvclock_update(cpu);
    return true;
}
