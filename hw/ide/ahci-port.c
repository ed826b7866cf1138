/* SPDX-License-Identifier: MIT
 * hw/ide/ahci-port.c - a port of the AHCI controller at work: command list, FISes, data, queued commands.
 *
 * Models: AHCI 1.3.1: 4.2 (received FIS area, command list, command tables, region descriptors), 5.3 and 5.5
 *         (issue in slot order, PRDBC, errors halt the port until ST is cleared); Serial ATA 3.0, 10.3
 *         (Register, PIO Setup, Set Device Bits FIS), 13.6 (READ and WRITE FPDMA QUEUED). The ATA commands
 * are the drive's: a Register FIS is written into its channel's registers, PIO data moved for it. Does not
 * model: port multipliers, FIS-based switching, DMA Setup FISes (data of queued commands just comes), the log
 * of a failed queued command (software resets the port), partial and slumber states. Threads: the domain of
 * the controller. Requests of queued commands run beside each other and are handed in again after a load;
 * none is made while one that was forgotten is in flight.
 */
#include "ahci.h"
#include "rhea/hw/pci.h"
#include "rhea/system/machine.h"

#include <errno.h>
#include <string.h>

enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_SET_BITS = 0xa1, FIS_PIO_SETUP = 0x5f, FIS_INTERRUPT = 0x40 };
enum { AT_PIO_SETUP = 0x20, AT_D2H = 0x40, AT_SET_BITS = 0x58 }; /* in the received FIS area (4.2.1) */
enum { HEADER_SIZE = 32, TABLE_ACMD = 0x40, TABLE_PRDT = 0x80, PRD_SIZE = 16, H2D_IS_COMMAND = 0x80 };
enum { READ_QUEUED = 0x60, WRITE_QUEUED = 0x61, PACKET = 0xa0 };

typedef struct AhciQueued {
    DriveRequest r;
    AhciTag *tag; /* forgotten: tag->request is another one, or none */
    IdeDrive *drive;
    AhciSg after; /* where the data ends */
    uint32_t bytes;
    uint8_t *data;
} AhciQueued;

static DmaContext *port_dma(AhciPort *p)
{
    return &pci_func(&p->hba->dev)->dma;
}

static IdeDrive *port_drive(AhciPort *p)
{
    return p->ide.drive[0];
}

static uint32_t le32(const uint8_t *b)
{
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static uint64_t le64(const uint8_t *b)
{
    return le32(b) | (uint64_t)le32(b + 4) << 32;
}

/* ---- data ---- */

/* 4.2.3.3: address, reserved, byte count less one (odd) in 22 bits. False: the table ended. */
static bool sg_copy(AhciPort *p, AhciSg *sg, uint8_t *buf, size_t len, bool to_guest)
{
    while (len) {
        uint8_t prd[PRD_SIZE];
        if (sg->index >= sg->n) {
            return false;
        }
        if (dma_read(port_dma(p), sg->table + (uint64_t)sg->index * PRD_SIZE, prd, sizeof(prd)) != MEM_OK) {
            return false;
        }
        uint32_t size = ((le32(prd + 12) & 0x3fffff) | 1) + 1;
        if (sg->off >= size) {
            sg->index++;
            sg->off = 0;
            continue;
        }
        size_t n = MIN(len, size - sg->off);
        dma_copy(port_dma(p), (le64(prd) & ~UINT64_C(1)) + sg->off, buf, n, to_guest);
        sg->off += (uint32_t)n;
        buf += n;
        len -= n;
    }
    return true;
}

static bool port_copy(AhciPort *p, uint8_t *buf, size_t len, bool to_guest)
{
    if (!sg_copy(p, &p->sg, buf, len, to_guest)) {
        guest_error(&p->hba->dev, "the region descriptors of slot %u are too few for the transfer", p->slot);
        ahci_port_event(p, PORT_OFS);
        return false;
    }
    p->moved += (uint32_t)len;
    return true;
}

/* ---- FISes to the host ---- */

static void post_fis(AhciPort *p, unsigned at, const uint8_t *fis, size_t len)
{
    if (p->cmd & CMD_FRE) {
        dma_write(port_dma(p), p->fb + at, fis, len);
    }
}

static void fill_registers(AhciPort *p, uint8_t *fis)
{
    const IdeDrive *d = port_drive(p);
    fis[2] = d->status;
    fis[3] = d->error;
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = d->reg[REG_LBA0 + i];
        fis[8 + i] = d->hob[REG_LBA0 + i];
    }
    fis[7] = p->ide.select;
    fis[12] = d->reg[REG_COUNT];
    fis[13] = d->hob[REG_COUNT];
}

static void post_register_fis(AhciPort *p, bool interrupt)
{
    uint8_t fis[20] = { FIS_D2H, interrupt ? FIS_INTERRUPT : 0 };
    fill_registers(p, fis);
    p->tfd = fis[2] | (uint32_t)fis[3] << 8;
    post_fis(p, AT_D2H, fis, sizeof(fis));
}

/* E_Status is the status once the data has been moved: the command's last when it has ended. */
static void post_pio_setup(AhciPort *p, uint8_t before, uint32_t bytes, bool to_guest)
{
    uint8_t fis[20] = { FIS_PIO_SETUP, FIS_INTERRUPT | (to_guest ? 0x20 : 0) };
    fill_registers(p, fis);
    fis[2] = before;
    fis[15] = port_drive(p)->status;
    fis[16] = (uint8_t)bytes;
    fis[17] = (uint8_t)(bytes >> 8);
    post_fis(p, AT_PIO_SETUP, fis, sizeof(fis));
}

void ahci_port_signature(AhciPort *p)
{
    const IdeDrive *d = port_drive(p);
    if (!d) {
        return;
    }
    p->sig =
        le32((const uint8_t[]){ d->reg[REG_COUNT], d->reg[REG_LBA0], d->reg[REG_LBA1], d->reg[REG_LBA2] });
    post_register_fis(p, false);
}

/* ---- commands that are not queued ---- */

static void port_halt(AhciPort *p, uint32_t why)
{
    p->halted = true;
    ahci_port_event(p, why);
}

static void port_complete(AhciPort *p)
{
    IdeDrive *d = port_drive(p);
    unsigned slot = p->slot;
    bool failed = d->status & ST_ERR, pio = p->pio_in && !failed;
    uint8_t moved[4] = { (uint8_t)p->moved, (uint8_t)(p->moved >> 8), (uint8_t)(p->moved >> 16),
                         (uint8_t)(p->moved >> 24) };
    dma_write(port_dma(p), p->clb + slot * HEADER_SIZE + 4, moved, sizeof(moved));
    d->intrq = false;
    p->slot = AHCI_NO_SLOT;
    if (pio) { /* the last PIO Setup FIS has told the status already */
        p->tfd = d->status | (uint32_t)d->error << 8;
    } else {
        post_register_fis(p, true);
    }
    if (failed) { /* 6.2.2.1: the slot stays in PxCI */
        port_halt(p, PORT_TFES | PORT_DHRS);
        return;
    }
    p->ci &= ~(UINT32_C(1) << slot);
    ahci_port_event(p, pio ? PORT_PSS : PORT_DHRS);
}

/* A block between buf and memory; the packet of a PACKET command comes from the command table. */
static void port_move_block(AhciPort *p)
{
    IdeDrive *d = port_drive(p);
    uint32_t n = d->len - d->pos;
    uint8_t before = d->status;
    bool in = d->phase == IDE_PIO_IN;
    if (!in && p->packet) {
        p->packet = false;
        memcpy(d->buf + d->pos, p->acmd, MIN(n, sizeof(p->acmd)));
    } else {
        port_copy(p, d->buf + d->pos, n, in);
        p->pio_in = in && d->kind->queued;
    }
    d->intrq = false;
    d->pos = d->len;
    d->kind->block_end(d);
    post_pio_setup(p, before, n, in);
}

/* Goes on with the command in p->slot. False: it waits for the drive. */
static bool port_step(AhciPort *p)
{
    IdeDrive *d = port_drive(p);
    if (d->phase == IDE_PIO_IN || d->phase == IDE_PIO_OUT) {
        port_move_block(p);
        return true;
    }
    if (d->phase == IDE_IDLE && !(d->status & (ST_BSY | ST_DRQ))) {
        port_complete(p);
        return true;
    }
    return false;
}

/* ---- queued commands ---- */

static void tag_start(AhciTag *t);

static void queued_free(AhciQueued *q)
{
    g_free(q->data);
    g_free(q);
}

/* Set Device Bits: the tags that have ended, or an error (Serial ATA 3.0, 10.3.6). */
static void tag_end(AhciTag *t, bool failed)
{
    AhciPort *p = t->port;
    unsigned slot = (unsigned)(t - p->tag);
    uint32_t bit = failed ? 0 : UINT32_C(1) << slot;
    uint8_t status = failed ? ST_DRDY | ST_DSC | ST_ERR : ST_DRDY | ST_DSC,
            error = failed ? ER_ABRT | ER_UNC : 0;
    uint8_t fis[8] = { FIS_SET_BITS, FIS_INTERRUPT,       status & 0x77,        error,
                       (uint8_t)bit, (uint8_t)(bit >> 8), (uint8_t)(bit >> 16), (uint8_t)(bit >> 24) };
    t->active = false;
    p->sact &= ~bit;
    p->tfd = status | (uint32_t)error << 8;
    post_fis(p, AT_SET_BITS, fis, sizeof(fis));
    if (failed) {
        port_halt(p, PORT_SDBS | PORT_TFES);
    } else {
        ahci_port_event(p, PORT_SDBS);
    }
}

static void queued_done(DriveRequest *r)
{
    AhciQueued *q = r->opaque;
    AhciTag *t = q->tag;
    if (t->request != q) {
        IdeDrive *d = q->drive;
        queued_free(q);
        ide_drive_forgotten_ended(d);
        return;
    }
    t->request = NULL;
    bool good = r->result >= 0;
    if (good && !t->write) {
        good = sg_copy(t->port, &t->sg, q->data, q->bytes, true);
    }
    t->sg = t->write ? q->after : t->sg;
    t->lba += q->bytes / IDE_SECTOR;
    t->left -= q->bytes / IDE_SECTOR;
    queued_free(q);
    if (good && t->left) {
        tag_start(t);
    } else {
        tag_end(t, !good);
        ahci_port_run(t->port);
    }
}

static void tag_start(AhciTag *t)
{
    AhciPort *p = t->port;
    IdeDrive *d = port_drive(p);
    const IdeDisk *k = (const IdeDisk *)d;
    if (!d || d->forgotten) { /* it is being unplugged, or ahci_port_resume() comes back */
        return;
    }
    AhciQueued *q = g_new0(AhciQueued, 1);
    q->tag = t;
    q->drive = d;
    q->bytes = (uint32_t)MIN((uint64_t)t->left * IDE_SECTOR, (uint64_t)AHCI_CHUNK);
    q->data = g_malloc(q->bytes);
    q->after = t->sg;
    if (!d->port.client || (t->write && !sg_copy(p, &q->after, q->data, q->bytes, false))) {
        queued_free(q);
        tag_end(t, true);
        return;
    }
    q->r = (DriveRequest){ .op = t->write ? DRIVE_WRITE : DRIVE_READ,
                           .off = (int64_t)(t->lba * IDE_SECTOR),
                           .flags = t->fua || (t->write && !k->write_cache) ? BLK_FUA : 0,
                           .done = queued_done,
                           .opaque = q };
    iov_init_buf(&q->r.v, q->data, q->bytes);
    t->request = q;
    drive_submit(&d->port, &q->r);
}

static bool tag_fits(const AhciTag *t)
{
    const IdeDrive *d = t->port->ide.drive[0];
    const IdeDisk *k = (const IdeDisk *)d;
    return d && d->kind->queued && t->left && t->left <= 65536 && t->lba < k->sectors &&
           t->left <= k->sectors - t->lba;
}

/* The device lets go of the bus at once; data and the end of the command come later. */
static void port_queue(AhciPort *p, unsigned slot, const uint8_t *fis, const AhciSg *sg)
{
    IdeDrive *d = port_drive(p);
    AhciTag *t = &p->tag[slot];
    uint32_t sectors = fis[3] | (uint32_t)fis[11] << 8;
    AhciTag new = {
        .port = p,
        .active = true,
        .write = fis[2] == WRITE_QUEUED,
        .fua = fis[7] & 0x80,
        .lba = le32((const uint8_t[]){ fis[4], fis[5], fis[6], fis[8] }) | (uint64_t)fis[9] << 32 |
               (uint64_t)fis[10] << 40,
        .left = sectors ? sectors : 65536,
        .sg = *sg,
    };
    if (t->active || fis[12] >> 3 != slot || !tag_fits(&new)) { /* one that runs there stays as it is */
        guest_error(&p->hba->dev, "queued command in slot %u: tag %u, %u sectors", slot, fis[12] >> 3,
                    new.left);
        d->error = ER_ABRT | ER_IDNF;
        d->status = ST_DRDY | ST_DSC | ST_ERR;
        post_register_fis(p, true);
        port_halt(p, PORT_TFES | PORT_DHRS);
        return;
    }
    *t = new;
    p->ci &= ~(UINT32_C(1) << slot);
    d->error = 0;
    d->status = ST_DRDY | ST_DSC;
    post_register_fis(p, false);
    tag_start(t);
}

/* ---- starting commands ---- */

/* A Register FIS that only carries the control register: software reset takes two of them. */
static void port_control(AhciPort *p, const uint8_t *fis)
{
    bool reset = fis[15] & CTL_SRST;
    if (reset) {
        ide_drive_reset_registers(port_drive(p));
    } else if (p->soft_reset) {
        ahci_port_signature(p);
    }
    p->soft_reset = reset;
}

static void port_issue(AhciPort *p, unsigned slot, const uint8_t *fis)
{
    static const struct {
        uint8_t reg, high, low;
    } map[] = {
        { REG_FEATURE, 11, 3 }, { REG_COUNT, 13, 12 }, { REG_LBA0, 8, 4 },
        { REG_LBA1, 9, 5 },     { REG_LBA2, 10, 6 },
    };
    p->slot = (uint8_t)slot;
    p->pio_in = false;
    p->packet = fis[2] == PACKET;
    p->moved = 0;
    p->tfd |= ST_BSY;
    for (unsigned i = 0; i < G_N_ELEMENTS(map); i++) { /* what was there before becomes the upper byte */
        ide_command_write(&p->ide, map[i].reg, fis[map[i].high], 1);
        ide_command_write(&p->ide, map[i].reg, fis[map[i].low], 1);
    }
    ide_command_write(&p->ide, REG_DEVICE, fis[7] & (uint8_t)~DEV_UNIT, 1);
    ide_command_write(&p->ide, REG_COMMAND, fis[2], 1);
}

static void port_fetch(AhciPort *p, unsigned slot)
{
    uint8_t header[HEADER_SIZE], fis[TABLE_ACMD + sizeof(p->acmd)];
    uint64_t table;
    p->last_slot = (uint8_t)slot;
    if (dma_read(port_dma(p), p->clb + slot * HEADER_SIZE, header, sizeof(header)) != MEM_OK ||
        dma_read(port_dma(p), table = le64(header + 8) & ~UINT64_C(0x7f), fis, sizeof(fis)) != MEM_OK) {
        guest_error(&p->hba->dev, "the command in slot %u cannot be read", slot);
        port_halt(p, PORT_HBFS);
        return;
    }
    AhciSg sg = { .table = table + TABLE_PRDT, .n = header[2] | (uint32_t)header[3] << 8 };
    if (fis[0] != FIS_H2D || (header[0] & 0x1f) < 2 || !(fis[1] & H2D_IS_COMMAND)) {
        p->ci &= ~(UINT32_C(1) << slot);
        if (fis[0] == FIS_H2D) {
            port_control(p, fis);
        } else {
            guest_error(&p->hba->dev, "slot %u has a FIS of type 0x%02x, not a Register FIS", slot, fis[0]);
        }
    } else if ((fis[2] == READ_QUEUED || fis[2] == WRITE_QUEUED) && port_drive(p)->kind->queued) {
        port_queue(p, slot, fis, &sg);
    } else {
        memcpy(p->acmd, fis + TABLE_ACMD, sizeof(p->acmd));
        p->sg = sg;
        port_issue(p, slot, fis);
    }
}

/* 5.3.10: the next after the latest one. */
static unsigned port_next_slot(const AhciPort *p)
{
    for (unsigned i = 1; i <= AHCI_SLOTS; i++) {
        unsigned slot = (p->last_slot + i) % AHCI_SLOTS;
        if (p->ci >> slot & 1) {
            return slot;
        }
    }
    return AHCI_NO_SLOT;
}

void ahci_port_run(AhciPort *p)
{
    if (p->running) { /* called from below: the loop there looks again */
        return;
    }
    p->running = true;
    for (bool more = port_drive(p) && (p->cmd & CMD_ST); more && !p->halted;) {
        if (p->slot != AHCI_NO_SLOT) {
            more = port_step(p);
        } else {
            unsigned slot = port_next_slot(p);
            more = slot != AHCI_NO_SLOT;
            if (more) {
                port_fetch(p, slot);
            }
        }
    }
    p->running = false;
}

void ahci_port_resume(AhciPort *p)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        AhciTag *t = &p->tag[i];
        if (t->active && !t->request) {
            if (tag_fits(t)) {
                tag_start(t);
            } else {
                t->active = false;
            }
        }
    }
    ahci_port_run(p);
}

static void request_forget(AhciTag *t)
{
    if (t->request) {
        t->request->drive->forgotten++;
        t->request = NULL;
    }
}

void ahci_port_forget(AhciPort *p)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        request_forget(&p->tag[i]);
    }
}

static void tag_forget(AhciTag *t)
{
    request_forget(t);
    t->active = t->write = t->fua = false;
    t->lba = t->left = 0;
    t->sg = (AhciSg){ 0 };
}

void ahci_port_stop(AhciPort *p)
{
    if (port_drive(p)) {
        ide_drive_forget(port_drive(p));
    }
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        tag_forget(&p->tag[i]);
    }
    p->ci = p->sact = 0;
    p->slot = AHCI_NO_SLOT;
    p->last_slot = AHCI_SLOTS - 1;
    p->halted = p->packet = p->pio_in = false;
    memset(p->acmd, 0, sizeof(p->acmd));
    p->moved = 0;
    p->sg = (AhciSg){ 0 };
}

/* What the link came up with is what the drive's kind says; its own registers are reset by the drive. */
void ahci_port_defaults(AhciPort *p)
{
    const IdeDrive *d = port_drive(p);
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        tag_forget(&p->tag[i]);
    }
    p->clb = p->fb = 0;
    p->is = p->ie = p->sctl = p->serr = p->sact = p->ci = 0;
    p->cmd = CMD_SUD | CMD_POD;
    p->tfd = d ? d->kind->after_reset | 0x100u : 0x7f;
    p->sig = d ? le32(d->kind->signature) : UINT32_MAX;
    p->ssts = d ? 0x113 : 0; /* 3.3.10: a device, 1.5 Gbit/s, active */
    p->slot = AHCI_NO_SLOT;
    p->last_slot = AHCI_SLOTS - 1;
    p->halted = p->soft_reset = p->packet = p->pio_in = false;
    memset(p->acmd, 0, sizeof(p->acmd));
    p->moved = 0;
    p->sg = (AhciSg){ 0 };
}

/* ---- what the drive asks for ---- */

static AhciPort *of_ide(IdeChannel *c)
{
    return (AhciPort *)((char *)c - offsetof(AhciPort, ide));
}

static void port_irq(void *host G_GNUC_UNUSED, IdeChannel *c, bool level)
{
    AhciPort *p = of_ide(c);
    if (level && p->slot != AHCI_NO_SLOT) {
        ahci_port_run(p);
    }
}

static bool port_dma_ready(void *host G_GNUC_UNUSED, IdeChannel *c)
{
    AhciPort *p = of_ide(c);
    return p->slot != AHCI_NO_SLOT && pci_func(&p->hba->dev)->bus_master;
}

static bool port_dma_copy(void *host G_GNUC_UNUSED, IdeChannel *c, uint8_t *buf, size_t len, bool to_guest)
{
    return of_ide(c)->slot != AHCI_NO_SLOT && port_copy(of_ide(c), buf, len, to_guest);
}

static void port_dma_done(void *host G_GNUC_UNUSED, IdeChannel *c G_GNUC_UNUSED)
{
    /* The drive's interrupt, which came before, has ended the command. */
}

static void port_resume(void *host G_GNUC_UNUSED, IdeChannel *c)
{
    ahci_port_resume(of_ide(c));
}

const IdeOps ahci_ide_ops = {
    .irq = port_irq,
    .dma_ready = port_dma_ready,
    .dma_copy = port_dma_copy,
    .dma_done = port_dma_done,
    .resume = port_resume,
};

static const VmField sg_fields[] = {
    VM_U64(AhciSg, table),
    VM_U32_MAX(AhciSg, n, 0xffff),
    VM_U32_MAX(AhciSg, index, 0xffff),
    VM_U32_MAX(AhciSg, off, 4 << 20),
    { 0 },
};
const VmState ahci_sg_state = { .name = "ahci-sg", .version = 1, .oldest = 1, .fields = sg_fields };
static const VmField tag_fields[] = {
    VM_BOOL(AhciTag, active),
    VM_BOOL(AhciTag, write),
    VM_BOOL(AhciTag, fua),
    VM_U64(AhciTag, lba),
    VM_U32(AhciTag, left),
    VM_STRUCT(AhciTag, sg, ahci_sg_state),
    { 0 },
};
const VmState ahci_tag_state = { .name = "ahci-tag", .version = 1, .oldest = 1, .fields = tag_fields };
