/* SPDX-License-Identifier: MIT
 * net/user_internal.h - user-mode networking, as its files share it.
 */
#ifndef NET_USER_INTERNAL_H
#define NET_USER_INTERNAL_H

#include "net_internal.h"
#include "rhea/backends/char.h"
#include <libslirp.h>

typedef struct UserFragments UserFragments;
typedef struct UserFlows UserFlows;
typedef struct UserSmb UserSmb;

typedef struct UserNet {
    NetClient *client;
    Slirp *slirp;
    bool inside;       /* a call of the library is on the stack: it cannot be entered again */
    GHashTable *fds;   /* fd -> UserFd *, of those that the library named when it was last asked */
    unsigned fresh;    /* descriptors that it has opened since, at most */
    GPtrArray *polled; /* UserFd *, by the number the library knows them by since it was last asked */
    unsigned round;
    Task update;
    Timer poll_timer;
    bool due;            /* poll_timer fired */
    Timer trim_timer;
    unsigned closed;     /* descriptors since it fired */
    GPtrArray *timers;   /* UserTimer * */
    GPtrArray *forwards; /* UserForward * */
    GPtrArray *guests;   /* GuestForward * */
    char *network;       /* for `info network` */
    bool restricted;
    struct in6_addr host6, dns6;
    UserFragments *fragments; /* NULL until there are any */
    UserSmb *smb;             /* NULL: none */
    UserFlows *flows;
} UserNet;

/* user-options.c */
typedef struct UserConfig {
    SlirpConfig c;
    char **search; /* what c.vdnssearch points to */
    char *network;
    struct in_addr smb; /* the file server's address, whether there is one or not */
} UserConfig;
bool user_config(const NetdevUserOptions *o, UserConfig *out, Error **errp);
void user_config_clear(UserConfig *c);

/* user-forward.c */
bool user_forward_add(UserNet *u, const char *rule, Error **errp);
bool user_forward_remove(UserNet *u, const char *rule, Error **errp);
bool user_guestfwd_add(UserNet *u, const char *rule, Error **errp);
void user_forwards_free(UserNet *u);
void user_guests_resumed(UserNet *u); /* the guest took something: more may fit */
/* False: the frame has bytes for a character device that is far behind; lost, it comes again. */
bool user_guestfwd_has_room(UserNet *u, const NetFrame *f);
void user_forwards_list(UserNet *u, const char *id, GArray *out);

/* user-guard.c. False: the library is not given this frame; else *f may have become another one, which stays
 * until the next call. */
bool user_guard(UserNet *u, NetFrame *f);
void user_guard_free(UserNet *u);

/* user-limit.c. False: the frame would open a socket, and the guest has its share of them. */
UserFlows *user_flows_new(void); /* g_free */
bool user_flow_allowed(UserNet *u, const NetFrame *f);

/* user-smb.c. The folder `path` at ports 139 and 445 of `addr`; u->smb may be there after a failure, too. It
 * is freed when the library has closed its connections; NULL is nothing. */
bool user_smb_add(UserNet *u, const char *path, struct in_addr addr, Error **errp);
void user_smb_free(UserSmb *s);

/* user.c: around calls of the library */
void user_enter(UserNet *u);
void user_leave(UserNet *u);

#endif
