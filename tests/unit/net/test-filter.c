/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-filter.c - filters of back ends (net/filter.c, filter-dump.c, filter-mirror.c,
 * filter-buffer.c; what backends/object.c registers): order, both ways, on and off while frames pass, files,
 * character devices that are slow or send nonsense. Threads: main.
 */
#include "rhea/backends/char.h"
#include "rhea/backends/object.h"
#include "tests/unit/net/nettest.h"
#include "rhea/schema/type.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct Net { /* the filters are h0's, which is a's back end */
    TestMachine *tm;
    TestNic *a, *b;
} Net;

static bool add(Net *n, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "qom-type", &from_text, &error_abort_slot);
    return object_new_json(n->tm->m, o, from_text, false, errp);
}

static void filter(Net *n, const char *text)
{
    add(n, text, &error_abort_slot);
}

static void refused(Net *n, const char *text, const char *error)
{
    g_autoptr(Error) err = NULL;
    g_assert_false(add(n, text, &err));
    if (!strstr(error_text(err), error)) {
        g_test_message("%s: %s", text, error_text(err));
        g_test_fail();
    }
}

static void net_open(Net *n)
{
    n->tm = tm_new(0);
    netdev_new(n->tm, "hubport,id=h0,hubid=0");
    netdev_new(n->tm, "hubport,id=h1,hubid=0");
    n->a = test_nic_new(n->tm, "a", "h0");
    n->b = test_nic_new(n->tm, "b", "h1");
}

static void net_close(Net *n)
{
    machine_stop(n->tm->m, RUN_PAUSED);
    net_remove_all(n->tm->m);
    chardev_remove_all(n->tm->m);
    tm_free(n->tm);
}

static void set_status(Net *n, const char *id, const char *status)
{
    g_autoptr(Json) v = json_new_string(status);
    object_set(n->tm->m, id, "status", v, &error_abort_slot);
}

static void assert_property(Net *n, const char *id, const char *name, const char *want)
{
    g_autoptr(Json) v = object_get(n->tm->m, id, name);
    g_assert_cmpstr(json_get_string(v), ==, want);
}

/* A frame of `len` bytes each way. */
static void both_ways(Net *n, size_t len, unsigned seed)
{
    uint8_t f[2000];
    frame_fill(f, len, seed);
    g_assert_true(test_nic_send(n->a, NULL, f, len));
    frame_fill(f, len + 1, seed);
    g_assert_true(test_nic_send(n->b, NULL, f, len + 1));
    tm_turns(n->tm);
}

static void assert_got(Net *n, guint a, guint b)
{
    g_assert_cmpuint(n->a->got->len, ==, a);
    g_assert_cmpuint(n->b->got->len, ==, b);
    test_nic_drop(n->a);
    test_nic_drop(n->b);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The lengths of the frames that a character device has got, as text; each has the content of `seed`. */
static char *lengths(Chardev *c, unsigned seed)
{
    static uint8_t buf[1 << 20];
    uint8_t want[2000];
    GString *s = g_string_new(NULL);
    size_t n = chardev_buffer_take(c, buf, sizeof(buf)), at = 0;
    while (at < n) {
        size_t len = be32(buf + at);
        g_assert_cmpuint(at + 4 + len, <=, n);
        frame_fill(want, len, seed);
        g_assert_cmpmem(buf + at + 4, len, want, len);
        g_string_append_printf(s, "%zu ", len);
        at += 4 + len;
    }
    return g_string_free(s, FALSE);
}

static void assert_mirrored(Net *n, Chardev *c, unsigned seed, const char *want)
{
    tm_turns(n->tm);
    g_autofree char *got = lengths(c, seed);
    g_assert_cmpstr(got, ==, want);
}

static void test_mirror(void)
{
    Net n;
    net_open(&n);
    Chardev *c = chardev_new_buffer(n.tm->m, "c"), *d = chardev_new_buffer(n.tm->m, "d");
    filter(&n, "filter-mirror,id=m,netdev=h0,outdev=c");
    filter(&n, "filter-mirror,id=t,netdev=h0,outdev=d,queue=tx");
    both_ways(&n, 100, 1);
    assert_got(&n, 1, 1);
    assert_mirrored(&n, c, 1, "100 101 ");
    assert_mirrored(&n, d, 1, "101 "); /* what the back end sends */
    set_status(&n, "m", "off");
    assert_property(&n, "m", "status", "off");
    both_ways(&n, 100, 2);
    assert_mirrored(&n, c, 2, "");
    set_status(&n, "m", "on");
    both_ways(&n, 200, 3);
    assert_mirrored(&n, c, 3, "200 201 ");
    g_assert_false(chardev_remove(n.tm->m, "c", NULL)); /* it is used */
    object_remove(n.tm->m, "m", &error_abort_slot);
    g_assert_true(chardev_remove(n.tm->m, "c", NULL));
    g_autoptr(GString) s = g_string_new(NULL);
    net_print(n.tm->m, s);
    g_assert_nonnull(strstr(s->str, "t: type=filter-mirror,queue=tx,status=on; 3 frames, 0 lost"));
    net_close(&n);
}

/* An unfinished frame leaves finished: so many segments, none with a sum to be completed. */
static void test_finished(void)
{
    enum { PAYLOAD = 5000 };
    static const uint8_t ip[] = { 0x08, 0, 0x45, 0, 0x13, 0xb0, 0, 1, 0x40, 0, 64,
                                  6,    0, 0,    10, 9,   0,    1, 10, 9, 0, 2 };
    uint8_t f[54 + PAYLOAD], got[8192];
    NetHdr h = {
        .needs_csum = true, .gso = NET_GSO_TCP4, .gso_size = 1000, .csum_start = 34, .csum_offset = 16
    };
    Net n;
    net_open(&n);
    Chardev *c = chardev_new_buffer(n.tm->m, "c");
    filter(&n, "filter-redirector,id=m,netdev=h0,outdev=c,queue=rx");
    frame_fill(f, sizeof(f), 1);
    memcpy(f + 12, ip, sizeof(ip));
    memset(f + 34, 0, 20);
    f[46] = 0x50;
    g_assert_true(test_nic_send(n.a, &h, f, sizeof(f)));
    tm_turns(n.tm);
    size_t len = chardev_buffer_take(c, got, sizeof(got));
    g_assert_cmpuint(len, ==, 5 * (4 + 54 + 1000));
    for (unsigned i = 0; i < 5; i++) {
        const uint8_t *p = got + i * 1058;
        g_assert_cmpuint(be32(p), ==, 1054);
        g_assert_cmpuint(net_checksum(p + 4 + 14, 20), ==, 0xffff);
        g_assert_cmpmem(p + 58, 1000, f + 54 + i * 1000, 1000);
    }
    assert_got(&n, 0, 0);
    net_close(&n);
}

static void feed(Net *n, Chardev *c, const void *data, size_t len)
{
    chardev_buffer_feed(c, data, len);
    tm_turns(n->tm);
}

static void test_redirector(void)
{
    uint8_t f[104] = { 0, 0, 0, 100 };
    Net n;
    net_open(&n);
    Chardev *out = chardev_new_buffer(n.tm->m, "out"), *in = chardev_new_buffer(n.tm->m, "in");
    Chardev *in2 = chardev_new_buffer(n.tm->m, "in2");
    filter(&n, "filter-redirector,id=r,netdev=h0,outdev=out,queue=rx");
    filter(&n, "filter-redirector,id=s,netdev=h0,indev=in,queue=rx");
    filter(&n, "filter-redirector,id=t,netdev=h0,indev=in2,queue=tx");
    both_ways(&n, 100, 1);
    assert_got(&n, 1, 0); /* what a sends is taken out, */
    assert_mirrored(&n, out, 1, "100 ");
    frame_fill(f + 4, 100, 7);
    for (unsigned i = 0; i < sizeof(f); i++) { /* and what comes instead goes to b, by pieces */
        feed(&n, in2, f + i, 1);
    }
    assert_got(&n, 1, 0);
    object_remove(n.tm->m, "r", &error_abort_slot); /* it came last, so what s lets in passed it */
    feed(&n, in, f, sizeof(f));
    assert_got(&n, 0, 1);
    set_status(&n, "s", "off");
    feed(&n, in, f, sizeof(f));
    assert_got(&n, 0, 0);
    set_status(&n, "s", "on");
    feed(&n, in, "\0\0\0\x0d", 4); /* no frame: nothing that follows is taken for one */
    feed(&n, in, f, sizeof(f));
    feed(&n, in2, "\xff\xff\xff\xff", 4);
    feed(&n, in2, f, sizeof(f));
    assert_got(&n, 0, 0);
    net_close(&n);
}

static void test_dump(void)
{
    Net n;
    g_autofree char *dir = g_dir_make_tmp("rhea-dump-XXXXXX", NULL), *bytes = NULL;
    g_autofree char *path = g_build_filename(dir, "x.pcap", NULL);
    g_autofree char *text = g_strdup_printf("filter-dump,id=d,netdev=h0,maxlen=150,status=off,file=%s", path);
    gsize len;
    net_open(&n);
    filter(&n, text);
    assert_property(&n, "d", "file", path);
    both_ways(&n, 100, 1);
    set_status(&n, "d", "on");
    both_ways(&n, 200, 2);
    set_status(&n, "d", "off");
    both_ways(&n, 300, 3);
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    g_assert_cmpuint(len, ==, 24 + 2 * (16 + 150));
    const uint32_t *head = (const void *)bytes, *one = head + 6;
    g_assert_cmphex(head[0], ==, 0xa1b2c3d4);
    g_assert_cmpuint(head[4], ==, 150);
    g_assert_cmpuint(head[5], ==, 1);
    g_assert_cmpuint(one[2], ==, 150);
    g_assert_cmpuint(one[3], ==, 200);
    uint8_t want[200];
    frame_fill(want, sizeof(want), 2);
    g_assert_cmpmem(one + 4, 150, want, 150);
    refused(&n, "filter-dump,id=e,netdev=h0,file=/dev/full", "cannot write '/dev/full'");
    refused(&n, "filter-dump,id=e,netdev=h0,file=/nonexistent/x", "cannot write '/nonexistent/x'");
    refused(&n, text, "there is already an object with id 'd'");
    refused(&n, "filter-dump,id=1,netdev=h0,file=/dev/null", "id '1' is not a name");
    test_nic_drop(n.a);
    test_nic_drop(n.b);
    net_close(&n);
    g_unlink(path);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void test_buffer(void)
{
    Net n;
    uint8_t f[60000];
    net_open(&n);
    filter(&n, "filter-buffer,id=f,netdev=h0,interval=1000");
    both_ways(&n, 100, 1);
    both_ways(&n, 110, 1);
    assert_got(&n, 0, 0);
    tm_step(n.tm, 999 * 1000);
    tm_turns(n.tm);
    assert_got(&n, 0, 0);
    tm_step(n.tm, 2000);
    tm_turns(n.tm);
    g_assert_cmpuint(((GByteArray *)n.b->got->pdata[0])->len, ==, 100);
    g_assert_cmpuint(((GByteArray *)n.b->got->pdata[1])->len, ==, 110);
    assert_got(&n, 2, 2);
    both_ways(&n, 100, 1);
    set_status(&n, "f", "off"); /* what waits goes on */
    tm_turns(n.tm);
    assert_got(&n, 1, 1);
    set_status(&n, "f", "on");
    frame_fill(f, sizeof(f), 1);
    for (unsigned i = 0; i < 1000; i++) { /* without end: the rest is lost */
        g_assert_true(test_nic_send(n.a, NULL, f, sizeof(f)));
        tm_turns(n.tm);
    }
    assert_got(&n, 0, 0);
    tm_step(n.tm, 2 * 1000 * 1000);
    tm_turns(n.tm);
    g_assert_cmpuint(n.b->got->len, >, 10);
    g_assert_cmpuint(n.b->got->len, <=, (16 << 20) / sizeof(f));
    both_ways(&n, 100, 1); /* some wait when their back end goes */
    net_close(&n);
}

/* Those in front see what comes from the back end first, and what goes to it last. */
static void test_places(void)
{
    Net n;
    net_open(&n);
    Chardev *c = chardev_new_buffer(n.tm->m, "c"), *o = chardev_new_buffer(n.tm->m, "o");
    filter(&n, "filter-mirror,id=m,netdev=h0,outdev=c");
    filter(&n, "filter-redirector,id=r,netdev=h0,outdev=o");
    both_ways(&n, 100, 1);
    assert_mirrored(&n, c, 1, "101 "); /* a's frame met the redirector first */
    assert_mirrored(&n, o, 1, "100 101 ");
    object_remove(n.tm->m, "r", &error_abort_slot);
    filter(&n, "filter-redirector,id=r,netdev=h0,outdev=o,position=head");
    both_ways(&n, 100, 2);
    assert_mirrored(&n, c, 2, "100 ");
    object_remove(n.tm->m, "r", &error_abort_slot);
    filter(&n, "filter-redirector,id=r,netdev=h0,outdev=o,position=id=m,insert=before");
    assert_property(&n, "r", "position", "id=m");
    both_ways(&n, 100, 3);
    assert_mirrored(&n, c, 3, "100 ");
    assert_got(&n, 0, 0);
    refused(&n, "filter-dump,id=x,netdev=h0,file=/nonexistent,position=middle",
            "'position' does not take 'middle'");
    refused(&n, "filter-dump,id=x,netdev=h0,file=/nonexistent,position=id=y", "has no filter 'y'");
    refused(&n, "filter-dump,id=x,netdev=h1,file=/nonexistent,position=id=m", "has no filter 'm'");
    net_close(&n);
}

static void test_options(void)
{
    Net n;
    net_open(&n);
    chardev_new_buffer(n.tm->m, "c");
    filter(&n, "filter-mirror,id=m,netdev=h0,outdev=c");
    refused(&n, "filter-mirror,id=x,netdev=h0,outdev=none", "there is no character device 'none'");
    refused(&n, "filter-mirror,id=x,netdev=h0,outdev=c", "filter 'm'");
    refused(&n, "filter-mirror,id=x,netdev=h0", "'outdev' is missing");
    refused(&n, "filter-mirror,id=x,netdev=a,outdev=c", "is a network card");
    refused(&n, "filter-mirror,id=x,netdev=none,outdev=c", "there is no network back end 'none'");
    refused(&n, "filter-mirror,id=x,netdev=h0,outdev=c,vnet_hdr_support=on",
            "'vnet_hdr_support' is not supported");
    refused(&n, "filter-redirector,id=x,netdev=h0", "'indev' and 'outdev' are missing");
    refused(&n, "filter-redirector,id=x,netdev=h0,indev=c,outdev=c", "must not be the same");
    refused(&n, "filter-buffer,id=x,netdev=h0", "'interval' is missing");
    refused(&n, "filter-buffer,id=x,netdev=h0,interval=0", "'interval' must be");
    refused(&n, "filter-buffer,id=x,netdev=h0,interval=5,status=maybe", "'status' does not take 'maybe'");
    g_autoptr(Json) v = json_new_string("c");
    g_autoptr(Json) number = json_new_int(1);
    g_assert_false(object_set(n.tm->m, "m", "outdev", v, NULL));
    g_assert_false(object_set(n.tm->m, "m", "status", v, NULL));
    g_assert_false(object_set(n.tm->m, "m", "status", number, NULL));
    g_assert_false(object_set(n.tm->m, "x", "status", v, NULL));
    g_assert_true(netdev_del(n.tm->m, "h0", NULL)); /* its filter goes with it */
    g_assert_null(object_get(n.tm->m, "m", "type"));
    g_assert_true(chardev_remove(n.tm->m, "c", NULL));
    net_close(&n);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    chardev_register();
    net_register();
    g_test_add_func("/filter/mirror", test_mirror);
    g_test_add_func("/filter/finished", test_finished);
    g_test_add_func("/filter/redirector", test_redirector);
    g_test_add_func("/filter/dump", test_dump);
    g_test_add_func("/filter/buffer", test_buffer);
    g_test_add_func("/filter/places", test_places);
    g_test_add_func("/filter/options", test_options);
    return g_test_run();
}
