/* SPDX-License-Identifier: MIT
 * target/x86/t1-chaos.c - `-accel tcg,chaos=SEED`, a test: everything that may happen to translated code at
 * any time happens often: units and TLB are dropped, look-ups miss, code is left, tiers change, units are
 * short. A guest must not notice. Together with the small code cache that the option brings, segments are
 * evicted all the time. Does not model: anything; what is done here is legal at any instruction boundary.
 * Threads: the vCPU's thread.
 */
#include "t1.h"

static uint64_t chaos_random(T1State *s) /* xorshift64* */
{
    s->chaos ^= s->chaos >> 12;
    s->chaos ^= s->chaos << 25;
    s->chaos ^= s->chaos >> 27;
    return s->chaos * 0x2545f4914f6cdd1dull >> 20;
}

/* First-level entries that are gone: the next access takes the slow path and fills them. */
static void forget_entries(X86Cpu *cpu, uint64_t r)
{
    TlbEntry *e = cpu->tlb_mem.e[cpu->mmu];
    for (unsigned i = r % 7; i < TLB_SIZE; i += 7) {
        e[i].rtag = e[i].wtag = e[i].xtag = TLB_NO_TAG;
    }
    tlb_windows_drop(cpu);
}

bool t1_chaos_step(X86Cpu *cpu)
{
    T1State *s = cpu->t1;
    uint64_t r = chaos_random(s);
    switch (r & 1023) {
    case 0: x86_tlb_flush(cpu, false); break;
    case 1: tlb_drop_l1(cpu, false); break;
    case 2:
    case 3: forget_entries(cpu, r >> 10); break;
    case 4: tlb_new_generation(cpu); break;
    case 5:
        if ((r >> 10) % 16 == 0) {
            units_drop_all(cpu);
            s->pending = NULL;
        }
        break;
    case 6:
    case 7: /* the next unit's poll sees it */
        __atomic_fetch_or(&cpu->vcpu.exit_request, EXIT_SELF, __ATOMIC_RELAXED);
        break;
    default: break;
    }
    return (r >> 32) % 16 == 0;
}

bool t1_chaos_leave(X86Cpu *cpu)
{
    uint64_t r = chaos_random(cpu->t1);
    if (r % 64 == 1) { /* goes on here, and leaves at the next unit */
        __atomic_fetch_or(&cpu->vcpu.exit_request, EXIT_SELF, __ATOMIC_RELAXED);
    }
    return r % 64 == 0;
}

unsigned t1_chaos_insns(T1State *s)
{
    uint64_t r = chaos_random(s);
    return r % 4 ? T1_MAX_INSNS : 1 + (unsigned)(r >> 8) % 8;
}
