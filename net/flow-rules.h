/* SPDX-License-Identifier: MIT
 * net/flow-rules.h - lists of what a guest may reach. Main loop.
 */
#ifndef NET_FLOW_RULES_H
#define NET_FLOW_RULES_H

#include "packet.h"

enum { FLOW_RULES = 256 };

typedef struct FlowRule {
    char *text;                 /* as it was written */
    uint8_t proto;              /* 0: any */
    bool any_addr, v6;
    uint8_t addr[16], bits;     /* of the prefix */
    uint16_t low, high;         /* ports; 0 to 65535: any */
    uint64_t flows;             /* that it allowed */
} FlowRule;

/* "PROTO:ADDR[/BITS][:PORT[-PORT]]" with ';' between; PROTO: tcp, udp, icmp, any; ADDR: IPv4, [IPv6] or *.
 * NULL: an error. g_array_unref. */
GArray *flow_rules_parse(const char *text, Error **errp);
/* The first that fits a connection to `addr`; NULL: none. */
FlowRule *flow_rules_find(GArray *rules, bool v6, uint8_t proto, const uint8_t *addr, uint16_t port);

#endif
