/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-job.c - jobs (system/job.c): every way through their states, the events on it, what
 * is refused in which state.
 */
#include "rhea/system/job.h"
#include "tests/lib/testmachine.h"

#include <string.h>

typedef struct Work { /* of the next job */
    unsigned steps, done, freed;
    bool fails;
    void (*at_step)(Job *job, unsigned step);
} Work;

static GString *events; /* "ID:STATUS " of each */

static void on_event(void *opaque, const char *name, const Json *data)
{
    if (g_str_equal(name, "JOB_STATUS_CHANGE")) {
        g_string_append_printf(events, "%s:%s ", json_get_string(json_member(data, "id", NULL)),
                               json_get_string(json_member(data, "status", NULL)));
    }
}

static bool work_run(Job *job, void *opaque, Error **errp)
{
    Work *w = opaque;
    for (w->done = 0; w->done < w->steps; w->done++) {
        job_set_progress(job, w->done, w->steps);
        if (w->at_step) {
            w->at_step(job, w->done);
        }
        if (!job_may_go_on(job)) {
            return false;
        }
    }
    return !w->fails || error_set(errp, "no luck");
}

static void work_free(void *opaque)
{
    ((Work *)opaque)->freed++;
}

static const JobOps work_ops = { .type = JOB_TYPE_CREATE, .run = work_run, .free = work_free };
static MachineListener listener = { .event = on_event };

static TestMachine *start(const char *id, Work *w, unsigned flags)
{
    TestMachine *tm = tm_new(1 << 20);
    g_string_truncate(events, 0);
    machine_add_listener(tm->m, &listener);
    g_assert_true(job_start(tm->m, id, &work_ops, w, flags, &error_abort_slot));
    return tm;
}

static void expect_events(const char *want)
{
    g_assert_cmpstr(events->str, ==, want);
    g_string_truncate(events, 0);
}

static void expect_refused(bool (*fn)(Job *, Error **), Job *job, const char *text)
{
    g_autoptr(Error) err = NULL;
    g_assert_false(fn(job, &err));
    g_assert_cmpstr(error_text(err), ==, text);
}

static void end(TestMachine *tm, const Work *w)
{
    machine_remove_listener(tm->m, &listener);
    tm_free(tm);
    g_assert_cmpuint(w->freed, ==, 1);
}

static void test_kept(void)
{
    Work w = { .steps = 3 };
    JobInfo i;
    TestMachine *tm = start("j-0.a_B", &w, JOB_KEEP);
    Job *j = job_find(tm->m, "j-0.a_B", &error_abort_slot);
    expect_events("j-0.a_B:created j-0.a_B:running ");
    expect_refused(job_dismiss, j, "Job 'j-0.a_B' in state 'running' cannot accept command verb 'dismiss'");
    expect_refused(job_finalize, j, "Job 'j-0.a_B' in state 'running' cannot accept command verb 'finalize'");
    expect_refused(job_complete, j, "Job 'j-0.a_B' in state 'running' cannot accept command verb 'complete'");
    expect_refused(job_resume, j, "Can't resume a job that was not paused");
    tm_turns(tm);
    expect_events("j-0.a_B:waiting j-0.a_B:pending j-0.a_B:concluded ");
    g_assert_cmpuint(w.done, ==, 3);
    job_describe(j, &i);
    g_assert_cmpint(i.status, ==, JOB_STATUS_CONCLUDED);
    g_assert_cmpint(i.current_progress, ==, 3);
    g_assert_cmpint(i.total_progress, ==, 3);
    g_assert_null(i.error);
    type_clear(&job_info_type, &i);
    bool (*const late[])(Job *, Error **) = { job_pause, job_cancel, job_complete, job_finalize };
    static const char *const verbs[] = { "pause", "cancel", "complete", "finalize" };
    for (unsigned k = 0; k < G_N_ELEMENTS(late); k++) {
        g_autofree char *text = g_strdup_printf(
            "Job 'j-0.a_B' in state 'concluded' cannot accept command verb '%s'", verbs[k]);
        expect_refused(late[k], j, text);
    }
    g_assert_true(job_dismiss(j, &error_abort_slot));
    expect_events("j-0.a_B:null ");
    g_assert_null(job_find(tm->m, "j-0.a_B", NULL));
    end(tm, &w);
}

static void test_gone(void)
{
    Work w = { .steps = 1 };
    TestMachine *tm = start("a", &w, 0);
    tm_turns(tm);
    expect_events("a:created a:running a:waiting a:pending a:concluded a:null ");
    g_assert_null(job_find(tm->m, "a", NULL));
    end(tm, &w);
}

static void test_held(void)
{
    Work w = { 0 };
    TestMachine *tm = start("a", &w, JOB_KEEP | JOB_HOLD);
    Job *j = job_find(tm->m, "a", &error_abort_slot);
    tm_turns(tm);
    expect_events("a:created a:running a:waiting a:pending ");
    expect_refused(job_dismiss, j, "Job 'a' in state 'pending' cannot accept command verb 'dismiss'");
    g_assert_true(job_finalize(j, &error_abort_slot));
    expect_events("a:concluded ");
    end(tm, &w); /* with a job that nobody dismissed */
}

static void test_held_cancelled(void)
{
    Work w = { 0 };
    JobInfo i;
    TestMachine *tm = start("a", &w, JOB_KEEP | JOB_HOLD);
    Job *j = job_find(tm->m, "a", &error_abort_slot);
    tm_turns(tm);
    g_assert_true(job_cancel(j, &error_abort_slot));
    expect_events("a:created a:running a:waiting a:pending a:aborting a:concluded ");
    job_describe(j, &i);
    g_assert_cmpstr(i.error, ==, "Operation canceled");
    type_clear(&job_info_type, &i);
    end(tm, &w);
}

static void test_failed(void)
{
    Work w = { .steps = 2, .fails = true };
    JobInfo i;
    TestMachine *tm = start("a", &w, JOB_KEEP);
    tm_turns(tm);
    expect_events("a:created a:running a:aborting a:concluded ");
    job_describe(job_find(tm->m, "a", &error_abort_slot), &i);
    g_assert_cmpstr(i.error, ==, "no luck");
    type_clear(&job_info_type, &i);
    end(tm, &w);
}

/* ---- pausing, cancelling inside ---- */

static Task later;
static void (*later_do)(Job *job);

static void run_later(void *opaque)
{
    later_do(opaque);
}

static void in_a_turn(Job *job, Machine *m, void (*fn)(Job *job))
{
    later_do = fn;
    later = (Task){ .run = run_later, .opaque = job };
    loop_post(m->loop, &later);
}

static Machine *machine;

static void go_on(Job *job)
{
    expect_events("a:created a:running a:paused ");
    g_assert_true(job_resume(job, &error_abort_slot));
}

static void give_up(Job *job)
{
    expect_events("a:created a:running a:paused ");
    g_assert_true(job_cancel(job, &error_abort_slot));
}

static void pause_at_1(Job *job, unsigned step)
{
    if (step == 1) {
        g_assert_true(job_pause(job, &error_abort_slot));
        expect_refused(job_pause, job, "Job is already paused");
        in_a_turn(job, machine, go_on);
    }
}

static void (*end_of_paused)(Job *job);

static void pause_and_end(Job *job, unsigned step)
{
    g_assert_true(job_pause(job, &error_abort_slot));
    in_a_turn(job, machine, end_of_paused);
}

static void ends_paused(void (*fn)(Job *job))
{
    Work w = { .steps = 3, .at_step = pause_and_end };
    TestMachine *tm = start("a", &w, 0);
    machine = tm->m;
    end_of_paused = fn;
    tm_turns(tm);
    expect_events("a:running a:aborting a:concluded a:null ");
    g_assert_cmpuint(w.done, ==, 0);
    end(tm, &w);
}

static void test_paused(void)
{
    Work w = { .steps = 3, .at_step = pause_at_1 };
    TestMachine *tm = start("a", &w, 0);
    machine = tm->m;
    tm_turns(tm);
    expect_events("a:running a:waiting a:pending a:concluded a:null ");
    g_assert_cmpuint(w.done, ==, 3);
    end(tm, &w);
}

static void test_cancelled(void)
{
    ends_paused(give_up);
}

/* The end of the machine does not wait for somebody to resume a job. */
static void quit(Job *job)
{
    expect_events("a:created a:running a:paused ");
    machine_request_shutdown(machine, SHUTDOWN_HOST_QUIT, 0);
}

static void test_quit(void)
{
    ends_paused(quit);
}

/* One that has not begun never does. */
static void test_early(void)
{
    Work w = { .steps = 1 };
    TestMachine *tm = start("a", &w, 0);
    g_assert_true(job_cancel(job_find(tm->m, "a", NULL), &error_abort_slot));
    tm_turns(tm);
    expect_events("a:created a:running a:aborting a:concluded a:null ");
    end(tm, &w);
    Work never = { .steps = 1 };
    tm = start("a", &never, 0);
    end(tm, &never);
    g_assert_cmpuint(never.done, ==, 0);
}

/* ---- names ---- */

static void test_names(void)
{
    static const char *const bad[] = { "", "0a", "-", "a b", "a/b", "\303\244" };
    Work w = { 0 };
    TestMachine *tm = start("a", &w, JOB_KEEP);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(Error) err = NULL;
        g_autofree char *text = g_strdup_printf("Invalid job ID '%s'", bad[i]);
        g_assert_false(job_start(tm->m, bad[i], &work_ops, &w, 0, &err));
        g_assert_cmpstr(error_text(err), ==, text);
    }
    g_autoptr(Error) err = NULL;
    g_assert_false(job_start(tm->m, "a", &work_ops, &w, 0, &err));
    g_assert_cmpstr(error_text(err), ==, "Job ID 'a' already in use");
    end(tm, &w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    events = g_string_new(NULL);
    g_test_add_func("/job/kept", test_kept);
    g_test_add_func("/job/gone", test_gone);
    g_test_add_func("/job/held", test_held);
    g_test_add_func("/job/held-cancelled", test_held_cancelled);
    g_test_add_func("/job/failed", test_failed);
    g_test_add_func("/job/paused", test_paused);
    g_test_add_func("/job/cancelled", test_cancelled);
    g_test_add_func("/job/quit", test_quit);
    g_test_add_func("/job/early", test_early);
    g_test_add_func("/job/names", test_names);
    int status = g_test_run();
    g_string_free(events, TRUE);
    return status;
}
