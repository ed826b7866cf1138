/* SPDX-License-Identifier: MIT
 * monitor/qmp_job.c - commands about jobs: query-jobs, job-pause and so on.
 *
 * Models: QEMU 7.2's commands of these names. Threads: main loop, no domain held.
 */
#include "monitor_internal.h"
#include "rhea/monitor/qmp.h"
#include "rhea/system/job.h"

static void describe(const Job *job, void *opaque)
{
    JobInfo i;
    job_describe(job, &i);
    g_array_append_val((GArray *)opaque, i);
}

bool qmp_query_jobs(QmpCall *call, QueryJobsResult *ret, Error **errp)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(JobInfo));
    job_foreach(call->machine, describe, a);
    ret->n = a->len;
    ret->items = (JobInfo *)(void *)g_array_free(a, FALSE);
    return true;
}

static bool ask(QmpCall *call, const char *id, bool (*fn)(Job *, Error **), Error **errp)
{
    Job *j = job_find(call->machine, id, errp);
    return j && fn(j, errp);
}

bool qmp_job_pause(QmpCall *call, const JobPauseArgs *args, Error **errp)
{
    return ask(call, args->id, job_pause, errp);
}

bool qmp_job_resume(QmpCall *call, const JobResumeArgs *args, Error **errp)
{
    return ask(call, args->id, job_resume, errp);
}

bool qmp_job_cancel(QmpCall *call, const JobCancelArgs *args, Error **errp)
{
    return ask(call, args->id, job_cancel, errp);
}

bool qmp_job_complete(QmpCall *call, const JobCompleteArgs *args, Error **errp)
{
    return ask(call, args->id, job_complete, errp);
}

bool qmp_job_finalize(QmpCall *call, const JobFinalizeArgs *args, Error **errp)
{
    return ask(call, args->id, job_finalize, errp);
}

bool qmp_job_dismiss(QmpCall *call, const JobDismissArgs *args, Error **errp)
{
    return ask(call, args->id, job_dismiss, errp);
}
