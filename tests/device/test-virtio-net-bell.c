/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-net-bell.c - a virtio network card behind PCI whose notifications leave no guest
 * (hw/virtio/virtio-bell.c, virtio-pci.c, system/doorbell.c): the test is the accelerator that catches the
 * driver's writes, and counts them in the doorbells' descriptors. Threads: main.
 */
#include "nicguest.h"
#include "net/net_internal.h"
#include "rhea/system/doorbell.h"

#include <unistd.h>

enum { RINGS = 0x10000, AVAIL = 0x2000, USED = 0x3000, BUFFERS = 0x100000, STEP = 0x1000 };
enum { SIZE = 64, HEADER = 12 };
enum { RX, TX, CTRL, QUEUES, NEXT = 1, WRITE = 2 };
enum { SELECT = 0x16, NOTIFY = 0x3000 }; /* 1.2, 4.1.4.3; 4.1.4.4 */

/* ---- the accelerator ---- */

static GPtrArray *bells; /* const Doorbell *, those that are watched */

static bool watch(Machine *m G_GNUC_UNUSED, const Doorbell *d, bool on)
{
    if (on) {
        g_ptr_array_add(bells, (void *)d);
    } else {
        g_assert_true(g_ptr_array_remove(bells, (void *)d));
    }
    return true;
}

/* A write that is caught: nobody is called. */
static void caught(hwaddr at, bool io, uint32_t value)
{
    for (guint i = 0; i < bells->len; i++) {
        const Doorbell *d = bells->pdata[i];
        if (d->at == at && d->io == io && (!d->len || d->value == value)) {
            uint64_t one = 1;
            g_assert_cmpint(write(d->fd, &one, sizeof(one)), ==, sizeof(one));
            return;
        }
    }
    g_assert_not_reached();
}

/* ---- the driver ---- */

typedef struct Guest {
    NicGuest n;
    uint16_t avail[QUEUES];
} Guest;

static void common(Guest *g, unsigned off, unsigned n, uint32_t v)
{
    pctest_write(g->n.t, NIC_MEM + off, v, n);
}

static void guest_open(Guest *g)
{
    static const DoorbellOps ops = { .watch = watch };
    memset(g, 0, sizeof(*g));
    bells = g_ptr_array_new();
    nicguest_open(&g->n, "virtio-net-pci", 4, 0);
    doorbells_provide(g->n.t->m, &ops);
    doorbells_open(g->n.t->m);
    g_assert_cmpuint(bells->len, ==, 2 * QUEUES); /* in memory, and at the legacy port */
}

static void guest_close(Guest *g)
{
    device_remove(g->n.card);
    g_assert_cmpuint(bells->len, ==, 0);
    doorbells_provide(g->n.t->m, NULL);
    nicguest_close(&g->n);
    g_ptr_array_free(bells, TRUE);
}

static void guest_start(Guest *g)
{
    static const uint32_t features[2] = { 1 << 17 | 1 << 15, 1 }; /* CTRL_VQ, MRG_RXBUF; VERSION_1 */
    common(g, 0x14, 1, 0);
    common(g, 0x14, 1, 3);
    for (unsigned i = 0; i < 2; i++) {
        common(g, 0x08, 4, i);
        common(g, 0x0c, 4, features[i]);
    }
    common(g, 0x14, 1, 11);
    for (unsigned q = 0; q < QUEUES; q++) {
        const uint32_t at[] = { RINGS, RINGS + AVAIL, RINGS + USED };
        common(g, SELECT, 2, q);
        common(g, 0x18, 2, SIZE);
        for (unsigned i = 0; i < 3; i++) {
            common(g, 0x20 + 8 * i, 4, at[i] + q * RINGS);
        }
        common(g, 0x1c, 2, 1);
    }
    common(g, 0x14, 1, 15);
    memset(g->avail, 0, sizeof(g->avail));
}

static uint8_t *ring(Guest *g, unsigned q)
{
    return nicguest_ram(&g->n, RINGS + q * RINGS);
}

static void put_desc(Guest *g, unsigned q, unsigned i, hwaddr at, uint32_t len, unsigned flags, unsigned next)
{
    uint8_t *d = ring(g, q) + 16 * i;
    nic_put_le(d, 8, at);
    nic_put_le(d + 8, 4, len);
    nic_put_le(d + 12, 2, flags);
    nic_put_le(d + 14, 2, next);
}

static void offer(Guest *g, unsigned q, unsigned head)
{
    nic_put_le(ring(g, q) + AVAIL + 4 + 2 * (g->avail[q] % SIZE), 2, head);
    nic_put_le(ring(g, q) + AVAIL + 2, 2, ++g->avail[q]);
}

static unsigned used(Guest *g, unsigned q)
{
    return nic_le16(ring(g, q) + USED + 2);
}

static void notify(Guest *g, unsigned q)
{
    caught(NIC_MEM + NOTIFY + 4 * q, false, q);
}

/* Frame i of `bytes` in the buffer of descriptor i % SIZE. */
static void put_frame(Guest *g, unsigned i, unsigned bytes)
{
    hwaddr at = BUFFERS + (hwaddr)(i % SIZE) * STEP;
    memset(nicguest_ram(&g->n, at), 0, HEADER);
    frame_fill(nicguest_ram(&g->n, at + HEADER), bytes, i);
    put_desc(g, TX, i % SIZE, at, HEADER + bytes, 0, 0);
    offer(g, TX, i % SIZE);
}

/* What the other end has got is these frames, in order; returns the next one's number. */
static unsigned check_frames(Guest *g, unsigned i, unsigned bytes)
{
    uint8_t f[STEP];
    for (GByteArray *a; (a = test_nic_take(g->n.peer)) != NULL; i++) {
        frame_fill(f, bytes, i);
        g_assert_cmpmem(a->data, a->len, f, bytes);
        g_byte_array_unref(a);
    }
    return i;
}

/* ---- tests ---- */

/* One notification for a frame, one for a ring full of them, several before anybody hears; by port. */
static void test_send(void)
{
    Guest g;
    guest_open(&g);
    guest_start(&g);
    unsigned sent = 0, got = 0;
    put_frame(&g, sent++, 60);
    g_assert_cmpuint(used(&g, TX), ==, 0);
    notify(&g, TX);
    g_assert_cmpuint(used(&g, TX), ==, 0); /* the guest goes on meanwhile */
    nicguest_turns(&g.n);
    got = check_frames(&g, got, 60);
    g_assert_cmpuint(got, ==, sent);
    g_assert_cmpuint(used(&g, TX), ==, sent);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned k = 0; k < SIZE; k++) {
            put_frame(&g, sent++, 60);
            if (k % 16 == 7) {
                notify(&g, TX);
            }
        }
        notify(&g, TX);
        nicguest_turns(&g.n);
        got = check_frames(&g, got, 60);
        g_assert_cmpuint(got, ==, sent);
    }
    put_frame(&g, sent++, 60);
    caught(NIC_PORTS + 0x10, true, TX);
    nicguest_turns(&g.n);
    g_assert_cmpuint(check_frames(&g, got, 60), ==, sent);
    guest_close(&g);
}

/* A network that takes nothing while it is closed, then frames in their order. */
enum { SLOW_BYTES = 3000 };
static struct {
    bool closed;
    unsigned frames;
} slow;

static bool slow_receive(NetClient *c G_GNUC_UNUSED, const NetFrame *f)
{
    uint8_t want[SLOW_BYTES];
    if (slow.closed) {
        return false;
    }
    frame_fill(want, sizeof(want), slow.frames++);
    g_assert_cmpmem(f->data, f->len, want, sizeof(want));
    return true;
}

static const NetKind slow_kind = { .name = "slow", .receive = slow_receive };

/* The card stops, whatever rings, and goes on by itself. */
static void test_full(void)
{
    Guest g;
    guest_open(&g);
    guest_start(&g);
    NetClient *card = net_client_find(g.n.t->m, "card"), *end = net_client_new(g.n.t->m, &slow_kind, "slow");
    net_client_unpair(card);
    net_client_pair(card, end);
    slow.closed = true;
    slow.frames = 0;
    unsigned sent = 0;
    for (bool full = false; !full;) {
        put_frame(&g, sent++, SLOW_BYTES);
        notify(&g, TX);
        nicguest_turns(&g.n);
        full = used(&g, TX) != sent;
        g_assert_cmpuint(sent, <, 2000);
    }
    notify(&g, TX);
    nicguest_turns(&g.n);
    g_assert_cmpuint(used(&g, TX), ==, sent - 1);
    slow.closed = false;
    net_client_resume(end);
    nicguest_turns(&g.n);
    g_assert_cmpuint(slow.frames, ==, sent);
    g_assert_cmpuint(used(&g, TX), ==, sent);
    guest_close(&g);
}

/* A buffer for a frame that waits; a command; what rings a card that was reset is nothing. */
static void test_others(void)
{
    Guest g;
    uint8_t f[100];
    guest_open(&g);
    guest_start(&g);
    nicguest_arrive(&g.n, f, nic_own, sizeof(f));
    g_assert_cmpuint(used(&g, RX), ==, 0);
    put_desc(&g, RX, 0, BUFFERS, 2048, WRITE, 0);
    offer(&g, RX, 0);
    notify(&g, RX);
    nicguest_turns(&g.n);
    g_assert_cmpuint(used(&g, RX), ==, 1);
    g_assert_cmpmem(nicguest_ram(&g.n, BUFFERS + HEADER), sizeof(f), f, sizeof(f));
    put_desc(&g, CTRL, 0, BUFFERS, 3, NEXT, 1);
    put_desc(&g, CTRL, 1, BUFFERS + 8, 1, WRITE, 0);
    memset(nicguest_ram(&g.n, BUFFERS), 0xff, 9);
    offer(&g, CTRL, 0);
    notify(&g, CTRL);
    nicguest_turns(&g.n);
    g_assert_cmpuint(used(&g, CTRL), ==, 1);
    g_assert_cmpuint(*nicguest_ram(&g.n, BUFFERS + 8), ==, 1); /* refused: there is no such command */
    put_frame(&g, 0, 60);
    notify(&g, TX);
    common(&g, 0x14, 1, 0);
    nicguest_turns(&g.n);
    g_assert_cmpuint(used(&g, TX), ==, 0);
    g_assert_cmpuint(g.n.peer->got->len, ==, 0);
    /* where the BAR is elsewhere, so are the bells; where it is off, there are none */
    pctest_config_write(g.n.t, NIC_FN, 0x20, NIC_MEM + 0x100000, 4);
    caught(NIC_MEM + 0x100000 + NOTIFY, false, 0);
    pctest_config_write(g.n.t, NIC_FN, 4, 0, 2);
    g_assert_cmpuint(bells->len, ==, 0);
    guest_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    net_register();
    g_test_add_func("/virtio-net-bell/send", test_send);
    g_test_add_func("/virtio-net-bell/full", test_full);
    g_test_add_func("/virtio-net-bell/others", test_others);
    return g_test_run();
}
