/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-drive.c - -blockdev and -drive, and devices that use them (backends/block/drive.c,
 * backends/block/port.c, backends/block/account.c, intervals.c, resize.c, block_resize() of block/client.c,
 * the guard of block/io.c). Threads: the test's main thread is the main loop and the CPU.
 */
#include "backends/block/drive_internal.h"
#include "tests/lib/testmachine.h"
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/schema/type.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

typedef struct Disk {
    Device dev;
    DrivePort port;
    bool read_only;
    CoMutex order;
} Disk;

static bool disk_realize(Device *dev, Error **errp)
{
    Disk *d = dev_as(Disk, dev);
    co_mutex_init(&d->order);
    return drive_open(&d->port, dev, d->read_only, errp);
}

static void disk_unrealize(Device *dev)
{
    co_mutex_fini(&dev_as(Disk, dev)->order);
}

static const Prop disk_props[] = {
    PROP_DRIVE(Disk, port, "drive", "The disk"),
    PROP_BOOL(Disk, read_only, "read-only", false, "Never write"),
    { 0 },
};

static const DeviceType disk_type = {
    .name = "test-disk", .size = sizeof(Disk), .internal = true, .props = disk_props,
    .realize = disk_realize, .unrealize = disk_unrealize,
};

typedef struct Fixture {
    TestMachine *tm;
    Machine *m;
    char *dir, *raw, *qcow2;
} Fixture;

static void write_file(const char *path, size_t size)
{
    g_autofree char *zeros = g_malloc0(size);
    g_assert_true(g_file_set_contents(path, zeros, (gssize)size, NULL));
}

static void fixture_up(Fixture *f, gconstpointer data)
{
    f->tm = tm_new(0);
    f->m = f->tm->m;
    f->dir = g_dir_make_tmp("rhea-drive-XXXXXX", NULL);
    f->raw = g_build_filename(f->dir, "a,b.raw", NULL);
    f->qcow2 = g_build_filename(f->dir, "c.qcow2", NULL);
    write_file(f->raw, 1 << 20);
    Qcow2Create create;
    g_autoptr(Json) o = json_put(json_new_object(), "size", json_new_int(4 << 20));
    g_assert_true(type_decode(&qcow2_create_type, o, false, &create, NULL));
    block_qcow2_driver.format->create(machine_block_graph(f->m), f->qcow2, &create, &error_abort_slot);
    type_clear(&qcow2_create_type, &create);
}

static void fixture_down(Fixture *f, gconstpointer data)
{
    machine_stop(f->m, RUN_FINISHED);
    drive_remove_all(f->m);
    tm_free(f->tm);
    g_assert_cmpint(g_unlink(f->raw), ==, 0);
    g_assert_cmpint(g_unlink(f->qcow2), ==, 0);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0); /* nothing temporary stays */
    g_free(f->raw);
    g_free(f->qcow2);
    g_free(f->dir);
}

/* "@raw" and "@qcow2" stand for the images; commas in names are doubled. */
static char *with_paths(Fixture *f, const char *text)
{
    g_auto(GStrv) comma = g_strsplit(f->raw, ",", -1);
    g_autofree char *raw = g_strjoinv(",,", comma);
    g_auto(GStrv) a = g_strsplit(text, "@raw", -1);
    g_autofree char *one = g_strjoinv(raw, a);
    g_auto(GStrv) b = g_strsplit(one, "@qcow2", -1);
    return g_strjoinv(f->qcow2, b);
}

static Drive *add(Fixture *f, const char *text, Error **errp)
{
    g_autofree char *full = with_paths(f, text);
    bool from_text;
    g_autoptr(Json) j = keyval_parse(full, "file", &from_text, &error_abort_slot);
    return drive_add_json(f->m, j, from_text, false, errp);
}

static bool add_node(Fixture *f, const char *text, Error **errp)
{
    g_autofree char *full = with_paths(f, text);
    bool from_text;
    g_autoptr(Json) j = keyval_parse(full, "driver", &from_text, &error_abort_slot);
    return blockdev_add_json(f->m, j, from_text, errp);
}

static void expect(Error *err, const char *text)
{
    g_assert_nonnull(err);
    if (!strstr(error_text(err), text)) {
        g_test_message("'%s' is not in '%s'", text, error_text(err));
        g_test_fail();
    }
    error_free(err);
}

static Disk *plug(Fixture *f, const char *drive, bool read_only, Error **errp)
{
    return (Disk *)device_create(f->m, &disk_type, f->m->peripheral, NULL, NULL, errp, "drive", drive,
                                 "read-only", read_only ? "on" : "off", NULL);
}

/* ---- options ---- */

static void test_options(Fixture *f, gconstpointer data)
{
    Drive *d = add(f, "@raw,format=raw", &error_abort_slot);
    g_assert_cmpstr(d->id, ==, "ide0-hd0");
    g_assert_cmpint(block_size(d->node), ==, 1 << 20);
    g_assert_cmpstr(block_driver_name(d->node), ==, "raw");
    d = add(f, "media=cdrom", &error_abort_slot);
    g_assert_cmpstr(d->id, ==, "ide0-cd1");
    g_assert_null(d->node);
    d = add(f, "@qcow2,bus=1,unit=1,read-only=on,id=x,serial=ABC", &error_abort_slot);
    g_assert_cmpuint(d->index, ==, 3);
    g_assert_cmpstr(block_driver_name(d->node), ==, "qcow2");
    g_assert_true(block_is_read_only(d->node));
    g_assert_cmpstr(d->serial, ==, "ABC");
    d = add(f, "null.img,if=none", NULL);
    g_assert_null(d);
    d = add(f, "if=none", &error_abort_slot);
    g_assert_cmpstr(d->id, ==, "none0");
    g_assert_true(drive_find(f->m, "x") == drive_at(f->m, 2));
}

static void test_refusals(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *text, *error;
    } bad[] = {
        { "@raw,if=scsi", "if=scsi is not supported" },
        { "@raw,if=floppy,index=2", "two floppy drives" },
        { "@raw,if=floppy,serial=7", "serial=7 is not supported" },
        { "@raw,if=pflash,unit=2", "unit=2 is too large" },
        { "@raw,if=pflash,index=2", "two places for flash" },
        { "@raw,if=pflash,media=cdrom", "no CD-ROM" },
        { "@raw,if=pflash,serial=7", "serial=7 is not supported" },
        { "if=pflash", "'file' is missing" },
        { "@raw,format=vmdk", "format 'vmdk' is not known" },
        { "@raw,index=4", "no IDE bus 2" },
        { "@raw,unit=2", "unit=2 is too large" },
        { "@raw,index=1,unit=1", "exclude each other" },
        { "@raw,if=none,index=1", "if=none drives have no index" },
        { "@raw,if=none,serial=7", "serial=7 is not supported" },
        { "@raw,rerror=enospc", "rerror=enospc is not supported" },
        { "@raw,throttling.bps-total-max=5", "a burst needs the limit" },
        { "@raw,iops=5,throttling.iops-read=5", "exclude each other" },
        { "@raw,copy-on-read=on,read-only=on", "the drive is read-only" },
        { "media=cdrom,copy-on-read=on", "'copy-on-read' goes with file= only" },
        { "@raw,cache=fast", "cache" },
        { "@raw,aio=fast,format=raw", "aio" },
        { "@raw,flie=x", "flie" },
        { "if=ide", "'file' is missing" },
        { "/nonexistent/x", "cannot open '/nonexistent/x'" },
        { "@raw,if=virtio,media=cdrom", "no CD-ROM" },
        { "@qcow2,snapshot=on,read-only=on", "exclude each other" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_null(add(f, bad[i].text, &err));
        expect(err, bad[i].error);
    }
    g_assert_cmpuint(drive_count(f->m), ==, 0);
    Error *err = NULL;
    g_assert_false(add_node(f, "null-co", &err));
    expect(err, "'node-name' is missing");
    g_assert_nonnull(add(f, "@raw,id=a,format=raw", &error_abort_slot));
    err = NULL;
    g_assert_null(add(f, "@qcow2,id=a", &err));
    expect(err, "already a drive with id 'a'");
    err = NULL;
    g_assert_null(add(f, "@qcow2,index=0", &err));
    expect(err, "already a drive with bus=0, unit=0");
}

/* ---- the property ---- */

static void test_ownership(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    add(f, "@raw,format=raw,if=none,id=d0", &error_abort_slot);
    g_assert_true(add_node(f, "qcow2,node-name=n0,file.driver=file,file.filename=@qcow2", &error_abort_slot));
    Disk *a = plug(f, "d0", false, &error_abort_slot);
    g_assert_cmpint(drive_size(&a->port), ==, 1 << 20);
    g_autoptr(Json) name = device_get(&a->dev, "drive", &error_abort_slot);
    g_assert_cmpstr(json_get_string(name), ==, "d0");
    g_assert_null(plug(f, "d0", false, &err));
    expect(err, "drive 'd0' is already in use by 'test-disk'");
    err = NULL;
    g_assert_null(plug(f, "d1", false, &err));
    expect(err, "there is no drive or block node 'd1'");
    device_remove(&a->dev);
    a = plug(f, "d0", false, &error_abort_slot); /* free again */
    Disk *b = plug(f, "n0", false, &error_abort_slot);
    err = NULL;
    g_assert_null(plug(f, "n0", false, &err));
    expect(err, "node 'n0' is used by");
    g_assert_cmpint(drive_size(&b->port), ==, 4 << 20);
}

static void test_read_only(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    add(f, "@raw,format=raw,if=none,id=d0,read-only=on", &error_abort_slot);
    g_assert_null(plug(f, "d0", false, &err));
    expect(err, "is read-only");
    Disk *a = plug(f, "d0", true, &error_abort_slot);
    g_assert_true(drive_medium_read_only(&a->port));
}

/* ---- requests ---- */

static void count(DriveRequest *r)
{
    g_assert_true(domain_held(r->port->dev->domain));
    ++*(unsigned *)r->opaque;
}

static int run(Fixture *f, Disk *d, DriveOp op, int64_t off, void *buf, size_t len)
{
    unsigned n = 0;
    DriveRequest r = { .op = op, .off = off, .done = count, .opaque = &n, .order = &d->order };
    iov_init_buf(&r.v, buf, len);
    domain_lock(d->dev.domain);
    drive_submit(&d->port, &r);
    g_assert_cmpuint(n, ==, 0);
    domain_unlock(d->dev.domain);
    drive_drain(f->m);
    g_assert_cmpuint(n, ==, 1);
    return r.result;
}

static void test_requests(Fixture *f, gconstpointer data)
{
    uint8_t out[1024], in[1024];
    memset(out, 0x5a, sizeof(out));
    add(f, "@qcow2,if=none,id=d0", &error_abort_slot);
    Disk *d = plug(f, "d0", false, &error_abort_slot);
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 65536, out, sizeof(out)), ==, 0);
    g_assert_cmpint(run(f, d, DRIVE_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(run(f, d, DRIVE_READ, 65536, in, sizeof(in)), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    g_assert_cmpint(run(f, d, DRIVE_READ, 4 << 20, in, 512), ==, -EIO);
}

/* ---- block_resize ---- */

typedef struct Shrink {
    Fixture *f;
    Disk *d;
    BlockNode *image; /* with a blkdebug node below */
    DriveRequest first, late;
    unsigned ended;
    Task task;
} Shrink;

static void submit_write(Disk *d, DriveRequest *r, int64_t off, void *buf, size_t len, unsigned *ended)
{
    *r = (DriveRequest){ .op = DRIVE_WRITE, .off = off, .done = count, .opaque = ended };
    iov_init_buf(&r->v, buf, len);
    domain_lock(d->dev.domain);
    drive_submit(&d->port, r);
    domain_unlock(d->dev.domain);
}

/* Inside of drive_resize(), which waits for the first write: it is as before. Another write has to wait. */
static void shrink_waits(void *opaque)
{
    static uint8_t buf[512];
    Shrink *s = opaque;
    g_assert_true(block_debug_is_suspended(s->image, "a"));
    g_assert_cmpint(drive_size(&s->d->port), ==, 1 << 20);
    g_assert_cmpuint(s->ended, ==, 0);
    submit_write(s->d, &s->late, (1 << 20) - 512, buf, sizeof(buf), &s->ended);
    g_assert_cmpint(block_debug_resume(s->image, "a"), ==, 0);
}

/* A write that was in range when it began ends before the image shrinks; one that comes meanwhile is told
 * that its place is gone. */
static void test_shrink_waits(Fixture *f, gconstpointer data)
{
    static uint8_t buf[512] = { 7 };
    Shrink s = { .f = f };
    g_assert_true(
        add_node(f, "raw,node-name=n0,file.driver=blkdebug,file.image.driver=file,file.image.filename=@raw",
                 &error_abort_slot));
    s.image = block_find(machine_block_graph(f->m), "n0");
    s.d = plug(f, "n0", false, &error_abort_slot);
    g_assert_cmpint(block_debug_break(s.image, "write_aio", "a"), ==, 0);
    submit_write(s.d, &s.first, (1 << 20) - 512, buf, sizeof(buf), &s.ended);
    while (!block_debug_is_suspended(s.image, "a")) {
        loop_turn(f->m->loop, true);
    }
    s.task = (Task){ .run = shrink_waits, .opaque = &s };
    loop_post(f->m->loop, &s.task);
    g_assert_true(drive_resize(f->m, NULL, "n0", 1 << 19, &error_abort_slot));
    g_assert_cmpuint(s.ended, >=, 1);
    g_assert_cmpint(s.first.result, ==, 0);
    drive_drain(f->m);
    g_assert_cmpuint(s.ended, ==, 2);
    g_assert_cmpint(s.late.result, ==, -EIO);
    GStatBuf st;
    g_assert_cmpint(g_stat(f->raw, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1 << 19);
}

/* Writes to the end of a file that other threads do, while it shrinks and grows: none is left to make it
 * longer. */
static void test_shrink_under_load(Fixture *f, gconstpointer data)
{
    enum { WRITES = 16, ROUNDS = 100, LEN = 4096 };
    g_autofree uint8_t *buf = g_malloc0(LEN);
    DriveRequest r[WRITES];
    g_assert_true(add_node(f, "raw,node-name=n0,file.driver=file,file.filename=@raw", &error_abort_slot));
    Disk *d = plug(f, "n0", false, &error_abort_slot);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned ended = 0;
        for (unsigned k = 0; k < WRITES; k++) {
            submit_write(d, &r[k], (1 << 20) - (int64_t)(k + 1) * LEN, buf, LEN, &ended);
        }
        for (unsigned k = 0; k < i % 4; k++) {
            loop_turn(f->m->loop, false);
        }
        g_assert_true(drive_resize(f->m, NULL, "n0", 1 << 19, &error_abort_slot));
        drive_drain(f->m);
        g_assert_cmpuint(ended, ==, WRITES);
        for (unsigned k = 0; k < WRITES; k++) {
            g_assert_true(r[k].result == 0 || r[k].result == -EIO);
        }
        GStatBuf st;
        g_assert_cmpint(g_stat(f->raw, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 1 << 19);
        g_assert_true(drive_resize(f->m, NULL, "n0", 1 << 20, &error_abort_slot));
    }
}

/* What requests amount to: by kind, failed ones apart, and by time. */
static void test_account(Fixture *f, gconstpointer data)
{
    static const uint64_t bounds[] = { 1, 2, UINT64_MAX }, falling[] = { 5, 5 }, zero[] = { 0 };
    Error *err = NULL;
    uint8_t buf[4096] = { 1 };
    DriveStats s;
    add(f, "@qcow2,if=none,id=d0", &error_abort_slot);
    Disk *d = plug(f, "d0", false, &error_abort_slot);
    drive_get_stats(&d->port, &s);
    g_assert_cmpint(s.last, ==, 0);
    g_assert_true(drive_set_histogram(&d->port, DRIVE_STAT_WRITE, bounds, 3, &error_abort_slot));
    g_assert_false(drive_set_histogram(&d->port, DRIVE_STAT_WRITE, falling, 2, &err));
    expect(g_steal_pointer(&err), "the boundary 5 is not above");
    g_assert_false(drive_set_histogram(&d->port, DRIVE_STAT_WRITE, zero, 1, &err));
    expect(g_steal_pointer(&err), "the boundary 0 is not above");
    g_assert_false(drive_set_histogram(&d->port, DRIVE_STAT_READ, bounds, 1001, &err));
    expect(g_steal_pointer(&err), "1000 are possible");

    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(run(f, d, DRIVE_WRITE, i * 65536, buf, sizeof(buf)), ==, 0);
    }
    g_assert_cmpint(run(f, d, DRIVE_READ, 0, buf, 512), ==, 0);
    g_assert_cmpint(run(f, d, DRIVE_READ, 4 << 20, buf, 512), ==, -EIO);
    g_assert_cmpint(run(f, d, DRIVE_FLUSH, 0, NULL, 0), ==, 0);
    domain_lock(d->dev.domain);
    drive_account_invalid(&d->port, DRIVE_STAT_UNMAP);
    domain_unlock(d->dev.domain);
    drive_get_stats(&d->port, &s);
    g_assert_cmpuint(s.ops[DRIVE_STAT_WRITE], ==, 3);
    g_assert_cmpuint(s.bytes[DRIVE_STAT_WRITE], ==, 3 * sizeof(buf));
    g_assert_cmpuint(s.ops[DRIVE_STAT_READ], ==, 1);
    g_assert_cmpuint(s.bytes[DRIVE_STAT_READ], ==, 512);
    g_assert_cmpuint(s.failed[DRIVE_STAT_READ], ==, 1);
    g_assert_cmpuint(s.ops[DRIVE_STAT_FLUSH], ==, 1);
    g_assert_cmpuint(s.invalid[DRIVE_STAT_UNMAP], ==, 1);
    g_assert_cmpuint(s.total_ns[DRIVE_STAT_WRITE], >, 0);
    g_assert_cmpint(s.last, >, 0);
    const DriveHistogram *h = &s.histogram[DRIVE_STAT_WRITE];
    g_assert_cmpuint(h->n, ==, 3);
    g_assert_cmpuint(h->bins[0] + h->bins[1] + h->bins[2] + h->bins[3], ==, 3);
    g_assert_cmpuint(h->bins[2], ==, 3); /* no write takes less than 2 ns, or for ever */
    drive_stats_clear(&s);
    g_assert_true(drive_set_histogram(&d->port, DRIVE_STAT_WRITE, NULL, 0, &error_abort_slot));
    drive_get_stats(&d->port, &s);
    g_assert_cmpuint(s.histogram[DRIVE_STAT_WRITE].n, ==, 0);
    /* The image's tables lie behind the data's place in the disk. */
    BlockNode *n = d->port.node;
    g_assert_cmpint(n->highest, ==, 2 * 65536 + (int64_t)sizeof(buf));
    g_assert_cmpint(n->file->node->highest, >, n->highest);
}

/* Nothing is in flight when the machine counts as stopped; requests of one order keep it. */
static void test_stop(Fixture *f, gconstpointer data)
{
    enum { N = 32 };
    static uint8_t buf[N][4096];
    uint8_t in[4096];
    DriveRequest r[N];
    unsigned n = 0;
    add(f, "@raw,format=raw,if=none,id=d0", &error_abort_slot);
    Disk *d = plug(f, "d0", false, &error_abort_slot);
    for (unsigned i = 0; i < N; i++) {
        memset(buf[i], (int)i, sizeof(buf[i]));
        r[i] = (DriveRequest){ .op = DRIVE_WRITE, .done = count, .opaque = &n, .order = &d->order };
        iov_init_buf(&r[i].v, buf[i], sizeof(buf[i]));
        drive_submit(&d->port, &r[i]);
    }
    machine_stop(f->m, RUN_PAUSED);
    g_assert_cmpuint(n, ==, N);
    g_assert_cmpint(run(f, d, DRIVE_READ, 0, in, sizeof(in)), ==, 0);
    g_assert_cmpmem(in, sizeof(in), buf[N - 1], sizeof(in));
}

static void test_snapshot(Fixture *f, gconstpointer data)
{
    uint8_t out[512], in[512];
    memset(out, 0x77, sizeof(out));
    g_setenv("TMPDIR", f->dir, TRUE);
    add(f, "@raw,format=raw,if=none,id=d0,snapshot=on", &error_abort_slot);
    Disk *d = plug(f, "d0", false, &error_abort_slot);
    g_assert_cmpint(drive_size(&d->port), ==, 1 << 20);
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 512, out, sizeof(out)), ==, 0);
    g_assert_cmpint(run(f, d, DRIVE_READ, 512, in, sizeof(in)), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    device_remove(&d->dev);
    g_autofree char *content = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(f->raw, &content, &len, NULL));
    g_assert_true(buf_is_zero(content, len));
}

/* A guest must not turn a raw image whose format was guessed into one that names a backing file. */
static void test_guard(Fixture *f, gconstpointer data)
{
    uint8_t sector[512] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 3 };
    add(f, "@raw,if=none,id=d0", &error_abort_slot);
    Disk *d = plug(f, "d0", false, &error_abort_slot);
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 0, sector, sizeof(sector)), ==, -EPERM);
    sector[0] = 'q';
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 0, sector, sizeof(sector)), ==, 0);
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 0, (uint8_t[1]){ 'Q' }, 1), ==, -EPERM);
    sector[0] = 'Q';
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 512, sector, sizeof(sector)), ==, 0);
}

/* The older of two windows is told: after half an interval what was before it began is forgotten, after a
 * whole one all. */
static void test_intervals(Fixture *f, gconstpointer data)
{
    const int64_t s = 1000000000;
    const uint32_t seconds[] = { 10, 100 };
    DriveInterval *all = drive_intervals_new(seconds, 2, 1000 * s);
    drive_intervals_add(all, 2, DRIVE_STAT_READ, 500, 1001 * s);
    drive_intervals_add(all, 2, DRIVE_STAT_READ, 1500, 1002 * s);
    DriveTimed *t = drive_intervals_read(all, 2, 1004 * s);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmpuint(t[i].seconds, ==, seconds[i]);
        g_assert_cmpuint(t[i].min_ns[DRIVE_STAT_READ], ==, 500);
        g_assert_cmpuint(t[i].max_ns[DRIVE_STAT_READ], ==, 1500);
        g_assert_cmpuint(t[i].mean_ns[DRIVE_STAT_READ], ==, 1000);
        g_assert_cmpfloat(t[i].depth[DRIVE_STAT_READ], ==, 2000.0 / (4.0 * 1e9));
        g_assert_cmpuint(t[i].max_ns[DRIVE_STAT_WRITE], ==, 0);
    }
    g_free(t);
    drive_intervals_add(all, 2, DRIVE_STAT_READ, 700, 1006 * s);
    t = drive_intervals_read(all, 2, 1009 * s);
    g_assert_cmpuint(t[0].min_ns[DRIVE_STAT_READ], ==, 500); /* since 1000 */
    g_free(t);
    t = drive_intervals_read(all, 2, 1012 * s);
    g_assert_cmpuint(t[0].min_ns[DRIVE_STAT_READ], ==, 700); /* since 1005 */
    g_assert_cmpuint(t[0].max_ns[DRIVE_STAT_READ], ==, 700);
    g_assert_cmpuint(t[1].min_ns[DRIVE_STAT_READ], ==, 500);
    g_free(t);
    t = drive_intervals_read(all, 2, 100000 * s);
    g_assert_cmpuint(t[0].max_ns[DRIVE_STAT_READ], ==, 0);
    g_assert_cmpuint(t[1].max_ns[DRIVE_STAT_READ], ==, 0);
    g_free(t);
    g_free(all);
}

/* What a drive's and a device's options say of statistics; the file's own. */
static void test_account_options(Fixture *f, gconstpointer data)
{
    uint8_t buf[512] = { 1 };
    Error *err = NULL;
    DriveStats s;
    g_assert_null(add(f, "@raw,format=raw,if=none,id=d0,stats-intervals.0=0", &err));
    expect(err, "stats-intervals.0=0 is no interval");
    Drive *v = add(f,
                   "@raw,format=raw,if=none,id=d0,stats-intervals.0=60,stats-account-failed=off,stats-"
                   "account-invalid=off",
                   &error_abort_slot);
    Disk *d = plug(f, "d0", false, &error_abort_slot);
    domain_lock(d->dev.domain);
    drive_account_invalid(&d->port, DRIVE_STAT_READ);
    domain_unlock(d->dev.domain);
    g_assert_cmpint(run(f, d, DRIVE_READ, 1 << 20, buf, 512), ==, -EIO);
    drive_get_stats(&d->port, &s);
    g_assert_cmpuint(s.invalid[DRIVE_STAT_READ], ==, 1);
    g_assert_cmpuint(s.failed[DRIVE_STAT_READ], ==, 1);
    g_assert_cmpuint(s.total_ns[DRIVE_STAT_READ], ==, 0);
    g_assert_cmpint(s.last, ==, 0); /* neither counts as its last use */
    g_assert_cmpuint(s.n_intervals, ==, 1);
    g_assert_cmpuint(s.timed[0].max_ns[DRIVE_STAT_READ], ==, 0);
    drive_stats_clear(&s);
    g_assert_cmpint(run(f, d, DRIVE_WRITE, 0, buf, 512), ==, 0);
    drive_get_stats(&d->port, &s);
    g_assert_cmpuint(s.timed[0].max_ns[DRIVE_STAT_WRITE], ==, s.total_ns[DRIVE_STAT_WRITE]);
    g_assert_cmpint(s.last, >, 0);
    drive_stats_clear(&s);
    BlockNode *file = block_file(v->node);
    unsigned n = 0;
    DriveRequest r = { .op = DRIVE_DISCARD, .bytes = 65536, .done = count, .opaque = &n };
    domain_lock(d->dev.domain);
    drive_submit(&d->port, &r);
    domain_unlock(d->dev.domain);
    drive_drain(f->m);
    BlockDiscards c;
    file->driver->discards(file, &c);
    g_assert_cmpuint(c.done + c.failed, ==, 1);
    g_assert_cmpuint(c.bytes, ==, r.result == 0 ? 65536 : 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *f, gconstpointer data);
    } tests[] = { { "options", test_options },
                  { "refusals", test_refusals },
                  { "ownership", test_ownership },
                  { "read-only", test_read_only },
                  { "requests", test_requests },
                  { "shrink-waits", test_shrink_waits },
                  { "shrink-under-load", test_shrink_under_load },
                  { "account", test_account },
                  { "account-options", test_account_options },
                  { "intervals", test_intervals },
                  { "stop", test_stop },
                  { "snapshot", test_snapshot },
                  { "guard", test_guard } };
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    drive_register();
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/drive/%s", tests[i].name);
        g_test_add(path, Fixture, NULL, fixture_up, tests[i].fn, fixture_down);
    }
    return g_test_run();
}
