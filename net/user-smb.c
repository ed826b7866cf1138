/* SPDX-License-Identifier: MIT
 * net/user-smb.c - a folder of the host's that a user-mode network's guest reaches as \\ADDRESS\qemu.
 *
 * Models: QEMU's smb= and smbserver=: libslirp starts Samba's smbd for each connection to ports 139 and 445,
 *         as inetd would, with a configuration of its own; it ends with the connection.
 * Does not model: more than SLOTS connections at once: the next ones are closed, so a guest cannot fill the
 *         host with processes.
 * Threads: main loop.
 */
#include "user_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMBD  "/usr/sbin/smbd"
#define FLOCK "/usr/bin/flock"

/* A connection's processes hold one of the slots, which the kernel frees with them. The session is descriptor
 * 0; what the programs complain of is in the log, not in the guest's connection. */
static const char one_session[] =
    "exec >/dev/null 2>&1\n"
    "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do\n"
    "    " FLOCK " -n -o -E 99 \"$1/slots/$n\" " SMBD " -l \"$1\" -s \"$1/smb.conf\"\n"
    "    [ $? = 99 ] || exit\n"
    "done\n";

static const char *const folders[] = { "private", "pid", "lock", "state", "cache", "ncalrpc", "slots" };

struct UserSmb {
    char *top; /* only this user may enter it, so nobody else makes names in it */
    char *run; /* top/run: all that smbd knows */
};

/* ---- the end ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    return remove(path);
}

/* A server whose connection has just ended may still be at work. By its new name it does not find the folder,
 * so nothing is made in it while it is emptied. Links are removed, not followed. */
static void remove_all(const UserSmb *s)
{
    enum { DESCRIPTORS = 8 };
    g_autofree char *ended = g_build_filename(s->top, "ended", NULL);
    g_rename(s->run, ended);
    if (nftw(s->top, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0) {
        log_warn("cannot remove '%s': %s", s->top, g_strerror(errno));
    }
}

void user_smb_free(UserSmb *s)
{
    if (s) {
        if (s->top) {
            remove_all(s);
        }
        g_free(s->top);
        g_free(s->run);
        g_free(s);
    }
}

/* ---- may it be ---- */

static bool have(const char *program, const char *package, Error **errp)
{
    if (access(program, X_OK) == 0) {
        return true;
    }
    error_fail(errp, "file-not-found", "smb", NULL, "'smb' needs the program '%s', which is not there",
               program);
    error_hint(errp, "install the package %s, or use tftp= or virtio-9p", package);
    return false;
}

static bool may_start(Error **errp)
{
    const char *drop = net_drop_option();
    if (net_programs_filtered()) {
        return error_fail(
            errp, "not-supported", "smb", "leave out one of them, or use tftp= or virtio-9p",
            "'smb' is not supported below -sandbox, which forbids the program smbd or filters it");
    }
    if (drop) {
        error_fail(errp, "not-supported", "smb", NULL,
                   "'smb' is not supported with %s: smbd is started later, for each connection", drop);
        error_hint(errp, "start the machine as the user it shall run as, without %s", drop);
        return false;
    }
    return have(SMBD, "samba", errp) && have(FLOCK, "util-linux", errp);
}

/* The folder's real name, for the caller to free. */
static char *shared_folder(const char *path, Error **errp)
{
    struct stat st;
    char *real = realpath(path, NULL);
    int err = errno;
    if (!real || stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
        error_fail(errp, "file-not-found", "smb", "create it first", "'smb' does not take '%s': %s", path,
                   real ? "it is no folder" : g_strerror(err));
    } else if (access(real, R_OK | X_OK) < 0) {
        error_fail(errp, "permission-denied", "smb", "give this user the right to read and enter it",
                   "'smb' does not take '%s': this user cannot read it", path);
    } else {
        return real;
    }
    free(real);
    return NULL;
}

/* What smb.conf(5) takes as it is: neither another line nor one of its variables. */
static bool check_text(const char *what, const char *text, const char *cure, Error **errp)
{
    for (const char *p = text; *p; p++) {
        if (g_ascii_iscntrl(*p) || strchr("%\"\\", *p)) {
            return error_fail(errp, "invalid-value", "smb", cure,
                              "%s '%s' cannot be written in a configuration of Samba's", what, text);
        }
    }
    return true;
}

/* ---- the beginning ---- */

static bool write_config(const UserSmb *s, const char *user, Error **errp)
{
    const char *d = s->run;
    g_autofree char *path = g_build_filename(d, "smb.conf", NULL);
    g_autofree char *text = g_strdup_printf("[global]\n"
                                            "private dir = %s/private\n"
                                            "interfaces = 127.0.0.1\n"
                                            "bind interfaces only = yes\n"
                                            "pid directory = %s/pid\n"
                                            "lock directory = %s/lock\n"
                                            "state directory = %s/state\n"
                                            "cache directory = %s/cache\n"
                                            "ncalrpc dir = %s/ncalrpc\n"
                                            "log file = %s/log.smbd\n"
                                            "smb passwd file = %s/private/smbpasswd\n"
                                            "security = user\n"
                                            "map to guest = Bad User\n"
                                            "load printers = no\n"
                                            "printing = bsd\n"
                                            "disable spoolss = yes\n"
                                            "usershare max shares = 0\n"
                                            "[qemu]\n"
                                            "path = %s/folder\n"
                                            "read only = no\n"
                                            "guest ok = yes\n"
                                            "force user = %s\n",
                                            d, d, d, d, d, d, d, d, d, user);
    g_autoptr(GError) err = NULL;
    return g_file_set_contents(path, text, -1, &err) ||
           error_fail(errp, "failed", "smb", NULL, "'smb': cannot write '%s': %s", path, err->message);
}

/* The shared folder is named by a link, so any name will do. */
static bool fill(const UserSmb *s, const char *real, const char *user, Error **errp)
{
    g_autofree char *link = g_build_filename(s->run, "folder", NULL);
    bool ok = g_mkdir(s->run, 0700) == 0;
    for (size_t i = 0; ok && i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = g_build_filename(s->run, folders[i], NULL);
        ok = g_mkdir(path, 0700) == 0;
    }
    if (!ok || symlink(real, link) < 0) {
        return error_set_errno(errp, errno, "'smb': cannot fill '%s'", s->run);
    }
    return write_config(s, user, errp);
}

static bool prepare(UserSmb *s, const char *real, Error **errp)
{
    const struct passwd *pw = getpwuid(geteuid());
    const char *tmp = g_get_tmp_dir();
    g_autoptr(GError) err = NULL;
    if (!pw) {
        return error_fail(errp, "not-found", "smb", "give this user a name in /etc/passwd",
                          "'smb': user %u has no name, and Samba knows users by name", (unsigned)geteuid());
    }
    if (!check_text("the user's name", pw->pw_name, "choose another user", errp) ||
        !check_text("the folder for temporary files", tmp, "set TMPDIR to another one", errp)) {
        return false;
    }
    s->top = g_dir_make_tmp("rhea-smb-XXXXXX", &err);
    if (!s->top) {
        return error_fail(errp, "failed", "smb", NULL, "'smb': cannot make a folder: %s", err->message);
    }
    g_autofree char *abs = g_canonicalize_filename(s->top, NULL);
    g_free(s->top);
    s->top = g_steal_pointer(&abs);
    s->run = g_build_filename(s->top, "run", NULL);
    return fill(s, real, pw->pw_name, errp);
}

static bool lead(UserNet *u, struct in_addr addr, Error **errp)
{
    static const int ports[] = { 139, 445 };
    g_autofree char *script = g_shell_quote(one_session), *run = g_shell_quote(u->smb->run),
                    *command = g_strdup_printf("/bin/sh -c %s smb %s", script, run);
    int r = 0;
    user_enter(u);
    for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(ports); i++) {
        r = slirp_add_exec(u->slirp, command, &addr, ports[i]);
    }
    user_leave(u);
    return r >= 0 || error_fail(errp, "in-use", "smbserver", "choose another address in the network",
                                "the address of 'smb' is not free for this");
}

bool user_smb_add(UserNet *u, const char *path, struct in_addr addr, Error **errp)
{
    char *real = shared_folder(path, errp);
    if (!real) {
        return false;
    }
    u->smb = g_new0(UserSmb, 1);
    bool ok = may_start(errp) && prepare(u->smb, real, errp) && lead(u, addr, errp);
    free(real);
    return ok;
}
