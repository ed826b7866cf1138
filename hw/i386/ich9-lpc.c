/* SPDX-License-Identifier: MIT
 * hw/i386/ich9-lpc.c - the ICH9's LPC bridge at 00:1f.0: ISA bus, PCI interrupt routing, ACPI, RCBA.
 *
 * Models: Intel ICH9 data sheet (316972): 13.1 (configuration: PMBASE, ACPI_CNTL, PIRQ routing, RCBA),
 *         13.8.3 (PM I/O: PM1, GPE0, SMI_EN, SMI_STS), 13.7.3 (APM ports), 10.1.30 to 10.1.44 (device
 *         interrupt pins and routes). PIRQA-PIRQH are I/O APIC inputs 16 to 23; steered to an ISA line they
 *         appear there too. INTA-INTD of devices 0 to 24 go to PIRQE-PIRQH, rotated by slot, as on the boards
 *         that firmware knows; those of devices 25 to 31 as DxxIR says.
 *         As on the pc board, APM commands ACPI on and off take effect directly, and without SMM
 *         (smm-enabled=off) SMI_EN reads as "APMC set up already", so that firmware does not wait for an SMI.
 *         The TCO timer is tco.c's, the strap against its reboots (GCS) the property noreboot. Bit 1 of GPE0
 *         is PCI hot-plug by ACPI (hw/acpi/pcihp.c).
 * Does not model: GPIO, other sources of SMI# than APMC and TCO, S3 and S4, the rest of the chipset
 *         configuration space; LPC decode ranges are storage.
 * Threads: registers in the function's domain; the pins come from any function's domain and are kept under a
 *         leaf lock, so that telling a level twice is harmless.
 */
#include "ich9.h"
#include "pirq.h"
#include "pm1.h"
#include "tco.h"
#include "rhea/hw/pcihp.h"
#include <pthread.h>
#include <string.h>

enum { /* configuration */
    CFG_PMBASE = 0x40, CFG_ACPI_CNTL = 0x44, CFG_PIRQA = 0x60, CFG_PIRQE = 0x68, CFG_GEN_PMCON_1 = 0xa0,
    CFG_RCBA = 0xf0, ACPI_CNTL_ENABLE = 0x80, PMCON_SMI_LOCK = 0x10,
};
enum { /* PM I/O */
    PM_SMI_EN = 0x30, PM_SMI_STS = 0x34, SMI_EN_GLOBAL = 1 << 0, SMI_EN_APMC = 1 << 5,
    SMI_EN_TCO = 1 << 13,
    SMI_EN_BITS = 0x9802eeff & ~(1 << 1) & ~(1 << 7),
};
enum { /* chipset configuration space, from RCBA + CC_FIRST: what software reads to route interrupts */
    RCBA_SIZE = 0x4000, CC_FIRST = 0x3100, CC_SIZE = 0x400, CC_D31IR = 0x40, CC_HPTC = 0x304,
    CC_GCS = 0x310, GCS_NO_REBOOT = 1 << 5,
};
enum { PIRQS = 8, SLOTS = 32, FIRST_ROUTED_SLOT = 25 };

typedef struct Ich9Lpc {
    Device dev;
    uint8_t disable_s3, disable_s4;   /* configuration: 0 or 1, as management programs give them */
    bool smm, no_reboot, hotplug_ports;
    AcpiPcihp hotplug;
    IsaBus *isa;                      /* wiring */
    MemRegion pm_io, apm_io, rcba;
    IrqLine out[ISA_IRQS], gsi[PIRQS], sci[ISA_GSIS], smi; /* SMI# as a pulse */
    AcpiPm1 pm1;                      /* guest-visible state */
    IchTco tco;
    uint8_t gpe[ICH9_GPE0_SIZE];      /* status, then enable */
    uint32_t smi_en, smi_sts;
    uint8_t apm_command, apm_status;
    uint8_t cc[CC_SIZE];
    pthread_mutex_t lock;             /* guards what follows */
    uint64_t intx[4 * PIRQ_PIN_WORDS]; /* of each pin */
    uint8_t route[PIRQS];             /* derived: copy of the routing registers */
    uint8_t ir[SLOTS][4];             /* derived: which PIRQ each pin of a slot goes to */
} Ich9Lpc;

/* ---- interrupt routing ---- */

static unsigned lpc_pirqs_locked(const Ich9Lpc *s)
{
    unsigned pirqs = 0;
    for (unsigned k = 0; k < G_N_ELEMENTS(s->intx); k++) {
        uint64_t w = s->intx[k];
        for (unsigned slot = 8 * (k & 3); w; slot++, w >>= 8) { /* eight functions a slot */
            if (w & 0xff) {
                pirqs |= 1u << s->ir[slot][k >> 2];
            }
        }
    }
    return pirqs;
}

static void lpc_update_locked(Ich9Lpc *s)
{
    unsigned pirqs = lpc_pirqs_locked(s);
    for (unsigned p = 0; p < PIRQS; p++) {
        irq_set(&s->gsi[p], pirqs >> p & 1);
    }
    pirq_steer(s->out, s->route, PIRQS, pirqs);
}

static void lpc_set_intx(void *host, unsigned devfn, unsigned pin, bool level)
{
    Ich9Lpc *s = host;
    pthread_mutex_lock(&s->lock);
    pirq_set_pin(&s->intx[PIRQ_PIN_WORDS * pin], devfn, level);
    lpc_update_locked(s);
    pthread_mutex_unlock(&s->lock);
}

/* 10.1.38 to 10.1.44: where the route of a device is, relative to D31IR. */
static const uint8_t *lpc_ir(const Ich9Lpc *s, unsigned slot)
{
    static const uint8_t at[SLOTS - FIRST_ROUTED_SLOT] = { 0x10, 0x0c, 0x08, 0x06, 0x04, 0x02, 0x00 };
    return s->cc + CC_D31IR + at[slot - FIRST_ROUTED_SLOT];
}

static void lpc_take_routes(Ich9Lpc *s)
{
    pthread_mutex_lock(&s->lock);
    for (unsigned p = 0; p < PIRQS; p++) {
        s->route[p] = pci_get(&s->dev, (p < 4 ? CFG_PIRQA : CFG_PIRQE - 4) + p, 1);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            s->ir[slot][pin] = slot < FIRST_ROUTED_SLOT ? 4 + ((slot + pin) & 3)
                                                        : lpc_ir(s, slot)[pin / 2] >> (4 * (pin & 1)) & 7;
        }
    }
    lpc_update_locked(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---- power management ---- */

/* 13.1.9: ACPI_CNTL's SCI_IRQ_SEL. */
static unsigned lpc_sci_irq(Ich9Lpc *s)
{
    static const uint8_t irq[8] = { 9, 10, 11, 0, 20, 21, 0, 0 };
    return irq[pci_get(&s->dev, CFG_ACPI_CNTL, 1) & 7];
}

static void pm_update(Ich9Lpc *s)
{
    bool gpe = false;
    for (unsigned i = 0; i < ICH9_GPE0_SIZE / 2; i++) {
        gpe = gpe || (s->gpe[i] & s->gpe[ICH9_GPE0_SIZE / 2 + i]);
    }
    unsigned irq = acpi_pm1_update(&s->pm1, gpe) ? lpc_sci_irq(s) : 0;
    for (unsigned k = 1; k < ISA_GSIS; k++) {
        irq_set(&s->sci[k], k == irq);
    }
}

static void gpe_set(void *sink, unsigned pin, bool level)
{
    Ich9Lpc *s = dev_as(Ich9Lpc, (Device *)sink);
    if (level) {
        s->gpe[pin / 8] |= 1u << pin % 8;
        pm_update(s);
    }
}

const IrqSinkOps ich9_gpe_sink = { .set = gpe_set };

static void pm_hotplug_event(Device *dev)
{
    Ich9Lpc *s = dev_as(Ich9Lpc, dev);
    s->gpe[0] |= 1 << ACPI_PCIHP_GPE;
    pm_update(s);
}

AcpiPcihp *ich9_lpc_hotplug(Device *lpc)
{
    Ich9Lpc *s = dev_as(Ich9Lpc, lpc);
    return s->hotplug_ports ? &s->hotplug : NULL;
}

static void pm_timer_fire(void *opaque)
{
    pm_update(opaque);
}

static void pm_power_button(void *opaque)
{
    Ich9Lpc *s = opaque;
    acpi_pm1_power_button(&s->pm1);
    pm_update(s);
}

/* source: its bit in SMI_EN and SMI_STS. */
static void lpc_raise_smi(Ich9Lpc *s, uint32_t source)
{
    if (s->smm && (s->smi_en & source) && (s->smi_en & SMI_EN_GLOBAL)) {
        s->smi_sts |= source;
        irq_set(&s->smi, true);
        irq_set(&s->smi, false);
    }
}

static void lpc_tco_follow(Ich9Lpc *s, unsigned what)
{
    if (what & TCO_SMI) {
        lpc_raise_smi(s, SMI_EN_TCO);
    }
    if (what & TCO_REBOOT) {
        machine_watchdog_expired(s->dev.machine);
    }
}

static void lpc_tco_fire(void *opaque)
{
    Ich9Lpc *s = opaque;
    lpc_tco_follow(s, ich_tco_expired(&s->tco, s->cc[CC_GCS] & GCS_NO_REBOOT));
}

static void pm_fill(Ich9Lpc *s, uint8_t *r)
{
    memset(r, 0, ICH9_PM_SIZE);
    acpi_pm1_read(&s->pm1, r);
    memcpy(r + ICH9_GPE0_STS, s->gpe, ICH9_GPE0_SIZE);
    ich_tco_read(&s->tco, r + TCO_BASE);
    for (unsigned i = 0; i < 4; i++) {
        r[PM_SMI_EN + i] = s->smi_en >> (8 * i);
        r[PM_SMI_STS + i] = s->smi_sts >> (8 * i);
    }
}

static uint64_t pm_read(void *opaque, MemAccess *a)
{
    uint8_t r[ICH9_PM_SIZE];
    uint64_t v = 0;
    pm_fill(opaque, r);
    for (unsigned i = 0; i < a->size && a->off + i < sizeof(r); i++) {
        v |= (uint64_t)r[a->off + i] << (8 * i);
    }
    return v;
}

static void pm_write_byte(Ich9Lpc *s, unsigned reg, uint8_t val)
{
    if (reg >= ICH9_GPE0_STS && reg < ICH9_GPE0_STS + ICH9_GPE0_SIZE) {
        unsigned i = reg - ICH9_GPE0_STS;
        s->gpe[i] = i < ICH9_GPE0_SIZE / 2 ? s->gpe[i] & ~val : val;
    } else if (reg >= PM_SMI_EN && reg < PM_SMI_EN + 4) {
        unsigned shift = 8 * (reg - PM_SMI_EN);
        uint32_t mask = SMI_EN_BITS & (UINT32_C(0xff) << shift);
        if (pci_get(&s->dev, CFG_GEN_PMCON_1, 1) & PMCON_SMI_LOCK) {
            mask &= ~(uint32_t)SMI_EN_GLOBAL;
        }
        if (ich_tco_locked(&s->tco)) {
            mask &= ~(uint32_t)SMI_EN_TCO;
        }
        s->smi_en = (s->smi_en & ~mask) | ((uint32_t)val << shift & mask);
    } else if (reg >= PM_SMI_STS && reg < PM_SMI_STS + 4) {
        s->smi_sts &= ~((uint32_t)val << (8 * (reg - PM_SMI_STS)));
    } else if (reg >= TCO_BASE && reg < TCO_BASE + TCO_SIZE) {
        lpc_tco_follow(s, ich_tco_write(&s->tco, reg - TCO_BASE, val));
    }
}

static void pm_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ich9Lpc *s = opaque;
    uint64_t bytes = a->size == 1 ? 0xff : a->size == 2 ? 0xffff : 0xffffffff;
    for (unsigned reg = a->off & ~1u; reg < PM1_SIZE && reg < a->off + a->size; reg += 2) {
        int shift = 8 * ((int)reg - (int)a->off);
        acpi_pm1_write(&s->pm1, reg, shift < 0 ? val << -shift : val >> shift,
                       shift < 0 ? bytes << -shift : bytes >> shift);
    }
    for (unsigned i = 0; a->off >= PM1_SIZE && i < a->size; i++) {
        pm_write_byte(s, a->off + i, val >> (8 * i));
    }
    pm_update(s);
}

static uint64_t apm_read(void *opaque, MemAccess *a)
{
    Ich9Lpc *s = opaque;
    return a->off == 0 ? s->apm_command : s->apm_status;
}

static void apm_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ich9Lpc *s = opaque;
    if (a->off == 1) {
        s->apm_status = val;
        return;
    }
    s->apm_command = val;
    lpc_raise_smi(s, SMI_EN_APMC);
    if (val == ICH9_ACPI_ENABLE || val == ICH9_ACPI_DISABLE) {
        acpi_pm1_enable_sci(&s->pm1, val == ICH9_ACPI_ENABLE);
    }
    pm_update(s);
}

/* ---- chipset configuration space ---- */

/* 10.1.75: a board strapped that way keeps software from rebooting it. */
static void lpc_strap_gcs(Ich9Lpc *s)
{
    if (s->no_reboot) {
        s->cc[CC_GCS] |= GCS_NO_REBOOT;
    }
}

static uint64_t rcba_read(void *opaque, MemAccess *a)
{
    Ich9Lpc *s = opaque;
    uint64_t v = 0;
    for (unsigned i = 0; i < a->size; i++) {
        hwaddr at = a->off + i - CC_FIRST;
        v |= (uint64_t)(at < CC_SIZE ? s->cc[at] : 0) << (8 * i);
    }
    return v;
}

static void rcba_write(void *opaque, MemAccess *a, uint64_t val)
{
    Ich9Lpc *s = opaque;
    for (unsigned i = 0; i < a->size; i++) {
        hwaddr at = a->off + i - CC_FIRST;
        if (at < CC_SIZE && at != CC_HPTC) { /* the HPET is always on, where firmware looks for it */
            s->cc[at] = val >> (8 * i);
        }
    }
    lpc_strap_gcs(s);
    lpc_take_routes(s);
}

/* ---- configuration space ---- */

uint16_t ich9_lpc_pm_base(Device *lpc)
{
    return pci_get(lpc, CFG_ACPI_CNTL, 1) & ACPI_CNTL_ENABLE ? pci_get(lpc, CFG_PMBASE, 2) & 0xff80 : 0;
}

static void lpc_place(MemRegion *space, MemRegion *r, uint32_t at)
{
    if (region_mapped(r) && (!at || r->at != at)) {
        region_unmap(r);
    }
    if (at && !region_mapped(r)) {
        region_map(space, at, r, 1);
    }
}

static void lpc_update_regions(Ich9Lpc *s)
{
    uint32_t rcba = pci_get(&s->dev, CFG_RCBA, 4);
    mem_begin(s->dev.machine);
    lpc_place(&s->dev.machine->sysio, &s->pm_io, ich9_lpc_pm_base(&s->dev));
    lpc_place(pci_func(&s->dev)->bus->mem, &s->rcba, rcba & 1 ? rcba & 0xffffc000 : 0);
    mem_commit(s->dev.machine);
}

/* SMI_LOCK stays until reset. */
static void lpc_update_lock(Ich9Lpc *s)
{
    uint8_t locked = pci_get(&s->dev, CFG_GEN_PMCON_1, 1) & PMCON_SMI_LOCK;
    pci_set_wmask(&s->dev, CFG_GEN_PMCON_1, 0x9f & ~locked, 1);
}

static void lpc_config_written(Device *dev, unsigned off G_GNUC_UNUSED, unsigned len G_GNUC_UNUSED)
{
    Ich9Lpc *s = dev_as(Ich9Lpc, dev);
    lpc_update_lock(s);
    lpc_update_regions(s);
    lpc_take_routes(s);
    pm_update(s);
}

static const struct { uint8_t reg; uint32_t value, wmask; } lpc_config[] = { /* 13.1 */
    { CFG_PMBASE, 1, 0xff80 },       { CFG_ACPI_CNTL, 0, 0x87 },      { 0x48, 1, 0xff80 },
    { 0x4c, 0, 0x10 },               { CFG_PIRQA, 0x80808080, 0x8f8f8f8f }, { 0x64, 0x10, 0xff },
    { CFG_PIRQE, 0x80808080, 0x8f8f8f8f }, { 0x80, 0, 0x3f0f1377 },   { 0x84, 0, 0x00fcfffd },
    { 0x88, 0, 0x00fcfffd },         { 0x8c, 0, 0x00fcfffd },         { 0x90, 0, 0x00fcfffd },
    { CFG_GEN_PMCON_1, 0, 0x0000009f }, { 0xa4, 0, 0x0000bfff },      { 0xd0, 0x00112233, 0xffffffff },
    { 0xd4, 0x5678, 0xffff },        { 0xd8, 0xffcf, 0xffff },        { 0xdc, 0, 0x03 },
    { CFG_RCBA, 0, 0xffffc001 },
};

/* Defaults of 10.1: pins of internal devices, and every pin to the PIRQ of its own letter. */
static void lpc_reset_cc(Ich9Lpc *s)
{
    static const struct { uint16_t at; uint32_t v; } defaults[] = {
        { 0x00, 0x03243200 }, { 0x08, 0x10004321 }, { 0x0c, 0x00214321 }, { 0x10, 0x00000001 },
        { 0x14, 0x30000321 }, { 0x18, 0x00000001 }, { 0x40, 0x32103210 }, { 0x44, 0x32103210 },
        { 0x48, 0x00003210 }, { 0x4c, 0x00003210 }, { 0x50, 0x00003210 }, { CC_HPTC, 0x00000080 },
    };
    memset(s->cc, 0, sizeof(s->cc));
    for (unsigned i = 0; i < G_N_ELEMENTS(defaults); i++) {
        uint32_t v = GUINT32_TO_LE(defaults[i].v);
        memcpy(s->cc + defaults[i].at, &v, 4);
    }
    lpc_strap_gcs(s);
}

static void lpc_cleanup(void *opaque)
{
    Ich9Lpc *s = opaque;
    MemRegion *own[] = { &s->pm_io, &s->rcba };
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
        if (region_mapped(own[i])) {
            region_unmap(own[i]);
        }
        region_fini(own[i]);
    }
    pthread_mutex_destroy(&s->lock);
}

static void lpc_connect(Ich9Lpc *s)
{
    pirq_connect(s->out, s->isa);
    for (unsigned k = 0; k < ISA_GSIS; k++) {
        IrqOr *gate = k < ISA_IRQS ? &s->isa->irq_or[k] : &s->isa->gsi_or[k - ISA_IRQS];
        if (k >= ISA_IRQS) {
            irq_connect(&s->gsi[k - ISA_IRQS], &irq_or_sink, gate, PC_IRQ_SOURCE_PIRQ);
        }
        irq_connect(&s->sci[k], &irq_or_sink, gate, PC_IRQ_SOURCE_SCI);
    }
}

static bool lpc_realize(Device *dev, Error **errp)
{
    static const PciHostOps host_ops = { .set_intx = lpc_set_intx };
    static const MemOps pm_ops = { .read = pm_read, .write = pm_write, .min = 1, .max = 4 };
    static const MemOps apm_ops = { .read = apm_read, .write = apm_write, .min = 1, .max = 1 };
    static const MemOps rcba_ops = { .read = rcba_read, .write = rcba_write, .min = 1, .max = 4 };
    Ich9Lpc *s = dev_as(Ich9Lpc, dev);
    if (!s->disable_s3 || !s->disable_s4) {
        error_set(errp, "ICH9-LPC: %s=0: suspend is not supported",
                  s->disable_s3 ? "disable_s4" : "disable_s3");
        error_hint(errp, "leave disable_s3 and disable_s4 at 1");
        return false;
    }
    pthread_mutex_init(&s->lock, NULL);
    region_init_io(&s->pm_io, dev, "ich9-pm", &pm_ops, s, ICH9_PM_SIZE);
    region_init_io(&s->rcba, dev, "ich9-rcba", &rcba_ops, s, RCBA_SIZE);
    device_add_cleanup(dev, lpc_cleanup, s);
    region_init_io(&s->apm_io, dev, "apm", &apm_ops, s, 2);
    device_add_region(dev, &s->apm_io);
    acpi_pm1_init(&s->pm1, dev, pm_timer_fire);
    ich_tco_init(&s->tco, dev, lpc_tco_fire);
    if (!device_map_io(dev, &s->apm_io, ICH9_SMI_CMD, errp) ||
        (s->hotplug_ports && !acpi_pcihp_init(&s->hotplug, dev, ICH9_HOTPLUG, pm_hotplug_event, errp))) {
        return false;
    }
    s->isa = isa_bus_new(dev, "isa.0");
    lpc_connect(s);
    pci_func(dev)->bus->host_ops = &host_ops;
    pci_func(dev)->bus->host = s;
    for (unsigned i = 0; i < G_N_ELEMENTS(lpc_config); i++) {
        pci_set_long(dev, lpc_config[i].reg, lpc_config[i].value);
        pci_set_wmask(dev, lpc_config[i].reg, lpc_config[i].wmask, 4);
    }
    lpc_reset_cc(s);
    pci_set_wmask(dev, 0x04, 0x0140, 2); /* I/O, memory and bus master are always on (13.1.3) */
    lpc_take_routes(s);
    machine_on_powerdown(dev->machine, pm_power_button, s);
    return true;
}

static void lpc_reset(Device *dev, ResetKind kind)
{
    Ich9Lpc *s = dev_as(Ich9Lpc, dev);
    for (unsigned i = 0; i < G_N_ELEMENTS(lpc_config); i++) {
        pci_set_long(dev, lpc_config[i].reg, lpc_config[i].value);
    }
    pci_set_word(dev, 0x04, 0x0007);
    pci_set_word(dev, 0x06, 0x0200);
    acpi_pm1_reset(&s->pm1);
    ich_tco_reset(&s->tco, kind);
    acpi_pcihp_reset(&s->hotplug);
    memset(s->gpe, 0, sizeof(s->gpe));
    s->smi_en = s->smm ? 0 : SMI_EN_APMC;
    s->smi_sts = 0;
    s->apm_command = s->apm_status = 0;
    lpc_reset_cc(s);
    pthread_mutex_lock(&s->lock);
    memset(s->intx, 0, sizeof(s->intx)); /* the functions' own reset_done says who still asks */
    pthread_mutex_unlock(&s->lock);
}

static void lpc_reset_done(Device *dev)
{
    Ich9Lpc *s = dev_as(Ich9Lpc, dev);
    lpc_update_lock(s);
    lpc_update_regions(s);
    lpc_take_routes(s);
    pm_update(s);
}

static bool lpc_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Ich9Lpc *s = opaque;
    acpi_pm1_loaded(&s->pm1);
    lpc_strap_gcs(s);
    lpc_reset_done(&s->dev);
    return true;
}

static const Prop lpc_props[] = {
    PROP_BOOL(Ich9Lpc, hotplug_ports, "acpi-pci-hotplug-with-bridge-support", true,
              "Devices behind root ports come and go by ACPI; off: by the ports' own registers"),
    PROP_U8(Ich9Lpc, disable_s3, "disable_s3", 1, 0, 1, "Suspend to RAM is not offered"),
    PROP_U8(Ich9Lpc, disable_s4, "disable_s4", 1, 0, 1, "Suspend to disk is not offered"),
    PROP_BOOL(Ich9Lpc, smm, "smm-enabled", true, "Commands to port B2h raise system-management interrupts"),
    PROP_BOOL(Ich9Lpc, no_reboot, "noreboot", true, "The TCO watchdog never reboots the machine (a strap)"),
    { 0 },
};
static const VmField lpc_fields[] = {
    VM_STRUCT(Ich9Lpc, pm1, acpi_pm1_state),
    VM_STRUCT(Ich9Lpc, tco, ich_tco_state),
    VM_U8_ARRAY(Ich9Lpc, gpe),
    VM_U32(Ich9Lpc, smi_en),
    VM_U32(Ich9Lpc, smi_sts),
    VM_U8(Ich9Lpc, apm_command),
    VM_U8(Ich9Lpc, apm_status),
    VM_U8_ARRAY(Ich9Lpc, cc),
    VM_U64_ARRAY(Ich9Lpc, intx),
    VM_STRUCT(Ich9Lpc, hotplug, acpi_pcihp_state),
    { 0 },
};
static const VmState lpc_state = {
    .name = "ICH9-LPC", .version = 1, .oldest = 1, .fields = lpc_fields, .post_load = lpc_post_load,
};

static const PciOps lpc_ops = {
    .vendor = 0x8086, .device = 0x2918, .class_code = 0x060100, .revision = 2, .no_hotplug = true,
    .config_written = lpc_config_written,
};

const DeviceType ich9_lpc_type = {
    .name = "ICH9-LPC", .desc = "ICH9 LPC bridge", .size = sizeof(Ich9Lpc), .category = "Bridge",
    .internal = true,
    .bus_type = &pci_bus_type, .bus_ops = &lpc_ops, .props = lpc_props, .vmstate = &lpc_state,
    .realize = lpc_realize, .reset = lpc_reset, .reset_done = lpc_reset_done,
};

IsaBus *ich9_lpc_isa_bus(Device *lpc)
{
    return dev_as(Ich9Lpc, lpc)->isa;
}

IrqLine *ich9_lpc_smi(Device *lpc)
{
    return &dev_as(Ich9Lpc, lpc)->smi;
}
