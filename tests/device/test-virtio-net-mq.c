/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-net-mq.c - a virtio network card with several pairs of queues: hw/virtio/
 * virtio-net-steer.c, virtio-net-queues.c, and hw/net/nic.c as it is used there. Its back end is the test's,
 * has two queues, and keeps what comes with the number of its queue. Threads: main.
 */
#include "nicguest.h"
#include "hw/net/nic.h"
#include "mmioguest.h"
#include "net/net_internal.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/schema/type.h"

#include <string.h>

enum { RX0, TX0, RX1, TX1, CTRL, QUEUES, RING = 16 };
enum { MQ = 22, CTRL_VQ = 17, MRG = 15, QUEUE_RESET = 40, HASH_REPORT = 57, RSS = 60 };
enum { CLASS_MQ = 4, PAIRS_SET = 0, RSS_CONFIG = 1, HASH_CONFIG = 2, OK = 0, ERR = 1 };
enum { CONFIG = MG_BASE + 0x100, ANSWER = MG_BUFFERS + 0x8000, IN = MG_BUFFERS + 0x10000, IN_STEP = 0x1000 };
#define BASIC (MG_BIT(MQ) | MG_BIT(CTRL_VQ) | MG_BIT(MRG) | MG_BIT(QUEUE_RESET))

/* ---- a back end with two queues ---- */

static struct {
    NetClient *client;
    unsigned frames, queue; /* what came; of the last one */
} two;

static bool two_receive(NetClient *c G_GNUC_UNUSED, const NetFrame *f)
{
    two.frames++;
    two.queue = f->hdr.queue;
    return true;
}

static const NetKind two_kind = { .name = "two", .receive = two_receive };

static void mq_open(MmioGuest *g, unsigned queues, const char *rss, const char *hash)
{
    mg_open(g, 16 << 20, RING);
    two.client = net_client_new(g->tm->m, &two_kind, "two");
    two.client->n_queues = queues;
    two.frames = 0;
    mg_plug(g, "virtio-net-device", "netdev", "two", "mac", "52:54:00:aa:bb:cc", "mq", "on", "rss", rss,
            "hash", hash, NULL);
}

static void mq_close(MmioGuest *g)
{
    net_test_free(g->tm);
}

/* ---- the driver ---- */

static unsigned command(MmioGuest *g, unsigned ctrl, unsigned cmd, const void *data, unsigned len)
{
    uint8_t head[2] = { CLASS_MQ, (uint8_t)cmd };
    tm_copy_in(g->tm, MG_BUFFERS, head, 2);
    tm_copy_in(g->tm, MG_BUFFERS + 2, data, len);
    tm_write(g->tm, ANSWER, 1, 0xee);
    mg_desc(g, ctrl, 0, MG_BUFFERS, 2 + len, MG_NEXT, 1);
    mg_desc(g, ctrl, 1, ANSWER, 1, MG_WRITE, 0);
    mg_offer(g, ctrl, 0);
    mg_kick(g, ctrl);
    return (unsigned)tm_read(g->tm, ANSWER, 1);
}

static unsigned set_pairs(MmioGuest *g, unsigned n)
{
    uint8_t data[2] = { (uint8_t)n, (uint8_t)(n >> 8) };
    return command(g, CTRL, PAIRS_SET, data, 2);
}

static void give_buffers(MmioGuest *g, unsigned q)
{
    for (unsigned i = 0; i < RING; i++) {
        mg_desc(g, q, i, IN + (q * RING + i) * IN_STEP, 2048, MG_WRITE, 0);
        mg_offer(g, q, i);
    }
    mg_kick(g, q);
}

/* Sends from queue q; returns the queue that it came from at the back end, 0: it did not say; -1: nothing. */
static int sent_from(MmioGuest *g, unsigned q)
{
    unsigned before = two.frames;
    uint8_t f[20 + 60] = { 0 };
    tm_copy_in(g->tm, MG_BUFFERS + 0x1000 * q, f, sizeof(f));
    mg_put(g, q, MG_BUFFERS + 0x1000 * q, sizeof(f), 0);
    tm_turns(g->tm);
    return two.frames == before ? -1 : (int)two.queue;
}

/* A frame of the back end's queue (from 1 on); returns the receive queue that it went to, -1: none. */
static int goes_to(MmioGuest *g, const uint8_t *f, size_t len, unsigned queue)
{
    unsigned was[2] = { mg_used(g, RX0), mg_used(g, RX1) };
    net_client_send(two.client, &(NetFrame){ .hdr.queue = (uint16_t)queue, .data = f, .len = len });
    tm_turns(g->tm);
    return mg_used(g, RX0) != was[0] ? RX0 : mg_used(g, RX1) != was[1] ? RX1 : -1;
}

static int plain_goes_to(MmioGuest *g, unsigned queue)
{
    uint8_t f[60];
    frame_fill(f, sizeof(f), 3);
    return goes_to(g, f, sizeof(f), queue);
}

static void start(MmioGuest *g, uint64_t features)
{
    mg_start(g, features, QUEUES);
    give_buffers(g, RX0);
    give_buffers(g, RX1);
}

/* ---- what the device tells ---- */

static void test_config(void)
{
    const uint64_t both = MG_BIT(HASH_REPORT) | MG_BIT(RSS);
    MmioGuest g;
    mq_open(&g, 2, "on", "on");
    g_assert_cmphex(mg_features(&g) & (both | MG_BIT(MQ)), ==, both | MG_BIT(MQ));
    g_assert_cmpuint(tm_read(g.tm, CONFIG + 8, 2), ==, 2);
    g_assert_cmpuint(tm_read(g.tm, CONFIG + 17, 1), ==, NIC_RSS_KEY);
    g_assert_cmpuint(tm_read(g.tm, CONFIG + 18, 2), ==, 128);
    g_assert_cmphex(tm_read(g.tm, CONFIG + 20, 4), ==, 0x1ff);
    mq_close(&g);
    mq_open(&g, 1, "off", "off");
    g_assert_cmphex(mg_features(&g) & (both | MG_BIT(MQ)), ==, MG_BIT(MQ));
    g_assert_cmpuint(tm_read(g.tm, CONFIG + 8, 2), ==, 1);
    g_assert_cmphex(tm_read(g.tm, CONFIG + 20, 4), ==, 0);
    mq_close(&g);
}

/* A driver that knows one pair finds the control queue behind it, and all frames there. */
static void test_one_pair(void)
{
    MmioGuest g;
    mq_open(&g, 2, "on", "on");
    mg_start(&g, MG_BIT(CTRL_VQ) | MG_BIT(MRG), 3);
    give_buffers(&g, RX0);
    g_assert_cmpuint(command(&g, 2, PAIRS_SET, "\1\0", 2), ==, ERR); /* not negotiated */
    g_assert_cmpint(plain_goes_to(&g, 2), ==, RX0);
    g_assert_cmpint(sent_from(&g, TX0), ==, 0);
    mg_kick(&g, CTRL);
    g_assert_cmphex(mg_rd(&g, MG_STATUS), ==, MG_STATUS_OK);
    mq_close(&g);
}

/* ---- automatic steering (5.1.6.5.6) ---- */

static void test_flows(void)
{
    MmioGuest g;
    mq_open(&g, 2, "off", "off");
    start(&g, BASIC);
    g_assert_cmpint(plain_goes_to(&g, 2), ==, RX0); /* one pair, until the driver asks for more */
    g_assert_cmpint(sent_from(&g, TX1), ==, -1);
    static const unsigned wrong[] = { 0, 3, 0x8000, 0xffff };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_cmpuint(set_pairs(&g, wrong[i]), ==, ERR);
    }
    g_assert_cmpuint(command(&g, CTRL, PAIRS_SET, "\2", 1), ==, ERR);
    g_assert_cmpuint(command(&g, CTRL, RSS_CONFIG, "\2\0", 2), ==, ERR);
    g_assert_cmpuint(command(&g, CTRL, HASH_CONFIG, "\2\0", 2), ==, ERR);
    unsigned before = two.frames;
    g_assert_cmpuint(set_pairs(&g, 2), ==, OK);
    tm_turns(g.tm);
    g_assert_cmpuint(two.frames, ==, before + 1); /* what waited there */
    g_assert_cmpint(sent_from(&g, TX0), ==, 1);
    g_assert_cmpint(sent_from(&g, TX1), ==, 2);
    g_assert_cmpint(plain_goes_to(&g, 1), ==, RX0);
    g_assert_cmpint(plain_goes_to(&g, 2), ==, RX1);
    g_assert_cmpint(plain_goes_to(&g, 0), ==, RX0);
    /* its queue is being reset: another one */
    mg_wr(&g, 0x30, RX1);
    mg_wr(&g, 0xc0, 1);
    g_assert_cmpint(plain_goes_to(&g, 2), ==, RX0);
    g_assert_cmpuint(set_pairs(&g, 1), ==, OK);
    g_assert_cmpint(sent_from(&g, TX0), ==, 0);
    mq_close(&g);
}

/* A queue without buffers: the frame waits; with fewer pairs it goes elsewhere. */
static void test_waiting(void)
{
    MmioGuest g;
    mq_open(&g, 2, "off", "off");
    mg_start(&g, BASIC, QUEUES);
    give_buffers(&g, RX0);
    g_assert_cmpuint(set_pairs(&g, 2), ==, OK);
    g_assert_cmpint(plain_goes_to(&g, 2), ==, -1);
    unsigned had = mg_used(&g, RX1);
    give_buffers(&g, RX1);
    tm_turns(g.tm);
    g_assert_cmpuint(mg_used(&g, RX1), ==, had + 1);
    mg_start(&g, BASIC, QUEUES);
    give_buffers(&g, RX0);
    g_assert_cmpuint(set_pairs(&g, 2), ==, OK);
    g_assert_cmpint(plain_goes_to(&g, 2), ==, -1);
    had = mg_used(&g, RX0);
    g_assert_cmpuint(set_pairs(&g, 1), ==, OK);
    tm_turns(g.tm);
    g_assert_cmpuint(mg_used(&g, RX0), ==, had + 1);
    mq_close(&g);
}

/* ---- RSS (5.1.6.5.7) and hashes (5.1.6.4.3) ---- */

typedef struct Config {
    uint8_t bytes[8 + 2 * 128 + 2 + 1 + NIC_RSS_KEY];
    unsigned len, after; /* after: where max_tx_vq is */
} Config;

/* Entry i of the table is i % 2. */
static Config rss_config(uint32_t types, unsigned entries, unsigned other, unsigned senders)
{
    Config c = { .after = 8 + 2 * entries };
    nic_put_le(c.bytes, 4, types);
    nic_put_le(c.bytes + 4, 2, entries - 1);
    nic_put_le(c.bytes + 6, 2, other);
    for (unsigned i = 0; i < entries; i++) {
        nic_put_le(c.bytes + 8 + 2 * i, 2, i % 2);
    }
    nic_put_le(c.bytes + c.after, 2, senders);
    c.bytes[c.after + 2] = NIC_RSS_KEY;
    memcpy(c.bytes + c.after + 3, nic_rss_key, NIC_RSS_KEY);
    c.len = c.after + 3 + NIC_RSS_KEY;
    return c;
}

static unsigned send_config(MmioGuest *g, unsigned cmd, const Config *c)
{
    return command(g, CTRL, cmd, c->bytes, c->len);
}

static void test_rss(void)
{
    MmioGuest g;
    uint8_t f[200];
    mq_open(&g, 2, "on", "off");
    start(&g, BASIC | MG_BIT(RSS));
    Config c = rss_config(1 | 2, 128, 1, 2);
    g_assert_cmpuint(send_config(&g, RSS_CONFIG, &c), ==, OK);
    for (unsigned i = 0; i < nic_n_known_hashes; i++) {
        for (unsigned tcp = 0; tcp < 2; tcp++) {
            size_t len = nicguest_packet(f, tcp, 40);
            memcpy(f + 26, nic_known_hashes[i].packet, 12);
            uint32_t hash = tcp ? nic_known_hashes[i].with_ports : nic_known_hashes[i].without;
            g_assert_cmpint(goes_to(&g, f, len, 1), ==, hash % 2 ? RX1 : RX0);
        }
    }
    g_assert_cmpint(plain_goes_to(&g, 1), ==, RX1); /* no hash */
    g_assert_cmpint(sent_from(&g, TX1), ==, 2);
    /* what is wrong changes nothing */
    Config wrong[10];
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        wrong[i] = c;
    }
    wrong[0].len = 3;
    wrong[1].len--;                                  /* the key is cut off */
    nic_put_le(wrong[2].bytes, 4, 0x200);            /* a type that there is not */
    nic_put_le(wrong[3].bytes + 4, 2, 126);          /* no mask */
    nic_put_le(wrong[4].bytes + 4, 2, 255);          /* too long a table */
    nic_put_le(wrong[5].bytes + 6, 2, 2);            /* a pair that there is not, three times */
    nic_put_le(wrong[6].bytes + 8 + 2 * 127, 2, 2);
    nic_put_le(wrong[7].bytes + wrong[7].after, 2, 3);
    nic_put_le(wrong[8].bytes + wrong[8].after, 2, 0);
    wrong[9].bytes[wrong[9].after + 2] = NIC_RSS_KEY + 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_cmpuint(send_config(&g, RSS_CONFIG, &wrong[i]), ==, ERR);
    }
    g_assert_cmpint(plain_goes_to(&g, 1), ==, RX1);
    /* no types: all go to the other queue; a queue that is reset gets nothing, nor does another one */
    c = rss_config(0, 1, 1, 1);
    c.bytes[c.after + 2] = 0;
    c.len = c.after + 3;
    g_assert_cmpuint(send_config(&g, RSS_CONFIG, &c), ==, OK);
    g_assert_cmpint(plain_goes_to(&g, 1), ==, RX1);
    mg_wr(&g, 0x30, RX1);
    mg_wr(&g, 0xc0, 1);
    g_assert_cmpint(plain_goes_to(&g, 1), ==, -1);
    /* the last command counts */
    g_assert_cmpuint(set_pairs(&g, 2), ==, OK);
    g_assert_cmpint(plain_goes_to(&g, 1), ==, RX0);
    mq_close(&g);
}

/* What the header of the last frame of RX0 tells. */
static uint32_t reported(MmioGuest *g, unsigned *type)
{
    unsigned i = (mg_used(g, RX0) - 1u) % RING;
    const uint8_t *h = g->tm->m->ram->host + IN + (RX0 * RING + i) * IN_STEP;
    *type = nic_le16(h + 16);
    return nic_le32(h + 12);
}

/* An IPv6 packet of Microsoft's list, behind so many bytes of extension headers; its length. */
static size_t packet6(uint8_t *f, bool tcp, const uint8_t *headers, size_t n)
{
    static const uint8_t addresses[] = {
        0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,
        0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1,
    };
    static const uint8_t ports[] = { 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 };
    size_t l4 = 54 + n;
    memset(f, 0, l4 + 40);
    nic_put_be16(f + 12, 0x86dd);
    f[14] = 0x60;
    f[20] = n ? 60 : tcp ? 6 : 17; /* destination options first */
    memcpy(f + 22, addresses, 32);
    if (n) {
        memcpy(f + 54, headers, n);
    }
    memcpy(f + l4, ports, 4);
    f[l4 + 12] = 0x50;
    return l4 + 40;
}

enum { WITH_PORTS_6 = 0x40207d3d, WITHOUT_6 = 0x2cc18cd5 };

static void test_report(void)
{
    MmioGuest g;
    uint8_t f[300], config[13 + NIC_RSS_KEY] = { [12] = NIC_RSS_KEY };
    unsigned type;
    mq_open(&g, 2, "off", "on");
    start(&g, BASIC | MG_BIT(HASH_REPORT));
    size_t len = nicguest_packet(f, true, 40);
    memcpy(f + 26, nic_known_hashes[0].packet, 12);
    g_assert_cmpint(goes_to(&g, f, len, 0), ==, RX0);
    reported(&g, &type);
    g_assert_cmpuint(type, ==, 0); /* the driver has not said which ones */
    g_assert_cmpmem(g.tm->m->ram->host + IN + 20, len, f, len);
    memcpy(config + 13, nic_rss_key, NIC_RSS_KEY);
    nic_put_le(config, 4, 0x1ff);
    g_assert_cmpuint(command(&g, CTRL, HASH_CONFIG, config, sizeof(config)), ==, OK);
    goes_to(&g, f, len, 0);
    g_assert_cmphex(reported(&g, &type), ==, nic_known_hashes[0].with_ports);
    g_assert_cmpuint(type, ==, 2);
    len = packet6(f, true, NULL, 0);
    goes_to(&g, f, len, 0);
    g_assert_cmphex(reported(&g, &type), ==, WITH_PORTS_6);
    g_assert_cmpuint(type, ==, 5);
    /* Two extension headers say where it came from, and where it goes to in the end: the known addresses. */
    uint8_t headers[48] = { [0] = 43, [1] = 2, [2] = 1, [3] = 2, [6] = 201, [7] = 16,
                            [24] = 17, [25] = 2, [26] = 2, [27] = 1 };
    memcpy(headers + 8, f + 22, 16);
    memcpy(headers + 32, f + 38, 16);
    len = packet6(f, false, headers, sizeof(headers));
    memset(f + 22, 0x11, 32);
    goes_to(&g, f, len, 0);
    g_assert_cmphex(reported(&g, &type), ==, WITH_PORTS_6);
    g_assert_cmpuint(type, ==, 9);
    /* without these types it is a packet like any other, and the addresses are its own */
    nic_put_le(config, 4, 1 << 3);
    g_assert_cmpuint(command(&g, CTRL, HASH_CONFIG, config, sizeof(config)), ==, OK);
    memcpy(f + 22, headers + 8, 16);
    memcpy(f + 38, headers + 32, 16);
    goes_to(&g, f, len, 0);
    g_assert_cmphex(reported(&g, &type), ==, WITHOUT_6);
    g_assert_cmpuint(type, ==, 4);
    /* hashes stay when the number of pairs changes */
    g_assert_cmpuint(set_pairs(&g, 2), ==, OK);
    goes_to(&g, f, len, 1);
    g_assert_cmphex(reported(&g, &type), ==, WITHOUT_6);
    g_assert_cmpint(sent_from(&g, TX1), ==, 2); /* its header is as long */
    mq_close(&g);
}

/* ---- state, counters ---- */

static void test_state(void)
{
    MmioGuest g;
    mq_open(&g, 2, "on", "on");
    start(&g, BASIC | MG_BIT(RSS));
    Config c = rss_config(1 | 2, 2, 1, 2);
    g_assert_cmpuint(send_config(&g, RSS_CONFIG, &c), ==, OK);
    GByteArray *state = tm_save(g.tm);
    tm_reset(g.tm);
    tm_load(g.tm, state, &error_abort_slot);
    g_assert_cmpint(plain_goes_to(&g, 1), ==, RX1);
    g_assert_cmpint(sent_from(&g, TX1), ==, 2);
    mq_close(&g);
    /* a card with another number of pairs is another card */
    g_autoptr(Error) err = NULL;
    mq_open(&g, 3, "on", "on");
    g_assert_false(tm_load(g.tm, state, &err));
    g_assert_nonnull(strstr(error_text(err), "2 of 2 pairs of queues, this card has 3"));
    g_byte_array_unref(state);
    mq_close(&g);
}

static void free_infos(GArray *infos)
{
    for (guint i = 0; i < infos->len; i++) {
        type_clear(&net_client_info_type, &g_array_index(infos, NetClientInfo, i));
    }
    g_array_unref(infos);
}

static void test_counters(void)
{
    MmioGuest g;
    mq_open(&g, 2, "off", "off");
    start(&g, BASIC);
    g_assert_cmpuint(set_pairs(&g, 2), ==, OK);
    sent_from(&g, TX1);
    plain_goes_to(&g, 2);
    plain_goes_to(&g, 1);
    GArray *infos = g_array_new(FALSE, TRUE, sizeof(NetClientInfo));
    net_infos(g.tm->m, infos);
    bool found = false;
    for (guint i = 0; i < infos->len; i++) {
        const NetClientInfo *c = &g_array_index(infos, NetClientInfo, i);
        if (g_str_equal(c->type, "nic")) {
            const NetQueueInfo *q = c->queues.items;
            found = true;
            g_assert_cmpuint(c->queues.n, ==, 2);
            g_assert_cmpint(q[0].sent_frames, ==, 0);
            g_assert_cmpint(q[1].sent_frames, ==, 1);
            g_assert_cmpint(q[1].sent_bytes, ==, 68); /* 80 without the header */
            g_assert_cmpint(q[0].got_frames, ==, 1);
            g_assert_cmpint(q[1].got_bytes, ==, 60);
        }
    }
    g_assert_true(found);
    free_infos(infos);
    mq_close(&g);
}

/* More than a card has: refused by the property that asks for them. */
static void test_too_many(void)
{
    MmioGuest g;
    g_autoptr(Error) err = NULL;
    mg_open(&g, 16 << 20, RING);
    two.client = net_client_new(g.tm->m, &two_kind, "two");
    two.client->n_queues = 40;
    Device *dev = device_create(g.tm->m, device_type_find("virtio-net-device"), g.tm->m->peripheral, "many",
                                virtio_mmio_bus(g.transport), &err, "netdev", "two", "mq", "on", NULL);
    g_assert_null(dev);
    g_assert_nonnull(strstr(error_text(err), "the back end has 40 queues: a card has up to 31 pairs"));
    mq_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/virtio-net-mq/config", test_config);
    g_test_add_func("/virtio-net-mq/one-pair", test_one_pair);
    g_test_add_func("/virtio-net-mq/flows", test_flows);
    g_test_add_func("/virtio-net-mq/waiting", test_waiting);
    g_test_add_func("/virtio-net-mq/rss", test_rss);
    g_test_add_func("/virtio-net-mq/report", test_report);
    g_test_add_func("/virtio-net-mq/state", test_state);
    g_test_add_func("/virtio-net-mq/counters", test_counters);
    g_test_add_func("/virtio-net-mq/too-many", test_too_many);
    return g_test_run();
}
