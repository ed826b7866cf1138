/* SPDX-License-Identifier: MIT
 * hw/i386/piix4pm.c - the PIIX4 function 3: ACPI fixed hardware, APM ports, SMBus host without slaves.
 *
 * Models: Intel 82371AB (PIIX4) data sheet (290562), 7.1 (configuration: PMBA, SMBBA, PMREGMISC,
 *         SMBHSTCFG, DEVACTB), 7.2 (PMSTS, PMEN, PMCNTRL, PMTMR, GPSTS, GPEN, GLBCTL, ...), 7.3 (SMBus
 *         host); ACPI 6.3, 4.8.3 (fixed events, PM timer, power button).
 *         Writes to APMC raise SMI# when DEVACTB.APMC_EN and GLBCTL.SMI_EN say so, and set GLBSTS.APM_STS (7.2.8,
 *         7.2.11). The two APM commands that switch ACPI on and off, which the firmware of real boards executes in its
 *         SMI handler, take effect directly, because SeaBIOS's handler leaves them to the chipset. Without SMM
 *         (smm_enabled=off) DEVACTB reads as "SMI set up already", so that firmware does not wait for one.
 *         Bit 1 of GPSTS and GPEN, which the chip does not have, is PCI hot-plug by ACPI (hw/acpi/pcihp.c).
 * Does not model: GLBCTL.EOS (each event is one SMI), SMIs by other events than APMC, S3 and S4, clock control, device idle timers, trap events, SMBus slaves.
 * Threads: everything runs in the device's domain.
 */
#include "pc_internal.h"
#include "pm1.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/hw/pcihp.h"
#include <string.h>

enum { /* I/O registers, from PMBA; below 0Ch: pm1.h */
    GPSTS = 0x0c, GPEN = 0x0e, GLBSTS = 0x18, GLBCTL = 0x28, PM_IO_SIZE = 0x40,
    GLBSTS_APM = 1 << 5, GLBCTL_SMI_EN = 1,
    GPEN_BITS = 0x0f01 | 1 << VMGENID_GPE | 1 << ACPI_PCIHP_GPE, /* the chip's own, and what this board adds */
};
enum { /* configuration */
    CFG_PMBA = 0x40, CFG_DEVACTB3 = 0x5b, CFG_PMREGMISC = 0x80, CFG_SMBBA = 0x90, CFG_SMBHSTCFG = 0xd2,
    DEVACTB3_APMC_EN = 1 << 1,
};
enum { SMB_STS_W1C = 0x1e };

typedef struct Piix4Pm {
    Device dev;
    uint8_t disable_s3, disable_s4; /* configuration: 0 or 1, as management programs give them */
    bool smm, hotplug_root, hotplug_bridges;
    AcpiPcihp hotplug;
    MemRegion pm_io, smb_io, apm_io; /* wiring */
    IrqLine sci, smi;              /* SMI# as a pulse */
    AcpiPm1 pm1;                   /* guest-visible state */
    uint16_t gp_sts, gp_en;
    uint8_t regs[PM_IO_SIZE];      /* the registers from 10h on that are storage */
    uint8_t smb[SMB_SIZE];
    uint8_t apm_command, apm_status;
    uint16_t pm_at, smb_at;        /* derived: where the regions are, 0 = unmapped */
} Piix4Pm;

static void pm_update(Piix4Pm *s)
{
    irq_set(&s->sci, acpi_pm1_update(&s->pm1, s->gp_sts & s->gp_en));
}

static void gpe_set(void *sink, unsigned pin, bool level)
{
    Piix4Pm *s = dev_as(Piix4Pm, (Device *)sink);
    if (level) {
        s->gp_sts |= 1u << pin;
        pm_update(s);
    }
}

const IrqSinkOps piix4_gpe_sink = { .set = gpe_set };

static void pm_timer_fire(void *opaque)
{
    pm_update(opaque);
}

static void pm_power_button(void *opaque)
{
    Piix4Pm *s = opaque;
    acpi_pm1_power_button(&s->pm1);
    pm_update(s);
}

static uint64_t pm_read(void *opaque, MemAccess *a)
{
    Piix4Pm *s = opaque;
    uint8_t low[0x10] = { 0 };
    acpi_pm1_read(&s->pm1, low);
    for (unsigned i = 0; i < 2; i++) {
        low[GPSTS + i] = s->gp_sts >> (8 * i);
        low[GPEN + i] = s->gp_en >> (8 * i);
    }
    uint64_t v = 0;
    for (unsigned i = 0; i < a->size; i++) {
        unsigned at = a->off + i;
        v |= (uint64_t)(at < sizeof(low) ? low[at] : s->regs[at & (PM_IO_SIZE - 1)]) << (8 * i);
    }
    return v;
}

/* One 16-bit register; `mask` says which of its bytes the access covers. */
static void pm_write16(Piix4Pm *s, unsigned reg, uint16_t val, uint16_t mask)
{
    switch (reg) {
    case GPSTS:
        s->gp_sts &= ~(val & mask);
        break;
    case GPEN:
        s->gp_en = (s->gp_en & ~mask) | (val & mask & GPEN_BITS);
        break;
    case GLBSTS: /* write one to clear */
        s->regs[GLBSTS] &= ~(val & mask);
        break;
    default:
        acpi_pm1_write(&s->pm1, reg, val, mask);
        for (unsigned i = 0; i < 2; i++) {
            if (reg >= 0x10 && (mask >> (8 * i) & 0xff)) {
                s->regs[reg + i] = val >> (8 * i);
            }
        }
    }
}

static void pm_write(void *opaque, MemAccess *a, uint64_t val)
{
    Piix4Pm *s = opaque;
    for (unsigned reg = a->off & ~1u; reg < a->off + a->size; reg += 2) {
        int shift = 8 * ((int)reg - (int)a->off);
        uint64_t bytes = a->size == 1 ? 0xff : a->size == 2 ? 0xffff : 0xffffffff;
        uint16_t v = shift < 0 ? val << -shift : val >> shift, mask = shift < 0 ? bytes << -shift : bytes >> shift;
        pm_write16(s, reg, v, mask);
    }
    pm_update(s);
}

static uint64_t smb_read(void *opaque, MemAccess *a)
{
    Piix4Pm *s = opaque;
    return s->smb[a->off & (SMB_SIZE - 1)];
}

static void smb_write(void *opaque, MemAccess *a, uint64_t val)
{
    Piix4Pm *s = opaque;
    smb_host_write(s->smb, a->off, val, SMB_STS_W1C);
}

static uint64_t apm_read(void *opaque, MemAccess *a)
{
    Piix4Pm *s = opaque;
    return a->off == 0 ? s->apm_command : s->apm_status;
}

static void apm_write(void *opaque, MemAccess *a, uint64_t val)
{
    Piix4Pm *s = opaque;
    if (a->off == 1) {
        s->apm_status = val;
        return;
    }
    s->apm_command = val;
    if (s->smm && (pci_get(&s->dev, CFG_DEVACTB3, 1) & DEVACTB3_APMC_EN) && (s->regs[GLBCTL] & GLBCTL_SMI_EN)) {
        s->regs[GLBSTS] |= GLBSTS_APM;
        irq_set(&s->smi, true);
        irq_set(&s->smi, false);
    }
    if (val == PIIX4_ACPI_ENABLE || val == PIIX4_ACPI_DISABLE) {
        acpi_pm1_enable_sci(&s->pm1, val == PIIX4_ACPI_ENABLE);
    }
    pm_update(s);
}

uint16_t piix4_pm_base(Device *pm)
{
    return pci_get(pm, CFG_PMREGMISC, 1) & 1 ? pci_get(pm, CFG_PMBA, 2) & 0xffc0 : 0;
}

static void pm_place(Piix4Pm *s, MemRegion *r, uint16_t at, uint16_t *was)
{
    if (*was == at) {
        return;
    }
    if (*was) {
        region_unmap(r);
    }
    if (at) {
        region_map(&s->dev.machine->sysio, at, r, 1);
    }
    *was = at;
}

static void pm_update_ports(Piix4Pm *s)
{
    mem_begin(s->dev.machine);
    pm_place(s, &s->pm_io, piix4_pm_base(&s->dev), &s->pm_at);
    bool smb = pci_get(&s->dev, CFG_SMBHSTCFG, 1) & 1;
    pm_place(s, &s->smb_io, smb ? pci_get(&s->dev, CFG_SMBBA, 2) & 0xfff0 : 0, &s->smb_at);
    mem_commit(s->dev.machine);
}

static void pm_config_written(Device *dev, unsigned off G_GNUC_UNUSED, unsigned len G_GNUC_UNUSED)
{
    pm_update_ports(dev_as(Piix4Pm, dev));
}

static void pm_hotplug_event(Device *dev)
{
    Piix4Pm *s = dev_as(Piix4Pm, dev);
    s->gp_sts |= 1 << ACPI_PCIHP_GPE;
    pm_update(s);
}

AcpiPcihp *piix4_pm_hotplug(Device *pm, bool *root_too)
{
    Piix4Pm *s = dev_as(Piix4Pm, pm);
    *root_too = s->hotplug_root;
    return s->hotplug_root || s->hotplug_bridges ? &s->hotplug : NULL;
}

static const struct { uint8_t reg; uint32_t value, wmask; } pm_config[] = {
    { CFG_PMBA, 1, 0xffc0 },     { 0x44, 0, 0xffffff },  { 0x48, 0, 0x1ffffff }, { 0x4c, 0, 0xffffff },
    { 0x50, 0, 0x07ffff },       { 0x54, 0, 0xffffffff }, { 0x58, 0, 0xffffffff }, { 0x5c, 0, 0xffffffff },
    { 0x60, 0x90000000, 0xfff },{ 0x64, 0, 0xffffffff }, { 0x68, 0, 0x7fffffff }, { 0x6c, 0, 0x1fffff },
    { 0x70, 0, 0x1fffffff },     { 0x74, 0, 0xffffff },  { 0x78, 0, 0x1fffffff }, { 0x7c, 0, 0x1fffff },
    { CFG_PMREGMISC, 0, 0x01 },  { CFG_SMBBA, 1, 0xfff0 }, { 0xd0, 0, 0x000f0000 }, { 0xd4, 0, 0xffff },
};

static bool pm_realize(Device *dev, Error **errp)
{
    static const MemOps pm_ops = { .read = pm_read, .write = pm_write, .min = 1, .max = 4, .unaligned = false };
    static const MemOps smb_ops = { .read = smb_read, .write = smb_write, .min = 1, .max = 1 };
    static const MemOps apm_ops = { .read = apm_read, .write = apm_write, .min = 1, .max = 1 };
    Piix4Pm *s = dev_as(Piix4Pm, dev);
    if (!s->disable_s3 || !s->disable_s4) {
        error_set(errp, "PIIX4_PM: %s=0: suspend is not supported", s->disable_s3 ? "disable_s4" : "disable_s3");
        error_hint(errp, "leave disable_s3 and disable_s4 at 1");
        return false;
    }
    region_init_io(&s->pm_io, dev, "piix4-pm", &pm_ops, s, PM_IO_SIZE);
    region_init_io(&s->smb_io, dev, "piix4-smbus", &smb_ops, s, SMB_SIZE);
    region_init_io(&s->apm_io, dev, "apm", &apm_ops, s, 2);
    device_add_region(dev, &s->pm_io);
    device_add_region(dev, &s->smb_io);
    device_add_region(dev, &s->apm_io);
    acpi_pm1_init(&s->pm1, dev, pm_timer_fire);
    if (!device_map_io(dev, &s->apm_io, PIIX4_PM_SMI_CMD, errp) ||
        ((s->hotplug_root || s->hotplug_bridges) &&
         !acpi_pcihp_init(&s->hotplug, dev, PIIX4_PM_HOTPLUG, pm_hotplug_event, errp))) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(pm_config); i++) {
        pci_set_wmask(dev, pm_config[i].reg, pm_config[i].wmask, 4);
    }
    pci_set_wmask(dev, 0x04, 0x0001, 2); /* 7.1.3: only I/O space */
    machine_on_powerdown(dev->machine, pm_power_button, s);
    return true;
}

static void pm_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Piix4Pm *s = dev_as(Piix4Pm, dev);
    acpi_pm1_reset(&s->pm1);
    acpi_pcihp_reset(&s->hotplug);
    s->gp_sts = s->gp_en = 0;
    memset(s->regs, 0, sizeof(s->regs));
    memset(s->smb, 0, sizeof(s->smb));
    s->apm_command = s->apm_status = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(pm_config); i++) {
        pci_set_long(dev, pm_config[i].reg, pm_config[i].value);
    }
    pci_set_byte(dev, CFG_DEVACTB3, s->smm ? 0 : DEVACTB3_APMC_EN);
    pci_set_word(dev, 0x06, 0x0280);
}

static void pm_reset_done(Device *dev)
{
    Piix4Pm *s = dev_as(Piix4Pm, dev);
    pm_update_ports(s);
    pm_update(s);
}

static bool pm_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Piix4Pm *s = opaque;
    acpi_pm1_loaded(&s->pm1);
    pm_update_ports(s);
    pm_update(s);
    return true;
}

static const Prop pm_props[] = {
    PROP_U8(Piix4Pm, disable_s3, "disable_s3", 1, 0, 1, "Suspend to RAM is not offered"),
    PROP_BOOL(Piix4Pm, smm, "smm-enabled", true, "Commands to port B2h raise system-management interrupts"),
    PROP_BOOL(Piix4Pm, hotplug_root, "acpi-root-pci-hotplug", true,
              "Devices of the root bus come and go while the machine runs"),
    PROP_BOOL(Piix4Pm, hotplug_bridges, "acpi-pci-hotplug-with-bridge-support", true,
              "Those behind bridges do as well"),
    PROP_U8(Piix4Pm, disable_s4, "disable_s4", 1, 0, 1, "Suspend to disk is not offered"),
    { 0 },
};
static const VmField pm_fields[] = {
    VM_STRUCT(Piix4Pm, pm1, acpi_pm1_state), VM_U16(Piix4Pm, gp_sts), VM_U16(Piix4Pm, gp_en),
    VM_U8_ARRAY(Piix4Pm, regs), VM_U8_ARRAY(Piix4Pm, smb), VM_U8(Piix4Pm, apm_command), VM_U8(Piix4Pm, apm_status),
    VM_STRUCT(Piix4Pm, hotplug, acpi_pcihp_state),
    { 0 },
};
static const VmState pm_state = {
    .name = "PIIX4_PM", .version = 1, .oldest = 1, .fields = pm_fields, .post_load = pm_post_load,
};

static const PciOps pm_ops = {
    .vendor = 0x8086, .device = 0x7113, .class_code = 0x068000, .revision = 3, .intx_pin = 1, .no_hotplug = true,
    .config_written = pm_config_written,
};

const DeviceType piix4_pm_type = {
    .name = "PIIX4_PM", .desc = "PIIX4 power management", .size = sizeof(Piix4Pm), .category = "Bridge",
    .internal = true, .bus_type = &pci_bus_type, .bus_ops = &pm_ops, .props = pm_props, .vmstate = &pm_state,
    .realize = pm_realize, .reset = pm_reset, .reset_done = pm_reset_done,
};

IrqLine *piix4_pm_smi(Device *pm)
{
    return &dev_as(Piix4Pm, pm)->smi;
}

IrqLine *piix4_pm_sci(Device *pm)
{
    return &dev_as(Piix4Pm, pm)->sci;
}
