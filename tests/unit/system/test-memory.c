/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-memory.c - region trees against a byte map, dispatch sizes, dirty pages, DMA,
 * readers that run beside commits.
 * Threads: main and reader threads.
 */
#include "tests/lib/testmachine.h"

#include <string.h>

/* ---- random trees against a model that asks each byte separately ---- */

enum { SPACE = 512, REGIONS = 14 };

static uint64_t id_read(void *opaque, MemAccess *a)
{
    return (GPOINTER_TO_UINT(opaque) << 4 | (a->off & 15)) & 0xff;
}
static const MemOps id_ops = { .read = id_read, .min = 1, .max = 1 };

/* What byte `off` of r shows: the leaf, and the offset in it. The definition, not the algorithm. */
static bool model(const MemRegion *r, int64_t off, const MemRegion **leaf, int64_t *leaf_off)
{
    if (!r->enabled || off < 0 || (uint64_t)off >= r->size) {
        return false;
    }
    if (r->alias) {
        return model(r->alias, off + (int64_t)r->alias_off, leaf, leaf_off);
    }
    for (GList *l = r->children; l; l = l->next) {
        const MemRegion *c = l->data;
        if (model(c, off - (int64_t)c->at, leaf, leaf_off)) {
            return true;
        }
    }
    *leaf = r;
    *leaf_off = off;
    return !r->container;
}

static void check_view(AddressSpace *as, MemRegion *root)
{
    rcu_read_lock();
    const FlatView *v = as_view(as);
    for (uint32_t i = 1; i < v->n; i++) {
        g_assert_cmphex(v->r[i - 1].start + v->r[i - 1].size, <=, v->r[i].start);
    }
    for (int64_t a = 0; a < SPACE + 8; a++) {
        const MemRegion *leaf = NULL;
        int64_t off = 0;
        const FlatRange *f = flatview_find(v, (hwaddr)a, NULL);
        if (!model(root, a, &leaf, &off)) {
            g_assert_null(f);
            continue;
        }
        g_assert_nonnull(f);
        g_assert_true(f->region == leaf);
        g_assert_cmpint((int64_t)(f->off + ((hwaddr)a - f->start)), ==, off);
    }
    rcu_read_unlock();
}

static bool is_above(const MemRegion *a, const MemRegion *b)
{
    for (; b; b = b->parent) {
        if (a == b) {
            return true;
        }
    }
    return false;
}

/* An alias may show only what was made before it, so no cycle can arise; its target must not hold it. */
static void random_edit(MemRegion *r, unsigned n, MemRegion *root)
{
    MemRegion *x = &r[g_test_rand_int_range(0, (int)n)];
    switch (g_test_rand_int_range(0, 7)) {
    case 0: region_set_enabled(x, g_test_rand_bit()); break;
    case 1: region_set_addr(x, g_test_rand_int_range(0, SPACE)); break;
    case 2: region_set_size(x, g_test_rand_int_range(0, SPACE / 2)); break;
    case 3: region_unmap(x); break;
    case 4: x->alias ? region_set_alias_off(x, g_test_rand_int_range(0, 64)) : (void)0; break;
    default: {
        if (x->parent) {
            break;
        }
        MemRegion *to = root;
        unsigned self = (unsigned)(x - r);
        if (self > 0 &&
            g_test_rand_bit()) { /* parents come before children: the tree stays a tree, also by aliases */
            MemRegion *c = &r[g_test_rand_int_range(0, (int)self)];
            to = c->container && !is_above(x, c) ? c : root;
        }
        region_map(to, g_test_rand_int_range(0, SPACE), x, g_test_rand_int_range(-2, 3));
    }
    }
}

static void test_random_trees(void)
{
    TestMachine *tm = tm_new(0);
    for (unsigned round = 0; round < 60; round++) {
        MemRegion root, r[REGIONS];
        AddressSpace as = { 0 };
        region_init(&root, NULL, "root", SPACE);
        as_init(&as, tm->m, "test", &root);
        for (unsigned i = 0; i < REGIONS; i++) {
            uint64_t size = g_test_rand_int_range(1, SPACE / 2);
            if (i < 4) {
                region_init(&r[i], NULL, "box", size);
            } else if (i < 10) {
                region_init_io(&r[i], NULL, "io", &id_ops, GUINT_TO_POINTER(i), size);
            } else { /* of leaves only: an alias of a box could come to hold itself */
                region_init_alias(&r[i], NULL, "alias", &r[g_test_rand_int_range(4, (int)i)],
                                  g_test_rand_int_range(0, 32), size);
            }
        }
        for (unsigned i = 0; i < 60; i++) {
            mem_begin(tm->m);
            for (unsigned k = g_test_rand_int_range(1, 4); k; k--) {
                random_edit(r, REGIONS, &root);
            }
            mem_commit(tm->m);
            check_view(&as, &root);
        }
        for (unsigned i = 0; i < REGIONS; i++) {
            region_unmap(&r[i]);
        }
        as_fini(&as);
        for (unsigned i = 0; i < REGIONS; i++) {
            region_fini(&r[i]);
        }
        region_fini(&root);
    }
    tm_free(tm);
}

static void test_alias_of_container(void)
{
    TestMachine *tm = tm_new(0x10000);
    MemRegion low, hole;
    region_init_alias(&low, NULL, "low", &tm->m->sysmem, 0x1000,
                      0x1000); /* shows part of its own container */
    region_map(&tm->m->sysmem, 0x100000, &low, 1);
    tm_write(tm, 0x1008, 4, 0x11223344);
    g_assert_cmphex(tm_read(tm, 0x100008, 4), ==, 0x11223344);
    region_init_io(&hole, NULL, "hole", &id_ops, NULL, 4);
    region_map(&tm->m->sysmem, 0x1008, &hole, 2);
    g_assert_cmphex(tm_read(tm, 0x100008, 1), ==, 0);
    region_unmap(&hole);
    region_unmap(&low);
    region_fini(&low);
    region_fini(&hole);
    tm_free(tm);
}

static void test_whole_space(void)
{
    TestMachine *tm = tm_new(0x1000);
    MemRegion all;
    region_init_io(&all, NULL, "all", &id_ops, GUINT_TO_POINTER(3), UINT64_MAX);
    region_map(&tm->m->sysmem, 0, &all, -1);
    g_assert_cmphex(tm_read(tm, UINT64_MAX, 1), ==, 0x3f);
    g_assert_cmphex(tm_read(tm, UINT64_C(1) << 63, 1), ==, 0x30);
    g_assert_cmphex(tm_read(tm, (UINT64_C(1) << 63) - 1, 1), ==, 0x3f);
    uint8_t buf[4];
    tm_copy_out(tm, UINT64_MAX - 1, buf, 4); /* wraps to RAM at 0 */
    g_assert_cmphex(buf[1], ==, 0x3f);
    g_assert_cmphex(buf[2], ==, 0);
    region_unmap(&all);
    region_fini(&all);
    tm_free(tm);
}

/* ---- dispatch ---- */

static GString *calls;

static uint64_t log_read(void *opaque G_GNUC_UNUSED, MemAccess *a)
{
    g_string_append_printf(calls, "r%u@%x ", a->size, (unsigned)a->off);
    uint64_t v = 0;
    for (unsigned i = 0; i < a->size; i++) {
        v |= (uint64_t)(0xa0 + a->off + i) << (8 * i);
    }
    return v;
}

static void log_write(void *opaque G_GNUC_UNUSED, MemAccess *a, uint64_t val)
{
    g_string_append_printf(calls, "w%u@%x=%x ", a->size, (unsigned)a->off, (unsigned)val);
}

typedef struct SizeCase {
    MemOps ops;
    unsigned off, size;
    MemResult res;
    uint64_t read;
    const char *reads, *writes; /* of 0x44332211 */
} SizeCase;
#define RW .read = log_read, .write = log_write

static const SizeCase size_cases[] = {
    { { RW }, 0, 4, MEM_OK, 0xa3a2a1a0, "r4@0 ", "w4@0=44332211 " },
    { { RW, .max = 1 },
      0,
      4,
      MEM_OK,
      0xa3a2a1a0,
      "r1@0 r1@1 r1@2 r1@3 ",
      "w1@0=11 w1@1=22 w1@2=33 w1@3=44 " },
    { { RW, .max = 1 }, 1, 2, MEM_OK, 0xa2a1, "r1@1 r1@2 ", "w1@1=11 w1@2=22 " },
    { { RW, .max = 2 }, 0, 4, MEM_OK, 0xa3a2a1a0, "r2@0 r2@2 ", "w2@0=2211 w2@2=4433 " },
    { { RW, .max = 2 }, 1, 2, MEM_DECODE_ERROR, 0xffff, "", "" },
    { { RW, .max = 2, .unaligned = true }, 1, 2, MEM_OK, 0xa2a1, "r2@1 ", "w2@1=2211 " },
    { { RW, .min = 4, .max = 4 }, 0, 2, MEM_DECODE_ERROR, 0xffff, "", "" },
    { { RW, .max = 4, .impl_max = 2 }, 4, 4, MEM_OK, 0xa7a6a5a4, "r2@4 r2@6 ", "w2@4=2211 w2@6=4433 " },
    { { RW, .impl_min = 4 }, 1, 1, MEM_OK, 0xa1, "r4@0 ", "w4@0=1100 " },
    { { RW, .impl_min = 4 }, 6, 2, MEM_OK, 0xa7a6, "r4@4 ", "w4@4=22110000 " },
    { { RW, .impl_min = 4, .unaligned = true },
      3,
      2,
      MEM_OK,
      0xa4a3,
      "r4@0 r4@4 ",
      "w4@0=11000000 w4@4=22 " },
    { { RW, .big_endian = true }, 0, 4, MEM_OK, 0xa0a1a2a3, "r4@0 ", "w4@0=11223344 " },
    { { RW, .max = 2, .big_endian = true }, 0, 4, MEM_OK, 0xa2a3a0a1, "r2@0 r2@2 ", "w2@0=1122 w2@2=3344 " },
    { { .write = log_write }, 0, 1, MEM_DECODE_ERROR, 0xff, "", NULL },
};

static void test_sizes(void)
{
    TestMachine *tm = tm_new(0);
    calls = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(size_cases); i++) {
        const SizeCase *c = &size_cases[i];
        MemRegion r;
        uint64_t v;
        region_init_io(&r, NULL, "sizes", &c->ops, NULL, 16);
        region_map(&tm->m->sysio, 0x100, &r, 0);
        g_string_truncate(calls, 0);
        g_assert_cmpint(as_load(&tm->m->as_io, 0x100 + c->off, c->size, &v, MEM_ATTRS_NONE), ==, c->res);
        g_assert_cmphex(v, ==, c->read);
        g_assert_cmpstr(calls->str, ==, c->reads);
        g_string_truncate(calls, 0);
        if (c->writes) {
            g_assert_cmpint(as_store(&tm->m->as_io, 0x100 + c->off, c->size, 0x44332211, MEM_ATTRS_NONE), ==,
                            c->res);
            g_assert_cmpstr(calls->str, ==, c->writes);
        }
        region_unmap(&r);
        region_fini(&r);
    }
    g_string_free(calls, TRUE);
    tm_free(tm);
}

static void test_across_ranges(void)
{
    TestMachine *tm = tm_new(0x1000);
    MemRegion r;
    static const MemOps ops = { RW };
    calls = g_string_new(NULL);
    region_init_io(&r, NULL, "after", &ops, NULL, 16);
    region_map(&tm->m->sysmem, 0x1000, &r, 0);
    tm_write(tm, 0xffe, 4, 0x44332211);
    g_assert_cmpstr(calls->str, ==, "w2@0=4433 ");
    g_assert_cmphex(tm_read(tm, 0xffe, 4), ==, 0xa1a02211);
    uint8_t buf[64];
    g_assert_cmpint(as_access(&tm->m->as_mem, 0xff0, buf, 64, false, MEM_ATTRS_NONE), ==, MEM_DECODE_ERROR);
    g_assert_cmphex(buf[16 + 15], ==, 0xaf);
    g_assert_cmphex(buf[32], ==, 0xff);
    region_unmap(&r);
    region_fini(&r);
    g_string_free(calls, TRUE);
    tm_free(tm);
}

static void test_rom(void)
{
    TestMachine *tm = tm_new(0);
    RamBlock *ram = ram_new(tm->m, "flash", 0x1000, &error_abort_slot);
    MemRegion rom, romd;
    static const MemOps ops = { RW };
    calls = g_string_new(NULL);
    memset(ram->host, 0x5a, 0x1000);
    region_init_rom(&rom, NULL, "rom", ram);
    region_init_rom_device(&romd, NULL, "romd", &ops, NULL, ram);
    region_map(&tm->m->sysmem, 0x1000, &rom, 0);
    region_map(&tm->m->sysmem, 0x2000, &romd, 0);
    tm_write(tm, 0x1000, 4, 0);
    g_assert_cmphex(tm_read(tm, 0x1000, 4), ==, 0x5a5a5a5a);
    tm_write(tm, 0x2004, 4, 7);
    g_assert_cmpstr(calls->str, ==, "w4@4=7 ");
    g_assert_cmphex(tm_read(tm, 0x2004, 4), ==, 0x5a5a5a5a);
    as_store(&tm->m->as_mem, 0x1000, 4, 1, (MemAttrs){ .debug = true });
    g_assert_cmphex(tm_read(tm, 0x2000, 4), ==, 1);
    region_set_readonly(&rom, false);
    tm_write(tm, 0x1000, 4, 2);
    g_assert_cmphex(tm_read(tm, 0x1000, 4), ==, 2);
    region_unmap(&rom);
    region_unmap(&romd);
    region_fini(&rom);
    region_fini(&romd);
    ram_unref(ram);
    g_string_free(calls, TRUE);
    tm_free(tm);
}

/* ---- dirty pages ---- */

static void test_dirty(void)
{
    TestMachine *tm = tm_new(300 << RAM_PAGE_BITS);
    RamBlock *ram = tm->m->ram;
    unsigned long bits[8];
    g_assert_cmpuint(dirty_take(ram, DIRTY_DISPLAY, 0, 300, bits), ==, 0); /* nobody listens */
    dirty_enable(ram, DIRTY_DISPLAY, true);
    g_assert_cmpuint(dirty_take(ram, DIRTY_DISPLAY, 0, 300, bits), ==, 300);
    g_assert_cmpuint(dirty_take(ram, DIRTY_DISPLAY, 0, 300, bits), ==, 0);
    tm_write(tm, 70 << RAM_PAGE_BITS, 1, 1);
    tm_write(tm, (71 << RAM_PAGE_BITS) - 2, 4, 1); /* two pages */
    dirty_enable(ram, DIRTY_MIGRATION, true);
    g_assert_cmpuint(dirty_take(ram, DIRTY_DISPLAY, 69, 10, bits), ==, 2);
    g_assert_cmphex(bits[0], ==, 6);
    tm_copy_in(tm, 200 << RAM_PAGE_BITS, "x", 1);
    tm_copy_in(tm, 200 << RAM_PAGE_BITS, "x", 1);
    g_assert_cmpuint(dirty_take(ram, DIRTY_DISPLAY, 0, 300, bits), ==, 1);
    g_assert_cmphex(bits[200 / 64], ==, 1ul << (200 % 64));
    g_assert_cmpuint(dirty_take(ram, DIRTY_MIGRATION, 0, 300, bits), ==, 300);
    dirty_enable(ram, DIRTY_DISPLAY, false);
    tm_copy_in(tm, 0, "x", 1);
    g_assert_cmpuint(dirty_take(ram, DIRTY_DISPLAY, 0, 300, bits), ==, 0);
    tm_free(tm);
}

/* Every write that happened before a take is in that take or an earlier one. */
typedef struct DirtyRace {
    TestMachine *tm;
    unsigned stop, written;
} DirtyRace;

static void *dirty_writer(void *opaque)
{
    DirtyRace *d = opaque;
    rcu_register_thread();
    for (unsigned i = 1; !__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE); i++) {
        tm_write(d->tm, 0x3000, 4, i);
        __atomic_store_n(&d->written, i, __ATOMIC_RELEASE);
    }
    rcu_unregister_thread();
    return NULL;
}

static void test_dirty_race(void)
{
    TestMachine *tm = tm_new(16 << RAM_PAGE_BITS);
    DirtyRace d = { .tm = tm };
    unsigned long bits;
    unsigned copy = 0;
    dirty_enable(tm->m->ram, DIRTY_MIGRATION, true);
    GThread *t = g_thread_new("writer", dirty_writer, &d);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned before = __atomic_load_n(&d.written, __ATOMIC_ACQUIRE);
        dirty_take(tm->m->ram, DIRTY_MIGRATION, 0, 16, &bits);
        if (bits & 8) {
            copy = (unsigned)tm_read(tm, 0x3000, 4);
        }
        g_assert_cmpuint(copy, >=, before);
    }
    __atomic_store_n(&d.stop, 1, __ATOMIC_RELEASE);
    g_thread_join(t);
    tm_free(tm);
}

/* A thread that does I/O writes outside any read section, while a client comes and goes. */
static void *outside_writer(void *opaque)
{
    DirtyRace *d = opaque;
    while (!__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE)) {
        ram_written(d->tm->m->ram, 0, d->tm->m->ram->size);
    }
    return NULL;
}

static void test_dirty_client(void)
{
    enum { PAGES = 1024 };
    TestMachine *tm = tm_new((size_t)PAGES << RAM_PAGE_BITS);
    DirtyRace d = { .tm = tm };
    unsigned long bits[PAGES / 64];
    GThread *t = g_thread_new("writer", outside_writer, &d);
    for (unsigned i = 0; i < 2000; i++) {
        dirty_enable(tm->m->ram, DIRTY_DISPLAY, true);
        dirty_take(tm->m->ram, DIRTY_DISPLAY, 0, PAGES, bits);
        dirty_enable(tm->m->ram, DIRTY_DISPLAY, false);
    }
    __atomic_store_n(&d.stop, 1, __ATOMIC_RELEASE);
    g_thread_join(t);
    rcu_barrier(); /* the maps are gone before the program ends */
    tm_free(tm);
}

/* ---- DMA ---- */

typedef struct Peer {
    Device dev;
    MemRegion regs;
    unsigned depth, writes;
    uint32_t last;
    DmaContext dma;
} Peer;

static uint64_t peer_read(void *opaque G_GNUC_UNUSED, MemAccess *a G_GNUC_UNUSED)
{
    g_assert_not_reached();
}

static void peer_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Peer *p = opaque;
    uint32_t v = (uint32_t)val + 1, back = 0;
    g_assert_cmpuint(p->depth, ==, 0); /* never re-entered */
    p->depth++;
    p->writes++;
    p->last = (uint32_t)val;
    if (val < 5) {
        g_assert_cmpint(dma_write(&p->dma, 0x100000, &v, 4), ==, MEM_OK);
        g_assert_cmpint(dma_read(&p->dma, 0x100000, &back, 4), ==, MEM_DEVICE_ERROR);
        g_assert_cmphex(back, ==, 0xffffffff);
    }
    p->depth--;
}

static bool peer_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .read = peer_read, .write = peer_write, .min = 4, .max = 4 };
    Peer *p = dev_as(Peer, dev);
    p->dma.as = &dev->machine->as_mem;
    region_init_io(&p->regs, dev, "peer", &ops, p, 16);
    device_map_mem(dev, &p->regs, 0x100000, 0);
    return true;
}

static const DeviceType peer_type = { .name = "peer", .size = sizeof(Peer), .realize = peer_realize };

static unsigned msis;
static void count_msi(void *opaque G_GNUC_UNUSED, MsiMessage msg)
{
    g_assert_cmphex(msg.addr, ==, 0xfee01004);
    g_assert_cmphex(msg.data, ==, 0x4041);
    msis++;
}

static void test_dma(void)
{
    TestMachine *tm = tm_new(0x10000);
    Peer *p = dev_as(Peer, tm_device_type(tm, &peer_type, NULL, NULL));
    tm_write(tm, 0x100000, 4, 1);
    g_assert_cmpuint(p->writes, ==, 1);
    tm_turns(tm);
    g_assert_cmpuint(p->writes, ==, 5);
    g_assert_cmpuint(p->last, ==, 5);

    tm_write(tm, 0x100000, 4, 1);
    machine_stop(tm->m, RUN_PAUSED); /* drains, in order, without a loop turn */
    g_assert_cmpuint(p->writes, ==, 10);
    machine_start(tm->m);

    DmaMap map;
    g_assert_true(dma_map(&p->dma, 0x1000, 0x2000, true, &map));
    g_assert_cmpuint(map.n, ==, 1);
    g_assert_true(map.iov[0].iov_base == tm->m->ram->host + 0x1000);
    dirty_enable(tm->m->ram, DIRTY_DISPLAY, true);
    unsigned long bits;
    dirty_take(tm->m->ram, DIRTY_DISPLAY, 0, 16, &bits);
    dma_unmap(&map, 0x1001);
    g_assert_cmpuint(dirty_take(tm->m->ram, DIRTY_DISPLAY, 0, 16, &bits), ==, 2);
    g_assert_false(dma_map(&p->dma, 0xf000, 0x2000, false, &map)); /* runs off the end */
    bool master = false;
    DmaContext off = { .as = &tm->m->as_mem, .enabled = &master };
    uint32_t v = 0;
    g_assert_cmpint(dma_read(&off, 0, &v, 4), ==, MEM_DECODE_ERROR);
    g_assert_cmphex(v, ==, 0xffffffff);

    tm->m->msi_sink = count_msi;
    tm->m->msi_base = 0xfee00000;
    tm->m->msi_size = 0x100000;
    v = 0x4041;
    g_assert_cmpint(dma_write(&p->dma, 0xfee01004, &v, 4), ==, MEM_OK);
    msi_send(tm->m, (MsiMessage){ .addr = 0xfee01004, .data = 0x4041 });
    g_assert_cmpuint(msis, ==, 2);
    /* what is behind a hole is reached: the window, RAM, registers */
    uint8_t data[0x18] = { [6] = 0x41, [7] = 0x40 };
    tm->m->msi_base = 0xfee01004;
    tm->m->msi_size = 4;
    g_assert_cmpint(dma_write(&p->dma, 0xfee00ffe, data, 10), ==, MEM_DECODE_ERROR);
    g_assert_cmpuint(msis, ==, 3);
    memset(data, 0x77, sizeof(data));
    tm_write(tm, 0, 4, 0x12345678);
    g_assert_cmpint(dma_read(&p->dma, UINT64_MAX - 7, data, 12), ==, MEM_DECODE_ERROR);
    g_assert_cmpmem(data, 12, "\xff\xff\xff\xff\xff\xff\xff\xff\x78\x56\x34\x12", 12);
    g_assert_cmpint(dma_write(&p->dma, 0xfffe, data, sizeof(data)), ==, MEM_DECODE_ERROR);
    g_assert_cmphex(tm_read(tm, 0xfffe, 2), ==, 0xffff);
    msi_send(tm->m, (MsiMessage){ .addr = 0x2000, .data = 0x99 });
    g_assert_cmphex(tm_read(tm, 0x2000, 4), ==, 0x99);

    /* a flood is bounded, and what waits for a device that goes is withdrawn */
    unsigned taken = 0;
    for (unsigned i = 0; i < 10000; i++) {
        v = 100;
        taken += dma_write(&p->dma, 0x100004, &v, 4) == MEM_OK;
    }
    g_assert_cmpuint(taken, ==, 4096);
    device_remove(&p->dev);
    tm_turns(tm);
    tm_free(tm);
}

/* A ring's index that the guest writes while a device reads it is the old one or the new one, and the other
 * way round: never one's low byte with the other's high byte. */
typedef struct Toggle {
    TestMachine *tm;
    DmaContext dma;
    unsigned len; /* 2, 4, 8 */
    unsigned stop;
} Toggle;
static const uint64_t toggled[2] = { 0x00ff00ff00ff00ff, 0x0100010001000100 };

static void *toggle_writer(void *opaque)
{
    Toggle *g = opaque;
    rcu_register_thread();
    for (unsigned i = 0; !__atomic_load_n(&g->stop, __ATOMIC_ACQUIRE); i++) {
        g_assert_cmpint(dma_write(&g->dma, 0x3008, &toggled[i & 1], g->len), ==, MEM_OK);
    }
    rcu_unregister_thread();
    return NULL;
}

static void test_index_whole(void)
{
    for (unsigned len = 2; len <= 8; len *= 2) {
        TestMachine *tm = tm_new(16 << RAM_PAGE_BITS);
        Toggle g = { .tm = tm, .dma = { .as = &tm->m->as_mem }, .len = len };
        uint64_t mask = UINT64_MAX >> (64 - 8 * len);
        g_assert_cmpint(dma_write(&g.dma, 0x3008, &toggled[0], len), ==, MEM_OK);
        GThread *t = g_thread_new("writer", toggle_writer, &g);
        for (unsigned i = 0; i < 200000; i++) {
            uint64_t v = 0;
            g_assert_cmpint(dma_read(&g.dma, 0x3008, &v, len), ==, MEM_OK);
            g_assert_true(v == (toggled[0] & mask) || v == (toggled[1] & mask));
        }
        __atomic_store_n(&g.stop, 1, __ATOMIC_RELEASE);
        g_thread_join(t);
        tm_free(tm);
    }
}

/* ---- readers beside commits ---- */

typedef struct Race {
    TestMachine *tm;
    unsigned stop;
} Race;

static uint64_t race_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    return GPOINTER_TO_UINT(opaque);
}

static void *race_reader(void *opaque)
{
    Race *r = opaque;
    rcu_register_thread();
    do { /* at least once: a busy host may start this thread after the race is over */
        uint64_t v = tm_read(r->tm, 0x8000, 1);
        g_assert_true(v == 1 || v == 2 || v == 0xff);
    } while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE));
    rcu_unregister_thread();
    return NULL;
}

static void test_readers(void)
{
    TestMachine *tm = tm_new(0x1000);
    Race race = { .tm = tm };
    static const MemOps ops = { .read = race_read };
    GThread *t[2];
    for (unsigned i = 0; i < 2; i++) {
        t[i] = g_thread_new("reader", race_reader, &race);
    }
    for (unsigned i = 0; i < 1500; i++) {
        MemRegion *one = g_new(MemRegion, 1), *two = g_new(MemRegion, 1);
        region_init_io(one, NULL, "one", &ops, GUINT_TO_POINTER(1), 0x10);
        region_init_io(two, NULL, "two", &ops, GUINT_TO_POINTER(2), 0x20);
        region_map(&tm->m->sysmem, 0x8000, one, 0);
        region_map(&tm->m->sysmem, 0x7ff0, two, i % 3 ? 1 : -1);
        mem_begin(tm->m);
        region_unmap(one);
        region_unmap(two);
        mem_commit(tm->m);
        region_fini(one);
        region_fini(two);
        rcu_defer(g_free, one); /* what device_remove() does with rcu_barrier() */
        rcu_defer(g_free, two);
    }
    __atomic_store_n(&race.stop, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < 2; i++) {
        g_thread_join(t[i]);
    }
    tm_free(tm);
}

static unsigned updates;
static void count_update(MemListener *l G_GNUC_UNUSED, const FlatView *was G_GNUC_UNUSED, const FlatView *now)
{
    g_assert_nonnull(now);
    updates++;
}

static void test_transactions(void)
{
    TestMachine *tm = tm_new(0x1000);
    MemRegion r;
    MemListener l = { .update = count_update };
    as_add_listener(&tm->m->as_mem, &l);
    g_assert_cmpuint(updates, ==, 1);
    region_init_io(&r, NULL, "r", &id_ops, NULL, 16);
    mem_begin(tm->m);
    region_map(&tm->m->sysmem, 0x5000, &r, 0);
    region_set_addr(&r, 0x6000);
    g_assert_cmpuint(updates, ==, 1);
    mem_commit(tm->m);
    g_assert_cmpuint(updates, ==, 2);
    region_set_addr(&r, 0x6000); /* no change, no view */
    mem_begin(tm->m);
    region_set_enabled(&r, false);
    region_set_enabled(&r, true);
    mem_commit(tm->m);
    g_assert_cmpuint(updates, ==, 2);
    g_autoptr(GString) text = g_string_new(NULL);
    as_print(&tm->m->as_mem, text, true);
    g_assert_nonnull(strstr(text->str, "  0000000000006000-000000000000600f (prio 0, i/o): r\n"));
    as_print(&tm->m->as_mem, text, false);
    region_unmap(&r);
    region_fini(&r);
    as_remove_listener(&tm->m->as_mem, &l);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/system/memory/random-trees", test_random_trees);
    g_test_add_func("/system/memory/alias-of-container", test_alias_of_container);
    g_test_add_func("/system/memory/whole-space", test_whole_space);
    g_test_add_func("/system/memory/sizes", test_sizes);
    g_test_add_func("/system/memory/across-ranges", test_across_ranges);
    g_test_add_func("/system/memory/rom", test_rom);
    g_test_add_func("/system/memory/dirty", test_dirty);
    g_test_add_func("/system/memory/dirty-race", test_dirty_race);
    g_test_add_func("/system/memory/dirty-client", test_dirty_client);
    g_test_add_func("/system/memory/dma", test_dma);
    g_test_add_func("/system/memory/index-whole", test_index_whole);
    g_test_add_func("/system/memory/readers", test_readers);
    g_test_add_func("/system/memory/transactions", test_transactions);
    return g_test_run();
}
