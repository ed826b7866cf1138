/* SPDX-License-Identifier: MIT
 * tests/device/test-q35.c - the q35 board's chips by their data sheets: hw/i386/q35-mch.c, ich9-lpc.c,
 * ich9-smbus.c, pm1.c, pirq.c, shadow.c (TSEG), config-ports.c, and the layout of memory in pc-q35.c.
 * Threads: main.
 */
#include "hw/i386/ich9.h"
#include "rhea/hw/pc.h"
#include "tests/lib/testmachine.h"

#include <glib/gstdio.h>
#include <string.h>

enum { MCH = 0, LPC = PCI_DEVFN(31, 0), SMBUS = PCI_DEVFN(31, 3), PM = 0x600, ECAM = 0xb0000000 };

static char *firmware; /* 64 KiB of HLT */
static TestMachine *tm;

static TestMachine *board_new(uint64_t ram)
{
    tm = tm_prepare(&q35_board);
    tm->m->ram_size = ram;
    tm->m->bios = g_strdup(firmware);
    tm->m->action.no_shutdown = true;
    tm_build(tm);
    return tm;
}

static uint32_t in(uint16_t port, unsigned n)
{
    uint64_t v = 0;
    as_load(&tm->m->as_io, port, n, &v, MEM_ATTRS_NONE);
    return (uint32_t)v;
}

static void out(uint16_t port, uint32_t v, unsigned n)
{
    as_store(&tm->m->as_io, port, n, v, MEM_ATTRS_NONE);
}

static uint64_t mem(AddressSpace *as, hwaddr at, unsigned n)
{
    uint64_t v = 0;
    as_load(as, at, n, &v, MEM_ATTRS_NONE);
    return v;
}

static uint32_t get(unsigned fn, unsigned off, unsigned n)
{
    out(0xcf8, 0x80000000 | fn << 8 | (off & 0xfc), 4);
    return in(0xcfc + (off & 3), n);
}

static void set(unsigned fn, unsigned off, uint32_t v, unsigned n)
{
    out(0xcf8, 0x80000000 | fn << 8 | (off & 0xfc), 4);
    out(0xcfc + (off & 3), v, n);
}

static Device *find(Device *dev, const DeviceType *type)
{
    for (guint i = 0; i < dev->children->len; i++) {
        Device *d = dev->children->pdata[i], *found = d->type == type ? d : find(d, type);
        if (found) {
            return found;
        }
    }
    return NULL;
}

static void test_identity(void)
{
    board_new(64 << 20);
    g_assert_cmphex(get(MCH, 0, 4), ==, 0x29c08086);
    g_assert_cmphex(get(MCH, 8, 4) >> 8, ==, 0x060000);
    g_assert_cmphex(get(LPC, 0, 4), ==, 0x29188086);
    g_assert_cmphex(get(LPC, 0x0e, 1), ==, 0x80);
    g_assert_cmphex(get(SMBUS, 0, 4), ==, 0x29308086);
    g_assert_cmphex(get(SMBUS, 8, 4) >> 8, ==, 0x0c0500);
    tm_free(tm);
}

static void test_ecam(void)
{
    board_new(64 << 20);
    AddressSpace *as = &tm->m->as_mem;
    g_assert_cmphex(get(MCH, 0x60, 4), ==, 0xe0000000);
    g_assert_cmphex(mem(as, 0xe0000000, 4), ==, 0xffffffff); /* off until enabled */
    set(MCH, 0x60, ECAM | 1, 4);
    g_assert_cmphex(mem(as, ECAM, 4), ==, 0x29c08086);
    g_assert_cmphex(mem(as, ECAM + (LPC << 12), 4), ==, 0x29188086);
    g_assert_cmphex(mem(as, ECAM + (LPC << 12) + 0x100, 4), ==, 0xffffffff);
    set(MCH, 0x60, 0xd0000000 | 3, 4); /* 128 MiB: 128 buses */
    g_assert_cmphex(mem(as, ECAM, 4), ==, 0xffffffff);
    g_assert_cmphex(mem(as, 0xd0000000, 4), ==, 0x29c08086);
    set(MCH, 0x64, 1, 4); /* above 4 GiB */
    g_assert_cmphex(mem(as, 0xd0000000, 4), ==, 0xffffffff);
    g_assert_cmphex(mem(as, 0x1d0000000, 4), ==, 0x29c08086);
    machine_reset(tm->m, RESET_COLD);
    g_assert_cmphex(mem(as, 0x1d0000000, 4), ==, 0xffffffff);
    tm_free(tm);
}

static void test_memory(void)
{
    board_new(UINT64_C(64) << 20);
    AddressSpace *as = &tm->m->as_mem;
    g_assert_cmphex(mem(as, 0xffff0000, 1), ==, 0xf4);
    g_assert_cmphex(mem(as, 0xf0000, 1), ==, 0xf4);
    set(MCH, 0x90, 0x30, 1); /* PAM0: RAM */
    g_assert_cmphex(mem(as, 0xf0000, 1), ==, 0);
    set(MCH, 0x91, 0x10, 1); /* PAM1: C4000h read only */
    as_store(as, 0xc4000, 1, 0x55, MEM_ATTRS_NONE);
    set(MCH, 0x91, 0x30, 1);
    g_assert_cmphex(mem(as, 0xc4000, 1), ==, 0);
    tm_free(tm);
}

static void test_smram(void)
{
    board_new(UINT64_C(64) << 20);
    AddressSpace *as = &tm->m->as_mem, *smm = tm->m->as_smm;
    const hwaddr tseg = (64 << 20) - (8 << 20);
    as_store(as, tseg + 16, 4, 0x11223344, MEM_ATTRS_NONE);
    set(MCH, 0x9e, 0x05, 1); /* TSEG of 8 MiB, but SMRAM as a whole is off */
    g_assert_cmphex(mem(as, tseg + 16, 4), ==, 0x11223344);
    set(MCH, 0x9d, 0x4a, 1); /* open, enabled */
    as_store(as, 0xa0000, 4, 0xabcd, MEM_ATTRS_NONE);
    g_assert_cmphex(mem(as, 0xa0000, 4), ==, 0xabcd);
    g_assert_cmphex(mem(as, tseg + 16, 4), ==, 0xffffffff);
    g_assert_cmphex(mem(smm, tseg + 16, 4), ==, 0x11223344);
    g_assert_cmphex(mem(as, tseg - 4, 4), ==, 0);
    set(MCH, 0x9d, 0x1a, 1); /* locked: D_OPEN is gone, nothing moves any more */
    g_assert_cmphex(mem(as, 0xa0000, 4), ==, 0xffffffff);
    g_assert_cmphex(mem(smm, 0xa0000, 4), ==, 0xabcd);
    set(MCH, 0x9d, 0x42, 1);
    set(MCH, 0x9e, 0, 1);
    g_assert_cmphex(get(MCH, 0x9d, 1), ==, 0x1a);
    g_assert_cmphex(get(MCH, 0x9e, 1), ==, 0x3d);
    machine_reset(tm->m, RESET_COLD);
    g_assert_cmphex(get(MCH, 0x9d, 1), ==, 0x02);
    g_assert_cmphex(mem(as, tseg + 16, 4), ==, 0x11223344);
    tm_free(tm);
}

/* The SMBus host interrupts by INTB of device 31: PIRQB, or what D31IR says. */
static void test_routing(void)
{
    board_new(64 << 20);
    IsaBus *isa = ich9_lpc_isa_bus(find(tm->m->root, &ich9_lpc_type));
    set(SMBUS, 0x20, 0x701, 4);
    set(SMBUS, 0x04, 1, 2);
    set(SMBUS, 0x40, 1, 1);
    set(LPC, 0x61, 11, 1);
    out(0x702, 0x41, 1); /* a quick command, with an interrupt at the end: nobody answers */
    g_assert_cmphex(in(0x700, 1) & 0x3f, ==, 0x04);
    g_assert_true(isa->gsi_or[1].out.level); /* I/O APIC input 17 */
    g_assert_true(isa->irq_or[11].out.level);
    set(LPC, 0x61, 0x8b, 1); /* not routed to the 8259s, still to the I/O APIC */
    g_assert_true(isa->gsi_or[1].out.level);
    g_assert_false(isa->irq_or[11].out.level);
    set(LPC, 0xf0, 0xfed1c001, 4);
    g_assert_cmphex(mem(&tm->m->as_mem, 0xfed1c000 + 0x3140, 2), ==, 0x3210);
    as_store(&tm->m->as_mem, 0xfed1c000 + 0x3140, 2, 0x3270, MEM_ATTRS_NONE); /* INTB to PIRQH */
    g_assert_false(isa->gsi_or[1].out.level);
    g_assert_true(isa->gsi_or[7].out.level);
    out(0x700, 0x04, 1);
    g_assert_false(isa->gsi_or[7].out.level);
    tm_free(tm);
}

static void test_power(void)
{
    board_new(64 << 20);
    IsaBus *isa = ich9_lpc_isa_bus(find(tm->m->root, &ich9_lpc_type));
    g_assert_cmphex(in(PM + 4, 2), ==, 0xffff);
    set(LPC, 0x40, PM | 1, 4);
    g_assert_cmphex(in(PM + 4, 2), ==, 0xffff);
    set(LPC, 0x44, 0x80, 1);
    g_assert_cmphex(in(PM + 4, 2), ==, 0);
    out(0xb2, 0x02, 1);
    g_assert_cmphex(in(PM + 4, 2), ==, 1);
    out(PM + 2, 0x100, 2);
    tm->m->state = RUN_RUNNING;
    machine_request_powerdown(tm->m);
    tm_turns(tm);
    g_assert_cmphex(in(PM, 2) & 0x100, ==, 0x100);
    g_assert_true(isa->irq_or[9].out.level);
    set(LPC, 0x44, 0x84, 1); /* SCI on input 20 instead */
    g_assert_false(isa->irq_or[9].out.level);
    g_assert_true(isa->gsi_or[4].out.level);
    out(PM, 0x100, 2);
    g_assert_false(isa->gsi_or[4].out.level);
    /* GPE0: status is cleared by ones, enable is stored; SMI_EN: the global bit can be locked */
    out(PM + 0x28, 0x1234, 4);
    g_assert_cmphex(in(PM + 0x28, 4), ==, 0x1234);
    out(PM + 0x30, 0x21, 4);
    set(LPC, 0xa0, 0x10, 1);
    set(LPC, 0xa0, 0x00, 1);
    g_assert_cmphex(get(LPC, 0xa0, 1), ==, 0x10);
    out(PM + 0x30, 0, 4);
    g_assert_cmphex(in(PM + 0x30, 4), ==, 0x01);
    tm_free(tm);
}

static void test_layout(void)
{
    board_new(UINT64_C(3) << 30); /* what would reach 2.75 GiB is split at 2 GiB */
    AddressSpace *as = &tm->m->as_mem;
    as_store(as, 0x7ffffff0, 4, 0x77, MEM_ATTRS_NONE);
    as_store(as, 0x80000000, 4, 0x88, MEM_ATTRS_NONE);
    as_store(as, UINT64_C(0x13ffffff0), 4, 0x99, MEM_ATTRS_NONE);
    g_assert_cmphex(mem(as, 0x7ffffff0, 4), ==, 0x77);
    g_assert_cmphex(mem(as, 0x80000000, 4), ==, 0xffffffff);
    g_assert_cmphex(mem(as, UINT64_C(0x13ffffff0), 4), ==, 0x99);
    g_assert_cmphex(mem(as, UINT64_C(0x140000000), 4), ==, 0xffffffff);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_autofree char *dir = g_dir_make_tmp("rhea-q35-XXXXXX", NULL);
    firmware = g_build_filename(dir, "hlt.bin", NULL);
    g_autofree char *code = g_malloc(65536);
    memset(code, 0xf4, 65536);
    g_file_set_contents(firmware, code, 65536, NULL);
    g_test_add_func("/q35/identity", test_identity);
    g_test_add_func("/q35/ecam", test_ecam);
    g_test_add_func("/q35/memory", test_memory);
    g_test_add_func("/q35/smram", test_smram);
    g_test_add_func("/q35/routing", test_routing);
    g_test_add_func("/q35/power", test_power);
    g_test_add_func("/q35/layout", test_layout);
    int status = g_test_run();
    g_unlink(firmware);
    g_rmdir(dir);
    g_free(firmware);
    return status;
}
