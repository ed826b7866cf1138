/* SPDX-License-Identifier: MIT
 * tools/system/qmp_create.c - blockdev-create: new images, as jobs.
 *
 * Models: QEMU 7.2's command for the drivers file and qcow2. A qcow2 image is written into a node, which is a
 * file that blockdev-create has made before, as a rule. Threads: main loop; the job's work turns it.
 */
#include "rhea/backends/drive.h"
#include "rhea/block/driver.h"
#include "rhea/monitor/qmp.h"
#include "rhea/system/job.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp-block.h"

typedef struct Create {
    BlockGraph *graph;
    BlockdevCreateOptions o;
} Create;

static bool create_file(const BlockdevCreateOptionsFile *f, BlockGraph *g, Error **errp)
{
    RawCreate o = { .size = f->size, .has_size = true };
    o.preallocation = f->has_preallocation ? f->preallocation : BLOCK_PREALLOC_OFF;
    return block_raw_driver.format->create(g, f->filename, &o, errp);
}

static bool create_qcow2(const BlockdevCreateOptionsQcow2 *q, BlockGraph *g, Error **errp)
{
    bool v2 = q->has_version && q->version == BLOCKDEV_QCOW2_VERSION_V2;
    Qcow2Create o = {
        .cluster_size = q->has_cluster_size ? q->cluster_size : 65536, .size = q->size, .has_size = true,
        .refcount_bits = q->has_refcount_bits ? (uint64_t)q->refcount_bits : 16,
        .extended_l2 = q->has_extended_l2 && q->extended_l2,
        .lazy_refcounts = q->has_lazy_refcounts && q->lazy_refcounts,
        .preallocation = q->has_preallocation ? q->preallocation : BLOCK_PREALLOC_OFF,
        .compression_type = q->has_compression_type ? q->compression_type : QCOW2_COMPRESSION_ZLIB,
        .backing_file = q->backing_file, .compat = (char *)(v2 ? "v2" : "v3"),
    };
    o.backing_fmt = q->has_backing_fmt ? (char *)block_driver_name_names[q->backing_fmt] : NULL;
    return block_qcow2_driver.format->create_at(g, q->file, &o, errp);
}

static bool create_run(Job *job, void *opaque, Error **errp)
{
    Create *c = opaque;
    return c->o.driver == BLOCKDEV_CREATE_DRIVER_FILE ? create_file(&c->o.u.file, c->graph, errp)
                                                      : create_qcow2(&c->o.u.qcow2, c->graph, errp);
}

static void create_free(void *opaque)
{
    Create *c = opaque;
    type_clear(&blockdev_create_options_type, &c->o);
    g_free(c);
}

bool qmp_blockdev_create(QmpCall *call, const BlockdevCreateArgs *args, Error **errp)
{
    static const JobOps ops = { .type = JOB_TYPE_CREATE, .run = create_run, .free = create_free };
    Create *c = g_new0(Create, 1);
    c->graph = machine_block_graph(call->machine);
    g_autoptr(Json) copy = type_encode(&blockdev_create_options_type, &args->options);
    type_decode(&blockdev_create_options_type, copy, false, &c->o, &error_abort_slot);
    if (job_start(call->machine, args->job_id, &ops, c, JOB_KEEP, errp)) {
        return true;
    }
    create_free(c);
    return false;
}

/* Streams, mirrors and the like are no jobs of this machine's yet. */
bool qmp_query_block_jobs(QmpCall *call, QueryBlockJobsResult *ret, Error **errp)
{
    return true;
}
