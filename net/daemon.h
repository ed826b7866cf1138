/* SPDX-License-Identifier: MIT
 * net/daemon.h - a program in the background that ends with the machine. Main loop.
 */
#ifndef NET_DAEMON_H
#define NET_DAEMON_H

#include "net_internal.h"

typedef struct NetDaemon {
    char *dir, *pid_file; /* pid_file: where the program writes its number */
    int pidfd, guard_fd;  /* -1: none */
    pid_t guard;          /* who looks that the program does not outlive this process */
} NetDaemon;

void net_daemon_init(NetDaemon *d);
bool net_daemon_begin(NetDaemon *d, Error **errp);   /* before the program is started */
bool net_daemon_started(NetDaemon *d, Error **errp); /* it is in the background: its number is known */
/* Ends the program, if it has not ended, and what was begun. Waits half a second for it at most, then kills.
 */
void net_daemon_end(NetDaemon *d);

#endif
