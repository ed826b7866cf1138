/* SPDX-License-Identifier: MIT
 * tests/fuzz/virtio-net.c - any bytes as what a hostile driver of a virtio network card does, and the network
 * at its other end: features, rings of both layouts, descriptors, headers, commands, registers, frames.
 *
 * What must hold: after a reset a driver that keeps the rules sends and receives.
 * Covers: hw/virtio/virtio-net*.c, virtio.c, queue.c, packed.c, pool.c, virtio-mmio.c, net/nic.c, net/core.c.
 */
#include "tests/device/virtnetdrive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static VirtNetDrive d; /* one machine for all inputs: what is left of one would be seen in the next */
    Bytes b = { data, size };
    if (!d.end) {
        role_become_main();
        net_register();
        vnd_open(&d);
    }
    vnd_start(&d, &b);
    vnd_run(&d, &b);
    vnd_check(&d);
    return 0;
}
