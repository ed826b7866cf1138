/* SPDX-License-Identifier: MIT
 * accel/kvm/kvm.c - the accelerator: options, creation of the VM, the ioctls others use, statistics.
 * Models: Linux Documentation/virt/kvm/api.rst: system and VM ioctls.
 * Does not model: protected guests, nested guests.
 * Threads: set-up on the main loop; the ioctl functions from any thread.
 */
#include "kvm_internal.h"
#include "rhea/accel/tcg.h"
#include "rhea/system/doorbell.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CHIP_AUTO }; /* the names in order: irqchip.c */
static const char *const chip_names[] = { "auto", "on", "off", "split", NULL };

static const Prop kvm_props[] = {
    PROP_ENUM(KvmVm, irqchip_option, "kernel-irqchip", CHIP_AUTO, chip_names,
              "interrupt controllers in the kernel: all (on), local APICs only (split), none (off)"),
    PROP_U32(KvmVm, dirty_ring_size, "dirty-ring-size", 0, 0, UINT32_MAX,
             "dirty pages come from a ring of so many entries for each vCPU; 0: from KVM's log"),
    PROP_BOOL(KvmVm, complete, "complete", true, "instructions that KVM gives up on run in software"),
    PROP_U64(KvmVm, complete_limit, "complete-limit", 0, 0, UINT64_MAX,
             "stop with an error after so many of them; 0: no limit"),
    { .name = NULL },
};

/* ---- ioctls ---- */

static int again(int fd, unsigned long request, void *arg)
{
    int r;
    do {
        r = ioctl(fd, request, arg);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int kvm_sys_ioctl(const Machine *m, unsigned long request, void *arg)
{
    return again(kvm_vm(m)->sys_fd, request, arg);
}
int kvm_vm_ioctl(const Machine *m, unsigned long request, void *arg)
{
    return again(kvm_vm(m)->vm_fd, request, arg);
}
int kvm_vcpu_ioctl(const Vcpu *cpu, unsigned long request, void *arg)
{
    return again(kvm_of(cpu)->fd, request, arg);
}

int kvm_cap(const Machine *m, unsigned cap)
{
    const KvmVm *vm = kvm_vm(m);
    int r = again(vm->vm_fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)cap);
    if (r < 0) { /* kernels before 3.17 ask the device */
        r = again(vm->sys_fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)cap);
    }
    return MAX(r, 0);
}

int kvm_enable_cap(const Machine *m, unsigned cap, uint64_t arg)
{
    struct kvm_enable_cap c = { .cap = cap, .args = { arg } };
    return kvm_vm_ioctl(m, KVM_ENABLE_CAP, &c);
}

int kvm_scratch_vcpu(const Machine *m, int *vm_fd)
{
    int vm = again(kvm_vm(m)->sys_fd, KVM_CREATE_VM, NULL);
    *vm_fd = MAX(vm, -1);
    int fd = vm < 0 ? -1 : again(vm, KVM_CREATE_VCPU, NULL);
    return MAX(fd, -1);
}

struct kvm_run *kvm_vcpu_run(const Vcpu *cpu)
{
    return kvm_of(cpu)->run;
}
bool kvm_used(const Machine *m)
{
    return m->accel == &accel_kvm_ops;
}
KvmIrqchip kvm_irqchip(const Machine *m)
{
    return kvm_used(m) ? kvm_vm(m)->irqchip : IRQCHIP_OFF;
}
bool kvm_completes(const Machine *m)
{
    return kvm_vm(m)->complete;
}
uint64_t kvm_complete_limit(const Machine *m)
{
    return kvm_vm(m)->complete_limit;
}

int64_t kvm_clock_ahead(const Machine *m)
{
    int64_t now = clock_now(m->clock), stopped = (int64_t)kvm_vm(m)->clock_stopped;
    return m->clock == &m->stop_clock.clock ? MAX(stopped - now, 0) : 0;
}

/* ---- the VM ---- */

/* Options of the machine that reach what the interpreter runs, but not what the processor does. */
static void say_what_is_not(const Machine *m)
{
    if (m->seeded) {
        log_warn(
            "-seed: on KVM the guest's RDRAND and RDSEED are the processor's own; -accel tcg repeats them");
    }
    if (log_on(LOG_IN_ASM | LOG_INT | LOG_EXEC | LOG_CPU | LOG_MMU)) {
        log_warn("-d: on KVM only what runs in software is logged; -accel tcg logs all of it");
    }
}

/* The paravirtual clock stops and goes on with virtual time, whatever the kernel's did meanwhile. It never
 * goes back. */
static void state_changed(void *opaque, RunState was, RunState now)
{
    Machine *m = opaque;
    KvmVm *vm = kvm_vm(m);
    struct kvm_clock_data c = { 0 };
    const TargetOps *t = m->board->target;
    if (t && t->kvm->debug_running && (was == RUN_RUNNING || now == RUN_RUNNING)) {
        t->kvm->debug_running(m, now == RUN_RUNNING);
    }
    if (was == RUN_RUNNING) {
        kvm_chips_running(m, false);
    }
    if (was == RUN_RUNNING && kvm_vm_ioctl(m, KVM_GET_CLOCK, &c) == 0) {
        vm->clock_stopped = c.clock;
    }
    if (now == RUN_RUNNING) {
        c = (struct kvm_clock_data){ .clock = MAX((uint64_t)clock_now(m->clock), vm->clock_stopped) };
        kvm_vm_ioctl(m, KVM_SET_CLOCK, &c);
        for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
            vcpu_run_on_wait(m->cpus[i], kvm_push_fresh, m->cpus[i]);
            kvm_vcpu_ioctl(m->cpus[i], KVM_KVMCLOCK_CTRL, NULL); /* fails where the guest has no such clock */
        }
        kvm_chips_running(m, true);
    }
}

static bool kvm_machine_init(Machine *m, Error **errp)
{
    KvmVm *vm = kvm_vm(m);
    const TargetOps *t = m->board->target;
    vm->sys_fd = vm->vm_fd = vm->stats_fd = -1;
    pthread_mutex_init(&vm->slot_lock, NULL);
    pthread_mutex_init(&vm->route_lock, NULL);
    pthread_mutex_init(&vm->ring_lock, NULL);
    pthread_mutex_init(&vm->gate_lock, NULL);
    pthread_cond_init(&vm->gate_changed, NULL);
    vm->up = true;
    if (t && !t->kvm) { /* board "none" has no CPU to run */
        return error_set(errp, "accelerator 'kvm' cannot run guest architecture '%s'", t->name);
    }
    vm->sys_fd = kvm_open(KVM_DEVICE, errp);
    if (vm->sys_fd < 0) {
        error_prefix(errp, "accelerator 'kvm'");
        return false;
    }
    int size = again(vm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (size < (int)sizeof(struct kvm_run)) {
        return error_set(
            errp, "accelerator 'kvm': the kernel's run structure has %d bytes, at least %zu are needed", size,
            sizeof(struct kvm_run));
    }
    vm->run_size = (size_t)size;
    vm->vm_fd = kvm_create_vm(vm->sys_fd, errp);
    if (vm->vm_fd < 0) {
        error_prefix(errp, "accelerator 'kvm'");
        return false;
    }
    vm->stats_fd = kvm_stats_open_vm(m);
    say_what_is_not(m);
    int most = kvm_cap(m, KVM_CAP_MAX_VCPUS);
    if (most > 0 && m->n_cpus > (unsigned)most) {
        return error_set(errp, "accelerator 'kvm': this host's KVM takes %d CPUs, %u are asked for", most,
                         m->n_cpus);
    }
    kvm_signal_init();
    kvm_coalesce_init(m);
    vm->listener = (MachineListener){ .state = state_changed, .opaque = m };
    machine_add_first_listener(m, &vm->listener);
    return kvm_memory_init(m, errp) && kvm_rings_init(m, errp) && kvm_irqchip_init(m, errp) &&
           (!t || t->kvm->machine_init(m, errp));
}

/* Descriptors of vCPUs are closed by then. Closing the VM's lets go of guest memory. */
static void kvm_machine_fini(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    if (!vm->up) {
        return;
    }
    kvm_memory_fini(m);
    kvm_rings_fini(m);
    kvm_coalesce_fini(m);
    kvm_chips_fini(m);
    kvm_routes_fini(m);
    if (vm->stats_fd >= 0) {
        close(vm->stats_fd);
    }
    if (vm->vm_fd >= 0) {
        close(vm->vm_fd);
    }
    if (vm->sys_fd >= 0) {
        close(vm->sys_fd);
    }
    pthread_mutex_destroy(&vm->slot_lock);
    pthread_mutex_destroy(&vm->route_lock);
    pthread_mutex_destroy(&vm->ring_lock);
    pthread_mutex_destroy(&vm->gate_lock);
    pthread_cond_destroy(&vm->gate_changed);
    machine_remove_listener(m, &vm->listener);
    machine_clock_not_before(m, (int64_t)vm->clock_stopped); /* what the guest may have seen of it */
    memset(&vm->sys_fd, 0, sizeof(*vm) - offsetof(KvmVm, sys_fd));
}

static void kvm_code_written(Machine *m, RamBlock *ram, uint64_t off, uint64_t len)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i] && m->cpus[i]->target->kvm->code_written) {
            m->cpus[i]->target->kvm->code_written(m->cpus[i], ram, off, len);
        }
    }
}

static void kvm_ram_watched(Machine *m, RamBlock *ram G_GNUC_UNUSED)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i] && m->cpus[i]->target->kvm->caches_drop) {
            m->cpus[i]->target->kvm->caches_drop(m->cpus[i], TCG_RECHECK_WRITES);
        }
    }
}

static bool kvm_debug_point(Machine *m, const DebugPoint *p, bool add, Error **errp)
{
    const KvmTargetOps *t = m->board->target->kvm;
    return !t->debug_point || t->debug_point(m, p, add, errp);
}

static bool kvm_runs_halted(const Vcpu *cpu)
{
    return kvm_irqchip(cpu->machine) != IRQCHIP_OFF;
}

static void kvm_describe(Machine *m, GString *out)
{
    static const char *const chips[] = { "off", "split", "on" };
    const KvmVm *vm = kvm_vm(m);
    unsigned used = 0;
    for (unsigned i = 0; i < vm->n_slots; i++) {
        used += vm->slots[i].used;
    }
    g_string_append_printf(out, "accelerator kvm, kernel-irqchip=%s, %u memory slots\n", chips[vm->irqchip],
                           used);
    if (vm->harvested) {
        g_string_append_printf(out,
                               "rings of %u dirty pages: %" PRIu64 " taken, full %" PRIu64
                               " times, overrun %" PRIu64 "\n",
                               vm->dirty_ring_size, vm->ring_pages, vm->ring_full, vm->ring_overruns);
    }
    if (vm->coalesced) {
        g_string_append_printf(out, "%" PRIu64 " writes came without an exit\n", vm->coalesced);
    }
    if (vm->irqchip != IRQCHIP_OFF) {
        uint64_t sent, rung;
        unsigned routes = kvm_routes_count(m, &sent), bells = doorbells_count(m, &rung);
        g_string_append_printf(out,
                               "%u message routes, %" PRIu64 " sent; %u doorbells, %" PRIu64 " rung\n",
                               routes, sent, bells, rung);
    }
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        const KvmVcpu *k = m->cpus[i] ? kvm_of(m->cpus[i]) : NULL;
        if (!k) {
            continue;
        }
        const KvmStats *s = &k->stats;
        g_string_append_printf(out,
                               "vCPU %u:\n  entries              %" PRIu64 "\n  exits: ports         %" PRIu64
                               "\n         registers     %" PRIu64 "\n         halts         %" PRIu64
                               "\n         windows       %" PRIu64 "\n         signals       %" PRIu64
                               "\n         others        %" PRIu64 "\n",
                               i, s->runs, s->io, s->mmio, s->hlt, s->irq_window, s->signals, s->other);
        if (m->cpus[i]->target->kvm->describe) {
            m->cpus[i]->target->kvm->describe(m->cpus[i], out);
        }
    }
}

const AccelOps accel_kvm_ops = {
    .name = "kvm",
    .desc = "hardware virtualization by the Linux kernel",
    .props = kvm_props,
    .state_size = sizeof(KvmVm),
    .available = kvm_available,
    .machine_init = kvm_machine_init,
    .machine_fini = kvm_machine_fini,
    .memory_changed = kvm_memory_changed,
    .vcpu_init = kvm_vcpu_init,
    .vcpu_fini = kvm_vcpu_fini,
    .run = kvm_run_loop,
    .kick = kvm_kick,
    .thread_ends = kvm_thread_ends,
    .regs_pull = kvm_regs_pull,
    .regs_push = kvm_regs_push,
    .regs_settle = kvm_regs_settle,
    .runs_halted = kvm_runs_halted,
    .code_written = kvm_code_written,
    .ram_watched = kvm_ram_watched,
    .dirty_log = kvm_dirty_log,
    .dirty_pull = kvm_dirty_pull,
    .describe = kvm_describe,
    .stats = kvm_stats,
    .debug_kinds = (1 << DEBUG_POINT_KINDS) - 1 + (1 << DEBUG_STEP),
    .debug_point = kvm_debug_point,
    .irqchip = &kvm_irqchip_ops,
};
