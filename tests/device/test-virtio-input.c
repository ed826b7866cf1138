/* SPDX-License-Identifier: MIT
 * tests/device/test-virtio-input.c - hw/virtio/virtio-input.c: a driver in the test reads what the device is,
 * gets its events, sets LEDs, leaves and comes back, has no buffers, and breaks the rules.
 * Threads: main.
 */
#include "rhea/hw/virtio-mmio.h"
#include "rhea/ui/input.h"
#include "tests/device/mmioguest.h"

#include <linux/input-event-codes.h>
#include <string.h>

enum { SIZE = 64, RAM = 16 << 20, CONFIG = 0x100, EVENTS = MG_BUFFERS, STATUS = MG_BUFFERS + 0x1000 };

typedef struct Driver {
    MmioGuest g;
    unsigned seen; /* used buffers that were looked at */
} Driver;

static void open_device(Driver *d, const char *type, const char *prop, const char *value)
{
    *d = (Driver){ 0 };
    mg_open(&d->g, RAM, SIZE);
    mg_plug(&d->g, type, prop, value, NULL);
    g_assert_cmpuint(mg_rd(&d->g, 8), ==, 18);
}

/* Buffers [from, from + n) of 8 bytes each, of the events' queue. */
static void offer(Driver *d, unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        mg_desc(&d->g, 0, i, EVENTS + 8 * i, 8, MG_WRITE, 0);
        mg_offer(&d->g, 0, i);
    }
    mg_kick(&d->g, 0);
}

static void start(Driver *d, unsigned buffers)
{
    mg_start(&d->g, 0, 2);
    d->seen = 0;
    offer(d, 0, buffers);
}

/* What came since the last look, as type:code=value; groups end with a dot. Buffers are used in order. */
static void expect(Driver *d, const char *want)
{
    g_autoptr(GString) got = g_string_new(NULL);
    for (; d->seen < mg_used(&d->g, 0); d->seen++) {
        struct {
            uint16_t type, code;
            int32_t value;
        } e;
        g_assert_cmpuint(mg_used_len(&d->g, 0, d->seen), ==, 8);
        memcpy(&e, (uint8_t *)d->g.tm->m->ram->host + EVENTS + 8 * (d->seen % SIZE), sizeof(e));
        if (e.type == EV_SYN) {
            g_string_append(got, ". ");
        } else {
            g_string_append_printf(got, "%u:%u=%d ", e.type, e.code, e.value);
        }
    }
    g_assert_cmpstr(got->str, ==, want);
}

/* The value that select and subsel choose, as hexadecimal bytes. */
static void expect_config(Driver *d, unsigned select, unsigned subsel, const char *want)
{
    g_autoptr(GString) got = g_string_new(NULL);
    tm_write(d->g.tm, MG_BASE + CONFIG, 1, select);
    tm_write(d->g.tm, MG_BASE + CONFIG + 1, 1, subsel);
    unsigned n = (unsigned)tm_read(d->g.tm, MG_BASE + CONFIG + 2, 1);
    for (unsigned i = 0; i < n; i++) {
        g_string_append_printf(got, "%02x", (unsigned)tm_read(d->g.tm, MG_BASE + CONFIG + 8 + i, 1));
    }
    g_assert_cmpstr(got->str, ==, want);
}

static bool send_key(Driver *d, InputKey key, bool down)
{
    return input_send_key(d->g.tm->m, NULL, key, down);
}

static void send_pointer(Driver *d, InputKind kind, int x, int y)
{
    UiEvent e[] = { { .kind = kind, .code = 0, .value = x }, { .kind = kind, .code = 1, .value = y } };
    g_assert_true(input_send(d->g.tm->m, NULL, e, G_N_ELEMENTS(e)));
}

static void click(Driver *d, PointerButton button)
{
    UiEvent e[] = { { .kind = INPUT_KIND_BUTTON, .code = button, .down = true },
                    { .kind = INPUT_KIND_BUTTON, .code = button } };
    g_assert_true(input_send(d->g.tm->m, NULL, e, G_N_ELEMENTS(e)));
}

static void test_config(void)
{
    Driver d;
    open_device(&d, "virtio-keyboard-device", "serial", "abc");
    mg_start(&d.g, 0, 2);
    expect_config(&d, 1, 0, "51454d552056697274696f204b6579626f617264");
    expect_config(&d, 1, 1, "");
    expect_config(&d, 2, 0, "616263");
    expect_config(&d, 3, 0, "0600270601000100");
    expect_config(&d, 0x10, 0, "");
    expect_config(&d, 0x11, EV_LED, "07");
    expect_config(&d, 0x11, EV_REP, "00");
    expect_config(&d, 0x11, EV_REL, "");
    expect_config(&d, 0x12, ABS_X, "");
    expect_config(&d, 0xff, 0xff, "");
    tm_write(d.g.tm, MG_BASE + CONFIG, 1, 0x11);
    tm_write(d.g.tm, MG_BASE + CONFIG + 1, 1, EV_KEY);
    for (unsigned k = 0; k < INPUT_KEYS; k++) { /* each key that has a code is announced */
        unsigned code = input_key_evdev(k);
        uint64_t byte = tm_read(d.g.tm, MG_BASE + CONFIG + 8 + code / 8, 1);
        g_assert_true(code == 0 || byte >> (code % 8) & 1);
    }
    mg_close(&d.g);

    open_device(&d, "virtio-mouse-device", NULL, NULL);
    expect_config(&d, 0x11, EV_REL, "4301");
    expect_config(&d, 0x11, EV_ABS, "");
    expect_config(&d, 0x11, EV_LED, "");
    expect_config(&d, 2, 0, "");
    expect_config(&d, 0x11, EV_KEY,
                  "00000000000000000000000000000000000000000000000000000000000000000000"
                  "1f");
    mg_close(&d.g);

    open_device(&d, "virtio-tablet-device", "wheel-axis", "off");
    expect_config(&d, 3, 0, "0600270603000100");
    expect_config(&d, 0x11, EV_ABS, "03");
    expect_config(&d, 0x11, EV_REL, "");
    expect_config(&d, 0x12, ABS_Y, "00000000ff7f0000000000000000000000000000");
    expect_config(&d, 0x12, 2, "");
    expect_config(&d, 0x11, EV_KEY,
                  "00000000000000000000000000000000000000000000000000000000000000000000"
                  "1f0000000000000003");
    mg_close(&d.g);
}

static void set_led(Driver *d, unsigned type, unsigned code, unsigned value, unsigned len)
{
    struct {
        uint16_t type, code;
        uint32_t value;
    } e = { (uint16_t)type, (uint16_t)code, value };
    tm_copy_in(d->g.tm, STATUS, &e, sizeof(e));
    mg_put(&d->g, 1, STATUS, len, 0);
}

static void test_keyboard(void)
{
    Driver d;
    open_device(&d, "virtio-keyboard-device", NULL, NULL);
    g_assert_false(send_key(&d, INPUT_KEY_A, true)); /* no driver yet */
    g_assert_true(input_is_there(d.g.tm->m, INPUT_KIND_KEY));
    start(&d, 16);
    g_assert_true(send_key(&d, INPUT_KEY_A, true));
    g_assert_true(send_key(&d, INPUT_KEY_A, true)); /* the guest repeats */
    g_assert_true(send_key(&d, INPUT_KEY_META_R, true));
    g_assert_true(d.g.tm->level[MG_PIN]);
    expect(&d, "1:30=1 . 1:126=1 . ");
    input_release_all(d.g.tm->m, NULL);
    expect(&d, "1:30=0 1:126=0 . ");
    set_led(&d, EV_LED, LED_CAPSL, 1, 8);
    g_assert_cmpuint(input_leds(d.g.tm->m), ==, 4);
    set_led(&d, EV_LED, LED_NUML, 1, 8);
    g_assert_cmpuint(input_leds(d.g.tm->m), ==, 6);
    set_led(&d, EV_LED, LED_CAPSL, 0, 8);
    set_led(&d, EV_LED, 15, 1, 8);
    set_led(&d, EV_REP, 0, 1, 8);
    set_led(&d, EV_LED, LED_SCROLLL, 1, 7);
    g_assert_cmpuint(input_leds(d.g.tm->m), ==, 2);
    g_assert_cmpuint(mg_used(&d.g, 1), ==, 6);
    mg_wr(&d.g, MG_STATUS, 0); /* the driver goes */
    g_assert_cmpuint(input_leds(d.g.tm->m), ==, 0);
    g_assert_false(send_key(&d, INPUT_KEY_B, true));
    start(&d, 4);
    expect(&d, "");
    send_key(&d, INPUT_KEY_B, false); /* pressed before: nothing was told of it */
    expect(&d, "");
    send_key(&d, INPUT_KEY_C, true);
    expect(&d, "1:46=1 . ");
    tm_reset(d.g.tm);
    send_key(&d, INPUT_KEY_C, false);
    g_assert_false(send_key(&d, INPUT_KEY_C, true));
    mg_close(&d.g);
}

static void test_pointers(void)
{
    Driver d;
    open_device(&d, "virtio-mouse-device", NULL, NULL);
    start(&d, 32);
    send_pointer(&d, INPUT_KIND_REL, 5, -6);
    click(&d, POINTER_SIDE);
    click(&d, POINTER_WHEEL_UP);
    click(&d, POINTER_WHEEL_LEFT);
    expect(&d, "2:0=5 2:1=-6 . 1:275=1 1:275=0 . 2:8=1 . 2:6=-1 . ");
    g_assert_false(input_pointer_is_absolute(d.g.tm->m, NULL));
    mg_close(&d.g);
    open_device(&d, "virtio-tablet-device", "wheel-axis", "off");
    start(&d, 32);
    send_pointer(&d, INPUT_KIND_ABS, 0, INPUT_ABS_MAX);
    click(&d, POINTER_RIGHT);
    click(&d, POINTER_WHEEL_DOWN);
    click(&d, POINTER_WHEEL_RIGHT); /* there is none */
    expect(&d, "3:0=0 3:1=32767 . 1:273=1 1:273=0 . 1:336=1 1:336=0 . ");
    g_assert_true(input_pointer_is_absolute(d.g.tm->m, NULL));
    mg_close(&d.g);
}

/* Without buffers: events wait, then whole groups are lost, and no key stays down. */
static void test_waiting(void)
{
    Driver d;
    open_device(&d, "virtio-keyboard-device", NULL, NULL);
    start(&d, 1);
    send_key(&d, INPUT_KEY_SHIFT, true);
    expect(&d, "1:42=1 ");
    unsigned room = input_key_room(d.g.tm->m, NULL);
    for (unsigned i = 0; i < room; i++) {
        g_assert_cmpuint(input_key_room(d.g.tm->m, NULL), ==, room - i);
        send_key(&d, INPUT_KEY_A, i % 2 == 0);
    }
    g_assert_cmpuint(input_key_room(d.g.tm->m, NULL), ==, 0);
    send_key(&d, INPUT_KEY_Z, true); /* lost, both; of Shift the driver knows */
    send_key(&d, INPUT_KEY_Z, false);
    send_key(&d, INPUT_KEY_SHIFT, false);
    GByteArray *state = tm_save(d.g.tm);
    tm_load(d.g.tm, state, &error_abort_slot);
    g_byte_array_free(state, TRUE);
    tm_turns(d.g.tm);
    g_autoptr(GString) all = g_string_new(". ");
    for (unsigned i = 0; i < room; i++) {
        g_string_append_printf(all, "1:30=%u . ", i % 2 == 0);
    }
    g_string_append(all, "1:42=0 . ");
    unsigned left = 1 + 2 * room + 2;
    g_autoptr(GString) got = g_string_new(NULL);
    for (unsigned at = 1; left;) {
        unsigned n = MIN(left, 3);
        for (unsigned i = 0; i < n; i++, at = (at + 1) % SIZE) {
            offer(&d, at, 1);
        }
        for (; d.seen < mg_used(&d.g, 0); d.seen++) {
            struct {
                uint16_t type, code;
                int32_t value;
            } e;
            memcpy(&e, (uint8_t *)d.g.tm->m->ram->host + EVENTS + 8 * (d.seen % SIZE), sizeof(e));
            if (e.type) {
                g_string_append_printf(got, "%u:%u=%d ", e.type, e.code, e.value);
            } else {
                g_string_append(got, ". ");
            }
        }
        left -= n;
    }
    g_assert_cmpstr(got->str, ==, all->str);
    offer(&d, d.seen % SIZE, 1);
    expect(&d, "");
    mg_close(&d.g);
}

static void test_hostile(void)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
        unsigned flags;
        bool broken;
    } bad[] = {
        { EVENTS, 7, MG_WRITE, false },
        { EVENTS, 8, 0, false },
        { RAM - 4, 8, MG_WRITE, true },
        { EVENTS, 8, MG_WRITE | MG_NEXT, true },
    };
    Driver d;
    open_device(&d, "virtio-keyboard-device", NULL, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        mg_start(&d.g, 0, 2);
        mg_put(&d.g, 0, bad[i].addr, bad[i].len, bad[i].flags);
        send_key(&d, INPUT_KEY_A, true);
        g_assert_cmphex(mg_rd(&d.g, MG_STATUS), ==, bad[i].broken ? MG_STATUS_BROKEN : MG_STATUS_OK);
        g_assert_cmpuint(mg_used(&d.g, 0), ==, !bad[i].broken);
        for (unsigned k = 0; k < 2000; k++) { /* nothing grows */
            send_key(&d, k % INPUT_KEYS, k & 1);
        }
        input_release_all(d.g.tm->m, NULL);
    }
    mg_close(&d.g);
}

static void test_refusals(void)
{
    MmioGuest g;
    Error *err = NULL;
    g_autofree char *text = g_strnfill(129, 'x');
    mg_open(&g, RAM, SIZE);
    Device *dev = device_new(g.tm->m, device_type_find("virtio-mouse-device"), g.tm->m->peripheral, "x");
    g_assert_true(device_set(dev, "serial", text, &error_abort_slot));
    g_assert_false(device_realize(dev, virtio_mmio_bus(g.transport), &err));
    g_assert_nonnull(strstr(error_text(err), "129 characters"));
    error_free(err);
    device_remove(dev);
    mg_close(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/device/virtio-input/config", test_config);
    g_test_add_func("/device/virtio-input/keyboard", test_keyboard);
    g_test_add_func("/device/virtio-input/pointers", test_pointers);
    g_test_add_func("/device/virtio-input/waiting", test_waiting);
    g_test_add_func("/device/virtio-input/hostile", test_hostile);
    g_test_add_func("/device/virtio-input/refusals", test_refusals);
    return g_test_run();
}
