/* SPDX-License-Identifier: MIT
 * hw/i386/config-ports.c - ports CF8h-CFFh of a PC: configuration mechanism 1 and the reset control register.
 *
 * Models: PCI Local Bus Specification 3.0, 3.2.2.3.2 (CONFIG_ADDRESS, CONFIG_DATA); the reset control
 * register CF9h of PIIX3 (290550, 2.5.7) and ICH9 (316972, 13.7.5), decoded here because a doubleword at CF8h
 *         must reach one place.
 * Does not model: the full reset bit (every reset is one of the whole machine).
 * Threads: none taken: the registers are atomic, and a configuration cycle enters the domain of the
 *         addressed function.
 */
#include "config-ports.h"

enum { CONF_ENABLE = 1u << 31, RC_SYSTEM_RESET = 1 << 1, RC_RESET_CPU = 1 << 2 };

static void write_reset_control(PcConfigPorts *p, uint8_t val)
{
    uint8_t now = val & (RC_SYSTEM_RESET | RC_RESET_CPU);
    uint8_t was = __atomic_exchange_n(&p->reset_control, now, __ATOMIC_RELAXED);
    if (!(was & RC_RESET_CPU) && (val & RC_RESET_CPU)) {
        machine_request_reset(p->owner->machine, SHUTDOWN_GUEST_RESET);
    }
}

/* CONFIG_ADDRESS answers doublewords only; narrower accesses go to the ISA side, where only CF9h exists. */
static uint64_t ports_read(void *opaque, MemAccess *a)
{
    PcConfigPorts *p = opaque;
    uint32_t addr = __atomic_load_n(&p->addr, __ATOMIC_RELAXED);
    if (a->off >= 4) {
        uint32_t ones = UINT32_MAX >> (32 - 8 * a->size);
        unsigned off = (addr & 0xfc) + (a->off - 4);
        return addr & CONF_ENABLE ? pci_config_read(p->bus, addr >> 8 & 0xffff, off, a->size) : ones;
    }
    if (a->size == 4) {
        return addr;
    }
    uint8_t bytes[4] = { 0xff, __atomic_load_n(&p->reset_control, __ATOMIC_RELAXED), 0xff, 0xff };
    return a->size == 1 ? bytes[a->off] : bytes[a->off] | (a->off < 3 ? bytes[a->off + 1] : 0xff) << 8;
}

static void ports_write(void *opaque, MemAccess *a, uint64_t val)
{
    PcConfigPorts *p = opaque;
    if (a->off >= 4) {
        uint32_t addr = __atomic_load_n(&p->addr, __ATOMIC_RELAXED);
        if (addr & CONF_ENABLE) {
            pci_config_write(p->bus, addr >> 8 & 0xffff, (addr & 0xfc) + (a->off - 4), val, a->size);
        }
    } else if (a->size == 4) {
        __atomic_store_n(&p->addr, (uint32_t)val & ~3u & (CONF_ENABLE | 0xffffff), __ATOMIC_RELAXED);
    } else if (a->size == 1 && a->off == 1) {
        write_reset_control(p, val);
    }
}

bool pc_config_ports_init(PcConfigPorts *p, Device *owner, Error **errp)
{
    static const MemOps ops = {
        .read = ports_read, .write = ports_write, .min = 1, .max = 4, .lockless = true
    };
    p->owner = owner;
    region_init_io(&p->region, owner, "pci-conf", &ops, p, 8);
    device_add_region(owner, &p->region);
    return device_map_io(owner, &p->region, 0xcf8, errp);
}

void pc_config_ports_reset(PcConfigPorts *p)
{
    p->addr = 0;
    p->reset_control = 0;
}

static const VmField config_ports_fields[] = {
    VM_U32(PcConfigPorts, addr),
    VM_U8_MAX(PcConfigPorts, reset_control, RC_SYSTEM_RESET | RC_RESET_CPU),
    { 0 },
};
const VmState pc_config_ports_state = {
    .name = "pci-config-ports",
    .version = 1,
    .oldest = 1,
    .fields = config_ports_fields,
};
