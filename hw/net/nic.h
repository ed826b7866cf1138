/* SPDX-License-Identifier: MIT
 * hw/net/nic.h - what network cards of different makers have in common: addresses, checksums of frames, the
 * small EEPROM with its wires.
 *
 * Threads: pure functions; a Microwire belongs to its device's domain.
 */
#ifndef HW_NET_NIC_H
#define HW_NET_NIC_H

#include "rhea/hw/nicflow.h"
#include "rhea/net/net.h"
#include "rhea/system/machine.h"
#include "rhea/system/vmstate.h"

/* What every card of QEMU's has. T: its struct, with port, mac and bootindex. */
#define NIC_PROPS(T)                                                                                         \
    PROP_NETDEV(T, port, "netdev", "The back end: id of a -netdev"),                                         \
        PROP_MAC(T, mac, "mac", "The card's address; default: the next of 52:54:00:12:34:56"),               \
        PROP_BOOTINDEX(T, bootindex)

enum { NIC_SHORTEST = 60, NIC_CRC = 4, NIC_MICROWIRE_WORDS = 64 };

/* To all? Any other address whose first bit is set is a group's. */
static inline bool nic_is_broadcast(const uint8_t *frame)
{
    static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    return net_mac_is(frame, all);
}

/* IEEE 802.3, 3.2.9: what stands behind a frame, in the order of its bytes. */
uint32_t nic_crc(const uint8_t *data, size_t len);
/* The CRC register after six bytes of address, bit 31 the first one out: its upper six bits choose one of 64
 * in the DP8390's and the RTL8139's filters. */
uint32_t nic_hash(const uint8_t *mac);
/* Pads to the shortest frame and appends the CRC; out has room for both. Returns the length with it. */
size_t nic_lay_out(const uint8_t *data, size_t len, uint8_t *out);

/* A 93C46 in its organisation by words: 64 of them, a one, two bits of command and six of address. Only
 * reading is modelled. */
typedef struct Microwire {
    uint16_t word[NIC_MICROWIRE_WORDS]; /* not saved: made at set-up */
    uint8_t count, out;                 /* bits since the chip was selected; what its data pin shows */
    uint16_t shift, data;
    bool select, clock;
} Microwire;
void microwire_reset(Microwire *w);
/* The wires as the controller drives them. False: the chip was told to do what it cannot. */
bool microwire_set(Microwire *w, bool select, bool clock, bool in);
extern const VmState microwire_state;

#endif
