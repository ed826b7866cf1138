/* SPDX-License-Identifier: MIT
 * ui/vnc_internal.h - a VNC server's clients: what main loop and their threads have in common.
 */
#ifndef UI_VNC_INTERNAL_H
#define UI_VNC_INTERNAL_H

#include "rhea/ui/vnc.h"

#include <pthread.h>

enum { VNC_EVENTS = 256, VNC_RECTS = 64 };

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

/* vnc.c */
void vnc_client_notify(void *client);

#endif
