/* SPDX-License-Identifier: MIT
 * tests/device/isatest.c - the test machine with an ISA bus.
 * Models:  a bridge that owns a bus and nothing else.
 * Threads: the test's main thread.
 */
#include "tests/device/isatest.h"

typedef struct TestBridge {
    Device dev;
    IsaBus *isa;
} TestBridge;

static bool bridge_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    dev_as(TestBridge, dev)->isa = isa_bus_new(dev, "isa.0");
    return true;
}

static const DeviceType bridge_type = {
    .name = "test-isa-bridge", .desc = "ISA bridge of tests", .size = sizeof(TestBridge),
    .realize = bridge_realize,
};

IsaTest *isatest_new_with(void (*options)(Machine *m))
{
    IsaTest *t = g_new0(IsaTest, 1);
    t->tm = tm_prepare(&board_none);
    t->tm->m->ram_size = 2 << 20;
    if (options) {
        options(t->tm->m);
    }
    tm_build(t->tm);
    t->isa = dev_as(TestBridge, tm_device_type(t->tm, &bridge_type, NULL, NULL))->isa;
    t->bus = t->isa->bus;
    for (unsigned k = 0; k < ISA_IRQS; k++) {
        irq_connect(&t->isa->irq_in[k], &tm_irq_sink, t->tm, k);
    }
    for (unsigned k = ISA_IRQS; k < ISA_GSIS; k++) {
        irq_connect(&t->isa->gsi_in[k - ISA_IRQS], &tm_irq_sink, t->tm, k);
    }
    return t;
}

IsaTest *isatest_new(void)
{
    return isatest_new_with(NULL);
}

void isatest_free(IsaTest *t)
{
    tm_free(t->tm);
    g_free(t);
}

bool isatest_refuses(IsaTest *t, const DeviceType *type, const char *prop, const char *value,
                     const char *text)
{
    g_autoptr(Error) err = NULL;
    Device *dev = device_new(t->tm->m, type, t->tm->m->peripheral, NULL);
    bool ok = (!prop || device_set(dev, prop, value, &err)) && device_realize(dev, t->bus, &err);
    device_remove(dev);
    if (ok) {
        return false;
    }
    g_test_message("refused: %s", error_text(err));
    return strstr(error_text(err), text) != NULL;
}
