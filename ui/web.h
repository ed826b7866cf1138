/* SPDX-License-Identifier: MIT
 * ui/web.h - the web console inside: what ui/web.c (the front end and its files) and ui/web-http.c (browsers'
 * connections) have in common. Main loop.
 */
#ifndef UI_WEB_H
#define UI_WEB_H

#include "rhea/ui/vnc.h"

enum { WEB_TOKEN_MIN = 16, WEB_TOKEN_MAX = 128 };

typedef struct WebPage { /* of the program's own; the table ends with a NULL path */
    const char *path, *type, *data;
    size_t size;
} WebPage;
extern const WebPage web_pages[];

typedef struct WebServer {
    Machine *m;
    VncServer *vnc;
    char token[WEB_TOKEN_MAX + 1];
    GHashTable *files; /* "/novnc/core/rfb.js": GBytes * */
    GPtrArray *conns;  /* WebConn *: the oldest first */
    bool told;         /* that somebody was refused */
} WebServer;

/* web-http.c. Takes fd, which is non-blocking: it is answered, or given to w->vnc. VncFront's accepted(). */
void web_accept(void *server, int fd, const VncAddress *peer);
void web_end_all(WebServer *w);

#endif
