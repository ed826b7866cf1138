/* SPDX-License-Identifier: MIT
 * tests/device/e1000drive.h - a hostile driver of an e1000, and a hostile network: what they do is read from
 * bytes. For storms and for the fuzzer.
 */
#ifndef TESTS_DEVICE_E1000DRIVE_H
#define TESTS_DEVICE_E1000DRIVE_H

#include "nicguest.h"
#include "tests/lib/bytes.h"

typedef struct E1000Drive {
    NicGuest n;
    unsigned tail; /* where the driver puts its next descriptor */
} E1000Drive;

void e1000drive_open(E1000Drive *d);
void e1000drive_close(E1000Drive *d);
void e1000drive_start(E1000Drive *d); /* the card is reset, with rings and buffers of zeros */
/* One deed after the other, until the bytes are used up. */
void e1000drive_run(E1000Drive *d, Bytes *b);
/* A driver that keeps the rules sends a frame and gets one; aborts where it does not. */
void e1000drive_check(E1000Drive *d);

#endif
