/* SPDX-License-Identifier: MIT
 * tests/device/test-generic.c - what every device type must stand: realized and removed again and again,
 * reset to the state it was born with, saved and loaded without a difference, hit at random.
 * The build's own device_table is the list, so the suite grows with it. RHEA_STORM=N: accesses per type.
 * Threads: main.
 */
#include "tests/device/dut.h"
#include "tests/device/guestways.h"
#include "tests/device/statedump.h"
#include "tests/lib/testmachine.h"

#include "rhea/backends/char.h"
#include "rhea/backends/drive.h"
#include "rhea/hw/fdc.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/pci.h"
#include "rhea/hw/usb.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/net/net.h"
#include "rhea/system/ramlist.h"
#include "hw/audio/hda.h"
#include "hw/virtio/virtio-serial.h"
#include "net/net_internal.h"

#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- a place for any device: an ISA and a PCI bus, a virtio transport on an empty board ---- */

typedef struct TestBridge {
    Device dev;
    MemRegion pci_mem;
    IsaBus *isa;
    PciBus *pci;
} TestBridge;

static bool bridge_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    TestBridge *b = dev_as(TestBridge, dev);
    Machine *m = dev->machine;
    b->isa = isa_bus_new(dev, "isa.0");
    region_init(&b->pci_mem, dev, "pci", UINT64_MAX); /* as on a board: chipsets alias into it */
    device_map_mem(dev, &b->pci_mem, 0, -1);
    b->pci = pci_bus_new(dev, "pci.0", &b->pci_mem, &m->sysio, NULL, NULL);
    b->pci->express = true; /* what root ports want; nobody else minds */
    return true;
}

static const DeviceType bridge_type = {
    .name = "test-bridge", .size = sizeof(TestBridge), .internal = true, .realize = bridge_realize,
};

typedef struct Place {
    TestMachine *tm;
    TestBridge *bridge;
    Device *transport; /* virtio */
    Device *fw_cfg;    /* made when a device wants it */
    Device *dev;
    Device *usb, *hda; /* controllers, once they are needed */
    DutHost host;
    const BoardType *on_board; /* the device is this board's own; NULL: made for the test */
} Place;

static char *firmware; /* 64 KiB of HLT for the board */

/* State that a cold reset keeps on purpose, as "section/field". */
static const char *const keeps[] = {
    NULL,
};

static Bus *bus_for(Place *p, const DeviceType *type)
{
    const DeviceType *t = type;
    while (t && !t->bus_type) {
        t = t->base;
    }
    if (!t) {
        return NULL;
    }
    if (t->bus_type == &virtio_serial_bus_type) {
        Machine *m = p->tm->m;
        Device *ctl = virtio_mmio_used(p->transport)
                          ? virtio_mmio_bus(p->transport)->children->pdata[0]
                          : device_create(m, device_type_find("virtio-serial-device"), m->unattached, NULL,
                                          virtio_mmio_bus(p->transport), &error_abort_slot, NULL);
        return ctl->buses->pdata[0];
    }
    if (t->bus_type == &fw_cfg_bus_type && !p->fw_cfg) {
        Machine *m = p->tm->m;
        p->fw_cfg = device_create(m, &fw_cfg_type, m->unattached, NULL, NULL, &error_abort_slot, NULL);
    }
    if (t->bus_type == &usb_bus_type) {
        Machine *m = p->tm->m;
        p->usb = p->usb ? p->usb
                        : device_create(m, device_type_find("qemu-xhci"), m->unattached, NULL,
                                        p->bridge->pci->bus, &error_abort_slot, NULL);
        return p->usb->buses->pdata[0];
    }
    if (t->bus_type == &hda_bus_type) {
        Machine *m = p->tm->m;
        p->hda = p->hda ? p->hda
                        : device_create(m, device_type_find("intel-hda"), m->unattached, NULL,
                                        p->bridge->pci->bus, &error_abort_slot, NULL);
        return p->hda->buses->pdata[0];
    }
    return t->bus_type == &isa_bus_type           ? p->bridge->isa->bus
           : t->bus_type == &pci_bus_type         ? p->bridge->pci->bus
           : t->bus_type == &virtio_mmio_bus_type ? virtio_mmio_bus(p->transport)
           : t->bus_type == &fw_cfg_bus_type      ? fw_cfg_bus(p->fw_cfg)
                                                  : NULL;
}

/* What must be there first, by name. */
static const struct {
    const char *type, *before;
} companions[] = { { "isa-pcspk", "isa-pit" } };

static void place_open(Place *p, const BoardType *on_board)
{
    p->on_board = on_board;
    p->bridge = NULL;
    p->dev = p->fw_cfg = p->usb = p->hda = NULL;
    p->tm = tm_prepare(on_board ? on_board : &board_none);
    Machine *m = p->tm->m;
    m->ram_size = on_board ? 64 << 20 : 16 << 20;
    m->bios = on_board ? g_strdup(firmware) : NULL;
    m->action.no_shutdown = true;
    m->rtc.clock = 2; /* virtual time: the host's would make copies differ */
    m->rtc.start_s = 1000000000;
    tm_build(p->tm);
    dut_host_open(&p->host, m);
    if (on_board) {
        return;
    }
    p->bridge = dev_as(TestBridge, device_create(m, &bridge_type, m->unattached, "test-bridge", NULL,
                                                 &error_abort_slot, NULL));
    for (unsigned i = 0; i < ISA_IRQS; i++) {
        irq_connect(&p->bridge->isa->irq_in[i], &tm_irq_sink, p->tm, i);
    }
    p->transport = device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, &error_abort_slot,
                                 "force-legacy", "off", NULL);
}

static Device *find_type(Device *dev, const DeviceType *type)
{
    if (dev->type == type) {
        return dev;
    }
    for (guint i = 0; i < dev->children->len; i++) {
        Device *found = find_type(dev->children->pdata[i], type);
        if (found) {
            return found;
        }
    }
    return NULL;
}

/* On the empty board: a device made for this. On the pc board: the one that is there. */
static bool place_device(Place *p, const DeviceType *type, Error **errp)
{
    Machine *m = p->tm->m;
    if (p->on_board) {
        p->dev = find_type(m->root, type);
        if (type == &isa_fdc_type && p->dev) { /* with a drive, and a disk of an odd size in it */
            device_create(m, &floppy_type, p->dev, NULL, p->dev->buses->pdata[0], &error_abort_slot, "drive",
                          "dut-disk", NULL);
        }
        return p->dev || error_set(errp, "no board has one");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(companions); i++) {
        const DeviceType *t = device_type_find(companions[i].before);
        if (!strcmp(type->name, companions[i].type) && !find_type(m->root, t)) {
            device_create(m, t, m->unattached, NULL, bus_for(p, t), &error_abort_slot, NULL);
        }
    }
    Device *dev = device_new(m, type, m->peripheral, "dut");
    if (!dut_connect(&p->host, dev, errp) || !device_realize(dev, bus_for(p, type), errp)) {
        device_remove(dev);
        return false;
    }
    p->dev = dev;
    for (guint i = 0; i < dev->irqs->len; i++) {
        IrqLine *line = dev->irqs->pdata[i];
        if (!line->ops) {
            irq_connect(line, &tm_irq_sink, p->tm, 32 + i % 32);
        }
    }
    return true;
}

static void place_close(Place *p)
{
    machine_stop(p->tm->m, RUN_PAUSED);
    dut_host_close(&p->host, p->tm->m);
    tm_free(p->tm);
}

/* ---- the storm ---- */

typedef struct Target {
    MemRegion *region;
    MemRegion window; /* an alias of it in a space of its own, so that it needs not be mapped */
} Target;
typedef struct Storm {
    Place *p;
    GRand *rand;
    MemRegion root;
    AddressSpace as;
    Target targets[64];
    unsigned n;
    const GuestWay *way;   /* besides regions and configuration space; may be NULL */
    bool feed;             /* input comes from outside, too */
    unsigned hits;         /* accesses that something answered */
    const MemRegion *last; /* what the last access hit; NULL: configuration space */
} Storm;

static void storm_add(Storm *s, MemRegion *r)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->targets[i].region == r) {
            return;
        }
    }
    if (s->n == G_N_ELEMENTS(s->targets) || r->container || r->alias || !r->size ||
        r->size > (UINT64_C(1) << 40)) {
        return;
    }
    Target *t = &s->targets[s->n];
    t->region = r;
    region_init_alias(&t->window, NULL, "storm", r, 0, r->size);
    region_map(&s->root, (hwaddr)s->n++ << 44, &t->window, 0);
}

static bool belongs(const Device *owner, const Device *dev)
{
    for (; owner; owner = owner->parent) {
        if (owner == dev) {
            return true;
        }
    }
    return false;
}

/* What the device mapped by itself is found in the views. */
static void storm_add_mapped(Storm *s, AddressSpace *as)
{
    rcu_read_lock();
    const FlatView *v = as_view(as);
    for (uint32_t i = 0; i < v->n; i++) {
        if (belongs(v->r[i].region->owner, s->p->dev)) {
            storm_add(s, v->r[i].region);
        }
    }
    rcu_read_unlock();
}

static void storm_open(Storm *s, Place *p, GRand *rand)
{
    memset(s, 0, sizeof(*s));
    s->p = p;
    s->rand = rand;
    s->way = guest_way_find(p->dev->type);
    region_init(&s->root, NULL, "storm", UINT64_MAX);
    as_init(&s->as, p->tm->m, "storm", &s->root);
    mem_begin(p->tm->m);
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    g_ptr_array_add(all, p->dev);
    for (guint i = 0; i < all->len; i++) {
        Device *d = all->pdata[i];
        for (guint k = 0; k < d->regions->len; k++) {
            storm_add(s, d->regions->pdata[k]);
        }
        for (guint k = 0; k < d->children->len; k++) {
            g_ptr_array_add(all, d->children->pdata[k]);
        }
    }
    if (p->dev->bus && p->dev->bus->type == &virtio_mmio_bus_type) { /* its registers are the transport's */
        storm_add(s, device_region(p->dev->bus->owner, 0));
    }
    storm_add_mapped(s, &p->tm->m->as_mem);
    storm_add_mapped(s, &p->tm->m->as_io);
    mem_commit(p->tm->m);
}

static void storm_close(Storm *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        region_unmap(&s->targets[i].window);
        region_fini(&s->targets[i].window);
    }
    as_fini(&s->as);
    region_fini(&s->root);
}

static uint64_t storm_value(Storm *s)
{
    uint64_t v = (uint64_t)g_rand_int(s->rand) << 32 | g_rand_int(s->rand);
    switch (g_rand_int_range(s->rand, 0, 6)) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return v & 0xff;
    case 3: return UINT64_C(1) << (v & 63);
    case 4: return v & 0xfffffc; /* an address in RAM, for what takes one */
    default: return v;
    }
}

static bool is_pci(const Device *dev)
{
    return dev->bus && dev->bus->type == &pci_bus_type;
}

/* A frame to the card, to all, or to anybody. */
static void storm_feed_frame(Storm *s)
{
    uint8_t f[1514];
    size_t len = (size_t)g_rand_int_range(s->rand, NET_ETH, (gint32)sizeof(f));
    memset(f, (int)g_rand_int(s->rand), len);
    if (g_rand_boolean(s->rand)) {
        memset(f, 0xff, NET_MAC);
    }
    net_client_send(net_client_find(s->p->tm->m, s->p->host.netdev), &(NetFrame){ .data = f, .len = len });
}

/* Something comes from outside: the other end of a serial line has something to say, keys are hit. */
static void storm_feed(Storm *s)
{
    uint32_t bytes = g_rand_int(s->rand);
    chardev_buffer_feed(s->p->host.chardev, (const uint8_t *)&bytes, 1 + bytes % 4);
    storm_feed_frame(s);
    if (s->way && s->way->feed) {
        s->way->feed(s->p->dev, s->rand);
    }
}

static uint64_t storm_config(Storm *s, unsigned size, bool write)
{
    PciFunc *f = pci_func(s->p->dev);
    unsigned len = size > 4 ? 4 : size;
    unsigned off = (unsigned)g_rand_int_range(s->rand, 0, f->express_cap && g_rand_boolean(s->rand)
                                                           ? PCIE_CONFIG_SIZE
                                                           : PCI_CONFIG_SIZE) & ~(len - 1);
    s->hits++;
    if (write) {
        pci_config_write(f->bus, f->devfn, off, (uint32_t)storm_value(s), len);
        return 0;
    }
    return pci_config_read(f->bus, f->devfn, off, len);
}

/* One access of one of the device's regions, of its configuration space, or over the way it has instead.
 * Returns what was read. */
static uint64_t storm_access(Storm *s)
{
    if (s->feed && g_rand_int_range(s->rand, 0, 16) == 0) {
        storm_feed(s);
    }
    unsigned size = 1u << g_rand_int_range(s->rand, 0, 4);
    bool pci = is_pci(s->p->dev);
    bool write = g_rand_boolean(s->rand);
    uint64_t v = 0;
    unsigned pick = (unsigned)g_rand_int_range(s->rand, 0, (int)s->n + pci + (s->way != NULL));
    s->last = NULL;
    if (pick >= s->n && s->way) {
        s->hits++;
        return s->way->access(s->p->dev, s->rand, write, storm_value(s));
    }
    if (pick >= s->n) {
        return storm_config(s, size, write);
    }
    MemRegion *r = s->targets[pick].region;
    s->last = r;
    uint64_t near = r->size < 256 || g_rand_boolean(s->rand) ? (r->size < 256 ? r->size : 256) : r->size;
    hwaddr off = ((uint64_t)g_rand_int(s->rand) << 8 ^ g_rand_int(s->rand)) % near;
    hwaddr at = ((hwaddr)pick << 44) + off;
    if (g_rand_int_range(s->rand, 0, 8)) { /* mostly as a driver would */
        while (size > 1 && (off % size || off + size > r->size)) {
            size /= 2;
        }
    }
    MemResult res = write ? as_store(&s->as, at, size, storm_value(s), (MemAttrs){ .cpu = true })
                          : as_load(&s->as, at, size, &v, (MemAttrs){ .cpu = true });
    s->hits += res == MEM_OK;
    return v;
}

static void storm_turns(Storm *s)
{
    uint8_t sink[256];
    while (chardev_buffer_take(s->p->host.chardev, sink, sizeof(sink))) {
    }
    for (unsigned i = 0; i < 50 && loop_turn(s->p->tm->loop, false); i++) {
    }
    if (!machine_running(s->p->tm->m)) {
        machine_start(s->p->tm->m);
    }
}

/* Lets a little time pass, at most so many timers of it: registers can ask for nanosecond periods. */
static void storm_time(Storm *s)
{
    TestMachine *tm = s->p->tm;
    int64_t target = tm_now(tm) + g_rand_int_range(s->rand, 1, 100000);
    for (unsigned i = 0; i < 20 && tm_now(tm) < target; i++) {
        accel_test_set_clock(tm->m, i == 19 ? target : accel_test_next(tm->m, target));
        storm_turns(s);
    }
}

static void storm_run(Storm *s, unsigned n, bool time)
{
    for (unsigned i = 1; i <= n; i++) {
        storm_access(s);
        if (i % 32 == 0) {
            storm_turns(s);
        }
        if (time && i % 64 == 0) {
            storm_time(s);
        }
    }
    storm_turns(s);
}

static GByteArray *save(Place *p)
{
    GByteArray *out = g_byte_array_new();
    device_tree_save(p->dev, out);
    return out;
}

static void check_same(const char *what, const DeviceType *type, GByteArray *a, GByteArray *b,
                       const char *const *except)
{
    g_autofree char *diff = statedump_diff(a, b, except);
    if (diff) {
        g_test_message("%s: %s: %s", type->name, what, diff);
        g_test_fail();
    }
    g_byte_array_free(a, TRUE);
    g_byte_array_free(b, TRUE);
}

/* ---- the tests; each type is a test case of its own ---- */

static bool can_be_made(Place *p, const DeviceType *type)
{
    Error *alone = NULL, *board = NULL;
    place_open(p, NULL);
    if (place_device(p, type, &alone)) {
        return true;
    }
    place_close(p);
    static const BoardType *const boards[] = { &pc_board, &q35_board };
    for (unsigned i = 0; i < G_N_ELEMENTS(boards); i++) {
        place_open(p, boards[i]);
        error_free(board);
        board = NULL;
        if (place_device(p, type, &board)) {
            error_free(alone);
            return true;
        }
        place_close(p);
    }
    g_autofree char *why =
        g_strdup_printf("cannot be made alone (%s), and %s", error_text(alone), error_text(board));
    g_test_skip(why);
    error_free(alone);
    error_free(board);
    return false;
}

static void test_life(const void *data)
{
    Place p;
    if (!can_be_made(&p, data)) {
        return;
    }
    for (unsigned i = 0; i < 5 && !p.on_board; i++) {
        if (i) {
            g_assert_true(place_device(&p, data, &error_abort_slot));
        }
        device_remove(p.dev);
        tm_turns(p.tm);
    }
    place_close(&p);
}

static void test_reset(const void *data)
{
    Place p;
    if (!can_be_made(&p, data)) {
        return;
    }
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    GByteArray *fresh = save(&p);
    Storm s;
    storm_open(&s, &p, rand);
    storm_run(&s, 500, false); /* no time passes: counters that run would differ */
    storm_close(&s);
    device_reset(p.dev, RESET_COLD);
    storm_turns(&s);
    check_same("after reset it is not as new", data, fresh, save(&p), keeps);
    g_rand_free(rand);
    place_close(&p);
}

static void check_round_trip(Place *p, const DeviceType *type)
{
    GByteArray *first = save(p);
    Place q;
    place_open(&q, p->on_board);
    place_device(&q, type, &error_abort_slot);
    accel_test_set_clock(q.tm->m, tm_now(p->tm));
    const uint8_t *at = first->data;
    Error *err = NULL;
    if (!device_tree_load(q.dev, &at, first->data + first->len, &err)) {
        g_test_message("%s: its own state is refused: %s", type->name, error_text(err));
        g_test_fail();
        error_free(err);
        g_byte_array_free(first, TRUE);
    } else {
        check_same("save, load, save", type, first, save(&q), NULL);
    }
    place_close(&q);
}

static void test_state(const void *data)
{
    Place p;
    if (!can_be_made(&p, data)) {
        return;
    }
    check_round_trip(&p, data);
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    for (unsigned i = 0; i < 4; i++) {
        Storm s;
        storm_open(&s, &p, rand);
        storm_run(&s, 200, true);
        storm_close(&s);
        check_round_trip(&p, data);
    }
    g_rand_free(rand);
    place_close(&p);
}

/* Memory is saved as RAM, the devices' own too. */
static void copy_onto(RamBlock *to, void *opaque)
{
    const RamBlock *from = opaque;
    if (from->size == to->size && g_str_equal(from->name, to->name)) {
        memcpy(to->host, from->host, from->size);
    }
}

static void copy_block(RamBlock *from, void *opaque)
{
    ram_foreach(opaque, copy_onto, from);
}

/* A copy made by saving and loading must answer like the original from then on: what the tables forget
 * shows here, and only here. */
static void check_twin(Place *p, const DeviceType *type, guint32 seed)
{
    Place q;
    Storm s[2];
    place_open(&q, p->on_board);
    place_device(&q, type, &error_abort_slot);
    accel_test_set_clock(q.tm->m, tm_now(p->tm));
    ram_foreach(p->tm->m, copy_block, q.tm->m);
    GByteArray *state = save(p);
    const uint8_t *at = state->data;
    device_tree_load(q.dev, &at, state->data + state->len, &error_abort_slot);
    g_byte_array_free(state, TRUE);
    storm_open(&s[0], p, g_rand_new_with_seed(seed));
    storm_open(&s[1], &q, g_rand_new_with_seed(seed));
    bool same = true;
    for (unsigned i = 1; i <= 400 && same; i++) {
        uint64_t a = storm_access(&s[0]), b = storm_access(&s[1]);
        same = a == b;
        if (!same) {
            g_test_message("%s: access %u after save and load reads 0x%" G_GINT64_MODIFIER
                           "x, not 0x%" G_GINT64_MODIFIER "x (region %s, seed %u)",
                           type->name, i, b, a, s[0].last ? s[0].last->name : "config", seed);
            g_test_fail();
        }
        for (unsigned k = 0; k < 2; k++) {
            storm_turns(&s[k]);
            if (i % 16 == 0) {
                storm_time(&s[k]);
            }
        }
    }
    for (unsigned k = 0; k < 2; k++) {
        g_rand_free(s[k].rand);
        storm_close(&s[k]);
    }
    if (same) {
        check_same("a loaded copy went another way", type, save(p), save(&q), NULL);
    }
    place_close(&q);
}

static void test_twin(const void *data)
{
    Place p;
    if (!can_be_made(&p, data)) {
        return;
    }
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    for (unsigned i = 0; i < 10 && !g_test_failed(); i++) {
        Storm s;
        storm_open(&s, &p, rand);
        storm_run(&s, 200, true);
        storm_close(&s);
        check_twin(&p, data, (guint32)g_test_rand_int());
    }
    g_rand_free(rand);
    place_close(&p);
}

/* Damaged state, checksums made right, must be refused or be good to run on. */
static void test_hostile_state(const void *data)
{
    Place p;
    if (!can_be_made(&p, data)) {
        return;
    }
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    GByteArray *good = save(&p);
    Storm s;
    for (unsigned i = 0; i < 60; i++) {
        GByteArray *bad = g_byte_array_new();
        g_byte_array_append(bad, good->data, good->len);
        for (int k = g_rand_int_range(rand, 1, 8); k; k--) {
            bad->data[g_rand_int_range(rand, 0, (int)bad->len)] = (uint8_t)g_rand_int(rand);
        }
        statedump_fix_checksums(bad);
        const uint8_t *at = bad->data;
        Error *err = NULL;
        device_tree_load(p.dev, &at, bad->data + bad->len, &err);
        error_free(err);
        g_byte_array_free(bad, TRUE);
        storm_open(&s, &p, rand);
        s.feed = true;
        storm_run(&s, 40, true);
        storm_close(&s);
    }
    g_byte_array_free(good, TRUE);
    g_rand_free(rand);
    place_close(&p);
}

static void test_storm(const void *data)
{
    Place p;
    if (!can_be_made(&p, data)) {
        return;
    }
    const char *env = g_getenv("RHEA_STORM");
    unsigned n = env ? (unsigned)strtoul(env, NULL, 0) : 20000;
    uint64_t hits = 0, tries = 0;
    unsigned regions = 0;
    const GuestWay *way = guest_way_find(data);
    gint64 start = g_get_monotonic_time();
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    while (hits < n && tries < 16 * (uint64_t)n) {
        unsigned part = (unsigned)MIN(n - hits, 4000);
        Storm s;
        storm_open(&s, &p, rand);
        s.feed = true;
        storm_run(&s, part, true);
        storm_close(&s);
        tries += part;
        hits += s.hits;
        regions = MAX(regions, s.n);
        device_reset(p.dev, g_rand_boolean(rand) ? RESET_COLD : RESET_WARM);
        storm_turns(&s);
    }
    g_test_message("%s, %s: %" PRIu64 " accesses answered, of %" PRIu64 " of %u regions%s%s%s, in %.1f s",
                   ((const DeviceType *)data)->name, p.on_board ? p.on_board->alias : "alone", hits, tries,
                   regions, is_pci(p.dev) ? " and configuration space" : "", way ? " and " : "",
                   way ? way->name : "", (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
    g_assert_cmpuint(hits, >=, n); /* the others are too wide, or beyond the end */
    g_rand_free(rand);
    place_close(&p);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        GTestDataFunc fn;
    } tests[] = { { "life", test_life },
                  { "reset", test_reset },
                  { "state", test_state },
                  { "twin", test_twin },
                  { "hostile-state", test_hostile_state },
                  { "storm", test_storm } };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    chardev_register();
    drive_register();
    net_register();
    g_autofree char *dir = g_dir_make_tmp("rhea-generic-XXXXXX", NULL);
    g_autofree char *halts = g_strnfill(64 << 10, (char)0xf4);
    firmware = g_build_filename(dir, "firmware", NULL);
    g_file_set_contents(firmware, halts, 64 << 10, NULL);
    for (unsigned t = 0; device_table[t]; t++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
            g_autofree char *path = g_strdup_printf("/device/%s/%s", device_table[t]->name, tests[i].name);
            g_test_add_data_func(path, device_table[t], tests[i].fn);
        }
    }
    int rc = g_test_run();
    g_unlink(firmware);
    g_rmdir(dir);
    g_free(firmware);
    return rc;
}
