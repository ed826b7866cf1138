/* SPDX-License-Identifier: MIT
 * system/job.c - jobs: their states, and what can be asked of them in each.
 *
 * Models: QEMU 7.2's jobs: states, verbs, events and the order of both, messages that clients know.
 * Does not model: jobs that become ready (mirrors), transactions of several jobs.
 * Threads: main loop, no domain held.
 */
#include "internal.h"

#include "rhea/system/job.h"
#include "rhea/util/errorcode.h"

#include <errno.h>
#include <string.h>

struct Job {
    Machine *machine;
    char *id;
    const JobOps *ops;
    void *opaque;
    unsigned flags;
    JobStatus status;
    bool wants_pause, cancelled, inside; /* inside: run() has begun and has not ended */
    int64_t done, total;
    Error *err;
    Task begin;
};

typedef enum JobVerb {
    VERB_PAUSE, VERB_RESUME, VERB_CANCEL, VERB_COMPLETE, VERB_FINALIZE, VERB_DISMISS
} JobVerb;

static GPtrArray *jobs_of(Machine *m)
{
    if (!m->priv->jobs) {
        m->priv->jobs = g_ptr_array_new();
    }
    return m->priv->jobs;
}

static void set_status(Job *j, JobStatus now)
{
    if (j->status == now) {
        return;
    }
    j->status = now;
    Json *data = json_put(json_new_object(), "id", json_new_string(j->id));
    machine_event(j->machine, "JOB_STATUS_CHANGE",
                  json_put(data, "status", json_new_string(job_status_names[now])));
}

static void job_free(Job *j)
{
    g_ptr_array_remove(j->machine->priv->jobs, j);
    loop_unpost(j->machine->loop, &j->begin);
    if (j->ops->free) {
        j->ops->free(j->opaque);
    }
    error_free(j->err);
    g_free(j->id);
    g_free(j);
}

/* ---- the way of a job ---- */

static void conclude(Job *j)
{
    set_status(j, JOB_STATUS_CONCLUDED);
    if (!(j->flags & JOB_KEEP)) {
        set_status(j, JOB_STATUS_NULL);
        job_free(j);
    }
}

static void fail(Job *j)
{
    set_status(j, JOB_STATUS_ABORTING);
    conclude(j);
}

static void begin(void *opaque)
{
    Job *j = opaque;
    Error *err = NULL;
    j->inside = true;
    bool ok = job_may_go_on(j) && j->ops->run(j, j->opaque, &err);
    j->inside = false;
    if (j->cancelled) { /* also when it was done already: who cancelled does not want it */
        error_free(err);
        err = NULL;
        error_set(&err, "%s", g_strerror(ECANCELED));
        ok = false;
    }
    j->err = err;
    if (!ok) {
        fail(j);
        return;
    }
    job_set_progress(j, j->total, j->total);
    set_status(j, JOB_STATUS_WAITING);
    set_status(j, JOB_STATUS_PENDING);
    if (!(j->flags & JOB_HOLD)) {
        conclude(j);
    }
}

/* As other names of clients': a letter, then letters, digits and -._ */
static bool id_is_good(const char *id)
{
    if (!g_ascii_isalpha(id[0])) {
        return false;
    }
    while (*id && (g_ascii_isalnum(*id) || strchr("-._", *id))) {
        id++;
    }
    return !*id;
}

bool job_start(Machine *m, const char *id, const JobOps *ops, void *opaque, unsigned flags, Error **errp)
{
    role_assert_main();
    if (!id_is_good(id)) {
        error_set(errp, "Invalid job ID '%s'", id);
        error_hint(errp, "it begins with a letter, and goes on with letters, digits, '-', '.' and '_'");
        error_set_code(errp, "invalid-value", "job-id");
        return false;
    }
    if (job_find(m, id, NULL)) {
        error_set(errp, "Job ID '%s' already in use", id);
        error_hint(errp, "query-jobs lists the jobs; job-dismiss forgets one that is concluded");
        error_set_code(errp, "in-use", "job-id");
        return false;
    }
    Job *j = g_new0(Job, 1);
    *j = (Job){ .machine = m, .id = g_strdup(id), .ops = ops, .opaque = opaque, .flags = flags, .total = 1 };
    j->begin = (Task){ .run = begin, .opaque = j };
    g_ptr_array_add(jobs_of(m), j);
    set_status(j, JOB_STATUS_CREATED);
    set_status(j, JOB_STATUS_RUNNING);
    loop_post(m->loop, &j->begin);
    return true;
}

bool job_may_go_on(Job *j)
{
    while (j->wants_pause && !j->cancelled) {
        if (j->machine->priv->quitting) { /* nobody will resume it, and the loop cannot end below it */
            j->cancelled = true;
            break;
        }
        set_status(j, JOB_STATUS_PAUSED);
        loop_turn(j->machine->loop, true);
    }
    set_status(j, JOB_STATUS_RUNNING);
    return !j->cancelled;
}

void job_set_progress(Job *j, int64_t done, int64_t total)
{
    j->done = done;
    j->total = total;
}

/* ---- what clients ask for ---- */

Job *job_find(Machine *m, const char *id, Error **errp)
{
    GPtrArray *all = jobs_of(m);
    for (guint i = 0; i < all->len; i++) {
        Job *j = all->pdata[i];
        if (g_str_equal(j->id, id)) {
            return j;
        }
    }
    error_set(errp, "Job not found: '%s'", id);
    error_hint(errp, "query-jobs lists the jobs");
    error_set_code(errp, "not-found", "id");
    return NULL;
}

void job_foreach(Machine *m, void (*fn)(const Job *job, void *opaque), void *opaque)
{
    GPtrArray *all = jobs_of(m);
    for (guint i = 0; i < all->len; i++) {
        fn(all->pdata[i], opaque);
    }
}

void job_describe(const Job *j, JobInfo *out)
{
    *out = (JobInfo){ .id = g_strdup(j->id), .type = j->ops->type, .status = j->status,
                      .current_progress = j->done, .total_progress = j->total };
    out->error = j->err ? g_strdup(error_text(j->err)) : NULL;
}

/* The states in which a verb has a meaning. */
static bool accepts(const Job *j, JobVerb verb, Error **errp)
{
    static const char *const names[] = { "pause", "resume", "cancel", "complete", "finalize", "dismiss" };
#define IN(s) (1u << JOB_STATUS_##s)
    const unsigned at_work = IN(CREATED) | IN(RUNNING) | IN(PAUSED) | IN(READY) | IN(STANDBY);
    const unsigned states[] = {
        [VERB_PAUSE] = at_work,
        [VERB_RESUME] = at_work,
        [VERB_CANCEL] = at_work | IN(WAITING) | IN(PENDING),
        [VERB_COMPLETE] = IN(READY),
        [VERB_FINALIZE] = IN(PENDING),
        [VERB_DISMISS] = IN(CONCLUDED),
    };
#undef IN
    if (states[verb] >> j->status & 1) {
        return true;
    }
    error_set(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", j->id,
              job_status_names[j->status], names[verb]); /* clients know this text */
    error_set_code(errp, "wrong-state", "id");
    return false;
}

bool job_pause(Job *j, Error **errp)
{
    if (!accepts(j, VERB_PAUSE, errp)) {
        return false;
    }
    if (j->wants_pause) {
        error_set(errp, "Job is already paused");
        error_set_code(errp, "wrong-state", "id");
        return false;
    }
    j->wants_pause = true;
    return true;
}

bool job_resume(Job *j, Error **errp)
{
    if (!j->wants_pause) {
        error_set(errp, "Can't resume a job that was not paused");
        error_set_code(errp, "wrong-state", "id");
        return false;
    }
    if (!accepts(j, VERB_RESUME, errp)) {
        return false;
    }
    j->wants_pause = false;
    return true;
}

bool job_cancel(Job *j, Error **errp)
{
    if (!accepts(j, VERB_CANCEL, errp)) {
        return false;
    }
    j->cancelled = true;
    if (j->status == JOB_STATUS_PENDING) {
        error_set(&j->err, "%s", g_strerror(ECANCELED));
        fail(j);
    }
    return true;
}

bool job_complete(Job *j, Error **errp)
{
    return accepts(j, VERB_COMPLETE, errp); /* no job becomes ready */
}

bool job_finalize(Job *j, Error **errp)
{
    if (!accepts(j, VERB_FINALIZE, errp)) {
        return false;
    }
    conclude(j);
    return true;
}

bool job_dismiss(Job *j, Error **errp)
{
    if (!accepts(j, VERB_DISMISS, errp)) {
        return false;
    }
    set_status(j, JOB_STATUS_NULL);
    job_free(j);
    return true;
}

void jobs_end(Machine *m)
{
    while (m->priv->jobs && m->priv->jobs->len) {
        Job *j = m->priv->jobs->pdata[0];
        g_assert(!j->inside);
        job_free(j);
    }
    if (m->priv->jobs) {
        g_ptr_array_free(m->priv->jobs, TRUE);
        m->priv->jobs = NULL;
    }
}
