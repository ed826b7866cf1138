/* SPDX-License-Identifier: MIT
 * ui/record.c - a console as a series of PNG files.
 *
 * Models: rhea/ui/record.h. A recorder is a listener with the period of its rate. Its copy of the picture is
 * compared with the one before, since a card may say more than has changed. Threads: main loop; pictures are
 * written by a worker, which touches Picture and the folder's descriptor only. Tests:
 * tests/unit/ui/test-record.c, tests/func/qmp.py (qmp_screen). */
#include "rhea/ui/record.h"
#include "consoles.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/worker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Recorder {
    ConsoleListener listener; /* first */
    char *folder;
    int dir; /* the folder's descriptor */
    dev_t device; /* and which one it is */
    ino_t inode;
    Loop *loop;
    RecordLimits limits;
    RecordCount count;
    RecordEnded ended;
    void *opaque;
    WorkerPool *pool;
    bool changed, writing;
    Surface *last; /* as written last, or being written */

    WorkItem item;
    Task written;
    struct { /* the worker's while it writes */
        char name[64];
        uint64_t size;
        Error *err;
    } job;
} Recorder;

static GPtrArray *recorders;

static Recorder *find(const Console *c)
{
    for (guint i = 0; recorders && i < recorders->len; i++) {
        Recorder *r = recorders->pdata[i];
        if (r->listener.console == c) {
            return r;
        }
    }
    return NULL;
}

/* Two would replace each other's files. */
static bool is_taken(const struct stat *folder)
{
    for (guint i = 0; recorders && i < recorders->len; i++) {
        const Recorder *r = recorders->pdata[i];
        if (r->device == folder->st_dev && r->inode == folder->st_ino) {
            return true;
        }
    }
    return false;
}

/* Waits for the picture that is being written, and counts it. */
static void finish(Recorder *r)
{
    worker_pool_free(g_steal_pointer(&r->pool));
    if (r->writing && !r->job.err) {
        r->count.files++;
        r->count.bytes += r->job.size;
    }
    r->writing = false;
}

static void recorder_free(Recorder *r)
{
    console_remove_listener(&r->listener);
    if (r->pool) {
        finish(r);
    }
    loop_unpost(r->loop, &r->written);
    g_ptr_array_remove(recorders, r);
    if (!recorders->len) {
        g_clear_pointer(&recorders, g_ptr_array_unref);
    }
    surface_unref(r->last);
    error_free(r->job.err);
    close(r->dir);
    g_free(r->folder);
    g_free(r);
}

/* ---- writing ---- */

static bool write_file(Recorder *r, int fd)
{
    struct stat st;
    bool ok = surface_write_png(r->last, fd, &r->job.err);
    if (ok && fstat(fd, &st) == 0) {
        r->job.size = (uint64_t)st.st_size;
    }
    if (close(fd) < 0 && ok) {
        ok = error_set_errno(&r->job.err, errno, "writing '%s' failed", r->job.name);
    }
    return ok;
}

/* On the worker. A name that exists is not replaced: its time and number are this one's. */
static int write_picture(void *opaque)
{
    static const char part[] = ".recording.part";
    Recorder *r = opaque;
    int fd = openat(r->dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) {
        error_set_errno(&r->job.err, errno, "no picture can be made in '%s'", r->folder);
    } else if (!write_file(r, fd)) {
        unlinkat(r->dir, part, 0);
    } else if (renameat(r->dir, part, r->dir, r->job.name) < 0) {
        error_set_errno(&r->job.err, errno, "'%s' cannot get its name", r->job.name);
    }
    loop_post(r->loop, &r->written);
    return 0;
}

static void end(Recorder *r, const char *reason)
{
    g_autofree char *why = g_strdup(reason);
    finish(r);
    RecordCount count = r->count;
    RecordEnded ended = r->ended;
    void *opaque = r->opaque;
    recorder_free(r);
    ended(opaque, &count, why);
}

static bool same(Surface *a, Surface *b)
{
    if (!a || surface_width(a) != surface_width(b) || surface_height(a) != surface_height(b)) {
        return false;
    }
    for (int y = 0; y < surface_height(a); y++) {
        if (memcmp(surface_row(a, y), surface_row(b, y), (size_t)surface_width(a) * 4) != 0) {
            return false;
        }
    }
    return true;
}

/* NULL: nothing is shown, or the host has no memory. */
static Surface *copy_of(Console *c)
{
    Surface *s = console_surface(c);
    Surface *to = s ? surface_new(surface_width(s), surface_height(s), NULL) : NULL;
    if (to) {
        pixman_image_composite32(PIXMAN_OP_SRC, s->image, NULL, to->image, 0, 0, 0, 0, 0, 0, surface_width(s),
                                 surface_height(s));
    }
    surface_unref(s);
    return to;
}

static void take_picture(Recorder *r)
{
    Surface *now = copy_of(r->listener.console);
    r->changed = false;
    if (!now || same(r->last, now)) {
        surface_unref(now);
        return;
    }
    surface_unref(r->last);
    r->last = now;
    g_autoptr(GDateTime) t = g_date_time_new_now_utc();
    g_autofree char *when = g_date_time_format(t, "%Y%m%dT%H%M%S");
    g_snprintf(r->job.name, sizeof(r->job.name), "%s.%03dZ-%06" PRIu64 ".png", when,
               g_date_time_get_microsecond(t) / 1000, r->count.files + 1);
    r->item = (WorkItem){ .fn = write_picture, .opaque = r };
    r->writing = worker_post(r->pool, &r->item);
    r->count.skipped += !r->writing; /* the host has no thread */
}

static void on_written(void *opaque)
{
    Recorder *r = opaque;
    r->writing = false;
    if (r->job.err) {
        end(r, error_text(r->job.err));
        return;
    }
    r->count.files++;
    r->count.bytes += r->job.size;
    if (r->count.files >= r->limits.max_files) {
        end(r, "there are as many files as were allowed");
    } else if (r->count.bytes >= r->limits.max_bytes) {
        end(r, "the files are as large as was allowed");
    } else if (r->changed) {
        take_picture(r);
    }
}

/* ---- the console's news ---- */

static void on_surface(ConsoleListener *l, Surface *s G_GNUC_UNUSED)
{
    ((Recorder *)l)->changed = true;
}

static void on_damage(ConsoleListener *l, int x G_GNUC_UNUSED, int y G_GNUC_UNUSED, int w G_GNUC_UNUSED,
                      int h G_GNUC_UNUSED)
{
    ((Recorder *)l)->changed = true;
}

static void on_frame(ConsoleListener *l)
{
    Recorder *r = (Recorder *)l;
    if (r->writing) {
        r->count.skipped++;
    } else {
        take_picture(r);
    }
}

static void on_gone(ConsoleListener *l)
{
    end((Recorder *)l, "the graphics card is gone");
}

static const ConsoleListenerOps listener_ops = {
    .surface = on_surface, .damage = on_damage, .frame = on_frame, .gone = on_gone
};

/* ---- beginning and end ---- */

bool record_start(Console *c, const char *folder, const RecordLimits *limits, RecordEnded ended, void *opaque,
                  Error **errp)
{
    role_assert_main();
    if (find(c)) {
        return error_fail(errp, "already-running", NULL, "end it by x-rhea-screen-record-stop",
                          "this screen is being recorded");
    }
    if (recorders && recorders->len >= RECORD_MAX) {
        return error_fail(errp, "too-many", NULL, "end one of them", "%d screens are being recorded",
                          RECORD_MAX);
    }
    if (mkdir(folder, 0777) < 0 && errno != EEXIST) {
        return error_set_errno(errp, errno, "folder '%s' cannot be made", folder);
    }
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (dir < 0 || fstat(dir, &st) < 0) {
        error_set_errno(errp, errno, "folder '%s' cannot be opened", folder);
        if (dir >= 0) {
            close(dir);
        }
        return false;
    }
    if (is_taken(&st)) {
        close(dir);
        return error_fail(errp, "in-use", "directory", "give each screen a folder of its own",
                          "another screen is being recorded into folder '%s'", folder);
    }
    Recorder *r = g_new0(Recorder, 1);
    *r = (Recorder){ .listener = { .ops = &listener_ops, .period_ms = 1000 / limits->rate },
                     .folder = g_strdup(folder),
                     .dir = dir,
                     .device = st.st_dev,
                     .inode = st.st_ino,
                     .loop = console_machine(c)->loop,
                     .limits = *limits,
                     .ended = ended,
                     .opaque = opaque,
                     .pool = worker_pool_new(1),
                     .written = { .run = on_written, .opaque = r } };
    recorders = recorders ? recorders : g_ptr_array_new();
    g_ptr_array_add(recorders, r);
    console_add_listener(c, &r->listener);
    return true;
}

bool record_stop(Console *c, RecordCount *count, Error **errp)
{
    Recorder *r = find(c);
    role_assert_main();
    if (!r) {
        return error_fail(errp, "not-running", NULL, NULL, "this screen is not being recorded");
    }
    finish(r);
    *count = r->count;
    recorder_free(r);
    return true;
}

void record_stop_all(void)
{
    while (recorders) {
        recorder_free(recorders->pdata[0]);
    }
}
