/* SPDX-License-Identifier: MIT
 * tests/device/test-q35.c - the q35 board's chips by their data sheets: hw/i386/q35-mch.c, ich9-lpc.c,
 * ich9-smbus.c, pm1.c, pirq.c, shadow.c (TSEG), config-ports.c, and the layout of memory in pc-q35.c.
 * Threads: main.
 */
#include "hw/i386/ich9.h"
#include "tests/device/q35test.h"

enum { ECAM = 0xb0000000 };

static void test_identity(void)
{
    TestMachine *tm = q35_new(64 << 20);
    g_assert_cmphex(q35_get(tm, MCH, 0, 4), ==, 0x29c08086);
    g_assert_cmphex(q35_get(tm, MCH, 8, 4) >> 8, ==, 0x060000);
    g_assert_cmphex(q35_get(tm, LPC, 0, 4), ==, 0x29188086);
    g_assert_cmphex(q35_get(tm, LPC, 0x0e, 1), ==, 0x80);
    g_assert_cmphex(q35_get(tm, SMBUS, 0, 4), ==, 0x29308086);
    g_assert_cmphex(q35_get(tm, SMBUS, 8, 4) >> 8, ==, 0x0c0500);
    tm_free(tm);
}

static void test_ecam(void)
{
    TestMachine *tm = q35_new(64 << 20);
    AddressSpace *as = &tm->m->as_mem;
    g_assert_cmphex(q35_get(tm, MCH, 0x60, 4), ==, 0xe0000000);
    g_assert_cmphex(q35_mem(as, 0xe0000000, 4), ==, 0xffffffff); /* off until enabled */
    q35_set(tm, MCH, 0x60, ECAM | 1, 4);
    g_assert_cmphex(q35_mem(as, ECAM, 4), ==, 0x29c08086);
    g_assert_cmphex(q35_mem(as, ECAM + (LPC << 12), 4), ==, 0x29188086);
    g_assert_cmphex(q35_mem(as, ECAM + (LPC << 12) + 0x100, 4), ==, 0xffffffff);
    q35_set(tm, MCH, 0x60, 0xd0000000 | 3, 4); /* 128 MiB: 128 buses */
    g_assert_cmphex(q35_mem(as, ECAM, 4), ==, 0xffffffff);
    g_assert_cmphex(q35_mem(as, 0xd0000000, 4), ==, 0x29c08086);
    q35_set(tm, MCH, 0x64, 1, 4); /* above 4 GiB */
    g_assert_cmphex(q35_mem(as, 0xd0000000, 4), ==, 0xffffffff);
    g_assert_cmphex(q35_mem(as, 0x1d0000000, 4), ==, 0x29c08086);
    machine_reset(tm->m, RESET_COLD);
    g_assert_cmphex(q35_mem(as, 0x1d0000000, 4), ==, 0xffffffff);
    tm_free(tm);
}

static void test_memory(void)
{
    TestMachine *tm = q35_new(UINT64_C(64) << 20);
    AddressSpace *as = &tm->m->as_mem;
    g_assert_cmphex(q35_mem(as, 0xffff0000, 1), ==, 0xf4);
    g_assert_cmphex(q35_mem(as, 0xf0000, 1), ==, 0xf4);
    q35_set(tm, MCH, 0x90, 0x30, 1); /* PAM0: RAM */
    g_assert_cmphex(q35_mem(as, 0xf0000, 1), ==, 0);
    q35_set(tm, MCH, 0x91, 0x10, 1); /* PAM1: C4000h read only */
    as_store(as, 0xc4000, 1, 0x55, MEM_ATTRS_NONE);
    q35_set(tm, MCH, 0x91, 0x30, 1);
    g_assert_cmphex(q35_mem(as, 0xc4000, 1), ==, 0);
    tm_free(tm);
}

static void test_smram(void)
{
    TestMachine *tm = q35_new(UINT64_C(64) << 20);
    AddressSpace *as = &tm->m->as_mem, *smm = tm->m->as_smm;
    const hwaddr tseg = (64 << 20) - (8 << 20);
    as_store(as, tseg + 16, 4, 0x11223344, MEM_ATTRS_NONE);
    q35_set(tm, MCH, 0x9e, 0x05, 1); /* TSEG of 8 MiB, but SMRAM as a whole is off */
    g_assert_cmphex(q35_mem(as, tseg + 16, 4), ==, 0x11223344);
    q35_set(tm, MCH, 0x9d, 0x4a, 1); /* open, enabled */
    as_store(as, 0xa0000, 4, 0xabcd, MEM_ATTRS_NONE);
    g_assert_cmphex(q35_mem(as, 0xa0000, 4), ==, 0xabcd);
    g_assert_cmphex(q35_mem(as, tseg + 16, 4), ==, 0xffffffff);
    g_assert_cmphex(q35_mem(smm, tseg + 16, 4), ==, 0x11223344);
    g_assert_cmphex(q35_mem(as, tseg - 4, 4), ==, 0);
    q35_set(tm, MCH, 0x9d, 0x1a, 1); /* locked: D_OPEN is gone, nothing moves any more */
    g_assert_cmphex(q35_mem(as, 0xa0000, 4), ==, 0xffffffff);
    g_assert_cmphex(q35_mem(smm, 0xa0000, 4), ==, 0xabcd);
    q35_set(tm, MCH, 0x9d, 0x42, 1);
    q35_set(tm, MCH, 0x9e, 0, 1);
    g_assert_cmphex(q35_get(tm, MCH, 0x9d, 1), ==, 0x1a);
    g_assert_cmphex(q35_get(tm, MCH, 0x9e, 1), ==, 0x3d);
    machine_reset(tm->m, RESET_COLD);
    g_assert_cmphex(q35_get(tm, MCH, 0x9d, 1), ==, 0x02);
    g_assert_cmphex(q35_mem(as, tseg + 16, 4), ==, 0x11223344);
    tm_free(tm);
}

/* The SMBus host interrupts by INTB of device 31: PIRQB, or what D31IR says. */
static void test_routing(void)
{
    TestMachine *tm = q35_new(64 << 20);
    IsaBus *isa = ich9_lpc_isa_bus(q35_find(tm, &ich9_lpc_type));
    q35_set(tm, SMBUS, 0x20, 0x701, 4);
    q35_set(tm, SMBUS, 0x04, 1, 2);
    q35_set(tm, SMBUS, 0x40, 1, 1);
    q35_set(tm, LPC, 0x61, 11, 1);
    q35_out(tm, 0x702, 0x41, 1); /* a quick command, with an interrupt at the end: nobody answers */
    g_assert_cmphex(q35_in(tm, 0x700, 1) & 0x3f, ==, 0x04);
    g_assert_true(isa->gsi_or[1].out.level); /* I/O APIC input 17 */
    g_assert_true(isa->irq_or[11].out.level);
    q35_set(tm, LPC, 0x61, 0x8b, 1); /* not routed to the 8259s, still to the I/O APIC */
    g_assert_true(isa->gsi_or[1].out.level);
    g_assert_false(isa->irq_or[11].out.level);
    q35_set(tm, LPC, 0xf0, 0xfed1c001, 4);
    g_assert_cmphex(q35_mem(&tm->m->as_mem, 0xfed1c000 + 0x3140, 2), ==, 0x3210);
    as_store(&tm->m->as_mem, 0xfed1c000 + 0x3140, 2, 0x3270, MEM_ATTRS_NONE); /* INTB to PIRQH */
    g_assert_false(isa->gsi_or[1].out.level);
    g_assert_true(isa->gsi_or[7].out.level);
    q35_out(tm, 0x700, 0x04, 1);
    g_assert_false(isa->gsi_or[7].out.level);
    tm_free(tm);
}

static void test_power(void)
{
    TestMachine *tm = q35_new(64 << 20);
    IsaBus *isa = ich9_lpc_isa_bus(q35_find(tm, &ich9_lpc_type));
    g_assert_cmphex(q35_in(tm, PM + 4, 2), ==, 0xffff);
    q35_set(tm, LPC, 0x40, PM | 1, 4);
    g_assert_cmphex(q35_in(tm, PM + 4, 2), ==, 0xffff);
    q35_set(tm, LPC, 0x44, 0x80, 1);
    g_assert_cmphex(q35_in(tm, PM + 4, 2), ==, 0);
    q35_out(tm, 0xb2, 0x02, 1);
    g_assert_cmphex(q35_in(tm, PM + 4, 2), ==, 1);
    q35_out(tm, PM + 2, 0x100, 2);
    tm->m->state = RUN_RUNNING;
    machine_request_powerdown(tm->m);
    tm_turns(tm);
    g_assert_cmphex(q35_in(tm, PM, 2) & 0x100, ==, 0x100);
    g_assert_true(isa->irq_or[9].out.level);
    q35_set(tm, LPC, 0x44, 0x84, 1); /* SCI on input 20 instead */
    g_assert_false(isa->irq_or[9].out.level);
    g_assert_true(isa->gsi_or[4].out.level);
    q35_out(tm, PM, 0x100, 2);
    g_assert_false(isa->gsi_or[4].out.level);
    /* GPE0: status is cleared by ones, enable is stored; SMI_EN: the global bit can be locked */
    q35_out(tm, PM + 0x28, 0x1234, 4);
    g_assert_cmphex(q35_in(tm, PM + 0x28, 4), ==, 0x1234);
    q35_out(tm, PM + 0x30, 0x21, 4);
    q35_set(tm, LPC, 0xa0, 0x10, 1);
    q35_set(tm, LPC, 0xa0, 0x00, 1);
    g_assert_cmphex(q35_get(tm, LPC, 0xa0, 1), ==, 0x10);
    q35_out(tm, PM + 0x30, 0, 4);
    g_assert_cmphex(q35_in(tm, PM + 0x30, 4), ==, 0x01);
    tm_free(tm);
}

static void test_layout(void)
{
    TestMachine *tm = q35_new(UINT64_C(3) << 30); /* what would reach 2.75 GiB is split at 2 GiB */
    AddressSpace *as = &tm->m->as_mem;
    as_store(as, 0x7ffffff0, 4, 0x77, MEM_ATTRS_NONE);
    as_store(as, 0x80000000, 4, 0x88, MEM_ATTRS_NONE);
    as_store(as, UINT64_C(0x13ffffff0), 4, 0x99, MEM_ATTRS_NONE);
    g_assert_cmphex(q35_mem(as, 0x7ffffff0, 4), ==, 0x77);
    g_assert_cmphex(q35_mem(as, 0x80000000, 4), ==, 0xffffffff);
    g_assert_cmphex(q35_mem(as, UINT64_C(0x13ffffff0), 4), ==, 0x99);
    g_assert_cmphex(q35_mem(as, UINT64_C(0x140000000), 4), ==, 0xffffffff);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/q35/identity", test_identity);
    g_test_add_func("/q35/ecam", test_ecam);
    g_test_add_func("/q35/memory", test_memory);
    g_test_add_func("/q35/smram", test_smram);
    g_test_add_func("/q35/routing", test_routing);
    g_test_add_func("/q35/power", test_power);
    g_test_add_func("/q35/layout", test_layout);
    return g_test_run();
}
