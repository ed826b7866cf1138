/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-balloon.c - hw/virtio/virtio-balloon.c, balloon-pages.c, system/ramdiscard.c and
 * balloon.c: a driver in the test gives pages of each kind of memory away, reports free ones, tells
 * statistics, and breaks the rules; what the host has of them afterwards.
 * Threads: main.
 */
#include "rhea/hw/virtio-mmio.h"
#include "rhea/system/balloon.h"
#include "rhea/system/liveprop.h"
#include "rhea/system/ramdiscard.h"
#include "tests/device/mmioguest.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 128, RAM = 16 << 20, PAGE = 4096, HUGE = 64 << 10 };
enum { INFLATE, DEFLATE, STATS, REPORT_OLD, REPORT };
enum { LIST = 0xc0000, /* where page numbers and statistics lie */
       FIRST = 0x200, /* number of the first page that tests give away: at 2 MiB */
       N_PAGES = 1024 };
enum { CONFIG = 0x100, F_MUST_TELL = 0, F_STATS, F_OOM, F_HINT, F_POISON, F_REPORTING };

static uint8_t *page(MmioGuest *g, unsigned n)
{
    return g->tm->m->ram->host + (size_t)n * PAGE;
}

/* Is it the host's no more? */
static bool gone(MmioGuest *g, unsigned n)
{
    unsigned char in = 1;
    g_assert_cmpint(mincore(page(g, n), PAGE, &in), ==, 0);
    return !(in & 1);
}

static void fill(MmioGuest *g)
{
    memset(page(g, FIRST), 0xa5, (size_t)N_PAGES * PAGE);
}

static bool kept(MmioGuest *g, unsigned n)
{
    const uint8_t *p = page(g, n);
    return p[0] == 0xa5 && !memcmp(p, p + 1, PAGE - 1);
}

static bool zero(MmioGuest *g, unsigned n)
{
    const uint8_t *p = page(g, n);
    return p[0] == 0 && !memcmp(p, p + 1, PAGE - 1);
}

/* Gives away (or takes back) pages by their numbers, and waits for the device. */
static void pages(MmioGuest *g, unsigned q, const uint32_t *list, unsigned n)
{
    unsigned used = mg_used(g, q);
    tm_copy_in(g->tm, LIST, list, 4 * n);
    mg_put(g, q, LIST, 4 * n, 0);
    tm_turns(g->tm);
    g_assert_cmpuint(mg_used(g, q), ==, used + 1);
    g_assert_cmpuint(mg_used_len(g, q, used), ==, 0);
    g_assert_cmphex(mg_rd(g, MG_STATUS), ==, MG_STATUS_OK);
}

static void range(MmioGuest *g, unsigned q, unsigned first, unsigned n)
{
    g_autofree uint32_t *list = g_new(uint32_t, n);
    for (unsigned i = 0; i < n; i++) {
        list[i] = first + (i * 7 + 3) % n; /* in no order: n is no multiple of 7 */
    }
    pages(g, q, list, n);
}

static void open_plain(MmioGuest *g, uint64_t features, const char *option)
{
    mg_open(g, RAM, SIZE);
    mg_plug(g, "virtio-balloon-device", option, option ? "on" : NULL, NULL);
    mg_start(g, features, 3);
    fill(g);
}

/* ---- what the driver sees at first ---- */

static uint64_t offered(const char *option, const char *value)
{
    MmioGuest g;
    mg_open(&g, RAM, SIZE);
    mg_plug(&g, "virtio-balloon-device", option, value, NULL);
    g_assert_cmpuint(mg_rd(&g, 8), ==, 5);
    uint64_t f = mg_features(&g) & 0xffffff;
    mg_close(&g);
    return f;
}

static void test_features(void)
{
    g_assert_cmphex(offered(NULL, NULL), ==, 1 << F_STATS | 1 << F_POISON);
    g_assert_cmphex(offered("page-poison", "off"), ==, 1 << F_STATS);
    g_assert_cmphex(offered("deflate-on-oom", "on"), ==, 1 << F_STATS | 1 << F_POISON | 1 << F_OOM);
    g_assert_cmphex(offered("free-page-reporting", "on"), ==,
                    1 << F_STATS | 1 << F_POISON | 1 << F_REPORTING);
}

static void refused(const char *prop, const char *value, const char *pattern)
{
    MmioGuest g;
    Error *err = NULL;
    mg_open(&g, RAM, SIZE);
    Device *dev = device_new(g.tm->m, device_type_find("virtio-balloon-device"), g.tm->m->peripheral, "x");
    g_assert_false(device_set(dev, prop, value, &err));
    g_assert_true(g_pattern_match_simple(pattern, error_text(err)));
    error_free(err);
    device_remove(dev);
    mg_close(&g);
}

static void test_refused(void)
{
    refused("free-page-hint", "on", "*'free-page-hint'*migrat*");
    refused("iothread", "t0", "*'iothread'*");
    refused("qemu-4-0-config-size", "on", "*'qemu-4-0-config-size'*");
}

/* ---- pages ---- */

static void test_inflate(void)
{
    MmioGuest g;
    open_plain(&g, 0, NULL);
    range(&g, INFLATE, FIRST + 1, 300);
    g_assert_true(kept(&g, FIRST) && kept(&g, FIRST + 301));
    for (unsigned i = 1; i <= 300; i++) {
        g_assert_true(gone(&g, FIRST + i));
    }
    g_assert_true(zero(&g, FIRST + 1) && zero(&g, FIRST + 300));
    page(&g, FIRST + 5)[0] = 1;
    range(&g, DEFLATE, FIRST + 1, 300);
    g_assert_cmpuint(page(&g, FIRST + 5)[0], ==, 1);
    g_assert_true(gone(&g, FIRST + 7)); /* it comes when it is used */
    uint32_t twice[] = { FIRST + 400, FIRST + 402, FIRST + 400, FIRST + 402, FIRST + 400 };
    pages(&g, INFLATE, twice, G_N_ELEMENTS(twice));
    g_assert_true(gone(&g, FIRST + 400) && gone(&g, FIRST + 402) && kept(&g, FIRST + 401));
    mg_close(&g);
}

/* More than one turn's worth, in pieces that cut numbers in two, with a rest that is no number. */
static void test_long(void)
{
    enum { N = 3000, BYTES = 4 * N + 3 };
    MmioGuest g;
    open_plain(&g, 0, NULL);
    for (unsigned i = 0; i < N; i++) {
        tm_write(g.tm, LIST + 4 * i, 4, FIRST + i % N_PAGES);
    }
    mg_desc(&g, INFLATE, 0, LIST, 4001, MG_NEXT, 1);
    mg_desc(&g, INFLATE, 1, LIST + 4001, 5, MG_NEXT, 2);
    mg_desc(&g, INFLATE, 2, LIST + 4006, BYTES - 4006, 0, 0);
    mg_offer(&g, INFLATE, 0);
    mg_kick(&g, INFLATE);
    g_assert_cmpuint(mg_used(&g, INFLATE), ==, 0);
    GByteArray *state = tm_save(g.tm); /* in the middle of it */
    tm_load(g.tm, state, &error_abort_slot);
    g_byte_array_free(state, TRUE);
    tm_turns(g.tm);
    g_assert_cmpuint(mg_used(&g, INFLATE), ==, 1);
    for (unsigned i = 0; i < N_PAGES; i++) {
        g_assert_true(zero(&g, FIRST + i));
    }
    fill(&g);
    mg_kick(&g, INFLATE);
    tm_turns(g.tm);
    g_assert_true(kept(&g, FIRST) && kept(&g, FIRST + N_PAGES - 1));
    mg_close(&g);
}

/* Numbers of nothing, of registers, of ROM; writable parts instead of readable ones; broken rings. */
static void test_hostile(void)
{
    MmioGuest g;
    static MemRegion rom;
    open_plain(&g, 0, NULL);
    Machine *m = g.tm->m;
    RamBlock *block = ram_new(m, "rom", PAGE, &error_abort_slot);
    region_init_rom(&rom, NULL, "rom", block);
    block->host[0] = 0x5a;
    region_map(&m->sysmem, UINT64_C(0x40000000), &rom, 1);
    uint32_t list[] = { UINT32_MAX, RAM / PAGE, 0x40000, MG_BASE / PAGE, UINT32_MAX - 1, FIRST };
    pages(&g, INFLATE, list, G_N_ELEMENTS(list));
    pages(&g, DEFLATE, list, G_N_ELEMENTS(list));
    g_assert_cmpuint(block->host[0], ==, 0x5a);
    g_assert_true(zero(&g, FIRST));
    for (unsigned q = INFLATE; q <= STATS; q++) {
        unsigned used = mg_used(&g, q);
        mg_put(&g, q, MG_BUFFERS + 0x80000, 64, MG_WRITE);
        tm_turns(g.tm);
        g_assert_cmpuint(mg_used(&g, q), ==, used + (q != STATS));
    }
    static const struct { uint64_t addr; uint32_t len; unsigned flags; } bad[] = {
        { RAM - 8, 16, 0 },      { UINT64_MAX - 7, 16, 0 }, { LIST, 0, 0 },
        { LIST, 16, MG_NEXT },   { MG_BASE, 16, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad) * 3; i++) {
        unsigned q = i % 3;
        mg_start(&g, 0, 3);
        mg_put(&g, q, bad[i / 3].addr, bad[i / 3].len, bad[i / 3].flags);
        g_assert_cmpuint(mg_used(&g, q), ==, 0);
        g_assert_cmphex(mg_rd(&g, MG_STATUS), ==, MG_STATUS_BROKEN);
        mg_kick(&g, q);
        tm_turns(g.tm);
    }
    mg_start(&g, 0, 3);
    range(&g, INFLATE, FIRST, 10);
    region_unmap(&rom);
    region_fini(&rom);
    ram_unref(block);
    mg_close(&g);
}

/* ---- kinds of memory ---- */

static RamBlock *make_shared(Machine *m)
{
    return ram_new_shared(m, "shared", RAM, &error_abort_slot);
}

static RamBlock *make_mapped(Machine *m, RamMapping map)
{
    map.fd = -1;
    map.size = RAM;
    if (!map.host) {
        map.host = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    g_assert_true(map.host != MAP_FAILED);
    return ram_new_mapped(m, "mapped", &map);
}

static RamBlock *make_huge(Machine *m)
{
    return make_mapped(m, (RamMapping){ .page = HUGE, .drop = RAM_DROP_PRIVATE });
}

static RamBlock *make_file(Machine *m, bool holes)
{
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("rhea-balloon-XXXXXX", &name, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, RAM), ==, 0);
    g_unlink(name);
    for (unsigned i = 0; !holes && i < RAM / PAGE; i++) {
        g_assert_cmpint(pwrite(fd, "file", 4, (off_t)i * PAGE), ==, 4);
    }
    void *host = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    return make_mapped(m, (RamMapping){ .host = host, .drop = holes ? RAM_DROP_PRIVATE : RAM_DROP_NEVER });
}

static RamBlock *make_new_file(Machine *m)
{
    return make_file(m, true);
}

static RamBlock *make_old_file(Machine *m)
{
    return make_file(m, false);
}

static void test_shared(void)
{
    MmioGuest g;
    mg_open_ram(&g, RAM, SIZE, make_shared);
    mg_plug(&g, "virtio-balloon-device", NULL);
    mg_start(&g, 0, 3);
    fill(&g);
    range(&g, INFLATE, FIRST, 100);
    g_assert_true(gone(&g, FIRST) && gone(&g, FIRST + 99) && kept(&g, FIRST + 100));
    uint8_t other[PAGE] = { 1 }; /* as another process sees it */
    g_assert_cmpint(pread(g.tm->m->ram->fd, other, PAGE, (off_t)FIRST * PAGE), ==, PAGE);
    g_assert_cmpuint(other[0], ==, 0);
    g_assert_true(zero(&g, FIRST + 99));
    mg_close(&g);
}

/* What lies below a private copy must not be seen: holes are zeros, contents are none. */
static void test_files(void)
{
    MmioGuest g;
    mg_open_ram(&g, RAM, SIZE, make_new_file);
    mg_plug(&g, "virtio-balloon-device", NULL);
    mg_start(&g, 0, 3);
    fill(&g);
    range(&g, INFLATE, FIRST, 100);
    g_assert_true(zero(&g, FIRST) && zero(&g, FIRST + 99) && kept(&g, FIRST + 100));
    mg_close(&g);
    mg_open_ram(&g, RAM, SIZE, make_old_file);
    mg_plug(&g, "virtio-balloon-device", NULL);
    mg_start(&g, 0, 3);
    fill(&g);
    range(&g, INFLATE, FIRST, 100);
    g_assert_true(kept(&g, FIRST) && kept(&g, FIRST + 99));
    mg_close(&g);
}

/* A large page of the host's goes with its last part. */
static void test_huge(void)
{
    enum { PARTS = HUGE / PAGE };
    MmioGuest g;
    mg_open_ram(&g, RAM, SIZE, make_huge);
    mg_plug(&g, "virtio-balloon-device", NULL);
    g_assert_cmphex(mg_features(&g) & 1 << F_MUST_TELL, !=, 0);
    mg_start(&g, MG_BIT(F_MUST_TELL), 3);
    fill(&g);
    range(&g, INFLATE, FIRST, PARTS - 1);
    g_assert_true(kept(&g, FIRST));
    range(&g, DEFLATE, FIRST + 2, 1); /* the guest uses it again */
    range(&g, INFLATE, FIRST + PARTS - 1, 1);
    g_assert_true(kept(&g, FIRST + 2) && kept(&g, FIRST));
    range(&g, INFLATE, FIRST + 2, 2);
    g_assert_true(gone(&g, FIRST) && gone(&g, FIRST + PARTS - 1) && kept(&g, FIRST + PARTS));
    page(&g, FIRST + 3)[0] = 9;
    range(&g, DEFLATE, FIRST + 3, 1);
    range(&g, INFLATE, FIRST + 4, 1); /* it is the balloon's already: nothing new is complete */
    g_assert_cmpuint(page(&g, FIRST + 3)[0], ==, 9);
    range(&g, INFLATE, FIRST + 3, 1);
    g_assert_true(gone(&g, FIRST + 3));
    fill(&g);
    range(&g, INFLATE, FIRST + PARTS, 1);
    mg_start(&g, MG_BIT(F_MUST_TELL), 3); /* a reset: all is the guest's */
    range(&g, INFLATE, FIRST + PARTS + 1, PARTS - 1);
    g_assert_true(kept(&g, FIRST + PARTS) && kept(&g, FIRST + 2 * PARTS - 1));
    mg_close(&g);
}

/* Without MUST_TELL_HOST only what one request has as a whole may go. */
static void test_huge_untold(void)
{
    enum { PARTS = HUGE / PAGE };
    MmioGuest g;
    mg_open_ram(&g, RAM, SIZE, make_huge);
    mg_plug(&g, "virtio-balloon-device", NULL);
    mg_start(&g, 0, 3);
    fill(&g);
    range(&g, INFLATE, FIRST, PARTS - 1);
    range(&g, INFLATE, FIRST + PARTS - 1, 1);
    g_assert_true(kept(&g, FIRST) && kept(&g, FIRST + PARTS - 1));
    range(&g, INFLATE, FIRST + PARTS - 1, PARTS + 2);
    g_assert_true(kept(&g, FIRST + PARTS - 1) && gone(&g, FIRST + PARTS) && gone(&g, FIRST + 2 * PARTS - 1) &&
                  kept(&g, FIRST + 2 * PARTS));
    mg_close(&g);
}

static void test_locked(void)
{
    MmioGuest g;
    open_plain(&g, 0, NULL);
    ram_discard_forbid(g.tm->m, RAM_KEEP_LOCKED);
    range(&g, INFLATE, FIRST, 10);
    g_assert_true(kept(&g, FIRST));
    mg_close(&g);
}

/* ---- who must hear of it ---- */

static unsigned code_calls;
static uint64_t code_off, code_len;

static void note_code(Machine *m G_GNUC_UNUSED, RamBlock *ram G_GNUC_UNUSED, uint64_t off, uint64_t len)
{
    code_calls++;
    code_off = off;
    code_len = len;
}

static void nothing(void *opaque G_GNUC_UNUSED)
{
}

/* Dirty clients, and accelerators that hold code of the pages. */
static void test_told(void)
{
    MmioGuest g;
    unsigned long bits[2];
    open_plain(&g, 0, NULL);
    Machine *m = g.tm->m;
    AccelOps accel = *m->accel;
    const AccelOps *was = m->accel;
    accel.code_written = note_code;
    m->accel = &accel;
    dirty_enable(m->ram, DIRTY_MIGRATION, true);
    dirty_take(m->ram, DIRTY_MIGRATION, FIRST, 64, bits);
    ram_code_join(m->ram, FIRST + 3, nothing, NULL);
    range(&g, INFLATE, FIRST + 10, 5);
    g_assert_cmpuint(code_calls, ==, 0);
    range(&g, INFLATE, FIRST + 2, 5);
    g_assert_cmpuint(code_calls, ==, 1);
    g_assert_true(code_off <= (FIRST + 3) * PAGE && code_off + code_len >= (FIRST + 4) * PAGE);
    g_assert_cmpuint(dirty_take(m->ram, DIRTY_MIGRATION, FIRST, 64, bits), ==, 10);
    g_assert_cmphex(bits[0], ==, 0x1ful << 10 | 0x1f << 2);
    ram_code_leave(m->ram, FIRST + 3);
    m->accel = was;
    mg_close(&g);
}

/* ---- free page reporting ---- */

static void report(MmioGuest *g, unsigned q, unsigned first, unsigned n)
{
    unsigned used = mg_used(g, q);
    mg_desc(g, q, 0, (uint64_t)first * PAGE, n * PAGE / 2, MG_WRITE | MG_NEXT, 1);
    mg_desc(g, q, 1, (uint64_t)first * PAGE + n * PAGE / 2, n * PAGE / 2, MG_WRITE, 0);
    mg_offer(g, q, 0);
    mg_kick(g, q);
    tm_turns(g->tm);
    g_assert_cmpuint(mg_used(g, q), ==, used + 1);
    g_assert_cmpuint(mg_used_len(g, q, used), ==, 0);
}

static void set_poison(MmioGuest *g, uint32_t val)
{
    tm_write(g->tm, MG_BASE + CONFIG + 12, 4, val);
    g_assert_cmphex(mg_rd(g, CONFIG + 12), ==, val);
}

static void test_reporting(void)
{
    MmioGuest g;
    mg_open(&g, RAM, SIZE);
    mg_plug(&g, "virtio-balloon-device", "free-page-reporting", "on", NULL);
    for (unsigned q = REPORT_OLD; q <= REPORT; q++) {
        mg_start(&g, MG_BIT(F_REPORTING), 5);
        fill(&g);
        report(&g, q, FIRST + 1, 512);
        g_assert_true(kept(&g, FIRST) && gone(&g, FIRST + 1));
        g_assert_true(gone(&g, FIRST + 512) && kept(&g, FIRST + 513));
        mg_put(&g, q, (FIRST + 520) * PAGE + 1, 3 * PAGE, MG_WRITE); /* parts of pages stay */
        tm_turns(g.tm);
        g_assert_true(kept(&g, FIRST + 520) && zero(&g, FIRST + 521) && zero(&g, FIRST + 522) &&
                      kept(&g, FIRST + 523));
        mg_put(&g, q, (FIRST + 530) * PAGE, PAGE, 0); /* the driver's to read: it is no report */
        tm_turns(g.tm);
        g_assert_true(kept(&g, FIRST + 530));
    }
    static const struct { uint32_t poison; bool goes; } kinds[] = { { 0xaaaaaaaa, false }, { 0, true } };
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        mg_start(&g, MG_BIT(F_REPORTING) | MG_BIT(F_POISON), 5);
        set_poison(&g, kinds[i].poison);
        fill(&g);
        report(&g, REPORT_OLD, FIRST, 4);
        g_assert_true(kinds[i].goes ? zero(&g, FIRST) : kept(&g, FIRST));
    }
    mg_start(&g, 0, 5); /* not negotiated */
    fill(&g);
    report(&g, REPORT, FIRST, 4);
    g_assert_true(kept(&g, FIRST));
    mg_close(&g);
}

/* ---- the target, and what the guest says ---- */

typedef struct Heard {
    MachineListener listener;
    unsigned n;
    uint64_t actual;
} Heard;

static void hear(void *opaque, const char *name, const Json *data)
{
    Heard *h = opaque;
    if (!strcmp(name, "BALLOON_CHANGE")) {
        h->n++;
        g_assert_true(json_get_uint(json_member(data, "actual", NULL), &h->actual));
    }
}

static void test_target(void)
{
    MmioGuest g;
    Heard h = { .listener = { .event = hear, .opaque = &h } };
    uint64_t bytes;
    open_plain(&g, 0, NULL);
    Machine *m = g.tm->m;
    machine_add_listener(m, &h.listener);
    g_assert_true(balloon_actual(m, &bytes, &error_abort_slot));
    g_assert_cmpuint(bytes, ==, RAM);
    g_assert_cmpuint(mg_rd(&g, CONFIG), ==, 0);
    uint32_t generation = mg_rd(&g, 0xfc);
    g_assert_true(balloon_set(m, RAM - 10 * PAGE - 1, &error_abort_slot));
    g_assert_true(g.tm->level[MG_PIN]);
    g_assert_cmphex(mg_rd(&g, 0x60), ==, 2);
    g_assert_cmpuint(mg_rd(&g, CONFIG), ==, 10);
    g_assert_cmpuint(mg_rd(&g, 0xfc), !=, generation);
    tm_write(g.tm, MG_BASE + CONFIG, 4, 77); /* the driver's to read */
    g_assert_cmpuint(mg_rd(&g, CONFIG), ==, 10);
    tm_write(g.tm, MG_BASE + CONFIG + 4, 4, 10);
    tm_turns(g.tm);
    g_assert_cmpuint(h.n, ==, 1);
    g_assert_cmpuint(h.actual, ==, RAM - 10 * PAGE);
    tm_write(g.tm, MG_BASE + CONFIG + 4, 4, 10); /* nothing new */
    tm_turns(g.tm);
    g_assert_cmpuint(h.n, ==, 1);
    static const uint8_t bytewise[] = { 0x01, 0x02, 0, 0 }; /* a value counts with its last byte */
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(mg_rd(&g, CONFIG + 4), ==, 10);
        tm_write(g.tm, MG_BASE + CONFIG + 4 + i, 1, bytewise[i]);
    }
    g_assert_cmpuint(mg_rd(&g, CONFIG + 4), ==, 0x201);
    for (unsigned i = 0; i < 100; i++) { /* a flood is told once */
        tm_write(g.tm, MG_BASE + CONFIG + 4, 4, UINT32_MAX - i % 2);
    }
    tm_turns(g.tm);
    g_assert_cmpuint(h.n, ==, 2);
    g_assert_cmpuint(h.actual, ==, 0);
    g_assert_true(balloon_actual(m, &bytes, &error_abort_slot));
    g_assert_cmpuint(bytes, ==, 0);
    g_assert_true(balloon_set(m, UINT64_MAX, &error_abort_slot)); /* more than there is: all of it */
    g_assert_cmpuint(mg_rd(&g, CONFIG), ==, 0);
    g_assert_true(balloon_set(m, RAM / 2, &error_abort_slot));
    tm_reset(g.tm); /* the guest has its memory, the host still wants some of it */
    tm_turns(g.tm);
    g_assert_cmpuint(h.actual, ==, RAM);
    mg_start(&g, 0, 3);
    g_assert_cmpuint(mg_rd(&g, CONFIG), ==, RAM / 2 / PAGE);
    machine_remove_listener(m, &h.listener);
    mg_close(&g);
}

static void test_errors(void)
{
    MmioGuest g;
    Error *err = NULL;
    uint64_t bytes;
    mg_open(&g, RAM, SIZE);
    Machine *m = g.tm->m;
    g_assert_false(balloon_set(m, RAM, &err));
    g_assert_cmpint(error_class(err), ==, ERROR_DEVICE_NOT_ACTIVE);
    g_clear_pointer(&err, error_free);
    g_assert_false(balloon_actual(m, &bytes, &err));
    g_assert_cmpint(error_class(err), ==, ERROR_DEVICE_NOT_ACTIVE);
    g_clear_pointer(&err, error_free);
    mg_plug(&g, "virtio-balloon-device", NULL);
    Device *second = device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, &error_abort_slot, NULL);
    Device *dev = device_new(m, device_type_find("virtio-balloon-device"), m->peripheral, "two");
    g_assert_false(device_realize(dev, virtio_mmio_bus(second), &err));
    g_assert_true(g_pattern_match_simple("*balloon already, 'dut'*", error_text(err)));
    g_clear_pointer(&err, error_free);
    device_remove(dev);
    g_assert_true(balloon_set(m, RAM, &error_abort_slot));
    ram_discard_forbid(m, RAM_KEEP_KVM);
    g_assert_false(balloon_set(m, RAM, &err));
    g_assert_cmpint(error_class(err), ==, ERROR_KVM_MISSING_CAP);
    g_clear_pointer(&err, error_free);
    mg_close(&g);
}

/* ---- statistics ---- */

static Json *get(MmioGuest *g, const char *name)
{
    const LiveProp *p = live_prop_find(g->dev->type, name);
    g_assert_nonnull(p);
    return p->get(g->dev);
}

/* UINT64_MAX: the guest did not tell. */
static uint64_t told(MmioGuest *g, const char *name)
{
    g_autoptr(Json) all = get(g, "guest-stats");
    uint64_t v = 0;
    g_assert_true(json_get_uint(json_member(json_member(all, "stats", NULL), name, NULL), &v));
    return v;
}

static int64_t last_update(MmioGuest *g)
{
    g_autoptr(Json) all = get(g, "guest-stats");
    int64_t v = -1;
    g_assert_true(json_get_int(json_member(all, "last-update", NULL), &v));
    return v;
}

static bool poll_each(MmioGuest *g, const char *json, Error **errp)
{
    g_autoptr(Json) v = json_parse(json, -1, &error_abort_slot);
    return live_prop_find(g->dev->type, "guest-stats-polling-interval")->set(g->dev, v, errp);
}

/* A driver's answer: all that it knows of is `val` and its tag. */
static void answer(MmioGuest *g, unsigned n, uint64_t val)
{
    for (unsigned i = 0; i < n; i++) {
        tm_write(g->tm, LIST + 10 * i, 2, n - 1 - i); /* in any order */
        tm_write(g->tm, LIST + 10 * i + 2, 8, val + n - 1 - i);
    }
    mg_put(g, STATS, LIST, 10 * n, 0);
}

static void test_stats(void)
{
    MmioGuest g;
    Error *err = NULL;
    open_plain(&g, MG_BIT(F_STATS), NULL);
    g_assert_cmpint(last_update(&g), ==, 0);
    g_assert_cmphex(told(&g, "stat-free-memory"), ==, UINT64_MAX);
    int64_t before = g_get_real_time() / G_USEC_PER_SEC;
    answer(&g, 12, 1000); /* two are of a later time than this device */
    g_assert_cmpuint(mg_used(&g, STATS), ==, 0); /* the device keeps it until it asks */
    g_assert_cmpuint(told(&g, "stat-swap-in"), ==, 1000);
    g_assert_cmpuint(told(&g, "stat-htlb-pgfail"), ==, 1009);
    g_assert_cmpint(last_update(&g), >=, before);
    tm_step(g.tm, INT64_C(100000000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 0); /* nobody wants any */
    g_assert_true(poll_each(&g, "2", &error_abort_slot));
    tm_turns(g.tm);
    g_assert_cmpuint(mg_used(&g, STATS), ==, 1); /* at once */
    tm_step(g.tm, INT64_C(10000000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 1); /* the driver does not answer */
    answer(&g, 5, 2000);
    g_assert_cmpuint(told(&g, "stat-free-memory"), ==, 2004);
    g_assert_cmphex(told(&g, "stat-total-memory"), ==, UINT64_MAX); /* it told of it before: not now */
    tm_step(g.tm, INT64_C(1999000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 1);
    GByteArray *state = tm_save(g.tm);
    tm_load(g.tm, state, &error_abort_slot);
    g_byte_array_free(state, TRUE);
    tm_step(g.tm, INT64_C(2000000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 2);
    g_assert_true(poll_each(&g, "0", &error_abort_slot));
    answer(&g, 1, 3000);
    tm_step(g.tm, INT64_C(10000000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 2);
    g_assert_cmpuint(told(&g, "stat-swap-in"), ==, 3000);
    static const char *const bad[] = { "-1", "4294967296", "\"x\"", "1.5" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(poll_each(&g, bad[i], &err));
        g_assert_nonnull(strstr(error_text(err), "guest-stats-polling-interval"));
        g_clear_pointer(&err, error_free);
    }
    g_assert_null(live_prop_find(g.dev->type, "guest-stats")->set);
    mg_close(&g);
}

/* Polling begins before there is a driver, goes on over its reset, and meets one that breaks the rules. */
static void test_stats_hostile(void)
{
    MmioGuest g;
    mg_open(&g, RAM, SIZE);
    mg_plug(&g, "virtio-balloon-device", "guest-stats-polling-interval", "1", NULL);
    tm_step(g.tm, INT64_C(3000000000));
    mg_start(&g, MG_BIT(F_STATS), 3);
    answer(&g, 10, 10);
    tm_step(g.tm, INT64_C(1000000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 1);
    for (unsigned i = 0; i < SIZE; i++) { /* more than one at a time */
        mg_desc(&g, STATS, i, LIST, 10 + i, 0, 0);
        mg_offer(&g, STATS, i);
        mg_kick(&g, STATS);
    }
    tm_step(g.tm, INT64_C(500000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 1);
    tm_step(g.tm, INT64_C(5000000000));
    g_assert_cmpuint(mg_used(&g, STATS), >, 1);
    g_assert_cmpuint(mg_used(&g, STATS), <, 12);
    mg_start(&g, MG_BIT(F_STATS), 3);
    tm_step(g.tm, INT64_C(3000000000));
    mg_put(&g, STATS, 0x200000, 8 << 20, 0); /* long, and no such tags */
    g_assert_cmphex(told(&g, "stat-swap-in"), !=, 10);
    mg_start(&g, MG_BIT(F_STATS), 3);
    answer(&g, 10, 70);
    g_assert_cmpuint(told(&g, "stat-swap-in"), ==, 70);
    tm_step(g.tm, INT64_C(1000000000));
    g_assert_cmpuint(mg_used(&g, STATS), ==, 1);
    mg_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/device/virtio-balloon/features", test_features);
    g_test_add_func("/device/virtio-balloon/refused", test_refused);
    g_test_add_func("/device/virtio-balloon/inflate", test_inflate);
    g_test_add_func("/device/virtio-balloon/long", test_long);
    g_test_add_func("/device/virtio-balloon/hostile", test_hostile);
    g_test_add_func("/device/virtio-balloon/shared", test_shared);
    g_test_add_func("/device/virtio-balloon/files", test_files);
    g_test_add_func("/device/virtio-balloon/huge", test_huge);
    g_test_add_func("/device/virtio-balloon/huge-untold", test_huge_untold);
    g_test_add_func("/device/virtio-balloon/locked", test_locked);
    g_test_add_func("/device/virtio-balloon/told", test_told);
    g_test_add_func("/device/virtio-balloon/reporting", test_reporting);
    g_test_add_func("/device/virtio-balloon/target", test_target);
    g_test_add_func("/device/virtio-balloon/errors", test_errors);
    g_test_add_func("/device/virtio-balloon/stats", test_stats);
    g_test_add_func("/device/virtio-balloon/stats-hostile", test_stats_hostile);
    return g_test_run();
}
