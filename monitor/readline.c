/* SPDX-License-Identifier: MIT
 * monitor/readline.c - a line editor over a byte stream: keys, history, completion.
 *
 * Models: ECMA-48 cursor sequences as xterm sends them (CSI A..D, H, F, 1~, 3~, 4~; SS3 H, F), and the Emacs
 * control keys most shells have.
 * Does not model: wide characters (each byte counts as a column), lines longer than the screen.
 * Threads: one at a time, the owner's.
 */
#include "readline.h"
#include <string.h>

#define CTRL(c) ((c)-'a' + 1)

typedef enum EscState { ESC_NONE, ESC_START, ESC_CSI, ESC_SS3 } EscState;

struct Readline {
    const ReadlineOps *ops;
    void *opaque;
    char *prompt;
    char buf[READLINE_MAX + 1];
    unsigned len, pos;
    unsigned shown;       /* columns on screen behind the prompt */
    EscState esc;
    unsigned esc_param;
    bool after_tab, after_cr;
    char *history[READLINE_HISTORY];
    unsigned n_history, at_history; /* == n_history: the line being typed */
    char *typed;          /* kept while walking the history */
};

static void put(Readline *r, const char *text, size_t len)
{
    r->ops->write(r->opaque, text, len);
}

Readline *readline_new(const char *prompt, const ReadlineOps *ops, void *opaque)
{
    Readline *r = g_new0(Readline, 1);
    r->prompt = g_strdup(prompt);
    r->ops = ops;
    r->opaque = opaque;
    return r;
}

void readline_free(Readline *r)
{
    for (unsigned i = 0; i < r->n_history; i++) {
        g_free(r->history[i]);
    }
    g_free(r->typed);
    g_free(r->prompt);
    g_free(r);
}

const char *readline_history(const Readline *r, unsigned i)
{
    return i < r->n_history ? r->history[i] : NULL;
}

/* Rewrites the line from column `from` on and puts the cursor where it belongs. */
static void redraw(Readline *r, unsigned from)
{
    GString *s = g_string_new(NULL);
    g_string_append_len(s, r->buf + from, r->len - from);
    if (r->shown > r->len) {
        g_string_append(s, "\033[K");
    }
    if (r->len > r->pos) {
        g_string_append_printf(s, "\033[%uD", r->len - r->pos);
    }
    r->shown = r->len;
    put(r, s->str, s->len);
    g_string_free(s, TRUE);
}

static void move_to(Readline *r, unsigned pos)
{
    char seq[24];
    if (pos != r->pos) {
        int n = g_snprintf(seq, sizeof(seq), "\033[%u%c", pos > r->pos ? pos - r->pos : r->pos - pos,
                           pos > r->pos ? 'C' : 'D');
        put(r, seq, n);
        r->pos = pos;
    }
}

void readline_show(Readline *r)
{
    put(r, r->prompt, strlen(r->prompt));
    r->shown = 0;
    redraw(r, 0);
}

void readline_reset(Readline *r)
{
    r->len = r->pos = r->shown = 0;
    r->esc = ESC_NONE;
    r->at_history = r->n_history;
}

static void insert(Readline *r, const char *text, unsigned n)
{
    n = MIN(n, READLINE_MAX - r->len);
    memmove(r->buf + r->pos + n, r->buf + r->pos, r->len - r->pos);
    memcpy(r->buf + r->pos, text, n);
    r->len += n;
    r->pos += n;
    redraw(r, r->pos - n);
}

static void delete_range(Readline *r, unsigned from, unsigned to)
{
    if (from >= to) {
        return;
    }
    move_to(r, from);
    memmove(r->buf + from, r->buf + to, r->len - to);
    r->len -= to - from;
    redraw(r, from);
}

static unsigned word_start(const Readline *r)
{
    unsigned i = r->pos;
    while (i && r->buf[i - 1] == ' ') {
        i--;
    }
    while (i && r->buf[i - 1] != ' ') {
        i--;
    }
    return i;
}

static void replace_line(Readline *r, const char *text)
{
    move_to(r, 0);
    r->len = r->pos = MIN(strlen(text), READLINE_MAX);
    memcpy(r->buf, text, r->len);
    redraw(r, 0);
}

static void history_add(Readline *r, const char *line)
{
    for (unsigned i = 0; i < r->n_history; i++) {
        if (g_str_equal(r->history[i], line)) { /* moves to the end */
            g_free(r->history[i]);
            memmove(&r->history[i], &r->history[i + 1], (r->n_history - i - 1) * sizeof(char *));
            r->n_history--;
            break;
        }
    }
    if (r->n_history == READLINE_HISTORY) {
        g_free(r->history[0]);
        memmove(&r->history[0], &r->history[1], (READLINE_HISTORY - 1) * sizeof(char *));
        r->n_history--;
    }
    r->history[r->n_history++] = g_strdup(line);
}

static void history_move(Readline *r, int by)
{
    if ((by < 0 && r->at_history == 0) || (by > 0 && r->at_history == r->n_history)) {
        return;
    }
    if (r->at_history == r->n_history) {
        g_free(r->typed);
        r->typed = g_strndup(r->buf, r->len);
    }
    r->at_history += by;
    replace_line(r, r->at_history < r->n_history ? r->history[r->at_history] : r->typed);
}

/* One candidate is inserted with a blank; several extend to what they share, a second tab lists them. */
static void complete(Readline *r)
{
    if (!r->ops->complete) {
        return;
    }
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *before = g_strndup(r->buf, r->pos);
    r->ops->complete(r->opaque, before, list);
    const char *blank = strrchr(before, ' ');
    const char *word = blank ? blank + 1 : before;
    size_t have = strlen(word);
    if (!list->len) {
        return;
    }
    const char *first = list->pdata[0];
    size_t common = strlen(first);
    for (guint i = 1; i < list->len; i++) {
        const char *other = list->pdata[i];
        size_t k = 0;
        while (k < common && first[k] == other[k]) {
            k++;
        }
        common = k;
    }
    if (common > have) {
        insert(r, first + have, common - have);
    }
    if (list->len == 1) {
        insert(r, " ", 1);
    } else if (r->after_tab) {
        put(r, "\n", 1);
        for (guint i = 0; i < list->len; i++) {
            g_autofree char *cell = g_strdup_printf("%-20s%s", (char *)list->pdata[i],
                                                    i % 4 == 3 || i + 1 == list->len ? "\n" : "");
            put(r, cell, strlen(cell));
        }
        readline_show(r);
    }
}

static void enter(Readline *r)
{
    char line[READLINE_MAX + 1];
    memcpy(line, r->buf, r->len);
    line[r->len] = 0;
    put(r, "\n", 1);
    if (line[strspn(line, " ")]) {
        history_add(r, line);
    }
    readline_reset(r);
    r->ops->line(r->opaque, line);
}

static void csi_key(Readline *r, uint8_t final)
{
    switch (final) {
    case 'A': history_move(r, -1); break;
    case 'B': history_move(r, 1); break;
    case 'C': move_to(r, MIN(r->pos + 1, r->len)); break;
    case 'D': move_to(r, r->pos ? r->pos - 1 : 0); break;
    case 'H': move_to(r, 0); break;
    case 'F': move_to(r, r->len); break;
    case '~':
        if (r->esc_param == 1 || r->esc_param == 7) {
            move_to(r, 0);
        } else if (r->esc_param == 4 || r->esc_param == 8) {
            move_to(r, r->len);
        } else if (r->esc_param == 3) {
            delete_range(r, r->pos, MIN(r->pos + 1, r->len));
        }
        break;
    default: /* other keys do nothing */
        break;
    }
}

/* True when the byte belonged to an escape sequence. */
static bool escape_byte(Readline *r, uint8_t byte)
{
    switch (r->esc) {
    case ESC_NONE:
        if (byte == 27) {
            r->esc = ESC_START;
            return true;
        }
        return false;
    case ESC_START:
        r->esc = byte == '[' ? ESC_CSI : byte == 'O' ? ESC_SS3 : ESC_NONE;
        r->esc_param = 0;
        return true;
    case ESC_SS3:
        r->esc = ESC_NONE;
        csi_key(r, byte);
        return true;
    case ESC_CSI:
        if (byte >= '0' && byte <= '9') {
            r->esc_param = MIN(r->esc_param * 10 + (byte - '0'), 999);
        } else if (byte >= 0x40 && byte <= 0x7e) { /* parameters and intermediates are below */
            r->esc = ESC_NONE;
            csi_key(r, byte);
        }
        return true;
    }
    return false;
}

static void plain_key(Readline *r, uint8_t byte)
{
    switch (byte) {
    case CTRL('a'): move_to(r, 0); break;
    case CTRL('b'): move_to(r, r->pos ? r->pos - 1 : 0); break;
    case CTRL('c'):
        put(r, "\n", 1);
        readline_reset(r);
        readline_show(r);
        break;
    case CTRL('d'): delete_range(r, r->pos, MIN(r->pos + 1, r->len)); break;
    case CTRL('e'): move_to(r, r->len); break;
    case CTRL('f'): move_to(r, MIN(r->pos + 1, r->len)); break;
    case '\t': complete(r); break;
    case CTRL('k'): delete_range(r, r->pos, r->len); break;
    case CTRL('l'):
        put(r, "\033[H\033[2J", 7);
        readline_show(r);
        break;
    case CTRL('n'): history_move(r, 1); break;
    case CTRL('p'): history_move(r, -1); break;
    case CTRL('u'): delete_range(r, 0, r->pos); break;
    case CTRL('w'): delete_range(r, word_start(r), r->pos); break;
    case 8:
    case 127: delete_range(r, r->pos ? r->pos - 1 : 0, r->pos); break;
    default:
        if (byte >= 32) {
            insert(r, (const char *)&byte, 1);
        }
        break;
    }
}

void readline_input(Readline *r, uint8_t byte)
{
    bool lf_of_crlf = r->after_cr && byte == '\n';
    r->after_cr = byte == '\r';
    if (lf_of_crlf || escape_byte(r, byte)) {
        return;
    }
    if (byte == '\r' || byte == '\n') {
        enter(r); /* r may be gone now */
        return;
    }
    plain_key(r, byte);
    r->after_tab = byte == '\t';
}
