/* SPDX-License-Identifier: MIT
 * ui/vnc_internal.h - VNC servers inside: what the files vnc*.c have in common, and a server's threads with
 * the main loop. All functions: main loop.
 */
#ifndef UI_VNC_INTERNAL_H
#define UI_VNC_INTERNAL_H

#include "rhea/ui/clipboard.h"
#include "rhea/ui/vnc.h"
#include "rhea/util/loop.h"
#include "vnc_tls.h"

#include <pthread.h>

enum { VNC_EVENTS = 256, VNC_RECTS = 64, VNC_LISTENERS = 16, VNC_CUT_MAX = 256 << 10 };

struct VncServer {
    Machine *m;
    VncOptions opts;
    KeyLayout *layout;
    GBytes *password; /* NULL: not set */
    int64_t expires;  /* seconds since 1970; INT64_MAX: never */
    GPtrArray *listeners; /* VncListener *: at most VNC_LISTENERS, those of WebSockets last */
    GPtrArray *clients;   /* VncClient * */
    ConsoleListener console;
    const Console *chosen; /* by Ctrl-Alt-N; only compared. NULL: the usual one */
    Surface *source;  /* the console's, or NULL */
    Surface *picture; /* what clients are sent; NULL: nobody looks */
    CursorShape cursor;
    bool has_cursor;
    InputWatcher input;
    ClipboardPeer clipboard;
    bool told_fd;     /* of a descriptor that is too high */
    VncFront front;   /* accepted NULL: clients come at once */
    TlsCreds *tls;    /* NULL: clients speak in plain bytes */
    GPtrArray *relays; /* VncRelay *: their threads */
    bool told_tls;    /* of a client that could not speak TLS */
};

/* A client's TLS; it ends when the client's connection does. */
typedef struct VncRelay {
    VncServer *server;
    VncTls *tls;
    char host[256];
} VncRelay;

/* What a client did. */
typedef enum VncEventKind { VNC_KEYSYM, VNC_SCANCODE, VNC_POINTER, VNC_SIZE, VNC_POWER } VncEventKind;
typedef struct VncEvent {
    VncEventKind kind;
    bool down;
    uint32_t code; /* keysym, scan code of set 1, buttons, XVP's code */
    int x, y;      /* place, or width and height */
} VncEvent;

/* What the server says to the client's thread, and it to the server; under `lock`. */
typedef struct VncClient {
    VncServer *server;
    int sock;      /* a descriptor of the main loop's own, to end the connection by */
    int thread_sock; /* the library's: closed by it */
    int wake[2];   /* a pipe: bytes wake the thread */
    pthread_t thread;
    VncAddress peer;
    VncTls *tls;   /* for its name; or NULL */
    char *password; /* as it was when the client came: NULL: none is needed; "": none is right */
    bool lossy, power, leds_told, web; /* web: it came to the WebSockets' port */
    char *title;

    pthread_mutex_t lock;
    pthread_cond_t room;     /* in the queue */
    bool quit;               /* to the thread */
    Surface *surface;        /* a new picture, or NULL */
    pixman_region32_t damage;
    bool cursor_new;         /* the next two are */
    CursorShape cursor;      /* image NULL: hidden */
    unsigned leds;
    bool absolute;
    VncEvent events[VNC_EVENTS]; /* from the thread */
    unsigned head, n_events;
    bool ready, shared, websocket, relative_known; /* past the handshake; its wishes */
    GBytes *cut_in, *cut_out; /* text its user marked, and another one's; UTF-8; or NULL */
    bool gone;               /* the thread is about to end */
    Task notify;             /* the main loop looks at the above */

    /* The main loop's. */
    bool told_ready;
    unsigned buttons;
    bool relative; /* it sends movements while the pointer is a mouse */
    int last_x, last_y;
    bool has_last;
    bool keys[INPUT_KEYS];
    Timer next_key;
} VncClient;

/* vnc_client.c. Starts the thread, which takes thread_sock over in any case. */
bool vnc_client_start(VncClient *c, Error **errp);
void vnc_client_join(VncClient *c);  /* it was told to quit, or has */
void vnc_client_wake(VncClient *c);  /* after a change, without the lock */
bool vnc_library_load(Error **errp); /* main loop, once before the first client */

/* vnc_listen.c */
/* place NULL: at the places of its options. */
bool vnc_listen_start(VncServer *s, const SockSpec *place, Error **errp);
void vnc_listen_stop(VncServer *s);
VncAddress vnc_address(const VncServer *s); /* of the first listener, for events */

/* vnc_relays.c */
/* Takes the client's fd; what stands for it, where its bytes are plain; *tls: a reference to what relays it.
 * -1: no room, or it failed. */
int vnc_relay_start(VncServer *s, int fd, bool websocket, const VncAddress *peer, VncTls **tls);
void vnc_relays_end(VncServer *s);

/* vnc_clients.c */
bool vnc_make_room(VncServer *s); /* false: there are too many clients */
/* Takes fd, which is non-blocking, and the reference tls, of what relays it, or NULL; web: it came to the
 * WebSockets' place. */
void vnc_client_add(VncServer *s, int fd, VncTls *tls, bool web, const VncAddress *peer);
void vnc_client_end(VncClient *c);  /* soon; it may be at work */
void vnc_client_drop(VncClient *c); /* now; its thread has ended, or is about to */
void vnc_clipboard_changed(ClipboardPeer *p);

/* vnc_picture.c */
extern const ConsoleListenerOps vnc_listener_ops;
void vnc_look(VncServer *s); /* somebody came: there is a picture afterwards */
void vnc_stop_looking(VncServer *s);
void vnc_consoles_changed(void *server);
void vnc_give_cursor(VncServer *s, VncClient *c);

/* vnc_input.c */
void vnc_do_events(VncClient *c); /* what is in the queue, as far as key-delay-ms allows */
void vnc_key_time_over(void *client);
void vnc_release_input(VncClient *c); /* what it held */
void vnc_input_changed(InputWatcher *w);

#endif
