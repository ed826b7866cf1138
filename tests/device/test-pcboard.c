/* SPDX-License-Identifier: MIT
 * tests/device/test-pcboard.c - the whole pc board on the test accelerator: wiring, CMOS, properties, saved
 *   state.
 */
#include "pctest.h"
#include "hw/i386/pc.h"
#include "rhea/accel/test.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/intc.h"
#include "rhea/hw/pc.h"
#include "rhea/hw/timer.h"
#include "rhea/target/x86/cpu.h"
#include <glib/gstdio.h>
#include <unistd.h>

const AccelOps *const accel_table[] = { &accel_test_ops, NULL };
const BoardType *const board_table[] = { &pc_board, NULL };

typedef struct Pc { Loop *loop; Machine *m; PcBoard *s; char *bios; PcTest io; } Pc;

static Machine *pc_prepare(Pc *p)
{
    p->loop = loop_new("test");
    p->m = machine_new(p->loop);
    p->m->board = &pc_board;
    p->m->accel = accel_find("test");
    p->m->ram_size = 64 * MIB;
    p->m->n_cpus = p->m->max_cpus = p->m->sockets = p->m->cores = p->m->threads = p->m->dies = 1;
    /* any image will do: the test is the CPU */
    int fd = g_file_open_tmp("rhea-bios-XXXXXX", &p->bios, NULL);
    g_autofree char *image = g_strnfill(0x20000, 'B');
    g_assert_cmpint(write(fd, image, 0x20000), ==, 0x20000);
    close(fd);
    p->m->bios = g_strdup(p->bios);
    p->m->board_state = g_malloc0(pc_board.state_size);
    props_init(pc_board.props, p->m->board_state);
    p->s = p->m->board_state;
    p->io.m = p->m;
    return p->m;
}

static bool pc_build(Pc *p, Error **errp)
{
    return machine_build(p->m, errp) && machine_ready(p->m, errp);
}

static void pc_end(Pc *p)
{
    machine_free(p->m);
    loop_free(p->loop);
    g_unlink(p->bios);
    g_free(p->bios);
}

static void pc_prop(Pc *p, const char *name, const char *text)
{
    prop_set_text(p->m, prop_find(pc_board.props, name), p->m->board_state, text, &error_abort_slot);
}

static void test_build(void)
{
    Pc p;
    pc_prepare(&p)->ram_size = 5 * GIB;
    p.m->boot_order = g_strdup("dc");
    p.m->boot_once = g_strdup("n");
    pc_build(&p, &error_abort_slot);
    PcTest *t = &p.io;
    /* reset vector and the copy below 1 MiB */
    g_assert_cmphex(pctest_read(t, 0xfffffff0, 1), ==, 'B');
    g_assert_cmphex(pctest_read(t, 0xffff0, 1), ==, 'B');
    /* RAM on both sides of the hole */
    pctest_write(t, 0xbfffff00, 0x11, 1);
    pctest_write(t, 0x100000000, 0x22, 1);
    g_assert_cmphex(p.m->ram->host[0xbfffff00], ==, 0x11);
    g_assert_cmphex(p.m->ram->host[0xc0000000], ==, 0x22);
    g_assert_cmphex(pctest_read(t, 0xc0000000, 1), ==, 0xff);
    /* CMOS: sizes, boot order of this once, then the usual one */
    g_assert_cmphex(mc146818_get_cmos(p.s->rtc, 0x34) | mc146818_get_cmos(p.s->rtc, 0x35) << 8, ==, 0xbf00);
    g_assert_cmphex(mc146818_get_cmos(p.s->rtc, 0x5b) | mc146818_get_cmos(p.s->rtc, 0x5c) << 8, ==, 0x8000);
    g_assert_cmphex(mc146818_get_cmos(p.s->rtc, 0x3d), ==, 0x04);
    machine_reset(p.m, RESET_COLD);
    g_assert_cmphex(mc146818_get_cmos(p.s->rtc, 0x3d), ==, 0x23);
    g_assert_nonnull(x86_cpu(p.m->cpus[0])->apic);
    pc_end(&p);
}

static int pc_node(Pc *p, uint64_t size)
{
    RamBlock *ram = ram_new(p->m, "node", size, &error_abort_slot);
    return numa_add_node(p->m, -1, ram, &error_abort_slot);
}

/* Memory of nodes: windows below 1 MiB are node 0's, the border lies above 4 GiB. */
static void test_numa(void)
{
    Pc p;
    pc_prepare(&p)->ram_size = 5 * GIB;
    p.m->n_cpus = p.m->max_cpus = p.m->sockets = 2;
    pc_node(&p, 4 * GIB);
    pc_node(&p, GIB);
    numa_complete(p.m, &error_abort_slot);
    pc_build(&p, &error_abort_slot);
    PcTest *t = &p.io;
    pctest_write(t, 0xbfffff00, 0x11, 1);
    pctest_write(t, 0x13fffffff, 0x22, 1);
    pctest_write(t, 0x140000000, 0x33, 1);
    g_assert_cmphex(p.m->numa->node[0].ram->host[0xbfffff00], ==, 0x11);
    g_assert_cmphex(p.m->numa->node[0].ram->host[0xffffffff], ==, 0x22);
    g_assert_cmphex(p.m->numa->node[1].ram->host[0], ==, 0x33);
    /* fw_cfg: two nodes, two APIC ids, two sizes */
    uint64_t item[5] = { 0 };
    pctest_out(t, 0x510, FW_CFG_NUMA, 2);
    for (unsigned i = 0; i < sizeof(item); i++) {
        ((uint8_t *)item)[i] = pctest_in(t, 0x511, 1);
    }
    g_assert_cmpuint(item[0], ==, 2);
    g_assert_cmpuint(item[1], ==, 0);
    g_assert_cmpuint(item[2], ==, 1);
    g_assert_cmpuint(item[3], ==, 4 * GIB);
    g_assert_cmpuint(item[4], ==, GIB);
    pc_end(&p);

    Error *err = NULL;
    pc_prepare(&p);
    pc_node(&p, MIB / 2);
    pc_node(&p, 64 * MIB - MIB / 2);
    numa_complete(p.m, &error_abort_slot);
    g_assert_false(pc_build(&p, &err));
    g_assert_cmpstr(error_text(err), ==, "-numa: the first memory, of node 0, is below 1 MiB");
    error_free(err);
    pc_end(&p);
}

static void pics_on(PcTest *t)
{
    static const struct { uint16_t port; uint8_t val; } init[] = {
        { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0x21, 0 },
        { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 }, { 0xa1, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(init); i++) {
        pctest_out(t, init[i].port, init[i].val, 1);
    }
}

/* An ISA line arrives at the 8259s and the I/O APIC; the 8259's INT at the CPU through LINT0. */
static void test_wires(void)
{
    Pc p;
    pc_prepare(&p);
    pc_build(&p, &error_abort_slot);
    PcTest *t = &p.io;
    X86Cpu *cpu = x86_cpu(p.m->cpus[0]);
    pics_on(t);
    irq_or_sink.set(&p.s->isa->irq_or[10], PC_IRQ_SOURCE_PIRQ, true);
    g_assert_true(i8259_int_level(p.s->pic_master));
    g_assert_true(vcpu_irq_pending(p.m->cpus[0]) & X86_IRQ_INTR);
    g_assert_cmphex(cpu->pic_ack(cpu->pic_opaque), ==, 0x2a);
    /* FERR# latches as IRQ 13 until F0h is written */
    cpu->ferr(cpu->ferr_opaque, true);
    cpu->ferr(cpu->ferr_opaque, false);
    g_assert_true(p.s->isa->irq_or[13].out.level);
    pctest_out(t, 0xf0, 0, 1);
    g_assert_false(p.s->isa->irq_or[13].out.level);
    /* A20: port 92h or the keyboard controller */
    pctest_out(t, 0x92, 2, 1);
    g_assert_true(cpu->a20_gate);
    /* a PIRQ goes to the ISA line it is routed to */
    pctest_config_write(t, PCI_DEVFN(1, 0), 0x60, 5, 1);
    p.s->pci->host_ops->set_intx(p.s->pci->host, PCI_DEVFN(5, 0), 0, true);
    g_assert_true(p.s->isa->irq_or[5].out.level);
    pc_end(&p);
}

/* Saved when the 8254's edge was due and nobody had looked: it comes after the load, once. Raised in the
 * middle of a load it would reach the 8259, which is loaded before the 8254, but not the local APIC, which is
 * loaded after it. */
static void test_tick_due(void)
{
    enum { COUNT = 1000, MS = 1000000 };
    Pc p;
    pc_prepare(&p);
    pc_build(&p, &error_abort_slot);
    PcTest *t = &p.io;
    X86Cpu *cpu = x86_cpu(p.m->cpus[0]);
    for (unsigned reset = 0; reset < 2; reset++) {
        pics_on(t);
        pctest_out(t, 0x43, 0x30, 1);
        pctest_out(t, 0x40, COUNT & 0xff, 1);
        pctest_out(t, 0x40, COUNT >> 8, 1);
        accel_test_set_clock(p.m, clock_now(p.m->clock) + 5 * MS);
        g_autoptr(GByteArray) saved = g_byte_array_new();
        machine_save(p.m, saved, true);
        if (reset) {
            machine_reset(p.m, RESET_COLD);
        }
        g_assert_true(machine_load(p.m, saved->data, saved->len, &error_abort_slot));
        g_assert_false(i8259_int_level(p.s->pic_master));
        g_assert_false(vcpu_irq_pending(p.m->cpus[0]) & X86_IRQ_INTR);
        machine_start(p.m);
        while (loop_turn(p.loop, false)) {
        }
        machine_stop(p.m, RUN_PAUSED);
        g_assert_true(i8259_int_level(p.s->pic_master));
        g_assert_true(vcpu_irq_pending(p.m->cpus[0]) & X86_IRQ_INTR);
        g_assert_cmphex(cpu->pic_ack(cpu->pic_opaque), ==, 0x20);
        pctest_out(t, 0x20, 0x20, 1);
        g_assert_false(vcpu_irq_pending(p.m->cpus[0]) & X86_IRQ_INTR);
    }
    pc_end(&p);
}

static void test_refusals(void)
{
    static const struct { const char *prop, *value, *says; } bad[] = {
        { "pic", "off", "pic=off" },
        { "sata", "on", "sata=on" }, { "memory-encryption", "sev0", "memory-encryption" },
        { "max-ram-below-4g", "4G", "max-ram-below-4g" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Pc p;
        pc_prepare(&p);
        pc_prop(&p, bad[i].prop, bad[i].value);
        g_autoptr(Error) err = NULL;
        g_assert_false(pc_build(&p, &err));
        g_assert_nonnull(strstr(error_text(err), bad[i].says));
        pc_end(&p);
    }
    static const struct { const char *order, *bios, *says; } bad2[] = {
        { "x", NULL, "'x'" }, { "acdn", NULL, "at most three" }, { NULL, "/nonexistent", "/nonexistent" },
        { NULL, "/etc/passwd", "64 KiB" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad2); i++) {
        Pc p;
        pc_prepare(&p)->boot_order = g_strdup(bad2[i].order);
        if (bad2[i].bios) {
            g_free(p.m->bios);
            p.m->bios = g_strdup(bad2[i].bios);
        }
        g_autoptr(Error) err = NULL;
        g_assert_false(pc_build(&p, &err));
        g_assert_nonnull(strstr(error_text(err), bad2[i].says));
        pc_end(&p);
    }
}

/* Without parts: they are neither there nor in the tables. */
static void test_without(void)
{
    Pc p;
    pc_prepare(&p);
    pc_prop(&p, "hpet", "off");
    pc_prop(&p, "i8042", "off");
    pc_prop(&p, "acpi", "off");
    pc_prop(&p, "pit", "off");
    pc_build(&p, &error_abort_slot);
    g_assert_cmphex(pctest_read(&p.io, HPET_BASE, 4), ==, 0xffffffff);
    g_assert_cmphex(pctest_in(&p.io, 0x64, 1), ==, 0xff);
    g_assert_cmphex(pctest_config_read(&p.io, PCI_DEVFN(1, 3), 0, 4), ==, 0xffffffff);
    g_assert_false(fw_cfg_has_file(p.s->fw, "etc/acpi/rsdp"));
    g_assert_true(fw_cfg_has_file(p.s->fw, "etc/e820"));
    pc_end(&p);
}

static GByteArray *tree(Pc *p)
{
    GByteArray *a = g_byte_array_new();
    device_tree_save(p->m->root, a);
    return a;
}

static void test_state(void)
{
    Pc p;
    pc_prepare(&p);
    pc_build(&p, &error_abort_slot);
    g_autoptr(GRand) r = g_rand_new_with_seed(5);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            uint16_t port = g_rand_int(r) & 0xfff;
            unsigned n = 1u << g_rand_int_range(r, 0, 3);
            if (i & 1) {
                pctest_out(&p.io, port, g_rand_int(r), n);
            } else {
                pctest_in(&p.io, port, n);
            }
            pctest_config_write(&p.io, g_rand_int_range(r, 0, 16), g_rand_int(r) & 0xfc, g_rand_int(r), 4);
        }
        g_autoptr(GByteArray) a = tree(&p);
        const uint8_t *at = a->data;
        device_tree_load(p.m->root, &at, a->data + a->len, &error_abort_slot);
        g_autoptr(GByteArray) b = tree(&p);
        g_assert_cmpmem(a->data, a->len, b->data, b->len);
    }
    while (loop_turn(p.loop, false)) { /* the resets that were asked for */
    }
    pc_end(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/pcboard/build", test_build);
    g_test_add_func("/pcboard/numa", test_numa);
    g_test_add_func("/pcboard/wires", test_wires);
    g_test_add_func("/pcboard/tick-due", test_tick_due);
    g_test_add_func("/pcboard/refusals", test_refusals);
    g_test_add_func("/pcboard/without", test_without);
    g_test_add_func("/pcboard/state", test_state);
    return g_test_run();
}
