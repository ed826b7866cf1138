/* SPDX-License-Identifier: MIT
 * net/filter-buffer.c - -object filter-buffer: frames wait, and go on together.
 *
 * Models: QEMU's interval=, in microseconds of the machine's time: what came meanwhile goes on at its end,
 *         and when the filter is turned off. Up to 16 MiB wait; what does not fit is lost and counted.
 * Threads: main loop.
 */
#include "filter_internal.h"

#include <string.h>

enum { LIMIT = 16 << 20 };

typedef struct Waiting {
    NetWay way;
    NetHdr hdr;
    size_t len;
    uint8_t data[];
} Waiting;

typedef struct Buffer {
    NetFilter *filter;
    GQueue waiting; /* Waiting * */
    size_t bytes;
    int64_t interval_ns;
    Timer timer;
} Buffer;

/* Each way by itself: one that has no room does not hold the other. What finds none stays unless `all`. */
static void buffer_release(Buffer *b, bool all)
{
    bool full[2] = { false, false };
    for (guint n = g_queue_get_length(&b->waiting); n > 0; n--) {
        Waiting *w = g_queue_pop_head(&b->waiting);
        NetFrame frame = { .hdr = w->hdr, .data = w->data, .len = w->len };
        bool gone = !full[w->way] && net_filter_pass(b->filter, w->way, &frame);
        full[w->way] |= !gone;
        if (gone || all) {
            b->filter->lost += !gone;
            b->bytes -= sizeof(*w) + w->len;
            g_free(w);
        } else {
            g_queue_push_tail(&b->waiting, w); /* after n turns they are in their order again */
        }
    }
}

static void buffer_arm(Buffer *b)
{
    if (b->bytes && !timer_armed(&b->timer)) {
        timer_arm(&b->timer, clock_now(b->filter->client->machine->clock) + b->interval_ns);
    }
}

static void buffer_fired(void *opaque)
{
    buffer_release(opaque, false);
    buffer_arm(opaque);
}

static bool buffer_frame(NetFilter *f, NetWay way, const NetFrame *frame)
{
    Buffer *b = f->state;
    if (b->bytes + sizeof(Waiting) + frame->len > LIMIT) {
        f->lost++;
        return true;
    }
    Waiting *w = g_malloc(sizeof(*w) + frame->len);
    *w = (Waiting){ .way = way, .hdr = frame->hdr, .len = frame->len };
    memcpy(w->data, frame->data, frame->len);
    g_queue_push_tail(&b->waiting, w);
    b->bytes += sizeof(*w) + frame->len;
    buffer_arm(b);
    return true;
}

static void buffer_turned_off(NetFilter *f)
{
    Buffer *b = f->state;
    timer_cancel(&b->timer);
    buffer_release(b, true);
}

static bool buffer_open(NetFilter *f, const NetFilterOptions *o, Error **errp)
{
    Buffer *b = f->state;
    Machine *m = f->client->machine;
    b->filter = f;
    g_queue_init(&b->waiting);
    b->interval_ns = (int64_t)o->u.filter_buffer.interval * 1000;
    timer_init(&b->timer, m->loop, m->clock, buffer_fired, b);
    return true;
}

static void buffer_close(NetFilter *f)
{
    Buffer *b = f->state;
    if (!b->filter) {
        return;
    }
    timer_cancel(&b->timer);
    for (Waiting *w; (w = g_queue_pop_head(&b->waiting)) != NULL;) {
        g_free(w);
    }
}

static Json *buffer_get(const NetFilter *f, const char *name)
{
    const Buffer *b = f->state;
    return g_str_equal(name, "interval") ? json_new_int(b->interval_ns / 1000) : NULL;
}

const NetFilterType filter_buffer_type = {
    .state_size = sizeof(Buffer),
    .open = buffer_open,
    .close = buffer_close,
    .frame = buffer_frame,
    .turned_off = buffer_turned_off,
    .get = buffer_get,
};
