/* SPDX-License-Identifier: MIT
 * accel/kvm/route.c - interrupt routes: what each number (GSI) that the kernel knows leads to.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.52 (KVM_SET_GSI_ROUTING): the table is told as a whole.
 *   split: numbers 0-23 are messages of the board's I/O APIC pins, from which KVM knows whose ends to tell.
 *   on: inputs of the kernel's chips (chips.c).
 * Does not model: adapters of other architectures.
 * Threads: any; route_lock is a leaf.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <string.h>

void kvm_routes_init(Machine *m)
{
    kvm_vm(m)->fixed_routes = g_array_new(FALSE, TRUE, sizeof(struct kvm_irq_routing_entry));
}

void kvm_routes_fini(Machine *m)
{
    g_clear_pointer(&kvm_vm(m)->fixed_routes, g_array_unref);
}

void kvm_route_add(Machine *m, const struct kvm_irq_routing_entry *e)
{
    g_array_append_vals(kvm_vm(m)->fixed_routes, e, 1);
}

static int tell_locked(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    unsigned n = vm->fixed_routes->len + G_N_ELEMENTS(vm->pin_routes);
    struct kvm_irq_routing *told = g_malloc0(sizeof(*told) + n * sizeof(told->entries[0]));
    for (unsigned i = 0; i < G_N_ELEMENTS(vm->pin_routes); i++) {
        if (vm->pin_routes[i].type) {
            told->entries[told->nr++] = vm->pin_routes[i];
        }
    }
    memcpy(told->entries + told->nr, vm->fixed_routes->data,
           vm->fixed_routes->len * sizeof(told->entries[0]));
    told->nr += vm->fixed_routes->len;
    int r = kvm_vm_ioctl(m, KVM_SET_GSI_ROUTING, told);
    g_free(told);
    return r;
}

int kvm_routes_tell(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    pthread_mutex_lock(&vm->route_lock);
    int r = tell_locked(m);
    pthread_mutex_unlock(&vm->route_lock);
    return r;
}

void kvm_route_pin(Machine *m, unsigned pin, MsiMessage msg)
{
    static bool said;
    KvmVm *vm = kvm_vm(m);
    if (pin >= G_N_ELEMENTS(vm->pin_routes) || !vm->fixed_routes) {
        return;
    }
    pthread_mutex_lock(&vm->route_lock);
    struct kvm_irq_routing_entry *e = &vm->pin_routes[pin];
    *e = (struct kvm_irq_routing_entry){ .gsi = pin, .type = KVM_IRQ_ROUTING_MSI };
    e->u.msi.address_lo = (uint32_t)msg.addr;
    e->u.msi.data = msg.data;
    int r = tell_locked(m);
    if (r < 0) {
        log_warn_once(&said, "KVM does not take the routes of the I/O APIC: %s", g_strerror(-r));
    }
    pthread_mutex_unlock(&vm->route_lock);
}
