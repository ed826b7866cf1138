/* SPDX-License-Identifier: MIT
 * ui/web-http.c - browsers' connections to the web console: files for pages, WebSockets for VNC.
 *
 * Models: of HTTP/1.1 (RFC 9112) what a page needs: GET and HEAD, one request a connection. A WebSocket's
 *         request (RFC 6455) is only looked at and stays in the socket, which libvncserver gets; before that
 * it must have the token, and a browser's must come from a page of ours (Origin). Files lie in memory and are
 * sent from there, so that a connection costs WEB_HEAD bytes however slow its reader is; it has
 * WEB_PATIENCE_S seconds for each progress, and when WEB_CONNS are open the oldest ends. Threads: main loop.
 * Tests: tests/func/web.py. */
#include "web.h"
#include "rhea/system/machine.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The library takes 4096 bytes of a WebSocket's request. */
enum { WEB_HEAD = 8192, WEB_UPGRADE_HEAD = 4000, WEB_CONNS = 64, WEB_PATIENCE_S = 20 };

typedef struct WebConn {
    WebServer *w;
    FdWatch watch;
    Timer patience;
    VncAddress peer;
    char head[WEB_HEAD + 1]; /* the request */
    size_t have;
    GString *reply; /* NULL: none yet */
    GBytes *body;   /* behind it; or NULL */
    size_t sent;    /* of both */
} WebConn;

/* ---- life ---- */

/* close_it: false when the descriptor has gone to somebody else. */
static void end_conn(WebConn *c, bool close_it)
{
    if (c->watch.loop) {
        fd_watch_remove(&c->watch);
    }
    timer_cancel(&c->patience);
    if (close_it) {
        close(c->watch.fd);
    }
    g_ptr_array_remove(c->w->conns, c);
    if (c->reply) {
        g_string_free(c->reply, TRUE);
    }
    g_clear_pointer(&c->body, g_bytes_unref);
    g_free(c);
}

static void out_of_patience(void *opaque)
{
    end_conn(opaque, true);
}

static void be_patient(WebConn *c)
{
    timer_arm(&c->patience, clock_now(&clock_host_monotonic) + WEB_PATIENCE_S * INT64_C(1000000000));
}

/* ---- answers ---- */

static void send_more(WebConn *c)
{
    gsize size = 0;
    const char *data = c->body ? g_bytes_get_data(c->body, &size) : NULL;
    while (c->sent < c->reply->len + size) {
        bool in_head = c->sent < c->reply->len;
        const char *from = in_head ? c->reply->str + c->sent : data + (c->sent - c->reply->len);
        size_t n = in_head ? c->reply->len - c->sent : c->reply->len + size - c->sent;
        ssize_t done = send(c->watch.fd, from, n, MSG_NOSIGNAL);
        if (done <= 0) {
            if (done < 0 && (errno == EAGAIN || errno == EINTR)) {
                fd_watch_set(&c->watch, LOOP_OUT);
                return;
            }
            end_conn(c, true);
            return;
        }
        c->sent += (size_t)done;
        be_patient(c);
    }
    end_conn(c, true);
}

/* Takes body. Nothing of ours may be framed, guessed a type for, or told to other servers. */
static void answer(WebConn *c, const char *status, const char *type, GBytes *body, bool head_only)
{
    /* What was only looked at: unread bytes would turn our end into a reset. */
    if (recv(c->watch.fd, c->head, WEB_HEAD, MSG_DONTWAIT) < 0) {
        end_conn(c, true);
        g_bytes_unref(body);
        return;
    }
    c->reply = g_string_new(NULL);
    g_string_printf(c->reply,
                    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
                    "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
                    "Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
                    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
                    "img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'\r\n\r\n",
                    status, type, g_bytes_get_size(body));
    c->body = head_only ? NULL : g_bytes_ref(body);
    g_bytes_unref(body);
    send_more(c);
}

static void answer_text(WebConn *c, const char *status, const char *text)
{
    answer(c, status, "text/plain; charset=utf-8", g_bytes_new(text, strlen(text)), false);
}

static void answer_file(WebConn *c, const char *path, bool head_only)
{
    for (const WebPage *p = web_pages; p->path; p++) {
        if (g_str_equal(p->path, path)) {
            answer(c, "200 OK", p->type, g_bytes_new_static(p->data, p->size), head_only);
            return;
        }
    }
    GBytes *file = g_hash_table_lookup(c->w->files, path);
    if (file) {
        answer(c, "200 OK", "text/javascript; charset=utf-8", g_bytes_ref(file), head_only);
    } else {
        answer_text(c, "404 Not Found", "there is no such file\n");
    }
}

/* ---- requests ---- */

/* The value of a field in the head's lines (which end with CR LF, and where the last one is empty); NULL:
 * it is not there, or there twice. g_free. */
static char *field(const char *head, const char *name)
{
    size_t n = strlen(name);
    char *value = NULL;
    for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        const char *at = line + 2;
        if (g_ascii_strncasecmp(at, name, n) == 0 && at[n] == ':') {
            if (value) {
                g_free(value);
                return NULL;
            }
            const char *end = strstr(at, "\r\n");
            value = g_strstrip(g_strndup(at + n + 1, end ? (gsize)(end - at) - n - 1 : strlen(at + n + 1)));
        }
    }
    return value;
}

/* A page of another server says so here, and nothing that runs in it can say anything else. Programs that are
 * no browsers leave it out. */
static bool right_origin(const char *head)
{
    g_autofree char *origin = field(head, "Origin"), *host = field(head, "Host");
    if (!origin) {
        return !strcasestr(head, "\r\nOrigin:"); /* twice is wrong */
    }
    const char *from = g_str_has_prefix(origin, "http://")    ? origin + strlen("http://")
                       : g_str_has_prefix(origin, "https://") ? origin + strlen("https://")
                                                              : NULL;
    return from && host && g_ascii_strcasecmp(from, host) == 0;
}

/* Takes as long for a wrong one as for the right one. */
static bool right_token(const WebServer *w, const char *query)
{
    const char *said = query && g_str_has_prefix(query, "token=") ? query + strlen("token=") : "";
    size_t n = strlen(w->token);
    unsigned differ = 0;
    if (strlen(said) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        differ |= (unsigned)(w->token[i] ^ said[i]);
    }
    return differ == 0;
}

static void upgrade(WebConn *c, const char *query)
{
    WebServer *w = c->w;
    g_autofree char *to = field(c->head, "Upgrade");
    if (!to || g_ascii_strcasecmp(to, "websocket") != 0) {
        answer_text(c, "426 Upgrade Required", "this address is for WebSockets\n");
        return;
    }
    if (c->have > WEB_UPGRADE_HEAD) {
        answer_text(c, "431 Request Header Fields Too Large", "the request is too long\n");
        return;
    }
    bool token = right_token(w, query);
    if (!token || !right_origin(c->head)) {
        log_warn_once(&w->told, "web console: refused a connection of %s, %s", c->peer.host,
                      token ? "which came from a page of another server" : "whose token was wrong");
        answer_text(c, "403 Forbidden", "open the address that was printed when the program started\n");
        return;
    }
    int one = 1, fd = c->watch.fd;
    VncAddress peer = c->peer;
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
    end_conn(c, false);
    vnc_take(w->vnc, fd, &peer);
}

static void do_request(WebConn *c)
{
    char *line_end = strstr(c->head, "\r\n");
    g_autofree char *line = g_strndup(c->head, (gsize)(line_end - c->head));
    g_auto(GStrv) words = g_strsplit(line, " ", 4);
    if (g_strv_length(words) != 3 || !g_str_has_prefix(words[2], "HTTP/1.") || words[1][0] != '/') {
        answer_text(c, "400 Bad Request", "this is no request of HTTP/1.1\n");
        return;
    }
    bool head_only = g_str_equal(words[0], "HEAD");
    if (!head_only && !g_str_equal(words[0], "GET")) {
        answer_text(c, "405 Method Not Allowed", "files are here to be read\n");
        return;
    }
    char *query = strchr(words[1], '?');
    if (query) {
        *query++ = 0;
    }
    if (g_str_equal(words[1], "/websockify")) {
        upgrade(c, query);
    } else {
        answer_file(c, words[1], head_only);
    }
}

static void on_ready(void *opaque, unsigned revents)
{
    WebConn *c = opaque;
    (void)revents;
    if (c->reply) {
        send_more(c);
        return;
    }
    ssize_t n = recv(c->watch.fd, c->head, WEB_HEAD, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || (size_t)n <= c->have || memchr(c->head, 0, (size_t)n)) { /* there will be no more */
        end_conn(c, true);
        return;
    }
    c->have = (size_t)n;
    c->head[n] = 0;
    if (strstr(c->head, "\r\n\r\n")) {
        do_request(c);
    } else if (n == WEB_HEAD) {
        answer_text(c, "431 Request Header Fields Too Large", "the request is too long\n");
    } else {
        int more = (int)n + 1; /* what was looked at already wakes nobody */
        setsockopt(c->watch.fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more));
    }
}

void web_accept(void *server, int fd, const VncAddress *peer)
{
    WebServer *w = server;
    WebConn *c = g_new0(WebConn, 1);
    if (w->conns->len >= WEB_CONNS) {
        end_conn(w->conns->pdata[0], true);
    }
    c->w = w;
    c->peer = *peer;
    c->watch = (FdWatch){ .fd = fd, .events = LOOP_IN, .ready = on_ready, .opaque = c };
    timer_init(&c->patience, w->m->loop, &clock_host_monotonic, out_of_patience, c);
    g_ptr_array_add(w->conns, c);
    be_patient(c);
    if (!fd_watch_add(w->m->loop, &c->watch, NULL)) {
        end_conn(c, true);
    }
}

void web_end_all(WebServer *w)
{
    while (w->conns->len) {
        end_conn(w->conns->pdata[0], true);
    }
}
