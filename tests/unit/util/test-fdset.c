/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-fdset.c - sets of descriptors: numbers, copies with the access that is asked for, and
 * when a set ends. Covers util/fdset.c.
 */
#include "rhea/util/fdset.h"
#include "rhea/util/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *file; /* of ten bytes */

static int open_file(int flags)
{
    int fd = open(file, flags | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static bool is_closed(int fd)
{
    return fcntl(fd, F_GETFD) < 0 && errno == EBADF;
}

static off_t length(void)
{
    struct stat st;
    g_assert_cmpint(stat(file, &st), ==, 0);
    return st.st_size;
}

static void count_entry(const FdsetEntry *e, void *opaque)
{
    ++*(unsigned *)opaque;
}

static unsigned count(void)
{
    unsigned n = 0;
    fdset_foreach(count_entry, &n);
    return n;
}

static void add(uint64_t set, int fd)
{
    g_assert_true(fdset_add(set, fd, NULL, &error_abort_slot));
}

static void test_numbers(void)
{
    Error *err = NULL;
    g_assert_cmpuint(fdset_unused(), ==, 0);
    add(1, open_file(O_RDONLY));
    g_assert_cmpuint(fdset_unused(), ==, 0);
    add(0, open_file(O_RDONLY));
    add(1, open_file(O_RDWR));
    add(3, open_file(O_RDWR));
    g_assert_cmpuint(fdset_unused(), ==, 2);
    int fd = open_file(O_RDWR);
    g_assert_false(fdset_add(UINT64_MAX, fd, NULL, &err));
    g_assert_true(is_closed(fd));
    g_clear_pointer(&err, error_free);
    g_assert_false(fdset_remove(2, -1, &err));
    g_clear_pointer(&err, error_free);
    g_assert_false(fdset_remove(1, 12345, &err));
    g_clear_pointer(&err, error_free);
    g_assert_true(fdset_remove(1, -1, &error_abort_slot));
    g_assert_cmpuint(count(), ==, 2);
    fdset_clear();
    for (int i = 0; i < 256; i++) {
        add(7, open_file(O_RDONLY));
    }
    g_assert_false(fdset_add(7, open_file(O_RDONLY), NULL, &err));
    g_assert_nonnull(strstr(error_text(err), "256"));
    error_free(err);
    fdset_clear();
    g_assert_cmpuint(count(), ==, 0);
}

static void hint_says(const char *path, int flags, const char *what)
{
    Error *err = NULL;
    g_assert_cmpint(fdset_open(path, flags, 0), ==, -1);
    int e = errno;
    error_set(&err, "x");
    fdset_hint(path, flags, e, &err);
    g_assert_nonnull(strstr(error_hint_text(err), what));
    error_free(err);
}

static void test_access(void)
{
    int ro = open_file(O_RDONLY), rw = open_file(O_RDWR);
    add(4, ro);
    hint_says("/dev/fdset/4", O_RDWR, "reading and writing");
    hint_says("/dev/fdset/4", O_WRONLY, "open for writing");
    hint_says("/dev/fdset/5", O_RDONLY, "no descriptor set 5");
    static const char *const bad[] = { "/dev/fdset/",
                                       "/dev/fdset/x",
                                       "/dev/fdset/-1",
                                       "/dev/fdset/4x",
                                       "/dev/fdset/ 4",
                                       "/dev/fdset/99999999999999999999",
                                       NULL };
    for (int i = 0; bad[i]; i++) {
        hint_says(bad[i], O_RDONLY, "/dev/fdset/N");
    }
    add(4, rw);
    int a = fdset_open("/dev/fdset/4", O_RDONLY | O_CLOEXEC, 0);
    int b = fdset_open("/dev/fdset/4", O_RDWR | O_CLOEXEC, 0);
    g_assert_true(a != ro && b != rw && a != b);
    g_assert_cmpint(fcntl(a, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    g_assert_cmpint(fcntl(b, F_GETFL) & O_ACCMODE, ==, O_RDWR);
    g_assert_cmpint(fcntl(b, F_GETFD), ==, FD_CLOEXEC);
    g_assert_true(fdset_remove(4, -1, &error_abort_slot)); /* what is open stays open */
    g_assert_true(is_closed(ro) && !is_closed(a) && pwrite(b, "x", 1, 0) == 1);
    g_assert_true(fdset_close(a) == 0 && fdset_close(b) == 0);
    fdset_clear();
    int plain = fdset_open(file, O_RDONLY | O_CLOEXEC, 0);
    g_assert_true(plain >= 0 && fdset_close(plain) == 0);
}

/* The giver's flags would have every write land at the end. */
static void test_flags(void)
{
    add(0, open_file(O_RDWR | O_APPEND));
    int fd = fdset_open("/dev/fdset/0", O_RDWR | O_CLOEXEC, 0);
    g_assert_true(pwrite(fd, "ab", 2, 4) == 2 && length() == 10);
    int more = fdset_open("/dev/fdset/0", O_RDWR | O_APPEND | O_CLOEXEC, 0);
    g_assert_true(write(more, "ab", 2) == 2 && length() == 12);
    int empty = fdset_open("/dev/fdset/0", O_RDWR | O_TRUNC | O_CLOEXEC, 0);
    g_assert_cmpint(length(), ==, 0);
    int fds[2];
    g_assert_cmpint(pipe(fds), ==, 0);
    add(1, fds[1]);
    int end = fdset_open("/dev/fdset/1", O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0666); /* nothing to cut */
    g_assert_true(end >= 0 && write(end, "x", 1) == 1);
    fdset_close(end);
    close(fds[0]);
    fdset_close(empty);
    fdset_close(more);
    fdset_close(fd);
    fdset_clear();
    g_assert_true(g_file_set_contents(file, "0123456789", -1, NULL));
}

/* Without clients a set lives as long as its copies, if the machine ran when the last client went. */
static void test_clients(void)
{
    int unused = open_file(O_RDONLY), used = open_file(O_RDONLY), twin = open_file(O_RDWR);
    add(0, unused);
    add(1, used);
    add(1, twin);
    int copy = fdset_open("/dev/fdset/1", O_RDONLY | O_CLOEXEC, 0);
    fdset_client_came();
    fdset_client_came();
    fdset_client_gone(true); /* another one is there */
    g_assert_cmpuint(count(), ==, 3);
    fdset_client_gone(false); /* the machine does not run: it may be about to be started */
    g_assert_cmpuint(count(), ==, 3);
    fdset_client_came();
    fdset_client_gone(true);
    g_assert_true(is_closed(unused) && !is_closed(used) && !is_closed(twin));
    int second = fdset_open("/dev/fdset/1", O_RDWR | O_CLOEXEC, 0);
    fdset_close(copy);
    g_assert_true(!is_closed(used));
    fdset_close(second);
    g_assert_true(is_closed(used) && is_closed(twin) && count() == 0);
    add(2, open_file(O_RDONLY)); /* with a client again, sets stay */
    fdset_client_came();
    fdset_close(fdset_open("/dev/fdset/2", O_RDONLY | O_CLOEXEC, 0));
    g_assert_cmpuint(count(), ==, 1);
    fdset_client_gone(false);
    fdset_clear();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    role_become_main();
    int fd = g_file_open_tmp("rhea-fdset-XXXXXX", &file, NULL);
    g_assert_true(fd >= 0 && write(fd, "0123456789", 10) == 10);
    close(fd);
    g_test_add_func("/fdset/numbers", test_numbers);
    g_test_add_func("/fdset/access", test_access);
    g_test_add_func("/fdset/flags", test_flags);
    g_test_add_func("/fdset/clients", test_clients);
    int r = g_test_run();
    unlink(file);
    g_free(file);
    return r;
}
