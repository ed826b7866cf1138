/* SPDX-License-Identifier: MIT
 * ui/vnc_client.c - one VNC client: a thread that speaks RFB with it, by libvncserver.
 *
 * Models: RFC 6143 and the library's encodings; cursor shapes, DesktopSize, ExtendedDesktopSize, XVP,
 * WebSocket; QEMU's extended key events, pointer-motion-change and LED state, as an extension of the
 * library's. Each client has a screen of the library's of its own, which nobody else touches: the library's
 * calls may wait for the client (20 s at most), and have no need of its locks. What is shared is the picture:
 * the main loop writes it while threads send it, and marks what it wrote afterwards, so a torn rectangle is
 * sent once more. Threads: each client's own; the start and vnc_client_wake(), main loop.
 */
#include "vnc_internal.h"
#include "config.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/library.h"

#if HAVE_VNC
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define VNC_FUNCTIONS(F)                                                                                     \
    F(rfbGetScreen)                                                                                          \
    F(rfbNewClient)                                                                                          \
    F(rfbProcessClientMessage)                                                                               \
    F(rfbUpdateClient)                                                                                       \
    F(rfbClientConnectionGone)                                                                               \
    F(rfbCloseClient) F(rfbScreenCleanup) F(rfbNewFramebuffer) F(rfbMarkRectAsModified) F(rfbSetCursor)      \
        F(rfbWriteExact) F(rfbReadExact) F(rfbRegisterProtocolExtension) F(rfbLogEnable)                     \
            F(rfbSendServerCutText) F(rfbEncryptBytes) F(sraRgnCreate) F(sraRgnCreateRect) F(sraRgnDestroy)  \
                F(sraRgnOr) F(sraRgnGetIterator) F(sraRgnIteratorNext) F(sraRgnReleaseIterator)

static struct Lib {
#define FIELD(f) __typeof__(f) *f;
    VNC_FUNCTIONS(FIELD)
#undef FIELD
    /* rfbSendServerCutTextUTF8: of versions since 0.9.14 */
    void (*send_utf8)(rfbScreenInfoPtr screen, char *text, int len, char *latin, int latin_len);
    rfbBool (*has_data)(rfbClientPtr cl); /* webSocketsHasDataInBuffer: exported, in no header */
} lib;

enum {
    ENC_MOTION = -257,
    ENC_KEYS = -258,
    ENC_LEDS = -261,
    MSG_QEMU = 255,
    WAIT_MS = 20000,
    WAIT_STEP_MS = 100,
    REQUEST_MAX = 4095 /* the library's own limit */
};

/* The thread's part of a client. */
typedef struct Session {
    VncClient *c;
    rfbScreenInfoPtr screen;
    rfbClientPtr cl;
    Surface *surface;
    bool motion, leds;     /* the client knows these extensions */
    bool absolute, shaped; /* as it was told; there ever was a cursor */
    unsigned led_state;
    bool told_motion, told_leds, ready;
} Session;

static Session *session_of(rfbClientPtr cl)
{
    return cl->screen->screenData;
}

/* ---- to the main loop ---- */

/* Waits for room, so that a client that types faster than the guest reads is not read meanwhile. */
static void post(Session *s, VncEvent e)
{
    VncClient *c = s->c;
    pthread_mutex_lock(&c->lock);
    VncEvent *last = c->n_events ? &c->events[(c->head + c->n_events - 1) % VNC_EVENTS] : NULL;
    if (last && e.kind == VNC_POINTER && last->kind == VNC_POINTER && last->code == e.code && c->absolute) {
        *last = e; /* on its way */
    } else {
        while (c->n_events == VNC_EVENTS && !c->quit) {
            pthread_cond_wait(&c->room, &c->lock);
        }
        if (!c->quit) {
            c->events[(c->head + c->n_events++) % VNC_EVENTS] = e;
        }
    }
    pthread_mutex_unlock(&c->lock);
    loop_post(c->next_key.loop, &c->notify);
}

static void on_key(rfbBool down, rfbKeySym sym, rfbClientPtr cl)
{
    post(session_of(cl), (VncEvent){ .kind = VNC_KEYSYM, .down = down, .code = sym });
}

static void on_pointer(int mask, int x, int y, rfbClientPtr cl)
{
    post(session_of(cl), (VncEvent){ .kind = VNC_POINTER, .code = (uint32_t)mask & 0x1ff, .x = x, .y = y });
}

static int on_size(int width, int height, int n, struct rfbExtDesktopScreen *screens, rfbClientPtr cl)
{
    enum { FORWARDED = 4 }; /* "Request forwarded": it is the guest that decides */
    (void)screens;
    if (n != 1 || width <= 0 || height <= 0) {
        return rfbExtDesktopSize_InvalidScreenLayout;
    }
    post(session_of(cl), (VncEvent){ .kind = VNC_SIZE, .x = width, .y = height });
    return FORWARDED;
}

static rfbBool on_power(rfbClientPtr cl, uint8_t version, uint8_t code)
{
    if (version != 1 || code < 2 || code > 4) {
        return FALSE;
    }
    post(session_of(cl), (VncEvent){ .kind = VNC_POWER, .code = code });
    return TRUE;
}

/* UTF-8, of which this takes the reference. One that was not passed on yet is forgotten. */
static void post_text(VncClient *c, GBytes *cut)
{
    pthread_mutex_lock(&c->lock);
    GBytes *before = c->cut_in;
    c->cut_in = cut;
    pthread_mutex_unlock(&c->lock);
    g_bytes_unref(before);
    loop_post(c->next_key.loop, &c->notify);
}

/* 7.5.6: Latin-1. */
static void on_text(char *text, int len, rfbClientPtr cl)
{
    gsize n;
    char *utf8 =
        len < 0 || len > VNC_CUT_MAX ? NULL : g_convert(text, len, "UTF-8", "ISO-8859-1", NULL, &n, NULL);
    if (utf8) {
        post_text(session_of(cl)->c, g_bytes_new_take(utf8, n));
    }
}

/* The extended clipboard's. */
static void on_text_utf8(char *text, int len, rfbClientPtr cl)
{
    gsize n = len < 0 || len > VNC_CUT_MAX ? 0 : strnlen(text, (gsize)len); /* some end it with a zero */
    if (n && g_utf8_validate(text, (gssize)n, NULL)) {
        post_text(session_of(cl)->c, g_bytes_new(text, n));
    }
}

/* The library's function for UTF-8 serves clients of the old kind, too, but says UTF-8's length to them. */
static void send_text(Session *s, GBytes *cut)
{
    gsize len, n;
    const char *text = g_bytes_get_data(cut, &len);
    g_autofree char *latin =
        g_convert_with_fallback(text, (gssize)len, "ISO-8859-1", "UTF-8", "?", NULL, &n, NULL);
    if (latin && lib.send_utf8 && s->cl->enableExtendedClipboard) {
        lib.send_utf8(s->screen, (char *)text, (int)len, latin, (int)n);
    } else if (latin) {
        lib.rfbSendServerCutText(s->screen, latin, (int)n);
    }
}

static void ignore_keys(rfbClientPtr cl)
{
    (void)cl; /* the main loop knows what is down */
}

/* 7.2.2: DES of the challenge, by the password's first eight bytes. */
static rfbBool check_password(rfbClientPtr cl, const char *response, int len)
{
    const VncClient *c = session_of(cl)->c;
    uint8_t want[CHALLENGESIZE];
    char key[9] = { 0 };
    unsigned differ = len != CHALLENGESIZE || !*c->password;
    memcpy(want, cl->authChallenge, sizeof(want));
    g_strlcpy(key, c->password, sizeof(key));
    lib.rfbEncryptBytes(want, key);
    for (int i = 0; i < MIN(len, CHALLENGESIZE); i++) {
        differ |= want[i] ^ (uint8_t)response[i];
    }
    return differ == 0;
}

/* Just before an update. */
static void before_update(rfbClientPtr cl)
{
    Session *s = session_of(cl);
    if (!s->c->lossy) {
        cl->tightQualityLevel = cl->turboQualityLevel = -1;
    }
    if (!s->shaped) {
        cl->cursorWasChanged = FALSE; /* the client's own pointer stays until the guest has one */
    }
}

/* ---- QEMU's extensions ---- */

/* An update of one rectangle of a pseudo encoding. */
static void send_pseudo(Session *s, int x, int encoding, int payload)
{
    uint8_t m[17] = { 0, 0, 0, 1 };
    uint16_t be[4] = { htons((uint16_t)x), 0, htons((uint16_t)s->screen->width),
                       htons((uint16_t)s->screen->height) };
    uint32_t enc = htonl((uint32_t)encoding);
    memcpy(m + 4, be, sizeof(be));
    memcpy(m + 12, &enc, sizeof(enc));
    m[16] = (uint8_t)payload;
    if (lib.rfbWriteExact(s->cl, (char *)m, payload < 0 ? 16 : 17) < 0) {
        lib.rfbCloseClient(s->cl);
    }
}

static rfbBool ext_encoding(rfbClientPtr cl, void **data, int encoding)
{
    Session *s = session_of(cl);
    (void)data;
    s->cl = cl;
    switch (encoding) {
    case ENC_KEYS: send_pseudo(s, 0, ENC_KEYS, -1); return TRUE;
    case ENC_MOTION: s->motion = true; return TRUE;
    case ENC_LEDS: s->leds = s->c->leds_told; return TRUE;
    default: return FALSE;
    }
}

static rfbBool ext_message(rfbClientPtr cl, void *data, const rfbClientToServerMsg *msg)
{
    uint8_t m[11]; /* submessage 0, down (2 bytes), keysym (4), scan code (4) */
    (void)data;
    if (msg->type != MSG_QEMU || lib.rfbReadExact(cl, (char *)m, 1) <= 0 || m[0] != 0 ||
        lib.rfbReadExact(cl, (char *)m + 1, sizeof(m) - 1) <= 0) {
        return FALSE;
    }
    uint32_t sym = (uint32_t)m[3] << 24 | m[4] << 16 | m[5] << 8 | m[6];
    uint32_t scan = (uint32_t)m[7] << 24 | m[8] << 16 | m[9] << 8 | m[10];
    post(session_of(cl), (VncEvent){ .kind = scan ? VNC_SCANCODE : VNC_KEYSYM,
                                     .down = m[1] || m[2],
                                     .code = scan ? scan : sym });
    return TRUE;
}

static void no_action(int sig)
{
    (void)sig;
}

/* The library sleeps in select() for a client that does not read, which the end of a unix socket does not
 * interrupt; this signal, which is else ignored, does. */
static void prepare_signal(void)
{
    struct sigaction a = { .sa_handler = no_action };
    sigaction(SIGURG, &a, NULL);
}

void vnc_client_join(VncClient *c)
{
    enum { AGAIN_NS = 20 * 1000 * 1000 };
    struct timespec until;
    do { /* a signal that comes just before the sleep is lost */
        pthread_kill(c->thread, SIGURG);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += AGAIN_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
    } while (pthread_timedjoin_np(c->thread, NULL, &until) == ETIMEDOUT);
}

static void register_extension(void)
{
    static int encodings[] = { ENC_KEYS, ENC_MOTION, ENC_LEDS, 0 };
    static rfbProtocolExtension ext = { .pseudoEncodings = encodings,
                                        .enablePseudoEncoding = ext_encoding,
                                        .handleMessage = ext_message };
    lib.rfbRegisterProtocolExtension(&ext);
}

bool vnc_library_load(Error **errp)
{
    static bool there;
    if (there) {
        return true;
    }
    static const LibraryCall calls[] = {
#define CALL(f) { #f, offsetof(struct Lib, f), false },
        VNC_FUNCTIONS(CALL)
#undef CALL
        { "webSocketsHasDataInBuffer", offsetof(struct Lib, has_data), true },
        { "rfbSendServerCutTextUTF8", offsetof(struct Lib, send_utf8), true },
    };
    static const Library vncserver = {
        .file = "libvncserver.so.1",
        .what = "VNC needs libvncserver",
        .cure = "install libvncserver1",
        .calls = calls,
        .n = G_N_ELEMENTS(calls),
    };
    there = library_load(&vncserver, &lib, errp);
    if (!there) {
        return false;
    }
    lib.rfbLogEnable(0);
    register_extension();
    prepare_signal();
    return true;
}

/* ---- from the main loop ---- */

static void set_format(Session *s)
{
    rfbPixelFormat *f = &s->screen->serverFormat; /* x8r8g8b8 */
    f->redShift = 16;
    f->greenShift = 8;
    f->blueShift = 0;
    s->screen->paddedWidthInBytes = surface_stride(s->surface);
}

static void take_surface(Session *s, Surface *next)
{
    lib.rfbNewFramebuffer(s->screen, (char *)surface_data(next), surface_width(next), surface_height(next), 8,
                          3, 4);
    surface_unref(s->surface);
    s->surface = next;
    set_format(s);
    if (s->cl) {
        s->screen->setTranslateFunction(s->cl);
    }
}

/* The library frees it. */
static rfbCursorPtr make_cursor(const CursorShape *shape)
{
    int w = surface_width(shape->image), h = surface_height(shape->image);
    rfbCursorPtr cur = calloc(1, sizeof(*cur));
    size_t row = ((size_t)w + 7) / 8;
    cur->cleanup = cur->cleanupMask = cur->cleanupRichSource = TRUE;
    cur->width = (unsigned short)w;
    cur->height = (unsigned short)h;
    cur->xhot = (unsigned short)CLAMP(shape->hot_x, 0, w - 1);
    cur->yhot = (unsigned short)CLAMP(shape->hot_y, 0, h - 1);
    cur->mask = calloc(row, (size_t)h);
    cur->richSource = calloc((size_t)w * h, 4);
    for (int y = 0; y < h; y++) {
        const uint32_t *p = (const uint32_t *)surface_row(shape->image, y);
        memcpy(cur->richSource + (size_t)y * w * 4, p, (size_t)w * 4);
        for (int x = 0; x < w; x++) {
            cur->mask[y * row + x / 8] |= p[x] >> 31 << (7 - x % 8);
        }
    }
    return cur;
}

static void take_cursor(Session *s, CursorShape shape)
{
    s->shaped = s->shaped || shape.image;
    if (s->shaped && s->cl->enableCursorShapeUpdates) {
        lib.rfbSetCursor(s->screen, shape.image ? make_cursor(&shape) : NULL);
    }
    surface_unref(shape.image);
}

static void tell_extensions(Session *s, unsigned leds, bool absolute)
{
    if (s->motion && (!s->told_motion || s->absolute != absolute)) {
        send_pseudo(s, absolute, ENC_MOTION, -1);
        s->told_motion = true;
    }
    if (s->leds && s->cl->sock >= 0 && (!s->told_leds || s->led_state != leds)) {
        send_pseudo(s, 0, ENC_LEDS, (int)leds);
        s->told_leds = true;
    }
    s->absolute = absolute;
    s->led_state = leds;
}

/* False: the server wants an end. */
static bool take_mail(Session *s)
{
    VncClient *c = s->c;
    pixman_region32_t damage;
    CursorShape cursor = { 0 };
    int n;
    pixman_region32_init(&damage);
    pthread_mutex_lock(&c->lock);
    bool quit = c->quit, absolute = c->absolute;
    bool cursor_new = c->cursor_new && s->cl->enableCursorShapeUpdates && s->ready;
    unsigned leds = c->leds;
    Surface *next = g_steal_pointer(&c->surface);
    g_autoptr(GBytes) cut = s->ready ? g_steal_pointer(&c->cut_out) : NULL;
    pixman_region32_copy(&damage, &c->damage);
    pixman_region32_clear(&c->damage);
    if (cursor_new) {
        cursor = c->cursor;
        cursor.image = cursor.image ? surface_ref(cursor.image) : NULL;
        c->cursor_new = false;
    }
    pthread_mutex_unlock(&c->lock);
    if (next) {
        take_surface(s, next);
    }
    const pixman_box32_t *box = pixman_region32_rectangles(&damage, &n);
    for (int i = 0; i < n; i++) {
        lib.rfbMarkRectAsModified(s->screen, box[i].x1, box[i].y1, box[i].x2, box[i].y2);
    }
    pixman_region32_fini(&damage);
    if (cursor_new) {
        take_cursor(s, cursor);
    }
    if (cut && s->cl->sock >= 0) {
        send_text(s, cut);
    }
    if (s->ready && s->cl->sock >= 0) {
        tell_extensions(s, leds, absolute);
    }
    return !quit;
}

/* ---- the thread ---- */

/* 7.3.1: ClientInit is one byte, which the library does not tell of. */
static bool wants_to_share(const Session *s)
{
    uint8_t b;
    return s->cl->wsctx || recv(s->cl->sock, &b, 1, MSG_PEEK) != 1 || b;
}

/* UltraVNC's and PalmVNC's orders to send a smaller picture: the library divides by the width of rectangles
 * that have become narrower than a pixel. Nobody is told that the server knows them. */
static bool wants_scaling(rfbClientPtr cl)
{
    uint8_t type;
    return cl->state == RFB_NORMAL && !cl->wsctx && recv(cl->sock, &type, 1, MSG_PEEK | MSG_DONTWAIT) == 1 &&
           (type == rfbSetScale || type == rfbPalmVNCSetScaleFactor);
}

/* A client may ask for a rectangle without pixels, which regions of the library keep: then its encoders
 * divide by the width and allocate (size_t)-1 bytes. */
static void drop_empty(sraRegion **region)
{
    sraRect r;
    bool found = false;
    sraRectangleIterator *i = lib.sraRgnGetIterator(*region);
    while (!found && lib.sraRgnIteratorNext(i, &r)) {
        found = r.x1 >= r.x2 || r.y1 >= r.y2;
    }
    lib.sraRgnReleaseIterator(i);
    if (!found) {
        return;
    }
    sraRegion *good = lib.sraRgnCreate();
    i = lib.sraRgnGetIterator(*region);
    while (lib.sraRgnIteratorNext(i, &r)) {
        if (r.x1 < r.x2 && r.y1 < r.y2) {
            sraRegion *one = lib.sraRgnCreateRect(r.x1, r.y1, r.x2, r.y2);
            lib.sraRgnOr(good, one);
            lib.sraRgnDestroy(one);
        }
    }
    lib.sraRgnReleaseIterator(i);
    lib.sraRgnDestroy(*region);
    *region = good;
}

static void process(Session *s)
{
    rfbClientPtr cl = s->cl;
    bool shared = cl->state != RFB_INITIALISATION || wants_to_share(s);
    bool init = cl->state == RFB_INITIALISATION;
    if (wants_scaling(cl)) {
        lib.rfbCloseClient(cl);
        return;
    }
    lib.rfbProcessClientMessage(cl);
    drop_empty(&cl->requestedRegion);
    drop_empty(&cl->modifiedRegion);
    if (cl->sock >= 0 && cl->scaledScreen != cl->screen) { /* through a WebSocket it is seen only now */
        lib.rfbCloseClient(cl);
        return;
    }
    if (cl->sock >= 0 && cl->state == RFB_NORMAL && !s->ready) {
        s->ready = true;
        pthread_mutex_lock(&s->c->lock);
        s->c->ready = true;
        s->c->shared = shared || !init;
        s->c->websocket = cl->wsctx != NULL;
        pthread_mutex_unlock(&s->c->lock);
        loop_post(s->c->next_key.loop, &s->c->notify);
    }
    pthread_mutex_lock(&s->c->lock);
    s->c->relative_known = s->motion;
    pthread_mutex_unlock(&s->c->lock);
}

static void converse(Session *s)
{
    struct pollfd fds[2] = { { .events = POLLIN }, { .fd = s->c->wake[0], .events = POLLIN } };
    while (s->cl->sock >= 0 && take_mail(s) && s->cl->sock >= 0) {
        char drop[64];
        if (s->cl->state == RFB_NORMAL) {
            lib.rfbUpdateClient(s->cl);
        }
        if (s->cl->sock < 0) {
            break;
        }
        fds[0].fd = s->cl->sock;
        bool waits = s->cl->wsctx && lib.has_data && lib.has_data(s->cl);
        fds[0].revents = fds[1].revents = 0;
        poll(fds, 2, waits ? 0 : -1);
        if (fds[1].revents && read(s->c->wake[0], drop, sizeof(drop)) < 0) {
            /* nothing: it does not block */
        }
        if (waits || fds[0].revents) {
            process(s);
        }
    }
}

static rfbScreenInfoPtr make_screen(Session *s)
{
    VncClient *c = s->c;
    rfbScreenInfoPtr screen =
        lib.rfbGetScreen(NULL, NULL, surface_width(s->surface), surface_height(s->surface), 8, 3, 4);
    if (!screen) {
        return NULL;
    }
    s->screen = screen;
    screen->screenData = s;
    screen->frameBuffer = (char *)surface_data(s->surface);
    screen->desktopName = c->title;
    screen->cursor = NULL;
    screen->deferUpdateTime = 0;
    screen->maxClientWait = WAIT_MS;
    screen->alwaysShared = TRUE; /* of this screen, which has one client */
    screen->permitFileTransfer = FALSE;
    screen->kbdAddEvent = on_key;
    screen->kbdReleaseAllKeys = ignore_keys;
    screen->ptrAddEvent = on_pointer;
    screen->setXCutText = on_text;
    screen->setXCutTextUTF8 = lib.send_utf8 ? on_text_utf8 : NULL;
    screen->setDesktopSizeHook = on_size;
    screen->displayHook = before_update;
    screen->xvpHook = c->power ? on_power : NULL;
    if (c->password) {
        screen->authPasswdData = c;
        screen->passwordCheck = check_password;
    }
    set_format(s);
    return screen;
}

/* The library (0.9.14) forgets to free these two. */
static void end_session(Session *s)
{
    rfbExtensionData *next = g_steal_pointer(&s->cl->extensions);
    while (next) {
        rfbExtensionData *e = next;
        next = e->next;
        free(e);
    }
    free(g_steal_pointer(&s->cl->wsctx));
    lib.rfbClientConnectionGone(s->cl);
}

/* A WebSocket's request, up to its empty line, into head; 0: it does not come, or is none. The library would
 * wait for it 100 ms only, which a busy host makes too short. */
static size_t read_request(VncClient *c, char head[REQUEST_MAX + 1])
{
    struct pollfd fds[2] = { { .fd = c->thread_sock, .events = POLLIN },
                             { .fd = c->wake[0], .events = POLLIN } };
    const char *end = NULL;
    size_t have = 0;
    for (unsigned i = 0; !end && i < WAIT_MS / WAIT_STEP_MS; i++) {
        char drop[64];
        poll(have ? fds + 1 : fds, have ? 1 : 2, WAIT_STEP_MS); /* a part of it is always there */
        if (read(c->wake[0], drop, sizeof(drop)) > 0) {
            pthread_mutex_lock(&c->lock);
            bool quit = c->quit;
            pthread_mutex_unlock(&c->lock);
            if (quit) {
                return 0;
            }
        }
        ssize_t n = recv(c->thread_sock, head, REQUEST_MAX, MSG_PEEK);
        if (n == 0 || n == REQUEST_MAX || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return 0;
        }
        have = (size_t)MAX(n, 0);
        head[have] = 0;
        end = strstr(head, "\r\n\r\n");
    }
    size_t size = end ? (size_t)(end - head) + 4 : 0;
    bool good = g_str_has_prefix(head, "GET ") && recv(c->thread_sock, head, size, 0) == (ssize_t)size;
    return good ? size : 0;
}

/* rfbNewClient() forgets 45 KiB of a WebSocket's client that goes away while it writes its first lines. So it
 * speaks with a pair of sockets of ours until it has written them, and then with the client's. NULL: there is
 * none. thread_sock is closed in any case; the client has a descriptor of its own. */
static rfbClientPtr new_client(Session *s)
{
    VncClient *c = s->c;
    char head[REQUEST_MAX + 1], out[1024];
    int pair[2];
    size_t size = c->web ? read_request(c, head) : 0;
    if ((c->web && !size) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        close(c->thread_sock);
        return NULL;
    }
    rfbClientPtr cl = NULL;
    ssize_t n = 0;
    if (pair[0] >= FD_SETSIZE || write(pair[1], head, size) != (ssize_t)size) {
        close(pair[0]);
    } else if ((cl = lib.rfbNewClient(s->screen, pair[0])) != NULL) {
        n = recv(pair[1], out, sizeof(out), MSG_DONTWAIT);
        if (n <= 0 || send(c->thread_sock, out, (size_t)n, MSG_NOSIGNAL) != n ||
            dup3(c->thread_sock, pair[0], O_CLOEXEC) < 0) {
            lib.rfbCloseClient(cl); /* a new socket has room for these lines */
        }
    }
    close(pair[1]);
    close(c->thread_sock);
    return cl;
}

static void *client_thread(void *opaque)
{
    VncClient *c = opaque;
    Session s = { .c = c };
    pthread_mutex_lock(&c->lock);
    s.surface = g_steal_pointer(&c->surface);
    pthread_mutex_unlock(&c->lock);
    if (!make_screen(&s)) {
        close(c->thread_sock);
    } else if ((s.cl = new_client(&s)) != NULL) {
        converse(&s);
        end_session(&s);
    }
    if (s.screen) {
        s.screen->frameBuffer = NULL;
        lib.rfbScreenCleanup(s.screen);
    }
    surface_unref(s.surface);
    pthread_mutex_lock(&c->lock);
    c->gone = true;
    pthread_mutex_unlock(&c->lock);
    loop_post(c->next_key.loop, &c->notify);
    return NULL;
}

bool vnc_client_start(VncClient *c, Error **errp)
{
    int err = pthread_create(&c->thread, NULL, client_thread, c);
    if (err) {
        close(c->thread_sock);
        return error_set(errp, "could not start a thread for a VNC client: %s", g_strerror(err));
    }
    return true;
}

void vnc_client_wake(VncClient *c)
{
    if (write(c->wake[1], "", 1) < 0) {
        /* full: it has been woken */
    }
}
#else
void vnc_client_join(VncClient *c)
{
    (void)c;
}

bool vnc_library_load(Error **errp)
{
    error_fail(errp, "not-supported", NULL, NULL, "this build has no VNC");
    error_hint(errp, "build it with libvncserver-dev");
    return false;
}

bool vnc_client_start(VncClient *c, Error **errp)
{
    (void)c;
    return vnc_library_load(errp);
}

void vnc_client_wake(VncClient *c)
{
    (void)c;
}
#endif
