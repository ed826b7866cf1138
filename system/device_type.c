/* SPDX-License-Identifier: MIT
 * system/device_type.c - device types by name.
 * Threads: any; constant data.
 */
#include "rhea/system/devicealias.h"

#include <string.h>

/* QEMU's on machines with PCI. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    { "ac97", "AC97" },
    { "ahci", "ich9-ahci" },
    { "e1000-82540em", "e1000" },
    { "virtio-balloon", "virtio-balloon-pci" },
    { "virtio-blk", "virtio-blk-pci" },
    { "virtio-gpu", "virtio-gpu-pci" },
    { "virtio-keyboard", "virtio-keyboard-pci" },
    { "virtio-mouse", "virtio-mouse-pci" },
    { "virtio-net", "virtio-net-pci" },
    { "virtio-rng", "virtio-rng-pci" },
    { "virtio-serial", "virtio-serial-pci" },
    { "virtio-tablet", "virtio-tablet-pci" },
};

const char *device_type_alias(const DeviceType *type)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (!strcmp(aliases[i].name, type->name)) {
            return aliases[i].alias;
        }
    }
    return NULL;
}

const DeviceType *device_type_find(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(aliases); i++) {
        name = strcmp(aliases[i].alias, name) ? name : aliases[i].name;
    }
    for (unsigned i = 0; device_table[i]; i++) {
        if (!strcmp(device_table[i]->name, name)) {
            return device_table[i];
        }
    }
    return NULL;
}
