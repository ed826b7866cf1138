/* SPDX-License-Identifier: MIT
 * tests/cpu/test-smc.c - code that changes while it runs: by its own stores, through another mapping, by a device, by page tables;
 * by memory that goes back to the host (system/ramdiscard.c); and caches of translated code that are too small for it. With RHEA_TEST_COLD code stays cold for 32 runs: t1-cold.c.
 * Models: SDM vol. 3 8.1.3, 11.6 (self-modifying code), 4.10.4.3 (what needs no invalidation).
 * Threads: main.
 */
#include "config.h"
#include "rhea/system/ramdiscard.h"
#include "target/x86/t1.h"
#include "tests/cpu/sysguest.h"
#ifdef HAVE_KVM
#include "rhea/accel/kvm.h"
#endif

/* A routine of its own, elsewhere: MOV EAX, imm32; RET. */
static void put_routine(Guest *g, hwaddr at, uint32_t value)
{
    uint8_t code[6] = { 0xb8 };
    memcpy(code + 1, &value, 4);
    code[5] = 0xc3;
    guest_put(g, at, code, sizeof(code));
}

#define g_assert_rax(g, v) g_assert_cmphex((g)->cpu->gpr[R_RAX], ==, (v))

/* ADD that doubles its own immediate, six times: each run adds what the one before left. */
GUEST_CODE(code_self, 64,
           "mov $6, %ecx\n xor %eax, %eax\n lea 3f-1(%rip), %rbx\n"
           "1: add %dl, (%rbx)\n 2: add $1, %eax\n 3: mov -1+3b(%rip), %dl\n loop 1b");
/* An instruction that overwrites its own immediate: what is fetched already stands, the next run sees the new one. */
GUEST_CODE(code_own, 64, "mov $5, %ecx\n 1: addb $1, 2f-1(%rip)\n 2: loop 1b\n movzbl 2b-1(%rip), %eax");
/* Stores into the next instruction, and into one of the same unit further on. */
GUEST_CODE(code_next, 64,
           "mov $100, %ecx\n xor %eax, %eax\n"
           "1: mov %cl, 2f-1(%rip)\n mov $0, %dl\n 2: movzbl %dl, %edx\n add %edx, %eax\n"
           "mov %ecx, 3f-4(%rip)\n nop\n mov $0, %ebx\n 3: add %ebx, %eax\n loop 1b");
GUEST_CODE(code_next32, 32,
           "mov $100, %ecx\n xor %eax, %eax\n"
           "1: mov %cl, 0x10000 + 2f - 1 - code_next32\n mov $0, %dl\n 2: movzbl %dl, %edx\n add %edx, %eax\n loop 1b");
/* A loop whose branch is turned into NOPs by its body. */
GUEST_CODE(code_branch, 64,
           "xor %eax, %eax\n 1: inc %eax\n cmp $1000, %eax\n jne 2f\n movw $0x9090, 3f(%rip)\n 2: nop\n 3: jmp 1b");

static void test_own_unit(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    g->cpu->gpr[R_RDX] = 0;
    guest_run(g, code_self); /* 1 + 2 + 4 + 8 + 16 + 32 but for the first, which adds nothing */
    g_assert_rax(g, 1 + 2 + 4 + 8 + 16 + 32);
    for (unsigned i = 0; i < 3; i++) {
        guest_run(g, code_own);
        g_assert_rax(g, 32);
        guest_run(g, code_next);
        g_assert_rax(g, 2 * 5050);
        guest_run(g, code_branch);
        g_assert_rax(g, 1000);
    }
    guest_free(g);
}

/* Code and data in one page, and in one line of 64 bytes. */
GUEST_CODE(code_mixed, 64,
           "mov $1000, %ecx\n 1: incl 3f(%rip)\n incl 4f(%rip)\n loop 1b\n mov 3f(%rip), %eax\n add 4f(%rip), %eax\n"
           "movl $0, 3f(%rip)\n movl $0, 4f(%rip)\n hlt\n 3: .long 0\n .skip 256\n 4: .long 0");

static void test_mixed(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_run(g, code_mixed);
    g_assert_rax(g, 2000);
    guest_free(g);
}

/* RBX: where to store, RDI: what to call. Far enough away for jumps through the jump cache, and near ones. */
GUEST_CODE(code_patch_call, 64,
           "mov $100, %ecx\n xor %edx, %edx\n 1: mov %ecx, (%rbx)\n call *%rdi\n add %eax, %edx\n loop 1b\n mov %edx, %eax");
GUEST_CODE(code_patch_direct, 64,
           "mov $100, %ecx\n xor %edx, %edx\n 1: mov %ecx, (%rbx)\n call 0x18000-0x10000+code_patch_direct\n add %eax, %edx\n"
           "cmp $0, %ecx\n loop 1b\n mov %edx, %eax");

static void test_aliases(void)
{
    static const hwaddr at[] = { G_CODE + 0x800, G_DATA, G_DATA + 0xffd }; /* the same page, another, a border */
    Guest *g = guest_new(NULL);
    guest_long(g);
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
            uint64_t alias = k ? 0x600000 : 0;
            guest_st(g, G_PT + 0x2000 + 3 * 8, 8, 0x87); /* 6 MiB: the first 2 MiB again */
            x86_tlb_flush(g->cpu, false);
            put_routine(g, at[i], 7);
            g->cpu->gpr[R_RBX] = at[i] + 1 + alias;
            g->cpu->gpr[R_RDI] = at[i];
            guest_run(g, code_patch_call);
            g_assert_rax(g, 5050);
        }
        put_routine(g, G_DATA, 7);
        g->cpu->gpr[R_RBX] = G_DATA + 1 + (k ? 0x600000 : 0);
        guest_run(g, code_patch_direct);
        g_assert_rax(g, 5050);
    }
    guest_free(g);
}

GUEST_CODE(code_call3, 64, "mov $3, %ecx\n xor %edx, %edx\n 1: call *%rdi\n add %eax, %edx\n loop 1b\n mov %edx, %eax");

static void test_device(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    g->cpu->gpr[R_RDI] = G_DATA + 0xffe; /* crosses */
    for (uint32_t i = 1; i < 40; i++) {
        uint8_t low = (uint8_t)i;
        if (i == 1) {
            put_routine(g, G_DATA + 0xffe, 1);
        } else if (i < 20) {
            guest_put(g, G_DATA + 0xfff, &low, 1); /* the immediate's byte in the first page */
        } else {
            put_routine(g, G_DATA + 0xffe, i);
        }
        guest_run(g, code_call3);
        g_assert_rax(g, 3 * i);
    }
    guest_free(g);
}

/* A routine and a number in pages of their own. RDI, RSI: where; R8: what is stored there at the end. */
GUEST_CODE(code_given, 64, "call *%rdi\n mov (%rsi), %rbx\n mov %r8, (%rsi)\n mov (%rsi), %rdx");

/* Pages that went back to the host are zeros: of the code there nothing is left in any cache (it becomes ADD [RAX], AL up to
 * the next page), and stores work again. With RHEA_TEST_ACCEL=kvm on KVM. */
static void test_given_back(void)
{
    enum { AT = 0x400000, DATA = 0x600000, SCRATCH = G_DATA + 0x800 };
#ifdef HAVE_KVM
    Error *err = NULL;
    if (guest_on_kvm() && !kvm_available(&err)) {
        g_test_skip(error_text(err));
        error_free(err);
        return;
    }
#endif
    Guest *g = guest_new(NULL);
    guest_long(g);
    for (unsigned i = 0; i < 3; i++) {
        put_routine(g, AT, 7);
        guest_st(g, AT + RAM_PAGE_SIZE, 1, 0xc3);
        guest_st(g, DATA, 8, 1234);
        for (unsigned gone = 0; gone < 2; gone++) {
            g->cpu->gpr[R_RAX] = SCRATCH;
            g->cpu->gpr[R_RDI] = AT;
            g->cpu->gpr[R_RSI] = DATA;
            g->cpu->gpr[R_R8] = 99;
            guest_run(g, code_given);
            g_assert_rax(g, gone ? SCRATCH : 7);
            g_assert_cmpuint(g->cpu->gpr[R_RBX], ==, gone ? 0 : 1234);
            g_assert_cmpuint(g->cpu->gpr[R_RDX], ==, 99);
            g_assert_cmpint(ram_discard(g->m->ram, AT, RAM_PAGE_SIZE), ==, 0);
            g_assert_cmpint(ram_discard(g->m->ram, DATA, RAM_PAGE_SIZE), ==, 0);
        }
    }
    guest_free(g);
}

/* One linear address, two pages of code behind it in turn. RSI: the page table's entry, R8, R9: its two values. */
GUEST_CODE(code_remap, 64,
           "mov $100, %ecx\n xor %edx, %edx\n 1: mov %r8, (%rsi)\n invlpg (%rdi)\n call *%rdi\n add %eax, %edx\n"
           "mov %r9, (%rsi)\n invlpg (%rdi)\n call *%rdi\n add %eax, %edx\n loop 1b\n mov %edx, %eax");
GUEST_CODE(code_remap_cr3, 64,
           "mov $100, %ecx\n xor %edx, %edx\n mov %cr3, %rbp\n 1: mov %r8, (%rsi)\n mov %rbp, %cr3\n call *%rdi\n add %eax, %edx\n"
           "mov %r9, (%rsi)\n mov %rbp, %cr3\n call *%rdi\n add %eax, %edx\n loop 1b\n mov %edx, %eax");
/* No INVLPG where the entry was not present: the handler of the page fault maps it, alternating. */
GUEST_CODE(code_remap_fault, 64,
           "mov $100, %ecx\n xor %edx, %edx\n 1: movq $0, (%rsi)\n invlpg (%rdi)\n call *%rdi\n add %eax, %edx\n loop 1b\n"
           "mov %edx, %eax");
GUEST_CODE(code_map_in, 64, "add $8, %rsp\n xchg %r8, %r9\n mov %r8, (%rsi)\n iretq");

static void test_remap(void)
{
    Guest *g = guest_new(NULL);
    X86Cpu *cpu = g->cpu;
    guest_long(g);
    enum { PDE = G_PT + 0x2000 + 2 * 8, PT = G_PT + 0x8000, A = 0x200000, B = 0x201000, AT = 0x400000 };
    guest_st(g, PDE, 8, PT | 7);
    guest_st(g, PT, 8, A | 7);
    guest_st(g, PT + 8, 8, (A + 0x4000) | 7);
    for (unsigned off = 0; off <= 0xffe; off += 0xffe) { /* the second time it crosses into a page that stays */
        put_routine(g, A + off, 3);
        put_routine(g, B + off, 11);
        uint8_t rest[4] = { 0, 0, 0, 0xc3 };
        guest_put(g, A + 0x4000, rest, 4);
        for (unsigned k = 0; k < 2; k++) {
            x86_tlb_flush(cpu, false);
            cpu->gpr[R_RDI] = AT + off;
            cpu->gpr[R_RSI] = PT;
            cpu->gpr[R_R8] = A | 7;
            cpu->gpr[R_R8 + 1] = B | 7;
            k ? (void)guest_run(g, code_remap_cr3) : (void)guest_run(g, code_remap);
            g_assert_rax(g, 1400);
        }
        guest_put(g, G_HANDLERS + 0x2000, code_map_in, (size_t)(code_map_in_end - code_map_in));
        guest_gate64(g, G_IDT + EXC_PF * 16, S_CODE64, G_HANDLERS + 0x2000, 0x8e, 0);
        guest_run(g, code_remap_fault);
        g_assert_rax(g, 700);
    }
    guest_free(g);
}

/* The second page of a crossing instruction changes: by a store, and by the page table. */
GUEST_CODE(code_cross, 64,
           "mov $50, %ecx\n xor %edx, %edx\n 1: mov %cl, (%rbx)\n call *%rdi\n movzbl %ah, %eax\n add %eax, %edx\n loop 1b\n mov %edx, %eax");

static void test_crossing(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    put_routine(g, G_DATA + 0xffe, 0);
    g->cpu->gpr[R_RDI] = G_DATA + 0xffe;
    g->cpu->gpr[R_RBX] = G_DATA + 0x1000; /* bits 15 to 8 of the immediate */
    guest_run(g, code_cross);
    g_assert_rax(g, 1275);
    guest_free(g);
}

/* More code than a small cache holds, in two passes, with calls between distant pages all the time. */
GUEST_CODE(code_walk, 64,
           "mov $3, %ebp\n xor %r12d, %r12d\n 0: mov %rdi, %rbx\n mov $20000, %ecx\n 1: call *%rbx\n add %rax, %r12\n add $64, %rbx\n"
           "loop 1b\n dec %ebp\n jnz 0b\n mov %r12, %rax");

static void test_small_cache(void)
{
    enum { N = 20000, AT = 0x200000 };
    Guest *g = guest_new(NULL);
    guest_long(g);
    if (g->cpu->t1) {
        t1_resize(g->cpu, 512 << 10);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        put_routine(g, AT + 64 * i, i);
        sum += i;
    }
    g->cpu->gpr[R_RDI] = AT;
    guest_run(g, code_walk);
    g_assert_rax(g, 3 * sum);
    if (g->cpu->t1 && !g->cpu->t1->off && g->cpu->t1->after == 0) {
        g_assert_cmpuint(g->cpu->t1->stats.flushes, >, 8); /* the running loop's segment was evicted, too */
    }
    guest_free(g);
}

static void test_32(void)
{
    Guest *g = guest_new(NULL);
    guest_pm32(g);
    guest_run(g, code_next32);
    g_assert_rax(g, 5050);
    guest_free(g);
}

/* The number of generations wraps: tier 1's cache, whose places it may have given to other code meanwhile, knows none of before. */
GUEST_CODE(code_calls, 64, "mov $100, %ecx\n 1: call 2f\n dec %ecx\n jnz 1b\n hlt\n 2: inc %eax\n ret");

static void test_generations(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    guest_run(g, code_calls);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g->cpu->t0->tlb.gen_serial = UINT32_MAX - 1;
    tlb_new_generation(g->cpu);
    const X86JumpTarget *all = &g->cpu->tr1.jc2[0][0];
    for (unsigned i = 0; i < sizeof(g->cpu->tr1.jc2) / sizeof(*all); i++) {
        g_assert_cmphex(all[i].tag, ==, 0);
    }
    g->cpu->gpr[R_RAX] = 0;
    guest_run(g, code_calls);
    g_assert_cmpuint(g->cpu->gpr[R_RAX], ==, 100);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/smc/generations", test_generations);
    g_test_add_func("/smc/own-unit", test_own_unit);
    g_test_add_func("/smc/own-unit-32", test_32);
    g_test_add_func("/smc/mixed-page", test_mixed);
    g_test_add_func("/smc/aliases", test_aliases);
    g_test_add_func("/smc/device", test_device);
    g_test_add_func("/smc/given-back", test_given_back);
    g_test_add_func("/smc/remap", test_remap);
    g_test_add_func("/smc/crossing", test_crossing);
    g_test_add_func("/smc/small-cache", test_small_cache);
    return g_test_run();
}
