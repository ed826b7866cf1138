/* SPDX-License-Identifier: MIT
 * tests/device/test-vmmouse.c - hw/input/vmmouse.c, hw/misc/vmport.c: commands as a vCPU's registers carry
 * them, packets of both modes, the PS/2 mouse's interrupt, saved state, and any commands. RHEA_VMMOUSE_CASES:
 * rounds of these. Registers of real vCPUs (target/x86/portregs.c): tests/func/vmmouse.py. Threads: main.
 */
#include "rhea/hw/ps2.h"
#include "rhea/hw/vmport.h"
#include "tests/device/isatest.h"

#include <stdlib.h>

enum {
    VERSION = 10,
    GET_DATA = 39,
    STATUS = 40,
    COMMAND = 41,
    PORT = 0x5658,
    KBD_DATA = 0x60,
    KBD_CMD = 0x64
};
enum { READ_ID = 0x45414552, DISABLE = 0xf5, RELATIVE = 0x4c455252, ABSOLUTE = 0x53424152, ID = 0x3442554a };

typedef struct Fix {
    IsaTest *t;
    Machine *m;
    Device *port, *mouse;
    VmportRegs r;
} Fix;

static void setup(Fix *f)
{
    f->t = isatest_new();
    f->m = f->t->tm->m;
    Device *kbc = isatest_add(f->t, &i8042_type, NULL);
    f->port = isatest_add(f->t, &vmport_type, NULL);
    f->mouse = isatest_add(f->t, &vmmouse_type, NULL);
    vmmouse_wire(f->mouse, f->port, i8042_mouse(kbc));
}

static uint32_t call(Fix *f, unsigned command, uint32_t param)
{
    f->r = (VmportRegs){ VMPORT_MAGIC, param, command | 0xabcd0000, PORT, 1, 2 };
    domain_lock(f->m->platform);
    vmport_execute(f->port, &f->r);
    domain_unlock(f->m->platform);
    return f->r.eax;
}

static void begin(Fix *f, uint32_t mode)
{
    call(f, COMMAND, READ_ID);
    g_assert_cmphex(call(f, STATUS, 0), ==, 1);
    g_assert_cmphex(call(f, GET_DATA, 1), ==, ID);
    call(f, COMMAND, mode);
    g_assert_cmphex(call(f, STATUS, 0), ==, 0);
}

static UiEvent place(unsigned axis, int value)
{
    return (UiEvent){ .kind = INPUT_KIND_ABS, .code = axis, .value = value };
}

static UiEvent button(PointerButton b, bool down)
{
    return (UiEvent){ .kind = INPUT_KIND_BUTTON, .code = b, .down = down };
}

static void packet(Fix *f, uint32_t buttons, uint32_t x, uint32_t y, uint32_t z)
{
    g_assert_cmpuint(call(f, STATUS, 0), >=, 4);
    g_assert_cmphex(call(f, GET_DATA, 4), ==, buttons);
    g_assert_cmphex(f->r.ebx, ==, x);
    g_assert_cmphex(f->r.ecx, ==, y);
    g_assert_cmphex(f->r.edx, ==, z);
    g_assert_cmphex(f->r.esi, ==, 1);
}

static void test_port(void)
{
    Fix f;
    setup(&f);
    g_assert_cmphex(call(&f, VERSION, 0), ==, 6);
    g_assert_cmphex(f.r.ebx, ==, VMPORT_MAGIC);
    g_assert_cmphex(f.r.ecx, ==, 2);
    g_assert_cmphex(call(&f, 11, 77), ==, UINT32_MAX);
    g_assert_cmphex(f.r.ebx, ==, 77);
    g_assert_cmphex(call(&f, 0xfff0, 0), ==, UINT32_MAX);
    f.r = (VmportRegs){ .eax = 1, .ecx = VERSION };
    vmport_execute(f.port, &f.r);
    g_assert_cmphex(f.r.eax, ==, UINT32_MAX);
    g_assert_cmphex(f.r.ebx, ==, 0);
    g_assert_cmphex(inb(f.t, PORT), ==, 0xff); /* a test has no registers */
    outb(f.t, PORT, 1);
    isatest_free(f.t);
}

static void test_modes(void)
{
    Fix f;
    setup(&f);
    UiEvent to[] = { place(0, 0x7fff), place(1, 0x123) };
    g_assert_cmphex(call(&f, STATUS, 0), ==, 0xffff0000);
    g_assert_false(input_send(f.m, NULL, to, 2));
    g_assert_cmpuint(input_mice(f.m)->len, ==, 1); /* the PS/2 mouse: nobody has asked for this one */
    begin(&f, ABSOLUTE);
    g_assert_true(input_pointer_is_absolute(f.m, NULL));
    g_assert_true(input_send(f.m, NULL, to, 2));
    packet(&f, 0, 0xfffe, 0x246, 0);
    UiEvent press[] = { place(0, 1), button(POINTER_LEFT, true), button(POINTER_WHEEL_UP, true) };
    g_assert_true(input_send(f.m, NULL, press, 3));
    packet(&f, 0x20, 2, 0x246, UINT32_MAX);

    /* Movements in between are one; clicks and the wheel are told each. A full queue knows the end. */
    for (unsigned i = 0; i < 100; i++) {
        UiEvent move[] = { place(0, (int)i) };
        input_send(f.m, NULL, move, 1);
    }
    g_assert_cmphex(call(&f, STATUS, 0), ==, 4);
    for (unsigned i = 0; i < 200; i++) {
        UiEvent click[] = { place(1, (int)i), button(POINTER_RIGHT, i % 2 == 0) };
        input_send(f.m, NULL, click, 2);
    }
    g_assert_cmphex(call(&f, STATUS, 0), ==, 256);
    g_autoptr(GByteArray) state = tm_save(f.t->tm);
    call(&f, COMMAND, DISABLE);
    g_assert_false(input_pointer_is_absolute(f.m, NULL));
    g_assert_true(tm_load(f.t->tm, state, &error_abort_slot));
    g_assert_true(input_pointer_is_absolute(f.m, NULL));
    packet(&f, 0x20, 99 * 2, 0x246, 0);
    packet(&f, 0x30, 99 * 2, 0, 0);
    while (call(&f, STATUS, 0) > 4) {
        call(&f, GET_DATA, 4);
    }
    packet(&f, 0x20, 99 * 2, 199 * 2, 0);
    call(&f, GET_DATA, 1); /* there is none */
    g_assert_cmphex(call(&f, STATUS, 0), ==, 0xffff0000);

    begin(&f, RELATIVE);
    UiEvent travel[] = { { .kind = INPUT_KIND_REL, .code = 0, .value = -3 },
                         { .kind = INPUT_KIND_REL, .code = 1, .value = 5 },
                         button(POINTER_MIDDLE, true) };
    g_assert_true(input_send(f.m, NULL, travel, 3));
    packet(&f, 0x10008, (uint32_t)-3, (uint32_t)-5, 0);
    call(&f, GET_DATA, 7);
    g_assert_cmphex(call(&f, STATUS, 0), ==, 0xffff0000);
    call(&f, COMMAND, 12345);
    isatest_free(f.t);
}

static void test_interrupt(void)
{
    Fix f;
    setup(&f);
    UiEvent to[] = { place(0, 5) };
    outb(f.t, KBD_CMD, 0xa8);
    outb(f.t, KBD_CMD, 0xd4);
    outb(f.t, KBD_DATA, 0xf4);
    g_assert_cmphex(inb(f.t, KBD_DATA), ==, 0xfa);
    begin(&f, ABSOLUTE);
    g_assert_true(input_send(f.m, NULL, to, 1));
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(inb(f.t, KBD_CMD) & 0x21, ==, 0x21);
        g_assert_cmphex(inb(f.t, KBD_DATA), ==, i ? 0 : 8);
    }
    g_assert_cmphex(inb(f.t, KBD_CMD) & 1, ==, 0);
    packet(&f, 0, 10, 0, 0);
    isatest_free(f.t);
}

static void test_storm(void)
{
    static const uint32_t params[] = { READ_ID, DISABLE, RELATIVE, ABSOLUTE, ABSOLUTE, 1, 4, 4, 4, 6, 0, 7 };
    const char *text = getenv("RHEA_VMMOUSE_CASES");
    unsigned cases = text ? (unsigned)strtoul(text, NULL, 10) : 5000;
    Fix f;
    setup(&f);
    for (unsigned c = 0; c < cases; c++) {
        uint32_t r = (uint32_t)g_test_rand_int();
        unsigned command = r & 8 ? GET_DATA + (r & 3) : r & 7 ? COMMAND : r >> 16;
        call(&f, command, r >> 28 ? params[(r >> 8) % G_N_ELEMENTS(params)] : r);
        UiEvent e[] = { { .kind = r >> 4 & 1 ? INPUT_KIND_ABS : INPUT_KIND_REL,
                          .code = r >> 5 & 1,
                          .value = (int32_t)g_test_rand_int() },
                        button(r >> 12 & 7, r >> 15 & 1) };
        input_send(f.m, NULL, e, 2);
        g_assert_cmpuint(call(&f, STATUS, 0) & 0xffff, <=, 256);
    }
    isatest_free(f.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmmouse/port", test_port);
    g_test_add_func("/vmmouse/modes", test_modes);
    g_test_add_func("/vmmouse/interrupt", test_interrupt);
    g_test_add_func("/vmmouse/storm", test_storm);
    return g_test_run();
}
