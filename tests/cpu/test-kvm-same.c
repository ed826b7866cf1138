/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-same.c - small guests that must come to the same end in tier 0, tier 1 and on KVM, and the
 * instructions that some KVMs leave to the interpreter (target/x86/kvm-complete.c).
 * What this host's KVM cannot do is skipped for the reason a probe found.
 * Threads: main.
 */
#include "config.h"
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"

#include <string.h>

typedef struct Result {
    uint64_t gpr[16], rip, cr2;
    uint32_t eflags;
    int vector;
    bool down;
    unsigned n_io, n_in;
    GuestIo io[32];
    uint32_t data;
    uint32_t mmio; /* what the registers at M_AT saw, in order; what they hold */
    unsigned n_mmio;
} Result;

/* Registers in place of a page of RAM: they hold what is written. */
enum { M_AT = 0x700000 };
typedef struct Window {
    MemRegion regs;
    uint8_t held[4096];
    uint32_t log;
    unsigned n;
} Window;

static void window_log(Window *w, const MemAccess *a, uint64_t val, bool write)
{
    w->log = ((w->log * 31 + (uint32_t)a->off) * 31 + a->size * 2 + write) * 31 + (uint32_t)(val ^ val >> 32);
    w->n++;
}

static uint64_t window_read(void *opaque, MemAccess *a)
{
    Window *w = opaque;
    uint64_t v = 0;
    memcpy(&v, w->held + a->off, a->size);
    window_log(w, a, v, false);
    return v;
}

static void window_write(void *opaque, MemAccess *a, uint64_t val)
{
    Window *w = opaque;
    memcpy(w->held + a->off, &val, a->size);
    window_log(w, a, val, true);
}

static void window_open(Guest *g, Window *w)
{
    static const MemOps ops = { .read = window_read, .write = window_write, .min = 1, .max = 8, .impl_max = 8 };
    for (unsigned i = 0; i < sizeof(w->held); i++) {
        w->held[i] = (uint8_t)(i * 5 + 3);
    }
    region_init_io(&w->regs, NULL, "registers", &ops, w, sizeof(w->held));
    region_map(&g->m->sysmem, M_AT, &w->regs, 1);
}

static void window_close(Window *w, Result *r)
{
    for (unsigned i = 0; i < sizeof(w->held); i++) {
        r->mmio = r->mmio * 31 + w->held[i];
    }
    r->mmio ^= w->log;
    r->n_mmio = w->n;
    region_unmap(&w->regs);
    region_fini(&w->regs);
}

typedef enum Mode { REAL16, PROT32, LONG64, USER64, PAGED32 } Mode;
typedef struct Case {
    const char *name;
    Mode mode;
    const uint8_t *code, *end;
} Case;

static void enter_mode(Guest *g, Mode mode)
{
    switch (mode) {
    case REAL16:
        for (unsigned i = 0; i < SEG_COUNT; i++) {
            g->cpu->seg[i] = (X86Seg){ .limit = 0xffff, .attr = SA_P | SA_S | SA_RW | SA_ACCESSED };
            g->cpu->seg_base[i] = 0;
        }
        g->cpu->seg[SEG_CS] = (X86Seg){ .sel = G_CODE >> 4, .base = G_CODE, .limit = 0xffff,
                                        .attr = SA_P | SA_S | SA_CODE | SA_RW | SA_ACCESSED };
        g->cpu->idt = (X86Table){ 0, 0x3ff };
        for (unsigned v = 0; v < 256; v++) { /* each vector halts at its own place */
            guest_st(g, v * 4, 4, (uint64_t)(G_HANDLERS >> 4) << 16 | v * 16);
            guest_st(g, G_HANDLERS + v * 16, 1, 0xf4);
        }
        g->cpu->gpr[R_RSP] = 0x8000;
        g->cpu->wait_sipi = g->cpu->vcpu.halted = false;
        break;
    case PROT32: guest_pm32(g); break;
    case PAGED32: guest_pm32(g); guest_paging32(g); break;
    case LONG64: guest_long(g); break;
    case USER64: guest_long(g); guest_user(g); break;
    }
    g->cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    g->cpu->cr0 |= CR0_NE | CR0_MP;
    x86_update_mode(g->cpu);
}

static Result run_case(Engine e, const Case *c, uint64_t *completed)
{
    Result r;
    Window w = { .log = 1 };
    memset(&r, 0, sizeof(r)); /* with its holes: it is compared as a whole */
    Guest *g = guest_on(e, NULL);
    window_open(g, &w);
    enter_mode(g, c->mode);
    guest_put(g, G_CODE, c->code, (size_t)(c->end - c->code));
    g->cpu->rip = c->mode == REAL16 ? 0 : G_CODE;
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->gpr[R_RSI] = G_DATA + 0x800;
    for (unsigned i = 0; i < 64; i++) {
        guest_st(g, G_DATA + 0x800 + i, 1, i * 7 + 1);
    }
    guest_continue(g);
    memcpy(r.gpr, g->cpu->gpr, sizeof(r.gpr));
    r.rip = g->cpu->rip;
    r.cr2 = g->cpu->cr2;
    r.eflags = x86_get_eflags(g->cpu) & ~(FL_RF | FL_AF);
    r.vector = guest_vector(g);
    r.down = g->shut_down;
    r.n_io = g->n_io;
    r.n_in = g->n_in;
    memcpy(r.io, g->io, sizeof(r.io));
    for (unsigned i = 0; i < 0x1000; i++) {
        r.data = r.data * 31 + (uint8_t)guest_ld(g, G_DATA + i, 1);
    }
    if (completed) {
        *completed = g->cpu->kvm->completed + g->cpu->kvm->software_insns;
    }
    window_close(&w, &r);
    guest_free(g);
    return r;
}

static void same_result(const Case *c, Engine e, const Result *want, const Result *got)
{
    static const char *const regs[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    for (unsigned i = 0; i < 16; i++) {
        if (want->gpr[i] != got->gpr[i]) {
            g_error("%s: %s is 0x%" PRIx64 " on %s, 0x%" PRIx64 " on tier 0", c->name, regs[i], got->gpr[i],
                    engine_names[e], want->gpr[i]);
        }
    }
    if (memcmp(want, got, sizeof(*want))) {
        g_error("%s: on %s rip 0x%" PRIx64 " flags 0x%x vector %d down %d out %u in %u data 0x%x cr2 0x%" PRIx64 " registers 0x%x (%u)"
                ", on tier 0 rip 0x%" PRIx64 " flags 0x%x vector %d down %d out %u in %u data 0x%x cr2 0x%" PRIx64 " registers 0x%x (%u)",
                c->name, engine_names[e], got->rip, got->eflags, got->vector, got->down, got->n_io, got->n_in, got->data,
                got->cr2, got->mmio, got->n_mmio, want->rip, want->eflags, want->vector, want->down, want->n_io, want->n_in,
                want->data, want->cr2, want->mmio, want->n_mmio);
    }
}

#define CASE(n, m) { #n, m, n, n##_end }
/* Integer code, all sizes of ports, strings of ports, stack, loops, far returns. */
GUEST_CODE(k_real, 16, "mov $0x1234, %ax\n mov $7, %cx\n 1: add %cx, %ax\n rol $3, %ax\n loop 1b\n out %al, $0x80\n"
                       "out %ax, $0x82\n in $0x85, %al\n in $0x86, %ax\n mov $0x3000, %bx\n mov %bx, %es\n mov $0x5555aaaa, %edx\n"
                       "mov %edx, %es:(0x10)\n mov %es:(0x11), %si\n push %si\n pop %di\n sti\n cli\n pushf\n pop %bp\n");
GUEST_CODE(k_real_int, 16, "mov $0x77, %dx\n int $0x42\n");
GUEST_CODE(k_real_div, 16, "xor %cx, %cx\n div %cx\n");
GUEST_CODE(k_pm, 32, "mov $100, %ecx\n 1: imul $17, %ecx, %eax\n xor %eax, (%edi,%ecx,4)\n adc %eax, %ebx\n bswap %eax\n"
                     "dec %ecx\n jnz 1b\n mov %cr0, %edx\n out %eax, $0x84\n in $0x80, %eax\n mov $0x80, %edx\n"
                     "mov $5, %ecx\n rep outsb\n mov $3, %ecx\n rep insb\n cmpxchg8b (%edi)\n");
GUEST_CODE(k_pm_ud, 32, "mov $1, %eax\n ud2\n");
GUEST_CODE(k_long, 64, "mov $50, %rcx\n movabs $0x0123456789abcdef, %rax\n 1: ror $7, %rax\n mulq %rax\n add %rdx, %r9\n"
                       "mov %rax, (%rdi,%rcx,8)\n lock xadd %rax, (%rdi,%rcx,8)\n bsf %rax, %r10\n cmovz %rcx, %r11\n"
                       "loop 1b\n out %eax, $0x80\n in $0x80, %eax\n mov %cr3, %r12\n mov %cr4, %r13\n call 2f\n jmp 3f\n"
                       "2: ret\n 3: movdqu (%rsi), %xmm0\n movdqu %xmm0, 64(%rdi)\n fxsave 0x100(%rdi)\n movl $0, 0x118(%rdi)\n"
                       "movl $0, 0x11c(%rdi)\n test %r9, %r9\n");
GUEST_CODE(k_long_pf, 64, "mov $0x900008, %rax\n mov %rax, (%rax)\n");
GUEST_CODE(k_long_gp, 64, "movabs $0x8000000000000000, %rax\n mov (%rax), %rbx\n");
GUEST_CODE(k_long_down, 64, "lidt 2f(%rip)\n ud2\n 2: .word 0\n .quad 0\n");
GUEST_CODE(k_user, 64, "mov $1000, %rcx\n 1: add %rcx, %rax\n lea 3(%rax,%rcx,2), %rbx\n xor %rbx, %rdx\n loop 1b\n"
                       "movq %rdx, %xmm1\n paddq %xmm1, %xmm1\n movq %xmm1, %r8\n div %rcx\n");
GUEST_CODE(k_paged, 32, "mov $3, %ecx\n 1: mov %ecx, (%edi,%ecx,4)\n add (%edi,%ecx,4), %eax\n loop 1b\n mov %cr3, %edx\n"
                        "mov %edx, %cr3\n mov $0x80000000, %ebx\n or $0x3c, %bl\n mov 0x7ffffc(,%eax,1), %esi\n");
GUEST_CODE(k_paged_off, 32, "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n mov $11, %ebx\n or $0x80000000, %eax\n"
                            "mov %eax, %cr0\n mov $12, %ecx\n mov %ebx, (%edi)\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
                            "mov $13, %edx\n out %eax, $0x80\n");
/* From real protected mode: builds an identity map of 4 MiB pages at 1 MiB, switches paging on and off. */
GUEST_CODE(k_page_on, 32, "push $0\n push $0\n lidt (%esp)\n mov $0x100000, %edx\n mov $0x83, %eax\n 1: mov %eax, (%edx)\n add $4, %edx\n add $0x400000, %eax\n"
                          "cmp $0x100010, %edx\n jb 1b\n mov $0x100000, %edx\n mov %edx, %cr3\n mov %cr4, %edx\n or $0x10, %edx\n"
                          "mov %edx, %cr4\n mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n jmp 2f\n 2: mov $21, %ebx\n"
                          "mov %ebx, (%edi)\n mov 0x4(%edi), %ecx\n and $0x7fffffff, %eax\n mov %eax, %cr0\n mov $22, %ecx\n"
                          "out %al, $0x81\n");
/* Registers in memory: all sizes, read-modify-write, strings there and back, exchange, a locked addition. (Not
 * INS into registers: KVM writes what it took from the port in larger pieces.) */
GUEST_CODE(k_mmio, 32, "mov $0x700000, %ebx\n mov 1(%ebx), %al\n mov 2(%ebx), %cx\n mov 4(%ebx), %edx\n mov %al, 9(%ebx)\n"
                       "mov %cx, 10(%ebx)\n mov %edx, 12(%ebx)\n movzbl 5(%ebx), %ebp\n movswl 6(%ebx), %eax\n add %eax, 16(%ebx)\n"
                       "xor %bp, 20(%ebx)\n incb 22(%ebx)\n xchg %edx, 24(%ebx)\n lock xadd %ebp, 28(%ebx)\n push 32(%ebx)\n"
                       "pop 36(%ebx)\n mov $0x700040, %edi\n mov $0x18800, %esi\n mov $5, %ecx\n rep movsl\n mov $3, %ecx\n"
                       "rep stosb\n mov $0x700080, %esi\n mov $0x18100, %edi\n mov $7, %ecx\n rep movsw\n cmpl %eax, 40(%ebx)\n");
GUEST_CODE(k_mmio64, 64, "mov $0x700000, %ebx\n mov 8(%rbx), %rax\n mov %rax, 16(%rbx)\n mov %eax, 24(%rbx)\n add %rax, 32(%rbx)\n"
                         "mov $0x700040, %edi\n mov $0x18800, %esi\n mov $4, %ecx\n rep movsq\n movslq 4(%rbx), %r8\n"
                         "movnti %r8, 48(%rbx)\n movabs 0x700038, %rax\n mov 40(%rbx), %r9d\n mov 44(%rbx), %r10w\n sub %r10b, 47(%rbx)\n");
static const Case cases[] = {
    CASE(k_mmio, PROT32), CASE(k_mmio64, LONG64),
    CASE(k_real, REAL16), CASE(k_real_int, REAL16), CASE(k_real_div, REAL16), CASE(k_pm, PROT32), CASE(k_pm_ud, PROT32),
    CASE(k_long, LONG64), CASE(k_long_pf, LONG64), CASE(k_long_gp, LONG64), CASE(k_long_down, LONG64),
    CASE(k_user, USER64), CASE(k_paged, PAGED32), CASE(k_paged_off, PAGED32),
    CASE(k_page_on, PROT32),
};

static void test_same(gconstpointer data)
{
    const Case *c = data;
    Result want = run_case(TIER0, c, NULL), t1 = run_case(TIER1, c, NULL);
    same_result(c, TIER1, &want, &t1);
    if (kvm_skipped()) {
        return;
    }
    uint64_t software;
    Result got = run_case(ON_KVM, c, &software);
    g_test_message("%" PRIu64 " instructions in software", software);
    same_result(c, ON_KVM, &want, &got);
}

/* ---- instructions that some KVMs give up on ---- */

GUEST_CODE(c_fwait, 64, "fninit\n fwait\n fld1\n fldpi\n faddp\n fstpl (%rdi)\n mov (%rdi), %rax\n");
GUEST_CODE(c_int3, 64, "mov $5, %eax\n int3\n");
GUEST_CODE(c_intn, 64, "mov $6, %eax\n int $0x42\n");
GUEST_CODE(c_iret, 32, "pushf\n push %cs\n push $0\n call 2f\n 2: pop %eax\n add $(1f-2b), %eax\n mov %eax, (%esp)\n"
                       "iret\n ud2\n 1: mov $9, %ebx\n");
GUEST_CODE(c_sse, 64, "movdqu (%rsi), %xmm2\n paddd %xmm2, %xmm2\n pxor %xmm3, %xmm3\n punpcklbw %xmm3, %xmm2\n movdqu %xmm2, (%rdi)\n"
                      "cvtsi2sd %rsi, %xmm4\n mulsd %xmm4, %xmm4\n cvtsd2si %xmm4, %rbx\n ldmxcsr 2f(%rip)\n stmxcsr 32(%rdi)\n"
                      "jmp 3f\n 2: .long 0x1f80\n 3: nop\n");
GUEST_CODE(c_lar, 64, "mov $0x10, %ecx\n lar %ecx, %eax\n lsl %ecx, %edx\n verw %cx\n setz %bl\n");
GUEST_CODE(c_cx16, 64, "mov $1, %ebx\n mov $2, %ecx\n xor %eax, %eax\n xor %edx, %edx\n lock cmpxchg16b (%rdi)\n setz %r8b\n");
GUEST_CODE(c_many, 64, "mov $3000, %ecx\n fninit\n fldz\n 1: fld1\n faddp\n loop 1b\n fistpll (%rdi)\n fwait\n mov (%rdi), %rax\n");
GUEST_CODE(c_io, 64, "mov $20, %ecx\n 1: fwait\n mov %ecx, %eax\n out %al, $0x80\n fwait\n in $0x81, %al\n loop 1b\n");
static const Case completions[] = {
    CASE(c_fwait, LONG64), CASE(c_int3, LONG64), CASE(c_intn, LONG64), CASE(c_iret, PROT32), CASE(c_sse, LONG64),
    CASE(c_lar, LONG64), CASE(c_cx16, LONG64), CASE(c_many, LONG64), CASE(c_io, LONG64),
};

static VcpuExit run_on(Guest *g)
{
    VcpuExit e;
    do {
        e = g->m->accel->run(&g->cpu->vcpu);
    } while (e.why == EXIT_KICKED);
    return e;
}

/* complete-limit ends a guest with a message instead of running on. */
static void test_limit(void)
{
    if (kvm_skipped()) {
        return;
    }
    Guest *g = guest_on(ON_KVM, NULL);
    enter_mode(g, LONG64);
    kvm_vm(g->m)->complete = false;
    guest_put(g, G_CODE, c_fwait, (size_t)(c_fwait_end - c_fwait));
    g->cpu->rip = G_CODE;
    VcpuExit e = run_on(g);
    if (e.why == EXIT_HALT) {
        g_test_skip("this KVM runs every instruction");
    } else {
        g_assert_cmpint(e.why, ==, EXIT_ERROR);
        kvm_vm(g->m)->complete = true;
        e = run_on(g); /* the state was kept: it goes on from there */
        g_assert_cmpint(e.why, ==, EXIT_HALT);
        g_assert_cmpuint(g->cpu->kvm->completed, >, 0);
        kvm_vm(g->m)->complete_limit = 1;
        g->m->accel->regs_pull(&g->cpu->vcpu);
        g->cpu->vcpu.halted = false;
        g->cpu->rip = G_CODE;
        e = run_on(g);
        g_assert_cmpint(e.why, ==, EXIT_ERROR);
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm/same/%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_same);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(completions); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm/complete/%s", completions[i].name);
        g_test_add_data_func(path, &completions[i], test_same);
    }
    g_test_add_func("/cpu/kvm/complete/limit", test_limit);
    return g_test_run();
}
