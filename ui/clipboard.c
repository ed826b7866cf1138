/* SPDX-License-Identifier: MIT
 * ui/clipboard.c - text that was copied: one for each machine, and who shares it. Threads: main loop.
 */
#include "rhea/ui/clipboard.h"

#include <string.h>

typedef struct Board {
    GPtrArray *peers; /* ClipboardPeer * */
    GString *text;    /* NULL: none yet */
} Board;
static GHashTable *boards; /* Machine * -> Board *; NULL: nobody has joined */

static Board *board_of(const Machine *m)
{
    return boards ? g_hash_table_lookup(boards, m) : NULL;
}

static void board_free(void *opaque)
{
    Board *b = opaque;
    g_ptr_array_free(b->peers, TRUE);
    if (b->text) {
        g_string_free(b->text, TRUE);
    }
    g_free(b);
}

void clipboard_join(Machine *m, ClipboardPeer *p)
{
    role_assert_main();
    Board *b = board_of(m);
    if (!b) {
        boards = boards ? boards : g_hash_table_new_full(NULL, NULL, NULL, board_free);
        b = g_new0(Board, 1);
        b->peers = g_ptr_array_new();
        g_hash_table_insert(boards, m, b);
    }
    p->machine = m;
    g_ptr_array_add(b->peers, p);
}

void clipboard_leave(ClipboardPeer *p)
{
    Board *b = p->machine ? board_of(p->machine) : NULL;
    if (!b) {
        return;
    }
    g_ptr_array_remove(b->peers, p);
    if (!b->peers->len) {
        g_hash_table_remove(boards, p->machine);
        if (!g_hash_table_size(boards)) {
            g_clear_pointer(&boards, g_hash_table_unref);
        }
    }
    p->machine = NULL;
}

bool clipboard_is_shared(const ClipboardPeer *p)
{
    const Board *b = p->machine ? board_of(p->machine) : NULL;
    for (guint i = 0; b && i < b->peers->len; i++) {
        const ClipboardPeer *other = b->peers->pdata[i];
        if (other->guest) {
            return true;
        }
    }
    return false;
}

bool clipboard_put(ClipboardPeer *from, const char *text, size_t len)
{
    Board *b = board_of(from->machine);
    if (!clipboard_is_shared(from) || len > CLIPBOARD_MAX || !g_utf8_validate(text, (gssize)len, NULL) ||
        (b->text && b->text->len == len && memcmp(b->text->str, text, len) == 0)) {
        return false;
    }
    if (b->text) {
        g_string_truncate(b->text, 0);
        g_string_append_len(b->text, text, (gssize)len);
    } else {
        b->text = g_string_new_len(text, (gssize)len);
    }
    for (guint i = 0; i < b->peers->len; i++) {
        ClipboardPeer *p = b->peers->pdata[i];
        if (p != from) {
            p->changed(p);
        }
    }
    return true;
}

const char *clipboard_text(Machine *m, size_t *len)
{
    const Board *b = board_of(m);
    *len = b && b->text ? b->text->len : 0;
    return b && b->text ? b->text->str : NULL;
}
