/* SPDX-License-Identifier: MIT
 * tests/device/guestways.c - random accesses of devices that own no region.
 * Models: the PS/2 link as an 8042 uses it, keys and movements; the local APIC as its CPU sees it: page,
 *   MSRs, CR8, acknowledge, LINT pins, messages; a virtio serial driver's messages about a port;
 *   fw_cfg's DMA; a codec's verbs.
 * Threads: main.
 */
#include "tests/device/guestways.h"

#include "hw/audio/hda.h"
#include "hw/virtio/virtio-serial.h"
#include "rhea/hw/apic.h"
#include "rhea/hw/fw_cfg.h"
#include "rhea/hw/guestinfo.h"
#include "rhea/hw/ps2.h"
#include "rhea/hw/vmport.h"
#include "rhea/hw/usb.h"
#include "rhea/system/machine.h"
#include "rhea/target/x86/cpu.h"

#include <string.h>

extern const DeviceType ramfb_type;

static uint64_t ps2_access(Device *dev, const Ps2Link *link, bool write, uint64_t val)
{
    uint64_t got = 0;
    domain_lock(dev->domain);
    if (write) {
        link->write(dev, (uint8_t)val);
    } else if (link->pending(dev)) {
        got = 0x100 | link->take(dev);
    }
    domain_unlock(dev->domain);
    return got;
}

/* Commands of both are E0h and up (F4h: report); the rest is data, or to be refused. */
static uint64_t ps2_value(GRand *rand, uint64_t val)
{
    switch (g_rand_int_range(rand, 0, 4)) {
    case 0: return val;
    case 1: return 0xf4;
    default: return 0xe0 | (val & 0x1f);
    }
}

static uint64_t kbd_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    return ps2_access(dev, ps2_kbd_link(dev), write, ps2_value(rand, val));
}

static void kbd_feed(Device *dev, GRand *rand)
{
    domain_lock(dev->domain);
    ps2_kbd_key(dev, (unsigned)g_rand_int_range(rand, 0, INPUT_KEYS), g_rand_boolean(rand));
    domain_unlock(dev->domain);
}

static uint64_t mouse_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    return ps2_access(dev, ps2_mouse_link(dev), write, ps2_value(rand, val));
}

static void mouse_feed(Device *dev, GRand *rand)
{
    domain_lock(dev->domain);
    if (g_rand_boolean(rand)) {
        ps2_mouse_buttons(dev, g_rand_int(rand));
    } else {
        int d[3];
        for (unsigned i = 0; i < G_N_ELEMENTS(d); i++) { /* also as far as an int goes */
            d[i] = (int)g_rand_int(rand) >> g_rand_int_range(rand, 0, 32);
        }
        ps2_mouse_move(dev, d[0], d[1], d[2]);
    }
    domain_unlock(dev->domain);
}

static X86Cpu *apic_cpu(const Device *dev)
{
    Machine *m = dev->machine;
    for (unsigned i = 0; i < m->n_cpus; i++) { /* boards here have one */
        if (x86_cpu(m->cpus[i])->apic) {
            return x86_cpu(m->cpus[i]);
        }
    }
    g_assert_not_reached();
}

static uint64_t apic_page(const Device *dev, const X86Cpu *cpu, GRand *rand, bool write, uint64_t val)
{
    MemAttrs attrs = { .cpu = true, .requester = (uint16_t)cpu->vcpu.index };
    hwaddr at = APIC_DEFAULT_BASE + (g_rand_int(rand) & 0xff0);
    unsigned size = 4;
    uint64_t got = 0;
    if (g_rand_int_range(rand, 0, 8) == 0) { /* as no system does it */
        size = 1u << g_rand_int_range(rand, 0, 4);
        at = APIC_DEFAULT_BASE + (g_rand_int(rand) & 0xfff & ~(size - 1));
    }
    if (write) {
        as_store(&dev->machine->as_mem, at, size, val, attrs);
    } else {
        as_load(&dev->machine->as_mem, at, size, &got, attrs);
    }
    return got;
}

static uint64_t apic_msr(X86Cpu *cpu, GRand *rand, bool write, uint64_t val)
{
    unsigned pick = (unsigned)g_rand_int_range(rand, 0, 16);
    uint32_t msr = pick == 0 ? 0x1b : pick == 1 ? 0x6e0 : 0x800 + (g_rand_int(rand) & 0x3ff);
    uint64_t got = 0;
    if (!write) {
        return cpu->apic_ops->msr_read(cpu->apic, msr, &got) ? got : UINT64_MAX;
    }
    if (msr == 0x1b) { /* enabled or not, x2APIC or not; now and then anything */
        uint64_t base = APIC_DEFAULT_BASE | 0x100 | (uint64_t)g_rand_int_range(rand, 0, 4) << 10;
        val = g_rand_int_range(rand, 0, 4) ? base : val;
    }
    return cpu->apic_ops->msr_write(cpu->apic, msr, val);
}

static uint64_t apic_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    X86Cpu *cpu = apic_cpu(dev);
    switch (g_rand_int_range(rand, 0, 16)) {
    case 0: return (uint64_t)(int64_t)cpu->apic_ops->ack(cpu->apic);
    case 1:
        if (!write) {
            return cpu->apic_ops->get_tpr(cpu->apic);
        }
        cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(val & 0xf0)); /* CR8 has four bits */
        return 0;
    case 2:
    case 3:
    case 4: return apic_msr(cpu, rand, write, val);
    case 5:
        if (g_rand_int_range(rand, 0, 256) == 0) {
            cpu->apic_ops->init(cpu->apic);
        }
        return 0;
    default: return apic_page(dev, cpu, rand, write, val);
    }
}

static void apic_feed(Device *dev, GRand *rand)
{
    uint32_t r = g_rand_int(rand);
    if (r & 1) {
        apic_set_lint(apic_cpu(dev)->apic, r >> 1 & 1, r >> 2 & 1);
    } else {
        msi_send(dev->machine,
                 (MsiMessage){ .addr = 0xfee00000 | (g_rand_int(rand) & 0xffffc), .data = r >> 1 });
    }
}

/* A driver's messages: the port is set up, opened and closed. What comes of it is the controller's state. */
static uint64_t port_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    VirtioSerial *s = dev->bus->impl;
    domain_lock(dev->domain);
    if (write) {
        serial_message(s, g_rand_int_range(rand, 0, 4) ? dev_as(SerialPort, dev)->nr : (uint32_t)val,
                       g_rand_int(rand) % (SERIAL_PORT_NAME + 2), (unsigned)val & 0xffff);
    } else {
        serial_send(s, dev_as(SerialPort, dev)->nr);
        serial_accept(s, dev_as(SerialPort, dev)->nr);
    }
    domain_unlock(dev->domain);
    return 0;
}

/* Its file, by DMA commands as drivers give them, good and bad ones. */
static uint64_t fw_cfg_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    enum { BLOCK = 0x1000, BUFFER = 0x2000, SELECT = 8, READ = 2, WRITE = 0x10 };
    Machine *m = dev->machine;
    unsigned file = FW_CFG_FILE_FIRST + (dev->type == &vmgenid_type); /* not the GUID, which is random */
    file += g_rand_int_range(rand, 0, 8) ? 0 : 3;                     /* there is none */
    uint32_t control = file << 16 | SELECT | (write ? WRITE : READ);
    uint32_t len = g_rand_boolean(rand) ? 8u << g_rand_int_range(rand, 0, 3) : g_rand_int(rand) & 0xffff;
    uint64_t at = BUFFER;
    as_store(&m->as_mem, BUFFER, 8, val, MEM_ATTRS_NONE);
    struct {
        uint32_t control, len;
        uint64_t at;
    } block = { GUINT32_TO_BE(control), GUINT32_TO_BE(len), GUINT64_TO_BE(at) };
    as_access(&m->as_mem, BLOCK, &block, sizeof(block), true, MEM_ATTRS_NONE);
    as_store(&m->as_io, FW_CFG_PORTS + 8, 4, GUINT32_TO_BE(BLOCK), MEM_ATTRS_NONE);
    as_load(&m->as_mem, BUFFER, 8, &at, MEM_ATTRS_NONE);
    return at;
}

/* A packet as controllers make them, mostly a control transfer's; one that waits is given up. */
static uint64_t usb_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    static const uint8_t types[] = { 0x80, 0x00, 0x81, 0x01, 0x82, 0x02, 0x21, 0xa1, 0xa0, 0xa3, 0x20, 0x23 };
    UsbDevice *d = (UsbDevice *)dev;
    uint8_t data[128];
    unsigned kind = (unsigned)g_rand_int_range(rand, 0, 6);
    UsbPacket p = { .pid = kind == 0 ? USB_SETUP : write ? USB_OUT : USB_IN, .data = data,
                    .ep = kind < 3 ? 0 : (uint8_t)(kind - 2),
                    .len = kind == 0 ? 8 : (uint32_t)g_rand_int_range(rand, 0, sizeof(data) + 1) };
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i < 8 ? val >> 8 * i : g_rand_int(rand));
    }
    if (kind == 0) {
        data[0] = types[g_rand_int_range(rand, 0, G_N_ELEMENTS(types))];
        data[1] &= 0x0f;
        data[3] &= g_rand_boolean(rand) ? 3 : 0x2f;
    } else if (write && kind > 2 && g_rand_boolean(rand)) { /* a command of a disk */
        memcpy(data, "USBC", 4);
        data[10] = data[11] = 0;
        data[13] = 0;
        data[14] = 16;
        p.len = 31;
    }
    domain_lock(dev->domain);
    if (g_rand_int_range(rand, 0, 64) == 0) {
        usb_device_reset(d);
    }
    if (usb_handle_packet(d, &p) == USB_ASYNC) {
        usb_cancel_packet(&p);
    }
    domain_unlock(dev->domain);
    return p.actual;
}

/* Verbs of the audio function group's nodes, mostly. */
static uint64_t codec_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    unsigned nid = g_rand_int_range(rand, 0, 16) ? (unsigned)g_rand_int_range(rand, 0, 7) : (val >> 8 & 0xff);
    unsigned verb = g_rand_boolean(rand) ? 0x700 + (val >> 16 & 0x3f) : val >> 16 & 0xfff;
    uint32_t cmd = nid << 20 | (write ? verb : verb | 0x800) << 8 | (val & 0xff);
    domain_lock(dev->domain);
    uint32_t got = hda_codec_command((HdaCodec *)dev, cmd);
    domain_unlock(dev->domain);
    return got;
}

static uint64_t vmmouse_access(Device *dev, GRand *rand, bool write, uint64_t val)
{
    static const uint32_t params[] = { 0x45414552, 0xf5, 0x4c455252, 0x53424152 };
    unsigned pick = (unsigned)g_rand_int_range(rand, 0, 8);
    VmportRegs r = { .eax = VMPORT_MAGIC, .ebx = write && pick < 4 ? params[pick] : (uint32_t)val & 7 };
    domain_lock(dev->domain);
    vmmouse_execute(dev, write ? 41 : 39 + (pick & 1), &r);
    domain_unlock(dev->domain);
    return r.eax;
}

static const GuestWay ways[] = {
    { &hda_duplex_type, "verbs", codec_access, NULL },
    { &hda_micro_type, "verbs", codec_access, NULL },
    { &hda_output_type, "verbs", codec_access, NULL },
    { &usb_kbd_type, "packets", usb_access, NULL },
    { &usb_mouse_type, "packets", usb_access, NULL },
    { &usb_tablet_type, "packets", usb_access, NULL },
    { &usb_hub_type, "packets", usb_access, NULL },
    { &usb_storage_type, "packets", usb_access, NULL },
    { &virtserialport_type, "messages", port_access, NULL },
    { &virtconsole_type, "messages", port_access, NULL },
    { &apic_type, "its CPU", apic_access, apic_feed },
    { &ps2_kbd_type, "its link", kbd_access, kbd_feed },
    { &ps2_mouse_type, "its link", mouse_access, mouse_feed },
    { &vmmouse_type, "its port", vmmouse_access, NULL },
    { &vmcoreinfo_type, "its file", fw_cfg_access, NULL },
    { &vmgenid_type, "its file", fw_cfg_access, NULL },
    { &ramfb_type, "its file", fw_cfg_access, NULL },
};

const GuestWay *guest_way_find(const DeviceType *type)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        if (ways[i].type == type) {
            return &ways[i];
        }
    }
    return NULL;
}
