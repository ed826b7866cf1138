/* SPDX-License-Identifier: MIT
 * hw/i386/boot-pvh.c - an ELF kernel with a PVH entry point, for the option ROM flatboot.S or entered
 * directly.
 *
 * Models: the x86/HVM direct boot ABI: note PHYS32_ENTRY, hvm_start_info version 1, module list (one
 *         module: -initrd), memory map; EBX points at the start info.
 * Does not model: several modules; rsdp_paddr with the option ROM (0: the kernel searches, as the ABI
 *          allows).
 * Threads: main loop, before the machine runs.
 */
#include "boot.h"
#include <inttypes.h>

enum { START_MAGIC = 0x336ec578, START_SIZE = 56, N_MAP_AT = 48, MODLIST_SIZE = 32 };

static void put64(GByteArray *out, uint64_t v)
{
    v = GUINT64_TO_LE(v);
    g_byte_array_append(out, (uint8_t *)&v, 8);
}

static void put32(GByteArray *out, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    g_byte_array_append(out, (uint8_t *)&v, 4);
}

/* What the start info points at; the module list is right behind it. */
typedef struct PvhInfo {
    uint64_t text, rsdp; /* command line; 0: no ACPI tables are known */
    uint64_t map;
    unsigned n_map;
    uint64_t module, module_size; /* size 0: there is none */
} PvhInfo;

static void pvh_put_info(GByteArray *out, uint64_t base, const PvhInfo *i)
{
    put32(out, START_MAGIC);
    put32(out, 1);
    put32(out, 0);
    put32(out, i->module_size ? 1 : 0);
    put64(out, i->module_size ? base + START_SIZE : 0);
    put64(out, i->text);
    put64(out, i->rsdp);
    put64(out, i->map);
    put32(out, i->n_map);
    put32(out, 0);
    put64(out, i->module);
    put64(out, i->module_size);
    put64(out, 0);
    put64(out, 0);
}

static void pad_to(GByteArray *out, guint size)
{
    guint was = out->len;
    g_byte_array_set_size(out, size);
    memset(out->data + was, 0, size - was);
}

/* Start info, module list, memory map, command line, module: in this order from `base` on. The ROM fills in
 * the map and the number of its entries. */
static GBytes *pvh_build_extra(const BootRequest *r, uint32_t base, GBytes *initrd, FlatBoot *fb)
{
    GByteArray *out = g_byte_array_new();
    uint32_t map = base + START_SIZE + MODLIST_SIZE, text = map + FLAT_MAP_ENTRY * FLAT_MAP_MAX;
    PvhInfo i = { .text = text, .map = map, .module = (text + strlen(r->append) + 1 + 0xfff) & ~0xfffu };
    const void *data = initrd ? g_bytes_get_data(initrd, &i.module_size) : NULL;
    pvh_put_info(out, base, &i);
    fb->ebx = base;
    fb->map = map;
    fb->map_len = base + N_MAP_AT;
    pad_to(out, text - base);
    g_byte_array_append(out, (const uint8_t *)r->append, strlen(r->append) + 1);
    if (initrd) {
        pad_to(out, i.module - base);
        g_byte_array_append(out, data, i.module_size);
    }
    return g_byte_array_free_to_bytes(out);
}

/* Reads the file's segments; base: the first address behind them. */
static bool pvh_load_elf(const BootRequest *r, LoaderElf *elf, uint32_t *base, Error **errp)
{
    if (!loader_load_elf(r->file, r->kernel, UINT32_MAX, elf, errp)) {
        error_prefix(errp, "-kernel");
        return false;
    }
    if (!elf->has_pvh) {
        error_set(errp, "-kernel file '%s' is ELF without a PVH entry note", r->kernel);
        error_hint(errp, "build Linux with CONFIG_PVH=y, or give the bzImage");
        return false;
    }
    uint64_t end = boot_ram_end(r);
    if (elf->high > end || (elf->low < MIB && elf->high > BOOT_LOW_END) || elf->low < 0x9000) {
        error_set(errp,
                  "not enough memory for -kernel file '%s': it wants 0x%" PRIx64 "-0x%" PRIx64
                  ", memory ends at 0x%" PRIx64,
                  r->kernel, elf->low, elf->high - 1, end);
        error_hint(errp, "give more with -m");
        return false;
    }
    *base = MAX((elf->high + 0xfff) & ~UINT64_C(0xfff), MIB);
    return true;
}

static bool pvh_check_initrd(const BootRequest *r, uint32_t base, uint64_t need, Error **errp)
{
    uint64_t end = boot_ram_end(r);
    if (base <= end && need <= end - base) {
        return true;
    }
    error_set(errp,
              "-initrd file '%s' does not fit: it has %.1f MiB, between the kernel's end at %.1f MiB and "
              "%.1f MiB",
              r->initrd ? r->initrd : "(none)", need / 1048576.0, base / 1048576.0, end / 1048576.0);
    error_hint(errp, "give more with -m");
    return false;
}

typedef struct PvhKernel {
    LoaderElf elf;
    uint32_t base;  /* behind it */
    GBytes *initrd; /* NULL: none was given */
    gsize initrd_size;
} PvhKernel;

static void pvh_clear(PvhKernel *k)
{
    g_clear_pointer(&k->elf.image, g_bytes_unref);
    g_clear_pointer(&k->initrd, g_bytes_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PvhKernel, pvh_clear)

static bool pvh_read(const BootRequest *r, PvhKernel *k, Error **errp)
{
    if (!pvh_load_elf(r, &k->elf, &k->base, errp)) {
        return false;
    }
    k->initrd = r->initrd ? loader_read_file("-initrd", r->initrd, UINT32_MAX, errp) : NULL;
    k->initrd_size = k->initrd ? g_bytes_get_size(k->initrd) : 0;
    return !r->initrd || k->initrd;
}

bool boot_pvh_load(BootRequest *r, Error **errp)
{
    g_auto(PvhKernel) k = { 0 };
    if (!pvh_read(r, &k, errp) ||
        !pvh_check_initrd(r, k.base, k.initrd_size + strlen(r->append) + 0x2000, errp)) {
        return false;
    }
    FlatBoot fb = { .entry = k.elf.pvh_entry,
                    .kind = FLAT_PVH,
                    .image = k.elf.low,
                    .image_len = k.elf.high - k.elf.low,
                    .extra = k.base };
    g_autoptr(GBytes) extra = pvh_build_extra(r, k.base, k.initrd, &fb);
    fb.extra_len = g_bytes_get_size(extra);
    return boot_flat_publish(r, &fb, k.elf.image, extra, errp);
}

/* ---- without firmware ---- */

static GBytes *pvh_direct_info(const DirectBoot *d, const PvhKernel *k)
{
    GByteArray *out = g_byte_array_new();
    PvhInfo info = { .text = DIRECT_CMDLINE,
                     .rsdp = d->rsdp,
                     .map = DIRECT_INFO + START_SIZE + MODLIST_SIZE,
                     .n_map = d->n_map,
                     .module = k->base,
                     .module_size = k->initrd_size };
    pvh_put_info(out, DIRECT_INFO, &info);
    for (unsigned i = 0; i < d->n_map; i++) {
        put64(out, d->map[i].addr);
        put64(out, d->map[i].len);
        put32(out, d->map[i].type);
        put32(out, 0);
    }
    return g_byte_array_free_to_bytes(out);
}

bool boot_pvh_direct(BootRequest *r, DirectBoot *d, Error **errp)
{
    g_auto(PvhKernel) k = { 0 };
    if (!pvh_read(r, &k, errp)) {
        return false;
    }
    if (k.elf.low < MIB) {
        error_set(errp, "-kernel file '%s' begins at 0x%" PRIx64 ", below 1 MiB", r->kernel, k.elf.low);
        error_hint(errp, "use -machine pc");
        return false;
    }
    if (strlen(r->append) >= DIRECT_CMDLINE_MAX) {
        return error_set(errp, "-append text has %zu bytes; %d are possible", strlen(r->append),
                         DIRECT_CMDLINE_MAX - 1);
    }
    if (!pvh_check_initrd(r, k.base, k.initrd_size, errp)) {
        return false;
    }
    g_autoptr(GBytes) info = pvh_direct_info(d, &k);
    d->kind = DIRECT_PVH;
    d->entry = k.elf.pvh_entry;
    direct_boot_add(d, DIRECT_INFO, info, false);
    direct_boot_add(d, k.elf.low, k.elf.image, false);
    if (k.initrd) {
        direct_boot_add(d, k.base, k.initrd, true);
    }
    return true;
}
