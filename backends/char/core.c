/* SPDX-License-Identifier: MIT
 * backends/char/core.c - character devices: the host side, their life, the property kind.
 *
 * Models: nothing; QEMU's rules where a user can see them (one front end unless mux=on, output of an
 * unconnected backend vanishes, logfile= sees everything).
 * Threads: main loop; bytes cross to and from front ends (port.c) in rings under the leaf lock.
 */
#include "char_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/text.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* ---- host side: input ---- */

size_t chardev_input_room(Chardev *c)
{
    CharPortPrivate *p = c->fe[c->mux ? c->focus : 0];
    if (!p || !p->ready) {
        return 0;
    }
    pthread_mutex_lock(&c->lock);
    size_t room = ring_room(&p->in);
    pthread_mutex_unlock(&c->lock);
    return room;
}

void chardev_input(Chardev *c, const uint8_t *buf, size_t len)
{
    if (c->mux) {
        mux_input(c, buf, len);
    } else if (c->fe[0]) {
        char_port_push(c->fe[0], buf, len);
    }
}

void chardev_event(Chardev *c, CharEvent event)
{
    for (unsigned i = 0; i < CHAR_MUX_PORTS; i++) {
        if (c->fe[i]) {
            char_port_event(c->fe[i], event);
        }
    }
}

static void drop_fds(Chardev *c)
{
    for (unsigned i = 0; i < c->n_fds; i++) {
        close(c->fds[i]);
    }
    c->n_fds = 0;
}

void chardev_add_fd(Chardev *c, int fd)
{
    if (c->n_fds < CHAR_FDS) {
        c->fds[c->n_fds++] = fd;
    } else {
        close(fd);
    }
}

int char_take_fd(CharPort *p)
{
    Chardev *c = p->priv ? p->priv->chr : NULL;
    if (!c || !c->n_fds) {
        return -1;
    }
    int fd = c->fds[0];
    memmove(c->fds, c->fds + 1, --c->n_fds * sizeof(c->fds[0]));
    return fd;
}

void char_port_take_fds(CharPort *p)
{
    if (p->priv) {
        p->priv->chr->wants_fds = true;
    }
}

/* What was for the one before, who went in this very turn of the loop. */
static void drop_answers(Chardev *c)
{
    pthread_mutex_lock(&c->lock);
    const CharPort *p = c->fe[0] && !c->mux ? c->fe[0]->port : NULL;
    if (p && p->handler && p->handler->answers) {
        ring_drop(&c->out, c->out.used);
        c->logged = 0;
    }
    pthread_mutex_unlock(&c->lock);
}

void chardev_set_open(Chardev *c, bool open)
{
    if (!open) {
        drop_fds(c);
    } else if (!c->open) {
        drop_answers(c);
    }
    if (c->open != open) {
        __atomic_store_n(&c->open, open, __ATOMIC_RELAXED);
        chardev_event(c, open ? CHAR_OPENED : CHAR_CLOSED);
    }
    if (!open) {
        loop_post(c->loop, &c->flush); /* what waits for nobody is dropped */
    }
}

static void in_ready(void *opaque, unsigned revents)
{
    Chardev *c = opaque;
    if (revents & LOOP_OUT) {
        chardev_flush_now(c);
    }
    if (!(revents & (LOOP_IN | LOOP_HUP)) || c->in_fd < 0) {
        return;
    }
    uint8_t buf[CHAR_IO_CHUNK];
    size_t room = MIN(chardev_input_room(c), sizeof(buf));
    if (!room) {
        /* A hang-up is reported whether asked for or not: look again when there is room. */
        fd_watch_remove(&c->in_watch);
        return;
    }
    ssize_t n;
    do {
        n = c->backend->read ? c->backend->read(c, buf, room) : read(c->in_fd, buf, room);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        chardev_input(c, buf, n);
    } else if (n == 0 || errno != EAGAIN) {
        c->in_eof = true;
        if (c->backend->hangup) {
            c->backend->hangup(c);
        }
    }
    chardev_update_watch(c);
}

static void out_ready(void *opaque, unsigned revents)
{
    Chardev *c = opaque;
    if (revents & LOOP_OUT) {
        chardev_flush_now(c);
    } else if (revents & LOOP_HUP) {
        fd_watch_remove(&c->out_watch); /* the next write says what is wrong */
        chardev_flush_now(c);
    }
}

static void watch_want(Chardev *c, FdWatch *w, int fd, unsigned events,
                       void (*ready)(void *, unsigned))
{
    if (fd < 0 || !events) {
        if (w->loop) {
            fd_watch_remove(w);
        }
        return;
    }
    if (w->loop) {
        fd_watch_set(w, events);
        return;
    }
    g_autoptr(Error) err = NULL;
    *w = (FdWatch){ .fd = fd, .events = events, .ready = ready, .opaque = c };
    if (!fd_watch_add(c->loop, w, &err)) {
        log_warn("chardev '%s': %s", c->id, error_text(err));
        w->loop = NULL;
    }
}

void chardev_update_watch(Chardev *c)
{
    pthread_mutex_lock(&c->lock);
    bool pending = c->out.used > 0;
    pthread_mutex_unlock(&c->lock);
    unsigned in = c->in_fd >= 0 && !c->in_eof && chardev_input_room(c) > 0 ? LOOP_IN : 0;
    unsigned out = c->out_fd >= 0 && c->open && pending ? LOOP_OUT : 0;
    if (c->in_fd == c->out_fd) {
        watch_want(c, &c->in_watch, c->in_fd, in | out, in_ready);
    } else {
        watch_want(c, &c->in_watch, c->in_fd, in, in_ready);
        watch_want(c, &c->out_watch, c->out_fd, out, out_ready);
    }
}

void chardev_set_fds(Chardev *c, int in_fd, int out_fd)
{
    if (c->in_watch.loop) {
        fd_watch_remove(&c->in_watch);
    }
    if (c->out_watch.loop) {
        fd_watch_remove(&c->out_watch);
    }
    c->in_fd = in_fd;
    c->out_fd = out_fd;
    c->in_eof = false;
    chardev_update_watch(c);
}

static void resume_run(void *opaque)
{
    Chardev *c = opaque;
    chardev_update_watch(c);
    if (c->backend->resume) {
        c->backend->resume(c);
    }
}

static void front_run(void *opaque)
{
    Chardev *c = opaque;
    c->backend->front(c, chardev_frontend_open(c));
}

/* ---- host side: output ---- */

static void write_log(Chardev *c, const uint8_t *buf, size_t len)
{
    while (len && c->log_fd >= 0) {
        ssize_t n = write(c->log_fd, buf, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            if (!c->log_failed) {
                log_warn("chardev '%s': writing its logfile failed: %s; the rest is lost", c->id,
                         g_strerror(errno));
                c->log_failed = true;
            }
            return;
        }
        buf += n;
        len -= n;
    }
}

static ssize_t backend_write(Chardev *c, const uint8_t *buf, size_t len)
{
    if (!c->open) {
        return len;
    }
    if (c->backend->write) {
        return c->backend->write(c, buf, len);
    }
    ssize_t n = write(c->out_fd, buf, len);
    return n < 0 ? -errno : n;
}

/* True while bytes remain that the host does not take now. */
static bool flush_some(Chardev *c)
{
    uint8_t buf[CHAR_IO_CHUNK];
    for (;;) {
        pthread_mutex_lock(&c->lock);
        size_t n = ring_peek(&c->out, 0, buf, sizeof(buf));
        size_t logged = MIN(c->logged, n);
        c->logged = MAX(c->logged, n);
        pthread_mutex_unlock(&c->lock);
        if (!n) {
            return false;
        }
        write_log(c, buf + logged, n - logged);
        ssize_t done = backend_write(c, buf, n);
        if (done == -EINTR) {
            continue;
        }
        if (done == -EAGAIN) {
            return true;
        }
        if (done < 0) {
            if (!c->write_failed) {
                log_warn("chardev '%s': writing to %s failed: %s; output is lost until it works again", c->id,
                         c->filename, g_strerror(-done));
                c->write_failed = true;
            }
            done = n;
        } else {
            c->write_failed = false;
        }
        pthread_mutex_lock(&c->lock);
        ring_drop(&c->out, done);
        c->logged -= MIN(c->logged, (uint32_t)done);
        pthread_mutex_unlock(&c->lock);
    }
}

void chardev_flush_now(Chardev *c)
{
    flush_some(c);
    pthread_mutex_lock(&c->lock);
    bool tell = c->out_full && ring_room(&c->out) > 0;
    c->out_full &= !tell;
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; tell && i < CHAR_MUX_PORTS; i++) {
        if (c->fe[i] && c->fe[i]->writable_cb) {
            char_port_post_writable(c->fe[i]);
        }
    }
    chardev_update_watch(c);
}

static void flush_run(void *opaque)
{
    chardev_flush_now(opaque);
}

/* At the end of the process: the host gets a short while to take what is left. */
static void flush_at_exit(Chardev *c)
{
    int64_t until = g_get_monotonic_time() + CHAR_EXIT_FLUSH_MS * 1000;
    while (flush_some(c) && c->out_fd >= 0) {
        int64_t left_ms = (until - g_get_monotonic_time()) / 1000;
        struct pollfd pfd = { .fd = c->out_fd, .events = POLLOUT };
        if (left_ms <= 0 || (poll(&pfd, 1, left_ms) < 0 && errno != EINTR)) {
            break;
        }
    }
}

/* ---- life ---- */

static const CharBackend *const backends[] = {
    [CHAR_NULL] = &char_null_backend,     [CHAR_STDIO] = &char_stdio_backend,
    [CHAR_FILE] = &char_file_backend,     [CHAR_PTY] = &char_pty_backend,
    [CHAR_SOCKET] = &char_socket_backend, [CHAR_PIPE] = &char_pipe_backend,
    [CHAR_RINGBUF] = &char_ringbuf_backend, [CHAR_BUFFER] = &char_buffer_backend,
    [CHAR_UPPER] = &char_upper_backend,
};

static void chardev_free(Chardev *c)
{
    for (unsigned i = 0; i < CHAR_MUX_PORTS; i++) {
        if (c->fe[i]) {
            char_detach(c->fe[i]->port);
        }
    }
    chardev_set_fds(c, -1, -1);
    loop_unpost(c->loop, &c->flush);
    loop_unpost(c->loop, &c->resume);
    loop_unpost(c->loop, &c->front);
    if (c->log_fd >= 0) {
        fdset_close(c->log_fd);
    }
    drop_fds(c);
    ring_fini(&c->out);
    pthread_mutex_destroy(&c->lock);
    g_free(c->state);
    g_free(c->id);
    g_free(c->filename);
    g_free(c);
}

static bool open_log(Chardev *c, const CharConfig *cfg, Error **errp)
{
    if (!cfg->logfile) {
        return true;
    }
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (cfg->logappend ? O_APPEND : O_TRUNC);
    c->log_fd = fdset_open(cfg->logfile, flags, 0666);
    if (c->log_fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "could not open logfile '%s' of chardev '%s'", cfg->logfile, c->id);
        fdset_hint(cfg->logfile, flags, err, errp);
        return false;
    }
    return true;
}

Chardev *chardev_open(Machine *m, const char *id, const CharConfig *cfg, Error **errp)
{
    const CharBackend *be = backends[cfg->kind];
    Chardev *c = g_new0(Chardev, 1);
    c->backend = be;
    c->machine = m;
    c->loop = m->loop;
    c->id = g_strdup(id);
    c->filename = g_strdup(be->name);
    c->state = g_malloc0(be->state_size ? be->state_size : 1);
    c->in_fd = c->out_fd = c->log_fd = -1;
    c->mux = cfg->mux;
    c->m.line_start = true;
    c->flush = (Task){ .run = flush_run, .opaque = c };
    c->resume = (Task){ .run = resume_run, .opaque = c };
    c->front = (Task){ .run = front_run, .opaque = c };
    ring_init(&c->out, CHAR_OUT_BYTES);
    pthread_mutex_init(&c->lock, NULL);
    if (!open_log(c, cfg, errp) || !be->open(c, cfg, errp)) {
        chardev_free(c);
        return NULL;
    }
    return c;
}

Chardev *chardev_new(Machine *m, const char *id, const CharConfig *cfg, Error **errp)
{
    role_assert_main();
    if (chardev_find(m, id)) {
        error_fail(errp, "already-exists", "id", "give another id, or remove that one: chardev-remove",
                   "there is already a chardev with id '%s'", id);
        return NULL;
    }
    Chardev *c = chardev_open(m, id, cfg, errp);
    if (c) {
        if (!m->chardevs) {
            m->chardevs = g_ptr_array_new();
        }
        g_ptr_array_add(m->chardevs, c);
    }
    return c;
}

void chardev_close(Chardev *c)
{
    flush_at_exit(c);
    for (unsigned i = 0; i < CHAR_MUX_PORTS; i++) {
        if (c->fe[i]) {
            char_detach(c->fe[i]->port);
        }
    }
    chardev_set_fds(c, -1, -1);
    if (c->backend->close) {
        c->backend->close(c);
    }
    chardev_free(c);
}

Chardev *chardev_find(Machine *m, const char *id)
{
    for (guint i = 0; m->chardevs && i < m->chardevs->len; i++) {
        Chardev *c = m->chardevs->pdata[i];
        if (g_str_equal(c->id, id)) {
            return c;
        }
    }
    return NULL;
}

void chardev_foreach(Machine *m, void (*fn)(Chardev *c, void *opaque), void *opaque)
{
    for (guint i = 0; m->chardevs && i < m->chardevs->len; i++) {
        fn(m->chardevs->pdata[i], opaque);
    }
}

void chardev_remove_all(Machine *m)
{
    while (m->chardevs && m->chardevs->len) {
        Chardev *c = m->chardevs->pdata[m->chardevs->len - 1];
        g_ptr_array_set_size(m->chardevs, m->chardevs->len - 1);
        chardev_close(c);
    }
    g_clear_pointer(&m->chardevs, g_ptr_array_unref);
}

bool chardev_remove(Machine *m, const char *id, Error **errp)
{
    Chardev *c = chardev_find(m, id);
    if (!c) {
        error_fail(errp, "not-found", NULL, NULL, "there is no chardev with id '%s'", id);
        chardev_id_hint(m, id, errp);
        return false;
    }
    if (c->n_fe) {
        g_autofree char *holder = chardev_holder(c);
        return error_fail(errp, "in-use", "id", "remove what uses it first",
                          "chardev '%s' is in use by %s", id, holder);
    }
    g_ptr_array_remove(m->chardevs, c);
    chardev_close(c);
    return true;
}

bool chardev_send_break(Machine *m, const char *id, Error **errp)
{
    Chardev *c = chardev_find(m, id);
    if (!c) {
        error_fail(errp, "not-found", NULL, NULL, "there is no chardev with id '%s'", id);
        chardev_id_hint(m, id, errp);
    } else if (!c->mux) {
        chardev_event(c, CHAR_BREAK);
    } else if (c->fe[c->focus]) {
        char_port_event(c->fe[c->focus], CHAR_BREAK);
    }
    return c != NULL;
}

bool chardev_is_mux(const Chardev *c)
{
    return c->mux;
}

const char *chardev_id(const Chardev *c)
{
    return c->id;
}

bool chardev_can_yank(const Chardev *c)
{
    return c->backend->yank != NULL;
}

void chardev_yank(Chardev *c)
{
    role_assert_main();
    c->backend->yank(c);
}

char *chardev_filename(const Chardev *c)
{
    return g_strdup(c->filename);
}

bool chardev_frontend_open(const Chardev *c)
{
    for (unsigned i = 0; i < CHAR_MUX_PORTS; i++) {
        if (c->fe[i] && c->fe[i]->ready && __atomic_load_n(&c->fe[i]->open, __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}

/* ---- the property kind ---- */

void chardev_id_hint(Machine *m, const char *id, Error **errp)
{
    g_autofree const char **names = g_new0(const char *, (m->chardevs ? m->chardevs->len : 0) + 1);
    for (guint i = 0; m->chardevs && i < m->chardevs->len; i++) {
        names[i] = chardev_id(m->chardevs->pdata[i]);
    }
    error_hint_nearest(errp, id, names);
    error_hint_else(errp, "query-chardev lists them; -chardev and chardev-add make one");
}

static bool prop_bind(Machine *m, const Prop *p G_GNUC_UNUSED, void *slot, const char *id, Error **errp)
{
    Chardev *c = chardev_find(m, id);
    if (!c) {
        error_fail(errp, "not-found", NULL, NULL, "there is no chardev with id '%s'", id);
        chardev_id_hint(m, id, errp);
        return false;
    }
    CharPort *port = slot;
    if (port->priv) {
        char_detach(port);
    }
    return chardev_connect(c, port, errp);
}

static char *prop_name(const void *slot)
{
    const CharPort *port = slot;
    return port->be ? g_strdup(port->be->id) : NULL;
}

static void prop_release(void *slot)
{
    char_detach(slot);
}

void chardev_register(void)
{
    static const PropBinder binder = { .bind = prop_bind, .name = prop_name, .release = prop_release };
    prop_register_binder(PROP_CHARDEV_, &binder);
}
