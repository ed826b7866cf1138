/* SPDX-License-Identifier: MIT
 * tests/cpu/test-mmucache.c - the caches behind translation: no operation of SDM vol. 3 4.10.4.1 leaves behind what it
 * must drop, what need not go stays, and stores to watched pages are seen whatever fast path they could have taken. With
 * RHEA_TEST_COLD that is so for the jump cache of cold code, too (target/x86/t1-cold.c).
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"
#include "target/x86/t1.h"

enum { P = 1, W = 2, A = 0x20, D = 0x40, PS = 0x80, GL = 0x100 };
#define KEEP (1ull << 63)

/* As inside run(): a read section, a current view, no requests left from building the machine. */
static void enter(Guest *g)
{
    rcu_read_lock();
    g->cpu->t0->running = true;
    mem_begin_run(g->cpu);
    t0_take_requests(g->cpu);
}

static void leave(Guest *g)
{
    g->cpu->t0->running = false;
    rcu_read_unlock();
}

static uint32_t load(Guest *g, uint64_t lin)
{
    static const X86Insn none;
    if (sigsetjmp(g->cpu->fault_jmp, 0)) {
        g_error("reading 0x%" PRIx64 ": exception %d", lin, g->cpu->exc_vector);
    }
    return ld32(g->cpu, &none, lin);
}

static void store(Guest *g, uint64_t lin, uint32_t v)
{
    static const X86Insn none;
    if (sigsetjmp(g->cpu->fault_jmp, 0)) {
        g_error("writing 0x%" PRIx64 ": exception %d", lin, g->cpu->exc_vector);
    }
    st32(g->cpu, &none, lin, v);
}

/* --- a random walk over flushes ---
 * Pages switch between two frames that hold different numbers. stale[pcid][page] says that the entry changed since the
 * last operation that had to drop it: the page may read as either. Otherwise it must read as the entry says. */

enum { N4K = 6, N_PAGES = N4K + 4, N_PCID = 4, AREA = 0x40000000 };
typedef struct Page {
    uint64_t lin;
    hwaddr entry;      /* of the page tables */
    uint64_t frame[2], bits;
    bool global;
    unsigned now;
} Page;
typedef struct Flushes {
    Guest *g;
    Page page[N_PAGES];
    bool stale[N_PCID][N_PAGES];
    unsigned pcid, table; /* table: which of two the 4 KiB pages of the first kind hang from */
    uint64_t changed;
} Flushes;

/* Two 2 MiB frames and 4 KiB frames inside them; each begins with its number. */
static void flushes_setup(Flushes *f)
{
    Guest *g = f->g;
    hwaddr pd = G_PT + 0x20000;
    guest_st(g, G_PT + 0x1000 + 8, 8, pd | P | W); /* the second GiB */
    for (unsigned i = 0; i < N_PAGES; i++) {
        Page *p = &f->page[i];
        bool big = i >= N4K;
        p->global = i & 1;
        p->bits = P | W | (p->global ? GL : 0) | (big ? PS : 0);
        /* 4 KiB: local ones below PDE 0, global ones below PDE 1. Then 2 MiB: PDEs 2 and 3; 1 GiB: PDPTEs 2 and 3. */
        hwaddr table = G_PT + 0x21000 + (p->global ? 0x1000 : 0);
        p->entry = !big ? table + i * 8 : i < N4K + 2 ? pd + (i - N4K + 2) * 8 : G_PT + 0x1000 + (i - N4K) * 8;
        p->lin = !big ? AREA + (p->global ? 0x200000 : 0) + i * 0x1000
                      : i < N4K + 2 ? AREA + (i - N4K + 2) * 0x200000ull + 0x5000 : (i - N4K) * 0x40000000ull + 0x200000;
        if (i < N4K) {
            p->frame[0] = 0x180000 + i * 0x2000;
            p->frame[1] = p->frame[0] + 0x1000;
        } else if (i < N4K + 2) {
            p->frame[0] = 0x400000;
            p->frame[1] = 0x600000;
        } else { /* the second frame is a fault-free hole: reads as ones */
            p->frame[0] = 0;
            p->frame[1] = 1ull << 30;
        }
        guest_st(g, p->entry, 8, p->frame[0] | p->bits);
        p->now = 0;
    }
    guest_st(g, pd, 8, (G_PT + 0x21000) | P | W);
    guest_st(g, pd + 8, 8, (G_PT + 0x22000) | P | W);
    for (hwaddr at = 0x180000; at < G_RAM; at += 0x1000) {
        guest_st(g, at, 4, (uint32_t)at | 0x11);
    }
}

static uint32_t flushes_value(const Page *p, unsigned which)
{
    uint64_t pa = p->frame[which] + (p->bits & PS ? p->lin & 0x1fffff : 0) + (p->lin >= 2u << 30 ? 0x200000 : 0);
    return pa >= G_RAM ? UINT32_MAX : (uint32_t)pa | 0x11;
}

static void flushes_touch(Flushes *f)
{
    unsigned i = (unsigned)g_test_rand_int_range(0, N_PAGES);
    Page *p = &f->page[i];
    uint32_t v = load(f->g, p->lin), want = flushes_value(p, p->now);
    if (v != want && (!f->stale[f->pcid][i] || v != flushes_value(p, !p->now))) {
        g_error("page %u under PCID %u reads as 0x%x, not 0x%x", i, f->pcid, v, want);
    }
}

static void flushes_change(Flushes *f)
{
    unsigned i = (unsigned)g_test_rand_int_range(0, N_PAGES);
    Page *p = &f->page[i];
    p->now = !p->now;
    guest_st(f->g, p->entry, 8, p->frame[p->now] | p->bits);
    for (unsigned c = 0; c < N_PCID; c++) {
        f->stale[c][i] = true;
    }
    f->changed++;
}

/* The table of the local 4 KiB pages moves, with their other frames in it: paging-structure caches. */
static void flushes_move_table(Flushes *f)
{
    hwaddr was = G_PT + 0x21000 + (f->table ? 0x2000 : 0);
    f->table = !f->table;
    hwaddr now = G_PT + 0x21000 + (f->table ? 0x2000 : 0);
    for (unsigned i = 0; i < N4K; i += 2) {
        Page *p = &f->page[i];
        p->now = !p->now;
        p->entry = p->entry - was + now;
        guest_st(f->g, p->entry, 8, p->frame[p->now] | p->bits);
        for (unsigned c = 0; c < N_PCID; c++) {
            f->stale[c][i] = true;
        }
    }
    guest_st(f->g, G_PT + 0x20000, 8, now | P | W);
}

static void flushed(Flushes *f, unsigned pcid, bool global_too)
{
    for (unsigned i = 0; i < N_PAGES; i++) {
        for (unsigned c = 0; c < N_PCID; c++) {
            f->stale[c][i] &= !(f->page[i].global ? global_too : c == pcid || pcid == N_PCID);
        }
    }
}

static void flushes_page(Flushes *f, unsigned pcid, bool invlpg)
{
    unsigned i = (unsigned)g_test_rand_int_range(0, N_PAGES);
    Page *p = &f->page[i];
    uint64_t off = p->bits & PS ? (uint64_t)g_test_rand_int_range(0, 0x200) << 12 : 0; /* any address of a large page */
    uint64_t lin = p->bits & PS ? (p->lin & ~0x1fffffull) + off : p->lin;
    if (invlpg) {
        x86_tlb_flush_page(f->g->cpu, lin);
    } else {
        x86_tlb_flush_pcid_page(f->g->cpu, pcid, lin);
    }
    for (unsigned c = 0; c < N_PCID; c++) {
        f->stale[c][i] &= !(p->global ? invlpg : c == pcid);
    }
}

static void flushes_step(Flushes *f)
{
    X86Cpu *cpu = f->g->cpu;
    unsigned pcid = (unsigned)g_test_rand_int_range(0, N_PCID), what = (unsigned)g_test_rand_int_range(0, 40);
    bool keep = g_test_rand_bit();
    switch (what) {
    case 0: case 1: case 2: case 3:
        g_assert_true(x86_set_cr3(cpu, G_PT | pcid | (keep ? KEEP : 0)));
        f->pcid = pcid;
        if (!keep) {
            flushed(f, pcid, false);
        }
        break;
    case 4: case 5: flushes_page(f, f->pcid, true); break;
    case 6: flushes_page(f, pcid, false); break;
    case 7:
        x86_tlb_flush_pcid(cpu, pcid);
        flushed(f, pcid, false);
        break;
    case 8:
        x86_tlb_flush(cpu, keep);
        flushed(f, N_PCID, !keep);
        break;
    case 9:
        g_assert_true(x86_set_cr4(cpu, cpu->cr4 & ~(uint64_t)CR4_PGE));
        g_assert_true(x86_set_cr4(cpu, cpu->cr4 | CR4_PGE));
        flushed(f, N_PCID, true);
        break;
    case 10: case 11: case 12: flushes_change(f); break;
    case 13: flushes_move_table(f); break;
    default: flushes_touch(f); break;
    }
}

static void test_flushes(void)
{
    Flushes f = { .g = guest_new(NULL) };
    guest_long(f.g);
    f.g->cpu->cr4 |= CR4_PGE;
    g_assert_true(x86_set_cr4(f.g->cpu, f.g->cpu->cr4 | CR4_PCIDE));
    flushes_setup(&f);
    x86_tlb_flush(f.g->cpu, false);
    enter(f.g);
    for (unsigned i = 0; i < 200000; i++) {
        flushes_step(&f);
    }
    const TcgStats *s = &f.g->cpu->t0->stats;
    g_test_message("%" PRIu64 " changes, %" PRIu64 " fills, %" PRIu64 " from L2, %" PRIu64 " walks, %" PRIu64 " short",
                   f.changed, s->tlb_fills, s->l2_hits, s->walks, s->walk_hits);
    g_assert_cmpuint(s->l2_hits, >, 1000);
    g_assert_cmpuint(s->walk_hits, >, 1000);
    leave(f.g);
    guest_free(f.g);
}

/* --- what stays --- */

static void test_kept(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    X86Cpu *cpu = g->cpu;
    const TcgStats *s = &cpu->t0->stats;
    g_assert_true(x86_set_cr4(cpu, cpu->cr4 | CR4_PCIDE));
    enter(g);
    g_assert_true(x86_set_cr3(cpu, G_PT | 1));
    load(g, G_DATA);
    g_assert_true(x86_set_cr3(cpu, G_PT | 2));
    load(g, G_DATA);
    uint64_t walks = s->walks;
    for (unsigned i = 0; i < 10; i++) { /* there and back: no walk */
        g_assert_true(x86_set_cr3(cpu, G_PT | (1 + i % 2) | KEEP));
        load(g, G_DATA);
    }
    g_assert_cmpuint(s->walks, ==, walks);
    x86_tlb_flush_page(cpu, 0x600000); /* another large page */
    load(g, G_DATA);
    x86_tlb_rights_changed(cpu);
    load(g, G_DATA);
    g_assert_cmpuint(s->walks, ==, walks);
    x86_tlb_flush_page(cpu, G_DATA + 0x10000); /* the same one */
    load(g, G_DATA);
    g_assert_cmpuint(s->walks, ==, walks + 1);
    leave(g);
    guest_free(g);
}

GUEST_CODE(answer_1, 64, "mov $1, %eax");
GUEST_CODE(answer_2, 64, "mov $2, %eax");
GUEST_CODE(far_call, 64, "jmp *%rbx");

/* In the slots of lin itself, in any mode and address space. */
static bool jump_caches_know(const X86Cpu *cpu, uint64_t lin)
{
    const JumpEntry *e = &cpu->t0->jc[jc_index(lin)];
    uint64_t tag = cpu->tr1.jc[t1_jc_index(lin)].tag;
    return (e->rip == lin && e->gen != 0) || (cpu->t1 && ((tag ^ lin) & 0xffffffffffff) == 0);
}

/* The jump cache: an INVLPG of a page nothing was fetched from changes nothing; of one that was, drops that page's entries. */
static void test_generation(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    X86Cpu *cpu = g->cpu;
    const uint64_t lin = 0x40000000, table = G_PT + 0x21000;
    guest_st(g, G_PT + 0x1008, 8, (G_PT + 0x20000) | P | W);
    guest_st(g, G_PT + 0x20000, 8, table | P | W);
    guest_st(g, table, 8, 0x180000 | P | W);
    guest_st(g, table + 8, 8, 0x180000 | P | W);
    guest_put(g, 0x180000, answer_1, (size_t)(answer_1_end - answer_1));
    guest_put(g, 0x181000, answer_2, (size_t)(answer_2_end - answer_2));
    g_assert_true(x86_set_cr4(cpu, cpu->cr4 | CR4_PCIDE));
    cpu->gpr[R_RBX] = lin;
    guest_run(g, far_call);
    g_assert_cmpuint(cpu->gpr[R_RAX], ==, 1);
    uint32_t gen = cpu->t0->generation;
    x86_tlb_flush_page(cpu, lin + 0x1000);
    x86_tlb_flush_page(cpu, 0x12345000);
    g_assert_cmpuint(cpu->t0->generation, ==, gen);
    guest_st(g, table, 8, 0x181000 | P | W);
    x86_tlb_flush_page(cpu, lin);
    g_assert_cmpuint(cpu->t0->generation, ==, gen);
    g_assert_false(jump_caches_know(cpu, lin));
    guest_run(g, far_call);
    g_assert_cmpuint(cpu->gpr[R_RAX], ==, 2);
    /* A PCID that was not flushed gets its number back; one that was does not. */
    gen = cpu->t0->generation;
    g_assert_true(x86_set_cr3(cpu, G_PT | 1 | KEEP));
    g_assert_cmpuint(cpu->t0->generation, !=, gen);
    guest_st(g, table, 8, 0x180000 | P | W);
    cpu->rip = lin; /* without guest_run(), which would write code */
    guest_continue(g);
    g_assert_cmpuint(cpu->gpr[R_RAX], ==, 1);
    g_assert_true(x86_set_cr3(cpu, G_PT | KEEP));
    g_assert_cmpuint(cpu->t0->generation, ==, gen);
    g_assert_true(x86_set_cr3(cpu, G_PT));
    g_assert_cmpuint(cpu->t0->generation, !=, gen);
    guest_run(g, far_call);
    g_assert_cmpuint(cpu->gpr[R_RAX], ==, 1);
    guest_free(g);
}

/* Supervisor code from global pages outlives MOV CR3, user code does not. */
static void test_generation_global(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    X86Cpu *cpu = g->cpu;
    for (unsigned i = 0; i < 4; i++) {
        guest_st(g, G_PT + 0x2000 + i * 8, 8, (uint64_t)i << 21 | 0x183);
    }
    g_assert_true(x86_set_cr4(cpu, cpu->cr4 | CR4_PGE));
    guest_run(g, answer_1);
    uint32_t gen = cpu->t0->generation, user = cpu->t0->tlb.gen[1];
    g_assert_true(x86_set_cr3(cpu, G_PT));
    g_assert_cmpuint(cpu->t0->generation, ==, gen);
    g_assert_cmpuint(cpu->t0->tlb.gen[1], !=, user);
    guest_st(g, G_PT + 0x2000, 8, 0x83);
    x86_tlb_flush(cpu, false);
    guest_run(g, answer_1);
    gen = cpu->t0->generation;
    g_assert_true(x86_set_cr3(cpu, G_PT));
    g_assert_cmpuint(cpu->t0->generation, !=, gen);
    guest_free(g);
}

/* --- windows ---
 * Made as translated code makes them, by an access that misses. The first store to a page whose D flag is not known to be set
 * is tier 0's, so that it takes two. FS: translated code has windows for segments with a base. */

GUEST_CODE(touch, 64, "mov %fs:(%rbx), %eax\nmov %eax, %fs:(%rbx)");
enum { TWO_MB = 0x200000 };

static TlbWindow *window(Guest *g, bool write, uint64_t lin)
{
    for (unsigned i = 0; i < TLB_WINDOWS; i++) {
        TlbWindow *w = &g->cpu->win[0][write][i];
        if ((lin ^ w->base) < w->lim) {
            g_assert_cmpint(__builtin_popcountll(w->lim + 63), ==, 1);
            g_assert_cmphex(*(uint32_t *)(lin + w->delta), ==, guest_ld(g, lin < 8 << 20 ? lin : 0x180000 + lin % TWO_MB, 4));
            return w;
        }
    }
    return NULL;
}

static void touch_once(Guest *g, uint64_t lin)
{
    g->cpu->gpr[R_RBX] = lin;
    g->cpu->rip = G_CODE; /* without guest_run(), which would write code */
    guest_continue(g);
}

static void touch_twice(Guest *g, uint64_t lin)
{
    touch_once(g, lin);
    touch_once(g, lin);
    g_assert_nonnull(window(g, false, lin));
    g_assert_nonnull(window(g, true, lin));
}

static Guest *windows_guest(void)
{
    Guest *g = guest_new(NULL);
    if (!g->cpu->t1 || g_getenv("RHEA_TEST_ROWS")) {
        g_test_skip("no translated code here");
        guest_free(g);
        return NULL;
    }
    t1_tune(g->cpu, true, 0);
    guest_long(g);
    g->cpu->gpr[R_RBX] = G_DATA;
    guest_run(g, touch);
    return g;
}

static void test_windows(void)
{
    Guest *g = windows_guest();
    if (!g) {
        return;
    }
    X86Cpu *cpu = g->cpu;
    const uint64_t lin = 0x412340;
    g_assert_null(window(g, false, lin));
    touch_twice(g, lin);
    g_assert_cmphex(window(g, false, lin)->base, ==, 0x400000);
    g_assert_cmphex(window(g, false, lin)->lim, ==, TWO_MB - 63);
    g_assert_cmphex(window(g, true, lin)->base, ==, 0x412000);
    g_assert_cmphex(window(g, true, lin)->lim, ==, 4096 - 63);
    /* Each kind of flush. */
    g_assert_true(x86_set_cr3(cpu, G_PT));
    g_assert_true(!window(g, false, lin) && !window(g, true, lin));
    touch_twice(g, lin);
    x86_tlb_flush_page(cpu, 0x200000);
    g_assert_true(window(g, false, lin) && window(g, true, lin));
    x86_tlb_flush_page(cpu, 0x5ff000); /* the same large page */
    g_assert_true(!window(g, false, lin) && !window(g, true, lin));
    touch_twice(g, lin);
    x86_tlb_rights_changed(cpu);
    g_assert_true(!window(g, false, lin) && !window(g, true, lin));
    /* A page that is watched until the first store is seen. */
    g->m->ram->page_flags[0x412] = 1 << DIRTY_DISPLAY;
    touch_once(g, lin);
    g_assert_true(window(g, false, lin) && !window(g, true, lin));
    g_assert_cmpuint(g->m->ram->page_flags[0x412], ==, 0);
    touch_twice(g, lin);
    /* A page not written to yet has no window for stores. */
    guest_st(g, G_PT + 0x2010, 8, 0x400000 | PS | P | W | A);
    x86_tlb_flush(cpu, false);
    touch_once(g, lin);
    g_assert_true(window(g, false, lin) && !window(g, true, lin));
    g_assert_true(guest_ld(g, G_PT + 0x2010, 8) & D);
    touch_twice(g, lin);
    /* Code in it. */
    guest_put(g, 0x412000, answer_1, (size_t)(answer_1_end - answer_1));
    touch_twice(g, 0x412f00);
    cpu->gpr[R_RBX] = 0x412000;
    guest_run(g, far_call);
    g_assert_cmpuint(cpu->gpr[R_RAX], ==, 1);
    g_assert_true(window(g, false, lin) && !window(g, true, lin));
    enter(g);
    store(g, 0x412000, 0x000002b8); /* and a store there is seen */
    leave(g);
    cpu->gpr[R_RBX] = 0x412000;
    guest_run(g, far_call);
    g_assert_cmpuint(cpu->gpr[R_RAX], ==, 2);
    guest_free(g);
}

/* INVLPG of a small page leaves the windows of its neighbours; of a page of 1 GiB, which a window is only a piece of, none. */
static void test_windows_pages(void)
{
    Guest *g = windows_guest();
    if (!g) {
        return;
    }
    const uint64_t lin = 0x40000000, table = G_PT + 0x21000, huge = 0x80000000;
    guest_st(g, G_PT + 0x1008, 8, (G_PT + 0x20000) | P | W);
    guest_st(g, G_PT + 0x1010, 8, P | W | A | D | PS);
    guest_st(g, G_PT + 0x20000, 8, table | P | W);
    guest_st(g, table, 8, 0x180000 | P | W | A | D);
    guest_st(g, table + 8, 8, 0x181000 | P | W | A | D);
    touch_twice(g, lin);
    x86_tlb_flush_page(g->cpu, lin + 0x1000);
    g_assert_true(window(g, false, lin) && window(g, true, lin));
    g_assert_cmphex(window(g, false, lin)->lim, ==, 4096 - 63);
    x86_tlb_flush_page(g->cpu, lin);
    g_assert_true(!window(g, false, lin) && !window(g, true, lin));
    touch_twice(g, huge + 0x400000);
    x86_tlb_flush_page(g->cpu, huge + 0x3ffff000);
    g_assert_true(!window(g, false, huge + 0x400000) && !window(g, true, huge + 0x400000));
    guest_free(g);
}

/* An instruction whose window misses all the time goes over to the TLB, once: its unit is found in whatever mode it began. */
GUEST_CODE(alternate, 64, "mov $400000, %ecx\n1: mov %fs:(%rbx), %eax\nadd %rax, %rsi\nxor $0x200000, %rbx\ndec %ecx\njnz 1b");
GUEST_CODE(alternate_ac, 64, "mov $400000, %ecx\n1: stac\nmov %fs:(%rbx), %eax\nclac\nadd %rax, %rsi\nxor $0x200000, %rbx\n"
                             "dec %ecx\njnz 1b");

static void test_windows_sites(void)
{
    for (unsigned ac = 0; ac < 2; ac++) {
        Guest *g = windows_guest();
        if (!g) {
            return;
        }
        guest_st(g, 0x400000, 4, 1);
        guest_st(g, 0x600000, 4, 2);
        g->cpu->gpr[R_RBX] = 0x400000;
        g->cpu->gpr[R_RSI] = 0;
        g_assert_true(x86_set_cr4(g->cpu, g->cpu->cr4 | (ac ? CR4_SMAP : 0)));
        t1_sites_users(g->cpu);
        ac ? guest_run(g, alternate_ac) : guest_run(g, alternate);
        g_assert_cmpuint(g->cpu->gpr[R_RSI], ==, 200000 * 3);
        g_assert_cmpuint(g->cpu->t1->stats.tlb_sites, >=, 1);
        g_assert_cmpuint(g->cpu->t1->stats.tlb_sites, <=, 4);
        guest_free(g);
    }
}

/* The dirty log: pages that became watched are reported, though the CPU could store to them unseen. */
static void test_dirty_log(void)
{
    Guest *g = windows_guest();
    if (!g) {
        return;
    }
    RamBlock *ram = g->m->ram;
    unsigned long bits[G_RAM / 4096 / 64];
    enter(g);
    dirty_enable(ram, DIRTY_MIGRATION, true);
    store(g, 0x401000, 1);
    store(g, 0x500000, 1);
    leave(g);
    touch_twice(g, 0x607000);
    uint64_t delta = window(g, true, 0x607000)->delta;
    g_assert_cmpuint(dirty_take(ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits), ==, G_RAM / 4096);
    /* What generated code does before it hears of that. */
    *(uint32_t *)(0x607000 + delta) = 7;
    guest_run(g, answer_1);
    g_assert_null(window(g, true, 0x607000));
    enter(g);
    g_assert_cmphex(g->cpu->tlb->e[0][tlb_index(0x401000)].wtag, ==, 0x401000 | TLB_SLOW_WATCH);
    leave(g);
    dirty_take(ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits);
    g_assert_true(bits[0x401 / 64] >> (0x401 % 64) & 1);
    g_assert_true(bits[0x607 / 64] >> (0x607 % 64) & 1);
    enter(g);
    store(g, 0x500004, 2); /* and later stores */
    store(g, 0x500008, 2);
    leave(g);
    dirty_take(ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits);
    g_assert_true(bits[0x500 / 64] >> (0x500 % 64) & 1);
    dirty_enable(ram, DIRTY_MIGRATION, false);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/mmucache/flushes", test_flushes);
    g_test_add_func("/cpu/mmucache/kept", test_kept);
    g_test_add_func("/cpu/mmucache/generation", test_generation);
    g_test_add_func("/cpu/mmucache/generation-global", test_generation_global);
    g_test_add_func("/cpu/mmucache/windows", test_windows);
    g_test_add_func("/cpu/mmucache/windows-pages", test_windows_pages);
    g_test_add_func("/cpu/mmucache/windows-sites", test_windows_sites);
    g_test_add_func("/cpu/mmucache/dirty-log", test_dirty_log);
    return g_test_run();
}
