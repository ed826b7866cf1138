/* SPDX-License-Identifier: MIT
 * hw/ide/identify.c - the 256 words that an ATA disk answers IDENTIFY DEVICE with.
 *
 * Models: ATA/ATAPI-6 (T13/1410D) 8.15, of ATA/ATAPI-7 words 106 (sizes of physical sectors) and 108 (world
 *         wide name), of ACS-2 (T13/2015-D) words 105 and 169 (TRIM), 217 (rotation rate).
 * Threads: the domain of the adapter.
 */
#include "ide.h"

#include <string.h>

void ide_put_word(uint8_t *buf, unsigned word, unsigned v)
{
    buf[2 * word] = (uint8_t)v;
    buf[2 * word + 1] = (uint8_t)(v >> 8);
}

/* Text has its bytes swapped and is padded with blanks (8.15.7). */
void ide_put_text(uint8_t *buf, unsigned word, unsigned words, const char *s)
{
    for (unsigned i = 0; i < 2 * words; i++) {
        buf[2 * word + (i ^ 1)] = *s ? (uint8_t)*s++ : ' ';
    }
}

/* ATA/ATAPI-7 6.19: its four words, the highest first, and the bits that say so. */
void ide_put_wwn(uint8_t *b, uint64_t wwn)
{
    if (wwn) {
        b[2 * 84 + 1] |= 1;
        b[2 * 87 + 1] |= 1;
        for (unsigned w = 0; w < 4; w++) {
            ide_put_word(b, 108 + w, (unsigned)(wwn >> (48 - 16 * w)) & 0xffff);
        }
    }
}

void ide_identify_disk(const IdeDisk *k, uint8_t *b)
{
    const DiskShape *g = &k->shape;
    uint64_t chs = (uint64_t)g->cyls * g->heads * g->secs, lba28 = MIN(k->sectors, IDE_LBA28_MAX);
    unsigned ratio = (unsigned)__builtin_ctzll(g->physical / IDE_SECTOR);
    bool trim = ide_can_trim(k);
    memset(b, 0, IDE_SECTOR);
    ide_put_word(b, 0, 0x0040);
    ide_put_word(b, 1, g->cyls);
    ide_put_word(b, 3, g->heads);
    ide_put_word(b, 6, g->secs);
    ide_put_text(b, 10, 10, k->d.serial);
    ide_put_text(b, 23, 4, k->d.ver);
    ide_put_text(b, 27, 20, k->d.model);
    ide_put_word(b, 47, 0x8000 | IDE_MULTIPLE);
    ide_put_word(b, 48, 1);
    ide_put_word(b, 49, 0x0f00); /* DMA, LBA, IORDY */
    ide_put_word(b, 50, 0x4000);
    ide_put_word(b, 51, 0x0200);
    ide_put_word(b, 52, 0x0200);
    ide_put_word(b, 53, 7);
    ide_put_word(b, 54, g->cyls);
    ide_put_word(b, 55, k->heads);
    ide_put_word(b, 56, k->spt);
    ide_put_word(b, 57, (unsigned)chs);
    ide_put_word(b, 58, (unsigned)(chs >> 16));
    ide_put_word(b, 59, k->multiple ? 0x100 | k->multiple : 0);
    ide_put_word(b, 60, (unsigned)lba28);
    ide_put_word(b, 61, (unsigned)(lba28 >> 16));
    ide_put_word(b, 63, 7 | (k->d.dma_mode >> 3 == 4 ? 0x100u << (k->d.dma_mode & 7) : 0));
    ide_put_word(b, 64, 3); /* PIO 3 and 4 */
    for (unsigned w = 65; w <= 68; w++) {
        ide_put_word(b, w, 120);
    }
    ide_put_word(b, 80, 0xfe);   /* ATA-1 to ATA/ATAPI-7: Linux looks for TRIM from there on */
    ide_put_word(b, 82, 0x4020); /* NOP, write cache */
    ide_put_word(b, 83, 0x7400); /* FLUSH CACHE, FLUSH CACHE EXT, 48-bit */
    ide_put_word(b, 84, 0x4040); /* FUA writes */
    ide_put_word(b, 85, 0x4000 | (k->write_cache ? 0x20 : 0));
    ide_put_word(b, 86, 0x3400);
    ide_put_word(b, 87, 0x4040);
    ide_put_word(b, 88,
                 0x07 | (k->d.dma_mode >> 3 == 8 ? 0x100u << (k->d.dma_mode & 7) : 0)); /* Ultra DMA 0 to 2 */
    for (unsigned w = 0; w < 4; w++) {
        ide_put_word(b, 100 + w, (unsigned)(k->sectors >> (16 * w)) & 0xffff);
    }
    if (k->d.channel->sata) { /* Serial ATA 3.0, 13.2.1: 32 queued commands, 1.5 Gbit/s */
        ide_put_word(b, 75, 31);
        ide_put_word(b, 76, 0x0102);
    }
    ide_put_word(b, 105, trim ? IDE_TRIM_BLOCKS : 0);
    ide_put_word(b, 169, trim);
    ide_put_wwn(b, k->d.wwn);
    ide_put_word(b, 217, k->rotation_rate);
    ide_put_word(b, 106, 0x4000 | (ratio ? 0x2000 | ratio : 0));
}
