/* SPDX-License-Identifier: MIT
 * tools/system/screenwait.c - screens for programs: x-rhea-screen-text, -sum, -wait, -wait-cancel,
 * -record-start, -record-stop.
 * Threads: main loop. Tests: tests/func/qmp.py (qmp_screen), tests/func/installer_screens.py.
 */
#include "cli.h"
#include "rhea/ui/record.h"
#include "rhea/ui/screen.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-ui.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool read_text(Console *c, FontSet *font, XRheaScreenText *out, Error **errp)
{
    ConsoleText t;
    if (!screen_read(c, font, &t, &out->by_font)) {
        return error_fail(errp, "wrong-state", "device", "wait until its driver sets a mode",
                          "the card shows nothing at present");
    }
    out->columns = t.columns;
    out->lines.items = g_new0(char *, (size_t)t.rows);
    out->lines.n = (size_t)t.rows;
    for (int y = 0; y < t.rows; y++) {
        out->lines.items[y] = screen_line(&t, y);
    }
    g_free(t.cells);
    return true;
}

bool qmp_x_rhea_screen_text(QmpCall *call, const XRheaScreenTextArgs *args, XRheaScreenText *ret,
                            Error **errp)
{
    Console *c = screen_find(call->machine, args->device, args->has_head, args->head, errp);
    FontSet *font = c ? font_set_new(call->machine, args->font, errp) : NULL;
    if (!font) {
        return false;
    }
    console_refresh(c);
    bool ok = read_text(c, font, ret, errp);
    font_set_free(font);
    return ok;
}

static ScreenRegion region_of(bool has, const XRheaScreenRegion *r)
{
    return has ? (ScreenRegion){ (int)r->x, (int)r->y, (int)r->width, (int)r->height } : (ScreenRegion){ 0 };
}

bool qmp_x_rhea_screen_sum(QmpCall *call, const XRheaScreenSumArgs *args, XRheaScreenSum *ret, Error **errp)
{
    Console *c = screen_find(call->machine, args->device, args->has_head, args->head, errp);
    Surface *s = c ? screen_picture(c, errp) : NULL;
    if (!s) {
        return false;
    }
    ScreenRegion r = region_of(args->has_region, &args->region);
    uint64_t sum = 0;
    bool ok = screen_sum(s, &r, &sum);
    ret->width = surface_width(s);
    ret->height = surface_height(s);
    surface_unref(s);
    if (!ok) {
        return error_fail(errp, "out-of-range", "region", "stay inside",
                          "the region is not inside the screen of %" PRId64 " x %" PRId64 " pixels",
                          ret->width, ret->height);
    }
    ret->sum = g_strdup_printf("%016" PRIx64, sum);
    return true;
}

/* ---- waiting ---- */

static void ended(void *opaque, unsigned id, Console *c, FontSet *font, ScreenEnd end)
{
    static const char *const why[] = {
        [SCREEN_TIMEOUT] = "it was not there before the time was over; 'screen' is what was there instead",
        [SCREEN_GONE] = "the graphics card is gone",
    };
    Machine *m = opaque;
    Json *data = json_new_object();
    json_object_object_add(data, "id", json_new_int(id));
    json_object_object_add(data, "seen", json_new_bool(end == SCREEN_SEEN));
    if (end != SCREEN_SEEN) {
        json_object_object_add(data, "error", json_new_string(why[end]));
    }
    XRheaScreenText text = { 0 };
    if (c && end != SCREEN_GONE && read_text(c, font, &text, NULL)) {
        json_object_object_add(data, "screen", type_encode(&xrhea_screen_text_type, &text));
    }
    type_clear(&xrhea_screen_text_type, &text);
    machine_event(m, "X_RHEA_SCREEN_WAIT", data);
}

static bool sum_of(const char *text, uint64_t *out, Error **errp)
{
    char *rest;
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        return error_fail(errp, "invalid-value", "sum", "take it from x-rhea-screen-sum",
                          "'%s' is not sixteen hexadecimal digits", text);
    }
    *out = strtoull(text, &rest, 16);
    return true;
}

bool qmp_x_rhea_screen_wait(QmpCall *call, const XRheaScreenWaitArgs *args, XRheaScreenWaiter *ret,
                            Error **errp)
{
    ScreenWish wish = { .text = args->text,
                        .has_sum = args->sum != NULL,
                        .region = region_of(args->has_region, &args->region),
                        .unchanged_ms = args->has_unchanged ? args->unchanged : 0,
                        .timeout_ms = args->timeout };
    if (!args->text && !args->sum && !args->has_unchanged) {
        return error_fail(errp, "missing-member", "text", NULL,
                          "one of 'text', 'sum' and 'unchanged' is needed");
    }
    if (args->has_region && !args->sum && !args->has_unchanged) {
        return error_fail(errp, "conflict", "region", "leave it out",
                          "'region' goes with 'sum' and 'unchanged'");
    }
    if (args->text && (!*args->text || strlen(args->text) > SCREEN_TEXT_MAX || strpbrk(args->text, "\r\n"))) {
        return error_fail(errp, "invalid-value", "text", NULL,
                          "'text' has 1 to %d bytes, all of them in one line", SCREEN_TEXT_MAX);
    }
    if (args->sum && !sum_of(args->sum, &wish.sum, errp)) {
        return false;
    }
    Console *c = screen_find(call->machine, args->device, args->has_head, args->head, errp);
    wish.font = c ? font_set_new(call->machine, args->font, errp) : NULL;
    ret->id = wish.font ? screen_wait(c, &wish, ended, call->machine, errp) : 0;
    if (!ret->id) {
        font_set_free(wish.font);
    }
    return ret->id != 0;
}

bool qmp_x_rhea_screen_wait_cancel(QmpCall *call, const XRheaScreenWaitCancelArgs *args, Error **errp)
{
    return screen_wait_cancel((unsigned)args->id) ||
           error_fail(errp, "not-found", "id", NULL, "nobody waits by number %" PRId64, args->id);
}

/* ---- recording ---- */

static void recorded(void *opaque, const RecordCount *count, const char *reason)
{
    Json *data = json_new_object();
    json_object_object_add(data, "reason", json_new_string(reason));
    json_object_object_add(data, "files", json_new_int((int64_t)count->files));
    json_object_object_add(data, "bytes", json_new_int((int64_t)count->bytes));
    json_object_object_add(data, "skipped", json_new_int((int64_t)count->skipped));
    machine_event(opaque, "X_RHEA_SCREEN_RECORDED", data);
}

bool qmp_x_rhea_screen_record_start(QmpCall *call, const XRheaScreenRecordStartArgs *args, Error **errp)
{
    Console *c = screen_find(call->machine, args->device, args->has_head, args->head, errp);
    RecordLimits limits = { .rate = (unsigned)args->rate,
                            .max_files = (uint64_t)args->max_files,
                            .max_bytes = args->max_size };
    return c && record_start(c, args->directory, &limits, recorded, call->machine, errp);
}

bool qmp_x_rhea_screen_record_stop(QmpCall *call, const XRheaScreenRecordStopArgs *args,
                                   XRheaScreenRecording *ret, Error **errp)
{
    Console *c = screen_find(call->machine, args->device, args->has_head, args->head, errp);
    RecordCount n;
    if (!c || !record_stop(c, &n, errp)) {
        return false;
    }
    ret->files = (int64_t)n.files;
    ret->bytes = (int64_t)n.bytes;
    ret->skipped = (int64_t)n.skipped;
    return true;
}
