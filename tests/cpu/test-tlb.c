/* SPDX-License-Identifier: MIT
 * tests/cpu/test-tlb.c - what may be stale and what may not, SDM volume 3 4.10: random changes of page tables under
 * several PCIDs, mixed with INVLPG, INVPCID, loads of CR3 that keep or drop, and CR4.PGE. A model keeps for each
 * page the set of translations that some TLB or paging-structure cache could still hold; every read and every fetch
 * must be in it.
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"

enum { PCIDS = 3, REGIONS = 4, PAGES = 8, ALTS = 2, VALUES = 16, GLOBAL_REGION = 3,
       TABLES = 0x200000, DATA = 0x300000, P = 1, W = 2, U = 4, A = 0x20, G = 0x100 };

static const unsigned slots[PAGES] = { 0, 1, 2, 5, 64, 127, 300, 511 };

typedef struct Model {
    Guest *g;
    GRand *r;
    unsigned now;                          /* the current PCID's number, from 0 */
    uint8_t pte[PCIDS][REGIONS][ALTS][PAGES]; /* value behind the page; VALUES: not present */
    uint8_t pde[PCIDS][REGIONS];           /* which of the alternatives */
    uint8_t psc[PCIDS][REGIONS];           /* bit k: a cache may say that it is k */
    uint32_t may[PCIDS][REGIONS][PAGES];   /* bit v: a cache may say that it is v */
    unsigned hot_region, hot_page;         /* half of all that happens, happens there */
    unsigned stale_seen;
} Model;

/* The tables of the global region are one for all. */
static unsigned owner(unsigned c, unsigned region) { return region == GLOBAL_REGION ? 0 : c; }
static hwaddr pml4_of(unsigned c) { return TABLES + c * 0x10000; }
static hwaddr pt_of(unsigned c, unsigned region, unsigned k)
{
    return TABLES + owner(c, region) * 0x10000 + 0x3000 + (region * ALTS + k) * 0x1000;
}
static uint64_t lin_of(unsigned region, unsigned page) { return 1ull << 39 | region << 21 | slots[page] << 12; }

static void pick(Model *m, unsigned *region, unsigned *p)
{
    bool hot = g_rand_int(m->r) & 1;
    *region = hot ? m->hot_region : g_rand_int(m->r) % REGIONS;
    *p = hot ? m->hot_page : g_rand_int(m->r) % PAGES;
}

/* What a walk may find now, given what the paging-structure caches may hold. */
static uint32_t walk(const Model *m, unsigned c, unsigned region, unsigned page)
{
    uint32_t w = 0;
    for (unsigned k = 0; k < ALTS; k++) {
        if (m->psc[c][region] >> k & 1) {
            w |= 1u << m->pte[owner(c, region)][region][k][page];
        }
    }
    return w;
}

/* After every change: caches may have looked at any moment. */
static void accumulate(Model *m)
{
    for (unsigned c = 0; c < PCIDS; c++) {
        for (unsigned region = 0; region < REGIONS; region++) {
            m->psc[c][region] |= (uint8_t)(1u << m->pde[c][region]);
            for (unsigned p = 0; p < PAGES; p++) {
                m->may[owner(c, region)][region][p] |= walk(m, c, region, p);
            }
        }
    }
}

static void forget_psc(Model *m, unsigned c, unsigned region) { m->psc[c][region] = (uint8_t)(1u << m->pde[c][region]); }
static void forget_page(Model *m, unsigned c, unsigned region, unsigned p) { m->may[owner(c, region)][region][p] = 0; }

static void forget_pcid(Model *m, unsigned c, bool global)
{
    for (unsigned region = 0; region < REGIONS; region++) {
        forget_psc(m, c, region);
        for (unsigned p = 0; p < PAGES && (global || region != GLOBAL_REGION); p++) {
            forget_page(m, c, region, p);
        }
    }
}

static void write_pte(Model *m, unsigned c, unsigned region, unsigned k, unsigned p, unsigned v)
{
    uint64_t e = v == VALUES ? 0 : (DATA + v * 0x1000) | P | W | U | (region == GLOBAL_REGION ? G : 0);
    m->pte[owner(c, region)][region][k][p] = (uint8_t)v;
    guest_st(m->g, pt_of(c, region, k) + slots[p] * 8, 8, e);
}

static void write_pde(Model *m, unsigned c, unsigned region, unsigned k)
{
    m->pde[c][region] = (uint8_t)k;
    guest_st(m->g, pml4_of(c) + 0x2000 + region * 8, 8, pt_of(c, region, k) | P | W | U);
}

GUEST_CODE(c_read, 64, "mov (%rdi), %eax");
GUEST_CODE(c_invlpg, 64, "invlpg (%rdi)");
GUEST_CODE(c_cr3, 64, "mov %rax, %cr3");
GUEST_CODE(c_invpcid, 64, "push %rdi\n push %rbx\n invpcid (%rsp), %rax\n add $16, %rsp");
GUEST_CODE(c_pge, 64, "mov %cr4, %rax\n mov %rax, %rbx\n and $-129, %rbx\n mov %rbx, %cr4\n mov %rax, %cr4");
GUEST_CODE(c_jump, 64, "add $16, %rdi\n jmp *%rdi");
enum { C_READ, C_INVLPG, C_CR3, C_INVPCID, C_PGE, C_JUMP };

static void go(Model *m, unsigned code)
{
    m->g->cpu->gpr[R_RSP] = G_STACK0;
    m->g->cpu->rip = G_CODE + code * 0x40;
    guest_continue(m->g);
}

static void setup(Model *m)
{
    static const struct { const uint8_t *from, *end; } code[] = {
        { c_read, c_read_end }, { c_invlpg, c_invlpg_end }, { c_cr3, c_cr3_end }, { c_invpcid, c_invpcid_end },
        { c_pge, c_pge_end }, { c_jump, c_jump_end },
    };
    Guest *g = m->g;
    guest_long(g);
    for (unsigned i = 0; i < G_N_ELEMENTS(code); i++) {
        guest_put(g, G_CODE + i * 0x40, code[i].from, (size_t)(code[i].end - code[i].from));
    }
    for (unsigned v = 0; v < VALUES; v++) {
        guest_st(g, DATA + v * 0x1000, 4, 0x5000 + v);
        guest_st(g, DATA + v * 0x1000 + 16, 6, 0xf400000000b8 | (uint64_t)(0x5000 + v) << 8); /* MOV EAX, it; HLT */
    }
    for (unsigned c = 0; c < PCIDS; c++) {
        guest_st(g, pml4_of(c), 8, (G_PT + 0x1000) | P | W | U);
        guest_st(g, pml4_of(c) + 8, 8, (pml4_of(c) + 0x1000) | P | W | U);
        guest_st(g, pml4_of(c) + 0x1000, 8, (pml4_of(c) + 0x2000) | P | W | U);
        for (unsigned region = 0; region < REGIONS; region++) {
            write_pde(m, c, region, 0);
            for (unsigned k = 0; k < ALTS; k++) {
                for (unsigned p = 0; p < PAGES; p++) {
                    write_pte(m, c, region, k, p, g_rand_int(m->r) % (VALUES + 1));
                }
            }
        }
    }
    g->cpu->cr3 = pml4_of(0);
    g->cpu->cr4 |= CR4_PGE;
    g_assert_true(x86_set_cr4(g->cpu, g->cpu->cr4 | CR4_PCIDE));
    g_assert_true(x86_set_cr3(g->cpu, pml4_of(0) | 1));
    x86_tlb_flush(g->cpu, false);
    for (unsigned c = 0; c < PCIDS; c++) {
        forget_pcid(m, c, true);
    }
    accumulate(m);
}

static void read_one(Model *m, unsigned step)
{
    unsigned c = m->now, region, p;
    pick(m, &region, &p);
    bool fetch = g_rand_int(m->r) % 3 == 0;
    m->g->cpu->gpr[R_RDI] = lin_of(region, p);
    go(m, fetch ? C_JUMP : C_READ);
    unsigned got = (unsigned)m->g->cpu->gpr[R_RAX] - 0x5000;
    if (guest_vector(m->g) == EXC_PF) {
        g_assert_cmphex(guest_frame(m->g, 0), ==, fetch ? 0x10 : 0);
        g_assert_cmphex(m->g->cpu->cr2, ==, lin_of(region, p) + (fetch ? 16 : 0));
        got = VALUES;
    }
    uint32_t may = m->may[owner(c, region)][region][p], walked = walk(m, c, region, p);
    /* "Not present" is never cached: a fault needs a walk that finds it. */
    bool ok = got == VALUES ? walked >> VALUES & 1 : got < VALUES && may >> got & 1;
    if (!ok) {
        g_error("step %u: PCID %u region %u page %u reads %u; may be %x, a walk finds %x, the tables say %u", step, c,
                region, p, got, may, walked, m->pte[owner(c, region)][region][m->pde[c][region]][p]);
    }
    m->stale_seen += got != m->pte[owner(c, region)][region][m->pde[c][region]][p];
}

static void do_invpcid(Model *m)
{
    unsigned type = g_rand_int(m->r) % 4, c = g_rand_int(m->r) % PCIDS, region = g_rand_int(m->r) % REGIONS;
    unsigned p = g_rand_int(m->r) % PAGES;
    m->g->cpu->gpr[R_RAX] = type;
    m->g->cpu->gpr[R_RBX] = c + 1;
    m->g->cpu->gpr[R_RDI] = lin_of(region, p);
    go(m, C_INVPCID);
    if (type == 0 && region != GLOBAL_REGION) { /* global translations may stay */
        forget_psc(m, c, region);
        forget_page(m, c, region, p);
    } else if (type == 1) {
        forget_pcid(m, c, false);
    }
    for (unsigned i = 0; type >= 2 && i < PCIDS; i++) {
        forget_pcid(m, i, type == 2);
    }
}

static void one_step(Model *m, unsigned step)
{
    unsigned what = g_rand_int(m->r) % 100, c = g_rand_int(m->r) & 1 ? m->now : g_rand_int(m->r) % PCIDS, region, p;
    pick(m, &region, &p);
    if (step % 64 == 0) {
        m->hot_region = region;
        m->hot_page = p;
    }
    if (what < 60) {
        read_one(m, step);
        return;
    } else if (what < 80) {
        write_pte(m, c, region, g_rand_int(m->r) % ALTS, p, g_rand_int(m->r) % (VALUES + 1));
    } else if (what < 84) {
        write_pde(m, c, region, g_rand_int(m->r) % ALTS);
    } else if (what < 92) { /* INVLPG: the page, global or not, and all paging-structure caches of the PCID */
        m->g->cpu->gpr[R_RDI] = lin_of(region, p);
        go(m, C_INVLPG);
        for (unsigned i = 0; i < REGIONS; i++) {
            forget_psc(m, m->now, i);
        }
        forget_page(m, m->now, region, p);
    } else if (what < 96) {
        bool keep = g_rand_int(m->r) & 1;
        m->now = c;
        m->g->cpu->gpr[R_RAX] = pml4_of(c) | (c + 1) | (keep ? 1ull << 63 : 0);
        go(m, C_CR3);
        if (!keep) {
            forget_pcid(m, c, false);
        }
    } else if (what < 99) {
        do_invpcid(m);
    } else { /* a change of CR4.PGE drops everything */
        go(m, C_PGE);
        for (unsigned i = 0; i < PCIDS; i++) {
            forget_pcid(m, i, true);
        }
    }
    accumulate(m);
}

static void test_random(void)
{
    Model *m = g_new0(Model, 1);
    m->g = guest_new(NULL);
    for (unsigned seed = 1; seed <= 10; seed++) {
        m->r = g_rand_new_with_seed(seed);
        m->now = 0;
        memset(m->may, 0, sizeof(m->may));
        setup(m);
        for (unsigned step = 0; step < 5000; step++) {
            one_step(m, step);
        }
        g_rand_free(m->r);
    }
    g_test_message("50000 steps, %u reads saw an old translation, as they may", m->stale_seen);
    guest_free(m->g);
    g_free(m);
}

/* Accessed flags that software clears come back after INVLPG, at every level (4.8). */
static void test_accessed_again(void)
{
    Model *m = g_new0(Model, 1);
    m->g = guest_new(NULL);
    m->r = g_rand_new_with_seed(1);
    setup(m);
    const hwaddr at[] = { pml4_of(0) + 8, pml4_of(0) + 0x1000, pml4_of(0) + 0x2000, pt_of(0, 0, 0) };
    write_pte(m, 0, 0, 0, 0, 1);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++) {
            guest_st(m->g, at[i], 8, guest_ld(m->g, at[i], 8) & ~(uint64_t)A);
        }
        m->g->cpu->gpr[R_RDI] = lin_of(0, 0);
        go(m, C_INVLPG);
        go(m, C_READ);
        g_assert_cmphex(m->g->cpu->gpr[R_RAX], ==, 0x5001);
        for (unsigned i = 0; i < 4; i++) {
            g_assert_cmphex(guest_ld(m->g, at[i], 8) & A, ==, A);
        }
    }
    g_rand_free(m->r);
    guest_free(m->g);
    g_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/tlb/random", test_random);
    g_test_add_func("/cpu/tlb/accessed-again", test_accessed_again);
    return g_test_run();
}
