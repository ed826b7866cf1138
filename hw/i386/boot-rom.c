/* SPDX-License-Identifier: MIT
 * hw/i386/boot-rom.c - picks the loader for -kernel and hands firmware the option ROM that goes with it.
 *
 * Models: BIOS Boot Specification 1.01 and PnP BIOS 1.0A: ROM length and checksum bytes.
 * Does not model: boots without firmware, see boot-direct.c.
 * Threads: main loop, before the machine runs.
 */
#include "boot.h"
#include "rhea/util/errorcode.h"

extern const uint8_t rom_linuxboot[], rom_flatboot[];
extern const size_t rom_linuxboot_size, rom_flatboot_size;

enum { ROM_BLOCK = 512, ROM_LENGTH = 2, ROM_PNP = 0x1a, PNP_SIZE = 32, PNP_CHECKSUM = 9 };

static uint8_t boot_sum(const uint8_t *p, size_t n)
{
    uint8_t sum = 0;
    while (n--) {
        sum += *p++;
    }
    return sum;
}

bool boot_add_rom(Device *fw, const char *name, const uint8_t *code, size_t len, Error **errp)
{
    size_t size = (len + 1 + ROM_BLOCK - 1) / ROM_BLOCK * ROM_BLOCK; /* at least one byte for the checksum */
    uint8_t *rom = g_malloc0(size);
    memcpy(rom, code, len);
    rom[ROM_LENGTH] = size / ROM_BLOCK;
    uint8_t *pnp = rom + (rom[ROM_PNP] | rom[ROM_PNP + 1] << 8);
    pnp[PNP_CHECKSUM] = -boot_sum(pnp, PNP_SIZE);
    rom[size - 1] = -boot_sum(rom, size);
    g_autoptr(GBytes) data = g_bytes_new_take(rom, size);
    return fw_cfg_add_file(fw, name, data, errp);
}

bool boot_flat_publish(BootRequest *r, const FlatBoot *fb, GBytes *image, GBytes *extra, Error **errp)
{
    uint8_t setup[sizeof(*fb)];
    const uint32_t *v = (const uint32_t *)fb;
    for (unsigned i = 0; i < sizeof(*fb) / 4; i++) {
        boot_set32(setup + 4 * i, v[i]);
    }
    fw_cfg_add_bytes(r->fw, FW_CFG_SETUP_DATA, setup, sizeof(setup));
    fw_cfg_add_gbytes(r->fw, FW_CFG_KERNEL_DATA, image);
    fw_cfg_add_gbytes(r->fw, FW_CFG_INITRD_DATA, extra);
    fw_cfg_add_string(r->fw, FW_CFG_CMDLINE_DATA, r->append);
    return boot_add_rom(r->fw, BOOT_ROM_FLAT, rom_flatboot, rom_flatboot_size, errp);
}

/* What it looks like instead, for the message. */
static const char *boot_guess(const uint8_t *p, size_t n)
{
    static const struct { unsigned at; const char *magic; unsigned len; const char *is; } known[] = {
        { 0, "\x1f\x8b", 2, "gzip data: unpack it first" },
        { 0, "\xfd" "7zXZ", 5, "xz data: unpack it first" },
        { 0, "\x28\xb5\x2f\xfd", 4, "zstd data: unpack it first" },
        { 56, "ARM\x64", 4, "an AArch64 Linux image" },
        { 48, "RISCV", 5, "a RISC-V Linux image" },
        { 0, "QFI\xfb", 4, "a qcow2 disk image: give it as -drive file=..." },
        { 0, "070701", 6, "a cpio archive: an initrd goes to -initrd" },
        { 0x8001, "CD001", 5, "an ISO 9660 image: give it as -cdrom" },
        { 0, "MZ", 2, "an EFI or DOS program without a Linux boot header" },
        { 510, "\x55\xaa", 2, "a disk with a boot sector: give it as -drive file=..." },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        if (known[i].at + known[i].len <= n && !memcmp(p + known[i].at, known[i].magic, known[i].len)) {
            return known[i].is;
        }
    }
    return NULL;
}

bool boot_refuse(const BootRequest *r, Error **errp)
{
    gsize n;
    const uint8_t *p = g_bytes_get_data(r->file, &n);
    const char *guess = boot_guess(p, n);
    error_fail(errp, "invalid-value", "kernel", NULL,
               "-kernel file '%s' is not a kernel: no Linux boot header, no Multiboot header, not ELF",
               r->kernel);
    if (guess) {
        error_hint(errp, "it looks like %s", guess);
    } else {
        error_hint(errp, "give a Linux bzImage, a Multiboot 1 kernel, or an ELF file with a PVH entry");
    }
    return false;
}

static bool boot_check_options(const Machine *m, Error **errp)
{
    const char *option = m->initrd ? "-initrd" : m->append && m->append[0] ? "-append" : NULL;
    if (!m->kernel && option) {
        error_fail(errp, "missing-member", "kernel", NULL, "%s has no effect without -kernel", option);
        error_hint(errp, "add -kernel FILE");
        return false;
    }
    return true;
}

bool pc_boot_kernel(Machine *m, Device *fw, const PcLayout *l, const char **rom, Error **errp)
{
    *rom = NULL;
    if (!m->kernel || !m->kernel[0]) {
        return boot_check_options(m, errp);
    }
    BootRequest r = {
        .m = m, .fw = fw, .layout = l, .kernel = m->kernel, .append = m->append ? m->append : "",
        .initrd = m->initrd && m->initrd[0] ? m->initrd : NULL,
    };
    g_autoptr(GBytes) file = loader_read_file("-kernel", r.kernel, UINT32_MAX, errp);
    if (!file) {
        return false;
    }
    r.file = file;
    if (boot_linux_probe(file)) {
        *rom = BOOT_ROM_LINUX;
        return boot_linux_load(&r, errp) &&
               boot_add_rom(fw, BOOT_ROM_LINUX, rom_linuxboot, rom_linuxboot_size, errp);
    }
    *rom = BOOT_ROM_FLAT;
    if (boot_multiboot_probe(file)) {
        return boot_multiboot_load(&r, errp);
    }
    return loader_is_elf(file) ? boot_pvh_load(&r, errp) : boot_refuse(&r, errp);
}
