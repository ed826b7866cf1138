/* SPDX-License-Identifier: MIT
 * monitor/qmp_balloon.c - commands about the memory that a guest keeps.
 *
 * Models: QEMU 7.2's commands of these names. The human monitor calls the same functions.
 * Threads: main loop, no domain held.
 */
#include "qmp_internal.h"
#include "rhea/system/balloon.h"
#include "rhea/util/errorcode.h"
#include "schema/qmp.h"

bool qmp_balloon(QmpCall *call, const BalloonArgs *args, Error **errp)
{
    if (args->value <= 0) {
        error_set(errp, "'value' is %" G_GINT64_FORMAT ": the guest must keep some memory", args->value);
        error_hint(errp, "give bytes, up to the machine's %" G_GUINT64_FORMAT, call->machine->ram_size);
        error_set_code(errp, "out-of-range", "value");
        return false;
    }
    return balloon_set(call->machine, (uint64_t)args->value, errp);
}

bool qmp_query_balloon(QmpCall *call, BalloonInfo *ret, Error **errp)
{
    uint64_t bytes = 0;
    bool ok = balloon_actual(call->machine, &bytes, errp);
    ret->actual = (int64_t)bytes;
    return ok;
}
