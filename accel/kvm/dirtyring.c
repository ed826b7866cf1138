/* SPDX-License-Identifier: MIT
 * accel/kvm/dirtyring.c - dirty pages by ring (dirty-ring-size=N): each vCPU has one, which KVM fills and we
 *   empty.
 * Models: Linux Documentation/virt/kvm/api.rst, 8.29 (KVM_CAP_DIRTY_LOG_RING, _ACQ_REL). An entry goes from
 *   invalid to dirty (KVM), to harvested (here), to invalid (KVM, at KVM_RESET_DIRTY_RINGS, which protects
 *   its page again: so pages are told of behind that, and read later still).
 * Does not model: the bitmap beside the ring (KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP): x86 writes no guest memory
 *   without a vCPU. A thread that empties rings in time: a full one is an exit, and emptied there.
 * Threads: rings under slot_lock, whoever empties them. A vCPU in KVM_RUN may hold back what the processor
 *   logged (PML) until it leaves: whoever asks makes it leave, and finds that the next time.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct DirtyPage {
    uint32_t slot;
    uint64_t page;
} DirtyPage;

/* ---- one ring ---- */

static struct kvm_dirty_gfn *entry_at(const KvmDirtyRing *r, uint32_t i)
{
    return &r->gfns[(r->next + i) & (r->entries - 1)];
}

static uint32_t flags_at(const KvmDirtyRing *r, uint32_t i)
{
    return __atomic_load_n(&entry_at(r, i)->flags, __ATOMIC_ACQUIRE);
}

static void give_back(KvmDirtyRing *r, uint32_t i)
{
    __atomic_store_n(&entry_at(r, i)->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

/* After an overrun KVM fills further ahead than it takes back. Entries between were overwritten; they are
 * given back without a page, up to the last one that is filled, which is never too many. When a single gap
 * was in front, that was all there is, and KVM is where we are; when the gap itself was filled, it overran
 * once more. */
static KvmHarvest harvest_lost(KvmDirtyRing *r, KvmPageFn page, void *opaque)
{
    KvmHarvest h = { 0 };
    uint32_t first = r->entries;
    for (uint32_t i = 0; i < r->entries; i++) {
        if (flags_at(r, i) == KVM_DIRTY_GFN_F_DIRTY) {
            page(opaque, entry_at(r, i)->slot, entry_at(r, i)->offset);
            first = MIN(first, i);
            h.marked = i + 1;
            h.pages++;
        }
    }
    for (uint32_t i = 0; i < h.marked; i++) {
        if (flags_at(r, i) != KVM_DIRTY_GFN_F_DIRTY) {
            entry_at(r, i)->slot = UINT32_MAX;
        }
        give_back(r, i);
    }
    h.overrun = h.pages && (first == 0 || h.pages != h.marked - first);
    r->lost = !h.pages || h.overrun;
    return h;
}

KvmHarvest kvm_ring_harvest(KvmDirtyRing *r, KvmPageFn page, void *opaque)
{
    KvmHarvest h = { 0 };
    if (r->gfns && r->lost) {
        return harvest_lost(r, page, opaque);
    }
    for (; r->gfns && h.marked < r->entries; h.marked++) {
        uint32_t flags = flags_at(r, h.marked);
        if (flags == KVM_DIRTY_GFN_F_DIRTY) {
            page(opaque, entry_at(r, h.marked)->slot, entry_at(r, h.marked)->offset);
            give_back(r, h.marked);
            h.pages++;
        } else if (!(flags & KVM_DIRTY_GFN_F_RESET)) {
            break;
        }
    }
    h.overrun = h.pages && h.pages == r->entries; /* KVM leaves the guest before the last entry */
    r->lost = h.overrun;
    return h;
}

void kvm_ring_unstick(KvmDirtyRing *r)
{
    r->lost = true;
    entry_at(r, 0)->slot = UINT32_MAX;
    give_back(r, 0);
}

/* The rings lie behind the run structure, in the same descriptor, however long that is. */
bool kvm_ring_open(Vcpu *cpu, Error **errp)
{
    KvmVm *vm = kvm_vm(cpu->machine);
    KvmDirtyRing *r = &kvm_of(cpu)->ring;
    if (!vm->dirty_ring_size) {
        return true;
    }
    off_t at = (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE);
    void *p = mmap(NULL, vm->dirty_ring_size * sizeof(struct kvm_dirty_gfn), PROT_READ | PROT_WRITE,
                   MAP_SHARED, kvm_of(cpu)->fd, at);
    if (p == MAP_FAILED) {
        error_set_errno(errp, errno, "accelerator 'kvm': the ring of dirty pages of vCPU %u cannot be mapped",
                        cpu->index);
        error_hint(errp, "leave dirty-ring-size out: dirty pages come from KVM's log then");
        return false;
    }
    pthread_mutex_lock(&vm->slot_lock);
    *r = (KvmDirtyRing){ .gfns = p, .entries = vm->dirty_ring_size, .cpu = cpu, .next_ring = vm->rings };
    vm->rings = r;
    pthread_mutex_unlock(&vm->slot_lock);
    return true;
}

void kvm_ring_close(Vcpu *cpu)
{
    KvmVm *vm = kvm_vm(cpu->machine);
    KvmDirtyRing *r = &kvm_of(cpu)->ring;
    if (!r->gfns) {
        return;
    }
    pthread_mutex_lock(&vm->slot_lock);
    kvm_rings_pull(cpu->machine);
    KvmDirtyRing **at = &vm->rings;
    while (*at != r) {
        at = &(*at)->next_ring;
    }
    *at = r->next_ring;
    pthread_mutex_unlock(&vm->slot_lock);
    munmap(r->gfns, r->entries * sizeof(*r->gfns));
    r->gfns = NULL;
}

/* ---- all of them ---- */

static bool refuse(Error **errp, uint32_t n, const char *why, const char *cure)
{
    error_set(errp, "accelerator 'kvm': dirty-ring-size=%u: %s", n, why);
    error_hint(errp, "%s", cure);
    return false;
}

bool kvm_rings_init(Machine *m, Error **errp)
{
    KvmVm *vm = kvm_vm(m);
    uint32_t n = vm->dirty_ring_size;
    if (!n) {
        return true;
    }
    if (n & (n - 1)) {
        return refuse(errp, n, "the entries of a ring are a power of two",
                      "use 4096, or another power of two");
    }
    unsigned cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
    int most = kvm_cap(m, cap);
    if (!most) { /* x86 keeps the order of both, whatever they are called */
        cap = KVM_CAP_DIRTY_LOG_RING;
        most = kvm_cap(m, cap);
    }
    if (!most) {
        return refuse(
            errp, n, "this kernel's KVM has no rings of dirty pages (KVM_CAP_DIRTY_LOG_RING)",
            "Linux has them since 5.11: use a later kernel, or leave dirty-ring-size out: dirty pages "
            "come from KVM's log then");
    }
    unsigned limit = (unsigned)most / sizeof(struct kvm_dirty_gfn);
    if (n > limit) {
        g_autofree char *why = g_strdup_printf("this kernel's KVM takes %u entries at most", limit);
        return refuse(errp, n, why, "use fewer: a ring that gets full is emptied at once");
    }
    int r = kvm_enable_cap(m, cap, n * sizeof(struct kvm_dirty_gfn));
    if (r < 0) {
        g_autofree char *why = g_strdup_printf("KVM does not take it: %s", g_strerror(-r));
        return refuse(errp, n, why,
                      r == -EINVAL
                          ? "a ring has room for what a processor logs at once: use 1024 entries or more"
                          : "leave dirty-ring-size out: dirty pages come from KVM's log then");
    }
    vm->harvested = g_array_new(FALSE, FALSE, sizeof(DirtyPage));
    return true;
}

void kvm_rings_fini(Machine *m)
{
    g_clear_pointer(&kvm_vm(m)->harvested, g_array_unref);
}

static void keep_page(void *opaque, uint32_t slot, uint64_t page)
{
    DirtyPage p = { slot, page };
    g_array_append_val((GArray *)opaque, p);
}

/* A ring overran: any page may have been written, and such a page is not protected again. */
static void pages_lost(Machine *m)
{
    static bool said;
    log_warn_once(
        &said, "this host's KVM lets guests write on when a ring of dirty pages is full: all memory counts "
               "as written then; leave dirty-ring-size out, or use a larger one");
    kvm_vm(m)->ring_overruns++;
    kvm_slots_written(m);
}

/* Newer kernels end a reset early when a signal waits, and tell how many entries they took back: those of
 * this ring, since all others have none that are harvested. */
static int take_back(Machine *m, KvmDirtyRing *r, unsigned n)
{
    unsigned idle = 0;
    while (n && idle < 10) {
        int back = kvm_vm_ioctl(m, KVM_RESET_DIRTY_RINGS, NULL);
        if (back < 0) {
            return back;
        }
        idle = back ? 0 : idle + 1;
        r->next += (unsigned)back;
        n -= MIN((unsigned)back, n);
    }
    return (int)n; /* not 0: they were overwritten meanwhile */
}

static void take_back_failed(Machine *m, int err)
{
    Error *e = NULL;
    error_set_errno(&e, -err, "KVM_RESET_DIRTY_RINGS failed: pages that are written would not be told");
    error_hint(&e, "leave dirty-ring-size out: dirty pages come from KVM's log then");
    error_report(e);
    machine_request_stop(m, RUN_INTERNAL_ERROR);
}

static unsigned pull_ring(Machine *m, KvmDirtyRing *r)
{
    KvmVm *vm = kvm_vm(m);
    g_array_set_size(vm->harvested, 0);
    /* What KVM fills while the gap is looked for may be missed. */
    bool racing = r->lost && __atomic_load_n(&kvm_of(r->cpu)->in_run, __ATOMIC_SEQ_CST);
    KvmHarvest h = kvm_ring_harvest(r, keep_page, vm->harvested);
    int left = take_back(m, r, h.marked);
    if (left < 0) {
        take_back_failed(m, left);
    }
    for (guint i = 0; i < vm->harvested->len; i++) {
        const DirtyPage *p = &g_array_index(vm->harvested, DirtyPage, i);
        kvm_page_written(m, p->slot, p->page);
    }
    if (h.overrun || left > 0 || (racing && h.marked)) {
        r->lost = true;
        pages_lost(m);
    }
    vm->ring_pages += h.pages;
    r->pulls += h.marked != 0;
    return h.pages;
}

void kvm_rings_pull(Machine *m)
{
    for (KvmDirtyRing *r = kvm_vm(m)->rings; r; r = r->next_ring) {
        pull_ring(m, r);
    }
}

void kvm_rings_flush(Machine *m)
{
    for (KvmDirtyRing *r = kvm_vm(m)->rings; r; r = r->next_ring) {
        kvm_kick(r->cpu);
    }
    kvm_rings_pull(m);
}

/* Full, and nothing is in it: another thread was here before; or, when that comes again, KVM is ahead of
 * itself after an overrun, and gets one entry after the other back until it runs on. */
KvmNext kvm_ring_full(Vcpu *cpu, VcpuExit *out)
{
    enum { PATIENCE = 1 << 20 };
    KvmVm *vm = kvm_vm(cpu->machine);
    KvmDirtyRing *r = &kvm_of(cpu)->ring;
    if (!r->gfns) {
        return kvm_give_up(cpu, out, "KVM says that its ring of dirty pages is full, and there is none");
    }
    pthread_mutex_lock(&vm->slot_lock);
    vm->ring_full++;
    bool stuck = r->pulls == r->full_pulls, any = pull_ring(cpu->machine, r);
    r->stuck = stuck && !any ? r->stuck + 1 : 0;
    if (r->stuck > 2) {
        kvm_ring_unstick(r);
        take_back(cpu->machine, r, 1);
    }
    r->full_pulls = r->pulls;
    pthread_mutex_unlock(&vm->slot_lock);
    return r->stuck < PATIENCE
               ? KVM_NEXT_AGAIN
               : kvm_give_up(cpu, out, "KVM says that its ring of dirty pages is full, and nothing is in it");
}
