/* SPDX-License-Identifier: MIT
 * backends/block/errors.c - rerror and werror: failed requests are told to the guest, ignored, or held back.
 *
 * Models: QEMU's report, ignore, stop and enospc, and its event BLOCK_IO_ERROR. A request that is held back
 * stops the machine (io-error) and is tried again when that goes on; a reset ends it with its error, and
 * those that the device makes then, without running them. Threads: a request's end in its device's domain;
 * the rest on the main loop.
 */
#include "drive_internal.h"

#include <errno.h>
#include <string.h>

const char *const drive_read_error_choices[] = { "auto", "report", "ignore", "stop", NULL };
const char *const drive_write_error_choices[] = { "auto", "report", "ignore", "stop", "enospc", NULL };
G_STATIC_ASSERT(DRIVE_ERROR_REPORT == 0 && DRIVE_ERROR_IGNORE == 1 && DRIVE_ERROR_STOP == 2 &&
                DRIVE_ERROR_ENOSPC == 3);

static DriveError policy(const DriveRequest *r)
{
    const DrivePort *p = r->port;
    bool read = r->op == DRIVE_READ;
    int chosen = read ? p->rerror : p->werror;
    DriveError e = chosen     ? (DriveError)(chosen - 1)
                   : p->drive ? (read ? p->drive->rerror : p->drive->werror)
                   : read     ? DRIVE_ERROR_REPORT
                              : DRIVE_ERROR_ENOSPC;
    /* Discards give back space or not: the guest is told. So it is of what its disk cannot do at all. */
    if (r->op == DRIVE_DISCARD || r->result == -ENOTSUP) {
        return DRIVE_ERROR_REPORT;
    }
    if (e == DRIVE_ERROR_ENOSPC) {
        return r->result == -ENOSPC ? DRIVE_ERROR_STOP : DRIVE_ERROR_REPORT;
    }
    return e;
}

static void tell(const DriveRequest *r, DriveError e)
{
    const DrivePort *p = r->port;
    Json *data = json_put(json_new_object(), "device", json_new_string(p->drive ? p->drive->id : ""));
    if (p->node) {
        json_put(data, "node-name", json_new_string(block_name(p->node)));
    }
    json_put(data, "operation", json_new_string(r->op == DRIVE_READ ? "read" : "write"));
    json_put(data, "action",
             json_new_string(e == DRIVE_ERROR_STOP     ? "stop"
                             : e == DRIVE_ERROR_IGNORE ? "ignore"
                                                       : "report"));
    json_put(data, "nospace", json_new_bool(r->result == -ENOSPC));
    json_put(data, "reason", json_new_string(g_strerror(-r->result)));
    machine_event(p->dev->machine, "BLOCK_IO_ERROR", data);
}

bool drive_error_handled(DriveRequest *r)
{
    DrivePort *p = r->port;
    MachineBlock *b = p->block;
    DriveError e = policy(r);
    if (e == DRIVE_ERROR_STOP && __atomic_load_n(&b->cancelling, __ATOMIC_SEQ_CST)) {
        e = DRIVE_ERROR_REPORT;
    }
    if (r->result != -ENOTSUP) {
        tell(r, e);
    }
    if (e == DRIVE_ERROR_IGNORE) {
        r->result = 0;
    }
    if (e != DRIVE_ERROR_STOP) {
        return false;
    }
    uint8_t status = r->result == -ENOSPC ? DRIVE_IO_NOSPACE : DRIVE_IO_FAILED;
    __atomic_store_n(&p->io_status, status, __ATOMIC_RELAXED);
    drive_hold_back(r);
    machine_request_stop(b->m, RUN_IO_ERROR);
    return true;
}

void drive_hold_back(DriveRequest *r)
{
    DrivePort *p = r->port;
    g_queue_push_tail(&p->held, r);
    __atomic_store_n(&p->n_held, p->held.length, __ATOMIC_RELEASE);
}

bool drive_must_wait(const DriveRequest *r)
{
    const DrivePort *p = r->port;
    if (!r->order || !__atomic_load_n(&p->n_held, __ATOMIC_ACQUIRE)) {
        return false;
    }
    domain_lock(p->dev->domain);
    bool found = false;
    for (const GList *l = p->held.head; l && !found; l = l->next) {
        found = ((const DriveRequest *)l->data)->order == r->order;
    }
    domain_unlock(p->dev->domain);
    return found;
}

void drive_hold(DrivePort *p, DriveRequest *r)
{
    if (machine_running(p->block->m)) {
        drive_submit(p, r);
        return;
    }
    r->port = p;
    r->client = p->client;
    r->result = -ECANCELED; /* unless it gets to run */
    drive_hold_back(r);
}

/* Those that there are, not those that fail again meanwhile. */
static void release_held(DrivePort *p, bool again)
{
    unsigned n = p->held.length;
    for (unsigned i = 0; i < n; i++) {
        DriveRequest *r = g_queue_pop_head(&p->held);
        __atomic_store_n(&p->n_held, p->held.length, __ATOMIC_RELEASE);
        if (again && p->client) {
            drive_submit(p, r);
        } else {
            r->done(r);
        }
    }
}

static void port_release_held(DrivePort *p, bool again)
{
    if (!p->dev) {
        return;
    }
    domain_lock(p->dev->domain);
    p->cancels = !again;
    release_held(p, again);
    p->cancels = false;
    if (!again) { /* and those that came from these */
        release_held(p, false);
    }
    domain_unlock(p->dev->domain);
}

void drive_port_cancel(DrivePort *p)
{
    port_release_held(p, false);
}

void drive_state_changed(void *opaque, RunState was G_GNUC_UNUSED, RunState now)
{
    MachineBlock *b = opaque;
    for (guint i = 0; now == RUN_RUNNING && i < b->ports->len; i++) {
        DrivePort *p = b->ports->pdata[i];
        __atomic_store_n(&p->io_status, DRIVE_IO_OK, __ATOMIC_RELAXED);
        port_release_held(p, true);
    }
}

void drive_drain_cancel(Machine *m)
{
    MachineBlock *b = m->block;
    if (!b) {
        return;
    }
    __atomic_store_n(&b->cancelling, true, __ATOMIC_SEQ_CST);
    for (unsigned pass = 0; pass < 2; pass++) { /* what was held; what was held while the first pass waited */
        for (guint i = 0; i < b->ports->len; i++) {
            drive_port_cancel(b->ports->pdata[i]);
        }
        drive_drain(m);
    }
    __atomic_store_n(&b->cancelling, false, __ATOMIC_SEQ_CST);
}
