/* SPDX-License-Identifier: MIT
 * tests/unit/block/test-lock.c - image locks, within the process and against an installed qemu-io.
 * Covers: block/lock.c, file.c.
 */
#include "blocktest.h"
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_two(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 1 << 20);
    BlockClient *a = bt_client(bt_open(t, "raw,file.driver=file,file.filename=%s", path));
    BlockNode *n = bt_open(t, "raw,file.driver=file,file.filename=%s", path);
    g_autoptr(Error) err = NULL;
    g_assert_null(block_client_new(n, "b", BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ, &err));
    g_autofree char *me = g_strdup_printf("process %d (", getpid());
    g_assert_nonnull(strstr(error_text(err), me));
    g_assert_nonnull(strstr(error_text(err), "for writing"));
    g_assert_nonnull(error_hint_text(err));
    BlockClient *r = block_client_new(n, "b", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot);
    block_client_free(r);
    block_client_free(a);
    /* Freed: now it works. */
    r = block_client_new(n, "b", BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ, &error_abort_slot);
    BlockNode *off = bt_open(t, "raw,file.driver=file,file.filename=%s,file.locking=off", path);
    BlockClient *o = block_client_new(off, "o", BLOCK_PERM_WRITE, BLOCK_PERM_READ, &error_abort_slot);
    block_client_free(o);
    block_unref(off);
    off = bt_open(t, "raw,read-only=on,force-share=on,file.driver=file,file.filename=%s", path);
    o = block_client_new(off, "o", BLOCK_PERM_READ, BLOCK_PERM_ALL, &error_abort_slot);
    block_client_free(o);
    block_unref(off);
    block_client_free(r);
    block_unref(n);
}

/* What another program would see: bytes 101 and 201 locked, and so on. */
static void test_bytes(BlockTest *t, gconstpointer data)
{
    g_autofree char *path = bt_file(t, "img", 1 << 20);
    BlockNode *n = bt_open(t, "raw,file.driver=file,file.filename=%s", path);
    BlockClient *c = block_client_new(n, "x", BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ, NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    static const struct {
        int byte;
        bool locked;
    } want[] = { { 100, true },  { 101, true }, { 102, false }, { 103, false },
                 { 200, false }, { 201, true }, { 202, true },  { 203, true } };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++) {
        struct flock fl = { .l_type = F_WRLCK, .l_start = want[i].byte, .l_len = 1 };
        g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &fl), ==, 0);
        g_assert_true((fl.l_type != F_UNLCK) == want[i].locked);
    }
    close(fd);
    block_client_free(c);
    block_unref(n);
}

/* *err: what it says on standard error. */
static bool run(const char *fmt, const char *path, char **err)
{
    g_autofree char *cmd = g_strdup_printf(fmt, path);
    const char *argv[] = { "/bin/sh", "-c", cmd, NULL };
    int status;
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, err,
                               &status, NULL)); /* standard output is TAP's */
    return status == 0;
}

static void test_qemu(BlockTest *t, gconstpointer data)
{
    g_autofree char *tool = g_find_program_in_path("qemu-io");
    if (!tool) {
        g_test_skip("qemu-io is not installed (qemu-utils)");
        return;
    }
    g_autofree char *path = bt_file(t, "img", 1 << 20), *out = NULL, *out2 = NULL;
    BlockClient *c = bt_client(bt_open(t, "raw,file.driver=file,file.filename=%s", path));
    g_assert_false(run("qemu-io -f raw -c 'write 0 512' %s", path, &out)); /* it sees our lock */
    g_assert_nonnull(strstr(out, "lock"));
    block_client_free(c);
    g_assert_true(run("qemu-io -f raw -c 'write 0 512' %s", path, &out2));

    /* And we see its: qemu-io sleeps with the image open. Nobody asks before it has said that it has written,
     * or it might be the one that is refused. */
    g_autofree char *said = g_strdup_printf("%s.out", path), *text = NULL;
    g_autofree char *cmd =
        g_strdup_printf("stdbuf -oL qemu-io -f raw -c 'write 0 512' -c 'sleep 60000' %s >%s", path, said);
    const char *argv[] = { "/bin/sh", "-c", cmd, NULL };
    GPid pid;
    g_assert_true(
        g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL));
    g_autoptr(Error) err = NULL;
    BlockNode *n = bt_open(t, "raw,file.driver=file,file.filename=%s", path);
    for (int i = 0; i < 600 && !(text && strstr(text, "wrote")); i++) {
        g_usleep(50000);
        g_clear_pointer(&text, g_free);
        g_file_get_contents(said, &text, NULL, NULL);
    }
    g_assert_nonnull(text);
    g_assert_null(block_client_new(n, "x", BLOCK_PERM_WRITE, BLOCK_PERM_READ, &err));
    block_unref(n);
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(error_text(err), "(qemu-io)"));
    const char *at = strstr(error_text(err), "process ");
    g_assert_cmpint(kill((pid_t)atoi(at + 8), SIGTERM), ==, 0);
    g_spawn_close_pid(pid);
}

#define ADD(name) g_test_add("/block/lock/" #name, BlockTest, NULL, bt_setup, test_##name, bt_teardown)

int main(int argc, char **argv)
{
    bt_init(&argc, &argv);
    ADD(two);
    ADD(bytes);
    ADD(qemu);
    return g_test_run();
}
