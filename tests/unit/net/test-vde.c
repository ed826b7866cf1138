/* SPDX-License-Identifier: MIT
 * tests/unit/net/test-vde.c - ports of a VDE switch (net/vde.c) with the distribution's vde_switch; one that
 * ends and comes back. Skipped without the program or the library. Threads: main.
 */
#include "config.h"
#include "tests/unit/net/nettest.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct VdeSwitch {
    GPid pid;
    char *dir, *path;
    int hold; /* it ends with its input */
} VdeSwitch;

static void start(VdeSwitch *v)
{
    const char *argv[] = { "vde_switch", "-s", v->path, "-n", "64", NULL };
    GError *err = NULL;
    g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
                             G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL,
                             NULL, NULL, &v->pid, &v->hold, NULL, NULL, &err);
    g_assert_no_error(err);
    g_autofree char *ctl = g_build_filename(v->path, "ctl", NULL);
    while (access(ctl, F_OK)) {
        g_assert_cmpint(waitpid(v->pid, NULL, WNOHANG), ==, 0);
        g_usleep(1000);
    }
}

static void stop(VdeSwitch *v)
{
    close(v->hold);
    kill(v->pid, SIGTERM);
    g_assert_cmpint(waitpid(v->pid, NULL, 0), ==, v->pid);
    g_autofree char *ctl = g_build_filename(v->path, "ctl", NULL);
    g_unlink(ctl);
    g_rmdir(v->path);
}

static bool ready(VdeSwitch *v)
{
    g_autofree char *program = g_find_program_in_path("vde_switch");
#ifdef __SANITIZE_ADDRESS__
    g_clear_pointer(&program, g_free); /* it ends at the library's dlopen(RTLD_DEEPBIND) */
#endif
    if (!HAVE_VDE || !program) {
        g_test_skip("vde_switch or libvdeplug is not there, or a sanitizer is");
        return false;
    }
    v->dir = g_dir_make_tmp("rhea-vde-XXXXXX", NULL);
    v->path = g_build_filename(v->dir, "sw", NULL);
    start(v);
    return true;
}

static void done(VdeSwitch *v)
{
    stop(v);
    g_assert_cmpint(g_rmdir(v->dir), ==, 0);
    g_free(v->dir);
    g_free(v->path);
}

static void test_exchange(void)
{
    VdeSwitch v;
    NetPair p;
    uint8_t f[100];
    if (!ready(&v)) {
        return;
    }
    g_autofree char *o = g_strdup_printf("vde,id=s,sock=%s,mode=0700", v.path);
    net_pair_open(&p, o, o);
    net_pair_exchange(&p);
    stop(&v);
    start(&v);
    frame_fill(f, sizeof(f), 1);
    f[0] = 3;                 /* to all */
    while (!p.nb->got->len) { /* both find it again */
        test_nic_send(p.na, NULL, f, sizeof(f));
        net_pair_turn(&p);
        g_usleep(100);
    }
    net_pair_close(&p);
    done(&v);
}

static void test_refused(void)
{
    TestMachine *tm = tm_new(0);
#if HAVE_VDE && defined(__SANITIZE_ADDRESS__)
    g_test_skip("libvdeplug does not go with sanitizers");
#elif HAVE_VDE
    netdev_refused(tm, "vde,id=x,sock=/nonexistent/switch",
                   "cannot connect to VDE switch '/nonexistent/switch'");
    netdev_refused(tm, "vde,id=x,mode=01000", "'mode' must be");
    netdev_refused(tm, "vde,id=x,port=65536", "'port' must be");
#else
    netdev_refused(tm, "vde,id=x", "libvdeplug-dev");
#endif
    net_test_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    net_register();
    g_test_add_func("/vde/exchange", test_exchange);
    g_test_add_func("/vde/refused", test_refused);
    return g_test_run();
}
