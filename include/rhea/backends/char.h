/* SPDX-License-Identifier: MIT
 * rhea/backends/char.h - character devices: the host side of serial lines, monitors, debug ports.
 *
 * A Chardev lives on one loop (the main loop). The device side, a CharPort, may live in any domain: bytes
 * towards it are delivered with that domain held, by posting; bytes from it go through a bounded ring.
 */
#ifndef RHEA_BACKENDS_CHAR_H
#define RHEA_BACKENDS_CHAR_H

#include "rhea/system/domain.h"
#include "rhea/util/json.h"

typedef struct Machine Machine;
typedef struct Chardev Chardev;
typedef enum CharEvent { CHAR_OPENED, CHAR_CLOSED, CHAR_BREAK, CHAR_MUX_IN, CHAR_MUX_OUT } CharEvent;

typedef struct CharHandler { /* called in the port's domain; room == NULL: always takes one byte */
    size_t (*room)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, CharEvent event);
    /* What it writes is for who is connected when it has heard of it: nothing of it goes to the next one. */
    bool answers;
} CharHandler;

typedef struct CharPort { /* device side; zero = nothing connected: writes vanish */
    Chardev *be;
    const CharHandler *handler;
    void *opaque;
    Domain *domain; /* NULL: callbacks run on the main loop without one (monitors) */
    struct CharPortPrivate *priv;
} CharPort;

/* Never blocks; returns what was taken, the rest is dropped or retried by the caller. */
size_t char_write(CharPort *p, const uint8_t *buf, size_t len);
void char_attach(CharPort *p, const CharHandler *h, void *opaque, Domain *domain);
void char_detach(CharPort *p); /* MAIN_LOOP */
/* Descriptors that come along with the bytes (a unix socket's SCM_RIGHTS), for a front end on the main loop:
 * from now on they are kept, until the connection ends; the oldest one, which is the caller's then, or -1.
 * MAIN_LOOP. */
void char_port_take_fds(CharPort *p);
int char_take_fd(CharPort *p);
/* For "is already in use by NAME", when the front end is no device. */
void char_port_set_holder(CharPort *p, const char *name);
void char_accept_input(CharPort *p); /* room() grew: deliver what waits */
bool char_is_open(const CharPort *p);
/* Whether somebody listens behind the front end: what query-chardev tells. From char_attach() on it is so. */
void char_port_set_open(CharPort *p, bool open);
/* True when writes have room; else event-free polling: `cb` is called once in the domain when they do. */
void char_notify_writable(CharPort *p, void (*cb)(void *opaque));
typedef struct CharSerialParams {
    unsigned speed;
    char parity;
    unsigned data_bits, stop_bits;
    bool brk;
} CharSerialParams;
/* Backends without a line have no use for it. */
void char_set_serial(CharPort *p, const CharSerialParams *params);

/* Host side; MAIN_LOOP. Registered per machine under an id. */
Chardev *chardev_find(Machine *m, const char *id);
/* Fails when another front end has it, naming that one. */
bool chardev_connect(Chardev *c, CharPort *port, Error **errp);
/* `-chardev` text or JSON ("stdio,id=a,mux=on"), and the short forms of -serial/-monitor ("stdio",
 * "mon:stdio", "file:x", "tcp:...", "pty", "null", "none", "vc" is refused, "chardev:ID"). */
Chardev *chardev_new_option(Machine *m, const char *text, Error **errp);
Chardev *chardev_new_json(Machine *m, const Json *opts, bool from_text, Error **errp);
/* *errp unset and NULL: "none". */
Chardev *chardev_new_legacy(Machine *m, const char *id, const char *text, Error **errp);
/* The chardev of this id becomes what is described, with the same front end; that sees the other end go and
 * come. NULL: it stays what it is. *_option: -chardev's text without id=. */
Chardev *chardev_change_json(Machine *m, const Json *opts, bool from_text, Error **errp);
Chardev *chardev_change_option(Machine *m, const char *id, const char *text, Error **errp);
bool chardev_send_break(Machine *m, const char *id, Error **errp); /* as if the line had one */
void chardev_remove_all(Machine *m);        /* flushes with a bounded wait, restores terminals */
bool chardev_remove(Machine *m, const char *id, Error **errp);
void chardev_foreach(Machine *m, void (*fn)(Chardev *c, void *opaque), void *opaque);
const char *chardev_id(const Chardev *c);
bool chardev_can_yank(const Chardev *c);    /* has a connection that can be cut off */
void chardev_yank(Chardev *c);              /* cuts it off, as if the other end had gone */
char *chardev_filename(const Chardev *c);   /* "pty:/dev/pts/3", "unix:...,server=on"; g_free */
bool chardev_is_mux(const Chardev *c);
bool chardev_frontend_open(const Chardev *c); /* does anybody listen there? */
void char_set_escape(int byte);             /* -echr; 1 = Ctrl-A */
bool chardev_is_ringbuf(const Chardev *c);
size_t chardev_ringbuf_read(Chardev *c, uint8_t *buf, size_t len); /* oldest first; removes */
/* The same, but a UTF-8 character that is not whole stays, unless there is nothing else. */
size_t chardev_ringbuf_read_text(Chardev *c, uint8_t *buf, size_t len);
void chardev_ringbuf_write(Chardev *c, const uint8_t *buf, size_t len); /* as if a front end did */
void chardev_help(GString *out);
/* A test's own end: what the device wrote, and bytes for it. */
Chardev *chardev_new_buffer(Machine *m, const char *id);
size_t chardev_buffer_take(Chardev *c, uint8_t *buf, size_t len);
void chardev_buffer_feed(Chardev *c, const uint8_t *buf, size_t len);

/* Kinds of chardev whose host side is in a layer above. All on the main loop, none is held up. */
typedef struct ChardevOptions ChardevOptions;
typedef struct CharUpper {
    void *(*open)(Machine *m, Chardev *c, const ChardevOptions *o, Error **errp); /* NULL: *errp */
    void (*close)(void *opaque);
    void (*write)(void *opaque, const uint8_t *buf, size_t len); /* what the guest says; it takes all */
    void (*resume)(void *opaque);           /* there may be room for input again; or NULL */
    /* Somebody listens behind the front end now, or not any more; also told when that was so in between. Or
     * NULL. */
    void (*front)(void *opaque, bool open);
} CharUpper;
void chardev_upper_register(const char *kind, const CharUpper *ops); /* once per process */
size_t chardev_upper_input(Chardev *c, const uint8_t *buf, size_t len); /* how many of them it took */

/* Registers the PROP_CHARDEV_ binder. Once per process. */
void chardev_register(void);

#endif
