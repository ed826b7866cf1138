/* SPDX-License-Identifier: MIT
 * tests/cpu/test-smm.c - system-management mode: both save areas, what entry and RSM do to the state, what waits until
 * RSM, bad save areas, the migration state; then the whole way on the board: firmware of the test's own opens SMRAM,
 * installs a handler, relocates SMBASE and goes in by port B2h.
 */
#include "tests/cpu/sysguest.h"
#include "hw/i386/pc.h"
#include "rhea/hw/pc.h"
#include "target/x86/cpuid.h"
#include "target/x86/sysint.h"
#include <glib/gstdio.h>
#include <unistd.h>

extern const AccelOps accel_tcg_ops;

enum { SMBASE = 0x30000, SAVE = SMBASE + 0xfe00, HANDLER = SMBASE + 0x8000 };

GUEST_CODE(smm_plain, 16, "rsm");
GUEST_CODE(smm_halts, 16, "mov $0x1234, %eax\n hlt\n rsm");
GUEST_CODE(code_spin, 64, "1: inc %rbx\n cmp $2, %rbx\n jb 1b");
GUEST_CODE(code_spin32, 32, "1: inc %ebx\n cmp $2, %ebx\n jb 1b");
GUEST_CODE(code_hlt_then, 64, "hlt\n mov $7, %ebx");
GUEST_CODE(code_sti_hlt, 64, "sti\n nop");
GUEST_CODE(code_rsm, 64, "rsm");

static void put_handler(Guest *g, const uint8_t *code, const uint8_t *end) { guest_put(g, HANDLER, code, (size_t)(end - code)); }
#define HANDLER_IS(g, name) put_handler((g), name, name##_end)

/* On to the next HLT, from wherever it is: also from a HLT that something has to end. */
static ExitReason run_on(Vcpu *v)
{
    VcpuExit e = { .why = EXIT_KICKED };
    for (unsigned i = 0; i < 1000 && e.why == EXIT_KICKED; i++) {
        e = v->machine->accel->run(v);
    }
    return e.why;
}

static void smi(Guest *g) { vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_SMI); }

static void test_save_area64(void)
{
    static const struct { unsigned at, n; uint64_t v; } want[] = {
        { 0xff78, 8, G_CODE }, { 0xfff8, 8, 0x1111 }, { 0xfff0, 8, 0x2222 }, { 0xffe0, 8, 0 }, { 0xff80, 8, 0xf00df00dull << 8 },
        { 0xffd8, 8, G_STACK0 }, { 0xff58, 8, CR0_PE | CR0_PG | CR0_WP | CR0_ET }, { 0xff50, 8, G_PT }, { 0xff48, 8, CR4_PAE },
        { 0xfed0, 8, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE }, { 0xfefc, 4, 0x20064 }, { 0xff00, 4, SMBASE },
        { 0xfe10, 2, S_CODE64 }, { 0xfe12, 2, 0xa9b }, { 0xfe14, 4, 0xffffffff }, { 0xfe18, 8, 0 }, { 0xfe30, 2, 0x10 },
        { 0xfe64, 2, 0xfff }, { 0xfe68, 8, G_GDT }, { 0xfe88, 8, G_IDT }, { 0xfe90, 2, S_TSS }, { 0xfe98, 8, G_TSS },
        { 0xff60, 8, 0x400 }, { 0xff68, 8, 0xffff0ff0 }, { 0xff70, 8, FL_IF | FL_ZF | 2 }, { 0xfec9, 1, 0 },
    };
    Guest *g = guest_new(NULL);
    guest_long(g);
    HANDLER_IS(g, smm_halts);
    g->cpu->gpr[R_RAX] = 0x1111;
    g->cpu->gpr[R_RCX] = 0x2222;
    g->cpu->gpr[R_R15] = 0xf00df00dull << 8;
    g->cpu->eflags |= FL_IF;
    x86_set_eflags_arith(g->cpu, FL_ZF);
    smi(g);
    guest_run(g, code_spin);
    /* in the handler: real mode with 4 GiB segments, nothing that could interrupt */
    g_assert_true(g->cpu->in_smm);
    g_assert_cmphex(g->cpu->seg[SEG_CS].base, ==, SMBASE);
    g_assert_cmphex(g->cpu->seg[SEG_CS].sel, ==, SMBASE >> 4);
    g_assert_cmphex(g->cpu->seg[SEG_DS].limit, ==, 0xffffffff);
    g_assert_cmphex(g->cpu->cr0, ==, CR0_WP | CR0_ET);
    g_assert_cmphex(g->cpu->cr4 | g->cpu->efer, ==, 0);
    g_assert_cmphex(g->cpu->dr[7], ==, 0x400);
    g_assert_cmphex(g->cpu->eflags, ==, 2);
    g_assert_true(g->cpu->nmi_blocked);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x1234);
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        g_test_message("offset 0x%x", want[i].at);
        g_assert_cmphex(guest_ld(g, SMBASE + want[i].at, want[i].n), ==, want[i].v);
    }
    guest_st(g, SMBASE + 0xffe0, 8, 1); /* the handler may change registers: RBX ... */
    guest_st(g, SMBASE + 0xff00, 4, 0x50000); /* ... and SMBASE */
    guest_continue(g);
    g_assert_false(g->cpu->in_smm);
    g_assert_cmpint(guest_vector(g), ==, -1);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 2);
    g_assert_cmphex(g->cpu->gpr[R_RAX], ==, 0x1111);
    g_assert_cmphex(g->cpu->smbase, ==, 0x50000);
    g_assert_true(g->cpu->eflags & FL_IF);
    g_assert_true(g->cpu->mode & MODE_CODE64);
    g_assert_cmpuint(g->cpu->smi_count, ==, 1);
    guest_free(g);
}

static void test_save_area32(void)
{
    static const struct { unsigned at, n; uint32_t v; } want[] = {
        { 0xfffc, 4, CR0_PE | CR0_ET }, { 0xfff4, 4, 2 }, { 0xfff0, 4, G_CODE }, { 0xffd0, 4, 0x1111 }, { 0xffe0, 4, G_STACK0 },
        { 0xffac, 4, S_CODE0 }, { 0xffa8, 4, 0x10 }, { 0xffc4, 4, S_TSS }, { 0xfefc, 4, 0x20000 }, { 0xfef8, 4, SMBASE },
        { 0xffc8, 4, 0x400 }, { 0xff02, 1, 0 },
    };
    Guest *g = guest_new("pentium3");
    guest_pm32(g);
    g->cpu->seg[SEG_CS].sel = S_CODE0;
    HANDLER_IS(g, smm_halts);
    g->cpu->gpr[R_RAX] = 0x1111;
    X86Seg cs = g->cpu->seg[SEG_CS];
    smi(g);
    guest_run(g, code_spin32);
    g_assert_true(g->cpu->in_smm);
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        g_test_message("offset 0x%x", want[i].at);
        g_assert_cmphex(guest_ld(g, SMBASE + want[i].at, want[i].n), ==, want[i].v);
    }
    guest_continue(g);
    g_assert_false(g->cpu->in_smm);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 2);
    g_assert_cmphex(g->cpu->seg[SEG_CS].attr, ==, cs.attr);
    g_assert_cmphex(g->cpu->seg[SEG_CS].limit, ==, cs.limit);
    g_assert_cmphex(g->cpu->gdt.base, ==, G_GDT);
    g_assert_cmphex(g->cpu->tr.base, ==, G_TSS);
    guest_free(g);
}

/* HLT: RSM goes back into it, unless the handler clears the flag. */
static void test_halt(void)
{
    for (unsigned clear = 0; clear < 2; clear++) {
        Guest *g = guest_new(NULL);
        guest_long(g);
        HANDLER_IS(g, smm_halts);
        guest_run(g, code_hlt_then);
        g_assert_cmphex(g->cpu->rip, ==, G_CODE + 1);
        smi(g);
        g_assert_true(x86_irq_ready(&g->cpu->vcpu));
        g_assert_cmpint(run_on(&g->cpu->vcpu), ==, EXIT_HALT); /* halted is set: it is the SMI that wakes it */
        g_assert_true(g->cpu->in_smm);
        g_assert_cmphex(guest_ld(g, SMBASE + 0xfec9, 1), ==, 1);
        if (clear) {
            guest_st(g, SMBASE + 0xfec9, 1, 0);
        }
        guest_continue(g);
        g_assert_false(g->cpu->in_smm);
        g_assert_cmphex(g->cpu->gpr[R_RBX], ==, clear ? 7 : 0);
        g_assert_cmphex(g->cpu->rip, ==, clear ? G_CODE + 7 : G_CODE + 1);
        guest_free(g);
    }
}

/* NMI, INIT and a second SMI wait; the first RSM lets the SMI in again. */
static void test_held_back(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    HANDLER_IS(g, smm_halts);
    smi(g);
    guest_run(g, code_spin);
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_NMI | X86_IRQ_INIT | X86_IRQ_SMI);
    g_assert_false(x86_irq_ready(&g->cpu->vcpu));
    guest_continue(g); /* INIT is taken first after RSM, and drops the NMI; the SMI then finds the CPU reset */
    g_assert_true(g->cpu->in_smm);
    g_assert_cmphex(guest_ld(g, SMBASE + 0xff78, 8), ==, 0xfff0);
    g_assert_cmphex(guest_ld(g, SMBASE + 0xfe18, 8), ==, 0xffff0000);
    g_assert_cmphex(g->cpu->smbase, ==, SMBASE); /* INIT keeps it */
    guest_free(g);

    g = guest_new(NULL); /* NMI alone: after RSM */
    guest_long(g);
    HANDLER_IS(g, smm_halts);
    smi(g);
    guest_run(g, code_spin);
    vcpu_interrupt(&g->cpu->vcpu, X86_IRQ_NMI);
    guest_continue(g);
    g_assert_false(g->cpu->in_smm);
    g_assert_cmpint(guest_vector(g), ==, EXC_NMI);
    g_assert_true(g->cpu->nmi_blocked);
    smi(g); /* in an NMI handler: RSM leaves NMIs blocked */
    HANDLER_IS(g, smm_plain);
    guest_continue(g);
    g_assert_true(g->cpu->nmi_blocked);
    guest_free(g);

    g = guest_new(NULL); /* not between STI and the next instruction; single step does not enter the handler */
    guest_long(g);
    HANDLER_IS(g, smm_halts);
    g->cpu->eflags |= FL_TF;
    x86_update_mode(g->cpu);
    smi(g);
    guest_run(g, code_spin);
    g_assert_true(g->cpu->in_smm);
    g_assert_cmphex(guest_ld(g, SMBASE + 0xff70, 8), ==, FL_TF | 2);
    guest_continue(g);
    g_assert_cmpint(guest_vector(g), ==, EXC_DB); /* after the next instruction, not after RSM */
    g_assert_cmphex(guest_frame(g, 0), ==, G_CODE + 3);
    g_assert_cmphex(g->cpu->dr[6], ==, 0xffff4ff0);
    guest_free(g);

    g = guest_new(NULL);
    guest_long(g);
    HANDLER_IS(g, smm_halts);
    g->cpu->irq_shadow = true;
    smi(g);
    guest_run(g, code_sti_hlt);
    g_assert_true(g->cpu->in_smm);
    g_assert_cmphex(guest_ld(g, SMBASE + 0xff78, 8), ==, G_CODE + 2); /* STI, NOP; not at either */
    guest_free(g);

    g = guest_new(NULL); /* RSM outside, and a board without SMM */
    guest_long(g);
    guest_run(g, code_rsm);
    g_assert_cmpint(guest_vector(g), ==, EXC_UD);
    guest_long(g);
    g->cpu->gpr[R_RBX] = 0;
    g->cpu->no_smm = true;
    smi(g);
    guest_run(g, code_spin);
    g_assert_false(g->cpu->in_smm);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 2);
    guest_free(g);
}

/* What RSM must not load shuts the processor down. */
static void test_bad_state(void)
{
    static const struct { unsigned at, n; uint64_t v; bool ok; } cases[] = {
        { 0xff78, 8, G_CODE + 3, true },
        { 0xff58, 8, CR0_PG, false }, /* without PE */
        { 0xff58, 8, CR0_PE | CR0_PG | CR0_NW, false }, /* NW without CD */
        { 0xff58, 8, 1ull << 32 | CR0_PE, false },
        { 0xff48, 8, CR4_PAE | 1u << 31, false },
        { 0xff48, 8, 0, false }, /* long mode without PAE */
        { 0xfed0, 8, EFER_LME | EFER_LMA | 2, false },
        { 0xfe12, 2, 0xe9b, false }, /* CS.L and CS.D */
        { 0xff50, 8, 1ull << 60, false },
        { 0xff60, 8, 1ull << 32, false },
        { 0xff68, 8, 1ull << 32, false },
        { 0xfec9, 1, 0xfe, true }, /* only bit 0 is the flag */
        { 0xff70, 8, UINT64_MAX & ~(uint64_t)(FL_VM | FL_TF), true },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %u", i);
        Guest *g = guest_new(NULL);
        guest_long(g);
        g->cpu->sys->reports = 100; /* they are meant */
        HANDLER_IS(g, smm_halts);
        smi(g);
        guest_run(g, code_spin);
        guest_st(g, SMBASE + cases[i].at, cases[i].n, cases[i].v);
        guest_continue(g);
        g_assert_cmpint(g->shut_down, ==, !cases[i].ok);
        guest_free(g);
    }
}

/* A machine saved inside the handler goes on there. */
static void test_migration(void)
{
    Guest *g = guest_new(NULL);
    guest_long(g);
    HANDLER_IS(g, smm_halts);
    smi(g);
    guest_run(g, code_spin);
    g_autoptr(GByteArray) state = g_byte_array_new();
    machine_save(g->m, state, true);
    guest_free(g);
    g = guest_new(NULL);
    g_assert_true(machine_load(g->m, state->data, state->len, &error_abort_slot));
    g_assert_true(g->cpu->in_smm);
    g_assert_true(g->cpu->mode & MODE_SMM);
    g_assert_cmpuint(g->cpu->smi_count, ==, 1);
    guest_continue(g);
    g_assert_false(g->cpu->in_smm);
    g_assert_cmphex(g->cpu->gpr[R_RBX], ==, 2);
    guest_free(g);
    g = guest_new(NULL); /* not into a machine that has none */
    g->cpu->no_smm = true;
    g_autoptr(Error) err = NULL;
    g_assert_false(machine_load(g->m, state->data, state->len, &err));
    guest_free(g);
}

/* ---- the board ---- */

/* Firmware of 64 KiB at F0000h, a page of code at FE000h. Leaves its results at 1000h: the byte SMRAM shows to normal
 * code when closed, and the handler's marks. */
GUEST_CODE(bios_code, 16,
    "xor %ax, %ax\n mov %ax, %ds\n mov %ax, %ss\n mov $0x7000, %sp\n mov $0xa000, %ax\n mov %ax, %es\n"
    /* PMBA = 600h, enabled; APMC_EN; SMI_EN */
    "mov $0xcf8, %dx\n mov $0x80000b40, %eax\n out %eax, %dx\n mov $0xcfc, %dx\n mov $0x601, %eax\n out %eax, %dx\n"
    "mov $0xcf8, %dx\n mov $0x80000b80, %eax\n out %eax, %dx\n mov $0xcfc, %dx\n mov $1, %al\n out %al, %dx\n"
    "mov $0xcf8, %dx\n mov $0x80000b58, %eax\n out %eax, %dx\n mov $0xcff, %dx\n in %dx, %al\n mov %al, 0x1010\n"
    "or $2, %al\n out %al, %dx\n"
    "mov $0x11, %al\n out %al, $0xb2\n" /* SMI_EN still clear: nothing happens */
    "mov $0x628, %dx\n in %dx, %al\n or $1, %al\n out %al, %dx\n"
    /* SMBASE to A0000h by a handler at 38000h */
    "movw $0x3000, %ax\n mov %ax, %fs\n mov $reloc - bios_code, %si\n mov $reloc_end - reloc, %cx\n mov $0x8000, %di\n"
    "1: mov %cs:(%si), %al\n mov %al, %fs:(%di)\n inc %si\n inc %di\n loop 1b\n"
    "mov $0x22, %al\n out %al, $0xb2\n movb $1, 0x1011\n"
    /* SMRAM open: the real handler to A8000h */
    "mov $0xcf8, %dx\n mov $0x80000070, %eax\n out %eax, %dx\n mov $0xcfe, %dx\n mov $0x4a, %al\n out %al, %dx\n"
    "mov $smi_entry - bios_code, %si\n mov $smi_done - smi_entry, %cx\n mov $0x8000, %di\n"
    "1: mov %cs:(%si), %al\n mov %al, %es:(%di)\n inc %si\n inc %di\n loop 1b\n"
    "movb $0x5a, %es:0x10\n mov %es:0x10, %al\n mov %al, 0x1012\n"
    /* closed and locked: opening it again does not work */
    "mov $0x1a, %al\n out %al, %dx\n mov $0x4a, %al\n out %al, %dx\n in %dx, %al\n mov %al, 0x1013\n"
    "mov %es:0x10, %al\n mov %al, 0x1014\n"
    "mov $0x33, %al\n out %al, $0xb2\n mov %al, 0x1015\n"
    "in $0xb3, %al\n mov %al, 0x1016\n mov %es:0x10, %al\n mov %al, 0x1017\n"
    "mov $0x618, %dx\n in %dx, %al\n mov %al, 0x1018\n out %al, %dx\n in %dx, %al\n mov %al, 0x1019\n"
    "hlt\n"
    "reloc: mov $0x3ff00, %ebx\n movl $0xa0000, (%ebx)\n rsm\n reloc_end:\n"
    "smi_entry: mov $0xa0010, %ebx\n mov (%ebx), %al\n out %al, $0xb3\n incb (%ebx)\n mov $0x1020, %ebx\n incb (%ebx)\n"
    "mov $0xaffd0, %ebx\n rsm\n smi_done:\n");

static void test_board(const void *arg)
{
    bool on = !strcmp(arg, "on");
    g_autofree uint8_t *image = g_malloc0(0x10000);
    static const uint8_t far_jump[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 }; /* JMP F000:0000 */
    memcpy(image, bios_code, (size_t)(bios_code_end - bios_code));
    memcpy(image + 0xfff0, far_jump, sizeof(far_jump));
    g_autofree char *file = NULL;
    int fd = g_file_open_tmp("rhea-smm-XXXXXX", &file, NULL);
    g_assert_cmpint(write(fd, image, 0x10000), ==, 0x10000);
    close(fd);
    role_become_main();
    Loop *loop = loop_new("main");
    Machine *m = machine_new(loop);
    m->board = &pc_board;
    m->accel = &accel_tcg_ops;
    m->serial_mode = true;
    m->ram_size = 16 << 20;
    m->n_cpus = m->max_cpus = m->sockets = m->cores = m->threads = m->dies = 1;
    m->cpu_text = g_strdup("max");
    m->bios = g_strdup(file);
    m->board_state = g_malloc0(pc_board.state_size);
    props_init(pc_board.props, m->board_state);
    prop_set_text(m, prop_find(pc_board.props, "smm"), m->board_state, arg, &error_abort_slot);
    machine_build(m, &error_abort_slot);
    machine_ready(m, &error_abort_slot);
    Vcpu *v = m->cpus[0];
    g_assert_cmpint(run_on(v), ==, EXIT_HALT);
    const uint8_t *r = m->ram->host + 0x1000;
    X86Cpu *cpu = x86_cpu(v);
    g_assert_cmpuint(r[0x11], ==, 1);
    g_assert_cmphex(r[0x10] & 2, ==, on ? 0 : 2); /* DEVACTB as firmware finds it */
    g_assert_cmphex(r[0x12], ==, 0x5a);
    g_assert_cmphex(r[0x13], ==, 0x1a);
    g_assert_cmphex(r[0x14], ==, 0xff); /* closed: nobody answers on PCI */
    g_assert_cmphex(r[0x17], ==, 0xff);
    if (on) {
        g_assert_cmpuint(cpu->smi_count, ==, 2);
        g_assert_cmphex(cpu->smbase, ==, 0xa0000);
        g_assert_cmphex(r[0x16], ==, 0x5a); /* what the handler saw in SMRAM */
        g_assert_cmphex(r[0x15], ==, 0x33);
        g_assert_cmpuint(r[0x20], ==, 1);
        g_assert_cmphex(r[0x18] & 0x20, ==, 0x20); /* APM_STS */
        g_assert_cmphex(r[0x19] & 0x20, ==, 0);
        g_assert_cmphex(m->ram->host[0xa0010], ==, 0x5b);
        g_assert_cmphex(m->ram->host[0xafefc], ==, 0x64); /* the save area lies in SMRAM */
        vcpu_interrupt(v, X86_IRQ_SMI);                   /* from HLT and back into it */
        g_assert_cmpint(run_on(v), ==, EXIT_HALT);
        g_assert_cmpuint(r[0x20], ==, 2);
        g_assert_false(cpu->in_smm);
    } else {
        g_assert_cmpuint(cpu->smi_count, ==, 0);
        g_assert_cmpuint(r[0x20], ==, 0);
    }
    machine_free(m);
    loop_free(loop);
    g_unlink(file);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu/smm/save-area-64", test_save_area64);
    g_test_add_func("/cpu/smm/save-area-32", test_save_area32);
    g_test_add_func("/cpu/smm/halt", test_halt);
    g_test_add_func("/cpu/smm/held-back", test_held_back);
    g_test_add_func("/cpu/smm/bad-state", test_bad_state);
    g_test_add_func("/cpu/smm/migration", test_migration);
    g_test_add_data_func("/cpu/smm/board-on", "on", test_board);
    g_test_add_data_func("/cpu/smm/board-off", "off", test_board);
    return g_test_run();
}
