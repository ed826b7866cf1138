/* SPDX-License-Identifier: MIT
 * tests/device/pctest.h - a CPU-less machine with the chipset of the pc board, for tests of PCI and firmware
 * interfaces.
 */
#ifndef TESTS_DEVICE_PCTEST_H
#define TESTS_DEVICE_PCTEST_H

#include "hw/i386/pc_internal.h"
#include "rhea/hw/fw_cfg.h"
#include <string.h>

typedef struct PcTest {
    Loop *loop;
    Machine *m;
    Device *host, *i440fx, *piix3, *pm, *fw;
    PciBus *pci;
    PcLayout layout;
} PcTest;

PcTest *pctest_new(uint64_t ram_size, void (*options)(Machine *m));
void pctest_free(PcTest *t);

/* Until the drives' requests are done and told. */
void pctest_settle(PcTest *t);

uint32_t pctest_in(PcTest *t, uint16_t port, unsigned n);
void pctest_out(PcTest *t, uint16_t port, uint32_t v, unsigned n);
uint64_t pctest_read(PcTest *t, hwaddr at, unsigned n);
void pctest_write(PcTest *t, hwaddr at, uint64_t v, unsigned n);
/* Entry n of an IDE bus master's table of buffers at `table`; bit 31 of len: the last one. */
void pctest_prd(PcTest *t, hwaddr table, unsigned n, uint32_t addr, uint32_t len);
uint32_t pctest_config_read(PcTest *t, unsigned devfn, unsigned off, unsigned n);
void pctest_config_write(PcTest *t, unsigned devfn, unsigned off, uint32_t v, unsigned n);
/* A copy of a fw_cfg file read through the ports; NULL when there is none. */
GBytes *pctest_file(PcTest *t, const char *name);
GBytes *pctest_item(PcTest *t, uint16_t key, gsize len);

#endif
