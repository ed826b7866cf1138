/* SPDX-License-Identifier: MIT
 * os.c - paths through the operating system: system calls, faults, processes, threads, signals
 */
#include "bench.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static uint64_t run_getppid(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += syscall(SYS_getppid) > 0;
    }
    return sum;
}

static uint64_t run_gettime(uint64_t n)
{
    uint64_t sum = 0;
    struct timespec last = {0}, t;
    for (uint64_t i = 0; i < n; i++) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        sum += t.tv_sec > last.tv_sec || (t.tv_sec == last.tv_sec && t.tv_nsec >= last.tv_nsec);
        last = t;
    }
    return sum;
}

static uint64_t run_pagefault(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i += 64) {
        uint64_t pages = n - i < 64 ? n - i : 64;
        volatile uint8_t *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
            bench_die("mmap");
        }
        for (uint64_t k = 0; k < pages; k++) {
            sum += p[k * PAGE] + 1u;
            p[k * PAGE] = (uint8_t)i;
        }
        munmap((void *)p, 64 * PAGE);
    }
    return sum;
}

static uint64_t run_mmap(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *p = mmap(NULL, 16 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED || munmap(p, 16 * PAGE)) {
            bench_die("mmap");
        }
        sum += i;
    }
    return sum;
}

static uint8_t *area;

static void prepare_area(void)
{
    area = bench_alloc(256 * PAGE);
    memset(area, 1, 256 * PAGE);
}

static uint64_t run_mprotect(uint64_t n)
{
    uint64_t sum = 0;
    area[0] = 1;
    for (uint64_t i = 0; i < n; i++) {
        if (mprotect(area, 4 * PAGE, PROT_READ)) {
            bench_die("mprotect");
        }
        sum += area[0];
        if (mprotect(area, 4 * PAGE, PROT_READ | PROT_WRITE)) {
            bench_die("mprotect");
        }
        area[0] = (uint8_t)i;
    }
    return sum;
}

static uint64_t reap(pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        bench_die("fork or wait");
    }
    return (uint64_t)status;
}

static uint64_t run_fork(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit((int)(i & 63));
        }
        sum += reap(pid);
    }
    return sum;
}

static __attribute__((noinline)) pid_t start_self(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl(bench_self, bench_self, "--nothing", (char *)NULL);
        _exit(99);
    }
    return pid;
}

static uint64_t run_exec(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += reap(start_self());
    }
    return sum;
}

/* A token goes round between two processes; each touches `pages` pages of its own in between. */
static uint64_t ping_pong(uint64_t n, unsigned pages)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back)) {
        bench_die("pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        bench_die("fork");
    }
    int in = pid ? back[0] : there[0], out = pid ? there[1] : back[1];
    uint32_t token = 1;
    for (uint64_t i = 0; i < n; i++) {
        if (pid && write(out, &token, sizeof(token)) != sizeof(token)) {
            bench_die("write");
        }
        if (read(in, &token, sizeof(token)) != sizeof(token)) {
            bench_die("read");
        }
        for (unsigned k = 0; k < pages; k++) {
            token += area[k * PAGE + (token & 63)]++;
        }
        token = token * 1664525u + 1013904223u;
        if (!pid && write(out, &token, sizeof(token)) != sizeof(token)) {
            bench_die("write");
        }
    }
    if (!pid) {
        _exit(0);
    }
    reap(pid);
    close(there[0]), close(there[1]), close(back[0]), close(back[1]);
    return token;
}

static uint64_t run_pipe(uint64_t n)
{
    return ping_pong(n, 0);
}

static uint64_t run_pipe_ws(uint64_t n)
{
    memset(area, 1, 256 * PAGE);
    return ping_pong(n, 256);
}

static volatile uint64_t caught;

static void on_signal(int sig)
{
    caught += (uint64_t)sig;
}

static uint64_t run_signal(uint64_t n)
{
    caught = 0;
    signal(SIGUSR1, on_signal);
    for (uint64_t i = 0; i < n; i++) {
        kill(getpid(), SIGUSR1);
    }
    return caught;
}

static uint32_t turn;
static uint64_t rounds;

static void take_turns(uint32_t mine)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t t;
        while ((t = __atomic_load_n(&turn, __ATOMIC_ACQUIRE)) != mine) {
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, t, NULL, NULL, 0);
        }
        __atomic_store_n(&turn, !mine, __ATOMIC_RELEASE);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *other_thread(void *arg)
{
    take_turns(1);
    return arg;
}

static uint64_t run_futex(uint64_t n)
{
    pthread_t t;
    turn = 0;
    rounds = n;
    if (pthread_create(&t, NULL, other_thread, NULL)) {
        bench_die("pthread_create");
    }
    take_turns(0);
    pthread_join(t, NULL);
    return n + turn;
}

static void *short_thread(void *arg)
{
    return (char *)arg + 1;
}

static uint64_t run_thread(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        pthread_t t;
        void *r;
        if (pthread_create(&t, NULL, short_thread, (char *)NULL + i) || pthread_join(t, &r)) {
            bench_die("pthread_create");
        }
        sum += (uint64_t)((char *)r - (char *)NULL);
    }
    return sum;
}

/* In the current folder, which the caller removes. */
static char path[] = "file-XX" "XXXX";

static void prepare_file(void)
{
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, "hello", 5) != 5) {
        bench_die(path);
    }
    close(fd);
}

static uint64_t run_stat(uint64_t n)
{
    struct stat st;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (stat(path, &st)) {
            bench_die("stat");
        }
        sum += (uint64_t)st.st_size;
    }
    return sum;
}

static uint64_t run_open(uint64_t n)
{
    uint64_t sum = 0;
    char buf[16];
    for (uint64_t i = 0; i < n; i++) {
        int fd = open(path, O_RDONLY);
        ssize_t r = read(fd, buf, sizeof(buf));
        if (fd < 0 || r != 5) {
            bench_die("open");
        }
        sum += (uint64_t)buf[i % 5];
        close(fd);
    }
    return sum;
}

/* A file in memory, the same file system everywhere: 64 KB written and read. */
static uint64_t run_file(uint64_t n)
{
    static uint8_t buf[65536];
    int fd = memfd_create("bench", 0);
    uint64_t sum = 0;
    if (fd < 0) {
        bench_die("memfd_create");
    }
    for (uint64_t i = 0; i < n; i++) {
        buf[i & 65535] += 3;
        if (pwrite(fd, buf, sizeof(buf), (off_t)(i & 7) * 65536) != sizeof(buf) ||
            pread(fd, buf, sizeof(buf), (off_t)(i & 7) * 65536) != sizeof(buf)) {
            bench_die("pread or pwrite");
        }
        sum += buf[i * 3 & 65535];
    }
    close(fd);
    memset(buf, 0, sizeof(buf));
    return sum;
}

const Workload bench_os[] = {
    {"nothing", 1, run_getppid, NULL, 0},
    {"getppid", 100000, run_getppid, NULL, 0},
    {"gettime", 300000, run_gettime, NULL, 0},
    {"pagefault", 10000, run_pagefault, NULL, 0},
    {"mmap", 10000, run_mmap, NULL, 0},
    {"mprotect", 5000, run_mprotect, prepare_area, 0},
    {"fork", 100, run_fork, NULL, 0},
    {"exec", 50, run_exec, NULL, NEED_PROC},
    {"pipe", 2000, run_pipe, NULL, 0},
    {"pipe-1mb", 1000, run_pipe_ws, prepare_area, 0},
    {"signal", 10000, run_signal, NULL, 0},
    {"futex", 2000, run_futex, NULL, 0},
    {"thread", 500, run_thread, NULL, 0},
    {"stat", 20000, run_stat, prepare_file, 0},
    {"open", 10000, run_open, prepare_file, 0},
    {"file", 500, run_file, NULL, 0},
    {0},
};
