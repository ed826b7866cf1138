/* SPDX-License-Identifier: MIT
 * rhea/hw/usb.h - USB: buses, ports, devices, and the packets between controllers and devices (USB 2.0; 3.0
 * as far as descriptors and speeds go).
 *
 * A device is a DeviceType with base = &usb_device_type and bus_ops = const UsbClass *; its realize calls
 * usb_device_init(). Descriptors and all of chapter 9 are the core's business. A controller has a UsbBus and
 * hands packets to usb_handle_packet(). All calls: the platform domain, in which all of USB is, unless said
 * otherwise.
 */
#ifndef RHEA_HW_USB_H
#define RHEA_HW_USB_H

#include "rhea/system/device.h"

typedef enum UsbPid { USB_OUT = 0xe1, USB_IN = 0x69, USB_SETUP = 0x2d } UsbPid;
typedef enum UsbSpeed { USB_LOW, USB_FULL, USB_HIGH, USB_SUPER, USB_SPEEDS } UsbSpeed;
typedef enum UsbResult {
    USB_OK,
    USB_NAK, /* nothing now: usb_wakeup() when there is; also of a packet under way, which was given up */
    USB_STALL,
    USB_BABBLE, /* the device sends more than the packet has room for */
    USB_ERROR,  /* nobody answers */
    USB_ASYNC,  /* usb_packet_done() will come, never from inside */
} UsbResult;

typedef struct UsbDevice UsbDevice;
typedef struct UsbBus UsbBus;
typedef struct UsbPort UsbPort;

/* One transaction, or several ones of the same kind to one endpoint: len may be any multiple of its packets'
 * size; less than len ends it. The memory is the controller's, until the packet is done or cancelled. A
 * packet under way is no saved state: after a load the controller hands it in again, and the device does what
 * it would have done. */
typedef struct UsbPacket {
    UsbPid pid;
    uint8_t ep; /* 0 to 15 */
    uint8_t *data;
    uint32_t len, actual;
    UsbResult result;
    void (*done)(struct UsbPacket *p); /* after USB_ASYNC only */
    void *opaque;
    UsbDevice *dev; /* private: whose it is while under way */
} UsbPacket;

enum {
    USB_TO_HOST = 0x80,
    USB_TYPE_MASK = 0x60,
    USB_CLASS_REQUEST = 0x20,
    USB_VENDOR_REQUEST = 0x40,
    USB_RECIPIENT = 0x1f,
    USB_TO_DEVICE = 0,
    USB_TO_INTERFACE = 1,
    USB_TO_ENDPOINT = 2,
    USB_TO_OTHER = 3
};
enum {
    USB_DT_DEVICE = 1,
    USB_DT_CONFIG,
    USB_DT_STRING,
    USB_DT_INTERFACE,
    USB_DT_ENDPOINT,
    USB_DT_QUALIFIER,
    USB_DT_OTHER_SPEED,
    USB_DT_BOS = 15,
    USB_DT_HID = 0x21,
    USB_DT_REPORT = 0x22,
    USB_DT_HUB = 0x29,
    USB_DT_COMPANION = 0x30
};
enum { USB_CONTROL_MAX = 4096, USB_STRINGS = 8, USB_HUBS = 5 /* USB 2.0, 4.1.1 */ };

typedef struct UsbSetup {
    uint8_t type, request;
    uint16_t value, index, length;
} UsbSetup;

/* Constant tables. config: what GET_DESCRIPTOR(CONFIGURATION) returns: one configuration, with number 1,
 * whose total length the core fills in; NULL: the device does not work at that speed. */
typedef struct UsbDesc {
    uint16_t vendor, product, release;
    uint8_t device_class, subclass, protocol;
    const char *strings[USB_STRINGS]; /* from 1: manufacturer, product; 3 is the serial number */
    struct {
        const uint8_t *bytes;
        size_t len;
    } config[USB_SPEEDS];
} UsbDesc;

typedef struct UsbClass {
    /* Requests that chapter 9 does not define, and descriptors of classes. data: USB_CONTROL_MAX bytes: what
     * came, *len bytes of it, or room for the answer. False: STALL. */
    bool (*control)(UsbDevice *d, const UsbSetup *s, uint8_t *data, unsigned *len);
    UsbResult (*data)(UsbDevice *d, UsbPacket *p); /* endpoints other than 0, of the configuration */
    void (*cancel)(UsbDevice *d, UsbPacket *p);    /* of USB_ASYNC ones; NULL: there are none */
    void (*reset)(UsbDevice *d);                   /* the port was reset, or a configuration chosen */
    void (*halt_cleared)(UsbDevice *d, unsigned ep, bool in); /* or NULL */
} UsbClass;

struct UsbDevice {
    Device dev;
    const UsbClass *class;
    const UsbDesc *desc;
    UsbPort *port; /* NULL: not plugged in */
    UsbSpeed speed;
    bool is_hub;
    char *serial; /* what string 3 is, NULL: none */
    /* guest-visible state */
    uint8_t addr, config;
    bool remote_wakeup, ready; /* ready: the port was reset, so that the device answers */
    uint32_t halted;           /* bit for each endpoint; 16 more: IN */
    uint8_t setup[8], stage;
    uint16_t setup_len, setup_pos;
    uint8_t control[USB_CONTROL_MAX];
};

struct UsbPort {
    UsbBus *bus;
    UsbDevice *dev;
    UsbDevice *hub;              /* whose it is; NULL: the controller's */
    unsigned index;              /* from 0 */
    unsigned speeds;             /* bits 1 << UsbSpeed */
    char path[24];               /* "1", behind a hub "1.2" */
    void (*changed)(UsbPort *p); /* dev came or is about to go (it is NULL then) */
    void *opaque;
    bool linked; /* private */
};

typedef struct UsbBusOps {
    void (*wakeup)(UsbBus *bus, UsbDevice *d, unsigned ep, bool in);
    void (*gone)(UsbBus *bus, UsbDevice *d); /* its packets are to be forgotten: it goes */
    /* Ports first to first + n - 1 are `of`'s while the bus's own controller leaves them to it: their devices
     * are ports[]'s then. NULL: the controller has no companions. With `of->master` NULL it is over. */
    bool (*companion)(UsbBus *bus, UsbBus *of, UsbPort *const *ports, unsigned n, unsigned first, Error **errp);
    void (*companion_gone)(UsbBus *bus, UsbBus *of);
} UsbBusOps;
struct UsbBus {
    Bus *bus;
    const UsbBusOps *ops;
    void *host;
    GPtrArray *ports; /* UsbPort *, also those of hubs */
    unsigned number;  /* of the machine's */
    UsbBus *master;   /* of a companion: whose ports it has; it has none of its own */
};
extern const BusType usb_bus_type;
extern const DeviceType usb_device_type;
extern const DeviceType usb_kbd_type, usb_mouse_type, usb_tablet_type, usb_hub_type, usb_storage_type;
/* The boards'. */
extern const DeviceType piix3_usb_uhci_type, ich9_usb_ehci1_type;
extern const DeviceType ich9_usb_uhci1_type, ich9_usb_uhci2_type, ich9_usb_uhci3_type;
typedef struct UsbChild { /* bus data */
    char *port, *serial;
} UsbChild;

/* In realize: the controller's bus is "ID.0", without an id "usb-bus.N". MAIN_LOOP. */
void usb_bus_init(UsbBus *b, Device *host, const UsbBusOps *ops, void *opaque);
/* MAIN_LOOP. The port is the caller's and stays until usb_port_remove() or the bus's end. */
void usb_port_add(UsbBus *b, UsbPort *p, UsbDevice *hub, unsigned index, unsigned speeds,
                  void (*changed)(UsbPort *p), void *opaque);
void usb_port_remove(UsbPort *p); /* nothing is plugged in */
/* In realize instead of usb_bus_init(): the controller is a companion of the bus `master`'s (EHCI 1.0, 4.2).
 * ports: n of them, opaque and changed set by the caller; the rest is filled in. MAIN_LOOP. */
bool usb_companion_init(UsbBus *b, Device *host, const UsbBusOps *ops, void *opaque, const char *master,
                        UsbPort *const *ports, unsigned n, unsigned first, Error **errp);
/* The highest of these speeds that the device has becomes its own, from the next reset on. False: it has none
 * of them, and nothing changes. */
bool usb_choose_speed(UsbDevice *d, unsigned speeds);

/* In a device's realize. MAIN_LOOP. */
void usb_device_init(UsbDevice *d, const UsbDesc *desc);
#define usb_device_of(T, d) ((T *)(d)) /* the UsbDevice is the first member */

/* The device that answers to an address, at or below a port that a controller enabled; NULL: none. */
UsbDevice *usb_find_address(UsbPort *p, uint8_t addr);
/* By a route of xHCI's, 4 bits for each hub's port. NULL: nobody is there. */
UsbDevice *usb_find_route(UsbPort *root, uint32_t route);
/* How many hubs are between the port and the controller: USB_HUBS at most. */
unsigned usb_port_tier(const UsbPort *p);
/* The controller's port that it is at or below; NULL: not plugged in. */
UsbPort *usb_root_port(const UsbDevice *d);
/* The bus's reset signal. */
void usb_device_reset(UsbDevice *d);
/* Its port was disabled: it and what is plugged into it do not answer until a reset. */
void usb_device_disable(UsbDevice *d);
void usb_device_set_address(UsbDevice *d, uint8_t addr); /* xHCI does it by itself */

/* p->result says the same as the return. */
UsbResult usb_handle_packet(UsbDevice *d, UsbPacket *p);
void usb_packet_done(UsbPacket *p, UsbResult r);
void usb_cancel_packet(UsbPacket *p); /* one under way: done() is not called */
/* An endpoint that answered NAK has something now, or takes something. */
void usb_wakeup(UsbDevice *d, unsigned ep, bool in);
bool usb_endpoint_halted(const UsbDevice *d, unsigned ep, bool in);
void usb_halt_endpoint(UsbDevice *d, unsigned ep, bool in);
const char *usb_speed_name(UsbSpeed s);   /* "12" Mb/s and so on */
void usb_print(Machine *m, GString *out); /* `info usb`; MAIN_LOOP */

#endif
