/* SPDX-License-Identifier: MIT
 * tests/cpu/kvmguest.c - see kvmguest.h.
 */
#include "tests/cpu/kvmguest.h"

#include <sys/ioctl.h>
#include <unistd.h>

const char *const engine_names[] = { "tier 0", "tier 1", "kvm" };

bool kvm_skipped(void)
{
    Error *err = NULL;
    if (kvm_available(&err)) {
        return false;
    }
    g_test_skip(error_text(err));
    error_free(err);
    return true;
}

bool kvm_has_rings(void)
{
    int fd = kvm_open(KVM_DEVICE, NULL), vm = fd >= 0 ? kvm_create_vm(fd, NULL) : -1;
    bool has = vm >= 0 && (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING_ACQ_REL) > 0 ||
                           ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING) > 0);
    if (vm >= 0) {
        close(vm);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (!has) {
        g_test_message("rings of dirty pages are left out: this KVM lacks KVM_CAP_DIRTY_LOG_RING");
    }
    return has;
}

Guest *guest_on(Engine e, const char *model)
{
    g_setenv("RHEA_TEST_ACCEL", e == ON_KVM ? "kvm" : "tcg", true);
    g_setenv("RHEA_TEST_TIER", e == TIER1 ? "1" : "0", true);
    return guest_new(model);
}
