/* SPDX-License-Identifier: MIT
 * hw/i386/shadow.c - memory that a host bridge hides and shows: PAM, SMRAM, TSEG.
 *
 * Models: attributes of C0000h-FFFFFh and SMRAM as in the 82441FX (290549, 3.2.16 and 3.2.20) and the 82Q35
 *         MCH (316966, 5.1.23 to 5.1.31), TSEG of the latter: RAM that only CPUs in SMM reach.
 * Does not model: D_CLS (data accesses in SMM go to SMRAM, as fetches do), high SMRAM at FEDA0000h.
 * Threads: the bridge's domain.
 */
#include "shadow.h"
#include <string.h>

enum { SHADOW_BASE = 0xc0000, SHADOW_SIZE = 0x40000, VGA_BASE = 0xa0000, VGA_SIZE = 0x20000 };

static hwaddr pam_base(unsigned k)
{
    return SHADOW_BASE + k * 0x4000;
}

static uint64_t pam_size(unsigned k)
{
    return k == PAM_SEGMENTS - 1 ? 0x10000 : 0x4000;
}

/* PAM0 describes F0000h in its upper half; PAM1 to PAM6 two 16 KiB segments each, lower half first. */
static unsigned pam_bits(const uint8_t *pam, unsigned k)
{
    unsigned reg = k == PAM_SEGMENTS - 1 ? 0 : 1 + k / 2;
    unsigned shift = k == PAM_SEGMENTS - 1 || k % 2 ? 4 : 0;
    return pam[reg] >> shift & 3;
}

static void place_tseg(PcShadow *s, hwaddr at, uint64_t size)
{
    MemRegion *both[] = { &s->smm_tseg, &s->tseg_nobody };
    for (unsigned i = 0; i < G_N_ELEMENTS(both); i++) {
        if (region_mapped(both[i]) && (both[i]->at != at || both[i]->size != size)) {
            region_unmap(both[i]);
        }
    }
    if (size && !region_mapped(&s->smm_tseg)) {
        region_set_alias_off(&s->smm_tseg, at);
        region_set_size(&s->smm_tseg, size);
        region_set_size(&s->tseg_nobody, size);
        region_map(&s->smm_root, at, &s->smm_tseg, 1);
        region_map(&s->dev->machine->sysmem, at, &s->tseg_nobody, 1);
    }
}

void pc_shadow_update(PcShadow *s, const uint8_t *pam, uint8_t smram, hwaddr tseg, uint64_t tseg_size)
{
    mem_begin(s->dev->machine);
    for (unsigned k = 0; k < PAM_SEGMENTS; k++) {
        unsigned bits = pam_bits(pam, k);
        region_set_enabled(&s->pam[k].to_pci, bits == 0);
        region_set_enabled(&s->pam[k].read_ram, bits == PAM_READ);
        region_set_enabled(&s->pam[k].write_ram, bits == PAM_WRITE);
    }
    region_set_enabled(&s->vga_window, !((smram & SMRAM_OPEN) && (smram & SMRAM_ENABLE)));
    region_set_enabled(&s->smm_window, smram & SMRAM_ENABLE);
    place_tseg(s, tseg, smram & SMRAM_ENABLE ? tseg_size : 0);
    mem_commit(s->dev->machine);
}

/* Offsets count from C0000h. Only reached while a segment is write-only. */
static void shadow_write(void *opaque, MemAccess *a, uint64_t val)
{
    PcShadow *s = opaque;
    RamBlock *ram = s->dev->machine->ram;
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
    PcShadow *s = opaque;
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

static void shadow_cleanup(void *opaque)
{
    PcShadow *s = opaque;
    s->dev->machine->as_smm = NULL;
    as_fini(&s->smm_memory);
    MemRegion *own[] = { &s->tseg_nobody, &s->smm_tseg,   &s->smm_window, &s->smm_all, &s->smm_root,
                         &s->vga_nobody,  &s->behind_rom, &s->ram_rom,    &s->shadow };
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
        if (region_mapped(own[i])) {
            region_unmap(own[i]);
        }
        region_fini(own[i]);
    }
    ram_unref(s->behind);
}

static void map_pam(PcShadow *s, MemRegion *pci_mem)
{
    for (unsigned k = 0; k < PAM_SEGMENTS; k++) {
        PamSegment *p = &s->pam[k];
        hwaddr at = pam_base(k);
        region_init_alias(&p->to_pci, s->dev, "pam-pci", pci_mem, at, pam_size(k));
        region_init_alias(&p->read_ram, s->dev, "pam-rom", &s->ram_rom, at, pam_size(k));
        region_init_alias(&p->write_ram, s->dev, "pam-shadow", &s->shadow, at - SHADOW_BASE, pam_size(k));
        device_map_mem(s->dev, &p->to_pci, at, 1);
        device_map_mem(s->dev, &p->read_ram, at, 1);
        device_map_mem(s->dev, &p->write_ram, at, 1);
    }
}

static void make_smm_memory(PcShadow *s)
{
    Machine *m = s->dev->machine;
    region_init(&s->smm_root, s->dev, "smm", UINT64_MAX);
    region_init_alias(&s->smm_all, s->dev, "smm-all", &m->sysmem, 0, UINT64_MAX);
    region_init_alias(&s->smm_window, s->dev, "smram", &m->ram_region, VGA_BASE, VGA_SIZE);
    region_init_alias(&s->smm_tseg, s->dev, "tseg", &m->ram_region, 0, 0x1000);
    region_map(&s->smm_root, 0, &s->smm_all, 0);
    region_map(&s->smm_root, VGA_BASE, &s->smm_window, 1);
    as_init(&s->smm_memory, m, "smm", &s->smm_root);
    m->as_smm = &s->smm_memory;
}

bool pc_shadow_init(PcShadow *s, Device *dev, MemRegion *pci_mem, Error **errp)
{
    static const MemOps nobody_ops = { .read = nobody_read, .write = nobody_write, .lockless = true };
    static const MemOps shadow_ops = { .read = shadow_read, .write = shadow_write, .min = 1, .max = 8 };
    Machine *m = dev->machine;
    s->dev = dev;
    s->behind = ram_new(m, "pc.rom", SHADOW_SIZE, errp);
    if (!s->behind) {
        return false;
    }
    memset(s->behind->host, 0xff, SHADOW_SIZE);
    region_init_rom(&s->ram_rom, dev, "ram-read-only", m->ram);
    region_init_rom_device(&s->shadow, dev, "shadow-write", &shadow_ops, s, s->behind);
    region_init_rom(&s->behind_rom, dev, "bios-behind-ram", s->behind);
    region_init_io(&s->vga_nobody, dev, "vga-nobody", &nobody_ops, s, VGA_SIZE);
    region_init_io(&s->tseg_nobody, dev, "tseg-nobody", &nobody_ops, s, 0x1000);
    device_add_cleanup(dev, shadow_cleanup, s);
    mem_begin(m);
    region_map(pci_mem, SHADOW_BASE, &s->behind_rom, 0);
    region_map(pci_mem, VGA_BASE, &s->vga_nobody, -1);
    map_pam(s, pci_mem);
    region_init_alias(&s->vga_window, dev, "vga-window", pci_mem, VGA_BASE, VGA_SIZE);
    device_map_mem(dev, &s->vga_window, VGA_BASE, 1);
    make_smm_memory(s);
    mem_commit(m);
    return true;
}

void pc_shadow_set_bios(PcShadow *s, RamBlock *bios)
{
    uint64_t n = MIN(bios->size, 0x20000);
    memcpy(s->behind->host + SHADOW_SIZE - n, bios->host + bios->size - n, n);
    ram_written(s->behind, 0, SHADOW_SIZE);
}
