/* SPDX-License-Identifier: MIT
 * tests/device/virtring.h - a driver's side of one split virtqueue and of virtio-blk's requests, in the
 * guest's memory; how the device is told is the transport's.
 */
#ifndef TESTS_DEVICE_VIRTRING_H
#define TESTS_DEVICE_VIRTRING_H

#include "rhea/system/machine.h"

enum { /* where things are, and the queue's size */
    DESC = 0x1000,
    AVAIL = 0x2000,
    USED = 0x3000,
    HEADER = 0x4000,
    STATUS = 0x4100,
    DATA = 0x10000,
    SIZE = 16,
};
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 }; /* flags of a descriptor */

void ring_set_desc(Machine *m, hwaddr table, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
                   unsigned next);
/* Descriptors 0 to 2: a request with its header and, at DATA, len bytes, which the device writes if `in`. */
void ring_set_request(Machine *m, uint32_t type, uint64_t sector, uint32_t len, bool in);
void ring_offer(Machine *m, uint16_t *avail, unsigned head);
unsigned ring_used(Machine *m);
void ring_wait_used(Machine *m, unsigned idx); /* turns the loop, 20 seconds at most */

#endif
