/* SPDX-License-Identifier: MIT
 * hw/i386/pc-glue.c - wires of the board that no chip owns.
 *
 * Models: ISA lines to both 8259s and the I/O APIC (IRQ 0 on pin 2, as MP specification 1.4, 5.3.2 shows);
 *         INTR to LINT0 of all CPUs; A20 as the OR of port 92h and the 8042; FERR# latched as IRQ 13 and
 *         released by a write to F0h (Intel SDM volume 1, 8.7 and D.2); SMI# of the chipset to the bootstrap
 *         processor (the others get theirs as interrupt messages: firmware relocates their SMBASE first).
 * Does not model: IGNNE# beyond releasing the latch; the NMI mask of port 70h.
 * Threads: lines are driven from any thread; F0h in the platform domain; the latch has a leaf lock.
 */
#include "pc.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/ps2.h"
#include "rhea/hw/vmport.h"
#include "rhea/hw/timer.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/util/errorcode.h"
#include <pthread.h>

enum { FERR_PORT = 0xf0, FERR_IRQ = 13, PIN2_ISA = 0, PIN2_HPET = 1, A20_PORT92 = 0, A20_KBC = 1 };

typedef struct PcGlue {
    Device dev;
    PcBoard *board;     /* wiring */
    MemRegion ferr_port;
    IrqLine gsi_out[ISA_IRQS]; /* to the I/O APIC; each under its ISA line's gate lock */
    IrqOr pin2, a20;
    pthread_mutex_t lock; /* guards ferr */
    IrqLine ferr;
    bool ferr_level;    /* guest-visible state */
} PcGlue;

/* ---- GSIs ---- */

static void glue_isa_set(void *sink, unsigned irq, bool level)
{
    PcBoard *s = sink;
    PcGlue *g = dev_as(PcGlue, s->glue);
    i8259_pair_sink.set(s->pic_master, irq, level);
    if (irq == 0) {
        irq_or_sink.set(&g->pin2, PIN2_ISA, level);
    } else if (irq != 2) {
        irq_set(&g->gsi_out[irq], level);
    }
}

static const IrqSinkOps glue_isa_sink = { .set = glue_isa_set };

static void glue_wire_gsis(PcBoard *s, PcGlue *g)
{
    for (unsigned k = 0; k < ISA_IRQS; k++) {
        irq_connect(&s->isa->irq_in[k], &glue_isa_sink, s, k);
        irq_connect(&g->gsi_out[k], k == 2 ? NULL : &ioapic_sink, s->ioapic, k);
    }
    irq_or_init(&g->pin2);
    irq_connect(&g->pin2.out, &ioapic_sink, s->ioapic, 2);
    for (unsigned k = 0; k < ISA_GSIS - ISA_IRQS; k++) {
        irq_connect(&s->isa->gsi_in[k], &ioapic_sink, s->ioapic, ISA_IRQS + k);
    }
    /* Exported in the order of GSIs, so that a test can watch what the I/O APIC sees. */
    for (unsigned k = 0; k < ISA_GSIS; k++) {
        device_add_irq(s->glue, k == 2         ? &g->pin2.out
                                : k < ISA_IRQS ? &g->gsi_out[k]
                                               : &s->isa->gsi_in[k - ISA_IRQS]);
    }
}

/* Is the tick on its way through the 8259 or the I/O APIC? */
static bool glue_tick_pending(void *opaque)
{
    PcBoard *s = opaque;
    return i8259_waits(s->pic_master, 0) || ioapic_waits(s->ioapic, 2);
}

/* Timers of the HPET may use any I/O APIC input that hpet-intcap names; its legacy outputs are the ISA
 * lines 0 and 8, through which PIT and RTC then go. */
static bool glue_wire_hpet(Machine *m, PcBoard *s, PcGlue *g, Device *pit, Error **errp)
{
    Device *hpet = device_create(m, &hpet_type, m->unattached, NULL, NULL, errp, NULL);
    if (!hpet) {
        return false;
    }
    device_map_mem(hpet, device_region(hpet, 0), HPET_BASE, 1);
    for (unsigned k = 0; k < IOAPIC_PINS; k++) {
        IrqLine *line = device_irq(hpet, k);
        if (k == 2) {
            irq_connect(line, &irq_or_sink, &g->pin2, PIN2_HPET);
        } else {
            irq_connect(line, &irq_or_sink, k < ISA_IRQS ? &s->isa->irq_or[k] : &s->isa->gsi_or[k - ISA_IRQS],
                        PC_IRQ_SOURCE_HPET);
        }
    }
    irq_connect(device_irq(hpet, HPET_LINE_IRQ0), &irq_or_sink, &s->isa->irq_or[0],
                PC_IRQ_SOURCE_HPET_LEGACY);
    irq_connect(device_irq(hpet, HPET_LINE_IRQ8), &irq_or_sink, &s->isa->irq_or[8],
                PC_IRQ_SOURCE_HPET_LEGACY);
    if (pit) {
        irq_connect(device_irq(pit, 0), &hpet_legacy_sink, hpet, 0);
    }
    irq_connect(device_irq(s->rtc, 0), &hpet_legacy_sink, hpet, 1);
    s->hpet_dev = hpet;
    hpet_set_pending(hpet, glue_tick_pending, s);
    hpet_set_pit(hpet, pit);
    return true;
}

/* ---- A20 and FERR# ---- */

static void glue_a20_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    PcGlue *g = sink;
    Machine *m = g->dev.machine;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i]) {
            x86_set_a20(x86_cpu(m->cpus[i]), level);
        }
    }
}

static const IrqSinkOps glue_a20_sink = { .set = glue_a20_set };

static void glue_set_ferr(PcGlue *g, bool level)
{
    pthread_mutex_lock(&g->lock);
    g->ferr_level = level;
    irq_set(&g->ferr, level);
    pthread_mutex_unlock(&g->lock);
}

/* An error latches; only F0h releases it. */
static void glue_ferr(void *opaque, bool level)
{
    if (level) {
        glue_set_ferr(opaque, true);
    }
}

static uint64_t ferr_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    return 0xff;
}

static void ferr_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED)
{
    glue_set_ferr(opaque, false);
}

/* ---- CPUs ---- */

/* IRQ 0 was taken: the PIT's, or the HPET's in its place. */
static void glue_tick_taken(PcBoard *s)
{
    if (s->timer) {
        i8254_taken(s->timer);
    }
    if (s->hpet_dev) {
        hpet_taken(s->hpet_dev);
    }
}

static int glue_pic_ack(void *opaque)
{
    PcBoard *s = opaque;
    int vector = i8259_ack(s->pic_master);
    glue_tick_taken(s);
    return vector;
}

static void glue_vector_taken(void *opaque, uint8_t vector)
{
    PcBoard *s = opaque;
    if (ioapic_edge_vector(s->ioapic, 2) == vector) {
        glue_tick_taken(s);
    }
}

/* INT of the master goes to LINT0 of every local APIC, or straight to the pin of a CPU that has none. */
static void glue_intr_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    PcBoard *s = sink;
    Machine *m = s->glue->machine;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        X86Cpu *cpu = m->cpus[i] ? x86_cpu(m->cpus[i]) : NULL;
        if (!cpu) {
            continue;
        }
        if (cpu->apic) {
            apic_set_lint(cpu->apic, 0, level);
        } else if (i == 0 && level) {
            vcpu_interrupt(m->cpus[i], X86_IRQ_INTR);
        } else if (i == 0) {
            vcpu_interrupt_clear(m->cpus[i], X86_IRQ_INTR);
        }
    }
}

static const IrqSinkOps glue_intr_sink = { .set = glue_intr_set };

static void glue_smi_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    Machine *m = dev_as(PcGlue, ((PcBoard *)sink)->glue)->dev.machine;
    if (level && m->cpus && m->cpus[0]) {
        vcpu_interrupt(m->cpus[0], X86_IRQ_SMI);
    }
}

static const IrqSinkOps glue_smi_sink = { .set = glue_smi_set };

bool pc_glue_attach_cpus(Machine *m, PcBoard *s, Error **errp)
{
    PcGlue *g = dev_as(PcGlue, s->glue);
    s->tables.n_cpus = m->cpus ? m->n_cpus : 0;
    s->tables.max_cpus = MAX(s->tables.n_cpus, m->max_cpus);
    s->tables.apic_id = g_new0(uint32_t, s->tables.max_cpus + 1);
    for (unsigned i = 0; i < s->tables.max_cpus; i++) {
        s->tables.apic_id[i] = x86_apic_id(m, i);
    }
    uint32_t last = s->tables.max_cpus ? s->tables.apic_id[s->tables.max_cpus - 1] : 0;
    if (last >= 255) { /* 255 is the broadcast; the firmware starts CPUs by 8-bit ids */
        error_fail(errp, "out-of-range", "smp", NULL,
                   "-smp: the last CPU would have APIC id %u, and the firmware reaches ids below 255 only",
                   last);
        error_hint(errp, "use fewer CPUs, or numbers of cores and threads that are powers of two");
        return false;
    }
    for (unsigned i = 0; i < s->tables.n_cpus; i++) {
        X86Cpu *cpu = x86_cpu(m->cpus[i]);
        cpu->pic_ack = glue_pic_ack;
        cpu->pic_opaque = s;
        cpu->no_smm = s->smm == OFF;
        cpu->ferr = glue_ferr;
        cpu->ferr_opaque = g;
        if (x86_has_feature(cpu, "apic") && !apic_create(m, m->cpus[i], m->unattached, errp)) {
            return false;
        }
    }
    apic_set_eoi_target(m, s->ioapic);
    apic_on_take(m, glue_vector_taken, s);
    return true;
}

/* ---- the device ---- */

static void glue_cleanup(void *opaque)
{
    PcGlue *g = opaque;
    pthread_mutex_destroy(&g->lock);
}

static bool glue_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = ferr_read, .write = ferr_write, .min = 1, .max = 1 };
    PcGlue *g = dev_as(PcGlue, dev);
    pthread_mutex_init(&g->lock, NULL);
    device_add_cleanup(dev, glue_cleanup, g);
    irq_or_init(&g->a20);
    irq_connect(&g->a20.out, &glue_a20_sink, g, 0);
    region_init_io(&g->ferr_port, dev, "ferr", &ops, g, 2);
    device_add_region(dev, &g->ferr_port);
    return device_map_io(dev, &g->ferr_port, FERR_PORT, errp);
}

static void glue_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    PcGlue *g = dev_as(PcGlue, dev);
    pthread_mutex_lock(&g->lock);
    g->ferr_level = false;
    pthread_mutex_unlock(&g->lock);
}

static void glue_reset_done(Device *dev)
{
    PcGlue *g = dev_as(PcGlue, dev);
    glue_set_ferr(g, g->ferr_level);
}

static bool glue_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    PcGlue *g = opaque;
    glue_set_ferr(g, g->ferr_level);
    return true;
}

static const VmField glue_fields[] = { VM_BOOL(PcGlue, ferr_level), { 0 } };
static const VmState glue_state = {
    .name = "pc-glue", .version = 1, .oldest = 1, .fields = glue_fields, .post_load = glue_post_load,
};

const DeviceType pc_glue_type = {
    .name = "pc-glue",
    .desc = "Wires of the PC board",
    .size = sizeof(PcGlue),
    .category = "Misc",
    .internal = true,
    .vmstate = &glue_state,
    .realize = glue_realize,
    .reset = glue_reset,
    .reset_done = glue_reset_done,
};

/* Without a PS/2 mouse, whose interrupt it uses, there is no pointer behind the port. */
static bool glue_make_vmport(Machine *m, Bus *isa, Device *mouse, Error **errp)
{
    Device *port = device_create(m, &vmport_type, m->unattached, NULL, isa, errp, NULL);
    Device *pointer =
        port && mouse ? device_create(m, &vmmouse_type, m->unattached, NULL, isa, errp, NULL) : NULL;
    if (pointer) {
        vmmouse_wire(pointer, port, mouse);
    }
    return port && (!mouse || pointer);
}

/* After the ISA bus exists: controllers, timers, keyboard controller, and their lines. */
bool pc_glue_wire(Machine *m, PcBoard *s, Error **errp)
{
    Bus *isa = s->isa->bus;
    s->glue = device_create(m, &pc_glue_type, m->unattached, NULL, NULL, errp, NULL);
    if (!s->glue) {
        return false;
    }
    PcGlue *g = dev_as(PcGlue, s->glue);
    g->board = s;
    s->pic_master = i8259_create_pair(isa, m->unattached, errp);
    s->ioapic = s->pic_master ? device_create(m, &ioapic_type, m->unattached, NULL, NULL, errp, NULL) : NULL;
    if (!s->ioapic) {
        return false;
    }
    device_map_mem(s->ioapic, device_region(s->ioapic, 0), IOAPIC_BASE, 1);
    irq_connect(device_irq(s->pic_master, 0), &glue_intr_sink, s, 0);
    glue_wire_gsis(s, g);
    irq_connect(&g->ferr, &irq_or_sink, &s->isa->irq_or[FERR_IRQ], PC_IRQ_SOURCE_FERR);
    if (s->smi) {
        irq_connect(s->smi, &glue_smi_sink, s, 0);
    }
    s->rtc = device_create(m, &mc146818_type, m->unattached, NULL, isa, errp, NULL);
    if (!s->rtc) {
        return false;
    }
    Device *pit = NULL;
    if (s->pit == OFF && s->pcspk_audiodev) {
        return error_fail(errp, "conflict", "pcspk-audiodev", "leave out one of them",
                          "pcspk-audiodev=%s: there is no speaker with pit=off", s->pcspk_audiodev);
    }
    if (s->pit != OFF) {
        pit = device_create(m, &i8254_type, m->unattached, NULL, isa, errp, NULL);
        if (!pit || !device_create(m, &pcspk_type, m->unattached, NULL, isa, errp,
                                   s->pcspk_audiodev ? "audiodev" : NULL, s->pcspk_audiodev, NULL)) {
            return false;
        }
        s->timer = pit;
        i8254_set_pending(pit, glue_tick_pending, s);
    }
    Device *port92 = device_create(m, &port92_type, m->unattached, NULL, isa, errp, NULL);
    if (!port92 || (s->hpet && !glue_wire_hpet(m, s, g, pit, errp))) {
        return false;
    }
    irq_connect(device_irq(port92, 0), &irq_or_sink, &g->a20, A20_PORT92);
    Device *mouse = NULL;
    if (s->i8042) {
        Device *kbc = device_create(m, &i8042_type, m->unattached, NULL, isa, errp, NULL);
        if (!kbc) {
            return false;
        }
        irq_connect(device_irq(kbc, I8042_LINE_A20), &irq_or_sink, &g->a20, A20_KBC);
        mouse = i8042_mouse(kbc);
    }
    return s->vmport == OFF || (!mouse && s->vmport == AUTO) || glue_make_vmport(m, isa, mouse, errp);
}
