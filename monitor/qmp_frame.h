/* SPDX-License-Identifier: MIT
 * monitor/qmp_frame.h - cuts a stream of bytes into JSON texts.
 */
#ifndef MONITOR_QMP_FRAME_H
#define MONITOR_QMP_FRAME_H

#include "rhea/util/error.h"
#include <stdint.h>

enum {
    QMP_TEXT_MAX = 16 << 20, /* bytes of one message */
    QMP_DEPTH_MAX = 64,
    QMP_TOKENS_MAX = 1 << 18, /* values, members and separators */
};

typedef enum QmpFrameState {
    QMP_BETWEEN, /* nothing has begun */
    QMP_WORD,    /* a word or number that stands alone */
    QMP_INSIDE,  /* an object or array is open */
    QMP_RECOVER, /* after an error: to the next line, or the next object */
} QmpFrameState;

typedef struct QmpFramer {
    GString *text;
    QmpFrameState state;
    unsigned depth, tokens;
    uint64_t curly; /* bit k: the container at depth k is an object */
    uint8_t quote;  /* inside a string: what ends it; 0: outside */
    bool escaped;   /* behind a backslash */
    bool skipping;  /* a limit was passed: the rest of the message is dropped */
} QmpFramer;

typedef enum QmpFrameResult { QMP_MORE, QMP_MESSAGE, QMP_ERROR } QmpFrameResult;

void qmp_framer_init(QmpFramer *f);
void qmp_framer_fini(QmpFramer *f);
void qmp_framer_reset(QmpFramer *f);
/* Takes bytes from [*at, end) until a message is whole, which is then f->text until the next call, or
 * something is wrong with them, which *errp says; or all are taken. Each message and each error is told
 * once. */
QmpFrameResult qmp_framer_feed(QmpFramer *f, const uint8_t **at, const uint8_t *end, Error **errp);

#endif
