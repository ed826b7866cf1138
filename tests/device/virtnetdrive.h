/* SPDX-License-Identifier: MIT
 * tests/device/virtnetdrive.h - a hostile driver of a virtio network card with two pairs of queues, and a
 * hostile network: what they do is read from bytes. For storms and for the fuzzer.
 */
#ifndef TESTS_DEVICE_VIRTNETDRIVE_H
#define TESTS_DEVICE_VIRTNETDRIVE_H

#include "mmioguest.h"
#include "net/net_internal.h"
#include "tests/lib/bytes.h"

enum { VND_QUEUES = 5, VND_RING = 16, VND_RAM = 1 << 20 };
typedef struct VirtNetDrive {
    MmioGuest g;
    NetClient *end; /* the network; it has two queues */
    bool packed;
    unsigned header;                         /* bytes in front of a frame */
    unsigned next[VND_QUEUES];               /* packed: where the driver writes */
    bool unwrapped[VND_QUEUES];              /* and its wrap counter, inverted */
} VirtNetDrive;

void vnd_open(VirtNetDrive *d);
void vnd_close(VirtNetDrive *d);
/* Rings and buffers are zeros, the device is reset and started, with features that are read from b. */
void vnd_start(VirtNetDrive *d, Bytes *b);
/* One deed after the other, until the bytes are used up. */
void vnd_run(VirtNetDrive *d, Bytes *b);
/* A driver that keeps the rules sends a frame and gets one; aborts where it does not. */
void vnd_check(VirtNetDrive *d);

#endif
