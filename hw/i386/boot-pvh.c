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

enum { START_MAGIC = 0x336ec578, START_SIZE = 56, MODLIST_SIZE = 32 };

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

/* Start info, module list, memory map, command line, module: in this order from `base` on. */
static GBytes *pvh_build_extra(const BootRequest *r, uint32_t base, GBytes *initrd, FlatBoot *fb)
{
    GByteArray *out = g_byte_array_new();
    uint32_t modlist = base + START_SIZE, map = modlist + MODLIST_SIZE + 8,
             text = map + FLAT_MAP_ENTRY * FLAT_MAP_MAX;
    uint32_t module = (text + strlen(r->append) + 1 + 0xfff) & ~0xfffu;
    put32(out, START_MAGIC);
    put32(out, 1);
    put32(out, 0);
    put32(out, initrd ? 1 : 0);
    put64(out, initrd ? modlist : 0);
    put64(out, text);
    put64(out, 0);
    put64(out, map);
    put32(out, 0); /* number of map entries: the ROM fills it in */
    put32(out, 0);
    put64(out, module);
    put64(out, initrd ? g_bytes_get_size(initrd) : 0);
    put64(out, 0);
    put64(out, 0);
    put64(out, 0);
    fb->ebx = base;
    fb->map = map;
    fb->map_len = base + 48;
    guint was = out->len;
    g_byte_array_set_size(out, text - base);
    memset(out->data + was, 0, out->len - was);
    g_byte_array_append(out, (const uint8_t *)r->append, strlen(r->append) + 1);
    if (initrd) {
        gsize n;
        const void *p = g_bytes_get_data(initrd, &n);
        was = out->len;
        g_byte_array_set_size(out, module - base);
        memset(out->data + was, 0, out->len - was);
        g_byte_array_append(out, p, n);
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

bool boot_pvh_load(BootRequest *r, Error **errp)
{
    LoaderElf elf = { 0 };
    uint32_t base;
    bool ok = pvh_load_elf(r, &elf, &base, errp);
    g_autoptr(GBytes) image = elf.image;
    g_autoptr(GBytes) initrd =
        ok && r->initrd ? loader_read_file("-initrd", r->initrd, UINT32_MAX, errp) : NULL;
    if (!ok || (r->initrd && !initrd)) {
        return false;
    }
    uint64_t need = (initrd ? g_bytes_get_size(initrd) : 0) + strlen(r->append) + 0x2000;
    if (!pvh_check_initrd(r, base, need, errp)) {
        return false;
    }
    FlatBoot fb = { .entry = elf.pvh_entry,
                    .kind = FLAT_PVH,
                    .image = elf.low,
                    .image_len = elf.high - elf.low,
                    .extra = base };
    g_autoptr(GBytes) extra = pvh_build_extra(r, base, initrd, &fb);
    fb.extra_len = g_bytes_get_size(extra);
    return boot_flat_publish(r, &fb, image, extra, errp);
}

/* ---- without firmware ---- */

static GBytes *pvh_direct_info(const DirectBoot *d, uint32_t module, uint64_t module_size)
{
    GByteArray *out = g_byte_array_new();
    uint64_t modlist = DIRECT_INFO + START_SIZE, map = modlist + MODLIST_SIZE;
    put32(out, START_MAGIC);
    put32(out, 1);
    put32(out, 0);
    put32(out, module_size ? 1 : 0);
    put64(out, module_size ? modlist : 0);
    put64(out, DIRECT_CMDLINE);
    put64(out, d->rsdp);
    put64(out, map);
    put32(out, d->n_map);
    put32(out, 0);
    put64(out, module);
    put64(out, module_size);
    put64(out, 0);
    put64(out, 0);
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
    LoaderElf elf = { 0 };
    uint32_t base;
    bool ok = pvh_load_elf(r, &elf, &base, errp);
    g_autoptr(GBytes) image = elf.image;
    g_autoptr(GBytes) initrd =
        ok && r->initrd ? loader_read_file("-initrd", r->initrd, UINT32_MAX, errp) : NULL;
    if (!ok || (r->initrd && !initrd)) {
        return false;
    }
    uint64_t size = initrd ? g_bytes_get_size(initrd) : 0;
    if (elf.low < MIB) {
        error_set(errp, "-kernel file '%s' begins at 0x%" PRIx64 ", below 1 MiB", r->kernel, elf.low);
        error_hint(errp, "use -machine pc");
        return false;
    }
    if (strlen(r->append) >= DIRECT_CMDLINE_MAX) {
        return error_set(errp, "-append text has %zu bytes; %d are possible", strlen(r->append),
                         DIRECT_CMDLINE_MAX - 1);
    }
    if (!pvh_check_initrd(r, base, size, errp)) {
        return false;
    }
    g_autoptr(GBytes) info = pvh_direct_info(d, base, size);
    d->kind = DIRECT_PVH;
    d->entry = elf.pvh_entry;
    direct_boot_add(d, DIRECT_INFO, info, false);
    direct_boot_add(d, elf.low, image, false);
    if (initrd) {
        direct_boot_add(d, base, initrd, true);
    }
    return true;
}
