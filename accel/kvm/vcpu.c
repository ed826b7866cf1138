/* SPDX-License-Identifier: MIT
 * accel/kvm/vcpu.c - vCPUs: creation, the run loop, kicks, and whose registers count.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.7 (KVM_CREATE_VCPU), 4.10 (KVM_RUN), 5 (struct
 *   kvm_run).
 * Does not model: KVM_CAP_SYNC_REGS (registers travel only when somebody looks).
 * Threads: the vCPU's own, but kvm_kick(). A kick first makes exit_request visible (system/vcpu.c),
 *   then looks at in_run; the vCPU sets in_run, then looks at exit_request. So either it does not
 *   enter, or it gets the signal; and a signal that comes between the look and the system call sets
 *   immediate_exit, which ends KVM_RUN at once.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- kicks ---- */

#define KICK_SIGNAL (SIGRTMIN + 1)

static __thread struct kvm_run *own_run; /* of the vCPU this thread runs */

static void on_kick(int sig G_GNUC_UNUSED)
{
    if (own_run) {
        __atomic_store_n(&own_run->immediate_exit, 1, __ATOMIC_RELAXED);
    }
}

/* No SA_RESTART: KVM_RUN must come back. */
void kvm_signal_init(void)
{
    struct sigaction a = { .sa_handler = on_kick };
    sigemptyset(&a.sa_mask);
    sigaction(KICK_SIGNAL, &a, NULL);
}

void kvm_kick(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    if (k && __atomic_load_n(&k->in_run, __ATOMIC_SEQ_CST)) {
        pthread_kill(k->thread, KICK_SIGNAL);
    }
}

static void take_thread(KvmVcpu *k)
{
    if (own_run == k->run) {
        return;
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    k->thread = pthread_self();
    own_run = k->run;
}

/* ---- the gate, from the vCPU's side (gate.c) ---- */

static void gate_enter(KvmVm *vm, KvmVcpu *k)
{
    for (;;) {
        __atomic_store_n(&k->in_run, 1, __ATOMIC_SEQ_CST);
        if (G_LIKELY(!__atomic_load_n(&vm->gate_closed, __ATOMIC_SEQ_CST))) {
            return;
        }
        pthread_mutex_lock(&vm->gate_lock);
        __atomic_store_n(&k->in_run, 0, __ATOMIC_SEQ_CST);
        pthread_cond_broadcast(&vm->gate_changed);
        while (__atomic_load_n(&vm->gate_closed, __ATOMIC_SEQ_CST)) {
            pthread_cond_wait(&vm->gate_changed, &vm->gate_lock);
        }
        pthread_mutex_unlock(&vm->gate_lock);
    }
}

static void gate_leave(KvmVm *vm, KvmVcpu *k)
{
    __atomic_store_n(&k->in_run, 0, __ATOMIC_SEQ_CST);
    if (G_UNLIKELY(__atomic_load_n(&vm->gate_closed, __ATOMIC_SEQ_CST))) {
        pthread_mutex_lock(&vm->gate_lock);
        pthread_cond_broadcast(&vm->gate_changed);
        pthread_mutex_unlock(&vm->gate_lock);
    }
}

void kvm_thread_ends(Vcpu *cpu)
{
    if (kvm_of(cpu)) {
        gate_leave(kvm_vm(cpu->machine), kvm_of(cpu));
    }
}

/* ---- registers ---- */

/* An instruction whose access was dispatched is finished by entering again; immediate_exit keeps it at that.
 */
static bool finish_io(Vcpu *cpu, Error **errp)
{
    enum { PIECES = 4096 }; /* a string instruction comes back for each piece */
    KvmVcpu *k = kvm_of(cpu);
    for (unsigned i = 0; k->io_pending; i++) {
        k->io_pending = false;
        k->run->immediate_exit = 1;
        int r = ioctl(k->fd, KVM_RUN, 0);
        int err = errno;
        k->run->immediate_exit = 0;
        kvm_coalesced_writes(cpu);
        if (r < 0 && err != EINTR) {
            return error_set_errno(errp, err, "vCPU %u: KVM_RUN, to finish an access, failed", cpu->index);
        }
        if (r == 0 && i < PIECES && kvm_dispatch_io(cpu)) {
            continue;
        }
        if (r == 0 && k->run->exit_reason == KVM_EXIT_DEBUG) { /* a step ended with the access */
            VcpuExit out;
            cpu->target->kvm->exit(cpu, &out);
        }
    }
    return true;
}

bool kvm_own_state(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    Error *err = NULL;
    if (k->own) {
        return true;
    }
    if (!finish_io(cpu, &err) || !cpu->target->kvm->pull(cpu, &err)) {
        error_report(err);
        machine_request_stop(cpu->machine, RUN_INTERNAL_ERROR);
        return false;
    }
    k->own = true;
    return true;
}

bool kvm_state_owned(const Vcpu *cpu)
{
    return kvm_of(cpu)->own;
}

void kvm_regs_pull(Vcpu *cpu)
{
    kvm_own_state(cpu);
}

static bool push_state(Vcpu *cpu, Error **errp)
{
    KvmVcpu *k = kvm_of(cpu);
    if (!cpu->target->kvm->push(cpu, k->fresh, errp)) {
        return false;
    }
    k->own = k->fresh = k->io_pending = false;
    return true;
}

/* Own thread, parked. */
void kvm_push_fresh(void *opaque)
{
    Vcpu *cpu = opaque;
    Error *err = NULL;
    if (kvm_of(cpu)->fresh && !push_state(cpu, &err)) {
        error_report(err);
        machine_request_stop(cpu->machine, RUN_INTERNAL_ERROR);
    }
}

/* Reset and load changed the CPU struct. It goes to KVM before anything runs that could interrupt this CPU: a
 * local APIC in the kernel that is written later would lose what came meanwhile. */
void kvm_regs_push(Vcpu *cpu)
{
    kvm_of(cpu)->own = kvm_of(cpu)->fresh = true;
    if (machine_running(cpu->machine)) {
        kvm_push_fresh(cpu);
    }
}

/* Local APICs in the kernel, of one that parked before the others: their IPIs, and devices' interrupts, are
 * there only. There and back: what was done to the struct since stays (an INIT or start-up IPI apart, which
 * undoes it), and the local APIC is not written. A state that KVM cannot have is left alone. */
void kvm_regs_settle(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    Error *err = NULL;
    if (kvm_irqchip(cpu->machine) == IRQCHIP_OFF || !k->own || k->fresh || !cpu->target->kvm->can_push(cpu)) {
        return;
    }
    if (!push_state(cpu, &err)) {
        error_report(err);
        machine_request_stop(cpu->machine, RUN_INTERNAL_ERROR);
        return;
    }
    kvm_own_state(cpu);
}

/* ---- life ---- */

bool kvm_vcpu_init(Vcpu *cpu, Error **errp)
{
    Machine *m = cpu->machine;
    KvmVcpu *k = g_new0(KvmVcpu, 1);
    k->fd = k->stats_fd = -1;
    k->own = k->fresh = true;
    cpu->accel = k;
    int fd = kvm_vm_ioctl(m, KVM_CREATE_VCPU, (void *)(uintptr_t)cpu->index);
    if (fd < 0) {
        error_set_errno(errp, -fd, "accelerator 'kvm': vCPU %u cannot be created", cpu->index);
        error_hint(errp,
                   fd == -ENOMEM ? "the host has no memory for it" : "use fewer CPUs (-smp), or -accel tcg");
        kvm_vcpu_fini(cpu);
        return false;
    }
    k->fd = fd;
    k->stats_fd = kvm_stats_open_vcpu(cpu);
    k->run_size = kvm_vm(m)->run_size;
    void *run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (run == MAP_FAILED) {
        error_set_errno(errp, errno, "accelerator 'kvm': the run structure of vCPU %u cannot be mapped",
                        cpu->index);
        kvm_vcpu_fini(cpu);
        return false;
    }
    k->run = run;
    if (!kvm_ring_open(cpu, errp) || !cpu->target->kvm->vcpu_init(cpu, errp)) {
        kvm_vcpu_fini(cpu);
        return false;
    }
    return true;
}

void kvm_vcpu_fini(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    if (!k) {
        return;
    }
    kvm_ring_close(cpu);
    cpu->target->kvm->vcpu_fini(cpu);
    if (own_run == k->run) {
        own_run = NULL;
    }
    if (k->run) {
        munmap(k->run, k->run_size);
    }
    if (k->stats_fd >= 0) {
        close(k->stats_fd);
    }
    if (k->fd >= 0) {
        close(k->fd);
    }
    g_free(k);
    cpu->accel = NULL;
}

/* ---- running ---- */

static bool asked_to_leave(const Vcpu *cpu)
{
    return __atomic_load_n(&cpu->exit_request, __ATOMIC_SEQ_CST);
}

static KvmNext enter_guest(Vcpu *cpu, VcpuExit *out)
{
    KvmVcpu *k = kvm_of(cpu);
    KvmVm *vm = kvm_vm(cpu->machine);
    Error *failed = NULL;
    if (k->own && !push_state(cpu, &failed)) {
        error_report(failed);
        out->why = EXIT_ERROR;
        return KVM_NEXT_LEAVE;
    }
    gate_enter(vm, k);
    if (asked_to_leave(cpu)) {
        gate_leave(vm, k);
        return KVM_NEXT_AGAIN;
    }
    k->stats.runs++;
    int r = ioctl(k->fd, KVM_RUN, 0);
    int err = r < 0 ? errno : 0;
    gate_leave(vm, k);
    __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_RELAXED);
    k->io_pending = false;
    kvm_coalesced_writes(cpu);
    cpu->target->kvm->left(cpu);
    if (err == EINTR || err == EAGAIN) { /* EAGAIN: a CPU that waits for its start-up IPI may say so */
        k->stats.signals++;
        return KVM_NEXT_AGAIN;
    }
    return err ? kvm_run_failed(cpu, err, out) : kvm_exit(cpu, out);
}

VcpuExit kvm_run_loop(Vcpu *cpu)
{
    VcpuExit out = { .why = EXIT_KICKED };
    take_thread(kvm_of(cpu));
    for (;;) {
        if (asked_to_leave(cpu)) {
            __atomic_store_n(&cpu->exit_request, 0, __ATOMIC_SEQ_CST);
            out.why = EXIT_KICKED;
            return out;
        }
        if (G_UNLIKELY(cpu->debug.hit)) {
            out.why = EXIT_DEBUG;
            return out;
        }
        KvmNext next = cpu->target->kvm->enter(cpu, &out);
        if (next == KVM_NEXT_ENTER) {
            next = enter_guest(cpu, &out);
        }
        if (next == KVM_NEXT_LEAVE) {
            return out;
        }
    }
}
