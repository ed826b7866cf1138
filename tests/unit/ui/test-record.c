/* SPDX-License-Identifier: MIT
 * tests/unit/ui/test-record.c - a console as a series of files (ui/record.c): only what changed, limits,
 * folders that cannot be written to. Threads: main; the recorder's.
 */
#include "rhea/ui/record.h"
#include "rhea/util/error.h"
#include "tests/lib/testmachine.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

typedef struct Recording {
    TestMachine *tm;
    Console *console;
    Surface *surface;
    char *folder;
    unsigned ends;
    RecordCount count;
    char *reason;
} Recording;

static void on_end(void *opaque, const RecordCount *count, const char *reason)
{
    Recording *r = opaque;
    r->ends++;
    r->count = *count;
    g_free(r->reason);
    r->reason = g_strdup(reason);
}

static void open_recording(Recording *r)
{
    *r = (Recording){ .tm = tm_new(0) };
    r->console = console_new(r->tm->m, NULL, 0, NULL, r);
    r->surface = surface_new(32, 16, &error_abort_slot);
    console_set_surface(r->console, surface_ref(r->surface));
    r->folder = g_dir_make_tmp("rhea-record-XXXXXX", NULL);
}

static void begin(Recording *r, unsigned rate, uint64_t files, uint64_t bytes)
{
    record_start(r->console, r->folder, &(RecordLimits){ rate, files, bytes }, on_end, r, &error_abort_slot);
}

/* Their number; each is a PNG with a name of ours. */
static unsigned files_of(const Recording *r, bool remove)
{
    unsigned n = 0;
    GDir *d = g_dir_open(r->folder, 0, NULL);
    for (const char *name; (name = g_dir_read_name(d)) != NULL;) {
        g_autofree char *path = g_build_filename(r->folder, name, NULL), *data = NULL;
        gsize len;
        if (*name == '.') {
            continue; /* being written */
        }
        g_assert_cmpuint(strlen(name), ==, strlen("20240131T235959.123Z-000001.png"));
        g_assert_true(g_file_get_contents(path, &data, &len, NULL));
        g_assert_cmpuint(len, >, 40);
        g_assert_cmpmem(data + 1, 3, "PNG", 3);
        n++;
        if (remove) {
            unlink(path);
        }
    }
    g_dir_close(d);
    return n;
}

static void close_recording(Recording *r)
{
    record_stop_all();
    files_of(r, true);
    g_assert_cmpint(g_rmdir(r->folder), ==, 0);
    if (r->console) {
        console_free(r->console);
    }
    surface_unref(r->surface);
    g_free(r->folder);
    g_free(r->reason);
    tm_free(r->tm);
}

static void paint(Recording *r, uint32_t colour)
{
    *(uint32_t *)surface_row(r->surface, 3) = colour;
    console_damage(r->console, 0, 0, 32, 16);
}

static void await_files(Recording *r, unsigned n)
{
    while (files_of(r, false) < n) {
        loop_turn(r->tm->loop, true);
    }
}

static void test_changes(void)
{
    Recording r;
    RecordCount count;
    g_autoptr(Error) err = NULL;
    open_recording(&r);
    begin(&r, 60, 100, 1 << 20);
    await_files(&r, 1);
    g_assert_false(record_start(r.console, r.folder, &(RecordLimits){ 1, 1, 1 }, on_end, &r, &err));
    paint(&r, 1);
    await_files(&r, 2);
    for (unsigned i = 0; i < 5; i++) { /* said to have changed, and has not */
        paint(&r, 1);
        console_refresh(r.console);
        while (loop_turn(r.tm->loop, false)) {
        }
    }
    paint(&r, 2);
    await_files(&r, 3);
    g_assert_true(record_stop(r.console, &count, &error_abort_slot));
    g_assert_cmpuint(count.files, ==, 3);
    g_assert_cmpuint(count.bytes, >, 120);
    g_assert_cmpuint(r.ends, ==, 0);
    g_clear_pointer(&err, error_free);
    g_assert_false(record_stop(r.console, &count, &err));
    close_recording(&r);
}

static void test_limits(void)
{
    Recording r;
    open_recording(&r);
    begin(&r, 60, 2, 1 << 20);
    await_files(&r, 1);
    paint(&r, 1);
    while (!r.ends) {
        loop_turn(r.tm->loop, true);
    }
    g_assert_cmpuint(r.count.files, ==, 2);
    g_assert_nonnull(strstr(r.reason, "as many files"));
    begin(&r, 60, 100, 10);
    while (r.ends < 2) {
        loop_turn(r.tm->loop, true);
    }
    g_assert_nonnull(strstr(r.reason, "as large"));
    begin(&r, 60, 100, 1 << 20);
    console_free(g_steal_pointer(&r.console));
    g_assert_cmpuint(r.ends, ==, 3);
    g_assert_nonnull(strstr(r.reason, "gone"));
    close_recording(&r);
}

/* What was written is counted, also when the card goes before the main loop has heard of it. */
static void test_gone(void)
{
    Recording r;
    open_recording(&r);
    begin(&r, 60, 100, 1 << 20);
    console_refresh(r.console);
    while (!files_of(&r, false)) {
        g_usleep(1000); /* the loop does not turn meanwhile */
    }
    console_free(g_steal_pointer(&r.console));
    g_assert_cmpuint(r.ends, ==, 1);
    g_assert_cmpuint(r.count.files, ==, 1);
    g_assert_cmpuint(r.count.bytes, >, 40);
    close_recording(&r);
}

/* Two screens in one folder would have the same names. */
static void test_same_folder(void)
{
    Recording r;
    RecordCount count;
    g_autoptr(Error) err = NULL;
    open_recording(&r);
    Console *other = console_new(r.tm->m, NULL, 0, NULL, &r);
    begin(&r, 60, 100, 1 << 20);
    g_autofree char *same = g_strdup_printf("%s/.", r.folder);
    g_assert_false(record_start(other, same, &(RecordLimits){ 1, 1, 1 }, on_end, &r, &err));
    g_assert_nonnull(strstr(error_text(err), "is being recorded into folder"));
    g_assert_true(record_stop(r.console, &count, &error_abort_slot));
    g_assert_true(record_start(other, same, &(RecordLimits){ 1, 1, 1 }, on_end, &r, &error_abort_slot));
    record_stop_all();
    console_free(other);
    close_recording(&r);
}

static void test_wrong(void)
{
    Recording r;
    g_autoptr(Error) err = NULL;
    open_recording(&r);
    g_autofree char *file = g_build_filename(r.folder, "x", NULL), *below = g_build_filename(file, "y", NULL);
    g_assert_false(record_start(r.console, below, &(RecordLimits){ 1, 1, 1 }, on_end, &r, &err));
    g_assert_nonnull(strstr(error_text(err), "cannot be made"));
    g_clear_pointer(&err, error_free);
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    g_assert_false(record_start(r.console, file, &(RecordLimits){ 1, 1, 1 }, on_end, &r, &err));
    g_assert_nonnull(strstr(error_text(err), "cannot be opened"));
    unlink(file);
    begin(&r, 60, 100, 1 << 20);
    await_files(&r, 1);
    files_of(&r, true);
    g_assert_cmpint(g_rmdir(r.folder), ==, 0); /* it goes while it is used */
    paint(&r, 5);
    while (!r.ends) {
        loop_turn(r.tm->loop, true);
    }
    g_assert_nonnull(strstr(r.reason, "no picture can be made"));
    g_assert_cmpint(g_mkdir(r.folder, 0700), ==, 0);
    close_recording(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/record/changes", test_changes);
    g_test_add_func("/record/limits", test_limits);
    g_test_add_func("/record/gone", test_gone);
    g_test_add_func("/record/same-folder", test_same_folder);
    g_test_add_func("/record/wrong", test_wrong);
    return g_test_run();
}
