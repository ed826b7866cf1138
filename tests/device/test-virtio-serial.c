/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-serial.c - hw/virtio/virtio-serial.c, virtio-serial-port.c: a driver in the test
 * sets up ports, moves bytes both ways against full ends, sees ports come and go, and breaks the rules.
 * Threads: main.
 */
#include "backends/char/char_internal.h"
#include "rhea/hw/virtio-mmio.h"
#include "tests/device/mmioguest.h"

#include <string.h>

enum { SIZE = 16, RAM = 16 << 20, QUEUES = 6, CTL_IN = 2, CTL_OUT = 3, IN1 = 4, OUT1 = 5 };
enum { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };
enum { CTL_BUFFERS = 0x200000, CTL_MESSAGE = 0x210000, CTL_SIZE = 64, IN_BUFFERS = 0x220000 };
#define MULTIPORT MG_BIT(1)
#define EMERGENCY MG_BIT(2)

typedef struct SerialTest {
    MmioGuest g;
    Machine *m;
    Bus *bus;
    Chardev *console, *channel; /* of port 0 and port 1 */
    Device *port;               /* port 1 */
    unsigned seen;              /* messages */
    GString *events;            /* "channel0+ channel0- " */
    MachineListener listener;
} SerialTest;

static void on_event(void *opaque, const char *name, const Json *data)
{
    SerialTest *t = opaque;
    bool open = false;
    if (g_str_equal(name, "VSERPORT_CHANGE")) {
        json_get_bool(json_member(data, "open", NULL), &open);
        g_string_append_printf(t->events, "%s%c ", json_get_string(json_member(data, "id", NULL)),
                               open ? '+' : '-');
    }
}

static Device *plug(SerialTest *t, const char *type, const char *id, const char *chardev, const char *nr,
                    const char *name, Error **errp)
{
    Device *dev = device_new(t->m, device_type_find(type), t->m->peripheral, id);
    if ((chardev && !device_set(dev, "chardev", chardev, errp)) || (nr && !device_set(dev, "nr", nr, errp)) ||
        (name && !device_set(dev, "name", name, errp)) || !device_realize(dev, t->bus, errp)) {
        device_remove(dev);
        return NULL;
    }
    return dev;
}

/* A controller with a console, and a channel in port 1. */
static void set_up(SerialTest *t)
{
    memset(t, 0, sizeof(*t));
    mg_open(&t->g, RAM, SIZE);
    t->m = t->g.tm->m;
    t->console = chardev_new_buffer(t->m, "c0");
    t->channel = chardev_new_buffer(t->m, "c1");
    mg_plug(&t->g, "virtio-serial-device", "max_ports", "3", NULL);
    t->bus = t->g.dev->buses->pdata[0];
    plug(t, "virtconsole", "console0", "c0", NULL, NULL, &error_abort_slot);
    t->port = plug(t, "virtserialport", "channel0", "c1", NULL, "org.test", &error_abort_slot);
    t->events = g_string_new(NULL);
    t->listener = (MachineListener){ .event = on_event, .opaque = t };
    machine_add_listener(t->m, &t->listener);
    tm_turns(t->g.tm);
}

static void finish(SerialTest *t)
{
    machine_remove_listener(t->m, &t->listener);
    chardev_remove_all(t->m);
    mg_close(&t->g);
    g_string_free(t->events, TRUE);
}

/* ---- control messages ---- */

static void offer_message_buffer(SerialTest *t, unsigned i, unsigned len)
{
    mg_desc(&t->g, CTL_IN, i, CTL_BUFFERS + i * CTL_SIZE, len, MG_WRITE, 0);
    mg_offer(&t->g, CTL_IN, i);
}

static void offer_message_buffers(SerialTest *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        offer_message_buffer(t, i, CTL_SIZE);
    }
    mg_kick(&t->g, CTL_IN);
}

static void say(SerialTest *t, unsigned id, unsigned event, unsigned value)
{
    tm_write(t->g.tm, CTL_MESSAGE, 4, id);
    tm_write(t->g.tm, CTL_MESSAGE + 4, 2, event);
    tm_write(t->g.tm, CTL_MESSAGE + 6, 2, value);
    unsigned used = mg_used(&t->g, CTL_OUT);
    mg_put(&t->g, CTL_OUT, CTL_MESSAGE, 8, 0);
    g_assert_cmpuint(mg_used(&t->g, CTL_OUT), ==, used + 1);
}

/* The next message. */
static void hear_once(SerialTest *t, unsigned id, unsigned event, unsigned value, const char *name)
{
    unsigned at = CTL_BUFFERS + t->seen % SIZE * CTL_SIZE;
    g_assert_cmpuint(mg_used(&t->g, CTL_IN), >, t->seen);
    g_assert_cmpuint(tm_read(t->g.tm, at, 4), ==, id);
    g_assert_cmpuint(tm_read(t->g.tm, at + 4, 2), ==, event);
    g_assert_cmpuint(tm_read(t->g.tm, at + 6, 2), ==, value);
    g_assert_cmpuint(mg_used_len(&t->g, CTL_IN, t->seen++), ==, 8 + (name ? strlen(name) + 1 : 0));
    if (name) {
        g_assert_cmpstr((const char *)t->m->ram->host + at + 8, ==, name);
    }
}

/* And its buffer goes back. */
static void hear(SerialTest *t, unsigned id, unsigned event, unsigned value, const char *name)
{
    hear_once(t, id, event, value, name);
    offer_message_buffer(t, (t->seen - 1) % SIZE, CTL_SIZE);
}

static void hear_nothing(SerialTest *t)
{
    g_assert_cmpuint(mg_used(&t->g, CTL_IN), ==, t->seen);
}

static void expect_events(SerialTest *t, const char *expected)
{
    tm_turns(t->g.tm);
    g_assert_cmpstr(t->events->str, ==, expected);
    g_string_truncate(t->events, 0);
}

/* The driver is there, and knows both ports. */
static void start(SerialTest *t)
{
    mg_start(&t->g, MULTIPORT, QUEUES);
    t->seen = 0;
    tm_turns(t->g.tm);
    g_string_truncate(t->events, 0);
    offer_message_buffers(t, SIZE);
    hear_nothing(t);
    say(t, 0, DEVICE_READY, 1);
    hear(t, 0, DEVICE_ADD, 1, NULL);
    hear(t, 1, DEVICE_ADD, 1, NULL);
    hear_nothing(t);
    say(t, 0, PORT_READY, 1);
    hear(t, 0, CONSOLE_PORT, 1, NULL);
    hear(t, 0, PORT_OPEN, 1, NULL);
    say(t, 1, PORT_READY, 1);
    hear(t, 1, PORT_NAME, 1, "org.test");
    hear(t, 1, PORT_OPEN, 1, NULL);
    hear_nothing(t);
}

/* And has them open. */
static void start_open(SerialTest *t)
{
    start(t);
    say(t, 0, PORT_OPEN, 1);
    say(t, 1, PORT_OPEN, 1);
    expect_events(t, "console0+ channel0+ ");
}

/* ---- data ---- */

static void feed(SerialTest *t, Chardev *c, const char *text)
{
    chardev_buffer_feed(c, (const uint8_t *)text, strlen(text));
    tm_turns(t->g.tm);
}

static void expect_output(SerialTest *t, Chardev *c, const char *text)
{
    uint8_t buf[4096];
    tm_turns(t->g.tm);
    size_t n = chardev_buffer_take(c, buf, sizeof(buf));
    g_assert_cmpmem(buf, n, text, strlen(text));
}

static void write_text(SerialTest *t, unsigned q, const char *text)
{
    tm_copy_in(t->g.tm, MG_BUFFERS, text, strlen(text));
    mg_put(&t->g, q, MG_BUFFERS, (uint32_t)strlen(text), 0);
}

/* Buffer i of the input queue. */
static void offer_input(SerialTest *t, unsigned q, unsigned i, unsigned len)
{
    mg_desc(&t->g, q, i, IN_BUFFERS + i * 0x1000, len, MG_WRITE, 0);
    mg_offer(&t->g, q, i);
    mg_kick(&t->g, q);
    tm_turns(t->g.tm);
}

static void expect_input(SerialTest *t, unsigned q, unsigned i, const char *text)
{
    g_assert_cmpuint(mg_used(&t->g, q), ==, i + 1);
    g_assert_cmpmem(t->m->ram->host + IN_BUFFERS + i * 0x1000, mg_used_len(&t->g, q, i), text, strlen(text));
}

static void test_ports(void)
{
    SerialTest t;
    set_up(&t);
    g_assert_cmpuint(mg_rd(&t.g, 8), ==, 3);
    g_assert_cmphex(mg_features(&t.g) & 0xffffff, ==, MULTIPORT | EMERGENCY);
    g_assert_cmpuint(mg_rd(&t.g, 0x100), ==, 0);
    g_assert_cmpuint(mg_rd(&t.g, 0x104), ==, 3);
    g_assert_cmpstr(t.bus->name, ==, "dut.0");
    g_assert_true(chardev_frontend_open(t.console));
    g_assert_false(chardev_frontend_open(t.channel));
    start_open(&t);
    g_assert_true(chardev_frontend_open(t.channel));
    say(&t, 1, PORT_OPEN, 1); /* nothing new */
    expect_events(&t, "");
    say(&t, 1, PORT_OPEN, 0);
    expect_events(&t, "channel0- ");
    g_assert_false(chardev_frontend_open(t.channel));
    say(&t, 1, PORT_OPEN, 1);
    expect_events(&t, "channel0+ ");
    mg_wr(&t.g, MG_STATUS, 0);
    expect_events(&t, "console0- channel0- ");
    g_assert_true(chardev_frontend_open(t.console));
    g_assert_false(chardev_frontend_open(t.channel));
    start_open(&t);
    tm_reset(t.g.tm);
    expect_events(&t, "console0- channel0- ");
    start_open(&t);
    finish(&t);
}

/* In pieces, as the driver has them; input only while the port is open. */
static void test_data(void)
{
    SerialTest t;
    set_up(&t);
    start(&t);
    feed(&t, t.channel, "early");
    offer_input(&t, IN1, 0, 0x1000);
    g_assert_cmpuint(mg_used(&t.g, IN1), ==, 0);
    say(&t, 1, PORT_OPEN, 1);
    tm_turns(t.g.tm);
    expect_input(&t, IN1, 0, "early");
    offer_input(&t, IN1, 1, 3);
    feed(&t, t.channel, "abcdefgh");
    expect_input(&t, IN1, 1, "abc");
    offer_input(&t, IN1, 2, 0x1000);
    expect_input(&t, IN1, 2, "defgh");
    mg_desc(&t.g, IN1, 3, IN_BUFFERS + 0x3000, 2, MG_WRITE | MG_NEXT, 4);
    mg_desc(&t.g, IN1, 4, IN_BUFFERS + 0x3002, 100, MG_WRITE, 0);
    mg_offer(&t.g, IN1, 3);
    mg_kick(&t.g, IN1);
    feed(&t, t.channel, "12345");
    expect_input(&t, IN1, 3, "12345");
    write_text(&t, OUT1, "hello");
    expect_output(&t, t.channel, "hello");
    tm_copy_in(t.g.tm, MG_BUFFERS, "one, two, three", 15);
    mg_desc(&t.g, OUT1, 1, MG_BUFFERS, 5, MG_NEXT, 2);
    mg_desc(&t.g, OUT1, 2, MG_BUFFERS + 5, 10, 0, 0);
    mg_offer(&t.g, OUT1, 1);
    mg_kick(&t.g, OUT1);
    expect_output(&t, t.channel, "one, two, three");
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, 2);
    offer_input(&t, 0, 0, 0x1000); /* the console */
    feed(&t, t.console, "key");
    g_assert_cmpuint(mg_used(&t.g, 0), ==, 0);
    say(&t, 0, PORT_OPEN, 1);
    tm_turns(t.g.tm);
    expect_input(&t, 0, 0, "key");
    write_text(&t, 1, "login: ");
    expect_output(&t, t.console, "login: ");
    finish(&t);
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i ^ i >> 7 ^ i >> 13);
}

/* Much more than the character device takes: the buffer stays in the queue, also over a save, and every byte
 * comes once. A reset forgets what was begun. */
static void test_full(void)
{
    enum { MUCH = 1 << 20 };
    SerialTest t;
    set_up(&t);
    start_open(&t);
    uint8_t *host = t.m->ram->host, buf[5000];
    for (unsigned again = 0; again < 2; again++) {
        for (size_t i = 0; i < MUCH; i++) {
            host[0x400000 + i] = pattern(i);
        }
        unsigned used = mg_used(&t.g, OUT1);
        mg_put(&t.g, OUT1, 0x400000, MUCH, 0);
        tm_turns(t.g.tm);
        size_t got = 0;
        for (unsigned k = 0; got < MUCH; k++) {
            if (k == 20) { /* while it cannot go on */
                g_assert_cmpuint(mg_used(&t.g, OUT1), ==, used);
                GByteArray *state = tm_save(t.g.tm);
                tm_load(t.g.tm, state, &error_abort_slot);
                g_byte_array_free(state, TRUE);
            }
            size_t n = chardev_buffer_take(t.channel, buf, sizeof(buf));
            g_assert_cmpuint(n, >, 0);
            for (size_t i = 0; i < n; i++, got++) {
                g_assert_cmpuint(buf[i], ==, pattern(got));
            }
            tm_turns(t.g.tm);
        }
        g_assert_cmpuint(mg_used(&t.g, OUT1), ==, used + 1);
        expect_output(&t, t.channel, "");
    }
    mg_put(&t.g, OUT1, 0x400000, MUCH, 0);
    tm_turns(t.g.tm);
    start_open(&t);
    while (chardev_buffer_take(t.channel, buf, sizeof(buf))) {
        tm_turns(t.g.tm);
    }
    write_text(&t, OUT1, "from its beginning");
    expect_output(&t, t.channel, "from its beginning");
    finish(&t);
}

/* A console's driver waits: what the other end does not take for a while is dropped, until it takes some
 * again. */
static void test_patience(void)
{
    enum { MUCH = 200 << 10 };
    SerialTest t;
    uint8_t buf[4096];
    set_up(&t);
    start_open(&t);
    mg_put(&t.g, 1, 0x400000, MUCH, 0);
    tm_step(t.g.tm, 100 * 1000 * 1000);
    g_assert_cmpuint(mg_used(&t.g, 1), ==, 0);
    g_assert_cmpuint(chardev_buffer_take(t.console, buf, sizeof(buf)), ==, sizeof(buf)); /* a little */
    tm_step(t.g.tm, 200 * 1000 * 1000);
    g_assert_cmpuint(mg_used(&t.g, 1), ==, 0);
    tm_step(t.g.tm, 100 * 1000 * 1000);
    g_assert_cmpuint(mg_used(&t.g, 1), ==, 1);
    write_text(&t, 1, "lost");
    g_assert_cmpuint(mg_used(&t.g, 1), ==, 2);
    while (chardev_buffer_take(t.console, buf, sizeof(buf))) {
        tm_turns(t.g.tm);
    }
    write_text(&t, 1, "here again");
    expect_output(&t, t.console, "here again");
    mg_put(&t.g, OUT1, 0x400000, MUCH, 0); /* a channel waits for ever */
    tm_step(t.g.tm, INT64_C(5000000000));
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, 0);
    finish(&t);
}

/* Nobody at the other end: the driver is told, and what it writes is dropped. Messages wait for buffers; what
 * is no news any more is not told. */
static void test_host_end(void)
{
    SerialTest t;
    set_up(&t);
    start_open(&t);
    chardev_set_open(t.channel, false);
    tm_turns(t.g.tm);
    hear(&t, 1, PORT_OPEN, 0, NULL);
    write_text(&t, OUT1, "to nobody");
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, 1);
    chardev_set_open(t.channel, true);
    expect_output(&t, t.channel, "");
    hear(&t, 1, PORT_OPEN, 1, NULL);
    mg_put(&t.g, OUT1, 0x400000, 1 << 20, 0); /* the other end goes while it is full */
    tm_turns(t.g.tm);
    chardev_set_open(t.channel, false);
    tm_turns(t.g.tm);
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, 2);
    mg_start(&t.g, MULTIPORT, QUEUES); /* without buffers for messages */
    t.seen = 0;
    say(&t, 0, DEVICE_READY, 1);
    say(&t, 1, PORT_READY, 1); /* before it was told of the port */
    chardev_set_open(t.channel, true);
    tm_turns(t.g.tm);
    offer_message_buffers(&t, 3);
    hear(&t, 0, DEVICE_ADD, 1, NULL);
    hear(&t, 1, DEVICE_ADD, 1, NULL);
    hear_nothing(&t);
    for (unsigned i = 0; i < 41; i++) { /* more than the events that wait for a front end */
        chardev_set_open(t.channel, i & 1);
    }
    tm_turns(t.g.tm);
    hear_nothing(&t);
    say(&t, 1, PORT_READY, 1);
    mg_kick(&t.g, CTL_IN);
    hear(&t, 1, PORT_NAME, 1, "org.test");
    hear_nothing(&t); /* it is closed, as the driver takes it to be */
    finish(&t);
}

/* Ports come and go while the driver is there. */
static void test_hot_plug(void)
{
    SerialTest t;
    set_up(&t);
    start_open(&t);
    chardev_new_buffer(t.m, "c2");
    Device *dev = plug(&t, "virtserialport", "hot", "c2", NULL, "late", &error_abort_slot);
    hear(&t, 2, DEVICE_ADD, 1, NULL);
    say(&t, 2, PORT_READY, 1);
    tm_turns(t.g.tm);
    hear(&t, 2, PORT_NAME, 1, "late");
    hear(&t, 2, PORT_OPEN, 1, NULL);
    say(&t, 2, PORT_OPEN, 1);
    expect_events(&t, "hot+ ");
    device_remove(dev);
    hear(&t, 2, DEVICE_REMOVE, 1, NULL);
    say(&t, 2, PORT_OPEN, 0); /* too late */
    g_assert_true(chardev_remove(t.m, "c2", &error_abort_slot));
    device_remove(t.port);
    hear(&t, 1, DEVICE_REMOVE, 1, NULL);
    write_text(&t, OUT1, "to what is gone");
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, 1);
    t.port = plug(&t, "virtserialport", "channel0", "c1", NULL, "org.test", &error_abort_slot);
    hear(&t, 1, DEVICE_ADD, 1, NULL);
    mg_start(&t.g, MULTIPORT, QUEUES); /* one goes and another one comes while messages have to wait */
    t.seen = 0;
    say(&t, 0, DEVICE_READY, 1);
    offer_message_buffers(&t, 2);
    hear_once(&t, 0, DEVICE_ADD, 1, NULL);
    hear_once(&t, 1, DEVICE_ADD, 1, NULL);
    for (unsigned i = 0; i < 2; i++) {
        device_remove(t.port);
        t.port = plug(&t, "virtserialport", "channel0", "c1", NULL, "org.test", &error_abort_slot);
    }
    for (unsigned i = 2; i < 6; i++) {
        offer_message_buffer(&t, i, CTL_SIZE);
    }
    mg_kick(&t.g, CTL_IN);
    hear_once(&t, 1, DEVICE_REMOVE, 1, NULL);
    hear_once(&t, 1, DEVICE_ADD, 1, NULL);
    hear_nothing(&t);
    finish(&t);
}

/* Nothing is written to the memory of a guest that stands. */
static void test_paused(void)
{
    SerialTest t;
    set_up(&t);
    start_open(&t);
    offer_input(&t, IN1, 0, 0x1000);
    mg_put(&t.g, OUT1, 0x400000, 1 << 20, 0);
    tm_turns(t.g.tm);
    machine_stop(t.m, RUN_PAUSED);
    unsigned out = mg_used(&t.g, OUT1);
    feed(&t, t.channel, "wait");
    uint8_t buf[4096];
    for (unsigned i = 0; i < 400; i++) {
        chardev_buffer_take(t.channel, buf, sizeof(buf));
        tm_turns(t.g.tm);
    }
    chardev_set_open(t.channel, false);
    tm_turns(t.g.tm);
    g_assert_cmpuint(mg_used(&t.g, IN1), ==, 0);
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, out);
    hear_nothing(&t);
    machine_start(t.m);
    tm_turns(t.g.tm);
    expect_input(&t, IN1, 0, "wait");
    hear(&t, 1, PORT_OPEN, 0, NULL);
    g_assert_cmpuint(mg_used(&t.g, OUT1), ==, out + 1);
    finish(&t);
}

/* A driver of before there were several ports: the console's queues, and no messages. */
static void test_one_port(void)
{
    SerialTest t;
    set_up(&t);
    tm_write(t.g.tm, MG_BASE + 0x108, 4, 'A'); /* 5.3.4: before anything else */
    tm_write(t.g.tm, MG_BASE + 0x108, 1, 'B');
    expect_output(&t, t.console, "AB");
    mg_start(&t.g, 0, 2);
    offer_input(&t, 0, 0, 0x1000);
    feed(&t, t.console, "key");
    expect_input(&t, 0, 0, "key");
    write_text(&t, 1, "output");
    expect_output(&t, t.console, "output");
    expect_events(&t, "");
    finish(&t);
}

static void test_hostile(void)
{
    SerialTest t;
    set_up(&t);
    start_open(&t);
    static const struct { uint32_t id; unsigned event, value; } odd[] = {
        { 2, PORT_READY, 1 }, { 3, PORT_OPEN, 1 }, { UINT32_MAX, PORT_OPEN, 1 },
        { 0x80000001, PORT_READY, 1 }, { 1, PORT_READY, 0 }, { 1, DEVICE_ADD, 1 }, { 1, CONSOLE_PORT, 1 },
        { 1, PORT_NAME, 1 }, { 1, RESIZE, 1 }, { 1, 0xffff, 0xffff }, { 0, DEVICE_READY, 0 },
        { 9, DEVICE_READY, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(odd); i++) {
        say(&t, odd[i].id, odd[i].event, odd[i].value);
        hear_nothing(&t);
    }
    mg_put(&t.g, CTL_OUT, CTL_MESSAGE, 7, 0);         /* too short, */
    mg_put(&t.g, CTL_OUT, CTL_MESSAGE, 8, MG_WRITE);  /* and nothing to read */
    g_assert_cmphex(mg_rd(&t.g, MG_STATUS), ==, MG_STATUS_OK);
    say(&t, 0, DEVICE_READY, 1); /* once more: all again */
    hear(&t, 0, DEVICE_ADD, 1, NULL);
    hear(&t, 1, DEVICE_ADD, 1, NULL);
    for (unsigned i = 0; i < 200; i++) {
        say(&t, 1, PORT_OPEN, i & 1);
    }
    tm_turns(t.g.tm);
    static const struct { unsigned q; uint64_t addr; uint32_t len; unsigned flags; } bad[] = {
        { CTL_IN, MG_BUFFERS, 7, MG_WRITE }, /* no message fits in */
        { CTL_IN, MG_BUFFERS, 64, 0 },
        { CTL_OUT, RAM - 4, 8, 0 },
        { CTL_OUT, MG_BUFFERS, 8, MG_NEXT }, /* a loop */
        { OUT1, RAM - 4, 8, 0 },
        { OUT1, MG_BUFFERS, 0, 0 },
        { OUT1, MG_BUFFERS, UINT32_MAX, 0 },
        { IN1, MG_BUFFERS, 16, 0 }, /* cannot be written */
        { IN1, MG_BASE, 16, MG_WRITE },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        mg_start(&t.g, MULTIPORT, QUEUES);
        t.seen = 0;
        if (bad[i].q != CTL_IN) {
            offer_message_buffers(&t, SIZE);
        }
        say(&t, 0, DEVICE_READY, 1);
        say(&t, 1, PORT_READY, 1);
        say(&t, 1, PORT_OPEN, 1);
        feed(&t, t.channel, "x");
        mg_put(&t.g, bad[i].q, bad[i].addr, bad[i].len, bad[i].flags);
        tm_turns(t.g.tm);
        g_assert_cmphex(mg_rd(&t.g, MG_STATUS), ==, MG_STATUS_BROKEN);
        chardev_set_open(t.channel, false);
        chardev_set_open(t.channel, true);
        tm_turns(t.g.tm);
    }
    start_open(&t);
    write_text(&t, OUT1, "well again");
    expect_output(&t, t.channel, "well again");
    finish(&t);
}

static void expect_refused(SerialTest *t, const char *type, const char *nr, const char *name,
                           const char *what)
{
    Error *err = NULL;
    g_assert_null(plug(t, type, "x", NULL, nr, name, &err));
    if (!g_pattern_match_simple(what, error_text(err))) {
        g_error("'%s' is not like '%s'", error_text(err), what);
    }
    error_free(err);
}

static void test_refused(void)
{
    SerialTest t;
    Error *err = NULL;
    set_up(&t);
    expect_refused(&t, "virtserialport", "1", NULL, "*nr=1 of bus 'dut.0' is taken by 'channel0'*");
    expect_refused(&t, "virtserialport", "0", NULL, "*nr=0*");
    expect_refused(&t, "virtserialport", "3", NULL, "*nr=3: bus 'dut.0' has ports 0 to 2*");
    expect_refused(&t, "virtserialport", NULL, "org.test", "*'channel0' has the name 'org.test' already*");
    Device *dev = plug(&t, "virtconsole", "last", NULL, NULL, NULL, &error_abort_slot);
    expect_refused(&t, "virtserialport", NULL, NULL, "*bus 'dut.0' has no free port: max_ports=3*");
    device_remove(dev);
    static const char *const ports[] = { "0", "32" };
    for (unsigned i = 0; i < G_N_ELEMENTS(ports); i++) {
        dev = device_new(t.m, device_type_find("virtio-serial-device"), t.m->peripheral, "y");
        device_set(dev, "max_ports", ports[i], &error_abort_slot);
        Device *place = device_create(t.m, &virtio_mmio_type, t.m->unattached, NULL, NULL, &error_abort_slot,
                                      "index", ports[i], NULL);
        g_assert_false(device_realize(dev, virtio_mmio_bus(place), &err));
        g_assert_true(g_pattern_match_simple("*max_ports=*: 1 to 31 are possible", error_text(err)));
        g_clear_pointer(&err, error_free);
        device_remove(dev);
        device_remove(place);
    }
    start_open(&t);
    finish(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    chardev_register();
    g_test_add_func("/device/virtio-serial/ports", test_ports);
    g_test_add_func("/device/virtio-serial/data", test_data);
    g_test_add_func("/device/virtio-serial/full", test_full);
    g_test_add_func("/device/virtio-serial/patience", test_patience);
    g_test_add_func("/device/virtio-serial/host-end", test_host_end);
    g_test_add_func("/device/virtio-serial/hot-plug", test_hot_plug);
    g_test_add_func("/device/virtio-serial/paused", test_paused);
    g_test_add_func("/device/virtio-serial/one-port", test_one_port);
    g_test_add_func("/device/virtio-serial/hostile", test_hostile);
    g_test_add_func("/device/virtio-serial/refused", test_refused);
    return g_test_run();
}
