/* SPDX-License-Identifier: MIT
 * tests/fuzz/nbd-client.c - any bytes as what a server says to the driver nbd: the handshake, then replies to
 * requests of every kind, several at once; also to a list of exports.
 *
 * What must hold: each request ends when the server has, and a read that succeeds has filled its buffer.
 * Covers: block/nbd-client.c, nbd-connect.c, nbd-request.c, nbd-stream.c.
 */
#include "rhea/block/driver.h"
#include "rhea/block/nbd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS = 8, PIECE = 65536 };

typedef struct Fuzz {
    Loop *loop;
    BlockGraph *graph;
    BlockClient *c;
    int fd;
    unsigned started, ended;
    Co *waiter;
} Fuzz;

static Fuzz *f;

/* What no server knows: compared by a product, which the fuzzer cannot put into its input. The factor is read
 * twice, or the compiler would compare the words themselves, which the fuzzer watches. */
static uint64_t secret;
static volatile uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);

static void mark(uint8_t *buf, size_t len)
{
    for (size_t i = 0; i + sizeof(secret) <= len; i += sizeof(secret)) {
        memcpy(buf + i, &secret, sizeof(secret));
    }
}

static bool marked(const uint8_t *buf, size_t len)
{
    bool found = false;
    for (size_t i = 0; i + sizeof(secret) <= len; i += sizeof(secret)) {
        uint64_t word;
        memcpy(&word, buf + i, sizeof(word));
        found = found || word * factor == secret * factor;
    }
    return found;
}

static void one(void *opaque)
{
    unsigned n = f->started++;
    int64_t size = block_size(block_client_node(f->c)), off = MIN(size, (int64_t)n * 4096);
    size_t len = (size_t)MIN(size - off, n & 1 ? 512 : PIECE);
    g_autofree uint8_t *buf = g_malloc(PIECE);
    IoVec v;
    BlockExtent e;
    iov_init_buf(&v, buf, len);
    switch (n) {
    case 0:
    case 1:
    case 2:
        mark(buf, len);
        if (block_preadv(f->c, off, &v, 0) == 0 && marked(buf, len)) {
            fprintf(stderr, "fuzz: a read leaves its buffer as it was\n");
            abort();
        }
        break;
    case 3: block_extent(f->c, off, size - off, &e); break;
    case 4:
        memset(buf, 1, len);
        block_pwritev(f->c, off, &v, BLK_FUA);
        break;
    case 5: block_write_zeroes(f->c, off, (int64_t)len, BLK_MAY_UNMAP | BLK_NO_FALLBACK); break;
    case 6: block_discard(f->c, off, (int64_t)len); break;
    default: block_flush(f->c); break;
    }
    if (++f->ended == REQUESTS && f->waiter) {
        co_wake(f->waiter);
    }
}

static void all(void *opaque)
{
    f->started = f->ended = 0;
    f->waiter = NULL;
    for (unsigned i = 0; i < REQUESTS; i++) {
        co_enter(f->loop, one, NULL);
    }
    if (f->ended < REQUESTS) {
        f->waiter = co_self();
        co_yield ();
    }
}

static void list(void *opaque)
{
    g_autofree char *number = g_strdup_printf("%d", f->fd);
    SockSpec where = { .kind = SOCK_KIND_FD, .fd = number };
    GPtrArray *out = nbd_list(f->graph, &where, NULL);
    if (out) {
        g_ptr_array_free(out, TRUE);
    }
}

static void use(void)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'nbd', 'auto-read-only': true, 'server': {'type': 'fd', 'str': '%d'}}", f->fd);
    g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
    BlockNode *n = block_open(f->graph, o, false, NULL);
    if (!n) {
        return;
    }
    unsigned perm = BLOCK_PERM_READ | (block_is_read_only(n) ? 0 : BLOCK_PERM_WRITE);
    f->c = block_client_new(n, "fuzz", perm, BLOCK_PERM_ALL, &error_abort_slot);
    block_unref(n);
    co_run_sync(f->loop, all, NULL);
    block_client_free(f->c);
}

/* The first byte: what the server is asked for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f) {
        role_become_main();
        f = g_new0(Fuzz, 1);
        secret = (uint64_t)g_random_int() << 32 | g_random_int();
        f->loop = loop_new("fuzz");
        f->graph = block_graph_new(f->loop);
    }
    if (size == 0) {
        return 0;
    }
    Feed feed;
    f->fd = feed_start(&feed, f->loop, data + 1, size - 1);
    if (data[0] & 1) {
        co_run_sync(f->loop, list, NULL);
    } else {
        use();
    }
    close(f->fd);
    feed_end(&feed);
    return 0;
}
