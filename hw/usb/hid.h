/* SPDX-License-Identifier: MIT
 * hw/usb/hid.h - descriptors of the human interface devices: hid-desc.c has them, hid.c the devices.
 */
#ifndef HW_USB_HID_H
#define HW_USB_HID_H

#include "rhea/hw/usb.h"

typedef enum HidKind { HID_KEYBOARD, HID_MOUSE, HID_TABLET, HID_KINDS } HidKind;
enum {
    HID_CONFIG = 34,
    HID_CLASS_DESC = 18,
    HID_CLASS_LEN = 9
}; /* the class descriptor is in the configuration */
/* version: 1: full speed only; 2: high speed as well. */
const UsbDesc *hid_desc(HidKind kind, unsigned version);
const uint8_t *hid_report_desc(HidKind kind, unsigned *len);

#endif
