/* SPDX-License-Identifier: MIT
 * rhea/hw/virtio-types.h - the four device types of a virtio device, one for each way to reach it, and the
 *   tables that they need, each from one line at the end of the device's file.
 *
 * P is the prefix of the file's tables, T the device's struct, whose first member is `VirtioDevice v`.
 * P##_pci_ops is VIRTIO_PCI_OPS(). The types go into hw/virtio/meson.build.
 */
#ifndef RHEA_HW_VIRTIO_TYPES_H
#define RHEA_HW_VIRTIO_TYPES_H

#include "rhea/hw/virtio.h"

/* P##_pci_state and P##_mmio_state. PCI, OLD_PCI: the version that is saved behind PCI and the oldest that is
 * loaded, a new device's: 3, 3; MMIO, OLD_MMIO: the same in memory: 4, 4 (see VIRTIO_SINCE()). FIELDS: a
 * macro with the device's own fields. What follows, such as .post_load, is in both. */
#define VIRTIO_STATES(P, T, NAME, PCI, OLD_PCI, MMIO, OLD_MMIO, FIELDS, ...)                                 \
    static const VmField P##_pci_fields[] = { VM_STRUCT(T, v, virtio_pci_state), FIELDS, { 0 } };            \
    static const VmField P##_mmio_fields[] = { VM_STRUCT(T, v, virtio_mmio_state), FIELDS, { 0 } };          \
    static const VmState P##_pci_state = { .name = (NAME), .version = (PCI), .oldest = (OLD_PCI),            \
                                           .fields = P##_pci_fields, __VA_ARGS__ };                          \
    static const VmState P##_mmio_state = { .name = (NAME "-device"), .version = (MMIO),                     \
                                            .oldest = (OLD_MMIO), .fields = P##_mmio_fields, __VA_ARGS__ }

/* Of PCI types whose kicks may be doorbells. */
#define VIRTIO_PROP_IOEVENTFD(T)                                                                             \
    PROP_BOOL(T, v.ioeventfd, "ioeventfd", true,                                                             \
              "Where KVM has local APICs in the kernel, it hears notifications without leaving the guest")

/* P##_pci_props and P##_mmio_props: PROPS is a macro with the device's own ones. */
#define VIRTIO_PROPS(P, T, PROPS)                                                                            \
    static const Prop P##_pci_props[] = { PROPS, VIRTIO_PROP_IOEVENTFD(T), { 0 } };                          \
    static const Prop P##_mmio_props[] = { PROPS, { 0 } }

#define VIRTIO_PCI_TYPE_(P, T, NAME, DESC, BASE, PCI_PROPS, ...)                                             \
    {                                                                                                        \
        .name = (NAME), .desc = (DESC), .size = sizeof(T), .base = &(BASE), .bus_type = &pci_bus_type,       \
        .bus_ops = &P##_pci_ops[VIRTIO_PCI_MODERN], .props = (PCI_PROPS), .vmstate = &P##_pci_state,         \
        __VA_ARGS__                                                                                          \
    }

/* SYM##_pci_type, SYM##_pci_transitional_type, SYM##_pci_modern_type and SYM##_device_type, which are called
 * NAME-pci (or NAME), NAME-pci-transitional, NAME-pci-non-transitional and NAME-device. What follows the
 * properties is in all of them: .category, .realize, .reset. */
#define VIRTIO_TYPES(SYM, P, T, NAME, DESC, PCI_PROPS, MMIO_PROPS, ...)                                      \
    const DeviceType SYM##_pci_type =                                                                        \
        VIRTIO_PCI_TYPE_(P, T, NAME "-pci", DESC " (PCI)", virtio_pci_any_type, PCI_PROPS, .alias = NAME,    \
                         __VA_ARGS__);                                                                       \
    const DeviceType SYM##_pci_transitional_type =                                                           \
        VIRTIO_PCI_TYPE_(P, T, NAME "-pci-transitional", DESC " (PCI, virtio 1.x and legacy)",               \
                         virtio_pci_transitional_type, PCI_PROPS, __VA_ARGS__);                              \
    const DeviceType SYM##_pci_modern_type =                                                                 \
        VIRTIO_PCI_TYPE_(P, T, NAME "-pci-non-transitional", DESC " (PCI, virtio 1.x)",                      \
                         virtio_pci_modern_type, PCI_PROPS, __VA_ARGS__);                                    \
    const DeviceType SYM##_device_type = {                                                                   \
        .name = NAME "-device", .desc = DESC " (in memory)", .size = sizeof(T),                              \
        .base = &virtio_mmio_device_type, .bus_type = &virtio_mmio_bus_type, .props = (MMIO_PROPS),          \
        .vmstate = &P##_mmio_state, __VA_ARGS__                                                              \
    }

#endif
