/* SPDX-License-Identifier: MIT
 * tests/cpu/test-kvm-msi.c - plain MSI (hw/pci/msi.c) of a device that has it, the AHCI controller: its messages
 * interrupt a guest under every accelerator, by a route of the kernel's where local APICs are inside (accel/kvm/route.c);
 * messages that change, masks, moves between accelerators.
 * Threads: main, and the guest's vCPU thread.
 */
#include "rhea/backends/drive.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/ide.h"
#include "rhea/hw/pc.h"
#include "hw/i386/pc_internal.h"
#include "rhea/hw/pci.h"
#include "target/x86/kvm.h"
#include "tests/cpu/kvmguest.h"

extern const AccelOps accel_tcg_ops;
extern const DeviceType i440fx_host_type;

enum { ABAR = 0x30000000, BDF = PCI_DEVFN(4, 0), CLB = 0x300000, FB = 0x301000, TABLE = 0x302000, BUF = 0x310000 };
enum { PORT = ABAR + 0x100, P_CLB = 0, P_FB = 8, P_IS = 0x10, P_IE = 0x14, P_CMD = 0x18, P_CI = 0x38 };
enum { VECTOR = 0x60, VECTOR2 = 0x61, COUNT = G_DATA, COUNT2 = G_DATA + 8, BEATS = G_DATA + 16 };

GUEST_CODE(h_count, 64, "push %rax\n incq 0x18000\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n");
GUEST_CODE(h_count2, 64, "push %rax\n incq 0x18008\n movabs $0xfee000b0, %rax\n movl $0, (%rax)\n pop %rax\n iretq\n");
GUEST_CODE(m_wait, 64, "movabs $0xfee00000, %rbx\n movl $0x1ff, 0xf0(%rbx)\n sti\n 1: incq 0x18010\n jmp 1b\n");

typedef struct Place {
    const char *name;
    const AccelOps *ops;
    const char *prop, *value;
    bool routes; /* messages go by one */
} Place;
static const Place places[] = {
    { "tcg", &accel_tcg_ops, "tier", "1", false },
    { "off", &accel_kvm_ops, "kernel-irqchip", "off", false },
    { "split", &accel_kvm_ops, "kernel-irqchip", "split", true },
};

typedef struct Fixture {
    Guest *g;
    PciBus *bus;
    Device *ahci;
    uint8_t cap;
} Fixture;

static uint32_t config(Fixture *f, unsigned off, unsigned n)
{
    return pci_config_read(f->bus, BDF, off, n);
}

static void set_config(Fixture *f, unsigned off, uint32_t v, unsigned n)
{
    pci_config_write(f->bus, BDF, off, v, n);
}

static void set_reg(Fixture *f, hwaddr at, uint32_t v)
{
    as_store(&f->g->m->as_mem, at, 4, v, MEM_ATTRS_NONE);
}

static void add_ahci(Fixture *f)
{
    Machine *m = f->g->m;
    g_autoptr(Json) o = json_parse("{\"driver\": \"null-co\", \"node-name\": \"n\", \"size\": 1073741824, \"read-zeroes\": true}",
                                   -1, &error_abort_slot);
    blockdev_add_json(m, o, false, &error_abort_slot);
    f->bus = i440fx_host_bus(device_create(m, &i440fx_host_type, m->unattached, NULL, NULL, &error_abort_slot, NULL));
    f->ahci = device_create(m, &ich9_ahci_type, m->unattached, NULL, f->bus->bus, &error_abort_slot, "addr", "4", NULL);
    device_create(m, &ide_hd_type, m->peripheral, "d", f->ahci->buses->pdata[0], &error_abort_slot, "drive", "n", NULL);
}

/* Memory and bus mastering, port 0 runs with interrupts, MSI sends VECTOR. */
static void start_ahci(Fixture *f)
{
    for (f->cap = (uint8_t)config(f, 0x34, 1); f->cap && config(f, f->cap, 1) != 5; f->cap = (uint8_t)config(f, f->cap + 1, 1)) {
    }
    g_assert_cmpuint(f->cap, !=, 0);
    set_config(f, 0x24, ABAR, 4);
    set_config(f, 4, 6, 2);
    set_config(f, f->cap + 4, 0xfee00000, 4);
    set_config(f, f->cap + 12, VECTOR, 2);
    set_config(f, f->cap + 2, 1, 2);
    set_reg(f, ABAR + 4, 0x80000002);
    set_reg(f, PORT + P_CLB, CLB);
    set_reg(f, PORT + P_FB, FB);
    set_reg(f, PORT + P_IE, 0xffffffff);
    set_reg(f, PORT + P_CMD, 0x11);
    guest_st(f->g, CLB, 4, 5 | 1 << 16); /* slot 0: IDENTIFY into BUF */
    guest_st(f->g, CLB + 8, 8, TABLE);
    guest_st(f->g, TABLE, 8, 0x8027 | 0xec << 16);
    guest_st(f->g, TABLE + 0x80, 8, BUF);
    guest_st(f->g, TABLE + 0x8c, 4, 511);
}

static void start_guest(Fixture *f)
{
    Guest *g = f->g;
    guest_long(g);
    guest_st(g, G_PT + 0x1000 + 3 * 8, 8, (G_PT + 0x3000) | 7);
    guest_st(g, G_PT + 0x3000 + 0x1f7 * 8, 8, 0xfee00000 | 0x9b);
    guest_gate64(g, G_IDT + VECTOR * 16, S_CODE64, G_HANDLERS + 0x8000, 0x8e, 0);
    guest_gate64(g, G_IDT + VECTOR2 * 16, S_CODE64, G_HANDLERS + 0x8100, 0x8e, 0);
    guest_put(g, G_HANDLERS + 0x8000, h_count, (size_t)(h_count_end - h_count));
    guest_put(g, G_HANDLERS + 0x8100, h_count2, (size_t)(h_count2_end - h_count2));
    guest_put(g, G_CODE, m_wait, (size_t)(m_wait_end - m_wait));
    g->cpu->rip = G_CODE;
    g->cpu->gpr[R_RSP] = G_STACK0;
    g->cpu->wait_sipi = g->cpu->vcpu.halted = false;
    x86_update_mode(g->cpu);
}

static void await_count(Fixture *f, hwaddr at, uint64_t want)
{
    for (unsigned i = 0; i < 40000 && guest_ld(f->g, at, 8) < want; i++) {
        loop_turn(f->g->loop, false);
        g_usleep(500);
    }
    g_assert_cmpuint(guest_ld(f->g, at, 8), ==, want);
}

/* A command ends: one message. */
static void command(Fixture *f)
{
    guest_st(f->g, BUF, 8, 0);
    set_reg(f, PORT + P_CI, 1);
    for (unsigned i = 0; i < 1000 && guest_ld(f->g, PORT + P_CI, 4); i++) {
        loop_turn(f->g->loop, false);
        g_usleep(200);
    }
    g_assert_cmphex(guest_ld(f->g, BUF, 2), ==, 0x40);
    set_reg(f, PORT + P_IS, 0xffffffff);
    set_reg(f, ABAR + 8, 1);
}

static uint64_t routed(Fixture *f)
{
    uint64_t sent = 0;
    return kvm_used(f->g->m) && kvm_routes_count(f->g->m, &sent) ? sent : 0;
}

/* The guest runs: it has heard what came before, and each command once. */
static void check_interrupts(Fixture *f, bool routes)
{
    Guest *g = f->g;
    uint64_t beats = guest_ld(g, BEATS, 8), had = guest_ld(g, COUNT, 8), had2 = guest_ld(g, COUNT2, 8), sent = routed(f);
    machine_start(g->m);
    for (unsigned i = 0; i < 40000 && guest_ld(g, BEATS, 8) == beats; i++) {
        loop_turn(g->loop, false); /* its APIC is on from then */
        g_usleep(500);
    }
    for (unsigned i = 1; i <= 3; i++) {
        command(f);
        await_count(f, COUNT, had + i);
    }
    set_config(f, f->cap + 12, VECTOR2, 2); /* another message */
    command(f);
    await_count(f, COUNT2, had2 + 1);
    set_config(f, f->cap + 16, 1, 4); /* masked: it waits */
    command(f);
    g_assert_cmphex(config(f, f->cap + 20, 4), ==, 1);
    g_usleep(2000);
    g_assert_cmpuint(guest_ld(g, COUNT2, 8), ==, had2 + 1);
    set_config(f, f->cap + 16, 0, 4);
    await_count(f, COUNT2, had2 + 2);
    g_assert_cmphex(config(f, f->cap + 20, 4), ==, 0);
    set_config(f, f->cap + 12, VECTOR, 2);
    machine_stop(g->m, RUN_PAUSED);
    g_assert_cmpuint(guest_ld(g, COUNT, 8), ==, had + 3);
    g_assert_cmpuint(routed(f) - sent, ==, routes ? 5 : 0);
}

static void move_to(Fixture *f, const Place *p)
{
    Error *err = NULL;
    void *s = g_malloc0(p->ops->state_size);
    props_init(p->ops->props, s);
    prop_set_text(f->g->m, prop_find(p->ops->props, p->prop), s, p->value, &error_abort_slot);
    if (!machine_move(f->g->m, p->ops, s, &err)) {
        g_error("no move to %s: %s", p->name, error_text(err));
    }
}

static void test_msi(gconstpointer data)
{
    const Place *p = data;
    bool kvm = p->ops == &accel_kvm_ops;
    Fixture f = { 0 };
    if (kvm && kvm_skipped()) {
        return;
    }
    g_setenv("RHEA_TEST_ACCEL", kvm ? "kvm" : "tcg", true);
    guest_accel_props = kvm ? p->value : NULL;
    f.g = guest_new_smp("qemu64,-x2apic,-pni", 1, false);
    guest_accel_props = NULL;
    g_assert_nonnull(apic_create(f.g->m, f.g->m->cpus[0], f.g->m->unattached, &error_abort_slot));
    add_ahci(&f);
    machine_reset(f.g->m, RESET_COLD);
    start_ahci(&f);
    start_guest(&f);
    check_interrupts(&f, p->routes);
    check_interrupts(&f, p->routes);
    for (unsigned i = 0; kvm && i < G_N_ELEMENTS(places); i++) {
        move_to(&f, &places[i]);
        check_interrupts(&f, places[i].routes);
        move_to(&f, p);
        check_interrupts(&f, p->routes);
    }
    drive_remove_all(f.g->m);
    guest_free(f.g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    drive_register();
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_strdup_printf("/cpu/kvm-msi/%s", places[i].name);
        g_test_add_data_func(path, &places[i], test_msi);
    }
    return g_test_run();
}
