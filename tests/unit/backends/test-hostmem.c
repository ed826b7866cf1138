/* SPDX-License-Identifier: MIT
 * tests/unit/backends/test-hostmem.c - memory backends: backends/hostmem/core.c, map.c, prealloc.c, and
 * machine_init_ram() of system/machine.c.
 */
#include "chartest.h"
#include "rhea/backends/hostmem.h"
#include "rhea/backends/object.h"
#include "rhea/schema/type.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MB = 1 << 20 };

static HostMem *make(Fixture *f, const char *text, Error **errp)
{
    bool from_text;
    g_autoptr(Json) j = keyval_parse(text, "qom-type", &from_text, &error_abort_slot);
    bool made = object_new_json(f->m, j, from_text, false, errp);
    return made ? f->m->hostmems->pdata[f->m->hostmems->len - 1] : NULL;
}

static RamBlock *claim(Fixture *f, const char *text)
{
    make(f, text, &error_abort_slot);
    RamBlock *ram = hostmem_claim(f->m, "a", "the test", &error_abort_slot);
    g_assert_nonnull(ram);
    return ram;
}

static void done(Fixture *f, RamBlock *ram)
{
    ram_unref(ram);
    hostmem_remove_all(f->m);
    rcu_barrier();
}

/* The line `key` of the mapping that holds addr, from /proc/self/smaps; g_free. */
static char *smaps(const void *addr, const char *key)
{
    g_autofree char *all = NULL;
    g_assert_true(g_file_get_contents("/proc/self/smaps", &all, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(all, "\n", -1);
    bool inside = false;
    size_t n = strlen(key);
    for (char **l = lines; *l; l++) {
        unsigned long from, to;
        if (sscanf(*l, "%lx-%lx ", &from, &to) == 2) {
            inside = (unsigned long)addr >= from && (unsigned long)addr < to;
        } else if (inside && !strncmp(*l, key, n) && (*l)[n] == ':') {
            return g_strdup(*l + n + 1);
        }
    }
    return NULL;
}

static bool has_flag(const void *addr, const char *flag)
{
    g_autofree char *flags = smaps(addr, "VmFlags");
    return flags && strstr(flags, flag);
}

static bool resident(const RamBlock *ram)
{
    g_autofree unsigned char *vec = g_malloc(ram->size / 4096);
    g_assert_cmpint(mincore(ram->host, ram->size, vec), ==, 0);
    uint64_t n = 0;
    for (uint64_t i = 0; i < ram->size / 4096; i++) {
        n += vec[i] & 1;
    }
    g_assert_true(n == 0 || n == ram->size / 4096);
    return n > 0;
}

static void test_ram(Fixture *f, gconstpointer data)
{
    RamBlock *ram = claim(f, "memory-backend-ram,id=a,size=4M");
    g_assert_cmpuint(ram->size, ==, 4 * MB);
    g_assert_cmpint(ram->fd, ==, -1);
    g_assert_cmpstr(ram->name, ==, "a");
    g_assert_false(resident(ram));
    g_assert_cmpuint((uintptr_t)ram->host % (2 * MB), ==, 0);
    Error *err = NULL;
    g_assert_null(hostmem_claim(f->m, "a", "another", &err));
    g_assert_cmpstr(error_text(err), ==, "memory backend 'a' is used already, by the test");
    error_free(err);
    done(f, ram);
}

static void test_advice(Fixture *f, gconstpointer data)
{
    RamBlock *ram = claim(f, "memory-backend-ram,id=a,size=4M,dump=off,prealloc=on,reserve=off");
    g_assert_true(ram->dump_given && !ram->merge_given);
    g_assert_true(has_flag(ram->host, " dd"));
    g_assert_true(has_flag(ram->host, " nr"));
    g_assert_true(resident(ram));
    done(f, ram);
    Error *err = NULL;
    if (make(f, "memory-backend-ram,id=a,size=4M,merge=on,dump=on", &err)) {
        ram = hostmem_claim(f->m, "a", "the test", &error_abort_slot);
        g_assert_true(ram->dump_given && ram->merge_given);
        g_assert_true(has_flag(ram->host, " mg") && !has_flag(ram->host, " dd"));
        g_assert_false(has_flag(ram->host, " nr"));
        done(f, ram);
    } else { /* a host without KSM */
        g_assert_cmpint(error_errno(err), ==, EINVAL);
        error_free(err);
    }
}

static void test_shared(Fixture *f, gconstpointer data)
{
    g_autofree char *text = g_strdup_printf("%s,id=a,size=4M,share=on", (const char *)data + 1);
    RamBlock *ram = claim(f, text);
    uint32_t v = 0;
    g_assert_cmpint(ram->fd, >=, 0);
    ram->host[5] = 0x5a;
    g_assert_cmpint(pread(ram->fd, &v, 1, 5), ==, 1);
    g_assert_cmphex(v, ==, 0x5a);
    if (strstr(data, "memfd")) {
        g_assert_cmpint(fcntl(ram->fd, F_GET_SEALS), ==, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
    }
    done(f, ram);
    if (strstr(data, "memfd")) {
        ram = claim(f, "memory-backend-memfd,id=a,size=4M,seal=off");
        g_assert_cmpint(fcntl(ram->fd, F_GET_SEALS), ==, F_SEAL_SEAL);
        done(f, ram);
    }
}

static void test_file(Fixture *f, gconstpointer data)
{
    g_autofree char *path = fixture_path(f, "ram"), *text = NULL;
    text = g_strdup_printf("memory-backend-file,id=a,size=4M,mem-path=%s,share=on,align=16M,prealloc=on",
                           path);
    RamBlock *ram = claim(f, text);
    g_assert_cmpuint((uintptr_t)ram->host % (16 * MB), ==, 0);
    g_assert_true(resident(ram));
    strcpy((char *)ram->host + 4096, "stays");
    done(f, ram);
    struct stat st;
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 4 * MB);
    /* private: the file gives what is there, and stays as it is, also when it is opened for reading only */
    for (unsigned ro = 0; ro < 2; ro++) {
        g_free(text);
        text = g_strdup_printf("memory-backend-file,id=a,size=2M,mem-path=%s,readonly=%s", path,
                               ro ? "on" : "off");
        ram = claim(f, text);
        g_assert_cmpint(ram->fd, ==, -1);
        g_assert_cmpstr((char *)ram->host + 4096, ==, "stays");
        strcpy((char *)ram->host + 4096, "gone");
        done(f, ram);
    }
    g_free(text);
    text = g_strdup_printf("memory-backend-file,id=a,size=4M,mem-path=%s,share=on,discard-data=on", path);
    ram = claim(f, text);
    g_assert_cmpstr((char *)ram->host + 4096, ==, "stays");
    done(f, ram);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 4 * MB);
    g_assert_cmpint(st.st_blocks, <, 64); /* its space came back */
}

static void test_folder(Fixture *f, gconstpointer data)
{
    g_autofree char *text =
        g_strdup_printf("memory-backend-file,id=a,size=4M,mem-path=%s,share=on", f->dir);
    RamBlock *ram = claim(f, text);
    struct stat st;
    g_assert_cmpint(fstat(ram->fd, &st), ==, 0);
    g_assert_cmpint(st.st_nlink, ==, 0);
    done(f, ram);
}

/* Text after "memory-backend-", the error's beginning. %s: the fixture's folder. */
static const struct { const char *options, *error;
} wrong[] = {
    { "ram,size=4M", "'id'" },
    { "ram,id=9,size=4M", "id '9' is not a name" },
    { "ram,id=a", "'size'" },
    { "ram,id=a,size=0", "'size'" },
    { "ram,id=a,size=4097", "'size' must be a multiple of 4 KiB" },
    { "ram,id=a,size=4M,mem-path=/x", "'mem-path' is unknown" },
    { "ram,id=a,size=4M,share=on,merge=on", "merge=on with share=on" },
    { "ram,id=a,size=4M,host-nodes=0", "'host-nodes' does not go with policy=default" },
    { "ram,id=a,size=4M,policy=bind", "policy=bind needs 'host-nodes'" },
    { "ram,id=a,size=4M,policy=bind,host-nodes=x", "'host-nodes' is neither" },
    { "ram,id=a,size=4M,policy=bind,host-nodes=3-1", "'host-nodes': 3-1 is not within" },
    { "ram,id=a,size=4M,policy=bind,host-nodes=5000", "'host-nodes': 5000-5000 is not within" },
    { "ram,id=a,size=4M,policy=bind,host-nodes=1023", "policy=bind could not be set" },
    { "ram,id=a,size=4M,prealloc=off,prealloc-threads=2", "'prealloc-threads' does not go" },
    { "ram,id=a,size=4M,prealloc-context=x", "'prealloc-context' is not supported" },
    { "ram,id=a,size=7E", "the address space has no room" },
    { "memfd,id=a,size=4M,hugetlbsize=2M", "'hugetlbsize' goes with" },
    { "memfd,id=a,size=4M,hugetlb=on,hugetlbsize=3M", "'hugetlbsize' must be a power of two" },
    { "memfd,id=a,size=4M,hugetlb=on,hugetlbsize=8M", "the host's kernel made no memory file of huge pages" },
    { "memfd,id=a,size=3M,hugetlb=on,hugetlbsize=2M", "'size' must be a multiple of the huge pages'" },
    { "file,id=a,size=4M", "'mem-path'" },
    { "file,id=a,size=4M,mem-path=%s/no/f", "could not open" },
    { "file,id=a,size=4M,mem-path=/dev/null", "'/dev/null' is neither a file nor a folder" },
    { "file,id=a,size=4M,mem-path=%s,readonly=on", "readonly=on needs a file" },
    { "file,id=a,size=4M,mem-path=%s/none,readonly=on", "could not open" },
    { "file,id=a,size=4M,mem-path=%s/f,readonly=on,share=on", "readonly=on with share=on" },
    { "file,id=a,size=4M,mem-path=%s/f,discard-data=on", "discard-data=on with share=off" },
    { "file,id=a,size=4M,mem-path=%s/f,align=3M", "'align' must be a power of two" },
    { "file,id=a,size=4M,mem-path=%s/f,pmem=on", "'pmem' is not supported" },
    { "file,id=a,size=4M,mem-path=%s/small", "'*' has 4096" },
};

static void test_wrong(Fixture *f, gconstpointer data)
{
    g_autofree char *small = fixture_path(f, "small"), *none = fixture_path(f, "f");
    g_assert_true(g_file_set_contents(small, "x", 1, NULL));
    g_assert_cmpint(truncate(small, 4096), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_auto(GStrv) part = g_strsplit(wrong[i].options, "%s", 2);
        g_autofree char *text = g_strconcat("memory-backend-", part[0], part[1] ? f->dir : "", part[1], NULL);
        Error *err = NULL;
        g_assert_null(make(f, text, &err));
        const char *star = strchr(wrong[i].error, '*');
        g_test_message("%s: %s", text, error_text(err));
        if (star) {
            g_assert_nonnull(strstr(error_text(err), "' has 4 KiB, and 'size' is 4 MiB"));
            g_assert_cmpstr(error_hint_text(err), ==, "use size=4096b, or another file");
        } else if (!g_str_has_prefix(error_text(err), wrong[i].error)) {
            g_assert_cmpstr(error_text(err), ==, wrong[i].error);
        }
        error_free(err);
        g_assert_false(f->m->hostmems && f->m->hostmems->len);
        g_assert_cmpint(access(none, F_OK), ==, -1);
    }
    Error *err = NULL;
    make(f, "memory-backend-ram,id=a,size=4M", &error_abort_slot);
    g_assert_null(make(f, "memory-backend-ram,id=a,size=4M", &err));
    g_assert_cmpstr(error_text(err), ==, "there is already an object with id 'a'");
    error_free(err);
    hostmem_remove_all(f->m);
}

/* A file that failed to get its space is not left behind. The limit of file sizes stands for a full disk. */
static void test_no_space(Fixture *f, gconstpointer data)
{
    struct rlimit was, now;
    g_autofree char *path = fixture_path(f, "full");
    g_autofree char *text = g_strdup_printf("memory-backend-file,id=a,size=4M,mem-path=%s,share=on", path);
    Error *err = NULL;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    now = (struct rlimit){ MB, was.rlim_max };
    setrlimit(RLIMIT_FSIZE, &now);
    HostMem *h = make(f, text, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    g_assert_null(h);
    g_assert_cmpint(error_errno(err), ==, EFBIG);
    g_assert_cmpint(access(path, F_OK), ==, -1);
    error_free(err);
}

static void count_progress(void *opaque, uint64_t bytes)
{
    *(uint64_t *)opaque = bytes;
}

/* data: page by page. The part of a mapping behind the end of its file is SIGBUS, as when memory runs out. */
static void test_fill(Fixture *f, gconstpointer data)
{
    enum { SIZE = 40 * MB };
    int fd = memfd_create("fill", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    uint8_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p[123] = 7;
    uint64_t seen = UINT64_MAX;
    HostMemFill fill = { .host = p, .size = SIZE, .page = 4096, .threads = 3, .touch = data != NULL,
                         .progress = count_progress, .opaque = &seen, .progress_ms = 1 };
    g_assert_true(hostmem_fill(&fill, &error_abort_slot));
    struct stat st;
    fstat(fd, &st);
    g_assert_cmpint(st.st_blocks, ==, SIZE / 512);
    g_assert_cmpuint(p[123], ==, 7);
    g_assert_true(seen == UINT64_MAX || seen <= SIZE);
    Error *err = NULL;
    g_assert_cmpint(ftruncate(fd, 8 * MB), ==, 0);
    g_assert_false(hostmem_fill(&fill, &err));
    g_assert_true(
        g_str_has_prefix(error_text(err), "allocating memory failed: no memory or space is left; "));
    error_free(err);
    munmap(p, SIZE);
    close(fd);
}

/* What ends the program ends it here too. */
static void test_interrupted(Fixture *f, gconstpointer data)
{
    enum { SIZE = 512 * MB };
    sigset_t term, was;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, &was);
    int fd = memfd_create("fill", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    uint8_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    HostMemFill fill = { .host = p, .size = SIZE, .page = 4096, .threads = 1 };
    Error *err = NULL;
    raise(SIGTERM);
    bool ok = hostmem_fill(&fill, &err); /* a fast host is through before anybody looks */
    g_assert_true(ok || g_str_equal(error_text(err), "allocating memory was interrupted"));
    error_free(err);
    int sig;
    sigwait(&term, &sig);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    munmap(p, SIZE);
    close(fd);
}

static void test_machine(void)
{
    TestMachine *tm = tm_prepare(&board_none);
    bool from_text;
    g_autoptr(Json) j = keyval_parse("memory-backend-memfd,id=mem0,size=8M", "qom-type", &from_text, NULL);
    hostmem_new_json(tm->m, j, from_text, false, &error_abort_slot);
    tm->m->ram_given = hostmem_claim(tm->m, "mem0", "the test", &error_abort_slot);
    tm->m->ram_size = 8 * MB;
    tm_build(tm);
    tm_write(tm, 0x1000, 4, 0x12345678);
    uint32_t v = 0;
    g_assert_cmpint(pread(tm->m->ram->fd, &v, 4, 0x1000), ==, 4);
    g_assert_cmphex(v, ==, 0x12345678);
    g_assert_true(tm->m->ram == tm->m->ram_given);
    hostmem_remove_all(tm->m);
    tm_free(tm);
}

#define ADD(name, data)                                                                                      \
    g_test_add("/hostmem/" #name data, Fixture, *data ? data : NULL, fixture_up, test_##name, \
               fixture_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(ram, "");
    ADD(advice, "");
    ADD(shared, "/memory-backend-ram");
    ADD(shared, "/memory-backend-memfd");
    ADD(file, "");
    ADD(folder, "");
    ADD(wrong, "");
    ADD(no_space, "");
    ADD(fill, "");
    ADD(fill, "/touch");
    ADD(interrupted, "");
    g_test_add_func("/hostmem/machine", test_machine);
    return g_test_run();
}
