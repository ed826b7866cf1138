/* SPDX-License-Identifier: MIT
 * block/blkdebug.c - blkdebug: errors, limits and stops where a test wants them.
 *
 * Models: QEMU's filter. The node above raises events (node_event()); a rule belongs to one and to a state.
 *         inject-error: from the event on requests fail, until an event activates other rules; set-state:
 *         the state is another one from the event on; a breakpoint stops the request that raised the event.
 *         align: the node below sees whole units only.
 * Threads: any; `lock` protects rules and state and is not held across a yield. Breakpoints are the main
 *          loop's.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1024 * 1024, FIRST_STATE = 1, MEMORY_ALIGN = 4096 };

typedef struct Rule {
    enum { INJECT, SET_STATE, SUSPEND } action;
    BlkdebugEvent event;
    int64_t state, new_state, sector; /* state 0, sector -1: any */
    int error;
    unsigned types; /* a bit for each BlkdebugIoType */
    bool once, immediately, active;
    char *tag;
} Rule;

typedef struct Suspended {
    char *tag;
    Co *co;
    Loop *loop;
} Suspended;

typedef struct Blkdebug {
    pthread_mutex_t lock;
    GPtrArray *rules;
    GPtrArray *suspended; /* of Suspended, on their coroutines' stacks */
    int64_t state;
    int64_t align, max_transfer, opt_discard, max_discard;
    CoRangeLock ranges; /* who reads and writes back parts of units */
} Blkdebug;

/* ---- rules ---- */

static void rule_free(void *opaque)
{
    Rule *r = opaque;
    g_free(r->tag);
    g_free(r);
}

static void add_inject(Blkdebug *s, const BlkdebugInjectError *o)
{
    Rule *r = g_new0(Rule, 1);
    *r = (Rule){ .action = INJECT,
                 .event = o->event,
                 .state = o->state,
                 .error = (int)o->errno_,
                 .sector = o->has_sector ? (int64_t)o->sector : -1,
                 .types = o->has_iotype ? 1u << o->iotype : ~(1u << BLKDEBUG_IO_TYPE_BLOCK_STATUS),
                 .once = o->once,
                 .immediately = o->immediately };
    g_ptr_array_add(s->rules, r);
}

static void add_set_state(Blkdebug *s, const BlkdebugSetState *o)
{
    Rule *r = g_new0(Rule, 1);
    *r = (Rule){ .action = SET_STATE, .event = o->event, .state = o->state, .new_state = o->new_state };
    g_ptr_array_add(s->rules, r);
}

/* ---- the configuration file: [inject-error] or [set-state], then NAME = "VALUE" ---- */

static bool config_section(Blkdebug *s, const char *section, const Json *o, Error **errp)
{
    if (!section) {
        return true;
    }
    bool inject = strcmp(section, "inject-error") == 0;
    const TypeDesc *type = inject ? &blkdebug_inject_error_type : &blkdebug_set_state_type;
    g_autofree void *decoded = g_malloc0(type->size);
    if (!type_decode(type, o, true, decoded, errp)) {
        error_prefix(errp, "[%s]", section);
        return false;
    }
    if (inject) {
        add_inject(s, decoded);
    } else {
        add_set_state(s, decoded);
    }
    type_clear(type, decoded);
    return true;
}

static bool config_line(char *line, char **key, char **value)
{
    char *eq = strchr(line, '=');
    if (!eq) {
        return false;
    }
    *eq = '\0';
    *key = g_strstrip(line);
    *value = g_strstrip(eq + 1);
    size_t n = strlen(*value);
    if (n < 2 || (*value)[0] != '"' || (*value)[n - 1] != '"') {
        return false;
    }
    (*value)[n - 1] = '\0';
    ++*value;
    return true;
}

static bool config_read(Blkdebug *s, const char *path, Error **errp)
{
    g_autofree char *text = NULL, *section = NULL;
    g_autoptr(GError) gerr = NULL;
    g_autoptr(Json) o = json_new_object();
    if (!g_file_get_contents(path, &text, NULL, &gerr)) {
        return error_set(errp, "blkdebug: %s", gerr->message);
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]), *key, *value;
        if (!*line || *line == '#') {
            continue;
        }
        if (*line != '[') {
            if (!section || !config_line(line, &key, &value)) {
                error_set(errp, "%s, line %u: not understood", path, i + 1);
                error_hint(errp, "a line is NAME = \"VALUE\", below [inject-error] or [set-state]");
                return false;
            }
            json_put(o, key, json_new_string(value));
            continue;
        }
        if (!config_section(s, section, o, errp)) {
            error_prefix(errp, "%s, before line %u", path, i + 1);
            return false;
        }
        g_free(section);
        section = g_strdup(g_strdelimit(line + 1, " ]", '\0'));
        if (strcmp(section, "inject-error") != 0 && strcmp(section, "set-state") != 0) {
            return error_set(errp, "%s, line %u: there is no group '%s'", path, i + 1, section);
        }
        json_unref(o);
        o = json_new_object();
    }
    if (!config_section(s, section, o, errp)) {
        error_prefix(errp, "%s, at its end", path);
        return false;
    }
    return true;
}

/* ---- open ---- */

static bool check_unit(const char *name, uint64_t v, int64_t align, Error **errp)
{
    return v % (uint64_t)align == 0 ||
           error_set(errp, "blkdebug: %s=%" PRIu64 " is not a multiple of %" PRId64, name, v, align);
}

static bool set_limits(BlockNode *n, Blkdebug *s, const BlockBlkdebug *o, Error **errp)
{
    s->align = o->has_align ? (int64_t)o->align : 1;
    if (s->align & (s->align - 1)) {
        return error_set(errp, "blkdebug: align=%" PRId64 " is not a power of two", s->align);
    }
    if (!check_unit("max-transfer", o->max_transfer, s->align, errp) ||
        !check_unit("opt-write-zero", o->opt_write_zero, s->align, errp) ||
        !check_unit("max-write-zero", o->max_write_zero, MAX((int64_t)o->opt_write_zero, s->align), errp) ||
        !check_unit("opt-discard", o->opt_discard, s->align, errp) ||
        !check_unit("max-discard", o->max_discard, MAX((int64_t)o->opt_discard, s->align), errp)) {
        return false;
    }
    s->max_transfer = (int64_t)o->max_transfer;
    s->opt_discard = MAX((int64_t)o->opt_discard, 1);
    s->max_discard = o->max_discard ? (int64_t)o->max_discard : BLOCK_MAX_SIZE;
    n->zero_align = MAX(n->zero_align, MAX(s->align, (int64_t)o->opt_write_zero));
    n->max_zeroes = o->max_write_zero ? MIN(n->max_zeroes, (int64_t)o->max_write_zero) : n->max_zeroes;
    return true;
}

static unsigned perms(const BlockPermission *items, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum |= 1u << items[i]; /* the enum has the order of BLOCK_PERM_ */
    }
    return sum;
}

static void event_mark(Blkdebug *s, BlkdebugEvent e, GPtrArray *stops);

static bool blkdebug_open(BlockNode *n, const BlockdevOptions *all, bool from_text, Error **errp)
{
    Blkdebug *s = n->state;
    const BlockBlkdebug *o = &all->u.blkdebug;
    pthread_mutex_init(&s->lock, NULL);
    co_range_init(&s->ranges);
    s->rules = g_ptr_array_new_with_free_func(rule_free);
    s->suspended = g_ptr_array_new();
    s->state = FIRST_STATE;
    n->child_perm = perms(o->take_child_perms.items, o->take_child_perms.n);
    n->child_unshared = perms(o->unshare_child_perms.items, o->unshare_child_perms.n);
    if (o->config && !config_read(s, o->config, errp)) {
        return false;
    }
    for (size_t i = 0; i < o->inject_error.n; i++) {
        add_inject(s, &o->inject_error.items[i]);
    }
    for (size_t i = 0; i < o->set_state.n; i++) {
        add_set_state(s, &o->set_state.items[i]);
    }
    if (!filter_open(n, "image", o->image, from_text, errp) || !set_limits(n, s, o, errp)) {
        return false;
    }
    event_mark(s, BLKDEBUG_EVENT_NONE, NULL);
    return true;
}

static void blkdebug_close(BlockNode *n)
{
    Blkdebug *s = n->state;
    g_ptr_array_free(s->rules, TRUE);
    g_ptr_array_free(s->suspended, TRUE);
    co_range_fini(&s->ranges);
    pthread_mutex_destroy(&s->lock);
}

/* ---- events ---- */

/* Rules of the event change what is active, then the state. Tags of breakpoints go to `stops`. */
static void event_mark(Blkdebug *s, BlkdebugEvent e, GPtrArray *stops)
{
    bool first = true;
    int64_t state = s->state;
    for (guint i = 0; i < s->rules->len; i++) {
        Rule *r = s->rules->pdata[i];
        if (r->event != e || (r->state && r->state != s->state)) {
            continue;
        }
        if (r->action == SET_STATE) {
            state = r->new_state;
        } else if (r->action == SUSPEND && stops) {
            g_ptr_array_add(stops, g_strdup(r->tag));
            g_ptr_array_remove_index(s->rules, i--); /* it stops one request */
        } else if (r->action == INJECT) {
            for (guint k = 0; first && k < s->rules->len; k++) {
                ((Rule *)s->rules->pdata[k])->active = false;
            }
            first = false;
            r->active = true;
        }
    }
    s->state = state;
}

void block_debug_set_say(BlockGraph *g, BlockDebugSay *fn, void *opaque)
{
    role_assert_main();
    g->debug_say = fn;
    g->debug_opaque = opaque;
}

static void debug_say(const BlockNode *n, const char *tag, bool stopped)
{
    if (n->graph->debug_say) {
        n->graph->debug_say(n->graph->debug_opaque, tag, stopped);
    }
}

static void suspend(BlockNode *n, char *tag)
{
    Blkdebug *s = n->state;
    Suspended me = { .tag = tag, .co = co_self(), .loop = co_loop() };
    pthread_mutex_lock(&s->lock);
    g_ptr_array_add(s->suspended, &me);
    pthread_mutex_unlock(&s->lock);
    debug_say(n, tag, true);
    co_yield ();
    debug_say(n, tag, false);
}

static void blkdebug_event(BlockNode *n, BlkdebugEvent e)
{
    Blkdebug *s = n->state;
    g_autoptr(GPtrArray) stops = g_ptr_array_new_with_free_func(g_free);
    pthread_mutex_lock(&s->lock);
    event_mark(s, e, stops);
    pthread_mutex_unlock(&s->lock);
    for (guint i = 0; i < stops->len; i++) {
        suspend(n, stops->pdata[i]);
    }
}

/* ---- breakpoints ---- */

static Blkdebug *find(BlockNode *n)
{
    for (; n; n = block_file(n)) {
        if (n->driver == &block_blkdebug_driver) {
            return n->state;
        }
    }
    return NULL;
}

int block_debug_break(BlockNode *n, const char *event, const char *tag)
{
    Blkdebug *s = find(n);
    int e = type_enum_value(blkdebug_event_names, event);
    if (!s || e < 0) {
        return s ? -ENOENT : -ENOTSUP;
    }
    Rule *r = g_new0(Rule, 1);
    *r = (Rule){ .action = SUSPEND, .event = (BlkdebugEvent)e, .tag = g_strdup(tag) };
    pthread_mutex_lock(&s->lock);
    g_ptr_array_add(s->rules, r);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int block_debug_resume(BlockNode *n, const char *tag)
{
    Blkdebug *s = find(n);
    int r = s ? -ENOENT : -ENOTSUP;
    for (guint i = 0; s && i < s->suspended->len;) {
        Suspended *q = s->suspended->pdata[i];
        if (tag && strcmp(q->tag, tag) != 0) {
            i++;
            continue;
        }
        pthread_mutex_lock(&s->lock);
        g_ptr_array_remove_index(s->suspended, i);
        pthread_mutex_unlock(&s->lock);
        if (loop_is_current(q->loop)) { /* then it has yielded */
            co_resume(q->co);
        } else {
            co_wake(q->co);
        }
        r = 0;
        if (tag) {
            break;
        }
    }
    return r;
}

int block_debug_remove_break(BlockNode *n, const char *tag)
{
    Blkdebug *s = find(n);
    int r = s ? -ENOENT : -ENOTSUP;
    pthread_mutex_t *lock = s ? &s->lock : NULL;
    if (lock) {
        pthread_mutex_lock(lock);
    }
    for (guint i = 0; s && i < s->rules->len; i++) {
        const Rule *rule = s->rules->pdata[i];
        if (rule->action == SUSPEND && (!tag || strcmp(rule->tag, tag) == 0)) {
            g_ptr_array_remove_index(s->rules, i--);
            r = 0;
        }
    }
    if (lock) {
        pthread_mutex_unlock(lock);
    }
    /* Those that it has stopped go on. */
    return block_debug_resume(n, tag) == 0 ? 0 : r;
}

bool block_debug_is_suspended(BlockNode *n, const char *tag)
{
    Blkdebug *s = find(n);
    bool found = false;
    if (!s) {
        return false;
    }
    pthread_mutex_lock(&s->lock);
    for (guint i = 0; i < s->suspended->len; i++) {
        found = found || strcmp(((Suspended *)s->suspended->pdata[i])->tag, tag) == 0;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

bool block_debug_there(BlockNode *n)
{
    return find(n) != NULL;
}

/* ---- errors ---- */

/* 0, or what a rule says about such a request. */
static int verdict(Blkdebug *s, BlkdebugIoType type, int64_t off, int64_t bytes)
{
    int r = 0;
    bool immediately = false;
    pthread_mutex_lock(&s->lock);
    for (guint i = 0; i < s->rules->len && !r; i++) {
        const Rule *rule = s->rules->pdata[i];
        int64_t at = rule->sector * 512;
        if (rule->action == INJECT && rule->active && rule->types >> type & 1 &&
            (rule->sector < 0 || (off <= at && at < off + bytes))) {
            r = -rule->error;
            immediately = rule->immediately;
            if (rule->once) {
                g_ptr_array_remove_index(s->rules, i);
            }
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (r && !immediately) { /* as a real one: not in the same turn */
        co_wake(co_self());
        co_yield ();
    }
    return r;
}

/* ---- reads and writes in whole units ---- */

static int below_read(BlockNode *n, int64_t off, IoVec *v)
{
    int r = verdict(n->state, BLKDEBUG_IO_TYPE_READ, off, (int64_t)v->bytes);
    return r ? r : filter_preadv(n, off, v, 0);
}

static int below_write(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV);
    int r = verdict(n->state, BLKDEBUG_IO_TYPE_WRITE, off, (int64_t)v->bytes);
    r = r ? r : filter_pwritev(n, off, v, flags);
    blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV_DONE);
    return r;
}

/* The parts of the first and the last unit of [from, to) that [off, end) does not cover. */
static int read_around(BlockNode *n, uint8_t *buf, int64_t from, int64_t off, int64_t end, int64_t to)
{
    const Blkdebug *s = n->state;
    int64_t last = (end - 1) & -s->align;
    int r = 0;
    IoVec v;
    if (from < off) {
        blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV_RMW_HEAD);
        iov_init_buf(&v, buf, (size_t)MIN(s->align, to - from));
        r = below_read(n, from, &v);
        blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_HEAD);
    }
    if (r == 0 && end < to && !(from < off && last == from)) {
        blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV_RMW_TAIL);
        iov_init_buf(&v, buf + (last - from), (size_t)(to - last));
        r = below_read(n, last, &v);
        blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_TAIL);
    }
    return r;
}

/* One piece, not aligned: through a buffer. */
static int bounce(BlockNode *n, bool write, int64_t off, IoVec *v)
{
    Blkdebug *s = n->state;
    int64_t end = off + (int64_t)v->bytes, from = off & -s->align,
            to = MIN((end + s->align - 1) & -s->align, MAX(block_size(n->file->node), end));
    uint8_t *buf = aligned_alloc(MEMORY_ALIGN, (size_t)((to - from + MEMORY_ALIGN) & -(int64_t)MEMORY_ALIGN));
    if (!buf) {
        return -ENOMEM;
    }
    IoVec all;
    int r;
    iov_init_buf(&all, buf, (size_t)(to - from));
    if (write) {
        r = read_around(n, buf, from, off, end, to);
        iov_to_buf(v, 0, buf + (off - from), v->bytes);
        r = r ? r : below_write(n, from, &all, 0);
    } else {
        r = below_read(n, from, &all);
        iov_from_buf(v, 0, buf + (off - from), v->bytes);
    }
    free(buf);
    return r;
}

static int piece_rw(BlockNode *n, bool write, int64_t off, IoVec *v, unsigned flags)
{
    Blkdebug *s = n->state;
    int64_t end = off + (int64_t)v->bytes;
    bool whole = !((off | end) & (s->align - 1));
    if (!write) {
        return whole ? below_read(n, off, v) : bounce(n, false, off, v);
    }
    CoRange range;
    co_range_claim(&s->ranges, &range, off & -s->align, (end + s->align - 1) & -s->align, !whole);
    int r = whole ? below_write(n, off, v, flags) : bounce(n, true, off, v);
    co_range_release(&s->ranges, &range);
    return r;
}

static int blkdebug_rw(BlockNode *n, bool write, int64_t off, IoVec *v, unsigned flags)
{
    const Blkdebug *s = n->state;
    int64_t bytes = (int64_t)v->bytes, at = 0, most = s->max_transfer ? s->max_transfer : INT64_MAX;
    if ((off | bytes) & (s->align - 1)) {
        most = MIN(most, MAX(PIECE, s->align)); /* of those that go through a buffer */
    }
    int64_t unit = s->align;
    if (((off + bytes + unit - 1) & -unit) - (off & -unit) <= most) {
        return piece_rw(n, write, off, v, flags);
    }
    int r = 0;
    while (at < bytes && r == 0) {
        /* Ends at a unit's end, so that only the first and the last piece have parts of units. */
        int64_t len = MIN(bytes - at, ((off + at) & -unit) + most - (off + at));
        IoVec piece;
        iov_init(&piece);
        iov_add_slice(&piece, v, (size_t)at, (size_t)len);
        r = piece_rw(n, write, off + at, &piece, flags);
        iov_fini(&piece);
        at += len;
    }
    return r;
}

static int blkdebug_preadv(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return blkdebug_rw(n, false, off, v, flags);
}

static int blkdebug_pwritev(BlockNode *n, int64_t off, IoVec *v, unsigned flags)
{
    return blkdebug_rw(n, true, off, v, flags);
}

static int blkdebug_write_zeroes(BlockNode *n, int64_t off, int64_t bytes, unsigned flags)
{
    Blkdebug *s = n->state;
    CoRange range;
    blkdebug_event(n, BLKDEBUG_EVENT_PWRITEV_ZERO);
    int r = verdict(s, BLKDEBUG_IO_TYPE_WRITE_ZEROES, off, bytes);
    if (r) {
        return r;
    }
    co_range_claim(&s->ranges, &range, off, off + bytes, false);
    r = filter_write_zeroes(n, off, bytes, flags);
    co_range_release(&s->ranges, &range);
    return r;
}

static int blkdebug_discard(BlockNode *n, int64_t off, int64_t bytes)
{
    Blkdebug *s = n->state;
    int64_t end = off + bytes, from = (off + s->opt_discard - 1) / s->opt_discard * s->opt_discard,
            to = end == block_size(n) ? end : end / s->opt_discard * s->opt_discard;
    int r = verdict(s, BLKDEBUG_IO_TYPE_DISCARD, off, bytes);
    while (r == 0 && from < to) {
        int64_t len = MIN(to - from, s->max_discard);
        CoRange range;
        co_range_claim(&s->ranges, &range, from, from + len, false);
        r = filter_discard(n, from, len);
        co_range_release(&s->ranges, &range);
        from += len;
    }
    return r;
}

static int blkdebug_flush(BlockNode *n)
{
    int r = verdict(n->state, BLKDEBUG_IO_TYPE_FLUSH, 0, 0);
    return r ? r : filter_flush(n);
}

static int blkdebug_extent(BlockNode *n, int64_t off, int64_t bytes, BlockExtent *out)
{
    int r = verdict(n->state, BLKDEBUG_IO_TYPE_BLOCK_STATUS, off, bytes);
    return r ? r : filter_extent(n, off, bytes, out);
}

const BlockDriver block_blkdebug_driver = {
    .name = "blkdebug",
    .state_size = sizeof(Blkdebug),
    .filter = true,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .event = blkdebug_event,
    .preadv = blkdebug_preadv,
    .pwritev = blkdebug_pwritev,
    .write_zeroes = blkdebug_write_zeroes,
    .discard = blkdebug_discard,
    .flush = blkdebug_flush,
    .extent = blkdebug_extent,
    .truncate = filter_truncate,
};
