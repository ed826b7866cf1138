/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-core.c - graph, names, permissions, clients, gates, options.
 * Covers: block/node.c, perm.c, client.c, io.c, image.c, null.c.
 */
#include "blocktest.h"
#include <errno.h>
#include <string.h>

static void test_null(BlockTest *t, gconstpointer data)
{
    BlockClient *c = bt_client(bt_open(t, "null-co,size=1M,node-name=n0"));
    g_assert_cmpint(block_size(block_client_node(c)), ==, 1 << 20);
    bt_check_bytes(c, 0, 4096, 0);
    g_assert_cmpint(bt_write(c, 0, "x", 1, BLK_FUA), ==, 0);
    g_assert_cmpint(bt_read(c, (1 << 20) - 1, (char[2]){ 0 }, 2), ==, -EIO);
    g_assert_cmpint(bt_write(c, -1, "x", 1, 0), ==, -EIO);
    g_assert_cmpint(bt_zero(c, 0, (1 << 20) + 1, 0), ==, -EIO);
    block_client_free(c);
}

static void test_names(BlockTest *t, gconstpointer data)
{
    BlockNode *a = bt_open(t, "null-co,node-name=a"), *b = bt_open(t, "null-co");
    g_assert_true(block_find(t->graph, "a") == a);
    g_assert_true(g_str_has_prefix(block_name(b), "#block"));
    bt_open_fails(t, "in use", "null-co,node-name=a");
    bt_open_fails(t, "not a valid node name", "null-co,node-name=1a");
    bt_open_fails(t, "not a valid node name", "null-co,node-name=#x");
    bt_open_fails(t, "no node 'c'", "raw,file=c");
    bt_open_fails(t, "itself", "raw,node-name=self,file=self");
    bt_open_fails(t, "driver", "nosuch");
    bt_open_fails(t, "force-share", "null-co,force-share=on");
    bt_open_fails(t, "detect-zeroes", "null-co,detect-zeroes=unmap,discard=ignore");
    bt_open_fails(t, "must be between", "null-co,size=9E");
    block_unref(a);
    g_assert_null(block_find(t->graph, "a"));
    block_unref(b);
}

static void test_json(BlockTest *t, gconstpointer data)
{
    BlockClient *c =
        bt_client(bt_open(t, "{\"driver\": \"raw\", \"offset\": 512, \"size\": 1024, \"file\": "
                             "{\"driver\": \"null-co\", \"size\": 4096, \"node-name\": \"low\"}}"));
    g_assert_cmpint(block_size(block_client_node(c)), ==, 1024);
    g_assert_nonnull(block_find(t->graph, "low"));
    block_client_free(c);
    g_assert_null(block_find(t->graph, "low"));
    bt_open_fails(t, "ends behind", "raw,offset=4096,size=1,file.driver=null-co,file.size=4096");
    bt_open_fails(t, "lies behind", "raw,offset=4097,file.driver=null-co,file.size=4096");
    bt_open_fails(t, "'file' must be an object or a string, not integer", "{'driver': 'raw', 'file': 5}");
}

static void test_perm(BlockTest *t, gconstpointer data)
{
    BlockNode *n = bt_open(t, "raw,file.driver=null-co,node-name=disk");
    BlockClient *w = block_client_new(n, "one", BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ, NULL);
    g_assert_nonnull(w);
    g_autoptr(Error) err = NULL;
    g_assert_null(block_client_new(n, "two", BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &err));
    g_assert_cmpstr(error_text(err), ==,
                    "node 'disk' is used by 'one', which does not share write access with 'two'");
    BlockClient *r = block_client_new(n, "three", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot);
    g_assert_cmpint(bt_write(r, 0, "x", 1, 0), ==, -EPERM);
    g_autoptr(Error) err2 = NULL;
    g_assert_false(bt_truncate(w, 0, &err2));
    block_client_free(w);
    w = block_client_new(n, "two", BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &error_abort_slot);
    /* The same rules below: the raw node passes on what it was asked for. */
    g_autoptr(Error) err3 = NULL;
    g_assert_null(block_client_new(block_file(n), "low", BLOCK_PERM_READ, BLOCK_PERM_READ, &err3));
    block_client_free(w);
    block_client_free(r);
    block_unref(n);

    n = bt_open(t, "raw,read-only=on,file.driver=null-co,node-name=ro");
    g_autoptr(Error) err4 = NULL;
    g_assert_null(block_client_new(n, "x", BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &err4));
    g_assert_cmpstr(error_text(err4), ==, "block node 'ro' is read-only");
    block_unref(n);
}

typedef struct Slow {
    BlockClient *c;
    unsigned done;
} Slow;

static void slow_body(void *opaque)
{
    Slow *s = opaque;
    char buf[512];
    IoVec v;
    for (int i = 0; i < 20; i++) {
        iov_init_buf(&v, buf, sizeof(buf));
        g_assert_cmpint(block_pwritev(s->c, 0, &v, BLK_FUA), ==, 0);
    }
    s->done++;
}

static void test_gate(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 1 << 20);
    BlockNode *n = bt_open(t, "raw,file.driver=file,file.filename=%s", path);
    Slow s = { .c = block_client_new(n, "x", BLOCK_PERM_ALL, BLOCK_PERM_READ, &error_abort_slot) };
    for (int i = 0; i < 4; i++) {
        co_enter(t->loop, slow_body, &s);
    }
    block_gate_close(block_file(n));
    unsigned done = s.done;
    g_assert_cmpuint(done, <, 4);
    for (int i = 0; i < 100; i++) {
        loop_turn(t->loop, false);
    }
    g_assert_cmpuint(s.done, ==, done); /* nobody got in */
    block_gate_close(n);
    block_gate_open(n);
    loop_turn(t->loop, false);
    g_assert_cmpuint(s.done, ==, done); /* still closed once */
    block_gate_open(block_file(n));
    while (s.done < 4) {
        loop_turn(t->loop, true);
    }
    block_client_free(s.c);
    block_unref(n);
}

/* Clients that come and go in the turns in which a gate waits. */

enum { CLIENTS = 4, TURNS = 50 };

typedef struct Shifting {
    BlockNode *n;
    BlockClient *c[CLIENTS];
    unsigned gone, passed[CLIENTS]; /* gone: a bit for each that is freed in the turn */
    bool comes;                     /* one more comes then */
    Task task;
} Shifting;

typedef struct Ask {
    Shifting *s;
    unsigned who;
} Ask;

static BlockDriver holding; /* its writes end when somebody wakes them */
static Co *held;
static bool hold;

static int held_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    if (hold) {
        held = co_self();
        co_yield ();
    }
    return 0;
}

static void ask_body(void *opaque)
{
    Ask a = *(Ask *)opaque;
    IoVec v;
    char byte = 0;
    iov_init_buf(&v, &byte, 1);
    g_assert_cmpint(block_pwritev(a.s->c[a.who], 0, &v, 0), ==, 0);
    a.s->passed[a.who]++;
}

static void ask(BlockTest *t, Shifting *s, unsigned who)
{
    Ask a = { s, who };
    co_enter(t->loop, ask_body, &a);
}

static BlockClient *new_client(BlockNode *n)
{
    return block_client_new(n, "x", BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &error_abort_slot);
}

static void come_and_go(void *opaque)
{
    Shifting *s = opaque;
    hold = false;
    co_wake(held);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (s->gone >> i & 1) {
            block_client_free(s->c[i]);
            s->c[i] = NULL;
        }
    }
    if (s->comes) {
        s->c[CLIENTS - 1] = new_client(s->n);
    }
}

/* Whoever is there while the gate is closed waits, and passes when it is open: with request `busy` in flight
 * the clients `gone` go. */
static void shift(BlockTest *t, unsigned busy, unsigned gone, bool comes)
{
    Shifting s = { .n = bt_open(t, "null-co,size=4096"), .gone = gone, .comes = comes };
    holding = block_null_driver;
    holding.pwritev = held_pwritev;
    s.n->driver = &holding;
    s.task = (Task){ .run = come_and_go, .opaque = &s };
    for (unsigned i = 0; i < CLIENTS - 1; i++) {
        s.c[i] = new_client(s.n);
    }
    hold = true;
    ask(t, &s, busy);
    loop_post(t->loop, &s.task);
    block_gate_close(s.n);
    g_assert_cmpuint(s.passed[busy], ==, 1);
    g_assert_false(hold);
    s.passed[busy] = 0;
    if (!s.c[CLIENTS - 1]) { /* one that comes while nobody waits */
        s.c[CLIENTS - 1] = new_client(s.n);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (s.c[i]) {
            ask(t, &s, i);
        }
    }
    for (unsigned i = 0; i < TURNS; i++) {
        loop_turn(t->loop, false);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        g_assert_cmpuint(s.passed[i], ==, 0);
    }
    block_gate_open(s.n);
    for (unsigned i = 0; i < TURNS; i++) {
        loop_turn(t->loop, false);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        g_assert_cmpuint(s.passed[i], ==, s.c[i] ? 1 : 0);
        block_client_free(s.c[i]);
    }
    block_unref(s.n);
}

static void test_gate_shift(BlockTest *t, gconstpointer data)
{
    for (unsigned busy = 0; busy < CLIENTS - 1; busy++) {
        for (unsigned gone = 0; gone < 1 << (CLIENTS - 1); gone++) {
            shift(t, busy, gone, false);
            shift(t, busy, gone, true);
        }
    }
}

/* A node's last client goes, and the last reference with it: the node stays until its gate is open. */
static void go(void *opaque)
{
    Shifting *s = opaque;
    come_and_go(s);
    block_unref(s->n);
}

static void test_gate_last(BlockTest *t, gconstpointer data)
{
    Shifting s = { .n = bt_open(t, "null-co,size=4096"), .gone = 1 };
    holding = block_null_driver;
    holding.pwritev = held_pwritev;
    s.n->driver = &holding;
    s.task = (Task){ .run = go, .opaque = &s };
    s.c[0] = new_client(s.n);
    hold = true;
    ask(t, &s, 0);
    loop_post(t->loop, &s.task);
    block_gate_close(s.n);
    g_assert_null(s.c[0]);
    block_gate_open(s.n); /* the last reference goes; bt_teardown() sees that none is left */
}

static void test_image_options(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 4096);
    g_autoptr(Json) o = block_image_options(path, NULL, &error_abort_slot);
    g_assert_cmpstr(json_get_string(json_member(o, "driver", NULL)), ==, "raw");
    g_autoptr(Json) j = block_image_options("json:{'driver': 'null-co'}", NULL, &error_abort_slot);
    g_assert_cmpstr(json_get_string(json_member(j, "driver", NULL)), ==, "null-co");
    g_autoptr(Error) err = NULL, err2 = NULL;
    g_assert_null(block_image_options("/nonexistent/x", NULL, &err));
    g_assert_null(block_image_options(path, "qcow3", &err2));
    g_assert_nonnull(strstr(error_text(err2), "qcow3"));
}

typedef struct Passed {
    unsigned times;
    uint64_t threshold, exceeded;
} Passed;

static void note_passed(void *opaque, const BlockNode *n, uint64_t threshold, uint64_t exceeded)
{
    Passed *p = opaque;
    g_assert_cmpstr(block_name(n), ==, "low");
    *p = (Passed){ p->times + 1, threshold, exceeded };
}

/* Told once, of the node that it was set on, by writes and zeros; by none that ends at it. */
static void test_threshold(BlockTest *t, gconstpointer data)
{
    Passed p = { 0 };
    g_autofree char *path = bt_file(t, "img", 1 << 20);
    block_set_threshold_say(t->graph, note_passed, &p);
    BlockNode *n = bt_open(t, "raw,file.driver=file,file.node-name=low,file.filename=%s", path);
    BlockNode *low = block_file(n);
    BlockClient *c = bt_client(n);
    g_assert_cmpuint(block_write_threshold(low), ==, 0);
    g_assert_cmpint(bt_zero(c, 0, 1 << 20, 0), ==, 0);
    block_set_write_threshold(low, 8192);
    g_assert_cmpint(bt_write(c, 4096, path, 1, 0), ==, 0);
    g_assert_cmpint(bt_zero(c, 0, 8192, 0), ==, 0);
    g_assert_cmpuint(p.times, ==, 0);
    g_assert_cmpuint(block_write_threshold(low), ==, 8192);
    g_assert_cmpint(bt_write(c, 8190, "abcd", 4, 0), ==, 0);
    g_assert_true(p.times == 1 && p.threshold == 8192 && p.exceeded == 2 && block_write_threshold(low) == 0);
    g_assert_cmpint(bt_write(c, 9000, "abcd", 4, 0), ==, 0);
    g_assert_cmpuint(p.times, ==, 1);
    block_set_write_threshold(low, 1);
    g_assert_cmpint(bt_zero(c, 65536, 4096, 0), ==, 0);
    g_assert_true(p.times == 2 && p.exceeded == 65536 + 4096 - 1);
    block_set_write_threshold(low, UINT64_MAX);
    g_assert_cmpint(bt_zero(c, 0, 1 << 20, 0), ==, 0);
    block_set_write_threshold(low, 0);
    g_assert_cmpuint(p.times, ==, 2);
    block_client_free(c);
}

#define ADD(name) g_test_add("/block/core/" #name, BlockTest, NULL, bt_setup, test_##name, bt_teardown)

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    ADD(null);
    ADD(names);
    ADD(json);
    ADD(perm);
    ADD(gate);
    ADD(gate_shift);
    ADD(gate_last);
    ADD(image_options);
    ADD(threshold);
    return g_test_run();
}
