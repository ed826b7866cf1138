/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-machine.c - what a machine on KVM is made of: memory slots and dirty pages (accel/kvm/memory.c,
 * dirtyring.c), exits to devices (exits.c), vCPU threads that are kicked (vcpu.c), interrupt controllers (irqchip.c).
 * What this host's KVM cannot do is skipped for the reason a probe found.
 * Threads: main, and vCPU threads of the guests that have them.
 */
#include "config.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/intc.h"
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"

#include <pthread.h>
#include <string.h>

/* ---- memory ---- */

typedef struct Window {
    MemRegion rom, io, ram;
    unsigned reads, writes;
    uint64_t last;
} Window;

static uint64_t window_read(void *opaque, MemAccess *a)
{
    Window *w = opaque;
    w->reads++;
    return 0x1122334455667788ull >> (8 * (a->off & 7));
}

static void window_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Window *w = opaque;
    w->writes++;
    w->last = val;
}

static const MemOps window_ops = { .read = window_read, .write = window_write, .min = 1, .max = 8, .unaligned = true };

/* Above RAM: ROM at 16 MiB, registers in the page behind, a hole behind that. The code reads and writes all three. */
GUEST_CODE(m_access, 32, "mov (%ebx), %eax\n movl $0x99999999, (%ebx)\n mov (%ebx), %ecx\n mov 0x1000(%ebx), %edx\n"
                         "mov %edi, 0x1004(%ebx)\n mov 0x2000(%ebx), %esi\n movl $1, 0x2000(%ebx)\n movw 0x1001(%ebx), %bp\n");

static void test_memory(void)
{
    enum { AT = 16 << 20 };
    if (kvm_skipped()) {
        return;
    }
    for (Engine e = TIER0; e < ENGINES; e++) {
        Window w = { 0 };
        Guest *g = guest_on(e, NULL);
        RamBlock *ram = ram_new(g->m, "rom", 4096, &error_abort_slot);
        memset(ram->host, 0x42, 4096);
        region_init_rom(&w.rom, NULL, "rom", ram);
        region_init_io(&w.io, NULL, "registers", &window_ops, &w, 4096);
        region_map(&g->m->sysmem, AT, &w.rom, 1);
        region_map(&g->m->sysmem, AT + 4096, &w.io, 1);
        guest_pm32(g);
        for (unsigned turn = 0; turn < 3; turn++) {
            g->cpu->gpr[R_RBX] = AT;
            g->cpu->gpr[R_RDI] = 0xabcdef01;
            g->cpu->gpr[R_RBP] = 0;
            guest_run(g, m_access);
            uint32_t first = turn == 0 ? 0x42424242 : turn == 1 ? 0x99999999 : 0xffffffff;
            g_assert_cmphex(g->cpu->gpr[R_RAX], ==, turn == 1 ? 0x42424242 : first);
            g_assert_cmphex(g->cpu->gpr[R_RCX], ==, first);
            g_assert_cmphex(g->cpu->gpr[R_RDX], ==, 0x55667788);
            g_assert_cmphex(g->cpu->gpr[R_RSI], ==, 0xffffffff);
            g_assert_cmphex(g->cpu->gpr[R_RBP], ==, 0x6677);
            g_assert_cmphex(w.last, ==, 0xabcdef01);
            g_assert_cmpuint(w.writes, ==, turn + 1);
            if (turn == 0) {
                region_set_readonly(&w.rom, false);
            } else {
                region_set_enabled(&w.rom, false);
            }
        }
        region_unmap(&w.rom);
        region_unmap(&w.io);
        region_fini(&w.rom);
        region_fini(&w.io);
        ram_unref(ram);
        guest_free(g);
    }
}

GUEST_CODE(m_dirty, 32, "mov %ebx, (%ebx)\n mov %ecx, (%ecx)\n");

/* Displays and migration hear of a page once for each time that they ask. */
static void check_dirty(Engine e, const char *ring, DirtyClient client)
{
    unsigned long bits[G_RAM / 4096 / 64];
    guest_dirty_ring = ring;
    Guest *g = guest_on(e, NULL);
    guest_dirty_ring = NULL;
    guest_pm32(g);
    guest_run(g, m_dirty); /* once before anybody asks */
    dirty_enable(g->m->ram, client, true);
    g_assert_cmpuint(dirty_take(g->m->ram, client, 0, G_RAM / 4096, bits), ==, G_RAM / 4096);
    g_assert_cmpuint(dirty_take(g->m->ram, client, 0, G_RAM / 4096, bits), ==, 0);
    for (unsigned turn = 0; turn < 3; turn++) {
        g->cpu->gpr[R_RBX] = 0x300000 + turn * 4096;
        g->cpu->gpr[R_RCX] = 0x412345;
        g->cpu->vcpu.halted = false;
        g->cpu->rip = G_CODE;
        guest_continue(g);
        size_t n = dirty_take(g->m->ram, client, 0, G_RAM / 4096, bits);
        g_assert_true(n == 2 || (n > 2 && e != ON_KVM)); /* tiers may name pages again that they could write */
        g_assert_true(bits[0x300 / 64] >> turn & 1);
        g_assert_true(bits[0x412 / 64] >> (0x412 % 64) & 1);
    }
    dirty_enable(g->m->ram, client, false);
    guest_free(g);
}

static void test_dirty(gconstpointer ring)
{
    if (kvm_skipped()) {
        return;
    }
    if (ring && !kvm_has_rings()) {
        g_test_skip("this KVM lacks KVM_CAP_DIRTY_LOG_RING");
        return;
    }
    for (Engine e = ring ? ON_KVM : TIER0; e < ENGINES; e++) {
        check_dirty(e, ring, DIRTY_DISPLAY);
        check_dirty(e, ring, DIRTY_MIGRATION);
    }
}

/* More pages than a ring has room for: each full one is an exit, and nothing is lost; a page that was told is told
 * again when it is written again. The fast guest writes on for a while on hosts that emulate, more than is kept free
 * in the ring: what is lost is made up for. */
GUEST_CODE(m_slow, 32, "mov $0x200000, %ebx\n 1: mov %ecx, 8(%ebx)\n mov $100, %eax\n 2: dec %eax\n jnz 2b\n"
                       "add $0x1000, %ebx\n cmp $0x800000, %ebx\n jb 1b\n");
GUEST_CODE(m_fast, 32, "mov $0x200000, %ebx\n 1: mov %ecx, 8(%ebx)\n add $0x1000, %ebx\n cmp $0x800000, %ebx\n jb 1b\n");

static void check_fill(Guest *g, unsigned turn, bool slow)
{
    enum { FIRST = 0x200, PAGES = G_RAM / 4096 };
    unsigned long bits[PAGES / 64];
    g->cpu->vcpu.halted = false;
    g->cpu->gpr[R_RCX] = 0x1234 + turn;
    if (slow) {
        guest_run(g, m_slow);
    } else {
        guest_run(g, m_fast);
    }
    g_assert_cmphex(guest_ld(g, 0x7ff008, 4), ==, 0x1234 + turn);
    size_t n = dirty_take(g->m->ram, DIRTY_MIGRATION, 0, PAGES, bits);
    g_assert_cmpuint(n, >=, PAGES - FIRST);
    for (unsigned p = FIRST; p < PAGES; p++) {
        g_assert_true(bits[p / 64] >> (p % 64) & 1);
    }
    if (slow) { /* and the page of the code, which the test writes */
        g_assert_cmpuint(n, <=, PAGES - FIRST + 1);
    }
    g_assert_cmpuint(kvm_vm(g->m)->ring_full, >=, turn + 1);
    g_assert_cmpuint(dirty_take(g->m->ram, DIRTY_MIGRATION, 0, PAGES, bits), ==, 0);
}

static void test_ring_full(gconstpointer slow)
{
    enum { PAGES = G_RAM / 4096 };
    unsigned long bits[PAGES / 64];
    if (kvm_skipped()) {
        return;
    }
    if (!kvm_has_rings()) {
        g_test_skip("this KVM lacks KVM_CAP_DIRTY_LOG_RING");
        return;
    }
    guest_dirty_ring = "1024";
    Guest *g = guest_on(ON_KVM, NULL);
    guest_dirty_ring = NULL;
    guest_pm32(g);
    dirty_enable(g->m->ram, DIRTY_MIGRATION, true);
    g_assert_cmpuint(dirty_take(g->m->ram, DIRTY_MIGRATION, 0, PAGES, bits), ==, PAGES);
    for (unsigned turn = 0; turn < 6; turn++) {
        check_fill(g, turn, slow);
        if (turn == 2) { /* a slot that goes is asked before */
            region_set_enabled(&g->m->ram_region, false);
            region_set_enabled(&g->m->ram_region, true);
        }
    }
    g_autoptr(GString) text = g_string_new(NULL);
    g->m->accel->describe(g->m, text);
    g_assert_nonnull(strstr(text->str, "rings of 1024 dirty pages: "));
    g_assert_true(!slow || kvm_vm(g->m)->ring_overruns == 0);
    guest_free(g);
}

/* ---- threads ---- */

GUEST_CODE(t_spin, 32, "1: inc %eax\n jmp 1b\n");
GUEST_CODE(t_rom, 32, "1: mov (%ebx), %eax\n incl (%edi)\n jmp 1b\n");

static Guest *threaded(const uint8_t *code, size_t n)
{
    g_setenv("RHEA_TEST_ACCEL", "kvm", true);
    Guest *g = guest_new_smp(NULL, 2, false);
    guest_pm32(g);
    guest_put(g, G_CODE, code, n);
    g->cpu->rip = G_CODE;
    g->cpu->gpr[R_RBX] = 16 << 20;
    g->cpu->gpr[R_RDI] = G_DATA;
    return g;
}

/* A guest that never leaves by itself is stopped, looked at, and goes on, again and again. */
static void test_kick(void)
{
    if (kvm_skipped()) {
        return;
    }
    Guest *g = threaded(t_spin, (size_t)(t_spin_end - t_spin));
    uint64_t last = 0;
    for (unsigned i = 0; i < 50; i++) {
        machine_start(g->m);
        g_usleep(i % 3 * 700);
        machine_stop(g->m, RUN_PAUSED);
        uint64_t now = g->cpu->gpr[R_RAX];
        g_assert_true(i == 0 || (uint32_t)(now - last) < 1u << 31);
        g_assert_cmpuint(g->cpu->rip - G_CODE, <, 5);
        last = now;
    }
    g_assert_cmpuint(last, >, 0);
    guest_free(g);
}

/* Slots come and go under a running guest, which never sees a hole where RAM is. */
static void test_slots_change(void)
{
    if (kvm_skipped()) {
        return;
    }
    Guest *g = threaded(t_rom, (size_t)(t_rom_end - t_rom));
    RamBlock *ram = ram_new(g->m, "rom", 65536, &error_abort_slot);
    MemRegion top, low;
    region_init_ram(&top, NULL, "top", ram);
    region_init_io(&low, NULL, "cover", &window_ops, &(Window){ 0 }, 4096);
    region_map(&g->m->sysmem, 16 << 20, &top, 1);
    region_map(&g->m->sysmem, 0x7ff000, &low, 1); /* cuts the slot of RAM that the guest runs from */
    machine_start(g->m);
    for (unsigned i = 0; i < 200; i++) {
        region_set_enabled(&top, i & 1);
        region_set_enabled(&low, i % 3 == 0);
    }
    uint64_t was = guest_ld(g, G_DATA, 4);
    for (unsigned i = 0; i < 2000 && guest_ld(g, G_DATA, 4) == was; i++) {
        g_usleep(1000);
    }
    g_assert_cmphex(guest_ld(g, G_DATA, 4), !=, was);
    machine_stop(g->m, RUN_PAUSED);
    g_assert_cmpint(g->m->state, ==, RUN_PAUSED);
    g_assert_cmpuint(g->cpu->rip - G_CODE, <, 8);
    region_unmap(&top);
    region_unmap(&low);
    region_fini(&top);
    region_fini(&low);
    ram_unref(ram);
    guest_free(g);
}

/* ---- interrupts: a board with a local APIC and an I/O APIC ---- */

/* Long mode: timer, IPI to itself, level-triggered pin with its EOI, message, PIC vector; what came is counted per vector
 * at G_DATA + 8 * vector, R15 says which step waits. */
enum { V_TIMER = 0x40, V_SELF = 0x41, V_LEVEL = 0x42, V_MSI = 0x43, V_NMI = 2, LEVEL_PIN = 20 };
GUEST_CODE(i_handlers, 64,
           "push %rax\n incq 0x18000+8*0x40\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n .org i_handlers+64\n"
           "push %rax\n incq 0x18000+8*0x41\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n .org i_handlers+128\n"
           "push %rax\n incq 0x18000+8*0x42\n out %al, $0x80\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n"
           " .org i_handlers+192\n"
           "push %rax\n incq 0x18000+8*0x43\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n .org i_handlers+256\n"
           "incq 0x18000+8*2\n iretq\n");
/* APIC on; self IPI; one-shot timer until it came; then sleeps, counting wake-ups in R14. */
GUEST_CODE(i_main, 64, "movabs $0xfee00000, %rbx\n movl $0x1ff, 0xf0(%rbx)\n movl $0x40041, 0x300(%rbx)\n"
                       "sti\n 1: cmpq $1, 0x18000+8*0x41\n jne 1b\n movl $0xb, 0x3e0(%rbx)\n movl $0x40, 0x320(%rbx)\n"
                       "movl $1000000, 0x380(%rbx)\n 2: cmpq $1, 0x18000+8*0x40\n jne 2b\n mov $1, %r15d\n"
                       "3: hlt\n inc %r14\n jmp 3b\n");

typedef struct Board {
    Guest *g;
    Device *ioapic;
    IrqLine line;
    pthread_mutex_t lock; /* of the line, as a device's domain would be: main raises it, the vCPU lowers it */
    unsigned acks;        /* what the handler of the level-triggered pin wrote */
    bool early_ends;      /* KVM may tell of an end before the handler has written it */
    uint64_t repeated;    /* level-triggered interrupts that came again for that reason */
} Board;

static void set_line(Board *b, bool level)
{
    pthread_mutex_lock(&b->lock);
    irq_set(&b->line, level);
    pthread_mutex_unlock(&b->lock);
}

/* The handler's OUT is the device's acknowledge. */
static void ack_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val G_GNUC_UNUSED)
{
    Board *b = opaque;
    b->acks++;
    set_line(b, false);
}

static uint64_t count_of(Guest *g, unsigned vector) { return guest_ld(g, G_DATA + 8 * vector, 8); }

/*
 * Where KVM emulates guests, with the I/O APIC here (split), one KVM_EXIT_IOAPIC_EOI in twenty or so comes with RIP at the
 * handler's first instructions, in front of its OUT and its write to the EOI register. The pin is still high then and the
 * interrupt is delivered again, as it must be; the handler acknowledges that one as well.
 */
static void await_count(Board *b, unsigned vector, uint64_t want)
{
    want += vector == V_LEVEL ? b->repeated : 0;
    for (unsigned i = 0; i < 10000 && count_of(b->g, vector) < want; i++) {
        loop_turn(b->g->loop, false);
        g_usleep(500);
    }
    if (vector == V_LEVEL && b->early_ends && count_of(b->g, vector) == want + 1) {
        b->repeated++;
        want++;
    }
    if (count_of(b->g, vector) != want) {
        g_autoptr(GString) text = g_string_new(NULL);
        machine_stop(b->g->m, RUN_PAUSED);
        x86_64_target_ops.print_regs(b->g->m->cpus[0], text);
        apic_print(b->g->m->cpus[0], text);
        g_error("vector 0x%x came %" PRIu64 " times, not %" PRIu64 " (the line was lowered %u times)\n%s", vector,
                count_of(b->g, vector), want, b->acks, text->str);
    }
}

static void run_interrupts(const char *chip)
{
    static const MemOps ack_ops = { .write = ack_write, .min = 1, .max = 4 };
    g_setenv("RHEA_TEST_ACCEL", chip ? "kvm" : "tcg", true);
    g_setenv("RHEA_TEST_TIER", "0", true);
    guest_accel_props = chip;
    Guest *g = guest_new_smp("max", 2, false);
    guest_accel_props = NULL;
    char *why = NULL;
    Board b = { .g = g, .early_ends = g_strcmp0(chip, "split") == 0 && kvm_host_class(&why) == KVM_HOST_EMULATED };
    g_free(why);
    pthread_mutex_init(&b.lock, NULL);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_nonnull(apic_create(g->m, g->m->cpus[i], g->m->unattached, &error_abort_slot));
    }
    b.ioapic = device_create(g->m, &ioapic_type, g->m->unattached, NULL, NULL, &error_abort_slot, NULL);
    device_map_mem(b.ioapic, device_region(b.ioapic, 0), 0xfec00000, 1);
    apic_set_eoi_target(g->m, b.ioapic);
    machine_reset(g->m, RESET_COLD);
    irq_connect(&b.line, &ioapic_sink, b.ioapic, LEVEL_PIN);
    MemRegion ack;
    region_init_io(&ack, NULL, "ack", &ack_ops, &b, 1);
    region_map(&g->m->sysio, 0x80, &ack, 2);
    guest_long(g);
    /* The APIC's page at 0xfee00000 and the I/O APIC's: 2 MiB pages in the fourth GiB. */
    guest_st(g, G_PT + 0x1000 + 3 * 8, 8, (G_PT + 0x3000) | 7);
    guest_st(g, G_PT + 0x3000 + 0x1f7 * 8, 8, 0xfee00000 | 0x9b);
    guest_put(g, G_HANDLERS + 0x8000, i_handlers, (size_t)(i_handlers_end - i_handlers));
    for (unsigned i = 0; i < 4; i++) {
        guest_gate64(g, G_IDT + (V_TIMER + i) * 16, S_CODE64, G_HANDLERS + 0x8000 + i * 64, 0x8e, 0);
    }
    guest_gate64(g, G_IDT + V_NMI * 16, S_CODE64, G_HANDLERS + 0x8000 + 4 * 64, 0x8e, 0);
    guest_put(g, G_CODE, i_main, (size_t)(i_main_end - i_main));
    /* Pin 20: level, fixed, to APIC 0. */
    as_store(&g->m->as_mem, 0xfec00000, 4, 0x10 + 2 * LEVEL_PIN, MEM_ATTRS_NONE);
    as_store(&g->m->as_mem, 0xfec00010, 4, 0x8000 | V_LEVEL, MEM_ATTRS_NONE);
    machine_start(g->m);
    await_count(&b, V_SELF, 1);
    await_count(&b, V_TIMER, 1);
    for (unsigned i = 1; i <= 3; i++) { /* each again after its EOI */
        set_line(&b, true);
        await_count(&b, V_LEVEL, i);
        msi_send(g->m, (MsiMessage){ 0xfee00000, V_MSI });
        await_count(&b, V_MSI, i);
        vcpu_interrupt(g->m->cpus[0], X86_IRQ_NMI);
        await_count(&b, V_NMI, i);
        machine_stop(g->m, RUN_PAUSED);
        g_assert_cmpuint(g->cpu->gpr[R_R15], ==, 1);
        GByteArray *s = g_byte_array_new();
        machine_save(g->m, s, true);
        if (i == 2) { /* local APICs come back as they were */
            machine_reset(g->m, RESET_COLD);
            g_assert_true(machine_load(g->m, s->data, s->len, &error_abort_slot));
        }
        g_byte_array_unref(s);
        machine_start(g->m);
    }
    machine_stop(g->m, RUN_PAUSED);
    g_assert_cmpuint(g->cpu->gpr[14], >, 0);
    region_unmap(&ack);
    region_fini(&ack);
    guest_free(g);
    pthread_mutex_destroy(&b.lock);
}

static void test_interrupts(gconstpointer chip)
{
    if (chip && kvm_skipped()) {
        return;
    }
    run_interrupts(chip);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/cpu/kvm/interrupts/tcg", NULL, test_interrupts);
    g_test_add_data_func("/cpu/kvm/interrupts/off", "off", test_interrupts);
    g_test_add_data_func("/cpu/kvm/interrupts/split", "split", test_interrupts);
    g_test_add_func("/cpu/kvm/memory", test_memory);
    g_test_add_data_func("/cpu/kvm/dirty/log", NULL, test_dirty);
    g_test_add_data_func("/cpu/kvm/dirty/ring", "4096", test_dirty);
    g_test_add_data_func("/cpu/kvm/dirty/ring-full/slow", "slow", test_ring_full);
    g_test_add_data_func("/cpu/kvm/dirty/ring-full/fast", NULL, test_ring_full);
    g_test_add_func("/cpu/kvm/kick", test_kick);
    g_test_add_func("/cpu/kvm/slots-change", test_slots_change);
    return g_test_run();
}
