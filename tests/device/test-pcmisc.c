/* SPDX-License-Identifier: MIT
 * tests/device/test-pcmisc.c - 8237A pair, port 92h, exit port, pvpanic, kvm-unit-tests' device, rules of
 * the ISA bus.
 * Threads: main.
 */
#include "rhea/hw/isadma.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/hw/ps2.h"
#include "rhea/hw/timer.h"
#include "tests/device/isatest.h"

/* A device that wants two DMA channels. */
typedef struct DmaUser {
    Device dev;
    uint32_t channel;
    unsigned ready;
} DmaUser;

static void user_ready(Device *dev, unsigned channel)
{
    DmaUser *u = dev_as(DmaUser, dev);
    g_assert_cmpuint(channel, ==, u->channel);
    u->ready++;
}

static bool user_realize(Device *dev, Error **errp)
{
    static const IsaDmaOps ops = { .ready = user_ready };
    return isa_dma_claim(dev, dev_as(DmaUser, dev)->channel, &ops, errp);
}

static const Prop user_props[] = { PROP_U32(DmaUser, channel, "dma", 2, 0, 8, "channel"), { 0 } };
static const IsaOps user_isa = { .irq = -1 };
static const DeviceType user_type = {
    .name = "test-dma-user", .desc = "DMA user", .size = sizeof(DmaUser), .bus_type = &isa_bus_type,
    .bus_ops = &user_isa, .props = user_props, .realize = user_realize,
};

static size_t transfer(IsaTest *t, unsigned channel, void *buf, size_t len, bool to_memory, bool *tc)
{
    domain_lock(t->tm->m->platform);
    isa_dma_request(t->isa, channel, true);
    size_t n = isa_dma_transfer(t->isa, channel, buf, len, to_memory, tc);
    isa_dma_request(t->isa, channel, false);
    domain_unlock(t->tm->m->platform);
    return n;
}

static void program2(IsaTest *t, uint8_t mode, uint8_t page, uint16_t addr, uint16_t count)
{
    outb(t, 0x0a, 0x06);
    outb(t, 0x0c, 0);
    outb(t, 0x0b, mode | 2);
    outb(t, 0x04, addr & 0xff);
    outb(t, 0x04, addr >> 8);
    outb(t, 0x05, count & 0xff);
    outb(t, 0x05, count >> 8);
    outb(t, 0x81, page);
    outb(t, 0x0a, 0x02);
}

static void test_dma(void)
{
    IsaTest *t = isatest_new();
    g_assert_true(isatest_refuses(t, &user_type, NULL, NULL, "no DMA controller"));
    g_assert_true(isa_dma_create_pair(t->bus, t->tm->m->unattached, &error_abort_slot));
    Device *dev = isatest_add(t, &user_type);
    g_assert_true(isatest_refuses(t, &user_type, NULL, NULL, "taken"));
    g_assert_true(isatest_refuses(t, &user_type, "dma", "4", "does not exist"));
    uint8_t buf[512], back[512];
    bool tc;
    for (unsigned i = 0; i < sizeof(buf); i++) {
        buf[i] = i * 7;
    }
    g_assert_cmphex(inb(t, 0x0f), ==, 0xff); /* all masked */
    g_assert_cmpuint(transfer(t, 2, buf, 512, true, &tc), ==, 0);
    program2(t, 0x44, 0x01, 0x2000, 511); /* single, to memory */
    g_assert_cmpuint(transfer(t, 2, buf, 300, true, &tc), ==, 300);
    g_assert_false(tc);
    g_assert_cmphex(inb(t, 0x04), ==, 0x2c);
    g_assert_cmphex(inb(t, 0x04), ==, 0x21);
    g_assert_cmpuint(transfer(t, 2, buf + 300, 300, true, &tc), ==, 212);
    g_assert_true(tc);
    g_assert_cmphex(inb(t, 0x08) & 0x0f, ==, 0x04);
    g_assert_cmphex(inb(t, 0x08) & 0x0f, ==, 0x00); /* cleared by the read */
    g_assert_cmphex(inb(t, 0x0f), ==, 0xff);        /* masked at its end */
    tm_copy_out(t->tm, 0x12000, back, 512);
    g_assert_cmpmem(back, 512, buf, 512);
    /* Down, autoinitialized, from memory; the wrong direction moves nothing. */
    program2(t, 0x78, 0x01, 0x2003, 3);
    g_assert_cmpuint(transfer(t, 2, back, 4, true, &tc), ==, 0);
    g_assert_cmpuint(transfer(t, 2, back, 8, false, &tc), ==, 4);
    g_assert_true(tc);
    g_assert_cmpmem(back, 4, ((uint8_t[]){ buf[3], buf[2], buf[1], buf[0] }), 4);
    g_assert_cmpuint(transfer(t, 2, back, 8, false, &tc), ==, 4);
    /* The address counter wraps inside its 64 KiB page. */
    program2(t, 0x44, 0x01, 0xfffe, 3);
    g_assert_cmpuint(transfer(t, 2, buf, 4, true, &tc), ==, 4);
    g_assert_cmphex(tm_read(t->tm, 0x1fffe, 2), ==, buf[0] | buf[1] << 8);
    g_assert_cmphex(tm_read(t->tm, 0x10000, 2), ==, buf[2] | buf[3] << 8);
    /* ready() tells when the guest unmasks a requested channel. */
    DmaUser *u = dev_as(DmaUser, dev);
    domain_lock(t->tm->m->platform);
    isa_dma_request(t->isa, 2, true);
    domain_unlock(t->tm->m->platform);
    unsigned ready = u->ready;
    program2(t, 0x44, 0x01, 0x2000, 511);
    g_assert_cmpuint(u->ready, >, ready);
    g_assert_cmphex(inb(t, 0x08) & 0xf0, ==, 0x40);
    outb(t, 0x0d, 0); /* master clear masks */
    g_assert_cmphex(inb(t, 0x0f), ==, 0xff);
    isatest_free(t);
}

static void test_dma_words(void)
{
    IsaTest *t = isatest_new();
    g_assert_true(isa_dma_create_pair(t->bus, t->tm->m->unattached, &error_abort_slot));
    isatest_add(t, &user_type, "dma", "5");
    outb(t, 0xd8, 0);
    outb(t, 0xd6, 0x45); /* channel 5, to memory */
    outb(t, 0xc4, 0x00); /* word address 0x1000: byte 0x2000 */
    outb(t, 0xc4, 0x10);
    outb(t, 0xc6, 1);
    outb(t, 0xc6, 0);
    outb(t, 0x8b, 0x03); /* bit 0 does not count */
    outb(t, 0xd4, 0x01);
    bool tc;
    uint8_t buf[] = { 1, 2, 3, 4, 5, 6 };
    g_assert_cmpuint(transfer(t, 5, buf, 6, true, &tc), ==, 4);
    g_assert_true(tc);
    g_assert_cmphex(tm_read(t->tm, 0x22000, 4), ==, 0x04030201);
    outb(t, 0x80, 0x77); /* POST code latch */
    g_assert_cmphex(inb(t, 0x80), ==, 0x77);
    isatest_free(t);
}

static void test_port92(void)
{
    IsaTest *t = isatest_new();
    Device *dev = isatest_add(t, &port92_type);
    tm_connect(t->tm, dev, 0, 40);
    outb(t, 0x92, 0xfe);
    g_assert_cmphex(inb(t, 0x92), ==, 0x02);
    g_assert_true(t->tm->level[40]);
    outb(t, 0x92, 0x00);
    g_assert_false(t->tm->level[40]);
    outb(t, 0x92, 0x03); /* the rise of bit 0 resets */
    tm_turns(t->tm);
    g_assert_cmphex(inb(t, 0x92), ==, 0x00);
    g_assert_false(t->tm->level[40]);
    isatest_free(t);
}

static void test_debug_exit(void)
{
    IsaTest *t = isatest_new();
    isatest_add(t, &isa_debug_exit_type, "iobase", "0xf4", "iosize", "4");
    g_assert_cmphex(tm_in(t->tm, 0xf4, 4), ==, 0);
    tm_out(t->tm, 0xf4, 4, 0x21);
    tm_turns(t->tm);
    g_assert_cmpint(machine_exit_status(t->tm->m), ==, 0x43);
    isatest_free(t);
}

/* What the guest says of itself, as the monitor is told. */
static void note_event(void *opaque, const char *name, const Json *data)
{
    g_autofree char *text = json_format(data, false);
    g_string_append_printf(opaque, "%s%s ", name, text);
}

static void check_pvpanic(const char *events, uint8_t readable, uint8_t written, const char *told)
{
    IsaTest *t = isatest_new();
    g_autoptr(GString) got = g_string_new(NULL);
    MachineListener l = { .event = note_event, .opaque = got };
    t->tm->m->action.panic_none = true;
    isatest_add(t, &pvpanic_type, "ioport", "0x600", "events", events);
    machine_add_listener(t->tm->m, &l);
    g_assert_cmphex(inb(t, 0x600), ==, readable);
    outb(t, 0x600, written);
    tm_turns(t->tm);
    g_assert_cmpstr(got->str, ==, told);
    g_assert_true(machine_running(t->tm->m));
    machine_remove_listener(t->tm->m, &l);
    isatest_free(t);
}

static void test_pvpanic(void)
{
    check_pvpanic("3", 3, 1, "GUEST_PANICKED{\"action\": \"run\"} ");
    check_pvpanic("3", 3, 2, "GUEST_CRASHLOADED{\"action\": \"run\"} ");
    check_pvpanic("3", 3, 3, "GUEST_PANICKED{\"action\": \"run\"} ");
    check_pvpanic("1", 1, 2, "");
    check_pvpanic("2", 2, 3, "GUEST_CRASHLOADED{\"action\": \"run\"} ");
    check_pvpanic("0", 0, 0xff, "");
    check_pvpanic("3", 3, 0xfc, "");
    IsaTest *t = isatest_new();
    isatest_add(t, &pvpanic_type, "events", "1");
    t->tm->m->action.panic_pause = true;
    outb(t, 0x505, 1);
    tm_turns(t->tm);
    g_assert_cmpint(t->tm->m->state, ==, RUN_GUEST_PANICKED);
    g_assert_true(isatest_refuses(t, &pvpanic_type, "ioport", "0x505", "pvpanic"));
    isatest_free(t);
}

static void test_testdev(void)
{
    IsaTest *t = isatest_new();
    isatest_add(t, &pc_testdev_type);
    tm_out(t->tm, 0xe0, 4, 0x12345678);
    g_assert_cmphex(inb(t, 0xe1), ==, 0x56);
    tm_out(t->tm, 0xe2, 2, 0xabcd);
    g_assert_cmphex(tm_in(t->tm, 0xe0, 4), ==, 0xabcd5678);
    g_assert_cmphex(tm_in(t->tm, 0xe8, 4), ==, 0xabcd5678);
    tm_out(t->tm, 0xe4, 4, 0x100000);
    tm_write(t->tm, 0xff000123, 8, UINT64_C(0x1122334455667788));
    g_assert_cmphex(tm_read(t->tm, 0xff000124, 2), ==, 0x6677);
    outb(t, 0x200e, 1);
    g_assert_true(t->tm->level[14]);
    outb(t, 0x2017, 1);
    g_assert_true(t->tm->level[23]);
    tm_reset(t->tm);
    g_assert_false(t->tm->level[14]);
    g_assert_false(t->tm->level[23]);
    isatest_free(t);
}

static void test_bus_rules(void)
{
    IsaTest *t = isatest_new();
    isatest_add(t, &i8254_type);
    isatest_add(t, &isa_serial_type);
    g_assert_true(isatest_refuses(t, &mc146818_type, "irq", "4", "isa-serial"));
    g_assert_true(isatest_refuses(t, &mc146818_type, "irq", "0", "isa-pit"));
    g_assert_true(isatest_refuses(t, &mc146818_type, "index", "0", "one place"));
    g_assert_true(isatest_refuses(t, &port92_type, "irq", "5", "no 'irq'"));
    g_assert_true(isatest_refuses(t, &pc_testdev_type, "iobase", "0x300", "fixed"));
    g_assert_true(isatest_refuses(t, &i8254_type, NULL, NULL, "isa-pit"));
    g_assert_true(isatest_refuses(t, &i8042_type, "mouse-irq", "4", "isa-serial"));
    /* A refused device leaves no trace: the line and the ports are free. */
    Device *rtc = isatest_add(t, &mc146818_type);
    isatest_add(t, &i8042_type);
    g_assert_true(isa_find_device(t->isa, &mc146818_type) == rtc);
    g_assert_null(isa_find_device(t->isa, &port92_type));
    device_remove(rtc);
    g_assert_null(isa_find_device(t->isa, &mc146818_type));
    isatest_add(t, &mc146818_type);
    isatest_free(t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8237/bytes", test_dma);
    g_test_add_func("/i8237/words", test_dma_words);
    g_test_add_func("/port92", test_port92);
    g_test_add_func("/isa-debug-exit", test_debug_exit);
    g_test_add_func("/pvpanic", test_pvpanic);
    g_test_add_func("/pc-testdev", test_testdev);
    g_test_add_func("/isa/rules", test_bus_rules);
    return g_test_run();
}
