/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-net.c - hw/virtio/virtio-net.c, virtio-net-ctrl.c and what they use of queue.c: a
 * driver in the test sends and receives frames, sets filters, and breaks the rules. At the other end of the
 * cable, behind a hub, is a card of the test's own. Threads: main.
 */
#include "rhea/hw/virtio-mmio.h"
#include "hw/net/nic.h"
#include "nicguest.h"
#include "virtnetdrive.h"
#include "rhea/schema/type.h"

#include <string.h>

enum {
    BASE = 0xfeb00000,
    SIZE = 64,
    RINGS = 0x10000, /* of queue q: 64 KiB from q * RINGS on */
    AVAIL = 0x2000,
    USED = 0x3000,
    BUFFERS = 0x100000,
    BUFFER = 0x1000,
    HEADER = 12,
    NEXT = 1,
    WRITE = 2,
    RX = 0,
    TX = 1,
    CTRL = 2,
};
#define BIT(n)     (UINT64_C(1) << (n))
#define VERSION_1  BIT(32)
#define CSUM       BIT(0)
#define GUEST_CSUM BIT(1)
#define TSO4       (BIT(11) | CSUM)
#define MRG        BIT(15)
#define STATUS     BIT(16)
#define CTRL_ALL   (BIT(2) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | BIT(23) | STATUS)

typedef struct Guest {
    TestMachine *tm;
    Device *transport, *dev;
    TestNic *peer;
    uint16_t avail[3], used[3];
} Guest;

static uint8_t *ram(Guest *g, hwaddr at)
{
    return g->tm->m->ram->host + at;
}

static uint32_t rd(Guest *g, unsigned off)
{
    return (uint32_t)tm_read(g->tm, BASE + off, 4);
}

static void wr(Guest *g, unsigned off, uint32_t v)
{
    tm_write(g->tm, BASE + off, 4, v);
}

static void guest_open(Guest *g, const char *prop, const char *val)
{
    memset(g, 0, sizeof(*g));
    g->tm = tm_new(16 << 20);
    Machine *m = g->tm->m;
    netdev_new(g->tm, "hubport,id=h0,hubid=0");
    netdev_new(g->tm, "hubport,id=h1,hubid=0");
    g->peer = test_nic_new(g->tm, "peer", "h1");
    g->transport = device_create(m, &virtio_mmio_type, m->unattached, NULL, NULL, &error_abort_slot,
                                 "force-legacy", "off", NULL);
    device_map_mem(g->transport, device_region(g->transport, 0), BASE, 1);
    tm_connect(g->tm, g->transport, 0, 7);
    g->dev =
        device_create(m, device_type_find("virtio-net-device"), m->peripheral, "card",
                      virtio_mmio_bus(g->transport), &error_abort_slot, "netdev", "h0", "mac",
                      "52:54:00:aa:bb:cc", prop, val, NULL);
}

static void guest_close(Guest *g)
{
    net_test_free(g->tm);
}

static uint64_t features(Guest *g)
{
    wr(g, 0x14, 0);
    uint64_t low = rd(g, 0x10);
    wr(g, 0x14, 1);
    return low | (uint64_t)rd(g, 0x10) << 32;
}

static void guest_start(Guest *g, uint64_t want)
{
    wr(g, 0x70, 0);
    g_assert_cmphex(rd(g, 0x70), ==, 0);
    memset(ram(g, 0), 0, 3 * RINGS);
    memset(g->avail, 0, sizeof(g->avail));
    memset(g->used, 0, sizeof(g->used));
    wr(g, 0x70, 3);
    for (unsigned i = 0; i < 2; i++) {
        wr(g, 0x24, i);
        wr(g, 0x20, (uint32_t)(want >> (32 * i)));
    }
    wr(g, 0x70, 11);
    g_assert_cmphex(rd(g, 0x70), ==, 11);
    for (unsigned q = 0; q < 3; q++) {
        wr(g, 0x30, q);
        wr(g, 0x38, SIZE);
        wr(g, 0x80, q * RINGS);
        wr(g, 0x90, q * RINGS + AVAIL);
        wr(g, 0xa0, q * RINGS + USED);
        wr(g, 0x44, 1);
        g_assert_cmpuint(rd(g, 0x44), ==, 1);
    }
    wr(g, 0x70, 15);
}

static void set_desc(Guest *g, unsigned q, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
                     unsigned next)
{
    hwaddr at = q * RINGS + 16 * i;
    tm_write(g->tm, at, 8, addr);
    tm_write(g->tm, at + 8, 4, len);
    tm_write(g->tm, at + 12, 2, flags);
    tm_write(g->tm, at + 14, 2, next);
}

static void offer(Guest *g, unsigned q, unsigned head)
{
    tm_write(g->tm, q * RINGS + AVAIL + 4 + 2 * (g->avail[q] % SIZE), 2, head);
    tm_write(g->tm, q * RINGS + AVAIL + 2, 2, ++g->avail[q]);
}

static void kick(Guest *g, unsigned q)
{
    wr(g, 0x50, q);
}

static unsigned used(Guest *g, unsigned q)
{
    return (unsigned)tm_read(g->tm, q * RINGS + USED + 2, 2);
}

static unsigned used_len(Guest *g, unsigned q, unsigned i, unsigned *head)
{
    *head = (unsigned)tm_read(g->tm, q * RINGS + USED + 4 + 8 * (i % SIZE), 4);
    return (unsigned)tm_read(g->tm, q * RINGS + USED + 8 + 8 * (i % SIZE), 4);
}

/* Sends header and frame in two descriptors. */
static void send_frame(Guest *g, const uint8_t *header, const uint8_t *frame, unsigned len)
{
    tm_copy_in(g->tm, BUFFERS, header, HEADER);
    tm_copy_in(g->tm, BUFFERS + 0x100, frame, len);
    set_desc(g, TX, 0, BUFFERS, HEADER, NEXT, 1);
    set_desc(g, TX, 1, BUFFERS + 0x100, len, 0, 0);
    offer(g, TX, 0);
    kick(g, TX);
}

static void give_buffers(Guest *g, unsigned n, unsigned bytes)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned d = g->avail[RX] % SIZE;
        set_desc(g, RX, d, BUFFERS + 0x100000 + d * BUFFER, bytes, WRITE, 0);
        offer(g, RX, d);
    }
    kick(g, RX);
}

static unsigned command(Guest *g, unsigned class, unsigned cmd, const void *data, unsigned len)
{
    uint8_t head[2] = { (uint8_t) class, (uint8_t)cmd };
    tm_copy_in(g->tm, BUFFERS, head, 2);
    tm_copy_in(g->tm, BUFFERS + 2, data, len);
    tm_write(g->tm, BUFFERS + 0x1000, 1, 0xee);
    set_desc(g, CTRL, 0, BUFFERS, 2 + len, NEXT, 1);
    set_desc(g, CTRL, 1, BUFFERS + 0x1000, 1, WRITE, 0);
    offer(g, CTRL, 0);
    kick(g, CTRL);
    g_assert_cmpuint(used(g, CTRL), ==, g->avail[CTRL]);
    return (unsigned)tm_read(g->tm, BUFFERS + 0x1000, 1);
}

static const uint8_t no_header[HEADER];

static void test_config(void)
{
    Guest g;
    guest_open(&g, "host_mtu", "9000");
    uint64_t f = features(&g);
    g_assert_cmphex(f & (CTRL_ALL | TSO4 | MRG | VERSION_1 | BIT(3) | BIT(5)), ==,
                    CTRL_ALL | TSO4 | MRG | VERSION_1 | BIT(3) | BIT(5));
    g_assert_cmphex(f & (BIT(10) | BIT(14)), ==, BIT(10) | BIT(14));
    g_assert_cmphex(f & (BIT(22) | BIT(54) | BIT(55) | BIT(56) | BIT(63) | BIT(60)), ==, 0);
    g_assert_cmpuint(rd(&g, 8), ==, 1);
    g_assert_cmphex(tm_read(g.tm, BASE + 0x100, 4), ==, 0xaa005452);
    g_assert_cmphex(tm_read(g.tm, BASE + 0x104, 2), ==, 0xccbb);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x106, 2), ==, 1);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x10a, 2), ==, 9000);
    guest_start(&g, VERSION_1 | STATUS);
    net_set_link(g.tm->m, "card", false, NULL);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x106, 2), ==, 0);
    g_assert_cmpuint(rd(&g, 0x60), ==, 2);
    net_set_link(g.tm->m, "card", true, NULL);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x106, 2), ==, 1);
    guest_close(&g);
}

/* Each direction has a size of its own; the driver may choose less. */
static void test_sizes(void)
{
    Guest g;
    static const unsigned sizes[] = { 1024, 256, 1024 };
    guest_open(&g, "rx_queue_size", "1024");
    for (unsigned q = 0; q < 3; q++) {
        wr(&g, 0x30, q);
        g_assert_cmpuint(rd(&g, 0x34), ==, sizes[q]);
    }
    guest_start(&g, VERSION_1);
    uint8_t f[60];
    frame_fill(f, sizeof(f), 1);
    send_frame(&g, no_header, f, sizeof(f));
    tm_turns(g.tm);
    g_assert_cmpuint(g.peer->got->len, ==, 1);
    guest_close(&g);
}

static void test_send(void)
{
    Guest g;
    uint8_t f[1514], header[HEADER] = { 0 };
    guest_open(&g, NULL, NULL);
    guest_start(&g, VERSION_1 | TSO4);
    for (unsigned i = 0; i < 200; i++) {
        frame_fill(f, 60 + i * 7, i);
        send_frame(&g, no_header, f, 60 + i * 7);
        g_assert_cmpuint(used(&g, TX), ==, g.avail[TX]); /* copied at once */
        tm_turns(g.tm);
        g_autoptr(GByteArray) got = test_nic_take(g.peer);
        g_assert_cmpmem(got->data, got->len, f, 60 + i * 7);
    }
    /* a checksum that the device completes: of 4 bytes from 20 on, to be put at 24 */
    header[0] = 1;
    header[6] = 20;
    header[8] = 4;
    frame_fill(f, 60, 3);
    send_frame(&g, header, f, 60);
    tm_turns(g.tm);
    g_autoptr(GByteArray) got = test_nic_take(g.peer);
    unsigned sum = 0;
    for (unsigned i = 20; i < 60; i += 2) {
        sum += (unsigned)(f[i] << 8 | f[i + 1]);
    }
    sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    g_assert_cmphex(got->data[24] << 8 | got->data[25], ==, sum);
    /* what was not negotiated, or is out of bounds: used, not sent */
    static const uint8_t bad[][HEADER] = {
        { 0, 4, 0, 0, 10 },
        { 0, 3, 0, 0, 10 },
        { 0, 0x81, 0, 0, 10 },
        { 0, 9 },
        { 1, 0, 0, 0, 0, 0, 59, 0, 4 },
        { 1, 0, 0, 0, 0, 0, 20, 0, 0xff, 0xff },
        { 1, 1, 0, 0, 10, 0, 20, 0, 4 },
        { 0, 1, 0, 0, 10, 0, 34, 0, 16 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        send_frame(&g, bad[i], f, 60);
        tm_turns(g.tm);
        g_assert_cmpuint(used(&g, TX), ==, g.avail[TX]);
        g_assert_cmpuint(g.peer->got->len, ==, 0);
    }
    g_assert_cmphex(rd(&g, 0x70), ==, 15);
    /* a frame without a whole header breaks the device, until it is reset */
    set_desc(&g, TX, 0, BUFFERS, 5, 0, 0);
    offer(&g, TX, 0);
    kick(&g, TX);
    g_assert_cmphex(rd(&g, 0x70), ==, 15 | 64);
    guest_start(&g, VERSION_1);
    frame_fill(f, 60, 3);
    send_frame(&g, no_header, f, 60);
    tm_turns(g.tm);
    g_assert_cmpuint(g.peer->got->len, ==, 1);
    test_nic_drop(g.peer);
    send_frame(&g, header, f, 60); /* no CSUM this time */
    tm_turns(g.tm);
    g_assert_cmpuint(g.peer->got->len, ==, 0);
    guest_close(&g);
}

/* The driver fills its ring again and again while the main loop does not run: the device stops taking, and
 * goes on by itself. Nothing is lost or out of order. */
static void test_full(void)
{
    Guest g;
    uint8_t f[4000];
    guest_open(&g, NULL, NULL);
    guest_start(&g, VERSION_1);
    unsigned sent = 0, got = 0;
    for (unsigned round = 0; round < 50; round++) {
        while ((uint16_t)(g.avail[TX] - used(&g, TX)) < SIZE / 2) {
            frame_fill(f, sizeof(f), sent);
            unsigned i = g.avail[TX] % (SIZE / 2);
            memcpy(ram(&g, BUFFERS + i * 2 * BUFFER + HEADER), f, sizeof(f));
            set_desc(&g, TX, i, BUFFERS + i * 2 * BUFFER, HEADER + sizeof(f), 0, 0);
            offer(&g, TX, i);
            sent++;
            kick(&g, TX);
        }
        tm_turns(g.tm);
        for (GByteArray *one; (one = test_nic_take(g.peer)) != NULL; got++) {
            frame_fill(f, sizeof(f), got);
            g_assert_cmpmem(one->data, one->len, f, sizeof(f));
            g_byte_array_unref(one);
        }
    }
    g_assert_cmpuint(got, ==, sent);
    g_assert_cmpuint(sent, >, 5000);
    guest_close(&g);
}

static void test_receive(void)
{
    Guest g;
    uint8_t f[1514];
    unsigned head;
    guest_open(&g, NULL, NULL);
    guest_start(&g, VERSION_1 | GUEST_CSUM);
    frame_fill(f, 1000, 5);
    test_nic_send(g.peer, NULL, f, 1000); /* before there is a buffer: it waits */
    tm_turns(g.tm);
    g_assert_cmpuint(used(&g, RX), ==, 0);
    g_assert_false(g.tm->level[7]);
    give_buffers(&g, 10, 1526);
    tm_turns(g.tm);
    g_assert_cmpuint(used(&g, RX), ==, 1);
    g_assert_true(g.tm->level[7]);
    g_assert_cmpuint(used_len(&g, RX, 0, &head), ==, 1012);
    g_assert_cmpuint(head, ==, 0);
    g_assert_cmpmem(ram(&g, BUFFERS + 0x100000 + HEADER), 1000, f, 1000);
    g_assert_cmpmem(ram(&g, BUFFERS + 0x100000), HEADER, "\0\0\0\0\0\0\0\0\0\0\x01", HEADER);
    /* without merging, a frame that no buffer can hold is dropped, and those behind it come */
    give_buffers(&g, 0, 0);
    uint8_t big[3000];
    frame_fill(big, sizeof(big), 1);
    test_nic_send(g.peer, NULL, big, sizeof(big));
    frame_fill(f, 100, 6);
    test_nic_send(g.peer, NULL, f, 100);
    tm_turns(g.tm);
    g_assert_cmpuint(used(&g, RX), ==, 2);
    g_assert_cmpuint(used_len(&g, RX, 1, &head), ==, 112);
    g_assert_cmpuint(head, ==, 1);
    guest_close(&g);
}

static void test_merge(void)
{
    Guest g;
    uint8_t f[20000];
    guest_open(&g, NULL, NULL);
    guest_start(&g, VERSION_1 | MRG);
    frame_fill(f, sizeof(f), 9);
    give_buffers(&g, 4, 3000);
    test_nic_send(g.peer, NULL, f, sizeof(f));
    tm_turns(g.tm);
    g_assert_cmpuint(used(&g, RX), ==, 0); /* four are not enough; none is taken */
    give_buffers(&g, 20, 3000);
    tm_turns(g.tm);
    g_assert_cmpuint(used(&g, RX), ==, 7);
    g_assert_cmpuint(ram(&g, BUFFERS + 0x100000)[10], ==, 7);
    size_t at = 0;
    for (unsigned i = 0; i < 7; i++) {
        unsigned head, len = used_len(&g, RX, i, &head), skip = i ? 0 : HEADER;
        g_assert_cmpuint(head, ==, i);
        g_assert_cmpmem(ram(&g, BUFFERS + 0x100000 + i * BUFFER + skip), len - skip, f + at, len - skip);
        at += len - skip;
    }
    g_assert_cmpuint(at, ==, sizeof(f));
    /* more than all buffers of the ring together: dropped, not waited for */
    guest_start(&g, VERSION_1 | MRG);
    give_buffers(&g, SIZE, 100);
    test_nic_send(g.peer, NULL, f, sizeof(f));
    test_nic_send(g.peer, NULL, f, 80);
    tm_turns(g.tm);
    g_assert_cmpuint(used(&g, RX), ==, 1);
    /* a buffer too small for a header breaks the rules */
    guest_start(&g, VERSION_1 | MRG);
    give_buffers(&g, 3, 8);
    test_nic_send(g.peer, NULL, f, 80);
    tm_turns(g.tm);
    g_assert_cmphex(rd(&g, 0x70), ==, 15 | 64);
    guest_close(&g);
}

static bool arrives(Guest *g, const char *dst, int vlan)
{
    uint8_t f[64];
    frame_fill(f, sizeof(f), 1);
    memcpy(f, dst, 6);
    if (vlan >= 0) {
        memcpy(f + 12, "\x81\x00", 2);
        f[14] = (uint8_t)(vlan >> 8);
        f[15] = (uint8_t)vlan;
    }
    unsigned before = used(g, RX);
    give_buffers(g, 1, 1526);
    test_nic_send(g->peer, NULL, f, sizeof(f));
    tm_turns(g->tm);
    return used(g, RX) != before;
}

static void test_filter(void)
{
    static const char own[] = "\x52\x54\0\xaa\xbb\xcc", other[] = "\x52\x54\0\1\2\3",
                      group[] = "\1\0\x5e\0\0\1", group2[] = "\1\0\x5e\0\0\2",
                      all[] = "\xff\xff\xff\xff\xff\xff";
    Guest g;
    guest_open(&g, NULL, NULL);
    guest_start(&g, VERSION_1 | CTRL_ALL);
    g_assert_true(arrives(&g, other, -1)); /* all, until the driver chooses */
    g_assert_cmpuint(command(&g, 0, 0, "\0", 1), ==, 0);
    g_assert_true(arrives(&g, own, -1) && arrives(&g, all, -1));
    g_assert_false(arrives(&g, other, -1) || arrives(&g, group, -1));
    uint8_t tables[8 + 12] = { 1, 0, 0, 0 };
    memcpy(tables + 4, other, 6);
    tables[10] = 1;
    memcpy(tables + 14, group, 6);
    g_assert_cmpuint(command(&g, 1, 0, tables, sizeof(tables)), ==, 0);
    g_assert_true(arrives(&g, other, -1) && arrives(&g, group, -1));
    g_assert_false(arrives(&g, group2, -1));
    /* VLANs: none, until named */
    g_assert_false(arrives(&g, own, 5));
    g_assert_cmpuint(command(&g, 2, 0, "\5\0", 2), ==, 0);
    g_assert_true(arrives(&g, own, 5));
    RxFilterInfo *info;
    size_t n;
    g_assert_true(net_rx_filters(g.tm->m, "card", &info, &n, NULL));
    g_assert_cmpuint(n, ==, 1);
    g_assert_false(info->promiscuous);
    g_assert_cmpstr(info->main_mac, ==, "52:54:00:aa:bb:cc");
    g_assert_cmpuint(info->vlan_table.n, ==, 1);
    g_assert_cmpint(info->vlan_table.items[0], ==, 5);
    g_assert_cmpstr(info->unicast_table.items[0], ==, "52:54:00:01:02:03");
    g_assert_cmpstr(info->multicast_table.items[0], ==, "01:00:5e:00:00:01");
    type_clear(&rx_filter_info_type, info);
    g_free(info);
    g_assert_cmpuint(command(&g, 2, 1, "\5\0", 2), ==, 0);
    g_assert_false(arrives(&g, own, 5));
    /* modes */
    g_assert_cmpuint(command(&g, 0, 5, "\1", 1), ==, 0);
    g_assert_false(arrives(&g, all, -1));
    g_assert_cmpuint(command(&g, 0, 1, "\1", 1), ==, 0);
    g_assert_true(arrives(&g, group2, -1));
    g_assert_cmpuint(command(&g, 0, 3, "\1", 1), ==, 0);
    g_assert_false(arrives(&g, group, -1));
    g_assert_cmpuint(command(&g, 0, 4, "\1", 1), ==, 0);
    g_assert_false(arrives(&g, own, -1));
    g_assert_cmpuint(command(&g, 0, 4, "\0", 1), ==, 0);
    /* another address of its own */
    g_assert_cmpuint(command(&g, 1, 1, "\2\0\0\0\0\7", 6), ==, 0);
    g_assert_true(arrives(&g, "\2\0\0\0\0\7", -1));
    g_assert_cmphex(tm_read(g.tm, BASE + 0x100, 4), ==, 2);
    guest_start(&g, VERSION_1);
    g_assert_cmphex(tm_read(g.tm, BASE + 0x100, 4), ==, 0xaa005452); /* a reset brings the first one back */
    guest_close(&g);
}

static void test_commands(void)
{
    static const struct {
        uint8_t class, cmd, len;
        const char *data;
    } bad[] = {
        { 0, 6, 1, "\1" },
        { 0, 0, 0, "" },
        { 0, 0, 2, "\1\1" },
        { 1, 2, 6, "\0\0\0\0\0\0" },
        { 1, 1, 5, "\0\0\0\0\0" },
        { 1, 0, 4, "\0\0\0\0" },
        { 1, 0, 8, "\1\0\0\0\0\0\0\0" },
        { 1, 0, 8, "\0\0\0\0\xff\xff\xff\xff" },
        { 1, 0, 8, "\xff\xff\xff\xff\0\0\0\0" },
        { 1, 0, 9, "\0\0\0\0\0\0\0\0\0" },
        { 2, 0, 2, "\0\x10" },
        { 2, 2, 2, "\0\0" },
        { 2, 0, 1, "\0" },
        { 3, 0, 0, "" },
        { 4, 0, 2, "\1\0" },
        { 5, 0, 8, "\x80\0\0\0\0\0\0\0" },
        { 5, 0, 7, "\0\0\0\0\0\0\0" },
        { 5, 1, 8, "\0\0\0\0\0\0\0\0" },
        { 6, 0, 0, "" },
        { 255, 255, 0, "" },
    };
    Guest g;
    guest_open(&g, NULL, NULL);
    guest_start(&g, VERSION_1 | CTRL_ALL | GUEST_CSUM);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmpuint(command(&g, bad[i].class, bad[i].cmd, bad[i].data, bad[i].len), ==, 1);
    }
    /* overflow: what does not fit means all */
    uint8_t many[8 + 65 * 6] = { 65 };
    g_assert_cmpuint(command(&g, 1, 0, many, sizeof(many)), ==, 0);
    g_assert_cmpuint(command(&g, 0, 0, "\0", 1), ==, 0);
    g_assert_true(arrives(&g, "\x52\x54\0\1\2\3", -1));
    /* announcing: asked for, acknowledged */
    AnnounceParameters p = { .initial = 1, .max = 1, .rounds = 1, .step = 0 };
    char *only[] = { (char *)"card" }; /* the other one would send a frame */
    p.interfaces.items = (void *)only;
    p.interfaces.n = 1;
    net_announce(g.tm->m, &p);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x106, 2), ==, 3);
    g_assert_cmpuint(rd(&g, 0x60) & 2, ==, 2);
    g_assert_cmpuint(command(&g, 3, 0, "", 0), ==, 0);
    g_assert_cmpuint(tm_read(g.tm, BASE + 0x106, 2), ==, 1);
    /* state: saved, lost by a reset, loaded */
    g_assert_cmpuint(command(&g, 2, 0, "\7\0", 2), ==, 0);
    g_assert_cmpuint(command(&g, 5, 0, "\0\0\0\0\0\0\0\0", 8), ==, 0);
    GByteArray *state = tm_save(g.tm);
    tm_reset(g.tm);
    g_assert_cmpuint(rd(&g, 0x70), ==, 0);
    tm_load(g.tm, state, &error_abort_slot);
    g_byte_array_unref(state);
    g_assert_true(arrives(&g, "\x52\x54\0\xaa\xbb\xcc", 7));
    g_assert_false(arrives(&g, "\x52\x54\0\xaa\xbb\xcc", 8));
    /* a command without room for the answer */
    set_desc(&g, CTRL, 0, BUFFERS, 3, 0, 0);
    offer(&g, CTRL, 0);
    kick(&g, CTRL);
    g_assert_cmphex(rd(&g, 0x70), ==, 15 | 64);
    guest_close(&g);
}

/* Drivers and networks without rules (virtnetdrive.h): RHEA_NIC_CASES of them, each some forty deeds; after
 * sixteen a new one begins where the device was reset. */
static void test_hostile(void)
{
    GRand *rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    VirtNetDrive d;
    vnd_open(&d);
    for (unsigned i = 0; i < nicguest_cases(); i++) {
        uint8_t bytes[256];
        Bytes b = nicguest_random(rand, bytes, sizeof(bytes));
        if (i % 16 == 0) {
            vnd_start(&d, &b);
        }
        vnd_run(&d, &b);
        if (i % 512 == 511) {
            vnd_check(&d);
        }
    }
    vnd_check(&d);
    g_rand_free(rand);
    vnd_close(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/virtio-net/config", test_config);
    g_test_add_func("/virtio-net/sizes", test_sizes);
    g_test_add_func("/virtio-net/send", test_send);
    g_test_add_func("/virtio-net/full", test_full);
    g_test_add_func("/virtio-net/receive", test_receive);
    g_test_add_func("/virtio-net/merge", test_merge);
    g_test_add_func("/virtio-net/filter", test_filter);
    g_test_add_func("/virtio-net/commands", test_commands);
    g_test_add_func("/virtio-net/hostile", test_hostile);
    return g_test_run();
}
