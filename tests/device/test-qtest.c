/* SPDX-License-Identifier: MIT
 * tests/device/test-qtest.c - the line protocol on the pc board: what reaches the I/O APIC can be watched,
 * and time moves the 8254.
 * Threads: main.
 */
#include "tests/lib/testmachine.h"

#include "rhea/hw/pc.h"

#include <glib/gstdio.h>
#include <string.h>

static GString *heard;

static void hear(void *opaque G_GNUC_UNUSED, const char *line)
{
    g_string_append_printf(heard, "%s\n", line);
}

static void say(TestMachine *tm, Qtest *q, const char *line, const char *expect)
{
    g_string_truncate(heard, 0);
    qtest_line(q, line);
    tm_turns(tm);
    g_assert_cmpstr(heard->str, ==, expect);
}

static void test_ioapic_lines(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-qtest-XXXXXX", NULL);
    g_autofree char *firmware = g_build_filename(dir, "firmware", NULL);
    g_autofree char *halts = g_strnfill(64 << 10, (char)0xf4);
    g_assert_true(g_file_set_contents(firmware, halts, 64 << 10, NULL));
    TestMachine *tm = tm_prepare(&pc_board);
    tm->m->bios = g_strdup(firmware);
    tm_build(tm);
    heard = g_string_new(NULL);
    Qtest *q = qtest_new(tm->m, hear, NULL);
    say(tm, q, "outb 0x43 0x34",
        "OK\n"); /* 8254 data sheet: counter 0, both bytes, mode 2; output goes high */
    say(tm, q, "irq_intercept_in ioapic", "OK\n");
    say(tm, q, "outb 0x40 0", "OK\n");
    say(tm, q, "outb 0x40 0x10", "OK\n"); /* 4096 clocks of 838 ns: low for the last one (MP 1.4: pin 2) */
    say(tm, q, "clock_step 4000000", "IRQ lower 2\nIRQ raise 2\nOK 4000000\n");
    say(tm, q, "set_irq_in ioapic unnamed-gpio-in 9 1", "OK\n");
    qtest_free(q);
    g_string_free(heard, TRUE);
    tm_free(tm);
    g_unlink(firmware);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/device/qtest/ioapic-lines", test_ioapic_lines);
    return g_test_run();
}
