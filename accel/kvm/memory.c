/* SPDX-License-Identifier: MIT
 * accel/kvm/memory.c - guest memory: slots from the flat view, holes, ROM, changes while vCPUs run, the
 *   dirty log (the rings: dirtyring.c).
 * Models: Linux Documentation/virt/kvm/api.rst, 4.8 (KVM_GET_DIRTY_LOG), 4.35
 *   (KVM_SET_USER_MEMORY_REGION). RAM is a slot; ROM and flash in array mode are read-only slots, whose
 *   writes come back as MMIO exits; whatever is not whole pages, and everything else, has no slot: each
 *   access is an exit that is dispatched through the view.
 * Does not model: clearing the log by parts (KVM_CLEAR_DIRTY_LOG).
 * Threads: the topology lock is held while the view changes; slot_lock, a leaf, guards the table
 *   against those who read the dirty log at the same time. Slots change with the gate closed (gate.c).
 */
#include "accel/trace.h"
#include "kvm_internal.h"

#include "rhea/system/ramdiscard.h"
#include "rhea/util/log.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static void pull_slot(Machine *m, unsigned i);

bool kvm_memory_init(Machine *m, Error **errp)
{
    KvmVm *vm = kvm_vm(m);
    int n = kvm_cap(m, KVM_CAP_NR_MEMSLOTS);
    vm->max_slots = n > 0 ? (unsigned)n : 32; /* 32: what kernels without that capability have */
    vm->readonly_slots = kvm_cap(m, KVM_CAP_READONLY_MEM) > 0;
    if (kvm_cap(m, KVM_CAP_SYNC_MMU) <= 0) {
        ram_discard_forbid(m, RAM_KEEP_KVM);
    }
    if (!vm->readonly_slots) {
        error_set(
            errp,
            "the kernel's KVM lacks read-only memory (KVM_CAP_READONLY_MEM), so ROMs could be overwritten");
        error_hint(errp, "Linux has it since 3.7: use a later kernel, or -accel tcg");
        return false;
    }
    return true;
}

void kvm_memory_fini(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    pthread_mutex_lock(&vm->slot_lock); /* what was written last is told to those who go on asking */
    for (unsigned i = 0; i < vm->n_slots; i++) {
        if (vm->slots[i].used && (vm->slots[i].flags & KVM_MEM_LOG_DIRTY_PAGES)) {
            pull_slot(m, i);
        }
    }
    pthread_mutex_unlock(&vm->slot_lock);
    g_clear_pointer(&vm->slots, g_free);
    vm->n_slots = 0;
}

/* ---- from the view to slots ---- */

static bool is_logged(const RamBlock *ram)
{
    return rcu_get(&ram->dirty[DIRTY_DISPLAY]) || rcu_get(&ram->dirty[DIRTY_MIGRATION]);
}

/* The whole pages of a range; false: it has none that a slot could hold. */
static bool slot_of_range(const FlatRange *r, KvmSlot *s)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = -r->start & (page - 1);
    if (!r->host || r->size <= skip || ((uintptr_t)(r->host + skip) & (page - 1))) {
        return false;
    }
    *s = (KvmSlot){
        .used = true,
        .gpa = r->start + skip,
        .size = (r->size - skip) & ~(page - 1),
        .host = r->host + skip,
        .ram = r->ram,
        .ram_off = r->ram_off + skip,
        .flags = (r->readonly ? KVM_MEM_READONLY : 0) | (is_logged(r->ram) ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };
    return s->size != 0;
}

static bool same_place(const KvmSlot *a, const KvmSlot *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           !((a->flags ^ b->flags) & KVM_MEM_READONLY);
}

static int slot_tell(Machine *m, unsigned i, uint64_t size)
{
    const KvmSlot *s = &kvm_vm(m)->slots[i];
    struct kvm_userspace_memory_region r = {
        .slot = i,
        .flags = size ? s->flags : 0,
        .guest_phys_addr = s->gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)s->host,
    };
    int result = kvm_vm_ioctl(m, KVM_SET_USER_MEMORY_REGION, &r);
    trace_kvm_slot(r.slot, r.guest_phys_addr, r.memory_size, r.flags, result);
    return result;
}

static void slot_failed(Machine *m, const KvmSlot *s, int r, const char *what)
{
    Error *err = NULL;
    error_set_errno(&err, -r, "KVM refuses to %s the memory slot 0x%" PRIx64 "-0x%" PRIx64 "%s", what, s->gpa,
                    s->gpa + s->size - 1, s->flags & KVM_MEM_READONLY ? " (read-only)" : "");
    error_hint(&err, r == -ENOMEM ? "the host has no memory for it" : "use -accel tcg");
    error_report(err);
    machine_request_stop(m, RUN_INTERNAL_ERROR);
}

static void slot_remove(Machine *m, unsigned i)
{
    KvmSlot *s = &kvm_vm(m)->slots[i];
    if (s->flags & KVM_MEM_LOG_DIRTY_PAGES) {
        pull_slot(m, i);
    }
    int r = slot_tell(m, i, 0);
    if (r < 0) {
        slot_failed(m, s, r, "remove");
    }
    s->used = false;
}

static void slot_add(Machine *m, const KvmSlot *s)
{
    KvmVm *vm = kvm_vm(m);
    unsigned i = 0;
    while (i < vm->n_slots && vm->slots[i].used) {
        i++;
    }
    if (i == vm->n_slots) {
        unsigned n = MIN(MAX(2 * vm->n_slots, 16u), vm->max_slots);
        if (n == vm->n_slots) {
            log_warn("KVM has %u memory slots, and all are in use: accesses to 0x%" PRIx64 "-0x%" PRIx64
                     " become slow exits",
                     n, s->gpa, s->gpa + s->size - 1);
            return;
        }
        vm->slots = g_renew(KvmSlot, vm->slots, n);
        memset(vm->slots + vm->n_slots, 0, (n - vm->n_slots) * sizeof(KvmSlot));
        vm->n_slots = n;
    }
    vm->slots[i] = *s;
    int r = slot_tell(m, i, s->size);
    if (r < 0) {
        vm->slots[i].used = false;
        slot_failed(m, s, r, "add");
    }
}

static bool view_has(const FlatView *v, const KvmSlot *s)
{
    KvmSlot o;
    for (uint32_t i = 0; i < v->n; i++) {
        if (slot_of_range(&v->r[i], &o) && same_place(&o, s)) {
            return true;
        }
    }
    return false;
}

static bool table_has(const KvmVm *vm, const KvmSlot *s)
{
    for (unsigned i = 0; i < vm->n_slots; i++) {
        if (vm->slots[i].used && same_place(&vm->slots[i], s)) {
            return true;
        }
    }
    return false;
}

static bool slots_differ(const KvmVm *vm, const FlatView *now)
{
    KvmSlot s;
    for (unsigned i = 0; i < vm->n_slots; i++) {
        if (vm->slots[i].used && !view_has(now, &vm->slots[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < now->n; i++) {
        if (slot_of_range(&now->r[i], &s) && !table_has(vm, &s)) {
            return true;
        }
    }
    return false;
}

static void drop_caches(Machine *m, const FlatView *was, const FlatView *now)
{
    (void)was;
    (void)now;
    enum { FLUSH_TLB = 1, FLUSH_UNITS = 2 }; /* TCG_FLUSH_*: memory that code was decoded from may go away */
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i] && m->cpus[i]->target->kvm->caches_drop) {
            m->cpus[i]->target->kvm->caches_drop(m->cpus[i], FLUSH_TLB | FLUSH_UNITS);
        }
    }
}

/* Slots are what CPUs see outside system-management mode, whose code runs in software, whichever of the two
 * views changed. */
void kvm_memory_changed(Machine *m, const FlatView *was, const FlatView *now)
{
    KvmVm *vm = kvm_vm(m);
    now = as_view(&m->as_mem);
    drop_caches(m, was, now);
    if (!slots_differ(vm, now)) {
        return;
    }
    kvm_gate_close(m);
    pthread_mutex_lock(&vm->slot_lock);
    for (unsigned i = 0; i < vm->n_slots; i++) {
        if (vm->slots[i].used && !view_has(now, &vm->slots[i])) {
            slot_remove(m, i);
        }
    }
    for (uint32_t i = 0; i < now->n; i++) {
        KvmSlot s;
        if (slot_of_range(&now->r[i], &s) && !table_has(vm, &s)) {
            slot_add(m, &s);
        }
    }
    pthread_mutex_unlock(&vm->slot_lock);
    kvm_gate_open(m);
}

/* ---- dirty pages ---- */

/* slot_lock held: what the guest wrote since the last time goes where all other writes are told. */
static void pull_log(Machine *m, unsigned i)
{
    const KvmSlot *s = &kvm_vm(m)->slots[i];
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages = s->size / page;
    g_autofree uint64_t *bits = g_new0(uint64_t, (pages + 63) / 64);
    struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = bits };
    int r = kvm_vm_ioctl(m, KVM_GET_DIRTY_LOG, &log);
    if (r < 0) {
        slot_failed(m, s, r, "read the dirty pages of");
        return;
    }
    for (uint64_t w = 0; w < (pages + 63) / 64; w++) {
        for (uint64_t left = bits[w]; left; left &= left - 1) {
            uint64_t n = w * 64 + (unsigned)__builtin_ctzll(left);
            ram_written(s->ram, s->ram_off + n * page, page);
        }
    }
}

/* Nobody is in KVM_RUN: all of it. */
static void pull_slot(Machine *m, unsigned i)
{
    if (kvm_vm(m)->harvested) {
        kvm_rings_pull(m); /* entries name their slots: before one goes */
    } else {
        pull_log(m, i);
    }
}

void kvm_page_written(Machine *m, uint32_t slot, uint64_t page)
{
    const KvmVm *vm = kvm_vm(m);
    uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);
    if (slot < vm->n_slots && vm->slots[slot].used && page < vm->slots[slot].size / size) {
        ram_written(vm->slots[slot].ram, vm->slots[slot].ram_off + page * size, size);
    }
}

/* Logging begins anew, which protects every page; what was written before is told afterwards. */
void kvm_slots_written(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    for (unsigned i = 0; i < vm->n_slots; i++) {
        KvmSlot *s = &vm->slots[i];
        if (!s->used || !(s->flags & KVM_MEM_LOG_DIRTY_PAGES)) {
            continue;
        }
        s->flags &= ~(uint32_t)KVM_MEM_LOG_DIRTY_PAGES;
        int r = slot_tell(m, i, s->size);
        s->flags |= KVM_MEM_LOG_DIRTY_PAGES;
        r = r < 0 ? r : slot_tell(m, i, s->size);
        if (r < 0) {
            slot_failed(m, s, r, "log writes to");
        }
        ram_written(s->ram, s->ram_off, s->size);
    }
}

void kvm_dirty_pull(Machine *m, RamBlock *ram)
{
    KvmVm *vm = kvm_vm(m);
    pthread_mutex_lock(&vm->slot_lock);
    if (vm->harvested) {
        kvm_rings_flush(m);
    }
    for (unsigned i = 0; !vm->harvested && i < vm->n_slots; i++) {
        if (vm->slots[i].used && vm->slots[i].ram == ram && (vm->slots[i].flags & KVM_MEM_LOG_DIRTY_PAGES)) {
            pull_log(m, i);
        }
    }
    pthread_mutex_unlock(&vm->slot_lock);
}

void kvm_dirty_log(Machine *m, RamBlock *ram, bool on G_GNUC_UNUSED)
{
    KvmVm *vm = kvm_vm(m);
    uint32_t want = is_logged(ram) ? KVM_MEM_LOG_DIRTY_PAGES : 0;
    pthread_mutex_lock(&vm->slot_lock);
    for (unsigned i = 0; i < vm->n_slots; i++) {
        KvmSlot *s = &vm->slots[i];
        if (s->used && s->ram == ram && (s->flags & KVM_MEM_LOG_DIRTY_PAGES) != want) {
            s->flags = (s->flags & ~(uint32_t)KVM_MEM_LOG_DIRTY_PAGES) | want; /* flags may change in place */
            int r = slot_tell(m, i, s->size);
            if (r < 0) {
                slot_failed(m, s, r, "log writes to");
            }
        }
    }
    pthread_mutex_unlock(&vm->slot_lock);
}
