/* SPDX-License-Identifier: MIT
 * hw/i386/boot-linux.c - a Linux kernel image, for the option ROM linuxboot.S or entered directly.
 *
 * Models: the Linux/x86 boot protocol 2.00 to 2.15: the setup header's fields, memory layout of "zImage"
 *         and "bzImage", command line, initial RAM disk placement, the vga= option.
 *         For boots without firmware the 32- and 64-bit entry points with their boot_params.
 * Does not model: kernels without a setup header (before 1.3.73), setup_data.
 * Threads: main loop, before the machine runs.
 */
#include "boot.h"
#include "rhea/util/text.h"
#include <inttypes.h>

enum { /* setup header */
       H_SETUP_SECTS = 0x1f1,
       H_VID_MODE = 0x1fa,
       H_MAGIC = 0x202,
       H_VERSION = 0x206,
       H_LOADER = 0x210,
       H_FLAGS = 0x211,
       H_CODE32 = 0x214,
       H_RAMDISK = 0x218,
       H_RAMDISK_SIZE = 0x21c,
       H_HEAP_END = 0x224,
       H_CMD_PTR = 0x228,
       H_INITRD_MAX = 0x22c,
       H_RELOCATABLE = 0x234,
       H_CMDLINE_SIZE = 0x238,
       H_PREF = 0x258,
       H_XLOADFLAGS = 0x236,
       H_INIT_SIZE = 0x260,
       H_END = 0x268,
       FLAG_HIGH = 1,
       FLAG_HEAP = 0x80,
       LOADER_UNDEFINED = 0xff,
       OLD_CMD_MAGIC_AT = 0x20,
       OLD_CMD_OFFSET_AT = 0x22,
       OLD_CMD_MAGIC = 0xa33f,
};

typedef struct LinuxPlan {
    const uint8_t *header;
    unsigned protocol;
    bool high;             /* bzImage: protected-mode part at 1 MiB */
    uint32_t setup_size, kernel_size;
    uint32_t setup_at, kernel_at, cmdline_at, cmdline_size;
    uint64_t kernel_end;   /* first address past what the kernel needs before it looks at memory maps */
    uint32_t initrd_at, initrd_size, initrd_max;
} LinuxPlan;

bool boot_linux_probe(GBytes *file)
{
    gsize n;
    const uint8_t *p = g_bytes_get_data(file, &n);
    return n >= H_END && !memcmp(p + H_MAGIC, "HdrS", 4);
}

static bool linux_plan_layout(const BootRequest *r, LinuxPlan *p, Error **errp)
{
    gsize n;
    const uint8_t *h = p->header = g_bytes_get_data(r->file, &n);
    p->protocol = h[H_VERSION] | h[H_VERSION + 1] << 8;
    p->high = h[H_FLAGS] & FLAG_HIGH;
    p->setup_size = ((h[H_SETUP_SECTS] ? h[H_SETUP_SECTS] : 4) + 1) * 512;
    if (p->protocol < 0x200) {
        return error_set(errp, "-kernel file '%s' has boot protocol %u.%02u; 2.00 or later is needed",
                         r->kernel, p->protocol >> 8, p->protocol & 0xff);
    }
    if (p->setup_size >= n || p->setup_size > 0xf000) {
        return error_set(errp, "-kernel file '%s' is damaged: it has %zu bytes, its setup part alone %u",
                         r->kernel, (size_t)n, p->setup_size);
    }
    p->kernel_size = n - p->setup_size;
    p->cmdline_size = strlen(r->append) + 1;
    uint32_t limit =
        p->protocol >= 0x206 && boot_le32(h + H_CMDLINE_SIZE) ? boot_le32(h + H_CMDLINE_SIZE) : 255;
    if (p->cmdline_size - 1 > limit || p->cmdline_size > 0x10000) {
        return error_set(errp, "-append text has %u bytes; this kernel takes at most %u", p->cmdline_size - 1,
                         limit);
    }
    p->setup_at = p->high ? 0x10000 : 0x90000;
    p->kernel_at = p->high ? 0x100000 : 0x10000;
    p->cmdline_at = p->high ? 0x20000 : 0x9a000 - ((p->cmdline_size + 15) & ~15u);
    if (!p->high && (p->setup_at + p->setup_size > p->cmdline_at - 0x400 || p->kernel_size > 0x80000)) {
        return error_set(errp, "-kernel file '%s' is too large for a zImage (%u bytes)", r->kernel,
                         p->kernel_size);
    }
    return true;
}

/* Where it unpacks itself: init_size bytes from the load address, for relocatable kernels rounded up to
 * the preferred one (protocol 2.10). Older ones: what the file has, and about three times that unpacked. */
static bool linux_check_memory(const BootRequest *r, LinuxPlan *p, Error **errp)
{
    p->kernel_end = p->high ? p->kernel_at + (uint64_t)p->kernel_size : 0x100000;
    if (p->protocol >= 0x20a && p->high) {
        uint64_t pref;
        memcpy(&pref, p->header + H_PREF, sizeof(pref));
        pref = GUINT64_FROM_LE(pref);
        uint64_t need = pref <= UINT32_MAX ? pref + boot_le32(p->header + H_INIT_SIZE) : 0;
        p->kernel_end = MAX(p->kernel_end, need);
    }
    if (p->kernel_end > boot_ram_end(r)) {
        g_autofree char *have = text_from_size(r->layout->below_4g);
        error_set(errp,
                  "not enough memory for -kernel file '%s': it needs %" PRIu64
                  " MiB, -m gives %s below 4 GiB",
                  r->kernel, (p->kernel_end + BOOT_FIRMWARE_RESERVE + MIB - 1) / MIB, have);
        error_hint(errp, "give more with -m");
        return false;
    }
    return true;
}

/* The value of the last "name=" in the command line, NULL if there is none. */
static const char *linux_option(const char *append, const char *name)
{
    size_t len = strlen(name);
    const char *found = NULL;
    for (const char *p = strstr(append, name); p; p = strstr(p + 1, name)) {
        if ((p == append || p[-1] == ' ') && p[len] == '=') {
            found = p + len + 1;
        }
    }
    return found;
}

/* "Special command line options" of the protocol: mem= moves the end of memory, so the RAM disk too. */
static uint64_t linux_mem_limit(const char *append)
{
    const char *text = linux_option(append, "mem");
    if (!text || !g_ascii_isdigit(*text)) {
        return UINT64_MAX;
    }
    char *end;
    uint64_t v = g_ascii_strtoull(text, &end, 0);
    unsigned shift = *end == 'k' || *end == 'K'   ? 10
                     : *end == 'm' || *end == 'M' ? 20
                     : *end == 'g' || *end == 'G' ? 30
                                                  : 0;
    return v >= MIB >> shift && v < UINT64_MAX >> shift ? v << shift : UINT64_MAX;
}

static GBytes *linux_load_initrd(const BootRequest *r, LinuxPlan *p, Error **errp)
{
    GBytes *data = loader_read_file("-initrd", r->initrd, UINT32_MAX, errp);
    if (!data) {
        return NULL;
    }
    uint64_t size = g_bytes_get_size(data);
    uint64_t max = p->protocol >= 0x203 ? boot_le32(p->header + H_INITRD_MAX) : 0x37ffffff;
    uint64_t top = MIN(MIN(max + 1, boot_ram_end(r)), linux_mem_limit(r->append));
    uint64_t at = size <= top ? (top - size) & ~UINT64_C(0xfff) : 0;
    if (size > top || at < p->kernel_end) {
        error_set(errp,
                  "-initrd file '%s' does not fit: it has %.1f MiB, between the kernel's end at %.1f MiB and "
                  "%.1f MiB",
                  r->initrd, size / 1048576.0, p->kernel_end / 1048576.0, top / 1048576.0);
        error_hint(errp,
                   max + 1 <= top ? "this kernel takes no initrd beyond 0x%" PRIx64
                                  : "give more memory with -m",
                   max);
        g_bytes_unref(data);
        return NULL;
    }
    p->initrd_at = at;
    p->initrd_size = size;
    return data;
}

static bool linux_video_mode(const char *append, uint16_t *mode, Error **errp)
{
    const char *text = linux_option(append, "vga");
    if (!text) {
        return true;
    }
    g_autofree char *word = g_strndup(text, strcspn(text, " "));
    uint64_t v;
    if (!strcmp(word, "normal")) {
        v = 0xffff;
    } else if (!strcmp(word, "ext")) {
        v = 0xfffe;
    } else if (!strcmp(word, "ask")) {
        v = 0xfffd;
    } else if (!text_to_u64(word, &v, NULL) || v > UINT16_MAX) {
        return error_set(errp, "-append: vga=%s is not normal, ext, ask or a number up to 0xffff", word);
    }
    *mode = v;
    return true;
}

/* Header fields of type "write" and "modify", obligatory ones. */
static GBytes *linux_fill_header(const BootRequest *r, const LinuxPlan *p, Error **errp)
{
    uint8_t *h = g_memdup2(p->header, p->setup_size);
    uint16_t mode = h[H_VID_MODE] | h[H_VID_MODE + 1] << 8;
    if (!linux_video_mode(r->append, &mode, errp)) {
        g_free(h);
        return NULL;
    }
    h[H_VID_MODE] = mode;
    h[H_VID_MODE + 1] = mode >> 8;
    h[H_LOADER] = LOADER_UNDEFINED;
    boot_set32(h + H_RAMDISK, p->initrd_at);
    boot_set32(h + H_RAMDISK_SIZE, p->initrd_size);
    if (p->protocol >= 0x201) {
        uint16_t heap = p->cmdline_at - p->setup_at - 0x200;
        h[H_FLAGS] |= FLAG_HEAP;
        h[H_HEAP_END] = heap;
        h[H_HEAP_END + 1] = heap >> 8;
    }
    if (p->protocol >= 0x202) {
        boot_set32(h + H_CMD_PTR, p->cmdline_at);
    } else {
        uint16_t off = p->cmdline_at - p->setup_at;
        h[OLD_CMD_MAGIC_AT] = OLD_CMD_MAGIC & 0xff;
        h[OLD_CMD_MAGIC_AT + 1] = OLD_CMD_MAGIC >> 8;
        h[OLD_CMD_OFFSET_AT] = off;
        h[OLD_CMD_OFFSET_AT + 1] = off >> 8;
    }
    return g_bytes_new_take(h, p->setup_size);
}

bool boot_linux_load(BootRequest *r, Error **errp)
{
    LinuxPlan p = { 0 };
    if (!linux_plan_layout(r, &p, errp) || !linux_check_memory(r, &p, errp)) {
        return false;
    }
    if (p.protocol < 0x202 && p.high) {
        p.setup_at = 0x90000; /* the old command line convention counts from there */
        p.cmdline_at = 0x9a000 - ((p.cmdline_size + 15) & ~15u);
    }
    g_autoptr(GBytes) initrd = r->initrd ? linux_load_initrd(r, &p, errp) : NULL;
    if (r->initrd && !initrd) {
        return false;
    }
    g_autoptr(GBytes) setup = linux_fill_header(r, &p, errp);
    if (!setup) {
        return false;
    }
    g_autoptr(GBytes) kernel = g_bytes_new_from_bytes(r->file, p.setup_size, p.kernel_size);
    fw_cfg_add_u32(r->fw, FW_CFG_SETUP_ADDR, p.setup_at);
    fw_cfg_add_u32(r->fw, FW_CFG_SETUP_SIZE, p.setup_size);
    fw_cfg_add_gbytes(r->fw, FW_CFG_SETUP_DATA, setup);
    fw_cfg_add_u32(r->fw, FW_CFG_KERNEL_ADDR, p.kernel_at);
    fw_cfg_add_u32(r->fw, FW_CFG_KERNEL_SIZE, p.kernel_size);
    fw_cfg_add_gbytes(r->fw, FW_CFG_KERNEL_DATA, kernel);
    fw_cfg_set_file_backed(r->fw, FW_CFG_KERNEL_DATA);
    fw_cfg_add_u32(r->fw, FW_CFG_CMDLINE_ADDR, p.cmdline_at);
    fw_cfg_add_u32(r->fw, FW_CFG_CMDLINE_SIZE, p.cmdline_size);
    fw_cfg_add_string(r->fw, FW_CFG_CMDLINE_DATA, r->append);
    fw_cfg_add_u32(r->fw, FW_CFG_INITRD_ADDR, p.initrd_at);
    fw_cfg_add_u32(r->fw, FW_CFG_INITRD_SIZE, p.initrd_size);
    if (initrd) {
        fw_cfg_add_gbytes(r->fw, FW_CFG_INITRD_DATA, initrd);
        fw_cfg_set_file_backed(r->fw, FW_CFG_INITRD_DATA);
    }
    return true;
}

/* ---- without firmware ---- */

enum { /* boot_params, "zero page" */
    P_ACPI_RSDP = 0x70,
    P_EXT_RAMDISK = 0xc0,
    P_E820_COUNT = 0x1e8,
    P_HEADER = 0x1f1,
    P_E820 = 0x2d0,
    P_E820_ENTRY = 20,
    P_SIZE = 0x1000,
    XLF_KERNEL_64 = 1,
    ENTRY_64 = 0x200,
};

static void set64(uint8_t *p, uint64_t v)
{
    boot_set32(p, (uint32_t)v);
    boot_set32(p + 4, v >> 32);
}

/* The header as it is in the file, up to where its jump says that it ends; the rest is zero. */
static GBytes *linux_fill_params(const BootRequest *r, const LinuxPlan *p, const DirectBoot *d, Error **errp)
{
    uint8_t *z = g_malloc0(P_SIZE);
    uint16_t mode = p->header[H_VID_MODE] | p->header[H_VID_MODE + 1] << 8;
    if (!linux_video_mode(r->append, &mode, errp)) {
        g_free(z);
        return NULL;
    }
    unsigned end = H_MAGIC + p->header[H_MAGIC - 1];
    memcpy(z + P_HEADER, p->header + P_HEADER, MIN(end, P_E820) - P_HEADER);
    z[H_VID_MODE] = mode;
    z[H_VID_MODE + 1] = mode >> 8;
    z[H_LOADER] = LOADER_UNDEFINED;
    boot_set32(z + H_CODE32, p->kernel_at);
    boot_set32(z + H_RAMDISK, p->initrd_at);
    boot_set32(z + H_RAMDISK_SIZE, p->initrd_size);
    boot_set32(z + H_CMD_PTR, DIRECT_CMDLINE);
    set64(z + P_ACPI_RSDP, d->rsdp);
    z[P_E820_COUNT] = d->n_map;
    for (unsigned i = 0; i < d->n_map; i++) {
        uint8_t *e = z + P_E820 + i * P_E820_ENTRY;
        set64(e, d->map[i].addr);
        set64(e + 8, d->map[i].len);
        boot_set32(e + 16, d->map[i].type);
    }
    return g_bytes_new_take(z, P_SIZE);
}

bool boot_linux_direct(BootRequest *r, DirectBoot *d, Error **errp)
{
    LinuxPlan p = { 0 };
    if (!linux_plan_layout(r, &p, errp) || !linux_check_memory(r, &p, errp)) {
        return false;
    }
    if (p.protocol < 0x202 || !p.high) {
        error_set(errp, "-kernel file '%s' is too old to be entered without firmware (boot protocol %u.%02u)",
                  r->kernel, p.protocol >> 8, p.protocol & 0xff);
        error_hint(errp, "use -machine pc");
        return false;
    }
    if (p.cmdline_size > DIRECT_CMDLINE_MAX) {
        return error_set(errp, "-append text has %u bytes; %d are possible", p.cmdline_size - 1,
                         DIRECT_CMDLINE_MAX - 1);
    }
    g_autoptr(GBytes) initrd = r->initrd ? linux_load_initrd(r, &p, errp) : NULL;
    if (r->initrd && !initrd) {
        return false;
    }
    g_autoptr(GBytes) params = linux_fill_params(r, &p, d, errp);
    if (!params) {
        return false;
    }
    bool entry64 = p.protocol >= 0x20c && (p.header[H_XLOADFLAGS] & XLF_KERNEL_64) && d->long_mode;
    g_autoptr(GBytes) kernel = g_bytes_new_from_bytes(r->file, p.setup_size, p.kernel_size);
    d->kind = entry64 ? DIRECT_LINUX64 : DIRECT_LINUX32;
    d->entry = p.kernel_at + (entry64 ? ENTRY_64 : 0);
    direct_boot_add(d, DIRECT_INFO, params, false);
    direct_boot_add(d, p.kernel_at, kernel, true);
    if (initrd) {
        direct_boot_add(d, p.initrd_at, initrd, true);
    }
    return true;
}
