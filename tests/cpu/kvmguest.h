/* SPDX-License-Identifier: MIT
 * tests/cpu/kvmguest.h - what the tests of the KVM accelerator share: guests on an engine of choice, and a word when
 * this host has no KVM.
 */
#ifndef TESTS_CPU_KVMGUEST_H
#define TESTS_CPU_KVMGUEST_H

#include "accel/kvm/kvm_internal.h"
#include "tests/cpu/sysguest.h"

typedef enum Engine { TIER0, TIER1, ON_KVM, ENGINES } Engine;
extern const char *const engine_names[];

/* True: there is none, and the test says that it was skipped and why. */
bool kvm_skipped(void);
/* Has this KVM rings of dirty pages? Else a line says that they are left out. */
bool kvm_has_rings(void);
Guest *guest_on(Engine e, const char *model);

#endif
