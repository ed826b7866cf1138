/* SPDX-License-Identifier: MIT
 * net/tap-open.c - gets hold of host interfaces: made here, handed over, or made by a helper.
 *
 * Models: the kernel's tuntap interface (networking/tuntap); QEMU's scripts and the protocol of its bridge
 *         helper: started with --use-vnet --fd=N --br=NAME it sends the interface's descriptor over N
 *         (SCM_RIGHTS, unix(7)).
 * Threads: main loop, which waits for scripts and helpers.
 */
#include "tap_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"
#include "rhea/util/who.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TUN_DEVICE  "/dev/net/tun"
#define UP_SCRIPT   "/etc/qemu-ifup"
#define DOWN_SCRIPT "/etc/qemu-ifdown"

static const char *const helpers[] = { "/usr/lib/qemu/qemu-bridge-helper",
                                       "/usr/libexec/qemu-bridge-helper" };

/* ---- an open interface ---- */

/* What the kernel calls it, and whether its frames have headers; false: it is no such descriptor. */
bool tap_describe_fd(int fd, char *name, bool *vnet)
{
    struct ifreq r = { 0 };
    if (ioctl(fd, TUNGETIFF, &r) < 0 || !(r.ifr_flags & IFF_TAP)) {
        return false;
    }
    g_strlcpy(name, r.ifr_name, IFNAMSIZ);
    *vnet = r.ifr_flags & IFF_VNET_HDR;
    return true;
}

static bool take_fd(TapPlan *p, Machine *m, const char *key, const char *text, Error **errp)
{
    char name[IFNAMSIZ];
    bool vnet;
    int fd = net_find_fd(m, key, text, errp);
    if (fd < 0) {
        return false;
    }
    if (!tap_describe_fd(fd, name, &vnet)) {
        error_fail(errp, "invalid-value", key, NULL, "'%s' does not take '%s': it is no tap interface", key,
                   text);
        error_hint(errp, "one that was opened at " TUN_DEVICE " with IFF_TAP");
        return false;
    }
    if (p->n && vnet != p->vnet) {
        return error_fail(errp, "conflict", key, "open all of them in one way",
                          "'%s': some of the interfaces have headers (IFF_VNET_HDR), others not", key);
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    p->fds[p->n++] = fd;
    p->vnet = vnet;
    g_strlcpy(p->ifname, name, sizeof(p->ifname));
    return true;
}

static bool take_fds(TapPlan *p, Machine *m, const char *text, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", -1);
    for (char **part = parts; *part; part++) {
        if (p->n == TAP_QUEUES) {
            return error_fail(errp, "too-many", "fds", "name fewer", "'fds' names more than %d descriptors",
                              TAP_QUEUES);
        }
        if (!take_fd(p, m, "fds", *part, errp)) {
            return false;
        }
    }
    return p->n > 0 ||
           error_fail(errp, "invalid-value", "fds", "name descriptors with ':' between", "'fds' is empty");
}

/* ---- one of our own ---- */

static bool say_not_made(const char *ifname, int err, bool many, Error **errp)
{
    g_autofree char *who = err == EBUSY ? who_has_tap(ifname) : NULL;
    if (who) {
        error_fail(errp, "in-use", "ifname", NULL, "tap interface '%s' is in use by %s", ifname, who);
        error_hint(errp, "choose another name, or none for the next free one");
        return false;
    }
    error_set_errno(errp, err, "cannot open tap interface '%s'", ifname);
    if (err == EPERM || err == EACCES) {
        error_hint(errp, "it needs CAP_NET_ADMIN, or an interface that was made for you (ip tuntap add NAME "
                         "mode tap user YOU); user and -netdev bridge need neither");
    } else if (err == EINVAL) {
        error_hint(errp, many ? "an interface with several queues is made with multi_queue"
                              : "an interface that was made with multi_queue needs queues=2 or more");
    }
    return false;
}

static int open_queue(char *ifname, bool vnet, bool many, Error **errp)
{
    int fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq r = { 0 };
    if (fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "cannot open " TUN_DEVICE);
        error_hint(errp, err == ENOENT || err == ENODEV ? "load the kernel's module tun, or use user"
                                                        : "use user, which needs no privileges");
        return -1;
    }
    r.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0) | (many ? IFF_MULTI_QUEUE : 0));
    g_strlcpy(r.ifr_name, ifname, IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &r) < 0) {
        int err = errno;
        close(fd);
        say_not_made(ifname, err, many, errp);
        return -1;
    }
    g_strlcpy(ifname, r.ifr_name, IFNAMSIZ);
    return fd;
}

/* "no": none; NULL without error: none; the one that was named must be there. */
static bool choose_script(const char *key, const char *given, const char *def, char **out, Error **errp)
{
    const char *path = given ? given : def;
    if (given && (!*given || g_str_equal(given, "no"))) {
        return true;
    }
    if (access(path, X_OK) < 0) {
        if (!given && g_str_equal(key, "downscript")) {
            return true;
        }
        error_set_errno(errp, errno, "%s '%s' cannot be started", key, path);
        error_hint(errp, "%s=no for an interface that is set up otherwise", key);
        return false;
    }
    *out = g_strdup(path);
    return true;
}

bool tap_run_script(const char *script, const char *ifname, Error **errp)
{
    char *argv[] = { (char *)script, (char *)ifname, NULL };
    return net_child_run(argv, -1, errp);
}

static bool make_own(TapPlan *p, const NetdevTapOptions *o, Error **errp)
{
    unsigned queues = o->has_queues ? (unsigned)o->queues : 1;
    g_autofree char *up = NULL;
    const char *name = o->ifname && *o->ifname ? o->ifname : "tap%d";
    if (strlen(name) >= IFNAMSIZ) {
        return error_fail(errp, "too-large", "ifname", "shorten it",
                          "'ifname' does not take '%s': a name has %d characters at most", name,
                          IFNAMSIZ - 1);
    }
    if (!choose_script("script", o->script, UP_SCRIPT, &up, errp) ||
        !choose_script("downscript", o->downscript, DOWN_SCRIPT, &p->downscript, errp)) {
        return false;
    }
    g_strlcpy(p->ifname, name, sizeof(p->ifname));
    p->vnet = !o->has_vnet_hdr || o->vnet_hdr;
    while (p->n < queues) {
        int fd = open_queue(p->ifname, p->vnet, queues > 1, errp);
        if (fd < 0) {
            g_clear_pointer(&p->downscript, g_free); /* the other script has not run */
            return false;
        }
        p->fds[p->n++] = fd;
    }
    if (up && !tap_run_script(up, p->ifname, errp)) {
        g_clear_pointer(&p->downscript, g_free);
        return false;
    }
    return true;
}

/* ---- helpers ---- */

static int receive_fd(int sock)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec iov = { &byte, 1 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    int fd = -1;
    ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
        h->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(h), sizeof(fd));
    }
    return fd;
}

static const char *default_helper(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(helpers); i++) {
        if (access(helpers[i], X_OK) == 0) {
            return helpers[i];
        }
    }
    return NULL;
}

/* A helper with blanks is a shell's command, to which the arguments are added. */
static bool run_helper(const char *helper, const char *br, int fd, Error **errp)
{
    g_autofree char *fd_arg = g_strdup_printf("--fd=%d", fd), *br_arg = g_strdup_printf("--br=%s", br);
    g_autofree char *quoted = g_shell_quote(br_arg);
    g_autofree char *line = g_strdup_printf("%s --use-vnet %s %s", helper, fd_arg, quoted);
    char *plain[] = { (char *)helper, (char *)"--use-vnet", fd_arg, br_arg, NULL };
    char *shell[] = { (char *)"/bin/sh", (char *)"-c", line, NULL };
    bool command = strpbrk(helper, " \t") != NULL;
    return net_child_run(command ? shell : plain, fd, errp);
}

static bool ask_helper(TapPlan *p, const char *given, const char *br, Error **errp)
{
    const char *helper = given ? given : default_helper();
    int pair[2];
    if (!helper) {
        error_fail(errp, "file-not-found", "helper", NULL, "there is no bridge helper: '%s' is missing",
                   helpers[0]);
        error_hint(errp, "the package qemu-system-common has it; or name one with helper=");
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return error_set_errno(errp, errno, "cannot make a pair of sockets");
    }
    bool ok = run_helper(helper, br ? br : "br0", pair[1], errp);
    close(pair[1]);
    int fd = ok ? receive_fd(pair[0]) : -1;
    close(pair[0]);
    if (!ok) {
        error_hint(errp,
                   "bridge helpers want 'allow %s' in /etc/qemu/bridge.conf, and root's rights (setuid)",
                   br ? br : "br0");
        return false;
    }
    if (fd < 0) {
        return error_fail(errp, "failed", "helper", "see what it says of itself",
                          "bridge helper '%s' gave no interface", helper);
    }
    if (!tap_describe_fd(fd, p->ifname, &p->vnet)) {
        close(fd);
        return error_fail(errp, "failed", "helper", "use another one",
                          "what bridge helper '%s' gave is no tap interface", helper);
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    p->fds[p->n++] = fd;
    return true;
}

/* ---- vhost ---- */

/* Descriptors of the host's vhost, which management programs open for us. They have no use here, and are ours
 * to close. */
static bool drop_vhost_fds(Machine *m, const char *key, const char *text, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", -1);
    for (char **part = parts; *part; part++) {
        struct stat st;
        int fd = net_find_fd(m, key, *part, errp);
        if (fd < 0) {
            return false;
        }
        if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode)) {
            return error_fail(errp, "invalid-value", key, "it is /dev/vhost-net, open",
                              "'%s' does not take '%s': it is no device", key, *part);
        }
        close(fd);
    }
    return true;
}

/* As with a host that has no vhost: one line tells, and the card's queues are served here. */
static bool do_without_vhost(Machine *m, const NetdevTapOptions *o, Error **errp)
{
    bool given = o->vhostfd || o->vhostfds;
    if (given && o->has_vhost && !o->vhost) {
        return error_fail(errp, "conflict", o->vhostfd ? "vhostfd" : "vhostfds", "leave it out",
                          "'vhostfd' and 'vhostfds' do not go with vhost=off");
    }
    if ((o->vhostfds && !o->fds) || (o->vhostfd && o->fds)) {
        return error_fail(errp, "conflict", o->vhostfd ? "vhostfd" : "vhostfds",
                          "'vhostfd' goes with 'fd', 'vhostfds' with 'fds'",
                          o->vhostfd ? "'vhostfd' does not go with 'fds'" : "'vhostfds' needs 'fds'");
    }
    if (!given && !(o->has_vhost && o->vhost)) {
        return true;
    }
    log_warn("vhost=on: the host's kernel serves no virtqueues of this program; they are served here, with "
             "checksums "
             "and segmentation left to the host");
    return (!o->vhostfd || drop_vhost_fds(m, "vhostfd", o->vhostfd, errp)) &&
           (!o->vhostfds || drop_vhost_fds(m, "vhostfds", o->vhostfds, errp));
}

/* ---- options ---- */

static bool check(const NetdevTapOptions *o, Error **errp)
{
    bool own = o->ifname || o->script || o->downscript || o->has_vnet_hdr || o->has_queues;
    const char *given = o->fd ? "fd" : o->fds ? "fds" : o->helper ? "helper" : NULL;
    if (o->has_vhostforce && o->vhostforce) {
        error_fail(errp, "not-supported", "vhostforce", NULL,
                   "'vhostforce' is not supported: the card's queues are served by this program");
        error_hint(errp, "leave it out; checksums and segmentation are left to the host without it, too");
        return false;
    }
    if (!!o->fd + !!o->fds + !!o->helper > 1) {
        return error_fail(errp, "conflict", "fd", "leave out all but one",
                          "'fd', 'fds' and 'helper' exclude each other");
    }
    if (given && own) {
        error_fail(errp, "conflict", "ifname", NULL,
                   "'ifname', 'script', 'downscript', 'vnet_hdr' and 'queues' do not go with '%s'", given);
        error_hint(errp, "they are for an interface that this program makes");
        return false;
    }
    return !o->br || o->helper ||
           error_fail(errp, "conflict", "br", "leave it out",
                      "'br' goes with 'helper' only; -netdev bridge has its own");
}

bool tap_plan(TapPlan *p, Machine *m, const NetdevTapOptions *o, Error **errp)
{
    if (!check(o, errp) || !do_without_vhost(m, o, errp)) {
        return false;
    }
    return o->fd       ? take_fd(p, m, "fd", o->fd, errp)
           : o->fds    ? take_fds(p, m, o->fds, errp)
           : o->helper ? ask_helper(p, o->helper, o->br, errp)
                       : make_own(p, o, errp);
}

bool tap_plan_bridge(TapPlan *p, const NetdevBridgeOptions *o, Error **errp)
{
    return ask_helper(p, o->helper, o->br, errp);
}
