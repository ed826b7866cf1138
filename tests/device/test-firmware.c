/* SPDX-License-Identifier: MIT
 * tests/device/test-firmware.c - what firmware is told: fw_cfg with its DMA, ACPI tables (checked by iasl),
 * SMBIOS (checked by dmidecode), -kernel files good and broken, a kernel entered without firmware.
 * Covers hw/misc/fw_cfg.c, hw/acpi/aml.c, pcihp-aml.c, tables.c, hw/core/loader.c, hw/i386/acpi-pc.c,
 * acpi-numa.c, smbios.c, e820.c, boot-rom.c, boot-linux.c, boot-multiboot.c, boot-pvh.c, boot-direct.c.
 */
#include "pctest.h"
#include "hw/i386/acpi-pc.h"
#include "rhea/hw/pcie.h"
#include "hw/i386/boot.h"
#include <glib/gstdio.h>
#include <unistd.h>

/* ---- fw_cfg ---- */

static void store_be(PcTest *t, hwaddr at, uint64_t v, unsigned n)
{
    uint8_t b[8];
    for (unsigned i = 0; i < n; i++) {
        b[i] = v >> (8 * (n - 1 - i));
    }
    as_access(&t->m->as_mem, at, b, n, true, MEM_ATTRS_NONE);
}

static uint32_t dma(PcTest *t, uint32_t control, uint32_t len, uint64_t addr)
{
    store_be(t, 0x1000, control, 4);
    store_be(t, 0x1004, len, 4);
    store_be(t, 0x1008, addr, 8);
    pctest_out(t, 0x514, 0, 4);
    pctest_out(t, 0x518, GUINT32_SWAP_LE_BE(0x1000), 4);
    return GUINT32_SWAP_LE_BE((uint32_t)pctest_read(t, 0x1000, 4));
}

static void test_ports(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    fw_cfg_add_file_bytes(t->fw, "opt/one", "hello", 5, &error_abort_slot);
    fw_cfg_add_file_bytes(t->fw, "opt/two", "", 0, &error_abort_slot);
    g_autoptr(GBytes) sig = pctest_item(t, FW_CFG_SIGNATURE, 6), id = pctest_item(t, FW_CFG_ID, 4);
    g_assert_cmpmem(g_bytes_get_data(sig, NULL), 6, "QEMU\0\0", 6); /* zeroes behind the end */
    g_assert_cmpmem(g_bytes_get_data(id, NULL), 4, "\3\0\0\0", 4);
    g_autoptr(GBytes) one = pctest_file(t, "opt/one"), none = pctest_file(t, "opt/none");
    g_assert_cmpmem(g_bytes_get_data(one, NULL), g_bytes_get_size(one), "hello", 5);
    g_assert_null(none);
    /* a second add replaces */
    fw_cfg_add_file_bytes(t->fw, "opt/one", "bye", 3, &error_abort_slot);
    g_autoptr(GBytes) again = pctest_file(t, "opt/one");
    g_assert_cmpmem(g_bytes_get_data(again, NULL), g_bytes_get_size(again), "bye", 3);
    g_assert_cmphex(pctest_in(t, 0x514, 4), ==, GUINT32_SWAP_LE_BE(0x51454d55));
    g_assert_cmphex(pctest_in(t, 0x518, 4), ==, GUINT32_SWAP_LE_BE(0x20434647));
    pctest_out(t, 0x510, 0x7777, 2); /* no such item */
    g_assert_cmphex(pctest_in(t, 0x511, 1), ==, 0);
    g_autoptr(Error) err = NULL, err2 = NULL;
    g_assert_false(fw_cfg_add_file_bytes(
        t->fw, "opt/a-name-that-is-fifty-six-bytes-long-and-so-does-not-fit!", "", 0, &err));
    for (unsigned i = 0; i < FW_CFG_FILE_SLOTS - 2; i++) {
        g_autofree char *name = g_strdup_printf("opt/fill/%u", i);
        fw_cfg_add_file_bytes(t->fw, name, "x", 1, &error_abort_slot);
    }
    g_assert_false(fw_cfg_add_file_bytes(t->fw, "opt/too-many", "", 0, &err2));
    pctest_free(t);
}

static void test_dma(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    fw_cfg_add_bytes(t->fw, 0x18, "abcdefgh", 8);
    g_assert_cmphex(dma(t, 0x18 << 16 | 0x0a, 4, 0x2000), ==, 0);
    g_assert_cmphex(pctest_read(t, 0x2000, 4), ==, 0x64636261);
    g_assert_cmphex(dma(t, 0x04, 2, 0), ==, 0);      /* skip */
    g_assert_cmphex(dma(t, 0x02, 2, 0x2000), ==, 0); /* goes on behind */
    g_assert_cmphex(pctest_read(t, 0x2000, 4), ==, 0x64636867);
    g_assert_cmphex(dma(t, 0x02, 4, 0x2000), ==, 0); /* beyond the end: zeroes */
    g_assert_cmphex(pctest_read(t, 0x2000, 4), ==, 0);
    /* refused or hostile: an error bit, never a crash */
    g_assert_cmphex(dma(t, 0x18 << 16 | 0x18, 4, 0x2000), ==, 1);              /* write */
    g_assert_cmphex(dma(t, 0x18 << 16 | 0x18, 0, 0x2000), ==, 1);              /* of nothing */
    g_assert_cmphex(dma(t, 0xffffu << 16 | 0x18, 0, 0x2000), ==, 1);           /* to no item */
    g_assert_cmphex(dma(t, 0x18 << 16 | 0x0a, 8, 0xfff0000000), ==, 1);        /* no such memory */
    g_assert_cmphex(dma(t, 0x18 << 16 | 0x0a, 0xffffffff, UINT64_MAX - 8), ==, 1);
    g_assert_cmphex(dma(t, 0x18 << 16 | 0x0a, 0xffffffff, 0xff0000), ==, 1);   /* runs off the end of RAM */
    dma(t, 0x18 << 16 | 0x0a, 16, 0x1000); /* over its own command block */
    g_assert_cmphex(dma(t, 0x04, 0xffffffff, 0), ==, 0);
    g_assert_cmphex(dma(t, 0x04, 0xffffffff, 0), ==, 0);                       /* the offset saturates */
    g_assert_cmphex(dma(t, 0x02, 1, 0x2000), ==, 0);
    g_assert_cmphex(dma(t, 0, 0, 0), ==, 0);
    pctest_out(t, 0x514, 0xffffffff, 4); /* a command block that is nowhere */
    pctest_out(t, 0x518, 0xffffffff, 4);
    pctest_out(t, 0x514, 0, 1);          /* odd sizes do nothing */
    pctest_out(t, 0x51b, 7, 1);
    g_autoptr(GRand) r = g_rand_new_with_seed(7);
    for (unsigned i = 0; i < 300; i++) {
        dma(t, (g_rand_int(r) & 0x1f) | g_rand_int_range(r, 0, 0x40) << 16, g_rand_int(r) & 0xffff,
            g_rand_int(r) & 0x1ffffff);
    }
    pctest_free(t);
}

static GBytes *replace_hook(void *opaque, GBytes *was)
{
    unsigned *n = opaque;
    return ++*n == 1 ? g_bytes_new("NEW", 3) : g_bytes_new("longer", 6 + 0 * g_bytes_get_size(was));
}

static void test_hook(void)
{
    PcTest *t = pctest_new(16 * MIB, NULL);
    unsigned calls = 0;
    fw_cfg_add_file_bytes(t->fw, "etc/x", "old", 3, &error_abort_slot);
    fw_cfg_set_hook(t->fw, "etc/x", replace_hook, &calls);
    for (unsigned i = 0; i < 2; i++) { /* contents of another length are not taken */
        g_autoptr(GBytes) b = pctest_file(t, "etc/x");
        g_assert_cmpmem(g_bytes_get_data(b, NULL), g_bytes_get_size(b), "NEW", 3);
    }
    g_assert_cmpuint(calls, ==, 2);
    pctest_free(t);
}

/* ---- ACPI ---- */

static uint32_t le32(const uint8_t *p)
{
    return boot_le32(p);
}

typedef struct Linked { GByteArray *tables, *rsdp, *guid, *addr; } Linked; /* the last two: of vmgenid */
enum { TABLES_AT = 0x7fe0000, RSDP_AT = 0xf6000, GUID_AT = 0x7fd0000 };

/* Does what firmware does with the loader script. */
static GByteArray *linked_file(Linked *l, const uint8_t *name)
{
    return !strcmp((const char *)name, ACPI_FILE_RSDP)     ? l->rsdp
           : !strcmp((const char *)name, ACPI_FILE_TABLES) ? l->tables
           : g_str_equal(name, "etc/vmgenid_guid")         ? l->guid
           : g_str_equal(name, "etc/vmgenid_addr")         ? l->addr
                                                           : NULL;
}

static Linked run_loader(const AcpiBuilder *b)
{
    Linked l = { g_byte_array_new(), g_byte_array_new(), g_byte_array_new(), g_byte_array_new() };
    g_byte_array_set_size(l.guid, 4096);
    g_byte_array_set_size(l.addr, 8);
    g_byte_array_append(l.tables, b->tables->data, b->tables->len);
    g_byte_array_append(l.rsdp, b->rsdp->data, b->rsdp->len);
    g_assert_cmpuint(b->loader->len % 128, ==, 0);
    unsigned allocated = 0;
    for (guint i = 0; i < b->loader->len; i += 128) {
        const uint8_t *c = b->loader->data + i;
        GByteArray *f = linked_file(&l, c + 4);
        g_assert_nonnull(f);
        switch (le32(c)) {
        case 1:
            allocated++;
            break;
        case 2: {
            GByteArray *to = linked_file(&l, c + 60);
            g_assert_cmpuint(allocated, >=, 2);
            uint32_t at = le32(c + 116), n = c[120];
            g_assert_cmpuint(at + n, <=, f->len);
            uint64_t v = 0;
            memcpy(&v, f->data + at, n);
            g_assert_cmpuint(v, <, to->len);
            v += to == l.tables ? TABLES_AT : to == l.guid ? GUID_AT : RSDP_AT;
            memcpy(f->data + at, &v, n);
            break;
        }
        case 3: {
            uint32_t at = le32(c + 60), start = le32(c + 64), len = le32(c + 68);
            uint8_t sum = 0;
            g_assert_cmpuint(start + len, <=, f->len);
            for (uint32_t k = 0; k < len; k++) {
                sum += f->data[start + k];
            }
            f->data[at] -= sum;
            break;
        }
        case 4: {
            g_assert_true(f == l.addr && linked_file(&l, c + 60) == l.guid);
            g_assert_cmpuint(le32(c + 116), ==, 0);
            g_assert_cmpuint(c[124], ==, 8);
            uint64_t v = GUINT64_TO_LE((uint64_t)GUID_AT + le32(c + 120));
            memcpy(f->data, &v, sizeof(v));
            break;
        }
        default:
            g_assert_not_reached();
        }
    }
    return l;
}

static void linked_free(Linked *l)
{
    GByteArray *all[] = { l->tables, l->rsdp, l->guid, l->addr };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        g_byte_array_unref(all[i]);
    }
}

static const uint8_t *at_pointer(const Linked *l, uint64_t p)
{
    g_assert_cmpuint(p, >=, TABLES_AT);
    g_assert_cmpuint(p - TABLES_AT + 36, <=, l->tables->len);
    const uint8_t *t = l->tables->data + (p - TABLES_AT);
    if (memcmp(t, "FACS", 4)) {
        uint8_t sum = 0;
        for (uint32_t i = 0; i < le32(t + 4); i++) {
            sum += t[i];
        }
        g_assert_cmphex(sum, ==, 0);
    }
    return t;
}

static bool run(const char *dir, const char *command)
{
    g_autofree char *full = g_strdup_printf("cd '%s' && %s >log 2>&1", dir, command);
    int status = system(full);
    return status == 0;
}

/* iasl does not like the name by which guests know vmgenid. */
static void check_with_iasl(const char *dir, const uint8_t *table)
{
    g_autofree char *sig = g_strndup((const char *)table, 4), *path = g_strdup_printf("%s/%s.dat", dir, sig);
    g_assert_true(g_file_set_contents(path, (const char *)table, le32(table + 4), NULL));
    g_autofree char *un = g_strdup_printf("iasl -p %s -d %s.dat", sig, sig);
    g_autofree char *re =
        g_strdup_printf("sed -i s/QEMUVGID/QEMU0001/ %s.dsl && iasl -ve -p again %s.dsl", sig, sig);
    g_autofree char *dsl = g_strdup_printf("%s/%s.dsl", dir, sig), *log = g_strdup_printf("%s/log", dir);
    g_assert_true(run(dir, un));
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(dsl, &text, NULL, NULL));
    g_assert_null(strstr(text, "Invalid"));
    g_assert_null(strstr(text, "Unknown"));
    if (!run(dir, re)) {
        g_autofree char *why = NULL;
        g_file_get_contents(log, &why, NULL, NULL);
        g_error("%s does not compile again: %s", sig, why);
    }
}

static PcAcpi acpi_sample(unsigned n_cpus, uint32_t *ids)
{
    for (unsigned i = 0; i < n_cpus; i++) {
        ids[i] = i;
    }
    return (PcAcpi){ .chipset = &acpi_piix4,
                     .layout = { 128 * MIB, 0 },
                     .n_cpus = n_cpus,
                     .max_cpus = n_cpus,
                     .apic_id = ids,
                     .hpet = true,
                     .i8042 = true,
                     .pit = true,
                     .serial = { { 0x3f8, 4 }, { 0x2f8, 3 } },
                     .n_serial = 2,
                     .pm_base = 0x600 };
}

/* A bus with 32 slots, two of which stay, and two ports. */
static void add_hotplug(PcAcpi *p, AcpiPcihp *h)
{
    static PciFunc func[] = { { .devfn = PCI_DEVFN(2, 0) }, { .devfn = PCI_DEVFN(2, 1) } };
    static Device port[] = { { .bus_data = &func[0] }, { .bus_data = &func[1] } };
    static PciBridge bridge[] = { { .dev = &port[0] }, { .dev = &port[1] } };
    static PciBus root = { .n_slots = 32 },
                  behind[] = { { .bridge = &bridge[0], .n_slots = 1 },
                               { .bridge = &bridge[1], .n_slots = 1 } };
    *h = (AcpiPcihp){ .port = 0xae00,
                      .n = 3,
                      .bus = { &root, &behind[0], &behind[1] },
                      .fixed = { 3 | 1 << 2 } };
    p->hotplug = h;
}

static void test_acpi(void)
{
    static const unsigned counts[] = { 1, 4, 255, 260 };
    g_autofree char *iasl = g_find_program_in_path("iasl"), *dir = g_dir_make_tmp("rhea-acpi-XXXXXX", NULL);
    for (unsigned k = 0; k < G_N_ELEMENTS(counts); k++) {
        uint32_t ids[260];
        PcAcpi p = acpi_sample(counts[k], ids);
        AcpiPcihp hotplug;
        if (k & 1) {
            add_hotplug(&p, &hotplug);
        }
        AcpiBuilder b;
        acpi_builder_init(&b);
        pc_acpi_build(&b, &p);
        Linked l = run_loader(&b);
        uint8_t sum20 = 0, sum36 = 0;
        for (unsigned i = 0; i < 36; i++) {
            sum36 += l.rsdp->data[i];
            sum20 += i < 20 ? l.rsdp->data[i] : 0;
        }
        g_assert_cmphex(sum20, ==, 0);
        g_assert_cmphex(sum36, ==, 0);
        const uint8_t *rsdt = at_pointer(&l, le32(l.rsdp->data + 16)),
                      *xsdt = at_pointer(&l, le32(l.rsdp->data + 24));
        g_assert_cmpuint((le32(rsdt + 4) - 36) / 4, ==, 4);
        g_assert_cmpuint((le32(xsdt + 4) - 36) / 8, ==, 4);
        const uint8_t *fadt = at_pointer(&l, le32(rsdt + 36));
        g_assert_cmpmem(fadt, 4, "FACP", 4);
        g_assert_cmpuint(le32(fadt + 4), ==, 244);
        g_assert_cmphex(le32(fadt + 56), ==, 0x600);
        g_assert_cmphex(fadt[108], ==, 0x32);
        g_assert_cmphex(le32(fadt + 120), ==, 0xcf9);
        g_assert_cmpmem(at_pointer(&l, le32(fadt + 36)), 4, "FACS", 4);
        g_assert_cmpuint(le32(fadt + 36) % 64, ==, 0);
        const uint8_t *dsdt = at_pointer(&l, le32(fadt + 40));
        g_assert_cmpuint(le32(fadt + 140), ==, le32(fadt + 40));
        for (unsigned i = 0; i < 4 && iasl; i++) {
            check_with_iasl(dir, at_pointer(&l, le32(rsdt + 36 + 4 * i)));
        }
        if (iasl) {
            check_with_iasl(dir, dsdt);
        }
        /* another PM base changes contents, never the size: the directory has promised it */
        guint was = b.tables->len;
        acpi_builder_fini(&b);
        acpi_builder_init(&b);
        p.pm_base = 0xb000;
        pc_acpi_build(&b, &p);
        g_assert_cmpuint(b.tables->len, ==, was);
        acpi_builder_fini(&b);
        linked_free(&l);
    }
    run(dir, "rm -f *");
    g_rmdir(dir);
    if (!iasl) {
        g_test_skip("iasl (package acpica-tools) is not installed: checksums and links only");
    }
}

/* Two nodes of memory around the hole below 4 GiB, and one that has none. */
static void test_acpi_numa(void)
{
    static const struct { uint64_t at, len; uint32_t node; } want[] = {
        { 0, 0xa0000, 0 }, { MIB, 2 * GIB - MIB, 0 }, { 2 * GIB, GIB, 2 }, { 4 * GIB, GIB, 2 },
    };
    uint32_t ids[] = { 0, 1, 254, 300 };
    int16_t cpus[] = { 0, 2, 1, 2 };
    g_autofree MachineNuma *numa = g_new0(MachineNuma, 1);
    RamBlock ram[2] = { { .size = 2 * GIB }, { .size = 2 * GIB } };
    PcAcpi p = acpi_sample(0, NULL);
    p.n_cpus = p.max_cpus = 4;
    p.apic_id = ids;
    p.layout = (PcLayout){ 3 * GIB, GIB };
    p.numa = numa;
    *numa = (MachineNuma){ .n = 3, .cpu_node = cpus, .has_distances = true };
    numa->node[0].ram = &ram[0];
    numa->node[2].ram = &ram[1];
    for (unsigned i = 0; i < 9; i++) {
        numa->distance[i / 3][i % 3] = i / 3 == i % 3 ? 10 : 20 + i;
    }
    AcpiBuilder b;
    acpi_builder_init(&b);
    pc_acpi_build(&b, &p);
    Linked l = run_loader(&b);
    const uint8_t *rsdt = at_pointer(&l, le32(l.rsdp->data + 16)), *srat = NULL, *slit = NULL;
    for (unsigned i = 0; i < (le32(rsdt + 4) - 36) / 4; i++) {
        const uint8_t *t = at_pointer(&l, le32(rsdt + 36 + 4 * i));
        srat = memcmp(t, "SRAT", 4) ? srat : t;
        slit = memcmp(t, "SLIT", 4) ? slit : t;
    }
    g_assert_cmpuint(le32(srat + 4), ==, 48 + 3 * 16 + 24 + 4 * 40);
    const uint8_t *e = srat + 48;
    for (unsigned i = 0; i < 3; i++, e += e[1]) {
        g_assert_cmpuint(e[0], ==, 0);
        g_assert_cmpuint(e[2], ==, cpus[i]);
        g_assert_cmpuint(e[3], ==, ids[i]);
        g_assert_cmpuint(le32(e + 4), ==, 1);
    }
    g_assert_cmpuint(e[0], ==, 2);
    g_assert_cmpuint(le32(e + 4), ==, 2);
    g_assert_cmpuint(le32(e + 8), ==, 300);
    e += e[1];
    for (unsigned i = 0; i < 4; i++, e += e[1]) {
        uint64_t at, len;
        memcpy(&at, e + 8, 8);
        memcpy(&len, e + 16, 8);
        g_assert_cmpuint(e[0], ==, 1);
        g_assert_cmpuint(le32(e + 2), ==, want[i].node);
        g_assert_cmphex(GUINT64_FROM_LE(at), ==, want[i].at);
        g_assert_cmphex(GUINT64_FROM_LE(len), ==, want[i].len);
    }
    static const uint8_t far[] = { 10, 21, 22, 23, 10, 25, 26, 27, 10 };
    g_assert_cmpuint(slit[36], ==, 3);
    g_assert_cmpmem(slit + 44, le32(slit + 4) - 44, far, sizeof(far));
    g_autofree char *iasl = g_find_program_in_path("iasl"), *dir = g_dir_make_tmp("rhea-acpi-XXXXXX", NULL);
    if (iasl) {
        check_with_iasl(dir, srat);
        check_with_iasl(dir, slit);
    } else {
        g_test_skip("iasl (package acpica-tools) is not installed: fields only");
    }
    run(dir, "rm -f *");
    g_rmdir(dir);
    acpi_builder_fini(&b);
    linked_free(&l);
}

/* The table of vmgenid: VGIA leads to its page, and the machine is told where the GUID is. */
static void test_acpi_vmgenid(void)
{
    uint32_t id;
    PcAcpi p = acpi_sample(1, &id);
    p.vmgenid = true;
    AcpiBuilder b;
    acpi_builder_init(&b);
    pc_acpi_build(&b, &p);
    Linked l = run_loader(&b);
    const uint8_t *rsdt = at_pointer(&l, le32(l.rsdp->data + 16)), *ssdt = NULL;
    for (unsigned i = 0; i < (le32(rsdt + 4) - 36) / 4; i++) {
        const uint8_t *t = at_pointer(&l, le32(rsdt + 36 + 4 * i));
        ssdt = memcmp(t, "SSDT", 4) ? ssdt : t;
    }
    g_assert_nonnull(ssdt);
    static const uint8_t vgia[] = { 0x08, 'V', 'G', 'I', 'A', 0x0c };
    g_assert_cmpmem(ssdt + 36, sizeof(vgia), vgia, sizeof(vgia));
    g_assert_cmphex(le32(ssdt + 36 + sizeof(vgia)), ==, GUID_AT);
    g_assert_cmphex(le32(l.addr->data), ==, GUID_AT + 40);
    g_autofree char *iasl = g_find_program_in_path("iasl"), *dir = g_dir_make_tmp("rhea-acpi-XXXXXX", NULL);
    if (iasl) {
        static const char *const wanted[] = { "\"VM_Gen_Counter\"", "_GPE._E05", "Notify (\\_SB.VGEN, 0x80)",
                                              "VGIA + 0x28" };
        g_autofree char *path = g_build_filename(dir, "SSDT.dsl", NULL), *text = NULL;
        check_with_iasl(dir, ssdt);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++) {
            g_assert_nonnull(strstr(text, wanted[i]));
        }
    } else {
        g_test_skip("iasl (package acpica-tools) is not installed: fields only");
    }
    run(dir, "rm -f *");
    g_rmdir(dir);
    acpi_builder_fini(&b);
    linked_free(&l);
}

/* ---- SMBIOS ---- */

static void smbios_options(Machine *m)
{
    m->n_cpus = 1;
    g_free(m->uuid);
    m->uuid = g_strdup("00112233-4455-6677-8899-aabbccddeeff");
    m->smbios =
        json_parse("[{\"type\":\"1\",\"manufacturer\":\"ACME\",\"serial\":\"ds=nocloud\"},"
                   "{\"type\":\"11\",\"value\":[\"one\",\"two\"]},{\"type\":\"0\",\"release\":\"1.2\"},"
                   "{\"type\":\"2\",\"asset\":\"tag\"}]",
                   -1, &error_abort_slot);
}

static void test_smbios(void)
{
    PcTest *t = pctest_new(16 * MIB, smbios_options);
    PcLayout l = { 3 * GIB, 30 * GIB };
    pc_smbios_build(t->m, t->fw, &l, &error_abort_slot);
    g_autoptr(GBytes) anchor = pctest_file(t, "etc/smbios/smbios-anchor"),
                      tables = pctest_file(t, "etc/smbios/smbios-tables");
    gsize na, nt;
    const uint8_t *a = g_bytes_get_data(anchor, &na), *s = g_bytes_get_data(tables, &nt);
    g_assert_cmpuint(na, ==, 31);
    g_assert_cmpuint(a[22] | a[23] << 8, ==, nt);
    unsigned count = 0, type = 0;
    for (gsize at = 0; at < nt; count++) {
        type = s[at];
        at += s[at + 1];
        while (s[at] || s[at + 1]) {
            at++;
            g_assert_cmpuint(at + 2, <=, nt);
        }
        at += 2;
    }
    g_assert_cmpuint(type, ==, 127);
    g_assert_cmpuint(count, ==, a[28]);
    g_autofree char *dmidecode = g_find_program_in_path("dmidecode");
    if (!dmidecode) {
        g_test_skip("dmidecode is not installed: structure only");
        pctest_free(t);
        return;
    }
    /* dmidecode's dump: entry point at 0 with the tables' address rewritten to 20h */
    g_autofree uint8_t *dump = g_malloc0(32 + nt);
    memcpy(dump, a, na);
    dump[24] = 32;
    dump[21] -= 32;
    memcpy(dump + 32, s, nt);
    g_autofree char *dir = g_dir_make_tmp("rhea-smbios-XXXXXX", NULL), *bin = g_strdup_printf("%s/dump", dir),
                    *out = NULL;
    g_autofree char *log = g_strdup_printf("%s/log", dir);
    g_file_set_contents(bin, (char *)dump, 32 + nt, NULL);
    g_assert_true(run(dir, "dmidecode --from-dump dump"));
    g_file_get_contents(log, &out, NULL, NULL);
    static const char *const want[] = {
        "Manufacturer: ACME",
        "Serial Number: ds=nocloud",
        "UUID: 00112233-4455-6677-8899-aabbccddeeff",
        "String 1: one",
        "String 2: two",
        "BIOS Revision: 1.2",
        "Asset Tag: tag",
        "Maximum Capacity: 33 GB",
        "Number Of Devices: 3",
        "Size: 1 GB",
        "Processor Information",
        "End Of Table",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        if (!strstr(out, want[i])) {
            g_error("dmidecode does not say '%s':\n%s", want[i], out);
        }
    }
    g_assert_null(strstr(out, "OUT OF SPEC"));
    g_assert_null(strstr(out, "TRUNCATED"));
    g_assert_null(strstr(out, "Wrong"));
    g_unlink(bin);
    g_unlink(log);
    g_rmdir(dir);
    pctest_free(t);
}

static void test_smbios_errors(void)
{
    static const struct { const char *json, *says;
    } bad[] = {
        { "[{\"type\":\"1\",\"manufactorer\":\"x\"}]", "manufactorer" },
        { "[{\"type\":\"9\"}]", "type=9" },
        { "[{\"type\":\"0\",\"release\":\"x\"}]", "release" },
        { "[{\"vendor\":\"x\"}]", "type=N" },
        { "[{\"type\":\"1\",\"uuid\":\"12\"}]", "UUID" },
        { "[{\"type\":\"4\",\"max-speed\":\"70000\"}]", "max-speed" },
        { "[{\"file\":\"/nonexistent\"}]", "/nonexistent" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        PcTest *t = pctest_new(16 * MIB, NULL);
        t->m->n_cpus = 1;
        t->m->smbios = json_parse(bad[i].json, -1, &error_abort_slot);
        g_autoptr(Error) err = NULL;
        g_assert_false(pc_smbios_build(t->m, t->fw, &t->layout, &err));
        g_assert_nonnull(strstr(error_text(err), bad[i].says));
        pctest_free(t);
    }
}

/* ---- kernels ---- */

typedef struct KernelCase {
    char *path;
    uint64_t ram;
} KernelCase;

static char *temp_file(const void *data, size_t n)
{
    char *path = NULL;
    int fd = g_file_open_tmp("rhea-kernel-XXXXXX", &path, NULL);
    g_assert_cmpint(write(fd, data, n), ==, (ssize_t)n);
    close(fd);
    return path;
}

/* Loads `data` as -kernel into a machine of ram_mib; returns the machine when it worked, else the error. */
static PcTest *load_kernel(const void *data, size_t n, unsigned ram_mib, const char *initrd,
                           const char *append, Error **errp)
{
    PcTest *t = pctest_new(ram_mib * MIB, NULL);
    t->m->kernel = temp_file(data, n);
    t->m->initrd = g_strdup(initrd);
    t->m->append = g_strdup(append);
    const char *rom;
    bool ok = pc_boot_kernel(t->m, t->fw, &t->layout, &rom, errp);
    g_unlink(t->m->kernel);
    if (!ok) {
        pctest_free(t);
        return NULL;
    }
    g_assert_true(fw_cfg_has_file(t->fw, rom));
    return t;
}

static void expect_refused(const void *data, size_t n, unsigned ram_mib, const char *initrd, const char *says)
{
    g_autoptr(Error) err = NULL;
    g_assert_null(load_kernel(data, n, ram_mib, initrd, NULL, &err));
    if (!strstr(error_text(err), says) && !(error_hint_text(err) && strstr(error_hint_text(err), says))) {
        g_error("'%s' does not say '%s'", error_text(err), says);
    }
}

static uint32_t item32(PcTest *t, uint16_t key)
{
    g_autoptr(GBytes) b = pctest_item(t, key, 4);
    return le32(g_bytes_get_data(b, NULL));
}

static uint8_t *fake_linux(size_t n)
{
    uint8_t *k = g_malloc0(n);
    k[0x1f1] = 4;
    memcpy(k + 0x202, "HdrS", 4);
    k[0x206] = 0x0f;
    k[0x207] = 2;
    k[0x211] = 1;
    boot_set32(k + 0x22c, 0x7fffffff);
    boot_set32(k + 0x238, 2047);
    boot_set32(k + 0x258, 16 * MIB);
    boot_set32(k + 0x260, 8 * MIB);
    return k;
}

static void test_linux(void)
{
    enum { SIZE = 100000 };
    g_autofree uint8_t *k = fake_linux(SIZE), *rd = g_malloc0(300000);
    g_autofree char *initrd = temp_file(rd, 300000);
    PcTest *t = load_kernel(k, SIZE, 64, initrd, "console=ttyS0 vga=0x317", &error_abort_slot);
    g_assert_cmpuint(item32(t, FW_CFG_SETUP_SIZE), ==, 2560);
    g_assert_cmpuint(item32(t, FW_CFG_KERNEL_SIZE), ==, SIZE - 2560);
    g_assert_cmphex(item32(t, FW_CFG_KERNEL_ADDR), ==, 0x100000);
    uint32_t at = item32(t, FW_CFG_INITRD_ADDR);
    g_assert_cmphex(at % 4096, ==, 0);
    g_assert_cmphex(at, >=, 24 * MIB);
    g_assert_cmphex(at + 300000, <=, 63 * MIB);
    g_autoptr(GBytes) setup = pctest_item(t, FW_CFG_SETUP_DATA, 2560);
    const uint8_t *h = g_bytes_get_data(setup, NULL);
    g_assert_cmphex(h[0x1fa] | h[0x1fb] << 8, ==, 0x317);
    g_assert_cmphex(le32(h + 0x218), ==, at);
    g_assert_cmphex(le32(h + 0x21c), ==, 300000);
    g_assert_cmphex(le32(h + 0x228), ==, item32(t, FW_CFG_CMDLINE_ADDR));
    g_assert_cmphex(h[0x211] & 0x81, ==, 0x81);
    /* the ROM: length, both checksums */
    g_autoptr(GBytes) rom = pctest_file(t, BOOT_ROM_LINUX);
    gsize n;
    const uint8_t *p = g_bytes_get_data(rom, &n);
    uint8_t sum = 0, pnp = 0;
    for (gsize i = 0; i < n; i++) {
        sum += p[i];
    }
    for (unsigned i = 0; i < 32; i++) {
        pnp += p[(p[0x1a] | p[0x1b] << 8) + i];
    }
    g_assert_cmphex(sum, ==, 0);
    g_assert_cmphex(pnp, ==, 0);
    g_assert_cmpuint(n, ==, p[2] * 512);
    pctest_free(t);
    t = load_kernel(k, SIZE, 64, initrd, "mem=40M", &error_abort_slot);
    g_assert_cmphex(item32(t, FW_CFG_INITRD_ADDR) + 300000, <=, 40 * MIB);
    pctest_free(t);
    expect_refused(k, SIZE, 20, NULL, "not enough memory");
    expect_refused(k, SIZE, 25, initrd, "does not fit");
    expect_refused(k, SIZE, 64, "/nonexistent/initrd", "No such file");
    expect_refused(k, 2000, 64, NULL, "damaged");
    k[0x1f1] = 255;
    expect_refused(k, SIZE, 64, NULL, "damaged");
    k[0x1f1] = 4;
    k[0x207] = 1;
    expect_refused(k, SIZE, 64, NULL, "protocol");
    k[0x207] = 2;
    g_autoptr(Error) err = NULL, err2 = NULL;
    g_autofree char *longline = g_strnfill(2048, 'x');
    g_assert_null(load_kernel(k, SIZE, 64, NULL, longline, &err));
    g_assert_nonnull(strstr(error_text(err), "2047"));
    g_assert_null(load_kernel(k, SIZE, 64, NULL, "vga=huge", &err2));
    g_unlink(initrd);
}

static void test_not_kernels(void)
{
    static const char gz[] = "\x1f\x8b\x08", text[] = "#!/bin/sh\n";
    uint8_t arm[64] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 }, boot[512] = { 0 };
    arm[16] = 2;
    arm[18] = 183;
    boot[510] = 0x55;
    boot[511] = 0xaa;
    expect_refused(gz, 3, 16, NULL, "gzip");
    expect_refused(text, 10, 16, NULL, "not a kernel");
    expect_refused(arm, 64, 16, NULL, "AArch64");
    expect_refused(boot, 512, 16, NULL, "boot sector");
    expect_refused("", 0, 16, NULL, "is empty");
    PcTest *t = pctest_new(16 * MIB, NULL);
    const char *rom;
    g_autoptr(Error) err = NULL, err2 = NULL, err3 = NULL;
    t->m->kernel = g_strdup("/nonexistent/bzImage");
    g_assert_false(pc_boot_kernel(t->m, t->fw, &t->layout, &rom, &err));
    g_assert_nonnull(strstr(error_text(err), "/nonexistent/bzImage"));
    g_free(t->m->kernel);
    t->m->kernel = g_strdup("/tmp");
    g_assert_false(pc_boot_kernel(t->m, t->fw, &t->layout, &rom, &err2));
    g_assert_nonnull(strstr(error_text(err2), "directory"));
    g_clear_pointer(&t->m->kernel, g_free);
    t->m->append = g_strdup("quiet");
    g_assert_false(pc_boot_kernel(t->m, t->fw, &t->layout, &rom, &err3));
    g_assert_nonnull(strstr(error_text(err3), "-append"));
    pctest_free(t);
}

/* A 32-bit ELF file with one segment at 1 MiB; a PVH note and a Multiboot header in front of its code. */
static void make_elf(uint8_t *f, size_t n)
{
    memset(f, 0, n);
    memcpy(f, "\x7f" "ELF\1\1\1", 7);
    f[16] = 2;
    f[18] = 3;
    boot_set32(f + 24, 0x100010);
    boot_set32(f + 28, 52);
    f[42] = 32;
    f[44] = 2;
    uint8_t *ph = f + 52;
    boot_set32(ph, 1);
    boot_set32(ph + 4, 256);
    boot_set32(ph + 8, 0x100000);
    boot_set32(ph + 12, 0x100000);
    boot_set32(ph + 16, n - 256);
    boot_set32(ph + 20, 0x4000);
    ph += 32;
    boot_set32(ph, 4);
    boot_set32(ph + 4, 128);
    boot_set32(ph + 16, 20);
    boot_set32(f + 128, 4);
    boot_set32(f + 132, 4);
    boot_set32(f + 136, 18);
    memcpy(f + 140, "Xen", 4);
    boot_set32(f + 144, 0x100020);
}

static void test_elf(void)
{
    uint8_t f[1024];
    make_elf(f, sizeof(f));
    f[256] = 0x77;
    g_autofree char *initrd = temp_file("module", 6), *spec = g_strdup_printf("%s arg,%s", initrd, initrd);
    PcTest *t = load_kernel(f, sizeof(f), 16, initrd, "hello", &error_abort_slot);
    g_autoptr(GBytes) setup = pctest_item(t, FW_CFG_SETUP_DATA, sizeof(FlatBoot));
    const uint8_t *s = g_bytes_get_data(setup, NULL);
    g_assert_cmphex(le32(s + 8), ==, 0x100020);
    g_assert_cmphex(le32(s + 28), ==, 0x100000);
    g_assert_cmphex(le32(s + 32), ==, 0x4000);
    g_autoptr(GBytes) extra = pctest_item(t, FW_CFG_INITRD_DATA, le32(s + 40));
    const uint8_t *x = g_bytes_get_data(extra, NULL);
    uint32_t base = le32(s + 36);
    g_assert_cmphex(le32(s + 4), ==, base);
    g_assert_cmphex(le32(x), ==, 0x336ec578);
    g_assert_cmpstr((char *)x + (le32(x + 24) - base), ==, "hello");
    g_assert_cmpmem(x + (le32(x + (le32(x + 16) - base)) - base), 6, "module", 6);
    g_assert_cmphex(le32(x + 40), ==, le32(s + 16)); /* where the ROM puts the map ... */
    g_assert_cmphex(le32(x + 40) % 8, ==, 0);
    g_assert_cmphex(le32(x + 40), >=, le32(x + 16) + 32);
    g_assert_cmphex(le32(s + 20), ==, base + 48); /* ... and the number of its entries */
    pctest_free(t);
    /* the same file with a Multiboot header is a Multiboot kernel */
    boot_set32(f + 512, 0x1badb002);
    boot_set32(f + 516, 3);
    boot_set32(f + 520, -(0x1badb002u + 3));
    t = load_kernel(f, sizeof(f), 16, spec, "x y", &error_abort_slot);
    g_autoptr(GBytes) mb = pctest_item(t, FW_CFG_SETUP_DATA, sizeof(FlatBoot));
    s = g_bytes_get_data(mb, NULL);
    g_assert_cmphex(le32(s), ==, 0x2badb002);
    g_assert_cmphex(le32(s + 8), ==, 0x100010);
    base = le32(s + 36);
    g_autoptr(GBytes) info = pctest_item(t, FW_CFG_INITRD_DATA, le32(s + 40));
    x = g_bytes_get_data(info, NULL);
    const uint8_t *i = x + (le32(s + 4) - base), *mods = x + (le32(i + 24) - base);
    g_assert_cmpuint(le32(i + 20), ==, 2);
    g_assert_cmpuint(le32(mods) % 4096, ==, 0);
    g_assert_cmpuint(le32(mods + 4) - le32(mods), ==, 6);
    g_assert_nonnull(strstr((char *)x + (le32(mods + 8) - base), " arg"));
    g_assert_true(g_str_has_suffix((char *)x + (le32(i + 16) - base), " x y"));
    pctest_free(t);
    boot_set32(f + 516, 7);
    boot_set32(f + 520, -(0x1badb002u + 7));
    expect_refused(f, sizeof(f), 16, NULL, "video");
    make_elf(f, sizeof(f));
    f[52 + 32] = 6; /* no note */
    expect_refused(f, sizeof(f), 16, NULL, "PVH");
    make_elf(f, sizeof(f));
    boot_set32(f + 52 + 20, 0x40000000);
    expect_refused(f, sizeof(f), 16, NULL, "memory");
    unlink(initrd);
}

/* The same file entered without firmware: what is in memory after a reset. */
static void test_pvh_direct(void)
{
    enum { ENTRIES = 3 };
    uint8_t f[1024];
    make_elf(f, sizeof(f));
    f[256] = 0x77;
    g_autofree char *kernel = temp_file(f, sizeof(f)), *initrd = temp_file("module", 6);
    PcTest *t = pctest_new(16 * MIB, NULL);
    for (unsigned module = 0; module < 2; module++) {
        DirectBoot d = { .rsdp = 0xe0000, .n_map = ENTRIES, .map = { [2] = { MIB, 15 * MIB, E820_RAM } } };
        BootRequest r = { .m = t->m, .layout = &t->layout, .kernel = kernel, .append = "hello",
                          .initrd = module ? initrd : NULL };
        direct_boot_init(&d);
        g_assert_true(direct_boot_load(&d, &r, &error_abort_slot));
        g_assert_true(d.kind == DIRECT_PVH);
        g_assert_cmphex(d.entry, ==, 0x100020);
        direct_boot_enter(&d, t->m);
        g_assert_cmphex(pctest_read(t, MIB, 1), ==, 0x77);
        g_assert_cmphex(pctest_read(t, DIRECT_INFO, 4), ==, 0x336ec578);
        g_assert_cmpuint(pctest_read(t, DIRECT_INFO + 12, 4), ==, module);
        uint64_t list = pctest_read(t, DIRECT_INFO + 16, 8), map = pctest_read(t, DIRECT_INFO + 40, 8);
        g_assert_cmphex(pctest_read(t, pctest_read(t, DIRECT_INFO + 24, 8), 4), ==, 0x6c6c6568); /* "hell" */
        g_assert_cmphex(pctest_read(t, DIRECT_INFO + 32, 8), ==, 0xe0000);
        g_assert_cmpuint(pctest_read(t, DIRECT_INFO + 48, 4), ==, ENTRIES);
        g_assert_cmphex(pctest_read(t, map + 24 * 2, 8), ==, MIB);
        g_assert_cmphex(pctest_read(t, map + 24 * 2 + 8, 8), ==, 15 * MIB);
        g_assert_cmphex(pctest_read(t, map + 24 * 2 + 16, 4), ==, E820_RAM);
        if (module) {
            g_assert_cmphex(pctest_read(t, pctest_read(t, list, 8), 4), ==, 0x75646f6d); /* "modu" */
            g_assert_cmpuint(pctest_read(t, list + 8, 8), ==, 6);
        } else {
            g_assert_cmphex(list, ==, 0);
        }
        direct_boot_fini(&d);
    }
    pctest_free(t);
    unlink(kernel);
    unlink(initrd);
}

/* Damaged files of all formats: refused or loaded, never a crash (run this under a sanitizer). */
static void test_fuzz(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(3);
    PcTest *t = pctest_new(16 * MIB, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        enum { N = 2048 };
        g_autofree uint8_t *f = i % 3 ? g_malloc(N) : fake_linux(N);
        if (i % 3) {
            make_elf(f, N);
        }
        if (i % 3 == 2) {
            boot_set32(f + 512, 0x1badb002);
            boot_set32(f + 516, 0x10003);
            boot_set32(f + 520, -(0x1badb002u + 0x10003));
            boot_set32(f + 524, 0x100200);
            boot_set32(f + 528, 0x100000);
        }
        for (unsigned k = 0; k < 4; k++) {
            unsigned at = g_rand_int_range(r, 4, i % 3 ? 160 : 0x268);
            f[i % 3 == 2 && k > 1 ? 524 + at % 24 : at] = g_rand_int(r);
        }
        g_autoptr(GBytes) file = g_bytes_new(f, g_rand_int_range(r, 1, N));
        BootRequest q = {
            .m = t->m, .fw = t->fw, .layout = &t->layout, .kernel = "fuzz", .append = "a", .file = file
        };
        g_autoptr(Error) err = NULL;
        bool ok = boot_linux_probe(file)       ? boot_linux_load(&q, &err)
                  : boot_multiboot_probe(file) ? boot_multiboot_load(&q, &err)
                                               : !loader_is_elf(file) || boot_pvh_load(&q, &err);
        g_assert_true(ok == !err);
    }
    pctest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/fw_cfg/ports", test_ports);
    g_test_add_func("/fw_cfg/dma", test_dma);
    g_test_add_func("/fw_cfg/hook", test_hook);
    g_test_add_func("/acpi/tables", test_acpi);
    g_test_add_func("/acpi/numa", test_acpi_numa);
    g_test_add_func("/acpi/vmgenid", test_acpi_vmgenid);
    g_test_add_func("/smbios/structures", test_smbios);
    g_test_add_func("/smbios/errors", test_smbios_errors);
    g_test_add_func("/boot/linux", test_linux);
    g_test_add_func("/boot/not-kernels", test_not_kernels);
    g_test_add_func("/boot/elf", test_elf);
    g_test_add_func("/boot/pvh-direct", test_pvh_direct);
    g_test_add_func("/boot/fuzz", test_fuzz);
    return g_test_run();
}
