/* SPDX-License-Identifier: MIT
 * hw/i386/microvm.c - the board "microvm": CPUs, interrupt controllers, and virtio devices in memory.
 *
 * Models: RAM as the pc board has it; eight virtio-mmio transports; I/O APIC; on an ISA bus 8259s, 8254,
 *         clock and one serial port, each of which can be left out; fw_cfg; hardware-reduced ACPI (can be
 *         left out).
 * Does not model: PCI, USB, a second I/O APIC, system-management mode, FERR#.
 * Threads: main loop; lines are driven from any thread.
 */
#include "microvm.h"
#include "rhea/backends/char.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/hw/ged.h"
#include "rhea/hw/intc.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/timer.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/util/errorcode.h"
#include <inttypes.h>

enum { MICROVM_MAX_CPUS = 255, SERIAL_PORT = 0x3f8, SERIAL_IRQ = 4 };
enum { SOURCE_GED = ISA_SOURCE_BOARD, SOURCE_VIRTIO };

/* ---- options ---- */

static bool refuse(Error **errp, const char *what, const char *why, const char *cure)
{
    error_fail(errp, "not-supported", NULL, NULL, "%s: %s", what, why);
    error_hint(errp, "%s", cure);
    return false;
}

static bool check_props(const MicrovmBoard *s, const Machine *m, Error **errp)
{
    const struct {
        bool bad;
        const char *what, *why, *cure;
    } rows[] = {
        { s->pcie == ON, "-machine pcie=on", "this board has no PCI",
          "leave pcie out; virtio devices end in -device" },
        { s->ioapic2 == ON, "-machine ioapic2=on",
          "there is one I/O APIC, with eight inputs for virtio devices", "leave ioapic2 out" },
        { s->usb, "-machine usb=on", "there is no USB controller", "leave usb out or set usb=off" },
        { s->smm == ON, "-machine smm=on", "nothing on this board asserts SMI#",
          "leave smm out or set smm=off" },
        { s->memory_encryption && s->memory_encryption[0], "-machine memory-encryption",
          "encrypted guest memory is not available", "leave it out" },
        { m->smbios, "-smbios", "machine type 'microvm' has no SMBIOS tables",
          "leave it out, or use -machine pc" },
        { m->boot_order || m->boot_once || m->boot_menu || m->boot_splash || m->boot_reboot_timeout_ms >= 0 ||
              m->boot_menu_timeout_ms >= 0,
          "-boot", "machine type 'microvm' starts a kernel, there is nothing to choose from",
          "leave it out, or use -machine pc" },
        { m->numa && s->acpi == OFF, "-numa",
          "the guest is told of NUMA nodes by ACPI, and acpi=off is given", "use acpi=on" },
        { s->pic == OFF && s->pit != OFF && s->acpi == OFF, "-machine pic=off",
          "guests without ACPI need the 8259s for the timer", "use acpi=on, or leave pic out" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].bad) {
            return refuse(errp, rows[i].what, rows[i].why, rows[i].cure);
        }
    }
    return true;
}

/* ---- memory ---- */

static bool map_ram(Machine *m, MicrovmBoard *s, Error **errp)
{
    if (!pc_layout(m->ram_size, 0, &pc_layout_limits, &s->layout, errp) ||
        !machine_init_ram(m, "microvm.ram", errp)) {
        return false;
    }
    machine_advise_ram(m, s->mem_merge, s->dump_guest_core);
    pc_map_layout(m, &s->layout, &s->ram_low, &s->ram_high);
    return true;
}

/* ---- wires ---- */

/* The bridge owns the ISA bus and the lines to the I/O APIC. */
typedef struct MicrovmBridge {
    Device dev;
    MicrovmBoard *board; /* wiring */
    IsaBus *isa;
    IrqLine gsi_out[ISA_IRQS];
} MicrovmBridge;

static bool bridge_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    MicrovmBridge *b = dev_as(MicrovmBridge, dev);
    b->isa = isa_bus_new(dev, "isa.0");
    return true;
}

static const DeviceType microvm_bridge_type = {
    .name = "isabus-bridge",
    .desc = "ISA bus of a board without PCI",
    .size = sizeof(MicrovmBridge),
    .category = "Bridge",
    .internal = true,
    .realize = bridge_realize,
};

/* IRQ 0 is on pin 2, as on the pc board. */
static void isa_set(void *sink, unsigned irq, bool level)
{
    MicrovmBoard *s = sink;
    MicrovmBridge *b = dev_as(MicrovmBridge, s->bridge);
    if (s->pic_master) {
        i8259_pair_sink.set(s->pic_master, irq, level);
    }
    if (irq != 2) {
        irq_set(&b->gsi_out[irq], level);
    }
}

static const IrqSinkOps isa_sink = { .set = isa_set };

static bool tick_pending(void *opaque)
{
    MicrovmBoard *s = opaque;
    return (s->pic_master && i8259_waits(s->pic_master, 0)) || ioapic_waits(s->ioapic, 2);
}

static int pic_ack(void *opaque)
{
    MicrovmBoard *s = opaque;
    int vector = i8259_ack(s->pic_master);
    if (s->timer) {
        i8254_taken(s->timer);
    }
    return vector;
}

static void vector_taken(void *opaque, uint8_t vector)
{
    MicrovmBoard *s = opaque;
    if (s->timer && ioapic_edge_vector(s->ioapic, 2) == vector) {
        i8254_taken(s->timer);
    }
}

/* INT of the master goes to LINT0 of every local APIC, or straight to the pin of a CPU that has none. */
static void intr_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    MicrovmBoard *s = sink;
    Machine *m = s->bridge->machine;
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        X86Cpu *cpu = m->cpus[i] ? x86_cpu(m->cpus[i]) : NULL;
        if (cpu && cpu->apic) {
            apic_set_lint(cpu->apic, 0, level);
        } else if (cpu && i == 0 && level) {
            vcpu_interrupt(m->cpus[i], X86_IRQ_INTR);
        } else if (cpu && i == 0) {
            vcpu_interrupt_clear(m->cpus[i], X86_IRQ_INTR);
        }
    }
}

static const IrqSinkOps intr_sink = { .set = intr_set };

static bool attach_cpus(Machine *m, MicrovmBoard *s, Error **errp)
{
    PcAcpi *t = &s->tables;
    t->n_cpus = m->cpus ? m->n_cpus : 0;
    t->max_cpus = MAX(t->n_cpus, m->max_cpus);
    t->apic_id = g_new0(uint32_t, t->max_cpus + 1);
    for (unsigned i = 0; i < t->max_cpus; i++) {
        t->apic_id[i] = x86_apic_id(m, i);
    }
    if (t->max_cpus && t->apic_id[t->max_cpus - 1] >= 255) { /* 255 is the broadcast */
        error_fail(errp, "out-of-range", "smp", NULL,
                   "-smp: the last CPU would have APIC id %u, and interrupts reach ids below 255 only",
                   t->apic_id[t->max_cpus - 1]);
        error_hint(errp, "use fewer CPUs, or numbers of cores and threads that are powers of two");
        return false;
    }
    for (unsigned i = 0; i < t->n_cpus; i++) {
        X86Cpu *cpu = x86_cpu(m->cpus[i]);
        cpu->pic_ack = s->pic_master ? pic_ack : NULL;
        cpu->pic_opaque = s;
        cpu->no_smm = true;
        if (x86_has_feature(cpu, "apic") && !apic_create(m, m->cpus[i], m->unattached, errp)) {
            return false;
        }
    }
    apic_set_eoi_target(m, s->ioapic);
    apic_on_take(m, vector_taken, s);
    return true;
}

/* ---- devices ---- */

static bool create_controllers(Machine *m, MicrovmBoard *s, Error **errp)
{
    s->bridge = device_create(m, &microvm_bridge_type, m->unattached, NULL, NULL, errp, NULL);
    s->ioapic = s->bridge ? device_create(m, &ioapic_type, m->unattached, NULL, NULL, errp, NULL) : NULL;
    if (!s->ioapic) {
        return false;
    }
    MicrovmBridge *b = dev_as(MicrovmBridge, s->bridge);
    b->board = s;
    s->isa = b->isa;
    device_map_mem(s->ioapic, device_region(s->ioapic, 0), IOAPIC_BASE, 1);
    if (s->pic != OFF) {
        s->pic_master = i8259_create_pair(s->isa->bus, m->unattached, errp);
        if (!s->pic_master) {
            return false;
        }
        irq_connect(device_irq(s->pic_master, 0), &intr_sink, s, 0);
    }
    for (unsigned k = 0; k < ISA_GSIS; k++) {
        if (k < ISA_IRQS) {
            irq_connect(&s->isa->irq_in[k], &isa_sink, s, k);
            irq_connect(&b->gsi_out[k], k == 2 ? NULL : &ioapic_sink, s->ioapic, k == 0 ? 2 : k);
            device_add_irq(s->bridge, &b->gsi_out[k]);
        } else {
            irq_connect(&s->isa->gsi_in[k - ISA_IRQS], &ioapic_sink, s->ioapic, k);
        }
    }
    return true;
}

static bool create_isa(Machine *m, MicrovmBoard *s, Error **errp)
{
    GPtrArray *list = m->serial_chardevs;
    if (s->pit != OFF) {
        s->timer = device_create(m, &i8254_type, m->unattached, NULL, s->isa->bus, errp, NULL);
        if (!s->timer || !device_create(m, &pcspk_type, m->unattached, NULL, s->isa->bus, errp, NULL)) {
            return false;
        }
        i8254_set_pending(s->timer, tick_pending, s);
    }
    if (s->rtc != OFF) {
        s->rtc_dev = device_create(m, &mc146818_type, m->unattached, NULL, s->isa->bus, errp, NULL);
        if (!s->rtc_dev) {
            return false;
        }
    }
    if (list && list->len > 1) {
        error_fail(errp, "too-many", "serial", NULL,
                   "%u serial ports asked for; the board has a place for one", list->len);
        error_hint(errp, "use fewer -serial options, or -device isa-serial");
        return false;
    }
    Chardev *c = list && list->len ? list->pdata[0] : NULL;
    if (!s->isa_serial || !c) {
        return true;
    }
    s->tables.serial[0].iobase = SERIAL_PORT;
    s->tables.serial[0].irq = SERIAL_IRQ;
    s->tables.n_serial = 1;
    return device_create(m, &isa_serial_type, m->unattached, NULL, s->isa->bus, errp, "index", "0", "chardev",
                         chardev_id(c), NULL);
}

static void connect_gsi(MicrovmBoard *s, IrqLine *line, unsigned gsi, unsigned source)
{
    irq_connect(line, &irq_or_sink, gsi < ISA_IRQS ? &s->isa->irq_or[gsi] : &s->isa->gsi_or[gsi - ISA_IRQS],
                source);
}

static bool create_mmio(Machine *m, MicrovmBoard *s, Error **errp)
{
    for (unsigned i = 0; i < MICROVM_TRANSPORTS; i++) {
        hwaddr at = MICROVM_VIRTIO_BASE + i * VIRTIO_MMIO_SIZE;
        g_autofree char *index = g_strdup_printf("%u", i), *address = g_strdup_printf("%" PRIu64, at);
        s->transport[i] = device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, errp, "index", index,
                                        "address", address, NULL);
        if (!s->transport[i]) {
            return false;
        }
        device_map_mem(s->transport[i], device_region(s->transport[i], 0), at, 1);
        connect_gsi(s, device_irq(s->transport[i], 0), microvm_virtio_irq(s, i), SOURCE_VIRTIO);
    }
    if (s->acpi == OFF) {
        return true;
    }
    s->ged = device_create(m, &acpi_ged_type, m->unattached, NULL, NULL, errp, NULL);
    if (s->ged) {
        device_map_mem(s->ged, device_region(s->ged, 0), MICROVM_GED_BASE, 1);
        connect_gsi(s, device_irq(s->ged, 0), MICROVM_GED_IRQ, SOURCE_GED);
    }
    return s->ged != NULL;
}

/* ---- life ---- */

static bool microvm_init(Machine *m, Error **errp)
{
    MicrovmBoard *s = m->board_state;
    if (!check_props(s, m, errp) || !map_ram(m, s, errp) || !microvm_prepare_boot(m, s, errp) ||
        !create_controllers(m, s, errp)) {
        return false;
    }
    s->fw = device_create(m, &fw_cfg_type, m->unattached, NULL, NULL, errp, NULL);
    return s->fw && create_isa(m, s, errp) && create_mmio(m, s, errp) && attach_cpus(m, s, errp);
}

static bool microvm_ready(Machine *m, Error **errp)
{
    MicrovmBoard *s = m->board_state;
    s->tables.layout = s->layout;
    s->tables.numa = m->numa;
    if (fw_cfg_find_device(m, &vmgenid_type)) {
        error_fail(errp, "not-supported", "driver", NULL,
                   "device 'vmgenid': machine type 'microvm' has no firmware that could place it");
        error_hint(errp, "use -machine pc or q35");
        return false;
    }
    return microvm_publish(m, s, errp);
}

static void microvm_reset(Machine *m, ResetKind kind)
{
    if (kind != RESET_SNAPSHOT) {
        microvm_enter(m, m->board_state);
    }
}

static void microvm_fini(Machine *m)
{
    MicrovmBoard *s = m->board_state;
    MemRegion *own[] = { &s->bios_low, &s->bios_high, &s->ram_low, &s->ram_high };
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
        if (own[i]->name) {
            region_unmap(own[i]);
            region_fini(own[i]);
        }
    }
    ram_unref(s->bios);
    g_clear_pointer(&s->bios_file, g_bytes_unref);
    if (s->is_direct) {
        direct_boot_fini(&s->direct);
    }
    g_free(s->tables.apic_id);
}

static Bus *microvm_default_bus(Machine *m, const BusType *type)
{
    MicrovmBoard *s = m->board_state;
    if (type == &virtio_mmio_bus_type) { /* the first free place; the last one says that all are taken */
        unsigned i = 0;
        while (i + 1 < MICROVM_TRANSPORTS && virtio_mmio_used(s->transport[i])) {
            i++;
        }
        return virtio_mmio_bus(s->transport[i]);
    }
    return type == &isa_bus_type      ? s->isa->bus
           : type == &fw_cfg_bus_type ? fw_cfg_bus(s->fw)
                                      : NULL;
}

static const Prop microvm_props[] = {
    PROP_ONOFFAUTO(MicrovmBoard, acpi, "acpi", AUTO, "Hardware-reduced ACPI: tables, power-off, reset"),
    PROP_ONOFFAUTO(MicrovmBoard, rtc, "rtc", AUTO, "MC146818 clock"),
    PROP_ONOFFAUTO(MicrovmBoard, pic, "pic", AUTO, "8259 interrupt controllers"),
    PROP_ONOFFAUTO(MicrovmBoard, pit, "pit", AUTO, "8254 timer and speaker"),
    PROP_BOOL(MicrovmBoard, isa_serial, "isa-serial", true, "Serial port"),
    PROP_BOOL(MicrovmBoard, option_roms, "x-option-roms", true, "With -bios: a ROM loads the kernel"),
    PROP_BOOL(MicrovmBoard, auto_cmdline, "auto-kernel-cmdline", true,
              "Without ACPI: name virtio devices on the kernel's command line"),
    PROP_ONOFFAUTO(MicrovmBoard, pcie, "pcie", AUTO, "PCI (off)"),
    PROP_ONOFFAUTO(MicrovmBoard, ioapic2, "ioapic2", AUTO, "Second I/O APIC (off)"),
    PROP_ONOFFAUTO(MicrovmBoard, smm, "smm", AUTO, "System management mode (off)"),
    X86_BOARD_PROPS(MicrovmBoard),
    MACHINE_RAM_PROPS(MicrovmBoard),
    { 0 },
};

const BoardType microvm_board = {
    .name = "microvm",
    .desc = "virtio devices in memory, no PCI",
    /* Without a PM timer and (under hardware-reduced ACPI) without the PIT, only this tells what the TSC
       counts. */
    .cpu_features = "kvmclock kvm-nopiodelay kvmclock-stable-bit",
    .target = &x86_64_target_ops,
    .max_cpus = MICROVM_MAX_CPUS,
    .default_ram = 128 * MIB,
    .min_ram = 2 * MIB,
    .max_ram = UINT64_C(1) << 40,
    .numa = true,
    .state_size = sizeof(MicrovmBoard),
    .props = microvm_props,
    .init = microvm_init,
    .fini = microvm_fini,
    .ready = microvm_ready,
    .reset = microvm_reset,
    .default_bus = microvm_default_bus,
    .default_nic = "virtio-net-device",
};
