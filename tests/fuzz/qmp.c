/* SPDX-License-Identifier: MIT
 * tests/fuzz/qmp.c - any bytes as what a client says to QMP, in pieces whose size the first byte tells:
 * framing, negotiation, dispatch, every command of the monitor's own but those that touch the host.
 *
 * What must hold: afterwards another client's session works; what waits to be read is bounded.
 * Covers: monitor/qmp.c, qmp_frame.c, qmp_core.c, qmp_char.c, qmp_qom.c, qmp_schema.c, qmp_state.c,
 * schema/type.c.
 */
#include "backends/char/char_internal.h"
#include "monitor/qmp_internal.h"
#include "rhea/backends/drive.h"
#include "rhea/backends/hostmem.h"
#include "tests/lib/answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const AccelOps *const accel_table[] = { &accel_test_ops, NULL };
const BoardType *const board_table[] = { &board_none, NULL };

/* They write files, open sockets, take memory without a measure, or end the program. */
static const char *const left_out[] = { "chardev-add", "chardev-change", "human-monitor-command",
                                        "memsave",     "object-add",     "pmemsave",
                                        "quit",        "x-rhea-accel",   NULL };

static void choose_commands(void)
{
    static const QmpEvent *const events[] = { qmp_events, NULL };
    static const QmpCommand *commands[2];
    static const QmpTables tables = { commands, events, NULL, NULL, NULL };
    GArray *some = g_array_new(TRUE, TRUE, sizeof(QmpCommand));
    for (const QmpCommand *c = qmp_commands; c->name; c++) {
        if (!g_strv_contains(left_out, c->name)) {
            g_array_append_vals(some, c, 1);
        }
    }
    commands[0] = (const QmpCommand *)(const void *)g_array_free(some, FALSE);
    qmp_set_tables(&tables);
}

static void take(TestMachine *tm, Chardev *c)
{
    g_autofree char *said = answers_take(tm, c);
    if (strlen(said) > 2 * QMP_OUT_EVENTS) {
        fprintf(stderr, "fuzz: %zu bytes wait to be read\n", strlen(said));
        abort();
    }
}

static void say(TestMachine *tm, Chardev *c, const uint8_t *data, size_t size, size_t piece)
{
    while (size) {
        size_t n = MIN(MIN(size, piece), chardev_input_room(c));
        if (!n) { /* it waits for us to read */
            take(tm, c);
            n = MIN(size, chardev_input_room(c));
        }
        if (!n) {
            return;
        }
        chardev_buffer_feed(c, data, n);
        tm_turns(tm);
        data += n;
        size -= n;
    }
    take(tm, c);
}

static void say_text(TestMachine *tm, Chardev *c, const char *text)
{
    say(tm, c, (const uint8_t *)text, strlen(text), 1024);
}

static void next_client(TestMachine *tm, Chardev *c)
{
    chardev_set_open(c, false);
    tm_turns(tm);
    take(tm, c);
    chardev_set_open(c, true);
    tm_turns(tm);
    say_text(tm, c, "{'execute': 'qmp_capabilities'}");
    static const char question[] = "{'execute': 'query-version', 'id': 'fuzz'}";
    chardev_buffer_feed(c, (const uint8_t *)question, strlen(question));
    g_autofree char *answer = answers_take(tm, c);
    if (!strstr(answer, "\"return\"") || !strstr(answer, "\"id\": \"fuzz\"")) {
        fprintf(stderr, "fuzz: the next client hears '%s'\n", answer);
        abort();
    }
}

/* The first byte: bit 0, negotiation has been; bit 1, with oob; the rest, bytes at a time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool chosen;
    if (!chosen) {
        choose_commands();
        chosen = true;
    }
    if (!size) {
        return 0;
    }
    TestMachine *tm = tm_new(1 << 20);
    tm->m->action.no_shutdown = true;
    Chardev *c = chardev_new_buffer(tm->m, "mon");
    QmpSession *s = qmp_session_new(tm->m, c, false, &error_abort_slot);
    tm_turns(tm);
    take(tm, c);
    if (data[0] & 1) {
        say_text(tm, c,
                 data[0] & 2 ? "{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}"
                             : "{'execute': 'qmp_capabilities'}");
    }
    say(tm, c, data + 1, size - 1, 1 + (data[0] >> 2) * 16);
    next_client(tm, c);
    chardev_remove_all(tm->m);
    qmp_session_free(s);
    hostmem_remove_all(tm->m);
    drive_remove_all(tm->m);
    tm_free(tm);
    return 0;
}
