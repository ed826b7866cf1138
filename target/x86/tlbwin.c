/* SPDX-License-Identifier: MIT
 * target/x86/tlbwin.c - region windows (rhea/accel/tlb.h): what each flush drops of them. Translated code makes them itself
 * (t1_make_window()), for loads of Tlb.span, for stores of 4 KiB, and says so in tr1.win_touched.
 * Models: SDM vol. 3 4.10.4.1 as far as flushes go (a window lives no longer than the page it was cut from).
 * Does not model: windows over several guest pages.
 * Threads: the vCPU's thread.
 */
#include "t0.h"

static void drop_all(X86Cpu *cpu, unsigned mmu, unsigned write)
{
    for (unsigned i = 0; i < TLB_WINDOWS; i++) {
        cpu->win[mmu][write][i].lim = 0;
    }
    cpu->tr1.win_touched[mmu][write] = 0;
}

void tlb_windows_drop(X86Cpu *cpu)
{
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned k = 0; k < 2; k++) {
            if (cpu->tr1.win_touched[m][k]) {
                drop_all(cpu, m, k);
            }
        }
    }
}

/* Those that may be of the guest page of lin, which is of 1 << shift bytes at most. None is greater than its page. */
void tlb_windows_drop_page(X86Cpu *cpu, uint64_t lin, unsigned shift)
{
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned k = 0; k < 2; k++) {
            for (unsigned i = 0; cpu->tr1.win_touched[m][k] && i < TLB_WINDOWS; i++) {
                TlbWindow *w = &cpu->win[m][k][i];
                w->lim = (w->base ^ lin) >> shift ? w->lim : 0;
            }
        }
    }
}

/* Store windows that reach the host page. */
bool tlb_windows_drop_host(X86Cpu *cpu, uintptr_t host_page)
{
    bool any = false;
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned i = 0; cpu->tr1.win_touched[m][1] && i < TLB_WINDOWS; i++) {
            TlbWindow *w = &cpu->win[m][1][i];
            if (w->lim && w->base + w->delta == host_page) {
                w->lim = 0;
                any = true;
            }
        }
    }
    return any;
}

static RamBlock *ram_at(const X86Cpu *cpu, const uint8_t *host, uint64_t *off)
{
    const FlatView *v = cpu->t0->view;
    for (uint32_t i = 0; i < v->n; i++) {
        const FlatRange *r = &v->r[i];
        if (r->host && host >= r->host && host < r->host + r->size) {
            *off = r->ram_off + (uint64_t)(host - r->host);
            return r->ram;
        }
    }
    return NULL;
}

/* See tlb_recheck_writes(). A window is made of a page that is not watched: if it is now, that is new. */
void tlb_windows_recheck(X86Cpu *cpu)
{
    for (unsigned m = 0; m < TLB_MMUS; m++) {
        for (unsigned i = 0; cpu->tr1.win_touched[m][1] && i < TLB_WINDOWS; i++) {
            TlbWindow *w = &cpu->win[m][1][i];
            uint64_t off;
            RamBlock *ram = w->lim ? ram_at(cpu, (uint8_t *)(w->base + w->delta), &off) : NULL;
            if (!ram) {
                w->lim = 0;
            } else if (__atomic_load_n(&ram->page_flags[off >> RAM_PAGE_BITS], __ATOMIC_ACQUIRE)) {
                ram_written(ram, off, RAM_PAGE_SIZE);
                w->lim = 0;
            }
        }
    }
}
