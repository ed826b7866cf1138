/* SPDX-License-Identifier: MIT
 * tests/unit/net/nettest.c - the test's network card. Threads: main.
 */
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool nic_receive(Device *dev, const NetFrame *f)
{
    TestNic *n = dev_as(TestNic, dev);
    g_assert_true(domain_held(dev->domain));
    if (n->closed) {
        return false;
    }
    GByteArray *a = g_byte_array_new();
    g_byte_array_append(a, f->data, (guint)f->len);
    g_ptr_array_add(n->got, a);
    n->hdr = f->hdr;
    if (n->closes_after && --n->closes_after == 0) {
        n->closed = true;
    }
    return true;
}

static void nic_writable(Device *dev)
{
    g_assert_true(domain_held(dev->domain));
    dev_as(TestNic, dev)->writable++;
}

static void nic_link(Device *dev, bool up)
{
    TestNic *n = dev_as(TestNic, dev);
    n->links++;
    n->link = up;
}

static void free_frame(void *a)
{
    g_byte_array_unref(a);
}

static bool nic_realize(Device *dev, Error **errp)
{
    static const NicOps ops = { .receive = nic_receive, .writable = nic_writable, .link_changed = nic_link };
    TestNic *n = dev_as(TestNic, dev);
    n->got = g_ptr_array_new_with_free_func(free_frame);
    return net_port_open(&n->port, dev, &ops, &n->mac, errp);
}

static void nic_unrealize(Device *dev)
{
    g_ptr_array_free(dev_as(TestNic, dev)->got, TRUE);
}

static const Prop nic_props[] = {
    PROP_NETDEV(TestNic, port, "netdev", "The back end"),
    PROP_MAC(TestNic, mac, "mac", "The address"),
    { 0 },
};

const DeviceType test_nic_type = {
    .name = "test-nic",
    .size = sizeof(TestNic),
    .internal = true,
    .props = nic_props,
    .realize = nic_realize,
    .unrealize = nic_unrealize,
};

TestNic *test_nic_new(TestMachine *tm, const char *id, const char *netdev)
{
    Device *dev = device_create(tm->m, &test_nic_type, tm->m->peripheral, id, NULL, &error_abort_slot,
                                netdev ? "netdev" : NULL, netdev, NULL);
    return dev_as(TestNic, dev);
}

bool test_nic_send(TestNic *n, const NetHdr *hdr, const void *data, size_t len)
{
    static const NetHdr plain;
    IoVec v;
    iov_init_buf(&v, (void *)data, len);
    domain_lock(n->dev.domain);
    bool sent = net_port_send(&n->port, hdr ? hdr : &plain, &v, 0);
    domain_unlock(n->dev.domain);
    return sent;
}

GByteArray *test_nic_take(TestNic *n)
{
    return n->got->len ? g_ptr_array_steal_index(n->got, 0) : NULL;
}

void test_nic_drop(TestNic *n)
{
    g_ptr_array_set_size(n->got, 0);
}

void test_nic_open(TestNic *n)
{
    domain_lock(n->dev.domain);
    n->closed = false;
    net_port_resume(&n->port);
    domain_unlock(n->dev.domain);
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool net_test_own_network(void)
{
    g_autofree char *users = g_strdup_printf("0 %u 1", getuid());
    g_autofree char *groups = g_strdup_printf("0 %u 1", getgid());
    return unshare(CLONE_NEWNET) == 0 ||
           (unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && write_text("/proc/self/setgroups", "deny") &&
            write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups));
}

void net_test_interface_up(const char *name)
{
    struct ifreq r = { .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_strlcpy(r.ifr_name, name, IFNAMSIZ);
    g_assert_cmpint(ioctl(fd, SIOCSIFFLAGS, &r), ==, 0);
    close(fd);
}

void netdev_new(TestMachine *tm, const char *text)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "type", &from_text, &error_abort_slot);
    netdev_add_json(tm->m, o, from_text, &error_abort_slot);
}

void netdev_refused(TestMachine *tm, const char *text, const char *error)
{
    bool from_text;
    g_autoptr(Error) err = NULL;
    g_autoptr(Json) o = keyval_parse(text, "type", &from_text, &error_abort_slot);
    g_assert_false(netdev_add_json(tm->m, o, from_text, &err));
    const char *hint = error_hint_text(err);
    if (!strstr(error_text(err), error) && !(hint && strstr(hint, error))) {
        g_test_message("%s: %s (%s)", text, error_text(err), hint ? hint : "");
        g_test_fail();
    }
    g_assert_false(netdev_exists(tm->m, "x"));
}

void net_test_free(TestMachine *tm)
{
    machine_stop(tm->m, RUN_PAUSED);
    net_remove_all(tm->m);
    tm_free(tm);
}

void frame_any(uint8_t *f, size_t len, Bytes *b)
{
    static const uint8_t tcp4[] = {
        0x52, 0x54, 0, 0xaa, 0xbb, 0xcc, 2, 0, 0, 0, 0, 1, 8, 0,               /* Ethernet */
        0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15, /* IPv4 */
        0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10,                        /* TCP */
    };
    static const uint8_t tcp6[] = {
        0x52, 0x54, 0, 0xaa, 0xbb, 0xcc, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64,
    };
    bool v6 = bytes_u8(b) & 1;
    memset(f, 0, len);
    memcpy(f, v6 ? tcp6 : tcp4, MIN(len, v6 ? sizeof(tcp6) : sizeof(tcp4)));
    if (v6 && len > 66) {
        f[66] = 0x50;
    }
    for (unsigned i = bytes_u8(b) % 8; i > 0 && len; i--) {
        f[bytes_u8(b) % len] = bytes_u8(b);
    }
}

void frame_fill(uint8_t *f, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        f[i] = (uint8_t)(i * 7 + i / 256 + seed);
    }
    memset(f, 0, MIN(len, 12));
    f[0] = 2;
    f[6] = 2;
    f[12] = 0x88;
    f[13] = 0xb5; /* for experiments */
}

/* ---- pairs ---- */

static void pair_event(void *opaque, const char *name, const Json *data)
{
    NetPair *p = opaque;
    g_hash_table_insert(p->events, g_strdup(name), GUINT_TO_POINTER(net_pair_events(p, name) + 1));
    if (data) {
        json_unref(p->event);
        p->event = json_ref((Json *)data);
    }
}

void net_pair_netdev(const NetPair *p, TestMachine *tm, const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "@", -1);
    g_autofree char *whole = g_strjoinv(p->dir, parts);
    netdev_new(tm, whole);
}

void net_pair_open(NetPair *p, const char *a, const char *b)
{
    TestMachine **tm[2] = { &p->a, &p->b };
    p->dir = g_dir_make_tmp("rhea-net-XXXXXX", NULL);
    p->events = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    p->event = NULL;
    for (unsigned i = 0; i < 2; i++) {
        *tm[i] = tm_new(0);
        p->listeners[i] = (MachineListener){ .event = pair_event, .opaque = p };
        machine_add_listener((*tm[i])->m, &p->listeners[i]);
    }
    net_pair_netdev(p, p->a, a);
    net_pair_netdev(p, p->b, b);
    p->na = test_nic_new(p->a, "n", "s");
    p->nb = test_nic_new(p->b, "n", "s");
    tm_turns(p->a);
}

void net_pair_close(NetPair *p)
{
    net_test_free(p->b);
    net_test_free(p->a);
    g_assert_cmpint(g_rmdir(p->dir), ==, 0); /* the sockets' names are gone */
    g_hash_table_destroy(p->events);
    json_unref(p->event);
    g_free(p->dir);
}

void net_pair_turn(NetPair *p)
{
    loop_turn(p->a->loop, false);
    loop_turn(p->b->loop, false);
}

void net_pair_turn_until(NetPair *p, TestNic *n, guint frames)
{
    gint64 end = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    while (n->got->len < frames && g_get_monotonic_time() < end) {
        net_pair_turn(p);
    }
    g_assert_cmpuint(n->got->len, ==, frames);
}

unsigned net_pair_events(NetPair *p, const char *name)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(p->events, name));
}

/* To a group: switches give it to all. */
static void fill_for_all(uint8_t *f, size_t len, unsigned seed)
{
    frame_fill(f, len, seed);
    f[0] = 3;
}

void net_pair_exchange(NetPair *p)
{
    uint8_t f[1514];
    for (unsigned way = 0; way < 2; way++) {
        TestNic *from = way ? p->nb : p->na, *to = way ? p->na : p->nb;
        for (unsigned i = 0; i < 300; i++) {
            fill_for_all(f, 20 + i * 4, i);
            g_assert_true(test_nic_send(from, NULL, f, 20 + i * 4));
            if (i % 32 == 31) { /* within what a datagram socket holds */
                net_pair_turn_until(p, to, i + 1);
            }
        }
        net_pair_turn_until(p, to, 300);
        for (unsigned i = 0; i < 300; i++) {
            g_autoptr(GByteArray) got = test_nic_take(to);
            fill_for_all(f, 20 + i * 4, i);
            g_assert_cmpmem(got->data, got->len, f, 20 + i * 4);
        }
    }
}

unsigned net_pair_pressure(NetPair *p)
{
    uint8_t f[1400];
    unsigned sent = 0, got = 0, idle = 0;
    p->nb->closed = true;
    while (idle < 50) {
        frame_fill(f, sizeof(f), sent);
        bool taken = test_nic_send(p->na, NULL, f, sizeof(f));
        sent += taken;
        idle = taken ? 0 : idle + 1;
        net_pair_turn(p);
    }
    g_assert_cmpuint(sent, <, 5000);
    test_nic_open(p->nb);
    net_pair_turn_until(p, p->nb, sent);
    for (GByteArray *one; (one = test_nic_take(p->nb)) != NULL; got++) {
        frame_fill(f, sizeof(f), got);
        g_assert_cmpmem(one->data, one->len, f, sizeof(f));
        g_byte_array_unref(one);
    }
    return sent;
}
