/* SPDX-License-Identifier: MIT
 * tests/unit/monitor/test-qmpstate.c - commands about what these machines have none of, memory backends and
 * texts, called as a session would. Covers monitor/qmp_state.c and hostmem_foreach() of
 * backends/hostmem/core.c.
 */
#include "rhea/backends/hostmem.h"
#include "rhea/monitor/monitor.h"
#include "rhea/monitor/qmp.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-state.h"
#include "tests/lib/testmachine.h"

const AccelOps *const accel_table[] = { &accel_test_ops, NULL };
const BoardType *const board_table[] = { &board_none, NULL };

typedef struct Row {
    const char *command, *args, *pattern; /* args: NULL, none; of the result, or of the error's text */
} Row;

static void run_row(Machine *m, const Row *r)
{
    g_autoptr(Error) err = NULL;
    g_autoptr(Json) args = r->args ? json_parse(r->args, -1, &error_abort_slot) : NULL;
    const QmpCommand *c = qmp_find(r->command);
    g_assert_nonnull(c);
    g_autoptr(Json) result = qmp_run(m, NULL, c, args, &err);
    g_autofree char *text = result ? json_format(result, false) : g_strdup(error_text(err));
    if (!g_pattern_match_simple(r->pattern, text)) {
        g_error("%s %s gave '%s', not '%s'", r->command, r->args ? r->args : "", text, r->pattern);
    }
}

static void run_rows(Machine *m, const Row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        run_row(m, &rows[i]);
    }
}

static void test_none(void)
{
    static const Row rows[] = {
        { "query-current-machine", NULL, "{\"wakeup-suspend-support\": false}" },
        { "system_wakeup", NULL, "Unable to wake up: guest is not in suspended state" },
        { "query-migrate-capabilities", NULL, "[{\"capability\": \"events\", \"state\": false}]" },
        { "migrate-set-capabilities", "{\"capabilities\": []}", "{}" },
        { "migrate-set-capabilities",
          "{\"capabilities\": [{\"capability\": \"xbzrle\", \"state\": false}]}", "{}" },
        { "migrate-set-capabilities",
          "{\"capabilities\": [{\"capability\": \"events\", \"state\": true}, {\"capability\": \"multifd\", "
          "\"state\": true}]}", "*'multifd' cannot be on*" },
        { "query-migrate-capabilities", NULL, "[{\"capability\": \"events\", \"state\": false}]" },
        { "migrate-set-capabilities",
          "{\"capabilities\": [{\"capability\": \"events\", \"state\": true}]}", "{}" },
        { "query-migrate-capabilities", NULL, "[{\"capability\": \"events\", \"state\": true}]" },
        { "migrate-set-capabilities", "{\"capabilities\": [{\"capability\": \"fast\", \"state\": true}]}",
          "*'capabilities.0.capability' must be one of*" },
        { "query-tpm-models", NULL, "[]" },
        { "query-tpm-types", NULL, "[]" },
        { "query-memory-devices", NULL, "[]" },
    };
    TestMachine *tm = tm_new(1 << 20);
    run_rows(tm->m, rows, G_N_ELEMENTS(rows));
    tm_free(tm);
}

static void add_backend(Machine *m, const char *text)
{
    g_autoptr(Json) opts = json_parse(text, -1, &error_abort_slot);
    hostmem_new_json(m, opts, false, false, &error_abort_slot);
}

static void test_memdev(void)
{
    static const Row two = {
        "query-memdev", NULL,
        "[{\"id\": \"a\", \"size\": 8192, \"merge\": true, \"dump\": true, \"prealloc\": false, "
        "\"share\": false, \"reserve\": true, \"host-nodes\": [], \"policy\": \"default\"}, "
        "{\"id\": \"b\", \"size\": 4096, \"merge\": true, \"dump\": false, \"prealloc\": true, "
        "\"share\": true, \"reserve\": false, \"host-nodes\": [], \"policy\": \"default\"}]",
    };
    static const Row none = { "query-memdev", NULL, "[]" };
    static const Row blocks = { "x-query-ramblock", NULL, "*Block Name*  a *0x0000000000002000*  b *" };
    TestMachine *tm = tm_new(1 << 20);
    run_row(tm->m, &none);
    add_backend(tm->m, "{\"qom-type\": \"memory-backend-ram\", \"id\": \"a\", \"size\": 8192}");
    add_backend(tm->m, "{\"qom-type\": \"memory-backend-memfd\", \"id\": \"b\", \"size\": 4096, "
                       "\"dump\": false, \"prealloc\": true, \"reserve\": false}");
    run_row(tm->m, &two);
    run_row(tm->m, &blocks);
    GString *out = g_string_new(NULL);
    monitor_run_line(NULL, tm->m, "info memdev", out);
    g_assert_nonnull(strstr(out->str, "memory backend: b\n  size:  4096\n  merge: true\n  dump: false\n"));
    g_string_free(out, TRUE);
    hostmem_remove_all(tm->m);
    run_row(tm->m, &none);
    tm_free(tm);
}

static void test_texts(void)
{
    static const Row rows[] = {
        { "x-query-jit", NULL, "{\"human-readable-text\": \"*\"}" },
        { "x-query-roms", NULL, "{\"human-readable-text\": \"*\"}" },
        { "x-query-numa", NULL, "{\"human-readable-text\": \"*\"}" },
    };
    TestMachine *tm = tm_new(1 << 20);
    run_rows(tm->m, rows, G_N_ELEMENTS(rows));
    tm_free(tm);
}

int main(int argc, char **argv)
{
    static const QmpCommand *const commands[] = { qmp_state_commands, NULL };
    static const QmpEvent *const events[] = { NULL };
    static const QmpTables tables = { .commands = commands, .events = events };
    static const HmpCommand *const hmp[] = { monitor_core_commands, NULL };
    g_test_init(&argc, &argv, NULL);
    qmp_set_tables(&tables);
    monitor_set_commands(hmp);
    g_test_add_func("/qmpstate/none", test_none);
    g_test_add_func("/qmpstate/memdev", test_memdev);
    g_test_add_func("/qmpstate/texts", test_texts);
    return g_test_run();
}
