/* SPDX-License-Identifier: MIT
 * tests/cpu/test-smp.c - several vCPUs on threads of their own: locked instructions of every alignment, what the memory
 * model forbids (SDM vol. 3 8.2.3), code that another vCPU or a device writes (8.1.3), stopping all others; a single
 * vCPU that waits in a loop of PAUSEs (target/x86/smp.c, vcpu_nap() in system/vcpu.c).
 * Threads: main, and the vCPUs.
 */
#include "target/x86/sysint.h"
#include "target/x86/t0.h"
#include "tests/cpu/sysguest.h"
#include <sys/resource.h>

enum {
    D_BARRIER = 0x200000, /* counter all vCPUs meet at */
    D_FLAG = 0x200040,
    D_ACK = 0x200080,
    D_RESULT = 0x210000,
    D_VARS = 0x300000,
    D_CODE = 0x400000, /* pages of code that is written while it runs */
    CPUS = 4,
};

typedef struct Smp {
    Guest *g;
    unsigned n;
} Smp;

static Smp smp_new(unsigned n)
{
    return (Smp){ .g = guest_new_smp(NULL, n, false), .n = n };
}

/* CPU i starts at `code`, copied to a place of its own; RDI is its number. */
static X86Cpu *smp_put(Smp *s, unsigned i, const uint8_t *code, const uint8_t *end)
{
    X86Cpu *cpu = s->g->cpu = x86_cpu(s->g->m->cpus[i]);
    hwaddr at = G_CODE + 0x1000 * i;
    guest_long(s->g);
    guest_put(s->g, at, code, (size_t)(end - code));
    cpu->rip = at;
    cpu->gpr[R_RSP] = 0x60000 + 0x1000 * i;
    cpu->gpr[R_RDI] = i;
    return cpu;
}
#define smp_code(s, i, name) smp_put((s), (i), name, name##_end)

static void read_halted(void *opaque)
{
    Vcpu **v = opaque;
    *v = (*v)->halted ? *v : NULL;
}

/* Runs until every vCPU halted. */
static void smp_run(Smp *s)
{
    Machine *m = s->g->m;
    gint64 until = g_get_monotonic_time() + 120 * G_USEC_PER_SEC;
    machine_start(m);
    for (unsigned i = 0; i < s->n;) {
        Vcpu *v = m->cpus[i];
        vcpu_run_on_wait(v, read_halted, &v);
        if (v) {
            i++;
        } else {
            g_assert_cmpint(g_get_monotonic_time(), <, until);
            g_usleep(500);
        }
    }
    machine_stop(m, RUN_PAUSED);
}

/* What was asked of a vCPU that did not run any more. */
static void take_requests(void *opaque)
{
    rcu_read_lock();
    t0_take_requests(opaque);
    rcu_read_unlock();
}

static void smp_free(Smp *s)
{
    guest_free(s->g);
}

/* Waits until all met; RDX: the counter, R10: what it must reach, R11: how many take part. */
#define BARRIER                                                                                              \
    "lock incl (%rdx)\n"                                                                                     \
    "77: mov (%rdx), %eax\n cmp %r10d, %eax\n jae 78f\n pause\n jmp 77b\n"                                    \
    "78: add %r11, %r10\n"

/* --- locked instructions: RSI the counters' block, RCX the rounds. --- */

GUEST_CODE(code_locked, 64,
           "1: lock incl (%rsi)\n"
           "mov $3, %eax\n lock xadd %eax, 64(%rsi)\n"
           "lock addq $5, 128(%rsi)\n"
           "2: mov 192(%rsi), %eax\n lea 7(%rax), %ebx\n lock cmpxchg %ebx, 192(%rsi)\n jne 2b\n"
           "3: mov $1, %eax\n xchg %eax, 256(%rsi)\n test %eax, %eax\n jz 4f\n pause\n jmp 3b\n"
           "4: incl 320(%rsi)\n movl $0, 256(%rsi)\n"
           "lock btcl %edi, 384(%rsi)\n"
           "lock negl 448(%rsi)\n"
           "dec %ecx\n jnz 1b\n");

/* `off`: where in a cache line or page the counters begin. */
static void locked_at(unsigned off, unsigned rounds)
{
    Smp s = smp_new(CPUS);
    hwaddr at = D_VARS + off;
    for (unsigned i = 0; i < s.n; i++) {
        X86Cpu *cpu = smp_code(&s, i, code_locked);
        cpu->gpr[R_RSI] = at;
        cpu->gpr[R_RCX] = rounds;
    }
    guest_st(s.g, at + 448, 4, 77);
    smp_run(&s);
    uint64_t n = (uint64_t)rounds * s.n;
    g_assert_cmpuint(guest_ld(s.g, at, 4), ==, n);
    g_assert_cmpuint(guest_ld(s.g, at + 64, 4), ==, 3 * n);
    g_assert_cmpuint(guest_ld(s.g, at + 128, 8), ==, 5 * n);
    g_assert_cmpuint(guest_ld(s.g, at + 192, 4), ==, 7 * n);
    g_assert_cmpuint(guest_ld(s.g, at + 320, 4), ==, n);
    g_assert_cmpuint(guest_ld(s.g, at + 384, 4), ==, rounds & 1 ? (1u << s.n) - 1 : 0);
    g_assert_cmpuint((uint32_t)guest_ld(s.g, at + 448, 4), ==, n & 1 ? (uint32_t)-77 : 77);
    smp_free(&s);
}

static void test_locked(void) { locked_at(0, 20001); }
static void test_split_line(void) { locked_at(61, 301); }
static void test_split_page(void) { locked_at(4096 - 64 - 3, 301); }

GUEST_CODE(code_cmpxchg16b, 64,
           "mov %rcx, %rbp\n"
           "1: mov (%rsi), %rax\n mov 8(%rsi), %rdx\n"
           "2: mov %rax, %rbx\n mov %rdx, %rcx\n add $1, %rbx\n sub $1, %rcx\n"
           "lock cmpxchg16b (%rsi)\n jne 2b\n"
           "dec %rbp\n jnz 1b\n");

static void test_cmpxchg16b(void)
{
    Smp s = smp_new(CPUS);
    for (unsigned i = 0; i < s.n; i++) {
        X86Cpu *cpu = smp_code(&s, i, code_cmpxchg16b);
        cpu->gpr[R_RSI] = D_VARS;
        cpu->gpr[R_RCX] = 5000;
    }
    smp_run(&s);
    g_assert_cmpuint(guest_ld(s.g, D_VARS, 8), ==, 5000 * s.n);
    g_assert_cmpuint(guest_ld(s.g, D_VARS + 8, 8), ==, -(uint64_t)5000 * s.n);
    smp_free(&s);
}

/* --- litmus tests: a round has variables of its own, 64 bytes apart; the results are 8 bytes for each CPU. --- */

#define LITMUS(name, text)                                                                                   \
    GUEST_CODE(name, 64,                                                                                     \
               "1:" BARRIER "xor %eax, %eax\n xor %ebp, %ebp\n" text                                         \
               "mov %eax, (%rbx)\n mov %ebp, 4(%rbx)\n"                                                      \
               "add $256, %rsi\n add $32, %rbx\n dec %ecx\n jnz 1b\n")

LITMUS(sb_x, "movl $1, (%rsi)\n mfence\n mov 64(%rsi), %eax\n");
LITMUS(sb_y, "movl $1, 64(%rsi)\n mfence\n mov (%rsi), %eax\n");
LITMUS(sbl_x, "mov $1, %eax\n xchg %eax, (%rsi)\n mov 64(%rsi), %eax\n");
LITMUS(sbl_y, "mov $1, %eax\n xchg %eax, 64(%rsi)\n mov (%rsi), %eax\n");
LITMUS(mp_write, "movl $1, (%rsi)\n movl $1, 64(%rsi)\n");
LITMUS(mp_read, "mov 64(%rsi), %eax\n mov (%rsi), %ebp\n");
LITMUS(lb_x, "mov (%rsi), %eax\n movl $1, 64(%rsi)\n");
LITMUS(lb_y, "mov 64(%rsi), %eax\n movl $1, (%rsi)\n");
LITMUS(iriw_x, "movl $1, (%rsi)\n");
LITMUS(iriw_y, "movl $1, 64(%rsi)\n");
LITMUS(iriw_xy, "mov (%rsi), %eax\n mov 64(%rsi), %ebp\n");
LITMUS(iriw_yx, "mov 64(%rsi), %eax\n mov (%rsi), %ebp\n");

typedef struct Round {
    struct { uint32_t a, b; } cpu[CPUS];
} Round;
typedef struct Part { const uint8_t *code, *end; } Part;
#define PART(name) { name, name##_end }

static void litmus(const Part *parts, unsigned n, unsigned rounds, bool (*forbidden)(const Round *r))
{
    Smp s = smp_new(n);
    for (unsigned i = 0; i < n; i++) {
        X86Cpu *cpu = smp_put(&s, i, parts[i].code, parts[i].end);
        cpu->gpr[R_RDX] = D_BARRIER;
        cpu->gpr[10] = cpu->gpr[11] = n;
        cpu->gpr[R_RSI] = D_VARS;
        cpu->gpr[R_RBX] = D_RESULT + 8 * i;
        cpu->gpr[R_RCX] = rounds;
    }
    smp_run(&s);
    for (unsigned k = 0; k < rounds; k++) {
        Round r;
        as_access(&s.g->m->as_mem, D_RESULT + 32 * k, &r, sizeof(r), false, MEM_ATTRS_NONE);
        g_assert_false(forbidden(&r));
    }
    smp_free(&s);
}

static bool both_zero(const Round *r) { return !r->cpu[0].a && !r->cpu[1].a; }
static bool both_one(const Round *r) { return r->cpu[0].a && r->cpu[1].a; }
static bool flag_without_data(const Round *r) { return r->cpu[1].a && !r->cpu[1].b; }
static bool two_orders(const Round *r)
{
    return r->cpu[2].a && !r->cpu[2].b && r->cpu[3].a && !r->cpu[3].b;
}

enum { ROUNDS = 1500 };
static void test_sb(void) { litmus((const Part[]){ PART(sb_x), PART(sb_y) }, 2, ROUNDS, both_zero); }
static void test_sb_locked(void) { litmus((const Part[]){ PART(sbl_x), PART(sbl_y) }, 2, ROUNDS, both_zero); }
static void test_mp(void) { litmus((const Part[]){ PART(mp_write), PART(mp_read) }, 2, ROUNDS, flag_without_data); }
static void test_lb(void) { litmus((const Part[]){ PART(lb_x), PART(lb_y) }, 2, ROUNDS, both_one); }
static void test_iriw(void)
{
    litmus((const Part[]){ PART(iriw_x), PART(iriw_y), PART(iriw_xy), PART(iriw_yx) }, 4, ROUNDS / 3, two_orders);
}

/* --- cross-modifying code. A function in a page of its own returns a number; CPU 0 stores 1..16 into it while CPU 1
 * calls it for the first time, then says which number is the last. After CPUID the call must return that. --- */

enum { X_PAGES = 400, X_LAST = 16 };
static const uint8_t function[] = { 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov $0, %eax; ret */

GUEST_CODE(code_modify, 64, /* RSI: the page's immediate, RDX: the flag, RBX: the answer */
           "mov $1, %r8d\n"
           "1: mov $1, %eax\n"
           "2: mov %eax, (%rsi)\n inc %eax\n cmp $17, %eax\n jne 2b\n"
           "mov %r8d, (%rdx)\n"
           "3: cmp %r8d, (%rbx)\n je 4f\n pause\n jmp 3b\n"
           "4: movl $99, (%rsi)\n"
           "add $4096, %rsi\n inc %r8d\n dec %ecx\n jnz 1b\n");
GUEST_CODE(code_modified, 64, /* RSI: the page's function; R9: wrong answers */
           "mov %ecx, %r10d\n mov %rbx, %r11\n mov %rdx, %r12\n mov $1, %r8d\n xor %r9d, %r9d\n"
           "1: call *%rsi\n cmp %r8d, (%r12)\n jne 1b\n"
           "xor %eax, %eax\n cpuid\n"
           "call *%rsi\n cmp $16, %eax\n je 2f\n inc %r9d\n"
           "2: mov %r8d, (%r11)\n"
           "add $4096, %rsi\n inc %r8d\n dec %r10d\n jnz 1b\n");

static void test_cross_modify(void)
{
    Smp s = smp_new(2);
    for (unsigned i = 0; i < X_PAGES; i++) {
        guest_put(s.g, D_CODE + 4096 * i, function, sizeof(function));
    }
    X86Cpu *cpu = NULL;
    for (unsigned i = 0; i < 2; i++) {
        cpu = i ? smp_code(&s, 1, code_modified) : smp_code(&s, 0, code_modify);
        cpu->gpr[R_RSI] = D_CODE + (i ? 0 : 4);
        cpu->gpr[R_RDX] = D_FLAG;
        cpu->gpr[R_RBX] = D_ACK;
        cpu->gpr[R_RCX] = X_PAGES;
    }
    smp_run(&s);
    g_assert_cmpuint(cpu->gpr[9], ==, 0);
    vcpu_run_on_wait(&cpu->vcpu, take_requests, cpu);
    /* The last store took the last vCPU's code: pages are code no longer than anybody has some of it, or holds on
     * to a page whose code is overwritten again and again. */
    for (unsigned i = 0; i < X_PAGES; i++) {
        uint64_t page = (D_CODE >> RAM_PAGE_BITS) + i;
        unsigned users = s.g->m->ram->code_users[page];
        bool watched = s.g->m->ram->page_flags[page] & 1u << DIRTY_CODE;
        g_assert_cmpuint(users, <=, s.g->m->n_cpus);
        g_assert_cmpint(watched, ==, users != 0);
    }
    smp_free(&s);
}

/* The same with a device (this thread) as the writer. */
GUEST_CODE(code_modified_dma, 64,
           "mov %ecx, %r10d\n mov %rbx, %r11\n mov %rdx, %r12\n mov $1, %r8d\n xor %r9d, %r9d\n"
           "1: call *%rsi\n cmp %r8d, (%r12)\n jne 1b\n"
           "xor %eax, %eax\n cpuid\n"
           "call *%rsi\n cmp %r8d, %eax\n je 2f\n inc %r9d\n"
           "2: mov %r8d, (%r11)\n inc %r8d\n dec %r10d\n jnz 1b\n");

static void test_dma_modify(void)
{
    enum { TIMES = 300 };
    Smp s = smp_new(1);
    X86Cpu *cpu = smp_code(&s, 0, code_modified_dma);
    guest_put(s.g, D_CODE, function, sizeof(function));
    cpu->gpr[R_RSI] = D_CODE;
    cpu->gpr[R_RDX] = D_FLAG;
    cpu->gpr[R_RBX] = D_ACK;
    cpu->gpr[R_RCX] = TIMES;
    machine_start(s.g->m);
    for (unsigned i = 1; i <= TIMES; i++) {
        guest_st(s.g, D_CODE + 4, 4, i);
        guest_st(s.g, D_FLAG, 4, i);
        for (unsigned k = 0; guest_ld(s.g, D_ACK, 4) != i; k++) {
            g_assert_cmpuint(k, <, 100000);
            g_usleep(10);
        }
    }
    smp_run(&s);
    g_assert_cmpuint(cpu->gpr[9], ==, 0);
    smp_free(&s);
}

/* --- stopping: commands come while vCPUs do split locks and wait for each other --- */

GUEST_CODE(code_split_for_ever, 64, "1: lock incl (%rsi)\n cmpl $0, (%rdx)\n je 1b\n");

static void test_stop(void)
{
    Smp s = smp_new(3);
    for (unsigned i = 0; i < s.n; i++) {
        X86Cpu *cpu = smp_code(&s, i, code_split_for_ever);
        cpu->gpr[R_RSI] = D_VARS + 4096 - 2;
        cpu->gpr[R_RDX] = D_FLAG;
    }
    for (unsigned i = 0; i < 30; i++) {
        machine_start(s.g->m);
        g_usleep(300);
        machine_stop(s.g->m, RUN_PAUSED);
    }
    guest_st(s.g, D_FLAG, 4, 1);
    smp_run(&s);
    g_assert_cmpuint(guest_ld(s.g, D_VARS + 4096 - 2, 4), >, 0);
    smp_free(&s);
}

/* --- waiting alone --- */

GUEST_CODE(code_pauses, 64, "mov $60000, %ecx\n 0: pause\n dec %ecx\n jnz 0b\n mov $7, %eax");

/* Thousands of PAUSEs one after the other: the thread gives the host's CPU away now and then. */
static void test_pauses(void)
{
    long naps = 0;
    for (unsigned i = 0; i < 200 && naps < 10; i++) { /* on a busy host PAUSEs do not look like a loop each time */
        struct rusage before, after;
        Guest *g = guest_new(NULL);
        guest_long(g);
        g->m->serial_mode = false; /* as with a thread of its own, which this is */
        g->cpu->t0->spin_ns = 1000000; /* it has waited for long; PAUSEs may be too fast for counting on it */
        g->cpu->t0->spin_seen = clock_now(&clock_host_monotonic);
        getrusage(RUSAGE_THREAD, &before);
        guest_run(g, code_pauses);
        getrusage(RUSAGE_THREAD, &after);
        g_assert_cmpuint(g->cpu->gpr[R_RAX], ==, 7);
        naps += after.ru_nvcsw - before.ru_nvcsw;
        guest_free(g);
    }
    g_assert_cmpint(naps, >=, 10);
}

static gpointer kick_soon(gpointer opaque)
{
    g_usleep(20000);
    vcpu_kick(opaque);
    return NULL;
}

static void test_nap(void)
{
    Guest *g = guest_new(NULL);
    Vcpu *v = &g->cpu->vcpu;
    v->exit_request = 0;
    gint64 begin = g_get_monotonic_time();
    vcpu_nap(v, 1000000);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 1000);
    GThread *t = g_thread_new("kick", kick_soon, v);
    vcpu_nap(v, 60 * (int64_t)1000000000); /* ends when it is kicked, */
    g_assert_cmpint(v->exit_request, !=, 0);
    vcpu_nap(v, 60 * (int64_t)1000000000); /* and does not begin when it has been */
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 50 * G_USEC_PER_SEC);
    g_thread_join(t);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/smp/locked", test_locked);
    g_test_add_func("/cpu/smp/split-line", test_split_line);
    g_test_add_func("/cpu/smp/split-page", test_split_page);
    g_test_add_func("/cpu/smp/cmpxchg16b", test_cmpxchg16b);
    g_test_add_func("/cpu/smp/sb", test_sb);
    g_test_add_func("/cpu/smp/sb-locked", test_sb_locked);
    g_test_add_func("/cpu/smp/mp", test_mp);
    g_test_add_func("/cpu/smp/lb", test_lb);
    g_test_add_func("/cpu/smp/iriw", test_iriw);
    g_test_add_func("/cpu/smp/cross-modify", test_cross_modify);
    g_test_add_func("/cpu/smp/dma-modify", test_dma_modify);
    g_test_add_func("/cpu/smp/stop", test_stop);
    g_test_add_func("/cpu/smp/pauses", test_pauses);
    g_test_add_func("/cpu/smp/nap", test_nap);
    return g_test_run();
}
