/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-net.c - clients, queues, links, hubs and the options that make them (net/core.c,
 * net/queue.c, net/nic.c, net/hub.c, net/options.c, net/announce.c). Threads: main.
 */
#include "net/net_internal.h"
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <string.h>

/* ---- the queue alone, against a list ---- */

static void test_queue(void)
{
    GRand *rand = g_rand_new_with_seed(7);
    GQueue want = G_QUEUE_INIT;
    NetQueue q;
    net_queue_init(&q, 4096);
    for (unsigned i = 0; i < 200000; i++) {
        size_t len = (size_t)g_rand_int_range(rand, 14, 900);
        if (g_rand_boolean(rand)) {
            uint8_t *room = net_queue_reserve(&q, len);
            if (room) {
                NetHdr h = { .gso_size = (uint16_t)i };
                memset(room, (int)i & 0xff, len);
                net_queue_commit(&q, &h, len);
                g_queue_push_tail(&want, GUINT_TO_POINTER(i << 10 | (guint)len));
            } else {
                g_assert_cmpuint(g_queue_get_length(&want), >, 0);
            }
            continue;
        }
        NetHdr h;
        uint8_t *data = net_queue_peek(&q, &h, &len);
        g_assert_true((data == NULL) == g_queue_is_empty(&want));
        if (data) {
            guint w = GPOINTER_TO_UINT(g_queue_pop_head(&want));
            g_assert_cmpuint(len, ==, w & 1023);
            g_assert_cmpuint(h.gso_size, ==, w >> 10 & 0xffff & (UINT32_MAX >> 10));
            g_assert_cmpuint(data[0], ==, w >> 10 & 0xff);
            g_assert_cmpuint(data[len - 1], ==, w >> 10 & 0xff);
            net_queue_drop(&q);
        }
    }
    net_queue_clear(&q);
    g_assert_true(net_queue_empty(&q));
    net_queue_fini(&q);
    g_queue_clear(&want);
    g_rand_free(rand);
}

/* ---- cards ---- */

static TestMachine *two_on_a_hub(TestNic **a, TestNic **b)
{
    TestMachine *tm = tm_new(0);
    netdev_new(tm, "hubport,id=h0,hubid=0");
    netdev_new(tm, "hubport,id=h1,hubid=0");
    netdev_new(tm, "hubport,id=other,hubid=1");
    *a = test_nic_new(tm, "a", "h0");
    *b = test_nic_new(tm, "b", "h1");
    return tm;
}

static void test_pass(void)
{
    TestNic *a, *b, *c;
    TestMachine *tm = two_on_a_hub(&a, &b);
    uint8_t f[200];
    c = test_nic_new(tm, "c", "other");
    g_assert_cmpuint(a->mac.b[5], ==, 0x56); /* addresses follow each other */
    g_assert_cmpuint(b->mac.b[5], ==, 0x57);
    for (unsigned i = 0; i < 100; i++) {
        frame_fill(f, 100 + i, i);
        g_assert_true(test_nic_send(a, NULL, f, 100 + i));
    }
    g_assert_cmpuint(b->got->len, ==, 0); /* never inside the sender's call */
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 100);
    g_assert_cmpuint(c->got->len + a->got->len, ==, 0);
    for (unsigned i = 0; i < 100; i++) {
        g_autoptr(GByteArray) got = test_nic_take(b);
        frame_fill(f, 100 + i, i);
        g_assert_cmpmem(got->data, got->len, f, 100 + i);
    }
    NetCounters count;
    g_assert_true(net_counters(tm->m, "b", &count));
    g_assert_cmpuint(count.frames, ==, 100);
    g_assert_cmpuint(count.bytes, ==, 100 * 100 + 99 * 50);
    /* what cannot be a frame */
    g_assert_true(test_nic_send(a, NULL, f, 13));
    g_assert_true(
        test_nic_send(a, &(NetHdr){ .needs_csum = true, .csum_start = 90, .csum_offset = 20 }, f, 100));
    g_assert_true(test_nic_send(a, &(NetHdr){ .gso = NET_GSO_TCP4, .gso_size = 10 }, f, 100));
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 0);
    g_autoptr(GString) s = g_string_new(NULL);
    net_print(tm->m, s);
    g_assert_nonnull(strstr(s->str, "b: index=0,type=nic,model=test-nic,macaddr=52:54:00:12:34:57; rx "
                                   "100 frames"));
    g_assert_nonnull(strstr(s->str, " \\ h1: index=0,type=hubport,hub=0"));
    net_test_free(tm);
}

/* A receiver that stops holds up to a queue's worth; then the sender is stopped, and told when to go on. */
static void test_pressure(void)
{
    TestMachine *tm = tm_new(0);
    TestNic *a, *b;
    uint8_t f[1000];
    unsigned sent = 0, got = 0;
    netdev_new(tm, "hubport,id=h0,hubid=0");
    a = test_nic_new(tm, "a", "h0");
    /* towards the hub: the queue in front of its port fills while the main loop does not run */
    frame_fill(f, sizeof(f), 0);
    while (test_nic_send(a, NULL, f, sizeof(f))) {
        sent++;
    }
    g_assert_cmpuint(sent, >, 900);
    g_assert_cmpuint(sent * sizeof(f), <, NET_QUEUE_BYTES);
    g_assert_cmpuint(a->writable, ==, 0);
    tm_turns(tm);
    g_assert_cmpuint(a->writable, ==, 1);
    g_assert_true(test_nic_send(a, NULL, f, sizeof(f)));
    tm_turns(tm);
    /* towards a card */
    netdev_new(tm, "hubport,id=h1,hubid=0");
    b = test_nic_new(tm, "b", "h1");
    b->closed = true;
    for (unsigned i = 0; i < 100; i++) {
        frame_fill(f, sizeof(f), i);
        test_nic_send(a, NULL, f, sizeof(f));
    }
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 0);
    b->closes_after = 7;
    test_nic_open(b);
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 7);
    test_nic_open(b);
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 100);
    for (GByteArray *one; (one = test_nic_take(b)) != NULL; got++) {
        frame_fill(f, sizeof(f), got);
        g_assert_cmpmem(one->data, one->len, f, sizeof(f));
        g_byte_array_unref(one);
    }
    /* without end: memory stays bounded, the rest is counted as lost */
    b->closed = true;
    for (unsigned i = 0; i < 5000; i++) {
        test_nic_send(a, NULL, f, sizeof(f));
        if (i % 100 == 0) {
            tm_turns(tm);
        }
    }
    tm_turns(tm);
    NetCounters count;
    net_counters(tm->m, "b", &count);
    g_assert_cmpuint(count.dropped, >, 3000);
    test_nic_open(b);
    tm_turns(tm);
    g_assert_cmpuint(b->got->len + count.dropped, ==, 5000);
    net_test_free(tm);
}

/* A standing machine's cards take nothing; what came meanwhile is there when it goes on. */
static void test_stopped(void)
{
    TestNic *a, *b;
    TestMachine *tm = two_on_a_hub(&a, &b);
    uint8_t f[64];
    frame_fill(f, sizeof(f), 1);
    machine_stop(tm->m, RUN_PAUSED);
    test_nic_send(a, NULL, f, sizeof(f));
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 0);
    machine_start(tm->m);
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 1);
    net_test_free(tm);
}

static void test_link(void)
{
    TestNic *a, *b;
    TestMachine *tm = two_on_a_hub(&a, &b);
    Error *err = NULL;
    uint8_t f[64];
    frame_fill(f, sizeof(f), 1);
    g_assert_true(net_port_link_up(&b->port));
    g_assert_true(net_set_link(tm->m, "b", false, NULL));
    g_assert_cmpuint(b->links, ==, 1);
    g_assert_false(b->link);
    g_assert_false(net_port_link_up(&b->port));
    test_nic_send(a, NULL, f, sizeof(f));
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 0);
    net_set_link(tm->m, "h1", false, NULL); /* both ends are out: still one change */
    net_set_link(tm->m, "b", true, NULL);
    g_assert_cmpuint(b->links, ==, 1);
    net_set_link(tm->m, "h1", true, NULL);
    g_assert_cmpuint(b->links, ==, 2);
    g_assert_true(b->link);
    test_nic_send(a, NULL, f, sizeof(f));
    tm_turns(tm);
    g_assert_cmpuint(b->got->len, ==, 1);
    g_assert_false(net_set_link(tm->m, "nothing", true, &err));
    g_assert_cmpint(error_class(err), ==, ERROR_DEVICE_NOT_FOUND);
    g_clear_pointer(&err, error_free);
    /* the back end goes: the card stays, with an open end */
    g_assert_true(netdev_del(tm->m, "h1", NULL));
    g_assert_false(net_port_link_up(&b->port));
    g_assert_cmpuint(b->links, ==, 3);
    g_assert_true(test_nic_send(b, NULL, f, sizeof(f)));
    test_nic_send(a, NULL, f, sizeof(f));
    tm_turns(tm);
    g_assert_false(netdev_del(tm->m, "h1", &err));
    g_assert_nonnull(strstr(error_text(err), "there is no network back end 'h1'"));
    g_clear_pointer(&err, error_free);
    g_assert_false(netdev_del(tm->m, "b", &err));
    g_assert_nonnull(strstr(error_text(err), "is a network card"));
    error_free(err);
    /* and the card, with frames on their way to it */
    test_nic_send(a, NULL, f, sizeof(f));
    device_remove(&b->dev);
    tm_turns(tm);
    device_remove(&a->dev);
    tm_turns(tm);
    net_test_free(tm);
}

static const struct {
    const char *text, *error;
} wrong[] = {
    { "tap,id=x,vhostforce=on", "'vhostforce' is not supported: the card's queues are served" },
    { "netmap,id=x", "network back end 'netmap' is not supported" },
    { "foo,id=x", "'type' must be one of" },
    { "hubport,hubid=0", "'id' is missing" },
    { "hubport,id=1x,hubid=0", "id '1x' is not a name" },
    { "hubport,id=h0,hubid=0", "there is already a network back end or card 'h0'" },
    { "hubport,id=a,hubid=0", "there is already a network back end or card 'a'" },
    { "hubport,id=x,hubid=-1", "'hubid' must be" },
    { "hubport,id=x,hubid=0,netdev=h0", "network back end 'h0' is already in use by 'a'" },
    { "hubport,id=x,hubid=0,netdev=none", "there is no network back end 'none'" },
    { "hubport,id=x,hubid=0,foo=1", "'foo' is unknown" },
};

static void test_options(void)
{
    TestNic *a, *b;
    TestMachine *tm = two_on_a_hub(&a, &b);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(Error) err = NULL;
        bool from_text;
        g_autoptr(Json) o = keyval_parse(wrong[i].text, "type", &from_text, &error_abort_slot);
        g_assert_false(netdev_add_json(tm->m, o, from_text, &err));
        if (!strstr(error_text(err), wrong[i].error)) {
            g_test_message("%s: %s", wrong[i].text, error_text(err));
            g_test_fail();
        }
        g_assert_false(netdev_exists(tm->m, "x"));
    }
    Error *err = NULL;
    g_assert_null(
        device_create(tm->m, &test_nic_type, tm->m->peripheral, "c", NULL, &err, "netdev", "h0", NULL));
    g_assert_nonnull(strstr(error_text(err), "network back end 'h0' is already in use by 'a'"));
    g_clear_pointer(&err, error_free);
    static const char *const macs[] = {
        "52:54:00:12:34",    "52:54:00:12:34:56:78", "52:54:00:12:34:g6", "", "1",
        "01:00:00:00:00:00", "52:54:00:12:34:-1",    "52 54 00 12 34 56"
    };
    uint8_t mac[NET_MAC];
    for (size_t i = 0; i < G_N_ELEMENTS(macs); i++) {
        g_assert_false(net_parse_mac(macs[i], mac, NULL));
    }
    g_assert_true(net_parse_mac("2-5:ab:CD:0:ff", mac, NULL));
    g_assert_cmpmem(mac, NET_MAC, "\x02\x05\xab\xcd\x00\xff", NET_MAC);
    net_test_free(tm);
}

static void test_announce(void)
{
    TestNic *a, *b;
    TestMachine *tm = two_on_a_hub(&a, &b);
    AnnounceParameters p = { .initial = 1, .max = 2, .rounds = 3, .step = 1 };
    net_announce(tm->m, &p);
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (b->got->len < 3 && g_get_monotonic_time() < end) {
        loop_turn(tm->loop, false);
    }
    g_assert_cmpuint(b->got->len, ==, 3);
    g_autoptr(GByteArray) f = test_nic_take(b);
    g_assert_cmpuint(f->len, ==, 60);
    g_assert_cmpmem(f->data + 6, 6, a->mac.b, 6);
    g_assert_cmpmem(f->data + 12, 2, "\x80\x35", 2);
    char *only[] = { (char *)"b" };
    p.interfaces.items = (void *)only;
    p.interfaces.n = 1;
    test_nic_drop(a);
    test_nic_drop(b);
    net_announce(tm->m, &p);
    tm_turns(tm);
    g_assert_cmpuint(a->got->len, ==, 1);
    g_assert_cmpuint(b->got->len, ==, 0);
    net_test_free(tm); /* with rounds to come */
    tm = tm_new(0);
    net_announce(tm->m, &p); /* without a card nothing begins, and nothing is left */
    g_assert_null(tm->m->net);
    tm_free(tm);
}

/* ---- a back end of the test's own ---- */

typedef struct Plain {
    bool closed; /* it takes nothing */
    unsigned resumed;
    GPtrArray *got; /* GByteArray * */
} Plain;

static bool plain_receive(NetClient *c, const NetFrame *f)
{
    Plain *p = c->state;
    if (!p->closed) {
        GByteArray *a = g_byte_array_new();
        g_byte_array_append(a, f->data, (guint)f->len);
        g_ptr_array_add(p->got, a);
    }
    return !p->closed;
}

static void plain_resumed(NetClient *c)
{
    ((Plain *)c->state)->resumed++;
}

static void plain_close(NetClient *c)
{
    g_ptr_array_unref(((Plain *)c->state)->got);
}

static Plain *plain_new(TestMachine *tm, NetClient **client)
{
    static const NetKind kind = { .name = "plain", .state_size = sizeof(Plain), .receive = plain_receive,
                                  .resumed = plain_resumed, .close = plain_close };
    *client = net_client_new(tm->m, &kind, "plain");
    Plain *p = (*client)->state;
    p->got = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    return p;
}

/* A back end stops by itself while something waits for its peer: it is told when nothing does any more, be it
 * that the last frame ended a turn, or that the peer is another one. */
static void test_resumed(void)
{
    TestMachine *tm = tm_new(0);
    NetClient *c;
    Plain *p = plain_new(tm, &c);
    TestNic *n = test_nic_new(tm, "n", "plain");
    uint8_t f[1514] = { 0 };
    const unsigned turn = NET_TURN_BYTES / sizeof(f) + 1;
    for (unsigned frames = turn - 1; frames <= 2 * turn; frames++) {
        n->closed = true;
        for (unsigned i = 0; i < frames; i++) {
            g_assert_true(net_client_send(c, &(NetFrame){ .data = f, .len = sizeof(f) }));
        }
        tm_turns(tm);
        p->resumed = 0;
        g_assert_false(net_client_may_send(c));
        test_nic_open(n);
        tm_turns(tm);
        g_assert_cmpuint(n->got->len, ==, frames);
        g_assert_cmpuint(p->resumed, >, 0);
        test_nic_drop(n);
    }
    n->closed = true;
    net_client_send(c, &(NetFrame){ .data = f, .len = sizeof(f) });
    p->resumed = 0;
    net_client_unpair(c);
    g_assert_true(net_client_may_send(c));
    g_assert_cmpuint(p->resumed, ==, 1);
    net_test_free(tm);
}

typedef struct Sender {
    TestNic *n;
    NetClient *to;
    int stage; /* atomic */
    uint8_t frame[3000];
} Sender;

static gpointer send_slowly(gpointer opaque)
{
    Sender *s = opaque;
    NetHdr h = { 0 };
    domain_lock(s->n->dev.domain);
    uint8_t *room = net_queue_reserve(&s->to->rx, sizeof(s->frame));
    memcpy(room, s->frame, sizeof(s->frame));
    g_atomic_int_set(&s->stage, 1);
    g_usleep(20000);
    net_queue_commit(&s->to->rx, &h, sizeof(s->frame));
    domain_unlock(s->n->dev.domain);
    return NULL;
}

/* An announcement does not get into a frame that a vCPU is sending. */
static void test_announce_beside(void)
{
    TestMachine *tm = tm_new(0);
    NetClient *c;
    AnnounceParameters once = { .initial = 1, .max = 1, .rounds = 1, .step = 0 };
    Plain *p = plain_new(tm, &c);
    Sender s = { .n = test_nic_new(tm, "n", "plain"), .to = c };
    frame_fill(s.frame, sizeof(s.frame), 5);
    p->closed = true;
    g_assert_true(test_nic_send(s.n, NULL, s.frame, 100)); /* one waits: what comes goes behind it */
    GThread *t = g_thread_new("sender", send_slowly, &s);
    while (!g_atomic_int_get(&s.stage)) {
        g_usleep(100);
    }
    net_announce(tm->m, &once);
    g_thread_join(t);
    p->closed = false;
    net_client_resume(c);
    tm_turns(tm);
    static const size_t lengths[] = { 100, sizeof(s.frame), 60 };
    g_assert_cmpuint(p->got->len, ==, 3);
    for (unsigned i = 0; i < 3; i++) {
        const GByteArray *got = p->got->pdata[i];
        g_assert_cmpuint(got->len, ==, lengths[i]);
        g_assert_cmpmem(got->data, i == 2 ? 0 : got->len, s.frame, i == 2 ? 0 : got->len);
    }
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/net/queue", test_queue);
    g_test_add_func("/net/pass", test_pass);
    g_test_add_func("/net/pressure", test_pressure);
    g_test_add_func("/net/stopped", test_stopped);
    g_test_add_func("/net/link", test_link);
    g_test_add_func("/net/options", test_options);
    g_test_add_func("/net/announce", test_announce);
    g_test_add_func("/net/announce-beside", test_announce_beside);
    g_test_add_func("/net/resumed", test_resumed);
    return g_test_run();
}
