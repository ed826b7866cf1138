/* SPDX-License-Identifier: MIT
 * rhea/hw/nicflow.h - flows as network cards tell them apart, their Toeplitz hash (hw/net/nic.c), and bytes in
 * order.
 *
 * Threads: pure functions.
 */
#ifndef RHEA_HW_NICFLOW_H
#define RHEA_HW_NICFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t nic_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t nic_le32(const uint8_t *p)
{
    return nic_le16(p) | (uint32_t)nic_le16(p + 2) << 16;
}

static inline uint64_t nic_le64(const uint8_t *p)
{
    return nic_le32(p) | (uint64_t)nic_le32(p + 4) << 32;
}

static inline void nic_put_le(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

static inline uint16_t nic_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void nic_put_be16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* What receive-side scaling looks at. */
typedef struct NicFlow {
    uint8_t ip;       /* 4, 6; 0: another protocol */
    uint8_t protocol; /* 6 TCP, 17 UDP; 0 also for a fragment, whose ports are not there */
    bool extended;    /* IPv6 with extension headers */
    size_t addresses, ports, payload; /* where they begin; both addresses, both ports */
    size_t source, target; /* the addresses that the hash is made of: at first these two */
    size_t home, route;    /* IPv6: a mobile node's, of extension headers (RFC 6275, 6.3, 6.4); 0: none */
} NicFlow;
void nic_flow(const uint8_t *frame, size_t len, NicFlow *out);
/* The Toeplitz hash over addresses and, with_ports, ports. key: 40 bytes. */
enum { NIC_RSS_KEY = 40 };
uint32_t nic_toeplitz(const uint8_t *key, const uint8_t *frame, const NicFlow *flow, bool with_ports);

#endif
