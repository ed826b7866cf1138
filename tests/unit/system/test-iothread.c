/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-iothread.c - I/O threads, and a device that lives on one while another uses it.
 * Covers: system/iothread.c; of device.c and access.c what crosses loops.
 */
#include "rhea/system/iothread.h"
#include "tests/lib/testmachine.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PORT = 0x300, MMIO = 0x10000000 };

typedef struct Far {
    Device dev;
    IoThread *iothread;
    MemRegion io, mem;
    Timer timer;
    DomainTask task;
    unsigned writes, tasks, fires;
    uint32_t last;
    int tid; /* of who ran the last callback */
} Far;

static int tid(void)
{
    return (int)syscall(SYS_gettid);
}

static uint64_t far_read(void *opaque, MemAccess *a G_GNUC_UNUSED)
{
    Far *f = opaque;
    return f->last;
}

static void far_write(void *opaque, MemAccess *a G_GNUC_UNUSED, uint64_t val)
{
    Far *f = opaque;
    g_assert(domain_held(f->dev.domain));
    f->last = (uint32_t)val;
    f->writes++;
    domain_post(&f->task);
    timer_arm(&f->timer, clock_now(f->dev.machine->clock));
}

static void far_task(void *opaque)
{
    Far *f = opaque;
    g_assert(domain_held(f->dev.domain));
    f->tasks++;
    f->tid = tid();
}

static void far_fire(void *opaque)
{
    Far *f = opaque;
    g_assert(domain_held(f->dev.domain));
    g_assert_cmpint(f->tid ? f->tid : tid(), ==, tid());
    f->fires++;
}

static Domain *far_choose(Device *dev)
{
    Far *f = dev_as(Far, dev);
    return f->iothread ? iothread_domain(f->iothread) : dev->machine->platform;
}

static bool far_realize(Device *dev, Error **errp)
{
    static const MemOps ops = { .read = far_read, .write = far_write, .min = 4, .max = 4 };
    Far *f = dev_as(Far, dev);
    region_init_io(&f->io, dev, "far-io", &ops, f, 4);
    region_init_io(&f->mem, dev, "far-mem", &ops, f, 4);
    device_add_region(dev, &f->io);
    device_add_timer(dev, &f->timer, far_fire);
    device_add_task(dev, &f->task, far_task);
    device_map_mem(dev, &f->mem, MMIO, 0);
    return device_map_io(dev, &f->io, PORT, errp);
}

static const Prop far_props[] = { PROP_IOTHREAD(Far, iothread, "iothread", "A thread"), { 0 } };
static const DeviceType far_type = {
    .name = "far",
    .size = sizeof(Far),
    .props = far_props,
    .choose_domain = far_choose,
    .realize = far_realize,
};

/* What the device has seen; in its domain. */
static void counts(const Far *f, unsigned *tasks, unsigned *fires)
{
    domain_lock(f->dev.domain);
    *tasks = f->tasks;
    *fires = f->fires;
    domain_unlock(f->dev.domain);
}

static void count(const IoThread *t, void *opaque)
{
    g_assert_cmpint(iothread_tid(t), !=, tid());
    ++*(unsigned *)opaque;
}

static void test_life(void)
{
    TestMachine *tm = tm_new(0);
    g_autoptr(Error) err = NULL, icount = NULL;
    unsigned n = 0;
    g_assert_true(iothread_new(tm->m, "a", (IoThreadPoll){ 1000, 3, 2 }, &error_abort_slot));
    g_assert_true(iothread_new(tm->m, "b", (IoThreadPoll){ 0 }, &error_abort_slot));
    IoThread *a = iothread_find(tm->m, "a");
    g_assert_cmpstr(iothread_id(a), ==, "a");
    g_assert_cmpint(iothread_poll(a).grow, ==, 3);
    g_assert_null(iothread_find(tm->m, "c"));
    iothread_foreach(tm->m, count, &n);
    g_assert_cmpuint(n, ==, 2);

    Device *dev = device_new(tm->m, &far_type, tm->m->peripheral, "far");
    g_assert_false(device_set(dev, "iothread", "c", &err));
    g_assert_nonnull(strstr(error_text(err), "no iothread 'c'"));
    g_assert_true(device_set(dev, "iothread", "b", &error_abort_slot));
    g_assert_true(device_set(dev, "iothread", "a", &error_abort_slot)); /* the other one is free again */
    g_autoptr(Json) name = device_get(dev, "iothread", &error_abort_slot);
    g_assert_cmpstr(json_get_string(name), ==, "a");
    g_assert_true(iothread_remove(tm->m, "b", &error_abort_slot));
    error_free(g_steal_pointer(&err));
    g_assert_false(iothread_remove(tm->m, "a", &err));
    g_assert_nonnull(strstr(error_text(err), "in use by 1 device"));
    device_remove(dev);
    g_assert_true(iothread_remove(tm->m, "a", &error_abort_slot));

    tm->m->icount.on = true;
    g_assert_false(iothread_new(tm->m, "a", (IoThreadPoll){ 0 }, &icount));
    g_assert_nonnull(strstr(error_text(icount), "-icount"));
    tm->m->icount.on = false;
    tm_free(tm);
}

/* Registers from this thread, tasks and timers over there; posted writes; removal in the middle. */
static void test_device(gconstpointer poll)
{
    TestMachine *tm = tm_new(1 << 20);
    IoThreadPoll p = { .max_ns = GPOINTER_TO_INT(poll) };
    g_assert_true(iothread_new(tm->m, "io", p, &error_abort_slot));
    Far *f = dev_as(Far, tm_device_type(tm, &far_type, NULL, "iothread", "io", NULL));
    unsigned tasks, fires;
    for (unsigned i = 1; i <= 2000; i++) {
        tm_out(tm, PORT, 4, i);
        g_assert_cmpuint(tm_in(tm, PORT, 4), ==, i);
    }
    iothreads_settle(tm->m); /* a task that was posted has run; the timer needs a turn of its own */
    iothreads_settle(tm->m);
    counts(f, &tasks, &fires);
    g_assert_cmpuint(tasks, >=, 1);
    g_assert_cmpuint(fires, >=, 1);
    g_assert_cmpuint(f->writes, ==, 2000);
    g_assert_cmpint(f->tid, ==, iothread_tid(iothread_find(tm->m, "io")));

    /* A device's write to its registers is posted to its loop, and is there when all was flushed. */
    uint32_t val = 77;
    DmaContext dma = { .as = &tm->m->as_mem };
    domain_lock(tm->m->platform);
    g_assert_cmpint(dma_write(&dma, MMIO, &val, sizeof(val)), ==, MEM_OK);
    domain_unlock(tm->m->platform);
    machine_stop(tm->m, RUN_PAUSED);
    domain_lock(f->dev.domain);
    g_assert_cmpuint(f->last, ==, 77);
    domain_unlock(f->dev.domain);

    tm_out(tm, PORT, 4, 1);
    device_remove(&f->dev); /* with a task and a timer under way */
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    iothread_register();
    g_test_add_func("/system/iothread/life", test_life);
    g_test_add_data_func("/system/iothread/device", GINT_TO_POINTER(0), test_device);
    g_test_add_data_func("/system/iothread/polling", GINT_TO_POINTER(100000), test_device);
    return g_test_run();
}
