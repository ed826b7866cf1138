/* SPDX-License-Identifier: MIT
 * tests/device/test-apic.c - local APIC (hw/intc/apic.c, apic-deliver.c, apic-regs.c, apic-timer.c,
 * apic-print.c): registers, priorities, IPIs, messages, timer, x2APIC, state.
 */
#include "tests/lib/testmachine.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/target/x86/cpu.h"

enum {
    ID = 0x20,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVTT = 0x320,
    LVT0 = 0x350,
    LVT1 = 0x360,
    LVTE = 0x370,
    TMICT = 0x380,
    TMCCT = 0x390,
    TDCR = 0x3e0
};
enum { N_CPUS = 3 };

static bool board_ready(Machine *m, Error **errp)
{
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (!apic_create(m, m->cpus[i], m->unattached, errp)) {
            return false;
        }
    }
    Device *ioapic = device_create(m, &ioapic_type, m->unattached, NULL, NULL, errp, NULL);
    device_map_mem(ioapic, device_region(ioapic, 0), IOAPIC_BASE, 1);
    apic_set_eoi_target(m, ioapic);
    return true;
}
static const BoardType board = {
    .name = "apic-test", .target = &x86_64_target_ops, .max_cpus = 8, .ready = board_ready
};

static TestMachine *start(void)
{
    TestMachine *tm = tm_prepare(&board);
    tm->m->n_cpus = N_CPUS;
    tm->m->cores = N_CPUS;
    tm->m->cpu_text = g_strdup("max");
    tm_build(tm);
    return tm;
}
static X86Cpu *cpu(TestMachine *tm, unsigned i) { return x86_cpu(tm->m->cpus[i]); }
static void *apic(TestMachine *tm, unsigned i) { return cpu(tm, i)->apic; }
static bool pending(TestMachine *tm, unsigned i, uint32_t bit)
{
    return vcpu_irq_pending(tm->m->cpus[i]) & bit;
}
static int ack(TestMachine *tm, unsigned i) { return cpu(tm, i)->apic_ops->ack(apic(tm, i)); }

static uint32_t rd(TestMachine *tm, unsigned i, unsigned reg)
{
    uint64_t v;
    as_load(&tm->m->as_mem, APIC_DEFAULT_BASE + reg, 4, &v,
            (MemAttrs){ .cpu = true, .requester = (uint16_t)i });
    return (uint32_t)v;
}
static void wr(TestMachine *tm, unsigned i, unsigned reg, uint32_t v)
{
    as_store(&tm->m->as_mem, APIC_DEFAULT_BASE + reg, 4, v,
             (MemAttrs){ .cpu = true, .requester = (uint16_t)i });
}
static void enable_all(TestMachine *tm)
{
    for (unsigned i = 0; i < N_CPUS; i++) {
        wr(tm, i, SVR, 0x1ff);
    }
}
static void msi(TestMachine *tm, unsigned dest, unsigned flags, uint32_t data)
{
    msi_send(tm->m, (MsiMessage){ 0xfee00000 | dest << 12 | flags, data });
}

static void test_reset(void)
{
    TestMachine *tm = start();
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_cmphex(rd(tm, i, ID), ==, i << 24);
        g_assert_cmphex(rd(tm, i, SVR), ==, 0xff);
        g_assert_cmphex(rd(tm, i, DFR), ==, 0xffffffff);
        g_assert_cmphex(rd(tm, i, LVTT), ==, 0x10000);
    }
    g_assert_cmphex(rd(tm, 0, 0x30), ==, 0x50014);
    /* Software-disabled: LVT masks stick, fixed interrupts vanish, NMI does not. */
    wr(tm, 0, LVTT, 0x40);
    g_assert_cmphex(rd(tm, 0, LVTT), ==, 0x10040);
    msi(tm, 0, 0, 0x55);
    g_assert_false(pending(tm, 0, X86_IRQ_APIC));
    msi(tm, 1, 0, 4 << 8);
    g_assert_true(pending(tm, 1, X86_IRQ_NMI));
    tm_free(tm);
}

static void test_priority(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    msi(tm, 0, 0, 0x31);
    msi(tm, 0, 0, 0x52);
    g_assert_true(pending(tm, 0, X86_IRQ_APIC));
    g_assert_cmphex(rd(tm, 0, IRR + 0x10), ==, 1u << 17);
    g_assert_cmphex(rd(tm, 0, IRR + 0x20), ==, 1u << 18);
    g_assert_cmpint(ack(tm, 0), ==, 0x52);
    g_assert_cmphex(rd(tm, 0, PPR), ==, 0x50);
    g_assert_false(pending(tm, 0, X86_IRQ_APIC)); /* 31h is below */
    g_assert_cmpint(ack(tm, 0), ==, -1);
    msi(tm, 0, 0, 0x61); /* nests */
    g_assert_cmpint(ack(tm, 0), ==, 0x61);
    wr(tm, 0, EOI, 0);
    g_assert_cmphex(rd(tm, 0, PPR), ==, 0x50);
    wr(tm, 0, EOI, 0);
    g_assert_true(pending(tm, 0, X86_IRQ_APIC));
    wr(tm, 0, TPR, 0x3f);
    g_assert_false(pending(tm, 0, X86_IRQ_APIC));
    cpu(tm, 0)->apic_ops->set_tpr(apic(tm, 0), 0x20); /* CR8 */
    g_assert_cmphex(rd(tm, 0, TPR), ==, 0x20);
    g_assert_cmpint(ack(tm, 0), ==, 0x31);
    /* A vector below 16 is an error; the error LVT tells. */
    wr(tm, 0, LVTE, 0xe0);
    msi(tm, 0, 0, 5);
    g_assert_cmpint(ack(tm, 0), ==, 0xe0);
    g_assert_cmphex(rd(tm, 0, ESR), ==, 0);
    wr(tm, 0, ESR, 0);
    g_assert_cmphex(rd(tm, 0, ESR), ==, 0x40);
    tm_free(tm);
}

static void test_ipi(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    wr(tm, 0, ICR_HIGH, 2u << 24);
    wr(tm, 0, ICR, 0x71);
    g_assert_cmpint(ack(tm, 2), ==, 0x71);
    g_assert_cmpint(ack(tm, 1), ==, -1);
    wr(tm, 0, ICR, 0xc0072); /* all but self */
    g_assert_false(pending(tm, 0, X86_IRQ_APIC));
    g_assert_cmpint(ack(tm, 1), ==, 0x72);
    wr(tm, 1, ICR, 0x40083); /* self */
    g_assert_cmpint(ack(tm, 1), ==, 0x83);
    /* Logical, flat and cluster. */
    for (unsigned i = 0; i < N_CPUS; i++) {
        wr(tm, i, EOI, 0);
        wr(tm, i, EOI, 0);
        wr(tm, i, LDR, 1u << (24 + i));
    }
    wr(tm, 0, ICR_HIGH, 6u << 24);
    wr(tm, 0, ICR, 0x891);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    g_assert_cmpint(ack(tm, 1), ==, 0x91);
    g_assert_cmpint(ack(tm, 2), ==, 0x91);
    for (unsigned i = 0; i < N_CPUS; i++) {
        wr(tm, i, EOI, 0);
        wr(tm, i, DFR, 0x0fffffff);
        wr(tm, i, LDR, (i / 2 << 4 | 1u << i % 2) << 24);
    }
    wr(tm, 0, ICR_HIGH, 0x11u << 24); /* cluster 1, member 0: CPU 2 */
    wr(tm, 0, ICR, 0x892);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    g_assert_cmpint(ack(tm, 1), ==, -1);
    g_assert_cmpint(ack(tm, 2), ==, 0x92);
    /* INIT, SIPI. */
    wr(tm, 0, ICR_HIGH, 1u << 24);
    wr(tm, 0, ICR, 0x500 | 0x4000);
    g_assert_true(pending(tm, 1, X86_IRQ_INIT));
    wr(tm, 0, ICR, 0x69a);
    g_assert_true(pending(tm, 1, X86_IRQ_SIPI));
    g_assert_cmphex(cpu(tm, 1)->sipi_vector, ==, 0x9a);
    vcpu_interrupt_clear(tm->m->cpus[1], X86_IRQ_INIT);
    wr(tm, 0, ICR, 0x500 | 0x8000); /* INIT de-assert does nothing */
    g_assert_false(pending(tm, 1, X86_IRQ_INIT));
    tm_free(tm);
}

static void test_lowest(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    for (unsigned i = 0; i < N_CPUS; i++) {
        wr(tm, i, LDR, 1u << (24 + i));
        wr(tm, i, TPR, i == 1 ? 0x10 : 0x20);
    }
    msi(tm, 7, 4 | 8, 1 << 8 | 0x44);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    g_assert_cmpint(ack(tm, 1), ==, 0x44);
    msi(tm, 7, 4 | 8, 1 << 8 | 0x45); /* CPU 1 is busy at 40h now */
    g_assert_true(pending(tm, 0, X86_IRQ_APIC) != pending(tm, 2, X86_IRQ_APIC));
    tm_free(tm);
}

static void test_lint(void)
{
    TestMachine *tm = start();
    apic_set_lint(apic(tm, 0), 0, true); /* virtual wire from reset, CPU 0 only */
    apic_set_lint(apic(tm, 1), 0, true);
    g_assert_true(pending(tm, 0, X86_IRQ_INTR));
    g_assert_false(pending(tm, 1, X86_IRQ_INTR));
    wr(tm, 0, LVT0, 0x10700);
    g_assert_false(pending(tm, 0, X86_IRQ_INTR));
    wr(tm, 0, SVR, 0x1ff);
    wr(tm, 0, LVT0, 0x700);
    g_assert_true(pending(tm, 0, X86_IRQ_INTR));
    apic_set_lint(apic(tm, 0), 0, false);
    g_assert_false(pending(tm, 0, X86_IRQ_INTR));
    wr(tm, 0, LVT1, 0x400); /* NMI */
    apic_set_lint(apic(tm, 0), 1, true);
    g_assert_true(pending(tm, 0, X86_IRQ_NMI));
    /* Level-triggered fixed: again after EOI while held. */
    wr(tm, 0, LVT0, 0x8066);
    apic_set_lint(apic(tm, 0), 0, true);
    g_assert_cmpint(ack(tm, 0), ==, 0x66);
    g_assert_cmphex(rd(tm, 0, LVT0) & 0x4000, ==, 0x4000);
    wr(tm, 0, EOI, 0);
    g_assert_cmpint(ack(tm, 0), ==, 0x66);
    apic_set_lint(apic(tm, 0), 0, false);
    wr(tm, 0, EOI, 0);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    tm_free(tm);
}

static Device *find_ioapic(TestMachine *tm)
{
    Device *ioapic = NULL;
    for (guint i = 0; i < tm->m->unattached->children->len; i++) {
        Device *d = tm->m->unattached->children->pdata[i];
        ioapic = d->type == &ioapic_type ? d : ioapic;
    }
    g_assert_nonnull(ioapic);
    return ioapic;
}

/* A level-triggered I/O APIC pin stays held through the EOI and comes again; released, it does not. */
static void test_ioapic_eoi(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    Device *ioapic = find_ioapic(tm);
    tm_write(tm, IOAPIC_BASE, 4, 0x10 + 9 * 2);
    tm_write(tm, IOAPIC_BASE + 0x10, 4, 0x8000 | 0x59);
    ioapic_sink.set(ioapic, 9, true);
    g_assert_cmpint(ack(tm, 0), ==, 0x59);
    g_assert_cmphex(rd(tm, 0, TMR + 0x20), ==, 1u << 25);
    wr(tm, 0, EOI, 0);
    g_assert_cmpint(ack(tm, 0), ==, 0x59);
    ioapic_sink.set(ioapic, 9, false);
    wr(tm, 0, EOI, 0);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    tm_free(tm);
}

/* What local APICs no longer have (an accelerator ended it and could not tell any more) is over when the
 * machine moves; an input that is still high requests anew once the machine runs. */
static void test_ioapic_ended(void)
{
    static const uint32_t nothing[256] = { [SVR / 4] = 0x1ff };
    TestMachine *tm = start();
    enable_all(tm);
    Device *ioapic = find_ioapic(tm);
    tm_write(tm, IOAPIC_BASE, 4, 0x10 + 9 * 2);
    tm_write(tm, IOAPIC_BASE + 0x10, 4, 0x8000 | 0x59);
    for (unsigned high = 0; high < 2; high++) {
        ioapic_sink.set(ioapic, 9, true);
        g_assert_cmphex(tm_read(tm, IOAPIC_BASE + 0x10, 4), ==, 0xc059);
        machine_stop(tm->m, RUN_PAUSED);
        for (unsigned lost = 0; lost < 2; lost++) { /* first it is there */
            if (lost) {
                ioapic_sink.set(ioapic, 9, high);
                cpu(tm, 0)->apic_ops->set_page(apic(tm, 0), nothing);
            }
            for (GSList *l = tm->m->listeners; l; l = l->next) {
                const MachineListener *lis = l->data;
                if (lis->accel) {
                    lis->accel(lis->opaque);
                }
            }
            g_assert_cmphex(tm_read(tm, IOAPIC_BASE + 0x10, 4), ==, lost ? 0x8059 : 0xc059);
        }
        machine_start(tm->m);
        g_assert_cmphex(tm_read(tm, IOAPIC_BASE + 0x10, 4), ==, high ? 0xc059 : 0x8059);
        g_assert_cmpint(ack(tm, 0), ==, high ? 0x59 : -1);
    }
    tm_free(tm);
}

/* A clock that goes on between two readings, as the host's does. */
static const Clock *steady;
static int64_t creep;
static int64_t creeping_now(const Clock *c G_GNUC_UNUSED)
{
    return clock_now(steady) + (creep += 100);
}

static void test_short_count(void)
{
    static const Clock creeping = { .now = creeping_now };
    TestMachine *tm = start();
    enable_all(tm);
    wr(tm, 0, TDCR, 0xb);
    wr(tm, 0, LVTT, 0x30);
    steady = tm->m->clock;
    tm->m->clock = &creeping;
    wr(tm, 0, TMICT, 50); /* is over before the clock is read again */
    tm->m->clock = steady;
    tm_step(tm, 1000000);
    g_assert_cmpint(ack(tm, 0), ==, 0x30);
    wr(tm, 0, EOI, 0);
    /* A count that is over before the loop could say so is not forgotten when the divisor changes. */
    wr(tm, 0, TMICT, 1000);
    tm->m->clock = &creeping;
    creep = 5000;
    wr(tm, 0, TDCR, 0xa);
    tm->m->clock = steady;
    tm_step(tm, 1000000);
    g_assert_cmpint(ack(tm, 0), ==, 0x30);
    tm_free(tm);
}

static void test_timer(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    wr(tm, 0, TDCR, 0xb); /* divide by 1 */
    wr(tm, 0, LVTT, 0x30);
    wr(tm, 0, TMICT, 1000000);
    tm_step(tm, 400000);
    g_assert_cmpuint(rd(tm, 0, TMCCT), ==, 600000);
    g_assert_false(pending(tm, 0, X86_IRQ_APIC));
    tm_step(tm, 600000);
    g_assert_cmpint(ack(tm, 0), ==, 0x30);
    wr(tm, 0, EOI, 0);
    tm_step(tm, 3000000); /* one shot */
    g_assert_cmpint(ack(tm, 0), ==, -1);
    g_assert_cmpuint(rd(tm, 0, TMCCT), ==, 0);
    wr(tm, 0, TDCR, 0); /* divide by 2, periodic */
    wr(tm, 0, LVTT, 0x20031);
    wr(tm, 0, TMICT, 500000);
    for (unsigned i = 0; i < 3; i++) {
        tm_step(tm, 1000000);
        g_assert_cmpint(ack(tm, 0), ==, 0x31);
        wr(tm, 0, EOI, 0);
    }
    wr(tm, 0, TMICT, 0);
    tm_step(tm, 5000000);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    /* A hostile period does not lock up the loop. */
    wr(tm, 0, TMICT, 1);
    tm_step(tm, 1000000);
    wr(tm, 0, TMICT, 0);
    ack(tm, 0);
    wr(tm, 0, EOI, 0);
    /* TSC deadline; the TSC counts at 1 GHz. */
    const X86ApicOps *ops = cpu(tm, 0)->apic_ops;
    wr(tm, 0, LVTT, 0x40032);
    uint64_t v;
    g_assert_true(ops->msr_write(apic(tm, 0), 0x6e0, x86_read_tsc(cpu(tm, 0)) + 700000));
    tm_step(tm, 600000);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    tm_step(tm, 100002);
    g_assert_cmpint(ack(tm, 0), ==, 0x32);
    g_assert_true(ops->msr_read(apic(tm, 0), 0x6e0, &v));
    g_assert_cmphex(v, ==, 0);
    tm_free(tm);
}

static void test_x2apic(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    const X86ApicOps *ops = cpu(tm, 0)->apic_ops;
    uint64_t v;
    g_assert_true(ops->msr_read(apic(tm, 0), 0x1b, &v));
    g_assert_cmphex(v, ==, 0xfee00900);
    g_assert_false(ops->msr_read(apic(tm, 0), 0x802, &v));
    g_assert_false(ops->msr_write(apic(tm, 0), 0x1b, 0xfee00500)); /* EXTD without EN */
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_true(ops->msr_write(apic(tm, i), 0x1b, 0xfee00c00 | (i ? 0 : 0x100)));
    }
    g_assert_false(ops->msr_write(apic(tm, 0), 0x1b, 0xfee00900)); /* not straight back */
    g_assert_cmphex(rd(tm, 0, ID), ==, 0xffffffff);
    g_assert_true(ops->msr_read(apic(tm, 2), 0x802, &v));
    g_assert_cmphex(v, ==, 2);
    g_assert_true(ops->msr_read(apic(tm, 2), 0x80d, &v));
    g_assert_cmphex(v, ==, 4);
    g_assert_false(ops->msr_write(apic(tm, 0), 0x80d, 1));
    g_assert_false(ops->msr_write(apic(tm, 0), 0x80b, 1));
    g_assert_true(ops->msr_write(apic(tm, 0), 0x830, 2ull << 32 | 0x71));
    g_assert_cmpint(ack(tm, 2), ==, 0x71);
    g_assert_true(ops->msr_write(apic(tm, 0), 0x830, 6ull << 32 | 0x872)); /* logical: 1 and 2 */
    g_assert_cmpint(ack(tm, 1), ==, 0x72);
    g_assert_cmpint(ack(tm, 0), ==, -1);
    g_assert_true(ops->msr_write(apic(tm, 0), 0x83f, 0x44));
    g_assert_cmpint(ack(tm, 0), ==, 0x44);
    g_assert_true(ops->msr_write(apic(tm, 0), 0x1b, 0xfee00100)); /* off, then xAPIC */
    g_assert_true(ops->msr_write(apic(tm, 0), 0x1b, 0xfee00900));
    g_assert_cmphex(rd(tm, 0, SVR), ==, 0xff);
    tm_free(tm);
}

static void test_state(void)
{
    TestMachine *tm = start();
    enable_all(tm);
    msi(tm, 1, 0, 0x31);
    msi(tm, 1, 0, 0x52);
    g_assert_cmpint(ack(tm, 1), ==, 0x52);
    wr(tm, 1, LVTT, 0x20030);
    wr(tm, 1, TMICT, 1000000);
    g_autoptr(GByteArray) a = tm_save(tm);
    tm_reset(tm);
    g_assert_false(pending(tm, 1, X86_IRQ_APIC));
    g_assert_cmphex(rd(tm, 1, SVR), ==, 0xff);
    g_assert_true(tm_load(tm, a, &error_abort_slot));
    g_autoptr(GByteArray) b = tm_save(tm);
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
    g_assert_cmphex(rd(tm, 1, ISR + 0x20), ==, 1u << 18);
    wr(tm, 1, EOI, 0);
    g_assert_cmpint(ack(tm, 1), ==, 0x31);
    wr(tm, 1, EOI, 0);
    tm_step(tm, 2000000);
    g_assert_cmpint(ack(tm, 1), ==, 0x30);
    g_autoptr(GString) text = g_string_new(NULL);
    apic_print(tm->m->cpus[1], text);
    g_assert_nonnull(strstr(text->str, "periodic"));
    /* A count that goes on at a slower rate began, as it seems, before the machine did. */
    wr(tm, 1, LVTT, 0x10030);
    wr(tm, 1, TDCR, 0xb); /* by 1 */
    wr(tm, 1, TMICT, 1000000);
    tm_step(tm, 900000);
    wr(tm, 1, TDCR, 0xa); /* by 128 */
    uint32_t left = rd(tm, 1, TMCCT);
    g_assert_cmpuint(left, ==, 100000);
    g_autoptr(GByteArray) c = tm_save(tm);
    tm_reset(tm);
    g_assert_true(tm_load(tm, c, &error_abort_slot));
    g_assert_cmpuint(rd(tm, 1, TMCCT), ==, left);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apic/reset", test_reset);
    g_test_add_func("/apic/priority", test_priority);
    g_test_add_func("/apic/ipi", test_ipi);
    g_test_add_func("/apic/lowest-priority", test_lowest);
    g_test_add_func("/apic/lint", test_lint);
    g_test_add_func("/apic/ioapic-eoi", test_ioapic_eoi);
    g_test_add_func("/apic/ioapic-ended", test_ioapic_ended);
    g_test_add_func("/apic/timer", test_timer);
    g_test_add_func("/apic/short_count", test_short_count);
    g_test_add_func("/apic/x2apic", test_x2apic);
    g_test_add_func("/apic/state", test_state);
    return g_test_run();
}
