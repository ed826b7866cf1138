/* SPDX-License-Identifier: MIT
 * hw/i386/optionrom/optionrom.h - shared by the boot ROMs: header, fw_cfg DMA, failure message.
 * Models: Plug and Play BIOS Specification 1.0A, 3.1-3.2 (expansion header, bootstrap entry vector); BIOS
 *         Boot Specification 1.01, 3.3; the fw_cfg DMA interface.
 * Length, PnP checksum and ROM checksum are filled in by boot-rom.c.
 * Real mode; the work area is at linear WORK, below it the stack.
 */
#define WORK        0x8000
#define WORK_SEG    0x0800
#define STACK_TOP   0x7c00

/* Offsets into the work area. */
#define DMA_BLOCK   0x00

#define DMA_READ_SELECT 0x0a /* control bits: read, select */

#define KEY_KERNEL_ADDR  0x07
#define KEY_KERNEL_SIZE  0x08
#define KEY_INITRD_ADDR  0x0a
#define KEY_INITRD_SIZE  0x0b
#define KEY_KERNEL_DATA  0x11
#define KEY_INITRD_DATA  0x12
#define KEY_CMDLINE_ADDR 0x13
#define KEY_CMDLINE_SIZE 0x14
#define KEY_CMDLINE_DATA 0x15
#define KEY_SETUP_ADDR   0x16
#define KEY_SETUP_SIZE   0x17
#define KEY_SETUP_DATA   0x18

.macro rom_header product
    .code16
    .text
    .globl start
start:
    .word 0xaa55
    .byte 0                     /* length in units of 512 bytes */
    lret                        /* initialisation: nothing to do */
    .org 0x18
    .word 0                     /* no PCI data structure */
    .word pnp_header
pnp_header:
    .ascii "$PnP"
    .byte 1, 2                  /* revision, length in units of 16 bytes */
    .word 0                     /* no further header */
    .byte 0, 0                  /* reserved, checksum */
    .long 0
    .word str_vendor
    .word str_product
    .byte 0, 0, 0               /* class */
    .byte 0                     /* device indicators */
    .word 0, 0                  /* boot connection, disconnect vectors */
    .word boot_entry            /* bootstrap entry vector */
    .word 0, 0
str_vendor:
    .asciz "Rhea"
str_product:
    .asciz "\product"
str_failed:
    .asciz "\r\nRhea: the kernel could not be fetched from the machine\r\n"
.endm

/* dma_fetch: item in the upper half of EAX; ECX bytes to linear address EDI. DS = WORK_SEG. Keeps EBX, ESI. */
.macro rom_routines
dma_fetch:
    movw $DMA_READ_SELECT, %ax
    bswap %eax
    movl %eax, DMA_BLOCK + 0
    bswap %ecx
    movl %ecx, DMA_BLOCK + 4
    movl $0, DMA_BLOCK + 8
    bswap %edi
    movl %edi, DMA_BLOCK + 12
    xorl %eax, %eax
    movw $0x514, %dx
    outl %eax, %dx
    movl $WORK + DMA_BLOCK, %eax
    bswap %eax
    movw $0x518, %dx
    outl %eax, %dx
1:  movl DMA_BLOCK, %eax
    bswap %eax
    testl $1, %eax
    jnz failed
    testl %eax, %eax
    jnz 1b
    ret

failed:
    movw $str_failed, %si
1:  movb %cs:(%si), %al
    incw %si
    testb %al, %al
    jz 2f
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp 1b
2:  hlt
    jmp 2b
.endm

/* A small number from an item: four bytes to \dest of the work area. */
.macro fetch_long key, dest
    movl $\key << 16, %eax
    movl $4, %ecx
    movl $WORK + \dest, %edi
    call dma_fetch
.endm

/* An item to the address and of the size stored in the work area; nothing when the size is 0. */
.macro fetch_item key, addr, size
    movl \size, %ecx
    jecxz 9f
    movl $\key << 16, %eax
    movl \addr, %edi
    call dma_fetch
9:
.endm
