/* SPDX-License-Identifier: MIT
 * backends/char/memory.c - chardevs without a host side: null, ring buffer, and a test's own end.
 *
 * Models: `null`; `ringbuf` (size=, a power of two: the newest bytes stay).
 * Threads: main loop.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"
#include <errno.h>

static bool null_open(Chardev *c, const CharConfig *cfg G_GNUC_UNUSED, Error **errp G_GNUC_UNUSED)
{
    chardev_set_open(c, true);
    return true;
}

static ssize_t null_write(Chardev *c G_GNUC_UNUSED, const uint8_t *buf G_GNUC_UNUSED, size_t len)
{
    return len;
}

const CharBackend char_null_backend = { .name = "null", .open = null_open, .write = null_write };

typedef struct MemState {
    ByteRing ring;
} MemState;

static bool ringbuf_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    MemState *s = c->state;
    uint64_t size = cfg->size ? cfg->size : 65536;
    if (size > 1u << 30 || (size & (size - 1))) {
        error_fail(errp, "invalid-value", "size", "65536 is the usual one",
                   "ringbuf size %" G_GUINT64_FORMAT " is not a power of two up to 1 GiB", size);
        return false;
    }
    ring_init(&s->ring, size);
    chardev_set_open(c, true);
    return true;
}

static void ringbuf_close(Chardev *c)
{
    MemState *s = c->state;
    ring_fini(&s->ring);
}

static ssize_t ringbuf_write(Chardev *c, const uint8_t *buf, size_t len)
{
    MemState *s = c->state;
    size_t keep = MIN(len, s->ring.cap);
    if (ring_room(&s->ring) < keep) {
        ring_drop(&s->ring, keep - ring_room(&s->ring));
    }
    ring_push(&s->ring, buf + (len - keep), keep);
    return len;
}

const CharBackend char_ringbuf_backend = {
    .name = "ringbuf", .state_size = sizeof(MemState), .open = ringbuf_open, .close = ringbuf_close,
    .write = ringbuf_write,
};

/* The test's end: takes at most what the ring holds, so that back pressure can be tested too. */
static bool buffer_open(Chardev *c, const CharConfig *cfg, Error **errp G_GNUC_UNUSED)
{
    MemState *s = c->state;
    ring_init(&s->ring, cfg->size);
    chardev_set_open(c, true);
    return true;
}

static ssize_t buffer_write(Chardev *c, const uint8_t *buf, size_t len)
{
    MemState *s = c->state;
    size_t n = ring_push(&s->ring, buf, len);
    return n ? (ssize_t)n : -EAGAIN;
}

const CharBackend char_buffer_backend = {
    .name = "buffer", .state_size = sizeof(MemState), .open = buffer_open, .close = ringbuf_close,
    .write = buffer_write,
};

Chardev *chardev_new_buffer(Machine *m, const char *id)
{
    CharConfig cfg = { .kind = CHAR_BUFFER, .size = CHAR_OUT_BYTES };
    return chardev_new(m, id, &cfg, &error_abort_slot);
}

size_t chardev_buffer_take(Chardev *c, uint8_t *buf, size_t len)
{
    MemState *s = c->state;
    chardev_flush_now(c);
    size_t n = ring_peek(&s->ring, 0, buf, len);
    ring_drop(&s->ring, n);
    chardev_flush_now(c);
    return n;
}

size_t chardev_ringbuf_read(Chardev *c, uint8_t *buf, size_t len)
{
    return c->backend == &char_ringbuf_backend ? chardev_buffer_take(c, buf, len) : 0;
}

/* Bytes at the end that begin a character, but do not end it. */
static size_t cut_character(const uint8_t *buf, size_t len)
{
    for (size_t back = 1; back <= MIN(len, 3); back++) {
        uint8_t b = buf[len - back];
        if ((b & 0xc0) != 0x80) { /* its first byte, or one by itself */
            size_t size = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : b >= 0xc0 ? 2 : 1;
            return size > back ? back : 0;
        }
    }
    return 0;
}

size_t chardev_ringbuf_read_text(Chardev *c, uint8_t *buf, size_t len)
{
    MemState *s = c->state;
    chardev_flush_now(c);
    size_t n = ring_peek(&s->ring, 0, buf, len), cut = cut_character(buf, n);
    return chardev_ringbuf_read(c, buf, n > cut ? n - cut : n);
}

void chardev_ringbuf_write(Chardev *c, const uint8_t *buf, size_t len)
{
    while (len) { /* it always takes all */
        pthread_mutex_lock(&c->lock);
        size_t n = ring_push(&c->out, buf, len);
        pthread_mutex_unlock(&c->lock);
        chardev_flush_now(c);
        buf += n;
        len -= n;
    }
}

bool chardev_is_ringbuf(const Chardev *c)
{
    return c->backend == &char_ringbuf_backend;
}

void chardev_buffer_feed(Chardev *c, const uint8_t *buf, size_t len)
{
    chardev_input(c, buf, len);
}
