/* SPDX-License-Identifier: MIT
 * tools/img/bitmap.c - rhea-img bitmap: changes the persistent bitmaps of an image; copies them for convert.
 *
 * Threads: the main thread.
 */
#include "img.h"
#include "rhea/block/bitmap.h"

#include <stdio.h>
#include <string.h>

typedef struct Action {
    char what; /* a long option's place */
    const char *arg;
} Action;

enum { ADD, REMOVE, CLEAR, ENABLE, DISABLE, MERGE };
static const ToolOption more[] = { [ADD] = { "add", IMG_LONG + ADD },
                                   [REMOVE] = { "remove", IMG_LONG + REMOVE },
                                   [CLEAR] = { "clear", IMG_LONG + CLEAR },
                                   [ENABLE] = { "enable", IMG_LONG + ENABLE },
                                   [DISABLE] = { "disable", IMG_LONG + DISABLE },
                                   [MERGE] = { "merge", IMG_LONG + MERGE, true },
                                   { "source-file", 'b', true },
                                   { "source-format", 'F', true },
                                   { "granularity", 'g', true },
                                   TOOL_OPTIONS_END };

/* `from`: the node of -b; NULL: the image itself. */
static bool act(BlockNode *n, const char *name, const Action *a, BlockNode *from, uint64_t granularity,
                Error **errp)
{
    switch (a->what) {
    case ADD: return block_bitmap_cmd_add(n, name, granularity, true, true, errp);
    case REMOVE: return block_bitmap_cmd_remove(n, name, errp);
    case CLEAR: return block_bitmap_cmd_clear(n, name, errp);
    case ENABLE: return block_bitmap_cmd_record(n, name, true, errp);
    case DISABLE: return block_bitmap_cmd_record(n, name, false, errp);
    default: break;
    }
    BlockBitmap *b = block_bitmap_get(from ? from : n, a->arg, errp);
    return b && block_bitmap_cmd_merge(n, name, &b, 1, errp);
}

static int run_actions(Img *m, const char *file, const char *format, const char *name, const GArray *actions,
                       const char *base, const char *base_format, uint64_t granularity)
{
    Error *err = NULL;
    BlockClient *c = img_open_client(m, file, format, IMG_WRITE, NULL, &err), *from = NULL;
    bool ok = c != NULL, opts = m->image_opts;
    m->image_opts = false;
    if (ok && base) {
        from = img_open_client(m, base, base_format, IMG_READ, NULL, &err);
        ok = from != NULL;
    }
    m->image_opts = opts;
    for (unsigned i = 0; ok && i < actions->len; i++) {
        const Action *a = &g_array_index(actions, Action, i);
        ok = act(block_client_node(c), name, a, from ? block_client_node(from) : NULL, granularity, &err);
        if (!ok) {
            error_prefix(&err, "Operation %s on bitmap %s failed", more[(int)a->what].name, name);
        }
    }
    block_client_free(from);
    block_client_free(c);
    return ok ? 0 : tool_fail(err);
}

int img_cmd_bitmap(Img *m, int argc, char **argv)
{
    const char *format = NULL, *base = NULL, *base_format = NULL;
    g_autoptr(GArray) actions = g_array_new(FALSE, FALSE, sizeof(Action));
    int64_t granularity = 0;
    bool adds = false, merges = false;
    Error *err = NULL;
    for (int c; (c = img_getopt(m, argc, argv, "b:f:F:g:", more)) != -1;) {
        switch (c) {
        case 'f': format = optarg; break;
        case 'b': base = optarg; break;
        case 'F': base_format = optarg; break;
        case 'g':
            if (!img_size(optarg, &granularity, &err)) {
                return tool_fail(err);
            }
            break;
        default:
            if (c < IMG_LONG || c > IMG_LONG + MERGE) {
                return 1;
            }
            Action a = { (char)(c - IMG_LONG), optarg };
            adds |= a.what == ADD;
            merges |= a.what == MERGE;
            g_array_append_val(actions, a);
        }
    }
    if (optind != argc - 2) {
        return tool_complain("bitmap needs a file's name and a bitmap's");
    }
    if (!actions->len) {
        return tool_complain(
            "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    }
    if (granularity && !adds) {
        return tool_complain("granularity only supported with --add");
    }
    if (base_format && !base) {
        return tool_complain("-F only supported with -b");
    }
    if (base && !merges) {
        return tool_complain("Merge bitmap source file only supported with --merge");
    }
    return run_actions(m, argv[optind], format, argv[optind + 1], actions, base, base_format,
                       (uint64_t)granularity);
}

/* convert --bitmaps */

bool img_bitmaps_check(BlockNode *n, bool skip_broken, Error **errp)
{
    if (!n->driver->format || !n->driver->format->bitmap_fits) {
        return error_set(errp, "Source lacks bitmap support");
    }
    for (unsigned i = 0; i < block_bitmap_count(n) && !skip_broken; i++) {
        const BlockBitmap *b = block_bitmap_at(n, i);
        if (b->persistent && b->inconsistent) {
            error_set(errp, "Cannot copy inconsistent bitmap '%s'", b->name);
            error_hint(errp, "--skip-broken-bitmaps leaves it out; rhea-img bitmap --remove deletes it");
            return false;
        }
    }
    return true;
}

bool img_bitmaps_copy(BlockNode *from, BlockNode *to, Error **errp)
{
    for (unsigned i = 0; i < block_bitmap_count(from); i++) {
        BlockBitmap *b = block_bitmap_at(from, i);
        if (!b->persistent) {
            continue;
        }
        if (b->inconsistent) {
            fprintf(stderr, "rhea-img: warning: Skipping inconsistent bitmap '%s'\n", b->name);
            continue;
        }
        if (!block_bitmap_cmd_add(to, b->name, (uint64_t)1 << b->granularity_bits, true, false, errp) ||
            !block_bitmap_cmd_merge(to, b->name, &b, 1, errp)) {
            error_prefix(errp, "Failed to populate bitmap %s", b->name);
            return false;
        }
        block_bitmap_set_recording(block_bitmap_find(to, b->name), b->recording);
    }
    return true;
}
