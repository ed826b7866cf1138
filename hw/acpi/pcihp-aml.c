/* SPDX-License-Identifier: MIT
 * hw/acpi/pcihp-aml.c - hot-plug of PCI devices by ACPI: what the tables say of it.
 *
 * Models: ACPI 6.3: 5.6.4.1 (general-purpose event methods), 5.6.6 (notifications: 1 device check, 3 eject
 *         request), 6.1.11 (_SUN), 6.3.3 (_EJ0), 20.2.5.3 and 20.2.5.4 (mutexes, Notify).
 *         \_GPE._E01 -> PCNT of the root, which tells of its slots and calls the PCNT of each port -> HPNT, a
 *         Notify for each slot named in a mask. _EJ0 -> HPTO, which writes the register. Each bus has a
 *         device for each of its slots, whether somebody is there or not: the tables never change.
 * Threads: none; it writes to the caller's array.
 */
#include "rhea/hw/pcie.h"
#include "rhea/hw/pcihp.h"

enum {
    AML_EXT = 0x5b,
    AML_MUTEX = 0x01,
    AML_ACQUIRE = 0x23,
    AML_RELEASE = 0x27,
    AML_NOTIFY = 0x86,
    AML_ARG1 = 0x69
};
enum { NOTIFY_CHECK = 1, NOTIFY_EJECT = 3, FOREVER = 0xffff };

/* Names in the scope of the root bridge. */
#define LOCK     "HPLK"
#define REGION   "HPRG"
#define UP       "HPUP"
#define DOWN     "HPDN"
#define EJECT    "HPEJ"
#define CAPABLE  "HPRM"
#define SELECT   "HPBS"
#define TAKE_OUT "HPTO"
#define TELL     "HPNT"
#define LOOK     "PCNT"

static void lock(Aml *a, const char *path)
{
    aml_byte(a, AML_EXT);
    aml_byte(a, AML_ACQUIRE);
    aml_path(a, path);
    aml_byte(a, FOREVER & 0xff);
    aml_byte(a, FOREVER >> 8);
}

static void unlock(Aml *a, const char *path)
{
    aml_byte(a, AML_EXT);
    aml_byte(a, AML_RELEASE);
    aml_path(a, path);
}

static void registers(const AcpiPcihp *h, Aml *a)
{
    static const char *const names[] = { UP, DOWN, EJECT, CAPABLE, SELECT };
    aml_op_region(a, REGION, AML_SPACE_IO, h->port, ACPI_PCIHP_SIZE);
    aml_field(a, REGION, AML_FIELD_DWORD);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        aml_field_unit(a, names[i], 32);
    }
    aml_end(a);
    aml_byte(a, AML_EXT);
    aml_byte(a, AML_MUTEX);
    aml_path(a, LOCK);
    aml_byte(a, 0);
}

/* HPTO(bus, slots): the selected bus may not change in between. */
static void take_out(Aml *a)
{
    aml_method(a, TAKE_OUT, 2, true);
    lock(a, LOCK);
    aml_byte(a, AML_STORE);
    aml_byte(a, AML_ARG0);
    aml_path(a, SELECT);
    aml_byte(a, AML_STORE);
    aml_byte(a, AML_ARG1);
    aml_path(a, EJECT);
    unlock(a, LOCK);
    aml_end(a);
}

static void slot_name(char name[static 5], unsigned slot)
{
    g_snprintf(name, 5, "S%02X", PCI_DEVFN(slot, 0) & 0xff);
}

static void slot_device(Aml *a, unsigned bus, unsigned slot)
{
    char name[5];
    slot_name(name, slot);
    aml_device(a, name);
    aml_name_int(a, "_ADR", (uint64_t)slot << 16);
    aml_name_int(a, "_SUN", slot);
    aml_method(a, "_EJ0", 1, false);
    aml_path(a, TAKE_OUT);
    aml_int(a, bus);
    aml_int(a, UINT32_C(1) << slot);
    aml_end(a);
    aml_end(a);
}

/* HPNT(slots, what): of the bus in whose scope it is. */
static void tell(const AcpiPcihp *h, Aml *a, unsigned bus)
{
    aml_method(a, TELL, 2, false);
    for (unsigned slot = 0; slot < h->bus[bus]->n_slots; slot++) {
        char name[5];
        if (h->fixed[bus] >> slot & 1) {
            continue;
        }
        slot_name(name, slot);
        aml_if(a);
        aml_byte(a, AML_AND);
        aml_byte(a, AML_ARG0);
        aml_int(a, UINT32_C(1) << slot);
        aml_byte(a, AML_NIL);
        aml_byte(a, AML_NOTIFY);
        aml_path(a, name);
        aml_byte(a, AML_ARG1);
        aml_end(a);
    }
    aml_end(a);
}

static void look_at_slots(Aml *a, unsigned bus)
{
    aml_byte(a, AML_STORE);
    aml_int(a, bus);
    aml_path(a, SELECT);
    aml_path(a, TELL);
    aml_path(a, UP);
    aml_int(a, NOTIFY_CHECK);
    aml_path(a, TELL);
    aml_path(a, DOWN);
    aml_int(a, NOTIFY_EJECT);
}

static void slots(const AcpiPcihp *h, Aml *a, unsigned bus)
{
    for (unsigned slot = 0; slot < h->bus[bus]->n_slots; slot++) {
        if (!(h->fixed[bus] >> slot & 1)) {
            slot_device(a, bus, slot);
        }
    }
    tell(h, a, bus);
}

static const Device *port_of(const AcpiPcihp *h, unsigned bus)
{
    return h->bus[bus]->bridge ? h->bus[bus]->bridge->dev : NULL;
}

static void port_name(char name[static 5], const Device *port)
{
    g_snprintf(name, 5, "S%02X", ((const PciFunc *)port->bus_data)->devfn);
}

/* A port and its one slot. */
static void port(const AcpiPcihp *h, Aml *a, unsigned bus)
{
    const Device *dev = port_of(h, bus);
    unsigned devfn = ((const PciFunc *)dev->bus_data)->devfn;
    char name[5];
    port_name(name, dev);
    aml_device(a, name);
    aml_name_int(a, "_ADR", (uint64_t)(devfn >> 3) << 16 | (devfn & 7));
    slots(h, a, bus);
    aml_method(a, LOOK, 0, false);
    look_at_slots(a, bus);
    aml_end(a);
    aml_end(a);
}

void acpi_pcihp_describe(const AcpiPcihp *h, Aml *a)
{
    if (!h->n) {
        return;
    }
    registers(h, a);
    take_out(a);
    for (unsigned k = 0; k < h->n; k++) {
        (port_of(h, k) ? port : slots)(h, a, k);
    }
    aml_method(a, LOOK, 0, false);
    for (unsigned k = 0; k < h->n; k++) {
        char name[5];
        if (!port_of(h, k)) {
            look_at_slots(a, k);
            continue;
        }
        port_name(name, port_of(h, k));
        g_autofree char *path =
            g_strdup_printf("^%s." LOOK, name); /* names of several parts are not searched for */
        aml_path(a, path);
    }
    aml_end(a);
}

void acpi_pcihp_describe_event(const AcpiPcihp *h, Aml *a)
{
    static const char lock_path[] = "\\_SB.PCI0." LOCK, look[] = "\\_SB.PCI0." LOOK;
    if (!h->n) {
        return;
    }
    aml_scope(a, "\\_GPE");
    aml_method(a, "_E01", 0, false);
    lock(a, lock_path);
    aml_path(a, look);
    unlock(a, lock_path);
    aml_end(a);
    aml_end(a);
}
