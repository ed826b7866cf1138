/* SPDX-License-Identifier: MIT
 * system/balloon.c - the machine's balloon, as monitors reach it.
 * Models: QEMU's `balloon` and `query-balloon`, with its classes of errors.
 * Threads: main loop.
 */
#include "internal.h"
#include "rhea/system/balloon.h"
#include "rhea/system/ramdiscard.h"
#include "rhea/util/errorcode.h"

static void balloon_gone(void *opaque)
{
    Device *dev = opaque;
    dev->machine->priv->balloon = NULL;
    dev->machine->priv->balloon_ops = NULL;
}

bool balloon_register(Device *dev, const BalloonOps *ops, Error **errp)
{
    struct MachinePrivate *p = dev->machine->priv;
    role_assert_main();
    if (p->balloon) {
        error_fail(errp, "already-exists", "driver", NULL,
                   "the machine has a balloon already, '%s', and there can be one", device_name(p->balloon));
        error_hint(errp, "leave this one out, or remove the other (device_del)");
        return false;
    }
    p->balloon = dev;
    p->balloon_ops = ops;
    device_add_cleanup(dev, balloon_gone, dev);
    return true;
}

static bool balloon_works(const Machine *m, Error **errp)
{
    if (ram_discard_forbidden(m) & RAM_KEEP_KVM) {
        error_set(errp, "this host's KVM does not follow changes of the program's memory (KVM_CAP_SYNC_MMU)");
        error_hint(errp, "use -accel tcg, or another kernel");
        error_set_class(errp, ERROR_KVM_MISSING_CAP);
        return false;
    }
    if (!m->priv->balloon) {
        error_set(errp, "no balloon device has been activated");
        error_hint(errp, "add -device virtio-balloon-pci");
        error_set_class(errp, ERROR_DEVICE_NOT_ACTIVE);
        return false;
    }
    return true;
}

bool balloon_set(Machine *m, uint64_t bytes, Error **errp)
{
    role_assert_main();
    if (!balloon_works(m, errp)) {
        return false;
    }
    m->priv->balloon_ops->set(m->priv->balloon, MIN(bytes, m->ram_size));
    return true;
}

bool balloon_actual(Machine *m, uint64_t *bytes, Error **errp)
{
    role_assert_main();
    if (!balloon_works(m, errp)) {
        return false;
    }
    *bytes = m->priv->balloon_ops->actual(m->priv->balloon);
    return true;
}
