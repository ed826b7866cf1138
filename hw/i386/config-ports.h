/* SPDX-License-Identifier: MIT
 * hw/i386/config-ports.h - configuration mechanism 1 and CF9h, as the hosts of both PC boards have them.
 */
#ifndef HW_I386_CONFIG_PORTS_H
#define HW_I386_CONFIG_PORTS_H

#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

typedef struct PcConfigPorts {
    Device *owner;
    PciBus *bus;            /* set by the owner before anybody can use the ports */
    MemRegion region;
    uint32_t addr;          /* guest-visible state; atomic */
    uint8_t reset_control;  /* CF9h; atomic */
} PcConfigPorts;

bool pc_config_ports_init(PcConfigPorts *p, Device *owner, Error **errp); /* in realize; exports the region */
void pc_config_ports_reset(PcConfigPorts *p);
extern const VmState pc_config_ports_state;

#endif
