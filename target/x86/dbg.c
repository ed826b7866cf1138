/* SPDX-License-Identifier: MIT
 * target/x86/dbg.c - a debugger's break- and watchpoints and single steps in guest code that tiers 0 and 1 run.
 *
 * Guest memory and guest registers are not used for it. No unit goes on over an address whose offset in its page is that of
 * some breakpoint (T0State.dbg_ends), and to one that begins there leads neither a link nor a jump cache; so every arrival
 * comes by the run loop, which knows the whole address. Units of tier 0 are shared by all linear addresses of a page,
 * therefore the offset. Pages with watchpoints have the TLB tags
 * that those with data breakpoints of the guest's own debug registers have: accesses come to x86_check_data_bp().
 * Models: docs/devel/gdbstub.md.
 * Does not model: instruction breakpoints of one address space.
 * Threads: the vCPU's thread. Machine.debug changes only while no vCPU is in run().
 */
#include "t1.h"
#include "sysint.h"

static uint64_t linear_rip(const X86Cpu *cpu)
{
    uint64_t lin = cpu->rip + cpu->seg_base[SEG_CS];
    return in_code64(cpu) ? lin : (uint32_t)lin;
}

/* A new breakpoint: units that contain the offset are decoded again. What ends early without need, because a breakpoint
 * went away, stays until the last one is gone: debuggers remove and insert all of them at each stop. */
static void sync_breaks(X86Cpu *cpu, const MachineDebug *d)
{
    T0State *t = cpu->t0;
    bool dropped = false;
    if (!d->n_breaks && t->dbg_ends_on && !cpu->vcpu.debug.step) {
        memset(t->dbg_ends, 0, sizeof(t->dbg_ends));
        t->dbg_ends_on = false;
        units_drop_all(cpu);
        return;
    }
    for (unsigned i = 0; i < d->n; i++) {
        unsigned off = d->points[i].addr & 4095;
        uint64_t *word = &t->dbg_ends[off / 64], bit = 1ull << (off % 64);
        if (d->points[i].kind < DEBUG_WATCH_WRITE && !(*word & bit)) {
            *word |= bit;
            t->dbg_ends_on = true;
            units_drop_offset(cpu, off);
            dropped = true;
        }
    }
    if (dropped) {
        tlb_new_generation(cpu);
    }
}

/* dbg_serial is the one that was seen while a step kept the rest from being dropped: look again when it is over. */
void dbg_begin_run(X86Cpu *cpu)
{
    T0State *t = cpu->t0;
    const MachineDebug *d = &cpu->vcpu.machine->debug;
    if (t->dbg_serial != d->serial || t->dbg_ends_on != (d->n_breaks != 0)) {
        sync_breaks(cpu, d);
    }
    if (t->dbg_serial != d->serial && (d->n_watches || t->dbg & DBG_WATCH)) {
        x86_tlb_rights_changed(cpu);
    }
    t->dbg_serial = d->serial;
    t->dbg = (d->n_breaks ? DBG_BREAK : 0) | (d->n_watches ? DBG_WATCH : 0) |
             (cpu->vcpu.debug.step & DEBUG_STEP_ON ? DBG_STEP : 0) |
             (cpu->vcpu.debug.step & DEBUG_STEP_NO_IRQ ? DBG_NO_IRQ : 0);
}

/* A step executes the instruction whatever lies there. */
bool dbg_at_break(X86Cpu *cpu)
{
    const MachineDebug *d = &cpu->vcpu.machine->debug;
    uint64_t lin = linear_rip(cpu);
    if (cpu->t0->dbg & DBG_STEP || !dbg_ends_at(cpu->t0, lin)) {
        return false;
    }
    for (unsigned i = 0; i < d->n; i++) {
        if (d->points[i].kind < DEBUG_WATCH_WRITE && d->points[i].addr == lin) {
            debug_note_hit(&cpu->vcpu, d->points[i].kind, lin);
            return true;
        }
    }
    return false;
}

void dbg_stepped(X86Cpu *cpu)
{
    debug_note_hit(&cpu->vcpu, DEBUG_STEP, 0);
    cpu->t0->dbg &= ~(DBG_STEP | DBG_NO_IRQ | DBG_HIT);
    cpu->vcpu.debug.step = 0;
}

static bool touches(const DebugPoint *p, uint64_t at, uint64_t last)
{
    return p->kind >= DEBUG_WATCH_WRITE && at <= p->addr + (p->len - 1) && p->addr <= last;
}

void dbg_access(X86Cpu *cpu, uint64_t lin, unsigned n, bool write)
{
    const MachineDebug *d = &cpu->vcpu.machine->debug;
    DebugKind other = write ? DEBUG_WATCH_READ : DEBUG_WATCH_WRITE;
    for (unsigned i = 0; i < d->n; i++) {
        const DebugPoint *p = &d->points[i];
        if (p->kind != other && touches(p, lin, lin + n - 1)) {
            debug_note_hit(&cpu->vcpu, p->kind, MAX(lin, p->addr));
            cpu->t0->dbg |= DBG_HIT;
            x86_unit_leave(cpu);
            return;
        }
    }
}

bool dbg_page_watched(const X86Cpu *cpu, uint64_t page)
{
    const MachineDebug *d = &cpu->vcpu.machine->debug;
    for (unsigned i = 0; i < d->n; i++) {
        if (touches(&d->points[i], page, page + 4095)) {
            return true;
        }
    }
    return false;
}

/* The instruction did not complete: it hits again when it does. A trap comes behind an instruction that did. */
void dbg_fault(X86Cpu *cpu)
{
    if (cpu->t0->dbg & DBG_HIT && cpu->sys->pending_fault) {
        cpu->t0->dbg &= ~DBG_HIT;
        cpu->vcpu.debug.hit = false;
    }
}
