/* SPDX-License-Identifier: MIT
 * accel/kvm/exits.c - why a guest stopped: accesses are dispatched in place, everything that ends a run
 *   is explained.
 * Models: Linux Documentation/virt/kvm/api.rst, 5 (exit reasons).
 * Does not model: exits of other architectures.
 * Threads: the vCPU's own, no domain held; the dispatch takes the device's.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <errno.h>
#include <string.h>

/* ---- accesses ---- */

static MemAttrs attrs_of(const Vcpu *cpu)
{
    return (MemAttrs){ .cpu = true, .requester = (uint16_t)cpu->index };
}

static void access_one(AddressSpace *as, hwaddr addr, unsigned size, bool write, uint8_t *data,
                       MemAttrs attrs)
{
    uint64_t v = 0;
    if (write) {
        memcpy(&v, data, size);
        as_store(as, addr, size, GUINT64_FROM_LE(v), attrs);
        return;
    }
    as_load(as, addr, size, &v, attrs);
    v = GUINT64_TO_LE(v);
    memcpy(data, &v, size);
}

/* The kernel tells sizes and place; what does not fit the structure is not touched. */
static bool dispatch_port(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    const struct kvm_run *run = k->run;
    uint64_t bytes = (uint64_t)run->io.size * run->io.count;
    if ((run->io.size != 1 && run->io.size != 2 && run->io.size != 4) || run->io.data_offset > k->run_size ||
        bytes > k->run_size - run->io.data_offset) {
        return false;
    }
    uint8_t *p = (uint8_t *)k->run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, p += run->io.size) {
        access_one(&cpu->machine->as_io, run->io.port, run->io.size, run->io.direction == KVM_EXIT_IO_OUT, p,
                   attrs_of(cpu));
    }
    k->stats.io++;
    return true;
}

static bool dispatch_memory(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    struct kvm_run *run = k->run;
    uint32_t n = run->mmio.len;
    if (!n || n > sizeof(run->mmio.data)) {
        return false;
    }
    if ((n & (n - 1)) == 0) {
        access_one(&cpu->machine->as_mem, run->mmio.phys_addr, n, run->mmio.is_write, run->mmio.data,
                   attrs_of(cpu));
    } else { /* a piece of an access that crosses pages */
        as_access(&cpu->machine->as_mem, run->mmio.phys_addr, run->mmio.data, n, run->mmio.is_write,
                  attrs_of(cpu));
    }
    k->stats.mmio++;
    return true;
}

bool kvm_dispatch_io(Vcpu *cpu)
{
    KvmVcpu *k = kvm_of(cpu);
    bool done = k->run->exit_reason == KVM_EXIT_IO     ? dispatch_port(cpu)
                : k->run->exit_reason == KVM_EXIT_MMIO ? dispatch_memory(cpu)
                                                       : false;
    k->io_pending |= done;
    return done;
}

/* ---- the end ---- */

static void append_registers(Vcpu *cpu, GString *text)
{
    KvmVcpu *k = kvm_of(cpu);
    Error *err = NULL;
    if (k->fd < 0 || !cpu->target->print_regs) {
        return;
    }
    if (!k->own && !cpu->target->kvm->pull(cpu, &err)) {
        g_string_append_printf(text, "\n(registers cannot be read: %s)", error_text(err));
        error_free(err);
        return;
    }
    k->own = true;
    g_string_append_c(text, '\n');
    cpu->target->print_regs(cpu, text);
    while (text->len && text->str[text->len - 1] == '\n') {
        g_string_truncate(text, text->len - 1);
    }
}

KvmNext kvm_give_up(Vcpu *cpu, VcpuExit *out, const char *fmt, ...)
{
    g_autoptr(GString) text = g_string_new(NULL);
    va_list ap;
    va_start(ap, fmt);
    g_string_append_vprintf(text, fmt, ap);
    va_end(ap);
    append_registers(cpu, text);
    Error *err = NULL;
    error_set(&err, "vCPU %u: %s", cpu->index, text->str);
    error_hint(&err, "the machine is stopped; the monitor can look at it, -accel tcg may run this guest");
    error_report(err);
    out->why = EXIT_ERROR;
    return KVM_NEXT_LEAVE;
}

KvmNext kvm_run_failed(Vcpu *cpu, int err, VcpuExit *out)
{
    switch (err) {
    case EFAULT:
        return kvm_give_up(
            cpu, out,
            "KVM_RUN failed: the guest touched memory that the host cannot provide (bad address: "
            "the backing is gone or was never there)");
    case ENOEXEC: return kvm_give_up(cpu, out, "KVM_RUN failed: the vCPU was not initialized completely");
    case ENOSYS:
        return kvm_give_up(cpu, out, "KVM_RUN failed: the kernel does not have a feature this guest needs");
    case EPERM: return kvm_give_up(cpu, out, "KVM_RUN failed: a feature of this vCPU was not completed");
    case ENOMEM: return kvm_give_up(cpu, out, "KVM_RUN failed: the host has no memory left");
    case EIO:
        return kvm_give_up(cpu, out,
                           "KVM_RUN failed: the virtual machine is dead, the kernel's log (dmesg) tells why");
    case EINVAL: return kvm_give_up(cpu, out, "KVM_RUN failed: KVM does not take this state of the CPU");
    default: return kvm_give_up(cpu, out, "KVM_RUN failed: %s", g_strerror(err));
    }
}

static KvmNext internal_error(Vcpu *cpu, VcpuExit *out)
{
    const struct kvm_run *run = kvm_of(cpu)->run;
    static const char *const what[] = { "an error without a name", "an instruction it cannot emulate",
                                        "exits that came together",
                                        "an exit in the middle of an event's delivery",
                                        "an exit it does not know" };
    unsigned sub = run->internal.suberror;
    g_autoptr(GString) data = g_string_new(NULL);
    for (uint32_t i = 0; i < MIN(run->internal.ndata, 16u); i++) {
        g_string_append_printf(data, "%s0x%llx", i ? " " : ", data ",
                               (unsigned long long)run->internal.data[i]);
    }
    return kvm_give_up(cpu, out, "KVM stopped for %s (internal error %u%s)",
                       sub < G_N_ELEMENTS(what) ? what[sub] : "a new kind of error", sub, data->str);
}

static KvmNext system_event(Vcpu *cpu, VcpuExit *out)
{
    Machine *m = cpu->machine;
    switch (kvm_of(cpu)->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        machine_request_shutdown(m, SHUTDOWN_GUEST_SHUTDOWN, 0);
        return KVM_NEXT_AGAIN;
    case KVM_SYSTEM_EVENT_RESET: machine_request_reset(m, SHUTDOWN_GUEST_RESET); return KVM_NEXT_AGAIN;
    case KVM_SYSTEM_EVENT_CRASH:
        log_warn("vCPU %u: the guest told the host that it crashed", cpu->index);
        machine_request_panic(m, cpu->target->kvm->crash_info ? cpu->target->kvm->crash_info(cpu) : NULL);
        return KVM_NEXT_AGAIN;
    default:
        return kvm_give_up(cpu, out,
                           "KVM reported a system event of type %u, which means nothing on this architecture",
                           kvm_of(cpu)->run->system_event.type);
    }
}

KvmNext kvm_exit(Vcpu *cpu, VcpuExit *out)
{
    KvmVcpu *k = kvm_of(cpu);
    const struct kvm_run *run = k->run;
    if (kvm_dispatch_io(cpu)) {
        return KVM_NEXT_AGAIN;
    }
    /* KVM gives the guest the answer on the next entry: registers read before come after one. */
    k->io_pending |= run->exit_reason == KVM_EXIT_HYPERV || run->exit_reason == KVM_EXIT_HYPERCALL;
    KvmNext next = cpu->target->kvm->exit(cpu, out);
    if (next != KVM_NEXT_ENTER) {
        return next;
    }
    k->stats.other++;
    switch (run->exit_reason) {
    case KVM_EXIT_INTR: return KVM_NEXT_AGAIN;
    case KVM_EXIT_DIRTY_RING_FULL: return kvm_ring_full(cpu, out);
    case KVM_EXIT_DEBUG: out->why = EXIT_DEBUG; return KVM_NEXT_LEAVE;
    case KVM_EXIT_INTERNAL_ERROR: return internal_error(cpu, out);
    case KVM_EXIT_SYSTEM_EVENT: return system_event(cpu, out);
    case KVM_EXIT_FAIL_ENTRY:
        return kvm_give_up(
            cpu, out,
            "the CPU refused to enter the guest (hardware reason 0x%llx, on host CPU %u): the guest is in a "
            "state that this processor cannot run",
            (unsigned long long)run->fail_entry.hardware_entry_failure_reason, run->fail_entry.cpu);
    case KVM_EXIT_UNKNOWN:
        return kvm_give_up(cpu, out,
                           "KVM left the guest for a reason it does not know (hardware reason 0x%llx)",
                           (unsigned long long)run->hw.hardware_exit_reason);
    case KVM_EXIT_EXCEPTION:
        return kvm_give_up(cpu, out, "exception %u (error code 0x%x) left the guest", run->ex.exception,
                           run->ex.error_code);
    case KVM_EXIT_IO:
    case KVM_EXIT_MMIO:
        return kvm_give_up(cpu, out, "KVM described an access that cannot be: exit %u", run->exit_reason);
    default:
        return kvm_give_up(cpu, out, "KVM left the guest with exit reason %u, which is not known here",
                           run->exit_reason);
    }
}
