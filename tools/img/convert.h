/* SPDX-License-Identifier: MIT
 * tools/img/convert.h - what convert and dd share: the copy of images to another.
 */
#ifndef TOOLS_IMG_CONVERT_H
#define TOOLS_IMG_CONVERT_H

#include "img.h"

enum { CONVERT_MAX_REQUESTS = 16 };

typedef struct ConvertSource {
    BlockClient *c;
    int64_t start, size; /* its place in the whole */
} ConvertSource;

typedef struct Convert {
    Img *m;
    GArray *sources; /* ConvertSource */
    BlockClient *target;
    int64_t total, at; /* bytes; the next piece */
    int64_t cluster;   /* of the target; 0: it has none */
    int64_t sparse;    /* so many zeros make a gap; 0: everything is written */
    uint64_t rate;     /* bytes a second at most; 0: no limit */
    int64_t
        base_size; /* of the target's backing file; -1: it has none. Then only the top layers are copied. */
    bool compressed, any_order, target_zero, salvage, offload;
    /* Private. */
    int64_t piece; /* of data at a time */
    struct {
        int64_t end; /* what lies in front of it is known */
        int kind;
    } seen;
    unsigned running;
    uint64_t next_piece, next_write; /* order of pieces; whose turn it is to write */
    CoMutex order_lock;              /* protects nothing but the hand-over of turns */
    GQueue waiting;                  /* in order of pieces */
    int64_t done, copied, start_ns;
    int error;
    int64_t error_at;
    bool error_read;
} Convert;

/* Copies with so many requests at a time and flushes; the exit status, after a message if it is not 0. */
int convert_run(Convert *k, unsigned requests);

/* The image to write to: made first unless `no_create`. Options as convert's. */
typedef struct ConvertTarget {
    const char *name, *format, *cache, *backing, *backing_format;
    char *create;
    bool no_create, image_opts, is_zero, bitmaps;
} ConvertTarget;
bool convert_open_target(Convert *k, const ConvertTarget *t, Error **errp);

#endif
