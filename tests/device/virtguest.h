/* SPDX-License-Identifier: MIT
 * tests/device/virtguest.h - a machine with a virtio disk on PCI, and the guest's ways to reach it: memory,
 * registers, the disk's file. What a driver does with its rings is each test's.
 */
#ifndef TESTS_DEVICE_VIRTGUEST_H
#define TESTS_DEVICE_VIRTGUEST_H

#include "pctest.h"
#include <sys/resource.h>

enum { /* where the guest puts things */
    FN = PCI_DEVFN(4, 0),
    BAR = 0x40000000,
    MSIX_BAR = 0x40010000,
    ISR = BAR + 0x1000,
    CONFIG = BAR + 0x2000,
    NOTIFY = BAR + 0x3000,
    PORT = 0xc000, /* the legacy interface */
    DISK = 1 << 20,
    TABLE = 0x5000, /* of indirect descriptors */
};
#define VERSION_1     (UINT64_C(1) << 32)
#define PACKED        (UINT64_C(1) << 34)
#define INDIRECT_DESC (UINT64_C(1) << 28)
#define EVENT_IDX     (UINT64_C(1) << 29)

typedef struct Guest {
    PcTest *t;
    Device *dev;
    char *dir, *path; /* of the disk, DISK bytes of zeros */
    /* The driver's own. */
    uint16_t avail;       /* a split ring's */
    unsigned size;        /* a packed ring's: entries, where the driver writes, and looks */
    unsigned next, used;
    bool wrap, used_wrap;
} Guest;

static inline uint8_t *ram(Guest *g, hwaddr at)
{
    return g->t->m->ram->host + at;
}
static inline uint64_t rd(Guest *g, hwaddr at, unsigned n)
{
    return pctest_read(g->t, at, n);
}
static inline void wr(Guest *g, hwaddr at, uint64_t v, unsigned n)
{
    pctest_write(g->t, at, v, n);
}

/* A device of `type` with two queues of 16 and up to two properties more (NULL: none), its BARs in place. */
void guest_open_with(Guest *g, const char *type, const char *prop, const char *val, const char *prop2,
                     const char *val2);
void guest_place(Guest *g); /* its BARs again, after a reset */
/* The split queue 0 of virtring.h, with these features: after a reset of the driver's, and on a device that
 * has been reset. */
void guest_start(Guest *g, uint64_t features);
void guest_begin(Guest *g, uint64_t features);
void guest_close(Guest *g); /* and the disk is removed */
void guest_turns(Guest *g, unsigned n); /* of the loop, without waiting */
GByteArray *guest_saved(Guest *g);      /* the machine's state */
void limit_files(rlim_t bytes);         /* files may be so long: writes behind that fail */

#endif
