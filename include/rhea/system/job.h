/* SPDX-License-Identifier: MIT
 * rhea/system/job.h - jobs: work of the machine's that clients begin and that goes on while they do other things.
 *
 * A job is created, runs, waits to be finalized if that was wanted, and is concluded; one that fails or is
 * cancelled aborts instead. A concluded job that is to be kept stays until it is dismissed. Each step is told by
 * JOB_STATUS_CHANGE. MAIN_LOOP.
 */
#ifndef RHEA_SYSTEM_JOB_H
#define RHEA_SYSTEM_JOB_H

#include "rhea/system/machine.h"
#include "schema/qmp-job.h"

typedef struct Job Job;

typedef struct JobOps {
    JobType type;
    /* The work, from a task of the main loop's: it may turn that loop. Now and then it calls job_may_go_on() and,
     * told not to, ends. False: it failed. */
    bool (*run)(Job *job, void *opaque, Error **errp);
    void (*free)(void *opaque); /* once, whatever became of it */
} JobOps;

enum {
    JOB_KEEP = 1, /* concluded it waits for job-dismiss */
    JOB_HOLD = 2, /* done it waits for job-finalize */
};
/* Begins a job, of which one client's name is `id`. False: the name is not possible or taken; opaque stays the
 * caller's then. */
bool job_start(Machine *m, const char *id, const JobOps *ops, void *opaque, unsigned flags, Error **errp);

/* For run(). Waits while the job is paused, turning the main loop; false: it was cancelled, as the end of the
 * machine does to one that is paused. */
bool job_may_go_on(Job *job);
void job_set_progress(Job *job, int64_t done, int64_t total);

Job *job_find(Machine *m, const char *id, Error **errp);
void job_foreach(Machine *m, void (*fn)(const Job *job, void *opaque), void *opaque); /* in order of creation */
void job_describe(const Job *job, JobInfo *out); /* type_clear() it */
/* What clients can ask for; fails when the job is not in a state for it. */
bool job_pause(Job *job, Error **errp);
bool job_resume(Job *job, Error **errp);
bool job_cancel(Job *job, Error **errp);
bool job_complete(Job *job, Error **errp);
bool job_finalize(Job *job, Error **errp);
bool job_dismiss(Job *job, Error **errp); /* frees it */
/* The end of the program: those that have not begun never do. None may be running. */
void jobs_end(Machine *m);

#endif
