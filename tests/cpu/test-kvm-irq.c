/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-irq.c - one guest for all interrupt sources of a PC with the same output in tier 0, tier 1 and on KVM
 * with its controllers outside, half and all inside the kernel (accel/kvm/irqchip.c, chips.c, route.c; the other sides in
 * hw/intc/, hw/timer/i8254-inside.c, hw/misc/pcspk.c): 8259 and 8254, local APIC and its timer, I/O APIC, messages, NMI,
 * start of other CPUs and interrupts between them, and all of it again after a reset. Messages go through descriptors and
 * doorbells are heard where the kernel can (accel/kvm/route.c, system/doorbell.c, hw/virtio/virtio-bell.c, virtio-pci.c,
 * virtio-mmio.c), and writes that may come late do (accel/kvm/coalesce.c, system/coalesce.c). Then with the machine stopped,
 * saved, loaded and moved between all of these at random points. The chips' states go there and back unchanged.
 * Threads: main is the main loop, the vCPUs have their own.
 */
#include "rhea/accel/tcg.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/timer.h"
#include "rhea/hw/virtio-mmio.h"
#include "rhea/system/doorbell.h"
#include "rhea/system/msiroute.h"
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { ROM_SIZE = 0x10000, CPUS = 3, DONE_AT = 0xff0, BOOTS_AT = 0x500, LOG_AT = 0x1000, LOG_SIZE = 0x200, BOOTS = 2,
       LEVEL_PIN = 20, V_MSI = 0x60 };
/* What the guest asks for at port 80h. */
enum { ASK_MSI = 1, ASK_LEVEL, ACK_LEVEL, ASK_NMI };

/* Real mode, F000:0000 in ROM; FS is flat. Counters at 600h, by source; DI: the log. The start-up IPI leads to offset 0.
 * WAIT: until a counter has a value, asleep. */
#define FLAT "lgdtl %cs:i_gdtr-irq_guest\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n mov $8, %bx\n mov %bx, %fs\n" \
             "and $0xfe, %al\n mov %eax, %cr0\n"
#define VECTOR(v, name) "movw $" name "-irq_guest, 4*" v "\n movw $0xf000, 4*" v "+2\n"
#define WAIT(at, n) "cli\n 1: cmpw $" n ", " at "\n jae 2f\n sti\n hlt\n cli\n jmp 1b\n 2:\n"
#define EOI "push %ebx\n mov $0xfee000b0, %ebx\n movl $0, %fs:(%ebx)\n pop %ebx\n iret\n"
#define OUTB(v, port) "mov $" v ", %al\n out %al, $" port "\n"
#define OUTX(v, port) "mov $" v ", %al\n mov $" port ", %dx\n out %al, %dx\n"
#define LAPIC(v, reg) "movl $" v ", %fs:" reg "(%ebx)\n"
#define PIN(reg, v) "movl $" reg ", %fs:(%esi)\n movl $" v ", %fs:0x10(%esi)\n"
#define LOG(v) "mov " v ", %ax\n call i_log\n"
GUEST_CODE(irq_guest, 16,
           /* other CPUs: on, counted, asleep */
           "cli\n xor %ax, %ax\n mov %ax, %ds\n mov %ax, %ss\n" FLAT
           "mov $0xfee00000, %ebx\n mov %fs:0x20(%ebx), %eax\n shr $16, %eax\n add $0x6000, %ax\n mov %ax, %sp\n"
           LAPIC("0x1ff", "0xf0") "lock incw 0x610\n sti\n 1: hlt\n jmp 1b\n"
           "i_log: mov %ax, (%di)\n add $2, %di\n ret\n"
           ".balign 8\n i_gdt: .quad 0, 0x00cf93000000ffff\n i_gdtr: .word 15\n .long 0xf0000+i_gdt-irq_guest\n"
           /* handlers */
           "i_none: iret\n"
           "i_pic: push %ax\n incw 0x600\n" OUTB("0x0b", "0x20") "in $0x20, %al\n or %al, 0x604\n" OUTB("0x20", "0x20") "pop %ax\n iret\n"
           "i_self: incw 0x606\n" EOI "i_timer: incw 0x608\n" EOI "i_pin: incw 0x60a\n" EOI "i_msi: incw 0x60e\n" EOI
           "i_ipi: lock incw 0x612\n" EOI "i_nmi: incw 0x614\n iret\n"
           /* one that finds its device silent was sent too early: some KVMs end interrupts as they deliver them */
           "i_level: push %ax\n in $0x80, %al\n test %al, %al\n jz 1f\n incw 0x60c\n mov $3, %al\n out %al, $0x80\n"
           "1: pop %ax\n" EOI
           "i_start: cli\n xor %ax, %ax\n mov %ax, %ds\n mov %ax, %ss\n mov %ax, %es\n mov $0x7000, %sp\n cld\n" FLAT
           "incw 0x500\n mov 0x500, %di\n shl $9, %di\n add $0x1000, %di\n"
           "push %di\n mov $0x600, %di\n mov $32, %cx\n xor %ax, %ax\n rep stosw\n pop %di\n"
           VECTOR("0x20", "i_pic") VECTOR("0x27", "i_none") VECTOR("0x2f", "i_none") VECTOR("0x40", "i_timer")
           VECTOR("0x41", "i_self") VECTOR("0x50", "i_pin") VECTOR("0x51", "i_level") VECTOR("0x60", "i_msi")
           VECTOR("0x70", "i_ipi") VECTOR("2", "i_nmi") VECTOR("0xff", "i_none")
           /* 8259: what reset left, initialisation, registers; 20 ticks of the 8254 */
           "in $0x21, %al\n xor %ah, %ah\n call i_log\n"
           OUTB("0x11", "0x20") OUTB("0x20", "0x21") OUTB("4", "0x21") OUTB("1", "0x21")
           OUTB("0x11", "0xa0") OUTB("0x28", "0xa1") OUTB("2", "0xa1") OUTB("1", "0xa1") OUTB("0xfe", "0x21") OUTB("0xbf", "0xa1")
           OUTX("0x0c", "0x4d1") "in %dx, %al\n mov %al, %ah\n in $0x21, %al\n call i_log\n in $0xa1, %al\n mov %al, %ah\n in $0xa0, %al\n call i_log\n"
           OUTB("0x34", "0x43") OUTB("0xa9", "0x40") OUTB("4", "0x40") WAIT("0x600", "20") LOG("0x604")
           /* counter 0 once, its status; counter 2 through port 61h */
           "movw $0, 0x600\n" OUTB("0x30", "0x43") OUTB("0", "0x40") OUTB("0x10", "0x40") WAIT("0x600", "1")
           "1: mov $0xe2, %al\n out %al, $0x43\n in $0x40, %al\n test $0x80, %al\n jz 1b\n xor %ah, %ah\n call i_log\n" OUTB("0xff", "0x21")
           OUTB("1", "0x61") OUTB("0xb0", "0x43") OUTB("0xff", "0x42") OUTB("2", "0x42")
           "1: in $0x61, %al\n test $0x20, %al\n jz 1b\n and $0x23, %ax\n call i_log\n"
           OUTB("3", "0x61") "in $0x61, %al\n and $3, %ax\n call i_log\n" OUTB("0", "0x61") "in $0x61, %al\n and $3, %ax\n call i_log\n"
           /* local APIC: to itself, once, again and again */
           "mov $0xfee00000, %ebx\n mov $0xfec00000, %esi\n" LAPIC("0x1ff", "0xf0") LAPIC("0x10000", "0x350")
           "mov %fs:0x350(%ebx), %eax\n shr $8, %eax\n call i_log\n" LAPIC("0x40041", "0x300") WAIT("0x606", "1") LOG("0x606")
           LAPIC("0xb", "0x3e0") LAPIC("0x40", "0x320") LAPIC("1000000", "0x380") WAIT("0x608", "1") LOG("0x608")
           LAPIC("0x20040", "0x320") LAPIC("500000", "0x380") WAIT("0x608", "6") LAPIC("0x10040", "0x320") "mov %fs:0x3e0(%ebx), %eax\n call i_log\n"
           /* I/O APIC: the 8254 by edges, a device by level */
           PIN("0x15", "0") PIN("0x14", "0x50") OUTB("0x34", "0x43") OUTB("0xa9", "0x40") OUTB("4", "0x40") WAIT("0x60a", "5")
           PIN("0x14", "0x10050") "mov %fs:0x10(%esi), %eax\n call i_log\n" OUTB("0x30", "0x43")
           PIN("0x39", "0") PIN("0x38", "0x8051")
           OUTB("2", "0x80") WAIT("0x60c", "1") OUTB("2", "0x80") WAIT("0x60c", "2") OUTB("2", "0x80") WAIT("0x60c", "3") LOG("0x60c")
           /* messages, NMI */
           OUTB("1", "0x80") WAIT("0x60e", "1") OUTB("1", "0x80") WAIT("0x60e", "2") LOG("0x60e")
           OUTB("4", "0x80") WAIT("0x614", "1") LOG("0x614")
           /* the other CPUs, ten interrupts for all of them */
           LAPIC("0xc4500", "0x300") "mov $2000, %cx\n 1: pause\n loop 1b\n" LAPIC("0xc46f0", "0x300")
           "in $0x81, %al\n xor %ah, %ah\n dec %ax\n mov %ax, %bp\n 1: pause\n cmp %bp, 0x610\n jb 1b\n" LOG("0x610")
           "mov $10, %cx\n mov %bp, %dx\n 3: " LAPIC("0xc4070", "0x300") "4: pause\n cmp %dx, 0x612\n jb 4b\n add %bp, %dx\n loop 3b\n" LOG("0x612")
           "cmpw $2, 0x500\n jae 5f\n" OUTX("2", "0xcf9") OUTX("6", "0xcf9") "1: hlt\n jmp 1b\n 5: movb $1, 0xff0\n cli\n 1: hlt\n jmp 1b\n");

const AccelOps *const accel_table[] = { &accel_tcg_ops, &accel_kvm_ops, NULL };
const BoardType *const board_table[] = { &pc_board, NULL };

typedef struct Where {
    const char *name;
    const AccelOps *ops;
    const char *prop, *value;
} Where;
static const Where places[] = {
    { "tier0", &accel_tcg_ops, "tier", "0" },
    { "tier1", &accel_tcg_ops, "tier", "1" },
    { "off", &accel_kvm_ops, "kernel-irqchip", "off" },
    { "split", &accel_kvm_ops, "kernel-irqchip", "split" },
    { "on", &accel_kvm_ops, "kernel-irqchip", "on" },
};

typedef struct Pc {
    Loop *loop;
    Machine *m;
    Device *ioapic, *pic, *pit;
    MemRegion asks;
    MsiRoute route;
    uint8_t level; /* atomic */
    char *dir, *rom;
} Pc;

static void set_level(Pc *pc, bool level)
{
    __atomic_store_n(&pc->level, level, __ATOMIC_SEQ_CST);
    ioapic_sink.set(pc->ioapic, LEVEL_PIN, level);
}

static void asks_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Pc *pc = opaque;
    switch (val) {
    case ASK_MSI: msi_route_send(pc->m, &pc->route, (MsiMessage){ 0xfee00000, V_MSI }); break;
    case ASK_LEVEL: set_level(pc, true); break;
    case ACK_LEVEL: set_level(pc, false); break;
    case ASK_NMI: vcpu_interrupt(pc->m->cpus[0], X86_IRQ_NMI); break;
    }
}

static uint64_t asks_read(void *opaque, MemAccess *a)
{
    Pc *pc = opaque;
    return a->off ? pc->m->n_cpus : __atomic_load_n(&pc->level, __ATOMIC_SEQ_CST);
}

static void *state_of(Machine *m, const Where *w)
{
    void *s = g_malloc0(w->ops->state_size);
    props_init(w->ops->props, s);
    prop_set_text(m, prop_find(w->ops->props, w->prop), s, w->value, &error_abort_slot);
    return s;
}

static Device *find_device(Device *from, const DeviceType *type)
{
    Device *found = from->type == type ? from : NULL;
    for (guint i = 0; !found && from->children && i < from->children->len; i++) {
        found = find_device(from->children->pdata[i], type);
    }
    return found;
}

static Pc *pc_new(const Where *w, const char *hpet)
{
    static const MemOps ops = { .read = asks_read, .write = asks_write, .min = 1, .max = 1, .impl_max = 1, .lockless = true };
    static const uint8_t reset[] = { 0xe9 };
    extern const uint8_t i_start[];
    Pc *pc = g_new0(Pc, 1);
    pc->dir = g_dir_make_tmp("rhea-irq-XXXXXX", NULL);
    pc->rom = g_build_filename(pc->dir, "rom", NULL);
    g_autofree char *rom = g_malloc0(ROM_SIZE);
    size_t n = (size_t)(irq_guest_end - irq_guest);
    g_assert_cmpuint(n, <, ROM_SIZE - 16);
    memcpy(rom, irq_guest, n);
    memcpy(rom + ROM_SIZE - 16, reset, 1);
    uint16_t rel = (uint16_t)(i_start - irq_guest - (ROM_SIZE - 16 + 3));
    memcpy(rom + ROM_SIZE - 15, &rel, 2);
    g_assert_true(g_file_set_contents(pc->rom, rom, ROM_SIZE, NULL));
    role_become_main();
    pc->loop = loop_new("main");
    Machine *m = pc->m = machine_new(pc->loop);
    m->board = &pc_board;
    m->accel = w->ops;
    m->n_cpus = m->max_cpus = m->sockets = CPUS;
    m->cores = m->threads = m->dies = 1;
    m->cpu_text = g_strdup("qemu64,-x2apic,-pni");
    m->ram_size = 16 << 20;
    m->bios = g_strdup(pc->rom);
    m->board_state = g_malloc0(pc_board.state_size);
    props_init(pc_board.props, m->board_state);
    prop_set_text(m, prop_find(pc_board.props, "hpet"), m->board_state, hpet, &error_abort_slot);
    m->accel_state = state_of(m, w);
    machine_build(m, &error_abort_slot);
    pc->ioapic = find_device(m->root, &ioapic_type);
    pc->pic = find_device(m->root, &i8259_type);
    pc->pit = find_device(m->root, &i8254_type);
    g_assert_true(pc->ioapic && pc->pic && pc->pit);
    region_init_io(&pc->asks, NULL, "asks", &ops, pc, 2);
    region_map(&m->sysio, 0x80, &pc->asks, 100);
    machine_ready(m, &error_abort_slot);
    return pc;
}

static void pc_free(Pc *pc)
{
    machine_stop(pc->m, RUN_PAUSED);
    msi_route_drop(pc->m, &pc->route);
    g_assert_false(pc->route.open);
    region_unmap(&pc->asks);
    region_fini(&pc->asks);
    machine_free(pc->m);
    loop_free(pc->loop);
    g_unlink(pc->rom);
    g_rmdir(pc->dir);
    g_free(pc->dir);
    g_free(pc->rom);
    g_free(pc);
}

static uint64_t ram_ld(Pc *pc, hwaddr at, unsigned n)
{
    uint64_t v = 0;
    as_access(&pc->m->as_mem, at, &v, n, false, MEM_ATTRS_NONE);
    return v;
}

static bool turn_until_done(Pc *pc, unsigned us)
{
    int64_t end = g_get_monotonic_time() + us;
    do {
        loop_turn(pc->loop, false);
        if (ram_ld(pc, DONE_AT, 1)) {
            return true;
        }
        g_usleep(MIN(us / 4 + 1, 500u));
    } while (g_get_monotonic_time() < end);
    return false;
}

static void stuck(Pc *pc, const char *name)
{
    g_autoptr(GString) text = g_string_new(NULL);
    machine_stop(pc->m, RUN_PAUSED);
    for (unsigned i = 0; i < pc->m->n_cpus; i++) {
        x86_64_target_ops.print_regs(pc->m->cpus[i], text);
        apic_print(pc->m->cpus[i], text);
    }
    pc->ioapic->type->describe(pc->ioapic, text, 0);
    pc->pic->type->describe(pc->pic, text, 0);
    pc->pit->type->describe(pc->pit, text, 0);
    for (unsigned i = 0; i < 12; i++) {
        g_string_append_printf(text, "count %x: %u\n", 0x600 + 2 * i, (unsigned)ram_ld(pc, 0x600 + 2 * i, 2));
    }
    g_error("%s: the guest does not come to its end; boot %u\n%s", name, (unsigned)ram_ld(pc, BOOTS_AT, 2), text->str);
}

static void run_to_the_end(Pc *pc, const char *name)
{
    if (!turn_until_done(pc, 60000000)) {
        stuck(pc, name);
    }
}

/* The log of each boot. */
static void take_log(Pc *pc, uint8_t *log)
{
    as_access(&pc->m->as_mem, LOG_AT + LOG_SIZE, log, BOOTS * LOG_SIZE, false, MEM_ATTRS_NONE);
}

static void same_log(const char *name, const uint8_t *got)
{
    /* 8259: IMR after reset, ELCR and IMR, slave IMR and IRR, ISR in the handler; 8254: status; port 61h three times;
     * LINT0; self; timer; divider; pin; levels; messages; NMI; CPUs; interrupts between them */
    static const uint16_t want[] = { 0, 0x0cfe, 0xbf00, 0x01, 0xb0, 0x21, 3, 0, 0x100, 1, 1, 0xb, 0x50, 3, 2, 1, CPUS - 1, 10 * (CPUS - 1) };
    for (unsigned boot = 0; boot < BOOTS; boot++) {
        for (unsigned i = 0; i < LOG_SIZE / 2; i++) {
            uint16_t v, w = i < G_N_ELEMENTS(want) ? want[i] : 0;
            memcpy(&v, got + boot * LOG_SIZE + 2 * i, 2);
            if (v != w) {
                g_error("%s: boot %u: entry %u of the log is 0x%x, not 0x%x", name, boot, i, v, w);
            }
        }
    }
}

/* Local APICs in the kernel: what is pushed and pulled again is what it was, but for a count that runs. */
static void lapics_there_and_back(Pc *pc)
{
    enum { CURRENT_COUNT = 0x390 / 4 };
    static const uint32_t none[256];
    for (unsigned i = 0; kvm_irqchip(pc->m) != IRQCHIP_OFF && i < pc->m->n_cpus; i++) {
        X86Cpu *cpu = x86_cpu(pc->m->cpus[i]);
        uint32_t a[256] = { 0 }, b[256] = { 0 };
        cpu->apic_ops->get_page(cpu->apic, a);
        x86_kvm_ops.push(&cpu->vcpu, true, &error_abort_slot);
        cpu->apic_ops->set_page(cpu->apic, none);
        x86_kvm_ops.pull(&cpu->vcpu, &error_abort_slot);
        cpu->apic_ops->get_page(cpu->apic, b);
        a[CURRENT_COUNT] = b[CURRENT_COUNT] = 0;
        g_assert_cmpmem(a, sizeof(a), b, sizeof(b));
        g_assert_cmphex(a[0xf0 / 4], ==, 0x1ff);
    }
}

static void test_same(gconstpointer data)
{
    const Where *w = data;
    uint8_t log[BOOTS * LOG_SIZE];
    if (w->ops == &accel_kvm_ops && kvm_skipped()) {
        return;
    }
    Pc *pc = pc_new(w, "on");
    machine_start(pc->m);
    run_to_the_end(pc, w->name);
    take_log(pc, log);
    same_log(w->name, log);
    machine_stop(pc->m, RUN_PAUSED);
    g_assert_true(pc->route.open == (kvm_irqchip(pc->m) != IRQCHIP_OFF));
    g_assert_cmpuint(pc->route.sent, ==, pc->route.open ? 2 * BOOTS : 0);
    if (w->ops == &accel_kvm_ops) {
        lapics_there_and_back(pc);
    }
    pc_free(pc);
}

/* ---- stopped, saved, loaded, moved ---- */

static void move_to(Pc *pc, const Where *w)
{
    Error *err = NULL;
    if (!machine_move(pc->m, w->ops, state_of(pc->m, w), &err)) {
        g_error("no move to %s: %s", w->name, error_text(err));
    }
}

static void save_and_load(Pc *pc, bool reset)
{
    g_autoptr(GByteArray) s = g_byte_array_new();
    machine_save(pc->m, s, true);
    if (reset) {
        machine_reset(pc->m, RESET_COLD);
    }
    if (!machine_load(pc->m, s->data, s->len, &error_abort_slot)) {
        g_assert_not_reached();
    }
}

static void run_moved(const char *name, const Where *first, const unsigned *to, unsigned n_to)
{
    uint8_t log[BOOTS * LOG_SIZE];
    if (kvm_skipped()) {
        return;
    }
    g_autoptr(GRand) r = g_rand_new_with_seed(n_to);
    Pc *pc = pc_new(first, "on");
    unsigned turns = 0;
    bool done = false;
    for (; turns < 300 && !done; turns++) {
        machine_start(pc->m);
        done = turn_until_done(pc, (unsigned)g_rand_int_range(r, 500, turns % 8 ? 6000 : 30000));
        machine_stop(pc->m, RUN_PAUSED);
        g_assert_cmpint(pc->m->state, ==, RUN_PAUSED);
        if (turns % 3 == 1) {
            save_and_load(pc, turns % 2);
        }
        if (n_to) {
            move_to(pc, &places[to[(unsigned)g_rand_int_range(r, 0, (gint32)n_to)]]);
        }
    }
    if (!done) {
        machine_start(pc->m);
        run_to_the_end(pc, name);
    }
    g_test_message("%s: stopped %u times", name, turns);
    take_log(pc, log);
    same_log(name, log);
    pc_free(pc);
}

static void test_saved(gconstpointer data)
{
    const Where *w = data;
    run_moved(w->name, w, NULL, 0);
}

static void test_moved_all(void)
{
    static const unsigned all[] = { 0, 1, 2, 3, 4, 4, 4 };
    run_moved("moved", &places[4], all, G_N_ELEMENTS(all));
}

static void test_moved_out(void)
{
    static const unsigned two[] = { 1, 4 };
    run_moved("moved in and out", &places[4], two, G_N_ELEMENTS(two));
}

/* What reaches a CPU that is parked already, from one that is not, is saved and moved with it: an interrupt, an INIT and
 * a start-up IPI. */
static void test_late(gconstpointer data)
{
    enum { IRR = 0x200 / 4 + 4 * (V_MSI / 32), AT = 0x8000 };
    const Where *w = data;
    if (kvm_skipped()) {
        return;
    }
    Pc *pc = pc_new(w, "on");
    machine_start(pc->m);
    run_to_the_end(pc, w->name);
    machine_stop(pc->m, RUN_PAUSED);
    X86Cpu *first = x86_cpu(pc->m->cpus[0]), *second = x86_cpu(pc->m->cpus[1]);
    g_assert_true(kvm_state_owned(&first->vcpu) && second->vcpu.halted && !second->wait_sipi);
    msi_send(pc->m, (MsiMessage){ 0xfee00000, V_MSI });
    msi_send(pc->m, (MsiMessage){ 0xfee01000, 0x4500 });
    msi_send(pc->m, (MsiMessage){ 0xfee01000, 0x4600 | AT >> 12 });
    for (unsigned turn = 0; turn < 2; turn++) {
        uint32_t page[256];
        if (turn) {
            move_to(pc, &places[0]);
        } else {
            save_and_load(pc, true);
        }
        first->apic_ops->get_page(first->apic, page);
        g_assert_cmphex(page[IRR], ==, 1u << V_MSI % 32);
        g_assert_true(!second->wait_sipi && second->rip == 0 && second->seg[SEG_CS].base == AT);
    }
    pc_free(pc);
}

/* What the guest knows of its I/O APIC: one that began outside stays there. */
static void test_stays_out(void)
{
    Error *err = NULL;
    if (kvm_skipped()) {
        return;
    }
    Pc *pc = pc_new(&places[3], "on");
    g_assert_false(machine_move(pc->m, &accel_kvm_ops, state_of(pc->m, &places[4]), &err));
    g_assert_nonnull(strstr(error_text(err), "version 0x20"));
    g_assert_nonnull(strstr(error_hint_text(err), "kernel-irqchip=split"));
    error_free(err);
    g_assert_cmpint(kvm_irqchip(pc->m), ==, IRQCHIP_SPLIT);
    pc_free(pc);
}

/* ---- doorbells ---- */

typedef struct Bell {
    Device dev;
    MemRegion regs;
    Doorbell bell;
    unsigned rings, writes;
    uint64_t last;
} Bell;

static void bell_write(void *opaque, MemAccess *a, uint64_t val)
{
    Bell *b = opaque;
    b->writes++;
    b->last = a->off << 32 | val;
}

static void bell_ring(void *opaque)
{
    Bell *b = opaque;
    g_assert_true(domain_held(b->dev.domain));
    b->rings++;
}

static void bell_gone(void *opaque)
{
    doorbell_remove(&((Bell *)opaque)->bell);
}

static bool bell_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .write = bell_write, .min = 1, .max = 4 };
    Bell *b = dev_as(Bell, dev);
    region_init_io(&b->regs, dev, "bell", &ops, b, 4096);
    device_add_region(dev, &b->regs);
    b->bell = (Doorbell){ .region = &b->regs, .off = 0x10, .ring = bell_ring, .opaque = b };
    doorbell_add(&b->bell, dev);
    device_add_cleanup(dev, bell_gone, b);
    return true;
}

static const DeviceType bell_type = { .name = "test-bell", .desc = "doorbell", .size = sizeof(Bell), .realize = bell_realize };

/* A byte, a word and a long at the doorbell, one elsewhere; then a word in memory says that it is done. */
GUEST_CODE(b_ring, 32, "movb $1, 0x10(%ebx)\n movw $2, 0x10(%ebx)\n movl $3, 0x10(%ebx)\n movl $7, 0x20(%ebx)\n movl $1, (%edi)\n");

static void ring(Guest *g, hwaddr at)
{
    g->cpu->rip = G_CODE; /* parked: registers are ours */
    g->cpu->gpr[R_RBX] = at;
    g->cpu->gpr[R_RDI] = G_DATA;
    g->cpu->wait_sipi = g->cpu->vcpu.halted = false;
    guest_st(g, G_DATA, 4, 0);
    machine_start(g->m);
    for (unsigned i = 0; i < 20000 && !guest_ld(g, G_DATA, 4); i++) {
        loop_turn(g->loop, false);
        g_usleep(500);
    }
    g_assert_cmpuint(guest_ld(g, G_DATA, 4), ==, 1);
    machine_stop(g->m, RUN_PAUSED); /* hears the last one */
}

/* NULL: without KVM. */
static Guest *guest_with_chip(const char *chip)
{
    g_setenv("RHEA_TEST_ACCEL", chip ? "kvm" : "tcg", true);
    guest_accel_props = chip;
    Guest *g = guest_new_smp("qemu64,-x2apic,-pni", 1, false);
    guest_accel_props = NULL;
    guest_pm32(g);
    return g;
}

static void test_doorbell(gconstpointer data)
{
    enum { HERE = 32 << 20, THERE = 48 << 20 };
    const char *chip = data;
    if (chip && kvm_skipped()) {
        return;
    }
    bool caught = chip && strcmp(chip, "off");
    Guest *g = guest_with_chip(chip);
    Bell *b = dev_as(Bell, device_create(g->m, &bell_type, g->m->unattached, NULL, NULL, &error_abort_slot, NULL));
    device_map_mem(&b->dev, &b->regs, HERE, 1);
    guest_put(g, G_CODE, b_ring, (size_t)(b_ring_end - b_ring));
    for (unsigned turn = 1; turn <= 3; turn++) {
        b->rings = b->writes = 0;
        ring(g, turn == 1 ? HERE : THERE);
        bool there = turn != 2; /* the second time nothing is there */
        g_assert_cmpuint(b->writes, ==, !there ? 0 : caught ? 1 : 4);
        g_assert_true(caught && there ? b->rings >= 1 && b->rings <= 3 : b->rings == 0); /* it counts, we look */
        g_assert_cmphex(b->last, ==, UINT64_C(0x20) << 32 | 7);
        if (turn == 2) {
            region_set_addr(&b->regs, THERE);
        }
    }
    if (chip) { /* with another accelerator writes are writes again */
        Error *err = NULL;
        b->writes = b->rings = 0;
        g_assert_true(machine_move(g->m, &accel_tcg_ops, state_of(g->m, &places[1]), &err));
        ring(g, THERE);
        g_assert_cmpuint(b->writes, ==, 4);
        g_assert_true(machine_move(g->m, &accel_kvm_ops, state_of(g->m, &places[3]), &err));
        ring(g, THERE);
        g_assert_cmpuint(b->writes, ==, 5);
        g_assert_cmpuint(b->rings, >=, 1);
    }
    device_remove(&b->dev);
    guest_free(g);
}

/* In I/O space a doorbell of one value: words 1, 2, 1 and a byte 1 at its port. */
GUEST_CODE(b_port, 32, "movw $0x610, %dx\n movw $1, %ax\n outw %ax, %dx\n movw $2, %ax\n outw %ax, %dx\n movw $1, %ax\n"
           "outw %ax, %dx\n outb %al, %dx\n movl $1, (%edi)\n");

static bool port_bell_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .write = bell_write, .min = 1, .max = 4 };
    Bell *b = dev_as(Bell, dev);
    region_init_io(&b->regs, dev, "bell", &ops, b, 32);
    device_add_region(dev, &b->regs);
    b->bell = (Doorbell){ .region = &b->regs, .off = 0x10, .ring = bell_ring, .opaque = b,
                          .io = true, .len = 2, .value = 1 };
    doorbell_add(&b->bell, dev);
    device_add_cleanup(dev, bell_gone, b);
    return device_map_io(dev, &b->regs, 0x600, errp);
}

static const DeviceType port_bell_type = {
    .name = "test-port-bell", .desc = "doorbell", .size = sizeof(Bell), .realize = port_bell_realize
};

static void test_doorbell_port(gconstpointer data)
{
    const char *chip = data;
    if (chip && kvm_skipped()) {
        return;
    }
    bool caught = chip && strcmp(chip, "off");
    Guest *g = guest_with_chip(chip);
    Bell *b = dev_as(Bell, device_create(g->m, &port_bell_type, g->m->unattached, NULL, NULL, &error_abort_slot, NULL));
    guest_put(g, G_CODE, b_port, (size_t)(b_port_end - b_port));
    ring(g, 0);
    g_assert_cmpuint(b->writes, ==, caught ? 2 : 4);
    g_assert_true(caught ? b->rings >= 1 && b->rings <= 2 : b->rings == 0);
    g_assert_cmphex(b->last, ==, UINT64_C(0x10) << 32 | 1);
    device_remove(&b->dev);
    guest_free(g);
}

/* A virtio device in memory: the register that takes a queue's number, for queue 0 and for one that there is not. */
GUEST_CODE(b_virtio, 32, "movl $0, 0x50(%ebx)\n movl $9, 0x50(%ebx)\n movl $1, (%edi)\n");

static void test_virtio_mmio(gconstpointer data)
{
    enum { HERE = 32 << 20, DESC = 0x300000, AVAIL = 0x301000, USED = 0x302000, BUFFER = 0x303000 };
    static const uint32_t set_up[][2] = { /* virtio 1.2, 3.1.1 and 4.2.3.2: VERSION_1, one queue of 8 */
        { 0x70, 3 }, { 0x24, 1 }, { 0x20, 1 }, { 0x70, 11 }, { 0x30, 0 }, { 0x38, 8 }, { 0x80, DESC }, { 0x90, AVAIL },
        { 0xa0, USED }, { 0x44, 1 }, { 0x70, 15 },
    };
    const char *chip = data;
    if (chip && kvm_skipped()) {
        return;
    }
    for (unsigned off = 0; off < 2; off++) {
        bool caught = chip && strcmp(chip, "off") && !off;
        uint64_t rung;
        Guest *g = guest_with_chip(chip);
        Device *t = device_create(g->m, &virtio_mmio_type, g->m->unattached, NULL, NULL, &error_abort_slot, "force-legacy",
                                  "off", "ioeventfd", off ? "off" : "on", NULL);
        device_map_mem(t, device_region(t, 0), HERE, 1);
        device_create(g->m, device_type_find("virtio-rng-device"), g->m->peripheral, "r", virtio_mmio_bus(t),
                      &error_abort_slot, NULL);
        for (unsigned i = 0; i < G_N_ELEMENTS(set_up); i++) {
            as_store(&g->m->as_mem, HERE + set_up[i][0], 4, set_up[i][1], MEM_ATTRS_NONE);
        }
        g_assert_cmpuint(doorbells_count(g->m, &rung), ==, caught);
        guest_put(g, G_CODE, b_virtio, (size_t)(b_virtio_end - b_virtio));
        for (unsigned n = 1; n <= 3; n++) { /* the same buffer, again and again */
            guest_st(g, DESC, 8, BUFFER);
            guest_st(g, DESC + 8, 4, 16);
            guest_st(g, DESC + 12, 2, 2);
            guest_st(g, AVAIL + 2, 2, n);
            ring(g, HERE);
            g_assert_cmpuint(guest_ld(g, USED + 2, 2), ==, n);
            doorbells_count(g->m, &rung);
            g_assert_cmpuint(rung, ==, caught ? n : 0);
        }
        device_remove(g->m->peripheral->children->pdata[0]);
        g_assert_cmpuint(doorbells_count(g->m, &rung), ==, 0);
        guest_free(g);
    }
}

/* ---- writes that come late ---- */

typedef struct Late {
    Device dev;
    MemRegion mem, io;
    Coalesced late_mem, late_io;
    uint32_t index, seen[4];
    unsigned n;
} Late;

static void late_write(void *opaque, MemAccess *a, uint64_t val)
{
    Late *l = opaque;
    if (a->off == 0) {
        l->index = (uint32_t)val;
    } else if (l->n < G_N_ELEMENTS(l->seen)) {
        l->seen[l->n++] = l->index << 8 | (uint32_t)val;
    }
}

static bool late_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .write = late_write, .min = 1, .max = 4 };
    Late *l = dev_as(Late, dev);
    region_init_io(&l->mem, dev, "late", &ops, l, 4096);
    region_init_io(&l->io, dev, "late-io", &ops, l, 8);
    device_add_region(dev, &l->mem);
    device_add_region(dev, &l->io);
    l->late_mem = (Coalesced){ .region = &l->mem, .size = 4 };
    l->late_io = (Coalesced){ .region = &l->io, .size = 1 };
    coalesced_add(&l->late_mem, dev);
    coalesced_add(&l->late_io, dev);
    return device_map_io(dev, &l->io, 0x200, errp);
}

static const DeviceType late_type = { .name = "test-late", .desc = "index", .size = sizeof(Late), .realize = late_realize };

GUEST_CODE(l_write, 32, "movl $1, (%ebx)\n movl $0x10, 4(%ebx)\n movl $2, (%ebx)\n movl $3, (%ebx)\n movl $0x20, 4(%ebx)\n"
                        "mov $0x200, %edx\n mov $5, %al\n out %al, %dx\n mov $0x204, %edx\n mov $0x30, %al\n out %al, %dx\n"
                        "mov $0x200, %edx\n mov $9, %al\n out %al, %dx\n movl $1, (%edi)\n");

/* Each write of data finds the index that the guest wrote before it; the last index is there when the machine stands. */
static void test_coalesced(gconstpointer data)
{
    enum { HERE = 32 << 20 };
    if (data && kvm_skipped()) {
        return;
    }
    Guest *g = guest_with_chip(data);
    Late *l = dev_as(Late, device_create(g->m, &late_type, g->m->unattached, NULL, NULL, &error_abort_slot, NULL));
    device_map_mem(&l->dev, &l->mem, HERE, 1);
    guest_put(g, G_CODE, l_write, (size_t)(l_write_end - l_write));
    for (unsigned turn = 1; turn <= 3; turn++) {
        if (turn == 3 && data) { /* also behind a move */
            g_assert_true(machine_move(g->m, &accel_tcg_ops, state_of(g->m, &places[0]), NULL));
            g_assert_true(machine_move(g->m, &accel_kvm_ops, state_of(g->m, &places[2]), NULL));
        }
        l->n = l->index = 0;
        ring(g, HERE);
        g_assert_cmpuint(l->n, ==, 3);
        g_assert_cmphex(l->seen[0], ==, 0x110);
        g_assert_cmphex(l->seen[1], ==, 0x320);
        g_assert_cmphex(l->seen[2], ==, 0x530);
        g_assert_cmphex(l->index, ==, 9);
    }
    if (data && kvm_cap(g->m, KVM_CAP_COALESCED_MMIO) && kvm_cap(g->m, KVM_CAP_COALESCED_PIO)) {
        g_assert_cmpuint(kvm_vm(g->m)->coalesced, ==, 5); /* since the move */
    }
    device_remove(&l->dev);
    guest_free(g);
}

/* ---- states there and back ---- */

static void chip_state(Device *dev, GByteArray *out)
{
    vmstate_save(dev->type->vmstate, dev, out);
}

/* Both sides agree: what is pulled, pushed and pulled again is what it was, also byte by byte in the kernel. */
static void test_states(void)
{
    static const AccelChip chips[] = { CHIP_PIC_MASTER, CHIP_PIC_SLAVE, CHIP_IOAPIC };
    if (kvm_skipped()) {
        return;
    }
    g_autoptr(GRand) r = g_rand_new_with_seed(4);
    Pc *pc = pc_new(&places[4], "off");
    const IrqChipOps *ops = pc->m->accel->irqchip;
    Device *devs[] = { pc->pic, i8259_slave(pc->pic), pc->ioapic };
    for (AccelChipUser *u = kvm_vm(pc->m)->chips; u; u = u->next) {
        u->fresh = false;
    }
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(chips); i++) {
            union { PicImage pic; IoapicImage io; } in = { 0 }, out;
            if (chips[i] == CHIP_IOAPIC) {
                in.io.id = (uint8_t)g_rand_int_range(r, 0, 16);
                in.io.select = (uint8_t)g_rand_int_range(r, 0, 0x40);
                for (unsigned n = 0; n < ACCEL_IOAPIC_PINS; n++) { /* masked: nothing is sent */
                    in.io.rte[n] = 0x10000 | (g_rand_int(r) & 0xefff) | (uint64_t)(g_rand_int(r) & 0xff) << 56;
                    in.io.rte[n] &= in.io.rte[n] & 0x8000 ? ~UINT64_C(0x3000) : ~UINT64_C(0x7000);
                }
            } else {
                in.pic = (PicImage){ .imr = (uint8_t)g_rand_int(r), .isr = (uint8_t)g_rand_int(r),
                                     .elcr_mask = chips[i] == CHIP_PIC_MASTER ? 0xf8 : 0xde,
                                     .base = (uint8_t)(g_rand_int(r) & 0xf8) | 8, .lowest = (uint8_t)g_rand_int_range(r, 0, 8),
                                     .read_isr = g_rand_boolean(r), .poll = g_rand_boolean(r),
                                     .special_mask = g_rand_boolean(r), .rotate_aeoi = g_rand_boolean(r),
                                     .auto_eoi = g_rand_boolean(r), .fully_nested = g_rand_boolean(r),
                                     .icw4 = g_rand_boolean(r), .icw = (uint8_t)(g_rand_int(r) & 3) };
                in.pic.icw += in.pic.icw ? 1 : 0;
                in.pic.elcr = (uint8_t)g_rand_int(r) & in.pic.elcr_mask;
                in.pic.irr = (uint8_t)g_rand_int(r) & ~in.pic.elcr & (chips[i] == CHIP_PIC_MASTER ? 0xfb : 0xff);
                in.pic.imr |= chips[i] == CHIP_PIC_SLAVE ? 0xff : 0; /* else the master hears of it */
            }
            g_assert_true(ops->chip_set(pc->m, chips[i], &in));
            g_autoptr(GByteArray) first = g_byte_array_new();
            g_autoptr(GByteArray) second = g_byte_array_new();
            chip_state(devs[i], first); /* pulls */
            for (AccelChipUser *u = kvm_vm(pc->m)->chips; u; u = u->next) {
                if (u->chip == chips[i]) {
                    u->push(u->opaque);
                }
            }
            g_assert_true(ops->chip_get(pc->m, chips[i], &out));
            if (memcmp(&in, &out, chips[i] == CHIP_IOAPIC ? sizeof(in.io) : sizeof(in.pic))) {
                g_error("chip %u: round %u: its state is not what it was", chips[i], round);
            }
            chip_state(devs[i], second);
            g_assert_cmpmem(first->data, first->len, second->data, second->len);
        }
    }
    pc_free(pc);
}

/* The 8254: registers and counts; a count that runs goes on from where it was. */
static void test_pit_state(void)
{
    if (kvm_skipped()) {
        return;
    }
    Pc *pc = pc_new(&places[4], "off");
    const IrqChipOps *ops = pc->m->accel->irqchip;
    AccelChipUser *u = kvm_vm(pc->m)->chips;
    while (u->chip != CHIP_PIT) {
        u = u->next;
    }
    u->fresh = false;
    for (unsigned mode = 0; mode < 6; mode++) {
        for (unsigned k = 0; k < 4; k++) {
            PitImage in = { .speaker = k & 1, .replaced = true, .reinject = true }, out;
            for (unsigned i = 0; i < 3; i++) {
                in.c[i] = (PitImageCounter){ .known = true, .mode = (uint8_t)mode, .access = (uint8_t)(k % 3 + 1),
                                             .count = 60000 - 1000 * i, .gate = i != 2 || k & 1,
                                             .read_second = k == 2 && i == 0, .write_second = k == 2 && i == 1, .write_low = 0x12,
                                             .status_latched = k == 1, .status = 0x34, .latch = 0x1234, .latch_left = k == 3 };
            }
            i8254_set_replaced(pc->pit, true);
            g_assert_true(ops->chip_set(pc->m, CHIP_PIT, &in));
            g_autoptr(GByteArray) first = g_byte_array_new();
            g_autoptr(GByteArray) second = g_byte_array_new();
            chip_state(pc->pit, first);
            u->push(u->opaque);
            chip_state(pc->pit, second);
            g_assert_cmpmem(first->data, first->len, second->data, second->len);
            g_assert_true(ops->chip_get(pc->m, CHIP_PIT, &out));
            g_assert_true(out.speaker == in.speaker && out.replaced);
            for (unsigned i = 0; i < 3; i++) {
                const PitImageCounter *a = &in.c[i], *b = &out.c[i];
                g_assert_true(a->mode == b->mode && a->access == b->access && a->gate == b->gate && a->latch == b->latch &&
                              a->latch_left == b->latch_left && a->status_latched == b->status_latched &&
                              a->read_second == b->read_second && a->write_second == b->write_second && a->status == b->status);
                g_assert_cmpuint(b->count, <=, a->count);
                g_assert_cmpuint(b->count, >, a->count - 3000); /* what ran down between the two */
            }
        }
    }
    pc_free(pc);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm-irq/same/%s", places[i].name);
        g_test_add_data_func(path, &places[i], test_same);
    }
    for (unsigned i = 2; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm-irq/saved/%s", places[i].name);
        g_test_add_data_func(path, &places[i], test_saved);
    }
    g_test_add_func("/cpu/kvm-irq/moved/all", test_moved_all);
    g_test_add_func("/cpu/kvm-irq/moved/out", test_moved_out);
    g_test_add_data_func("/cpu/kvm-irq/late/split", &places[3], test_late);
    g_test_add_data_func("/cpu/kvm-irq/late/on", &places[4], test_late);
    g_test_add_func("/cpu/kvm-irq/stays-out", test_stays_out);
    g_test_add_data_func("/cpu/kvm-irq/doorbell/tcg", NULL, test_doorbell);
    g_test_add_data_func("/cpu/kvm-irq/doorbell/off", "off", test_doorbell);
    g_test_add_data_func("/cpu/kvm-irq/doorbell/split", "split", test_doorbell);
    g_test_add_data_func("/cpu/kvm-irq/doorbell/on", "on", test_doorbell);
    g_test_add_data_func("/cpu/kvm-irq/doorbell-port/tcg", NULL, test_doorbell_port);
    g_test_add_data_func("/cpu/kvm-irq/doorbell-port/off", "off", test_doorbell_port);
    g_test_add_data_func("/cpu/kvm-irq/doorbell-port/split", "split", test_doorbell_port);
    g_test_add_data_func("/cpu/kvm-irq/doorbell-port/on", "on", test_doorbell_port);
    g_test_add_data_func("/cpu/kvm-irq/virtio-mmio/tcg", NULL, test_virtio_mmio);
    g_test_add_data_func("/cpu/kvm-irq/virtio-mmio/off", "off", test_virtio_mmio);
    g_test_add_data_func("/cpu/kvm-irq/virtio-mmio/split", "split", test_virtio_mmio);
    g_test_add_data_func("/cpu/kvm-irq/virtio-mmio/on", "on", test_virtio_mmio);
    g_test_add_data_func("/cpu/kvm-irq/coalesced/tcg", NULL, test_coalesced);
    g_test_add_data_func("/cpu/kvm-irq/coalesced/off", "off", test_coalesced);
    g_test_add_func("/cpu/kvm-irq/states/chips", test_states);
    g_test_add_func("/cpu/kvm-irq/states/pit", test_pit_state);
    return g_test_run();
}
