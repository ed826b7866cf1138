/* SPDX-License-Identifier: MIT
 * accel/test/qtest.c - the line protocol by which a test outside the process plays the CPU.
 * Models: the documented qtest protocol: port and memory accesses of one size, blocks in hexadecimal and
 *   base64, memset, the clock by hand, interrupt interception, endianness. Replies "OK ..." or "FAIL ...".
 * Does not model: naming of interrupt lines beyond their number; registers of other architectures.
 * Threads: main loop. One line runs per task, so that what a command posted is done before the next one.
 */
#include "rhea/accel/test.h"
#include "rhea/util/text.h"

#include <inttypes.h>
#include <string.h>

enum { WORDS_MAX = 6, BLOCK_MAX = 16 << 20 };

struct Qtest {
    Machine *m;
    void (*send)(void *opaque, const char *line);
    void *opaque;
    GString *in;
    unsigned lines;        /* complete ones in `in` */
    bool skipping;         /* the rest of a line that was too long */
    bool stepping;         /* clock_step: until the clock shows `until` */
    int64_t until;
    Task next;
    Device *intercepted;
    unsigned observed;     /* lines of `intercepted` that are */
    const IrqSinkOps *sink_ops; /* what a walk over lines found */
};

static void reply(Qtest *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void reply(Qtest *q, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *line = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    q->send(q->opaque, line);
}

/* ---- arguments ---- */

static bool number(Qtest *q, const char *word, uint64_t max, uint64_t *v)
{
    Error *err = NULL;
    if (!word) {
        reply(q, "FAIL an argument is missing");
        return false;
    }
    if (!text_to_u64(word, v, &err)) {
        reply(q, "FAIL %s", error_text(err));
        error_free(err);
        return false;
    }
    if (*v > max) {
        reply(q, "FAIL %s is too large, the limit is 0x%" PRIx64, word, max);
        return false;
    }
    return true;
}

static const MemAttrs as_cpu = { .cpu = true };

static unsigned size_of_letter(char c)
{
    switch (c) {
    case 'b': return 1;
    case 'w': return 2;
    case 'l': return 4;
    case 'q': return 8;
    default: return 0;
    }
}

/* ---- one access ---- */

static void do_in(Qtest *q, char **w)
{
    uint64_t port, v;
    if (number(q, w[1], 0xffff, &port)) {
        as_load(&q->m->as_io, port, size_of_letter(w[0][2]), &v, as_cpu);
        reply(q, "OK 0x%04" PRIx64, v);
    }
}

static void do_out(Qtest *q, char **w)
{
    uint64_t port, v;
    if (number(q, w[1], 0xffff, &port) && number(q, w[2], UINT64_MAX, &v)) {
        as_store(&q->m->as_io, port, size_of_letter(w[0][3]), v, as_cpu);
        reply(q, "OK");
    }
}

static void do_readx(Qtest *q, char **w)
{
    uint64_t addr, v;
    if (number(q, w[1], UINT64_MAX, &addr)) {
        as_load(&q->m->as_mem, addr, size_of_letter(w[0][4]), &v, as_cpu);
        reply(q, "OK 0x%016" PRIx64, v);
    }
}

static void do_writex(Qtest *q, char **w)
{
    uint64_t addr, v;
    if (number(q, w[1], UINT64_MAX, &addr) && number(q, w[2], UINT64_MAX, &v)) {
        as_store(&q->m->as_mem, addr, size_of_letter(w[0][5]), v, as_cpu);
        reply(q, "OK");
    }
}

/* ---- blocks ---- */

static bool block_args(Qtest *q, char **w, uint64_t *addr, uint64_t *len)
{
    return number(q, w[1], UINT64_MAX, addr) && number(q, w[2], BLOCK_MAX, len);
}

static void do_read(Qtest *q, char **w)
{
    uint64_t addr, len;
    if (!block_args(q, w, &addr, &len)) {
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);
    as_access(&q->m->as_mem, addr, buf, len, false, as_cpu);
    GString *out = g_string_sized_new(2 * len + 8);
    g_string_append(out, "OK 0x");
    for (uint64_t i = 0; i < len; i++) {
        static const char digits[] = "0123456789abcdef";
        g_string_append_c(out, digits[buf[i] >> 4]);
        g_string_append_c(out, digits[buf[i] & 15]);
    }
    q->send(q->opaque, out->str);
    g_string_free(out, TRUE);
}

static void do_b64read(Qtest *q, char **w)
{
    uint64_t addr, len;
    if (!block_args(q, w, &addr, &len)) {
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);
    as_access(&q->m->as_mem, addr, buf, len, false, as_cpu);
    g_autofree char *text = g_base64_encode(buf, len);
    reply(q, "OK %s", text);
}

/* Fewer digits than asked for: the rest is zero. */
static void do_write(Qtest *q, char **w)
{
    uint64_t addr, len;
    if (!block_args(q, w, &addr, &len)) {
        return;
    }
    if (!w[3] || strncmp(w[3], "0x", 2) || strspn(w[3] + 2, "0123456789abcdefABCDEF") != strlen(w[3] + 2)) {
        reply(q, "FAIL the data must be 0x and hexadecimal digits");
        return;
    }
    g_autofree uint8_t *buf = g_malloc0(len + 1);
    const char *digits = w[3] + 2;
    for (uint64_t i = 0, n = strlen(digits) / 2; i < len && i < n; i++) {
        buf[i] =
            (uint8_t)(g_ascii_xdigit_value(digits[2 * i]) << 4 | g_ascii_xdigit_value(digits[2 * i + 1]));
    }
    as_access(&q->m->as_mem, addr, buf, len, true, as_cpu);
    reply(q, "OK");
}

static void do_b64write(Qtest *q, char **w)
{
    uint64_t addr, len;
    if (!block_args(q, w, &addr, &len)) {
        return;
    }
    if (!w[3]) {
        reply(q, "FAIL an argument is missing");
        return;
    }
    gsize have;
    g_autofree uint8_t *buf = g_base64_decode(w[3], &have);
    if (have != len) {
        reply(q, "FAIL %" G_GSIZE_FORMAT " bytes of data where %" PRIu64 " are announced", have, len);
        return;
    }
    as_access(&q->m->as_mem, addr, buf, len, true, as_cpu);
    reply(q, "OK");
}

static void do_memset(Qtest *q, char **w)
{
    uint64_t addr, len, v;
    if (!block_args(q, w, &addr, &len) || !number(q, w[3], 0xff, &v)) {
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);
    memset(buf, (int)v, len);
    as_access(&q->m->as_mem, addr, buf, len, true, as_cpu);
    reply(q, "OK");
}

static void do_endianness(Qtest *q, char **w G_GNUC_UNUSED)
{
    reply(q, "OK little");
}

/* ---- time: timers fire in loop turns, so a step goes on from task to task ---- */

static void step_to(Qtest *q, int64_t until)
{
    q->stepping = true;
    q->until = until;
    accel_test_set_clock(q->m, accel_test_next(q->m, until));
}

static bool need_clock(Qtest *q)
{
    if (!accel_test_clock(q->m)) {
        reply(q, "FAIL virtual time does not belong to the test: use -accel qtest");
        return false;
    }
    return true;
}

static void do_clock_step(Qtest *q, char **w)
{
    uint64_t ns;
    if (!need_clock(q)) {
        return;
    }
    int64_t now = clock_now(q->m->clock);
    if (!w[1]) { /* to the next timer, if there is one */
        int64_t due = loop_deadline(q->m->loop, q->m->clock);
        step_to(q, due == TIMER_OFF || due < now ? now : due);
    } else if (number(q, w[1], (uint64_t)(TIMER_OFF - 1 - now), &ns)) {
        step_to(q, now + (int64_t)ns);
    }
}

static void do_clock_set(Qtest *q, char **w)
{
    uint64_t ns;
    if (!need_clock(q) || !number(q, w[1], TIMER_OFF - 1, &ns)) {
        return;
    }
    if ((int64_t)ns < clock_now(q->m->clock)) {
        reply(q, "FAIL time does not run backwards");
        return;
    }
    step_to(q, (int64_t)ns);
}

/* ---- interrupt lines ---- */

static Device *find_below(Device *dev, const char *name)
{
    if (!g_strcmp0(dev->path, name) || !g_strcmp0(dev->id, name) || !strcmp(dev->type->name, name)) {
        return dev;
    }
    for (guint i = 0; i < dev->children->len; i++) {
        Device *found = find_below(dev->children->pdata[i], name);
        if (found) {
            return found;
        }
    }
    return NULL;
}

static Device *need_device(Qtest *q, const char *path)
{
    Device *dev = path ? find_below(q->m->root, path) : NULL;
    if (!dev) {
        reply(q, "FAIL no device '%s'", path ? path : "");
    }
    return dev;
}

static void observe(void *opaque, unsigned index, bool level)
{
    reply(opaque, "IRQ %s %u", level ? "raise" : "lower", index);
}

static void watch_line(Qtest *q, IrqLine *line, unsigned index)
{
    line->observer = observe;
    line->observer_opaque = q;
    line->observer_index = index;
    q->observed++;
}

/* Every exported line in the machine that leads to `to` itself. */
static void foreach_line_to(Qtest *q, Device *at, Device *to,
                            void (*fn)(Qtest *q, IrqLine *line, unsigned pin))
{
    for (guint i = 0; i < at->irqs->len; i++) {
        IrqLine *line = at->irqs->pdata[i];
        if (line->ops && line->sink == (void *)to) {
            fn(q, line, line->pin);
        }
    }
    for (guint i = 0; i < at->children->len; i++) {
        foreach_line_to(q, at->children->pdata[i], to, fn);
    }
}

static void do_intercept(Qtest *q, char **w)
{
    Device *dev = need_device(q, w[1]);
    if (!dev) {
        return;
    }
    if (q->intercepted && q->intercepted != dev) {
        reply(q, "FAIL lines of '%s' are intercepted already", q->intercepted->path);
        return;
    }
    q->observed = 0;
    if (!strcmp(w[0], "irq_intercept_out")) {
        for (guint i = 0; i < dev->irqs->len; i++) {
            watch_line(q, dev->irqs->pdata[i], i);
        }
    } else {
        foreach_line_to(q, q->m->root, dev, watch_line);
    }
    if (!q->observed) {
        reply(q, "FAIL device '%s' has no line that can be intercepted there", dev->path);
        return;
    }
    q->intercepted = dev;
    reply(q, "OK");
}

static void note_ops(Qtest *q, IrqLine *line, unsigned pin G_GNUC_UNUSED)
{
    q->sink_ops = line->ops;
}

static void do_set_irq_in(Qtest *q, char **w)
{
    uint64_t pin, level;
    Device *dev = need_device(q, w[1]);
    if (!dev || !number(q, w[3], 1023, &pin) || !number(q, w[4], 1, &level)) {
        return;
    }
    q->sink_ops = NULL;
    foreach_line_to(q, q->m->root, dev, note_ops);
    if (!q->sink_ops) {
        reply(q, "FAIL no line leads to device '%s'", dev->path);
        return;
    }
    q->sink_ops->set(dev, (unsigned)pin, level);
    reply(q, "OK");
}

/* ---- lines ---- */

static const struct {
    const char *name;
    void (*run)(Qtest *q, char **w);
} commands[] = {
    { "inb", do_in },
    { "inw", do_in },
    { "inl", do_in },
    { "outb", do_out },
    { "outw", do_out },
    { "outl", do_out },
    { "readb", do_readx },
    { "readw", do_readx },
    { "readl", do_readx },
    { "readq", do_readx },
    { "writeb", do_writex },
    { "writew", do_writex },
    { "writel", do_writex },
    { "writeq", do_writex },
    { "read", do_read },
    { "write", do_write },
    { "b64read", do_b64read },
    { "b64write", do_b64write },
    { "memset", do_memset },
    { "clock_step", do_clock_step },
    { "clock_set", do_clock_set },
    { "irq_intercept_in", do_intercept },
    { "irq_intercept_out", do_intercept },
    { "set_irq_in", do_set_irq_in },
    { "endianness", do_endianness },
};

static void run_line(Qtest *q, char *line)
{
    char *words[WORDS_MAX + 1] = { NULL };
    unsigned n = 0;
    for (char *save = NULL, *t = strtok_r(line, " \t\r", &save); t && n < WORDS_MAX;
         t = strtok_r(NULL, " \t\r", &save)) {
        words[n++] = t;
    }
    if (!n) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!strcmp(commands[i].name, words[0])) {
            commands[i].run(q, words);
            return;
        }
    }
    g_autofree char *shown = g_strescape(words[0], NULL);
    reply(q, "FAIL Unknown command '%.100s'", shown);
}

static void schedule(Qtest *q)
{
    if (q->stepping || q->lines) {
        loop_post(q->m->loop, &q->next);
    }
}

static void go_on(void *opaque)
{
    Qtest *q = opaque;
    if (q->stepping) {
        int64_t now = clock_now(q->m->clock);
        /* the timers due now have run when none of them is left */
        if (now < q->until || loop_deadline(q->m->loop, q->m->clock) <= now) {
            accel_test_set_clock(q->m, accel_test_next(q->m, q->until));
        } else {
            q->stepping = false;
            reply(q, "OK %" PRId64, now);
        }
        schedule(q);
        return;
    }
    if (q->lines) {
        const char *end = memchr(q->in->str, '\n', q->in->len);
        g_autofree char *line = g_strndup(q->in->str, (gsize)(end - q->in->str));
        g_string_erase(q->in, 0, end - q->in->str + 1);
        q->lines--;
        run_line(q, line);
    }
    schedule(q);
}

void qtest_input(Qtest *q, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) { /* a NUL would hide the rest of its line */
        char c = buf[i] ? (char)buf[i] : '?';
        if (q->skipping) {
            q->skipping = c != '\n';
        } else if (q->in->len >= QTEST_LINE_MAX && c != '\n') {
            g_string_truncate(q->in, 0);
            q->lines = 0;
            q->skipping = true;
            reply(q, "FAIL the line is too long");
        } else {
            g_string_append_c(q->in, c);
            q->lines += c == '\n';
        }
    }
    schedule(q);
}

void qtest_line(Qtest *q, const char *line)
{
    qtest_input(q, (const uint8_t *)line, strlen(line));
    qtest_input(q, (const uint8_t *)"\n", 1);
}

Qtest *qtest_new(Machine *m, void (*send)(void *opaque, const char *line), void *opaque)
{
    Qtest *q = g_new0(Qtest, 1);
    q->m = m;
    q->send = send;
    q->opaque = opaque;
    q->in = g_string_new(NULL);
    q->next = (Task){ .run = go_on, .opaque = q };
    return q;
}

static void unwatch(Qtest *q, Device *at)
{
    for (guint i = 0; i < at->irqs->len; i++) {
        IrqLine *line = at->irqs->pdata[i];
        if (line->observer_opaque == q) {
            line->observer = NULL;
        }
    }
    for (guint i = 0; i < at->children->len; i++) {
        unwatch(q, at->children->pdata[i]);
    }
}

void qtest_free(Qtest *q)
{
    if (!q) {
        return;
    }
    loop_unpost(q->m->loop, &q->next);
    if (q->intercepted && q->m->root) {
        unwatch(q, q->m->root);
    }
    g_string_free(q->in, TRUE);
    g_free(q);
}
