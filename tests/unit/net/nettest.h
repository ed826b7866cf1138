/* SPDX-License-Identifier: MIT
 * tests/unit/net/nettest.h - a network card of the test's own: it keeps what comes, and sends what it is told
 * to.
 */
#ifndef TESTS_NETTEST_H
#define TESTS_NETTEST_H

#include "rhea/net/net.h"
#include "tests/lib/testmachine.h"

typedef struct TestNic {
    Device dev;
    NetPort port;
    NetMac mac;
    GPtrArray *got;        /* GByteArray * */
    NetHdr hdr;            /* of the last one */
    bool closed;           /* it takes nothing */
    unsigned closes_after; /* takes so many, then closes; 0: never */
    unsigned writable, links;
    bool link;
} TestNic;

extern const DeviceType test_nic_type;
TestNic *test_nic_new(TestMachine *tm, const char *id, const char *netdev);
/* False: no room. */
bool test_nic_send(TestNic *n, const NetHdr *hdr, const void *data, size_t len);
GByteArray *test_nic_take(TestNic *n); /* the oldest; NULL: none */
void test_nic_drop(TestNic *n);        /* all */
void test_nic_open(TestNic *n);        /* it takes frames again */
void netdev_new(TestMachine *tm, const char *text);
void net_test_free(TestMachine *tm);
/* A frame of len bytes between two addresses, with a content that depends on `seed`. */
void frame_fill(uint8_t *f, size_t len, unsigned seed);

#endif
