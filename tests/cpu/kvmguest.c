/* SPDX-License-Identifier: MIT
 * tests/cpu/kvmguest.c - see kvmguest.h.
 */
#include "tests/cpu/kvmguest.h"

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

Guest *guest_on(Engine e, const char *model)
{
    g_setenv("RHEA_TEST_ACCEL", e == ON_KVM ? "kvm" : "tcg", true);
    g_setenv("RHEA_TEST_TIER", e == TIER1 ? "1" : "0", true);
    return guest_new(model);
}
