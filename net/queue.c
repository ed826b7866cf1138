/* SPDX-License-Identifier: MIT
 * net/queue.c - the queue of frames in front of a client.
 *
 * Models: a ring of records, each a header and a frame in one piece; what does not fit before the end of the
 *         ring begins at its start. Memory is touched as it is used.
 * Threads: one producer and one consumer, each wherever it is: the lock guards the indexes. Frames are copied
 *         outside of it, into room that the consumer does not see yet.
 */
#include "net_internal.h"

#include <string.h>

typedef struct Record {
    uint32_t bytes; /* with this header, rounded up */
    uint32_t len;   /* of the frame */
    bool skip;      /* nothing but the way to the start */
    NetHdr hdr;
} Record;
enum { UNIT = 32 };
G_STATIC_ASSERT(sizeof(Record) <= UNIT);

static uint32_t record_bytes(size_t len)
{
    return (uint32_t)((UNIT + len + UNIT - 1) & ~(size_t)(UNIT - 1));
}

void net_queue_init(NetQueue *q, uint32_t size)
{
    *q = (NetQueue){ .data = g_malloc(size), .size = size };
    pthread_mutex_init(&q->lock, NULL);
}

void net_queue_fini(NetQueue *q)
{
    pthread_mutex_destroy(&q->lock);
    g_clear_pointer(&q->data, g_free);
}

/* The lock is held. Where a record of so many bytes begins; UINT32_MAX: no room. */
static uint32_t place_locked(const NetQueue *q, uint32_t need)
{
    uint32_t to_end = q->size - q->tail;
    if (need <= to_end) {
        return q->used + need <= q->size ? q->tail : UINT32_MAX;
    }
    return q->used + to_end + need <= q->size ? 0 : UINT32_MAX;
}

uint8_t *net_queue_reserve(NetQueue *q, size_t len)
{
    pthread_mutex_lock(&q->lock);
    uint32_t at = place_locked(q, record_bytes(len));
    q->waiting |= at == UINT32_MAX;
    pthread_mutex_unlock(&q->lock);
    return at == UINT32_MAX ? NULL : q->data + at + UNIT;
}

void net_queue_commit(NetQueue *q, const NetHdr *hdr, size_t len)
{
    Record r = { .bytes = record_bytes(len), .len = (uint32_t)len, .hdr = *hdr };
    pthread_mutex_lock(&q->lock);
    uint32_t at = place_locked(q, r.bytes); /* as when it was reserved: only more room may be there */
    if (at != q->tail) {
        Record skip = { .bytes = q->size - q->tail, .skip = true };
        memcpy(q->data + q->tail, &skip, sizeof(skip));
        q->used += skip.bytes;
    }
    memcpy(q->data + at, &r, sizeof(r));
    q->used += r.bytes;
    q->tail = (at + r.bytes) % q->size;
    pthread_mutex_unlock(&q->lock);
}

uint8_t *net_queue_peek(NetQueue *q, NetHdr *hdr, size_t *len)
{
    uint8_t *found = NULL;
    pthread_mutex_lock(&q->lock);
    while (q->used && !found) {
        Record r;
        memcpy(&r, q->data + q->head, sizeof(r));
        if (r.skip) {
            q->used -= r.bytes;
            q->head = 0;
            continue;
        }
        *hdr = r.hdr;
        *len = r.len;
        found = q->data + q->head + UNIT;
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

/* Who waits is told when half is free: not for each frame. */
static bool told_locked(NetQueue *q)
{
    bool tell = q->waiting && q->used <= q->size / 2;
    q->waiting &= !tell;
    return tell;
}

bool net_queue_drop(NetQueue *q)
{
    Record r;
    pthread_mutex_lock(&q->lock);
    memcpy(&r, q->data + q->head, sizeof(r));
    q->used -= r.bytes;
    q->head = (q->head + r.bytes) % q->size;
    bool tell = told_locked(q);
    pthread_mutex_unlock(&q->lock);
    return tell;
}

bool net_queue_empty(NetQueue *q)
{
    pthread_mutex_lock(&q->lock);
    bool empty = q->used == 0;
    pthread_mutex_unlock(&q->lock);
    return empty;
}

bool net_queue_clear(NetQueue *q)
{
    pthread_mutex_lock(&q->lock);
    q->head = q->tail;
    q->used = 0;
    bool tell = told_locked(q);
    pthread_mutex_unlock(&q->lock);
    return tell;
}
