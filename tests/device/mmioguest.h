/* SPDX-License-Identifier: MIT
 * tests/device/mmioguest.h - a driver's side of a virtio device behind a transport in memory, with up to six
 * split queues: what the tests of single devices share.
 */
#ifndef TESTS_DEVICE_MMIOGUEST_H
#define TESTS_DEVICE_MMIOGUEST_H

#include "tests/lib/testmachine.h"

enum {
    MG_BASE = 0xfeb00000,  /* the transport */
    MG_PIN = 7,            /* its interrupt, of tm->level[] */
    MG_QUEUES = 6,
    MG_RINGS = 0x10000,    /* of queue q: 64 KiB from q * MG_RINGS on */
    MG_BUFFERS = 0x100000, /* free for the test */
    MG_NEXT = 1,
    MG_WRITE = 2,
};
#define MG_BIT(n) (UINT64_C(1) << (n))
enum { MG_STATUS = 0x70, MG_STATUS_OK = 15, MG_STATUS_BROKEN = 15 | 64 };

typedef struct MmioGuest {
    TestMachine *tm;
    Device *transport, *dev;
    unsigned size; /* of each queue */
    uint16_t avail[MG_QUEUES];
} MmioGuest;

/* A machine of ram_size bytes with an empty transport. */
void mg_open(MmioGuest *g, uint64_t ram_size, unsigned queue_size);
/* The same with memory of the test's; NULL: the machine makes its own. */
void mg_open_ram(MmioGuest *g, uint64_t ram_size, unsigned queue_size, RamBlock *(*make)(Machine *m));
/* Plugs the device in; pairs of property, text; ends with NULL; must succeed. */
void mg_plug(MmioGuest *g, const char *type, ...) G_GNUC_NULL_TERMINATED;
void mg_close(MmioGuest *g);

uint32_t mg_rd(MmioGuest *g, unsigned off);
void mg_wr(MmioGuest *g, unsigned off, uint32_t v);
uint64_t mg_features(MmioGuest *g); /* offered */
/* Reset, the features (VERSION_1 is added), n_queues queues, DRIVER_OK. */
void mg_start(MmioGuest *g, uint64_t features, unsigned n_queues);

void mg_desc(MmioGuest *g, unsigned q, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
             unsigned next);
void mg_offer(MmioGuest *g, unsigned q, unsigned head);
void mg_kick(MmioGuest *g, unsigned q);
/* Descriptor 0 of the queue, offered and kicked. */
void mg_put(MmioGuest *g, unsigned q, uint64_t addr, uint32_t len, unsigned flags);
unsigned mg_used(MmioGuest *g, unsigned q);
unsigned mg_used_len(MmioGuest *g, unsigned q, unsigned i); /* bytes written to the i-th used buffer */

#endif
