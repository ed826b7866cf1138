/* SPDX-License-Identifier: MIT
 * hw/usb/hid-desc.c - what keyboard, mouse and tablet tell of themselves.
 *
 * Models: HID 1.11, 6.2 (descriptors), appendix B (boot protocol) and E (examples of them); HID Usage Tables
 *         1.12: pages 1, 7, 8, 9. Names and ids are QEMU's, which guests know.
 */
#include "hid.h"

/* B.1, E.6: modifiers, a reserved byte, LEDs, six keys. */
static const uint8_t keyboard_report[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,             /* Generic Desktop, Keyboard, Application */
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, /* keys E0 to E7, one bit each */
    0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x75, 0x08, 0x95, 0x01, 0x81, 0x01, /* a constant byte */
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x75, 0x01,                                     /* LEDs 1 to 5, out */
    0x95, 0x05, 0x91, 0x02, 0x75, 0x03, 0x95, 0x01, 0x91, 0x01, 0x05, 0x07, 0x19, 0x00,
    0x29, 0xff, 0x15, 0x00, /* six keys by their numbers */
    0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x06, 0x81, 0x00, 0xc0,
};
/* Five buttons, three bits of nothing: begins both pointers. */
#define POINTER_BEGINS(USAGE)                                                                                \
    0x05, 0x01, 0x09, (USAGE), 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, \
        0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x03, 0x81, 0x01
#define WHEEL                                                                                                \
    0x05, 0x01, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06
static const uint8_t mouse_report[] = {
    POINTER_BEGINS(0x02), /* Mouse */
    0x05,
    0x01,
    0x09,
    0x30,
    0x09,
    0x31,
    0x15,
    0x81, /* X, Y: -127 to 127, relative */
    0x25,
    0x7f,
    0x75,
    0x08,
    0x95,
    0x02,
    0x81,
    0x06,
    WHEEL,
    0xc0,
    0xc0,
};
static const uint8_t tablet_report[] = {
    POINTER_BEGINS(0x02),
    0x05,
    0x01,
    0x09,
    0x30,
    0x09,
    0x31,
    0x15,
    0x00, /* X, Y: 0 to 32767, absolute */
    0x26,
    0xff,
    0x7f,
    0x35,
    0x00,
    0x46,
    0xff,
    0x7f,
    0x75,
    0x10,
    0x95,
    0x02,
    0x81,
    0x02,
    WHEEL,
    0xc0,
    0xc0,
};

const uint8_t *hid_report_desc(HidKind kind, unsigned *len)
{
    static const struct {
        const uint8_t *bytes;
        unsigned len;
    } all[HID_KINDS] = {
        [HID_KEYBOARD] = { keyboard_report, sizeof(keyboard_report) },
        [HID_MOUSE] = { mouse_report, sizeof(mouse_report) },
        [HID_TABLET] = { tablet_report, sizeof(tablet_report) },
    };
    *len = all[kind].len;
    return all[kind].bytes;
}

/* Bus-powered, 100 mA, may wake the host; the interface, its class descriptor, one interrupt endpoint. */
#define HID_CONFIG_BYTES(SUBCLASS, PROTOCOL, REPORT, PACKET, INTERVAL)                                       \
    {                                                                                                        \
        9, USB_DT_CONFIG, HID_CONFIG, 0, 1, 1, 0, 0xa0, 50, 9, USB_DT_INTERFACE, 0, 0, 1, 3, (SUBCLASS),     \
            (PROTOCOL), 0, 9, USB_DT_HID, 0x11, 0x01, 0, 1, USB_DT_REPORT, sizeof(REPORT), 0, 7,             \
            USB_DT_ENDPOINT, 0x81, 3, (PACKET), 0, (INTERVAL)                                                \
    }
static const uint8_t keyboard_full[HID_CONFIG] = HID_CONFIG_BYTES(1, 1, keyboard_report, 8, 10);
static const uint8_t keyboard_high[HID_CONFIG] = HID_CONFIG_BYTES(1, 1, keyboard_report, 8, 7);
static const uint8_t mouse_full[HID_CONFIG] = HID_CONFIG_BYTES(1, 2, mouse_report, 4, 10);
static const uint8_t mouse_high[HID_CONFIG] = HID_CONFIG_BYTES(1, 2, mouse_report, 4, 7);
static const uint8_t tablet_full[HID_CONFIG] = HID_CONFIG_BYTES(0, 0, tablet_report, 8, 10);
static const uint8_t tablet_high[HID_CONFIG] = HID_CONFIG_BYTES(0, 0, tablet_report, 8, 4);

#define HID_NAMED(NAME) .vendor = 0x0627, .product = 0x0001, .strings = { NULL, "QEMU", NAME, "42" }
#define HID_DESCS(NAME, KIND)                                                                                \
    {                                                                                                        \
        { HID_NAMED(NAME), .config = { [USB_FULL] = { KIND##_full, HID_CONFIG } } },                         \
            { HID_NAMED(NAME),                                                                               \
              .config = {                                                                                    \
                  [USB_FULL] = { KIND##_full, HID_CONFIG }, [USB_HIGH] = { KIND##_high, HID_CONFIG } } },    \
    }

const UsbDesc *hid_desc(HidKind kind, unsigned version)
{
    static const UsbDesc all[HID_KINDS][2] = {
        [HID_KEYBOARD] = HID_DESCS("QEMU USB Keyboard", keyboard),
        [HID_MOUSE] = HID_DESCS("QEMU USB Mouse", mouse),
        [HID_TABLET] = HID_DESCS("QEMU USB Tablet", tablet),
    };
    return &all[kind][version - 1];
}
