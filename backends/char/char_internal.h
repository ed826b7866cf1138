/* SPDX-License-Identifier: MIT
 * backends/char/char_internal.h - what the chardev core and its backends share.
 *
 * Threads: `lock` is a leaf lock for the byte rings and event queues; it calls nothing outward. Everything
 * else belongs to the main loop.
 */
#ifndef BACKENDS_CHAR_INTERNAL_H
#define BACKENDS_CHAR_INTERNAL_H

#include "rhea/backends/char.h"
#include "rhea/system/machine.h"
#include "rhea/util/log.h"
#include <pthread.h>

enum {
    CHAR_OUT_BYTES = 64 * 1024, /* towards the host */
    CHAR_IN_BYTES = 4096,       /* towards one front end */
    CHAR_IO_CHUNK = 4096,
    CHAR_EVENTS = 16,
    CHAR_MUX_PORTS = 4,
    CHAR_FDS = 16, /* descriptors that wait to be taken */
    CHAR_EXIT_FLUSH_MS = 500,
};

typedef struct ByteRing {
    uint8_t *data;
    uint32_t cap, head, used;
} ByteRing;
void ring_init(ByteRing *r, uint32_t cap);
void ring_fini(ByteRing *r);
size_t ring_push(ByteRing *r, const uint8_t *buf, size_t len);
/* Copies up to len bytes from `skip` bytes behind the head, removes nothing. */
size_t ring_peek(const ByteRing *r, uint32_t skip, uint8_t *buf, size_t len);
void ring_drop(ByteRing *r, size_t len);
static inline size_t ring_room(const ByteRing *r) { return r->cap - r->used; }

/* Backend-specific settings, decoded from the option (options.c). Strings are owned by the caller. */
typedef enum CharKind {
    CHAR_NULL, CHAR_STDIO, CHAR_FILE, CHAR_PTY, CHAR_SOCKET, CHAR_PIPE, CHAR_RINGBUF, CHAR_BUFFER,
    CHAR_UPPER
} CharKind;
typedef struct CharConfig {
    CharKind kind;
    const char *path, *input_path;      /* file, pipe, unix socket; pty: a link to make */
    bool append;                        /* file */
    bool signal;                        /* stdio */
    const char *host, *port, *fd;       /* socket */
    unsigned to;                        /* last port to try; 0: only `port` */
    bool server, wait, nodelay, abstract, tight;
    int ipv4, ipv6;                     /* OnOffAuto */
    unsigned reconnect_ms;
    uint64_t size;                      /* ringbuf */
    bool mux;
    const char *logfile;
    bool logappend;
    const ChardevOptions *options;      /* upper */
} CharConfig;

typedef struct CharBackend {
    const char *name;
    size_t state_size;
    bool (*open)(Chardev *c, const CharConfig *cfg, Error **errp);
    void (*close)(Chardev *c);
    /* NULL: write(2) to c->out_fd. Never blocks; -EAGAIN: wait for the descriptor. */
    ssize_t (*write)(Chardev *c, const uint8_t *buf, size_t len);
    ssize_t (*read)(Chardev *c, uint8_t *buf, size_t len); /* as read(2) of c->in_fd, which it is when NULL */
    /* End of input or a hang-up; NULL: stop reading for good. */
    void (*hangup)(Chardev *c);
    void (*set_serial)(Chardev *c, const CharSerialParams *p);
    void (*resume)(Chardev *c);           /* the front end takes input again; or NULL */
    void (*front)(Chardev *c, bool open); /* chardev_frontend_open() has changed; or NULL */
    void (*yank)(Chardev *c); /* NULL: there is no connection to cut off */
} CharBackend;

typedef struct CharPortPrivate {
    Chardev *chr;
    CharPort *port;
    char *holder;              /* for messages; NULL: looked up in the device tree */
    unsigned tag;              /* number of the mux slot */
    ByteRing in;               /* chr->lock */
    uint64_t in_pushed, in_taken;
    struct { CharEvent event; uint64_t at; } events[CHAR_EVENTS];
    unsigned n_events;
    void (*writable_cb)(void *opaque);
    bool ready;                /* char_attach() was called */
    bool open;                 /* atomic: somebody listens there */
    bool dead;
    unsigned running;          /* port_deliver()s on the stack: the outermost frees a dead port */
    DomainTask deliver_domain; /* for ports in a domain */
    DomainTask writable_domain;
    Task deliver_loop;         /* for ports on the main loop */
    Task writable_loop;
    Task reap;
} CharPortPrivate;

struct Chardev {
    const CharBackend *backend;
    Machine *machine;
    Loop *loop;
    char *id, *filename;
    void *state;
    bool mux;

    /* front ends; slots are edited on the main loop under lock */
    CharPortPrivate *fe[CHAR_MUX_PORTS];
    unsigned n_fe, focus;

    /* host side, main loop */
    int in_fd, out_fd;         /* -1: none; may be the same */
    FdWatch in_watch, out_watch;
    bool in_eof;
    bool wants_fds;            /* the front end takes descriptors that come along with bytes */
    int fds[CHAR_FDS];         /* those that it did not take yet, the oldest first */
    unsigned n_fds;
    bool write_failed;         /* said once */
    int log_fd;
    bool log_failed;
    Task flush, resume, front;
    bool open;                 /* atomic */

    pthread_mutex_t lock;
    ByteRing out;
    uint32_t logged;           /* bytes from out's head that are in the log file already */
    bool out_full;             /* somebody was refused or waits */

    /* mux */
    struct CharMux {
        bool escaped;
        bool stamps, line_start;
        int64_t stamp_base;
    } m;
};

/* core.c, for backends; MAIN_LOOP */
void chardev_set_open(Chardev *c, bool open); /* tells the front ends */
void chardev_set_fds(Chardev *c, int in_fd, int out_fd); /* -1, -1: none; starts watching */
void chardev_update_watch(Chardev *c);
void chardev_input(Chardev *c, const uint8_t *buf, size_t len); /* at most chardev_input_room() */
size_t chardev_input_room(Chardev *c);
void chardev_event(Chardev *c, CharEvent event);
void chardev_add_fd(Chardev *c, int fd); /* takes it; one too many is closed */
void chardev_flush_now(Chardev *c);
Chardev *chardev_new(Machine *m, const char *id, const CharConfig *cfg, Error **errp);
/* The same without entering it among the machine's; the end of one that is out of there. */
Chardev *chardev_open(Machine *m, const char *id, const CharConfig *cfg, Error **errp);
void chardev_close(Chardev *c);
void char_port_push(CharPortPrivate *p, const uint8_t *buf, size_t len); /* takes the lock */
void char_port_event(CharPortPrivate *p, CharEvent event);
void char_port_post_writable(CharPortPrivate *p);

/* change.c: the one of this id becomes that one; NULL: it stays what it is. */
Chardev *chardev_change(Machine *m, const char *id, const CharConfig *cfg, Error **errp);

/* options.c. True: refused, with the reason. */
bool char_refuse_kind(const char *kind, Error **errp);
void chardev_id_hint(Machine *m, const char *id, Error **errp); /* the nearest id */
char *chardev_holder(const Chardev *c); /* "device 'serial0'", "the monitor"; NULL: nobody */

/* fd.c: a descriptor that never blocks its user. Terminals and pipes are opened anew, so that the flag does
 * not reach other users of the same open file; where that fails, the flag is set and restored at exit. */
int char_fd_nonblock(int fd, bool writing, bool *owned);
void char_fd_restore(void);

/* mux.c */
extern int char_escape_byte; /* 1 = Ctrl-A */
void mux_input(Chardev *c, const uint8_t *buf, size_t len);
void mux_set_focus(Chardev *c, unsigned tag);
/* Pushes a front end's output with time stamps; c->lock held. */
size_t mux_push_locked(Chardev *c, const uint8_t *buf, size_t len);

/* the backends */
extern const CharBackend char_null_backend, char_stdio_backend, char_file_backend, char_pty_backend,
    char_socket_backend, char_pipe_backend, char_ringbuf_backend, char_buffer_backend, char_upper_backend;

#endif
