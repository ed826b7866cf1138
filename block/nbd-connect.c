/* SPDX-License-Identifier: MIT
 * block/nbd-connect.c - NBD client: connecting, and the handshake up to the transmission phase.
 *
 * Models: proto.md, "Handshake": oldstyle, newstyle and fixed newstyle, "Option types" GO with EXPORT_NAME
 *         for servers that do not know it, STRUCTURED_REPLY, SET_META_CONTEXT; LIST, INFO and
 *         LIST_META_CONTEXT for lists. Whatever the server says is bounded and checked.
 * Does not model: STARTTLS.
 * Threads: coroutines on one loop; names are looked up by a worker.
 */
#include "nbd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { REPLY_MAX = 2 * NBD_STRING_MAX + 64, REPLIES_MAX = 10000 };

/* ---- connecting ---- */

typedef struct Resolve {
    const SockSpec *where;
    SockAddrs addrs;
    Error *err;
} Resolve;

static int resolve(void *opaque)
{
    Resolve *r = opaque;
    return sock_resolve(r->where, false, &r->addrs, &r->err) ? 0 : -1;
}

/* In slices, so that who wants to end need not wait. */
static int wait_connected(int fd, int64_t deadline, const bool *stop)
{
    int64_t now;
    while ((now = clock_now(&clock_host_monotonic)) < deadline && !(stop && *stop)) {
        if (nbd_wait_fd(fd, LOOP_OUT, MIN(deadline, now + INT64_C(250000000)))) {
            return 0;
        }
    }
    return stop && *stop ? ECANCELED : ETIMEDOUT;
}

/* -1 with errno. */
static int connect_one(const struct sockaddr_storage *sa, socklen_t size, int64_t deadline, const bool *stop)
{
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
    socklen_t len = sizeof(err);
    if (fd < 0 || connect(fd, (const struct sockaddr *)sa, size) == 0) {
        return fd;
    }
    err = errno;
    if (err == EINPROGRESS) {
        err = wait_connected(fd, deadline, stop);
        if (!err) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
        }
    }
    if (err) {
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

int nbd_connect(BlockGraph *g, const SockSpec *where, int64_t deadline, const bool *stop, Error **errp)
{
    if (where->kind == SOCK_KIND_FD) {
        return sock_take_fd(where->fd, errp);
    }
    Resolve r = { .where = where };
    if (worker_run(g->workers, resolve, &r) < 0) {
        error_propagate(errp, r.err);
        return -1;
    }
    int fd = -1, err = EADDRNOTAVAIL;
    for (unsigned i = 0; i < r.addrs.n && fd < 0; i++) {
        fd = connect_one(&r.addrs.list[i].sa, r.addrs.list[i].len, deadline, stop);
        err = errno;
    }
    if (fd < 0) {
        g_autofree char *text = sock_text(where);
        error_set_errno(errp, err, "cannot connect to %s", text);
    } else if (where->keep_alive) {
        sock_keep_alive(fd);
    }
    return fd;
}

/* ---- options ---- */

typedef struct Hand {
    NbdStream *s;
    bool fixed, no_zeroes;
    bool lost; /* the connection broke; the error says how */
    uint32_t type, len; /* the last reply */
    uint8_t data[REPLY_MAX];
} Hand;

static bool hand_failed(Hand *h, int r, Error **errp)
{
    h->lost = true;
    return error_set(errp, "%s during the handshake", nbd_read_problem(r));
}

static bool hand_read(Hand *h, void *buf, size_t len, Error **errp)
{
    int r = nbd_read(h->s, buf, len);
    return r == 0 || hand_failed(h, r, errp);
}

static bool option_send(Hand *h, uint32_t option, const void *data, uint32_t len, Error **errp)
{
    uint8_t head[16];
    IoVec v;
    put64(head, NBD_OPT_MAGIC);
    put32(head + 8, option);
    put32(head + 12, len);
    iov_init_buf(&v, head, sizeof(head));
    iov_add(&v, (void *)data, len);
    int r = nbd_write_iov(h->s, &v);
    iov_fini(&v);
    return r == 0 || hand_failed(h, r, errp);
}

static bool option_reply(Hand *h, uint32_t option, Error **errp)
{
    uint8_t head[20];
    if (!hand_read(h, head, sizeof(head), errp)) {
        return false;
    }
    h->type = get32(head + 12);
    h->len = get32(head + 16);
    if (get64(head) != NBD_OPT_REPLY_MAGIC) {
        return error_set(errp, "a reply to option %s has the wrong magic number", nbd_option_name(option));
    }
    if (get32(head + 8) != option) {
        return error_set(errp, "the server answers option %u instead of %s", get32(head + 8),
                         nbd_option_name(option));
    }
    if (h->len > REPLY_MAX) {
        return error_set(errp, "a reply to option %s has %u bytes", nbd_option_name(option), h->len);
    }
    return hand_read(h, h->data, h->len, errp);
}

/* What a server says is not trusted to be text. */
static char *printable(const uint8_t *data, size_t len)
{
    char *text = g_utf8_make_valid((const char *)data, (gssize)MIN(len, (size_t)NBD_STRING_MAX));
    for (char *p = text; *p; p++) {
        *p = (uint8_t)*p < ' ' || *p == 127 ? '?' : *p;
    }
    return text;
}

/* The last reply is an error: says what it means. */
static bool option_refused(Hand *h, uint32_t option, const char *name, Error **errp)
{
    static const char *const why[] = {
        [1] = "the server does not know option %s",
        [2] = "the server's policy forbids option %s",
        [3] = "the server finds option %s malformed",
        [4] = "the server's platform does not support option %s",
        [5] = "the server wants TLS before option %s",
        [6] = "the server has no export",
        [7] = "the server is shutting down",
        [8] = "the server wants block sizes to be agreed on before option %s",
        [9] = "the server finds option %s too long",
    };
    uint32_t code = h->type & ~NBD_REP_ERR;
    if (!(h->type & NBD_REP_ERR)) {
        return error_set(errp, "the server answers option %s by an unknown reply %u", nbd_option_name(option),
                         h->type);
    }
    g_autofree char *said = printable(h->data, h->len);
    g_autofree char *text = code == 6 ? g_strdup_printf("the server has no export '%s'", name)
                            : code < G_N_ELEMENTS(why) && why[code]
                                ? g_strdup_printf(why[code], nbd_option_name(option))
                                : g_strdup_printf("the server refuses option %s with error %u",
                                                  nbd_option_name(option), code);
    error_set(errp, "%s%s%s", text, h->len ? ": " : "", said);
    if (code == 5) {
        error_hint(errp, "there is no TLS here; use a unix socket, or a tunnel such as ssh -L");
    }
    return false;
}

static bool hello_old(Hand *h, NbdInfo *info, Error **errp)
{
    uint8_t b[12];
    if (!hand_read(h, b, sizeof(b), errp)) {
        return false;
    }
    info->size = get64(b);
    info->flags = get16(b + 10);
    int r = nbd_skip(h->s, 124);
    return r == 0 || hand_failed(h, r, errp);
}

/* *old: an oldstyle server: there are no options, `info` is complete. */
static bool hello(Hand *h, NbdInfo *info, bool *old, Error **errp)
{
    uint8_t b[18], flags[4] = { 0 };
    *old = false;
    if (!hand_read(h, b, 16, errp)) {
        return false;
    }
    if (get64(b) != NBD_MAGIC ||
        (get64(b + 8) != NBD_OPT_MAGIC && get64(b + 8) != NBD_OLDSTYLE_MAGIC)) {
        return error_set(errp, "the peer is no NBD server: it begins with other bytes than one");
    }
    if (get64(b + 8) == NBD_OLDSTYLE_MAGIC) {
        *old = true;
        return hello_old(h, info, errp);
    }
    if (!hand_read(h, b + 16, 2, errp)) {
        return false;
    }
    unsigned offered = get16(b + 16);
    h->fixed = offered & NBD_FIXED_NEWSTYLE;
    h->no_zeroes = offered & NBD_NO_ZEROES;
    put32(flags, offered & (NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES));
    int r = nbd_write(h->s, flags, sizeof(flags));
    return r == 0 || hand_failed(h, r, errp);
}

static bool take_structured(Hand *h, NbdInfo *info, Error **errp)
{
    if (!option_send(h, NBD_OPT_STRUCTURED_REPLY, NULL, 0, errp) ||
        !option_reply(h, NBD_OPT_STRUCTURED_REPLY, errp)) {
        return false;
    }
    info->structured = h->type == NBD_REP_ACK;
    if (h->type == NBD_REP_ERR_TLS_REQD) {
        return option_refused(h, NBD_OPT_STRUCTURED_REPLY, "", errp);
    }
    return info->structured || h->type & NBD_REP_ERR ||
           option_refused(h, NBD_OPT_STRUCTURED_REPLY, "", errp);
}

static GByteArray *add_string(GByteArray *a, const char *text)
{
    uint8_t len[4];
    put32(len, (uint32_t)strlen(text));
    g_byte_array_append(a, len, sizeof(len));
    return g_byte_array_append(a, (const uint8_t *)text, (guint)strlen(text));
}

/* One query, or none: `listing` lists them all. Names go to `names` when it is not NULL. */
static bool ask_contexts(Hand *h, uint32_t option, const char *name, const char *query, NbdInfo *info,
                         GPtrArray *names, Error **errp)
{
    uint8_t count[4];
    g_autoptr(GByteArray) a = add_string(g_byte_array_new(), name);
    put32(count, query ? 1 : 0);
    g_byte_array_append(a, count, sizeof(count));
    if (query) {
        add_string(a, query);
    }
    if (!option_send(h, option, a->data, a->len, errp)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        if (!option_reply(h, option, errp)) {
            return false;
        }
        if (h->type != NBD_REP_META_CONTEXT) {
            return h->type == NBD_REP_ACK || h->type & NBD_REP_ERR || option_refused(h, option, name, errp);
        }
        if (h->len < 4) {
            return error_set(errp, "a reply about a meta context has %u bytes", h->len);
        }
        size_t len = h->len - 4;
        if (names) {
            g_ptr_array_add(names, printable(h->data + 4, len));
        } else if (len == strlen(query) && memcmp(h->data + 4, query, len) == 0 && !info->has_context) {
            info->has_context = true;
            info->context_id = get32(h->data);
        } else {
            g_autofree char *other = printable(h->data + 4, len);
            return error_set(errp, "the server gives meta context '%s' when asked for '%s'", other, query);
        }
    }
    return error_set(errp, "the server does not end its list of meta contexts");
}

static bool block_sizes_ok(const NbdInfo *i, Error **errp)
{
    bool min_ok = i->min_block && i->min_block <= 65536 && !(i->min_block & (i->min_block - 1));
    bool preferred_ok =
        i->preferred_block >= i->min_block && !(i->preferred_block & (i->preferred_block - 1));
    if (!min_ok || !preferred_ok || i->max_block < i->min_block) {
        return error_set(errp, "the server's block sizes make no sense: at least %u, best %u, at most %u",
                         i->min_block, i->preferred_block, i->max_block);
    }
    return true;
}

static bool take_info(Hand *h, NbdInfo *info, bool *have_export, Error **errp)
{
    unsigned kind = h->len < 2 ? UINT16_MAX + 1u : get16(h->data);
    switch (kind) {
    case NBD_INFO_EXPORT:
        if (h->len != 12) {
            break;
        }
        *have_export = true;
        info->size = get64(h->data + 2);
        info->flags = get16(h->data + 10);
        return true;
    case NBD_INFO_BLOCK_SIZE:
        if (h->len != 14) {
            break;
        }
        info->has_blocks = true;
        info->min_block = get32(h->data + 2);
        info->preferred_block = get32(h->data + 6);
        info->max_block = get32(h->data + 10);
        return block_sizes_ok(info, errp);
    case NBD_INFO_DESCRIPTION:
        g_free(info->description);
        info->description = printable(h->data + 2, h->len - 2);
        return true;
    case UINT16_MAX + 1u: break;
    default: return true;
    }
    return error_set(errp, "information of %u bytes about the export makes no sense", h->len);
}

/* GO or INFO. *unsupported: the server knows neither, and nothing has happened. */
static bool ask_export(Hand *h, uint32_t option, const char *name, NbdInfo *info, bool *unsupported,
                       Error **errp)
{
    static const uint8_t wanted[] = { 0, 2, 0, NBD_INFO_BLOCK_SIZE, 0, NBD_INFO_DESCRIPTION };
    g_autoptr(GByteArray) a = add_string(g_byte_array_new(), name);
    g_byte_array_append(a, wanted, sizeof(wanted));
    bool have_export = false;
    *unsupported = false;
    if (!option_send(h, option, a->data, a->len, errp)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        if (!option_reply(h, option, errp)) {
            return false;
        }
        if (h->type == NBD_REP_INFO) {
            if (!take_info(h, info, &have_export, errp)) {
                return false;
            }
            continue;
        }
        *unsupported = h->type == NBD_REP_ERR_UNSUP;
        if (h->type != NBD_REP_ACK) {
            return *unsupported || option_refused(h, option, name, errp);
        }
        return have_export || error_set(errp, "the server does not say how large export '%s' is", name);
    }
    return error_set(errp, "the server does not end what it says of the export");
}

static bool take_export_name(Hand *h, const char *name, NbdInfo *info, Error **errp)
{
    uint8_t b[10];
    if (!option_send(h, NBD_OPT_EXPORT_NAME, name, (uint32_t)strlen(name), errp)) {
        return false;
    }
    int r = nbd_read(h->s, b, sizeof(b));
    if (r == 0 && !h->no_zeroes) {
        r = nbd_skip(h->s, 124);
    }
    if (r == -ENODATA) { /* the only way this option is refused */
        return error_set(errp, "the server has closed the connection: it has no export '%s'", name);
    }
    info->size = get64(b);
    info->flags = get16(b + 8);
    return r == 0 || hand_failed(h, r, errp);
}

static bool negotiate(Hand *h, const NbdTarget *t, NbdInfo *info, Error **errp)
{
    bool unsupported = true;
    if (h->fixed && !take_structured(h, info, errp)) {
        return false;
    }
    if (info->structured && t->context &&
        !ask_contexts(h, NBD_OPT_SET_META_CONTEXT, t->export_name, t->context, info, NULL, errp)) {
        return false;
    }
    if (h->fixed && !ask_export(h, NBD_OPT_GO, t->export_name, info, &unsupported, errp)) {
        return false;
    }
    return !unsupported || take_export_name(h, t->export_name, info, errp);
}

static bool info_ok(NbdInfo *info, Error **errp)
{
    if (!(info->flags & NBD_HAS_FLAGS)) {
        info->flags = 0;
    }
    if (!info->has_blocks) {
        info->min_block = 1;
        info->preferred_block = 4096;
        info->max_block = NBD_PAYLOAD_MAX;
    }
    info->max_block = MIN(info->max_block, (uint32_t)NBD_PAYLOAD_MAX) & ~(info->min_block - 1);
    if (info->size > (uint64_t)BLOCK_MAX_SIZE) {
        return error_set(errp, "the export has %" PRIu64 " bytes, more than a disk can have", info->size);
    }
    if (info->size % info->min_block) {
        return error_set(errp, "the export's %" PRIu64 " bytes are no multiple of its smallest block of %u",
                         info->size, info->min_block);
    }
    return true;
}

bool nbd_handshake(NbdStream *s, const NbdTarget *t, NbdInfo *info, bool *final, Error **errp)
{
    bool old;
    g_autofree Hand *h = g_new0(Hand, 1);
    h->s = s;
    *info = (NbdInfo){ .size = 0 };
    bool ok = hello(h, info, &old, errp);
    if (ok && old && *t->export_name) {
        ok = error_set(errp, "an oldstyle server has no exports by name, such as '%s'", t->export_name);
    }
    ok = ok && (old || negotiate(h, t, info, errp)) && info_ok(info, errp);
    *final = !ok && !h->lost;
    return ok;
}

/* ---- lists ---- */

static bool list_names(Hand *h, GPtrArray *out, Error **errp)
{
    if (!option_send(h, NBD_OPT_LIST, NULL, 0, errp)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        if (!option_reply(h, NBD_OPT_LIST, errp)) {
            return false;
        }
        if (h->type != NBD_REP_SERVER) {
            return h->type == NBD_REP_ACK || option_refused(h, NBD_OPT_LIST, "", errp);
        }
        uint32_t len = h->len < 4 ? UINT32_MAX : get32(h->data);
        if (len > NBD_STRING_MAX || len > h->len - 4) {
            return error_set(errp, "an entry of the list of exports makes no sense");
        }
        NbdListed *l = g_new0(NbdListed, 1);
        l->name = g_strndup((const char *)h->data + 4, len);
        if (h->len > 4 + len) {
            l->info.description = printable(h->data + 4 + len, h->len - 4 - len);
        }
        g_ptr_array_add(out, l);
    }
    return error_set(errp, "the server does not end its list of exports");
}

static bool list_details(Hand *h, bool structured, NbdListed *l, Error **errp)
{
    bool unsupported;
    l->info.structured = structured;
    g_autoptr(Error) refused = NULL;
    if (!ask_export(h, NBD_OPT_INFO, l->name, &l->info, &unsupported, &refused)) {
        return !h->lost || error_propagate(errp, g_steal_pointer(&refused)); /* gone since, or forbidden */
    }
    l->has_info = !unsupported;
    l->contexts = g_ptr_array_new_with_free_func(g_free);
    return !structured ||
           ask_contexts(h, NBD_OPT_LIST_META_CONTEXT, l->name, NULL, &l->info, l->contexts, errp);
}

static void listed_free(void *opaque)
{
    NbdListed *l = opaque;
    g_free(l->name);
    g_free(l->info.description);
    if (l->contexts) {
        g_ptr_array_free(l->contexts, TRUE);
    }
    g_free(l);
}

GPtrArray *nbd_list(BlockGraph *g, const SockSpec *where, Error **errp)
{
    NbdStream s;
    bool old;
    NbdInfo none = { .size = 0 };
    int fd = nbd_connect(g, where, INT64_MAX, NULL, errp);
    if (fd < 0 || !nbd_stream_open(&s, fd, errp)) {
        return NULL;
    }
    g_autofree Hand *h = g_new0(Hand, 1);
    h->s = &s;
    GPtrArray *out = g_ptr_array_new_with_free_func(listed_free);
    bool ok = hello(h, &none, &old, errp);
    if (ok && (old || !h->fixed)) {
        ok = error_set(errp, "the server is too old to list its exports");
    }
    ok = ok && take_structured(h, &none, errp) && list_names(h, out, errp);
    for (guint i = 0; ok && i < out->len; i++) {
        ok = list_details(h, none.structured, out->pdata[i], errp);
    }
    if (ok) {
        option_send(h, NBD_OPT_ABORT, NULL, 0, NULL);
    } else {
        g_ptr_array_free(out, TRUE);
        out = NULL;
    }
    nbd_stream_close(&s);
    return out;
}
