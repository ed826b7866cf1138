/* SPDX-License-Identifier: MIT
 * hw/virtio/virtio-serial.h - the controller (virtio-serial.c) and its ports (virtio-serial-port.c).
 *
 * A controller has numbered ports, each with a queue in both directions, and two queues of control messages.
 * What guest and device have told each other of a number is the controller's and saved with it; a port is a
 * device of its own that may come and go, with a character device behind it. All calls: the platform domain,
 * except where MAIN_LOOP is said, which is without one.
 */
#ifndef HW_VIRTIO_SERIAL_H
#define HW_VIRTIO_SERIAL_H

#include "rhea/backends/char.h"
#include "rhea/system/machine.h"
#include "rhea/hw/virtio.h"

/* 5.3.2: port 0 has queues 0 and 1, control messages 2 and 3, port N from 2 * N + 2 on. */
enum { SERIAL_PORTS = (VIRTIO_QUEUES - 2) / 2, SERIAL_CONTROL_IN = 2, SERIAL_CONTROL_OUT = 3 };
#define SERIAL_NR_AUTO UINT32_MAX
/* 5.3.6.2: control messages. */
typedef enum SerialMessage {
    SERIAL_NOTHING = -1,
    SERIAL_DEVICE_READY, /* from the driver */
    SERIAL_DEVICE_ADD,
    SERIAL_DEVICE_REMOVE,
    SERIAL_PORT_READY, /* from the driver */
    SERIAL_CONSOLE_PORT,
    SERIAL_RESIZE,
    SERIAL_PORT_OPEN, /* both ways */
    SERIAL_PORT_NAME,
} SerialMessage;

/* Of a port's number. What is due waits for a buffer of the driver's: it takes no memory but this. */
enum {
    SLOT_TOLD = 1,        /* the driver knows that there is a port */
    SLOT_GONE = 2,        /* what it knew of is gone: a message is due */
    SLOT_READY = 4,       /* the driver has set the port up */
    SLOT_CONSOLE_DUE = 8, /* these messages */
    SLOT_NAME_DUE = 16,
    SLOT_HOST_OPEN = 32,  /* the driver was told so */
    SLOT_GUEST_OPEN = 64, /* and told so */
    SLOT_STALLED = 128,   /* output waits in the queue until the character device takes more */
};

/* What is left of it when a port is gone. A driver that sends no messages has port 0 open, whether it is
 * there or not. */
static inline uint8_t serial_slot_left(uint8_t slot)
{
    return slot & (SLOT_TOLD | SLOT_GONE) ? SLOT_GONE : slot & SLOT_GUEST_OPEN;
}

typedef struct SerialPort SerialPort;
typedef struct VirtioSerial {
    VirtioDevice v;
    uint32_t max_ports, pci_class; /* properties */
    bool emergency_write;
    Bus *bus;
    SerialPort *ports[SERIAL_PORTS]; /* written by the main loop with the domain held */
    MachineListener listener;
    DomainTask more;
    bool goes_on; /* queues were left before they were empty */
    bool ready;   /* the driver wants control messages */
    uint8_t slot[SERIAL_PORTS];
    uint64_t out_done[SERIAL_PORTS];     /* bytes of the first buffer that are sent already */
    unsigned out_generation[SERIAL_PORTS]; /* of the queue that counts for; no part of the state */
} VirtioSerial;
#define serial_of(V) ((VirtioSerial *)(V))

struct SerialPort {
    Device dev;
    CharPort chr; /* properties */
    uint32_t nr;
    char *name; /* or NULL */
    VirtioSerial *ctl;
    bool console;
    bool host_open;   /* somebody is at the other end; a console's is always there */
    VirtElem *taken;  /* by port_room(), for the port_receive() that follows at once */
    Timer patience;   /* a console's output has waited for so long */
    bool gave_up;     /* and is dropped until the character device takes some again */
};

/* virtio-serial.c */
/* A message of the driver's. */
void serial_message(VirtioSerial *s, uint32_t nr, unsigned event, unsigned value);
/* Sends what is due, as far as there are buffers. From the main loop serial_tell_later(): it waits until the
 * machine runs. */
void serial_tell(VirtioSerial *s);
void serial_tell_later(VirtioSerial *s);
/* Queues were left with something in them: others have their turn. */
void serial_go_on(VirtioSerial *s);

/* virtio-serial-port.c */
extern const BusType virtio_serial_bus_type;
extern const DeviceType virtserialport_type, virtconsole_type;
VirtQueue *serial_queue(VirtioSerial *s, unsigned nr, bool out);
void serial_send(VirtioSerial *s, unsigned nr); /* the driver's output */
void serial_accept(VirtioSerial *s, unsigned nr); /* it has buffers, or has opened the port */
void serial_set_guest_open(VirtioSerial *s, unsigned nr, bool open);
/* Nothing of before is waited for. */
void serial_port_reset(SerialPort *p);
void serial_port_emergency(SerialPort *p, uint8_t byte);

#endif
