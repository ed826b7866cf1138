/* SPDX-License-Identifier: MIT
 * accel/kvm/chips.c - the kernel's 8259s, I/O APIC and 8254 (kernel-irqchip=on), and the board's devices that
 *   stand for them.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.24-4.27 (CREATE_IRQCHIP, IRQ_LINE, GET and SET_IRQCHIP),
 *   4.71 (CREATE_PIT2), 4.72-4.73 (GET and SET_PIT2), 4.97 (REINJECT_CONTROL). Each input of a chip has a
 *   number of its own, since the board's wires lead to each chip by themselves; number 0 is the 8254's
 *   output.
 * Does not model: where in its period counter 0 is (KVM does not tell); counters 1 and 2 begin anew when
 *   state is written.
 * Threads: lines from any thread; the table of devices on the main loop.
 */
#include "kvm_internal.h"

#include "rhea/util/log.h"
#include <string.h>
#include <time.h>

enum { GSI_PIT = 0, GSI_IOAPIC_0 = 24, GSI_PIC = 32, PIC_PINS = 8, PIT_PIC_PIN = 0, PIT_IOAPIC_PIN = 2 };

/* ---- set-up ---- */

static void add_input(Machine *m, unsigned gsi, unsigned chip, unsigned pin)
{
    struct kvm_irq_routing_entry e = { .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP };
    e.u.irqchip.irqchip = chip;
    e.u.irqchip.pin = pin;
    kvm_route_add(m, &e);
}

static unsigned gsi_of(AccelChip chip, unsigned pin)
{
    switch (chip) {
    case CHIP_PIC_MASTER: return GSI_PIC + pin;
    case CHIP_PIC_SLAVE: return GSI_PIC + PIC_PINS + pin;
    default: return pin ? pin : GSI_IOAPIC_0;
    }
}

bool kvm_chips_init(Machine *m, Error **errp)
{
    int r = kvm_vm_ioctl(m, KVM_CREATE_IRQCHIP, NULL);
    if (r < 0) {
        error_set_errno(errp, -r,
                        "accelerator 'kvm': the kernel cannot have the interrupt controllers "
                        "(kernel-irqchip=on)");
        error_hint(errp, "use kernel-irqchip=split or off");
        return false;
    }
    for (unsigned pin = 0; pin < PIC_PINS; pin++) {
        add_input(m, gsi_of(CHIP_PIC_MASTER, pin), KVM_IRQCHIP_PIC_MASTER, pin);
        add_input(m, gsi_of(CHIP_PIC_SLAVE, pin), KVM_IRQCHIP_PIC_SLAVE, pin);
    }
    for (unsigned pin = 0; pin < ACCEL_IOAPIC_PINS; pin++) {
        add_input(m, gsi_of(CHIP_IOAPIC, pin), KVM_IRQCHIP_IOAPIC, pin);
    }
    /* Last: of several numbers with one input KVM tells the last one of ends, for which the 8254 waits. */
    add_input(m, GSI_PIT, KVM_IRQCHIP_PIC_MASTER, PIT_PIC_PIN);
    add_input(m, GSI_PIT, KVM_IRQCHIP_IOAPIC, PIT_IOAPIC_PIN);
    r = kvm_routes_tell(m);
    return r >= 0 || error_set_errno(errp, -r, "accelerator 'kvm': KVM_SET_GSI_ROUTING failed");
}

/* Before the VM goes: a machine that moves needs the state. */
void kvm_chips_fini(Machine *m)
{
    KvmVm *vm = kvm_vm(m);
    for (AccelChipUser *u = vm->chips; m->moving && u; u = u->next) {
        if (!u->fresh) {
            u->pull(u->opaque);
            u->fresh = true;
        }
    }
    vm->chips = NULL;
    vm->has_pit = false;
}

static void create_pit(Machine *m)
{
    struct kvm_pit_config c = { .flags = KVM_PIT_SPEAKER_DUMMY }; /* port 61h as well */
    int r = kvm_vm_ioctl(m, KVM_CREATE_PIT2, &c);
    if (r < 0) {
        Error *err = NULL;
        error_set_errno(&err, -r, "accelerator 'kvm': KVM_CREATE_PIT2 failed");
        error_hint(&err, "use kernel-irqchip=split");
        error_report(err);
        machine_request_stop(m, RUN_INTERNAL_ERROR);
    }
    kvm_vm(m)->has_pit = r >= 0;
}

void kvm_chip_attach(Machine *m, AccelChipUser *u)
{
    KvmVm *vm = kvm_vm(m);
    AccelChipUser **at = &vm->chips;
    if (u->chip == CHIP_PIT && !vm->has_pit) {
        create_pit(m);
    }
    while (*at && *at != u && (*at)->chip <= u->chip) {
        at = &(*at)->next;
    }
    if (*at != u) {
        u->next = *at;
        *at = u;
    }
}

void kvm_chip_detach(Machine *m, AccelChipUser *u)
{
    for (AccelChipUser **at = &kvm_vm(m)->chips; *at; at = &(*at)->next) {
        if (*at == u) {
            *at = u->next;
            return;
        }
    }
}

/* Local APICs have their state by then: inputs that are high may interrupt at once. */
void kvm_chips_running(Machine *m, bool running)
{
    for (AccelChipUser *u = kvm_vm(m)->chips; u; u = u->next) {
        if (running && u->fresh) {
            u->fresh = false;
            u->push(u->opaque);
        } else if (!running && u->stop) {
            u->stop(u->opaque);
        }
    }
}

void kvm_chip_line(Machine *m, AccelChip chip, unsigned pin, bool level)
{
    static bool said;
    struct kvm_irq_level l = { .irq = gsi_of(chip, pin), .level = level };
    int r = kvm_vm_ioctl(m, KVM_IRQ_LINE, &l);
    if (r < 0) {
        log_warn_once(&said, "KVM does not take interrupt line %u: %s", l.irq, g_strerror(-r));
    }
}

/* ---- states ---- */

static bool took(Machine *m, const char *what, int r)
{
    Error *err = NULL;
    if (r >= 0) {
        return true;
    }
    error_set_errno(&err, -r, "accelerator 'kvm': %s failed", what);
    error_report(err);
    machine_request_stop(m, RUN_INTERNAL_ERROR);
    return false;
}

/* KVM counts ICWs from 1, and its priority is that of the highest level. */
static void pic_in(const struct kvm_pic_state *k, PicImage *p)
{
    *p = (PicImage){ .pins = k->last_irr,
                     .irr = k->irr,
                     .imr = k->imr,
                     .isr = k->isr,
                     .elcr = k->elcr,
                     .elcr_mask = k->elcr_mask,
                     .base = k->irq_base,
                     .lowest = (k->priority_add + 7) & 7,
                     .icw = k->init_state ? k->init_state + 1 : 0,
                     .read_isr = k->read_reg_select,
                     .poll = k->poll,
                     .special_mask = k->special_mask,
                     .rotate_aeoi = k->rotate_on_auto_eoi,
                     .auto_eoi = k->auto_eoi,
                     .fully_nested = k->special_fully_nested_mode,
                     .icw4 = k->init4 };
}

static void pic_out(const PicImage *p, struct kvm_pic_state *k)
{
    *k = (struct kvm_pic_state){ .last_irr = p->pins,
                                 .irr = p->irr,
                                 .imr = p->imr,
                                 .isr = p->isr,
                                 .elcr = p->elcr,
                                 .elcr_mask = p->elcr_mask,
                                 .irq_base = p->base,
                                 .priority_add = (p->lowest + 1) & 7,
                                 .init_state = p->icw ? p->icw - 1 : 0,
                                 .read_reg_select = p->read_isr,
                                 .poll = p->poll,
                                 .special_mask = p->special_mask,
                                 .rotate_on_auto_eoi = p->rotate_aeoi,
                                 .auto_eoi = p->auto_eoi,
                                 .special_fully_nested_mode = p->fully_nested,
                                 .init4 = p->icw4 };
}

static bool chip_io(Machine *m, AccelChip chip, struct kvm_irqchip *k, bool set)
{
    static const unsigned ids[] = { [CHIP_PIC_MASTER] = KVM_IRQCHIP_PIC_MASTER,
                                    [CHIP_PIC_SLAVE] = KVM_IRQCHIP_PIC_SLAVE,
                                    [CHIP_IOAPIC] = KVM_IRQCHIP_IOAPIC };
    k->chip_id = ids[chip];
    return set ? took(m, "KVM_SET_IRQCHIP", kvm_vm_ioctl(m, KVM_SET_IRQCHIP, k))
               : took(m, "KVM_GET_IRQCHIP", kvm_vm_ioctl(m, KVM_GET_IRQCHIP, k));
}

enum { PIT_UNSET = 0xff, WORD_SECOND = 4, WORD_FIRST = 3 }; /* KVM's names for states of a counter */

static int64_t host_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void counter_in(const struct kvm_pit_channel_state *k, PitImageCounter *c, bool timed)
{
    bool word = k->rw_mode == WORD_FIRST;
    *c = (PitImageCounter){
        .known = k->mode != PIT_UNSET,
        .mode = k->mode == PIT_UNSET ? 0 : k->mode,
        .access = k->rw_mode & 3,
        .bcd = k->bcd,
        .count = k->count,
        .gate = k->gate,
        .status_latched = k->status_latched,
        .status = k->status,
        .write_second = k->write_state == WORD_SECOND,
        .write_low = k->write_latch,
        .read_second = k->read_state == WORD_SECOND,
        .latch = k->latched_count,
        .latch_left = k->count_latched == WORD_FIRST ? 2
                      : k->count_latched             ? 1
                                                     : 0,
        .age_ns = timed ? MAX(host_ns() - k->count_load_time, 0) : -1,
        .stamp = timed ? k->count_load_time : 0,
    };
    if (c->latch_left) {
        c->read_second = word && c->latch_left == 1;
    }
}

static void counter_out(const PitImageCounter *c, struct kvm_pit_channel_state *k)
{
    bool word = c->access == WORD_FIRST;
    *k = (struct kvm_pit_channel_state){
        .count = c->count,
        .mode = c->known ? c->mode : PIT_UNSET,
        .rw_mode = c->access,
        .bcd = c->bcd,
        .gate = c->gate,
        .status_latched = c->status_latched,
        .status = c->status,
        .write_state = word && c->write_second ? WORD_SECOND : c->access,
        .write_latch = c->write_low,
        .read_state = word && c->read_second && !c->latch_left ? WORD_SECOND : c->access,
        .latched_count = c->latch,
        .count_latched = !c->latch_left               ? 0
                         : word && c->latch_left == 1 ? 2
                                                      : c->access,
    };
}

static bool pit_get(Machine *m, PitImage *p)
{
    struct kvm_pit_state2 k;
    if (!took(m, "KVM_GET_PIT2", kvm_vm_ioctl(m, KVM_GET_PIT2, &k))) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(p->c); i++) {
        counter_in(&k.channels[i], &p->c[i], i != 0);
    }
    p->speaker = k.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    p->replaced = k.flags & KVM_PIT_FLAGS_HPET_LEGACY;
    p->reinject = true;
    return true;
}

static bool pit_set(Machine *m, const PitImage *p)
{
    struct kvm_pit_state2 k = { 0 };
    struct kvm_reinject_control late = { .pit_reinject = p->reinject };
    for (unsigned i = 0; i < G_N_ELEMENTS(p->c); i++) {
        counter_out(&p->c[i], &k.channels[i]);
    }
    k.flags =
        (p->speaker ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0) | (p->replaced ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
    kvm_vm_ioctl(m, KVM_REINJECT_CONTROL, &late); /* kernels without it reinject */
    return took(m, "KVM_SET_PIT2", kvm_vm_ioctl(m, KVM_SET_PIT2, &k));
}

bool kvm_chip_get(Machine *m, AccelChip chip, void *image)
{
    struct kvm_irqchip k = { 0 };
    if (chip == CHIP_PIT) {
        return pit_get(m, image);
    }
    if (!chip_io(m, chip, &k, false)) {
        return false;
    }
    if (chip != CHIP_IOAPIC) {
        pic_in(&k.chip.pic, image);
        return true;
    }
    IoapicImage *io = image;
    *io = (IoapicImage){ .id = (uint8_t)k.chip.ioapic.id,
                         .select = (uint8_t)k.chip.ioapic.ioregsel,
                         .pins = k.chip.ioapic.irr };
    for (unsigned i = 0; i < ACCEL_IOAPIC_PINS; i++) {
        io->rte[i] = k.chip.ioapic.redirtbl[i].bits;
    }
    return true;
}

bool kvm_chip_set(Machine *m, AccelChip chip, const void *image)
{
    struct kvm_irqchip k = { 0 };
    if (chip == CHIP_PIT) {
        return pit_set(m, image);
    }
    if (chip != CHIP_IOAPIC) {
        pic_out(image, &k.chip.pic);
        return chip_io(m, chip, &k, true);
    }
    const IoapicImage *io = image;
    k.chip.ioapic.base_address = 0xfec00000;
    k.chip.ioapic.id = io->id;
    k.chip.ioapic.ioregsel = io->select;
    k.chip.ioapic.irr = io->pins;
    for (unsigned i = 0; i < ACCEL_IOAPIC_PINS; i++) {
        k.chip.ioapic.redirtbl[i].bits = io->rte[i];
    }
    return chip_io(m, chip, &k, true);
}
