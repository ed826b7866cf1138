/* SPDX-License-Identifier: MIT
 * rhea/util/who.h - names the process that holds a socket address, for error messages. Any thread.
 */
#ifndef RHEA_UTIL_WHO_H
#define RHEA_UTIL_WHO_H

char *who_listens_tcp(unsigned port); /* "process 12 (nc)"; NULL: nobody; g_free */
char *who_has_udp(unsigned port);     /* likewise */
char *who_has_tap(const char *ifname); /* likewise, of a tap interface */
char *who_is_peer(int fd);            /* of a connected unix socket; never NULL; g_free */

#endif
