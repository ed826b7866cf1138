/* SPDX-License-Identifier: MIT
 * tests/cpu/test-paging.c - paging of every kind against SDM volume 3 chapter 4, worked out here a second time:
 * rights and error codes (4.6.1, 4.7), reserved bits (4.3-4.5), accessed and dirty flags (4.8), PDPTE registers
 * (4.4.1), what may be cached and what invalidates it (4.10).
 * Threads: main.
 */
#include "tests/cpu/sysguest.h"
#include "target/x86/sysint.h"
#include "rhea/util/log.h"

GUEST_CODE(read32, 32, "mov (%edi), %eax");
GUEST_CODE(read64, 64, "mov (%rdi), %rax");
GUEST_CODE(write32, 32, "mov %eax, (%edi)");
GUEST_CODE(write64, 64, "mov %rax, (%rdi)");
GUEST_CODE(jump32, 32, "jmp *%edi");
GUEST_CODE(jump64, 64, "jmp *%rdi");

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)
enum { PFP = 1, PFW = 2, PFU = 4, PFRSVD = 8, PFI = 16 };
enum { PAGE = 0x400000, TABLES = G_PT + 0x10000 }; /* the page under test; tables that lead to it alone */

typedef enum Kind { K32_4K, K32_4M, KPAE_4K, KPAE_2M, KLONG_4K, KLONG_2M, KLONG_1G, K_COUNT } Kind;

/* The way to the page under test. e[n - 1] is the leaf. */
typedef struct Path {
    Kind kind;
    uint64_t lin;
    unsigned n, width;
    hwaddr at[4];
    uint64_t e[4]; /* P, W, U all set */
} Path;

static void path_add(Path *p, hwaddr at, uint64_t entry)
{
    p->at[p->n] = at;
    p->e[p->n++] = entry | P | W | U;
}

static void path_write(Guest *g, const Path *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        guest_st(g, p->at[i], p->width, p->e[i]);
    }
}

/* A leaf below a PDE at `pde`: a large page or a table of its own. */
static void path_low(Path *p, hwaddr pde, bool large)
{
    if (large) {
        path_add(p, pde, PAGE | PS);
    } else {
        path_add(p, pde, TABLES);
        path_add(p, TABLES, PAGE);
    }
}

/* Supervisor identity map of the first 2 MiB; code, tables and handlers live there. */
static void map_low(Guest *g, hwaddr pt, unsigned width)
{
    for (unsigned i = 0; i < 512; i++) {
        guest_st(g, pt + i * width, width, (uint64_t)i << 12 | P | W);
    }
}

static void paged(Guest *g, uint64_t cr4)
{
    g->cpu->cr4 = (g->cpu->cr4 & ~(uint64_t)(CR4_PAE | CR4_PSE)) | cr4;
    g->cpu->cr3 = G_PT;
    g->cpu->cr0 |= CR0_PG;
    if ((cr4 & CR4_PAE) && !(g->cpu->efer & EFER_LMA)) {
        g_assert_true(x86_load_pdptes(g->cpu, G_PT));
    }
    x86_tlb_flush(g->cpu, false);
    x86_update_mode(g->cpu);
}

static hwaddr low_pte(const Path *p, uint64_t lin)
{
    return G_PT + (p->kind >= KLONG_4K ? 0x3000 : p->kind >= KPAE_4K ? 0x2000 : 0x1000) + (lin >> 12) * p->width;
}

static Path setup(Guest *g, Kind kind)
{
    Path p = { .kind = kind, .lin = PAGE + 0x10, .width = kind <= K32_4M ? 4 : 8 };
    if (kind >= KLONG_4K) {
        guest_long(g);
        g->cpu->cr4 |= CR4_PAE;
        guest_st(g, G_PT + 0x2000, 8, (G_PT + 0x3000) | P | W | U);
        map_low(g, G_PT + 0x3000, 8);
        p.lin = 1ull << 39 | (kind == KLONG_1G ? PAGE : 0) | 0x10;
        path_add(&p, G_PT + 8, TABLES + 0x1000);
        if (kind == KLONG_1G) {
            path_add(&p, TABLES + 0x1000, PS);
        } else {
            path_add(&p, TABLES + 0x1000, TABLES + 0x2000);
            path_low(&p, TABLES + 0x2000, kind == KLONG_2M);
        }
        path_write(g, &p);
        paged(g, CR4_PAE);
        return p;
    }
    guest_pm32(g);
    if (kind >= KPAE_4K) {
        for (unsigned i = 0; i < 4; i++) {
            guest_st(g, G_PT + i * 8, 8, (G_PT + 0x1000) | P);
        }
        guest_st(g, G_PT + 0x1000, 8, (G_PT + 0x2000) | P | W | U);
        map_low(g, G_PT + 0x2000, 8);
        path_low(&p, G_PT + 0x1000 + 2 * 8, kind == KPAE_2M);
        g->cpu->efer |= EFER_NXE;
        path_write(g, &p);
        paged(g, CR4_PAE);
        return p;
    }
    guest_st(g, G_PT, 4, (G_PT + 0x1000) | P | W | U);
    map_low(g, G_PT + 0x1000, 4);
    path_low(&p, G_PT + 4, kind == K32_4M);
    path_write(g, &p);
    paged(g, CR4_PSE);
    return p;
}

static void to_user(Guest *g, const Path *p)
{
    guest_st(g, low_pte(p, G_CODE), p->width, G_CODE | P | W | U);
    guest_user(g);
}

static void to_kernel(Guest *g, const Path *p)
{
    bool lng = p->kind >= KLONG_4K;
    guest_st(g, low_pte(p, G_CODE), p->width, G_CODE | P | W);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        g->cpu->seg[i] = (X86Seg){ .sel = S_DATA0, .limit = 0xffffffff, .attr = 0xc093 };
    }
    g->cpu->seg[SEG_CS].sel = lng ? S_CODE64 : S_CODE0;
    g->cpu->seg[SEG_CS].attr = lng ? 0xa09b : 0xc09b;
    g->cpu->cpl = 0;
    g->cpu->gpr[R_RSP] = G_STACK0;
    x86_update_mode(g->cpu);
}

/* One access at p->lin. -1: it went through; else the error code of its #PF. */
static int access_at(Guest *g, const Path *p, X86Access acc, uint64_t lin)
{
    static const struct { const uint8_t *from, *to; } code[2][3] = {
        { { read32, read32_end }, { write32, write32_end }, { jump32, jump32_end } },
        { { read64, read64_end }, { write64, write64_end }, { jump64, jump64_end } },
    };
    const bool lng = p->kind >= KLONG_4K;
    const uint8_t *from = code[lng][acc].from;
    size_t n = (size_t)(code[lng][acc].to - from);
    g->cpu->gpr[R_RDI] = lin;
    g->cpu->cr2 = 0;
    bool user = g->cpu->cpl == 3;
    guest_run_code(g, from, n);
    g_assert_false(g->shut_down);
    if (guest_vector(g) == EXC_PF) {
        g_assert_cmphex(g->cpu->cr2, ==, lin);
        g_assert_cmphex(guest_frame(g, 1), ==, acc == ACC_EXEC ? lin : G_CODE);
        return (int)guest_frame(g, 0);
    }
    uint64_t end = acc == ACC_EXEC ? lin : G_CODE + n - 1; /* of the HLT */
    if (user) {
        g_assert_fault(g, EXC_GP, 0);
        g_assert_cmphex(guest_frame(g, 1), ==, end);
    } else {
        g_assert_cmphex(g->cpu->rip, ==, end + 1);
    }
    return -1;
}

/* --- rights --- */

typedef struct Rights {
    unsigned leaf_w, leaf_u, leaf_nx, up_w, up_u; /* 0, 1 */
    bool user, wp, smep, smap, ac;
    X86Access acc;
} Rights;

/* SDM 4.6.1 and 4.7 once more. */
static int expected(const Path *p, const Rights *r)
{
    bool two = p->n > 1, w = r->leaf_w && (!two || r->up_w), u = r->leaf_u && (!two || r->up_u);
    bool nx = r->leaf_nx && p->width == 8, bad;
    if (r->user) {
        bad = !u || (r->acc == ACC_WRITE && !w) || (r->acc == ACC_EXEC && nx);
    } else if (r->acc == ACC_EXEC) {
        bad = nx || (u && r->smep);
    } else {
        bad = (u && r->smap && !r->ac) || (r->acc == ACC_WRITE && !w && r->wp);
    }
    int err = PFP | (r->acc == ACC_WRITE ? PFW : 0) | (r->user ? PFU : 0);
    err |= r->acc == ACC_EXEC && (p->width == 8 || r->smep) ? PFI : 0;
    return bad ? err : -1;
}

static void one_right(Guest *g, Path *p, const Rights *r)
{
    uint64_t e[4];
    for (unsigned i = 0; i < p->n; i++) {
        bool leaf = i == p->n - 1;
        e[i] = p->e[i] & ~(uint64_t)(i == 0 || leaf ? W | U : 0);
        if (leaf) {
            e[i] |= (r->leaf_w ? W : 0) | (r->leaf_u ? U : 0) | (r->leaf_nx && p->width == 8 ? NX : 0);
        } else if (i == 0) {
            e[i] |= (r->up_w ? W : 0) | (r->up_u ? U : 0);
        }
        guest_st(g, p->at[i], p->width, e[i]);
    }
    guest_st(g, PAGE + 0x10, 4, 0xf4);
    uint64_t keep = ~(uint64_t)(CR4_SMEP | CR4_SMAP);
    g->cpu->cr0 = (g->cpu->cr0 & ~(uint64_t)CR0_WP) | (r->wp ? CR0_WP : 0);
    g->cpu->cr4 = (g->cpu->cr4 & keep) | (r->smep ? CR4_SMEP : 0) | (r->smap ? CR4_SMAP : 0);
    (r->user ? to_user : to_kernel)(g, p);
    x86_set_eflags(g->cpu, r->ac ? FL_AC : 0, FL_AC | FL_RF);
    x86_update_mode(g->cpu);
    x86_tlb_flush(g->cpu, false);
    int want = expected(p, r), got = access_at(g, p, r->acc, p->lin);
    if (want != got) {
        g_error("kind %d acc %d leaf w%u u%u nx%u up w%u u%u user %d wp %d smep %d smap %d ac %d: %x, not %x", p->kind,
                r->acc, r->leaf_w, r->leaf_u, r->leaf_nx, r->up_w, r->up_u, r->user, r->wp, r->smep, r->smap, r->ac,
                got, want);
    }
    for (unsigned i = 0; i < p->n; i++) { /* 4.8 */
        uint64_t now = guest_ld(g, p->at[i], p->width);
        bool leaf = i == p->n - 1;
        if (want < 0) {
            g_assert_cmphex(now, ==, e[i] | A | (leaf && r->acc == ACC_WRITE ? D : 0));
        } else {
            g_assert_cmphex(now & ~(uint64_t)A, ==, e[i]); /* the SDM leaves A open; never D */
        }
    }
}

static void test_rights(void)
{
    Guest *g = guest_new(NULL);
    unsigned n = 0;
    for (Kind k = 0; k < K_COUNT; k++) {
        Path p = setup(g, k);
        for (unsigned bits = 0; bits < 1 << 10; bits++) {
            Rights r = { .leaf_w = bits & 1, .leaf_u = bits >> 1 & 1, .leaf_nx = bits >> 2 & 1, .up_w = bits >> 3 & 1,
                         .up_u = bits >> 4 & 1, .user = bits >> 5 & 1, .wp = bits >> 6 & 1, .smep = bits >> 7 & 1,
                         .smap = bits >> 8 & 1, .ac = bits >> 9 & 1 };
            if ((p.n == 1 && (r.up_w || r.up_u)) || (p.width == 4 && r.leaf_nx) || (r.ac && !r.smap)) {
                continue;
            }
            for (r.acc = ACC_READ; r.acc <= ACC_EXEC; r.acc++, n++) {
                one_right(g, &p, &r);
            }
        }
    }
    g_test_message("%u accesses", n);
    guest_free(g);
}

/* NX of an upper level counts like the leaf's (4.6.1). */
static void test_upper_nx(void)
{
    Guest *g = guest_new(NULL);
    for (Kind k = KPAE_4K; k < K_COUNT; k++) {
        Path p = setup(g, k);
        for (unsigned i = 0; i < p.n; i++) {
            path_write(g, &p);
            guest_st(g, p.at[i], 8, p.e[i] | NX);
            x86_tlb_flush(g->cpu, false);
            to_kernel(g, &p);
            g_assert_cmpint(access_at(g, &p, ACC_EXEC, p.lin), ==, PFP | PFI);
            to_kernel(g, &p);
            g_assert_cmpint(access_at(g, &p, ACC_READ, p.lin), ==, -1);
        }
    }
    guest_free(g);
}

/* --- not present, reserved bits --- */

static uint64_t reserved_bits(const X86Cpu *cpu, const Path *p, unsigned level)
{
    bool leaf = level == p->n - 1;
    uint64_t high = ((1ull << 52) - 1) & ~((1ull << cpu->phys_bits) - 1), nx = cpu->efer & EFER_NXE ? 0 : NX;
    switch (p->kind) { /* figures 4-4, 4-7, 4-11 */
    case K32_4K: return 0;
    case K32_4M: return cpu->phys_bits >= 40 ? 1u << 21 : 0x3fe000u & ~((1u << (cpu->phys_bits - 32 + 13)) - 1);
    case KPAE_4K: return high | nx | 0x7ffull << 52;
    case KPAE_2M: return high | nx | 0x7ffull << 52 | 0x1fe000;
    case KLONG_4K: return high | nx | (level == 0 ? PS : 0);
    case KLONG_2M: return high | nx | (level == 0 ? PS : leaf ? 0x1fe000 : 0);
    default: return high | nx | (level == 0 ? PS : 0x3fffe000);
    }
}

static void check_entries(Guest *g, Path *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        uint64_t rsvd = reserved_bits(g->cpu, p, i);
        for (int bit = -1; bit < (int)p->width * 8; bit++) {
            if (bit >= 0 && !(rsvd >> bit & 1)) {
                continue;
            }
            for (unsigned user = 0; user < 2; user++) {
                path_write(g, p);
                /* Not present: the other bits do not matter, reserved or not. */
                guest_st(g, p->at[i], p->width, bit < 0 ? (p->e[i] & ~(uint64_t)P) | rsvd : p->e[i] | 1ull << bit);
                x86_tlb_flush(g->cpu, false);
                (user ? to_user : to_kernel)(g, p);
                int got = access_at(g, p, ACC_WRITE, p->lin);
                g_assert_cmpint(got, ==, PFW | (user ? PFU : 0) | (bit < 0 ? 0 : PFP | PFRSVD));
                g_assert_cmphex(guest_ld(g, p->at[p->n - 1], p->width) & D, ==, 0);
            }
        }
    }
}

static void test_reserved(const void *model)
{
    Guest *g = guest_new(model);
    for (Kind k = 0; k < K_COUNT; k++) {
        Path p = setup(g, k);
        check_entries(g, &p);
        if (p.width == 8) { /* NXE off: bit 63 joins them */
            g->cpu->efer &= ~(uint64_t)EFER_NXE;
            check_entries(g, &p);
        }
    }
    guest_free(g);
}

/* PSE-36: bits 20..13 of a 4 MiB entry are address bits 39..32 (4.3, table 4-4). */
static void test_pse36(void)
{
    Guest *g = guest_new("max,phys-bits=40");
    Path p = setup(g, K32_4M);
    hwaddr phys;
    guest_st(g, PAGE + 0x10, 4, 0x12345678);
    for (unsigned bit = 13; bit <= 20; bit++) {
        guest_st(g, p.at[0], 4, p.e[0] | 1u << bit);
        x86_tlb_flush(g->cpu, false);
        g_assert_true(x86_translate_debug(g->cpu, p.lin, &phys));
        g_assert_cmphex(phys, ==, (1ull << (bit - 13 + 32)) + PAGE + 0x10);
        to_kernel(g, &p);
        g->cpu->gpr[R_RAX] = 0;
        g_assert_cmpint(access_at(g, &p, ACC_WRITE, p.lin), ==, -1);
        g_assert_cmphex(guest_ld(g, PAGE + 0x10, 4), ==, 0x12345678); /* not the RAM 4 GiB below */
    }
    /* Without CR4.PSE, bit 7 is ignored and the entry names a table. */
    g->cpu->cr4 &= ~(uint64_t)CR4_PSE;
    guest_st(g, p.at[0], 4, TABLES | P | W | U | PS);
    guest_st(g, TABLES, 4, (PAGE + 0x1000) | P | W);
    guest_st(g, PAGE + 0x1010, 4, 0xabcd);
    x86_tlb_flush(g->cpu, false);
    to_kernel(g, &p);
    g_assert_cmpint(access_at(g, &p, ACC_READ, p.lin), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0xabcd);
    guest_free(g);
}

/* --- PDPTE registers --- */

GUEST_CODE(set_cr0, 32, "mov %cr0, %ebx\n or $0x80000000, %ebx\n mov %ebx, %cr0\n mov $1, %edx");
GUEST_CODE(set_cr3, 32, "mov %eax, %cr3\n mov $1, %edx");
GUEST_CODE(set_cr4, 32, "mov %eax, %cr4\n mov $1, %edx");

static void test_pdpte(void)
{
    Guest *g = guest_new(NULL);
    uint64_t rsvd = 0x1e6 | (~0ull << g->cpu->phys_bits);
    enum { BAD = G_PT + 0x100 };
    for (unsigned bit = 0; bit < 64; bit++) {
        for (unsigned i = 0; i < 4; i++) {
            bool present = bit != 0, gp = present && (rsvd >> bit & 1);
            Path p = setup(g, KPAE_4K);
            for (unsigned k = 0; k < 4; k++) {
                guest_st(g, BAD + k * 8, 8, (G_PT + 0x1000) | P);
            }
            if (i == 0 && !present) {
                continue;
            }
            /* Not present: every other bit may be set. */
            guest_st(g, BAD + i * 8, 8, present ? (G_PT + 0x1000) | P | 1ull << bit : ~1ull);
            if (!gp && bit >= 12 && i == 0) {
                continue; /* another table: this guest would not survive it */
            }
            X86Cpu *cpu = g->cpu;
            cpu->gpr[R_RDX] = 0;
            cpu->gpr[R_RAX] = BAD;
            uint64_t cr3 = cpu->cr3, was[4];
            memcpy(was, cpu->pdpte, sizeof(was));
            to_kernel(g, &p);
            guest_run(g, set_cr3);
            if (gp) {
                g_assert_fault(g, EXC_GP, 0);
                g_assert_cmphex(guest_frame(g, 1), ==, G_CODE);
                g_assert_cmphex(cpu->cr3, ==, cr3);
                g_assert_cmpmem(cpu->pdpte, 32, was, 32);
            } else {
                g_assert_cmphex(cpu->gpr[R_RDX], ==, 1);
                g_assert_cmphex(cpu->cr3, ==, BAD);
            }
            /* The same by turning paging on. */
            guest_pm32(g);
            cpu->cr0 &= ~(uint64_t)CR0_PG;
            cpu->cr4 = CR4_PAE;
            cpu->cr3 = BAD;
            cpu->gpr[R_RDX] = 0;
            x86_update_mode(cpu);
            guest_run(g, set_cr0);
            g_assert_cmphex(cpu->gpr[R_RDX], ==, gp ? 0 : 1);
            g_assert_cmphex(cpu->cr0 & CR0_PG, ==, gp ? 0 : CR0_PG);
            if (gp) {
                g_assert_fault(g, EXC_GP, 0);
            }
        }
    }
    guest_free(g);
}

/* 4.4.1: loaded by MOV to CR3, and to CR4 when PGE, PSE or SMEP change, and then kept. */
static void test_pdpte_latched(void)
{
    Guest *g = guest_new(NULL);
    Path p = setup(g, KPAE_4K);
    X86Cpu *cpu = g->cpu;
    const uint64_t lin = 1ull << 30 | PAGE | 0x10;
    guest_st(g, PAGE + 0x10, 4, 0x77);
    guest_st(g, G_PT + 8, 8, 0); /* the register still has the old one */
    x86_tlb_flush(cpu, false);
    to_kernel(g, &p);
    g_assert_cmpint(access_at(g, &p, ACC_READ, lin), ==, -1);
    g_assert_cmphex(cpu->gpr[R_RAX], ==, 0x77);
    cpu->gpr[R_RAX] = G_PT;
    guest_run(g, set_cr3);
    g_assert_cmpint(access_at(g, &p, ACC_READ, lin), ==, 0);

    const struct { uint32_t bit; bool loads; } cases[] = {
        { CR4_PGE, true }, { CR4_PSE, true }, { CR4_SMEP, true }, { CR4_TSD, false }, { CR4_DE, false },
        { CR4_UMIP, false }, { CR4_OSFXSR, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        p = setup(g, KPAE_4K);
        to_kernel(g, &p);
        guest_st(g, G_PT + 16, 8, (G_PT + 0x1000) | P | 2); /* reserved */
        uint64_t cr4 = cpu->cr4;
        cpu->gpr[R_RAX] = cr4 ^ cases[i].bit;
        cpu->gpr[R_RDX] = 0;
        guest_run(g, set_cr4);
        if (cases[i].loads) {
            g_assert_fault(g, EXC_GP, 0);
            g_assert_cmphex(cpu->cr4, ==, cr4);
        } else {
            g_assert_cmphex(cpu->gpr[R_RDX], ==, 1);
            g_assert_cmphex(cpu->cr4, ==, cr4 ^ cases[i].bit);
            cpu->cr4 = cr4;
        }
    }
    guest_free(g);
}

/* --- caching --- */

static uint64_t value_at(Guest *g, const Path *p, uint64_t lin)
{
    to_kernel(g, p);
    g_assert_cmpint(access_at(g, p, ACC_READ, lin), ==, -1);
    return g->cpu->gpr[R_RAX] & 0xffff;
}

/* 4.10.4.1: INVLPG of any address of a large page ends all that was cached of it; global pages too. */
static void test_invlpg(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(invlpg32, 32, "invlpg (%edi)");
    GUEST_CODE(invlpg64, 64, "invlpg (%rdi)");
    for (Kind k = 0; k < K_COUNT; k++) {
        for (unsigned global = 0; global < 2; global++) {
            Path p = setup(g, k);
            bool small = k == K32_4K || k == KPAE_4K || k == KLONG_4K;
            uint64_t other = p.lin + (small ? 0x100 : 0x1f000);
            g->cpu->cr4 |= global ? CR4_PGE : 0;
            guest_st(g, PAGE + 0x10, 4, 0x1111);
            guest_st(g, PAGE + 0x10 + (other - p.lin), 4, 0x2222);
            uint64_t leaf = p.e[p.n - 1] | (global ? G : 0);
            guest_st(g, p.at[p.n - 1], p.width, leaf);
            g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
            g_assert_cmphex(value_at(g, &p, other), ==, 0x2222);
            guest_st(g, p.at[p.n - 1], p.width, 0);
            g->cpu->gpr[R_RDI] = other;
            if (k >= KLONG_4K) {
                guest_run(g, invlpg64);
            } else {
                guest_run(g, invlpg32);
            }
            g_assert_cmpint(access_at(g, &p, ACC_READ, p.lin), ==, 0);
            to_kernel(g, &p);
            g_assert_cmpint(access_at(g, &p, ACC_READ, other), ==, 0);
            /* Back to present: nothing negative was cached (4.10.2.3). */
            guest_st(g, p.at[p.n - 1], p.width, leaf);
            g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
        }
    }
    guest_free(g);
}

GUEST_CODE(cr3_64, 64, "mov %rax, %cr3\n mov %cr3, %rbx");
GUEST_CODE(cr4_64, 64, "mov %rax, %cr4");
GUEST_CODE(invpcid, 64, "push %rcx\n push %rbx\n invpcid (%rsp), %rax");

static void load_cr3(Guest *g, const Path *p, uint64_t v)
{
    to_kernel(g, p);
    g->cpu->gpr[R_RAX] = v;
    guest_run(g, cr3_64);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, v & ~(1ull << 63));
}

/* 4.10.1, 4.10.4.1: translations belong to a PCID; CR3's bit 63 keeps them, never lets another's be used. */
static void test_pcid(void)
{
    Guest *g = guest_new(NULL);
    Path p = setup(g, KLONG_4K);
    hwaddr pte = p.at[p.n - 1];
    const uint64_t keep = 1ull << 63;
    guest_st(g, PAGE + 0x10, 4, 0x1111);
    guest_st(g, PAGE + 0x1010, 4, 0x2222);
    g->cpu->gpr[R_RAX] = g->cpu->cr4 | CR4_PCIDE;
    to_kernel(g, &p);
    guest_run(g, cr4_64);
    g_assert_true(g->cpu->cr4 & CR4_PCIDE);
    load_cr3(g, &p, G_PT | 1);
    g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
    guest_st(g, pte, 8, (PAGE + 0x1000) | P | W);
    load_cr3(g, &p, G_PT | 2 | keep);
    g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x2222); /* nothing is cached for PCID 2 */
    load_cr3(g, &p, G_PT | 1 | keep);
    uint64_t v = value_at(g, &p, p.lin);
    g_assert_true(v == 0x1111 || v == 0x2222); /* may be old */
    load_cr3(g, &p, G_PT | 1);
    g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x2222);

    /* INVPCID: types 0..3 each end the current PCID's translation of the address. */
    for (uint64_t type = 0; type < 4; type++) {
        guest_st(g, pte, 8, PAGE | P | W | (type == 2 ? G : 0));
        g->cpu->cr4 |= type == 2 ? CR4_PGE : 0;
        x86_tlb_flush(g->cpu, false);
        g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
        guest_st(g, pte, 8, (PAGE + 0x1000) | P | W);
        g->cpu->gpr[R_RAX] = type;
        g->cpu->gpr[R_RBX] = 1;
        g->cpu->gpr[R_RCX] = p.lin;
        guest_run(g, invpcid);
        g_assert_cmpint(guest_vector(g), ==, -1);
        g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x2222);
    }
    /* Of another PCID, then going there with bit 63: gone as well. */
    load_cr3(g, &p, G_PT | 3);
    guest_st(g, pte, 8, PAGE | P | W);
    x86_tlb_flush(g->cpu, false);
    g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
    load_cr3(g, &p, G_PT | 1 | keep);
    guest_st(g, pte, 8, (PAGE + 0x1000) | P | W);
    g->cpu->gpr[R_RAX] = 1;
    g->cpu->gpr[R_RBX] = 3;
    guest_run(g, invpcid);
    load_cr3(g, &p, G_PT | 3 | keep);
    g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x2222);

    /* #GP: PCIDE with a PCID in CR3; bit 63 without PCIDE; PG cleared while PCIDE (2.5). */
    p = setup(g, KLONG_4K);
    to_kernel(g, &p);
    g->cpu->cr3 = G_PT | 8;
    g->cpu->gpr[R_RAX] = g->cpu->cr4 | CR4_PCIDE;
    guest_run(g, cr4_64);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_false(g->cpu->cr4 & CR4_PCIDE);
    to_kernel(g, &p);
    g->cpu->gpr[R_RAX] = G_PT | keep;
    guest_run(g, cr3_64);
    g_assert_fault(g, EXC_GP, 0);
    g_assert_cmphex(g->cpu->cr3, ==, G_PT | 8);
    guest_free(g);
}

/* 4.10.4.1: a load of CR3 ends what is not global; clearing CR4.PGE ends that too. */
static void test_global(void)
{
    Guest *g = guest_new(NULL);
    for (Kind k = 0; k < K_COUNT; k++) {
        for (unsigned pge = 0; pge < 2; pge++) {
            Path p = setup(g, k);
            hwaddr at = p.at[p.n - 1];
            g->cpu->cr4 |= pge ? CR4_PGE : 0;
            guest_st(g, at, p.width, p.e[p.n - 1] | (pge ? 0 : G)); /* G without PGE means nothing */
            guest_st(g, PAGE + 0x10, 4, 0x1111);
            g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
            guest_st(g, at, p.width, 0);
            g_assert_true(x86_set_cr3(g->cpu, g->cpu->cr3));
            g_assert_cmpint(access_at(g, &p, ACC_READ, p.lin), ==, 0);
            if (pge) {
                guest_st(g, at, p.width, p.e[p.n - 1] | G);
                g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111);
                guest_st(g, at, p.width, 0);
                g_assert_true(x86_set_cr3(g->cpu, g->cpu->cr3));
                g_assert_cmphex(value_at(g, &p, p.lin), ==, 0x1111); /* kept: this engine does use G */
                g_assert_true(x86_set_cr4(g->cpu, g->cpu->cr4 & ~(uint64_t)CR4_PGE));
                g_assert_cmpint(access_at(g, &p, ACC_READ, p.lin), ==, 0);
            }
        }
    }
    guest_free(g);
}

/* A read fills the TLB; the write after it must still set D, and a D cleared in memory comes back after INVLPG. */
static void test_dirty_later(void)
{
    Guest *g = guest_new(NULL);
    for (Kind k = 0; k < K_COUNT; k++) {
        Path p = setup(g, k);
        hwaddr at = p.at[p.n - 1];
        (void)value_at(g, &p, p.lin);
        g_assert_cmphex(guest_ld(g, at, p.width) & (A | D), ==, A);
        to_kernel(g, &p);
        g_assert_cmpint(access_at(g, &p, ACC_WRITE, p.lin), ==, -1);
        g_assert_cmphex(guest_ld(g, at, p.width) & (A | D), ==, A | D);
        guest_st(g, at, p.width, p.e[p.n - 1]);
        x86_tlb_flush_page(g->cpu, p.lin);
        to_kernel(g, &p);
        g_assert_cmpint(access_at(g, &p, ACC_WRITE, p.lin), ==, -1);
        g_assert_cmphex(guest_ld(g, at, p.width) & (A | D), ==, A | D);
    }
    guest_free(g);
}

/* CR0.WP, CR4.SMAP and EFLAGS.AC count from the next access on, whatever is cached. */
static void test_switches(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(wp, 32, "mov %eax, (%edi)\n mov %cr0, %ebx\n or $0x10000, %ebx\n mov %ebx, %cr0\n mov %eax, (%edi)");
    Path p = setup(g, K32_4K);
    to_kernel(g, &p);
    g->cpu->cr0 &= ~(uint64_t)CR0_WP;
    x86_tlb_flush(g->cpu, false);
    guest_st(g, p.at[1], 4, PAGE | P);
    g->cpu->gpr[R_RDI] = p.lin;
    guest_run(g, wp);
    g_assert_fault(g, EXC_PF, PFP | PFW);
    g_assert_cmphex(guest_frame(g, 1), ==, G_CODE + (wp_end - wp) - 3);

    GUEST_CODE(ac, 32, "stac\n mov (%edi), %eax\n mov $1, %edx\n clac\n pushf\n orl $0x40000, (%esp)\n popf\n"
                       "mov (%edi), %eax\n mov $2, %edx\n clac\n mov (%edi), %eax\n mov $3, %edx");
    p = setup(g, K32_4K);
    to_kernel(g, &p);
    g->cpu->cr4 |= CR4_SMAP;
    g->cpu->gpr[R_RDI] = p.lin;
    x86_update_mode(g->cpu);
    guest_run(g, ac);
    g_assert_fault(g, EXC_PF, PFP);
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 2);
    guest_free(g);
}

/* 4.6: reading a descriptor is an implicit supervisor access: SMAP forbids user pages whatever AC says, and the
 * error code's U is clear at CPL 3 too. */
static void test_implicit(void)
{
    Guest *g = guest_new(NULL);
    GUEST_CODE(load_es, 32, "mov %ax, %es\n mov $1, %edx");
    for (unsigned user = 0; user < 2; user++) {
        for (unsigned ac = 0; ac < 2; ac++) {
            for (unsigned smap = 0; smap < 2; smap++) {
                Path p = setup(g, K32_4K);
                (user ? to_user : to_kernel)(g, &p);
                /* The table under test is an LDT on the user page, with the flat data segment as entry 1. */
                g->cpu->ldt = (X86Seg){ .base = PAGE, .limit = 0xfff, .attr = 0x82, .sel = S_FREE };
                guest_st(g, PAGE + 8, 8, guest_ld(g, G_GDT + (user ? S_DATA3 & ~7 : S_DATA0), 8));
                g->cpu->cr4 = (g->cpu->cr4 & ~(uint64_t)CR4_SMAP) | (smap ? CR4_SMAP : 0);
                x86_set_eflags(g->cpu, ac ? FL_AC : 0, FL_AC);
                x86_update_mode(g->cpu);
                x86_tlb_flush(g->cpu, false);
                g->cpu->gpr[R_RAX] = 0xc | (user ? 3 : 0);
                g->cpu->gpr[R_RDX] = 0;
                guest_run(g, load_es);
                if (smap) {
                    g_assert_fault(g, EXC_PF, PFP);
                    g_assert_cmphex(g->cpu->cr2, ==, PAGE + 8);
                } else {
                    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 1);
                }
            }
        }
    }
    /* And a table on a supervisor page is readable from CPL 3. */
    Path p = setup(g, K32_4K);
    to_user(g, &p);
    g->cpu->gpr[R_RAX] = S_DATA3;
    g->cpu->gpr[R_RDX] = 0;
    guest_run(g, load_es);
    g_assert_fault(g, EXC_GP, 0); /* the HLT */
    g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 1);
    guest_free(g);
}

/* -d mmu: faulting walks, and each flush with what it kept. */
static void test_log(void)
{
    g_autofree char *file = NULL, *text = NULL;
    int fd = g_file_open_tmp("rhea-mmu-XXXXXX", &file, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    Guest *g = guest_new(NULL);
    Path p = setup(g, KLONG_4K);
    guest_st(g, p.at[p.n - 1], 8, 0);
    g->cpu->cr4 |= CR4_PGE;
    GUEST_CODE(flushes, 64, "mov %cr3, %rax\n mov %rax, %cr3\n invlpg 0x12345678\n mov %cr4, %rax\n"
                            "and $-129, %rax\n mov %rax, %cr4\n mov (%rdi), %rax");
    g->cpu->gpr[R_RDI] = p.lin;
    g_assert_true(log_set_file(file, &error_abort_slot));
    g_assert_true(log_set_items("mmu", &error_abort_slot));
    to_kernel(g, &p);
    guest_run(g, flushes);
    log_set_items("none", &error_abort_slot);
    log_set_file(NULL, &error_abort_slot);
    g_assert_fault(g, EXC_PF, 0);
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_test_message("%s", text);
    const char *at = text;
    const char *const want[] = { "rip 0x10006: flush of all but global pages, cr3 0x100000\n",
                                 "flush of the page at 0x12345678\n", ": flush of everything, cr3 0x100000\n",
                                 "last page walk: linear 0x8000000010, #PF error code 0x0 (not present, read, supervisor)",
                                 "PML4E at 0x000100008", "PDPTE at 0x000111000", "PDE   at 0x000112000",
                                 "PTE   at 0x000110000: 0x0000000000000000 -----" };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        at = strstr(at, want[i]);
        if (!at) {
            g_error("not in the log, or out of order: %s", want[i]);
        }
    }
    unlink(file);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/paging/rights", test_rights);
    g_test_add_func("/cpu/paging/upper-nx", test_upper_nx);
    g_test_add_data_func("/cpu/paging/reserved-40", "max,phys-bits=40", test_reserved);
    g_test_add_data_func("/cpu/paging/reserved-36", "max,phys-bits=36", test_reserved);
    g_test_add_func("/cpu/paging/pse36", test_pse36);
    g_test_add_func("/cpu/paging/pdpte", test_pdpte);
    g_test_add_func("/cpu/paging/pdpte-latched", test_pdpte_latched);
    g_test_add_func("/cpu/paging/invlpg", test_invlpg);
    g_test_add_func("/cpu/paging/pcid", test_pcid);
    g_test_add_func("/cpu/paging/global", test_global);
    g_test_add_func("/cpu/paging/dirty-later", test_dirty_later);
    g_test_add_func("/cpu/paging/switches", test_switches);
    g_test_add_func("/cpu/paging/implicit", test_implicit);
    g_test_add_func("/cpu/paging/log", test_log);
    return g_test_run();
}
