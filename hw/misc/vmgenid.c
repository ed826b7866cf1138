/* SPDX-License-Identifier: MIT
 * hw/misc/vmgenid.c - `-device vmgenid`: a GUID that is another one when the guest goes on as a copy of
 * itself.
 *
 * Models: Microsoft's "Virtual Machine Generation ID" (August 2012): 16 bytes in memory that firmware keeps
 * for them, an ACPI device with _CID "VM_Gen_Counter" whose method ADDR tells where, and Notify(0x80) when
 * they have changed. Firmware places them by the loader's script: the file "etc/vmgenid_guid" has the GUID at
 * byte 40 of a page, and "etc/vmgenid_addr" gets its address. The GUID stays through reboots; a state that is
 * loaded into a machine with another one lets the guest know. Threads: the fw_cfg device's domain (platform);
 * what is asked for, the main loop.
 */
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/system/dma.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/text.h"
#include <string.h>

#define FILE_GUID "etc/vmgenid_guid"
#define FILE_ADDR "etc/vmgenid_addr"
enum { GUID_SIZE = 16, PAGE = 4096, GUID_AT = 40 /* OVMF probes the first 36 bytes for a table's header */ };
enum { AML_ADD = 0x72, AML_LEQUAL = 0x93, AML_INDEX = 0x88, AML_DWORD = 0x0c, DEVICE_CHECK = 0x80 };

typedef struct VmGenId {
    Device dev;
    char *text;              /* property: NULL or "auto" is a random one */
    uint8_t guid[GUID_SIZE]; /* as in memory: the first three groups little-endian */
    IrqLine changed;         /* wiring: a pulse */
    DomainTask tell;
    uint8_t addr[8]; /* guest-visible state: where the guest has it; 0: nowhere yet */
} VmGenId;

/* The text's order of bytes in memory. */
static const uint8_t order[GUID_SIZE] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

static bool guid_choose(VmGenId *v, Error **errp)
{
    uint8_t plain[GUID_SIZE];
    if (v->text && strcmp(v->text, "auto")) {
        if (!text_to_uuid(v->text, plain)) {
            error_fail(errp, "invalid-value", "guid", NULL, "guid=%s is not a GUID", v->text);
            error_hint(errp, "it looks like 324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87; auto chooses one");
            return false;
        }
    } else {
        uint64_t random[2];
        if (!machine_random(v->dev.machine, &random[0]) || !machine_random(v->dev.machine, &random[1])) {
            return error_set(errp, "guid=auto: the host has no random numbers");
        }
        memcpy(plain, random, GUID_SIZE);
        plain[6] = (plain[6] & 0x0f) | 0x40; /* RFC 4122, 4.4: a random one */
        plain[8] = (plain[8] & 0x3f) | 0x80;
    }
    for (unsigned i = 0; i < GUID_SIZE; i++) {
        v->guid[i] = plain[order[i]];
    }
    return true;
}

bool vmgenid_get(Machine *m, char guid[static VMGENID_TEXT])
{
    Device *dev = fw_cfg_find_device(m, &vmgenid_type);
    if (!dev) {
        return false;
    }
    const VmGenId *v = dev_as(VmGenId, dev);
    char *p = guid;
    for (unsigned i = 0; i < GUID_SIZE; i++) {
        p += g_snprintf(p, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", v->guid[order[i]]);
    }
    return true;
}

/* ---- ACPI ---- */

/* VGIA is where firmware has put the page; 0 while it has not. */
static void describe_device(Aml *a)
{
    aml_device(a, "VGEN");
    aml_name(a, "_HID");
    aml_string(a, "QEMUVGID"); /* what guests know */
    aml_name(a, "_CID");
    aml_string(a, "VM_Gen_Counter");
    aml_name(a, "_DDN");
    aml_string(a, "VM_Gen_Counter");
    aml_method(a, "_STA", 0, false);
    aml_if(a);
    aml_byte(a, AML_LEQUAL);
    aml_path(a, "VGIA");
    aml_int(a, 0);
    aml_return(a);
    aml_int(a, 0);
    aml_end(a);
    aml_return(a);
    aml_int(a, 0x0f);
    aml_end(a);
    aml_method(a, "ADDR", 0, false); /* a package: the low half of the address, the high half */
    aml_byte(a, AML_STORE);
    aml_package(a, 2);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_end(a);
    aml_byte(a, AML_LOCAL0);
    aml_byte(a, AML_ADD);
    aml_path(a, "VGIA");
    aml_int(a, GUID_AT);
    aml_byte(a, AML_INDEX);
    aml_byte(a, AML_LOCAL0);
    aml_int(a, 0);
    aml_byte(a, AML_NIL);
    aml_return(a);
    aml_byte(a, AML_LOCAL0);
    aml_end(a);
    aml_end(a);
}

void vmgenid_describe(AcpiBuilder *b)
{
    Aml a;
    guint table = acpi_table_begin(b, "SSDT", 1);
    acpi_place_file(b, FILE_GUID, PAGE);
    aml_init(&a, b->tables);
    aml_name(&a, "VGIA");
    aml_byte(&a, AML_DWORD);
    guint at = b->tables->len;
    acpi_put(b->tables, 0, 4);
    acpi_link_file(b, at, 4, FILE_GUID);
    aml_scope(&a, "\\_SB");
    describe_device(&a);
    aml_end(&a);
    g_autofree char *event = g_strdup_printf("\\_GPE._E%02X", VMGENID_GPE);
    aml_method(&a, event, 0, false);
    aml_notify(&a, "\\_SB.VGEN", DEVICE_CHECK);
    aml_end(&a);
    aml_fini(&a);
    acpi_table_end(b, table, true);
    acpi_tell_address(b, FILE_ADDR, FILE_GUID, GUID_AT);
}

/* ---- the device ---- */

/* After a state was loaded: memory is there by now. Another GUID than this machine's is replaced. */
static void vmgenid_tell(void *opaque)
{
    VmGenId *v = opaque;
    DmaContext dma = { .as = &v->dev.machine->as_mem };
    uint8_t now[GUID_SIZE];
    uint64_t addr;
    memcpy(&addr, v->addr, sizeof(addr));
    addr = GUINT64_FROM_LE(addr);
    if (!addr || dma_read(&dma, addr, now, GUID_SIZE) != MEM_OK || !memcmp(now, v->guid, GUID_SIZE)) {
        return;
    }
    if (dma_write(&dma, addr, v->guid, GUID_SIZE) == MEM_OK) {
        irq_set(&v->changed, true);
        irq_set(&v->changed, false);
    }
}

static void vmgenid_written(void *opaque G_GNUC_UNUSED, size_t offset G_GNUC_UNUSED, size_t len G_GNUC_UNUSED)
{
}

static void vmgenid_withdraw(void *opaque)
{
    fw_cfg_withdraw_file(opaque, FILE_GUID);
    fw_cfg_withdraw_file(opaque, FILE_ADDR);
}

static bool vmgenid_realize(Device *dev, Error **errp)
{
    VmGenId *v = dev_as(VmGenId, dev);
    Device *fw = dev->bus->owner;
    g_autofree uint8_t *page = g_malloc0(PAGE);
    if (!fw_cfg_claim(dev, errp) || !guid_choose(v, errp)) {
        return false;
    }
    memcpy(page + GUID_AT, v->guid, GUID_SIZE);
    if (!fw_cfg_add_file_bytes(fw, FILE_GUID, page, PAGE, errp) ||
        !fw_cfg_add_writable(fw, FILE_ADDR, v->addr, sizeof(v->addr), vmgenid_written, v, errp)) {
        return false;
    }
    device_add_cleanup(dev, vmgenid_withdraw, fw);
    device_add_irq(dev, &v->changed);
    device_add_task(dev, &v->tell, vmgenid_tell);
    return true;
}

static void vmgenid_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    VmGenId *v = dev_as(VmGenId, dev);
    memset(v->addr, 0, sizeof(v->addr)); /* firmware places it again */
}

static bool vmgenid_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    VmGenId *v = opaque;
    domain_post(&v->tell);
    return true;
}

static const Prop vmgenid_props[] = {
    PROP_STR(VmGenId, text, "guid", "auto", "The GUID; auto: a random one"),
    { 0 },
};
static const VmField vmgenid_fields[] = { VM_U8_ARRAY(VmGenId, addr), { 0 } };
static const VmState vmgenid_state = {
    .name = "vmgenid",
    .version = 1,
    .oldest = 1,
    .fields = vmgenid_fields,
    .post_load = vmgenid_post_load,
};

const DeviceType vmgenid_type = {
    .name = "vmgenid",
    .desc = "The guest hears when it is a copy of itself",
    .size = sizeof(VmGenId),
    .bus_type = &fw_cfg_bus_type,
    .category = "Misc",
    .props = vmgenid_props,
    .vmstate = &vmgenid_state,
    .realize = vmgenid_realize,
    .reset = vmgenid_reset,
};
