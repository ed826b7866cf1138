/* SPDX-License-Identifier: MIT
 * tests/lib/testmachine.c - a machine inside the test process.
 * Threads: the test's main thread is the main loop and the CPU.
 */
#include "tests/lib/testmachine.h"

static void sink_set(void *sink, unsigned pin, bool level)
{
    TestMachine *tm = sink;
    g_assert(pin < TM_LINES);
    tm->rises[pin] += level && !tm->level[pin];
    tm->level[pin] = level;
}

const IrqSinkOps tm_irq_sink = { .set = sink_set };

TestMachine *tm_prepare(const BoardType *board)
{
    TestMachine *tm = g_new0(TestMachine, 1);
    role_become_main();
    tm->loop = loop_new("main");
    tm->m = machine_new(tm->loop);
    tm->m->board = board;
    tm->m->accel = &accel_test_ops;
    return tm;
}

void tm_build(TestMachine *tm)
{
    machine_build(tm->m, &error_abort_slot);
    machine_ready(tm->m, &error_abort_slot);
    machine_start(tm->m);
}

TestMachine *tm_new(uint64_t ram_size)
{
    TestMachine *tm = tm_prepare(&board_none);
    tm->m->ram_size = ram_size;
    tm_build(tm);
    return tm;
}

void tm_free(TestMachine *tm)
{
    machine_free(tm->m);
    loop_free(tm->loop);
    g_free(tm);
}

Device *tm_device_type(TestMachine *tm, const DeviceType *type, Bus *bus, ...)
{
    Device *dev = device_new(tm->m, type, tm->m->peripheral, NULL);
    va_list ap;
    va_start(ap, bus);
    for (const char *name; (name = va_arg(ap, const char *));) {
        device_set(dev, name, va_arg(ap, const char *), &error_abort_slot);
    }
    va_end(ap);
    device_realize(dev, bus, &error_abort_slot);
    return dev;
}

void tm_connect(TestMachine *tm, Device *dev, unsigned k, unsigned pin)
{
    g_assert(device_irq(dev, k));
    irq_connect(device_irq(dev, k), &tm_irq_sink, tm, pin);
}

static const MemAttrs as_cpu = { .cpu = true };

uint32_t tm_in(TestMachine *tm, uint16_t port, unsigned size)
{
    uint64_t v;
    as_load(&tm->m->as_io, port, size, &v, as_cpu);
    return (uint32_t)v;
}

void tm_out(TestMachine *tm, uint16_t port, unsigned size, uint32_t val)
{
    as_store(&tm->m->as_io, port, size, val, as_cpu);
}

uint64_t tm_read(TestMachine *tm, hwaddr addr, unsigned size)
{
    uint64_t v;
    as_load(&tm->m->as_mem, addr, size, &v, as_cpu);
    return v;
}

void tm_write(TestMachine *tm, hwaddr addr, unsigned size, uint64_t val)
{
    as_store(&tm->m->as_mem, addr, size, val, as_cpu);
}

void tm_copy_in(TestMachine *tm, hwaddr addr, const void *buf, size_t len)
{
    as_access(&tm->m->as_mem, addr, (void *)buf, len, true, as_cpu);
}

void tm_copy_out(TestMachine *tm, hwaddr addr, void *buf, size_t len)
{
    as_access(&tm->m->as_mem, addr, buf, len, false, as_cpu);
}

void tm_turns(TestMachine *tm)
{
    for (unsigned i = 0; i < 10000 && loop_turn(tm->loop, false); i++) {
    }
}

int64_t tm_now(TestMachine *tm)
{
    return clock_now(tm->m->clock);
}

void tm_step(TestMachine *tm, int64_t ns)
{
    int64_t target = tm_now(tm) + ns;
    tm_turns(tm);
    while (tm_now(tm) < target) {
        accel_test_set_clock(tm->m, accel_test_next(tm->m, target));
        tm_turns(tm);
    }
}

GByteArray *tm_save(TestMachine *tm)
{
    bool running = machine_running(tm->m);
    GByteArray *out = g_byte_array_new();
    machine_stop(tm->m, RUN_PAUSED);
    machine_save(tm->m, out, true);
    if (running) {
        machine_start(tm->m);
    }
    return out;
}

bool tm_load(TestMachine *tm, GByteArray *state, Error **errp)
{
    bool running = machine_running(tm->m);
    machine_stop(tm->m, RUN_PAUSED);
    bool ok = machine_load(tm->m, state->data, state->len, errp);
    if (running) {
        machine_start(tm->m);
    }
    return ok;
}

void tm_reset(TestMachine *tm)
{
    machine_reset(tm->m, RESET_COLD);
}
