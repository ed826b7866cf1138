/* SPDX-License-Identifier: MIT
 * tests/device/dut.h - what a device under test is plugged into on the host's side, whatever it is: a serial
 * line, a disk, a network.
 */
#ifndef TESTS_DEVICE_DUT_H
#define TESTS_DEVICE_DUT_H

#include "rhea/backends/char.h"
#include "rhea/system/machine.h"

typedef struct DutHost {
    Chardev *chardev; /* one in memory */
    char *netdev;     /* name of a hub's port */
} DutHost;

/* Chardev "dut-chardev", node "dut-disk" of 1 MiB, a hub. */
void dut_host_open(DutHost *h, Machine *m);
void dut_host_close(DutHost *h, Machine *m); /* before the machine goes; it is stopped */
/* The properties of a device that is not realized yet that name them, where it has them. */
bool dut_connect(const DutHost *h, Device *dev, Error **errp);

#endif
