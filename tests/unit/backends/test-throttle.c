/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-throttle.c - backends/block/throttle.c and limits.c: rates, bursts, groups, what
 * drains, and -object throttle-group (backends/object.c).
 * By a clock of the test's own: the limit is met within 5 %, also where timers come late. By the host's:
 * nothing passes faster; how much slower is the host's business, and only printed.
 * Threads: the test's main thread is the main loop.
 */
#include "backends/block/drive_internal.h"
#include "rhea/backends/hostmem.h"
#include "rhea/backends/object.h"
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

static void load_start_depth(Load *l, DrivePort *p, DriveOp op, unsigned depth)
{
    memset(l, 0, sizeof(*l));
    l->port = p;
    domain_lock(p->dev->domain);
    for (unsigned i = 0; i < depth; i++) {
        l->r[i] = (DriveRequest){ .op = op, .off = i * CHUNK, .done = load_done, .opaque = l };
        iov_init_buf(&l->r[i].v, buffer, CHUNK);
        l->flying++;
        drive_submit(p, &l->r[i]);
    }
    domain_unlock(p->dev->domain);
}

static void load_start(Load *l, DrivePort *p, DriveOp op)
{
    load_start_depth(l, p, op, DEPTH);
}

static void load_free(Load *l)
{
    g_assert_cmpuint(l->flying, ==, 0);
    for (unsigned i = 0; i < DEPTH; i++) {
        iov_fini(&l->r[i].v);
    }
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
    load_free(l);
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

/* ---- by the test's own clock ---- */

enum { MS = 1000 * 1000 };
typedef struct Pace { /* how time goes on: what the host's timers are like */
    const char *name;
    unsigned step, random, pause, every; /* milliseconds: at least, and up to so many more; now and then */
} Pace;
static const Pace paces[] = {
    { "idle host", 1, 0, 0, 0 },          { "busy", 5, 55, 0, 0 },
    { "timers 250 ms late", 250, 0, 0, 0 }, { "hiccups of 0.8 s", 1, 2, 800, 2000 },
};

typedef struct Sim {
    Fixture *f;
    ManualClock clock;
    const Pace *pace;
    GRand *rand;
    int64_t next_pause;
} Sim;

static void sim_begin(Sim *s, Fixture *f, const Pace *pace)
{
    *s = (Sim){ .f = f, .pace = pace, .rand = g_rand_new_with_seed(5), .next_pause = pace->every };
    clock_manual_init(&s->clock, 0);
    machine_block(f->tm->m)->clock = &s->clock.clock;
}

static double sim_seconds(const Sim *s)
{
    return (double)clock_now(&s->clock.clock) / 1e9;
}

/* Until at least so many seconds of the clock. */
static void sim_until(Sim *s, double seconds)
{
    while (sim_seconds(s) < seconds) {
        unsigned i = 0;
        while (loop_turn(s->f->tm->loop, false)) {
            g_assert_cmpuint(i++, <, 1000000);
        }
        int64_t ms = s->pace->step;
        ms += s->pace->random ? g_rand_int_range(s->rand, 0, (int)s->pace->random) : 0;
        if (s->pace->every && sim_seconds(s) * 1000 >= (double)s->next_pause) {
            s->next_pause += s->pace->every;
            ms += s->pace->pause;
        }
        clock_manual_set(&s->clock, clock_now(&s->clock.clock) + ms * MS);
    }
    while (loop_turn(s->f->tm->loop, false)) {
    }
}

static void sim_end(Sim *s, Load *l, unsigned loads)
{
    for (unsigned i = 0; i < loads; i++) {
        l[i].stop = true;
    }
    while (l[0].flying || l[loads - 1].flying) {
        clock_manual_set(&s->clock, clock_now(&s->clock.clock) + INT64_C(10000) * MS);
        loop_turn(s->f->tm->loop, false);
    }
    for (unsigned i = 0; i < loads; i++) {
        load_free(&l[i]);
    }
    g_rand_free(s->rand);
}

/* A disk that takes no time. */
static DrivePort *null_disk(Fixture *f, unsigned i, const char *limits)
{
    g_autofree char *node = g_strdup_printf("n%u", i);
    g_autoptr(Json) o = json_put(json_new_object(), "driver", json_new_string("null-co"));
    json_put(o, "node-name", json_new_string(node));
    g_assert_true(blockdev_add_json(f->tm->m, o, false, &error_abort_slot));
    DrivePort *p = &dev_as(Disk, tm_device_type(f->tm, &disk_type, NULL, "drive", node, NULL))->port;
    g_autoptr(Json) text = json_parse(limits, -1, &error_abort_slot);
    DriveLimits l;
    g_assert_true(drive_limits_read(text, false, &l, &error_abort_slot));
    const char *group = json_get_string(json_member(text, "group", NULL));
    g_assert_true(drive_set_limits(p, &l, group, &error_abort_slot));
    return p;
}

static void expect_units(const char *what, const Pace *pace, double units, double want)
{
    g_test_message("%s, %s: %.0f, %.1f %% of what may pass", what, pace->name, units, 100 * units / want);
    if (units < 0.95 * want || units > 1.05 * want) {
        g_error("%s, %s: %.0f instead of %.0f", what, pace->name, units, want);
    }
}

/* What passes in `seconds` is the limit, and before that the burst's rate and then all that a burst holds. */
static void test_exact(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        const char *limits;
        DriveOp op;
        double rate, per_request, max, length;
    } cases[] = {
        { "{\"bps-total\": 8388608}", DRIVE_READ, 8388608, CHUNK, 0, 0 },
        { "{\"bps-write\": 200000}", DRIVE_WRITE, 200000, CHUNK, 0, 0 },
        { "{\"bps-read\": 4000000, \"iops-total\": 100000}", DRIVE_READ, 4000000, CHUNK, 0, 0 },
        { "{\"iops-total\": 300}", DRIVE_WRITE, 300, 1, 0, 0 },
        { "{\"iops-read\": 4000, \"bps-total\": 1000000000}", DRIVE_READ, 4000, 1, 0, 0 },
        { "{\"iops-total\": 800, \"iops-size\": 4096}", DRIVE_READ, 800, 4, 0, 0 },
        { "{\"iops-total\": 50, \"iops-total-max\": 1000}", DRIVE_READ, 50, 1, 1000, 1 },
        { "{\"bps-read\": 1000000, \"bps-read-max\": 8000000, \"bps-read-max-length\": 3}", DRIVE_READ,
          1000000, CHUNK, 8000000, 3 },
    };
    const double seconds = 20;
    for (unsigned i = 0; i < G_N_ELEMENTS(cases) * G_N_ELEMENTS(paces) * 2; i++) {
        unsigned n = i / 2 / G_N_ELEMENTS(paces), depth = i % 2 ? DEPTH : 1;
        const Pace *pace = &paces[i / 2 % G_N_ELEMENTS(paces)];
        Fixture g;
        Load l;
        Sim s;
        setup(&g, NULL);
        sim_begin(&s, &g, pace);
        DrivePort *p = null_disk(&g, 0, cases[n].limits);
        load_start_depth(&l, p, cases[n].op, depth);
        if (cases[n].max > 0) {
            sim_until(&s, cases[n].length);
            double units = l.done * cases[n].per_request, now = sim_seconds(&s), at_once = cases[n].max / 10;
            double full = cases[n].max * cases[n].length + cases[n].rate * now;
            expect_units("a burst", pace, units, MIN(cases[n].max * now + at_once, full));
        }
        sim_until(&s, seconds);
        double at_once = cases[n].max > 0 ? cases[n].max * cases[n].length : cases[n].rate / 10;
        expect_units(cases[n].limits, pace, l.done * cases[n].per_request,
                     cases[n].rate * sim_seconds(&s) + at_once);
        sim_end(&s, &l, 1);
        teardown(&g, NULL);
    }
}

/* Two disks of a group have its limit together, and both some of it. What they do not use is not kept. */
static void test_exact_group(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(paces); i++) {
        Fixture g;
        Load l[2];
        Sim s;
        setup(&g, NULL);
        sim_begin(&s, &g, &paces[i]);
        DrivePort *p[2] = { null_disk(&g, 0, "{\"iops-total\": 400, \"group\": \"g\"}"),
                            null_disk(&g, 1, "{\"group\": \"g\"}") };
        sim_until(&s, 30); /* nobody asks for anything */
        double start = sim_seconds(&s);
        load_start_depth(&l[0], p[0], DRIVE_READ, 2);
        load_start_depth(&l[1], p[1], DRIVE_READ, DEPTH);
        sim_until(&s, start + 20);
        double all = 400 * (sim_seconds(&s) - start) + 40;
        expect_units("two disks", &paces[i], l[0].done + l[1].done, all);
        g_assert_cmpuint(l[0].done, >, 0);
        g_assert_cmpuint(l[1].done, >, 0);
        sim_end(&s, l, 2);
        teardown(&g, NULL);
    }
}

/* ---- by the host's clock ---- */

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

/* ---- -object throttle-group ---- */

static bool object(Fixture *f, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) o = keyval_parse(text, "qom-type", &from_text, &error_abort_slot);
    return object_new_json(f->tm->m, o, from_text, false, errp);
}

static void expect_error(Error *err, const char *says)
{
    if (!err || !strstr(error_text(err), says)) {
        g_error("'%s' is not '%s'", err ? error_text(err) : "", says);
    }
    error_free(err);
}

static void test_objects(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "throttle-group,id=g", "already an object with id 'g'" },
        { "throttle-group,id=1", "id '1' is not a name" },
        { "throttle-group", "id" },
        { "throttle-group,id=x,x-bps-total=1,limits.bps-total=1", "x-bps-total and limits.bps-total are" },
        { "throttle-group,id=x,x-bps-total=1,limits.bps-read=1", "bps-read exclude each other" },
        { "throttle-group,id=x,x-iops-write=9,x-iops-write-max=5", "'x': iops-write: a burst" },
        { "throttle-group,id=x,x-iops-size=9", "goes with a limit of requests" },
        { "throttle-group,id=x,limits.group=g", "group" },
        { "throttle-group,id=mem,x-iops-total=1", "already an object with id 'mem'" },
        { "memory-backend-ram,id=g,size=4096", "already an object with id 'g'" },
    };
    Machine *m = f->tm->m;
    DriveLimits l, none = { 0 };
    const char *group;
    Error *err = NULL;
    g_assert_true(object_is_kind("throttle-group") && object_is_for_drives("throttle-group"));
    g_assert_true(object_is_kind("memory-backend-ram") && !object_is_for_drives("memory-backend-ram"));
    g_assert_false(object_is_kind("throttle"));
    object(f, "memory-backend-ram,id=mem,size=4096", &error_abort_slot);
    object(f, "throttle-group,id=g,limits.bps-total=1000,x-bps-total-max=2000,x-iops-read=5,x-iops-size=512",
           &error_abort_slot);
    object(f, "throttle-group,id=open", &error_abort_slot);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(object(f, bad[i].text, &err));
        expect_error(g_steal_pointer(&err), bad[i].says);
    }
    DrivePort *p[2] = { disk(f, 0, "\"throttling\": {\"group\": \"g\"}"),
                        disk(f, 1, "\"throttling\": {\"group\": \"open\"}") };
    g_assert_true(drive_get_limits(p[0], &l, &group));
    g_assert_cmpstr(group, ==, "g");
    g_assert_cmpuint(l.limit[DRIVE_BPS].avg, ==, 1000);
    g_assert_cmpuint(l.limit[DRIVE_BPS].max, ==, 2000);
    g_assert_cmpuint(l.limit[DRIVE_IOPS_READ].avg, ==, 5);
    g_assert_cmpuint(l.iops_size, ==, 512);
    Load load; /* a group without limits holds nobody up */
    load_start(&load, p[1], DRIVE_READ);
    for (unsigned i = 0; load.done < 500 && i < 10000000; i++) {
        loop_turn(f->tm->loop, false);
    }
    g_assert_cmpuint(load.done, >=, 500);
    load_stop(f, &load);
    l = none;
    l.limit[DRIVE_IOPS] = (DriveLimit){ .avg = 77, .length = 1 }; /* what a member gives is the group's */
    g_assert_true(drive_set_limits(p[1], &l, "g", &error_abort_slot));
    g_assert_true(drive_get_limits(p[0], &l, &group));
    g_assert_cmpuint(l.limit[DRIVE_IOPS].avg, ==, 77);
    g_assert_cmpuint(l.limit[DRIVE_BPS].avg, ==, 0);
    g_assert_true(object_remove(m, "open", &error_abort_slot)); /* nobody is left */
    for (unsigned i = 0; i < 2; i++) {
        g_assert_false(object_remove(m, "g", &err));
        expect_error(g_steal_pointer(&err), i ? "object 'g' is in use, by drive 'd1'" : "by drive 'd0'");
        g_assert_true(drive_set_limits(p[i], &none, NULL, &error_abort_slot));
    }
    /* A node of the driver throttle holds it, too. */
    g_autoptr(Json) node = json_parse("{\"driver\": \"throttle\", \"node-name\": \"slow\", "
                                      "\"throttle-group\": \"g\", \"file\": {\"driver\": \"null-co\"}}",
                                      -1, &error_abort_slot);
    g_assert_true(blockdev_add_json(m, node, false, &error_abort_slot));
    g_assert_false(object_remove(m, "g", &err));
    expect_error(g_steal_pointer(&err), "object 'g' is in use, by a node 'throttle'");
    g_assert_true(blockdev_del(m, "slow", &error_abort_slot));
    g_assert_true(object_remove(m, "g", &error_abort_slot));
    g_assert_false(object_remove(m, "g", &err));
    expect_error(g_steal_pointer(&err), "there is no object with id 'g'");
    g_assert_false(drive_set_limits(p[0], &none, "g", &err));
    expect_error(g_steal_pointer(&err), "the group 'g' has no limits");
    g_autoptr(GString) help = g_string_new(NULL);
    object_help(help);
    object_help_kind("throttle-group", help);
    g_assert_nonnull(strstr(help->str, "  throttle-group\n"));
    g_assert_nonnull(strstr(help->str, "  x-bps-write-max-length=<"));
    hostmem_remove_all(m);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *f, gconstpointer data);
    } tests[] = { { "exact", test_exact },
                  { "exact-group", test_exact_group },
                  { "rates", test_rates },
                  { "free", test_free },
                  { "burst", test_burst },
                  { "group", test_group },
                  { "options", test_options },
                  { "objects", test_objects } };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/throttle/%s", tests[i].name);
        g_test_add(path, Fixture, NULL, setup, tests[i].fn, teardown);
    }
    return g_test_run();
}
