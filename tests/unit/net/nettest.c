/* SPDX-License-Identifier: MIT
 * tests/unit/net/nettest.c - the test's network card. Threads: main.
 */
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <string.h>

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

void netdev_new(TestMachine *tm, const char *text)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "type", &from_text, &error_abort_slot);
    netdev_add_json(tm->m, o, from_text, &error_abort_slot);
}

void net_test_free(TestMachine *tm)
{
    machine_stop(tm->m, RUN_PAUSED);
    net_remove_all(tm->m);
    tm_free(tm);
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
