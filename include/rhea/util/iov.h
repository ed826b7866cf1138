/* SPDX-License-Identifier: MIT
 * rhea/util/iov.h - scattered memory of an I/O request.
 *
 * An IoVec borrows the memory it names; it owns its array of elements. Any thread; one at a time.
 */
#ifndef RHEA_UTIL_IOV_H
#define RHEA_UTIL_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct IoVec {
    struct iovec *iov;
    unsigned n;
    size_t bytes;       /* sum of all lengths */
    unsigned room;      /* private: elements allocated; 0 with iov == &one or borrowed */
    struct iovec one;   /* private: saves the allocation for a single buffer */
} IoVec;

void iov_init(IoVec *v);
void iov_init_buf(IoVec *v, void *buf, size_t len);                     /* one element, no allocation */
void iov_init_borrowed(IoVec *v, struct iovec *iov, unsigned n);        /* the caller keeps the array alive */
void iov_fini(IoVec *v);
void iov_clear(IoVec *v);                                               /* empty, with the room it has */
void iov_add(IoVec *v, void *buf, size_t len);                          /* nothing for len == 0 */
void iov_add_slice(IoVec *v, const IoVec *from, size_t off, size_t len); /* within from->bytes */

/* Copies; offsets and lengths lie within v->bytes. */
void iov_to_buf(const IoVec *v, size_t off, void *buf, size_t len);
void iov_from_buf(const IoVec *v, size_t off, const void *buf, size_t len);
void iov_fill(const IoVec *v, size_t off, uint8_t byte, size_t len);
bool iov_is_zero(const IoVec *v, size_t off, size_t len);
/* Do all elements start and end at multiples of `align` (a power of two)? */
bool iov_is_aligned(const IoVec *v, size_t align);

bool buf_is_zero(const void *buf, size_t len);

#endif
