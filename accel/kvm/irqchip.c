/* SPDX-License-Identifier: MIT
 * accel/kvm/irqchip.c - interrupt controllers in the kernel: which there are, messages to local APICs,
 *   routes of I/O APIC pins.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.52 (SET_GSI_ROUTING), 4.70 (SIGNAL_MSI), 7.5
 *   (CAP_SPLIT_IRQCHIP). split: local APICs in the kernel; the board's I/O APIC sends messages to them
 *   and hears of ends of interrupts through exits, for which KVM has to know what each pin sends. The
 *   board's 8259s interrupt through KVM_INTERRUPT.
 * Does not model: KVM's own 8259s, I/O APIC and 8254 (kernel-irqchip=on).
 * Threads: any; route_lock is a leaf.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <errno.h>
#include <string.h>

enum { PINS = 24 };
enum { CHIP_AUTO, CHIP_ON, CHIP_OFF, CHIP_SPLIT }; /* kernel-irqchip= */

/* Where KVM emulates guests, the interpreter may run long, and only the board's local APICs reach it. */
static KvmIrqchip automatic(const Machine *m)
{
    return kvm_host_class(NULL) == KVM_HOST_HARDWARE && kvm_cap(m, KVM_CAP_SPLIT_IRQCHIP) ? IRQCHIP_SPLIT
                                                                                          : IRQCHIP_OFF;
}

bool kvm_irqchip_init(Machine *m, Error **errp)
{
    KvmVm *vm = kvm_vm(m);
    switch (vm->irqchip_option) {
    case CHIP_OFF: vm->irqchip = IRQCHIP_OFF; return true;
    case CHIP_AUTO: vm->irqchip = automatic(m); break;
    case CHIP_SPLIT: vm->irqchip = IRQCHIP_SPLIT; break;
    default:
        error_set(errp,
                  "accelerator 'kvm': kernel-irqchip=on: this board keeps its 8259s and I/O APIC to itself");
        error_hint(errp, "use kernel-irqchip=split: local APICs and their timers are in the kernel");
        return false;
    }
    if (vm->irqchip == IRQCHIP_OFF) {
        return true;
    }
    int r = kvm_cap(m, KVM_CAP_SPLIT_IRQCHIP) ? kvm_enable_cap(m, KVM_CAP_SPLIT_IRQCHIP, PINS) : -ENOSYS;
    if (r < 0) {
        error_set_errno(
            errp, -r, "accelerator 'kvm': local APICs in the kernel (kernel-irqchip=split) are not possible");
        error_hint(errp, "Linux has them since 4.4; use kernel-irqchip=off");
        return false;
    }
    vm->routes = g_malloc0(sizeof(*vm->routes) + PINS * sizeof(vm->routes->entries[0]));
    return true;
}

static bool lapic_inside(const Machine *m)
{
    return kvm_irqchip(m) != IRQCHIP_OFF;
}

/* KVM drops a message for an APIC that is off, and merges one whose vector is pending: neither is an error.
 */
static void send_msi(Machine *m, MsiMessage msg)
{
    static bool said;
    struct kvm_msi k = { .address_lo = (uint32_t)msg.addr,
                         .address_hi = (uint32_t)(msg.addr >> 32),
                         .data = msg.data };
    int r = kvm_vm_ioctl(m, KVM_SIGNAL_MSI, &k);
    if (r < 0) {
        log_warn_once(&said, "KVM does not take the interrupt message 0x%" PRIx64 ", 0x%x: %s", msg.addr,
                      msg.data, g_strerror(-r));
    }
}

static void route_pin(Machine *m, unsigned pin, MsiMessage msg)
{
    static bool said;
    KvmVm *vm = kvm_vm(m);
    if (pin >= PINS || !vm->routes) {
        return;
    }
    pthread_mutex_lock(&vm->route_lock);
    struct kvm_irq_routing_entry *e = &vm->routes->entries[pin];
    *e = (struct kvm_irq_routing_entry){ .gsi = pin, .type = KVM_IRQ_ROUTING_MSI };
    e->u.msi.address_lo = (uint32_t)msg.addr;
    e->u.msi.data = msg.data;
    struct kvm_irq_routing *told = g_malloc0(sizeof(*told) + PINS * sizeof(told->entries[0]));
    for (unsigned i = 0; i < PINS; i++) {
        if (vm->routes->entries[i].type) {
            told->entries[told->nr++] = vm->routes->entries[i];
        }
    }
    int r = kvm_vm_ioctl(m, KVM_SET_GSI_ROUTING, told);
    if (r < 0) {
        log_warn_once(&said, "KVM does not take the routes of the I/O APIC: %s", g_strerror(-r));
    }
    g_free(told);
    pthread_mutex_unlock(&vm->route_lock);
}

const IrqChipOps kvm_irqchip_ops = { .lapic_inside = lapic_inside, .msi = send_msi, .route_pin = route_pin };
