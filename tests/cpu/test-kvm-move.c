/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-move.c - stopped machines move between tcg and kvm (system/accel_move.c, monitor/accel.c): guests that
 * compute, take timer interrupts, look at the time and share memory go through 100 moves at random points and come to what
 * the same rounds give on the host; a copy of memory that follows dirty pages stays a copy; what cannot move says why.
 * Threads: main, and the guests' vCPU threads.
 */
#include "rhea/accel/tcg.h"
#include "rhea/accel/test.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/monitor/monitor.h"
#include "target/x86/kvm.h"
#include "rhea/schema/type.h"
#include "tests/cpu/kvmguest.h"

#include <string.h>

enum { V_TIMER = 0x40 };
/* What a CPU works on, at G_WORK + index * 64 KiB: the first page is its result, the rest a table of 4096 words. */
enum { G_WORK = 0x200000, WORK_SIZE = 0x10000, AT_ROUNDS = 0, AT_HASH = 8, AT_CARRIES = 16, AT_BACK = 24, AT_TICKS = 32, AT_FPU = 40,
       AT_SSE = 48, AT_TSC = 64, AT_TABLE = 0x1000, G_STOP = 0x1f0000, G_SHARED = 0x1f0008 };

const AccelOps *const accel_table[] = { &accel_tcg_ops, &accel_kvm_ops, &accel_test_ops, NULL };
const BoardType *const board_table[] = { &board_none, NULL };

/* RSI: the work area, R14: privilege. RAX is the hash, the carry of R9 lives in the flags from round to round. Every 512th
 * round counts in an x87 and in an SSE register: instructions that some KVMs leave to the interpreter. */
GUEST_CODE(w_loop, 64,
           "xor %eax, %eax\n xor %r9d, %r9d\n xor %r10d, %r10d\n xor %r12d, %r12d\n fninit\n fldz\n pxor %xmm1, %xmm1\n"
           "mov $1, %ecx\n movq %rcx, %xmm2\n movabs $6364136223846793005, %r11\n movabs $1442695040888963407, %r13\n clc\n"
           "1: adc %rax, %r9\n pushf\n"
           "imul %r11, %rax\n add %r13, %rax\n mov %rax, %rbx\n shr $40, %rbx\n and $0x7ff8, %ebx\n xor %rax, 0x1000(%rsi,%rbx)\n"
           "inc %r10\n test $511, %r10d\n jnz 2f\n fld1\n faddp\n paddq %xmm2, %xmm1\n lock incq 0x1f0008\n"
           "rdtsc\n shl $32, %rdx\n mov %eax, %eax\n or %rdx, %rax\n cmp %rax, 64(%rsi)\n jbe 3f\n incq 24(%rsi)\n mov 64(%rsi), %rbx\n mov %rbx, 72(%rsi)\n mov %rax, 80(%rsi)\n 3: mov %rax, 64(%rsi)\n"
           "mov 8(%rsi), %rax\n imul %r11, %rax\n add %r13, %rax\n"
           "2: mov %rax, 8(%rsi)\n mov %r10, (%rsi)\n cmpq $0, 0x1f0000\n jne 4f\n popf\n jmp 1b\n"
           "4: popf\n fstpl 40(%rsi)\n movdqu %xmm1, 48(%rsi)\n mov %r9, 16(%rsi)\n cli\n");
/* Of the timer: counts in its CPU's area, which the APIC's id finds, and ends the interrupt. */
GUEST_CODE(w_tick, 64, "push %rax\n push %rbx\n movabs $0xfee00000, %rbx\n mov 0x20(%rbx), %eax\n shr $24, %eax\n shl $16, %eax\n"
                       "incq 0x200020(%rax)\n movl $0, 0xb0(%rbx)\n pop %rbx\n pop %rax\n iretq\n");
/* In front of w_loop, at CPL 0: APIC on, the timer periodic, and down to CPL 3 when R14 says so. */
GUEST_CODE(w_start, 64, "movabs $0xfee00000, %rbx\n movl $0x1ff, 0xf0(%rbx)\n movl $0xb, 0x3e0(%rbx)\n movl $0x20040, 0x320(%rbx)\n"
                        "movl $4000000, 0x380(%rbx)\n sti\n mov $0x11000, %ecx\n test %r14d, %r14d\n jnz 1f\n jmp *%rcx\n"
                        "1: pushq $0x23\n push %rdi\n pushf\n pushq $0x4b\n push %rcx\n iretq\n");

typedef struct Plan {
    const char *name, *chip; /* kernel-irqchip= */
    unsigned cpus;
    bool user;
    const char *tier;
    unsigned moves;
    const char *ring; /* dirty-ring-size= where KVM has it */
} Plan;

static const Plan plans[] = {
    { "tier1", "off", 1, false, "1", 100 },  { "tier0", "off", 1, false, "0", 40 }, { "user", "off", 1, true, "1", 40 },
    { "split", "split", 1, false, "1", 40 }, { "smp", "off", 2, false, "1", 40 },   { "smp-split", "split", 2, true, "1", 40 },
    { "ring", "off", 1, false, "1", 20, "1024" }, { "smp-ring", "split", 2, true, "0", 20, "4096" },
};

static void *state_of(Machine *m, const AccelOps *a, const char *prop, const char *text)
{
    void *s = g_malloc0(a->state_size);
    props_init(a->props, s);
    if (prop) {
        prop_set_text(m, prop_find(a->props, prop), s, text, &error_abort_slot);
    }
    return s;
}

static void move_over(Guest *g, const Plan *p)
{
    bool on_kvm = g->m->accel == &accel_kvm_ops;
    const AccelOps *to = on_kvm ? &accel_tcg_ops : &accel_kvm_ops;
    Error *err = NULL;
    void *state = state_of(g->m, to, on_kvm ? "tier" : "kernel-irqchip", on_kvm ? p->tier : p->chip);
    if (!on_kvm && p->ring) {
        prop_set_text(g->m, prop_find(to->props, "dirty-ring-size"), state, p->ring, &error_abort_slot);
    }
    if (!machine_move(g->m, to, state, &err)) {
        g_error("no move to %s: %s", to->name, error_text(err));
    }
    g_assert_true(g->m->accel == to);
}

static void make_ready(Guest *g, const Plan *p)
{
    for (unsigned i = 0; i < p->cpus; i++) {
        g_assert_nonnull(apic_create(g->m, g->m->cpus[i], g->m->unattached, &error_abort_slot));
    }
    machine_reset(g->m, RESET_COLD);
    for (unsigned i = 0; i < p->cpus; i++) {
        X86Cpu *cpu = g->cpu = x86_cpu(g->m->cpus[i]);
        guest_long(g);
        /* Pages are the user's; the APIC's are in the fourth GiB. */
        guest_st(g, G_PT + 0x1000 + 3 * 8, 8, (G_PT + 0x3000) | 7);
        guest_st(g, G_PT + 0x3000 + 0x1f7 * 8, 8, 0xfee00000 | 0x9b);
        guest_gate64(g, G_IDT + V_TIMER * 16, S_CODE64, G_HANDLERS + 0x8000, 0x8e, 0);
        cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
        cpu->cr0 |= CR0_NE | CR0_MP;
        cpu->rip = G_CODE;
        cpu->gpr[R_RSI] = G_WORK + i * WORK_SIZE;
        cpu->gpr[R_RSP] = G_STACK0 - i * 0x400;
        cpu->gpr[R_RDI] = G_STACK3 - i * 0x400; /* CPL 3's stack */
        cpu->gpr[14] = p->user;
        guest_st(g, G_TSS + 0x400 * i + 4, 8, G_STACK0 - i * 0x400);
        cpu->tr.base = G_TSS + 0x400 * i;
        cpu->wait_sipi = cpu->vcpu.halted = false;
        x86_update_mode(cpu);
    }
    g->cpu = x86_cpu(g->m->cpus[0]);
    guest_put(g, G_HANDLERS + 0x8000, w_tick, (size_t)(w_tick_end - w_tick));
    guest_put(g, G_CODE, w_start, (size_t)(w_start_end - w_start));
    guest_put(g, G_CODE + 0x1000, w_loop, (size_t)(w_loop_end - w_loop));
}

/* The same rounds here. */
static void check_work(Guest *g, unsigned cpu, const Plan *p)
{
    hwaddr at = G_WORK + cpu * WORK_SIZE;
    uint64_t rounds = guest_ld(g, at + AT_ROUNDS, 8), hash = 0, sum = 0, counted = rounds / 512;
    g_autofree uint64_t *table = g_new0(uint64_t, 4096);
    bool carry = false;
    for (uint64_t i = 1; i <= rounds; i++) {
        unsigned __int128 wide = (unsigned __int128)sum + hash + carry;
        sum = (uint64_t)wide;
        carry = wide >> 64;
        hash = hash * 6364136223846793005u + 1442695040888963407u;
        table[hash >> 43 & 0xfff] ^= hash;
    }
    double fpu;
    uint64_t bits = guest_ld(g, at + AT_FPU, 8);
    memcpy(&fpu, &bits, 8);
    g_test_message("%s: CPU %u: %" PRIu64 " rounds, %" PRIu64 " ticks", p->name, cpu, rounds, guest_ld(g, at + AT_TICKS, 8));
    g_assert_cmphex(guest_ld(g, at + AT_HASH, 8), ==, hash);
    g_assert_cmphex(guest_ld(g, at + AT_CARRIES, 8), ==, sum);
    for (unsigned i = 0; i < 4096; i++) {
        g_assert_cmphex(guest_ld(g, at + AT_TABLE + 8 * i, 8), ==, table[i]);
    }
    g_assert_true(fpu == (double)counted);
    g_assert_cmpuint(guest_ld(g, at + AT_SSE, 8), ==, counted);
    if (guest_ld(g, at + AT_BACK, 8)) {
        g_error("%s: CPU %u: the TSC went back %" PRIu64 " times, at last from %" PRIu64 " to %" PRIu64, p->name, cpu,
                guest_ld(g, at + AT_BACK, 8), guest_ld(g, at + AT_TSC + 8, 8), guest_ld(g, at + AT_TSC + 16, 8));
    }
    g_assert_cmpuint(guest_ld(g, at + AT_TICKS, 8), >, p->moves / 20); /* the host may be busy */
}

/* Follows dirty pages as a migration would. */
typedef struct Mirror {
    uint8_t *copy;
    RamBlock *ram;
} Mirror;

static void mirror_follow(Mirror *c)
{
    unsigned long bits[G_RAM / 4096 / 64];
    dirty_take(c->ram, DIRTY_MIGRATION, 0, G_RAM / 4096, bits);
    for (unsigned p = 0; p < G_RAM / 4096; p++) {
        if (bits[p / 64] >> (p % 64) & 1) {
            memcpy(c->copy + p * 4096, c->ram->host + p * 4096, 4096);
        }
    }
}

static void mirror_check(const Mirror *c)
{
    for (unsigned at = 0; at < G_RAM; at += 8) {
        uint64_t here, there;
        memcpy(&here, c->copy + at, 8);
        memcpy(&there, c->ram->host + at, 8);
        if (here != there) {
            g_error("a write to 0x%x was not told: 0x%" PRIx64 ", the copy has 0x%" PRIx64, at, there, here);
        }
    }
}

static void turn_loop(Guest *g, unsigned us)
{
    int64_t end = g_get_monotonic_time() + us;
    do {
        loop_turn(g->loop, false);
        g_usleep(MIN(us / 4 + 1, 500u));
    } while (g_get_monotonic_time() < end);
}

static bool all_halted(Guest *g)
{
    for (unsigned i = 0; i < g->m->n_cpus; i++) {
        /* CPL 3 halts by the #GP's handler. */
        if (!g->m->cpus[i]->halted) {
            return false;
        }
    }
    return true;
}

static void test_moves(gconstpointer data)
{
    const Plan *p = data;
    if (kvm_skipped()) {
        return;
    }
    if (p->ring && !kvm_has_rings()) {
        g_test_skip("this KVM lacks KVM_CAP_DIRTY_LOG_RING");
        return;
    }
    g_autoptr(GRand) r = g_rand_new_with_seed(7 + (guint32)(p - plans));
    g_setenv("RHEA_TEST_ACCEL", "kvm", true);
    g_unsetenv("RHEA_TEST_TIER");
    guest_accel_props = p->chip;
    guest_dirty_ring = p->ring;
    Guest *g = guest_new_smp("qemu64", p->cpus, false);
    guest_accel_props = guest_dirty_ring = NULL;
    make_ready(g, p);
    Mirror mirror = { g_malloc(G_RAM), g->m->ram };
    dirty_enable(g->m->ram, DIRTY_MIGRATION, true);
    uint64_t progress = 0, moved_on = 0;
    for (unsigned i = 0; i < p->moves; i++) {
        machine_start(g->m);
        turn_loop(g, (unsigned)g_rand_int_range(r, 0, i % 10 ? 4000 : 20000));
        machine_stop(g->m, RUN_PAUSED);
        g_assert_cmpint(g->m->state, ==, RUN_PAUSED);
        uint64_t now = guest_ld(g, G_WORK + AT_ROUNDS, 8);
        moved_on += now != progress;
        progress = now;
        if (i & 1) {
            mirror_follow(&mirror); /* else what is pending goes through the move */
        }
        move_over(g, p);
    }
    g_assert_cmpuint(moved_on, >, p->moves / 8); /* a busy host may let nothing run for some */
    guest_st(g, G_STOP, 8, 1);
    for (unsigned i = 0; i < 2000 && !(i && all_halted(g)); i++) {
        machine_start(g->m);
        turn_loop(g, 2000 + i * 100);
        machine_stop(g->m, RUN_PAUSED);
    }
    g_assert_true(all_halted(g));
    mirror_follow(&mirror);
    mirror_check(&mirror);
    uint64_t shared = 0;
    for (unsigned i = 0; i < p->cpus; i++) {
        check_work(g, i, p);
        shared += guest_ld(g, G_WORK + i * WORK_SIZE + AT_ROUNDS, 8) / 512;
    }
    g_assert_cmpuint(guest_ld(g, G_SHARED, 8), ==, shared);
    dirty_enable(g->m->ram, DIRTY_MIGRATION, false);
    g_free(mirror.copy);
    guest_free(g);
}

static void stays(Guest *g, const char *options, const char *text)
{
    const AccelOps *was = g->m->accel;
    Error *err = NULL;
    bool from_text;
    g_autoptr(Json) opts = keyval_parse(options, "accel", &from_text, &error_abort_slot);
    g_assert_false(monitor_accel_json(g->m, opts, &err));
    if (!strstr(error_text(err), text)) {
        g_error("accel %s: '%s' does not say '%s'", options, error_text(err), text);
    }
    error_free(err);
    g_assert_true(g->m->accel == was);
}

/* What cannot move stays where it is, whole, wherever the move failed. */
GUEST_CODE(s_count, 64, "1: inc %rax\n cmp %rbx, %rax\n jb 1b\n cli\n");

static void test_refusals(void)
{
    g_setenv("RHEA_TEST_ACCEL", "tcg", true);
    g_setenv("RHEA_TEST_TIER", "1", true);
    Guest *g = guest_new_smp("qemu64,-pni,tsc-frequency=1234567000", 1, false);
    guest_long(g);
    guest_put(g, G_CODE, s_count, (size_t)(s_count_end - s_count));
    g->cpu->rip = G_CODE;
    g->cpu->gpr[R_RBX] = UINT64_MAX;
    g->cpu->wait_sipi = g->cpu->vcpu.halted = false;
    machine_start(g->m);
    stays(g, "tcg", "is running");
    machine_stop(g->m, RUN_PAUSED);
    stays(g, "tgc", "unknown accelerator 'tgc'");
    stays(g, "tcg,speed=1", "no property 'speed'");
    stays(g, "tcg,tier=7", "7");
    stays(g, "tcg,thread=single", "threads of their own");
    stays(g, "test", "runs no CPU");
    if (kvm_available(NULL)) {
        stays(g, "kvm", "the guest's TSC runs at 1234567 kHz");
        stays(g, "kvm,complete=perhaps", "perhaps");
    }
    g->cpu->gpr[R_RBX] = g->cpu->gpr[R_RAX] + 100000;
    for (unsigned i = 0; i < 500 && !g->cpu->vcpu.halted; i++) {
        machine_start(g->m);
        turn_loop(g, 1000);
        machine_stop(g->m, RUN_PAUSED);
    }
    g_assert_true(g->cpu->vcpu.halted);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, g->cpu->gpr[R_RBX]);
    guest_free(g);
}

/* A CPU that takes turns in one thread, and one with a feature the other lacks. */
static void test_misfits(void)
{
    g_setenv("RHEA_TEST_ACCEL", "tcg", true);
    Guest *g = guest_new_smp(NULL, 1, true);
    stays(g, "tcg", "take turns");
    guest_free(g);
    if (kvm_skipped()) {
        return;
    }
    g_setenv("RHEA_TEST_ACCEL", "kvm", true);
    g = guest_new_smp("qemu64", 1, false);
    ((X86CpuModel *)g->m->cpu_model)->words[FW_7_EBX] |= 1u << 31; /* AVX512VL */
    stays(g, "tcg", "avx512vl");
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(plans); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm-move/random/%s", plans[i].name);
        g_test_add_data_func(path, &plans[i], test_moves);
    }
    g_test_add_func("/cpu/kvm-move/refusals", test_refusals);
    g_test_add_func("/cpu/kvm-move/misfits", test_misfits);
    return g_test_run();
}
