/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-sound.c - hw/virtio/virtio-sound.c: the test is its driver: what it tells of
 * itself, a stream's life, what is played and recorded to the sample, resets and saved state with buffers
 * under way, hostile drivers. RHEA_SOUND_CASES: steps of those. Threads: main.
 */
#include "mmioguest.h"
#include "soundhost.h"

#include <string.h>

enum { CONTROL, EVENT, TX, RX, QUEUES };
enum { MS = 1000000, RATE = 48000, FRAME = 4, PERIOD = 480 * FRAME, RING = 16, RESET_FEATURE = 40 };
/* The test's memory: a request and its answer; of buffer i of a queue its header, status and sound. */
enum { REQUEST = MG_BUFFERS, ANSWER = MG_BUFFERS + 0x800, HEADS = MG_BUFFERS + 0x1000,
       STATUSES = MG_BUFFERS + 0x2000, SOUND = MG_BUFFERS + 0x10000 };
enum { JACK_INFO = 1, JACK_REMAP };
enum { PCM_INFO = 0x100, SET_PARAMS, PREPARE, RELEASE, START, STOP, CHMAP_INFO = 0x200 };
enum { OK = 0x8000, BAD_MSG, NOT_SUPP };

typedef struct Guest {
    MmioGuest g;
    SoundHost host;
    unsigned asked, put[QUEUES];
} Guest;

static void guest_open(Guest *t, const char *prop, const char *value)
{
    memset(t, 0, sizeof(*t));
    mg_open(&t->g, 4 << 20, RING);
    soundhost_open(&t->host, t->g.tm->m, RATE);
    if (prop) {
        mg_plug(&t->g, "virtio-sound-device", "streams", "3", prop, value, NULL);
    } else {
        mg_plug(&t->g, "virtio-sound-device", NULL);
    }
    mg_start(&t->g, MG_BIT(RESET_FEATURE), QUEUES);
}

static void guest_close(Guest *t)
{
    machine_stop(t->g.tm->m, RUN_PAUSED);
    soundhost_close(&t->host, t->g.tm->m);
    mg_close(&t->g);
}

/* The answer's status; 0: none came. */
static uint32_t ask(Guest *t, const uint32_t *words, unsigned n, unsigned room)
{
    for (unsigned i = 0; i < n; i++) {
        tm_write(t->g.tm, REQUEST + 4 * i, 4, words[i]);
    }
    tm_write(t->g.tm, ANSWER, 4, 0);
    mg_desc(&t->g, CONTROL, 0, REQUEST, 4 * n, MG_NEXT, 1);
    mg_desc(&t->g, CONTROL, 1, ANSWER, room, MG_WRITE, 0);
    mg_offer(&t->g, CONTROL, 0);
    mg_kick(&t->g, CONTROL);
    t->asked++;
    g_assert_cmpuint(mg_used(&t->g, CONTROL), ==, t->asked);
    return (uint32_t)tm_read(t->g.tm, ANSWER, 4);
}

static uint32_t query(Guest *t, uint32_t code, uint32_t start, uint32_t count, uint32_t size)
{
    return ask(t, (uint32_t[]){ code, start, count, size }, 4, 4 + count * size);
}

static uint32_t pcm(Guest *t, uint32_t code, uint32_t stream)
{
    return ask(t, (uint32_t[]){ code, stream }, 2, 4);
}

static uint32_t params(Guest *t, uint32_t stream, uint32_t sizes, uint32_t features, uint32_t format)
{
    return ask(t, (uint32_t[]){ SET_PARAMS, stream, sizes * 4, sizes, features, format }, 6, 4);
}
enum { S16_48K = 2 | 5 << 8 | 7 << 16 };

/* Buffer i of a queue, of so many bytes of sound, at SOUND; up to RING / 4 at a time. */
static void put(Guest *t, unsigned q, uint32_t stream, hwaddr at, uint32_t len)
{
    unsigned i = t->put[q]++ % (RING / 4), d = 4 * i;
    hwaddr head = HEADS + q * 256 + 16 * i, status = STATUSES + q * 256 + 16 * i;
    tm_write(t->g.tm, head, 4, stream);
    tm_write(t->g.tm, status, 8, 0);
    mg_desc(&t->g, q, d, head, 4, MG_NEXT, len ? d + 1 : d + 2);
    mg_desc(&t->g, q, d + 1, at, len, MG_NEXT | (q == RX ? MG_WRITE : 0), d + 2);
    mg_desc(&t->g, q, d + 2, status, 8, MG_WRITE, 0);
    mg_offer(&t->g, q, d);
    mg_kick(&t->g, q);
}

static uint32_t status_of(Guest *t, unsigned q, unsigned i)
{
    return (uint32_t)tm_read(t->g.tm, STATUSES + q * 256 + 16 * (i % (RING / 4)), 4);
}

static void ramp(Guest *t, unsigned frames)
{
    for (unsigned i = 0; i < frames; i++) {
        tm_write(t->g.tm, SOUND + FRAME * i, 4, (i + 1) | ~(i + 1) << 16);
    }
}

static void prepare(Guest *t, uint32_t stream)
{
    g_assert_cmphex(params(t, stream, PERIOD, 0, S16_48K), ==, OK);
    g_assert_cmphex(pcm(t, PREPARE, stream), ==, OK);
}

static void test_information(void)
{
    Guest t;
    guest_open(&t, "jacks", "3");
    TestMachine *tm = t.g.tm;
    g_assert_cmphex(mg_features(&t.g) & 0xff, ==, 0);
    g_assert_cmpuint(mg_rd(&t.g, 0x08), ==, 25);
    g_assert_cmpuint(mg_rd(&t.g, 0x100), ==, 3);
    g_assert_cmpuint(mg_rd(&t.g, 0x104), ==, 3);
    g_assert_cmpuint(mg_rd(&t.g, 0x108), ==, 0);
    g_assert_cmphex(query(&t, PCM_INFO, 0, 3, 32), ==, OK);
    g_assert_cmpuint(mg_used_len(&t.g, CONTROL, 0), ==, 4 + 96);
    for (unsigned i = 0; i < 3; i++) {
        hwaddr at = ANSWER + 4 + 32 * i;
        g_assert_cmphex(tm_read(tm, at + 8, 8), ==, 0xe0078);
        g_assert_cmphex(tm_read(tm, at + 16, 8), ==, 0x3fff);
        g_assert_cmphex(tm_read(tm, at + 24, 8), ==, 0x020100 | (i == 2)); /* two play */
    }
    g_assert_cmphex(query(&t, JACK_INFO, 1, 2, 24), ==, OK);
    g_assert_cmphex(tm_read(tm, ANSWER + 4 + 8, 4), ==, 0x00805020);
    g_assert_cmphex(tm_read(tm, ANSWER + 4 + 24 + 12, 4), ==, 0x14);
    g_assert_cmphex(tm_read(tm, ANSWER + 4 + 24 + 16, 1), ==, 1);
    g_assert_cmphex(ask(&t, (uint32_t[]){ JACK_REMAP, 0, 0, 0 }, 4, 4), ==, NOT_SUPP);
    g_assert_cmphex(query(&t, PCM_INFO, 0, 4, 32), ==, BAD_MSG);
    g_assert_cmphex(query(&t, PCM_INFO, 4, 0, 32), ==, BAD_MSG);
    g_assert_cmphex(query(&t, PCM_INFO, 3, 0, 32), ==, OK);
    g_assert_cmphex(query(&t, PCM_INFO, 0xffffffff, 2, 32), ==, BAD_MSG);
    g_assert_cmphex(query(&t, PCM_INFO, 0, 1, 31), ==, BAD_MSG);
    g_assert_cmphex(ask(&t, (uint32_t[]){ PCM_INFO, 0, 3, 32 }, 4, 99), ==, BAD_MSG);
    g_assert_cmphex(ask(&t, (uint32_t[]){ PCM_INFO, 0, 3 }, 3, 100), ==, BAD_MSG);
    g_assert_cmphex(ask(&t, (uint32_t[]){ PCM_INFO, 0, 3, 32 }, 4, 3), ==, 0); /* no room for anything */
    g_assert_cmphex(ask(&t, (uint32_t[]){ 0x106, 0 }, 2, 4), ==, NOT_SUPP);
    guest_close(&t);

    guest_open(&t, "chmaps", "4");
    g_assert_cmphex(query(&t, CHMAP_INFO, 0, 4, 24), ==, OK);
    g_assert_cmphex(tm_read(t.g.tm, ANSWER + 4 + 4, 4), ==, 0x05040200);
    g_assert_cmphex(tm_read(t.g.tm, ANSWER + 4 + 24 + 4, 4), ==, 0x05040201);
    g_assert_cmphex(tm_read(t.g.tm, ANSWER + 4 + 72 + 4, 4), ==, 0x00030101);
    guest_close(&t);
}

/* 5.14.6.6.1: what a stream does in which state. */
static void test_life(void)
{
    Guest t;
    guest_open(&t, NULL, NULL);
    g_assert_cmphex(pcm(&t, PREPARE, 0), ==, BAD_MSG);
    g_assert_cmphex(pcm(&t, START, 0), ==, BAD_MSG);
    g_assert_cmphex(pcm(&t, PREPARE, 2), ==, BAD_MSG);
    static const struct {
        uint32_t stream, sizes, features, format, status;
    } rows[] = {
        { 0, 0, 0, S16_48K, BAD_MSG },
        { 0, PERIOD, 1, S16_48K, NOT_SUPP },
        { 0, PERIOD, 0, 0 | 5 << 8 | 7 << 16, NOT_SUPP },
        { 0, PERIOD, 0, 3 | 5 << 8 | 7 << 16, NOT_SUPP },
        { 0, PERIOD, 0, 2 | 7 << 8 | 7 << 16, NOT_SUPP },
        { 0, PERIOD, 0, 2 | 5 << 8 | 14 << 16, NOT_SUPP },
        { 2, PERIOD, 0, S16_48K, BAD_MSG },
        { 0, PERIOD, 0, S16_48K, OK },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmphex(params(&t, rows[i].stream, rows[i].sizes, rows[i].features, rows[i].format), ==,
                        rows[i].status);
    }
    static const struct {
        uint32_t code, status;
    } life[] = {
        { START, BAD_MSG },  { RELEASE, BAD_MSG }, { PREPARE, OK },     { PREPARE, OK },  { START, OK },
        { START, BAD_MSG },  { PREPARE, BAD_MSG }, { RELEASE, BAD_MSG }, { STOP, OK },     { STOP, BAD_MSG },
        { PREPARE, BAD_MSG }, { START, OK },       { STOP, OK },         { RELEASE, OK },  { START, BAD_MSG },
        { PREPARE, OK },     { RELEASE, OK },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(life); i++) {
        g_assert_cmphex(pcm(&t, life[i].code, 0), ==, life[i].status);
    }
    g_assert_cmphex(params(&t, 0, PERIOD, 0, S16_48K), ==, OK);

    /* Buffers for a stream that wants none, or is none, and of the other direction. */
    put(&t, TX, 0, SOUND, PERIOD);
    put(&t, TX, 7, SOUND, PERIOD);
    prepare(&t, 0);
    put(&t, RX, 0, SOUND, PERIOD);
    g_assert_cmphex(status_of(&t, TX, 0), ==, BAD_MSG);
    g_assert_cmphex(status_of(&t, TX, 1), ==, BAD_MSG);
    g_assert_cmphex(status_of(&t, RX, 0), ==, BAD_MSG);
    /* More than anybody waits for: to be filled with silence, it may be the same memory many times. */
    put(&t, TX, 0, 0, (2 << 20) + 1);
    g_assert_cmphex(status_of(&t, TX, 2), ==, BAD_MSG);
    put(&t, TX, 0, 0, 2 << 20);
    g_assert_cmphex(status_of(&t, TX, 3), ==, 0);
    g_assert_cmphex(mg_rd(&t.g, MG_STATUS), ==, MG_STATUS_OK);
    guest_close(&t);
}

static void expect_ramp(GArray *heard, unsigned frames)
{
    const int16_t *p = (const int16_t *)heard->data;
    g_assert_cmpuint(heard->len, >=, 2 * frames);
    for (unsigned i = 0; i < frames; i++) {
        g_assert_cmpint(p[2 * i], ==, (int16_t)(i + 1));
        g_assert_cmpint(p[2 * i + 1], ==, (int16_t)~(i + 1));
    }
}

static void test_play(void)
{
    Guest t;
    guest_open(&t, NULL, NULL);
    ramp(&t, 2000);
    prepare(&t, 0);
    put(&t, TX, 0, SOUND, PERIOD);
    put(&t, TX, 0, SOUND + PERIOD, 0); /* nothing in it */
    put(&t, TX, 0, SOUND + PERIOD, PERIOD + 2);
    tm_step(t.g.tm, 50 * MS);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 0);
    g_assert_cmphex(pcm(&t, START, 0), ==, OK);
    tm_step(t.g.tm, 5 * MS);
    put(&t, TX, 0, SOUND + 2 * PERIOD + 2, 1520 * FRAME - 2 * PERIOD - 2);
    tm_step(t.g.tm, 5 * MS);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 1);
    g_assert_cmphex(status_of(&t, TX, 0), ==, OK);
    g_assert_cmpuint(mg_used_len(&t.g, TX, 0), ==, 8);
    g_assert_cmpuint(t.g.tm->rises[MG_PIN], >, 0);
    tm_step(t.g.tm, 10 * MS); /* all but two bytes of the third */
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 2);
    tm_step(t.g.tm, 30 * MS);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 4);
    g_autoptr(GArray) heard = soundhost_take(&t.host);
    expect_ramp(heard, 1520);

    /* Stopped: what is there waits. Released: it comes back. */
    put(&t, TX, 0, SOUND, 2 * PERIOD);
    put(&t, TX, 0, SOUND, PERIOD);
    tm_step(t.g.tm, 10 * MS);
    g_assert_cmphex(pcm(&t, STOP, 0), ==, OK);
    tm_step(t.g.tm, 50 * MS);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 4);
    g_assert_cmphex(pcm(&t, RELEASE, 0), ==, OK);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 6);
    g_assert_cmphex(status_of(&t, TX, 5), ==, OK);
    guest_close(&t);
}

static void test_record(void)
{
    Guest t;
    guest_open(&t, NULL, NULL);
    prepare(&t, 1);
    put(&t, RX, 1, SOUND, PERIOD);
    put(&t, RX, 1, SOUND + PERIOD, 2 * PERIOD);
    memset(t.g.tm->m->ram->host + SOUND, 0x55, 3 * PERIOD);
    g_assert_cmphex(pcm(&t, START, 1), ==, OK);
    tm_step(t.g.tm, 20 * MS);
    g_assert_cmpuint(mg_used(&t.g, RX), ==, 1);
    g_assert_cmphex(status_of(&t, RX, 0), ==, OK);
    g_assert_cmpuint(mg_used_len(&t.g, RX, 0), ==, PERIOD + 8);
    uint32_t first = (uint32_t)tm_read(t.g.tm, SOUND, 2);
    for (unsigned i = 0; i < 960; i++) {
        g_assert_cmpuint(tm_read(t.g.tm, SOUND + FRAME * i, 2), ==, (first + i) & 0xffff);
    }
    /* Released half full: silence, not what was there. */
    g_assert_cmphex(pcm(&t, STOP, 1), ==, OK);
    g_assert_cmphex(pcm(&t, RELEASE, 1), ==, OK);
    g_assert_cmpuint(mg_used(&t.g, RX), ==, 2);
    g_assert_cmphex(tm_read(t.g.tm, SOUND + 2 * PERIOD, 4), ==, 0);
    g_assert_cmphex(tm_read(t.g.tm, SOUND + 3 * PERIOD - 4, 4), ==, 0);
    guest_close(&t);
}

/* Buffers that wait are let go of: by the driver's reset, a queue's, and the machine's. */
static void test_resets(void)
{
    Guest t;
    guest_open(&t, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        prepare(&t, 0);
        put(&t, TX, 0, SOUND, PERIOD);
        put(&t, TX, 0, SOUND, PERIOD);
        g_assert_cmphex(pcm(&t, START, 0), ==, OK);
        if (i == 0) {
            mg_wr(&t.g, 0x30, TX);
            mg_wr(&t.g, 0xc0, 1);
            g_assert_cmpuint(mg_rd(&t.g, 0xc0), ==, 0);
            tm_step(t.g.tm, 20 * MS);
        } else if (i == 1) {
            tm_reset(t.g.tm);
        }
        tm_step(t.g.tm, i * MS);
        mg_start(&t.g, MG_BIT(RESET_FEATURE), QUEUES); /* reads a status of 0 */
        t.asked = t.put[TX] = 0;
    }
    g_assert_cmphex(pcm(&t, START, 0), ==, BAD_MSG);
    guest_close(&t);
}

static void test_state(void)
{
    Guest t;
    guest_open(&t, NULL, NULL);
    ramp(&t, 1440);
    prepare(&t, 0);
    prepare(&t, 1);
    for (unsigned i = 0; i < 3; i++) {
        put(&t, TX, 0, SOUND + i * PERIOD, PERIOD);
    }
    put(&t, RX, 1, SOUND + 4 * PERIOD, PERIOD);
    g_assert_cmphex(pcm(&t, START, 0), ==, OK);
    tm_step(t.g.tm, 10 * MS);
    tm_step(t.g.tm, 10 * MS / 3);
    g_autoptr(GByteArray) state = tm_save(t.g.tm);
    tm_step(t.g.tm, 30 * MS);
    mg_wr(&t.g, MG_STATUS, 0);
    g_array_set_size(t.host.heard, 0);
    for (unsigned twice = 0; twice < 2; twice++) { /* saved again before anything has happened */
        g_assert_true(tm_load(t.g.tm, state, &error_abort_slot));
        g_byte_array_unref(state);
        state = tm_save(t.g.tm);
    }
    tm_turns(t.g.tm);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 1);
    tm_step(t.g.tm, 40 * MS);
    g_assert_cmpuint(mg_used(&t.g, TX), ==, 3);
    g_autoptr(GArray) heard = soundhost_take(&t.host);
    const int16_t *p = (const int16_t *)heard->data;
    g_assert_cmpuint(heard->len, >=, 2 * 960);
    for (unsigned i = 0; i < 960; i++) {
        g_assert_cmpint(p[2 * i], ==, (int16_t)(481 + i));
    }
    t.asked = mg_used(&t.g, CONTROL);
    g_assert_cmphex(pcm(&t, START, 1), ==, OK);
    tm_step(t.g.tm, 20 * MS);
    g_assert_cmpuint(mg_used(&t.g, RX), ==, 1);
    guest_close(&t);
}

static void test_storm(void)
{
    static const uint32_t codes[] = { JACK_INFO, PCM_INFO, SET_PARAMS, PREPARE, RELEASE,
                                      START,     STOP,     CHMAP_INFO, PREPARE, START };
    static const uint32_t lengths[] = { 0, 1, 4, 8, PERIOD, PERIOD + 3, 65536, 0x7fffffff };
    unsigned cases = soundhost_cases(5000);
    Guest t;
    guest_open(&t, "jacks", "2");
    for (unsigned c = 0; c < cases; c++) {
        uint32_t r = (uint32_t)g_test_rand_int(), v = (uint32_t)g_test_rand_int();
        unsigned q = r >> 4 & 3, stream = r >> 6 & 3;
        switch (r & 15) {
        case 0: /* any chain */
            mg_desc(&t.g, q, v & 15, r >> 31 ? SOUND + (v & 0xffff) : v, lengths[r >> 8 & 7], v >> 16 & 3,
                    v >> 20 & 15);
            mg_offer(&t.g, q, v >> 24 & 15);
            mg_kick(&t.g, q);
            break;
        case 1:
        case 2:
        case 3:
        case 4: put(&t, r >> 30 ? TX : RX, stream, SOUND, lengths[r >> 8 & 7]); break;
        case 5: tm_step(t.g.tm, (v & 15) * MS); break;
        default: {
            uint32_t words[] = { codes[v % 10], stream, r >> 31 ? v : PERIOD, PERIOD, 0,
                                 r >> 30 & 1 ? v : S16_48K };
            memcpy(t.g.tm->m->ram->host + REQUEST, words, sizeof(words));
            mg_desc(&t.g, CONTROL, 0, REQUEST, r >> 20 & 15 ? 24 : r >> 8 & 31, MG_NEXT, 1);
            mg_desc(&t.g, CONTROL, 1, ANSWER, r >> 24 & 15 ? 128 : r >> 8 & 31, MG_WRITE, 0);
            mg_offer(&t.g, CONTROL, 0);
            mg_kick(&t.g, CONTROL);
        }
        }
        if (c % 200 == 199) {
            g_autoptr(GByteArray) state = tm_save(t.g.tm);
            g_assert_true(tm_load(t.g.tm, state, &error_abort_slot));
            tm_turns(t.g.tm);
        }
        if (mg_rd(&t.g, MG_STATUS) != MG_STATUS_OK || c % 500 == 499) {
            mg_start(&t.g, MG_BIT(RESET_FEATURE), QUEUES);
        }
    }
    /* A driver that keeps the rules works then. */
    mg_start(&t.g, 0, QUEUES);
    t.asked = t.put[TX] = 0;
    g_array_set_size(t.host.heard, 0);
    ramp(&t, 480);
    prepare(&t, 0);
    put(&t, TX, 0, SOUND, PERIOD);
    g_assert_cmphex(pcm(&t, START, 0), ==, OK);
    tm_step(t.g.tm, 20 * MS);
    g_autoptr(GArray) heard = soundhost_take(&t.host);
    expect_ramp(heard, 480);
    guest_close(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-sound/information", test_information);
    g_test_add_func("/virtio-sound/life", test_life);
    g_test_add_func("/virtio-sound/play", test_play);
    g_test_add_func("/virtio-sound/record", test_record);
    g_test_add_func("/virtio-sound/resets", test_resets);
    g_test_add_func("/virtio-sound/state", test_state);
    g_test_add_func("/virtio-sound/storm", test_storm);
    return g_test_run();
}
