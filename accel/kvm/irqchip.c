/* SPDX-License-Identifier: MIT
 * accel/kvm/irqchip.c - interrupt controllers in the kernel: which there are, messages to local APICs.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.70 (SIGNAL_MSI), 7.5 (CAP_SPLIT_IRQCHIP). split: local
 *   APICs in the kernel; the board's I/O APIC sends messages to them and hears of ends of interrupts through
 *   exits, for which KVM has to know what each pin sends. The board's 8259s interrupt through KVM_INTERRUPT.
 *   on: 8259s, I/O APIC and 8254 are there as well (chips.c).
 * Does not model: controllers of other architectures.
 * Threads: any.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <errno.h>
#include <string.h>

enum { CHIP_AUTO, CHIP_ON, CHIP_OFF, CHIP_SPLIT }; /* kernel-irqchip= */

static bool has_all_chips(const Machine *m)
{
    return kvm_cap(m, KVM_CAP_IRQCHIP) && kvm_cap(m, KVM_CAP_PIT2) && kvm_cap(m, KVM_CAP_PIT_STATE2) &&
           kvm_cap(m, KVM_CAP_IRQ_ROUTING);
}

/* What a PC has goes into the kernel; other boards' local APICs do. Where KVM emulates guests, the
 * interpreter may run long, and only the board's controllers reach it. */
static KvmIrqchip automatic(const Machine *m)
{
    if (kvm_host_class(NULL) != KVM_HOST_HARDWARE) {
        if (m->board->accel_chips) {
            log_info("kernel-irqchip=off: where KVM emulates guests, much of them may run in software, which "
                     "interrupt controllers in the kernel do not reach");
        }
        return IRQCHIP_OFF;
    }
    if (m->board->accel_chips && !m->chips_stay && has_all_chips(m)) {
        return IRQCHIP_ON;
    }
    return kvm_cap(m, KVM_CAP_SPLIT_IRQCHIP) ? IRQCHIP_SPLIT : IRQCHIP_OFF;
}

static bool want_on(Machine *m, Error **errp)
{
    if (!m->board->accel_chips) {
        error_set(errp,
                  "accelerator 'kvm': kernel-irqchip=on: board '%s' keeps its 8259s and I/O APIC to itself",
                  m->board->name);
    } else if (m->chips_stay) {
        error_set(errp,
                  "accelerator 'kvm': kernel-irqchip=on: the guest knows its I/O APIC as version 0x20, the "
                  "kernel's is of version 0x11");
    } else if (!has_all_chips(m)) {
        error_set(errp,
                  "accelerator 'kvm': kernel-irqchip=on: this kernel lacks interrupt controllers, a PIT or "
                  "routes for them");
    } else {
        return true;
    }
    error_hint(errp, "use kernel-irqchip=split: local APICs and their timers are in the kernel");
    return false;
}

static bool init_split(Machine *m, Error **errp)
{
    int r = kvm_cap(m, KVM_CAP_SPLIT_IRQCHIP) ? kvm_enable_cap(m, KVM_CAP_SPLIT_IRQCHIP, ACCEL_IOAPIC_PINS)
                                              : -ENOSYS;
    if (r < 0) {
        error_set_errno(
            errp, -r, "accelerator 'kvm': local APICs in the kernel (kernel-irqchip=split) are not possible");
        error_hint(errp, "Linux has them since 4.4; use kernel-irqchip=off");
    }
    return r >= 0;
}

bool kvm_irqchip_init(Machine *m, Error **errp)
{
    static const KvmIrqchip chips[] = {
        [CHIP_ON] = IRQCHIP_ON, [CHIP_OFF] = IRQCHIP_OFF, [CHIP_SPLIT] = IRQCHIP_SPLIT
    };
    KvmVm *vm = kvm_vm(m);
    KvmIrqchip want = vm->irqchip_option == CHIP_AUTO ? automatic(m) : chips[vm->irqchip_option];
    if (want == IRQCHIP_ON && !want_on(m, errp)) {
        return false;
    }
    if (want != IRQCHIP_OFF) {
        kvm_routes_init(m);
    }
    vm->irqchip = want;
    return want == IRQCHIP_OFF || (want == IRQCHIP_ON ? kvm_chips_init(m, errp) : init_split(m, errp));
}

static bool lapic_inside(const Machine *m)
{
    return kvm_irqchip(m) != IRQCHIP_OFF;
}

static bool chips_inside(const Machine *m)
{
    return kvm_irqchip(m) == IRQCHIP_ON;
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

const IrqChipOps kvm_irqchip_ops = {
    .lapic_inside = lapic_inside,
    .msi = send_msi,
    .route_pin = kvm_route_pin,
    .chips_inside = chips_inside,
    .attach = kvm_chip_attach,
    .detach = kvm_chip_detach,
    .line = kvm_chip_line,
    .chip_get = kvm_chip_get,
    .chip_set = kvm_chip_set,
};
