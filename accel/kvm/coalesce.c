/* SPDX-License-Identifier: MIT
 * accel/kvm/coalesce.c - writes that KVM collects: it is told which, and they are done before what is next.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.116 (KVM_(UN)REGISTER_COALESCED_MMIO, also for ports), 5
 *   (the ring behind the run structure).
 * Does not model: rings of the kernel's that are too short for a burst: KVM leaves the guest then.
 * Threads: places under the topology lock; the ring, which all vCPUs share, under ring_lock, taken by a
 *   vCPU's thread without a domain; devices' domains are taken below it.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <string.h>
#include <unistd.h>

static void settle(Machine *m)
{
    for (Coalesced *c = coalesced_first(m); c; c = c->next) {
        hwaddr at = 0;
        bool io = false, there = coalesced_place(m, c, &at, &io) && (!io || kvm_vm(m)->coalesces_io);
        struct kvm_coalesced_mmio_zone z = { .addr = c->at, .size = c->size, .pio = c->io };
        if (c->told && (!there || at != c->at || io != c->io)) {
            kvm_vm_ioctl(m, KVM_UNREGISTER_COALESCED_MMIO, &z);
            c->told = false;
        }
        if (there && !c->told) {
            z.addr = c->at = at;
            z.pio = c->io = io;
            c->told = kvm_vm_ioctl(m, KVM_REGISTER_COALESCED_MMIO, &z) >= 0; /* else each is an exit */
        }
    }
}

static void view_updated(MemListener *l, const FlatView *was G_GNUC_UNUSED, const FlatView *now G_GNUC_UNUSED)
{
    settle(l->opaque);
}

/* The ring's pages lie behind the run structure. */
void kvm_coalesce_init(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int at = kvm_cap(m, KVM_CAP_COALESCED_MMIO);
    if (at <= 0 || (size_t)(at + 1) * page > vm->run_size) {
        return;
    }
    vm->ring_at = (size_t)at * page;
    vm->ring_max =
        (unsigned)((page - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio));
    vm->coalesces_io = kvm_cap(m, KVM_CAP_COALESCED_PIO) > 0;
    vm->mem_listener = vm->io_listener = (MemListener){ .update = view_updated, .opaque = m };
    as_add_listener(&m->as_mem, &vm->mem_listener);
    as_add_listener(&m->as_io, &vm->io_listener);
}

void kvm_coalesce_fini(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    if (!vm->ring_at) {
        return;
    }
    mem_begin(m);
    for (Coalesced *c = coalesced_first(m); c; c = c->next) {
        c->told = false; /* the VM goes */
    }
    mem_commit(m);
    as_remove_listener(&m->as_mem, &vm->mem_listener);
    as_remove_listener(&m->as_io, &vm->io_listener);
}

void kvm_coalesced_writes(Vcpu *cpu)
{
    Machine *m = cpu->machine;
    KvmVm *vm = kvm_vm(m);
    if (!vm->ring_at) {
        return;
    }
    struct kvm_coalesced_mmio_ring *ring = (void *)((char *)kvm_of(cpu)->run + vm->ring_at);
    if (__atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
        /* Empty, or the last one is being done by another vCPU: its effect comes before ours all the same. */
        if (!__atomic_load_n(&vm->ring_busy, __ATOMIC_ACQUIRE)) {
            return;
        }
    }
    pthread_mutex_lock(&vm->ring_lock);
    __atomic_store_n(&vm->ring_busy, true, __ATOMIC_RELEASE);
    uint32_t last;
    while (ring->first != (last = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) && last < vm->ring_max &&
           ring->first < vm->ring_max) {
        struct kvm_coalesced_mmio e = ring->coalesced_mmio[ring->first];
        MemAttrs attrs = { .cpu = true, .requester = (uint16_t)cpu->index };
        AddressSpace *as = e.pio ? &m->as_io : &m->as_mem;
        as_access(as, e.phys_addr, e.data, MIN(e.len, sizeof(e.data)), true, attrs);
        vm->coalesced++;
        __atomic_store_n(&ring->first, (ring->first + 1) % vm->ring_max, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&vm->ring_busy, false, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&vm->ring_lock);
}
