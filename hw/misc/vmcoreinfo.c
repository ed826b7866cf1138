/* SPDX-License-Identifier: MIT
 * hw/misc/vmcoreinfo.c - `-device vmcoreinfo`: where the guest's kernel keeps its notes for memory dumps.
 *
 * Models: the file "etc/vmcoreinfo" of fw_cfg as its public specification has it, little-endian:
 *         u16 formats that the host takes, u16 format of the guest's, u32 size, u64 physical address.
 *         Only a write of all 16 bytes counts; format 0 takes it back. Gone after a reset.
 * Threads: the fw_cfg device's domain; what is asked for, the main loop.
 */
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/system/machine.h"
#include <string.h>

#define FILE_NAME "etc/vmcoreinfo"
enum { HOST_FORMAT = 0, GUEST_FORMAT = 2, NOTE_SIZE = 4, NOTE_ADDR = 8, FILE_SIZE = 16, FORMAT_ELF = 1 };
enum { NOTE_MAX = 1 << 20 };

typedef struct VmCoreInfo {
    Device dev;
    uint8_t bytes[FILE_SIZE]; /* guest-visible state */
    bool valid;
} VmCoreInfo;

static uint64_t number(const uint8_t *p, unsigned n)
{
    return n ? number(p + 1, n - 1) << 8 | *p : 0;
}

static void vmcoreinfo_written(void *opaque, size_t offset, size_t len)
{
    VmCoreInfo *v = opaque;
    v->valid = offset == 0 && len == FILE_SIZE;
}

bool vmcoreinfo_get(Machine *m, uint64_t *paddr, uint32_t *size)
{
    Device *dev = fw_cfg_find_device(m, &vmcoreinfo_type);
    if (!dev) {
        return false;
    }
    VmCoreInfo *v = dev_as(VmCoreInfo, dev);
    domain_lock(dev->domain);
    *size = number(v->bytes + NOTE_SIZE, 4);
    *paddr = number(v->bytes + NOTE_ADDR, 8);
    bool ok = v->valid && number(v->bytes + GUEST_FORMAT, 2) == FORMAT_ELF && *size && *size <= NOTE_MAX;
    domain_unlock(dev->domain);
    return ok;
}

static void vmcoreinfo_withdraw(void *opaque)
{
    fw_cfg_withdraw_file(opaque, FILE_NAME);
}

static bool vmcoreinfo_realize(Device *dev, Error **errp)
{
    VmCoreInfo *v = dev_as(VmCoreInfo, dev);
    Device *fw = dev->bus->owner;
    if (!fw_cfg_claim(dev, errp) ||
        !fw_cfg_add_writable(fw, FILE_NAME, v->bytes, FILE_SIZE, vmcoreinfo_written, v, errp)) {
        return false;
    }
    device_add_cleanup(dev, vmcoreinfo_withdraw, fw);
    return true;
}

static void vmcoreinfo_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    VmCoreInfo *v = dev_as(VmCoreInfo, dev);
    memset(v->bytes, 0, FILE_SIZE);
    v->bytes[HOST_FORMAT] = FORMAT_ELF;
    v->valid = false;
}

static const VmField vmcoreinfo_fields[] = {
    VM_U8_ARRAY(VmCoreInfo, bytes),
    VM_BOOL(VmCoreInfo, valid),
    { 0 },
};
static const VmState vmcoreinfo_state = {
    .name = "vmcoreinfo",
    .version = 1,
    .oldest = 1,
    .fields = vmcoreinfo_fields,
};

const DeviceType vmcoreinfo_type = {
    .name = "vmcoreinfo",
    .desc = "The guest's kernel tells where its notes for dumps are",
    .size = sizeof(VmCoreInfo),
    .bus_type = &fw_cfg_bus_type,
    .category = "Misc",
    .vmstate = &vmcoreinfo_state,
    .realize = vmcoreinfo_realize,
    .reset = vmcoreinfo_reset,
};
