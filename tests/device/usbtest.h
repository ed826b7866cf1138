/* SPDX-License-Identifier: MIT
 * tests/device/usbtest.h - what the tests of USB controllers share: rounds of hostile drivers, and a disk
 * whose medium can keep a read. All on the main loop.
 */
#ifndef TESTS_DEVICE_USBTEST_H
#define TESTS_DEVICE_USBTEST_H

#include "tests/lib/testmachine.h"

/* How many rounds: RHEA_USB_CASES, or `usual`. */
unsigned usbtest_cases(unsigned usual);
/* So many rounds of one(); behind each a key goes down or up, and three frames pass. */
void usbtest_storm(TestMachine *tm, unsigned usual, void (*one)(TestMachine *tm, unsigned c));

/* A usb-storage device with id "disk" at that port. Byte i of its medium is that of sector i / 512, plus 1.
 * usbdisk_free() instead of tm_free(). */
Device *usbdisk_plug(TestMachine *tm, Bus *usb, const char *port);
void usbdisk_free(TestMachine *tm);
/* The 31 bytes of a command wrapper: READ(10) of one sector. */
void usbdisk_read_command(TestMachine *tm, hwaddr at, uint8_t sector);
void usbdisk_keep_read(void);           /* the next read does not end */
bool usbdisk_read_is_kept(void);        /* it has come to the medium */
void usbdisk_end_read(TestMachine *tm); /* and ends */
void usbdisk_stop_reading(TestMachine *tm); /* the machine is stopped, and the read ends meanwhile */
/* The disk or its controller goes, as by device_del, while the read is kept: that ends meanwhile. */
void usbdisk_remove_reading(TestMachine *tm, Device *dev);

#endif
