/* SPDX-License-Identifier: MIT
 * tests/device/test-guestinfo.c - devices that are files of fw_cfg: hw/misc/vmgenid.c, vmcoreinfo.c; files
 * that the guest may write (hw/misc/fw_cfg.c), the general-purpose events of ich9-lpc.c and piix4pm.c; what a
 * dump takes of the guest's note (tools/system/dump_note.c). The test is the guest's firmware and its kernel.
 * Threads: main.
 */
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include "tests/device/q35test.h"
#include "tools/system/dump.h"

#include <string.h>

#define GUID_A "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"
#define GUID_B "8987940a-0951-2cc5-e815-10634ff550b9"
enum { BLOCK = 0x1000, BUFFER = 0x2000, GUID_AT = 0x3fff028, NOTE = 0x100ffc };
enum { READ = 0x0a, WRITE = 0x18, SKIP_SELECT = 0x0c };
enum { GPE_STS_Q35 = PM + 0x20, GPE_STS_PC = PM + 0x0c, GPE = 1 << VMGENID_GPE };

/* ---- the guest's side of fw_cfg ---- */

/* Control word when done: 0 or the error bit. */
static uint32_t fw_dma(TestMachine *tm, uint32_t control, uint32_t len, uint64_t addr)
{
    const struct {
        uint32_t control, len;
        uint64_t addr;
    } block = { GUINT32_TO_BE(control), GUINT32_TO_BE(len), GUINT64_TO_BE(addr) };
    tm_copy_in(tm, BLOCK, &block, sizeof(block));
    q35_out(tm, 0x514, 0, 4);
    q35_out(tm, 0x518, GUINT32_TO_BE(BLOCK), 4);
    return GUINT32_FROM_BE((uint32_t)tm_read(tm, BLOCK, 4));
}

/* Its selector and size, from the directory; 0: there is none. */
static uint16_t fw_find(TestMachine *tm, const char *name, uint32_t *size)
{
    struct {
        uint32_t size;
        uint16_t select, reserved;
        char name[FW_CFG_NAME_MAX];
    } e;
    uint32_t n;
    g_assert_cmphex(fw_dma(tm, FW_CFG_FILE_DIR << 16 | READ, 4, BUFFER), ==, 0);
    n = GUINT32_FROM_BE((uint32_t)tm_read(tm, BUFFER, 4));
    for (uint32_t i = 0; i < n; i++) {
        g_assert_cmphex(fw_dma(tm, 2, sizeof(e), BUFFER), ==, 0);
        tm_copy_out(tm, BUFFER, &e, sizeof(e));
        if (!strcmp(e.name, name)) {
            *size = GUINT32_FROM_BE(e.size);
            return GUINT16_FROM_BE(e.select);
        }
    }
    return 0;
}

static uint32_t fw_write(TestMachine *tm, uint16_t file, uint32_t offset, const void *data, uint32_t len)
{
    tm_copy_in(tm, BUFFER, data, len);
    g_assert_cmphex(fw_dma(tm, (uint32_t)file << 16 | SKIP_SELECT, offset, 0), ==, 0);
    return fw_dma(tm, 0x10, len, BUFFER);
}

static void fw_read(TestMachine *tm, uint16_t file, void *data, uint32_t len)
{
    g_assert_cmphex(fw_dma(tm, (uint32_t)file << 16 | READ, len, BUFFER), ==, 0);
    tm_copy_out(tm, BUFFER, data, len);
}

/* ---- vmgenid ---- */

static const char *guid; /* of the next machine */

static void add_vmgenid(TestMachine *tm)
{
    Bus *bus = tm->m->board->default_bus(tm->m, &fw_cfg_bus_type);
    tm_device_type(tm, &vmgenid_type, bus, "guid", guid, NULL);
}

static void check_guid(TestMachine *tm, const char *want)
{
    char text[VMGENID_TEXT];
    g_assert_true(vmgenid_get(tm->m, text));
    g_assert_cmpstr(text, ==, want);
}

/* As firmware: the page goes somewhere, and the machine is told where the GUID is. */
static void place_guid(TestMachine *tm)
{
    uint8_t page[4096];
    uint32_t size;
    uint16_t file = fw_find(tm, "etc/vmgenid_guid", &size);
    g_assert_cmpuint(size, ==, sizeof(page));
    fw_read(tm, file, page, size);
    tm_copy_in(tm, GUID_AT, page + 40, 16);
    uint64_t addr = GUINT64_TO_LE((uint64_t)GUID_AT);
    file = fw_find(tm, "etc/vmgenid_addr", &size);
    g_assert_cmpuint(size, ==, 8);
    g_assert_cmphex(fw_write(tm, file, 0, &addr, 8), ==, 0);
}

static void open_pm(TestMachine *tm, const BoardType *board)
{
    if (board == &q35_board) {
        q35_set(tm, LPC, 0x40, PM | 1, 4);
        q35_set(tm, LPC, 0x44, 0x80, 1);
    } else {
        q35_set(tm, PCI_DEVFN(1, 3), 0x40, PM | 1, 4);
        q35_set(tm, PCI_DEVFN(1, 3), 0x80, 1, 1);
    }
}

static uint64_t addr_told(TestMachine *tm)
{
    uint32_t size;
    uint64_t v = 0;
    fw_read(tm, fw_find(tm, "etc/vmgenid_addr", &size), &v, sizeof(v));
    return GUINT64_FROM_LE(v);
}

static void check_vmgenid(const BoardType *board, uint16_t gpe_sts)
{
    static const uint8_t a[16] = { 0xaf, 0x6e, 0x4e, 0x32, 0xd1, 0xd1, 0xf6, 0x4b,
                                   0xbf, 0x41, 0xb9, 0xbb, 0x6c, 0x91, 0xfb, 0x87 };
    static const uint8_t b[16] = { 0x0a, 0x94, 0x87, 0x89, 0x51, 0x09, 0xc5, 0x2c,
                                   0xe8, 0x15, 0x10, 0x63, 0x4f, 0xf5, 0x50, 0xb9 };
    uint8_t now[16];
    uint32_t size;
    guid = GUID_A;
    TestMachine *tm = board_new_with(board, 64 << 20, NULL, add_vmgenid);
    check_guid(tm, GUID_A);
    g_assert_cmpuint(fw_find(tm, "etc/table-loader", &size), !=, 0);
    place_guid(tm);
    tm_copy_out(tm, GUID_AT, now, 16);
    g_assert_cmpmem(now, 16, a, 16);
    g_autoptr(GByteArray) saved = tm_save(tm);
    machine_reset(tm->m, RESET_WARM); /* firmware places it again, the same one */
    g_assert_cmphex(addr_told(tm), ==, 0);
    place_guid(tm);
    open_pm(tm, board);
    q35_out(tm, gpe_sts, 0xff, 1);
    g_assert_true(tm_load(tm, saved, &error_abort_slot)); /* goes on as itself: nothing is new */
    tm_turns(tm);
    open_pm(tm, board);
    g_assert_cmphex(q35_in(tm, gpe_sts, 1) & GPE, ==, 0);
    tm_free(tm);

    guid = GUID_B; /* goes on as another one */
    tm = board_new_with(board, 64 << 20, NULL, add_vmgenid);
    g_assert_true(tm_load(tm, saved, &error_abort_slot));
    tm_turns(tm);
    open_pm(tm, board);
    g_assert_cmphex(q35_in(tm, gpe_sts, 1) & GPE, ==, GPE);
    g_assert_cmphex(addr_told(tm), ==, GUID_AT);
    tm_copy_out(tm, GUID_AT, now, 16);
    g_assert_cmpmem(now, 16, b, 16);
    q35_out(tm, gpe_sts, GPE, 1);
    g_assert_cmphex(q35_in(tm, gpe_sts, 1) & GPE, ==, 0);
    tm_free(tm);
}

static void test_vmgenid(void)
{
    check_vmgenid(&q35_board, GPE_STS_Q35);
    check_vmgenid(&pc_board, GPE_STS_PC);
}

static void test_vmgenid_choice(void)
{
    char first[VMGENID_TEXT], second[VMGENID_TEXT];
    guid = "auto";
    for (unsigned i = 0; i < 2; i++) {
        TestMachine *tm = q35_new_with(64 << 20, NULL, add_vmgenid);
        g_assert_true(vmgenid_get(tm->m, i ? second : first));
        g_assert_true(g_uuid_string_is_valid(first));
        tm_free(tm);
    }
    g_assert_cmpstr(first, !=, second);
    TestMachine *tm = q35_new(64 << 20);
    g_assert_false(vmgenid_get(tm->m, first));
    static const char *const bad[] = { "", "x", "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb8", "{" GUID_A "}" };
    Bus *bus = tm->m->board->default_bus(tm->m, &fw_cfg_bus_type);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(Error) err = NULL;
        Device *dev = device_new(tm->m, &vmgenid_type, tm->m->peripheral, NULL);
        g_assert_true(device_set(dev, "guid", bad[i], &err));
        g_assert_false(device_realize(dev, bus, &err));
        g_assert_nonnull(strstr(error_text(err), "is not a GUID"));
        device_remove(dev);
    }
    g_autoptr(Error) err = NULL;
    add_vmgenid(tm);
    Device *dev = device_new(tm->m, &vmgenid_type, tm->m->peripheral, NULL);
    g_assert_false(device_realize(dev, bus, &err));
    g_assert_nonnull(strstr(error_text(err), "one at most"));
    device_remove(dev);
    tm_free(tm);
}

/* ---- vmcoreinfo, and what can be written at all ---- */

static void add_vmcoreinfo(TestMachine *tm)
{
    tm_device_type(tm, &vmcoreinfo_type, tm->m->board->default_bus(tm->m, &fw_cfg_bus_type), NULL);
}

/* Little-endian: formats, size, address. */
static void say_core(TestMachine *tm, uint16_t format, uint32_t size, uint64_t paddr)
{
    struct {
        uint16_t host, guest;
        uint32_t size;
        uint64_t paddr;
    } info = { 0, GUINT16_TO_LE(format), GUINT32_TO_LE(size), GUINT64_TO_LE(paddr) };
    uint32_t n;
    uint16_t file = fw_find(tm, "etc/vmcoreinfo", &n);
    g_assert_cmpuint(n, ==, sizeof(info));
    g_assert_cmphex(fw_write(tm, file, 0, &info, sizeof(info)), ==, 0);
}

static void test_vmcoreinfo(void)
{
    uint64_t paddr;
    uint32_t size, n;
    uint16_t formats = 0;
    TestMachine *tm = q35_new(64 << 20);
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    tm_free(tm);
    tm = q35_new_with(64 << 20, NULL, add_vmcoreinfo);
    uint16_t file = fw_find(tm, "etc/vmcoreinfo", &n);
    fw_read(tm, file, &formats, 2);
    g_assert_cmphex(GUINT16_FROM_LE(formats), ==, 1); /* ELF is what the host takes */
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    say_core(tm, 1, 0x1234, 0x56789000);
    g_assert_true(vmcoreinfo_get(tm->m, &paddr, &size));
    g_assert_cmphex(paddr, ==, 0x56789000);
    g_assert_cmphex(size, ==, 0x1234);
    g_autoptr(GByteArray) saved = tm_save(tm);
    g_assert_cmphex(fw_write(tm, file, 8, "abcd", 4), ==, 0); /* a part of it does not count */
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    say_core(tm, 0, 0x1234, 0x56789000); /* none */
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    say_core(tm, 2, 0x1234, 0x56789000); /* unknown */
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    say_core(tm, 1, (1 << 20) + 1, 0x56789000); /* too large */
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    say_core(tm, 1, 0, 0x56789000);
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    g_assert_true(tm_load(tm, saved, &error_abort_slot));
    g_assert_true(vmcoreinfo_get(tm->m, &paddr, &size));
    machine_reset(tm->m, RESET_WARM);
    g_assert_false(vmcoreinfo_get(tm->m, &paddr, &size));
    tm_free(tm);
}

/* What the guest has at NOTE as a note; the dump's notes afterwards (owned), which begin with "cpus". */
static GByteArray *take_note(TestMachine *tm, const void *note, size_t len, uint32_t told, uint64_t paddr,
                             DumpPlan *p)
{
    const DumpRange range = { .size = tm->m->ram->size, .host = tm->m->ram->host, .ram = tm->m->ram };
    tm_copy_in(tm, NOTE, note, len);
    say_core(tm, 1, told, paddr);
    *p = (DumpPlan){ .ranges = g_array_new(FALSE, FALSE, sizeof(DumpRange)), .notes = g_byte_array_new() };
    g_array_append_val(p->ranges, range);
    g_byte_array_append(p->notes, (const uint8_t *)"cpus", 4);
    dump_add_vmcoreinfo(tm->m, p);
    g_array_free(p->ranges, TRUE);
    return p->notes;
}

static void test_note(void)
{
    static const char text[] = "OSRELEASE=6.1\nNUMBER(phys_base)=-4096\nEND=\n"; /* 43 characters */
    struct {
        uint32_t name, desc, type;
        char is[12], text[44];
    } note = { GUINT32_TO_LE(11), GUINT32_TO_LE(43), 0, "VMCOREINFO", "" }, bad;
    DumpPlan p;
    memcpy(note.text, text, 43);
    TestMachine *tm = q35_new_with(64 << 20, NULL, add_vmcoreinfo);
    g_autoptr(GByteArray) good = take_note(tm, &note, sizeof(note), 4096, NOTE, &p);
    g_assert_cmpuint(good->len, ==, 4 + sizeof(note)); /* padded, and no more than the note */
    g_assert_cmpmem(good->data + 4, sizeof(note), &note, sizeof(note));
    g_assert_cmpuint(p.info_len, ==, 43);
    g_assert_cmpmem(good->data + p.info_at, p.info_len, text, 43);
    g_assert_cmphex(p.phys_base, ==, (uint64_t)-4096);
    const struct {
        uint32_t name, desc, told;
        uint64_t paddr;
    } wrong[] = {
        { 11, 43, 12, NOTE }, { 11, 43, sizeof(note) - 1, NOTE }, { 11, UINT32_MAX, 1 << 20, NOTE },
        { UINT32_MAX, 43, 1 << 20, NOTE }, { 4, 43, 4096, NOTE }, { 11, 0, 4096, NOTE }, { 11, 43, 8, NOTE },
        { 11, 43, 4096, 0xfee00000 }, { 11, 43, 4096, UINT64_MAX - 100 }, { 11, 43, 4096, (64 << 20) - 100 },
        { 11, 43, 4096, NOTE + 4 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        bad = note;
        bad.name = GUINT32_TO_LE(wrong[i].name);
        bad.desc = GUINT32_TO_LE(wrong[i].desc);
        g_autoptr(GByteArray) left = take_note(tm, &bad, sizeof(bad), wrong[i].told, wrong[i].paddr, &p);
        g_assert_cmpuint(left->len, ==, 4);
        g_assert_cmpuint(p.info_len, ==, 0);
    }
    tm_free(tm);
}

static void test_writes(void)
{
    static const uint8_t data[64] = { 1, 2, 3 };
    uint8_t now[16];
    uint32_t n;
    TestMachine *tm = q35_new_with(64 << 20, NULL, add_vmcoreinfo);
    uint16_t file = fw_find(tm, "etc/vmcoreinfo", &n), other = fw_find(tm, "etc/e820", &n);
    fw_read(tm, file, now, 16);
    g_assert_cmphex(fw_write(tm, file, 0, data, 17), ==, 1); /* beyond the end */
    g_assert_cmphex(fw_write(tm, file, 15, data, 2), ==, 1);
    g_assert_cmphex(fw_write(tm, file, 17, data, 0), ==, 1);
    g_assert_cmphex(fw_write(tm, file, UINT32_MAX, data, 2), ==, 1);
    g_assert_cmphex(fw_write(tm, other, 0, data, 4), ==, 1);  /* not a file that can be written */
    g_assert_cmphex(fw_write(tm, 0x7777, 0, data, 4), ==, 1); /* no file */
    g_assert_cmphex(fw_dma(tm, (uint32_t)file << 16 | WRITE, 16, UINT64_C(1) << 40), ==,
                    1); /* no such memory */
    g_assert_cmphex(fw_dma(tm, (uint32_t)file << 16 | WRITE, UINT32_MAX, BUFFER), ==, 1);
    fw_read(tm, file, now, 16);
    g_assert_cmphex(now[0], ==, 1); /* as after a reset */
    g_assert_cmphex(now[2], ==, 0);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/vmgenid/spec", test_vmgenid);
    g_test_add_func("/vmgenid/choice", test_vmgenid_choice);
    g_test_add_func("/vmcoreinfo", test_vmcoreinfo);
    g_test_add_func("/vmcoreinfo/note", test_note);
    g_test_add_func("/fw_cfg/writes", test_writes);
    return g_test_run();
}
