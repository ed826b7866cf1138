/* SPDX-License-Identifier: MIT
 * tests/device/q35test.h - the q35 board with firmware of HLTs, on the test machine: the test is its CPU.
 */
#ifndef TESTS_DEVICE_Q35TEST_H
#define TESTS_DEVICE_Q35TEST_H

#include "rhea/hw/pc.h"
#include "rhea/hw/pci.h"
#include "tests/lib/testmachine.h"

enum { MCH = 0, LPC = PCI_DEVFN(31, 0), SMBUS = PCI_DEVFN(31, 3), PM = 0x600 };

/* tm_free() ends them. */
TestMachine *q35_new(uint64_t ram); /* a guest's power-off leaves it as it is */
/* options: before the machine is built; devices: before firmware's tables are. Both may be NULL. */
TestMachine *q35_new_with(uint64_t ram, void (*options)(Machine *m), void (*devices)(TestMachine *tm));
TestMachine *board_new_with(const BoardType *board, uint64_t ram, void (*options)(Machine *m),
                            void (*devices)(TestMachine *tm)); /* another board of PCI, the same way */
/* I/O ports; configuration space of function fn, through them. n: bytes. */
uint32_t q35_in(TestMachine *tm, uint16_t port, unsigned n);
void q35_out(TestMachine *tm, uint16_t port, uint32_t v, unsigned n);
uint32_t q35_get(TestMachine *tm, unsigned fn, unsigned off, unsigned n);
void q35_set(TestMachine *tm, unsigned fn, unsigned off, uint32_t v, unsigned n);
uint64_t q35_mem(AddressSpace *as, hwaddr at, unsigned n);
Device *q35_find(TestMachine *tm, const DeviceType *type); /* NULL: there is none */

#endif
