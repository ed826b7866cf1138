/* SPDX-License-Identifier: MIT
 * ui/vnc.c - VNC servers: who may come, what is shown, what clients do to the guest. vnc_client.c speaks RFB.
 *
 * Models: QEMU 7.2's -vnc with its addresses, passwords, sharing and events. While there is a client, what
 *         changes on the console is copied into one picture that all clients' threads send from; a client
 * that does not read keeps a region of at most VNC_RECTS rectangles, and nothing else. Does not model: TLS,
 * SASL, sound, connections to listening viewers, the clipboard. Threads: main loop.
 */
#include "vnc_internal.h"
#include "rhea/backends/secret.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/json.h"
#include "rhea/util/sock.h"
#include "rhea/util/text.h"

#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/select.h>
#include <sys/un.h>
#include <unistd.h>

enum { VNC_PORT = 5900, VNC_WEB_PORT = 5700, VNC_LISTENERS = 4, VNC_CLIENTS = 256, VNC_BACKLOG = 16 };
enum { VNC_WIDTH = 640, VNC_HEIGHT = 480, VNC_PERIOD_MS = 30 };

typedef struct VncListener {
    VncServer *server;
    FdWatch watch;
    char *path; /* to unlink */
    VncAddress address;
} VncListener;

struct VncServer {
    Machine *m;
    VncOptions opts;
    KeyLayout *layout;
    GBytes *password; /* NULL: not set */
    int64_t expires;  /* seconds since 1970; INT64_MAX: never */
    VncListener listeners[VNC_LISTENERS];
    unsigned n_listeners;
    GPtrArray *clients; /* VncClient * */
    ConsoleListener console;
    Surface *source;  /* the console's, or NULL */
    Surface *picture; /* what clients are sent; NULL: nobody looks */
    CursorShape cursor;
    bool has_cursor;
    InputWatcher input;
};

/* The process's: a machine's are those of that machine. */
static GPtrArray *servers;

static VncServer *server_of(ConsoleListener *l)
{
    return (VncServer *)((char *)l - offsetof(VncServer, console));
}

/* ---- clients ---- */

static Json *address_json(const VncAddress *a)
{
    Json *j = json_new_object();
    json_object_object_add(j, "host", json_new_string(a->host));
    json_object_object_add(j, "service", json_new_string(a->service));
    json_object_object_add(j, "family", json_new_string(a->family));
    json_object_object_add(j, "websocket", json_object_new_boolean(a->websocket));
    return j;
}

static void tell(VncServer *s, const char *event, const VncClient *c)
{
    Json *data = json_new_object(), *server = address_json(&s->listeners[0].address);
    json_object_object_add(server, "auth", json_new_string(vnc_auth(s)));
    json_object_object_add(data, "server", server);
    json_object_object_add(data, "client", address_json(&c->peer));
    machine_event(s->m, event, data);
}

static void end_client(VncClient *c)
{
    pthread_mutex_lock(&c->lock);
    c->quit = true;
    pthread_cond_broadcast(&c->room);
    pthread_mutex_unlock(&c->lock);
    shutdown(c->sock, SHUT_RDWR); /* whoever waits for it goes on */
    vnc_client_wake(c);
}

static void release_keys(VncClient *c)
{
    UiEvent ups[INPUT_KEYS];
    unsigned n = 0;
    for (unsigned k = 0; k < INPUT_KEYS; k++) {
        if (c->keys[k]) {
            ups[n++] = (UiEvent){ .kind = INPUT_KIND_KEY, .code = k };
        }
    }
    input_send(c->server->m, c->server->console.console, ups, n);
    memset(c->keys, 0, sizeof(c->keys));
}

static void free_client(VncClient *c)
{
    timer_cancel(&c->next_key);
    loop_unpost(c->next_key.loop, &c->notify);
    surface_unref(c->surface);
    surface_unref(c->cursor.image);
    pixman_region32_fini(&c->damage);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->room);
    close(c->sock);
    close(c->wake[0]);
    close(c->wake[1]);
    if (c->password) {
        memset(c->password, 0, strlen(c->password));
    }
    g_free(c->password);
    g_free(c->title);
    g_free(c);
}

static void stop_looking(VncServer *s)
{
    console_remove_listener(&s->console);
    g_clear_pointer(&s->picture, surface_unref);
    g_clear_pointer(&s->source, surface_unref);
    g_clear_pointer(&s->cursor.image, surface_unref);
    s->has_cursor = false;
}

static void drop_client(VncClient *c)
{
    VncServer *s = c->server;
    UiEvent ups[POINTER_BUTTONS];
    static const uint8_t order[] = { POINTER_LEFT, POINTER_MIDDLE, POINTER_RIGHT };
    unsigned n = 0;
    vnc_client_join(c);
    release_keys(c);
    for (unsigned b = 0; b < G_N_ELEMENTS(order); b++) {
        if (c->buttons >> b & 1) {
            ups[n++] = (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = order[b] };
        }
    }
    input_send(s->m, s->console.console, ups, n);
    tell(s, "VNC_DISCONNECTED", c);
    g_ptr_array_remove(s->clients, c);
    free_client(c);
    if (!s->clients->len) {
        stop_looking(s);
    }
}

/* ---- the picture ---- */

static void copy_picture(VncServer *s, int x, int y, int w, int h)
{
    if (s->source) {
        pixman_image_composite32(PIXMAN_OP_SRC, s->source->image, NULL, s->picture->image, x, y, 0, 0, x, y,
                                 w, h);
    }
}

static void set_picture(ConsoleListener *l, Surface *from)
{
    VncServer *s = server_of(l);
    Surface *p = surface_new(from ? surface_width(from) : VNC_WIDTH, from ? surface_height(from) : VNC_HEIGHT,
                             &error_abort_slot);
    surface_unref(s->source);
    surface_unref(s->picture);
    s->source = from ? surface_ref(from) : NULL;
    s->picture = p;
    copy_picture(s, 0, 0, surface_width(p), surface_height(p));
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        pthread_mutex_lock(&c->lock);
        surface_unref(c->surface);
        c->surface = surface_ref(p);
        pixman_region32_clear(&c->damage); /* the size's change sends all of it */
        pixman_region32_union_rect(&c->damage, &c->damage, 0, 0, (unsigned)surface_width(p),
                                   (unsigned)surface_height(p));
        pthread_mutex_unlock(&c->lock);
        vnc_client_wake(c);
    }
}

static void on_damage(ConsoleListener *l, int x, int y, int w, int h)
{
    VncServer *s = server_of(l);
    copy_picture(s, x, y, w, h);
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        pthread_mutex_lock(&c->lock);
        pixman_region32_union_rect(&c->damage, &c->damage, x, y, (unsigned)w, (unsigned)h);
        if (pixman_region32_n_rects(&c->damage) > VNC_RECTS) {
            pixman_box32_t all = *pixman_region32_extents(&c->damage);
            pixman_region32_fini(&c->damage);
            pixman_region32_init_rect(&c->damage, all.x1, all.y1, (unsigned)(all.x2 - all.x1),
                                      (unsigned)(all.y2 - all.y1));
        }
        pthread_mutex_unlock(&c->lock);
    }
}

static void wake_all(VncServer *s)
{
    for (guint i = 0; i < s->clients->len; i++) {
        vnc_client_wake(s->clients->pdata[i]);
    }
}

static void on_frame(ConsoleListener *l)
{
    wake_all(server_of(l));
}

static void give_cursor(VncServer *s, VncClient *c)
{
    pthread_mutex_lock(&c->lock);
    surface_unref(c->cursor.image);
    c->cursor = s->cursor;
    c->cursor.image = s->cursor.image ? surface_ref(s->cursor.image) : NULL;
    c->cursor_new = true;
    pthread_mutex_unlock(&c->lock);
}

static void on_cursor(ConsoleListener *l, const CursorShape *shape)
{
    VncServer *s = server_of(l);
    if (!shape && !s->has_cursor) {
        return; /* the guest draws its own */
    }
    surface_unref(s->cursor.image);
    s->cursor = shape ? *shape : (CursorShape){ 0 };
    s->cursor.image = shape ? surface_ref(shape->image) : NULL;
    s->has_cursor = true;
    for (guint i = 0; i < s->clients->len; i++) {
        give_cursor(s, s->clients->pdata[i]);
    }
    wake_all(s);
}

static void on_gone(ConsoleListener *l)
{
    set_picture(l, NULL);
}

static const ConsoleListenerOps listener_ops = {
    .surface = set_picture, .damage = on_damage, .frame = on_frame, .cursor = on_cursor, .gone = on_gone
};

static void look(VncServer *s)
{
    Console *c = console_find(s->m, s->opts.display, (unsigned)s->opts.head, NULL);
    c = c || s->opts.display ? c : console_by_index(s->m, 0);
    if (c && s->console.console != c) {
        console_remove_listener(&s->console);
        console_add_listener(c, &s->console);
    }
    if (!s->picture) {
        set_picture(&s->console, NULL);
    }
}

static void consoles_changed(void *opaque)
{
    VncServer *s = opaque;
    if (s->clients->len) {
        look(s);
    }
}

/* ---- what clients do ---- */

static void send_key(VncClient *c, InputKey key, bool down)
{
    c->keys[key] = down;
    input_send_key(c->server->m, c->server->console.console, key, down);
}

static void do_pointer(VncClient *c, const VncEvent *e)
{
    static const uint8_t order[] = { POINTER_LEFT,       POINTER_MIDDLE,     POINTER_RIGHT,
                                     POINTER_WHEEL_UP,   POINTER_WHEEL_DOWN, POINTER_WHEEL_LEFT,
                                     POINTER_WHEEL_RIGHT };
    VncServer *s = c->server;
    Console *con = s->console.console;
    UiEvent out[2 + G_N_ELEMENTS(order)];
    unsigned n = 0;
    if (input_pointer_is_absolute(s->m, con)) {
        int w = MAX(surface_width(s->picture) - 1, 1), h = MAX(surface_height(s->picture) - 1, 1);
        int x = CLAMP(e->x, 0, w), y = CLAMP(e->y, 0, h);
        out[n++] =
            (UiEvent){ .kind = INPUT_KIND_ABS, .code = 0, .value = (int)((int64_t)x * INPUT_ABS_MAX / w) };
        out[n++] =
            (UiEvent){ .kind = INPUT_KIND_ABS, .code = 1, .value = (int)((int64_t)y * INPUT_ABS_MAX / h) };
    } else {
        /* A client that was told so sends movements around 7fffh, others places. */
        int dx = c->relative ? e->x - 0x7fff : c->has_last ? e->x - c->last_x : 0;
        int dy = c->relative ? e->y - 0x7fff : c->has_last ? e->y - c->last_y : 0;
        if (dx || dy) {
            out[n++] = (UiEvent){ .kind = INPUT_KIND_REL, .code = 0, .value = dx };
            out[n++] = (UiEvent){ .kind = INPUT_KIND_REL, .code = 1, .value = dy };
        }
    }
    for (unsigned b = 0; b < G_N_ELEMENTS(order); b++) {
        if ((e->code ^ c->buttons) >> b & 1) {
            out[n++] = (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = order[b], .down = e->code >> b & 1 };
        }
    }
    c->buttons = e->code;
    c->last_x = e->x;
    c->last_y = e->y;
    c->has_last = true;
    input_send(s->m, con, out, n);
}

static void do_power(VncServer *s, unsigned code)
{
    switch (code) { /* XVP */
    case 2: machine_request_powerdown(s->m); break;
    case 3: /* there is no reboot but by the button and a reset */
    case 4: machine_request_reset(s->m, SHUTDOWN_HOST_RESET); break;
    }
}

/* True: it was a key, and others wait for their time. */
static bool do_event(VncClient *c, const VncEvent *e)
{
    InputKey key;
    int found;
    switch (e->kind) {
    case VNC_KEYSYM:
        if (key_layout_keysym(c->server->layout, e->code, &key, NULL)) {
            send_key(c, key, e->down);
            return true;
        }
        break;
    case VNC_SCANCODE:
        found = input_key_find_code(e->code & 0xff);
        if (found >= 0) {
            send_key(c, (InputKey)found, e->down);
            return true;
        }
        break;
    case VNC_POINTER: do_pointer(c, e); break;
    case VNC_SIZE:
        if (c->server->console.console) {
            console_wish(c->server->console.console, &(ConsoleWish){ .width = e->x, .height = e->y });
        }
        break;
    case VNC_POWER: do_power(c->server, e->code); break;
    }
    return false;
}

static bool next_event(VncClient *c, VncEvent *e)
{
    pthread_mutex_lock(&c->lock);
    bool there = c->n_events > 0;
    if (there) {
        *e = c->events[c->head];
        c->head = (c->head + 1) % VNC_EVENTS;
        c->n_events--;
        pthread_cond_signal(&c->room);
    }
    pthread_mutex_unlock(&c->lock);
    return there;
}

static void do_events(VncClient *c)
{
    VncEvent e;
    for (unsigned i = 0; i < VNC_EVENTS && !timer_armed(&c->next_key) && next_event(c, &e); i++) {
        if (do_event(c, &e) && c->server->opts.key_delay_ms) {
            timer_arm(&c->next_key,
                      clock_now(&clock_host_monotonic) + c->server->opts.key_delay_ms * INT64_C(1000000));
        }
    }
}

static void key_time_over(void *opaque)
{
    VncClient *c = opaque;
    loop_post(c->next_key.loop, &c->notify);
}

/* 7.3.1: a client may want to be alone. */
static void settle_sharing(VncServer *s, VncClient *c)
{
    if (c->shared || s->opts.share == VNC_SHARE_IGNORE) {
        return;
    }
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *other = s->clients->pdata[i];
        if (s->opts.share == VNC_SHARE_FORCE_SHARED ? other == c : other != c) {
            end_client(other);
        }
    }
}

void vnc_client_notify(void *opaque)
{
    VncClient *c = opaque;
    pthread_mutex_lock(&c->lock);
    bool ready = c->ready, gone = c->gone;
    c->peer.websocket = c->websocket;
    c->relative = c->relative_known;
    pthread_mutex_unlock(&c->lock);
    if (ready && !c->told_ready) {
        c->told_ready = true;
        tell(c->server, "VNC_INITIALIZED", c);
        settle_sharing(c->server, c);
    }
    do_events(c);
    if (gone) {
        drop_client(c);
        return;
    }
    pthread_mutex_lock(&c->lock);
    bool more = c->n_events && !timer_armed(&c->next_key);
    pthread_mutex_unlock(&c->lock);
    if (more) {
        loop_post(c->next_key.loop, &c->notify);
    }
}

static void input_changed(InputWatcher *w)
{
    VncServer *s = (VncServer *)((char *)w - offsetof(VncServer, input));
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        pthread_mutex_lock(&c->lock);
        c->leds = input_leds(s->m);
        c->absolute = input_pointer_is_absolute(s->m, s->console.console);
        pthread_mutex_unlock(&c->lock);
        c->has_last = false;
        vnc_client_wake(c);
    }
}

/* ---- who comes ---- */

static void describe(const struct sockaddr *sa, socklen_t len, VncAddress *out)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
    out->family = sa->sa_family == AF_INET ? "ipv4" : sa->sa_family == AF_INET6 ? "ipv6" : "unix";
    if (sa->sa_family == AF_UNIX) {
        int n = (int)len - (int)offsetof(struct sockaddr_un, sun_path);
        g_snprintf(out->service, sizeof(out->service), "%.*s", MAX(n, 0), un->sun_path);
    } else if (getnameinfo(sa, len, out->host, sizeof(out->host), out->service, sizeof(out->service),
                           NI_NUMERICHOST | NI_NUMERICSERV)) {
        g_strlcpy(out->host, "unknown", sizeof(out->host));
    }
}

static char *password_now(const VncServer *s)
{
    if (!s->opts.password && !s->opts.password_secret) {
        return NULL;
    }
    bool good = s->password && s->expires > g_get_real_time() / G_USEC_PER_SEC;
    return good ? g_strndup(g_bytes_get_data(s->password, NULL), g_bytes_get_size(s->password))
                : g_strdup("");
}

/* Too many at their handshake: the oldest goes, as it has had its time. */
static bool make_room(VncServer *s)
{
    VncClient *oldest = NULL;
    unsigned n = 0;
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        if (!c->told_ready) {
            oldest = oldest ? oldest : c;
            n++;
        }
    }
    if (oldest && n >= (unsigned)s->opts.connections) {
        end_client(oldest);
    }
    return s->clients->len < VNC_CLIENTS;
}

static void add_client(VncServer *s, int fd, bool web, const VncAddress *peer)
{
    Error *err = NULL;
    VncClient *c = g_new0(VncClient, 1);
    c->server = s;
    c->peer = *peer;
    c->password = password_now(s);
    c->web = web;
    c->lossy = s->opts.lossy;
    c->power = s->opts.power_control;
    c->leds_told = s->opts.lock_key_sync;
    c->title = g_strdup_printf("Rhea%s%s%s", s->m->name ? " (" : "", s->m->name ? s->m->name : "",
                               s->m->name ? ")" : "");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->room, NULL);
    pixman_region32_init(&c->damage);
    c->notify = (Task){ .run = vnc_client_notify, .opaque = c };
    timer_init(&c->next_key, s->m->loop, &clock_host_monotonic, key_time_over, c);
    c->thread_sock = fd;
    c->sock = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    bool piped = pipe2(c->wake, O_CLOEXEC | O_NONBLOCK) == 0;
    c->wake[0] = piped ? c->wake[0] : -1;
    c->wake[1] = piped ? c->wake[1] : -1;
    g_ptr_array_add(s->clients, c);
    look(s);
    surface_unref(c->surface);
    c->surface = surface_ref(s->picture);
    c->leds = input_leds(s->m);
    c->absolute = input_pointer_is_absolute(s->m, s->console.console);
    if (s->has_cursor) {
        give_cursor(s, c);
    }
    if (c->sock < 0 || !piped || !vnc_client_start(c, &err)) {
        error_free(err);
        if (c->sock < 0 || !piped) {
            close(fd);
        }
        g_ptr_array_remove(s->clients, c);
        free_client(c);
        return;
    }
    tell(s, "VNC_CONNECTED", c);
}

static void on_connection(void *opaque, unsigned revents)
{
    VncListener *l = opaque;
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd = accept4(l->watch.fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC);
    (void)revents;
    if (fd < 0) {
        return;
    }
    if (fd >= FD_SETSIZE || !make_room(l->server)) { /* the library waits with select() */
        close(fd);
        return;
    }
    VncAddress peer = { .websocket = false };
    describe((struct sockaddr *)&sa, len, &peer);
    sock_tune(fd);
    add_client(l->server, fd, l->address.websocket, &peer);
}

/* ---- options ---- */

static bool wrong_address(const char *text, Error **errp)
{
    error_fail(errp, "invalid-value", "vnc", NULL, "'%s' is no VNC address", text);
    error_hint(errp, "HOST:N or :N is TCP port 5900 + N, unix:PATH a socket's name");
    return false;
}

static bool listen_at(VncServer *s, const SockSpec *spec, bool web, Error **errp)
{
    VncListener *l = &s->listeners[s->n_listeners];
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int fd = sock_listen(spec, VNC_BACKLOG, &l->path, errp);
    if (fd < 0) {
        return false;
    }
    l->server = s;
    l->watch = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = on_connection, .opaque = l };
    s->n_listeners++;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0) {
        describe((struct sockaddr *)&sa, len, &l->address);
    }
    l->address.websocket = web;
    return fd_watch_add(s->m->loop, &l->watch, errp);
}

/* "HOST:N": the host without its brackets, and where N begins. */
static bool split_address(const char *text, char **host, const char **rest, Error **errp)
{
    const char *colon = strrchr(text, ':');
    if (!colon) {
        return wrong_address(text, errp);
    }
    bool brackets = *text == '[' && colon > text && colon[-1] == ']';
    *host =
        brackets ? g_strndup(text + 1, (size_t)(colon - text - 2)) : g_strndup(text, (size_t)(colon - text));
    *rest = colon + 1;
    return true;
}

static bool listen_web(VncServer *s, const char *host, uint64_t display, Error **errp)
{
    g_autofree char *own_host = NULL, *port = NULL;
    const char *text = s->opts.websocket, *number = text;
    uint64_t n;
    if (!text || g_str_equal(text, "off")) {
        return true;
    }
    if (strchr(text, ':') && !split_address(text, &own_host, &number, errp)) {
        return false;
    }
    if (g_str_equal(text, "on")) {
        n = VNC_WEB_PORT + display;
    } else if (!text_to_u64(number, &n, NULL) || n > UINT16_MAX) {
        error_fail(errp, "invalid-value", "websocket", NULL, "'%s' is no port", text);
        return false;
    }
    port = g_strdup_printf("%u", (unsigned)n);
    return listen_at(s,
                     &(SockSpec){ .kind = SOCK_KIND_INET, .host = own_host ? own_host : host, .port = port },
                     true, errp);
}

static bool start_listening(VncServer *s, Error **errp)
{
    const VncOptions *o = &s->opts;
    g_autofree char *host = NULL, *port = NULL;
    const char *number;
    uint64_t display;
    if (g_str_has_prefix(o->vnc, "unix:")) {
        if (o->websocket && !strchr(o->websocket, ':')) {
            error_fail(errp, "conflict", "websocket", NULL, "websocket=%s: there is no display number",
                       o->websocket);
            error_hint(errp, "give websocket=HOST:PORT");
            return false;
        }
        return listen_at(s, &(SockSpec){ .kind = SOCK_KIND_UNIX, .path = o->vnc + 5 }, false, errp) &&
               listen_web(s, "", 0, errp);
    }
    if (!split_address(o->vnc, &host, &number, errp)) {
        return false;
    }
    if (!text_to_u64(number, &display, NULL) || display > UINT16_MAX - VNC_PORT) {
        return wrong_address(o->vnc, errp);
    }
    port = g_strdup_printf("%u", (unsigned)(VNC_PORT + display));
    SockSpec spec = { .kind = SOCK_KIND_INET,
                      .host = host,
                      .port = port,
                      .to = o->has_to ? (unsigned)(VNC_PORT + o->to) : 0,
                      .no_ipv4 = o->has_ipv4 ? !o->ipv4 : o->has_ipv6 && o->ipv6,
                      .no_ipv6 = o->has_ipv6 ? !o->ipv6 : o->has_ipv4 && o->ipv4 };
    if (!listen_at(s, &spec, false, errp)) {
        return false;
    }
    uint64_t got;
    return listen_web(
        s, host, text_to_u64(s->listeners[0].address.service, &got, NULL) ? got - VNC_PORT : display, errp);
}

static void free_server(void *opaque)
{
    VncServer *s = opaque;
    for (unsigned i = 0; i < s->n_listeners; i++) {
        fd_watch_remove(&s->listeners[i].watch);
        close(s->listeners[i].watch.fd);
        if (s->listeners[i].path) {
            unlink(s->listeners[i].path);
        }
        g_free(s->listeners[i].path);
    }
    for (guint i = 0; i < s->clients->len; i++) {
        end_client(s->clients->pdata[i]);
    }
    while (s->clients->len) {
        drop_client(s->clients->pdata[0]);
    }
    console_watch_list(s->m, NULL, s);
    input_unwatch(&s->input);
    g_ptr_array_free(s->clients, TRUE);
    key_layout_free(s->layout);
    g_clear_pointer(&s->password, g_bytes_unref);
    type_clear(&vnc_options_type, &s->opts);
    g_free(s);
}

static VncServer *find_server(Machine *m, const char *id)
{
    for (guint i = 0; servers && i < servers->len; i++) {
        VncServer *s = servers->pdata[i];
        if (s->m == m && (!id || g_str_equal(s->opts.id, id))) {
            return s;
        }
    }
    return NULL;
}

VncServer *vnc_start(Machine *m, VncOptions *options, const char *layout, Error **errp)
{
    servers = servers ? servers : g_ptr_array_new();
    if (find_server(m, options->id)) {
        error_fail(errp, "already-exists", "id", NULL, "there is a VNC server '%s' already", options->id);
        error_hint(errp, "give the other one an id=");
        return NULL;
    }
    if (!vnc_library_load(errp)) {
        return NULL;
    }
    KeyLayout *keys = key_layout_new(layout, errp);
    if (!keys) {
        return NULL;
    }
    VncServer *s = g_new0(VncServer, 1);
    s->opts = *options;
    memset(options, 0, sizeof(*options));
    s->m = m;
    s->layout = keys;
    s->expires = INT64_MAX;
    s->clients = g_ptr_array_new();
    s->console = (ConsoleListener){ .ops = &listener_ops, .period_ms = VNC_PERIOD_MS };
    s->input.changed = input_changed;
    console_watch_list(m, consoles_changed, s);
    input_watch(m, &s->input);
    if (s->opts.password_secret && !(s->password = secret_lookup(m, s->opts.password_secret, errp))) {
        error_set_code(errp, "not-found", "password-secret");
        free_server(s);
        return NULL;
    }
    if ((s->opts.display && !console_find(m, s->opts.display, (unsigned)s->opts.head, errp)) ||
        !start_listening(s, errp)) {
        free_server(s);
        return NULL;
    }
    g_ptr_array_add(servers, s);
    return s;
}

void vnc_stop_all(Machine *m)
{
    for (guint i = servers ? servers->len : 0; i-- > 0;) {
        VncServer *s = servers->pdata[i];
        if (s->m == m) {
            g_ptr_array_remove_index(servers, i);
            free_server(s);
        }
    }
    if (servers && !servers->len) {
        g_ptr_array_free(g_steal_pointer(&servers), TRUE);
    }
}

VncServer *vnc_find(Machine *m, const char *id, Error **errp)
{
    VncServer *s = find_server(m, id);
    if (!s) {
        error_fail(errp, "not-found", id ? "display" : NULL, NULL,
                   id ? "there is no VNC server '%s'" : "there is no VNC server%s", id ? id : "");
        error_hint(errp, "start the program with -vnc");
    }
    return s;
}

/* ---- for monitors ---- */

bool vnc_set_password(VncServer *s, const char *password, VncConnected connected, Error **errp)
{
    if (!s->opts.password) {
        error_fail(errp, "not-supported", NULL, NULL, "VNC server '%s' needs no password that could be set",
                   s->opts.id);
        error_hint(errp, "start it with password=on");
        return false;
    }
    if (connected == VNC_CONNECTED_FAIL && s->clients->len) {
        error_fail(errp, "in-use", "connected", NULL, "VNC server '%s' has %u clients", s->opts.id,
                   s->clients->len);
        error_hint(errp, "use connected=keep or connected=disconnect");
        return false;
    }
    for (guint i = 0; connected == VNC_CONNECTED_DISCONNECT && i < s->clients->len; i++) {
        end_client(s->clients->pdata[i]);
    }
    g_clear_pointer(&s->password, g_bytes_unref);
    s->password = g_bytes_new(password, strlen(password));
    return true;
}

bool vnc_expire_password(VncServer *s, const char *when, Error **errp)
{
    int64_t now = g_get_real_time() / G_USEC_PER_SEC;
    uint64_t n;
    if (g_str_equal(when, "never")) {
        s->expires = INT64_MAX;
    } else if (g_str_equal(when, "now")) {
        s->expires = 0;
    } else if (text_to_u64(when + (*when == '+'), &n, NULL) && n <= INT64_MAX / 2) {
        s->expires = (*when == '+' ? now : 0) + (int64_t)n;
    } else {
        error_fail(errp, "invalid-value", "time", NULL, "'%s' is no time", when);
        error_hint(errp, "now, never, +SECONDS and seconds since 1970 are possible");
        return false;
    }
    return true;
}

void vnc_foreach(Machine *m, void (*fn)(VncServer *s, void *opaque), void *opaque)
{
    for (guint i = 0; servers && i < servers->len; i++) {
        VncServer *s = servers->pdata[i];
        if (s->m == m) {
            fn(s, opaque);
        }
    }
}

const char *vnc_id(const VncServer *s)
{
    return s->opts.id;
}

const char *vnc_auth(const VncServer *s)
{
    return s->opts.password || s->opts.password_secret ? "vnc" : "none";
}

const char *vnc_display(const VncServer *s)
{
    return s->opts.display;
}

bool vnc_listens_at(const VncServer *s, unsigned n, VncAddress *out)
{
    if (n < s->n_listeners) {
        *out = s->listeners[n].address;
    }
    return n < s->n_listeners;
}

bool vnc_client_at(const VncServer *s, unsigned n, VncAddress *out)
{
    for (guint i = 0; i < s->clients->len; i++) {
        const VncClient *c = s->clients->pdata[i];
        if (c->told_ready && n-- == 0) {
            *out = c->peer;
            return true;
        }
    }
    return false;
}
