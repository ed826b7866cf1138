/* SPDX-License-Identifier: MIT
 * rhea/util/who.h - names the process that holds a socket address, for error messages. Any thread.
 */
#ifndef RHEA_UTIL_WHO_H
#define RHEA_UTIL_WHO_H

struct sockaddr;

/* An internet address and its port: "process 12 (nc)", "a process of user 33 (www-data)" when that is
 * all that can be known; NULL: nobody; g_free. */
char *who_listens_tcp(const struct sockaddr *sa);
char *who_has_udp(const struct sockaddr *sa);
char *who_has_tap(const char *ifname); /* "process 12 (nc)"; NULL: nobody is known; g_free */
char *who_is_peer(int fd);            /* of a connected unix socket; never NULL; g_free */

#endif
