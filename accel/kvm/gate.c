/* SPDX-License-Identifier: MIT
 * accel/kvm/gate.c - keeping every vCPU out of KVM_RUN for the moment in which memory slots change.
 * Models: a slot can only be changed by removing it first; a vCPU that runs in between would see a
 *   hole.
 * Does not model: two closers at once: the machine's topology lock is held around.
 * Threads: any. Whoever closes may be a vCPU inside a register handler: it is not in KVM_RUN. A vCPU
 *   that waits here holds no lock, so the closer may hold any domain and the topology lock.
 */
#include "kvm_internal.h"

static bool any_in_run(const Machine *m)
{
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i] && kvm_of(m->cpus[i]) &&
            __atomic_load_n(&kvm_of(m->cpus[i])->in_run, __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

void kvm_gate_close(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    pthread_mutex_lock(&vm->gate_lock);
    __atomic_store_n(&vm->gate_closed, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; m->cpus && i < m->n_cpus; i++) {
        if (m->cpus[i] && kvm_of(m->cpus[i])) {
            kvm_kick(m->cpus[i]);
        }
    }
    while (any_in_run(m)) {
        pthread_cond_wait(&vm->gate_changed, &vm->gate_lock);
    }
    pthread_mutex_unlock(&vm->gate_lock);
}

void kvm_gate_open(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    pthread_mutex_lock(&vm->gate_lock);
    __atomic_store_n(&vm->gate_closed, false, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&vm->gate_changed);
    pthread_mutex_unlock(&vm->gate_lock);
}
