/* SPDX-License-Identifier: MIT
 * backends/char/upper.c - chardevs whose host side belongs to a layer above: the guest's desktop agent.
 * Models: nothing. Threads: main loop.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"
#include "schema/chardev.h"

typedef struct UpperState {
    const CharUpper *ops;
    void *of;
} UpperState;

static const CharUpper *registered[CHARDEV_KIND__COUNT];

void chardev_upper_register(const char *kind, const CharUpper *ops)
{
    for (int i = 0; i < CHARDEV_KIND__COUNT; i++) {
        if (g_str_equal(kind, chardev_kind_names[i])) {
            registered[i] = ops;
        }
    }
}

static bool upper_open(Chardev *c, const CharConfig *cfg, Error **errp)
{
    UpperState *s = c->state;
    const char *kind = chardev_kind_names[cfg->options->backend];
    s->ops = registered[cfg->options->backend];
    if (!s->ops) { /* of a program that is not the emulator */
        return error_fail(errp, "not-supported", "backend", "use socket", "chardev backend '%s' is not here",
                          kind);
    }
    s->of = s->ops->open(c->machine, c, cfg->options, errp);
    if (!s->of) {
        return false;
    }
    g_free(c->filename);
    c->filename = g_strdup(kind);
    chardev_set_open(c, true);
    return true;
}

static void upper_close(Chardev *c)
{
    UpperState *s = c->state;
    s->ops->close(s->of);
}

static ssize_t upper_write(Chardev *c, const uint8_t *buf, size_t len)
{
    UpperState *s = c->state;
    s->ops->write(s->of, buf, len);
    return (ssize_t)len;
}

static void upper_resume(Chardev *c)
{
    UpperState *s = c->state;
    if (s->ops->resume) {
        s->ops->resume(s->of);
    }
}

static void upper_front(Chardev *c, bool open)
{
    UpperState *s = c->state;
    if (s->ops->front) {
        s->ops->front(s->of, open);
    }
}

size_t chardev_upper_input(Chardev *c, const uint8_t *buf, size_t len)
{
    size_t n = MIN(len, chardev_input_room(c));
    if (n) {
        chardev_input(c, buf, n);
    }
    return n;
}

const CharBackend char_upper_backend = {
    .name = "upper", .state_size = sizeof(UpperState), .open = upper_open, .close = upper_close,
    .write = upper_write, .resume = upper_resume, .front = upper_front,
};
