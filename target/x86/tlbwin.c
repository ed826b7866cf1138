/* SPDX-License-Identifier: MIT
 * target/x86/tlbwin.c - region windows: power-of-two pieces of one guest page behind which RAM is contiguous, for
 * generated code to check with one comparison instead of a TLB lookup.
 * Models: SDM vol. 3 4.10.4.1 as far as flushes go (a window lives no longer than the page it was cut from).
 * Does not model: windows over several guest pages.
 * Threads: the vCPU's thread.
 */
#include "t0.h"

/* Looking for watched pages costs a byte each, 4 KiB of flags for the largest. */
enum { STORE_WINDOW_MAX = 16 << 20 };
#define LOAD_WINDOW_MAX ((uint64_t)1 << 30)

static bool pages_unwatched(const RamBlock *ram, uint64_t off, uint64_t size)
{
    const uint8_t *flags = ram->page_flags + (off >> RAM_PAGE_BITS);
    uint64_t n = size >> RAM_PAGE_BITS, any = 0;
    for (; n >= 8; n -= 8, flags += 8) {
        uint64_t v;
        memcpy(&v, flags, 8);
        any |= v;
    }
    for (; n; n--, flags++) {
        any |= __atomic_load_n(flags, __ATOMIC_RELAXED);
    }
    return any == 0;
}

/* Fills the slot with the largest region around lin for which the TLB has a plain entry now: inside the guest's page
 * and one range of RAM, and for stores without a page whose writes are watched. False: no such entry; the slot is
 * left alone. */
bool tlb_window_fill(X86Cpu *cpu, unsigned mmu, bool write, unsigned slot, uint64_t lin)
{
    TlbState *s = &cpu->t0->tlb;
    unsigned i = tlb_index(lin);
    const TlbEntry *e = &cpu->tlb->e[mmu][i];
    const TlbAux *a = &cpu->tlb->aux[mmu][i];
    const FlatRange *r = a->range;
    if ((write ? e->wtag : e->rtag) != (lin & TLB_PAGE_MASK)) {
        return false;
    }
    uint64_t max = MIN(a->page_size, write ? (uint64_t)STORE_WINDOW_MAX : LOAD_WINDOW_MAX), size = 4096;
    if (!cpu->a20_gate || x86_data_bp_on(cpu)) { /* A20 tears large pages; data breakpoints make pages special */
        max = 4096;
    }
    while (size < max) {
        hwaddr lo = a->phys & ~(2 * size - 1), other = (a->phys ^ size) & ~(size - 1);
        if (lo < r->start || lo - r->start + 2 * size > r->size ||
            (write && !pages_unwatched(r->ram, r->ram_off + (other - r->start), size))) {
            break;
        }
        size *= 2;
    }
    cpu->win[mmu][write][slot] = (TlbWindow){ .base = lin & ~(size - 1), .lim = size - 63, .delta = e->delta };
    s->win_shift[mmu][write][slot] = (uint8_t)__builtin_ctzll(a->page_size);
    s->win_used[mmu][write] |= 1u << slot;
    s->win_global[mmu][write] &= ~(1u << slot);
    s->win_global[mmu][write] |= (uint32_t)a->global << slot;
    cpu->t0->stats.window_fills++;
    return true;
}

static void window_drop(X86Cpu *cpu, unsigned mmu, unsigned write, unsigned slot)
{
    cpu->win[mmu][write][slot] = (TlbWindow){ 0 };
    cpu->t0->tlb.win_used[mmu][write] &= ~(1u << slot);
}

/* Translated code fills windows of one page by itself; what it does not know counts as the worst. */
static void adopt(X86Cpu *cpu)
{
    TlbState *s = &cpu->t0->tlb;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned k = 0; k < 2; k++) {
            if (!cpu->tr1.win_touched[m][k]) {
                continue;
            }
            cpu->tr1.win_touched[m][k] = 0;
            s->win_global[m][k] = 0;
            for (unsigned i = 0; i < TLB_WINDOWS; i++) {
                if (cpu->win[m][k][i].lim) {
                    s->win_used[m][k] |= 1u << i;
                    s->win_shift[m][k][i] = 30; /* may be a piece of a page of 1 GiB */
                }
            }
        }
    }
}

void tlb_windows_drop(X86Cpu *cpu, bool keep_global)
{
    adopt(cpu);
    TlbState *s = &cpu->t0->tlb;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned k = 0; k < 2; k++) {
            for (uint32_t u = s->win_used[m][k] & ~(keep_global ? s->win_global[m][k] : 0); u; u &= u - 1) {
                window_drop(cpu, m, k, (unsigned)__builtin_ctz(u));
            }
        }
    }
}

/* Those cut from the guest page of lin. */
void tlb_windows_drop_page(X86Cpu *cpu, uint64_t lin)
{
    adopt(cpu);
    TlbState *s = &cpu->t0->tlb;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned k = 0; k < 2; k++) {
            for (uint32_t u = s->win_used[m][k]; u; u &= u - 1) {
                unsigned slot = (unsigned)__builtin_ctz(u);
                if ((cpu->win[m][k][slot].base ^ lin) >> s->win_shift[m][k][slot] == 0) {
                    window_drop(cpu, m, k, slot);
                }
            }
        }
    }
}

/* Store windows that reach the host page. */
bool tlb_windows_drop_host(X86Cpu *cpu, uintptr_t host_page)
{
    adopt(cpu);
    TlbState *s = &cpu->t0->tlb;
    bool any = false;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (uint32_t u = s->win_used[m][1]; u; u &= u - 1) {
            unsigned slot = (unsigned)__builtin_ctz(u);
            const TlbWindow *w = &cpu->win[m][1][slot];
            if (host_page - (w->base + w->delta) < w->lim) {
                window_drop(cpu, m, 1, slot);
                any = true;
            }
        }
    }
    return any;
}

/* See tlb_recheck_writes(). A window is made without watched pages, so the ones it has now are new. */
void tlb_windows_recheck(X86Cpu *cpu)
{
    adopt(cpu);
    TlbState *s = &cpu->t0->tlb;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (uint32_t u = s->win_used[m][1]; u; u &= u - 1) {
            unsigned slot = (unsigned)__builtin_ctz(u);
            const TlbWindow *w = &cpu->win[m][1][slot];
            uint8_t *host = (uint8_t *)(w->base + w->delta);
            RamBlock *ram = NULL;
            uint64_t off = 0;
            for (uint32_t i = 0; i < cpu->t0->view->n && !ram; i++) {
                const FlatRange *r = &cpu->t0->view->r[i];
                if (r->host && host >= r->host && host < r->host + r->size) {
                    ram = r->ram;
                    off = r->ram_off + (uint64_t)(host - r->host);
                }
            }
            bool seen = false;
            for (uint64_t at = 0; ram && at < w->lim; at += RAM_PAGE_SIZE) {
                if (__atomic_load_n(&ram->page_flags[(off + at) >> RAM_PAGE_BITS], __ATOMIC_ACQUIRE)) {
                    ram_written(ram, off + at, RAM_PAGE_SIZE);
                    seen = true;
                }
            }
            if (seen || !ram) {
                window_drop(cpu, m, 1, slot);
            }
        }
    }
}
