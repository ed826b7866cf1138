/* SPDX-License-Identifier: MIT
 * tests/device/test-ahci.c - the AHCI controller by its registers (hw/ide/ahci.c, ahci-port.c, trim.c), with
 * a disk and an empty CD drive; AHCI 1.3.1. The places on its cables: cable.c. Threads: main.
 */
#include "pctest.h"
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/hw/ide.h"
#include "rhea/util/co.h"

enum { ABAR = 0xe0000000, FN = PCI_DEVFN(4, 0), CLB = 0x10000, FB = 0x11000, TABLE = 0x12000, BUF = 0x20000 };
enum {
    P_CLB = 0x00,
    P_FB = 0x08,
    P_IS = 0x10,
    P_IE = 0x14,
    P_CMD = 0x18,
    P_TFD = 0x20,
    P_SIG = 0x24,
    P_SSTS = 0x28,
    P_SCTL = 0x2c,
    P_SERR = 0x30,
    P_SACT = 0x34,
    P_CI = 0x38
};

typedef struct Fixture {
    PcTest *t;
    Device *ahci;
} Fixture;

static uint32_t reg(Fixture *f, unsigned port, unsigned off)
{
    return (uint32_t)pctest_read(f->t, ABAR + 0x100 + 0x80 * port + off, 4);
}

static void set(Fixture *f, unsigned port, unsigned off, uint32_t v)
{
    pctest_write(f->t, ABAR + 0x100 + 0x80 * port + off, v, 4);
}

static void start_ports(Fixture *f)
{
    pctest_config_write(f->t, FN, 0x24, ABAR, 4);
    pctest_config_write(f->t, FN, 0x04, 6, 2);
    pctest_write(f->t, ABAR + 4, 0x80000002, 4);
    for (unsigned p = 0; p < 2; p++) {
        set(f, p, P_CLB, CLB + 0x400 * p);
        set(f, p, P_FB, FB + 0x100 * p);
        set(f, p, P_IE, 0xffffffff);
        set(f, p, P_CMD, 0x11);
    }
}

static void setup(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    f->t = pctest_new(16 << 20, NULL);
    Machine *m = f->t->m;
    g_autoptr(Json) o = json_parse("{\"driver\": \"null-co\", \"node-name\": \"n\", \"size\": 1073741824, "
                                   "\"read-zeroes\": true}",
                                   -1, &error_abort_slot);
    blockdev_add_json(m, o, false, &error_abort_slot);
    f->ahci = device_create(m, &ich9_ahci_type, m->unattached, NULL, f->t->pci->bus, &error_abort_slot,
                            "addr", "4", NULL);
    device_create(m, &ide_hd_type, m->peripheral, "d", f->ahci->buses->pdata[0], &error_abort_slot, "drive",
                  "n", NULL);
    device_create(m, &ide_cd_type, m->peripheral, "c", f->ahci->buses->pdata[1], &error_abort_slot, NULL);
    machine_reset(m, RESET_COLD);
    start_ports(f);
}

static void teardown(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    drive_remove_all(f->t->m);
    pctest_free(f->t);
}

/* A command in `slot` with `n` sectors at `lba` and one region of `bytes` at BUF. */
static void prepare(Fixture *f, unsigned port, unsigned slot, uint8_t cmd, uint64_t lba, unsigned n,
                    unsigned bytes)
{
    bool queued = cmd == 0x60 || cmd == 0x61;
    hwaddr header = CLB + 0x400 * port + 32 * slot, table = TABLE + 0x100 * slot;
    unsigned count = queued ? slot << 3 : n, features = queued ? n : 0;
    pctest_write(f->t, header, 5 | 1 << 16, 4);
    pctest_write(f->t, header + 4, 0, 4);
    pctest_write(f->t, header + 8, table, 8);
    pctest_write(f->t, table, 0x8027 | (uint32_t)cmd << 16 | (features & 0xff) << 24, 4);
    pctest_write(f->t, table + 4, (lba & 0xffffff) | 0x40000000, 4);
    pctest_write(f->t, table + 8, (lba >> 24 & 0xffffff) | (features >> 8) << 24, 4);
    pctest_write(f->t, table + 12, count, 4);
    pctest_write(f->t, table + 0x80, BUF, 8);
    pctest_write(f->t, table + 0x8c, bytes - 1, 4);
}

static void fill(Fixture *f)
{
    pctest_write(f->t, BUF, 0x1122334455667788, 8);
    pctest_write(f->t, BUF + 4088, 0x1122334455667788, 8);
}

static void test_registers(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_assert_cmphex(pctest_config_read(f->t, FN, 0, 4), ==, 0x29228086);
    g_assert_cmphex(pctest_config_read(f->t, FN, 8, 4) >> 8, ==, 0x010601);
    g_assert_cmphex(pctest_read(f->t, ABAR, 4), ==, 0xc1141f05);
    g_assert_cmphex(pctest_read(f->t, ABAR + 0x0c, 4), ==, 0x3f);
    g_assert_cmphex(pctest_read(f->t, ABAR + 0x10, 4), ==, 0x00010301);
    g_assert_cmphex(reg(f, 0, P_SIG), ==, 0x00000101);
    g_assert_cmphex(reg(f, 1, P_SIG), ==, 0xeb140101);
    g_assert_cmphex(reg(f, 2, P_SIG), ==, 0xffffffff);
    g_assert_cmphex(reg(f, 0, P_SSTS), ==, 0x113);
    g_assert_cmphex(reg(f, 2, P_SSTS), ==, 0);
    g_assert_cmphex(reg(f, 0, P_TFD), ==, 0x150);
    g_assert_cmphex(reg(f, 0, P_CMD) & 0xc017, ==, 0xc017);
    set(f, 0, P_CLB, 0xffffffff);
    g_assert_cmphex(reg(f, 0, P_CLB), ==, 0xfffffc00);
    Error *err = NULL;
    g_assert_null(
        device_create(f->t->m, &ide_cd_type, f->t->m->peripheral, "x", f->ahci->buses->pdata[1], &err, NULL));
    g_assert_nonnull(strstr(error_text(err), "in use by 'c'"));
    error_free(err);
}

static void test_identify(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    prepare(f, 0, 3, 0xec, 0, 0, 512);
    set(f, 0, P_CI, 1 << 3);
    g_assert_cmphex(reg(f, 0, P_CI), ==, 0);
    g_assert_cmphex(reg(f, 0, P_TFD), ==, 0x50);
    g_assert_cmphex(reg(f, 0, P_IS), ==, 0x02); /* PIO Setup */
    g_assert_true(device_irq(f->ahci, 0)->level);
    g_assert_cmphex(pctest_read(f->t, FB + 0x20, 1), ==, 0x5f);
    g_assert_cmphex(pctest_read(f->t, FB + 0x20 + 15, 1), ==, 0x50); /* E_Status */
    g_assert_cmphex(pctest_read(f->t, BUF + 2 * 75, 4), ==, 0x0102001f);
    g_assert_cmphex(pctest_read(f->t, CLB + 3 * 32 + 4, 4), ==, 512);
    set(f, 0, P_IS, 0xffffffff);
    g_assert_true(device_irq(f->ahci, 0)->level); /* IS is the controller's */
    pctest_write(f->t, ABAR + 8, 1, 4);
    g_assert_false(device_irq(f->ahci, 0)->level);
}

static void test_dma(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    fill(f);
    prepare(f, 0, 0, 0x25, 0x123456, 8, 4096);
    set(f, 0, P_CI, 1);
    g_assert_cmphex(reg(f, 0, P_CI), ==, 1);
    g_assert_cmphex(reg(f, 0, P_TFD) & 0x80, ==, 0x80);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_CI), ==, 0);
    g_assert_cmphex(reg(f, 0, P_IS), ==, 1);
    g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BUF + 4088, 8), ==, 0);
    g_assert_cmphex(pctest_read(f->t, CLB + 4, 4), ==, 4096);
    g_assert_cmphex(pctest_read(f->t, FB + 0x40, 4), ==, 0x00504034);
    /* beyond the end: an error halts the port, the slot stays, until ST is cleared */
    prepare(f, 0, 0, 0x25, 0x200000, 8, 4096);
    prepare(f, 0, 1, 0xec, 0, 0, 512);
    set(f, 0, P_CI, 3);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_CI) & 3, !=, 0);
    g_assert_cmphex(reg(f, 0, P_IS) >> 30 & 1, ==, 1);
    g_assert_cmphex(reg(f, 0, P_TFD), ==, 0x1051);
    set(f, 0, P_CMD, 0x10);
    g_assert_cmphex(reg(f, 0, P_CI), ==, 0);
    /* fewer descriptors than data: overflow, nothing else happens */
    set(f, 0, P_IS, 0xffffffff);
    set(f, 0, P_CMD, 0x11);
    prepare(f, 0, 0, 0x25, 0, 8, 512);
    set(f, 0, P_CI, 1);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_IS) >> 24 & 1, ==, 1);
}

/* TRIM: the entries come by DMA like any data; one beyond the end is an error. */
static void test_trim(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < 512; i += 8) {
        pctest_write(f->t, BUF + i, 0, 8);
    }
    pctest_write(f->t, BUF + 8, UINT64_C(65535) << 48 | 4096, 8);
    for (unsigned wrong = 0; wrong < 2; wrong++) {
        prepare(f, 0, 0, 0x06, 0, 1, 512);
        pctest_write(f->t, TABLE + 3, 1, 1);
        set(f, 0, P_CI, 1);
        pctest_settle(f->t);
        g_assert_cmphex(reg(f, 0, P_CI), ==, wrong);
        g_assert_cmphex(reg(f, 0, P_TFD), ==, wrong ? 0x451 : 0x50);
        g_assert_cmphex(pctest_read(f->t, CLB + 4, 4), ==, 512);
        pctest_write(f->t, BUF + 504, UINT64_C(2) << 48 | 0x1fffff, 8);
    }
}

static void test_queued(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    fill(f);
    for (unsigned slot = 0; slot < 32; slot++) {
        prepare(f, 0, slot, slot & 1 ? 0x61 : 0x60, 8 * slot, 8, 4096);
    }
    set(f, 0, P_SACT, 0xffffffff);
    set(f, 0, P_CI, 0xffffffff);
    g_assert_cmphex(reg(f, 0, P_CI), ==, 0); /* accepted, none has ended */
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0xffffffff);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
    g_assert_cmphex(reg(f, 0, P_IS) & 0x48, ==, 0x08);
    g_assert_cmphex(pctest_read(f->t, FB + 0x58, 1), ==, 0xa1);
    g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0);
    /* a tag that is not the slot's, and one that is out of range */
    prepare(f, 0, 5, 0x60, 0, 8, 4096);
    pctest_write(f->t, TABLE + 0x500 + 12, 6 << 3, 4);
    set(f, 0, P_SACT, 1 << 5);
    set(f, 0, P_CI, 1 << 5);
    g_assert_cmphex(reg(f, 0, P_IS) >> 30 & 1, ==, 1);
    g_assert_cmphex(reg(f, 0, P_TFD) & 0xff, ==, 0x51);
}

/* Several chunks of AHCI_CHUNK in one queued command, and the port stopped while it runs. */
static void test_queued_long(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    prepare(f, 0, 1, 0x60, 16, 4096, 2 << 20);
    pctest_write(f->t, BUF + (2 << 20) - 8, 0x55, 8);
    set(f, 0, P_SACT, 2);
    set(f, 0, P_CI, 2);
    pctest_settle(f->t);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BUF + (2 << 20) - 8, 8), ==, 0);
    set(f, 0, P_IS, 0xffffffff);
    pctest_write(f->t, BUF, 0x77, 8);
    set(f, 0, P_SACT, 2);
    set(f, 0, P_CI, 2);
    set(f, 0, P_CMD, 0x10);
    pctest_settle(f->t);
    g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0x77);
    g_assert_cmphex(reg(f, 0, P_IS), ==, 0);
}

static void test_resets(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    set(f, 0, P_CMD, 0x10);
    set(f, 0, P_SCTL, 0x301);
    g_assert_cmphex(reg(f, 0, P_SSTS), ==, 0);
    g_assert_cmphex(reg(f, 0, P_TFD), ==, 0x7f);
    set(f, 0, P_SCTL, 0x300);
    g_assert_cmphex(reg(f, 0, P_SSTS), ==, 0x113);
    g_assert_cmphex(reg(f, 0, P_SERR), ==, 1 << 26);
    g_assert_cmphex(reg(f, 0, P_IS), ==, 0x40);
    g_assert_cmphex(reg(f, 0, P_SIG), ==, 0x101);
    set(f, 0, P_SERR, 0xffffffff);
    g_assert_cmphex(reg(f, 0, P_IS), ==, 0);
    pctest_write(f->t, ABAR + 4, 1, 4); /* HR */
    g_assert_cmphex(pctest_read(f->t, ABAR + 4, 4), ==, 0x80000000);
    g_assert_cmphex(reg(f, 0, P_CLB), ==, 0);
    g_assert_cmphex(reg(f, 0, P_CMD) & 0xc011, ==, 0);
}

/* PACKET: TEST UNIT READY of an empty drive is an error with sense data, which REQUEST SENSE then gets by
 * DMA. */
static void test_packet(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    prepare(f, 1, 0, 0xa0, 0, 0, 18);
    for (unsigned i = 0; i < 16; i += 4) {
        pctest_write(f->t, TABLE + 0x40 + i, 0, 4);
    }
    set(f, 1, P_CI, 1);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 1, P_IS) >> 30 & 1, ==, 1);
    set(f, 1, P_CMD, 0x10);
    set(f, 1, P_IS, 0xffffffff);
    set(f, 1, P_CMD, 0x11);
    pctest_write(f->t, TABLE + 3, 1, 1); /* features: DMA */
    pctest_write(f->t, TABLE + 0x40, 0x03, 1);
    pctest_write(f->t, TABLE + 0x44, 18, 1);
    set(f, 1, P_CI, 1);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 1, P_CI), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BUF, 1), ==, 0x70);
    g_assert_cmphex(pctest_read(f->t, CLB + 0x404, 4), ==, 18);
}

/* A queued command that was in flight when the state was saved is handed in again; one that is in flight when
 * a port without any is loaded counts no more. */
static void test_state(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    fill(f);
    prepare(f, 0, 2, 0x60, 0, 8, 4096);
    set(f, 0, P_SACT, 4);
    set(f, 0, P_CI, 4);
    g_autoptr(GByteArray) state = g_byte_array_new(), idle = g_byte_array_new();
    device_tree_save(f->ahci, state);
    pctest_settle(f->t);
    device_tree_save(f->ahci, idle);
    fill(f);
    const uint8_t *at = state->data;
    device_tree_load(f->ahci, &at, state->data + state->len, &error_abort_slot);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 4);
    pctest_settle(f->t);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        fill(f);
        set(f, 0, P_SACT, 4);
        set(f, 0, P_CI, 4);
        if (i == 0) {
            at = idle->data;
            device_tree_load(f->ahci, &at, idle->data + idle->len, &error_abort_slot);
            g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
            continue;
        }
        g_assert_cmphex(reg(f, 0, P_SACT), ==, 4);
        pctest_settle(f->t);
        g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
        g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0);
    }
}

/* It is pulled out with queued commands under way: nobody is there any more, no data comes, the drive's node
 * is free. */
static void test_removed(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    fill(f);
    for (unsigned slot = 0; slot < 8; slot++) {
        prepare(f, 0, slot, 0x60, 8 * slot, 8, 4096);
    }
    set(f, 0, P_SACT, 0xff);
    set(f, 0, P_CI, 0xff);
    prepare(f, 1, 0, 0xa1, 0, 0, 512);
    set(f, 1, P_CI, 1);
    fill(f);
    pci_unplugged(f->ahci);
    pctest_settle(f->t);
    g_assert_cmphex(pctest_config_read(f->t, FN, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0x1122334455667788);
    g_assert_cmpuint(f->t->m->peripheral->children->len, ==, 0);
    g_assert_true(blockdev_del(f->t->m, "n", &error_abort_slot));
}

/* ---- commands that are forgotten, or refused ---- */

/* What reached the medium: a letter and the first sector of each write, F for a flush; one write is kept
 * until it is let go. */
static struct {
    bool slow;
    Co *kept;
    GString *list;
} medium;

static int medium_pwritev(BlockNode *n G_GNUC_UNUSED, int64_t off, IoVec *v, unsigned flags G_GNUC_UNUSED)
{
    uint8_t c;
    iov_to_buf(v, 0, &c, 1);
    if (medium.slow) {
        medium.slow = false;
        medium.kept = co_self();
        co_yield();
        medium.kept = NULL;
    }
    g_string_append_printf(medium.list, "%c%u+%u ", c, (unsigned)(off / 512), (unsigned)(v->bytes / 512));
    return 0;
}

static int medium_flush(BlockNode *n G_GNUC_UNUSED)
{
    g_string_append(medium.list, "F ");
    return 0;
}

static void medium_begin(Fixture *f, bool slow)
{
    static BlockDriver driver;
    BlockNode *n = block_find(machine_block_graph(f->t->m), "n");
    driver = *n->driver;
    driver.pwritev = medium_pwritev;
    driver.flush = medium_flush;
    n->driver = &driver;
    medium.slow = slow;
    medium.kept = NULL;
    medium.list = g_string_new(NULL);
}

static void medium_end(const char *list)
{
    g_assert_cmpstr(medium.list->str, ==, list);
    g_string_free(medium.list, TRUE);
}

static void some_turns(Fixture *f)
{
    for (unsigned i = 0; i < 100 && loop_turn(f->t->loop, false); i++) {
    }
}

static void issue(Fixture *f, uint32_t queued, uint32_t others)
{
    set(f, 0, P_SACT, queued);
    set(f, 0, P_CI, queued | others);
}

static void restart(Fixture *f)
{
    set(f, 0, P_CMD, 0x10);
    set(f, 0, P_IS, 0xffffffff);
    set(f, 0, P_CMD, 0x11);
}

/* A port is stopped and started with all its slots full, again and again: no more requests are in flight than
 * those that were forgotten first. When they have ended, the commands that the port has by then are done. */
static void test_forgotten_bounded(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    DrivePort *p = drive_port_find(f->t->m, "d", &error_abort_slot);
    for (unsigned slot = 0; slot < 32; slot++) {
        prepare(f, 0, slot, slot & 1 ? 0x61 : 0x60, 8 * slot, 8, 4096);
    }
    prepare(f, 0, 31, 0x25, 0, 8, 4096);
    for (unsigned i = 0; i < 1000; i++) {
        issue(f, 0x7fffffff, 0x80000000);
        g_assert_cmpuint(p->in_flight, <=, 32);
        restart(f);
    }
    g_assert_cmpuint(p->in_flight, ==, 32);
    fill(f);
    issue(f, 0x7fffffff, 0x80000000);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0x7fffffff);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
    g_assert_cmphex(reg(f, 0, P_CI), ==, 0);
    g_assert_cmphex(pctest_read(f->t, BUF, 8), ==, 0);
    g_assert_cmpuint(p->in_flight, ==, 0);
}

/* A write that the guest gave up does not come after what it wrote instead, queued or not, or a flush. */
static void test_forgotten_order(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        uint8_t first, second;
        const char *list;
    } cases[] = {
        { 0x61, 0x61, "A64+8 B64+8 F " },
        { 0x61, 0x35, "A64+8 B64+8 F " },
        { 0x35, 0x61, "A64+8 B64+8 F " },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        medium_begin(f, true);
        pctest_write(f->t, BUF, 'A', 1);
        prepare(f, 0, 0, cases[i].first, 64, 8, 4096);
        issue(f, cases[i].first == 0x61, 1);
        some_turns(f);
        g_assert_nonnull(medium.kept);
        restart(f);
        if (cases[i].first != 0x61) { /* the drive is busy still */
            set(f, 0, P_SCTL, 0x301);
            set(f, 0, P_SCTL, 0x300);
        }
        pctest_write(f->t, BUF, 'B', 1);
        prepare(f, 0, 1, cases[i].second, 64, 8, 4096);
        issue(f, cases[i].second == 0x61 ? 2 : 0, 2);
        some_turns(f);
        g_assert_cmpstr(medium.list->str, ==, "");
        g_assert_cmphex(reg(f, 0, P_SACT) | reg(f, 0, P_CI), ==, 2);
        co_wake(medium.kept);
        pctest_settle(f->t);
        g_assert_cmphex(reg(f, 0, P_SACT) | reg(f, 0, P_CI), ==, 0);
        prepare(f, 0, 2, 0xea, 0, 0, 512);
        issue(f, 0, 4);
        pctest_settle(f->t);
        g_assert_cmphex(reg(f, 0, P_CI), ==, 0);
        medium_end(cases[i].list);
    }
}

/* A queued command whose slot is in use is refused, and the one that runs there is done as it was given. */
static void test_refused(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    enum { DATA = 0x200000, REGION = TABLE + 0x100 * 3 + 0x80 };
    medium_begin(f, true);
    pctest_write(f->t, DATA, 'A', 1);
    pctest_write(f->t, DATA + (512 << 10), 'B', 1);
    prepare(f, 0, 3, 0x61, 4096, 2048, 1 << 20);
    pctest_write(f->t, REGION, DATA, 8);
    issue(f, 1 << 3, 0);
    some_turns(f);
    g_assert_nonnull(medium.kept);
    prepare(f, 0, 3, 0x60, 77, 1, 1 << 20);
    pctest_write(f->t, REGION, DATA, 8);
    issue(f, 1 << 3, 0);
    g_assert_cmphex(reg(f, 0, P_IS) >> 30 & 1, ==, 1);
    g_assert_cmphex(reg(f, 0, P_TFD) & 0xff, ==, 0x51);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 1 << 3);
    co_wake(medium.kept);
    pctest_settle(f->t);
    g_assert_cmphex(reg(f, 0, P_SACT), ==, 0);
    medium_end("A4096+1024 B5120+1024 ");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
#define ADD(name, fn) g_test_add("/ahci/" name, Fixture, NULL, setup, fn, teardown)
    ADD("registers", test_registers);
    ADD("identify", test_identify);
    ADD("dma", test_dma);
    ADD("trim", test_trim);
    ADD("queued", test_queued);
    ADD("queued-long", test_queued_long);
    ADD("resets", test_resets);
    ADD("packet", test_packet);
    ADD("state", test_state);
    ADD("removed", test_removed);
    ADD("forgotten-bounded", test_forgotten_bounded);
    ADD("forgotten-order", test_forgotten_order);
    ADD("refused", test_refused);
    return g_test_run();
}
