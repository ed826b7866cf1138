/* SPDX-License-Identifier: MIT
 * tests/fuzz/e1000.c - any bytes as what a hostile driver of an e1000 does, and the network at its other end:
 * registers, rings, descriptors of all kinds, contexts, frames.
 *
 * What must hold: after a reset a driver that keeps the rules sends and receives.
 * Covers: hw/net/e1000*.c, net/nic.c, net/core.c, net/offload.c.
 */
#include "tests/device/e1000drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static E1000Drive d; /* one machine for all inputs: what is left of one would be seen in the next */
    Bytes b = { data, size };
    if (!d.n.t) {
        role_become_main();
        net_register();
        e1000drive_open(&d);
    }
    e1000drive_start(&d);
    e1000drive_run(&d, &b);
    e1000drive_check(&d);
    return 0;
}
