/* SPDX-License-Identifier: MIT
 * hw/intc/apic.c - local APICs as devices: what they share in a machine, reset, saved state, moves to another
 * accelerator.
 * Models: Intel SDM volume 3, chapter 10, in its parts: delivery, priority and IPIs (apic-deliver.c), timer
 * (apic-timer.c), registers (apic-regs.c). MP specification 3.6.2.2 (virtual wire after reset).
 * Does not model: what those say.
 * Threads: see apic_internal.h.
 */
#include "apic_internal.h"
#include "rhea/util/lock.h"

static void bus_unref(void *opaque)
{
    Apic *a = opaque;
    ApicBus *bus = a->bus;
    a->cpu->apic = NULL;
    a->cpu->apic_ops = NULL;
    pthread_mutex_lock(&bus->lock);
    bus->apics[a->cpu->vcpu.index] = NULL;
    pthread_mutex_unlock(&bus->lock);
    if (--bus->refs == 0) {
        if (bus->machine->msi_opaque == bus) {
            bus->machine->msi_sink = NULL;
            bus->machine->msi_opaque = NULL;
            bus->machine->nmi = NULL;
        }
        if (region_mapped(&bus->page)) {
            region_unmap(&bus->page);
        }
        region_fini(&bus->page);
        pthread_mutex_destroy(&bus->lock);
        machine_remove_listener(bus->machine, &bus->listener);
        g_free(bus->apics);
        g_free(bus);
    }
}

static ApicBus *bus_of(Machine *m)
{
    return m->msi_sink == apic_bus_msi ? m->msi_opaque : NULL;
}

/* Another accelerator has taken over, with state as it was pulled. A one-shot count that is over when its
 * APIC comes out of the kernel may have fired, or be about to: KVM does not tell. It fires here: guests bear
 * one too many, not one too few. */
static void bus_accel(void *opaque)
{
    ApicBus *bus = opaque;
    bool was = bus->inside;
    pthread_mutex_lock(&bus->lock);
    bus->inside = accel_has_lapic(bus->machine);
    for (unsigned i = 0; i < bus->n; i++) {
        Apic *a = bus->apics[i];
        if (!a) {
            continue;
        }
        if (bus->inside) {
            timer_cancel(&a->timer);
            apic_pin(a, X86_IRQ_APIC, false);
        } else {
            int64_t now = apic_timer_now(a);
            bool once = !apic_timer_is_deadline(a) && !(a->lvt[LVT_TIMER] & LVT_PERIODIC);
            if (was && once && a->tmict && !apic_timer_count(a, now)) {
                apic_local(a, LVT_TIMER);
            }
            apic_timer_rearm(a, now, 0);
        }
        apic_update(a);
    }
    pthread_mutex_unlock(&bus->lock);
}

/* The button goes to the CPUs themselves: it works while their APICs are as after reset, too. */
static void bus_nmi(Machine *m)
{
    for (unsigned i = 0; i < m->n_cpus; i++) {
        vcpu_interrupt(m->cpus[i], X86_IRQ_NMI);
    }
}

static ApicBus *bus_new_for(Machine *m)
{
    ApicBus *bus = g_new0(ApicBus, 1);
    bus->machine = m;
    bus->inside = accel_has_lapic(m);
    bus->listener = (MachineListener){ .accel = bus_accel, .opaque = bus };
    machine_add_listener(m, &bus->listener);
    bus->n = MAX(m->n_cpus, m->max_cpus);
    bus->apics = g_new0(Apic *, bus->n);
    lock_init_adaptive(&bus->lock);
    region_init_io(&bus->page, NULL, "apic-msi", &apic_page_ops, bus, 4096);
    region_map(&m->sysmem, APIC_DEFAULT_BASE, &bus->page, 4096);
    m->msi_sink = apic_bus_msi;
    m->msi_opaque = bus;
    m->nmi = bus_nmi;
    m->msi_base = 0xfee00000;
    m->msi_size = 0x100000;
    return bus;
}

static bool apic_realize(Device *dev, Error **errp)
{
    Apic *a = dev_as(Apic, dev);
    if (!a->cpu) {
        return error_set(errp, "a local APIC belongs to a CPU and is created with it");
    }
    ApicBus *bus = bus_of(dev->machine);
    if (!bus) {
        bus = bus_new_for(dev->machine);
    }
    a->bus = bus;
    a->id = a->cpu->apic_id;
    bus->refs++;
    bus->apics[a->cpu->vcpu.index] = a;
    a->cpu->apic = a;
    a->cpu->apic_ops = &apic_cpu_ops;
    device_add_cleanup(dev, bus_unref, a);
    device_add_timer(dev, &a->timer, apic_timer_fire);
    return true;
}

static void apic_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Apic *a = dev_as(Apic, dev);
    pthread_mutex_lock(&a->bus->lock);
    a->base = APIC_DEFAULT_BASE | BASE_EN | (a->cpu->is_bsp ? BASE_BSP : 0);
    a->id = a->cpu->apic_id;
    apic_reset_state(a);
    if (a->cpu->is_bsp) {
        /* Virtual wire, as firmware sets up before it can take a timer tick (MP specification 3.6.2.2). */
        a->lvt[LVT_LINT0] = MODE_EXTINT << 8;
    }
    pthread_mutex_unlock(&a->bus->lock);
}

static void apic_reset_done(Device *dev)
{
    Apic *a = dev_as(Apic, dev);
    if (a->bus->page.at != APIC_DEFAULT_BASE) {
        region_set_addr(&a->bus->page, APIC_DEFAULT_BASE);
    }
    pthread_mutex_lock(&a->bus->lock);
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
}

static bool apic_post_load(void *opaque, Error **errp)
{
    Apic *a = opaque;
    if ((a->base & (BASE_EXTD | BASE_EN)) == BASE_EXTD || a->base >> a->cpu->phys_bits ||
        a->id != a->cpu->apic_id) {
        return error_set(errp, "local APIC of CPU %u: base 0x%" PRIx64 ", id %u are not possible",
                         a->cpu->vcpu.index, a->base, a->id);
    }
    a->tpr &= 0xff;
    a->svr &= 0x3ff;
    a->tdcr &= 0xb;
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        a->lvt[i] &= apic_lvt_mask(a, i) | LVT_REMOTE;
    }
    a->irr[0] &= 0xffff0000;
    a->isr[0] &= 0xffff0000;
    /* Before time 0 if a slower divisor was chosen in the middle of a count; at most by a whole count. */
    if (a->timer_start < -((int64_t)UINT32_MAX << 7) || a->timer_start > apic_timer_now(a)) {
        a->timer_start = apic_timer_now(a);
    }
    if (a->bus->page.at != (a->base & ~0xfffull)) {
        region_set_addr(&a->bus->page, a->base & ~0xfffull);
    }
    pthread_mutex_lock(&a->bus->lock);
    apic_update(a);
    pthread_mutex_unlock(&a->bus->lock);
    return true;
}

static void apic_describe(Device *dev, GString *out, int indent)
{
    Apic *a = dev_as(Apic, dev);
    g_string_append_printf(out, "%*slapic: id=%u cpu=%u\n", indent, "", a->id, a->cpu->vcpu.index);
}

Device *apic_create(Machine *m, Vcpu *cpu, Device *parent, Error **errp)
{
    Device *dev = device_new(m, &apic_type, parent, NULL);
    dev_as(Apic, dev)->cpu = x86_cpu(cpu);
    if (!device_realize(dev, NULL, errp)) {
        device_remove(dev);
        return NULL;
    }
    return dev;
}

void apic_set_eoi_target(Machine *m, Device *ioapic)
{
    ApicBus *bus = bus_of(m);
    if (bus) {
        bus->ioapic = ioapic;
    }
}

bool apic_vector_waits(Machine *m, uint8_t vector)
{
    ApicBus *bus = bus_of(m);
    bool waits = false;
    if (!bus || bus->inside) { /* inside the accelerator nobody can look */
        return false;
    }
    pthread_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus->n && !waits; i++) {
        waits = bus->apics[i] && apic_bit_get(bus->apics[i]->irr, vector);
    }
    pthread_mutex_unlock(&bus->lock);
    return waits;
}

bool apic_vector_open(Machine *m, uint8_t vector)
{
    ApicBus *bus = bus_of(m);
    bool open = !bus;
    if (!bus) {
        return open;
    }
    pthread_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < bus->n && !open; i++) {
        const Apic *a = bus->apics[i];
        open = a && (apic_bit_get(a->irr, vector) || apic_bit_get(a->isr, vector));
    }
    pthread_mutex_unlock(&bus->lock);
    return open;
}

void apic_on_take(Machine *m, void (*fn)(void *opaque, uint8_t vector), void *opaque)
{
    ApicBus *bus = bus_of(m);
    if (bus) {
        bus->on_take = fn;
        bus->take_opaque = opaque;
    }
}

static const VmField apic_fields[] = {
    VM_U64(Apic, base),
    VM_U64(Apic, icr),
    VM_U64(Apic, tsc_deadline),
    VM_U32(Apic, id),
    VM_U32(Apic, ldr),
    VM_U32(Apic, dfr),
    VM_U32(Apic, svr),
    VM_U32(Apic, esr),
    VM_U32(Apic, esr_next),
    VM_U32(Apic, tpr),
    VM_U32_ARRAY(Apic, lvt),
    VM_U32(Apic, tmict),
    VM_U32(Apic, tdcr),
    VM_U32_ARRAY(Apic, irr),
    VM_U32_ARRAY(Apic, isr),
    VM_U32_ARRAY(Apic, tmr),
    VM_I64(Apic, timer_start),
    { .name = "lint0", .kind = VM_BOOL_, .offset = offsetof(Apic, lint[0]), .max = 1 },
    { .name = "lint1", .kind = VM_BOOL_, .offset = offsetof(Apic, lint[1]), .max = 1 },
    VM_TIMER(Apic, timer),
    { 0 },
};
static const VmState apic_state = {
    .name = "apic", .version = 1, .oldest = 1, .fields = apic_fields, .post_load = apic_post_load
};

const DeviceType apic_type = {
    .name = "apic",
    .desc = "Local APIC",
    .size = sizeof(Apic),
    .category = "Misc",
    .internal = true,
    .vmstate = &apic_state,
    .realize = apic_realize,
    .reset = apic_reset,
    .reset_done = apic_reset_done,
    .describe = apic_describe,
};
