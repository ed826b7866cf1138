/* SPDX-License-Identifier: MIT
 * tests/cpu/test-stores.c - stores of every kind onto the instruction behind them, in both tiers: read-modify-write, locked, vectors,
 * x87, string instructions; at the address the code runs at and at another one of the same memory; in one page and across two.
 * Models: SDM vol. 3 8.1.3 and 11.6: P6 and later processors run the new instruction at once.
 * Threads: main.
 *
 * A program stores to (or changes) the immediate of the MOV that follows, and compares what that MOV loaded with what lies in memory
 * then. RDI counts how often it was another value than the last one, -1: it was not what lies in memory. Operands: EDX and ECX
 * change each time, EAX is the last value. RBP: where the program is, or another linear address of the same memory.
 */
#include "tests/cpu/sysguest.h"

#define BEGIN "1: mov $40, %ebx\n mov $0x1234567, %ecx\n mov $0x89abcdef, %edx\n xor %edi, %edi\n xor %eax, %eax\n xor %esi, %esi\n"
#define END                                                                                                 \
    "jne 6f\n cmp %esi, %eax\n je 5f\n inc %edi\n mov %eax, %esi\n"                                         \
    "5: add $0x3456789, %edx\n inc %ecx\n dec %ebx\n jnz 2b\n hlt\n 6: mov $-1, %edi\n hlt\n 7: .skip 48\n"
#define MARK 0x2468acf1u /* the immediate: how its place is found */
#define MARK_TEXT "0x2468acf1"

/* --- one to four bytes: the immediate, or its first bytes --- */

#define ALU(X, T, n)                                                                                        \
    X(n##_8, #n "b %dl, " T) X(n##_16, #n "w %dx, " T) X(n##_32, #n "l %edx, " T)                           \
    X(n##_8i, #n "b $0x35, " T) X(n##_16i, #n "w $0x2bcd, " T) X(n##_32i, #n "l $0x2bcdef01, " T)           \
    X(n##_8l, "lock " #n "b %dl, " T) X(n##_32l, "lock " #n "l %edx, " T) X(n##_32il, "lock " #n "l $0x35, " T)
#define SHIFT(X, T, n)                                                                                      \
    X(n##_8, #n "b $1, " T) X(n##_16, #n "w $1, " T) X(n##_32, #n "l $1, " T) X(n##_8c, #n "b %cl, " T)     \
    X(n##_32c, #n "l %cl, " T) X(n##_8i, #n "b $3, " T) X(n##_32i, #n "l $5, " T)
#define UNARY(X, T, n)                                                                                      \
    X(n##_8, #n "b " T) X(n##_16, #n "w " T) X(n##_32, #n "l " T) X(n##_8l, "lock " #n "b " T) X(n##_32l, "lock " #n "l " T)
#define BIT(X, T, n) X(n##_i, #n "l $7, " T) X(n##_il, "lock " #n "l $9, " T) X(n##_r, "and $31, %edx\n " #n " %edx, " T)
#define XMM0 "movd %edx, %xmm0\n "
#define PI "fninit\n fldpi\n "
#define STORES(X, T)                                                                                        \
    ALU(X, T, add) ALU(X, T, or) ALU(X, T, adc) ALU(X, T, sbb) ALU(X, T, and) ALU(X, T, sub) ALU(X, T, xor) \
    SHIFT(X, T, rol) SHIFT(X, T, ror) SHIFT(X, T, rcl) SHIFT(X, T, rcr) SHIFT(X, T, shl) SHIFT(X, T, shr) SHIFT(X, T, sar) \
    UNARY(X, T, inc) UNARY(X, T, dec) UNARY(X, T, neg) UNARY(X, T, not)                                     \
    BIT(X, T, bts) BIT(X, T, btr) BIT(X, T, btc)                                                            \
    X(shld_i, "shldl $3, %edx, " T) X(shld_c, "shldl %cl, %edx, " T)                                        \
    X(shrd_i, "shrdl $3, %edx, " T) X(shrd_c, "shrdl %cl, %edx, " T) X(shrd_16, "shrdw $3, %dx, " T)        \
    X(xadd_8, "xaddb %dl, " T) X(xadd_32, "xaddl %edx, " T) X(xadd_32l, "lock xaddl %edx, " T)              \
    X(xchg_8, "xchgb %dl, " T) X(xchg_32, "xchgl %edx, " T)                                                 \
    X(cmpxchg_8, "mov " T ", %eax\n cmpxchgb %dl, " T) X(cmpxchg_32, "mov " T ", %eax\n cmpxchgl %edx, " T) \
    X(cmpxchg_32l, "mov " T ", %eax\n lock cmpxchgl %edx, " T)                                              \
    X(mov_8, "movb %dl, " T) X(mov_16, "movw %dx, " T) X(mov_32, "movl %edx, " T) X(movbe, "movbe %edx, " T) \
    X(mov_8i, "movb $0x35, " T) X(mov_32i, "movl $0x35, " T) X(movnti, "movnti %edx, " T)                   \
    X(setcc, "test $1, %cl\n sete " T) X(mov_ss, "movw %ss, " T) X(smsw, "smsw " T)                         \
    X(movd, XMM0 "movd %xmm0, " T) X(movss, XMM0 "movss %xmm0, " T) X(pextrb, XMM0 "pextrb $0, %xmm0, " T)  \
    X(pextrw, XMM0 "pextrw $0, %xmm0, " T) X(pextrd, XMM0 "pextrd $0, %xmm0, " T)                           \
    X(vmovd, XMM0 "vmovd %xmm0, " T) X(vmovss, XMM0 "vmovss %xmm0, " T) X(vpextrd, XMM0 "vpextrd $0, %xmm0, " T) \
    X(extractps, XMM0 "extractps $0, %xmm0, " T) X(movd_mm, "movd %edx, %mm0\n movd %mm0, " T)              \
    X(vpmaskmov, XMM0 "vpcmpeqd %xmm1, %xmm1, %xmm1\n psrldq $12, %xmm1\n vpmaskmovd %xmm0, %xmm1, " T)     \
    X(fst, PI "fsts " T) X(fstp, PI "fstps " T) X(fist, PI "fistl " T) X(fistp, PI "fistpl " T)             \
    X(fisttp, PI "fisttpl " T) X(fistps, PI "fistps " T) X(fnstcw, "fnstcw " T) X(fnstsw, "fnstsw " T)      \
    X(stmxcsr, "stmxcsr " T) X(fused, "mov %edx, " T "\n cmp $0, %ebx\n je 5f")

/* --- eight bytes: the immediate of MOVABS --- */

#define STORES_Q(X, T)                                                                                      \
    X(add, "addq %rdx, " T) X(add_i, "addq $0x35, " T) X(add_l, "lock addq %rdx, " T) X(adc, "adcq %rdx, " T) \
    X(sub, "subq %rdx, " T) X(sar, "sarq $1, " T) X(sar_c, "sarq %cl, " T) X(shl, "shlq $1, " T)            \
    X(rol, "rolq $5, " T) X(rcr, "rcrq $1, " T) X(inc, "incq " T) X(dec_l, "lock decq " T) X(neg, "negq " T) \
    X(not, "notq " T) X(bts, "btsq $11, " T) X(btc_l, "lock btcq $11, " T) X(shld, "shldq $3, %rdx, " T)    \
    X(shrd_c, "shrdq %cl, %rdx, " T) X(xadd, "xaddq %rdx, " T) X(xchg, "xchgq %rdx, " T)                    \
    X(cmpxchg, "mov " T ", %rax\n lock cmpxchgq %rdx, " T) X(mov, "movq %rdx, " T) X(movnti, "movntiq %rdx, " T) \
    X(movbe, "bswap %rdx\n movbeq %rdx, " T) X(movq, XMM0 "movq %xmm0, " T) X(movsd, XMM0 "movsd %xmm0, " T)             \
    X(movlps, XMM0 "movlps %xmm0, " T) X(movhps, XMM0 "pshufd $0x44, %xmm0, %xmm0\n movhps %xmm0, " T)      \
    X(pextrq, XMM0 "pextrq $0, %xmm0, " T) X(movq_mm, "movq %rdx, %mm0\n movq %mm0, " T)                    \
    X(movntq, "movq %rdx, %mm0\n movntq %mm0, " T) X(fst, PI "fstl " T) X(fistp, PI "fistpll " T)           \
    X(pop, "push %rdx\n popq " T) X(push, "mov %rsp, %r9\n lea 8+" T ", %rsp\n push %rdx\n mov %r9, %rsp")  \
    X(stosq, "mov %edi, %r9d\n mov %rdx, %rax\n lea " T ", %rdi\n stosq\n mov %r9d, %edi")

/* --- eight bytes and more: what is there already, its second byte, the immediate's first, counted up. D: a copy of it --- */

#define COPY(b)                                                                                             \
    "lea 3f-5-1b(%" b "), %esi\n lea 7f-1b(%" b "), %edi\n mov $48, %ecx\n cld\n rep movsb\n"               \
    "mov $0x1234567, %ecx\n xor %edi, %edi\n xor %esi, %esi\n"
#define STRING(D, T, n, text)                                                                               \
    "movd %edi, %xmm7\n movd %esi, %xmm6\n lea " D ", %esi\n lea " T ", %edi\n mov $" #n ", %ecx\n " text "\n " \
    "movd %xmm7, %edi\n movd %xmm6, %esi"
#define STORES_WIDE(X, D, T)                                                                                \
    X(movups, "movups " D ", %xmm0\n movups %xmm0, " T) X(movdqu, "movdqu " D ", %xmm0\n movdqu %xmm0, " T) \
    X(movupd, "movupd " D ", %xmm0\n movupd %xmm0, " T) X(vmovdqu, "vmovdqu " D ", %xmm0\n vmovdqu %xmm0, " T) \
    X(vmovups_y, "vmovups " D ", %ymm0\n vmovups %ymm0, " T) X(vmovdqu_y, "vmovdqu " D ", %ymm0\n vmovdqu %ymm0, " T) \
    X(vextract, "vmovups " D ", %ymm0\n vextractf128 $0, %ymm0, " T)                                        \
    X(vpmaskmov, "vpcmpeqd %ymm1, %ymm1, %ymm1\n vmovups " D ", %ymm0\n vpmaskmovd %ymm0, %ymm1, " T)       \
    X(fstpt, "fninit\n fldt " D "\n fstpt " T) X(fistpll, "fninit\n fildll " D "\n fistpll " T)             \
    X(cmpxchg8b, "movd %ebx, %xmm7\n mov " D ", %ebx\n mov 4+" D ", %ecx\n mov " T ", %eax\n mov 4+" T ", %edx\n" \
                 "lock cmpxchg8b " T "\n movd %xmm7, %ebx")                                                 \
    X(rep_movsb, STRING(D, T, 5, "rep movsb")) X(rep_movsl, STRING(D, T, 3, "rep movsl"))                   \
    X(movsl, STRING(D, T, 3, "movsl\n movsl")) X(movsb, STRING(D, T, 0, "movsb\n movsb"))

#define T32 "(3f-4-1b)(%ebp)"
#define T64 "(3f-4-1b)(%rbp)"
#define TQ "(3f-8-1b)(%rbp)"
#define P32(n, text) GUEST_CODE(s32_##n, 32, BEGIN "2: " text "\n mov $" MARK_TEXT ", %eax\n 3: cmp 3b-4-1b(%ebp), %eax\n" END);
#define P64(n, text) GUEST_CODE(s64_##n, 64, BEGIN "2: " text "\n mov $" MARK_TEXT ", %eax\n 3: cmp 3b-4-1b(%rbp), %eax\n" END);
#define PQ(n, text)                                                                                         \
    GUEST_CODE(sq_##n, 64, BEGIN "2: " text "\n movabs $0x13579bdf" "2468acf1, %rax\n 3: cmp 3b-8-1b(%rbp), %rax\n" END);
#define PW32(n, text)                                                                                       \
    GUEST_CODE(w32_##n, 32, BEGIN COPY("ebp") "2: incb 1+7f-1b(%ebp)\n " text "\n mov $" MARK_TEXT ", %eax\n 3: cmp 3b-4-1b(%ebp), %eax\n" END);
#define PW64(n, text)                                                                                       \
    GUEST_CODE(w64_##n, 64, BEGIN COPY("rbp") "2: incb 1+7f-1b(%rbp)\n " text "\n mov $" MARK_TEXT ", %eax\n 3: cmp 3b-4-1b(%rbp), %eax\n" END);
STORES(P32, T32)
STORES(P64, T64)
STORES_Q(PQ, TQ)
STORES_WIDE(PW32, "(7f-1b)(%ebp)", "(3f-5-1b)(%ebp)")
STORES_WIDE(PW64, "(7f-1b)(%rbp)", "(3f-5-1b)(%rbp)")

typedef struct Program { const char *name; const uint8_t *code, *end; } Program;
#define E32(n, text) { #n, s32_##n, s32_##n##_end },
#define E64(n, text) { #n, s64_##n, s64_##n##_end },
#define EQ(n, text) { #n "_q", sq_##n, sq_##n##_end },
#define EW32(n, text) { #n, w32_##n, w32_##n##_end },
#define EW64(n, text) { #n, w64_##n, w64_##n##_end },
static const Program in32[] = { STORES(E32, ) STORES_WIDE(EW32, , ) };
static const Program in64[] = { STORES(E64, ) STORES_Q(EQ, ) STORES_WIDE(EW64, , ) };

static unsigned immediate_at(const Program *p)
{
    const uint32_t mark = MARK;
    for (const uint8_t *c = p->code; c + 4 <= p->end; c++) {
        if (!memcmp(c, &mark, 4)) {
            return (unsigned)(c - p->code);
        }
    }
    g_error("%s: no immediate", p->name);
}

static void run(Guest *g, const Program *p, hwaddr at, uint64_t alias)
{
    X86Cpu *cpu = g->cpu;
    guest_put(g, at, p->code, (size_t)(p->end - p->code));
    cpu->rip = at;
    cpu->gpr[R_RBP] = at + alias;
    guest_continue(g);
    int changes = (int)cpu->gpr[R_RDI];
    if (changes < 1 || guest_vector(g) >= 0 || g->shut_down) {
        g_test_message("%s at 0x%" PRIx64 ", stored to by way of 0x%" PRIx64 ": %s; rip 0x%" PRIx64 ", vector %d", p->name, at, at + alias,
                       changes < 0 ? "the instruction that ran is not the one in memory" : "nothing was stored", cpu->rip, guest_vector(g));
        g_test_fail();
    }
}

/* In one page; the MOV first in the next page; its immediate across the border. */
static void run_all(Guest *g, const Program *p, unsigned n)
{
    X86Cpu *cpu = g->cpu;
    cpu->cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    cpu->xcr0 = 7;
    x86_update_mode(cpu);
    for (unsigned i = 0; i < n; i++) {
        unsigned imm = immediate_at(&p[i]);
        for (unsigned k = 0; k < 2; k++) {
            run(g, &p[i], G_CODE, k ? 0x600000 : 0);
            run(g, &p[i], G_CODE + 0x1000 - imm + 1, k ? 0x600000 : 0);
            run(g, &p[i], G_CODE + 0x1000 - imm - 2, k ? 0x600000 : 0);
        }
    }
}

static void test_64(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_st(g, G_PT + 0x2000 + 3 * 8, 8, 0x87); /* 6 MiB: the first 2 MiB again */
    run_all(g, in64, G_N_ELEMENTS(in64));
    guest_free(g);
}

static void test_32(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_paging32(g);
    for (unsigned i = 0; i < 4; i++) {
        guest_st(g, G_PT + 0x1000 + (0x610 + i) * 4, 4, (0x10 + i) << 12 | 7);
    }
    run_all(g, in32, G_N_ELEMENTS(in32));
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stores/64", test_64);
    g_test_add_func("/stores/32", test_32);
    return g_test_run();
}
