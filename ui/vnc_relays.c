/* SPDX-License-Identifier: MIT
 * ui/vnc_relays.c - the relays (vnc_tls.c) of a VNC server with TLS: how they come and go.
 *
 * A client is one from the start, so that those at their handshake count as all others do (vnc_clients.c);
 * when it ends, its socket does, and then the relay. Threads: main loop. Tests: tests/func/vnctls.py.
 */
#include "vnc_internal.h"
#include "rhea/system/machine.h"
#include "rhea/util/log.h"

#include <unistd.h>

enum { VNC_RELAYS = 320 }; /* some whose client is gone have last bytes */

static void free_relay(VncRelay *r)
{
    vnc_tls_free(r->tls);
    g_ptr_array_remove(r->server->relays, r);
    g_free(r);
}

static void on_ended(void *opaque, VncTls *t, const char *why)
{
    VncRelay *r = opaque;
    VncServer *s = r->server;
    (void)t;
    if (why) {
        log_warn_once(&s->told_tls, "VNC server '%s': a client of %s was not let in: %s", s->opts.id,
                      *r->host ? r->host : "a unix socket", why);
    }
    free_relay(r);
}

int vnc_relay_start(VncServer *s, int fd, bool websocket, const VncAddress *peer, VncTls **tls)
{
    Error *err = NULL;
    int plain = -1;
    if (s->relays->len >= VNC_RELAYS) {
        close(fd);
        return -1;
    }
    VncRelay *r = g_new0(VncRelay, 1);
    VncTlsOptions o = { .creds = s->tls,
                        .vencrypt = !websocket,
                        .loop = s->m->loop,
                        .ended = on_ended,
                        .opaque = r,
                        .password = s->opts.password || s->opts.password_secret };
    r->server = s;
    g_strlcpy(r->host, peer->host, sizeof(r->host));
    r->tls = vnc_tls_new(&o, fd, &plain, &err);
    if (!r->tls) {
        log_warn_once(&s->told_tls, "VNC server '%s': a client was turned away: %s", s->opts.id,
                      error_text(err));
        error_free(err);
        g_free(r);
        return -1;
    }
    g_ptr_array_add(s->relays, r);
    *tls = vnc_tls_ref(r->tls);
    return plain;
}

void vnc_relays_end(VncServer *s)
{
    while (s->relays->len) {
        free_relay(s->relays->pdata[s->relays->len - 1]);
    }
    g_ptr_array_free(s->relays, TRUE);
}
