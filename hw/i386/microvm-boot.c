/* SPDX-License-Identifier: MIT
 * hw/i386/microvm-boot.c - how the board "microvm" starts: a kernel entered directly with tables in memory,
 * or firmware that finds everything in fw_cfg.
 *
 * Models: ACPI tables and the MP table between E0000h and FFFFFh; "virtio_mmio.device=" (Linux,
 *         admin-guide/kernel-parameters) for guests without ACPI.
 * Does not model: SMBIOS, boot order.
 * Threads: main loop; entered at reset, while the CPUs are parked.
 */
#include "microvm.h"
#include "mptable.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/ged.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <string.h>

#define MICROVM_BIOS "bios-microvm.bin"
enum {
    BIOS_UNIT = 0x10000,
    BIOS_MAX = 0x1000000,
    BIOS_LOW_MAX = 0x20000,
    TABLES = 0xe0000,
    TABLES_END = 0x100000,
    MP_AT = 0xf0000,
    LOW_END = 0x9fc00,
    CPU_SIGNATURE = 0x600,
    CPU_FEATURES = 0x201, /* of the MP table: nobody decides anything by these */
};

unsigned microvm_virtio_irq(const MicrovmBoard *s, unsigned i)
{
    static const uint8_t isa[MICROVM_TRANSPORTS] = { 5, 6, 7, 9, 10, 11, 12, 14 };
    return s->acpi != OFF ? MICROVM_VIRTIO_GSI + i : isa[i];
}

/* ---- firmware ---- */

static bool map_bios(Machine *m, MicrovmBoard *s, const char *path, Error **errp)
{
    s->bios_file = loader_read_file("-bios", path, BIOS_MAX, errp);
    if (!s->bios_file) {
        return false;
    }
    gsize n = g_bytes_get_size(s->bios_file), low = MIN(n, BIOS_LOW_MAX);
    if (n % BIOS_UNIT) {
        error_fail(errp, "invalid-value", "bios", NULL,
                   "-bios file '%s' has %zu bytes, which is not a multiple of 64 KiB", path, (size_t)n);
        error_hint(errp, "give a complete firmware image, such as " MICROVM_BIOS " of the package seabios");
        return false;
    }
    s->bios = ram_new(m, "microvm.bios", n, errp);
    if (!s->bios) {
        return false;
    }
    region_init_ram(&s->bios_high, NULL, "bios", s->bios);
    region_map(&m->sysmem, 4 * GIB - n, &s->bios_high, 1);
    region_init_alias(&s->bios_low, NULL, "bios-low", &s->bios_high, n - low, low);
    region_map(&m->sysmem, MIB - low, &s->bios_low, 1);
    return true;
}

bool microvm_prepare_boot(Machine *m, MicrovmBoard *s, Error **errp)
{
    bool kernel = m->kernel && m->kernel[0], bios = m->bios && m->bios[0];
    if (kernel && !bios) {
        s->is_direct = true;
        direct_boot_init(&s->direct);
        return true;
    }
    if (kernel && !s->option_roms) {
        error_fail(errp, "conflict", "x-option-roms", NULL,
                   "-machine x-option-roms=off: with -bios the kernel is loaded by an option ROM");
        error_hint(errp, "leave -bios out: then the kernel is entered without firmware");
        return false;
    }
    g_autofree char *path = machine_find_firmware(m, bios ? m->bios : MICROVM_BIOS, errp);
    if (!path && !bios) {
        error_hint(errp,
                   "give a kernel (-kernel FILE), which needs no firmware here, or install " MICROVM_BIOS);
    }
    return path && map_bios(m, s, path, errp);
}

/* ---- the kernel's command line ---- */

/* g_free */
static char *make_command_line(const Machine *m, const MicrovmBoard *s)
{
    GString *text = g_string_new(m->append);
    for (unsigned i = 0; s->acpi == OFF && s->auto_cmdline && i < MICROVM_TRANSPORTS; i++) {
        if (virtio_mmio_used(s->transport[i])) {
            g_string_append_printf(text, "%svirtio_mmio.device=%d@0x%x:%u", text->len ? " " : "",
                                   VIRTIO_MMIO_SIZE, MICROVM_VIRTIO_BASE + i * VIRTIO_MMIO_SIZE,
                                   microvm_virtio_irq(s, i));
        }
    }
    return g_string_free(text, FALSE);
}

/* ---- tables ---- */

static void add_range(DirectBoot *d, uint64_t at, uint64_t end, uint32_t type)
{
    if (at < end) {
        d->map[d->n_map++] = (E820Entry){ at, end - at, type };
    }
}

static void make_map(DirectBoot *d, const PcLayout *l)
{
    add_range(d, 0, MIN(LOW_END, l->below_4g), E820_RAM);
    add_range(d, LOW_END, 0xa0000, E820_RESERVED);
    add_range(d, TABLES, TABLES_END, E820_RESERVED);
    add_range(d, MIB, l->below_4g, E820_RAM);
    add_range(d, 4 * GIB, 4 * GIB + l->above_4g, E820_RAM);
}

/* RSDP and tables, where kernels that were not told would look for them (ACPI 6.3, 5.2.5.1). */
static bool add_acpi(MicrovmBoard *s, Error **errp)
{
    enum { RSDP_SIZE = 64 };
    AcpiBuilder b;
    acpi_builder_init(&b);
    microvm_acpi_build(&b, s);
    bool ok = b.tables->len <= TABLES_END - TABLES - RSDP_SIZE;
    if (ok) {
        acpi_link_at(&b, TABLES + RSDP_SIZE);
        s->direct.rsdp = TABLES;
        direct_boot_add_take(&s->direct, TABLES, g_steal_pointer(&b.rsdp));
        direct_boot_add_take(&s->direct, TABLES + RSDP_SIZE, g_steal_pointer(&b.tables));
        b.rsdp = g_byte_array_new();
        b.tables = g_byte_array_new();
    } else {
        error_set(errp, "ACPI tables of %u bytes do not fit below 1 MiB", b.tables->len);
        error_hint(errp, "use fewer CPUs or NUMA nodes");
    }
    acpi_builder_fini(&b);
    return ok;
}

static void add_mp_table(MicrovmBoard *s)
{
    MpTable mp = { .apic_id = s->tables.apic_id,
                   .n_cpus = s->tables.n_cpus,
                   .signature = CPU_SIGNATURE,
                   .features = CPU_FEATURES };
    mp.ioapic_id = s->tables.apic_id[s->tables.n_cpus - 1] + 1; /* another than the CPUs' (3.6.6) */
    for (unsigned i = 0; i < MICROVM_TRANSPORTS; i++) {
        mp.level |= 1u << microvm_virtio_irq(s, i);
    }
    direct_boot_add_take(&s->direct, MP_AT, mp_table_build(&mp, MP_AT));
}

static bool prepare_direct(Machine *m, MicrovmBoard *s, Error **errp)
{
    g_autofree char *append = make_command_line(m, s);
    BootRequest r = { .m = m,
                      .layout = &s->layout,
                      .kernel = m->kernel,
                      .append = append,
                      .initrd = m->initrd && m->initrd[0] ? m->initrd : NULL };
    make_map(&s->direct, &s->layout);
    s->direct.reset_register = s->ged ? MICROVM_GED_BASE + GED_RESET : 0;
    s->direct.reset_value = GED_RESET_VALUE;
    if (s->acpi != OFF ? !add_acpi(s, errp) : (add_mp_table(s), false)) {
        return false;
    }
    s->direct.long_mode = m->cpus && x86_has_feature(x86_cpu(m->cpus[0]), "lm");
    return direct_boot_load(&s->direct, &r, errp);
}

/* What firmware reads. */
static bool publish_firmware(Machine *m, MicrovmBoard *s, Error **errp)
{
    const char *rom = NULL;
    if (s->acpi != OFF) {
        AcpiBuilder b;
        acpi_builder_init(&b);
        microvm_acpi_build(&b, s);
        bool ok = fw_cfg_add_file_bytes(s->fw, ACPI_FILE_RSDP, b.rsdp->data, b.rsdp->len, errp) &&
                  fw_cfg_add_file_bytes(s->fw, ACPI_FILE_TABLES, b.tables->data, b.tables->len, errp) &&
                  fw_cfg_add_file_bytes(s->fw, ACPI_FILE_LOADER, b.loader->data, b.loader->len, errp);
        acpi_builder_fini(&b);
        if (!ok) {
            return false;
        }
    }
    g_autofree char *append = make_command_line(m, s), *was = NULL;
    if (m->kernel && m->kernel[0]) {
        was = m->append;
        m->append = g_steal_pointer(&append);
    }
    if (!pc_boot_kernel(m, s->fw, &s->layout, &rom, errp)) {
        return false;
    }
    return pc_publish_boot_order(m, s->fw, rom, errp);
}

bool microvm_publish(Machine *m, MicrovmBoard *s, Error **errp)
{
    uint8_t uuid[16] = { 0 };
    if (m->uuid && m->uuid[0] && !text_to_uuid(m->uuid, uuid)) {
        return error_fail(errp, "invalid-value", "uuid", "it looks like 12345678-1234-1234-1234-123456789abc",
                          "-uuid %s is not a UUID", m->uuid);
    }
    g_autoptr(GBytes) e820 = pc_e820_table(&s->layout);
    fw_cfg_add_bytes(s->fw, FW_CFG_UUID, uuid, sizeof(uuid));
    fw_cfg_add_u64(s->fw, FW_CFG_RAM_SIZE, m->ram_size);
    fw_cfg_add_u16(s->fw, FW_CFG_NOGRAPHIC, !s->graphics);
    fw_cfg_add_u16(s->fw, FW_CFG_NB_CPUS, m->n_cpus);
    fw_cfg_add_u16(s->fw, FW_CFG_MAX_CPUS, MAX(m->max_cpus, m->n_cpus));
    fw_cfg_add_u32(s->fw, FW_CFG_IRQ0_OVERRIDE, 1);
    if (!fw_cfg_add_file(s->fw, "etc/e820", e820, errp) || !fw_cfg_add_user_files(s->fw, errp)) {
        return false;
    }
    return s->is_direct ? prepare_direct(m, s, errp) : publish_firmware(m, s, errp);
}

void microvm_enter(Machine *m, MicrovmBoard *s)
{
    if (s->is_direct) {
        direct_boot_enter(&s->direct, m);
    } else if (s->bios) {
        gsize n;
        const void *p = g_bytes_get_data(s->bios_file, &n);
        as_access(&m->as_mem, 4 * GIB - n, (void *)p, n, true, (MemAttrs){ 0 });
    }
}
