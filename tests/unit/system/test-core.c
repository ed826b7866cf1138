/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-core.c - domains, interrupt lines, a device's life, run state.
 * Threads: main, and one vCPU-like thread for domains.
 */
#include "tests/lib/testmachine.h"

#include <string.h>

/* ---- a device that uses every resource ---- */

typedef struct Probe {
    Device dev;
    uint32_t fail_at; /* property: realize fails at this step */
    char *label;
    MemRegion regs;
    IrqLine irq;
    Timer timer;
    DomainTask task;
    Fifo8 fifo;
    uint32_t value, resets, dones, fires, tasks;
} Probe;

static int cleanups, unrealizes;

static uint64_t probe_read(void *opaque, MemAccess *a)
{
    Probe *p = opaque;
    return p->value >> (8 * a->off);
}

static void probe_write(void *opaque, MemAccess *a, uint64_t val)
{
    Probe *p = opaque;
    g_assert(domain_held(p->dev.domain));
    p->value = (uint32_t)val;
    fifo8_push(&p->fifo, (uint8_t)val);
    irq_set(&p->irq, val & 1);
    if (val & 2) {
        timer_arm(&p->timer, clock_now(p->dev.machine->clock) + 1000);
    }
    if (val & 4) {
        domain_post(&p->task);
    }
}

static void probe_fire(void *opaque)
{
    Probe *p = opaque;
    g_assert(domain_held(p->dev.domain));
    p->fires++;
}

static void probe_task(void *opaque)
{
    Probe *p = opaque;
    g_assert(domain_held(p->dev.domain));
    p->tasks++;
}

static void probe_cleanup(void *opaque G_GNUC_UNUSED)
{
    cleanups++;
}

static bool probe_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = probe_read, .write = probe_write, .min = 1, .max = 4 };
    Probe *p = dev_as(Probe, dev);
    device_add_cleanup(dev, probe_cleanup, p);
    region_init_io(&p->regs, dev, "probe", &ops, p, 4);
    device_add_region(dev, &p->regs);
    device_add_irq(dev, &p->irq);
    device_add_fifo8(dev, &p->fifo, 4);
    device_add_timer(dev, &p->timer, probe_fire);
    device_add_task(dev, &p->task, probe_task);
    if (p->fail_at == 1) {
        return error_set(errp, "asked to fail");
    }
    return device_map_io(dev, &p->regs, 0x300, errp);
}

static void probe_unrealize(Device *dev G_GNUC_UNUSED)
{
    unrealizes++;
}

static void probe_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    Probe *p = dev_as(Probe, dev);
    p->value = 0;
    p->resets++;
    timer_cancel(&p->timer);
    fifo8_clear(&p->fifo);
}

static void probe_reset_done(Device *dev)
{
    Probe *p = dev_as(Probe, dev);
    p->dones++;
    irq_set(&p->irq, false);
}

static const Prop probe_props[] = {
    PROP_U32(Probe, fail_at, "fail-at", 0, 0, 9, "Step at which realize fails"),
    PROP_STR(Probe, label, "label", "none", "A text"),
    { 0 },
};
static const VmField probe_fields[] = {
    VM_U32(Probe, value), VM_FIFO8(Probe, fifo), VM_TIMER(Probe, timer), { 0 }
};
static const VmState probe_state = { .name = "probe", .version = 1, .oldest = 1, .fields = probe_fields };
static const DeviceType probe_type = {
    .name = "probe",
    .size = sizeof(Probe),
    .props = probe_props,
    .vmstate = &probe_state,
    .realize = probe_realize,
    .unrealize = probe_unrealize,
    .reset = probe_reset,
    .reset_done = probe_reset_done,
};

static void test_device_life(void)
{
    TestMachine *tm = tm_new(1 << 20);
    cleanups = unrealizes = 0;
    Device *dev = tm_device_type(tm, &probe_type, NULL, "label", "a", NULL);
    Probe *p = dev_as(Probe, dev);
    g_assert_cmpuint(p->resets, ==, 1); /* plugged into a running machine */
    tm_connect(tm, dev, 0, 5);
    tm_out(tm, 0x300, 4, 0x12345607);
    g_assert_true(tm->level[5]);
    g_assert_cmphex(tm_in(tm, 0x301, 1), ==, 0x56);
    g_assert_cmphex(tm_in(tm, 0x304, 1), ==, 0xff);
    tm_step(tm, 999);
    g_assert_cmpuint(p->fires, ==, 0);
    g_assert_cmpuint(p->tasks, ==, 1);
    tm_step(tm, 1);
    g_assert_cmpuint(p->fires, ==, 1);

    /* what is posted is done when the machine stops */
    tm_out(tm, 0x300, 4, 4);
    machine_stop(tm->m, RUN_PAUSED);
    g_assert_cmpuint(p->tasks, ==, 2);
    machine_start(tm->m);
    tm_turns(tm);
    g_assert_cmpuint(p->tasks, ==, 2);

    /* a second one wants the same ports: refused by name, undone */
    Error *err = NULL;
    Device *second = device_new(tm->m, &probe_type, tm->m->peripheral, "b");
    g_assert_false(device_realize(second, NULL, &err));
    g_assert_nonnull(strstr(error_text(err), "ports 0x300..0x303 are taken by probe"));
    error_free(err);
    g_assert_cmpint(cleanups, ==, 1);
    g_assert_cmpint(unrealizes, ==, 0);
    g_assert_cmpuint(second->regions->len, ==, 0);
    device_remove(dev);
    g_assert_cmpint(cleanups, ==, 2);
    g_assert_cmpint(unrealizes, ==, 1);
    g_assert_cmphex(tm_in(tm, 0x300, 4), ==, 0xffffffff);
    device_realize(second, NULL, &error_abort_slot); /* now there is room */
    g_assert_cmpstr(second->path, ==, "/machine/peripheral/b");
    tm_out(tm, 0x300, 4, 0x06); /* leave a timer armed and a task posted */
    tm_free(tm);
    g_assert_cmpint(cleanups, ==, 3);
}

static void test_device_fail(void)
{
    TestMachine *tm = tm_new(0);
    cleanups = 0;
    for (unsigned i = 0; i < 3; i++) {
        Error *err = NULL;
        g_assert_null(
            device_create(tm->m, &probe_type, tm->m->peripheral, "p", NULL, &err, "fail-at", "1", NULL));
        g_assert_cmpstr(error_text(err), ==, "device 'p': asked to fail");
        error_free(err);
    }
    g_assert_cmpint(cleanups, ==, 3);
    Error *err = NULL;
    g_assert_null(
        device_create(tm->m, &probe_type, tm->m->peripheral, "p", NULL, &err, "fail_at", "10", NULL));
    error_free(err);
    tm_free(tm);
}

static void test_save_load(void)
{
    TestMachine *a = tm_new(1 << 20), *b = tm_new(1 << 20);
    Device *da = tm_device_type(a, &probe_type, NULL, NULL), *db = tm_device_type(b, &probe_type, NULL, NULL);
    tm_connect(a, da, 0, 1);
    tm_connect(b, db, 0, 1);
    tm_out(a, 0x300, 4, 0xabcd03);
    tm_write(a, 0x1234, 4, 0xdeadbeef);
    GByteArray *s = tm_save(a);
    tm_load(b, s, &error_abort_slot);
    g_assert_cmphex(tm_in(b, 0x300, 4), ==, 0xabcd03);
    g_assert_cmphex(tm_read(b, 0x1234, 4), ==, 0xdeadbeef);
    g_assert_true(b->level[1]);
    GByteArray *again = tm_save(b);
    g_assert_cmpmem(s->data, s->len, again->data, again->len);
    tm_step(b, 1000);
    g_assert_cmpuint(dev_as(Probe, db)->fires, ==, 1);
    g_byte_array_free(s, TRUE);
    g_byte_array_free(again, TRUE);
    tm_free(a);
    tm_free(b);
}

/* ---- a line that moves in the middle of a load ---- */

/* Three in a row: the second's load raises the first's line, which leads to the third. */
typedef struct Wire {
    Device dev;
    IrqLine irq;
    uint32_t seen; /* the sink's */
} Wire;

static Device *wire_raised;

static bool wire_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    Wire *w = opaque;
    if (wire_raised && wire_raised != &w->dev) {
        Wire *other = dev_as(Wire, wire_raised);
        wire_raised = NULL;
        irq_set(&other->irq, true);
    }
    return true;
}

static bool wire_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    device_add_irq(dev, &dev_as(Wire, dev)->irq);
    return true;
}

static void wire_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    ((Wire *)sink)->seen = level;
}

static const VmField wire_fields[] = { VM_U32(Wire, seen), { 0 } };
static const VmState wire_state = {
    .name = "wire", .version = 1, .oldest = 1, .fields = wire_fields, .post_load = wire_post_load
};
static const DeviceType wire_type = {
    .name = "wire", .size = sizeof(Wire), .vmstate = &wire_state, .realize = wire_realize
};

static void test_line_moves_in_load(void)
{
    static const IrqSinkOps sink = { .set = wire_set };
    TestMachine *tm = tm_new(0);
    Device *source = tm_device_type(tm, &wire_type, NULL, NULL);
    Device *mover = tm_device_type(tm, &wire_type, NULL, NULL);
    Device *last = tm_device_type(tm, &wire_type, NULL, NULL);
    Wire *s = dev_as(Wire, source), *l = dev_as(Wire, last);
    irq_connect(&s->irq, &sink, l, 0);
    g_autoptr(GByteArray) state = tm_save(tm);
    for (unsigned raise = 0; raise < 2; raise++) {
        wire_raised = NULL;
        g_assert_true(tm_load(tm, state, &error_abort_slot));
        g_assert_false(l->seen);
        wire_raised = raise ? source : NULL; /* by the load of `mover`, the first that is not the source */
        g_assert_true(tm_load(tm, state, &error_abort_slot));
        g_assert_true(s->irq.level == raise && l->seen == raise);
    }
    g_assert_nonnull(mover);
    tm_free(tm);
}

/* ---- lines ---- */

static void test_irq_or(void)
{
    TestMachine *tm = tm_new(0);
    IrqOr or;
    IrqLine in[3] = { 0 };
    irq_or_init(&or);
    irq_connect(&or.out, &tm_irq_sink, tm, 7);
    for (unsigned i = 0; i < 3; i++) {
        irq_connect(&in[i], &irq_or_sink, &or, i);
    }
    irq_set(&in[0], true);
    irq_set(&in[1], true);
    irq_set(&in[0], false);
    g_assert_true(tm->level[7]);
    irq_set(&in[1], false);
    g_assert_false(tm->level[7]);
    g_assert_cmpuint(tm->rises[7], ==, 1);
    irq_pulse(&in[2]);
    g_assert_cmpuint(tm->rises[7], ==, 2);
    tm_free(tm);
}

static void nested_lock(void)
{
    Loop *l = loop_new("x");
    Domain *a = domain_new("a", l), *b = domain_new("b", l);
    domain_lock(a);
    domain_lock(b);
}

static void test_one_domain(void)
{
    if (g_test_subprocess()) {
        nested_lock();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*domain 'b' locked by a thread that holds domain 'a'*");
}

/* ---- requests ---- */

typedef struct Heard {
    GString *text;
} Heard;

static void hear_state(void *opaque, RunState was, RunState now)
{
    g_string_append_printf(((Heard *)opaque)->text, "%s>%s ", run_state_name(was), run_state_name(now));
}

static void hear_event(void *opaque, const char *name, const Json *data)
{
    g_autofree char *text = data ? json_format((Json *)data, false) : g_strdup("");
    g_string_append_printf(((Heard *)opaque)->text, "%s%s ", name, text);
}

static void *ask_from_thread(void *opaque)
{
    machine_request_reset(opaque, SHUTDOWN_GUEST_RESET);
    return NULL;
}

static void test_requests(void)
{
    TestMachine *tm = tm_new(0);
    Heard h = { .text = g_string_new(NULL) };
    MachineListener l = { .state = hear_state, .event = hear_event, .opaque = &h };
    machine_add_listener(tm->m, &l);
    g_thread_join(g_thread_new("asker", ask_from_thread, tm->m));
    tm_turns(tm);
    g_assert_cmpstr(h.text->str, ==, "RESET{\"guest\": true, \"reason\": \"guest-reset\"} ");
    g_string_truncate(h.text, 0);
    tm->m->action.no_shutdown = true;
    machine_request_shutdown(tm->m, SHUTDOWN_GUEST_SHUTDOWN, 0);
    tm_turns(tm);
    g_assert_cmpstr(h.text->str, ==,
                    "SHUTDOWN{\"guest\": true, \"reason\": \"guest-shutdown\"} running>shutdown STOP ");
    g_string_truncate(h.text, 0);
    machine_request_shutdown(tm->m, SHUTDOWN_DEBUG_EXIT, 33);
    loop_run(tm->loop);
    g_assert_cmpint(machine_exit_status(tm->m), ==, 33);
    machine_remove_listener(tm->m, &l);
    g_string_free(h.text, TRUE);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/system/device/life", test_device_life);
    g_test_add_func("/system/device/fail", test_device_fail);
    g_test_add_func("/system/save-load", test_save_load);
    g_test_add_func("/system/line-moves-in-load", test_line_moves_in_load);
    g_test_add_func("/system/irq-or", test_irq_or);
    g_test_add_func("/system/one-domain", test_one_domain);
    g_test_add_func("/system/requests", test_requests);
    return g_test_run();
}
