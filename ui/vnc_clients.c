/* SPDX-License-Identifier: MIT
 * ui/vnc_clients.c - clients of a VNC server: how they come, share and go.
 * Threads: main loop.
 */
#include "vnc_internal.h"
#include "rhea/system/machine.h"
#include "rhea/util/json.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VNC_CLIENTS = 256 };

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
    VncAddress at = vnc_address(s);
    Json *data = json_new_object(), *server = address_json(&at), *client = address_json(&c->peer);
    g_autofree char *name = c->tls ? vnc_tls_name(c->tls) : NULL;
    json_object_object_add(server, "auth", json_new_string(vnc_auth(s, at.websocket)));
    json_object_object_add(data, "server", server);
    if (name && c->told_ready) {
        json_object_object_add(client, "x509_dname", json_new_string(name));
    }
    json_object_object_add(data, "client", client);
    machine_event(s->m, event, data);
}

void vnc_client_end(VncClient *c)
{
    pthread_mutex_lock(&c->lock);
    c->quit = true;
    pthread_cond_broadcast(&c->room);
    pthread_mutex_unlock(&c->lock);
    shutdown(c->sock, SHUT_RDWR); /* whoever waits for it goes on */
    vnc_client_wake(c);
}

static void free_client(VncClient *c)
{
    timer_cancel(&c->next_key);
    loop_unpost(c->next_key.loop, &c->notify);
    surface_unref(c->surface);
    surface_unref(c->cursor.image);
    g_clear_pointer(&c->cut_in, g_bytes_unref);
    g_clear_pointer(&c->cut_out, g_bytes_unref);
    pixman_region32_fini(&c->damage);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->room);
    close(c->sock);
    close(c->wake[0]);
    close(c->wake[1]);
    if (c->password) {
        memset(c->password, 0, strlen(c->password));
    }
    vnc_tls_unref(c->tls);
    g_free(c->password);
    g_free(c->title);
    g_free(c);
}

void vnc_client_drop(VncClient *c)
{
    VncServer *s = c->server;
    vnc_client_join(c);
    vnc_release_input(c);
    tell(s, "VNC_DISCONNECTED", c);
    g_ptr_array_remove(s->clients, c);
    free_client(c);
    if (!s->clients->len) {
        vnc_stop_looking(s);
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
bool vnc_make_room(VncServer *s)
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
        vnc_client_end(oldest);
    }
    return s->clients->len < VNC_CLIENTS;
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
            vnc_client_end(other);
        }
    }
}

/* What one of them has copied, all others get. */
static void pass_text(VncServer *s, const VncClient *from, GBytes *text)
{
    for (guint i = 0; i < s->clients->len; i++) {
        VncClient *c = s->clients->pdata[i];
        if (c == from) {
            continue;
        }
        pthread_mutex_lock(&c->lock);
        GBytes *before = c->cut_out;
        c->cut_out = g_bytes_ref(text);
        pthread_mutex_unlock(&c->lock);
        g_bytes_unref(before);
        vnc_client_wake(c);
    }
}

void vnc_clipboard_changed(ClipboardPeer *p)
{
    VncServer *s = (VncServer *)((char *)p - offsetof(VncServer, clipboard));
    size_t len;
    const char *text = clipboard_text(s->m, &len);
    g_autoptr(GBytes) bytes = g_bytes_new(text, len);
    pass_text(s, NULL, bytes);
}

static void on_news(void *opaque)
{
    VncClient *c = opaque;
    pthread_mutex_lock(&c->lock);
    bool ready = c->ready, gone = c->gone;
    c->peer.websocket = c->websocket;
    c->relative = c->relative_known;
    g_autoptr(GBytes) text = g_steal_pointer(&c->cut_in);
    pthread_mutex_unlock(&c->lock);
    if (ready && !c->told_ready) {
        c->told_ready = true;
        tell(c->server, "VNC_INITIALIZED", c);
        settle_sharing(c->server, c);
    }
    if (text) {
        gsize len;
        const char *utf8 = g_bytes_get_data(text, &len);
        pass_text(c->server, c, text);
        clipboard_put(&c->server->clipboard, utf8, len);
    }
    vnc_do_events(c);
    if (gone) {
        vnc_client_drop(c);
        return;
    }
    pthread_mutex_lock(&c->lock);
    bool more = c->n_events && !timer_armed(&c->next_key);
    pthread_mutex_unlock(&c->lock);
    if (more) {
        loop_post(c->next_key.loop, &c->notify);
    }
}

void vnc_client_add(VncServer *s, int fd, VncTls *tls, bool web, const VncAddress *peer)
{
    Error *err = NULL;
    VncClient *c = g_new0(VncClient, 1);
    c->server = s;
    c->peer = *peer;
    c->tls = tls;
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
    c->notify = (Task){ .run = on_news, .opaque = c };
    timer_init(&c->next_key, s->m->loop, &clock_host_monotonic, vnc_key_time_over, c);
    c->thread_sock = fd;
    c->sock = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    bool piped = pipe2(c->wake, O_CLOEXEC | O_NONBLOCK) == 0;
    c->wake[0] = piped ? c->wake[0] : -1;
    c->wake[1] = piped ? c->wake[1] : -1;
    g_ptr_array_add(s->clients, c);
    vnc_look(s);
    surface_unref(c->surface);
    c->surface = surface_ref(s->picture);
    c->leds = input_leds(s->m);
    c->absolute = input_pointer_is_absolute(s->m, s->console.console);
    if (s->has_cursor) {
        vnc_give_cursor(s, c);
    }
    if (c->sock < 0 || !piped || !vnc_client_start(c, &err)) {
        error_free(err);
        if (c->sock < 0 || !piped) {
            close(fd);
        }
        g_ptr_array_remove(s->clients, c);
        free_client(c);
        if (!s->clients->len) {
            vnc_stop_looking(s);
        }
        return;
    }
    tell(s, "VNC_CONNECTED", c);
}
