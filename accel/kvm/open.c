/* SPDX-License-Identifier: MIT
 * accel/kvm/open.c - opening /dev/kvm: what can be wrong with it, why, and what helps; what kind of
 *   host this is.
 * Models: Linux Documentation/virt/kvm/api.rst, 4.1 (KVM_GET_API_VERSION), 4.4 (KVM_CHECK_EXTENSION).
 * Does not model: hosts other than x86-64 Linux.
 * Threads: any; nothing is kept.
 */
#include "kvm_internal.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool cpu_has_extensions(void)
{
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c >> 5 & 1)) {
        return true; /* VMX */
    }
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 2 & 1); /* SVM */
}

static const char *vendor_module(void)
{
    uint32_t a, b = 0, c = 0, d = 0;
    __get_cpuid(0, &a, &b, &c, &d);
    return b == 0x756e6547 ? "kvm_intel" : "kvm_amd"; /* "Genu" */
}

static bool module_loaded(const char *name)
{
    g_autofree char *path = g_strdup_printf("/sys/module/%s", name);
    return g_file_test(path, G_FILE_TEST_IS_DIR);
}

static void hint_missing(Error **errp)
{
    if (!cpu_has_extensions()) {
        error_hint(errp,
                   "this CPU shows no virtualization extensions (vmx, svm): switch them on in the firmware's "
                   "set-up, "
                   "or, inside a virtual machine, allow nested virtualization there; or use -accel tcg");
    } else if (!module_loaded(vendor_module())) {
        error_hint(
            errp,
            "load the kernel module (modprobe %s); in a container, pass the device in; or use -accel tcg",
            vendor_module());
    } else {
        error_hint(
            errp,
            "the kernel has KVM: in a container, pass the device in (--device /dev/kvm); or use -accel tcg");
    }
}

static int open_failed(const char *path, int err, Error **errp)
{
    switch (err) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        error_set(errp, err == ENOENT ? "%s does not exist" : "%s exists, but no driver is behind it", path);
        hint_missing(errp);
        break;
    case EACCES:
    case EPERM:
        error_set(errp, "%s cannot be opened for reading and writing: permission denied", path);
        error_hint(
            errp, "join the group that owns it (usermod -aG kvm USER, then log in again), or use -accel tcg");
        break;
    case EMFILE:
    case ENFILE:
        error_set_errno(errp, err, "%s cannot be opened", path);
        error_hint(errp, "raise the limit of open files (ulimit -n)");
        break;
    default: error_set_errno(errp, err, "%s cannot be opened", path); error_hint(errp, "use -accel tcg");
    }
    return -1;
}

/* What nothing works without, and the kernel that has it. */
static const struct {
    int cap;
    const char *what, *since;
} needed_caps[] = {
    { KVM_CAP_USER_MEMORY, "memory slots (KVM_CAP_USER_MEMORY)", "2.6.25" },
    { KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "removal of memory slots (KVM_CAP_DESTROY_MEMORY_REGION_WORKS)",
      "2.6.33" },
    { KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "joining of memory slots (KVM_CAP_JOIN_MEMORY_REGIONS_WORKS)",
      "2.6.35" },
    { KVM_CAP_EXT_CPUID, "CPUID tables (KVM_CAP_EXT_CPUID)", "2.6.26" },
    { KVM_CAP_MP_STATE, "run states of vCPUs (KVM_CAP_MP_STATE)", "2.6.27" },
    { KVM_CAP_VCPU_EVENTS, "pending events of vCPUs (KVM_CAP_VCPU_EVENTS)", "2.6.34" },
    { KVM_CAP_DEBUGREGS, "debug registers (KVM_CAP_DEBUGREGS)", "2.6.35" },
    { KVM_CAP_XSAVE, "extended processor state (KVM_CAP_XSAVE)", "2.6.37" },
    { KVM_CAP_XCRS, "XCR0 (KVM_CAP_XCRS)", "2.6.37" },
    { KVM_CAP_IMMEDIATE_EXIT, "leaving a guest without a race (KVM_CAP_IMMEDIATE_EXIT)", "4.13" },
};

static bool check_caps(const char *path, int fd, Error **errp)
{
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version < 0) {
        error_set_errno(errp, errno, "%s is no KVM device: KVM_GET_API_VERSION failed", path);
        error_hint(errp, "remove the file and let the system create the device anew, or use -accel tcg");
        return false;
    }
    if (version != KVM_API_VERSION) {
        error_set(errp, "the kernel's KVM has API version %d, not %d", version, KVM_API_VERSION);
        error_hint(errp, version < KVM_API_VERSION ? "use a kernel of 2.6.22 or later, or -accel tcg"
                                                   : "use a later version of this program, or -accel tcg");
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(needed_caps); i++) {
        if (ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)needed_caps[i].cap) <= 0) {
            error_set(errp, "the kernel's KVM lacks %s", needed_caps[i].what);
            error_hint(errp, "Linux has it since %s: use a later kernel, or -accel tcg",
                       needed_caps[i].since);
            return false;
        }
    }
    return true;
}

int kvm_open(const char *path, Error **errp)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return open_failed(path, errno, errp);
    }
    if (!check_caps(path, fd, errp)) {
        close(fd);
        return -1;
    }
    return fd;
}

int kvm_create_vm(int fd, Error **errp)
{
    int vm, err;
    do {
        vm = ioctl(fd, KVM_CREATE_VM, 0);
        err = errno;
    } while (vm < 0 && err == EINTR);
    if (vm >= 0) {
        return vm;
    }
    error_set_errno(errp, err, "KVM cannot create a virtual machine");
    error_hint(errp,
               err == EBUSY    ? "another hypervisor uses the CPU's virtualization extensions: end it first"
               : err == ENOMEM ? "the host has no memory for it"
               : err == EMFILE || err == ENFILE ? "raise the limit of open files (ulimit -n)"
                                                : "the kernel's log (dmesg) may tell more; -accel tcg works "
                                                  "without KVM");
    return -1;
}

/* Opens it, and makes a VM: what other hypervisors prevent. */
static bool try_kvm(Error **errp)
{
    int fd = kvm_open(KVM_DEVICE, errp);
    int vm = fd >= 0 ? kvm_create_vm(fd, errp) : -1;
    if (vm >= 0) {
        close(vm);
    }
    if (fd >= 0) {
        close(fd);
    }
    return vm >= 0;
}

bool kvm_available(Error **errp)
{
    if (!try_kvm(errp)) {
        error_prefix(errp, "accelerator 'kvm'");
        return false;
    }
    return true;
}

KvmHost kvm_host_class(char **why)
{
    Error *err = NULL;
    if (!try_kvm(&err)) {
        if (why) {
            *why = g_strdup(error_text(err));
        }
        error_free(err);
        return KVM_HOST_NONE;
    }
    bool ext = cpu_has_extensions(), module = module_loaded("kvm_intel") || module_loaded("kvm_amd");
    if (why) {
        *why =
            ext && module
                ? NULL
                : g_strdup_printf("KVM is there, but %s: it emulates guests, which is slower than -accel tcg",
                                  !ext ? "the CPU shows no virtualization extensions (vmx, svm)"
                                       : "neither kvm_intel nor kvm_amd is loaded");
    }
    return ext && module ? KVM_HOST_HARDWARE : KVM_HOST_EMULATED;
}
