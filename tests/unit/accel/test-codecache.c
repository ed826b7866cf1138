/* SPDX-License-Identifier: MIT
 * tests/unit/accel/test-codecache.c - memory for translated code: two views of the same bytes, of which none
 * is writable and executable, and how it is cut up.
 * Tests: accel/tcg/codecache.c.
 * Threads: main.
 */
#include "rhea/accel/codecache.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The rights of [at, at + size) in /proc/self/maps, "rw-" or so; "": they differ or a part is not mapped. */
static const char *rights_of(const void *at, size_t size, char text[4])
{
    g_autofree char *maps = NULL;
    uintptr_t next = (uintptr_t)at, end = next + size;
    text[0] = 0;
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
    for (char **l = lines; *l && next < end; l++) {
        unsigned long from, to;
        char r[5];
        if (sscanf(*l, "%lx-%lx %4s", &from, &to, r) != 3 || to <= next || from >= end) {
            continue;
        }
        if (from > next || (text[0] && strncmp(text, r, 3))) {
            return "";
        }
        memcpy(text, r, 3);
        text[3] = 0;
        next = to;
    }
    return next >= end ? text : "";
}

/* Mappings of the whole process that are writable and executable. */
static unsigned count_wx(void)
{
    g_autofree char *maps = NULL;
    unsigned n = 0;
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
    for (char **l = lines; *l; l++) {
        char r[5];
        n += sscanf(*l, "%*x-%*x %4s", r) == 1 && r[1] == 'w' && r[2] == 'x';
    }
    return n;
}

static void test_rights(void)
{
    CodeCache c;
    char text[4];
    unsigned before = count_wx();
    g_assert_true(codecache_init(&c, 1 << 20, 64 << 10, &error_abort_slot));
    g_assert_cmpstr(rights_of(c.rw, c.size, text), ==, "rw-");
    g_assert_cmpstr(rights_of(c.rx, c.size, text), ==, "r-x");
    g_assert_cmpuint(count_wx(), ==, before);
    uintptr_t rw = (uintptr_t)c.rw, rx = (uintptr_t)c.rx;
    g_assert_true(rw + c.size <= rx || rx + c.size <= rw);
    g_assert_true(c.rx_off == c.rx - c.rw);
    const uint8_t *was_rw = c.rw, *was_rx = c.rx;
    size_t size = c.size;
    codecache_fini(&c);
    g_assert_cmpstr(rights_of(was_rw, size, text), ==, "");
    g_assert_cmpstr(rights_of(was_rx, size, text), ==, "");
    codecache_fini(&c); /* nothing is left to unmap */
}

static void test_views(void)
{
    CodeCache c;
    g_assert_true(codecache_init(&c, 1 << 20, 64 << 10, &error_abort_slot));
    GRand *rand = g_rand_new_with_seed(3);
    for (size_t i = 0; i + 4 <= c.size; i += 4) {
        uint32_t v = g_rand_int(rand);
        memcpy(c.rw + i, &v, 4);
    }
    g_assert_cmpint(memcmp(c.rw, c.rx, c.size), ==, 0);
    c.rw[c.size - 1] ^= 0xff;
    g_assert_cmpuint(c.rx[c.size - 1], ==, c.rw[c.size - 1]);
    g_rand_free(rand);
    codecache_fini(&c);
}

#ifdef __x86_64__
typedef int (*Made)(void);

static Made put_code(uint8_t *rw, ptrdiff_t rx_off, uint32_t value)
{
    uint8_t code[6] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* MOV EAX, value; RET */
    memcpy(code + 1, &value, 4);
    memcpy(rw, code, sizeof(code));
    return (Made)(uintptr_t)(rw + rx_off);
}

/* What is written through one view runs in the other, in each segment and outside; changed code, too. */
static void test_runs(void)
{
    CodeCache c;
    g_assert_true(codecache_init(&c, 1 << 20, 1, &error_abort_slot));
    for (int i = 0; i < CODE_SEGMENTS; i++) {
        codecache_start_segment(&c, (unsigned)i);
        Made hot = put_code(c.hot, c.rx_off, 100 + (uint32_t)i);
        Made cold = put_code(c.cold_end - 6, c.rx_off, 200 + (uint32_t)i);
        g_assert_cmpint(hot(), ==, 100 + i);
        g_assert_cmpint(cold(), ==, 200 + i);
        put_code(c.hot, c.rx_off, 300 + (uint32_t)i);
        g_assert_cmpint(hot(), ==, 300 + i);
    }
    g_assert_cmpint(put_code(c.fixed, c.rx_off, 7)(), ==, 7);
    codecache_fini(&c);
}
#endif

static void check_layout(size_t size, size_t reserve)
{
    CodeCache c;
    const uint8_t *end = NULL;
    g_assert_true(codecache_init(&c, size, reserve, &error_abort_slot));
    g_assert_cmpuint(c.segment_size % page_size(), ==, 0);
    g_assert_cmpuint(c.reserve % page_size(), ==, 0);
    g_assert_cmpuint(c.reserve, >=, reserve);
    g_assert_cmpuint(c.reserve, <, reserve + page_size());
    g_assert_cmpuint(c.size, ==, c.segment_size * CODE_SEGMENTS + c.reserve);
    g_assert_cmpuint(c.size, >=, size / CODE_SEGMENTS * CODE_SEGMENTS + reserve);
    g_assert_cmpuint(c.segment, ==, 0); /* it is ready to be filled */
    g_assert_true(c.hot == c.rw);
    for (unsigned i = 0; i < CODE_SEGMENTS; i++) {
        codecache_start_segment(&c, i);
        g_assert_cmpuint(c.segment, ==, i);
        g_assert_true(i == 0 ? c.hot == c.rw : c.hot == end);
        g_assert_true(c.hot < c.hot_end && c.hot_end <= c.cold && c.cold < c.cold_end);
        g_assert_cmpuint((size_t)(c.cold_end - c.hot), ==, c.segment_size);
        g_assert_cmpuint(codecache_segment_of(&c, c.hot + c.rx_off), ==, i);
        g_assert_cmpuint(codecache_segment_of(&c, c.cold_end - 1 + c.rx_off), ==, i);
        memset(c.hot, (int)i, (size_t)(c.hot_end - c.hot)); /* all of it is there */
        memset(c.cold, (int)i, (size_t)(c.cold_end - c.cold));
        end = c.cold_end;
    }
    g_assert_true(c.fixed == end);
    g_assert_true(c.fixed + c.reserve == c.rw + c.size);
    g_assert_cmpuint(codecache_segment_of(&c, c.fixed + c.rx_off), >=, CODE_SEGMENTS);
    memset(c.fixed, 0x55, c.reserve);
    codecache_start_segment(&c, CODE_SEGMENTS - 1);
    g_assert_cmpuint(c.cold_end[-1], ==, CODE_SEGMENTS - 1); /* none was overwritten by others */
    codecache_fini(&c);
}

static void test_layout(void)
{
    size_t p = page_size();
    check_layout(1 << 20, 64 << 10);
    check_layout(8 * p, p);
    check_layout(8 * p + 1, p + 1); /* a page more in each segment */
    check_layout(8 * p - 1, p - 1);
    check_layout(12345678, 777);
    check_layout(1000, 1);
}

/* No room: an error with a cure, and nothing stays mapped. */
static void test_no_memory(void)
{
    CodeCache c;
    Error *err = NULL;
    g_assert_false(codecache_init(&c, (size_t)1 << 50, 1, &err)); /* more than an address space has */
    g_assert_nonnull(strstr(error_text(err), "KiB of translated code"));
    error_free(err);
    codecache_fini(&c);
    struct rlimit was, tight;
    err = NULL;
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &was), ==, 0);
    tight = was;
    tight.rlim_cur = 0;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &tight), ==, 0);
    g_assert_false(codecache_init(&c, 1 << 20, 1, &err));
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &was), ==, 0);
    g_assert_nonnull(strstr(error_text(err), "no memory for"));
    error_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/codecache/rights", test_rights);
    g_test_add_func("/accel/codecache/views", test_views);
#ifdef __x86_64__
    g_test_add_func("/accel/codecache/runs", test_runs);
#endif
    g_test_add_func("/accel/codecache/layout", test_layout);
    g_test_add_func("/accel/codecache/no-memory", test_no_memory);
    return g_test_run();
}
