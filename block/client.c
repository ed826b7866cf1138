/* SPDX-License-Identifier: MIT
 * block/client.c - clients: the only way for requests into the graph, and the gates in front of it.
 *
 * Models: a request counts itself in, then looks whether the gate is closed; who closes sets `closed`, then
 * looks at the count. Both are sequentially consistent, so one of them sees the other: no request is inside
 *         when block_gate_close() returns, and none is forgotten in front of an open gate. A gate knows whom
 *         it has closed: while it waits the loop turns, in which clients come and go. Who comes above a
 *         closed gate is closed by it, who goes is forgotten, and it opens those that are left.
 * Threads: requests on any loop; gates, creation and removal on the main loop's thread.
 */
#include "block/trace.h"
#include "internal.h"

#include <errno.h>

struct BlockGate {
    BlockGate *next;    /* closed before this one */
    BlockNode *node;    /* with a reference: its last client may go meanwhile */
    GPtrArray *clients; /* BlockClient *, borrowed: those it has closed, each once */
};

/* Closes every client from which requests can reach `n`. The loop does not turn: none goes meanwhile. */
static void gate_take(BlockGate *gate, BlockNode *n)
{
    for (unsigned i = 0; i < n->edges_up->len; i++) {
        BlockEdge *e = g_ptr_array_index(n->edges_up, i);
        if (!e->client) {
            gate_take(gate, e->parent);
        } else if (!g_ptr_array_find(gate->clients, e->client, NULL)) {
            __atomic_add_fetch(&e->client->closed, 1, __ATOMIC_SEQ_CST);
            g_ptr_array_add(gate->clients, e->client);
        }
    }
}

BlockClient *block_client_new(BlockNode *n, const char *name, unsigned perm, unsigned shared, Error **errp)
{
    role_assert_main();
    BlockClient *c = g_new0(BlockClient, 1);
    c->edge = (BlockEdge){ .node = n, .client = c, .role = g_strdup(name), .perm = perm, .shared = shared };
    pthread_mutex_init(&c->lock, NULL);
    if (!block_edge_add(&c->edge, errp)) {
        pthread_mutex_destroy(&c->lock);
        g_free((char *)c->edge.role);
        g_free(c);
        return NULL;
    }
    for (BlockGate *gate = n->graph->gates; gate; gate = gate->next) {
        gate_take(gate, gate->node);
    }
    return c;
}

static bool any_in_flight(const GPtrArray *clients)
{
    for (guint i = 0; i < clients->len; i++) {
        const BlockClient *c = g_ptr_array_index(clients, i);
        if (__atomic_load_n(&c->in_flight, __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

/* Turns the loop; who is among `clients` may change with each turn. */
static void wait_for_requests(BlockGraph *g, const GPtrArray *clients)
{
    __atomic_add_fetch(&g->closing, 1, __ATOMIC_SEQ_CST);
    while (any_in_flight(clients)) {
        loop_turn(g->loop, true);
    }
    __atomic_sub_fetch(&g->closing, 1, __ATOMIC_SEQ_CST);
}

/* One gate less is closed for it. */
static void client_open(BlockClient *c)
{
    pthread_mutex_lock(&c->lock);
    CoWaiter *w = NULL;
    if (__atomic_sub_fetch(&c->closed, 1, __ATOMIC_SEQ_CST) == 0) {
        w = c->waiting.first;
        c->waiting.first = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    while (w) {
        CoWaiter *next = w->next; /* w lies on the stack of the one that is woken */
        co_wake(w->co);
        w = next;
    }
}

void block_client_free(BlockClient *c)
{
    if (!c) {
        return;
    }
    role_assert_main();
    BlockGraph *g = c->edge.node->graph;
    g_autoptr(GPtrArray) only = g_ptr_array_new();
    g_ptr_array_add(only, c);
    __atomic_add_fetch(&c->closed, 1, __ATOMIC_SEQ_CST);
    wait_for_requests(g, only);
    g_assert(!c->waiting.first);
    for (BlockGate *gate = g->gates; gate; gate = gate->next) {
        g_ptr_array_remove(gate->clients, c);
    }
    block_edge_remove(&c->edge);
    pthread_mutex_destroy(&c->lock);
    g_free((char *)c->edge.role);
    g_free(c);
}

BlockNode *block_client_node(const BlockClient *c)
{
    return c->edge.node;
}

void block_client_set_write_through(BlockClient *c, bool on)
{
    c->write_through = on;
}

void block_gate_close(BlockNode *n)
{
    role_assert_main();
    trace_block_gate(block_name(n), true);
    BlockGraph *g = n->graph;
    BlockGate *gate = g_new0(BlockGate, 1);
    *gate = (BlockGate){ .next = g->gates, .node = block_ref(n), .clients = g_ptr_array_new() };
    g->gates = gate;
    gate_take(gate, n);
    wait_for_requests(g, gate->clients);
}

void block_gate_open(BlockNode *n)
{
    role_assert_main();
    trace_block_gate(block_name(n), false);
    BlockGate **link = &n->graph->gates;
    while (*link && (*link)->node != n) {
        link = &(*link)->next;
    }
    BlockGate *gate = *link;
    g_assert(gate);
    *link = gate->next;
    for (guint i = 0; i < gate->clients->len; i++) {
        client_open(g_ptr_array_index(gate->clients, i)); /* who waited goes on in a later turn */
    }
    g_ptr_array_free(gate->clients, TRUE);
    block_unref(gate->node);
    g_free(gate);
}

/* Once the count is 0 the client may be gone; the graph stays. */
static void client_leave(BlockClient *c)
{
    BlockGraph *g = c->edge.node->graph;
    if (__atomic_sub_fetch(&c->in_flight, 1, __ATOMIC_SEQ_CST) == 0 &&
        G_UNLIKELY(__atomic_load_n(&g->closing, __ATOMIC_SEQ_CST))) {
        loop_post(g->loop, &g->drained);
    }
}

static void client_enter(BlockClient *c)
{
    for (;;) {
        __atomic_add_fetch(&c->in_flight, 1, __ATOMIC_SEQ_CST);
        if (G_LIKELY(!__atomic_load_n(&c->closed, __ATOMIC_SEQ_CST))) {
            return;
        }
        CoWaiter me = { .co = co_self() };
        pthread_mutex_lock(&c->lock);
        bool wait = __atomic_load_n(&c->closed, __ATOMIC_SEQ_CST);
        if (wait) {
            me.next = c->waiting.first;
            c->waiting.first = &me;
        }
        pthread_mutex_unlock(&c->lock);
        client_leave(c);
        if (wait) {
            co_yield ();
        }
    }
}

/* The request is told before it is checked: one that breaks the rules shows, too. */
static int client_result(const BlockClient *c, const char *what, int64_t off, int r)
{
    trace_blk_done(c->edge.node->name, c->edge.role, what, off, r);
    return r;
}

static int client_check(const BlockClient *c, int64_t off, int64_t bytes, unsigned perm)
{
    if (perm & ~c->edge.perm) {
        return -EPERM;
    }
    int64_t size = block_size(c->edge.node);
    return off < 0 || bytes < 0 || off > size || bytes > size - off ? -EIO : 0;
}

int block_preadv(BlockClient *c, int64_t off, IoVec *v, unsigned flags)
{
    trace_blk_read(c->edge.node->name, c->edge.role, off, v->bytes);
    client_enter(c);
    int r = client_check(c, off, (int64_t)v->bytes, BLOCK_PERM_READ);
    if (r == 0 && v->bytes) {
        r = node_preadv(c->edge.node, off, v, flags);
    }
    r = client_result(c, "read", off, r);
    client_leave(c);
    return r;
}

int block_pwritev(BlockClient *c, int64_t off, IoVec *v, unsigned flags)
{
    trace_blk_write(c->edge.node->name, c->edge.role, off, v->bytes, flags);
    client_enter(c);
    int r = client_check(c, off, (int64_t)v->bytes, BLOCK_PERM_WRITE);
    if (r == 0 && v->bytes) {
        r = node_pwritev(c->edge.node, off, v, flags | (c->write_through ? BLK_FUA : 0));
    }
    r = client_result(c, "write", off, r);
    client_leave(c);
    return r;
}

int block_copy_from(BlockClient *c, int64_t off, int fd, int64_t fd_off, int64_t bytes)
{
    client_enter(c);
    int r = client_check(c, off, bytes, BLOCK_PERM_WRITE);
    if (r == 0 && bytes) {
        r = node_copy_from(c->edge.node, off, fd, fd_off, bytes);
    }
    if (r == 0 && c->write_through) {
        r = node_flush(c->edge.node);
    }
    client_leave(c);
    return r;
}

int block_write_zeroes(BlockClient *c, int64_t off, int64_t bytes, unsigned flags)
{
    trace_blk_write_zeroes(c->edge.node->name, c->edge.role, off, bytes, flags);
    client_enter(c);
    int r = client_check(c, off, bytes, BLOCK_PERM_WRITE);
    if (r == 0 && bytes) {
        r = node_write_zeroes(c->edge.node, off, bytes, flags | (c->write_through ? BLK_FUA : 0));
    }
    r = client_result(c, "write_zeroes", off, r);
    client_leave(c);
    return r;
}

int block_discard(BlockClient *c, int64_t off, int64_t bytes)
{
    trace_blk_discard(c->edge.node->name, c->edge.role, off, bytes);
    client_enter(c);
    int r = client_check(c, off, bytes, BLOCK_PERM_WRITE);
    if (r == 0 && bytes) {
        r = node_discard(c->edge.node, off, bytes);
    }
    r = client_result(c, "discard", off, r);
    client_leave(c);
    return r;
}

int block_flush(BlockClient *c)
{
    trace_blk_flush(c->edge.node->name, c->edge.role);
    client_enter(c);
    int r = node_flush(c->edge.node);
    r = client_result(c, "flush", 0, r);
    client_leave(c);
    return r;
}

int block_extent(BlockClient *c, int64_t off, int64_t bytes, BlockExtent *out)
{
    client_enter(c);
    int r = client_check(c, off, bytes, 0);
    if (r == 0) {
        r = node_extent(c->edge.node, off, bytes, out);
    }
    client_leave(c);
    return r;
}

int block_extent_above(BlockClient *c, BlockNode *base, int64_t off, int64_t bytes, BlockExtent *out)
{
    client_enter(c);
    int r = client_check(c, off, bytes, 0);
    if (r == 0) {
        r = node_extent_above(c->edge.node, base, off, bytes, out);
    }
    client_leave(c);
    return r;
}

int block_map(BlockClient *c, int64_t off, int64_t bytes, BlockMap *out)
{
    *out = (BlockMap){ 0 };
    client_enter(c);
    int r = client_check(c, off, bytes, BLOCK_PERM_READ);
    if (r == 0) {
        r = node_map(c->edge.node, off, bytes, out);
    }
    client_leave(c);
    return r;
}

typedef struct Resize {
    BlockNode *n;
    int64_t size;
    Error **errp;
    bool ok;
} Resize;

static void resize_body(void *opaque)
{
    Resize *r = opaque;
    r->ok = node_truncate(r->n, r->size, BLOCK_PREALLOC_OFF, r->errp);
}

bool block_resize(BlockNode *n, int64_t size, Error **errp)
{
    Resize r = { .n = n, .size = size, .errp = errp };
    BlockClient *c = block_client_new(n, "block_resize", BLOCK_PERM_RESIZE, BLOCK_PERM_ALL, errp);
    if (!c) {
        return false;
    }
    block_give_up(n->graph);
    block_gate_close(n);
    co_run_sync(n->graph->loop, resize_body, &r); /* beside the gates, which are closed for `c` as well */
    block_gate_open(n);
    block_client_free(c);
    return r.ok;
}

int block_extent_deep(BlockClient *c, int64_t off, int64_t bytes, BlockExtent *out)
{
    client_enter(c);
    int r = client_check(c, off, bytes, 0);
    if (r == 0) {
        r = node_extent_deep(c->edge.node, off, bytes, out);
    }
    client_leave(c);
    return r;
}

bool block_truncate(BlockClient *c, int64_t size, int prealloc, Error **errp)
{
    client_enter(c);
    bool ok;
    if (!(c->edge.perm & BLOCK_PERM_RESIZE)) {
        ok = error_set(errp, "'%s' may not resize node '%s'", c->edge.role, c->edge.node->name);
    } else {
        ok = node_truncate(c->edge.node, size, prealloc, errp);
    }
    client_leave(c);
    return ok;
}
