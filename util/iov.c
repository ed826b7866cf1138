/* SPDX-License-Identifier: MIT
 * util/iov.c - scattered memory of an I/O request: building, slicing, copying.
 *
 * Models: lists of (address, length) as readv() takes them; a list of one needs no allocation.
 * Threads: any; no state.
 */
#include "rhea/util/iov.h"

#include <glib.h>
#include <string.h>

void iov_init(IoVec *v)
{
    *v = (IoVec){ .iov = NULL };
}

void iov_init_buf(IoVec *v, void *buf, size_t len)
{
    *v = (IoVec){ .n = len ? 1 : 0, .bytes = len, .one = { buf, len } };
    v->iov = &v->one;
}

void iov_init_borrowed(IoVec *v, struct iovec *iov, unsigned n)
{
    *v = (IoVec){ .iov = iov, .n = n };
    for (unsigned i = 0; i < n; i++) {
        v->bytes += iov[i].iov_len;
    }
}

void iov_fini(IoVec *v)
{
    if (v->room) {
        g_free(v->iov);
    }
    *v = (IoVec){ .iov = NULL };
}

void iov_clear(IoVec *v)
{
    v->n = 0;
    v->bytes = 0;
    v->iov = v->room ? v->iov : NULL;
}

void iov_add(IoVec *v, void *buf, size_t len)
{
    if (len == 0) {
        return;
    }
    v->bytes += len;
    if (v->n == 0 && !v->room) {
        v->one = (struct iovec){ buf, len };
        v->iov = &v->one;
        v->n = 1;
        return;
    }
    struct iovec *last = v->n ? &v->iov[v->n - 1] : NULL;
    if (last && (char *)last->iov_base + last->iov_len == buf && (v->room || v->iov == &v->one)) {
        last->iov_len += len;
        return;
    }
    if (v->n >= v->room) {
        struct iovec *was = v->room ? v->iov : NULL;
        unsigned room = v->n < 4 ? 8 : v->n * 2;
        struct iovec *iov = g_renew(struct iovec, was, room);
        if (!was) {
            memcpy(iov, v->iov, v->n * sizeof(*iov)); /* `one`, or an array that was borrowed */
        }
        v->iov = iov;
        v->room = room;
    }
    v->iov[v->n++] = (struct iovec){ buf, len };
}

/* Calls body with (ptr, size) for each piece of [off, off + len). */
#define IOV_EACH(v, off, len, ptr, size)                                                         \
    for (size_t skip_ = (off), left_ = (len), i_ = 0, size = 0; left_ > 0; i_++, left_ -= size)  \
        if (size = iov_piece((v), i_, &skip_, left_), size == 0) {                               \
        } else                                                                                   \
            for (uint8_t *ptr = iov_start((v), i_, &skip_); ptr; ptr = NULL)

/* Bytes of element i that belong to the range; elements that lie before it have none. */
static size_t iov_piece(const IoVec *v, size_t i, size_t *skip, size_t left)
{
    g_assert(i < v->n);
    size_t len = v->iov[i].iov_len;
    if (*skip >= len) {
        *skip -= len;
        return 0;
    }
    return MIN(len - *skip, left);
}

static uint8_t *iov_start(const IoVec *v, size_t i, size_t *skip)
{
    uint8_t *p = (uint8_t *)v->iov[i].iov_base + *skip;
    *skip = 0;
    return p;
}

void iov_add_slice(IoVec *v, const IoVec *from, size_t off, size_t len)
{
    IOV_EACH(from, off, len, p, size) {
        iov_add(v, p, size);
    }
}

void iov_to_buf(const IoVec *v, size_t off, void *buf, size_t len)
{
    uint8_t *to = buf;
    IOV_EACH(v, off, len, p, size) {
        memcpy(to, p, size);
        to += size;
    }
}

void iov_from_buf(const IoVec *v, size_t off, const void *buf, size_t len)
{
    const uint8_t *from = buf;
    IOV_EACH(v, off, len, p, size) {
        memcpy(p, from, size);
        from += size;
    }
}

void iov_fill(const IoVec *v, size_t off, uint8_t byte, size_t len)
{
    IOV_EACH(v, off, len, p, size) {
        memset(p, byte, size);
    }
}

bool iov_is_zero(const IoVec *v, size_t off, size_t len)
{
    bool zero = true;
    IOV_EACH(v, off, len, p, size) {
        zero = zero && buf_is_zero(p, size);
    }
    return zero;
}

bool iov_is_aligned(const IoVec *v, size_t align)
{
    for (unsigned i = 0; i < v->n; i++) {
        if (((uintptr_t)v->iov[i].iov_base | v->iov[i].iov_len) & (align - 1)) {
            return false;
        }
    }
    return true;
}

/* The first bytes are zero, and every byte equals the one 16 before it: the C library's memcmp is
 * vectorised for this host, a loop of ours would not be. */
bool buf_is_zero(const void *buf, size_t len)
{
    static const uint8_t zeros[16];
    if (len <= sizeof(zeros)) {
        return memcmp(buf, zeros, len) == 0;
    }
    return memcmp(buf, zeros, sizeof(zeros)) == 0 &&
           memcmp(buf, (const uint8_t *)buf + sizeof(zeros), len - sizeof(zeros)) == 0;
}
