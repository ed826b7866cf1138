/* SPDX-License-Identifier: MIT
 * rhea/system/dma.h - how devices reach guest memory.
 *
 * A DMA that hits another device's registers never re-enters: a write becomes a posted write in the
 * target's domain (as PCI does), a read completes with all-ones and a guest error; a write into the MSI
 * window is an interrupt. Guest structures are copied in before they are parsed; dma_map() is for bulk.
 */
#ifndef RHEA_SYSTEM_DMA_H
#define RHEA_SYSTEM_DMA_H

#include "rhea/system/memory.h"
#include <sys/uio.h>

typedef struct DmaContext { /* a requester's view */
    AddressSpace *as;
    uint16_t requester;
    const bool *enabled; /* PCI bus master enable; NULL: always */
} DmaContext;

MemResult dma_copy(DmaContext *dma, hwaddr addr, void *buf, size_t len, bool to_guest);
static inline MemResult dma_read(DmaContext *d, hwaddr a, void *b, size_t n) { return dma_copy(d, a, b, n, false); }
static inline MemResult dma_write(DmaContext *d, hwaddr a, const void *b, size_t n) { return dma_copy(d, a, (void *)b, n, true); }

typedef struct DmaMap {
    struct iovec iov[8];
    RamBlock *ram[8];
    uint64_t ram_off[8];
    unsigned n;
    bool to_guest;
} DmaMap;
bool dma_map(DmaContext *dma, hwaddr addr, size_t len, bool to_guest, DmaMap *map); /* false: not RAM, copy instead */
void dma_unmap(DmaMap *map, size_t touched); /* marks dirty, drops the pins */

#endif
