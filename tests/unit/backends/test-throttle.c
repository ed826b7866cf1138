/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-throttle.c - backends/block/throttle.c: rates, bursts, groups, what drains.
 * Nothing passes faster than its limit; how much slower is the host's business, and only printed.
 * Threads: the test's main thread is the main loop.
 */
#include "rhea/backends/drive.h"
#include "tests/lib/testmachine.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 4 << 20, DEPTH = 8, CHUNK = 16 << 10 };

typedef struct Disk {
    Device dev;
    DrivePort port;
} Disk;

static bool disk_realize(Device *dev, Error **errp)
{
    return drive_open(&dev_as(Disk, dev)->port, dev, false, errp);
}

static const Prop disk_props[] = { PROP_DRIVE(Disk, port, "drive", "The disk"), { 0 } };
static const DeviceType disk_type = {
    .name = "test-disk", .size = sizeof(Disk), .internal = true, .props = disk_props, .realize = disk_realize,
};

typedef struct Fixture {
    TestMachine *tm;
    char *dir, *path[2];
} Fixture;

static void setup(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    f->tm = tm_new(0);
    f->dir = g_dir_make_tmp("rhea-throttle-XXXXXX", NULL);
    for (unsigned i = 0; i < 2; i++) {
        f->path[i] = g_strdup_printf("%s/%u", f->dir, i);
        g_file_set_contents(f->path[i], "", 0, NULL);
        g_assert_cmpint(truncate(f->path[i], SIZE), ==, 0);
    }
}

static void teardown(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    machine_stop(f->tm->m, RUN_FINISHED);
    drive_remove_all(f->tm->m);
    tm_free(f->tm);
    for (unsigned i = 0; i < 2; i++) {
        g_unlink(f->path[i]);
        g_free(f->path[i]);
    }
    g_rmdir(f->dir);
    g_free(f->dir);
}

static Drive *add(Fixture *f, unsigned i, const char *limits, Error **errp)
{
    g_autofree char *text =
        g_strdup_printf("{\"file\": \"%s\", \"format\": \"raw\", \"if\": \"none\", \"id\": \"d%u\"%s%s}",
                        f->path[i], i, *limits ? ", " : "", limits);
    g_autoptr(Json) o = json_parse(text, -1, &error_abort_slot);
    return drive_add_json(f->tm->m, o, false, false, errp);
}

static DrivePort *disk(Fixture *f, unsigned i, const char *limits)
{
    g_autofree char *id = g_strdup_printf("d%u", i);
    add(f, i, limits, &error_abort_slot);
    return &dev_as(Disk, tm_device_type(f->tm, &disk_type, NULL, "drive", id, NULL))->port;
}

/* ---- a load: so many requests at a time, for a while ---- */

typedef struct Load {
    DrivePort *port;
    DriveRequest r[DEPTH];
    unsigned flying, done;
    bool stop;
} Load;
static uint8_t buffer[CHUNK];

static void load_done(DriveRequest *r)
{
    Load *l = r->opaque;
    g_assert_cmpint(r->result, ==, 0);
    l->flying--;
    l->done++;
    if (!l->stop) {
        l->flying++;
        drive_submit(l->port, r);
    }
}

static void load_start(Load *l, DrivePort *p, DriveOp op)
{
    memset(l, 0, sizeof(*l));
    l->port = p;
    domain_lock(p->dev->domain);
    for (unsigned i = 0; i < DEPTH; i++) {
        l->r[i] = (DriveRequest){ .op = op, .off = i * CHUNK, .done = load_done, .opaque = l };
        iov_init_buf(&l->r[i].v, buffer, CHUNK);
        l->flying++;
        drive_submit(p, &l->r[i]);
    }
    domain_unlock(p->dev->domain);
}

/* The loop turns until so many seconds have passed since `start`; how many there were really. */
static double turns(Fixture *f, gint64 start, double seconds)
{
    gint64 now;
    do {
        loop_turn(f->tm->loop, false);
        g_usleep(200);
        now = g_get_monotonic_time();
    } while ((double)(now - start) < seconds * 1e6);
    return (double)(now - start) / 1e6;
}

static void load_stop(Fixture *f, Load *l)
{
    l->stop = true;
    drive_drain(f->tm->m); /* nobody waits for the limit now */
    g_assert_cmpuint(l->flying, ==, 0);
    for (unsigned i = 0; i < DEPTH; i++) {
        iov_fini(&l->r[i].v);
    }
}

/* What passed, less what a full bucket lets through at once; at most the limit. */
static void check_rate(const char *what, double units, double at_once, double limit, double seconds)
{
    double rate = (units - at_once) / seconds;
    g_test_message("%s: %.1f a second, the limit is %.1f", what, units / seconds, limit);
    g_assert_cmpfloat(rate, <=, limit * 1.01);
    g_assert_cmpfloat(units, >, 0);
}

static void test_rates(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        const char *limits;
        DriveOp op;
        double limit, per_request;
    } cases[] = {
        { "\"bps-total\": 8388608", DRIVE_READ, 8388608, CHUNK },
        { "\"bps-total\": 8388608", DRIVE_WRITE, 8388608, CHUNK },
        { "\"bps-read\": 4000000, \"bps-write\": 1000000000", DRIVE_READ, 4000000, CHUNK },
        { "\"iops-write\": 300", DRIVE_WRITE, 300, 1 },
        { "\"iops-total\": 800, \"iops-size\": 4096", DRIVE_READ, 800, 4 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fixture g;
        Load l;
        setup(&g, NULL);
        g_autofree char *text = g_strdup_printf("\"throttling\": {%s}", cases[i].limits);
        DrivePort *p = disk(&g, 0, text);
        gint64 start = g_get_monotonic_time();
        load_start(&l, p, cases[i].op);
        double seconds = turns(&g, start, 0.6);
        double units = l.done * cases[i].per_request;
        load_stop(&g, &l);
        double at_once = cases[i].limit / 10 + cases[i].per_request;
        check_rate(cases[i].limits, units, at_once, cases[i].limit, seconds);
        teardown(&g, NULL);
    }
}

/* The other direction is free; so is a disk without limits. */
static void test_free(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Load l, m;
    DrivePort *p = disk(f, 0, "\"throttling\": {\"bps-write\": 1}");
    load_start(&l, p, DRIVE_READ);
    load_start(&m, p, DRIVE_WRITE);
    for (unsigned i = 0; l.done < 500 && i < 10000000; i++) {
        loop_turn(f->tm->loop, false);
    }
    g_assert_cmpuint(l.done, >=, 500);
    g_assert_cmpuint(m.done, <=, 1); /* the first is paid for afterwards */
    l.stop = true;
    load_stop(f, &m);
    load_stop(f, &l);
}

/* So much passes at once, and then the limit holds. */
static void test_burst(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Load l;
    DrivePort *p = disk(f, 0, "\"throttling\": {\"iops-total\": 50, \"iops-total-max\": 1000, "
                              "\"iops-total-max-length\": 1}");
    gint64 start = g_get_monotonic_time();
    load_start(&l, p, DRIVE_READ);
    double seconds = turns(f, start, 0.5);
    unsigned first = l.done;
    g_assert_cmpfloat(first, <=, 1000 * (seconds + 0.1) + 1); /* the burst's own rate */
    seconds = turns(f, start, 2);
    g_assert_cmpfloat(l.done, <=, 1000 + 50 * seconds + 1);
    load_stop(f, &l);
}

static void test_group(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    Load l[2];
    DrivePort *p[2];
    p[0] = disk(f, 0, "\"throttling\": {\"iops-total\": 400, \"group\": \"g\"}");
    p[1] = disk(f, 1, "\"throttling\": {\"group\": \"g\"}");
    gint64 start = g_get_monotonic_time();
    for (unsigned i = 0; i < 2; i++) {
        load_start(&l[i], p[i], DRIVE_READ);
    }
    double seconds = turns(f, start, 0.6);
    unsigned done = l[0].done + l[1].done;
    g_assert_cmpuint(l[0].done, >, 0); /* both get their turn */
    g_assert_cmpuint(l[1].done, >, 0);
    l[0].stop = l[1].stop = true;
    load_stop(f, &l[0]);
    load_stop(f, &l[1]);
    check_rate("two disks", done, 41, 400, seconds);
    DriveLimits limits;
    const char *group;
    g_assert_true(drive_get_limits(p[1], &limits, &group));
    g_assert_cmpstr(group, ==, "g");
    g_assert_cmpuint(limits.limit[DRIVE_IOPS].avg, ==, 400);
    memset(&limits, 0, sizeof(limits));
    g_assert_true(drive_set_limits(p[1], &limits, NULL, &error_abort_slot));
    g_assert_false(drive_get_limits(p[1], &limits, &group));
    g_assert_true(drive_get_limits(p[0], &limits, &group));
}

static void test_options(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        const char *limits, *error;
    } bad[] = {
        { "\"throttling\": {\"bps-total\": 5, \"bps-read\": 5}", "bps-read exclude each other" },
        { "\"throttling\": {\"iops-write-max\": 5}", "a burst needs the limit" },
        { "\"throttling\": {\"iops-write\": 9, \"iops-write-max\": 5}", "below the limit" },
        { "\"throttling\": {\"iops-write\": 9, \"iops-write-max-length\": 5}", "has no rate" },
        { "\"throttling\": {\"bps-read\": 9, \"bps-read-max\": 90, \"bps-read-max-length\": 0}", "length" },
        { "\"throttling\": {\"bps-total\": 9, \"iops-size\": 512}", "goes with a limit of requests" },
        { "\"throttling\": {\"bps-total\": 2000000000000000}", "bps-total" },
        { "\"throttling\": {\"group\": \"none\"}", "the group 'none' has no limits" },
        { "\"throttling\": {\"bps\": 1}", "bps" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_null(add(f, 0, bad[i].limits, &err));
        if (!strstr(error_text(err), bad[i].error)) {
            g_error("'%s' is not '%s'", error_text(err), bad[i].error);
        }
        error_free(err);
    }
    Drive *d = add(f, 0, "\"bps\": 7, \"iops_wr\": 3", &error_abort_slot);
    DrivePort *p = &dev_as(Disk, tm_device_type(f->tm, &disk_type, NULL, "drive", "d0", NULL))->port;
    DriveLimits l;
    const char *group;
    g_assert_true(drive_get_limits(p, &l, &group));
    g_assert_null(group);
    g_assert_cmpuint(l.limit[DRIVE_BPS].avg, ==, 7);
    g_assert_cmpuint(l.limit[DRIVE_IOPS_WRITE].avg, ==, 3);
    g_assert_true(d->port == p);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *f, gconstpointer data);
    } tests[] = { { "rates", test_rates },
                  { "free", test_free },
                  { "burst", test_burst },
                  { "group", test_group },
                  { "options", test_options } };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/throttle/%s", tests[i].name);
        g_test_add(path, Fixture, NULL, setup, tests[i].fn, teardown);
    }
    return g_test_run();
}
