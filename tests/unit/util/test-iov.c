/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-iov.c - I/O vectors against a flat buffer.
 */
#include "rhea/util/iov.h"
#include <glib.h>
#include <string.h>

static void test_add(void)
{
    char a[8] = "abcdefg", b[4] = "xyz";
    IoVec v;
    iov_init(&v);
    iov_add(&v, a, 0);
    g_assert_cmpuint(v.n, ==, 0);
    iov_add(&v, a, 4);
    iov_add(&v, a + 4, 4); /* neighbours join */
    g_assert_cmpuint(v.n, ==, 1);
    iov_add(&v, b, 2);
    iov_add(&v, b + 3, 1);
    g_assert_cmpuint(v.n, ==, 3);
    g_assert_cmpuint(v.bytes, ==, 11);
    struct iovec *room = v.iov;
    iov_clear(&v); /* fills up again where it was */
    g_assert_cmpuint(v.n, ==, 0);
    g_assert_cmpuint(v.bytes, ==, 0);
    iov_add(&v, b, 2);
    iov_add(&v, a, 1);
    g_assert_true(v.iov == room && v.iov[0].iov_base == b && v.iov[1].iov_base == a);
    g_assert_cmpuint(v.bytes, ==, 3);
    iov_fini(&v);
    g_assert_cmpuint(v.bytes, ==, 0);
    iov_init_buf(&v, a, 4); /* without an array of its own */
    iov_clear(&v);
    iov_add(&v, b, 2);
    g_assert_true(v.n == 1 && v.iov[0].iov_base == b && v.bytes == 2);
    iov_fini(&v);
}

/* Random vectors: every operation gives what the same one gives on a flat copy. */
static void test_random(void)
{
    for (int round = 0; round < 500; round++) {
        uint8_t mem[256], flat[256], buf[256];
        for (unsigned i = 0; i < sizeof(mem); i++) {
            mem[i] = (uint8_t)g_random_int();
        }
        IoVec v, slice;
        iov_init(&v);
        size_t at = 0;
        while (at < sizeof(mem)) { /* reversed pieces, so that they never join */
            size_t len = (size_t)g_random_int_range(1, 40);
            len = MIN(len, sizeof(mem) - at);
            iov_add(&v, mem + sizeof(mem) - at - len, len);
            memcpy(flat + at, mem + sizeof(mem) - at - len, len);
            at += len;
        }
        size_t off = (size_t)g_random_int_range(0, 256), len = (size_t)g_random_int_range(0, 257 - (int)off);
        iov_to_buf(&v, off, buf, len);
        g_assert_cmpmem(buf, len, flat + off, len);
        iov_init(&slice);
        iov_add_slice(&slice, &v, off, len);
        g_assert_cmpuint(slice.bytes, ==, len);
        iov_to_buf(&slice, 0, buf, len);
        g_assert_cmpmem(buf, len, flat + off, len);
        iov_fini(&slice);
        iov_fill(&v, off, 0, len);
        memset(flat + off, 0, len);
        g_assert_true(iov_is_zero(&v, off, len));
        iov_to_buf(&v, 0, buf, sizeof(buf));
        g_assert_cmpmem(buf, sizeof(buf), flat, sizeof(flat));
        g_assert_true(iov_is_zero(&v, 0, 256) == buf_is_zero(flat, 256));
        iov_from_buf(&v, off, mem, 0);
        iov_fini(&v);
    }
}

static void test_zero(void)
{
    uint8_t *buf = g_malloc0(4096);
    for (size_t len = 0; len < 100; len++) {
        g_assert_true(buf_is_zero(buf, len));
        for (size_t i = 0; i < len; i++) {
            buf[i] = 1;
            g_assert_false(buf_is_zero(buf, len));
            buf[i] = 0;
        }
    }
    buf[4095] = 0x80;
    g_assert_false(buf_is_zero(buf, 4096));
    g_assert_true(buf_is_zero(buf, 4095));
    g_free(buf);
}

static void test_aligned(void)
{
    uint8_t *buf = g_aligned_alloc(1, 8192, 4096);
    IoVec v;
    iov_init_buf(&v, buf, 4096);
    g_assert_true(iov_is_aligned(&v, 512));
    iov_init_buf(&v, buf + 1, 512);
    g_assert_false(iov_is_aligned(&v, 512));
    iov_init_buf(&v, buf, 513);
    g_assert_false(iov_is_aligned(&v, 512));
    g_aligned_free(buf);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iov/add", test_add);
    g_test_add_func("/iov/random", test_random);
    g_test_add_func("/iov/zero", test_zero);
    g_test_add_func("/iov/aligned", test_aligned);
    return g_test_run();
}
