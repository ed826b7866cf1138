/* SPDX-License-Identifier: MIT
 * block/nbd-negotiate.c - NBD server: the handshake.
 *
 * Models: proto.md, "Fixed newstyle negotiation" and "Option types": EXPORT_NAME, ABORT, LIST, INFO, GO,
 *         STRUCTURED_REPLY, LIST_META_CONTEXT, SET_META_CONTEXT. An option may have 64 KiB; one that is
 *         longer ends the connection. A removed export is not found.
 * Does not model: STARTTLS, which is refused as any unknown option.
 * Threads: the connection's coroutine.
 */
#include "nbd-server.h"

#include <string.h>

enum { OPTION_MAX = 65536 };

typedef struct Option {
    uint32_t code, len, at; /* at: how much of the data has been read */
    uint8_t *data;
} Option;

/* ---- replies ---- */

static bool reply(NbdConnection *c, const Option *o, uint32_t type, const void *data, size_t len)
{
    uint8_t head[20];
    IoVec v;
    put64(head, NBD_OPT_REPLY_MAGIC);
    put32(head + 8, o->code);
    put32(head + 12, type);
    put32(head + 16, (uint32_t)len);
    iov_init_buf(&v, head, sizeof(head));
    iov_add(&v, (void *)data, len);
    int r = nbd_write_iov(&c->stream, &v);
    iov_fini(&v);
    return r == 0;
}

static bool refuse(NbdConnection *c, const Option *o, uint32_t type, const char *text)
{
    return reply(c, o, type, text, strlen(text));
}

/* ---- data of an option ---- */

static bool take32(Option *o, uint32_t *out)
{
    if (o->len - o->at < 4) {
        return false;
    }
    *out = get32(o->data + o->at);
    o->at += 4;
    return true;
}

/* A length and so many bytes, borrowed. */
static bool take_text(Option *o, const char **text, uint32_t *len)
{
    if (!take32(o, len) || *len > NBD_STRING_MAX || *len > o->len - o->at) {
        return false;
    }
    *text = (const char *)o->data + o->at;
    o->at += *len;
    return true;
}

/* ---- options ---- */

static void choose_export(NbdConnection *c, NbdExport *e)
{
    c->export = e;
    e->users++;
    c->size = (uint64_t)block_size(nbd_export_node(e));
    if (!c->contexts_of || strcmp(c->contexts_of, e->name) != 0) {
        c->contexts = 0; /* they were asked of another export */
    }
}

/* The end of the handshake in any case: there is no way to refuse but to hang up. */
static bool do_export_name(NbdConnection *c, Option *o)
{
    uint8_t b[10 + 124] = { 0 };
    NbdExport *e = o->len <= NBD_STRING_MAX ? nbd_server_export(c->server, (char *)o->data, o->len) : NULL;
    if (!e) {
        return false;
    }
    choose_export(c, e);
    put64(b, c->size);
    put16(b + 8, nbd_export_flags(c, e));
    return nbd_write(&c->stream, b, c->no_zeroes ? 10 : sizeof(b)) == 0;
}

static bool do_list(NbdConnection *c, Option *o)
{
    if (o->len) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "LIST takes no data");
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    for (guint i = 0; i < c->server->exports->len; i++) { /* writing may yield: a copy */
        const NbdExport *e = c->server->exports->pdata[i];
        uint8_t len[4];
        if (e->removed) {
            continue;
        }
        GByteArray *a = g_byte_array_new();
        put32(len, (uint32_t)strlen(e->name));
        g_byte_array_append(a, len, sizeof(len));
        g_byte_array_append(a, (const uint8_t *)e->name, (guint)strlen(e->name));
        if (e->description) {
            g_byte_array_append(a, (const uint8_t *)e->description, (guint)strlen(e->description));
        }
        g_ptr_array_add(names, a);
    }
    for (guint i = 0; i < names->len; i++) {
        const GByteArray *a = names->pdata[i];
        if (!reply(c, o, NBD_REP_SERVER, a->data, a->len)) {
            return false;
        }
    }
    return reply(c, o, NBD_REP_ACK, NULL, 0);
}

static bool reply_text(NbdConnection *c, const Option *o, unsigned kind, const char *text)
{
    uint8_t b[2 + NBD_STRING_MAX];
    size_t len = strlen(text);
    put16(b, (uint16_t)kind);
    memcpy(b + 2, text, len);
    return reply(c, o, NBD_REP_INFO, b, 2 + len);
}

/* One of the pieces of information that a client wishes for. */
static bool reply_info(NbdConnection *c, const Option *o, const NbdExport *e, unsigned kind)
{
    uint8_t b[14];
    switch (kind) {
    case NBD_INFO_NAME: return reply_text(c, o, kind, e->name);
    case NBD_INFO_DESCRIPTION: return !e->description || reply_text(c, o, kind, e->description);
    case NBD_INFO_BLOCK_SIZE:
        put16(b, NBD_INFO_BLOCK_SIZE);
        put32(b + 2, 1);
        put32(b + 6, 4096);
        put32(b + 10, NBD_PAYLOAD_MAX);
        return reply(c, o, NBD_REP_INFO, b, sizeof(b));
    default: return true;
    }
}

/* *go: transmission begins. */
static bool do_info(NbdConnection *c, Option *o, bool *go)
{
    const char *name;
    uint32_t len;
    uint8_t b[12];
    if (!take_text(o, &name, &len) || o->len - o->at < 2 ||
        o->len - o->at != 2 + 2 * (uint32_t)get16(o->data + o->at)) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "lengths do not fit");
    }
    NbdExport *e = nbd_server_export(c->server, name, len);
    if (!e) {
        return refuse(c, o, NBD_REP_ERR_UNKNOWN, "there is no export of that name");
    }
    e->users++; /* it stays while replies are written */
    uint64_t size = (uint64_t)block_size(nbd_export_node(e));
    bool seen[NBD_INFO_BLOCK_SIZE + 1] = { false }, ok = true;
    for (unsigned i = o->at + 2; ok && i < o->len; i += 2) {
        unsigned kind = get16(o->data + i);
        if (kind <= NBD_INFO_BLOCK_SIZE && !seen[kind]) {
            seen[kind] = true;
            ok = reply_info(c, o, e, kind);
        }
    }
    put16(b, NBD_INFO_EXPORT);
    put64(b + 2, size);
    put16(b + 10, nbd_export_flags(c, e));
    ok = ok && reply(c, o, NBD_REP_INFO, b, sizeof(b));
    if (ok && o->code == NBD_OPT_GO) {
        choose_export(c, e);
        c->size = size;
        *go = true;
    }
    ok = ok && reply(c, o, NBD_REP_ACK, NULL, 0);
    e->users--;
    if (e->removed) {
        loop_post(c->server->graph->loop, &c->server->reap);
    }
    return ok;
}

static bool do_structured(NbdConnection *c, Option *o)
{
    if (o->len) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY takes no data");
    }
    c->structured = true;
    return reply(c, o, NBD_REP_ACK, NULL, 0);
}

/* Which contexts a query means. "Metadata querying": a name space with nothing behind it lists all of it. */
static uint32_t match(const NbdExport *e, const char *query, size_t len, bool list)
{
    uint32_t found = 0;
    for (unsigned i = 0; i < e->n_contexts; i++) {
        const char *name = e->contexts[i].name;
        bool same = strlen(name) == len && memcmp(name, query, len) == 0;
        bool prefix = list && len > 0 && query[len - 1] == ':' && strncmp(name, query, len) == 0;
        found |= same || prefix ? UINT32_C(1) << i : 0;
    }
    return found;
}

static bool do_contexts(NbdConnection *c, Option *o)
{
    const char *name, *query;
    uint32_t len, query_len, count, found = 0;
    bool list = o->code == NBD_OPT_LIST_META_CONTEXT;
    if (!list) {
        g_clear_pointer(&c->contexts_of, g_free);
        c->contexts = 0;
    }
    if (!c->structured && !list) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "structured replies come first");
    }
    if (!take_text(o, &name, &len) || !take32(o, &count)) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "lengths do not fit");
    }
    const NbdExport *e = nbd_server_export(c->server, name, len);
    if (!e) {
        return refuse(c, o, NBD_REP_ERR_UNKNOWN, "there is no export of that name");
    }
    if (list && count == 0) {
        found = (uint32_t)((UINT64_C(1) << e->n_contexts) - 1);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!take_text(o, &query, &query_len)) {
            return refuse(c, o, NBD_REP_ERR_INVALID, "lengths do not fit");
        }
        found |= match(e, query, query_len, list);
    }
    if (o->at != o->len) {
        return refuse(c, o, NBD_REP_ERR_INVALID, "there is more than the queries");
    }
    if (!list) {
        c->contexts = found;
        c->contexts_of = g_strdup(e->name);
    }
    g_autoptr(GByteArray) a = g_byte_array_new();
    g_autoptr(GArray) lens = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (unsigned i = 0; i < e->n_contexts; i++) { /* writing may yield: a copy */
        uint8_t id[4];
        uint32_t size = 4 + (uint32_t)strlen(e->contexts[i].name);
        if (found >> i & 1) {
            put32(id, list ? 0 : i);
            g_byte_array_append(a, id, sizeof(id));
            g_byte_array_append(a, (const uint8_t *)e->contexts[i].name, size - 4);
            g_array_append_val(lens, size);
        }
    }
    for (unsigned i = 0, at = 0; i < lens->len; at += g_array_index(lens, uint32_t, i++)) {
        if (!reply(c, o, NBD_REP_META_CONTEXT, a->data + at, g_array_index(lens, uint32_t, i))) {
            return false;
        }
    }
    return reply(c, o, NBD_REP_ACK, NULL, 0);
}

/* False: the connection ends. */
static bool do_option(NbdConnection *c, Option *o, bool fixed, bool *go)
{
    if (o->code == NBD_OPT_EXPORT_NAME) {
        *go = do_export_name(c, o);
        return *go;
    }
    if (!fixed) {
        return false; /* such a client knows no replies */
    }
    switch (o->code) {
    case NBD_OPT_ABORT: reply(c, o, NBD_REP_ACK, NULL, 0); return false;
    case NBD_OPT_LIST: return do_list(c, o);
    case NBD_OPT_INFO:
    case NBD_OPT_GO: return do_info(c, o, go);
    case NBD_OPT_STRUCTURED_REPLY: return do_structured(c, o);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT: return do_contexts(c, o);
    case NBD_OPT_STARTTLS: return refuse(c, o, NBD_REP_ERR_UNSUP, "there is no TLS");
    default: return refuse(c, o, NBD_REP_ERR_UNSUP, "the option is not known");
    }
}

static bool next_option(NbdConnection *c, bool fixed, bool *go)
{
    uint8_t head[16];
    if (nbd_read(&c->stream, head, sizeof(head)) < 0 || get64(head) != NBD_OPT_MAGIC) {
        return false;
    }
    Option o = { .code = get32(head + 8), .len = get32(head + 12) };
    if (o.len > OPTION_MAX) {
        if (fixed && o.code != NBD_OPT_EXPORT_NAME) {
            refuse(c, &o, NBD_REP_ERR_TOO_BIG, "an option has at most 65536 bytes");
        }
        return false;
    }
    g_autofree uint8_t *data = g_malloc((gsize)o.len + 1);
    o.data = data;
    return nbd_read(&c->stream, data, o.len) == 0 && do_option(c, &o, fixed, go);
}

bool nbd_negotiate(NbdConnection *c)
{
    uint8_t hello[18], flags[4];
    put64(hello, NBD_MAGIC);
    put64(hello + 8, NBD_OPT_MAGIC);
    put16(hello + 16, NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    if (nbd_write(&c->stream, hello, sizeof(hello)) < 0 ||
        nbd_read(&c->stream, flags, sizeof(flags)) < 0 ||
        get32(flags) & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)) {
        return false;
    }
    c->no_zeroes = get32(flags) & NBD_NO_ZEROES;
    bool go = false;
    while (next_option(c, get32(flags) & NBD_FIXED_NEWSTYLE, &go)) {
        if (go) {
            return !c->export->removed;
        }
        co_wake(co_self()); /* whoever sends options without end must not keep the loop */
        co_yield ();
    }
    return false;
}
