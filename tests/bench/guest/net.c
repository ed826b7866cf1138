/* SPDX-License-Identifier: MIT
 * net.c - TCP to and from the host, and round trips, over each of a guest's networks
 *
 * The bench (network.py) listens on the host; where, stands in the environment: BENCH_NET_user=10.0.2.2:4711. A connection
 * begins with what is wanted, as a Request. A unit is 64 KiB, or a round trip of 64 bytes.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNIT = 65536, PING = 64 };

typedef struct Request {
    uint64_t what; /* 's': the guest sends, 'r': it receives, 'p': round trips */
    uint64_t n;    /* units; little-endian, as everything here */
} Request;

static struct sockaddr_in server;
static uint8_t *buf;

static void prepare(const char *name)
{
    const char *text = getenv(name), *colon = text ? strchr(text, ':') : NULL;
    char host[INET_ADDRSTRLEN] = "";
    if (colon && colon - text < (long)sizeof(host)) {
        memcpy(host, text, (size_t)(colon - text));
    }
    server = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0)) };
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1) {
        errno = EINVAL;
        bench_die(name);
    }
    buf = bench_alloc(UNIT);
}

static void prepare_user(void)
{
    prepare("BENCH_NET_user");
}

static void prepare_tap(void)
{
    prepare("BENCH_NET_tap");
}

static void put(int fd, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = write(fd, (const uint8_t *)data + done, n - done);
        if (r <= 0) {
            bench_die("a connection's write");
        }
        done += (size_t)r;
    }
}

static void get(int fd, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = read(fd, buf + done % UNIT, n - done < UNIT - done % UNIT ? n - done : UNIT - done % UNIT);
        if (r <= 0) {
            errno = r ? errno : ECONNRESET;
            bench_die("a connection's read");
        }
        done += (size_t)r;
    }
}

static int ask(uint64_t what, uint64_t n)
{
    Request q = { what, n };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0) {
        bench_die("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    put(fd, &q, sizeof(q));
    return fd;
}

static uint64_t net_send(uint64_t n)
{
    int fd = ask('s', n);
    for (uint64_t i = 0; i < n; i++) {
        put(fd, buf, UNIT);
    }
    get(fd, 1); /* the host has it all */
    close(fd);
    return n;
}

static uint64_t net_receive(uint64_t n)
{
    int fd = ask('r', n);
    get(fd, n * UNIT);
    close(fd);
    return n;
}

static uint64_t net_ping(uint64_t n)
{
    int fd = ask('p', n);
    for (uint64_t i = 0; i < n; i++) {
        put(fd, buf, PING);
        get(fd, PING);
    }
    close(fd);
    return n;
}

#define THREE(NAME, KIND) \
    {NAME "-send", 100, net_send, prepare_##KIND, NEED_NET}, \
    {NAME "-receive", 100, net_receive, prepare_##KIND, NEED_NET}, \
    {NAME "-ping", 20, net_ping, prepare_##KIND, NEED_NET}
const Workload bench_net[] = { THREE("user", user), THREE("tap", tap), {0} };
