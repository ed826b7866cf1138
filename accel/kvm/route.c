/* SPDX-License-Identifier: MIT
 * accel/kvm/route.c - interrupt routes: what each number (GSI) that the kernel knows leads to.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.52 (KVM_SET_GSI_ROUTING): the table is told as a whole.
 *   split: numbers 0-23 are messages of the board's I/O APIC pins, from which KVM knows whose ends to tell.
 *   on: inputs of the kernel's chips (chips.c). Both: messages of devices behind descriptors (4.75,
 *   KVM_IRQFD), and doorbells (4.59, KVM_IOEVENTFD).
 * Does not model: adapters of other architectures.
 * Threads: any; route_lock is a leaf.
 */
#include "kvm_internal.h"

#include "rhea/system/doorbell.h"
#include "rhea/util/log.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { GSI_MSI = 64 }; /* numbers of messages; one that finds none free is sent by an ioctl */

static int irqfd(Machine *m, const MsiRoute *r, bool on)
{
    struct kvm_irqfd k = { .fd = (uint32_t)r->fd, .gsi = r->gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };
    return kvm_vm_ioctl(m, KVM_IRQFD, &k);
}

/* Lock held. */
static void route_close(Machine *m, MsiRoute *r)
{
    irqfd(m, r, false);
    close(r->fd);
    r->open = false;
    kvm_vm(m)->gsi_used[(r->gsi - GSI_MSI) / 64] &= ~(UINT64_C(1) << (r->gsi - GSI_MSI) % 64);
}

void kvm_route_add(Machine *m, const struct kvm_irq_routing_entry *e)
{
    g_array_append_vals(kvm_vm(m)->fixed_routes, e, 1);
}

static int tell_locked(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    unsigned n = vm->fixed_routes->len + G_N_ELEMENTS(vm->pin_routes) + vm->n_msi_routes;
    struct kvm_irq_routing *told = g_malloc0(sizeof(*told) + n * sizeof(told->entries[0]));
    for (unsigned i = 0; i < G_N_ELEMENTS(vm->pin_routes); i++) {
        if (vm->pin_routes[i].type) {
            told->entries[told->nr++] = vm->pin_routes[i];
        }
    }
    for (guint i = 0; i < vm->fixed_routes->len; i++) {
        told->entries[told->nr++] =
            g_array_index(vm->fixed_routes, struct kvm_irq_routing_entry, i);
    }
    for (const MsiRoute *r = vm->msi_routes; r; r = r->next) {
        struct kvm_irq_routing_entry *e = &told->entries[told->nr++];
        *e = (struct kvm_irq_routing_entry){ .gsi = r->gsi, .type = KVM_IRQ_ROUTING_MSI };
        e->u.msi.address_lo = (uint32_t)r->msg.addr;
        e->u.msi.address_hi = (uint32_t)(r->msg.addr >> 32);
        e->u.msi.data = r->msg.data;
    }
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

/* ---- messages behind descriptors ---- */

/* Lock held. */
static bool route_open(Machine *m, MsiRoute *r, MsiMessage msg)
{
    KvmVm *vm = kvm_vm(m);
    unsigned w = 0;
    while (w < G_N_ELEMENTS(vm->gsi_used) && vm->gsi_used[w] == UINT64_MAX) {
        w++;
    }
    if (w == G_N_ELEMENTS(vm->gsi_used) || (r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        return false;
    }
    unsigned bit = (unsigned)__builtin_ctzll(~vm->gsi_used[w]);
    r->gsi = GSI_MSI + w * 64 + bit;
    r->msg = msg;
    r->sent = 0; /* by this VM */
    r->next = vm->msi_routes;
    vm->msi_routes = r;
    vm->n_msi_routes++;
    if (tell_locked(m) < 0 || irqfd(m, r, true) < 0) {
        vm->msi_routes = r->next;
        vm->n_msi_routes--;
        close(r->fd);
        return false;
    }
    vm->gsi_used[w] |= UINT64_C(1) << bit;
    return r->open = true;
}

/* The table is told again when a message changes: guests set vectors up, then leave them for long. */
static bool route_send(Machine *m, MsiRoute *r, MsiMessage msg)
{
    KvmVm *vm = kvm_vm(m);
    uint64_t one = 1;
    pthread_mutex_lock(&vm->route_lock);
    bool ok = vm->fixed_routes && (r->open || route_open(m, r, msg));
    if (ok && (r->msg.addr != msg.addr || r->msg.data != msg.data)) {
        r->msg = msg;
        ok = tell_locked(m) >= 0;
    }
    ok = ok && write(r->fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
    r->sent += ok;
    pthread_mutex_unlock(&vm->route_lock);
    return ok;
}

static void route_drop(Machine *m, MsiRoute *r)
{
    KvmVm *vm = kvm_vm(m);
    pthread_mutex_lock(&vm->route_lock);
    for (MsiRoute **at = &vm->msi_routes; *at; at = &(*at)->next) {
        if (*at == r) {
            *at = r->next;
            vm->n_msi_routes--;
            route_close(m, r);
            break;
        }
    }
    pthread_mutex_unlock(&vm->route_lock);
}

unsigned kvm_routes_count(Machine *m, uint64_t *sent)
{
    KvmVm *vm = kvm_vm(m);
    unsigned n = 0;
    *sent = 0;
    pthread_mutex_lock(&vm->route_lock);
    for (const MsiRoute *r = vm->msi_routes; r; r = r->next, n++) {
        *sent += r->sent;
    }
    pthread_mutex_unlock(&vm->route_lock);
    return n;
}

/* ---- doorbells ---- */

static bool doorbell_watch(Machine *m, const Doorbell *d, bool on)
{
    static bool said;
    struct kvm_ioeventfd k = { .addr = d->at, .fd = d->fd, .len = d->len, .datamatch = d->value };
    k.flags = (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) | (d->io ? KVM_IOEVENTFD_FLAG_PIO : 0) |
              (d->len ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0);
    int r = kvm_vm_ioctl(m, KVM_IOEVENTFD, &k);
    if (r < 0) { /* the kernel has room for a thousand */
        log_warn_once(&said, "KVM does not watch the doorbell at 0x%" PRIx64 ": %s; such writes become exits",
                      d->at, g_strerror(-r));
    }
    return r >= 0;
}

/* ---- set-up ---- */

static const MsiRouteOps msi_route_ops = { .send = route_send, .drop = route_drop };
static const DoorbellOps doorbell_ops = { .watch = doorbell_watch };

void kvm_routes_init(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    vm->fixed_routes = g_array_new(FALSE, TRUE, sizeof(struct kvm_irq_routing_entry));
    const int numbers = GSI_MSI + 64 * (int)G_N_ELEMENTS(vm->gsi_used);
    if (kvm_cap(m, KVM_CAP_IRQFD) && kvm_cap(m, KVM_CAP_IRQ_ROUTING) > numbers) {
        msi_routes_provide(m, &msi_route_ops);
    }
    if (kvm_cap(m, KVM_CAP_IOEVENTFD) && kvm_cap(m, KVM_CAP_IOEVENTFD_ANY_LENGTH)) {
        doorbells_provide(m, &doorbell_ops);
    }
}

void kvm_routes_fini(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    msi_routes_provide(m, NULL);
    doorbells_provide(m, NULL);
    pthread_mutex_lock(&vm->route_lock);
    for (MsiRoute *r = vm->msi_routes; r; r = r->next) {
        route_close(m, r);
    }
    vm->msi_routes = NULL;
    vm->n_msi_routes = 0;
    pthread_mutex_unlock(&vm->route_lock);
    g_clear_pointer(&vm->fixed_routes, g_array_unref);
}
