/* SPDX-License-Identifier: MIT
 * block/bitmap-cmd.c - what users do with dirty bitmaps: QMP's block-dirty-bitmap-* and rhea-img bitmap.
 *
 * Models: each command checks all it needs, then changes. The image's copy of a persistent bitmap is marked
 * as old before the one in memory changes, so that a crash leaves none that claims too little. That takes
 * turns of the loop, in which other sessions' commands run: the bitmaps of the command are busy until it is
 * done, and their nodes in use, so that these are refused. Threads: the main loop's.
 */
#include "internal.h"
#include "rhea/block/bitmap.h"
#include "rhea/util/errorcode.h"

typedef struct Touch {
    BlockNode *n;
    Error **errp;
    bool ok;
} Touch;

static void touch_body(void *opaque)
{
    Touch *t = opaque;
    t->ok = t->n->driver->format->bitmaps_touch(t->n, t->errp);
}

static bool touch(BlockNode *n, bool persistent, Error **errp)
{
    const BlockFormatOps *f = n->driver->format;
    if (!persistent || !f || !f->bitmaps_touch) {
        return true;
    }
    if (n->read_only) {
        return error_fail(errp, "read-only", "node", "open the node with read-only=off",
                          "node '%s' is read-only: its persistent bitmaps cannot be changed", n->name);
    }
    Touch t = { .n = n, .errp = errp };
    co_run_sync(n->graph->loop, touch_body, &t);
    return t.ok;
}

/* From here on other commands can neither change nor remove it, nor its node. */
static void hold(BlockBitmap *b)
{
    block_ref(b->node);
    b->busy++;
}

/* Undoes hold(); `remove`: and the bitmap goes. */
static void let_go(BlockBitmap *b, bool remove)
{
    BlockNode *n = b->node;
    b->busy--;
    if (remove) {
        block_bitmap_remove(b);
    }
    block_unref(n);
}

BlockBitmap *block_bitmap_get(const BlockNode *n, const char *name, Error **errp)
{
    BlockBitmap *b = block_bitmap_find(n, name);
    if (!b) {
        error_fail(errp, "not-found", "name", "query-named-block-nodes lists the bitmaps of nodes",
                   "Dirty bitmap '%s' not found", name);
    }
    return b;
}

bool block_bitmap_cmd_add(BlockNode *n, const char *name, uint64_t granularity, bool persistent,
                          bool recording, Error **errp)
{
    const BlockFormatOps *f = n->driver->format;
    if (persistent && (!f || !f->bitmap_fits)) {
        error_fail(errp, "not-supported", "persistent", NULL,
                   "Can't store persistent bitmaps to %s: images of format '%s' hold none", n->name,
                   n->driver->name);
        error_hint(errp, "qcow2 images do");
        return false;
    }
    if (persistent && !f->bitmap_fits(n, name, granularity, errp)) {
        return false;
    }
    BlockBitmap *b = block_bitmap_add(n, name, granularity, errp);
    if (!b) {
        return false;
    }
    hold(b);
    bool ok = touch(n, persistent, errp);
    if (ok) {
        b->persistent = persistent;
        block_bitmap_set_recording(b, recording);
    }
    let_go(b, !ok);
    return ok;
}

bool block_bitmap_cmd_remove(BlockNode *n, const char *name, Error **errp)
{
    BlockBitmap *b = block_bitmap_get(n, name, errp);
    if (!b) {
        return false;
    }
    if (b->busy) {
        return error_fail(errp, "in-use", "name", "wait for the operation to end",
                          "Bitmap '%s' is currently in use by another operation", name);
    }
    hold(b);
    bool ok = touch(n, b->persistent, errp);
    let_go(b, ok);
    return ok;
}

/* Marks the copy in the image; true: `b` is held until let_go(). */
static bool begin_change(BlockBitmap *b, Error **errp)
{
    hold(b);
    bool ok = touch(b->node, b->persistent, errp);
    if (!ok) {
        let_go(b, false);
    }
    return ok;
}

/* A bitmap that may be changed, its copy in the image marked; held. */
static BlockBitmap *get_to_change(BlockNode *n, const char *name, Error **errp)
{
    BlockBitmap *b = block_bitmap_get(n, name, errp);
    return b && block_bitmap_usable(b, errp) && begin_change(b, errp) ? b : NULL;
}

bool block_bitmap_cmd_clear(BlockNode *n, const char *name, Error **errp)
{
    BlockBitmap *b = get_to_change(n, name, errp);
    if (b) {
        block_bitmap_clear(b);
        let_go(b, false);
    }
    return b != NULL;
}

bool block_bitmap_cmd_record(BlockNode *n, const char *name, bool on, Error **errp)
{
    BlockBitmap *b = get_to_change(n, name, errp);
    if (b) {
        block_bitmap_set_recording(b, on);
        let_go(b, false);
    }
    return b != NULL;
}

bool block_bitmap_cmd_merge(BlockNode *n, const char *name, BlockBitmap *const *from, unsigned count,
                            Error **errp)
{
    for (unsigned i = 0; i < count; i++) {
        if (!block_bitmap_usable(from[i], errp)) {
            return false;
        }
        if (block_size(from[i]->node) != block_size(n)) {
            return error_fail(errp, "conflict", "bitmaps", "merge bitmaps of nodes of one size",
                              "Bitmaps are of different sizes (destination size is %" PRId64
                              " and source size is %" PRId64 ") and can't be merged",
                              block_size(n), block_size(from[i]->node));
        }
    }
    BlockBitmap *b = block_bitmap_get(n, name, errp);
    if (!b || !block_bitmap_usable(b, errp)) { /* before any is held: it may be one of `from` */
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        hold(from[i]);
    }
    bool ok = begin_change(b, errp);
    for (unsigned i = 0; ok && i < count; i++) {
        block_bitmap_merge(b, from[i]);
    }
    if (ok) {
        let_go(b, false);
    }
    for (unsigned i = 0; i < count; i++) {
        let_go(from[i], false);
    }
    return ok;
}
