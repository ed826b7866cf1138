/* SPDX-License-Identifier: MIT
 * target/x86/kvm-debug.c - a debugger's points and steps under KVM: debug registers, INT3 in guest memory,
 *   single steps; and who does them where KVM cannot.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.87 (KVM_SET_GUEST_DEBUG), 5 (KVM_EXIT_DEBUG); Intel SDM
 *   volume 3, 18.2 (debug registers).
 * Does not model: points in one address space only: INT3 goes where the address leads when it is set.
 * Threads: points change on the main loop while every vCPU is parked; the rest on the vCPU's own thread.
 */
#include "kvm.h"
#include "rhea/util/log.h"
#include "t0.h"

#include <string.h>

enum { DR_COUNT = 4, INT3 = 0xcc, DR6_HITS = 15 };

/* An INT3 of ours, and what was there. */
typedef struct Planted {
    uint64_t addr;
    hwaddr at;
    uint8_t was;
} Planted;

struct X86KvmDebug { /* of the machine, at vCPU 0 */
    GArray *planted; /* Planted */
};

/* ---- who does it ---- */

/* Hosts that emulate hit nothing in code that they run natively (CPL 3), and know no data breakpoints. There the
 * interpreter runs guests that are debugged, unless local APICs in the kernel would not reach it. */
static bool in_software(const Machine *m)
{
    return kvm_irqchip(m) == IRQCHIP_OFF && kvm_host_class(NULL) != KVM_HOST_HARDWARE;
}

bool kvm_x86_debugged_in_software(const X86Cpu *cpu)
{
    const Vcpu *v = &cpu->vcpu;
    return (v->machine->debug.n || v->debug.step) && cpu->kvm->debug_software;
}

static bool is_break(const DebugPoint *p)
{
    return p->kind < DEBUG_WATCH_WRITE;
}

static Planted *planted_at(const Machine *m, uint64_t addr)
{
    GArray *all = x86_cpu(m->cpus[0])->kvm->debug->planted;
    for (unsigned i = 0; i < all->len; i++) {
        if (g_array_index(all, Planted, i).addr == addr) {
            return &g_array_index(all, Planted, i);
        }
    }
    return NULL;
}

/* ---- debug registers ---- */

/* Aligned pieces of 1, 2, 4 or 8 bytes, as a register takes them. */
static unsigned piece_at(uint64_t addr, uint64_t left)
{
    unsigned n = 8;
    while (n > left || (addr & (n - 1))) {
        n /= 2;
    }
    return n;
}

/* Adds what p needs to g. False: there are not so many registers. */
static bool take_registers(const Machine *m, const DebugPoint *p, struct kvm_guest_debug *g, unsigned *used)
{
    static const uint8_t len_code[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    if (p->kind == DEBUG_BREAK_SOFT && planted_at(m, p->addr)) {
        return true;
    }
    uint64_t addr = p->addr, left = is_break(p) ? 1 : p->len;
    while (left) {
        unsigned n = piece_at(addr, left), type = is_break(p) ? 0 : p->kind == DEBUG_WATCH_WRITE ? 1 : 3;
        if (*used == DR_COUNT) {
            return false;
        }
        g->arch.debugreg[*used] = addr;
        g->arch.debugreg[7] |= 2u << 2 * *used | (uint64_t)(type | len_code[n] << 2) << (16 + 4 * *used);
        ++*used;
        addr += n;
        left -= n;
    }
    return true;
}

static bool all_registers(const Machine *m, const DebugPoint *more, struct kvm_guest_debug *g, unsigned *used)
{
    bool fit = true;
    *used = 0;
    for (unsigned i = 0; i < m->debug.n; i++) {
        const DebugPoint *p = &m->debug.points[i];
        fit &= take_registers(m, p, g, used);
        more = more && p->kind == more->kind && p->addr == more->addr ? NULL : more;
    }
    return fit && (!more || take_registers(m, more, g, used));
}

/* ---- INT3 ---- */

static bool translate(const Machine *m, uint64_t addr, hwaddr *at)
{
    for (unsigned i = 0; i < m->n_cpus; i++) {
        if (x86_translate_debug(x86_cpu(m->cpus[i]), addr, at)) {
            return true;
        }
    }
    return false;
}

static bool code_byte(Machine *m, hwaddr at, uint8_t *b, bool write)
{
    return as_access(&m->as_mem, at, b, 1, write, (MemAttrs){ .debug = true }) == MEM_OK;
}

/* False: there is no memory, or it cannot be written. */
static bool plant(Machine *m, uint64_t addr)
{
    Planted p = { .addr = addr };
    uint8_t b = INT3, now = 0;
    if (!translate(m, addr, &p.at) || !code_byte(m, p.at, &p.was, false) || !code_byte(m, p.at, &b, true) ||
        !code_byte(m, p.at, &now, false) || now != INT3) {
        return false;
    }
    g_array_append_val(x86_cpu(m->cpus[0])->kvm->debug->planted, p);
    return true;
}

/* What the guest wrote over it meanwhile stays. */
static void pull_out(Machine *m, Planted *p)
{
    GArray *all = x86_cpu(m->cpus[0])->kvm->debug->planted;
    uint8_t now = 0;
    if (code_byte(m, p->at, &now, false) && now == INT3) {
        code_byte(m, p->at, &p->was, true);
    }
    g_array_remove_index_fast(all, (guint)(p - (Planted *)(void *)all->data));
}

static bool can_plant(Machine *m, uint64_t addr)
{
    Planted *there = planted_at(m, addr);
    if (!there && plant(m, addr)) {
        there = planted_at(m, addr);
        pull_out(m, there);
    }
    return there;
}

/* INT3s are there while the machine runs: whoever looks at a stopped one, or saves it, sees the guest's code. What no longer
 * can be written takes a debug register, if there is one left. */
void kvm_x86_debug_running(Machine *m, bool running)
{
    GArray *all = m->n_cpus ? x86_cpu(m->cpus[0])->kvm->debug->planted : NULL;
    for (unsigned i = 0; running && all && !in_software(m) && i < m->debug.n; i++) {
        const DebugPoint *p = &m->debug.points[i];
        if (p->kind == DEBUG_BREAK_SOFT && !planted_at(m, p->addr)) {
            plant(m, p->addr);
        }
    }
    while (!running && all && all->len) {
        pull_out(m, &g_array_index(all, Planted, all->len - 1));
    }
    struct kvm_guest_debug g = { 0 };
    unsigned used;
    if (running && all && !all_registers(m, NULL, &g, &used)) {
        log_warn("KVM: not all breakpoints could be set: their code cannot be written, and there are %d debug registers",
                 DR_COUNT);
    }
}

/* ---- points ---- */

static bool can_watch(const Machine *m, Error **errp)
{
    if (kvm_host_class(NULL) == KVM_HOST_HARDWARE) {
        return true;
    }
    error_set(errp, "this host's KVM emulates guests, and knows no watchpoints");
    error_hint(errp, "use -accel kvm,kernel-irqchip=off, where software finds them, or -accel tcg");
    return false;
}

bool kvm_x86_debug_point(Machine *m, const DebugPoint *p, bool add, Error **errp)
{
    struct kvm_guest_debug g = { 0 };
    unsigned used;
    if (in_software(m)) {
        return true;
    }
    Planted *there = p->kind == DEBUG_BREAK_SOFT ? planted_at(m, p->addr) : NULL;
    if (!add) {
        if (there) {
            pull_out(m, there);
        }
        return true;
    }
    if (!is_break(p) && !can_watch(m, errp)) {
        return false;
    }
    if (p->kind == DEBUG_BREAK_SOFT && can_plant(m, p->addr)) {
        return true;
    }
    if (!all_registers(m, p, &g, &used)) {
        error_set(errp, "the CPU has %d debug registers, and this needs more", DR_COUNT);
        error_hint(errp, "use fewer, or software breakpoints; -accel tcg has no such limit");
        return false;
    }
    return true;
}

void kvm_x86_debug_init(X86Cpu *cpu)
{
    X86Kvm *k = cpu->kvm;
    k->debug_software = in_software(cpu->vcpu.machine);
    k->block_irq = kvm_cap(cpu->vcpu.machine, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
    if (cpu->vcpu.index == 0) {
        k->debug = g_new0(struct X86KvmDebug, 1);
        k->debug->planted = g_array_new(FALSE, FALSE, sizeof(Planted));
    }
}

void kvm_x86_debug_fini(X86Cpu *cpu)
{
    struct X86KvmDebug *d = cpu->kvm->debug;
    if (!d) {
        return;
    }
    g_array_free(d->planted, TRUE);
    g_free(d);
    cpu->kvm->debug = NULL;
}

/* ---- the vCPU ---- */

static bool tell(X86Cpu *cpu, uint32_t more)
{
    const Vcpu *v = &cpu->vcpu;
    X86Kvm *k = cpu->kvm;
    struct kvm_guest_debug g = { 0 };
    unsigned used = 0;
    if (!k->debug_software) {
        all_registers(v->machine, NULL, &g, &used);
        g.control = used ? KVM_GUESTDBG_USE_HW_BP : 0;
        g.control |= v->machine->debug.n_breaks ? KVM_GUESTDBG_USE_SW_BP : 0;
        g.control |= v->debug.step ? KVM_GUESTDBG_SINGLESTEP : 0;
        if ((v->debug.step & DEBUG_STEP_NO_IRQ) && k->block_irq) {
            g.control |= KVM_GUESTDBG_BLOCKIRQ;
        }
        g.arch.debugreg[7] |= used ? 0x600 : 0;
        for (unsigned i = 0; v->debug.step && i < used; i++) { /* a step executes what is there */
            bool exec = !(g.arch.debugreg[7] >> (16 + 4 * i) & 3);
            if (exec && g.arch.debugreg[i] == x86_64_target_ops.pc(v)) {
                g.arch.debugreg[7] &= ~(uint64_t)(2u << 2 * i);
            }
        }
    }
    g.control |= g.control || more ? KVM_GUESTDBG_ENABLE | more : 0;
    if (!g.control && !k->debugged) {
        return true;
    }
    k->debugged = g.control != 0;
    return kvm_vcpu_ioctl(&cpu->vcpu, KVM_SET_GUEST_DEBUG, &g) >= 0;
}

/* Behind the registers: a step begins at the RIP that KVM has by then. */
bool kvm_x86_push_debug(X86Cpu *cpu, Error **errp)
{
    if (tell(cpu, 0)) {
        return true;
    }
    error_set(errp, "vCPU %u: KVM_SET_GUEST_DEBUG failed", cpu->vcpu.index);
    error_hint(errp, "this host's KVM cannot debug guests: use -accel tcg");
    return false;
}

static const DebugPoint *break_at(const Machine *m, uint64_t pc, DebugKind kind)
{
    for (unsigned i = 0; i < m->debug.n; i++) {
        const DebugPoint *p = &m->debug.points[i];
        if (p->addr == pc && p->kind == kind) {
            return p;
        }
    }
    return NULL;
}

bool kvm_x86_planted_at(X86Cpu *cpu, uint64_t pc)
{
    const Machine *m = cpu->vcpu.machine;
    if (!m->debug.n_breaks || cpu->kvm->debug_software || !planted_at(m, pc)) {
        return false;
    }
    debug_note_hit(&cpu->vcpu, DEBUG_BREAK_SOFT, pc);
    return true;
}

/* The same bytes at another linear address, where no breakpoint is: the instruction that was there runs in software. */
bool kvm_x86_pass_alias(X86Cpu *cpu, uint64_t pc, KvmNext *next, VcpuExit *out)
{
    Machine *m = cpu->vcpu.machine;
    GArray *all = x86_cpu(m->cpus[0])->kvm->debug->planted;
    hwaddr at;
    if (!all->len || !kvm_own_state(&cpu->vcpu) || !x86_translate_debug(cpu, pc, &at)) {
        return false;
    }
    for (unsigned i = 0; i < all->len; i++) {
        Planted *p = &g_array_index(all, Planted, i);
        uint8_t b = INT3;
        if (p->at == at) {
            code_byte(m, at, &p->was, true);
            *next = kvm_x86_run_software(cpu, 1, out);
            code_byte(m, at, &b, true);
            return true;
        }
    }
    return false;
}

bool kvm_x86_step_planted(X86Cpu *cpu, KvmNext *next, VcpuExit *out)
{
    return kvm_state_owned(&cpu->vcpu) && kvm_x86_pass_alias(cpu, x86_64_target_ops.pc(&cpu->vcpu), next, out);
}

static void note_register(X86Cpu *cpu, uint64_t hits, uint64_t pc)
{
    const Machine *m = cpu->vcpu.machine;
    struct kvm_guest_debug g = { 0 };
    unsigned used = 0, before;
    for (unsigned i = 0; i < m->debug.n; i++) {
        const DebugPoint *p = &m->debug.points[i];
        before = used;
        take_registers(m, p, &g, &used);
        for (unsigned k = before; k < used; k++) {
            if (hits >> k & 1) {
                debug_note_hit(&cpu->vcpu, p->kind, is_break(p) ? pc : g.arch.debugreg[k]);
                return;
            }
        }
    }
}

/* KVM_EXIT_DEBUG. What is not the debugger's is the guest's own. */
KvmNext kvm_x86_debug_exit(X86Cpu *cpu, VcpuExit *out)
{
    Vcpu *v = &cpu->vcpu;
    const struct kvm_debug_exit_arch *e = &kvm_vcpu_run(v)->debug.arch;
    bool ours = false;
    if (e->exception == EXC_DB) {
        if (e->dr6 & DR6_HITS) {
            note_register(cpu, e->dr6 & DR6_HITS, e->pc);
        }
        if ((e->dr6 & DR6_BS) && v->debug.step) {
            debug_note_hit(v, DEBUG_STEP, 0);
        }
        ours = v->debug.hit;
        if (!ours && break_at(v->machine, e->pc, DEBUG_BREAK_HARD)) {
            debug_note_hit(v, DEBUG_BREAK_HARD, e->pc);
            ours = true;
        }
    } else {
        ours = kvm_x86_planted_at(cpu, e->pc);
    }
    if (ours) {
        v->debug.step = 0;
        out->why = EXIT_DEBUG;
        return KVM_NEXT_LEAVE;
    }
    KvmNext next;
    if (e->exception == EXC_BP && kvm_x86_pass_alias(cpu, e->pc, &next, out)) {
        return next;
    }
    tell(cpu, e->exception == EXC_DB ? KVM_GUESTDBG_INJECT_DB : KVM_GUESTDBG_INJECT_BP);
    return KVM_NEXT_AGAIN;
}
