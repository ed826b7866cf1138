/* SPDX-License-Identifier: MIT
 * backends/char/who.h - names the process that holds a socket address, for error messages.
 */
#ifndef BACKENDS_CHAR_WHO_H
#define BACKENDS_CHAR_WHO_H

char *who_listens_tcp(unsigned port); /* "process 12 (nc)"; NULL: nobody; g_free */
char *who_is_peer(int fd);            /* of a connected unix socket; never NULL; g_free */

#endif
