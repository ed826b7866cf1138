/* SPDX-License-Identifier: MIT
 * hw/char/uart16550.c - 16550A UART, on the ISA bus and as a PCI function.
 * Models:         PC16550D data sheet: registers, FIFO mode with trigger levels and character time-out,
 *                 interrupt sources and their priority, loopback, modem lines and their deltas, break,
 *                 overrun.
 * Does not model: the time a byte takes to leave (it leaves as soon as the character back end takes it;
 *                 until then THRE and TEMT stay low), word length (bytes pass whole), FIFO DMA modes, the
 *                 OUT2 gate of PC cards (interrupts pass whatever OUT2 is).
 * Threads:        everything runs in the device's domain, the character port's callbacks included.
 */
#include "rhea/backends/char.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/pci.h"
#include "rhea/hw/pcmisc.h"
#include "rhea/system/machine.h"

enum { R_DATA, R_IER, R_IIR_FCR, R_LCR, R_MCR, R_LSR, R_MSR, R_SCR, R_COUNT };
enum { IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8 };
enum {
    IIR_MODEM = 0,
    IIR_NONE = 1,
    IIR_THRE = 2,
    IIR_RX = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 0xc,
    IIR_FIFOS = 0xc0
};
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_STICKY = 0xc9 };
enum { LCR_STOP = 4, LCR_PARITY = 8, LCR_EVEN = 0x10, LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum {
    LSR_DR = 1,
    LSR_OE = 2,
    LSR_PE = 4,
    LSR_FE = 8,
    LSR_BI = 0x10,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    LSR_FIFO_ERR = 0x80,
    LSR_CHAR_ERR = LSR_PE | LSR_FE | LSR_BI,
    LSR_STICKY = LSR_OE | LSR_CHAR_ERR
};
enum { MSR_DELTAS = 0x0f, MSR_TERI = 4, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
enum { UART_FIFO = 16 };

typedef struct Uart {
    Device dev;
    CharPort chr; /* configuration */
    uint32_t baud_base;
    MemRegion regs; /* wiring */
    IrqLine irq;
    Timer timeout;
    /* guest-visible state */
    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr; /* LSR_STICKY bits only, the rest follows from the FIFOs */
    uint8_t msr;
    uint16_t divisor;
    bool thre_pending; /* raised and not yet acknowledged by an IIR read or a write to THR */
    bool timeout_pending;
    Fifo8 rx, rx_errors; /* characters, and the LSR_CHAR_ERR bits each came with */
    Fifo8 tx;            /* what the back end has not taken yet */
    /* derived */
    bool waiting; /* the back end will call when it is writable */
} Uart;

static unsigned uart_depth(const Uart *u)
{
    return u->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static unsigned uart_trigger(const Uart *u)
{
    static const uint8_t level[] = { 1, 4, 8, 14 };
    return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* Data sheet, table "Interrupt Control Functions": the highest-priority source both pending and enabled. */
static uint8_t uart_pending(const Uart *u)
{
    if (u->ier & IER_LINE && u->lsr & LSR_STICKY) {
        return IIR_LINE;
    }
    if (u->ier & IER_RX && fifo8_used(&u->rx) >= uart_trigger(u)) {
        return IIR_RX;
    }
    if (u->ier & IER_RX && u->timeout_pending) {
        return IIR_TIMEOUT;
    }
    if (u->ier & IER_THRE && u->thre_pending) {
        return IIR_THRE;
    }
    return u->ier & IER_MODEM && u->msr & MSR_DELTAS ? IIR_MODEM : IIR_NONE;
}

/* Recomputes the line from scratch; called after every change of state, so no path can forget an edge. */
static void uart_update(Uart *u)
{
    irq_set(&u->irq, uart_pending(u) != IIR_NONE);
}

/* Start bit, data, parity, stop bits. */
static unsigned uart_frame_bits(const Uart *u)
{
    return 1 + 5 + (u->lcr & 3) + !!(u->lcr & LCR_PARITY) + 1 + !!(u->lcr & LCR_STOP);
}

/* Data sheet, "FIFO interrupt mode operation" D: four character times without a character or a read. */
static void uart_start_timeout(Uart *u)
{
    u->timeout_pending = false;
    if (!(u->fcr & FCR_ENABLE) || !fifo8_used(&u->rx)) {
        timer_cancel(&u->timeout);
        return;
    }
    uint64_t divisor = u->divisor ? u->divisor : 65536;
    uint64_t ns = 4 * uart_frame_bits(u) * divisor * UINT64_C(1000000000) / u->baud_base;
    timer_arm(&u->timeout, clock_now(u->dev.machine->clock) + ns);
}

static void uart_timed_out(void *opaque)
{
    Uart *u = opaque;
    u->timeout_pending = fifo8_used(&u->rx) > 0;
    uart_update(u);
}

/* A character has come to the top of the FIFO: its errors become visible. */
static void uart_show_top(Uart *u)
{
    u->lsr |= fifo8_peek_or(&u->rx_errors, 0, 0) & LSR_CHAR_ERR;
}

static void uart_push(Uart *u, uint8_t byte, uint8_t errors)
{
    if (fifo8_used(&u->rx) >= uart_depth(u)) {
        u->lsr |= LSR_OE; /* the character in the shift register is lost, the FIFO stays */
        return;
    }
    fifo8_push(&u->rx, byte);
    fifo8_push(&u->rx_errors, errors);
    if (fifo8_used(&u->rx) == 1) {
        uart_show_top(u);
    }
    uart_start_timeout(u);
}

static size_t uart_room(void *opaque)
{
    Uart *u = opaque;
    unsigned used = fifo8_used(&u->rx);
    /* In loopback the serial input is disconnected; what comes waits at the host. */
    return u->mcr & MCR_LOOP || used >= uart_depth(u) ? 0 : uart_depth(u) - used;
}

static void uart_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Uart *u = opaque;
    for (size_t i = 0; i < len; i++) {
        uart_push(u, buf[i], 0);
    }
    uart_update(u);
}

static void uart_event(void *opaque, CharEvent event)
{
    Uart *u = opaque;
    if (event == CHAR_BREAK && !(u->mcr & MCR_LOOP)) {
        uart_push(u, 0, LSR_BI); /* "only one zero character is loaded into the FIFO" */
        uart_update(u);
    }
}

static void uart_writable(void *opaque);

/* Hands the transmitter's bytes to the back end, or back to the receiver in loopback. */
static void uart_transmit(Uart *u)
{
    while (fifo8_used(&u->tx)) {
        uint8_t byte = fifo8_peek_or(&u->tx, 0, 0);
        if (u->mcr & MCR_LOOP) {
            uart_push(u, byte, 0);
        } else if (u->chr.be && !char_write(&u->chr, &byte, 1)) {
            if (!u->waiting) {
                u->waiting = true;
                char_notify_writable(&u->chr, uart_writable);
            }
            return; /* THRE and TEMT stay low, nothing is lost */
        }
        fifo8_pop_or(&u->tx, 0);
    }
    u->thre_pending = true;
}

static void uart_writable(void *opaque)
{
    Uart *u = opaque;
    u->waiting = false;
    if (fifo8_used(&u->tx)) {
        uart_transmit(u);
        uart_update(u);
    }
}

/* Data sheet, "Modem Status Register": the lines, and which changed since the last read. */
static void uart_update_modem(Uart *u)
{
    uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD; /* the far end is there */
    if (u->mcr & MCR_LOOP) {
        lines = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    }
    uint8_t changed = (u->msr ^ lines) >> 4;
    if (lines & MSR_RI) {
        changed &= ~MSR_TERI; /* the ring indicator counts on its trailing edge only */
    }
    u->msr = lines | (u->msr & MSR_DELTAS) | changed;
}

static void uart_update_line(Uart *u)
{
    bool parity = u->lcr & LCR_PARITY, even = u->lcr & LCR_EVEN;
    CharSerialParams params = {
        .speed = u->baud_base / (u->divisor ? u->divisor : 65536),
        .parity = !parity ? 'N'
                  : even  ? 'E'
                          : 'O',
        .data_bits = 5 + (u->lcr & 3),
        .stop_bits = u->lcr & LCR_STOP ? 2 : 1,
        .brk = u->lcr & LCR_BREAK,
    };
    char_set_serial(&u->chr, &params);
}

static void uart_clear_rx(Uart *u)
{
    fifo8_clear(&u->rx);
    fifo8_clear(&u->rx_errors);
    u->lsr &= ~LSR_CHAR_ERR;
    uart_start_timeout(u);
}

static uint8_t uart_lsr(const Uart *u)
{
    uint8_t val = u->lsr | (fifo8_used(&u->rx) ? LSR_DR : 0) | (fifo8_used(&u->tx) ? 0 : LSR_THRE | LSR_TEMT);
    bool errors = u->lsr & LSR_CHAR_ERR;
    for (unsigned i = 1; i < fifo8_used(&u->rx_errors); i++) {
        errors |= fifo8_peek_or(&u->rx_errors, i, 0) != 0;
    }
    return val | (u->fcr & FCR_ENABLE && errors ? LSR_FIFO_ERR : 0);
}

static uint8_t uart_read_data(Uart *u)
{
    uint8_t val = fifo8_pop_or(&u->rx, 0);
    fifo8_pop_or(&u->rx_errors, 0);
    uart_show_top(u);
    uart_start_timeout(u);
    return val;
}

static uint64_t uart_read(void *opaque, MemAccess *a)
{
    Uart *u = opaque;
    bool dlab = u->lcr & LCR_DLAB;
    uint8_t val = 0;
    switch (a->off) {
    case R_DATA:
        val = dlab ? u->divisor & 0xff : a->attrs.debug ? fifo8_peek_or(&u->rx, 0, 0) : uart_read_data(u);
        break;
    case R_IER: val = dlab ? u->divisor >> 8 : u->ier; break;
    case R_IIR_FCR:
        val = uart_pending(u);
        u->thre_pending &= val != IIR_THRE || a->attrs.debug; /* read as the cause = acknowledged */
        val |= u->fcr & FCR_ENABLE ? IIR_FIFOS : 0;
        break;
    case R_LCR: val = u->lcr; break;
    case R_MCR: val = u->mcr; break;
    case R_LSR:
        val = uart_lsr(u);
        u->lsr &= a->attrs.debug ? LSR_STICKY : 0;
        break;
    case R_MSR:
        val = u->msr;
        u->msr &= a->attrs.debug ? 0xff : ~MSR_DELTAS;
        break;
    case R_SCR: val = u->scr; break;
    }
    if (a->off == R_DATA) {
        char_accept_input(&u->chr);
    }
    uart_update(u);
    return val;
}

static void uart_write_fcr(Uart *u, uint8_t val)
{
    bool toggled = (val ^ u->fcr) & FCR_ENABLE;
    u->fcr = val & FCR_ENABLE ? val & FCR_STICKY : 0; /* "must be a 1 when other FCR bits are written" */
    if (toggled || (val & FCR_ENABLE && val & FCR_CLEAR_RX)) {
        uart_clear_rx(u);
    }
    if ((toggled || (val & FCR_ENABLE && val & FCR_CLEAR_TX)) && fifo8_used(&u->tx)) {
        fifo8_clear(&u->tx);
        u->thre_pending = true;
    }
    uart_start_timeout(u);
    char_accept_input(&u->chr);
}

static void uart_write(void *opaque, MemAccess *a, uint64_t val)
{
    Uart *u = opaque;
    bool dlab = u->lcr & LCR_DLAB;
    switch (a->off) {
    case R_DATA:
        if (dlab) {
            u->divisor = (u->divisor & 0xff00) | val;
            uart_update_line(u);
            break;
        }
        u->thre_pending = false;
        if (fifo8_used(&u->tx) < uart_depth(u)) { /* beyond that the guest writes over what it wrote */
            fifo8_push(&u->tx, val);
        }
        uart_transmit(u);
        break;
    case R_IER:
        if (dlab) {
            u->divisor = (u->divisor & 0xff) | val << 8;
            uart_update_line(u);
            break;
        }
        /* Enabling the source while the register is empty interrupts at once. */
        if (val & ~u->ier & IER_THRE && !fifo8_used(&u->tx)) {
            u->thre_pending = true;
        }
        u->ier = val & 0x0f;
        break;
    case R_IIR_FCR: uart_write_fcr(u, val); break;
    case R_LCR:
        u->lcr = val;
        uart_update_line(u);
        break;
    case R_MCR:
        u->mcr = val & MCR_MASK;
        uart_update_modem(u);
        if (fifo8_used(&u->tx)) {
            uart_transmit(u); /* what waited for the host goes round the loop */
        }
        char_accept_input(&u->chr);
        break;
    case R_SCR: u->scr = val; break;
    default:
        guest_error(&u->dev, "write of %02x to read-only register %u", (unsigned)val, (unsigned)a->off);
        break;
    }
    uart_update(u);
}

static bool uart_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = {
        .read = uart_read, .write = uart_write, .min = 1, .max = 1, .impl_min = 1, .impl_max = 1
    };
    static const CharHandler handler = { .room = uart_room, .receive = uart_receive, .event = uart_event };
    Uart *u = dev_as(Uart, dev);
    device_add_fifo8(dev, &u->rx, UART_FIFO);
    device_add_fifo8(dev, &u->rx_errors, UART_FIFO);
    device_add_fifo8(dev, &u->tx, UART_FIFO);
    region_init_io(&u->regs, dev, "serial", &ops, u, R_COUNT);
    device_add_region(dev, &u->regs);
    device_add_irq(dev, &u->irq);
    device_add_timer(dev, &u->timeout, uart_timed_out);
    char_attach(&u->chr, &handler, u, dev->domain);
    return true;
}

static void uart_unrealize(Device *dev)
{
    char_detach(&dev_as(Uart, dev)->chr);
}

/* Data sheet, table "UART Reset Configuration". It leaves SCR and the divisor alone; a fresh chip has them
 * in any state, and 9600 baud is what firmware expects to find. */
static void uart_reset(Device *dev, ResetKind kind)
{
    Uart *u = dev_as(Uart, dev);
    u->ier = u->fcr = u->lcr = u->lsr = u->mcr = 0;
    if (kind != RESET_WARM) {
        u->scr = 0;
        u->divisor = 12;
    }
    u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    u->thre_pending = false;
    fifo8_clear(&u->tx);
    uart_clear_rx(u);
}

static void uart_reset_done(Device *dev)
{
    Uart *u = dev_as(Uart, dev);
    uart_update(u);
    uart_update_line(u);
    char_accept_input(&u->chr);
}

static bool uart_post_load(void *opaque, Error **errp)
{
    Uart *u = opaque;
    if (fifo8_used(&u->rx) != fifo8_used(&u->rx_errors)) {
        return error_set(errp, "%u characters have %u error flags", fifo8_used(&u->rx),
                         fifo8_used(&u->rx_errors));
    }
    if (fifo8_used(&u->tx) && !u->waiting && u->chr.be) {
        u->waiting = true;
        char_notify_writable(&u->chr, uart_writable);
    }
    uart_update_line(u);
    uart_update(u);
    return true;
}

static const Prop uart_props[] = {
    PROP_CHARDEV(Uart, chr, "chardev", "Host side of the serial line"),
    PROP_U32(Uart, baud_base, "baudbase", 115200, 1, 4000000, "Baud rate at divisor 1"),
    { 0 },
};
static const VmField uart_fields[] = {
    VM_U8_MAX(Uart, ier, 0x0f),
    VM_U8(Uart, fcr),
    VM_U8(Uart, lcr),
    VM_U8_MAX(Uart, mcr, MCR_MASK),
    VM_U8(Uart, lsr),
    VM_U8(Uart, msr),
    VM_U8(Uart, scr),
    VM_U16(Uart, divisor),
    VM_BOOL(Uart, thre_pending),
    VM_BOOL(Uart, timeout_pending),
    VM_FIFO8(Uart, rx),
    VM_FIFO8(Uart, rx_errors),
    VM_FIFO8(Uart, tx),
    VM_TIMER(Uart, timeout),
    { 0 },
};
static const VmState uart_state = {
    .name = "uart16550", .version = 1, .oldest = 1, .fields = uart_fields, .post_load = uart_post_load
};
static const uint16_t serial_iobase[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
static const int8_t serial_irq[] = { 4, 3, 4, 3 };
static const IsaOps serial_isa = {
    .iobase = { 0x3f8 }, .irq = 4, .iobase_n = serial_iobase, .irq_n = serial_irq, .n = 4, .irq_shared = true
};

/* The identity that guests know as a 16550 behind one I/O BAR. */
static const PciOps serial_pci = {
    .vendor = 0x1b36,
    .device = 0x0002,
    .class_code = 0x070002,
    .revision = 1,
    .intx_pin = 1,
    .bar = { { .kind = PCI_BAR_IO } },
};

/* The same chip behind two buses. */
#define SERIAL_TYPE_COMMON                                                                                   \
    .size = sizeof(Uart), .category = "Input", .props = uart_props, .vmstate = &uart_state,                  \
    .realize = uart_realize, .unrealize = uart_unrealize, .reset = uart_reset, .reset_done = uart_reset_done

const DeviceType isa_serial_type = {
    SERIAL_TYPE_COMMON,
    .name = "isa-serial",
    .desc = "16550A serial port",
    .bus_type = &isa_bus_type,
    .bus_ops = &serial_isa,
};

const DeviceType pci_serial_type = {
    SERIAL_TYPE_COMMON,
    .name = "pci-serial",
    .desc = "16550A serial port on PCI",
    .bus_type = &pci_bus_type,
    .bus_ops = &serial_pci,
};
