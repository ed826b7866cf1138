/* SPDX-License-Identifier: MIT
 * tests/unit/net/nettest.h - a network card of the test's own: it keeps what comes, and sends what it is told
 * to.
 */
#ifndef TESTS_NETTEST_H
#define TESTS_NETTEST_H

#include "rhea/net/net.h"
#include "tests/lib/bytes.h"
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
/* This process enters a network namespace of its own, which has no interfaces up; false: not permitted. */
bool net_test_own_network(void);
void net_test_interface_up(const char *name);
void netdev_new(TestMachine *tm, const char *text);
void net_test_free(TestMachine *tm);
/* netdev_add fails, and this is in the error's text or its hint. */
void netdev_refused(TestMachine *tm, const char *text, const char *error);
/* A frame of len bytes between two addresses, with a content that depends on `seed`. */
void frame_fill(uint8_t *f, size_t len, unsigned seed);
/* A TCP packet of so many bytes, of which some are other ones, as b says. */
void frame_any(uint8_t *f, size_t len, Bytes *b);

/* Two machines in this process with a card each; '@' in the back ends' options (id=s) is a folder of the
 * pair's own, which is empty again at the end. Events of both are counted by name. */
typedef struct NetPair {
    char *dir;
    TestMachine *a, *b;
    TestNic *na, *nb;
    MachineListener listeners[2];
    GHashTable *events;
    Json *event; /* the data of the last one */
} NetPair;
void net_pair_open(NetPair *p, const char *a, const char *b);
void net_pair_close(NetPair *p);
void net_pair_netdev(const NetPair *p, TestMachine *tm, const char *text);
void net_pair_turn(NetPair *p); /* each once, without waiting */
/* Until the card has got so many frames. */
void net_pair_turn_until(NetPair *p, TestNic *n, guint frames);
unsigned net_pair_events(NetPair *p, const char *name);
/* Frames of all lengths, 300 each way: all arrive, as they were. */
void net_pair_exchange(NetPair *p);
/* Card a sends until nothing more is taken, while card b takes nothing: a bounded number of frames. Then b
 * takes them, and gets each in order. Returns their number. */
unsigned net_pair_pressure(NetPair *p);

#endif
