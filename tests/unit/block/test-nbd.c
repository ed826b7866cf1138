/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-nbd.c - NBD: client and server against each other, and each against peers that break
 * the protocol.
 * Covers: block/nbd-client.c, nbd-request.c, nbd-connect.c, nbd-url.c, nbd-stream.c, nbd-server.c,
 * nbd-negotiate.c, nbd-serve.c, image.c, node.c (probing), util/sock.c.
 */
#include "block/nbd-client.h"
#include "blocktest.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 3 * 1024 * 1024 + 512 };

/* ---- a server in this process ---- */

typedef struct Served {
    NbdServer *server;
    BlockNode *node;
    unsigned gone;
    char *path;
} Served;

static void count_gone(void *opaque, bool had_export, unsigned left)
{
    ((Served *)opaque)->gone += had_export;
}

static Served *serve(BlockTest *t, BlockNode *n, const char *name, bool writable)
{
    Served *d = g_new0(Served, 1);
    NbdServerConfig config = { .gone = count_gone, .opaque = d };
    NbdExportConfig e = {
        .name = name, .description = "a test", .node = n, .writable = writable, .shared = BLOCK_PERM_ALL
    };
    d->node = n;
    d->server = nbd_server_new(t->graph, &config);
    d->path = bt_path(t, "nbd.sock");
    SockSpec where = { .kind = SOCK_KIND_UNIX, .path = d->path };
    g_assert_nonnull(nbd_export_add(d->server, &e, &error_abort_slot));
    g_assert_true(nbd_server_listen(d->server, &where, &error_abort_slot));
    return d;
}

static void unserve(Served *d)
{
    nbd_server_free(d->server);
    block_unref(d->node);
    g_free(d->path);
    g_free(d);
}

static BlockNode *file_node(BlockTest *t, const char *name)
{
    g_autofree char *path = bt_file(t, name, SIZE);
    return bt_open(t, "raw,file.driver=file,file.filename=%s", path);
}

static BlockClient *connect_to(BlockTest *t, const Served *d, const char *more)
{
    return bt_client(bt_open(t, "nbd,server.type=unix,server.path=%s%s", d->path, more));
}

static void test_model(BlockTest *t, gconstpointer options)
{
    Served *d = serve(t, file_node(t, "img"), "", true);
    BlockClient *c = connect_to(t, d, options);
    BlockModel m;
    bt_model_init(&m, SIZE, 400);
    g_test_message("%u operations", m.ops);
    bt_model_run(t, c, &m);
    block_client_free(c);
    c = connect_to(t, d, ",read-only=on");
    bt_model_compare(c, &m);
    block_client_free(c);
    bt_model_fini(&m);
    unserve(d);
}

/* Formats lie on top; a name alone finds out which one. */
static void test_formats(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_path(t, "a.qcow2");
    uint8_t buf[70000];
    bt_create(t, "qcow2", path, "size=1M");
    Served *d = serve(t, bt_open(t, "file,filename=%s", path), "disk 1", true);
    BlockNode *grow = d->node; /* as large as a server's file: qcow2 needs room behind what is there */
    BlockClient *size = block_client_new(grow, "grow", BLOCK_PERM_RESIZE, BLOCK_PERM_ALL, &error_abort_slot);
    g_assert_true(bt_truncate(size, 8 << 20, &error_abort_slot));
    block_client_free(size);
    g_autofree char *url = g_strdup_printf("nbd+unix:///disk%%201?socket=%s", d->path);
    g_autoptr(Json) o = block_image_options(url, NULL, &error_abort_slot);
    BlockNode *n = block_open(t->graph, o, false, &error_abort_slot);
    g_assert_cmpstr(block_driver_name(n), ==, "qcow2");
    g_assert_cmpstr(block_filename(n), ==, url);
    BlockClient *c = bt_client(n);
    memset(buf, 0x5a, sizeof(buf));
    g_assert_cmpint(bt_write(c, 100, buf, sizeof(buf), BLK_FUA), ==, 0);
    g_assert_cmpint(bt_flush(c), ==, 0);
    block_client_free(c);
    c = bt_client(bt_open(t, "qcow2,read-only=on,file.driver=nbd,file.export=disk 1,file.server.type=unix,"
                             "file.server.path=%s",
                       d->path));
    bt_check_bytes(c, 100, sizeof(buf), 0x5a);
    block_client_free(c);
    unserve(d);
}

static void test_extents(BlockTest *t, gconstpointer data)
{
    BlockExtent e;
    uint8_t buf[65536];
    Served *d = serve(t, file_node(t, "img"), "x", true);
    BlockClient *c = connect_to(t, d, ",export=x");
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(bt_write(c, 1 << 20, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpint(bt_extent(c, 0, SIZE, &e), ==, 0);
    g_assert_true(e.zero && !e.data && e.allocated);
    g_assert_cmpint(e.bytes, ==, 1 << 20);
    g_assert_cmpint(bt_extent(c, (1 << 20) + 1, SIZE - (1 << 20) - 1, &e), ==, 0);
    g_assert_true(e.data && !e.zero);
    g_assert_cmpint(e.bytes, ==, sizeof(buf) - 1);
    g_assert_cmpint(bt_zero(c, 1 << 20, 65536, BLK_MAY_UNMAP | BLK_NO_FALLBACK), ==, 0);
    g_assert_cmpint(bt_extent(c, 0, SIZE, &e), ==, 0);
    g_assert_cmpint(e.bytes, ==, SIZE);
    block_client_free(c);
    unserve(d);
}

static void test_read_only(BlockTest *t, gconstpointer data)
{
    uint8_t b[512] = { 1 };
    Served *d = serve(t, file_node(t, "img"), "", false);
    bt_open_fails(t, "for reading only", "nbd,server.type=unix,server.path=%s", d->path);
    bt_open_fails(t, "no export 'y'", "nbd,read-only=on,export=y,server.type=unix,server.path=%s", d->path);
    BlockClient *c = connect_to(t, d, ",auto-read-only=on");
    g_assert_cmpint(bt_write(c, 0, b, sizeof(b), 0), ==, -EPERM);
    bt_check_bytes(c, 0, 512, 0);
    block_client_free(c);
    bt_open_fails(t, "meta context 'qemu:dirty-bitmap:b'",
                  "nbd,read-only=on,x-dirty-bitmap=qemu:dirty-bitmap:b,server.type=unix,server.path=%s",
                  d->path);
    bt_open_fails(t, "NBD has no TLS", "nbd,tls-creds=x,server.type=unix,server.path=%s", d->path);
    bt_open_fails(t, "cannot connect", "nbd,server.type=unix,server.path=%s.not", d->path);
    unserve(d);
}

static BlockClient *waits_for;

/* Removing an export ends its connections, or is refused; requests fail, or wait for the server's return. */
static void test_removal(BlockTest *t, gconstpointer data)
{
    uint8_t b[512] = { 7 };
    g_autoptr(Error) err = NULL;
    Served *d = serve(t, file_node(t, "img"), "x", true);
    BlockClient *c = connect_to(t, d, ",export=x");
    g_assert_cmpint(bt_write(c, 0, b, sizeof(b), 0), ==, 0);
    NbdExport *e = nbd_export_find(d->server, "x");
    g_assert_false(nbd_export_remove(e, false, &err));
    g_assert_nonnull(strstr(error_text(err), "in use"));
    g_assert_true(nbd_export_remove(e, true, &error_abort_slot));
    g_assert_cmpint(bt_read(c, 0, b, sizeof(b)), ==, -EIO);
    g_assert_null(nbd_export_find(d->server, "x"));
    block_client_free(c);
    unserve(d);
}

static void wait_body(void *opaque)
{
    uint8_t b[512];
    IoVec v;
    int *r = opaque;
    iov_init_buf(&v, b, sizeof(b));
    *r = block_preadv(waits_for, 0, &v, 0);
}

/* Whoever waits for requests does not wait for a server's return. */
static void test_give_up(BlockTest *t, gconstpointer data)
{
    uint8_t b[512];
    int r = 1;
    Served *d = serve(t, file_node(t, "img"), "x", true);
    waits_for = connect_to(t, d, ",export=x,reconnect-delay=1000");
    unserve(d);
    co_start(t->loop, wait_body, &r);
    for (int i = 0; i < 100; i++) { /* it waits, however often the loop turns */
        loop_turn(t->loop, false);
    }
    g_assert_cmpint(r, ==, 1);
    block_give_up(t->graph);
    while (r == 1) {
        loop_turn(t->loop, true);
    }
    g_assert_cmpint(r, ==, -EIO);
    g_assert_cmpint(bt_read(waits_for, 0, b, sizeof(b)), ==, -EIO);
    block_client_free(waits_for);
}

/* Over TCP: the port is the kernel's choice; keep-alive reaches the socket. */
static void test_tcp(BlockTest *t, gconstpointer data)
{
    uint8_t b[512];
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, len), ==, 0);
    Served *d = serve(t, file_node(t, "img"), "x", true);
    g_autoptr(Error) err = NULL;
    g_assert_false(nbd_server_listen_fd(d->server, dup(fd), &err));
    g_assert_nonnull(strstr(error_text(err), "not a listening socket"));
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &len), ==, 0);
    g_assert_true(nbd_server_listen_fd(d->server, fd, &error_abort_slot));
    BlockNode *n = bt_open(t, "nbd,export=x,server.type=inet,server.host=localhost,server.ipv6=off,"
                              "server.keep-alive=on,server.port=%d",
                           ntohs(in.sin_port));
    int on = 0;
    len = sizeof(on);
    int ours = ((NbdClient *)n->state)->stream.fd;
    g_assert_cmpint(getsockopt(ours, SOL_SOCKET, SO_KEEPALIVE, &on, &len), ==, 0);
    g_assert_cmpint(on, ==, 1);
    g_autofree char *url = g_strdup_printf("nbd://localhost:%d/x", ntohs(in.sin_port));
    g_assert_cmpstr(block_filename(n), ==, url);
    BlockClient *c = bt_client(n);
    g_assert_cmpint(bt_read(c, 0, b, sizeof(b)), ==, 0);
    block_client_free(c);
    bt_open_fails(t, "leave no address", "nbd,server.type=inet,server.host=localhost,server.port=%d,"
                                         "server.ipv6=off,server.ipv4=off",
                  ntohs(in.sin_port));
    unserve(d);
}

static void test_reconnect(BlockTest *t, gconstpointer data)
{
    uint8_t b[512];
    memset(b, 7, sizeof(b));
    Served *d = serve(t, file_node(t, "img"), "x", true);
    BlockClient *c = connect_to(t, d, ",export=x,reconnect-delay=100");
    g_assert_cmpint(bt_write(c, 0, b, sizeof(b), 0), ==, 0);
    block_ref(d->node);
    BlockNode *n = d->node;
    unserve(d); /* the connection ends */
    d = serve(t, n, "x", true);
    g_assert_cmpint(bt_write(c, 512, b, sizeof(b), 0), ==, 0);
    bt_check_bytes(c, 0, 1024, 7);
    block_client_free(c);
    unserve(d);
}

/* Requests from other loops than the one that receives. */
typedef struct Other {
    BlockClient *c;
    unsigned number;
    Loop *loop, *main_loop;
    Task finished;
    unsigned *left;
} Other;

static void other_finished(void *opaque)
{
    Other *o = opaque;
    --*o->left;
}

static void other_body(void *opaque)
{
    Other *o = opaque;
    g_autofree uint8_t *out = g_malloc(200000), *in = g_malloc(200000);
    g_autoptr(GRand) rand = g_rand_new_with_seed(o->number);
    int64_t from = (int64_t)o->number * 1000000;
    for (unsigned i = 0; i < 100; i++) {
        IoVec v;
        size_t len = (size_t)g_rand_int_range(rand, 1, 200000);
        int64_t off = from + g_rand_int_range(rand, 0, 800000);
        memset(out, (int)(i + o->number), len);
        iov_init_buf(&v, out, len);
        g_assert_cmpint(block_pwritev(o->c, off, &v, i % 7 ? 0 : BLK_FUA), ==, 0);
        iov_init_buf(&v, in, len);
        g_assert_cmpint(block_preadv(o->c, off, &v, 0), ==, 0);
        g_assert_cmpint(memcmp(in, out, len), ==, 0);
    }
    loop_post(o->main_loop, &o->finished);
}

static void *other_thread(void *opaque)
{
    loop_run(((Other *)opaque)->loop);
    return NULL;
}

static void test_loops(BlockTest *t, gconstpointer data)
{
    Served *d = serve(t, file_node(t, "img"), "", true);
    BlockClient *c = connect_to(t, d, ",reconnect-delay=10");
    Other o[3];
    GThread *threads[3];
    unsigned left = G_N_ELEMENTS(o);
    for (unsigned i = 0; i < G_N_ELEMENTS(o); i++) {
        o[i] = (Other){
            .c = c, .number = i, .loop = loop_new("other"), .main_loop = t->loop, .left = &left
        };
        o[i].finished = (Task){ .run = other_finished, .opaque = &o[i] };
        co_start(o[i].loop, other_body, &o[i]);
        threads[i] = g_thread_new("other", other_thread, &o[i]);
    }
    while (left) {
        loop_turn(t->loop, true);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(o); i++) {
        loop_quit(o[i].loop);
        g_thread_join(threads[i]);
        loop_free(o[i].loop);
    }
    block_client_free(c);
    unserve(d);
}

static void test_list(BlockTest *t, gconstpointer data);

/* ---- addresses ---- */

static void test_urls(void)
{
    static const struct {
        const char *url, *want; /* "!": the text of the error */
    } cases[] = {
        { "nbd://h", "{'driver':'nbd','server':{'type':'inet','host':'h','port':'10809'}}" },
        { "nbd://h:12/a%20b/c",
          "{'driver':'nbd','server':{'type':'inet','host':'h','port':'12'},'export':'a b/c'}" },
        { "nbd://[::1]:12/", "{'driver':'nbd','server':{'type':'inet','host':'::1','port':'12'}}" },
        { "nbd+unix:///e?socket=/tmp/a",
          "{'driver':'nbd','server':{'type':'unix','path':'/tmp/a'},'export':'e'}" },
        { "nbd:unix:/tmp/a:exportname=e:f",
          "{'driver':'nbd','server':{'type':'unix','path':'/tmp/a'},'export':'e:f'}" },
        { "nbd:[::1]:12", "{'driver':'nbd','server':{'type':'inet','host':'::1','port':'12'}}" },
        { "nbd:h:12:exportname=e",
          "{'driver':'nbd','server':{'type':'inet','host':'h','port':'12'},'export':'e'}" },
        { "nbd:h", "!port is missing" },
        { "nbds://h", "!no TLS" },
        { "nbd+unix:///e", "!socket=PATH' is missing" },
        { "nbd+unix://h/e?socket=x", "!no host" },
        { "nbd://h?x=1", "!nothing but socket=PATH" },
        { "nbd+vsock://h", "!scheme" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Error) err = NULL;
        g_assert_true(nbd_is_url(cases[i].url));
        g_autoptr(Json) o = nbd_url_options(cases[i].url, &err);
        if (cases[i].want[0] == '!') {
            g_assert_null(o);
            g_assert_nonnull(strstr(error_text(err), cases[i].want + 1));
        } else {
            g_autoptr(Json) want = json_parse(cases[i].want, -1, &error_abort_slot);
            g_assert_true(json_equal(o, want));
        }
    }
    g_assert_false(nbd_is_url("nbdata:x"));
    g_assert_false(nbd_is_url("nbd"));
    g_assert_false(nbd_is_url("./nbd://x"));
}

/* ---- peers that break the rules ---- */

/* The other end of a socket pair, in a thread of its own, speaks what a script says. */
typedef struct Peer {
    int fd;
    GByteArray *say;
    size_t then_read; /* bytes that it waits for before what follows `first` */
    size_t first;
    GByteArray *heard;
    GThread *thread;
} Peer;

static void *peer_main(void *opaque)
{
    Peer *p = opaque;
    uint8_t buf[4096];
    size_t at = 0;
    for (int phase = 0; phase < 2; phase++) {
        size_t end = phase ? p->say->len : p->first;
        while (at < end) {
            ssize_t n = send(p->fd, p->say->data + at, end - at, MSG_NOSIGNAL);
            if (n <= 0) {
                return NULL;
            }
            at += (size_t)n;
        }
        while (phase == 0 && p->heard->len < p->then_read) {
            ssize_t n = recv(p->fd, buf, sizeof(buf), 0);
            if (n <= 0) {
                return NULL;
            }
            g_byte_array_append(p->heard, buf, (guint)n);
        }
    }
    shutdown(p->fd, SHUT_WR);
    for (ssize_t n; (n = recv(p->fd, buf, sizeof(buf), 0)) > 0;) {
        g_byte_array_append(p->heard, buf, (guint)n);
    }
    return NULL;
}

static void add64(GByteArray *a, uint64_t v)
{
    uint8_t b[8];
    put64(b, v);
    g_byte_array_append(a, b, 8);
}

static void add32(GByteArray *a, uint32_t v)
{
    uint8_t b[4];
    put32(b, v);
    g_byte_array_append(a, b, 4);
}

static void add16(GByteArray *a, unsigned v)
{
    uint8_t b[2];
    put16(b, (uint16_t)v);
    g_byte_array_append(a, b, 2);
}

static void add_zeros(GByteArray *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_byte_array_append(a, (const uint8_t *)"", 1);
    }
}

static Peer *peer_new(int *ours)
{
    Peer *p = g_new0(Peer, 1);
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    p->fd = fds[0];
    *ours = fds[1];
    p->say = g_byte_array_new();
    p->heard = g_byte_array_new();
    return p;
}

static void peer_free(Peer *p)
{
    g_thread_join(p->thread);
    close(p->fd);
    g_byte_array_unref(p->say);
    g_byte_array_unref(p->heard);
    g_free(p);
}

static void add_reply(GByteArray *a, uint32_t option, uint32_t type, uint32_t len)
{
    add64(a, NBD_OPT_REPLY_MAGIC);
    add32(a, option);
    add32(a, type);
    add32(a, len);
}

/* What our client sends for export "". */
enum { HANDSHAKE_BYTES = 4 + 16 + 16 + 4 + 4 + 4 + 15 + 16 + 4 + 6 };

/* A whole handshake: an export of 1 MiB with all that a server can offer. */
static void say_hello(Peer *p)
{
    GByteArray *a = p->say;
    add64(a, NBD_MAGIC);
    add64(a, NBD_OPT_MAGIC);
    add16(a, 3);
    add_reply(a, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, 0);
    add_reply(a, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT, 4 + 15);
    add32(a, 77);
    g_byte_array_append(a, (const uint8_t *)"base:allocation", 15);
    add_reply(a, NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK, 0);
    add_reply(a, NBD_OPT_GO, NBD_REP_INFO, 12);
    add16(a, NBD_INFO_EXPORT);
    add64(a, 1 << 20);
    add16(a, NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA | NBD_SEND_WRITE_ZEROES);
    add_reply(a, NBD_OPT_GO, NBD_REP_ACK, 0);
    p->first = a->len;
    p->then_read = HANDSHAKE_BYTES + NBD_REQUEST_BYTES; /* and one request */
}

/* Our client's first handle. */
#define HANDLE UINT64_C(0x100)

static void add_chunk(GByteArray *a, unsigned flags, unsigned type, uint64_t handle, uint32_t len)
{
    add32(a, NBD_STRUCTURED_MAGIC);
    add16(a, flags);
    add16(a, type);
    add64(a, handle);
    add32(a, len);
}

typedef struct Hostile {
    const char *name;
    int want; /* of the first read of 512 bytes at 1024 */
    void (*say)(GByteArray *a);
} Hostile;

static void say_good(GByteArray *a)
{
    add_chunk(a, 0, NBD_CHUNK_HOLE, HANDLE, 12); /* out of order, in pieces */
    add64(a, 1024 + 256);
    add32(a, 256);
    add_chunk(a, 0, NBD_CHUNK_DATA, HANDLE, 8 + 256);
    add64(a, 1024);
    add_zeros(a, 256);
    add_chunk(a, NBD_CHUNK_DONE, NBD_CHUNK_NONE, HANDLE, 0);
}
static void say_nothing(GByteArray *a) {}
static void say_half(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE, 8 + 512);
    add64(a, 1024);
    add_zeros(a, 100);
}
static void say_magic(GByteArray *a)
{
    add_zeros(a, 100);
}
static void say_handle(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE + 256, 8 + 512);
    add64(a, 1024);
    add_zeros(a, 512);
}
static void say_big_slot(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE + 255, 8 + 512);
}
static void say_large(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE, 8 + 513);
    add64(a, 1024);
    add_zeros(a, 513);
}
static void say_huge(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE, UINT32_MAX);
    add64(a, 1024);
    add_zeros(a, 513);
}
static void say_before(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE, 8 + 512);
    add64(a, 1023);
    add_zeros(a, 512);
}
static void say_twice(GByteArray *a)
{
    for (int i = 0; i < 2; i++) {
        add_chunk(a, i, NBD_CHUNK_DATA, HANDLE, 8 + 256);
        add64(a, 1024);
        add_zeros(a, 256);
    }
}
static void say_overlap(GByteArray *a)
{
    add_chunk(a, 0, NBD_CHUNK_HOLE, HANDLE, 12);
    add64(a, 1024 + 256);
    add32(a, 256);
    add_chunk(a, 1, NBD_CHUNK_HOLE, HANDLE, 12);
    add64(a, 1024);
    add32(a, 257);
}
static void say_less(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_DATA, HANDLE, 8 + 256);
    add64(a, 1024);
    add_zeros(a, 256);
}
static void say_unknown(GByteArray *a)
{
    add_chunk(a, 1, 99, HANDLE, 0);
}
static void say_none_long(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_NONE, HANDLE, 4);
    add_zeros(a, 4);
}
static void say_status(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_STATUS, HANDLE, 12);
    add32(a, 77);
    add32(a, 512);
    add32(a, 0);
}
static void say_simple(GByteArray *a)
{
    add32(a, NBD_SIMPLE_MAGIC);
    add32(a, 0);
    add64(a, HANDLE);
    add_zeros(a, 512);
}
static void say_error(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_ERROR, HANDLE, 6 + 4);
    add32(a, 28);
    add16(a, 4);
    add32(a, 0x66756c6c);
}
static void say_error_unknown(GByteArray *a)
{
    add_chunk(a, 1, 0x8123, HANDLE, 6);
    add32(a, 5);
    add16(a, 0);
}
static void say_error_long(GByteArray *a)
{
    add_chunk(a, 1, NBD_CHUNK_ERROR, HANDLE, 6 + 4);
    add32(a, 28);
    add16(a, 5000);
    add32(a, 0x66756c6c);
}

static const Hostile hostile[] = {
    { "good", 0, say_good },           { "nothing", -EIO, say_nothing },
    { "half", -EIO, say_half },        { "magic", -EIO, say_magic },
    { "handle", -EIO, say_handle },    { "slot", -EIO, say_big_slot },
    { "large", -EIO, say_large },      { "huge", -EIO, say_huge },
    { "before", -EIO, say_before },    { "twice", -EIO, say_twice },
    { "overlap", -EIO, say_overlap },  { "less", -EIO, say_less },
    { "unknown", -EIO, say_unknown },  { "none-long", -EIO, say_none_long },
    { "status", -EIO, say_status },    { "simple", -EIO, say_simple },
    { "error", -ENOSPC, say_error },   { "error-unknown", -EIO, say_error_unknown },
    { "error-long", -EIO, say_error_long },
};

static void test_hostile_server(BlockTest *t, gconstpointer data)
{
    const Hostile *h = data;
    uint8_t buf[512];
    int fd;
    Peer *p = peer_new(&fd);
    say_hello(p);
    h->say(p->say);
    p->thread = g_thread_new("peer", peer_main, p);
    BlockClient *c = bt_client(bt_open(t, "nbd,server.type=fd,server.str=%d", fd));
    close(fd); /* the node has a copy */
    g_assert_cmpint(bt_read(c, 1024, buf, sizeof(buf)), ==, h->want);
    block_client_free(c);
    peer_free(p);
}

/* Each beginning of a good handshake, and each with one byte changed, gives an error and no more. */
static void test_broken_handshakes(BlockTest *t, gconstpointer data)
{
    unsigned opened = 0, refused = 0;
    for (size_t i = 0; i < 400; i++) {
        int fd;
        Peer *p = peer_new(&fd);
        say_hello(p);
        bool cut = i % 2 == 0;
        if (i / 2 >= p->first) {
            p->thread = g_thread_new("peer", peer_main, p);
            close(fd);
            peer_free(p);
            break;
        }
        if (cut) {
            g_byte_array_set_size(p->say, (guint)(i / 2));
            p->first = i / 2;
        } else {
            p->say->data[i / 2] ^= 0xff;
        }
        p->then_read = 0;
        p->thread = g_thread_new("peer", peer_main, p);
        g_autoptr(Error) err = NULL;
        g_autofree char *text = g_strdup_printf("{'driver':'nbd','server':{'type':'fd','str':'%d'}}", fd);
        g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
        BlockNode *n = block_open(t->graph, o, false, &err);
        close(fd);
        g_assert_true((n == NULL) == (err != NULL));
        opened += n != NULL;
        refused += n == NULL;
        block_unref(n);
        peer_free(p);
    }
    g_assert_cmpuint(refused, >, 150);
    g_assert_cmpuint(opened, >, 3); /* flags, identifiers, sizes */
}

/* ---- clients that break the rules ---- */

static void add_option(GByteArray *a, uint32_t option, uint32_t len)
{
    add64(a, NBD_OPT_MAGIC);
    add32(a, option);
    add32(a, len);
}

/* Runs a client's bytes against our server until the connection is over; what it was told. */
static GByteArray *told(BlockTest *t, Served *d, GByteArray *say)
{
    int fd;
    Peer *p = peer_new(&fd);
    g_byte_array_append(p->say, say->data, say->len);
    g_byte_array_unref(say);
    p->first = p->say->len;
    p->thread = g_thread_new("peer", peer_main, p);
    g_assert_true(nbd_server_serve(d->server, fd, &error_abort_slot));
    while (nbd_server_connections(d->server)) {
        loop_turn(t->loop, true);
    }
    GByteArray *heard = g_byte_array_ref(p->heard);
    peer_free(p);
    return heard;
}

static GByteArray *client_hello(uint32_t flags)
{
    GByteArray *a = g_byte_array_new();
    add32(a, flags);
    return a;
}

static void go(GByteArray *a)
{
    add_option(a, NBD_OPT_GO, 4 + 1 + 2);
    add32(a, 1);
    g_byte_array_append(a, (const uint8_t *)"x", 1);
    add16(a, 0);
}

enum { GO_REPLY = 18 + 20 + 12 + 20 }; /* greeting, INFO and ACK */

static void add_request(GByteArray *a, unsigned flags, unsigned type, uint64_t off, uint32_t len)
{
    add32(a, NBD_REQUEST_MAGIC);
    add16(a, flags);
    add16(a, type);
    add64(a, 0xabcd);
    add64(a, off);
    add32(a, len);
}

static uint32_t first_error(const GByteArray *heard)
{
    g_assert_cmpuint(heard->len, >=, GO_REPLY + NBD_SIMPLE_BYTES);
    g_assert_cmphex(get32(heard->data + GO_REPLY), ==, NBD_SIMPLE_MAGIC);
    g_assert_cmphex(get64(heard->data + GO_REPLY + 8), ==, 0xabcd);
    return get32(heard->data + GO_REPLY + 4);
}

static void test_hostile_requests(BlockTest *t, gconstpointer data)
{
    static const struct {
        unsigned flags, type;
        uint64_t off;
        uint32_t len, error;
    } cases[] = {
        { 0, NBD_CMD_READ, SIZE - 512, 512, 0 },      { 0, NBD_CMD_READ, SIZE - 511, 512, 22 },
        { 0, NBD_CMD_READ, UINT64_MAX, 512, 22 },     { 0, NBD_CMD_READ, 0, NBD_PAYLOAD_MAX + 1, 22 },
        { NBD_DF, NBD_CMD_READ, 0, 512, 22 },         { NBD_NO_HOLE, NBD_CMD_READ, 0, 512, 22 },
        { 0, NBD_CMD_WRITE, SIZE, 0, 0 },             { 0, NBD_CMD_WRITE_ZEROES, SIZE, 0, 0 },
        { 0, NBD_CMD_WRITE, SIZE, 1, 28 },            { NBD_FUA, NBD_CMD_WRITE, 0, 512, 0 },
        { 0, NBD_CMD_WRITE_ZEROES, SIZE, 512, 28 },   { NBD_FUA, NBD_CMD_WRITE_ZEROES, 0, SIZE, 0 },
        { 0, NBD_CMD_TRIM, 1, SIZE, 22 },             { NBD_FUA, NBD_CMD_TRIM, 0, SIZE, 0 },
        { 0, NBD_CMD_FLUSH, 77, 77, 0 },              { 0, NBD_CMD_CACHE, 0, SIZE, 0 },
        { 0, NBD_CMD_BLOCK_STATUS, 0, 512, 22 },      { 0, 8, 0, 512, 22 },
        { 0x8000, NBD_CMD_FLUSH, 0, 0, 22 },          { 0, NBD_CMD_READ, 0, 0, 0 },
        { NBD_FAST_ZERO, NBD_CMD_WRITE_ZEROES, 0, 512, 0 },
    };
    Served *d = serve(t, file_node(t, "img"), "x", true);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        GByteArray *a = client_hello(3);
        go(a);
        add_request(a, cases[i].flags, cases[i].type, cases[i].off, cases[i].len);
        add_zeros(a, cases[i].type == NBD_CMD_WRITE ? cases[i].len : 0);
        add_request(a, 0, NBD_CMD_FLUSH, 0, 0); /* the stream is still in step */
        add_request(a, 0, NBD_CMD_DISC, 0, 0);
        g_autoptr(GByteArray) heard = told(t, d, a);
        g_assert_cmpuint(first_error(heard), ==, cases[i].error);
        size_t data_len = cases[i].type == NBD_CMD_READ && !cases[i].error ? cases[i].len : 0;
        g_assert_cmpuint(heard->len, ==, GO_REPLY + 2 * NBD_SIMPLE_BYTES + data_len);
    }
    /* These end the connection. */
    for (int i = 0; i < 3; i++) {
        GByteArray *a = client_hello(3);
        go(a);
        if (i == 0) {
            add_request(a, 0, NBD_CMD_WRITE, 0, NBD_PAYLOAD_MAX + 1);
        } else if (i == 1) {
            add_zeros(a, NBD_REQUEST_BYTES);
        } else {
            add_request(a, 0, NBD_CMD_WRITE, 0, 4096); /* without its data */
        }
        g_autoptr(GByteArray) heard = told(t, d, a);
        g_assert_cmpuint(heard->len, ==, GO_REPLY);
    }
    unserve(d);
}

static void test_hostile_options(BlockTest *t, gconstpointer data)
{
    static const struct {
        uint32_t option, len, want; /* want: the type of the first reply; 0: none comes */
    } cases[] = {
        { NBD_OPT_LIST, 4, NBD_REP_ERR_INVALID },
        { NBD_OPT_STRUCTURED_REPLY, 1, NBD_REP_ERR_INVALID },
        { NBD_OPT_GO, 3, NBD_REP_ERR_INVALID },
        { NBD_OPT_GO, 6, NBD_REP_ERR_UNKNOWN }, /* zeros: the export "" */
        { NBD_OPT_INFO, 8, NBD_REP_ERR_INVALID },
        { NBD_OPT_SET_META_CONTEXT, 8, NBD_REP_ERR_INVALID },
        { NBD_OPT_LIST_META_CONTEXT, 8, NBD_REP_ERR_UNKNOWN },
        { NBD_OPT_LIST_META_CONTEXT, 2, NBD_REP_ERR_INVALID },
        { NBD_OPT_STARTTLS, 0, NBD_REP_ERR_UNSUP },
        { 4711, 1000, NBD_REP_ERR_UNSUP },
        { 4711, 70000, NBD_REP_ERR_TOO_BIG },
        { NBD_OPT_ABORT, 0, NBD_REP_ACK },
        { NBD_OPT_EXPORT_NAME, 1, 0 },
    };
    Served *d = serve(t, file_node(t, "img"), "x", true);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        GByteArray *a = client_hello(3);
        add_option(a, cases[i].option, cases[i].len);
        add_zeros(a, cases[i].len);
        g_autoptr(GByteArray) heard = told(t, d, a);
        if (cases[i].want == 0) {
            g_assert_cmpuint(heard->len, ==, 18);
            continue;
        }
        g_assert_cmpuint(heard->len, >=, 38);
        g_assert_cmphex(get32(heard->data + 30), ==, cases[i].want);
    }
    g_autoptr(GByteArray) flags = told(t, d, client_hello(4));
    g_assert_cmpuint(flags->len, ==, 18);
    unserve(d);
}

/* Whoever says nothing is sent away. */
static void test_late(BlockTest *t, gconstpointer data)
{
    NbdServerConfig config = { .handshake_seconds = 1 };
    NbdServer *s = nbd_server_new(t->graph, &config);
    int fds[2];
    uint8_t hello[19];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_true(nbd_server_serve(s, fds[0], &error_abort_slot));
    while (nbd_server_connections(s)) {
        loop_turn(t->loop, true);
    }
    g_assert_cmpint(recv(fds[1], hello, sizeof(hello), MSG_WAITALL), ==, 18);
    close(fds[1]);
    nbd_server_free(s);
}

typedef struct ListCall {
    BlockTest *t;
    SockSpec where;
    GPtrArray *out;
} ListCall;

static void list_body(void *opaque)
{
    ListCall *c = opaque;
    c->out = nbd_list(c->t->graph, &c->where, &error_abort_slot);
}

static void test_list(BlockTest *t, gconstpointer data)
{
    Served *d = serve(t, file_node(t, "img"), "x", false);
    ListCall c = { .t = t, .where = { .kind = SOCK_KIND_UNIX, .path = d->path } };
    bt_run(t, list_body, &c);
    g_assert_cmpuint(c.out->len, ==, 1);
    const NbdListed *l = c.out->pdata[0];
    g_assert_cmpstr(l->name, ==, "x");
    g_assert_cmpstr(l->info.description, ==, "a test");
    g_assert_cmpuint(l->info.size, ==, SIZE);
    g_assert_cmpuint(l->info.max_block, ==, NBD_PAYLOAD_MAX);
    g_assert_true(l->info.flags & NBD_READ_ONLY);
    g_assert_cmpuint(l->contexts->len, ==, 1);
    g_assert_cmpstr(l->contexts->pdata[0], ==, "base:allocation");
    g_ptr_array_free(c.out, TRUE);
    unserve(d);
}

#define ADD(name) g_test_add("/block/nbd/" #name, BlockTest, NULL, bt_setup, test_##name, bt_teardown)

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    g_test_add("/block/nbd/model", BlockTest, "", bt_setup, test_model, bt_teardown);
    g_test_add("/block/nbd/model-delay", BlockTest, ",reconnect-delay=5,detect-zeroes=on", bt_setup,
               test_model, bt_teardown);
    ADD(formats);
    ADD(extents);
    ADD(read_only);
    ADD(removal);
    ADD(give_up);
    ADD(tcp);
    ADD(reconnect);
    ADD(loops);
    ADD(list);
    g_test_add_func("/block/nbd/urls", test_urls);
    for (unsigned i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree char *path = g_strdup_printf("/block/nbd/hostile/%s", hostile[i].name);
        g_test_add(path, BlockTest, &hostile[i], bt_setup, test_hostile_server, bt_teardown);
    }
    ADD(broken_handshakes);
    ADD(hostile_requests);
    ADD(hostile_options);
    ADD(late);
    return g_test_run();
}
