/* SPDX-License-Identifier: MIT
 * net/filter-mirror.c - -object filter-mirror and filter-redirector: frames to and from character devices.
 *
 * Models: QEMU's format, that of -netdev stream: each frame behind its length, four bytes, the highest first.
 *         Frames leave finished. What the character device does not take waits, up to 1 MiB; then frames are
 *         lost, and counted. A reader that goes and comes back begins with a whole frame.
 * Threads: main loop.
 */
#include "filter_internal.h"
#include "rhea/backends/char.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <string.h>

enum { LENGTH = 4, PENDING = 1 << 20, IN_BYTES = LENGTH + NET_FRAME_MAX };

typedef struct Mirror {
    NetFilter *filter;
    CharPort out, in;
    char *outdev, *indev;
    GByteArray *pending; /* what is left of frames for `out` */
    size_t sent;         /* bytes of it that are gone */
    uint8_t *frame;      /* what has come of a frame, */
    size_t have;         /* so many bytes */
    bool broken;         /* what comes is no stream of frames, until a new one begins */
} Mirror;

/* ---- out ---- */

static void send_pending(void *opaque)
{
    Mirror *m = opaque;
    while (m->sent < m->pending->len) {
        size_t n = char_write(&m->out, m->pending->data + m->sent, m->pending->len - m->sent);
        if (!n) {
            char_notify_writable(&m->out, send_pending);
            return;
        }
        m->sent += n;
    }
    g_byte_array_set_size(m->pending, 0);
    m->sent = 0;
}

static void send_finished(void *opaque, const NetFrame *f)
{
    Mirror *m = opaque;
    uint8_t length[LENGTH] = { (uint8_t)(f->len >> 24), (uint8_t)(f->len >> 16), (uint8_t)(f->len >> 8),
                               (uint8_t)f->len };
    if (m->pending->len + LENGTH + f->len > PENDING) {
        m->filter->lost++;
        return;
    }
    g_byte_array_append(m->pending, length, LENGTH);
    g_byte_array_append(m->pending, f->data, (guint)f->len);
}

static void send_frame(Mirror *m, const NetFrame *f)
{
    if (!char_is_open(&m->out)) {
        m->filter->lost++;
        return;
    }
    bool idle = m->pending->len == 0;
    net_frame_finish(m->filter->client->machine, f, send_finished, m);
    if (idle) {
        send_pending(m);
    }
}

static void out_event(void *opaque, CharEvent event)
{
    Mirror *m = opaque;
    if (event == CHAR_OPENED || event == CHAR_CLOSED) { /* what was for the one before is for nobody */
        g_byte_array_set_size(m->pending, 0);
        m->sent = 0;
    }
}

static size_t no_room(void *opaque)
{
    return 4096;
}

static void ignore(void *opaque, const uint8_t *buf, size_t len)
{
    /* Nothing is expected from there; left unread it would hold up what is. */
}

/* ---- in ---- */

static size_t in_room(void *opaque)
{
    const Mirror *m = opaque;
    return m->broken ? 4096 : IN_BYTES - m->have;
}

/* To the guest and from it, as queue= says; of both, what comes goes to the guest. */
static void inject(Mirror *m, const uint8_t *data, size_t len)
{
    NetFilter *f = m->filter;
    NetFrame frame = { .data = data, .len = len };
    NetWay way = f->queue == NET_FILTER_DIRECTION_RX ? NET_TO_BACKEND : NET_FROM_BACKEND;
    f->lost += f->on && !net_filter_pass(f, way, &frame);
}

static void in_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Mirror *m = opaque;
    while (len && !m->broken) {
        size_t want = LENGTH;
        if (m->have >= LENGTH) {
            const uint8_t *p = m->frame;
            size_t bytes = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
            if (bytes < NET_ETH || bytes > NET_FRAME_MAX) {
                log_warn("filter '%s': a frame of %zu bytes comes from chardev '%s'; it is not read any more",
                         m->filter->id, bytes, m->indev);
                m->broken = true;
                return;
            }
            want += bytes;
        }
        size_t n = MIN(len, want - m->have);
        memcpy(m->frame + m->have, buf, n);
        m->have += n;
        buf += n;
        len -= n;
        if (want > LENGTH && m->have == want) {
            m->have = 0;
            inject(m, m->frame + LENGTH, want - LENGTH);
        }
    }
}

static void in_event(void *opaque, CharEvent event)
{
    Mirror *m = opaque;
    if (event == CHAR_OPENED || event == CHAR_CLOSED) {
        m->have = 0;
        m->broken = false;
    }
}

/* ---- life ---- */

static bool attach(Mirror *m, CharPort *port, const char *key, const char *id, const CharHandler *h,
                   Error **errp)
{
    Chardev *c = chardev_find(m->filter->client->machine, id);
    g_autofree char *holder = g_strdup_printf("filter '%s'", m->filter->id);
    if (!c) {
        error_fail(errp, "not-found", key, NULL, "'%s': there is no character device '%s'", key, id);
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND);
        return false;
    }
    if (!chardev_connect(c, port, errp)) {
        error_prefix(errp, "'%s'", key);
        return false;
    }
    char_port_set_holder(port, holder);
    char_attach(port, h, m, NULL);
    return true;
}

static bool refuse_headers(bool wanted, Error **errp)
{
    if (wanted) {
        error_fail(errp, "not-supported", "vnet_hdr_support", NULL,
                   "'vnet_hdr_support' is not supported: frames leave finished, and need no header");
        error_hint(errp, "leave it out, at both ends");
    }
    return wanted;
}

static bool open_both(NetFilter *f, const char *outdev, const char *indev, Error **errp)
{
    static const CharHandler out = { .room = no_room, .receive = ignore, .event = out_event };
    static const CharHandler in = { .room = in_room, .receive = in_receive, .event = in_event };
    Mirror *m = f->state;
    m->filter = f;
    m->outdev = g_strdup(outdev);
    m->indev = g_strdup(indev);
    m->pending = g_byte_array_new();
    m->frame = indev ? g_malloc(IN_BYTES) : NULL;
    return (!outdev || attach(m, &m->out, "outdev", outdev, &out, errp)) &&
           (!indev || attach(m, &m->in, "indev", indev, &in, errp));
}

static bool mirror_open(NetFilter *f, const NetFilterOptions *o, Error **errp)
{
    const FilterMirrorProperties *p = &o->u.filter_mirror;
    return !refuse_headers(p->vnet_hdr_support, errp) && open_both(f, p->outdev, NULL, errp);
}

static bool redirector_open(NetFilter *f, const NetFilterOptions *o, Error **errp)
{
    const FilterRedirectorProperties *p = &o->u.filter_redirector;
    if (!p->indev && !p->outdev) {
        return error_fail(errp, "missing-member", "indev", "name the chardev that frames come from, or go to",
                          "'indev' and 'outdev' are missing: at least one is needed");
    }
    if (p->indev && p->outdev && g_str_equal(p->indev, p->outdev)) {
        return error_fail(errp, "conflict", "outdev", "name two",
                          "'indev' and 'outdev' must not be the same character device");
    }
    return !refuse_headers(p->vnet_hdr_support, errp) && open_both(f, p->outdev, p->indev, errp);
}

static void mirror_close(NetFilter *f)
{
    Mirror *m = f->state;
    if (m->out.be) {
        char_detach(&m->out);
    }
    if (m->in.be) {
        char_detach(&m->in);
    }
    if (m->pending) {
        g_byte_array_unref(m->pending);
    }
    g_free(m->frame);
    g_free(m->outdev);
    g_free(m->indev);
}

static bool mirror_frame(NetFilter *f, NetWay way, const NetFrame *frame)
{
    send_frame(f->state, frame);
    return false;
}

static bool redirector_frame(NetFilter *f, NetWay way, const NetFrame *frame)
{
    Mirror *m = f->state;
    if (!m->outdev) {
        return false;
    }
    send_frame(m, frame);
    return true;
}

static Json *mirror_get(const NetFilter *f, const char *name)
{
    const Mirror *m = f->state;
    return g_str_equal(name, "outdev") && m->outdev ? json_new_string(m->outdev)
           : g_str_equal(name, "indev") && m->indev ? json_new_string(m->indev)
                                                    : NULL;
}

const NetFilterType filter_mirror_type = {
    .state_size = sizeof(Mirror),
    .open = mirror_open,
    .close = mirror_close,
    .frame = mirror_frame,
    .get = mirror_get,
};
const NetFilterType filter_redirector_type = {
    .state_size = sizeof(Mirror),
    .open = redirector_open,
    .close = mirror_close,
    .frame = redirector_frame,
    .get = mirror_get,
};
