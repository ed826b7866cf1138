/* SPDX-License-Identifier: MIT
 * rhea/hw/isadma.h - the pair of 8237A DMA controllers and what devices ask of it. Platform domain.
 */
#ifndef RHEA_HW_ISADMA_H
#define RHEA_HW_ISADMA_H

#include "rhea/hw/isa.h"

/* "i8257": ISA device; base 0 (channels 0-3, bytes) or C0h with dshift=1 (channels 4-7, words). Page
 * registers 80h-8Fh, port 80h (the POST code latch) included. */
extern const DeviceType i8237_type;
bool isa_dma_create_pair(Bus *isa, Device *parent, Error **errp); /* fills in IsaBus.dma */

struct IsaDmaOps {
    /* A requested channel was programmed or unmasked: try isa_dma_transfer() again. */
    void (*ready)(Device *dev, unsigned channel);
};
/* In realize: claims a channel (0-3, 5-7), refused when there is no controller or it is taken. */
bool isa_dma_claim(Device *dev, unsigned channel, const IsaDmaOps *ops, Error **errp);
/* DREQ. A rise may call ready(). */
void isa_dma_request(IsaBus *bus, unsigned channel, bool level);
/* Moves up to len bytes (a multiple of 2 on channels 5-7) between buf and memory, in the direction the
 * guest programmed; to_memory is the device's, a mismatch moves nothing. Returns the bytes moved: 0 when the
 * channel is masked, not requested or at its end. *tc: terminal count was reached. */
size_t isa_dma_transfer(IsaBus *bus, unsigned channel, void *buf, size_t len, bool to_memory, bool *tc);

#endif
