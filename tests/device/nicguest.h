/* SPDX-License-Identifier: MIT
 * tests/device/nicguest.h - a PCI network card on the pc board without CPUs; at the other end of its cable,
 * behind a hub, a card of the test's own.
 */
#ifndef TESTS_DEVICE_NICGUEST_H
#define TESTS_DEVICE_NICGUEST_H

#include "hw/net/nic.h"
#include "pctest.h"
#include "tests/unit/net/nettest.h"

enum { NIC_FN = PCI_DEVFN(4, 0), NIC_MEM = 0x40000000, NIC_PORTS = 0xc000 };

typedef struct NicGuest {
    PcTest *t;
    TestMachine tm; /* the parts of it that the test's card needs */
    TestNic *peer;
    Device *card;
} NicGuest;

/* The card's address is nic_own. BAR mem_bar is at NIC_MEM, io_bar at NIC_PORTS; -1: it has none. */
extern const char nic_own[], nic_all[];
void nicguest_open(NicGuest *g, const char *type, int mem_bar, int io_bar);
void nicguest_close(NicGuest *g);
uint8_t *nicguest_ram(NicGuest *g, hwaddr at);
void nicguest_turns(NicGuest *g); /* of the main loop, until nothing is left to do */
/* A frame of len bytes to dst arrives from the other end. f: room for it. */
void nicguest_arrive(NicGuest *g, uint8_t *f, const char *dst, size_t len);
/* What went out first is this frame, and nothing else did. */
void nicguest_sent(NicGuest *g, const uint8_t *f, size_t len);
/* A 93C46's word, by wires: set() puts select (8), clock (4), data in (2) on them, get() reads data out. */
unsigned nicguest_eeprom(NicGuest *g, unsigned at, void (*set)(NicGuest *g, unsigned wires),
                         bool (*get)(NicGuest *g));
/* An IPv4 packet of TCP or UDP with `payload` bytes in f, checksums not made; its length. */
size_t nicguest_packet(uint8_t *f, bool tcp, size_t payload);
/* Its checksums are right, seen from the frame's beginning. */
void nicguest_check_packet(const uint8_t *f, size_t len, bool tcp);
/* The key and two of the packets of Microsoft's "Verifying the RSS Hash Calculation". */
typedef struct NicKnownHash {
    uint8_t packet[12]; /* addresses, ports */
    uint32_t with_ports, without;
} NicKnownHash;
extern const uint8_t nic_rss_key[NIC_RSS_KEY];
extern const NicKnownHash nic_known_hashes[];
extern const unsigned nic_n_known_hashes;
/* So many random bytes, a multiple of four, in out. */
Bytes nicguest_random(GRand *rand, uint8_t *out, size_t n);
/* RHEA_NIC_CASES, else few. */
unsigned nicguest_cases(void);

#endif
