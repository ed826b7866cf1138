/* SPDX-License-Identifier: MIT
 * hw/i386/pc-firmware.c - the firmware image, and everything the board tells firmware: CMOS, fw_cfg, boot
 *   order.
 *
 * Models: CMOS bytes of PC firmware: 0Fh shutdown status, 10h floppies, 14h equipment, 15h-18h, 30h-31h
 *         memory sizes in KiB, 34h-35h memory above 16 MiB and 5Bh-5Dh above 4 GiB in units of 64 KiB, 38h
 *         and 3Dh boot order, 5Fh number of further CPUs; the fw_cfg items that SeaBIOS and OVMF read.
 * Firmware comes from -bios, or is in flash chips below 4 GiB: unit 0 ends there, unit 1 lies below it.
 * Threads: main loop, before the machine runs; the boot order also at reset.
 */
#include "pc.h"
#include "shadow.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/pc.h"
#include "rhea/backends/drive.h"
#include "rhea/hw/fdc.h"
#include "rhea/hw/loader.h"
#include "rhea/hw/pflash.h"
#include "rhea/hw/timer.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <string.h>

#define PC_DEFAULT_BIOS "bios-256k.bin"
enum { BIOS_UNIT = 0x10000, BIOS_MAX = 0x1000000, FLASH_MAX = 0x800000 };

/* What fills a flash chip's place: a node of -machine, or a -drive; *name is NULL: nothing. */
static bool pc_flash_image(Machine *m, PcBoard *s, unsigned unit, const char **name, Error **errp)
{
    *name = s->pflash[unit] && s->pflash[unit][0] ? s->pflash[unit] : NULL;
    for (unsigned i = 0; i < drive_count(m); i++) {
        const Drive *d = drive_at(m, i);
        if (d->iface == DRIVE_INTERFACE_PFLASH && d->unit == unit) {
            if (*name) {
                return error_fail(errp, "conflict", "pflash0", "leave out one of them",
                                  "-machine pflash%u=%s and drive '%s' exclude each other", unit, *name,
                                  d->id);
            }
            *name = d->id;
        }
    }
    return true;
}

static bool pc_flash_check(Machine *m, const char *const *name, Error **errp)
{
    if (!name[0]) {
        error_fail(errp, "missing-member", "unit", NULL,
                   "there is flash for variables (unit 1), and none with firmware (unit 0)");
        error_hint(errp, "add -drive if=pflash,unit=0,readonly=on,file=FILE; OVMF_CODE_4M.fd is such a file");
        return false;
    }
    if (m->bios && m->bios[0]) {
        error_fail(errp, "conflict", "bios", NULL,
                   "-bios %s and firmware in flash (if=pflash) exclude each other", m->bios);
        error_hint(errp, "leave one of them out");
        return false;
    }
    return true;
}

/* *found: there is flash. */
static bool pc_create_flash(Machine *m, PcBoard *s, bool *found, Error **errp)
{
    const char *name[2];
    uint64_t top = 4 * GIB;
    if (!pc_flash_image(m, s, 0, &name[0], errp) || !pc_flash_image(m, s, 1, &name[1], errp)) {
        return false;
    }
    *found = name[0] || name[1];
    if (*found && !pc_flash_check(m, name, errp)) {
        return false;
    }
    for (unsigned i = 0; i < 2 && name[i]; i++) {
        g_autofree char *id = g_strdup_printf("pflash%u", i);
        Device *dev = device_create(m, &pflash_type, m->unattached, id, NULL, errp, "drive", name[i], NULL);
        if (!dev) {
            return false;
        }
        top -= pflash_ram(dev)->size;
        if (top < 4 * GIB - FLASH_MAX) {
            return error_fail(errp, "too-large", "pflash0", "name smaller images",
                              "the firmware's flash has more than %u MiB, for which there is no room",
                              FLASH_MAX >> 20);
        }
        region_map(s->pci_mem, top, device_region(dev, 0), 0);
        if (i == 0) {
            pc_shadow_set_bios(s->shadow, pflash_ram(dev));
        }
    }
    return true;
}

bool pc_load_bios(Machine *m, PcBoard *s, Error **errp)
{
    bool flash;
    if (!pc_create_flash(m, s, &flash, errp)) {
        return false;
    }
    if (flash) {
        return true;
    }
    const char *name = m->bios && m->bios[0] ? m->bios : PC_DEFAULT_BIOS;
    g_autofree char *path = machine_find_firmware(m, name, errp);
    g_autoptr(GBytes) data = path ? loader_read_file("-bios", path, BIOS_MAX, errp) : NULL;
    if (!data) {
        return false;
    }
    gsize n;
    const void *p = g_bytes_get_data(data, &n);
    if (n % BIOS_UNIT) {
        error_fail(errp, "invalid-value", "bios", NULL,
                   "-bios file '%s' has %zu bytes, which is not a multiple of 64 KiB", path, (size_t)n);
        error_hint(errp,
                   "give a complete firmware image, such as " PC_DEFAULT_BIOS " of the package seabios");
        return false;
    }
    s->bios = ram_new(m, "pc.bios", n, errp);
    if (!s->bios) {
        return false;
    }
    memcpy(s->bios->host, p, n);
    ram_written(s->bios, 0, n);
    region_init_rom(&s->bios_region, NULL, "bios", s->bios);
    region_map(s->pci_mem, 4 * GIB - n, &s->bios_region, 0);
    pc_shadow_set_bios(s->shadow, s->bios);
    return true;
}

/* ---- boot order ---- */

/* The BIOS's numbers of boot devices. */
static int pc_boot_nibble(char c)
{
    switch (c) {
    case 'a': case 'b': return 1; /* floppy */
    case 'c': return 2;           /* hard disk */
    case 'd': return 3;           /* CD-ROM */
    case 'n': return 4;           /* network */
    default: return -1;
    }
}

static bool pc_check_order(const char *option, const char *order, Error **errp)
{
    if (strlen(order) > 3) {
        return error_fail(errp, "too-many", "order", "leave some out",
                          "-boot %s=%s: at most three boot devices are possible", option, order);
    }
    for (const char *p = order; *p; p++) {
        if (pc_boot_nibble(*p) < 0) {
            error_fail(errp, "invalid-value", "order", NULL,
                       "-boot %s=%s: '%c' is not a boot device", option, order, *p);
            error_hint(errp, "a: floppy, c: hard disk, d: CD-ROM, n: network");
            return false;
        }
    }
    return true;
}

bool pc_check_boot_order(PcBoard *s, Machine *m, Error **errp)
{
    s->boot_order = g_strdup(m->boot_order && m->boot_order[0] ? m->boot_order : "cad");
    s->boot_once = m->boot_once && m->boot_once[0] ? g_strdup(m->boot_once) : NULL;
    return pc_check_order("order", s->boot_order, errp) &&
           (!s->boot_once || pc_check_order("once", s->boot_once, errp));
}

void pc_set_boot_order(PcBoard *s, const char *order)
{
    int n[3] = { 0 };
    for (unsigned i = 0; i < 3 && order[i]; i++) {
        n[i] = pc_boot_nibble(order[i]);
    }
    mc146818_set_cmos(s->rtc, 0x3d, n[1] << 4 | n[0]);
    mc146818_set_cmos(s->rtc, 0x38, n[2] << 4 | (s->fd_bootchk ? 0 : 1));
}

bool pc_boot_set(Machine *m, const char *order, Error **errp)
{
    if (m->board != &pc_board && m->board != &q35_board) {
        return error_set(errp, "machine type '%s' has no list of boot devices", m->board->name);
    }
    PcBoard *s = m->board_state;
    if (!order[0] || !pc_check_order("order", order, errp)) {
        return order[0] ? false : error_set(errp, "no boot device is given");
    }
    g_free(s->boot_order);
    s->boot_order = g_strdup(order);
    g_clear_pointer(&s->boot_once, g_free);
    domain_lock(m->platform);
    pc_set_boot_order(s, order);
    domain_unlock(m->platform);
    return true;
}

/* ---- CMOS ---- */

static void pc_cmos16(PcBoard *s, unsigned index, uint64_t v)
{
    v = MIN(v, 0xffff);
    mc146818_set_cmos(s->rtc, index, v);
    mc146818_set_cmos(s->rtc, index + 1, v >> 8);
}

/* Byte 10h: the kinds of drives A and B; 14h: FPU, PS/2 mouse, and how many floppy drives. */
static void pc_fill_floppies(PcBoard *s)
{
    Device *fdc = pc_find_fdc(s);
    unsigned a = fdc ? fdc_drive_kind(fdc, 0) : 0, b = fdc ? fdc_drive_kind(fdc, 1) : 0, n = !!a + !!b;
    mc146818_set_cmos(s->rtc, 0x10, (uint8_t)(a << 4 | b));
    mc146818_set_cmos(s->rtc, 0x14, (uint8_t)(0x06 | (n ? 1 | (n - 1) << 6 : 0)));
}

static void pc_fill_cmos(Machine *m, PcBoard *s)
{
    uint64_t low = s->layout.below_4g, high = s->layout.above_4g / BIOS_UNIT;
    pc_cmos16(s, 0x15, MIN(low / KIB, 640));
    pc_cmos16(s, 0x17, low > MIB ? (low - MIB) / KIB : 0);
    pc_cmos16(s, 0x30, low > MIB ? (low - MIB) / KIB : 0);
    pc_cmos16(s, 0x34, low > 16 * MIB ? (low - 16 * MIB) / BIOS_UNIT : 0);
    pc_cmos16(s, 0x5b, high & 0xffff);
    mc146818_set_cmos(s->rtc, 0x5d, high >> 16);
    mc146818_set_cmos(s->rtc, 0x5f, m->n_cpus - 1);
    mc146818_set_cmos(s->rtc, 0x0f, 0);
    pc_fill_floppies(s);
    mc146818_set_cmos(s->rtc, 0x2d, 0);
    pc_set_boot_order(s, s->boot_once ? s->boot_once : s->boot_order);
}

/* ---- fw_cfg ---- */

/* The number of nodes, the node of each APIC id, the memory of each node: for firmware that builds its own
 * tables. */
static void pc_publish_numa(const MachineNuma *numa, Device *fw, const PcAcpi *t)
{
    unsigned ids = t->max_cpus ? t->apic_id[t->max_cpus - 1] + 1 : 0, nodes = numa ? numa->n : 0;
    g_autofree uint64_t *v = g_new0(uint64_t, 1 + ids + nodes);
    v[0] = GUINT64_TO_LE(nodes);
    for (unsigned i = 0; numa && i < t->max_cpus; i++) {
        v[1 + t->apic_id[i]] = GUINT64_TO_LE((uint64_t)numa->cpu_node[i]);
    }
    for (unsigned i = 0; i < nodes; i++) {
        v[1 + ids + i] = GUINT64_TO_LE(numa_node_size(&numa->node[i]));
    }
    fw_cfg_add_bytes(fw, FW_CFG_NUMA, v, (1 + ids + nodes) * sizeof(*v));
}

static bool pc_publish_numbers(Machine *m, PcBoard *s, Error **errp)
{
    Device *fw = s->fw;
    uint8_t uuid[16] = { 0 };
    if (m->uuid && m->uuid[0] && !text_to_uuid(m->uuid, uuid)) {
        return error_fail(errp, "invalid-value", "uuid", "it looks like 12345678-1234-1234-1234-123456789abc",
                          "-uuid %s is not a UUID", m->uuid);
    }
    unsigned max_cpus = MAX(m->max_cpus, m->n_cpus);
    fw_cfg_add_bytes(fw, FW_CFG_UUID, uuid, sizeof(uuid));
    fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, m->ram_size);
    fw_cfg_add_u16(fw, FW_CFG_NOGRAPHIC, !s->graphics);
    fw_cfg_add_u16(fw, FW_CFG_NB_CPUS, m->n_cpus);
    fw_cfg_add_u16(fw, FW_CFG_MAX_CPUS, max_cpus);
    fw_cfg_add_u16(fw, FW_CFG_BOOT_DEVICE, s->boot_order[0]);
    fw_cfg_add_u16(fw, FW_CFG_BOOT_MENU, m->boot_menu);
    fw_cfg_add_u32(fw, FW_CFG_IRQ0_OVERRIDE, 1);
    pc_publish_numa(m->numa, fw, &s->tables);
    return true;
}

/* Lines of device paths; firmware puts what it does not find here behind. Without any the file is there, too:
 * a device that comes later needs its place. */
bool pc_publish_boot_order(Machine *m, Device *fw, const char *kernel_rom, Error **errp)
{
    g_autoptr(GString) order = g_string_new(NULL);
    if (kernel_rom) {
        g_string_append_printf(order, "/rom@%s\n", kernel_rom);
    }
    machine_boot_paths(m, order);
    if (m->boot_strict) {
        g_string_append(order, "HALT\n");
    }
    if (order->len) { /* the last line ends with a NUL */
        order->str[order->len - 1] = '\0';
    }
    return fw_cfg_add_file_bytes(fw, "bootorder", order->str, order->len, errp);
}

void pc_renew_boot_order(Machine *m, PcBoard *s)
{
    g_autoptr(Error) err = NULL;
    if (!pc_publish_boot_order(m, s->fw, s->kernel_rom, &err)) {
        log_warn("the boot order stays what it was: %s", error_text(err));
    }
}

static bool pc_publish_boot(Machine *m, PcBoard *s, Error **errp)
{
    if (!pc_publish_boot_order(m, s->fw, s->kernel_rom, errp)) {
        return false;
    }
    if (m->boot_menu_timeout_ms > 0) {
        uint16_t wait = GUINT16_TO_LE(MIN(m->boot_menu_timeout_ms, 0xffff));
        if (!fw_cfg_add_file_bytes(s->fw, "etc/boot-menu-wait", &wait, sizeof(wait), errp)) {
            return false;
        }
    }
    if (m->boot_reboot_timeout_ms >= 0) {
        uint32_t wait = GUINT32_TO_LE((uint32_t)m->boot_reboot_timeout_ms);
        if (!fw_cfg_add_file_bytes(s->fw, "etc/boot-fail-wait", &wait, sizeof(wait), errp)) {
            return false;
        }
    }
    if (m->boot_splash && m->boot_splash[0]) {
        g_autofree char *path = machine_find_firmware(m, m->boot_splash, errp);
        g_autoptr(GBytes) data = path ? loader_read_file("-boot splash", path, 16 * MIB, errp) : NULL;
        if (!data) {
            return false;
        }
        const uint8_t *p = g_bytes_get_data(data, NULL);
        bool bmp = g_bytes_get_size(data) > 2 && p[0] == 'B' && p[1] == 'M';
        return fw_cfg_add_file(s->fw, bmp ? "bootsplash.bmp" : "bootsplash.jpg", data, errp);
    }
    return true;
}

bool pc_publish(Machine *m, PcBoard *s, Error **errp)
{
    static const uint8_t states[6] = { 0x80, 0, 0, 0, 0, 0x80 }; /* S0 and S5, both with sleep type 0 */
    g_autoptr(GBytes) e820 = pc_e820_table(&s->layout);
    if (!pc_publish_numbers(m, s, errp) || !fw_cfg_add_file(s->fw, "etc/e820", e820, errp) ||
        !fw_cfg_add_file_bytes(s->fw, "etc/system-states", states, sizeof(states), errp) ||
        !pc_smbios_build(m, s->fw, &s->layout, errp) ||
        !pc_boot_kernel(m, s->fw, &s->layout, &s->kernel_rom, errp) || !pc_publish_boot(m, s, errp)) {
        return false;
    }
    if (s->acpi != OFF && !pc_acpi_publish(&s->tables, s->fw, errp)) {
        return false;
    }
    pc_fill_cmos(m, s);
    return fw_cfg_add_user_files(s->fw, errp);
}
