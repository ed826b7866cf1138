/* SPDX-License-Identifier: MIT
 * tools/system/screendump.c - pictures of what the guest shows, for QMP and the human monitor.
 * Models: QEMU 7.2's `screendump`.
 * Threads: main loop, no domain held. The file is written at once: a slow one makes the main loop wait.
 */
#include "cli.h"
#include "rhea/ui/console.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/text.h"
#include "schema/qmp-ui.h"

#include <fcntl.h>
#include <unistd.h>

/* A pipe that nobody reads from fails, instead of making the machine wait. */
static int open_file(const char *name, Error **errp)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC;
    int fd = fdset_open(name, flags, 0666);
    if (fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "cannot open '%s' for a picture", name);
        fdset_hint(name, flags, err, errp);
    }
    return fd;
}

Console *screen_find(Machine *m, const char *device, bool has_head, int64_t head, Error **errp)
{
    if (has_head && !device) {
        error_fail(errp, "missing-member", "device", "name the card, too", "'head' goes with 'device'");
        return NULL;
    }
    if (has_head && (head < 0 || head > UINT16_MAX)) {
        error_fail(errp, "out-of-range", "head", "count from 0", "there is no head %" PRId64, head);
        return NULL;
    }
    return console_find(m, device, has_head ? (unsigned)head : 0, errp);
}

Surface *screen_picture(Console *c, Error **errp)
{
    console_refresh(c);
    Surface *s = console_surface(c);
    if (!s) {
        error_fail(errp, "wrong-state", "device", "wait until its driver sets a mode",
                   "the card shows nothing at present");
    }
    return s;
}

bool qmp_screendump(QmpCall *call, const ScreendumpArgs *args, Error **errp)
{
    Console *c = screen_find(call->machine, args->device, args->has_head, args->head, errp);
    Surface *s = c ? screen_picture(c, errp) : NULL;
    if (!s) {
        return false;
    }
    int fd = open_file(args->filename, errp);
    bool png = args->has_format && args->format == IMAGE_FORMAT_PNG;
    bool ok = fd >= 0 && (png ? surface_write_png : surface_write_ppm)(s, fd, errp);
    surface_unref(s);
    if (fd >= 0 && fdset_close(fd) < 0 && ok) {
        return error_set_errno(errp, errno, "writing '%s' failed", args->filename);
    }
    return ok;
}

static void hmp_screendump(Monitor *mon, Machine *m, int argc, char **argv, GString *out)
{
    ScreendumpArgs a = { 0 };
    Error *err = NULL;
    uint64_t head = 0;
    const char *format;
    bool good = hmp_take_value(&argc, argv, "-f", &format);
    if (format && !g_str_equal(format, "png") && !g_str_equal(format, "ppm")) {
        g_string_append_printf(out, "screendump: unknown format '%s'; ppm and png are possible\n", format);
        return;
    }
    a.has_format = format != NULL;
    a.format = format && g_str_equal(format, "png") ? IMAGE_FORMAT_PNG : IMAGE_FORMAT_PPM;
    good = good && argc >= 2 && argc <= 4;
    if (!good || (argc == 4 && (!text_to_u64(argv[3], &head, NULL) || head > INT64_MAX))) {
        g_string_append(out, "screendump: a file, and perhaps -f FORMAT, a card and its head are expected\n");
        return;
    }
    a.filename = argv[1];
    a.device = argc > 2 ? argv[2] : NULL;
    a.has_head = argc > 3;
    a.head = (int64_t)head;
    if (!qmp_screendump(&(QmpCall){ .machine = m }, &a, &err)) {
        hmp_say_error(out, err);
    }
}

const HmpCommand hmp_ui_commands[] = {
    { "screendump", "FILE [-f ppm|png] [DEVICE [HEAD]]", "write what a graphics card shows to a file",
      hmp_screendump },
    { 0 },
};
