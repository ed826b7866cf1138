/* SPDX-License-Identifier: MIT
 * hw/i386/boot-multiboot.c - a Multiboot 1 kernel with its modules, for the option ROM flatboot.S.
 *
 * Models: Multiboot Specification 0.6.96: header (3.1), information structure (3.3: memory, command line,
 *         modules, memory map, boot loader name); modules come from -initrd 'FILE ARGS,FILE ARGS'.
 * Does not model: video mode requests (flags bit 2: refused as the specification asks), symbol tables, APM,
 *   VBE.
 * Threads: main loop, before the machine runs.
 */
#include "boot.h"
#include "rhea/util/text.h"
#include "config.h"
#include <inttypes.h>

enum {
    MB_MAGIC = 0x1badb002,
    MB_LOADED = 0x2badb002,
    MB_SEARCH = 8192,
    MB_ALIGN_MODULES = 1 << 0,
    MB_MEMORY = 1 << 1,
    MB_VIDEO = 1 << 2,
    MB_ADDRESSES = 1 << 16,
    MB_KNOWN = MB_ALIGN_MODULES | MB_MEMORY,
    MB_MUST_KNOW = 0xffff,
    INFO_MEMORY = 1 << 0,
    INFO_CMDLINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_MAP = 1 << 6,
    INFO_LOADER = 1 << 9,
    I_FLAGS = 0,
    I_LOWER = 4,
    I_UPPER = 8,
    I_CMDLINE = 16,
    I_MODS_COUNT = 20,
    I_MODS = 24,
    I_MAP_LEN = 44,
    I_MAP = 48,
    I_LOADER = 64,
    I_SIZE = 88,
    MODULE_SIZE = 16,
    MB_MAX_MODULES = 64,
};

static const uint8_t *mb_find_header(GBytes *file, size_t *left)
{
    gsize n;
    const uint8_t *p = g_bytes_get_data(file, &n);
    for (size_t at = 0; at + 12 <= n && at + 12 <= MB_SEARCH; at += 4) {
        if (boot_le32(p + at) == MB_MAGIC &&
            boot_le32(p + at) + boot_le32(p + at + 4) + boot_le32(p + at + 8) == 0) {
            *left = n - at;
            return p + at;
        }
    }
    return NULL;
}

bool boot_multiboot_probe(GBytes *file)
{
    size_t left;
    return mb_find_header(file, &left) != NULL;
}

typedef struct MbImage { uint32_t load, end, entry; GBytes *data; } MbImage;

/* The "a.out kludge": addresses in the header say which part of the file goes where. */
static bool mb_load_by_header(const BootRequest *r, const uint8_t *h, size_t left, MbImage *out, Error **errp)
{
    gsize n;
    const uint8_t *file = g_bytes_get_data(r->file, &n);
    if (left < 32) {
        return error_set(errp, "-kernel file '%s': the Multiboot header is cut off", r->kernel);
    }
    uint64_t header = boot_le32(h + 12), load = boot_le32(h + 16), load_end = boot_le32(h + 20),
             bss = boot_le32(h + 24);
    uint64_t at = h - file, before = header - load;
    if (load > header || before > at) {
        return error_set(errp,
                         "-kernel file '%s': its Multiboot addresses (header 0x%" PRIx64 ", load 0x%" PRIx64
                         ") contradict each other",
                         r->kernel, header, load);
    }
    uint64_t start = at - before, size = load_end ? load_end - load : n - start;
    uint64_t mem = bss > load + size ? bss - load : size;
    if ((load_end && load_end < load) || size > n - start || load + mem > boot_ram_end(r)) {
        return error_set(errp,
                         "-kernel file '%s': its Multiboot header asks for 0x%" PRIx64 " bytes at 0x%" PRIx64
                         ", more than the file or the memory has",
                         r->kernel, mem, load);
    }
    uint8_t *data = g_malloc0(mem);
    memcpy(data, file + start, size);
    *out = (MbImage){ load, load + mem, boot_le32(h + 28), g_bytes_new_take(data, mem) };
    return true;
}

static bool mb_load_image(const BootRequest *r, MbImage *out, Error **errp)
{
    size_t left;
    const uint8_t *h = mb_find_header(r->file, &left);
    uint32_t flags = boot_le32(h + 4);
    if (flags & MB_MUST_KNOW & ~MB_KNOWN) {
        return error_set(errp, "-kernel file '%s' asks for Multiboot features 0x%x that do not exist here%s",
                         r->kernel, flags & MB_MUST_KNOW & ~MB_KNOWN,
                         flags & MB_VIDEO ? " (a video mode)" : "");
    }
    if (flags & MB_ADDRESSES) {
        return mb_load_by_header(r, h, left, out, errp);
    }
    if (!loader_is_elf(r->file)) {
        return error_set(errp, "-kernel file '%s' has a Multiboot header without addresses but is not ELF",
                         r->kernel);
    }
    LoaderElf elf;
    if (!loader_load_elf(r->file, r->kernel, boot_ram_end(r), &elf, errp)) {
        return false;
    }
    if (elf.is_64) {
        loader_elf_clear(&elf);
        error_set(errp, "-kernel file '%s' is a 64-bit ELF file; Multiboot 1 starts 32-bit ones", r->kernel);
        error_hint(errp, "convert it: objcopy -O elf32-i386");
        return false;
    }
    *out = (MbImage){ elf.low, elf.high, elf.entry, elf.image };
    return true;
}

/* Parts of the "extra" area: strings and structures get addresses from `base` on. */
typedef struct MbExtra { GByteArray *out; uint32_t base; } MbExtra;

static uint32_t mb_align(MbExtra *x, unsigned to)
{
    guint was = x->out->len, now = (was + to - 1) / to * to;
    g_byte_array_set_size(x->out, now);
    memset(x->out->data + was, 0, now - was);
    return x->base + now;
}

static uint32_t mb_add(MbExtra *x, const void *data, guint len)
{
    uint32_t at = x->base + x->out->len;
    g_byte_array_append(x->out, data, len);
    return at;
}

static bool mb_add_module(const BootRequest *r, MbExtra *x, const char *spec, uint8_t *slot, Error **errp)
{
    const char *blank = strchr(spec, ' ');
    g_autofree char *path = blank ? g_strndup(spec, blank - spec) : g_strdup(spec);
    g_autoptr(GBytes) data = loader_read_file("-initrd", path, UINT32_MAX, errp);
    if (!data) {
        return false;
    }
    gsize n;
    const void *p = g_bytes_get_data(data, &n);
    uint64_t have = boot_ram_end(r) - x->base;
    if (x->out->len + (uint64_t)n + 0x10000 > have) {
        g_autofree char *ram = text_from_size(r->layout->below_4g);
        error_set(errp, "module '%s' of -initrd does not fit: it has %zu bytes, memory below 4 GiB has %s",
                  path, (size_t)n, ram);
        error_hint(errp, "give more with -m");
        return false;
    }
    uint32_t text = mb_add(x, spec, strlen(spec) + 1), at = mb_align(x, 4096);
    mb_add(x, p, n);
    boot_set32(slot, at);
    boot_set32(slot + 4, at + n);
    boot_set32(slot + 8, text);
    boot_set32(slot + 12, 0);
    return true;
}

/* "a x,b,,c": two modules, the second with a comma in its name. */
static GPtrArray *mb_split_modules(const char *text)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) one = g_string_new(NULL);
    for (const char *p = text;; p++) {
        if (*p == ',' && p[1] == ',') {
            g_string_append_c(one, *p++);
        } else if (*p == ',' || !*p) {
            g_ptr_array_add(list, g_strdup(one->str));
            g_string_truncate(one, 0);
        } else {
            g_string_append_c(one, *p);
        }
        if (!*p) {
            return list;
        }
    }
}

static bool mb_build_info(const BootRequest *r, MbExtra *x, FlatBoot *fb, Error **errp)
{
    uint8_t info[I_SIZE] = { 0 };
    g_autoptr(GPtrArray) list = r->initrd ? mb_split_modules(r->initrd) : NULL;
    unsigned n = list ? list->len : 0;
    if (n > MB_MAX_MODULES) {
        return error_set(errp, "-initrd names %u modules; %d are possible", n, MB_MAX_MODULES);
    }
    g_autofree uint8_t *mods = g_malloc0(n * MODULE_SIZE + 1);
    for (unsigned i = 0; i < n; i++) {
        if (!mb_add_module(r, x, list->pdata[i], mods + i * MODULE_SIZE, errp)) {
            return false;
        }
    }
    g_autofree char *cmdline =
        r->append[0] ? g_strdup_printf("%s %s", r->kernel, r->append) : g_strdup(r->kernel);
    uint32_t upper = (r->layout->below_4g - MIB) / KIB;
    boot_set32(info + I_CMDLINE, mb_add(x, cmdline, strlen(cmdline) + 1));
    boot_set32(info + I_LOADER, mb_add(x, "rhea " RHEA_VERSION, sizeof("rhea " RHEA_VERSION)));
    mb_align(x, 16);
    boot_set32(info + I_MODS, mb_add(x, mods, n * MODULE_SIZE));
    boot_set32(info + I_MODS_COUNT, n);
    boot_set32(info + I_FLAGS, INFO_MEMORY | INFO_CMDLINE | (n ? INFO_MODULES : 0) | INFO_MAP | INFO_LOADER);
    boot_set32(info + I_LOWER, 639);
    boot_set32(info + I_UPPER, upper);
    mb_align(x, 16);
    fb->ebx = mb_add(x, info, sizeof(info));
    fb->map_len = fb->ebx + I_MAP_LEN;
    fb->mem_lower = fb->ebx + I_LOWER;
    mb_align(x, 16);
    static const uint8_t map_room[FLAT_MAP_ENTRY * FLAT_MAP_MAX];
    fb->map = mb_add(x, map_room, sizeof(map_room));
    boot_set32(x->out->data + (fb->ebx - x->base) + I_MAP, fb->map);
    return true;
}

bool boot_multiboot_load(BootRequest *r, Error **errp)
{
    MbImage img = { 0 };
    if (!mb_load_image(r, &img, errp)) {
        return false;
    }
    g_autoptr(GBytes) image = img.data;
    if (img.end > boot_ram_end(r) || (img.load < MIB && img.end > BOOT_LOW_END) || img.load < 0x9000) {
        return error_set(errp, "-kernel file '%s' wants the memory 0x%x-0x%x, which is not all free RAM",
                         r->kernel, img.load, img.end - 1);
    }
    MbExtra x = { g_byte_array_new(), MAX((img.end + 0xfffu) & ~0xfffu, MIB) };
    FlatBoot fb = { .eax = MB_LOADED, .entry = img.entry, .kind = FLAT_MULTIBOOT, .image = img.load,
                    .image_len = img.end - img.load, .extra = x.base };
    bool ok = mb_build_info(r, &x, &fb, errp);
    fb.extra_len = x.out->len;
    if (ok && (uint64_t)x.base + x.out->len > boot_ram_end(r)) {
        ok = error_set(
            errp, "-kernel file '%s' and its modules need memory up to 0x%" PRIx64 ", there is 0x%" PRIx64,
            r->kernel, (uint64_t)x.base + x.out->len, boot_ram_end(r));
        error_hint(errp, "give more with -m");
    }
    g_autoptr(GBytes) extra = g_byte_array_free_to_bytes(x.out);
    return ok && boot_flat_publish(r, &fb, image, extra, errp);
}
