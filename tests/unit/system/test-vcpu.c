/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-vcpu.c - sleeping, waking, kicking, stopping and resetting vCPUs, with a toy
 * target whose only instruction is HLT and a toy accelerator.
 * Threads: main, vCPUs, senders.
 */
#include "tests/lib/testmachine.h"

#include <string.h>

typedef struct ToyCpu {
    Vcpu vcpu;
    uint64_t taken;  /* interrupts; atomic */
    uint64_t rounds; /* of guest code; atomic */
    uint64_t value;
    unsigned resets;
    bool spins;      /* guest code never halts */
    unsigned exit_once; /* ExitReason + 1: the next exit */
} ToyCpu;

static bool toy_irq_ready(const Vcpu *v)
{
    return vcpu_irq_pending(v) != 0;
}

static void toy_reset(Vcpu *v, ResetKind kind G_GNUC_UNUSED)
{
    ToyCpu *c = (ToyCpu *)v;
    g_assert_true(!v->thread || vcpu_current() == v);
    v->halted = false;
    c->value = 0;
    c->resets++;
}

static const VmField toy_fields[] = { VM_U64(ToyCpu, value), { 0 } };
static const VmState toy_state = { .name = "toy-cpu", .version = 1, .oldest = 1, .fields = toy_fields };
static const TargetOps toy_target = {
    .name = "toy",
    .state_size = sizeof(ToyCpu),
    .vmstate = &toy_state,
    .reset = toy_reset,
    .irq_ready = toy_irq_ready,
};

static VcpuExit toy_run(Vcpu *v)
{
    ToyCpu *c = (ToyCpu *)v;
    g_assert_true(vcpu_current() == v && !domain_current());
    for (unsigned n = 0;; n++) {
        __atomic_fetch_add(&c->rounds, 1, __ATOMIC_RELAXED);
        unsigned once = __atomic_exchange_n(&c->exit_once, 0, __ATOMIC_ACQ_REL);
        if (once) {
            return (VcpuExit){ .why = (ExitReason)(once - 1) };
        }
        uint32_t p = vcpu_irq_pending(v);
        if (p) {
            vcpu_interrupt_clear(v, p);
            v->halted = false;
            __atomic_fetch_add(&c->taken, (unsigned)__builtin_popcount(p), __ATOMIC_ACQ_REL);
            continue;
        }
        if (__atomic_load_n(&v->exit_request, __ATOMIC_ACQUIRE) || (v->budget && n >= v->budget)) {
            return (VcpuExit){ .why = EXIT_KICKED };
        }
        if (!__atomic_load_n(&c->spins, __ATOMIC_RELAXED)) {
            v->halted = true;
            return (VcpuExit){ .why = EXIT_HALT };
        }
    }
}

static unsigned memory_changes;
static void toy_memory_changed(Machine *m G_GNUC_UNUSED, const FlatView *was G_GNUC_UNUSED,
                               const FlatView *now G_GNUC_UNUSED)
{
    memory_changes++;
}

static const AccelOps toy_accel = { .name = "toy", .run = toy_run, .memory_changed = toy_memory_changed };
static const BoardType toy_board = {
    .name = "toy", .target = &toy_target, .max_cpus = 4, .max_ram = 1 << 30
};

static TestMachine *toy_new(unsigned cpus, bool serial)
{
    TestMachine *tm = tm_prepare(&toy_board);
    tm->m->accel = &toy_accel;
    tm->m->n_cpus = cpus;
    tm->m->serial_mode = serial;
    tm_build(tm);
    return tm;
}

static ToyCpu *toy(TestMachine *tm, unsigned i)
{
    return (ToyCpu *)tm->m->cpus[i];
}

/* ---- no wake-up is lost ---- */

static void test_wake(void)
{
    TestMachine *tm = toy_new(2, false);
    for (uint64_t i = 1; i <= 4000; i++) { /* each waits for the answer: a lost wake-up hangs the test */
        ToyCpu *c = toy(tm, i & 1);
        uint64_t before = __atomic_load_n(&c->taken, __ATOMIC_ACQUIRE);
        vcpu_interrupt(&c->vcpu, 1);
        while (__atomic_load_n(&c->taken, __ATOMIC_ACQUIRE) == before) {
            g_thread_yield();
        }
    }
    tm_free(tm);
}

typedef struct Sender {
    Vcpu *cpu;
    uint32_t bit;
    unsigned n;
} Sender;

static void *send_irqs(void *opaque)
{
    Sender *s = opaque;
    for (unsigned i = 0; i < s->n; i++) {
        vcpu_interrupt(s->cpu, s->bit);
        while (vcpu_irq_pending(s->cpu) & s->bit) { /* taken one by one, so they can be counted */
            g_thread_yield();
        }
    }
    return NULL;
}

static void test_wake_while_stopping(void)
{
    TestMachine *tm = toy_new(1, false);
    Sender s[2];
    GThread *t[2];
    for (unsigned i = 0; i < 2; i++) {
        s[i] = (Sender){ .cpu = tm->m->cpus[0], .bit = 1u << i, .n = 2000 };
        t[i] = g_thread_new("sender", send_irqs, &s[i]);
    }
    for (unsigned i = 0; i < 300; i++) {
        machine_stop(tm->m, RUN_PAUSED);
        uint64_t was = __atomic_load_n(&toy(tm, 0)->rounds, __ATOMIC_ACQUIRE);
        g_thread_yield();
        g_assert_cmpuint(__atomic_load_n(&toy(tm, 0)->rounds, __ATOMIC_ACQUIRE), ==,
                         was); /* parked means parked */
        machine_start(tm->m);
    }
    for (unsigned i = 0; i < 2; i++) {
        g_thread_join(t[i]);
    }
    while (__atomic_load_n(&toy(tm, 0)->taken, __ATOMIC_ACQUIRE) != 4000) {
        g_thread_yield();
    }
    tm_free(tm);
}

/* ---- work ---- */

typedef struct Work {
    Task task;
    GArray *order;
    unsigned k;
    Vcpu *seen;
} Work;

static void work_run(void *opaque)
{
    Work *w = opaque;
    w->seen = vcpu_current();
    g_array_append_val(w->order, w->k);
}

static void nothing(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_work(void)
{
    TestMachine *tm = toy_new(1, false);
    Work w[50];
    unsigned done = 0;
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(unsigned));
    __atomic_store_n(&toy(tm, 0)->spins, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 50; i++) {
        w[i] = (Work){ .task = { .run = work_run, .opaque = &w[i] }, .order = order, .k = i };
        vcpu_run_on(tm->m->cpus[0], &w[i].task);
    }
    vcpu_run_on_wait(tm->m->cpus[0], nothing, &done);
    g_assert_cmpuint(done, ==, 1);
    g_assert_cmpuint(order->len, ==, 50);
    for (unsigned i = 0; i < 50; i++) {
        g_assert_cmpuint(g_array_index(order, unsigned, i), ==, i);
        g_assert_true(w[i].seen == tm->m->cpus[0]);
    }
    machine_stop(tm->m, RUN_PAUSED);
    vcpu_run_on_wait(tm->m->cpus[0], nothing, &done); /* a parked one works, too */
    g_assert_cmpuint(done, ==, 2);
    tm_free(tm);
}

/* ---- exits ---- */

static bool wait_state(TestMachine *tm, RunState s)
{
    for (unsigned i = 0; i < 100000 && tm->m->state != s; i++) {
        loop_turn(tm->loop, false);
        g_usleep(200);
    }
    return tm->m->state == s;
}

static void test_exits(void)
{
    TestMachine *tm = toy_new(2, false);
    ToyCpu *c = toy(tm, 1);
    __atomic_store_n(&c->spins, true, __ATOMIC_RELAXED);
    g_assert_cmpuint(c->resets, ==, 1);
    __atomic_store_n(&c->exit_once, EXIT_SHUTDOWN + 1, __ATOMIC_RELEASE);
    vcpu_interrupt(&c->vcpu, 1);
    for (unsigned i = 0; i < 100000 && __atomic_load_n(&c->resets, __ATOMIC_ACQUIRE) < 2; i++) {
        loop_turn(tm->loop, false);
        g_usleep(200);
    }
    g_assert_cmpuint(c->resets, ==, 2);
    g_assert_true(machine_running(tm->m));
    __atomic_store_n(&c->exit_once, EXIT_DEBUG + 1, __ATOMIC_RELEASE);
    g_assert_true(wait_state(tm, RUN_DEBUG));
    machine_start(tm->m);
    __atomic_store_n(&c->exit_once, EXIT_ERROR + 1, __ATOMIC_RELEASE);
    g_assert_true(wait_state(tm, RUN_INTERNAL_ERROR));
    machine_start(tm->m);
    tm->m->action.reboot_is_shutdown = true;
    __atomic_store_n(&c->exit_once, EXIT_SHUTDOWN + 1, __ATOMIC_RELEASE);
    g_assert_true(wait_state(tm, RUN_FINISHED));
    tm_free(tm);
}

/* ---- serial mode ---- */

static void test_serial(void)
{
    TestMachine *tm = toy_new(2, true);
    tm_turns(tm);
    g_assert_true(toy(tm, 0)->vcpu.halted && toy(tm, 1)->vcpu.halted);
    uint64_t r0 = toy(tm, 0)->rounds;
    g_assert_false(loop_turn(tm->loop, false)); /* all asleep: nothing to do */
    vcpu_interrupt(tm->m->cpus[0], 3);
    tm_turns(tm);
    g_assert_cmpuint(toy(tm, 0)->taken, ==, 2);
    g_assert_cmpuint(toy(tm, 0)->rounds, >, r0);
    toy(tm, 1)->spins = true;
    vcpu_interrupt(tm->m->cpus[1], 1);
    for (unsigned i = 0; i < 10; i++) {
        g_assert_true(loop_turn(tm->loop, false)); /* its budget ends, the loop goes on */
    }
    machine_stop(tm->m, RUN_PAUSED);
    loop_turn(tm->loop, false);
    g_assert_false(loop_turn(tm->loop, false));
    tm_free(tm);
}

static void test_save(void)
{
    TestMachine *a = toy_new(2, false), *b = toy_new(2, false);
    machine_stop(a->m, RUN_PAUSED);
    toy(a, 1)->value = 77;
    toy(a, 1)->vcpu.irq_pending = 4;
    GByteArray *s = tm_save(a);
    machine_stop(b->m, RUN_PAUSED);
    tm_load(b, s, &error_abort_slot);
    g_assert_cmpuint(toy(b, 1)->value, ==, 77);
    g_assert_cmpuint(toy(b, 1)->vcpu.irq_pending, ==, 4);
    /* hostile: damaged anywhere, it is refused; cut anywhere, too */
    for (unsigned i = 0; i < s->len; i++) {
        Error *err = NULL;
        s->data[i] ^= 1u << (i & 7);
        g_assert_false(machine_load(b->m, s->data, s->len, &err));
        error_free(err);
        s->data[i] ^= 1u << (i & 7);
        err = NULL;
        g_assert_false(machine_load(b->m, s->data, i, &err));
        error_free(err);
    }
    g_byte_array_free(s, TRUE);
    tm_free(a);
    tm_free(b);
}

static void test_memory_changed(void)
{
    TestMachine *tm = toy_new(1, false);
    MemRegion r;
    memory_changes = 0;
    region_init(&r, NULL, "box", 16);
    region_map(&tm->m->sysmem, 0, &r, 0); /* shows nothing: no change */
    g_assert_cmpuint(memory_changes, ==, 0);
    RamBlock *ram = ram_new_shared(tm->m, "x", 1, &error_abort_slot);
    g_assert_cmpint(ram->fd, >=, 0);
    MemRegion k;
    region_init_ram(&k, NULL, "x", ram);
    ram_unref(ram);
    region_map(&r, 0, &k, 0);
    g_assert_cmpuint(memory_changes, ==, 1);
    region_unmap(&k);
    region_unmap(&r);
    region_fini(&k);
    region_fini(&r);
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/system/vcpu/wake", test_wake);
    g_test_add_func("/system/vcpu/wake-while-stopping", test_wake_while_stopping);
    g_test_add_func("/system/vcpu/work", test_work);
    g_test_add_func("/system/vcpu/exits", test_exits);
    g_test_add_func("/system/vcpu/serial", test_serial);
    g_test_add_func("/system/vcpu/save", test_save);
    g_test_add_func("/system/vcpu/memory-changed", test_memory_changed);
    return g_test_run();
}
