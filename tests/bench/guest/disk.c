/* SPDX-License-Identifier: MIT
 * disk.c - transfers from and to a disk around the guest's page cache, at a given queue depth
 *
 * The first half of a disk is only read: each 4 KiB of it begin with their number, which is compared. The second half is
 * only written. Requests go through the kernel's AIO (io_submit(2)), which has no library in an initramfs. A
 * unit is one request: 4 KiB at random places, 64 KiB in sequence.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, SEQUENTIAL = 65536, DEPTH_MAX = 32 };

static struct {
    int fd;
    uint64_t half; /* bytes */
    aio_context_t ctx;
    uint8_t *buf;
} disk;

static void prepare_disk(const char *path)
{
    uint64_t size;
    disk.fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk.fd < 0 || ioctl(disk.fd, BLKGETSIZE64, &size) < 0) {
        bench_die(path);
    }
    disk.half = size / 2 & ~(uint64_t)(SEQUENTIAL - 1);
    disk.buf = bench_alloc((size_t)DEPTH_MAX * SEQUENTIAL);
    if (syscall(SYS_io_setup, DEPTH_MAX, &disk.ctx) < 0) {
        bench_die("io_setup");
    }
}

static void prepare_vda(void)
{
    prepare_disk("/dev/vda");
}

static void prepare_vdb(void)
{
    prepare_disk("/dev/vdb");
}

static void check(const struct iocb *cb)
{
    const uint8_t *p = (const uint8_t *)(uintptr_t)cb->aio_buf;
    for (uint64_t at = 0; at < cb->aio_nbytes; at += PAGE) {
        uint64_t number;
        memcpy(&number, p + at, sizeof(number));
        if (number != (cb->aio_offset + at) / PAGE) {
            errno = EILSEQ;
            bench_die("the disk's content");
        }
    }
}

static void next(struct iocb *cb, unsigned slot, uint64_t i, uint64_t *seed, bool random, bool write)
{
    uint64_t bytes = random ? PAGE : SEQUENTIAL;
    uint64_t at = (random ? bench_random(seed) >> 11 : i) % (disk.half / bytes) * bytes;
    uint8_t *buf = disk.buf + (size_t)slot * SEQUENTIAL;
    *cb = (struct iocb){
        .aio_data = slot,
        .aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
        .aio_fildes = (uint32_t)disk.fd,
        .aio_buf = (uintptr_t)buf,
        .aio_nbytes = bytes,
        .aio_offset = (int64_t)(write ? disk.half + at : at),
    };
    if (write) {
        memcpy(buf, &i, sizeof(i));
    }
}

static uint64_t transfer(uint64_t n, bool random, bool write, unsigned depth)
{
    static struct iocb cb[DEPTH_MAX];
    struct iocb *some[DEPTH_MAX];
    struct io_event done[DEPTH_MAX];
    uint64_t started = 0, ended = 0, seed = 88172645463325252u;
    unsigned fresh = 0;
    while (ended < n) {
        for (; fresh < depth && started < n && started < depth; fresh++, started++) { /* the first ones */
            next(&cb[started], (unsigned)started, started, &seed, random, write);
            some[fresh] = &cb[started];
        }
        for (unsigned at = 0; at < fresh;) {
            long r = syscall(SYS_io_submit, disk.ctx, (long)(fresh - at), some + at);
            if (r <= 0) {
                bench_die("io_submit");
            }
            at += (unsigned)r;
        }
        fresh = 0;
        long got = syscall(SYS_io_getevents, disk.ctx, 1L, (long)depth, done, NULL);
        if (got < 1) {
            bench_die("io_getevents");
        }
        for (long k = 0; k < got; k++) {
            struct iocb *c = &cb[done[k].data];
            if (done[k].res != (int64_t)c->aio_nbytes) {
                errno = done[k].res < 0 ? (int)-done[k].res : EIO;
                bench_die("a transfer");
            }
            if (!write) {
                check(c);
            }
            ended++;
            if (started < n) {
                next(c, (unsigned)done[k].data, started++, &seed, random, write);
                some[fresh++] = c;
            }
        }
    }
    return n;
}

#define RUN(NAME, RANDOM, WRITE, DEPTH) \
    static uint64_t NAME(uint64_t n) \
    { \
        return transfer(n, RANDOM, WRITE, DEPTH); \
    }
RUN(seq_read_1, false, false, 1)
RUN(seq_read_32, false, false, 32)
RUN(seq_write_1, false, true, 1)
RUN(seq_write_32, false, true, 32)
RUN(rand_read_1, true, false, 1)
RUN(rand_read_32, true, false, 32)
RUN(rand_write_1, true, true, 1)
RUN(rand_write_32, true, true, 32)

#define EIGHT(KIND, DEV) \
    {KIND "-seq-read-1", 400, seq_read_1, prepare_##DEV, NEED_DISKS}, \
    {KIND "-seq-read-32", 400, seq_read_32, prepare_##DEV, NEED_DISKS}, \
    {KIND "-seq-write-1", 400, seq_write_1, prepare_##DEV, NEED_DISKS}, \
    {KIND "-seq-write-32", 400, seq_write_32, prepare_##DEV, NEED_DISKS}, \
    {KIND "-rand-read-1", 1000, rand_read_1, prepare_##DEV, NEED_DISKS}, \
    {KIND "-rand-read-32", 1000, rand_read_32, prepare_##DEV, NEED_DISKS}, \
    {KIND "-rand-write-1", 1000, rand_write_1, prepare_##DEV, NEED_DISKS}, \
    {KIND "-rand-write-32", 1000, rand_write_32, prepare_##DEV, NEED_DISKS}
/* The bench (disk.py) gives a guest a raw image as vda and a qcow2 image as vdb. */
const Workload bench_disk[] = { EIGHT("raw", vda), EIGHT("qcow2", vdb), {0} };
