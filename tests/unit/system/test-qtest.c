/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-qtest.c - the line protocol: each command, its replies, bad lines, time.
 * Threads: main.
 */
#include "tests/lib/testmachine.h"

#include <string.h>

typedef struct Talk {
    TestMachine *tm;
    Qtest *q;
    GString *heard;
} Talk;

static void hear(void *opaque, const char *line)
{
    g_string_append_printf(((Talk *)opaque)->heard, "%s\n", line);
}

/* A toy device: port 0x10: bit 0 is its line; writing 0x11 arms a timer after so many microseconds. */
typedef struct Toy {
    Device dev;
    MemRegion regs;
    IrqLine irq;
    Timer timer;
    unsigned again;
} Toy;

static uint64_t toy_read(void *opaque, MemAccess *a)
{
    return a->off ? ((Toy *)opaque)->again : ((Toy *)opaque)->irq.level;
}

static void toy_write(void *opaque, MemAccess *a, uint64_t val)
{
    Toy *t = opaque;
    if (!a->off) {
        irq_set(&t->irq, val & 1);
        return;
    }
    t->again = (unsigned)val;
    timer_arm(&t->timer, clock_now(t->dev.machine->clock) + 1000);
}

static void toy_fire(void *opaque)
{
    Toy *t = opaque;
    irq_pulse(&t->irq);
    if (--t->again) {
        timer_arm(&t->timer,
                  timer_expires(&t->timer) == TIMER_OFF ? clock_now(t->dev.machine->clock) + 1000 : 0);
    }
}

static bool toy_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = toy_read, .write = toy_write, .max = 1 };
    Toy *t = dev_as(Toy, dev);
    region_init_io(&t->regs, dev, "toy", &ops, t, 2);
    device_add_irq(dev, &t->irq);
    device_add_timer(dev, &t->timer, toy_fire);
    return device_map_io(dev, &t->regs, 0x10, errp);
}

static void sink_set(void *sink, unsigned pin, bool level)
{
    g_assert_cmpuint(pin, ==, 3);
    dev_as(Toy, (Device *)sink)->again = level;
}
static const IrqSinkOps sink_ops = { .set = sink_set };
static const DeviceType toy_type = { .name = "toy", .size = sizeof(Toy), .realize = toy_realize };

static void say(Talk *t, const char *line, const char *expect)
{
    g_string_truncate(t->heard, 0);
    qtest_line(t->q, line);
    tm_turns(t->tm);
    g_assert_cmpstr(t->heard->str, ==, expect);
}

static void open_talk(Talk *t)
{
    t->tm = tm_new(1 << 20);
    t->heard = g_string_new(NULL);
    t->q = qtest_new(t->tm->m, hear, t);
}

static void close_talk(Talk *t)
{
    qtest_free(t->q);
    g_string_free(t->heard, TRUE);
    tm_free(t->tm);
}

static void test_memory(void)
{
    Talk t;
    open_talk(&t);
    say(&t, "writel 0x1000 0x11223344", "OK\n");
    say(&t, "readb 0x1001", "OK 0x0000000000000033\n");
    say(&t, "readw 0x1002", "OK 0x0000000000001122\n");
    say(&t, "writeq 0x1000 0x8899aabbccddeeff", "OK\n");
    say(&t, "readq 4096", "OK 0x8899aabbccddeeff\n");
    say(&t, "read 0x1000 3", "OK 0xffeedd\n");
    say(&t, "write 0x2000 4 0x0102A0", "OK\n");
    say(&t, "read 0x2000 4", "OK 0x0102a000\n");
    say(&t, "b64read 0x2000 3", "OK AQKg\n");
    say(&t, "b64write 0x2001 3 AQKg", "OK\n");
    say(&t, "readl 0x2000", "OK 0x00000000a0020101\n");
    say(&t, "memset 0x2000 3 0x5a", "OK\n");
    say(&t, "readl 0x2000", "OK 0x00000000a05a5a5a\n");
    say(&t, "readl 0x10000000", "OK 0x00000000ffffffff\n");
    say(&t, "inb 0x80", "OK 0x00ff\n");
    say(&t, "inl 0x80", "OK 0xffffffff\n");
    say(&t, "endianness", "OK little\n");
    close_talk(&t);
}

static void test_bad(void)
{
    Talk t;
    open_talk(&t);
    say(&t, "", "");
    say(&t, "fly 1", "FAIL Unknown command 'fly'\n");
    say(&t, "inb", "FAIL an argument is missing\n");
    say(&t, "inb 0x10000", "FAIL 0x10000 is too large, the limit is 0xffff\n");
    say(&t, "read 0 0x1000001", "FAIL 0x1000001 is too large, the limit is 0x1000000\n");
    say(&t, "write 0 1 zz", "FAIL the data must be 0x and hexadecimal digits\n");
    say(&t, "b64write 0 9 AQKg", "FAIL 3 bytes of data where 9 are announced\n");
    say(&t, "irq_intercept_in nowhere", "FAIL no device 'nowhere'\n");
    say(&t, "irq_intercept_in /machine/unattached",
        "FAIL device '/machine/unattached' has no line that can be intercepted there\n");
    say(&t, "clock_set 5", "OK 5\n");
    say(&t, "clock_set 4", "FAIL time does not run backwards\n");
    g_string_truncate(t.heard, 0);
    qtest_input(t.q, (const uint8_t *)"inb 0x80\ninb", 12);
    tm_turns(t.tm);
    g_assert_cmpstr(t.heard->str, ==, "OK 0x00ff\n");
    qtest_input(t.q, (const uint8_t *)" 0x81\n", 6);
    tm_turns(t.tm);
    g_assert_cmpstr(t.heard->str, ==, "OK 0x00ff\nOK 0x00ff\n");
    close_talk(&t);
}

static void test_time_and_lines(void)
{
    Talk t;
    open_talk(&t);
    Device *a = device_create(t.tm->m, &toy_type, t.tm->m->peripheral, "a", NULL, &error_abort_slot, NULL);
    say(&t, "irq_intercept_out /machine/peripheral/a", "OK\n");
    say(&t, "outb 0x10 1", "IRQ raise 0\nOK\n");
    say(&t, "outb 0x10 0", "IRQ lower 0\nOK\n");
    say(&t, "clock_step", "OK 0\n");
    say(&t, "outb 0x11 3", "OK\n");
    say(&t, "clock_step", "IRQ raise 0\nIRQ lower 0\nOK 1000\n");
    say(&t, "clock_step 5000", "IRQ raise 0\nIRQ lower 0\nIRQ raise 0\nIRQ lower 0\nOK 6000\n");
    irq_connect(device_irq(a, 0), &sink_ops, a, 3); /* to itself, for want of another */
    say(&t, "set_irq_in /machine/peripheral/a unnamed-gpio-in 3 1", "OK\n");
    g_assert_cmpuint(dev_as(Toy, a)->again, ==, 1);
    say(&t, "irq_intercept_in a", "OK\n");
    say(&t, "outb 0x10 1", "IRQ raise 3\nOK\n");
    g_string_truncate(t.heard, 0);
    qtest_input(t.q, (const uint8_t *)"clock_step 10\ninb 0x80\n", 23); /* replies stay in order */
    tm_turns(t.tm);
    g_assert_cmpstr(t.heard->str, ==, "OK 6010\nOK 0x00ff\n");
    close_talk(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/system/qtest/memory", test_memory);
    g_test_add_func("/system/qtest/bad", test_bad);
    g_test_add_func("/system/qtest/time-and-lines", test_time_and_lines);
    return g_test_run();
}
