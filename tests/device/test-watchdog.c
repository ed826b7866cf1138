/* SPDX-License-Identifier: MIT
 * tests/device/test-watchdog.c - the watchdogs by their data sheets: hw/watchdog/i6300esb.c, ib700.c,
 * hw/i386/tco.c and its wires in ich9-lpc.c; what each -action watchdog= does (system/machine_request.c).
 * Threads: main; time is the test's.
 */
#include "hw/i386/ich9.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/target/x86/cpu.h"
#include "schema/options.h"
#include "tests/device/q35test.h"

#include <string.h>

#define MS   INT64_C(1000000)
#define TICK (600 * MS)

typedef struct Seen {
    TestMachine *tm;
    MachineListener listener;
    GString *events; /* "NAME:action ..." */
    unsigned smis;
} Seen;

static void note_event(void *opaque, const char *name, const Json *data)
{
    Seen *s = opaque;
    const char *action = data ? json_get_string(json_member(data, "action", NULL)) : NULL;
    g_string_append_printf(s->events, "%s%s%s ", name, action ? ":" : "", action ? action : "");
}

static void reboots(Machine *m)
{
    GlobalProp *g = g_new0(GlobalProp, 1);
    *g = (GlobalProp){ .driver = g_strdup("ICH9-LPC"),
                       .prop = g_strdup("noreboot"),
                       .value = g_strdup("false") };
    g_ptr_array_add(m->globals, g);
}

static Seen *start(void (*options)(Machine *m), void (*devices)(TestMachine *tm), WatchdogAction action)
{
    Seen *s = g_new0(Seen, 1);
    s->tm = q35_new_with(64 << 20, options, devices);
    s->tm->m->action.watchdog = action;
    s->events = g_string_new(NULL);
    s->listener = (MachineListener){ .event = note_event, .opaque = s };
    machine_add_listener(s->tm->m, &s->listener);
    return s;
}

static void end(Seen *s)
{
    machine_remove_listener(s->tm->m, &s->listener);
    g_string_free(s->events, TRUE);
    tm_free(s->tm);
    g_free(s);
}

/* What was told since the last look. */
#define TOLD(s, text)                                                                                        \
    do {                                                                                                     \
        tm_turns((s)->tm);                                                                                   \
        g_assert_cmpstr((s)->events->str, ==, (text));                                                       \
        g_string_truncate((s)->events, 0);                                                                   \
    } while (0)

/* ---- i6300esb ---- */

enum { ESB = PCI_DEVFN(5, 0), ESB_AT = 0xe1000000, PRELOAD1 = 0, PRELOAD2 = 4, STATUS = 8, RELOAD = 0x0c };
enum { CONFIG = 0x60, LOCK = 0x68, ENABLE = 2, FREE_RUN = 4, NO_INT = 3, FAST = 4, OUTPUT_OFF = 0x20 };
#define SLOW_NS ((INT64_C(30) << 15)) /* a unit of a preload value */

static void esb_add(TestMachine *tm)
{
    tm_device_type(tm, &i6300esb_type, tm->m->board->default_bus(tm->m, &pci_bus_type), "addr", "5", NULL);
}

static Seen *esb_start(WatchdogAction action)
{
    Seen *s = start(NULL, esb_add, action);
    q35_set(s->tm, ESB, 0x10, ESB_AT, 4);
    q35_set(s->tm, ESB, 0x04, 2, 2);
    return s;
}

static void esb_write(Seen *s, unsigned reg, uint32_t v, unsigned n)
{
    as_store(&s->tm->m->as_mem, ESB_AT + reg, n, v, MEM_ATTRS_NONE);
}

static uint32_t esb_read(Seen *s, unsigned reg, unsigned n)
{
    return (uint32_t)q35_mem(&s->tm->m->as_mem, ESB_AT + reg, n);
}

static void esb_unlocked(Seen *s, unsigned reg, uint32_t v, unsigned n)
{
    esb_write(s, RELOAD, 0x80, 2);
    esb_write(s, RELOAD, 0x86, 2);
    esb_write(s, reg, v, n);
}

static void test_esb_registers(void)
{
    Seen *s = esb_start(WATCHDOG_ACTION_NONE);
    g_assert_cmphex(q35_get(s->tm, ESB, 0, 4), ==, 0x25ab8086);
    g_assert_cmphex(q35_get(s->tm, ESB, 8, 4) >> 8, ==, 0x088000);
    g_assert_cmphex(esb_read(s, PRELOAD1, 4), ==, 0xfffff);
    esb_write(s, PRELOAD1, 5, 4); /* nothing without the sequence */
    g_assert_cmphex(esb_read(s, PRELOAD1, 4), ==, 0xfffff);
    esb_unlocked(s, PRELOAD1, 0xfff00005, 4);
    g_assert_cmphex(esb_read(s, PRELOAD1, 4), ==, 0x00005);
    esb_write(s, PRELOAD2, 6, 4); /* each write needs one */
    g_assert_cmphex(esb_read(s, PRELOAD2, 4), ==, 0xfffff);
    esb_write(s, RELOAD, 0x86, 2); /* the wrong order */
    esb_write(s, RELOAD, 0x80, 2);
    esb_write(s, PRELOAD2, 6, 4);
    g_assert_cmphex(esb_read(s, PRELOAD2, 4), ==, 0xfffff);
    esb_unlocked(s, PRELOAD2 + 1, 0x12, 1);
    g_assert_cmphex(esb_read(s, PRELOAD2, 4), ==, 0xf12ff);
    q35_set(s->tm, ESB, CONFIG, 0xffff, 2);
    g_assert_cmphex(q35_get(s->tm, ESB, CONFIG, 2), ==, 0x27);
    q35_set(s->tm, ESB, LOCK, ENABLE | 1, 1); /* locked while enabled */
    q35_set(s->tm, ESB, LOCK, 0, 1);
    g_assert_cmphex(q35_get(s->tm, ESB, LOCK, 1), ==, 3);
    machine_reset(s->tm->m, RESET_WARM);
    g_assert_cmphex(q35_get(s->tm, ESB, LOCK, 1), ==, 0);
    g_assert_cmphex(q35_get(s->tm, ESB, CONFIG, 2), ==, 0);
    end(s);
}

/* Two stages; the first one sets a bit, the second one acts; a reload begins again. */
static void test_esb_stages(void)
{
    Seen *s = esb_start(WATCHDOG_ACTION_NONE);
    q35_set(s->tm, ESB, CONFIG, NO_INT, 2);
    esb_unlocked(s, PRELOAD1, 1000, 4);
    esb_unlocked(s, PRELOAD2, 500, 4);
    q35_set(s->tm, ESB, LOCK, ENABLE, 1);
    tm_step(s->tm, 999 * SLOW_NS);
    g_assert_cmphex(esb_read(s, STATUS, 1), ==, 0);
    esb_unlocked(s, RELOAD, 0x100, 2);
    tm_step(s->tm, 999 * SLOW_NS);
    g_assert_cmphex(esb_read(s, STATUS, 1), ==, 0);
    tm_step(s->tm, SLOW_NS);
    g_assert_cmphex(esb_read(s, STATUS, 1), ==, 1);
    esb_write(s, STATUS, 1, 1);
    g_assert_cmphex(esb_read(s, STATUS, 1), ==, 0);
    tm_step(s->tm, 499 * SLOW_NS);
    TOLD(s, "");
    g_assert_cmphex(esb_read(s, RELOAD, 2), ==, 0);
    tm_step(s->tm, SLOW_NS);
    TOLD(s, "WATCHDOG:none ");
    g_assert_cmphex(esb_read(s, RELOAD, 2), ==, 0x200);
    tm_step(s->tm, 5000 * SLOW_NS); /* once only, until it is reloaded */
    TOLD(s, "");
    esb_unlocked(s, RELOAD, 0x300, 2);
    g_assert_cmphex(esb_read(s, RELOAD, 2), ==, 0);
    tm_step(s->tm, 1500 * SLOW_NS);
    TOLD(s, "WATCHDOG:none ");
    machine_reset(s->tm->m, RESET_WARM); /* the bit that says why outlives it, but not the power */
    q35_set(s->tm, ESB, 0x10, ESB_AT, 4);
    q35_set(s->tm, ESB, 0x04, 2, 2);
    g_assert_cmphex(esb_read(s, RELOAD, 2), ==, 0x200);
    machine_reset(s->tm->m, RESET_COLD);
    q35_set(s->tm, ESB, 0x10, ESB_AT, 4);
    q35_set(s->tm, ESB, 0x04, 2, 2);
    g_assert_cmphex(esb_read(s, RELOAD, 2), ==, 0);
    end(s);
}

static void test_esb_modes(void)
{
    Seen *s = esb_start(WATCHDOG_ACTION_NONE);
    q35_set(s->tm, ESB, CONFIG, NO_INT | FAST | OUTPUT_OFF, 2); /* units of 960 ns, no pin */
    esb_unlocked(s, PRELOAD1, 0x80000, 4);
    esb_unlocked(s, PRELOAD2, 0x80000, 4);
    q35_set(s->tm, ESB, LOCK, ENABLE, 1);
    tm_step(s->tm, INT64_C(2) * 0x80000 * 960);
    TOLD(s, "");
    g_assert_cmphex(esb_read(s, RELOAD, 2), ==, 0x200);
    q35_set(s->tm, ESB, LOCK, 0, 1);
    q35_set(s->tm, ESB, CONFIG, NO_INT, 2);
    esb_unlocked(s, PRELOAD2, 2000, 4);
    esb_write(s, STATUS, 1, 4);
    q35_set(s->tm, ESB, LOCK, ENABLE | FREE_RUN,
            1); /* the pin changes every 2000 units, without a first stage */
    for (unsigned i = 0; i < 3; i++) {
        tm_step(s->tm, 2000 * SLOW_NS);
        TOLD(s, "WATCHDOG:none ");
        tm_step(s->tm, 2000 * SLOW_NS);
        TOLD(s, "");
    }
    g_assert_cmphex(esb_read(s, STATUS, 1), ==, 0);
    esb_unlocked(s, PRELOAD2, 0, 4); /* a period of no time: bounded */
    tm_step(s->tm, 2000 * SLOW_NS);
    TOLD(s, "WATCHDOG:none ");
    tm_step(s->tm, 400000);
    TOLD(s, "WATCHDOG:none WATCHDOG:none ");
    q35_set(s->tm, ESB, LOCK, 0, 1);
    tm_step(s->tm, 5000 * MS);
    TOLD(s, "");
    end(s);
}

static void test_esb_saved(void)
{
    Seen *s = esb_start(WATCHDOG_ACTION_NONE);
    q35_set(s->tm, ESB, CONFIG, NO_INT, 2);
    esb_unlocked(s, PRELOAD1, 1000, 4);
    esb_unlocked(s, PRELOAD2, 1000, 4);
    q35_set(s->tm, ESB, LOCK, ENABLE | 1, 1);
    tm_step(s->tm, 1500 * SLOW_NS); /* in the middle of the second stage */
    g_autoptr(GByteArray) saved = tm_save(s->tm);
    machine_reset(s->tm->m, RESET_COLD);
    g_autoptr(Error) err = NULL;
    g_assert_true(tm_load(s->tm, saved, &err));
    g_string_truncate(s->events, 0);
    q35_set(s->tm, ESB, LOCK, 0, 1); /* still locked */
    g_assert_cmphex(q35_get(s->tm, ESB, LOCK, 1), ==, 3);
    tm_step(s->tm, 499 * SLOW_NS);
    TOLD(s, "");
    tm_step(s->tm, SLOW_NS);
    TOLD(s, "WATCHDOG:none ");
    end(s);
}

/* ---- ib700 ---- */

static void test_ib700(void)
{
    Seen *s = start(NULL, NULL, WATCHDOG_ACTION_NONE);
    Bus *isa = s->tm->m->board->default_bus(s->tm->m, &isa_bus_type);
    tm_device_type(s->tm, &ib700_type, isa, NULL);
    q35_out(s->tm, 0x443, 0x0e, 1); /* two seconds */
    tm_step(s->tm, 1999 * MS);
    q35_out(s->tm, 0x443, 0, 1); /* thirty */
    tm_step(s->tm, 29999 * MS);
    TOLD(s, "");
    tm_step(s->tm, MS);
    TOLD(s, "WATCHDOG:none ");
    tm_step(s->tm, 60000 * MS);
    TOLD(s, "");
    q35_out(s->tm, 0x443, 0x0e, 1);
    q35_out(s->tm, 0x441, 0, 1);
    tm_step(s->tm, 60000 * MS);
    TOLD(s, "");
    end(s);
}

/* ---- the TCO timer of the ICH9 ---- */

enum {
    TCO = PM + 0x60,
    RLD = TCO,
    DAT_IN = TCO + 2,
    STS1 = TCO + 4,
    STS2 = TCO + 6,
    CNT1 = TCO + 8,
    TMR = TCO + 0x12
};
enum {
    SMI_EN = PM + 0x30,
    SMI_STS = PM + 0x34,
    TCO_EN = 1 << 13,
    RCBA = 0xfed1c000,
    GCS = RCBA + 0x3410,
    HALT = 0x800
};

static void smi_set(void *sink, unsigned pin G_GNUC_UNUSED, bool level)
{
    ((Seen *)sink)->smis += level;
}

static const IrqSinkOps smi_sink = { .set = smi_set };

/* As firmware leaves it. */
static void tco_open(Seen *s)
{
    q35_set(s->tm, LPC, 0x40, PM | 1, 4);
    q35_set(s->tm, LPC, 0x44, 0x80, 1);
    q35_set(s->tm, LPC, 0xf0, RCBA | 1, 4);
}

static Seen *tco_start(void (*options)(Machine *m), WatchdogAction action)
{
    Seen *s = start(options, NULL, action);
    irq_connect(ich9_lpc_smi(q35_find(s->tm, &ich9_lpc_type)), &smi_sink, s, 0);
    tco_open(s);
    return s;
}

static void test_tco_registers(void)
{
    Seen *s = tco_start(NULL, WATCHDOG_ACTION_NONE);
    AddressSpace *as = &s->tm->m->as_mem;
    g_assert_cmphex(q35_in(s->tm, TMR, 2), ==, 4);
    g_assert_cmphex(q35_in(s->tm, TCO + 0x0a, 2), ==, 8);
    g_assert_cmphex(q35_in(s->tm, TCO + 0x10, 1), ==, 3);
    q35_out(s->tm, TMR, 0xffff, 2);
    g_assert_cmphex(q35_in(s->tm, TMR, 2), ==, 0x3ff);
    q35_out(s->tm, TCO + 0x0c, 0x1234, 2);
    g_assert_cmphex(q35_in(s->tm, TCO + 0x0c, 2), ==, 0x1234);
    g_assert_cmphex(q35_mem(as, GCS, 4), ==, 0x20); /* the strap: nobody can clear it */
    as_store(as, GCS, 4, 0, MEM_ATTRS_NONE);
    g_assert_cmphex(q35_mem(as, GCS, 4), ==, 0x20);
    q35_out(s->tm, SMI_EN, TCO_EN | 1, 4);
    q35_out(s->tm, DAT_IN, 0x77, 1); /* software's way to the SMI handler */
    g_assert_cmpuint(s->smis, ==, 1);
    g_assert_cmphex(q35_in(s->tm, STS1, 2), ==, 2);
    g_assert_cmphex(q35_in(s->tm, SMI_STS, 4), ==, TCO_EN);
    q35_out(s->tm, STS1, 2, 2);
    g_assert_cmphex(q35_in(s->tm, STS1, 2), ==, 0);
    q35_out(s->tm, CNT1, HALT | 0x1000, 2); /* TCO_LOCK */
    q35_out(s->tm, SMI_EN, 1, 4);
    g_assert_cmphex(q35_in(s->tm, SMI_EN, 4), ==, TCO_EN | 1);
    q35_out(s->tm, CNT1, HALT, 2);
    g_assert_cmphex(q35_in(s->tm, CNT1, 2), ==, HALT | 0x1000);
    end(s);
}

/* Software loads 10, lets it run, halts it in between. The second timeout in a row reboots, if the board lets
 * it. */
static void check_tco(bool reboots_it)
{
    Seen *s = tco_start(reboots_it ? reboots : NULL, WATCHDOG_ACTION_NONE);
    q35_out(s->tm, SMI_EN, TCO_EN | 1, 4);
    q35_out(s->tm, CNT1, HALT, 2);
    q35_out(s->tm, TMR, 10, 2);
    q35_out(s->tm, RLD, 1, 2);
    tm_step(s->tm, 100 * TICK);
    g_assert_cmpuint(q35_in(s->tm, RLD, 2), ==, 10);
    q35_out(s->tm, CNT1, 0, 2);
    tm_step(s->tm, 4 * TICK);
    g_assert_cmpuint(q35_in(s->tm, RLD, 2), ==, 6);
    q35_out(s->tm, CNT1, HALT, 2);
    tm_step(s->tm, 100 * TICK);
    q35_out(s->tm, CNT1, 0, 2);
    tm_step(s->tm, 6 * TICK - 1);
    g_assert_cmphex(q35_in(s->tm, STS1, 2), ==, 0);
    tm_step(s->tm, 1);
    g_assert_cmphex(q35_in(s->tm, STS1, 2), ==, 8);
    g_assert_cmpuint(s->smis, ==, 1);
    tm_step(s->tm, 5 * TICK);
    q35_out(s->tm, RLD, 1, 2); /* in time */
    tm_step(s->tm, 19 * TICK);
    g_assert_cmphex(q35_in(s->tm, STS2, 2), ==, 0);
    g_assert_cmpuint(s->smis, ==, 2);
    TOLD(s, "");
    tm_step(s->tm, TICK);
    g_assert_cmphex(q35_in(s->tm, STS2, 2), ==, 2);
    if (reboots_it) {
        TOLD(s, "WATCHDOG:none ");
        tm_step(s->tm, 100 * TICK);
    } else {
        tm_step(s->tm, 10 * TICK);
        g_assert_cmpuint(s->smis, ==, 4); /* goes on to ask for SMIs */
    }
    TOLD(s, "");
    machine_reset(s->tm->m, RESET_WARM);
    tco_open(s);
    g_assert_cmphex(q35_in(s->tm, STS2, 2), ==, 2); /* software sees why */
    q35_out(s->tm, STS2, 2, 2);
    g_assert_cmphex(q35_in(s->tm, STS2, 2), ==, 0);
    tm_step(s->tm, 1000 * TICK); /* and nothing runs by itself */
    TOLD(s, "");
    end(s);
}

static void test_tco_timeouts(void)
{
    check_tco(true);
    check_tco(false);
}

/* Software's own word counts where the board leaves it to it. */
static void test_tco_no_reboot(void)
{
    Seen *s = tco_start(reboots, WATCHDOG_ACTION_NONE);
    AddressSpace *as = &s->tm->m->as_mem;
    g_assert_cmphex(q35_mem(as, GCS, 4), ==, 0);
    as_store(as, GCS, 4, 0x20, MEM_ATTRS_NONE);
    q35_out(s->tm, RLD, 1, 2);
    tm_step(s->tm, 20 * TICK);
    TOLD(s, "");
    as_store(as, GCS, 4, 0, MEM_ATTRS_NONE);
    tm_step(s->tm, 4 * TICK);
    TOLD(s, "WATCHDOG:none ");
    q35_out(s->tm, TMR, 1, 2); /* too small: ignored */
    q35_out(s->tm, RLD, 1, 2);
    tm_step(s->tm, 20 * TICK);
    TOLD(s, "");
    end(s);
}

/* ---- what follows ---- */

static void expire(Seen *s)
{
    Bus *isa = s->tm->m->board->default_bus(s->tm->m, &isa_bus_type);
    tm_device_type(s->tm, &ib700_type, isa, NULL);
    q35_out(s->tm, 0x443, 0x0f, 1); /* at once */
    tm_step(s->tm, 1);
    tm_turns(s->tm);
}

static void check_action(WatchdogAction action, const char *told, RunState state)
{
    Seen *s = start(NULL, NULL, action);
    expire(s);
    g_assert_cmpint(s->tm->m->state, ==, state);
    g_assert_true(!(vcpu_irq_pending(s->tm->m->cpus[0]) & X86_IRQ_NMI) ==
                  (action != WATCHDOG_ACTION_INJECT_NMI));
    TOLD(s, told);
    end(s);
}

static void test_actions(void)
{
    check_action(WATCHDOG_ACTION_RESET, "WATCHDOG:reset RESET ", RUN_RUNNING);
    check_action(WATCHDOG_ACTION_SHUTDOWN, "WATCHDOG:shutdown POWERDOWN ", RUN_RUNNING);
    check_action(WATCHDOG_ACTION_POWEROFF, "WATCHDOG:poweroff SHUTDOWN STOP ",
                 RUN_FINISHED); /* even with no_shutdown */
    check_action(WATCHDOG_ACTION_PAUSE, "WATCHDOG:pause STOP ", RUN_WATCHDOG);
    check_action(WATCHDOG_ACTION_NONE, "WATCHDOG:none ", RUN_RUNNING);
    check_action(WATCHDOG_ACTION_DEBUG, "WATCHDOG:debug ", RUN_RUNNING);
    check_action(WATCHDOG_ACTION_INJECT_NMI, "WATCHDOG:inject-nmi ", RUN_RUNNING);
    g_assert_cmpstr(run_state_name(RUN_WATCHDOG), ==, "watchdog");
    g_assert_cmpstr(run_state_name(RUN_FINISHED), ==, "finish-migrate");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    g_test_add_func("/i6300esb/registers", test_esb_registers);
    g_test_add_func("/i6300esb/stages", test_esb_stages);
    g_test_add_func("/i6300esb/modes", test_esb_modes);
    g_test_add_func("/i6300esb/saved", test_esb_saved);
    g_test_add_func("/ib700", test_ib700);
    g_test_add_func("/tco/registers", test_tco_registers);
    g_test_add_func("/tco/timeouts", test_tco_timeouts);
    g_test_add_func("/tco/no-reboot", test_tco_no_reboot);
    g_test_add_func("/actions", test_actions);
    return g_test_run();
}
