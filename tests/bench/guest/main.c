/* SPDX-License-Identifier: MIT
 * main.c - takes commands from a line (a pipe natively, the serial console in a guest), runs workloads
 *
 * Commands: `list`; `clock`; `run NAME N REPS`; `jobs COUNT NAME N`; `script FILE N`; `said`; `quit`. Every
 * run happens in a child of its own, which prepares, says @@ready@@, waits for a line, and only then
 * starts its clock: the observer reads the emulator's CPU clock while the guest is idle on both sides.
 */
#include "bench.h"

#include <cpuid.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

const char *bench_self;

/* The end of what the last script printed, without marks; shared with the children. */
static struct Said {
    unsigned count;
    char text[600];
} *said;

static void say_on(unsigned char c)
{
    said->text[said->count++ % sizeof(said->text)] = c >= ' ' && c < 127 && c != '@' ? (char)c : ' ';
}

static void print_said(const char *head)
{
    unsigned size = sizeof(said->text), n = said->count < size ? said->count : size, at = said->count - n;
    printf("@@%s", head);
    for (unsigned i = 0; i < n; i++) {
        putchar(said->text[(at + i) % size]);
    }
    printf("@@\n");
}

static const struct {
    const char *name;
    const Workload *list;
} groups[] = {
    {"int", bench_int}, {"mem", bench_mem}, {"float", bench_float}, {"code", bench_code}, {"os", bench_os}, {"disk", bench_disk},
    {"net", bench_net}, {"draw", bench_draw},
};

void bench_die(const char *what)
{
    printf("@@fail %s: %s@@\n", what, strerror(errno));
    fflush(stdout);
    _exit(3);
}

void *bench_alloc(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) {
        bench_die("mmap");
    }
    return p;
}

static uint64_t now(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t usage(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return ((uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
            (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)) * 1000u;
}

/* This process and the children it has waited for. */
static uint64_t cpu_time(void)
{
    return now(CLOCK_PROCESS_CPUTIME_ID) + usage(RUSAGE_CHILDREN);
}

static bool disks_are_given;

/* What CPUID lacks for a workload, or NULL (SDM vol. 2A, CPUID leaves 1 and 7; AVX needs XCR0, too). */
static const char *missing(unsigned needs)
{
    __builtin_cpu_init();
    if ((needs & NEED_SSSE3) && !__builtin_cpu_supports("ssse3")) {
        return "no-ssse3";
    }
    unsigned a, b, c = 0, d;
    if ((needs & NEED_AES) && (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AES))) {
        return "no-aes";
    }
    if ((needs & NEED_AVX2) && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) {
        return "no-avx2";
    }
    if ((needs & NEED_DISKS) && !disks_are_given) {
        return "no-disks";
    }
    if ((needs & NEED_NET) && !getenv("BENCH_NET_user")) {
        return "no-net";
    }
    if ((needs & NEED_SCREEN) && !getenv("BENCH_SCREEN")) {
        return "no-screen";
    }
    return NULL;
}

static const Workload *find(const char *name)
{
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (const Workload *w = groups[g].list; w->name; w++) {
            if (strcmp(w->name, name) == 0) {
                return w;
            }
        }
    }
    return NULL;
}

static bool read_line(char *buf, size_t size)
{
    size_t n = 0;
    for (;;) {
        char c;
        ssize_t r = read(0, &c, 1);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r <= 0) {
            return false;
        }
        if (c == '\n') {
            buf[n] = 0;
            return true;
        }
        if (n + 1 < size) {
            buf[n++] = c;
        }
    }
}

static void await_go(void)
{
    char line[16];
    printf("@@ready@@\n");
    fflush(stdout);
    if (!read_line(line, sizeof(line))) {
        _exit(4);
    }
}

static void run_child(const Workload *w, uint64_t n, uint64_t reps)
{
    if (w->prepare) {
        w->prepare();
    }
    await_go();
    uint64_t wall = now(CLOCK_MONOTONIC), cpu = cpu_time(), sum = w->run(n);
    for (uint64_t i = 1; i < reps; i++) {
        if (w->run(n) != sum) {
            printf("@@fail sums of repetitions differ@@\n");
            fflush(stdout);
            _exit(3);
        }
    }
    cpu = cpu_time() - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    printf("@@end %016llx %llu %llu@@\n", (unsigned long long)sum, (unsigned long long)wall,
           (unsigned long long)cpu);
    fflush(stdout);
    _exit(0);
}

/* Several processes do the same at once; each must compute the same sum. */
static void jobs_child(const Workload *w, uint64_t n, unsigned count)
{
    int start[2], result[2];
    if (pipe(start) || pipe(result)) {
        bench_die("pipe");
    }
    for (unsigned i = 0; i < count; i++) {
        if (fork() == 0) {
            char c;
            if (w->prepare) {
                w->prepare();
            }
            uint64_t sum = read(start[0], &c, 1) == 1 ? w->run(n) : 0;
            _exit(write(result[1], &sum, sizeof(sum)) != sizeof(sum));
        }
    }
    usleep(200000); /* the children prepare */
    await_go();
    uint64_t wall = now(CLOCK_MONOTONIC), cpu = cpu_time(), sum = 0;
    for (unsigned i = 0; i < count; i++) {
        if (write(start[1], "g", 1) != 1) {
            bench_die("write");
        }
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t one;
        if (read(result[0], &one, sizeof(one)) != sizeof(one)) {
            bench_die("read");
        }
        if (i > 0 && one != sum) {
            printf("@@fail sums of jobs differ@@\n");
            fflush(stdout);
            _exit(3);
        }
        sum = one;
    }
    wall = now(CLOCK_MONOTONIC) - wall;
    while (wait(NULL) > 0) {
    }
    cpu = cpu_time() - cpu;
    printf("@@end %016llx %llu %llu@@\n", (unsigned long long)sum, (unsigned long long)wall,
           (unsigned long long)cpu);
    fflush(stdout);
    _exit(0);
}

/* A shell script does the work; the sum is that of what it prints. */
static void script_child(const char *file, const char *n)
{
    await_go();
    uint64_t wall = now(CLOCK_MONOTONIC), cpu = cpu_time(), sum = 0;
    int out[2];
    if (pipe(out)) {
        bench_die("pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        close(out[0]);
        close(out[1]);
        signal(SIGPIPE, SIG_DFL);
        if (chdir("/tmp")) {
            _exit(126);
        }
        execl("/bin/sh", "sh", file, n, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    unsigned char buf[4096];
    ssize_t r;
    said->count = 0;
    while ((r = read(out[0], buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < r; i++) {
            sum = bench_mix(sum, buf[i]);
            say_on(buf[i]);
        }
    }
    int status;
    waitpid(pid, &status, 0);
    cpu = cpu_time() - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    if (status != 0) {
        print_said("fail the script ended with an error: ");
    } else {
        printf("@@end %016llx %llu %llu@@\n", (unsigned long long)sum, (unsigned long long)wall,
               (unsigned long long)cpu);
    }
    fflush(stdout);
    _exit(status != 0 ? 3 : 0);
}

static void list(void)
{
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (const Workload *w = groups[g].list; w->name; w++) {
            const char *lack = missing(w->needs);
            printf("@@w %s %s %llu %s@@\n", groups[g].name, w->name, (unsigned long long)w->base,
                   lack ? lack : "yes");
        }
    }
    printf("@@done@@\n");
}

static void supervise(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        printf("@@fail signal %d@@\n", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3) {
        printf("@@fail exit status %d@@\n", WEXITSTATUS(status));
    }
}

static void command(char *line)
{
    char name[64], file[128], count_text[24];
    unsigned long long n, reps;
    unsigned count = 1;
    if (strcmp(line, "list") == 0) {
        list();
        return;
    }
    if (strcmp(line, "clock") == 0) {
        printf("@@clock %llu@@\n", (unsigned long long)now(CLOCK_MONOTONIC));
        return;
    }
    if (strcmp(line, "said") == 0) {
        print_said("said ");
        return;
    }
    bool run = sscanf(line, "run %63s %llu %llu", name, &n, &reps) == 3;
    bool jobs = !run && sscanf(line, "jobs %u %63s %llu", &count, name, &n) == 3;
    bool script = !run && !jobs && sscanf(line, "script %127s %23s", file, count_text) == 2;
    const Workload *w = run || jobs ? find(name) : NULL;
    if (!script && (!w || missing(w->needs) || count == 0 || count > 64)) {
        printf("@@fail cannot do '%s'@@\n", line);
        return;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (script) {
            script_child(file, count_text);
        } else if (jobs) {
            jobs_child(w, n, count);
        } else {
            run_child(w, n, reps);
        }
    }
    supervise(pid);
}

int main(int argc, char **argv)
{
    static char self[PATH_MAX];
    if (argc > 1 && strcmp(argv[1], "--nothing") == 0) {
        return 7; /* what the exec workload starts */
    }
    disks_are_given = argc > 1 && strcmp(argv[1], "--disks") == 0;
    bench_self = realpath(argv[0], self) ? self : argv[0];
    said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (said == MAP_FAILED) {
        return 1;
    }
    struct termios t;
    if (tcgetattr(0, &t) == 0) {
        cfmakeraw(&t);
        t.c_oflag |= OPOST | ONLCR;
        tcsetattr(0, TCSANOW, &t);
    }
    signal(SIGPIPE, SIG_IGN);
    printf("@@hello@@\n");
    fflush(stdout);
    char line[256];
    while (read_line(line, sizeof(line)) && strcmp(line, "quit") != 0) {
        command(line);
        fflush(stdout);
    }
    return 0;
}
