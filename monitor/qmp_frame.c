/* SPDX-License-Identifier: MIT
 * monitor/qmp_frame.c - cuts a stream of bytes into JSON texts, within limits; survives nonsense.
 *
 * Models: messages follow each other with or without blanks between. An error ends at the next line, or where
 *         the next object begins; byte 0xff, which no JSON text holds, drops what was begun. A message that
 *         passes a limit is told at once, then dropped up to its end.
 * Does not model: JSON itself: a text with balanced brackets is a message, util/json-parse.c reads it.
 * Threads: any; the framer belongs to its session.
 */
#include "qmp_frame.h"
#include "rhea/util/errorcode.h"
#include <string.h>

enum { RESET_BYTE = 0xff };

void qmp_framer_init(QmpFramer *f)
{
    *f = (QmpFramer){ .text = g_string_new(NULL) };
}

void qmp_framer_fini(QmpFramer *f)
{
    g_string_free(f->text, TRUE);
    f->text = NULL;
}

/* What a long message took is given back. */
static void drop_text(QmpFramer *f)
{
    if (f->text->allocated_len > 64 << 10) {
        g_string_free(f->text, TRUE);
        f->text = g_string_new(NULL);
    }
    g_string_truncate(f->text, 0);
}

static void begin(QmpFramer *f, QmpFrameState state)
{
    drop_text(f);
    f->state = state;
    f->depth = f->tokens = 0;
    f->curly = 0;
    f->quote = 0;
    f->escaped = f->skipping = false;
}

void qmp_framer_reset(QmpFramer *f)
{
    begin(f, QMP_BETWEEN);
}

static QmpFrameResult fail(QmpFramer *f, QmpFrameState next, Error **errp, const char *what)
{
    error_set(errp, "invalid JSON: %s", what);
    begin(f, next);
    return QMP_ERROR;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static QmpFrameResult over_limit(QmpFramer *f, Error **errp, const char *what, unsigned limit)
{
    error_fail(errp, "too-many", NULL, NULL, "message has more than %u %s; it is dropped", limit, what);
    drop_text(f);
    f->skipping = true;
    return QMP_ERROR;
}

/* Keeps a byte of the message. */
static QmpFrameResult keep(QmpFramer *f, uint8_t c, Error **errp)
{
    if (f->skipping) {
        return QMP_MORE;
    }
    if (f->text->len == QMP_TEXT_MAX) {
        return over_limit(f, errp, "bytes", QMP_TEXT_MAX);
    }
    g_string_append_c(f->text, c);
    return QMP_MORE;
}

static QmpFrameResult count_token(QmpFramer *f, Error **errp)
{
    if (!f->skipping && ++f->tokens > QMP_TOKENS_MAX) {
        return over_limit(f, errp, "tokens", QMP_TOKENS_MAX);
    }
    return QMP_MORE;
}

/* The message is whole, or was dropped. r: what its last byte gave. */
static QmpFrameResult finish(QmpFramer *f, QmpFrameResult r)
{
    f->state = QMP_BETWEEN;
    f->depth = 0;
    return r == QMP_ERROR || f->skipping ? r : QMP_MESSAGE;
}

static QmpFrameResult string_byte(QmpFramer *f, uint8_t c, Error **errp)
{
    if (c < 0x20) {
        return fail(f, c == '\n' ? QMP_BETWEEN : QMP_RECOVER, errp, "control character in a string");
    }
    QmpFrameResult r = keep(f, c, errp);
    if (f->escaped) {
        f->escaped = false;
    } else if (c == '\\') {
        f->escaped = true;
    } else if (c == f->quote) {
        f->quote = 0;
        return f->depth ? r : finish(f, r);
    }
    return r;
}

static QmpFrameResult open_bracket(QmpFramer *f, uint8_t c, Error **errp)
{
    f->state = QMP_INSIDE;
    if (f->depth < 64) {
        f->curly = (f->curly & ~(UINT64_C(1) << f->depth)) | (uint64_t)(c == '{') << f->depth;
    }
    f->depth = MIN(f->depth + 1, UINT_MAX - 1);
    if (f->depth > QMP_DEPTH_MAX && !f->skipping) {
        return over_limit(f, errp, "levels of nesting", QMP_DEPTH_MAX);
    }
    return keep(f, c, errp);
}

static QmpFrameResult close_bracket(QmpFramer *f, uint8_t c, Error **errp)
{
    if (!f->depth) {
        return fail(f, QMP_RECOVER, errp, c == '}' ? "'}' without '{'" : "']' without '['");
    }
    unsigned at = f->depth - 1;
    if (at < 64 && (bool)(f->curly >> at & 1) != (c == '}')) {
        return fail(f, QMP_RECOVER, errp, c == '}' ? "'}' closes '['" : "']' closes '{'");
    }
    QmpFrameResult r = keep(f, c, errp);
    f->depth--;
    return f->depth ? r : finish(f, r);
}

static QmpFrameResult inside_byte(QmpFramer *f, uint8_t c, Error **errp)
{
    QmpFrameResult r;
    if (c < 0x20 && !is_blank(c)) {
        return fail(f, QMP_RECOVER, errp, "control character");
    }
    switch (c) {
    case '"':
    case '\'':
        f->state = QMP_INSIDE;
        f->quote = c;
        r = keep(f, c, errp);
        return r == QMP_MORE ? count_token(f, errp) : r;
    case '{':
    case '[': return open_bracket(f, c, errp);
    case '}':
    case ']': return close_bracket(f, c, errp);
    case ',':
    case ':':
        r = keep(f, c, errp);
        return r == QMP_MORE ? count_token(f, errp) : r;
    default: return keep(f, c, errp);
    }
}

/* A word that stands alone ends where anything else begins, which is not taken then. */
static bool ends_word(uint8_t c)
{
    return is_blank(c) || c < 0x20 || c == '{' || c == '[' || c == '"' || c == '\'';
}

static QmpFrameResult feed_byte(QmpFramer *f, uint8_t c, bool *taken, Error **errp)
{
    if (c == RESET_BYTE) {
        bool busy = f->state == QMP_WORD || f->state == QMP_INSIDE;
        if (busy && !f->skipping) {
            return fail(f, QMP_BETWEEN, errp, "a message was broken off by byte 0xff");
        }
        begin(f, QMP_BETWEEN);
        return QMP_MORE;
    }
    switch (f->state) {
    case QMP_RECOVER:
        if (c == '{') {
            begin(f, QMP_BETWEEN);
            *taken = false;
        } else if (c == '\n') {
            begin(f, QMP_BETWEEN);
        }
        return QMP_MORE;
    case QMP_BETWEEN:
        begin(f, QMP_BETWEEN);
        if (is_blank(c)) {
            return QMP_MORE;
        }
        if (strchr("{[}]\"'", c) || c < 0x20) {
            return inside_byte(f, c, errp);
        }
        f->state = QMP_WORD;
        return keep(f, c, errp);
    case QMP_WORD:
        if (!ends_word(c)) {
            return keep(f, c, errp);
        }
        *taken = false;
        return finish(f, QMP_MORE);
    case QMP_INSIDE:
        return f->quote ? string_byte(f, c, errp) : inside_byte(f, c, errp);
    }
    return QMP_MORE;
}

QmpFrameResult qmp_framer_feed(QmpFramer *f, const uint8_t **at, const uint8_t *end, Error **errp)
{
    while (*at < end) {
        bool taken = true;
        QmpFrameResult r = feed_byte(f, **at, &taken, errp);
        *at += taken;
        if (r != QMP_MORE) {
            return r;
        }
    }
    return QMP_MORE;
}
