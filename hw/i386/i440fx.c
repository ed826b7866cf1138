/* SPDX-License-Identifier: MIT
 * hw/i386/i440fx.c - the 82441FX host bridge: configuration mechanism 1, PAM, SMRAM.
 *
 * Models: Intel 440FX PCIset, 82441FX (PMC) data sheet (290549): CONFIG_ADDRESS and CONFIG_DATA (3.1),
 *         PAM0-PAM6 (3.2.16), SMRAM (3.2.20): open to all, enabled for CPUs in SMM, locked. The reset control register CF9h belongs to the PIIX3
 *         (290550, 2.5.7 RC); it is decoded here because a doubleword at CF8h must reach one place.
 * Does not model: DRAM timing and row boundary registers beyond their storage, the AGP-less bus
 *         arbiter, the turbo reset register, ECC, D_CLS (data accesses in SMM go to SMRAM, as fetches do).
 * Threads: the two configuration ports take no domain themselves (CONFIG_ADDRESS is atomic) and enter
 *         that of the addressed function; PAM and SMRAM writes run in this function's domain.
 */
#include "pc_internal.h"
#include <string.h>

enum { CONF_ENABLE = 1u << 31, RC_SYSTEM_RESET = 1 << 1, RC_RESET_CPU = 1 << 2 };
enum {
    REG_DBC = 0x53, REG_DRAMC = 0x57, REG_DRAMT = 0x58, REG_PAM0 = 0x59, REG_DRB0 = 0x60, REG_SMRAM = 0x72,
    REG_CLT = 0x71, REG_ERRCMD = 0x90,
    PAM_READ = 1, PAM_WRITE = 2, SMRAM_OPEN = 0x40, SMRAM_CLOSED = 0x20, SMRAM_LOCK = 0x10, SMRAM_ENABLE = 0x08,
};
enum { SHADOW_BASE = 0xc0000, SHADOW_SIZE = 0x40000, PAM_SEGMENTS = 13, VGA_BASE = 0xa0000, VGA_SIZE = 0x20000 };

/* ---- 00: the configuration ports and the bus ---- */

typedef struct I440fxHost {
    Device dev;
    MemRegion conf, pci_mem; /* wiring */
    PciBus *bus;
    uint32_t config_addr;    /* guest-visible state; atomic */
    uint8_t reset_control;   /* CF9h; atomic */
} I440fxHost;

static void host_write_reset_control(I440fxHost *s, uint8_t val)
{
    uint8_t was = __atomic_exchange_n(&s->reset_control, val & (RC_SYSTEM_RESET | RC_RESET_CPU), __ATOMIC_RELAXED);
    if (!(was & RC_RESET_CPU) && (val & RC_RESET_CPU)) {
        machine_request_reset(s->dev.machine, SHUTDOWN_GUEST_RESET);
    }
}

/* CONFIG_ADDRESS answers doublewords only (3.1.1); narrower accesses go to the ISA side, where only CF9h
 * exists. */
static uint64_t host_conf_read(void *opaque, MemAccess *a)
{
    I440fxHost *s = opaque;
    uint32_t addr = __atomic_load_n(&s->config_addr, __ATOMIC_RELAXED);
    if (a->off >= 4) {
        uint32_t ones = UINT32_MAX >> (32 - 8 * a->size);
        return addr & CONF_ENABLE ? pci_config_read(s->bus, addr >> 8 & 0xffff, (addr & 0xfc) + (a->off - 4), a->size)
                                  : ones;
    }
    if (a->size == 4) {
        return addr;
    }
    uint8_t bytes[4] = { 0xff, __atomic_load_n(&s->reset_control, __ATOMIC_RELAXED), 0xff, 0xff };
    return a->size == 1 ? bytes[a->off] : bytes[a->off] | (a->off < 3 ? bytes[a->off + 1] : 0xff) << 8;
}

static void host_conf_write(void *opaque, MemAccess *a, uint64_t val)
{
    I440fxHost *s = opaque;
    if (a->off >= 4) {
        uint32_t addr = __atomic_load_n(&s->config_addr, __ATOMIC_RELAXED);
        if (addr & CONF_ENABLE) {
            pci_config_write(s->bus, addr >> 8 & 0xffff, (addr & 0xfc) + (a->off - 4), val, a->size);
        }
    } else if (a->size == 4) {
        __atomic_store_n(&s->config_addr, (uint32_t)val & ~3u & (CONF_ENABLE | 0xffffff), __ATOMIC_RELAXED);
    } else if (a->size == 1 && a->off == 1) {
        host_write_reset_control(s, val);
    }
}

static bool host_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = host_conf_read, .write = host_conf_write, .min = 1, .max = 4, .lockless = true };
    I440fxHost *s = dev_as(I440fxHost, dev);
    Machine *m = dev->machine;
    region_init(&s->pci_mem, dev, "pci", UINT64_MAX);
    device_map_mem(dev, &s->pci_mem, 0, -1);
    region_init_io(&s->conf, dev, "pci-conf", &ops, s, 8);
    device_add_region(dev, &s->conf);
    if (!device_map_io(dev, &s->conf, 0xcf8, errp)) {
        return false;
    }
    s->bus = pci_bus_new(dev, "pci.0", &s->pci_mem, &m->sysio, NULL, NULL);
    return true;
}

static void host_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    I440fxHost *s = dev_as(I440fxHost, dev);
    s->config_addr = 0;
    s->reset_control = 0;
}

static const VmField host_fields[] = {
    VM_U32(I440fxHost, config_addr),
    VM_U8_MAX(I440fxHost, reset_control, RC_SYSTEM_RESET | RC_RESET_CPU), { 0 },
};
static const VmState host_state = { .name = "i440FX-pcihost", .version = 1, .oldest = 1, .fields = host_fields };

const DeviceType i440fx_host_type = {
    .name = "i440FX-pcihost", .desc = "i440FX PCI host", .size = sizeof(I440fxHost), .category = "Bridge",
    .internal = true, .firmware_name = "pci@i0cf8", .vmstate = &host_state, .realize = host_realize,
    .reset = host_reset,
};

PciBus *i440fx_host_bus(Device *host)
{
    return dev_as(I440fxHost, host)->bus;
}

MemRegion *i440fx_host_mem(Device *host)
{
    return &dev_as(I440fxHost, host)->pci_mem;
}

/* ---- 00:00.0: attribute registers ---- */

/* One segment of C0000h-FFFFFh has three overlays above RAM, one enabled at a time: everything to PCI;
 * RAM read, writes lost on PCI; PCI read, writes to RAM. None enabled: plain RAM. */
typedef struct PamSegment {
    MemRegion to_pci, read_ram, write_ram;
} PamSegment;

typedef struct I440fx {
    Device dev;
    MemRegion ram_rom;     /* wiring: RAM as ROM, source of read_ram aliases */
    RamBlock *behind;      /* what PCI shows at C0000h: the BIOS copy, ones below it */
    MemRegion behind_rom;  /* the same at E0000h of PCI memory */
    MemRegion shadow;      /* reads `behind`, writes RAM */
    PamSegment pam[PAM_SEGMENTS];
    MemRegion vga_window;  /* A0000h-BFFFFh to PCI unless SMRAM is open */
    MemRegion smm_root, smm_all, smm_window; /* memory of CPUs in SMM: everything, with RAM at A0000h-BFFFFh */
    AddressSpace smm_memory;
    MemRegion vga_nobody;  /* what answers there when no graphics card does: RAM must not show through */
} I440fx;

static hwaddr pam_base(unsigned k)
{
    return SHADOW_BASE + k * 0x4000;
}

static uint64_t pam_size(unsigned k)
{
    return k == PAM_SEGMENTS - 1 ? 0x10000 : 0x4000;
}

/* PAM0 describes F0000h in its upper half; PAM1 to PAM6 two 16 KiB segments each, lower half first. */
static unsigned pam_bits(I440fx *s, unsigned k)
{
    unsigned reg = k == PAM_SEGMENTS - 1 ? REG_PAM0 : REG_PAM0 + 1 + k / 2;
    unsigned shift = k == PAM_SEGMENTS - 1 || k % 2 ? 4 : 0;
    return pci_get(&s->dev, reg, 1) >> shift & 3;
}

static void i440fx_update_memory(I440fx *s)
{
    uint8_t smram = pci_get(&s->dev, REG_SMRAM, 1);
    mem_begin(s->dev.machine);
    for (unsigned k = 0; k < PAM_SEGMENTS; k++) {
        unsigned bits = pam_bits(s, k);
        region_set_enabled(&s->pam[k].to_pci, bits == 0);
        region_set_enabled(&s->pam[k].read_ram, bits == PAM_READ);
        region_set_enabled(&s->pam[k].write_ram, bits == PAM_WRITE);
    }
    region_set_enabled(&s->vga_window, !((smram & SMRAM_OPEN) && (smram & SMRAM_ENABLE)));
    region_set_enabled(&s->smm_window, smram & SMRAM_ENABLE);
    mem_commit(s->dev.machine);
}

static void i440fx_config_written(Device *dev, unsigned off, unsigned len)
{
    I440fx *s = dev_as(I440fx, dev);
    if (off <= REG_SMRAM && off + len > REG_SMRAM) {
        uint8_t v = pci_get(dev, REG_SMRAM, 1);
        if (v & SMRAM_LOCK) { /* D_LCK: D_OPEN becomes 0 and all but D_CLS read-only until reset */
            pci_set_byte(dev, REG_SMRAM, v & ~SMRAM_OPEN);
            pci_set_wmask(dev, REG_SMRAM, SMRAM_CLOSED, 1);
        }
        if (v & SMRAM_CLOSED) {
            guest_unimp(dev, "SMRAM is closed to data accesses of SMM code: they reach it all the same");
        }
    }
    if ((off < REG_PAM0 + 7 && off + len > REG_PAM0) || (off <= REG_SMRAM && off + len > REG_SMRAM)) {
        i440fx_update_memory(s);
    }
}

/* Offsets count from C0000h. Only reached while a segment is write-only. */
static void shadow_write(void *opaque, MemAccess *a, uint64_t val)
{
    I440fx *s = opaque;
    RamBlock *ram = s->dev.machine->ram;
    hwaddr at = SHADOW_BASE + a->off;
    if (a->size <= ram->size && at <= ram->size - a->size) {
        for (unsigned i = 0; i < a->size; i++) {
            ram->host[at + i] = val >> (8 * i);
        }
        ram_written(ram, at, a->size);
    }
}

static uint64_t shadow_read(void *opaque, MemAccess *a)
{
    I440fx *s = opaque;
    uint64_t v = 0;
    for (unsigned i = 0; i < a->size && a->off + i < SHADOW_SIZE; i++) {
        v |= (uint64_t)s->behind->host[a->off + i] << (8 * i);
    }
    return v;
}

static uint64_t nobody_read(void *opaque G_GNUC_UNUSED, MemAccess *a)
{
    a->result = MEM_DECODE_ERROR;
    return UINT64_MAX;
}

static void nobody_write(void *opaque G_GNUC_UNUSED, MemAccess *a, uint64_t val G_GNUC_UNUSED)
{
    a->result = MEM_DECODE_ERROR;
}

static void i440fx_cleanup(void *opaque)
{
    I440fx *s = opaque;
    s->dev.machine->as_smm = NULL;
    as_fini(&s->smm_memory);
    region_unmap(&s->smm_window);
    region_unmap(&s->smm_all);
    region_fini(&s->smm_window);
    region_fini(&s->smm_all);
    region_fini(&s->smm_root);
    region_unmap(&s->behind_rom);
    region_unmap(&s->vga_nobody);
    region_fini(&s->vga_nobody);
    region_fini(&s->ram_rom);
    region_fini(&s->shadow);
    region_fini(&s->behind_rom);
    ram_unref(s->behind);
}

static bool i440fx_realize(Device *dev, Error **errp)
{
    static const MemOps nobody_ops = { .read = nobody_read, .write = nobody_write, .lockless = true };
    static const MemOps shadow_ops = { .read = shadow_read, .write = shadow_write, .min = 1, .max = 8 };
    I440fx *s = dev_as(I440fx, dev);
    Machine *m = dev->machine;
    MemRegion *pci_mem = pci_func(dev)->bus->mem;
    s->behind = ram_new(m, "pc.rom", SHADOW_SIZE, errp);
    if (!s->behind) {
        return false;
    }
    memset(s->behind->host, 0xff, SHADOW_SIZE);
    region_init_rom(&s->ram_rom, dev, "ram-read-only", m->ram);
    region_init_rom_device(&s->shadow, dev, "shadow-write", &shadow_ops, s, s->behind);
    region_init_rom(&s->behind_rom, dev, "bios-behind-ram", s->behind);
    region_init_io(&s->vga_nobody, dev, "vga-nobody", &nobody_ops, s, VGA_SIZE);
    device_add_cleanup(dev, i440fx_cleanup, s);
    mem_begin(m);
    region_map(pci_mem, SHADOW_BASE, &s->behind_rom, 0);
    region_map(pci_mem, VGA_BASE, &s->vga_nobody, -1);
    for (unsigned k = 0; k < PAM_SEGMENTS; k++) {
        PamSegment *p = &s->pam[k];
        hwaddr at = pam_base(k);
        region_init_alias(&p->to_pci, dev, "pam-pci", pci_mem, at, pam_size(k));
        region_init_alias(&p->read_ram, dev, "pam-rom", &s->ram_rom, at, pam_size(k));
        region_init_alias(&p->write_ram, dev, "pam-shadow", &s->shadow, at - SHADOW_BASE, pam_size(k));
        device_map_mem(dev, &p->to_pci, at, 1);
        device_map_mem(dev, &p->read_ram, at, 1);
        device_map_mem(dev, &p->write_ram, at, 1);
    }
    region_init_alias(&s->vga_window, dev, "vga-window", pci_mem, VGA_BASE, VGA_SIZE);
    device_map_mem(dev, &s->vga_window, VGA_BASE, 1);
    region_init(&s->smm_root, dev, "smm", UINT64_MAX);
    region_init_alias(&s->smm_all, dev, "smm-all", &m->sysmem, 0, UINT64_MAX);
    region_init_alias(&s->smm_window, dev, "smram", &m->ram_region, VGA_BASE, VGA_SIZE);
    region_map(&s->smm_root, 0, &s->smm_all, 0);
    region_map(&s->smm_root, VGA_BASE, &s->smm_window, 1);
    as_init(&s->smm_memory, m, "smm", &s->smm_root);
    m->as_smm = &s->smm_memory;
    i440fx_update_memory(s);
    mem_commit(m);
    pci_set_wmask(dev, 0x04, 0x0140, 2); /* memory and bus master are hard-wired on (3.2.3) */
    pci_set_wmask(dev, REG_PAM0, 0x30, 1);
    for (unsigned reg = REG_PAM0 + 1; reg < REG_PAM0 + 7; reg++) {
        pci_set_wmask(dev, reg, 0x33, 1);
    }
    static const uint8_t storage[] = { 0x50, 0x51, 0x53, 0x57, 0x58, 0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67,
                                       0x68, 0x70, 0x71, 0x90, 0xb8 };
    for (unsigned i = 0; i < G_N_ELEMENTS(storage); i++) {
        pci_set_wmask(dev, storage[i], 0xff, 1);
    }
    return true;
}

void i440fx_set_bios(Device *i440fx, RamBlock *bios)
{
    I440fx *s = dev_as(I440fx, i440fx);
    uint64_t n = MIN(bios->size, 0x20000);
    memcpy(s->behind->host + SHADOW_SIZE - n, bios->host + bios->size - n, n);
    ram_written(s->behind, 0, SHADOW_SIZE);
}

/* Defaults of section 3.2. */
static void i440fx_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    uint8_t *c = pci_func(dev)->config;
    memset(c + 0x50, 0, 0xb0);
    pci_set_word(dev, 0x04, 0x0006);
    pci_set_word(dev, 0x06, 0x0280);
    c[REG_DBC] = 0x83;
    c[REG_DRAMC] = 0x01;
    c[REG_DRAMT] = 0x10;
    memset(c + REG_DRB0, 0x01, 8);
    c[REG_CLT] = 0x10;
    c[REG_SMRAM] = 0x02;
    pci_set_wmask(dev, REG_SMRAM, SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE, 1);
}

static void i440fx_reset_done(Device *dev)
{
    i440fx_update_memory(dev_as(I440fx, dev));
}

static bool i440fx_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    I440fx *s = opaque;
    bool locked = pci_get(&s->dev, REG_SMRAM, 1) & SMRAM_LOCK;
    pci_set_wmask(&s->dev, REG_SMRAM, locked ? SMRAM_CLOSED : SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE, 1);
    i440fx_update_memory(s);
    return true;
}

static const VmField i440fx_fields[] = { { 0 } };
static const VmState i440fx_state = {
    .name = "i440FX", .version = 1, .oldest = 1, .fields = i440fx_fields, .post_load = i440fx_post_load,
};

static const PciOps i440fx_ops = {
    .vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2, .no_hotplug = true,
    .config_written = i440fx_config_written,
};

const DeviceType i440fx_type = {
    .name = "i440FX", .desc = "82441FX host bridge", .size = sizeof(I440fx), .category = "Bridge", .internal = true,
    .bus_type = &pci_bus_type, .bus_ops = &i440fx_ops, .vmstate = &i440fx_state,
    .realize = i440fx_realize, .reset = i440fx_reset, .reset_done = i440fx_reset_done,
};
