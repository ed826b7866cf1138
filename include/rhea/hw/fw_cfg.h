/* SPDX-License-Identifier: MIT
 * rhea/hw/fw_cfg.h - the firmware configuration device: numbered items and named files for the guest.
 *
 * Boards fill it while they are built; afterwards only FwCfgHook callbacks replace contents, and the guest writes
 * files that may be written. Devices that are such files sit on its bus.
 */
#ifndef RHEA_HW_FW_CFG_H
#define RHEA_HW_FW_CFG_H

#include "rhea/system/device.h"

/* Selectors (the interface's register documentation; x86 items from 8000h on). */
enum {
    FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03, FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05, FW_CFG_MACHINE_ID = 0x06, FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a, FW_CFG_INITRD_SIZE = 0x0b, FW_CFG_BOOT_DEVICE = 0x0c, FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f, FW_CFG_KERNEL_ENTRY = 0x10, FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12, FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14, FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17, FW_CFG_SETUP_DATA = 0x18, FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20, FW_CFG_FILE_SLOTS = 0x80, FW_CFG_ARCH = 0x8000,
    FW_CFG_IRQ0_OVERRIDE = 0x8002, FW_CFG_E820 = 0x8003, FW_CFG_NAME_MAX = 56,
    FW_CFG_PORTS = 0x510, FW_CFG_PORTS_LEN = 12,
};

extern const DeviceType fw_cfg_type; /* "fw_cfg_io": ports 510h, 511h, 514h; mapped by its realize */

/* Contents are copied unless they come as GBytes (one reference is taken). A second add of the same key
 * or name replaces the first. MAIN_LOOP. */
void fw_cfg_add_bytes(Device *fw, uint16_t key, const void *data, size_t len);
void fw_cfg_add_gbytes(Device *fw, uint16_t key, GBytes *data);
/* The item's contents are (part of) what loader_read_file() returned: their host pages are dropped once the guest
 * has read to the end, and come back from the file when it reads them again. */
void fw_cfg_set_file_backed(Device *fw, uint16_t key);
void fw_cfg_add_u16(Device *fw, uint16_t key, uint16_t v);
void fw_cfg_add_u32(Device *fw, uint16_t key, uint32_t v);
void fw_cfg_add_u64(Device *fw, uint16_t key, uint64_t v);
void fw_cfg_add_string(Device *fw, uint16_t key, const char *s); /* with its NUL */
bool fw_cfg_add_file(Device *fw, const char *name, GBytes *data, Error **errp);
bool fw_cfg_add_file_bytes(Device *fw, const char *name, const void *data, size_t len, Error **errp);
bool fw_cfg_has_file(Device *fw, const char *name);

/* Called in the device's domain when the guest selects the file; may return new contents of exactly the
 * same length (a new reference) or NULL to leave them. */
typedef GBytes *(*FwCfgHook)(void *opaque, GBytes *was);
void fw_cfg_set_hook(Device *fw, const char *name, FwCfgHook hook, void *opaque);

/* A file that the guest may write by DMA: `size` bytes at `data`, the caller's, whose saved state they belong to.
 * written: in the fw_cfg device's domain, after bytes [offset, offset + len) have come. */
typedef void (*FwCfgWritten)(void *opaque, size_t offset, size_t len);
bool fw_cfg_add_writable(Device *fw, const char *name, void *data, size_t size, FwCfgWritten written,
                         void *opaque, Error **errp);
/* The file stays, with zeros: its owner goes. */
void fw_cfg_withdraw_file(Device *fw, const char *name);

/* Devices that are files of fw_cfg: their bus's owner is the fw_cfg device. They stay while the machine is up. */
extern const BusType fw_cfg_bus_type;
Bus *fw_cfg_bus(Device *fw);
bool fw_cfg_claim(Device *dev, Error **errp); /* in their realize: there is one of each type at most */
Device *fw_cfg_of_machine(Machine *m); /* NULL: there is none. MAIN_LOOP */
/* The device of a type on a machine's bus; NULL: there is none. MAIN_LOOP. */
Device *fw_cfg_find_device(Machine *m, const DeviceType *type);

/* The files of -fw_cfg (m->fw_cfg_files). */
bool fw_cfg_add_user_files(Device *fw, Error **errp);

#endif
