/* SPDX-License-Identifier: MIT
 * hw/virtio/balloon-pages.h - what becomes of pages that a guest gives away: the host gets them.
 *
 * Guests name pages of 4 KiB. Where the host's are larger, one goes when the guest has given away all of it,
 * which is remembered in a bitmap for each such block of memory; what one request covers as a whole goes at
 * once. All calls: the device's domain.
 */
#ifndef HW_VIRTIO_BALLOON_PAGES_H
#define HW_VIRTIO_BALLOON_PAGES_H

#include "rhea/system/machine.h"

enum { BALLOON_PAGE = 4096 };

typedef struct BalloonPages {
    Machine *machine;
    bool collect;       /* the driver tells before it uses a page again: then parts may wait for others */
    GHashTable *blocks; /* those with larger pages of which some are given away: a reference, and which */
} BalloonPages;

void balloon_pages_init(BalloonPages *p, Machine *m);
void balloon_pages_fini(BalloonPages *p);
/* The guest has them all again. */
void balloon_pages_forget(BalloonPages *p);

/* Pages by their numbers in guest memory, in any order; what is no writable RAM is skipped, and guest_error()
 * tells of it as dev's. Sorts them. */
void balloon_pages_give(BalloonPages *p, Device *dev, uint32_t *pages, size_t n);
/* The guest uses them again. */
void balloon_pages_take(BalloonPages *p, Device *dev, uint32_t *pages, size_t n);
/* Free memory, which the guest may use at any time: the host's pages in it go. Bytes that went. */
uint64_t balloon_pages_free(RamBlock *ram, uint64_t off, uint64_t len);

#endif
